"""Attention of float32 arrays by generated kernels: how queries and keys are divided, and where heads lie in memory.

Any layout whose features lie side by side; what does not fit answers None. Knows no operation.
"""
from __future__ import annotations

import functools

import numpy as np

from ...kernel import attention
from ...kernel.tiles import tile_rows
from .build import compiled
from .launch import get_num_threads
from .properties import target
from .replay import allocated

__all__ = ['forward', 'backward']

SMALLEST = 1 << 10  # scores times features from which on a kernel beats array functions
MOST = 1 << 14      # keys whose scores a thread's scratch may hold


def _heads(x):
    """x as (batch, heads, rows, features) with features side by side."""
    x = x.reshape(1, 1, *x.shape) if x.ndim == 2 else x[:, None] if x.ndim == 3 else x
    return x if x.strides[-1] == 4 and all(s % 4 == 0 for s in x.strides) else np.ascontiguousarray(x)


def _fits(query, key, value, scale):
    features = query.shape[-1]
    return (query.ndim <= 4 and query.dtype == key.dtype == value.dtype == np.float32 and features % 16 == 0
            and 0 < features <= 256 and value.shape[-1] == features and scale > 0 and 0 < key.shape[-2] <= MOST
            and query.size * key.shape[-2] >= SMALLEST)


def _panels(count):
    """(rows of a panel, whether some have one less, panels, how many have all)."""
    panels = -(-count // tile_rows(target()))
    rows = -(-count // panels)
    less = panels * rows - count
    return rows, less > 0, panels, panels - less


def _strides(*arrays):
    return _table(tuple([a.strides for a in arrays]))


@functools.lru_cache(maxsize=4096)
def _table(strides):
    return np.array([[s // 4 for s in line[:3]] for line in strides], np.int64)


def _columns(keys):
    width = 2 * target().vector_bytes // 4
    padded = -(-keys // width) * width
    return padded, padded + width


def forward(query, key, value, scale, causal):
    """softmax(query @ key^T * scale) @ value, or None."""
    if not _fits(query, key, value, scale):
        return None
    shape = query.shape
    if query.ndim == 4:  # heads are joined again by a view
        out = allocated((shape[0], shape[2], shape[1], shape[3]), query.dtype).swapaxes(1, 2)
    else:
        out = allocated(shape, query.dtype)
    q, k, v, written = (_heads(x) for x in (query, key, value, out))
    batch, heads, queries, features = q.shape
    keys = k.shape[2]
    rows, uneven, panels, upper = _panels(queries)
    padded, pitch = _columns(keys)
    turned = allocated(batch * heads * padded * features, np.float32)
    threads = get_num_threads()
    scratch = allocated(threads * pitch * rows, np.float32)
    compiled(attention.forward, features, rows, uneven, bool(causal))(
        q, k, v, written, turned, scratch, _strides(q, k, v, written), threads, batch, heads, keys, panels, upper,
        float(scale))
    return out


def backward(g, out, query, key, value, scale, causal):
    """The gradients of query, key and value from g, that of `out`; or None."""
    if not _fits(query, key, value, scale) or g.dtype != np.float32:
        return None
    q, k, v, out, g = (_heads(x) for x in (query, key, value, out, g))
    batch, heads, queries, features = q.shape
    keys = k.shape[2]
    dq, dk, dv = np.empty(q.shape, np.float32), np.zeros(k.shape, np.float32), np.zeros(v.shape, np.float32)
    rows, uneven, panels, upper = _panels(queries)
    key_rows, key_uneven, key_panels, key_upper = _panels(keys)
    padded, pitch = _columns(keys)
    threads = get_num_threads()
    scratch = allocated(threads * (padded * 2 * features + pitch * 2 * attention.GROUP * rows), np.float32)
    compiled(attention.backward, features, rows, uneven, key_rows, key_uneven, bool(causal))(
        q, k, v, out, g, dq, dk, dv, scratch, _strides(q, k, v, out, g, dq, dk, dv), threads, batch, heads, keys,
        panels, upper, key_panels, key_upper, float(scale))
    return dq.reshape(query.shape), dk.reshape(key.shape), dv.reshape(value.shape)
