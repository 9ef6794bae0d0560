"""Notifications: an outbox written with the alert, and senders that empty it."""
