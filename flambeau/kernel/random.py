"""Random numbers: a Mersenne twister in vectors, and kernels that fill memory with what becomes of its words.

The streams are those of PyTorch on x86-64, bit for bit: which words a number takes, where multiply-adds are rounded
once, Cephes' logarithm, sine and cosine for blocks of float32, and the C library's for doubles. A state is 624 words
and, behind them, how many of these have been used. Knows no arrays.
"""
from __future__ import annotations

import contextlib
import math

from . import cephes, mathematics
from .ir import Builder
from .mathematics import polynomial
from .types import boolean, f32, f64, i32, i64, named, pointer, u32, u64

__all__ = ['bernoulli', 'bernoulli_each', 'categories', 'integers', 'normal', 'normals', 'permutation', 'scaled',
           'transformed', 'uniform']

WORDS, MIDDLE, MATRIX = 624, 397, 0x9908B0DF
LANES = 16       # numbers in a step, and in a block of normal samples
PIECE = 1024     # numbers drawn at once, whose words stay in the first-level cache
MANY = 1 << 17   # numbers whose words are drawn at once for all threads
CHUNK = 1 << 15  # numbers that a thread scales at once


# ---- words

def each(b, count, step):
    """step(i, mask) for every `LANES` of `count` numbers; whole steps have no mask."""
    whole = b.of_type((count >> 4) << 4, i64)
    with b.loop(0, whole, LANES) as i:
        step(i, None)
    with b.when(whole < count):
        step(whole, b.first(count - whole, LANES))


def _mixed(b, word, following, other):
    """The twister's next word in place of `word`."""
    mixed = (word & 0x80000000) | (following & 0x7FFFFFFF)
    zero = b.constant(0, word.type)
    return other ^ (mixed >> 1) ^ b.select((following & 1) == zero, zero, b.constant(MATRIX, word.type))


def _twist(b, state):
    """All words of a state anew. Each needs one that is far behind it, old or new, so they go by vectors."""
    vector = u32.vector(LANES)
    for first, last, other in (0, WORDS - MIDDLE, MIDDLE), (WORDS - MIDDLE, WORDS - 1, MIDDLE - WORDS):
        def step(i, mask):
            at = state + (i + first)
            b.store(_mixed(b, *(b.load(at + k, vector, mask=mask) for k in (0, 1, other))), at, mask=mask)
        each(b, last - first, step)
    word, following, other = (b.load(state + k) for k in (WORDS - 1, 0, MIDDLE - 1))
    b.store(_mixed(b, word, following, other), state + (WORDS - 1))


def _tempered(x):
    x = x ^ (x >> 11)
    x = x ^ ((x << 7) & 0x9D2C5680)
    x = x ^ ((x << 15) & 0xEFC60000)
    return x ^ (x >> 18)


def words(target):
    """The next `count` words of a state, at least one."""
    b = Builder('words', state=pointer(u32), out=pointer(u32), count=i64)
    state, out, count = b.parameters
    used = b.variable(b.convert(b.load(state + WORDS), i64))
    done = b.variable(0, i64)
    with b.repeat():
        with b.when(used.get() == WORDS):
            _twist(b, state)
            used.set(0)
        begin, place = state + used.get(), out + done.get()
        here = b.smaller(count - done.get(), WORDS - used.get())

        def step(i, mask):
            b.store(_tempered(b.load(begin + i, u32.vector(LANES), mask=mask)), place + i, mask=mask)
        each(b, here, step)
        used.add(here)
        done.add(here)
        b.until(done.get() == count)
    b.store(b.convert(used.get(), u32), state + WORDS)
    return b.finish()


@contextlib.contextmanager
def _pieces(b, target, state, count, needs, memory=None):
    """A loop over pieces of `count` numbers that need that many words each; gives (start, numbers, address of words).

    With `memory`, room for the words of `MANY` numbers, the pieces are for all threads.
    """
    if memory is None:
        memory = b.buffer(u32, PIECE * needs)
        with b.loop(0, count, PIECE) as start:
            here = b.smaller(count - start, PIECE)
            b.call(words(target), state, memory, here * needs)
            yield start, here, memory
        return
    with b.loop(0, count, MANY) as part:
        here = b.smaller(count - part, MANY)
        b.call(words(target), state, memory, here * needs)
        with b.parallel((here + (PIECE - 1)) // PIECE, exclusive=True) as piece:
            start = piece * PIECE
            yield part + start, b.smaller(here - start, PIECE), memory + start * needs


def _wide(b, memory, i, lanes=LANES):
    """Words of 64 bits, of which the first word is the high half."""
    pair = b.load(b.cast(memory, u64) + i, u64.vector(lanes))
    return (pair << 32) | (pair >> 32)


def _low53(b, memory, i, lanes=LANES):
    return b.bitcast(_wide(b, memory, i, lanes) & ((1 << 53) - 1), i64.vector(lanes))


def _unit(b, real, memory, i, lanes=LANES):
    """Numbers in [0, 1): the low 24 bits of a word, or the low 53 of two."""
    if real == f64:
        return b.convert(_low53(b, memory, i, lanes), f64) * 2.0 ** -53
    low = b.load(memory + i, u32.vector(lanes)) & 0xFFFFFF
    return b.convert(b.bitcast(low, i32.vector(lanes)), f32) * 2.0 ** -24


def _forms(dtype):
    """(type of numbers in memory, type they are computed in, words that one of these needs)."""
    return named(dtype), f64 if dtype == 'float64' else f32, 2 if dtype == 'float64' else 1


def _rounded(b, x, kind):
    """A float64 as a number of another type; as C++ converts them, by way of float32 or int64."""
    if kind.bits == 16 and kind.is_float:
        x = b.convert(x, f32)
    return b.convert(x if kind.is_float else b.convert(x, i64), kind)


# ---- uniform and normal

def uniform(target, dtype):
    """Numbers low + u * (high - low); those that round to `high`, which is excluded, become `low`."""
    kind, real, needs = _forms(dtype)
    b = Builder('uniform', out=pointer(kind), count=i64, state=pointer(u32), low=real, high=real)
    out, count, state, *ends = b.parameters
    low, high = (b.splat(x, LANES) for x in ends)
    span = high - low

    def rounded(x):
        return b.convert(b.convert(x, kind), real)
    first, limit = rounded(low), rounded(high)
    with _pieces(b, target, state, count, needs) as (start, here, memory):
        def step(i, mask):
            x = rounded(b.fma(_unit(b, real, memory, i), span, low))
            b.store(b.convert(b.select(x == limit, first, x), kind), out + (start + i), mask=mask)
        each(b, here, step)
    return b.finish()


def _log(b, x):
    """Cephes' logarithm of float32 x in [2**-24, 1]."""
    bits = b.bitcast(x, i32.like(x.type))
    e = (bits - cephes.SQRT_HALF_BITS) >> 23
    m = b.bitcast(bits - (e << 23), x.type) - 1.0
    e, z = b.convert(e, f32), m * m
    y = b.fma(polynomial(b, m, cephes.LOG) * m, z, e * cephes.LOG2_LOW)
    return b.fma(e, cephes.LOG2_HIGH, b.fma(z, -0.5, y) + m)


def _sine_cosine(b, x):
    """Cephes' sine and cosine of float32 x in [0, 2 pi)."""
    integer = i32.like(x.type)
    octant = (b.convert(x * cephes.OCTANTS_PER_RADIAN, i32) + 1) & -2
    turns = b.convert(octant, f32)
    for part in cephes.MINUS_QUARTER_PI:
        x = b.fma(turns, part, x)
    z = x * x
    sine = b.fma(x, polynomial(b, z, cephes.SINE) * z, x)
    cosine = b.fma(z, polynomial(b, z, cephes.COSINE) * z, z * -0.5) + 1.0
    straight = (octant & 2) == 0

    def signed(value, octant):
        return b.bitcast(b.bitcast(value, integer) ^ ((octant & 4) << 29), x.type)
    return (signed(b.select(straight, sine, cosine), octant), signed(b.select(straight, cosine, sine), octant + 2))


def _two_blocks(b, memory, i):
    """Normal samples of two blocks of 16 float32 each: the first eight of a block give radii, the last eight angles."""
    x, y = (_unit(b, f32, memory, i + k) for k in (0, LANES))
    first, last = tuple(range(8)) + tuple(range(16, 24)), tuple(range(8, 16)) + tuple(range(24, 32))
    radius = b.sqrt(_log(b, 1.0 - b.shuffle(x, y, first)) * -2.0)
    sine, cosine = _sine_cosine(b, b.shuffle(x, y, last) * (2 * math.pi))
    x, y = radius * cosine, radius * sine
    return b.shuffle(x, y, first), b.shuffle(x, y, last)


def _pair(b, logarithm, radius, angle):
    """Two normal samples of two uniform float64 in [0, 1)."""
    radius, angle = b.sqrt(b.library(logarithm, radius) * -2.0), angle * (2 * math.pi)
    return radius * b.library('cos', angle), radius * b.library('sin', angle)


def _write_blocks(b, out, kind, memory, count, mean, std):
    """Blocks of 16 normal samples of `count` uniform ones."""
    if kind == f64:
        with b.loop(0, count, LANES) as i, b.loop(i, i + 8) as k:
            radius, angle = (_unit(b, f64, memory, k + j, 0) for j in (0, 8))
            for j, x in zip((0, 8), _pair(b, 'log', 1.0 - radius, angle)):
                b.store(b.fma(x, std, mean), out + (k + j))
        return
    mean, std = b.splat(mean, LANES), b.splat(std, LANES)
    with b.loop(0, count, 2 * LANES) as i:
        x, y = (b.convert(b.fma(x, std, mean), kind) for x in _two_blocks(b, memory, i))
        b.store(x, out + i)
        with b.when(i + LANES < count):
            b.store(y, out + (i + LANES))


def normal(target, dtype, shared=False):
    """At least 16 normal samples in blocks of 16; where they do not fill blocks the last 16 are drawn anew."""
    kind, real, needs = _forms(dtype)
    b = Builder('normal', out=pointer(kind), count=i64, state=pointer(u32), mean=real, std=real, memory=pointer(u32))
    out, count, state, mean, std, memory = b.parameters
    whole = (count >> 4) << 4
    with _pieces(b, target, state, whole, needs, memory if shared else None) as (start, here, drawn):
        _write_blocks(b, out + start, kind, drawn, here, mean, std)
    with b.when(whole < count):
        drawn = b.buffer(u32, 2 * LANES * needs)
        if kind.bits > 16:  # float16 and bfloat16 are drawn by blocks, the others all at once, and then the last block
            b.call(words(target), state, drawn, (count - whole) * needs)
        b.call(words(target), state, drawn, b.of_type(LANES * needs, i64))
        _write_blocks(b, out + (count - LANES), kind, drawn, b.of_type(LANES, i64), mean, std)
    return b.finish()


def normals(target, dtype, exponential, shared=False):
    """Normal samples one by one in float64, in pairs; or exp of them. The result is the second of the last pair.

    `waiting` is 1 where `sample` is one left over before. `shared`: on all threads, with `memory` for words.
    """
    kind = named(dtype)
    b = Builder('normals', f64, out=pointer(kind), count=i64, state=pointer(u32), mean=f64, std=f64, waiting=i64,
                sample=f64, memory=pointer(u32))
    out, count, state, mean, std, waiting, sample, memory = b.parameters

    def write(x, place):
        x = b.fma(x, std, mean)
        b.store(_rounded(b, b.library('exp', x) if exponential else x, kind), place)
    with b.when(waiting == 1):
        write(sample, out)
    out, count = out + waiting, count - waiting
    over = b.buffer(f64, 1)
    b.store(sample, over)
    even = ((count + 1) >> 1) << 1
    pieces = _pieces(b, target, state, even, 2, memory if shared else None)
    with pieces as (start, here, drawn), b.loop(0, here, 2) as i:
        angle, radius = (_unit(b, f64, drawn, i + k, 0) for k in range(2))
        x, y = _pair(b, 'log1p', -radius, angle)
        place = start + i
        write(x, out + place)
        with b.when(place + 1 < count):
            write(y, out + (place + 1))
        with b.when(place + 2 == even):
            b.store(y, over)
    b.give(b.load(over))
    return b.finish()


# ---- integers

def _remainder(b, x, divisor):
    """x modulo float64 divisors, which with x of 32 bits is exact."""
    x = b.convert(x, f64)
    return b.convert(b.fma(-b.trunc(x / divisor), divisor, x), i32)


def integers(target, dtype, wide, masked):
    """low + the remainder of words by `span`; `wide`: words of 64 bits; `masked`: `span` is a power of two less one."""
    kind = named(dtype)
    b = Builder('integers', out=pointer(kind), count=i64, state=pointer(u32), low=i64, span=i64)
    out, count, state, low, span = b.parameters

    def write(x, i, mask=None):
        x = b.convert(x, i64) + low
        b.store(b.convert(b.convert(x, f32) if kind.is_float and kind.bits == 16 else x, kind), out + i, mask=mask)
    with _pieces(b, target, state, count, 1 + wide) as (start, here, memory):
        if wide and not masked:
            with b.loop(0, here) as i:
                write(_wide(b, memory, i, 0) % b.bitcast(span, u64), start + i)
        else:
            word = u64 if wide else u32
            limit = b.splat(b.convert(span, word) if masked else b.convert(span, f64), LANES)

            def step(i, mask):
                x = _wide(b, memory, i) if wide else b.load(memory + i, u32.vector(LANES))
                write(x & limit if masked else _remainder(b, x, limit), start + i, mask)
            each(b, here, step)
    return b.finish()


def permutation(target, dtype):
    """0 .. count - 1 shuffled by Fisher and Yates' method, one word for each place but the last."""
    kind = named(dtype)
    b = Builder('permutation', out=pointer(kind), count=i64, state=pointer(u32))
    out, count, state = b.parameters
    lanes = b.iota(i32.vector(LANES))

    def fill(i, mask):
        b.store(b.convert(b.convert(lanes, i64) + i, kind), out + i, mask=mask)
    each(b, count, fill)
    partners = b.buffer(i32, PIECE)
    with _pieces(b, target, state, count - 1, 1) as (start, here, memory):
        def step(i, mask):
            left = b.convert(b.splat(b.convert(count - (start + i), i32), LANES) - lanes, f64)
            b.store(_remainder(b, b.load(memory + i, u32.vector(LANES)), left), partners + i)
        each(b, here, step)
        with b.loop(0, here) as i:
            place = out + (start + i)
            partner = place + b.convert(b.load(partners + i), i64)
            mine, other = b.load(place), b.load(partner)
            b.store(other, place)
            b.store(mine, partner)
    return b.finish()


# ---- Bernoulli, and what is made of uniform float64

def bernoulli(target, dtype):
    """One where a uniform float64 is less than bound / 2**53, else zero."""
    kind = named(dtype)
    b = Builder('bernoulli', out=pointer(kind), count=i64, state=pointer(u32), bound=i64)
    out, count, state, bound = b.parameters
    with _pieces(b, target, state, count, 2) as (start, here, memory):
        def step(i, mask):
            b.store(_indicator(b, _low53(b, memory, i) < bound, kind), out + (start + i), mask=mask)
        each(b, here, step)
    return b.finish()


def _indicator(b, truth, kind):
    if kind.kind == 'b':
        return truth
    vector = (f32 if kind.is_float and kind.bits == 16 else kind).like(truth.type)
    return b.convert(b.select(truth, b.constant(1, vector), b.constant(0, vector)), kind)


def bernoulli_each(target, dtype, probability):
    """One where a uniform number is less than the one at the same place of `probabilities`, else zero."""
    kind, (of, real, needs) = named(dtype), _forms(probability)
    b = Builder('bernoulli_each', out=pointer(kind), count=i64, state=pointer(u32), probabilities=pointer(of))
    out, count, state, probabilities = b.parameters
    with _pieces(b, target, state, count, needs) as (start, here, memory):
        def step(i, mask):
            p = b.convert(b.load(probabilities + (start + i), of.vector(LANES), mask=mask), real)
            b.store(_indicator(b, _unit(b, real, memory, i) < p, kind), out + (start + i), mask=mask)
        each(b, here, step)
    return b.finish()


def categories(target, dtype):
    """How many of `width` rising bounds, of which the last is above all, are less than uniform float64."""
    b = Builder('categories', out=pointer(named(dtype)), count=i64, state=pointer(u32), bounds=pointer(f64), width=i64)
    out, count, state, bounds, width = b.parameters
    zero = b.constant(0, i64.vector(LANES))
    with _pieces(b, target, state, count, 2) as (start, here, memory):
        def step(i, mask):
            u = _unit(b, f64, memory, i)
            passed, left = b.variable(zero), b.variable(width)
            with b.when(width > 1), b.repeat():
                half = left.get() >> 1
                less = b.gather(bounds, passed.get() + b.splat(half - 1, LANES)) < u
                passed.add(b.select(less, b.splat(half, LANES), zero))
                left.set(left.get() - half)
                b.until(left.get() == 1)
            b.store(passed.get(), out + (start + i), mask=mask)
        each(b, here, step)
    return b.finish()


def scaled(target, dtype):
    """out = x * scale where `kept`, elsewhere x * 0; the scale is rounded to the dtype."""
    kind, real, _ = _forms(dtype)
    b = Builder('scaled', out=pointer(kind), x=pointer(kind), kept=pointer(boolean), count=i64, scale=real)
    out, x, kept, count, scale = b.parameters
    with b.parallel((count + (CHUNK - 1)) // CHUNK) as chunk:
        start, factor = chunk * CHUNK, b.convert(b.convert(b.splat(scale, LANES), kind), real)

        def step(i, mask):
            place = start + i
            on = b.load(kept + place, boolean.vector(LANES), mask=mask)
            value = b.convert(b.load(x + place, kind.vector(LANES), mask=mask), real)
            b.store(b.convert(value * b.select(on, factor, 0.0), kind), out + place, mask=mask)
        each(b, b.smaller(count - start, CHUNK), step)
    return b.finish()


NEAR = 64  # units in the last place of float64 by which a vector function may be wrong, and more


def _near_middle(b, x):
    """Whether positive float64 may round to another float32 than the exact value does."""
    distance = (b.bitcast(x, i64.like(x.type)) & 0x1FFFFFFF) - 0x10000000
    return (b.abs(distance) < NEAR) | (x < 2.0 ** -126)


def _near_whole(b, x):
    return b.abs(x - b.rint(x)) < b.abs(x) * (NEAR * 2.0 ** -52)


# of a uniform float64 by a function for logarithms and the like, with two parameters; and where its last bit matters
TRANSFORMS = {
    'exponential': (lambda b, call, u, scale, _: call('log1p', -u) * scale, _near_middle),
    'geometric': (lambda b, call, u, scale, _: call('log', u) / scale, _near_whole),
    'cauchy': (lambda b, call, u, scale, shift: b.fma(call('tan', (u - 0.5) * math.pi), scale, shift), None)}


def transformed(target, dtype, distribution, shared=False):
    """Numbers of a distribution that is a function of a uniform float64, as the C library computes it.

    Vector functions do where the last bit of a float64 is lost in rounding.
    """
    kind, (transform, matters) = named(dtype), TRANSFORMS[distribution]
    b = Builder(distribution, out=pointer(kind), count=i64, state=pointer(u32), scale=f64, shift=f64,
                memory=pointer(u32))
    out, count, state, scale, shift, memory = b.parameters

    def write(x, place):
        b.store(_rounded(b, b.ceil(x) if distribution == 'geometric' else x, kind), out + place)
    with _pieces(b, target, state, count, 2, memory if shared else None) as (start, here, drawn):
        def exactly(first, last):
            with b.loop(first, last) as i:
                write(transform(b, b.library, _unit(b, f64, drawn, i, 0), scale, shift), start + i)

        def step(i, mask):
            if mask is not None:
                return exactly(i, here)
            x = transform(b, lambda name, x: getattr(mathematics, name)(b, x), _unit(b, f64, drawn, i), scale, shift)
            write(x, start + i)
            with b.when(b.reduce('or', matters(b, x))):
                exactly(i, i + LANES)
        if matters is None or distribution == 'exponential' and kind == f64:
            exactly(b.of_type(0, i64), here)
        else:
            each(b, here, step)
    return b.finish()
