"""Layers of activation functions. The formulas are in ops/activation.py and ops/softmax.py."""
from __future__ import annotations

import warnings

from ..ops import activation as ops
from ..ops.creation import full
from ..ops.definition import OPERATIONS, exports
from ..ops.sampling import rrelu, rrelu_
from ..ops.softmax import log_softmax, softmax, softmin
from ..tensor import Parameter
from .families import Layer
from .module import Module

__all__ = ['ReLU', 'ReLU6', 'LeakyReLU', 'RReLU', 'PReLU', 'ELU', 'SELU', 'CELU', 'GELU', 'SiLU', 'Mish', 'Softplus',
           'Softsign', 'Softshrink', 'Hardshrink', 'Tanhshrink', 'Hardtanh', 'Hardsigmoid', 'Hardswish', 'Threshold',
           'GLU', 'Sigmoid', 'LogSigmoid', 'Tanh', 'Softmax', 'Softmax2d', 'Softmin', 'LogSoftmax']

sigmoid, tanh, relu = (OPERATIONS[name].public for name in ('sigmoid', 'tanh', 'relu'))
relu_ = exports('nn.functional')['relu_']
functional = exports('nn.functional')


class _Activation(Layer):
    """Shows its options, but for an `inplace` that is not set."""

    __constants__ = []

    def extra_repr(self):
        return ', '.join(f'{name}={getattr(self, name)}' for name in self.__constants__
                         if name != 'inplace' or self.inplace)


class ReLU(_Activation):
    """max(input, 0).

    >>> nn.ReLU()(torch.tensor([-1., 2.]))
    tensor([0., 2.])
    """

    __constants__ = ['inplace']

    def __init__(self, inplace=False):
        super().__init__(locals())

    def forward(self, input):
        return relu_(input) if self.inplace else relu(input)


class _Switchable(_Activation):
    """An activation function without options but `inplace`."""

    __constants__ = ['inplace']
    function = None

    def __init__(self, inplace=False):
        super().__init__(locals())

    def forward(self, input):
        return self.function(input, inplace=self.inplace)


class SELU(_Switchable):
    """The self-normalizing scale * elu(input, alpha)."""

    function = staticmethod(functional['selu'])


class SiLU(_Switchable):
    """input * sigmoid(input)."""

    function = staticmethod(functional['silu'])


class Mish(_Switchable):
    """input * tanh(softplus(input))."""

    function = staticmethod(functional['mish'])


class Hardsigmoid(_Switchable):
    """A sigmoid of straight pieces: input + 3 limited to 0 and 6, divided by 6."""

    function = staticmethod(functional['hardsigmoid'])

    def extra_repr(self):
        return ''


class Hardswish(Hardsigmoid):
    """input * hardsigmoid(input)."""

    function = staticmethod(functional['hardswish'])


class LeakyReLU(_Activation):
    """`input` where positive, elsewhere negative_slope * input."""

    __constants__ = ['negative_slope', 'inplace']

    def __init__(self, negative_slope=0.01, inplace=False):
        super().__init__(locals())

    def forward(self, input):
        return functional['leaky_relu'](input, self.negative_slope, self.inplace)


class RReLU(_Activation):
    """`input` where positive, elsewhere times a slope drawn from [lower, upper); in evaluation their mean."""

    __constants__ = ['lower', 'upper', 'inplace']

    def __init__(self, lower=1 / 8, upper=1 / 3, inplace=False):
        super().__init__(locals())

    def forward(self, input):
        return (rrelu_ if self.inplace else rrelu)(input, self.lower, self.upper, self.training)


class PReLU(_Activation):
    """`input` where positive, elsewhere weight * input; one learnt weight, or one for each channel."""

    __constants__ = ['num_parameters']

    def __init__(self, num_parameters=1, init=0.25, device=None, dtype=None):
        super().__init__(locals())
        self.weight = Parameter(full((num_parameters,), float(init), device=device, dtype=dtype))

    def reset_parameters(self):
        """Sets all weights to `init`."""
        self.weight.data.fill_(self.init)

    def forward(self, input):
        return ops.prelu(input, self.weight)


class ELU(_Activation):
    """`input` where positive, elsewhere alpha * (exp(input) - 1)."""

    __constants__ = ['alpha', 'inplace']

    def __init__(self, alpha=1.0, inplace=False):
        super().__init__(locals())

    def forward(self, input):
        return functional['elu'](input, self.alpha, self.inplace)


class CELU(ELU):
    """`input` where positive, elsewhere alpha * (exp(input / alpha) - 1)."""

    def forward(self, input):
        return functional['celu'](input, self.alpha, self.inplace)


class GELU(_Activation):
    """input times the part of a normal distribution below it; approximate='tanh' is the usual approximation of it."""

    __constants__ = ['approximate']

    def __init__(self, approximate='none'):
        super().__init__(locals())

    def forward(self, input):
        return ops.gelu(input, approximate=self.approximate)

    def extra_repr(self):
        return f'approximate={self.approximate!r}'


class Softplus(_Activation):
    """log(1 + exp(beta * input)) / beta, linear where beta * input > threshold."""

    __constants__ = ['beta', 'threshold']

    def __init__(self, beta=1.0, threshold=20.0):
        super().__init__(locals())

    def forward(self, input):
        return ops.softplus(input, self.beta, self.threshold)


class Softsign(Module):
    """input / (1 + |input|)."""

    def forward(self, input):
        return ops.softsign(input)


class Tanhshrink(Module):
    """input - tanh(input)."""

    def forward(self, input):
        return ops.tanhshrink(input)


class Hardshrink(_Activation):
    """`input`, but 0 between -lambd and lambd."""

    __constants__ = ['lambd']

    def __init__(self, lambd=0.5):
        super().__init__(locals())

    def forward(self, input):
        return ops.hardshrink(input, self.lambd)

    def extra_repr(self):
        return str(self.lambd)


class Softshrink(Hardshrink):
    """`input` moved towards 0 by lambd, as far as 0."""

    def forward(self, input):
        return ops.softshrink(input, self.lambd)


class Hardtanh(_Activation):
    """`input` limited to min_val and max_val."""

    __constants__ = ['min_val', 'max_val', 'inplace']

    def __init__(self, min_val=-1.0, max_val=1.0, inplace=False, min_value=None, max_value=None):
        for name, value in (('min_value', min_value), ('max_value', max_value)):
            if value is not None:
                warnings.warn(f"keyword argument `{name}` is deprecated and rename to `{name[:-2]}`", FutureWarning,
                              stacklevel=2)
        min_val = min_val if min_value is None else min_value
        max_val = max_val if max_value is None else max_value
        if not min_val < max_val:
            raise AssertionError(f'max_val must be larger than min_val, got {min_val} and {max_val}')
        super().__init__({'min_val': min_val, 'max_val': max_val, 'inplace': inplace})

    def forward(self, input):
        return functional['hardtanh'](input, self.min_val, self.max_val, self.inplace)


class ReLU6(Hardtanh):
    """`input` limited to 0 and 6."""

    def __init__(self, inplace=False):
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self):
        return 'inplace=True' if self.inplace else ''


class Threshold(_Activation):
    """`input` where it is above the threshold, elsewhere `value`."""

    __constants__ = ['threshold', 'value', 'inplace']

    def __init__(self, threshold, value, inplace=False):
        super().__init__(locals())

    def forward(self, input):
        return functional['threshold'](input, self.threshold, self.value, self.inplace)


class GLU(_Activation):
    """One half of `input` along `dim` times the sigmoid of the other."""

    __constants__ = ['dim']

    def __init__(self, dim=-1):
        super().__init__(locals())

    def forward(self, input):
        return ops.glu(input, self.dim)


class Sigmoid(Module):
    """1 / (1 + exp(-input))."""

    def forward(self, input):
        return sigmoid(input)


class LogSigmoid(Module):
    """log(sigmoid(input)) without overflow."""

    def forward(self, input):
        return ops.logsigmoid(input)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, input):
        return tanh(input)


class Softmax(_Activation):
    """exp(input) divided by its sum along `dim`.

    >>> nn.Softmax(dim=1)(torch.zeros(1, 2))
    tensor([[0.5000, 0.5000]])
    """

    __constants__ = ['dim']
    function, implicit = staticmethod(softmax), 'softmax'

    def __init__(self, dim=None):
        super().__init__(locals())

    def __setstate__(self, state):
        super().__setstate__(state)
        self.__dict__.setdefault('dim', None)

    def forward(self, input):
        if self.dim is None:
            return functional[self.implicit](input, None, 5)
        return self.function(input, self.dim)


class LogSoftmax(Softmax):
    """The logarithm of softmax, without underflow."""

    function, implicit = staticmethod(log_softmax), 'log_softmax'


class Softmin(Softmax):
    """Softmax of -input."""

    function, implicit = staticmethod(softmin), 'softmin'


class Softmax2d(Module):
    """Softmax over the channels of (N, C, H, W) or (C, H, W)."""

    def forward(self, input):
        if input.dim() not in (3, 4):
            raise ValueError(f'Softmax2d: expected input to be 3D or 4D, got {input.dim()}D instead')
        return softmax(input, -3)
