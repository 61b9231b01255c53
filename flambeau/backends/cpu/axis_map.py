"""Maps of the last two axes of float32 arrays by generated kernels; what does not fit answers None. Knows no operation.

A map (None: identity) has `rows`, `columns` and entries (row, column, weight or None) sorted by row; `first` and
`count` say where those of a row are.
"""
from __future__ import annotations

import functools

import numpy as np

from ...kernel import axis_map
from ...kernel.types import f32
from .build import compiled
from .layout import dense
from .properties import target
from .replay import allocated

__all__ = ['mapped']

MOST_TAPS = 64      # entries of a column
CHUNK = 1 << 14     # elements that one thread makes at a time


def mapped(x, maps):
    """`x` with a map applied to each of its last one or two axes."""
    if len(maps) > 2 or x.dtype != np.float32 or not x.size or all(m is None for m in maps):
        return None
    maps = (None, *maps)[-2:]
    if x.ndim == 4 and not x.flags.c_contiguous and x.transpose(0, 2, 3, 1).flags.c_contiguous:
        return _mapped_channels(x, maps)
    if not x.flags.c_contiguous:
        made = dense(x)
        x = np.ascontiguousarray(x) if made is None else made
    planes, height, width = (1, *x.shape)[-3:] if x.ndim > 1 else (1, 1, x.size)
    shape = x.shape[:-1] if x.ndim == 1 or maps[0] is None else x.shape[:-2] + (maps[0].rows,)
    return _mapped_planes(x, maps, height, width, (*shape, width if maps[1] is None else maps[1].rows))


def _mapped_channels(x, maps):
    """Maps of channels_last images: of rows of a row's channels, then of rows of a whole row."""
    n, channels, *sizes = x.shape
    y = x
    for axis in sorted((0, 1), key=lambda k: maps[k] is not None and maps[k].rows / sizes[k]):
        if maps[axis] is not None:
            after = channels * (sizes[1] if axis == 0 else 1)
            sizes[axis], before = maps[axis].rows, sizes[axis]
            y = _mapped_planes(y, (maps[axis], None), before, after, (n, *sizes, channels))
            if y is None:
                return None
    return y.transpose(0, 3, 1, 2)


def _mapped_planes(x, maps, height, width, shape):
    """Maps of planes of height and width that lie one behind the other, as an array of a shape."""
    rows, columns = (n if m is None else m.rows for n, m in zip((height, width), maps))
    if 0 in (rows, columns) or maps[1] is not None and (width > axis_map.MOST_COLUMNS
                                                        or maps[1].count.max() > MOST_TAPS):
        return None
    row_kind, *row_tables = _rows(maps[0])
    column_kind, taps, pitch, *column_tables = _columns(maps[1])
    y = allocated(shape, np.float32)
    compiled(axis_map.mapped, row_kind, column_kind)(
        x, y, *row_tables, *column_tables, x.size // (height * width), height, width, rows, columns, taps, pitch,
        max(1, CHUNK // columns))
    return y


def _is_copy(m):
    return m.weight is None and m.count.min() == m.count.max() == 1


def _weights(m):
    return np.ones(len(m.row), np.float32) if m.weight is None else m.weight.astype(np.float32)


@functools.lru_cache(maxsize=256)
def _rows(m):
    """(kind, where entries of rows begin, the rows they name, weights, which rows are as the one before)."""
    if m is None:
        return 'same', None, None, None, None
    first = np.append(m.first, len(m.row)).astype(np.int64)
    weights = _weights(m)
    entries = [(m.column[a:z].tobytes(), weights[a:z].tobytes()) for a, z in zip(first, first[1:])]
    repeats = np.array([False, *(a == z for a, z in zip(entries, entries[1:]))], np.int64)
    return 'copy' if _is_copy(m) else 'weighted', first, m.column.astype(np.int64), weights, repeats


@functools.lru_cache(maxsize=256)
def _columns(m):
    """(kind, taps, columns of the tables, named columns by tap, weights, which vectors are neighbours)."""
    if m is None:
        return 'same', 1, 0, None, None, None
    lanes = target().lanes(f32)
    taps, pitch = int(m.count.max()), -(-m.rows // lanes) * lanes
    named, weights = np.full((taps, pitch), -1, np.int32), np.zeros((taps, pitch), np.float32)
    turn = np.arange(len(m.row)) - m.first[m.row]
    named[turn, m.row] = m.column
    weights[turn, m.row] = _weights(m)
    straight = (np.diff(named[0].reshape(-1, lanes)) == 1).all(1).astype(np.int64)
    if not _is_copy(m):
        return 'weighted', taps, pitch, named, weights, straight
    breaks = np.flatnonzero(np.diff(named[0, :m.rows], prepend=-2, append=-2) != 1)  # a run begins at each
    longest = np.diff(breaks).argmax()
    run = breaks[longest:longest + 2]
    if 2 * (run[1] - run[0]) >= m.rows:
        return 'run', taps, pitch, named, weights, run.astype(np.int64)
    return 'copy', taps, pitch, named, weights, straight
