"""Cross products and distances by generated kernels; what does not fit answers None. Knows no operation."""
from __future__ import annotations

import math

import numpy as np

from ...kernel import geometry
from .build import compiled
from .layout import dense
from .replay import allocated

__all__ = ['crossed', 'pairs', 'pairs_adjoint']

ELEMENTS = ('float32', 'float64')
SMALLEST = 1 << 10  # numbers from which on a kernel beats array functions
BLOCK = 1 << 12     # vectors of a chunk
NORMS = (1, 2, math.inf)


def _ordered(array):
    made = None if array.flags.c_contiguous else dense(array)
    return np.ascontiguousarray(array) if made is None else made


def crossed(x, y, axis):
    """The cross products of vectors of three numbers along an axis of two arrays of one shape."""
    if x.dtype.name not in ELEMENTS or y.dtype != x.dtype or x.size < SMALLEST or x.shape != y.shape:
        return None
    z = allocated(x.shape, x.dtype)
    axis %= x.ndim
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1:])
    compiled(geometry.cross, x.dtype.name, inner > 1)(_ordered(x), _ordered(y), z, outer, inner, BLOCK)
    return z


def _has_pairs(x, p):
    return x.dtype.name in ELEMENTS and len(x) > 1 and p in NORMS


def pairs(x, p):
    """The p-norms of the differences of all pairs of rows of a matrix."""
    if not _has_pairs(x, p):
        return None
    rows, columns = x.shape
    y = allocated(rows * (rows - 1) // 2, x.dtype)
    compiled(geometry.pairs, x.dtype.name, p)(_ordered(x), _ordered(x.T), y, rows, columns)
    return y


def pairs_adjoint(x, weight, p):
    """The sums over all others of the weight of the pair times the difference of two rows, its sign where p is 1."""
    if not _has_pairs(x, p) or p > 2 or weight.dtype != x.dtype:
        return None
    y = allocated(x.shape, x.dtype)
    compiled(geometry.pairs_adjoint, x.dtype.name, p)(_ordered(x), _ordered(weight), y, *x.shape)
    return y
