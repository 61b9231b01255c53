"""Lets a mode stand in front of public functions while it is on, at no cost while it is off.

A function keeps its identity, under which it is known in many places; what is exchanged is its code. Knows no
operation.
"""
from __future__ import annotations

import types

from . import call, overriding

__all__ = ['replace', 'restore']


def _through(*args, _through, **kwargs):
    return _through(*args, **kwargs)


def replace(function, made):
    """Has `function` call made(plain) from now on, where `plain` does what the function did. Returns what restores it.
    """
    code, scope = function.__code__, function.__globals__
    if code is call._first_call.__code__:  # it writes its own code at its first call, which would undo this
        call.write_entry(scope['operation'], scope['general'], function)
    elif code is overriding._first_call.__code__:
        scope['_write'](function, scope['_body'])
    before = function.__code__, function.__defaults__, function.__kwdefaults__
    plain = types.FunctionType(before[0], scope, function.__name__, before[1])
    plain.__kwdefaults__ = before[2]
    function.__code__, function.__defaults__ = _through.__code__, None
    function.__kwdefaults__ = {'_through': made(plain)}
    return before


def restore(function, before):
    """Undoes `replace`."""
    function.__code__, function.__defaults__, function.__kwdefaults__ = before
