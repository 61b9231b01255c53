"""Backward: carries cotangents from results to leaves, newest operation first. Iterative, so depth does not matter.

Consumers were recorded after what they use, so taking nodes in falling order of `sequence` visits each one only when
all its cotangents have come in. Works on arrays; on tensors where the gradients are to be differentiated themselves.
"""
from __future__ import annotations

import heapq
import sys

import numpy as np

from ..dtypes import dtype
from ..errors import OutOfMemory
from ..ops.reference import LARGE, REFERENCE
from ..tensor import Size, Tensor, wrap
from .graph import FREED, Node, Output, note_write, owner_of
from .modes import STATE, switch_grad

__all__ = ['run_backward']

ndarray = np.ndarray
# classes of saved values that are no tensors
UNFREED = {int, float, bool, complex, str, tuple, slice, type(None), type(Ellipsis), dtype, Size}


def total(held, more):
    """The sum of two gradients: of large arrays on all threads."""
    if held.__class__ is ndarray and more.__class__ is ndarray and held.size >= LARGE and held.dtype.kind == 'f':
        made = REFERENCE.kernel('fusion.run', _plus, held, more)
        if made is not None:
            return made
    return held + more


def _plus(m, x, y):
    return x + y


def run_backward(roots, retain_graph, create_graph, targets=None):
    """Runs backward from `roots`, pairs of (edge, cotangent tensor).

    Without targets, gradients are accumulated in the leaves. With targets (edges), nothing is accumulated and their
    cotangents are returned as tensors, None where nothing reached one.
    """
    before = switch_grad(create_graph)
    try:
        run = Pass(retain_graph, create_graph, targets)
        if targets is not None:
            run.restrict(roots)
        for edge, cotangent in roots:
            run.add(edge, cotangent if create_graph else cotangent._array)
        run.visit_nodes()
        return run.finish_leaves()
    finally:
        switch_grad(before)


class Pass:
    """One run of backward."""

    def __init__(self, retain_graph, create_graph, targets):
        self.retain_graph = retain_graph
        self.tensors = create_graph
        if create_graph:
            from ..ops.definition import PUBLIC
            self.m = PUBLIC
        else:
            self.m = REFERENCE
        self.heap = []
        self.pending = {}  # sequence -> [node, cotangent or list of them]
        self.leaves = {}  # id -> [leaf, cotangent]
        self.targets = targets
        self.found = {}  # id of target node -> {output index: cotangent}
        self.wanted = None
        if targets is not None:
            for target in targets:
                node, index = owner_of(target)
                self.found.setdefault(id(node), {})[index] = None

    def add(self, edge, cotangent):
        """Adds a cotangent to what has come in at an edge."""
        index = None
        if edge.__class__ is Output:
            edge, index = edge.node, edge.index
        if isinstance(edge, Node):
            if self.wanted is not None and id(edge) not in self.wanted:
                return
            sequence = edge.sequence
            entry = self.pending.get(sequence)
            if entry is None:
                heapq.heappush(self.heap, -sequence)
                if index is None:
                    self.pending[sequence] = [edge, cotangent]
                else:
                    several = [None] * len(edge.extra['outputs'])
                    several[index] = cotangent
                    self.pending[sequence] = [edge, several]
            elif index is None:
                entry[1] = total(entry[1], cotangent)
            else:
                held = entry[1][index]
                entry[1][index] = cotangent if held is None else total(held, cotangent)
            return
        if self.targets is not None and id(edge) not in self.found:
            return
        entry = self.leaves.get(id(edge))
        if entry is None:
            self.leaves[id(edge)] = [edge, cotangent]
        else:
            entry[1] = total(entry[1], cotangent)

    def restrict(self, roots):
        """With targets, only nodes from which one is reached are visited."""
        reached, order, stack = {}, [], [edge for edge, _ in roots]
        stack = [owner_of(e)[0] for e in stack]
        while stack:
            node = stack.pop()
            if id(node) in reached or not isinstance(node, Node):
                continue
            reached[id(node)] = node
            order.append(node)
            stack.extend(owner_of(e)[0] for e in node.edges if e is not None)
        self.wanted = set()
        for node in sorted(order, key=lambda n: n.sequence):
            if id(node) in self.found or any(
                    id(owner) in self.wanted or id(owner) in self.found
                    for e in node.edges if e is not None for owner in (owner_of(e)[0],)):
                self.wanted.add(id(node))

    def visit_nodes(self):
        heap, pending, add, m, tensors = self.heap, self.pending, self.add, self.m, self.tensors
        retain, found, anomaly, wanted = self.retain_graph, self.found, STATE.anomaly, self.wanted
        pop, push, leaves, restricted = heapq.heappop, heapq.heappush, self.leaves, self.targets is not None
        while heap:
            node, cotangent = pending.pop(-pop(heap))
            extra = node.extra
            if extra is not None:
                cotangent = self.prepared(node, cotangent)
            if found and id(node) in found:
                self.capture(node, cotangent)
            chosen = self.chosen(node) if restricted else None
            try:
                grads = node.pull(cotangent, m, tensors) if chosen is None else node.plan.pull(
                    node, cotangent, m, tensors, chosen)
            except MemoryError as error:
                raise OutOfMemory(f'{node.name()}: out of memory in backward: {error}') from None
            if extra is not None and 'hooks' in extra:
                grads = self.hooked(node, grads, cotangent)
            if anomaly:
                from .anomaly import refuse_nan
                refuse_nan(node, grads)
            if not retain:
                for value in node.saved:
                    if value.__class__ not in UNFREED:  # a node that holds no tensor can be passed again, as in PyTorch
                        node.saved = FREED
                        break
            for edge, grad in zip(node.edges, grads):
                if edge is None or grad is None:
                    continue
                if isinstance(edge, Node):
                    sequence = edge.sequence
                    entry = pending.get(sequence)
                    if entry is not None:
                        entry[1] = total(entry[1], grad)
                    elif wanted is None or id(edge) in wanted:
                        push(heap, -sequence)
                        pending[sequence] = [edge, grad]
                elif edge.__class__ is Output or restricted:
                    add(edge, grad)
                else:
                    entry = leaves.get(id(edge))
                    if entry is None:
                        leaves[id(edge)] = [edge, grad]
                    else:
                        entry[1] = total(entry[1], grad)
            edge = entry = grads = grad = cotangent = None

    # ---- what is rare

    def chosen(self, node):
        """Whether the gradient of each edge leads to a target; None where all do, or the node computes all of them."""
        if not getattr(node.plan, 'chooses', False) or type(node).pull is not Node.pull:
            return None
        owners = [None if e is None else owner_of(e)[0] for e in node.edges]
        chosen = [id(owner) in self.wanted or id(owner) in self.found for owner in owners]
        return None if all(chosen) else chosen

    def as_tensor(self, cotangent):
        if cotangent is None or isinstance(cotangent, Tensor):
            return cotangent
        return wrap(np.asarray(cotangent))

    def as_held(self, tensor):
        return tensor if self.tensors else tensor._array

    def prepared(self, node, cotangent):
        """The cotangent of a node that has several outputs, hooks, or tensors that retain their gradient."""
        extra = node.extra
        if 'outputs' in extra and getattr(node, 'materialize_grads', True):
            cotangent = [self.zeros(meta) if c is None and meta is not None else c
                         for c, meta in zip(cotangent, extra['outputs'])]
        for index, hooks in extra.get('tensor hooks', {}).items():
            held = cotangent[index] if isinstance(cotangent, list) else cotangent
            held = self.through_hooks(hooks, held)
            if isinstance(cotangent, list):
                cotangent[index] = held
            else:
                cotangent = held
        if 'prehooks' in extra:
            given = tuple(map(self.as_tensor, cotangent if isinstance(cotangent, list) else (cotangent,)))
            for hook in list(extra['prehooks'].values()):
                changed = hook(given)
                if changed is not None:
                    given = changed if isinstance(changed, tuple) else (changed,)
            held = [None if g is None else self.as_held(g) for g in given]
            cotangent = held if isinstance(cotangent, list) else held[0]
        for index, reference in extra.get('retained', {}).items():
            tensor = reference()
            held = cotangent[index] if isinstance(cotangent, list) else cotangent
            if tensor is not None and held is not None:
                held = self.as_tensor(held)
                tensor._grad = held if tensor._grad is None else tensor._grad + held
        return cotangent

    def zeros(self, meta):
        zero = np.zeros(meta[0], meta[1])
        return wrap(zero) if self.tensors else zero

    def through_hooks(self, hooks, held):
        grad = self.as_tensor(held)
        for hook in list(hooks.values()):
            changed = hook(grad)
            if changed is not None:
                if not isinstance(changed, Tensor):
                    raise TypeError(f"expected Variable, but hook returned '{type(changed).__name__}'")
                if changed.shape != grad.shape:
                    raise RuntimeError(f'hook {getattr(hook, "__name__", hook)!r} has changed the size of value: '
                                       f'{list(grad.shape)} to {list(changed.shape)}')
                grad = changed
        return self.as_held(grad)

    def hooked(self, node, grads, cotangent):
        outer = tuple(map(self.as_tensor, cotangent if isinstance(cotangent, list) else (cotangent,)))
        inner = tuple(map(self.as_tensor, grads))
        for hook in list(node.extra['hooks'].values()):
            changed = hook(inner, outer)
            if changed is not None:
                inner = changed if isinstance(changed, tuple) else (changed,)
        return [None if g is None else self.as_held(g) for g in inner]

    def capture(self, node, cotangent):
        for index in self.found[id(node)]:
            held = cotangent[index] if isinstance(cotangent, list) else cotangent
            self.found[id(node)][index] = held

    # ---- leaves

    def finish_leaves(self):
        while self.leaves:
            key = next(iter(self.leaves))
            leaf, cotangent = self.leaves.pop(key)
            if leaf._hooks:
                cotangent = self.through_hooks(leaf._hooks, cotangent)
            if self.targets is not None:
                self.found[key][0] = cotangent
                continue
            if self.tensors:
                leaf._grad = cotangent if leaf._grad is None else leaf._grad + cotangent
            else:
                alone = sys.getrefcount(cotangent) == 2  # this name's and that of the call
                accumulate(leaf, cotangent, alone)
            if leaf._post_hooks:
                for hook in list(leaf._post_hooks.values()):
                    hook(leaf)
        if self.targets is None:
            return None
        results = []
        for target in self.targets:
            node, index = owner_of(target)
            held = self.found[id(node)][index]
            results.append(self.as_tensor(held))
        return results


def accumulate(leaf, gradient, alone):
    """Adds an array to the gradient of a leaf. The array itself is kept where nobody else holds it (`alone`)."""
    held = leaf._grad
    if held is not None:
        if held._node is not None:
            leaf._grad = held + wrap(np.asarray(gradient))
        else:
            np.add(held._array, gradient, out=held._array, casting='unsafe')
            note_write(held, 'backward')
        return
    own = leaf._array
    if gradient.__class__ is not ndarray:
        gradient = np.array(gradient, own.dtype)
    elif not alone or gradient.base is not None and _is_shared(gradient) or gradient.strides != own.strides \
            or not gradient.flags.writeable or gradient.dtype != own.dtype:
        copy = np.empty_like(own)
        np.copyto(copy, gradient, casting='unsafe')
        gradient = copy
    leaf._grad = wrap(gradient)


def _is_shared(view):
    """Whether the memory of a view may be that of something else, too."""
    base = view.base
    return base.__class__ is not ndarray or base.base is not None or base.size != view.size or sys.getrefcount(base) > 3


def accumulate_into(leaf, gradient):
    """Adds a gradient tensor to `.grad` of one tensor, for backward(inputs=...)."""
    if gradient._node is not None:
        leaf._grad = gradient if leaf._grad is None else leaf._grad + gradient
    else:
        accumulate(leaf, gradient._array, False)
