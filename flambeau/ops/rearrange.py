"""Moves of elements between spatial positions and channels: unfold and fold."""
from __future__ import annotations

import numpy as np

from .windows import Window, crop_spatial, pad_spatial, tap_slices, taps


def unfold(x: np.ndarray, window: Window) -> np.ndarray:
    """The windows of `x` (batch, channels, *spatial) as columns (batch, channels * taps, windows)."""
    out = window.output(x.shape[2:])
    padded = pad_spatial(x, window.padding)
    y = np.empty(x.shape[:2] + window.kernel + out, x.dtype)
    for tap in taps(window.kernel):
        y[(slice(None), slice(None), *tap)] = padded[tap_slices(tap, out, window.stride, window.dilation)]
    return y.reshape(x.shape[0], x.shape[1] * int(np.prod(window.kernel)), int(np.prod(out)))


def fold(columns: np.ndarray, window: Window, spatial) -> np.ndarray:
    """The adjoint of `unfold`: sums columns back into an array of sizes `spatial`."""
    out = window.output(spatial)
    columns = columns.reshape(columns.shape[0], -1, *window.kernel, *out)
    x = np.zeros(columns.shape[:2] + tuple(n + sum(p) for n, p in zip(spatial, window.padding)), columns.dtype)
    for tap in taps(window.kernel):
        x[tap_slices(tap, out, window.stride, window.dilation)] += columns[(slice(None), slice(None), *tap)]
    return np.ascontiguousarray(crop_spatial(x, window.padding))
