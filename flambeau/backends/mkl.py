"""Intel's mathematics library, which flambeau does without."""
from __future__ import annotations


def is_available() -> bool:
    """Whether computations use it: never."""
    return False
