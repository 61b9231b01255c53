"""Exceptions of refused arguments, and the description of a call that an error message ends with.

Formulas raise these for a mistake of the caller that PyTorch answers with ValueError or TypeError. A plain ValueError
or TypeError out of an array library means that shapes or dtypes did not fit; `call.py` turns it into the RuntimeError
that PyTorch raises, and names the operation and what met.
"""
from __future__ import annotations

import sys
import warnings

__all__ = ['require_tensors', 'OutOfMemory', 'ArgumentError', 'ArgumentTypeError', 'LinAlgError', 'describe_call',
           'describe_value', 'tell_call', 'warn']


class ArgumentError(ValueError):
    """A value that an operation refuses; reaches the caller as it is."""


class ArgumentTypeError(TypeError):
    """An argument of a type that an operation refuses; reaches the caller as it is."""


class OutOfMemory(MemoryError, RuntimeError):
    """Memory ran out in an operation."""


class LinAlgError(RuntimeError):
    """A matrix that linear algebra cannot go on with: singular, not positive-definite, without convergence."""


def describe_value(value) -> str:
    """A tensor as its dtype and shape, a list by its elements, anything else as its repr, shortened."""
    array = getattr(value, '_array', value)
    if hasattr(array, 'dtype') and hasattr(array, 'shape'):
        return f'{array.dtype.name}{list(array.shape)}'
    if isinstance(value, (list, tuple)):
        shown = ', '.join(describe_value(v) for v in value[:6])
        return f'[{shown}{", ..." if len(value) > 6 else ""}]'
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + '...'


def describe_call(name: str, parameters, values) -> str:
    """`add(input=float32[2, 3], other=2)`: for the end of an error message."""
    return f'{name.strip("_")}({", ".join(f"{p}={describe_value(v)}" for p, v in zip(parameters, values))})'


def tell_call(error, name, parameters, values):
    """Ends the message of an error of PyTorch's kind with the call it came from, unless it tells that already.

    An error that passes through several operations, one computed by another, names each of them once, outwards.
    """
    if len(error.args) == 1 and isinstance(error.args[0], str) and isinstance(error, TOLD):
        call = f', in {describe_call(name, parameters, values)}'
        if call not in error.args[0]:
            error.args = error.args[0] + call,


TOLD = (RuntimeError, IndexError, ArgumentError, ArgumentTypeError)


def require_tensors(name, **arguments):
    """Raises TypeError for the first argument of operation `name` that is no tensor."""
    for position, (label, value) in enumerate(arguments.items(), 1):
        if not hasattr(value, '_array'):
            raise TypeError(f"{name}(): argument '{label}' (position {position}) must be Tensor, not "
                            f'{type(value).__name__}')


def warn(message, category=UserWarning):
    """A warning at the line of the user's program that led here."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and (frame.f_globals.get('__name__', '').startswith('flambeau.')
                                        or frame.f_code.co_filename.startswith('<flambeau.')):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
