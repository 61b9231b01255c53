"""Planes sampled at places by generated kernels; what does not fit answers None. Knows no operation.

Indices (batch, taps, places) must lie within a plane, or be -1.
"""
from __future__ import annotations

import math

import numpy as np

from ...kernel import grid, types
from .build import compiled
from .layout import dense
from .properties import target

__all__ = ['adjoint', 'products', 'sample', 'sample_adjoint', 'sample_slopes', 'sampled']

SMALLEST = 1 << 12  # elements from which on a kernel beats array functions
BLOCK = 1 << 10     # places that a chunk goes through for all channels
LARGEST = 1 << 31   # elements of a plane that an int32 names
FEWEST_LANES = 4    # channels side by side
SPARSE = 16         # elements of planes for each place, from which on it takes too long to turn them round


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


# ---- positions (batch, ..., dims) in [-1, 1]; how: mode, padding and whether corners are aligned


def _lanes(channels, kind):
    """How many channels are taken at once."""
    lanes = FEWEST_LANES
    while lanes < min(channels, target().lanes(kind)):
        lanes *= 2
    return lanes


def _ordered(array):
    made = None if array.flags.c_contiguous else dense(array)
    return np.ascontiguousarray(array) if made is None else made


def _positioned(generator, arrays, positions, shape, made, how, block=None):
    """Runs a kernel on arrays, planes of that shape turned round, and positions. None where it does not apply."""
    batch, channels, *sizes = shape
    kind, count = types.of(positions.dtype), math.prod(positions.shape[1:-1])
    lanes = 1 if channels == 1 and block else _lanes(channels, kind)
    rows = (math.prod(sizes) // lanes + 1) * lanes
    if rows * lanes >= LARGEST or count >= LARGEST or not made.size or not channels:
        return None
    packed = np.empty(batch * -(-channels // lanes) * rows * lanes, positions.dtype) if lanes > 1 else None
    compiled(generator, positions.dtype.name, lanes, len(sizes), *how)(
        *map(_ordered, arrays), _ordered(positions), made, packed, *([] if block is None else [block]), batch, channels,
        count, *sizes)
    return made


def _computed(positions, *planes):
    """Whether they are of one dtype that kernels sample."""
    return positions.dtype.name in ('float32', 'float64') and all(p.dtype == positions.dtype for p in planes)


def _is_dense(x, positions):
    """Whether there are so many places that turning the planes round is little beside them."""
    return math.prod(positions.shape[1:-1]) * SPARSE >= math.prod(x.shape[2:])


def sample(x, positions, *how):
    """Planes (batch, channels, ...) at positions."""
    if not _computed(positions, x) or not _is_dense(x, positions):
        return None
    y = np.empty((*x.shape[:2], *positions.shape[1:-1]), x.dtype)
    return _positioned(grid.sample, (x,), positions, x.shape, y, how, BLOCK)


def sample_adjoint(g, positions, shape, *how):
    """The adjoint of `sample` in planes of that shape."""
    if not _computed(positions, g):
        return None
    return _positioned(grid.sample_adjoint, (g,), positions, shape, np.empty(shape, g.dtype), how)


def sample_slopes(g, x, positions, *how):
    """The adjoint of `sample` in its positions."""
    if not _computed(positions, x, g) or not _is_dense(x, positions):
        return None
    return _positioned(grid.sample_slopes, (g, x), positions, x.shape, np.empty(positions.shape, x.dtype), how, BLOCK)
