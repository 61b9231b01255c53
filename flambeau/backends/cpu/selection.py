"""Extremes along an axis, the first few of rows in order and places in sorted rows, by generated kernels.

What does not fit answers None. Knows no operation.
"""
from __future__ import annotations

import math

import numpy as np

from ...kernel import selection, types
from .build import compiled
from .layout import dense
from .properties import computes, target
from .replay import allocated, noted
from .sorting import widened

__all__ = ['extremes', 'ranked', 'searched', 'top']

COMPARED = frozenset('float16 bfloat16 float32 float64 int32 int64'.split())
NARROWEST = 8       # columns from which on they are compared side by side
SEARCHED = COMPARED - {'float16', 'bfloat16'}
FEWEST = 1 << 11    # values from which on they are searched for side by side
ROOM = 32           # elements more than are asked for, so that a bound need not be exact
SHORT = 512         # elements of rows that are sorted as a whole
CHUNK = 1 << 14     # elements that one thread looks at in short rows
PLACES = np.uint64(2 ** 32 - 1)  # the bits of a key that say where it stands
LONGEST = 1 << 31   # of rows, whose places are numbers of 32 bits


def extremes(x, axis, largest, values):
    """(the largest or smallest along an axis, or None unless `values`, the first places of these), without that axis.
    """
    if types.name_of(x.dtype) not in COMPARED or not computes(x.dtype) or not x.flags.c_contiguous \
            or x.shape[axis] >= LONGEST:
        return None
    outer, n, width = math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1:])
    if width < NARROWEST:
        return None
    shape = x.shape[:axis] + x.shape[axis + 1:]
    best, places = allocated(shape, x.dtype) if values else None, allocated(shape, np.int64)
    compiled(selection.extremes, types.of(x.dtype), bool(largest))(x, best, places, outer, n, width, int(values))
    return best, places


def ranked(x, k, axis, largest):
    """(the `k` first of short rows in order, their places); equal ones in the order of places."""
    n = x.shape[axis]
    if types.name_of(x.dtype) not in SEARCHED or not 0 < k <= n <= selection.FEW or x.size // n * k == 0:
        return None
    rows = np.ascontiguousarray(np.moveaxis(x, axis, -1)) if axis != x.ndim - 1 else np.ascontiguousarray(x)
    values, places = allocated((*rows.shape[:-1], k), x.dtype), allocated((*rows.shape[:-1], k), np.int64)
    compiled(selection.ranked, types.of(x.dtype), bool(largest))(
        rows, values, places, x.size // n, n, k, max(1, CHUNK // (n * n)))
    if axis == x.ndim - 1:
        return values, places
    return tuple(np.ascontiguousarray(np.moveaxis(a, -1, axis)) for a in (values, places))


def top(x, k, axis, largest):
    """The places of the `k` first along an axis in order; equal ones in the order of places."""
    n = x.shape[axis]
    per_segment = selection.slots(target())
    segments = max(1, -(-4 * k // per_segment))
    is_short = n <= SHORT
    if not 0 < k or not is_short and 2 * segments * per_segment > n or n >= LONGEST:
        return None
    last = axis in (-1, x.ndim - 1)
    if not (last and x.flags.c_contiguous):
        x = np.moveaxis(x, axis, -1)
        made = dense(x)
        x = np.ascontiguousarray(x if made is None else made)
    x = widened(x)
    if x.dtype not in (np.float32, np.int32):
        return None
    rows, options = x.size // n, (x.dtype == np.float32, bool(largest))
    if is_short:
        found = allocated((rows, n), np.uint64)
        compiled(selection.keyed, *options)(x, found, rows, n, max(1, CHUNK // n))
    else:
        found = _reaching(x, k, rows, n, options, segments, per_segment)
    if found is None:
        return None
    places = _first(found, k).reshape(*x.shape[:-1], k)
    return places if last else np.ascontiguousarray(np.moveaxis(places, -1, axis))


@noted
def _first(found, k):
    """The places in the `k` lowest keys of each row, in order."""
    found.sort(1)
    return (found[:, :k] & PLACES).astype(np.int64)


def _reaching(x, k, rows, n, options, segments, per_segment):
    """Of each row all that may be among the first `k`, with their keys, or None where these are too many."""
    best = allocated((rows, segments * per_segment), np.uint32)
    length = -(-n // (segments * per_segment)) * per_segment
    compiled(selection.bests, *options)(x, best, rows, n, segments, length)
    best.partition(k - 1, 1)
    room = 2 * k + ROOM
    found, counts = allocated((rows, room), np.uint64), allocated(rows, np.int64)
    compiled(selection.reaching, *options)(
        x, np.ascontiguousarray(best[:, k - 1]), found, counts, rows, n, k, room)
    most = counts.max()
    return found[:, :most] if most <= room else None


def searched(bounds, values, right):
    """Where values would be put into sorted rows (one for all, or one for each row of values), as int64."""
    n, count = bounds.shape[-1], values.shape[-1] if values.ndim else 1
    if values.size < FEWEST or types.name_of(values.dtype) not in SEARCHED or bounds.dtype != values.dtype \
            or not 0 < n < LONGEST:
        return None
    rows = bounds.size // n
    if rows == 1:
        count = values.size
    made = allocated(values.shape, np.int64)
    compiled(selection.searched, types.of(values.dtype), bool(right))(
        np.ascontiguousarray(bounds), np.ascontiguousarray(values), made, rows, n, count, int(rows == 1), CHUNK)
    return made
