"""Padding of the trailing axes of an array: by a constant, by reflection, by the nearest element, or around."""
from __future__ import annotations

import numbers
from functools import lru_cache

import numpy as np

from ..errors import ArgumentTypeError
from ..storage import has_channels_last
from .axis_map import AxisMap
from .batching import in_front
from .definition import composite, export, opaque
from .plans import MOVES
from .windows import pad_spatial

SOURCES = {  # where the element at position i of an axis is copied from, if `low` to `high` is what is kept of it
    'reflect': lambda i, size, low, high: (size - 1) - np.abs((size - 1) - np.abs(i)),
    'replicate': lambda i, size, low, high: np.clip(i, 0, size - 1),
    'circular': lambda i, size, low, high: low + (i - low) % max(high - low, 1),
}


@lru_cache(maxsize=256)
def padding_map(mode: str, size: int, before: int, after: int) -> AxisMap | None:
    """The copy of one axis of `size` elements that pads it; negative amounts take elements away."""
    if not before and not after:
        return None
    source = SOURCES[mode](np.arange(-before, size + after), size, max(-before, 0), size + min(after, 0))
    return AxisMap(len(source), size, np.arange(len(source)), source)


def _pairs(pad, ndim: int) -> tuple[tuple[int, int], ...]:
    """PyTorch's flat list, last axis first, as (before, after) for the trailing axes in order."""
    if not isinstance(pad, (tuple, list)) or not all(hasattr(p, '__index__') for p in pad):
        raise ArgumentTypeError(f"pad(): argument 'pad' must be tuple of ints, got {pad!r}")
    if len(pad) % 2:
        raise RuntimeError(f'Padding length must be divisible by 2, got {len(pad)}')
    if len(pad) > 2 * ndim:
        raise RuntimeError('Padding length should be less than or equal to two times the input dimension but got '
                           f'padding length {len(pad)} and input of dimension {ndim}')
    pad = [int(p) for p in pad]
    return tuple(zip(pad[::2], pad[1::2]))[::-1]


def _refuse_negative(input, pairs, least=0):
    for size, (before, after) in zip(input.shape[input.ndim - len(pairs):], pairs):
        if size + before + after < least:
            raise RuntimeError(f'The input size {size}, plus negative padding {before} and {after}, resulted in a '
                               f'negative output size, which is invalid: pad of input {list(input.shape)}')


@opaque(name='constant_pad_nd', namespace='', method=False, batch=in_front, replay=MOVES, grad={
    'input': lambda m, g, padding: m.constant_pad_nd(g, tuple(-p for p in padding))})
def _constant_pad_nd(m, input, padding, value=0):
    pairs = _pairs(padding, input.ndim)
    if isinstance(value, complex) and input.dtype.kind != 'c' or not isinstance(value, numbers.Number):
        raise ArgumentTypeError(f"constant_pad_nd(): argument 'value' must be a number of the tensor's kind, not "
                                f'{value!r}')
    _refuse_negative(input, pairs)
    if has_channels_last(input):
        pairs = [(0, 0)] * (input.ndim - len(pairs)) + list(pairs)
        return np.moveaxis(pad_spatial(np.moveaxis(input, 1, -1), (pairs[0], *pairs[2:], pairs[1]), value), -1, 1)
    result = pad_spatial(input, pairs, value)
    return result.copy() if result is input else result


@export()
def constant_pad_nd(input, pad, value=0):
    """`input` with its last dimensions padded by `value`; negative amounts take elements away."""
    return _constant_pad_nd(input, tuple(pad) if pad.__class__ is list else pad, value)


def _refuse_source(mode, input, pairs):
    """Raises where there is nothing to copy padding from."""
    if (len(pairs), input.ndim) not in ((1, 2), (1, 3), (2, 3), (2, 4), (3, 4), (3, 5)):
        raise NotImplementedError(
            f'Padding size {2 * len(pairs)} is not supported for {input.ndim}D input tensor. Non-constant padding '
            'takes 2 amounts for 2D or 3D input, 4 for 3D or 4D, 6 for 4D or 5D')
    _refuse_negative(input, pairs, 0 if mode == 'circular' else 1)
    for axis, (before, after) in enumerate(pairs, input.ndim - len(pairs)):
        size = input.shape[axis]
        limit = {'reflect': size - 1, 'circular': size, 'replicate': max(before, after) if size else 0}[mode]
        if max(before, after) > limit:
            raise RuntimeError(f'{mode} padding size should be at most {limit} for the corresponding input dimension, '
                               f'but got: padding ({before}, {after}) at dimension {axis} of input {list(input.shape)}')


@composite(name='pad', namespace='', method=False, widen=False, replay=MOVES)
def _pad(m, input, padding, mode='constant', value=None):
    if mode == 'constant':
        return m.constant_pad_nd(input, padding, 0 if value is None else value)
    if mode not in SOURCES:
        raise NotImplementedError(f'Unrecognised padding mode {mode}')
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    pairs = _pairs(padding, input.ndim)
    _refuse_source(mode, input, pairs)
    sizes = input.shape[input.ndim - len(pairs):]
    return m._apply_maps(input, tuple(padding_map(mode, size, *pair) for size, pair in zip(sizes, pairs)))


@export('nn.functional')
def pad(input, pad, mode='constant', value=None):
    """`input` with its last dimensions padded; `pad` lists (before, after) from the last dimension on.

    `mode`: constant (`value`, default 0), reflect, replicate or circular. Negative amounts take elements away.

    >>> pad(torch.ones(2, 2), (1, 0)).shape
    torch.Size([2, 3])
    """
    return _pad(input, tuple(pad) if pad.__class__ is list else pad, mode, value)
