"""`torch.overrides`: what libraries ask about classes that answer calls themselves (`__torch_function__`)."""
from __future__ import annotations

import contextlib
import functools

from .ops.overriding import answered, override
from .tensor import Tensor, no_override

__all__ = ['DisableTorchFunctionSubclass', 'handle_torch_function', 'has_torch_function', 'has_torch_function_unary',
           'has_torch_function_variadic', 'is_tensor_like', 'is_tensor_method_or_property', 'wrap_torch_function']


def has_torch_function(relevant_args) -> bool:
    """Whether the class of one of the arguments answers calls itself.

    >>> has_torch_function((flambeau.ones(2), 3))
    False
    """
    return answered(*relevant_args)


def has_torch_function_unary(obj) -> bool:
    """`has_torch_function` of one argument."""
    return answered(obj)


def has_torch_function_variadic(*relevant_args) -> bool:
    """`has_torch_function` of the arguments."""
    return answered(*relevant_args)


def handle_torch_function(public_api, relevant_args, *args, **kwargs):
    """What the classes of the arguments answer to public_api(*args, **kwargs). Raises TypeError where none does."""
    return override(public_api, args, kwargs)


def wrap_torch_function(dispatcher):
    """Lets a function leave the answer to the arguments that `dispatcher(*args, **kwargs)` returns."""
    def decorate(function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            relevant = dispatcher(*args, **kwargs)
            if has_torch_function(relevant):
                return handle_torch_function(call, relevant, *args, **kwargs)
            return function(*args, **kwargs)
        return call
    return decorate


def is_tensor_like(inp) -> bool:
    """Whether `inp` is a tensor or of a class with `__torch_function__`."""
    return isinstance(inp, Tensor) or hasattr(type(inp), '__torch_function__')


def is_tensor_method_or_property(func) -> bool:
    """Whether a function that `__torch_function__` was told is a method or property of Tensor."""
    name = getattr(func, '__name__', None)
    return name == '__get__' or getattr(Tensor, name or '', None) is func


class DisableTorchFunctionSubclass(contextlib.AbstractContextManager):
    """Within it no class is asked for its answer."""

    def __enter__(self):
        from .autograd.modes import STATE
        self.before, STATE.overriding = STATE.overriding, False

    def __exit__(self, *error):
        from .autograd.modes import STATE
        STATE.overriding = self.before
