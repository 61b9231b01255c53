"""Reading and writing through masks and through flat indices: masked_fill, masked_select, masked_scatter, take, put."""
from __future__ import annotations

import math

import numpy as np

from .. import dtypes
from .batching import Batch, in_batch, in_front
from .definition import PUBLIC, opaque
from .keys import add_at, fits_plainly, gather, masked_shape, number_array, put_at, require_same_dtype
from .reference import LARGE, REFERENCE, chosen, sized
from .writers import IN_PLACE, destination, writing

# ---- masks -------------------------------------------------------------------------------------------


def _masked_fill_batched(op, values, size):
    input, mask, value = values
    return NotImplemented if isinstance(value, Batch) else in_front(op, (input, mask), size, value)


@writing(replay=True, overlapping=True, batch=_masked_fill_batched, grad={
    'input': lambda m, g, input_shape, mask: m.sum_to_size(m.masked_fill(g, mask, 0), input_shape),
    'value': lambda m, g, mask: m.sum(m.masked_select(g, mask))})
def masked_fill(m, input, mask, value):
    """`input` with `value` (a number or 0-d tensor) where `mask` is true; both broadcast."""
    shape = masked_shape(input, mask, 'masked_fill')
    if not fits_plainly(value, input.dtype.kind):
        value = number_array(value, input, 'masked_fill')
    if m is not IN_PLACE:
        return m.where(mask, value, input)
    _require_shape(input, shape)
    fill(input, mask, value)
    return input


def fill(array: np.ndarray, mask: np.ndarray, value) -> None:
    """Writes a number that fits where a mask, which broadcasts to the array, is true."""
    given = mask, value, array
    plan = array.size >= LARGE and not np.may_share_memory(mask, array) and REFERENCE.kernel(
        'fusion.planned', chosen, given, 1, (array.shape, array.dtype, array.strides))
    if plan:
        plan(given, (array,))
    else:
        np.copyto(array, value, where=mask)


def _require_shape(array, shape):
    if array.shape != shape:
        raise RuntimeError(f"output with shape {list(array.shape)} doesn't match the broadcast shape {list(shape)}")


@opaque(strict_out=True, grad={
    'input': lambda m, g, input_shape, mask: m.masked_select_adjoint(g, input_shape, mask)})
def masked_select(m, input, mask):
    """The elements of `input` where `mask` is true, as one dimension; both broadcast."""
    shape = masked_shape(input, mask, 'masked_select')
    if input.shape != shape:
        input = np.broadcast_to(input, shape)
    return gather(input, (mask if mask.shape == shape else np.broadcast_to(mask, shape),))


@opaque(namespace='', method=False, widen=True, grad={'g': lambda m, g, mask: m.masked_select(g, mask)})
def masked_select_adjoint(m, g, shape, mask):
    """Zeros of `shape` to which `g` is added where `mask` is true."""
    out = np.zeros(np.broadcast_shapes(shape, mask.shape), g.dtype)
    put_at(out, (np.broadcast_to(mask, out.shape),), g)
    return sized(out, shape)


@writing(grad={'input': lambda m, g, input_shape, mask: m.sum_to_size(m.masked_fill(g, mask, 0), input_shape),
               'source': lambda m, g, mask, source_shape: m.masked_scatter_adjoint(g, mask, source_shape)})
def masked_scatter(m, input, mask, source):
    """`input` with the elements of `source`, in order, where `mask` is true; the mask broadcasts."""
    shape = masked_shape(input, mask, 'masked_scatter')
    require_same_dtype('masked_scatter', input, source, 'source')
    mask = np.broadcast_to(mask, shape)
    count = np.count_nonzero(mask)
    if count > source.size:
        raise RuntimeError(f'masked_scatter: Number of elements of source < number of ones in mask: {source.size} and '
                           f'{count}')
    if m is IN_PLACE:
        _require_shape(input, shape)
    out = destination(m, input if m is IN_PLACE else np.broadcast_to(input, shape))
    put_at(out, (mask,), source.reshape(-1)[:count])
    return out


@opaque(namespace='', method=False,
        grad={'g': lambda m, g, g_shape, mask: m.masked_scatter(m.zeros_of(g_shape, g), mask, g)})
def masked_scatter_adjoint(m, g, mask, shape):
    """The elements of `g` where `mask` is true, then zeros, in `shape`."""
    out = np.zeros(math.prod(shape), g.dtype)
    chosen = g[np.broadcast_to(mask, g.shape)]
    out[:chosen.size] = chosen
    return out.reshape(shape)


# ---- flat indices ------------------------------------------------------------------------------------


def flat_places(name: str, index: np.ndarray, size: int) -> np.ndarray:
    """An index into a flattened tensor of `size` elements.

    Raises RuntimeError for its dtype, IndexError out of range.
    """
    if index.dtype != np.int64:
        raise RuntimeError(f'{name}(): Expected a long tensor for index, but got {dtypes.of(index.dtype)}')
    outside = index[(index < -size) | (index >= size)]
    if outside.size:
        raise IndexError(f'out of range: tried to access index {outside.flat[0]} on a tensor of {size} elements.')
    return index


def _take_batched(op, values, size):
    input, index = (in_batch(v, size) for v in values)
    return PUBLIC.gather(input.reshape(size, -1), 1, index.reshape(size, -1)).reshape(index.shape)


@opaque(strict_out=True, batch=_take_batched, grad={
    'input': lambda m, g, input_shape, index:
    m.reshape(m.index_adjoint(g, (math.prod(input_shape),), [index]), input_shape)})
def take(m, input, index):
    """The elements of the flattened `input` at the places in `index` (int64), in its shape."""
    return np.asarray(input.reshape(-1)[flat_places('take', index, input.size)])


@writing(grad={'input': lambda m, g, index, index_shape, accumulate:
               g if accumulate else m.put(g, index, m.zeros_of(index_shape, g)),
               'source': lambda m, g, index, source_shape: m.reshape(m.take(g, index), source_shape)})
def put(m, input, index, source, accumulate=False):
    """`input` with the elements of `source` written at, or added to, the places in `index` of its flattened form."""
    require_same_dtype('put_()', input, source, 'source')
    if source.size != index.size:
        raise IndexError(f'put_(): Expected source and index to have the same number of elements, but got '
                         f'source.numel() = {source.size}, index.numel() = {index.size}')
    places = flat_places('put_', index, input.size).reshape(-1)
    out = destination(m, input)
    flat = out.reshape(-1)
    (add_at if accumulate else put_at)(flat, (places,), source.reshape(-1))
    if not np.may_share_memory(flat, out):
        out[...] = flat.reshape(out.shape)
    return out
