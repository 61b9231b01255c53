"""Kernels of attention: scores of a few queries at a time against all keys they may look at, never all of them at once.

Queries are divided into panels of `rows` and `rows - 1`. The scores of a panel lie in a thread's scratch, where they
become powers; backward computes them again, for groups of panels, as in FlashAttention-2 (Dao, 2023). What is summed in
which order does not depend on the number of threads. Keys, and in backward values too, are turned into panels of
columns first.
"""
from __future__ import annotations

from .ir import Builder
from .mathematics import exp
from .tiles import Forms, add_products, first_row, of_height, pack_turned
from .types import f32, i64, pointer

__all__ = ['forward', 'backward', 'GROUP']

GROUP = 4  # panels of queries whose weights are held at once in backward


def _tile(target, rows, vectors):
    """out (+)= x @ y for `rows` rows and some vectors of columns; x lies any way, a row of y side by side."""
    lanes = target.lanes(f32)
    vector = f32.vector(lanes)
    b = Builder(f'tile{rows}_{vectors}', x=pointer(f32), x_row=i64, x_depth=i64, y=pointer(f32), y_stride=i64,
                out=pointer(f32), out_stride=i64, depth=i64, kept=i64)
    x, x_row, x_depth, y, y_stride, out, out_stride, depth, kept = b.parameters
    sums = [[b.variable(0, vector) for _ in range(vectors)] for _ in range(rows)]
    add_products(b, Forms(target, 'float32'), sums, depth, x, x_row, x_depth, b.variable(y), y_stride)
    places = [[out + out_stride * row + v * lanes for v in range(vectors)] for row in range(rows)]
    with b.when(kept != 0):
        for row in range(rows):
            for v in range(vectors):
                sums[row][v].add(b.load(places[row][v], vector))
    for row in range(rows):
        for v in range(vectors):
            b.store(sums[row][v].get(), places[row][v])
    return b.finish()


class _Writer:
    """What both kernels consist of, written through one builder."""

    def __init__(self, target, builder, features):
        self.target, self.b, self.features = target, builder, features
        self.lanes = target.lanes(f32)
        self.vector, self.width = f32.vector(self.lanes), 2 * self.lanes
        self.forms = Forms(target, 'float32')

    def place(self, array, strides, number, batch, head):
        """(address of a head's matrix, numbers from row to row) of the array whose strides are the `number`th."""
        at = [self.b.load(strides + 3 * number + k) for k in range(3)]
        return array + batch * at[0] + head * at[1], at[2]

    def scores(self, rows, x, x_stride, turned, width, out, out_stride):
        """Products of the rows of x with the first `width` rows of what was turned."""
        b, tile = self.b, _tile(self.target, rows, 2)
        with b.loop(0, width, self.width) as column:
            b.call(tile, x, x_stride, 1, turned + column * self.features, self.width, out + column, out_stride,
                   self.features, 0)

    def weighted(self, rows, x, x_row, x_depth, y, y_stride, out, out_stride, depth, kept):
        """out (+)= x @ y with `features` columns."""
        for column in range(0, self.features, self.width):
            vectors = min(2, (self.features - column) // self.lanes)
            self.b.call(_tile(self.target, rows, vectors), x, x_row, x_depth, y + column, y_stride, out + column,
                        out_stride, depth, kept)

    def turn(self, source, stride, keys, place):
        """Rows of a matrix as panels of columns."""
        with self.b.loop(0, (keys + (self.width - 1)) // self.width) as strip:
            first = strip * self.width
            pack_turned(self.b, self.forms, source + first * stride, stride, keys - first,
                         self.b.of_type(self.features, i64), place + first * self.features)

    def each(self, limit, visit):
        """visit(column, mask or None) for each vector of the first `limit` numbers; gives where zeros begin."""
        b = self.b
        full = limit - (limit & (self.lanes - 1))
        with b.loop(0, full, self.lanes) as column:
            visit(column, None)
        with b.when(full < limit):
            visit(full, b.first(limit - full, self.lanes))
        return (limit + (self.lanes - 1)) // self.lanes * self.lanes

    def zeros(self, row, first, width):
        with self.b.loop(first, width, self.lanes) as column:
            self.b.store(self.b.constant(0, self.vector), row + column)

    def powers(self, row, limit, width, scale):
        """Scores to powers of e in place, zeros after `limit`; gives one over their sum."""
        b, lowest = self.b, float('-inf')
        peak, total = b.variable(lowest, self.vector), b.variable(0, self.vector)

        def find(column, mask):
            peak.set(b.larger(b.load(row + column, self.vector, mask=mask, other=lowest), peak.get()))
        self.each(limit, find)
        top, factor = b.splat(-(b.reduce('larger', peak.get()) * scale), self.lanes), b.splat(scale, self.lanes)

        def raise_(column, mask):
            power = exp(b, b.fma(b.load(row + column, self.vector), factor, top))
            power = power if mask is None else b.select(mask, power, 0.0)
            b.store(power, row + column)
            total.add(power)
        self.zeros(row, self.each(limit, raise_), width)
        return b.constant(1, f32) / b.reduce('add', total.get())

    def limit(self, causal, keys, row):
        """How many keys a query may look at."""
        return self.b.smaller(keys, row + 1) if causal else keys

    def rounded(self, count):
        return (count + (self.width - 1)) // self.width * self.width


def forward(target, features, rows, uneven, causal):
    """out = softmax(q @ k^T * scale) @ v per head. `strides` holds batch's, head's and row's of q, k, v and out."""
    b = Builder('attention', q=pointer(f32), k=pointer(f32), v=pointer(f32), out=pointer(f32), turned=pointer(f32),
                scratch=pointer(f32), strides=pointer(i64), threads=i64, batch=i64, heads=i64, keys=i64, panels=i64,
                upper=i64, scale=f32)
    q, k, v, out, turned, scratch, strides, threads, batch, heads, keys, panels, upper, scale = b.parameters
    w = _Writer(target, b, features)
    padded = w.rounded(keys)
    pitch = padded + w.width
    with b.parallel(batch * heads) as task:
        at, stride = w.place(k, strides, 1, task // heads, task % heads)
        w.turn(at, stride, keys, turned + task * padded * features)
    groups = (panels + (GROUP - 1)) // GROUP
    with b.parallel(batch * heads * groups, threads) as task:
        head, group = task // groups, (task % groups) * GROUP
        (q_at, q_row), (v_at, v_row), (out_at, out_row) = (
            w.place(array, strides, number, head // heads, head % heads)
            for array, number in ((q, 0), (v, 2), (out, 3)))
        panel_of_keys, space = turned + head * padded * features, scratch + b.thread * pitch * rows
        inverse = b.buffer(f32, rows)
        with b.loop(group, b.smaller(group + GROUP, panels)) as p:
            start = first_row(b, p, upper, rows)

            def write(height):
                limit = w.limit(causal, keys, start + (height - 1))
                width = w.rounded(limit)
                w.scores(height, q_at + start * q_row, q_row, panel_of_keys, width, space, pitch)
                with b.loop(0, height) as r:
                    b.store(w.powers(space + r * pitch, w.limit(causal, keys, start + r), width, scale), inverse + r)
                w.weighted(height, space, pitch, 1, v_at, v_row, out_at + start * out_row, out_row, limit, 0)
                with b.loop(0, height) as r:
                    factor, place = b.splat(b.load(inverse + r), w.lanes), out_at + (start + r) * out_row
                    for column in range(0, features, w.lanes):
                        b.store(b.load(place + column, w.vector) * factor, place + column)
            of_height(b, p, upper, rows, uneven, write)
    return b.finish()


def _row_gradient(w, weights, gradient, g, out, limit, width, scale):
    """A row of scores and one of dO @ v^T to weights and to the gradient of the unscaled scores."""
    b = w.b
    inverse = b.splat(w.powers(weights, limit, width, scale), w.lanes)
    total = b.constant(0, w.vector)
    for column in range(0, w.features, w.lanes):
        total = b.fma(b.load(g + column, w.vector), b.load(out + column, w.vector), total)
    mean, factor = b.splat(b.reduce('add', total), w.lanes), b.splat(scale, w.lanes)

    def change(column, mask):
        weight = b.load(weights + column, w.vector) * inverse
        b.store(weight, weights + column)
        changed = (b.load(gradient + column, w.vector) - mean) * (weight * factor)
        b.store(changed if mask is None else b.select(mask, changed, 0.0), gradient + column)
    w.zeros(gradient, w.each(limit, change), width)


def backward(target, features, rows, uneven, key_rows, key_uneven, causal):
    """dq, and added to dk and dv, from g, the gradient of `out`. `strides` is of q, k, v, out, g, dq, dk, dv."""
    names = 'q k v out g dq dk dv scratch'.split()
    b = Builder('attention_gradient', **{n: pointer(f32) for n in names}, strides=pointer(i64),
                **dict.fromkeys('threads batch heads keys panels upper key_panels key_upper'.split(), i64), scale=f32)
    *arrays, scratch, strides, threads, batch, heads, keys, panels, upper, key_panels, key_upper, scale = b.parameters
    w = _Writer(target, b, features)
    padded = w.rounded(keys)
    pitch = padded + w.width
    with b.parallel(batch * heads, threads) as task:
        ((q, q_row), (k, k_row), (v, v_row), (out, out_row), (g, g_row), (dq, dq_row), (dk, dk_row), (dv, dv_row)) = (
            w.place(array, strides, number, task // heads, task % heads) for number, array in enumerate(arrays))
        turned_keys = scratch + b.thread * (padded * (2 * features) + pitch * (2 * GROUP * rows))
        turned_values = turned_keys + padded * features
        weights = turned_values + padded * features
        gradient = weights + pitch * (GROUP * rows)
        w.turn(k, k_row, keys, turned_keys)
        w.turn(v, v_row, keys, turned_values)
        with b.loop(0, panels, GROUP) as group:
            last = b.smaller(group + GROUP, panels)
            start, end = first_row(b, group, upper, rows), first_row(b, last, upper, rows)
            limit = w.limit(causal, keys, end - 1)
            width = w.rounded(limit)
            with b.loop(group, last) as p:
                at = first_row(b, p, upper, rows)
                row = (at - start) * pitch

                def write(height):
                    w.scores(height, q + at * q_row, q_row, turned_keys, width, weights + row, pitch)
                    w.scores(height, g + at * g_row, g_row, turned_values, width, gradient + row, pitch)
                    with b.loop(0, height) as r:
                        # the last panel of keys may reach a little past `width`
                        _row_gradient(w, weights + row + r * pitch, gradient + row + r * pitch, g + (at + r) * g_row,
                                      out + (at + r) * out_row, w.limit(causal, keys, at + r), width + w.width, scale)
                    w.weighted(height, gradient + row, pitch, 1, k, k_row, dq + at * dq_row, dq_row,
                               w.limit(causal, keys, at + (height - 1)), 0)
                of_height(b, p, upper, rows, uneven, write)
            with b.loop(0, key_panels) as p:
                at = first_row(b, p, key_upper, key_rows)

                def add(height):
                    for x, y, y_row, place, stride in ((weights, g, g_row, dv, dv_row),
                                                       (gradient, q, q_row, dk, dk_row)):
                        w.weighted(height, x + at, 1, pitch, y + start * y_row, y_row, place + at * stride, stride,
                                   end - start, 1)
                with b.when(at < limit):
                    of_height(b, p, key_upper, key_rows, key_uneven, add)
    return b.finish()
