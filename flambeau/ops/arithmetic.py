"""Arithmetic, comparison, logic and bits: the elementwise operations that operators stand for."""
from __future__ import annotations

import numpy as np

from .. import dtypes
from ..errors import ArgumentTypeError
from ..tensor import Tensor
from .call import OPERANDS, operator_entry
from .definition import OPERATIONS, PUBLIC, elementwise, export, primitive

__all__ = ['add', 'sub', 'mul', 'true_divide', 'div', 'neg', 'pow']


def conjugated(m, x):
    """The conjugate of a factor; real ones as they are."""
    if hasattr(x, 'dtype'):
        return m.conj(x) if m.is_complex(x) else x
    return x.conjugate() if isinstance(x, complex) else x


def _check_alpha(name, input, alpha):
    """Refuses a factor that is no number, or of a higher kind than the values."""
    if alpha.__class__ is int:
        return
    if not isinstance(alpha, (int, float, complex)) and getattr(alpha, 'ndim', None) != 0:
        raise ArgumentTypeError(f"{name}(): argument 'alpha' must be Number, not {type(alpha).__name__}")
    kind, given = getattr(getattr(input, 'dtype', None), 'kind', None), np.result_type(alpha).kind
    if kind in ('b', 'u', 'i') and given in 'fc':
        raise RuntimeError('For integral input tensors, argument alpha must not be a floating point number.')
    if kind == 'f' and given == 'c':
        raise RuntimeError('For non-complex input tensors, argument alpha must not be a complex number.')
    if kind in ('u', 'i', 'f', 'c') and isinstance(alpha, bool):
        raise RuntimeError('Boolean alpha only supported for Boolean results.')


# ---- arithmetic

@elementwise(kernel='add', inplace=True, number_first=True,
             grad={'input': lambda m, g: g, 'other': lambda m, g, alpha: g if alpha == 1 else g * conjugated(m, alpha)})
def add(m, input, other, *, alpha=1):
    """input + alpha * other."""
    _check_alpha('add', input, alpha)
    return input + (other if alpha.__class__ is int and alpha == 1 else other * alpha)


def _no_bools(name, operand_dtypes, given):
    if dtypes.bool_ in operand_dtypes or any(isinstance(v, type(True)) for v in given):
        raise RuntimeError('Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to '
                           'invert a mask, use the `~` or `logical_not()` operator instead; for a difference, `^`.')


def _no_complex(name, operand_dtypes, given):
    if any(d.is_complex for d in operand_dtypes) or any(isinstance(v, complex) for v in given):
        raise NotImplementedError(f'"{name}" not implemented for complex numbers, which have no order')


@elementwise(kernel='sub', inplace=True, aliases=('subtract',), number_first=True, check=_no_bools,
             grad={'input': lambda m, g: g,
                   'other': lambda m, g, alpha: -g if alpha == 1 else g * conjugated(m, -alpha)})
def sub(m, input, other, *, alpha=1):
    """input - alpha * other; not for bools, whose difference is `^` or logical_xor."""
    _check_alpha('sub', input, alpha)
    return input - (other if alpha.__class__ is int and alpha == 1 else other * alpha)


mul = primitive('mul', 'input, other', inplace=True, number_first=True, aliases=('multiply',), doc='input * other.',
                grad={'input': lambda m, g, other: g * conjugated(m, other),
                      'other': lambda m, g, input: g * conjugated(m, input)})
true_divide = primitive(
    'true_divide', 'input, other', promote='float', inplace=True, number_first=True, label='DivBackward0',
    doc='input / other; integers give the default floating point dtype.',
    grad={'input': lambda m, g, other: g / conjugated(m, other),
          'other': lambda m, g, input, other: -g * conjugated(m, (input / other) / other)})
neg = primitive('neg', inplace=True, aliases=('negative',), grad={'input': lambda m, g: -g}, doc='-input.')


@elementwise(namespace='', method=False, number_first=True,
             grad={'input': lambda m, g: m.zeros_like(g), 'other': lambda m, g: m.zeros_like(g)})
def _div_trunc(m, input, other):
    if input.dtype.kind in 'bui':
        _refuse_zero_divisor(other)
        return _truncated_quotient(m, input, other)
    return m.trunc(input / other)


def _refuse_zero_divisor(other):
    zero = other == 0
    if zero if other.__class__ is int else zero.any():
        raise RuntimeError('ZeroDivisionError')


def _truncated_quotient(m, input, other):
    quotient = m.floor_divide(input, other)
    inexact = quotient * other != input
    return quotient + m.cast_like(inexact & ((input < 0) != (other < 0)), quotient)


@elementwise(inplace=True, kernel='floor_divide', kernel_for_integers=False, number_first=True,
             grad={'input': lambda m, g: m.zeros_like(g), 'other': lambda m, g: m.zeros_like(g)})
def floor_divide(m, input, other):
    """The quotient rounded down."""
    if input.dtype.kind in 'bui':
        _refuse_zero_divisor(other)
    return m.floor_divide(input, other)


@export(method=True, aliases=('divide',), lenient=('input', 'other'))
def div(input, other, *, rounding_mode=None, out=None):
    """input / other; `rounding_mode` 'trunc' or 'floor' keeps integers integers."""
    return _division(rounding_mode)(input, other, **({} if out is None else {'out': out}))


@export('', method=True, aliases=('divide_',), lenient=('other',))
def div_(input, other, *, rounding_mode=None):
    """In-place form of `div`."""
    from .writing import change
    if rounding_mode is None:
        return input.true_divide_(other)
    return change(input, 'div_', lambda before: _division(rounding_mode)(before, other))


def _division(rounding_mode):
    if rounding_mode is None:
        return true_divide
    if rounding_mode == 'trunc':
        return OPERATIONS['_div_trunc'].public
    if rounding_mode == 'floor':
        return floor_divide
    raise RuntimeError(f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'")


@elementwise(inplace=True, kernel='remainder', kernel_for_integers=False, number_first=True,
             grad={'input': lambda m, g: g, 'other': lambda m, g, input, other: -g * m.floor(input / other)})
def remainder(m, input, other):
    """The remainder that has the sign of the divisor, as Python's %."""
    if input.dtype.kind in 'bui':
        _refuse_zero_divisor(other)
    return m.remainder(input, other)


@elementwise(inplace=True,
             grad={'input': lambda m, g: g, 'other': lambda m, g, input, other: -g * m.trunc(input / other)})
def fmod(m, input, other):
    """The remainder that has the sign of the dividend, as C's fmod."""
    if input.dtype.kind in 'bui':
        _refuse_zero_divisor(other)
    return m.fmod(input, other)


def _pow_gradient_of_base(m, g, input, other):
    if not hasattr(other, 'dtype'):
        if other == 0:
            return m.zeros_like(g)
        return g * conjugated(m, input if other == 2 else m.pow(input, other - 1)) * conjugated(m, other)
    slope = m.where(other == 0, m.zeros_like(input * other), other * m.pow(input, other - 1))
    return g * conjugated(m, slope)


def _pow_gradient_of_exponent(m, g, input, other, output):
    if not hasattr(input, 'dtype'):
        import cmath
        import math
        log = cmath.log(input) if isinstance(input, complex) else math.log(input) if input > 0 else \
            -math.inf if input == 0 else math.nan
        slope = output * log if input != 0 else m.where(m.real_of(other) == 0, output * log, m.zeros_like(output))
        return g * conjugated(m, slope)
    slope = output * m.log(input)
    if not m.is_complex(slope):
        slope = m.where((input == 0) & (other >= 0), m.zeros_like(slope), slope)
    return g * conjugated(m, slope)


@elementwise(kernel='pow', inplace=True, number_first=True, domain=(0.2, 2.0), own_formulas=(1, 2, 3, 0.5, -1, -2),
             grad={
    'input': _pow_gradient_of_base, 'other': _pow_gradient_of_exponent})
def pow(m, input, other):
    """input to the power of other; an integer to a negative integer power is refused."""
    if input.dtype.kind in 'ui' and np.any(np.less(other, 0)):
        raise RuntimeError('Integers to negative integer powers are not allowed.')
    return m.pow(input, other)


# ---- signs and rounding

def _zero(m, g):
    return m.zeros_like(g)


@elementwise(kernel='abs', inplace=True, aliases=('absolute',), grad={'input': lambda m, g, input: g * m.sgn(input)})
def abs(m, input):
    """The absolute value; of complex numbers a real one."""
    return m.abs(input)


sign = primitive('sign', inplace=True, grad={'input': _zero}, doc='-1, 0 or 1.')


@elementwise(inplace=True, grad={'input': lambda m, g, input, output: _sgn_gradient(m, g, input, output)})
def sgn(m, input):
    """input / |input|, 0 at 0; the sign of real numbers."""
    if input.dtype.kind == 'c':
        size = m.abs(input)
        return m.where(size == 0, m.zeros_like(input), input / m.where(size == 0, m.ones_like(size), size))
    return m.sign(input)


def _sgn_gradient(m, g, input, output):
    if not m.is_complex(g):
        return m.zeros_like(g)
    size = m.abs(input)
    along = m.cast_like(m.real_of(g * m.conj(output)), g) * output
    safe = m.where(size == 0, m.ones_like(size), size)
    return m.where(size == 0, m.zeros_like(g), (g - along) / m.cast_like(safe, g))


floor = primitive('floor', inplace=True, grad={'input': _zero}, doc='Rounded down.')
ceil = primitive('ceil', inplace=True, grad={'input': _zero}, doc='Rounded up.')
trunc = primitive('trunc', inplace=True, aliases=('fix',), grad={'input': _zero}, doc='Rounded towards zero.')


@elementwise(inplace=True, namespace='torch special', grad={'input': _zero})
def round(m, input, *, decimals=0):
    """Rounded to the nearest, halves to even; `decimals` counts digits behind the point."""
    if not isinstance(decimals, int):
        raise ArgumentTypeError(f"round(): argument 'decimals' must be int, not {type(decimals).__name__}")
    if input.dtype.kind in 'bui':
        return input.copy()
    if not decimals:
        return m.rint(input)
    scale = 10.0 ** builtin_abs(decimals)
    return m.rint(input * scale) / scale if decimals > 0 else m.rint(input / scale) * scale


builtin_abs = __builtins__['abs'] if isinstance(__builtins__, dict) else __builtins__.abs

frac = primitive('frac', inplace=True, grad={'input': lambda m, g: g}, doc='The fractional part, with the sign of '
                                                                           'input.')


def _copysign_gradient(m, g, input, output):
    return m.where(input == 0, m.zeros_like(g), g * m.where(m.signbit(input) == m.signbit(output), m.ones_like(g),
                                                            -m.ones_like(g)))


@elementwise(inplace=True, promote='float', grad={'input': _copysign_gradient, 'other': _zero})
def copysign(m, input, other):
    """The size of input with the sign of other."""
    return m.copysign(input, other)


# ---- larger and smaller

def _share(m, g, mine, theirs, wins):
    """The cotangent where an operand was chosen, half of it at ties."""
    return m.where(mine == theirs, g / 2, m.where(wins, g, m.zeros_like(g)))


@elementwise(kernel='maximum', check=_no_complex, grad={
    'input': lambda m, g, input, other: _share(m, g, input, other, ~(input < other)),
    'other': lambda m, g, input, other: _share(m, g, input, other, input < other)})
def maximum(m, input, other):
    """The larger one, nan where either is."""
    return m.maximum(input, other)


@elementwise(kernel='minimum', check=_no_complex, grad={
    'input': lambda m, g, input, other: _share(m, g, input, other, ~(input > other)),
    'other': lambda m, g, input, other: _share(m, g, input, other, input > other)})
def minimum(m, input, other):
    """The smaller one, nan where either is."""
    return m.minimum(input, other)


@elementwise(grad={'input': lambda m, g, input, other: m.where((input >= other) | m.isnan(other), g, m.zeros_like(g)),
                   'other': lambda m, g, input, other: m.where((input >= other) | m.isnan(other), m.zeros_like(g), g)})
def fmax(m, input, other):
    """The larger one; a number wins over nan."""
    return m.fmax(input, other)


@elementwise(grad={'input': lambda m, g, input, other: m.where((input <= other) | m.isnan(other), g, m.zeros_like(g)),
                   'other': lambda m, g, input, other: m.where((input <= other) | m.isnan(other), m.zeros_like(g), g)})
def fmin(m, input, other):
    """The smaller one; a number wins over nan."""
    return m.fmin(input, other)


# ---- comparison and logic: results are bool and have no gradient

for _name, _aliases in (('eq', ()), ('ne', ('not_equal',)), ('lt', ('less',)), ('le', ('less_equal',)),
                        ('gt', ('greater',)), ('ge', ('greater_equal',)), ('logical_and', ()), ('logical_or', ()),
                        ('logical_xor', ())):
    globals()[_name] = primitive(_name, 'input, other', promote='bool', inplace=True, aliases=_aliases,
                                 check=_no_complex if _name in ('lt', 'le', 'gt', 'ge') else None)
for _name in ('logical_not',):
    globals()[_name] = primitive(_name, promote='bool', inplace=True)
for _name in ('isnan', 'isinf', 'isfinite', 'signbit'):
    globals()[_name] = primitive(_name, promote='bool')


@elementwise(promote='bool')
def isposinf(m, input):
    """Where the value is +inf."""
    return input == np.inf if input.dtype.kind in 'fV' else input != input


@elementwise(promote='bool')
def isneginf(m, input):
    """Where the value is -inf."""
    return input == -np.inf if input.dtype.kind in 'fV' else input != input


@elementwise(promote='bool')
def isreal(m, input):
    """Where the imaginary part is 0."""
    return input.imag == 0 if input.dtype.kind == 'c' else (input == input) | (input != input)


def _bits(name, operator):
    @elementwise(inplace=True, name=name, kernel=name, number_first=True)
    def operation(m, input, other):
        if input.dtype.kind not in 'bui':
            raise NotImplementedError(f'"{name}_cpu" not implemented for \'{input.dtype}\': it takes integers and '
                                      'bools')
        return getattr(m, name)(input, other)
    operation.__doc__ = f'Bit by bit, as Python\'s `{operator}`.'
    globals()[name] = operation


for _name, _operator in (('bitwise_and', '&'), ('bitwise_or', '|'), ('bitwise_xor', '^')):
    _bits(_name, _operator)


@elementwise(inplace=True, kernel='bitwise_not')
def bitwise_not(m, input):
    """Bit by bit, as Python's `~`."""
    if input.dtype.kind not in 'bui':
        raise NotImplementedError(f'"bitwise_not_cpu" not implemented for \'{input.dtype}\': it takes integers and '
                                  'bools')
    return ~input


def _shift(m, input, other, shift, downward):
    """Bits moved by `shift`; where more are moved than there are, 0 or, to the right, the sign."""
    bits = input.dtype.itemsize * 8
    if input.dtype.kind not in 'bui':
        raise NotImplementedError(f'shifts are not implemented for {dtypes.of(input.dtype)}: they take integers')
    outside = (other < 0) | (other >= bits)
    nothing = m.zeros_like(input)
    shifted = shift(input, m.where(outside, m.zeros_like(other), other))
    return m.where(outside, m.where(input < 0, nothing - 1, nothing) if downward and input.dtype.kind == 'i'
                   else nothing, shifted)


@elementwise(inplace=True, number_first=True)
def bitwise_left_shift(m, input, other):
    """input * 2**other; 0 where more bits are shifted than there are."""
    return _shift(m, input, other, m.bitwise_left_shift, False)


@elementwise(inplace=True, number_first=True)
def bitwise_right_shift(m, input, other):
    """Bits moved down; the sign where more bits are shifted than there are."""
    return _shift(m, input, other, m.bitwise_right_shift, True)


PUBLIC.cast_like = lambda x, like: PUBLIC.cast(x, like.dtype)
PUBLIC.real_of = lambda x: x.real


# ---- Python's operators

def _positive(self):
    if self.dtype is dtypes.bool_:
        raise RuntimeError('The `+` operator, on a bool tensor is not supported.')
    return self


def _install_operators():
    for name, operation, changing in (
            ('add', 'add', 'add_'), ('sub', 'sub', 'sub_'), ('mul', 'mul', 'mul_'),
            ('truediv', 'true_divide', 'true_divide_'), ('floordiv', 'floor_divide', 'floor_divide_'),
            ('mod', 'remainder', 'remainder_'), ('pow', 'pow', 'pow_'), ('and', 'bitwise_and', 'bitwise_and_'),
            ('or', 'bitwise_or', 'bitwise_or_'), ('xor', 'bitwise_xor', 'bitwise_xor_'),
            ('lshift', 'bitwise_left_shift', 'bitwise_left_shift_'),
            ('rshift', 'bitwise_right_shift', 'bitwise_right_shift_')):
        forward = operator_entry(OPERATIONS[operation])
        setattr(Tensor, f'__{name}__', forward)
        setattr(Tensor, f'__i{name}__', getattr(Tensor, changing))
        commutes = name in ('add', 'mul', 'and', 'or', 'xor')
        setattr(Tensor, f'__r{name}__', forward if commutes else _reflected(OPERATIONS[operation].public))
    for name in ('eq', 'ne', 'lt', 'le', 'gt', 'ge'):
        setattr(Tensor, f'__{name}__', operator_entry(OPERATIONS[name]))
    Tensor.__neg__, Tensor.__abs__, Tensor.__invert__ = neg, abs, _invert
    Tensor.__pos__ = _positive
    Tensor.__round__ = lambda self, decimals=0: round(self, decimals=decimals)


def _invert(self):
    if self.dtype.category > dtypes.INTEGER:
        raise TypeError('~ (operator.invert) is only implemented on integer and Boolean-type tensors, not on one of '
                        f'{self.dtype}')
    return bitwise_not(self)


def _reflected(function):
    def call(self, other):
        return function(other, self) if isinstance(other, OPERANDS) else NotImplemented
    return call


_install_operators()
