"""Tensors from nothing or from data: tensor, zeros, arange and their relatives. None of them records a gradient."""
from __future__ import annotations

import functools
import math
import numbers

import numpy as np

from .. import dtypes
from ..device import resolve
from ..errors import OutOfMemory, require_tensors, warn
from ..storage import dense_like, shares_elements
from ..tensor import (Size, Tensor, contiguous_format, element_strides,
                      preserve_format, wrap)
from .conversion import laid_out
from .definition import PUBLIC, export
from .overriding import answered, override
from .promotion import converted_number, number_dtype, result_dtype
from .reference import LARGE, REFERENCE
from .writing import change

__all__ = ['tensor', 'as_tensor', 'from_numpy', 'zeros', 'ones', 'full', 'empty', 'arange', 'new_tensor']


def new_tensor(array, requires_grad=False):
    """A leaf on an array."""
    out = wrap(array)
    if requires_grad:
        out.requires_grad_()
    return out


# ---- from data

def array_from(data, dtype):
    """An array of its own with the values of numbers, nested sequences, arrays or tensors."""
    if isinstance(data, Tensor):
        return converted(data._array, dtype or data.dtype).copy()
    if isinstance(data, (np.ndarray, np.generic)):
        array = np.asarray(data)
        return converted(array, dtype or dtypes.of(array.dtype)).copy()
    if isinstance(data, (bool, int, float, complex)):
        if dtype is None and isinstance(data, int) and not -2 ** 63 <= data < 2 ** 63:
            raise ValueError(f'Overflow when unpacking long long: {data}')
        if isinstance(data, complex) and dtype is not None and not dtype.is_complex:
            raise TypeError(f'must be real number, not complex: {data} as {dtype}')
        return filled((), data, dtype or number_dtype(data))
    if isinstance(data, (list, tuple, range)):
        return _array_of_sequence(data, dtype)
    if hasattr(data, '__array__') or hasattr(data, '__array_interface__'):
        return array_from(np.asarray(data), dtype)
    if hasattr(data, '__len__') and hasattr(data, '__getitem__') and not isinstance(data, (str, bytes, dict)):
        return _array_of_sequence(list(data), dtype)
    if isinstance(data, (str, bytes)):
        raise TypeError(f"new(): invalid data type '{type(data).__name__}'")
    raise RuntimeError(f'Could not infer dtype of {type(data).__name__}')


_PLAIN_NUMBERS = frozenset({float, int, bool})
_PLAIN_ARRAYS = frozenset(map(np.dtype, ('float64', 'int64', 'bool')))


def _array_of_sequence(data, dtype):
    first = data
    while first.__class__ in (list, tuple) and first:
        first = first[0]
    if first.__class__ in _PLAIN_NUMBERS:
        try:
            array = np.array(data)
        except (ValueError, TypeError, OverflowError, RuntimeError):
            array = first  # ragged or mixed: the slow way finds out what is wrong
        kind = getattr(array, 'dtype', None)
        if kind == np.float64 and dtype is None:
            return array.astype(dtypes.get_default_dtype().numpy)
        if kind in _PLAIN_ARRAYS:
            if dtype is None or kind == dtype.numpy:
                return array
            if dtype.category == dtypes.FLOAT:
                return array.astype(np.float64, copy=False).astype(dtype.numpy, copy=False)
    shape = _shape_of(data)
    leaves = []
    _collect(data, shape, 0, leaves)
    if dtype is None:
        dtype = _dtype_of(leaves)
    plain = [v.item() if isinstance(v, (Tensor, np.generic, np.ndarray)) else v for v in leaves]
    if dtype.category == dtypes.INTEGER:
        return _integers(plain, dtype).reshape(shape)
    exact = np.float64 if dtype.category == dtypes.FLOAT else dtype.numpy
    return np.array(plain, exact).astype(dtype.numpy, copy=False).reshape(shape)


def _integers(values, dtype):
    try:
        return np.array(values, dtype.numpy) if all(type(v) is int for v in values) else \
            np.array([int(v.real if isinstance(v, complex) else v) for v in values]).astype(dtype.numpy)
    except OverflowError:
        if any(not -2 ** 63 <= v < 2 ** 64 for v in values) or dtype is dtypes.int64:
            raise ValueError(f'Overflow when unpacking long long: a value does not fit {dtype.name}') from None
        return np.array([converted_number(v, dtype) for v in values], dtype.numpy)


def _shape_of(data):
    shape = []
    while True:
        if isinstance(data, (list, tuple, range)):
            shape.append(len(data))
            if not len(data):
                return tuple(shape)
            data = data[0]
        elif isinstance(data, (Tensor, np.ndarray)) and data.ndim:
            return (*shape, *data.shape)
        else:
            return tuple(shape)


def _collect(data, shape, depth, leaves):
    """The numbers in nested sequences, checked against the shape of the first ones."""
    if depth == len(shape):
        if isinstance(data, (list, tuple)):
            raise TypeError(f"'{type(data).__name__}' object cannot be interpreted as a number: too many dimensions at "
                            f'depth {depth} of the data')
        if isinstance(data, str):
            raise ValueError("too many dimensions 'str': expected a number")
        leaves.append(data)
        return
    if isinstance(data, (Tensor, np.ndarray)):
        if tuple(data.shape) != shape[depth:]:
            raise ValueError(f'expected sequence of length {shape[depth]} at dim {depth}, got a tensor of shape '
                             f'{list(data.shape)}')
        array = data._array if isinstance(data, Tensor) else data
        leaves.extend(array.reshape(-1).tolist() if array.dtype.kind != 'V'
                      else array.astype(np.float32).reshape(-1).tolist())
        return
    if not isinstance(data, (list, tuple, range)):
        raise TypeError(f'not a sequence: {data!r} at dim {depth}, where the first element has {shape[depth]} items')
    if len(data) != shape[depth]:
        raise ValueError(f'expected sequence of length {shape[depth]} at dim {depth} (got {len(data)})')
    for item in data:
        _collect(item, shape, depth + 1, leaves)


def _dtype_of(leaves):
    found = None
    for kind in dict.fromkeys(type(v) for v in leaves):
        value = next(v for v in leaves if type(v) is kind)
        if isinstance(value, Tensor):
            d = value.dtype
        elif isinstance(value, np.generic):
            d = dtypes.of(value.dtype)
        elif isinstance(value, (bool, int, float, complex)):
            d = number_dtype(value)
        else:
            raise RuntimeError(f'Could not infer dtype of {kind.__name__}')
        found = d if found is None else dtypes.promote_types(found, d)
    return found or dtypes.get_default_dtype()


def constructed(data, dtype):
    """The array of `Tensor(...)` and `LongTensor(...)`: uninitialised of given sizes, or with data."""
    if len(data) == 1 and not isinstance(data[0], int):
        source = data[0]
        if isinstance(source, Size):
            return np.empty(source, dtype.numpy)
        if isinstance(source, Tensor):
            return source._array
        if isinstance(source, (str, bytes)):
            raise TypeError(f"new(): invalid data type '{type(source).__name__}'")
        if not hasattr(source, '__len__'):
            raise TypeError(f'new(): data must be a sequence (got {type(source).__name__})')
        return array_from(source, dtype)
    return np.empty(sizes(data or (0,), 'new'), dtype.numpy)


def converted(array, dtype):
    if array.dtype == dtype.numpy:
        return array if array.dtype.isnative else array.astype(dtype.numpy)
    if array.dtype.kind == 'c' and not dtype.is_complex:
        array = array.real
    return array.astype(dtype.numpy)


@export()
def tensor(data, *, dtype=None, device=None, requires_grad=False, pin_memory=False):
    """A leaf with a copy of the data: numbers, nested sequences, arrays.

    >>> tensor([[1., 2.], [3., 4.]])
    tensor([[1., 2.],
            [3., 4.]])
    """
    resolve(device)
    if isinstance(data, Tensor):
        warn('To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or '
             'sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor).')
    return new_tensor(array_from(data, dtypes.asked(dtype)), requires_grad)


@export()
def as_tensor(data, dtype=None, device=None):
    """A tensor on the data; arrays and tensors of that dtype are not copied."""
    dtype = dtypes.asked(dtype)
    if isinstance(data, Tensor):
        return data.to(device=device, dtype=dtype)
    resolve(device)
    if isinstance(data, np.ndarray) and data.flags.writeable and min(data.strides, default=0) >= 0:
        return wrap(converted(data, dtype or dtypes.of(data.dtype)))
    return wrap(array_from(data, dtype))


@export(aliases=('asarray',))
def asarray(obj, *, dtype=None, device=None, copy=None, requires_grad=False):
    """A tensor on or of `obj`; `copy` says whether it must, may or must not be copied."""
    if copy is False and not isinstance(obj, (Tensor, np.ndarray)):
        raise ValueError(f"can't alias arbitrary sequence into a tensor: a {type(obj).__name__} has to be copied")
    made = tensor(obj, dtype=dtype) if copy and not isinstance(obj, Tensor) else as_tensor(obj, dtype, device)
    made = made.clone() if copy and isinstance(obj, Tensor) else made.detach()
    return made.requires_grad_() if requires_grad else made


@export()
def from_numpy(ndarray):
    """A tensor that shares the memory of an array. Raises TypeError for a dtype that tensors lack."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f'expected np.ndarray (got {type(ndarray).__name__})')
    dtypes.of(ndarray.dtype)
    if ndarray.flags.c_contiguous and ndarray.dtype.isnative:
        return wrap(ndarray.view())
    if any(s < 0 for s in ndarray.strides):
        raise ValueError('At least one stride in the given numpy array is negative, and tensors with negative strides '
                         'are not currently supported. (You can probably work around this by making a copy of your '
                         'array  with array.copy().)')
    array = ndarray.view() if ndarray.dtype.isnative else ndarray.astype(ndarray.dtype.newbyteorder('='))
    if shares_elements(array):
        array.flags.writeable = False
    return wrap(array)


@export()
def frombuffer(buffer, *, dtype, count=-1, offset=0, requires_grad=False):
    """A tensor on the memory of an object with a buffer."""
    return new_tensor(np.frombuffer(buffer, dtype.numpy, count, offset), requires_grad)


@export()
def from_dlpack(ext_tensor):
    """A tensor that shares the memory of another library's tensor."""
    return wrap(np.from_dlpack(ext_tensor))


@export()
def scalar_tensor(s, *, dtype=None, device=None, requires_grad=False):
    """A 0-d tensor of a number, in the default floating point dtype."""
    resolve(device)
    return new_tensor(filled((), s, dtypes.asked(dtype) or dtypes.get_default_dtype()), requires_grad)


# ---- of a given shape

def sizes(size, name):
    """The sizes of a creation function: `zeros(2, 3)` or `zeros((2, 3))`. Raises RuntimeError for negative ones."""
    for n in size:
        if n.__class__ is not int or n < 0:
            break
    else:
        return size  # as nearly always
    if len(size) == 1 and not isinstance(size[0], int):
        size = size[0]
        size = (size,) if isinstance(size, Tensor) or not hasattr(size, '__iter__') else tuple(size)
    try:
        shape = tuple([n.__index__() for n in size])
    except AttributeError:
        bad = next(n for n in size if not hasattr(n, '__index__'))
        raise TypeError(f"{name}(): argument 'size' must be tuple of ints, but found element of type "
                        f'{type(bad).__name__}') from None
    if any(n < 0 for n in shape):
        raise RuntimeError(f'Trying to create tensor with negative dimension {min(shape)}: {list(shape)}')
    return shape


def filled(shape, value, dtype):
    if isinstance(value, Tensor):
        value = value.item()
    number = converted_number(value, dtype)
    if shape == ():
        return number
    made = allocated('full', np.empty, shape, number.dtype)
    REFERENCE.copy(made, number)
    return made


def _fill_value(value):
    if not isinstance(value, (Tensor, numbers.Number, np.generic)):
        raise TypeError(f"full(): argument 'fill_value' (position 2) must be Number, not {type(value).__name__}")
    return value


def allocated(name, make, shape, *arguments):
    """make(shape, ...), with memory running out told as that of `name`."""
    try:
        return make(shape, *arguments)
    except MemoryError as error:
        raise OutOfMemory(f'{name}(): out of memory: {error}') from None
    except ValueError:
        raise RuntimeError(f'{name}(): a tensor of shape {list(shape)} is larger than any memory') from None


def _ones(shape, dtype):
    if math.prod(shape) < LARGE:
        return np.ones(shape, dtype)
    made = np.empty(shape, dtype)
    REFERENCE.copy(made, np.ones((), dtype))
    return made


_MAKERS = {'zeros': np.zeros, 'ones': _ones, 'empty': np.empty}


def _creator(name):
    make, number = _MAKERS[name], {'zeros': 0, 'ones': 1, 'empty': None}[name]

    def create(*size, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False,
               memory_format=contiguous_format, **named):
        if named:
            size = (named.pop('size'),) if 'size' in named and not size else size
            if named:
                raise TypeError(f"{name}() got an unexpected keyword argument '{next(iter(named))}'")
        if device is not None:
            resolve(device)
        if out is not None and dtype is not None and dtypes.asked(dtype) is not out.dtype:
            raise RuntimeError(f'{name}(): dtype {dtype} does not match dtype of out parameter ({out.dtype})')
        array = allocated(name, make, sizes(size, name), (dtypes.asked(dtype) or dtypes.get_default_dtype()).numpy)
        if memory_format is not contiguous_format:
            array = laid_out(array, memory_format)
        return new_tensor(array, requires_grad) if out is None else _into(out, array)

    def create_like(input, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False,
                    memory_format=preserve_format):
        if input.__class__ is not Tensor:
            if answered(input):
                return override(create_like, (input,),
                                {'dtype': dtype, 'device': device, 'requires_grad': requires_grad})
            require_tensors(name + '_like', input=input)
        if device is not None:
            resolve(device)
        array = laid_out_like(input._array, dtypes.asked(dtype) or input.dtype, memory_format)
        if number is not None:
            if array.size < LARGE:
                array.fill(number)
            else:
                REFERENCE.copy(array, np.asarray(number, array.dtype))
        return new_tensor(array, requires_grad)

    def create_new(input, *size, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False, **named):
        size = (named.pop('size'),) if 'size' in named else size
        if named or not size:
            raise TypeError(f"new_{name}() got an unexpected keyword argument '{next(iter(named))}'" if named else
                            f"new_{name}() missing 1 required positional argument: 'size'")
        if dtype is None and device is None:
            return new_tensor(allocated(name, make, sizes(size, name), input._array.dtype), requires_grad)
        return create(*size, dtype=dtypes.asked(dtype) or input.dtype, device=device, requires_grad=requires_grad)
    for function, label in ((create, name), (create_like, name + '_like'), (create_new, 'new_' + name)):
        function.__name__ = function.__qualname__ = label
        function.__doc__ = f'A tensor {"whose values are whatever was there" if name == "empty" else "of " + name}.'
    create, create_like = export()(create), export(asks=False)(create_like)
    export('', method=True)(create_new)
    return create, create_like


def laid_out_like(array, dtype, form):
    """An uninitialised array of the shape of another, in a memory format."""
    if form is preserve_format:
        return dense_like(array, dtype.numpy)
    return laid_out(np.empty(array.shape, dtype.numpy), form)


zeros, zeros_like = _creator('zeros')
ones, ones_like = _creator('ones')
empty, empty_like = _creator('empty')
PUBLIC.zeros_like, PUBLIC.ones_like = zeros_like, ones_like


def _into(out, array):
    if out._array.shape != array.shape:
        out.resize_(array.shape)
    REFERENCE.copy(out._array, array)
    return out


@export()
def full(size, fill_value, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False,
         names=None):
    """A tensor of a shape filled with a number, in the number's dtype unless another is given."""
    if device is not None:
        resolve(device)
    kind = dtypes.asked(dtype) or (fill_value.dtype if isinstance(fill_value, Tensor) else number_dtype(fill_value))
    if not hasattr(size, '__iter__'):
        raise TypeError(f"full(): argument 'size' (position 1) must be tuple of ints, not {type(size).__name__}")
    array = filled(sizes(size if size.__class__ is tuple else (size,), 'full'), _fill_value(fill_value), kind)
    return new_tensor(array, requires_grad) if out is None else _into(out, array)


@export()
def full_like(input, fill_value, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False,
              memory_format=preserve_format):
    """A tensor of the shape and dtype of another, filled with a number."""
    made = empty_like(input, dtype=dtype, device=device, memory_format=memory_format)
    REFERENCE.copy(made._array, filled((), _fill_value(fill_value), made.dtype))
    return made.requires_grad_(requires_grad) if requires_grad else made


@export('', method=True)
def new_full(input, size, fill_value, *, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False):
    """A tensor of a shape in the dtype of this one, filled with a number."""
    return full(size, fill_value, dtype=dtypes.asked(dtype) or input.dtype, device=device, requires_grad=requires_grad)


@export('', method=True, name='new_tensor')
def new_tensor_method(input, data, *, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False):
    """A tensor with a copy of the data in the dtype of this one."""
    resolve(device)
    return new_tensor(array_from(data, dtypes.asked(dtype) or input.dtype), requires_grad)


@export('', method=True)
def new(input, *data):
    """A tensor of the dtype of this one: `x.new(2, 3)` uninitialised, `x.new([1, 2])` with data."""
    if not data or all(isinstance(n, int) for n in data):
        return empty(*(data or (0,)), dtype=input.dtype)
    return new_tensor(array_from(data[0], input.dtype))


@export()
def empty_strided(size, stride, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """An uninitialised tensor with given strides."""
    from ..storage import restrided
    resolve(device)
    if len(size) != len(stride):
        raise RuntimeError(f'dimensionality of sizes ({len(size)}) must match dimensionality of strides '
                           f'({len(stride)})')
    span = 1 + sum((n - 1) * s for n, s in zip(size, stride)) if 0 not in tuple(size) else 1
    memory = np.empty(span, (dtypes.asked(dtype) or dtypes.get_default_dtype()).numpy)
    return new_tensor(restrided(memory, tuple(size), tuple(stride)), requires_grad)


@export()
def empty_permuted(size, physical_layout, **options):
    """An uninitialised dense tensor whose dimensions lie in memory in the given order."""
    order = tuple(physical_layout)
    if len(order) != len(size):
        raise RuntimeError(f'Number of dimensions in size does not match the length of the physical_layout; i.e. '
                           f'len(size) = {len(size)} is not equal to len(physical_layout) = {len(order)}')
    if any(not 0 <= d < len(order) for d in order):
        raise RuntimeError(f'Dimension out of range (expected to be between 0 and {len(order) - 1}, but got {order})')
    if len(set(order)) != len(order):
        raise RuntimeError(f'Duplicate dim not allowed, in physical_layout {order}')
    made = empty([size[k] for k in order], **options)
    return made.permute(sorted(range(len(order)), key=order.__getitem__))


@export('', method=True)
def new_empty_strided(input, size, stride, *, dtype=None, device=None, requires_grad=False, layout=None,
                      pin_memory=False):
    """An uninitialised tensor with given strides in the dtype of this one."""
    return empty_strided(size, stride, dtype=dtypes.asked(dtype) or input.dtype, device=device,
                         requires_grad=requires_grad)


# ---- ranges

FEW = 256  # numbers of a range that is remembered
REAL = frozenset({float, int})


def _plain(value):
    return value.item() if isinstance(value, (Tensor, np.generic)) else value


@export()
def arange(start=None, end=None, step=1, *, out=None, dtype=None, layout=None, device=None, requires_grad=False,
           pin_memory=False):
    """start, start + step, ... below end. Whole numbers give int64, others the default dtype.

    Raises RuntimeError for a zero step or one that leads away from the end.
    """
    if device is not None:
        resolve(device)
    if end is None:
        start, end = 0, start
    if dtype is None and out is None and start.__class__ is end.__class__ is step.__class__ is int and (
            start <= end and step > 0 and end - start < LARGE * step):
        return new_tensor(np.arange(start, end, step, np.int64), requires_grad)
    start, end, step = _plain(start), _plain(end), _plain(step)
    if end is None:
        raise TypeError("arange() missing argument 'end'")
    start = 0 if start is None else start
    if step == 0:
        raise RuntimeError('step must be nonzero')
    if not all(math.isfinite(v) for v in (start, end)):
        raise RuntimeError(f'unsupported range: {start} -> {end}')
    if (end - start) * step < 0:
        raise RuntimeError('upper bound and lower bound inconsistent with step sign')
    whole = all(isinstance(v, int) for v in (start, end, step))
    wanted = dtypes.asked(dtype) or (out.dtype if out is not None else None)
    if wanted is not None and wanted.category == dtypes.INTEGER and int(step) == 0:
        raise ValueError(f'step must be nonzero: {step} is 0 as {wanted}')
    dtype = dtypes.asked(dtype) or (out.dtype if out is not None else
                                    dtypes.int64 if whole else dtypes.get_default_dtype())
    if dtype is dtypes.bool_ or dtype.is_complex:
        raise NotImplementedError(f'"arange_cpu" not implemented for {dtype}')
    if dtype.category == dtypes.INTEGER and not whole:
        start, end, step, whole = int(start), int(end), int(step), True
    if whole:
        count = max(0, -(-(end - start) // step))
        array = np.arange(start, start + count * step, step, dtype=np.int64)[:count].astype(dtype.numpy, copy=False)
    else:
        count = max(0, math.ceil((end - start) / step))
        array = (start + np.arange(count, dtype=np.float64) * step).astype(dtype.numpy)
    return new_tensor(array, requires_grad) if out is None else _into(out, array)


@export(name='range')
def range_(start, end, step=1, *, out=None, dtype=None, layout=None, device=None, requires_grad=False):
    """start, start + step, ... up to and including end."""
    count = math.floor((end - start) / step) + 1
    array = (start + np.arange(count, dtype=np.float64) * step).astype((dtypes.asked(dtype)
                                                                        or dtypes.get_default_dtype()).numpy)
    return new_tensor(array, requires_grad) if out is None else _into(out, array)


def _spaced(start, end, steps, dtype):
    """`steps` numbers from start to end, counted from both ends as PyTorch does."""
    if steps.__class__ is int and 0 <= steps <= FEW and start.__class__ in REAL and end.__class__ in REAL:
        return _few_spaced(start, end, steps, dtype, math.copysign(1, start), math.copysign(1, end)).copy()
    return _newly_spaced(start, end, steps, dtype)


@functools.lru_cache(maxsize=64, typed=True)
def _few_spaced(start, end, steps, dtype, *signs):
    """`_newly_spaced`, remembered; `signs` tell zeros apart."""
    return _newly_spaced(start, end, steps, dtype)


def _newly_spaced(start, end, steps, dtype):
    for bound in (start, end):
        if isinstance(bound, Tensor) and bound.dim():
            raise RuntimeError('linspace only supports 0-dimensional start and end tensors, but got start with '
                               f'{bound.dim()} dimension(s).')
    if not hasattr(steps, '__index__') or isinstance(steps, Tensor) and steps.is_floating_point():
        raise TypeError(f"linspace() received an invalid combination of arguments: 'steps' must be int, not "
                        f'{type(steps).__name__}')
    start, end = _plain(start), _plain(end)
    for name, bound in (('start', start), ('end', end)):
        if not isinstance(bound, (int, float, complex, np.number)):
            raise TypeError(f"linspace() received an invalid combination of arguments: '{name}' must be Number, not "
                            f'{type(bound).__name__}')
    if steps < 0:
        raise RuntimeError('number of steps must be non-negative')
    kind = dtypes.asked(dtype).numpy
    if dtype.category <= dtypes.INTEGER:
        step = (end - start) / (steps - 1) if steps > 1 else 0
        k = np.arange(steps, dtype=np.float64)
        low = np.trunc(start + step * k)
        high = np.trunc(end - step * (steps - 1 - k))
        return np.where(k < steps // 2, low, high).astype(kind)
    work = kind if dtype in (dtypes.float32, dtypes.float64) or dtype.is_complex else np.dtype(np.float32)
    one = work.type(1)
    step = (work.type(end) - work.type(start)) / work.type(max(steps - 1, 1))
    made = np.arange(steps, dtype=work)
    low, high = made[:steps // 2], made[steps // 2:]
    np.add(work.type(start), np.multiply(step, low, low), low)
    np.subtract(work.type(end), np.multiply(step, np.subtract(work.type(steps) - one, high, high), high), high)
    if steps == 1:
        made[0] = start
    return made.astype(kind)


def _spacing_dtype(start, end, dtype):
    if dtype is not None:
        return dtype
    if start.__class__ in REAL and end.__class__ in REAL:
        return dtypes.get_default_dtype()
    if any(isinstance(_plain(v), complex) for v in (start, end)):
        return dtypes.default_complex()
    tensors = [v for v in (start, end) if isinstance(v, Tensor)]
    found = result_dtype(tensors) if tensors else None
    return found if found is not None and found.category >= dtypes.FLOAT else dtypes.get_default_dtype()


@export()
def linspace(start, end, steps, *, out=None, dtype=None, layout=None, device=None, requires_grad=False,
             pin_memory=False):
    """`steps` numbers evenly spaced from start to end, both included."""
    if device is not None:
        resolve(device)
    array = _spaced(start, end, steps, _spacing_dtype(start, end, dtype))
    return new_tensor(array, requires_grad) if out is None else _into(out, array)


@export()
def logspace(start, end, steps, base=10.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False,
             pin_memory=False):
    """Powers of `base` with exponents evenly spaced from start to end."""
    resolve(device)
    dtype = _spacing_dtype(start, end, dtypes.asked(dtype))
    wide = dtype if dtype.is_complex else dtypes.float64
    array = np.power(base, _spaced(start, end, steps, wide)).astype(dtype.numpy)
    return new_tensor(array, requires_grad) if out is None else _into(out, array)


@export()
def eye(n, m=None, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """Ones on the diagonal of an n x m matrix, zeros elsewhere."""
    resolve(device)
    if n < 0 or (m is not None and m < 0):
        raise RuntimeError(f'{"n" if n < 0 else "m"} must be greater or equal to 0, got {n if n < 0 else m}')
    array = np.eye(n, m, dtype=(dtypes.asked(dtype) or dtypes.get_default_dtype()).numpy)
    return new_tensor(array, requires_grad) if out is None else _into(out, array)


def _triangle(name, places):
    def indices(row, col, offset=0, *, dtype=dtypes.int64, layout=None, device=None):
        for place, number in (('row', row), ('col', col), ('offset', offset)):
            if not isinstance(number, numbers.Integral):
                raise TypeError(f"{name}(): argument '{place}' must be int, not {type(number).__name__}")
        if row < 0 or col < 0:
            raise RuntimeError(f'{"row" if row < 0 else "col"} must be non-negative, got {min(row, col)}')
        resolve(device)
        return wrap(np.stack(places(row, offset, col)).astype(dtypes.asked(dtype).numpy))
    indices.__doc__ = f'The coordinates of the {"lower" if name[3] == "l" else "upper"} triangle of a matrix, as 2 x n.'
    indices.__name__ = indices.__qualname__ = name
    export()(indices)


_triangle('tril_indices', np.tril_indices)
_triangle('triu_indices', np.triu_indices)


# ---- in place on memory

@export('', method=True)
def resize_(input, *sizes_, memory_format=contiguous_format):
    """Changes the shape of the tensor itself; the memory grows, with whatever was there, where it is too small."""
    from ..storage import restrided, storage_bytes
    shape = sizes(sizes_, 'resize_')
    if input.requires_grad:
        raise RuntimeError('cannot resize variables that require grad')
    array, count = input._array, math.prod(shape)
    strides, step = [], 1
    for n in reversed(shape):
        strides.insert(0, step)
        step *= max(n, 1)
    available = (storage_bytes(array).size // array.itemsize) - input.storage_offset() if array.size else 0
    if memory_format is not contiguous_format:
        strides = element_strides(laid_out_like(np.empty(shape, array.dtype), input.dtype, memory_format))
    if count <= available:
        input._array = restrided(array, shape, tuple(strides))
    else:
        grown = np.empty(count, array.dtype)
        kept = storage_bytes(array).view(array.dtype)[input.storage_offset():] if array.size else array.reshape(-1)
        grown[:kept.size] = kept[:count]
        input._array = restrided(grown, shape, tuple(strides))
    return input


@export('', method=True)
def resize_as_(input, the_template, memory_format=contiguous_format):
    """Changes the shape of the tensor itself to that of another."""
    return resize_(input, tuple(the_template.shape))


@export('', method=True)
def set_(input, source=None, storage_offset=0, size=None, stride=None):
    """Makes the tensor itself stand for the memory of another tensor or storage."""
    from ..storage import TypedStorage, UntypedStorage, restrided
    if source is None:
        input._array = np.empty(0, input._array.dtype)
    elif isinstance(source, Tensor) and size is None:
        if source.dtype is not input.dtype:
            raise RuntimeError(f'Could not set tensor of type {source.dtype} to a tensor of type {input.dtype}')
        input._array = source._array
    else:
        if isinstance(source, Tensor):
            memory = source._array
            storage_offset -= source.storage_offset()
        else:
            raw = source._storage if isinstance(source, TypedStorage) else source
            if not isinstance(raw, UntypedStorage):
                raise TypeError(f'set_(): source must be a Tensor or a storage, not {type(source).__name__}')
            memory = raw._memory.view(input._array.dtype)
        shape = tuple(size) if size is not None else (memory.size,)
        if stride is None:
            stride = tuple(math.prod(shape[k + 1:]) for k in range(len(shape)))
        input._array = restrided(memory, shape, tuple(stride), storage_offset)
    return input


@export('', method=True, name='type')
def type_(input, dtype=None, non_blocking=False):
    """The name of the tensor's type, such as 'torch.FloatTensor', or the tensor converted to a dtype."""
    from ..legacy import type_name, dtype_named
    return type_name(input.dtype) if dtype is None else input.to(dtype_named(dtype))


@export('', method=True)
def apply_(input, callable):
    """Overwrites each element by callable(element), one call after another: slow, for functions that no operation has.
    """
    return change(input, 'apply_', lambda before: wrap(_called(callable, input)))


@export('', method=True)
def map_(input, tensor, callable):
    """Overwrites each element by callable(element, element of the other tensor at that place)."""
    require_tensors('map_', tensor=tensor)
    return change(input, 'map_', lambda before: wrap(_called(callable, input, tensor.expand(input.shape))))


def _called(callable, *tensors):
    if any(t.requires_grad for t in tensors):
        raise RuntimeError("Can't call apply_() or map_() on Variable that requires grad. Use var.detach() first.")
    arrays = [t._array for t in tensors]
    values = [callable(*numbers) for numbers in zip(*[a.reshape(-1).tolist() for a in arrays])]
    return np.array(values, arrays[0].dtype).reshape(arrays[0].shape)
