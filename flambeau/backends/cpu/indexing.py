"""Index arrays and masks over arrays in C order by generated kernels; what does not fit answers None. Knows no
operation.

Places are int64, and must lie within the array: callers check, since nothing may be written before that.
"""
from __future__ import annotations

import functools
import math

import numpy as np

from ...kernel import indexing, types
from .build import compiled
from .properties import computes
from .replay import allocated, is_noting

__all__ = ['chosen', 'combine', 'combine_rows', 'outside', 'places', 'read', 'spread', 'sum_bags', 'take_rows']

SMALLEST = 1 << 12  # elements from which on writing kernels beat array functions
BLOCK = 256         # columns that a chunk moves for all places
LONG = 1 << 14      # elements or, where their order matters not, places that a chunk moves
PIECE = 1 << 15     # elements of a mask that a chunk goes through
NUMBERS = frozenset('float16 bfloat16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64'.split())


@functools.lru_cache(maxsize=None)
def word(dtype):
    """The type that moves elements of a dtype, or None."""
    return types.named(f'uint{8 * dtype.itemsize}') if dtype.itemsize in (1, 2, 4, 8) and not dtype.hasobject else None


@functools.lru_cache(maxsize=None)
def _number(dtype):
    return types.of(dtype) if dtype.name in NUMBERS and computes(dtype) else None


def _way(ufunc):
    """What a kernel calls combining by a function (None: writing), or None where it cannot."""
    return 'write' if ufunc is None else ufunc.__name__ if ufunc.__name__ in indexing.COMBINE else None


def combine_rows(table, axis, rows, values, ufunc):
    """Writes values (0-d: for all), along an axis one for each of `rows`, to those rows of `table`, or combines them,
    in order. True where done."""
    kind = _number(table.dtype) if ufunc is not None else word(table.dtype)
    n, width = table.shape[axis], math.prod(table.shape[axis + 1:])
    outer = math.prod(table.shape[:axis])
    if (outer * rows.size * width < SMALLEST and not is_noting() or kind is None or values.dtype != table.dtype
            or not rows.size or not table.flags.c_contiguous or _way(ufunc) is None
            or outside(np.ascontiguousarray(rows, np.int64), n)):
        return None
    compiled(indexing.combine_rows, kind, _way(ufunc), 'rows' if values.ndim else 'single')(
        table, np.ascontiguousarray(rows, np.int64), np.ascontiguousarray(values), outer, n, rows.size, width)
    return True


def _elements(x, axis, index, y, kind, op):
    """Runs a kernel where `index` and `x` fit together; False where they do not."""
    if any(n != m for d, (n, m) in enumerate(zip(x.shape, index.shape)) if d != axis):
        return False
    outer, n, width = math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1:])
    count = index.shape[axis]
    each = width == count == 1
    run = compiled(indexing.elements, kind, op, 'each' if each else width == 1, y.ndim == 0)
    index = np.ascontiguousarray(index, np.int64)
    if each:
        run(x, index, y, 1, n, 1, outer, 0, LONG, 1)
    elif width > 1:
        run(x, index, y, outer, n, count, width, count * width, BLOCK, max(1, BLOCK // (count * width)))
    else:
        run(x, index, y, outer, n, 1, count, count, LONG if op == 'read' else count, max(1, LONG // max(1, count)))
    return True


def outside(index, size):
    """Whether some of the int64 or int32 numbers of an index in C order are none of 0 to size - 1."""
    if not index.flags.c_contiguous:
        return None
    return bool(compiled(indexing.outside, types.of(index.dtype))(index, index.size, size))


def read(x, axis, index):
    """The elements that `index` names along an axis, of the same shape but there."""
    kind = word(x.dtype)
    if not index.size or kind is None or not x.flags.c_contiguous:
        return None
    y = allocated(index.shape, x.dtype)
    return y if _elements(x, axis, index, y, kind, 'read') else None


def sum_bags(x, rows, sizes):
    """The sums of the rows of a matrix that `rows`, within it, name: of the first sizes[0] of them, the next sizes[1],
    ...
    """
    kind = _number(x.dtype)
    if kind is None or not x.flags.c_contiguous:
        return None
    width = x.shape[1]
    first = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=first[1:])
    y = np.empty((len(sizes), width), x.dtype)
    block = max(1, LONG * len(sizes) // max(1, rows.size * width))
    compiled(indexing.sum_bags, kind)(x, np.ascontiguousarray(rows, np.int64), first, y, len(sizes), width, block)
    return y


def take_rows(x, axis, rows):
    """The rows of `x` along an axis that `rows`, of any shape, name."""
    width = math.prod(x.shape[axis + 1:])
    outer, n, count = math.prod(x.shape[:axis]), x.shape[axis], rows.size
    if not outer * count * width or not x.flags.c_contiguous or rows.dtype.kind != 'i' or rows.itemsize < 4 or outside(
            np.ascontiguousarray(rows), n):
        return None
    y = allocated(x.shape[:axis] + rows.shape + x.shape[axis + 1:], x.dtype)
    rows = np.ascontiguousarray(rows, np.int64)
    size = width * x.itemsize
    kind = word(x.dtype) if width == 1 or size % 4 else types.u32
    if kind is None:
        return None
    if width == 1:
        compiled(indexing.elements, kind, 'read', True, False)(x, rows, y, outer, n, 1, count, 0, LONG,
                                                               max(1, LONG // count))
    else:
        width = size // kind.bytes
        compiled(indexing.take_rows, kind)(x, rows, y, outer, n, count, width, max(1, LONG // width))
    return y


def combine(x, axis, index, y, ufunc):
    """Writes `y` (0-d: for all) to the places in `x` that `index` names along an axis, or combines it. True where done.
    """
    if axis == 0 and index.ndim > 1 and not any(index.strides[1:]) and x.shape[1:] == index.shape[1:]:
        return combine_rows(x, 0, index[(slice(None),) + (0,) * (index.ndim - 1)], y, ufunc)
    kind = _number(x.dtype) if ufunc is not None else word(x.dtype)
    if not index.size or kind is None or not x.flags.c_contiguous or y.dtype != x.dtype or _way(ufunc) is None:
        return None
    return _elements(x, axis, index, y if y.ndim == 0 else np.ascontiguousarray(y), kind, _way(ufunc)) or None


def _ends(mask, piece):
    """How many elements of a mask are true up to the end of each piece."""
    counts = allocated(-(-mask.size // piece), np.int64)
    compiled(indexing.count)(mask, counts, mask.size, piece)
    return np.cumsum(counts)


def chosen(x, mask):
    """The elements of `x` where a mask of its shape is true."""
    kind = word(x.dtype)
    if mask.size < SMALLEST or kind is None or not (x.flags.c_contiguous and mask.flags.c_contiguous):
        return None
    ends = _ends(mask, PIECE)
    y = allocated(ends[-1], x.dtype)
    compiled(indexing.chosen, kind, 'values', 1)(mask, ends, x, y, mask.size, PIECE, PIECE)
    return y


def spread(x, mask, y):
    """Writes the elements of `y`, as many as are true, to those of `x` where a mask of its shape is true. True where
    done.
    """
    kind = word(x.dtype)
    if mask.size < SMALLEST or kind is None or not (x.flags.c_contiguous
                                                    and mask.flags.c_contiguous) or y.dtype != x.dtype:
        return None
    ends = _ends(mask, PIECE)
    if y.shape != (ends[-1],):
        return None
    compiled(indexing.chosen, kind, 'spread', 1)(mask, ends, x, np.ascontiguousarray(y), mask.size, PIECE, PIECE)
    return True


def places(mask):
    """The places of the true elements of a mask, one in each row."""
    if mask.size < SMALLEST or not 1 <= mask.ndim <= 4 or not mask.flags.c_contiguous:
        return None
    columns = mask.shape[-1] if mask.ndim > 1 else PIECE
    piece = max(1, PIECE // columns) * columns
    ends = _ends(mask, piece)
    made = allocated((ends[-1], mask.ndim), np.int64)
    compiled(indexing.chosen, types.i64, 'places', mask.ndim)(mask, ends, None, made, mask.size, piece, columns,
                                                              *mask.shape[:-1])
    return made
