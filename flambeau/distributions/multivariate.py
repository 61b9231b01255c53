"""The normal distribution of vectors."""
from __future__ import annotations

import math

from .. import linalg
from ..ops.definition import PUBLIC
from . import constraints
from .continuous import standard_normal
from .distribution import Distribution, lazy_property

__all__ = ['MultivariateNormal', 'LowRankMultivariateNormal']


def squared_distance(scale_tril, difference):
    """difference^T (L L^T)^-1 difference over the last dimension, for lower triangular matrices L."""
    solved = linalg.solve_triangular(scale_tril, difference.unsqueeze(-1), upper=False)
    return solved.squeeze(-1).pow(2).sum(-1)


def half_log_determinant(scale_tril):
    """Half the logarithm of the determinant of L L^T."""
    return scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)


class MultivariateNormal(Distribution):
    """The normal distribution of vectors around `loc`, by one of covariance, its inverse, or its Cholesky factor.

    >>> MultivariateNormal(flambeau.zeros(2), flambeau.eye(2)).log_prob(flambeau.zeros(2))
    tensor(-1.8379)
    """

    arg_constraints = {'loc': constraints.real_vector, 'covariance_matrix': constraints.positive_definite,
                       'precision_matrix': constraints.positive_definite, 'scale_tril': constraints.lower_cholesky}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc, covariance_matrix=None, precision_matrix=None, scale_tril=None, validate_args=None):
        if loc.dim() < 1:
            raise ValueError('loc must be at least one-dimensional.')
        matrices = {'covariance_matrix': covariance_matrix, 'precision_matrix': precision_matrix,
                    'scale_tril': scale_tril}
        given = {name: matrix for name, matrix in matrices.items() if matrix is not None}
        if len(given) != 1:
            raise ValueError('Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.')
        (name, matrix), = given.items()
        if matrix.dim() < 2:
            raise ValueError(f'{name} must be at least two-dimensional, with optional leading batch dimensions')
        shape = PUBLIC.broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        setattr(self, name, matrix.expand(*shape, -1, -1))
        self.loc = loc.expand(*shape, -1)
        super().__init__(shape, self.loc.shape[-1:], validate_args=validate_args)
        self._factor = self._factored(name, matrix)

    @staticmethod
    def _factored(name, matrix):
        if name == 'scale_tril':
            return matrix
        if name == 'covariance_matrix':
            return linalg.cholesky(matrix)
        # the inverse of a matrix whose factor is turned round, without inverting the matrix itself
        turned = linalg.cholesky(matrix.flip(-2, -1)).flip(-2, -1).mT
        return linalg.solve_triangular(turned, PUBLIC.eye(matrix.shape[-1], dtype=matrix.dtype), upper=False)

    def expand(self, batch_shape, _instance=None):
        new, size = self._copy(_instance), self.event_shape[0]
        new.loc, new._factor = self.loc.expand(*batch_shape, size), self._factor
        for name in ('covariance_matrix', 'precision_matrix', 'scale_tril'):
            if name in self.__dict__:
                setattr(new, name, self.__dict__[name].expand(*batch_shape, size, size))
        Distribution.__init__(new, batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _whole(self, matrix):
        return matrix.expand(*self._batch_shape, *self._event_shape, *self._event_shape)

    @lazy_property
    def scale_tril(self):
        """The Cholesky factor of the covariance."""
        return self._whole(self._factor)

    @lazy_property
    def covariance_matrix(self):
        """The covariance."""
        return self._whole(self._factor @ self._factor.mT)

    @lazy_property
    def precision_matrix(self):
        """The inverse of the covariance."""
        return self._whole(PUBLIC.cholesky_inverse(self._factor))

    mean = mode = property(lambda self: self.loc)
    variance = property(lambda self: self._factor.pow(2).sum(-1).expand(self._batch_shape + self._event_shape))

    def rsample(self, sample_shape=()):
        eps = standard_normal(self._extended_shape(sample_shape), self.loc.dtype)
        return self.loc + (self._factor @ eps.unsqueeze(-1)).squeeze(-1)

    def log_prob(self, value):
        self._validate_sample(value)
        distance = squared_distance(self._factor, value - self.loc)
        return -0.5 * (self.event_shape[0] * math.log(2 * math.pi) + distance) - half_log_determinant(self._factor)

    def entropy(self):
        entropy = 0.5 * self.event_shape[0] * (1.0 + math.log(2 * math.pi)) + half_log_determinant(self._factor)
        return entropy.expand(self._batch_shape)


class LowRankMultivariateNormal(Distribution):
    """The normal distribution of vectors of covariance cov_factor @ cov_factor^T + diag(cov_diag).

    cov_factor: (..., n, rank). What is factored is a matrix of the size of the rank.
    """

    arg_constraints = {'loc': constraints.real_vector, 'cov_factor': constraints.independent(constraints.real, 2),
                       'cov_diag': constraints.independent(constraints.positive, 1)}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc, cov_factor, cov_diag, validate_args=None):
        if loc.dim() < 1:
            raise ValueError('loc must be at least one-dimensional.')
        size = loc.shape[-1]
        if cov_factor.dim() < 2 or cov_factor.shape[-2] != size:
            raise ValueError('cov_factor must be a batch of matrices with shape (..., loc.size(-1), rank)')
        if cov_diag.shape[-1:] != (size,):
            raise ValueError('cov_diag must be a batch of vectors with shape loc.shape')
        shape = PUBLIC.broadcast_shapes(loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1])
        self.loc, self.cov_diag = loc.expand(*shape, size), cov_diag.expand(*shape, size)
        self.cov_factor = cov_factor.expand(*shape, *cov_factor.shape[-2:])
        super().__init__(shape, (size,), validate_args=validate_args)

    mean = mode = property(lambda self: self.loc)
    variance = property(lambda self: self.cov_factor.pow(2).sum(-1) + self.cov_diag)

    @lazy_property
    def _capacitance(self):
        """The Cholesky factor of 1 + W^T D^-1 W."""
        scaled = self.cov_factor.mT / self.cov_diag.unsqueeze(-2)
        return linalg.cholesky(scaled @ self.cov_factor + PUBLIC.eye(scaled.shape[-2], dtype=scaled.dtype))

    @lazy_property
    def covariance_matrix(self):
        """The covariance."""
        return self.cov_factor @ self.cov_factor.mT + PUBLIC.diag_embed(self.cov_diag)

    @lazy_property
    def scale_tril(self):
        """The Cholesky factor of the covariance."""
        return linalg.cholesky(self.covariance_matrix)

    @lazy_property
    def precision_matrix(self):
        """The inverse of the covariance."""
        scaled = self.cov_factor.mT / self.cov_diag.unsqueeze(-2)
        inner = linalg.solve_triangular(self._capacitance, scaled, upper=False)
        return PUBLIC.diag_embed(self.cov_diag.reciprocal()) - inner.mT @ inner

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        weights = standard_normal((*shape[:-1], self.cov_factor.shape[-1]), self.loc.dtype)
        own = standard_normal(shape, self.loc.dtype)
        return self.loc + (self.cov_factor @ weights.unsqueeze(-1)).squeeze(-1) + self.cov_diag.sqrt() * own

    def log_determinant(self):
        """The logarithm of the determinant of the covariance."""
        return 2 * half_log_determinant(self._capacitance) + self.cov_diag.log().sum(-1)

    def log_prob(self, value):
        self._validate_sample(value)
        difference = value - self.loc
        scaled = difference / self.cov_diag
        inner = (self.cov_factor.mT @ scaled.unsqueeze(-1)).squeeze(-1)
        distance = (difference * scaled).sum(-1) - squared_distance(self._capacitance, inner)
        return -0.5 * (self.event_shape[0] * math.log(2 * math.pi) + self.log_determinant() + distance)

    def entropy(self):
        entropy = 0.5 * (self.event_shape[0] * (1.0 + math.log(2 * math.pi)) + self.log_determinant())
        return entropy.expand(self._batch_shape)
