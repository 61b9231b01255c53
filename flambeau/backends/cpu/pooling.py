"""Maximum pools of float32 planes and volumes by generated kernels; what does not fit answers None. Knows no operation."""
from __future__ import annotations

import math

import numpy as np

from ...kernel import pooling
from .build import compiled
from .layout import dense
from .replay import allocated

__all__ = ['largest', 'returned']

MOST_TAPS = 64      # taps of a window that a kernel writes out
LARGEST = 1 << 30   # elements of a plane that an int32 position names
FEWEST_CHANNELS = 16  # side by side, for which there is a kernel
MANY_IMAGES = 8     # from which on a thread takes all channels of one
LAST = 0, 2, 3, 1   # the axes of channels_last images in the order of memory


def _fits(x, window):
    return (x.ndim in (3, 4, 5) and x.dtype == np.float32 and x.size > 0 and math.prod(window.kernel) <= MOST_TAPS
            and math.prod(x.shape[2:]) < LARGEST)


def _channels_last(x):
    """Whether channels lie side by side, and are enough for a vector."""
    return x.ndim == 4 and x.shape[1] >= FEWEST_CHANNELS and not x.flags.c_contiguous \
        and x.transpose(LAST).flags.c_contiguous


def _laid_out(shape, dtype, last):
    return allocated([shape[k] for k in LAST], dtype).transpose(0, 3, 1, 2) if last else allocated(shape, dtype)


def _run(generator, x, window, options, arrays, out, *numbers):
    """Runs a kernel over the windows of `x`, `out` rows and columns of them (of one axis: columns)."""
    rows = (1,) * (4 - x.ndim)
    run = compiled(generator, *[rows + tuple(of) for of in (window.kernel, window.stride, window.dilation)], *options)
    padding = (0,) * len(rows) + tuple([before for before, _ in window.padding])
    planes = x.shape[0] if numbers else math.prod(x.shape[:2])
    run(x, *arrays, planes, *rows, *out, *rows, *x.shape[2:], *padding, *numbers)


def _ordered(x):
    made = None if x.flags.c_contiguous else dense(x)
    return np.ascontiguousarray(x) if made is None else made


def largest(x, out, window, first):
    """The maxima of windows over `x` (batch, channels and one to three axes), and their flat positions unless `first` is
    None.

    first: the positions given where a window holds nothing above minus infinity.
    """
    if not _fits(x, window):
        return None
    last, shape = _channels_last(x), x.shape[:2] + tuple(out)
    y = _laid_out(shape, np.float32, last)
    at = None if first is None else _laid_out(shape, np.int64, last)
    if last:
        _run(pooling.largest_channels, x, window, (at is not None,), (y, at, first), out, x.shape[1])
    else:
        _run(pooling.largest, _ordered(x), window, (at is not None,), (y, at, first), out)
    return y, at


def returned(g, x, window, first):
    """Zeros like `x` with every element of `g` added where the maximum of its window comes from."""
    if not _fits(x, window) or g.dtype != np.float32:
        return None
    last = _channels_last(x)
    total = _laid_out(x.shape, np.float32, last)
    if last:
        images, channels = x.shape[:2]
        group = channels if images >= MANY_IMAGES else FEWEST_CHANNELS
        arrays = _ordered(g.transpose(LAST)), total, first
        _run(pooling.returned_channels, x, window, (), arrays, g.shape[2:], channels, group)
    else:
        _run(pooling.returned, _ordered(x), window, (), (_ordered(g), total, first), g.shape[2:])
    return total
