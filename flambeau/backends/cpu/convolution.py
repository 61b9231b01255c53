"""2-d convolutions over arrays: which kernels take which shapes, and how the work is cut. Knows no tensor.

Each function answers None where the reference must do the work.
"""
from __future__ import annotations

import math

import numpy as np

from ...kernel.convolution import direct, weight_gradient
from ...kernel.planar import planar
from ...kernel.tiles import tile_columns, tile_rows
from ...kernel.winograd import PLACES, TILE, minimal, minimal_in_weight
from .build import compiled
from .contraction import matmul
from .launch import get_num_threads
from .properties import target

__all__ = ['correlation', 'correlation_adjoint', 'correlation_in_weight']

BAND = 64 << 10     # numbers of a band: what stays in a core's second cache beside a strip of weights
CHUNKS = 8          # at least so many chunks, where that does not cost too much copying
NARROW = 32         # channels that a chunk of the gradient in the weight should have at least
SLAB = 256          # tiles whose products with all others are taken at a time in the gradient in a weight
SMALL = 1 << 14     # multiplications below which the reference is as quick
FLOAT = np.dtype(np.float32)


def _applies(geometry, *arrays):
    """Whether these are arrays and steps that kernels take."""
    return (geometry.groups == 1 and len(geometry.stride) == 2
            and all(a.dtype == FLOAT and a.ndim == 4 and a.size and a.size < 1 << 31 for a in arrays))


def _is_pointwise(geometry, kernel) -> bool:
    """Whether each pixel meets itself alone: then a convolution is a product of matrices."""
    return kernel == geometry.stride == (1, 1) and not any(map(any, geometry.padding))


def _pointwise(matrix, x):
    """matrix @ the channels of each pixel of x."""
    images, channels, height, width = x.shape
    made = matmul(np.broadcast_to(matrix, (images, *matrix.shape)), x.reshape(images, channels, height * width))
    return None if made is None else made.reshape(images, matrix.shape[0], height, width)


def _split(length, most):
    """The size of near-equal parts, none longer than `most`."""
    return -(-length // -(-length // most))


def _scratch(bank):
    """(memory of `bank` numbers for each thread, how many threads it is for)."""
    threads = get_num_threads()
    return np.empty(threads * bank, FLOAT), threads


def _reach(kernel, out_width, stride, dilation):
    """(runs of taps that lie side by side, rows that one output row meets, columns that all meet)."""
    lines, taps = kernel
    return (1 if dilation[1] == 1 else taps, (lines - 1) * dilation[0] + 1,
            (out_width - 1) * stride[1] + (taps - 1) * dilation[1] + 1)


def _rows_of_band(out, stride, lines, numbers_per_row):
    """Rows of output whose rows of input fit a band."""
    rows = max(1, (BAND // max(1, numbers_per_row) - lines) // stride + 1)
    return _split(out, min(rows, out))


def _tiles(shape):
    """How many tiles of Winograd's filtering images have."""
    return shape[0] * -(-shape[2] // TILE) * -(-shape[3] // TILE)


def _is_minimal(channels, outputs, taps, shape, stride, dilation):
    """Whether Winograd's filtering takes fewer steps for an output of this shape: products must repay the transforms."""
    return (tuple(taps) == (3, 3) and stride == dilation == (1, 1) and min(channels, outputs) >= 16
            and _tiles(shape) >= 2 * tile_columns(target()))


def _panels(count):
    """(number of panels, their rows, how many of them have all)."""
    panels = -(-count // tile_rows(target()))
    rows = -(-count // panels)
    return panels, rows, count - panels * (rows - 1)


def _filter(x, w, out, before):
    """Writes into `out` the correlation with 3x3 taps of steps of one by Winograd's minimal filtering."""
    images, channels, height, width = x.shape
    outputs, strip = w.shape[0], tile_columns(target())
    lanes = strip // 2
    panels, rows, upper = _panels(outputs)
    strips = -(-_tiles(out.shape) // strip)
    plane, panel = channels * strip + lanes, PLACES * (channels + 1) * -(-rows // lanes) * lanes
    groups = min(panels, max(1, -(-CHUNKS // strips)))
    threads = get_num_threads()
    deep = 4 * threads <= panels >= strips  # weights are read once where there are more of them than tiles
    wide = 1 if deep else -(-panels // groups)
    together = min(wide, 1 if channels <= 256 else 4)
    sums_plane = together * rows * strip + lanes
    sums_at = panel if deep else PLACES * plane
    bank = sums_at + PLACES * sums_plane
    if w.strides[2:] not in ((12, 4), (-12, -4)):
        w = np.ascontiguousarray(w)
    flipped = w.strides[2] < 0
    run = compiled(minimal, rows, upper < panels, flipped, deep)
    weights = threads * bank if deep else panels * panel
    tiles = strips * PLACES * plane if deep else threads * bank
    run(x, w[:, :, ::-1, ::-1] if flipped else w, out, np.empty(weights, FLOAT), np.empty(tiles, FLOAT), threads, images,
        channels, height, width, outputs, *out.shape[2:], *before, w.strides[0] // 4, w.strides[1] // 4, panels, upper, wide,
        together, bank, plane, sums_at, sums_plane)
    return out


def _filter_in_weight(g, x, out, before):
    """Writes into `out` the gradient in 3x3 taps of steps of one by Winograd's minimal filtering."""
    images, channels, height, width = x.shape
    outputs, strip = g.shape[1], tile_columns(target())
    panels, rows, upper = _panels(channels)
    strips, tiles = -(-outputs // strip), _tiles(g.shape)
    slab = -(-tiles // -(-tiles // SLAB))
    slab = min(tiles, -(-slab // strip) * strip)
    input_pitch = -(-slab // strip) * strip + strip // 2
    gradient_pitch = slab * strip + strip // 2
    input_plane, gradient_plane = channels * input_pitch, strips * gradient_pitch
    threads = get_num_threads()
    totals = np.empty((threads if slab == tiles else panels * strips) * PLACES * rows * strip, FLOAT)
    compiled(minimal_in_weight, rows, upper < panels)(
        x, g, out, np.empty(PLACES * input_plane, FLOAT), np.empty(PLACES * gradient_plane, FLOAT), totals, threads, images,
        channels, height, width, outputs, *g.shape[2:], *before, panels, upper, slab, input_plane, input_pitch,
        gradient_plane, gradient_pitch)
    return out


def _correlate(x, w, out, stride, before, dilation):
    """Writes into `out` the cross-correlation of x, padded by `before` at the top and left, and w of any strides."""
    images, channels, height, width = x.shape
    outputs, _, lines, taps = w.shape
    if _is_minimal(channels, outputs, (lines, taps), out.shape, stride, dilation):
        return _filter(x, w, out, before)
    out_height, out_width = out.shape[2:]
    runs, reach, columns = _reach((lines, taps), out_width, stride, dilation)
    band = _rows_of_band(out_height, stride[0], reach, columns * channels)
    strips = -(-outputs // tile_columns(target()))
    chunks = images * -(-out_height // band)
    groups = min(strips, max(1, -(-CHUNKS // chunks)))
    bank = ((band - 1) * stride[0] + reach) * columns * channels + 64
    whole = strips * tile_columns(target())
    most = min(tile_rows(target()), tile_columns(target()) // 2)  # a tile is written by turning squares of lanes
    run = compiled(direct, _split(out_width, most), w.flags.c_contiguous)
    scratch, threads = _scratch(bank)
    run(x, w, out, np.empty(whole * channels * lines * taps, FLOAT), scratch, threads, images, channels, height,
        width, outputs, out_height, out_width, lines, runs, taps // runs, *stride, *dilation, *before, columns, band,
        -(-strips // groups), bank, *(s // 4 for s in w.strides))
    return out


def correlation(x, w, geometry):
    """The cross-correlation of x (batch, channels, rows, columns) and w (outputs, channels, rows, columns)."""
    if not _applies(geometry, x, w) or x.shape[1] != w.shape[1]:
        return None
    out = geometry.output(x.shape[2:], w.shape[2:])
    shape = (x.shape[0], w.shape[0], *out)
    if min(out) <= 0 or math.prod(shape) * w[0].size < SMALL:
        return None
    x = np.ascontiguousarray(x)
    if _is_pointwise(geometry, w.shape[2:]):
        return _pointwise(w[:, :, 0, 0], x)
    made, before = np.empty(shape, FLOAT), tuple(p for p, _ in geometry.padding)
    if w.shape[0] <= tile_rows(target()) and geometry.stride == geometry.dilation == (1, 1):
        return _planes(x, w.transpose(2, 3, 1, 0), made, before, (1, 1))
    return _correlate(x, w, made, geometry.stride, before, geometry.dilation)


def _planes(x, w, out, before, steps):
    """Writes into `out` a correlation of x, padded by `before`, with w (rows, columns, channels, phases * outputs)."""
    images, channels, height, width = x.shape
    lines, taps, _, rows = w.shape
    lanes = tile_columns(target()) // 2
    pitch = -(-rows // lanes) * lanes
    vectors = min(2 * tile_rows(target()) // rows, 8)
    weight = np.empty((lines, taps, channels, pitch), FLOAT)
    weight[..., :rows] = w
    down, across = (-(-size // step) for size, step in zip(out.shape[2:], steps))
    columns = across + taps - 1
    band = _rows_of_band(down, 1, lines, columns * channels)
    plane = -(-((band + lines - 1) * columns + vectors * lanes) // (2 * lanes)) * 2 * lanes + lanes  # odd: no two in a set
    length = -(-band * columns // (vectors * lanes)) * vectors * lanes
    bank = channels * plane + rows * length
    run = compiled(planar, rows, vectors, pitch, steps)
    scratch, threads = _scratch(bank)
    run(x, weight, out, scratch, threads, images, channels, height, width, *out.shape[2:], lines, taps, *before, down,
        band, columns, bank, plane, channels * plane, length)
    return out


def _phase(offset, stride, padding, dilation, kernel):
    """Of inputs offset, offset + stride, ...: (first tap, step, number of taps, their dilation, padding before).

    Input i meets tap k of output (i + padding - k * dilation) / stride, where that is whole.
    """
    step = stride // math.gcd(stride, dilation)
    first = next((k for k in range(min(step, kernel)) if (offset + padding - k * dilation) % stride == 0), None)
    if first is None:
        return None
    count = -(-(kernel - first) // step)
    apart = step * dilation // stride
    return first, step, count, apart, (count - 1) * apart - (offset + padding - first * dilation) // stride


def _adjoint_in_planes(g, w, geometry, out):
    """Writes into `out` the adjoint of a correlation for all phases of the strides at once."""
    phases = [[(offset, _phase(offset, stride, before, dilation, kernel)) for offset in range(stride)]
              for stride, (before, _), dilation, kernel in zip(geometry.stride, geometry.padding, geometry.dilation, w.shape[2:])]
    phases = [[(offset, found) for offset, found in axis if found] for axis in phases]
    before = [max(found[4] for _, found in axis) for axis in phases]
    sizes = [most + max((count - 1) * apart - top for _, (_, _, count, apart, top) in axis) + 1
             for most, axis in zip(before, phases)]
    made = np.zeros((*sizes, w.shape[0], *geometry.stride, w.shape[1]), FLOAT)
    for y, (first_y, step_y, count_y, apart_y, top) in phases[0]:
        for x, (first_x, step_x, count_x, apart_x, left) in phases[1]:
            place = made[before[0] - top::apart_y, before[1] - left::apart_x, :, y, x][:count_y, :count_x]
            place[...] = w[:, :, first_y::step_y, first_x::step_x][:, :, ::-1, ::-1].transpose(2, 3, 0, 1)
    return _planes(g, made.reshape(*sizes, w.shape[0], -1), out, before, geometry.stride)


def correlation_adjoint(g, w, geometry, spatial):
    """The adjoint of `correlation` in x of sizes `spatial`: a correlation for each phase of the strides."""
    if not _applies(geometry, g, w) or g.shape[1] != w.shape[0] or g.size * w[0].size < SMALL or min(spatial) <= 0:
        return None
    g = np.ascontiguousarray(g)
    if _is_pointwise(geometry, w.shape[2:]):
        return _pointwise(w[:, :, 0, 0].T, g)
    shape = (g.shape[0], w.shape[1], *spatial)
    strides = geometry.stride
    made = np.empty(shape, FLOAT)
    if math.prod(strides) * shape[1] <= 2 * tile_rows(target()):
        return _adjoint_in_planes(g, w, geometry, made)
    whole = strides == (1, 1)
    for offset_y in range(min(strides[0], spatial[0])):
        for offset_x in range(min(strides[1], spatial[1])):
            place = made[:, :, offset_y::strides[0], offset_x::strides[1]]
            phases = [_phase(*given) for given in zip(
                (offset_y, offset_x), strides, (p for p, _ in geometry.padding), geometry.dilation, w.shape[2:])]
            if None in phases:
                place[...] = 0
                continue
            (y, step_y, count_y, apart_y, top), (x, step_x, count_x, apart_x, left) = phases
            part = w[:, :, y::step_y, x::step_x][:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
            result = made if whole else np.empty(place.shape, FLOAT)
            _correlate(g, part, result, (1, 1), (top, left), (apart_y, apart_x))
            if not whole:
                place[...] = result
    return made


def _pointwise_in_weight(g, x):
    """The sum over images of g @ x, transposed."""
    made = np.empty((g.shape[1], x.shape[1]), FLOAT)
    for image, (left, right) in enumerate(zip(g, x)):
        left, right = left.reshape(len(left), -1), right.reshape(len(right), -1)
        if matmul(left, right.T, made, None, image > 0) is None:
            return None
    return made[:, :, None, None]


def correlation_in_weight(g, x, geometry, kernel):
    """The gradient of `correlation` in w of sizes `kernel`, for the gradient g of its output."""
    if not _applies(geometry, g, x) or g.size * x.shape[1] * math.prod(kernel) < SMALL:
        return None
    g, x = np.ascontiguousarray(g), np.ascontiguousarray(x)
    if _is_pointwise(geometry, tuple(kernel)):
        return _pointwise_in_weight(g, x)
    images, channels, height, width = x.shape
    outputs, (out_height, out_width), (lines, taps) = g.shape[1], g.shape[2:], kernel
    stride, dilation, strip = geometry.stride, geometry.dilation, tile_columns(target())
    before, made = tuple(p for p, _ in geometry.padding), np.empty((outputs, channels, *kernel), FLOAT)
    if _is_minimal(channels, outputs, kernel, g.shape, stride, dilation):
        return _filter_in_weight(g, x, made, before)
    strips = -(-outputs // strip)
    group = _split(channels, max(NARROW, -(-channels * strips // CHUNKS)))
    runs, reach, columns = _reach((lines, taps), out_width, stride, dilation)
    band = _rows_of_band(out_height, stride[0], reach, columns * group)
    rows = _split(taps // runs * group, tile_rows(target()))
    outer_at = -(-(((band - 1) * stride[0] + reach) * columns * group + 64) // 16) * 16
    total_at = outer_at + band * out_width * strip
    bank = total_at + lines * runs * (taps // runs * group + rows) * strip
    run = compiled(weight_gradient, rows)
    scratch, threads = _scratch(bank)
    run(x, g, made, scratch, threads, images, channels, height, width, outputs, out_height, out_width, lines, runs,
        taps // runs, *stride, *dilation, *before, columns, band, group, bank, outer_at,
        total_at)
    return made
