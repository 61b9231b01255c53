"""Limits on gradients: by the norm of all of them together, or by value. The gradients change in place."""
from __future__ import annotations

import math
import types
import warnings

from ...autograd.modes import no_grad
from ...tensor import Tensor

__all__ = ['clip_grad_norm_', 'clip_grad_norm', 'clip_grad_value_', 'get_total_norm', 'clip_grads_with_norm_']


def listed(tensors):
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


@no_grad()
def get_total_norm(tensors, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """The norm of all values of the tensors, taken as one vector, as a 0-d tensor.

    Raises RuntimeError for a norm that is not finite where `error_if_nonfinite`. `foreach` changes nothing.
    """
    from ... import linalg, stack, tensor
    norm_type = float(norm_type)
    norms = [linalg.vector_norm(t, norm_type) for t in listed(tensors)]
    if not norms:
        return tensor(0.0)
    total = linalg.vector_norm(stack(norms), norm_type)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(f'The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it '
                           'cannot be clipped. To disable this error and scale the gradients by the non-finite norm '
                           'anyway, set `error_if_nonfinite=False`')
    return total


@no_grad()
def clip_grads_with_norm_(parameters, max_norm, total_norm, foreach=None) -> None:
    """Scales the gradients of the parameters by max_norm / total_norm, unless that is above 1."""
    factor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
    for parameter in listed(parameters):
        if parameter.grad is not None:
            parameter.grad.mul_(factor)


def clip_grad_norm_(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """Scales the gradients so that the norm of all of them together is at most `max_norm`; returns the norm before.

    >>> nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    """
    exhausted = isinstance(parameters, types.GeneratorType)
    parameters = listed(parameters)
    if exhausted and not parameters:
        warnings.warn('`parameters` is an empty generator, no gradient clipping will occur.', stacklevel=2)
    gradients = [p.grad for p in parameters if p.grad is not None]
    total = get_total_norm(gradients, norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, total)
    return total


def clip_grad_norm(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """The older name of `clip_grad_norm_`."""
    warnings.warn('`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.',
                  FutureWarning, stacklevel=2)
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite)


@no_grad()
def clip_grad_value_(parameters, clip_value, foreach=None) -> None:
    """Limits every value of the gradients to [-clip_value, clip_value]."""
    limit = float(clip_value)
    for parameter in listed(parameters):
        if parameter.grad is not None:
            parameter.grad.clamp_(min=-limit, max=limit)


_get_total_norm, _clip_grads_with_norm_ = get_total_norm, clip_grads_with_norm_
