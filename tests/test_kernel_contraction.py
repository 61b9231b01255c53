"""Products of matrices by generated kernels, against float64."""
import numpy as np
import pytest

pytest.importorskip('llvmlite')
import ml_dtypes  # noqa: E402

import flambeau as torch  # noqa: E402
from flambeau.backends.cpu.contraction import matmul  # noqa: E402
from flambeau.backends.cpu.properties import jit_is_on  # noqa: E402

pytestmark = pytest.mark.skipif(not jit_is_on(), reason='kernels are switched off')
DTYPES = {'float32': 3e-6, 'float64': 1e-14, 'bfloat16': 8e-3}  # and the error allowed, of the largest value
WHOLE = 'int8', 'uint8', 'int16', 'int32', 'int64'
SIZES = [(1, 1, 1), (1, 70, 300), (1, 203, 1), (310, 131, 2), (3, 65, 50), (5, 3, 7), (14, 40, 33), (30, 17, 64), (128, 100, 10), (61, 500, 70), (100, 1024, 512), (600, 520, 530),
         (16, 70, 100), (31, 500, 130), (7, 203, 131), (12, 64, 30), (2, 40, 5)]


def made(random, shape, dtype, turned):
    values = random.standard_normal((*shape[:-2], shape[-1], shape[-2]) if turned else shape).astype(dtype)
    return values.swapaxes(-1, -2) if turned else values


def assert_product(x, y, bias=None):
    got = matmul(x, y, None, bias)
    expected = np.matmul(x.astype(float), y.astype(float)) + (0 if bias is None else bias.astype(float))
    assert got.dtype == x.dtype and got.shape == expected.shape
    assert np.abs(got.astype(float) - expected).max() <= DTYPES[x.dtype.name] * np.abs(expected).max()


@pytest.mark.parametrize('turned', [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize('dtype', DTYPES)
def test_products_of_any_size_and_layout(dtype, turned):
    random = np.random.default_rng(0)
    kind = ml_dtypes.bfloat16 if dtype == 'bfloat16' else dtype
    for m, k, n in SIZES:
        x, y = made(random, (m, k), kind, turned[0]), made(random, (k, n), kind, turned[1])
        assert_product(x, y)
        assert_product(x, y, random.standard_normal(n).astype(kind))


@pytest.mark.parametrize('dtype', DTYPES)
def test_batches_broadcast_and_strided_matrices(dtype):
    random = np.random.default_rng(1)
    kind = ml_dtypes.bfloat16 if dtype == 'bfloat16' else dtype
    assert_product(made(random, (3, 2, 20, 30), kind, False), made(random, (3, 2, 30, 9), kind, True))
    assert_product(made(random, (5, 20, 30), kind, True), np.broadcast_to(made(random, (30, 9), kind, False), (5, 30, 9)))
    assert_product(made(random, (4, 1, 70), kind, False), made(random, (4, 70, 33), kind, True))
    assert_product(made(random, (40, 60), kind, False)[::2, ::3], made(random, (60, 40), kind, False)[::-3, ::-1])


@pytest.mark.parametrize('dtype', WHOLE)
def test_products_of_whole_numbers_wrap_around(dtype):
    random, limits = np.random.default_rng(7), np.iinfo(dtype)
    for m, k, n in (1, 70, 300), (5, 3, 7), (310, 131, 2), (33, 9, 40), (29, 600, 64):
        for turned in 0, 3:
            x, y, bias = (random.integers(limits.min, limits.max, s, dtype) for s in (
                (k, m) if turned & 1 else (m, k), (n, k) if turned & 2 else (k, n), (n,)))
            x, y = x.T if turned & 1 else x, y.T if turned & 2 else y
            for added in (bias, None)[turned > 0:]:
                got = matmul(x, y, None, added)
                assert got.dtype == dtype
                np.testing.assert_array_equal(got, x @ y if added is None else x @ y + added)
    x, y = (random.integers(limits.min, limits.max, (5, 33, 33), dtype) for _ in range(2))
    np.testing.assert_array_equal(matmul(x, y.swapaxes(1, 2)), x @ y.swapaxes(1, 2))


def test_wide_rows_that_share_cache_lines_are_packed():
    random = np.random.default_rng(2)
    assert_product(made(random, (50, 1024), 'float32', False), made(random, (1024, 600), 'float32', False))
    assert_product(made(random, (300, 700), 'float32', True), made(random, (700, 300), 'float32', False))


def test_products_are_added_to_a_given_array():
    random = np.random.default_rng(3)
    for rows, turned in (50, False), (15, True), (31, True):
        x, y = made(random, (rows, 900), 'float32', False), made(random, (900, 145), 'float32', turned)
        out = np.ones((rows, 160), 'float32')
        assert matmul(x, y, out[:, 7:152], None, True) is not None
        np.testing.assert_allclose(out[:, 7:152], 1 + x.astype(float) @ y, rtol=1e-4, atol=1e-4)
        assert (out[:, :7] == 1).all() and (out[:, 152:] == 1).all()


def test_infinities_and_nan_stay_in_their_rows_and_columns():
    x, y = np.ones((40, 70), 'float32'), np.ones((70, 50), 'float32')
    x[3, 5], y[6, 49] = np.inf, np.nan
    got = matmul(x, y)
    assert np.isinf(got[3, :49]).all() and np.isnan(got[:, 49]).all() and np.isfinite(np.delete(got, 3, 0)[:, :49]).all()


def test_linear_and_its_gradients_through_kernels():
    random = np.random.default_rng(4)
    x, w, c = (random.standard_normal(s).astype('float32') for s in ((4, 50, 120), (80, 120), (80,)))
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, w, c)]
    out = torch.nn.functional.linear(*tensors)
    out.square().sum().backward()
    expected = x.astype(float) @ w.T.astype(float) + c
    np.testing.assert_allclose(out.detach().numpy(), expected, rtol=1e-4, atol=1e-4)
    g = 2 * expected
    for t, e in zip(tensors, (g @ w, np.einsum('abo,abk->ok', g, x), g.sum((0, 1)))):
        np.testing.assert_allclose(t.grad.numpy(), e, rtol=1e-4, atol=1e-2)
