"""Distributions over arrays: what the words of a `Generator` become, number for number as PyTorch draws them on x86-64.

Every `fill_*` function overwrites an array of any strides in the order of its elements in memory, in pieces that stay
in the processor's cache. Multiply-adds that PyTorch's vector code fuses are rounded once here too, and logarithms and
trigonometric functions of doubles are the C library's. Arguments are taken as checked; tensors are unknown here.
"""
from __future__ import annotations

import functools
import math

import numpy as np

PIECE = 16384  # elements drawn at once: a multiple of 16, the size of a block of normal samples
_LOW24, _LOW53 = np.uint32(0xFFFFFF), np.uint64((1 << 53) - 1)
_WIDE_RANGE = 1 << 28  # integer ranges from here on take 64 random bits instead of 32


# ---- order, conversion -----------------------------------------------------------------------------------------------

def _in_memory_order(array: np.ndarray) -> tuple[int, ...]:
    """The axes of `array` from the largest stride to the smallest."""
    strides = array.strides
    return tuple(sorted(range(array.ndim), key=lambda axis: -strides[axis]))


def _is_half(dtype: np.dtype) -> bool:
    return dtype.itemsize == 2 and dtype.kind in 'fV'


def _convert(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if _is_half(dtype):  # through float32, as a C++ conversion to a 16-bit float goes
        return values.astype(np.float32, copy=False).astype(dtype)
    if dtype.kind in 'iu' and values.dtype.kind == 'f':
        values = values.astype(np.int64)
    return values.astype(dtype, copy=False)


def _as_real(array: np.ndarray) -> np.ndarray:
    """A view of a complex array with a last axis for the real and the imaginary part; real arrays as they are."""
    if array.dtype.kind != 'c':
        return array
    real = array.real
    return np.lib.stride_tricks.as_strided(real, (*real.shape, 2), (*real.strides, real.itemsize))


def _fill(out: np.ndarray, draw, *operands: np.ndarray) -> None:
    """Overwrites `out` in memory order with `draw(count, *pieces of the operands)`, piece by piece."""
    if out.size == 0:
        return
    order = _in_memory_order(out)
    view = out.transpose(order)
    dense = view.flags.c_contiguous
    flat = view.reshape(-1) if dense else np.empty(out.size, out.dtype)
    operands = [np.broadcast_to(operand, out.shape).transpose(order).reshape(-1) for operand in operands]
    for start in range(0, flat.size, PIECE):
        piece = flat[start:start + PIECE]
        piece[...] = _convert(draw(piece.size, *[operand[start:start + PIECE] for operand in operands]), out.dtype)
    if not dense:
        view[...] = flat.reshape(view.shape)


# ---- arithmetic with the roundings of the reference --------------------------------------------------------------------

_PROBES = {'log': (1e-6, 1.0), 'log1p': (-1 + 1e-6, 0.0), 'exp': (-8.0, 8.0), 'sin': (0.0, 2 * math.pi),
           'cos': (0.0, 2 * math.pi), 'tan': (-1.57, 1.57)}


@functools.cache
def _c_library(name: str):
    """The C library's function of doubles `name` over arrays.

    NumPy's own vector code for some processors differs from it in the last bit of a few percent of the values; where
    a probe of 4096 shows that, the function is called element by element.
    """
    scalar, vectorised = getattr(math, name), getattr(np, name)

    def elementwise(x):
        return np.fromiter(map(scalar, x.ravel().tolist()), np.float64, x.size).reshape(x.shape)

    probe = np.linspace(*_PROBES[name], 4096)
    return vectorised if np.array_equal(vectorised(probe), elementwise(probe)) else elementwise


def _log(x: np.ndarray) -> np.ndarray:
    zero = x == 0.0
    if not zero.any():
        return _c_library('log')(x)
    return np.where(zero, -np.inf, _c_library('log')(np.where(zero, 1.0, x)))


def _exp(x: np.ndarray) -> np.ndarray:
    huge = x > 709.0  # where math.exp raises instead of giving infinity
    if not huge.any():
        return _c_library('exp')(x)
    return np.where(huge, np.exp(x), _c_library('exp')(np.where(huge, 0.0, x)))


def _two_sum(a, b):
    """a + b rounded, and what the rounding lost."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _sum_to_odd(a, b):
    """a + b where an inexact sum gets an odd last bit, so that a second rounding finds the right side."""
    total, lost = _two_sum(a, b)
    bits = total.view(np.int64)
    away = np.where((lost > 0) == (total > 0), 1, -1)
    return (bits + np.where((lost != 0) & (bits & 1 == 0), away, 0)).view(np.float64)


def _split(x):
    """x as the sum of two doubles of 26 bits (Veltkamp)."""
    scaled = x * 134217729.0
    high = scaled - (scaled - x)
    return high, x - high


def _fused_double(x, scale: float, shift: float):
    """x * scale + shift rounded once (Boldo and Melquiond, 2008)."""
    product = x * scale
    high, low = _split(x)
    scale_high, scale_low = _split(scale)
    lost = ((high * scale_high - product) + high * scale_low + low * scale_high) + low * scale_low
    u_high, u_low = _two_sum(np.float64(shift), lost)
    t_high, t_low = _two_sum(product, u_high)
    return t_high + _sum_to_odd(t_low, u_low)


def _fused(x: np.ndarray, scale: float, shift: float) -> np.ndarray:
    """x * scale + shift rounded once, in the dtype of x (float32 or float64), to which scale and shift were rounded."""
    if shift == 0.0 or math.frexp(scale)[0] in (0.5, 0.0):  # either the sum or the product is exact
        return x * x.dtype.type(scale) + x.dtype.type(shift)
    if x.dtype == np.float64:
        return _fused_double(x, scale, shift)
    product = x.astype(np.float64)
    product *= scale  # exact: 24 + 24 bits
    total = product + shift
    # Rounding to float32 goes wrong only where the double stands exactly between two floats without being exact.
    if ((total.view(np.int64) & 0x1FFFFFFF) == 0x10000000).any():
        total = _sum_to_odd(product, shift)
    return total.astype(np.float32)


# ---- the float32 block transform: Cephes' single-precision logarithm, sine and cosine ------------------------------------

_F = np.float32
_LOG = [float(_F(c)) for c in (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
    2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)]
_SIN = [float(_F(c)) for c in (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)]
_COS = [float(_F(c)) for c in (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)]
_MINUS_QUARTER_PI = [float(_F(c)) for c in (-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8)]


def _multiply_add(a, b, c) -> np.ndarray:
    """a * b + c in double, rounded to float32; one of a and b is double.

    For every one of the 2**24 uniform samples that can reach the polynomials below this equals a fused multiply-add
    (the double sum's own rounding never matters); `tests/test_random.py` compares a sample of them.
    """
    total = np.multiply(a, b)
    total += c
    return total.astype(np.float32)


def _horner(coefficients, x: np.ndarray) -> np.ndarray:
    y = coefficients[0]
    for coefficient in coefficients[1:]:
        y = _multiply_add(x, y, coefficient)
    return y


def _log_float(x: np.ndarray) -> np.ndarray:
    """log x of float32 x in (0, 1]."""
    mantissa, exponent = np.frexp(x)
    small = mantissa < _F(0.707106781186547524)
    exponent = exponent.astype(np.float32)
    exponent -= small
    m = mantissa - _F(1)
    m += np.where(small, mantissa, _F(0))
    z = m * m
    y = _horner(_LOG, m.astype(np.float64)) * m
    y = _multiply_add(y, z.astype(np.float64), exponent * _F(-2.12194440e-4))
    y = _multiply_add(z, -0.5, y.astype(np.float64))
    return _multiply_add(exponent.astype(np.float64), 0.693359375, m + y)


def _sine_cosine_float(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """sin x and cos x of float32 x in [0, 2 pi)."""
    octant = (x * _F(1.27323954473516)).astype(np.int32)
    octant += 1
    octant &= ~1
    wide = octant.astype(np.float64)
    for part in _MINUS_QUARTER_PI:
        x = _multiply_add(wide, part, x)
    z = x * x
    wide = z.astype(np.float64)
    cosine = _multiply_add(wide, _horner(_COS, wide) * z, z * _F(-0.5)) + _F(1)
    wide = x.astype(np.float64)
    sine = _multiply_add(wide, _horner(_SIN, z.astype(np.float64)) * z, x)
    swap = (octant & 2) != 0
    sine, cosine = np.where(swap, cosine, sine), np.where(swap, sine, cosine)
    np.negative(sine, out=sine, where=(octant & 4) != 0)
    np.negative(cosine, out=cosine, where=((octant - 2) & 4) == 0)
    return sine, cosine


def _box_muller(u: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Normal samples from uniform ones: in each block of 16 the first eight give radii and the last eight angles."""
    u = u.reshape(-1, 2, 8)
    ones, turns = 1 - u[:, 0], u[:, 1]
    if u.dtype == np.float32:
        radius = np.sqrt(_log_float(ones) * _F(-2))
        sine, cosine = _sine_cosine_float(turns * _F(2 * math.pi))
    else:
        radius = np.sqrt(_c_library('log')(ones) * -2.0)
        angle = turns * (2 * math.pi)
        sine, cosine = _c_library('sin')(angle), _c_library('cos')(angle)
    samples = np.empty_like(u)
    np.multiply(radius, cosine, out=samples[:, 0])
    np.multiply(radius, sine, out=samples[:, 1])
    return _fused(samples.reshape(-1), std, mean)


# ---- uniform and normal ------------------------------------------------------------------------------------------------

def _uniform_float(generator, count: int) -> np.ndarray:
    """float32 in [0, 1): the low 24 bits of a word."""
    words = generator.words(count)
    words &= _LOW24
    values = words.view(np.int32).astype(np.float32)
    values *= _F(2.0 ** -24)
    return values


def _uniform_double(generator, count: int) -> np.ndarray:
    """float64 in [0, 1): the low 53 bits of a 64-bit word."""
    words = generator.words64(count)
    words &= _LOW53
    values = words.view(np.int64).astype(np.float64)
    values *= 2.0 ** -53
    return values


def _working_type(dtype: np.dtype) -> tuple[type, object]:
    """The dtype in which uniform and block-normal samples of `dtype` are computed, and the uniform source in it."""
    return (np.float64, _uniform_double) if dtype == np.float64 else (np.float32, _uniform_float)


def _normal_double(generator, count: int, mean: float, std: float) -> np.ndarray:
    """Normal doubles by pairs; a sample left over by an earlier call comes first, one left over here is kept."""
    samples = np.empty(count + 2)
    filled = 0
    if generator.normal_sample is not None:
        samples[0] = generator.normal_sample
        generator.normal_sample = None
        filled = 1
    pairs = (count - filled + 1) // 2
    uniform = _uniform_double(generator, 2 * pairs)
    angle = uniform[0::2] * (2 * math.pi)
    radius = np.sqrt(_c_library('log1p')(-uniform[1::2]) * -2.0)
    np.multiply(radius, _c_library('cos')(angle), out=samples[filled:filled + 2 * pairs:2])
    np.multiply(radius, _c_library('sin')(angle), out=samples[filled + 1:filled + 1 + 2 * pairs:2])
    if filled + 2 * pairs > count:
        generator.normal_sample = float(samples[count])
    return _fused(samples[:count], std, mean)


def fill_uniform(generator, out: np.ndarray, low: float = 0.0, high: float = 1.0) -> None:
    """Uniform samples of [low, high); complex arrays get them for the real and the imaginary part."""
    out = _as_real(out)
    working, source = _working_type(out.dtype)
    bottom, top = working(low), working(high)
    span = float(top - bottom)
    standard = bottom == 0 and span == 1

    def draw(count):
        values = source(generator, count)
        if not standard:
            values = _fused(values, span, float(bottom))
        values = _convert(values, out.dtype)
        reached = values == limit
        if reached.any():  # rounded up to the excluded end
            values[reached] = first
        return values

    first, limit = np.array([low, high], working).astype(out.dtype)
    _fill(out, draw)


def fill_normal(generator, out: np.ndarray, mean: float = 0.0, std: float = 1.0) -> None:
    """Normal samples; in complex arrays each part has the standard deviation std / sqrt(2).

    C-contiguous arrays of 16 elements or more are drawn in blocks of 16, all others one by one in double precision.
    """
    if out.dtype.kind == 'c':
        out, std = _as_real(out), std / math.sqrt(2)
    if out.size < 16 or not out.flags.c_contiguous:
        return _fill(out, lambda count: _normal_double(generator, count, mean, std))
    working, source = _working_type(out.dtype)
    mean, std = float(working(mean)), float(working(std))
    flat, tail = out.reshape(-1), out.size % 16
    _fill(flat[:out.size - tail], lambda count: _box_muller(source(generator, count), mean, std))
    if tail:  # the last 16 elements are drawn anew, some for the second time
        if not _is_half(out.dtype):
            source(generator, tail)
        _fill(flat[-16:], lambda count: _box_muller(source(generator, count), mean, std))


# ---- integers ------------------------------------------------------------------------------------------------------------

def _remainder(words: np.ndarray, modulus: int) -> np.ndarray:
    modulus = words.dtype.type(modulus)  # a quotient by a scalar is much faster than a remainder
    return words - words // modulus * modulus


def fill_random_range(generator, out: np.ndarray, low: int, span: int) -> None:
    """Integers of [low, low + span), 1 <= span <= 2**64; the 64-bit sum wraps before it is converted."""

    def draw(count):
        if span < _WIDE_RANGE:
            values = _remainder(generator.words(count), span).astype(np.int64)
        elif span < 1 << 64:
            values = _remainder(generator.words64(count), span).view(np.int64)
        else:
            return generator.words64(count).view(np.int64)
        values += low
        return values

    _fill(out, draw)


def fill_random(generator, out: np.ndarray) -> None:
    """Integers of the whole range of non-negative values that the dtype of `out` holds exactly."""
    dtype = out.dtype
    if dtype == np.bool_:
        modulus = 2
    elif dtype.kind in 'iu':
        modulus = int(np.iinfo(dtype).max) + 1
    else:
        modulus = 2 ** {'float64': 53, 'float32': 24, 'float16': 11, 'bfloat16': 8}[dtype.name] + 1
    source = generator.words64 if dtype.itemsize == 8 else generator.words
    _fill(out, lambda count: _remainder(source(count), modulus).view(np.int64 if dtype.itemsize == 8 else np.int32))


def permutation(generator, n: int) -> np.ndarray:
    """A random order of 0 .. n-1 (int64)."""
    order = list(range(n))
    if n < (2 ** 32 - 1) // 20:
        for start in range(0, n - 1, PIECE):
            count = min(PIECE, n - 1 - start)
            steps = generator.words(count) % np.arange(n - start, n - start - count, -1, dtype=np.uint32)
            for i, step in enumerate(steps.tolist(), start):
                other = i + step
                order[i], order[other] = order[other], order[i]
        return np.array(order, np.int64)
    for start in range(0, n, PIECE):
        count = min(PIECE, n - start)
        places = generator.words64(count) % np.arange(start + 1, start + count + 1, dtype=np.uint64)
        for i, place in enumerate(places.tolist(), start):
            order[i] = order[place]
            order[place] = i
    return np.array(order, np.int64)


# ---- Bernoulli -------------------------------------------------------------------------------------------------------------

def fill_bernoulli(generator, out: np.ndarray, probability: float) -> None:
    """One with `probability`, else zero."""
    bound = np.uint64(math.ceil(probability * 2.0 ** 53))  # u * 2**-53 < p, compared as integers

    def draw(count):
        words = generator.words64(count)
        words &= _LOW53
        return words < bound

    _fill(out, draw)


def fill_bernoulli_each(generator, out: np.ndarray, probabilities: np.ndarray) -> None:
    """One with the probability at the same place of `probabilities`, which broadcasts to `out`, else zero."""
    if probabilities.dtype == np.float64:
        source = _uniform_double
    else:
        source, probabilities = _uniform_float, probabilities.astype(np.float32)
    _fill(out, lambda count, probability: source(generator, count) < probability, probabilities)


def bernoulli_mask(generator, like: np.ndarray, probability: float) -> np.ndarray:
    """Where to keep elements of `like`, each with `probability`: a bool array of its shape and memory layout."""
    mask = np.empty_like(like, np.bool_)
    fill_bernoulli(generator, mask, probability)
    return mask


# ---- transformed uniform and normal samples ----------------------------------------------------------------------------------

def fill_exponential(generator, out: np.ndarray, rate: float = 1.0) -> None:
    """Exponential samples of the given rate."""
    scale = -1.0 / rate
    _fill(out, lambda count: _c_library('log1p')(-_uniform_double(generator, count)) * scale)


def fill_geometric(generator, out: np.ndarray, probability: float) -> None:
    """How many trials it takes to the first success: 1, 2, 3 ..."""
    scale = math.log1p(-probability)
    _fill(out, lambda count: np.ceil(_log(_uniform_double(generator, count)) / scale))


def fill_cauchy(generator, out: np.ndarray, median: float = 0.0, sigma: float = 1.0) -> None:
    """Cauchy samples around `median` with half-width `sigma`."""

    def draw(count):
        return _fused(_c_library('tan')((_uniform_double(generator, count) - 0.5) * math.pi), sigma, median)

    _fill(out, draw)


def fill_log_normal(generator, out: np.ndarray, mean: float = 1.0, std: float = 2.0) -> None:
    """The exponential of normal samples."""
    _fill(out, lambda count: _exp(_normal_double(generator, count, mean, std)))


# ---- discrete choice -----------------------------------------------------------------------------------------------------------

def multinomial(generator, weights: np.ndarray, count: int, replacement: bool) -> np.ndarray:
    """Indices (int64, one row of `count` for each row of `weights`) drawn in proportion to the weights."""
    if count > 1 and replacement:
        return _multinomial_with_replacement(generator, weights, count)
    scores = np.empty_like(weights)
    fill_exponential(generator, scores)
    with np.errstate(divide='ignore', invalid='ignore'):
        np.divide(weights, scores, out=scores)
    if count == 1:
        return scores.argmax(-1, keepdims=True)
    return np.argsort(-scores, -1, kind='stable')[:, :count]


def _multinomial_with_replacement(generator, weights, count):
    working = weights.astype(np.float32) if _is_half(weights.dtype) else weights
    cumulative = np.cumsum(working, -1, dtype=working.dtype)
    cumulative /= cumulative[:, -1:].copy()
    cumulative[:, -1] = 1
    samples = np.empty((len(weights), count), np.int64)
    for row, bounds in enumerate(cumulative.astype(np.float64)):
        samples[row] = np.searchsorted(bounds, _uniform_double(generator, count))
    return samples


# ---- distributions by rejection: one element after the other ----------------------------------------------------------------------

def poisson(generator, rate: float) -> float:
    """One Poisson sample: a product of uniforms below rate 10, else transformed rejection (Hoermann, 1993)."""
    if rate == 0:
        return 0.0
    uniform = generator.uniform
    if rate < 10:
        bound, successes, product = math.exp(-rate), 0, uniform()
        while product > bound:
            successes += 1
            product *= uniform()
        return float(successes)
    log_rate = math.log(rate)
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2)
    while True:
        u = uniform() - 0.5
        v = uniform()
        us = 0.5 - abs(u)
        if us == 0.0:  # u is -1/2: the proposal is at minus infinity
            continue
        k = math.floor((2 * a / us + b) * u + rate + 0.43)
        if us >= 0.07 and v <= v_r:
            return float(k)
        if k < 0 or (us < 0.013 and v > us):
            continue
        if v == 0.0 or (math.log(v) + math.log(inverse_alpha) - math.log(a / (us * us) + b)
                        <= -rate + k * log_rate - math.lgamma(k + 1)):
            return float(k)


def standard_gamma(generator, alpha) -> float:
    """One gamma sample of unit rate (Marsaglia and Tsang, 2000); `alpha` is a NumPy scalar, whose precision counts."""
    kind = type(alpha)
    scale = 1.0
    if alpha < 1:
        if alpha == 0:
            return 0.0
        scale = (1 - generator.uniform()) ** float(kind(1) / alpha)
        alpha = alpha + kind(1)
    d = float(alpha - kind(_F(1) / _F(3)))
    c = 1.0 / math.sqrt(9.0 * d)
    squeeze = float(_F(0.0331))
    while True:
        x = generator.normal()
        y = 1.0 + c * x
        if y <= 0:
            continue
        v = y * y * y
        u = 1 - generator.uniform()
        square = x * x
        if u < 1.0 - squeeze * square * square or math.log(u) < 0.5 * square + d * (1.0 - v + math.log(v)):
            return scale * d * v


_STIRLING_TAIL = (0.0810614667953272, 0.0413406959554092, 0.0276779256849983, 0.02079067210376509, 0.0166446911898211,
                  0.0138761288230707, 0.0118967099458917, 0.0104112652619720, 0.00925546218271273, 0.00833056343336287)


def _stirling_tail(k: float) -> float:
    """What Stirling's approximation of log k! leaves over."""
    if k < len(_STIRLING_TAIL):
        return _STIRLING_TAIL[int(k)]
    square = (k + 1) * (k + 1)
    return (1.0 / 12 - (1.0 / 360 - 1.0 / 1260 / square) / square) / (k + 1)


def binomial(generator, count, probability):
    """One binomial sample; `count` and `probability` are NumPy scalars of one dtype, whose precision counts."""
    kind = type(count)
    if count <= 0 or probability <= 0:
        return kind(0)
    if probability >= 1:
        return count
    if probability != probability:
        return probability
    mirrored = probability > 0.5
    smaller = kind(1) - probability if mirrored else probability
    sample = _binomial_rejection if float(count * smaller) >= 10 else _binomial_inversion
    successes = kind(sample(generator, count, smaller))
    return count - successes if mirrored else successes


def _binomial_inversion(generator, count, probability):
    log_failure = math.log1p(-float(probability))
    count, total, successes = float(count), 0.0, 0
    while True:
        u = generator.uniform()
        total += math.ceil(math.log(u) / log_failure) if u else math.inf
        if total > count:
            return successes
        successes += 1


def _binomial_rejection(generator, count, probability):
    """BTRS: transformed rejection with squeeze (Hoermann, 1993)."""
    one = type(count)(1)
    n, p = float(count), float(probability)
    stddev = float(np.sqrt(count * probability * (one - probability)))
    b = 1.15 + 2.53 * stddev
    a = -0.0873 + 0.0248 * b + 0.01 * p
    c = float(count * probability) + 0.5
    v_r = 0.92 - 4.2 / b
    odds = float(probability / (one - probability))
    alpha = (2.83 + 5.1 / b) * stddev
    m = float(np.floor((count + one) * probability))
    while True:
        u = generator.uniform() - 0.5
        v = generator.uniform()
        us = 0.5 - abs(u)
        if us == 0.0:
            continue
        k = float(type(count)(math.floor((2 * a / us + b) * u + c)))
        if k < 0 or k > n:
            continue
        if us >= 0.07 and v <= v_r:
            return k
        beyond_k, above_k = float(count - type(count)(k) + one), float(type(count)(k) + one)
        bound = ((m + 0.5) * math.log((m + 1) / (odds * (n - m + 1)))
                 + float(count + one) * math.log((n - m + 1) / beyond_k)
                 + (k + 0.5) * math.log(odds * beyond_k / above_k)
                 + _stirling_tail(m) + _stirling_tail(n - m) - _stirling_tail(k) - _stirling_tail(n - k))
        if v == 0.0 or math.log(v * alpha / (a / (us * us) + b)) <= bound:
            return k
