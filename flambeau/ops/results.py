"""Results of formulas over arrays as tensors: views, several results, named tuples."""
from __future__ import annotations

import collections

import numpy as np

from ..autograd.graph import Output, View, counter_of
from ..autograd.modes import OFF, STATE
from ..tensor import Tensor, wrap
from .record import complete

__all__ = ['tensors_of', 'viewing', 'several_views', 'named', 'return_type', 'return_types']

new = object.__new__
ndarray = np.ndarray


def several_views(op, arrays, source, node):
    """Tensors on parts of the memory of `source`."""
    made = [viewing(op, array, source, node and Output(node, k)) for k, array in enumerate(arrays)]
    if node is not None:
        node.note('outputs', lambda: [(t._array.shape, t._array.dtype) for t in made])
    return tuple(made)


def viewing(op, array, source, node):
    """A tensor on memory that it shares with `source`."""
    if array is source._array and node is None:
        array = array.view()
    out = new(Tensor)
    out._array = array
    counter = out._counter = counter_of(source)
    of = source._node
    refusal = op.view_refusal
    if STATE.recording is OFF:
        refusal = 'was created in no_grad mode'
    if of.__class__ is View:
        base, refusal = of.base, of.refusal or refusal
    else:
        base = source
    out._node = View(base, node, counter[0], refusal)
    return out


def tensors_of(op, result, node, values):
    """The result of a formula over arrays as tensors, recorded by `node`."""
    if node is None and result.__class__ is tuple:
        return named(op, [_plain(r) for r in result])
    if result.__class__ is ndarray or isinstance(result, np.generic):
        out = wrap(result if result.__class__ is ndarray else np.asarray(result))
        if node is not None and out._array.dtype.kind in 'fcV':
            out._node = node
            complete(node, values, (out,), False)
        return out
    if not isinstance(result, (tuple, list)):
        return result
    outs, known = [], []
    for k, r in enumerate(result):
        out, meta = r, None
        if r.__class__ is ndarray or isinstance(r, np.generic):
            out = new(Tensor)
            array = out._array = r if r.__class__ is ndarray else np.asarray(r)
            out._node = out._counter = None
            if node is not None and array.dtype.kind in 'fcV':
                out._node = Output(node, k)
                meta = array.shape, array.dtype
        outs.append(out)
        known.append(meta)
    if node is not None:
        node.note('outputs', lambda: known)
        complete(node, values, outs, True)
    return named(op, outs) if isinstance(result, tuple) else outs


def _plain(result):
    """An array as a tensor without a gradient; what else a formula answers as it is."""
    if result.__class__ is not ndarray:
        if not isinstance(result, np.generic):
            return result
        result = np.asarray(result)
    made = new(Tensor)
    made._array, made._node, made._counter = result, None, None
    return made


_RETURN_TYPES = {}


def named(op, results):
    """Several results as a tuple, a named one where PyTorch gives one (torch.return_types)."""
    if op.returns is None:
        return tuple(results)
    cls = _RETURN_TYPES.get((op.name, op.returns)) or return_type(op.name, op.returns)
    return tuple.__new__(cls, results)


def return_type(name, fields):
    """The named tuple of torch.return_types for an operation."""
    key = name, fields
    if key not in _RETURN_TYPES:
        cls = collections.namedtuple(name, fields, module='torch.return_types')
        cls.__repr__ = lambda self: f'torch.return_types.{name}(\n' + ',\n'.join(
            f'{f}={v!r}' for f, v in zip(fields, self)) + ')'
        _RETURN_TYPES[key] = cls
    return _RETURN_TYPES[key]


def return_types() -> dict:
    """The named tuples of all operations declared so far, by name."""
    from .definition import OPERATIONS
    for op in OPERATIONS.values():
        if op.returns is not None:
            return_type(op.name, op.returns)
    return {name: cls for (name, _), cls in _RETURN_TYPES.items()}
