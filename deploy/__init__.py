"""Settings, wiring, command line and deployment; knows all layers, nobody imports it."""
