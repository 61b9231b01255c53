"""Padding of the trailing axes of an array: by a constant, by reflection, by the nearest element, or around."""
from __future__ import annotations

from functools import lru_cache

import numpy as np

from .axis_map import AxisMap

SOURCES = {  # where the element at position i, from -before to size + after, is copied from
    'reflect': lambda i, size: (size - 1) - np.abs((size - 1) - np.abs(i)),
    'replicate': lambda i, size: np.clip(i, 0, size - 1),
    'circular': lambda i, size: i % size,
}


@lru_cache(maxsize=256)
def padding_map(mode: str, size: int, before: int, after: int) -> AxisMap | None:
    """The copy of one axis of `size` elements that pads it; negative amounts take elements away."""
    if not before and not after:
        return None
    source = SOURCES[mode](np.arange(-before, size + after), size)
    return AxisMap(len(source), size, np.arange(len(source)), source)
