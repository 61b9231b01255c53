"""Activation functions of one number each, from relu to mish; those over a dimension are in ops/softmax.py.

`nn.functional` takes many of them with `inplace=`, which picks the in-place form of the same operation.
"""
from __future__ import annotations

import math

from .. import dtypes
from ..errors import ArgumentError
from .arithmetic import conjugated
from ..tensor import Tensor
from .batching import along
from .definition import EXPORTS, OPERATIONS, elementwise, export, opaque, primitive
from .overriding import answered, override
from .reference import axes_of

__all__ = ['relu', 'gelu', 'silu', 'need_floating']


def need_floating(name, array):
    """Raises NotImplementedError for values that are not real floating point numbers."""
    if array.dtype.kind not in 'fV':
        raise NotImplementedError(f'"{name}" not implemented for {dtypes.of(array.dtype)}: it takes real floating '
                                  'point numbers, such as those of .float()')


def _only_in_functional(**options):
    return elementwise(**{'namespace': 'nn.functional', 'method': False, **options})


# ---- straight pieces

relu = primitive('relu', namespace='torch nn.functional', inplace=True, doc='max(input, 0).',
                 grad={'input': lambda m, g, output: m.where(output <= 0, 0.0, g)})


def _inside(m, g, within):
    return m.where(within, g, m.zeros_like(g))


@_only_in_functional(inplace=True, constants=True, grad={'input': lambda m, g, input, min_val, max_val: _inside(
    m, g, (input > min_val) & (input < max_val))})
def hardtanh(m, input, min_val=-1.0, max_val=1.0):
    """`input` limited to min_val and max_val."""
    if min_val > max_val:
        raise ArgumentError(f'hardtanh(): min_val cannot be greater than max_val, got {min_val} and {max_val}')
    if input.dtype.kind in 'bc':
        need_floating('hardtanh', input)
    return m.minimum(m.maximum(input, input.dtype.type(min_val)), input.dtype.type(max_val))


@_only_in_functional(inplace=True, label='HardtanhBackward0',
                     grad={'input': lambda m, g, input: _inside(m, g, (input > 0) & (input < 6))})
def relu6(m, input):
    """`input` limited to 0 and 6."""
    return m.hardtanh(input, 0, 6)


@_only_in_functional(inplace=True, grad={'input': lambda m, g, input, negative_slope: m.where(
    input > 0, g, g * negative_slope)})
def leaky_relu(m, input, negative_slope=0.01):
    """`input` where positive, elsewhere negative_slope * input."""
    need_floating('leaky_relu', input)
    return m.where(input > 0, input, input * negative_slope)


@elementwise(namespace='torch nn.functional', method=False, inplace=True, promote=('input',),
             grad={'input': lambda m, g, input, threshold: _inside(m, g, ~(input <= threshold))})
def threshold(m, input, threshold, value):
    """`input` where it is above the threshold, elsewhere `value`."""
    return m.where(input <= threshold, m.cast_like(m.zeros_like(input) + value, input), input)


@_only_in_functional(namespace='torch nn.functional', method=True, grad={
    'input': lambda m, g, input, lambd: _inside(m, g, ~((input >= -lambd) & (input <= lambd)))})
def hardshrink(m, input, lambd=0.5):
    """`input`, but 0 between -lambd and lambd."""
    need_floating('hardshrink', input)
    return m.where((input >= -lambd) & (input <= lambd), m.zeros_like(input), input)


@_only_in_functional(constants=True, grad={
    'input': lambda m, g, input, lambd: _inside(m, g, ~((input >= -lambd) & (input <= lambd)))})
def softshrink(m, input, lambd=0.5):
    """`input` moved towards 0 by lambd, as far as 0."""
    need_floating('softshrink', input)
    if lambd < 0:
        raise RuntimeError(f'lambda must be greater or equal to 0, but found to be {lambd}.')
    return m.where((input >= -lambd) & (input <= lambd), m.zeros_like(input), input - m.sign(input) * lambd)


@_only_in_functional(inplace=True, grad={'input': lambda m, g, input: _inside(m, g / 6, (input > -3) & (input < 3))})
def hardsigmoid(m, input):
    """A sigmoid of straight pieces: input + 3 limited to 0 and 6, divided by 6."""
    need_floating('hardsigmoid', input)
    return m.hardtanh(input + 3, 0, 6) / 6


@_only_in_functional(inplace=True, grad={'input': lambda m, g, input: m.where(
    input < 3, _inside(m, g * (input / 3 + 0.5), input > -3), g)})
def hardswish(m, input):
    """input * hardsigmoid(input)."""
    need_floating('hardswish', input)
    return input * m.hardtanh(input + 3, 0, 6) / 6


# ---- exponential below zero

def _below_zero(m, input):
    return m.where(input > 0, m.zeros_like(input), input)


@_only_in_functional(inplace=True, grad={'input': lambda m, g, input, alpha: m.where(
    input > 0, g, g * alpha * m.exp(_below_zero(m, input)))})
def elu(m, input, alpha=1.0):
    """`input` where positive, elsewhere alpha * (exp(input) - 1)."""
    need_floating('elu', input)
    return m.where(input > 0, input, alpha * m.expm1(_below_zero(m, input)))


SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # keep mean 0 and variance 1 (Klambauer et al., 2017)


@_only_in_functional(namespace='torch nn.functional', inplace=True, label='EluBackward0', grad={
    'input': lambda m, g, input: m.where(input > 0, g, g * SELU_ALPHA * m.exp(_below_zero(m, input))) * SELU_SCALE})
def selu(m, input):
    """The self-normalizing scale * elu(input, alpha)."""
    return SELU_SCALE * m.elu(input, SELU_ALPHA)


@_only_in_functional(namespace='torch nn.functional', inplace=True, grad={'input': lambda m, g, input, alpha: m.where(
    input > 0, g, g * m.exp(_below_zero(m, input) / alpha))})
def celu(m, input, alpha=1.0):
    """`input` where positive, elsewhere alpha * (exp(input / alpha) - 1)."""
    need_floating('celu', input)
    if alpha == 0:
        raise RuntimeError('ZeroDivisionError: alpha cannot be 0 for CELU')
    return m.where(input > 0, input, alpha * m.expm1(_below_zero(m, input) / alpha))


# ---- smooth ones

def _normal_density(m, x):
    return m.exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))


@elementwise(name='_normal_share', namespace='', method=False, grad={
    'input': lambda m, g, input: g * _normal_density(m, input)})
def _normal_share(m, input):
    """The part of a standard normal distribution that lies below a value."""
    return (m.erf(input * math.sqrt(0.5)) + 1) * 0.5


GELU_INNER, GELU_CUBE = math.sqrt(2 / math.pi), 0.044715


def _gelu_tanh(m, x):
    return m.tanh(GELU_INNER * (x + GELU_CUBE * (x * x * x)))


def _gelu_gradient(m, g, input, approximate):
    if approximate == 'none':
        return g * (m._normal_share(input) + input * _normal_density(m, input))
    t = _gelu_tanh(m, input)
    slope = (1 - t * t) * (1 + 3 * GELU_CUBE * (input * input))
    return g * (0.5 * (1 + t) + (0.5 * GELU_INNER) * input * slope)


@_only_in_functional(grad={'input': _gelu_gradient})
def gelu(m, input, *, approximate='none'):
    """input times the part of a normal distribution below it; approximate='tanh' is the usual approximation of it."""
    need_floating('gelu', input)
    if approximate not in ('none', 'tanh'):
        raise RuntimeError(f"approximate argument must be either none or tanh, got {approximate!r}.")
    return input * m._normal_share(input) if approximate == 'none' else 0.5 * input * (1 + _gelu_tanh(m, input))


def _silu_gradient(m, g, input):
    s = m.sigmoid(input)
    return g * conjugated(m, s * (1 + input * (1 - s)))


@_only_in_functional(inplace=True, grad={'input': _silu_gradient})
def silu(m, input):
    """input * sigmoid(input)."""
    if input.dtype.kind != 'c':
        need_floating('silu', input)
    return input * m.sigmoid(input)


def _log1p_exp(m, x):
    """log(1 + exp(x)) without overflow."""
    return m.where(x > 0, x, m.zeros_like(x)) + m.log1p(m.exp(-m.abs(x)))


def _mish_gradient(m, g, input):
    t = m.tanh(_log1p_exp(m, input))
    return g * (t + input * m.sigmoid(input) * (1 - t * t))


@_only_in_functional(inplace=True, grad={'input': _mish_gradient})
def mish(m, input):
    """input * tanh(softplus(input))."""
    need_floating('mish', input)
    return input * m.tanh(_log1p_exp(m, input))


@_only_in_functional(grad={'input': lambda m, g, input, beta, threshold: m.where(
    beta * input > threshold, g, g * m.sigmoid(beta * input))})
def softplus(m, input, beta=1.0, threshold=20.0):
    """log(1 + exp(beta * input)) / beta, linear where beta * input > threshold."""
    need_floating('softplus', input)
    z = beta * input
    return m.where(z > threshold, input, _log1p_exp(m, z) / beta)


@_only_in_functional(label='LogSigmoidBackward0', grad={'input': lambda m, g, input: g * m.sigmoid(-input)})
def logsigmoid(m, input):
    """log(sigmoid(input)) without overflow."""
    need_floating('logsigmoid', input)
    return -_log1p_exp(m, -input)


def _softsign_gradient(m, g, input):
    denominator = m.abs(input) + 1
    return g / (denominator * denominator)


@_only_in_functional(promote='float', label='DivBackward0', grad={'input': _softsign_gradient})
def softsign(m, input):
    """input / (1 + |input|)."""
    return input / (m.abs(input) + 1)


def _tanhshrink_gradient(m, g, input):
    t = m.tanh(input)
    return g * (t * t)


@_only_in_functional(promote='float', label='SubBackward0', grad={'input': _tanhshrink_gradient})
def tanhshrink(m, input):
    """input - tanh(input)."""
    return input - m.tanh(input)


# ---- with weights or halves

@elementwise(namespace='', method=False, name='_prelu_kernel', label='PreluKernelBackward0', grad={
    'input': lambda m, g, input, weight: m.where(input > 0, g, g * weight),
    'weight': lambda m, g, input: m.where(input > 0, m.zeros_like(g), g * input)})
def _prelu_kernel(m, input, weight):
    return m.where(input > 0, input, weight * input)


@export('torch nn.functional', method=True)
def prelu(input, weight):
    """`input` where positive, elsewhere weight * input; one weight for all, or one for each channel (dimension 1)."""
    if input.dtype is not weight.dtype:
        raise RuntimeError(f'prelu: Type promoting not supported. Got {input.dtype} and {weight.dtype}')
    if weight.dim() > 1:
        raise RuntimeError(f'prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.dim()}')
    if weight.dim() == 0 or weight.numel() == 1:
        return _prelu_kernel(input, weight.reshape((1,) * input.dim()))
    if input.dim() == 0:
        raise RuntimeError('prelu: Not allow zero-dim input tensor.')
    channels = input.shape[1] if input.dim() > 1 else 1
    if weight.numel() != channels:
        raise RuntimeError(f'prelu: Mismatch of parameter numbers and input channel size. Found parameter numbers = '
                           f'{weight.numel()} and channel size = {channels}.')
    return _prelu_kernel(input, weight.reshape((1, -1) + (1,) * (input.dim() - 2)))


def _halves(m, x, dim):
    half = x.shape[dim] // 2
    return m.narrow(x, dim, 0, half), m.narrow(x, dim, half, half)


def _glu_gradient(m, g, input, dim):
    value, gate = _halves(m, input, dim)
    return m.cat([m.fused(_gated, g, gate), m.fused(_gate_slope, g, value, gate)], dim)


def _gated(m, value, gate):
    return value * m.sigmoid(gate)


def _gate_slope(m, g, value, gate):
    s = m.sigmoid(gate)
    return g * value * s * (1 - s)


@opaque(batch=along, namespace='nn.functional', method=False, widen=True, grad={'input': _glu_gradient})
def glu(m, input, dim=-1):
    """One half of `input` along `dim` times the sigmoid of the other."""
    need_floating('glu', input)
    if not input.ndim:
        raise RuntimeError('glu does not support 0-dimensional tensors')
    axis, = axes_of(dim, input.ndim)
    if input.shape[axis] % 2:
        raise RuntimeError(f'Halving dimension must be even, but dimension {axis} is size {input.shape[axis]}')
    half, before = input.shape[axis] // 2, (slice(None),) * axis
    value, gate = input[(*before, slice(half))], input[(*before, slice(half, None))]
    return m.fused(_gated, value, gate)


# ---- nn.functional: the same with `inplace=`

def _choosing(name):
    """nn.functional's form of an operation: its options, then `inplace`."""
    operation = OPERATIONS[name]
    plain, changing = operation.public, EXPORTS['nn.functional'][name + '_']
    count = len(operation.positional) - 1

    def function(input, *options, inplace=False, **named):
        if input.__class__ is Tensor and not (options or named or inplace):
            return plain(input)
        if answered(input):
            return override(function, (input, *options), {**({'inplace': True} if inplace else {}), **named})
        if len(options) > count:
            *options, inplace = options
        return (changing if inplace else plain)(input, *options, **named)
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f'{plain.__doc__} With `inplace` it is written over the input.'
    function.operation = operation
    return export('nn.functional', asks=False)(function)


for _name in ('relu', 'relu6', 'hardtanh', 'leaky_relu', 'threshold', 'hardsigmoid', 'hardswish', 'elu', 'selu', 'celu',
              'silu', 'mish'):
    _choosing(_name)
for _name in ('sigmoid', 'tanh'):
    export('nn.functional', name=_name)(OPERATIONS[_name].public)
