"""Batching: what an operation means for operands that each stand for a whole batch of values.

Every kind of operation has a rule derived from what it is: pointwise operations line dimensions up, reductions and
views count dimensions one further, products get one more index letter, composites run their formula. An operation may
give its own (`batch=` at its declaration); anything else runs once for each example, and the results are stacked. A
rule gets tensors with the batch as their first dimension. Knows no operation by name.
"""
from __future__ import annotations

from .reference import axes_of

__all__ = ['RULES', 'Batch', 'along', 'along_all', 'apart', 'in_batch', 'in_front', 'lined_up', 'side_by_side']


class Batch:
    """One operand of a rule: a tensor whose first dimension is the batch."""

    __slots__ = ('tensor',)

    def __init__(self, tensor):
        self.tensor = tensor

    @property
    def rank(self):
        """The number of dimensions of one example."""
        return self.tensor.dim() - 1


def elementwise(op, values, size):
    """Batches line up at the front, examples at the back, with dimensions of size 1 between."""
    ranks = [v.rank if isinstance(v, Batch) else v.dim() if hasattr(v, '_array') else 0 for v in values]
    rank = max(ranks)
    return call(op, [lined_up(v.tensor, rank) if isinstance(v, Batch) else v for v in values])


def lined_up(tensor, rank):
    missing = rank - (tensor.dim() - 1)
    return tensor.reshape((tensor.shape[0], *(1,) * missing, *tensor.shape[1:])) if missing else tensor


def call(op, values):
    count = len(op.positional)
    if op.variadic:
        at = op.positional.index(op.variadic)
        return op.public(*values[:at], tuple(values[at]), *values[at + 1:count],
                         **dict(zip(op.keywords, values[count:])))
    return op.public(*values[:count], **dict(zip(op.keywords, values[count:])))


def reduction(op, values, size):
    """The dimensions to fold away, counted behind the batch."""
    named = dict(zip(op.parameters, values))
    operand = named[op.parameters[0]]
    if 'dim' not in named or not only_first(values):
        return NotImplemented
    tensor, dim = operand.tensor, named['dim']
    if operand.rank == 0:
        tensor, axes = tensor.unsqueeze(1), (1,)
    else:
        axes = tuple(a + 1 for a in axes_of(dim, operand.rank))
    named['dim'] = axes[0] if isinstance(dim, int) or len(axes) == 1 else axes
    named[op.parameters[0]] = tensor
    result = call(op, [named[p] for p in op.parameters])
    keeps = named.get('keepdim', True)
    return result.reshape(result.shape[0]) if operand.rank == 0 and keeps else result


COUNTED = ('dim', 'dim0', 'dim1', 'dim2', 'start_dim', 'end_dim', 'dimension')
KNOWN = {*COUNTED, 'shape', 'size', 'dims', 'sizes', 'index', 'start', 'length', 'split_size_or_sections', 'chunks',
         'offset', 'step'}


def view(op, values, size):
    """Dimensions counted behind the batch; shapes with the batch in front."""
    named = dict(zip(op.parameters, values))
    operand = named[op.parameters[0]]
    if not only_first(values) or not set(op.parameters[1:]) <= KNOWN:
        return NotImplemented
    rank, tensor = operand.rank, operand.tensor
    counted = [name for name in COUNTED if named.get(name) is not None]
    adds = 1 if tuple(op.parameters[1:]) == ('dim',) and op.gradients and _grows(op, tensor) else 0
    if counted and not rank + adds:
        return NotImplemented
    for name in counted:
        dims = named[name]
        behind = [a + 1 for d in (dims if isinstance(dims, (tuple, list)) else (dims,))
                  for a in axes_of(d, rank + adds)]
        named[name] = tuple(behind) if isinstance(dims, (tuple, list)) else behind[0]
    if 'dims' in named:
        named['dims'] = (0, *[a + 1 for d in named['dims'] for a in axes_of(d, rank)])
    if 'shape' in named:
        named['shape'] = (tensor.shape[0], *named['shape'])
    if 'size' in named and op.variadic == 'size':
        tensor = lined_up(tensor, len(named['size']))
        named['size'] = (tensor.shape[0], *named['size'])
    if 'dim' in named and named['dim'] is None:
        named['dim'] = tuple(k + 1 for k in range(rank) if tensor.shape[k + 1] == 1)
    named[op.parameters[0]] = tensor
    return call(op, [named[p] for p in op.parameters])


def _grows(op, tensor):
    """Whether the view adds a dimension, so that `dim` may be one behind the last."""
    return getattr(op.public(tensor, 0), 'ndim', 0) > tensor.ndim


def only_first(values):
    return isinstance(values[0], Batch) and not any(isinstance(v, Batch) for v in values[1:])


# ---- rules that operations choose themselves

def in_batch(value, size):
    """An operand with the batch in front: one that is shared stands there for every example."""
    return value.tensor if isinstance(value, Batch) else value.expand(size, *value.shape)


def in_front(op, values, size, *rest):
    """For what works on the last dimensions, whatever stands before them: all tensors with the batch in front.

    `rest`: values of parameters behind, which are taken as they are.
    """
    tensors = [isinstance(v, Batch) or hasattr(v, '_array') for v in values]
    given = [in_batch(v, size) if tensor else v for v, tensor in zip(values, tensors)]
    rank = max(v.dim() for v, tensor in zip(given, tensors) if tensor) - 1
    return call(op, [lined_up(v, rank) if tensor else v for v, tensor in zip(given, tensors)] + list(rest))


ALONG = ('dim', 'dims', 'source', 'destination')


def along(op, values, size):
    """For what goes along dimensions of its first operand and treats others alike: they are counted one further."""
    if not only_first(values) or not values[0].rank:
        return NotImplemented
    return call(op, [values[0].tensor, *_moved_dims(op.parameters[1:], values[1:], values[0].rank)])


def along_all(op, values, size, shared=()):
    """As `along`, for operands of one rank that may all be batches; parameters in `shared` are the same for all."""
    spread = [name not in shared and (isinstance(v, Batch) or hasattr(v, '_array'))
              for name, v in zip(op.parameters, values)]
    ranks = [v.rank if isinstance(v, Batch) else v.dim() for v, several in zip(values, spread) if several]
    if min(ranks) < 1:
        return NotImplemented
    moved = _moved_dims(op.parameters, values, ranks[0])
    return call(op, [in_batch(v, size) if several else v for v, several in zip(moved, spread)])


def _moved_dims(names, values, rank):
    moved = []
    for name, value in zip(names, values):
        if name in ALONG and isinstance(value, (int, tuple, list)):
            axes = tuple([a + 1 for d in (value if isinstance(value, (tuple, list)) else (value,))
                          for a in axes_of(d, rank)])
            value = axes if isinstance(value, (tuple, list)) else axes[0]
        moved.append(value)
    return moved


def side_by_side(op, values, size):
    """For what treats the places of its first dimension alike and apart: the batch and that dimension become one."""
    if not only_first(values):
        return NotImplemented
    tensor = values[0].tensor
    result = call(op, [tensor.flatten(0, 1), *values[1:]])
    return apart(result, (size, tensor.shape[1]))


def apart(result, sizes):
    """Results, whose first dimension is the batch and another, with these as two dimensions."""
    if isinstance(result, tuple):
        return tuple(apart(r, sizes) for r in result)
    return result.unflatten(0, sizes)


RULES = {'elementwise': elementwise, 'reduction': reduction, 'view': view}
