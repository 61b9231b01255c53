"""Sampling at arbitrary places: `grid_sample`, and the grids of affine maps.

A sample is a weighted sum of the elements around its position; the gradient in the positions is that of the weights.
Generated kernels find the elements and weights themselves (kernel/grid.py).
"""
from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np

from .. import dtypes
from ..errors import ArgumentError, warn
from ..kernel.grid import cubic
from .definition import PUBLIC, composite, export, opaque
from .reference import REFERENCE

SAMPLE_MODES = ('bilinear', 'nearest', 'bicubic')
PADDING_MODES = ('zeros', 'border', 'reflection')
EXACT = 1 << 24  # elements of a plane that float32 tells apart


def _clipped(m, x, size):
    """(x within the image, the slope of that), which is 0 outside."""
    inside = (x > 0) & (x < size - 1)
    clipped = m.where(inside, x, m.stop(m.where(x > 0, m.zeros_like(x) + (size - 1), m.zeros_like(x))))
    return clipped, m.where(inside, m.ones_like(x), m.zeros_like(x))


def _reflected(m, x, size, align_corners):
    """(x mirrored at the outer elements, or at their outer edges, the slope of that)."""
    low, high = (0, size - 1) if align_corners else (-0.5, size - 0.5)
    span = high - low
    if span == 0:
        return m.zeros_like(x), m.zeros_like(x)
    side = m.where(x < low, -m.ones_like(x), m.ones_like(x))
    distance = (x - low) * side
    flips = m.floor(m.stop(distance) / span)
    extra, even = distance - flips * span, m.floor(flips * 0.5) * 2.0 == flips
    return m.where(even, extra + low, span - extra + low), m.where(even, side, -side)


def _padded(m, x, size, padding_mode, align_corners):
    if padding_mode == 'zeros':
        return x, m.ones_like(x)
    if padding_mode == 'border':
        return _clipped(m, x, size)
    x, slope = _reflected(m, x, size, align_corners)
    x, inside = _clipped(m, x, size)
    return x, slope * inside


def _axis_taps(m, u, size, mode, padding_mode, align_corners):
    """(whole position, weight, slope of the weight in u) of the elements that count along one axis."""
    scale = (size - 1 if align_corners else size) / 2
    x = (u + 1) * scale if align_corners else ((u + 1) * size - 1) / 2
    if mode == 'bicubic':
        low = m.stop(m.floor(x))
        return [(_padded(m, low + (k - 1), size, padding_mode, align_corners)[0], weight, slope * scale)
                for k, (weight, slope) in enumerate(cubic(x - low))]
    x, slope = _padded(m, x, size, padding_mode, align_corners)
    if mode == 'nearest':
        return [(m.round(m.stop(x)), m.ones_like(x), m.zeros_like(x))]
    low, slope = m.floor(m.stop(x)), slope * scale
    return [(low, 1 - (x - low), -slope), (low + 1, x - low, slope)]


def _corners(m, *given):
    """(indices..., weights..., slopes in the first position..., ...) of all elements that count, from positions along
    each axis; -1 is outside of the image.
    """
    *positions, spatial, mode, padding_mode, align_corners, sloped = given
    axes = [_axis_taps(m, u, size, mode, padding_mode, align_corners) for u, size in zip(positions, spatial)]
    indices, *factors = [[] for _ in range(2 + sloped * len(axes))]
    for corner in itertools.product(*axes):
        index = inside = None
        for (position, _, _), size in zip(corner, spatial):
            within = (position >= 0) & (position <= size - 1)
            inside = within if inside is None else inside & within
            index = position if index is None else index * size + position
        indices.append(m.where(inside, index, m.zeros_like(index) - 1))
        for along, made in enumerate(factors, -1):  # the product of the weights, or of one's slope and the others
            made.append(math.prod(slope if axis == along else weight for axis, (_, weight, slope) in enumerate(corner)))
    return [value for values in (indices, *factors) for value in values]


def _taps(m, grid, spatial, how, sloped):
    """(index, weight, if `sloped` slope along each axis) of all elements that count: each (batch, taps, places)."""
    wide = grid if math.prod(spatial) <= EXACT else m.cast(grid, dtypes.float64)
    positions = [m.reshape(u, (u.shape[0], -1)) for u in m.unbind(wide, -1)[::-1]]
    parts = m.fused(_corners, *positions, tuple(spatial), *how, sloped)
    count = len(parts) // (2 + sloped * len(positions))
    index, *factors = [m.stack(parts[k:k + count], 1) for k in range(0, len(parts), count)]
    return m.cast(index, dtypes.int64), *[m.cast_like(factor, grid) for factor in factors]


def _planes(m, x):
    return m.reshape(x, (*x.shape[:2], math.prod(x.shape[2:])))


def _check_sampling(input, grid, mode, padding_mode):
    if mode not in SAMPLE_MODES:
        raise ArgumentError(f'grid_sample(): expected mode to be one of {SAMPLE_MODES}, but got: {mode!r}')
    if padding_mode not in PADDING_MODES:
        raise ArgumentError(f'grid_sample(): expected padding_mode to be one of {PADDING_MODES}, but got: '
                            f'{padding_mode!r}')
    met = f'input {input.dtype} {list(input.shape)} and grid {grid.dtype} {list(grid.shape)}'
    if input.ndim not in (4, 5) or grid.ndim != input.ndim or input.shape[0] != grid.shape[0] or \
            grid.shape[-1] != input.ndim - 2:
        raise RuntimeError('grid_sampler(): expected a 4D or 5D input (N, C, *spatial) and a grid (N, *out, '
                           f'{input.ndim - 2}) of the same rank and batch size, but got {met}')
    if input.dtype != grid.dtype:
        raise RuntimeError(f'grid_sampler(): expected input and grid to have same dtype, but got {met}')
    if 0 in input.shape[2:]:
        raise RuntimeError(f'grid_sampler(): expected input to have non-empty spatial dimensions, but got {met}')
    if mode == 'bicubic' and input.ndim != 4:
        raise RuntimeError(f'grid_sampler(): bicubic interpolation only supports 4D input, but got {met}')


def _warn_default():
    warn('Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please '
         'specify align_corners=True if the old behavior is desired.')


@composite(namespace='nn.functional', method=False)
def grid_sample(m, input, grid, mode='bilinear', padding_mode='zeros', align_corners=None):
    """Samples `input` (N, C, *spatial) at the positions `grid` (N, *out, dims), in [-1, 1] with x first.

    `mode`: bilinear, nearest or bicubic; `padding_mode` outside of the image: zeros, border or reflection.
    """
    _check_sampling(input, grid, mode, padding_mode)
    if align_corners is None:
        _warn_default()
    return m._grid_sample(input, grid, mode, padding_mode, bool(align_corners))


def _grid_sample_gradient(m, g, input, grid, mode, padding_mode, align_corners, needed):
    how, found = (mode, padding_mode, align_corners), {}
    if m is REFERENCE:
        if 'input' in needed:
            found['input'] = m.kernel('grid.sample_adjoint', g, grid, input.shape, *how)
        if 'grid' in needed:
            found['grid'] = np.zeros_like(grid) if mode == 'nearest' else m.kernel(
                'grid.sample_slopes', g, input, grid, *how)
    left = [name for name in needed if found.get(name) is None]
    if left:
        index, weight, *slopes = _taps(m, grid, input.shape[2:], how, 'grid' in left)
        g = _planes(m, g)
    if 'input' in left:
        found['input'] = m.reshape(m._sampled_adjoint(g, index, weight, math.prod(input.shape[2:])), input.shape)
    if 'grid' in left:
        products = m._sample_products(g, _planes(m, input), index)
        found['grid'] = m.reshape(m.stack([m.sum(products * slope, 1) for slope in slopes[::-1]], -1), grid.shape)
    return found


@opaque(namespace='', method=False, widen=True, label='GridSampler2DBackward0', grad=_grid_sample_gradient)
def _grid_sample(m, input, grid, mode, padding_mode, align_corners):
    made = m.kernel('grid.sample', input, grid, mode, padding_mode, align_corners)
    if made is None:
        index, weight = _taps(m, grid, input.shape[2:], (mode, padding_mode, align_corners), False)
        made = m._sampled(_planes(m, input), index, weight).reshape(*input.shape[:2], *grid.shape[1:-1])
    return made


# ---- weighted sums of elements, and their adjoints in the elements and in the weights: index -1 is no element


def _taken(x, index, tap):
    """The elements of planes (batch, channels, size) that a tap names, zeros for none: (batch, channels, places)."""
    named = index[:, None, tap]
    return np.where(named >= 0, np.take_along_axis(x, np.maximum(named, 0), 2), x.dtype.type(0))


@opaque(namespace='', method=False, grad={
    'input': lambda m, g, input_shape, index, weight: m._sampled_adjoint(g, index, weight, input_shape[2]),
    'weight': lambda m, g, input, index: m._sample_products(g, input, index)})
def _sampled(m, input, index, weight):
    """The sum over taps of weight (batch, taps, places) times the element of each plane that `index` names."""
    made = m.kernel('grid.sampled', input, index, weight)
    if made is None:
        made = sum(_taken(input, index, tap) * weight[:, None, tap] for tap in range(index.shape[1]))
    return made


@opaque(namespace='', method=False, grad={
    'g': lambda m, h, index, weight: m._sampled(h, index, weight),
    'weight': lambda m, h, g, index: m._sample_products(g, h, index)})
def _sampled_adjoint(m, g, index, weight, size):
    made = m.kernel('grid.adjoint', g, index, weight, size)
    if made is None:
        made = np.zeros((*g.shape[:2], size + 1), g.dtype)  # the last of them for what has no element
        places = (np.arange(g.shape[0])[:, None, None], np.arange(g.shape[1])[:, None])
        for tap in range(index.shape[1]):
            np.add.at(made, (*places, index[:, None, tap]), g * weight[:, None, tap])
        made = made[..., :-1].copy()
    return made


@opaque(namespace='', method=False, grad={
    'g': lambda m, h, input, index: m._sampled(input, index, h),
    'input': lambda m, h, g, index, input_shape: m._sampled_adjoint(g, index, h, input_shape[2])})
def _sample_products(m, g, input, index):
    made = m.kernel('grid.products', g, input, index)
    if made is None:
        made = np.stack([(g * _taken(input, index, tap)).sum(1) for tap in range(index.shape[1])], 1)
    return made


@export(aliases=('grid_sampler_2d', 'grid_sampler_3d'))
def grid_sampler(input, grid, interpolation_mode, padding_mode, align_corners):
    """`grid_sample` with its modes as numbers."""
    return PUBLIC.grid_sample(input, grid, SAMPLE_MODES[interpolation_mode], PADDING_MODES[padding_mode], align_corners)


@lru_cache(maxsize=32)
def base_points(spatial, align_corners, dtype) -> np.ndarray:
    """The homogeneous positions (points, dims + 1) of the elements of an image, x first."""
    axes = []
    for n in spatial:
        line = np.linspace(-1, 1, n) if n > 1 else np.zeros(n)
        axes.append(line if align_corners else line * ((n - 1) / n))
    mesh = np.meshgrid(*axes, indexing='ij')
    return np.stack([a.reshape(-1) for a in mesh[::-1]] + [np.ones(mesh[0].size)], -1).astype(dtype)


@opaque(namespace='', method=False, label='AffineGridGeneratorBackward0', grad={
    'theta': lambda m, g, spatial, align_corners: m._affine_grid_adjoint(g, spatial, align_corners)})
def _affine_grid(m, theta, spatial, align_corners):
    points = base_points(spatial, align_corners, theta.dtype) @ theta.transpose(0, 2, 1)
    return points.reshape(theta.shape[0], *spatial, len(spatial))


@opaque(namespace='', method=False, grad={
    'grid': lambda m, g, spatial, align_corners: m._affine_grid(g, spatial, align_corners)})
def _affine_grid_adjoint(m, grid, spatial, align_corners):
    flat = grid.reshape(grid.shape[0], math.prod(spatial), len(spatial))
    return flat.transpose(0, 2, 1) @ base_points(spatial, align_corners, grid.dtype)


@export('nn.functional')
def affine_grid(theta, size, align_corners=None):
    """The sampling grid (N, *spatial, dims) of affine maps `theta` (N, dims, dims + 1) for images of `size`."""
    if align_corners is None:
        _warn_default()
        align_corners = False
    if not theta.is_floating_point():
        raise ValueError(f'Expected theta to have floating point type, but got {theta.dtype}')
    if len(size) not in (4, 5):
        raise NotImplementedError('affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, '
                                  f'respectively. Got size {size}.')
    dims = len(size) - 2
    if theta.dim() != 3 or tuple(theta.shape[1:]) != (dims, dims + 1):
        raise ValueError(f'Expected a batch of {dims}D affine matrices of shape Nx{dims}x{dims + 1} for size {size}. '
                         f'Got {theta.shape}.')
    if min(size) <= 0:
        raise ValueError(f'Expected non-zero, positive output size. Got {size}')
    return affine_grid_generator(theta, size, align_corners)


@export()
def affine_grid_generator(theta, size, align_corners):
    """`affine_grid` without its checks of sizes."""
    if theta.shape[0] != size[0]:
        raise RuntimeError(f'Expected theta of batch size {size[0]} for size {list(size)}, got {list(theta.shape)}')
    return PUBLIC._affine_grid(theta, tuple(map(int, size[2:])), bool(align_corners))
