"""Planes sampled at places by generated kernels against the array functions, and their adjoints."""
import itertools

import numpy as np
import pytest

pytest.importorskip('llvmlite')

import flambeau  # noqa: E402
from flambeau.backends.cpu import grid, properties  # noqa: E402
from flambeau.ops.definition import OPERATIONS  # noqa: E402
from flambeau.ops.grid import _grid_sample_gradient  # noqa: E402
from flambeau.ops.reference import Reference  # noqa: E402

pytestmark = pytest.mark.skipif(not properties.jit_is_on(), reason='kernels are switched off')


class Without:
    """`m` without kernels."""

    def kernel(self, name, *arguments):
        return None


class Formulas(Reference):
    """All operations on arrays without kernels."""

    def __init__(self):
        super().__init__(flambeau.ops.reference.backend)

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


POSITIONED = [  # shape of the planes, of the places
    ((2, 3, 5, 6), (7, 9)), ((1, 20, 33, 17), (40, 5)), ((3, 1, 1, 7), (11, 10)), ((2, 9, 4, 5, 6), (3, 4, 5)),
    ((1, 2, 3, 3), (1, 1)), ((1, 33, 2, 3, 1), (2, 50, 1))]


@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize('padding_mode', ['zeros', 'border', 'reflection'])
@pytest.mark.parametrize('mode', ['bilinear', 'nearest', 'bicubic'])
def test_positions(mode, padding_mode, align_corners):
    rng = np.random.default_rng(0)
    for (shape, places), dtype in itertools.product(POSITIONED, ('float32', 'float64')):
        if mode == 'bicubic' and len(shape) == 5:
            continue
        x, g = (rng.standard_normal(s).astype(dtype) for s in (shape, (*shape[:2], *places)))
        at = (rng.standard_normal((shape[0], *places, len(places))) * 1.2).astype(dtype)
        x = np.asfortranarray(x)  # any strides
        how = mode, padding_mode, align_corners
        expected = OPERATIONS['_grid_sample'].formula(Formulas(), x, at, *how)
        slopes = _grid_sample_gradient(Formulas(), g, x, at, *how, ('input', 'grid'))
        close = dict(rtol=1e-3, atol=1e-3) if dtype == 'float32' else dict(rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(grid.sample(x, at, *how), expected, **close)
        np.testing.assert_allclose(grid.sample_adjoint(g, at, shape, *how), slopes['input'], **close)
        np.testing.assert_allclose(grid.sample_slopes(g, x, at, *how), slopes['grid'], **close)


def test_positions_on_any_number_of_threads():
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal(s).astype(np.float32) for s in ((2, 19, 40, 40), (2, 19, 50, 50)))
    at = rng.uniform(-1.2, 1.2, (2, 50, 50, 2)).astype(np.float32)
    how = 'bilinear', 'zeros', False

    def made():
        return grid.sample(x, at, *how), grid.sample_adjoint(g, at, x.shape, *how), grid.sample_slopes(g, x, at, *how)
    before = flambeau.get_num_threads()
    try:
        flambeau.set_num_threads(1)
        alone = made()
        flambeau.set_num_threads(3)
        for one, several in zip(alone, made()):
            assert one.tobytes() == several.tobytes()
    finally:
        flambeau.set_num_threads(before)


def test_elements_outside_count_for_nothing():
    x = np.full((1, 2, 3, 3), np.nan, np.float32)
    x[:, :, 1, 1] = 1
    at = np.array([[[[0, 0], [9, 9], [-9, 0]]]], np.float32)
    made = grid.sample(x, at, 'nearest', 'zeros', True)
    np.testing.assert_array_equal(made[0, 0, 0], [1, 0, 0])
    assert grid.sample(x.astype(np.float16), at.astype(np.float16), 'nearest', 'zeros', True) is None
    wide = np.zeros((1, 1, 400, 400), np.float32)
    assert grid.sample(wide, at, 'nearest', 'zeros', True) is None  # few places of a large plane


def test_half_types_have_no_kernel():
    x, at = flambeau.randn(2, 8, 30, 30), flambeau.rand(2, 20, 20, 2) * 2 - 1
    narrow = flambeau.nn.functional.grid_sample(x.bfloat16(), at.bfloat16(), align_corners=False)
    assert narrow.dtype is flambeau.bfloat16 and narrow.isfinite().all()
