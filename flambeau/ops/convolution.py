"""Convolution in one to three spatial dimensions.

Convolution is linear in its input and in its weight. Its three faces (`convolve`, `gradient_in_input`,
`gradient_in_weight`) are each other's gradients, so that derivatives of any order and the transposed convolution need
no further formula. On arrays they are matrix products over unrolled patches.
"""
from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .. import dtypes
from ..errors import ArgumentTypeError
from .batching import Batch, in_batch, side_by_side
from .definition import composite, export, opaque
from .general import SIMPLE
from .reference import REFERENCE
from .windows import batched, output_size, pad_spatial, per_axis, same_for_batch, tap_slices, taps, unpad_spatial

PATCH_BYTES = 4 << 20  # of unrolled patches held at a time: what stays in a core's share of the cache
POINTWISE_POSITIONS = 64  # positions per image above which a 1x1 convolution is one matrix product per image


@dataclass(frozen=True)
class Geometry:
    """Where the windows of a convolution lie: one entry per spatial axis, and the number of channel groups."""
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int

    @functools.lru_cache(maxsize=4096)
    def output(self, spatial, kernel) -> tuple[int, ...]:
        """Spatial sizes of the output for an input of sizes `spatial`."""
        return tuple(map(output_size, spatial, kernel, self.stride, self.padding, self.dilation))

    @functools.lru_cache(maxsize=1024)
    def as_row(self) -> Geometry:
        """That of an image of one row, for one dimension."""
        return Geometry((1, *self.stride), ((0, 0), *self.padding), (1, *self.dilation), self.groups)

    def is_pointwise(self, kernel, spatial) -> bool:
        return (set(kernel) == set(self.stride) == {1} and not any(map(any, self.padding))
                and math.prod(spatial) >= POINTWISE_POSITIONS)


SIMPLE.add(Geometry)


def _halves_as_float32(function):
    """A map of arrays that multiplies and sums up halves in float32, and rounds what comes out."""
    @functools.wraps(function)
    def computed(*given):
        if given[0].itemsize > 2:
            return function(*given)
        dtype = dtypes.of(np.result_type(*given[:2]))
        if dtype.itemsize > 2 or not dtype.is_floating_point:
            return function(*given)
        wide = [REFERENCE.cast(a, dtypes.float32) if a.__class__ is np.ndarray else a for a in given]
        return REFERENCE.cast(function(*wide), dtype)
    return computed


def _channels_last(array):
    """Whether channels lie side by side in memory, where there are several dimensions beside them."""
    return array.ndim > 3 and not array.flags.c_contiguous and np.moveaxis(array, 1, -1).flags.c_contiguous


def _keeps_channels_last(function):
    """A map of images and a weight whose result has its channels side by side where one of these has."""
    @functools.wraps(function)
    def computed(images, weight, *rest):
        made = function(images, weight, *rest)
        if _channels_last(made) or not (_channels_last(images) or _channels_last(weight)):
            return made
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(made, 1, -1)), -1, 1)
    return computed


def _blocks(batch: int, out, bytes_per_position: int):
    """Splits the positions of an output into (images, rows of the first spatial axis) that share a patch buffer."""
    per_row = max(1, bytes_per_position * math.prod(out[1:]))
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
    """Yields (images, rows, patches): patches (groups, channels of a group * taps, positions) in one buffer."""
    groups, channels = geometry.groups, x.shape[1] // geometry.groups
    spatial = x.strides[2:]
    view = as_strided(
        x, (groups, channels, *kernel, x.shape[0], *out),
        (channels * x.strides[1], x.strides[1], *(s * d for s, d in zip(spatial, geometry.dilation)), x.strides[0],
         *(s * t for s, t in zip(spatial, geometry.stride))), writeable=False)
    depth = channels * math.prod(kernel)
    buffer = np.empty(0, x.dtype)
    at_images = (slice(None),) * (2 + len(kernel))
    for images, rows in _blocks(x.shape[0], out, groups * depth * x.itemsize):
        part = view[(*at_images, images, rows)]
        if part.size > buffer.size:
            buffer = np.empty(part.size, x.dtype)
        patches = buffer[:part.size].reshape(part.shape)
        np.copyto(patches, part)
        yield images, rows, patches.reshape(groups, depth, part.size // max(groups * depth, 1))


def _by_group(y, images, rows):
    """The block of (batch, groups, channels, *out) as (groups, channels, images, rows, ...)."""
    return y[images, :, :, rows].transpose(1, 2, 0, *range(3, y.ndim))


def _split(a, axis: int, groups: int):
    """Splits an axis of channels into (groups, channels of a group)."""
    return a.reshape(a.shape[:axis] + (groups, a.shape[axis] // groups) + a.shape[axis + 1:])


def _taps_last(w, groups: int, dims: int):
    """A depthwise weight as (groups, multiplier, 1 for each spatial axis, *kernel)."""
    w = _split(w[:, 0], 0, groups)
    return w.reshape(w.shape[:2] + (1,) * dims + w.shape[2:])


def _by_kernel(name, first, second, geometry, *more):
    """What the first family of kernels makes that takes these arrays, or None. One dimension is that of one row."""
    flat = len(geometry.stride) == 1
    if flat:
        first, second = first[:, :, None], second[:, :, None]
        more = [(1, *sizes) if isinstance(sizes, tuple) else sizes for sizes in more]
        geometry = geometry.as_row()
    for family in ('depthwise', 'convolution', 'volumes'):
        made = REFERENCE.kernel(f'{family}.{name}', first, second, geometry, *more)
        if made is not None:
            return made[:, :, 0] if flat else made
    return None


@_keeps_channels_last
@_halves_as_float32
def convolve(x: np.ndarray, w: np.ndarray, geometry: Geometry, bias: np.ndarray | None = None) -> np.ndarray:
    """bias + the cross-correlation of `x` (batch, channels, *spatial) and `w` (outputs, channels / groups, *kernel)."""
    made = _by_kernel('correlation', x, w, geometry, bias)
    if made is not None:
        return made
    groups, kernel = geometry.groups, w.shape[2:]
    out = geometry.output(x.shape[2:], kernel)
    dtype = np.result_type(x, w)
    x = pad_spatial(x, geometry.padding, dtype=dtype)
    w = w.astype(dtype, copy=False)
    shape = (x.shape[0], groups, w.shape[0] // groups, *out)
    if w.shape[1] == 1 and groups > 1:
        y = _depthwise(_split(x, 1, groups), _taps_last(w, groups, len(out)), geometry, shape)
        return _with_bias(y.reshape(x.shape[0], w.shape[0], *out), bias)
    matrix = w.reshape(groups, w.shape[0] // groups, math.prod(w.shape[1:]))
    if geometry.is_pointwise(kernel, out):
        y = np.matmul(matrix, x.reshape(x.shape[0], groups, w.shape[1], math.prod(out)))
        return _with_bias(y.reshape(x.shape[0], w.shape[0], *out), bias)
    y = np.empty(shape, dtype)
    for images, rows, patches in _patch_blocks(x, kernel, geometry, out):
        target = _by_group(y, images, rows)
        if target.shape[2] == 1:
            np.matmul(matrix, patches, out=target.reshape(matrix.shape[:2] + patches.shape[2:]))
        else:
            target[...] = np.matmul(matrix, patches).reshape(target.shape)
    return _with_bias(y.reshape(x.shape[0], w.shape[0], *out), bias)


@_keeps_channels_last
@_halves_as_float32
def gradient_in_input(g: np.ndarray, w: np.ndarray, geometry: Geometry, spatial) -> np.ndarray:
    """The gradient of `convolve` in its input of spatial sizes `spatial`: the adjoint map, a transposed convolution."""
    made = _by_kernel('correlation_adjoint', g, w, geometry, spatial)
    if made is not None:
        return made
    groups, kernel, out = geometry.groups, w.shape[2:], g.shape[2:]
    dtype = np.result_type(g, w)
    g = _split(g.astype(dtype, copy=False), 1, groups)
    w = w.astype(dtype, copy=False)
    channels = w.shape[1]
    matrix = w.reshape(groups, w.shape[0] // groups, math.prod(w.shape[1:])).transpose(0, 2, 1)
    if geometry.is_pointwise(kernel, out):
        x = np.matmul(matrix, g.reshape(g.shape[:3] + (math.prod(out),)))
        return x.reshape(g.shape[0], groups * channels, *out)
    padded = tuple(n + sum(p) for n, p in zip(spatial, geometry.padding))
    x = np.zeros((g.shape[0], groups, channels, *padded), dtype)
    if channels == 1 and groups > 1:
        _depthwise_adjoint(g, _taps_last(w, groups, len(out)), geometry, x[:, :, 0])
    else:
        for images, rows in _blocks(g.shape[0], out, matrix[..., 0].size * dtype.itemsize):
            part = _by_group(g, images, rows)
            patches = np.matmul(matrix, part.reshape(groups, part.shape[1], math.prod(part.shape[2:])))
            patches = patches.reshape(groups, channels, *kernel, *part.shape[2:])
            target = np.moveaxis(x[images], 0, 2)
            for tap in taps(kernel):
                target[tap_slices(tap, part.shape[3:], geometry.stride, geometry.dilation, rows.start)] += \
                    patches[(slice(None), slice(None), *tap)]
    return unpad_spatial(x.reshape(g.shape[0], groups * channels, *padded), geometry.padding)


@_halves_as_float32
def gradient_in_weight(g: np.ndarray, x: np.ndarray, geometry: Geometry, kernel) -> np.ndarray:
    """The gradient of `convolve` in its weight of kernel sizes `kernel`."""
    made = _by_kernel('correlation_in_weight', g, x, geometry, kernel)
    if made is not None:
        return made
    groups, out = geometry.groups, g.shape[2:]
    dtype = np.result_type(g, x)
    x = pad_spatial(x, geometry.padding, dtype=dtype)
    g = _split(g.astype(dtype, copy=False), 1, groups)
    channels = x.shape[1] // groups
    if channels == 1 and groups > 1:
        w = _depthwise_weight(g, x, geometry, kernel)
    else:
        w = np.zeros((groups, g.shape[2], channels * math.prod(kernel)), dtype)
        for images, rows, patches in _patch_blocks(x, kernel, geometry, out):
            part = _by_group(g, images, rows).reshape(groups, g.shape[2], patches.shape[2])
            w += np.matmul(part, patches.transpose(0, 2, 1))
    return w.reshape(groups * g.shape[2], channels, *kernel)


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


# ---- operations ------------------------------------------------------------------------------------------

def _conj(m, x):
    return m.conj(x) if m.is_complex(x) else x


def _bias_gradient(m, g):
    return m.sum(g, (0, *range(2, g.ndim)))


def _refuse_dtypes(input, weight, bias=None):
    for name, other in (('weight', weight), ('bias', bias)):
        if other is not None and other.dtype != input.dtype:
            raise RuntimeError(f'Input type ({input.dtype.name}) and {name} type ({other.dtype.name}) should be the '
                               f'same: convert one, for example with .to(torch.{other.dtype.name}). Arrays from NumPy '
                               'are float64 unless made otherwise')
    if input.dtype.kind == 'b':
        raise NotImplementedError('convolution is not implemented for bool tensors: convert them, as with .float()')


def _with_bias(y, bias):
    if bias is not None and REFERENCE.kernel('convolution.biased', y, bias) is None:
        y += bias.reshape(bias.shape + (1,) * (y.ndim - 2))
    return y


def _convolution_batched(op, values, size):
    """Images of all examples at once; where the weights differ, each example's channels are groups of their own."""
    input, weight, bias, geometry, *spatial = values
    if not isinstance(weight, Batch):
        out = side_by_side(op, (input, weight, None, geometry, *spatial), size) if isinstance(input, Batch) else \
            in_batch(op.public(input, weight, None, geometry, *spatial), size)
    else:
        images, weights = in_batch(input, size).movedim(0, 1).flatten(1, 2), weight.tensor.flatten(0, 1)
        out = op.public(images, weights, None, replace(geometry, groups=size * geometry.groups), *spatial)
        out = out.unflatten(1, (size, out.shape[1] // size)).movedim(1, 0)
    if bias is None:
        return out
    bias = in_batch(bias, size)
    return out + bias.reshape(size, 1, bias.shape[1], *(1,) * (out.dim() - 3))


@opaque(namespace='', method=False, replay=True, label='ConvolutionBackward0', batch=_convolution_batched, grad={
    'input': lambda m, g, weight, geometry, input_shape:
        m._convolution_transpose(g, _conj(m, weight), None, geometry, input_shape[2:]),
    'weight': lambda m, g, input, geometry, weight_shape:
        m._convolution_weight(g, _conj(m, input), geometry, weight_shape[2:]),
    'bias': _bias_gradient})
def _convolution(m, input, weight, bias, geometry):
    """`convolve` of tensors of one dtype."""
    _refuse_dtypes(input, weight, bias)
    return convolve(input, weight, geometry, bias)


@opaque(namespace='', method=False, replay=True, label='ConvolutionBackward0', batch=_convolution_batched, grad={
    'input': lambda m, g, weight, geometry: m._convolution(g, _conj(m, weight), None, geometry),
    'weight': lambda m, g, input, geometry, weight_shape:
        m._convolution_weight(_conj(m, input), g, geometry, weight_shape[2:]),
    'bias': _bias_gradient})
def _convolution_transpose(m, input, weight, bias, geometry, spatial):
    """`gradient_in_input` of an output of sizes `spatial`, plus a bias per output channel."""
    _refuse_dtypes(input, weight, bias)
    return _with_bias(gradient_in_input(input, weight, geometry, spatial), bias)


@opaque(namespace='', method=False, replay=True, grad={
    'outer': lambda m, g, input, geometry: m._convolution(_conj(m, input), g, None, geometry),
    'input': lambda m, g, outer, geometry, input_shape:
        m._convolution_transpose(_conj(m, outer), g, None, geometry, input_shape[2:])})
def _convolution_weight(m, outer, input, geometry, kernel):
    """`gradient_in_weight` for an output's gradient `outer`."""
    return gradient_in_weight(outer, input, geometry, kernel)


def _checked_sizes(operation, shape, weight_shape, bias_shape, groups, transposed):
    """Raises RuntimeError where channels, groups and bias do not fit each other."""
    if groups <= 0:
        raise RuntimeError('non-positive groups is not supported')
    about = f'{operation}: given ' + ('transposed=1, ' if transposed else f'groups={groups}, ') + \
        f'weight of size {list(weight_shape)}'
    if weight_shape[0] % groups:
        raise RuntimeError(f'{about}, expected weight to be divisible by {groups} at dimension 0')
    channels = weight_shape[0] if transposed else weight_shape[1] * groups
    if shape[1] != channels:
        raise RuntimeError(f'{about}, expected input{list(shape)} to have {channels} channels, but got '
                           f'{shape[1]} channels instead')
    outputs = weight_shape[1] * groups if transposed else weight_shape[0]
    if bias_shape is not None and bias_shape != (outputs,):
        raise RuntimeError(f'{about}, expected bias to be 1-dimensional with {outputs} elements, but got bias of size '
                           f'{list(bias_shape)} instead')
    if 0 in shape[2:] or 0 in weight_shape[2:]:
        raise RuntimeError('Only zero batch or zero channel inputs are supported, but got input shape: '
                           f'{list(shape)} and weight shape: {list(weight_shape)}')


def _hashable(sizes):
    return tuple(sizes) if sizes.__class__ is list else sizes


def _checked_operands(m, operation, dims, input, weight):
    """(input with a batch dimension, whether it was missing); raises where the weight has another rank."""
    if getattr(weight, 'ndim', None) is None:
        raise ArgumentTypeError(f"{operation}(): argument 'weight' must be Tensor, not {type(weight).__name__}")
    input, unbatched = batched(m, input, dims, operation)
    if weight.ndim != dims + 2:
        raise RuntimeError(f'{operation}: expected {dims + 2}-dimensional weight for {dims + 2}-dimensional input '
                           f'{list(input.shape)}, but got {weight.ndim}-dimensional weight of size '
                           f'{list(weight.shape)} instead')
    return as_weight(m, input, weight), unbatched


def as_weight(m, input, weight):
    """Integers, such as the pixels of an image, in the floating point dtype of the weight."""
    # arrays come in one dtype
    whole = not getattr(input.dtype, 'is_floating_point', True) and not input.dtype.is_complex
    return m.cast_like(input, weight) if whole and weight.dtype.is_floating_point else input


def _checked_steps(operation, dims, stride, dilation):
    stride, dilation = per_axis(stride, dims, operation, 'stride'), per_axis(dilation, dims, operation, 'dilation')
    if min(stride) <= 0:
        raise RuntimeError(f'{operation}: non-positive stride is not supported, got {stride}')
    if min(dilation) <= 0:
        raise RuntimeError(f'{operation}: dilation should be greater than zero, but got {dilation}')
    return stride, dilation


def _checked_padding(operation, dims, padding):
    padding = per_axis(padding, dims, operation, 'padding')
    if min(padding) < 0:
        raise RuntimeError(f'{operation}: negative padding is not supported, got {padding}')
    return padding


def _padding_pairs(operation, dims, padding, kernel, stride, dilation):
    """(before, after) per axis from an int, ints, 'valid' or 'same'."""
    if not isinstance(padding, str):
        return tuple((p, p) for p in _checked_padding(operation, dims, padding))
    if padding == 'valid':
        return ((0, 0),) * dims
    if padding != 'same':
        raise RuntimeError(f"{operation}: invalid padding string {padding!r}, expected 'valid' or 'same'")
    if set(stride) != {1}:
        raise RuntimeError(f"{operation}: padding='same' is not supported for strided convolutions, got "
                           f'stride={stride}')
    totals = [d * (k - 1) for d, k in zip(dilation, kernel)]
    return tuple((total // 2, total - total // 2) for total in totals)


@functools.lru_cache(maxsize=4096, typed=True)
def _checked_geometry(operation, dims, shape, weight_shape, bias_shape, stride, padding, dilation, groups):
    """The geometry of a convolution of these shapes, which fit each other."""
    stride, dilation = _checked_steps(operation, dims, stride, dilation)
    _checked_sizes(operation, shape, weight_shape, bias_shape, groups, False)
    kernel, spatial = weight_shape[2:], shape[2:]
    pairs = _padding_pairs(operation, dims, padding, kernel, stride, dilation)
    geometry = Geometry(stride, pairs, dilation, groups)
    if min(geometry.output(spatial, kernel)) <= 0:
        padded = [n + sum(p) for n, p in zip(spatial, pairs)]
        spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel)]
        raise RuntimeError(f'{operation}: calculated padded input size per channel: {padded}. Kernel size: '
                           f"{spans}. Kernel size can't be greater than actual input size")
    return geometry


def _declare_convolution(dims):
    operation = f'conv{dims}d'

    def conv(m, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        input, unbatched = _checked_operands(m, operation, dims, input, weight)
        geometry = _checked_geometry(
            operation, dims, tuple(input.shape), tuple(weight.shape), None if bias is None else tuple(bias.shape),
            _hashable(stride), _hashable(padding), _hashable(dilation), groups)
        return same_for_batch(m, m._convolution(input, weight, bias, geometry), unbatched)

    conv.__doc__ = f"""Cross-correlates `input` with `weight` over {dims} spatial dimension{'s' * (dims > 1)}.

    input (N, C, *spatial) or (C, *spatial), weight (O, C/groups, *kernel), bias (O); `padding` is an int, one per axis,
    'valid' or 'same' (output as large as the input, stride 1).
    """
    return composite(conv, name=operation, namespace='torch nn.functional', method=False, widen=False,
                     replay=True, label='ConvolutionBackward0')


@functools.lru_cache(maxsize=4096, typed=True)
def _checked_transposed_geometry(operation, dims, shape, weight_shape, bias_shape, stride, padding, output_padding,
                                 groups, dilation):
    """(the geometry of the convolution whose transpose this is, spatial sizes of the output), for shapes that fit."""
    stride, dilation = _checked_steps(operation, dims, stride, dilation)
    padding = _checked_padding(operation, dims, padding)
    extra = per_axis(output_padding, dims, operation, 'output_padding')
    _checked_sizes(operation, shape, weight_shape, bias_shape, groups, True)
    if any(e < 0 or e >= max(s, d) for e, s, d in zip(extra, stride, dilation)):
        raise RuntimeError(f'{operation}: output padding must be non-negative and smaller than either stride or '
                           f'dilation, but got output_padding={extra}, stride={stride}, dilation={dilation}')
    spatial = tuple((n - 1) * s - 2 * p + d * (k - 1) + e + 1 for n, s, p, d, k, e in
                    zip(shape[2:], stride, padding, dilation, weight_shape[2:], extra))
    if min(spatial) <= 0:
        raise RuntimeError(f'{operation}: given input size per channel: {list(shape[2:])}. Calculated output '
                           f'size per channel: {list(spatial)}. Output size is too small')
    # less padding behind stands for output padding: windows of the output then meet the input one to one
    return Geometry(stride, tuple((p, p - e) for p, e in zip(padding, extra)), dilation, groups), spatial


def _declare_transpose(dims):
    operation = f'conv_transpose{dims}d'

    def conv_transpose(m, input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
        input, unbatched = _checked_operands(m, operation, dims, input, weight)
        geometry, spatial = _checked_transposed_geometry(
            operation, dims, tuple(input.shape), tuple(weight.shape), None if bias is None else tuple(bias.shape),
            _hashable(stride), _hashable(padding), _hashable(output_padding), groups, _hashable(dilation))
        return same_for_batch(m, m._convolution_transpose(input, weight, bias, geometry, spatial), unbatched)

    conv_transpose.__doc__ = f"""The gradient map of `conv{dims}d`, as a layer that enlarges: a transposed convolution.

    input (N, C, *spatial) or (C, *spatial), weight (C, O/groups, *kernel), bias (O); `output_padding` adds to one side
    of the output.
    """
    return composite(conv_transpose, name=operation, namespace='torch nn.functional', method=False, widen=False,
                     replay=True, label='ConvolutionBackward0')


CONVOLUTIONS = {dims: _declare_convolution(dims) for dims in (1, 2, 3)}
TRANSPOSES = {dims: _declare_transpose(dims) for dims in (1, 2, 3)}


@export()
def convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    """The convolution, or transposed convolution, of as many dimensions as `weight` has beyond two."""
    if transposed:
        return TRANSPOSES[weight.dim() - 2](input, weight, bias, stride, padding, output_padding, groups, dilation)
    return CONVOLUTIONS[weight.dim() - 2](input, weight, bias, stride, padding, dilation, groups)
