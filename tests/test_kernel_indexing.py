"""Index arrays and masks by generated kernels against NumPy: the very bits of one operation after another, in order."""
import numpy as np
import pytest

pytest.importorskip('llvmlite')

import flambeau  # noqa: E402
from flambeau.backends.cpu import indexing, properties  # noqa: E402

pytestmark = pytest.mark.skipif(not properties.jit_is_on(), reason='kernels are switched off')
RANDOM = np.random.default_rng(5)
DTYPES = [name for name in ('float32', 'float64', 'float16', 'int64', 'uint8') if properties.computes(np.dtype(name))]


def numbers(shape, dtype):
    return RANDOM.integers(0, 50, shape).astype(dtype) if dtype[0] in 'iu' else RANDOM.normal(size=shape).astype(dtype)


@pytest.mark.parametrize('shape, count, axis', [((50, 64), 400, 0), ((7, 299), 300, 0), ((1000, 1), 5000, 0), ((4, 9, 65), 90, 1),
                                                ((33, 40), 300, 1), ((2, 30, 2), 4000, 1)])
@pytest.mark.parametrize('dtype', DTYPES)
def test_rows(shape, count, axis, dtype):
    rows = RANDOM.integers(0, shape[axis], count)
    values = numbers((*shape[:axis], count, *shape[axis + 1:]), dtype)
    table = numbers(shape, dtype)
    np.testing.assert_array_equal(indexing.take_rows(table, axis, rows), table.take(rows, axis))
    at = (slice(None),) * axis + (rows,)
    for ufunc in (np.add, np.maximum, np.multiply, None):
        for given in (values, np.array(3, dtype)):
            made, expected = table.copy(), table.copy()
            assert indexing.combine_rows(made, axis, rows, given, ufunc)
            if ufunc is None:
                expected[at] = given
            else:
                with np.errstate(over='ignore', invalid='ignore'):
                    ufunc.at(expected, at, given)
            np.testing.assert_array_equal(made, expected)
    expected = table.copy()
    wrong = np.append(rows[1:], shape[axis])
    assert indexing.combine_rows(table, axis, wrong, values, np.add) is None and indexing.take_rows(table, axis, wrong) is None
    np.testing.assert_array_equal(table, expected)


@pytest.mark.parametrize('shape, axis, count', [
    ((40, 130), 1, 130), ((40, 130), 0, 90), ((3, 50, 7), 1, 300), ((9000,), 0, 5000), ((5003, 10), 1, 1)])
@pytest.mark.parametrize('dtype', DTYPES)
def test_elements(shape, axis, count, dtype):
    x = numbers(shape, dtype)
    index = RANDOM.integers(0, shape[axis], (*shape[:axis], count, *shape[axis + 1:]))
    np.testing.assert_array_equal(indexing.read(x, axis, index), np.take_along_axis(x, index, axis))
    y = numbers(index.shape, dtype)
    if dtype.startswith('float'):
        y[RANDOM.random(y.shape) < 0.05] = np.nan
    places = tuple(index if d == axis else np.arange(n).reshape((-1,) + (1,) * (len(shape) - 1 - d)) for d, n in enumerate(shape))
    for ufunc in (None, np.add, np.multiply, np.maximum, np.minimum):
        for given in (y, y.reshape(-1)[:1].reshape(())):
            made, expected = x.copy(), x.copy()
            assert indexing.combine(made, axis, index, given, ufunc)
            if ufunc is None:
                expected[places] = given
            else:
                with np.errstate(invalid='ignore'):
                    ufunc.at(expected, places, given)
            np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize('shape', [(70000,), (300, 41), (9, 30, 31), (2, 3, 40, 50)])
@pytest.mark.parametrize('share', [0, 0.002, 0.5, 1])
def test_masks(shape, share):
    mask = RANDOM.random(shape) < share
    np.testing.assert_array_equal(indexing.places(mask), np.argwhere(mask))
    for dtype in ('bool', 'float16', 'float32', 'complex64'):
        x = numbers(shape, 'float32').astype(dtype)
        np.testing.assert_array_equal(indexing.chosen(x, mask), x[mask])
        y, expected = x[mask][::-1], x.copy()
        expected[mask] = y
        assert indexing.spread(x, mask, y)
        np.testing.assert_array_equal(x, expected)
    assert indexing.spread(x, mask, np.append(y, y.dtype.type(1))) is None


def test_operations_leave_everything_as_it_was_where_an_index_is_out_of_range():
    x, index = flambeau.zeros(200, 100), flambeau.full((200, 100), 3)
    index[150, 7] = 200
    before = x.clone()
    for operation in (lambda: x.scatter_add_(0, index, flambeau.ones(200, 100)), lambda: x.scatter_(0, index, 1.0),
                      lambda: x.gather(0, index), lambda: x.index_add_(0, index[:, 7], flambeau.ones(200, 100))):
        with pytest.raises(RuntimeError, match='200'):
            operation()
    for operation in (lambda: x.__setitem__(index[150], 1.0), lambda: x.index_put_((index[150],), x[:100], accumulate=True),
                      lambda: x[index[150]], lambda: x.index_select(0, index[:, 7])):
        with pytest.raises(IndexError, match='200'):
            operation()
    assert flambeau.equal(x, before)


def test_results_do_not_depend_on_threads():
    x, index = flambeau.randn(100, 400), flambeau.randint(0, 100, (300, 400))
    values, mask = flambeau.randn(300, 400), flambeau.randn(300, 400) > 0.3

    def run():
        return [x.scatter_add(0, index, values), x.index_add(0, index[:, 0], values), values[mask], mask.nonzero()]
    threads = flambeau.get_num_threads()
    try:
        flambeau.set_num_threads(1)
        alone = run()
    finally:
        flambeau.set_num_threads(threads)
    assert all(flambeau.equal(a, b) for a, b in zip(alone, run()))


def test_numbers_where_a_mask_is_true():
    x = flambeau.randn(300, 50)
    mask = x > 0.5
    expected = np.where(mask.numpy(), np.float32(-np.inf), x.numpy())
    np.testing.assert_array_equal(x.masked_fill(mask, float('-inf')).numpy(), expected)
    x[mask] = float('-inf')
    np.testing.assert_array_equal(x.numpy(), expected)
    x.masked_fill_(mask[:1], 2)
    np.testing.assert_array_equal(x.numpy(), np.where(mask.numpy()[:1], np.float32(2), expected))


@pytest.mark.parametrize('dtype', ['float32', 'float64', 'float16', 'int64'])
@pytest.mark.parametrize('width', [1, 7, 64, 130])
def test_sums_of_bags(width, dtype):
    random = np.random.default_rng(width)
    x = random.integers(-9, 9, (50, width)).astype(dtype)
    sizes = random.integers(0, 9, 300)
    rows = random.integers(0, 50, sizes.sum())
    expected = np.zeros((300, width), dtype)
    np.add.at(expected, np.repeat(np.arange(300), sizes), x[rows])
    np.testing.assert_array_equal(indexing.sum_bags(x, rows, sizes), expected)
    assert indexing.sum_bags(x[:, ::2], rows, sizes) is None or width == 1
