"""Gradients of tables of float32 rows by a generated kernel; what does not fit answers None. Knows no operation."""
from __future__ import annotations

import numpy as np

from ...kernel import embedding
from .build import compiled

__all__ = ['add_rows']

SMALLEST = 1 << 12  # elements from which on a kernel beats array functions


def add_rows(values, rows, count):
    """A table of `count` rows of zeros with values[k] (rows.size, width) added to row rows[k], in the order of k."""
    if values.dtype != np.float32 or values.size < SMALLEST or rows.min() < 0 or rows.max() >= count:
        return None
    table = np.zeros((count, values.shape[1]), np.float32)
    compiled(embedding.add_rows)(table, np.ascontiguousarray(rows, np.int64), np.ascontiguousarray(values), rows.size,
                                 values.shape[1])
    return table
