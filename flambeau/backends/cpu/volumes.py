"""3-d convolutions over arrays, as 2-d ones whose channels are those of all slices of x that an output slice meets.

Each function answers None where the reference must do the work. Knows no tensor.
"""
from __future__ import annotations

import dataclasses
import functools
import math
from types import SimpleNamespace

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .convolution import (FLOAT, SMALL, Placed, blank, direct_in_weight, filter_kind, filtered_in_weight, is_minimal,
                          phase_of, strides_of, suits as fit, write_adjoint, write_direct, write_filtered)
from .depthwise import adjoint_along_planes, along_planes, in_weight_along_planes, tap_offsets

__all__ = ['correlation', 'correlation_adjoint', 'correlation_in_weight']


def _applies(geometry, *arrays):
    return len(geometry.stride) == 3 and fit(geometry, *arrays)


def _by_groups(second_axis, axis, depthwise):
    """Makes a map for one group one for several, which have parts of the first array's channels, of the second array
    along an axis, and of the result; `depthwise` does it where each channel is a group, or answers None.
    """
    def wrapped(function):
        @functools.wraps(function)
        def computed(first, second, geometry, *more):
            groups = geometry.groups
            if groups == 1 or not _applies(geometry, first, second):
                return function(first, second, geometry, *more)
            if first.shape[1] == second.shape[second_axis] == groups and geometry.dilation[0] == 1:
                made = depthwise(first, second, geometry, *more)
                if made is not None:
                    return made
            alone = dataclasses.replace(geometry, groups=1)
            parts = zip(np.split(first, groups, 1), np.split(second, groups, second_axis))
            shared = [np.split(a, groups) if a.__class__ is np.ndarray else [a] * groups for a in more]
            made = [function(*given, alone, *(values[k] for values in shared)) for k, given in enumerate(parts)]
            return None if any(part is None for part in made) else np.concatenate(made, axis)
        return computed
    return wrapped


def _slices(x, axis, before, whole):
    """A copy of x with `whole` slices along an axis, zeros where x has none, `before` of them at first."""
    made = np.zeros((*x.shape[:axis], whole, *x.shape[axis + 1:]), x.dtype)
    start, stop = max(before, 0), min(before + x.shape[axis], whole)
    if start < stop:
        all_before = (slice(None),) * axis
        made[(*all_before, slice(start, stop))] = x[(*all_before, slice(start - before, stop - before))]
    return made


def _depthwise(x, w, geometry, bias=None):
    """`correlation` of channels that meet themselves alone: each slice is made as planes of groups of what it meets."""
    plane, step, size = _in_plane(geometry), geometry.stride[0], geometry.output(x.shape[2:], w.shape[2:])
    if w.shape[1] != 1 or min(size) <= 0:
        return None
    made = np.empty((*x.shape[:2], *size), x.dtype)
    slices = _slices(x, 2, geometry.padding[0][0], (size[0] - 1) * step + w.shape[2])
    for z in range(size[0]):
        along_planes(slices[:, :, z * step], w, made[:, :, z], size[2], size[1:], plane.stride, plane.dilation[0],
                      [p for p, _ in plane.padding], tap_offsets(w.shape[4], plane.dilation[1]), geometry.groups, bias)
    return made


def _depthwise_adjoint(g, w, geometry, spatial):
    if geometry.stride[0] != 1 or w.shape[1] != 1 or min(spatial) <= 0:
        return None
    depth, made = w.shape[2], np.empty((*g.shape[:2], *spatial), g.dtype)
    slices = _slices(g, 2, depth - 1 - geometry.padding[0][0], spatial[0] + depth - 1)
    for z in range(spatial[0]):
        adjoint_along_planes(slices[:, :, z], w[:, :, ::-1], _in_plane(geometry), made[:, :, z], geometry.groups)
    return made


def _depthwise_in_weight(g, x, geometry, kernel):
    g, step = np.ascontiguousarray(g), geometry.stride[0]
    slices = _slices(x, 2, geometry.padding[0][0], (g.shape[2] - 1) * step + kernel[0])
    return sum(in_weight_along_planes(g[:, :, z], slices[:, :, z * step], kernel[0], tuple(kernel[1:]),
                                       _in_plane(geometry), geometry.groups) for z in range(g.shape[2]))


def _windows(x, before, count, depth, step, dilation):
    """`count` windows of `depth` slices, `step` apart: (batch, windows, channels of all slices, rows, columns).

    They share memory, into which x is copied; dilated ones are copied again.
    """
    made = _slices(x.swapaxes(1, 2), 1, before, (count - 1) * step + (depth - 1) * dilation + 1)
    batch, _, channels, *plane = made.shape
    outside, slices, *strides = made.strides
    windows = as_strided(made, (batch, count, depth, channels, *plane),
                         (outside, step * slices, dilation * slices, *strides))
    return windows.reshape(batch, count, depth * channels, *plane)


def _placed(windows, out):
    """Where kernels find the windows, and the output (batch, slices, channels, rows, columns)."""
    return Placed(*windows.shape[:2], 1, tuple(strides_of(windows)[:3]), tuple(strides_of(out)[:3]), False)


def _in_plane(geometry):
    """The geometry of rows and columns."""
    return SimpleNamespace(stride=geometry.stride[1:], padding=geometry.padding[1:], dilation=geometry.dilation[1:])


def _goes_by_filtering(windows, out, taps, plane):
    """Whether Winograd's filtering takes windows and an output, or its gradient (batch, slices, channels, ...)."""
    shape = (out.shape[0] * out.shape[1], *out.shape[2:])
    return windows.dtype == FLOAT and is_minimal(windows.shape[2], shape[1], taps, shape, plane.stride, plane.dilation)


def _correlate(windows, w, out, plane, before, bias=None):
    """Writes into `out` (batch, slices, outputs, ...) bias + the correlation with w (outputs, channels, *taps)."""
    if not _goes_by_filtering(windows, out, w.shape[2:], plane):
        return write_direct(windows[:, 0], [(w[None], 0)], out[:, 0], _placed(windows, out), out.shape[3:],
                            plane.stride,
                       before, plane.dilation, bias)
    write_filtered(windows, w, out, before, filter_kind(plane.stride))
    if bias is not None:
        out += bias[:, None, None]


@_by_groups(0, 1, _depthwise)
def correlation(x, w, geometry, bias=None):
    """bias + the cross-correlation of x (batch, channels, slices, rows, columns) and w (outputs, channels, *kernel)."""
    if not _applies(geometry, x, w):
        return None
    out = geometry.output(x.shape[2:], w.shape[2:])
    shape = (x.shape[0], w.shape[0], *out)
    if min(out) <= 0 or math.prod(shape) * w[0].size < SMALL:
        return None
    made, plane = np.empty(shape, x.dtype), _in_plane(geometry)
    windows = _windows(x, geometry.padding[0][0], out[0], w.shape[2], geometry.stride[0], geometry.dilation[0])
    by_slice = w.swapaxes(1, 2).reshape(w.shape[0], -1, *w.shape[3:])
    _correlate(windows, by_slice, made.swapaxes(1, 2), plane, tuple(p for p, _ in plane.padding), bias)
    return made


@_by_groups(0, 1, _depthwise_adjoint)
def correlation_adjoint(g, w, geometry, spatial):
    """The adjoint of `correlation` in x of sizes `spatial`: for each phase of the slices, one in two dimensions."""
    if not _applies(geometry, g, w) or g.size * w[0].size < SMALL or min(spatial) <= 0:
        return None
    made, stride = blank((g.shape[0], w.shape[1], *spatial), geometry, w.shape[2:], g.dtype), geometry.stride[0]
    plane = _in_plane(geometry)
    for offset in range(min(stride, spatial[0])):
        out = made[:, :, offset::stride].swapaxes(1, 2)
        phase = phase_of(offset, stride, geometry.padding[0][0], geometry.dilation[0], w.shape[2])
        if phase is None:
            continue
        first, step, count, apart, before = phase
        windows = _windows(g, before, out.shape[1], count, 1, apart)
        part = w[:, :, first::step][:, :, ::-1].transpose(2, 0, 1, 3, 4).reshape(-1, *w.shape[1:2], *w.shape[3:])
        if plane.stride == (1, 1):
            around = tuple(d * (k - 1) - p for d, k, (p, _) in zip(plane.dilation, w.shape[3:], plane.padding))
            _correlate(windows, part.swapaxes(0, 1)[..., ::-1, ::-1], out, plane, around)
        else:
            write_adjoint(windows[:, 0], part[None], plane, out[:, 0], _placed(windows, out))
    return made


@_by_groups(1, 0, _depthwise_in_weight)
def correlation_in_weight(g, x, geometry, kernel):
    """The gradient of `correlation` in w of sizes `kernel`, for the gradient g of its output."""
    if not _applies(geometry, g, x) or g.size * x.shape[1] * math.prod(kernel) < SMALL:
        return None
    plane, taps = _in_plane(geometry), tuple(kernel[1:])
    windows = _windows(x, geometry.padding[0][0], g.shape[2], kernel[0], geometry.stride[0],
                       geometry.dilation[0])
    g, before = np.ascontiguousarray(g).swapaxes(1, 2), tuple(p for p, _ in plane.padding)
    if _goes_by_filtering(windows, g, taps, plane):
        made = filtered_in_weight(g, windows, before, filter_kind(plane.stride))
    else:
        made = direct_in_weight(g[:, 0], windows[:, 0], g.shape[2], windows.shape[2], taps, _placed(windows, g),
                                plane.stride,
                          before, plane.dilation)
    return np.ascontiguousarray(made.reshape(g.shape[2], kernel[0], x.shape[1], *taps).swapaxes(1, 2))
