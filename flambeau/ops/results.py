"""Results of formulas over arrays as tensors: views, several results, named tuples."""
from __future__ import annotations

import collections

import numpy as np

from ..autograd.graph import LEAF, Output, View, counter_of, saved_versions, ticket
from ..autograd.modes import OFF, STATE
from ..tensor import Parameter, Tensor
from .record import complete, saved_output, shapes_of

__all__ = ['recorder', 'tensors_of', 'viewing', 'several_views', 'named', 'return_type', 'return_types']

new = object.__new__
ndarray = np.ndarray


def several_views(op, arrays, source, node):
    """Tensors on parts of the memory of `source`."""
    base, refusal, counter = _looking_at(op, source)
    version = counter[0]
    made = []
    for array in arrays:
        out = new(Tensor)
        out._array, out._counter = array, counter
        link = out._node = new(View)
        link.base, link.version, link.refusal = base, version, refusal
        link.node = None if node is None else Output(node, len(made))
        made.append(out)
    if node is not None:
        node.note('outputs', lambda: [(t._array.shape, t._array.dtype) for t in made])
    return tuple(made)


def viewing(op, array, source, node):
    """A tensor on memory that it shares with `source`."""
    if array is source._array and node is None:
        array = array.view()
    base, refusal, counter = _looking_at(op, source)
    out = new(Tensor)
    out._array, out._counter, out._node = array, counter, View(base, node, counter[0], refusal)
    return out


def _looking_at(op, source):
    """(the tensor whose memory views of `source` share, why they may not be written, the counter of writes)."""
    of = source._node
    refusal = op.view_refusal if STATE.recording is not OFF else 'was created in no_grad mode'
    if of.__class__ is View:
        return of.base, of.refusal or refusal, counter_of(source)
    return source, refusal, counter_of(source)


def tensors_of(op, result, node, values):
    """The result of a formula over arrays as tensors, recorded by `node`."""
    if not isinstance(result, (ndarray, np.generic, tuple, list)):
        return result
    made, outputs, recorded = _outputs_of(op, result, node)
    if recorded:
        complete(node, values, outputs, made is not outputs[0])
    return made


def _plain(result):
    """An array as a tensor without a gradient; what else a formula answers as it is."""
    if result.__class__ is not ndarray:
        if not isinstance(result, np.generic):
            return result
        result = np.asarray(result)
    made = new(Tensor)
    made._array, made._node, made._counter = result, None, None
    return made


def recorder(op, tensors):
    """recorded(result, values...): what a formula answered, an array or several, as tensors that a node recorded.

    None where no operand wants a gradient. `tensors`: the parameters that may be tensors. Only for plain recording.
    """
    ways = {}  # which of them want a gradient, as bits -> (plan, save); save(outputs, values...): what the node saves

    def way_for(needed):
        plan = op.plan(tuple(op.parameters.index(p) for k, p in enumerate(tensors) if needed >> k & 1))
        ways[needed] = plan, _saver(op.parameters, plan.fetches) if plan.fetches else None
        return ways[needed]

    values = ', '.join(op.parameters)
    lines = ['    edges, shapes, needed = [], [], 0']
    for k, p in enumerate(tensors):
        lines += [f'    node = {p}._node if {p}.__class__ is Tensor or {p}.__class__ is Parameter else None',
                  '    if node is not None:',
                  f'        edge = {p} if node is LEAF else node.resolve({p}) if node.__class__ is View else node',
                  '        if edge is not None:', '            edges.append(edge)', f'            needed += {1 << k}',
                  *([f'            shapes.append({p}._array.shape)'] if op.kind == 'elementwise' else [])]
    lines += [
        '    if not needed: return None', '    plan, save = ways.get(needed) or way_for(needed)',
        '    node = new(node_class)',
        '    node.edges, node.plan, node.shapes, node.sequence, node.extra = tuple(edges), plan, None, ticket(), None',
        '    node.saved, node.versions = (), None', '    made, outputs, recorded = outputs_of(op, result, node)',
        *(['    if any([s != result.shape for s in shapes]): node.shapes = tuple(shapes)']
          if op.kind == 'elementwise' else []),
        '    if recorded and save is not None:', f'        saved = node.saved = save(outputs, {values})',
        '        node.versions = saved_versions(saved)', '    return made']
    scope = {'op': op, 'ways': ways, 'way_for': way_for, 'node_class': op.node_class, 'outputs_of': _outputs_of,
             'new': new, 'Tensor': Tensor, 'Parameter': Parameter, 'LEAF': LEAF, 'View': View, 'ticket': ticket,
             'saved_versions': saved_versions}
    exec(f'def recorded(result, {values}):\n' + '\n'.join(lines), scope)
    return scope['recorded']


def _outputs_of(op, result, node):
    """(the results as users get them, the tensors among them, whether one has the node, which may be None)."""
    if result.__class__ is not tuple and result.__class__ is not list:
        made = _plain(result)
        recorded = node is not None and made._array.dtype.kind in 'fcV'
        if recorded:
            made._node = node
        return made, (made,), recorded
    outputs = [_plain(r) for r in result]
    if node is not None:
        known = [None] * len(outputs)
        for k, out in enumerate(outputs):
            if out.__class__ is Tensor and out._array.dtype.kind in 'fcV':
                out._node = Output(node, k)
                known[k] = out._array.shape, out._array.dtype
        node.note('outputs', lambda: known)
    return named(op, outputs) if result.__class__ is tuple else outputs, outputs, node is not None


def _saver(parameters, fetches):
    """save(outputs, values...) -> the values that a node saves; an index of an output only where there are several."""
    found = []
    for what, position in fetches:
        name = None if position is None or what == 'result' else parameters[position]
        found.append({
            'value': lambda: name, 'shape': lambda: f'shapes_of({name})',
            'dtype': lambda: f"getattr({name}, 'dtype', None)",
            'result': lambda: f'saved_output(outputs[{position}], {position})',
            'output': lambda: 'saved_output(outputs[0], None if outputs.__class__ is tuple else 0)',
            'outputs': lambda: '[saved_output(o, k) for k, o in enumerate(outputs)]'}[what]())
    return eval(f'lambda outputs, {", ".join(parameters)}: ({", ".join(found)},)',
                {'shapes_of': shapes_of, 'saved_output': saved_output})


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
