"""Maximum pools of planes: a row of windows at a time, lane by lane, and gradients at the maxima.

Planes hold every window, their padding included. Knows no arrays.
"""
from __future__ import annotations

import math

from .ir import Builder
from .types import f32, i32, i64, pointer

__all__ = ['largest', 'returned']


def _columns(b, start, kernel, stride, mask, count):
    """For each tap of a row of windows that begin at `start`, and are `stride` apart, their elements."""
    taps, step = kernel
    vector = f32.vector(mask.type.lanes)
    if stride == 1:
        return [b.load(start + j * step, vector, mask=mask) for j in range(taps)]
    if stride != 2 or step != 1:
        steps = b.iota(i32.vector(vector.lanes)) * stride
        return [b.gather(start + j * step, steps, mask=mask) for j in range(taps)]
    found = []
    for j in range(0, taps, 2):  # two neighbouring taps are every other element of two vectors
        inside = count * 2 - (j + 1 == taps)  # an odd last tap ends the row
        halves = [b.load(start + j + k, vector, mask=b.first(b.smaller(b.larger(inside - k, 0), vector.lanes), vector.lanes))
                  for k in (0, vector.lanes)]
        found += [b.shuffle(*halves, range(odd, 2 * vector.lanes, 2)) for odd in (0, 1)]
    return found[:taps]


def _maxima(b, start, pitch, kernel, stride, dilation, mask, count, found=None):
    """The maximum of each window in a row, or nan; and of integers `found`, which begin at positions of nothing, those of
    the first maximum: `found` is (integers, position of tap (i, j) in the first window)."""
    lanes = mask.type.lanes
    best = b.constant(-math.inf, f32.vector(lanes))
    positions, position_of = found or (None, None)
    steps = b.iota(i32.vector(lanes)) * stride[1]
    for i in range(kernel[0]):
        row = _columns(b, start + pitch * (i * dilation[0]), (kernel[1], dilation[1]), stride[1], mask, count)
        for j, value in enumerate(row):
            better = (value > best) | (value != value)
            best = b.select(better, value, best)
            if found:
                positions = b.select(better, steps + b.splat(position_of(i, j), lanes), positions)
    return best, positions


def _position(b, width, origin, row, column, stride, dilation):
    """Where in the plane without padding a tap of the window at (row, column) lies."""
    corner = origin + row * stride[0] * width + column * stride[1]
    return lambda i, j: b.convert(corner + width * (i * dilation[0]) + j * dilation[1], i32)


def largest(target, kernel, stride, dilation, indices):
    """The maximum of every window of padded planes, or NaN, and with `indices` the flat position of the first.

    `first` holds the positions to start from, `origin` is that of the padded plane's corner in a plane of `width`.
    """
    b = Builder('largest', x=pointer(f32), y=pointer(f32), at=pointer(i64), first=pointer(i64), planes=i64, rows=i64,
                columns=i64, size=i64, pitch=i64, width=i64, origin=i64)
    x, y, at, first, planes, rows, columns, size, pitch, width, origin = b.parameters
    lanes = target.lanes(f32)
    with b.parallel(planes) as plane, b.loop(0, rows) as row, b.loop(0, columns, lanes) as column:
        count = b.smaller(columns - column, lanes)
        mask = b.first(count, lanes)
        place = row * columns + column
        start = x + plane * size + row * stride[0] * pitch + column * stride[1]
        found = (b.convert(b.load(first + place, i64.vector(lanes), mask=mask), i32),
                 _position(b, width, origin, row, column, stride, dilation)) if indices else None
        best, positions = _maxima(b, start, pitch, kernel, stride, dilation, mask, count, found)
        out = plane * rows * columns + place
        b.store(best, y + out, mask=mask)
        if indices:
            b.store(b.convert(positions, i64), at + out, mask=mask)
    return b.finish()


def returned(target, kernel, stride, dilation):
    """Adds every element of `g` to the place in planes of `spread` zeros that the maximum of its window comes from.

    Parameters as of `largest`.
    """
    b = Builder('returned', x=pointer(f32), g=pointer(f32), total=pointer(f32), first=pointer(i64), planes=i64, rows=i64,
                columns=i64, size=i64, pitch=i64, width=i64, origin=i64, spread=i64)
    x, g, total, first, planes, rows, columns, size, pitch, width, origin, spread = b.parameters
    lanes = target.lanes(f32)
    with b.parallel(planes) as plane:
        positions = b.buffer(i32, lanes)
        own = total + plane * spread
        with b.loop(0, spread, lanes) as k:
            b.store(b.constant(0, f32.vector(lanes)), own + k, mask=b.first(b.smaller(spread - k, lanes), lanes))
        with b.loop(0, rows) as row, b.loop(0, columns, lanes) as column:
            count = b.smaller(columns - column, lanes)
            mask = b.first(count, lanes)
            place = row * columns + column
            start = x + plane * size + row * stride[0] * pitch + column * stride[1]
            found = (b.convert(b.load(first + place, i64.vector(lanes), mask=mask), i32),
                     _position(b, width, origin, row, column, stride, dilation))
            b.store(_maxima(b, start, pitch, kernel, stride, dilation, mask, count, found)[1], positions)
            with b.loop(0, count) as k:
                to = own + b.convert(b.load(positions + k), i64)
                b.store(b.load(to) + b.load(g + plane * rows * columns + place + k), to)
    return b.finish()
