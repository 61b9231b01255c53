"""Generated kernels of convolutions of few channels a group against the reference in float64."""
import numpy as np
import pytest

pytest.importorskip('llvmlite')

from flambeau.backends.cpu import depthwise as kernels, launch, properties  # noqa: E402
from flambeau.ops.convolution import Geometry, convolve, gradient_in_input, gradient_in_weight  # noqa: E402
from convolution_kernels import check, reference_alone, results  # noqa: E402, F401: a fixture of all

pytestmark = pytest.mark.skipif(not properties.jit_is_on(), reason='kernels are switched off')

# batch, groups, channels and outputs of a group, height, width, kernel, stride, padding, dilation
CASES = [
    (2, 32, 1, 1, 14, 14, (3, 3), (1, 1), (1, 1), (1, 1)),
    (2, 40, 1, 1, 28, 30, (3, 3), (2, 2), (1, 1), (1, 1)),
    (3, 65, 1, 1, 7, 7, (5, 5), (1, 1), (2, 2), (1, 1)),     # several planes a chunk
    (1, 12, 1, 2, 40, 20, (7, 7), (1, 1), (3, 3), (1, 1)),   # a channel multiplier
    (1, 4, 4, 4, 17, 33, (3, 3), (1, 1), (1, 1), (1, 1)),
    (1, 4, 3, 5, 17, 33, (5, 3), (2, 3), (1, 2), (1, 1)),    # uneven
    (2, 3, 1, 2, 40, 20, (3, 3), (2, 3), (3, 3), (2, 2)),    # more padding than a window, phases without taps
    (1, 3, 2, 2, 40, 50, (9, 11), (2, 4), (0, 3), (2, 1)),   # more lines than a tile meets at a time
    (1, 3, 2, 2, 40, 50, (11, 2), (1, 1), (0, 0), (1, 5)),
    (2, 3, 2, 2, 1, 900, (1, 9), (1, 4), (0, 3), (1, 1)),    # one row
    (1, 3, 2, 2, 1, 500, (1, 9), (1, 1), (0, 3), (1, 3)),
    (8, 90, 1, 1, 9, 9, (1, 1), (2, 2), (0, 0), (1, 1)),     # inputs that meet no tap
    (1, 2, 10, 1, 150, 500, (3, 3), (1, 1), (0, 0), (1, 1)),  # several bands
]


def _given(case, seed=0):
    batch, groups, channels, outputs, height, width, kernel, stride, padding, dilation = case
    random = np.random.default_rng(seed)
    geometry = Geometry(stride, tuple((p, p) for p in padding), dilation, groups)
    x = random.standard_normal((batch, groups * channels, height, width)).astype(np.float32)
    w = random.standard_normal((groups * outputs, channels, *kernel)).astype(np.float32)
    g = random.standard_normal((batch, len(w), *geometry.output((height, width), kernel))).astype(np.float32)
    return x, w, g, geometry


@pytest.mark.parametrize('case', CASES)
def test_kernels_agree_with_the_reference(case):
    check(kernels, *_given(case), 2e-6)


def _channels_last(array):
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


@pytest.mark.parametrize('case', [case for case in CASES if case[4] > 1])
def test_channels_last(case):
    x, w, g, geometry = _given(case)
    expected = results(kernels, x, w, g, geometry)
    for got, want in zip(results(kernels, _channels_last(x), w, _channels_last(g), geometry), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-6 * np.abs(want).max())
        assert got.shape == w.shape or got.transpose(0, 2, 3, 1).flags.c_contiguous


def test_channels_last_inputs_that_meet_no_tap_have_no_gradient():
    _, w, g, geometry = _given(CASES[11])
    g[:] = np.nan
    found = kernels.correlation_adjoint(_channels_last(g), w, geometry, (9, 9))
    assert np.isnan(found[:, :, ::2, ::2]).all() and not found[:, :, 1::2].any() and not found[:, :, :, 1::2].any()


def test_what_is_not_finite_stays_where_its_windows_are():
    x, w, g, geometry = _given(CASES[1])
    x[0, 3, 5, 29] = np.inf
    x[1, 2] = np.nan
    wide_x, wide_w, wide_g = (a.astype(np.float64) for a in (x, w, g))
    for got, want in ((kernels.correlation(x, w, geometry), convolve(wide_x, wide_w, geometry)),
                      (kernels.correlation_in_weight(g, x, geometry, (3, 3)),
                       gradient_in_weight(wide_g, wide_x, geometry, (3, 3)))):
        np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))


def test_uneven_padding_and_views():
    x, w, _, _ = _given(CASES[0])
    geometry = Geometry((1, 1), ((1, 0), (-1, 2)), (1, 1), 32)
    x, w = x[:, :, ::-1].transpose(0, 1, 3, 2), w[:, :, :, ::-1]
    got = kernels.correlation(x, w, geometry)
    want = convolve(x.astype(np.float64), w.astype(np.float64), geometry)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize('case', [CASES[1], CASES[2], CASES[4], CASES[12]])
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


@pytest.mark.parametrize('case', CASES[1::2])
def test_float64(case):
    x, w, g, geometry = _given(case)
    x, w, g = (a.astype(np.float64) for a in (x, w, g))
    expected = (convolve(x, w, geometry), gradient_in_input(g, w, geometry, x.shape[2:]),
                gradient_in_weight(g, x, geometry, w.shape[2:]))
    for order in (np.asarray, _channels_last):
        for got, want in zip(results(kernels, order(x), w, order(g), geometry), expected, strict=True):
            assert got.dtype == np.float64
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13 * np.abs(want).max())


@pytest.mark.parametrize('case', CASES[::2])
def test_bias(case):
    x, w, _, geometry = _given(case)
    bias = np.random.default_rng(1).standard_normal(2 * len(w)).astype(np.float32)[::2]
    for order in (np.asarray, _channels_last):
        want = kernels.correlation(order(x), w, geometry) + bias[:, None, None]
        np.testing.assert_allclose(kernels.correlation(order(x), w, geometry, bias), want, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize('change', ['dense', 'dtype', 'wide'])
def test_what_does_not_fit_is_left_to_others(change):
    x, w, _, geometry = _given(CASES[0])
    if change == 'dense':
        w, geometry = np.tile(w, (1, 32, 1, 1)), Geometry(geometry.stride, geometry.padding, geometry.dilation, 1)
    elif change == 'dtype':
        x, w = x.astype(np.int64), w.astype(np.int64)
    else:
        w = np.repeat(w, 20, 0)
    assert kernels.correlation(x, w, geometry) is None
