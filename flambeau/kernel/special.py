"""Error functions and the logarithm of the gamma function in the kernel language. Knows no operation."""
from __future__ import annotations

import math

from . import coefficients as fitted
from .exponential import (LN2, exp, exp_pair, in_float64, log, log_parts, polynomial, product, quotient, rarely,
                          two_sum, within)
from .trigonometry import tan
from .types import Type, f32, f64, i32

__all__ = ['erf', 'erfc', 'erfinv', 'lgamma', 'digamma', 'nextafter']

ERFC_BASE = 1.1875  # what fitted.ERFC is counted from
LGAMMA_AT_1 = -0.5772156649015329, 4.942915152430645e-18  # the derivative there: high, low part
LGAMMA_AT_2 = 0.42278433509846713, 4.942915152430645e-18
DIGAMMA_ZERO = 1.4616321449683622, 9.549995429965697e-17  # high, low part
ERFC_ENDS = {32: 10.5, 64: 28.0}  # erfc is 0 from there on


def erf(b, x):
    if x.type == f32.vector(16):
        return _erf_by_pieces(b, x)
    size = b.abs(x)
    near = b.fma(x, polynomial(b, x * x, fitted.ERF), x)
    far = b.smaller(b.of_type(6.5, x.type), size)
    tail = exp(b, -(far * far)) * scaled_erfc(b, far)
    return b.select(size < 1.0, near, b.copysign(1.0 - tail, x))


def _erf_by_pieces(b, x):
    """erf by a polynomial whose coefficients are looked up in registers: the quickest way where they are wide."""
    piece = fitted.ERF_PIECE
    size = b.abs(x)
    near = b.smaller(b.of_type(15.49 * piece, x.type), size)
    shift = 1.5 * 2.0**23  # leaves the number of the piece in the last bits
    shifted = b.fma(near, 1 / piece, shift)
    index = b.bitcast(shifted, i32.like(x.type))
    number = shifted - shift
    offset = b.fma(number, -piece, near)
    value = polynomial(b, offset, [b.lookup(row, index, f32) for row in fitted.ERF_PIECES])
    # beyond the last piece it is above 1
    value = b.fma(size, value, b.select(number < 3.5, size, b.of_type(0.0, x.type)))
    return b.copysign(b.smaller(b.of_type(1.0, x.type), value), x)


def scaled_erfc(b, x):
    """exp(x * x) erfc(x), from x = 1/2 on."""
    divisor, turned = x + x + 1.0, x + 4.0
    inverse = 1.0 / (divisor * turned)
    value = polynomial(b, (x - 4.0) * divisor * inverse, fitted.ERFC) + ERFC_BASE
    return value * (turned * inverse)


def erfc(b, x):
    size = b.abs(x)
    near = b.fma(-x, polynomial(b, x * x, fitted.ERF), 1.0 - x)
    far = within(b, size, 0.5, ERFC_ENDS[x.type.bits])
    one = b.of_type(1.0, x.type)
    high, low = two_sum(b, one * ERFC_BASE, polynomial(b, (far - 4.0) / (far + 4.0), fitted.ERFC))
    q, q_low = quotient(b, high, low, *two_sum(b, far + far, one))
    square, lost = product(b, far, far)
    n, high, low = exp_pair(b, -square, -lost)
    high, low = two_sum(b, high, low)
    total, lost = product(b, high, q)
    tail = b.scale(total + (lost + b.fma(high, q_low, low * q)), n)
    return b.select(size < 0.5, near, b.select(x < 0.0, 2.0 - tail, tail))


def erfinv(b, x):
    size = b.abs(x)
    w = -log(b, (1.0 - size) * (size + 1.0))
    near = b.fma(size, polynomial(b, w, fitted.ERFINV), size)
    value = rarely(b, w > 4.0, lambda: b.convert(_erfinv_far(b, b.convert(size, f64)), x.type), near)
    return b.copysign(value, x)


def _erfinv_far(b, x):
    """erfinv of numbers that are close to 1."""
    rest = 1.0 - x
    root = b.sqrt(-log(b, rest * (x + 1.0)))
    y = b.fma(x, polynomial(b, root - 3.0, fitted.ERFINV_FAR), x)
    return b.select(rest == 0.0, b.of_type(math.inf, x.type), _nearer(b, y, rest))


def _nearer(b, y, rest):
    """One of Halley's steps towards the zero of log(erfc(y) / rest)."""
    scaled = scaled_erfc(b, y)
    square, lost = product(b, y, y)
    step = ((log(b, scaled / rest) - square) - lost) * scaled * (math.sqrt(math.pi) / -2)
    bend = (1 / math.sqrt(math.pi)) / scaled - y
    return y - b.fma(step * step, bend, step)


# ---- gamma functions

def lgamma(b, x):
    return _lgamma(b, x) if x.type.bits == 64 else in_float64(b, _lgamma, x)


def _lgamma(b, x):
    """log(|gamma(x)|): by its values near 2, by Stirling's formula from 8 on, by reflection below -1/2."""
    size = b.abs(x)
    tiny, small, large = size <= 0.5, size < 1.41, size >= 8.0  # small: where the logarithm has no part of log(2)
    shifted, p = size, b.of_type(1.0, x.type)
    for _ in range(6):  # gamma(y + 1) = y gamma(y), until shifted is below 2.5
        over = shifted >= 2.5
        p = b.select(over, p * (shifted - 1.0), p)
        shifted = b.select(over, shifted - 1.0, shifted)
    t = b.select(tiny, x, b.select(small, size - 1.0, shifted - 2.0))
    p = b.select(tiny, size * (x + 1.0), b.select(small, size, b.select(large, size, p)))
    e, f, half, rest = log_parts(b, p)
    high, low = LN2[64]
    one = b.of_type(1.0, x.type)
    sign = b.select(small, -one, one)
    whole = small & (f == t)  # the logarithm's f and gamma's t are one number, and cancel but for a part
    slope, slope_low = [b.select(whole, one * s, one * r) for s, r in zip(LGAMMA_AT_1, LGAMMA_AT_2)]
    near = b.fma(t, b.fma(t, polynomial(b, t, fitted.LGAMMA), slope_low), sign * (b.fma(e, low, rest) - half))
    near = b.fma(sign * e, high, b.fma(t, slope, b.select(whole, near, f * sign + near)))
    logarithm, lost = two_sum(b, b.fma(e, high, -1.0), f - (half - b.fma(e, low, rest)))
    far, far_low = product(b, size - 0.5, logarithm)
    inverse = 1.0 / size
    more = b.fma(inverse, polynomial(b, inverse * inverse, fitted.STIRLING), math.log(2 * math.pi) / 2 - 0.5)
    far = far + b.select(far < math.inf, b.fma(size - 0.5, lost, far_low + more), more)
    value = b.select(large, far, near)
    beyond = size - b.rint(size)

    def reflected():
        return -log(b, size * b.abs(beyond) * polynomial(b, beyond * beyond, fitted.SIN_PI)) - value
    value = rarely(b, x < -0.5, reflected, value)
    return b.select(x == x, b.select((size == math.inf) | (size == 0.0), b.of_type(math.inf, x.type), value), x)


def digamma(b, x):
    return _digamma(b, x) if x.type.bits == 64 else in_float64(b, _digamma, x)


def _digamma(b, x):
    """The derivative of lgamma: by its values around its zero, by the asymptotic series from 8 on, by reflection below
    0.
    """
    negative = x < 0.0
    size = b.select(negative, 1.0 - x, x)
    small, shifted = size < 1.0, size
    one = b.of_type(1.0, x.type)
    top, bottom = b.select(small, -one, one * 0.0), b.select(small, size, one)
    for _ in range(6):  # digamma(y + 1) = digamma(y) + 1 / y, until shifted is below 2; the sum as a fraction
        over = shifted >= 2.0
        shifted = b.select(over, shifted - 1.0, shifted)
        top, bottom = b.select(over, b.fma(top, shifted, bottom), top), b.select(over, bottom * shifted, bottom)
    shifted = b.select(small, size + 1.0, shifted)
    from_zero = (shifted - DIGAMMA_ZERO[0]) - DIGAMMA_ZERO[1]
    near = b.fma(from_zero, polynomial(b, shifted - 1.5, fitted.DIGAMMA), top / bottom)
    inverse = 1.0 / size
    far = log(b, size) - b.fma(inverse * inverse, polynomial(b, inverse * inverse, fitted.DIGAMMA_FAR), inverse * 0.5)
    value = b.select(size >= 8.0, far, near)
    beyond = x - b.rint(x)

    def reflected():
        return b.select(beyond == 0.0, b.of_type(math.nan, x.type), value - math.pi / tan(b, beyond * math.pi))
    return rarely(b, negative, reflected, value)


def nextafter(b, x, y):
    """The next number after x on the way to y: the bits of its size are a whole number, one more or less."""
    whole = Type('i', x.type.bits).like(x.type)
    one = b.constant(1, whole)
    grows = (x > 0.0) ^ (y < x)
    moved = b.bitcast(b.bitcast(x, whole) + b.select(grows, one, -one), x.type)
    made = b.select(x == 0.0, b.copysign(b.bitcast(one, x.type), y), moved)
    return b.select((x != x) | (y != y), x + y, b.select(x == y, y, made))
