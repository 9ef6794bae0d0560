"""Leaks seen by several pressure sensors together: what they share is demand, what is left over is the leak's place."""
