"""What a key of a tensor means, and reading, writing and accumulating through it, over arrays.

A key falls into two parts. The *basic* part (integers, slices, None, ...) is a NumPy index whose result shares memory;
the *advanced* part (index arrays and masks) gathers from that result. PyTorch applies them in this order, so an integer
never counts as an index array, as it does in NumPy. Knows no tensors and no operation.
"""
from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence

import numpy as np

from .. import dtypes
from ..errors import ArgumentError, ArgumentTypeError, warn
from .reference import LARGE, REFERENCE

ALL = slice(None)
WHOLE = (Ellipsis,)
SEQUENCE_AS_TUPLE_LIMIT = 32  # a longer list of indices is always one index tensor

# ---- what a key means --------------------------------------------------------------------------------


def separate(key, shape: tuple[int, ...]) -> tuple[tuple, tuple | None]:
    """Splits `key` for a tensor of `shape` into its basic and its advanced part.

    `array[basic]` is a view (also where it has no dimensions); `view[advanced]` the result, if `advanced` is not None.
    Integers and masks are checked against the shape, index arrays are not. Raises IndexError, or ValueError for a
    slice that does not go forward.

    >>> separate((0, None, [1, 2]), (5, 6))
    ((0, None, slice(None, None, None), Ellipsis), (slice(None, None, None), array([1, 2])))
    """
    array = getattr(key, '_array', None)
    if array is not None and shape and array.ndim and array.dtype == np.int64:
        return WHOLE, (array,)
    items = [_normal(item) for item in _items(key)]
    free = len(shape) - sum(map(dimensions_taken, items))
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
            taken = dimensions_taken(item)
            basic += [ALL] * taken if item.ndim else [None]
            advanced.append(checked_mask(item, shape, dim) if item.dtype == bool else item)
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
        warn('Using a non-tuple sequence for multidimensional indexing is deprecated; use x[tuple(seq)] '
             'instead of x[seq]. In later versions it will be read as an index tensor, x[torch.tensor(seq)]')
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
        is_number = array.ndim == 0 and array.dtype.kind in 'iu' and array.dtype != np.uint8
        return int(array) if is_number else index_array(array)
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
        warn('indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool instead.')
        return array.astype(bool)
    if array.dtype not in (np.int64, np.int32, np.bool_):
        raise IndexError('tensors used as indices must be long, int, byte or bool tensors, got one of '
                         f'{array.dtype.name}{list(array.shape)}')
    return array


def dimensions_taken(item) -> int:
    if isinstance(item, np.ndarray):
        return item.ndim if item.dtype == bool else 1
    return item is not None and item is not Ellipsis


def _in_range(index: int, dim: int, size: int) -> int:
    if -size <= index < size:
        return index
    raise IndexError(f'index {index} is out of bounds for dimension {dim} with size {size}')


def checked_mask(mask: np.ndarray, shape: tuple[int, ...], dim: int) -> np.ndarray:
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


# ---- gather, put and add through the advanced part -----------------------------------------------


def bounds(index: np.ndarray):
    """The smallest and the largest of whole numbers."""
    if index.size > 64:
        return index.min(), index.max()
    few = index.ravel().tolist()  # in a fifth of the time
    return min(few), max(few)


def outside(index: np.ndarray, size: int):
    """Whether some number of an int64 or int32 index is none of 0 to size - 1."""
    found = REFERENCE.kernel('indexing.outside', index, size)
    if found is not None:
        return found
    if index.size > 64:  # negative ones are large as unsigned
        return index.view(np.uint64 if index.itemsize == 8 else np.uint32).max() >= size
    low, high = bounds(index)
    return low < 0 or high >= size


def gather(array: np.ndarray, advanced: tuple) -> np.ndarray:
    """`array[advanced]`, a copy. Raises IndexError where an index is out of range or index shapes do not fit."""
    last = advanced[-1]
    if last.shape == array.shape and last.dtype == bool and last.size >= LARGE:
        made = REFERENCE.kernel('indexing.chosen', array, last)
        if made is not None:
            return made
    try:
        if array.flags.c_contiguous and last.dtype != bool and (
                len(advanced) == 1 or all(item is ALL for item in advanced[:-1])):
            # of another array, `take` would first copy the whole
            return np.asarray(take_rows(array, last, len(advanced) - 1))
        found = array[advanced]
        return found if isinstance(found, np.ndarray) else np.asarray(found)  # 0-d indices can make it a number
    except IndexError:
        raise _advanced_index_error(array.shape, advanced) from None


def take_rows(array: np.ndarray, rows: np.ndarray, axis: int) -> np.ndarray:
    """The rows of an array in C order that indices name along an axis. Raises IndexError out of range."""
    made = REFERENCE.kernel('indexing.take_rows', array, axis, rows) if rows.size * array.size >= LARGE * max(
        array.shape[axis], 1) or REFERENCE.kernel('replay.is_noting') else None
    return array.take(rows, axis) if made is None else made


def put_at(array: np.ndarray, advanced: tuple, values: np.ndarray) -> None:
    """`array[advanced] = values`, where values broadcast. Of several values for one place the last one stays.

    Raises RuntimeError for values that do not broadcast, and IndexError as `gather`, before anything is written.
    """
    mask = advanced[-1]
    if (mask.shape == array.shape and mask.dtype == bool and mask.size >= LARGE and values.ndim == 1
            and REFERENCE.kernel('indexing.spread', array, mask, values)):
        return
    try:
        array[advanced] = values
    except IndexError:
        raise _advanced_index_error(array.shape, advanced) from None
    except (ValueError, TypeError):  # NumPy's answers where values do not broadcast
        raise _value_shape_error(values.shape, gather(array, advanced).shape) from None


def without_leading_ones(values) -> np.ndarray:
    """Values to assign may have more dimensions than their place, if these have size 1."""
    shape = values.shape
    while shape and shape[0] == 1:
        shape = shape[1:]
    return values.reshape(shape)


def add_at(array: np.ndarray, advanced: tuple, values: np.ndarray, ufunc: np.ufunc = np.add) -> None:
    """`array[advanced] += values`, where values broadcast, and every value counts, in order. Raises as `put_at`.

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
    if len(dims) == 1 and indices[0].size:
        index, size = indices[0], sizes[0]
        lowest = index.min()
        if lowest < -size or index.max() >= size:
            return None
        return index if lowest >= 0 else np.where(index < 0, index + size, index)
    try:
        indices = np.broadcast_arrays(*indices)
        if indices[0].size == 0:
            return np.zeros(indices[0].shape, np.int64)
        return np.ravel_multi_index([np.where(i < 0, i + size, i) for i, size in zip(indices, sizes)], sizes)
    except ValueError:
        return None


def accumulate_rows(array: np.ndarray, rank: int, rows: np.ndarray, values: np.ndarray,
                    ufunc: np.ufunc = np.add) -> None:
    """Combines `values[k]` into row `rows[k]` of `array`, whose first `rank` dimensions count as one.

    Deterministic: a row receives its values one after another, in the order of k.
    """
    if rows.size == 0 or array.size == 0:
        return
    width = array.size
    for size in array.shape[:rank]:
        width //= size
    if values.size >= LARGE and array.flags.c_contiguous and REFERENCE.kernel(
            'indexing.combine_rows', array.reshape(-1, width), 0, rows, values, ufunc):
        return
    if width >= WIDE:
        most = np.bincount(rows).max()
        if most <= FEW_ROUNDS:
            values = values.reshape(rows.shape + array.shape[rank:])
            return _accumulate_in_rounds(array, rank, rows, values, ufunc, most)
    flat_index = rows if width == 1 else (rows[:, None] * width + np.arange(width)).ravel()
    flat = array.reshape(-1)  # a copy where the rows do not lie one behind another
    ufunc.at(flat, flat_index, np.ascontiguousarray(values, array.dtype).reshape(-1))
    if not np.may_share_memory(flat, array):
        array[...] = flat.reshape(array.shape)


WIDE = 64  # elements of a row above which whole rows at a time are faster than `ufunc.at`
FEW_ROUNDS = 32


def _accumulate_in_rounds(array, rank: int, rows, values, ufunc: np.ufunc, most: int) -> None:
    """In each round every row takes the next of its values, so no row is named twice in one."""
    rounds = [slice(None)]
    if most > 1:
        order = rows.argsort(kind='stable')
        groups = rows[order]
        starts = np.flatnonzero(np.append(True, groups[1:] != groups[:-1]))
        turn = np.arange(rows.size) - np.repeat(starts, np.diff(np.append(starts, rows.size)))
        rounds = [order[turn == k] for k in range(most)]
    for part in rounds:
        places = rows[part] if rank == 1 else np.unravel_index(rows[part], array.shape[:rank])
        array[places] = ufunc(array[places], values[part])


def _integer_indices(shape: tuple[int, ...], advanced: tuple) -> tuple[list[int], list[np.ndarray]]:
    """The dimensions that an advanced index indexes, and the integers it does so with (those of a mask's True)."""
    dims, indices, dim = [], [], 0
    for item in advanced:
        if item is not ALL:
            arrays = item.nonzero() if item.dtype == bool else (item,)
            indices += arrays
            dims += range(dim, dim + len(arrays))
        dim += 1 if item is ALL else dimensions_taken(item)
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


def masked_shape(input: np.ndarray, mask: np.ndarray, name: str) -> tuple[int, ...]:
    """The shape that an array and its mask broadcast to. Raises RuntimeError for what is no mask or does not fit."""
    if mask.dtype != bool:
        raise RuntimeError(f'{name} only supports boolean masks, but got mask with dtype {dtypes.of(mask.dtype).name}')
    if input.shape == mask.shape:
        return input.shape
    try:
        return np.broadcast_shapes(input.shape, mask.shape)
    except ValueError:
        raise RuntimeError(f'{name}: the mask of shape {list(mask.shape)} must broadcast with the tensor of shape '
                           f'{list(input.shape)}') from None


def number_array(value, like: np.ndarray, name: str) -> np.ndarray:
    """A number (or 0-d array) as a 0-d array in the dtype of `like`. Raises RuntimeError where that cannot hold it."""
    if value.__class__ is float or value.__class__ is int:
        return _number_array(value, like.dtype, name, value or math.copysign(1, value))
    if isinstance(value, np.ndarray):
        if value.ndim:
            raise RuntimeError(f'{name} only supports a 0-dimensional value tensor, but got tensor with {value.ndim} '
                               'dimension(s).')
        value = value.item()
    return _number_array.__wrapped__(value, like.dtype, name)


@functools.lru_cache(maxsize=256, typed=True)
def _number_array(value, dtype, name, *sign):
    """`number_array` of a number, remembered: calls met again find the same; `sign` tells zeros apart."""
    kind = dtypes.of(dtype)
    if isinstance(value, (complex, np.complexfloating)) and not kind.is_complex and value.imag == 0:
        value = value.real
    if not _holds(kind, value):
        raise RuntimeError(f'{name}: value {value} cannot be converted to type {kind.name} without overflow')
    if kind.category == dtypes.INTEGER:
        return np.array(int(value) % (1 << 8 * kind.itemsize) if value < 0 and not kind.is_signed else int(value),
                        dtype)
    made = np.array(value).astype(dtype)
    made.flags.writeable = False
    return made


def fits_plainly(value, kind: str) -> bool:
    """Whether a Python number certainly fits any array of a NumPy kind, so that NumPy may convert it itself."""
    if kind == 'f':
        return value.__class__ is float and -60000 < value < 60000 or value.__class__ is int and -2048 < value < 2048
    return kind == 'i' and value.__class__ is int and -128 <= value < 128


def _holds(kind: dtypes.dtype, value) -> bool:
    if kind.category == dtypes.BOOL or kind.is_complex:
        return True
    if isinstance(value, (complex, np.complexfloating)):
        return False
    if kind.category == dtypes.INTEGER:
        limits = dtypes.iinfo(kind)
        return math.isfinite(value) and (limits.min or -limits.max) <= int(value) <= limits.max
    return kind in dtypes.HALVES or not math.isfinite(value) or abs(value) <= dtypes.finfo(kind).max


def require_same_dtype(name: str, input: np.ndarray, source: np.ndarray, source_name: str) -> None:
    """Raises RuntimeError where values to write are in another dtype than their destination."""
    if source.dtype != input.dtype:
        raise RuntimeError(f'{name}: expected self and {source_name} to have the same dtype, but got self.dtype = '
                           f'{dtypes.of(input.dtype)} and {source_name}.dtype = {dtypes.of(source.dtype)}')
