"""Maximum pools of float32 planes by generated kernels; what does not fit answers None. Knows no operation."""
from __future__ import annotations

import math

import numpy as np

from ...kernel import pooling
from .build import compiled

__all__ = ['largest', 'spread']

SMALLEST = 1 << 12  # elements from which on a kernel beats array functions
MOST_TAPS = 64      # taps of a window that a kernel writes out
LARGEST = 1 << 30   # elements of a plane that an int32 position names


def largest(padded, out, window, first, width, origin):
    """The maxima of windows over `padded` (batch, channels, rows, columns), and their positions unless first is None."""
    if (padded.ndim != 4 or padded.dtype != np.float32 or padded.size < SMALLEST or not padded.flags.c_contiguous
            or math.prod(window.kernel) > MOST_TAPS or math.prod(padded.shape[2:]) >= LARGEST):
        return None
    y = np.empty(padded.shape[:2] + tuple(out), np.float32)
    at = None if first is None else np.empty(y.shape, np.int64)
    first = None if first is None else np.ascontiguousarray(first, np.int64)
    compiled(pooling.largest, tuple(window.kernel), tuple(window.stride), tuple(window.dilation), at is not None)(
        padded, y, at, first, math.prod(y.shape[:2]), out[0], out[1], math.prod(padded.shape[2:]), padded.shape[3],
        int(width), int(origin))
    return y, at


def spread(g, indices, spatial):
    """Planes of sizes `spatial` with the elements of `g` added at flat indices, which must lie in the plane."""
    if g.dtype != np.float32 or indices.shape != g.shape or g.size < SMALLEST:
        return None
    total = np.zeros(g.shape[:2] + tuple(spatial), np.float32)
    compiled(pooling.spread)(np.ascontiguousarray(g), np.ascontiguousarray(indices), total, math.prod(g.shape[:2]),
                              math.prod(g.shape[2:]), math.prod(spatial))
    return total
