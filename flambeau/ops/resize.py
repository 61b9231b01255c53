"""Interpolation on regular grids.

Every mode is a separable linear map: a table of weights per axis, made by the functions below, acts on each axis in turn
(axis_map.py), and its transpose is the gradient. Positions are computed in the precision that the input has, so that
they round to the same side as PyTorch's.
"""
from __future__ import annotations

from functools import lru_cache

import numpy as np

from .axis_map import AxisMap


def step_between(size: int, out: int, align_corners: bool, scale: float | None, real) -> np.floating:
    """The distance, in input elements, between neighbouring output elements of an axis."""
    if align_corners:
        return real(size - 1) / real(out - 1) if out > 1 else real(0)
    return real(1.0 / scale) if scale else real(size) / real(out)


def cubic(t, a):
    """Keys' cubic convolution kernel at distance `t`."""
    t = np.abs(t)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0))


def triangle(t):
    return np.maximum(1 - np.abs(t), 0)


def lanczos(t):
    return np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0)


ANTIALIASED = {'linear': (1, triangle), 'cubic': (2, lambda t: cubic(t, -0.5)), 'lanczos': (3, lanczos)}


def _nearest(size, out, step, exact, real):
    i = np.arange(out, dtype=real)
    if exact:
        source = np.floor((i + real(0.5)) * step)
    else:
        source = np.floor(i * step)
    return [(np.minimum(source.astype(np.int64), size - 1), None)]


def _centers(out, step, align_corners, real):
    i = np.arange(out, dtype=real)
    return i * step if align_corners else step * (i + real(0.5)) - real(0.5)


def _split_position(position, size):
    """Whole and fractional part of positions, the fraction within [0, 1]."""
    whole = np.minimum(np.floor(position).astype(np.int64), size - 1)
    return whole, np.clip(position - whole.astype(position.dtype), 0, 1)


def _linear(size, out, step, align_corners, real):
    low, fraction = _split_position(np.maximum(_centers(out, step, align_corners, real), 0), size)
    return [(low, 1 - fraction), (np.minimum(low + 1, size - 1), fraction)]


def _cubic(size, out, step, align_corners, real):
    low, t = _split_position(_centers(out, step, align_corners, real), size)
    return [(np.clip(low + k, 0, size - 1), cubic(t - real(k), real(-0.75))) for k in (-1, 0, 1, 2)]


def _antialiased(kind, size, out, step, real):
    """(rows, columns, weights) of a filter widened by the step where the image shrinks."""
    radius, kernel = ANTIALIASED[kind]
    widening = max(step, real(1))
    support = real(radius) * widening
    center = step * (np.arange(out, dtype=real) + real(0.5))
    start = np.maximum((center - support + real(0.5)).astype(np.int64), 0)
    end = np.minimum((center + support + real(0.5)).astype(np.int64), size)
    length = np.maximum(end - start, 0)
    row = np.repeat(np.arange(out), length)
    column = start[row] + np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
    weight = kernel((column.astype(real) - center[row] + real(0.5)) * (real(1) / widening)).astype(real)
    return row, column, weight / np.bincount(row, weight, out).astype(real)[row]


@lru_cache(maxsize=512)
def interpolation_map(mode: str, size: int, out: int, align_corners: bool, scale: float | None, antialias: bool,
                      real: type) -> AxisMap | None:
    """The map from `size` to `out` elements of an axis; None where it is the identity.

    `mode` is nearest, nearest-exact, linear, cubic or lanczos; `scale` is the factor asked for, where it decides.
    """
    step = step_between(size, out, align_corners, scale, real)
    if antialias:
        return AxisMap(out, size, *_antialiased(mode, size, out, step, real))
    if size == out and mode != 'cubic' and mode != 'nearest-exact' and (mode != 'nearest' or step == 1):
        return None
    if mode == 'linear':
        entries = _linear(size, out, step, align_corners, real)
    elif mode == 'cubic':
        entries = _cubic(size, out, step, align_corners, real)
    else:
        entries = _nearest(size, out, step, mode == 'nearest-exact', real)
    columns, weights = zip(*entries)
    return AxisMap(out, size, np.tile(np.arange(out), len(entries)), np.concatenate(columns),
                   None if weights[0] is None else np.concatenate(weights))
