"""Reading and writing by index arrays and masks: every place is written by one thread, in order. Knows no arrays.

Arrays are looked at as (outer, n, width): an index names one of n.
"""
from __future__ import annotations

from .fusion import OPERATIONS
from .ir import Builder
from .types import Type, bf16, boolean, f16, f32, i64, pointer, u8, u32, u64

__all__ = ['COMBINE', 'chosen', 'combine_rows', 'count', 'elements', 'outside', 'take_rows']

PANEL = 16    # vectors of a row that one thread takes at a time
UNROLL = 4
COMBINE = {'add': OPERATIONS['add'], 'multiply': OPERATIONS['mul'], 'maximum': OPERATIONS['maximum'],
           'minimum': OPERATIONS['minimum']}


def _combined(b, op, x, y):
    """Two numbers as one; half types are computed in float32."""
    kind = x.type
    if kind.scalar in (f16, bf16):
        return b.convert(_combined(b, op, b.convert(x, f32), b.convert(y, f32)), kind.scalar)
    return COMBINE[op](b, x, y)


def combine_rows(target, kind, op, given):
    """table[o, rows[k]] and values[o, k] combined for k in order ('write': values written); divided by o and by
    columns.

    given: 'rows' of values, or 'single' for a number that counts for all.
    """
    b = Builder('combine_rows', table=pointer(kind), rows=pointer(i64), values=pointer(kind), outer=i64, n=i64,
                count=i64, width=i64)
    table, rows, values, outer, n, count, width = b.parameters
    single = given == 'single'
    lanes = target.lanes(kind)
    panel = PANEL * lanes
    panels = (width + (panel - 1)) / panel
    with b.parallel(outer * panels) as chunk:
        o, start = chunk / panels, chunk % panels * panel
        own, first = table + o * n * width + start, values if single else values + o * count * width + start
        left = b.smaller(width - start, panel)
        number = b.load(values) if single else None

        def combine(place, value, column, lanes=0, mask=None):
            many = kind.vector(lanes)
            new = b.of_type(number, many) if single else b.load(value + column, many, mask=mask)
            if op != 'write':
                new = _combined(b, op, b.load(place + column, many, mask=mask), new)
            b.store(new, place + column, mask=mask)

        def sweep(write):
            with b.loop(0, count) as k:
                value = first if single else first + k * width
                write(own + b.load(rows + k) * width, value)

        def narrow(*row):
            with b.loop(0, left) as column:
                combine(*row, column)

        def wide(*row):
            for k in range(0, panel, lanes):
                combine(*row, k, lanes)

        def masked(*row):
            for k in range(0, panel, lanes):
                with b.when(left > k):
                    combine(*row, k, lanes, b.first(b.smaller(left - k, lanes), lanes))
        with b.when(left == panel):
            sweep(wide)
        with b.otherwise():
            with b.when(left < 4):
                sweep(narrow)
            with b.otherwise():
                sweep(masked)
    return b.finish()


def sum_bags(target, kind):
    """y[k] = the sum of the rows x[rows[i]] of `width` numbers for i from first[k] to first[k + 1]; `block` k a chunk.
    """
    b = Builder('sum_bags', x=pointer(kind), rows=pointer(i64), first=pointer(i64), y=pointer(kind), count=i64,
                width=i64, block=i64)
    x, rows, first, y, count, width, block = b.parameters
    wide = f32 if kind in (f16, bf16) else kind
    lanes = target.lanes(wide)
    step = UNROLL * lanes

    def add(k, column, masks):
        sums = [b.variable(b.constant(0, wide.vector(lanes))) for _ in masks]
        with b.loop(b.load(first + k), b.load(first + (k + 1))) as i:
            row = x + b.load(rows + i) * width + column
            for part, (total, mask) in enumerate(zip(sums, masks)):
                total.add(b.convert(b.load(row + part * lanes, kind.vector(lanes), mask=mask), wide))
        for part, (total, mask) in enumerate(zip(sums, masks)):
            b.store(b.convert(total.get(), kind), y + k * width + column + part * lanes, mask=mask)
    whole = width / step * step
    with b.parallel((count + (block - 1)) / block) as chunk, b.loop(
            chunk * block, b.smaller(chunk * block + block, count)) as k:
        with b.loop(0, whole, step) as column:
            add(k, column, [None] * UNROLL)
        with b.loop(whole, width, lanes) as column:
            add(k, column, [b.first(b.smaller(width - column, lanes), lanes)])
    return b.finish()


def take_rows(target, kind):
    """y[o, k] = x[o, rows[k]], `block` rows of `width` words for a chunk."""
    b = Builder('take_rows', x=pointer(kind), rows=pointer(i64), y=pointer(kind), outer=i64, n=i64, count=i64,
                width=i64, block=i64)
    x, rows, y, outer, n, count, width, block = b.parameters
    lanes = target.lanes(kind)
    vector = kind.vector(lanes)
    blocks = (count + (block - 1)) / block
    whole = width / lanes * lanes
    with b.parallel(outer * blocks) as chunk:
        o, start = chunk / blocks, chunk % blocks * block
        with b.loop(start, b.smaller(start + block, count)) as k:
            source, place = x + (o * n + b.load(rows + k)) * width, y + (o * count + k) * width
            with b.loop(0, whole, lanes) as i:
                b.store(b.load(source + i, vector), place + i)
            with b.when(whole < width):
                mask = b.first(width - whole, lanes)
                b.store(b.load(source + whole, vector, mask=mask), place + whole, mask=mask)
    return b.finish()


def outside(target, kind):
    """Whether some of `count` whole numbers are none of 0 to size - 1."""
    b = Builder('outside', i64, index=pointer(kind), count=i64, size=i64)
    index, count, size = b.parameters
    unsigned = Type('u', kind.bits)  # as which negative ones are large
    lanes = target.lanes(kind)
    largest = b.variable(b.constant(0, unsigned.vector(lanes)))
    with b.loop(0, count, lanes) as i:
        inside = b.first(b.smaller(count - i, lanes), lanes)
        largest.set(b.larger(largest.get(), b.load(b.cast(index, unsigned) + i, unsigned.vector(lanes), mask=inside)))
    found = b.convert(b.reduce('larger', largest.get()), u64) >= b.convert(size, u64)
    b.give(b.convert((count > 0) & found, i64))
    return b.finish()


def elements(target, kind, op, rows, single):
    """'read': y[o, k, i] = x[o, index[o, k, i], i]; 'write' the other way round; else y is combined into x, in order.

    A chunk is `group` o and `block` places along i. rows: i runs along the index instead, and there is but one k; each
    o's index is `jump` further; rows 'each': i runs along rows of n, of each of which it names one. single: one y counts
    for all.
    """
    b = Builder('elements', x=pointer(kind), index=pointer(i64), y=pointer(kind), outer=i64, n=i64, count=i64,
                width=i64, jump=i64, block=i64, group=i64)
    x, index, y, outer, n, count, width, jump, block, group = b.parameters
    blocks = (width + (block - 1)) / block
    with b.parallel((outer + (group - 1)) / group * blocks) as chunk:
        first, start = chunk / blocks * group, chunk % blocks * block
        stop = b.smaller(start + block, width)
        with b.loop(first, b.smaller(first + group, outer)) as o, b.loop(0, count) as k:
            own = x + (o * n if rows else o * n * width)
            named, values = index + o * jump + k * width, y if single else y + (o * count + k) * width

            def move(i):
                line = own + i * n if rows == 'each' else own
                place = line + b.load(named + i) if rows else line + b.load(named + i) * width + i
                other = values if single else values + i
                if op == 'read':
                    b.store(b.load(place), other)
                else:
                    b.store(b.load(other) if op == 'write' else _combined(b, op, b.load(place), b.load(other)), place)
            whole = start + (stop - start) / UNROLL * UNROLL
            with b.loop(start, whole, UNROLL) as i:
                for u in range(UNROLL):
                    move(i + u)
            with b.loop(whole, stop) as i:
                move(i)
    return b.finish()


def count(target):
    """counts[p] = how many of mask[p * piece : (p + 1) * piece] are true."""
    b = Builder('count', mask=pointer(u8), counts=pointer(i64), n=i64, piece=i64)
    mask, counts, n, piece = b.parameters
    lanes = target.lanes(u32)
    with b.parallel((n + (piece - 1)) / piece) as p:
        start = p * piece
        stop = b.smaller(start + piece, n)
        total = b.variable(b.constant(0, u32.vector(lanes)))
        with b.loop(start, stop, lanes) as i:
            some = b.load(mask + i, u8.vector(lanes), mask=b.first(b.smaller(stop - i, lanes), lanes))
            total.add(b.convert(some, u32))
        b.store(b.convert(b.reduce('add', total.get()), i64), counts + p)
    return b.finish()


def chosen(target, kind, what, dims):
    """For every true element i of a mask, the `at`-th: y[at] = x[i] ('values'), x[i] = y[at] ('spread'), or its place.

    ends[p] is how many there are up to the end of piece p, which holds whole rows of `columns`. Of 'places' y is
    (number of true elements, dims), and `sizes` those of the dimensions but the last.
    """
    b = Builder('chosen', mask=pointer(boolean), ends=pointer(i64), x=pointer(kind), y=pointer(kind), n=i64, piece=i64,
                columns=i64, **{f'size{k}': i64 for k in range(dims - 1)})
    mask, ends, x, y, n, piece, columns, *sizes = b.parameters
    lanes = target.lanes(u8)
    with b.parallel((n + (piece - 1)) / piece) as p:
        start, end = p * piece, b.load(ends + p)
        at = b.variable(0, i64)
        with b.when(p > 0):
            at.set(b.load(ends + (p - 1)))
        with b.loop(start, b.smaller(start + piece, n), columns) as row:
            number, place = row / columns, []
            for size in reversed(sizes):
                place.append(number - number / size * size)
                number = number / size
            with b.loop(row, b.smaller(row + columns, n), lanes) as block:
                stop = b.smaller(b.smaller(block + lanes, row + columns), n)
                some = b.load(b.cast(mask, u8) + block, u8.vector(lanes), mask=b.first(stop - block, lanes))
                with b.when(b.reduce('larger', some) > 0):
                    _sweep(b, mask, x, y, what, dims, row, place[::-1], block, stop, at, end)
    return b.finish()


def _sweep(b, mask, x, y, what, dims, row, place, block, stop, at, end):
    """Goes through some elements without branches, up to the last true one of the piece."""
    i = b.variable(block)
    with b.repeat():
        here, to = i.get(), at.get()
        true = b.load(mask + here)
        if what == 'values':
            b.store(b.load(x + here), y + to)
        elif what == 'spread':
            b.store(b.select(true, b.load(y + to), b.load(x + here)), x + here)
        else:
            for k, coordinate in enumerate([*place, here - row if place else here]):
                b.store(coordinate, y + to * dims + k)
        i.set(here + 1)
        at.set(to + b.convert(true, i64))
        b.until((i.get() >= stop) | (at.get() >= end))
