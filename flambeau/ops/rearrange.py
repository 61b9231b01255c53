"""Moves of elements between spatial positions and channels: unfold, fold, pixel and channel shuffles."""
from __future__ import annotations

import math

import numpy as np

from .definition import PUBLIC, composite, export, opaque
from .plans import MOVES
from .windows import Window, batched, pad_spatial, per_axis, same_for_batch, tap_slices, taps, unpad_spatial


def to_columns(x: np.ndarray, window: Window) -> np.ndarray:
    """The windows of `x` (batch, channels, *spatial) as columns (batch, channels * taps, windows)."""
    out = window.output(x.shape[2:])
    padded = pad_spatial(x, window.padding)
    y = np.empty(x.shape[:2] + window.kernel + out, x.dtype)
    for tap in taps(window.kernel):
        y[(slice(None), slice(None), *tap)] = padded[tap_slices(tap, out, window.stride, window.dilation)]
    return y.reshape(x.shape[0], x.shape[1] * math.prod(window.kernel), math.prod(out))


def from_columns(columns: np.ndarray, window: Window, spatial) -> np.ndarray:
    """The adjoint of `to_columns`: sums columns back into an array of sizes `spatial`."""
    out = window.output(spatial)
    columns = columns.reshape(columns.shape[0], columns.shape[1] // math.prod(window.kernel), *window.kernel, *out)
    x = np.zeros(columns.shape[:2] + tuple(n + sum(p) for n, p in zip(spatial, window.padding)), columns.dtype)
    for tap in taps(window.kernel):
        x[tap_slices(tap, out, window.stride, window.dilation)] += columns[(slice(None), slice(None), *tap)]
    return unpad_spatial(x, window.padding)


# ---- operations ------------------------------------------------------------------------------------------

@opaque(namespace='', method=False, label='Im2ColBackward0', replay=MOVES, grad={
    'input': lambda m, g, window, input_shape: m._from_columns(g, window, input_shape[2:])})
def _to_columns(m, input, window):
    return to_columns(input, window)


@opaque(namespace='', method=False, label='Col2ImBackward0', grad={
    'input': lambda m, g, window: m._to_columns(g, window)})
def _from_columns(m, input, window, spatial):
    return from_columns(input, window, spatial)


def _column_window(operation, kernel_size, stride, padding, dilation) -> Window:
    sizes = {'kernel_size': kernel_size, 'stride': stride, 'padding': padding, 'dilation': dilation}
    sizes = {name: per_axis(value, 2, operation, name) for name, value in sizes.items()}
    for name, size in sizes.items():
        if min(size) < (name != 'padding'):
            raise RuntimeError(f'{operation}: {name} should be greater than zero, but got {size}')
    padding = tuple((p, p) for p in sizes['padding'])
    return Window(sizes['kernel_size'], sizes['stride'], padding, sizes['dilation'])


@export('nn.functional')
def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    """The sliding windows of images (N, C, H, W) as columns (N, C * taps, windows), row by row."""
    window = _column_window('unfold', kernel_size, stride, padding, dilation)
    input, unbatched = batched(PUBLIC, input, 2, 'unfold')
    out = window.output(input.shape[2:])
    if 0 in input.shape[1:] or min(out) < 1:
        raise RuntimeError(f'unfold: given input with sizes {list(input.shape)} and {window}, calculated shape of the '
                           f'array of sliding blocks as {out}, but its components must be at least one')
    return same_for_batch(PUBLIC, PUBLIC._to_columns(input, window), unbatched)


@export('nn.functional')
def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """Sums columns (N, C * taps, windows) back into images (N, C, *output_size): the adjoint of `unfold`."""
    window = _column_window('fold', kernel_size, stride, padding, dilation)
    spatial = per_axis(output_size, 2, 'fold', 'output_size')
    input, unbatched = batched(PUBLIC, input, 1, 'fold')
    out, count = window.output(spatial), math.prod(window.kernel)
    if input.shape[1] == 0 or input.shape[1] % count:
        raise RuntimeError("fold: expected size of input's dimension 1 to be divisible by the product of kernel_size, "
                           f'but got input.size(1)={input.shape[1]} and kernel_size={window.kernel}')
    if min(out) < 1 or input.shape[2] != out[0] * out[1]:
        raise RuntimeError(f"fold: given output_size={spatial} and {window}, expected size of input's dimension 2 to "
                           f'match the calculated number of sliding blocks {out[0]} * {out[1]} = {out[0] * out[1]}, '
                           f'but got input.size(2)={input.shape[2]}')
    return same_for_batch(PUBLIC, PUBLIC._from_columns(input, window, spatial), unbatched)


def _check_shuffle(operation, input, factor, name, least):
    if input.ndim < least:
        raise RuntimeError(f'{operation} expects input to have at least {least} dimensions, but got input with '
                           f'{input.ndim} dimension(s)')
    if factor <= 0:
        raise RuntimeError(f'{operation} expects a positive {name}, but got {factor}')


@composite(namespace='torch nn.functional', method=False, widen=False, replay=MOVES)
def pixel_shuffle(m, input, upscale_factor):
    """(*, C * r^2, H, W) as (*, C, H * r, W * r): channels become pixels, r = `upscale_factor`."""
    r = upscale_factor
    _check_shuffle('pixel_shuffle', input, r, 'upscale_factor', 3)
    *lead, channels, height, width = input.shape
    if channels % (r * r):
        raise RuntimeError("pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of "
                           f'upscale_factor, but input.size(-3)={channels} is not divisible by {r * r}')
    n = len(lead)
    x = m.reshape(input, (*lead, channels // (r * r), r, r, height, width))
    x = m.permute(x, (*range(n + 1), n + 3, n + 1, n + 4, n + 2))
    return m.reshape(x, (*lead, channels // (r * r), height * r, width * r))


@composite(namespace='torch nn.functional', method=False, widen=False, replay=MOVES)
def pixel_unshuffle(m, input, downscale_factor):
    """(*, C, H * r, W * r) as (*, C * r^2, H, W): the inverse of `pixel_shuffle`."""
    r = downscale_factor
    _check_shuffle('pixel_unshuffle', input, r, 'downscale_factor', 3)
    *lead, channels, height, width = input.shape
    for name, size, dim in (('height', height, -2), ('width', width, -1)):
        if size % r:
            raise RuntimeError(f'pixel_unshuffle expects {name} to be divisible by downscale_factor, but '
                               f'input.size({dim})={size} is not divisible by {r}')
    n = len(lead)
    x = m.reshape(input, (*lead, channels, height // r, r, width // r, r))
    x = m.permute(x, (*range(n + 1), n + 2, n + 4, n + 1, n + 3))
    return m.reshape(x, (*lead, channels * r * r, height // r, width // r))


@composite(namespace='torch nn.functional', method=False, widen=False, replay=MOVES, aliases=('native_channel_shuffle',))
def channel_shuffle(m, input, groups):
    """Divides the channels of (N, C, *) into groups and interleaves these."""
    _check_shuffle('channel_shuffle', input, groups, 'groups', 3)
    batch, channels, *spatial = input.shape
    if channels % groups:
        raise RuntimeError(f'Number of channels must be divisible by groups. Got {channels} channels and {groups} '
                           'groups.')
    x = m.reshape(input, (batch, groups, channels // groups, *spatial))
    return m.reshape(m.permute(x, (0, 2, 1, *range(3, x.ndim))), (batch, channels, *spatial))
