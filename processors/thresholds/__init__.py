"""Rules as data: what people changed in the kinds' declared thresholds, for whom, from when, by whom and why."""
