"""Normalisation: values brought to mean 0 and variance 1 (or to mean square 1) over some dimensions, then scaled.

Batch, layer, group, instance and root mean square normalisation are one formula over one layout: the input is looked at
in a `shape`, `axes` of which are averaged over, and weight and bias are looked at in shapes that broadcast to it. It is
an operation of its own, since a derived gradient would pass over the data about eight times instead of four.
"""
from __future__ import annotations

import functools
import math

import numpy as np

from .. import dtypes
from ..autograd.graph import count_write, writing_frame
from ..storage import has_channels_last
from ..tensor import channels_last, channels_last_3d
from .activation import need_floating
from .batching import Batch, in_batch
from .conversion import laid_out
from .definition import PUBLIC, composite, export, opaque
from .general import SIMPLE
from .reference import LARGE, REFERENCE

__all__ = ['batch_norm', 'layer_norm', 'group_norm', 'instance_norm', 'rms_norm', 'local_response_norm']


# ---- the one formula

class Layout:
    """How an input is looked at: in a `shape`, averaged over `axes`; weight and bias broadcast in `affine_shape`.

    Not centered: the mean is left where it is, and the mean square stands for the variance.
    """

    __slots__ = ('shape', 'axes', 'affine_shape', 'eps', 'centered', 'count')

    def __init__(self, shape, axes, affine_shape, eps, centered=True):
        self.shape, self.axes, self.affine_shape, self.eps, self.centered = shape, axes, affine_shape, eps, centered
        self.count = math.prod(shape[a] for a in axes)


SIMPLE.add(Layout)


def _like(m, x, y):
    """`x` in the dtype of `y`: half types are computed in float32."""
    return x if x is None or x.dtype == y.dtype else m.cast_like(x, y)


def _affine_gradients(m, g, standardized, parameter_shape, affine_shape, needed):
    """The gradients of weight and bias."""
    found = {}
    if 'weight' in needed:
        found['weight'] = m.reshape(m.sum_to_size(g * standardized, affine_shape), parameter_shape)
    if 'bias' in needed:
        found['bias'] = m.reshape(m.sum_to_size(g, affine_shape), parameter_shape)
    return found


def _normalize_gradients(m, g, input, weight, bias_shape, bias_dtype, output1, output2, layout, needed):
    """In the cotangents of all three results: second derivatives go through the statistics."""
    mean, variance = output1, output2
    of_output, of_mean, of_variance = g
    if of_output is None:
        of_output = m.zeros_of(input.shape, variance)
    shape, axes, affine_shape = layout.shape, layout.axes, layout.affine_shape
    arguments = (
        _like(m, m.reshape(of_output, shape), variance), _like(m, m.reshape(input, shape), variance),
        None if weight is None else m.reshape(_like(m, weight, variance), affine_shape), mean if layout.centered
        else None, variance, of_mean, of_variance, axes, affine_shape, float(max(layout.count, 1)), float(layout.eps))
    slopes, of_weight, of_bias = _all_gradients(m, arguments, 'input' in needed, 'weight' in needed, 'bias' in needed)
    parameter_shape = bias_shape if weight is None else weight.shape
    found = {name: m.reshape(value, to) for name, value, to in (
        ('input', slopes, input.shape), ('weight', of_weight, parameter_shape), ('bias', of_bias, parameter_shape))
        if value is not None}
    return {name: _to_dtype_of(m, value, {'input': input, 'weight': weight}.get(name), bias_dtype)
            for name, value in found.items()}


def _all_gradients(m, arguments, of_input, of_weight, of_bias):
    """`_standardized_gradients`: in one pass, or where weight and bias differ along rows of a sample, in two."""
    wanted = of_input, of_weight, of_bias
    if m is REFERENCE and _has_columns(arguments[1], arguments[7]) and arguments[5] is arguments[6] is None:
        return _column_gradients(m, arguments, *wanted)
    if m is not REFERENCE or not of_weight and not of_bias:
        return m.fused(_standardized_gradients, *arguments, *wanted)
    plan = m.planned(_standardized_gradients, (*arguments, *wanted))
    if plan:
        return plan(*arguments, *wanted)
    g, x, _, mean, variance, _, _, axes, affine_shape, _, eps = arguments
    sums = _summed_parameters(m, g, x, mean, variance, affine_shape, eps)
    if sums is None:
        return _standardized_gradients(m, *arguments, *wanted)
    slopes = m.fused(_standardized_gradients, *arguments, True, False, False)[0] if of_input else None
    return slopes, *[total if asked else None for total, asked in zip(sums, (of_weight, of_bias))]


def _summed_parameters(m, g, x, mean, variance, affine_shape, eps):
    """The gradients of weight and bias by one kernel, or None: along rows first, or where channels lie side by side,
    not.
    """
    last = x.ndim - 1
    if affine_shape[last] != 1 or mean is None:
        return None
    if _has_columns(x, (0, last)):
        return m.fused(_parameter_columns, g, x, mean, variance, affine_shape, eps)
    plan = m.planned(_parameter_sums, (g, x, mean, variance, eps, last))
    return [m.sum_to_size(total, affine_shape) for total in plan(g, x, mean, variance, eps, last)] if plan else None


def _parameter_sums(m, g, x, mean, variance, eps, axis):
    """What gradients of weight and bias sum up, summed along one axis."""
    return m.sum(g * ((x - mean) * m.rsqrt(variance + eps)), axis, True), m.sum(g, axis, True)


def _parameter_columns(m, g, x, mean, variance, affine_shape, eps):
    return m.sum_to_size(g * ((x - mean) * m.rsqrt(variance + eps)), affine_shape), m.sum_to_size(g, affine_shape)


def _has_columns(x, axes):
    """Whether what is averaged over lies around numbers side by side: channels of channels_last images."""
    return axes[0] == 0 and x.ndim == 3 and 1 < x.shape[1] == x.strides[2] // x.itemsize and x.strides[1] == x.itemsize


def _column_gradients(m, arguments, of_input, of_weight, of_bias):
    """`_standardized_gradients`: the sums over columns, then every number by itself."""
    g, x, weight, mean, variance, _, _, _, affine_shape, count, eps = arguments
    of_scale, of_shift = m.fused(_parameter_columns, g, x, mean, variance, affine_shape, eps)
    slopes = None
    if of_input:
        scale = m.rsqrt(variance + eps)
        factor = scale if weight is None else scale * weight
        share = -factor / count
        slopes = m.fused(_slopes, g, x, mean, factor, share * scale * of_scale, share * of_shift)
    return slopes, of_scale if of_weight else None, of_shift if of_bias else None


def _standardized_columns(m, x, weight, bias, affine_shape, count, eps):
    """`_standardized`: the sums over columns, then every number by itself."""
    mean = m.fused(_column_sum, x, affine_shape) / count
    variance = m.fused(_column_spread, x, mean, affine_shape) / count
    return m.fused(_scaled, x, *_statistical_factors(m, weight, bias, mean, variance, eps)), mean, variance


def _column_sum(m, x, shape):
    return m.sum_to_size(x, shape)


def _column_spread(m, x, mean, shape):
    return m.sum_to_size((x - mean) * (x - mean), shape)


def _slopes(m, g, x, mean, scale, along, shift):
    slopes = g * scale + (x if mean is None else x - mean) * along
    return slopes if shift is None else slopes + shift


def _standardized_gradients(m, g, x, weight, mean, variance, of_mean, of_variance, axes, affine_shape, count, eps,
                            of_input, of_weight, of_bias):
    """The gradients of `_standardized`'s x, weight and bias, each None where not wanted."""
    scale = m.rsqrt(variance + eps)
    offsets = x if mean is None else x - mean
    weight_gradient = m.sum_to_size(g * (offsets * scale), affine_shape) if of_weight else None
    bias_gradient = m.sum_to_size(g, affine_shape) if of_bias else None
    if not of_input:
        return None, weight_gradient, bias_gradient
    if weight is not None:
        g = g * weight
    along = -m.sum(g * offsets, axes, True) * (scale * scale * scale)
    if of_variance is not None:
        along = along + of_variance * 2.0
    shift = None
    if mean is not None:
        shift = -m.sum(g, axes, True) * scale
        shift = (shift if of_mean is None else shift + of_mean) / count
    return _slopes(m, g, x, mean, scale, along / count, shift), weight_gradient, bias_gradient


def _to_dtype_of(m, value, operand, bias_dtype):
    """A gradient in the dtype of its operand."""
    return m.cast(value, bias_dtype) if operand is None else _like(m, value, operand)


def _working(array):
    """Half types as float32, others as they are."""
    return array if array is None or array.itemsize > 2 else REFERENCE.cast(array, dtypes.float32)


def _normalize(m, input, weight, bias, layout):
    """(the normalised input, mean, variance) over the axes of a layout."""
    x = _working(input).reshape(layout.shape)
    weight, bias = (v if v is None else _working(v).reshape(layout.affine_shape) for v in (weight, bias))
    if layout.centered and _has_columns(x, layout.axes):
        out, mean, variance = _standardized_columns(m, x, weight, bias, layout.affine_shape, layout.count,
                                                    float(layout.eps))
    else:
        out, mean, variance = m.fused(_standardized, x, weight, bias, layout.axes, float(layout.count or math.nan),
                                      float(layout.eps), layout.centered)
    out = out.reshape(input.shape)
    if out.dtype is not input.dtype:
        out = m.cast(out, dtypes.of(input.dtype))
    if layout.axes == (2, 3) and has_channels_last(input):
        out = laid_out(out, channels_last if out.ndim == 4 else channels_last_3d)
    return out, np.zeros((), x.dtype) if mean is None else mean, variance


def _standardized(m, x, weight, bias, axes, count, eps, centered):
    """(normalised x, mean or None, variance), as one pass over memory where it is generated."""
    mean = m.sum(x, axes, True) / count if centered else None
    offsets = x if mean is None else x - mean
    variance = m.sum(offsets * offsets, axes, True) / count
    out = offsets * m.rsqrt(variance + eps)
    if weight is not None:
        out = out * weight
    return out if bias is None else out + bias, mean, variance


def _times(m, x, factor):
    return x * factor


def _scaled(m, x, factor, shift):
    return x * factor + shift


def _scaled_in_batch(out, weight, bias, layout, size):
    """Results of all examples, times weights and plus biases, of which each example may have its own."""
    shape = out.shape
    out = out.reshape(size, *layout.shape)
    for scale, parameter in ((True, weight), (False, bias)):
        if parameter is not None:
            parameter = in_batch(parameter, size).reshape(size, *layout.affine_shape)
            out = out * parameter if scale else out + parameter
    return out.reshape(shape)


def _normalize_batched(op, values, size):
    """Examples side by side along the first dimension of the layout, or along the second where the first is averaged.
    """
    input, weight, bias, layout = values
    x = in_batch(input, size)
    apart, (first, second, *rest) = isinstance(weight, Batch) or isinstance(bias, Batch), layout.shape
    along = 0 in layout.axes
    shape = (first, size * second, *rest) if along else (size * first, second, *rest)
    looked = x.reshape(size, *layout.shape).movedim(0, 1) if along else x
    affine = (None, None) if apart or along else (weight, bias)
    given = Layout(shape, layout.axes, layout.affine_shape, layout.eps, layout.centered)
    out, *statistics = op.public(looked.reshape(shape), *affine, given)
    if along:
        out = out.unflatten(1, (size, second)).movedim(1, 0)
        statistics = [s.unflatten(1, (size, second)).movedim(1, 0) for s in statistics]
    else:
        statistics = [s.unflatten(0, (size, first)) if s.dim() else s.expand(size) for s in statistics]
    out = out.reshape(x.shape)
    return (out if affine == (weight, bias) else _scaled_in_batch(out, weight, bias, layout, size), *statistics)


def _declare(name, label):
    return opaque(name=name, namespace='', method=False, label=label, materialize=False, replay=True,
                  batch=_normalize_batched,
                  grad=_normalize_gradients)(_normalize)


_batch_norm = _declare('_batch_normalize', 'NativeBatchNormBackward0')
_layer_norm = _declare('_layer_normalize', 'NativeLayerNormBackward0')
_group_norm = _declare('_group_normalize', 'NativeGroupNormBackward0')
_rms_norm = _declare('_rms_normalize', 'MulBackward0')


def _fixed_gradients(m, g, input, weight, bias_dtype, mean, variance, layout, needed):
    shape, affine_shape = layout.shape, layout.affine_shape
    scale = m.reshape(m.rsqrt(variance + layout.eps), affine_shape)
    g, x = (_like(m, m.reshape(v, shape), variance) for v in (g, input))
    of_mean, of_variance = (m.reshape(v, affine_shape) for v in (mean, variance))
    sums = _summed_parameters(m, g, x, of_mean, of_variance, affine_shape, float(layout.eps)) if m is REFERENCE and (
        'weight' in needed or 'bias' in needed) else None
    if sums is None:
        found = _affine_gradients(m, g, (x - of_mean) * scale, mean.shape, affine_shape, needed)
    else:
        found = {name: total.reshape(mean.shape) for name, total in zip(('weight', 'bias'), sums) if name in needed}
    if 'input' in needed:
        slope = scale if weight is None else scale * m.reshape(_like(m, weight, variance), affine_shape)
        found['input'] = m.reshape(g * slope if m is not REFERENCE else m.fused(_times, g, slope), input.shape)
    return {name: _to_dtype_of(m, value, {'input': input, 'weight': weight}.get(name), bias_dtype)
            for name, value in found.items()}


def _fixed_normalize_batched(op, values, size):
    input, weight, bias, mean, variance, layout = values
    x = in_batch(input, size)
    if isinstance(mean, Batch) or isinstance(variance, Batch):
        mean, variance = (in_batch(v, size).reshape(size, *layout.affine_shape) for v in (mean, variance))
        out = ((x.reshape(size, *layout.shape) - mean) * (variance + layout.eps).rsqrt()).reshape(x.shape)
        return _scaled_in_batch(out, weight, bias, layout, size)
    shape = (size * layout.shape[0], *layout.shape[1:])
    shared = not isinstance(weight, Batch) and not isinstance(bias, Batch)
    out = op.public(x.reshape(shape), *((weight, bias) if shared else (None, None)), mean, variance,
                    Layout(shape, layout.axes, layout.affine_shape, layout.eps, layout.centered)).reshape(x.shape)
    return out if shared else _scaled_in_batch(out, weight, bias, layout, size)


@opaque(namespace='', method=False, replay=True, label='NativeBatchNormBackward0', batch=_fixed_normalize_batched,
        grad=_fixed_gradients)
def _fixed_normalize(m, input, weight, bias, mean, variance, layout):
    """The input normalised by statistics that are given, one per channel."""
    x = _working(input).reshape(layout.shape)
    numbers = [v if v is None else _working(v).reshape(layout.affine_shape) for v in (weight, bias, mean, variance)]
    if x.size >= LARGE:  # what is one number for a channel is not computed again for every row of it
        out = m.fused(_scaled, x, *_statistical_factors(m, *numbers, layout.eps)).reshape(input.shape)
    else:
        out = m.fused(_scaled_by_statistics, x, *numbers, float(layout.eps)).reshape(input.shape)
    return out if out.dtype is input.dtype else m.cast(out, dtypes.of(input.dtype))


def _statistical_factors(m, weight, bias, mean, variance, eps):
    """(factor, what is added) of every channel."""
    factor = m.rsqrt(variance + eps)
    if weight is not None:
        factor = factor * weight
    return factor, -mean * factor if bias is None else bias - mean * factor


def _scaled_by_statistics(m, x, *numbers):
    return _scaled(m, x, *_statistical_factors(m, *numbers))


# ---- checks

def _check_channels(name, channels, **vectors):
    """Raises where weight, bias or running statistics do not hold one number per channel."""
    for what, vector in vectors.items():
        if vector is not None and vector._array.shape != (channels,):
            raise RuntimeError(f'{name}: {what} should contain {channels} elements, one per channel of the input, not '
                               f'{vector.numel()}')


def _channels(name, input):
    """The number of channels, dimension 1."""
    need_floating(name, input._array)
    if input._array.ndim < 2:
        if input._array.shape == (0,):
            return 0
        raise IndexError(f'{name}: Dimension out of range: the input has shape {list(input.shape)}, but its '
                         'dimension 1 is that of the channels')
    return input._array.shape[1]


@functools.lru_cache(maxsize=256)
def _channel_layout(shape, eps, over_batch):
    """Statistics per channel, over the batch too or per sample: the input as (N, C, everything else)."""
    if len(shape) < 3:
        return Layout((*(1,) * (2 - len(shape)), *shape), (0,), (1, shape[-1]), eps)
    axes = (0, 2) if over_batch else (2,)
    return Layout((shape[0], shape[1], math.prod(shape[2:])), axes, (1, shape[1], 1), eps)


def _moved(m, running_mean, running_var, mean, variance, kept, share, of_variance):
    return running_mean * kept + mean * share, running_var * kept + variance * of_variance


def _update_running(running_mean, running_var, mean, variance, count, momentum):
    """Moves running statistics, of which there may be none, towards those of a batch, in place."""
    running = running_mean, running_var
    if running_mean is None and running_var is None:
        return
    frame, batch = writing_frame(), (mean.reshape(-1), variance.reshape(-1))
    before = [values if kept is None else kept._array for kept, values in zip(running, batch)]
    moved = REFERENCE.fused(_moved, *before, *batch, 1.0 - momentum, float(momentum),
                            momentum * (count / max(count - 1, 1)))
    for kept, values in zip(running, moved):
        if kept is not None:
            kept._array[...] = values
            count_write(kept, 'batch_norm', frame)


# ---- over the batch

def _normalize_batch(input, weight, bias, running_mean, running_var, training, momentum, eps):
    """(normalised input, batch mean, batch variance), the last two None where running statistics are used."""
    channels = _channels('batch_norm', input)
    _check_channels('batch_norm', channels, running_mean=running_mean, running_var=running_var, weight=weight,
                    bias=bias)
    for what, statistic in (('running_mean', running_mean), ('running_var', running_var)):
        if statistic is not None and statistic._node is not None and statistic.requires_grad:
            raise RuntimeError(f"The function 'batch_norm' is not differentiable with respect to argument '{what}'. "
                               'This input cannot have requires_grad True.')
    layout = _channel_layout(input._array.shape, eps, True)
    if not training:
        for what, statistic in (('running_mean', running_mean), ('running_var', running_var)):
            if statistic is None:
                raise RuntimeError(f'batch_norm: {what} must be defined in evaluation mode')
        return _fixed_normalize(input, weight, bias, running_mean, running_var, layout), None, None
    out, mean, variance = _batch_norm(input, weight, bias, layout)
    if layout.count:
        _update_running(running_mean, running_var, mean._array, variance._array, layout.count, momentum)
    return out, mean, variance


@export('nn.functional')
def batch_norm(input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    """(input - mean) / sqrt(variance + eps) * weight + bias per channel (dimension 1).

    Training: with the statistics of the batch, towards which the running ones are moved in place by the share
    `momentum` (the variance by its unbiased estimate). Otherwise with the running ones.
    """
    if eps <= 0:
        raise ValueError(f'batch_norm: eps must be positive, but got {eps}')
    if training:
        shape = input._array.shape
        if math.prod(shape[:1] + shape[2:]) == 1:
            raise ValueError(f'Expected more than 1 value per channel when training, got input size {input.shape}')
        if (running_mean is None) != (running_var is None):
            raise ValueError('batch_norm: running_mean and running_var must either both be None or neither be None')
    return _normalize_batch(input, weight, bias, running_mean, running_var, training, momentum, eps)[0]


@export(name='batch_norm', lenient=('weight',))
def _torch_batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn_enabled=True):
    """`nn.functional.batch_norm` with the arguments in another order."""
    return _normalize_batch(input, weight, bias, running_mean, running_var, training, momentum, eps)[0]


def _statistics(mean, variance, eps, shape):
    """Mean and 1 / sqrt(variance + eps)."""
    return mean.reshape(shape), (variance + eps).rsqrt().reshape(shape)


@export(lenient=('weight',))
def native_batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps):
    """(output, batch mean, 1 / sqrt(batch variance + eps)) of batch_norm; the last two are empty if not training."""
    out, mean, variance = _normalize_batch(input, weight, bias, running_mean, running_var, training, momentum, eps)
    if mean is None:
        return out, PUBLIC.empty_like(running_mean).resize_(0), PUBLIC.empty_like(running_mean).resize_(0)
    return out, *_statistics(mean.detach(), variance.detach(), eps, (-1,))  # without gradient, as PyTorch's


def _normalize_instances(input, running_mean, running_var, weight, bias, momentum, eps):
    channels = _channels('instance_norm', input)
    _check_channels('instance_norm', channels, running_mean=running_mean, running_var=running_var, weight=weight,
                    bias=bias)
    shape = input._array.shape
    layout = _channel_layout(shape if len(shape) > 2 else (*shape, 1), eps, False)
    out, mean, variance = _batch_norm(input, weight, bias, layout)
    if shape[0] and (running_mean is not None or running_var is not None):
        _update_running(running_mean, running_var, mean._array.mean(0), variance._array.mean(0), layout.count, momentum)
    return out


@export('nn.functional')
def instance_norm(input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True,
                  momentum=0.1, eps=1e-5):
    """batch_norm of each sample by itself; the running statistics are moved towards the samples' mean."""
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise RuntimeError('Expected running_mean and running_var to be defined when use_input_stats is false')
        return _normalize_batch(input, weight, bias, running_mean, running_var, False, momentum, eps)[0]
    if math.prod(input._array.shape[2:]) == 1:
        raise ValueError(f'Expected more than 1 spatial element when training, got input size {input.shape}')
    return _normalize_instances(input, running_mean, running_var, weight, bias, momentum, eps)


@export(name='instance_norm', lenient=('weight',))
def _torch_instance_norm(input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps,
                         cudnn_enabled=True):
    """`nn.functional.instance_norm` with the arguments in another order."""
    return instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


# ---- over the last dimensions

def _last_dimensions(name, input, normalized_shape, weight, bias, eps, centered=True):
    """The layout for statistics over the last dimensions, which must be `normalized_shape`."""
    if not isinstance(normalized_shape, (tuple, list)):
        raise TypeError(f"{name}(): argument 'normalized_shape' must be tuple of ints, not "
                        f'{type(normalized_shape).__name__}')
    layout = _last_layout(name, input._array.shape, tuple(normalized_shape), None if weight is None
                          else weight._array.shape, None if bias is None else bias._array.shape, eps, centered)
    need_floating(name, input._array)
    return layout


@functools.lru_cache(maxsize=1024)
def _last_layout(name, whole, given, weight_shape, bias_shape, eps, centered):
    if not given:
        raise RuntimeError(f'{name}: expected normalized_shape to be at least 1-dimensional, i.e., containing at least '
                           'one element, but got normalized_shape = []')
    for what, shape in (('weight', weight_shape), ('bias', bias_shape)):
        if shape is not None and shape != given:
            raise RuntimeError(f'{name}: expected {what} to be of same shape as normalized_shape, but got {what} of '
                               f'shape {list(shape)} and normalized_shape = {list(given)}')
    if whole[-len(given):] != given:
        expected = ', '.join(map(str, given))
        raise RuntimeError(f'{name}: given normalized_shape={list(given)}, expected input with shape [*, {expected}], '
                           f'but got input of size {list(whole)}')
    inner = math.prod(given)
    return Layout((math.prod(whole[:-len(given)]), inner), (1,), (1, inner), eps, centered)


@export('nn.functional')
def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    """(input - mean) / sqrt(variance + eps) * weight + bias, with statistics over the last dimensions.

    Weight and bias have the sizes `normalized_shape` of these dimensions.
    """
    layout = _last_dimensions('layer_norm', input, normalized_shape, weight, bias, eps)
    return _layer_norm(input, weight, bias, layout)[0]


@export(name='layer_norm')
def _torch_layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5, cudnn_enable=True):
    """`nn.functional.layer_norm`."""
    return layer_norm(input, normalized_shape, weight, bias, eps)


@export(lenient=('weight',))
def native_layer_norm(input, normalized_shape, weight, bias, eps):
    """(output, mean, 1 / sqrt(variance + eps)) of layer_norm."""
    layout = _last_dimensions('native_layer_norm', input, normalized_shape, weight, bias, eps)
    out, mean, variance = _layer_norm(input, weight, bias, layout)
    count = len(normalized_shape)
    return out, *_statistics(mean.detach(), variance.detach(), eps, (*input.shape[:-count], *(1,) * count))


@export('torch nn.functional')
def rms_norm(input, normalized_shape, weight=None, eps=None):
    """input / sqrt(mean square over the last dimensions + eps) * weight; eps None is the smallest step from 1."""
    if eps is None:
        eps = float(np.finfo(np.float64 if input.dtype is dtypes.float64 else np.float32).eps)
    layout = _last_dimensions('rms_norm', input, normalized_shape, weight, None, eps, False)
    return _rms_norm(input, weight, None, layout)[0]


# ---- over groups of channels

@functools.lru_cache(maxsize=256)
def _group_layout(shape, groups, eps):
    each = shape[1] // groups
    return Layout((shape[0], groups, each, math.prod(shape[2:])), (2, 3), (1, groups, each, 1), eps)


def _normalize_groups(name, input, num_groups, weight, bias, eps):
    whole = input._array.shape
    if len(whole) < 2:
        raise RuntimeError(f'{name}: Expected at least 2 dimensions for input tensor but received {len(whole)}')
    channels = _channels(name, input)
    if num_groups < 1 or channels % num_groups:
        raise RuntimeError(f'{name}: Expected number of channels in input to be divisible by num_groups, but got input '
                           f'of shape {list(whole)} and num_groups={num_groups}')
    _check_channels(name, channels, weight=weight, bias=bias)
    return _group_norm(input, weight, bias, _group_layout(whole, num_groups, eps))


@export('nn.functional')
def group_norm(input, num_groups, weight=None, bias=None, eps=1e-5):
    """layer_norm over each of `num_groups` groups of channels (dimension 1); one weight and bias per channel."""
    if input._array.ndim >= 2 and input._array.size and num_groups > 0 and \
            input._array.size // num_groups == 1 and input._array.shape[1] % num_groups == 0:
        raise ValueError(f'Expected more than 1 value per channel when training, got input size {list(input.shape)}')
    return _normalize_groups('group_norm', input, num_groups, weight, bias, eps)[0]


@export(name='group_norm')
def _torch_group_norm(input, num_groups, weight=None, bias=None, eps=1e-5, cudnn_enabled=True):
    """`nn.functional.group_norm`, also for a single value per group."""
    return _normalize_groups('group_norm', input, num_groups, weight, bias, eps)[0]


@export(lenient=('weight',))
def native_group_norm(input, weight, bias, N, C, HxW, group, eps):
    """(output, mean (N, group), 1 / sqrt(variance + eps) (N, group)) of group_norm for N samples, C channels of HxW."""
    if input.numel() != N * C * HxW:
        raise RuntimeError(f'native_group_norm: input of shape {list(input.shape)} does not hold {N} x {C} x {HxW} '
                           'values')
    out, mean, variance = _normalize_groups('native_group_norm', input, group, weight, bias, eps)
    return out, *_statistics(mean, variance, eps, (N, group))


# ---- over neighbouring channels

def _neighbours(m, x, size):
    """The sum over `size` channels around each, as many as there are."""
    before, after = size // 2, (size - 1) // 2
    channels = x.shape[1]
    total = x
    for distance in range(1, min(before, channels - 1) + 1):
        zeros = m.zeros_like(m.narrow(x, 1, 0, distance))
        total = total + m.cat([zeros, m.narrow(x, 1, 0, channels - distance)], 1)
    for distance in range(1, min(after, channels - 1) + 1):
        zeros = m.zeros_like(m.narrow(x, 1, 0, distance))
        total = total + m.cat([m.narrow(x, 1, distance, channels - distance), zeros], 1)
    return total


@composite(namespace='', method=False, label='DivBackward0')
def _local_response_norm(m, input, size, alpha, beta, k):
    return input / m.pow(_neighbours(m, input * input, size) * (alpha / size) + k, beta)


@export('nn.functional')
def local_response_norm(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """input / (k + alpha * mean square over `size` neighbouring channels)**beta (Krizhevsky et al., 2012)."""
    if input.dim() < 3:
        raise ValueError(f'local_response_norm: Expected 3D or higher dimensionality input (got '
                         f'{input.dim()} dimensions)')
    if size < 1:
        raise RuntimeError(f'local_response_norm: size must be positive, got {size}')
    return _local_response_norm(input, size, alpha, beta, k)
