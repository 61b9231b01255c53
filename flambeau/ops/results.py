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
    ways = {}  # which of them want a gradient, as bits -> (plan, save)

    def way_for(needed):
        plan = op.plan(tuple(op.parameters.index(p) for k, p in enumerate(tensors) if needed >> k & 1))
        ways[needed] = plan, _saver(op.parameters, plan.fetches) if plan.fetches else None
        return ways[needed]

    values = ', '.join(op.parameters)
    lines = ['    edges, needed = (), 0', *(['    shapes = ()'] if op.kind == 'elementwise' else [])]
    for k, p in enumerate(tensors):
        lines += [f'    node = {p}._node if {p}.__class__ is Tensor or {p}.__class__ is Parameter else None',
                  '    if node is not None:',
                  f'        edge = {p} if node is LEAF else node.resolve({p}) if node.__class__ is View else node',
                  '        if edge is not None:', '            edges += edge,', f'            needed += {1 << k}',
                  *([f'            shapes += {p}._array.shape,'] if op.kind == 'elementwise' else [])]
    lines += [
        '    if not needed: return None', '    plan, save = ways.get(needed) or way_for(needed)',
        '    node = new(node_class)',
        '    node.edges, node.plan, node.shapes, node.sequence, node.extra = edges, plan, None, ticket(), None',
        '    node.saved, node.versions = (), None',
        '    if result.__class__ is ndarray and result.dtype.kind in "fcV":', '        made = new(Tensor)',
        '        made._array, made._node, made._counter = result, node, None', '        outputs = made,',
        '    else:', '        made, outputs, recorded = outputs_of(op, result, node)',
        '        if not recorded: return made',
        *(['    if any([s != result.shape for s in shapes]): node.shapes = shapes'] if op.kind == 'elementwise' else []),
        f'    if save is not None: node.saved, node.versions = save(outputs, {values})', '    return made']
    scope = {'op': op, 'ways': ways, 'way_for': way_for, 'node_class': op.node_class, 'outputs_of': _outputs_of,
             'new': new, 'Tensor': Tensor, 'Parameter': Parameter, 'LEAF': LEAF, 'View': View, 'ticket': ticket,
             'ndarray': ndarray}
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
        known = []
        for k, out in enumerate(outputs):
            array = out._array if out.__class__ is Tensor else None
            if array is not None and array.dtype.kind in 'fcV':
                place = out._node = new(Output)
                place.node, place.index = node, k
                known.append((array.shape, array.dtype))
            else:
                known.append(None)
        if node.extra is None:
            node.extra = {'outputs': known}
        else:
            node.extra['outputs'] = known
    if result.__class__ is list:
        return outputs, outputs, node is not None
    return tuple(outputs) if op.returns is None else named(op, outputs), outputs, node is not None


def _saver(parameters, fetches):
    """save(outputs, values...) -> (the values that a node saves, their versions).

    An output is saved with its index only where there are several.
    """
    found, written = [], []
    for what, position in fetches:
        name = None if position is None or what == 'result' else parameters[position]
        if what == 'value':
            written.append(f'getattr({name}, "_counter", None) is not None')
        found.append({
            'value': lambda: name, 'shape': lambda: f'shapes_of({name})',
            'dtype': lambda: f"getattr({name}, 'dtype', None)",
            'result': lambda: f'saved_output(outputs[{position}], {position})',
            'output': lambda: 'saved_output(outputs[0], None if outputs.__class__ is tuple else 0)',
            'outputs': lambda: '[saved_output(o, k) for k, o in enumerate(outputs)]'}[what]())
    scope = {'shapes_of': shapes_of, 'saved_output': saved_output, 'saved_versions': saved_versions}
    exec(f'def save(outputs, {", ".join(parameters)}):\n    saved = ({", ".join(found)},)\n'
         f'    return saved, saved_versions(saved) if {" or ".join(written) or False} else None', scope)
    return scope['save']


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
