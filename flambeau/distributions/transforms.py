"""Invertible functions, with the logarithm of how much they stretch volumes: what distributions are moved by."""
from __future__ import annotations

import math

from .. import dtypes
from ..ops.definition import PUBLIC
from . import constraints
from .distribution import sum_rightmost, tiny_of

__all__ = ['Transform', 'AbsTransform', 'AffineTransform', 'ComposeTransform', 'ExpTransform', 'IndependentTransform',
           'LowerCholeskyTransform', 'PowerTransform', 'ReshapeTransform', 'SigmoidTransform', 'SoftmaxTransform',
           'SoftplusTransform', 'StickBreakingTransform', 'TanhTransform', 'identity_transform']


class Transform:
    """y = t(x), with `t.inv` and `t.log_abs_det_jacobian(x, y)`.

    A family states `domain`, `codomain`, whether it is `bijective`, its `sign` where it is monotonic, and `_call`,
    `_inverse` and `log_abs_det_jacobian`. cache_size=1 keeps the last pair, so that inverting it costs nothing.
    """

    bijective = False

    def __init__(self, cache_size=0):
        if cache_size not in (0, 1):
            raise ValueError('cache_size must be 0 or 1')
        self._cache_size, self._cached = cache_size, (None, None)

    event_dim = property(lambda self: self._event_dim())

    def _event_dim(self):
        if self.domain.event_dim == self.codomain.event_dim:
            return self.domain.event_dim
        raise ValueError('Please use either .domain.event_dim or .codomain.event_dim')

    @property
    def inv(self):
        """The inverse transform."""
        return _InverseTransform(self)

    @property
    def sign(self):
        """1 or -1 for transforms that increase or decrease."""
        raise NotImplementedError

    def with_cache(self, cache_size=1):
        """The same transform with a cache."""
        if self._cache_size == cache_size:
            return self
        if type(self).__init__ is Transform.__init__:
            return type(self)(cache_size=cache_size)
        raise NotImplementedError(f'{type(self)}.with_cache is not implemented')

    def __eq__(self, other):
        return self is other or type(self) is type(other) and self._arguments() == other._arguments()

    __hash__ = object.__hash__

    def _arguments(self):
        return ()

    def __call__(self, x):
        """t(x)."""
        if self._cache_size and self._cached[0] is x:
            return self._cached[1]
        y = self._call(x)
        if self._cache_size:
            self._cached = x, y
        return y

    def _inv_call(self, y):
        if self._cache_size and self._cached[1] is y:
            return self._cached[0]
        x = self._inverse(y)
        if self._cache_size:
            self._cached = x, y
        return x

    def _call(self, x):
        raise NotImplementedError

    def _inverse(self, y):
        raise NotImplementedError

    def log_abs_det_jacobian(self, x, y):
        """log |dy / dx|, of events."""
        raise NotImplementedError

    def __repr__(self):
        return type(self).__name__ + '()'

    def forward_shape(self, shape):
        """The shape of t(x) for an x of a shape."""
        return shape

    def inverse_shape(self, shape):
        """The shape of x for a t(x) of a shape."""
        return shape


class _InverseTransform(Transform):
    """A transform the other way round."""

    def __init__(self, transform):
        super().__init__(transform._cache_size)
        self.inv_of = transform

    domain = property(lambda self: self.inv_of.codomain)
    codomain = property(lambda self: self.inv_of.domain)
    bijective = property(lambda self: self.inv_of.bijective)
    sign = property(lambda self: self.inv_of.sign)
    inv = property(lambda self: self.inv_of)

    def with_cache(self, cache_size=1):
        return self.inv_of.with_cache(cache_size).inv

    def _arguments(self):
        return self.inv_of,

    def __call__(self, x):
        return self.inv_of._inv_call(x)

    def _inv_call(self, y):
        return self.inv_of(y)

    def log_abs_det_jacobian(self, x, y):
        return -self.inv_of.log_abs_det_jacobian(y, x)

    def __repr__(self):
        return f'_InverseTransform({self.inv_of!r})'

    def forward_shape(self, shape):
        return self.inv_of.inverse_shape(shape)

    def inverse_shape(self, shape):
        return self.inv_of.forward_shape(shape)


class ComposeTransform(Transform):
    """Several transforms, one after the other."""

    def __init__(self, parts, cache_size=0):
        super().__init__(cache_size)
        self.parts = [part.with_cache(cache_size) for part in parts] if cache_size else list(parts)

    @constraints.dependent_property(is_discrete=False)
    def domain(self):
        if not self.parts:
            return constraints.real
        dims = self.parts[-1].codomain.event_dim
        for part in reversed(self.parts):
            dims = max(dims + part.domain.event_dim - part.codomain.event_dim, part.domain.event_dim)
        domain = self.parts[0].domain
        return constraints.independent(domain, dims - domain.event_dim) if dims > domain.event_dim else domain

    @constraints.dependent_property(is_discrete=False)
    def codomain(self):
        if not self.parts:
            return constraints.real
        dims = self.parts[0].domain.event_dim
        for part in self.parts:
            dims = max(dims + part.codomain.event_dim - part.domain.event_dim, part.codomain.event_dim)
        codomain = self.parts[-1].codomain
        return constraints.independent(codomain, dims - codomain.event_dim) if dims > codomain.event_dim else codomain

    bijective = property(lambda self: all(part.bijective for part in self.parts))
    sign = property(lambda self: math.prod(part.sign for part in self.parts))
    inv = property(lambda self: ComposeTransform([part.inv for part in reversed(self.parts)]))

    def with_cache(self, cache_size=1):
        return self if self._cache_size == cache_size else ComposeTransform(self.parts, cache_size)

    def _arguments(self):
        return self.parts

    def __call__(self, x):
        for part in self.parts:
            x = part(x)
        return x

    def _inv_call(self, y):
        for part in reversed(self.parts):
            y = part._inv_call(y)
        return y

    def log_abs_det_jacobian(self, x, y):
        if not self.parts:
            return PUBLIC.zeros_like(x)
        values = [x]
        for part in self.parts[:-1]:
            values.append(part(values[-1]))
        values.append(y)
        terms, dims = [], self.domain.event_dim
        for part, before, after in zip(self.parts, values, values[1:]):
            terms.append(sum_rightmost(part.log_abs_det_jacobian(before, after), dims - part.domain.event_dim))
            dims += part.codomain.event_dim - part.domain.event_dim
        return sum(terms[1:], terms[0])

    def forward_shape(self, shape):
        for part in self.parts:
            shape = part.forward_shape(shape)
        return shape

    def inverse_shape(self, shape):
        for part in reversed(self.parts):
            shape = part.inverse_shape(shape)
        return shape

    def __repr__(self):
        return 'ComposeTransform(\n    ' + ',\n    '.join(map(repr, self.parts)) + '\n)'


identity_transform = ComposeTransform([])


class IndependentTransform(Transform):
    """A transform of events of `reinterpreted_batch_ndims` more dimensions."""

    def __init__(self, base_transform, reinterpreted_batch_ndims, cache_size=0):
        super().__init__(cache_size)
        self.base_transform, self.reinterpreted_batch_ndims = base_transform, reinterpreted_batch_ndims

    domain = constraints.dependent_property(lambda self: constraints.independent(
        self.base_transform.domain, self.reinterpreted_batch_ndims))
    codomain = constraints.dependent_property(lambda self: constraints.independent(
        self.base_transform.codomain, self.reinterpreted_batch_ndims))
    bijective = property(lambda self: self.base_transform.bijective)
    sign = property(lambda self: self.base_transform.sign)

    def with_cache(self, cache_size=1):
        return IndependentTransform(self.base_transform, self.reinterpreted_batch_ndims, cache_size)

    def _arguments(self):
        return self.base_transform, self.reinterpreted_batch_ndims

    def _call(self, x):
        return self.base_transform(x)

    def _inverse(self, y):
        return self.base_transform._inv_call(y)

    def log_abs_det_jacobian(self, x, y):
        return sum_rightmost(self.base_transform.log_abs_det_jacobian(x, y), self.reinterpreted_batch_ndims)

    def __repr__(self):
        return f'IndependentTransform({self.base_transform!r}, {self.reinterpreted_batch_ndims})'


class ReshapeTransform(Transform):
    """Events in another shape."""

    bijective = True

    def __init__(self, in_shape, out_shape, cache_size=0):
        super().__init__(cache_size)
        self.in_shape, self.out_shape = tuple(in_shape), tuple(out_shape)
        if math.prod(self.in_shape) != math.prod(self.out_shape):
            raise ValueError('in_shape, out_shape have different numbers of elements')

    domain = constraints.dependent_property(lambda self: constraints.independent(constraints.real, len(self.in_shape)))
    codomain = constraints.dependent_property(
        lambda self: constraints.independent(constraints.real, len(self.out_shape)))

    def with_cache(self, cache_size=1):
        return ReshapeTransform(self.in_shape, self.out_shape, cache_size)

    def _arguments(self):
        return self.in_shape, self.out_shape

    def _lead(self, shape, inner):
        if len(shape) < len(inner) or tuple(shape[len(shape) - len(inner):]) != inner:
            raise ValueError(f'Shape mismatch: expected {inner} but got {tuple(shape)}')
        return tuple(shape[:len(shape) - len(inner)])

    def _call(self, x):
        return x.reshape(self.forward_shape(x.shape))

    def _inverse(self, y):
        return y.reshape(self.inverse_shape(y.shape))

    def log_abs_det_jacobian(self, x, y):
        return x.new_zeros(self._lead(x.shape, self.in_shape))

    def forward_shape(self, shape):
        return self._lead(shape, self.in_shape) + self.out_shape

    def inverse_shape(self, shape):
        return self._lead(shape, self.out_shape) + self.in_shape


def _of_numbers(name, domain, codomain, call, inverse, log_slope, doc):
    """A class of increasing transforms of single numbers, without parameters."""
    return type(name, (Transform,), {
        'domain': domain, 'codomain': codomain, 'bijective': True, 'sign': 1, '_call': lambda self, x: call(x),
        '_inverse': lambda self, y: inverse(y), 'log_abs_det_jacobian': lambda self, x, y: log_slope(x, y),
        '__doc__': doc, '__module__': __name__})


def _softplus(x):
    return PUBLIC.softplus(x)


def _sigmoid(x):
    return x.sigmoid().clamp(min=tiny_of(x), max=1.0 - _eps(x))


def _eps(x):
    return dtypes.finfo(x.dtype).eps


def _logit(y):
    y = y.clamp(min=tiny_of(y), max=1.0 - _eps(y))
    return y.log() - (-y).log1p()


ExpTransform = _of_numbers('ExpTransform', constraints.real, constraints.positive, lambda x: x.exp(), lambda y: y.log(),
                           lambda x, y: x, 'y = exp(x).')
SigmoidTransform = _of_numbers(
    'SigmoidTransform', constraints.real, constraints.unit_interval, _sigmoid, _logit,
    lambda x, y: -_softplus(-x) - _softplus(x), 'y = 1 / (1 + exp(-x)).')
TanhTransform = _of_numbers(
    'TanhTransform', constraints.real, constraints.interval(-1.0, 1.0), lambda x: x.tanh(), lambda y: y.atanh(),
    lambda x, y: 2.0 * (math.log(2.0) - x - _softplus(-2.0 * x)), 'y = tanh(x).')
SoftplusTransform = _of_numbers(
    'SoftplusTransform', constraints.real, constraints.positive, _softplus, lambda y: (-y).expm1().neg().log() + y,
    lambda x, y: -_softplus(-x), 'y = log(1 + exp(x)).')


class PowerTransform(Transform):
    """y = x ** exponent, of positive numbers."""

    domain = codomain = constraints.positive
    bijective = True

    def __init__(self, exponent, cache_size=0):
        super().__init__(cache_size)
        self.exponent = PUBLIC.as_tensor(exponent)

    sign = property(lambda self: self.exponent.sign())

    def with_cache(self, cache_size=1):
        return PowerTransform(self.exponent, cache_size)

    def _arguments(self):
        return self.exponent.tolist(),

    def _call(self, x):
        return x.pow(self.exponent)

    def _inverse(self, y):
        return y.pow(1 / self.exponent)

    def log_abs_det_jacobian(self, x, y):
        return (self.exponent * y / x).abs().log()

    def forward_shape(self, shape):
        return PUBLIC.broadcast_shapes(shape, self.exponent.shape)

    inverse_shape = forward_shape


class AbsTransform(Transform):
    """y = |x|, which is inverted to positive numbers."""

    domain, codomain = constraints.real, constraints.positive

    def _call(self, x):
        return x.abs()

    def _inverse(self, y):
        return y


class AffineTransform(Transform):
    """y = loc + scale * x, of events of `event_dim` dimensions."""

    bijective = True

    def __init__(self, loc, scale, event_dim=0, cache_size=0):
        super().__init__(cache_size)
        self.loc, self.scale, self._dims = loc, scale, event_dim

    def _region(self):
        return constraints.independent(constraints.real, self._dims) if self._dims else constraints.real

    domain = codomain = constraints.dependent_property(_region, is_discrete=False)

    def _event_dim(self):
        return self._dims

    @property
    def sign(self):
        if isinstance(self.scale, (int, float)):
            return 1 if self.scale > 0 else -1 if self.scale < 0 else 0
        return self.scale.sign()

    def with_cache(self, cache_size=1):
        return AffineTransform(self.loc, self.scale, self._dims, cache_size)

    def _arguments(self):
        return [getattr(v, 'tolist', lambda v=v: v)() for v in (self.loc, self.scale)]

    def _call(self, x):
        return self.loc + self.scale * x

    def _inverse(self, y):
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x, y):
        scale = self.scale if hasattr(self.scale, 'abs') else PUBLIC.full_like(x, self.scale)
        slope = scale.abs().log()
        if not self._dims:
            return slope.expand(x.shape)
        return sum_rightmost(slope.expand(x.shape), self._dims)

    def forward_shape(self, shape):
        return PUBLIC.broadcast_shapes(shape, getattr(self.loc, 'shape', ()), getattr(self.scale, 'shape', ()))

    inverse_shape = forward_shape


class SoftmaxTransform(Transform):
    """y = exp(x) brought to the sum 1; inverted to logarithms."""

    domain, codomain = constraints.real_vector, constraints.simplex

    def _call(self, x):
        return PUBLIC.softmax(x, -1)

    def _inverse(self, y):
        return y.log()


class StickBreakingTransform(Transform):
    """k - 1 numbers as a point of a simplex with k parts, each a share of what is left."""

    domain, codomain = constraints.real_vector, constraints.simplex
    bijective = True

    def _offset(self, x, count):
        return x - x.new_ones(count).cumsum(-1).flip(-1).log()

    def _call(self, x):
        z = _sigmoid(self._offset(x, x.shape[-1]))
        return PUBLIC.pad(z, (0, 1), value=1) * PUBLIC.pad((1 - z).cumprod(-1), (1, 0), value=1)

    def _inverse(self, y):
        head = y[..., :-1]
        left = (1 - head.cumsum(-1)).clamp(min=tiny_of(y))
        return head.log() - left.log() + head.new_ones(head.shape[-1]).cumsum(-1).flip(-1).log()

    def log_abs_det_jacobian(self, x, y):
        x = self._offset(x, x.shape[-1])
        return (PUBLIC.logsigmoid(x) - x + y[..., :-1].log()).sum(-1)

    def forward_shape(self, shape):
        if not shape:
            raise ValueError('Too few dimensions on input')
        return (*shape[:-1], shape[-1] + 1)

    def inverse_shape(self, shape):
        if not shape:
            raise ValueError('Too few dimensions on input')
        return (*shape[:-1], shape[-1] - 1)


class LowerCholeskyTransform(Transform):
    """Matrices as lower triangular ones with a positive diagonal."""

    domain, codomain = constraints.independent(constraints.real, 2), constraints.lower_cholesky

    def _call(self, x):
        return x.tril(-1) + PUBLIC.diag_embed(x.diagonal(dim1=-2, dim2=-1).exp())

    def _inverse(self, y):
        return y.tril(-1) + PUBLIC.diag_embed(y.diagonal(dim1=-2, dim2=-1).log())
