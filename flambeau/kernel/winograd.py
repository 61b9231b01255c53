"""Kernels of 3x3 convolutions and their gradients by Winograd's minimal filtering: 16 products, say, instead of 36.

Y = A^T [sum over channels of (G w G^T) * (B^T d B)] A for each tile of output, 2x2 say, and the inputs d that it meets
(Lavin & Gray, 2016). A chunk is a strip of tiles, counted through rows and images, by some panels of outputs. A vector
holds neighbouring tiles, so that planes are read and written as they lie; the sums over channels are products of
matrices of weights and tiles, one for each of the places of the product. The gradient in the weight is G^T [sum over
tiles of (A g A^T) * (B^T d B)] G, by the same products. Sums do not depend on how work is cut. Knows no arrays.
"""
from __future__ import annotations

import contextlib
import math
from typing import NamedTuple

from .ir import Builder
from .tiles import Forms, add_products, first_row, of_height, transposed
from .types import f32, i64, pointer

__all__ = ['minimal', 'minimal_in_weight', 'Filtering', 'FILTERINGS']

AHEAD = 9 * 16          # numbers of a weight that are asked for before they are transformed
CHAIN = 64              # tiles summed up before they are added to what was: as exact as the direct sum


class Filtering(NamedTuple):
    """One dimension: the matrices B^T, G and A^T, and the places whose sums and differences rows of A^T share."""

    step: int           # inputs from tile to tile
    input: tuple
    weight: tuple
    output: tuple
    pairs: tuple

    @property
    def places(self) -> int:
        """In both dimensions."""
        return len(self.input) ** 2

    @property
    def size(self) -> int:
        """Inputs that a tile meets."""
        return len(self.input[0])

    @property
    def tile(self) -> int:
        """Outputs that it makes."""
        return len(self.output)


FILTERINGS = {
    # steps of one: F(2x2, 3x3), as exact as direct sums
    'one': Filtering(2, ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
                     ((1, 0, 0), (.5, .5, .5), (.5, -.5, .5), (0, 0, 1)),
                     ((1, 1, 1, 0), (0, 1, -1, -1)), ((0,), (1, 2), (3,))),
    # F(4x4, 3x3), with errors of some 1e-6 of the largest result
    'coarse': Filtering(4, ((4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0), (0, -2, -1, 2, 1, 0),
                            (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1)),
                        ((1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6), (1 / 24, 1 / 12, 1 / 6),
                         (1 / 24, -1 / 12, 1 / 6), (0, 0, 1)),
                        ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
                        ((0,), (1, 2), (3, 4), (5,))),
    # steps of two: even inputs meet two taps, which is F(2, 2), and odd ones one
    'two': Filtering(4, ((1, 0, -1, 0, 0), (0, 0, 1, 0, 0), (0, 0, 1, 0, -1), (0, 1, 0, 0, 0), (0, 0, 0, 1, 0)),
                     ((1, 0, 0), (1, 0, 1), (0, 0, 1), (0, 1, 0), (0, 1, 0)),
                     ((1, 1, 0, 1, 0), (0, 1, -1, 0, 1)), ((0,), (1,), (2,), (3,), (4,))),
    # the adjoint of steps of two after odd padding: even outputs meet one tap, odd ones two
    'apart': Filtering(2, ((1, -1, 0), (0, 1, 0), (0, -1, 1), (1, 0, 0), (0, 1, 0)),
                       ((0, 0, 1), (1, 0, 1), (1, 0, 0), (0, 1, 0), (0, 1, 0)),
                       ((0, 0, 0, 1, 0), (1, 1, 0, 0, 0), (0, 0, 0, 0, 1), (0, 1, 1, 0, 0)),
                       ((0,), (1,), (2,), (3,), (4,))),
}


def _turned(matrix):
    return tuple(zip(*matrix))


def _parity(count):
    """The parts of a sum that rows for x and -x share."""
    return range(0, count, 2), range(1, count, 2)


def _add(b, total, factor, value):
    """total + factor * value; `total` may be None."""
    if factor == 1:
        return value if total is None else total + value
    if factor == -1:
        return -value if total is None else total - value
    return value * factor if total is None else b.fma(value, b.of_type(factor, value.type), total)


def _transformed(b, matrix, parts, values):
    """matrix @ values @ matrix^T of vectors in rows and columns, as one list; rows of the matrix share `parts`."""
    for _ in range(2):
        lines = []
        for line in values:
            made = []
            for row in matrix:
                total = None
                for part in parts:
                    lead = next((row[k] for k in part if row[k]), None)
                    if lead is not None:
                        value = None
                        for k in part:
                            value = _add(b, value, row[k] / lead, line[k]) if row[k] else value
                        total = _add(b, total, lead, value)
                made.append(total)
            lines.append(made)
        values = list(zip(*lines))
    return [value for line in values for value in line]


def _spread(b, vectors):
    """From vectors that lie one behind the other: of n, every nth lane from the first, from the second, ..."""
    if len(vectors) == 1:
        return vectors
    lanes, sides = vectors[0].type.lanes, []
    for odd in range(2):
        pairs = zip(vectors[::2], vectors[1::2])
        sides.append(_spread(b, [b.shuffle(x, y, [2 * k + odd for k in range(lanes)]) for x, y in pairs]))
    return [vector for pair in zip(*sides) for vector in pair]


def _woven(b, vectors):
    """What `_spread` took apart."""
    if len(vectors) == 1:
        return vectors
    lanes = vectors[0].type.lanes
    mixed = [[k // 2 + k % 2 * lanes + half * (lanes // 2) for k in range(lanes)] for half in range(2)]
    pairs = zip(_woven(b, vectors[::2]), _woven(b, vectors[1::2]))
    return [b.shuffle(x, y, order) for x, y in pairs for order in mixed]


@contextlib.contextmanager
def _runs(b, lanes, first, count, down, across):
    """The tiles of a strip by runs of neighbours in a row: (place in the strip, image, row, column, length)."""
    moving = b.variable(0, i64)
    with b.repeat():
        place = moving.get()
        row, column = (first + place) // across, (first + place) % across
        length = b.smaller(b.smaller(across - column, count - place), b.of_type(lanes, i64))
        yield place, row // down, row % down, column, length
        moving.set(place + length)
        b.until(place + length >= count)


def _image(start, number, inner, strides):
    """The address of an image, of which there are `inner` side by side in each of some; strides are those of both."""
    outside, inside = strides
    return start + (number // inner * outside + number % inner * inside)


class _Lines:
    """Tiles `step` numbers apart and as many large as `extent`, of planes `plane` numbers apart.

    They begin at a row and a column that may lie outside, where zeros are read.
    """

    def __init__(self, b, forms, planes, plane, height, width, row, column, step, extent):
        self.b, self.forms, self.step, self.extent = b, forms, step, extent
        lanes, vectors = forms.lanes, step + (extent > step)
        nothing = b.buffer(f32, vectors * lanes)
        for k in range(vectors):
            b.store(b.constant(0, forms.vector), nothing + k * lanes)
        self.there = [b.first(width - column - k * lanes, lanes) & ~b.first(-column - k * lanes, lanes)
                      for k in range(vectors)]
        self.below, self.width, self.plane = planes + ((row + extent) * width + column), width, plane
        self.lines, self.steps = [], []
        for r in range(extent):
            inside = (row + r >= 0) & (row + r < height)
            self.lines.append(b.select(inside, planes + ((row + r) * width + column), nothing))
            self.steps.append(b.select(inside, plane, b.of_type(0, i64)))

    def read(self, channel):
        """For each row of the tiles the vectors of each column; asks for what the next rows of tiles add."""
        b, lanes = self.b, self.forms.lanes
        for r in range(self.step):
            for k in range(len(self.there)):
                b.prefetch(self.below + (channel * self.plane + self.width * r + k * lanes))
        for line, step in zip(self.lines, self.steps):
            vectors = [b.load(line + channel * step + k * lanes, self.forms.vector, mask=mask)
                       for k, mask in enumerate(self.there)]
            columns = _spread(b, vectors[:self.step])
            for k in range(self.extent - self.step):  # what belongs to the next tile, too
                columns.append(b.shuffle(columns[k], vectors[-1], [*range(1, lanes), lanes + k]))
            yield columns


def _transform_input(b, forms, f, run, x, x_plane, held, plane, pitch, channels, height, width, top, left):
    """Tiles of a run of image x as [place][channel][tile], places `plane` numbers apart and channels `pitch`."""
    lanes, (place, _, tile_row, tile_column, length) = forms.lanes, run
    lines = _Lines(b, forms, x, x_plane, height, width, tile_row * f.step - top, tile_column * f.step - left, f.step,
                   f.size)
    kept = b.first(length, lanes)
    with b.loop(0, channels) as c:
        to = held + (c * pitch + place)
        for k, made in enumerate(_transformed(b, f.input, _parity(f.size), lines.read(c))):
            b.store(made, to + plane * k, mask=kept)


def _square(b, forms, at, plane, places):
    """Vectors in rows and columns from places `plane` numbers apart."""
    side = math.isqrt(places)
    return [[b.load(at + plane * (y * side + x), forms.vector) for x in range(side)] for y in range(side)]


def _transform_output(b, forms, f, run, sums, plane, pitch, out, out_plane, count, out_height, out_width):
    """Writes a run's tiles of `count` outputs of an image, from [place][output][tile], `plane` and `pitch` apart."""
    lanes, (place, _, tile_row, tile_column, length) = forms.lanes, run
    row, column = tile_row * f.tile, tile_column * f.tile
    width = b.smaller(length * f.tile, out_width - column)
    kept = [b.first(width - k * lanes, lanes) for k in range(f.tile)]
    with b.loop(0, count) as o:
        square = _square(b, forms, sums + (o * pitch + place), plane, f.places)
        made = _transformed(b, f.output, f.pairs, square)
        to = out + (o * out_plane + (row * out_width + column))
        for y in range(f.tile):
            with b.when(row + y < out_height):
                for k, vector in enumerate(_woven(b, made[y * f.tile:(y + 1) * f.tile])):
                    b.store(vector, to + (out_width * y + k * lanes), mask=kept[k])


def _tile(forms, rows, vectors, neighbours):
    """out (+)= x @ y for panels of some vectors; numbers of a column of x are `neighbours`, or those of a row.

    Where they are, `later` is memory that is asked for meanwhile, `share` numbers for a column.
    """
    later = {'later': pointer(f32), 'share': i64} if neighbours else {}
    b = Builder(f'tile{rows}', x=pointer(f32), y=pointer(f32), out=pointer(f32), stride=i64, depth=i64, kept=i64,
                **later)
    x, y, out, stride, depth, kept, *later = b.parameters
    sums = [[b.variable(0, forms.vector) for _ in range(vectors)] for _ in range(rows)]
    x_row, x_step = (1, stride) if neighbours else (stride, 1)
    add_products(b, forms, sums, depth, x, x_row, x_step, b.variable(y), vectors * forms.lanes,
                 beside=neighbours and (lambda k: b.prefetch(later[0] + k * later[1])))
    places = [[out + (row * vectors + v) * forms.lanes for v in range(vectors)] for row in range(rows)]
    if not neighbours:
        with b.when(kept != 0):
            for totals, line in zip(sums, places):
                for total, place in zip(totals, line):
                    total.add(b.load(place, forms.vector))
    for totals, line in zip(sums, places):
        for total, place in zip(totals, line):
            b.store(total.get(), place)
    return b.finish()


class _Correlation:
    """The steps of a correlation, which are written through one builder."""

    def __init__(self, target, kind, rows, uneven, vectors, flipped):
        self.f = f = FILTERINGS[kind]
        self.forms = forms = Forms(target, 'float32')
        self.rows, self.uneven, self.vectors, self.flipped = rows, uneven, vectors, flipped
        self.strip, self.pitch = vectors * forms.lanes, -(-rows // forms.lanes) * forms.lanes
        arrays = {name: pointer(f32) for name in ('x', 'weight', 'out', 'panels', 'tiles')}
        numbers = ('threads images channels height width outputs out_height out_width top left by_output by_channel '
                   'count upper wide together bank plane sums_at sums_plane inner x_image x_inner x_plane out_image '
                   'out_inner out_plane').split()
        self.b = b = Builder('winograd', **arrays, **dict.fromkeys(numbers, i64))
        for name, value in zip([*arrays, *numbers], b.parameters):
            setattr(self, name, value)
        self.down, self.across = ((size + (f.tile - 1)) // f.tile for size in (self.out_height, self.out_width))
        self.all_tiles = self.images * self.down * self.across
        self.place_size = (self.channels + 1) * self.pitch  # one more, so that places do not meet in one set of a cache

    def runs(self, first):
        """The runs of a strip."""
        count = self.b.smaller(self.all_tiles - first, self.b.of_type(self.strip, i64))
        return _runs(self.b, self.forms.lanes, first, count, self.down, self.across)

    def transform_weights(self, panel, first, last, place):
        """Some channels of a panel as [place][channel][output]."""
        b, lanes = self.b, self.forms.lanes
        output = first_row(b, panel, self.upper, self.rows)
        starts = [self.weight + b.smaller(output + k, self.outputs - 1) * self.by_output for k in range(self.pitch)]
        with b.loop(first, last) as c:
            for start in starts:  # too many rows for the processor to see where they lead
                b.prefetch(start + (c * self.by_channel + AHEAD))
            for part in range(0, self.pitch, lanes):
                taps = []
                for tap in range(0, 9, lanes):
                    there = b.first(min(lanes, 9 - tap), lanes)
                    taps += transposed(b, [b.load(start + c * self.by_channel + tap, self.forms.vector, mask=there)
                                           for start in starts[part:part + lanes]])
                taps = taps[8::-1] if self.flipped else taps[:9]
                made = _transformed(b, self.f.weight, _parity(3), [taps[3 * y:3 * y + 3] for y in range(3)])
                for k, vector in enumerate(made):
                    b.store(vector, place + (self.place_size * k + c * self.pitch + part))

    def transform_input(self, first, held):
        """The strip of the first tile."""
        with self.runs(first) as run:
            x = _image(self.x, run[1], self.inner, (self.x_image, self.x_inner))
            _transform_input(self.b, self.forms, self.f, run, x, self.x_plane, held, self.plane, self.strip,
                             self.channels, self.height, self.width, self.top, self.left)

    def write(self, first, held, start, stop, panels, sums, later, share):
        """Outputs of panels start..stop-1, whose weights are given, for the strip of the first tile.

        From `later` on `share` numbers for each channel of each place are asked for, which are needed next.
        """
        b = self.b
        output = first_row(b, start, self.upper, self.rows)
        with b.loop(0, self.f.places) as place:
            with b.loop(start, stop) as panel:
                def multiply(height):
                    row = first_row(b, panel, self.upper, self.rows) - output
                    weights = panels + ((panel - start) * self.f.places + place) * self.place_size
                    b.call(_tile(self.forms, height, self.vectors, True), weights, held + place * self.plane,
                           sums + (place * self.sums_plane + row * self.strip), self.pitch, self.channels, 0,
                           later + place * self.channels * share, share)
                of_height(b, panel, self.upper, self.rows, self.uneven, multiply)
        with self.runs(first) as run:
            to = _image(self.out, run[1], self.inner, (self.out_image, self.out_inner)) + output * self.out_plane
            _transform_output(b, self.forms, self.f, run, sums, self.sums_plane, self.strip, to, self.out_plane,
                              first_row(b, stop, self.upper, self.rows) - output, self.out_height, self.out_width)


def minimal(target, kind, rows, uneven, vectors, flipped, deep):
    """out = a correlation of x and a weight of 3x3 taps, side by side in memory or, `flipped`, in reverse.

    `kind` names the filtering. Panels of outputs have `rows` and, where `uneven`, `rows - 1` outputs; strips of tiles
    have `vectors`. A chunk takes a strip and `wide` panels, `together` of them at a time: all weights are transformed
    into `panels` before, and `tiles` holds `bank` numbers a thread, for a strip and the sums. `deep`, for more weights
    than tiles, it is the other way round: all tiles are transformed before and a chunk takes a panel. Places of
    transformed tiles are `plane` numbers apart; those of sums, which a bank holds from `sums_at`, `sums_plane`.
    """
    w = _Correlation(target, kind, rows, uneven, vectors, flipped)
    b, strip, places = w.b, w.strip, w.f.places
    strips = (w.all_tiles + (strip - 1)) // strip
    if deep:
        strip_size = w.plane * places
        with b.parallel(strips) as task:
            w.transform_input(task * strip, w.tiles + task * strip_size)
        with b.parallel(w.count, w.threads) as panel:
            own = w.panels + b.thread * w.bank
            w.transform_weights(panel, 0, w.channels, own)
            following = b.smaller(panel + w.threads, w.count - 1)
            later = w.weight + first_row(b, following, w.upper, w.rows) * w.by_output
            share = w.rows * w.by_output // (w.channels * places) // strips
            with b.loop(0, strips) as task:
                w.write(task * strip, w.tiles + task * strip_size, panel, panel + 1, own, own + w.sums_at,
                        later + task * w.channels * places * share, share)
        return b.finish()
    together = 16
    blocks = (w.channels + (together - 1)) // together
    with b.parallel(w.count * blocks) as task:
        panel, first = task // blocks, task % blocks * together
        last = b.smaller(first + together, w.channels)
        w.transform_weights(panel, first, last, w.panels + panel * places * w.place_size)
    groups = (w.count + w.wide - 1) // w.wide
    with b.parallel(strips * groups, w.threads) as chunk:
        first, group = chunk // groups * strip, chunk % groups * w.wide
        own = w.tiles + b.thread * w.bank
        w.transform_input(first, own)
        with b.loop(group, b.smaller(group + w.wide, w.count), w.together) as start:
            w.write(first, own, start, b.smaller(start + w.together, w.count), w.panels + start * places * w.place_size,
                    own + w.sums_at, own, b.of_type(0, i64))
    return b.finish()


def _transform_gradient(b, forms, f, run, g, g_plane, held, plane, pitch, outputs, height, width):
    """Tiles of a run of a gradient g as [place][strip of outputs][tile][output], `plane` and `pitch` apart."""
    lanes, (place, _, tile_row, tile_column, length) = forms.lanes, run
    side = f.tile
    lines = _Lines(b, forms, g, g_plane, height, width, tile_row * side, tile_column * side, side, side)
    corner = b.buffer(f32, side * side * lanes * lanes)
    with b.loop(0, outputs, lanes) as first:
        with b.loop(0, lanes) as k:
            pixels = (vector for line in lines.read(b.smaller(first + k, outputs - 1)) for vector in line)
            for number, vector in enumerate(pixels):
                b.store(vector, corner + (k + number * lanes) * lanes)
        with b.loop(0, side * side * lanes * lanes, lanes * lanes) as at:
            places = [corner + at + k * lanes for k in range(lanes)]
            for tile, place_of_tile in zip(transposed(b, [b.load(one, forms.vector) for one in places]), places):
                b.store(tile, place_of_tile)
        strip = first // (2 * lanes)
        to = held + (strip * pitch + place * (2 * lanes) + (first - strip * (2 * lanes)))
        with b.loop(0, length) as tile:
            square = _square(b, forms, corner + tile * lanes, lanes * lanes, side * side)
            for k, made in enumerate(_transformed(b, _turned(f.output), _parity(side), square)):
                b.store(made, to + (plane * k + tile * (2 * lanes)))


def _transform_back(b, forms, f, sums, rows, plane, out, outputs, by_output):
    """Writes the taps of `rows` channels and up to a strip of `outputs`, from [place][channel][output]."""
    lanes = forms.lanes
    nothing = b.constant(0, forms.vector)
    with b.loop(0, rows) as c:
        with b.loop(0, 2 * lanes, lanes) as half:
            square = _square(b, forms, sums + (c * (2 * lanes) + half), plane, f.places)
            taps = _transformed(b, _turned(f.weight), f.pairs, square)
            for tap in range(0, 9, lanes):
                part = taps[tap:tap + lanes]
                turned = transposed(b, part + [nothing] * (lanes - len(part)))
                for k in range(lanes):
                    with b.when(outputs > half + k):
                        b.store(turned[k], out + ((half + k) * by_output + c * 9 + tap), mask=b.first(len(part), lanes))


def minimal_in_weight(target, kind, rows, uneven):
    """out[o][c][3][3] = the gradient of a correlation in its weight, for the gradient g of its output. See `minimal`.

    Tiles are taken `slab` at a time: transformed into `inputs` and `gradients`, of which a place takes `input_plane`
    and `gradient_plane` and a channel or strip `input_pitch` and `gradient_pitch`, and multiplied by panels of `rows`
    and, where `uneven`, `rows - 1` channels. Sums lie in `totals`: for one slab those of a panel a thread, else all.
    """
    forms, f = Forms(target, 'float32'), FILTERINGS[kind]
    strip = 2 * forms.lanes
    arrays = {name: pointer(f32) for name in ('x', 'g', 'out', 'inputs', 'gradients', 'totals')}
    numbers = ('threads images channels height width outputs out_height out_width top left count upper slab '
               'input_plane input_pitch gradient_plane gradient_pitch inner x_image x_inner x_plane g_image g_inner '
               'g_plane').split()
    b = Builder('winograd_in_weight', **arrays, **dict.fromkeys(numbers, i64))
    x, g, out, inputs, gradients, totals, *numbers = b.parameters
    (threads, images, channels, height, width, outputs, out_height, out_width, top, left, count, upper, slab,
     input_plane, input_pitch, gradient_plane, gradient_pitch, inner, *strides) = numbers
    *x_strides, x_plane, g_image, g_inner, g_plane = strides
    down, across = ((size + (f.tile - 1)) // f.tile for size in (out_height, out_width))
    tiles = images * down * across
    plane = rows * strip
    with b.loop(0, tiles, slab) as start:
        here = b.smaller(slab, tiles - start)
        with b.parallel((here + (strip - 1)) // strip * 2) as task:
            first = task // 2 * strip
            length = b.smaller(here - first, b.of_type(strip, i64))
            with _runs(b, forms.lanes, start + first, length, down, across) as run:
                with b.when(task % 2 < 1):
                    image = _image(x, run[1], inner, x_strides)
                    _transform_input(b, forms, f, run, image, x_plane, inputs + first, input_plane, input_pitch,
                                     channels, height, width, top, left)
                with b.otherwise():
                    image = _image(g, run[1], inner, (g_image, g_inner))
                    _transform_gradient(b, forms, f, run, image, g_plane, gradients + first * strip, gradient_plane,
                                        gradient_pitch, outputs, out_height, out_width)
        alone = slab >= tiles
        with b.parallel((outputs + (strip - 1)) // strip * count, threads) as task:
            output, panel = task // count, task % count
            channel = first_row(b, panel, upper, rows)
            sums = totals + b.select(alone, b.thread, task) * (plane * f.places)

            def write(height):
                with b.loop(0, f.places) as place:
                    with b.loop(0, here, CHAIN) as k:
                        left_factor = inputs + (place * input_plane + channel * input_pitch + k)
                        right_factor = gradients + (place * gradient_plane + output * gradient_pitch + k * strip)
                        b.call(_tile(forms, height, 2, False), left_factor, right_factor, sums + place * plane,
                               input_pitch, b.smaller(here - k, b.of_type(CHAIN, i64)), start + k)
                with b.when(start + slab >= tiles):
                    to = out + (output * strip * channels + channel) * 9
                    _transform_back(b, forms, f, sums, height, b.of_type(plane, i64), to, outputs - output * strip,
                                    channels * 9)
            of_height(b, panel, upper, rows, uneven, write)
    return b.finish()
