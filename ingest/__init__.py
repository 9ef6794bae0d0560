"""The wire to durable readings: journal, decoding, quality, quarantine, time series."""
