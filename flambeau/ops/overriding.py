"""Subclasses and foreign classes that answer calls themselves (`__torch_function__`)."""
from __future__ import annotations

import functools

from ..autograd.modes import STATE
from ..tensor import Parameter, Tensor, no_override
from .definition import exports

__all__ = ['Overridden', 'overrides', 'override', 'overridable', 'answered']


class Overridden(Exception):
    """Some argument's class has its own __torch_function__."""


def overrides(value):
    """Whether the value's class answers calls itself (`__torch_function__`)."""
    kind = type(value)
    return kind is not Tensor and kind is not Parameter and STATE.overriding \
        and kind.__torch_function__ is not no_override


def override(function, args, kwargs):
    """Asks the `__torch_function__` of the arguments' classes, subclasses first, as in PyTorch."""
    function, found = _public_form(function), []
    _find_overriding((args, tuple(kwargs.values())), found)
    types = tuple(dict.fromkeys(type(x) for x in found))
    ordered = []
    for kind in types:
        at = next((k for k, other in enumerate(ordered) if issubclass(kind, other)), len(ordered))
        ordered.insert(at, kind)
    for kind in ordered:
        result = kind.__torch_function__(function, types, args, kwargs)
        if result is not NotImplemented:
            return result
    raise TypeError(f"no implementation found for 'torch.{function.__name__}' on types that implement "
                    f'__torch_function__: {[k.__name__ for k in types]}')


def overridable(function):
    """A plain function of a tensor that leaves the answer to the tensor's class where that answers calls itself."""
    @functools.wraps(function)
    def call(*args, **kwargs):
        if not kwargs and args and args[0].__class__ is Tensor:
            return function(*args)
        if args and answered(*args) or kwargs and answered(*kwargs.values()):
            return override(call, args, kwargs)
        return function(*args, **kwargs)
    return call


def answered(*values):
    """Whether the class of one of the values answers calls itself."""
    for value in values:
        kind = type(value)
        if kind is not Tensor and kind is not Parameter and hasattr(kind, '__torch_function__') and overrides(value):
            return True
    return False


def _find_overriding(value, found):
    if isinstance(value, (tuple, list)):
        for v in value:
            _find_overriding(v, found)
    elif hasattr(type(value), '__torch_function__') and overrides(value):
        found.append(value)


def _public_form(function):
    """The public function that an internal operation computes, where that has the same parameters (`_cat`: `cat`)."""
    name = getattr(function, '__name__', '')
    public = None
    if name.startswith('_') and not name.endswith('__'):
        public = exports('torch').get(name.lstrip('_')) or exports('nn.functional').get(name.lstrip('_'))
    code, operation = getattr(public, '__code__', None), getattr(function, 'operation', None)
    if code is None or operation is None or code.co_varnames[:len(operation.positional)] != operation.positional:
        return function
    return public
