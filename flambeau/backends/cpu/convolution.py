"""2-d convolutions over arrays: which kernels take which shapes, and how the work is cut. Knows no tensor.

Each function answers None where the reference must do the work.
"""
from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from ...kernel.convolution import direct, weight_gradient
from ...kernel.planar import planar
from ...kernel.tiles import tile_columns, tile_rows
from ...kernel.winograd import FILTERINGS, minimal, minimal_in_weight
from .build import compiled
from .contraction import matmul
from .launch import get_num_threads
from .layout import dense
from .properties import PRECISION, target
from .replay import allocated, noted

__all__ = ['biased', 'correlation', 'correlation_adjoint', 'correlation_in_weight']

BAND = 64 << 10     # numbers of a band: what stays in a core's second cache beside a strip of weights
DEEP = 1 << 18      # numbers of all bands, up to which weights are rather packed where they are used
CHUNKS = 8          # at least so many chunks, where that does not cost too much copying
MERGED = 256        # pixels of an image below which the images of a batch become one matrix
NARROW = 32         # channels that a chunk of the gradient in the weight should have at least
SEVERAL = 512       # tiles from which on Winograd's filtering is worth a call for each of several groups
SLAB = 256          # tiles whose products with all others are taken at a time in the gradient in a weight
KINDS = {(1, 1): 'one', (2, 2): 'two'}  # of minimal filtering, by steps
ADJOINT = {(2, 2): 'apart'}
SMALL = 1 << 7      # multiplications below which the reference is as quick
FLOAT = np.dtype(np.float32)
ELEMENTS = {FLOAT: 'float32', np.dtype(np.float64): 'float64'}


class Placed(NamedTuple):
    """Where kernels find the images of x and out: `inner` in each of `images`, with the weights of `groups` in turn.

    The strides are those of (images, inner images, channels), in numbers; with `in_pixels`, of pixels for channels.
    """
    images: int
    inner: int
    groups: int
    x: tuple[int, int, int]
    out: tuple[int, int, int]
    in_pixels: bool


def suits(geometry, x, w):
    """Whether these are arrays that kernels take."""
    dims = len(geometry.stride) + 2
    return (x.dtype in ELEMENTS and w.dtype == x.dtype and x.ndim == w.ndim == dims and 0 < x.size < 1 << 31
            and 0 < w.size < 1 << 31)


def is_in_pixels(array):
    """Whether channels lie side by side, as in channels_last."""
    return not array.flags.c_contiguous and array.transpose(0, 2, 3, 1).flags.c_contiguous


def dense_images(array, in_pixels=False):
    """The array in C order, or with its channels side by side."""
    if in_pixels:
        return dense_images(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    if array.flags.c_contiguous:
        return array
    made = dense(array)
    return np.ascontiguousarray(array) if made is None else made


def _placed(x, out, groups):
    """Images of groups of channels, of arrays with the same order of dimensions."""
    in_pixels = is_in_pixels(x)
    strides = []
    for array in (x, out):
        images, channels, height, width = array.shape
        plane = 1 if in_pixels else height * width
        strides.append((channels * height * width, channels // groups * plane, channels if in_pixels else plane))
    return Placed(len(x), groups, groups, *strides, in_pixels)


def _is_pointwise(geometry, kernel) -> bool:
    """Whether a pixel meets itself alone: then a convolution is a product of matrices."""
    return geometry.groups == 1 and tuple(kernel) == (1, 1) and geometry.padding == ((0, 0), (0, 0))


def _met(x, geometry):
    """The pixels of x that a pointwise convolution meets."""
    return x[:, :, ::geometry.stride[0], ::geometry.stride[1]]


def _matrices(x):
    """The channels of all pixels, as (images, channels, pixels); of small images as (1, channels, pixels of all)."""
    if is_in_pixels(x):
        return x.transpose(0, 2, 3, 1).reshape(-1, x.shape[1]).T[None]
    if len(x) > 1 and x[0, 0].size < MERGED:
        return dense_images(x.swapaxes(0, 1)).reshape(1, x.shape[1], -1)
    return x.reshape(*x.shape[:2], -1)


@noted
def _add_to_planes(made, bias):
    """Adds a number for each output to `made` (images, outputs, ...)."""
    made += bias.reshape(-1, *(1,) * (made.ndim - 2))


def _pointwise(matrix, x, bias=None):
    """bias + matrix @ the channels of each pixel of x."""
    images, channels, height, width = x.shape
    if height == width == 1:
        made = matmul(x.reshape(images, channels), matrix.T, None, bias)
        return None if made is None else made.reshape(images, -1, 1, 1)
    if is_in_pixels(x):
        made = matmul(x.transpose(0, 2, 3, 1).reshape(-1, channels), matrix.T, None, bias)
        return None if made is None else made.reshape(images, height, width, -1).transpose(0, 3, 1, 2)
    columns = _matrices(x)
    made = matmul(np.broadcast_to(matrix, (len(columns), *matrix.shape)), columns)
    if made is None:
        return None
    if bias is not None:
        _add_to_planes(made, bias)
    if len(columns) == images:
        return made.reshape(images, -1, height, width)
    return dense_images(made.reshape(-1, images, height, width).swapaxes(0, 1))


def part_size(length, most):
    """The size of near-equal parts, none longer than `most`."""
    return -(-length // -(-length // most))


def thread_memory(bank, dtype=FLOAT):
    """(memory of `bank` numbers for each thread, how many threads it is for)."""
    threads = get_num_threads()
    return allocated(threads * bank, dtype), threads


def _rows_of_band(out, stride, lines, numbers_per_row):
    """Rows of output whose rows of input fit a band."""
    rows = max(1, (BAND // max(1, numbers_per_row) - lines) // stride + 1)
    return part_size(out, min(rows, out))


def strides_of(array):
    return [s // array.itemsize for s in array.strides]


def _tiles(shape, tile):
    """How many tiles of Winograd's filtering images have."""
    return shape[0] * -(-shape[2] // tile) * -(-shape[3] // tile)


def _strip(tiles):
    """Tiles that are multiplied at a time."""
    return tile_columns(target()) // (2 if tiles <= tile_columns(target()) // 2 else 1)


def filter_kind(stride, adjoint=False):
    """The kind of Winograd's filtering for these steps, or None."""
    if adjoint or stride != (1, 1):
        return (ADJOINT if adjoint else KINDS).get(stride)
    return KINDS[stride] if PRECISION['float32'] == 'highest' else 'coarse'


def is_minimal(channels, outputs, taps, shape, stride, dilation, groups=1, adjoint=False):
    """Whether Winograd's filtering is quicker for an output of this shape."""
    return _repays(filter_kind(stride, adjoint), channels, outputs, tuple(taps), shape, stride, dilation, groups,
                   adjoint)


@functools.lru_cache(maxsize=4096)
def _repays(kind, channels, outputs, taps, shape, stride, dilation, groups, adjoint):
    """Whether a kind of filtering, or None, takes so many fewer products that it repays its transforms."""
    fewest = (3, 8) if stride == (1, 1) else (16, 16)
    if kind is None or taps != (3, 3) or dilation != (1, 1) or channels < fewest[0] or outputs < fewest[1]:
        return False
    places, tiles = FILTERINGS[kind].places, _tiles(shape, FILTERINGS[kind].tile)
    strip, taps_met = _strip(tiles), 9 / math.prod(stride) if adjoint else 9
    return ((groups == 1 or tiles > SEVERAL)
            and taps_met * shape[0] * shape[2] * shape[3] > 1.2 * places * -(-tiles // strip) * strip)


def _panels(count):
    """(number of panels, their rows, how many of them have all)."""
    panels = -(-count // tile_rows(target()))
    rows = -(-count // panels)
    return panels, rows, count - panels * (rows - 1)


@functools.lru_cache(maxsize=4096)
def _cut_filter(kind, shape, outputs, size, threads):
    """How `write_filtered` cuts its work: what the kernel is made for, sizes of its memory, numbers for the kernel."""
    images, inner, channels, height, width = shape
    places, lanes = FILTERINGS[kind].places, tile_columns(target()) // 2
    tiles = _tiles((images * inner, outputs, *size), FILTERINGS[kind].tile)
    strip = _strip(tiles)
    panels, rows, upper = _panels(outputs)
    strips = -(-tiles // strip)
    plane, panel = (channels + 1) * strip, places * (channels + 1) * -(-rows // lanes) * lanes
    groups = min(panels, max(1, -(-CHUNKS // strips)))
    deep = 4 * threads <= panels >= strips  # weights are read once where there are more of them than tiles
    wide = 1 if deep else -(-panels // groups)
    together = min(wide, 1 if channels <= 256 else 4)
    sums_plane = together * rows * strip
    sums_at = panel if deep else places * plane
    bank = sums_at + places * sums_plane
    space = (threads * bank, strips * places * plane) if deep else (panels * panel, threads * bank)
    return (rows, upper < panels, strip // lanes), deep, space, (
        threads, images * inner, channels, height, width, outputs, *size), (
        panels, upper, wide, together, bank, plane, sums_at, sums_plane, inner)


def write_filtered(x, w, out, before, kind):
    """Writes into `out` the correlation with 3x3 taps by a kind of Winograd's minimal filtering.

    x and out are (images, inner images, channels, rows, columns) in any order whose planes are dense.
    """
    form, deep, space, sizes, cut = _cut_filter(kind, x.shape, w.shape[0], out.shape[3:], get_num_threads())
    if w.strides[2:] not in ((12, 4), (-12, -4)):
        w = np.ascontiguousarray(w)
    flipped = w.strides[2] < 0
    compiled(minimal, kind, *form, flipped, deep)(
        x, w[:, :, ::-1, ::-1] if flipped else w, out, allocated(space[0], FLOAT), allocated(space[1], FLOAT), *sizes,
        *before, *strides_of(w)[:2], *cut, *strides_of(x)[:3], *strides_of(out)[:3])
    return out


@functools.lru_cache(maxsize=4096)
def _cut_filter_in_weight(kind, shape, outputs, size, threads):
    """How `filtered_in_weight` cuts its work, as `_cut_filter`."""
    images, inner, channels, height, width = shape
    strip, places = tile_columns(target()), FILTERINGS[kind].places
    panels, rows, upper = _panels(channels)
    strips, tiles = -(-outputs // strip), _tiles((images * inner, outputs, *size), FILTERINGS[kind].tile)
    slab = -(-tiles // -(-tiles // SLAB))
    slab = min(tiles, -(-slab // strip) * strip)
    input_pitch, gradient_pitch = (-(-slab // strip) + 1) * strip, (slab + 1) * strip
    input_plane, gradient_plane = channels * input_pitch + strip, strips * gradient_pitch
    totals = (threads if slab == tiles else panels * strips) * places * rows * strip
    return (rows, upper < panels), (places * input_plane, places * gradient_plane, totals), (
        threads, images * inner, channels, height, width, outputs, *size), (
        panels, upper, slab, input_plane, input_pitch, gradient_plane, gradient_pitch, inner)


def filtered_in_weight(g, x, before, kind):
    """The gradient in 3x3 taps by a kind of Winograd's minimal filtering, for images as in `write_filtered`."""
    form, space, sizes, cut = _cut_filter_in_weight(kind, x.shape, g.shape[2], g.shape[3:], get_num_threads())
    out = allocated((g.shape[2], x.shape[2], 3, 3), FLOAT)
    compiled(minimal_in_weight, kind, *form)(
        x, g, out, *[allocated(size, FLOAT) for size in space], *sizes, *before, *cut, *strides_of(x)[:3],
        *strides_of(g)[:3])
    return out


def _cut(size, stride, reach, span, numbers):
    """(rows of a band, columns of a block of it): what fits a band of pixels of so many numbers."""
    height, width = size
    tile = tile_rows(target())
    room = BAND // (numbers * ((min(height, 4) - 1) * stride[0] + reach))
    block = max(4 * tile, (room - span) // stride[1] // tile * tile)
    while block < width and 0 < width % block < tile:  # the last block holds a tile, too
        block += tile
    block = min(block, width)
    return _rows_of_band(height, stride[0], reach, ((block - 1) * stride[1] + span) * numbers), block


@functools.lru_cache(maxsize=4096)
def _plan(images, outputs, channels, lines, parts, size, stride, dilation, element):
    """How `write_direct` cuts its work for parts of (taps of a row, column to start from): what the kernel is made for,
    the outputs of whole strips, (where panels begin, runs, taps of a run, column) of each part, and numbers for the
    kernel.
    """
    span = max(beside + (taps - 1) * dilation[1] + 1 for taps, beside in parts)
    reach, lanes = (lines - 1) * dilation[0] + 1, tile_columns(target(), element) // 2
    band, block = _cut(size, stride, reach, span, channels)
    columns = (block - 1) * stride[1] + span
    vectors = 1 if outputs <= lanes else 2
    strips = -(-outputs // (vectors * lanes))
    cuts = min(strips, max(1, -(-CHUNKS // (images * -(-size[0] // band) * -(-size[1] // block)))))
    whole = strips * vectors * lanes
    most = min(tile_rows(target()) if vectors == 2 else lanes, lanes)  # a tile is written by turning squares of lanes
    rows = most if block < size[1] else part_size(size[1], most)
    table, begin = [], 0
    for taps, beside in parts:
        runs = 1 if dilation[1] == 1 else taps
        table.append((begin, runs, taps // max(1, runs), beside))
        begin += whole * channels * lines * taps
    bank = ((band - 1) * stride[0] + reach) * columns * channels + 64
    threads = sum(n for n, _ in parts)
    return (element, rows, vectors), whole, table, (columns, band, block, bank), -(-strips // cuts), threads


@functools.lru_cache(maxsize=256)
def read_zeros(size, dtype):
    """Zeros that nobody writes to."""
    return np.zeros(size, dtype)


@functools.lru_cache(maxsize=4096)
def _table(lines):
    """Lines of whole numbers that nobody writes to."""
    return np.array(lines, np.int64)


@noted
def _begun(bias, groups, whole):
    """What the outputs of each group begin with: the bias, and zeros up to `whole`."""
    begin = np.zeros((groups, whole), bias.dtype)
    begin[:, :bias.size // groups] = bias.reshape(groups, -1)
    return begin


def write_direct(x, parts, out, placed, size, stride, before, dilation, bias=None):
    """Writes into `out` bias + the cross-correlation of x, padded by `before` at the top and left, and weights.

    `parts` [(weight (groups, outputs, channels, lines, taps) of any strides, column to start from)]: as many neighbours
    in a row of `out` are made by weights of their own. `size` is that of the output of each.
    """
    weight = parts[0][0] if len(parts) == 1 else max((part for part, _ in parts), key=np.size)
    groups, outputs, channels, lines, _ = weight.shape
    form, whole, table, cut, strips, taps = _plan(
        placed.images * placed.inner, outputs, channels, lines,
        tuple((part.shape[4], beside) for part, beside in parts), tuple(size), stride, dilation, ELEMENTS[x.dtype])
    begin = read_zeros(groups * whole, x.dtype) if bias is None else _begun(bias, groups, whole)
    table = _table(tuple((_distance(weight, part), *line) for (part, _), line in zip(parts, table)))
    in_order, threads, strip = len(parts) == 1 and weight.flags.c_contiguous, get_num_threads(), form[2] * tile_columns(
        target(), form[0]) // 2
    blocks = placed.images * placed.inner * -(-size[0] // cut[1]) * -(-size[1] // cut[2])
    deep = in_order and groups == 1 and whole >= 4 * threads * strip and blocks * cut[-1] <= DEEP
    run = compiled(direct, *form, in_order, len(parts), placed.in_pixels, deep)
    run(table, x, weight, begin, out,
        allocated((threads * strip if deep else groups * whole) * channels * lines * taps, x.dtype),
        allocated((blocks if deep else threads) * cut[-1], x.dtype), threads,
        *placed[:3], channels, *x.shape[2:], outputs, *size, lines, *stride, *dilation, *before, *cut, *placed.x,
        *placed.out, out.strides[2] // out.itemsize, out.shape[3], strips, taps, *strides_of(weight))
    return out


def _distance(array, view):
    """From the beginning of an array to that of a view of it, in numbers."""
    return 0 if view is array else (view.ctypes.data - array.ctypes.data) // array.itemsize


def _by_group(w, groups):
    """A weight as (groups, outputs, channels, lines, taps) of a group."""
    return w.reshape(groups, -1, *w.shape[1:])


def _of_group(array, group, groups):
    """The channels of a group, with a dimension of inner images."""
    channels = array.shape[1] // groups
    return array[:, None, group * channels:(group + 1) * channels]


def _correlate(x, w, out, stride, before, dilation, bias=None):
    """Writes into `out` bias + the correlation of x, in the same order, and w (groups, outputs, channels, *taps)."""
    groups, outputs, channels, *taps = w.shape
    if x.dtype == FLOAT and is_minimal(channels, outputs, taps, out.shape, stride, dilation, groups):
        in_pixels = is_in_pixels(x)
        x, made = dense_images(x), allocated(out.shape, FLOAT) if in_pixels else out
        for group in range(groups):
            write_filtered(_of_group(x, group, groups), w[group], _of_group(made, group, groups), before,
                           filter_kind(stride))
        return biased(dense_images(made, in_pixels), bias)
    return write_direct(x, [(w, 0)], out, _placed(x, out, groups), out.shape[2:], stride, before, dilation, bias)


def images_of(shape, in_pixels, dtype, make=allocated):
    """An array of images whose channels lie one behind the other, or side by side."""
    images, channels, *size = shape
    return make((images, *size, channels), dtype).transpose(0, 3, 1, 2) if in_pixels else make(shape, dtype)


def biased(made, bias):
    """`made` (batch, outputs, ...), or None, with a bias for each output added to it in place."""
    if made is not None and bias is not None:
        _add_to_planes(made, bias)
    return made


def correlation(x, w, geometry, bias=None):
    """bias + the cross-correlation of x (batch, channels, rows, columns) and w (outputs, channels of a group, ...).

    It has its channels side by side where x or w has.
    """
    if len(geometry.stride) != 2 or not suits(geometry, x, w):
        return None
    out, groups = geometry.output(x.shape[2:], w.shape[2:]), geometry.groups
    shape = (x.shape[0], w.shape[0], *out)
    if min(out) <= 0 or math.prod(shape) * w[0].size < SMALL:
        return None
    in_pixels, before = is_in_pixels(x) or is_in_pixels(w), tuple(p for p, _ in geometry.padding)
    if _is_pointwise(geometry, w.shape[2:]):
        bias = bias if bias is None else np.ascontiguousarray(bias)
        return _pointwise(w[:, :, 0, 0], dense_images(_met(x, geometry), in_pixels), bias)
    x = dense_images(x, in_pixels)
    if (groups == 1 and x.dtype == FLOAT and w.shape[0] <= tile_rows(target())
            and geometry.stride == geometry.dilation == (1, 1)
            and not is_minimal(x.shape[1], w.shape[0], w.shape[2:], shape, (1, 1), (1, 1))):
        made = _planes(dense_images(x), w.transpose(2, 3, 1, 0), allocated(shape, FLOAT), before, (1, 1))
        return biased(dense_images(made, in_pixels), bias)
    made = images_of(shape, is_in_pixels(x), x.dtype)
    return _correlate(x, _by_group(w, groups), made, geometry.stride, before, geometry.dilation, bias)


@functools.lru_cache(maxsize=4096)
def _cut_planar(shape, weight_shape, size, steps):
    """How `_planes` cuts its work: what the kernel is made for, numbers of a thread's memory, numbers for the kernel.
    """
    channels, (lines, taps, _, rows) = shape[1], weight_shape
    lanes = tile_columns(target()) // 2
    pitch = -(-rows // lanes) * lanes
    vectors = min(2 * tile_rows(target()) // rows, 8)
    down, across = (-(-n // step) for n, step in zip(size, steps))
    columns = across + taps - 1
    band = _rows_of_band(down, 1, lines, columns * channels)
    whole = (band + lines - 1) * columns + vectors * lanes
    plane = -(-whole // (2 * lanes)) * 2 * lanes + lanes  # an odd number of vectors, so that no two are in one set
    length = -(-band * columns // (vectors * lanes)) * vectors * lanes
    bank = channels * plane + rows * length
    return (rows, vectors, pitch), bank, (down, band, columns, bank, plane, channels * plane, length)


def _planes(x, w, out, before, steps):
    """Writes into `out` a correlation of x, padded by `before`, with w (rows, columns, channels, phases * outputs)."""
    form, bank, cut = _cut_planar(x.shape, w.shape, out.shape[2:], tuple(steps))
    lines, taps, channels, rows = w.shape
    weight = np.empty((lines, taps, channels, form[2]), FLOAT)
    weight[..., :rows] = w
    scratch, threads = thread_memory(bank)
    compiled(planar, *form, steps)(x, weight, out, scratch, threads, *x.shape, *out.shape[2:], lines, taps, *before,
                                   *cut)
    return out


def phase_of(offset, stride, padding, dilation, kernel):
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
    axes = zip(geometry.stride, geometry.padding, geometry.dilation, w.shape[2:])
    phases = [[(offset, phase_of(offset, stride, before, dilation, kernel)) for offset in range(stride)]
              for stride, (before, _), dilation, kernel in axes]
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


def blank(shape, geometry, kernel, dtype):
    """An array for an adjoint: of zeros where some of its elements meet no tap."""
    met = all(min(k, s // math.gcd(s, d)) == s for k, s, d in zip(kernel, geometry.stride, geometry.dilation))
    return (allocated if met else np.zeros)(shape, dtype)


def write_adjoint(g, w, geometry, out, placed):
    """Writes into `out`, which `blank` made, the adjoint of a correlation in rows and columns with w.

    w is (groups, outputs, channels, lines, taps). For each phase of the rows, all phases of the columns go together.
    """
    (stride, across), (padding, beside) = geometry.stride, (p for p, _ in geometry.padding)
    columns = [phase_of(x, across, beside, geometry.dilation[1], w.shape[4]) for x in range(across)]
    apart, left = max(part[3:] for part in columns if part)
    for row in range(min(stride, out.shape[2])):
        rows, phase = out[:, :, row::stride], phase_of(row, stride, padding, geometry.dilation[0], w.shape[3])
        if phase is None:
            continue
        first, step, _, apart_y, top = phase
        lines, parts = w.swapaxes(1, 2)[:, :, :, first::step][:, :, :, ::-1], []
        for part in columns:
            first, step, _, _, before = part or (w.shape[4], 1, 0, 1, left)
            parts.append((lines[..., first::step][..., ::-1], left - before))
        size = rows.shape[2], -(-out.shape[3] // across)
        write_direct(g, parts, rows, placed, size, (1, 1), (top, left), (apart_y, apart))
    return out


def correlation_adjoint(g, w, geometry, spatial):
    """The adjoint of `correlation` in x of sizes `spatial`: a correlation for each phase of the strides."""
    if len(geometry.stride) != 2 or not suits(geometry, g, w) or g.size * w[0].size < SMALL or min(spatial) <= 0:
        return None
    in_pixels, groups, strides = is_in_pixels(g) or is_in_pixels(w), geometry.groups, geometry.stride
    g = dense_images(g, in_pixels)
    shape = (g.shape[0], groups * w.shape[1], *spatial)
    if _is_pointwise(geometry, w.shape[2:]):
        made = _pointwise(w[:, :, 0, 0].T, g)
        if made is None or strides == (1, 1):
            return made
        whole = images_of(shape, in_pixels, g.dtype, np.zeros)
        _met(whole, geometry)[...] = made
        return whole
    if (groups == 1 and g.dtype == FLOAT and math.prod(strides) * shape[1] <= 2 * tile_rows(target())
            and not is_minimal(g.shape[1], shape[1], w.shape[2:], shape, strides, geometry.dilation)):
        return dense_images(_adjoint_in_planes(dense_images(g), w, geometry, allocated(shape, FLOAT)), in_pixels)
    channels, odd = g.shape[1] // groups, all(before % 2 for before, _ in geometry.padding)
    if (g.dtype == FLOAT and odd
            and is_minimal(channels, w.shape[1], w.shape[2:], shape, strides, geometry.dilation, groups, True)):
        g, made, before = dense_images(g), allocated(shape, FLOAT), [(1 - before) // 2
                                                                     for before, _ in geometry.padding]
        for group, weight in enumerate(_by_group(w, groups).swapaxes(1, 2)):
            write_filtered(_of_group(g, group, groups), weight, _of_group(made, group, groups), before,
                           filter_kind(strides, True))
        return dense_images(made, in_pixels)
    if strides != (1, 1):
        g, made = dense_images(g), blank(shape, geometry, w.shape[2:], g.dtype)
        return dense_images(write_adjoint(g, _by_group(w, groups), geometry, made, _placed(g, made, groups)), in_pixels)
    before = tuple(d * (k - 1) - p for d, k, (p, _) in zip(geometry.dilation, w.shape[2:], geometry.padding))
    flipped = _by_group(w, groups).swapaxes(1, 2)[..., ::-1, ::-1]
    return _correlate(g, flipped, images_of(shape, is_in_pixels(g), g.dtype), strides, before, geometry.dilation)


def _pointwise_in_weight(g, x):
    """The sum over images of g @ x, transposed."""
    made = allocated((g.shape[1], x.shape[1]), g.dtype)
    for image, (left, right) in enumerate(zip(*map(_matrices, (g, x)))):
        if matmul(left, right.T, made, None, image > 0) is None:
            return None
    return made[:, :, None, None]


@functools.lru_cache(maxsize=4096)
def _cut_in_weight(groups, outputs, channels, kernel, size, stride, dilation, element):
    """How `direct_in_weight` cuts its work: rows of its tiles, numbers of a thread's memory, numbers for the kernel."""
    (lines, taps), strip = kernel, tile_columns(target(), element)
    strips = -(-outputs // strip)
    part = part_size(channels, max(NARROW, -(-channels * groups // CHUNKS)))
    runs, reach, span = 1 if dilation[1] == 1 else taps, (lines - 1) * dilation[0] + 1, (taps - 1) * dilation[1] + 1
    band, block = _cut(size, stride, reach, span, part)
    columns = (block - 1) * stride[1] + span
    rows = part_size(taps // runs * part, tile_rows(target()))
    outer_at = -(-(((band - 1) * stride[0] + reach) * columns * part + 64) // 16) * 16
    total_at, total = outer_at + band * block * strip, lines * runs * (taps // runs * part + rows) * strip
    cuts = max(-(-CHUNKS // (-(-channels // part) * groups)), -(-strips * total // BAND))
    wide = -(-strips // min(cuts, strips))
    bank = total_at + wide * total
    return rows, bank, (columns, band, block, bank), (runs, taps // runs, part, wide, outer_at, total_at)


def direct_in_weight(g, x, outputs, channels, kernel, placed, stride, before, dilation):
    """The gradient in weights (outputs and channels of a group, *kernel), of images placed as in `write_direct`."""
    groups, size, element = placed.groups, g.shape[2:], ELEMENTS[g.dtype]
    rows, bank, cut, parts = _cut_in_weight(groups, outputs, channels, kernel, size, stride, dilation, element)
    made = allocated((groups * outputs, channels, *kernel), g.dtype)
    scratch, threads = thread_memory(bank, g.dtype)
    compiled(weight_gradient, element, rows, placed.in_pixels)(
        x, g, made, scratch, threads, *placed[:3], channels, *x.shape[2:], outputs, *size, kernel[0], *stride,
        *dilation, *before, *cut, *placed.x, *placed.out, *parts)
    return made


def correlation_in_weight(g, x, geometry, kernel):
    """The gradient of `correlation` in w of sizes `kernel`, for the gradient g of its output."""
    groups, stride, dilation = geometry.groups, geometry.stride, geometry.dilation
    if len(stride) != 2 or not suits(geometry, g, x) or g.size * x.shape[1] // groups * math.prod(kernel) < SMALL:
        return None
    in_pixels, before = is_in_pixels(g) and is_in_pixels(x), tuple(p for p, _ in geometry.padding)
    outputs, channels = g.shape[1] // groups, x.shape[1] // groups
    if x.dtype == FLOAT and channels >= 8 and is_minimal(channels, outputs, kernel, g.shape, stride, dilation, groups):
        g, x = dense_images(g), dense_images(x)
        made = [filtered_in_weight(*(_of_group(a, group, groups) for a in (g, x)), before, filter_kind(stride))
                for group in range(groups)]
        return np.concatenate(made) if groups > 1 else made[0]
    g = dense_images(g, in_pixels)
    if _is_pointwise(geometry, kernel):
        return _pointwise_in_weight(g, dense_images(_met(x, geometry), in_pixels))
    x = dense_images(x, in_pixels)
    return direct_in_weight(g, x, outputs, channels, tuple(kernel), _placed(x, g, groups), stride, before, dilation)
