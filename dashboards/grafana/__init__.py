"""Grafana boards, generated from what the kinds declare."""
