"""Radix sort: the stable order of rows of 32-bit numbers, least significant digit first. Knows no arrays."""
from __future__ import annotations

from .ir import Builder
from .types import Pointer, i32, i64, u32

__all__ = ['order', 'DIGITS']

BITS = 11  # of a digit: counters of three digits fit a first-level cache
DIGITS = 3
SIZE = 1 << BITS


def _key(b, bits, is_float, descending):
    """An unsigned number that is ordered as the one with these bits: nan last, both zeros alike."""
    sign = 0x80000000
    if is_float:
        bits = b.select(bits == sign, b.of_type(0, u32), bits)
        key = bits ^ b.select(bits >= sign, b.of_type(0xFFFFFFFF, u32), b.of_type(sign, u32))
        key = b.select((bits & 0x7FFFFFFF) > 0x7F800000, b.of_type(0xFFFFFFFF, u32), key)
    else:
        key = bits ^ sign
    return key ^ 0xFFFFFFFF if descending else key


def order(target, is_float, descending):
    """places[row, k] = where the k-th smallest (largest) of `x[row]` stands; equal ones in the order they come.

    keys, other: room for rows * n numbers each; counts: rows * DIGITS * SIZE zeros.
    """
    b = Builder('order', x=Pointer(u32), places=Pointer(i64), keys=Pointer(u32), other=Pointer(u32), index=Pointer(i32),
                spare=Pointer(i32), counts=Pointer(i32), rows=i64, n=i64)
    x, places, keys, other, index, spare, counts, rows, n = b.parameters
    with b.parallel(rows) as row:
        start = row * n
        counters = [counts + row * (DIGITS * SIZE) + digit * SIZE for digit in range(DIGITS)]

        def digit_of(key, digit):
            return b.convert((key >> (BITS * digit)) & (SIZE - 1), i64)
        with b.loop(start, start + n) as i:
            key = _key(b, b.load(x + i), is_float, descending)
            b.store(key, keys + i)
            for digit, counter in enumerate(counters):
                place = counter + digit_of(key, digit)
                b.store(b.load(place) + 1, place)
        for counter in counters:
            before = b.variable(0, i32)
            with b.loop(0, SIZE) as k:
                here = b.load(counter + k)
                b.store(before.get(), counter + k)
                before.add(here)
        source, destination = keys, other
        for digit, counter in enumerate(counters):
            with b.loop(0, n) as i:
                key = b.load(source + start + i)
                place = counter + digit_of(key, digit)
                position = b.load(place)
                b.store(position + 1, place)
                position = start + b.convert(position, i64)
                carried = b.convert(i, i32) if digit == 0 else b.load((index if digit % 2 else spare) + start + i)
                if digit == DIGITS - 1:
                    b.store(b.convert(carried, i64), places + position)
                else:
                    b.store(key, destination + position)
                    b.store(carried, (spare if digit % 2 else index) + position)
            source, destination = destination, source
    return b.finish()
