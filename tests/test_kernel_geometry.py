"""Cross products and distances of pairs by generated kernels, against array functions."""
import math

import numpy as np
import pytest

pytest.importorskip('llvmlite')

import flambeau  # noqa: E402
from flambeau.autograd import gradcheck, gradgradcheck  # noqa: E402
from flambeau.backends.cpu import geometry, properties  # noqa: E402

pytestmark = pytest.mark.skipif(not properties.jit_is_on(), reason='kernels are switched off')
CLOSE = {'float32': dict(rtol=1e-4, atol=1e-4), 'float64': dict(rtol=1e-11, atol=1e-11)}


@pytest.mark.parametrize('dtype', CLOSE)
@pytest.mark.parametrize('shape, axis', [((501, 3), 1), ((3, 777), 0), ((9, 3, 50), -2), ((7, 20, 3, 3), 3),
                                         ((4099, 3), -1), ((2, 3, 5000), 1)])
def test_cross_products(shape, axis, dtype):
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(shape[::-1]).astype(dtype).T for _ in range(2))
    made = geometry.crossed(x, y, axis)
    np.testing.assert_allclose(made, np.cross(x, y, axis=axis), **CLOSE[dtype])
    assert geometry.crossed(x.astype(int), y.astype(int), axis) is None


@pytest.mark.parametrize('dtype', CLOSE)
@pytest.mark.parametrize('p', [1, 2, math.inf])
@pytest.mark.parametrize('rows, columns', [(2, 1), (5, 3), (70, 64), (131, 17), (33, 200), (90, 0)])
def test_distances_of_pairs(rows, columns, p, dtype):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, columns)).astype(dtype)
    first, second = np.triu_indices(rows, 1)
    apart = x[first].astype(float) - x[second]
    if columns or p != math.inf:
        np.testing.assert_allclose(geometry.pairs(x, p), np.linalg.norm(apart, p, -1), **CLOSE[dtype])
    weight = rng.standard_normal(len(first)).astype(dtype)
    made = geometry.pairs_adjoint(x, weight, p)
    if p == math.inf:
        assert made is None
        return
    shares = weight[:, None] * (np.sign(apart) if p == 1 else apart)
    expected = np.zeros(x.shape)
    np.add.at(expected, first, shares)
    np.add.at(expected, second, -shares)
    np.testing.assert_allclose(made, expected, **CLOSE[dtype])


def test_derivatives():
    x, y = (flambeau.randn(5, 3, dtype=flambeau.float64, requires_grad=True) for _ in range(2))
    for function in (lambda x, y: flambeau.linalg.cross(x, y), lambda x, y: flambeau.cross(x.T, y.T, 0)):
        assert gradcheck(function, (x, y)) and gradgradcheck(function, (x, y))
    for p in (1, 2, 3, math.inf):
        assert gradcheck(lambda x: flambeau.pdist(x, p), (x,))
    assert gradgradcheck(flambeau.pdist, (x,))


def test_rows_that_are_equal_have_no_slope():
    x = flambeau.ones(4, 3, requires_grad=True)
    flambeau.pdist(x).sum().backward()
    assert not x.grad.any()
    x = flambeau.zeros(3, 2)
    x[1, 0] = math.nan
    assert flambeau.pdist(x, math.inf).isnan().tolist() == flambeau.pdist(x).isnan().tolist() == [True, False, True]


def test_the_same_bits_on_any_number_of_threads():
    x = np.random.default_rng(0).standard_normal((150, 33)).astype(np.float32)
    weight = np.linspace(-1, 1, 150 * 149 // 2, dtype=np.float32)
    before = flambeau.get_num_threads()
    try:
        made = []
        for threads in (1, 3):
            flambeau.set_num_threads(threads)
            made.append([a.tobytes() for a in (geometry.crossed(x.reshape(-1, 3), x[::-1].reshape(-1, 3), 1),
                                               geometry.pairs(x, 2), geometry.pairs_adjoint(x, weight, 2))])
    finally:
        flambeau.set_num_threads(before)
    assert made[0] == made[1]
