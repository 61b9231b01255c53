"""Distributions made of others: moved by transforms, batches read as events, mixtures, relaxed classes."""
from __future__ import annotations

import math

from .. import dtypes
from ..ops.definition import PUBLIC
from . import constraints
from .continuous import Cauchy, Exponential, Gamma, Normal, Uniform
from .discrete import Categorical, Chances
from .distribution import Distribution, broadcast_all, clamp_probs, sum_rightmost
from .transforms import (AbsTransform, AffineTransform, ComposeTransform, ExpTransform, PowerTransform,
                         SigmoidTransform, StickBreakingTransform, Transform)

__all__ = ['Independent', 'TransformedDistribution', 'MixtureSameFamily', 'LogNormal', 'HalfNormal', 'HalfCauchy',
           'Gumbel', 'Weibull', 'Pareto', 'InverseGamma', 'Kumaraswamy', 'LogisticNormal', 'LogitRelaxedBernoulli',
           'RelaxedBernoulli', 'RelaxedOneHotCategorical']

EULER = 0.57721566490153286060


class Independent(Distribution):
    """A distribution of which the last `reinterpreted_batch_ndims` dimensions of the batch are read as an event's.

    >>> Independent(Normal(flambeau.zeros(3), 1.), 1).event_shape
    torch.Size([3])
    """

    def __init__(self, base_distribution, reinterpreted_batch_ndims, validate_args=None):
        shape = base_distribution.batch_shape
        if reinterpreted_batch_ndims > len(shape):
            raise ValueError('Expected reinterpreted_batch_ndims <= len(base_distribution.batch_shape), actual '
                             f'{reinterpreted_batch_ndims} vs {len(shape)}')
        kept = len(shape) - reinterpreted_batch_ndims
        self.base_dist, self.reinterpreted_batch_ndims = base_distribution, reinterpreted_batch_ndims
        super().__init__(shape[:kept], shape[kept:] + base_distribution.event_shape, validate_args)

    def expand(self, batch_shape, _instance=None):
        new = self._copy(_instance)
        inner = self.event_shape[:self.reinterpreted_batch_ndims]
        Independent.__init__(new, self.base_dist.expand((*batch_shape, *inner)), self.reinterpreted_batch_ndims, False)
        new._validate_args = self._validate_args
        return new

    has_rsample = property(lambda self: self.base_dist.has_rsample)
    mean = property(lambda self: self.base_dist.mean)
    mode = property(lambda self: self.base_dist.mode)
    variance = property(lambda self: self.base_dist.variance)

    @property
    def has_enumerate_support(self):
        return not self.reinterpreted_batch_ndims and self.base_dist.has_enumerate_support

    @constraints.dependent_property
    def support(self):
        support, count = self.base_dist.support, self.reinterpreted_batch_ndims
        return constraints.independent(support, count) if count else support

    def sample(self, sample_shape=()):
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape=()):
        return self.base_dist.rsample(sample_shape)

    def log_prob(self, value):
        return sum_rightmost(self.base_dist.log_prob(value), self.reinterpreted_batch_ndims)

    def entropy(self):
        return sum_rightmost(self.base_dist.entropy(), self.reinterpreted_batch_ndims)

    def enumerate_support(self, expand=True):
        if self.reinterpreted_batch_ndims:
            raise NotImplementedError('Enumeration over cartesian product is not implemented')
        return self.base_dist.enumerate_support(expand)

    def __repr__(self):
        return f'Independent({self.base_dist!r}, {self.reinterpreted_batch_ndims})'


class TransformedDistribution(Distribution):
    """What transforms, one after the other, make of a distribution's samples."""

    def __init__(self, base_distribution, transforms, validate_args=None):
        self.transforms = [transforms] if isinstance(transforms, Transform) else transforms
        if not isinstance(self.transforms, list):
            raise ValueError(f'transforms must be a Transform or list, but was {transforms}')
        if not all(isinstance(t, Transform) for t in self.transforms):
            raise ValueError('transforms must be a Transform or a list of Transforms')
        base_shape = base_distribution.batch_shape + base_distribution.event_shape
        base_dims, transform = len(base_distribution.event_shape), ComposeTransform(self.transforms)
        if len(base_shape) < transform.domain.event_dim:
            raise ValueError('base_distribution needs to have shape with size at least '
                             f'{transform.domain.event_dim}, but got {base_shape}.')
        shape = transform.forward_shape(base_shape)
        expanded = transform.inverse_shape(shape)
        if tuple(base_shape) != tuple(expanded):
            base_distribution = base_distribution.expand(expanded[:len(expanded) - base_dims])
        extra = transform.domain.event_dim - base_dims
        self.base_dist = Independent(base_distribution, extra) if extra > 0 else base_distribution
        change = transform.codomain.event_dim - transform.domain.event_dim
        kept = len(shape) - max(transform.codomain.event_dim, base_dims + change)
        super().__init__(shape[:kept], shape[kept:], validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        new, shape = self._copy(_instance), (*batch_shape, *self.event_shape)
        for transform in reversed(self.transforms):
            shape = transform.inverse_shape(shape)
        new.base_dist = self.base_dist.expand(shape[:len(shape) - len(self.base_dist.event_shape)])
        new.transforms = self.transforms
        Distribution.__init__(new, batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    has_rsample = property(lambda self: self.base_dist.has_rsample)

    @constraints.dependent_property(is_discrete=False)
    def support(self):
        if not self.transforms:
            return self.base_dist.support
        support, dims = self.transforms[-1].codomain, len(self.event_shape)
        return constraints.independent(support, dims - support.event_dim) if dims > support.event_dim else support

    def sample(self, sample_shape=()):
        return ComposeTransform(self.transforms)(self.base_dist.sample(sample_shape)).detach()

    def rsample(self, sample_shape=()):
        return ComposeTransform(self.transforms)(self.base_dist.rsample(sample_shape))

    def log_prob(self, value):
        self._validate_sample(value)
        total, dims, y = 0.0, len(self.event_shape), value
        for transform in reversed(self.transforms):
            x = transform._inv_call(y)
            dims += transform.domain.event_dim - transform.codomain.event_dim
            total = total - sum_rightmost(transform.log_abs_det_jacobian(x, y), dims - transform.domain.event_dim)
            y = x
        return total + sum_rightmost(self.base_dist.log_prob(y), dims - len(self.base_dist.event_shape))

    def _flipped(self, probability):
        sign = math.prod(transform.sign for transform in self.transforms)
        return probability if isinstance(sign, int) and sign == 1 else sign * (probability - 0.5) + 0.5

    def cdf(self, value):
        self._validate_sample(value)
        return self._flipped(self.base_dist.cdf(ComposeTransform(self.transforms)._inv_call(value)))

    def icdf(self, value):
        return ComposeTransform(self.transforms)(self.base_dist.icdf(self._flipped(value)))


class MixtureSameFamily(Distribution):
    """A mixture of the distributions along the last dimension of a batch, weighed by a Categorical."""

    has_rsample = False

    def __init__(self, mixture_distribution, component_distribution, validate_args=None):
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError('The Mixture distribution needs to be an instance of torch.distributions.Categorical')
        if not isinstance(component_distribution, Distribution):
            raise ValueError('The Component distribution need to be an instance of torch.distributions.Distribution')
        weights, shape = mixture_distribution.batch_shape, component_distribution.batch_shape
        for have, want in zip(reversed(weights), reversed(shape[:-1])):
            if have != 1 and want != 1 and have != want:
                raise ValueError(f'`mixture_distribution.batch_shape` ({weights}) is not compatible with '
                                 f'`component_distribution.batch_shape`({shape[:-1]})')
        count = mixture_distribution.logits.shape[-1]
        if count != shape[-1]:
            raise ValueError(f'`mixture_distribution component` ({count}) does not equal '
                             f'`component_distribution.batch_shape[-1]` ({shape[-1]})')
        self._mixture_distribution, self._component_distribution = mixture_distribution, component_distribution
        self._num_component, self._event_ndims = shape[-1], len(component_distribution.event_shape)
        super().__init__(shape[:-1], component_distribution.event_shape, validate_args)

    mixture_distribution = property(lambda self: self._mixture_distribution)
    component_distribution = property(lambda self: self._component_distribution)

    def expand(self, batch_shape, _instance=None):
        new = self._copy(_instance)
        components = self.component_distribution.expand((*batch_shape, self._num_component))
        MixtureSameFamily.__init__(new, self.mixture_distribution.expand(batch_shape), components, False)
        new._validate_args = self._validate_args
        return new

    @constraints.dependent_property
    def support(self):
        return constraints.MixtureSameFamilyConstraint(self._component_distribution.support)

    def _weights(self):
        probs = self.mixture_distribution.probs
        return probs.reshape(*probs.shape, *(1,) * self._event_ndims)

    @property
    def mean(self):
        return (self._weights() * self.component_distribution.mean).sum(-1 - self._event_ndims)

    @property
    def variance(self):
        dim, components = -1 - self._event_ndims, self.component_distribution
        spread = (components.mean - self.mean.unsqueeze(dim)).pow(2)
        return (self._weights() * (components.variance + spread)).sum(dim)

    def cdf(self, x):
        return (self.component_distribution.cdf(self._pad(x)) * self.mixture_distribution.probs).sum(-1)

    def log_prob(self, value):
        self._validate_sample(value)
        logits = self.mixture_distribution.logits
        return (self.component_distribution.log_prob(self._pad(value)) + PUBLIC.log_softmax(logits, -1)).logsumexp(-1)

    def _pad(self, value):
        return value.unsqueeze(-1 - self._event_ndims)

    def sample(self, sample_shape=()):
        which = self.mixture_distribution.sample(sample_shape)
        drawn = self.component_distribution.sample(sample_shape)
        dim = len(sample_shape) + len(self.batch_shape)
        index = which.reshape(*which.shape, *(1,) * (self._event_ndims + 1)).expand(
            *which.shape, 1, *self.event_shape)
        return drawn.gather(dim, index).squeeze(dim)

    def __repr__(self):
        return f'MixtureSameFamily(\n  {self.mixture_distribution!r},\n  {self.component_distribution!r})'


# ---- families that are another one, transformed

class _Moved(TransformedDistribution):
    """Families that are transformed others; `expand` makes them anew from expanded parameters."""

    def expand(self, batch_shape, _instance=None):
        return TransformedDistribution.expand(self, batch_shape, self._copy(_instance))


class LogNormal(_Moved):
    """Numbers whose logarithms are normal."""

    arg_constraints = {'loc': constraints.real, 'scale': constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, loc, scale, validate_args=None):
        super().__init__(Normal(loc, scale, validate_args=validate_args), ExpTransform(), validate_args=validate_args)

    loc = property(lambda self: self.base_dist.loc)
    scale = property(lambda self: self.base_dist.scale)
    mean = property(lambda self: (self.loc + self.scale.pow(2) / 2).exp())
    mode = property(lambda self: (self.loc - self.scale.square()).exp())

    @property
    def variance(self):
        square = self.scale.pow(2)
        return square.expm1() * (2 * self.loc + square).exp()

    def entropy(self):
        return self.base_dist.entropy() + self.loc


class _Half(_Moved):
    """The magnitudes of a distribution that is symmetric about 0."""

    support = constraints.nonnegative
    arg_constraints = {'scale': constraints.positive}
    has_rsample = True

    def __init__(self, base, validate_args):
        super().__init__(base, AbsTransform(), validate_args=validate_args)

    scale = property(lambda self: self.base_dist.scale)
    mode = property(lambda self: PUBLIC.zeros_like(self.scale))

    def log_prob(self, value):
        self._validate_sample(value)
        inside = self.base_dist.log_prob(value) + math.log(2)
        return PUBLIC.where(value >= 0, inside, -math.inf)

    def cdf(self, value):
        self._validate_sample(value)
        return 2 * self.base_dist.cdf(value) - 1

    def icdf(self, value):
        return self.base_dist.icdf((value + 1) / 2)

    def entropy(self):
        return self.base_dist.entropy() - math.log(2)


class HalfNormal(_Half):
    """The magnitudes of normal numbers around 0."""

    def __init__(self, scale, validate_args=None):
        super().__init__(Normal(0, scale, validate_args=False), validate_args)

    mean = property(lambda self: self.scale * math.sqrt(2 / math.pi))
    variance = property(lambda self: self.scale.pow(2) * (1 - 2 / math.pi))


class HalfCauchy(_Half):
    """The magnitudes of Cauchy numbers around 0."""

    def __init__(self, scale, validate_args=None):
        super().__init__(Cauchy(0, scale, validate_args=False), validate_args)

    mean = property(lambda self: PUBLIC.full(self._extended_shape(), math.inf, dtype=self.scale.dtype))
    variance = property(lambda self: self.base_dist.variance)


class Gumbel(_Moved):
    """The distribution of the largest of many numbers, around `loc`."""

    arg_constraints = {'loc': constraints.real, 'scale': constraints.positive}
    support = constraints.real

    def __init__(self, loc, scale, validate_args=None):
        self.loc, self.scale = broadcast_all(loc, scale)
        info = dtypes.finfo(self.loc.dtype)
        base = Uniform(PUBLIC.full_like(self.loc, info.tiny), PUBLIC.full_like(self.loc, 1 - info.eps),
                       validate_args=validate_args)
        super().__init__(base, self._steps(), validate_args=validate_args)

    def _steps(self):
        ones = PUBLIC.ones_like(self.scale)
        return [ExpTransform().inv, AffineTransform(0, -ones), ExpTransform().inv,
                AffineTransform(self.loc, -self.scale)]

    def expand(self, batch_shape, _instance=None):
        new = self._copy(_instance)
        new.loc, new.scale = self.loc.expand(batch_shape), self.scale.expand(batch_shape)
        return TransformedDistribution.expand(self, batch_shape, new)

    mean = property(lambda self: self.loc + self.scale * EULER)
    mode = property(lambda self: self.loc)
    stddev = property(lambda self: math.pi / math.sqrt(6) * self.scale)
    variance = property(lambda self: self.stddev.pow(2))

    def log_prob(self, value):
        self._validate_sample(value)
        y = (self.loc - value) / self.scale
        return (y - y.exp()) - self.scale.log()

    def entropy(self):
        return self.scale.log() + (1 + EULER)


class Weibull(_Moved):
    """The Weibull distribution of `scale` and shape `concentration`."""

    arg_constraints = {'scale': constraints.positive, 'concentration': constraints.positive}
    support = constraints.positive

    def __init__(self, scale, concentration, validate_args=None):
        self.scale, self.concentration = broadcast_all(scale, concentration)
        self.concentration_reciprocal = self.concentration.reciprocal()
        base = Exponential(PUBLIC.ones_like(self.scale), validate_args=validate_args)
        super().__init__(base, [PowerTransform(self.concentration_reciprocal),
                                AffineTransform(0, self.scale)], validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        new = self._copy(_instance)
        for name in ('scale', 'concentration', 'concentration_reciprocal'):
            setattr(new, name, getattr(self, name).expand(batch_shape))
        return TransformedDistribution.expand(self, batch_shape, new)

    mean = property(lambda self: self.scale * (1 + self.concentration_reciprocal).lgamma().exp())

    @property
    def mode(self):
        return self.scale * ((self.concentration - 1) / self.concentration) ** self.concentration.reciprocal()

    @property
    def variance(self):
        of = self.concentration_reciprocal
        return self.scale.pow(2) * ((1 + 2 * of).lgamma().exp() - (2 * (1 + of).lgamma()).exp())

    def entropy(self):
        of = self.concentration_reciprocal
        return EULER * (1 - of) + (self.scale * of).log() + 1


class Pareto(_Moved):
    """The Pareto distribution over numbers above `scale`, falling off by the power `alpha`."""

    arg_constraints = {'alpha': constraints.positive, 'scale': constraints.positive}

    def __init__(self, scale, alpha, validate_args=None):
        self.scale, self.alpha = broadcast_all(scale, alpha)
        super().__init__(Exponential(self.alpha, validate_args=validate_args),
                         [ExpTransform(), AffineTransform(0, self.scale)], validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        new = self._copy(_instance)
        new.scale, new.alpha = self.scale.expand(batch_shape), self.alpha.expand(batch_shape)
        return TransformedDistribution.expand(self, batch_shape, new)

    mode = property(lambda self: self.scale)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self):
        return constraints.greater_than_eq(self.scale)

    @property
    def mean(self):
        alpha = self.alpha.clamp(min=1)
        return alpha * self.scale / (alpha - 1)

    @property
    def variance(self):
        alpha = self.alpha.clamp(min=2)
        return self.scale.pow(2) * alpha / ((alpha - 1).pow(2) * (alpha - 2))

    def entropy(self):
        return (self.scale / self.alpha).log() + (1 + self.alpha.reciprocal())


class InverseGamma(_Moved):
    """The reciprocals of gamma distributed numbers."""

    arg_constraints = {'concentration': constraints.positive, 'rate': constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, concentration, rate, validate_args=None):
        base = Gamma(concentration, rate, validate_args=validate_args)
        super().__init__(base, PowerTransform(-base.rate.new_ones(())), validate_args=validate_args)

    concentration = property(lambda self: self.base_dist.concentration)
    rate = property(lambda self: self.base_dist.rate)
    mode = property(lambda self: self.rate / (self.concentration + 1))

    @property
    def mean(self):
        known = self.rate / (self.concentration - 1)
        return PUBLIC.where(self.concentration > 1, known, math.inf)

    @property
    def variance(self):
        known = self.rate.square() / ((self.concentration - 1).square() * (self.concentration - 2))
        return PUBLIC.where(self.concentration > 2, known, math.inf)

    def entropy(self):
        return (self.concentration + self.rate.log() + self.concentration.lgamma()
                - (1 + self.concentration) * self.concentration.digamma())


def _harmonic(order):
    """The generalisation of 1 + 1/2 + ... + 1/n to real n."""
    return (order + 1).digamma() + EULER


class Kumaraswamy(_Moved):
    """The Kumaraswamy distribution over [0, 1], a relative of the beta distribution."""

    arg_constraints = {'concentration1': constraints.positive, 'concentration0': constraints.positive}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, concentration1, concentration0, validate_args=None):
        self.concentration1, self.concentration0 = broadcast_all(concentration1, concentration0)
        ones = PUBLIC.ones_like(self.concentration0)
        steps = [PowerTransform(self.concentration0.reciprocal()), AffineTransform(1.0, -1.0),
                 PowerTransform(self.concentration1.reciprocal())]
        super().__init__(Uniform(PUBLIC.zeros_like(ones), ones, validate_args=validate_args), steps,
                         validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        new = self._copy(_instance)
        for name in ('concentration1', 'concentration0'):
            setattr(new, name, getattr(self, name).expand(batch_shape))
        return TransformedDistribution.expand(self, batch_shape, new)

    def _moment(self, n):
        ratio = 1 + n / self.concentration1
        value = ratio.lgamma() + self.concentration0.lgamma() - (ratio + self.concentration0).lgamma()
        return self.concentration0 * value.exp()

    mean = property(lambda self: self._moment(1))
    variance = property(lambda self: self._moment(2) - self.mean.pow(2))

    @property
    def mode(self):
        a, b = self.concentration1, self.concentration0
        mode = ((a - 1) / (a * b - 1)) ** a.reciprocal()
        return PUBLIC.where((a < 1) | (b < 1), math.nan, mode)

    def entropy(self):
        a, b = 1 - self.concentration1.reciprocal(), 1 - self.concentration0.reciprocal()
        return b + a * _harmonic(self.concentration0) - self.concentration1.log() - self.concentration0.log()


class LogisticNormal(_Moved):
    """Points of a simplex with k + 1 parts made of k normal numbers by breaking a stick."""

    arg_constraints = {'loc': constraints.real, 'scale': constraints.positive}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, loc, scale, validate_args=None):
        base = Normal(loc, scale, validate_args=validate_args)
        super().__init__(base if base.batch_shape else base.expand([1]), StickBreakingTransform(),
                         validate_args=validate_args)

    loc = property(lambda self: self.base_dist.base_dist.loc)
    scale = property(lambda self: self.base_dist.base_dist.scale)


# ---- relaxed truth values and classes

class LogitRelaxedBernoulli(Chances):
    """Log odds of relaxed truth values."""

    support = constraints.real

    def __init__(self, temperature, probs=None, logits=None, validate_args=None):
        self.temperature = temperature
        self._chances(probs, logits, validate_args)

    def expand(self, batch_shape, _instance=None):
        new = super().expand(batch_shape, _instance)
        new.temperature = self.temperature
        return new

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        probs = clamp_probs(self.probs.expand(shape))
        drawn = clamp_probs(PUBLIC.rand(shape, dtype=probs.dtype))
        return (drawn.log() - (-drawn).log1p() + probs.log() - (-probs).log1p()) / self.temperature

    def log_prob(self, value):
        self._validate_sample(value)
        difference = self.logits - value * self.temperature
        return PUBLIC.as_tensor(self.temperature).log() + difference - 2 * difference.exp().log1p()


class RelaxedBernoulli(_Moved):
    """Truth values relaxed to (0, 1): the higher the temperature, the nearer to the middle."""

    arg_constraints = {'probs': constraints.unit_interval, 'logits': constraints.real}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, temperature, probs=None, logits=None, validate_args=None):
        super().__init__(LogitRelaxedBernoulli(temperature, probs, logits), SigmoidTransform(),
                         validate_args=validate_args)

    temperature = property(lambda self: self.base_dist.temperature)
    probs = property(lambda self: self.base_dist.probs)
    logits = property(lambda self: self.base_dist.logits)


class _ExpRelaxed(Distribution):
    """Logarithms of relaxed one-hot vectors."""

    arg_constraints = {'probs': constraints.simplex, 'logits': constraints.real_vector}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, temperature, probs=None, logits=None, validate_args=None):
        self._categorical, self.temperature = Categorical(probs, logits), temperature
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args)

    def expand(self, batch_shape, _instance=None):
        new = self._copy(_instance)
        new.temperature, new._categorical = self.temperature, self._categorical.expand(batch_shape)
        Distribution.__init__(new, batch_shape, self.event_shape, validate_args=False)
        return new

    probs = property(lambda self: self._categorical.probs)
    logits = property(lambda self: self._categorical.logits)

    def rsample(self, sample_shape=()):
        drawn = clamp_probs(PUBLIC.rand(self._extended_shape(sample_shape), dtype=self.logits.dtype))
        scores = (self.logits - (-drawn.log()).log()) / self.temperature
        return scores - scores.logsumexp(-1, True)

    def log_prob(self, value):
        self._validate_sample(value)
        count, temperature = self.event_shape[0], PUBLIC.as_tensor(self.temperature)
        logits, value = broadcast_all(self.logits, value)
        scale = math.lgamma(count) + temperature.log() * (count - 1)
        scores = logits - value * temperature
        return (scores - scores.logsumexp(-1, True)).sum(-1) + scale


class RelaxedOneHotCategorical(_Moved):
    """One-hot vectors relaxed to points of a simplex: the higher the temperature, the nearer to its middle."""

    arg_constraints = {'probs': constraints.simplex, 'logits': constraints.real_vector}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, temperature, probs=None, logits=None, validate_args=None):
        super().__init__(_ExpRelaxed(temperature, probs, logits), ExpTransform(), validate_args=validate_args)

    temperature = property(lambda self: self.base_dist.temperature)
    probs = property(lambda self: self.base_dist.probs)
    logits = property(lambda self: self.base_dist.logits)
