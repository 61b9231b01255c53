"""2-d convolutions of few channels a group over arrays: how the work of kernels along planes is cut. Knows no tensor.

Each function answers None where others must do the work.
"""
from __future__ import annotations

import functools
import itertools
import math

import numpy as np

from ...kernel.depthwise import pixels, pixels_in_weight, planes, planes_in_weight
from ...kernel.types import named
from .build import compiled
from .convolution import (BAND, CHUNKS, ELEMENTS, SMALL, dense_images, images_of, is_in_pixels, part_size, phase_of,
                          read_zeros, suits as fit, thread_memory)
from .properties import target
from .replay import allocated, noted

__all__ = ['correlation', 'correlation_adjoint', 'correlation_in_weight']

LINES = 8         # lines of a kernel that a tile meets at a time, at most
ROWS = 8          # rows of a tile, at most: more addresses than that do not stay in registers
ROWS_IN_WEIGHT = 14  # the same for the gradient in a weight, whose lines are few
FEW = 10          # outputs of a group up to which vectors along columns are better filled than those along outputs
FEW_IN_WEIGHT = 16  # the same for the gradient in a weight
TOGETHER = 1 << 14  # multiplications that a chunk should have at least
ALIASED = 512     # numbers: rows so far apart share few lines of the first cache


def _applies(geometry, outputs, few, *arrays):
    return geometry.groups > 1 and outputs <= few and len(geometry.stride) == 2 and fit(geometry, *arrays)


def _lines(height):
    """How many lines of a kernel are met at a time: the most that divide it."""
    return max(n for n in range(1, LINES + 1) if height % n == 0)


def _lanes(element):
    return target().lanes(named(element))


def _pitch(columns, lanes):
    """Numbers of a row in scratch memory."""
    columns = -(-columns // lanes) * lanes
    return columns + lanes * (columns % ALIASED == 0)


def _band(height, numbers_of_row, stride, reach, chunks):
    """Rows of output whose rows of input fit a thread's memory, and few enough that there is work for all threads."""
    most = max(1, (BAND // numbers_of_row - reach) // stride + 1)
    return part_size(height, min(height, most, max(ROWS, -(-height * chunks // CHUNKS))))


def _group(x, groups):
    """Numbers from one group of channels to the next."""
    return x.strides[1] // x.itemsize * (x.shape[1] // groups)


@functools.lru_cache(maxsize=4096)
def _cut_planes(shape, weight_shape, sizes, stride, dilation, offsets, groups, element):
    """How `along_planes` cuts its work.

    What the kernel is made for, what brings the weight into its order of blocks of lines, a table of offsets, numbers
    of a thread's memory, and numbers for the kernel.
    """
    (images, _, height, width), (_, outputs, depth, all_lines, taps) = shape, weight_shape
    lanes, registers, parts = _lanes(element), target().registers, len(offsets)
    lines = _lines(all_lines) if all_lines else 1
    blocks, reach = all_lines // lines, (all_lines - 1) * dilation + 1
    furthest = max((at for part in offsets for at in part), default=0)
    pitch = _pitch(sizes[1] + furthest // stride[1], lanes)
    line = pitch * stride[1]
    band = _band(sizes[0], line * depth, stride[0], reach, images * groups)
    most = max(1, min(ROWS, (registers - lines - 3) // parts))
    rows = min(part_size(band, most), sizes[0] % band or band)
    vectors = 1 if parts > 1 else max(1, min(6 // rows, most // rows, -(-sizes[1] // lanes)))
    plane = ((band - 1) * stride[0] + reach) * line
    flat = [at % stride[1] * pitch + at // stride[1] for part in offsets for at in part]
    ends = [sum(map(len, offsets[:k])) for k in range(parts + 1)]
    together = max(1, TOGETHER // max(1, math.prod(sizes) * math.prod(weight_shape[1:])))
    bank = together * depth * plane + (vectors + 1) * lanes
    blocked = groups, outputs, depth, blocks, lines, taps
    return ((element, rows, vectors, lines, stride, dilation, parts),
            lambda w: np.ascontiguousarray(w.reshape(blocked).swapaxes(-1, -2)), np.array(flat + ends, np.int64), bank,
            (images, groups, depth, outputs, height, width, *sizes, blocks, taps), (pitch, band, plane, bank), together)


def along_planes(x, w, out, wide, sizes, stride, dilation, before, offsets, groups, bias=None):
    """Writes planes of `sizes` (rows, columns of each part) into `out`, bias + the cross-correlation of x and w.

    `w` (groups, outputs, depth, lines, taps) has the taps of all parts, `offsets` (several for each part) where they
    lie in a padded row. `out` has rows of any distance, of which `wide` columns are written. Where x has one channel a
    group, the next planes behind it are the others of a group.
    """
    form, in_order, table, bank, numbers, cut, together = _cut_planes(
        x.shape, w.shape, sizes, stride, dilation, offsets, groups, ELEMENTS[x.dtype])
    bias = read_zeros(groups * w.shape[1], x.dtype) if bias is None else np.ascontiguousarray(bias)
    scratch, threads = thread_memory(bank, x.dtype)
    compiled(planes, *form)(
        table, x, noted(in_order)(w), bias, out, scratch, threads, *numbers, *before, *cut, _group(x, groups),
        out.strides[1] // out.itemsize, together, wide, out.strides[2] // out.itemsize)
    return out


def _cut_pixels(x, taps, out, stride, dilation):
    """How the work on images with channels side by side is cut: (lines, offsets, the numbers that kernels take)."""
    images, channels, height, width = x.shape
    lanes, lines = _lanes(ELEMENTS[x.dtype]), _lines(taps[1])
    pitch, reach = (out[1] - 1) * stride[1] + (taps[1] - 1) * dilation[1] + 1, (taps[0] - 1) * dilation[0] + 1
    band = _band(out[0], pitch * lanes, stride[0], reach, images * -(-channels // lanes))
    offsets = np.array([*(k * dilation[0] * pitch * lanes for k in range(taps[0])), 0, taps[0]], np.int64)
    scratch, threads = thread_memory(((band - 1) * stride[0] + reach) * pitch * lanes, x.dtype)
    return lines, offsets, (scratch, threads, images, channels, height, width, *out, taps[1] // lines, taps[0]), (
        pitch, reach, band, scratch.size // threads)


def _along_channels(x, w, out, stride, dilation, before, bias=None):
    """Writes into `out` bias + the cross-correlation of x and w (channels, lines, taps), channels side by side."""
    lanes, taps, size = _lanes(ELEMENTS[x.dtype]), w.shape[1:], out.shape[2:]
    lines, offsets, numbers, more = _cut_pixels(x, taps, size, stride, dilation)
    weight = np.zeros((-(-len(w) // lanes) * lanes, *taps), x.dtype)
    weight[:len(w)] = w
    weight = np.ascontiguousarray(weight.reshape(-1, lanes, taps[0], taps[1] // lines, lines).transpose(0, 3, 2, 4, 1))
    start = np.zeros(weight.shape[0] * lanes, x.dtype)
    if bias is not None:
        start[:len(w)] = bias
    most = max(1, min(ROWS, target().registers - lines - 3))
    compiled(pixels, ELEMENTS[x.dtype], part_size(size[1], most), lines, stride, dilation[1])(
        offsets, x, weight, start, out, *numbers, *before, *more, *[out.strides[k] // out.itemsize for k in (0, 2, 3)])
    return out


def _along_channels_in_weight(g, x, taps, stride, dilation, before):
    """The gradient in w (channels, 1, *taps) of one channel a group, for images with channels side by side."""
    lanes, size = _lanes(ELEMENTS[x.dtype]), g.shape[2:]
    lines, offsets, numbers, more = _cut_pixels(x, taps, size, stride, dilation)
    columns = part_size(size[1], max(1, min(ROWS_IN_WEIGHT, target().registers - max(4, lines) - 3)))
    made = allocated((-(-x.shape[1] // lanes), taps[1] // lines, taps[0], lines, lanes), x.dtype)
    compiled(pixels_in_weight, ELEMENTS[x.dtype], columns, (size[1] - 1) % columns + 1, lines, stride, dilation[1])(
        offsets, x, g, made, *numbers, *before, *more)
    return np.ascontiguousarray(made.transpose(0, 4, 2, 1, 3).reshape(-1, 1, *taps)[:x.shape[1]])


@functools.lru_cache(maxsize=4096)
def _cut_planes_in_weight(shape, depth, outputs, size, kernel, stride, dilation, padding, groups, element):
    """How `in_weight_along_planes` cuts its work, as `_cut_planes`."""
    (images, _, height, width), lanes = shape, _lanes(element)
    lines, reach = _lines(kernel[0]), (kernel[0] - 1) * dilation[0] + 1
    offsets = [k * dilation[1] for k in range(kernel[1])]
    pitch = _pitch(size[1] + offsets[-1] // stride[1], lanes)
    line = pitch * stride[1]
    rows = part_size(size[0], max(1, min(ROWS_IN_WEIGHT, target().registers - max(4, lines) - 3)))
    band = max(rows, _band(size[0], line * depth, stride[0], reach, CHUNKS) // rows * rows)
    plane = ((band - 1) * stride[0] + reach) * line
    total_at = depth * plane + lanes
    bank = total_at + outputs * depth * math.prod(kernel) * lanes
    return ((element, rows, (size[0] - 1) % rows + 1, lines, stride, dilation[0]),
            np.array([at % stride[1] * pitch + at // stride[1] for at in offsets], np.int64), bank,
            (images, groups, depth, outputs, height, width, *size, kernel[0] // lines, kernel[1],
             *(before for before, _ in padding), pitch, band, plane, bank), total_at)


def in_weight_along_planes(g, x, depth, kernel, geometry, groups):
    """The gradient in w (groups, outputs, depth, *kernel), for planes as in `along_planes`."""
    outputs = g.shape[1] // groups
    form, table, bank, numbers, total_at = _cut_planes_in_weight(
        x.shape, depth, outputs, g.shape[2:], kernel, geometry.stride, geometry.dilation, geometry.padding, groups,
        ELEMENTS[x.dtype])
    lines = form[3]
    made = allocated((groups, outputs, depth, kernel[0] // lines, kernel[1], lines), x.dtype)
    scratch, threads = thread_memory(bank, x.dtype)
    compiled(planes_in_weight, *form)(
        table, x, g, made, scratch, threads, *numbers, _group(x, groups), g.strides[1] // g.itemsize, total_at)
    return made.swapaxes(-1, -2).reshape(groups, outputs, depth, *kernel)


def tap_offsets(taps, dilation):
    """Where taps lie in a padded row, for one part."""
    return (tuple(range(0, taps * dilation, dilation)),)


def correlation(x, w, geometry, bias=None):
    """bias + the cross-correlation of x (batch, channels, rows, columns) and w (outputs, channels of a group, ...)."""
    groups = geometry.groups
    if not _applies(geometry, len(w) // groups, FEW, x, w):
        return None
    out = geometry.output(x.shape[2:], w.shape[2:])
    shape = (x.shape[0], w.shape[0], *out)
    if min(out) <= 0 or math.prod(shape) * w[0].size < SMALL:
        return None
    before = [p for p, _ in geometry.padding]
    in_pixels = is_in_pixels(x)
    if in_pixels and groups == x.shape[1] == w.shape[0]:
        return _along_channels(x, w[:, 0], images_of(shape, True, x.dtype), geometry.stride, geometry.dilation, before,
                               bias)
    made = along_planes(dense_images(x), w.reshape(groups, -1, *w.shape[1:]), allocated(shape, x.dtype), out[1], out,
                         geometry.stride, geometry.dilation[0], before, tap_offsets(w.shape[3], geometry.dilation[1]),
                         groups, bias)
    return dense_images(made, in_pixels)


@functools.lru_cache(maxsize=4096)
def _phases(stride, padding, dilation, kernel, rows):
    """How an adjoint in planes is cut: (padding at the left, offsets of each part, taps of all parts, rows).

    rows: for each phase of them, (first tap, step, their dilation, padding at the top).
    """
    columns = [phase_of(x, stride[1], padding[1], dilation[1], kernel[1]) for x in range(stride[1])]
    left = max(part[4] for part in columns if part is not None)
    offsets = [() if part is None else tuple(left - part[4] + k * part[3] for k in range(part[2])) for part in columns]
    taps = [first + k * step for first, step, count, *_ in filter(None, columns) for k in reversed(range(count))]
    found = [phase_of(row, stride[0], padding[0], dilation[0], kernel[0]) or (kernel[0], 1, 0, 1, 0)
             for row in range(rows)]
    return left, tuple(offsets), taps, [(first, step, apart, top) for first, step, _, apart, top in found]


def adjoint_along_planes(g, w, geometry, out, groups):
    """Writes into `out` the adjoint of a correlation with w (groups, outputs, depth, ...), as `along_planes`."""
    (stride, across), spatial, padding = geometry.stride, out.shape[2:], tuple(p for p, _ in geometry.padding)
    left, offsets, taps, rows = _phases(geometry.stride, padding, geometry.dilation, w.shape[3:],
                                        min(stride, spatial[0]))
    for row, (first, step, apart, top) in enumerate(rows):
        along_planes(g, w[:, :, :, first::step][:, :, :, ::-1, taps], out[:, :, row::stride], spatial[1],
                      (-(-(spatial[0] - row) // stride), -(-spatial[1] // across)), (1, 1), apart, (top, left), offsets,
                      groups)


def _adjoint_along_channels(g, w, geometry, shape):
    """The adjoint of a correlation with w (channels, lines, taps), channels side by side: phase by phase."""
    phases = [[phase_of(k, stride, before, dilation, kernel) for k in range(min(stride, n))]
              for stride, (before, _), dilation, kernel, n in zip(geometry.stride, geometry.padding, geometry.dilation,
                                                                  w.shape[1:], shape[2:])]
    out = images_of(shape, True, g.dtype)
    for (y, row), (x, column) in itertools.product(*map(enumerate, phases)):
        part = out[:, :, y::geometry.stride[0], x::geometry.stride[1]]
        if row is None or column is None:
            part[...] = 0
            continue
        (first_row, step_row, _, *row), (first, step, _, *column) = row, column
        _along_channels(g, w[:, first_row::step_row, first::step][:, ::-1, ::-1], part, (1, 1), *zip(row, column))
    return out


def correlation_adjoint(g, w, geometry, spatial):
    """The adjoint of `correlation` in x of sizes `spatial`: for each phase of the rows, all phases of the columns."""
    if not _applies(geometry, w.shape[1], FEW, g, w) or g.size * w[0].size < SMALL or min(spatial) <= 0:
        return None
    groups, in_pixels = geometry.groups, is_in_pixels(g)
    shape = (g.shape[0], groups * w.shape[1], *spatial)
    if in_pixels and groups == g.shape[1] == shape[1]:
        return _adjoint_along_channels(g, w[:, 0], geometry, shape)
    made = allocated(shape, g.dtype)
    adjoint_along_planes(dense_images(g), w.reshape(groups, -1, *w.shape[1:]).swapaxes(1, 2), geometry, made, groups)
    return dense_images(made, in_pixels)


def correlation_in_weight(g, x, geometry, kernel):
    """The gradient of `correlation` in w of sizes `kernel`, for the gradient g of its output."""
    groups, stride, dilation = geometry.groups, geometry.stride, geometry.dilation
    if (not _applies(geometry, g.shape[1] // groups, FEW_IN_WEIGHT, g, x)
            or g.size * x.shape[1] // groups * math.prod(kernel) < SMALL):
        return None
    if is_in_pixels(g) and is_in_pixels(x) and groups == g.shape[1] == x.shape[1]:
        return _along_channels_in_weight(g, x, tuple(kernel), stride, dilation, [p for p, _ in geometry.padding])
    depth = x.shape[1] // groups
    return in_weight_along_planes(dense_images(g), dense_images(x), depth, tuple(kernel), geometry, groups).reshape(
        -1, depth, *kernel)
