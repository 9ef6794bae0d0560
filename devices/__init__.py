"""The vocabulary: kinds, quantities, devices, samples and readings. Imports nothing of ours."""
