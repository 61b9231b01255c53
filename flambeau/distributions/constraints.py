"""Where parameters and samples may lie: `constraint.check(value)` says so for each of them.

A constraint over events of several numbers (`event_dim` > 0) answers once for each event.
"""
from __future__ import annotations

from .. import linalg
from ..ops.definition import PUBLIC
from ..tensor import Tensor

__all__ = ['Constraint', 'MixtureSameFamilyConstraint', 'boolean', 'cat', 'corr_cholesky', 'dependent',
           'dependent_property', 'greater_than', 'greater_than_eq', 'half_open_interval', 'independent',
           'integer_interval', 'interval', 'is_dependent', 'less_than', 'lower_cholesky', 'lower_triangular',
           'multinomial', 'nonnegative', 'nonnegative_integer', 'one_hot', 'positive', 'positive_definite',
           'positive_integer', 'positive_semidefinite', 'real', 'real_vector', 'simplex', 'square', 'stack',
           'symmetric', 'unit_interval']


class Constraint:
    """A region of numbers, or of events of them; `check` has the batch's shape, true where a value lies in it."""

    is_discrete = False
    event_dim = 0

    def check(self, value: Tensor) -> Tensor:
        """Where the value lies in the region."""
        raise NotImplementedError

    def __repr__(self):
        return type(self).__name__[1:] + '()'


class _Dependent(Constraint):
    """A region that depends on other parameters; stands for it in a class, without an instance."""

    def __init__(self, *, is_discrete=NotImplemented, event_dim=NotImplemented):
        self._is_discrete, self._event_dim = is_discrete, event_dim

    @property
    def is_discrete(self):
        return self._told('is_discrete', self._is_discrete)

    @property
    def event_dim(self):
        return self._told('event_dim', self._event_dim)

    @staticmethod
    def _told(name, value):
        if value is NotImplemented:
            raise NotImplementedError(f'.{name} cannot be determined statically')
        return value

    def __call__(self, *, is_discrete=NotImplemented, event_dim=NotImplemented):
        """A dependent constraint of which more is known."""
        return _Dependent(is_discrete=self._is_discrete if is_discrete is NotImplemented else is_discrete,
                          event_dim=self._event_dim if event_dim is NotImplemented else event_dim)

    def check(self, value):
        raise ValueError('Cannot determine validity of dependent constraint')


class dependent_property(property, _Dependent):
    """A property of distributions that is a constraint; read from the class it is a dependent one."""

    def __init__(self, fn=None, *, is_discrete=NotImplemented, event_dim=NotImplemented):
        property.__init__(self, fn)
        _Dependent.__init__(self, is_discrete=is_discrete, event_dim=event_dim)

    def __call__(self, fn):
        return dependent_property(fn, is_discrete=self._is_discrete, event_dim=self._event_dim)


def is_dependent(constraint) -> bool:
    """Whether a constraint says nothing by itself."""
    return isinstance(constraint, _Dependent)


class _IndependentConstraint(Constraint):
    """A constraint on events of `reinterpreted_batch_ndims` more dimensions, which holds where all its parts do."""

    def __init__(self, base_constraint, reinterpreted_batch_ndims):
        self.base_constraint, self.reinterpreted_batch_ndims = base_constraint, reinterpreted_batch_ndims

    is_discrete = property(lambda self: self.base_constraint.is_discrete)
    event_dim = property(lambda self: self.base_constraint.event_dim + self.reinterpreted_batch_ndims)

    def check(self, value):
        result, count = self.base_constraint.check(value), self.reinterpreted_batch_ndims
        if result.dim() < count:
            raise ValueError(f'Expected value.dim() >= {self.event_dim} but got {value.dim()}')
        return result.reshape(*result.shape[:result.dim() - count], -1).all(-1) if count else result

    def __repr__(self):
        return f'IndependentConstraint({self.base_constraint!r}, {self.reinterpreted_batch_ndims})'


class MixtureSameFamilyConstraint(Constraint):
    """The region of samples of a mixture, whose components lie in `base_constraint`."""

    def __init__(self, base_constraint):
        self.base_constraint = base_constraint

    is_discrete = property(lambda self: self.base_constraint.is_discrete)
    event_dim = property(lambda self: self.base_constraint.event_dim)

    def check(self, value):
        result = self.base_constraint.check(value.unsqueeze(-1 - self.event_dim))
        return result.all(-1) if result.dim() > value.dim() - self.event_dim else result

    def __repr__(self):
        return f'MixtureSameFamilyConstraint({self.base_constraint!r})'


def _whole(value):
    return value % 1 == 0


def _region(name, test, is_discrete=False, event_dim=0):
    """A class of constraints without bounds, from the test that it makes."""
    return type(f'_{name}', (Constraint,), {'check': lambda self, value: test(value), 'is_discrete': is_discrete,
                                            'event_dim': event_dim})


def _bounded(name, parameters, test, is_discrete=False):
    """A class of constraints with bounds, which are numbers or tensors."""
    def init(self, *bounds, **named):
        for parameter, bound in zip(parameters, bounds):
            setattr(self, parameter, bound)
        vars(self).update(named)

    def told(self):
        return f"{name}({', '.join(f'{p}={getattr(self, p)}' for p in parameters)})"

    def check(self, value):
        return test(value, *[getattr(self, p) for p in parameters])
    return type(f'_{name}', (Constraint,), {'__init__': init, '__repr__': told, 'check': check,
                                            'is_discrete': is_discrete})


GreaterThan = _bounded('GreaterThan', ('lower_bound',), lambda x, low: low < x)
GreaterThanEq = _bounded('GreaterThanEq', ('lower_bound',), lambda x, low: low <= x)
LessThan = _bounded('LessThan', ('upper_bound',), lambda x, high: x < high)
Interval = _bounded('Interval', ('lower_bound', 'upper_bound'), lambda x, low, high: (low <= x) & (x <= high))
HalfOpenInterval = _bounded('HalfOpenInterval', ('lower_bound', 'upper_bound'),
                            lambda x, low, high: (low <= x) & (x < high))
IntegerInterval = _bounded('IntegerInterval', ('lower_bound', 'upper_bound'),
                           lambda x, low, high: _whole(x) & (low <= x) & (x <= high), True)
IntegerGreaterThan = _bounded('IntegerGreaterThan', ('lower_bound',), lambda x, low: _whole(x) & (x >= low), True)


class _Multinomial(Constraint):
    """Counts of `upper_bound` draws in all."""

    is_discrete, event_dim = True, 1

    def __init__(self, upper_bound):
        self.upper_bound = upper_bound

    def check(self, x):
        return (x >= 0).all(-1) & (x.sum(-1) <= self.upper_bound)


class _Parts(Constraint):
    """Constraints on parts along a dimension: stacked, or joined with `lengths`."""

    def __init__(self, constraints, dim=0, lengths=None):
        self.cseq, self.dim, self.lengths = list(constraints), dim, lengths

    is_discrete = property(lambda self: any(c.is_discrete for c in self.cseq))

    @property
    def event_dim(self):
        deepest = max(c.event_dim for c in self.cseq)
        return max(deepest, -self.dim) if self.dim < 0 and self.lengths is None else deepest

    def check(self, value):
        if self.lengths is None:
            return PUBLIC.stack([c.check(v) for v, c in zip(value.unbind(self.dim), self.cseq)], self.dim)
        return PUBLIC.cat([c.check(v) for v, c in zip(value.split(self.lengths, self.dim), self.cseq)], self.dim)


def stack(cseq, dim=0):
    """A constraint for each place along a dimension."""
    return _Parts(cseq, dim)


def cat(cseq, dim=0, lengths=None):
    """A constraint for each part of a dimension; lengths: those of the parts, by default 1."""
    return _Parts(cseq, dim, [1] * len(cseq) if lengths is None else list(lengths))


def _square(x):
    return PUBLIC.full(x.shape[:-2], x.shape[-2] == x.shape[-1])


def _symmetric(x):
    return PUBLIC.isclose(x, x.mT, atol=1e-6).all(-1).all(-1) if x.shape[-2] == x.shape[-1] else _square(x)


def _lower(x):
    return (x.tril() == x).flatten(-2).all(-1)


def _symmetric_and(test):
    def check(x):
        found = _symmetric(x)
        return test(x) if bool(found.all()) else found
    return check


boolean = _region('Boolean', lambda x: (x == 0) | (x == 1), True)()
one_hot = _region('OneHot', lambda x: ((x == 0) | (x == 1)).all(-1) & x.sum(-1).eq(1), True, 1)()
real = _region('Real', lambda x: x == x)()
positive, nonnegative, unit_interval = GreaterThan(0.0), GreaterThanEq(0.0), Interval(0.0, 1.0)
positive_integer, nonnegative_integer = IntegerGreaterThan(1), IntegerGreaterThan(0)
simplex = _region('Simplex', lambda x: (x >= 0).all(-1) & ((x.sum(-1) - 1).abs() < 1e-6), event_dim=1)()
lower_triangular = _region('LowerTriangular', _lower, event_dim=2)()
lower_cholesky = _region('LowerCholesky', lambda x: _lower(x) & (x.diagonal(dim1=-2, dim2=-1) > 0).all(-1),
                         event_dim=2)()
square = _region('Square', _square, event_dim=2)()
symmetric = _region('Symmetric', _symmetric, event_dim=2)()
positive_definite = _region('PositiveDefinite', _symmetric_and(
    lambda x: linalg.cholesky_ex(x).info.eq(0)), event_dim=2)()
positive_semidefinite = _region('PositiveSemidefinite', _symmetric_and(
    lambda x: linalg.eigvalsh(x).ge(-1e-6).all(-1)), event_dim=2)()
corr_cholesky = _region('CorrCholesky', lambda x: _lower(x) & (
    (PUBLIC.norm(x, dim=-1) - 1).abs() <= 1e-4).all(-1) & (x.diagonal(dim1=-2, dim2=-1) > 0).all(-1), event_dim=2)()

dependent, independent, multinomial = _Dependent(), _IndependentConstraint, _Multinomial
greater_than, greater_than_eq, less_than = GreaterThan, GreaterThanEq, LessThan
interval, half_open_interval, integer_interval = Interval, HalfOpenInterval, IntegerInterval
real_vector = independent(real, 1)
