"""Weighted sums of rows, then of columns, of planes: resizing, bins, padding by copies, and their transposes.

A map of an axis is 'same', 'copy' (every place takes one element as it is), of columns also 'run' (a copy most of which
are neighbours), or 'weighted'. Knows no arrays.
"""
from __future__ import annotations

from .ir import Builder
from .types import f32, i32, i64, pointer

__all__ = ['MOST_COLUMNS', 'mapped']

MOST_COLUMNS = 4096  # of a plane, for a row of sums
PANEL = 4            # vectors of sums at a time


def mapped(target, rows_kind, columns_kind):
    """y[p, i, j] = sum of v[t, j] * s[columns_from[t, j]] over the taps t, s[c] = sum of w[k] * x[p, rows_from[k], c]
    over the entries k of row i: rows_first[i] to rows_first[i + 1].

    repeats[i] says whether row i is as the one before, straight[block] whether a whole vector of columns is copied from
    neighbours (of a 'run': from which column to which they are). columns_from is -1 where there is no tap, and both
    column tables are `pitch` wide. A chunk is `group` rows of a plane.
    """
    b = Builder('mapped', x=pointer(f32), y=pointer(f32), rows_first=pointer(i64), rows_from=pointer(i64),
                rows_weight=pointer(f32), repeats=pointer(i64), columns_from=pointer(i32), columns_weight=pointer(f32),
                straight=pointer(i64), planes=i64, height=i64, width=i64, rows=i64, columns=i64, taps=i64, pitch=i64,
                group=i64)
    x, y, first, origin, weight, repeats, *tables, planes, height, width, rows, columns, taps, pitch, group = \
        b.parameters
    lanes = target.lanes(f32)
    groups = (rows + (group - 1)) / group
    with b.parallel(planes * groups) as chunk:
        plane, start = chunk / groups, chunk % groups * group
        source = x + plane * height * width
        sums = b.buffer(f32, MOST_COLUMNS) if rows_kind == 'weighted' and columns_kind != 'same' else None

        def write(i, out):
            if rows_kind == 'same':
                row = source + i * width
            elif rows_kind == 'copy':
                row = source + b.load(origin + i) * width
            else:
                row = out if columns_kind == 'same' else sums
                _sum_rows(b, lanes, source, row, b.load(first + i), b.load(first + (i + 1)), origin, weight, width)
            if columns_kind != 'same' or rows_kind != 'weighted':
                _columns(b, lanes, columns_kind, row, out, tables, columns, taps, pitch)
        with b.loop(start, b.smaller(start + group, rows)) as i:
            out = y + (plane * rows + i) * columns
            if rows_kind == 'same':
                write(i, out)
            else:
                with b.when((i > start) & (b.load(repeats + i) != 0)):
                    _columns(b, lanes, 'same', out - columns, out, tables, columns, taps, pitch)
                with b.otherwise():
                    write(i, out)
    return b.finish()


def _sum_rows(b, lanes, source, out, start, stop, origin, weight, width):
    """out = the weighted sum of rows."""
    vector = f32.vector(lanes)
    with b.loop(0, width, PANEL * lanes) as column:
        masks = [b.first(b.smaller(width - (column + k * lanes), lanes), lanes) for k in range(PANEL)]
        totals = [b.variable(b.constant(0, vector)) for _ in masks]
        with b.loop(start, stop) as entry:
            row = source + b.load(origin + entry) * width + column
            factor = b.splat(b.load(weight + entry), lanes)
            for k, (mask, total) in enumerate(zip(masks, totals)):
                total.set(b.fma(factor, b.load(row + k * lanes, vector, mask=mask), total.get()))
        for k, (mask, total) in enumerate(zip(masks, totals)):
            b.store(total.get(), out + column + k * lanes, mask=mask)


def _columns(b, lanes, kind, row, out, tables, columns, taps, pitch):
    """out = the row's elements at the columns that tables name, or their weighted sums."""
    names, weights, straight = tables
    vector, index = f32.vector(lanes), i32.vector(lanes)
    if kind == 'run':
        start, stop = b.load(straight), b.load(straight + 1)
        shift = b.convert(b.load(names + start), i64) - start
        with b.loop(start, stop, lanes) as column:
            mask = b.first(b.smaller(stop - column, lanes), lanes)
            b.store(b.load(row + shift + column, vector, mask=mask), out + column, mask=mask)
        for begin, end in ((0, start), (stop, columns)):
            with b.loop(begin, end) as column:
                b.store(b.load(row + b.convert(b.load(names + column), i64)), out + column)
        return
    with b.loop(0, columns, lanes) as column:
        mask = b.first(b.smaller(columns - column, lanes), lanes)
        if kind == 'same':
            b.store(b.load(row + column, vector, mask=mask), out + column, mask=mask)
        elif kind == 'copy':
            with b.when(b.load(straight + column / lanes) != 0):
                b.store(b.load(row + b.convert(b.load(names + column), i64), vector), out + column)
            with b.otherwise():
                b.store(b.gather(row, b.load(names + column, index), mask=mask), out + column, mask=mask)
        else:
            total = b.variable(b.constant(0, vector))
            with b.loop(0, taps) as tap:
                place = tap * pitch + column
                named = b.load(names + place, index)
                total.set(b.fma(b.load(weights + place, vector), b.gather(row, named, mask=named >= 0), total.get()))
            b.store(total.get(), out + column, mask=mask)
