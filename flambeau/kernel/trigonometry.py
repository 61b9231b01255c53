"""Sines, tangents and their inverses in the kernel language, over all numbers.

Arguments are reduced by multiples of a quarter turn: with pi / 2 in three parts (Cody and Waite, 1980), and where they
are large with as many digits of 2 / pi as reach below their last (Payne and Hanek, 1983). Knows no operation.
"""
from __future__ import annotations

import functools
import math
import struct
from fractions import Fraction

from . import coefficients as fitted
from .ir import Builder
from .exponential import any_lane, polynomial, product, two_sum
from .types import Pointer, Type, f64, i64, u64

__all__ = ['sin', 'cos', 'tan', 'asin', 'acos', 'atan', 'atan2']

LARGE = {32: 1e5, 64: 1e9}  # where three parts of pi / 2 do no longer do
HUGE = {32: 2.0**120, 64: 2.0**1000}  # where sums could be infinite
FRACTION = {32: 23, 64: 52}
LIMBS = 6         # of 32 bits, of 2 / pi, that a product with a number of 53 bits needs
LEADING = 64      # zeros before the digits of 2 / pi, so that a window may begin before them
DIGITS = 1344


@functools.lru_cache(maxsize=None)
def _pi(bits):
    """pi * 2**bits as a whole number, by Machin's formula (1706)."""
    one = 1 << bits + 32

    def inverse_tangent(k):
        term = total = one // k
        n = 1
        while term:
            term //= -k * k
            n += 2
            total += term // n
        return total
    return 4 * (4 * inverse_tangent(5) - inverse_tangent(239)) >> 32


def parts_of_pi(bits, count, scale=1):
    """pi * scale as the sum of `count` numbers of a width, each the nearest to what is left."""
    left, parts = Fraction(_pi(400), 1 << 400) * scale, []
    for _ in range(count):
        kind = '<f' if bits == 32 else '<d'
        parts.append(struct.unpack(kind, struct.pack(kind, float(left)))[0])
        left -= Fraction(parts[-1])
    return parts


# ---- reduction

@functools.lru_cache(maxsize=None)
def _large_quarters(lanes):
    """A function: writes n modulo 4, r and its low part to `out`, with x = (n + 4k) * pi / 2 + r for large float64 x.
    """
    kind = f64.vector(lanes)
    b = Builder(f'large_quarters{lanes}', x=kind, out=Pointer(f64))
    x, out = b.parameters
    digits = ((2 << 2 * DIGITS) // _pi(DIGITS)) >> LEADING
    words = b.buffer(u64, DIGITS // 32)
    for k in range(DIGITS // 32):
        b.store((digits >> DIGITS - 32 * (k + 1)) & 0xffffffff, words + k)
    low32 = 0xffffffff
    bits = b.bitcast(x, u64.vector(lanes))
    exponent = (bits >> 52) & 0x7ff
    whole = (bits & (2**52 - 1)) | 2**52
    top, bottom = whole >> 32, whole & low32
    start = b.larger(exponent, b.of_type(1013, exponent.type)) - 1013  # digits before it stand for multiples of 2 pi
    index, shift = b.convert(start >> 5, i64), start & 31
    given = [b.gather(words, index + k) for k in range(LIMBS + 1)]
    window = [((a << shift) & low32) | (c >> (32 - shift)) for a, c in zip(given, given[1:])]
    carry, limbs = None, []  # whole * window modulo 2**192, lowest first
    for k in range(LIMBS - 2, -1, -1):
        other = top * window[k + 1]
        this = bottom * window[k] if carry is None else bottom * window[k] + carry
        both = (this & low32) + (other & low32)
        limbs.append(both & low32)
        carry = (this >> 32) + (other >> 32) + (both >> 32)
    high, low = (limbs[4] << 32) | limbs[3], (limbs[2] << 32) | limbs[1]
    n = (high + 2**61) >> 62
    signed = b.bitcast(high - (n << 62), i64.vector(lanes))
    first = b.convert(signed, f64)
    second = b.convert(signed - b.convert(first, i64), f64) + b.convert(low, f64) * 2.0**-64
    turn, turn_low = two_sum(b, first, second)
    quarter, quarter_low = parts_of_pi(64, 2, Fraction(1, 2**63))
    r, lost = product(b, turn, b.of_type(quarter, kind))
    rest = lost + b.fma(turn, quarter_low, turn_low * quarter)
    r = b.select(exponent == 0x7ff, b.of_type(math.nan, kind), r)
    n = b.convert(n, f64)
    for k, value in enumerate((n, r, rest)):
        b.store(b.select(x < 0.0, -value, value), out + k * lanes)
    return b.finish()


def _quarters(b, x):
    """(n, r, rest): x = n * pi / 2 + r + rest with n, an integer, modulo 4, and r within pi / 4."""
    bits = x.type.bits
    integer = Type('i', bits).like(x.type)
    first, second, third = parts_of_pi(bits, 3, Fraction(1, 2))
    shift = 1.5 * 2.0 ** FRACTION[bits]  # leaves the whole part in the last bits
    shifted = b.fma(x, 2 / math.pi, shift)
    n = shifted - shift
    r = b.fma(n, -second, b.fma(n, -first, x, exact=True), exact=True)
    found = [b.variable(v) for v in (b.bitcast(shifted, integer), r, n * -third)]
    large = b.abs(x) > LARGE[bits]
    with b.when(any_lane(b, large)):
        lanes = x.type.lanes or 4
        out = b.buffer(f64, 3 * lanes)
        wide = b.convert(x, f64)
        b.call(_large_quarters(lanes), wide if x.type.lanes else b.splat(wide, lanes), out)
        n, r, rest = [b.load(out + k * lanes, f64.like(x.type)) for k in range(3)]
        narrow = b.convert(r, x.type)
        rest = rest if bits == 64 else b.convert(r - b.convert(narrow, f64), x.type)
        for variable, value in zip(found, (b.convert(n, integer), narrow, rest)):
            variable.set(b.select(large, value, variable.get()))
    return [v.get() for v in found]


def _sine(b, x, quarters_on):
    """sin(x + quarters_on * pi / 2)."""
    n, r, rest = _quarters(b, x)
    if quarters_on:
        n = n + quarters_on
    z = r * r
    sine = b.fma(r * z, polynomial(b, z, fitted.SIN), rest) + r
    cosine = b.fma(z, polynomial(b, z, fitted.COS), -(r * rest)) + 1.0
    value = b.select((n & 1) == 0, sine, cosine)
    return b.bitcast(b.bitcast(value, n.type) ^ ((n & 2) << x.type.bits - 2), x.type)


def sin(b, x):
    return b.select(x == 0.0, x, _sine(b, x, 0))


def cos(b, x):
    return _sine(b, x, 1)


def tan(b, x):
    n, r, rest = _quarters(b, x)
    z = r * r
    more = b.fma(r * z, polynomial(b, z, fitted.TAN), rest)
    value = r + more
    inverse = -1.0 / value
    error = b.fma(inverse, more, b.fma(inverse, r, 1.0, exact=True))
    return b.select(x == 0.0, x, b.select((n & 1) == 0, value, b.fma(inverse, error, inverse)))


# ---- inverse functions

def _arc_parts(b, x):
    """(whether |x| > 1/2, s, rest): asin(s) = s + rest for |x|, or for sqrt((1 - |x|) / 2) where |x| is large."""
    size = b.abs(x)
    far = size > 0.5
    z = b.select(far, (1.0 - size) * 0.5, size * size)
    s = b.select(far, b.sqrt(z), size)
    return far, s, s * z * polynomial(b, z, fitted.ASIN)


def asin(b, x):
    far, s, rest = _arc_parts(b, x)
    right, right_low = parts_of_pi(x.type.bits, 2, Fraction(1, 2))
    near, lost = two_sum(b, b.of_type(right, x.type), s * -2.0)
    value = b.select(far, near + (lost + b.fma(rest, -2.0, right_low)), s + rest)
    return b.copysign(value, x)


def acos(b, x):
    far, s, rest = _arc_parts(b, x)
    half, half_low = parts_of_pi(x.type.bits, 2, Fraction(1, 2))
    whole, whole_low = parts_of_pi(x.type.bits, 2)
    twice = (s + rest) * 2.0
    near = half - (b.copysign(s, x) + (b.copysign(rest, x) - half_low))
    return b.select(far, b.select(x < 0.0, whole - (twice - whole_low), twice), near)


def _angle(b, y, x, behind=None):
    """The angle of the point (x, y) of the first quadrant; of (-x, y) where `behind`."""
    bits, kind = x.type.bits, x.type
    steep = y > x * (1 + math.sqrt(2))
    slanted = y > x * (math.sqrt(2) - 1)
    top = b.select(steep, -x, b.select(slanted, y - x, y))
    bottom = b.select(steep, y, b.select(slanted, y + x, x))
    t = top / b.select(bottom == 0.0, b.of_type(1.0, kind), bottom)
    turned = t if behind is None else b.select(behind, -t, t)
    eighths = [parts_of_pi(bits, 2, Fraction(k, 4)) for k in range(5)]

    def base(part):
        """The angle that `turned` is counted from: 0, pi / 4, pi / 2, or further round."""
        one = [b.of_type(e[part], kind) for e in eighths]
        if behind is not None:
            one[0], one[1] = b.select(behind, one[4], one[0]), b.select(behind, one[3], one[1])
        return b.select(steep, one[2], b.select(slanted, one[1], one[0]))
    z = turned * turned
    return base(0) + (turned + b.fma(turned * z, polynomial(b, z, fitted.ATAN), base(1)))


def atan(b, x):
    return b.copysign(_angle(b, b.abs(x), b.of_type(1.0, x.type)), x)


def atan2(b, y, x):
    up, right = b.abs(y), b.abs(x)
    one = b.of_type(1.0, x.type)
    both = (up == math.inf) & (right == math.inf)
    factor = b.select(b.larger(up, right) > HUGE[x.type.bits], one * 0.25, one)
    up, right = b.select(both, one, up * factor), b.select(both, one, right * factor)
    return b.copysign(_angle(b, up, right, b.copysign(one, x) < 0.0), y)
