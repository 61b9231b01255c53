"""Interpolation on regular grids.

Every mode is a separable linear map: a table of weights per axis, made by the functions below, acts on each axis in
turn (axis_map.py), and its transpose is the gradient. Positions are computed in the precision that the input has, so
that they round to the same side as PyTorch's.
"""
from __future__ import annotations

import operator
from functools import lru_cache

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, warn
from .axis_map import AxisMap
from .definition import PUBLIC, composite, export


def step_between(size: int, out: int, align_corners: bool, scale: float | None, real) -> np.floating:
    """The distance, in input elements, between neighbouring output elements of an axis."""
    if align_corners:
        return real(size - 1) / real(out - 1) if out > 1 else real(0)
    return real(1.0 / scale) if scale else real(size) / real(out)


def cubic(t, a):
    """Keys' cubic convolution kernel at distance `t`."""
    t = np.abs(t)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0))


def triangle(t):
    return np.maximum(1 - np.abs(t), 0)


def lanczos(t):
    return np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0)


ANTIALIASED = {'linear': (1, triangle), 'cubic': (2, lambda t: cubic(t, -0.5)), 'lanczos': (3, lanczos)}


def _nearest(size, out, step, exact, real):
    i = np.arange(out, dtype=real)
    if exact:
        source = np.floor((i + real(0.5)) * step)
    else:
        source = np.floor(i * step)
    return [(np.minimum(source.astype(np.int64), size - 1), None)]


def _centers(out, step, align_corners, real):
    i = np.arange(out, dtype=real)
    return i * step if align_corners else step * (i + real(0.5)) - real(0.5)


def _split_position(position, size):
    """Whole and fractional part of positions, the fraction within [0, 1]."""
    whole = np.minimum(np.floor(position).astype(np.int64), size - 1)
    return whole, np.clip(position - whole.astype(position.dtype), 0, 1)


def _linear(size, out, step, align_corners, real):
    low, fraction = _split_position(np.maximum(_centers(out, step, align_corners, real), 0), size)
    return [(low, 1 - fraction), (np.minimum(low + 1, size - 1), fraction)]


def _cubic(size, out, step, align_corners, real):
    low, t = _split_position(_centers(out, step, align_corners, real), size)
    return [(np.clip(low + k, 0, size - 1), cubic(t - real(k), real(-0.75))) for k in (-1, 0, 1, 2)]


def _antialiased(kind, size, out, step, real):
    """(rows, columns, weights) of a filter widened by the step where the image shrinks."""
    radius, kernel = ANTIALIASED[kind]
    widening = max(step, real(1))
    support = real(radius) * widening
    center = step * (np.arange(out, dtype=real) + real(0.5))
    start = np.maximum((center - support + real(0.5)).astype(np.int64), 0)
    end = np.minimum((center + support + real(0.5)).astype(np.int64), size)
    length = np.maximum(end - start, 0)
    row = np.repeat(np.arange(out), length)
    column = start[row] + np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
    weight = kernel((column.astype(real) - center[row] + real(0.5)) * (real(1) / widening)).astype(real)
    return row, column, weight / np.bincount(row, weight, out).astype(real)[row]


@lru_cache(maxsize=512)
def interpolation_map(mode: str, size: int, out: int, align_corners: bool, scale: float | None, antialias: bool,
                      real: type) -> AxisMap | None:
    """The map from `size` to `out` elements of an axis; None where it is the identity.

    `mode` is nearest, nearest-exact, linear, cubic or lanczos; `scale` is the factor asked for, where it decides.
    """
    step = step_between(size, out, align_corners, scale, real)
    if antialias:
        return AxisMap(out, size, *_antialiased(mode, size, out, step, real))
    if size == out and (step == 1 or mode == 'linear'):
        return None
    if mode == 'linear':
        entries = _linear(size, out, step, align_corners, real)
    elif mode == 'cubic':
        entries = _cubic(size, out, step, align_corners, real)
    else:
        entries = _nearest(size, out, step, mode == 'nearest-exact', real)
    columns, weights = zip(*entries)
    return AxisMap(out, size, np.tile(np.arange(out), len(entries)), np.concatenate(columns),
                   None if weights[0] is None else np.concatenate(weights))


# ---- operations ------------------------------------------------------------------------------------------

MODES = {  # the map along an axis, and the ranks of inputs that the mode is for
    'nearest': ('nearest', (3, 4, 5)), 'nearest-exact': ('nearest-exact', (3, 4, 5)), 'area': (None, (3, 4, 5)),
    'linear': ('linear', (3,)), 'bilinear': ('linear', (4,)), 'trilinear': ('linear', (5,)), 'bicubic': ('cubic', (4,)),
    'lanczos': ('lanczos', (4,)),
}
CORNERLESS = ('nearest', 'nearest-exact', 'area')


def _for_axes(value, dims, name, input):
    if not isinstance(value, (tuple, list)):
        return (value,) * dims
    if len(value) != dims:
        raise ArgumentError(f'Input and {name} must have the same number of spatial dimensions, but got input with '
                            f'spatial dimensions of {list(input.shape[2:])} and {name} of {value}. Please provide '
                            f'input tensor in (N, C, d1, d2, ...,dK) format and {name} in (o1, o2, ...,oK) format')
    return tuple(value)


def _output_and_scales(input, size, scale_factor, recompute):
    """(output sizes, the factor that decides positions for each axis or None)."""
    spatial = input.shape[2:]
    if (size is None) == (scale_factor is None):
        raise ArgumentError('either size or scale_factor should be defined' if size is None else
                            'only one of size or scale_factor should be defined')
    if size is not None:
        if recompute:
            raise ArgumentError('recompute_scale_factor is not meaningful with an explicit size.')
        sizes = _for_axes(size, len(spatial), 'size', input)
        try:
            return tuple(map(operator.index, sizes)), (None,) * len(spatial)
        except TypeError:
            raise ArgumentTypeError('expected size to be one of int or Tuple[int] or Tuple[int, int] or Tuple[int, '
                                    f'int, int], but got size with types {[type(x) for x in sizes]}') from None
    scales = tuple(map(float, _for_axes(scale_factor, len(spatial), 'scale_factor', input)))
    out = tuple(int(n * s) for n, s in zip(spatial, scales))
    return out, (None,) * len(spatial) if recompute else scales


def _check_interpolation(input, mode, align_corners, antialias):
    if getattr(input, 'ndim', None) is None:
        raise ArgumentTypeError(f"interpolate(): argument 'input' must be Tensor, not {type(input).__name__}")
    if mode not in MODES or input.ndim not in MODES[mode][1]:
        raise NotImplementedError(
            f'Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.ndim}D) for the modes: nearest, '
            f'nearest-exact, area | linear (3D) | bilinear, bicubic, lanczos (4D) | trilinear (5D) (got {mode})')
    if mode in CORNERLESS and align_corners is not None:
        raise ArgumentError('align_corners option can only be set with the interpolating modes: linear | bilinear | '
                            'bicubic | trilinear')
    if antialias and mode not in ('bilinear', 'bicubic', 'lanczos'):
        raise ArgumentError('Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a '
                            '4-D tensor as input')
    if mode == 'lanczos' and (align_corners or not antialias):
        raise ArgumentError('Lanczos mode requires antialias=True and does not support align_corners=True')


@composite(namespace='nn.functional', method=False, widen=False, replay=True)
def interpolate(m, input, size=None, scale_factor=None, mode='nearest', align_corners=None, recompute_scale_factor=None,
                antialias=False):
    """Resizes the spatial dimensions of (N, C, *spatial) to `size` or by `scale_factor`.

    `mode`: nearest, nearest-exact, area, linear (3-D input), bilinear, bicubic, lanczos (4-D) or trilinear (5-D).
    `align_corners`: whether the corner elements keep their place, rather than the outer edges. `antialias` widens the
    filter where the image shrinks.
    """
    _check_interpolation(input, mode, align_corners, antialias)
    out, scales = _output_and_scales(input, size, scale_factor, recompute_scale_factor or
                                     mode == 'area' and size is None)
    if 0 in input.shape[1:] or min(out) <= 0:
        raise RuntimeError(f'Input and output sizes should be greater than 0, but got input {list(input.shape)} and '
                           f'output size {list(out)}')
    if mode == 'area':
        return getattr(m, f'adaptive_avg_pool{input.ndim - 2}d')(input, out)
    real = np.float64 if input.dtype.itemsize == 8 else np.float32
    maps = tuple(interpolation_map(MODES[mode][0], *axis, bool(align_corners), scale, bool(antialias), real)
                 for *axis, scale in zip(input.shape[2:], out, scales))
    return m._apply_maps(input, maps)


def _deprecated(name):
    warn(f'`nn.functional.{name}` is deprecated. Use `nn.functional.interpolate` instead.')


@export('nn.functional')
def upsample(input, size=None, scale_factor=None, mode='nearest', align_corners=None):
    """The older name of `interpolate`."""
    _deprecated('upsample')
    return PUBLIC.interpolate(input, size, scale_factor, mode, align_corners)


@export('nn.functional')
def upsample_nearest(input, size=None, scale_factor=None):
    """`interpolate` by the nearest element."""
    _deprecated('upsample_nearest')
    return PUBLIC.interpolate(input, size, scale_factor, mode='nearest')


@export('nn.functional')
def upsample_bilinear(input, size=None, scale_factor=None):
    """Bilinear `interpolate` with aligned corners."""
    _deprecated('upsample_bilinear')
    return PUBLIC.interpolate(input, size, scale_factor, mode='bilinear', align_corners=True)
