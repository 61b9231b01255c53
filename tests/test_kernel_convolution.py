"""Generated kernels of 2-d convolutions against the reference in float64, on shapes with every kind of edge."""
import numpy as np
import pytest

pytest.importorskip('llvmlite')

from flambeau.backends.cpu import convolution as kernels, launch, properties, volumes  # noqa: E402
from flambeau.ops.convolution import Geometry, convolve, gradient_in_input, gradient_in_weight  # noqa: E402
from convolution_kernels import check, reference_alone, results  # noqa: E402, F401: a fixture of all

pytestmark = pytest.mark.skipif(not properties.jit_is_on(), reason='kernels are switched off')

# batch, channels, height, width, outputs, kernel, stride, padding, dilation, groups where there are several
CASES = [
    (2, 3, 30, 33, 64, (7, 7), (2, 2), (3, 3), (1, 1)),      # few channels
    (1, 1, 28, 28, 32, (3, 3), (1, 1), (1, 1), (1, 1)),      # one channel
    (2, 16, 14, 14, 33, (3, 3), (1, 1), (1, 1), (1, 1)),     # one output in the last strip
    (1, 17, 9, 31, 31, (3, 3), (2, 2), (1, 1), (1, 1)),
    (2, 40, 7, 7, 70, (1, 1), (1, 1), (0, 0), (1, 1)),       # products of matrices
    (2, 40, 15, 15, 40, (1, 1), (2, 2), (0, 0), (1, 1)),     # inputs that meet no tap
    (1, 20, 21, 18, 20, (1, 1), (1, 1), (2, 1), (1, 1)),
    (1, 8, 25, 24, 24, (3, 2), (1, 3), (2, 0), (2, 3)),      # dilated, uneven
    (1, 8, 25, 24, 24, (4, 3), (2, 2), (0, 5), (2, 1)),      # more padding than a window
    (2, 33, 5, 40, 16, (5, 5), (3, 1), (2, 2), (1, 1)),
    (2, 5, 300, 2, 48, (3, 1), (1, 1), (1, 0), (1, 1)),      # narrow rows
    (2, 2, 20, 40, 40, (5, 4), (2, 3), (1, 2), (1, 1)),      # few channels, whose phases go together
    (1, 3, 19, 25, 20, (3, 2), (2, 2), (4, 1), (2, 3)),
    (1, 4, 9, 30, 33, (1, 1), (2, 1), (0, 0), (1, 1)),
    (2, 120, 9, 20, 66, (3, 3), (1, 1), (1, 1), (1, 1), 3),  # wide groups
    (2, 60, 9, 20, 66, (3, 3), (1, 1), (1, 1), (2, 1), 3),
    (2, 48, 34, 40, 60, (3, 3), (1, 1), (1, 1), (1, 1), 3),
    (2, 40, 15, 17, 40, (3, 2), (2, 3), (1, 0), (1, 2), 2),
    (2, 64, 1, 2500, 33, (1, 9), (1, 1), (0, 4), (1, 1)),    # one row, in several blocks
    (2, 64, 1, 2500, 33, (1, 5), (1, 4), (0, 4), (1, 3)),
    (2, 30, 9, 37, 3, (3, 5), (1, 1), (1, 1), (1, 1)),       # few outputs
    (2, 10, 390, 9, 11, (3, 3), (2, 2), (1, 1), (1, 1)),     # more weights than pixels
    (1, 60, 400, 20, 27, (3, 2), (1, 1), (1, 0), (1, 1)),
    (2, 20, 33, 35, 31, (3, 3), (1, 1), (1, 1), (1, 1)),     # 3x3 with steps of one: Winograd's filtering
    (5, 16, 14, 14, 40, (3, 3), (1, 1), (1, 1), (1, 1)),     # strips of tiles of two images
    (1, 18, 17, 70, 16, (3, 3), (1, 1), (0, 2), (1, 1)),     # rows of several vectors
    (4, 300, 8, 9, 130, (3, 3), (1, 1), (2, 0), (1, 1)),     # more weights than pixels
    (2, 16, 65, 50, 34, (3, 3), (1, 1), (1, 1), (1, 1)),     # more tiles than the gradient in the weight takes at a time
    (1, 50, 7, 8, 20, (3, 3), (1, 1), (1, 1), (1, 1)),       # one vector of tiles
    (3, 32, 28, 60, 40, (3, 3), (2, 2), (1, 1), (1, 1)),     # steps of two
    (2, 16, 55, 33, 33, (3, 3), (2, 2), (3, 1), (1, 1)),
]
MINIMAL = CASES[-8:]


def _given(case, seed=0):
    batch, channels, height, width, outputs, kernel, stride, padding, dilation, *groups = case
    random = np.random.default_rng(seed)
    geometry = Geometry(stride, tuple((p, p) for p in padding), dilation, *groups or [1])
    x = random.standard_normal((batch, channels, height, width)).astype(np.float32)
    w = random.standard_normal((outputs, channels // geometry.groups, *kernel)).astype(np.float32)
    g = random.standard_normal((batch, outputs, *geometry.output((height, width), kernel))).astype(np.float32)
    return x, w, g, geometry


@pytest.mark.parametrize('case', CASES)
def test_kernels_agree_with_the_reference(case):
    check(kernels, *_given(case), 1e-5)


@pytest.mark.parametrize('case', MINIMAL)
def test_minimal_filtering_is_as_exact_as_the_direct_sum(case, monkeypatch):
    given = x, w, g, geometry = _given(case)
    assert kernels.is_minimal(x.shape[1], w.shape[0], w.shape[2:], g.shape, geometry.stride, (1, 1))
    wide = x.astype(np.float64), w.astype(np.float64), g.astype(np.float64)
    expected = (convolve(*wide[:2], geometry), gradient_in_input(wide[2], wide[1], geometry, x.shape[2:]),
                gradient_in_weight(wide[2], wide[0], geometry, (3, 3)))
    minimal = results(kernels, *given)
    monkeypatch.setattr(kernels, 'is_minimal', lambda *_: False)
    for got, direct, want in zip(minimal, results(kernels, *given), expected, strict=True):
        error, usual, size = (np.sqrt(np.square(made).mean()) for made in (got - want, direct - want, want))
        assert 0 < error < max(1.2 * usual, 3e-7 * size)


@pytest.mark.parametrize('case', [case for case in MINIMAL if case[6] == (1, 1)])
def test_less_precision_is_less_exact(case, monkeypatch):
    given = x, w, g, geometry = _given(case)
    exact = results(kernels, *given)
    monkeypatch.setitem(properties.PRECISION, 'float32', 'high')
    for got, want in zip(results(kernels, *given), exact, strict=True):
        assert 0 < np.abs(got - want).max() < 2e-5 * np.abs(want).max()


@pytest.mark.parametrize('case', [CASES[2], *MINIMAL[:2]])
def test_uneven_padding_and_views(case):
    x, w, _, _ = _given(case)
    geometry = Geometry((1, 1), ((1, 0), (0, 2)), (1, 1), 1)
    x, w = x[:, :, ::-1].transpose(0, 1, 3, 2), w[::2, :, :, ::-1]
    got = kernels.correlation(x, w, geometry)
    want = convolve(x.astype(np.float64), w.astype(np.float64), geometry)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize('case', [CASES[0], CASES[2], CASES[4], CASES[9], CASES[11], *CASES[-10:]])
def test_bits_do_not_depend_on_threads(case):
    given, before = _given(case), launch.get_num_threads()
    try:
        launch.set_num_threads(1)
        alone = results(kernels, *given)
        launch.set_num_threads(3)
        for one, several in zip(alone, results(kernels, *given), strict=True):
            assert one.tobytes() == several.tobytes()
    finally:
        launch.set_num_threads(before)


# batch, channels, outputs, sizes, kernel, stride, padding, dilation of slices, groups
VOLUMES = [
    (2, 5, 33, (6, 9, 12), (3, 3, 3), (1, 1, 1), (1, 1, 1), 1, 1),
    (1, 8, 16, (9, 12, 15), (3, 2, 4), (2, 3, 2), (1, 0, 2), 1, 1),
    (2, 9, 20, (7, 11, 10), (1, 1, 1), (2, 2, 1), (0, 0, 0), 1, 1),  # inputs that meet no tap
    (2, 30, 12, (7, 8, 9), (3, 1, 1), (1, 1, 1), (1, 0, 0), 1, 1),
    (1, 4, 40, (5, 9, 9), (2, 3, 3), (3, 1, 1), (3, 1, 1), 1, 1),    # more padding than a window
    (2, 6, 20, (4, 14, 12), (3, 3, 3), (1, 1, 1), (0, 0, 2), 1, 1),
    (1, 6, 20, (9, 14, 12), (3, 3, 2), (2, 1, 2), (2, 1, 2), 2, 1),
    (1, 12, 24, (5, 14, 12), (3, 3, 3), (1, 1, 1), (1, 1, 1), 1, 3),
    (2, 7, 7, (5, 14, 12), (3, 3, 3), (1, 2, 1), (1, 1, 0), 1, 7),
    (1, 6, 6, (5, 34, 32), (2, 3, 3), (2, 1, 1), (1, 1, 0), 1, 6),
    (1, 16, 20, (3, 33, 40), (2, 3, 3), (1, 2, 2), (0, 1, 1), 1, 1),  # planes by minimal filtering of steps of two
]


@pytest.mark.parametrize('case', VOLUMES)
def test_volumes(case):
    batch, channels, outputs, sizes, kernel, stride, padding, dilation, groups = case
    random = np.random.default_rng(0)
    geometry = Geometry(stride, tuple((p, p) for p in padding), (dilation, 1, 1), groups)
    x = random.standard_normal((batch, channels, *sizes)).astype(np.float32)
    w = random.standard_normal((outputs, channels // groups, *kernel)).astype(np.float32)
    bias = random.standard_normal(outputs).astype(np.float32)
    g = random.standard_normal((batch, outputs, *geometry.output(sizes, kernel))).astype(np.float32)
    wide_x, wide_w, wide_g = (a.astype(np.float64) for a in (x, w, g))
    for got, want in ((volumes.correlation(x, w, geometry, bias), convolve(wide_x, wide_w, geometry, bias)),
                      (volumes.correlation_adjoint(g, w, geometry, sizes),
                       gradient_in_input(wide_g, wide_w, geometry, sizes)),
                      (volumes.correlation_in_weight(g, x, geometry, kernel),
                       gradient_in_weight(wide_g, wide_x, geometry, kernel))):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * np.abs(want).max())


def _channels_last(array):
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


@pytest.mark.parametrize('case', CASES[2:-2])
def test_channels_last(case):
    x, w, g, geometry = _given(case)
    expected = results(kernels, x, w, g, geometry)
    for got, want in zip(results(kernels, _channels_last(x), w, _channels_last(g), geometry), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * np.abs(want).max())
        assert got.shape == w.shape or got.transpose(0, 2, 3, 1).flags.c_contiguous
    if w.shape[2:] != (1, 1):
        assert kernels.correlation(x, _channels_last(w), geometry).transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize('case', CASES[:-1:2])
def test_float64(case):
    x, w, g, geometry = _given(case)
    x, w, g = (a.astype(np.float64) for a in (x, w, g))
    expected = (convolve(x, w, geometry), gradient_in_input(g, w, geometry, x.shape[2:]),
                gradient_in_weight(g, x, geometry, w.shape[2:]))
    for order in (np.asarray, _channels_last):
        for got, want in zip(results(kernels, order(x), w, order(g), geometry), expected, strict=True):
            assert got.dtype == np.float64
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13 * np.abs(want).max())


@pytest.mark.parametrize('case', CASES)
def test_bias(case):
    x, w, _, geometry = _given(case)
    bias = np.random.default_rng(1).standard_normal(2 * len(w)).astype(np.float32)[::2]
    for order in (np.asarray, _channels_last):
        want = kernels.correlation(order(x), w, geometry) + bias[:, None, None]
        np.testing.assert_allclose(kernels.correlation(order(x), w, geometry, bias), want, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize('change', ['dtype', 'dims'])
def test_what_does_not_fit_is_left_to_the_reference(change):
    x, w, _, geometry = _given(CASES[2])
    if change == 'dtype':
        x, w = x.astype(np.int64), w.astype(np.int64)
    else:
        x, w, geometry = x[:, :, 0], w[:, :, 0], Geometry((1,), ((1, 1),), (1,), 1)
    assert kernels.correlation(x, w, geometry) is None
