"""`torch.func`: derivatives and batches of functions, and modules as functions of their parameters."""
from __future__ import annotations

from ..nn.utils.stateless import call_with
from .derivatives import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, vjp
from .vmap import vmap

__all__ = ['functional_call', 'grad', 'grad_and_value', 'hessian', 'jacfwd', 'jacrev', 'jvp', 'vjp', 'vmap']


def functional_call(module, parameter_and_buffer_dicts, args=None, kwargs=None, *, tie_weights=True, strict=False):
    """module(*args, **kwargs) with tensors in the place of its parameters and buffers, which it gets back afterwards.

    parameter_and_buffer_dicts: a dict from dotted names to tensors, or several that share no name. tie_weights: a
    tensor given for one name also stands for the others of a shared parameter. strict: all names must be given.
    """
    if isinstance(parameter_and_buffer_dicts, dict):
        tensors = parameter_and_buffer_dicts
    elif isinstance(parameter_and_buffer_dicts, (list, tuple)):
        names = [name for tensors in parameter_and_buffer_dicts for name in tensors]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f'{repeated} appeared in multiple dictionaries; behavior of functional call is ambiguous')
        tensors = {name: tensor for part in parameter_and_buffer_dicts for name, tensor in part.items()}
    else:
        raise ValueError('Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got '
                         f'{type(parameter_and_buffer_dicts)}')
    return call_with(module, tensors, args, kwargs, tie_weights, strict)
