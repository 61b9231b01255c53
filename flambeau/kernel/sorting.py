"""Radix sort: the stable order of rows of numbers of 32 or 64 bits, least significant digit first. Knows no arrays."""
from __future__ import annotations

from .ir import Builder
from .types import Pointer, Type, i32, i64

__all__ = ['order', 'ordered']


def ordered(b, x, is_float, descending):
    """An unsigned number, or vector, that is ordered as the one with the bits `x`: nan last, both zeros alike."""
    kind = x.type
    sign = 1 << kind.bits - 1
    all_ones = b.constant(2 * sign - 1, kind)
    if is_float:
        infinity = {32: 0x7F800000, 64: 0x7FF << 52}[kind.bits]
        x = b.select(x == sign, b.constant(0, kind), x)
        key = x ^ b.select(x >= sign, all_ones, b.constant(sign, kind))
        key = b.select((x & (sign - 1)) > infinity, all_ones, key)
    else:
        key = x ^ sign
    return key ^ all_ones if descending else key


def order(target, width, bits, is_float, descending):
    """places[row, k] = where the k-th smallest (largest) of `x[row]` stands; equal ones in the order they come.

    `width` bits a number, `bits` a digit; digits that all numbers of a row share are passed over. For each of
    `threads`: keys and index: room for 2 * n, counts: for 2**bits.
    """
    kind = Type('u', width)
    b = Builder('order', x=Pointer(kind), places=Pointer(i64), keys=Pointer(kind), index=Pointer(i32),
                counts=Pointer(i32), threads=i64, rows=i64, n=i64)
    x, places, keys, index, counts, threads, rows, n = b.parameters
    size = 1 << bits
    with b.parallel(rows, threads) as row:
        start = row * n
        keys, index, counts = keys + b.thread * 2 * n, index + b.thread * 2 * n, counts + b.thread * size
        first = ordered(b, b.load(x + start), is_float, descending)
        differing = b.variable(0, kind)
        with b.loop(0, n) as i:
            key = ordered(b, b.load(x + start + i), is_float, descending)
            differing.set(differing.get() | (key ^ first))
            b.store(key, keys + i)
            b.store(b.convert(i, i32), index + i)
        half = b.variable(0, i64)  # of keys and index, where they stand now
        for shift in range(0, width, bits):
            with b.when((differing.get() >> shift) & (size - 1) != 0):
                source, destination = half.get(), n - half.get()
                _pass(b, keys, index, counts, source, destination, n, shift, size)
                half.set(destination)
        with b.loop(0, n) as i:
            b.store(b.convert(b.load(index + half.get() + i), i64), places + start + i)
    return b.finish()


def _pass(b, keys, index, counts, source, destination, n, shift, size):
    """Moves keys and index from one half to the other, ordered by one digit."""
    def place_of(key):
        return counts + b.convert((key >> shift) & (size - 1), i64)
    with b.loop(0, size) as k:
        b.store(b.constant(0, i32), counts + k)
    with b.loop(0, n) as i:
        place = place_of(b.load(keys + source + i))
        b.store(b.load(place) + 1, place)
    before = b.variable(0, i32)
    with b.loop(0, size) as k:
        here = b.load(counts + k)
        b.store(before.get(), counts + k)
        before.add(here)
    with b.loop(0, n) as i:
        key = b.load(keys + source + i)
        place = place_of(key)
        position = b.load(place)
        b.store(position + 1, place)
        to = destination + b.convert(position, i64)
        b.store(key, keys + to)
        b.store(b.load(index + source + i), index + to)
