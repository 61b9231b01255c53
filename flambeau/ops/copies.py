"""Views as copies (`transpose_copy`, ...), parts whose memory may be written freely, and static sizes.

A copy of a view is the view followed by `clone`, from one table.
"""
from __future__ import annotations

import numpy as np

from .. import dtypes
from ..tensor import Tensor, wrap
from .creation import resize_as_
from .definition import OPERATIONS, export, opaque
from .publishing import also, published
from .reference import axes_of
from .view import axis_of

__all__ = ['nonzero_static', 'hash_tensor']


def _public(name):
    return OPERATIONS[name].public


def _sliced(input, dim=0, start=None, end=None, step=1):
    return input[(slice(None),) * axis_of(dim, input.dim()) + (slice(start, end, step),)]


# NAME_copy: the view it copies, as a function of the same arguments
VIEWS = {
    'alias': lambda input: _public('alias')(input),
    'as_strided': lambda input, size, stride, storage_offset=None: input.as_strided(size, stride, storage_offset),
    'detach': lambda input: input.detach(),
    'diagonal': lambda input, offset=0, dim1=0, dim2=1: input.diagonal(offset, dim1, dim2),
    'expand': lambda input, size, *, implicit=False: input.expand(size),
    'narrow': lambda input, dim, start, length: input.narrow(dim, start, length),
    'permute': lambda input, dims: input.permute(dims),
    'select': lambda input, dim, index: input.select(dim, index),
    'slice': _sliced,
    'split': lambda input, split_size, dim=0: input.split(split_size, dim),
    'split_with_sizes': lambda input, split_sizes, dim=0: input.split(list(split_sizes), dim),
    'squeeze': lambda input, *dim: input.squeeze(*dim),
    't': lambda input: input.t(),
    'transpose': lambda input, dim0, dim1: input.transpose(dim0, dim1),
    'unbind': lambda input, dim=0: input.unbind(dim),
    'unfold': lambda input, dimension, size, step: input.unfold(dimension, size, step),
    'unsqueeze': lambda input, dim: input.unsqueeze(dim),
    'view': lambda input, size=None, *, dtype=None: input.view(dtype if size is None else size),
    'view_as_complex': lambda input: _public('view_as_complex')(input),
    'view_as_real': lambda input: _public('view_as_real')(input),
}


def _declare_copy(name, view):
    def copy(input, *args, **kwargs):
        made = view(input, *args, **kwargs)
        return made.clone() if isinstance(made, Tensor) else tuple(part.clone() for part in made)
    copy.__name__ = name + '_copy'
    copy.__doc__ = f'`{name}`, with memory of its own.'
    return published('torch', method=name == 'narrow')(copy)


for _name, _view in VIEWS.items():
    _declare_copy(_name, _view)


# ---- parts that are views of their own: writing to one is recorded, which parts of a split refuse

def _parts(input, sizes, dim):
    starts = np.cumsum([0, *sizes])
    return tuple(input.narrow(dim, int(start), size) for start, size in zip(starts, sizes))


def _freely(name, split):
    def function(input, arguments, dim=0):
        return _parts(input, [part.shape[dim] for part in split(input.detach(), arguments, dim)], dim)
    function.__doc__ = f'As `{name}`; its parts may be written in place.'
    export('torch', method=True, name='unsafe_' + name)(function)


_freely('chunk', lambda input, chunks, dim: input.chunk(chunks, dim))
_freely('split', lambda input, split_size, dim: input.split(split_size, dim))
_freely('split_with_sizes', lambda input, split_sizes, dim: input.split(list(split_sizes), dim))
also('torch', resize_as_=resize_as_)


# ---- sizes that do not depend on values

@published('torch', method=True)
def nonzero_static(input, *, size, fill_value=-1):
    """The places of the first `size` elements that are not 0, one in each row; missing rows hold `fill_value`."""
    if size < 0:
        raise RuntimeError("nonzero_static: 'size' must be an non-negative integer")
    found = np.argwhere(input._array)[:size]
    made = np.full((size, input.dim()), fill_value, np.int64)
    made[:len(found)] = found
    return wrap(made)


@opaque(namespace='torch', method=True)
def hash_tensor(m, input, dim=(), keepdim=False, *, mode=0):
    """The exclusive or, over dimensions, of the bits of the elements as 64-bit numbers (uint64).

    Raises RuntimeError for another `mode` than 0, and for a dimension without elements.
    """
    if mode != 0:
        raise RuntimeError(f'Unknown hash_tensor mode: {mode}')
    if input.dtype.kind == 'c':
        raise NotImplementedError(f'"xor_sum_cpu" not implemented for {dtypes.of(input.dtype)}')
    axes = axes_of(dim, input.ndim)
    if any(not input.shape[a] for a in axes):
        raise RuntimeError("hash_tensor: Expected reduction dim to be specified for input.numel() == 0. Specify the "
                           "reduction dim with the 'dim' argument.")
    wide = np.int64 if input.dtype.kind in 'bi' else np.uint64 if input.dtype.kind == 'u' else np.float64
    return np.bitwise_xor.reduce(input.astype(wide).view(np.uint64), axis=axes, keepdims=keepdim)
