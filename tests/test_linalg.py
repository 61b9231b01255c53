"""Linear algebra: what each function promises of its results, gradients of first and second order, errors, PyTorch."""
import numpy as np
import pytest

import flambeau as torch

L = torch.linalg
INF = float('inf')


def matrices(*shape, seed=0, complex_=False):
    draw = np.random.default_rng(seed)
    made = draw.standard_normal(shape)
    return torch.tensor(made + 1j * draw.standard_normal(shape) if complex_ else made)


def positive(n, seed=0, complex_=False):
    a = matrices(2, n, n, seed=seed, complex_=complex_)
    return a @ a.mH + torch.eye(n, dtype=a.dtype)


def close(a, b, tolerance=1e-10):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance)


def eye_like(a):
    return torch.eye(a.shape[-1], dtype=a.dtype).expand(a.shape)


@pytest.mark.parametrize('complex_', [False, True])
@pytest.mark.parametrize('shape', [(3, 3), (2, 3, 5), (2, 5, 3), (0, 3, 3), (2, 0, 0)])
def test_decompositions_give_the_matrix_back(shape, complex_):
    a = matrices(*shape, complex_=complex_)
    q, r = L.qr(a)
    close(q @ r, a)
    u, s, vh = L.svd(a, full_matrices=False)
    close((u * s.unsqueeze(-2)) @ vh, a)
    assert (s[..., :-1] >= s[..., 1:]).all()
    p, lower, upper = L.lu(a)
    close(p @ lower @ upper, a)
    close(L.svdvals(a), s)
    close(a @ L.pinv(a) @ a, a)


@pytest.mark.parametrize('complex_', [False, True])
def test_square_decompositions_and_solutions(complex_):
    a, b = matrices(2, 4, 4, complex_=complex_), matrices(2, 4, 3, seed=1, complex_=complex_)
    values, vectors = L.eig(a)
    close(a.to(vectors.dtype) @ vectors, vectors * values.unsqueeze(-2))
    close(a @ L.solve(a, b), b)
    close(L.solve(a, b.mT, left=False) @ a, b.mT)
    close(a @ L.inv(a), eye_like(a))
    lu, pivots = L.lu_factor(a)
    close(a @ L.lu_solve(lu, pivots, b), b)
    close(a.mH @ L.lu_solve(lu, pivots, b, adjoint=True), b)
    close(L.lu_solve(lu, pivots, b.mT, left=False) @ a, b.mT)
    close(L.lstsq(a, b).solution, L.solve(a, b))
    close(L.matrix_power(a, -3), L.inv(a @ a @ a), 1e-6)
    assert int(L.matrix_rank(a[0, :, :2] @ a[0, :2, :])) == 2


@pytest.mark.parametrize('complex_', [False, True])
def test_positive_definite_matrices(complex_):
    a, b = positive(4, complex_=complex_), matrices(2, 4, 2, seed=1, complex_=complex_)
    factor = L.cholesky(a)
    close(factor @ factor.mH, a)
    close(L.cholesky(a, upper=True), factor.mH)
    close(a @ torch.cholesky_solve(b, factor), b)
    close(a @ torch.cholesky_inverse(factor), eye_like(a))
    values, vectors = L.eigh(a)
    close((vectors * values.unsqueeze(-2)) @ vectors.mH, a)
    close(L.eigvalsh(a), values)
    close(a @ L.ldl_solve(*L.ldl_factor(a, hermitian=True), b, hermitian=True), b)


def test_reflections_multiply_as_their_product():
    a = matrices(2, 5, 3)
    packed, tau = torch.geqrf(a)
    q = L.householder_product(packed, tau)
    close(q @ packed[..., :3, :].triu(), a)
    b = matrices(2, 5, 4, seed=1)
    close(torch.ormqr(packed, tau, b, transpose=True)[..., :3, :], q.mT @ b)
    close(torch.ormqr(packed, tau, b.mT, left=False)[..., :3], b.mT @ q)


@pytest.mark.parametrize('ord', [0, 0.5, 1, 2, 3, INF, -INF, -1])
@pytest.mark.parametrize('dim, keepdim', [(None, False), (1, True), ((0, 2), False)])
def test_vector_norms_agree_with_their_definition(ord, dim, keepdim):
    a = matrices(2, 3, 4, complex_=True)
    size = np.abs(a.numpy())
    axes = dim if dim is not None else (0, 1, 2)
    if abs(ord) == INF:
        expected = (size.max if ord > 0 else size.min)(axis=axes, keepdims=keepdim)
    else:
        expected = ((size != 0).sum(axes, keepdims=keepdim) if ord == 0 else
                    (size ** ord).sum(axes, keepdims=keepdim) ** (1 / ord))
    np.testing.assert_allclose(L.vector_norm(a, ord, dim, keepdim).numpy(), expected)


@pytest.mark.parametrize('ord', ['fro', 'nuc', 1, -1, 2, -2, INF, -INF])
def test_matrix_norms_agree_with_numpy(ord):
    a = matrices(4, 3)
    np.testing.assert_allclose(L.matrix_norm(a, ord).item(), np.linalg.norm(a.numpy(), ord))
    assert L.matrix_norm(matrices(4, 2, 3), ord, (0, 2), True).shape == (1, 2, 1)


def spd(a):
    return a @ a.mH + torch.eye(a.shape[-1], dtype=a.dtype)


def hermitian(a):
    return a + a.mH


SQUARE = {
    'det': L.det, 'logabsdet': lambda a: L.slogdet(a).logabsdet, 'inv': L.inv, 'matrix_exp': L.matrix_exp,
    'matrix_power': lambda a: L.matrix_power(a, 3), 'cholesky': lambda a: L.cholesky(spd(a)),
    'eigvals': lambda a: L.eigvals(a).abs().sum(-1), 'eigvalsh': lambda a: L.eigvalsh(hermitian(a)),
    'eigenvectors': lambda a: L.eigh(hermitian(a)).eigenvectors.abs(), 'cond': L.cond,
    'eig': lambda a: L.eig(a).eigenvectors.abs(),
    'lu': lambda a: L.lu(a)[1:], 'cholesky_inverse': lambda a: torch.cholesky_inverse(L.cholesky(spd(a))),
    'solve': lambda a: L.solve(a, a @ a + a.mH), 'solve_triangular': lambda a: L.solve_triangular(a, a.mH, upper=True)}
OBLONG = {
    'qr': lambda a: L.qr(a).R.abs(), 'svdvals': L.svdvals, 'pinv': L.pinv, 'nuc': lambda a: L.matrix_norm(a, 'nuc'),
    'svd': lambda a: [part.abs() for part in L.svd(a, full_matrices=False)], 'lu': lambda a: L.lu(a)[1:],
    'lstsq': lambda a: L.lstsq(a, a @ a.mH).solution, 'norm3': lambda a: L.vector_norm(a, 3, -1),
    'multi_dot': lambda a: L.multi_dot([a, a.mT, a]), 'kron': lambda a: torch.kron(a, a[:1])}


@pytest.mark.parametrize('complex_', [False, True])
@pytest.mark.parametrize('name, function, shape', [
    *((n, f, (3, 3)) for n, f in SQUARE.items()), *((n, f, (4, 2)) for n, f in OBLONG.items()),
    *((n, f, (2, 4)) for n, f in OBLONG.items())])
def test_gradients(name, function, shape, complex_):
    a = matrices(*shape, seed=3, complex_=complex_).requires_grad_()
    assert torch.autograd.gradcheck(function, (a,))
    if not complex_:
        assert torch.autograd.gradgradcheck(function, (a,))


def test_determinant_of_singular_matrices_has_its_cofactors_as_gradient():
    a = torch.tensor([[1.0, 2.0], [2.0, 4.0]], requires_grad=True)
    L.det(a).backward()
    close(a.grad, torch.tensor([[4.0, -2.0], [-2.0, 1.0]]), 1e-5)
    zero = torch.zeros(2, 2, requires_grad=True)
    L.det(zero).backward()
    assert (zero.grad == 0).all()


def test_equal_eigenvalues_leave_a_finite_gradient():
    a = torch.eye(3, requires_grad=True)
    L.eigvalsh(a).sum().backward()
    close(a.grad, torch.eye(3))


SINGULAR = torch.zeros(2, 2, 2) + torch.tensor([[1.0, 2.0], [2.0, 4.0]])


@pytest.mark.parametrize('call, error, words', [
    (lambda: L.inv(SINGULAR), L.LinAlgError, 'diagonal element 2 is zero'),
    (lambda: L.solve(SINGULAR, torch.ones(2, 2)), L.LinAlgError, 'Batch element 0'),
    (lambda: L.cholesky(-torch.eye(2)), L.LinAlgError, 'not positive-definite'),
    (lambda: L.inv_ex(SINGULAR, check_errors=True), L.LinAlgError, 'singular'),
    (lambda: L.lu_factor(SINGULAR), RuntimeError, 'zero'),
    (lambda: L.lu(SINGULAR, pivot=False), RuntimeError, 'pivoting'),
    (lambda: L.det(torch.ones(2, 3)), RuntimeError, 'square'),
    (lambda: L.det(torch.ones(2, 2, dtype=torch.int64)), RuntimeError, 'floating point'),
    (lambda: L.det(torch.ones(2, 2).half()), RuntimeError, 'Low precision'),
    (lambda: L.det(2.0), TypeError, 'must be Tensor'),
    (lambda: L.svd(torch.ones(3)), RuntimeError, 'at least 2 dimensions'),
    (lambda: L.qr(torch.ones(2, 2), mode='odd'), RuntimeError, 'unrecognized mode'),
    (lambda: L.solve(torch.eye(2), torch.ones(3, 1)), RuntimeError, 'Incompatible shapes'),
    (lambda: L.eig(torch.full((2, 2), float('nan'))), RuntimeError, 'infs or NaNs'),
    (lambda: L.vector_norm(torch.ones(2, dtype=torch.int64)), RuntimeError, 'floating point'),
    (lambda: L.vector_norm(torch.ones(0), INF), RuntimeError, 'identity'),
    (lambda: L.matrix_norm(torch.ones(2, 2), 3), RuntimeError, 'not supported'),
    (lambda: L.matrix_norm(torch.ones(2, 2), 'fro', (0, 0)), RuntimeError, 'different'),
    (lambda: L.cross(torch.ones(2), torch.ones(2)), RuntimeError, 'length 3'),
    (lambda: L.multi_dot([torch.ones(2, 3), torch.ones(2, 3)]), RuntimeError, 'cannot be multiplied'),
])
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_infos_say_which_matrices_failed():
    batch = torch.stack([torch.eye(2), SINGULAR[0]])
    inverse, info = L.inv_ex(batch)
    assert info.tolist() == [0, 2]
    close(inverse[0], torch.eye(2))
    assert L.cholesky_ex(torch.stack([torch.eye(2), -torch.eye(2)])).info.tolist() == [0, 1]


def test_results_are_written_into_out_and_named():
    u, s, v = torch.empty(0), torch.empty(0), torch.empty(0)
    made = L.svd(torch.eye(2), out=(u, s, v))
    assert made.S is s and type(made) is torch.return_types.linalg_svd
    place = torch.empty(0)
    assert L.det(torch.eye(2), out=place) is place and place.item() == 1


def test_low_rank_approximations():
    a = matrices(20, 3) @ matrices(3, 10, seed=1)
    u, s, v = torch.svd_lowrank(a, q=4)
    close((u * s) @ v.mT, a, 1e-8)
    u, s, v = torch.pca_lowrank(a, q=4)
    close((u * s) @ v.mT, a - a.mean(0), 1e-8)


AGAINST = {'tensorinv': ((6, 2, 3), {'ind': 1}), 'vander': ((2, 4), {}), 'cond': ((3, 3), {'p': 'fro'}),
           'matrix_norm': ((2, 3, 3), {'ord': -1}), 'norm': ((3, 4), {'ord': 'nuc'}), 'cross': ((2, 3), {}),
           'tensorsolve': ((2, 3, 6), {}), 'vecdot': ((2, 3), {}), 'slogdet': ((2, 3, 3), {}),
           'lu_factor': ((2, 3, 3), {}), 'ldl_factor': ((3, 3), {}), 'diagonal': ((3, 4), {'offset': 1})}
SECOND = {'cross': (2, 3), 'vecdot': (2, 3), 'tensorsolve': (2, 3)}


@pytest.mark.parametrize('name', AGAINST)
def test_agrees_with_pytorch(name):
    theirs = pytest.importorskip('torch')
    shape, options = AGAINST[name]
    operands = [matrices(*shape).numpy()] + ([matrices(*SECOND[name], seed=1).numpy()] if name in SECOND else [])
    if name == 'ldl_factor':
        operands[0] = operands[0] + operands[0].T
    found = getattr(L, name)(*map(torch.tensor, operands), **options)
    expected = getattr(theirs.linalg, name)(*map(theirs.tensor, operands), **options)
    for f, e in zip(*((x,) if hasattr(x, 'shape') else x for x in (found, expected))):
        np.testing.assert_allclose(f.numpy(), e.numpy(), rtol=1e-9, atol=1e-12)
        assert str(f.dtype) == str(e.dtype)
