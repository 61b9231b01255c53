"""Losses of pairs of values: squared, absolute and Huber errors, logistic losses, likelihoods of simple distributions.

Losses over classes are in ops/cross_entropy.py and ops/ctc.py, those of margins and distances in ops/margin_loss.py.
"""
from __future__ import annotations

import math

import numpy as np

from ..tensor import Tensor
from ..errors import warn
from .activation import need_floating
from .batching import RULES
from .definition import PUBLIC, export, opaque

__all__ = ['mse_loss', 'l1_loss', 'binary_cross_entropy_with_logits', 'reduction_of', 'reduced']


# ---- what all losses share

def reduction_of(reduction, size_average=None, reduce=None):
    """'none', 'mean' or 'sum', also from the arguments that PyTorch had for it before. Raises ValueError."""
    if size_average is not None or reduce is not None:
        reduction = 'none' if reduce is not None and not reduce else \
            'mean' if size_average is None or size_average else 'sum'
        warn(f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.")
    if reduction not in ('mean', 'none', 'sum'):
        raise ValueError(f"{reduction} is not a valid value for reduction: it is 'none', 'mean' or 'sum'")
    return reduction


def reduced(m, losses, reduction):
    """The losses, their mean or their sum."""
    return losses if reduction == 'none' else m.mean(losses) if reduction == 'mean' else m.sum(losses)


def reduced_losses(m, formula, reduction, *arguments):
    """The losses formula(m, *arguments) of pairs of values, their mean or their sum, in as few passes as there can be.
    """
    if reduction == 'none':
        return m.fused(formula, *arguments)
    total = m.whole(formula, *arguments)
    return total / _count(*arguments[:2]) if reduction == 'mean' else total


def _count(input, target):
    """How many losses a pair has."""
    return math.prod(input.shape if input.shape == target.shape else np.broadcast_shapes(input.shape, target.shape))


def check_sizes(name, input, target):
    """Warns where input and target are of different sizes, which then broadcast against each other."""
    if not (isinstance(input, Tensor) and isinstance(target, Tensor)):
        bad = target if isinstance(input, Tensor) else input
        raise TypeError(f'{name}(): input and target must be Tensor, not {type(bad).__name__}: use torch.tensor(...)')
    a, b = input._array.shape, target._array.shape
    if a != b:
        try:
            together = np.broadcast_shapes(a, b)
        except ValueError:
            raise RuntimeError(f'{name}(): target size {b} does not fit input size {a}') from None
        cure = 'target.reshape(input.shape)' if input.numel() == target.numel() else 'a target of the input\'s shape'
        warn(f'{name}: target size {b} against input size {a}: they broadcast to {together}, so that each element is '
             f'compared with several others. If that is not meant, use {cure}.')


def _floating_pair(input, target):
    """The pair with integers in the dtype of the other, if that is a floating point one."""
    a, b = input._array.dtype.kind, target._array.dtype.kind
    if b in 'bui' and a not in 'bui':
        return input, target.to(input.dtype)
    if a in 'bui' and b not in 'bui':
        return input.to(target.dtype), target
    return input, target


def _difference_gradients(m, g, slope, reduction, input, target, needed, *numbers):
    """The gradients of a loss of input - target, whose derivative times g is slope(m, input, target, g, *numbers)."""
    if reduction == 'mean':
        g = g / max(_count(input, target), 1)
    g = m.fused(slope, input, target, g, *numbers)
    found = {}
    if 'input' in needed:
        found['input'] = g if g.shape == input.shape else m.sum_to_size(g, input.shape)
    if 'target' in needed:
        found['target'] = -g if g.shape == target.shape else m.sum_to_size(-g, target.shape)
    return found


def _pairs_batched(op, values, size):
    """The losses of all examples' pairs, of which each example's are reduced."""
    *operands, reduction = values
    each = RULES['elementwise'](op, [*operands, 'none'], size)
    if reduction == 'none':
        return each
    return each.reshape(size, -1).mean(1) if reduction == 'mean' else each.reshape(size, -1).sum(1)


def _loss(name, **options):
    """Declares a loss of pairs that broadcast, reduced within one operation."""
    return opaque(**{'name': name, 'namespace': '', 'method': False, 'widen': True, 'promote': ('input', 'target'),
                     'batch': _pairs_batched, **options})


# ---- errors

def _squared_error(m, input, target):
    difference = input - target
    return difference * difference


def _squared_slope(m, input, target, g):
    return (g * 2.0) * (input - target)


@_loss('_mse_loss', grad=lambda m, g, input, target, reduction, needed: _difference_gradients(
    m, g, _squared_slope, reduction, input, target, needed))
def _mse_loss(m, input, target, reduction):
    need_floating('mse_loss', input)
    return reduced_losses(m, _squared_error, reduction, input, target)


def _weighted(name, losses, input, weight, reduction, over):
    """Losses times their weights, reduced; a mean is the sum divided by `over(weight)`."""
    if weight.shape != input.shape:
        raise ValueError(f'{name}: weight and input must have the same size, got {tuple(weight.shape)} and '
                         f'{tuple(input.shape)}')
    losses = losses * weight
    return losses if reduction == 'none' else losses.sum() if reduction == 'sum' else losses.sum() / over(weight)


@export('nn.functional')
def mse_loss(input, target, size_average=None, reduce=None, reduction='mean', weight=None):
    """The mean of (input - target)**2, or their sum, or each. Warns where the sizes differ."""
    if size_average is not None or reduce is not None or reduction not in ('mean', 'none', 'sum'):
        reduction = reduction_of(reduction, size_average, reduce)
    check_sizes('mse_loss', input, target)
    if input._array.dtype is not target._array.dtype:
        input, target = _floating_pair(input, target)
    if weight is None:
        return _mse_loss(input, target, reduction)
    return _weighted('mse_loss', _mse_loss(input, target, 'none'), input, weight, reduction, PUBLIC.sum)


@export('nn.functional')
def l1_loss(input, target, size_average=None, reduce=None, reduction='mean', weight=None):
    """The mean of |input - target|, or their sum, or each. Warns where the sizes differ."""
    reduction = reduction_of(reduction, size_average, reduce)
    check_sizes('l1_loss', input, target)
    losses = (input - target).abs()
    if weight is None:
        return reduced(PUBLIC, losses, reduction)
    return _weighted('l1_loss', losses, input, weight, reduction, PUBLIC.sum)


def _limited(m, x, limit):
    return m.where(x > limit, m.zeros_like(x) + limit, m.where(x < -limit, m.zeros_like(x) - limit, x))


def _smooth_error(m, input, target, beta):
    size = m.abs(input - target)
    return m.where(size < beta, size * size * (0.5 / beta), size - 0.5 * beta)


def _smooth_slope(m, input, target, g, beta):
    return g * _limited(m, (input - target) / beta, 1.0)


@_loss('_smooth_l1_loss', label='SmoothL1LossBackward0',
       grad=lambda m, g, input, target, beta, reduction, needed: _difference_gradients(
           m, g, _smooth_slope, reduction, input, target, needed, beta))
def _smooth_l1_loss(m, input, target, beta, reduction):
    need_floating('smooth_l1_loss', input)
    return reduced_losses(m, _smooth_error, reduction, input, target, beta)


@export('nn.functional')
def smooth_l1_loss(input, target, size_average=None, reduce=None, reduction='mean', beta=1.0):
    """The L1 loss, rounded off by a parabola where |input - target| < beta. Warns where the sizes differ."""
    reduction = reduction_of(reduction, size_average, reduce)
    if beta < 0:
        raise RuntimeError(f'smooth_l1_loss does not support negative values for beta, got {beta}')
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    check_sizes('smooth_l1_loss', input, target)
    return _smooth_l1_loss(*_floating_pair(input, target), beta, reduction)


def _huber_error(m, input, target, delta):
    size = m.abs(input - target)
    return m.where(size < delta, size * size * 0.5, delta * (size - 0.5 * delta))


def _huber_slope(m, input, target, g, delta):
    return g * _limited(m, input - target, delta)


@_loss('_huber_loss', label='HuberLossBackward0',
       grad=lambda m, g, input, target, delta, reduction, needed: _difference_gradients(
           m, g, _huber_slope, reduction, input, target, needed, delta))
def _huber_loss(m, input, target, delta, reduction):
    need_floating('huber_loss', input)
    return reduced_losses(m, _huber_error, reduction, input, target, delta)


@export('nn.functional')
def huber_loss(input, target, reduction='mean', delta=1.0, weight=None):
    """Half the squared error up to delta, beyond it as steep as there. Warns where the sizes differ."""
    reduction = reduction_of(reduction)
    if delta <= 0:
        raise RuntimeError(f'huber_loss does not support non-positive values for delta, got {delta}')
    check_sizes('huber_loss', input, target)
    input, target = _floating_pair(input, target)
    if weight is None:
        return _huber_loss(input, target, delta, reduction)
    return _weighted('huber_loss', _huber_loss(input, target, delta, 'none'), input, weight, reduction,
                     lambda weight: weight.numel())


# ---- logistic losses

def _weights(weight, factor):
    """`factor` times the weights of a loss, where there are some."""
    return factor if weight is None else factor * weight


def _reduced_cotangent(g, reduction, count):
    return g / max(count, 1) if reduction == 'mean' else g


def _bce_gradients(m, g, input, target, weight, reduction, needed):
    g = _weights(weight, _reduced_cotangent(g, reduction, math.prod(input.shape)))
    found = {}
    if 'input' in needed:
        spread = (1 - input) * input
        spread = m.where(spread > 1e-12, spread, m.zeros_like(spread) + 1e-12)
        found['input'] = g * (input - target) / spread
    if 'target' in needed:
        found['target'] = g * (m.log(1 - input) - m.log(input))
    return found


@opaque(name='_binary_cross_entropy', namespace='', method=False, widen=True, batch=_pairs_batched,
        grad=_bce_gradients)
def _binary_cross_entropy(m, input, target, weight, reduction):
    need_floating('binary_cross_entropy', input)
    if not ((input >= 0) & (input <= 1)).all():
        raise RuntimeError('all elements of input should be between 0 and 1: apply sigmoid first, or use '
                           'binary_cross_entropy_with_logits on the values before it')
    losses = (target - 1) * m.maximum(m.log1p(-input), -100) - target * m.maximum(m.log(input), -100)
    return reduced(m, _weights(weight, losses), reduction)


@export('nn.functional')
def binary_cross_entropy(input, target, weight=None, size_average=None, reduce=None, reduction='mean'):
    """-(target * log(input) + (1 - target) * log(1 - input)), logarithms not below -100, for inputs from 0 to 1.

    Raises ValueError where input and target differ in size.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if input.shape != target.shape:
        raise ValueError(f'binary_cross_entropy: target size {tuple(target.shape)} is different to the input size '
                         f'{tuple(input.shape)}. Please ensure they have the same size.')
    if input.dtype is not target.dtype:
        raise RuntimeError(f'binary_cross_entropy: found target dtype {target.dtype} but expected {input.dtype}, that '
                           f'of the input: use target.to(input.dtype)')
    return _binary_cross_entropy(input, target, _fitting_weight('binary_cross_entropy', weight, input), reduction)


def _fitting_weight(name, weight, input):
    if weight is None:
        return None
    if weight.requires_grad:
        raise RuntimeError(f"The function '{name}' is not differentiable with respect to argument 'weight'. This input "
                           'cannot have requires_grad True.')
    try:
        fits = np.broadcast_shapes(weight.shape, input.shape) == tuple(input.shape)
    except ValueError:
        fits = False
    if not fits:
        raise RuntimeError(f'{name}: weight of shape {list(weight.shape)} cannot be expanded to the shape of the '
                           f'input, {list(input.shape)}')
    return weight


def _bce_logits_slope(m, input, target, g, pos_weight):
    slope = m.sigmoid(input)
    if pos_weight is not None:
        slope = slope * (1 + (pos_weight - 1) * target) - (pos_weight - 1) * target
    return g * (slope - target)


def _bce_logits_error(m, input, target, weight, pos_weight):
    negative = _log1p_exp_neg(m, input)
    if pos_weight is not None:
        negative = negative * (1 + (pos_weight - 1) * target)
    return _weights(weight, (1 - target) * input + negative)


def _bce_logits_gradients(m, g, input, target, weight, pos_weight, reduction, needed):
    g = _weights(weight, _reduced_cotangent(g, reduction, math.prod(input.shape)))
    found = {}
    if 'input' in needed:
        found['input'] = m.fused(_bce_logits_slope, input, target, g, pos_weight)
    if 'target' in needed:
        slope = -input if pos_weight is None else (pos_weight - 1) * _log1p_exp_neg(m, input) - input
        found['target'] = g * slope
    return found


def _log1p_exp_neg(m, x):
    """log(1 + exp(-x)) without overflow."""
    return m.where(x < 0, -x, m.zeros_like(x)) + m.log1p(m.exp(-m.abs(x)))


@opaque(name='_binary_cross_entropy_with_logits', namespace='', method=False, widen=True, batch=_pairs_batched,
        grad=_bce_logits_gradients)
def _binary_cross_entropy_with_logits(m, input, target, weight, pos_weight, reduction):
    need_floating('binary_cross_entropy_with_logits', input)
    return reduced_losses(m, _bce_logits_error, reduction, input, target, weight, pos_weight)


@export('nn.functional')
def binary_cross_entropy_with_logits(input, target, weight=None, size_average=None, reduce=None, reduction='mean',
                                     pos_weight=None):
    """binary_cross_entropy of sigmoid(input), without overflow; pos_weight weighs the targets' positive part.

    Raises ValueError where input and target differ in size.
    """
    name = 'binary_cross_entropy_with_logits'
    reduction = reduction_of(reduction, size_average, reduce)
    if input.shape != target.shape:
        raise ValueError(f'{name}: target size ({tuple(target.shape)}) must be the same as input size '
                         f'({tuple(input.shape)})')
    if not target.is_floating_point():
        raise RuntimeError(f"{name}: result type {input.dtype} can't be cast to that of the target, {target.dtype}: "
                           'use target.to(input.dtype)')
    weight, pos_weight = _fitting_weight(name, weight, input), _fitting_weight(name, pos_weight, input)
    return _binary_cross_entropy_with_logits(input, target, weight, pos_weight, reduction)


@opaque(name='_soft_margin_loss', namespace='', method=False, widen=True, batch=_pairs_batched,
        grad={
    'input': lambda m, g, input, target, reduction:
        _reduced_cotangent(g, reduction, math.prod(input.shape)) * (-target) * m.sigmoid(-target * input)})
def _soft_margin_loss(m, input, target, reduction):
    need_floating('soft_margin_loss', input)
    return reduced(m, _log1p_exp_neg(m, target * input), reduction)


@export('nn.functional')
def soft_margin_loss(input, target, size_average=None, reduce=None, reduction='mean'):
    """log(1 + exp(-target * input)) for targets of 1 and -1."""
    reduction = reduction_of(reduction, size_average, reduce)
    if input.shape != target.shape:
        check_sizes('soft_margin_loss', input, target)
        shape = np.broadcast_shapes(input.shape, target.shape)
        input, target = input.expand(shape), target.expand(shape)
    return _soft_margin_loss(*_floating_pair(input, target), reduction)


@export('nn.functional')
def multilabel_soft_margin_loss(input, target, weight=None, size_average=None, reduce=None, reduction='mean'):
    """The mean over classes (the last dimension) of the logistic losses of multi-hot targets."""
    reduction = reduction_of(reduction, size_average, reduce)
    m = PUBLIC
    losses = -(target * m.logsigmoid(input) + (1 - target) * m.logsigmoid(-input))
    losses = _weights(weight, losses)
    return reduced(m, losses.sum(-1) / input.size(input.dim() - 1), reduction)


# ---- likelihoods

@export('nn.functional')
def kl_div(input, target, size_average=None, reduce=None, reduction='mean', log_target=False):
    """target * (log(target) - input): the divergence of a distribution from one given by its logarithms.

    With log_target, `target` holds logarithms too. reduction='batchmean' divides the sum by the batch size, as the
    mathematical definition does.
    """
    for tensor in (input, target):
        if not tensor.is_floating_point():
            kind = 'Complex' if tensor.is_complex() else 'Integral'
            raise RuntimeError(f'kl_div: {kind} inputs not supported, got {input.dtype} and {target.dtype}')
    check_sizes('kl_div', input, target)
    if reduction == 'batchmean' and size_average is None and reduce is None:
        total = kl_div(input, target, reduction='sum', log_target=log_target)
        return total / input.shape[0] if input.dim() else total
    reduction = reduction_of(reduction, size_average, reduce)
    if reduction == 'mean':
        warn("kl_div: reduction='mean' divides the total loss by both the batch size and the support size; 'batchmean' "
             "divides by the batch size only, as the definition of KL divergence does.")
    losses = target.exp() * (target - input) if log_target else PUBLIC.xlogy(target, target) - target * input
    return reduced(PUBLIC, losses, reduction)


@export('nn.functional')
def poisson_nll_loss(input, target, log_input=True, full=False, size_average=None, eps=1e-8, reduce=None,
                     reduction='mean'):
    """The negative log likelihood of counts under a Poisson distribution whose (log) rate is `input`.

    `full` adds Stirling's approximation of log(target!), which has no gradient in input.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    losses = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        losses = losses + stirling.masked_fill(target <= 1, 0)
    return reduced(PUBLIC, losses, reduction)


@export('nn.functional')
def gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction='mean'):
    """The negative log likelihood of targets under normal distributions of means `input` and variances `var`.

    var: a number, or a tensor of the input's shape, or of that with the last size missing or 1. It is kept above eps,
    without effect on the gradient. Raises ValueError for negative or misshapen variances.
    """
    if isinstance(var, float):
        var = PUBLIC.full_like(input, var)
    elif not isinstance(var, Tensor):
        raise TypeError(f'gaussian_nll_loss(): var must be a float or a Tensor, not {type(var).__name__}')
    if (var < 0).any():
        raise ValueError('gaussian_nll_loss: var has negative entry/entries')
    if var.shape != input.shape:
        if input.shape[:-1] == var.shape:
            var = var.unsqueeze(-1)
        elif input.dim() != var.dim() or sum(v for n, v in zip(input.shape, var.shape) if n != v) != 1:
            raise ValueError(f'gaussian_nll_loss: var is of incorrect size {tuple(var.shape)} for an input of '
                             f'{tuple(input.shape)}')
    reduction = reduction_of(reduction)
    raised = var.detach()
    var = var + PUBLIC.where(raised < eps, eps - raised, PUBLIC.zeros_like(raised))
    losses = 0.5 * (var.log() + (input - target) ** 2 / var)
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return reduced(PUBLIC, losses, reduction)
