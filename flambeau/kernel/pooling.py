"""Maximum pools of planes and volumes: a row of windows at a time, lane by lane, and gradients at the maxima; where channels lie
side by side, a window of neighbouring channels at a time.

Padding is not in memory: what lies outside of a plane is less than every number. Knows no arrays.
"""
from __future__ import annotations

import contextlib
import itertools
import math

from .ir import Builder
from .types import f32, i32, i64, pointer

__all__ = ['largest', 'largest_channels', 'returned', 'returned_channels']

SIZES = dict.fromkeys('planes rows columns height width above before'.split(), i64)  # above and before: padding
SIZES_OF_VOLUMES = dict.fromkeys(
    'planes slices rows columns depth height width ahead above before'.split(), i64)  # the same for three axes


class _Windows:
    """The windows of a row from a corner on, as many as there are lanes, in a plane or volume at `plane`."""

    def __init__(self, b, lanes, plane, shape, corner, kernel, stride, dilation):
        self.b, self.lanes, self.plane = b, lanes, plane
        *self.sizes, self.width = shape
        *self.starts, self.left = corner  # of the first window
        self.kernel, self.stride, self.dilation = kernel, stride, dilation

    def _lines(self):
        """(whether it is in the plane, its number or that of one which is) of each row of the window."""
        b = self.b
        for taps in itertools.product(*map(range, self.kernel[:-1])):
            there = line = None
            for start, size, tap, step in zip(self.starts, self.sizes, taps, self.dilation):
                at = start + tap * step
                within, clipped = (at >= 0) & (at < size), b.larger(b.smaller(at, size - 1), 0)
                there = within if there is None else there & within
                line = clipped if line is None else line * size + clipped
            yield there, line

    def _inside(self, column):
        """Which of `lanes` columns from one on there are."""
        b, lanes = self.b, self.lanes
        end, start = (b.smaller(b.larger(edge - column, 0), lanes) for edge in (self.width, 0))
        return b.first(end, lanes) & ~b.first(start, lanes)

    def _taps(self, line):
        """For each tap along a row its elements in all windows."""
        b, taps, stride, step = self.b, self.kernel[-1], self.stride[-1], self.dilation[-1]
        vector = f32.vector(self.lanes)

        def at(column):
            return b.load(line + column, vector, mask=self._inside(self.left + column), other=-math.inf)
        if stride == 1:
            return [at(b.of_type(j * step, i64)) for j in range(taps)]
        if stride == 2 and step == 1:  # two neighbouring taps are every other element of two vectors
            pairs = [[at(b.of_type(j + k, i64)) for k in (0, self.lanes)] for j in range(0, taps, 2)]
            return [b.shuffle(*pair, range(odd, 2 * self.lanes, 2)) for pair in pairs for odd in (0, 1)][:taps]
        found = []
        for j in range(taps):
            steps = b.iota(i32.vector(self.lanes)) * stride + j * step
            column = steps + b.splat(b.convert(self.left, i32), self.lanes)
            inside = (column >= 0) & (column < b.splat(b.convert(self.width, i32), self.lanes))
            found.append(b.gather(line, steps, mask=inside, other=-math.inf))
        return found

    def maxima(self, positions=None):
        """The maximum of each window, or nan, and the flat position in the plane of the first one (of the last nan),
        where `positions` are those of windows of nothing."""
        b = self.b
        best = b.constant(-math.inf, f32.vector(self.lanes))
        steps = b.iota(i32.vector(self.lanes)) * self.stride[-1]
        for there, line in self._lines():
            first = line * self.width + self.left
            for j, value in enumerate(self._taps(self.plane + first)):
                value = b.select(there, value, b.constant(-math.inf, value.type))
                better = (value > best) | (value != value)
                best = b.select(better, value, best)
                if positions is not None:
                    place = b.convert(first + j * self.dilation[-1], i32)
                    positions = b.select(better, steps + b.splat(place, self.lanes), positions)
        return best, positions


def _sweep(b, target, x, window, sizes, write):
    """Calls write(windows, flat place of the first, how many there are, their mask) for all windows of a plane at `x`.
    """
    lanes, dims = target.lanes(f32), len(window[0])
    out, shape, before = sizes[:dims], sizes[dims:2 * dims], sizes[2 * dims:]
    with contextlib.ExitStack() as loops:
        *at, column = [loops.enter_context(b.loop(0, n, lanes if n is out[-1] else 1)) for n in out]
        place = at[0]
        for n, k in zip(out[1:], [*at[1:], column]):
            place = place * n + k
        count = b.smaller(out[-1] - column, lanes)
        corner = [k * step - edge for k, step, edge in zip([*at, column], window[1], before)]
        write(_Windows(b, lanes, x, shape, corner, *window), place, count, b.first(count, lanes))


def _started(b, first, place, mask):
    return b.convert(b.load(first + place, i64.vector(mask.type.lanes), mask=mask), i32)


def _builder(name, kernel, *arrays):
    """(a builder, its arrays, how many planes, numbers of an output and an input, all sizes) for planes or volumes."""
    b = Builder(name, **dict(arrays), **(SIZES if len(kernel) == 2 else SIZES_OF_VOLUMES))
    given, (planes, *sizes) = b.parameters[:len(arrays)], b.parameters[len(arrays):]
    dims = len(kernel)
    return b, given, planes, math.prod(sizes[:dims]), math.prod(sizes[dims:2 * dims]), sizes


def largest(target, kernel, stride, dilation, indices):
    """The maximum of every window, or NaN, and with `indices` its flat position, for nothing that in `first`."""
    b, (x, y, at, first), planes, made, size, sizes = _builder(
        'largest', kernel, ('x', pointer(f32)), ('y', pointer(f32)), ('at', pointer(i64)), ('first', pointer(i64)))
    with b.parallel(planes) as plane:
        def write(windows, place, count, mask):
            best, positions = windows.maxima(_started(b, first, place, mask) if indices else None)
            out = plane * made + place
            b.store(best, y + out, mask=mask)
            if indices:
                b.store(b.convert(positions, i64), at + out, mask=mask)
        _sweep(b, target, x + plane * size, (kernel, stride, dilation), sizes, write)
    return b.finish()


def returned(target, kernel, stride, dilation):
    """Zeros to which every element of `g` is added where the maximum of its window comes from."""
    b, (x, g, total, first), planes, made, size, sizes = _builder(
        'returned', kernel, ('x', pointer(f32)), ('g', pointer(f32)), ('total', pointer(f32)), ('first', pointer(i64)))
    lanes = target.lanes(f32)
    apart = all(d == 1 and k <= s for k, s, d in zip(kernel, stride, dilation))  # no element is in two windows
    with b.parallel(planes) as plane:
        found = b.buffer(i32, lanes)
        own = total + plane * size
        with b.loop(0, size, lanes) as k:
            b.store(b.constant(0, f32.vector(lanes)), own + k, mask=b.first(b.smaller(size - k, lanes), lanes))

        def write(windows, place, count, mask):
            positions = windows.maxima(_started(b, first, place, mask))[1]
            shares = g + plane * made + place
            if apart:
                b.scatter(b.load(shares, f32.vector(lanes), mask=mask), own, positions, mask)
                return
            b.store(positions, found)
            with b.loop(0, count) as k:
                to = own + b.convert(b.load(found + k), i64)
                b.store(b.load(to) + b.load(shares + k), to)
        _sweep(b, target, x + plane * size, (kernel, stride, dilation), sizes, write)
    return b.finish()


@contextlib.contextmanager
def _channel_windows(b, lanes, x, image, window, size, out, first, channels):
    """Gives (flat place of the window, first channel, mask, maxima, positions, taps) for all windows of some channels.

    taps: (whether it is in the plane, its position, the vector's place in memory) each. `channels`: from and to.
    """
    (rows, columns), (height, width, count, above, before) = out, size
    kernel, stride, dilation = window
    with b.loop(0, rows) as row, b.loop(0, columns) as column:
        taps = []
        for i in range(kernel[0]):
            down = row * stride[0] - above + i * dilation[0]
            for j in range(kernel[1]):
                along = column * stride[1] - before + j * dilation[1]
                there = (down >= 0) & (down < height) & (along >= 0) & (along < width)
                position = b.select(there, down * width + along, b.of_type(0, i64))
                taps.append((there, b.convert(position, i32), (image * height * width + position) * count))
        place = row * columns + column
        nothing = b.splat(b.convert(b.load(first + place), i32), lanes) if first is not None else None
        with b.loop(*channels, lanes) as channel:
            mask = b.first(b.smaller(channels[1] - channel, lanes), lanes)
            lowest = best = b.constant(-math.inf, f32.vector(lanes))
            positions = nothing
            for there, position, offset in taps:
                value = b.select(there, b.load(x + offset + channel, f32.vector(lanes), mask=mask), lowest)
                better = (value > best) | (value != value)
                best = b.select(better, value, best)
                if positions is not None:
                    positions = b.select(better, b.splat(position, lanes), positions)
            yield place, channel, mask, best, positions, taps


def largest_channels(target, kernel, stride, dilation, indices):
    """`largest` of images (planes, height, width, channels), planes of them."""
    b = Builder('largest_channels', x=pointer(f32), y=pointer(f32), at=pointer(i64), first=pointer(i64), **SIZES,
                count=i64)
    x, y, at, first, images, rows, columns, height, width, above, before, count = b.parameters
    with b.parallel(images * rows) as chunk:
        image, row = chunk / rows, chunk % rows
        size = height, width, count, above - row * stride[0], before
        out, channels = (b.of_type(1, i64), columns), (b.of_type(0, i64), count)
        with _channel_windows(b, target.lanes(f32), x, image, (kernel, stride, dilation), size, out,
                              first + row * columns if indices else None,
                              channels) as (place, channel, mask, best, positions, _):
            out = (chunk * columns + place) * count + channel
            b.store(best, y + out, mask=mask)
            if indices:
                b.store(b.convert(positions, i64), at + out, mask=mask)
    return b.finish()


def returned_channels(target, kernel, stride, dilation):
    """`returned` for images (planes, height, width, channels); a chunk is `group` channels, whole vectors, of one."""
    b = Builder('returned_channels', x=pointer(f32), g=pointer(f32), total=pointer(f32), first=pointer(i64), **SIZES,
                count=i64, group=i64)
    x, g, total, first, images, rows, columns, height, width, above, before, count, group = b.parameters
    lanes = target.lanes(f32)
    zero = b.constant(0, f32.vector(lanes))
    groups = (count + (group - 1)) / group
    with b.parallel(images * groups) as chunk:
        image, start = chunk / groups, chunk % groups * group
        channels = start, b.smaller(start + group, count)
        with b.loop(0, height * width) as pixel, b.loop(*channels, lanes) as channel:
            b.store(zero, total + (image * height * width + pixel) * count + channel,
                    mask=b.first(b.smaller(channels[1] - channel, lanes), lanes))
        with _channel_windows(
                b, lanes, x, image, (kernel, stride, dilation), (height, width, count, above, before), (rows, columns),
                first, channels) as (place, channel, mask, _, positions, taps):
            share = b.load(g + ((image * rows * columns + place) * count + channel), zero.type, mask=mask)
            for there, position, offset in taps:
                with b.when(there):
                    own = total + offset + channel
                    here = b.select(positions == b.splat(position, lanes), share, zero)
                    b.store(b.load(own, zero.type, mask=mask) + here, own, mask=mask)
    return b.finish()
