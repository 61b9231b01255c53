"""vmap: a function of one example as a function of a batch of them.

The function runs once, on tensors that look like one example. Operations on them follow their batching rules
(ops/batching.py), so that a batch costs one call each.
"""
from __future__ import annotations

import numpy as np

from ..ops.batching import RULES, Batch
from ..ops.call import binder
from ..tensor import Tensor

__all__ = ['vmap', 'BatchedTensor', 'current_size']

LEVELS = []  # batch sizes of the vmaps that are running, innermost last


class Example(np.ndarray):
    """What array code sees of a batched tensor: the shape and dtype of one example, and no values."""

    def __array_ufunc__(self, *args, **kwargs):
        raise RuntimeError('vmap: this function reads values directly and has no batching rule')

    def __array_function__(self, function, types, args, kwargs):
        if function is np.empty_like:  # zeros_like and the like: the same for every example
            return np.empty(self.shape, (args[1] if len(args) > 1 else kwargs.get('dtype')) or self.dtype)
        raise RuntimeError('vmap: this function reads values directly and has no batching rule')

    def item(self, *args):
        raise RuntimeError('vmap: It looks like you\'re calling .item() on a Tensor. We don\'t support vmap over calling '
                           '.item() on a Tensor, please try to rewrite what you\'re doing with other operations.')

    tolist = item


class BatchedTensor(Tensor):
    """A tensor that stands for a batch: `batch` is the real one, with the examples along its first dimension."""

    def __new__(cls, batch, level):
        out = object.__new__(cls)
        shape = batch.shape[1:]
        out._array = np.broadcast_to(np.zeros((), batch._array.dtype), shape).view(Example)
        out._node = out._counter = None
        out.batch, out.level = batch, level
        return out

    def __init__(self, batch, level):
        pass

    requires_grad = property(lambda self: self.batch.requires_grad)

    def __repr__(self):
        return f'BatchedTensor(level={self.level}, batch={self.batch!r})'

    def detach(self):
        """The same values without a gradient."""
        return BatchedTensor(self.batch.detach(), self.level)

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        level = max(t.level for t in batched_in((args, kwargs or {})))
        operation = getattr(func, 'operation', None)
        result = NotImplemented
        if operation is not None and 'out' not in (kwargs or {}):
            result = by_rule(operation, args, kwargs or {}, level)
        if result is NotImplemented:
            result = one_by_one(func, args, kwargs or {}, level)
        return result


def batched_in(value):
    if isinstance(value, BatchedTensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for v in value:
            yield from batched_in(v)
    elif isinstance(value, dict):
        for v in value.values():
            yield from batched_in(v)


def replaced(value, level, change):
    """The value with `change` applied to the batched tensors of a level in it."""
    if isinstance(value, BatchedTensor):
        return change(value) if value.level == level else value
    if isinstance(value, (tuple, list)):
        return type(value)(replaced(v, level, change) for v in value) if not hasattr(value, '_fields') else \
            type(value)(*(replaced(v, level, change) for v in value))
    if isinstance(value, dict):
        return {k: replaced(v, level, change) for k, v in value.items()}
    return value


def by_rule(op, args, kwargs, level):
    """The result by the operation's own rule, its kind's, or its formula; NotImplemented where there is none."""
    values = binder(op)(*args, **kwargs)
    if op.kind == 'composite' and op.batch is None:
        from ..ops.definition import PUBLIC
        count = len(op.positional)
        return op.formula(PUBLIC, *values[:count], **dict(zip(op.keywords, values[count:])))
    rule = op.batch or RULES.get(op.kind)
    if rule is None or any(isinstance(v, (tuple, list)) and any(True for _ in batched_in(v)) for v in values):
        return NotImplemented
    given = [Batch(v.batch) if isinstance(v, BatchedTensor) and v.level == level else v for v in values]
    result = rule(op, given, LEVELS[level])
    return result if result is NotImplemented else as_batched(result, level)


def as_batched(result, level):
    if isinstance(result, Tensor):
        return BatchedTensor(result, level)
    if isinstance(result, (tuple, list)):
        items = [as_batched(r, level) for r in result]
        return type(result)(*items) if hasattr(result, '_fields') else type(result)(items)
    return result


def one_by_one(func, args, kwargs, level):
    """The function called for each example, the results stacked."""
    results = []
    for k in range(LEVELS[level]):
        def example(t):
            return t.batch[k]
        results.append(func(*replaced(args, level, example), **replaced(kwargs, level, example)))
    return stacked(results, level)


def stacked(results, level):
    from ..ops.joining import stack
    first = results[0]
    if isinstance(first, Tensor):
        return BatchedTensor(stack(results), level)
    if isinstance(first, (tuple, list)):
        columns = [stacked(list(column), level) for column in zip(*results)]
        return type(first)(*columns) if hasattr(first, '_fields') else type(first)(columns)
    if any(r != first for r in results[1:]):
        raise RuntimeError(f'vmap: a function gave different plain values for different examples: {first!r}, ...')
    return first


def current_size():
    """(level, batch size) of the innermost running vmap, or None."""
    return (len(LEVELS) - 1, LEVELS[-1]) if LEVELS else None


def vmap(func, in_dims=0, out_dims=0, randomness='error', *, chunk_size=None):
    """`func` of one example as a function of batches along `in_dims` (None: the same for all) of its arguments.

    The batch comes out along `out_dims`. Raises ValueError where arguments disagree about the size of the batch.

    >>> vmap(flambeau.dot)(flambeau.ones(3, 2), flambeau.ones(3, 2))
    tensor([2., 2., 2.])
    """
    def mapped(*args, **kwargs):
        dims = in_dims if isinstance(in_dims, (tuple, list)) else (in_dims,) * len(args)
        if len(dims) != len(args):
            raise ValueError(f'vmap({getattr(func, "__name__", func)}): in_dims is not compatible with the structure of '
                             f'inputs: {len(dims)} dims for {len(args)} arguments')
        sizes = set()
        for k, (a, d) in enumerate(zip(args, dims)):
            if isinstance(d, int) and isinstance(a, Tensor) and not -a.dim() <= d < a.dim():
                raise ValueError(f'vmap: Got in_dim={d} for argument {k}, a Tensor of {a.dim()} dimensions: in_dim must lie '
                                 f'in [{-a.dim()}, {a.dim() - 1}]')
            collect_sizes(a, d, sizes)
        if not sizes:
            raise ValueError('vmap: at least one input must be mapped: all in_dims are None')
        if len(sizes) > 1:
            raise ValueError(f'vmap: Expected all tensors to have the same size in the mapped dimension, got sizes '
                             f'{sorted(sizes)} for the mapped dimension')
        level = len(LEVELS)
        LEVELS.append(sizes.pop())
        try:
            result = func(*(taken(a, d, level) for a, d in zip(args, dims)), **kwargs)
            return released(result, out_dims, level)
        finally:
            LEVELS.pop()
    return mapped


def collect_sizes(value, dim, sizes):
    if isinstance(value, Tensor) and dim is not None:
        sizes.add(value.shape[dim])
    elif isinstance(value, (tuple, list)):
        for k, v in enumerate(value):
            collect_sizes(v, dim[k] if isinstance(dim, (tuple, list)) else dim, sizes)
    elif isinstance(value, dict):
        for k, v in value.items():
            collect_sizes(v, dim[k] if isinstance(dim, dict) else dim, sizes)


def taken(value, dim, level):
    if isinstance(value, Tensor):
        return value if dim is None else BatchedTensor(value.movedim(dim, 0), level)
    if isinstance(value, (tuple, list)):
        return type(value)(taken(v, dim[k] if isinstance(dim, (tuple, list)) else dim, level) for k, v in enumerate(value))
    if isinstance(value, dict):
        return {k: taken(v, dim[k] if isinstance(dim, dict) else dim, level) for k, v in value.items()}
    return value


def released(result, out_dims, level):
    if isinstance(result, (tuple, list)):
        dims = out_dims if isinstance(out_dims, (tuple, list)) else (out_dims,) * len(result)
        return type(result)(released(r, d, level) for r, d in zip(result, dims))
    if isinstance(result, dict):
        return {k: released(r, out_dims, level) for k, r in result.items()}
    if not isinstance(result, Tensor):
        raise ValueError(f'vmap: `func` must only return Tensors, got type {type(result).__name__}')
    if isinstance(result, BatchedTensor) and result.level == level:
        batch = result.batch
    else:
        batch = result.expand(LEVELS[level], *result.shape)
    return batch if out_dims == 0 else batch.movedim(0, out_dims)
