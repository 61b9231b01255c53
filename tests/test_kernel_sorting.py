"""The radix sort against NumPy's stable sort: ties, signs of zero, nan, both directions."""
import numpy as np
import pytest

pytest.importorskip('llvmlite')

import flambeau  # noqa: E402
from flambeau.backends.cpu import properties, sorting  # noqa: E402

pytestmark = pytest.mark.skipif(not properties.jit_is_on(), reason='kernels are switched off')
RANDOM = np.random.default_rng(0)
INPUTS = {
    'normal': RANDOM.normal(size=(2, 5000)).astype('float32'),
    'ties': RANDOM.integers(-3, 3, 7001).astype('float32') * np.float32(0.5),
    'whole range': RANDOM.integers(0, 2 ** 32, 9000, dtype='u4').view('f4'),
    'special': RANDOM.choice(np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-45, -1e-45], 'f4'), 4096),
    'integers': RANDOM.integers(-2 ** 31, 2 ** 31, (3, 2048)).astype('int32'),
    'long integers': RANDOM.integers(-2 ** 62, 2 ** 62, (3, 2000)), 'close together': RANDOM.integers(0, 50, (9, 300)),
    'doubles': RANDOM.integers(0, 2 ** 64, (2, 9000), dtype='u8').view('f8'), 'halves': RANDOM.normal(size=9001).astype('f2'),
    'all alike': np.ones((3, 1000), 'f4'),
}


@pytest.mark.parametrize('name', INPUTS)
def test_order_is_stable(name):
    x = INPUTS[name]
    np.testing.assert_array_equal(sorting.order(x, x.ndim - 1, False), x.argsort(-1, kind='stable'))
    backwards = x.shape[-1] - 1 - np.flip(np.flip(x, -1).argsort(-1, kind='stable'), -1)
    np.testing.assert_array_equal(sorting.order(x, -1, True), backwards)
    if x.ndim == 2:
        np.testing.assert_array_equal(sorting.order(x.T, 0, False), x.argsort(-1, kind='stable').T)


def test_other_arrays_are_left_alone():
    assert sorting.order(RANDOM.normal(size=5000).astype('complex64'), 0, False) is None
    assert sorting.order(INPUTS['normal'], 0, False) is None
    assert sorting.order(INPUTS['normal'][:, :100], 1, False) is None


def test_sort_of_a_tensor_with_strides():
    x = INPUTS['normal'].T.copy().T
    values, places = flambeau.sort(flambeau.tensor(x), descending=True)
    np.testing.assert_array_equal(values.numpy(), -np.sort(-x, -1))
    np.testing.assert_array_equal(np.take_along_axis(x, places.numpy(), -1), values.numpy())
