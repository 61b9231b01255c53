"""Convolution of float32 arrays by generated kernels: how planes are padded, and where the windows' offsets lie.

Two spatial axes and one group; what does not fit answers None. Knows no operation.
"""
from __future__ import annotations

import functools
import math

import numpy as np

from ...kernel import convolution
from .build import compiled
from .properties import target

__all__ = ['correlation', 'correlation_adjoint', 'correlation_in_weight']

SMALLEST = 1 << 18  # multiplications from which on a kernel beats products of unrolled patches
SLACK = 64          # elements past the last plane that a vector may touch


def _fits(geometry, kernel, multiplications, *arrays):
    return (len(kernel) == 2 and geometry.groups == 1 and multiplications >= SMALLEST
            and all(a.dtype == np.float32 and a.size < 1 << 31 for a in arrays))


def _padded(x, before, sizes, stride):
    """x as planes of `sizes` with zeros around it, taken apart by phase where the stride is not 1.

    Returns (array, elements from image to image, from channel to channel, from phase to phase, rows, pitch).
    """
    rows, pitch = (-(-n // s) for n, s in zip(sizes, stride))
    images, channels = x.shape[:2]
    phases = math.prod(stride)
    if phases == 1 and before == (0, 0) and x.shape[2:] == tuple(sizes) and x.flags.c_contiguous:
        return x, channels * rows * pitch, rows * pitch, 0, rows, pitch
    size = images * channels * phases * rows * pitch
    memory = np.empty(size + SLACK, np.float32)
    planes = memory[:size].reshape(images, channels, *stride, rows, pitch)
    memory[size:] = 0
    planes[...] = 0
    for a in range(stride[0]):
        for c in range(stride[1]):
            # plane (a, c) holds what stands at rows a, a + stride, ... of the padded input
            first = [(phase - b) % s for phase, b, s in zip((a, c), before, stride)]
            part = x[:, :, first[0]::stride[0], first[1]::stride[1]]
            at = [(f + b) // s for f, b, s in zip(first, before, stride)]
            part = part[:, :, :rows - at[0], :pitch - at[1]]
            planes[:, :, a, c, at[0]:at[0] + part.shape[2], at[1]:at[1] + part.shape[3]] = part
    return memory, channels * phases * rows * pitch, phases * rows * pitch, rows * pitch, rows, pitch


@functools.lru_cache(maxsize=512)
def _window(channels, kernel, stride, dilation, channel_step, phase_step, pitch):
    """The offset of each (channel, tap) of a window at the origin."""
    rows, columns = (np.arange(k) * d for k, d in zip(kernel, dilation))
    phase = (rows % stride[0])[:, None] * stride[1] + columns % stride[1]
    taps = phase * phase_step + (rows // stride[0])[:, None] * pitch + columns // stride[1]
    return (np.arange(channels)[:, None] * channel_step + taps.reshape(-1)).reshape(-1).astype(np.int64)


@functools.lru_cache(maxsize=512)
def _natural(depth):
    return np.arange(depth, dtype=np.int64)


def _packed(weight, offsets, channels, step):
    """Weights as the kernel reads them."""
    width = convolution.WIDE * target().vector_bytes // 4
    out = np.empty(-(-channels // width) * width * offsets.size, np.float32)
    compiled(convolution.packed_weight)(weight, out, offsets, channels, offsets.size, step)
    return out


def _run(x, steps, weight, offsets, y, channels, sizes, y_strides, spread=1):
    """One kernel call over an output of `sizes` (images, rows, columns)."""
    images, rows, columns = sizes
    most = convolution.pixels_of(target())
    tiles = -(-columns // most)
    pixels = -(-columns // tiles)
    band = max(1, min(rows, 2048 // max(1, columns)))
    kernel = compiled(convolution.correlate, pixels, spread)
    kernel(x, weight, y, offsets, images, offsets.size, channels, rows, columns, band, *steps, *y_strides)


def correlation(x, w, geometry):
    """x (N, C, H, W) cross-correlated with w (O, C, h, w), or None."""
    kernel = w.shape[2:]
    if len(kernel) != 2:
        return None
    out = geometry.output(x.shape[2:], kernel)
    if not _fits(geometry, kernel, x.shape[0] * math.prod(out) * w.size, x, w) or out[1] < 4:
        return None
    sizes = [max(n + sum(p), 1) for n, p in zip(x.shape[2:], geometry.padding)]
    planes, image, channel, phase, _, pitch = _padded(x, tuple(p[0] for p in geometry.padding), sizes, geometry.stride)
    offsets = _window(x.shape[1], kernel, geometry.stride, geometry.dilation, channel, phase, pitch)
    weight = _packed(np.ascontiguousarray(w), _natural(offsets.size), w.shape[0], offsets.size)
    y = np.empty((x.shape[0], w.shape[0], *out), np.float32)
    area = out[0] * out[1]
    if pitch == out[1] and kernel == (1, 1):  # rows follow each other: one long row
        out = (1, area)
    _run(planes, (image, pitch), weight, offsets, y, w.shape[0], (x.shape[0], *out), (w.shape[0] * area, area, out[1]))
    return y


def correlation_adjoint(g, w, geometry, spatial):
    """The gradient of `correlation` in its input of sizes `spatial`, or None."""
    kernel, stride, dilation = w.shape[2:], geometry.stride, geometry.dilation
    if len(kernel) != 2 or not _fits(geometry, kernel, g.size * w[0].size, g, w) or dilation != (1, 1) \
            or stride[0] != stride[1] or spatial[1] < 4 * stride[1]:
        return None
    s, (outputs, channels) = stride[0], w.shape[:2]
    # every input row i meets the outputs q - j at taps a + s * j, where i + padding = s * q + a
    reach = [(k - 1) // s for k in kernel]
    top = [(n - 1 + p[0]) // s for n, p in zip(spatial, geometry.padding)]
    before = tuple(reach)
    sizes = [max(t + 1, n) + r for t, n, r in zip(top, g.shape[2:], reach)]
    if kernel == (1, 1) and s == 1:
        sizes = list(g.shape[2:])
        if tuple(spatial) != tuple(sizes):
            return None
    planes, image, channel, _, _, pitch = _padded(g, before, sizes, (1, 1))
    w = np.ascontiguousarray(w)
    taps = math.prod(kernel)
    dx = (np.empty if s == 1 else np.zeros)((g.shape[0], channels, *spatial), np.float32)
    area = math.prod(spatial)
    for a in range(s):
        for c in range(s):
            phase = _phase(outputs, channels, kernel, s, (a, c), before, channel, pitch)
            if phase is None:
                continue
            offsets, weights = phase
            packed = _packed(w, weights, channels, taps)
            low = [-(-max(0, p[0] - at) // s) for p, at in zip(geometry.padding, (a, c))]  # the first q with i >= 0
            first = [s * q + at - p[0] for q, at, p in zip(low, (a, c), geometry.padding)]
            count = [-(-(n - f) // s) for n, f in zip(spatial, first)]
            if min(count) <= 0:
                continue
            flat = kernel == (1, 1) and s == 1
            rows, columns = (1, area) if flat else count
            source = planes if planes.ndim == 1 else planes.reshape(-1)
            target_array = dx.reshape(-1)[first[0] * spatial[1] + first[1]:]
            _run(source[low[0] * pitch + low[1]:], (image, pitch), packed, offsets, target_array, channels,
                 (g.shape[0], rows, columns), (channels * area, area, s * spatial[1]), s)
    return dx


@functools.lru_cache(maxsize=512)
def _phase(outputs, channels, kernel, s, at, before, channel_step, pitch):
    """(offsets of what an input of one phase meets, offsets of the weights for it), or None where it meets nothing."""
    rows, columns = (np.arange(a, k, s) for a, k in zip(at, kernel))
    if not rows.size or not columns.size:
        return None
    j, i = (rows - at[0]) // s, (columns - at[1]) // s
    met = (before[0] - j)[:, None] * pitch + (before[1] - i)
    taps = rows[:, None] * kernel[1] + columns
    number = np.arange(outputs)[:, None]
    offsets = number * channel_step + met.reshape(-1)
    weights = number * (channels * math.prod(kernel)) + taps.reshape(-1)
    return offsets.reshape(-1).astype(np.int64), weights.reshape(-1).astype(np.int64)


def correlation_in_weight(g, x, geometry, kernel):
    """The gradient of `correlation` in its weight, or None."""
    if len(kernel) != 2:
        return None
    depth = x.shape[1] * math.prod(kernel)
    if not _fits(geometry, kernel, g.size * depth, g, x):
        return None
    sizes = [max(n + sum(p), 1) for n, p in zip(x.shape[2:], geometry.padding)]
    planes, image, channel, phase, rows, pitch = _padded(x, tuple(p[0] for p in geometry.padding), sizes, geometry.stride)
    offsets = _window(x.shape[1], tuple(kernel), geometry.stride, geometry.dilation, channel, phase, pitch)
    positions = (g.shape[2] - 1) * pitch + g.shape[3]
    g, g_image, g_channel, *_ = _padded(g, (0, 0), (g.shape[2], pitch), (1, 1))
    outputs = g_image // g_channel
    out = np.zeros((outputs, x.shape[1], *kernel), np.float32)
    compiled(convolution.correlate_weight)(planes, g, out, offsets, x.shape[0], outputs, depth, positions, image, g_image,
                                           g_channel)
    return out
