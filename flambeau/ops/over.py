"""Functions written over an array of the formula's own: much of a small computation's time is the memory it takes.

For formulas over any `m`: on tensors, which record, the same functions give new ones.
"""
from __future__ import annotations

import numpy as np

from .reference import REFERENCE

__all__ = ['over']


def _sigmoid(x):
    np.multiply(x, -1, x)  # np.negative over a strided array itself is wrong in NumPy 2.4
    np.exp(x, x)
    np.add(x, 1, x)
    return np.reciprocal(x, x)


def _where(x, condition, other):
    np.copyto(x, other, where=~condition)
    return x


OVER = {name: lambda x, y, function=function: function(x, y, out=x) for name, function in {
    'add': np.add, 'sub': np.subtract, 'mul': np.multiply, 'div': np.true_divide}.items()}
OVER |= {'exp': lambda x: np.exp(x, x), 'tanh': lambda x: np.tanh(x, x), 'sigmoid': _sigmoid,
         'relu': lambda x: np.maximum(x, 0, out=x), 'kept': _where}


def over(m, name, x, *others):
    """m.name(x, ...), written over x where that is an array. 'kept': x where a condition holds, else a number."""
    if m is REFERENCE:
        return OVER[name](x, *others)
    return m.where(others[0], x, others[1]) if name == 'kept' else getattr(m, name)(x, *others)
