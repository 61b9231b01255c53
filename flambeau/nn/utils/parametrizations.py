"""Ready parametrizations: weight and spectral normalisation, orthogonal matrices."""
from __future__ import annotations

from ...autograd.modes import no_grad
from ...tensor import Tensor
from ..module import Module
from .parametrize import register_parametrization
from .spectral_norm import output_dim
from .weight_norm import norm_except_dim

__all__ = ['orthogonal', 'spectral_norm', 'weight_norm']

ORTHOGONAL_MAPS = ('matrix_exp', 'cayley', 'householder')


def _weight_of(module, name):
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


# ---- weight normalisation

class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, length, direction):
        return direction * (length / norm_except_dim(direction, self.dim))

    def right_inverse(self, weight):
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module: Module, name: str = 'weight', dim: int | None = 0) -> Module:
    """A weight as a length along `dim` (None: of the whole), `original0`, times a direction, `original1`.

    State dicts of the older `torch.nn.utils.weight_norm` load too.
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def take_older_names(state_dict, prefix, *_):
        keys = [f'{prefix}{name}_{part}' for part in 'gv']
        if all(key in state_dict for key in keys):
            for k, key in enumerate(keys):
                state_dict[f'{prefix}parametrizations.{name}.original{k}'] = state_dict.pop(key)
    module._register_load_state_dict_pre_hook(take_older_names)
    return module


# ---- spectral normalisation

class _SpectralNorm(Module):
    """The weight over its largest singular value, whose vectors `_u` and `_v` are improved by each forward."""

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12):
        super().__init__()
        rank = weight.dim()
        if not -rank <= dim < rank:
            raise IndexError(f'Dimension out of range (expected to be in range of [{-rank}, {rank - 1}] but got {dim})')
        if n_power_iterations <= 0:
            raise ValueError(f'Expected n_power_iterations to be positive, but got n_power_iterations='
                             f'{n_power_iterations}')
        self.dim, self.eps = dim % rank, eps
        if rank > 1:
            self.n_power_iterations = n_power_iterations
            with no_grad():
                matrix = self._matrix(weight)
                for name, size in zip(('_u', '_v'), matrix.shape):
                    self.register_buffer(name, self._unit(matrix.new_empty(size).normal_(0, 1)))
                self._improve(matrix, 15)

    def _matrix(self, weight):
        return weight.movedim(self.dim, 0).flatten(1)

    def _unit(self, vector):
        return vector / vector.norm().clamp(min=self.eps)

    def _improve(self, matrix, iterations):
        with no_grad():
            for _ in range(iterations):
                self._u.copy_(self._unit(matrix.mv(self._v)))
                self._v.copy_(self._unit(matrix.mH.mv(self._u)))

    def forward(self, weight):
        if weight.dim() == 1:
            return self._unit(weight)
        matrix = self._matrix(weight)
        if self.training:
            self._improve(matrix, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()  # for backward, which may run after the next forward
        return weight / u.vdot(matrix.mv(v))

    def right_inverse(self, value):
        return value  # a weight that is normalised already is its own original


def spectral_norm(module: Module, name: str = 'weight', n_power_iterations: int = 1, eps: float = 1e-12,
                  dim: int | None = None) -> Module:
    """A weight over its largest singular value, estimated by power iteration.

    `dim` is the output dimension, by default 1 for transposed convolutions and 0 for the rest.
    """
    weight = _weight_of(module, name)
    dim = output_dim(module) if dim is None else dim
    return register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))


# ---- orthogonal matrices

def _reflections(matrix):
    """(the reflectors of a QR decomposition, their factors)."""
    from ... import geqrf
    return geqrf(matrix)


def _is_orthogonal(matrix):
    from ... import allclose, eye, finfo
    n, k = matrix.shape[-2:]
    identity = eye(k, dtype=matrix.dtype)
    return allclose(matrix.mH @ matrix, identity.expand(*matrix.shape[:-2], k, k),
                    atol=10 * n * finfo(matrix.dtype).eps)


def _made_orthogonal(matrix):
    from ... import linalg
    reflectors, factors = _reflections(matrix)
    return linalg.householder_product(reflectors, factors) * reflectors.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


class _Orthogonal(Module):
    """An orthogonal matrix as the exponential or Cayley transform of a skew one, or a product of reflections.

    With `use_trivialization` it is seen from `base`, the matrix last assigned, of which the original is then minus
    the identity.
    """

    def __init__(self, weight, orthogonal_map: str, *, use_trivialization: bool = True):
        super().__init__()
        if weight.is_complex() and orthogonal_map == 'householder':
            raise ValueError('The householder parametrization does not support complex tensors.')
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer('base', None)

    def forward(self, X):
        wide = X.shape[-2] < X.shape[-1]
        X = X.mT if wide else X
        Q = self._by_reflections(X) if self.orthogonal_map == 'householder' else self._by_skew(X)
        if getattr(self, 'base', None) is not None:
            Q = self.base @ Q
        return Q.mT if wide else Q

    def _by_skew(self, X):
        from ... import add, cat, eye, linalg
        n, k = X.shape[-2:]
        X = X.tril()
        if n != k:
            X = cat([X, X.new_zeros(n, n - k).expand(*X.shape[:-2], -1, -1)], -1)
        A = X - X.mH
        if self.orthogonal_map == 'matrix_exp':
            Q = linalg.matrix_exp(A)
        else:
            identity = eye(n, dtype=A.dtype)
            Q = linalg.solve(add(identity, A, alpha=-0.5), add(identity, A, alpha=0.5))
        return Q[..., :k] if n != k else Q

    def _by_reflections(self, X):
        from ... import linalg
        A = X.tril(-1)
        factors = 2. / (1. + (A * A).sum(-2))
        return linalg.householder_product(A, factors) * X.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)

    def right_inverse(self, Q):
        from ... import cat, randn, zeros_like
        if Q.shape != self.shape:
            raise ValueError(f'Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape '
                             f'{Q.shape}.')
        n, k = Q.shape[-2:]
        given, wide = Q, n < k
        if wide:
            Q, n, k = Q.mT, k, n
        if not hasattr(self, 'base'):
            return self._reflectors_of(Q, wide)
        if n != k:
            Q = cat([Q, randn(*Q.shape[:-2], n, n - k, dtype=Q.dtype)], -1)
        self.base = Q.clone() if n == k and _is_orthogonal(Q) else _made_orthogonal(Q)
        original = zeros_like(given)
        original.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return original

    def _reflectors_of(self, Q, wide):
        if self.orthogonal_map != 'householder':
            raise NotImplementedError('It is not possible to assign to the matrix exponential or the Cayley '
                                      'parametrizations when use_trivialization=False.')
        reflectors, factors = _reflections(Q)
        diagonal = reflectors.diagonal(dim1=-2, dim2=-1)
        diagonal.sign_()
        diagonal[factors == 0.] *= -1  # a reflection that does nothing
        return reflectors.mT if wide else reflectors


def orthogonal(module: Module, name: str = 'weight', orthogonal_map: str | None = None, *,
               use_trivialization: bool = True) -> Module:
    """A matrix, or batch of matrices, that stays orthogonal (unitary), or has orthogonal columns or rows.

    orthogonal_map: 'matrix_exp', 'cayley' or 'householder'; by default the first for square and complex matrices and
    the last for others. Raises ValueError for a weight of fewer than two dimensions.
    """
    weight = _weight_of(module, name)
    if weight.dim() < 2:
        raise ValueError(f'Expected a matrix or batch of matrices. Got a tensor of {weight.dim()} dimensions.')
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1]
        orthogonal_map = 'matrix_exp' if square or weight.is_complex() else 'householder'
    if orthogonal_map not in ORTHOGONAL_MAPS:
        raise ValueError('orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: '
                         f'{orthogonal_map}')
    made = _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)
