"""The first few of rows by generated kernels against a stable sort: ties, nan, signs of zero, other axes, short rests."""
import numpy as np
import pytest

pytest.importorskip('llvmlite')

import flambeau  # noqa: E402
from flambeau.backends.cpu import properties, selection  # noqa: E402

pytestmark = pytest.mark.skipif(not properties.jit_is_on(), reason='kernels are switched off')
RANDOM = np.random.default_rng(4)


def stable(x, axis, largest):
    if not largest:
        return x.argsort(axis, kind='stable')
    return x.shape[axis] - 1 - np.flip(np.flip(x, axis).argsort(axis, kind='stable'), axis)


@pytest.mark.parametrize('shape, axis, k', [
    ((20, 1030), 1, 5), ((9, 700), 1, 1), ((3000, 4), 0, 20), ((40000,), 0, 600), ((70, 41), 1, 41), ((300, 5), 0, 2)])
@pytest.mark.parametrize('dtype', ['float32', 'float16', 'int32'])
@pytest.mark.parametrize('special', ['random', 'ties', 'nan', 'zeros'])
@pytest.mark.parametrize('largest', [True, False])
def test_first_few(shape, axis, k, dtype, special, largest):
    x = RANDOM.normal(size=shape) * 1000
    if special == 'ties':
        x = np.rint(x / 500)
    if special == 'zeros':
        x = np.where(RANDOM.random(shape) < 0.5, 0.0, -0.0)
    x = x.astype(dtype)
    if special == 'nan' and dtype != 'int32':
        x[RANDOM.random(shape) < 0.002] = np.nan
    np.testing.assert_array_equal(selection.top(x, k, axis, largest), stable(x, axis, largest).take(range(k), axis))


def test_what_does_not_fit():
    x = RANDOM.normal(size=(20, 2000)).astype(np.float32)
    assert selection.top(x, 0, 1, True) is None and selection.top(x, 900, 1, True) is None
    assert selection.top(x.astype(np.float64), 3, 1, True) is None
    alone = np.zeros((500, selection.selection.slots(properties.target())), np.float32)
    alone[:, 0] = 1 + np.arange(500)  # all of the largest in one slot: too many reach the bound
    assert selection.top(alone.reshape(-1), 20, 0, True) is None
    values, places = flambeau.topk(flambeau.from_numpy(alone.reshape(-1)), 20)
    assert values.tolist() == list(range(500, 480, -1)) and places.tolist() == [k * alone.shape[1] for k in range(499, 479, -1)]


@pytest.mark.parametrize('shape, axis', [((60, 77), 0), ((3, 40, 130), 1), ((9, 5, 4, 30), 1)])
@pytest.mark.parametrize('dtype', ['float16', 'bfloat16', 'float32', 'float64', 'int32', 'int64'])
@pytest.mark.parametrize('largest', [True, False])
def test_extremes_along_columns(shape, axis, dtype, largest):
    dtype, name = getattr(flambeau, dtype).numpy, dtype
    x = RANDOM.integers(-9, 9, shape).astype(dtype)
    if 'float' in name:
        x[RANDOM.random(shape) < 0.02] = np.nan
    if not properties.computes(dtype):
        assert selection.extremes(x, axis, largest, True) is None
        return
    compared = x.astype(np.float64)
    places = (np.argmax if largest else np.argmin)(compared, axis)
    values, got = selection.extremes(x, axis, largest, True)
    np.testing.assert_array_equal(got, places)
    expected = np.take_along_axis(compared, np.expand_dims(places, axis), axis).squeeze(axis)
    np.testing.assert_array_equal(values.astype(np.float64), expected)
    assert values.dtype == x.dtype
    assert selection.extremes(x, axis, largest, False)[0] is None


@pytest.mark.parametrize('dtype', ['float32', 'float64', 'int32', 'int64'])
@pytest.mark.parametrize('right', [False, True])
def test_places_in_sorted_rows(dtype, right):
    for n in (1, 2, 7, 64, 1000):
        bounds = np.sort(RANDOM.integers(-50, 50, (3, n)).astype(dtype), -1)
        values = RANDOM.integers(-60, 60, (3, 1501)).astype(dtype)
        if dtype.startswith('float'):
            values[:, ::50], values[:, 1], values[:, 2] = np.nan, np.inf, -np.inf
            bounds[1, n - n // 3:] = np.nan
        rows = [np.searchsorted(b, v, 'right' if right else 'left') for b, v in zip(bounds, values)]
        rows = [np.where(v != v, n, found) for v, found in zip(values, rows)]
        np.testing.assert_array_equal(selection.searched(bounds, values, right), np.stack(rows))
        wide = np.tile(values[0], (2, 1))
        np.testing.assert_array_equal(selection.searched(bounds[0], wide, right), np.stack([rows[0]] * 2))
