"""Kullback-Leibler divergences between pairs of families."""
from __future__ import annotations

import math

from .. import linalg
from ..ops.definition import PUBLIC
from .continuous import Beta, Cauchy, Dirichlet, Exponential, Gamma, Laplace, Normal, Uniform
from .derived import EULER, Gumbel, HalfNormal, Independent, LogNormal, TransformedDistribution
from .discrete import Bernoulli, Binomial, Categorical, Geometric, OneHotCategorical, Poisson
from .distribution import Distribution, sum_rightmost
from .multivariate import LowRankMultivariateNormal, MultivariateNormal, half_log_determinant, squared_distance

__all__ = ['kl_divergence', 'register_kl']

_formulas = {}


def register_kl(type_p, type_q):
    """Decorates formula(p, q) of the divergence between two families and what derives from them."""
    for kind in (type_p, type_q):
        if not isinstance(kind, type) or not issubclass(kind, Distribution):
            raise TypeError(f'Expected type_p and type_q to be Distribution subclasses but got {kind}')

    def decorate(formula):
        _formulas[type_p, type_q] = formula
        return formula
    return decorate


def kl_divergence(p, q):
    """KL(p || q), for each element of the batch. Raises NotImplementedError for pairs without a formula.

    >>> from flambeau.distributions import Normal
    >>> kl_divergence(Normal(0., 1.), Normal(1., 1.))
    tensor(0.5000)
    """
    lines = type(p).__mro__, type(q).__mro__
    matches = [pair for pair in _formulas if pair[0] in lines[0] and pair[1] in lines[1]]
    if not matches:
        raise NotImplementedError(f'No KL(p || q) is implemented for p type {type(p).__name__} and q type '
                                  f'{type(q).__name__}')
    nearest = min(matches, key=lambda pair: (lines[0].index(pair[0]), lines[1].index(pair[1])))
    return _formulas[nearest](p, q)


@register_kl(Bernoulli, Bernoulli)
def _(p, q):
    softplus = PUBLIC.softplus
    first = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    first = PUBLIC.where(q.probs == 0, math.inf, first)
    first = PUBLIC.where(p.probs == 0, 0.0, first)
    second = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    second = PUBLIC.where(q.probs == 1, math.inf, second)
    return first + PUBLIC.where(p.probs == 1, 0.0, second)


@register_kl(Categorical, Categorical)
def _(p, q):
    terms = p.probs * (p.logits - q.logits)
    terms = PUBLIC.where((q.probs == 0).expand_as(terms), math.inf, terms)
    return PUBLIC.where((p.probs == 0).expand_as(terms), 0.0, terms).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _(p, q):
    return kl_divergence(p._categorical, q._categorical)


@register_kl(Binomial, Binomial)
def _(p, q):
    difference = p.total_count * (p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())
    return PUBLIC.where(p.total_count > q.total_count, math.inf, difference)


@register_kl(Geometric, Geometric)
def _(p, q):
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Poisson, Poisson)
def _(p, q):
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Normal, Normal)
def _(p, q):
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())


@register_kl(MultivariateNormal, MultivariateNormal)
def _(p, q):
    if p.event_shape != q.event_shape:
        raise ValueError('KL-divergence between two Multivariate Normals with different event shapes cannot be '
                         'computed')
    shape = PUBLIC.broadcast_shapes(p._factor.shape[:-2], q._factor.shape[:-2])
    ours, theirs = (d._factor.expand(*shape, -1, -1) for d in (p, q))
    trace = linalg.solve_triangular(theirs, ours, upper=False).pow(2).sum((-2, -1))
    distance = squared_distance(q._factor, q.loc - p.loc)
    return half_log_determinant(q._factor) - half_log_determinant(p._factor) + 0.5 * (
        trace + distance - p.event_shape[0])


@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
def _(p, q):
    if p.event_shape != q.event_shape:
        raise ValueError('KL-divergence between two Low Rank Multivariate Normals with different event shapes cannot '
                         'be computed')
    difference = (q.loc - p.loc).unsqueeze(-1)
    distance = (difference * (q.precision_matrix @ difference)).sum((-2, -1))
    trace = (q.precision_matrix * p.covariance_matrix).sum((-2, -1))
    return 0.5 * (q.log_determinant() - p.log_determinant() + trace + distance - p.event_shape[0])


@register_kl(Uniform, Uniform)
def _(p, q):
    result = ((q.high - q.low) / (p.high - p.low)).log()
    return PUBLIC.where((q.low > p.low) | (q.high < p.high), math.inf, result)


@register_kl(Uniform, Normal)
def _(p, q):
    spread, centre = p.high - p.low, ((p.high + p.low - 2 * q.loc) / 2).pow(2)
    return (math.sqrt(math.pi * 2) * q.scale / spread).log() + (spread.pow(2) / 12 + centre) / (2 * q.scale.pow(2))


@register_kl(Beta, Beta)
def _(p, q):
    totals = p.concentration1 + p.concentration0, q.concentration1 + q.concentration0
    normal = (q.concentration1.lgamma() + q.concentration0.lgamma() + totals[0].lgamma()
              - p.concentration1.lgamma() - p.concentration0.lgamma() - totals[1].lgamma())
    return (normal + (p.concentration1 - q.concentration1) * p.concentration1.digamma()
            + (p.concentration0 - q.concentration0) * p.concentration0.digamma()
            + (totals[1] - totals[0]) * totals[0].digamma())


@register_kl(Dirichlet, Dirichlet)
def _(p, q):
    totals = p.concentration.sum(-1), q.concentration.sum(-1)
    normal = (p.concentration.lgamma() - q.concentration.lgamma()).sum(-1)
    moved = p.concentration.digamma() - totals[0].digamma().unsqueeze(-1)
    return totals[0].lgamma() - totals[1].lgamma() - normal + ((p.concentration - q.concentration) * moved).sum(-1)


@register_kl(Gamma, Gamma)
def _(p, q):
    return (q.concentration * (p.rate / q.rate).log() + q.concentration.lgamma() - p.concentration.lgamma()
            + (p.concentration - q.concentration) * p.concentration.digamma()
            + (q.rate - p.rate) * (p.concentration / p.rate))


@register_kl(Exponential, Exponential)
def _(p, q):
    ratio = q.rate / p.rate
    return ratio - ratio.log() - 1


@register_kl(Laplace, Laplace)
def _(p, q):
    ratio, distance = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + distance / q.scale + ratio * (-distance / p.scale).exp() - 1


@register_kl(Cauchy, Cauchy)
def _(p, q):
    return ((p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)).log() - (4 * p.scale * q.scale).log()


@register_kl(HalfNormal, HalfNormal)
def _(p, q):
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(LogNormal, LogNormal)
def _(p, q):
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(Gumbel, Gumbel)
def _(p, q):
    ratio, moved = p.scale / q.scale, (q.loc - p.loc) / q.scale
    return -ratio.log() - moved + ratio * EULER + (moved + (1 + ratio).lgamma()).exp() - (1 + EULER)


@register_kl(TransformedDistribution, TransformedDistribution)
def _(p, q):
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError('KL(p || q) of transformed distributions needs equal transforms and event shapes')
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(Independent, Independent)
def _(p, q):
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError('KL(p || q) needs equal reinterpreted_batch_ndims, got '
                                  f'{p.reinterpreted_batch_ndims} and {q.reinterpreted_batch_ndims}')
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)
