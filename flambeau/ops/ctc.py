"""Connectionist temporal classification: the likelihood of a labelling, over all alignments (Graves et al., 2006)."""
from __future__ import annotations

import numpy as np

from ..tensor import Tensor
from .activation import need_floating
from .definition import PUBLIC, export, opaque
from .loss import reduction_of

__all__ = ['ctc_loss']


def _log_sum(*terms):
    """log of the sum of exponentials, of terms that may all be -inf."""
    largest = np.maximum.reduce(terms)
    safe = np.where(np.isneginf(largest), 0, largest)
    return np.log(sum(np.exp(t - safe) for t in terms)) + safe


def _states(targets, lengths, blank):
    """(labels (N, 2L+1) with blanks around each, where a state may be reached from the label before the last)."""
    batch, longest = targets.shape
    labels = np.full((batch, 2 * longest + 1), blank)
    labels[:, 1::2] = np.where(np.arange(longest) < lengths[:, None], targets, blank)
    skips = np.zeros(labels.shape, bool)
    skips[:, 3::2] = labels[:, 3::2] != labels[:, 1:-2:2]
    return labels, skips


def _shifted(x, by):
    """States moved up by one or two places, -inf coming in."""
    out = np.full_like(x, -np.inf)
    out[:, by:] = x[:, :max(x.shape[1] - by, 0)]
    return out


def _forward(emissions, skips):
    """alpha[t, n, s]: the log likelihood of all paths that are in state s at time t."""
    alpha = np.full_like(emissions, -np.inf)
    if len(alpha):
        alpha[0, :, :2] = emissions[0, :, :2]
    for t in range(1, len(alpha)):
        before = alpha[t - 1]
        two = np.where(skips, _shifted(before, 2), -np.inf)
        alpha[t] = _log_sum(before, _shifted(before, 1), two) + emissions[t]
    return alpha


def _backward(emissions, skips, input_lengths, ends):
    """beta[t, n, s]: the log likelihood of all ways on from state s at time t, its own emission included."""
    beta = np.full_like(emissions, -np.inf)
    later = np.full_like(emissions[0], -np.inf)
    jumps = np.zeros_like(skips)
    jumps[:, :-2] = skips[:, 2:]
    for t in range(len(beta) - 1, -1, -1):
        one, two = _shifted(later[:, ::-1], 1)[:, ::-1], _shifted(later[:, ::-1], 2)[:, ::-1]
        onward = _log_sum(later, one, np.where(jumps, two, -np.inf))
        onward = np.where((t == input_lengths - 1)[:, None], np.where(ends, 0.0, -np.inf), onward)
        later = beta[t] = onward + emissions[t]
    return beta


def _ends(labels, target_lengths):
    """The two states in which a path may end: the last label and the blank behind it."""
    places = np.arange(labels.shape[1])
    last = 2 * target_lengths[:, None]
    return (places == last) | (places == last - 1)


def _losses(alpha, ends, input_lengths):
    """Minus the log likelihood of each labelling."""
    batch = np.arange(alpha.shape[1])
    final = alpha[np.maximum(input_lengths - 1, 0), batch] if len(alpha) else np.full(ends.shape, -np.inf)
    final = np.where(input_lengths[:, None] > 0, final, np.where(np.arange(ends.shape[1]) == 0, 0.0, -np.inf))
    final = np.where(ends, final, -np.inf)
    return -_log_sum(*final.T)


def _ctc_gradient(m, g, log_probs, targets, input_lengths, target_lengths, blank, zero_infinity):
    return m._ctc_loss_gradient(g, log_probs, targets, input_lengths, target_lengths, blank, zero_infinity)


@opaque(name='_ctc_loss_gradient', namespace='', method=False, widen=True)
def _ctc_loss_gradient(m, g, log_probs, targets, input_lengths, target_lengths, blank, zero_infinity):
    """exp(log_probs) minus the share of all paths that pass each class, as PyTorch: right behind a log softmax."""
    labels, skips = _states(targets, target_lengths, blank)
    emissions = _emissions(log_probs, labels)
    ends = _ends(labels, target_lengths)
    alpha = _forward(emissions, skips)
    losses = _losses(alpha, ends, input_lengths)
    paths = alpha + _backward(emissions, skips, input_lengths, ends) - emissions + losses[:, None]
    shares = np.zeros(log_probs.shape, np.float64)
    steps, batch = np.arange(len(alpha))[:, None, None], np.arange(alpha.shape[1])[:, None]
    np.add.at(shares, (steps, batch, labels), np.exp(paths))
    possible = np.isfinite(losses)[:, None]
    gradient = np.where(possible, (np.exp(log_probs) - shares) * g[:, None], 0 if zero_infinity else np.nan)
    inside = np.arange(len(alpha))[:, None] < input_lengths
    return np.where(inside[:, :, None], gradient, 0).astype(log_probs.dtype)


def _emissions(log_probs, labels):
    return np.take_along_axis(log_probs.astype(np.float64), np.broadcast_to(labels, (len(log_probs), *labels.shape)), 2)


@opaque(name='_ctc_loss', namespace='', method=False, widen=True, label='CtcLossBackward0',
        grad={'log_probs': _ctc_gradient})
def _ctc_loss(m, log_probs, targets, input_lengths, target_lengths, blank, zero_infinity):
    need_floating('ctc_loss', log_probs)
    labels, skips = _states(targets, target_lengths, blank)
    alpha = _forward(_emissions(log_probs, labels), skips)
    losses = _losses(alpha, _ends(labels, target_lengths), input_lengths)
    return (np.where(np.isinf(losses), 0, losses) if zero_infinity else losses).astype(log_probs.dtype)


def _lengths(name, values, batch, limit):
    values = np.asarray(values._array if isinstance(values, Tensor) else values)
    if values.dtype.kind not in 'iu':
        raise RuntimeError(f'ctc_loss: {name} must be integral, got {values.dtype}')
    values = values.reshape(-1)
    if len(values) != batch:
        raise RuntimeError(f'ctc_loss: {name} must be of size batch_size ({batch}), got {len(values)}')
    if (values < 0).any():
        raise RuntimeError(f'ctc_loss: expected {name} to have value at least 0, but got {values.min()}')
    if limit is not None and (values > limit).any():
        raise RuntimeError(f'ctc_loss: expected {name} to have value at most {limit}, but got value {values.max()}')
    return values


def _padded_targets(targets, lengths):
    """Concatenated targets as rows."""
    if targets.size != lengths.sum():
        raise RuntimeError(f'ctc_loss: expected concatenated targets to have {lengths.sum()} elements, the sum of '
                           f'target_lengths, but got {targets.size}')
    rows = np.zeros((len(lengths), max(lengths.max(initial=0), 1)), np.int64)
    rows[np.arange(rows.shape[1]) < lengths[:, None]] = targets
    return rows


@export('torch nn.functional')
def ctc_loss(log_probs, targets, input_lengths, target_lengths, blank=0, reduction='mean', zero_infinity=False):
    """Minus the log likelihood of the target sequences, summed over their alignments with the input.

    log_probs: (T, N, C) or (T, C), log softmax of the scores of classes at each time; targets: (N, S), or concatenated
    (sum of lengths,); lengths: (N,). The mean divides each loss by its target's length first. zero_infinity makes
    losses of targets too long for their input, and their gradients, 0.
    """
    if isinstance(reduction, int):
        reduction = ('none', 'mean', 'sum')[reduction]
    reduction = reduction_of(reduction)
    single = log_probs.dim() == 2
    if single:
        log_probs = log_probs.unsqueeze(1)
    if log_probs.dim() != 3 or targets.dim() > 2:
        raise RuntimeError(f'ctc_loss: log_probs must be (T, N, C) or (T, C) and targets 1D or 2D, got '
                           f'{list(log_probs.shape)} and {list(targets.shape)}')
    steps, batch, classes = log_probs.shape
    if not 0 <= blank < classes:
        raise RuntimeError(f'ctc_loss: blank must be in label range: 0 to {classes - 1}, got {blank}')
    if steps == 0:
        raise RuntimeError('ctc_loss: log_probs tensor must not be empty')
    longest = targets.shape[1] if targets.dim() == 2 else None
    input_lengths = _lengths('input_lengths', input_lengths, batch, steps)
    target_lengths = _lengths('target_lengths', target_lengths, batch, longest)
    rows = targets._array.astype(np.int64)
    if targets.dim() == 2:
        rows = np.where(np.arange(longest) < target_lengths[:, None], rows, blank)
    else:
        rows = _padded_targets(rows.reshape(-1), target_lengths)
    if rows.size and (rows.min() < 0 or rows.max() >= classes):
        raise RuntimeError(f'ctc_loss: targets must be classes, 0 to {classes - 1}, got {rows.min()} to {rows.max()}')
    losses = _ctc_loss(log_probs, rows, input_lengths, target_lengths, blank, zero_infinity)
    if reduction == 'mean':
        divisor = PUBLIC.as_tensor(np.maximum(target_lengths, 1)).to(losses.dtype)
        return (losses / divisor).mean()
    return losses.sum() if reduction == 'sum' else losses.squeeze(0) if single else losses
