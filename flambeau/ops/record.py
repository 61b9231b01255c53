"""Recording: the nodes that calls leave behind for backward, and what they save. Knows no operation by name."""
from __future__ import annotations

from ..autograd.graph import LEAF, View, counter_of, edge_of, make_node, saved_versions, ticket
from ..autograd.modes import PLAIN, STATE
from ..tensor import Parameter, Tensor
from .definition import SavedOutput

__all__ = ['record', 'complete', 'binary_recorder', 'saved_output', 'shapes_of', 'GENERAL']

new = object.__new__


def record(op, values, elementwise_shape=None):
    """A node for a call of `op`, or None where no operand wants a gradient. `complete` fills in what it saves.

    For elementwise operations the result's shape is given, and operands of another shape are noted.
    """
    edges, needed, shapes, position = [], [], [], 0
    for v in values:
        kind = v.__class__
        if kind is Tensor or kind is Parameter or isinstance(v, Tensor):
            node = v._node
            if node is not None:
                edge = v if node is LEAF else node.resolve(v) if node.__class__ is View else node
                if edge is not None:
                    edges.append(edge)
                    needed.append(position)
                    if elementwise_shape is not None:
                        shapes.append(v._array.shape)
        elif kind is list or kind is tuple:
            found = [(k, edge) for k, t in enumerate(v)
                     if isinstance(t, Tensor) and t._node is not None and (edge := edge_of(t)) is not None]
            if found:
                edges.extend(edge for _, edge in found)
                needed.append((position, tuple(k for k, _ in found)))
        position += 1
    if not edges:
        return None
    needed = tuple(needed)
    node = make_node(op.node_class, tuple(edges), op.plans.get(needed) or op.plan(needed))
    for shape in shapes:
        if shape != elementwise_shape:
            node.shapes = tuple(shapes)
    if STATE.anomaly:
        from ..autograd.anomaly import remember_line
        remember_line(node)
    return node


def complete(node, values, outputs, several):
    """Saves what the gradients name."""
    plan = node.plan
    if not plan.fetches:
        return
    saved = []
    for what, position in plan.fetches:
        if what == 'value':
            value = values[position]
            saved.append(list(value) if value.__class__ is tuple and value and isinstance(value[0], Tensor) else value)
        elif what == 'result':
            saved.append(saved_output(outputs[position], position))
        elif what == 'output':
            saved.append(saved_output(outputs[0], 0 if several else None))
        elif what == 'outputs':
            saved.append([saved_output(o, k) for k, o in enumerate(outputs)])
        elif what == 'shape':
            saved.append(shapes_of(values[position]))
        else:
            saved.append(getattr(values[position], 'dtype', None))
    node.versions = saved_versions(saved)
    if STATE.recording is not PLAIN and STATE.saved_hooks:
        from ..autograd.saved import pack_saved
        saved = pack_saved(node, saved)
    node.saved = tuple(saved)


def shapes_of(value):
    if isinstance(value, Tensor):
        return value._array.shape
    return tuple([shapes_of(v) for v in value]) if value.__class__ in (list, tuple) else ()


def saved_output(out, index):
    """A result as a value that its own node saves; what is no tensor as it is."""
    if not isinstance(out, Tensor):
        return out
    saved = new(SavedOutput)
    saved._array, saved._counter, saved.index = out._array, out._counter or counter_of(out), index
    return saved


def binary_recorder(op):
    """record(input, other, a, b) -> the node of a two-operand call with default options, or None where nothing is
    wanted.

    GENERAL where gradients name the result, which this short way does not save.
    """
    cls, defaults = op.node_class, dict(op.formula.__kwdefaults__ or {})
    if not op.gradients:
        return lambda input, other, a, b: None
    ways = {}  # positions that want a gradient -> (plan, keep) with keep(input, other) the values to save

    def way_for(positions):
        plan = op.plan(positions)
        constants = set(plan.names) - {'input', 'other'}
        if not constants <= set(defaults):
            ways[positions] = GENERAL, None
        elif not plan.names:
            ways[positions] = plan, None
        else:
            ways[positions] = plan, _keeper(plan.names, defaults)
        return ways[positions]

    def record(input, other, a, b):
        """`a` is the array of `input`, `b` that of `other`, or `other` itself where it is a number."""
        first = input._node
        if first is not None and first.__class__ is not cls:
            first = input if first is LEAF else first.resolve(input) if first.__class__ is View else first
        if b is other:
            second, alike = None, True
        else:
            second = other._node
            if second is not None:
                second = other if second is LEAF else second.resolve(other) if second.__class__ is View else second
            mine, theirs = a.shape, b.shape
            alike = mine == theirs
        if second is None:
            if first is None:
                return None
            plan, keep = ways.get(FIRST) or way_for(FIRST)
            edges, shapes = (first,), None if alike else (mine,)
        elif first is None:
            plan, keep = ways.get(SECOND) or way_for(SECOND)
            edges, shapes = (second,), None if alike else (theirs,)
        else:
            plan, keep = ways.get(BOTH) or way_for(BOTH)
            edges, shapes = (first, second), None if alike else (mine, theirs)
        if plan is GENERAL:
            return GENERAL
        node = new(cls)
        node.edges = edges
        node.plan = plan
        node.shapes = shapes
        node.sequence = ticket()
        node.extra = None
        if keep is None:
            node.saved = ()
            node.versions = None
        else:
            node.saved, node.versions = keep(input, other)
        return node
    return record


FIRST, SECOND, BOTH = (0,), (1,), (0, 1)


def _keeper(names, defaults):
    """keep(input, other) -> (values of those names, their versions)."""
    tensors = [name for name in names if name in ('input', 'other')]
    if not tensors:
        kept = tuple([defaults[name] for name in names]), None
        return lambda input, other: kept
    values = f'({"".join(name + ", " for name in names)})'
    unwritten = ' and '.join([f'getattr({name}, "_counter", None) is None' for name in tensors])
    return eval(f'lambda input, other: ({values}, None if {unwritten} else saved_versions({values}))',
                {**defaults, 'saved_versions': saved_versions})


GENERAL = object()
