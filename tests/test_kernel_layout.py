"""Copies into C order by generated kernels against NumPy's: orders of axes, sizes of words, edges of squares."""
import numpy as np
import pytest

pytest.importorskip('llvmlite')

import flambeau  # noqa: E402
from flambeau.backends.cpu import layout, properties  # noqa: E402

pytestmark = pytest.mark.skipif(not properties.jit_is_on(), reason='kernels are switched off')
CASES = [  # shape in memory, order of axes looked at; planes, images, runs, small planes
    ((128, 96), (1, 0)), ((101, 333), (1, 0)), ((3, 5, 40, 37), (0, 2, 3, 1)), ((4, 13, 11, 64), (0, 3, 1, 2)),
    ((4, 50, 6, 70), (0, 2, 1, 3)), ((2, 90, 90, 3), (0, 1, 3, 2)), ((9, 3, 17, 23), (2, 0, 3, 1)), ((1, 9, 2000), (2, 0, 1))]


@pytest.mark.parametrize('shape, order', CASES)
@pytest.mark.parametrize('dtype', ['bool', 'float16', 'float32', 'int64'])
def test_copies_are_exact(shape, order, dtype):
    x = np.random.default_rng(0).integers(0, 200, shape).astype(dtype).transpose(order)
    made = layout.dense(x)
    if made is None:
        assert min(x.shape) < layout.SMALLEST_PLANE or x.flags.c_contiguous
        return
    assert made.flags.c_contiguous and made.dtype == x.dtype
    np.testing.assert_array_equal(made, x)


def test_parts_of_arrays():
    x = np.arange(200 * 300, dtype=np.float32).reshape(200, 300)
    for part in (x[3:, 5:170], x.T[7:90, 1:], x[::-1, :100].T, x[:, ::-1].T):
        made = layout.dense(part)
        assert made is None or made.flags.c_contiguous
        np.testing.assert_array_equal(part if made is None else made, part)
    assert layout.dense(x) is None and layout.dense(x[:, ::2]) is None and layout.dense(x[:50, :50].T) is None


def test_tensors():
    x = flambeau.randn(90, 4, 130)
    np.testing.assert_array_equal(x.transpose(0, 2).contiguous().numpy(), x.numpy().transpose(2, 1, 0))
    np.testing.assert_array_equal(x.transpose(0, 2).reshape(-1).numpy(), x.numpy().transpose(2, 1, 0).reshape(-1))
    image = flambeau.randn(2, 12, 40, 41)
    turned = image.contiguous(memory_format=flambeau.channels_last)
    assert turned.is_contiguous(memory_format=flambeau.channels_last) and flambeau.equal(turned, image)


@pytest.mark.parametrize('dtype', ['bool', 'float16', 'float32', 'int64'])
def test_runs(dtype):
    x = np.random.default_rng(0).integers(0, 200, (3, 120, 1001)).astype(dtype)
    wide = np.zeros((3, 130, 1010), dtype)
    for source in (x, x[:, :, ::-1], x[::-1, ::-1], np.broadcast_to(x[:, :, :1], x.shape), np.broadcast_to(x[:1, :1], x.shape)):
        place = wide[:, 4:124, 7:1008]
        wide[...] = 0
        assert layout.copied(place, source)
        expected = np.zeros_like(wide)
        expected[:, 4:124, 7:1008] = source
        np.testing.assert_array_equal(wide, expected)
    assert layout.copied(x, x[:, :, ::-1]) is None  # of the same memory


def test_joined_flipped_and_padded():
    x, y = np.arange(2 * 300 * 500, dtype=np.float32).reshape(2, 300, 500), np.ones((2, 300, 77), np.float32)
    np.testing.assert_array_equal(layout.joined([x, y, x], -1), np.concatenate([x, y, x], -1))
    np.testing.assert_array_equal(layout.joined([x, x[:1]], 0), np.concatenate([x, x[:1]], 0))
    assert layout.joined([x, y], 0) is None and layout.joined([x, y.astype(np.float64)], 2) is None
    tensor = flambeau.from_numpy(x)
    np.testing.assert_array_equal(tensor.flip(1, 2).numpy(), x[:, ::-1, ::-1])
    np.testing.assert_array_equal(flambeau.nn.functional.pad(tensor, (1, 2, 3, -4), value=7.0).numpy(),
                                  np.pad(x[:, :-4], ((0, 0), (3, 0), (1, 2)), constant_values=7))
    expected = np.concatenate([x[:, :, :1], x[:, :, :-1]], 2)
    tensor[:, :, 1:] = tensor[:, :, :-1].clone()
    np.testing.assert_array_equal(tensor.numpy(), expected)


@pytest.mark.parametrize('dtype', ['uint8', 'float16', 'float32', 'int64'])
@pytest.mark.parametrize('shape', [(100, 200), (3, 50, 77), (5, 1000, 9)])
def test_triangles(shape, dtype):
    x = np.random.default_rng(0).integers(1, 100, shape).astype(dtype)
    for diagonal in (-60, -3, 0, 1, 40, 3000):
        for source in (x, np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)):
            np.testing.assert_array_equal(layout.triangle(source, diagonal, False), np.tril(x, diagonal))
            np.testing.assert_array_equal(layout.triangle(source, diagonal, True), np.triu(x, diagonal))
