"""`Variable`, the historical name for tensors in a graph: `Variable(t)` is the tensor, and every tensor is an instance.
"""
from __future__ import annotations

from ..tensor import Tensor

__all__ = ['Variable']


class _VariableMeta(type):
    def __instancecheck__(cls, value):
        return isinstance(value, Tensor)

    def __subclasscheck__(cls, other):
        return issubclass(other, Tensor)


class Variable(metaclass=_VariableMeta):
    """A tensor on the same memory, by the constructor that PyTorch had before 0.4."""

    def __new__(cls, data=None, requires_grad=False, volatile=None):
        if data is None:
            data = Tensor(0)
        if not isinstance(data, Tensor):
            raise TypeError(f'Variable data has to be a tensor, but got {type(data).__name__}')
        out = data.detach()
        return out.requires_grad_() if requires_grad else out
