"""`tensor[key]`: what a key means; reading, writing and accumulating through it; masks and flat indices.

A key falls into two parts. The *basic* part (integers, slices, None, ...) is a NumPy index whose result shares memory;
the *advanced* part (index arrays and masks) gathers from that result. PyTorch applies them in this order, so an integer
never counts as an index array, as it does in NumPy. Must not know how gradients are carried.
"""
from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import numpy as np

from .. import dtypes
from ..autograd.graph import edge_of, make_node, note_write
from ..autograd.modes import OFF, PLAIN, STATE
from ..errors import ArgumentError, ArgumentTypeError, warn
from ..tensor import Parameter, Tensor, wrap
from .call import binder
from .definition import opaque, publish, view
from .general import SIMPLE, invoke, lowered, raise_refusal
from .overriding import PLAIN, answered, override, overrides
from .record import complete, record
from .reference import LARGE, REFERENCE, chosen, sized
from .results import viewing
from .writing import change, constant, writable

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
        array.shape[axis], 1) else None
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
    kind = dtypes.of(like.dtype)
    if isinstance(value, np.ndarray):
        if value.ndim:
            raise RuntimeError(f'{name} only supports a 0-dimensional value tensor, but got tensor with {value.ndim} '
                               'dimension(s).')
        value = value.item()
    if isinstance(value, (complex, np.complexfloating)) and not kind.is_complex and value.imag == 0:
        value = value.real
    if not _holds(kind, value):
        raise RuntimeError(f'{name}: value {value} cannot be converted to type {kind.name} without overflow')
    if kind.category == dtypes.INTEGER:
        return np.array(int(value) % (1 << 8 * kind.itemsize) if value < 0 and not kind.is_signed else int(value),
                        like.dtype)
    return np.array(value).astype(like.dtype)


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


# ---- operations that write ---------------------------------------------------------------------------

IN_PLACE = object()  # as `m`: the formula writes into its first argument itself instead of into a copy


def destination(m, array: np.ndarray) -> np.ndarray:
    """What a formula that begins with a copy of its input writes into."""
    return array if m is IN_PLACE else REFERENCE.dense(array)


def writing(formula=None, *, inplace='', overlapping=False, **options):
    """Declares an opaque operation that copies its input and writes into the copy, and its in-place form.

    `inplace` names the namespaces that have the in-place form beside the method; overlapping: it also writes expanded
    tensors. The gradients may not name `input`.
    """
    def declare(formula):
        function = opaque(formula, **options)
        publish(_writer(function.operation, overlapping), [function.operation.name + '_'], inplace.split(), True)
        return function
    return declare if formula is None else declare(formula)


def _writer(op, overlapping):
    name = op.name + '_'
    formula, bind = op.formula, None

    def general(input, *args, **kwargs):
        nonlocal bind
        if answered(input, *args, *kwargs.values()):
            return override(call, (input, *args), kwargs)
        if bind is None:
            bind = binder(op)
        values = list(bind(input, *args, **kwargs))
        return change(input, name, lambda before: write_directly(op, before, values), op, overlapping)

    def call(input, *args, **kwargs):
        if kwargs or not _is_unrecorded(input) or not input._array.flags.writeable:
            return general(input, *args, **kwargs)
        target = input._array
        arrays = []
        for value in args:
            if _is_unrecorded(value):
                arrays.append(_apart(value._array, target))
            elif value.__class__ in SIMPLE:
                arrays.append(value)
            else:
                return general(input, *args)
        try:
            formula(IN_PLACE, target, *arrays)
        except Exception as error:
            raise_refusal(op, (input, *args), error)
        note_write(input, name)
        return input
    call.__name__ = call.__qualname__ = name
    call.__doc__ = f'In-place form of `{op.name}`.'
    return call


def _is_unrecorded(value) -> bool:
    """Whether this is a plain tensor that no gradient flows through."""
    kind = value.__class__
    return (kind is Tensor or kind is Parameter) and constant(value)


def write_directly(op, before: Tensor, values: list) -> Tensor:
    """Runs a formula that writes on the array of `before` itself; the result stands on the same array."""
    values[0] = before
    arrays, wanting = zip(*map(lowered, values))
    target = arrays[0]
    arrays = [target, *(_apart(a, target) for a in arrays[1:])]
    node = record(op, values) if any(wanting) and STATE.recording is not OFF else None
    invoke(op, IN_PLACE, arrays)
    out = wrap(target, node)
    if node is not None:
        complete(node, values, (out,), False)
    return out


def _apart(value, target: np.ndarray):
    """An argument in memory of its own, so that writing does not change it."""
    if isinstance(value, list):
        return [_apart(v, target) for v in value]
    return value.copy() if isinstance(value, np.ndarray) and np.may_share_memory(value, target) else value


# ---- tensor[key] -------------------------------------------------------------------------------------


def _basic_view(m, input, key):
    """`input[key]` for a basic key, sharing memory."""
    return input[key]


VIEWS = {kind: view(_basic_view, name=f'key_{kind}', label=f'{kind.capitalize()}Backward0', namespace='', method=False,
                    grad={'input': lambda m, g, input_shape, key: m.key_view_adjoint(g, input_shape, key)}).operation
         for kind in ('select', 'slice', 'unsqueeze', 'alias')}


ALIAS = VIEWS['alias']


@opaque(namespace='', method=False, grad={'g': lambda m, g, key: m.key_alias(g, key)})
def key_view_adjoint(m, g, shape, key):
    """Zeros of `shape` but for `g` at a basic key."""
    out = np.zeros(shape, g.dtype)
    out[key] = g
    return out


@opaque(namespace='', method=False,
        grad={'input': lambda m, g, input_shape, indices: m.index_adjoint(g, input_shape, indices)})
def index(m, input, indices):
    """The elements at index arrays and masks, one per dimension; None stands for a whole dimension."""
    return gather(input, _whole_dimensions(indices))


INDEX = index.operation
FIRST = (0,)  # the positions of the operands that a gradient is needed of


@opaque(namespace='', method=False, grad={'g': lambda m, g, indices: m.index(g, indices)})
def index_adjoint(m, g, shape, indices):
    """Zeros of `shape` to which `g` is added at index arrays, every element once for each time it is named."""
    out = np.zeros(shape, g.dtype)
    advanced = _whole_dimensions(indices)
    if len(advanced) == 1 and advanced[0].dtype == bool:
        put_at(out, advanced, g)
    elif g.size:
        add_at(out, advanced, g)
    return out


def _whole_dimensions(indices) -> tuple:
    return tuple([ALL if i is None else i for i in indices])


def _checked_indices(shape: tuple[int, ...], indices) -> tuple:
    """Index arrays for the leading dimensions of a tensor of `shape`, as `gather` takes them."""
    advanced, dim = [], 0
    for item in indices:
        item = ALL if item is None else index_array(item)
        taken = 1 if item is ALL else _dimensions_taken(item)
        if dim + taken > len(shape):
            raise IndexError(f'too many indices for tensor of dimension {len(shape)} (got {len(indices)})')
        if item is not ALL and item.dtype == bool:
            item = _checked_mask(item, shape, dim)
        advanced.append(item)
        dim += taken
    if not any(item is not ALL for item in advanced):
        raise RuntimeError('index_put(): indices must hold at least one tensor')
    return tuple(advanced)


@writing(inplace='torch', overlapping=True, grad={
    'input': lambda m, g, indices, accumulate: g if accumulate else m.index_put(g, indices, m.zeros_of((), g)),
    'values': lambda m, g, indices, values_shape: m.sum_to_size(m.index(g, indices), values_shape)})
def index_put(m, input, indices, values, accumulate=False):
    """A copy of `input` with `values` (broadcast) written at, or added to, the places named by index tensors.

    indices: a tuple of int64, int32 or bool tensors, for the first dimensions. Raises IndexError for an index out of
    range, RuntimeError for values that do not fit.
    """
    if not isinstance(indices, (tuple, list)):
        raise ArgumentTypeError("index_put(): argument 'indices' must be tuple of Tensors, not "
                                f'{type(indices).__name__}')
    for value in (*indices, values):
        if value is not None and not isinstance(value, np.ndarray):
            raise ArgumentTypeError(f'index_put(): indices and values must be Tensors, got {type(value).__name__}')
    require_same_dtype('Index put', input, values, 'values')
    advanced = _checked_indices(input.shape, indices)
    out = destination(m, input)
    (add_at if accumulate else put_at)(out, advanced, values)
    return out


def basic_view(tensor: Tensor, basic: tuple, otherwise: str = 'alias') -> Tensor:
    """`tensor[basic]`, sharing memory; recorded under the name of its last step, or `otherwise` if it takes none."""
    node, op, array = None, ALIAS, tensor._array
    if tensor._node is not None and STATE.recording is not OFF:
        op = VIEWS[_last_step(basic, array.shape) or otherwise]
        node = _node_of_part(op, tensor, basic)
    return viewing(op, array[basic], tensor, node)


def _node_of_part(op, tensor: Tensor, part):
    """A node of `key_select` and its like, and of `index`: their gradients need the shape and what was taken."""
    edge = edge_of(tensor)
    if edge is None:
        return None
    if STATE.recording is PLAIN and STATE.saving_refused is None:  # the short way of `record` and `complete`
        return make_node(op.node_class, (edge,), op.plans.get(FIRST) or op.plan(FIRST), (tensor._array.shape, part))
    node = record(op, (tensor, part))
    complete(node, (tensor, part), (), False)
    return node


def _last_step(basic: tuple, shape: tuple[int, ...]) -> str | None:
    step, dim = None, 0
    for item in basic:
        if item is None:
            step = 'unsqueeze'
        elif item is Ellipsis:
            dim += len(shape) - sum(map(_dimensions_taken, basic))
        else:
            if item.__class__ is not slice:
                step = 'select'
            elif item.start not in (None, 0) or item.step not in (None, 1) or \
                    item.stop is not None and item.stop < shape[dim]:
                step = 'slice'
            dim += 1
    return step


def _is_whole(basic: tuple) -> bool:
    return all(item is Ellipsis or item.__class__ is slice and item == ALL for item in basic)


def _indices_of(advanced: tuple) -> list:
    """The argument of `index` for an advanced part; in memory of its own, since a graph will keep it."""
    return [None if item is ALL else item.copy() for item in advanced]


def plain_key(key) -> tuple | None:
    """The basic part of a key of integers, slices without a step, None and ..., or None for any other; unchecked."""
    kind = key.__class__
    if kind is int or kind is slice and key.step is None:
        return key, Ellipsis
    if kind is not tuple:
        return (None, Ellipsis) if key is None else WHOLE if key is Ellipsis else None
    dots = False
    for item in key:
        kind = item.__class__
        if kind is int or item is None:
            continue
        if item is Ellipsis:
            dots = True
        elif kind is not slice or item.step is not None:
            return None
    return key if dots else (*key, Ellipsis)


def get_item(self, key):
    """`tensor[key]`: a view for integers, slices, None and ...; a copy where index tensors or masks take part."""
    kind = self.__class__
    if kind is not Tensor and kind is not Parameter and overrides(self):
        return override(Tensor.__getitem__, (self, key), {})
    array = self._array
    basic, advanced = plain_key(key), None
    if basic is not None:
        try:
            if self._node is None:
                return viewing(ALIAS, array[basic], self, None)
            return basic_view(self, basic, 'slice' if key.__class__ is slice else 'alias')
        except IndexError:
            pass  # `separate` says what is wrong
    if type(key) not in PLAIN and answered(key):
        return override(Tensor.__getitem__, (self, key), {})
    basic, advanced = separate(key, array.shape)
    if advanced is None:
        return basic_view(self, basic, 'slice' if key.__class__ is slice else 'alias')
    if self._node is None or STATE.recording is OFF or edge_of(self) is None:
        return wrap(gather(array if len(basic) == 1 else array[basic], advanced))
    source = self if _is_whole(basic) else basic_view(self, basic)
    return wrap(gather(source._array, advanced), _node_of_part(INDEX, source, _indices_of(advanced)))


def set_item(self, key, value):
    """`tensor[key] = value`: a number or tensor, broadcast; converted in dtype except through index tensors."""
    kind = self.__class__
    if kind is not Tensor and kind is not Parameter and overrides(self):
        return override(Tensor.__setitem__, (self, key, value), {})
    if key is False:
        return
    array = self._array
    if isinstance(value, (int, float, complex, np.number, np.bool_)):
        if self._node is None and _set_number(array, key, value):
            note_write(self, '__setitem__')
            return
        value = wrap(number_array(value, array, 'assignment'))
    if answered(key, value):
        return override(Tensor.__setitem__, (self, key, value), {})
    if not isinstance(value, Tensor):
        raise TypeError(f"can't assign a {type(value).__name__} to a tensor of {self.dtype}: convert it with "
                        'torch.tensor first')
    basic, advanced = separate(key, array.shape)
    if STATE.recording is OFF or (self._node is None or edge_of(self) is None) and (
            value._node is None or edge_of(value) is None):
        _write(array[basic], advanced, value._array)
        note_write(self, '__setitem__')
        return
    source = value._array
    leading = source.ndim - without_leading_ones(source).ndim
    if leading:
        value = value.reshape(source.shape[leading:])
    if advanced is None:
        basic_view(self, basic).copy_(value)
    else:
        (self if _is_whole(basic) else basic_view(self, basic)).index_put_(_tensors_of(advanced), value)


def _set_number(array: np.ndarray, key, value) -> bool:
    """Does the common assignment of a number that certainly fits; False where more care is needed."""
    if not fits_plainly(value, array.dtype.kind) or 0 in array.strides or not array.flags.writeable:
        return False
    basic = plain_key(key)
    try:
        if basic is not None:
            array[basic] = value
            return True
        index = getattr(key, '_array', None)
        if index.__class__ is not np.ndarray:
            return False
        if index.dtype == bool and index.ndim and index.shape == array.shape:
            fill(array, index, value)
            return True
        if index.dtype == np.int64:
            array[index] = value
            return True
    except IndexError:
        pass  # the general way says what is wrong
    return False


def _tensors_of(advanced: tuple) -> list:
    return [i if i is None else wrap(i) for i in _indices_of(advanced)]


def _write(place: np.ndarray, advanced: tuple | None, source: np.ndarray) -> None:
    place = writable(place, 'the assignment', overlapping=advanced is not None)
    source = without_leading_ones(source)
    if advanced is None:
        copy_values(place, source)
        return
    require_same_dtype('Index put', place, source, 'values')
    put_at(place, advanced, source.copy() if np.may_share_memory(place, source) else source)


def copy_values(place: np.ndarray, source: np.ndarray) -> None:
    """Writes values, broadcast and converted, over all of `place`. Raises RuntimeError where they do not broadcast."""
    if source.dtype.kind == 'c' != place.dtype.kind:
        warn('Casting complex values to real discards the imaginary part')
        source = source.real
    try:
        with np.errstate(all='ignore'):  # a value out of range becomes what the conversion makes of it, as in C
            REFERENCE.copy(place, source)
    except ValueError:
        raise RuntimeError(f'The expanded size of the tensor must match the existing size in every dimension but those '
                           f'of size 1. Target sizes: {list(place.shape)}.  Tensor sizes: {list(source.shape)}'
                           ) from None


def refuse_deletion(self, key):
    raise TypeError('Tensor does not support deleting items: select the others, or use torch.cat of what is around')


get_item.__name__, set_item.__name__ = '__getitem__', '__setitem__'  # the names that __torch_function__ is told
Tensor.__getitem__ = get_item
Tensor.__setitem__ = set_item
Tensor.__delitem__ = refuse_deletion


# ---- masks -------------------------------------------------------------------------------------------


@writing(replay=True, overlapping=True, grad={
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


@opaque(strict_out=True, grad={
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
