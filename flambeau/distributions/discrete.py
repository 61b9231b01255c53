"""Distributions of truth values, counts and classes."""
from __future__ import annotations

import math

from .. import dtypes
from ..ops.definition import PUBLIC
from ..tensor import Tensor
from . import constraints
from .continuous import Gamma
from .distribution import Distribution, broadcast_all, lazy_property, logits_to_probs, probs_to_logits, tiny_of

__all__ = ['Bernoulli', 'Geometric', 'Binomial', 'NegativeBinomial', 'Poisson', 'Categorical', 'OneHotCategorical',
           'OneHotCategoricalStraightThrough', 'Multinomial']


def require_one(probs, logits):
    """Raises ValueError unless one of the two is given."""
    if (probs is None) == (logits is None):
        raise ValueError('Either `probs` or `logits` must be specified, but not both.')


class Chances(Distribution):
    """Families of a probability for each element, given as such (`probs`) or as log odds (`logits`)."""

    arg_constraints = {'probs': constraints.unit_interval, 'logits': constraints.real}

    def _chances(self, probs, logits, validate_args, **others):
        require_one(probs, logits)
        given = {'logits': logits} if probs is None else {'probs': probs}
        self._take(validate_args, **others, **given)

    @lazy_property
    def logits(self):
        """Log odds."""
        return probs_to_logits(self.probs, is_binary=True)

    @lazy_property
    def probs(self):
        """Probabilities."""
        return logits_to_probs(self.logits, is_binary=True)

    @property
    def _param(self):
        return self.__dict__['probs'] if 'probs' in self.__dict__ else self.logits

    param_shape = property(lambda self: self._param.size())


class Bernoulli(Chances):
    """1 with probability `probs`, else 0.

    >>> Bernoulli(0.25).mean
    tensor(0.2500)
    """

    support = constraints.boolean
    has_enumerate_support = True

    def __init__(self, probs=None, logits=None, validate_args=None):
        self._chances(probs, logits, validate_args)

    mean = property(lambda self: self.probs)
    variance = property(lambda self: self.probs * (1 - self.probs))

    @property
    def mode(self):
        return PUBLIC.where(self.probs == 0.5, math.nan, (self.probs >= 0.5).to(self.probs))

    def sample(self, sample_shape=()):
        return PUBLIC.bernoulli(self.probs.detach().expand(self._extended_shape(sample_shape)))

    def log_prob(self, value):
        self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        return -PUBLIC.binary_cross_entropy_with_logits(logits, value, reduction='none')

    def entropy(self):
        return PUBLIC.binary_cross_entropy_with_logits(self.logits, self.probs, reduction='none')

    def enumerate_support(self, expand=True):
        return _enumerated(self, 2, expand)


def _enumerated(distribution, count, expand):
    """The values 0 .. count - 1, for each element of the batch."""
    shape, like = distribution._batch_shape, distribution._param
    dtype = like.dtype if isinstance(distribution, Chances) else None
    values = PUBLIC.arange(count, dtype=dtype).reshape(-1, *(1,) * len(shape))
    return values.expand(-1, *shape) if expand else values


class Geometric(Chances):
    """How many failures come before the first success of probability `probs`."""

    support = constraints.nonnegative_integer

    def __init__(self, probs=None, logits=None, validate_args=None):
        self._chances(probs, logits, validate_args)
        if self._validate_args and probs is not None and not bool((self.probs > 0).all()):
            raise ValueError(f'Expected parameter probs (Tensor of shape {tuple(self.probs.shape)}) of distribution '
                             f'{self!r} to be positive but found invalid values:\n{self.probs}')

    mean = property(lambda self: 1.0 / self.probs - 1.0)
    mode = property(lambda self: self.probs.new_zeros(self.probs.shape))
    variance = property(lambda self: (1.0 / self.probs - 1.0) / self.probs)

    def sample(self, sample_shape=()):
        u = self.probs.new_empty(self._extended_shape(sample_shape)).uniform_(tiny_of(self.probs), 1)
        return (u.log() / (-self.probs.detach()).log1p()).floor()

    def log_prob(self, value):
        self._validate_sample(value)
        value, probs = broadcast_all(value, self.probs)
        sure = (probs == 1) & (value == 0)
        return value * (-probs.masked_fill(sure, 0)).log1p() + self.probs.log()

    def entropy(self):
        return PUBLIC.binary_cross_entropy_with_logits(self.logits, self.probs, reduction='none') / self.probs


class Binomial(Chances):
    """How many of `total_count` trials of success probability `probs` succeed."""

    arg_constraints = {'total_count': constraints.nonnegative_integer, **Chances.arg_constraints}
    has_enumerate_support = True

    def __init__(self, total_count=1, probs=None, logits=None, validate_args=None):
        given = probs if probs is not None else logits
        if given is not None and isinstance(given, Tensor) and isinstance(total_count, Tensor):
            total_count = total_count.type_as(given)
        self._chances(probs, logits, validate_args, total_count=total_count)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self):
        return constraints.integer_interval(0, self.total_count)

    mean = property(lambda self: self.total_count * self.probs)
    mode = property(lambda self: ((self.total_count + 1) * self.probs).floor().clamp(max=self.total_count))
    variance = property(lambda self: self.total_count * self.probs * (1 - self.probs))

    def sample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        return PUBLIC.binomial(self.total_count.expand(shape), self.probs.detach().expand(shape))

    def log_prob(self, value):
        self._validate_sample(value)
        rest = self.total_count - value
        # total_count * log(1 + exp(logits)), without overflow
        normalizer = (self.total_count * (self.logits.clamp(min=0) + (-self.logits.abs()).exp().log1p())
                      - (self.total_count + 1).lgamma())
        return value * self.logits - (value + 1).lgamma() - (rest + 1).lgamma() - normalizer

    def entropy(self):
        total = int(self.total_count.max())
        if not float(self.total_count.min()) == total:
            raise NotImplementedError('Inhomogeneous total count not supported by `entropy`.')
        log_prob = self.log_prob(self.enumerate_support(False))
        return -(log_prob.exp() * log_prob).sum(0)

    def enumerate_support(self, expand=True):
        total = int(self.total_count.max())
        if not float(self.total_count.min()) == total:
            raise NotImplementedError('Inhomogeneous total count not supported by `enumerate_support`.')
        return _enumerated(self, total + 1, expand)


class NegativeBinomial(Chances):
    """How many successes of probability `probs` come before `total_count` failures."""

    arg_constraints = {'total_count': constraints.greater_than_eq(0), 'probs': constraints.half_open_interval(0.0, 1.0),
                       'logits': constraints.real}
    support = constraints.nonnegative_integer

    def __init__(self, total_count, probs=None, logits=None, validate_args=None):
        self._chances(probs, logits, validate_args, total_count=total_count)

    mean = property(lambda self: self.total_count * self.logits.exp())
    mode = property(lambda self: ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0))
    variance = property(lambda self: self.mean / (-self.logits).sigmoid())

    def sample(self, sample_shape=()):
        rate = Gamma(self.total_count.detach(), (-self.logits.detach()).exp(), validate_args=False).sample(sample_shape)
        return PUBLIC.poisson(rate)

    def log_prob(self, value):
        self._validate_sample(value)
        log_sigmoid = PUBLIC.logsigmoid
        unnormalized = self.total_count * log_sigmoid(-self.logits) + value * log_sigmoid(self.logits)
        normalizer = (self.total_count + value).lgamma() - (1.0 + value).lgamma() - self.total_count.lgamma()
        return unnormalized + normalizer.masked_fill(self.total_count + value == 0.0, 0.0)


class Poisson(Distribution):
    """Counts of events that happen `rate` times in the mean."""

    arg_constraints = {'rate': constraints.nonnegative}
    support = constraints.nonnegative_integer

    def __init__(self, rate, validate_args=None):
        self._take(validate_args, rate=rate)

    mean = variance = property(lambda self: self.rate)
    mode = property(lambda self: self.rate.floor())

    def sample(self, sample_shape=()):
        return PUBLIC.poisson(self.rate.detach().expand(self._extended_shape(sample_shape)))

    def log_prob(self, value):
        self._validate_sample(value)
        rate, value = broadcast_all(self.rate, value)
        return PUBLIC.xlogy(value, rate) - rate - (value + 1).lgamma()


# ---- one of several classes

class _Classes(Distribution):
    """Families of a probability for each class along the last dimension: `probs`, or their logarithms `logits`."""

    arg_constraints = {'probs': constraints.simplex, 'logits': constraints.real_vector}

    def _classes(self, probs, logits):
        """Takes normalised parameters; returns the shape of the batch."""
        require_one(probs, logits)
        given, name = (logits, 'logits') if probs is None else (probs, 'probs')
        if given.dim() < 1:
            raise ValueError(f'`{name}` parameter must be at least one-dimensional.')
        if probs is None:
            self.logits = logits - logits.logsumexp(-1, True)
        else:
            self.probs = probs / probs.sum(-1, True)
        self._num_events = given.shape[-1]
        return given.shape[:-1]

    @lazy_property
    def logits(self):
        """Logarithms of probabilities."""
        return probs_to_logits(self.probs)

    @lazy_property
    def probs(self):
        """Probabilities."""
        return logits_to_probs(self.logits)

    @property
    def _param(self):
        return self.__dict__['probs'] if 'probs' in self.__dict__ else self.logits

    param_shape = property(lambda self: self._param.size())

    def _expanded(self, batch_shape, new):
        for name in ('probs', 'logits'):
            if name in self.__dict__:
                setattr(new, name, self.__dict__[name].expand(*batch_shape, self._num_events))
        new._num_events = self._num_events
        return new


class Categorical(_Classes):
    """Classes 0 .. k - 1 with probabilities (..., k) in proportion to `probs`, or to exp(logits).

    >>> Categorical(flambeau.tensor([1., 3.])).log_prob(flambeau.tensor(1)).exp()
    tensor(0.7500)
    """

    has_enumerate_support = True

    def __init__(self, probs=None, logits=None, validate_args=None):
        super().__init__(self._classes(probs, logits), validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        new = self._expanded(batch_shape, self._copy(_instance))
        Distribution.__init__(new, batch_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self):
        return constraints.integer_interval(0, self._num_events - 1)

    mean = variance = property(lambda self: PUBLIC.full(self._extended_shape(), math.nan, dtype=self.probs.dtype))
    mode = property(lambda self: self.probs.argmax(-1))

    def sample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        rows = self.probs.detach().reshape(-1, self._num_events)
        return PUBLIC.multinomial(rows, math.prod(sample_shape), True).t().reshape(shape)

    def log_prob(self, value):
        self._validate_sample(value)
        value, logits = PUBLIC.broadcast_tensors(value.long().unsqueeze(-1), self.logits)
        return logits.gather(-1, value[..., :1]).squeeze(-1)

    def entropy(self):
        logits = self.logits.clamp(min=dtypes.finfo(self.logits.dtype).min)
        return -(logits * self.probs).sum(-1)

    def enumerate_support(self, expand=True):
        return _enumerated(self, self._num_events, expand)


class OneHotCategorical(_Classes):
    """As Categorical, with classes as vectors that are 1 at their place."""

    support = constraints.one_hot
    has_enumerate_support = True

    def __init__(self, probs=None, logits=None, validate_args=None):
        self._categorical = Categorical(probs, logits, validate_args)
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args)

    def expand(self, batch_shape, _instance=None):
        new = self._copy(_instance)
        new._categorical = self._categorical.expand(batch_shape)
        Distribution.__init__(new, batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    probs = property(lambda self: self._categorical.probs)
    logits = property(lambda self: self._categorical.logits)
    _param = property(lambda self: self._categorical._param)
    mean = property(lambda self: self.probs)
    variance = property(lambda self: self.probs * (1 - self.probs))
    mode = property(lambda self: self._hot(self.probs.argmax(-1)))

    def _hot(self, classes):
        return PUBLIC.one_hot(classes, self.event_shape[0]).to(self._param)

    def sample(self, sample_shape=()):
        return self._hot(self._categorical.sample(sample_shape))

    def log_prob(self, value):
        self._validate_sample(value)
        return self._categorical.log_prob(value.max(-1)[1])

    def entropy(self):
        return self._categorical.entropy()

    def enumerate_support(self, expand=True):
        count = self.event_shape[0]
        values = PUBLIC.eye(count, dtype=self._param.dtype).reshape(count, *(1,) * len(self.batch_shape), count)
        return values.expand(count, *self.batch_shape, count) if expand else values


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """OneHotCategorical whose samples have the gradient of the probabilities."""

    has_rsample = True

    def rsample(self, sample_shape=()):
        return self.sample(sample_shape) + (self.probs - self.probs.detach())


class Multinomial(_Classes):
    """How often each class is drawn in `total_count` draws."""

    def __init__(self, total_count=1, probs=None, logits=None, validate_args=None):
        if not isinstance(total_count, int):
            raise NotImplementedError('inhomogeneous total_count is not supported')
        self.total_count = total_count
        self._categorical = Categorical(probs, logits)
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args)

    def expand(self, batch_shape, _instance=None):
        new = self._copy(_instance)
        new.total_count, new._categorical = self.total_count, self._categorical.expand(batch_shape)
        Distribution.__init__(new, batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    probs = property(lambda self: self._categorical.probs)
    logits = property(lambda self: self._categorical.logits)
    _param = property(lambda self: self._categorical._param)
    mean = property(lambda self: self.probs * self.total_count)
    variance = property(lambda self: self.total_count * self.probs * (1 - self.probs))

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self):
        return constraints.multinomial(self.total_count)

    def sample(self, sample_shape=()):
        drawn = self._categorical.sample((self.total_count, *sample_shape))
        drawn = drawn.movedim(0, -1)
        counts = self.probs.new_zeros(self._extended_shape(sample_shape))
        return counts.scatter_add_(-1, drawn, PUBLIC.ones_like(drawn).to(counts))

    def log_prob(self, value):
        self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        logits = logits.masked_fill((value == 0) & logits.isneginf(), 0)
        return (value.sum(-1) + 1).lgamma() - (value + 1).lgamma().sum(-1) + (logits * value).sum(-1)

    def entropy(self):
        count = PUBLIC.tensor(float(self.total_count))
        binomial = Binomial(self.total_count, probs=self.probs, validate_args=False)
        values = binomial.enumerate_support(False)[1:]
        expected = (binomial.log_prob(values).exp() * (values + 1).lgamma()).sum((0, -1))
        return self.total_count * self._categorical.entropy() - (count + 1).lgamma() + expected
