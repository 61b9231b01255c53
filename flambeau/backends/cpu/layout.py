"""Copies of arrays of any strides in C order, by generated kernels; what does not fit answers None. Knows no operation."""
from __future__ import annotations

import math

import numpy as np

from ...kernel import layout
from .build import compiled
from .properties import target

__all__ = ['dense']

SMALLEST = 1 << 13    # elements from which on a kernel beats array functions
CHUNK = 1 << 14       # elements that one thread copies at a time
SHORTEST_RUN = 64     # bytes side by side from which on they are copied as they are
SMALLEST_PLANE = 8    # words side by side from which on turning planes pays
WORDS = (1, 2, 4, 8)


def dense(array):
    """A copy of an array in C order."""
    size = array.itemsize
    if array.size < SMALLEST or size not in WORDS or array.flags.c_contiguous or array.dtype.hasobject:
        return None
    if any(s % size for s in array.strides):
        return None
    axes = _merged(array.shape, [s // size for s in array.strides])
    (n, step, _), *others = axes[-1], *axes[:-1]
    result = np.empty(array.shape, array.dtype)
    if step == 1 and n * size >= SHORTEST_RUN:
        outer = _outer(others)
        if outer is None:
            return None
        compiled(layout.runs, size)(array, result, *outer, n, max(1, CHUNK // n))
        return result
    along = next((axis for axis in others if axis[1] == 1), None)
    outer = _outer([axis for axis in others if axis is not along])
    if along is None or outer is None or step <= 0 or along[0] < SMALLEST_PLANE:
        return None
    columns, _, spacing = along
    side = layout.side(target(), size)
    block = max(side, min(columns, CHUNK // n) // side * side)
    group = max(1, CHUNK // (columns * n)) if block >= columns else 1
    compiled(layout.turned, size, min(n, columns) < side)(array, result, *outer, n, columns, step, spacing, group, block)
    return result


def _merged(shape, strides):
    """[size, stride, stride in C order] of axes, those that lie one behind the other as one."""
    axes, after = [], math.prod(shape)
    for n, stride in zip(shape, strides):
        after //= n
        if n == 1:
            continue
        if axes and axes[-1][1] == n * stride:
            axes[-1] = [axes[-1][0] * n, stride, after]
        else:
            axes.append([n, stride, after])
    return axes


def _outer(axes):
    """Sizes and both strides of the axes around, or None where there are too many."""
    if len(axes) > layout.OUTER:
        return None
    axes = [[1, 0, 0]] * (layout.OUTER - len(axes)) + axes
    return [axis[k] for k in range(3) for axis in axes]
