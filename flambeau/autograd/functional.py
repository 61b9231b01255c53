"""Derivatives of functions: vjp, jvp, jacobian, hessian, vhp, hvp (torch.autograd.functional)."""
from __future__ import annotations

from ..tensor import Tensor
from . import grad as gradients
from .modes import enable_grad

__all__ = ['vjp', 'jvp', 'jacobian', 'hessian', 'vhp', 'hvp']


def _tuple(name, values):
    listed = tuple(values) if isinstance(values, (tuple, list)) else (values,)
    for k, v in enumerate(listed):
        if not isinstance(v, Tensor):
            raise TypeError(f'The {name} given to a function of autograd.functional must be either a Tensor or a tuple '
                            f'of Tensors but the value at index {k} has type {type(v)}.')
    return listed, isinstance(values, (tuple, list))


def _inputs(inputs, create_graph):
    """Copies of the inputs that gradients are taken with respect to."""
    listed, several = _tuple('inputs', inputs)
    return tuple(x.view_as(x) if create_graph and x.requires_grad else x.detach().requires_grad_()
                 for x in listed), several


def _called(func, inputs):
    outputs, several = _tuple('outputs of the function', func(*inputs))
    return outputs, several


def _vector(v, likes, several, name):
    if v is None:
        if len(likes) != 1 or likes[0].numel() != 1:
            raise RuntimeError(f'The vector v can only be None if the {name} is a single one-element Tensor.')
        return (likes[0].detach().new_ones(likes[0].shape),)
    listed, _ = _tuple('v', v)
    for k, (a, b) in enumerate(zip(listed, likes)):
        if a.shape != b.shape:
            raise RuntimeError(f'v[{k}] has shape {list(a.shape)}, expected the shape {list(b.shape)} of the {name}')
    return listed


def _result(values, several, create_graph):
    values = tuple(v if create_graph else v.detach() for v in values)
    return values if several else values[0]


def _gradients(outputs, inputs, weights, create_graph, strict):
    used = [(o, w) for o, w in zip(outputs, weights) if o.requires_grad]
    if strict and len(used) < len(outputs):
        raise RuntimeError('Output of the function given to autograd.functional does not require gradients: it is '
                           'independent of the inputs, which strict mode does not allow.')
    if not used:
        return tuple(x.new_zeros(x.shape) for x in inputs)
    found = gradients([o for o, _ in used], inputs, [w for _, w in used], retain_graph=True, create_graph=create_graph,
                      allow_unused=True)
    if strict and any(g is None for g in found):
        raise RuntimeError('Some of the inputs do not influence the outputs, which strict mode does not allow.')
    return tuple(x.new_zeros(x.shape) if g is None else g for g, x in zip(found, inputs))


def vjp(func, inputs, v=None, create_graph=False, strict=False):
    """(outputs, vector times Jacobian) of a function at `inputs`."""
    with enable_grad():
        inputs, several = _inputs(inputs, create_graph)
        outputs, several_out = _called(func, inputs)
        weights = _vector(v, outputs, several_out, 'output of the function')
        found = _gradients(outputs, inputs, weights, create_graph, strict)
    return _result(outputs, several_out, create_graph), _result(found, several, create_graph)


def jvp(func, inputs, v=None, create_graph=False, strict=False):
    """(outputs, Jacobian times vector) of a function at `inputs`, by differentiating vector times Jacobian."""
    with enable_grad():
        inputs, several = _inputs(inputs, create_graph)
        outputs, several_out = _called(func, inputs)
        v = _vector(v, inputs, several, 'input of the function')
        weights = tuple(o.detach().new_zeros(o.shape).requires_grad_() for o in outputs)
        found = _gradients(outputs, inputs, weights, True, strict)
        pushed = _gradients(found, weights, v, create_graph, strict)
    return _result(outputs, several_out, create_graph), _result(pushed, several_out, create_graph)


def jacobian(func, inputs, create_graph=False, strict=False, vectorize=False, strategy='reverse-mode'):
    """The Jacobian of a function: for each output and input a tensor of shape output.shape + input.shape."""
    from .. import stack
    with enable_grad():
        inputs, several = _inputs(inputs, create_graph)
        outputs, several_out = _called(func, inputs)
        table = []
        for output in outputs:
            rows = [[] for _ in inputs]
            flat = output.reshape(-1)
            for k in range(flat.numel()):
                found = _gradients((flat[k],), inputs, (flat[k].detach().new_ones(()),), create_graph, strict)
                for row, g in zip(rows, found):
                    row.append(g)
            table.append(tuple(
                (stack(row).reshape(*output.shape, *x.shape) if row else x.new_zeros((*output.shape, *x.shape)))
                for row, x in zip(rows, inputs)))
    table = tuple(tuple(t if create_graph else t.detach() for t in row) for row in table)
    table = tuple(row if several else row[0] for row in table)
    return table if several_out else table[0]


def hessian(func, inputs, create_graph=False, strict=False, vectorize=False, outer_jacobian_strategy='reverse-mode'):
    """The second derivatives of a function with one scalar result."""
    listed, several = _tuple('inputs', inputs)

    def slope(*x):
        out = _scalar(func, x)
        found = _gradients((out,), x, (out.detach().new_ones(out.shape),), True, strict)
        return found if several else found[0]
    return jacobian(slope, inputs, create_graph, strict)


def _scalar(func, inputs):
    out = func(*inputs)
    if not isinstance(out, Tensor):
        raise TypeError(f'the function given to hessian, vhp or hvp must return a Tensor, not {type(out).__name__}')
    if out.numel() != 1:
        raise RuntimeError('The Tensor returned by the function given to hessian, vhp or hvp should contain a single '
                           f'element, got shape {list(out.shape)}')
    return out


def vhp(func, inputs, v=None, create_graph=False, strict=False):
    """(value, vector times Hessian) of a function with one scalar result."""
    with enable_grad():
        inputs, several = _inputs(inputs, create_graph)
        v = _vector(v, inputs, several, 'input of the function')
        out = _scalar(func, inputs)
        slope = _gradients((out,), inputs, (out.detach().new_ones(out.shape),), True, strict)
        found = _gradients(slope, inputs, v, create_graph, strict)
    return _result((out,), False, create_graph), _result(found, several, create_graph)


def hvp(func, inputs, v=None, create_graph=False, strict=False):
    """(value, Hessian times vector) of a function with one scalar result; the Hessian is symmetric, so as `vhp`."""
    return vhp(func, inputs, v, create_graph, strict)
