"""Parameters as one flat vector, and back."""
from __future__ import annotations

from ...tensor import Tensor
from ..module import type_name

__all__ = ['parameters_to_vector', 'vector_to_parameters']


def parameters_to_vector(parameters):
    """All values of the parameters, in order, in one vector that gradients flow through."""
    from ... import cat
    return cat([parameter.view(-1) for parameter in parameters])


def vector_to_parameters(vec, parameters) -> None:
    """Makes the parameters views of successive parts of a vector.

    Raises RuntimeError, before any parameter is changed, where the vector is too short.
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f'expected torch.Tensor, but got: {type_name(vec)}')
    parts, begin = [], 0
    for parameter in parameters:
        end = begin + parameter.numel()
        parts.append((parameter, vec[begin:end].view_as(parameter).data))
        begin = end
    for parameter, values in parts:
        parameter.data = values
