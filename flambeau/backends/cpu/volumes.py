"""3-d convolutions over arrays, as 2-d ones whose channels are those of all slices of x that an output slice meets.

Each function answers None where the reference must do the work. Knows no tensor.
"""
from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from .convolution import SMALL, Placed, _adjoint, _applies as fit, _blank, _direct, _in_weight, _phase

__all__ = ['correlation', 'correlation_adjoint', 'correlation_in_weight']


def _applies(geometry, *arrays):
    return geometry.groups == 1 and len(geometry.stride) == 3 and geometry.dilation[0] == 1 and fit(geometry, *arrays)


def _slices(x, before, count):
    """`count` slices of all channels (batch * slices, channels, rows, columns), of which `before` are zeros."""
    batch, channels, depth, *plane = x.shape
    made = np.zeros((batch, count, channels, *plane), x.dtype)
    start, stop = max(before, 0), min(before + depth, count)
    if start < stop:
        made[:, start:stop] = x[:, :, start - before:stop - before].swapaxes(1, 2)
    return made.reshape(-1, channels, *plane)


def _placed(x, windows, step, out):
    """Where slices of x, every `step` of them a window, and those of `out` (batch, channels, slices, ...) lie."""
    batch, plane = out.shape[0], math.prod(x.shape[2:])
    slices, channels = len(x) // batch, x.shape[1]
    return Placed(batch, windows, 1, (slices * channels * plane, step * channels * plane, plane),
                  tuple(out.strides[k] // out.itemsize for k in (0, 2, 1)), False)


def _channels_of_slices(w):
    """A weight (outputs, channels, slices, lines, taps) as (1, outputs, slices * channels, lines, taps)."""
    return w.swapaxes(1, 2).reshape(1, w.shape[0], -1, *w.shape[3:])


def _in_plane(geometry):
    """The geometry of rows and columns."""
    return SimpleNamespace(stride=geometry.stride[1:], padding=geometry.padding[1:], dilation=geometry.dilation[1:])


def correlation(x, w, geometry, bias=None):
    """bias + the cross-correlation of x (batch, channels, slices, rows, columns) and w (outputs, channels, *kernel)."""
    out = geometry.output(x.shape[2:], w.shape[2:])
    shape = (x.shape[0], w.shape[0], *out)
    if not _applies(geometry, x, w) or min(out) <= 0 or math.prod(shape) * w[0].size < SMALL:
        return None
    made, step, flat = np.empty(shape, x.dtype), geometry.stride[0], _in_plane(geometry)
    slices = _slices(x, geometry.padding[0][0], (out[0] - 1) * step + w.shape[2])
    _direct(slices, [(_channels_of_slices(w), 0)], made[:, :, 0], _placed(slices, out[0], step, made), out[1:],
            flat.stride, tuple(p for p, _ in flat.padding), flat.dilation, bias)
    return made


def correlation_adjoint(g, w, geometry, spatial):
    """The adjoint of `correlation` in x of sizes `spatial`: for each phase of the slices, one in two dimensions."""
    if not _applies(geometry, g, w) or g.size * w[0].size < SMALL or min(spatial) <= 0:
        return None
    made, stride = _blank((g.shape[0], w.shape[1], *spatial), geometry, w.shape[2:], g.dtype), geometry.stride[0]
    for offset in range(min(stride, spatial[0])):
        places = made[:, :, offset::stride]
        phase = _phase(offset, stride, geometry.padding[0][0], 1, w.shape[2])
        if phase is None:
            continue
        first, step, count, _, before = phase
        windows = places.shape[2]
        slices = _slices(g, before, windows - 1 + count)
        part = w[:, :, first::step][:, :, ::-1].transpose(2, 0, 1, 3, 4).reshape(1, -1, *w.shape[1:2], *w.shape[3:])
        _adjoint(slices, part, _in_plane(geometry), places[:, :, 0], _placed(slices, windows, 1, places))
    return made


def correlation_in_weight(g, x, geometry, kernel):
    """The gradient of `correlation` in w of sizes `kernel`, for the gradient g of its output."""
    if not _applies(geometry, g, x) or g.size * x.shape[1] * math.prod(kernel) < SMALL:
        return None
    g, windows, step, flat = np.ascontiguousarray(g), g.shape[2], geometry.stride[0], _in_plane(geometry)
    slices = _slices(x, geometry.padding[0][0], (windows - 1) * step + kernel[0])
    made = _in_weight(g[:, :, 0], slices, g.shape[1], kernel[0] * x.shape[1], tuple(kernel[1:]),
                      _placed(slices, windows, step, g), flat.stride, tuple(p for p, _ in flat.padding), flat.dilation)
    return np.ascontiguousarray(made.reshape(g.shape[1], kernel[0], x.shape[1], *kernel[1:]).swapaxes(1, 2))
