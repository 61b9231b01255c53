"""Exponentials, logarithms, powers and hyperbolic functions in the kernel language, and what all such functions share.

Each takes the builder and float32 or float64 values of any number of lanes, and is right at the special values.
Arguments are reduced in the ways of Cody and Waite (1980) and of the FreeBSD mathematical library; what is left is a
polynomial of kernel/coefficients.py. Pairs (high, low) stand for their sum, known to more digits than one number holds
(Dekker, 1971).
docs/accuracy.md has the errors found. Knows no operation.
"""
from __future__ import annotations

import math

from . import coefficients as fitted
from .types import Type, f32, f64

__all__ = ['exp', 'exp2', 'expm1', 'log', 'log1p', 'log2', 'log10', 'pow', 'tanh', 'sigmoid', 'sinh', 'cosh', 'asinh',
           'acosh', 'atanh', 'fmod', 'hypot']

# high, low part
LN2 = {32: (0.693145751953125, 1.428606765330187e-06), 64: (0.6931471803691238, 1.9082149292705877e-10)}
INVERSE_LN2 = {32: (1.4426950216293335, 1.925963033500011e-08), 64: (1.4426950408889634, 2.0355273740931033e-17)}
INVERSE_LN10 = {32: (0.4342944920063019, -1.0103049952192578e-08), 64: (0.4342944819032518, 1.098319650216765e-17)}
LOG10_OF_2 = {32: (0.301025390625, 4.605039066518657e-06), 64: (0.301029995663157, 8.241712586023572e-13)}
EXPONENT_BIAS = {32: (127, 23), 64: (1023, 52)}
LARGEST_EXPONENT = {32: 95.0, 64: 720.0}  # where exp is infinite, also when halved
THIRDS = (2 / 3, 3.700743415417188e-17)  # high and low part of 2/3


def polynomial(b, x, coefficients):
    """The sum of coefficients[k] * x**k, by Horner's rule; of a table, those for the width of x."""
    if isinstance(coefficients, dict):
        coefficients = coefficients[x.type.bits]
    value = b.of_type(coefficients[-1], x.type)
    for c in reversed(coefficients[:-1]):
        value = b.fma(value, x, c)
    return value


def odd(b, x, table):
    """x + x**3 * P(x**2): an odd function of slope 1 near 0."""
    z = x * x
    return b.fma(x * z, polynomial(b, z, table), x)


def two_sum(b, larger, smaller):
    """(the sum rounded, what rounding lost) of a number and one that is not larger in size."""
    total = larger + smaller
    return total, (larger - total) + smaller


def product(b, x, y):
    """(the product rounded, what rounding lost)."""
    p = x * y
    return p, b.fma(x, y, -p, exact=True)


def quotient(b, high, low, divisor, divisor_low):
    """(high + low) / (divisor + divisor_low) as a pair."""
    inverse = 1.0 / divisor
    q = high * inverse
    return q, (b.fma(-q, divisor, high, exact=True) - q * divisor_low + low) * inverse


def any_lane(b, condition):
    """Whether a condition holds in some lane."""
    return b.reduce('or', condition) if condition.type.lanes else condition


def rarely(b, condition, compute, value):
    """compute() where the condition holds, else `value`; what few numbers need is computed only where one does."""
    kept = b.variable(value)
    with b.when(any_lane(b, condition)):
        kept.set(b.select(condition, compute(), kept.get()))
    return kept.get()


def by_halves(b, function, *operands):
    """The results of function(b, *operands), half of the lanes after the other: twice the width fills a register."""
    lanes = operands[0].type.lanes
    if lanes < 2:
        return function(b, *operands)
    low, high = [function(b, *[b.shuffle(x, x, range(k, k + lanes // 2)) for x in operands]) for k in (0, lanes // 2)]
    return [b.shuffle(x, y, range(lanes)) for x, y in zip(low, high)]


def in_float64(b, function, x):
    """function(b, x) of float32 numbers computed in float64."""
    return by_halves(b, lambda b, x: [b.convert(function(b, b.convert(x, f64)), f32)], x)[0]


# ---- exponentials

def exp_pair(b, x, rest=None):
    """(n, high, low) with e**(x + rest) = (high + low) * 2**n; x within 1000, rest at most what rounding x loses."""
    high, low = LN2[x.type.bits]
    n = b.rint(x * (1 / math.log(2)))
    r = b.fma(n, -low, b.fma(n, -high, x))
    return n, *_exp_near_zero(b, r if rest is None else r + rest)


def _exp_near_zero(b, r):
    """e**r as a pair, of r within log(2) / 2."""
    high, lost = two_sum(b, b.of_type(1.0, r.type), r)
    return high, b.fma(r * r, polynomial(b, r, fitted.EXP), lost)


def within(b, x, low, high):
    """x limited to a range; nan stays."""
    return b.larger(b.of_type(low, x.type), b.smaller(b.of_type(high, x.type), x))


def _in_exponents(b, x):
    """x limited to where e**x is neither 0 nor infinite, and a little more."""
    return within(b, x, -110.0, 95.0) if x.type.bits == 32 else within(b, x, -760.0, 720.0)


def exp(b, x):
    n, high, low = exp_pair(b, _in_exponents(b, x))
    return b.scale(high + low, n)


def exp2(b, x):
    x = within(b, x, -160.0, 130.0) if x.type.bits == 32 else within(b, x, -1100.0, 1030.0)
    n = b.rint(x)
    high, low = _exp_near_zero(b, (x - n) * math.log(2))
    return b.scale(high + low, n)


def expm1(b, x):
    high, low = LN2[x.type.bits]
    limited = _in_exponents(b, x)
    n = b.rint(limited * (1 / math.log(2)))
    r = b.fma(n, -low, b.fma(n, -high, limited))
    small = b.fma(r * r, polynomial(b, r, fitted.EXP), r)
    one = b.of_type(1.0, x.type)
    power = b.scale(one, b.smaller(n, b.of_type(100.0, x.type)))
    value = b.select(n > 60.0, b.scale(small + 1.0, n), b.fma(small, power, power - 1.0))
    return b.select(x == 0.0, x, value)


def sigmoid(b, x):
    """1 / (1 + e**-x), as e**x / (1 + e**x) below 0."""
    n, high, low = exp_pair(b, _in_exponents(b, -b.abs(x)))
    inverse = 1.0 / (b.scale(high + low, n) + 1.0)
    return b.select(x < 0.0, b.scale(b.fma(high, inverse, low * inverse), n), inverse)


# ---- hyperbolic functions

def tanh(b, x):
    size = b.abs(x)
    n, high, low = exp_pair(b, b.smaller(b.of_type(20.0, x.type), size) * 2.0)
    far = 1.0 - 2.0 / (b.scale(high + low, n) + 1.0)
    return b.copysign(b.select(size < 0.625, odd(b, size, fitted.TANH), far), x)


def _half_exp(b, size):
    """e**size / 2 as a pair, and e**-size / 2."""
    n, high, low = exp_pair(b, b.smaller(b.of_type(LARGEST_EXPONENT[size.type.bits], size.type), size))
    high, low = two_sum(b, high, low)
    n = n - 1.0
    high = b.scale(high, n)
    return high, b.scale(low, n), 0.25 / high


def sinh(b, x):
    size = b.abs(x)
    high, low, inverse = _half_exp(b, size)
    return b.copysign(b.select(size < 1.0, odd(b, size, fitted.SINH), high + (low - inverse)), x)


def cosh(b, x):
    high, low, inverse = _half_exp(b, b.abs(x))
    return high + (low + inverse)


def _log_of_sum(b, x, square, square_low):
    """log(x + sqrt(square + square_low)), of x that has no more than half the exponents."""
    root = b.sqrt(square)
    root_low = (b.fma(-root, root, square, exact=True) + square_low) / (root + root)
    u = x + root
    return log(b, u, (b.larger(x, root) - u) + b.smaller(x, root) + root_low)


def asinh(b, x):
    size = b.abs(x)
    huge = size > 2.0 ** (x.type.bits // 2)
    one = b.of_type(1.0, x.type)
    usual = b.select(huge, one, size)
    p, lost = product(b, usual, usual)
    square = p + 1.0
    far = _log_of_sum(b, usual, square, (b.larger(p, one) - square) + b.smaller(p, one) + lost)
    value = b.select(size < 0.5, odd(b, size, fitted.ASINH), far)
    return b.copysign(rarely(b, huge, lambda: log(b, size) + math.log(2), value), x)


def acosh(b, x):
    huge = x > 2.0 ** (x.type.bits // 2)
    usual = b.select(huge, b.of_type(2.0, x.type), x)
    p, lost = product(b, usual, usual)
    square = p - 1.0
    far = _log_of_sum(b, usual, square, (p - square) - 1.0 + lost)
    t = x - 1.0
    root = b.sqrt(t + t)
    near = b.fma(root * t, polynomial(b, t, fitted.ACOSH), root)
    return rarely(b, huge, lambda: log(b, x) + math.log(2), b.select(x < 1.5, near, far))


def atanh(b, x):
    size = b.abs(x)
    high, lost = two_sum(b, b.of_type(1.0, x.type), size)
    divisor = 1.0 - size
    q = high / divisor
    far = log(b, q, (b.fma(-q, divisor, high, exact=True) + lost) / divisor) * 0.5
    return b.copysign(b.select(size < 0.5, odd(b, size, fitted.ATANH), far), x)


# ---- logarithms

def split(b, x):
    """(e, f): positive x = (1 + f) * 2**e with 1 + f between the roots of 1/2 and 2; e as a float. Denormals too."""
    bits = x.type.bits
    bias, fraction = EXPONENT_BIAS[bits]
    integer = Type('i', bits).like(x.type)
    tiny = x < 2.0 ** (1 - bias)
    shift = fraction + 2
    whole = b.bitcast(b.select(tiny, x * 2.0 ** shift, x), integer)
    root = 0x3f3504f3 if bits == 32 else 0x3fe6a09e667f3bcd
    e = (whole - root) >> fraction
    f = b.bitcast(whole - (e << fraction), x.type) - 1.0
    e = b.convert(e, x.type)
    return b.select(tiny, e - float(shift), e), f


def log_parts(b, x, lost=None):
    """(e, f, half square, rest): log(x + lost) = e * ln 2 + f - (half square - rest)."""
    e, f = split(b, x)
    if lost is not None:
        f = f + b.scale(lost, -e)
    s = f / (f + 2.0)
    z = s * s
    half = f * f * 0.5
    return e, f, half, s * b.fma(z, polynomial(b, z, fitted.LOG), half)


def log_special(b, x, value):
    """`value`, or the logarithm of x where that is 0, negative, infinite or nan."""
    value = b.select(x == math.inf, x, value)
    value = b.select(x == 0.0, b.of_type(-math.inf, x.type), value)
    return b.select(x >= 0.0, value, b.of_type(math.nan, x.type))


def log(b, x, lost=None):
    """log(x), or log(x + lost) of what rounding x lost."""
    e, f, half, rest = log_parts(b, x, lost)
    high, low = LN2[x.type.bits]
    return log_special(b, x, b.fma(e, high, f - (half - b.fma(e, low, rest))))


def _log_to_base(b, x, scale, of_two):
    """log(x) times `scale` (a pair), where log(2) becomes `of_two` (a pair whose first times an exponent is exact)."""
    e, f, half, rest = log_parts(b, x)
    near, lost = two_sum(b, f, rest - half)
    more = b.fma(near, scale[1], b.fma(lost, scale[0], e * of_two[1]))
    return log_special(b, x, b.fma(near, scale[0], b.fma(e, of_two[0], more)))


def log2(b, x):
    return _log_to_base(b, x, INVERSE_LN2[x.type.bits], (1.0, 0.0))


def log10(b, x):
    return _log_to_base(b, x, INVERSE_LN10[x.type.bits], LOG10_OF_2[x.type.bits])


def log1p(b, x):
    u = x + 1.0
    return b.select(u == 1.0, x, log(b, u, x - (u - 1.0)))


# ---- powers

def log_pair(b, x):
    """log(x) as a pair, good to 65 digits of 2, of positive float64 numbers."""
    e, f = split(b, x)
    u = f + 2.0
    s, s_low = quotient(b, f, b.of_type(0.0, x.type), u, f - (u - 2.0))
    z, lost = product(b, s, s)
    z_low = b.fma(s + s, s_low, lost)
    c, c_low = two_sum(b, b.of_type(THIRDS[0], x.type), z * polynomial(b, z, fitted.LOG_REST))
    v, lost = product(b, z, c)
    v_low = lost + b.fma(z, c_low + THIRDS[1], z_low * c)
    w, lost = product(b, s, v)
    w_low = lost + b.fma(s, v_low, s_low * v)
    near, near_low = two_sum(b, s + s, w)
    high, low = LN2[64]
    total, lost = two_sum(b, e * high, near)
    return total, lost + b.fma(e, low, near_low + (s_low + s_low + w_low))


def _power64(b, size, y):
    """size**y of positive numbers, but for 0 and infinity where |y log(size)| decides."""
    high, low = log_pair(b, size)
    high = b.select((size > 0.0) & (size < math.inf), high, log_special(b, size, high))
    p, lost = product(b, y, high)
    rest = b.fma(y, low, lost)
    n, high, low = exp_pair(b, _in_exponents(b, p), b.select(b.abs(p) < 800.0, rest, b.of_type(0.0, p.type)))
    return b.scale(high + low, n)


def _power32(b, size, y):
    """As _power64: the logarithm to base 2 and its product with y in float64, the rest in float32."""
    def exponent(b, e, f, y):
        inverse = b.convert(1.0 / (f + 2.0), f64)
        e, f, y = [b.convert(v, f64) for v in (e, f, y)]
        s = f * b.fma(inverse, b.fma(-inverse, f + 2.0, 1.0), inverse)  # one of Newton's steps
        z = s * s
        near = s * b.fma(z, polynomial(b, z, fitted.LOG[32]), 2.0)
        p = within(b, b.fma(near, 1 / math.log(2), e) * y, -160.0, 130.0)
        n = b.rint(p)
        return [b.convert(v, f32) for v in (n, (p - n) * math.log(2))]
    n, r = by_halves(b, exponent, *split(b, size), y)
    high, low = _exp_near_zero(b, r)
    infinite = log_special(b, size, size) * y
    power = b.select(infinite < 0.0, b.of_type(0.0, y.type), infinite)
    return b.select((size > 0.0) & (size < math.inf), b.scale(high + low, n), power)


def pow(b, x, y):
    """x**y with the special cases of C's pow."""
    size = b.abs(x)
    value = (_power32 if x.type.bits == 32 else _power64)(b, size, y)
    half = y * 0.5
    whole = b.trunc(y) == y
    value = b.select(whole & (b.trunc(half) != half), b.copysign(value, x), value)
    value = b.select((x < 0.0) & (size != math.inf) & ~whole, b.of_type(math.nan, x.type), value)
    return b.select((x == 1.0) | (y == 0.0) | (size == 1.0) & (b.abs(y) == math.inf), b.of_type(1.0, x.type), value)



# ---- remainders and lengths

def fmod(b, x, y):
    """What remains of x beyond whole multiples of y, with the sign of x; exact."""
    size, step = b.abs(x), b.abs(y)
    ratio = size / step
    rest = b.fma(-b.trunc(ratio), step, size, exact=True)
    rest = b.select(rest < 0.0, rest + step, b.select(rest >= step, rest - step, rest))
    rest = rarely(b, (ratio >= 2.0 ** EXPONENT_BIAS[x.type.bits][1]) & (size < math.inf), lambda: size % step, rest)
    return b.copysign(b.select((step == math.inf) & (size < math.inf), size, rest), x)


def hypot(b, x, y):
    """sqrt(x * x + y * y) without overflow; infinite where one is, though the other be nan."""
    x, y = b.abs(x), b.abs(y)
    larger, smaller = b.larger(x, y), b.smaller(x, y)
    third = 2.0 ** (EXPONENT_BIAS[x.type.bits][0] // 3)
    one = b.of_type(1.0, x.type)
    down = b.select(larger > third, one / third**2, b.select(larger < 1 / third, one * third**2, one))
    up = b.select(larger > third, one * third**2, b.select(larger < 1 / third, one / third**2, one))
    high, lost = product(b, larger * down, larger * down)
    more, more_lost = product(b, smaller * down, smaller * down)
    square, rest = two_sum(b, high, more)
    root = b.sqrt(square)
    step = (b.fma(-root, root, square, exact=True) + (rest + lost + more_lost)) / (root + root)
    value = b.select(root > 0.0, (root + step) * up, larger)
    value = b.select((x == math.inf) | (y == math.inf), b.of_type(math.inf, x.type), value)
    return b.select((x != x) | (y != y), b.select((x == math.inf) | (y == math.inf), value, x + y), value)
