"""Operations that users differentiate by hand: subclasses of `Function` with forward and backward."""
from __future__ import annotations

import numpy as np

from ..tensor import Tensor, wrap
from .graph import FREED, Node, Output, counter_of, edge_of, saved_versions, ticket, write_node
from .modes import OFF, STATE, switch_grad

__all__ = ['Function', 'FunctionCtx', 'once_differentiable', 'InplaceFunction']


class FunctionCtx:
    """What forward hands to backward. Any attribute may be set on it."""

    def save_for_backward(self, *tensors):
        """Keeps tensors (or None) until backward, where `ctx.saved_tensors` gives them."""
        for t in tensors:
            if t is not None and not isinstance(t, Tensor):
                raise TypeError(f'save_for_backward can only save variables, but argument is of type '
                                f'{type(t).__name__}: keep other values as attributes of ctx')
        self._to_save = tensors

    def save_for_forward(self, *tensors):
        """Accepted for compatibility; forward mode is not computed by `jvp` here."""
        self._saved_for_forward = tensors

    def mark_dirty(self, *tensors):
        """Names the inputs that forward changed in place."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors):
        """Names outputs that no gradient flows through."""
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool):
        """Whether backward gets zeros (the default) or None for outputs that were not used."""
        self.materialize_grads = value


class FunctionNode(Node, FunctionCtx):
    """A recorded call of a Function: the node and the ctx in one, as in PyTorch."""

    __slots__ = ('__dict__',)
    function = None
    _to_save = _dirty = _non_differentiable = ()
    materialize_grads = True
    needs_input_grad = ()

    @property
    def saved_tensors(self):
        """The tensors that forward saved, checked for writes in place since."""
        if self.saved is FREED:
            raise RuntimeError('Trying to backward through the graph a second time (or directly access saved tensors '
                               'after they have already been freed). Saved intermediate values of the graph are freed '
                               'when you call .backward() or autograd.grad(). Specify retain_graph=True if you need to '
                               'backward through the graph a second time or if you need to access saved tensors after '
                               'calling backward.')
        from ..ops.definition import SavedOutput, check_versions, unpacked, as_tensor
        check_versions(self, self.saved)
        return tuple(as_tensor(v, self) if v.__class__ is SavedOutput else v for v in unpacked(self))

    saved_variables = saved_tensors

    @property
    def plan(self):
        return self  # names what is saved, for error messages

    @property
    def names(self):
        return [f'saved_tensors[{k}]' for k in range(len(self.saved))]

    def pull(self, cotangent, m, tensors):
        several = cotangent if isinstance(cotangent, list) else [cotangent]
        given = [c if c is None or isinstance(c, Tensor) else wrap(np.asarray(c)) for c in several]
        before = switch_grad(tensors)
        try:
            grads = self.function.backward(self, *given)
        finally:
            switch_grad(before)
        grads = grads if isinstance(grads, tuple) else (grads,)
        wanted = self.needs_input_grad
        if len(grads) > len(wanted) and all(g is None for g in grads[len(wanted):]):
            grads = grads[:len(wanted)]
        if len(grads) != len(wanted):
            raise RuntimeError(f'function {self.name()} returned an incorrect number of gradients (expected '
                               f'{len(wanted)}, got {len(grads)})')
        return [self._checked(k, g, tensors) for k, g in enumerate(grads) if wanted[k]]

    def _checked(self, k, grad, tensors):
        if grad is None:
            return None
        if not isinstance(grad, Tensor):
            raise TypeError(f'function {self.name()} returned a gradient at index {k} that is no Tensor but '
                            f'{type(grad).__name__}')
        shape, dtype = self.input_forms[k]
        if grad._array.shape != shape:
            try:
                grad = grad.sum_to_size(*shape)
            except RuntimeError:
                raise RuntimeError(f'Function {self.name()} returned an invalid gradient at index {k} - got '
                                   f'{list(grad.shape)} but expected shape compatible with {list(shape)}') from None
        if grad._array.dtype != dtype:
            from ..dtypes import of
            grad = grad.to(of(dtype))
        return grad if tensors else grad._array


class _FunctionMeta(type):
    """Gives every Function the class of its nodes, named as PyTorch names it."""

    def __init__(cls, name, bases, namespace):
        super().__init__(name, bases, namespace)
        label = name + 'Backward'
        cls._node_class = type(label, (FunctionNode,), {'__slots__': (), 'label': label, 'function': cls})


class Function(metaclass=_FunctionMeta):
    """An operation of one's own with a hand-written gradient.

    Subclass it with static methods `forward(ctx, *args)` (or `forward(*args)` and `setup_context(ctx, inputs, output)`)
    and `backward(ctx, *grads)`, and call it with `apply`.

    >>> class Exp(Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         y = x.exp()
    ...         ctx.save_for_backward(y)
    ...         return y
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         y, = ctx.saved_tensors
    ...         return grad * y
    """

    generate_vmap_rule = False

    @staticmethod
    def forward(*args, **kwargs):
        raise NotImplementedError('You must implement the forward function for custom autograd.Function.')

    @staticmethod
    def setup_context(ctx, inputs, output):
        raise NotImplementedError('setup_context is not implemented.')

    @staticmethod
    def backward(ctx, *grad_outputs):
        raise NotImplementedError('You must implement either the backward or vjp method for your custom '
                                  'autograd.Function to use it with backward mode AD.')

    @classmethod
    def apply(cls, *args, **kwargs):
        """Calls forward and records the call for backward."""
        edges = [edge_of(a) if isinstance(a, Tensor) and a._node is not None else None for a in args]
        recording = STATE.recording is not OFF and any(e is not None for e in edges)
        node = _new_node(cls._node_class, tuple(e for e in edges if e is not None) if recording else ())
        node.needs_input_grad = tuple(recording and e is not None for e in edges)
        node.input_forms = [(a._array.shape, a._array.dtype) if isinstance(a, Tensor) else None for a in args]
        before = switch_grad(False)
        try:
            if cls.setup_context is Function.setup_context:
                result = cls.forward(node, *args, **kwargs)
            else:
                result = cls.forward(*args, **kwargs)
                cls.setup_context(node, args, result)
        finally:
            switch_grad(before)
        return _recorded(cls, node, args, result, recording)


def _new_node(cls, edges):
    node = object.__new__(cls)
    node.edges, node.saved, node.versions, node.shapes, node.extra = edges, (), None, None, None
    node.sequence = ticket()
    return node


def _recorded(cls, node, inputs, result, recording):
    outputs = list(result) if isinstance(result, (tuple, list)) else [result]
    dirty = {id(t) for t in node._dirty}
    fixed = {id(t) for t in node._non_differentiable}
    given = {id(a) for a in inputs if isinstance(a, Tensor)}
    several = isinstance(result, (tuple, list))
    made, saved_as = [], {}
    for k, out in enumerate(outputs):
        if not isinstance(out, Tensor):
            made.append(out)
            continue
        if id(out) in dirty:
            if recording:
                from ..ops.writing import refuse_write
                if out._node is not None:
                    refuse_write(out, cls.__name__)
        elif id(out) in given or out._node is not None and recording:
            fresh = wrap(out._array)  # an input handed back is a result of its own
            fresh._counter = out._counter
            saved_as[id(out)] = fresh
            out = fresh
        differentiable = recording and id(outputs[k]) not in fixed and out._array.dtype.kind in 'fcV'
        if differentiable:
            edge = Output(node, k) if several else node
            if id(out) in dirty:
                write_node(out, edge)
            else:
                out._node = edge
        made.append(out)
    if recording:
        if several:
            node.note('outputs', lambda: [(o._array.shape, o._array.dtype) if isinstance(o, Tensor)
                                          and o._node is not None else None for o in made])
        _save(node, outputs, made)
    node._to_save = ()
    return (tuple(made) if isinstance(result, tuple) else made) if several else made[0]


def _save(node, outputs, made):
    """Keeps what forward asked for; its own outputs as arrays, since tensors would own the node that keeps them."""
    from ..ops.definition import SavedOutput
    own = {id(o): k for k, o in enumerate(outputs) if isinstance(o, Tensor)}
    saved = []
    for t in node._to_save:
        k = own.get(id(t))
        if k is None or not isinstance(made[k]._node, (Node, Output)):
            saved.append(t)
        else:
            out = made[k]
            saved.append(SavedOutput(out._array, counter_of(out), k if out._node.__class__ is Output else None))
    node.versions = saved_versions(saved)
    if STATE.saved_hooks:
        from .saved import pack_saved
        saved = pack_saved(node, saved)
    node.saved = tuple(saved)


def once_differentiable(backward):
    """Marks a backward whose result cannot be differentiated again."""
    def once(ctx, *grads):
        before = STATE.grad
        switch_grad(False)
        try:
            results = backward(ctx, *grads)
        finally:
            switch_grad(before)
        if not before or not any(isinstance(g, Tensor) and g.requires_grad for g in grads):
            return results
        listed = results if isinstance(results, tuple) else (results,)
        refused = tuple(_Refusal.apply(r, *[g for g in grads if isinstance(g, Tensor)])
                        if isinstance(r, Tensor) else r for r in listed)
        return refused if isinstance(results, tuple) else refused[0]
    return once


class _Refusal(Function):
    @staticmethod
    def forward(ctx, result, *grads):
        return result

    @staticmethod
    def backward(ctx, *grads):
        raise RuntimeError('trying to differentiate twice a function that was marked with @once_differentiable')


class InplaceFunction(Function):
    """A Function that may work in place (`inplace` argument); historical."""

    def __init__(self, inplace=False):
        self.inplace = inplace
