"""Special functions: identities, values far out, gradients, half types; masked operations; PyTorch."""
import math

import numpy as np
import pytest

import flambeau as torch

S = torch.special
INF, NAN = math.inf, math.nan
X = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)


@pytest.mark.parametrize('found, expected', [
    (S.erf(X) + S.erfc(X), torch.ones_like(X)), (S.erf(S.erfinv(X)), X), (S.ndtr(S.ndtri(X)), X),
    (S.log_ndtr(X).exp(), S.ndtr(X)), (S.erfcx(X), (X * X).exp() * S.erfc(X)), (S.expit(S.logit(X)), X),
    (S.gammaln(X + 1), X.log() + S.gammaln(X)), (S.digamma(X + 1), S.digamma(X) + 1 / X),
    (S.polygamma(1, X), S.zeta(2.0, X)), (S.gammainc(X, X + 1) + S.gammaincc(X, X + 1), torch.ones_like(X)),
    (S.multigammaln(X + 1, 2), math.log(math.pi) / 2 + S.gammaln(X + 1) + S.gammaln(X + 0.5)),
    (S.i0e(X), S.i0(X) * (-X).exp()), (S.i1e(X), S.i1(X) * (-X).exp()), (S.modified_bessel_i1(X), S.i1(X)),
    (S.scaled_modified_bessel_k1(X), S.modified_bessel_k1(X) * X.exp()), (S.spherical_bessel_j0(X), X.sin() / X),
    (S.xlog1py(X, X), X * (1 + X).log()), (S.entr(X), -X * X.log()), (S.sinc(X) * X * math.pi, (X * math.pi).sin()),
    (S.chebyshev_polynomial_t(X, 3), 4 * X ** 3 - 3 * X), (S.chebyshev_polynomial_u(X, 2), 4 * X ** 2 - 1),
    (S.chebyshev_polynomial_v(X, 2), 4 * X ** 2 - 2 * X - 1), (S.chebyshev_polynomial_w(X, 2), 4 * X ** 2 + 2 * X - 1),
    (S.shifted_chebyshev_polynomial_t(X, 1), 2 * X - 1), (S.hermite_polynomial_h(X, 2), 4 * X ** 2 - 2),
    (S.hermite_polynomial_he(X, 2), X ** 2 - 1), (S.laguerre_polynomial_l(X, 1), 1 - X),
    (S.legendre_polynomial_p(X, 2), 1.5 * X ** 2 - 0.5), (S.legendre_polynomial_p(X, -1), torch.zeros_like(X))])
def test_identities(found, expected):
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize('name, arguments, expected', [
    ('erf', ([0.0, INF, -INF, NAN],), [0, 1, -1, NAN]), ('erfinv', ([1.0, -1.0, 2.0],), [INF, -INF, NAN]),
    ('log_ndtr', ([-400.0],), [-80006.91045]), ('erfcx', ([400.0],), [0.0014104695]),
    ('gammaln', ([0.0, -1.0, INF, -INF],), [INF, INF, INF, INF]), ('digamma', ([-1.0],), [NAN]),
    ('xlog1py', ([0.0, 0.0], [-1.0, NAN]), [0, NAN]), ('xlogy', ([0.0, 0.0], [0.0, NAN]), [0, NAN]),
    ('entr', ([0.0, -1.0, NAN],), [0, -INF, NAN]), ('logit', ([0.0, 1.0, 2.0],), [-INF, INF, NAN]),
    ('i0e', ([400.0],), [0.0199533]), ('spherical_bessel_j0', ([0.0, INF],), [1, 0]),
    ('chebyshev_polynomial_t', ([INF, -INF, NAN], [2.0, 3.0, 0.0]), [INF, -INF, 1]),
    ('laguerre_polynomial_l', ([INF, INF], [1.0, 2.0]), [-INF, INF]),
    ('zeta', ([1.0, 0.5], [1.0, 1.0]), [INF, NAN]), ('ndtri', ([0.0, 0.5, 1.0],), [-INF, 0, INF])])
def test_values_at_the_edges(name, arguments, expected):
    found = getattr(S, name)(*map(torch.tensor, arguments))
    np.testing.assert_allclose(found.numpy(), np.array(expected), rtol=1e-5)


DIFFERENTIABLE = ('digamma', 'entr', 'erf', 'erfc', 'erfcx', 'erfinv', 'gammaln', 'i0', 'i0e', 'i1', 'i1e', 'log_ndtr',
                  'logit', 'ndtr', 'ndtri', 'sinc')


@pytest.mark.parametrize('function', [
    *(getattr(S, n) for n in DIFFERENTIABLE), lambda x: S.polygamma(2, x), lambda x: S.multigammaln(x + 1, 2),
    lambda x: S.gammainc(X + 1, x), lambda x: S.gammaincc(X + 1, x), lambda x: S.zeta(X + 2, x),
    lambda x: S.xlog1py(x, x + 1), lambda x: torch.logit(x, 0.05), lambda x: S.log_softmax(x, 0)])
def test_gradients(function):
    x = X.clone().requires_grad_()
    assert torch.autograd.gradcheck(function, (x,))
    assert torch.autograd.gradgradcheck(function, (x,))


def test_gradient_of_bessel_functions_at_zero():
    x = torch.zeros(1, requires_grad=True)
    for function, slope in ((S.i1, 0.5), (S.i1e, 0.5), (S.i0, 0.0)):
        assert torch.autograd.grad(function(x), x)[0].item() == slope


def test_forms_and_dtypes():
    x = torch.tensor([0.25, 0.5])
    assert x.erf().tolist() == torch.erf(x).tolist() == S.erf(x).tolist()
    assert x.clone().lgamma_().tolist() == S.gammaln(x).tolist() and x.polygamma(1).shape == (2,)
    assert torch.erf(torch.tensor([1])).dtype is torch.float32
    assert torch.erf(x.half()).dtype is torch.float16 and torch.igamma(x, x).dtype is torch.float32
    assert S.xlog1py(2, x).shape == (2,)
    with pytest.raises(RuntimeError):
        S.polygamma(-1, x)
    with pytest.raises(RuntimeError):
        S.multigammaln(x, 0)


def test_agrees_with_pytorch_over_a_wide_range():
    theirs = pytest.importorskip('torch')
    values = np.array([0.0, 1e-30, 0.3, 1.0, 5.0, 30.0, 400.0, -0.3, -5.5, np.nan])
    for name in theirs.special.__all__:
        function = getattr(theirs.special, name)
        try:
            expected = function(theirs.tensor(values)).numpy()
        except TypeError:  # takes more arguments
            continue
        found = getattr(S, name)(torch.tensor(values)).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6, err_msg=name)


# ---- torch.masked

M = torch.masked
A = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
MASK = torch.tensor([[True, False, True], [False, False, False]])


@pytest.mark.parametrize('name, arguments, expected', [
    ('sum', (1,), [4, 0]), ('prod', (1,), [3, 1]), ('amax', (1,), [3, -INF]), ('amin', (1,), [1, INF]),
    ('mean', (1,), [2, NAN]), ('median', (1,), [1, NAN]), ('argmax', (1,), [2, 0]), ('argmin', (1,), [0, 0]),
    ('norm', (2, 1), [10 ** 0.5, 0]), ('norm', (-INF, 1), [1, INF]), ('var', (1,), [2, NAN]),
    ('var', (1, False), [1, NAN]),
    ('std', (1,), [2 ** 0.5, NAN]), ('logsumexp', (1,), [math.log(math.e + math.e ** 3), -INF]),
    ('sum', (), 4), ('mean', (), 2), ('cumsum', (1,), [[1, 1, 4], [0, 0, 0]]),
    ('cumprod', (1,), [[1, 1, 3], [1, 1, 1]]),
    ('normalize', (1, 1), [[0.25, 0, 0.75], [0, 0, 0]])])
def test_masked_operations_count_what_the_mask_lets_through(name, arguments, expected):
    np.testing.assert_allclose(getattr(M, name)(A, *arguments, mask=MASK).numpy(), np.array(expected), rtol=1e-6)


def test_masked_softmax_and_its_gradient():
    x = A.clone().requires_grad_()
    made = M.softmax(x, 1, mask=MASK)[0]
    assert made[1].item() == 0 and made.sum().item() == pytest.approx(1)
    made[0].backward()
    assert x.grad[0, 1].item() == 0 and x.grad[0, 0].item() == pytest.approx(-x.grad[0, 2].item()) != 0
    assert M.sum(A).item() == 21 and M.sum(torch.tensor([1, 2])).dtype is torch.int64


def test_masks_of_too_many_dimensions_are_refused():
    with pytest.raises(IndexError):
        M.sum(A, mask=torch.ones(1, 2, 3, dtype=torch.bool))
