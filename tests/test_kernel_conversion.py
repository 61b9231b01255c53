"""Generated conversions between float16 and float32 against NumPy's."""
import numpy as np
import pytest

pytest.importorskip('llvmlite')

import flambeau  # noqa: E402
from flambeau.backends.cpu import conversion, properties  # noqa: E402

pytestmark = pytest.mark.skipif(not properties.jit_is_on() or properties.target().vector_bytes < 32,
                                reason='kernels are switched off, or the processor has no conversions of float16')
HALF, FLOAT = np.dtype(np.float16), np.dtype(np.float32)


def _agree(got, want, bits):
    nan = np.isnan(want)
    assert got.dtype == want.dtype and np.isnan(got[nan]).all()
    np.testing.assert_array_equal(got[~nan].view(bits), want[~nan].view(bits))


def test_all_halves_are_widened():
    halves = np.arange(1 << 16, dtype=np.uint16).view(HALF)
    _agree(conversion.converted(halves, FLOAT), halves.astype(FLOAT), np.uint32)


def test_floats_are_rounded_to_nearest():
    random = np.random.default_rng(0)
    x = random.integers(0, 1 << 32, 20_003, dtype=np.uint64).astype(np.uint32).view(FLOAT)
    x[::2] = random.standard_normal(10_002) * 10.0 ** random.integers(-9, 6, 10_002)
    with np.errstate(over='ignore'):
        _agree(conversion.converted(x, HALF), x.astype(HALF), np.uint16)


def test_bfloat16_is_rounded_to_nearest():
    bfloat = flambeau.bfloat16.numpy
    x = np.random.default_rng(0).integers(0, 1 << 32, 20_003, dtype=np.uint64).astype(np.uint32).view(FLOAT)
    made = conversion.converted(x, bfloat)
    assert np.isnan(made[np.isnan(x)]).all()
    np.testing.assert_array_equal(made[~np.isnan(x)].view(np.uint16), x[~np.isnan(x)].astype(bfloat).view(np.uint16))
    every = np.arange(1 << 16, dtype=np.uint16).view(bfloat)
    for kind in (FLOAT, HALF):
        with np.errstate(over='ignore'):
            expected = every.astype(FLOAT).astype(kind)
        np.testing.assert_array_equal(conversion.converted(every, kind), expected)


@pytest.mark.parametrize('dtype', ['bool', 'uint8', 'int64'])
def test_whole_numbers_become_floats(dtype):
    x = np.random.default_rng(0).integers(-2 ** 40, 2 ** 40, (30, 101)).astype(dtype)
    np.testing.assert_array_equal(conversion.converted(x, FLOAT), x.astype(FLOAT))
    if dtype == 'bool':
        np.testing.assert_array_equal(conversion.converted(x, np.dtype(np.int64)), x.astype(np.int64))


def test_order_in_memory_is_kept():
    x = np.random.default_rng(0).standard_normal((4, 9, 8, 30)).astype(FLOAT).transpose(0, 3, 1, 2)
    got = conversion.converted(x, HALF)
    assert [s * 2 for s in got.strides] == list(x.strides)
    np.testing.assert_array_equal(got, x.astype(HALF))


def test_what_does_not_fit_is_left_to_others():
    assert conversion.converted(np.ones(10_000, np.float64), FLOAT) is None
    assert conversion.converted(np.ones((100, 200), FLOAT)[:, ::2], HALF) is None
