"""Planes sampled at places: weighted sums of a few elements for each, and the adjoints in elements and positions.

`sample` and its adjoints find the elements and weights from positions themselves. They turn planes round, so that the
channels of an element lie side by side, some `lanes` of them at a time: then neighbours are read as vectors. Behind the
elements of a plane stand zeros, for what lies outside. A single channel (`lanes` 1) is read where it lies.

`sampled` and its adjoints are given elements and weights: for sample n each of its `count` places has `taps` elements:
index[n, tap, place], -1 for none, and weight[n, tap, place]. Knows no arrays.
"""
from __future__ import annotations

import itertools
import math

from .ir import Builder
from .tiles import totals, transposed, woven
from .types import f32, i32, i64, named, pointer

__all__ = ['adjoint', 'cubic', 'products', 'sample', 'sample_adjoint', 'sample_slopes', 'sampled']

SIZES = dict.fromkeys('batch channels size taps count'.split(), i64)
CUBIC = -0.75  # the parameter of Keys' kernel
PLACES = 64    # whose elements and weights are found at once
PIECE = 1 << 12  # elements of planes that a chunk turns round
TOGETHER = 4   # places whose slopes are summed side by side


def _mirrored(b, x, size, align_corners):
    """(x mirrored at the outer elements or their outer edges, the slope of that)."""
    low, span = (0.0, size - 1.0) if align_corners else (-0.5, size)
    one = b.constant(1, x.type)
    distance = b.abs(x - low)
    flips = b.floor(distance / span)
    even = b.floor(flips * 0.5) * 2.0 == flips
    extra = distance - flips * span
    made = b.select(even, extra + low, span - extra + low)
    slope = b.select(even, one, -one) * b.select(x < low, -one, one)
    return b.select(span > 0.0, made, b.constant(0, x.type)), slope


def _padded(b, x, size, padding, align_corners):
    """(x within the image, unless the padding is zeros, the slope of that)."""
    slope = one = b.constant(1, x.type)
    if padding == 'zeros':
        return x, slope
    if padding == 'reflection':
        x, slope = _mirrored(b, x, size, align_corners)
    zero, inside = one - one, (x > 0.0) & (x < size - 1.0)
    return b.select(inside, x, b.select(x > 0.0, size - 1.0, zero)), b.select(inside, slope, zero)


def cubic(t):
    """Pairs of (weight, slope) of the four elements around a place, `t` behind the second of them; of any
    numbers that Python's operators compute with.
    """
    def near(x):
        return ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1, (3 * (CUBIC + 2) * x - 2 * (CUBIC + 3)) * x

    def far(x):
        return ((CUBIC * x - 5 * CUBIC) * x + 8 * CUBIC) * x - 4 * CUBIC, (3 * CUBIC * x - 10 * CUBIC) * x + 8 * CUBIC
    return [far(t + 1), near(t), *((weight, -slope) for weight, slope in (near(1 - t), far(2 - t)))]


def _axis_taps(b, u, size, mode, padding, align_corners):
    """(whole position, weight, slope of the weight in u) of the elements that count along one axis."""
    x = (u + 1.0) * ((size - 1.0) * 0.5) if align_corners else ((u + 1.0) * size - 1.0) * 0.5
    scale = (size - 1.0 if align_corners else size) * 0.5
    if mode == 'bicubic':
        low = b.floor(x)
        return [(_padded(b, low + (k - 1.0), size, padding, align_corners)[0], weight, slope * scale)
                for k, (weight, slope) in enumerate(cubic(x - low))]
    x, slope = _padded(b, x, size, padding, align_corners)
    if mode == 'nearest':
        return [(b.rint(x), b.constant(1, x.type), b.constant(0, x.type))]
    low, slope = b.floor(x), slope * scale
    return [(low, 1.0 - (x - low), -slope), (low + 1.0, x - low, slope)]


class _Sampling:
    """What kernels that sample planes at positions have in common: `lanes` channels at a time."""

    def __init__(self, b, target, element, lanes, how, sizes, slopes=False):
        self.b, self.kind, self.lanes, (self.mode, *self.rest) = b, named(element), lanes, how
        self.wide, self.vector = target.lanes(self.kind), self.kind.vector(lanes)
        self.batch, self.channels, self.count, *self.sizes = sizes
        self.dims = len(self.sizes)
        self.taps = {'nearest': 1, 'bilinear': 2, 'bicubic': 4}[self.mode] ** self.dims
        self.slopes = slopes
        self.groups = (self.channels + (lanes - 1)) / lanes
        self.elements = math.prod(self.sizes)
        self.rows = (self.elements / lanes + 1) * lanes  # of a plane that is turned round: the first behind it is zeros

    def there(self, group):
        """How many of its channels there are."""
        return self.b.smaller(self.channels - group * self.lanes, self.lanes)

    def tile(self, planes, pitch, there, left):
        """For neighbouring places, `left` of them, the numbers of all channels, zeros where there are none."""
        b, none = self.b, self.b.of_type(0, i64)
        return transposed(b, [b.load(planes + b.smaller(k, there - 1) * pitch, self.vector, mask=b.first(
            b.select(there > k, left, none), self.lanes)) for k in range(self.lanes)])

    def write(self, vectors, planes, pitch, there, left):
        """Writes what `tile` reads."""
        b = self.b
        mask = b.first(left, self.lanes)
        for k, row in enumerate(transposed(b, vectors)):
            with b.when(there > k):
                b.store(row, planes + k * pitch, mask=mask)

    def pack(self, x, packed):
        """Turns all planes round."""
        b, lanes = self.b, self.lanes
        pieces = (self.rows + (PIECE - 1)) / PIECE
        with b.parallel(self.batch * self.groups * pieces) as chunk:
            plane, start = chunk / pieces, chunk % pieces * PIECE
            n, group = plane / self.groups, plane % self.groups
            planes = x + (n * self.channels + group * lanes) * self.elements
            to, there = packed + plane * self.rows * lanes, self.there(group)
            with b.loop(start, b.smaller(start + PIECE, self.rows), lanes) as at:
                for k, row in enumerate(self.tile(planes + at, self.elements, there, self.elements - at)):
                    b.store(row, to + (at + k) * lanes)

    def room(self):
        """Makes room for what `find` finds."""
        b, count = self.b, self.taps * PLACES
        self.offsets, self.weights = b.buffer(i32, count), b.buffer(self.kind, count)
        self.by_axis = [b.buffer(self.kind, count) for _ in range(self.dims if self.slopes else 0)]

    def find(self, grid, left):
        """Finds the elements, as offsets in a packed plane, and weights of some places, `left` of them there."""
        b, dims, wide, kind = self.b, self.dims, self.wide, self.kind.vector(self.wide)
        whole = i32.vector(wide)
        zero = b.constant(0, kind)
        sizes = [b.splat(b.convert(size, self.kind), wide) for size in self.sizes]
        counts = [b.splat(b.convert(size, i32), wide) for size in self.sizes]
        with b.loop(0, PLACES, wide) as p:
            given = [b.load(grid + p * dims + v * wide, kind, mask=b.first((left - p) * dims - v * wide, wide))
                     for v in range(dims)]
            axes = []
            for axis, size in enumerate(sizes):
                picks = [divmod(k * dims + dims - 1 - axis, wide) for k in range(wide)]
                axes.append(_axis_taps(b, woven(b, given, picks), size, self.mode, *self.rest))
            for tap, corner in enumerate(itertools.product(*axes)):
                inside = index = weight = None
                for (position, share, _), size, number in zip(corner, sizes, counts):
                    within = (position >= 0.0) & (position < size)
                    place = b.convert(b.select(within, position, zero), whole)
                    inside = within if inside is None else inside & within
                    index = place if index is None else index * number + place
                    weight = share if weight is None else weight * share
                outside = b.splat(b.convert(self.elements, i32), wide)
                b.store(b.select(inside, index, outside) * self.lanes, self.offsets + (p + tap * PLACES))
                b.store(weight, self.weights + (p + tap * PLACES))
                for axis, room in enumerate(self.by_axis):
                    made = corner[axis][2]
                    for other, (_, share, _) in enumerate(corner):
                        made = made if other == axis else made * share
                    b.store(made, room + (p + tap * PLACES))

    def around(self, plane, factors, p):
        """For each room of factors, their products with the elements of a plane around places from p on, summed up."""
        b, wide = self.b, self.kind.vector(self.wide)
        sums = [b.variable(0, wide) for _ in factors]
        with b.loop(p, p + self.taps * PLACES, PLACES) as at:
            named = b.load(self.offsets + at, i32.vector(self.wide))
            value = b.gather(plane, named, mask=named < b.splat(b.convert(self.elements, i32), self.wide))
            for total, room in zip(sums, factors):
                total.set(b.fma(b.load(room + at, wide), value, total.get()))
        return [total.get() for total in sums]

    def element(self, packed, at):
        """The address of the channels of an element."""
        return packed + self.b.convert(self.b.load(self.offsets + at), i64)

    def factor(self, room, at):
        return self.b.splat(self.b.load(room + at), self.lanes)


def _parameters(element, dims, *arrays):
    sizes = dict.fromkeys(('batch', 'channels', 'count', *(f'size{k}' for k in range(dims))), i64)
    return dict.fromkeys(arrays, pointer(named(element))), sizes


def sample(target, element, lanes, dims, *how):
    """y[n, c, place] = the sum of the elements around a position, weighted; a chunk is `block` places.

    how: mode, padding and whether corners are aligned.
    """
    arrays, sizes = _parameters(element, dims, 'x', 'grid', 'y', 'packed')
    b = Builder('sample', **arrays, block=i64, **sizes)
    x, grid, y, packed, block, *sizes = b.parameters
    s = _Sampling(b, target, element, lanes, how, sizes)
    if lanes > 1:
        s.pack(x, packed)
    blocks = (s.count + (block - 1)) / block
    with b.parallel(s.batch * blocks) as chunk:
        s.room()
        n, start = chunk / blocks, chunk % blocks * block
        stop = b.smaller(start + block, s.count)
        with b.loop(start, stop, PLACES) as first:
            s.find(grid + (n * s.count + first) * dims, stop - first)
            if lanes > 1:
                _write_tiles(b, s, n, packed, first, stop, y)
            else:
                with b.loop(0, b.smaller(stop - first, PLACES), s.wide) as p:
                    total, = s.around(x + n * s.elements, [s.weights], p)
                    b.store(total, y + (n * s.count + first + p), mask=b.first(stop - first - p, s.wide))
    return b.finish()


def _write_tiles(b, s, n, packed, first, stop, y):
    """Writes the samples of all channels at some places, squares of places and channels at a time."""
    lanes = s.lanes
    with b.loop(0, s.groups) as group, b.loop(0, b.smaller(stop - first, PLACES), lanes) as p:
        planes = packed + (n * s.groups + group) * s.rows * lanes
        sums = [b.variable(0, s.vector) for _ in range(lanes)]
        with b.loop(p, p + s.taps * PLACES, PLACES) as at:
            for k, total in enumerate(sums):
                value = b.load(s.element(planes, at + k), s.vector)
                total.set(b.fma(s.factor(s.weights, at + k), value, total.get()))
        s.write([total.get() for total in sums], y + ((n * s.channels + group * lanes) * s.count + first + p), s.count,
                s.there(group), stop - (first + p))


def sample_adjoint(target, element, lanes, dims, *how):
    """The adjoint of `sample` in its planes: g[n, c, place] is added where elements came from, place after place."""
    arrays, sizes = _parameters(element, dims, 'g', 'grid', 'x', 'packed')
    b = Builder('sample_adjoint', **arrays, **sizes)
    g, grid, x, packed, *sizes = b.parameters
    s = _Sampling(b, target, element, lanes, how, sizes)
    with b.parallel(s.batch * s.groups) as plane:
        s.room()
        n, group = plane / s.groups, plane % s.groups
        own, there, channel = packed + plane * s.rows * lanes, s.there(group), n * s.channels + group * lanes
        with b.loop(0, s.rows * lanes, lanes) as at:
            b.store(b.constant(0, s.vector), own + at)
        with b.loop(0, s.count, PLACES) as first:
            s.find(grid + (n * s.count + first) * dims, s.count - first)
            with b.loop(0, b.smaller(s.count - first, PLACES), lanes) as p:
                place = first + p
                shares = s.tile(g + (channel * s.count + place), s.count, there, s.count - place)
                with b.loop(p, p + s.taps * PLACES, PLACES) as at:
                    for k, share in enumerate(shares):
                        to = s.element(own, at + k)
                        b.store(b.fma(share, s.factor(s.weights, at + k), b.load(to, s.vector)), to)
        with b.loop(0, s.elements, lanes) as at:
            s.write([b.load(own + (at + k) * lanes, s.vector) for k in range(lanes)],
                    x + (channel * s.elements + at), s.elements, there, s.elements - at)
    return b.finish()


def sample_slopes(target, element, lanes, dims, *how):
    """The adjoint of `sample` in its positions; a chunk is `block` places."""
    arrays, sizes = _parameters(element, dims, 'g', 'x', 'grid', 'y', 'packed')
    b = Builder('sample_slopes', **arrays, block=i64, **sizes)
    g, x, grid, y, packed, block, *sizes = b.parameters
    s = _Sampling(b, target, element, lanes, how, sizes, slopes=True)
    if lanes > 1:
        s.pack(x, packed)
    blocks = (s.count + (block - 1)) / block
    wide = s.kind.vector(s.wide)
    with b.parallel(s.batch * blocks) as chunk:
        s.room()
        made = [b.buffer(s.kind, PLACES) for _ in range(dims)]
        n, start = chunk / blocks, chunk % blocks * block
        stop = b.smaller(start + block, s.count)
        with b.loop(start, stop, PLACES) as first:
            at_first = (n * s.count + first) * dims
            s.find(grid + at_first, stop - first)
            if lanes > 1:
                _sum_slopes(b, s, n, g, packed, first, stop, made)
            else:
                with b.loop(0, b.smaller(stop - first, PLACES), s.wide) as p:
                    share = b.load(g + (n * s.count + first + p), wide, mask=b.first(stop - first - p, s.wide))
                    for of_axis, total in zip(made, s.around(x + n * s.elements, s.by_axis, p)):
                        b.store(total * share, of_axis + p)
            with b.loop(0, PLACES, s.wide) as p:
                found = [b.load(of_axis + p, wide) for of_axis in reversed(made)]
                for v in range(dims):
                    picks = [divmod(v * s.wide + k, dims)[::-1] for k in range(s.wide)]
                    b.store(woven(b, found, picks), y + (at_first + p * dims + v * s.wide),
                            mask=b.first((stop - first - p) * dims - v * s.wide, s.wide))
    return b.finish()


def _sum_slopes(b, s, n, g, packed, first, stop, made):
    """Writes the slopes at some places to `made`, a room for each axis: sums over all channels."""
    with b.loop(0, PLACES, s.wide) as p:
        for of_axis in made:
            b.store(b.constant(0, s.kind.vector(s.wide)), of_axis + p)
    with b.loop(0, s.groups) as group, b.loop(0, b.smaller(stop - first, PLACES), s.lanes) as p:
        planes, channel = packed + (n * s.groups + group) * s.rows * s.lanes, n * s.channels + group * s.lanes
        shares = s.tile(g + (channel * s.count + first + p), s.count, s.there(group), stop - (first + p))
        for of_axis, vectors in zip(made, _slopes(b, s, planes, p, shares)):
            b.store(b.load(of_axis + p, s.vector) + totals(b, vectors), of_axis + p)


def _slopes(b, s, planes, p, shares):
    """For each axis and place from p on, the slopes of all channels times the shares in them."""
    made = [[] for _ in s.by_axis]
    for start in range(0, len(shares), TOGETHER):
        sums = [[b.variable(0, s.vector) for _ in range(TOGETHER)] for _ in made]
        with b.loop(p + start, p + (start + s.taps * PLACES), PLACES) as at:
            for k in range(TOGETHER):
                value = b.load(s.element(planes, at + k), s.vector)
                for variables, room in zip(sums, s.by_axis):
                    variables[k].set(b.fma(s.factor(room, at + k), value, variables[k].get()))
        for vectors, variables in zip(made, sums):
            vectors.extend([total.get() * shares[start + k] for k, total in enumerate(variables)])
    return made


def sampled(target):
    """y[n, c, place] = sum over taps of weight * x[n, c, index]."""
    b = Builder('sampled', x=pointer(f32), index=pointer(i32), weight=pointer(f32), y=pointer(f32), **SIZES)
    x, index, weight, y, batch, channels, size, taps, count = b.parameters
    lanes = target.lanes(f32)
    with b.parallel(batch * channels) as plane:
        first, of_sample, to = plane / channels * (taps * count), x + plane * size, y + plane * count
        with b.loop(0, count, lanes) as place:
            mask = b.first(b.smaller(count - place, lanes), lanes)
            total = b.variable(b.constant(0, f32.vector(lanes)))
            with b.loop(first + place, first + place + taps * count, count) as at:
                named = b.load(index + at, i32.vector(lanes), mask=mask, other=-1)
                share = b.load(weight + at, f32.vector(lanes), mask=mask)
                total.set(b.fma(b.gather(of_sample, named, mask=named >= 0), share, total.get()))
            b.store(total.get(), to + place, mask=mask)
    return b.finish()


def adjoint(target):
    """Zeros x to which weight * g[n, c, place] is added at x[n, c, index], place after place."""
    b = Builder('adjoint', x=pointer(f32), index=pointer(i32), weight=pointer(f32), g=pointer(f32), **SIZES)
    x, index, weight, g, batch, channels, size, taps, count = b.parameters
    lanes = target.lanes(f32)
    with b.parallel(batch * channels) as plane:
        own, first = x + plane * size, plane / channels * (taps * count)
        with b.loop(0, size, lanes) as k:
            b.store(b.constant(0, f32.vector(lanes)), own + k, mask=b.first(b.smaller(size - k, lanes), lanes))
        with b.loop(0, count) as place:
            given = b.load(g + plane * count + place)
            with b.loop(first + place, first + place + taps * count, count) as at:
                named = b.load(index + at)
                with b.when(named >= 0):
                    to = own + b.convert(named, i64)
                    b.store(b.fma(given, b.load(weight + at), b.load(to)), to)
    return b.finish()


def products(target):
    """y[n, tap, place] = sum over c of g[n, c, place] * x[n, c, index]; a chunk is `block` places of a sample."""
    b = Builder('products', x=pointer(f32), index=pointer(i32), g=pointer(f32), y=pointer(f32), **SIZES, block=i64)
    x, index, g, y, batch, channels, size, taps, count, block = b.parameters
    lanes = target.lanes(f32)
    vector = f32.vector(lanes)
    blocks = (count + (block - 1)) / block
    with b.parallel(batch * blocks) as chunk:
        n, start = chunk / blocks, chunk % blocks * block
        stop = b.smaller(start + block, count)
        with b.loop(0, channels) as c, b.loop(0, taps) as tap, b.loop(start, stop, lanes) as place:
            mask = b.first(b.smaller(stop - place, lanes), lanes)
            at = (n * taps + tap) * count + place
            plane = n * channels + c
            named = b.load(index + at, i32.vector(lanes), mask=mask, other=-1)
            value = b.gather(x + plane * size, named, mask=named >= 0)
            so_far = b.load(y + at, vector, mask=mask)
            b.store(b.fma(b.load(g + plane * count + place, vector, mask=mask), value, so_far), y + at, mask=mask)
    return b.finish()
