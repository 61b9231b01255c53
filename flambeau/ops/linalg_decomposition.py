"""Matrices taken apart: QR, Householder reflections, eigenvalues, singular values, and what is computed through them.

Gradients are formulas over `m`. Eigenvectors and singular vectors are free in sign or phase; a gradient exists for
results that do not depend on that. Equal eigenvalues (singular values) count as if their vectors were fixed.
"""
from __future__ import annotations

import numpy as np

from .. import dtypes
from ..autograd.modes import is_grad_enabled
from ..errors import LinAlgError
from ..tensor import Tensor, wrap
from .arithmetic import conjugated
from .contraction import matmul
from .batching import in_front
from .definition import PUBLIC, composite, export, opaque
from .linalg import need_matrix, need_square, turned
from .linalg_solving import _expanded, each, lapack
from .publishing import published

__all__ = ['qr', 'eig', 'eigh', 'svd', 'svdvals', 'lstsq', 'pinv', 'matrix_rank', 'matrix_exp']


def _converging(compute, name):
    """compute(), with what NumPy says about lack of convergence as PyTorch's error."""
    try:
        return compute()
    except np.linalg.LinAlgError as error:
        raise LinAlgError(f'{name}: The algorithm failed to converge because the input matrix is ill-conditioned or '
                          f'has too many repeated eigenvalues, or holds nan ({error})') from None


# ---- QR

def _square_qr_gradient(m, gQ, gR, Q, R):
    """The gradient of a QR decomposition with a square R."""
    inner = m.triu(m.matmul(gR, turned(m, R)) - m.matmul(turned(m, Q), gQ))
    both = inner + turned(m, inner)
    hermitian = both - m.real_diagonal(both) * 0.5
    made = gQ + m.matmul(Q, hermitian)
    return m._triangular_solution(turned(m, R), made, False, False, False)


@composite(namespace='', method=False)
def real_diagonal(m, x):
    """The real part of the diagonal, as a diagonal matrix."""
    kept = x * m.identity_like(x)
    return (kept + m.conj(kept)) * 0.5 if m.is_complex(x) else kept


def _qr_gradient(m, g, A_shape, outputs, mode):
    Q, R = outputs
    rows, columns = A_shape[-2:]
    if mode == 'r':
        raise RuntimeError("linalg_qr_backward: The derivative of linalg.qr depends on Q, which is not computed when "
                           "mode='r'. Please use linalg.qr(A, mode='reduced') if you are going to require gradients.")
    if mode == 'complete' and rows > columns:
        raise RuntimeError("The QR decomposition is not differentiable when mode='complete' and nrows > ncols")
    gQ, gR = g
    if rows >= columns:
        return _square_qr_gradient(m, gQ, gR, Q, R)
    rest = m.narrow(gR, -1, rows, columns - rows)
    right = m.matmul(Q, m.narrow(R, -1, rows, columns - rows))
    left = _square_qr_gradient(m, gQ + m.matmul(right, turned(m, rest)), m.narrow(gR, -1, 0, rows), Q,
                               m.narrow(R, -1, 0, rows))
    return m.cat([left, m.matmul(Q, rest)], -1)


@opaque(batch=in_front, name='_qr', namespace='', method=False, label='LinalgQrBackward0', grad={'A': _qr_gradient})
def _qr(m, A, mode):
    if mode == 'r':
        return np.zeros(0, A.dtype), np.linalg.qr(A, 'r')
    return tuple(np.linalg.qr(A, mode))


@published('linalg', name='qr', returns=('Q', 'R'))
def linalg_qr(A, mode='reduced'):
    """(Q, R) with A == Q @ R; mode is 'reduced', 'complete' or 'r' (Q is empty)."""
    need_matrix('linalg.qr', A)
    if mode not in ('reduced', 'complete', 'r'):
        raise RuntimeError(f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or "
                           "'complete'")
    return _qr(A, mode)


@published('torch', method=True, returns=('Q', 'R'))
def qr(input, some=True):
    """As `linalg.qr` with mode 'reduced' (`some`) or 'complete'."""
    need_matrix('qr', input)
    return _qr(input, 'reduced' if some else 'complete')


@opaque(name='_geqrf', namespace='', method=False)
def _geqrf(m, A):
    rows, columns = A.shape[-2:]
    run = lapack('geqrf', A.dtype)
    return tuple(each(lambda a: run(a)[:2] if a.size else (a, np.zeros(0, a.dtype)),
                      [(rows, columns), (min(rows, columns),)], A, dtypes_of=[A.dtype, A.dtype]))


@published('torch', method=True, returns=('a', 'tau'))
def geqrf(input):
    """(a, tau): R and the Householder reflections of a QR decomposition, as LAPACK packs them; without gradient."""
    need_matrix('geqrf', input)
    return _geqrf(input)


def _reflections(m, A, tau):
    """The vectors of Householder reflections below the diagonal of A, and their factors, one by one."""
    count = tau.shape[-1]
    head = m.narrow(A, -1, 0, count)
    V = m.tril(head, -1) + m.identity_like(head)
    return [(m.narrow(V, -1, k, 1), m.unsqueeze(m.narrow(tau, -1, k, 1), -1)) for k in range(count)]


def _reflected(m, v, factor, x):
    return x - m.matmul(v, factor * m.matmul(turned(m, v), x))


@composite(name='_householder_product', namespace='', method=False, label='LinalgHouseholderProductBackward0')
def _householder_product(m, A, tau):
    Q = m.identity_like(A)
    for v, factor in reversed(_reflections(m, A, tau)):
        Q = _reflected(m, v, factor, Q)
    return Q


def _check_reflections(name, A, tau):
    need_matrix(name, A)
    if A.dtype is not tau.dtype:
        raise RuntimeError(f'{name}: tau dtype {tau.dtype} does not match input dtype {A.dtype}')
    if A.shape[-2] < A.shape[-1]:
        raise RuntimeError(f'{name}: input.shape[-2] must be greater than or equal to input.shape[-1], got '
                           f'{list(A.shape)}')
    if tau.dim() != A.dim() - 1 or tuple(tau.shape[:-1]) != tuple(A.shape[:-2]):
        raise RuntimeError(f'{name}: Expected tau to have one dimension less than input and its batch sizes, got tau '
                           f'of shape {list(tau.shape)} for input of shape {list(A.shape)}')
    if A.shape[-1] < tau.shape[-1]:
        raise RuntimeError(f'{name}: input.shape[-1] must be greater than or equal to tau.shape[-1], got '
                           f'{list(A.shape)} and {list(tau.shape)}')


@published('linalg')
def householder_product(input, tau):
    """The first columns of the product of Householder reflections, as `geqrf` packs them."""
    _check_reflections('torch.linalg.householder_product', input, tau)
    return _householder_product(input, tau)


export('torch', method=True, name='orgqr')(householder_product)


@composite(name='_ormqr', namespace='', method=False)
def _ormqr(m, input, tau, other, left, transpose):
    if not left:  # C @ Q == (Q.mH @ C.mH).mH
        return turned(m, m._ormqr(input, tau, turned(m, other), True, not transpose))
    steps = _reflections(m, input, tau)
    for v, factor in steps if transpose else reversed(steps):
        other = _reflected(m, v, conjugated(m, factor) if transpose else factor, other)
    return other


@published('torch', method=True)
def ormqr(input, tau, other, left=True, transpose=False):
    """Q @ other (or other @ Q), Q the product of Householder reflections, conjugated and transposed by `transpose`."""
    need_matrix('ormqr', input, other)
    if tau.dim() != input.dim() - 1 or tuple(tau.shape[:-1]) != tuple(input.shape[:-2]) \
            or tau.shape[-1] > input.shape[-1]:
        raise RuntimeError(f'torch.ormqr: tau of shape {list(tau.shape)} does not fit input of shape '
                           f'{list(input.shape)}')
    if other.shape[-2 if left else -1] != input.shape[-2] or tuple(other.shape[:-2]) != tuple(input.shape[:-2]):
        raise RuntimeError(f'torch.ormqr: other.shape[{-2 if left else -1}] must be equal to input.shape[-2] and the '
                           f'batches alike, got {list(other.shape)} and {list(input.shape)}')
    if tau.dtype is not input.dtype:
        raise RuntimeError(f'torch.ormqr: Expected input and tau to have the same dtype, got {input.dtype} and '
                           f'{tau.dtype}')
    return _ormqr(input, tau, other, left, transpose)


# ---- eigenvalues

def _gaps(m, values):
    """values[j] - values[i], with ones where that is zero."""
    gap = m.unsqueeze(values, -2) - m.unsqueeze(values, -1)
    return m.where(gap == 0, m.ones_like(gap), gap)


def _diagonal_matrix(m, x, like):
    return m.unsqueeze(x, -1) * m.identity_like(like)


def _off_diagonal(m, x):
    return x * (1 - m.identity_like(x))


def _eig_gradient(m, g, outputs, A_dtype):
    (values, V), (g_values, gV) = outputs, g
    VH = turned(m, V)
    inner = m.matmul(VH, gV)
    along = m.sum(m.real_of(inner * m.identity_like(inner)), -2, True)
    inner = inner - m.matmul(VH, V * along)
    inner = _off_diagonal(m, inner / m.conj(_gaps(m, values))) + _diagonal_matrix(m, g_values, V)
    return m.cast(m._solution(VH, m.matmul(inner, VH))[0], A_dtype)


@opaque(batch=in_front, name='_eig', namespace='', method=False, label='LinalgEigBackward0', grad={'A': _eig_gradient})
def _eig(m, A):
    kind = dtypes.of(A.dtype).to_complex().numpy
    values, vectors = _converging(lambda: np.linalg.eig(A), 'linalg.eig')
    return values.astype(kind), vectors.astype(kind)


def _need_finite(name, A):
    if not np.isfinite(A._array).all():
        raise RuntimeError(f'{name}: input tensor should not contain infs or NaNs.')


@published('linalg', returns=('eigenvalues', 'eigenvectors'))
def eig(A):
    """(eigenvalues, eigenvectors as columns) of square matrices, complex."""
    need_square('linalg.eig', A)
    _need_finite('torch.linalg.eig', A)
    return _eig(A)


@opaque(name='_eigvals', namespace='', method=False)
def _eigvals(m, A):
    kind = dtypes.of(A.dtype).to_complex().numpy
    return _converging(lambda: np.linalg.eigvals(A), 'linalg.eigvals').astype(kind)


def _recorded(A):
    return A.requires_grad and is_grad_enabled()


@published('linalg')
def eigvals(A):
    """The eigenvalues of square matrices, complex."""
    need_square('linalg.eigvals', A)
    _need_finite('torch.linalg.eigvals', A)
    return _eig(A)[0] if _recorded(A) else _eigvals(A)


def _eigh_gradient(m, g, outputs):
    (values, V), (g_values, gV) = outputs, g
    VH = turned(m, V)
    inner = _off_diagonal(m, m.matmul(VH, gV) / _gaps(m, values)) + _diagonal_matrix(m, g_values, V)
    return m.matmul(m.matmul(V, inner), VH)


@opaque(batch=in_front, name='_eigh', namespace='', method=False, label='LinalgEighBackward0',
        grad={'A': _eigh_gradient})
def _eigh(m, A, UPLO):
    return tuple(_converging(lambda: np.linalg.eigh(A, UPLO), 'linalg.eigh'))


def _triangle_name(UPLO):
    if not isinstance(UPLO, str) or UPLO.upper() not in ('L', 'U'):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return UPLO.upper()


@published('linalg', returns=('eigenvalues', 'eigenvectors'))
def eigh(A, UPLO='L'):
    """(eigenvalues in ascending order, eigenvectors as columns) of symmetric or Hermitian matrices."""
    need_square('linalg.eigh', A)
    return _eigh(A, _triangle_name(UPLO))


@opaque(name='_eigvalsh', namespace='', method=False)
def _eigvalsh(m, A, UPLO):
    return _converging(lambda: np.linalg.eigvalsh(A, UPLO), 'linalg.eigvalsh')


@published('linalg')
def eigvalsh(A, UPLO='L'):
    """The eigenvalues of symmetric or Hermitian matrices in ascending order."""
    need_square('linalg.eigvalsh', A)
    return (_eigh(A, _triangle_name(UPLO))[0] if _recorded(A) else _eigvalsh(A, _triangle_name(UPLO)))


# ---- singular values

def _skew(m, x):
    return x - turned(m, x)


def _svd_gradient(m, g, outputs):
    (U, S, Vh), (gU, gS, gVh) = outputs, g
    k, rows, columns = S.shape[-1], U.shape[-2], Vh.shape[-1]
    U, gU, Vh, gVh = m.narrow(U, -1, 0, k), m.narrow(gU, -1, 0, k), m.narrow(Vh, -2, 0, k), m.narrow(gVh, -2, 0, k)
    UH, V = turned(m, U), turned(m, Vh)
    UHgU, VHgV = m.matmul(UH, gU), m.matmul(Vh, turned(m, gVh))
    across, down = m.unsqueeze(S, -2), m.unsqueeze(S, -1)
    gaps = _gaps(m, S * S)
    left, right = _skew(m, UHgU), _skew(m, VHgV)
    inner = _off_diagonal(m, left / gaps * across + down * (right / gaps)) + _diagonal_matrix(m, gS, UHgU)
    safe = m.where(S == 0, m.ones_like(S), S)
    if m.is_complex(U):
        inner = inner + left * m.identity_like(left) / (m.unsqueeze(safe, -2) * 2)
    made = m.matmul(U, inner)
    if rows > k:
        made = made + (gU - m.matmul(U, UHgU)) / m.unsqueeze(safe, -2)
    made = m.matmul(made, Vh)
    if columns > k:
        made = made + m.matmul(U, (gVh - m.matmul(m.matmul(gVh, V), Vh)) / m.unsqueeze(safe, -1))
    return made


@opaque(batch=in_front, name='_svd', namespace='', method=False, label='LinalgSvdBackward0', grad={'A': _svd_gradient})
def _svd(m, A, full_matrices):
    return tuple(_converging(lambda: np.linalg.svd(A, full_matrices), 'linalg.svd'))


@opaque(name='_svdvals', namespace='', method=False)
def _svdvals(m, A):
    return _converging(lambda: np.linalg.svd(A, compute_uv=False), 'linalg.svdvals')


@published('linalg', name='svd', returns=('U', 'S', 'Vh'))
def linalg_svd(A, full_matrices=True, *, driver=None):
    """(U, S, Vh) with A == U @ diag(S) @ Vh, singular values in descending order."""
    need_matrix('linalg.svd', A)
    if driver is not None:
        raise RuntimeError('torch.linalg.svd: keyword argument `driver=` is only supported on CUDA inputs with '
                           'cuSOLVER backend.')
    return _svd(A, full_matrices)


@published('linalg')
def svdvals(A, *, driver=None):
    """The singular values in descending order."""
    need_matrix('linalg.svdvals', A)
    return _svd(A, False)[1] if _recorded(A) else _svdvals(A)


@published('torch', method=True, returns=('U', 'S', 'V'))
def svd(input, some=True, compute_uv=True):
    """(U, S, V) with input == U @ diag(S) @ V.mH; U and V are zero without `compute_uv`."""
    need_matrix('svd', input)
    rows, columns = input.shape[-2:]
    if not compute_uv:
        batch = input.shape[:-2]
        return input.new_zeros((*batch, rows, rows)), svdvals(input), input.new_zeros((*batch, columns, columns))
    U, S, Vh = _svd(input, not some)
    return U, S, Vh.mH


# ---- by singular values: rank, pseudoinverse, least squares

def _tolerances(A, atol, rtol):
    """(atol, rtol) as tensors or numbers; without both, rtol is the dtype's precision times the larger side."""
    if rtol is None:
        default = dtypes.finfo(A.dtype.to_real()).eps * max(A.shape[-2:])
        if isinstance(atol, Tensor):
            rtol = (atol <= 0).to(A.dtype.to_real()) * default
        else:
            rtol = default if atol is None or atol <= 0 else 0.0
    return 0.0 if atol is None else atol, rtol


def _above(sizes, atol, rtol):
    """Which singular values (arrays) exceed max(atol, rtol * the largest)."""
    bound = np.maximum(atol, rtol * sizes.max(-1))
    return sizes > np.expand_dims(bound, -1)


@published('linalg')
def matrix_rank(A, tol=None, hermitian=False, *, atol=None, rtol=None):
    """How many singular values (with `hermitian`, absolute eigenvalues) exceed max(atol, rtol * the largest)."""
    need_matrix('linalg.matrix_rank', A)
    if tol is not None:
        atol, rtol = tol, 0.0
    if any(isinstance(t, Tensor) and t.is_complex() for t in (atol, rtol)):
        raise RuntimeError('torch.linalg.matrix_rank: atol and rtol tensors of complex type are not supported.')
    A = A.detach()
    sizes = eigvalsh(A).abs() if hermitian else svdvals(A)
    if not sizes.shape[-1]:
        return PUBLIC.zeros(A.shape[:-2], dtype=dtypes.int64)
    bounds = [t._array if isinstance(t, Tensor) else t for t in _tolerances(A, atol, rtol)]
    return wrap(np.asarray(_above(sizes._array, *bounds).sum(-1)))


def _pinv_gradient(m, g, A, output):
    P, PH, gH = output, turned(m, output), turned(m, g)
    rows, columns = A.shape[-2:]
    made = -m.matmul(m.matmul(PH, g), PH)
    if rows >= columns:
        inner = m.matmul(P, PH)
        outer = m.matmul(gH, inner)
        return made + outer - m.matmul(A, m.matmul(P, outer)) + _right_part(m, A, P, PH, gH)
    outer = m.matmul(m.matmul(gH, P), PH)
    return made + outer - m.matmul(A, m.matmul(P, outer)) + _right_part(m, A, P, PH, gH)


def _right_part(m, A, P, PH, gH):
    inner = m.matmul(PH, m.matmul(P, gH))
    return inner - m.matmul(m.matmul(inner, P), A)


@opaque(name='_pinv', namespace='', method=False, label='LinalgPinvBackward0', grad={'A': _pinv_gradient})
def _pinv(m, A, atol, rtol, hermitian):
    """The pseudoinverse, without the singular values up to max(atol, rtol * the largest)."""
    if hermitian:
        values, V = np.linalg.eigh(A)
        kept = _above(np.abs(values), atol, rtol)
        inverse = np.where(kept, 1 / np.where(kept, values, 1), 0)
        return (V * inverse[..., None, :]) @ turned(m, V)
    U, S, Vh = np.linalg.svd(A, full_matrices=False)
    kept = _above(S, atol, rtol)
    inverse = np.where(kept, 1 / np.where(kept, S, 1), 0).astype(S.dtype)
    return turned(m, Vh) @ (inverse[..., :, None] * turned(m, U))


@published('linalg')
def pinv(A, rcond=None, hermitian=False, *, atol=None, rtol=None):
    """The pseudoinverse; singular values up to max(atol, rtol * the largest) count as zero."""
    need_matrix('linalg.pinv', A)
    if hermitian:
        need_square('linalg.pinv', A)
    if not A.numel():
        return A.mT.clone()
    return _pinv(A, *_tolerances(A, atol, rtol if rcond is None else rcond), hermitian)


@published('torch', method=True)
def pinverse(input, rcond=1e-15):
    """As `linalg.pinv` with rtol=rcond."""
    return pinv(input, rtol=rcond)


def _lstsq_gradient(m, g, A, B, outputs, needed):
    P, gX = m._pinv(A, 0.0, 0.0, False), g[0]
    PH = turned(m, P)
    found = {'B': m.matmul(PH, gX)}
    if 'A' in needed:
        found['A'] = _pinv_gradient(m, m.matmul(gX, turned(m, B)), A, P)
    return found


@opaque(name='_lstsq', namespace='', method=False, label='LinalgLstsqBackward0', grad=_lstsq_gradient)
def _lstsq(m, A, B, rcond):
    """(X of smallest norm that minimizes |A @ X - B|, rank, singular values)."""
    (rows, columns), count = A.shape[-2:], B.shape[-1]
    k = min(rows, columns)
    real = A.real.dtype

    def compute(a, b):
        if not a.size:
            return np.zeros((columns, count), a.dtype), 0, np.zeros(k, real)
        x, _, rank, values = np.linalg.lstsq(a, b, rcond=rcond)
        return x, rank, values
    return tuple(each(compute, [(columns, count), (), (k,)], A, B, dtypes_of=[A.dtype, np.int64, real]))


@published('linalg', returns=('solution', 'residuals', 'rank', 'singular_values'))
def lstsq(A, B, rcond=None, *, driver=None):
    """(solution, residuals, rank, singular_values) of the least squares problem A @ X == B.

    `driver` is 'gels', 'gelsy' (the default), 'gelsd' or 'gelss': which of the results are filled depends on it.
    """
    need_matrix('torch.linalg.lstsq', A)
    if B.dtype is not A.dtype:
        raise RuntimeError(f'torch.linalg.lstsq: Expected input and other to have the same dtype, but got {A.dtype} '
                           f'and {B.dtype}')
    if driver not in (None, 'gels', 'gelsy', 'gelsd', 'gelss'):
        raise RuntimeError(f"torch.linalg.lstsq: parameter `driver` should be one of (gels, gelsy, gelsd, gelss), got "
                           f'{driver}')
    vector = A.dim() - 1 == B.dim() and tuple(A.shape[:-1]) == tuple(B.shape)
    right = B.unsqueeze(-1) if vector else B
    if right.dim() < 2 or right.shape[-2] != A.shape[-2]:
        raise RuntimeError(f'torch.linalg.lstsq: input.size(-2) should match other.size(-2), got shapes '
                           f'{list(A.shape)} and {list(B.shape)}')
    A, right = _expanded('torch.linalg.lstsq', A, right)
    rows, columns = A.shape[-2:]
    bound = dtypes.finfo(A.dtype.to_real()).eps * max(rows, columns) if rcond is None else rcond
    X, rank, values = _lstsq(A, right, bound)
    residuals = X.reshape(-1)[:0].abs()
    if rows > columns and driver != 'gelsy' and driver is not None and (rank._array == columns).all():
        away = matmul(A, X) - right
        residuals = (away.abs() ** 2 if away.is_complex() else away * away).sum(-2)
        residuals = residuals.squeeze(-1) if vector else residuals
    rank = PUBLIC.empty(0, dtype=dtypes.int64) if driver == 'gels' else rank
    values = values if driver in ('gelsd', 'gelss') else PUBLIC.empty(0, dtype=A.dtype.to_real())
    return X.squeeze(-1) if vector else X, residuals, rank, values


# ---- the exponential

def _exponential_gradient(m, g, A):
    """By the exponential of [[A.mH, g], [0, A.mH]], whose upper right block it is (Najfeld and Havel, 1995)."""
    n = A.shape[-1]
    AH = turned(m, A)
    above, below = m.cat([AH, g], -1), m.cat([m.zeros_like(g), AH], -1)
    return m.narrow(m.narrow(m._matrix_exp(m.cat([above, below], -2)), -2, 0, n), -1, n, n)


@opaque(batch=in_front, name='_matrix_exp', namespace='', method=False, label='LinalgMatrixExpBackward0',
        grad={'A': _exponential_gradient})
def _matrix_exp(m, A):
    if not A.size:
        return A.copy()
    import scipy.linalg
    return scipy.linalg.expm(A).astype(A.dtype)


@published('torch linalg', method=True)
def matrix_exp(A):
    """The exponential of square matrices."""
    need_square('linalg.matrix_exp', A)
    return _matrix_exp(A)


# ---- approximate decompositions of low rank (Halko, Martinsson and Tropp, 2011)

def _range_basis(A, q, niter, M):
    """Columns that nearly span the range of A - M, by `niter` subspace iterations from random ones."""
    def applied(X, transposed):
        made = matmul(A.mH if transposed else A, X)
        return made if M is None else made - matmul(M.mH if transposed else M, X)
    Q = linalg_qr(applied(PUBLIC.randn(A.shape[-1], q, dtype=A.dtype), False)).Q
    for _ in range(niter):
        Q = linalg_qr(applied(Q, True)).Q
        Q = linalg_qr(applied(Q, False)).Q
    return Q


@export()
def svd_lowrank(A, q=6, niter=2, M=None):
    """(U, S, V) that approximate the `q` largest singular values and their vectors of A (of A - M)."""
    q = 6 if q is None else q
    if M is not None:
        M = M.broadcast_to(A.shape)
    flipped = A.shape[-2] < A.shape[-1]
    if flipped:
        A, M = A.mH, None if M is None else M.mH
    Q = _range_basis(A, q, niter, M)
    U, S, Vh = linalg_svd(matmul(Q.mH, A if M is None else A - M), full_matrices=False)
    U, V = matmul(Q, U), Vh.mH
    return (V, S, U) if flipped else (U, S, V)


@export()
def pca_lowrank(A, q=None, center=True, niter=2):
    """(U, S, V) of a principal component analysis of the rows of A, whose mean is taken off with `center`."""
    q = min(6, *A.shape[-2:]) if q is None else q
    if not 0 <= q <= min(A.shape[-2:]):
        raise ValueError(f'q(={q}) must be non-negative integer and not greater than min(m, n)={min(A.shape[-2:])}')
    if not niter >= 0:
        raise ValueError(f'niter(={niter}) must be non-negative integer')
    return svd_lowrank(A - A.mean(-2, True) if center else A, q, niter)
