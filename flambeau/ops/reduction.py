"""Sums, means, products, extremes and the like over dimensions."""
from __future__ import annotations

import math

import numpy as np

from .definition import composite, reduction
from .reference import REFERENCE, axes_of

__all__ = ['sum', 'mean', 'amax', 'amin', 'prod', 'restore']


def restore(m, x, shape, dim, keepdim):
    """A reduced result with its dimensions of size 1 back, ready to broadcast against the input of that shape."""
    if keepdim or not shape:
        return x
    axes = axes_of(dim, len(shape))
    return m.reshape(x, tuple(1 if k in axes else n for k, n in enumerate(shape)))


def _sum_gradient(m, g, input_shape, dim, keepdim, input_dtype):
    return m.expand(m.cast(restore(m, g, input_shape, dim, keepdim), input_dtype), input_shape)


@reduction(kernel='sum', grad={'input': _sum_gradient})
def sum(m, input, dim=None, keepdim=False, *, dtype=None):
    """The sum over dimensions (all by default); of integers as int64."""
    return m.sum(input, dim, keepdim, dtype=dtype)


def _mean_gradient(m, g, input_shape, dim, keepdim, input_dtype):
    count = math.prod(input_shape[a] for a in axes_of(dim, len(input_shape)))
    return _sum_gradient(m, g / max(count, 1), input_shape, dim, keepdim, input_dtype)


@reduction(kernel='mean', grad={'input': _mean_gradient})
def mean(m, input, dim=None, keepdim=False, *, dtype=None):
    """The mean over dimensions (all by default) of floating point or complex numbers."""
    return m.mean(input, dim, keepdim, dtype=dtype)


def _extreme_gradient(m, g, input, output, dim, keepdim):
    shape = input.shape
    hit = m.eq(input, restore(m, output, shape, dim, keepdim))
    count = m.sum(hit, dim if dim is not None else (), True)
    spread = m.expand(restore(m, g, shape, dim, keepdim), shape)
    return m.where(hit, spread / m.cast_like(count, g), m.zeros_like(spread))


def _need_order(name, input):
    if input.dtype.kind == 'c':
        raise NotImplementedError(f'"{name}" not implemented for {input.dtype.name}: complex numbers have no order')


@reduction(grad={'input': _extreme_gradient})
def amax(m, input, dim=(), keepdim=False):
    """The largest value over dimensions; equal ones share the gradient."""
    _need_order('amax', input)
    return m.amax(input, dim, keepdim)


@reduction(grad={'input': _extreme_gradient})
def amin(m, input, dim=(), keepdim=False):
    """The smallest value over dimensions; equal ones share the gradient."""
    _need_order('amin', input)
    return m.amin(input, dim, keepdim)


@reduction()
def all(m, input, dim=None, keepdim=False):
    """Whether all elements are true."""
    return _truth(m, m.all(input, dim, keepdim), input)


@reduction()
def any(m, input, dim=None, keepdim=False):
    """Whether some element is true."""
    return _truth(m, m.any(input, dim, keepdim), input)


def _truth(m, result, input):
    return m.cast_like(result, input) if input.dtype == np.uint8 else result


def _share_of_product(m, g, output, input):
    return g * output / input


def _prod_gradient(m, g, input, output, dim, keepdim, dtype):
    shape = input.shape
    axes = axes_of(dim, len(shape))
    if not axes:
        return g
    if m is REFERENCE and g.dtype == input.dtype and input.dtype.kind == 'f' and not (input == 0).any():
        g, output = (restore(m, x, shape, dim, keepdim) for x in (g, output))
        return m.fused(_share_of_product, m.expand(g, shape), output, input)
    rest = [k for k in range(len(shape)) if k not in axes]
    order = (*rest, *axes)
    flat = m.reshape(m.permute(input, order), (*[shape[k] for k in rest], -1))
    others = m.product_of_others(flat)
    back = m.reshape(others, tuple(shape[k] for k in order))
    inverse = tuple(order.index(k) for k in range(len(shape)))
    return m.expand(restore(m, g, shape, dim, keepdim), shape) * m.conj(m.permute(back, inverse))


@reduction(grad={'input': _prod_gradient})
def prod(m, input, dim=None, keepdim=False, *, dtype=None):
    """The product over one dimension or all; of integers as int64."""
    return m.prod(input, dim, keepdim, dtype=dtype)


@composite(namespace='', method=False)
def product_of_others(m, input):
    """For each element of the last dimension the product of the others there, exact where some are zero."""
    n = input.shape[-1]
    ones = m.ones_like(m.narrow(input, -1, 0, min(n, 1)))
    before = m.cumprod(m.cat([ones, m.narrow(input, -1, 0, max(n - 1, 0))], -1), -1)
    after = m.flip(m.cumprod(m.cat([ones, m.flip(m.narrow(input, -1, min(n, 1), max(n - 1, 0)), (-1,))], -1), -1),
                   (-1,))
    return before * after
