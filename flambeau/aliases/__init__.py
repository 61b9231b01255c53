"""Packages named like PyTorch's. Child processes of `python -m flambeau` find them on their path."""
