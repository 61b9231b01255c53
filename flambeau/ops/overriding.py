"""Subclasses and foreign classes that answer calls themselves (`__torch_function__`)."""
from __future__ import annotations

from ..autograd.modes import STATE
from ..tensor import Parameter, Tensor, no_override

__all__ = ['Overridden', 'overrides', 'override']


class Overridden(Exception):
    """Some argument's class has its own __torch_function__."""


def overrides(value):
    """Whether the value's class answers calls itself (`__torch_function__`)."""
    kind = type(value)
    return kind is not Tensor and kind is not Parameter and STATE.overriding \
        and kind.__torch_function__ is not no_override


def override(function, args, kwargs):
    """Asks the `__torch_function__` of the arguments' classes, subclasses first, as in PyTorch."""
    found = []
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


def _find_overriding(value, found):
    if isinstance(value, (tuple, list)):
        for v in value:
            _find_overriding(v, found)
    elif hasattr(type(value), '__torch_function__') and overrides(value):
        found.append(value)
