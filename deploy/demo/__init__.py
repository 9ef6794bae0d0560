"""The demo city: a broker, a fleet of simulated devices, the whole pipeline, and an honest score."""
