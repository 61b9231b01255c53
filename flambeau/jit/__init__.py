"""`torch.jit`: the marks and questions that models carry for scripting. Nothing is scripted here; functions run as they
are.
"""
from __future__ import annotations

import builtins
from typing import Any, Final

__all__ = ['Final', 'annotate', 'export', 'ignore', 'interface', 'is_scripting', 'is_tracing', 'isinstance', 'unused']


def is_scripting() -> bool:
    """Whether a script compiler reads this function: never."""
    return False


def is_tracing() -> bool:
    """Whether a tracer records this call: never."""
    return False


def ignore(drop: Any = False, **kwargs):
    """Marks a method that a script compiler should leave in Python: `@ignore` or `@ignore(drop=True)`."""
    return drop if callable(drop) else lambda function: function


def unused(fn):
    """Marks a method that a script compiler should replace by an error; here it stays."""
    return fn


def export(fn):
    """Marks a method that a script compiler should compile too."""
    return fn


def interface(obj):
    """Marks a class that describes what other modules offer."""
    return obj


def _overload_method(func):
    return func


def annotate(the_type, the_value):
    """The value; the type is for a script compiler."""
    return the_value


def isinstance(obj, target_type) -> bool:  # noqa: A001: PyTorch's name
    """Whether `obj` is of a type, also of parametrised ones such as `list[int]`, whose elements are looked at."""
    from typing import Union, get_args, get_origin
    from types import UnionType
    if builtins.isinstance(target_type, tuple):
        return any(isinstance(obj, t) for t in target_type)
    origin, parts = get_origin(target_type), get_args(target_type)
    if origin is None:
        return builtins.isinstance(obj, target_type)
    if origin in (Union, UnionType):
        return any(isinstance(obj, t) for t in parts)
    if not builtins.isinstance(obj, origin):
        return False
    if origin is dict:
        return all(isinstance(k, parts[0]) and isinstance(v, parts[1]) for k, v in obj.items())
    if origin is tuple and Ellipsis not in parts:
        return len(obj) == len(parts) and all(map(isinstance, obj, parts))
    return all(isinstance(v, parts[0]) for v in obj)
