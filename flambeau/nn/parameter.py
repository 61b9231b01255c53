"""`Parameter` and `Buffer`: tensors that a module registers when they are assigned to it."""
from __future__ import annotations

from ..tensor import Parameter, Tensor

__all__ = ['Parameter', 'Buffer']


class _BufferType(type(Tensor)):
    def __instancecheck__(cls, instance):
        return isinstance(instance, Tensor) and getattr(instance, '_is_buffer', False)


class Buffer(Tensor, metaclass=_BufferType):
    """A tensor that becomes a buffer when it is assigned to a module; persistent: it is part of the state dict.

    The result is a plain tensor on the same memory that carries a mark, so operations see nothing unusual.
    """

    def __new__(cls, data=None, *, persistent=True):
        if data is None:
            data = Tensor(0)
        tensor = data.detach().requires_grad_(data.requires_grad)
        tensor._is_buffer = True
        tensor.persistent = persistent
        return tensor
