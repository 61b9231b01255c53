"""Sliding windows over the spatial axes of an array: sizes, padding, views and taps.

Convolution, pooling and unfolding share this geometry. Arrays are laid out (batch, channels, *spatial); a *tap* is one
position inside the kernel. This module knows nothing of what is done with the elements of a window.
"""
from __future__ import annotations

import itertools

import numpy as np
from numpy.lib.stride_tricks import as_strided


def output_size(size: int, kernel: int, stride: int, padding: tuple[int, int], dilation: int,
                ceil_mode: bool = False) -> int:
    """How many windows fit along one axis of `size` elements padded by `padding` (before, after).

    With `ceil_mode` a last window may overhang, as long as it starts inside the input or its left padding.
    """
    room = size + sum(padding) - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding[0] else count


def pad_spatial(x: np.ndarray, padding, value=0, dtype=None) -> np.ndarray:
    """`x` with its trailing `len(padding)` axes padded by (before, after) pairs; `x` itself where nothing is to be done.

    A negative amount takes elements away.
    """
    dtype = dtype or x.dtype
    if not any(map(any, padding)):
        return x.astype(dtype, copy=False)
    lead = x.shape[:x.ndim - len(padding)]
    sizes = x.shape[len(lead):]
    shape = lead + tuple(before + n + after for n, (before, after) in zip(sizes, padding))
    y = np.full(shape, value, dtype) if value else np.zeros(shape, dtype)
    y[(..., *(slice(max(before, 0), max(before, 0) + max(n + min(before, 0) + min(after, 0), 0))
              for n, (before, after) in zip(sizes, padding)))] = \
        x[(..., *(slice(max(-before, 0), max(n - max(-after, 0), 0)) for n, (before, after) in zip(sizes, padding)))]
    return y


def crop_spatial(x: np.ndarray, padding) -> np.ndarray:
    """The adjoint of `pad_spatial` with non-negative padding: a view without the padding."""
    return x[(..., *(slice(before, n - after) for n, (before, after) in zip(x.shape[-len(padding):], padding)))]


def window_view(x: np.ndarray, kernel, stride, dilation, out) -> np.ndarray:
    """A read-only view of shape (batch, channels, *kernel, *out) of the windows of a padded array."""
    spatial = x.strides[2:]
    return as_strided(x, x.shape[:2] + tuple(kernel) + tuple(out),
                      x.strides[:2] + tuple(s * d for s, d in zip(spatial, dilation))
                      + tuple(s * t for s, t in zip(spatial, stride)), writeable=False)


def taps(kernel):
    """All positions of a kernel in row-major order."""
    return itertools.product(*map(range, kernel))


def tap_slices(tap, out, stride, dilation, first: int = 0) -> tuple:
    """The index that picks, from a padded array, the element at `tap` of every window.

    `first` is the number of windows left out at the beginning of the first spatial axis.
    """
    starts = [k * d for k, d in zip(tap, dilation)]
    starts[0] += first * stride[0]
    return (..., *(slice(b, b + (n - 1) * s + 1 if n else b, s) for b, n, s in zip(starts, out, stride)))
