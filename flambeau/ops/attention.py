"""Attention: softmax(query @ key^T * scale + mask) @ value, alone and between the projections of several heads.

Where nobody asks for the weights they are never held all at once: forward and backward go through a few heads at a
time, and backward computes the weights again. Queries that may look at no key give zeros.
"""
from __future__ import annotations

import functools
import math

import numpy as np

from .. import dtypes
from ..device import CPU
from ..random import default_generator
from ..tensor import Tensor, wrap
from . import draws
from .batching import Batch, apart, in_batch, lined_up
from .contraction import linear
from .definition import PUBLIC, export, opaque
from .over import over
from .reference import LARGE, REFERENCE
from .sampling import _scale_kept

__all__ = ['scaled_dot_product_attention', 'multi_head_attention_forward', 'additive_mask']

ROOM = 2 ** 18  # how many weights are held at once: what fits a processor's cache
SMALL_MASK = 1 << 14


# ---- the operation -------------------------------------------------------------------------------------------------

def _shares(m, scores, scale, mask):
    """softmax(scores * scale + mask), for `_weights`."""
    scores = scores * scale
    if mask is not None:
        scores = m.where(mask, scores, -math.inf) if _is_bool(mask) else scores + mask
    peak = m.amax(scores, -1, True)
    powers = m.exp(scores - m.where(peak == -math.inf, 0.0, peak))
    total = m.sum(powers, -1, True)
    return powers * (1.0 / m.where(total == 0, 1.0, total))


def _weights(m, query, key, mask, scale):
    """softmax(query @ key^T * scale + mask); mask: None, bool (True where a key is looked at) or added."""
    if m is REFERENCE:
        scores = m.matmul(query, m.transpose(key, -2, -1))
        plan = m.planned(_shares, (scores, float(scale), mask))
        if plan:
            return plan(scores, float(scale), mask)
        scores *= scale
    else:
        scores = m.matmul(query * scale, m.transpose(key, -2, -1))
    if mask is not None:
        scores = over(m, 'kept', scores, mask, -math.inf) if _is_bool(mask) else over(m, 'add', scores, mask)
    peak = m.stop(m.amax(scores, -1, True))
    powers = over(m, 'exp', over(m, 'sub', scores, m.where(peak == -math.inf, 0.0, peak)))
    total = m.sum(powers, -1, True)
    return over(m, 'div', powers, m.where(total == 0, 1.0, total))


def _is_bool(mask):
    return mask.dtype in (dtypes.bool_, np.dtype(bool))


def _attended(m, query, key, value, mask, kept, scale, factor):
    weights = _weights(m, query, key, mask, scale)
    return m.matmul(weights if kept is None else weights * (kept * factor), value)


def _softmax_slopes(m, dweights, along, weights):
    return (dweights - along) * weights


def _attended_gradient(m, g, output, query, key, value, mask, kept, scale, factor):
    """The gradients of query, key, value and an added mask."""
    weights = _weights(m, query, key, mask, scale)
    dropped, dscores = weights, m.matmul(g, m.transpose(value, -2, -1))
    if kept is not None:
        kept = kept * factor
        dropped, dscores = weights * kept, over(m, 'mul', dscores, kept)
    dvalue = m.matmul(m.transpose(dropped, -2, -1), g)
    dscores = m.fused(_softmax_slopes, dscores, m.sum(g * output, -1, True), weights)
    return m.matmul(dscores, key) * scale, m.matmul(m.transpose(dscores, -2, -1), query) * scale, dvalue, dscores


def _blocks(lead, room):
    """Keys into the leading dimensions, which together visit each of their places once, at most `room` at a time."""
    if not lead:
        yield ()
        return
    inner = math.prod(lead[1:])
    if inner <= room:
        step = max(room // max(inner, 1), 1)
        for start in range(0, lead[0], step):
            yield slice(start, start + step),
    else:
        for k in range(lead[0]):
            for rest in _blocks(lead[1:], room):
                yield k, *rest


def _in_blocks(query, key, mask, kept):
    """(block, mask in it, kept in it) of arrays, mask and kept as None where they are."""
    lead, matrix = query.shape[:-2], (query.shape[-2], key.shape[-2])
    if mask is not None:
        mask = np.broadcast_to(mask, (*lead, *matrix))
    for block in _blocks(lead, max(ROOM // math.prod(matrix), 1)):
        yield block, None if mask is None else mask[block], None if kept is None else kept[block]


def _attention_gradient(m, g, output, query, key, value, mask, kept, scale, factor, causal, needed):
    if m is REFERENCE and 'mask' not in needed:
        gradients = m.kernel('attention.backward', g, output, query, key, value, mask, kept, scale, factor, causal)
        if gradients is not None:
            return dict(zip(('query', 'key', 'value'), gradients))
    if m is not REFERENCE:
        gradients = _attended_gradient(m, g, output, query, key, value, mask, kept, scale, factor)
    else:
        gradients = [np.empty_like(query), np.empty_like(key), np.empty_like(value)]
        if 'mask' in needed:
            gradients.append(np.empty((*query.shape[:-1], key.shape[-2]), query.dtype))
        for block, mask_in, kept_in in _in_blocks(query, key, mask, kept):
            parts = _attended_gradient(m, g[block], output[block], query[block], key[block], value[block], mask_in,
                                       kept_in, scale, factor)
            for whole, part in zip(gradients, parts):
                whole[block] = part
    found = dict(zip(('query', 'key', 'value'), gradients))
    if 'mask' in needed:
        found['mask'] = m.sum_to_size(gradients[3], mask.shape)
    return found


def _attention_batched(op, values, size):
    """The batch is one more leading size; of two or more, the first two become one."""
    operands = [in_batch(v, size) for v in values[:3]]
    rank, joined = operands[0].dim(), operands[0].dim() > 4
    masks = []
    for mask in values[3:5]:
        if mask is not None and (isinstance(mask, Batch) or mask.dim() > rank - 2):
            mask = lined_up(in_batch(mask, size), rank - 1)
            mask = mask.expand(size, operands[0].shape[1], *mask.shape[2:]).flatten(0, 1) if joined else mask
        masks.append(mask)
    if not joined:
        return op.public(*operands, *masks, *values[5:])
    return apart(op.public(*[t.flatten(0, 1) for t in operands], *masks, *values[5:]), operands[0].shape[:2])


@opaque(namespace='', method=False, widen=True, replay=True, label='ScaledDotProductFlashAttentionForCpuBackward0',
        batch=_attention_batched,
        grad=_attention_gradient)
def attention(m, query, key, value, mask, kept, scale, factor, causal):
    """Attention of (..., queries, features) to (..., keys, features) and values (..., keys, width).

    The leading sizes are equal. mask broadcasts to (..., queries, keys). kept: which weights dropout leaves, multiplied
    by `factor`, or None. causal says that mask is the causal one.
    """
    made = m.kernel('attention.forward', query, key, value, mask, kept, scale, factor, causal)
    if made is not None:
        return made
    *lead, rows, features = *query.shape[:-1], value.shape[-1]
    if max(query.size, math.prod(lead) * rows * key.shape[-2]) <= LARGE:
        return _attended(m, query, key, value, mask, kept, scale, factor).astype(query.dtype, copy=False)
    if len(lead) == 2:  # heads are joined again by a view
        out = np.empty((lead[0], rows, lead[1], features), query.dtype).swapaxes(1, 2)
    else:
        out = np.empty((*lead, rows, features), query.dtype)
    for block, mask_in, kept_in in _in_blocks(query, key, mask, kept):
        out[block] = _attended(m, query[block], key[block], value[block], mask_in, kept_in, scale, factor)
    return out


# ---- scaled_dot_product_attention ---------------------------------------------------------------------------------

def _check_attention(query, key, value, mask, dropout_p, is_causal):
    if type(query) is type(key) is type(value) is Tensor:  # the usual call, looked at quickly
        q, k, v = query._array, key._array, value._array
        if (q.dtype is k.dtype is v.dtype and q.dtype.kind == 'f' and min(q.ndim, k.ndim, v.ndim) > 1
                and q.shape[-1] == k.shape[-1] and k.shape[-2] == v.shape[-2] and 0 <= dropout_p <= 1
                and (mask is None or not is_causal and mask.dtype in (dtypes.bool_, query.dtype))):
            return
    tensors = {'query': query, 'key': key, 'value': value}
    for position, (name, t) in enumerate(tensors.items(), 1):
        if not isinstance(t, Tensor):
            raise TypeError(f"scaled_dot_product_attention(): argument '{name}' (position {position}) must be Tensor, "
                            f'not {type(t).__name__}')
    if len({t.dtype for t in tensors.values()}) > 1:
        raise RuntimeError('Expected query, key, and value to have the same dtype, but got ' + ' '.join(
            f'{name}.dtype: {t.dtype}' for name, t in tensors.items()))
    if not query.is_floating_point():
        raise RuntimeError(f'scaled_dot_product_attention: expected floating point tensors but found {query.dtype}')
    if min(t.dim() for t in tensors.values()) < 2:
        raise RuntimeError('Expected query, key, and value to all be at least 2 dimensional, but got ' + ' '.join(
            f'{name}.dim: {t.dim()}' for name, t in tensors.items()))
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise RuntimeError('scaled_dot_product_attention: query and key must agree in the last size, key and value in '
                           'the last but one, but got shapes '
                           + ', '.join(str(list(t.shape)) for t in tensors.values()))
    if mask is not None:
        if is_causal:
            raise RuntimeError('scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True')
        if mask.dtype is not dtypes.bool_ and mask.dtype is not query.dtype and mask.dtype is not dtypes.float32:
            raise RuntimeError('Expected attn_mask dtype to be bool or float or to match query dtype, but got '
                               f'attn_mask.dtype: {mask.dtype} and query.dtype: {query.dtype} instead.')
    if not 0 <= dropout_p <= 1:
        raise RuntimeError(f'dropout probability has to be between 0 and 1, but got {dropout_p}')


def _repeated_heads(query, key, value):
    heads, groups, value_groups = query.shape[-3], key.shape[-3], value.shape[-3]
    if not groups or not value_groups or heads % groups or heads % value_groups:
        raise RuntimeError(f'Number of heads in key and value must divide the number of heads in query, but got '
                           f'{heads} in query, {groups} in key and {value_groups} in value')
    repeat = PUBLIC.repeat_interleave
    return repeat(key, heads // groups, -3), repeat(value, heads // value_groups, -3)


def _folded_heads(query, key, value, mask, is_causal):
    """(query, mask) where heads that share one of key and value are rows of one, or None.

    Keys need not be repeated then. For one row a head, or where the mask is the same for all rows and heads.
    """
    (heads, rows, features), groups = query.shape[-3:], key.shape[-3]
    if groups != value.shape[-3] or not groups or heads % groups or rows > 1 and is_causal:
        return None
    shared = heads // groups
    if is_causal:
        mask = _causal_mask(1, key.shape[-2])
    elif mask is not None and mask.dim() > 1:
        apart = mask.shape[-3] if mask.dim() > 2 else 1
        if apart not in (1, heads) or mask.shape[-2] > 1 or rows > 1 < apart:
            return None
        if apart > 1:
            mask = mask.reshape(*mask.shape[:-3], groups, shared, mask.shape[-1])
    return query.reshape(*query.shape[:-3], groups, shared * rows, features), mask


@functools.lru_cache(maxsize=64)
def _small_causal_mask(rows, columns):
    mask = np.tri(rows, columns, dtype=bool)
    mask.flags.writeable = False
    return mask


def _causal_mask(rows, columns):
    """Which columns rows look at, where all before are; small ones are kept."""
    return wrap(_small_causal_mask(rows, columns) if rows * columns <= SMALL_MASK
                else np.tri(rows, columns, dtype=bool))


def _kept_weights(shape, dtype, dropout_p):
    """(which weights dropout leaves, their factor); (None, 1) without dropout."""
    if not dropout_p:
        return None, 1.0
    if dropout_p == 1:
        return wrap(np.zeros(shape, bool)), 0.0
    return (wrap(draws.bernoulli_mask(default_generator, np.empty(shape, np.int8), 1 - dropout_p)),
            _scale_kept(dtype, dropout_p))


@export('nn.functional')
def scaled_dot_product_attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None,
                                 enable_gqa=False):
    """softmax(query @ key^T * scale + attn_mask) @ value over the last two dimensions.

    attn_mask broadcasts to (..., queries, keys): bool (True where a query may look at a key) or numbers that are
    added. is_causal: a query looks at keys up to its own place; not together with attn_mask. scale: 1/sqrt(features) if
    None. enable_gqa: a head of key and value serves several of query. dropout_p applies whatever the mode.

    >>> x = torch.ones(2, 5, 4)
    >>> nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True).shape
    torch.Size([2, 5, 4])
    """
    _check_attention(query, key, value, attn_mask, dropout_p, is_causal)
    if enable_gqa:
        folded = _folded_heads(query, key, value, attn_mask, is_causal)
        if folded:
            output = scaled_dot_product_attention(folded[0], key, value, folded[1], dropout_p, False, scale)
            return output.reshape(*output.shape[:-3], *query.shape[-3:-1], output.shape[-1])
        key, value = _repeated_heads(query, key, value)
    shapes = [t._array.shape for t in (query, key, value)]
    lead, matrix = shapes[0][:-2], (shapes[0][-2], shapes[1][-2])
    if not lead == shapes[1][:-2] == shapes[2][:-2]:
        try:
            lead = np.broadcast_shapes(*(shape[:-2] for shape in shapes))
        except ValueError:
            raise RuntimeError('scaled_dot_product_attention: the leading sizes of query, key and value cannot be '
                               f'broadcast: {list(query.shape)}, {list(key.shape)}, {list(value.shape)}') from None
        query, key, value = (t.expand(*lead, *t.shape[-2:]) for t in (query, key, value))
    scale = 1 / math.sqrt(shapes[0][-1] or 1) if scale is None else scale
    if is_causal:
        attn_mask = _causal_mask(*matrix)
    elif attn_mask is not None:
        _need_broadcast(attn_mask, (*lead, *matrix))
        if attn_mask.dtype is not dtypes.bool_ and attn_mask.dtype is not query.dtype:
            attn_mask = attn_mask.to(query.dtype)
    if not matrix[1]:
        return PUBLIC.matmul(query.new_zeros((*lead, *matrix)), value)
    kept, factor = _kept_weights((*lead, *matrix), query._array.dtype, dropout_p)
    return attention(query, key, value, attn_mask, kept, scale, factor, is_causal)


def _need_broadcast(mask, shape):
    sizes = tuple(mask.shape)
    if len(sizes) > len(shape) or any(n not in (1, want) for n, want in zip(sizes[::-1], shape[::-1])):
        raise RuntimeError(f'attn_mask of shape {list(sizes)} must match or broadcast to the size of the weights, '
                           f'{list(shape)}')


# ---- multi_head_attention_forward ---------------------------------------------------------------------------------

def additive_mask(mask, name, dtype):
    """A mask as numbers to be added, -inf where a bool one is True; None of None."""
    if mask is None:
        return None
    if mask.dtype is not dtypes.bool_:
        if not mask.is_floating_point():
            raise AssertionError(f'only bool and floating types of {name} are supported')
        return mask
    return PUBLIC.zeros(mask.shape, dtype=dtype, device=CPU).masked_fill(mask, -math.inf)


def _need(condition, message):
    if not condition:
        raise AssertionError(message)


def _is_batched(query, key, value, key_padding_mask, attn_mask, num_heads):
    """Whether there is a batch; raises AssertionError for ranks that do not go together."""
    _need(query.dim() in (2, 3), 'query should be unbatched 2D or batched 3D tensor but received '
                                 f'{query.dim()}-D query tensor')
    rank, kind = query.dim(), 'batched (3-D)' if query.dim() == 3 else 'unbatched (2-D)'
    _need(key.dim() == rank and value.dim() == rank,
          f'For {kind} `query`, expected `key` and `value` to be {rank}-D but found {key.dim()}-D and {value.dim()}-D '
          'tensors respectively')
    if key_padding_mask is not None:
        _need(key_padding_mask.dim() == rank - 1, f'For {kind} `query`, expected `key_padding_mask` to be `None` or '
                                                  f'{rank - 1}-D but found {key_padding_mask.dim()}-D tensor instead')
    if attn_mask is not None:
        _need(attn_mask.dim() in (2, 3), f'For {kind} `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found '
                                         f'{attn_mask.dim()}-D tensor instead')
        if rank == 2 and attn_mask.dim() == 3:
            expected = num_heads, query.shape[0], key.shape[0]
            _need(tuple(attn_mask.shape) == expected, f'Expected `attn_mask` shape to be {expected} but got '
                                                      f'{attn_mask.shape}')
    return rank == 3


def _projected(query, key, value, weight, bias):
    """query, key and value through one weight that holds three, in as few products as their identity allows."""
    size = query.shape[-1]
    if query is key and key is value:
        return linear(query, weight, bias).split(size, -1)
    first, second = weight.split([size, 2 * size])
    biases = (None, None) if bias is None else bias.split([size, 2 * size])
    if key is value:
        return linear(query, first, biases[0]), *linear(key, second, biases[1]).split(size, -1)
    weights, biases = weight.chunk(3), (None,) * 3 if bias is None else bias.chunk(3)
    return tuple(linear(t, w, b) for t, w, b in zip((query, key, value), weights, biases))


def _projected_apart(query, key, value, weights, bias):
    _need(all(w is not None for w in weights),
          'use_separate_proj_weight is True but one of q_proj_weight, k_proj_weight and v_proj_weight is None')
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    return tuple(linear(t, w, b) for t, w, b in zip((query, key, value), weights, biases))


def _heads(tensor, heads, head_dim):
    """(length, batch, features) as (batch, heads, length, head_dim)."""
    return tensor.reshape(*tensor.shape[:2], heads, head_dim).permute(1, 2, 0, 3)


def _static(tensor, name, batch, heads, head_dim):
    for dim, want in ((0, batch * heads), (2, head_dim)):
        _need(tensor.shape[dim] == want, f'expecting {name}.size({dim}) of {want}, but got {tensor.shape[dim]}')
    return tensor.reshape(batch, heads, *tensor.shape[1:])


def _padded_masks(masks):
    """Masks with one more key, which nobody is kept from."""
    return [None if mask is None else PUBLIC.cat([mask, mask.new_zeros((*mask.shape[:-1], 1))], -1) for mask in masks]


def _check_mask(mask, queries, keys, batch, heads):
    """The mask as (queries, keys) or (batch, heads, queries, keys); raises RuntimeError for another shape."""
    expected = (queries, keys) if mask.dim() == 2 else (batch * heads, queries, keys)
    if tuple(mask.shape) != expected:
        raise RuntimeError(f'The shape of the {mask.dim()}D attn_mask is {mask.shape}, but should be {expected}.')
    return mask if mask.dim() == 2 else mask.reshape(batch, heads, queries, keys)


def _merged_masks(attn_mask, padding):
    if padding is None:
        return attn_mask
    padding = padding[:, None, None]
    return padding if attn_mask is None else attn_mask + padding


def _weighed(query, key, value, mask, dropout_p):
    """(output, weights after dropout) of (batch, heads, ...)."""
    lead = query.shape[:2]
    query, key, value = (t.flatten(0, 1) for t in (query * math.sqrt(1.0 / query.shape[-1]), key, value))
    scores = PUBLIC.bmm(query, key.transpose(-2, -1)).unflatten(0, lead)
    weights = PUBLIC.softmax(scores if mask is None else scores + mask, -1)
    if dropout_p > 0:
        weights = PUBLIC.dropout(weights, dropout_p, True)
    return PUBLIC.bmm(weights.flatten(0, 1), value).unflatten(0, lead), weights


@export('nn.functional')
def multi_head_attention_forward(
        query, key, value, embed_dim_to_check, num_heads, in_proj_weight, in_proj_bias, bias_k, bias_v, add_zero_attn,
        dropout_p, out_proj_weight, out_proj_bias, training=True, key_padding_mask=None, need_weights=True,
        attn_mask=None, use_separate_proj_weight=False, q_proj_weight=None, k_proj_weight=None, v_proj_weight=None,
        static_k=None, static_v=None, average_attn_weights=True, is_causal=False):
    """Attention of several heads between projections: (output, weights or None); see nn.MultiheadAttention.

    query: (queries, batch, features) or (queries, features); key and value alike. static_k, static_v: (batch * heads,
    keys, features of a head) in the place of the projected ones. is_causal says that attn_mask, which must be given, is
    causal.
    """
    batched = _is_batched(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        distinct = {id(t): t.unsqueeze(1) for t in (query, key, value)}
        query, key, value = distinct[id(query)], distinct[id(key)], distinct[id(value)]
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    queries, batch, embed_dim = query.shape
    padding = additive_mask(key_padding_mask, 'key_padding_mask', query.dtype)
    if is_causal and attn_mask is None:
        raise RuntimeError('Need attn_mask if specifying the is_causal hint. You may use the Transformer module method '
                           '`generate_square_subsequent_mask` to create this mask.')
    is_causal = is_causal and padding is None and not need_weights
    mask = None if is_causal else additive_mask(attn_mask, 'attn_mask', query.dtype)
    _check_features(query, key, value, embed_dim_to_check, num_heads, use_separate_proj_weight)
    head_dim = embed_dim // num_heads
    q, k, v = _projected_apart(query, key, value, (q_proj_weight, k_proj_weight, v_proj_weight), in_proj_bias) \
        if use_separate_proj_weight else _projected(query, key, value, in_proj_weight, in_proj_bias)
    if mask is not None:
        mask = _check_mask(mask, queries, key.shape[0], batch, num_heads)
    if (bias_k is None) != (bias_v is None):
        raise AssertionError('multi_head_attention_forward: bias_k and bias_v must be given together')
    if bias_k is not None:
        _need(static_k is None and static_v is None, 'bias cannot be added to static key or value.')
        k, v = (PUBLIC.cat([t, b.repeat(1, batch, 1)]) for t, b in ((k, bias_k), (v, bias_v)))
        mask, padding = _padded_masks((mask, padding))
    q = _heads(q, num_heads, head_dim)
    k, v = (_heads(t, num_heads, head_dim) if static is None else _static(static, name, batch, num_heads, head_dim)
            for t, static, name in ((k, static_k, 'static_k'), (v, static_v, 'static_v')))
    if add_zero_attn:
        k, v = (PUBLIC.cat([t, t.new_zeros((batch, num_heads, 1, head_dim))], 2) for t in (k, v))
        mask, padding = _padded_masks((mask, padding))
    if padding is not None:
        _need(tuple(padding.shape) == (batch, k.shape[2]), f'Expected key_padded_mask.shape to be {(batch, k.shape[2])}'
                                                           f', but got {tuple(padding.shape)}')
    mask = _merged_masks(mask, padding)
    dropout_p = dropout_p if training else 0.0
    if need_weights:
        output, weights = _weighed(q, k, v, mask, dropout_p)
        weights = weights.mean(1) if average_attn_weights else weights
    else:
        output, weights = scaled_dot_product_attention(q, k, v, mask, dropout_p, is_causal), None
    output = linear(output.permute(2, 0, 1, 3).reshape(queries, batch, embed_dim), out_proj_weight, out_proj_bias)
    if batched:
        return output, weights
    return output.squeeze(1), None if weights is None else weights.squeeze(0)


def _check_features(query, key, value, embed_dim, num_heads, apart):
    _need(query.shape[-1] == embed_dim, f'was expecting embedding dimension of {embed_dim}, but got {query.shape[-1]}')
    _need(embed_dim % num_heads == 0, f'embed_dim {embed_dim} not divisible by num_heads {num_heads}')
    if apart:
        _need(key.shape[:2] == value.shape[:2], f"key's sequence and batch dims {key.shape[:2]} do not match value's "
                                                f'{value.shape[:2]}')
    else:
        _need(key.shape == value.shape, f'key shape {key.shape} does not match value shape {value.shape}')
