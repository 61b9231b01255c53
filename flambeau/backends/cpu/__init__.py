"""The CPU: arrays are NumPy's."""
