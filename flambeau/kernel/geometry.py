"""Vectors in space: cross products, and distances of all pairs of rows of a matrix, with their gradients.

A pair of rows (i, j), i < j, of n is number i * (2n - i - 1) / 2 + j - i - 1. Knows no arrays.
"""
from __future__ import annotations

from .ir import Builder
from .tiles import woven
from .types import i64, named, pointer

__all__ = ['cross', 'pairs', 'pairs_adjoint']

VECTORS = 4  # sums that are added to side by side


def cross(target, element, apart):
    """The cross products of `outer` by `inner` vectors, whose three numbers are `inner` apart: 1 unless `apart`."""
    kind = named(element)
    b = Builder('cross', **dict.fromkeys('xyz', pointer(kind)), outer=i64, inner=i64, block=i64)
    x, y, z, outer, inner, block = b.parameters
    lanes = target.lanes(kind)
    vector = kind.vector(lanes)

    def read(source, masks):
        parts = [b.load(source + (inner * k if apart else k * lanes), vector, mask=mask)
                 for k, mask in enumerate(masks)]
        return parts if apart else [woven(b, parts, [divmod(3 * lane + k, lanes) for lane in range(lanes)])
                                    for k in range(3)]
    length = inner if apart else outer
    blocks = (length + (block - 1)) / block
    with b.parallel(outer * blocks if apart else blocks) as chunk:
        row, start = chunk / blocks, chunk % blocks * block
        with b.loop(start, b.smaller(start + block, length), lanes) as i:
            at, left = (row * inner * 3 + i, length - i) if apart else (i * 3, (length - i) * 3)
            masks = [b.first(left if apart else left - k * lanes, lanes) for k in range(3)]
            first, second = read(x + at, masks), read(y + at, masks)
            made = [first[k - 2] * second[k - 1] - first[k - 1] * second[k - 2] for k in range(3)]
            for k, mask in enumerate(masks):
                part = made[k] if apart else woven(
                    b, made, [divmod(k * lanes + lane, 3)[::-1] for lane in range(lanes)])
                b.store(part, z + at + (inner * k if apart else k * lanes), mask=mask)
    return b.finish()


def _first_pair(row, rows):
    """The number of the pair (row, 0) if there were one."""
    return row * (rows * 2 - row - 1) / 2 - row - 1


def pairs(target, element, p):
    """y[pair] = the p-norm, 1, 2 or inf, of the difference of two rows of x; `turned` is the transpose of x."""
    kind = named(element)
    b = Builder('pairs', **dict.fromkeys(('x', 'turned', 'y'), pointer(kind)), rows=i64, columns=i64)
    x, turned, y, rows, columns = b.parameters
    lanes = target.lanes(kind)
    vector = kind.vector(lanes)
    with b.parallel(rows) as i, b.loop(i + 1, rows, VECTORS * lanes) as j:
        masks = [b.first(rows - j - v * lanes, lanes) for v in range(VECTORS)]
        sums = [b.variable(0, vector) for _ in masks]
        with b.loop(0, columns) as k:
            own = b.splat(b.load(x + (i * columns + k)), lanes)
            for v, (total, mask) in enumerate(zip(sums, masks)):
                apart = own - b.load(turned + (k * rows + j + v * lanes), vector, mask=mask)
                if p == 2:
                    total.set(b.fma(apart, apart, total.get()))
                elif p == 1:
                    total.add(b.abs(apart))
                else:  # the second where one is nan, which stays
                    size, most = b.abs(apart), total.get()
                    total.set(b.select((size > most) | (size != size), size, most))
        for v, (total, mask) in enumerate(zip(sums, masks)):
            norm = b.sqrt(total.get()) if p == 2 else total.get()
            b.store(norm, y + (_first_pair(i, rows) + j + v * lanes), mask=mask)
    return b.finish()


def pairs_adjoint(target, element, p):
    """y[i] = the sum over other rows j of weight[pair] * (x[i] - x[j]), for p = 1 of its sign."""
    kind = named(element)
    b = Builder('pairs_adjoint', **dict.fromkeys(('x', 'weight', 'y'), pointer(kind)), rows=i64, columns=i64)
    x, weight, y, rows, columns = b.parameters
    lanes = target.lanes(kind)
    vector = kind.vector(lanes)
    zero, one = b.constant(0, vector), b.constant(1, vector)
    with b.parallel(rows) as i, b.loop(0, columns, VECTORS * lanes) as k:
        masks = [b.first(columns - k - v * lanes, lanes) for v in range(VECTORS)]
        own = [b.load(x + (i * columns + k + v * lanes), vector, mask=mask) for v, mask in enumerate(masks)]
        sums = [b.variable(zero) for _ in masks]

        def add(j, pair):
            factor = b.splat(b.load(weight + pair), lanes)
            for v, (total, mask) in enumerate(zip(sums, masks)):
                apart = own[v] - b.load(x + (j * columns + k + v * lanes), vector, mask=mask)
                if p == 1:
                    apart = b.select(apart > 0.0, one, b.select(apart < 0.0, -one, zero))
                total.set(b.fma(factor, apart, total.get()))
        with b.loop(0, i) as j:
            add(j, _first_pair(j, rows) + i)
        with b.loop(i + 1, rows) as j:
            add(j, _first_pair(i, rows) + j)
        for v, (total, mask) in enumerate(zip(sums, masks)):
            b.store(total.get(), y + (i * columns + k + v * lanes), mask=mask)
    return b.finish()
