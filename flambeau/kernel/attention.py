"""Kernels of attention: scores of a few queries at a time against all keys they may look at, never all of them at once.

Queries are divided into panels of `rows` and `rows - 1`. The scores of a panel lie in a thread's scratch, where they
become powers; backward computes them again, for groups of panels, as in FlashAttention-2 (Dao, 2023). What is summed in
which order does not depend on the number of threads. Keys, and in backward values too, are turned into panels of
columns first.

`element` is the type of the numbers. `looks` says what queries look at: '' everything, 'causal', 'bool' the keys where
a mask is true, 'added' a mask of numbers is added to the scores. Keys before the first and after the last that a mask
shows to some of the queries taken together are left out. `drops`: weights go where `kept` is false, the others are
multiplied by `gain`.
"""
from __future__ import annotations

import functools

from .ir import Builder
from .mathematics import exp
from .tiles import Forms, add_products, first_row, of_height, pack_turned, totals
from .types import boolean, i64, named, pointer

__all__ = ['forward', 'backward', 'GROUP']

GROUP = 4  # panels of queries whose weights are held at once in backward
LOWEST = float('-inf')


@functools.lru_cache(maxsize=64)
def _tile(target, element, rows, columns):
    """out (+)= x @ y for `rows` rows and some vectors of columns; x lies any way, a row of y side by side."""
    forms = Forms(target, element)
    lanes, vector, number = forms.lanes, forms.vector, pointer(forms.sum)
    b = Builder(f'tile{rows}_{columns}', x=number, x_row=i64, x_depth=i64, y=number, y_stride=i64, out=number,
                out_stride=i64, depth=i64, kept=i64)
    x, x_row, x_depth, y, y_stride, out, out_stride, depth, kept = b.parameters
    starts = range(0, columns, lanes)
    masks = [b.first(columns - start, lanes) if columns - start < lanes else None for start in starts]
    sums = [[b.variable(0, vector) for _ in starts] for _ in range(rows)]
    add_products(b, forms, sums, depth, x, x_row, x_depth, b.variable(y), y_stride, masks)
    places = [(total, out + out_stride * row + start, mask) for row, totals in enumerate(sums)
              for total, start, mask in zip(totals, starts, masks)]
    with b.when(kept != 0):
        for total, place, mask in places:
            total.add(b.load(place, vector, mask=mask))
    for total, place, mask in places:
        b.store(total.get(), place, mask=mask)
    return b.finish()


class _Writer:
    """What both kernels consist of, written through one builder."""

    def __init__(self, target, builder, element, features, looks):
        self.target, self.b, self.element, self.features, self.looks = target, builder, element, features, looks
        self.forms = Forms(target, element)
        self.number, self.lanes, self.vector = self.forms.sum, self.forms.lanes, self.forms.vector
        self.width = 2 * self.lanes

    def place(self, array, strides, number, batch, head):
        """(address of a head's matrix, numbers from row to row) of the array whose strides are the `number`th."""
        at = [self.b.load(strides + 3 * number + k) for k in range(3)]
        return array + batch * at[0] + head * at[1], at[2]

    def scores(self, rows, x, x_stride, turned, width, out, out_stride):
        """Products of the rows of x with the first `width` rows of what was turned."""
        b, tile = self.b, _tile(self.target, self.element, rows, self.width)
        with b.loop(0, width, self.width) as column:
            b.call(tile, x, x_stride, 1, turned + column * self.features, self.width, out + column, out_stride,
                   self.features, 0)

    def dots(self, rows, x, x_stride, y, y_stride, count, out, out_stride):
        """Products of the rows of x with the first `count` rows of y, which are read where they lie."""
        b = self.b
        with b.loop(0, count, self.lanes) as first, b.loop(0, rows) as row:
            left = [b.load(x + row * x_stride + column, self.vector, mask=mask) for column, mask in self.across()]
            sums = []
            for k in range(self.lanes):
                line, total = y + b.smaller(first + k, count - 1) * y_stride, b.constant(0, self.vector)
                for factor, (column, mask) in zip(left, self.across()):
                    total = b.fma(factor, b.load(line + column, self.vector, mask=mask), total)
                sums.append(total)
            b.store(totals(b, sums), out + row * out_stride + first)

    def weighted(self, rows, x, x_row, x_depth, y, y_stride, out, out_stride, depth, kept, vectors=2):
        """out (+)= x @ y with `features` columns, so many vectors of them at a time."""
        width = vectors * self.lanes
        for column in range(0, self.features, width):
            tile = _tile(self.target, self.element, rows, min(width, self.features - column))
            self.b.call(tile, x, x_row, x_depth, y + column, y_stride, out + column, out_stride, depth, kept)

    def turn(self, source, stride, keys, place):
        """Rows of a matrix as panels of columns."""
        with self.b.loop(0, (keys + (self.width - 1)) // self.width) as strip:
            first = strip * self.width
            pack_turned(self.b, self.forms, source + first * stride, stride, keys - first,
                         self.b.of_type(self.features, i64), place + first * self.features)

    def across(self):
        """(column, mask or None) of the vectors of a row of features."""
        for column in range(0, self.features, self.lanes):
            left = self.features - column
            yield column, self.b.first(left, self.lanes) if left < self.lanes else None

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

    def seen(self, score, factor, place, lanes):
        """Scores times `factor` as a mask has them."""
        if self.looks == 'bool':
            return self.b.select(self.truth(place, lanes), score * factor, LOWEST)
        return self.b.fma(score, factor, self.b.load(place, self.vector, mask=lanes))

    def truth(self, place, lanes):
        return self.b.load(place, boolean.vector(self.lanes), mask=lanes)

    def powers(self, row, limit, width, scale, mask, kept=None):
        """Scores to powers of e in place, zeros after `limit` and where not kept; gives one over the sum of all."""
        b, masked = self.b, self.looks in ('bool', 'added')
        peak, total, factor = b.variable(LOWEST, self.vector), b.variable(0, self.vector), b.splat(scale, self.lanes)

        def find(column, lanes):
            score = b.load(row + column, self.vector, mask=lanes, other=LOWEST)
            if masked:
                score = self.seen(score, factor, mask + column, lanes)
                b.store(score, row + column)
            peak.set(b.larger(score, peak.get()))
        self.each(limit, find)
        top = b.reduce('larger', peak.get())
        top = b.splat(b.select(top == LOWEST, 0.0, -top) if masked else -(top * scale), self.lanes)

        def raise_(column, lanes):
            score = b.load(row + column, self.vector)
            power = exp(b, score + top if masked else b.fma(score, factor, top))
            power = power if lanes is None else b.select(lanes, power, 0.0)
            total.add(power)
            b.store(power if kept is None else b.select(self.truth(kept + column, lanes), power, 0.0), row + column)
        self.zeros(row, self.each(limit, raise_), width)
        whole = b.reduce('add', total.get())
        return b.constant(1, self.number) / (b.select(whole == 0.0, 1.0, whole) if masked else whole)

    def span(self, keys, row, mask, mask_row, rows):
        """(first, end) of the keys that some of `rows` queries look at, which end before `row`; mask: their first's.

        first is where a panel of keys begins.
        """
        b = self.b
        if not self.looks or self.looks == 'causal':
            return b.of_type(0, i64), b.smaller(keys, row) if self.looks else keys
        rounded = self.rounded(keys, self.lanes)
        begin, end = b.variable(rounded), b.variable(0, i64)
        with b.loop(0, b.select(mask_row == 0, b.of_type(1, i64), b.of_type(rows, i64))) as r:
            for edge, start, step in ((begin, b.of_type(0, i64), self.lanes), (end, rounded, -self.lanes)):
                at = b.variable(start)
                with b.repeat():  # from outside to keys known to be looked at
                    now, known = at.get(), edge.get()
                    block = now if step > 0 else now + step
                    shown = self.shown(mask + r * mask_row + block, b.first(keys - block, self.lanes))
                    edge.set(b.select(shown, (b.smaller if step > 0 else b.larger)(known, now), known))
                    at.set(now + step)
                    b.until(shown | (now + step >= known if step > 0 else now + step <= known))
        end = b.smaller(keys, end.get())
        return b.smaller(begin.get(), end) // self.width * self.width, end

    def shown(self, place, lanes):
        """Whether a mask shows some of a vector of keys."""
        return self.b.reduce('or', self.truth(place, lanes) if self.looks == 'bool' else
                             self.b.load(place, self.vector, mask=lanes, other=LOWEST) != LOWEST)

    def own(self, limit, row):
        """How many of the first `limit` keys one query may look at."""
        return self.b.smaller(limit, row + 1) if self.looks == 'causal' else limit

    def rounded(self, count, step):
        return (count + (step - 1)) // step * step


def _builder(name, element, looks, arrays, counts):
    number = named(element)
    return Builder(name, **dict.fromkeys(arrays.split(), pointer(number)),
                   mask=pointer(number if looks == 'added' else boolean), kept=pointer(boolean), strides=pointer(i64),
                   **dict.fromkeys(counts.split(), i64), scale=number, gain=number)


def forward(target, element, features, rows, uneven, looks, drops, direct):
    """out = softmax(q @ k^T * scale) @ v per head. `strides`: batch's, head's, row's of q, k, v, out, mask and kept.

    `direct`: there is one panel of a few queries, for which keys are not turned.
    """
    b = _builder('attention', element, looks, 'q k v out turned scratch', 'threads batch heads keys panels upper')
    q, k, v, out, turned, scratch, masks, keeps, strides, threads, batch, heads, keys, panels, upper, scale, gain = \
        b.parameters
    w = _Writer(target, b, element, features, looks)
    padded = w.rounded(keys, w.width)
    pitch = padded + w.width
    if not direct:
        with b.parallel(batch * heads) as task:
            at, stride = w.place(k, strides, 1, task // heads, task % heads)
            w.turn(at, stride, keys, turned + task * padded * features)
    groups = (panels + (GROUP - 1)) // GROUP
    with b.parallel(batch * heads * groups, threads) as task:
        head, group = task // groups, (task % groups) * GROUP
        (q_at, q_row), (k_at, k_row), (v_at, v_row), (out_at, out_row), (mask, mask_row), (kept, kept_row) = (
            w.place(array, strides, number, head // heads, head % heads)
            for number, array in enumerate((q, k, v, out, masks, keeps)))
        panel_of_keys, space = turned + head * padded * features, scratch + b.thread * pitch * rows
        inverse = b.buffer(w.number, rows)
        with b.loop(group, b.smaller(group + GROUP, panels)) as p:
            start = first_row(b, p, upper, rows)

            def write(height):
                first, end = w.span(keys, start + height, mask + start * mask_row, mask_row, height)
                width = w.rounded(end - first, w.width)
                if direct:
                    w.dots(height, q_at, q_row, k_at + first * k_row, k_row, end - first, space, pitch)
                else:
                    w.scores(height, q_at + start * q_row, q_row, panel_of_keys + first * features, width, space, pitch)
                with b.loop(0, height) as r:
                    row = start + r
                    b.store(w.powers(space + r * pitch, w.own(end, row) - first, width, scale,
                                     mask + (row * mask_row + first),
                                     kept + (row * kept_row + first) if drops else None) * gain, inverse + r)
                w.weighted(height, space, pitch, 1, v_at + first * v_row, v_row, out_at + start * out_row, out_row,
                           end - first, 0, target.registers // (2 * rows + 2) if direct else 2)
                with b.loop(0, height) as r:
                    factor, place = b.splat(b.load(inverse + r), w.lanes), out_at + (start + r) * out_row
                    for column, lanes in w.across():
                        b.store(b.load(place + column, w.vector, mask=lanes) * factor, place + column, mask=lanes)
            of_height(b, p, upper, rows, uneven, write)
    return b.finish()


def _row_gradient(w, weights, gradient, g, out, limit, width, scale, gain, mask, kept):
    """A row of scores and one of dO @ v^T to weights and to the gradient of the unscaled scores."""
    b = w.b
    inverse = b.splat(w.powers(weights, limit, width, scale, mask), w.lanes)
    total = b.constant(0, w.vector)
    for column, lanes in w.across():
        total = b.fma(*(b.load(x + column, w.vector, mask=lanes) for x in (g, out)), total)
    mean, factor = b.splat(b.reduce('add', total), w.lanes), b.splat(scale, w.lanes)

    def change(column, lanes):
        weight, slope = b.load(weights + column, w.vector) * inverse, b.load(gradient + column, w.vector)
        dropped = weight
        if kept is not None:
            gains = b.select(w.truth(kept + column, lanes), b.splat(gain, w.lanes), 0.0)
            dropped, slope = weight * gains, slope * gains
        b.store(dropped, weights + column)
        changed = (slope - mean) * (weight * factor)
        b.store(changed if lanes is None else b.select(lanes, changed, 0.0), gradient + column)
    w.zeros(gradient, w.each(limit, change), width)


def backward(target, element, features, rows, uneven, key_rows, key_uneven, looks, drops):
    """dq, and added to dk and dv, from g, the gradient of `out`. `strides`: q, k, v, out, g, dq, dk, dv, mask, kept.

    Queries are divided into `parts` of `steps` panels, each with dk and dv of its own, `apart` numbers apart.
    """
    b = _builder('attention_gradient', element, looks, 'q k v out g dq dk dv scratch',
                 'threads batch heads keys panels upper key_panels key_upper parts steps apart')
    (*arrays, scratch, masks, keeps, strides, threads, batch, heads, keys, panels, upper, key_panels, key_upper, parts,
     steps, apart, scale, gain) = b.parameters
    w = _Writer(target, b, element, features, looks)
    padded = w.rounded(keys, w.width)
    pitch = padded + w.width
    with b.parallel(batch * heads * parts, threads) as task:
        head, part = task // parts, task % parts
        ((q, q_row), (k, k_row), (v, v_row), (out, out_row), (g, g_row), (dq, dq_row), (dk, dk_row), (dv, dv_row),
         (mask, mask_row), (kept, kept_row)) = (
            w.place(array, strides, number, head // heads, head % heads)
            for number, array in enumerate((*arrays, masks, keeps)))
        turned_keys = scratch + b.thread * (padded * (2 * features) + pitch * (2 * GROUP * rows))
        turned_values = turned_keys + padded * features
        weights = turned_values + padded * features
        gradient = weights + pitch * (GROUP * rows)
        w.turn(k, k_row, keys, turned_keys)
        w.turn(v, v_row, keys, turned_values)
        with b.loop(part * steps, b.smaller(part * steps + steps, panels), GROUP) as group:
            last = b.smaller(group + GROUP, panels)
            start, end = first_row(b, group, upper, rows), first_row(b, last, upper, rows)
            first, limit = w.span(keys, end, mask + start * mask_row, mask_row, end - start)
            first = b.larger(first - w.width, b.of_type(0, i64))  # a panel of sums may begin a little before
            width = w.rounded(limit - first, w.width)
            with b.loop(group, last) as p:
                at = first_row(b, p, upper, rows)
                row = (at - start) * pitch

                def write(height):
                    w.scores(height, q + at * q_row, q_row, turned_keys + first * features, width, weights + row, pitch)
                    w.scores(height, g + at * g_row, g_row, turned_values + first * features, width, gradient + row,
                             pitch)
                    with b.loop(0, height) as r:
                        query = at + r
                        # the last panel of keys may reach a little past `width`
                        _row_gradient(w, weights + row + r * pitch, gradient + row + r * pitch, g + query * g_row,
                                      out + query * out_row, w.own(limit, query) - first, width + w.width, scale,
                                      gain, mask + (query * mask_row + first),
                                      kept + (query * kept_row + first) if drops else None)
                    w.weighted(height, gradient + row, pitch, 1, k + first * k_row, k_row, dq + at * dq_row, dq_row,
                               w.own(limit, at + (height - 1)) - first, 0)
                of_height(b, p, upper, rows, uneven, write)
            with b.loop(0, key_panels) as p:
                at = first_row(b, p, key_upper, key_rows)

                def add(height):
                    for x, y, y_row, place, stride in ((weights, g, g_row, dv, dv_row),
                                                       (gradient, q, q_row, dk, dk_row)):
                        w.weighted(height, x + (at - first), 1, pitch, y + start * y_row, y_row,
                                   place + (part * apart + at * stride), stride, end - start, 1)
                with b.when((at >= first) & (at < limit)):
                    of_height(b, p, key_upper, key_rows, key_uneven, add)
    return b.finish()
