"""Planes sampled at places: weighted sums of a few elements for each, and the adjoints in elements and weights.

For sample n each of its `count` places has `taps` elements: index[n, tap, place], -1 for none, and weight[n, tap,
place]. Knows no arrays.
"""
from __future__ import annotations

from .ir import Builder
from .types import f32, i32, i64, pointer

__all__ = ['adjoint', 'products', 'sampled']

SIZES = dict.fromkeys('batch channels size taps count'.split(), i64)


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
