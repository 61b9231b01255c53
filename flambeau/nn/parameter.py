"""`Parameter` and `Buffer`: tensors that a module registers when they are assigned to it; those whose shape comes
later.
"""
from __future__ import annotations

from ..ops.creation import empty
from ..tensor import Parameter, Tensor, wrap

__all__ = ['Parameter', 'Buffer', 'UninitializedParameter', 'UninitializedBuffer', 'is_lazy']


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


class UninitializedTensorMixin:
    """A tensor without a shape yet, of a lazy layer; `materialize` gives it one."""

    cls_to_become = None
    _keeping = frozenset({'to', 'cpu', 'cuda', 'float', 'double', 'half', 'bfloat16', 'detach', 'clone', '_to_copy',
                          'cast'})

    def materialize(self, shape, device=None, dtype=None):
        """Becomes an ordinary parameter or buffer of that shape, whose values are not set."""
        self._array = empty(shape, dtype=dtype or self.dtype, device=device)._array
        self.__class__ = self.cls_to_become

    @property
    def shape(self):
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
            '`load_state_dict` when trying to load an uninitialized parameter into an initialized one. Call `forward` '
            'to initialize the parameters before accessing their attributes.')

    def __repr__(self):
        return f'<{type(self).__name__}>'

    def __deepcopy__(self, memo):
        return type(self)(self.requires_grad, dtype=self.dtype)

    def __reduce_ex__(self, protocol):
        return type(self), (self.requires_grad, None, self.dtype)

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        name = getattr(function, '__name__', str(function))
        if name not in cls._keeping:
            raise ValueError(
                f'Attempted to use an uninitialized parameter in {name}. This error happens when you are using a '
                '`LazyModule` or explicitly manipulating `torch.nn.parameter.UninitializedParameter` objects. '
                'When using LazyModules Call `forward` with a dummy batch to initialize the parameters before calling '
                'torch functions')
        before = args[0]
        moved = function(wrap(before._array), *args[1:], **(kwargs or {}))
        return cls(before.requires_grad, dtype=moved.dtype)


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A parameter whose shape the first input of its lazy layer decides."""

    cls_to_become = Parameter

    def __new__(cls, requires_grad=True, device=None, dtype=None):
        return super().__new__(cls, empty(0, dtype=dtype, device=device), requires_grad)

    def __init__(self, requires_grad=True, device=None, dtype=None):
        pass


class UninitializedBuffer(UninitializedTensorMixin, Tensor):
    """A buffer whose shape the first input of its lazy layer decides."""

    cls_to_become = Tensor
    _is_buffer = persistent = True

    def __new__(cls, requires_grad=False, device=None, dtype=None, persistent=True):
        made = Tensor.__new__(cls)
        made._array, made._node, made._counter = empty(0, dtype=dtype, device=device)._array, None, None
        return made

    def __init__(self, requires_grad=False, device=None, dtype=None, persistent=True):
        pass


def is_lazy(value):
    """Whether a parameter or buffer has no shape yet."""
    return isinstance(value, UninitializedTensorMixin)
