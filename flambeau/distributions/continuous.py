"""Distributions of single real numbers, and of points of a simplex."""
from __future__ import annotations

import math

import numpy as np

from .. import dtypes
from ..autograd import Function
from ..autograd.function import once_differentiable
from ..ops.definition import PUBLIC
from ..tensor import wrap
from . import constraints
from .distribution import Distribution, broadcast_all, tiny_of

__all__ = ['Normal', 'Uniform', 'Laplace', 'Cauchy', 'Exponential', 'Gamma', 'Chi2', 'Beta', 'Dirichlet', 'StudentT',
           'FisherSnedecor']


class Normal(Distribution):
    """The normal distribution with mean `loc` and standard deviation `scale`.

    >>> Normal(0., 1.).log_prob(flambeau.tensor(0.))
    tensor(-0.9189)
    """

    arg_constraints = {'loc': constraints.real, 'scale': constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc, scale, validate_args=None):
        self._take(validate_args, loc=loc, scale=scale)

    mean = mode = property(lambda self: self.loc)
    stddev = property(lambda self: self.scale)
    variance = property(lambda self: self.scale ** 2)

    def sample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        return PUBLIC.normal(self.loc.detach().expand(shape), self.scale.detach().expand(shape))

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        return self.loc + standard_normal(shape, self.loc.dtype) * self.scale

    def log_prob(self, value):
        self._validate_sample(value)
        return -((value - self.loc) ** 2) / (2 * self.variance) - self.scale.log() - math.log(math.sqrt(2 * math.pi))

    def cdf(self, value):
        self._validate_sample(value)
        return 0.5 * (1 + ((value - self.loc) * self.scale.reciprocal() / math.sqrt(2)).erf())

    def icdf(self, value):
        return self.loc + self.scale * (2 * value - 1).erfinv() * math.sqrt(2)

    def entropy(self):
        return 0.5 + 0.5 * math.log(2 * math.pi) + self.scale.log()


def standard_normal(shape, dtype):
    """Standard normal numbers."""
    return PUBLIC.normal(PUBLIC.zeros(shape, dtype=dtype), PUBLIC.ones(shape, dtype=dtype))


class Uniform(Distribution):
    """The uniform distribution over [low, high)."""

    has_rsample = True

    def __init__(self, low, high, validate_args=None):
        self._take(validate_args, low=low, high=high)

    @property
    def arg_constraints(self):
        return {'low': constraints.less_than(self.__dict__.get('high')),
                'high': constraints.greater_than(self.__dict__.get('low'))}

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self):
        return constraints.interval(self.low, self.high)

    mean = property(lambda self: (self.high + self.low) / 2)
    mode = property(lambda self: math.nan * self.high)
    stddev = property(lambda self: (self.high - self.low) / 12 ** 0.5)
    variance = property(lambda self: (self.high - self.low).pow(2) / 12)

    def rsample(self, sample_shape=()):
        drawn = PUBLIC.rand(self._extended_shape(sample_shape), dtype=self.low.dtype)
        return self.low + drawn * (self.high - self.low)

    def log_prob(self, value):
        self._validate_sample(value)
        inside = self.low.le(value).type_as(self.low) * self.high.gt(value).type_as(self.low)
        return inside.log() - (self.high - self.low).log()

    def cdf(self, value):
        self._validate_sample(value)
        return ((value - self.low) / (self.high - self.low)).clamp(min=0, max=1)

    def icdf(self, value):
        return value * (self.high - self.low) + self.low

    def entropy(self):
        return (self.high - self.low).log()


class Laplace(Distribution):
    """The Laplace distribution around `loc` with density exp(-|x - loc| / scale) / (2 scale)."""

    arg_constraints = {'loc': constraints.real, 'scale': constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc, scale, validate_args=None):
        self._take(validate_args, loc=loc, scale=scale)

    mean = mode = property(lambda self: self.loc)
    variance = property(lambda self: 2 * self.scale.pow(2))
    stddev = property(lambda self: 2 ** 0.5 * self.scale)

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        u = self.loc.new_empty(shape).uniform_(dtypes.finfo(self.loc.dtype).eps - 1, 1)
        return self.loc - self.scale * u.sign() * (-u.abs()).log1p()

    def log_prob(self, value):
        self._validate_sample(value)
        return -(2 * self.scale).log() - (value - self.loc).abs() / self.scale

    def cdf(self, value):
        self._validate_sample(value)
        return 0.5 - 0.5 * (value - self.loc).sign() * (-(value - self.loc).abs() / self.scale).expm1()

    def icdf(self, value):
        term = value - 0.5
        return self.loc - self.scale * term.sign() * (-2 * term.abs()).log1p()

    def entropy(self):
        return 1 + (2 * self.scale).log()


class Cauchy(Distribution):
    """The Cauchy distribution around `loc`, of half width `scale` at half its height."""

    arg_constraints = {'loc': constraints.real, 'scale': constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc, scale, validate_args=None):
        self._take(validate_args, loc=loc, scale=scale)

    mean = property(lambda self: PUBLIC.full(self._extended_shape(), math.nan, dtype=self.loc.dtype))
    mode = property(lambda self: self.loc)
    variance = property(lambda self: PUBLIC.full(self._extended_shape(), math.inf, dtype=self.loc.dtype))

    def rsample(self, sample_shape=()):
        return self.loc + self.loc.new_empty(self._extended_shape(sample_shape)).cauchy_() * self.scale

    def log_prob(self, value):
        self._validate_sample(value)
        return -math.log(math.pi) - self.scale.log() - (((value - self.loc) / self.scale) ** 2).log1p()

    def cdf(self, value):
        self._validate_sample(value)
        return ((value - self.loc) / self.scale).atan() / math.pi + 0.5

    def icdf(self, value):
        return (math.pi * (value - 0.5)).tan() * self.scale + self.loc

    def entropy(self):
        return math.log(4 * math.pi) + self.scale.log()


class Exponential(Distribution):
    """The exponential distribution with density rate * exp(-rate * x)."""

    arg_constraints = {'rate': constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, rate, validate_args=None):
        self._take(validate_args, rate=rate)

    mean = stddev = property(lambda self: self.rate.reciprocal())
    mode = property(lambda self: self.rate.new_zeros(self.rate.shape))
    variance = property(lambda self: self.rate.pow(-2))

    def rsample(self, sample_shape=()):
        return self.rate.new_empty(self._extended_shape(sample_shape)).exponential_() / self.rate

    def log_prob(self, value):
        self._validate_sample(value)
        return self.rate.log() - self.rate * value

    def cdf(self, value):
        self._validate_sample(value)
        return 1 - (-self.rate * value).exp()

    def icdf(self, value):
        return -(-value).log1p() / self.rate

    def entropy(self):
        return 1.0 - self.rate.log()


# ---- gradients through samples: how a sample moves with a shape parameter at a fixed probability

# fourth-order central difference
STENCIL = ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12))


def _moves(below, above, log_density, shape):
    """-d(distribution function)/d(shape) / density, in float64.

    below and above: functions of the shape for the probabilities under and over the samples. The smaller one's
    logarithm is what is differentiated, so that tails keep their digits.
    """
    step = 1e-3 * np.minimum(shape, 1 + np.sqrt(shape))
    with np.errstate(all='ignore'):
        low, high = below(shape), above(shape)
        slopes = [sum(weight * np.log(side(shape + k * step)) for k, weight in STENCIL) / step
                  for side in (below, above)]
        moved = np.where(low < high, -low * slopes[0], high * slopes[1]) * np.exp(-log_density)
    return np.where(np.isfinite(moved), moved, 0)


class _GammaSample(Function):
    """Samples of standard gamma distributions."""

    @staticmethod
    def forward(ctx, concentration):
        value = PUBLIC._standard_gamma(concentration)
        ctx.save_for_backward(concentration, value)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        from scipy import special
        concentration, value = (t.detach().double().numpy() for t in ctx.saved_tensors)
        density = special.xlogy(concentration - 1, value) - value - special.gammaln(concentration)
        moved = _moves(lambda a: special.gammainc(a, value), lambda a: special.gammaincc(a, value), density,
                       concentration)
        return g * wrap(moved).to(g.dtype)


class _DirichletSample(Function):
    """Samples of Dirichlet distributions, each part of which moves like a beta distributed number."""

    @staticmethod
    def forward(ctx, concentration):
        value = PUBLIC._sample_dirichlet(concentration)
        ctx.save_for_backward(concentration, value)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        from scipy import special
        concentration, value = (t.detach().double().numpy() for t in ctx.saved_tensors)
        rest = concentration.sum(-1, keepdims=True) - concentration
        density = special.xlogy(concentration - 1, value) + special.xlog1py(rest - 1, -value) \
            - special.betaln(concentration, rest)
        moved = _moves(lambda a: special.betainc(a, rest, value), lambda a: special.betainc(rest, a, 1 - value),
                       density, concentration)
        value, moved = (wrap(v).to(g.dtype) for v in (value, moved))
        return moved / (1 - value) * (g - (value * g).sum(-1, True))


class Gamma(Distribution):
    """The gamma distribution of shape `concentration` and `rate`."""

    arg_constraints = {'concentration': constraints.positive, 'rate': constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, concentration, rate, validate_args=None):
        self._take(validate_args, concentration=concentration, rate=rate)

    mean = property(lambda self: self.concentration / self.rate)
    mode = property(lambda self: ((self.concentration - 1) / self.rate).clamp(min=0))
    variance = property(lambda self: self.concentration / self.rate.pow(2))

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        value = _GammaSample.apply(self.concentration.expand(shape)) / self.rate.expand(shape)
        value.detach().clamp_(min=tiny_of(value))  # no sample is 0
        return value

    def log_prob(self, value):
        self._validate_sample(value)
        value = PUBLIC.as_tensor(value, dtype=self.rate.dtype)
        return (PUBLIC.xlogy(self.concentration, self.rate) + PUBLIC.xlogy(self.concentration - 1, value)
                - self.rate * value - self.concentration.lgamma())

    def cdf(self, value):
        self._validate_sample(value)
        return PUBLIC.igamma(self.concentration, self.rate * value)

    def entropy(self):
        return (self.concentration - self.rate.log() + self.concentration.lgamma()
                + (1.0 - self.concentration) * self.concentration.digamma())


class Chi2(Gamma):
    """The chi-squared distribution of `df` degrees of freedom."""

    arg_constraints = {'df': constraints.positive}

    def __init__(self, df, validate_args=None):
        super().__init__(0.5 * df, 0.5, validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        new = self._copy(_instance)
        new.concentration, new.rate = (v.expand(batch_shape) for v in (self.concentration, self.rate))
        Distribution.__init__(new, batch_shape, validate_args=False)
        return new

    df = property(lambda self: self.concentration * 2)


class Dirichlet(Distribution):
    """The Dirichlet distribution over points of a simplex: (..., k) parameters for k parts that sum to 1."""

    arg_constraints = {'concentration': constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration, validate_args=None):
        if concentration.dim() < 1:
            raise ValueError('`concentration` parameter must be at least one-dimensional.')
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args)

    _total = property(lambda self: self.concentration.sum(-1, True))
    mean = property(lambda self: self.concentration / self._total)

    @property
    def mode(self):
        above = (self.concentration - 1).clamp(min=0.0)
        mode = above / above.sum(-1, True)
        flat = (self.concentration < 1).all(-1, True)
        corner = PUBLIC.one_hot(mode.argmax(-1), self.concentration.shape[-1]).to(mode)
        return PUBLIC.where(flat, corner, mode)

    @property
    def variance(self):
        total = self._total
        return self.concentration * (total - self.concentration) / (total.pow(2) * (total + 1))

    def rsample(self, sample_shape=()):
        return _DirichletSample.apply(self.concentration.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value):
        self._validate_sample(value)
        return (PUBLIC.xlogy(self.concentration - 1.0, value).sum(-1) + self.concentration.sum(-1).lgamma()
                - self.concentration.lgamma().sum(-1))

    def entropy(self):
        count, total = self.concentration.shape[-1], self.concentration.sum(-1)
        return (self.concentration.lgamma().sum(-1) - total.lgamma() - (count - total) * total.digamma()
                - ((self.concentration - 1.0) * self.concentration.digamma()).sum(-1))


class Beta(Distribution):
    """The beta distribution over [0, 1] with density x^(concentration1 - 1) (1 - x)^(concentration0 - 1) / B."""

    arg_constraints = {'concentration1': constraints.positive, 'concentration0': constraints.positive}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, concentration1, concentration0, validate_args=None):
        self._pair(PUBLIC.stack(broadcast_all(concentration1, concentration0), -1), validate_args)

    def _pair(self, concentrations, validate_args):
        self._dirichlet = Dirichlet(concentrations, validate_args=validate_args)
        super().__init__(concentrations.shape[:-1], validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        new = self._copy(_instance)
        new._pair(self._dirichlet.concentration.expand(*batch_shape, 2), False)
        new._validate_args = self._validate_args
        return new

    concentration1 = property(lambda self: self._dirichlet.concentration[..., 0])
    concentration0 = property(lambda self: self._dirichlet.concentration[..., 1])
    mean = property(lambda self: self.concentration1 / (self.concentration1 + self.concentration0))
    mode = property(lambda self: self._dirichlet.mode[..., 0])

    @property
    def variance(self):
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total.pow(2) * (total + 1))

    def rsample(self, sample_shape=()):
        return self._dirichlet.rsample(sample_shape)[..., 0]

    def log_prob(self, value):
        self._validate_sample(value)
        return self._dirichlet.log_prob(PUBLIC.stack([value, 1.0 - value], -1))

    def entropy(self):
        return self._dirichlet.entropy()


class StudentT(Distribution):
    """Student's distribution of `df` degrees of freedom, moved by `loc` and stretched by `scale`."""

    arg_constraints = {'df': constraints.positive, 'loc': constraints.real, 'scale': constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, df, loc=0.0, scale=1.0, validate_args=None):
        self._take(validate_args, df=df, loc=loc, scale=scale)

    mode = property(lambda self: self.loc)
    mean = property(lambda self: PUBLIC.where(self.df <= 1, math.nan, self.loc))

    @property
    def variance(self):
        known = self.scale.pow(2) * self.df / (self.df - 2)
        return PUBLIC.where(self.df > 2, known, PUBLIC.where(self.df > 1, math.inf, math.nan).to(known.dtype))

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        normal, chi2 = standard_normal(shape, self.df.dtype), Chi2(self.df, validate_args=False).rsample(sample_shape)
        return self.loc + self.scale * normal * (chi2 / self.df).rsqrt()

    def log_prob(self, value):
        self._validate_sample(value)
        y = (value - self.loc) / self.scale
        constant = (self.scale.log() + 0.5 * self.df.log() + 0.5 * math.log(math.pi) + (0.5 * self.df).lgamma()
                    - (0.5 * (self.df + 1.0)).lgamma())
        return -0.5 * (self.df + 1.0) * (y ** 2.0 / self.df).log1p() - constant

    def entropy(self):
        half = 0.5 * self.df
        beta = half.lgamma() + math.lgamma(0.5) - (0.5 + half).lgamma()
        return (self.scale.log() + 0.5 * (self.df + 1) * ((0.5 * (self.df + 1)).digamma() - half.digamma())
                + 0.5 * self.df.log() + beta)


class FisherSnedecor(Distribution):
    """The distribution of the ratio of two means of `df1` and `df2` squared normal numbers."""

    arg_constraints = {'df1': constraints.positive, 'df2': constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, df1, df2, validate_args=None):
        self._take(validate_args, df1=df1, df2=df2)

    mean = property(lambda self: self._known(2, self.df2 / (self.df2 - 2)))
    mode = property(lambda self: PUBLIC.where(
        self.df1 > 2, (self.df1 - 2) / self.df1 * self.df2 / (self.df2 + 2), math.nan))

    @property
    def variance(self):
        df1, df2 = self.df1, self.df2
        return self._known(4, 2 * df2.pow(2) * (df1 + df2 - 2) / (df1 * (df2 - 2).pow(2) * (df2 - 4)))

    def _known(self, least, value):
        return PUBLIC.where(self.df2 > least, value, math.nan)

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        above, below = (Gamma(df * 0.5, df * 0.5, validate_args=False).rsample(sample_shape).view(shape)
                        for df in (self.df1, self.df2))
        below.detach().clamp_(min=tiny_of(below))
        value = above / below
        value.detach().clamp_(min=tiny_of(value))
        return value

    def log_prob(self, value):
        self._validate_sample(value)
        half1, half2, ratio = self.df1 * 0.5, self.df2 * 0.5, self.df1 / self.df2
        return ((half1 + half2).lgamma() - half1.lgamma() - half2.lgamma() + half1 * ratio.log()
                + (half1 - 1) * value.log() - (half1 + half2) * (ratio * value).log1p())
