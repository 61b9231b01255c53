"""Formulas that only move elements, as a table of where each comes from: a call is then one kernel that reads them.

`moving` finds the table by handing the formula numbers that say where they lie. Knows no kernel by its operation.
"""
from __future__ import annotations


import numpy as np

from ...kernel import indexing
from .arrays import empty_call
from .build import built
from .indexing import LONG, word
from .replay import bit_equal

__all__ = ['moving']

MOST = 1 << 13  # elements that are read one by one: more of them are moved in runs, on all cores
ndarray = np.ndarray


def moving(formula, m, arguments):
    """The function of arguments like these that puts elements where formula(m, *arguments) does, or None.

    The formula takes one array, the first argument; what it answers holds elements of that and of constants only, which
    follow from shapes, strides, dtypes and options.
    """
    x, options = arguments[0], arguments[1:]
    if x.__class__ is not ndarray or not 0 < x.size <= MOST or any(o.__class__ is ndarray for o in options):
        return None
    span = _span(x)
    if span is None or word(x.dtype) is None:
        return None
    numbers = np.arange(2 * span, dtype=np.float64 if x.dtype.kind in 'fV' else np.int64)
    strides = [s // x.itemsize * 8 for s in x.strides]
    try:
        result, first, second = [formula(m, a, *options) for a in (
            x, ndarray(x.shape, numbers.dtype, numbers, 0, strides),
            ndarray(x.shape, numbers.dtype, numbers, 8 * span, strides))]
    except Exception:  # the call itself will say so
        return None
    if result.__class__ is not ndarray or not 0 < result.size <= MOST or not result.flags.c_contiguous or \
            result.dtype is not x.dtype or np.may_share_memory(result, x):
        return None
    replay = _written(x, span, result, first.reshape(-1), second.reshape(-1))
    return replay if bit_equal(replay(*arguments), result) else None


def _span(x):
    """How many elements of memory an array lies on, or None where some are left out of count."""
    if any(s < 0 or s % x.itemsize for s in x.strides):
        return None
    span = 1 + sum([(n - 1) * s for n, s in zip(x.shape, x.strides)]) // x.itemsize
    return span if span <= MOST else None


def _written(x, span, result, first, second):
    """The replay: reads elements into a new array, or into a copy of `result` where that holds constants too."""
    moved = first != second
    places = first[moved].astype(np.int64)
    kernels = {op: built(indexing.elements, word(x.dtype), op, True, False) for op in ('read', 'write')}
    made, scope = empty_call(result.shape, result.dtype, 'y')
    scope |= {**kernels, 'places': places, 'result': result}
    read = f'read(x, places, {{}}, 1, {span}, 1, {places.size}, 0, {LONG}, 1)'
    if moved.all():
        lines = [f'y = {made}', read.format('y')]
    else:
        call, names = empty_call(places.shape, result.dtype, 'z')
        scope |= {**names, 'targets': np.flatnonzero(moved)}
        lines = [f'z = {call}', read.format('z'), 'y = result.copy()',
                 f'write(y, targets, z, 1, {result.size}, 1, {places.size}, 0, {LONG}, 1)']
    exec('def replay(x, *options):\n' + ''.join(f'    {line}\n' for line in (*lines, 'return y')), scope)
    return scope['replay']
