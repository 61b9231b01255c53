"""Running sums, products and extremes by generated kernels; what does not fit answers None. Knows no operation."""
from __future__ import annotations

import math

import numpy as np

from ...kernel import scan, types
from .build import compiled
from .properties import computes, target
from .replay import allocated

__all__ = ['extremes', 'values']

# elements of a single row that one lane goes through; no power of two, or they would crowd the cache
BLOCK = 2064
KINDS = frozenset('float32 float64 int64 float16 bfloat16'.split())
WIDE = {types.f32: np.float32, types.f64: np.float64, types.i64: np.int64}  # dtypes of running values
PLACED = frozenset('float32 float64 int32 int64'.split())
IN_BLOCKS = (np.add, np.multiply)


def values(x, axis, ufunc):
    """The elements up to each along an axis, combined by np.add, np.multiply or np.logaddexp."""
    name = types.name_of(x.dtype)
    if not x.size or name not in KINDS or not computes(x.dtype) or ufunc is np.logaddexp and name[0] == 'i':
        return None
    x = np.ascontiguousarray(x)
    kind = types.named(name)
    rows, n = math.prod(x.shape[:axis]), x.shape[axis]
    summed = scan.summed(kind, ufunc.__name__)
    if x.size == rows * n and rows < target().lanes(summed) and n >= BLOCK and ufunc in IN_BLOCKS and (
            summed != kind or not kind.is_float):  # else another order would show
        return _in_blocks(x, rows, n, kind, ufunc)
    y = allocated(x.shape, x.dtype)
    _run(x, axis, y, None, kind, ufunc)
    return y


def extremes(x, axis, ufunc):
    """The np.maximum or np.minimum up to each element along an axis, and the latest places of these."""
    if not x.size or types.name_of(x.dtype) not in PLACED or x.shape[axis] >= 1 << 31:
        return None
    x = np.ascontiguousarray(x)
    y, places = allocated(x.shape, x.dtype), allocated(x.shape, np.int64)
    _run(x, axis, y, places, types.of(x.dtype), ufunc)
    return y, places


def _run(x, axis, y, places, kind, ufunc):
    op = ufunc.__name__
    rows, n = math.prod(x.shape[:axis]), x.shape[axis]
    width = x.size // (rows * n)
    if width > 1:
        compiled(scan.columns, kind, op)(x, y, places, rows, n, width)
    elif rows < target().lanes(scan.summed(kind, op)) or ufunc in IN_BLOCKS and not kind.is_float:
        compiled(scan.few_rows, kind, op)(x, y, places, rows, n)
    else:
        compiled(scan.rows, kind, op, False)(x, y, places, None, rows, n)


def _in_blocks(x, rows, n, kind, ufunc):
    """Few long rows: blocks of them side by side, each from what the blocks before it come to."""
    op = ufunc.__name__
    summed = scan.summed(kind, op)
    blocks = n // BLOCK
    y = allocated((rows, n), x.dtype)
    totals, run = compiled(scan.totals, kind, op), compiled(scan.rows, kind, op, True)
    for source, made in zip(x.reshape(rows, n), y):
        before = allocated(blocks + 1, WIDE[summed])
        before[0] = ufunc.identity
        totals(source, before[1:], blocks, BLOCK)
        ufunc.accumulate(before, out=before)
        run(source, made, None, before, blocks, BLOCK)
        if blocks * BLOCK < n:
            run(source[blocks * BLOCK:], made[blocks * BLOCK:], None, before[blocks:], 1, n - blocks * BLOCK)
    return y.reshape(x.shape)
