"""The stable order of arrays of float32 and int32 along their last axis, by a generated radix sort. Knows no operation."""
from __future__ import annotations

import numpy as np

from ...kernel import sorting
from .build import compiled

__all__ = ['order']

SHORTEST, LONGEST = 2048, 1 << 31  # of rows: shorter ones are sorted faster by comparing


def order(array, axis, descending):
    """The indices (int64) that sort along the last axis, nan last (first if descending), or None."""
    if array.dtype not in (np.float32, np.int32) or axis not in (-1, array.ndim - 1) or not array.ndim:
        return None
    n = array.shape[-1]
    if not SHORTEST <= n < LONGEST:
        return None
    array = np.ascontiguousarray(array)
    rows = array.size // n
    places = np.empty(array.shape, np.int64)
    keys, other = (np.empty(array.size, np.uint32) for _ in range(2))
    index, spare = (np.empty(array.size, np.int32) for _ in range(2))
    counts = np.zeros(rows * sorting.DIGITS * sorting.SIZE, np.int32)
    compiled(sorting.order, array.dtype == np.float32, bool(descending))(array, places, keys, other, index, spare, counts, rows, n)
    return places
