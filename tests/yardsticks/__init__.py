"""Yardsticks: the detectors measured on data that nobody here made, or on labelled faults; `make yardsticks`."""
