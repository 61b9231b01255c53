"""Publishes plain functions over public operations, with `out=` and the answers of other tensor classes.

What such a function returns is written into `out=` when there is one. Knows no operation.
"""
from __future__ import annotations

import functools
import types

from ..tensor import Tensor
from .definition import export, exports, publish
from .overriding import LENIENT, TENSOR, TENSORS, refuse_other
from .results import return_type
from .writing import deliver

__all__ = ['published', 'also', 'namespace_getter']


def published(namespace='torch', method=False, name=None, aliases=(), returns=None):
    """`export` for a function of tensors: adds `out=`, and refuses arguments that are no tensors.

    That is a TypeError. With `returns`, field names, a tuple of results
    becomes the named tuple that torch.return_types has for it.
    """
    def decorate(function):
        title = name or function.__name__.strip('_')
        wrapped = return_type(f'linalg_{title}' if namespace == 'linalg' else title, returns) if returns else None
        first = function.__code__.co_varnames[0]
        required = [(k, p) for k, p in enumerate(function.__code__.co_varnames[:function.__code__.co_argcount - len(
            function.__defaults__ or ())]) if p in TENSORS and p not in LENIENT]
        told = types.SimpleNamespace(name=title, returns=None)

        @functools.wraps(function)
        def call(*args, out=None, **kwargs):
            if not args and 'input' in kwargs and first != 'input':
                args = kwargs.pop('input'),
            for position, parameter in required:
                value = args[position] if position < len(args) else kwargs.get(parameter, told)
                if type(value) not in TENSOR and value is not told and not isinstance(value, Tensor):
                    refuse_other(title, parameter, position + 1, value)
            result = function(*args, **kwargs)
            if out is not None:
                result = deliver(told, result, out)
            return result if wrapped is None else wrapped(*result)
        call.__name__ = call.__qualname__ = title
        return export(namespace, method, title, aliases)(call)
    return decorate


def also(namespace, **functions):
    """Publishes functions that exist elsewhere under names of another namespace."""
    for name, function in functions.items():
        publish(function, (name,), namespace.split(), False)


def namespace_getter(module, namespace, *families):
    """(`__getattr__`, `__dir__`) of a module that stands for a namespace; loads its families of operations."""
    from . import load
    load(*families)

    def get(name):
        if name in exports(namespace):
            return exports(namespace)[name]
        raise AttributeError(f'module {module!r} has no attribute {name!r}')
    return get, lambda: sorted(exports(namespace))
