"""Attention by generated kernels: how queries and keys are divided, and where heads and masks lie in memory.

float32 and float64 in any layout whose features lie side by side; what does not fit answers None. Knows no operation.
"""
from __future__ import annotations

import functools
import math

import numpy as np

from ...kernel import attention
from ...kernel.tiles import tile_rows
from ...kernel.types import name_of
from .build import compiled
from .launch import get_num_threads
from .properties import target
from .replay import allocated

__all__ = ['forward', 'backward']

FEW = 4             # queries that are not worth turning keys for
HEADS = 4           # from which on a few queries a head keep processors busy
SMALLEST = 1 << 10  # scores times features from which on a kernel beats array functions
MOST = 1 << 14      # keys whose scores a thread's scratch may hold
WIDEST = 512        # features
TASKS = 16          # heads from which on backward need not divide queries to keep processors busy
ELEMENTS = 'float32', 'float64'
NOWHERE = 0, 0, 0, 1


def _heads(x):
    """x as (batch, heads, rows, columns)."""
    return x.reshape(1, 1, *x.shape) if x.ndim == 2 else x[:, None] if x.ndim == 3 else x


def _beside(x):
    """x as (batch, heads, rows, features) with features side by side."""
    x = _heads(x)
    batch, head, row, feature = x.strides
    return x if feature == x.itemsize and not (batch | head | row) % feature else np.ascontiguousarray(x)


def _fits(query, key, value, scale):
    features = query.shape[-1]
    return (query.ndim <= 4 and query.dtype == key.dtype == value.dtype and name_of(query.dtype) in ELEMENTS
            and target().vector_bytes // query.itemsize <= features <= WIDEST and value.shape[-1] == features
            and scale > 0 and 0 < key.shape[-2] <= MOST and query.size * key.shape[-2] >= SMALLEST)


def _looks(mask, causal):
    return 'causal' if causal else '' if mask is None else 'bool' if mask.dtype == bool else 'added'


def _weighing(x, rank, keys):
    """(array, its steps in memory from batch to batch, head to head and query to query, and of a number).

    Of what there is for each weight, or for those of whole axes: these are not copied, and their steps are 0.
    """
    if x is None:
        return None, NOWHERE
    if x.shape[-1:] != (keys,) or x.strides[-1] != x.itemsize or any(s % x.itemsize for s in x.strides):
        lead = x[tuple([slice(None if stride else 1) for stride in x.strides[:-1]])]
        x = np.ascontiguousarray(np.broadcast_to(lead, (*lead.shape[:-1], keys)))
    steps = [0 if size == 1 else stride for size, stride in zip(x.shape[:-1], x.strides)]
    *lead, row = [0] * (rank - 1 - len(steps)) + steps
    batch, head = (*lead, 0, 0)[:2]
    return x, (batch, head, row, x.itemsize)


def _panels(count):
    """(rows of a panel, whether some have one less, panels, how many have all)."""
    panels = -(-count // tile_rows(target()))
    rows = -(-count // panels)
    less = panels * rows - count
    return rows, less > 0, panels, panels - less


def _strides(arrays, *others):
    """Steps from batch to batch, head to head and row to row, in numbers: of arrays, and as `_weighing` gives them."""
    return _table(tuple([a.strides for a in arrays]), arrays[0].itemsize, others)


@functools.lru_cache(maxsize=4096)
def _table(strides, itemsize, others):
    lines = [*((line[:3], itemsize) for line in strides), *((steps, size) for *steps, size in others)]
    return np.array([[step // size for step in steps] for steps, size in lines], np.int64)


def _columns(keys, itemsize):
    width = 2 * target().vector_bytes // itemsize
    padded = -(-keys // width) * width
    return padded, padded + width


def forward(query, key, value, mask, kept, scale, factor, causal):
    """softmax(query @ key^T * scale + mask) @ value, or None; weights times `factor` where `kept` if that is not None.

    The mask is not looked at if causal.
    """
    shape, dtype = query.shape, query.dtype
    direct = shape[-2] <= FEW
    if not _fits(query, key, value, scale) or direct and math.prod(shape[:-2]) < HEADS:
        return None
    if query.ndim == 4:  # heads are joined again by a view
        out = allocated((shape[0], shape[2], shape[1], shape[3]), dtype).swapaxes(1, 2)
    else:
        out = allocated(shape, dtype)
    looks = _looks(mask, causal)
    (mask, seen), (kept, left) = (_weighing(x, len(shape), key.shape[-2]) for x in (None if causal else mask, kept))
    q, k, v, written = (_beside(x) for x in (query, key, value, out))
    batch, heads, queries, features = q.shape
    keys = k.shape[2]
    rows, uneven, panels, upper = (queries, False, 1, 1) if direct else _panels(queries)
    padded, pitch = _columns(keys, dtype.itemsize)
    turned = None if direct else allocated(batch * heads * padded * features, dtype)
    threads = get_num_threads()
    scratch = allocated(threads * pitch * rows, dtype)
    compiled(attention.forward, name_of(dtype), features, rows, uneven, looks, kept is not None, direct)(
        q, k, v, written, turned, scratch, mask, kept, _strides((q, k, v, written), seen, left), threads, batch, heads,
        keys, panels, upper, float(scale), float(factor))
    return out


@functools.lru_cache(maxsize=4096)
def _parts(tasks, panels):
    """(how many parts queries are divided into, panels of one), so that there is work for some processors."""
    groups = -(-panels // attention.GROUP)
    each = -(-groups // min(max(TASKS // max(tasks, 1), 1), max(groups // 2, 1)))
    return -(-groups // each), each * attention.GROUP


def backward(g, out, query, key, value, mask, kept, scale, factor, causal):
    """The gradients of query, key and value from g, that of `out`; or None."""
    if not _fits(query, key, value, scale) or g.dtype != query.dtype:
        return None
    looks, dtype = _looks(mask, causal), query.dtype
    (mask, seen), (kept, left) = (_weighing(x, query.ndim, key.shape[-2]) for x in (None if causal else mask, kept))
    q, k, v, out, g = (_beside(x) for x in (query, key, value, out, g))
    batch, heads, queries, features = q.shape
    keys = k.shape[2]
    rows, uneven, panels, upper = _panels(queries)
    key_rows, key_uneven, key_panels, key_upper = _panels(keys)
    parts, steps = _parts(batch * heads, panels)
    dq, dk, dv = np.empty(q.shape, dtype), *(np.zeros((parts, *k.shape), dtype) for _ in range(2))
    padded, pitch = _columns(keys, dtype.itemsize)
    threads = get_num_threads()
    scratch = allocated(threads * (padded * 2 * features + pitch * 2 * attention.GROUP * rows), dtype)
    compiled(attention.backward, name_of(dtype), features, rows, uneven, key_rows, key_uneven, looks, kept is not None)(
        q, k, v, out, g, dq, dk, dv, scratch, mask, kept, _strides((q, k, v, out, g, dq, dk[0], dv[0]), seen, left),
        threads, batch, heads, keys, panels, upper, key_panels, key_upper, parts, steps, math.prod(k.shape),
        float(scale), float(factor))
    dk, dv = (x[0] if parts == 1 else x.sum(0) for x in (dk, dv))
    return dq.reshape(query.shape), dk.reshape(key.shape), dv.reshape(value.shape)
