"""The same operation on every tensor of a list: `_foreach_add`, `_foreach_mul_`, ... from one table.

An argument besides the first list is a list of the same length, or one tensor or number for all.
All lists are checked before anything is written. Knows the operations only by their names.
"""
from __future__ import annotations

import numpy as np

from .. import dtypes
from ..autograd.modes import OFF, STATE
from ..errors import describe_value
from ..tensor import Tensor
from .definition import PUBLIC, exports, publish
from .promotion import result_dtype
from .writing import change, refuse_write

__all__ = []

# the signatures of PyTorch's functions: (self, ...) -> (arguments that go on, options)
SIGNATURES = {
    '': lambda self: ((), {}),
    'other': lambda self, other: ((other,), {}),
    'scaled': lambda self, other, alpha=1: ((other,), {'alpha': alpha}),
    'product': lambda self, tensor1, tensor2, value=1: ((tensor1, tensor2), {'value': value}),
    'weighted': lambda self, tensors1, weight: ((tensors1, weight), {}),
    'order': lambda self, ord=2, dtype=None: ((ord,), {'dtype': dtype}),
    'source': lambda self, src, non_blocking=False: ((src,), {}),
}
# signature: operations that make new tensors (a tuple) and write (NAME_), only make, and only write
TABLE = {
    '': ('abs acos asin atan ceil cos cosh exp expm1 floor frac log log10 log1p log2 neg reciprocal round rsqrt '
         'sigmoid sign sin sinh sqrt tan tanh trunc', '', 'zero'),
    'other': ('mul div maximum minimum pow clamp_min clamp_max', '', ''),
    'scaled': ('add sub', '', ''),
    'product': ('addcmul addcdiv', '', ''),
    'weighted': ('lerp', '', ''),
    'order': ('', 'norm', ''),
    'source': ('', '', 'copy'),
}


def rows_of(name, signature, tensors, args, kwargs):
    """[(arguments, options) of the operation on each tensor]. Raises where lists hold no tensors or differ in size."""
    if not isinstance(tensors, (list, tuple)):
        raise TypeError(f"{name}(): argument 'self' must be tuple of Tensors, not {type(tensors).__name__}")
    for t in tensors:
        if not isinstance(t, Tensor):
            raise TypeError(f'{name}(): expected Tensors in the list, got {type(t).__name__}')
    if not tensors:
        raise RuntimeError(f'{name}(): Tensor list must have at least one tensor.')
    try:
        others, options = SIGNATURES[signature](tensors, *args, **kwargs)
    except TypeError as error:
        raise TypeError(str(error).replace('<lambda>', name)) from None
    count = len(tensors)
    columns = [tensors, *(spread(name, value, count) for value in others)]
    chosen = {key: spread(name, numbers(value), count) for key, value in options.items()}
    return [(row, {key: values[k] for key, values in chosen.items()}) for k, row in enumerate(zip(*columns))]


def numbers(value):
    """An option: a tensor with one dimension holds a number for each tensor of the list."""
    return value.tolist() if isinstance(value, Tensor) else value


def spread(name, value, count):
    """An argument once for each tensor."""
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        if value and isinstance(value[0], Tensor):
            raise RuntimeError(f'{name}(): Tensor lists must have the same number of tensors, got {count} and '
                               f'{len(value)}')
        raise RuntimeError(f'{name}(): Tensor list must have same number of elements as scalar list, got {count} and '
                           f'{len(value)}')
    return value


def making(operation, signature):
    def function(self, *args, **kwargs):
        apply = operation_named(operation)
        return tuple([apply(*row, **options) for row, options in rows_of(name, signature, self, args, kwargs)])
    name = f'_foreach_{operation}'
    publish_as(name, function, f'`{operation}` of every tensor of a list, as a tuple.')


def operation_named(name):
    """The public function of an operation; norms are those of vectors."""
    if name == 'norm':
        return PUBLIC.vector_norm
    return exports('torch').get(name) or getattr(PUBLIC, name)


def writing(operation, signature):
    def function(self, *args, **kwargs):
        rows = rows_of(name, signature, self, args, kwargs)
        for k, (row, _) in enumerate(rows):
            check_row(name, k, row)
        apply = getattr(Tensor, operation + '_', None)
        for row, options in rows:
            if apply is not None:
                apply(*row, **options)
            else:
                change(row[0], operation + '_', lambda before: operation_named(operation)(before, *row[1:], **options))
        return self
    name = f'_foreach_{operation}_'
    publish_as(name, function, f'`{operation}_` on every tensor of a list, which is returned.')


def check_row(name, k, row):
    """Raises where the operation could not write over tensor `k` of the list: nothing is written yet."""
    written, *others = row
    if written._node is not None and STATE.recording is not OFF:
        refuse_write(written, name)
    for other in others:
        if isinstance(other, Tensor) and other._array.shape != written._array.shape:
            try:
                fits = np.broadcast_shapes(other._array.shape, written._array.shape) == written._array.shape
            except ValueError:
                fits = False
            if not fits:
                raise RuntimeError(f'{name}(): tensors {k} of the lists do not fit: {describe_value(other)} cannot be '
                                   f'broadcast to {describe_value(written)}')
    if written.dtype.category < dtypes.FLOAT and 'copy' not in name:
        target = result_dtype(*([v for v in row if isinstance(v, Tensor) is tensor] for tensor in (True, False)))
        if not dtypes.can_cast(target, written.dtype):
            raise RuntimeError(f"{name}(): result type {target} can't be cast to the desired output type "
                               f'{written.dtype} of tensor {k}')


def publish_as(name, function, text):
    function.__name__ = function.__qualname__ = name
    function.__doc__ = text
    publish(function, (name,), ('torch',), False)


for _signature, (_both, _making, _writing) in TABLE.items():
    for _operation in f'{_both} {_making}'.split():
        making(_operation, _signature)
    for _operation in f'{_both} {_writing}'.split():
        writing(_operation, _signature)
