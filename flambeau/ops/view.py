"""Views: the same memory under another shape. Their results write through to what they look at."""
from __future__ import annotations

import functools
import math

import numpy as np

from .. import dtypes
from ..errors import ArgumentTypeError
from ..storage import restrided
from ..tensor import Tensor, element_strides
from .batching import along
from .definition import PUBLIC, export, opaque, view
from .reference import LARGE, REFERENCE

__all__ = ['reshape', 'transpose', 'permute', 'expand', 'squeeze', 'unsqueeze', 'narrow', 'select', 'as_strided']


def whole(number, name='dim'):
    """An int. Raises TypeError for what is none."""
    try:
        return number.__index__()
    except (AttributeError, TypeError):
        raise ArgumentTypeError(f"argument '{name}' must be int, not {type(number).__name__}") from None


def axis_of(dim, ndim):
    """One dimension as an axis >= 0; raises IndexError out of range."""
    limit = max(ndim, 1)
    dim = whole(dim)
    if not -limit <= dim < limit:
        raise IndexError(f'Dimension out of range (expected to be in range of [{-limit}, {limit - 1}], but got {dim})')
    return dim % limit


def resolved_shape(shape, size):
    """A shape with its -1 worked out for that many elements. Raises RuntimeError where it does not fit."""
    shape = tuple([n.__index__() for n in shape])
    if -1 not in shape and math.prod(shape) == size and (not shape or min(shape) >= 0):
        return shape
    known = math.prod([n for n in shape if n != -1])
    if shape.count(-1) > 1:
        raise RuntimeError('only one dimension can be inferred')
    if any(n < -1 for n in shape):
        raise RuntimeError(f'invalid shape dimension {min(shape)}')
    if -1 in shape:
        if known == 0:
            raise RuntimeError(f'cannot reshape tensor of {size} elements into shape {list(shape)} because the '
                               'unspecified dimension size -1 can be any value and is ambiguous')
        if size % known == 0:
            return tuple(size // known if n == -1 else n for n in shape)
    elif known == size:
        return shape
    raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {size}")


def _reshaped(array, shape):
    if array.size < LARGE or array.flags.c_contiguous:
        return array.reshape(shape)
    try:
        return array.reshape(shape, copy=False)
    except ValueError:
        return REFERENCE.dense(array).reshape(shape)


def _reshape_gradient(m, g, input_shape):
    return m.reshape(g, input_shape)


@view(variadic='shape', may_copy=True, grad={'input': _reshape_gradient})
def reshape(m, input, shape):
    """The same elements in another shape: a view where strides allow it, else a copy. One size may be -1."""
    if input.flags.c_contiguous:
        try:
            if not shape or min(shape) >= -1:
                return input.reshape(shape)
        except (ValueError, TypeError):
            pass  # what does not fit is told below
    return _reshaped(input, resolved_shape(shape, input.size))


@view(name='view', namespace='', variadic='shape', grad={'input': lambda m, g, input_shape, shape:
                                                         m.reshape(g, input_shape)})
def view_as_shape(m, input, shape):
    """The same memory in another shape or dtype. Raises RuntimeError where strides do not allow it."""
    if len(shape) == 1 and isinstance(shape[0], dtypes.dtype):
        return reinterpreted(input, shape[0])
    if not shape and input.size != 1:
        raise RuntimeError(f"shape '[]' is invalid for input of size {input.size}: view() received no size for a tensor of "
                           f'shape {list(input.shape)}; give one, or a dtype')
    try:
        if not shape or min(shape) >= -1:
            return input.reshape(shape, copy=False)
    except (ValueError, TypeError):
        pass  # what does not fit is told below
    shape = resolved_shape(shape, input.size)
    try:
        return input.reshape(shape, copy=False)
    except ValueError:
        raise RuntimeError(
            f"view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            f'contiguous subspaces): shape {list(input.shape)} with strides {list(element_strides(input))} viewed as '
            f'{list(shape)}. Use .reshape(...) instead.') from None


def reinterpreted(array, dtype):
    """The same bytes as another dtype; the last dimension shrinks or grows with the element's size."""
    if array.dtype.itemsize == dtype.itemsize:
        return array.view(dtype.numpy)
    if not array.ndim:
        raise RuntimeError(f'self.dim() cannot be 0 to view {dtypes.of(array.dtype)} as {dtype} (different element '
                           'sizes)')
    try:
        return array.view(dtype.numpy)
    except ValueError as error:
        raise RuntimeError(f'cannot view {dtypes.of(array.dtype)} of shape {list(array.shape)} as {dtype}: '
                           f'{error}') from None


@export('', method=True)
def view_as(input, other):
    """The same memory in the shape of another tensor."""
    return input.view(other.shape)


@export('', method=True)
def reshape_as(input, other):
    """The same elements in the shape of another tensor."""
    return input.reshape(other.shape)


@view(may_copy=True, grad={'input': lambda m, g, input_shape: m.reshape(g, input_shape)})
def flatten(m, input, start_dim=0, end_dim=-1):
    """The dimensions from `start_dim` to `end_dim` as one."""
    start, end = axis_of(start_dim, input.ndim), axis_of(end_dim, input.ndim)
    if start > end:
        raise RuntimeError('flatten() has invalid args: start_dim cannot come after end_dim')
    if not input.ndim:
        return input.reshape(1)
    return _reshaped(input, (*input.shape[:start], math.prod(input.shape[start:end + 1]), *input.shape[end + 1:]))


@export(method=True)
def ravel(input):
    """All elements in one dimension."""
    return input.reshape(-1)


@view(grad={'input': lambda m, g, input_shape: m.reshape(g, input_shape)})
def unflatten(m, input, dim, sizes):
    """One dimension split into several sizes, of which one may be -1."""
    axis = axis_of(dim, input.ndim)
    sizes = tuple(sizes)
    if not sizes:
        raise RuntimeError('unflatten: sizes must be non-empty')
    try:
        sizes = resolved_shape(sizes, input.shape[axis])
    except RuntimeError:
        raise RuntimeError(f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {dim} "
                           f'({input.shape[axis]}) in the input tensor') from None
    return input.reshape((*input.shape[:axis], *sizes, *input.shape[axis + 1:]))


# ---- order of dimensions

@view(inplace='', aliases=('swapaxes', 'swapdims'), replay=False,
      grad={'input': lambda m, g, dim0, dim1: m.transpose(g, dim0, dim1)})
def transpose(m, input, dim0, dim1):
    """Two dimensions swapped."""
    try:
        return input.swapaxes(dim0, dim1)
    except (np.exceptions.AxisError, TypeError):
        a, b = axis_of(dim0, input.ndim), axis_of(dim1, input.ndim)
        return input.swapaxes(a, b) if input.ndim else input.view()


def _t_batched(op, values, size):
    batch, rank = values[0].tensor, values[0].rank
    return batch if rank < 2 else op.public(batch[0]) if rank > 2 else batch.transpose(1, 2)  # which refuses


@view(inplace='', batch=_t_batched, replay=False, grad={'input': lambda m, g: m.t(g)})
def t(m, input):
    """A matrix transposed; fewer dimensions as they are."""
    if input.ndim > 2:
        raise RuntimeError(f't() expects a tensor with <= 2 dimensions, but self is {input.ndim}D')
    return input.T


@view(variadic='dims', replay=False, grad={'input': lambda m, g, dims: m.permute(g, inverse_order(dims, g.ndim))})
def permute(m, input, dims):
    """The dimensions in another order."""
    try:
        return input.transpose(dims)
    except (ValueError, TypeError):
        pass  # what does not fit is told below
    if len(dims) != input.ndim:
        raise RuntimeError(f'permute(): number of dimensions in the tensor input does not match the length of '
                           f'the desired ordering of dimensions i.e. input.dim() = {input.ndim} is not equal to '
                           f'len(dims) = {len(dims)}')
    axes = tuple(axis_of(d, input.ndim) for d in dims)
    if len(set(axes)) != len(axes):
        raise RuntimeError('permute(): duplicate dims are not allowed.')
    return input.transpose(axes)


def inverse_order(dims, ndim):
    axes = [d % ndim for d in dims] if ndim else []
    return tuple(sorted(range(ndim), key=axes.__getitem__))


@view(batch=along, aliases=('moveaxis',), label='PermuteBackward0', grad={
    'input': lambda m, g, source, destination: m.movedim(g, destination, source)})
def movedim(m, input, source, destination):
    """Dimensions moved to other places, the rest in order."""
    source = (source,) if isinstance(source, int) else tuple(source)
    destination = (destination,) if isinstance(destination, int) else tuple(destination)
    if len(source) != len(destination):
        raise RuntimeError(f'movedim: Invalid source or destination dims: source ({list(source)} dims) should contain '
                           f'the same number of dims as destination ({list(destination)} dims)')
    ndim = input.ndim
    source, destination = [axis_of(d, ndim) for d in source], [axis_of(d, ndim) for d in destination]
    if len(set(source)) != len(source):
        raise RuntimeError(f'movedim: repeated dim in `source` ({source})')
    if len(set(destination)) != len(destination):
        raise RuntimeError(f'movedim: repeated dim in `destination` ({destination})')
    order = [d for d in range(ndim) if d not in source]
    for to, come in sorted(zip(destination, source)):
        order.insert(to, come)
    return input.transpose(order)


def _transposed_property(name):
    def get(self):
        if name == 'T':
            return self.permute(tuple(range(self.dim() - 1, -1, -1)))
        if self.dim() < 2 and not (name == 'H' and self.dim() == 0):
            raise RuntimeError(f'tensor.{name} is only supported on matrices or batches of matrices. Got '
                               f'{self.dim()}-D tensor.')
        if name == 'H' and self.dim() != 2:
            raise RuntimeError(f'tensor.H is only supported on matrices (2-D tensors). Got {self.dim()}-D tensor.')
        turned = self.transpose(-2, -1)
        return turned.conj() if name in ('H', 'mH') else turned
    return property(get)


for _name in ('T', 'mT', 'H', 'mH'):
    setattr(Tensor, _name, _transposed_property(_name))


@export(method=True)
def adjoint(input):
    """The conjugate transpose of matrices."""
    return input.transpose(-2, -1).conj()


# ---- sizes of one, repetition

def _squeezed_axes(dim, shape):
    if dim is None:
        return tuple(k for k, n in enumerate(shape) if n == 1)
    dims = dim if isinstance(dim, (tuple, list)) else (dim,)
    return tuple(a for a in (axis_of(d, len(shape)) for d in dims) if shape and shape[a] == 1)


@view(inplace='', grad={'input': lambda m, g, input_shape: m.reshape(g, input_shape)})
def squeeze(m, input, dim=None):
    """Without its dimensions of size 1, or without those of the given ones that have it."""
    if dim.__class__ is int and -input.ndim <= dim < input.ndim:
        return input.squeeze(dim) if input.shape[dim] == 1 else input
    return input.squeeze(axis=_squeezed_axes(dim, input.shape))


@view(inplace='', grad={'input': lambda m, g, input_shape: m.reshape(g, input_shape)})
def unsqueeze(m, input, dim):
    """With a dimension of size 1 at `dim`."""
    axis = axis_of(dim, input.ndim + 1)
    return input.reshape((*input.shape[:axis], 1, *input.shape[axis:])) if input.flags.c_contiguous else \
        np.expand_dims(input, axis)


@view(variadic='size', namespace='', grad={'input': lambda m, g, input_shape: m.sum_to_size(g, input_shape)})
def expand(m, input, size):
    """Dimensions of size 1 repeated without copying; -1 keeps a size."""
    try:
        sizes, strides = _expanded(input.shape, input.strides, size)
    except TypeError:  # tensors among the sizes
        sizes, strides = _expanded(input.shape, input.strides, tuple([n.__index__() for n in size]))
    if sizes == input.shape:
        return input.view()
    if input.flags.forc and input.dtype.kind in 'fiubc' and 0 not in sizes:
        made = np.ndarray(sizes, input.dtype, input, 0, strides)
        made.flags.writeable = False  # one place in memory stands for several elements
        return made
    return np.broadcast_to(input, sizes)


@functools.lru_cache(maxsize=1024)
def _expanded(old, steps, shape):
    """(sizes, strides) of an array of sizes `old` and strides `steps` expanded to `shape`."""
    if not all(n.__class__ is int for n in shape):
        raise TypeError('a size is no whole number')
    extra = len(shape) - len(old)
    if extra < 0:
        raise RuntimeError(f'expand({list(old)}, size={list(shape)}): the number of sizes provided '
                           f'({len(shape)}) must be greater or equal to the number of dimensions in the tensor '
                           f'({len(old)})')
    strides, sizes = [0] * extra, list(shape[:extra])
    if sizes and min(sizes) < 0:
        raise RuntimeError(f"The expanded size of the tensor ({min(sizes)}) isn't allowed in a leading, non-existing "
                           f'dimension {sizes.index(min(sizes))}')
    for k, (n, s) in enumerate(zip(old, steps)):
        wanted = shape[k + extra]
        if wanted in (-1, n):
            sizes.append(n)
            strides.append(s)
        elif n == 1 and wanted >= 0:
            sizes.append(wanted)
            strides.append(0)
        else:
            raise RuntimeError(f'The expanded size of the tensor ({wanted}) must match the existing size ({n}) at '
                               f'non-singleton dimension {k + extra}.  Target sizes: {list(shape)}.  Tensor sizes: '
                               f'{list(old)}')
    return tuple(sizes), tuple(strides)


@export('', method=True)
def expand_as(input, other):
    """Expanded to the shape of another tensor."""
    return input.expand(*other._array.shape)


@export(method=True)
def broadcast_to(input, *shape, size=None):
    """Expanded to a shape."""
    return input.expand(shape[0] if len(shape) == 1 else shape) if size is None else input.expand(size)


def sum_to_size(input, *size):
    """Summed down to a shape that broadcasts to its own. Raises RuntimeError for any other shape."""
    size = tuple(size[0]) if len(size) == 1 and isinstance(size[0], (tuple, list)) else size
    shape = tuple(input._array.shape)
    extra = len(shape) - len(size)
    if extra < 0 or any(n not in (1, have) for n, have in zip(size, shape[extra:])):
        raise RuntimeError(f'size {{{list(size)}}} is not expandable to size {{{list(shape)}}}.')
    axes = tuple(range(extra)) + tuple(k + extra for k, n in enumerate(size) if n == 1 and shape[k + extra] != 1)
    if axes:
        input = PUBLIC.sum(input, axes, True)
    return input.reshape(size) if extra else input


Tensor.sum_to_size = PUBLIC.sum_to_size = sum_to_size


# ---- parts

@view()
def select(m, input, dim, index):
    """The slice at `index` of one dimension, without that dimension."""
    if not input.ndim:
        raise IndexError('select() cannot be applied to a 0-dim tensor.')
    axis, index = axis_of(dim, input.ndim), index.__index__()
    if not -input.shape[axis] <= index < input.shape[axis]:
        raise IndexError(f'select(): index {index} out of range for tensor of size {list(input.shape)} at dimension '
                         f'{axis}')
    return input[(slice(None),) * axis + (index, ...)]


@view()
def narrow(m, input, dim, start, length):
    """`length` places of one dimension from `start` on."""
    if not input.ndim:
        raise RuntimeError('narrow() cannot be applied to a 0-dim tensor.')
    axis, size = axis_of(dim, input.ndim), input.shape[axis_of(dim, input.ndim)]
    if hasattr(start, 'dtype') and (start.ndim or str(start.dtype).endswith('bool')):
        raise RuntimeError('start must be an 0-dim integral Tensor.')
    start = start.__index__()
    if length < 0:
        raise RuntimeError('narrow(): length must be non-negative.')
    if not -size <= start <= size:
        raise IndexError(f'start out of range (expected to be in range of [{-size}, {size}], but got {start})')
    start = start + size if start < 0 else start
    if start + length > size:
        raise RuntimeError(f'start ({start}) + length ({length}) exceeds dimension size ({size}).')
    return input[(slice(None),) * axis + (slice(start, start + length),)]


@view()
def diagonal(m, input, offset=0, dim1=0, dim2=1):
    """The diagonal over two dimensions, as the last dimension."""
    a, b = axis_of(dim1, input.ndim), axis_of(dim2, input.ndim)
    if a == b:
        raise RuntimeError(f'diagonal dimensions cannot be identical {dim1}, {dim2}')
    made = input.diagonal(offset, a, b)
    made.flags.writeable = input.flags.writeable
    return made


@view(namespace='', grad={'input': lambda m, g, input_shape, dimension, size, step:
                          m.unfold_adjoint(g, input_shape, dimension, size, step)})
def unfold(m, input, dimension, size, step):
    """All slices of `size` along a dimension, `step` apart, with the slice as the last dimension."""
    axis = axis_of(dimension, input.ndim)
    length = input.shape[axis] if input.ndim else 1
    if size > length:
        raise RuntimeError(f'maximum size for tensor at dimension {axis} is {length} but size is {size}')
    if step <= 0:
        raise RuntimeError(f'step is {step} but must be > 0')
    if size < 0:
        raise RuntimeError(f'size is {size} but must be >= 0')
    if not input.ndim:
        return input.reshape(1)[:size]
    strides = element_strides(input)
    shape = (*input.shape[:axis], (length - size) // step + 1, *input.shape[axis + 1:], size)
    return restrided(input, shape, (*strides[:axis], strides[axis] * step, *strides[axis + 1:], strides[axis]))


@opaque(method=False, namespace='', grad={'input': lambda m, g, dimension, size, step:
                                          m.unfold(g, dimension, size, step)})
def unfold_adjoint(m, input, shape, dimension, size, step):
    """The gradient of `unfold`: overlapping slices added up where they came from."""
    total = m.xp.zeros(shape or (1,), input.dtype)
    windows = m.unfold(total, dimension, size, step)
    for k in range(size):
        windows[..., k] += input[..., k]
    return total.reshape(shape)


@view(inplace='torch', replay=False, grad={
    'input': lambda m, g, input, size, stride, storage_offset: m.as_strided_adjoint(
        g, input.shape, strides_of(input), tuple(size), tuple(stride),
        0 if storage_offset is None else storage_offset - start_of(input))})
def as_strided(m, input, size, stride, storage_offset=None):
    """A view of the storage with given sizes, strides and offset. Raises RuntimeError outside of the storage."""
    size, stride = tuple(size), tuple(stride)
    if len(size) != len(stride):
        raise RuntimeError('mismatch in length of strides and shape')
    if any(s < 0 for s in stride):
        raise RuntimeError(f'as_strided: Negative strides are not supported at the moment, got strides: {list(stride)}')
    if storage_offset is not None and storage_offset < 0:
        raise RuntimeError(f'Tensor: invalid storage offset {storage_offset}')
    return restrided(input, size, stride, 0 if storage_offset is None else storage_offset - start_of(input))


def strides_of(x):
    return element_strides(getattr(x, '_array', x))


def start_of(x):
    from ..storage import offset_of
    return offset_of(getattr(x, '_array', x))


def _span(shape, strides):
    return 1 + sum((n - 1) * s for n, s in zip(shape, strides))


@opaque(method=False, namespace='', grad={
    'input': lambda m, g, base_strides, shape, strides,
    offset: m.as_strided_part(g, base_strides, shape, strides, offset)})
def as_strided_adjoint(m, input, base_shape, base_strides, shape, strides, offset):
    """The gradient of a strided view in its base: each element added up where it lies.

    Strides are in elements; `offset` counts from the first element of the base.
    """
    base = _base_memory(m, base_shape, base_strides, input.dtype)
    places = offset + sum_of_ranges(shape, strides)
    if places.size == np.unique(places).size:
        base[0][places.reshape(-1)] = input.reshape(-1)
    else:
        np.add.at(base[0], places.reshape(-1), input.reshape(-1))
    return base[1]


def sum_of_ranges(shape, strides):
    """Where the elements of a strided array lie, relative to the first."""
    places = np.zeros((), np.int64)
    for n, s in zip(shape, strides):
        places = places[..., None] + np.arange(n) * s
    return places


def _base_memory(m, shape, strides, dtype):
    """(memory, array of that shape and strides on it), zero."""
    memory = m.xp.zeros(_span(shape, strides) if 0 not in shape else 1, dtype)
    return memory, restrided(memory, tuple(shape), tuple(strides))


def _placed(m, x, base_strides):
    """A copy of `x` whose memory is laid out with the given strides."""
    memory, copy = _base_memory(m, x.shape, base_strides, x.dtype)
    np.copyto(copy, x)
    return memory, copy


@opaque(method=False, namespace='', grad={
    'input': lambda m, g, input_shape, base_strides, shape, strides, offset: m.as_strided_adjoint(
        g, input_shape, base_strides, shape, strides, offset)})
def as_strided_part(m, input, base_strides, shape, strides, offset):
    """What a strided view would show if `input` were laid out with `base_strides`."""
    memory, _ = _placed(m, input, base_strides)
    return restrided(memory, tuple(shape), tuple(strides), offset).copy()


@opaque(method=False, namespace='', grad={
    'input': lambda m, g, base_strides, shape, strides, offset: m.as_strided_fill(
        g, base_strides, shape, strides, offset, 0)})
def as_strided_fill(m, input, base_strides, shape, strides, offset, value):
    """`input` with the elements that such a strided view shows overwritten by a number."""
    memory, copy = _placed(m, input, base_strides)
    restrided(memory, tuple(shape), tuple(strides), offset)[...] = value
    return copy


@opaque(method=False, namespace='', grad={'g': lambda m, g, operation, arguments: operation.public(g, *arguments)
                                          if hasattr(g, '_array') else operation.formula(m, g, *arguments)})
def view_adjoint(m, g, operation, shape, arguments):
    """The gradient of an injective view: zeros with the cotangent where the view looks."""
    base = m.xp.zeros(shape, g.dtype)
    operation.formula(m, base, *arguments)[...] = g
    return base


# ---- several parts

def _joined_gradient(m, g, input_shape, dim):
    return m.cat(list(g), dim)


def _sections(input, split_size_or_sections, dim):
    axis = axis_of(dim, input.ndim)
    if not input.ndim:
        raise RuntimeError('split expects at least a 1-dimensional tensor')
    size = input.shape[axis]
    if isinstance(split_size_or_sections, (tuple, list)):
        sections = [n.__index__() for n in split_size_or_sections]
        if any(n < 0 for n in sections) or builtin_sum(sections) != size:
            raise RuntimeError(f'split_with_sizes expects split_sizes to sum exactly to {size} (input tensor\'s size '
                               f'at dimension {dim}), but got split_sizes={sections}')
    else:
        step = split_size_or_sections.__index__()
        if step < 0:
            raise RuntimeError(f'split expects split_size be non-negative, but got split_size={step}')
        if step == 0 and size:
            raise RuntimeError(f'split_size can only be 0 if dimension size is 0, but got dimension size of {size}')
        sections = [min(step, size - at) for at in range(0, size, step)] if size else [0]
    return axis, sections


builtin_sum = __builtins__['sum'] if isinstance(__builtins__, dict) else __builtins__.sum


def _parts(input, axis, sections):
    keys, at = [], 0
    for n in sections:
        keys.append((slice(None),) * axis + (slice(at, at + n),))
        at += n
    return tuple([input[key] for key in keys])


@functools.lru_cache(maxsize=256)
def _keys_of_equal(axis, size, step):
    """The keys of parts of `step` along an axis; the last may be shorter."""
    return [(slice(None),) * axis + (slice(at, min(at + step, size)),) for at in range(0, size, step)]


_SEVERAL = 'is one of the outputs of a function that returns multiple views'


@view(view_refusal=_SEVERAL, grad={'input': _joined_gradient})
def split(m, input, split_size_or_sections, dim=0):
    """Parts of a given size (the last may be smaller) or of given sizes along a dimension."""
    if split_size_or_sections.__class__ is int and split_size_or_sections > 0 and input.size:
        axis = axis_of(dim, input.ndim)
        return [input[key] for key in _keys_of_equal(axis, input.shape[axis], split_size_or_sections)]
    return _parts(input, *_sections(input, split_size_or_sections, dim))


@export(method=True)
def split_with_sizes(input, split_sizes, dim=0):
    """Parts of given sizes along a dimension."""
    return split(input, list(split_sizes), dim)


@view(view_refusal=_SEVERAL, grad={'input': _joined_gradient})
def chunk(m, input, chunks, dim=0):
    """At most `chunks` equal parts along a dimension."""
    axis = axis_of(dim, input.ndim)
    if not input.ndim:
        raise RuntimeError('chunk expects at least a 1-dimensional tensor')
    if chunks <= 0:
        raise RuntimeError(f'chunk expects `chunks` to be greater than 0, got: {chunks}')
    size = input.shape[axis]
    if not size:
        return _parts(input, axis, [0] * chunks)
    return [input[key] for key in _keys_of_equal(axis, size, -(-size // chunks))]


@view(view_refusal=_SEVERAL, grad={'input': lambda m, g, dim: m.stack(list(g), dim)})
def unbind(m, input, dim=0):
    """The slices along a dimension."""
    if not input.ndim:
        raise IndexError('Dimension specified as 0 but tensor has no dimensions')
    axis = axis_of(dim, input.ndim)
    return tuple(input[(slice(None),) * axis + (k, ...)] for k in range(input.shape[axis]))


@export(method=True)
def tensor_split(input, indices_or_sections, dim=0):
    """Parts at given places, or so many parts of nearly equal size, along a dimension."""
    if not input.dim():
        raise RuntimeError('tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims')
    axis = axis_of(dim, input.dim())
    size = input.shape[axis]
    if isinstance(indices_or_sections, Tensor):
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        sections = indices_or_sections
        if sections <= 0:
            raise RuntimeError(f'number of sections must be larger than 0, got {sections}')
        whole, more = divmod(size, sections)
        sizes = [whole + (k < more) for k in range(sections)]
        return split(input, sizes, axis)
    ends = [slice(None, i).indices(size)[1] for i in indices_or_sections]
    starts = [0, *ends]
    return tuple(input.narrow(axis, min(a, size), max(b - a, 0)) for a, b in zip(starts, [*ends, size]))


def _split_along(name, dim_for, need):
    @export(method=True, name=name)
    def function(input, indices_or_sections):
        if input.dim() < need:
            raise RuntimeError(f'torch.{name} requires a tensor with at least {need} dimension, but got a tensor with '
                               f'{input.dim()} dimensions!')
        axis = dim_for(input.dim())
        if isinstance(indices_or_sections, int) and (
                indices_or_sections == 0 or input.shape[axis] % indices_or_sections):
            raise RuntimeError(f'torch.{name} attempted to split along dimension {axis}, but the size of the dimension '
                               f'{input.shape[axis]} is not divisible by the split_size {indices_or_sections}!')
        return tensor_split(input, indices_or_sections, axis)
    function.__doc__ = 'Parts along one dimension, as NumPy\'s function of the same name.'


_split_along('hsplit', lambda ndim: 0 if ndim == 1 else 1, 1)
_split_along('vsplit', lambda ndim: 0, 2)
_split_along('dsplit', lambda ndim: 2, 3)


# ---- complex parts

@view(namespace='torch', method=True, replay=False, grad={'input': lambda m, g: m.view_as_complex(g)})
def view_as_real(m, input):
    """Complex numbers as pairs of real ones in a last dimension of size 2."""
    if input.dtype.kind != 'c':
        raise RuntimeError('view_as_real is only supported for complex tensors')
    real = np.dtype(f'f{input.dtype.itemsize // 2}')
    return input.reshape(*input.shape, 1).view(real) if input.flags.c_contiguous else restrided(
        input.view(input.dtype), (*input.shape, 1), (*element_strides(input), 1)).view(real)


@view(namespace='torch', method=True, replay=False, grad={'input': lambda m, g: m.view_as_real(g)})
def view_as_complex(m, input):
    """Pairs of real numbers in a last dimension of size 2 as complex numbers."""
    if not input.ndim or input.shape[-1] != 2:
        raise RuntimeError('Tensor must have a last dimension of size 2')
    if input.dtype not in (np.float32, np.float64):
        raise RuntimeError(f'view_as_complex is only supported for half, float and double tensors, but got a tensor of '
                           f'scalar type: {dtypes.of(input.dtype)}')
    if input.strides[-1] != input.itemsize:
        raise RuntimeError('Tensor must have a last dimension with stride 1')
    return input.view(np.dtype(f'c{input.itemsize * 2}'))[..., 0]


@view(name='_real', namespace='', replay=False, grad={'input': lambda m, g: m.cast(g, g_complex(g))})
def _real(m, input):
    """The real part of complex numbers, as a view."""
    return input.real


@view(name='_imag', namespace='', replay=False, grad={'input': lambda m, g: m.cast(g, g_complex(g)) * 1j})
def _imag(m, input):
    """The imaginary part of complex numbers, as a view."""
    return input.imag


def g_complex(g):
    d = g.dtype if isinstance(g.dtype, dtypes.dtype) else dtypes.of(g.dtype)
    return d.to_complex()


@export()
def real(input):
    """The real part; real tensors as they are."""
    return input.real


@export()
def imag(input):
    """The imaginary part of a complex tensor."""
    return input.imag


@view(name='alias', namespace='', method=False, replay=False, grad={'input': lambda m, g: g})
def alias(m, input):
    """A view of the whole tensor."""
    return input.view()
