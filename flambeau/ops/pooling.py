"""Pooling: maxima and averages over windows.

A maximum pool gives values and the flat position of each in its plane; its gradient scatters to these positions, and
the gradient of that gathers from them. An average pool is linear, and its gradient is its adjoint.
"""
from __future__ import annotations

import math
from functools import lru_cache, reduce

import numpy as np

from .. import dtypes
from ..errors import ArgumentError
from .axis_map import AxisMap
from .batching import side_by_side
from .definition import PUBLIC, composite, export, opaque
from .general import SIMPLE
from .reference import LARGE, REFERENCE
from .sampling import rand
from .windows import Window, batched, chunks, pad_spatial, per_axis, same_for_batch, taps, unpad_spatial


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
    return [math.prod(spatial[i + 1:]) for i in range(len(spatial))]


# ---- positions in planes -------------------------------------------------------------------------------

def gather_planes(x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """The elements of each plane of `x` (batch, channels, *spatial) at flat `indices` (batch, channels or 1, *out)."""
    out = indices.shape[2:]
    if indices.shape[1] == 1:
        y = [plane.reshape(x.shape[1], math.prod(x.shape[2:])).take(at.reshape(-1), 1)
             for plane, at in zip(x, np.broadcast_to(indices, x.shape[:1] + indices.shape[1:]))]
        return np.stack(y).reshape(x.shape[:2] + out) if y else np.empty(x.shape[:2] + out, x.dtype)
    planes, size = math.prod(x.shape[:2]), math.prod(x.shape[2:])
    flat = indices.reshape(planes, math.prod(out)) + np.arange(planes)[:, None] * size
    return x.reshape(-1).take(flat).reshape(x.shape[:2] + out)


def scatter_planes(g: np.ndarray, indices: np.ndarray, spatial) -> np.ndarray:
    """The adjoint of `gather_planes`: sums `g` (batch, channels, ...) into planes of sizes `spatial`."""
    planes, size = math.prod(g.shape[:2]), math.prod(spatial)
    if g.size >= LARGE and indices.shape == g.shape and 0 <= indices.min() <= indices.max() < size:
        total = np.zeros((planes, size), g.dtype)
        flat = (planes, g.size // planes)
        if REFERENCE.kernel('indexing.combine', total, 1, indices.reshape(flat), g.reshape(flat), np.add):
            return total.reshape(g.shape[:2] + tuple(spatial))
    flat = np.broadcast_to(indices, g.shape).reshape(planes, math.prod(g.shape[2:])) + np.arange(planes)[:, None] * size
    total = np.bincount(flat.reshape(-1), g.reshape(-1), planes * size)
    return total.astype(g.dtype).reshape(g.shape[:2] + tuple(spatial))


def place_planes(x: np.ndarray, indices: np.ndarray, spatial) -> np.ndarray:
    """Zero planes of sizes `spatial` with the elements of `x` (batch, channels, ...) written at flat `indices`.

    Raises RuntimeError for an index outside of the plane.
    """
    size = math.prod(spatial)
    if indices.size and (indices.min() < 0 or indices.max() >= size):
        wrong = indices[(indices < 0) | (indices >= size)][0]
        raise RuntimeError(f'Found an invalid max index: {wrong} (output volumes are of size '
                           f'{"x".join(map(str, spatial))})')
    y = np.zeros(x.shape[:2] + (size,), x.dtype)
    flat = x.shape[:2] + (math.prod(x.shape[2:]),)
    np.put_along_axis(y, indices.reshape(flat), x.reshape(flat), -1)
    return y.reshape(x.shape[:2] + tuple(spatial))


SIMPLE.add(Window)


# ---- maxima --------------------------------------------------------------------------------------------

def max_pool(x: np.ndarray, window: Window, kernel) -> np.ndarray:
    """The maximum of every window of `x` (batch, channels, *spatial); NaN where the window holds one."""
    out = window.output(x.shape[2:])
    made = kernel('pooling.largest', x, out, window, None)
    if made is not None:
        return made[0]
    padded = pad_spatial(x, window.cover(x.shape[2:], out), lowest(x.dtype))
    if window.by_windows(out):
        y = np.empty(x.shape[:2] + out, x.dtype)
        for at in taps(out):
            y[(..., *at)] = padded[window.at(at)].max(axis=tuple(range(2, x.ndim)))
        return y
    y = None
    for _, index in window.parts(out):
        y = padded[index].copy() if y is None else np.maximum(y, padded[index], out=y)
    return y


def max_pool_with_indices(x: np.ndarray, window: Window, kernel) -> tuple[np.ndarray, np.ndarray]:
    """`max_pool` and the flat position of each maximum in its plane: the first of equals, the last of NaNs."""
    spatial = x.shape[2:]
    out = window.output(spatial)
    steps = plane_steps(spatial)
    inside, corner = _positions(window, spatial, out)
    made = kernel('pooling.largest', x, out, window, inside)
    if made is not None:
        return made
    padded = pad_spatial(_widened(x), window.cover(spatial, out), lowest(x.dtype))
    shifts = outer_sum([step * d * np.arange(k) for k, d, step in zip(window.kernel, window.dilation, steps)])
    if window.by_windows(out):
        return _max_by_windows(x, padded, window, corner, shifts, inside)
    may_be_nan = x.dtype.kind not in 'iu' and bool(np.isnan(padded.max(initial=-np.inf)))
    candidates = ((padded[index], corner + shift) for (_, index), shift in zip(window.parts(out), shifts.flat))
    best, indices = _running_max(candidates, inside, may_be_nan)
    return best.astype(x.dtype, copy=False), indices


@lru_cache(maxsize=256)
def _positions(window: Window, spatial, out):
    """The flat positions of each window's first element inside the plane, and of its corner, be that inside or not."""
    steps = plane_steps(spatial)
    starts = [np.arange(n) * s - p[0] for n, s, p in zip(out, window.stride, window.padding)]
    inside = outer_sum([step * np.where(b < 0, b % d, b) for b, d, step in zip(starts, window.dilation, steps)])
    return inside, outer_sum([step * b for b, step in zip(starts, steps)])


def max_pool_gradient(g: np.ndarray, x: np.ndarray, y: np.ndarray, window: Window,
                      kernel) -> np.ndarray:
    """Hands the gradient of every maximum in `y` to the first element of its window that is equal to it."""
    out = y.shape[2:]
    made = kernel('pooling.returned', g, x, window, _positions(window, x.shape[2:], out)[0])
    if made is not None:
        return made
    if window.by_windows(out) or y.dtype.kind not in 'iu' and not np.isfinite(y).all():
        return scatter_planes(g, max_pool_with_indices(x, window, kernel)[1], x.shape[2:])
    cover = window.cover(x.shape[2:], out)
    padded = pad_spatial(x, cover, lowest(x.dtype))
    total = np.zeros(padded.shape, _widened(g).dtype)
    zero = g.dtype.type(0)
    for chunk in chunks(len(y), y[:1].nbytes):
        waiting = np.ones(y[chunk].shape, bool)
        for _, index in window.parts(out):
            hit = padded[chunk][index] == y[chunk]
            hit &= waiting
            waiting ^= hit
            total[chunk][index] += np.where(hit, g[chunk], zero)
    return unpad_spatial(total, cover).astype(g.dtype, copy=False)


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
        part = padded[window.at(at)].reshape(x.shape[:2] + (shifts.size,))
        chosen, nan = part.argmax(-1), np.isnan(part)
        if nan.any():
            chosen = np.where(nan.any(-1), shifts.size - 1 - nan[..., ::-1].argmax(-1), chosen)
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


def adaptive_max_pool(x: np.ndarray, out, kernel) -> tuple[np.ndarray, np.ndarray]:
    """Maxima over `out` bins that cover the input, and their flat positions."""
    spatial = x.shape[2:]
    window = equal_bins(spatial, out)
    if window is not None:
        return max_pool_with_indices(x, window, kernel)
    bins = [adaptive_bins(size, n) for size, n in zip(spatial, out)]
    lengths = [int((end - start).max(initial=0)) for start, end in bins]
    positions = (outer_sum([step * np.minimum(start + k, end - 1)  # a shorter bin repeats its last element
                            for k, (start, end), step in zip(tap, bins, plane_steps(spatial))])
                 for tap in taps(lengths))
    return _max_at(x, positions, tuple(out))


def _max_at(x, positions, out):
    """The maximum over candidates at flat `positions`, each of shape (*out) or (batch, channels, *out)."""
    wide = _widened(x)
    candidates = ((gather_planes(wide, p if p.ndim == x.ndim else p[None, None]), p) for p in positions)
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
        corner = corner + start.reshape(start.shape[:2] + (1,) * axis + start.shape[2:] + (1,) * (dims - 1 - axis))
    return _max_at(x, (corner + sum(k * s for k, s in zip(tap, steps)) for tap in taps(kernel)), tuple(out))


# ---- averages ------------------------------------------------------------------------------------------

def _lengths(spatial, window: Window, count_include_pad: bool) -> list[np.ndarray]:
    """Along each axis how many elements windows have: of the input alone, or of the padding too."""
    lengths = []
    for size, n, k, s, (before, after) in zip(spatial, window.output(spatial), window.kernel, window.stride,
                                              window.padding):
        start = np.arange(n) * s - before
        end = np.minimum(start + k, size + after)
        if not count_include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, size)
        lengths.append(end - start)
    return lengths


@lru_cache(maxsize=256)
def divisors(spatial, window: Window, count_include_pad: bool, dtype) -> np.ndarray:
    """How many elements each window averages over."""
    return reduce(np.multiply.outer, _lengths(spatial, window, count_include_pad)).astype(dtype)


@lru_cache(maxsize=256)
def average_maps(spatial, window: Window, count_include_pad: bool, divisor: int | None) -> tuple[AxisMap, ...]:
    """The maps of axes that average over windows, one after another."""
    lengths = _lengths(spatial, window, count_include_pad)
    if divisor is not None:
        lengths = [np.full(len(n), divisor if axis == 0 else 1) for axis, n in enumerate(lengths)]
    maps = []
    for size, length, k, s, (before, _) in zip(spatial, lengths, window.kernel, window.stride, window.padding):
        column = np.arange(len(length))[:, None] * s - before + np.arange(k)
        row = np.broadcast_to(np.arange(len(length))[:, None], column.shape)
        there = (column >= 0) & (column < size)
        maps.append(AxisMap(len(length), size, row[there], column[there], 1 / length[row[there]]))
    return tuple(maps)


def _divide(total, divisor):
    return np.trunc(total / divisor).astype(total.dtype) if total.dtype.kind in 'iu' else total / divisor


def avg_pool(x: np.ndarray, window: Window, count_include_pad: bool = True, divisor: int | None = None) -> np.ndarray:
    """The average of every window of `x` (batch, channels, *spatial); the sum over `divisor` where one is given."""
    dtype, spatial = x.dtype, x.shape[2:]
    if dtype == np.float32 and len(spatial) <= 2:
        made = REFERENCE.kernel('axis_map.mapped', x, average_maps(spatial, window, count_include_pad, divisor))
        if made is not None:
            return made
    out = window.output(spatial)
    total = sum_windows(pad_spatial(_widened(x), window.cover(spatial, out)), window, out)
    divisor = divisor or divisors(spatial, window, count_include_pad, total.dtype)
    return _divide(total, divisor).astype(dtype, copy=False)


def avg_pool_adjoint(g: np.ndarray, window: Window, spatial, count_include_pad: bool = True,
                     divisor: int | None = None) -> np.ndarray:
    """The adjoint of `avg_pool` of an input of sizes `spatial`: spreads every average over its window."""
    if g.dtype == np.float32 and len(spatial) <= 2:
        maps = average_maps(tuple(spatial), window, count_include_pad, divisor)
        made = REFERENCE.kernel('axis_map.mapped', g, tuple(m.transpose for m in maps))
        if made is not None:
            return made
    wide = _widened(g)
    shares = _divide(wide, divisor or divisors(spatial, window, count_include_pad, wide.dtype))
    return spread_windows(shares, window, spatial).astype(g.dtype, copy=False)


def sum_windows(padded: np.ndarray, window: Window, out) -> np.ndarray:
    """The sum of every window of an input padded to hold them all."""
    if not window.by_windows(out):
        (_, first), *others = window.parts(out)
        y = padded[first].copy()
        for _, index in others:
            y += padded[index]
        return y
    y = np.empty(padded.shape[:2] + tuple(out), padded.dtype)
    for where, index in window.parts(out):
        y[where] = padded[index].sum(axis=tuple(range(2, padded.ndim)), keepdims=True)
    return y


def spread_windows(g: np.ndarray, window: Window, spatial) -> np.ndarray:
    """The adjoint of `sum_windows` with its padding: adds every element of `g` to its whole window."""
    out = g.shape[2:]
    cover = window.cover(spatial, out)
    x = np.zeros(g.shape[:2] + tuple(n + sum(p) for n, p in zip(spatial, cover)), g.dtype)
    for where, index in window.parts(out):
        x[index] += g[where]
    return unpad_spatial(x, cover)


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


# ---- operations: moves within planes -------------------------------------------------------------------

@opaque(namespace='', method=False, grad={
    'input': lambda m, g, indices, input_shape: m._scatter_planes(g, indices, input_shape[2:])})
def _gather_planes(m, input, indices):
    return gather_planes(input, indices)


@opaque(namespace='', method=False, grad={'input': lambda m, g, indices: m._gather_planes(g, indices)})
def _scatter_planes(m, input, indices, spatial):
    return scatter_planes(input, indices, spatial)


@opaque(namespace='', method=False, grad={'input': lambda m, g, indices: m._gather_planes(g, indices)})
def _place_planes(m, input, indices, spatial):
    return place_planes(input, indices, spatial)


# ---- operations: maxima --------------------------------------------------------------------------------

def _refuse_bool(input, operation):
    if input.dtype.kind == 'b':
        raise NotImplementedError(f'{operation} is not implemented for bool tensors: convert them, as with .float()')


def _to_maxima(m, g, outputs, input_shape):
    return m._scatter_planes(g[0], m.stop(outputs[1]), input_shape[2:])


@opaque(namespace='', method=False, widen=True, batch=side_by_side, grad={'input': _to_maxima},
        label='MaxPoolWithIndicesBackward0')
def _max_pool_with_indices(m, input, window):
    _refuse_bool(input, 'max_pool')
    return max_pool_with_indices(input, window, m.kernel)


@opaque(namespace='', method=False, widen=True, grad={
    'g': lambda m, g, input, window: m._gather_planes(g, m._max_pool_with_indices(input, window)[1])})
def _max_pool_gradient(m, g, input, maximum, window):
    return max_pool_gradient(g, input, maximum, window, m.kernel)


@opaque(namespace='', method=False, widen=True, batch=side_by_side, label='MaxPoolWithIndicesBackward0', grad={
    'input': lambda m, g, input, output, window: m._max_pool_gradient(g, m.stop(input), m.stop(output), window)})
def _max_pool(m, input, window):
    _refuse_bool(input, 'max_pool')
    return max_pool(input, window, m.kernel)


@opaque(namespace='', method=False, widen=True, batch=side_by_side, grad={'input': _to_maxima},
        label='AdaptiveMaxPoolBackward0')
def _adaptive_max_pool(m, input, out):
    return adaptive_max_pool(input, out, m.kernel)


@opaque(namespace='', method=False, widen=True, grad={'input': _to_maxima}, label='FractionalMaxPoolBackward0')
def _fractional_max_pool(m, input, kernel, out, samples):
    return fractional_max_pool(input, kernel, out, samples[:input.shape[0]])


def _window(*arguments) -> Window:
    """The window that the arguments of `_described_window` describe, remembered where they can be."""
    try:
        return _described_window(*arguments)
    except TypeError:
        return _described_window.__wrapped__(*arguments)


@lru_cache(maxsize=256, typed=True)
def _described_window(operation, dims, kernel_size, stride, padding, dilation, ceil_mode) -> Window:
    """The window that the arguments describe. Raises RuntimeError for sizes that make none."""
    kernel = per_axis(kernel_size, dims, operation, 'kernel_size')
    stride = kernel if stride is None or stride == () or stride == [] else per_axis(stride, dims, operation, 'stride')
    padding = per_axis(padding, dims, operation, 'padding')
    dilation = per_axis(dilation, dims, operation, 'dilation')
    for name, sizes in (('kernel_size', kernel), ('stride', stride), ('dilation', dilation)):
        if min(sizes) <= 0:
            raise RuntimeError(f'{operation}: {name} should be greater than zero, but got {sizes}')
    if min(padding) < 0:
        raise RuntimeError(f'{operation}: padding must be non-negative, but got {padding}')
    if any(p > (d * (k - 1) + 1) // 2 for p, k, d in zip(padding, kernel, dilation)):
        raise RuntimeError(f'{operation}: pad should be at most half of effective kernel size, but got '
                           f'padding={padding}, kernel_size={kernel} and dilation={dilation}')
    return Window(kernel, stride, tuple((p, p) for p in padding), dilation, bool(ceil_mode))


def _planes(m, operation, dims, input):
    """`input` with a batch dimension, and whether that was missing. Raises RuntimeError where it has no elements."""
    input, unbatched = batched(m, input, dims, operation)
    if 0 in input.shape[1:]:
        raise RuntimeError(f'{operation}: Expected input to have non-zero size for non-batch dimensions, but input has '
                           f'sizes {list(input.shape)}')
    return input, unbatched


def _refuse_small(operation, input, window):
    out = window.output(input.shape[2:])
    if min(out) <= 0:
        raise RuntimeError(f'{operation}: Given input size: {list(input.shape[1:])}. Calculated output size: '
                           f'{list(out)}. Output size is too small')


def _pair_for_batch(m, pair, unbatched):
    return tuple(same_for_batch(m, part, unbatched) for part in pair)


def _declare_max_pool(dims):
    operation = f'max_pool{dims}d'

    def max_pool(m, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        window = _window(operation, dims, kernel_size, stride, padding, dilation, ceil_mode)
        input, unbatched = _planes(m, operation, dims, input)
        _refuse_small(operation, input, window)
        if return_indices:
            return _pair_for_batch(m, m._max_pool_with_indices(input, window), unbatched)
        return same_for_batch(m, m._max_pool(input, window), unbatched)

    max_pool.__doc__ = f"""The maximum over windows of the last {dims} dimension(s) of (N, C, *spatial), (C, *spatial).

    With `return_indices` also the flat position of each maximum in its plane, which `max_unpool{dims}d` takes.
    """
    declared = composite(max_pool, name=operation, namespace='torch nn.functional', method=False, widen=False,
                         replay=True, label=f'MaxPool{dims}DWithIndicesBackward0')

    def with_indices(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=True):
        return declared(input, kernel_size, stride, padding, dilation, ceil_mode, True)

    with_indices.__name__ = operation + '_with_indices'
    with_indices.__doc__ = f'`{operation}` with `return_indices`.'
    export('torch nn.functional')(with_indices)
    return declared


def _adaptive_planes(m, operation, dims, input, output_size):
    """As `_planes`; with sizes for each axis PyTorch answers an input of too few dimensions with a ValueError."""
    if isinstance(output_size, (tuple, list)) and dims > 1 and getattr(input, 'ndim', dims + 1) <= dims:
        raise ArgumentError(f'{operation}: Input dimension should be at least {dims + 1}, got {list(input.shape)}')
    return _planes(m, operation, dims, input)


def _bins(operation, dims, output_size, input) -> tuple[int, ...]:
    """Output sizes of an adaptive pool; None keeps the input's size."""
    sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * dims
    if len(sizes) != dims:
        raise RuntimeError(f'{operation}: output_size must be {dims} sizes, got {output_size!r}')
    out = per_axis([n if want is None else want for n, want in zip(input.shape[2:], sizes)], dims, operation,
                   'output_size')
    if min(out) < 0:
        raise RuntimeError(f'{operation}: elements of output_size must be greater than or equal to 0 but received '
                           f'{out}')
    return out


def _declare_adaptive_max_pool(dims):
    operation = f'adaptive_max_pool{dims}d'

    def adaptive_max_pool(m, input, output_size, return_indices=False):
        input, unbatched = _adaptive_planes(m, operation, dims, input, output_size)
        pair = m._adaptive_max_pool(input, _bins(operation, dims, output_size, input))
        return _pair_for_batch(m, pair, unbatched) if return_indices else same_for_batch(m, pair[0], unbatched)

    adaptive_max_pool.__doc__ = f"""The maximum over `output_size` bins that cover the last {dims} dimension(s)."""
    declared = composite(adaptive_max_pool, name=operation, namespace='nn.functional', method=False, widen=False,
                         replay=True, label=f'AdaptiveMaxPool{dims}DBackward0')

    def with_indices(input, output_size, return_indices=True):
        return declared(input, output_size, True)

    with_indices.__name__ = operation + '_with_indices'
    with_indices.__doc__ = f'`{operation}` with `return_indices`.'
    export('nn.functional')(with_indices)
    if dims == 1:
        export('torch', name=operation)(with_indices)
    return declared


def _unpooled_size(operation, dims, input, kernel_size, stride, padding, output_size):
    kernel = per_axis(kernel_size, dims, operation, 'kernel_size')
    stride = kernel if stride is None or stride == () or stride == [] else per_axis(stride, dims, operation, 'stride')
    padding = per_axis(padding, dims, operation, 'padding')
    default = tuple((n - 1) * s + k - 2 * p for n, s, k, p in zip(input.shape[2:], stride, kernel, padding))
    if output_size is None:
        output_size = default
    elif len(output_size) not in (dims, dims + 2):
        raise ArgumentError(f'{operation}: output_size should be a sequence containing {dims} or {dims + 2} elements, '
                            f'but it has a length of {len(output_size)}')
    else:
        output_size = tuple(output_size[-dims:])
        for d, (n, size, s) in enumerate(zip(default, output_size, stride)):
            if not n - s < size < n + s:
                raise ArgumentError(f'{operation}: invalid output_size "{output_size}" (dim {d} must be between '
                                    f'{n - s} and {n + s})')
    if min(output_size) < 0:
        raise ArgumentError(f'{operation}: output_size must contain non-negative spatial dimensions, got {output_size}')
    return output_size


def _declare_max_unpool(dims):
    operation = f'max_unpool{dims}d'

    def max_unpool(m, input, indices, kernel_size, stride=None, padding=0, output_size=None):
        if getattr(indices, 'dtype', None) not in (np.dtype('int64'), dtypes.int64):
            raise RuntimeError(f'{operation}: elements in indices should be type int64 but got: '
                               f'{getattr(indices, "dtype", type(indices).__name__)}')
        if indices.shape != input.shape:
            raise RuntimeError(f'{operation}: Expected shape of indices to be same as that of the input tensor '
                               f'({list(input.shape)}) but got indices tensor with shape: {list(indices.shape)}')
        input, unbatched = _planes(m, operation, dims, input)
        indices, _ = batched(m, indices, dims, operation)
        out = _unpooled_size(operation, dims, input, kernel_size, stride, padding, output_size)
        return same_for_batch(m, m._place_planes(input, indices, out), unbatched)

    max_unpool.__doc__ = f"""Puts values back where `max_pool{dims}d` found them (its `indices`), zeros elsewhere."""
    return composite(max_unpool, name=operation, namespace='nn.functional', method=False, widen=False)


def _declare_fractional_max_pool(dims):
    operation = f'fractional_max_pool{dims}d'

    def fractional_max_pool(input, kernel_size, output_size=None, output_ratio=None, return_indices=False,
                            _random_samples=None):
        kernel = per_axis(kernel_size, dims, operation, 'kernel_size')
        if output_size is None:
            if output_ratio is None:
                raise ArgumentError(f'{operation} requires specifying either an output_size or an output_ratio')
            ratios = output_ratio if isinstance(output_ratio, (tuple, list)) else (output_ratio,) * dims
            if len(ratios) != dims:
                raise ArgumentError(f'{operation} requires output_ratio to be a single number or {dims} numbers')
            output_size = [int(n * ratio) for n, ratio in zip(input.shape[-dims:], ratios)]
        out = per_axis(output_size, dims, operation, 'output_size')
        input, unbatched = _planes(PUBLIC, operation, dims, input)
        for n, k, o in zip(input.shape[2:], kernel, out):
            if o <= 0 or k <= 0 or o + k - 1 > n:
                raise RuntimeError(f'{operation}: kernel {kernel} and output size {out} are too large relative to '
                                   f'input {list(input.shape[2:])}: each axis needs 0 < output + kernel - 1 <= input')
        if _random_samples is None:
            _random_samples = rand(*input.shape[:2], dims, dtype=input.dtype)
        batch, *sampled = _random_samples.shape
        if batch < input.shape[0] or sampled != [input.shape[1], dims]:
            raise RuntimeError(f'{operation}: expected _random_samples of shape {[*input.shape[:2], dims]}, got '
                               f'{list(_random_samples.shape)}')
        pair = PUBLIC._fractional_max_pool(input, kernel, out, _random_samples)
        return _pair_for_batch(PUBLIC, pair, unbatched) if return_indices else \
            same_for_batch(PUBLIC, pair[0], unbatched)

    def with_indices(input, kernel_size, output_size=None, output_ratio=None, return_indices=True,
                     _random_samples=None):
        return fractional_max_pool(input, kernel_size, output_size, output_ratio, True, _random_samples)

    fractional_max_pool.__doc__ = """The maximum over windows at pseudo-random steps (Graham 2014).

    Takes the output's size, or its ratio to the input's; `_random_samples` (N, C, dims) in [0, 1) place the windows.
    """
    with_indices.__doc__ = f'`{operation}` with `return_indices`.'
    for function, name in ((fractional_max_pool, operation), (with_indices, operation + '_with_indices')):
        function.__name__ = name
        export('nn.functional')(function)
    return fractional_max_pool


# ---- operations: averages ------------------------------------------------------------------------------

@opaque(namespace='', method=False, widen=True, batch=side_by_side, label='AvgPoolBackward0', grad={
    'input': lambda m, g, window, count_include_pad, divisor, input_shape:
        m._avg_pool_adjoint(g, window, input_shape[2:], count_include_pad, divisor)})
def _avg_pool(m, input, window, count_include_pad, divisor):
    _refuse_bool(input, 'avg_pool')
    return avg_pool(input, window, count_include_pad, divisor)


@opaque(namespace='', method=False, widen=True, grad={
    'input': lambda m, g, window, count_include_pad, divisor: m._avg_pool(g, window, count_include_pad, divisor)})
def _avg_pool_adjoint(m, input, window, spatial, count_include_pad, divisor):
    return avg_pool_adjoint(input, window, spatial, count_include_pad, divisor)


def _declare_avg_pool(dims):
    operation = f'avg_pool{dims}d'

    def averages(m, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override):
        window = _window(operation, dims, kernel_size, stride, padding, 1, ceil_mode)
        input, unbatched = _planes(m, operation, dims, input)
        _refuse_small(operation, input, window)
        if divisor_override == 0:
            raise RuntimeError(f'{operation}: divisor must be not zero')
        return same_for_batch(m, m._avg_pool(input, window, count_include_pad, divisor_override), unbatched)

    if dims == 1:
        def formula(m, input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
            return averages(m, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)
    else:
        def formula(m, input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
                    divisor_override=None):
            return averages(m, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)

    formula.__doc__ = f"""The average over windows of the last {dims} dimension(s) of (N, C, *spatial) or (C, *spatial).

    Padding counts as zeros unless `count_include_pad` is false.
    """
    return composite(formula, name=operation, namespace='torch nn.functional' if dims == 1 else 'nn.functional',
                     replay=True, method=False, widen=False, label=f'AvgPool{dims}DBackward0')


def _declare_adaptive_avg_pool(dims):
    operation = f'adaptive_avg_pool{dims}d'

    def adaptive_avg_pool(m, input, output_size):
        input, unbatched = _adaptive_planes(m, operation, dims, input, output_size)
        out = _bins(operation, dims, output_size, input)
        if set(out) == {1}:
            result = m.mean(input, tuple(range(2, input.ndim)), True)
        else:
            result = m._apply_maps(input, tuple(map(adaptive_average_map, input.shape[2:], out)))
        return same_for_batch(m, result, unbatched)

    adaptive_avg_pool.__doc__ = f"""The average over `output_size` bins that cover the last {dims} dimension(s)."""
    return composite(adaptive_avg_pool, name=operation, method=False, widen=False, replay=True,
                     namespace='torch nn.functional' if dims == 1 else 'nn.functional',
                     label=f'AdaptiveAvgPool{dims}DBackward0')


def _declare_lp_pool(dims):
    operation = f'lp_pool{dims}d'

    def lp_pool(m, input, norm_type, kernel_size, stride=None, ceil_mode=False):
        if norm_type in (np.inf, -np.inf):
            sign = 1 if norm_type > 0 else -1
            return sign * getattr(m, f'max_pool{dims}d')(sign * m.abs(input), kernel_size, stride, 0, 1, ceil_mode)
        average = getattr(m, f'avg_pool{dims}d')(m.pow(input, norm_type), kernel_size, stride, 0, ceil_mode)
        count = math.prod(per_axis(kernel_size, dims, operation, 'kernel_size'))
        return m.pow(m.sign(average) * m.abs(average) * count, 1.0 / norm_type)

    lp_pool.__doc__ = f"""The p-norm (sum of x^p)^(1/p), p = `norm_type`, over windows of {dims} dimension(s)."""
    return composite(lp_pool, name=operation, namespace='nn.functional', method=False)


DIMS = (1, 2, 3)
MAX_POOLS = {dims: _declare_max_pool(dims) for dims in DIMS}
ADAPTIVE_MAX_POOLS = {dims: _declare_adaptive_max_pool(dims) for dims in DIMS}
MAX_UNPOOLS = {dims: _declare_max_unpool(dims) for dims in DIMS}
FRACTIONAL_MAX_POOLS = {dims: _declare_fractional_max_pool(dims) for dims in (2, 3)}
AVG_POOLS = {dims: _declare_avg_pool(dims) for dims in DIMS}
ADAPTIVE_AVG_POOLS = {dims: _declare_adaptive_avg_pool(dims) for dims in DIMS}
LP_POOLS = {dims: _declare_lp_pool(dims) for dims in DIMS}
