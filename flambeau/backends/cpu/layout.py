"""Copies between arrays of any strides by generated kernels; what does not fit answers None. Knows no operation."""
from __future__ import annotations

import functools
import math

import numpy as np

from ...kernel import layout
from .build import compiled
from .properties import target
from .replay import allocated, noted

__all__ = ['copied', 'dense', 'joined', 'own', 'triangle']

SMALLEST = 1 << 13          # elements from which on a kernel beats array functions
SMALLEST_RUNS = 1 << 18     # bytes from which on it does, by its threads, where elements lie side by side in both
CHUNK = 1 << 14             # elements that one thread copies at a time
SHORTEST_RUN = 32           # bytes of a run
SMALLEST_PLANE = 8          # words side by side from which on turning planes pays
WORDS = (1, 2, 4, 8)


@noted
def own(array):
    """A copy of an array in C order, of any size and type."""
    return np.array(array, order='C')


def dense(array):
    """A copy of an array in C order."""
    if array.size < SMALLEST:
        return None
    made = allocated(array.shape, array.dtype)
    return made if copied(made, array) else None


def joined(arrays, axis):
    """The arrays one behind the other along an axis."""
    first = arrays[0]
    if not -first.ndim <= axis < first.ndim or sum(a.nbytes for a in arrays) < SMALLEST_RUNS:
        return None
    axis %= first.ndim
    shapes = {(a.dtype, *a.shape[:axis], None, *a.shape[axis + 1:]) for a in arrays}
    if len(shapes) > 1:
        return None
    made = np.empty((*first.shape[:axis], sum(a.shape[axis] for a in arrays), *first.shape[axis + 1:]), first.dtype)
    at = 0
    for a in arrays:
        part = made[(slice(None),) * axis + (slice(at, at + a.shape[axis]),)]
        if not copied(part, a):
            part[...] = a
        at += a.shape[axis]
    return made


def triangle(array, diagonal, upper):
    """Matrices with zeros above a diagonal, or where `upper` below it."""
    if array.size < SMALLEST or array.itemsize not in WORDS or array.dtype.hasobject:
        return None
    if not array.flags.c_contiguous:
        array = dense(array)
        if array is None:
            return None
    made = np.empty(array.shape, array.dtype)
    rows, columns = array.shape[-2:]
    compiled(layout.triangle, array.itemsize, upper)(
        array, made, array.size // columns, rows, columns, diagonal, max(1, CHUNK // columns))
    return made


def copied(out, array):
    """Writes the elements of `array` to those of `out`, of its shape and dtype. True where done."""
    size = out.itemsize
    if out.size < SMALLEST or size not in WORDS or out.dtype != array.dtype or out.dtype.hasobject:
        return None
    if min(array.strides) < 0:  # neighbours in the other order, but for those that lie side by side in the copy
        forward = tuple(slice(None, None, -1 if s == -size and p != size else 1)
                        for s, p in zip(array.strides, out.strides))
        out, array = out[forward], array[forward]
    plan = None if np.may_share_memory(out, array) else _plan(out.shape, array.strides, out.strides, size)
    if plan is None:
        return None
    generator, numbers = plan
    compiled(*generator)(array, out, *numbers)
    return True


@functools.lru_cache(maxsize=1024)
def _plan(shape, sources, places, size):
    """(the kernel that copies between arrays of these strides and its options, the numbers to call it with), or None.
    """
    if any(s % size for s in (*sources, *places)):
        return None
    axes = _merged(shape, [s // size for s in sources], [s // size for s in places])
    (n, step, spacing), *others = axes[-1], *axes[:-1]
    if spacing != 1:
        return None
    if step in (1, 0, -1) and n * size >= SHORTEST_RUN:
        outer = _outer(others)
        if outer is None or step == 1 and math.prod(shape) * size < SMALLEST_RUNS:
            return None
        block = max(1, min(outer[layout.OUTER - 1], CHUNK // n))
        return (layout.runs, size, step), (*outer, n, CHUNK, block, max(1, CHUNK // (n * block)))
    along = next((axis for axis in others if axis[1] == 1), None)
    outer = _outer([axis for axis in others if axis is not along])
    if along is None or outer is None or step == 0 or along[0] < SMALLEST_PLANE:
        return None
    columns, _, spacing = along
    side = layout.side(target(), size)
    block = max(side, min(columns, CHUNK // n) // side * side)
    group = max(1, CHUNK // (columns * n)) if block >= columns else 1
    return (layout.turned, size, min(n, columns) < side), (*outer, n, columns, step, spacing, group, block)


def _merged(shape, sources, places):
    """[size, stride, stride of the copy] of axes in the copy's order, those that lie one behind the other as one."""
    axes = []
    for n, source, place in sorted(zip(shape, sources, places), key=lambda axis: -abs(axis[2])):
        if n == 1:
            continue
        if axes and axes[-1][1] == n * source and axes[-1][2] == n * place:
            axes[-1] = [axes[-1][0] * n, source, place]
        else:
            axes.append([n, source, place])
    return axes


def _outer(axes):
    """Sizes and both strides of the axes around, or None where there are too many."""
    if len(axes) > layout.OUTER:
        return None
    axes = [[1, 0, 0]] * (layout.OUTER - len(axes)) + axes
    return [axis[k] for k in range(3) for axis in axes]
