"""Rows looked up in a table, alone or summed up in bags, and one-hot vectors."""
from __future__ import annotations

import numpy as np

from ..autograd.graph import note_write
from ..tensor import Tensor, wrap
from .batching import Batch, in_batch
from .definition import PUBLIC, composite, export, opaque
from .keys import accumulate_rows, bounds, outside, take_rows
from .reference import LARGE

__all__ = ['embedding', 'embedding_bag', 'one_hot']


# ---- looking up, and its adjoint: each is the other's gradient

def _row_factors(indices, padding_idx, scale_grad_by_freq, dtype):
    """What each looked-up row's gradient is multiplied by; None for ones."""
    factors = None
    if scale_grad_by_freq:
        _, which, counts = np.unique(indices, return_inverse=True, return_counts=True)
        factors = 1 / counts[which.reshape(indices.shape)]
    if padding_idx is not None:
        factors = (1 if factors is None else factors) * (indices != padding_idx)
    return None if factors is None else factors.astype(dtype)[..., None]


def _embedding_batched(op, values, size):
    """The tables of all examples as one, in which each example's rows stand behind those of the one before."""
    weight, indices, padding_idx, scale_grad_by_freq = values
    if scale_grad_by_freq:
        return NotImplemented
    if not isinstance(weight, Batch):
        return op.public(weight, indices.tensor, padding_idx, scale_grad_by_freq)
    count = weight.tensor.shape[1]
    indices = in_batch(indices, size)
    if type(indices) is not Tensor or outside(indices._array, count):
        return NotImplemented  # example by example, which says what is wrong
    starts = wrap(np.arange(size, dtype=np.int64) * count).reshape(size, *(1,) * (indices.dim() - 1))
    rows = op.public(weight.tensor.flatten(0, 1), indices + starts, None, False)
    if padding_idx is None:
        return rows
    return PUBLIC.where((indices == padding_idx).unsqueeze(-1), rows.detach(), rows)  # no gradient for the padding


@opaque(name='_embedding', namespace='', method=False, label='EmbeddingBackward0', replay=True,
        batch=_embedding_batched, grad={
    'weight': lambda m, g, indices, weight_shape, padding_idx, scale_grad_by_freq: m._embedding_gradient(
        g, indices, weight_shape[0], padding_idx, scale_grad_by_freq)})
def _embedding(m, weight, indices, padding_idx, scale_grad_by_freq):
    made = m.kernel('indexing.take_rows', weight, 0, indices)
    if made is not None:
        return made
    try:
        rows = take_rows(weight, indices, 0) if weight.flags.c_contiguous else weight.take(indices, axis=0)
        if indices.size == 0 or indices.min() >= 0:
            return rows
    except IndexError:
        pass
    raise IndexError(f'index out of range in self: embedding() looks up {indices.min()} to {indices.max()} in a table '
                     f'of {weight.shape[0]} rows')


@opaque(namespace='', method=False, widen=True, label='EmbeddingDenseBackwardBackward0', grad={
    'g': lambda m, g, indices, padding_idx, scale_grad_by_freq: m._scaled_rows(
        g, indices, padding_idx, scale_grad_by_freq)})
def _embedding_gradient(m, g, indices, count, padding_idx, scale_grad_by_freq):
    factors = _row_factors(indices, padding_idx, scale_grad_by_freq, g.dtype)
    if factors is not None:
        g = g * factors
    out = np.zeros((count, g.shape[-1]), g.dtype)
    accumulate_rows(out, 1, indices.ravel(), g.reshape(indices.size, -1) if g.size else g)
    return out


@opaque(namespace='', method=False, widen=True, grad={
    'table': lambda m, g, indices, table_shape, padding_idx, scale_grad_by_freq: m._embedding_gradient(
        g, indices, table_shape[0], padding_idx, scale_grad_by_freq)})
def _scaled_rows(m, table, indices, padding_idx, scale_grad_by_freq):
    factors = _row_factors(indices, padding_idx, scale_grad_by_freq, table.dtype)
    rows = table.take(indices, axis=0)
    return rows if factors is None else rows * factors


def _check_lookup(name, input, weight):
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}(): argument 'indices' must be Tensor, not {type(input).__name__}")
    if weight.dim() != 2:
        raise RuntimeError(f"{name}: 'weight' must be 2-D, got shape {list(weight.shape)}")
    if input._array.dtype not in (np.int64, np.int32):
        raise RuntimeError(f'{name}: expected indices of dtype int64 or int32, but got {input.dtype}: use .long()')


def _padding_row(padding_idx, weight):
    """padding_idx counted from the front. Raises AssertionError where there is no such row."""
    if padding_idx is None:
        return None
    count = weight.shape[0]
    if not -count <= padding_idx < count:
        raise AssertionError(f'padding_idx must be within num_embeddings: {-count} to {count - 1}, got {padding_idx}')
    return padding_idx % count


def _limit_norms(weight, indices, max_norm, norm_type):
    """Shrinks the rows that are looked up, in place, to a norm of at most max_norm."""
    rows = np.unique(indices)
    if rows.size and (rows[0] < 0 or rows[-1] >= len(weight._array)):
        return  # the lookup says so
    norms = np.linalg.norm(weight._array[rows], norm_type, axis=1)
    long = norms > max_norm
    if long.any():
        factors = max_norm / (norms[long, None] + 1e-7)
        weight._array[rows[long]] *= factors.astype(weight._array.dtype)
        note_write(weight, 'embedding_renorm_')


@export('nn.functional')
def embedding(input, weight, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False):
    """The rows of `weight` (count, size) that the int64 or int32 `input` names: (*input.shape, size).

    The row padding_idx gets no gradient. max_norm shrinks the rows looked up in place. scale_grad_by_freq divides a
    row's gradient by how often it is named. `sparse` has no effect: gradients are dense. Raises IndexError out of
    range.
    """
    _check_lookup('embedding', input, weight)
    if padding_idx is not None:
        padding_idx = _padding_row(padding_idx, weight)
    if max_norm is not None:
        _limit_norms(weight, input._array, max_norm, norm_type)
    return _embedding(weight, input, padding_idx, scale_grad_by_freq)


@export(name='embedding')
def _torch_embedding(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    """`nn.functional.embedding` with the table first; padding_idx -1 is none."""
    _check_lookup('embedding', indices, weight)
    return _embedding(weight, indices, padding_idx if padding_idx >= 0 else None, scale_grad_by_freq)


# ---- bags

@opaque(namespace='', method=False)
def _largest_in_bag(m, rows, bags, count):
    """For each bag and column the place of the first largest value among its rows; 0 for empty bags."""
    places = np.zeros((count, rows.shape[1]), np.int64)
    filled, starts = np.unique(bags, return_index=True)
    for bag, start, stop in zip(filled, starts, (*starts[1:], len(bags))):
        places[bag] = start + rows[start:stop].argmax(0)
    return places


@opaque(namespace='', method=False)
def _bag_of_each(m, sizes):
    """For each row of bags of these sizes the bag that it is in."""
    return np.repeat(np.arange(len(sizes)), sizes)


@opaque(namespace='', method=False, label='EmbeddingBagBackward0', grad={
    'weight': lambda m, g, indices, sizes, weight_shape, scale_grad_by_freq: m._embedding_gradient(
        m.index_select(g, 0, m._bag_of_each(sizes)), indices, weight_shape[0], None, scale_grad_by_freq)})
def _summed_bags(m, weight, indices, sizes, scale_grad_by_freq):
    """The sums of the rows that `indices` name, each into the bag it goes into."""
    out = m.kernel('indexing.sum_bags', weight, indices, sizes) if indices.size * weight.shape[1] >= LARGE else None
    if out is None:
        out = np.zeros((len(sizes), weight.shape[1]), weight.dtype)
        accumulate_rows(out, 1, m._bag_of_each(sizes), weight.take(indices, axis=0))
    return out


@composite(name='_embedding_bag', namespace='', method=False, label='EmbeddingBagBackward0')
def _embedding_bag(m, weight, indices, sizes, per_sample_weights, mode, scale_grad_by_freq):
    """Bags of rows: the first sizes[0] of `indices`, the next sizes[1], ..."""
    count = sizes.shape[0]
    if mode == 'max' or per_sample_weights is not None:
        rows = m._embedding(weight, indices, None, scale_grad_by_freq)
    if mode == 'max':
        if not indices.shape[0]:
            return m.zeros_of((count, weight.shape[1]), weight)
        largest = m.gather(rows, 0, m._largest_in_bag(m.stop(rows), m._bag_of_each(sizes), count))
        return m.where(m.unsqueeze(sizes, 1) == 0, m.zeros_like(largest), largest)
    if per_sample_weights is None:
        out = m._summed_bags(weight, indices, sizes, scale_grad_by_freq)
    else:
        rows = rows * m.unsqueeze(per_sample_weights, 1)
        out = m.index_add(m.zeros_of((count, weight.shape[1]), weight), 0, m._bag_of_each(sizes), rows)
    return out if mode == 'sum' else out / m.cast_like(m.unsqueeze(m.clamp_min(sizes, 1), 1), out)


def _offsets_of(input, offsets, include_last_offset):
    """Where each bag begins, checked."""
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError('embedding_bag: if input is 2D, then offsets has to be None, as its rows are the bags; '
                             f'found offsets of shape {list(offsets.shape)}')
        return np.arange(input.shape[0]) * input.shape[1]
    if input.dim() != 1:
        raise ValueError(f'embedding_bag: input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}')
    if offsets is None or offsets.dim() != 1:
        got = None if offsets is None else f'one of shape {list(offsets.shape)}'
        raise ValueError(f'embedding_bag: offsets has to be a 1D Tensor for a 1D input, but got {got}')
    starts = offsets._array
    if include_last_offset and not starts.size:
        raise RuntimeError('embedding_bag: include_last_offset needs at least one offset')
    if starts.size and starts[0] != 0:
        raise RuntimeError(f'embedding_bag: offsets[0] has to be 0, i.e., the first bag starts at 0. However, got '
                           f'{starts[0]}')
    if starts.size and starts[-1] > input.numel():
        raise RuntimeError(f"embedding_bag: offsets[-1] can not be greater than input's length {input.numel()} but got "
                           f'offsets[-1] of {starts[-1]}')
    return starts[:-1] if include_last_offset else starts


@export('nn.functional')
def embedding_bag(input, weight, offsets=None, max_norm=None, norm_type=2, scale_grad_by_freq=False, mode='mean',
                  sparse=False, per_sample_weights=None, include_last_offset=False, padding_idx=None):
    """The sum, mean or maximum of the rows of `weight` in each bag: (bags, size).

    input: (bags, length), or (N,) with `offsets` at which bags begin (include_last_offset: and the last ends).
    per_sample_weights, of the shape of input, multiply rows; only for sums. Entries equal to padding_idx do not count.
    """
    _check_lookup('embedding_bag', input, weight)
    if mode not in ('sum', 'mean', 'max'):
        raise ValueError(f'embedding_bag: mode has to be one of sum, mean or max, got {mode!r}')
    if per_sample_weights is not None:
        if per_sample_weights.shape != input.shape:
            raise ValueError(f'embedding_bag: per_sample_weights of shape {tuple(per_sample_weights.shape)} must have '
                             f'the same shape as the input, {tuple(input.shape)}')
        if mode != 'sum':
            raise NotImplementedError(f"embedding_bag: per_sample_weights is only supported for mode='sum', got "
                                      f'{mode!r}')
        per_sample_weights = per_sample_weights.reshape(-1)
    if scale_grad_by_freq and mode == 'max':
        raise RuntimeError('embedding_bag: scaling gradients by frequency is not supported for max')
    starts = _offsets_of(input, offsets, include_last_offset)
    indices = input._array.reshape(-1).astype(np.int64, copy=False)
    if indices.size and not 0 <= indices.min() <= indices.max() < weight.shape[0]:
        bad = np.flatnonzero((indices < 0) | (indices >= weight.shape[0]))[0]
        raise RuntimeError(f'embedding_bag: index {bad} of input takes value {indices[bad]} which is not in the valid '
                           f'range [0, {weight.shape[0]})')
    sizes = np.append(starts[1:], indices.size)[:len(starts)] - starts
    if sizes.size and sizes.min() < 0:
        raise RuntimeError('embedding_bag: offsets have to be in ascending order')
    if padding_idx is not None:
        kept = np.flatnonzero(indices != _padding_row(padding_idx, weight))
        sizes = np.bincount(np.repeat(np.arange(len(starts)), sizes)[kept], minlength=len(starts))
        indices = indices[kept]
        per_sample_weights = None if per_sample_weights is None else per_sample_weights.index_select(0, wrap(kept))
    if max_norm is not None:
        _limit_norms(weight, indices, max_norm, norm_type)
    sizes = sizes.astype(np.int64, copy=False)
    return _embedding_bag(weight, wrap(indices), wrap(sizes), per_sample_weights, mode, scale_grad_by_freq)


# ---- one-hot vectors

@export('nn.functional')
def one_hot(tensor, num_classes=-1):
    """int64 vectors of zeros with a 1 at the place that `tensor` (int64) names, in a new last dimension.

    num_classes -1 takes one more than the largest value. Raises RuntimeError for values outside 0 to num_classes - 1.
    """
    values = tensor._array
    if values.dtype != np.int64:
        raise RuntimeError(f'one_hot is only applicable to index tensor of type LongTensor, got {tensor.dtype}: use '
                           '.long()')
    if not values.size and num_classes <= 0:
        raise RuntimeError('one_hot: can not infer total number of classes from empty tensor.')
    if values.size:
        low, high = bounds(values)
        if low < 0:
            raise RuntimeError(f'one_hot: class values must be non-negative, got {low}')
        if num_classes == -1:
            num_classes = int(high) + 1
        elif num_classes < 1 or high >= num_classes:
            raise RuntimeError(f'one_hot: class values must be smaller than num_classes, got {high} and {num_classes}')
    out = np.zeros((*values.shape, num_classes), np.int64)
    out.reshape(-1)[values.reshape(-1) + np.arange(0, out.size, num_classes or 1)] = 1
    return wrap(out)
