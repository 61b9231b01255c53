"""float32 planes sampled at places by generated kernels; what does not fit answers None. Knows no operation.

Indices (batch, taps, places) must lie within a plane, or be -1.
"""
from __future__ import annotations

import numpy as np

from ...kernel import grid
from .build import compiled

__all__ = ['adjoint', 'products', 'sampled']

SMALLEST = 1 << 12  # elements from which on a kernel beats array functions
BLOCK = 1 << 10     # places that a chunk goes through for all channels
LARGEST = 1 << 31   # elements of a plane that an int32 names


def _fits(planes, index, size, *arrays):
    return (planes.size >= SMALLEST and size < LARGEST and all(a.dtype == np.float32 for a in (planes, *arrays))
            and index.size and -1 <= index.min() and index.max() < size)


def _run(generator, x, index, first, second, *numbers):
    """Runs a kernel on planes (batch, channels, size) and two more arrays."""
    batch, taps, count = index.shape
    first, second = np.ascontiguousarray(first), np.ascontiguousarray(second)
    compiled(generator)(np.ascontiguousarray(x), np.ascontiguousarray(index, np.int32), first, second, batch,
                        *x.shape[1:], taps, count, *numbers)


def sampled(x, index, weight):
    """(batch, channels, places) of planes (batch, channels, size): at each place the weighted sum of its taps."""
    if not _fits(x, index, x.shape[2], weight):
        return None
    y = np.empty((*x.shape[:2], index.shape[2]), np.float32)
    _run(grid.sampled, x, index, weight, y)
    return y


def adjoint(g, index, weight, size):
    """The adjoint of `sampled` in its planes of `size` elements."""
    if not _fits(g, index, size, weight):
        return None
    x = np.empty((*g.shape[:2], size), np.float32)
    _run(grid.adjoint, x, index, weight, g)
    return x


def products(g, x, index):
    """The adjoint of `sampled` in its weights."""
    if not _fits(x, index, x.shape[2], g):
        return None
    y = np.zeros(index.shape, np.float32)
    _run(grid.products, x, index, g, y, BLOCK)
    return y
