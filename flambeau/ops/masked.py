"""Reductions and normalizations of the elements that a mask lets through (`torch.masked`).

Each fills what is masked out by a value that does not count, and calls the operation without mask. Where nothing is let
through, results are the operation's identity.
"""
from __future__ import annotations

import math

from .. import dtypes
from .definition import PUBLIC, export
from .linalg import vector_norm
from .softmax import log_softmax as _log_softmax
from .softmax import softmax as _softmax
from .sorting import nanmedian
from .view import axis_of

__all__ = ['sum', 'mean', 'var', 'norm', 'softmax']


def _mask_of(input, mask):
    """The mask in the shape of the input. Raises IndexError for a mask of more dimensions."""
    if mask.dim() > input.dim():
        raise IndexError('_input_mask expected broadcastable mask (got mask dimensionality higher than of the input)')
    return mask.bool().expand(input.shape)


def _filled(input, mask, value):
    return input if mask is None else PUBLIC.where(_mask_of(input, mask), input, value)


def _lowest(dtype):
    if dtype.category >= dtypes.FLOAT:
        return -math.inf
    return False if dtype is dtypes.bool_ else dtypes.iinfo(dtype).min


def _highest(dtype):
    if dtype.category >= dtypes.FLOAT:
        return math.inf
    return True if dtype is dtypes.bool_ else dtypes.iinfo(dtype).max


def _dims(input, dim):
    """The dimensions to reduce over; None and () mean all."""
    ndim = input.dim()
    if dim is None or dim == ():
        return tuple(range(ndim))
    dims = tuple(axis_of(d, ndim) for d in ((dim,) if isinstance(dim, int) else dim))
    if len(set(dims)) != len(dims):
        raise RuntimeError(f'dim={dims[-1]} appears multiple times in the list of dims')
    return dims if ndim else ()


def _converted(input, dtype):
    return input if dtype is None or dtype is input.dtype else input.to(dtype)


# ---- reductions

def _reduction(name, fill, compute, doc):
    """Publishes a reduction of `input` filled by fill(dtype) where it is masked out."""
    def function(input, dim=None, *, keepdim=False, dtype=None, mask=None):
        input = _converted(input, dtype)
        return compute(_filled(input, mask, fill(input.dtype)), _dims(input, dim), bool(keepdim), dtype)
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return export('masked')(function)


sum = _reduction('sum', lambda d: 0, lambda x, dims, keepdim, dtype: PUBLIC.sum(x, dims, keepdim, dtype=dtype),
                 'The sum of what the mask lets through.')
prod = _reduction('prod', lambda d: 1, lambda x, dims, keepdim, dtype: PUBLIC.prod(x, dims, keepdim, dtype=dtype),
                  'The product of what the mask lets through.')
amax = _reduction('amax', _lowest, lambda x, dims, keepdim, dtype: PUBLIC.amax(x, dims, keepdim),
                  'The largest of what the mask lets through.')
amin = _reduction('amin', _highest, lambda x, dims, keepdim, dtype: PUBLIC.amin(x, dims, keepdim),
                  'The smallest of what the mask lets through.')
logsumexp = _reduction('logsumexp', _lowest, lambda x, dims, keepdim, dtype: PUBLIC.logsumexp(x, dims, keepdim),
                       'The logarithm of the sum of exponentials of what the mask lets through.')


def _argument(name, fill, compute):
    def function(input, dim=None, *, keepdim=False, dtype=None, mask=None):
        input = _converted(input, dtype)
        return compute()(_filled(input, mask, fill(input.dtype)), dim, bool(keepdim)).to(input.dtype)
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f'Where the {"largest" if name == "argmax" else "smallest"} of what the mask lets through is.'
    return export('masked')(function)


argmax = _argument('argmax', _lowest, lambda: PUBLIC.argmax)
argmin = _argument('argmin', _highest, lambda: PUBLIC.argmin)


def _count(input, dims, keepdim, mask):
    """How many elements the mask lets through."""
    if mask is not None:
        return PUBLIC.sum(_mask_of(input, mask), dims, keepdim)
    return PUBLIC.sum(PUBLIC.ones_like(input, dtype=dtypes.int64), dims, keepdim)


@export('masked')
def mean(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The mean of what the mask lets through; nan where that is nothing."""
    dims = _dims(input, dim)
    total = sum(input, dims, keepdim=keepdim, dtype=dtype or input.dtype, mask=mask)
    return total / _count(input, dims, bool(keepdim), mask)


@export('masked')
def median(input, dim=-1, *, keepdim=False, dtype=None, mask=None):
    """The median along a dimension of what the mask lets through; nan where that is nothing."""
    input = _converted(input, dtype)
    if not input.is_floating_point():
        raise ValueError(f'input must have a floating point dtype to be filled by nan, got {input.dtype}')
    return nanmedian(_filled(input, mask, math.nan), axis_of(dim, input.dim()), bool(keepdim)).values


@export('masked')
def norm(input, ord=2.0, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The `ord`-norm of what the mask lets through."""
    ord = 2.0 if ord is None else ord
    filled = _filled(_converted(input, dtype), mask, math.inf if ord < 0 else 0)
    return vector_norm(filled, ord, _dims(input, dim), bool(keepdim), dtype=dtype)


def _variance(input, dim, unbiased, correction, keepdim, dtype, mask):
    if unbiased is not None and correction is not None:
        raise ValueError('Only one of unbiased and correction may be given')
    correction = (1 if unbiased in (None, True) else 0) if correction is None else correction
    dtype = dtype or input.dtype
    if dtype.category < dtypes.FLOAT:
        dtype = dtypes.float32
    x, dims = input.to(dtype), _dims(input, dim)
    count = _count(input, dims, True, mask)
    away = x - sum(x, dims, keepdim=True, mask=mask) / count
    squares = away * (away.conj() if away.is_complex() else away)
    total = sum(squares, dims, keepdim=keepdim, mask=mask)
    if not keepdim:
        count = count.reshape(total.shape)
    freedom = PUBLIC.clamp_min(count - correction, 0) if correction else count
    return total / freedom


@export('masked')
def var(input, dim=None, unbiased=None, *, correction=None, keepdim=False, dtype=None, mask=None):
    """The variance of what the mask lets through."""
    return _variance(input, dim, unbiased, correction, bool(keepdim), dtype, mask)


@export('masked')
def std(input, dim=None, unbiased=None, *, correction=None, keepdim=False, dtype=None, mask=None):
    """The standard deviation of what the mask lets through."""
    return PUBLIC.sqrt(_variance(input, dim, unbiased, correction, bool(keepdim), dtype, mask))


# ---- along a dimension, without reducing it

def _along(name, fill, compute, doc):
    """Publishes an operation along one dimension of `input` filled by fill(dtype) where it is masked out."""
    def function(input, dim, *, dtype=None, mask=None):
        input = _converted(input, dtype)
        return compute(_filled(input, mask, fill(input.dtype)), axis_of(dim, input.dim()), dtype)
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return export('masked')(function)


cumsum = _along('cumsum', lambda d: 0, lambda x, dim, dtype: PUBLIC.cumsum(x, dim, dtype=dtype),
                'Running sums of what the mask lets through.')
cumprod = _along('cumprod', lambda d: 1, lambda x, dim, dtype: PUBLIC.cumprod(x, dim, dtype=dtype),
                 'Running products of what the mask lets through.')
softmax = _along('softmax', _lowest, lambda x, dim, dtype: _softmax(x, dim), 'Softmax of what the mask lets through.')
log_softmax = _along('log_softmax', _lowest, lambda x, dim, dtype: _log_softmax(x, dim),
                     'The logarithm of the softmax of what the mask lets through.')
softmin = _along('softmin', _highest, lambda x, dim, dtype: _softmax(-x, dim), 'Softmin of what the mask lets through.')


@export('masked')
def normalize(input, ord, dim, *, eps=1e-12, dtype=None, mask=None):
    """The input divided by the norm along `dim` of what the mask lets through, or by `eps` where that is larger."""
    input = _converted(input, dtype)
    size = norm(input, ord, dim, keepdim=True, mask=mask)
    return _filled(input, mask, 0) / PUBLIC.clamp_min(size, eps)


@export('masked')
def logaddexp(input, other, *, dtype=None, input_mask=None, other_mask=None):
    """log(exp(input) + exp(other)) of what the masks let through."""
    a, b = _converted(input, dtype), _converted(other, dtype)
    return PUBLIC.logaddexp(_filled(a, input_mask, -math.inf), _filled(b, other_mask, -math.inf))
