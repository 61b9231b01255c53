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


KINDS = 'bool uint8 int8 int16 int32 int64 uint16 float16 bfloat16 float32 float64'.split()


def _numbers(kind, count):
    random = np.random.default_rng(0)
    wide = random.standard_normal(count) * 10.0 ** random.integers(-3, 4, count)
    wide[:4] = 0.0, -0.0, 1 + 2.0 ** -11 + 2.0 ** -30, 2.5
    return (wide * 7).astype(getattr(flambeau, kind).numpy)


def _through_single(x, dtype):
    """The conversion that PyTorch does: to and from halves through float32."""
    halves = 'float16', 'bfloat16'
    if dtype.name in halves or x.dtype.name in halves:
        x = x.astype(np.float32)
    with np.errstate(all='ignore'):
        return x.astype(dtype)


@pytest.mark.parametrize('source', KINDS)
@pytest.mark.parametrize('result', KINDS)
def test_every_kind_of_number_becomes_every_other(source, result):
    x, dtype = _numbers(source, 3001), getattr(flambeau, result).numpy
    found = conversion.converted(x, dtype)
    if source == result:
        assert found is None
        return
    np.testing.assert_array_equal(found, _through_single(x, dtype))


@pytest.mark.parametrize('seed', range(10))
def test_numbers_are_converted_into_arrays_of_any_strides(seed):
    random = np.random.default_rng(seed)
    order = random.permutation(3)
    x = random.standard_normal((40, 50, 60)).astype(FLOAT).transpose(order)
    out = np.zeros((*x.shape[:2], 2 * x.shape[2]), np.float64)[..., :x.shape[2]]
    if seed % 2:
        x = x[::2, 1:]
        out = out[:x.shape[0], :x.shape[1]]
    done = conversion.copied(out, x)
    assert done or seed % 2
    np.testing.assert_array_equal(out, x.astype(np.float64) if done else 0)
    assert not out.base[..., x.shape[2]:].any()


def test_order_in_memory_is_kept():
    x = np.random.default_rng(0).standard_normal((4, 9, 8, 30)).astype(FLOAT).transpose(0, 3, 1, 2)
    got = conversion.converted(x, HALF)
    assert [s * 2 for s in got.strides] == list(x.strides)
    np.testing.assert_array_equal(got, x.astype(HALF))


def test_what_does_not_fit_is_left_to_others():
    assert conversion.converted(np.ones(10_000, FLOAT), np.dtype(np.uint32)) is None
    assert conversion.converted(np.ones(10_000, FLOAT), np.dtype(np.complex64)) is None
    assert conversion.converted(np.ones((100, 200), FLOAT)[:, ::2], HALF) is None
