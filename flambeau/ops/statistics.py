"""Extremes with places, variances, norms, counts and correlations."""
from __future__ import annotations

import functools
import math

import numpy as np

from .. import dtypes
from ..errors import require_tensors
from ..tensor import Tensor
from .batching import along as along_dimension, in_front
from .definition import HALF_ARRAYS, OPERATIONS, PUBLIC, composite, export, opaque, reduction
from .overriding import answered, override
from .reduction import restore
from .reference import LARGE, REFERENCE, axes_of
from .results import return_type
from .view import axis_of

__all__ = ['max', 'min', 'argmax', 'argmin', 'var', 'std', 'norm', 'logsumexp']


def _delivered(name, result, out):
    if out is None:
        return result
    from .contraction import write_out
    if isinstance(result, tuple):
        for r, o in zip(result, out):
            write_out(name, r, o)
        return result
    return write_out(name, result, out)


# ---- the largest and smallest

def _selected_gradient(m, g, input_shape, outputs, dim, keepdim):
    g, index = g[0], outputs[1]
    if not input_shape:
        return g
    if not keepdim:
        g, index = m.unsqueeze(g, dim), m.unsqueeze(index, dim)
    return m.scatter(m.zeros_of(input_shape, g), dim, index, g)


def _places(input, axis, largest):
    """Where the largest (smallest) lie along an axis; a nan counts as such."""
    if input.dtype in HALF_ARRAYS:
        input = REFERENCE.cast(input, dtypes.float32)
    return input.argmax(axis) if largest else input.argmin(axis)


def _extreme_along(name, largest):
    @opaque(name=f'_{name}_along', namespace='', method=False, label=f'{name.title()}Backward0',
            batch=along_dimension, grad={'input': _selected_gradient})
    def along(m, input, dim, keepdim):
        if not input.ndim:
            axis_of(dim, 0)
            return input.copy(), np.zeros((), np.int64)
        axis = axis_of(dim, input.ndim)
        if not input.shape[axis]:
            raise IndexError(f'{name}(): Expected reduction dim {dim} to have non-zero size.')
        made = m.kernel('selection.extremes', input, axis, largest, True) if input.size >= LARGE else None
        if made is not None:
            return tuple(np.expand_dims(a, axis) for a in made) if keepdim else made
        index = _places(input, axis, largest)
        if input.size >= LARGE:
            wide = np.expand_dims(index, axis)
            values = np.take_along_axis(input, wide, axis)
            return (values, wide) if keepdim else (values.squeeze(axis), index)
        values = (m.xp.maximum if largest else m.xp.minimum).reduce(input, axis, keepdims=keepdim)
        return values, m.xp.expand_dims(index, axis) if keepdim else index

    pair = return_type(name, ('values', 'indices'))

    of_all = OPERATIONS['amax' if largest else 'amin'].public

    def function(input, dim=None, keepdim=False, *, out=None, other=None):
        if input.__class__ is not Tensor:
            if answered(input, dim, other):
                return override(function, (input, *([] if dim is None else [dim, keepdim])), _out(out))
            require_tensors(name, input=input)
        array = input._array
        if out is None and other is None and array.dtype.kind in 'fiu':  # the usual calls first
            if dim is None and array.size:
                return of_all(input)
            if dim.__class__ is int:
                return pair(*along(input, dim, keepdim))
        other = dim if isinstance(dim, Tensor) else other
        if other is not None:
            return PUBLIC.maximum(input, other, **_out(out)) if largest else PUBLIC.minimum(input, other, **_out(out))
        if input.is_complex():
            raise RuntimeError(f"{name}(): does not support complex input")
        if dim is None:
            if not input.numel():
                raise RuntimeError(f'{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify '
                                   'the '
                                   "reduction dim with the 'dim' argument.")
            return _delivered(name, of_all(input), out)
        return _delivered(name, pair(*along(input, dim, keepdim)), out)

    def batched(input, dim=None, keepdim=False, *, other=None):
        other = dim if isinstance(dim, Tensor) else other
        if other is not None:
            return (PUBLIC.maximum if largest else PUBLIC.minimum)(input, other)
        return of_all(input) if dim is None else pair(*along(input, dim, keepdim))
    function.batched = batched  # what vmap calls instead
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f'The {name}imum of all elements, of slices along a dimension (with places), or of two tensors.'
    return export(method=True, asks=False)(function)


def _out(out):
    return {} if out is None else {'out': out}


max, min = _extreme_along('max', True), _extreme_along('min', False)


def _argument(name, largest):
    def of_examples(op, values, size):
        input, dim, keepdim = values
        return along_dimension(op, values, size) if dim is not None else NotImplemented if keepdim else op.public(
            input.tensor.reshape(size, -1), 1)

    @opaque(name=name, batch=of_examples)
    def function(m, input, dim=None, keepdim=False):
        if input.dtype.kind == 'c':
            raise RuntimeError(f'"{name}_cpu" not implemented for complex numbers')
        if input.dtype.kind == 'b':
            raise RuntimeError(f'{name}(): does not support bool input')
        if dim is None:
            if not input.size:
                raise IndexError(f'{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify '
                                 'the '
                                 "reduction dim with the 'dim' argument.")
            index = _places(input.reshape(-1), 0, largest)
            return index.reshape((1,) * input.ndim) if keepdim else index
        if not input.ndim:
            axis_of(dim, 0)
            return np.zeros((), np.int64)
        axis = axis_of(dim, input.ndim)
        if not input.shape[axis]:
            raise IndexError(f'{name}(): Expected reduction dim {dim} to have non-zero size.')
        made = m.kernel('selection.extremes', input, axis, largest, False) if input.size >= LARGE else None
        index = _places(input, axis, largest) if made is None else made[1]
        return np.expand_dims(index, axis) if keepdim else index
    function.__doc__ = f'Where the {"largest" if largest else "smallest"} element is, of all or along a dimension.'
    return function


argmax, argmin = _argument('argmax', True), _argument('argmin', False)


_AMINMAX = return_type('aminmax', ('min', 'max'))


@export(method=True)
def aminmax(input, *, dim=None, keepdim=False, out=None):
    """The smallest and the largest element, of all or along a dimension."""
    if not input.numel() and dim is None:
        raise RuntimeError('aminmax(): cannot compute aminmax over an empty dimension as the operation has no '
                           'identity.')
    if dim is not None and input.dim() and not input.shape[dim]:
        raise IndexError(f'aminmax(): Expected reduction dim {dim} to have non-zero size.')
    for place in out or ():
        if place.dtype is not input.dtype:
            raise RuntimeError(f'aminmax(): Expected out tensor to have dtype {input.dtype}, but got {place.dtype} '
                               'instead')
    over = () if dim is None else dim
    result = _AMINMAX(PUBLIC.amin(input, over, keepdim), PUBLIC.amax(input, over, keepdim))
    return _delivered('aminmax', result, out)


# ---- variances

def _correction(unbiased, correction):
    return (1 if unbiased in (None, True) else 0) if correction is None else correction


def _spread(m, input, axes, correction, keepdim):
    """(variance, mean) over axes; the mean with its dimensions kept."""
    count = math.prod([input.shape[a] for a in axes])
    mean = m.mean(input, axes, True)
    away = input - mean
    squares = away * away if not m.is_complex(input) else m.real_of(away * m.conj(away))
    total = m.sum(squares, axes, keepdim)
    freedom = count - correction
    return total / freedom if freedom > 0 else total / 0.0 if count else total * math.nan, mean


def _var_gradient(m, g, input, dim, correction, keepdim):
    axes = axes_of(dim, len(input.shape))
    count = math.prod([input.shape[a] for a in axes])
    spread = restore(m, g, input.shape, dim, keepdim)
    return 2.0 / builtin_max(count - correction, 0) * spread * (input - m.mean(input, axes, True)) \
        if count > correction else spread * (input - m.mean(input, axes, True)) * math.inf


builtin_max = __builtins__['max'] if isinstance(__builtins__, dict) else __builtins__.max


@reduction(name='_var', namespace='', method=False, label='VarBackward0', grad={'input': _var_gradient})
def _var(m, input, dim, correction, keepdim):
    if input.dtype.kind in 'bui':
        raise RuntimeError(f'std and var only support floating point and complex dtypes, not {dtypes.of(input.dtype)}')
    with np.errstate(all='ignore'):
        return _spread(m, input, axes_of(dim, input.ndim), correction, keepdim)[0]


def _arguments(dim, unbiased, keepdim, correction):
    """(dim, correction) of the overloads var(x, unbiased), var(x, dim, unbiased) and var(x, dim, correction=)."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None and correction is not None:
        raise TypeError("var(): received both 'unbiased' and 'correction'")
    return dim, _correction(unbiased, correction)


@export(method=True)
def var(input, dim=None, unbiased=None, keepdim=False, *, correction=None, out=None):
    """The variance, of all or over dimensions, divided by the count minus `correction` (1 by default)."""
    dim, correction = _arguments(dim, unbiased, keepdim, correction)
    return _delivered('var', _var(input, dim, correction, keepdim), out)


@opaque(name='_std_root', namespace='', method=False, label='StdBackward0', widen=True, batch=in_front, grad={
    'input': lambda m, g, output: m.where(output == 0, m.zeros_like(g), g / (2 * output))})
def _std_root(m, input):
    return m.xp.sqrt(input)


@export(method=True)
def std(input, dim=None, unbiased=None, keepdim=False, *, correction=None, out=None):
    """The standard deviation: the root of `var`."""
    dim, correction = _arguments(dim, unbiased, keepdim, correction)
    return _delivered('std', _std_root(_var(input, dim, correction, keepdim)), out)


@export()
def var_mean(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """(variance, mean)."""
    dim, correction = _arguments(dim, unbiased, keepdim, correction)
    return _var(input, dim, correction, keepdim), PUBLIC.mean(input, dim, keepdim)


@export()
def std_mean(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """(standard deviation, mean)."""
    dim, correction = _arguments(dim, unbiased, keepdim, correction)
    return _std_root(_var(input, dim, correction, keepdim)), PUBLIC.mean(input, dim, keepdim)


# ---- sums of exponentials, sums without nan, counts

def _counts(input):
    """Whether a composite was given a tensor of integers or bools, which it never is as an array."""
    return getattr(input.dtype, 'category', dtypes.FLOAT) <= dtypes.INTEGER


@composite(namespace='torch special')
def logsumexp(m, input, dim, keepdim=False):
    """The logarithm of the sum of exponentials over dimensions, without overflow."""
    if _counts(input):
        input = m.cast(input, dtypes.get_default_dtype())
    if not math.prod(input.shape):
        return m.log(m.sum(m.exp(input), dim, keepdim))
    top = m.stop(m.amax(m.real_of(input), dim, True))
    top = m.where(m.isfinite(top), top, m.zeros_like(top))
    total = m.log(m.sum(m.exp(input - top), dim, keepdim))
    return total + (top if keepdim or not len(input.shape) else m.reshape(top, tuple(total.shape)))


@composite()
def nansum(m, input, dim=None, keepdim=False, *, dtype=None):
    """The sum over dimensions with nan counted as 0."""
    if m is REFERENCE and dim is None and not keepdim and dtype is None and input.dtype.kind == 'f':
        return m.whole(_without_nan, input)
    return m.sum(_without_nan(m, input), dim, keepdim, dtype=dtype)


def _without_nan(m, x):
    return m.where(m.isnan(x), m.zeros_like(x), x)


@composite()
def nanmean(m, input, dim=None, keepdim=False, *, dtype=None):
    """The mean of what is not nan. Raises RuntimeError for integers."""
    if _counts(input):
        raise RuntimeError(f'nanmean(): expected input to have floating point or complex dtype but got {input.dtype}')
    missing = m.isnan(input)
    total = m.sum(m.where(missing, m.zeros_like(input), input), dim, keepdim, dtype=dtype)
    return total / m.cast_like(m.sum(m.logical_not(missing), dim, keepdim), total)


@reduction()
def count_nonzero(m, input, dim=None):
    """How many elements are not 0, of all or over dimensions."""
    return m.sum(input if input.dtype.kind == 'b' else input != 0, dim)


# ---- norms and distances

@functools.cache
def _norms():
    from .linalg import matrix_norm, vector_norm
    return vector_norm, matrix_norm


@export(method=True)
def norm(input, p='fro', dim=None, keepdim=False, dtype=None, *, out=None):
    """The p-norm of the elements, of all or over dimensions; 'fro' and 'nuc' of matrices."""
    vector_norm, matrix_norm = _norms()
    if p == 'nuc':
        result = matrix_norm(input, 'nuc', (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    else:
        result = vector_norm(input, 2.0 if p in ('fro', None) else p, dim, keepdim, dtype=dtype)
    return _delivered('norm', result, out)


@export(method=True)
def dist(input, other, p=2):
    """The p-norm of the difference."""
    return norm(input - other, p)


@export(method=True)
def renorm(input, p, dim, maxnorm, *, out=None):
    """Slices along a dimension shrunk to a p-norm of at most `maxnorm`."""
    return _delivered('renorm', _renormed(input, p, dim, maxnorm), out)


def _renormed(input, p, dim, maxnorm):
    if input.dim() < 2:
        raise RuntimeError(f'renorm: input needs at least 2 dimensions, got {input.dim()} dimensions')
    if p <= 0:
        raise RuntimeError('renorm: non-positive-norm not supported')
    if maxnorm < 0:
        raise RuntimeError(f'renorm: expected maxnorm to be >= 0 but got {maxnorm}')
    axis = axis_of(dim, input.dim())
    others = tuple(k for k in range(input.dim()) if k != axis)
    sizes = norm(input, p, others, True)
    factor = PUBLIC.where(sizes > maxnorm, maxnorm / (sizes + 1e-7), PUBLIC.ones_like(sizes))
    return input * PUBLIC.cast(factor, input.dtype)


@export('', method=True)
def renorm_(input, p, dim, maxnorm):
    """In-place form of `renorm`."""
    from .writing import change
    return change(input, 'renorm_', lambda before: _renormed(before, p, dim, maxnorm))


def _pair_differences(m, x1, x2):
    return m.unsqueeze(x1, -2) - m.unsqueeze(x2, -3)


def _euclidean_gradients(m, g, x1, x2, output):
    share = m.where(output == 0, m.zeros_like(g), g / output)
    turned = m.transpose(share, -2, -1)
    return {'x1': x1 * m.sum(share, -1, True) - m.matmul(share, x2),
            'x2': x2 * m.sum(turned, -1, True) - m.matmul(turned, x1)}


@opaque(namespace='', method=False, label='EuclideanDistBackward0', grad=_euclidean_gradients)
def _euclidean(m, x1, x2):
    """The distances between all rows of equal batches of matrices, by a product: |x|^2 - 2 x y + |y|^2."""
    first, second = (m.fused(_row_squares, x) for x in (x1, x2))
    return m.fused(_distances, m.matmul(x1, np.swapaxes(x2, -2, -1)), first, np.swapaxes(second, -2, -1))


def _row_squares(m, x):
    return m.sum(x * x, -1, True)


def _distances(m, products, first, second):
    return m.sqrt(m.maximum(products * -2.0 + first + second, 0.0))


DISTANCE_MODES = 'use_mm_for_euclid_dist_if_necessary', 'use_mm_for_euclid_dist', 'donot_use_mm_for_euclid_dist'
FEW_ROWS = 25  # up to so many, distances come from differences unless a product is asked for


@export(method=False)
def cdist(x1, x2, p=2.0, compute_mode='use_mm_for_euclid_dist_if_necessary'):
    """The p-norm distances between all rows of two matrices (or batches of them).

    compute_mode: whether Euclidean distances of more than 25 rows come from a product of the matrices (by default), all
    ('use_mm_for_euclid_dist') or none ('donot_use_mm_for_euclid_dist').
    """
    if x1.dim() < 2 or x2.dim() < 2:
        raise RuntimeError(f'cdist only supports at least 2D tensors, X{1 if x1.dim() < 2 else 2} got: '
                           f'{x1.dim() if x1.dim() < 2 else x2.dim()}D')
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(f'X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}')
    if p < 0:
        raise RuntimeError('cdist only supports non-negative p values')
    if not isinstance(x1, Tensor) or not isinstance(x2, Tensor):
        raise TypeError('cdist(): x1 and x2 must be Tensors')
    if compute_mode not in DISTANCE_MODES:
        raise ValueError(f'{compute_mode} is not a valid value for compute_mode')
    few = x1.shape[-2] <= FEW_ROWS and x2.shape[-2] <= FEW_ROWS
    if p == 2 and compute_mode != DISTANCE_MODES[2] and not (few and compute_mode == DISTANCE_MODES[0]):
        batch = np.broadcast_shapes(x1.shape[:-2], x2.shape[:-2])
        return PUBLIC._euclidean(*[x.expand(*batch, *x.shape[-2:]) for x in (x1, x2)])
    from .linalg import vector_norm
    return vector_norm(_pair_differences(PUBLIC, x1, x2), p, -1)


# ---- traces, covariances, gradients on grids

@export(method=True)
def trace(input):
    """The sum of the diagonal of a matrix."""
    if input.dim() != 2:
        raise RuntimeError('trace: expected a matrix')
    return input.diagonal().sum()


@export(method=True)
def cov(input, *, correction=1, fweights=None, aweights=None):
    """The covariance matrix of variables (rows) over observations (columns), which may be weighed."""
    if input.dim() > 2:
        raise RuntimeError(f'cov(): expected input to have two or fewer dimensions but got an input with {input.dim()} '
                           'dimensions')
    if input.dtype is dtypes.bool_:
        raise RuntimeError('cov(): bool dtype is not supported for input')
    x = input if input.dim() == 2 else input.reshape(1, -1)
    x = x if x.dtype.category >= dtypes.FLOAT else x.to(dtypes.get_default_dtype())
    weights = None
    for given, name in ((fweights, 'fweights'), (aweights, 'aweights')):
        if given is None:
            continue
        if given.dim() > 1 or given.numel() != x.shape[1]:
            raise RuntimeError(f'cov(): expected {name} to have the same numel as there are observations in the input '
                               f'but got {given.numel()} != {x.shape[1]}')
        if given.numel() and given.min().item() < 0:
            raise RuntimeError(f'cov(): {name} cannot be negative')
        if name == 'fweights' and given.dtype.category > dtypes.INTEGER:
            raise RuntimeError(f'cov(): expected fweights to have integral dtype but got fweights with {given.dtype} '
                               'dtype')
        weights = given.to(x.dtype) if weights is None else weights * given
    if weights is None:
        mean, freedom = x.mean(1, True), builtin_max(x.shape[1] - correction, 0)
        away = x - mean
        weighed = away
    else:
        total = weights.sum()
        mean = (x * weights).sum(1, True) / total
        freedom = total - correction * (total if aweights is None else (weights * aweights).sum() / total
                                        if correction else 0) if aweights is not None else total - correction
        freedom = PUBLIC.clamp_min(freedom, 0)
        away = x - mean
        weighed = away * weights
    made = (weighed @ (away.conj() if away.is_complex() else away).t()) / freedom
    return made.squeeze()


@export(method=True)
def corrcoef(input):
    """The matrix of correlation coefficients of variables (rows)."""
    if input.dim() > 2:
        raise RuntimeError(f'corrcoef(): expected input to have two or fewer dimensions but got an input with '
                           f'{input.dim()} dimensions')
    c = cov(input)
    if c.dim() == 0:
        return c / c
    d = (c.diagonal().real if c.is_complex() else c.diagonal()).sqrt()
    c = c / d.reshape(-1, 1) / d.reshape(1, -1)
    if c.is_complex():
        return PUBLIC.complex(c.real.clamp(-1, 1), c.imag.clamp(-1, 1))
    return c.clamp(-1, 1)


@export()
def gradient(input, *, spacing=1, dim=None, edge_order=1):
    """Derivatives along dimensions estimated from neighbours; `spacing` is a step, steps, or coordinates."""
    dims = list(range(input.dim())) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    dims = [axis_of(d, input.dim()) for d in dims]
    if len(set(dims)) != len(dims):
        raise RuntimeError(f'dim {dims} appears multiple times in the list of dims')
    if edge_order not in (1, 2):
        raise RuntimeError('torch.gradient only supports edge_order=1 and edge_order=2.')
    spacing = 1 if spacing is None else spacing
    if isinstance(spacing, (int, float, complex)):
        spacing = [spacing] * len(dims)
    elif isinstance(spacing, Tensor):
        spacing = [spacing]
    if len(spacing) != len(dims):
        raise RuntimeError(f'torch.gradient expected spacing to be unspecified, a scalar, or a list of length equal to '
                           f"'self.dim() = {input.dim()}', since dim argument was not given, but got a list of length "
                           f'{len(spacing)}')
    for d in dims:
        if input.shape[d] < edge_order + 1:
            raise RuntimeError('torch.gradient expected each dimension size to be at least edge_order+1')
    return tuple(_slope(input, h, d, edge_order) for h, d in zip(spacing, dims))


def _slope(x, h, d, edge_order):
    size = x.shape[d]
    shape = [1] * x.dim()
    shape[d] = -1

    def part(start, length):
        return x.narrow(d, start, length)
    coordinates = isinstance(h, Tensor) and h.dim() > 0
    if coordinates:
        if h.numel() != size:
            raise RuntimeError(f'torch.gradient expected the coordinates along dim {d} to have {size} values, got '
                               f'{h.numel()}')
        steps = (h[1:] - h[:-1]).to(x.dtype if x.dtype.category >= dtypes.FLOAT else h.dtype)
        before, after = steps[:-1].reshape(shape), steps[1:].reshape(shape)
        a, b, c = -after / (before * (before + after)), (after - before) / (before * after), before / (
            after * (before + after))
        inner = a * part(0, size - 2) + b * part(1, size - 2) + c * part(2, size - 2)
        first_step, last_step = steps[0], steps[-1]
    else:
        inner = (part(2, size - 2) - part(0, size - 2)) / (2 * h)
        first_step = last_step = h
    if edge_order == 1:
        first = (part(1, 1) - part(0, 1)) / first_step
        last = (part(size - 1, 1) - part(size - 2, 1)) / last_step
    else:
        first = _edge(part, 0, 1, 2, first_step, steps[1] if coordinates else h, 1)
        last = _edge(part, size - 1, size - 2, size - 3, last_step, steps[-2] if coordinates else h, -1)
    return PUBLIC.cat([first, inner, last], d)


def _edge(part, k0, k1, k2, near, far, sign):
    """The one-sided second order estimate at an edge."""
    a = -(2 * near + far) / (near * (near + far))
    b = (near + far) / (near * far)
    c = -near / (far * (near + far))
    return sign * (a * part(k0, 1) + b * part(k1, 1) + c * part(k2, 1))
