"""Modules made without drawing initial values."""
from __future__ import annotations

import inspect

from ..module import Module

__all__ = ['skip_init']


def skip_init(module_cls, *args, **kwargs):
    """A module of a class whose parameters hold arbitrary values, for one that is to be loaded at once.

    Random generators stand as before. Raises RuntimeError for a class without a `device` argument.
    """
    from ...random import fork_rng
    if not issubclass(module_cls, Module):
        raise RuntimeError(f'Expected a Module; got {module_cls}')
    if 'device' not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    with fork_rng():
        return module_cls(*args, **kwargs)
