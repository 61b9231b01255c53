"""Distances and similarities of vectors, and vectors brought to length one."""
from __future__ import annotations

import math

import numpy as np

from ..tensor import wrap
from .definition import PUBLIC, composite, export, opaque, reduction
from .reduction import restore
from .reference import REFERENCE

__all__ = ['normalize', 'cosine_similarity', 'pairwise_distance', 'pdist']


def _norm_gradient(m, g, input, output, p, dim, keepdim):
    shape = input.shape
    g, norm = restore(m, g, shape, dim, keepdim), restore(m, output, shape, dim, keepdim)
    zeros = m.zeros_like(input)
    if p == 0:
        return zeros
    if p == 1:
        return m.sign(input) * g
    if p == math.inf:
        hit = m.eq(m.abs(input), norm)
        return m.where(hit, m.sign(input) * (g / m.cast_like(m.sum(hit, dim, True), g)), zeros)
    safe = m.where(norm == 0, m.ones_like(norm), norm)
    if p == 2:
        return m.where(norm == 0, zeros, input * (g / safe))
    size = m.abs(input)
    powers = m.pow(m.where(input == 0, m.ones_like(size), size) / safe, p - 1)
    return m.where((norm == 0) | (input == 0), zeros, m.sign(input) * powers * g)


@reduction(namespace='', method=False, constants=True, label='NormBackward1', grad={'input': _norm_gradient})
def _p_norm(m, input, p, dim, keepdim):
    """(sum of |input|**p)**(1/p) along a dimension; the gradient at a norm of 0 is 0."""
    if p == 2 and not m.is_complex(input):
        return m.sqrt(m.sum(input * input, dim, keepdim))
    size = m.abs(input)
    if p == math.inf:
        return m.amax(size, dim, keepdim)
    if p == 0:
        return m.sum((size != 0).astype(input.dtype), dim, keepdim)
    return m.sum(size, dim, keepdim) if p == 1 else m.pow(m.sum(m.pow(size, p), dim, keepdim), 1 / p)


def _at_least(m, x, least):
    return m.where(x < least, m.zeros_like(x) + least, x)


@composite(namespace='nn.functional', method=False, constants=True, replay=True, label='DivBackward0')
def normalize(m, input, p=2.0, dim=1, eps=1e-12):
    """`input` divided by its p-norm along `dim`, or by eps where this is smaller."""
    return input / _at_least(m, m._p_norm(input, p, dim, True), eps)


def _unit(m, x, dim, eps):
    norm = m._p_norm(x, 2, dim, True)
    fixed = m.stop(norm)
    return x / (norm + m.where(fixed < eps, eps - fixed, m.zeros_like(fixed)))  # PyTorch raises it past the gradient


@composite(namespace='torch nn.functional', method=False, constants=True, replay=True, label='SumBackward1')
def cosine_similarity(m, x1, x2, dim=1, eps=1e-8):
    """The cosine of the angle between vectors along `dim`; norms below eps count as eps."""
    if x1.dtype != x2.dtype:
        like = x1 * x2
        x1, x2 = m.cast_like(x1, like), m.cast_like(x2, like)
    shape = np.broadcast_shapes(x1.shape, x2.shape)
    x1, x2 = (x if tuple(x.shape) == shape else m.expand(x, shape) for x in (x1, x2))
    return m.sum(_unit(m, x1, dim, eps) * _unit(m, x2, dim, eps), dim)


@composite(namespace='torch nn.functional', method=False, constants=True, replay=True, label='NormBackward1')
def pairwise_distance(m, x1, x2, p=2.0, eps=1e-6, keepdim=False):
    """The p-norm of x1 - x2 + eps along the last dimension."""
    return m._p_norm(x1 - x2 + eps, p, -1, keepdim)


@export('torch nn.functional')
def pdist(input, p=2):
    """The p-norm distances of all pairs of rows of a matrix (N, M), as a vector: (0, 1), (0, 2), ..., (N-2, N-1)."""
    if input.dim() != 2:
        raise RuntimeError(f'pdist only supports 2D tensors, got: {input.dim()}D')
    if not input.is_floating_point():
        raise RuntimeError(f'pdist only supports floating-point dtypes, got {input.dtype}')
    if p < 0:
        raise RuntimeError(f'pdist only supports non-negative p values, got {p}')
    return PUBLIC._pdist(input, p)


def _differences(m, input):
    """(one, other, their difference) of all pairs of rows, given by number."""
    first, second = np.triu_indices(input.shape[0], 1)
    if m is not REFERENCE:
        first, second = wrap(first), wrap(second)
    return first, second, m.index_select(input, 0, first) - m.index_select(input, 0, second)


def _pdist_gradient(m, g, input, output, p):
    if m is REFERENCE:
        weight = g if p == 1 else np.divide(g, output, out=np.zeros_like(g), where=output > 0)
        made = m.kernel('geometry.pairs_adjoint', input, np.broadcast_to(weight, output.shape), p)
        if made is not None:
            return made
    first, second, apart = _differences(m, input)
    slopes = _norm_gradient(m, g, apart, output, p, -1, False)
    return m.index_add(m.index_add(m.zeros_like(input), 0, first, slopes), 0, second, -slopes)


@opaque(namespace='', method=False, widen=True, label='PdistBackward0', grad={'input': _pdist_gradient})
def _pdist(m, input, p):
    made = m.kernel('geometry.pairs', input, p)
    return m._p_norm(_differences(m, input)[2], p, -1, False) if made is None else made
