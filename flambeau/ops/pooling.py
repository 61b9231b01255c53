"""Pooling: maxima and averages over windows.

A maximum pool gives values and the flat position of each in its plane; its gradient scatters to these positions, and
the gradient of that gathers from them. An average pool is linear, and its gradient is its adjoint.
"""
from __future__ import annotations

from functools import lru_cache, reduce

import numpy as np

from .axis_map import AxisMap
from .windows import Window, crop_spatial, pad_spatial, taps


def lowest(dtype: np.dtype):
    """The least value of a dtype, which no element of a window is smaller than."""
    return -np.inf if dtype.kind not in 'iu' else np.iinfo(dtype).min


def _widened(x: np.ndarray) -> np.ndarray:
    """Half precision as float32, in which NumPy is quicker and sums do not lose digits."""
    return x.astype(np.float32) if x.dtype.itemsize == 2 and x.dtype.kind not in 'iu' else x


def outer_sum(vectors) -> np.ndarray:
    """The array a[i, j, ...] = vectors[0][i] + vectors[1][j] + ..."""
    return reduce(np.add.outer, vectors)


def plane_steps(spatial) -> list[int]:
    """How far apart neighbours along each axis lie in a flattened plane."""
    return [int(np.prod(spatial[i + 1:])) for i in range(len(spatial))]


# ---- positions in planes -------------------------------------------------------------------------------

def gather_planes(x: np.ndarray, indices: np.ndarray, dims: int) -> np.ndarray:
    """The elements of each plane (the last `dims` axes of `x`) at flat `indices`; leading axes broadcast."""
    lead = x.shape[:x.ndim - dims]
    flat = indices.reshape(indices.shape[:len(lead)] + (-1,))
    values = np.take_along_axis(x.reshape(lead + (-1,)), np.broadcast_to(flat, lead + flat.shape[-1:]), -1)
    return values.reshape(lead + indices.shape[len(lead):])


def scatter_planes(g: np.ndarray, indices: np.ndarray, spatial) -> np.ndarray:
    """The adjoint of `gather_planes` for `g` (batch, channels, ...): sums its elements into planes of sizes `spatial`."""
    planes, size = int(np.prod(g.shape[:2])), int(np.prod(spatial))
    flat = np.broadcast_to(indices, g.shape).reshape(planes, -1) + np.arange(planes)[:, None] * size
    total = np.bincount(flat.reshape(-1), g.reshape(-1), planes * size)
    return total.astype(g.dtype).reshape(g.shape[:2] + tuple(spatial))


def place_planes(x: np.ndarray, indices: np.ndarray, spatial) -> np.ndarray:
    """Zero planes of sizes `spatial` with the elements of `x` (batch, channels, ...) written at flat `indices`."""
    y = np.zeros(x.shape[:2] + (int(np.prod(spatial)),), x.dtype)
    flat = x.shape[:2] + (-1,)
    np.put_along_axis(y, indices.reshape(flat), x.reshape(flat), -1)
    return y.reshape(x.shape[:2] + tuple(spatial))


# ---- maxima --------------------------------------------------------------------------------------------

def max_pool(x: np.ndarray, window: Window) -> np.ndarray:
    """The maximum of every window of `x` (batch, channels, *spatial); NaN where the window holds one."""
    out = window.output(x.shape[2:])
    padded = pad_spatial(x, window.cover(x.shape[2:], out), lowest(x.dtype))
    y = None
    if np.prod(window.kernel) > np.prod(out):
        y = np.empty(x.shape[:2] + out, x.dtype)
        for at in taps(out):
            y[(..., *at)] = padded[window.at(at)].max(axis=tuple(range(2, x.ndim)))
        return y
    for _, index in window.parts(out):
        y = padded[index].copy() if y is None else np.maximum(y, padded[index], out=y)
    return y


def max_pool_with_indices(x: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """`max_pool` and the flat position of each maximum in its plane: the first of equals, the last of NaNs."""
    spatial = x.shape[2:]
    out = window.output(spatial)
    padded = pad_spatial(_widened(x), window.cover(spatial, out), lowest(x.dtype))
    steps = plane_steps(spatial)
    starts = [np.arange(n) * s - p[0] for n, s, p in zip(out, window.stride, window.padding)]
    inside = outer_sum([step * np.where(b < 0, b % d, b) for b, d, step in zip(starts, window.dilation, steps)])
    corner = outer_sum([step * b for b, step in zip(starts, steps)])
    shifts = outer_sum([step * d * np.arange(k) for k, d, step in zip(window.kernel, window.dilation, steps)])
    if shifts.size > corner.size:
        return _max_by_windows(x, padded, window, corner, shifts, inside)
    may_be_nan = x.dtype.kind not in 'iu' and bool(np.isnan(padded.max(initial=-np.inf)))
    candidates = ((padded[index], corner + shift) for (_, index), shift in zip(window.parts(out), shifts.flat))
    best, indices = _running_max(candidates, inside, may_be_nan)
    return best.astype(x.dtype, copy=False), indices


def _running_max(candidates, first, may_be_nan):
    """The maximum and its position over (values, positions) pairs; `first` are positions to start from."""
    best = indices = None
    for value, position in candidates:
        if best is None:
            best = np.array(value)
            indices = np.empty(best.shape, np.int64)
            indices[...] = position if first is None else first
            continue
        better = value > best
        if may_be_nan:
            better |= value != value
        np.maximum(best, value, out=best)
        np.copyto(indices, position, where=better)
    return best, indices


def _max_by_windows(x, padded, window, corner, shifts, inside):
    """Few large windows, one at a time."""
    best = np.empty(x.shape[:2] + corner.shape, x.dtype)
    indices = np.empty(best.shape, np.int64)
    shifts = shifts.reshape(-1)
    for at in taps(corner.shape):
        part = padded[window.at(at)].reshape(x.shape[:2] + (-1,))
        chosen = part.argmax(-1)
        value = np.take_along_axis(part, chosen[..., None], -1)[..., 0]
        best[(..., *at)] = value
        indices[(..., *at)] = np.where(value == lowest(x.dtype), inside[at], corner[at] + shifts[chosen])
    return best, indices


def adaptive_bins(size: int, out: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of `out` bins that cover `size` elements, overlapping where the sizes do not divide."""
    i = np.arange(out)
    return i * size // max(out, 1), -(-(i + 1) * size // max(out, 1))


def equal_bins(spatial, out) -> Window | None:
    """The window of an adaptive pool whose bins are all alike, or None."""
    if any(n == 0 or size % n for size, n in zip(spatial, out)):
        return None
    kernel = tuple(size // n for size, n in zip(spatial, out))
    return Window(kernel, kernel, ((0, 0),) * len(kernel), (1,) * len(kernel))


def adaptive_max_pool(x: np.ndarray, out) -> tuple[np.ndarray, np.ndarray]:
    """Maxima over `out` bins that cover the input, and their flat positions."""
    spatial = x.shape[2:]
    window = equal_bins(spatial, out)
    if window is not None:
        return max_pool_with_indices(x, window)
    bins = [adaptive_bins(size, n) for size, n in zip(spatial, out)]
    lengths = [int((end - start).max(initial=0)) for start, end in bins]
    positions = (outer_sum([step * np.minimum(start + k, end - 1)  # a shorter bin repeats its last element
                            for k, (start, end), step in zip(tap, bins, plane_steps(spatial))])
                 for tap in taps(lengths))
    return _max_at(x, positions, tuple(out))


def _max_at(x, positions, out):
    """The maximum over candidates at flat `positions`, each of shape (*out) or (batch, channels, *out)."""
    dims = x.ndim - 2
    wide = _widened(x)
    candidates = ((gather_planes(wide, p if p.ndim == x.ndim else p[None, None], dims), p) for p in positions)
    best, indices = _running_max(candidates, None, x.dtype.kind not in 'iu')
    if best is None:
        return np.empty(x.shape[:2] + out, x.dtype), np.empty(x.shape[:2] + out, np.int64)
    return best.astype(x.dtype, copy=False), indices


def fractional_starts(size: int, out: int, kernel: int, sample: np.ndarray) -> np.ndarray:
    """Starts, of shape sample.shape + (out,), of pooling regions whose steps are drawn by `sample` in [0, 1)."""
    last = np.full(sample.shape + (1,), size - kernel, np.int64)
    if out == 1:
        return last
    alpha = sample.dtype.type(size - kernel) / sample.dtype.type(out - 1)
    sample = sample[..., None]
    starts = ((np.arange(out - 1, dtype=sample.dtype) + sample) * alpha).astype(np.int64) \
        - (sample * alpha).astype(np.int64)
    return np.concatenate([starts, last], -1)


def fractional_max_pool(x: np.ndarray, kernel, out, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maxima over pseudo-random regions (Graham 2014); `samples` of shape (batch, channels, dims) place them.

    In two dimensions the first sample belongs to the last axis, in three to the first, as in PyTorch.
    """
    spatial, dims = x.shape[2:], x.ndim - 2
    corner = 0
    steps = plane_steps(spatial)
    for axis, step in enumerate(steps):
        sample = samples[..., 1 - axis if dims == 2 else axis]
        start = fractional_starts(spatial[axis], out[axis], kernel[axis], sample) * step
        corner = corner + start.reshape(start.shape[:2] + (1,) * axis + (-1,) + (1,) * (dims - 1 - axis))
    return _max_at(x, (corner + sum(k * s for k, s in zip(tap, steps)) for tap in taps(kernel)), tuple(out))


# ---- averages ------------------------------------------------------------------------------------------

def divisors(spatial, window: Window, count_include_pad: bool, dtype) -> np.ndarray:
    """How many elements each window averages over: of the input alone, or of the padding too."""
    lengths = []
    for size, n, k, s, (before, after) in zip(spatial, window.output(spatial), window.kernel, window.stride,
                                              window.padding):
        start = np.arange(n) * s - before
        end = np.minimum(start + k, size + after)
        if not count_include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, size)
        lengths.append(end - start)
    return reduce(np.multiply.outer, lengths).astype(dtype)


def _divide(total, divisor):
    return np.trunc(total / divisor).astype(total.dtype) if total.dtype.kind in 'iu' else total / divisor


def avg_pool(x: np.ndarray, window: Window, count_include_pad: bool = True, divisor: int | None = None) -> np.ndarray:
    """The average of every window of `x` (batch, channels, *spatial); the sum over `divisor` where one is given."""
    dtype, spatial = x.dtype, x.shape[2:]
    out = window.output(spatial)
    total = sum_windows(pad_spatial(_widened(x), window.cover(spatial, out)), window, out)
    return _divide(total, divisor or divisors(spatial, window, count_include_pad, total.dtype)).astype(dtype, copy=False)


def avg_pool_adjoint(g: np.ndarray, window: Window, spatial, count_include_pad: bool = True,
                     divisor: int | None = None) -> np.ndarray:
    """The adjoint of `avg_pool` of an input of sizes `spatial`: spreads every average over its window."""
    wide = _widened(g)
    shares = _divide(wide, divisor or divisors(spatial, window, count_include_pad, wide.dtype))
    return spread_windows(shares, window, spatial).astype(g.dtype, copy=False)


def sum_windows(padded: np.ndarray, window: Window, out) -> np.ndarray:
    """The sum of every window of an input padded to hold them all."""
    y = np.zeros(padded.shape[:2] + tuple(out), padded.dtype)
    by_windows = np.prod(window.kernel) > np.prod(out)
    for where, index in window.parts(out):
        part = padded[index]
        y[where] += part.sum(axis=tuple(range(2, part.ndim)), keepdims=True) if by_windows else part
    return y


def spread_windows(g: np.ndarray, window: Window, spatial) -> np.ndarray:
    """The adjoint of `sum_windows` with its padding: adds every element of `g` to its whole window."""
    out = g.shape[2:]
    cover = window.cover(spatial, out)
    x = np.zeros(g.shape[:2] + tuple(n + sum(p) for n, p in zip(spatial, cover)), g.dtype)
    for where, index in window.parts(out):
        x[index] += g[where]
    return np.ascontiguousarray(crop_spatial(x, cover))


@lru_cache(maxsize=256)
def adaptive_average_map(size: int, out: int) -> AxisMap | None:
    """The averages over `out` bins that cover an axis of `size` elements."""
    if size == out:
        return None
    start, end = adaptive_bins(size, out)
    length = end - start
    row = np.repeat(np.arange(out), length)
    within = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
    return AxisMap(out, size, row, start[row] + within, 1.0 / length[row])
