"""Alerts: findings of one condition over its life."""
