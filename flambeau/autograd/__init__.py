"""Automatic differentiation: backward, grad, custom functions, and the modes that switch recording."""
from __future__ import annotations

import numpy as np

from ..tensor import Tensor, wrap
from .graph import Node, edge_of
from .modes import (enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled, set_multithreading_enabled)

__all__ = ['backward', 'grad', 'Function', 'Variable', 'no_grad', 'enable_grad', 'set_grad_enabled', 'inference_mode',
           'set_multithreading_enabled', 'is_grad_enabled', 'gradcheck', 'gradgradcheck', 'detect_anomaly',
           'set_detect_anomaly', 'functional', 'graph']

_LAZY = {'Function': 'function', 'Variable': 'variable', 'detect_anomaly': 'anomaly', 'set_detect_anomaly': 'anomaly',
         'is_anomaly_enabled': 'anomaly'}
_MODULES = ('functional', 'function', 'variable', 'anomaly', 'saved', 'graph', 'grad_mode')


def __getattr__(name):
    import importlib
    if name in _LAZY:
        value = globals()[name] = getattr(importlib.import_module('.' + _LAZY[name], __name__), name)
        return value
    if name in _MODULES:
        return importlib.import_module('.' + name, __name__)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def _listed(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _tensors(operation, name, value):
    for x in _listed(value):
        if not isinstance(x, Tensor):
            raise TypeError(f"{operation}(): argument '{name}' must be a Tensor or a sequence of them, not "
                            f'{type(x).__name__}')
    return _listed(value)


def _roots(tensors, cotangents, create_graph, operation):
    """Pairs of (edge, cotangent) to begin with; raises where a tensor has nothing to differentiate."""
    roots = []
    for tensor, cotangent in zip(tensors, cotangents):
        edge = edge_of(tensor) if tensor._node is not None else None
        if edge is None:
            raise RuntimeError(
                f'{operation}(): element 0 of tensors does not require grad and does not have a grad_fn: nothing that '
                f'this tensor of shape {list(tensor.shape)} was computed from requires a gradient. Was it computed '
                'under torch.no_grad(), from .detach() or .item(), or do the leaves lack requires_grad=True?')
        if cotangent is None:
            if tensor._array.size != 1:
                raise RuntimeError(f'grad can be implicitly created only for scalar outputs, not for one of shape '
                                   f'{list(tensor.shape)}: reduce it (.sum(), .mean()) or pass gradient=')
            if tensor._array.dtype.kind == 'c':
                raise RuntimeError('grad can be implicitly created only for real scalar outputs but got '
                                   f'{tensor.dtype}')
            cotangent = wrap(np.ones(tensor._array.shape, tensor._array.dtype))
        else:
            cotangent = _fitting(cotangent, tensor, create_graph)
        roots.append((edge, cotangent))
    return roots


def _fitting(cotangent, tensor, create_graph):
    if not isinstance(cotangent, Tensor):
        raise TypeError('gradients can be either Tensors or None, but got ' + type(cotangent).__name__)
    if cotangent._array.shape != tensor._array.shape:
        raise RuntimeError(f'Mismatch in shape: grad_output has a shape of {cotangent.shape} and output has a shape of '
                           f'{tensor.shape}.')
    if cotangent.is_complex() != tensor.is_complex():
        raise RuntimeError('For complex Tensors, both grad_output and output are required to have the same dtype. '
                           f'grad_output is {cotangent.dtype}, output {tensor.dtype}')
    if cotangent._array.dtype != tensor._array.dtype:
        cotangent = cotangent.to(tensor.dtype)
    return cotangent if create_graph else cotangent.detach()


def backward(tensors, grad_tensors=None, retain_graph=None, create_graph=False, grad_variables=None, inputs=None):
    """Accumulates the gradients of `tensors` in the leaves they were computed from.

    `grad_tensors` weighs tensors that are no scalars. With `inputs`, only those leaves receive a gradient.
    Raises RuntimeError where nothing was recorded or the graph was freed.
    """
    tensors = _tensors('backward', 'tensors', tensors)
    cotangents = (None,) * len(tensors) if grad_tensors is None else _listed(grad_tensors)
    if inputs is not None:
        inputs = _listed(inputs)
        if not inputs:
            raise RuntimeError("'inputs' argument to backward() cannot be empty.")
    from .engine import accumulate_into, run_backward
    roots = _roots(tensors, cotangents, create_graph, 'backward')
    if retain_graph is None:
        retain_graph = create_graph
    if inputs is None:
        run_backward(roots, retain_graph, create_graph)
        return
    for gradient, leaf in zip(run_backward(roots, retain_graph, create_graph, _edges(inputs)), inputs):
        if gradient is not None:
            accumulate_into(leaf, gradient)


def _edges(inputs):
    edges = [edge_of(x) if isinstance(x, Tensor) and x._node is not None else None for x in inputs]
    if any(e is None for e in edges):
        raise RuntimeError('One of the differentiated Tensors does not require grad')
    return edges


def grad(outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=False, only_inputs=True,
         allow_unused=None, is_grads_batched=False, materialize_grads=False):
    """The gradients of the sum of `outputs` (weighed by `grad_outputs`) with respect to `inputs`, as a tuple.

    Raises RuntimeError for an input that was not used, unless `allow_unused` (then None) or `materialize_grads`
    (zeros).
    """
    outputs, inputs = _tensors('grad', 'outputs', outputs), _tensors('grad', 'inputs', inputs)
    if not inputs:
        raise RuntimeError('`inputs` argument to `grad()` cannot be empty.')
    cotangents = (None,) * len(outputs) if grad_outputs is None else _listed(grad_outputs)
    if materialize_grads and allow_unused is False:
        raise ValueError('Expected allow_unused to be True or not passed when materialize_grads=True, but got: '
                         'allow_unused=False.')
    if is_grads_batched:
        import flambeau
        rows = [grad(outputs, inputs, [None if c is None else c[k] for c in cotangents], True, create_graph,
                     allow_unused=allow_unused, materialize_grads=materialize_grads)
                for k in range(next(c for c in cotangents if c is not None).shape[0])]
        return tuple(None if column[0] is None else flambeau.stack(column) for column in zip(*rows))
    from .engine import run_backward
    roots = _roots(outputs, cotangents, create_graph, 'grad')
    found = run_backward(roots, create_graph if retain_graph is None else retain_graph, create_graph, _edges(inputs))
    if materialize_grads:
        from .. import zeros_like
        found = [zeros_like(x) if g is None else g for g, x in zip(found, inputs)]
    elif not allow_unused and any(g is None for g in found):
        raise RuntimeError('One of the differentiated Tensors appears to not have been used in the graph. Set '
                           'allow_unused=True if this is the desired behavior.')
    return tuple(found)


from .gradcheck import gradcheck, gradgradcheck  # noqa: E402: a module of the same name, so imported at once
