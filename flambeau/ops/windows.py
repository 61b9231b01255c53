"""Sliding windows over the spatial axes of an array: sizes, padding, views and taps.

Convolution, pooling and unfolding share this geometry. Arrays are laid out (batch, channels, *spatial); a *tap* is one
position inside the kernel. This module knows nothing of what is done with the elements of a window.
"""
from __future__ import annotations

import itertools
import math
import operator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..errors import ArgumentTypeError
from .reference import REFERENCE

CHUNK_BYTES = 1 << 20  # worked on at a time where many passes go over the same data: what a core's cache holds
COUNTS = ('no', 'one', 'two', 'three')


def per_axis(value, dims: int, operation: str, argument: str) -> tuple[int, ...]:
    """One int for each of `dims` spatial axes, from an int or a sequence of one or `dims` ints."""
    try:
        if not isinstance(value, (tuple, list)):
            return (operator.index(value),) * dims
        found = tuple(map(operator.index, value))
    except TypeError:
        raise ArgumentTypeError(f"{operation}(): argument '{argument}' must be an int or a tuple of ints, "
                                f'got {value!r}') from None
    if len(found) not in (1, dims):
        raise RuntimeError(f'{operation}: {argument} must either be a single int, or a tuple of {COUNTS[dims]} ints, '
                           f'got {value!r}')
    return found if len(found) == dims else found * dims


def batched(m, input, dims: int, operation: str):
    """(`input` as (batch, channels, *spatial), whether the batch dimension was missing)."""
    rank = getattr(input, 'ndim', None)
    if rank is None:
        raise ArgumentTypeError(f"{operation}(): argument 'input' must be Tensor, not {type(input).__name__}")
    if rank not in (dims + 1, dims + 2):
        raise RuntimeError(f'Expected {dims + 1}D (unbatched) or {dims + 2}D (batched) input to {operation}, but got '
                           f'input of size: {list(input.shape)}')
    return (m.unsqueeze(input, 0), True) if rank == dims + 1 else (input, False)


def same_for_batch(m, result, unbatched: bool):
    """A result without the batch dimension that `batched` added."""
    return m.squeeze(result, 0) if unbatched else result


def output_size(size: int, kernel: int, stride: int, padding: tuple[int, int], dilation: int,
                ceil_mode: bool = False) -> int:
    """How many windows fit along one axis of `size` elements padded by `padding` (before, after).

    With `ceil_mode` a last window may overhang, as long as it starts inside the input or its left padding.
    """
    room = size + sum(padding) - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding[0] else count


@dataclass(frozen=True)
class Window:
    """A kernel without weights, as pooling and unfolding use it: one entry per spatial axis."""
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    ceil_mode: bool = False

    def __post_init__(self):
        object.__setattr__(self, '_hash', hash((self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode)))

    def __hash__(self):  # asked for many times, by all that is remembered of a window
        return self._hash

    @lru_cache(maxsize=1024)
    def output(self, spatial) -> tuple[int, ...]:
        """The number of windows along each axis of an input of sizes `spatial`."""
        return tuple(output_size(*axis, self.ceil_mode)
                     for axis in zip(spatial, self.kernel, self.stride, self.padding, self.dilation))

    @lru_cache(maxsize=1024)
    def cover(self, spatial, out) -> tuple[tuple[int, int], ...]:
        """The padding with which an input of sizes `spatial` holds all `out` windows, overhanging ones included."""
        return tuple((before, max(after, (n - 1) * s + d * (k - 1) + 1 - size - before))
                     for size, n, k, s, d, (before, after)
                     in zip(spatial, out, self.kernel, self.stride, self.dilation, self.padding))

    def by_windows(self, out) -> bool:
        """Whether there are fewer windows than taps, so that a loop had better go over windows."""
        return math.prod(self.kernel) > math.prod(out)

    @lru_cache(maxsize=256)
    def parts(self, out):
        """Index pairs (where in the windows, where in the padded input) that together pair every window with every one
        of its taps: by taps or by windows, whichever are fewer.
        """
        if not self.by_windows(out):
            return [(..., tap_slices(tap, out, self.stride, self.dilation)) for tap in taps(self.kernel)]
        return [((..., *(slice(i, i + 1) for i in at)), self.at(at)) for at in taps(out)]

    def at(self, position) -> tuple:
        """The index of all elements of the window at `position` in the padded input."""
        return (..., *(slice(i * s, i * s + d * (k - 1) + 1, d)
                       for i, k, s, d in zip(position, self.kernel, self.stride, self.dilation)))


def chunks(count: int, size: int):
    """Slices of `count` parts of `size` bytes each that together fit the cache."""
    step = max(1, CHUNK_BYTES // max(1, size))
    return [slice(at, min(at + step, count)) for at in range(0, count, step)]


@lru_cache(maxsize=1024)
def _padding_plan(sizes, padding):
    """(padded sizes, where the input goes in them, what of the input goes there)."""
    target = tuple(slice(max(before, 0), max(before, 0) + max(n + min(before, 0) + min(after, 0), 0))
                   for n, (before, after) in zip(sizes, padding))
    source = tuple(slice(max(-before, 0), max(n - max(-after, 0), 0)) for n, (before, after) in zip(sizes, padding))
    return tuple(before + n + after for n, (before, after) in zip(sizes, padding)), (..., *target), (..., *source)


def pad_spatial(x: np.ndarray, padding, value=0, dtype=None) -> np.ndarray:
    """`x` with its trailing `len(padding)` axes padded by (before, after) pairs; `x` itself where all are zero.

    A negative amount takes elements away.
    """
    dtype = dtype or x.dtype
    if not any(map(any, padding)):
        return x.astype(dtype, copy=False)
    lead = x.ndim - len(padding)
    sizes, target, source = _padding_plan(x.shape[lead:], padding)
    shape = x.shape[:lead] + sizes
    y = np.full(shape, value, dtype) if value else np.zeros(shape, dtype)
    REFERENCE.copy(y[target], x[source])
    return y


def unpad_spatial(x: np.ndarray, padding) -> np.ndarray:
    """The adjoint of `pad_spatial`: takes the padding away, and puts zeros where it took elements away."""
    return pad_spatial(x, tuple((-before, -after) for before, after in padding))


def taps(kernel):
    """All positions of a kernel in row-major order."""
    return itertools.product(*map(range, kernel))


@lru_cache(maxsize=4096)
def tap_slices(tap, out, stride, dilation, first: int = 0) -> tuple:
    """The index that picks, from a padded array, the element at `tap` of every window.

    `first` is the number of windows left out at the beginning of the first spatial axis.
    """
    starts = [k * d for k, d in zip(tap, dilation)]
    starts[0] += first * stride[0]
    return (..., *(slice(b, b + (n - 1) * s + 1 if n else b, s) for b, n, s in zip(starts, out, stride)))
