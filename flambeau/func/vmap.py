"""vmap: a function of one example as a function of a batch of them.

The function runs once, on tensors that look like one example. Operations on them follow their batching rules
(ops/batching.py), so that a batch costs one call each.
"""
from __future__ import annotations

import math
import types

import numpy as np

from ..ops.batching import RULES, Batch, lined_up
from ..dtypes import int32, int64
from ..ops.call import binder
from ..ops.creation import arange
from ..ops.definition import OPERATIONS
from ..ops.promotion import result_dtype
from ..random import default_generator, forbidden
from ..tensor import Tensor

__all__ = ['vmap', 'BatchedTensor', 'current_size']

INDICES = (int32, int64)
# batch sizes of the vmaps that are running, and what they do about random numbers, innermost last
LEVELS, MODES = [], []


class ReadsValues(RuntimeError):
    """Array code looked at the values of a batched tensor, which stands for no single array."""


def refuse_values(*args, **kwargs):
    raise ReadsValues('vmap: this function reads values directly and has no batching rule')


class Example(np.lib.mixins.NDArrayOperatorsMixin):
    """What array code sees of a batched tensor: the shape and dtype of one example, and no values.

    No array, so that neither NumPy nor a kernel can take it for one.
    """

    flags = types.SimpleNamespace(c_contiguous=True, f_contiguous=False, writeable=True, aligned=True, owndata=True)

    def __init__(self, batch):
        array = batch._array
        self.shape, self.dtype, self.itemsize = array.shape[1:], array.dtype, array.itemsize
        self.ndim, self.size = len(self.shape), math.prod(self.shape)
        self.nbytes = self.size * self.itemsize
        self.strides = tuple([math.prod(self.shape[k + 1:]) * self.itemsize for k in range(self.ndim)])

    def item(self, *args):
        raise RuntimeError('vmap: It looks like you\'re calling .item() on a Tensor. We don\'t support vmap over '
                           'calling .item() on a Tensor, please try to rewrite what you\'re doing with other '
                           'operations.')

    def __bool__(self):
        raise RuntimeError('vmap: It looks like you\'re attempting to use a Tensor in some data-dependent control '
                           'flow. We don\'t support that yet: torch.where computes both branches and chooses for each '
                           'example.')

    def __len__(self):
        return self.shape[0]

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return refuse_values()

    tolist = __array__ = __array_ufunc__ = __array_function__ = __getitem__ = __setitem__ = __iter__ = refuse_values


class BatchedTensor(Tensor):
    """A tensor that stands for a batch: `batch` is the real one, with the examples along its first dimension."""

    def __new__(cls, batch, level):
        out = object.__new__(cls)
        out._node = out._counter = None
        out.level = level
        out.set_batch(batch)
        return out

    def __init__(self, batch, level):
        pass

    def set_batch(self, batch):
        self.batch, self._array = batch, Example(batch)

    requires_grad = property(lambda self: self.batch.requires_grad)

    def requires_grad_(self, requires_grad=True):
        """Says whether gradients with respect to the batch are wanted."""
        self.batch.requires_grad_(requires_grad)
        return self

    def __bool__(self):
        return bool(self._array)

    def numpy(self, *, force=False):
        """No single array: raises RuntimeError."""
        refuse_values()

    def __repr__(self):
        return f'BatchedTensor(level={self.level}, batch={self.batch!r})'

    def detach(self):
        """The same values without a gradient."""
        return BatchedTensor(self.batch.detach(), self.level)

    data = property(detach)

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        level = max(t.level for t in batched_in((args, kwargs)))
        name = func.__name__
        if name == '__getitem__' and not kwargs:
            result = picked(*args, level)
            if result is not NotImplemented:
                return BatchedTensor(result, level)
        if name in WHOLE and at_level(args[0], level) and not any(True for _ in batched_in((args[1:], kwargs))):
            result = WHOLE[name](func, args[0].batch, *args[1:], **kwargs)
            if result is not NotImplemented:
                return BatchedTensor(result, level)
        out = kwargs.get('out')
        if out is not None or name.endswith('_') and name != '__getitem__':
            return written(func, name, args[0] if out is None else out, args, kwargs, level)
        result = NotImplemented
        try:
            if hasattr(func, 'batched'):  # a function that asks for answers itself says what it means within vmap
                return func.batched(*args, **kwargs)
            if getattr(func, 'operation', None) is not None:
                result = by_rule(func.operation, args, kwargs, level)
            elif hasattr(func, '__wrapped__'):  # a plain function over operations
                return func.__wrapped__(*args, **kwargs)
        except (ReadsValues, TypeError, AttributeError):  # TypeError: of array code that was given no array
            result = NotImplemented
        return one_by_one(func, args, kwargs, level) if result is NotImplemented else result


def at_level(value, level):
    return isinstance(value, BatchedTensor) and value.level == level


def as_it_is(func, batch, *args, **kwargs):
    return func(batch, *args, **kwargs)


def with_sizes(func, batch, *size, **kwargs):
    size = kwargs.pop('size', size[0] if len(size) == 1 and not isinstance(size[0], int) else size)
    return func(batch, (batch.shape[0], *size), **kwargs)


def part(func, batch, key):
    """The same part of every example; NotImplemented where the key means something else with a dimension in front."""
    items = key if isinstance(key, tuple) else (key,)
    if sum(not isinstance(i, (int, slice, type(None), type(Ellipsis))) or isinstance(i, bool) for i in items) > 1:
        return NotImplemented
    return batch[(slice(None), *items)]


def picked(tensor, key, level):
    """The elements that index tensors for the first dimensions name for each example; NotImplemented for other keys."""
    items = list(key) if isinstance(key, tuple) else [key]
    while items and isinstance(items[-1], slice) and items[-1] == slice(None):
        items.pop()
    ranks = [item.dim() if isinstance(item, Tensor) else 0 for item in items]
    if not any(at_level(item, level) for item in items) or not all(
            isinstance(item, Tensor) and item.dtype in INDICES or type(item) is int for item in items):
        return NotImplemented
    items = [lined_up(item.batch, max(ranks)) if at_level(item, level) else item for item in items]
    if not at_level(tensor, level):
        return tensor[tuple(items)]
    return tensor.batch[(arange(LEVELS[level]).reshape(-1, *(1,) * max(ranks)), *items)]


# functions of batched tensors, by name, that take the batch as it is: their results do not depend on where elements
# stand
WHOLE = {**dict.fromkeys(('zeros_like', 'ones_like', 'empty_like', 'full_like', 'to', 'contiguous', 'cpu', 'cuda'),
                         as_it_is),
         **dict.fromkeys(('new_zeros', 'new_ones', 'new_empty'), with_sizes),
         '__getitem__': part,
         'new_full': lambda func, batch, size, *value, **kwargs: func(batch, (batch.shape[0], *size), *value, **kwargs)}


def written(func, name, target, args, kwargs, level):
    """A function that writes over `target`, which then holds the results of all examples."""
    for place in target if isinstance(target, (tuple, list)) else (target,):
        if not at_level(place, level):
            raise RuntimeError(
                f'vmap: {name}(self, *extra_args) is not possible because there exists a Tensor `other` in extra_args '
                'that has more elements than `self`: `other` is being vmapped over but `self`, of shape '
                f'{list(place.shape)}, is not. Use the out-of-place form, or write into a tensor made with zeros_like, '
                'empty_like or new_zeros of a vmapped one.')
    op = OPERATIONS.get(name[:-1]) if target is args[0] else None
    if op is not None and op.kind == 'view':
        target.set_batch(by_rule(op, args, kwargs, level).batch)
    elif op is not None and op.kind == 'elementwise' and all(
            t.level == level and t.dim() <= target.dim() for t in batched_in((args[1:], kwargs))):
        def change(t):
            return lined_up(t.batch, target.dim())
        func(*replaced(args, level, change), **replaced(kwargs, level, change))
    else:
        for example in examples(level):
            func(*replaced(args, level, example), **replaced(kwargs, level, example))
    return target


def examples(level):
    """For each example, the function that takes it out of a batched tensor."""
    before = default_generator.get_state() if MODES[level] == 'same' else None
    for k in range(LEVELS[level]):
        if k and before is not None:
            default_generator.set_state(before)
        yield lambda tensor: tensor.batch[k]


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
        return rebuilt(value, [replaced(v, level, change) for v in value])
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
    if rule is None or op.batch is None and any(
            isinstance(v, (tuple, list)) and any(True for _ in batched_in(v)) for v in values):
        return NotImplemented
    if op.kind == 'elementwise':
        values = of_one_dtype(op, values)
    given = [replaced(v, level, lambda tensor: Batch(tensor.batch)) for v in values]
    result = rule(op, given, LEVELS[level])
    return result if result is NotImplemented else as_batched(result, level)


def of_one_dtype(op, values):
    """Operands in the dtype of one example's result, in which numbers without dimensions weigh less; batches of them do
    not.
    """
    tensors = [v for name, v in zip(op.parameters, values) if name in op.promote_names and isinstance(v, Tensor)]
    if all(v.dim() for v in tensors) or len({v.dtype for v in tensors}) == 1:
        return values
    target = result_dtype(tensors)
    return [v.to(target) if name in op.promote_names and isinstance(v, Tensor) else v
            for name, v in zip(op.parameters, values)]


def as_batched(result, level):
    if isinstance(result, Tensor):
        return BatchedTensor(result, level)
    if isinstance(result, (tuple, list)):
        return rebuilt(result, [as_batched(r, level) for r in result])
    return result


def one_by_one(func, args, kwargs, level):
    """The function called for each example, the results stacked."""
    def call(example):
        return func(*replaced(args, level, example), **replaced(kwargs, level, example))
    if LEVELS[level]:
        return stacked([call(example) for example in examples(level)], level)
    found = stacked([call(lambda tensor: tensor.batch.new_zeros(tensor.shape))], level)  # what results look like
    return replaced(found, level, lambda tensor: BatchedTensor(tensor.batch[:0], level))


def stacked(results, level):
    from ..ops.joining import stack
    first = results[0]
    if isinstance(first, Tensor):
        return BatchedTensor(stack(results), level)
    if isinstance(first, (tuple, list)):
        return rebuilt(first, [stacked(list(column), level) for column in zip(*results)])
    if isinstance(first, np.ndarray) or any(r != first for r in results[1:]):
        raise ReadsValues(f'vmap: a function gave different plain values for different examples: {first!r}, ...')
    return first


def rebuilt(sequence, items):
    """A sequence of the same class with other items."""
    return type(sequence)(*items) if hasattr(sequence, '_fields') else type(sequence)(items)


def current_size():
    """(level, batch size) of the innermost running vmap, or None."""
    return (len(LEVELS) - 1, LEVELS[-1]) if LEVELS else None


def vmap(func, in_dims=0, out_dims=0, randomness='error', *, chunk_size=None):
    """`func` of one example as a function of batches along `in_dims` (None: the same for all) of its arguments.

    The batch comes out along `out_dims`. randomness: drawing random numbers is an 'error', gives 'different' ones for
    each example (the function then runs once for each), or the 'same' for all. chunk_size: no more examples at a time.
    Raises ValueError where arguments disagree about the size of the batch.

    >>> vmap(flambeau.dot)(flambeau.ones(3, 2), flambeau.ones(3, 2))
    tensor([2., 2., 2.])
    """
    if randomness not in ('error', 'different', 'same'):
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f'vmap: chunk_size should be None or greater than 0. (got {chunk_size})')

    def mapped(*args, **kwargs):
        dims = dims_of(func, in_dims, args)
        sizes = set()
        for argument, dim in zip(args, dims):
            collect_sizes(argument, dim, sizes)
        if not sizes:
            raise ValueError('vmap: at least one input must be mapped: there are none, or all in_dims are None')
        if len(sizes) > 1:
            raise ValueError(f'vmap: Expected all tensors to have the same size in the mapped dimension, got sizes '
                             f'{sorted(sizes)} for the mapped dimension')
        size, = sizes
        step = 1 if randomness == 'different' else chunk_size or size
        if step >= size:
            return run(func, args, kwargs, dims, out_dims, size, randomness)
        parts = [run(func, [narrowed(a, d, start, step) for a, d in zip(args, dims)], kwargs, dims, out_dims,
                     min(step, size - start), randomness) for start in range(0, size, step)]
        return joined(parts, out_dims)
    return mapped


def dims_of(func, in_dims, args):
    """The mapped dimensions of each argument. Raises ValueError for those that do not fit."""
    name = getattr(func, '__name__', func)
    if not isinstance(in_dims, (int, tuple, list)):
        raise ValueError(f'vmap({name}, in_dims={in_dims}): expected `in_dims` to be int or a (potentially nested) '
                         f'tuple, got {type(in_dims)}')
    dims = in_dims if isinstance(in_dims, (tuple, list)) else (in_dims,) * len(args)
    if len(dims) != len(args):
        raise ValueError(f'vmap({name}): in_dims is not compatible with the structure of inputs: {len(dims)} dims for '
                         f'{len(args)} arguments')
    return dims


NO_DRAWING = ("vmap: called random operation while in randomness error mode. Please either use the 'same' or "
              "'different' randomness flags on vmap or perform the randomness operation out of vmap")


def run(func, args, kwargs, dims, out_dims, size, randomness):
    """func(*args, **kwargs) for a batch of `size`, all at once."""
    level = len(LEVELS)
    LEVELS.append(size)
    MODES.append(randomness)
    forbidden.append(NO_DRAWING if randomness == 'error' else None)
    try:
        result = func(*(taken(a, d, level) for a, d in zip(args, dims)), **kwargs)
        return released(result, out_dims, level)
    finally:
        LEVELS.pop()
        MODES.pop()
        forbidden.pop()


def dim_of(dim, key):
    """The mapped dimension of one part of an argument."""
    return dim[key] if isinstance(dim, (tuple, list, dict)) else dim


def over_tensors(value, dim, change):
    """The value with change(tensor, its mapped dimension) for every tensor in it that has one."""
    if isinstance(value, (tuple, list)):
        return rebuilt(value, [over_tensors(v, dim_of(dim, k), change) for k, v in enumerate(value)])
    if isinstance(value, dict):
        return {k: over_tensors(v, dim_of(dim, k), change) for k, v in value.items()}
    return value if dim is None else change(value, dim)


def collect_sizes(value, dim, sizes):
    def collect(tensor, dim):
        if not isinstance(tensor, Tensor):
            raise ValueError(f'vmap: Got in_dim={dim} for an input but the input is of type {type(tensor)}. We cannot '
                             'vmap over non-Tensor arguments, please use None as the respective in_dim')
        if not isinstance(dim, int) or not -tensor.dim() <= dim < tensor.dim():
            raise ValueError(f'vmap: Got in_dim={dim} for an input, a Tensor of {tensor.dim()} dimensions: in_dim must '
                             f'lie in [{-tensor.dim()}, {tensor.dim() - 1}]')
        sizes.add(tensor.shape[dim])
    over_tensors(value, dim, collect)


def taken(value, dim, level):
    return over_tensors(value, dim, lambda tensor, dim: BatchedTensor(tensor.movedim(dim, 0), level))


def narrowed(value, dim, start, step):
    return over_tensors(value, dim, lambda tensor, dim: tensor.narrow(dim, start, min(step, tensor.shape[dim] - start)))


def joined(parts, out_dims):
    """The results of parts of a batch as that of the whole."""
    first = parts[0]
    if isinstance(first, Tensor):
        from ..ops.joining import cat
        return cat(parts, out_dims)
    dims = out_dims if isinstance(out_dims, (tuple, list)) else (out_dims,) * len(first)
    if isinstance(first, dict):
        return {k: joined([p[k] for p in parts], out_dims) for k in first}
    return rebuilt(first, [joined(list(column), d) for column, d in zip(zip(*parts), dims)])


def released(result, out_dims, level):
    if isinstance(result, (tuple, list)):
        dims = out_dims if isinstance(out_dims, (tuple, list)) else (out_dims,) * len(result)
        if len(dims) != len(result):
            raise ValueError(f'vmap: out_dims={out_dims} is not compatible with the structure of `outputs`: '
                             f'{len(result)}')
        return rebuilt(result, [released(r, d, level) for r, d in zip(result, dims)])
    if isinstance(result, dict):
        return {k: released(r, out_dims, level) for k, r in result.items()}
    if not isinstance(result, Tensor):
        raise ValueError(f'vmap: `func` must only return Tensors, got type {type(result).__name__}')
    batch = result.batch if at_level(result, level) else result.expand(LEVELS[level], *result.shape)
    return batch if out_dims == 0 else batch.movedim(0, out_dims)
