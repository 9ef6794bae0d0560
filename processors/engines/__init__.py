"""Engines drive detectors over the journal; the detectors do not know which one does."""
