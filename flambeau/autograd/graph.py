"""The graph that backward runs over: nodes, edges, saved values, views and versions.

Knows nothing of operations: a node asks its `plan` (made in ops/definition.py) for gradients. No object here refers to
what was computed from it, so the graph holds no cycle and goes when its last tensor goes.

A tensor's `_node` says how it came about:
    None      nothing to differentiate
    LEAF      a leaf that requires a gradient
    Node      the only result of a recorded operation
    Output    one of several results of a node
    View      a view of another tensor; it works out its node when asked, since its base may be changed in place
An edge of a node is a leaf tensor, a Node, an Output or None.
"""
from __future__ import annotations

import itertools
import sys
from collections import OrderedDict

from .modes import OFF, STATE

__all__ = ['Node', 'Output', 'View', 'LEAF', 'FREED', 'edge_of', 'owner_of', 'saved_versions',
           'note_write', 'count_write', 'writing_frame', 'counter_of', 'told_writer']


class _Leaf:
    __slots__ = ()

    def __repr__(self):
        return 'LEAF'

    def __reduce__(self):
        return 'LEAF'


LEAF = _Leaf()
FREED = object()  # stands in `Node.saved` once backward has released what was saved
ticket = itertools.count(1).__next__


class Node:
    """A recorded operation. `sequence` grows with time, so consumers always have a higher one than what they use."""

    __slots__ = ('edges', 'saved', 'versions', 'plan', 'shapes', 'sequence', 'extra', '__weakref__')
    label = 'Node'
    outputs = 1

    def pull(self, cotangent, m, tensors):
        """The gradients for `edges`. `m` computes on arrays, or on tensors where `tensors` is true."""
        return self.plan.pull(self, cotangent, m, tensors)

    def name(self) -> str:
        """The name of the operation's backward, such as 'AddBackward0'."""
        return (self.extra or {}).get('label') or self.label

    @property
    def next_functions(self):
        """Pairs of (node, output index) of the inputs, as PyTorch lists them; (None, 0) where no gradient flows."""
        return tuple(_as_function(edge) for edge in self.edges)

    @property
    def metadata(self) -> dict:
        """A dictionary for anything that users want to note about this node."""
        return self.note('metadata', dict)

    def note(self, key, make):
        """The entry `key` of the rarely needed attributes, made when missing."""
        if self.extra is None:
            self.extra = {}
        return self.extra.setdefault(key, make()) if key not in self.extra else self.extra[key]

    def register_hook(self, hook):
        """Calls hook(grad_inputs, grad_outputs) after this node's backward; a tuple it returns replaces grad_inputs."""
        return _register(self.note('hooks', OrderedDict), hook)

    def register_prehook(self, hook):
        """Calls hook(grad_outputs) before this node's backward; a tuple it returns replaces grad_outputs."""
        return _register(self.note('prehooks', OrderedDict), hook)

    def __repr__(self):
        return f'<{self.name()} object at {id(self):#x}>'


class AccumulateGrad:
    """What `next_functions` shows for a leaf: the place where its gradient is added to `.grad`."""

    def __init__(self, variable):
        self.variable = variable
        self.next_functions = ()

    def name(self):
        return 'struct torch::autograd::AccumulateGrad'

    def register_hook(self, hook):
        """Calls hook(grad_inputs, grad_outputs) once the gradient is accumulated."""
        return self.variable.register_post_accumulate_grad_hook(lambda leaf: hook((), (leaf.grad,)) and None)

    def register_prehook(self, hook):
        """Calls hook(grad_outputs) before the gradient is accumulated."""
        def before(grad):
            changed = hook((grad,))
            return None if changed is None else changed[0]
        return self.variable.register_hook(before)

    def __repr__(self):
        return f'<AccumulateGrad object at {id(self):#x}>'

    def __eq__(self, other):
        return isinstance(other, AccumulateGrad) and self.variable is other.variable

    def __hash__(self):
        return hash((AccumulateGrad, id(self.variable)))


def _register(hooks, hook):
    from .hooks import RemovableHandle
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    return handle


def _as_function(edge):
    if edge is None:
        return (None, 0)
    node, index = owner_of(edge)
    return (node, index) if isinstance(node, Node) else (AccumulateGrad(edge), 0)


class Output:
    """One of several results of a node, as an edge."""

    __slots__ = ('node', 'index')

    def __init__(self, node, index):
        self.node = node
        self.index = index


class View:
    """How a tensor views the memory of another.

    `node` is what recorded the view, right as long as the shared memory's version is `version`. After a write in
    place to the base or to another view, the node is made anew as a strided view of what the base has become.
    """

    __slots__ = ('base', 'node', 'version', 'refusal')

    def __init__(self, base, node, version, refusal=None):
        self.base = base
        self.node = node
        self.version = version
        self.refusal = refusal  # why this view may not be written in place while recording

    def resolve(self, tensor):
        version = tensor._counter[0]
        if self.version != version:
            self.version = version
            self.node = strided_view_node(tensor, self.base)
        return self.node


class StridedPlan:
    """The plan of a view made anew: where it lies in the memory of its base."""

    __slots__ = ('base_shape', 'base_strides', 'shape', 'strides', 'offset')

    def __init__(self, tensor, base):
        size = tensor._array.itemsize
        self.base_shape = base._array.shape
        self.base_strides = tuple(s // size for s in base._array.strides)
        self.shape = tensor._array.shape
        self.strides = tuple(s // size for s in tensor._array.strides)
        self.offset = (address(tensor._array) - address(base._array)) // size

    def pull(self, node, cotangent, m, tensors):
        return (m.as_strided_adjoint(cotangent, self.base_shape, self.base_strides, self.shape, self.strides,
                                     self.offset),)


class AsStridedBackward0(Node):
    __slots__ = ()
    label = 'AsStridedBackward0'


class ScatterPlan:
    """The plan of a base after one of its views was written in place."""

    __slots__ = ('geometry',)

    def __init__(self, geometry):
        self.geometry = geometry

    def pull(self, node, cotangent, m, tensors):
        g = self.geometry
        kept = inside = None
        if node.edges[0] is not None:
            kept = m.as_strided_fill(cotangent, g.base_strides, g.shape, g.strides, g.offset, 0)
        if node.edges[1] is not None:
            inside = m.as_strided_part(cotangent, g.base_strides, g.shape, g.strides, g.offset)
        return kept, inside


class CopySlices(Node):
    __slots__ = ()
    label = 'CopySlices'


def make_node(cls, edges, plan, saved=(), shapes=None):
    node = object.__new__(cls)
    node.edges = edges
    node.saved = saved
    node.versions = None
    node.plan = plan
    node.shapes = shapes
    node.sequence = ticket()
    node.extra = None
    return node


def strided_view_node(tensor, base):
    edge = edge_of(base)
    return None if edge is None else make_node(AsStridedBackward0, (edge,), StridedPlan(tensor, base))


def write_node(tensor, edge):
    """Records that `tensor` was overwritten in place by the result behind `edge`. Its values are written already."""
    node = tensor._node
    if node.__class__ is not View:
        tensor._node = edge
        return
    base = node.base
    before = edge_of(base)
    if before is not None or edge is not None:
        base._node = make_node(CopySlices, (before, edge), ScatterPlan(StridedPlan(tensor, base)))


def address(array) -> int:
    return array.__array_interface__['data'][0]


def edge_of(tensor):
    """What leads backward from a tensor, or None where no gradient flows."""
    node = tensor._node
    if node is LEAF:
        return tensor
    if node.__class__ is View:
        return node.resolve(tensor)
    return node


def owner_of(edge):
    """(node or leaf, output index) of an edge."""
    return (edge.node, edge.index) if edge.__class__ is Output else (edge, 0)


# ---- versions ------------------------------------------------------------------------------------------
# A counter is a list [how often the memory of a tensor and its views was written in place, by what the last time].

def counter_of(tensor) -> list:
    """The counter of writes that a tensor shares with its views, made when first needed."""
    counter = tensor._counter
    if counter is None:
        counter = tensor._counter = [0, None]
    return counter


def note_write(tensor, operation: str):
    """Counts a write in place and remembers which operation did it, on which line of the user's program."""
    count_write(tensor, operation, writing_frame())


def writing_frame():
    """The frame of the user's program that asked for the write going on; nearer than that where nothing is recorded."""
    frame = sys._getframe(3)
    if STATE.recording is not OFF:
        while frame.f_back is not None and frame.f_globals.get('__name__', '').startswith('flambeau.'):
            frame = frame.f_back
    return frame


def count_write(tensor, operation, frame):
    """Counts a write in place that happened in `frame`."""
    counter = tensor._counter
    if counter is None:
        counter = tensor._counter = [0, None]
    counter[0] += 1
    counter[1] = operation, frame.f_code, frame.f_lasti


def told_writer(counter) -> str:
    """Which operation wrote last, at which line, in words."""
    if counter[1] is None:
        return ''
    operation, code, instruction = counter[1]
    line = next((line for start, end, line in code.co_lines() if start <= instruction < end), None)
    return f' It was last changed by {operation} at {code.co_filename}:{line}.'


def saved_versions(saved):
    """The versions of the tensors among saved values, or None while none of them was ever written in place."""
    for value in saved:
        if value.__class__ is list:
            written = any(map(_version, value))
        else:
            counter = getattr(value, '_counter', None)
            written = counter is not None and counter[0]
        if written:
            return tuple([_version(v) for v in saved])
    return None


def _version(value):
    if value.__class__ is list:
        return tuple(map(_version, value))
    counter = getattr(value, '_counter', None)
    return 0 if counter is None else counter[0]


def __getattr__(name):
    """PyTorch has the hooks on saved values in this module; here they stand above it."""
    if name in ('saved_tensors_hooks', 'save_on_cpu', 'disable_saved_tensors_hooks'):
        from . import saved
        return getattr(saved, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
