"""The stable order of arrays along an axis, by a generated radix sort; what does not fit answers None. Knows no
operation.
"""
from __future__ import annotations

import numpy as np

from ...kernel import sorting, types
from .build import compiled
from .conversion import converted
from .launch import get_num_threads
from .layout import dense

__all__ = ['order', 'widened']

SHORTEST, LONGEST = 128, 1 << 31  # of rows of 32-bit numbers: shorter ones are sorted faster by comparing
SMALLEST = 512                    # elements: numbers not seen before, which comparing cannot foretell
LONG = 1 << 13                    # from which on fewer passes over more counts are faster
WIDER = {'bool': 'i4', 'int8': 'i4', 'int16': 'i4', 'uint8': 'i4', 'uint16': 'i4', 'float16': 'f4', 'bfloat16': 'f4'}
KINDS = frozenset(np.dtype(name) for name in ('f4', 'f8', 'i4', 'i8'))


def widened(array):
    """Narrow numbers as those of 32 bits in the same order, others as they are."""
    wide = WIDER.get(types.name_of(array.dtype))
    if wide is None:
        return array
    made = converted(array, np.dtype(wide))
    return array.astype(wide) if made is None else made


def order(array, axis, descending):
    """The indices (int64) that sort along an axis, nan last (first if descending), or None."""
    if not array.ndim or array.size < SMALLEST or not SHORTEST <= array.shape[axis] < LONGEST:
        return None
    array = np.moveaxis(array, axis, -1)
    made = dense(array)
    array = np.ascontiguousarray(array if made is None else made)
    array = widened(array)
    if array.dtype not in KINDS or array.shape[-1] * 4 < SHORTEST * array.itemsize:
        return None
    places = np.moveaxis(_last(array, descending), -1, axis)
    made = dense(places)
    return np.ascontiguousarray(places) if made is None else made


def _last(array, descending):
    n, threads = array.shape[-1], get_num_threads()
    bits = 8 if n < LONG else 11
    places = np.empty(array.shape, np.int64)
    keys = np.empty(threads * 2 * n, f'u{array.itemsize}')
    index, counts = np.empty(threads * 2 * n, np.int32), np.empty(threads << bits, np.int32)
    compiled(sorting.order, 8 * array.itemsize, bits, array.dtype.kind == 'f', bool(descending))(
        array, places, keys, index, counts, threads, array.size // n, n)
    return places
