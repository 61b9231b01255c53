"""Kernels of recurrent layers: all steps of one direction, each a product with the weight and the cell's formula.

Sequences are rows, divided into panels; hidden units are divided into strips of some vectors. A tile holds the
products of a panel's rows and a strip's units, for all gates in forward, so that the formula takes them from the first
cache. Rows of all steps lie one behind the other in memory; `spans` has (first row, how many) of each step in the order
of computation, between steps of none. In the row of a step `states` and `cells` have what it begins with; the
sequences' last ones lie behind all rows. Either the panels are shared out among threads, which then run all steps, or
the strips in each step. What is summed in which order depends on neither. Knows no arrays.
"""
from __future__ import annotations

from typing import NamedTuple

from .exponential import exp, exp_pair
from .ir import Builder
from .tiles import Forms, add_products, first_row, of_height, pack_turned
from .types import f32, i64, pointer

__all__ = ['CELLS', 'division', 'forward', 'backward']

LINE = 16    # numbers of a cache line
SLICE = 512  # products that are summed up in registers before they are added to the rest: bounds the rounding error


# ---- activations: a few units in the last place less exact than the operations of these names, and half as long

def sigmoid(b, x):
    """1 / (1 + e**-x); 0 where that would be denormal."""
    return 1.0 / (exp(b, -x) + 1.0)


def tanh(b, x):
    """tanh from one power of e alone."""
    n, high, low = exp_pair(b, b.smaller(b.of_type(20.0, x.type), b.abs(x)) * 2.0)
    power = b.scale(b.of_type(1.0, x.type), n)
    less = b.fma(low, power, b.fma(high, power, -1.0))
    return b.copysign(less / (less + 2.0), x)


# ---- cells: step(b, x, products, h, c) -> (activations, h, c, kept besides), for one vector of units
# ---- gradient(b, activations, before, dh, dc) -> (columns of dx, last column of dhidden, what dh carries on, dc),
# ---- where `before` is the cell state before the step, or what was kept besides and the hidden state

def _rnn(function):
    def step(b, x, products, h, c):
        h = function(b, x[0] + products[0])
        return (h,), h, None, None
    return step


def _tanh_gradient(b, activations, before, dh, dc):
    h, = activations
    return (dh * (1.0 - h * h),), None, None, None


def _relu(b, x):
    return b.select(x < 0.0, b.of_type(0.0, x.type), x)


def _relu_gradient(b, activations, before, dh, dc):
    h, = activations
    return (b.select(h > 0.0, dh, b.of_type(0.0, dh.type)),), None, None, None


def _lstm(b, x, products, h, c):
    i, f, g, o = (function(b, x[k] + products[k]) for k, function in enumerate((sigmoid, sigmoid, tanh, sigmoid)))
    c = b.fma(f, c, i * g)
    return (i, f, g, o), o * tanh(b, c), c, None


def _lstm_gradient(b, activations, before, dh, dc):
    (i, f, g, o), (c,) = activations, before
    t = tanh(b, b.fma(f, c, i * g))
    dho = dh * o
    dc = b.fma(dho, 1.0 - t * t, dc)
    dci, dcf = dc * i, dc * f
    return (dci * g * (1.0 - i), dcf * c * (1.0 - f), dci * (1.0 - g * g), dho * t * (1.0 - o)), None, None, dcf


def _gru(b, x, products, h, c):
    r, z = (sigmoid(b, x[k] + products[k]) for k in range(2))
    n = tanh(b, b.fma(r, products[2], x[2]))
    return (r, z, n), b.fma(h - n, z, n), None, products[2]


def _gru_gradient(b, activations, before, dh, dc):
    (r, z, n), (hn, h) = activations, before
    carried = dh * z
    dn = (dh - carried) * (1.0 - n * n)
    dz = carried * (h - n) * (1.0 - z)
    return (dn * hn * r * (1.0 - r), dz, dn), dn * r, carried, None


class Cell(NamedTuple):
    """A kind of cell: its number of gates, formulas, and whether it has cell states or a bias of the hidden product."""

    gates: int
    step: object
    gradient: object
    cells: bool = False
    own: bool = False


CELLS = {'RNN_TANH': Cell(1, _rnn(tanh), _tanh_gradient), 'RNN_RELU': Cell(1, _rnn(_relu), _relu_gradient),
         'LSTM': Cell(4, _lstm, _lstm_gradient, cells=True), 'GRU': Cell(3, _gru, _gru_gradient, own=True)}
# gates -> how a strip is divided, for more and more rows: (vectors of units, vectors of products summed up at once)
DIVISIONS = {1: ((8, 8), (4, 4), (2, 2)), 3: ((2, 6), (1, 3), (2, 2)), 4: ((2, 8), (1, 4), (1, 2))}


def division(target, gates, rows, units):
    """(vectors of units in a strip, vectors of products summed up at once, most rows of a tile)."""
    for vectors, group in DIVISIONS[gates]:
        most = (target.registers - 1) // group - 1  # beside the sums stay a row of factors and one that is broadcast
        idle = -units % (vectors * target.lanes(f32))
        if rows <= most and idle * 8 <= units or group == 2:
            return vectors, group, most


class _Steps:
    """The frame of both kernels: tiles, and how panels, strips and steps are gone through."""

    def __init__(self, target, b, vectors, gates, group, rows, uneven, masked, by_rows):
        self.b, self.forms = b, Forms(target, 'float32')
        self.lanes, self.vectors, self.rows = self.forms.lanes, vectors, rows
        self.uneven, self.masked, self.by_rows = uneven, masked, by_rows
        self.width = vectors * self.lanes         # units of a strip
        self.columns = gates * self.width         # products of a row with a strip
        self.group = group                        # vectors of products that are summed up in registers at once

    def tile(self, rows):
        """out = x @ panel for rows of x, `depth` deep."""
        b = Builder(f'tile{rows}', x=pointer(f32), x_row=i64, panel=pointer(f32), out=pointer(f32), depth=i64)
        x, x_row, panel, out, depth = b.parameters
        vector, width = self.forms.vector, self.group * self.lanes
        sums = [[b.variable(0, vector) for _ in range(self.group)] for _ in range(rows)]
        places = [(total, out + (row * self.columns + v * self.lanes))
                  for row, totals in enumerate(sums) for v, total in enumerate(totals)]
        with b.loop(0, depth, SLICE) as start:
            for total, _ in places:
                total.set(0.0)
            add_products(b, self.forms, sums, b.smaller(depth - start, SLICE), x + start, x_row, 1,
                         b.variable(panel + start * width), width)
            with b.when(start > 0):
                for total, place in places:
                    total.add(b.load(place, vector))
            for total, place in places:
                b.store(total.get(), place)
        return b.finish()

    def run(self, steps, panels, strips, each, step):
        """step(number, first panel, last, first strip, last, a tile's memory) for all steps; a thread takes `each`."""
        b, zero, shared = self.b, self.b.of_type(0, i64), panels if self.by_rows else strips

        def share(chunk):
            return chunk * each, b.smaller((chunk + 1) * each, shared)
        chunks = (shared + (each - 1)) // each
        if self.by_rows:
            with b.parallel(chunks) as chunk:
                tile = b.buffer(f32, self.rows * self.columns)
                with b.loop(0, steps) as number:
                    step(number, *share(chunk), zero, strips, tile)
        else:
            with b.loop(0, steps) as number, b.parallel(chunks) as chunk:
                step(number, zero, panels, *share(chunk), b.buffer(f32, self.rows * self.columns))

    def product(self, panel, upper, x, x_row, weights, out, depth):
        """out = x @ weights, a strip's panels one behind the other, for a panel's rows."""
        def write(height):
            tile, width = self.tile(height), self.group * self.lanes
            for start in range(0, self.columns, width):
                self.b.call(tile, x, x_row, weights + depth * start, out + start, depth)
        of_height(self.b, panel, upper, self.rows, self.uneven, write)

    def parts(self, unit, units):
        """(distance from the first unit, mask or None) of a strip's vectors."""
        return [(v * self.lanes, self.b.first(units - unit - v * self.lanes, self.lanes) if self.masked else None)
                for v in range(self.vectors)]

    def load(self, place, mask=None):
        return self.b.load(place, self.forms.vector, mask=mask)


def forward(target, mode, vectors, group, rows, uneven, masked, by_rows):
    """All steps forward. `x`, the inputs' products, becomes the gates' activations; `extra` gets GRU's product."""
    cell = CELLS[mode]
    names = 'x weight bias panels states cells extra output'.split()
    b = Builder('recurrent', **{name: pointer(f32) for name in names}, spans=pointer(i64),
                **dict.fromkeys('steps units count upper each behind pitch'.split(), i64))
    (x, weight, bias, panels, states, cells, extra, output, spans, steps, units, count, upper, each, behind,
     pitch) = b.parameters
    gates = cell.gates
    s = _Steps(target, b, vectors, gates, group, rows, uneven, masked, by_rows)
    strips = (units + (s.width - 1)) // s.width
    with b.parallel(strips) as strip:
        for gate in range(gates):
            whole, shift = divmod(gate * vectors, group)
            place = panels + (strip * s.columns + whole * group * s.lanes) * units + shift * s.lanes
            pack_turned(b, s.forms, weight + (units * gate + strip * s.width) * units, units, units - strip * s.width,
                        units, place, vectors, group * s.lanes)

    def step(number, first, last, left, right, tile):
        start, taking, after, going = (b.load(spans + ((number + 1) * 2 + k)) for k in range(4))
        with b.loop(left, right) as strip, b.loop(first, last) as panel:
            top = first_row(b, panel, upper, rows)
            with b.when(top < taking):
                unit, bottom = strip * s.width, b.smaller(first_row(b, panel + 1, upper, rows), taking)
                s.product(panel, upper, states + (start + top) * pitch, pitch, panels + strip * units * s.columns, tile,
                          units)
                with b.loop(top, bottom) as row:
                    follower, sums = b.select(row < going, after + row, behind + row), tile + (row - top) * s.columns
                    for shift, mask in s.parts(unit, units):
                        step_of_vector(start + row, follower, unit + shift, sums + shift, mask)

    def step_of_vector(row, follower, unit, sums, mask):
        """`follower` is the row in which the sequence goes on."""
        place, line = row * units + unit, x + (row * (units * gates) + unit)
        inputs = [s.load(line + units * gate, mask) for gate in range(gates)]
        products = [s.load(sums + gate * s.width) for gate in range(gates)]
        if cell.own:
            products = [p + s.load(bias + (units * gate + unit), mask) for gate, p in enumerate(products)]
        h = s.load(states + (row * pitch + unit), mask) if cell.own else None
        c = s.load(cells + place, mask) if cell.cells else None
        activations, h, c, besides = cell.step(b, inputs, products, h, c)
        for gate, value in enumerate(activations):
            b.store(value, line + units * gate, mask=mask)
        b.store(h, states + (follower * pitch + unit), mask=mask)
        b.store(h, output + place, mask=mask)
        if cell.cells:
            b.store(c, cells + (follower * units + unit), mask=mask)
        if cell.own:
            b.store(besides, extra + place, mask=mask)
    s.run(steps, count, strips, each, step)
    return b.finish()


def backward(target, mode, vectors, group, rows, uneven, masked, by_rows):
    """All steps backward. `dh` and `dc`, the gradients of the last states, become those of the first.

    From a step's `dhidden`, the gradient of its hidden products, follows what reaches the step before, whose formula
    takes it: `turns` is one more than there are steps, or as many where the first state's gradient is not wanted.
    `dhidden` is `dx` but for cells whose hidden product has a bias.
    """
    cell = CELLS[mode]
    names = 'x states cells extra weight panels g dh dc dx dhidden'.split()
    b = Builder('recurrent_gradient', **{name: pointer(f32) for name in names}, spans=pointer(i64),
                **dict.fromkeys('steps turns units count upper each pitch wide'.split(), i64))
    (x, states, cells, extra, weight, panels, g, dh, dc, dx, dhidden, spans, steps, turns, units, count, upper, each,
     pitch, wide) = b.parameters
    gates = cell.gates
    s = _Steps(target, b, vectors, 1, group, rows, uneven, masked, by_rows)
    strips, deep = (units + (s.width - 1)) // s.width, units * gates
    with b.parallel(strips) as strip:
        with b.loop(0, deep) as k:
            for shift, mask in s.parts(strip * s.width, units):
                b.store(s.load(weight + (k * units + strip * s.width + shift), mask),
                        panels + (strip * deep + k) * s.width + shift)

    def step(number, first, last, left, right, tile):
        """From the step that comes after step `steps - number` in the order of computation to that step."""
        start, taking, after, going = (b.load(spans + ((steps - number) * 2 + k)) for k in range(4))
        most = b.larger(taking, going)
        with b.loop(left, right) as strip, b.loop(first, last) as panel:
            top = first_row(b, panel, upper, rows)
            with b.when(top < most):
                unit, bottom = strip * s.width, b.smaller(first_row(b, panel + 1, upper, rows), most)
                with b.when(top < going):
                    s.product(panel, upper, dhidden + (after + top) * wide, wide, panels + strip * s.width * deep, tile,
                              deep)
                with b.loop(top, bottom) as row:
                    for shift, mask in s.parts(unit, units):
                        state = row * units + unit + shift
                        total = reaching(s.load(tile + (row - top) * s.columns + shift), row < going, state, mask)
                        with b.when(row < taking):
                            step_of_vector(total, start + row, unit + shift, state, mask)
                        with b.otherwise():
                            b.store(total, dh + state, mask=mask)

    def reaching(product, goes_on, state, mask):
        """The gradient of a state after a step: from the steps that follow, or that of the sequence's last state."""
        other = s.load(dh + state, mask)
        if cell.own:
            return b.select(goes_on, product, 0.0) + other
        return b.select(goes_on, product, other)

    def step_of_vector(total, row, unit, state, mask):
        place, line, out = row * units + unit, x + (row * deep + unit), row * wide + unit
        activations = [s.load(line + units * gate, mask) for gate in range(gates)]
        sources = (cells + place,) if cell.cells else (extra + place, states + (row * pitch + unit)) if cell.own else ()
        before, reached = [s.load(source, mask) for source in sources], total + s.load(g + place, mask)
        columns, own, carried, dcell = cell.gradient(b, activations, before, reached,
                                                     s.load(dc + state, mask) if cell.cells else None)
        for gate, value in enumerate(columns):
            b.store(value, dx + out + units * gate, mask=mask)
            if cell.own:
                b.store(own if gate == gates - 1 else value, dhidden + out + units * gate, mask=mask)
        if cell.own:
            b.store(carried, dh + state, mask=mask)
        if cell.cells:
            b.store(dcell, dc + state, mask=mask)
    s.run(turns, count, strips, each, step)
    return b.finish()
