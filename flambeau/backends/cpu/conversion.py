"""Conversions between types of numbers by generated kernels; what does not fit answers None. Knows no operation."""
from __future__ import annotations

import numpy as np

from ...kernel import conversion
from .build import compiled
from .properties import computes

__all__ = ['converted']

SMALLEST = 1 << 10  # numbers from which on a kernel beats array functions
PART = 1 << 14      # numbers that one thread converts at a time
HALVES = 'float16', 'bfloat16', 'float32'
PAIRS = {(a, b) for a in HALVES for b in HALVES if a != b}  # for others than these, array functions are quick
PAIRS |= {('bool', 'float32'), ('uint8', 'float32'), ('int64', 'float32'), ('bool', 'int64')}


def converted(x, dtype):
    """A copy of the array in another dtype, with the same order of dimensions in memory."""
    if (x.dtype.name, dtype.name) not in PAIRS or x.size < SMALLEST or not (computes(x.dtype) and computes(dtype)):
        return None
    made = np.empty_like(x, dtype)
    if any(n > 1 and a * x.itemsize != b * dtype.itemsize for n, a, b in zip(x.shape, made.strides, x.strides)):
        return None
    compiled(conversion.converted, x.dtype.name, dtype.name)(x, made, x.size, PART)
    return made
