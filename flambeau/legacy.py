"""The historical tensor classes (FloatTensor, LongTensor, ...): constructors and isinstance tests for a dtype."""
from __future__ import annotations

from . import dtypes
from .tensor import Tensor, wrap

__all__ = ['TYPES', 'type_name', 'dtype_named', 'typename', 'set_default_tensor_type']

NAMES = {'FloatTensor': dtypes.float32, 'DoubleTensor': dtypes.float64, 'HalfTensor': dtypes.float16,
         'BFloat16Tensor': dtypes.bfloat16, 'ByteTensor': dtypes.uint8, 'CharTensor': dtypes.int8,
         'ShortTensor': dtypes.int16, 'IntTensor': dtypes.int32, 'LongTensor': dtypes.int64,
         'BoolTensor': dtypes.bool_, 'ComplexFloatTensor': dtypes.complex64,
         'ComplexDoubleTensor': dtypes.complex128}


class _TypedTensor(type):
    """A class whose instances are the tensors of one dtype."""

    def __instancecheck__(cls, value):
        return isinstance(value, Tensor) and value.dtype is cls.dtype

    def __call__(cls, *data):
        """`FloatTensor(2, 3)` is uninitialised, `FloatTensor([1, 2])` holds data."""
        from .ops.creation import constructed
        array = constructed(data, cls.dtype)
        if array.dtype != cls.dtype.numpy:
            raise TypeError(f'expected a tensor of {cls.dtype}, got one of {data[0].dtype}: convert it with .to()')
        return wrap(array)


TYPES = {name: _TypedTensor(name, (), {'dtype': dtype, '__module__': 'torch', '__doc__': f'Tensors of {dtype.name}.'})
         for name, dtype in NAMES.items()}


def type_name(dtype) -> str:
    return next((f'torch.{name}' for name, d in NAMES.items() if d is dtype), f'torch.{dtype.name}')


def dtype_named(wanted):
    """The dtype that a dtype, a historical class or its name stands for."""
    if isinstance(wanted, dtypes.dtype):
        return wanted
    if isinstance(wanted, _TypedTensor):
        return wanted.dtype
    if wanted is Tensor:
        return dtypes.get_default_dtype()
    if wanted in (float, int, bool, complex):
        return dtypes.asked(wanted)
    found = NAMES.get(str(wanted).rsplit('.', 1)[-1])
    if found is None:
        raise ValueError(f"invalid type: '{wanted}'")
    return found


def typename(obj) -> str:
    """The name of a tensor's type, such as 'torch.FloatTensor', or of any other object's class."""
    if isinstance(obj, Tensor):
        return obj.type()
    kind = obj if isinstance(obj, type) else type(obj)
    return kind.__qualname__ if kind.__module__ in ('builtins', '') else f'{kind.__module__}.{kind.__qualname__}'


def set_default_tensor_type(kind):
    """Sets the default floating point dtype to that of a historical class or its name."""
    dtypes.set_default_dtype(dtype_named(kind))
