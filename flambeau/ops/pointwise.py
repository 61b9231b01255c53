"""Elementwise operations of several operands, and those on complex parts: where, clamp, lerp, addcmul, polar and
others.
"""
from __future__ import annotations

import functools
import math
import sys

import numpy as np

from .. import dtypes
from ..autograd.graph import count_write, note_write
from ..errors import ArgumentTypeError, require_tensors
from ..tensor import Tensor, wrap
from .arithmetic import conjugated
from .definition import OPERATIONS, PUBLIC, elementwise, export, opaque, primitive
from .general import NUMBERS, refuse_shapes
from .overriding import answered, override
from .promotion import DIRECT_SCALARS, converted_number, result_dtype, to_array
from .reference import LARGE, REFERENCE
from .writing import change, overwritten, rewritten, unrecorded

__all__ = ['where', 'clamp', 'lerp', 'addcmul', 'addcdiv', 'nan_to_num']


OPERANDS = {Tensor, float, int, bool}


# ---- choosing

@elementwise(name='_where', namespace='', method=False, number_first=True, label='WhereBackward0',
             promote=('input', 'other'), grad={'input': lambda m, g, condition: m.where(condition, g, m.zeros_like(g)),
                   'other': lambda m, g, condition: m.where(condition, m.zeros_like(g), g)})
def _where(m, condition, input, other):
    return m.where(condition, input, other)


@export(asks=False)
def where(condition, input=None, other=None, *, out=None):
    """`input` where the condition holds, `other` elsewhere; with the condition alone, the coordinates where it holds.
    """
    if condition.__class__ is Tensor and condition._array.dtype.kind == 'b' and (
            input.__class__ is Tensor and other.__class__ in OPERANDS or other.__class__ is Tensor and
            input.__class__ in OPERANDS) and out is None:
        return _where(condition, input, other)
    if answered(condition, input, other):
        return override(where, (condition, input, other), {})
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    if not isinstance(condition, Tensor):
        raise TypeError(f"where(): argument 'condition' must be Tensor, not {type(condition).__name__}")
    if condition.dtype is not dtypes.bool_:
        if condition.dtype is not dtypes.uint8:
            raise RuntimeError(f'where expected condition to be a boolean tensor, but got a tensor with dtype '
                               f'{condition.dtype}')
        condition = condition != 0
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        input = wrap(to_array(input, result_dtype((), (input, other))))
    return _where(condition, input, other, **({} if out is None else {'out': out}))


@export('', method=True, name='where')
def where_method(input, condition, other):
    """The tensor where the condition holds, `other` elsewhere."""
    return where(condition, input, other)


PUBLIC.where = where
where.batched = lambda condition, input, other: _where(condition, input, other)  # what vmap calls instead


def _inside(m, g, input, low, high):
    keep = None
    if low is not None:
        keep = input >= low
    if high is not None:
        keep = input <= high if keep is None else keep & (input <= high)
    return m.where(keep, g, m.zeros_like(g))


def _clamped(m, input, min, max):
    if min is not None:
        input = m.maximum(input, min)
    return input if max is None else m.minimum(input, max)


@elementwise(name='_clamp', namespace='', method=False, label='ClampBackward1', promote=('input',),
             grad={'input': lambda m, g, input, min, max: _inside(m, g, input, min, max)})
def _clamp_to_numbers(m, input, min, max):
    return _clamped(m, input, min, max)


REAL_OR_NONE = (float, int, type(None))


@functools.lru_cache(maxsize=256, typed=True)
def _bound(value, kind):
    """A number as one of an array dtype, cut off at the dtype's own limits."""
    if kind.kind in 'iu':
        limits = np.iinfo(kind)
        return min_(max_(int(value), limits.min), limits.max)
    return np.asarray(value).astype(kind)


min_, max_ = min, max


@elementwise(name='_clamp_tensors', namespace='', method=False, label='ClampBackward0',
             promote=('input', 'min', 'max'), grad={
    'input': lambda m, g, input, min, max: m.where((input >= min) & (input <= max), g, m.zeros_like(g)),
    'min': lambda m, g, input, min, max: m.where((input < min) & (min < max), g, m.zeros_like(g)),
    'max': lambda m, g, input, min, max: m.where((input > max) | (max < min), g, m.zeros_like(g))})
def _clamp_tensors(m, input, min, max):
    return _clamped(m, input, min, max)


@elementwise(name='_clamp_min_tensor', namespace='', method=False, label='ClampMinBackward0', grad={
    'input': lambda m, g, input, min: m.where(input >= min, g, m.zeros_like(g)),
    'min': lambda m, g, input, min: m.where(input < min, g, m.zeros_like(g))})
def _clamp_min_tensor(m, input, min):
    return m.maximum(input, min)


@elementwise(name='_clamp_max_tensor', namespace='', method=False, label='ClampMaxBackward0', grad={
    'input': lambda m, g, input, max: m.where(input <= max, g, m.zeros_like(g)),
    'max': lambda m, g, input, max: m.where(input > max, g, m.zeros_like(g))})
def _clamp_max_tensor(m, input, max):
    return m.minimum(input, max)


def _clamp(input, min, max):
    if not isinstance(input, Tensor):
        require_tensors('clamp', input=input)
    if input._array.dtype.kind == 'f' and min is not max and min.__class__ in REAL_OR_NONE \
            and max.__class__ in REAL_OR_NONE:
        return _clamp_to_numbers(input, None if min is None else float(min), None if max is None else float(max))
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if input.is_complex():
        raise RuntimeError('clamp is not supported for complex types')
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        if max is None:
            return _clamp_min_tensor(input, min)
        if min is None:
            return _clamp_max_tensor(input, max)
        return _clamp_tensors(input, min, max)
    target = result_dtype([input], [v for v in (min, max) if v is not None])
    if target.numpy.kind != 'f':
        min, max = [None if v is None else _bound(v, target.numpy) for v in (min, max)]
        if input._array.size >= LARGE:  # a kernel takes arrays, and has other numbers as constants
            min, max = [None if v is None else np.asarray(v, target.numpy) for v in (min, max)]
    return _clamp_to_numbers(PUBLIC.cast(input, target), min, max)


def _delivered(name, result, out):
    if out is None:
        return result
    from .contraction import write_out
    return write_out(name, result, out)


@export(method=True, aliases=('clip',))
def clamp(input, min=None, max=None, *, out=None):
    """Values cut off at `min` and `max`."""
    return _delivered('clamp', _clamp(input, min, max), out)


@export(method=True)
def clamp_min(input, min, *, out=None):
    """Values cut off from below."""
    return _delivered('clamp_min', _clamp(input, min, None), out)


@export(method=True)
def clamp_max(input, max, *, out=None):
    """Values cut off from above."""
    return _delivered('clamp_max', _clamp(input, None, max), out)


def _clamped_in_place(name, input, min, max):
    def compute(before):
        return _clamp(before, min, max)
    if type(input) is Tensor and input._array.size < LARGE:
        array = input._array
        numbers = DIRECT_SCALARS.get(array.dtype, ())
        if min is not max and (min is None or min.__class__ in numbers) and (max is None or max.__class__ in numbers) \
                and array.dtype.kind == 'f' and array.flags.writeable and unrecorded(input, name):
            if min is not None:
                np.maximum(array, float(min), out=array)
            if max is not None:
                np.minimum(array, float(max), out=array)
            count_write(input, name, sys._getframe(2))
            return input
        return input if rewritten(input, name, compute, (min, max)) else change(input, name, compute)
    if type(input) is Tensor and input._array.dtype.kind == 'f' and min is not max and all(
            v.__class__ in REAL_OR_NONE for v in (min, max)) and overwritten(
            OPERATIONS['_clamp'], input, (input, *[v if v is None else float(v) for v in (min, max)])):
        note_write(input, name)
        return input
    return change(input, name, compute)


@export(method=True, aliases=('clip_',))
def clamp_(input, min=None, max=None):
    """In-place form of `clamp`."""
    return _clamped_in_place('clamp_', input, min, max)


@export(method=True)
def clamp_min_(input, min):
    """In-place form of `clamp_min`."""
    return _clamped_in_place('clamp_min_', input, min, None)


@export(method=True)
def clamp_max_(input, max):
    """In-place form of `clamp_max`."""
    return _clamped_in_place('clamp_max_', input, None, max)


PUBLIC.clamp_min, PUBLIC.clamp_max = clamp_min, clamp_max


@elementwise(inplace=True, constants=True, grad={
    'input': lambda m, g, input: m.where(m.isnan(input) | m.isinf(input), m.zeros_like(g), g)})
def nan_to_num(m, input, nan=0.0, posinf=None, neginf=None):
    """Numbers for nan and the infinities (the dtype's largest by default)."""
    if input.dtype.kind not in 'fc':
        return input.copy()
    if input.dtype.kind == 'c':
        return m.xp.nan_to_num(input, nan=nan or 0.0, posinf=posinf, neginf=neginf)
    limit = dtypes.finfo(dtypes.of(input.dtype)).max
    input = m.where(m.isnan(input), m.zeros_like(input) + (nan or 0.0), input)
    input = m.where(input == math.inf, m.zeros_like(input) + (limit if posinf is None else posinf), input)
    return m.where(input == -math.inf, m.zeros_like(input) + (-limit if neginf is None else neginf), input)


# ---- products and mixtures

def _times(value, x):
    """A number times `x`, in the dtype of `x`."""
    if value.__class__ is int and value == 1:
        return x
    return (value if x.dtype.kind in 'fV' else x.dtype.type(value)) * x


@elementwise(inplace='', grad={
    'input': lambda m, g: g,
    'tensor1': lambda m, g, tensor2, value: g * conjugated(m, tensor2 * value),
    'tensor2': lambda m, g, tensor1, value: g * conjugated(m, tensor1 * value)})
def addcmul(m, input, tensor1, tensor2, *, value=1):
    """input + value * tensor1 * tensor2."""
    return input + _times(value, tensor1 * tensor2)


@elementwise(inplace='', grad={
    'input': lambda m, g: g,
    'tensor1': lambda m, g, tensor2, value: g * conjugated(m, value / tensor2),
    'tensor2': lambda m, g, tensor1, tensor2, value: -g * conjugated(m, (tensor1 * value) / (tensor2 * tensor2))})
def addcdiv(m, input, tensor1, tensor2, *, value=1):
    """input + value * tensor1 / tensor2, of floating point numbers."""
    if tensor1.dtype.kind in 'bui':
        raise RuntimeError('Integer division with addcdiv is no longer supported, and in a future  release addcdiv '
                           'will perform a true division of tensor1 and tensor2.')
    return input + _times(value, tensor1 / tensor2)


@elementwise(inplace='', grad={
    'input': lambda m, g, weight: g * conjugated(m, 1 - weight),
    'end': lambda m, g, weight: g * conjugated(m, weight),
    'weight': lambda m, g, input, end: g * conjugated(m, end - input)})
def lerp(m, input, end, weight):
    """input + weight * (end - input), exact at both ends."""
    if input.dtype.kind in 'bui':
        raise RuntimeError(f"\"lerp_cpu\" not implemented for '{dtypes.of(input.dtype)}': it takes floating point "
                           "numbers")
    step = end - input
    return m.where(m.abs(weight) < 0.5, input + weight * step, end - step * (1 - weight))


# ---- logarithms of sums, hypotenuses

logaddexp = primitive('logaddexp', 'input, other', promote='float', doc='log(exp(input) + exp(other)).', grad={
    'input': lambda m, g, input, other: g / (1 + m.exp(other - input)),
    'other': lambda m, g, input, other: g / (1 + m.exp(input - other))})
logaddexp2 = primitive('logaddexp2', 'input, other', promote='float', doc='log2(2**input + 2**other).', grad={
    'input': lambda m, g, input, other: g / (1 + m.exp2(other - input)),
    'other': lambda m, g, input, other: g / (1 + m.exp2(input - other))})


@elementwise(inplace='', grad={'input': lambda m, g, input, output: g * (input / output),
                               'other': lambda m, g, other, output: g * (other / output)})
def hypot(m, input, other):
    """sqrt(input**2 + other**2)."""
    return m.hypot(input, other)


def _zero_where_zero(m, x, value):
    return m.where(x == 0, m.zeros_like(value), value)


@elementwise(inplace=True, promote='float', namespace='torch special', grad={
    'input': lambda m, g, input, other: g * _zero_where_zero(m, input, m.log(other)),
    'other': lambda m, g, input, other: g * input / other})
def xlogy(m, input, other):
    """input * log(other), 0 where input is 0 (nan where other is)."""
    return m.where(m.isnan(other), other, m.where(input == 0, m.zeros_like(input * other), input * m.log(other)))


nextafter = primitive('nextafter', 'input, other', inplace='', grad={'input': lambda m, g: g,
                                                                    'other': lambda m, g: m.zeros_like(g)},
                      doc='The next number after input on the way to other.')
gcd = primitive('gcd', 'input, other', inplace=True, doc='The greatest common divisor of integers.')
lcm = primitive('lcm', 'input, other', inplace=True, doc='The least common multiple of integers.')


@elementwise(inplace='')
def heaviside(m, input, values):
    """0 below zero, 1 above, `values` at zero."""
    return m.where(input == 0, values, m.cast_like(input > 0, values))


@elementwise(inplace='', promote='float', grad={
    'input': lambda m, g, other: g * m.exp2(other),
    'other': lambda m, g, output: g * output * math.log(2)})
def ldexp(m, input, other):
    """input * 2**other."""
    return input * m.exp2(other)


@elementwise(inplace=True, promote='float', grad={'input': lambda m, g: g * (180 / math.pi)})
def rad2deg(m, input):
    """Radians in degrees."""
    return input * input.dtype.type(180 / math.pi)


@elementwise(inplace=True, promote='float', grad={'input': lambda m, g: g * (math.pi / 180)})
def deg2rad(m, input):
    """Degrees in radians."""
    return input * input.dtype.type(math.pi / 180)


def _sinc_gradient(m, g, input):
    x = input * math.pi
    slope = (m.cos(x) * x - m.sin(x)) / (x * input)
    return g * conjugated(m, _zero_where_zero(m, input, slope))


@elementwise(inplace=True, promote='float', namespace='torch special', grad={'input': _sinc_gradient})
def sinc(m, input):
    """sin(pi * input) / (pi * input), 1 at 0."""
    x = input * math.pi
    return m.where(input == 0, m.ones_like(input), m.sin(x) / m.where(input == 0, m.ones_like(x), x))


def _float_power_operands(values):
    wide = dtypes.complex128 if any(
        v.is_complex() if isinstance(v, Tensor) else isinstance(v, complex) for v in values) else dtypes.float64
    return [PUBLIC.cast(v, wide) if isinstance(v, Tensor) else wide.numpy.type(v).item() for v in values]


@export(method=True, lenient=('input',))
def float_power(input, exponent, *, out=None):
    """A power computed in double precision."""
    result = PUBLIC.pow(*_float_power_operands((input, exponent)))
    return result if out is None else _delivered('float_power', result, out)


@export('', method=True)
def float_power_(input, exponent):
    """In-place form of `float_power`, for double precision tensors."""
    if input.dtype not in (dtypes.float64, dtypes.complex128):
        raise RuntimeError(f'the base given to float_power_ has dtype {input.dtype} but the operation\'s result '
                           'requires dtype Double')
    return change(input, 'float_power_', lambda before: float_power(before, exponent))


@export(method=True)
def rsub(input, other, *, alpha=1):
    """other - alpha * input."""
    require_tensors('rsub', input=input)
    return PUBLIC.sub(other, input, alpha=alpha)


@export('', method=True)
def __rdiv__(input, other):
    """other / input, by Python 2's operator."""
    return PUBLIC.reciprocal(input) * other


@export(method=True)
def positive(input):
    """The tensor itself; not for bools."""
    if input.dtype is dtypes.bool_:
        raise RuntimeError('The `+` operator, on a bool tensor is not supported.')
    return input


# ---- comparing

@export(method=True)
def isclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Where |input - other| <= atol + rtol * |other|."""
    require_tensors('isclose', input=input, other=other)
    if input.dtype is not other.dtype:
        raise RuntimeError(f'{input.dtype} did not match {other.dtype}')
    if rtol < 0 or atol < 0:
        raise RuntimeError(f'{"rtol" if rtol < 0 else "atol"} must be greater than or equal to zero, but got '
                           f'{rtol if rtol < 0 else atol}')
    a, b = input._array, other._array
    refuse_shapes(OPERATIONS['eq'], (a, b))
    if a.dtype.kind not in 'fc' and a.dtype.kind != 'V':
        a, b = a.astype(np.float64), b.astype(np.float64)
    elif a.dtype.itemsize == 2:
        a, b = a.astype(np.float32), b.astype(np.float32)
    close = (a == b) | (np.isfinite(a) & np.isfinite(b) & (np.abs(a - b) <= atol + np.abs(rtol * b)))
    if equal_nan:
        close |= np.isnan(a) & np.isnan(b)
    return wrap(np.asarray(close))


@export(method=True)
def allclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False) -> bool:
    """Whether all elements are close."""
    return bool(isclose(input, other, rtol, atol, equal_nan)._array.all())


@export(method=True)
def equal(input, other) -> bool:
    """Whether two tensors have the same shape and values."""
    require_tensors('equal', input=input, other=other)
    return input._array.shape == other._array.shape and bool((input._array == other._array).all())


# ---- complex numbers

conj_physical = primitive('conj_physical', inplace=True, doc='The conjugate.', grad={'input': lambda m, g: m.conj(g)})


@export(method=True)
def conj(input):
    """The conjugate; real tensors as they are."""
    return conj_physical(input) if input.is_complex() else input


PUBLIC.conj = conj


@export()
def resolve_conj(input):
    """The tensor itself: conjugates are computed at once here."""
    return input


@export()
def resolve_neg(input):
    """The tensor itself: negatives are computed at once here."""
    return input


def _angle_gradient(m, g, input):
    if not m.is_complex(input):
        return m.zeros_like(g)
    size = m.abs(input)
    square = m.where(size == 0, m.ones_like(size), size * size)
    g = m.where(size == 0, m.zeros_like(g), g / square)
    return m.complex(-input.imag * g, input.real * g)


@opaque(name='_angle', namespace='', method=False, label='AngleBackward0', grad={'input': _angle_gradient})
def _angle(m, input):
    angle = m.xp.angle(input)
    if input.dtype.kind in 'fV':
        angle = m.xp.where(m.xp.isnan(input), input, m.xp.where(input < 0, math.pi, 0))
    return angle.astype(np.dtype(f'f{input.dtype.itemsize // 2}') if input.dtype.kind == 'c' else input.dtype)


@export(method=True)
def angle(input, *, out=None):
    """The angle of complex numbers; of real ones 0 or pi."""
    result = _angle(input if input.dtype.category >= dtypes.FLOAT else input.to(dtypes.get_default_dtype()))
    return result if out is None else _delivered('angle', result, out)


@elementwise(name='_complex', namespace='', method=False, label='ComplexBackward0', grad={
    'real': lambda m, g: m.real_of(g), 'imag': lambda m, g: m.real_of(g * -1j)})
def _complex(m, real, imag):
    return m.complex_of(real, imag)


@export(name='complex')
def complex_(real, imag, *, out=None):
    """Complex numbers of real and imaginary parts."""
    require_tensors('complex', real=real, imag=imag)
    if out is not None and out.dtype is not real.dtype.to_complex():
        raise RuntimeError(f'Expected object of scalar type {real.dtype.to_complex()} but got scalar type {out.dtype} '
                           "for argument 'out'")
    if real.dtype is not imag.dtype:
        raise RuntimeError(f'Expected object of scalar type {real.dtype} but got scalar type {imag.dtype} for second '
                           'argument')
    if real.dtype.category != dtypes.FLOAT or real.dtype is dtypes.bfloat16:
        raise RuntimeError(f'Expected both inputs to be Half, Float or Double tensors but got {real.dtype} and '
                           f'{imag.dtype}')
    result = _complex(real, imag)
    return result if out is None else _delivered('complex', result, out)


@export()
def polar(abs, angle, *, out=None):
    """Complex numbers of sizes and angles."""
    require_tensors('polar', abs=abs, angle=angle)
    if abs.dtype is not angle.dtype or abs.dtype.category != dtypes.FLOAT:
        raise RuntimeError(f'Expected both inputs to be Float or Double tensors of one dtype but got {abs.dtype} and '
                           f'{angle.dtype}')
    result = PUBLIC.complex(abs * angle.cos(), abs * angle.sin())
    return result if out is None else _delivered('polar', result, out)


@export('', method=True)
def chalf(input):
    """The tensor as complex32, which is not available."""
    raise NotImplementedError('complex32 (ComplexHalf) tensors are not available: use .cfloat()')


@opaque(returns=('mantissa', 'exponent'),
        grad={'input': lambda m, g, outputs: g[0] / m.exp2(m.cast_like(outputs[1], g[0]))})
def frexp(m, input):
    """Mantissas in [0.5, 1) and exponents of floating point numbers."""
    if input.dtype.kind != 'f':
        raise RuntimeError(f"torch.frexp() only supports floating-point dtypes, got {dtypes.of(input.dtype)}")
    mantissa, exponent = m.xp.frexp(input)
    return mantissa, exponent.astype(np.int32)


# ---- filling

@opaque(name='_filled', namespace='', method=False, label='FillBackward0',
        grad={'input': lambda m, g: m.zeros_like(g)})
def _filled_with_number(m, input, value):
    if not isinstance(value, NUMBERS):
        raise ArgumentTypeError(f"fill_(): argument 'value' must be a number or a Tensor, not {type(value).__name__}")
    made = m.xp.empty_like(input)
    REFERENCE.copy(made, converted_number(value, dtypes.of(input.dtype)))
    return made


@opaque(name='_filled_with', namespace='', method=False, label='FillBackward1',
        grad={'input': lambda m, g: m.zeros_like(g), 'value': lambda m, g: m.sum(g)})
def _filled_with_tensor(m, input, value):
    made = m.xp.empty_like(input)
    made[...] = value
    return made


def _filled(input, value):
    if not isinstance(value, Tensor):
        return _filled_with_number(input, value)
    if value.dim():
        raise RuntimeError(f'fill_ only supports 0-dimension value tensor but got tensor with {value.dim()} '
                           'dimensions.')
    return _filled_with_tensor(input, PUBLIC.cast(value, input.dtype))


def _fill_over(input, value, name):
    if type(input) is Tensor and (input._node is None or unrecorded(input, name)) and isinstance(value, NUMBERS):
        array = input._array
        if array.flags.writeable:
            if array.size < LARGE and value.__class__ in DIRECT_SCALARS.get(array.dtype, ()) and abs(value) < 128:
                array.fill(value)
            else:
                REFERENCE.copy(array, converted_number(value, input.dtype))
            count_write(input, name, sys._getframe(2))
            return input
    if answered(input, value):
        return override(getattr(PUBLIC, name), (input,) if name == 'zero_' else (input, value), {})
    return change(input, name, lambda before: _filled(before, value), overlapping=True)


@export(method=True, asks=False)
def fill_(input, value):
    """Every element overwritten by a number."""
    return _fill_over(input, value, 'fill_')


@export()
def fill(input, value):
    """A tensor like `input` with every element a number."""
    return _filled(input, value)


@export(method=True, asks=False)
def zero_(input):
    """Every element overwritten by 0."""
    return _fill_over(input, 0, 'zero_')


PUBLIC.fill_, PUBLIC.zero_ = fill_, zero_


@export('', method=True)
def fill_diagonal_(input, fill_value, wrap=False):
    """The main diagonal overwritten by a number."""
    if input.dim() < 2:
        raise RuntimeError('dimensions must larger than 1')
    if input.dim() > 2 and len(set(input.shape)) > 1:
        raise RuntimeError('all dimensions of input must be of equal length')

    def compute(before):
        made = before.clone()
        np.fill_diagonal(made._array, fill_value, wrap)
        return made
    return change(input, 'fill_diagonal_', compute)
