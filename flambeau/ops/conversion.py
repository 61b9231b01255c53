"""Copies and changes of dtype: `to` and its relatives, clone, copy_, contiguous, and the marks `m` has on tensors."""
from __future__ import annotations

import sys

import numpy as np

from .. import dtypes
from ..autograd.graph import count_write, note_write
from ..device import device as device_type
from ..device import resolve
from ..storage import dense_like
from ..errors import require_tensors
from ..tensor import Tensor, channels_last, channels_last_3d, contiguous_format, preserve_format, wrap
from ..tensor import memory_format as memory_format_type
from .overriding import answered, override
from .promotion import converted_number, result_dtype
from .definition import PUBLIC, export, opaque
from .reference import LARGE, REFERENCE
from .writing import change, constant, unrecorded

__all__ = ['to', 'clone', 'contiguous']


@opaque(method=False, namespace='', grad={'input': lambda m, g, input_dtype: m.cast(g, input_dtype)})
def _to_copy(m, input, dtype):
    """A copy in another dtype; the imaginary part is dropped on the way from complex to real."""
    return m.cast(input, dtype)


def cast(tensor, dtype):
    """`m.cast` over tensors."""
    return tensor if tensor.dtype is dtype else _to_copy(tensor, dtype)


PUBLIC.cast = cast
PUBLIC.stop = lambda tensor: tensor.detach()
PUBLIC.is_complex = Tensor.is_complex


@opaque(name='zeros_of', method=False, namespace='')
def zeros_of(m, shape, like):
    """Zeros of a shape in the dtype of `like`."""
    return m.xp.zeros(shape, like.dtype)


def laid_out(array, form):
    """A copy of an array in a memory format; preserve_format keeps the order of dense strides."""
    if form is contiguous_format:
        return REFERENCE.dense(array)
    if form in (channels_last, channels_last_3d):
        rank = 4 if form is channels_last else 5
        if array.ndim != rank:
            raise RuntimeError(f'required rank {rank} tensor to use {form.name} format, got one of shape '
                               f'{list(array.shape)}')
        return np.moveaxis(REFERENCE.dense(np.moveaxis(array, 1, -1)), -1, 1)
    if array.size < LARGE and array.flags.forc:
        return array.copy('K')
    copy = dense_like(array, array.dtype)
    REFERENCE.copy(copy, array)
    return copy


@opaque(grad={'input': lambda m, g: g})
def clone(m, input, *, memory_format=preserve_format):
    """A copy with memory of its own, through which gradients flow."""
    return laid_out(input, memory_format)


@export('', method=True, asks=False)
def contiguous(input, memory_format=contiguous_format):
    """The tensor itself where its memory is in that order already, else a copy that is."""
    if input.__class__ is not Tensor and answered(input):
        return override(contiguous, (input,), {'memory_format': memory_format})
    return input if input.is_contiguous(memory_format) else input.clone(memory_format=memory_format)


@export('', method=True, asks=False)
def to(input, *args, device=None, dtype=None, non_blocking=False, copy=False, memory_format=preserve_format):
    """The tensor in another dtype and/or on another device; itself where nothing changes.

    `to(dtype)`, `to(device)`, `to(device, dtype)`, `to(other)`; raises TypeError for anything else.
    """
    if input.__class__ is not Tensor and answered(input, *args):
        return override(to, (input, *args),
                        {'device': device, 'dtype': dtype, 'copy': copy, 'memory_format': memory_format})
    for argument in args:
        if isinstance(argument, dtypes.dtype):
            dtype = argument
        elif isinstance(argument, Tensor):
            dtype, device = argument.dtype, argument.device
        elif isinstance(argument, (str, device_type)) or type(argument) is int:
            device = argument
        elif type(argument) is bool:
            continue  # non_blocking: a copy here is always finished
        elif isinstance(argument, type):
            dtype = dtypes.asked(argument)
        elif argument is not None:
            raise TypeError(f'to() received an invalid argument of type {type(argument).__name__}: expected a dtype, '
                            'a device or a tensor')
    if device is not None:
        resolve(device)
    dtype = dtypes.asked(dtype)
    if dtype is not None and dtype is not input.dtype:
        changed = _to_copy(input, dtype)
        return changed if memory_format is preserve_format else changed.contiguous(memory_format)
    relaid = memory_format is not preserve_format and not input.is_contiguous(memory_format)
    return input.clone(memory_format=memory_format) if copy or relaid else input


def _require_format(name, given):
    if not isinstance(given, memory_format_type):
        raise TypeError(f"{name}(): argument 'memory_format' must be torch.memory_format, not {type(given).__name__}")


def _dtype_method(name, dtype):
    def convert(input, memory_format=preserve_format):
        if input.__class__ is Tensor and memory_format is preserve_format:
            return input if input._array.dtype is dtype.numpy else _to_copy(input, dtype)
        _require_format(name, memory_format)
        return to(input, dtype, memory_format=memory_format)
    convert.__name__ = name
    convert.__doc__ = f'The tensor as {dtype.name}.'
    setattr(Tensor, name, convert)


for _name, _dtype in (('float', dtypes.float32), ('double', dtypes.float64), ('half', dtypes.float16),
                      ('bfloat16', dtypes.bfloat16), ('int', dtypes.int32), ('long', dtypes.int64),
                      ('short', dtypes.int16), ('char', dtypes.int8), ('byte', dtypes.uint8), ('bool', dtypes.bool_),
                      ('cfloat', dtypes.complex64), ('cdouble', dtypes.complex128)):
    _dtype_method(_name, _dtype)


@export('', method=True, asks=False)
def cpu(input, memory_format=preserve_format):
    """The tensor on the CPU."""
    if input.__class__ is Tensor and memory_format is preserve_format:
        return input
    if answered(input):
        return override(cpu, (input,), {'memory_format': memory_format})
    _require_format('cpu', memory_format)
    return to(input, 'cpu', memory_format=memory_format)


@export('', method=True)
def cuda(input, device=None, non_blocking=False, memory_format=preserve_format):
    """The tensor on a CUDA device."""
    return to(input, 'cuda' if device is None else device_type(device))


@export('', method=True)
def type_as(input, other):
    """The tensor in the dtype of another."""
    require_tensors('type_as', input=input, other=other)
    return to(input, other.dtype)


@export('', method=True, asks=False)
def copy_(input, src, non_blocking=False):
    """Overwrites the tensor with the values of `src`, broadcast and converted to its dtype."""
    if input.__class__ is Tensor and src.__class__ is Tensor:  # the usual call first
        array, values = input._array, src._array
        if array.shape == values.shape and array.dtype is values.dtype and array.flags.writeable and constant(src) \
                and src is not input and unrecorded(input, 'copy_'):
            if array.size < LARGE:
                np.copyto(array, values)
            else:
                REFERENCE.copy(array, values)
            count_write(input, 'copy_', sys._getframe(1))
            return input
    if answered(input, src):
        return override(copy_, (input, src), {'non_blocking': non_blocking})
    if isinstance(src, (int, float, complex)):
        src = wrap(converted_number(src, input.dtype))
    if not isinstance(src, Tensor):
        raise TypeError(f"copy_(): argument 'other' must be Tensor, not {type(src).__name__}")
    if src is input:
        return input
    shape = src._array.shape
    try:
        if shape != input._array.shape:
            shape = np.broadcast_shapes(shape, input._array.shape)
    except ValueError:
        raise RuntimeError(f'The expanded size of the tensor ({list(input.shape)}) must match the existing size '
                           f'({list(src.shape)}) in copy_()') from None
    if input._array.flags.writeable and constant(src) and not (
            src._array.dtype.kind == 'c' and not input.is_complex()) and (
            shape == input._array.shape) and unrecorded(input, 'copy_'):
        REFERENCE.copy(input._array, src._array)
        note_write(input, 'copy_')
        return input
    if src._node is None:
        return change(input, 'copy_', lambda before: wrap(src._array.astype(input._array.dtype, copy=False)
                                                          if src._array.dtype.kind != 'c' or input.is_complex()
                                                          else src._array.real.astype(input._array.dtype)))
    return change(input, 'copy_', lambda before: _to_copy(src, input.dtype).expand(input.shape))


# ---- what a tensor is

def _telling(name, words):
    """Declares the function that tells what the method of the same name does."""
    method = getattr(Tensor, name)

    def tell(input):
        require_tensors(name, input=input)
        return method(input)
    tell.__name__ = tell.__qualname__ = name
    tell.__doc__ = words
    export()(tell)


for _name, _words in (('is_complex', 'Whether the dtype is complex.'), ('numel', 'The number of elements.'),
                      ('is_floating_point', 'Whether the dtype is a floating point one.'),
                      ('is_signed', 'Whether the dtype has negative numbers.'),
                      ('is_conj', 'Whether the tensor is a conjugate that is still to be computed; none is.'),
                      ('is_neg', 'Whether the tensor is a negation that is still to be computed; none is.'),
                      ('is_inference', 'Whether the tensor was made in inference mode.'),
                      ('resolve_conj', 'The tensor itself: no conjugate is still to be computed.'),
                      ('resolve_neg', 'The tensor itself: no negation is still to be computed.')):
    _telling(_name, _words)


@export()
def is_nonzero(input) -> bool:
    """Whether the only element of a tensor is not zero. Raises RuntimeError for any other number of elements."""
    require_tensors('is_nonzero', input=input)
    return input.__bool__()


@export()
def is_same_size(input, other) -> bool:
    """Whether two tensors have the same shape."""
    require_tensors('is_same_size', input=input, other=other)
    return input.shape == other.shape


@export(lenient=('tensor1', 'tensor2'))
def result_type(tensor1, tensor2) -> dtypes.dtype:
    """The dtype that an operation on these tensors or numbers computes in."""
    both = tensor1, tensor2
    return result_dtype([t for t in both if isinstance(t, Tensor)], [t for t in both if not isinstance(t, Tensor)])
