"""`tensor[key]`: what a key means, and reading, writing and accumulating through it.

A key falls into two parts. The *basic* part (integers, slices, None, ...) is a NumPy index whose result shares memory;
the *advanced* part (index arrays and masks) gathers from that result. PyTorch applies them in this order, so an integer
never counts as an index array, as it does in NumPy. Must not know the graph.
"""
from __future__ import annotations

import operator
import warnings
from collections.abc import Sequence

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError

ALL = slice(None)
SEQUENCE_AS_TUPLE_LIMIT = 32  # a longer list of indices is always one index tensor

# ---- what a key means --------------------------------------------------------------------------------


def separate(key, shape: tuple[int, ...]) -> tuple[tuple, tuple | None]:
    """Splits `key` for a tensor of `shape` into its basic and its advanced part.

    `array[basic]` is a view (also where it has no dimensions); `view[advanced]` the result, if `advanced` is not None.
    Integers and masks are checked against the shape, index arrays are not. Raises IndexError, or ValueError for a
    slice that does not go forward.

    >>> separate((0, ..., None, [1, 2]), (5, 6, 7))
    ((0, slice(None, None, None), None, slice(None, None, None), Ellipsis), (slice(None, None, None), ..., array([1, 2])))
    """
    items = [_normal(item) for item in _items(key)]
    free = len(shape) - sum(map(_dimensions_taken, items))
    if free < 0:
        raise _too_many(len(shape), items)
    basic, advanced, dim, gathers = [], [], 0, False
    for item in items:
        if type(item) is int:
            basic.append(_in_range(item, dim, shape[dim]))
            dim += 1
        elif type(item) is slice or item is None:
            basic.append(item)
            advanced.append(ALL)
            dim += item is not None
        elif item is Ellipsis:
            basic += [ALL] * free
            advanced += [ALL] * free
            dim, free = dim + free, 0  # a second ellipsis stands for nothing
        else:
            gathers = True
            taken = _dimensions_taken(item)
            basic += [ALL] * taken if item.ndim else [None]
            advanced.append(_checked_mask(item, shape, dim) if item.dtype == bool else item)
            dim += taken
    basic.append(Ellipsis)
    if not gathers:
        return tuple(basic), None
    while advanced[-1] is ALL:
        advanced.pop()
    return tuple(basic), tuple(advanced)


def _items(key) -> Sequence:
    """The indices in a key: those of a tuple, and of a short list that could not be one index tensor."""
    if type(key) is tuple:
        return key
    if (isinstance(key, Sequence) and not isinstance(key, (tuple, str, bytes)) and len(key) < SEQUENCE_AS_TUPLE_LIMIT
            and any(k is None or k is Ellipsis or isinstance(k, (slice, Sequence, np.ndarray)) or hasattr(k, '_array')
                    for k in key)):
        warnings.warn('Using a non-tuple sequence for multidimensional indexing is deprecated; use x[tuple(seq)] '
                      'instead of x[seq]. In later versions it will be read as an index tensor, x[torch.tensor(seq)]',
                      UserWarning, stacklevel=4)
        return key
    return (key,)


def _normal(item):
    """`item` as an int, slice, None, Ellipsis, or else an index array or mask."""
    kind = type(item)
    if kind is int or item is None or item is Ellipsis:
        return item
    if kind is slice:
        if item.step is not None and operator.index(item.step) <= 0:
            raise ArgumentError('slice step cannot be zero' if item.step == 0 else 'step must be greater than zero')
        return item
    if kind is bool or kind is np.bool_:
        return np.array(item)
    array = getattr(item, '_array', item)
    if isinstance(array, np.ndarray):
        if array is item and array.dtype.kind == 'f':
            array = array.astype(np.int64)  # an array that is no tensor is converted as a list is
        return index_array(array) if array.ndim or array.dtype.kind not in 'iu' or array.dtype == np.uint8 else int(array)
    if isinstance(item, Sequence):
        return _array_of_sequence(item)
    try:
        return operator.index(item)
    except TypeError:
        name = f'{kind.__module__}.{kind.__name__}' if kind.__module__ == 'numpy' else kind.__name__
        raise IndexError('only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid '
                         f'indices (got {name})') from None


def _array_of_sequence(sequence: Sequence) -> np.ndarray:
    array = np.array(_without_tensors(sequence))
    if array.size == 0:
        return array.astype(np.int64)
    if array.dtype.kind not in 'biuf':
        raise ArgumentTypeError(f'an index must consist of integers or booleans, got {sequence!r}')
    return array if array.dtype == bool else array.astype(np.int64)


def _without_tensors(item):
    if isinstance(item, Sequence) and not isinstance(item, (str, bytes)):
        return [_without_tensors(part) for part in item]
    return getattr(item, '_array', item)


def index_array(array: np.ndarray) -> np.ndarray:
    """An array that PyTorch takes as an index: int64, int32 or a mask. Raises IndexError for another dtype."""
    if array.dtype == np.uint8:
        warnings.warn('indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool instead.',
                      UserWarning, stacklevel=2)
        return array.astype(bool)
    if array.dtype not in (np.int64, np.int32, np.bool_):
        raise IndexError('tensors used as indices must be long, int, byte or bool tensors, got one of '
                         f'{array.dtype.name}{list(array.shape)}')
    return array


def _dimensions_taken(item) -> int:
    if isinstance(item, np.ndarray):
        return item.ndim if item.dtype == bool else 1
    return item is not None and item is not Ellipsis


def _in_range(index: int, dim: int, size: int) -> int:
    if -size <= index < size:
        return index
    raise IndexError(f'index {index} is out of bounds for dimension {dim} with size {size}')


def _checked_mask(mask: np.ndarray, shape: tuple[int, ...], dim: int) -> np.ndarray:
    if mask.ndim == 0:
        return np.flatnonzero(mask)  # a truth value takes all or nothing of a new dimension of size 1
    for offset, size in enumerate(mask.shape):
        if size != shape[dim + offset]:
            raise IndexError(f'The shape of the mask {list(mask.shape)} at index {offset} does not match the shape of '
                             f'the indexed tensor {list(shape)} at index {dim + offset}')
    return mask


def _too_many(rank: int, items: list) -> IndexError:
    if rank == 0 and items and type(items[0]) is int:
        return IndexError('invalid index of a 0-dim tensor. Use `tensor.item()` in Python to convert a 0-dim tensor '
                          'to a number')
    if rank == 0 and items and type(items[0]) is slice:
        return IndexError('slice() cannot be applied to a 0-dim tensor.')
    return IndexError(f'too many indices for tensor of dimension {rank}')


# ---- gather, put, accumulate through the advanced part -----------------------------------------------


def gather(array: np.ndarray, advanced: tuple) -> np.ndarray:
    """`array[advanced]`, a copy. Raises IndexError where an index is out of range or index shapes do not fit."""
    *leading, last = advanced
    single = last.dtype != bool and all(item is ALL for item in leading)
    try:
        if single and array.flags.c_contiguous:  # otherwise `take` would first copy the whole array
            return array.take(last, axis=len(leading))
        return array[advanced]
    except IndexError:
        raise _advanced_index_error(array.shape, advanced) from None


def put(array: np.ndarray, advanced: tuple, values: np.ndarray) -> None:
    """`array[advanced] = values`, where values broadcast. Of several values for one place the last one stays.

    Raises RuntimeError for values that do not broadcast, and IndexError as `gather`, before anything is written.
    """
    values = without_leading_ones(values)
    try:
        array[advanced] = values
    except IndexError:
        raise _advanced_index_error(array.shape, advanced) from None
    except (ValueError, TypeError):  # NumPy's answers where values do not broadcast
        raise _value_shape_error(values.shape, array[advanced].shape) from None


def without_leading_ones(values: np.ndarray) -> np.ndarray:
    """Values to assign may have more dimensions than their place, if these have size 1."""
    shape = values.shape
    while shape and shape[0] == 1:
        shape = shape[1:]
    return values.reshape(shape)


def accumulate(array: np.ndarray, advanced: tuple, values: np.ndarray, ufunc: np.ufunc = np.add) -> None:
    """`array[advanced] += values`, where values broadcast, and every value counts, in order. Raises as `put`.

    The indexed dimensions become the rows of a matrix, so that the index is one-dimensional: the case NumPy is fast in.
    """
    dims, indices = _integer_indices(array.shape, advanced)
    rows = _row_numbers(array.shape, dims, indices)
    if rows is None:
        raise _advanced_index_error(array.shape, advanced)
    first = dims[0] if dims[-1] - dims[0] + 1 == len(dims) else 0
    rest = [size for dim, size in enumerate(array.shape) if dim not in dims]
    shape = (*rest[:first], *rows.shape, *rest[first:])
    try:
        values = np.broadcast_to(values, shape)
    except ValueError:
        raise _value_shape_error(values.shape, shape) from None
    values = np.moveaxis(values, range(first, first + rows.ndim), range(rows.ndim))
    accumulate_rows(np.moveaxis(array, dims, range(len(dims))), len(dims), rows.ravel(), values, ufunc)


def _row_numbers(shape: tuple[int, ...], dims: list[int], indices: list[np.ndarray]) -> np.ndarray | None:
    """The indices of several dimensions as one number; None where they do not fit together or the shape."""
    sizes = [shape[d] for d in dims]
    try:
        indices = np.broadcast_arrays(*indices)
        return np.ravel_multi_index([np.where(i < 0, i + size, i) for i, size in zip(indices, sizes)], sizes)
    except ValueError:
        return None


def accumulate_rows(array: np.ndarray, rank: int, rows: np.ndarray, values: np.ndarray,
                    ufunc: np.ufunc = np.add) -> None:
    """Combines `values[k]` into row `rows[k]` of `array`, whose first `rank` dimensions count as one, one after another.

    Deterministic: a row receives its values in the order of k.
    """
    if rows.size == 0 or array.size == 0:
        return
    width = array.size
    for size in array.shape[:rank]:
        width //= size
    flat_index = rows if width == 1 else (rows[:, None] * width + np.arange(width)).ravel()
    flat = array.reshape(-1)  # a copy where the rows do not lie one behind another
    ufunc.at(flat, flat_index, np.ascontiguousarray(values, array.dtype).reshape(-1))
    if not np.may_share_memory(flat, array):
        array[...] = flat.reshape(array.shape)


def _integer_indices(shape: tuple[int, ...], advanced: tuple) -> tuple[list[int], list[np.ndarray]]:
    """The dimensions that an advanced index indexes, and the integers it does so with (those of a mask's True)."""
    dims, indices, dim = [], [], 0
    for item in advanced:
        if item is not ALL:
            arrays = item.nonzero() if item.dtype == bool else (item,)
            indices += arrays
            dims += range(dim, dim + len(arrays))
        dim += 1 if item is ALL else _dimensions_taken(item)
    return dims, indices


def _advanced_index_error(shape: tuple[int, ...], advanced: tuple) -> IndexError:
    dims, indices = _integer_indices(shape, advanced)
    try:
        np.broadcast_shapes(*(index.shape for index in indices))
    except ValueError:
        shapes = ', '.join(str(list(index.shape)) for index in indices)
        return IndexError(f'shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}')
    for dim, index in zip(dims, indices):
        outside = index[(index < -shape[dim]) | (index >= shape[dim])]
        if outside.size:
            return IndexError(f'index {outside[0]} is out of bounds for dimension {dim} with size {shape[dim]}')
    return IndexError(f'too many indices for tensor of dimension {len(shape)}')


def _value_shape_error(value_shape, result_shape) -> RuntimeError:
    return RuntimeError(f'shape mismatch: value tensor of shape {list(value_shape)} cannot be broadcast to indexing '
                        f'result of shape {list(result_shape)}')
