"""Maximum pools by generated kernels against the array functions: values, positions, ties, NaN, padding, gradients."""
from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip('llvmlite')

from flambeau.backends.cpu import pooling as driver  # noqa: E402
from flambeau.backends.cpu.properties import jit_is_on  # noqa: E402
from flambeau.ops import pooling  # noqa: E402
from flambeau.ops.windows import Window  # noqa: E402

pytestmark = pytest.mark.skipif(not jit_is_on(), reason='kernels are switched off')

CASES = [  # shape, kernel, stride, padding, dilation, ceil_mode
    ((2, 3, 40, 37), (3, 3), (2, 2), (1, 1), (1, 1), False), ((4, 4, 24, 24), (2, 2), (2, 2), (0, 0), (1, 1), False),
    ((1, 5, 33, 50), (3, 2), (1, 3), (1, 0), (2, 1), True), ((2, 2, 41, 70), (5, 4), (3, 2), (2, 2), (1, 3), True),
    ((8, 9, 30, 31), (7, 7), (15, 15), (0, 0), (1, 1), False), ((3, 5, 601), (3,), (2,), (1,), (1,), True),
    ((2, 3, 9, 14, 35), (2, 2, 2), (2, 2, 2), (0, 0, 0), (1, 1, 1), False),
    ((2, 2, 7, 12, 21), (3, 2, 3), (1, 3, 2), (1, 0, 1), (2, 1, 1), True)]


def absent(name, *arguments):
    """No kernel: the array functions do the work."""


def used(name, *arguments):
    made = getattr(driver, name.split('.')[1])(*arguments)
    assert made is not None
    return made


@pytest.mark.parametrize('shape, kernel, stride, padding, dilation, ceil_mode', CASES)
@pytest.mark.parametrize('special', ['random', 'ties', 'nan', 'lowest'])
def test_maximum_pool(shape, kernel, stride, padding, dilation, ceil_mode, special):
    rng = np.random.default_rng(3)
    x = rng.standard_normal(shape).astype(np.float32)
    if special == 'ties':
        x = np.rint(x)
    elif special != 'random':
        x[rng.random(shape) < 0.4] = np.nan if special == 'nan' else -np.inf
    window = Window(kernel, stride, tuple((p, p) for p in padding), dilation, ceil_mode)
    y, at = pooling.max_pool_with_indices(x, window, absent)
    got, got_at = pooling.max_pool_with_indices(x, window, used)
    np.testing.assert_array_equal(got, y)
    np.testing.assert_array_equal(got_at, at)
    np.testing.assert_array_equal(pooling.max_pool(x, window, used), y)
    g = rng.standard_normal(y.shape).astype(np.float32)
    expected = np.zeros((shape[0] * shape[1], math.prod(shape[2:])), np.float32)
    np.add.at(expected, (np.arange(len(expected))[:, None], at.reshape(len(expected), -1)), g.reshape(len(expected), -1))
    expected = expected.reshape(shape)
    np.testing.assert_array_equal(pooling.max_pool_gradient(g, x, y, window, used), expected)
    np.testing.assert_allclose(pooling.max_pool_gradient(g, x, y, window, absent), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('images, channels', [(2, 16), (9, 37)])
@pytest.mark.parametrize('kernel, stride, padding, dilation, ceil_mode', [case[1:] for case in CASES if len(case[0]) == 4])
@pytest.mark.parametrize('special', ['random', 'ties', 'nan', 'lowest'])
def test_channels_side_by_side(images, channels, kernel, stride, padding, dilation, ceil_mode, special):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((images, 33, 37, channels)).astype(np.float32)
    if special == 'ties':
        x = np.rint(x)
    elif special != 'random':
        x[rng.random(x.shape) < 0.4] = np.nan if special == 'nan' else -np.inf
    x = x.transpose(0, 3, 1, 2)
    window = Window(kernel, stride, tuple((p, p) for p in padding), dilation, ceil_mode)
    planes = np.ascontiguousarray(x)
    y, at = pooling.max_pool_with_indices(planes, window, used)
    got, got_at = pooling.max_pool_with_indices(x, window, used)
    np.testing.assert_array_equal(got, y)
    np.testing.assert_array_equal(got_at, at)
    np.testing.assert_array_equal(pooling.max_pool(x, window, used), y)
    assert got.transpose(0, 2, 3, 1).flags.c_contiguous
    g = rng.standard_normal(y.shape).astype(np.float32)
    np.testing.assert_allclose(pooling.max_pool_gradient(g, x, got, window, used),
                               pooling.max_pool_gradient(g, planes, y, window, used), rtol=1e-5, atol=1e-5)
