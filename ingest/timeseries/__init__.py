"""Time-series stores: one port, one contract suite, an adapter per database."""
