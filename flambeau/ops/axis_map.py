"""Sparse matrices that act on one axis of an array.

Interpolation, reflecting or replicating padding and pooling into unequal bins are separable linear maps: a short
weighted sum of input elements for every output element of an axis. The gradient of such a map is its transpose.
Whole numbers of one byte are rounded after each axis, as PyTorch does for images.
This module knows nothing of where the indices and weights come from.
"""
from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from .. import dtypes
from .batching import side_by_side
from .definition import HALF_ARRAYS, opaque
from .reference import REFERENCE
from .windows import chunks


def progression(index: np.ndarray):
    """`index` as a slice where its elements are evenly spaced and increasing."""
    if len(index) > 1 and index[1] > index[0] and np.ptp(np.diff(index)) == 0:
        return slice(int(index[0]), int(index[-1]) + 1, int(index[1] - index[0]))
    return index


class AxisMap:
    """A matrix of shape (`rows`, `columns`) given by its entries; entries at the same place add up.

    `weight` is None where all entries are one, as for copies.
    """

    def __init__(self, rows: int, columns: int, row: np.ndarray, column: np.ndarray, weight: np.ndarray | None = None):
        order = np.argsort(row, kind='stable')
        self.rows, self.columns = rows, columns
        self.row, self.column = row[order], column[order]
        self.weight = None if weight is None else weight[order]
        self.count = np.bincount(self.row, minlength=rows)
        self.first = np.cumsum(self.count) - self.count

    @cached_property
    def transpose(self) -> 'AxisMap':
        return AxisMap(self.columns, self.rows, self.column, self.row, self.weight)

    @cached_property
    def _taps(self) -> list:
        """(whether all rows have one, rows, columns, weights) of the first entry of every row, the second..."""
        found = []
        for k in range(int(self.count.max(initial=0))):
            rows = np.flatnonzero(self.count > k)
            entry = self.first[rows] + k
            found.append((len(rows) == self.rows, progression(rows), progression(self.column[entry]),
                          None if self.weight is None else self.weight[entry]))
        return found

    def __call__(self, x: np.ndarray, axis: int) -> np.ndarray:
        """Replaces `axis`, of `columns` elements, by `rows` elements; in the dtype of `x`."""
        if self.count.max(initial=0) > self.rows:
            return self._by_rows(x, axis)
        lead, shape = (slice(None),) * axis, (-1,) + (1,) * (x.ndim - axis - 1)
        y = None
        for whole, rows, column, weight in self._taps:
            part = x[(*lead, column)] if column.__class__ is slice else x.take(column, axis)
            if weight is not None:
                part = np.multiply(part, weight.reshape(shape).astype(x.dtype, copy=False),
                                   out=None if column.__class__ is slice else part)
            if y is None:
                if whole:
                    y = part.copy() if part.base is not None else part
                    continue
                y = np.zeros(x.shape[:axis] + (self.rows,) + x.shape[axis + 1:], x.dtype)
            y[(*lead, slice(None) if whole else rows)] += part
        return np.zeros(x.shape[:axis] + (self.rows,) + x.shape[axis + 1:], x.dtype) if y is None else y

    def _by_rows(self, x, axis):
        """Few rows of many entries, one row at a time."""
        y = np.zeros(x.shape[:axis] + (self.rows,) + x.shape[axis + 1:], x.dtype)
        shape = (-1,) + (1,) * (x.ndim - axis - 1)
        for i, (first, count) in enumerate(zip(self.first, self.count)):
            part = x.take(self.column[first:first + count], axis)
            if self.weight is not None:
                part *= self.weight[first:first + count].reshape(shape).astype(x.dtype, copy=False)
            y[(slice(None),) * axis + (i,)] = part.sum(axis)
        return y


def apply_maps(x: np.ndarray, maps) -> np.ndarray:
    """Applies one map (None: identity) to each of the trailing axes of `x`; half precision sums in float32."""
    dtype, first = x.dtype, x.ndim - len(maps)
    steps = [(m.rows / max(m.columns, 1), -axis if m.rows > m.columns else axis, axis, m)
             for axis, m in enumerate(maps, first) if m is not None]
    weighted = any(m is not None and m.weight is not None for m in maps)
    if weighted and dtype.kind in 'iub' and dtype != np.uint8:
        raise NotImplementedError(f'interpolation is not implemented for {dtype.name}: convert it, as with .float()')
    if not steps:
        return x.copy()
    if weighted and dtype in HALF_ARRAYS:
        return REFERENCE.cast(apply_maps(REFERENCE.cast(x, dtypes.float32), maps), dtypes.of(dtype))
    made = REFERENCE.kernel('axis_map.mapped', x, maps)
    if made is not None:
        return made
    if weighted and dtype.itemsize == 1:
        x = x.astype(np.float32)
    steps.sort(key=lambda step: step[:2])  # shrinking axes first: the least work
    spatial = x.shape[first:]
    out = tuple(n if m is None else m.rows for n, m in zip(spatial, maps))
    planes = x.reshape((math.prod(x.shape[:first]),) + spatial)
    result = np.empty(planes.shape[:1] + out, dtype)
    for chunk in chunks(len(planes), x.itemsize * math.prod(map(max, spatial, out))):
        part = planes[chunk]
        for *_, axis, m in steps:
            part = m(part, axis - first + 1)
            if weighted and dtype.kind == 'u':
                part = np.clip(np.rint(part), 0, np.iinfo(dtype).max)
        result[chunk] = part
    return result.reshape(x.shape[:first] + out)


@opaque(namespace='', method=False, batch=side_by_side, replay=True, grad={
    'input': lambda m, g, maps: m._apply_maps(g, tuple(a and a.transpose for a in maps))})
def _apply_maps(m, input, maps):
    """`apply_maps`; the gradient applies the transposed maps."""
    return apply_maps(input, maps)
