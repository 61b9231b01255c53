"""Whether tensors can live on an Apple GPU."""
from __future__ import annotations


def is_available() -> bool:
    """Whether there is such a GPU to compute on: not in this installation."""
    return False


def is_built() -> bool:
    """Whether this version of flambeau computes on such GPUs."""
    return False
