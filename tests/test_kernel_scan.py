"""Running sums, products and extremes by generated kernels against NumPy: rows, columns, few long rows, ties and nan."""
import numpy as np
import pytest

pytest.importorskip('llvmlite')

import flambeau  # noqa: E402
from flambeau.backends.cpu import properties, scan  # noqa: E402

pytestmark = pytest.mark.skipif(not properties.jit_is_on(), reason='kernels are switched off')
RANDOM = np.random.default_rng(2)
CASES = [((70, 77), 1), ((70, 77), 0), ((3, 60, 41), 1), ((9000,), 0), ((3, 5001), 1), ((9, 1001), 1)]
ACCURACY = {'float16': 4e-3, 'float32': 1e-6, 'float64': 1e-13}
if not properties.computes(np.dtype(np.float16)):
    del ACCURACY['float16']


@pytest.mark.parametrize('shape, axis', CASES)
@pytest.mark.parametrize('ufunc', [np.add, np.multiply, np.logaddexp])
@pytest.mark.parametrize('dtype', [*ACCURACY, 'int64'])
def test_running_values(shape, axis, ufunc, dtype):
    x = RANDOM.integers(-9, 9, shape).astype(dtype) if dtype == 'int64' else RANDOM.uniform(0.98, 1.02, shape).astype(dtype)
    made = scan.values(x, axis, ufunc)
    if dtype == 'int64':
        if ufunc is np.logaddexp:
            assert made is None
        else:
            np.testing.assert_array_equal(made, ufunc.accumulate(x, axis))
        return
    expected = ufunc.accumulate(x.astype(np.float64), axis)
    rtol = ACCURACY[dtype] * (10 if ufunc is np.logaddexp else 1)  # which is summed in the dtype itself, or in float32
    np.testing.assert_allclose(made, expected.astype(dtype), rtol=rtol)


@pytest.mark.parametrize('shape, axis', CASES)
@pytest.mark.parametrize('ufunc', [np.maximum, np.minimum])
@pytest.mark.parametrize('dtype', ['float32', 'float64', 'int32', 'int64'])
def test_running_extremes(shape, axis, ufunc, dtype):
    x = RANDOM.integers(-5, 5, shape).astype(dtype)
    if dtype.startswith('float'):
        x[RANDOM.random(shape) < 0.01] = np.nan
    with np.errstate(invalid='ignore'):
        expected = ufunc.accumulate(x, axis)
    steps = np.arange(shape[axis]).reshape((-1,) + (1,) * (x.ndim - 1 - axis))
    values, places = scan.extremes(x, axis, ufunc)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(places, np.maximum.accumulate(np.where((x == expected) | (x != x), steps, 0), axis))


def test_special_values():
    x = np.ones((64, 130), np.float32)
    x[:, 5], x[1, 7], x[2, 9], x[3, :] = -np.inf, np.nan, np.inf, -np.inf
    with np.errstate(invalid='ignore'):
        np.testing.assert_allclose(scan.values(x, 1, np.logaddexp), np.logaddexp.accumulate(x, 1), rtol=1e-6)
        np.testing.assert_array_equal(scan.values(x, 1, np.add), np.add.accumulate(x, 1))


def test_results_do_not_depend_on_threads():
    x = flambeau.randn(50000)
    threads = flambeau.get_num_threads()
    try:
        flambeau.set_num_threads(1)
        alone = x.cumsum(0)
    finally:
        flambeau.set_num_threads(threads)
    assert flambeau.equal(alone, x.cumsum(0))
