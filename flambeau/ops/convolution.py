"""Convolution in one to three spatial dimensions.

Convolution is linear in its input and in its weight. Its three faces (`convolve`, `gradient_in_input`,
`gradient_in_weight`) are each other's gradients, so that derivatives of any order and the transposed convolution need
no further formula. On arrays they are matrix products over unrolled patches.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .windows import crop_spatial, output_size, pad_spatial, tap_slices, taps

PATCH_BYTES = 4 << 20  # of unrolled patches held at a time: what stays in a core's share of the cache
POINTWISE_POSITIONS = 64  # positions per image above which a 1x1 convolution is one matrix product per image


class Geometry(NamedTuple):
    """Where the windows of a convolution lie: one entry per spatial axis, and the number of channel groups."""
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int

    def output(self, spatial, kernel) -> tuple[int, ...]:
        """Spatial sizes of the output for an input of sizes `spatial`."""
        return tuple(map(output_size, spatial, kernel, self.stride, self.padding, self.dilation))

    def is_pointwise(self, kernel, spatial) -> bool:
        return (set(kernel) == set(self.stride) == {1} and not any(map(any, self.padding))
                and int(np.prod(spatial)) >= POINTWISE_POSITIONS)


def _working_dtype(*arrays) -> np.dtype:
    """Half precision is multiplied and summed in float32."""
    dtype = np.result_type(*arrays)
    return np.dtype(np.float32) if dtype.itemsize == 2 and dtype.kind not in 'iu' else dtype


def _blocks(batch: int, out, bytes_per_position: int):
    """Splits the output positions of a batch into (images, rows of the first spatial axis) that share a patch buffer."""
    per_row = max(1, bytes_per_position * int(np.prod(out[1:])))
    rows = max(1, PATCH_BYTES // per_row)
    if rows >= out[0]:
        images = max(1, rows // out[0])
        for i in range(0, batch, images):
            yield slice(i, min(i + images, batch)), slice(0, out[0])
    else:
        for i in range(batch):
            for r in range(0, out[0], rows):
                yield slice(i, i + 1), slice(r, min(r + rows, out[0]))


def _patch_blocks(x, kernel, geometry, out):
    """Yields (images, rows, patches): patches of shape (groups, channels of a group * taps, positions) in one buffer."""
    groups, channels = geometry.groups, x.shape[1] // geometry.groups
    spatial = x.strides[2:]
    view = as_strided(
        x, (groups, channels, *kernel, x.shape[0], *out),
        (channels * x.strides[1], x.strides[1], *(s * d for s, d in zip(spatial, geometry.dilation)), x.strides[0],
         *(s * t for s, t in zip(spatial, geometry.stride))), writeable=False)
    depth = channels * int(np.prod(kernel))
    buffer = np.empty(0, x.dtype)
    at_images = (slice(None),) * (2 + len(kernel))
    for images, rows in _blocks(x.shape[0], out, groups * depth * x.itemsize):
        part = view[(*at_images, images, rows)]
        if part.size > buffer.size:
            buffer = np.empty(part.size, x.dtype)
        patches = buffer[:part.size].reshape(part.shape)
        np.copyto(patches, part)
        yield images, rows, patches.reshape(groups, depth, -1)


def _by_group(y, images, rows):
    """The block of (batch, groups, channels, *out) as (groups, channels, images, rows, ...)."""
    return np.moveaxis(y[images, :, :, rows], 0, 2)


def _split(a, axis: int, groups: int):
    """Splits an axis of channels into (groups, channels of a group)."""
    return a.reshape(a.shape[:axis] + (groups, a.shape[axis] // groups) + a.shape[axis + 1:])


def _taps_last(w, groups: int, dims: int):
    """A depthwise weight as (groups, multiplier, 1 for each spatial axis, *kernel)."""
    w = _split(w[:, 0], 0, groups)
    return w.reshape(w.shape[:2] + (1,) * dims + w.shape[2:])


def convolve(x: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Cross-correlates `x` (batch, channels, *spatial) with `w` (outputs, channels of a group, *kernel)."""
    groups, kernel = geometry.groups, w.shape[2:]
    out = geometry.output(x.shape[2:], kernel)
    dtype, wide = np.result_type(x, w), _working_dtype(x, w)
    x = pad_spatial(x, geometry.padding, dtype=wide)
    w = w.astype(wide, copy=False)
    shape = (x.shape[0], groups, w.shape[0] // groups, *out)
    if w.shape[1] == 1 and groups > 1:
        y = _depthwise(_split(x, 1, groups), _taps_last(w, groups, len(out)), geometry, shape)
        return y.reshape(x.shape[0], -1, *out).astype(dtype, copy=False)
    matrix = w.reshape(groups, w.shape[0] // groups, -1)
    if geometry.is_pointwise(kernel, out):
        y = np.matmul(matrix, _split(x, 1, groups).reshape(x.shape[0], groups, w.shape[1], -1))
        return y.reshape(x.shape[0], -1, *out).astype(dtype, copy=False)
    y = np.empty(shape, wide)
    for images, rows, patches in _patch_blocks(x, kernel, geometry, out):
        target = _by_group(y, images, rows)
        if target.shape[2] == 1:
            np.matmul(matrix, patches, out=target.reshape(matrix.shape[:2] + (-1,)))
        else:
            target[...] = np.matmul(matrix, patches).reshape(target.shape)
    return y.reshape(x.shape[0], -1, *out).astype(dtype, copy=False)


def gradient_in_input(g: np.ndarray, w: np.ndarray, geometry: Geometry, spatial) -> np.ndarray:
    """The gradient of `convolve` in its input of spatial sizes `spatial`: the adjoint map, a transposed convolution."""
    groups, kernel, out = geometry.groups, w.shape[2:], g.shape[2:]
    dtype, wide = np.result_type(g, w), _working_dtype(g, w)
    g = _split(g.astype(wide, copy=False), 1, groups)
    w = w.astype(wide, copy=False)
    channels = w.shape[1]
    matrix = w.reshape(groups, w.shape[0] // groups, -1).transpose(0, 2, 1)
    if geometry.is_pointwise(kernel, out):
        x = np.matmul(matrix, g.reshape(g.shape[:3] + (-1,)))
        return x.reshape(g.shape[0], -1, *out).astype(dtype, copy=False)
    padded = tuple(n + sum(p) for n, p in zip(spatial, geometry.padding))
    x = np.zeros((g.shape[0], groups, channels, *padded), wide)
    if channels == 1 and groups > 1:
        _depthwise_adjoint(g, _taps_last(w, groups, len(out)), geometry, x[:, :, 0])
    else:
        for images, rows in _blocks(g.shape[0], out, matrix[..., 0].size * wide.itemsize):
            part = _by_group(g, images, rows)
            patches = np.matmul(matrix, part.reshape(groups, part.shape[1], -1))
            patches = patches.reshape(groups, channels, *kernel, *part.shape[2:])
            target = np.moveaxis(x[images], 0, 2)
            for tap in taps(kernel):
                target[tap_slices(tap, part.shape[3:], geometry.stride, geometry.dilation, rows.start)] += \
                    patches[(slice(None), slice(None), *tap)]
    x = crop_spatial(x.reshape(g.shape[0], -1, *padded), geometry.padding)
    return np.ascontiguousarray(x, dtype)


def gradient_in_weight(g: np.ndarray, x: np.ndarray, geometry: Geometry, kernel) -> np.ndarray:
    """The gradient of `convolve` in its weight of kernel sizes `kernel`."""
    groups, out = geometry.groups, g.shape[2:]
    dtype, wide = np.result_type(g, x), _working_dtype(g, x)
    x = pad_spatial(x, geometry.padding, dtype=wide)
    g = _split(g.astype(wide, copy=False), 1, groups)
    channels = x.shape[1] // groups
    if channels == 1 and groups > 1:
        w = _depthwise_weight(g, x, geometry, kernel)
    else:
        w = np.zeros((groups, g.shape[2], channels * int(np.prod(kernel))), wide)
        for images, rows, patches in _patch_blocks(x, kernel, geometry, out):
            part = _by_group(g, images, rows).reshape(groups, g.shape[2], -1)
            w += np.matmul(part, patches.transpose(0, 2, 1))
    return w.reshape(groups * g.shape[2], channels, *kernel).astype(dtype, copy=False)


def _depthwise(x, w, geometry, shape):
    """One input channel a group: a weighted sum of shifted inputs, as much at a time as the cache holds."""
    y = np.empty(shape, x.dtype)
    kernel = w.shape[-len(geometry.stride):]
    for images, rows in _blocks(shape[0], shape[3:], shape[1] * shape[2] * x.itemsize):
        total = y[images, :, :, rows]
        part = np.empty_like(total)
        for number, tap in enumerate(taps(kernel)):
            index = tap_slices(tap, total.shape[3:], geometry.stride, geometry.dilation, rows.start)
            np.multiply(x[images][index], w[(..., *tap)], out=part if number else total)
            if number:
                total += part
    return y


def _depthwise_adjoint(g, w, geometry, x):
    kernel = w.shape[-len(geometry.stride):]
    for images, rows in _blocks(g.shape[0], g.shape[3:], g.shape[1] * g.shape[2] * g.itemsize):
        source, target = g[images, :, :, rows], x[images]
        for tap in taps(kernel):
            part = source * w[(..., *tap)]
            target[tap_slices(tap, source.shape[3:], geometry.stride, geometry.dilation, rows.start)] += \
                part[:, :, 0] if part.shape[2] == 1 else part.sum(2)


def _depthwise_weight(g, x, geometry, kernel):
    w = np.empty(g.shape[1:3] + tuple(kernel), g.dtype)
    letters = 'xyz'[:len(kernel)]
    for tap in taps(kernel):
        part = x[tap_slices(tap, g.shape[3:], geometry.stride, geometry.dilation)]
        w[(..., *tap)] = np.einsum(f'ngm{letters},ng{letters}->gm', g, part)
    return w
