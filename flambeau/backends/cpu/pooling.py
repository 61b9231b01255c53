"""Maximum pools of float32 planes by generated kernels; what does not fit answers None. Knows no operation."""
from __future__ import annotations

import math

import numpy as np

from ...kernel import pooling
from .build import compiled
from .replay import allocated

__all__ = ['largest', 'returned']

MOST_TAPS = 64      # taps of a window that a kernel writes out
LARGEST = 1 << 30   # elements of a plane that an int32 position names


def _fits(x, window):
    return (x.ndim in (3, 4) and x.dtype == np.float32 and x.size > 0 and math.prod(window.kernel) <= MOST_TAPS
            and math.prod(x.shape[2:]) < LARGEST)


def _run(generator, x, window, options, arrays, out):
    """Runs a kernel over the windows of `x`, `out` rows and columns of them (of one axis: columns)."""
    rows = (1,) * (4 - x.ndim)
    run = compiled(generator, *[rows + tuple(of) for of in (window.kernel, window.stride, window.dilation)], *options)
    padding = (0,) * len(rows) + tuple([before for before, _ in window.padding])
    run(np.ascontiguousarray(x), *arrays, math.prod(x.shape[:2]), *rows, *out, *rows, *x.shape[2:], *padding)


def largest(x, out, window, first):
    """The maxima of windows over `x` (batch, channels and one or two axes), and their flat positions unless `first` is None.

    first: the positions given where a window holds nothing above minus infinity.
    """
    if not _fits(x, window):
        return None
    y = allocated(x.shape[:2] + tuple(out), np.float32)
    at = None if first is None else allocated(y.shape, np.int64)
    _run(pooling.largest, x, window, (at is not None,), (y, at, first), out)
    return y, at


def returned(g, x, window, first):
    """Zeros like `x` with every element of `g` added where the maximum of its window comes from."""
    if not _fits(x, window) or g.dtype != np.float32:
        return None
    total = allocated(x.shape, np.float32)
    _run(pooling.returned, x, window, (), (np.ascontiguousarray(g), total, first), g.shape[2:])
    return total
