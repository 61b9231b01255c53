"""The array library of this device kind, and what travels to and from the host. Knows no operation and no tensor."""
from __future__ import annotations

import importlib
import warnings

import numpy as xp

__all__ = ['xp', 'special', 'to_host', 'from_host', 'driver', 'signature', 'viewed', 'view_plan', 'joined']

# Divisions by zero, overflows and the like give inf and nan, as in PyTorch, and are no event worth a message.
warnings.filterwarnings('ignore', category=RuntimeWarning, module=r'flambeau(\.|$)')


def special():
    """The library of special functions over these arrays."""
    import scipy.special
    return scipy.special


def to_host(array):
    """The array as one of NumPy's."""
    return array


def from_host(array):
    return array


def driver(name):
    """The function over arrays in front of generated kernels, by 'module.function' of this folder.

    It answers None where the reference must do the work: always, where kernels cannot be generated.
    """
    from .properties import jit_is_on
    if not jit_is_on():
        return lambda *arguments: None
    module, _, function = name.partition('.')
    return getattr(importlib.import_module('.' + module, __package__), function)


def signature():
    """signature(arguments...): a key that tells apart arrays of different dtypes, shapes or strides, and nothing else.
    """
    found = _builtin('signature')
    return found or (lambda *arguments: tuple([(x.shape, x.strides, x.dtype) if x.__class__ is xp.ndarray else 0
                                               for x in arguments]))


def viewed():
    """viewed(array, plan): the view of an array that `view_plan` made a plan of; None where views are made by formulas.
    """
    return _builtin('viewed')


def view_plan(view, source):
    """The plan of a view for arrays of the shape and strides of `source`; None where it is no view of its memory."""
    from .arrays import view_plan
    return view_plan(view, source)


def joined():
    """joined(list of arrays, axis, fresh): few dense arrays in one, along a new axis if `fresh` is 1; else None."""
    return _builtin('joined') or (lambda arrays, axis, fresh: None)


def _builtin(name):
    from .properties import jit_is_on
    if not jit_is_on():
        return None
    from .arrays import builtins
    return builtins()[name]
