"""Conversions between types of numbers by generated kernels; what does not fit answers None. Knows no operation."""
from __future__ import annotations

import numpy as np

from ...kernel import conversion, types
from .build import compiled
from .layout import copied as moved, dense
from .properties import computes

__all__ = ['converted', 'copied']

SMALLEST = 1 << 10  # numbers from which on a kernel beats array functions
PART = 1 << 14      # numbers that one thread converts at a time
UNSIGNED = frozenset(['uint32', 'uint64'])  # what floating point numbers out of range become is not the same everywhere


def _fits(x, dtype):
    source, result = types.name_of(x.dtype), types.name_of(dtype)
    return (x.size >= SMALLEST and source != result and source in types.NAMES and result in types.NAMES
            and not (result in UNSIGNED and x.dtype.kind in 'fV') and computes(x.dtype) and computes(dtype))


def _alike(x, y):
    """Whether elements lie in the same order, in memory without gaps."""
    return x.flags.c_contiguous and y.flags.c_contiguous or all(
        n == 1 or a * x.itemsize == b * y.itemsize
        for n, a, b in zip(x.shape, y.strides, x.strides)) and x.nbytes == 1 + sum(
        (n - 1) * s for n, s in zip(x.shape, x.strides)) + x.itemsize - 1


def _run(x, made):
    compiled(conversion.converted, types.name_of(x.dtype), types.name_of(made.dtype))(x, made, x.size, PART)
    return made


def converted(x, dtype):
    """A copy of the array in another dtype, with the same order of dimensions in memory."""
    if not _fits(x, dtype):
        return None
    made = np.empty_like(x, dtype)
    return _run(x, made) if _alike(x, made) else None


def copied(out, x):
    """Writes the numbers of `x` to those of `out`, of its shape but another dtype. True where done."""
    if not _fits(x, out.dtype) or np.may_share_memory(out, x):
        return None
    if not _alike(x, out):
        ordered = x if _alike(x, x) else dense(x)
        return None if ordered is None else moved(out, _run(ordered, np.empty_like(ordered, out.dtype)))
    _run(x, out)
    return True
