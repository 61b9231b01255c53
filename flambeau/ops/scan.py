"""Running sums, products and the like along a dimension."""
from __future__ import annotations

import numpy as np

from .. import dtypes
from ..errors import require_tensors
from .batching import along
from .definition import composite, export, opaque
from .reference import REFERENCE
from .view import axis_of

__all__ = ['cumsum', 'cumprod', 'logcumsumexp', 'diff', 'trapezoid']


def _scanned(m, input, dim, dtype, ufunc, scan):
    axis = axis_of(dim, input.ndim)
    if dtype is None and input.dtype.kind in 'bui':
        dtype = dtypes.int64
    if dtype is not None and dtype.numpy != input.dtype:
        input = m.cast(input, dtype)
    if not input.ndim:
        return input.copy()
    made = m.kernel('scan.values', input, axis, ufunc)
    return scan(input, axis) if made is None else made


def _reversed_sum(m, g, dim, input_dtype):
    return m.cast(m.flip(m.cumsum(m.flip(g, (dim,)), dim), (dim,)) if len(g.shape) else g, input_dtype)


@opaque(batch=along, inplace='', widen=True, replay=True, grad={'input': _reversed_sum})
def cumsum(m, input, dim, *, dtype=None):
    """Running sums along a dimension."""
    return _scanned(m, input, dim, dtype, np.add, m.xp.cumsum)


def _weighed(m, output, g):
    return output * g


def _share(m, total, input):
    return total / input


def _cumprod_gradient(m, g, input, output, dim, input_dtype):
    """The sum over later products, each divided by the input; zeros are handled by leaving the factor out."""
    if not len(g.shape):
        return m.cast(g, input_dtype)
    wide = m.cast_like(input, g)
    if m is REFERENCE and input.dtype.kind == 'f' and not (input == 0).any():
        later = m.flip(m.cumsum(m.flip(m.fused(_weighed, output, g), (dim,)), dim), (dim,))
        return m.cast(m.fused(_share, later, wide), input_dtype)
    zeros = wide == 0
    safe = m.where(zeros, m.ones_like(wide), wide)
    # before the first zero: sum of later outputs / input; at the first zero: products that leave it out
    before = m.cumsum(m.cast_like(zeros, g), dim)
    first = m.cast_like(zeros, g) * m.cast_like(before == 1, g)
    weighed = m.conj(output) * g
    ordinary = m.flip(m.cumsum(m.flip(weighed, (dim,)), dim), (dim,)) / m.conj(safe)
    ordinary = m.where(before == 0, ordinary, m.zeros_like(ordinary))
    without = m.cumprod(m.where(m.cast_like(before == 1, g) * first == 1, m.ones_like(wide), wide), dim)
    later = m.cast_like(before >= 1, g) * m.conj(without) * g
    at_zero = m.flip(m.cumsum(m.flip(later, (dim,)), dim), (dim,)) * first
    return m.cast(ordinary + at_zero, input_dtype)


@opaque(batch=along, inplace='', widen=True, replay=True, grad={'input': _cumprod_gradient})
def cumprod(m, input, dim, *, dtype=None):
    """Running products along a dimension."""
    return _scanned(m, input, dim, dtype, np.multiply, m.xp.cumprod)


def _logcumsumexp_gradient(m, g, input, output, dim):
    if not len(g.shape):
        return g
    # exp(input) * reversed running sum of g * exp(-output), with both exponents taken relative to the largest input
    top = m.stop(m.amax(m.real_of(input), dim, True))
    top = m.where(m.isfinite(top), top, m.zeros_like(top))
    spread = m.flip(m.cumsum(m.flip(g * m.conj(m.exp(top - output)), (dim,)), dim), (dim,))
    return spread * m.conj(m.exp(input - top))


@opaque(batch=along, widen=True, grad={'input': _logcumsumexp_gradient})
def logcumsumexp(m, input, dim):
    """Logarithms of running sums of exponentials."""
    if input.dtype.kind in 'bui':
        raise RuntimeError(f"\"logcumsumexp_out_cpu\" not implemented for '{dtypes.of(input.dtype)}'")
    if input.dtype.kind == 'c':
        top = input.real.max(axis=axis_of(dim, input.ndim), keepdims=True) if input.size else 0
        return _scanned(m, input, dim, None, np.logaddexp, lambda x,
                        axis: np.log(np.cumsum(np.exp(x - top), axis)) + top)
    return _scanned(m, input, dim, None, np.logaddexp, lambda x, axis: np.logaddexp.accumulate(x, axis))


# ---- differences and areas

def _difference(m, x, y):
    return x - y


@composite(method=True)
def diff(m, input, n=1, dim=-1, prepend=None, append=None):
    """Differences of neighbours along a dimension, n times."""
    if n < 0:
        raise RuntimeError(f'order must be non-negative but got {n}')
    if not len(input.shape):
        raise RuntimeError('diff expects input to be at least one-dimensional')
    dim = axis_of(dim, len(input.shape))
    parts = [x for x in (prepend, input, append) if x is not None] if n else [input]
    x = m.cat(parts, dim) if len(parts) > 1 else input
    size = x.shape[dim]
    for _ in range(min(n, size)):
        size = x.shape[dim]
        if size == 0:
            break
        above, below = m.narrow(x, dim, 1, size - 1), m.narrow(x, dim, 0, size - 1)
        x = m.logical_xor(above, below) if _is_bool(x) else m.fused(_difference, above, below)
    return x


def _is_bool(x):
    return str(x.dtype).endswith('bool')


def _areas(m, y, x, dx, dim):
    size = y.shape[dim]
    if size == 0:
        return None
    above, below = m.narrow(y, dim, 1, size - 1), m.narrow(y, dim, 0, size - 1)
    if x is None:
        return (above + below) * (dx / 2)
    if len(x.shape) == 1 and len(y.shape) > 1:
        if x.shape[0] != size:
            raise RuntimeError('trapezoid: There must be one `x` value for each sample point')
        shape = [1] * len(y.shape)
        shape[dim] = size
        x = m.reshape(x, tuple(shape))
    elif len(x.shape) < len(y.shape):
        x = m.reshape(x, (1,) * (len(y.shape) - len(x.shape)) + tuple(x.shape))
    steps = m.narrow(x, dim, 1, x.shape[dim] - 1) - m.narrow(x, dim, 0, x.shape[dim] - 1)
    return (above + below) * steps / 2


@export(aliases=('trapz',))
def trapezoid(y, x=None, *, dx=1, dim=-1):
    """The area under samples `y` at places `x` (or `dx` apart), by trapezoids."""
    from .definition import PUBLIC
    require_tensors('trapezoid', y=y)
    if y.dtype is dtypes.bool_ or x is not None and x.dtype is dtypes.bool_:
        raise RuntimeError('trapezoid: received a bool input for `x` or `y`, but bool is not supported')
    axis = axis_of(dim, y.dim())
    areas = _areas(PUBLIC, y, x, dx, axis - y.dim())
    if areas is None:
        shape = list(y.shape)
        del shape[axis]
        return y.new_zeros(shape)
    return areas.sum(dim)


@export()
def cumulative_trapezoid(y, x=None, *, dx=1, dim=-1):
    """Running areas under samples, by trapezoids."""
    from .definition import PUBLIC
    areas = _areas(PUBLIC, y, x, dx, axis_of(dim, y.dim()) - y.dim())
    return areas.cumsum(dim)
