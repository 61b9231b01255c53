"""Running sums, products and extremes along an axis, one element after another. Knows no arrays.

Arrays are looked at as (outer, n, width). Where width is 1, rows run through lanes, turned by squares in registers.
"""
from __future__ import annotations

import math

from .fusion import OPERATIONS
from .ir import Builder
from .mathematics import exp, log1p
from .tiles import transposed
from .types import Type, bf16, f16, f32, f64, i64, pointer

__all__ = ['columns', 'few_rows', 'rows', 'summed', 'totals']

PANEL = 4  # vectors of columns at a time
UNROLL = 4
LINE = 64  # bytes that a cache loads together


def summed(kind, op):
    """The type that a running value is kept in."""
    if kind in (f16, bf16):
        return f32
    return f64 if kind == f32 and op in ('add', 'multiply') else kind


def _log_sum(b, x, y):
    """log(exp(x) + exp(y))."""
    high, low = OPERATIONS['maximum'](b, x, y), OPERATIONS['minimum'](b, x, y)
    return b.select(high == low, high + math.log(2), high + log1p(b, exp(b, low - high)))


COMBINE = {'add': lambda b, x, y: x + y, 'multiply': lambda b, x, y: x * y, 'logaddexp': _log_sum}
BETTER = {'maximum': lambda x, y: y >= x, 'minimum': lambda x, y: y <= x}  # extremes come with the place of the latest


class _Scan:
    """What runs along a row, in `lanes` rows at a time: one value, or an extreme and its place."""

    def __init__(self, b, kind, op, lanes):
        self.b, self.kind, self.op = b, kind.vector(lanes), op
        self.type = summed(kind, op).vector(lanes)
        self.place = Type('i', self.type.bits, lanes)

    def start(self, value=None):
        """Variables before the first element."""
        if value is None:
            value = self.b.constant(self.neutral(), self.type)
        made = [self.b.variable(value)]
        return made if self.op in COMBINE else [*made, self.b.variable(self.b.constant(0, self.place))]

    def neutral(self):
        if self.op in COMBINE:
            return {'add': 0, 'multiply': 1, 'logaddexp': -math.inf}[self.op]
        sign = -1 if self.op == 'maximum' else 1
        return sign * math.inf if self.type.is_float else sign * 2 ** (self.type.bits - 1) - (sign > 0)

    def step(self, state, x, k):
        """Takes in an element of each row, the k-th. Gives what is to be written: numbers, and places as integers."""
        b, x = self.b, self.b.convert(x, self.type)
        if self.op in COMBINE:
            state[0].set(COMBINE[self.op](b, state[0].get(), x))
        else:
            taken = BETTER[self.op](state[0].get(), x)
            if self.type.is_float:
                taken = taken | (x != x)
            state[0].set(b.select(taken, x, state[0].get()))
            place = b.splat(b.convert(k, self.place.scalar), self.place.lanes)
            state[1].set(b.select(taken, place, state[1].get()))
        return [b.convert(state[0].get(), self.kind), *[v.get() for v in state[1:]]]


def _builder(name, kind, **numbers):
    return Builder(name, x=pointer(kind), y=pointer(kind), places=pointer(i64), **numbers)


def columns(target, kind, op):
    """y[o, k] = the elements 0 to k of x[o] combined, column by column; of extremes also their places."""
    b = _builder('columns', kind, outer=i64, n=i64, width=i64)
    x, y, places, outer, n, width = b.parameters
    lanes = target.lanes(summed(kind, op))
    scan = _Scan(b, kind, op, lanes)
    panel = PANEL * lanes
    panels = (width + (panel - 1)) / panel
    with b.parallel(outer * panels) as chunk:
        start = chunk % panels * panel
        base = chunk / panels * n * width + start
        masks = [b.first(b.smaller(b.larger(width - start - k * lanes, 0), lanes), lanes) for k in range(PANEL)]
        states = [scan.start() for _ in masks]
        with b.loop(0, n) as k:
            for part, (mask, state) in enumerate(zip(masks, states)):
                at = base + k * width + part * lanes
                value, *place = scan.step(state, b.load(x + at, scan.kind, mask=mask), k)
                b.store(value, y + at, mask=mask)
                for p in place:
                    b.store(b.convert(p, i64), places + at, mask=mask)
    return b.finish()


def rows(target, kind, op, started):
    """As `columns`, for columns of one element: rows of n. started: row r starts from before[r]."""
    b = _builder('rows', kind, before=pointer(summed(kind, op)), count=i64, n=i64)
    x, y, places, before, count, n = b.parameters
    lanes = target.lanes(summed(kind, op))
    scan = _Scan(b, kind, op, lanes)
    words = Type('u', kind.bits, lanes)
    squares = max(1, LINE // (lanes * kind.bytes))  # rows may lie so that but few lines of theirs stay in the cache
    parts = [k * lanes for k in range(squares)]
    x, y = b.cast(x, words.scalar), b.cast(y, words.scalar)
    with b.parallel((count + (lanes - 1)) / lanes) as chunk:
        # the last row, where there are no more
        starts = [b.smaller(chunk * lanes + k, count - 1) * n for k in range(lanes)]
        own = b.smaller(b.iota(i64.vector(lanes)) + chunk * lanes, count - 1)
        state = scan.start(b.gather(before, own) if started else None)
        with b.loop(0, n, lanes * squares) as column:
            inside = [b.first(b.smaller(b.larger(n - (column + part), 0), lanes), lanes) for part in parts]
            read = [[b.load(x + (start + column + part), words, mask=mask) for part, mask in zip(parts, inside)]
                    for start in starts]
            written = [[] for _ in starts]
            for part, mask, square in zip(parts, inside, zip(*read)):
                made = [scan.step(state, b.bitcast(v, scan.kind), column + part + k)
                        for k, v in enumerate(transposed(b, square))]
                values, *found = zip(*made)
                for row, value in zip(written, transposed(b, [b.bitcast(v, words) for v in values])):
                    row.append(value)
                for where in found:
                    for start, place in zip(starts, transposed(b, where)):
                        b.store(b.convert(place, i64), places + (start + column + part), mask=mask)
            for start, row in zip(starts, written):
                for part, mask, value in zip(parts, inside, row):
                    b.store(value, y + (start + column + part), mask=mask)
    return b.finish()


def few_rows(target, kind, op):
    """As `rows`, one after another within each."""
    b = _builder('few_rows', kind, count=i64, n=i64)
    x, y, places, count, n = b.parameters
    scan = _Scan(b, kind, op, 0)
    with b.parallel(count) as row:
        state = scan.start()
        lanes = target.lanes(kind)

        def take(k):
            at = row * n + k
            value, *place = scan.step(state, b.load(x + at), k)
            b.store(value, y + at)
            for p in place:
                b.store(b.convert(p, i64), places + at)

        if op == 'add' and not kind.is_float and lanes > 1:  # where the order of sums does not show
            carried = b.variable(b.constant(0, kind.vector(lanes)))
            whole = n / lanes * lanes
            with b.loop(0, whole, lanes) as k:
                value, zero = b.load(x + (row * n + k), kind.vector(lanes)), b.constant(0, kind.vector(lanes))
                for step in (1 << j for j in range(lanes.bit_length() - 1)):
                    value = value + b.shuffle(value, zero, [j - step if j >= step else lanes + j for j in range(lanes)])
                value = value + carried.get()
                b.store(value, y + (row * n + k))
                carried.set(b.shuffle(value, value, [lanes - 1] * lanes))
            state[0].set(b.extract(carried.get(), 0))
        else:
            whole = n / UNROLL * UNROLL
            with b.loop(0, whole, UNROLL) as k:
                for u in range(UNROLL):
                    take(k + u)
        with b.loop(whole, n) as k:
            take(k)
    return b.finish()


def totals(target, kind, op):
    """y[r] = all elements of x[r], rows of n, combined."""
    b = Builder('totals', x=pointer(kind), y=pointer(summed(kind, op)), count=i64, n=i64)
    x, y, count, n = b.parameters
    lanes = target.lanes(summed(kind, op))
    scan = _Scan(b, kind, op, lanes)
    neutral = b.constant(scan.neutral(), scan.type)
    with b.parallel(count) as row:
        state = [scan.start() for _ in range(PANEL)]
        with b.loop(row * n, row * n + n, PANEL * lanes) as i:
            for k, part in enumerate(state):
                mask = b.first(b.smaller(b.larger(row * n + n - (i + k * lanes), 0), lanes), lanes)
                value = b.convert(b.load(x + (i + k * lanes), scan.kind, mask=mask), scan.type)
                scan.step(part, b.select(mask, value, neutral), i)
        total, *others = [part[0].get() for part in state]
        for other in others:
            total = COMBINE[op](b, total, other)
        b.store(b.reduce({'add': 'add', 'multiply': 'mul'}[op], total), y + row)
    return b.finish()
