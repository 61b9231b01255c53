"""What distributions have in common: shapes of batch and event, checks of parameters and samples, broadcasting."""
from __future__ import annotations

import warnings
from numbers import Number

from .. import dtypes
from ..autograd.modes import no_grad
from ..ops.definition import PUBLIC
from ..tensor import Size, Tensor
from .constraints import is_dependent

__all__ = ['Distribution', 'broadcast_all', 'lazy_property', 'tiny_of', 'clamp_probs', 'probs_to_logits',
           'logits_to_probs', 'sum_rightmost']


class lazy_property:
    """A property that is computed when it is first read, and then stays an attribute."""

    def __init__(self, compute):
        self.compute, self.__doc__ = compute, compute.__doc__

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        value = instance.__dict__[self.name] = self.compute(instance)
        return value


def broadcast_all(*values):
    """Tensors and numbers as tensors of one shape; numbers in the dtype of the first tensor, or the default one.

    Raises ValueError for anything else.
    """
    if not all(isinstance(v, (Tensor, Number)) for v in values):
        raise ValueError('Input arguments must all be instances of Number, torch.Tensor or objects implementing '
                         '__torch_function__.')
    dtype = next((v.dtype for v in values if isinstance(v, Tensor)), dtypes.get_default_dtype())
    return PUBLIC.broadcast_tensors(*[v if isinstance(v, Tensor) else PUBLIC.tensor(v, dtype=dtype) for v in values])


def sum_rightmost(value, count):
    """The sum over the last `count` dimensions."""
    return value.reshape(*value.shape[:value.dim() - count], -1).sum(-1) if count else value


def tiny_of(tensor):
    """The smallest normal number of a tensor's dtype."""
    return dtypes.finfo(tensor.dtype).tiny


def clamp_probs(probs):
    """Probabilities kept away from 0 and 1 by the dtype's precision."""
    eps = dtypes.finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def probs_to_logits(probs, is_binary=False):
    """Log odds of probabilities, or logarithms of those of several classes."""
    clamped = clamp_probs(probs)
    return clamped.log() - (-clamped).log1p() if is_binary else clamped.log()


def logits_to_probs(logits, is_binary=False):
    """Probabilities of log odds, or of unnormalised logarithms of several classes."""
    return logits.sigmoid() if is_binary else PUBLIC.softmax(logits, -1)


class Distribution:
    """A batch of distributions, of events that may have dimensions of their own.

    A family states `arg_constraints`, {parameter: where it may lie}, `support`, and its formulas. Raises ValueError for
    parameters and samples that do not fit, unless validate_args is False.
    """

    arg_constraints: dict = {}
    has_rsample = False
    has_enumerate_support = False
    _validate_args = True

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions made from now on check what they are given."""
        if value not in (True, False):
            raise ValueError
        Distribution._validate_args = value

    def __init__(self, batch_shape=(), event_shape=(), validate_args=None):
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._check_parameters()

    def _check_parameters(self):
        for name, constraint in self.arg_constraints.items():
            if isinstance(constraint, property):
                constraint = getattr(self, name, constraint)
            if is_dependent(constraint) or name not in self.__dict__:
                continue
            value = getattr(self, name)
            if not bool(constraint.check(value).all()):
                raise ValueError(f'Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of '
                                 f'distribution {self!r} to satisfy the constraint {constraint!r}, but found invalid '
                                 f'values:\n{value}')

    def _take(self, validate_args, **parameters):
        """Takes parameters that are one number for each element of the batch."""
        for name, value in zip(parameters, broadcast_all(*parameters.values())):
            setattr(self, name, value)
        Distribution.__init__(self, value.shape, validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        """The same distribution in a larger batch."""
        new, shape = self._copy(_instance), Size(batch_shape)
        for name, constraint in self.arg_constraints.items():
            if name in self.__dict__:
                value = getattr(self, name)
                kept = 0 if isinstance(constraint, property) else constraint.event_dim
                setattr(new, name, value.expand(*shape, *value.shape[value.dim() - kept:]))
        Distribution.__init__(new, shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _copy(self, instance=None):
        """An empty instance to expand into. Raises NotImplementedError for a family from elsewhere, which must make it.
        """
        family = next(cls for cls in type(self).__mro__ if '__init__' in cls.__dict__)
        if instance is None and not family.__module__.startswith(__package__):
            raise NotImplementedError(f'Subclass {family.__name__} that defines a custom __init__ method must also '
                                      'define a custom .expand() method.')
        return object.__new__(type(self)) if instance is None else instance

    batch_shape = property(lambda self: self._batch_shape, doc='The shape of the batch.')
    event_shape = property(lambda self: self._event_shape, doc='The shape of a single sample.')

    @property
    def support(self):
        """The constraint that all samples satisfy."""
        raise NotImplementedError

    @property
    def mean(self):
        """The mean."""
        raise NotImplementedError

    @property
    def mode(self):
        """The mode."""
        raise NotImplementedError(f'{type(self)} does not implement mode')

    @property
    def variance(self):
        """The variance."""
        raise NotImplementedError

    @property
    def stddev(self):
        """The standard deviation."""
        return self.variance.sqrt()

    def sample(self, sample_shape=()):
        """Samples (*sample_shape, *batch_shape, *event_shape), without a gradient."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape=()):
        """Samples that the parameters have a gradient through. Raises NotImplementedError where there is none."""
        raise NotImplementedError

    def sample_n(self, n):
        """`sample((n,))`, as it once was called."""
        warnings.warn('sample_n will be deprecated. Use .sample((n,)) instead', UserWarning, stacklevel=2)
        return self.sample((n,))

    def log_prob(self, value):
        """The logarithm of the density or probability at a value."""
        raise NotImplementedError

    def cdf(self, value):
        """The probability of samples up to a value."""
        raise NotImplementedError

    def icdf(self, value):
        """The value up to which samples have a probability."""
        raise NotImplementedError

    def enumerate_support(self, expand=True):
        """All values that samples can have, along a first dimension."""
        raise NotImplementedError

    def entropy(self):
        """The entropy, in nats."""
        raise NotImplementedError

    def perplexity(self):
        """exp(entropy)."""
        return self.entropy().exp()

    def _extended_shape(self, sample_shape=()):
        if not isinstance(sample_shape, (tuple, list)):
            raise TypeError("sample(): argument 'sample_shape' must be a tuple of ints, not "
                            f'{type(sample_shape).__name__}')
        return Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def _validate_sample(self, value):
        if not self._validate_args:
            return
        if not isinstance(value, Tensor):
            raise ValueError('The value argument to log_prob must be a Tensor')
        start = value.dim() - len(self._event_shape)
        if tuple(value.shape[max(start, 0):]) != tuple(self._event_shape):
            raise ValueError(f'The right-most size of value must match event_shape: {value.shape} vs '
                             f'{self._event_shape}.')
        expected = self._batch_shape + self._event_shape
        for have, want in zip(reversed(value.shape), reversed(expected)):
            if have != 1 and want != 1 and have != want:
                raise ValueError('Value is not broadcastable with batch_shape+event_shape: '
                                 f'{value.shape} vs {expected}.')
        try:
            support = self.support
        except NotImplementedError:
            warnings.warn(f'{type(self)} does not define `support` to enable sample validation. Please initialize the '
                          'distribution with `validate_args=False` to turn off validation.', stacklevel=3)
            return
        if not bool(support.check(value).all()):
            raise ValueError(f'Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be '
                             f'within the support ({support!r}) of the distribution {self!r}, but found invalid '
                             f'values:\n{value}')

    def __repr__(self):
        told = [(name, self.__dict__[name]) for name in self.arg_constraints if name in self.__dict__]
        return type(self).__name__ + '(' + ', '.join(
            f'{name}: {value if value.numel() == 1 else value.size()}' for name, value in told) + ')'
