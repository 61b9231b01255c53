"""Distributions over arrays: what the words of a `Generator` become, number for number as PyTorch draws them on x86-64.

Every `fill_*` function overwrites an array of any strides in the order of its elements in memory, by a generated kernel
or, with the same result, in pieces that stay in the processor's cache. Multiply-adds that PyTorch's vector code fuses
are rounded once here too, and logarithms and trigonometric functions of doubles are the C library's. Arguments are
taken as checked; tensors are unknown here.
"""
from __future__ import annotations

import functools
import math

import numpy as np

from ..kernel import cephes
from ..storage import dense_like
from .reference import REFERENCE

DRIVERS = REFERENCE.drivers
PIECE = 32768  # elements drawn at once: a multiple of 16, the size of a block of normal samples
_LOW24, _LOW53 = np.array(0xFFFFFF, np.uint32), np.array((1 << 53) - 1, np.uint64)
_ULP24, _ULP53 = np.array(2.0 ** -24, np.float32), np.array(2.0 ** -53)
_WIDE_RANGE = 1 << 28  # integer ranges from here on take 64 random bits instead of 32


# ---- order, conversion ---------------------------------------------------------------------------

def _in_memory_order(array: np.ndarray) -> tuple[int, ...]:
    """The axes of `array` from the largest stride to the smallest."""
    strides = array.strides
    return tuple(sorted(range(array.ndim), key=lambda axis: -strides[axis]))


def _is_half(dtype: np.dtype) -> bool:
    return dtype.itemsize == 2 and dtype.kind in 'fV'


def converted(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`values` in another dtype, as C++ converts them."""
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
    view = out
    if not out.flags.c_contiguous:
        view = out.transpose(_in_memory_order(out))
        if operands:
            operands = [np.broadcast_to(operand, out.shape).transpose(_in_memory_order(out)) for operand in operands]
    dense = view.flags.c_contiguous
    flat = view.reshape(-1) if dense else np.empty(out.size, out.dtype)
    operands = [np.broadcast_to(operand, view.shape).reshape(-1) for operand in operands]
    for start in range(0, flat.size, PIECE):
        piece = flat[start:start + PIECE]
        piece[...] = converted(draw(piece.size, *[operand[start:start + PIECE] for operand in operands]), out.dtype)
    if not dense:
        view[...] = flat.reshape(view.shape)


def _by_kernel(name: str, generator, out: np.ndarray, *arguments) -> bool:
    """Whether the kernel `name` has overwritten `out` in memory order; arrays among the arguments broadcast to it."""
    if out.flags.c_contiguous:
        return DRIVERS[name](out, generator, *arguments) is not None
    order = _in_memory_order(out)
    view = out.transpose(order)
    arguments = [np.broadcast_to(x, out.shape).transpose(order) if isinstance(x, np.ndarray) else x for x in arguments]
    made = DRIVERS[name](view if view.flags.c_contiguous else np.empty(view.shape, view.dtype), generator, *arguments)
    if made is not None and made is not view:
        view[...] = made
    return made is not None


# ---- arithmetic with the roundings of the reference ----------------------------------------------

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


# ---- the float32 block transform: Cephes' single-precision logarithm, sine and cosine ------------

# Constants are 0-d arrays, which NumPy takes faster than Python's numbers.
_F = np.float32


def _rounded_to_float(*coefficients):
    return [np.array(_F(c), np.float64) for c in coefficients]


def _integers(*values):
    return [np.array(value, np.int32) for value in values]


_LOG, _SIN, _COS = (_rounded_to_float(*reversed(c)) for c in (cephes.LOG, cephes.SINE, cephes.COSINE))
_LOG2_LOW, _LOG2_HIGH, _MINUS_HALF = _rounded_to_float(cephes.LOG2_LOW, cephes.LOG2_HIGH, -0.5)
_MINUS_QUARTER_PI = _rounded_to_float(*cephes.MINUS_QUARTER_PI)
_OCTANTS_PER_RADIAN, _TWO_PI = np.array(_F(cephes.OCTANTS_PER_RADIAN)), np.array(_F(2 * math.pi))
_ONE, _MINUS_HALF_FLOAT, _MINUS_TWO = np.array(_F(1)), np.array(_F(-0.5)), np.array(_F(-2))
_SQRT_HALF_BITS = np.array(cephes.SQRT_HALF_BITS, np.int32)
_I1, _I2, _I4, _EVEN, _MANTISSA_BITS, _SIGN_SHIFT, _BIT1_TO_TOP, _ALL = _integers(1, 2, 4, ~1, 23, 29, 30, 31)


def _multiply_add(a, b, c) -> np.ndarray:
    """a * b + c computed in double and rounded to float32; a or b is double.

    For each of the 2**24 uniform samples that can reach the polynomials below this equals a fused multiply-add: the
    rounding of the double sum never moves the float.
    """
    total = np.multiply(a, b)
    np.add(total, c, out=total)
    return total.astype(np.float32)


def _horner(coefficients, x: np.ndarray) -> np.ndarray:
    y = coefficients[0]
    for coefficient in coefficients[1:]:
        y = _multiply_add(x, y, coefficient)
    return y


def _log_float(x: np.ndarray) -> np.ndarray:
    """log x of float32 x in [2**-24, 1]."""
    bits = x.view(np.int32)
    exponent = np.subtract(bits, _SQRT_HALF_BITS)
    np.right_shift(exponent, _MANTISSA_BITS, out=exponent)
    m = np.subtract(bits, np.left_shift(exponent, _MANTISSA_BITS)).view(np.float32)  # x = m * 2**exponent
    np.subtract(m, _ONE, out=m)
    exponent = exponent.astype(np.float64)
    wide = m.astype(np.float64)
    y = _horner(_LOG, wide)
    np.multiply(y, m, out=y)
    z = np.multiply(m, m).astype(np.float64)
    y = _multiply_add(z, y, np.multiply(exponent, _LOG2_LOW).astype(np.float32))
    y = _multiply_add(z, _MINUS_HALF, y)
    np.add(y, m, out=y)
    return _multiply_add(exponent, _LOG2_HIGH, y)


def _sine_cosine_float(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """sin x and cos x of float32 x in [0, 2 pi)."""
    octant = np.multiply(x, _OCTANTS_PER_RADIAN).astype(np.int32)
    np.add(octant, _I1, out=octant)
    np.bitwise_and(octant, _EVEN, out=octant)
    wide = octant.astype(np.float64)
    for part in _MINUS_QUARTER_PI:
        x = _multiply_add(wide, part, x)
    z = np.multiply(x, x)
    wide = z.astype(np.float64)
    sine, cosine = _horner(_SIN, wide), _horner(_COS, wide)
    np.multiply(sine, z, out=sine)
    np.multiply(cosine, z, out=cosine)
    sine = _multiply_add(x.astype(np.float64), sine, x)
    cosine = _multiply_add(wide, cosine, np.multiply(z, _MINUS_HALF_FLOAT))
    np.add(cosine, _ONE, out=cosine)
    _turn(octant, sine.view(np.int32), cosine.view(np.int32))
    return sine, cosine


def _turn(octant, sine, cosine) -> None:
    """Exchanges the bits of sine and cosine, and sets their signs, as the angle's octant (an even number) asks."""
    exchange = np.left_shift(octant, _BIT1_TO_TOP)
    np.right_shift(exchange, _ALL, out=exchange)  # all bits set where bit 1 of the octant is
    np.bitwise_and(exchange, np.bitwise_xor(sine, cosine), out=exchange)
    np.bitwise_xor(sine, exchange, out=sine)
    np.bitwise_xor(cosine, exchange, out=cosine)
    for values, start in ((sine, octant), (cosine, np.add(octant, _I2))):
        sign = np.bitwise_and(start, _I4)
        np.left_shift(sign, _SIGN_SHIFT, out=sign)
        np.bitwise_xor(values, sign, out=values)


def _box_muller(u: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Normal samples from uniform ones: in each block of 16 the first eight give radii and the last eight angles."""
    octet = f'V{8 * u.itemsize}'
    blocks = u.view(octet)
    first, second = blocks[0::2].copy().view(u.dtype), blocks[1::2].copy().view(u.dtype)
    if u.dtype == np.float32:
        radius = _log_float(np.subtract(_ONE, first))
        np.multiply(radius, _MINUS_TWO, out=radius)
        sine, cosine = _sine_cosine_float(np.multiply(second, _TWO_PI))
    else:
        radius = _c_library('log')(1.0 - first) * -2.0
        angle = second * (2 * math.pi)
        sine, cosine = _c_library('sin')(angle), _c_library('cos')(angle)
    np.sqrt(radius, out=radius)
    np.multiply(radius, cosine, out=cosine)
    np.multiply(radius, sine, out=sine)
    blocks[0::2] = cosine.view(octet)
    blocks[1::2] = sine.view(octet)
    return _fused(u, std, mean)


# ---- uniform and normal --------------------------------------------------------------------------

def _uniform_float(generator, count: int) -> np.ndarray:
    """float32 in [0, 1): the low 24 bits of a word."""
    words = generator.words(count)
    np.bitwise_and(words, _LOW24, out=words)
    values = words.view(np.int32).astype(np.float32)
    return np.multiply(values, _ULP24, out=values)


def _uniform_double(generator, count: int) -> np.ndarray:
    """float64 in [0, 1): the low 53 bits of a 64-bit word."""
    words = generator.words64(count)
    np.bitwise_and(words, _LOW53, out=words)
    values = words.view(np.int64).astype(np.float64)
    return np.multiply(values, _ULP53, out=values)


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
    if out.flags.c_contiguous and DRIVERS['random.uniform'](out, generator, low, high) is not None:
        return
    if out.dtype.kind == 'c':
        return fill_uniform(generator, _as_real(out), low, high)
    if _by_kernel('random.uniform', generator, out, low, high):
        return
    working, source = _working_type(out.dtype)
    if low == 0 and high == 1 and not _is_half(out.dtype):
        return _fill(out, lambda count: source(generator, count))
    bottom = float(working(low))
    span = float(working(high) - working(low))

    def draw(count):
        values = converted(_fused(source(generator, count), span, bottom), out.dtype)
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
    in_order = out.flags.c_contiguous
    if in_order and DRIVERS['random.normal'](out, generator, mean, std) is not None:
        return
    if out.dtype.kind == 'c':
        return fill_normal(generator, _as_real(out), mean, std / math.sqrt(2))
    if not in_order and _by_kernel('random.normals', generator, out, mean, std):
        return
    if out.size < 16 or not in_order:
        return _fill(out, lambda count: _normal_double(generator, count, mean, std))
    working, source = _working_type(out.dtype)
    mean, std = float(working(mean)), float(working(std))
    flat, tail = out.reshape(-1), out.size % 16
    _fill(flat[:out.size - tail], lambda count: _box_muller(source(generator, count), mean, std))
    if tail:  # the last 16 elements are drawn anew, some for the second time
        if not _is_half(out.dtype):
            source(generator, tail)
        _fill(flat[-16:], lambda count: _box_muller(source(generator, count), mean, std))


def leaks(generator, count: int, lower: float, upper: float) -> np.ndarray:
    """Slopes (float64) of a randomized leaky ReLU, uniform between the bounds."""
    return _uniform_doubles(generator, count) * (upper - lower) + lower


def _uniform_doubles(generator, count):
    values = np.empty(count)
    fill_uniform(generator, values)
    return values


# ---- integers ------------------------------------------------------------------------------------

def _remainder(words: np.ndarray, modulus: int) -> np.ndarray:
    modulus = words.dtype.type(modulus)  # a quotient by a scalar is much faster than a remainder
    return words - words // modulus * modulus


def fill_random_range(generator, out: np.ndarray, low: int, span: int) -> None:
    """Integers of [low, low + span), 1 <= span <= 2**64; the 64-bit sum wraps before it is converted."""
    if _by_kernel('random.integers', generator, out, low, span, span >= _WIDE_RANGE):
        return

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
    if _by_kernel('random.integers', generator, out, 0, modulus, dtype.itemsize == 8):
        return
    source = generator.words64 if dtype.itemsize == 8 else generator.words
    _fill(out, lambda count: _remainder(source(count), modulus).view(np.int64 if dtype.itemsize == 8 else np.int32))


def permutation(generator, n: int) -> np.ndarray:
    """A random order of 0 .. n-1 (int64): Fisher and Yates' shuffle, from 32-bit words or, for huge n, 64-bit ones."""
    if n < (2 ** 32 - 1) // 20:
        order = np.empty(n, np.int64)
        if _by_kernel('random.permutation', generator, order):
            return order
        steps = generator.words(max(n - 1, 0)) % np.arange(n, 1, -1, dtype=np.uint32)
        return _swap_in_turn(steps.astype(np.int64) + np.arange(len(steps)), n)
    order = np.empty(n, np.int64)
    for start in range(0, n, PIECE):
        count = min(PIECE, n - start)
        places = generator.words64(count) % np.arange(start + 1, start + count + 1, dtype=np.uint64)
        for i, place in enumerate(places.tolist(), start):
            order[i] = order[place]
            order[place] = i
    return order


def _swap_in_turn(partners: np.ndarray, n: int) -> np.ndarray:
    """0 .. n-1 after swapping places i and partners[i] >= i for each i in turn, without a loop over i.

    Place i is final once swap i is done: it holds what its partner's place held, which is what the last earlier swap
    with that partner put there, namely the content of its own place, and so on down a chain that ends at a place
    nobody had touched. Following all chains at once by doubling takes a few steps.
    """
    swaps = np.arange(len(partners))
    ordered = np.sort(partners << 32 | swaps)  # by partner, then by time
    place, swap = ordered >> 32, ordered & 0xFFFFFFFF
    repeated = place[1:] == place[:-1]
    earlier = np.full(n, -1)  # the last earlier swap with the same partner
    earlier[swap[1:][repeated]] = swap[:-1][repeated]
    final = np.append(~repeated, True)[:len(place)]
    place, swap = place[final], swap[final]
    swap = np.where(swap == place, earlier[swap], swap)  # a swap of a place with itself brings nothing new
    origin = np.arange(n)  # before its own swap, place i holds what place origin[i] held before its own
    origin[place[swap >= 0]] = swap[swap >= 0]
    while not np.array_equal(further := origin[origin], origin):
        origin = further
    before = earlier[:len(partners)]
    order = origin.copy()  # right for the last place, which has no swap of its own
    order[:len(partners)] = np.where(before >= 0, origin[before], partners)
    return order


# ---- Bernoulli -----------------------------------------------------------------------------------

def fill_bernoulli(generator, out: np.ndarray, probability: float) -> None:
    """One with `probability`, else zero."""
    bound = math.ceil(probability * 2.0 ** 53)  # u * 2**-53 < p, compared as integers
    if _by_kernel('random.successes', generator, out, bound):
        return
    bound = np.uint64(bound)

    def draw(count):
        words = generator.words64(count)
        words &= _LOW53
        return words < bound

    _fill(out, draw)


def fill_bernoulli_each(generator, out: np.ndarray, probabilities: np.ndarray) -> None:
    """One with the probability at the same place of `probabilities`, which broadcasts to `out`, else zero."""
    each = probabilities if probabilities.shape == out.shape else np.broadcast_to(probabilities, out.shape)
    if _by_kernel('random.successes_each', generator, out, each):
        return
    if probabilities.dtype == np.float64:
        source = _uniform_double
    else:
        source, probabilities = _uniform_float, probabilities.astype(np.float32)
    _fill(out, lambda count, probability: source(generator, count) < probability, probabilities)


def bernoulli_mask(generator, like: np.ndarray, probability: float) -> np.ndarray:
    """Where to keep elements of `like`, each with `probability`: a bool array of its shape and memory layout."""
    mask = dense_like(like, np.bool_)
    fill_bernoulli(generator, mask, probability)
    return mask


# ---- transformed uniform and normal samples ------------------------------------------------------

def fill_exponential(generator, out: np.ndarray, rate: float = 1.0) -> None:
    """Exponential samples of the given rate."""
    scale = -1.0 / rate
    if _by_kernel('random.transformed', generator, out, 'exponential', scale):
        return
    exact = _c_library('log1p')

    def draw(count):
        uniform = np.negative(_uniform_double(generator, count))
        if out.dtype == np.float64:
            return exact(uniform) * scale
        values = np.log1p(uniform) * scale  # the last bits of a double matter only between two floats
        doubtful = np.abs((values.view(np.int64) & 0x1FFFFFFF) - 0x10000000) < 64
        if doubtful.any():
            values[doubtful] = exact(uniform[doubtful]) * scale
        return values

    _fill(out, draw)


def fill_geometric(generator, out: np.ndarray, probability: float) -> None:
    """How many trials it takes to the first success: 1, 2, 3 ..."""
    scale = math.log1p(-probability)
    if _by_kernel('random.transformed', generator, out, 'geometric', scale):
        return
    _fill(out, lambda count: np.ceil(_log(_uniform_double(generator, count)) / scale))


def fill_cauchy(generator, out: np.ndarray, median: float = 0.0, sigma: float = 1.0) -> None:
    """Cauchy samples around `median` with half-width `sigma`."""
    if _by_kernel('random.transformed', generator, out, 'cauchy', sigma, median):
        return

    def draw(count):
        return _fused(_c_library('tan')((_uniform_double(generator, count) - 0.5) * math.pi), sigma, median)

    _fill(out, draw)


def fill_log_normal(generator, out: np.ndarray, mean: float = 1.0, std: float = 2.0) -> None:
    """The exponential of normal samples."""
    if _by_kernel('random.normals', generator, out, mean, std, True):
        return
    _fill(out, lambda count: _exp(_normal_double(generator, count, mean, std)))


# ---- discrete choice -----------------------------------------------------------------------------

def multinomial(generator, weights: np.ndarray, count: int, replacement: bool) -> np.ndarray:
    """Indices (int64, one row of `count` for each row of `weights`) drawn in proportion to the weights."""
    if count > 1 and replacement:
        return _multinomial_with_replacement(generator, weights, count)
    scores = dense_like(weights, weights.dtype)
    fill_exponential(generator, scores)
    with np.errstate(divide='ignore', invalid='ignore'):
        np.divide(weights, scores, out=scores)
    if count == 1:
        return scores.argmax(-1, keepdims=True)
    order = REFERENCE.kernel('sorting.order', scores, -1, True)
    return (np.argsort(-scores, -1, kind='stable') if order is None else order)[:, :count].copy()


def _multinomial_with_replacement(generator, weights, count):
    working = weights.astype(np.float32) if _is_half(weights.dtype) else weights
    cumulative = np.cumsum(working, -1, dtype=working.dtype)
    cumulative /= cumulative[:, -1:].copy()
    cumulative[:, -1] = 1
    samples = np.empty((len(weights), count), np.int64)
    for row, bounds in enumerate(cumulative.astype(np.float64)):
        if not _by_kernel('random.categories', generator, samples[row], bounds):
            samples[row] = np.searchsorted(bounds, _uniform_doubles(generator, count))
    return samples


# ---- distributions by rejection: one element after the other -------------------------------------

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
