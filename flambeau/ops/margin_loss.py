"""Losses that ask for a margin: between classes, between distances, or between similarities."""
from __future__ import annotations

import numpy as np

from .activation import need_floating
from .definition import PUBLIC, export, opaque
from .loss import reduced, reduction_of

__all__ = ['hinge_embedding_loss', 'cosine_embedding_loss', 'margin_ranking_loss', 'multi_margin_loss',
           'multilabel_margin_loss', 'triplet_margin_loss', 'triplet_margin_with_distance_loss']


def _positive(m, x):
    """`x` where it is not negative, else 0; at 0 the gradient passes."""
    return m.where(x < 0, m.zeros_like(x), x)


@export('nn.functional')
def hinge_embedding_loss(input, target, margin=1.0, size_average=None, reduce=None, reduction='mean'):
    """`input` where the target is 1, max(0, margin - input) where it is -1, both for other targets."""
    reduction = reduction_of(reduction, size_average, reduce)
    m = PUBLIC
    zeros = m.zeros_like(input)
    losses = m.where(target == -1, zeros, input) + m.where(target == 1, zeros, _positive(m, margin - input))
    return reduced(m, losses, reduction)


@export('nn.functional')
def margin_ranking_loss(input1, input2, target, margin=0, size_average=None, reduce=None, reduction='mean'):
    """max(0, margin - target * (input1 - input2)): with target 1, input1 should be larger by the margin."""
    reduction = reduction_of(reduction, size_average, reduce)
    if not input1.dim() == input2.dim() == target.dim():
        raise RuntimeError('margin_ranking_loss: all input tensors should have same dimension but got sizes: input1: '
                           f'{tuple(input1.shape)}, input2: {tuple(input2.shape)}, target: {tuple(target.shape)}')
    return reduced(PUBLIC, _positive(PUBLIC, margin - target * (input1 - input2)), reduction)


@export('nn.functional')
def cosine_embedding_loss(input1, input2, target, margin=0, size_average=None, reduce=None, reduction='mean'):
    """1 - cosine similarity of the rows where the target is 1, max(0, similarity - margin) where it is -1."""
    reduction = reduction_of(reduction, size_average, reduce)
    if target.dim() > 1:
        raise RuntimeError('cosine_embedding_loss: 0D or 1D target tensor expected, multi-target not supported')
    if input1.dim() != target.dim() + 1 or input2.dim() != target.dim() + 1:
        raise RuntimeError(f'cosine_embedding_loss: {target.dim()}D target tensor expects {target.dim() + 1}D input '
                           f'tensors, but found inputs with sizes {list(input1.shape)} and {list(input2.shape)}.')
    if len({n for n in (*input1.shape[:-1], *input2.shape[:-1], *target.shape) if n != 1}) > 1:
        raise RuntimeError(f'cosine_embedding_loss: inputs of sizes {list(input1.shape)} and {list(input2.shape)} do '
                           f'not fit a target of size {list(target.shape)}: one target per row is needed')
    m, tiny = PUBLIC, 1e-12
    sizes = ((input1 * input1).sum(-1) + tiny) * ((input2 * input2).sum(-1) + tiny)
    similarity = (input1 * input2).sum(-1) / sizes.sqrt()
    zeros = m.zeros_like(similarity)
    losses = m.where(target == 1, 1 - similarity, zeros)
    losses = losses + m.where(target == -1, _positive(m, similarity - margin), zeros)
    return reduced(m, losses, reduction)


# ---- margins between classes

def _margin_excess(m, input, target, margin):
    """(how far each class comes within the margin of the target's, where the margin counts)."""
    own = m.gather(input, 1, m.unsqueeze(target, 1))
    return _positive(m, margin - own + input)


def _other_classes(m, target, like):
    """1 for the classes that are not the target's, else 0."""
    zeros = m.zeros_like(like)
    return m.scatter(zeros + 1, 1, m.unsqueeze(target, 1), 0.0)


def _multi_margin_gradient(m, g, input, target, p, margin, weight, reduction):
    batch, classes = input.shape
    excess = _margin_excess(m, input, target, margin)
    slopes = m.cast_like(excess > 0, input) if p == 1 else 2 * excess
    slopes = slopes * _other_classes(m, target, input) / classes
    if weight is not None:
        slopes = slopes * m.unsqueeze(m.index_select(weight, 0, target), 1)
    slopes = m.scatter_add(slopes, 1, m.unsqueeze(target, 1), -m.sum(slopes, 1, True))
    return slopes * (m.unsqueeze(g, 1) if reduction == 'none' else g / max(batch, 1) if reduction == 'mean' else g)


@opaque(namespace='', method=False, widen=True, grad={'input': _multi_margin_gradient})
def _multi_margin_loss(m, input, target, p, margin, weight, reduction):
    need_floating('multi_margin_loss', input)
    excess = _margin_excess(m, input, target, margin) * _other_classes(m, target, input)
    losses = m.sum(excess if p == 1 else excess * excess, 1) / input.shape[1]
    return reduced(m, losses if weight is None else losses * weight[target], reduction)


@export('nn.functional')
def multi_margin_loss(input, target, p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction='mean'):
    """The sum over the other classes of max(0, margin - input[target] + input)**p, divided by the number of classes.

    input: (N, C) or (C), target: class indices (N) or (). `p` is 1 or 2. `weight` holds a factor per class.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError(f'multi_margin_loss: only p == 1 and p == 2 supported, got {p}')
    if weight is not None and weight.dim() != 1:
        raise ValueError(f'multi_margin_loss: weight must be one-dimensional, got shape {tuple(weight.shape)}')
    _need_rows('multi_margin_loss', input)
    classes = input.shape[-1] if input.dim() else 1
    rows = input.reshape(-1, classes)
    if target.dim() > 1 or target.numel() != rows.shape[0]:
        raise RuntimeError('multi_margin_loss: target tensor should be 1-D with size equal to the number of input '
                           f'samples (batch size). Expected target size [{rows.shape[0]}], but got '
                           f'{list(target.shape)}. Input has shape {list(input.shape)}.')
    if weight is not None and weight.numel() != classes:
        raise RuntimeError(f'multi_margin_loss: inconsistent weight size, expected {classes} but got '
                           f'{list(weight.shape)}')
    _need_classes('multi_margin_loss', target, 0, classes)
    losses = _multi_margin_loss(rows, target.reshape(-1), p, margin, weight, reduction)
    return losses.reshape(()) if reduction == 'none' and input.dim() < 2 and target.dim() == 0 else losses


def _need_rows(name, input):
    if input.dim() > 2 or input.dim() and input.shape[-1] == 0:
        raise RuntimeError(f'{name}: expected non-empty vector or matrix with optional 0-dim batch size, but got: '
                           f'{list(input.shape)}')


def _need_classes(name, target, least, classes):
    values = target._array
    if values.size and (values.min() < least or values.max() >= classes):
        raise RuntimeError(f'{name}: target is out of range: there are {classes} classes, and it has '
                           f'{int(values.min())} to {int(values.max())}')


def _label_counts(target, classes):
    """How often each class is listed in a row of labels that ends at the first -1."""
    counts = np.zeros((target.shape[0], classes))
    listed = np.logical_and.accumulate(target >= 0, axis=1)
    rows, _ = listed.nonzero()
    np.add.at(counts, (rows, target[listed]), 1)
    return counts


def _label_excess(m, input):
    """max(0, 1 - input[n, j] + input[n, k]) at [n, j, k]."""
    return _positive(m, 1 - m.unsqueeze(input, 2) + m.unsqueeze(input, 1))


def _multilabel_margin_gradient(m, g, input, pairs, reduction):
    slopes = m.cast_like(_label_excess(m, input) > 0, input) * pairs / input.shape[1]
    slopes = m.sum(slopes, 1) - m.sum(slopes, 2)
    batch = max(input.shape[0], 1)
    return slopes * (m.unsqueeze(g, 1) if reduction == 'none' else g / batch if reduction == 'mean' else g)


@opaque(namespace='', method=False, widen=True, grad={'input': _multilabel_margin_gradient})
def _multilabel_margin_loss(m, input, pairs, reduction):
    need_floating('multilabel_margin_loss', input)
    return reduced(m, m.sum(_label_excess(m, input) * pairs, (1, 2)) / input.shape[1], reduction)


@export('nn.functional')
def multilabel_margin_loss(input, target, size_average=None, reduce=None, reduction='mean'):
    """The sum over listed classes j and others k of max(0, 1 - input[j] + input[k]), divided by the number of classes.

    input and target: (N, C) or (C); a target lists class indices, as many as there are before its first -1.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    _need_rows('multilabel_margin_loss', input)
    if target.shape != input.shape:
        raise RuntimeError(f'multilabel_margin_loss: inconsistent target size: {list(target.shape)} for input of size: '
                           f'{list(input.shape)}')
    classes = input.shape[-1] if input.dim() else 1
    _need_classes('multilabel_margin_loss', target, -1, classes)
    rows = input.reshape(-1, classes)
    counts = _label_counts(target._array.reshape(-1, classes), classes)
    pairs = (counts[:, :, None] * (counts == 0)[:, None, :]).astype(rows._array.dtype)
    losses = _multilabel_margin_loss(rows, PUBLIC.as_tensor(pairs), reduction)
    return losses.reshape(()) if reduction == 'none' and input.dim() < 2 else losses


# ---- margins between distances

@export('nn.functional')
def triplet_margin_loss(anchor, positive, negative, margin=1.0, p=2, eps=1e-6, swap=False, size_average=None,
                        reduce=None, reduction='mean'):
    """max(0, margin + distance(anchor, positive) - distance(anchor, negative)) in the p-norm.

    swap: the negative's distance is that from the positive where this is smaller (Balntas et al., 2016).
    """
    reduction = reduction_of(reduction, size_average, reduce)

    def distance(a, b):
        return PUBLIC.pairwise_distance(a, b, p, eps)
    return triplet_margin_with_distance_loss(anchor, positive, negative, distance_function=distance, margin=margin,
                                             swap=swap, reduction=reduction)


@export('nn.functional')
def triplet_margin_with_distance_loss(anchor, positive, negative, *, distance_function=None, margin=1.0, swap=False,
                                      reduction='mean'):
    """`triplet_margin_loss` with a distance of one's own, a function of two tensors; pairwise_distance by default."""
    reduction = reduction_of(reduction)
    if margin <= 0:
        raise ValueError(f'margin must be greater than 0, got {margin}')
    if not anchor.dim() == positive.dim() == negative.dim():
        raise RuntimeError('The anchor, positive, and negative tensors are expected to have the same number of '
                           f'dimensions, but got: anchor {anchor.dim()}D, positive {positive.dim()}D, and negative '
                           f'{negative.dim()}D inputs')
    distance = distance_function or PUBLIC.pairwise_distance
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = PUBLIC.minimum(far, distance(positive, negative))
    return reduced(PUBLIC, _positive(PUBLIC, margin + near - far), reduction)
