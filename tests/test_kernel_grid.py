"""Planes sampled at places by generated kernels against the array functions, and their adjoints."""
import numpy as np
import pytest

pytest.importorskip('llvmlite')

import flambeau  # noqa: E402
from flambeau.backends.cpu import grid, properties  # noqa: E402
from flambeau.ops.definition import OPERATIONS  # noqa: E402

pytestmark = pytest.mark.skipif(not properties.jit_is_on(), reason='kernels are switched off')


class Without:
    """`m` without kernels."""

    def kernel(self, name, *arguments):
        return None


@pytest.mark.parametrize('channels, size, taps, count', [(5, 700, 4, 333), (40, 30, 1, 1100), (3, 900, 8, 257)])
def test_sums_and_adjoints(channels, size, taps, count):
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal((2, channels, n)).astype(np.float32) for n in (size, count))
    x[0, 0, 0] = np.nan  # which counts for nothing where there is no element
    weight = rng.standard_normal((2, taps, count)).astype(np.float32)
    index = rng.integers(-1, size, (2, taps, count))
    index[index == 0] = -1
    if x.size < grid.SMALLEST or g.size < grid.SMALLEST:
        x, g, weight, index = (np.tile(a, (4, 1, 1)) for a in (x, g, weight, index))

    def expected(name, *arguments):
        arguments = [a.astype(np.float64) if getattr(a, 'dtype', None) == np.float32 else a for a in arguments]
        return OPERATIONS[name].formula(Without(), *arguments)
    close = dict(rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(grid.sampled(x, index, weight), expected('_sampled', x, index, weight), **close)
    np.testing.assert_allclose(grid.adjoint(g, index, weight, size),
                               expected('_sampled_adjoint', g, index, weight, size), **close)
    np.testing.assert_allclose(grid.products(g, x, index), expected('_sample_products', g, x, index), **close)
    assert grid.sampled(x, index + size, weight) is None


def test_half_types_have_no_kernel():
    x, at = flambeau.randn(2, 8, 30, 30), flambeau.rand(2, 20, 20, 2) * 2 - 1
    narrow = flambeau.nn.functional.grid_sample(x.bfloat16(), at.bfloat16(), align_corners=False)
    assert narrow.dtype is flambeau.bfloat16 and narrow.isfinite().all()
