"""Mathematical functions in the kernel language: polynomials after a reduction of the argument, exact at the special values.

Each takes the builder and float32 or float64 values of any number of lanes. The reductions follow Cody and Waite (1980) and
W. J. Cody's and the FreeBSD mathematical library's well-known forms; series are Taylor's where those converge fast enough, and
else polynomials through Chebyshev nodes, computed with 40 digits. docs/accuracy.md has the errors found. Knows no operation.
"""
from __future__ import annotations

import math

from .types import Type

__all__ = ['exp', 'expm1', 'log', 'log1p', 'log2', 'tanh', 'sigmoid', 'erf']

LN2 = {32: (0.693145751953125, 1.428606765330187e-06), 64: (0.6931471803691238, 1.9082149292705877e-10)}  # high, low part
EXPONENT_BIAS = {32: (127, 23), 64: (1023, 52)}
# erf(x) / x in x * x for |x| < 1; relative error 1.3e-9 and 4e-23
ERF_SMALL = {
    32: (1.1283791658483509, -0.37612626666720334, 0.11283594715160218, -0.026854212010626412, 0.005189087423433974,
         -0.000801686428716587, 7.875875062685488e-05),
    64: (1.1283791670955126, -0.37612638903183754, 0.11283791670955126, -0.026866170645131218, 0.005223977625441674,
         -0.0008548327023403001, 0.00012055332978879483, -1.4925650236967501e-05, 1.6462110782018636e-06,
         -1.636576864883207e-07, 1.4806027146128752e-08, -1.2277734486795524e-09, 9.323723518153027e-11,
         -6.1967364287877e-12, 2.8067128195611264e-13)}
# (1 - erf(x)) * exp(x * x) / t in t = 1 / (x + 1) for x from 1 to where erf is 1; relative error 8e-10 and 4.5e-19
ERF_TAIL = {
    32: (0.5640554853900731, 0.5679986854026592, 0.23552295782644583, 0.03482574581399346, -1.9853781287093846,
         2.774275772037193, -0.927575673274842, -0.8436073813148485, 0.6022232755502509),
    64: (0.5641895709529842, 0.5641906235480012, 0.2820542840576056, -0.2811054461210583, -0.7222233615771617,
         0.0767331224542913, -0.5388858312840041, 19.00782882974776, -110.32061488338715, 528.8959468644946,
         -2201.7842723530966, 7257.2132775762075, -18423.763349938163, 36148.168861158294, -55080.47743248767,
         64979.90804522547, -58495.09671505495, 38977.139330911225, -18167.32612461385, 5298.011774464923,
         -728.5880544034463)}


def polynomial(b, x, coefficients):
    """The sum of coefficients[k] * x**k, by Horner's rule."""
    value = b.of_type(coefficients[-1], x.type)
    for c in reversed(coefficients[:-1]):
        value = b.fma(value, x, c)
    return value


def _reduced(b, x):
    """(n, r): x = n * ln 2 + r with whole n and |r| at most ln(2) / 2."""
    high, low = LN2[x.type.bits]
    n = b.rint(x * (1 / math.log(2)))
    return n, b.fma(n, -low, b.fma(n, -high, x))


def _exp_tail(b, r):
    """(e**r - 1 - r) / r**2."""
    terms = 6 if r.type.bits == 32 else 12
    return polynomial(b, r, [1 / math.factorial(k + 2) for k in range(terms)])


def _within(b, x, low, high):
    """x limited to a range; nan stays."""
    return b.larger(b.of_type(low, x.type), b.smaller(b.of_type(high, x.type), x))


def exp(b, x):
    x = _within(b, x, -110.0, 95.0) if x.type.bits == 32 else _within(b, x, -760.0, 720.0)
    n, r = _reduced(b, x)
    return b.scale(b.fma(r * r, _exp_tail(b, r), r) + 1.0, n)


def expm1(b, x):
    limited = _within(b, x, -110.0, 95.0) if x.type.bits == 32 else _within(b, x, -760.0, 720.0)
    n, r = _reduced(b, limited)
    small = b.fma(r * r, _exp_tail(b, r), r)
    one = b.of_type(1.0, x.type)
    power = b.scale(one, b.smaller(n, b.of_type(100.0, x.type)))
    value = b.select(n > 60.0, b.scale(small + 1.0, n), b.fma(small, power, power - 1.0))
    return b.select(x == 0.0, x, value)


def _split(b, x):
    """(e, f): positive x = (1 + f) * 2**e with 1 + f between the roots of 1/2 and 2; e as a float. Denormals too."""
    bits = x.type.bits
    bias, fraction = EXPONENT_BIAS[bits]
    integer = Type('i', bits).like(x.type)
    tiny = x < 2.0 ** (1 - bias)
    shift = 2 * fraction // 2 + 2
    whole = b.bitcast(b.select(tiny, x * 2.0 ** shift, x), integer)
    root = 0x3f3504f3 if bits == 32 else 0x3fe6a09e667f3bcd
    e = (whole - root) >> fraction
    f = b.bitcast(whole - (e << fraction), x.type) - 1.0
    e = b.convert(e, x.type)
    return b.select(tiny, e - float(shift), e), f


def _log_parts(b, x):
    """(e, f, half square, rest): log(x) = e * ln 2 + f - (half square - rest)."""
    e, f = _split(b, x)
    s = f / (f + 2.0)
    z = s * s
    terms = 5 if x.type.bits == 32 else 11
    series = z * polynomial(b, z, [2 / (2 * k + 3) for k in range(terms)])
    half = f * f * 0.5
    return e, f, half, s * (half + series)


def _log_special(b, x, value):
    value = b.select(x == math.inf, x, value)
    value = b.select(x == 0.0, b.of_type(-math.inf, x.type), value)
    return b.select(x >= 0.0, value, b.of_type(math.nan, x.type))


def log(b, x):
    e, f, half, rest = _log_parts(b, x)
    high, low = LN2[x.type.bits]
    return _log_special(b, x, b.fma(e, high, f - (half - b.fma(e, low, rest))))


def log2(b, x):
    e, f, half, rest = _log_parts(b, x)
    scale = 1 / math.log(2)
    return _log_special(b, x, b.fma(f - (half - rest), scale, e))


def log1p(b, x):
    u = x + 1.0
    value = log(b, u) + (x - (u - 1.0)) / u
    value = b.select(u == math.inf, u, value)
    value = b.select(u == 0.0, b.of_type(-math.inf, x.type), value)
    return b.select(u == 1.0, x, value)


def tanh(b, x):
    doubled = expm1(b, b.smaller(b.of_type(20.0, x.type), b.abs(x)) * 2.0)
    return b.copysign(doubled / (doubled + 2.0), x)


def sigmoid(b, x):
    z = exp(b, -b.abs(x))
    return b.select(x < 0.0, z, b.of_type(1.0, x.type)) / (z + 1.0)


def erf(b, x):
    size = b.abs(x)
    first, *others = ERF_SMALL[x.type.bits]
    small = b.fma(x, polynomial(b, x * x, (first - 1.0, *others)), x)  # x itself is exact
    limit = 4.2 if x.type.bits == 32 else 6.2
    far = b.smaller(b.of_type(limit, x.type), size)
    t = 1.0 / (far + 1.0)
    tail = 1.0 - exp(b, -(far * far)) * t * polynomial(b, t, ERF_TAIL[x.type.bits])
    return b.select(size < 1.0, small, b.copysign(tail, x))
