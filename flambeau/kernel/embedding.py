"""Sums of rows into the rows of a table that indices name. Knows no arrays."""
from __future__ import annotations

from .ir import Builder
from .types import f32, i64, pointer

__all__ = ['add_rows']

PANEL = 4  # vectors of a row that one thread sums at a time: every element gets its rows in order


def add_rows(target):
    """table[rows[k]] += values[k] for k in order, rows of `width` elements; divided by columns."""
    b = Builder('add_rows', table=pointer(f32), rows=pointer(i64), values=pointer(f32), count=i64, width=i64)
    table, rows, values, count, width = b.parameters
    lanes = target.lanes(f32)
    panel = PANEL * lanes
    with b.parallel((width + (panel - 1)) // panel) as chunk:
        start = chunk * panel
        stop = b.smaller(start + panel, width)
        with b.loop(0, count) as k:
            row = table + b.load(rows + k) * width
            with b.loop(start, stop, lanes) as column:
                mask = b.first(b.smaller(stop - column, lanes), lanes)
                vector = f32.vector(lanes)
                total = b.load(row + column, vector, mask=mask) + b.load(values + k * width + column, vector, mask=mask)
                b.store(total, row + column, mask=mask)
    return b.finish()
