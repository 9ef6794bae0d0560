"""A city that does not exist: profiles to payload bytes, seeded, with labelled faults."""
