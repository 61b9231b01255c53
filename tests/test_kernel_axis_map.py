"""Maps of axes by a generated kernel against the array functions: resizing, bins, padding, and their transposes."""
import numpy as np
import pytest

pytest.importorskip('llvmlite')

from flambeau.backends.cpu import axis_map as driver  # noqa: E402
from flambeau.backends.cpu import properties  # noqa: E402
from flambeau.ops.axis_map import AxisMap  # noqa: E402
from flambeau.ops.pad import padding_map  # noqa: E402
from flambeau.ops import pooling  # noqa: E402
from flambeau.ops.pooling import adaptive_average_map  # noqa: E402
from flambeau.ops.resize import interpolation_map  # noqa: E402
from flambeau.ops.windows import Window  # noqa: E402

pytestmark = pytest.mark.skipif(not properties.jit_is_on(), reason='kernels are switched off')
SIZES = 37, 70


def resized(mode, size, out, align_corners=False, antialias=False):
    return interpolation_map(mode, size, out, align_corners, None, antialias, np.float32)


MAPS = {
    'nearest': [resized('nearest', n, 2 * n) for n in SIZES], 'fewer': [resized('nearest', n, 19) for n in SIZES],
    'linear': [resized('linear', n, 3 * n + 1) for n in SIZES], 'corners': [resized('linear', n, 31, True) for n in SIZES],
    'cubic': [resized('cubic', n, 50) for n in SIZES], 'antialiased': [resized('linear', n, 11, False, True) for n in SIZES],
    'bins': [adaptive_average_map(n, 7) for n in SIZES], 'reflect': [padding_map('reflect', n, 3, 5) for n in SIZES],
    'circular': [padding_map('circular', n, 9, 0) for n in SIZES], 'rows alone': [padding_map('replicate', SIZES[0], 2, 1), None],
    'sums of rows alone': [adaptive_average_map(SIZES[0], 5), None],
    'columns alone': [None, padding_map('replicate', SIZES[1], 1, 40)],
    'sums of columns alone': [None, adaptive_average_map(SIZES[1], 3)],
    'no entries': [AxisMap(5, n, np.arange(3), np.arange(3)) for n in SIZES]}


@pytest.mark.parametrize('name', MAPS)
@pytest.mark.parametrize('transposed', [False, True])
def test_maps(name, transposed):
    maps = [m and m.transpose if transposed else m for m in MAPS[name]]
    shape = [n if m is None else m.columns for n, m in zip(SIZES, maps)]
    x = np.random.default_rng(0).standard_normal((20, 30, *shape)).astype(np.float32)
    expected = x.astype(np.float64)
    for axis, m in enumerate(maps, 2):
        if m is not None:
            matrix = np.zeros((m.rows, m.columns))
            np.add.at(matrix, (m.row, m.column), 1 if m.weight is None else m.weight)
            expected = np.moveaxis(np.moveaxis(expected, axis, -1) @ matrix.T, -1, axis)
    np.testing.assert_allclose(driver.mapped(x, maps), expected, rtol=1e-5, atol=1e-5)
    last = driver.mapped(np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2), maps)
    np.testing.assert_allclose(last, expected, rtol=1e-5, atol=1e-5)
    assert last.transpose(0, 2, 3, 1).flags.c_contiguous
    np.testing.assert_allclose(driver.mapped(np.repeat(x, 2, -1)[..., ::2], maps), expected, rtol=1e-5, atol=1e-5)
    with_nan = x.copy()
    with_nan[0, 0, 0, 0] = np.inf  # reaches nothing that does not take it
    if not transposed:
        np.testing.assert_allclose(driver.mapped(with_nan, maps)[..., 1:, -1], expected[..., 1:, -1], rtol=1e-5, atol=1e-5)


def test_one_axis():
    x = np.random.default_rng(0).standard_normal((80, 70)).astype(np.float32)
    m = MAPS['linear'][1]
    np.testing.assert_allclose(driver.mapped(x, (m,)), m(x, 1), rtol=1e-5, atol=1e-6)
    assert driver.mapped(x.astype(np.float64), (m,)) is None


@pytest.mark.parametrize('kernel, stride, padding, ceil_mode', [
    ((2, 2), (2, 2), 0, False), ((3, 2), (1, 3), 1, True), ((4, 4), (5, 5), 1, True)])
@pytest.mark.parametrize('options', [(True, None), (False, None), (True, 7)])
def test_averages_over_windows(kernel, stride, padding, ceil_mode, options):
    window = Window(kernel, stride, ((padding, padding),) * 2, (1, 1), ceil_mode)
    x = np.random.default_rng(0).standard_normal((3, 5, *SIZES)).astype(np.float32)
    maps = pooling.average_maps(SIZES, window, *options)
    expected = pooling.avg_pool(x.astype(np.float64), window, *options)  # which has no kernel
    np.testing.assert_allclose(driver.mapped(x, maps), expected, rtol=1e-5, atol=1e-6)
    g = np.random.default_rng(1).standard_normal((30, 30, *expected.shape[2:])).astype(np.float32)
    np.testing.assert_allclose(driver.mapped(g, [m.transpose for m in maps]),
                               pooling.avg_pool_adjoint(g.astype(np.float64), window, SIZES, *options), rtol=1e-5, atol=1e-6)
