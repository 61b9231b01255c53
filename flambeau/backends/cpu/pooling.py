"""Maximum pools of float32 planes by generated kernels; what does not fit answers None. Knows no operation."""
from __future__ import annotations

import math

import numpy as np

from ...kernel import pooling
from .build import compiled

__all__ = ['largest', 'returned']

SMALLEST = 1 << 12  # elements from which on a kernel beats array functions
MOST_TAPS = 64      # taps of a window that a kernel writes out
LARGEST = 1 << 30   # elements of a plane that an int32 position names


def _fits(padded, window):
    return (padded.ndim == 4 and padded.dtype == np.float32 and padded.size >= SMALLEST and padded.flags.c_contiguous
            and math.prod(window.kernel) <= MOST_TAPS and math.prod(padded.shape[2:]) < LARGEST)


def largest(padded, out, window, first, width, origin):
    """The maxima of windows over `padded` (batch, channels, rows, columns), and their positions unless first is None."""
    if not _fits(padded, window):
        return None
    y = np.empty(padded.shape[:2] + tuple(out), np.float32)
    at = None if first is None else np.empty(y.shape, np.int64)
    first = None if first is None else np.ascontiguousarray(first, np.int64)
    compiled(pooling.largest, tuple(window.kernel), tuple(window.stride), tuple(window.dilation), at is not None)(
        padded, y, at, first, math.prod(y.shape[:2]), out[0], out[1], math.prod(padded.shape[2:]), padded.shape[3],
        int(width), int(origin))
    return y, at


def returned(g, padded, window, first, width, origin, spatial):
    """Planes of sizes `spatial` with every element of `g` added where the maximum of its window in `padded` comes from."""
    if not _fits(padded, window) or g.dtype != np.float32:
        return None
    total = np.empty(g.shape[:2] + tuple(spatial), np.float32)
    compiled(pooling.returned, tuple(window.kernel), tuple(window.stride), tuple(window.dilation))(
        padded, np.ascontiguousarray(g), total, np.ascontiguousarray(first, np.int64), math.prod(g.shape[:2]), g.shape[2],
        g.shape[3], math.prod(padded.shape[2:]), padded.shape[3], int(width), int(origin), math.prod(spatial))
    return total
