"""Maximum pools of planes: a row of windows at a time, lane by lane, and sums of gradients at their positions.

Planes hold every window, their padding included. Knows no arrays.
"""
from __future__ import annotations

import math

from .ir import Builder
from .types import f32, i32, i64, pointer

__all__ = ['largest', 'spread']


def largest(target, kernel, stride, dilation, indices):
    """The maximum of every window of padded planes, or NaN, and with `indices` the flat position of the first.

    `first` holds the positions to start from, `origin` is that of the padded plane's corner in a plane of `width`.
    """
    b = Builder('largest', x=pointer(f32), y=pointer(f32), at=pointer(i64), first=pointer(i64), planes=i64, rows=i64,
                columns=i64, size=i64, pitch=i64, width=i64, origin=i64)
    x, y, at, first, planes, rows, columns, size, pitch, width, origin = b.parameters
    lanes = target.lanes(f32)
    positions = i32.vector(lanes)
    with b.parallel(planes) as plane, b.loop(0, rows) as row, b.loop(0, columns, lanes) as column:
        mask = b.first(b.smaller(columns - column, lanes), lanes)
        steps = b.iota(positions) * stride[1]
        place = row * columns + column
        start = x + plane * size + row * stride[0] * pitch + column * stride[1]
        best = b.constant(-math.inf, f32.vector(lanes))
        if indices:
            found = b.convert(b.load(first + place, i64.vector(lanes), mask=mask), i32)
            corner = b.convert(origin + row * stride[0] * width + column * stride[1], i32)
        for i in range(kernel[0]):
            for j in range(kernel[1]):
                value = b.gather(start + pitch * (i * dilation[0]) + j * dilation[1], steps, mask=mask)
                better = (value > best) | (value != value)
                best = b.select(better, value, best)
                if indices:
                    shift = b.convert(width * (i * dilation[0]) + j * dilation[1], i32)
                    found = b.select(better, steps + b.splat(corner + shift, lanes), found)
        out = plane * rows * columns + place
        b.store(best, y + out, mask=mask)
        if indices:
            b.store(b.convert(found, i64), at + out, mask=mask)
    return b.finish()


def spread(target):
    """Adds every element of planes of `count` to the place in planes of `size` that its index names, in order."""
    b = Builder('spread', g=pointer(f32), at=pointer(i64), total=pointer(f32), planes=i64, count=i64, size=i64)
    g, at, total, planes, count, size = b.parameters
    with b.parallel(planes) as plane, b.loop(0, count) as i:
        place = total + plane * size + b.load(at + plane * count + i)
        b.store(b.load(place) + b.load(g + plane * count + i), place)
    return b.finish()
