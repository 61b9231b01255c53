"""Extremes along columns with their places; the first few of rows in order; places in sorted rows. Knows no arrays.

For the first few, a bound is found that at least so many elements reach, then all that reach it. Elements are compared
as unsigned keys of 32 bits (sorting.py): the first in order have the smallest.
"""
from __future__ import annotations

from .ir import Builder
from .sorting import ordered
from .types import Type, bf16, f16, f32, i32, i64, pointer, u32, u64

__all__ = ['FEW', 'bests', 'extremes', 'keyed', 'ranked', 'reaching', 'searched', 'slots']

ASIDE = 4     # vectors of values searched for at a time, so that none waits for another's memory
VECTORS = 16  # of slots
PANEL = 4     # vectors of columns at a time
FEW = 64      # elements of a row of which each is compared with all others


def extremes(target, kind, largest):
    """values[o, i] = the largest (smallest) of x[o, k, i] over k, or nan, and places[o, i] = the first such k.

    Half types are compared as float32; values may be null.
    """
    b = Builder('extremes', x=pointer(kind), values=pointer(kind), places=pointer(i64), outer=i64, n=i64, width=i64,
                wanted=i64)
    x, values, places, outer, n, width, wanted = b.parameters
    compared = f32 if kind in (f16, bf16) else kind
    lanes = target.lanes(compared)
    panel = PANEL * lanes
    panels = (width + (panel - 1)) / panel
    with b.parallel(outer * panels) as chunk:
        o, start = chunk / panels, chunk % panels * panel
        base = x + (o * n * width + start)
        masks = [b.first(b.smaller(b.larger(width - start - k * lanes, 0), lanes), lanes) for k in range(PANEL)]

        def element(k, part):
            return b.convert(b.load(base + k * width + part * lanes, kind.vector(lanes), mask=masks[part]), compared)
        best = [b.variable(element(0, part)) for part in range(PANEL)]
        where = [b.variable(b.constant(0, Type('i', compared.bits, lanes))) for _ in masks]
        with b.loop(1, n) as k:
            place = b.splat(b.convert(k, where[0].type.scalar), lanes)
            for part in range(PANEL):
                value, so_far = element(k, part), best[part].get()
                better = value > so_far if largest else value < so_far
                if compared.is_float:
                    better = better | ((value != value) & (so_far == so_far))
                best[part].set(b.select(better, value, so_far))
                where[part].set(b.select(better, place, where[part].get()))
        for part, mask in enumerate(masks):
            to = o * width + start + part * lanes
            b.store(b.convert(where[part].get(), i64), places + to, mask=mask)
            with b.when(wanted != 0):
                b.store(b.convert(best[part].get(), kind), values + to, mask=mask)
    return b.finish()


def slots(target) -> int:
    """How many parts each segment of a row is dealt out to, element by element in turn."""
    return VECTORS * target.lanes(u32)


def bests(target, is_float, largest):
    """best[row, segment, slot] = the smallest key of the slot, or the largest number there is where it has none.

    A row is `segments` pieces of `length` elements, of which the last may be shorter.
    """
    b = Builder('bests', x=pointer(u32), best=pointer(u32), rows=i64, n=i64, segments=i64, length=i64)
    x, best, rows, n, segments, length = b.parameters
    lanes = target.lanes(u32)
    vector, step = u32.vector(lanes), slots(target)
    none = b.constant(2 ** 32 - 1, vector)
    with b.parallel(rows * segments) as chunk:
        start = chunk % segments * length
        stop, row = b.smaller(start + length, n), x + chunk / segments * n
        smallest = [b.variable(none) for _ in range(VECTORS)]
        whole = start + b.larger(stop - start, 0) / step * step
        with b.loop(start, whole, step) as i:
            for k, variable in enumerate(smallest):
                key = ordered(b, b.load(row + (i + k * lanes), vector), is_float, largest)
                variable.set(b.smaller(variable.get(), key))
        for k, variable in enumerate(smallest):
            mask = b.first(b.smaller(b.larger(stop - (whole + k * lanes), 0), lanes), lanes)
            key = ordered(b, b.load(row + (whole + k * lanes), vector, mask=mask), is_float, largest)
            b.store(b.smaller(variable.get(), b.select(mask, key, none)), best + (chunk * step + k * lanes))
    return b.finish()


def keyed(target, is_float, largest):
    """found[row, i] = key << 32 | i for all elements of rows."""
    b = Builder('keyed', x=pointer(u32), found=pointer(u64), rows=i64, n=i64, group=i64)
    x, found, rows, n, group = b.parameters
    lanes = target.lanes(u64)
    with b.parallel((rows + (group - 1)) / group) as chunk, b.loop(
            chunk * group, b.smaller(chunk * group + group, rows)) as row, b.loop(0, n, lanes) as i:
        mask = b.first(b.smaller(n - i, lanes), lanes)
        key = ordered(b, b.load(x + row * n + i, u32.vector(lanes), mask=mask), is_float, largest)
        place = b.iota(u64.vector(lanes)) + b.splat(b.convert(i, u64), lanes)
        b.store((b.convert(key, u64) << 32) | place, found + row * n + i, mask=mask)
    return b.finish()


def ranked(target, kind, largest):
    """values[row, r] = the r-th in order of rows of no more than FEW elements, places[row, r] = where it stands, for r
    < k.

    Equal ones come in the order of places. How many elements come before one is its place among them.
    """
    bits = Type('u', kind.bits)
    b = Builder('ranked', x=pointer(kind), values=pointer(kind), places=pointer(i64), rows=i64, n=i64, k=i64, group=i64)
    x, values, places, rows, n, k, group = b.parameters
    lanes = target.lanes(kind)
    vector = bits.vector(lanes)

    def rank(row, keys):
        own = x + row * n
        with b.loop(0, n, lanes) as i:
            inside = b.first(b.smaller(n - i, lanes), lanes)
            key = ordered(b, b.load(b.cast(own, bits) + i, vector, mask=inside), kind.is_float, largest)
            b.store(b.select(inside, key, b.constant(2 ** kind.bits - 1, vector)), keys + i)
        with b.loop(0, n) as i:
            key = b.splat(b.load(keys + i), lanes)
            before = b.variable(b.constant(0, vector))
            with b.loop(0, n, lanes) as j:
                others = b.load(keys + j, vector)
                earlier = b.iota(vector) + b.splat(b.convert(j, bits), lanes) < b.splat(b.convert(i, bits), lanes)
                before.add(b.convert((others < key) | ((others == key) & earlier), bits))
            place = b.convert(b.reduce('add', before.get()), i64)
            with b.when(place < k):
                b.store(b.load(own + i), values + row * k + place)
                b.store(i, places + row * k + place)
    with b.parallel((rows + (group - 1)) / group) as chunk:
        keys = b.buffer(bits, FEW + lanes)
        with b.loop(chunk * group, b.smaller(chunk * group + group, rows)) as row:
            rank(row, keys)
    return b.finish()


def reaching(target, is_float, largest):
    """found[row] = key << 32 | place of the elements whose key is below the row's bound, and of the first `k` that
    equal it.

    counts[row] says how many there are; only `room` are written, and all ones where there are fewer.
    """
    b = Builder('reaching', x=pointer(u32), bound=pointer(u32), found=pointer(u64), counts=pointer(i64), rows=i64,
                n=i64, k=i64, room=i64)
    x, bound, found, counts, rows, n, most, room = b.parameters
    lanes = target.lanes(u32)
    with b.parallel(rows) as row:
        limit, own = b.load(bound + row), found + row * room
        count, equal = b.variable(0, i64), b.variable(0, i64)
        with b.loop(0, n, lanes) as i:
            inside = b.first(b.smaller(n - i, lanes), lanes)
            keys = ordered(b, b.load(x + row * n + i, u32.vector(lanes), mask=inside), is_float, largest)
            with b.when(b.reduce('or',
                                 inside & (keys <= b.splat(limit, lanes)))), b.loop(0, b.smaller(n - i, lanes)) as lane:
                place = i + lane
                key = ordered(b, b.load(x + row * n + place), is_float, largest)
                with b.when((key < limit) | ((key == limit) & (equal.get() < most))):
                    equal.add(b.convert(key == limit, i64))
                    with b.when(count.get() < room):
                        b.store((b.convert(key, u64) << 32) | b.convert(place, u64), own + count.get())
                    count.add(1)
        with b.loop(b.smaller(count.get(), room), room) as k:
            b.store(b.constant(2 ** 64 - 1, u64), own + k)
        b.store(count.get(), counts + row)
    return b.finish()


def searched(target, kind, right):
    """places[row, k] = how many of the n > 0 sorted numbers of a row are below values[row, k], or with `right` not
    above it.

    nan is above all. With `shared` 1 there is one row of sorted numbers for all. A chunk is `block` values of a row.
    """
    b = Builder('searched', bounds=pointer(kind), values=pointer(kind), places=pointer(i64), rows=i64, n=i64, count=i64,
                shared=i64, block=i64)
    bounds, values, places, rows, n, count, shared, block = b.parameters
    lanes = target.lanes(kind)
    step = ASIDE * lanes
    blocks = (count + (block - 1)) / block
    index = i32.vector(lanes)
    with b.parallel(rows * blocks) as chunk:
        row, start = chunk / blocks, chunk % blocks * block
        own = bounds + row * (1 - shared) * n
        stop = b.smaller(start + block, count)
        with b.loop(start, stop, step) as i:
            masks = [b.first(b.smaller(b.larger(stop - (i + k * lanes), 0), lanes), lanes) for k in range(ASIDE)]
            wanted = [b.load(values + (row * count + i + k * lanes), kind.vector(lanes), mask=m)
                      for k, m in enumerate(masks)]
            found = [b.variable(b.constant(0, index)) for _ in masks]
            left = b.variable(n)

            def advance(by, probe):
                amount = b.splat(b.convert(by, i32), lanes)
                for value, place in zip(wanted, found):
                    at = b.gather(own + probe, place.get())
                    further = at <= value if right else at < value
                    place.set(place.get() + b.select(further, amount, b.constant(0, index)))
            with b.when(n > 1), b.repeat():
                half = left.get() / 2
                advance(half, half - 1)
                left.set(left.get() - half)
                b.until(left.get() <= 1)
            advance(b.of_type(1, i64), b.of_type(0, i64))
            for k, (value, place, mask) in enumerate(zip(wanted, found, masks)):
                result = b.convert(place.get(), i64)
                if kind.is_float:
                    result = b.select(value == value, result, b.splat(n, lanes))
                b.store(result, places + (row * count + i + k * lanes), mask=mask)
    return b.finish()
