"""Readings to findings to alerts: detectors, engines, alert life, delivery."""
