"""Reading and writing along one dimension by an index tensor: gather, scatter, the index_* family; views overwritten.

Two kinds of index: one of as many dimensions as the tensor, which gives every element its own place along `dim`
(gather, scatter), and a vector of rows (index_select, index_add, ...). Keys and masks are in indexing.py.
"""
from __future__ import annotations

import functools
import math

import numpy as np

from .. import dtypes
from .batching import Batch, along_all, in_batch
from .definition import PUBLIC, composite, opaque
from .keys import ALL, accumulate_rows, number_array, outside, put_at, require_same_dtype, take_rows
from .writers import IN_PLACE, destination, writing
from .reference import LARGE, REFERENCE, axes_of
from .view import axis_of

REDUCTIONS = {'sum': np.add, 'prod': np.multiply, 'mean': np.add, 'amax': np.maximum, 'amin': np.minimum}


def with_dimensions(array: np.ndarray) -> np.ndarray:
    """A 0-d array as one of shape (1,), which PyTorch takes it for along a dimension; others as they are."""
    return array if array.ndim else array.reshape(1)


# ---- an index for every element ----------------------------------------------------------------------


def check_elements(name: str, shape: tuple[int, ...], dim: int, index: np.ndarray) -> None:
    """Raises RuntimeError for an `index` along `dim` of an array of `shape` that is out of range, has another dtype
    than int64 or int32, or more places in another dimension than the array."""
    if index.size == 0:
        return
    if index.dtype not in (np.int64, np.int32):
        raise RuntimeError(f'{name}(): Expected dtype int32/int64 for index, got {dtypes.of(index.dtype)}')
    if index.ndim != len(shape):
        raise RuntimeError(f'{name}(): Index tensor must have the same number of dimensions as the tensor, got index '
                           f'{list(index.shape)} and tensor {list(shape)}')
    if index.shape != shape and any(n > shape[d] for d, n in enumerate(index.shape) if d != dim):
        raise RuntimeError(f'{name}(): Size does not match: expected index {list(index.shape)} to be no larger than '
                           f'self {list(shape)} apart from dimension {dim}')
    size = shape[dim]
    if outside(index, size):
        wrong = index[(index < 0) | (index >= size)].flat[0]
        raise RuntimeError(f'{name}(): index {wrong} is out of bounds for dimension {dim} with size {size}')


def element_places(shape: tuple[int, ...], dim: int, index: np.ndarray) -> np.ndarray:
    """Where the elements that `index` names along `dim` lie in a flattened array of `shape`."""
    if index.size == 0:
        return index.astype(np.int64)
    stride = math.prod(shape[dim + 1:])
    places = index if stride == 1 else index * stride
    steps = (_steps if index.size <= LARGE else _steps.__wrapped__)(shape, dim, index.shape)
    return places if steps is None else places + steps


@functools.lru_cache(maxsize=64)
def _steps(shape: tuple[int, ...], dim: int, sizes: tuple[int, ...]):
    """Where the first elements along `dim` lie in a flattened array of `shape`, for the first `sizes` of other
    dimensions.
    """
    stride, found = 1, None
    for d in reversed(range(len(shape))):
        if d != dim and sizes[d] > 1:
            steps = np.arange(0, sizes[d] * stride, stride).reshape((-1,) + (1,) * (len(shape) - 1 - d))
            found = steps if found is None else found + steps
        stride *= shape[d]
    return found


def _source_part(name: str, src: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The elements of `src` that correspond to those of `index`."""
    if index.size == 0:
        return np.empty(0, src.dtype)
    if src.shape == index.shape:
        return src
    if src.ndim != index.ndim or any(n > size for n, size in zip(index.shape, src.shape)):
        raise RuntimeError(f'{name}(): Expected index {list(index.shape)} to have as many dimensions as src '
                           f'{list(src.shape)} and no larger size')
    return src[tuple(slice(n) for n in index.shape)]


@opaque(batch=along_all, strict_out=True, replay=True, grad={
    'input': lambda m, g, input_shape, dim, index: m.gather_adjoint(g, input_shape, dim, index)})
def gather(m, input, dim, index, *, sparse_grad=False):
    """The elements that `index` (int64 or int32) names along `dim`: output[i, j] = input[i, index[i, j]] for dim 1."""
    dim = axis_of(dim, input.ndim)
    x, places_of = with_dimensions(input), with_dimensions(index)
    check_elements('gather', x.shape, dim, places_of)
    if index.size >= LARGE and not x.flags.c_contiguous:
        x = m.dense(x)
    made = m.kernel('indexing.read', x, dim, places_of)
    if made is None:
        made = x.reshape(-1).take(element_places(x.shape, dim, places_of))
    return made.reshape(index.shape)


@opaque(namespace='', method=False, grad={'g': lambda m, g, dim, index: m.gather(g, dim, index)})
def gather_adjoint(m, g, shape, dim, index):
    """Zeros of `shape` to which `g` is added at the places `gather` reads."""
    return m.scatter_add(m.zeros_of(shape, g), dim, index, g)


def _write_elements(m, name, input, dim, index, source, ufunc=None):
    """Writes (or combines by a ufunc) `source` at the places of `index`; a 0-d source counts for all."""
    dim = axis_of(dim, input.ndim)
    x, index = with_dimensions(input), with_dimensions(index)
    check_elements(name, x.shape, dim, index)
    if source.ndim or index.size != 1:
        source = source if source.ndim == 0 else _source_part(name, with_dimensions(source), index)
    out = destination(m, input)
    if REFERENCE.kernel('indexing.combine', with_dimensions(out), dim, index, source, ufunc):
        return out
    places = element_places(x.shape, dim, index).reshape(-1)
    flat = out.reshape(-1)
    if ufunc is None:
        flat[places] = source.reshape(-1) if source.ndim else source
    else:
        ufunc.at(flat, places, np.ascontiguousarray(np.broadcast_to(source, index.shape)).reshape(-1))
    if not np.may_share_memory(flat, out):
        out[...] = flat.reshape(out.shape)
    return out


def _plain_scatter_only(formula):
    """A gradient of scatter, which exists without `reduce`."""
    def gradient(m, g, dim, index, reduce):
        if reduce is not None:
            raise RuntimeError("the derivative for 'scatter' with reduce= is not implemented: use scatter_reduce")
        return formula(m, g, dim, index)
    return gradient


@writing(batch=along_all, replay=True, grad={
    'input': _plain_scatter_only(lambda m, g, dim, index: m.scatter(g, dim, index, 0)),
    'src': _plain_scatter_only(lambda m, g, dim, index: m.gather(g, dim, index))})
def scatter(m, input, dim, index, src=None, *, value=None, reduce=None):
    """`input` with `src` (a tensor or number) at the places that `index` names along `dim`.

    reduce: 'add' or 'multiply' combine with what is there. Raises RuntimeError as `gather`, and for unequal dtypes.
    """
    source = value if src is None else src
    if reduce not in (None, 'add', 'multiply'):
        raise RuntimeError('reduce argument must be either add or multiply.')
    if isinstance(source, np.ndarray):
        require_same_dtype('scatter()', input, source, 'src')
        if source.ndim == 0 != index.ndim:
            raise RuntimeError('scatter(): Index tensor must have the same number of dimensions as src tensor')
    else:
        source = number_array(source, input, 'scatter')
    ufunc = {None: None, 'add': np.add, 'multiply': np.multiply}[reduce]
    return _write_elements(m, 'scatter', input, dim, index, source, ufunc)


@writing(batch=along_all, replay=True, grad={'input': lambda m, g: g, 'src': lambda m, g, dim, index: m.gather(g,
        dim, index)})
def scatter_add(m, input, dim, index, src):
    """`input` with the elements of `src` added, in order, at the places that `index` names along `dim`."""
    require_same_dtype('scatter_add()', input, src, 'src')
    return _write_elements(m, 'scatter_add', input, dim, index, src, np.add)


def _scatter_reduce_gradients(m, g, input, dim, index, src, reduce, include_self, output):
    """Of sums and means the cotangent's share; of products the product of the others; of extremes equal shares."""
    ones = m.ones_like(src)
    if reduce == 'sum':
        own, share = g, m.gather(g, dim, index)
    elif reduce == 'mean':
        count = m.ones_like(input) if include_self else m.zeros_like(input)
        count = m.scatter_add(count, dim, index, ones)
        own = g / m.masked_fill(count, m.eq(count, 0), 1)
        share = m.gather(own, dim, index)
    elif reduce == 'prod':
        own, share = _product_gradients(m, g, input, dim, index, src, include_self, output)
    else:
        is_output, is_found = m.eq(input, output), m.eq(src, m.gather(output, dim, index))
        ties = m.where(is_output, m.ones_like(input), m.zeros_like(input))
        if not include_self:
            ties = m.scatter(ties, dim, index, 0)
        ties = m.scatter_add(ties, dim, index, m.where(is_found, ones, m.zeros_like(src)))
        each = g / ties
        own = m.masked_fill(each, m.ne(input, output), 0)
        share = m.masked_fill(m.gather(each, dim, index), m.ne(src, m.gather(output, dim, index)), 0)
    if not include_self:
        own = m.scatter(own, dim, index, 0)
    return {'input': own, 'src': share}


def _product_gradients(m, g, input, dim, index, src, include_self, output):
    # dividing the product by a factor fails at zero: there the product of the others is computed without it
    zero, source_zero = m.eq(input, 0), m.eq(src, 0)
    filled = m.masked_fill(input, zero, 1)
    own = g * m.scatter_reduce(filled, dim, index, src, 'prod', include_self=include_self) / filled
    zeros = m.scatter_add(m.zeros_like(input), dim, index,
                          m.where(source_zero, m.ones_like(src), m.zeros_like(src)))
    only_zero = m.logical_and(source_zero, m.eq(m.gather(zeros, dim, index), 1))
    others = m.scatter_reduce(input, dim, index, m.masked_fill(src, only_zero, 1), 'prod', include_self=include_self)
    share = m.where(only_zero, m.gather(g * others, dim, index),
                    m.gather(g * output, dim, index) / m.masked_fill(src, source_zero, 1))
    return own, share


@opaque(batch=along_all, inplace=True, grad=_scatter_reduce_gradients)
def scatter_reduce(m, input, dim, index, src, reduce, *, include_self=True):
    """`input` with the elements of `src` combined into the places that `index` names along `dim`.

    reduce: sum, prod, mean, amax or amin. Without include_self the elements written start from `src` alone.
    """
    if reduce not in REDUCTIONS:
        raise RuntimeError(f'reduce argument must be either sum, prod, mean, amax or amin, got {reduce}')
    require_same_dtype('scatter_reduce()', input, src, 'src')
    out = input
    if not include_self:
        out = _write_elements(m, 'scatter_reduce', input, dim, index, _neutral(reduce, input.dtype))
    out = _write_elements(m, 'scatter_reduce', out, dim, index, src, REDUCTIONS[reduce])
    if reduce == 'mean':
        count = np.full(input.shape, int(include_self))
        count = _write_elements(m, 'scatter_reduce', count, dim, index, np.array(1), np.add)
        count[count == 0] = 1
        out = (out // count if input.dtype.kind in 'iu' else out / count.astype(input.dtype)).astype(input.dtype)
    return out


def _neutral(reduce: str, kind: np.dtype) -> np.ndarray:
    """What changes nothing when combined, in a dtype."""
    if reduce in ('sum', 'mean'):
        return np.zeros((), kind)
    if reduce == 'prod':
        return np.ones((), kind)
    if kind == bool:
        return np.array(reduce == 'amin')
    if kind.kind in 'iu':
        limits = np.iinfo(kind)
        return np.array(limits.min if reduce == 'amax' else limits.max, kind)
    return np.array(-np.inf if reduce == 'amax' else np.inf).astype(kind)


@composite
def take_along_dim(m, input, indices, dim=None):
    """The elements that `indices` names along `dim`, both broadcast in the other dimensions; flat without dim."""
    if dim is None:
        return m.gather(m.reshape(input, (-1,)), 0, m.reshape(indices, (-1,)))
    if input.ndim != indices.ndim:
        raise RuntimeError('torch.take_along_dim(): input and indices should have the same number of dimensions, but '
                           f'got {input.ndim} dimensions for input, and {indices.ndim} dimensions for indices')
    dim = axis_of(dim, input.ndim)
    try:
        shape = np.broadcast_shapes((*input.shape[:dim], 1, *input.shape[dim + 1:]),
                                    (*indices.shape[:dim], 1, *indices.shape[dim + 1:]))
    except ValueError:
        raise RuntimeError(f'torch.take_along_dim(): input {list(input.shape)} and indices {list(indices.shape)} must '
                           f'broadcast outside dimension {dim}') from None
    input, indices = (m.expand(x, (*shape[:dim], x.shape[dim], *shape[dim + 1:])) for x in (input, indices))
    return m.gather(input, dim, indices + input.shape[dim] * (indices < 0))


# ---- a vector of rows --------------------------------------------------------------------------------


def row_numbers(name: str, index: np.ndarray, size: int, *, kinds=(np.int64, np.int32), error=RuntimeError,
                negative: bool = False) -> np.ndarray:
    """`index` as a vector of rows. Raises `error` out of range, RuntimeError for its dtype, IndexError for its rank."""
    if index.ndim > 1:
        raise IndexError(f'{name}(): Index is supposed to be a vector, but got shape {list(index.shape)}')
    if index.dtype not in kinds:
        raise RuntimeError(f'{name}(): Expected dtype {" or ".join(np.dtype(k).name for k in kinds)} for index but got '
                           f'{dtypes.of(index.dtype)}')
    index = with_dimensions(index)
    if index.size and (index.min() < -size or index.max() >= size if negative else outside(index, size)):
        wrong = index[(index < 0) | (index >= size)][0]
        raise error(f'{name}(): index {wrong} is out of range for a dimension of size {size}')
    return index


def _check_rows(name: str, out: np.ndarray, dim: int, index: np.ndarray, source: np.ndarray, error) -> None:
    """Raises where `source` does not hold one row of `out` per index."""
    if source.ndim != out.ndim or source.shape[dim] != index.size:
        raise error(f'{name}(): Number of indices ({index.size}) should be equal to source.size(dim), and source must '
                    f'have as many dimensions as self, got source {list(source.shape)} for self {list(out.shape)}, '
                    f'dim {dim}')
    if source.shape[:dim] + source.shape[dim + 1:] != out.shape[:dim] + out.shape[dim + 1:]:
        raise RuntimeError(f'{name}(): source tensor shape must match self tensor shape, excluding the specified '
                           f'dimension. Got self.shape = {list(out.shape)} source.shape = {list(source.shape)}')


def _rows_batched(op, values, size):
    """Rows named for each example: elements, with the names spread over the other dimensions."""
    named = dict(zip(op.parameters, values))
    if not isinstance(named['index'], Batch):
        return along_all(op, values, size, ('index',))
    input, index = in_batch(named['input'], size), named['index'].tensor
    if input.dim() < 2 or index.dim() != 2:
        return NotImplemented
    dim = axis_of(named['dim'], input.dim() - 1) + 1
    shape = list(input.shape)
    shape[dim] = index.shape[1]
    index = index.reshape([size if k == 0 else -1 if k == dim else 1 for k in range(len(shape))]).expand(shape)
    if op.name == 'index_select':
        return PUBLIC.gather(input, dim, index)
    return PUBLIC.scatter_add(input, dim, index, in_batch(named['source'], size) * named['alpha'])


@opaque(batch=_rows_batched, replay=True, grad={
    'input': lambda m, g, input_shape, dim, index: m.index_select_adjoint(g, input_shape, dim, index)})
def index_select(m, input, dim, index):
    """The rows of `input` along `dim` that a vector of int64 or int32 names. Raises IndexError out of range."""
    dim = axis_of(dim, input.ndim)
    x = with_dimensions(input)
    rows = row_numbers('index_select', index, x.shape[dim], error=IndexError)
    if input.ndim == 0:
        if rows.size != 1:
            raise RuntimeError(f'index_select(): Index to scalar can have only 1 value, got {rows.size} value(s)')
        return input.copy()
    return take_rows(x, rows, dim) if x.flags.c_contiguous else x[(ALL,) * dim + (rows,)]


@opaque(namespace='', method=False, grad={'g': lambda m, g, dim, index: m.index_select(g, dim, index)})
def index_select_adjoint(m, g, shape, dim, index):
    """Zeros of `shape` to which the rows of `g` are added where `index_select` reads them."""
    zeros = m.zeros_of(shape, g)
    return index_add.operation.formula(IN_PLACE, zeros, dim, index, g)


def _row_cotangent(m, g, dim, index, source_shape):
    return m.reshape(m.index_select(g, dim, index), source_shape)


@writing(batch=_rows_batched, replay=True, grad={
    'input': lambda m, g: g, 'source': lambda m, g, dim, index, source_shape, alpha:
               _row_cotangent(m, g, dim, index, source_shape) * alpha})
def index_add(m, input, dim, index, source, *, alpha=1):
    """`input` with `alpha` times the rows of `source` added, in order, to the rows along `dim` that `index` names."""
    require_same_dtype('index_add_()', input, source, 'source')
    dim = axis_of(dim, input.ndim)
    x, source = with_dimensions(input), with_dimensions(source)
    rows = row_numbers('index_add_', index, x.shape[dim])
    _check_rows('index_add_', x, dim, rows, source, RuntimeError)
    if alpha != 1:
        source = source * number_array(alpha, input, 'index_add_')
    out = destination(m, input)
    place = with_dimensions(out)
    if (dim and source.size >= LARGE or REFERENCE.kernel('replay.is_noting')) and REFERENCE.kernel(
            'indexing.combine_rows', place, dim, rows, source, np.add):
        return out
    if dim:
        place, source = np.moveaxis(place, dim, 0), np.moveaxis(source, dim, 0)
    accumulate_rows(place, 1, rows, source)
    return out


@writing(grad={'input': lambda m, g, dim, index: m.index_fill(g, dim, index, 0), 'source': _row_cotangent})
def index_copy(m, input, dim, index, source):
    """`input` with the rows of `source` in place of those along `dim` that `index` (int64) names."""
    require_same_dtype('index_copy_()', input, source, 'source')
    dim = axis_of(dim, input.ndim)
    x, source = with_dimensions(input), with_dimensions(source)
    rows = row_numbers('index_copy_', index, x.shape[dim], kinds=(np.int64,), error=IndexError)
    _check_rows('index_copy_', x, dim, rows, source, IndexError)
    out = destination(m, input)
    put_at(with_dimensions(out), (ALL,) * dim + (rows,), source)
    return out


@writing(overlapping=True, grad={
    'input': lambda m, g, dim, index: m.index_fill(g, dim, index, 0),
    'value': lambda m, g, dim, index: m.sum(g - m.index_fill(g, dim, index, 0))})
def index_fill(m, input, dim, index, value):
    """`input` with `value` (a number or 0-d tensor) in the rows along `dim` that `index` (int64) names."""
    dim = axis_of(dim, input.ndim)
    value = number_array(value, input, 'index_fill_')
    x = with_dimensions(input)
    if index.ndim > 1:
        raise RuntimeError(f'index_fill_(): Index has to be a vector/scalar, got shape {list(index.shape)}')
    if index.dtype != np.int64:
        raise IndexError(f'index_fill_(): Expected dtype int64 for index, got {dtypes.of(index.dtype)}')
    rows = row_numbers('index_fill_', index, x.shape[dim], error=IndexError, negative=True)
    out = destination(m, input)
    with_dimensions(out)[(ALL,) * dim + (rows,)] = value
    return out


@composite(inplace=True)
def index_reduce(m, input, dim, index, source, reduce, *, include_self=True):
    """`input` with the rows of `source` combined into those along `dim` that `index` names.

    reduce: prod, mean, amax or amin. Without include_self the rows written start from `source` alone.
    """
    if reduce not in REDUCTIONS or reduce == 'sum':
        raise RuntimeError(f'index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.')
    dim = axis_of(dim, input.ndim)
    if index.ndim > 1:
        raise IndexError(f'index_reduce(): Index is supposed to be a vector, but got shape {list(index.shape)}')
    count = index.shape[0] if index.ndim else 1
    if source.ndim and source.shape[dim] != count:
        raise RuntimeError(f'index_reduce(): Number of indices ({count}) should be equal to source.size(dim): '
                           f'({source.shape[dim]}), for dim: {dim}')
    if source.ndim and source.shape[:dim] + source.shape[dim + 1:] != input.shape[:dim] + input.shape[dim + 1:]:
        raise RuntimeError('index_reduce(): source tensor shape must match self tensor shape, excluding the specified '
                           f'dimension. Got self.shape = {list(input.shape)} source.shape = {list(source.shape)}')
    if not source.ndim:
        source = m.reshape(source, (1,))
    index = m.expand(m.reshape(index, (-1,) + (1,) * (source.ndim - 1 - dim)), source.shape)
    return m.scatter_reduce(input, dim, index, source, reduce, include_self=include_self)


# ---- views overwritten -------------------------------------------------------------------------------


@opaque(namespace='', method=False, grad={
    'input': lambda m, g, src_shape, key: m.key_scatter(g, m.zeros_of(src_shape, g), key),
    'src': lambda m, g, key: m.key_alias(g, key)})
def key_scatter(m, input, src, key):
    """`input` with `src` in place of `input[key]`, for a basic key."""
    place = input[key]
    _require_view_shape(src.shape, place.shape)
    out = input.copy()
    out[key] = src
    return out


def _require_view_shape(shape, wanted):
    if tuple(shape) != tuple(wanted):
        raise RuntimeError('expected src to have a size equal to the slice of self. '
                           f'src size = {list(shape)}, slice size = {list(wanted)}')


@composite
def select_scatter(m, input, src, dim, index):
    """`input` with `src` in place of `input.select(dim, index)`."""
    dim = axis_of(dim, input.ndim)
    size = input.shape[dim]
    if not -size <= index < size:
        raise IndexError(f'select(): index {index} out of range for tensor of size {list(input.shape)} at dimension '
                         f'{dim}')
    return m.key_scatter(input, src, (ALL,) * dim + (int(index), ...))


@composite
def slice_scatter(m, input, src, dim=0, start=None, end=None, step=1):
    """`input` with `src` in place of the slice start:end:step along `dim`."""
    if step <= 0:
        raise RuntimeError('slice step must be positive')
    return m.key_scatter(input, src, (ALL,) * axis_of(dim, input.ndim) + (slice(start, end, step), ...))


def _strided(array: np.ndarray, size, stride, offset: int) -> np.ndarray:
    """A strided window on the elements of a contiguous array. Raises RuntimeError where it reaches beyond."""
    last = offset + sum((n - 1) * s for n, s in zip(size, stride))
    if 0 not in size and (last >= array.size or offset < 0 or min(stride, default=0) < 0):
        raise RuntimeError(f'as_strided: sizes {list(size)}, strides {list(stride)} and offset {offset} are out of '
                           f'bounds for a tensor of {array.size} elements')
    flat = array.reshape(-1)[offset:]
    return np.lib.stride_tricks.as_strided(flat, size, [s * array.itemsize for s in stride])


@opaque(namespace='', method=False, grad={
    'input': lambda m, g, input_shape, size, stride, offset:
    m.strided_scatter(m.zeros_of(input_shape, g), g, size, stride, offset)})
def strided(m, input, size, stride, offset):
    """The elements of a contiguous tensor in a strided window, as a copy."""
    return _strided(np.ascontiguousarray(input), size, stride, offset).copy()


@opaque(namespace='', method=False, grad={
    'input': lambda m, g, src_shape, size, stride, offset:
    m.strided_scatter(g, m.zeros_of(src_shape, g), size, stride, offset),
    'src': lambda m, g, size, stride, offset: m.strided(g, size, stride, offset)})
def strided_scatter(m, input, src, size, stride, offset):
    """`input` with `src` in place of a strided window on its elements."""
    _require_view_shape(src.shape, size)
    out = np.array(input, order='C')
    _strided(out, size, stride, offset)[...] = src
    return out


@composite
def as_strided_scatter(m, input, src, size, stride, storage_offset=None):
    """`input` with `src` in place of `input.as_strided(size, stride, storage_offset)`."""
    return m.strided_scatter(input, src, tuple(size), tuple(stride), storage_offset or 0)


@composite
def diagonal_scatter(m, input, src, offset=0, dim1=0, dim2=1):
    """`input` with `src` in place of `input.diagonal(offset, dim1, dim2)`."""
    dim1, dim2 = axes_of((dim1, dim2), input.ndim)
    strides = [int(np.prod(input.shape[d + 1:])) for d in range(input.ndim)]
    rows, columns = input.shape[dim1], input.shape[dim2]
    length = max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))
    others = [d for d in range(input.ndim) if d not in (dim1, dim2)]
    start = offset * strides[dim2] if offset >= 0 else -offset * strides[dim1]
    return m.strided_scatter(input, src, (*(input.shape[d] for d in others), length),
                             (*(strides[d] for d in others), strides[dim1] + strides[dim2]), start if length else 0)
