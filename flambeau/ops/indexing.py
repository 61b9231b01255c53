"""`tensor[key]` and `tensor[key] = value`, with their gradients; index_put.

What keys mean is told by keys.py. Must not know how gradients are carried.
"""
from __future__ import annotations

import numpy as np

from ..autograd.graph import edge_of, make_node, note_write
from ..autograd.modes import OFF, PLAIN, STATE
from ..errors import ArgumentTypeError, warn
from ..tensor import Parameter, Tensor, wrap
from .definition import opaque, view
from .keys import (ALL, WHOLE, add_at, checked_mask, dimensions_taken, fits_plainly, gather, index_array, number_array,
                   put_at, require_same_dtype, separate, without_leading_ones)
from .overriding import SILENT, answered, override, overrides
from .places import fill
from .record import complete, record
from .reference import REFERENCE
from .results import viewing
from .writers import destination, writing
from .writing import constant, writable


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
        taken = 1 if item is ALL else dimensions_taken(item)
        if dim + taken > len(shape):
            raise IndexError(f'too many indices for tensor of dimension {len(shape)} (got {len(indices)})')
        if item is not ALL and item.dtype == bool:
            item = checked_mask(item, shape, dim)
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
            dim += len(shape) - sum(map(dimensions_taken, basic))
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
    """The basic part of a key of integers, slices that go forward, None and ..., or None for any other; unchecked."""
    kind = key.__class__
    if kind is int or kind is slice and (key.step is None or _goes_forward(key.step)):
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
        elif kind is not slice or not (item.step is None or _goes_forward(item.step)):
            return None
    return key if dots else (*key, Ellipsis)


def _goes_forward(step):
    return step.__class__ is int and step > 0


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
    if type(key) not in SILENT and answered(key):
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
    elif value.__class__ is Tensor and _set_values(self, key, value):
        note_write(self, '__setitem__')
        return
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


def _set_values(tensor, key, value) -> bool:
    """Copies a tensor of the shape and dtype of the part at a plain key over it, where nothing is recorded. Says whether.
    """
    basic = plain_key(key)
    if basic is None or not (constant(tensor) and constant(value)):
        return False
    try:
        part = tensor._array[basic]
    except IndexError:
        return False  # the general way says what is wrong
    source = value._array
    if part.shape != source.shape or part.dtype is not source.dtype or not part.flags.writeable:
        return False
    REFERENCE.copy(part, source)
    return True


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
