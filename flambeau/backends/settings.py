"""A module whose switches keep their type: what `torch.backends.cudnn.benchmark = True` sets. Knows no setting."""
from __future__ import annotations

import contextlib
import sys
import types

__all__ = ['Settings', 'check_switches', 'changed']


def check(owner, name: str, value) -> None:
    """Raises RuntimeError where `value` would put something else in the place of True or False."""
    if isinstance(getattr(owner, name, None), bool) and not isinstance(value, bool):
        raise RuntimeError(f'{name} expects a bool, but got {type(value).__name__}: set it to True or False')


class _Switches(types.ModuleType):
    def __setattr__(self, name, value):
        check(self, name, value)
        super().__setattr__(name, value)


def check_switches(module: str) -> None:
    """From now on an assignment to a boolean of the module named `module` must be boolean."""
    sys.modules[module].__class__ = _Switches


class Settings:
    """Named settings, and no other attributes; booleans stay boolean."""

    def __init__(self, **settings):
        vars(self).update(settings)

    def __setattr__(self, name, value):
        if name not in vars(self):
            raise AttributeError(f'Unknown attribute {name}; there are {", ".join(vars(self))}')
        check(self, name, value)
        vars(self)[name] = value

    def __repr__(self):
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


@contextlib.contextmanager
def changed(owner, **settings):
    """Context in which `owner` has these settings; they are checked before the first is set."""
    before = {name: getattr(owner, name) for name in settings}
    for name, value in settings.items():
        check(owner, name, value)
    for name, value in settings.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)
