"""Calls written out: what a formula did with arrays of given shapes, as a function that does it again with others.

A formula whose work follows from shapes, strides, dtypes and options launches the same kernels at every call, and for a
few numbers the Python between its launches takes longer than these. `replayed` runs such a formula twice, notes what is
launched on which arrays, and writes that out. It gives up where anything but a kernel made an array. Knows no kernel.
"""
from __future__ import annotations

import itertools
import math
import struct
import types
from threading import get_ident

import numpy as np

from .arrays import empty_call

__all__ = ['allocated', 'launched', 'noted', 'replayed', 'is_noting', 'bit_equal']

MOST = 1 << 19  # bytes of arguments whose kernels take so long that what goes on between them does not count
ndarray = np.ndarray
_notes = None


class _Notes:
    """What a run of a formula launches, and the arrays that it makes for results."""

    def __init__(self):
        self.thread = get_ident()
        self.made, self.launches = {}, []


class _Otherwise(Exception):
    """A call is more than launches of kernels."""


def is_noting() -> bool:
    """Whether what this thread launches is being noted."""
    return _notes is not None and _notes.thread == get_ident()


def allocated(shape, dtype):
    """np.empty; what a kernel fills must come from here to be made anew when its call is replayed."""
    made = np.empty(shape, dtype)
    if _notes is not None and is_noting():
        _notes.made[id(made)] = made
    return made


def noted(function):
    """A kernel, or a function that runs one, that tells of its calls while they are noted."""
    def launch(*arguments):
        result = function(*arguments)
        if is_noting():
            _notes.launches.append((function, arguments, result))
        return result
    return launch


def launched(function):
    """The function itself, or where launches are being noted, one that tells of its calls."""
    return noted(function) if is_noting() else function


def replayed(formula, m, arguments):
    """The function of arguments like these that launches what formula(m, *arguments) does, or None.

    It answers None itself where a kernel refuses (by answering anything but 0 or None): the formula says why.
    """
    if sum([x.nbytes for x in arguments if x.__class__ is ndarray]) > MOST:
        return None
    arguments = _apart(arguments)
    if arguments is None:
        return None
    runs = []
    for _ in range(2):
        run, result = _noted_run(formula, m, arguments)
        if run is None:
            return None
        runs.append((run, result))
    try:
        script = _Script(arguments, *runs)
    except _Otherwise:
        return None
    return script.written() if bit_equal(script.written(empty=_spoilt)(*arguments), runs[0][1]) else None


def _apart(arguments):
    """The arguments, each array at an address of its own, since later ones may differ where these are one; or None."""
    found, addresses = [], set()
    for x in arguments:
        if x.__class__ is ndarray:
            if not x.size:
                return None
            if x.ctypes.data in addresses:
                strides, x = x.strides, x.copy('K')
                if x.strides != strides:
                    return None
            addresses.add(x.ctypes.data)
        found.append(x)
    return found


def _spoilt(sizes, dtype):
    """An array of nothing that a formula would leave there."""
    shape = struct.unpack(f'{len(sizes) // 8}q', sizes)[1:]
    return np.full(math.prod(shape) * dtype.itemsize, 255, np.uint8).view(dtype).reshape(shape)


def bit_equal(result, again):
    """Whether a replay answers, bit for bit, what the formula did: what is not told of fills no array here."""
    if again.__class__ is tuple:
        return result.__class__ is tuple and all(map(bit_equal, result, again))
    return result is again if again is None or result is None else result.tobytes() == again.tobytes()


def _noted_run(formula, m, arguments):
    global _notes
    if _notes is not None:
        return None, None
    _notes = notes = _Notes()
    try:
        return notes, formula(m, *arguments)
    except Exception:  # the call itself will say so
        return None, None
    finally:
        _notes = None


class _Script:
    """The text of a replay, from two runs: an array that no kernel filled is a constant if both used the same one."""

    def __init__(self, arguments, first, second):
        (self.notes, self.result), (other, _) = first, second
        if [f for f, *_ in self.notes.launches] != [f for f, *_ in other.launches] or not self.notes.launches:
            raise _Otherwise
        self.arguments = arguments
        self.scope, self.lines = {'ndarray': ndarray}, []
        self.known = {}  # address: (name, array); a kernel is given addresses
        for k, x in enumerate(arguments):
            if x.__class__ is ndarray:
                self.known[x.ctypes.data] = f'x{k}', x
        self.inputs = set(self.known)
        for number, ((function, given, result), (_, again, _)) in enumerate(zip(self.notes.launches, other.launches)):
            self._launch(number, function, given, again, result)
        several = self.result.__class__ is tuple
        answers = [self._answer(x) for x in (self.result if several else (self.result,))]
        self.lines.append(f'    return ({", ".join(answers)},)' if several else f'    return {answers[0]}')

    def _launch(self, number, function, given, again, result):
        words = []
        for x, same in zip(given, again, strict=True):
            words.append(self._array(x, same, function) if x.__class__ is ndarray else self._number(x, same))
        call = f'f{number}({", ".join(words)})'
        self.scope[f'f{number}'] = function
        if result.__class__ is ndarray or result.__class__ is tuple:
            targets = [self._result(x, f'y{number}_{k}') for k, x in enumerate(
                result if result.__class__ is tuple else (result,))]
            self.lines.append(f'    {", ".join(targets)}{"," if result.__class__ is tuple else ""} = {call}')
        elif result:
            raise _Otherwise
        else:
            self.lines.append(f'    {call}' if result is None else f'    if {call}: return None')

    def _number(self, x, same):
        """What is told of a number, of None, or of several of them."""
        if x.__class__ is tuple:
            if len(x) != len(same):
                raise _Otherwise
            return f'({"".join(self._number(*pair) + ", " for pair in zip(x, same))})'
        if x is not None and not isinstance(x, (int, float, np.integer)) or x != same and x == x:
            raise _Otherwise
        return f'float({str(x)!r})' if isinstance(x, float) and not math.isfinite(x) else str(x)

    def _result(self, x, name):
        """The name of an array that a call answers."""
        if x is None:
            return '_'
        if x.__class__ is not ndarray:
            raise _Otherwise
        self.known[x.ctypes.data] = name, x
        return name

    def _array(self, x, same, function):
        """What a launch's array is called: an argument, a result before it, one made to be filled, or a constant.

        To a kernel an array is an address; other functions may look at its shape.
        """
        address = x.ctypes.data
        if address in self.known:
            name, array = self.known[address]
            if function.__class__ is types.BuiltinFunctionType or array.shape == x.shape and array.strides == x.strides:
                return name
            if array.size == x.size:
                again = array.reshape(x.shape)
                if again.strides == x.strides and again.ctypes.data == address:
                    return f'{name}.reshape({x.shape})'
            if not array.flags.forc or array.dtype.kind == 'V' or x.dtype != array.dtype or min(x.strides, default=0) < 0:
                raise _Otherwise
            return f'ndarray({x.shape}, {name}.dtype, {name}, 0, {x.strides})'
        name = f'a{len(self.known)}'
        if id(x) not in self.notes.made and id(x.base) in self.notes.made and x.base.ctypes.data == address:
            x = same = x.base
        if id(x) in self.notes.made:
            call, names = empty_call(x.shape, x.dtype, name)
            self.lines.append(f'    {name} = {call}')
            self.scope |= names
        elif x is same:
            self.scope[name] = x
        else:
            raise _Otherwise
        self.known[address] = name, x
        return name

    def _answer(self, x):
        """What to answer for a result: an array that was filled, under another shape perhaps."""
        if x is None:
            return 'None'
        address = x.ctypes.data if x.__class__ is ndarray and x.size else None
        if address not in self.known or address in self.inputs or self.known[address][0] in self.scope:
            raise _Otherwise
        name, made = self.known[address]
        if made is x:
            return name
        if made.dtype != x.dtype or made.size != x.size:
            raise _Otherwise
        if made.flags.c_contiguous and x.flags.c_contiguous:
            return name if made.shape == x.shape else f'{name}.reshape({x.shape})'
        for order in itertools.permutations(range(made.ndim)):
            turned = made.transpose(order)
            if turned.shape == x.shape and turned.strides == x.strides:
                return f'{name}.transpose({order})'
        raise _Otherwise

    def written(self, **others):
        """The function; `others`: what to call by a name instead of what is called there."""
        given = ', '.join(f'x{k}' for k in range(len(self.arguments)))
        scope = {**self.scope, **others}
        exec(f'def replay({given}):\n' + '\n'.join(self.lines), scope)
        return scope['replay']
