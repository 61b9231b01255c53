"""Recurrent layers of float32 arrays by generated kernels: how steps lie in memory, how work is cut. Knows no tensor.

What does not fit answers None.
"""
from __future__ import annotations

import numpy as np

from ...kernel import recurrent
from ...kernel.recurrent import CELLS, division
from ...kernel.types import f32
from .build import compiled
from .launch import get_num_threads
from .properties import target

__all__ = ['forward', 'backward']

FEWEST = 2                   # rows of all steps from which on it pays to copy a weight into panels
SMALLEST = 1 << 10           # multiplications from which on a kernel beats array functions
WORTH_THREADS = 1 << 19      # multiplications from which on other threads are woken
WORTH_REGION = 1 << 16       # multiplications of a step from which on it is shared out
NEAR = 1 << 17               # numbers of a weight that a core's second cache holds beside the rest
FEW_ROWS, MANY_ROWS = 8, 16  # rows of a thread that pay for reading all of a weight that is near, or that is not
FLOAT = np.dtype(np.float32)


def _spans(sizes, reverse):
    """(first row, rows) of each step in the order of computation, between two of none: before, and behind all rows."""
    spans = np.zeros((len(sizes) + 2, 2), np.int64)
    spans[1:-1, 1] = sizes
    spans[1:, 0] = np.cumsum(spans[:-1, 1])
    if reverse:
        spans[1:-1] = spans[-2:0:-1]
    return spans


class _Cut:
    """How the products of some steps with a weight of `gates` columns a unit are cut: the kernel, and its numbers."""

    def __init__(self, steps, batch, units, depth, gates):
        vectors, group, most = division(target(), gates, batch, units)
        width, work = vectors * target().lanes(f32), batch * units * depth * gates
        threads = get_num_threads() if work * steps >= WORTH_THREADS else 1
        by_rows = batch >= threads * (FEW_ROWS if work <= batch * NEAR else MANY_ROWS)
        if not by_rows and work < WORTH_REGION:
            threads, by_rows = 1, True
        self.panels, self.strips = -(-batch // most), -(-units // width)
        if by_rows:  # as many for each thread
            self.panels += -self.panels % threads
        rows = -(-batch // self.panels)
        self.upper = self.panels - (rows * self.panels - batch)
        self.each = -(-(self.panels if by_rows else self.strips) // threads)
        self.arguments = vectors, group, rows, self.upper < self.panels, units % width > 0, by_rows
        self.packed = np.empty(self.strips * width * gates * depth, FLOAT)


def _rows(count, length):
    """An array whose rows lie a little apart: those a power of two apart have few places in the first cache."""
    return np.empty((count, length + recurrent.LINE), FLOAT)[:, :length]


def _begin(memory, initial, spans):
    """Writes the first states of sequences to the rows of the steps they begin with."""
    before = 0
    for start, count in spans[1:-1].tolist():
        if count > before:
            memory[start + before:start + count] = initial[before:count]
        before = count
        if count == len(initial):
            return


def forward(mode, x, hx, cx, w_hh, bias, sizes, reverse):
    """(what backward needs, output, last hidden state, last cell state) of a layer in one direction; or None.

    x, the inputs' products with their bias, is written over. `bias`: of the hidden product, where it has its own.
    """
    batch, units = hx.shape
    cell = CELLS[mode]
    if (any(a is not None and a.dtype != FLOAT for a in (x, hx, cx, w_hh, bias)) or units < target().lanes(f32)
            or len(x) < FEWEST or len(x) * units * units < SMALLEST or max(sizes) != batch or not x.flags.c_contiguous):
        return None
    if cell.own and bias is None:
        bias = np.zeros(len(w_hh), FLOAT)
    cut, rows, spans = _Cut(len(sizes), batch, units, units, cell.gates), len(x), _spans(sizes, reverse)
    output = np.empty((rows, units), FLOAT)
    states = _rows(rows + batch, units)
    cells = None if cx is None else np.empty((rows + batch, units), FLOAT)
    extra = np.empty((rows, units), FLOAT) if cell.own else None
    _begin(states, hx, spans)
    if cx is not None:
        _begin(cells, cx, spans)
    spans[-1] = rows, batch
    compiled(recurrent.forward, mode, *cut.arguments)(
        x, np.ascontiguousarray(w_hh), bias if bias is None else np.ascontiguousarray(bias), cut.packed, states, cells,
        extra, output, spans, len(sizes), units, cut.panels, cut.upper, cut.each, rows, states.strides[0] // 4)
    kept = x, states, extra if cx is None else cells
    return kept, output, states[rows:].copy(), None if cx is None else cells[rows:].copy()


def backward(mode, kept, g, dh, dc, w_hh, sizes, reverse, wanted):
    """(gradient of x, of the hidden products, the states before each step, gradient of hx, of cx) of a layer.

    g, dh and dc are the gradients of the output and the last states. That of hx is right where it
    is `wanted`. None where `kept` is not what `forward` gave.
    """
    if not isinstance(kept[0], np.ndarray):
        return None
    x, states, besides = kept
    cell, rows, (batch, units) = CELLS[mode], len(x), dh.shape
    cut = _Cut(len(sizes), batch, units, x.shape[1], 1)
    dh, dc = np.array(dh, FLOAT, order='C'), None if dc is None else np.array(dc, FLOAT, order='C')
    dhidden = _rows(rows + batch, x.shape[1])
    dx = _rows(*x.shape) if cell.own else dhidden
    compiled(recurrent.backward, mode, *cut.arguments)(
        x, states, besides if cell.cells else None, besides if cell.own else None, np.ascontiguousarray(w_hh),
        cut.packed, np.ascontiguousarray(g, FLOAT), dh, dc, dx, dhidden, _spans(sizes, reverse), len(sizes),
        len(sizes) + wanted, units, cut.panels, cut.upper, cut.each, states.strides[0] // 4, dhidden.strides[0] // 4)
    dhidden = dhidden[:rows]
    return dx if cell.own else dhidden, dhidden, states[:rows], dh, dc
