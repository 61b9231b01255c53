"""Determinants, inverses, systems of equations, and the factorizations they are solved by: LU, Cholesky, LDL.

Each factorization is one operation whose gradient is a formula over `m`; solving by one of them is a formula over
triangular solutions. Matrices are the last two dimensions. LAPACK is reached through NumPy, or through SciPy where
NumPy has no function for it.
"""
from __future__ import annotations

import functools

import numpy as np

from .. import dtypes
from ..errors import LinAlgError
from .batching import in_front
from .definition import PUBLIC, opaque
from .linalg import need_matrix, need_square, turned
from .publishing import published
from .results import return_type

__all__ = ['det', 'slogdet', 'inv', 'solve', 'solve_triangular', 'cholesky', 'lu_factor']


@functools.lru_cache(maxsize=None)
def lapack(name, dtype):
    """LAPACK's (or BLAS's) function of that name without its prefix, for a dtype."""
    import scipy.linalg
    find = scipy.linalg.get_blas_funcs if name == 'trsm' else scipy.linalg.get_lapack_funcs
    return find(name, dtype=dtype)


def each(compute, shapes, *arrays, dtypes_of=None):
    """Results of compute(matrices...) over all batches; `shapes` are those of the results for one batch."""
    batch = arrays[0].shape[:-2]
    kinds = dtypes_of or [arrays[0].dtype] * len(shapes)
    results = [np.zeros((*batch, *shape), kind) for shape, kind in zip(shapes, kinds)]
    for index in np.ndindex(batch):
        for result, made in zip(results, compute(*[a[index] for a in arrays])):
            result[index] = made
    return results


def place(index):
    """The words that say which of a batch of matrices an error is about."""
    return f'(Batch element {index[0] if len(index) == 1 else list(index)}): ' if index else ''


def refuse_info(info, words, error=LinAlgError):
    """Raises an error for the first matrix whose info is not 0; words(info) says why."""
    if np.any(info):
        index = tuple(int(k) for k in np.argwhere(info)[0])
        raise error(words(place(index), int(info[index])))


def _checked(result, check_errors, words):
    """Results of which the last is their info, after `refuse_info` where errors are asked for."""
    if check_errors:
        refuse_info(result[-1]._array, words)
    return result


# ---- determinants

def _cofactor_gradient(m, g, A):
    inverse = turned(m, m._inverse(A)[0])
    size = m.conj(m._det(A))
    inner = m.unsqueeze(m.unsqueeze(m.sum(g * inverse, (-2, -1)), -1), -1)
    scale = m.unsqueeze(m.unsqueeze(size, -1), -1)
    return scale * (inner * inverse - m.matmul(m.matmul(inverse, m.transpose(g, -2, -1)), inverse))


@opaque(batch=in_front, name='_cofactors', namespace='', method=False, grad={'A': _cofactor_gradient})
def _cofactors(m, A):
    """The derivatives of the determinant in each element, of singular matrices too."""
    if not A.shape[-1]:
        return A.copy()
    U, S, Vh = np.linalg.svd(A)
    scale = (np.linalg.det(U) * np.linalg.det(Vh))[..., None, None]
    return (scale * (U.conj() * m.product_of_others(S)[..., None, :]) @ Vh.conj()).astype(A.dtype)


@opaque(batch=in_front, name='_det', namespace='', method=False, label='LinalgDetBackward0', grad={
    'A': lambda m, g, A: m.unsqueeze(m.unsqueeze(g, -1), -1) * m.conj(m._cofactors(A))})
def _det(m, A):
    return np.asarray(np.linalg.det(A))


@published('torch linalg', method=True)
def det(A):
    """The determinants of square matrices."""
    need_square('linalg.det', A)
    return _det(A)


def _slogdet_gradient(m, g, A, outputs):
    weight = g[1]
    if m.is_complex(A):
        turning = m.conj(g[0]) * outputs[0]
        weight = weight - m.real_of(turning * -1j) * 1j
    return m.unsqueeze(m.unsqueeze(weight, -1), -1) * turned(m, m._inverse(A)[0])


@opaque(batch=in_front, name='_slogdet', namespace='', method=False, label='LinalgSlogdetBackward0',
        grad={'A': _slogdet_gradient})
def _slogdet(m, A):
    sign, size = np.linalg.slogdet(A)
    return np.asarray(sign), np.asarray(size)


@published('torch linalg', method=True, returns=('sign', 'logabsdet'))
def slogdet(A):
    """(the sign of the determinant, the logarithm of its absolute value)."""
    need_square('linalg.slogdet', A)
    return _slogdet(A)


@published('torch', method=True)
def logdet(input):
    """The logarithm of the determinant; nan where that is negative."""
    need_square('logdet', input)
    sign, size = _slogdet(input)
    if input.is_complex():
        return sign.log() + size
    return PUBLIC.where(sign == -1, float('nan'), size)


# ---- inverses and systems of equations

def _inverse_gradient(m, g, outputs):
    inverse = turned(m, outputs[0])
    return -m.matmul(m.matmul(inverse, g[0]), inverse)


@opaque(batch=in_front, name='_inverse', namespace='', method=False, label='LinalgInvExBackward0',
        grad={'A': _inverse_gradient})
def _inverse(m, A):
    """(inverse, info): info is the first zero on the diagonal of U, counted from 1, or 0."""
    batch = A.shape[:-2]
    try:
        return np.linalg.inv(A), np.zeros(batch, np.int32)
    except np.linalg.LinAlgError:
        info = m.lu_factors(A)[2]
        inverse = np.full_like(A, np.nan)
        inverse[info == 0] = np.linalg.inv(A[info == 0])
        return inverse, info


def _singular(name, verb):
    return lambda where, k: (f'{name}: {where}The diagonal element {k} is zero, {verb} because the input matrix is '
                             'singular.')


@published('linalg', returns=('inverse', 'info'))
def inv_ex(A, *, check_errors=False):
    """(inverse, info); info is 0 where a matrix was invertible. Errors are raised only with `check_errors`."""
    need_square('linalg.inv', A)
    return _checked(_inverse(A), check_errors, _singular('linalg.inv_ex', 'the inversion could not be completed'))


@published('torch linalg', method=True, aliases=('inverse',))
def inv(A):
    """The inverses of square matrices. Raises LinAlgError for a singular one."""
    need_square('linalg.inv', A)
    inverse, info = _inverse(A)
    refuse_info(info._array, _singular('linalg.inv', 'the inversion could not be completed'))
    return inverse


def _solution_gradient(m, g, A, outputs, needed):
    right = m.matmul(turned(m, m._inverse(A)[0]), g[0]) if A.shape[-1] == 0 else m._solution(turned(m, A), g[0])[0]
    return {'B': right, 'A': -m.matmul(right, turned(m, outputs[0])) if 'A' in needed else None}


@opaque(batch=in_front, name='_solution', namespace='', method=False, label='LinalgSolveExBackward0',
        grad=_solution_gradient)
def _solution(m, A, B):
    """(X with A @ X == B, info) for equal batches."""
    batch = A.shape[:-2]
    try:
        return np.linalg.solve(A, B), np.zeros(batch, np.int32)
    except np.linalg.LinAlgError:
        info = m.lu_factors(A)[2]
        X = np.full_like(B, np.nan)
        X[info == 0] = np.linalg.solve(A[info == 0], B[info == 0])
        return X, info


def _expanded(name, A, B):
    """Two batches of matrices broadcast to one batch shape."""
    try:
        batch = np.broadcast_shapes(A.shape[:-2], B.shape[:-2])
    except ValueError:
        raise RuntimeError(f'{name}: The batch dimensions of A and B must be broadcastable, got shapes {list(A.shape)} '
                           f'and {list(B.shape)}') from None
    return A.expand((*batch, *A.shape[-2:])), B.expand((*batch, *B.shape[-2:]))


def _solved(name, A, B, left):
    """(X, info) of a system of equations whose right-hand side may be vectors."""
    need_square(name, A)
    if B.dtype is not A.dtype:
        raise RuntimeError(f'{name}: Expected A and B to have the same dtype, but found A of type {A.dtype} and B of '
                           f'type {B.dtype}')
    vector = B.dim() == 1 or A.dim() - 1 == B.dim() and tuple(A.shape[:-1]) == tuple(B.shape)
    if vector and not left:
        raise RuntimeError(f'{name}: Vector broadcasting of the left hand side is not supported for left=False. In '
                           'this case linalg.solve is equivalent to B / A.squeeze(-1)')
    right = B.unsqueeze(-1) if vector else B
    if not vector and not left:
        A, right = A.mT, B.mT
    if A.shape[-1] != right.shape[-2]:
        raise RuntimeError(f'{name}: Incompatible shapes of A and B for the equation {"AX" if left else "XA"} = B '
                           f'({list(A.shape)} and {list(B.shape)})')
    X, info = _solution(*_expanded(name, A, right))
    if vector:
        return X.squeeze(-1), info
    return (X if left else X.mT), info


@published('linalg', returns=('result', 'info'))
def solve_ex(A, B, *, left=True, check_errors=False):
    """(X, info) of A @ X == B; info is 0 where A was invertible. Errors are raised only with `check_errors`."""
    return _checked(_solved('linalg.solve_ex', A, B, left), check_errors,
                    _singular('linalg.solve_ex', 'the solve could not be completed'))


@published('linalg')
def solve(A, B, *, left=True):
    """X with A @ X == B (or X @ A == B where `left` is False). Raises LinAlgError for a singular A."""
    X, info = _solved('linalg.solve', A, B, left)
    refuse_info(info._array, _singular('torch.linalg.solve', 'the solve could not be completed'))
    return X


# ---- triangular systems

def _triangle(m, x, upper, unitriangular):
    return m.triu(x, 1 if unitriangular else 0) if upper else m.tril(x, -1 if unitriangular else 0)


def _triangular_gradient(m, g, A, output, upper, left, unitriangular, needed):
    right = m._triangular_solution(turned(m, A), g, not upper, left, unitriangular)
    found = {'B': right}
    if 'A' in needed:
        product = m.matmul(right, turned(m, output)) if left else m.matmul(turned(m, output), right)
        found['A'] = -_triangle(m, product, upper, unitriangular)
    return found


@opaque(batch=in_front, name='_triangular_solution', namespace='', method=False, label='LinalgSolveTriangularBackward0',
        grad=_triangular_gradient)
def _triangular_solution(m, A, B, upper, left, unitriangular):
    """X with A @ X == B or X @ A == B, for triangular A and equal batches; nothing is divided into by zero silently."""
    trsm = lapack('trsm', B.dtype)

    def compute(a, b):
        if not b.size:
            return b,
        return trsm(1.0, a, b, side=not left, lower=not upper, diag=unitriangular),
    return each(compute, [B.shape[-2:]], A, B, dtypes_of=[B.dtype])[0]


@published('linalg')
def solve_triangular(A, B, *, upper, left=True, unitriangular=False):
    """X with A @ X == B (or X @ A == B where `left` is False) for triangular matrices A; only that triangle is read."""
    need_square('linalg.solve_triangular', A)
    need_matrix('linalg.solve_triangular', A, B)
    if A.shape[-1] != B.shape[-2 if left else -1]:
        raise RuntimeError(f'linalg.solve_triangular: Incompatible shapes of A and B for the equation '
                           f'{"AX" if left else "XA"} = B ({list(A.shape)} and {list(B.shape)})')
    return _triangular_solution(*_expanded('linalg.solve_triangular', A, B), upper, left, unitriangular)


@published('torch', method=True, returns=('solution', 'cloned_coefficient'))
def triangular_solve(b, A, upper=True, transpose=False, unitriangular=False):
    """(X with A @ X == b, a copy of A) for triangular A, transposed first with `transpose`."""
    need_square('triangular_solve', A)
    need_matrix('triangular_solve', A, b)
    if b.shape[-2] != A.shape[-1]:
        raise RuntimeError(f'triangular_solve: Incompatible matrix sizes: A is {list(A.shape)} but b is '
                           f'{list(b.shape)}')
    A, b = _expanded('triangular_solve', A, b)
    kept = A.clone()
    X = _triangular_solution(A.mT if transpose else A, b, upper != transpose, True, unitriangular)
    return X, kept


# ---- Cholesky

def _half_diagonal(m, x):
    """The lower triangle with half the diagonal."""
    return (m.tril(x) + m.tril(x, -1)) * 0.5


def _cholesky_gradient(m, g, outputs, upper):
    L, gL = (turned(m, outputs[0]), turned(m, g[0])) if upper else (outputs[0], g[0])
    inner = _half_diagonal(m, m.matmul(turned(m, L), gL))
    half = m._triangular_solution(turned(m, L), inner, True, True, False)
    made = m._triangular_solution(L, half, False, False, False)
    return (made + turned(m, made)) * 0.5


@opaque(batch=in_front, name='_cholesky', namespace='', method=False, label='LinalgCholeskyExBackward0',
        grad={'A': _cholesky_gradient})
def _cholesky(m, A, upper):
    """(factor, info): info is the order of the first leading minor that is not positive-definite, or 0."""
    lower = turned(m, A) if upper else A
    try:
        L, info = np.linalg.cholesky(lower), np.zeros(A.shape[:-2], np.int32)
    except np.linalg.LinAlgError:
        potrf = lapack('potrf', A.dtype)
        L, info = each(lambda a: potrf(a, lower=True), [A.shape[-2:], ()], lower, dtypes_of=[A.dtype, np.int32])
    return turned(m, L) if upper else L, info


def _indefinite(name):
    return lambda where, k: (f'{name}: {where}The factorization could not be completed because the input is not '
                             f'positive-definite (the leading minor of order {k} is not positive-definite).')


@published('linalg', returns=('L', 'info'))
def cholesky_ex(A, *, upper=False, check_errors=False):
    """(L, info) with A == L @ L.mH; info is 0 where A was positive-definite."""
    need_square('linalg.cholesky', A)
    return _checked(_cholesky(A, upper), check_errors, _indefinite('linalg.cholesky_ex'))


def _cholesky_factor(name, A, upper):
    need_square(name, A)
    L, info = _cholesky(A, upper)
    refuse_info(info._array, _indefinite(name))
    return L


@published('linalg', name='cholesky')
def linalg_cholesky(A, *, upper=False):
    """L with A == L @ L.mH (U with A == U.mH @ U for `upper`). Raises LinAlgError where A is not positive-definite."""
    return _cholesky_factor('linalg.cholesky', A, upper)


@published('torch', method=True)
def cholesky(input, upper=False):
    """As `linalg.cholesky`."""
    return _cholesky_factor('cholesky', input, upper)


@published('torch', method=True)
def cholesky_solve(B, L, upper=False):
    """X with A @ X == B, by the Cholesky factor of A."""
    need_square('cholesky_solve', L)
    need_matrix('cholesky_solve', B, L)
    if L.shape[-1] != B.shape[-2]:
        raise RuntimeError(f'cholesky_solve: Incompatible matrix sizes: A is {list(L.shape)} but B is {list(B.shape)}')
    L, B = _expanded('cholesky_solve', L, B)
    lower = L.mH if upper else L
    return _triangular_solution(lower.mH, _triangular_solution(lower, B, False, True, False), True, True, False)


@published('torch', method=True)
def cholesky_inverse(L, upper=False):
    """The inverse of A by its Cholesky factor."""
    need_square('cholesky_inverse', L)
    return cholesky_solve(PUBLIC.eye(L.shape[-1], dtype=L.dtype).expand(L.shape), L, upper)


# ---- LU

def _lu_gradient(m, g, outputs):
    """The gradient in A of its packed factors; what is not square is brought back to a square by triangular systems."""
    LU, pivots, gLU = outputs[0], outputs[1], g[0]
    rows, columns = LU.shape[-2:]
    k = min(rows, columns)
    square, gS = m.narrow(m.narrow(LU, -2, 0, k), -1, 0, k), m.narrow(m.narrow(gLU, -2, 0, k), -1, 0, k)
    LH, UH, gL, gU = turned(m, square), turned(m, square), m.tril(gS, -1), m.triu(gS)
    more = None
    if columns > k:
        more = m._triangular_solution(LH, m.narrow(gLU, -1, k, columns - k), True, True, True)
        gL = gL - m.tril(m.matmul(more, turned(m, m.narrow(LU, -1, k, columns - k))), -1)
    elif rows > k:
        more = m._triangular_solution(UH, m.narrow(gLU, -2, k, rows - k), False, False, False)
        gU = gU - m.triu(m.matmul(turned(m, m.narrow(LU, -2, k, rows - k)), more))
    unit = m.tril(square, -1) + m.identity_like(square)
    inner = m.tril(m.matmul(turned(m, unit), gL), -1) + m.triu(m.matmul(gU, turned(m, m.triu(square))))
    made = m._triangular_solution(LH, inner, True, True, True)
    made = m._triangular_solution(UH, made, False, False, False)
    if more is not None:
        made = m.cat([made, more], -1 if columns > k else -2)
    return m.matmul(m.permutation_of(pivots, made), made)


@opaque(name='identity_like', namespace='', method=False, grad={'x': lambda m, g: m.zeros_like(g)})
def identity_like(m, x):
    """Matrices with ones on the diagonal in the shape of x: its power 0, whose gradient is zero."""
    return np.broadcast_to(np.eye(x.shape[-2], x.shape[-1], dtype=x.dtype), x.shape).copy()


@opaque(name='permutation_of', namespace='', method=False)
def permutation_of(m, pivots, like):
    """The matrices P of A == P @ L @ U, for pivots counted from 1."""
    rows = like.shape[-2]
    order = np.broadcast_to(np.arange(rows), (*pivots.shape[:-1], rows)).copy()
    for index in np.ndindex(pivots.shape[:-1]):
        line = order[index]
        for k, p in enumerate(pivots[index]):
            line[k], line[p - 1] = line[p - 1], line[k]
    P = np.zeros((*order.shape, rows), like.dtype)
    np.put_along_axis(P, order[..., None, :], 1, -2)
    return P


@opaque(batch=in_front, name='lu_factors', namespace='', method=False, label='LinalgLuFactorExBackward0',
        grad={'A': _lu_gradient})
def lu_factors(m, A):
    """(L and U in one matrix, pivots counted from 1, info) of A == P @ L @ U."""
    rows, columns = A.shape[-2:]
    k = min(rows, columns)
    getrf = lapack('getrf', A.dtype)

    def compute(a):
        if not a.size:
            return a, np.zeros(k, np.int32), 0
        factors, pivots, info = getrf(a)
        return factors, pivots + 1, info
    return tuple(each(compute, [(rows, columns), (k,), ()], A, dtypes_of=[A.dtype, np.int32, np.int32]))


def _need_pivots(name, A, pivot):
    need_matrix(name, A)
    if not pivot:
        raise RuntimeError(f'{name}: LU without pivoting is not implemented on the CPU')


@published('linalg', returns=('LU', 'pivots', 'info'))
def lu_factor_ex(A, *, pivot=True, check_errors=False):
    """(LU, pivots, info) of A == P @ L @ U, L and U in one matrix; info is 0 where U is invertible."""
    _need_pivots('linalg.lu_factor_ex', A, pivot)
    return _checked(lu_factors(A), check_errors, _singular('torch.linalg.lu_factor_ex', 'U is singular'))


@published('linalg', returns=('LU', 'pivots'))
def lu_factor(A, *, pivot=True):
    """(LU, pivots) of A == P @ L @ U, L and U in one matrix, pivots counted from 1. Raises for a singular U."""
    _need_pivots('linalg.lu_factor', A, pivot)
    LU, pivots, info = lu_factors(A)
    refuse_info(info._array, lambda where, k: (
        f'torch.linalg.lu_factor: {where}U[{k},{k}] is zero and using it on lu_solve would result in a division by '
        'zero. If you still want to perform the factorization, consider calling linalg.lu(A, pivot) or '
        'linalg.lu_factor_ex(A, pivot)'), RuntimeError)
    return LU, pivots


@published('torch', method=True)
def lu(A, pivot=True, get_infos=False):
    """(LU, pivots) or, with `get_infos`, (LU, pivots, info)."""
    _need_pivots('lu', A, pivot)
    made = lu_factors(A)
    return return_type('_lu_with_info', ('LU', 'pivots', 'info'))(*made) if get_infos else tuple(made[:2])


@published('linalg', name='lu', returns=('P', 'L', 'U'))
def linalg_lu(A, *, pivot=True):
    """(P, L, U) with A == P @ L @ U."""
    _need_pivots('linalg.lu', A, pivot)
    LU, pivots, _ = lu_factors(A)
    return lu_unpack(LU, pivots)


@published('torch', returns=('P', 'L', 'U'))
def lu_unpack(LU_data, LU_pivots, unpack_data=True, unpack_pivots=True):
    """(P, L, U) of packed factors and pivots; what is not asked for is empty."""
    if LU_pivots.dtype is not dtypes.int32 and unpack_pivots:
        raise RuntimeError('lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype, got '
                           f'{LU_pivots.dtype}')
    rows, columns = LU_data.shape[-2:]
    k = min(rows, columns)
    empty = LU_data.new_empty(0)
    P = L = U = empty
    if unpack_pivots:
        P = permutation_of(LU_pivots, LU_data)
    if unpack_data:
        part = LU_data.narrow(-1, 0, k)
        L, U = part.tril(-1) + identity_like(part), LU_data.narrow(-2, 0, k).triu()
    return P, L, U


@published('linalg', name='lu_solve')
def linalg_lu_solve(LU, pivots, B, *, left=True, adjoint=False):
    """X with A @ X == B by the packed factors of A; `left` False for X @ A == B, `adjoint` for A.mH."""
    need_square('linalg.lu_solve', LU)
    need_matrix('linalg.lu_solve', LU, B)
    if pivots.dtype is not dtypes.int32:
        raise RuntimeError(f'linalg.lu_solve: pivots should be a Tensor of scalar type torch.int32, got {pivots.dtype}')
    if tuple(pivots.shape) != tuple(LU.shape[:-1]):
        raise RuntimeError(f'linalg.lu_solve: Number of pivots per batch should be same as the dimension of the '
                           f'matrix, got {list(pivots.shape)} for LU of shape {list(LU.shape)}')
    if LU.shape[-1] != B.shape[-2 if left else -1]:
        raise RuntimeError(f'linalg.lu_solve: Incompatible shapes of A and B for the equation '
                           f'{"AX" if left else "XA"} = B ({list(LU.shape)} and {list(B.shape)})')
    right = B if left else B.mH
    P = permutation_of(pivots, LU)
    LU, right = _expanded('linalg.lu_solve', LU, right)
    if adjoint != (not left):
        X = _triangular_solution(LU.mH, right, False, True, False)
        X = PUBLIC.matmul(P, _triangular_solution(LU.mH, X, True, True, True))
    else:
        X = _triangular_solution(LU, PUBLIC.matmul(P.mT, right), False, True, True)
        X = _triangular_solution(LU, X, True, True, False)
    return X if left else X.mH


@published('torch', method=True)
def lu_solve(b, LU_data, LU_pivots):
    """X with A @ X == b, by the packed factors of A."""
    return linalg_lu_solve(LU_data, LU_pivots, b)


# ---- LDL

@opaque(name='_ldl', namespace='', method=False)
def _ldl(m, A, hermitian):
    n = A.shape[-1]
    sytrf = lapack('hetrf' if hermitian and A.dtype.kind == 'c' else 'sytrf', A.dtype)

    def compute(a):
        if not a.size:
            return a, np.zeros(0, np.int32), 0
        factors, pivots, info = sytrf(a, lower=True)
        return np.tril(factors), pivots, info
    return tuple(each(compute, [(n, n), (n,), ()], A, dtypes_of=[A.dtype, np.int32, np.int32]))


@published('linalg', returns=('LD', 'pivots', 'info'))
def ldl_factor_ex(A, *, hermitian=False, check_errors=False):
    """(LD, pivots, info) of symmetric (`hermitian`: Hermitian) matrices as LAPACK packs them, without gradient."""
    need_square('linalg.ldl_factor_ex', A)
    return _checked(_ldl(A, hermitian), check_errors, _singular('torch.linalg.ldl_factor_ex', 'D is singular'))


@published('linalg', returns=('LD', 'pivots'))
def ldl_factor(A, *, hermitian=False):
    """(LD, pivots) of symmetric (`hermitian`: Hermitian) matrices as LAPACK packs them."""
    need_square('linalg.ldl_factor', A)
    LD, pivots, info = _ldl(A, hermitian)
    refuse_info(info._array, _singular('torch.linalg.ldl_factor', 'D is singular'))
    return LD, pivots


@opaque(name='_ldl_solution', namespace='', method=False)
def _ldl_solution(m, LD, pivots, B, hermitian):
    sytrs = lapack('hetrs' if hermitian and LD.dtype.kind == 'c' else 'sytrs', LD.dtype)

    def compute(factors, p, b):
        return (sytrs(factors, p[:, 0].astype(np.int32), b, lower=True)[0] if b.size else b),
    return each(compute, [B.shape[-2:]], LD, pivots[..., None], B, dtypes_of=[B.dtype])[0]


@published('linalg')
def ldl_solve(LD, pivots, B, *, hermitian=False):
    """X with A @ X == B, by the factors that `ldl_factor` gave."""
    need_square('linalg.ldl_solve', LD)
    need_matrix('linalg.ldl_solve', LD, B)
    if tuple(pivots.shape) != tuple(LD.shape[:-1]):
        raise RuntimeError(f'linalg.ldl_solve: Expected LD.shape[:-1] and pivots.shape to be the same, but got pivots '
                           f'with shape {list(pivots.shape)} for LD of shape {list(LD.shape)}')
    if pivots.dtype.category != dtypes.INTEGER:
        raise RuntimeError(f'linalg.ldl_solve: Expected pivots to be integers. Got {pivots.dtype}')
    if B.shape[-2] != LD.shape[-1]:
        raise RuntimeError(f'linalg.ldl_solve: Incompatible shapes {list(LD.shape)} and {list(B.shape)}')
    LD, B = _expanded('linalg.ldl_solve', LD, B)
    return _ldl_solution(LD, pivots.expand(LD.shape[:-1]), B, hermitian)
