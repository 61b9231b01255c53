"""Losses over classes: negative log likelihood, cross entropy of indices or probabilities, and of a linear layer."""
from __future__ import annotations

import dataclasses
import math

import numpy as np

from .. import dtypes
from ..errors import require_tensors, warn
from .activation import need_floating
from .batching import Batch, in_batch
from .contraction import linear
from .definition import export, opaque
from .keys import bounds, outside
from .loss import reduced, reduction_of
from .reference import LARGE, REFERENCE
from .softmax import log_softmax

__all__ = ['nll_loss', 'cross_entropy', 'linear_cross_entropy', 'LinearCrossEntropyOptions']


# ---- negative log likelihood: linear in its input, so that its gradient's gradient is itself

def _class_weights(target, weight, ignore_index, classes, dtype):
    """(target with ignored entries at class 0, the weight of each target, 0 where ignored; None where all are 1).

    Raises IndexError for a target that is no class.
    """
    ignored = None
    if weight is None and target.size and target.dtype == np.int64 and not 0 <= ignore_index < classes and not outside(
            target, classes):
        return target, None  # found out by a kernel, so that the call can be replayed
    if target.size:
        low, high = bounds(target)
        if low <= ignore_index <= high:
            ignored = target == ignore_index
            target = np.where(ignored, 0, target)
            low, high = bounds(target)
        if low < 0 or high >= classes:
            raise IndexError(f'Target {low if low < 0 else high} is out of bounds: there are {classes} classes, 0 to '
                             f'{classes - 1}')
    if ignored is None:
        return target, None if weight is None else weight[target]
    return target, np.where(ignored, 0, 1 if weight is None else weight[target]).astype(dtype)


def _places(target):
    """The index of each target's class in scores (N, C, ...) or (C)."""
    if target.ndim == 0:
        return target
    if target.ndim == 1:
        return np.arange(target.size), target
    batch, *rest = np.ogrid[tuple(map(slice, target.shape))]
    return batch, target, *rest


def _class_axis(rank):
    return 0 if rank == 1 else 1


NEGATIVE_TOTALS = {'mean': lambda m, x: m.mean(-x), 'sum': lambda m, x: m.sum(-x)}


def _nll_loss(m, input, target, weight, ignore_index, reduction):
    need_floating('nll_loss', input)
    axis = _class_axis(input.ndim)
    target, weights = _class_weights(target, weight, ignore_index, input.shape[axis], input.dtype)
    picked = None
    if target.ndim and target.dtype == np.int64:
        picked = m.kernel('indexing.read', input, axis, target.reshape((*target.shape[:axis], 1, *target.shape[axis:])))
    if picked is not None and weights is None and reduction in NEGATIVE_TOTALS and 0 < picked.size < LARGE:
        total = m.planned(NEGATIVE_TOTALS[reduction], (picked,), 1)
        if total:
            return total(picked)
    return _reduced(-(input[_places(target)] if picked is None else picked.reshape(target.shape)), weights, reduction)


def _reduced(losses, weights, reduction):
    """The losses of targets times their weights (None: all 1), or their mean or sum."""
    if weights is not None:
        losses = np.where(weights == 0, 0, losses * weights)  # an ignored -inf is no nan
    if reduction == 'none':
        return losses
    total = np.add.reduce(losses, None)
    if reduction == 'mean':
        total = total / (losses.size if weights is None else weights.sum()) if losses.size else total * np.nan
    return np.asarray(total)


def _nll_loss_gradient(m, g, target, weight, ignore_index, reduction, shape):
    axis = _class_axis(len(shape))
    target, weights = _class_weights(target, weight, ignore_index, shape[axis], g.dtype)
    values = -g
    if weights is not None:
        values = values * weights
    if reduction == 'mean':
        values = values / (max(target.size, 1) if weights is None else weights.sum())
    out = np.zeros(shape, g.dtype)
    values = np.broadcast_to(values, target.shape)
    if not target.ndim or target.dtype != np.int64 or not m.kernel(
            'indexing.combine', out, axis, np.expand_dims(target, axis), np.expand_dims(values, axis), None):
        out[_places(target)] = values
    return out


def _loss_batched(op, values, size):
    """The losses of all targets of all examples, of which each example's are reduced."""
    input, target, weight, ignore_index, reduction = values
    if isinstance(weight, Batch):
        return NotImplemented
    input, target = in_batch(input, size), in_batch(target, size)
    flat = (input, target) if input.dim() == 2 else (input.flatten(0, 1), target.flatten(0, 1))
    losses = op.public(*flat, weight, ignore_index, 'none').reshape(size, *target.shape[1:])
    if reduction == 'none':
        return losses
    total = losses.reshape(size, -1).sum(1)
    if reduction == 'sum':
        return total
    counted = target.ne(ignore_index)
    shares = counted.to(losses.dtype) if weight is None else weight[target.masked_fill(~counted, 0).long()] * counted
    return total / shares.reshape(size, -1).sum(1)


def _declare_nll_loss(name, label):
    """One of PyTorch's two negative log likelihoods, which differ in the rank of their input alone."""
    adjoint = f'{name}_gradient'
    opaque(name=adjoint, namespace='', method=False, widen=True, grad={
        'g': lambda m, g, target, weight, ignore_index, reduction:
            getattr(m, name)(g, target, weight, ignore_index, reduction)})(_nll_loss_gradient)
    return opaque(name=name, namespace='', method=False, widen=True, replay=True, label=label,
                  batch=_loss_batched, grad={
        'input': lambda m, g, target, weight, ignore_index, reduction, input_shape:
            getattr(m, adjoint)(g, target, weight, ignore_index, reduction, input_shape)})(_nll_loss)


_nll_loss_1d = _declare_nll_loss('_nll_loss', 'NllLossBackward0')
_nll_loss_2d = _declare_nll_loss('_nll_loss2d', 'NllLoss2DBackward0')


def _check_weight(weight, classes):
    if weight is not None and (weight.dim() != 1 or weight.shape[0] != classes):
        raise RuntimeError(f'weight tensor should be defined either for all {classes} classes or no classes but got '
                           f'weight tensor of shape: {list(weight.shape)}')


def require_class_weights(weight, classes, label_smoothing):
    """Raises RuntimeError for weights that are not one for each class, and for a share that is none."""
    _check_weight(weight, classes)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f'label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}')


def _check_classes(name, input, target, weight):
    """Raises for targets that are no classes of each sample of `input`, and for weights that are not one per class."""
    a, t = input._array, target._array
    rank = a.ndim
    if rank == 0:
        raise RuntimeError(f'{name}(): input must have at least one dimension, the classes')
    if rank > 1 and t.shape[:1] != a.shape[:1]:
        raise ValueError(f'{name}(): expected input batch_size ({a.shape[0]}) to match target batch_size '
                         f'({t.shape[0] if t.ndim else 1}).')
    if t.dtype.kind not in 'iu' or t.dtype.itemsize not in (1, 8):
        raise RuntimeError(f'{name}(): expected target dtype to be Long or Byte, but got {target.dtype}: use '
                           '.long() for class indices')
    if t.ndim + rank != 1 and t.shape != (*a.shape[:1 if rank > 1 else 0], *a.shape[2:]):
        raise RuntimeError(f'{name}(): expected target size {[a.shape[0], *a.shape[2:]]}, got {list(t.shape)}, for an '
                           f'input of shape {list(a.shape)}')
    if weight is not None:
        _check_weight(weight, a.shape[_class_axis(rank)])


def _nll(name, input, target, weight, ignore_index, reduction):
    """The negative log likelihood of checked arguments."""
    _check_classes(name, input, target, weight)
    return (_nll_loss_1d if input._array.ndim < 3 else _nll_loss_2d)(input, target, weight, ignore_index, reduction)


@export('nn.functional')
def nll_loss(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction='mean'):
    """Minus the log probability in `input` (N, C, ...) or (C) of each target class (N, ...) or ().

    `weight` holds a factor per class; the mean is divided by the sum of those used. Targets equal to ignore_index do
    not count. Raises IndexError for a target that is no class, ValueError for different batch sizes.
    """
    if weight is not None and weight.dtype is not input.dtype:
        raise RuntimeError(f'nll_loss: expected scalar type {input.dtype.name} but found {weight.dtype.name} for '
                           f'weight: convert it with .to(torch.{input.dtype.name})')
    return _nll('nll_loss', input, target, weight, ignore_index, reduction_of(reduction, size_average, reduce))


# ---- cross entropy

def _class_losses(m, x, target):
    """Minus the logarithm of softmax(x) at each row's class."""
    top = m.amax(x, 1, True)
    chosen = m.sum(m.where(m.hot(target, x), x, m.zeros_like(x)), 1, True)
    return m.log(m.sum(m.exp(x - top), 1, True)) + (top - chosen)


TOTALS = {'mean': lambda m, losses: m.mean(losses), 'sum': lambda m, losses: m.sum(losses)}


def _class_slopes(m, x, target, scale):
    """The gradient of `_class_losses` in x for cotangents `scale`, one of each row or one of all."""
    powers = m.exp(x - m.amax(x, 1, True))
    shares = powers * (1.0 / m.sum(powers, 1, True))
    return (shares - m.where(m.hot(target, x), m.ones_like(x), m.zeros_like(x))) * scale


def _cross_entropy_gradient(m, g, input, target, weight, ignore_index, reduction):
    if m is REFERENCE:
        target, weights = _class_weights(target, weight, ignore_index, input.shape[1], g.dtype)
        if weights is not None:
            g = g * weights
        if reduction == 'mean':
            g = g / (target.size if weights is None else weights.sum())
        arguments = input, target.reshape(-1, 1), g.reshape(-1, 1)
        plan = m.planned(_class_slopes, arguments)
        if plan:
            return plan(*arguments)
        slopes = np.zeros(input.shape, g.dtype)
        slopes[_places(target)] = -g
    else:
        slopes = m._nll_loss_gradient(g, target, weight, ignore_index, reduction, input.shape)
    return slopes - m.softmax(input, 1) * m.sum(slopes, 1, True)


@opaque(name='_cross_entropy', namespace='', method=False, widen=True, replay=True, label='NllLossBackward0',
        batch=_loss_batched, grad={'input': _cross_entropy_gradient})
def _cross_entropy(m, input, target, weight, ignore_index, reduction):
    """The cross entropy of classes, a target of each row of a matrix."""
    need_floating('cross_entropy', input)
    classes = input.shape[1]
    chosen, weights = _class_weights(target, weight, ignore_index, classes, input.dtype)
    arguments = input, chosen.reshape(-1, 1)
    plan = m.planned(_class_losses, arguments)
    if not plan:
        return _nll_loss(m, m.log_softmax(input, 1), target, weight, ignore_index, reduction)
    losses = plan(*arguments)
    total = weights is None and reduction in TOTALS and losses.size < LARGE and m.planned(
        TOTALS[reduction], (losses,), 1)
    return total(losses) if total else _reduced(losses.reshape(-1), weights, reduction)


@export('nn.functional')
def cross_entropy(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction='mean',
                  label_smoothing=0.0):
    """nll_loss of the log softmax of `input` (N, C, ...) or (C), which holds unnormalised scores of classes.

    target: class indices (N, ...), or probabilities of the shape of `input`. label_smoothing mixes that share of a
    uniform distribution into the targets.
    """
    if size_average is not None or reduce is not None or reduction not in ('mean', 'none', 'sum'):
        reduction = reduction_of(reduction, size_average, reduce)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f'label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}')
    require_tensors('cross_entropy', input=input, target=target)
    rank = input._array.ndim
    axis = 1 if rank > 1 else 0
    if target._array.shape == input._array.shape:
        if not target.is_floating_point():
            raise RuntimeError(f'cross_entropy(): Expected floating point type for target with class probabilities, '
                               f'got {target.dtype}')
        if ignore_index >= 0:
            raise RuntimeError('cross_entropy(): ignore_index is not supported for floating point target, got '
                               f'{ignore_index}')
        return _cross_entropy_of_probabilities(input, target, weight, axis, reduction, label_smoothing)
    if rank == 2 and not label_smoothing:
        _check_classes('cross_entropy', input, target, weight)
        return _cross_entropy(input, target, weight, ignore_index, reduction)
    logarithms = log_softmax(input, axis)
    loss = _nll('cross_entropy', logarithms, target, weight, ignore_index, reduction)
    if not label_smoothing:
        return loss
    return loss * (1 - label_smoothing) + _uniform_part(logarithms, target, weight, axis, ignore_index, reduction) * (
        label_smoothing / input.shape[axis])


def _uniform_part(logarithms, target, weight, axis, ignore_index, reduction):
    """The loss against all classes alike, which label smoothing mixes in."""
    ignored = target == ignore_index
    losses = -_times_weight(logarithms, weight, axis).sum(axis)
    losses = losses.masked_fill(ignored, 0)
    if reduction != 'mean':
        return reduced(None, losses, reduction) if reduction == 'none' else losses.sum()
    if weight is None:
        return losses.sum() / (~ignored).sum()
    return losses.sum() / weight[target.masked_fill(ignored, 0).long()].masked_fill(ignored, 0).sum()


def _times_weight(x, weight, axis):
    if weight is None:
        return x
    _check_weight(weight, x.shape[axis])
    return x * weight.reshape(tuple(-1 if k == axis else 1 for k in range(x.dim())))


def _cross_entropy_of_probabilities(input, target, weight, axis, reduction, label_smoothing):
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / input.shape[axis]
    losses = -_times_weight(log_softmax(input, axis) * target, weight, axis)
    if reduction == 'none':
        return losses.sum(axis)
    total = losses.sum()
    return total if reduction == 'sum' else total / (input.numel() // max(input.shape[axis], 1))


# ---- cross entropy of a linear layer

@dataclasses.dataclass(frozen=True)
class LinearCrossEntropyOptions:
    """How `linear_cross_entropy` goes through a batch: in chunks, so that the scores of all are never held at once.

    batch_chunk_size is the number of samples in a chunk; None picks about in_features / num_classes of the batch.
    The other fields choose among PyTorch's kernels, and make no difference here.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = 'auto'
    acc_policy: str = 'auto'
    acc_dtype: dtypes.dtype | None = None

    def rows(self, batch, in_features, num_classes):
        """How many samples a chunk holds."""
        if self.batch_chunk_size is not None:
            return max(self.batch_chunk_size, 1)
        return max(math.ceil(batch * min(in_features / max(num_classes, 1), 1)), 1)


@export('nn.functional')
def linear_cross_entropy(input, linear_weight, target, *, linear_bias=None, weight=None, reduction='mean',
                         ignore_index=None, label_smoothing=0.0, options=None):
    """cross_entropy(linear(input, linear_weight, linear_bias), target, ...); input: (N, in_features) or (in_features).

    linear_weight: (C, in_features), or (C, d1, ..., in_features) for a loss with more dimensions. `options` asks for
    computing in chunks of the batch.
    """
    scores_shape = _checked_scores_shape(input, linear_weight, linear_bias)
    if target.shape == scores_shape and ignore_index is not None:
        raise RuntimeError('linear_cross_entropy(): ignore_index cannot be specified when target contains '
                           'probabilities')
    arguments = {'weight': weight, 'ignore_index': -100 if ignore_index is None else ignore_index}
    if options is not None:
        indices = target.dtype is dtypes.int64 and linear_weight.dim() == 2
        if indices and not label_smoothing and reduction in ('mean', 'sum', 'none'):
            batch, classes = (input, target) if input.dim() == 2 else (input.unsqueeze(0), target.unsqueeze(0))
            size = options.rows(*batch.shape, linear_weight.shape[0])
            loss = _chunked_cross_entropy(batch, linear_weight, linear_bias, classes, *arguments.values(), reduction,
                                          size)
            return loss.squeeze(0) if loss.dim() > input.dim() - 1 else loss
        warn('linear_cross_entropy: options are ignored: chunks need class indices of dtype int64, a weight of two '
             f'dimensions and no label smoothing; got {target.dtype}, {list(linear_weight.shape)} and '
             f'{label_smoothing}.')
    rows = linear_weight.reshape(-1, linear_weight.shape[-1])
    scores = linear(input, rows, None if linear_bias is None else linear_bias.reshape(-1))
    return cross_entropy(scores.reshape(scores_shape), target, reduction=reduction, label_smoothing=label_smoothing,
                         **arguments)


def _checked_scores_shape(input, linear_weight, linear_bias):
    if input.dim() not in (1, 2):
        raise RuntimeError(f'linear_cross_entropy(): expected input with dimensionality 1 or 2, got {input.dim()}')
    if linear_weight.dim() < 2:
        raise RuntimeError('linear_cross_entropy(): expected linear_weight with dimensionality at least 2, got '
                           f'{linear_weight.dim()}')
    if input.shape[-1] != linear_weight.shape[-1]:
        raise RuntimeError('linear_cross_entropy(): expected equal last dimensions of input and linear_weight, got '
                           f'{input.shape[-1]} and {linear_weight.shape[-1]}')
    if linear_bias is not None and linear_bias.shape != linear_weight.shape[:-1]:
        raise RuntimeError(f'linear_cross_entropy(): expected linear_bias shape {tuple(linear_weight.shape[:-1])}, got '
                           f'{tuple(linear_bias.shape)}')
    if linear_weight.dim() > 2 and input.dim() == 1:
        raise RuntimeError(f'linear_cross_entropy(): a linear_weight of shape {tuple(linear_weight.shape)} requires '
                           f'batched input (N, {input.shape[-1]}), got {tuple(input.shape)}')
    return (*input.shape[:-1], *linear_weight.shape[:-1])


def _divisor(m, target, weight, ignore_index, like):
    """The sum of the weights of all targets, which a mean is divided by."""
    counted = m.cast_like(m.ne(target, ignore_index), like)
    if weight is not None:
        counted = counted * m.index_select(weight, 0, m.where(m.ne(target, ignore_index), target, m.zeros_like(target)))
    return m.sum(counted)


def _chunks(m, size, *tensors):
    count = tensors[0].shape[0]
    return [[m.narrow(t, 0, start, min(size, count - start)) for t in tensors] for start in range(0, count, size)]


def _chunked_gradients(m, g, input, linear_weight, linear_bias, target, weight, ignore_index, reduction, size, needed):
    """The scores of each chunk are computed again, so that those of the whole batch are never held at once."""
    if reduction == 'mean':
        g = g / _divisor(m, target, weight, ignore_index, g)
    found = {name: [] for name in needed}
    each = reduction == 'none'
    for rows, classes, *part in _chunks(m, size, input, target, *([g] if each else [])):
        scores = m._linear(rows, linear_weight, linear_bias)
        slopes = m._nll_loss_gradient(part[0] if each else g, classes, weight, ignore_index, 'none' if each else 'sum',
                                      scores.shape)
        slopes = slopes - m.softmax(scores, 1) * m.sum(slopes, 1, True)
        if 'input' in needed:
            found['input'].append(m.contract(slopes, linear_weight, ('no', 'ok', 'nk')))
        if 'linear_weight' in needed:
            found['linear_weight'].append(m.contract(slopes, rows, ('no', 'nk', 'ok')))
        if 'linear_bias' in needed:
            found['linear_bias'].append(m.sum(slopes, 0))
    return {name: m.cat(parts, 0) if name == 'input' else sum(parts[1:], parts[0]) for name, parts in found.items()}


@opaque(namespace='', method=False, widen=True, grad=_chunked_gradients)
def _chunked_cross_entropy(m, input, linear_weight, linear_bias, target, weight, ignore_index, reduction, size):
    losses = np.concatenate([
        m._nll_loss(m.log_softmax(m._linear(rows, linear_weight, linear_bias), 1), classes, weight, ignore_index,
                    'none')
        for rows, classes in _chunks(m, size, input, target)])
    if reduction == 'none':
        return losses
    return losses.sum() / (_divisor(m, target, weight, ignore_index, losses) if reduction == 'mean' else 1)
