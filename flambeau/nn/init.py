"""Initial values of parameters. Every function fills its tensor in place, unrecorded by autograd, and returns it.

A seed gives the numbers that PyTorch 2.13 gives: the draws and their order are the same, and the bounds are computed in
the same order in Python's floats. Bounds: Glorot and Bengio 2010 (xavier), He et al. 2015 (kaiming), Saxe et al. 2013
(orthogonal), Martens 2010 (sparse).
"""
from __future__ import annotations

import functools
import math
import warnings

from ..autograd.modes import no_grad

__all__ = ['calculate_gain', 'uniform_', 'normal_', 'trunc_normal_', 'constant_', 'ones_', 'zeros_', 'eye_', 'dirac_',
           'xavier_uniform_', 'xavier_normal_', 'kaiming_uniform_', 'kaiming_normal_', 'orthogonal_', 'sparse_',
           'uniform', 'normal', 'constant', 'eye', 'dirac', 'xavier_uniform', 'xavier_normal', 'kaiming_uniform',
           'kaiming_normal', 'orthogonal', 'sparse']

GAINS = dict.fromkeys(('linear', 'conv1d', 'conv2d', 'conv3d', 'conv_transpose1d', 'conv_transpose2d',
                       'conv_transpose3d', 'sigmoid'), 1) | {'tanh': 5.0 / 3, 'relu': math.sqrt(2.0), 'selu': 3.0 / 4}


def calculate_gain(nonlinearity, param=None) -> float:
    """By how much a layer's weights are to be scaled for the nonlinearity after it; `param`: leaky_relu's slope.

    >>> calculate_gain('leaky_relu', 0.2)
    1.3867504905630728
    """
    if nonlinearity == 'leaky_relu':
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f'negative_slope {param} not a valid number')
        return math.sqrt(2.0 / (1 + slope ** 2))
    if nonlinearity not in GAINS:
        raise ValueError(f'Unsupported nonlinearity {nonlinearity}')
    return GAINS[nonlinearity]


def _calculate_fan_in_and_fan_out(tensor):
    if tensor.dim() < 2:
        raise ValueError('Fan in and fan out can not be computed for tensor with fewer than 2 dimensions')
    receptive_field = math.prod(tensor.shape[2:])
    return tensor.size(1) * receptive_field, tensor.size(0) * receptive_field


def _calculate_correct_fan(tensor, mode):
    modes = ['fan_in', 'fan_out']
    if mode.lower() not in modes:
        raise ValueError(f'Mode {mode} not supported, please use one of {modes}')
    return _calculate_fan_in_and_fan_out(tensor)[modes.index(mode.lower())]


# ---- constants -----------------------------------------------------------------------------------------

@no_grad()
def constant_(tensor, val):
    """Fills with a value."""
    return tensor.fill_(val)


def ones_(tensor):
    """Fills with ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor):
    """Fills with zeros."""
    return constant_(tensor, 0.0)


@no_grad()
def eye_(tensor):
    """Fills a matrix with the identity, as far as it reaches. Raises ValueError unless there are 2 dimensions."""
    if tensor.dim() != 2:
        raise ValueError('Only tensors with 2 dimensions are supported')
    tensor.zero_().diagonal().fill_(1)
    return tensor


@no_grad()
def dirac_(tensor, groups=1):
    """Fills the weight of a convolution so that every channel passes unchanged, in each group as far as there are any.

    Raises ValueError unless there are 3 to 5 dimensions and the groups divide the first.
    """
    if tensor.dim() not in (3, 4, 5):
        raise ValueError('Only tensors with 3, 4, or 5 dimensions are supported')
    if tensor.size(0) % groups != 0:
        raise ValueError('dim 0 must be divisible by groups')
    outputs = tensor.size(0) // groups
    centre = tuple(size // 2 for size in tensor.shape[2:])
    tensor.zero_()
    for first in range(0, tensor.size(0), outputs):
        for channel in range(min(outputs, tensor.size(1))):
            tensor[(first + channel, channel, *centre)] = 1
    return tensor


# ---- random values -------------------------------------------------------------------------------------

@no_grad()
def uniform_(tensor, a=0.0, b=1.0, generator=None):
    """Fills with draws from the uniform distribution over [a, b)."""
    return tensor.uniform_(a, b, generator=generator)


@no_grad()
def normal_(tensor, mean=0.0, std=1.0, generator=None):
    """Fills with draws from the normal distribution."""
    return tensor.normal_(mean, std, generator=generator)


def xavier_uniform_(tensor, gain=1.0, generator=None):
    """Fills with uniform draws within gain * sqrt(6 / (fan_in + fan_out)) of 0."""
    bound = math.sqrt(3.0) * xavier_std(tensor, gain)
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor, gain=1.0, generator=None):
    """Fills with normal draws of standard deviation gain * sqrt(2 / (fan_in + fan_out))."""
    return normal_(tensor, 0.0, xavier_std(tensor, gain), generator)


def xavier_std(tensor, gain):
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return gain * math.sqrt(2.0 / float(fan_in + fan_out))


def kaiming_uniform_(tensor, a=0, mode='fan_in', nonlinearity='leaky_relu', generator=None):
    """Fills with uniform draws within gain * sqrt(3 / fan) of 0; `a` is the slope of leaky_relu."""
    if is_empty(tensor):
        return tensor
    bound = math.sqrt(3.0) * kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(tensor, a=0, mode='fan_in', nonlinearity='leaky_relu', generator=None):
    """Fills with normal draws of standard deviation gain / sqrt(fan); `a` is the slope of leaky_relu."""
    if is_empty(tensor):
        return tensor
    return normal_(tensor, 0, kaiming_std(tensor, a, mode, nonlinearity), generator)


def kaiming_std(tensor, a, mode, nonlinearity):
    fan = _calculate_correct_fan(tensor, mode)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def is_empty(tensor):
    if 0 in tensor.shape:
        warnings.warn('Initializing zero-element tensors is a no-op', stacklevel=3)
        return True
    return False


@no_grad()
def trunc_normal_(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0, generator=None):
    """Fills with draws from the normal distribution cut off outside [a, b].

    Warns where the mean is more than two standard deviations outside of [a, b].
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn('mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be '
                      'incorrect.', stacklevel=3)
    mass = normal_cdf((b - mean) / std) - normal_cdf((a - mean) / std)
    if mass > 0.3:
        return redraw_outside(tensor, mean, std, a, b, generator)
    return accept_by_density(tensor, mean, std, a, b, generator)


def normal_cdf(x):
    return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0


def redraw_outside(tensor, mean, std, a, b, generator):
    """Normal draws, of which those outside [a, b] are drawn again; every round draws for the whole tensor."""
    from .. import empty_like, where
    low, high = tensor.new_tensor(a).item(), tensor.new_tensor(b).item()  # as the tensor's dtype rounds them
    result = tensor.normal_(mean, std, generator=generator)
    while (outside := (result < low) | (result > high)).any():
        result = where(outside, empty_like(result).normal_(mean, std, generator=generator), result)
    return tensor if result is tensor else tensor.copy_(result)


def accept_by_density(tensor, mean, std, a, b, generator):
    """Uniform draws from [a, b], each accepted with the probability that the density there has relative to its peak."""
    from .. import empty_like, where
    log_peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2
    result, pending = tensor, None
    while pending is None or pending.any():
        drawn = empty_like(tensor).uniform_(a, b, generator=generator)
        log_density = drawn.sub(mean).div_(std).pow_(2).mul_(-0.5).sub_(log_peak)
        refused = empty_like(tensor).uniform_(generator=generator).log_().gt(log_density)
        result, pending = (drawn, refused) if pending is None else (
            where(pending, drawn, result), where(pending, refused, pending))
    return tensor.copy_(result)


@no_grad()
def orthogonal_(tensor, gain=1, generator=None):
    """Fills with a random orthogonal matrix, the dimensions after the first taken as one, times `gain`.

    Raises ValueError for fewer than 2 dimensions.
    """
    from .. import linalg
    if tensor.dim() < 2:
        raise ValueError('Only tensors with 2 or more dimensions are supported')
    if tensor.numel() == 0:
        return tensor
    rows = tensor.size(0)
    columns = tensor.numel() // rows
    flat = tensor.new_empty((rows, columns)).normal_(0, 1, generator=generator)
    q, r = linalg.qr(flat.t() if rows < columns else flat)
    q = q * r.diagonal().sign()  # makes the distribution uniform, Mezzadri 2006
    tensor.copy_((q.t() if rows < columns else q).reshape(tensor.shape))
    return tensor.mul_(gain)


@no_grad()
def sparse_(tensor, sparsity, std=0.01, generator=None):
    """Fills a matrix with normal draws, of which the fraction `sparsity` of each column, chosen at random, is zero.

    Raises ValueError unless there are 2 dimensions.
    """
    from .. import randperm
    if tensor.dim() != 2:
        raise ValueError('Only tensors with 2 dimensions are supported')
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    tensor.normal_(0, std, generator=generator)
    for column in range(columns):
        tensor[randperm(rows)[:zeros], column] = 0
    return tensor


# ---- names of before PyTorch 0.4 -----------------------------------------------------------------------

def deprecated(function):
    """The older name of an initialiser, which warns."""
    name = function.__name__[:-1]

    @functools.wraps(function)
    def older(*args, **kwargs):
        warnings.warn(f'`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`.', FutureWarning, stacklevel=2)
        return function(*args, **kwargs)
    older.__name__ = older.__qualname__ = name
    return older


uniform, normal, constant, eye, dirac, xavier_uniform, xavier_normal, kaiming_uniform, kaiming_normal, orthogonal, \
    sparse = map(deprecated, (uniform_, normal_, constant_, eye_, dirac_, xavier_uniform_, xavier_normal_,
                              kaiming_uniform_, kaiming_normal_, orthogonal_, sparse_))
