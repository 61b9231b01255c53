"""Keys, index tensors and masks: reading, writing, gradients, errors; and gather, scatter and the index_* family."""
import random
import warnings

import numpy as np
import pytest

import flambeau as torch

T = torch.tensor


def counted(*shape):
    """0, 1, 2, ... in a shape."""
    return torch.arange(float(np.prod(shape))).reshape(shape)


def same(a, b):
    return a.dtype is b.dtype and a.tolist() == b.tolist()


READ = [  # key of counted(2, 3, 4), shape, some of the values
    (1, (3, 4), [12, 13, 14]),
    (-1, (3, 4), [12, 13, 14]),
    ((1, 2, 3), (), [23]),
    (slice(1, 2), (1, 3, 4), [12, 13]),
    ((..., 1), (2, 3), [1, 5, 9, 13]),
    ((slice(None), slice(0, 3, 2), slice(-1, None)), (2, 2, 1), [3, 11, 15, 23]),
    (None, (1, 2, 3, 4), [0, 1]),
    ((0, None, ..., None), (1, 3, 4, 1), [0, 1]),
    (True, (1, 2, 3, 4), [0, 1]),
    (False, (0, 2, 3, 4), []),
    ([1, 0, 1], (3, 3, 4), [12, 13]),
    ((0, slice(None), T([1, 3])), (3, 2), [1, 3, 5, 7, 9, 11]),  # NumPy would put the index's dimension first
    ((T([0, 1]), slice(None), T([0, 3])), (2, 3), [0, 4, 8, 15, 19, 23]),
    ((slice(None), T([0, 2]), T([1, 3])), (2, 2), [1, 11, 13, 23]),
    ((T([[0], [1]]), T([0, 2])), (2, 2, 4), [0, 1, 2, 3, 8]),
    ((T([0, 1]), 1, T([2, 3])), (2,), [6, 19]),
    ((slice(None), [[0, 1], [2, 0]]), (2, 2, 2, 4), [0, 1, 2, 3, 4]),
    (T(1), (3, 4), [12]),
    (T(True), (1, 2, 3, 4), [0, 1]),
    (T([True, False]), (1, 3, 4), [0, 1]),
    ((slice(None), T([False, True, True]), 0), (2, 2), [4, 8, 16, 20]),
    (T([[True, False, False], [False, False, True]]), (2, 4), [0, 1, 2, 3, 20]),
    (np.array([1, 0]), (2, 3, 4), [12]),
    (range(1), (1, 3, 4), [0, 1]),
    ((T([], dtype=torch.int64),), (0, 3, 4), []),
]


@pytest.mark.parametrize('key, shape, first', READ)
def test_reading(key, shape, first):
    found = counted(2, 3, 4)[key]
    assert tuple(found.shape) == shape
    assert found.flatten().tolist()[:len(first)] == first


@pytest.mark.filterwarnings('error')
def test_list_that_is_no_index_tensor_is_a_tuple_with_a_warning():
    with pytest.raises(UserWarning, match='non-tuple sequence'):
        counted(2, 3)[[slice(None), 1]]


ERRORS = [
    (5, IndexError, 'index 5 is out of bounds for dimension 0 with size 2'),
    ((0, -4), IndexError, 'index -4 is out of bounds for dimension 1 with size 3'),
    ((0, 0, 0, 0), IndexError, 'too many indices for tensor of dimension 3'),
    (slice(None, None, -1), ValueError, 'step must be greater than zero'),
    (1.0, IndexError, 'only integers, slices'),
    (T([0, 5]), IndexError, 'index 5 is out of bounds for dimension 0 with size 2'),
    ((slice(None), T([-4])), IndexError, 'index -4 is out of bounds for dimension 1 with size 3'),
    ((T([0, 1]), T([0, 1, 2])), IndexError, 'could not be broadcast together with shapes [2], [3]'),
    (T([0.0]), IndexError, 'must be long, int, byte or bool'),
    (T([True, False, True]), IndexError, 'The shape of the mask [3] at index 0'),
    ('a', TypeError, 'integers or booleans'),
]


@pytest.mark.parametrize('key, kind, text', ERRORS)
def test_refused_keys(key, kind, text):
    x = counted(2, 3, 4)
    for use in (lambda: x[key], lambda: x.__setitem__(key, 1.0)):
        with pytest.raises(kind) as caught:
            use()
        assert text in str(caught.value)
    assert same(x, counted(2, 3, 4))


def test_number_has_no_elements():
    with pytest.raises(IndexError, match='0-dim'):
        T(1.0)[0]


def test_basic_keys_give_views_and_index_tensors_copies():
    x = counted(2, 3)
    view, copy = x[1, :2], x[T([1])]
    view[0] = 100.0
    copy[0, 1] = 200.0
    assert x.tolist() == [[0, 1, 2], [100, 4, 5]]


WRITTEN = [  # key, value, result on counted(2, 3)
    (0, 7.0, [[7, 7, 7], [3, 4, 5]]),
    ((slice(None), 1), T([8.0, 9.0]), [[0, 8, 2], [3, 9, 5]]),
    (T([1]), T([[1.0, 2.0, 3.0]]), [[0, 1, 2], [1, 2, 3]]),
    ((T([0, 1]), T([2, 0])), 9.0, [[0, 1, 9], [9, 4, 5]]),
    (T([[True, False, True], [False, False, True]]), T([5.0, 6.0, 7.0]), [[5, 1, 6], [3, 4, 7]]),
    (..., T([[[1.0]]]), [[1, 1, 1], [1, 1, 1]]),
    (1, T([1, 2, 3], dtype=torch.int32), [[0, 1, 2], [1, 2, 3]]),
    (False, 1.0, [[0, 1, 2], [3, 4, 5]]),
]


@pytest.mark.parametrize('key, value, expected', WRITTEN)
def test_writing(key, value, expected):
    x = counted(2, 3)
    x[key] = value
    assert x.tolist() == expected


REFUSED_VALUES = [
    (0, T([1.0, 2.0]), RuntimeError, 'expanded size'),
    (T([0, 1]), torch.zeros(4), RuntimeError, 'cannot be broadcast to indexing result of shape [2, 3]'),
    (T([0]), T([1], dtype=torch.int32), RuntimeError, 'dtype'),
    (0, [1.0, 2.0, 3.0], TypeError, 'list'),
    (0, 1j, RuntimeError, 'overflow'),
    (0, 1e300, RuntimeError, 'overflow'),
]


@pytest.mark.parametrize('key, value, kind, text', REFUSED_VALUES)
def test_refused_values_change_nothing(key, value, kind, text):
    x = counted(2, 3)
    with pytest.raises(kind) as caught:
        x[key] = value
    assert text in str(caught.value) and same(x, counted(2, 3))


def test_integers_wrap_only_as_in_pytorch():
    x = torch.zeros(2, dtype=torch.uint8)
    x[0] = -1
    assert x.tolist() == [255, 0]
    with pytest.raises(RuntimeError, match='overflow'):
        x[1] = 300


def test_value_that_overlaps_its_place():
    x = counted(5)
    x[1:] = x[:-1]
    assert x.tolist() == [0, 0, 1, 2, 3]


def test_gradient_counts_repeated_indices():
    x = counted(3).requires_grad_()
    (x[T([0, 0, 2])] * T([1.0, 2.0, 4.0])).sum().backward()
    assert x.grad.tolist() == [3, 0, 4]


def test_gradients_of_writing():
    x, v = counted(3).requires_grad_(), T([5.0], requires_grad=True)
    y = x * 2
    y[T([1])] = v
    (y * T([1.0, 10.0, 100.0])).sum().backward()
    assert x.grad.tolist() == [2, 0, 200] and v.grad.tolist() == [10]


def test_writing_into_a_leaf_is_refused():
    x = counted(3).requires_grad_()
    with pytest.raises(RuntimeError, match='leaf'):
        x[0] = 1.0
    assert x.tolist() == [0, 1, 2]


def test_recorded_index_is_not_changed_by_later_writes():
    x, index = counted(3).requires_grad_(), T([0, 1])
    y = x[index].sum()
    index[0] = 2
    y.backward()
    assert x.grad.tolist() == [1, 1, 0]


@pytest.mark.parametrize('key, name', [(0, 'Select'), (slice(1, 2), 'Slice'), (None, 'Unsqueeze'), (..., 'Alias'),
                                       (T([0]), 'Index'), ((0, slice(1, None)), 'Slice')])
def test_gradient_node_names(key, name):
    assert type(counted(2, 3).requires_grad_()[key].grad_fn).__name__ == name + 'Backward0'


# ---- gather, scatter, index_* --------------------------------------------------------------------------

TABLE = [  # call on counted(2, 3), result
    (lambda x: x.gather(1, T([[2, 0], [1, 1]])), [[2, 0], [4, 4]]),
    (lambda x: x.scatter(1, T([[2], [0]]), T([[7.0], [8.0]])), [[0, 1, 7], [8, 4, 5]]),
    (lambda x: x.scatter(1, T([[2], [0]]), 9), [[0, 1, 9], [9, 4, 5]]),
    (lambda x: x.scatter_add(0, T([[1, 1, 1], [1, 0, 0]]), torch.ones(2, 3)), [[0, 2, 3], [5, 5, 6]]),
    (lambda x: x.scatter_reduce(1, T([[0, 0, 2]]), T([[5.0, 7.0, 1.0]]), 'amax'), [[7, 1, 2], [3, 4, 5]]),
    (lambda x: x.scatter_reduce(1, T([[0, 0, 2]]), T([[5.0, 7.0, 1.0]]), 'mean', include_self=False),
     [[6, 1, 1], [3, 4, 5]]),
    (lambda x: x.index_select(1, T([2, 0])), [[2, 0], [5, 3]]),
    (lambda x: x.index_add(0, T([1, 1]), torch.ones(2, 3), alpha=2), [[0, 1, 2], [7, 8, 9]]),
    (lambda x: x.index_copy(1, T([0]), T([[7.0], [8.0]])), [[7, 1, 2], [8, 4, 5]]),
    (lambda x: x.index_fill(1, T([-1]), 9.0), [[0, 1, 9], [3, 4, 9]]),
    (lambda x: x.index_reduce(0, T([0, 0]), torch.full((2, 3), 2.0), 'prod'), [[0, 4, 8], [3, 4, 5]]),
    (lambda x: x.index_put((T([0, 0]), T([1, 1])), T([5.0, 6.0]), accumulate=True), [[0, 12, 2], [3, 4, 5]]),
    (lambda x: x.masked_fill(T([[True], [False]]), -1.0), [[-1, -1, -1], [3, 4, 5]]),
    (lambda x: x.masked_select(T([True, False, True])), [0, 2, 3, 5]),
    (lambda x: x.masked_scatter(T([True, False, True]), counted(6) + 10), [[10, 1, 11], [12, 4, 13]]),
    (lambda x: x.take(T([[0, -1]])), [[0, 5]]),
    (lambda x: x.put(T([0, 0]), T([5.0, 6.0]), accumulate=True), [[11, 1, 2], [3, 4, 5]]),
    (lambda x: torch.take_along_dim(x, T([[1], [-1]]), 1), [[1], [5]]),
    (lambda x: torch.select_scatter(x, T([7.0, 8.0]), 1, 0), [[7, 1, 2], [8, 4, 5]]),
    (lambda x: torch.slice_scatter(x, T([[7.0, 8.0, 9.0]]), 0, 1), [[0, 1, 2], [7, 8, 9]]),
    (lambda x: torch.diagonal_scatter(x, T([7.0, 8.0]), 1), [[0, 7, 2], [3, 4, 8]]),
    (lambda x: torch.as_strided_scatter(x, T([7.0, 8.0]), (2,), (2,), 1), [[0, 7, 2], [8, 4, 5]]),
]


@pytest.mark.parametrize('call, expected', TABLE)
def test_results(call, expected):
    x = counted(2, 3)
    assert call(x).tolist() == expected
    assert same(x, counted(2, 3))


@pytest.mark.parametrize('call, expected', TABLE)
def test_gradients_agree_with_differences(call, expected):
    x = (counted(2, 3) / 7 + 0.3).double().requires_grad_()

    def score(x):
        y = call(x.float()).double() if x.dtype is torch.float64 else call(x)
        weights = torch.arange(1.0, y.numel() + 1).double().reshape(y.shape)
        return (y * weights).sum()
    score(x).backward()
    for place in range(6):
        step = torch.zeros(6).double()
        step[place] = 0.01
        with torch.no_grad():
            slope = (score(x + step.reshape(2, 3)) - score(x - step.reshape(2, 3))).item() / 0.02
        assert slope == pytest.approx(x.grad.flatten()[place].item(), abs=0.02)


IN_PLACE = [
    lambda x: x.scatter_(1, T([[2], [0]]), 9.0), lambda x: x.scatter_add_(0, T([[1, 0, 0]]), torch.ones(1, 3)),
    lambda x: x.index_add_(0, T([1]), torch.ones(1, 3)), lambda x: x.index_copy_(0, T([0]), torch.ones(1, 3)),
    lambda x: x.index_fill_(0, T([0]), 2.0), lambda x: x.masked_fill_(x > 2, 0.0),
    lambda x: x.index_put_((T([0]),), T(4.0)), lambda x: x.put_(T([0]), T([4.0])),
    lambda x: x.masked_scatter_(x > 2, torch.ones(2, 3)),
    lambda x: x.scatter_reduce_(0, T([[0, 0, 0]]), torch.ones(1, 3), 'sum'),
]


@pytest.mark.parametrize('call', IN_PLACE)
def test_in_place_forms_write_through_views_and_pass_gradients(call):
    base = counted(3, 2).requires_grad_()
    whole = base * 1
    part = whole.t()
    assert call(part) is part
    assert same(whole.t(), part)
    whole.sum().backward()
    apart = counted(3, 2).requires_grad_()
    call((apart * 1).t().clone()).sum().backward()
    assert same(base.grad, apart.grad)


REFUSED = [
    (lambda x: x.gather(1, T([[3], [0]])), RuntimeError, 'index 3 is out of bounds'),
    (lambda x: x.gather(1, T([0])), RuntimeError, 'same number of dimensions'),
    (lambda x: x.gather(1, T([[0.0]])), RuntimeError, 'int64'),
    (lambda x: x.gather(2, T([[0]])), IndexError, 'Dimension out of range'),
    (lambda x: x.scatter_(1, T([[5]]), 1.0), RuntimeError, 'out of bounds'),
    (lambda x: x.scatter_(1, T([[0]]), T([[1]])), RuntimeError, 'dtype'),
    (lambda x: x.scatter_(1, T([[0]]), 1.0, reduce='sum'), RuntimeError, 'add or multiply'),
    (lambda x: x.scatter_reduce_(1, T([[0]]), T([[1.0]]), 'add'), RuntimeError, 'amax'),
    (lambda x: x.index_select(0, T([2])), IndexError, 'out of range'),
    (lambda x: x.index_add_(0, T([0, 1]), torch.ones(1, 3)), RuntimeError, 'Number of indices'),
    (lambda x: x.index_copy_(0, T([7]), torch.ones(1, 3)), IndexError, 'out of range'),
    (lambda x: x.masked_fill_(x, 1.0), RuntimeError, 'boolean'),
    (lambda x: x.masked_fill_(torch.ones(2, 2, 3, dtype=torch.bool), 1.0), RuntimeError, 'broadcast shape'),
    (lambda x: x.masked_scatter_(x > -1, T([1.0])), RuntimeError, 'Number of elements'),
    (lambda x: x.take(T([6])), IndexError, 'out of range'),
    (lambda x: x.put_(T([0, 1]), T([1.0])), IndexError, 'same number of elements'),
    (lambda x: x.index_put_((T([9]),), T(1.0)), IndexError, 'out of bounds'),
    (lambda x: torch.slice_scatter(x, T([1.0])), RuntimeError, 'size equal to the slice'),
]


@pytest.mark.parametrize('call, kind, text', REFUSED)
def test_refusals_change_nothing(call, kind, text):
    x = counted(2, 3)
    with pytest.raises(kind) as caught:
        call(x)
    assert text in str(caught.value) and same(x, counted(2, 3))


@pytest.mark.parametrize('count, places, width', [(5000, 50, 3), (200, 50, 80), (40, 50, 80)])
def test_rows_are_added_in_order(count, places, width):
    draw = np.random.default_rng(0)
    rows = draw.permutation(places)[:count] if count < places else draw.integers(0, places, count)
    values = draw.standard_normal((count, width)).astype('float32')
    expected = np.zeros((places, width), 'float32')
    for row, value in zip(rows, values):
        expected[row] += value
    rows, values = torch.from_numpy(rows), torch.from_numpy(values)
    zeros = torch.zeros(places, width)
    for found in (zeros.index_add(0, rows, values), zeros.index_put((rows,), values, accumulate=True),
                  zeros.scatter_add(0, rows[:, None].expand(count, width), values),
                  torch.zeros(width, places).index_add(1, rows, values.t()).t()):
        assert found.numpy().tobytes() == expected.tobytes()


@pytest.mark.parametrize('call', [
    lambda x, out: torch.gather(x, 0, T([2, 0]), out=out), lambda x, out: torch.take(x, T([2, 0]), out=out),
    lambda x, out: torch.masked_select(x, T([True, False, True, False]), out=out)])
def test_out_in_the_memory_of_an_operand_is_refused(call):
    x = counted(4)
    with pytest.raises(RuntimeError, match='single memory location'):
        call(x, x[:2])
    with pytest.raises(RuntimeError, match='dtype'):
        call(x, torch.zeros(2, dtype=torch.float64))
    assert same(x, counted(4))
    out = torch.zeros(2)
    assert call(x, out) is out and sorted(out.tolist()) == [0, 2]


# ---- against PyTorch -----------------------------------------------------------------------------------

def random_item(pick, size):
    kind = pick.randrange(7)
    if kind == 0:
        return pick.randint(-size, size - 1)
    if kind == 1:
        return slice(pick.choice([None, pick.randint(-3, 3)]), pick.choice([None, pick.randint(-3, 4)]),
                     pick.choice([None, 1, 2]))
    if kind == 2:
        return np.array([pick.random() < 0.5 for _ in range(size)])
    shape = pick.choice([(2,), (1,), (2, 1), (2, 2)])
    return np.array([pick.randint(-size, size - 1) for _ in range(int(np.prod(shape)))]).reshape(shape)


def random_key(pick, shape):
    key = [random_item(pick, size) for size in shape[:pick.randint(0, len(shape))]]
    for extra in (None, Ellipsis):
        if pick.random() < 0.25:
            key.insert(pick.randint(0, len(key)) if extra is None else len(key), extra)
    return key


def test_random_keys_read_write_and_differentiate_as_in_pytorch():
    theirs = pytest.importorskip('torch')
    pick = random.Random(0)

    def outcome(framework, values, key, written):
        key = tuple(framework.from_numpy(k.copy()) if isinstance(k, np.ndarray) else k for k in key)
        x = framework.from_numpy(values.copy()).requires_grad_()
        try:
            y = x[key]
            (y * y).sum().backward()
            z = x * 3
            z[key] = framework.from_numpy(written(tuple(y.shape))).requires_grad_()
            return y.detach().numpy(), x.grad.numpy(), z.detach().numpy()
        except (IndexError, RuntimeError) as error:
            return type(error)

    for _ in range(300):
        shape = [pick.choice([1, 2, 3, 4]) for _ in range(pick.randint(1, 4))]
        values = np.random.default_rng(pick.randrange(10 ** 6)).standard_normal(shape)
        key = random_key(pick, shape)
        drop = pick.random() < 0.5

        def written(shape):
            return np.full(shape[1:] if drop else shape, 2.5)
        ours, expected = outcome(torch, values, key, written), outcome(theirs, values, key, written)
        if isinstance(expected, type) or isinstance(ours, type):
            assert ours is expected, key
        else:
            for a, b in zip(ours, expected):
                np.testing.assert_array_equal(a, b, err_msg=str(key))


# ---- expanded tensors: written where elements lie apart, or where all get the same value

WRITES_OF_EXPANDED = {  # of [[0, 1, 2, 3]] expanded to three rows: what the row is then, None where it is refused
    'e[0, 0] = 1': [1, 1, 2, 3], 'e[0] = 1': [1, 1, 1, 1], 'e[:1] = 7': [7, 7, 7, 7], 'e[1, 2] = torch.tensor(5.)': [0, 1, 5, 3],
    'e[2] = torch.ones(4)': [1, 1, 1, 1], 'e[[0], [1]] = 9.': [0, 9, 2, 3], 'e[torch.tensor([0, 1])] = 9.': [9, 9, 9, 9],
    'e[e > 1] = 0': [0, 1, 0, 0], 'e[0].add_(1)': [1, 2, 3, 4], 'e[0, 0].neg_().sub_(1)': [-1, 1, 2, 3],
    'e[0:1].mul_(2)': [0, 2, 4, 6], 'e.T[0, 0] = 5': [5, 1, 2, 3], 'e.detach()[0, 3] = 5': [0, 1, 2, 5],
    'e.fill_(4)': [4, 4, 4, 4], 'e.zero_()': [0, 0, 0, 0], 'e[:, 1].zero_()': [0, 0, 2, 3], 'e.copy_(e)': [0, 1, 2, 3],
    'e.masked_fill_(e > 1, 8.)': [0, 1, 8, 8], 'e.index_fill_(1, torch.tensor([0]), 8.)': [8, 1, 2, 3],
    'e.index_put_((torch.tensor([0]),), torch.tensor(1.))': [1, 1, 1, 1], 'e.numpy()[0, 0] = 2': [2, 1, 2, 3],
    'e[1].clamp_(1, 2)': [1, 1, 2, 2], 'torch.add(e[0], 1, out=e[1])': [1, 2, 3, 4], 'e[0][1] = 8': [0, 8, 2, 3],
    'e[:, 0] = 1': None, 'e[:] = 1': None, 'e[...] = torch.ones(4)': None, 'e[None] = 1': None, 'e.add_(1)': None, 'e += 1': None,
    'e.copy_(torch.ones(3, 4))': None, 'e.clamp_(0, 1)': None, 'e.uniform_()': None, 'torch.exp(torch.ones(3, 4), out=e)': None,
    'e.index_add_(0, torch.tensor([0]), torch.ones(1, 4))': None, 'e.scatter_(0, torch.tensor([[0]]), 1.)': None,
    'torch.nn.functional.relu_(e)': None, 'e.data.mul_(2)': None, 'e[1:].exp_()': None}


def written_expanded(torch, code):
    base = torch.arange(4.).reshape(1, 4)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            exec(code, {'e': base.expand(3, 4), 'torch': torch})
    except RuntimeError as error:
        assert 'one memory location' in str(error) or 'single memory location' in str(error)
        assert base.tolist() == [[0, 1, 2, 3]]
        return None
    return base[0].tolist()


@pytest.mark.parametrize('code', WRITES_OF_EXPANDED)
def test_expanded_tensors_are_written_where_pytorch_writes_them(code):
    assert written_expanded(torch, code) == WRITES_OF_EXPANDED[code]
    assert written_expanded(pytest.importorskip('torch'), code) == WRITES_OF_EXPANDED[code]


def test_gradients_pass_writes_to_parts_of_expanded_tensors():
    x = torch.tensor([[1., 2., 3.]], requires_grad=True)
    y = x * 2
    v = y.expand(2, 3)
    v[0] = torch.tensor([1., 2., 3.]) * x[0]
    (v * torch.arange(6.).reshape(2, 3)).sum().backward(retain_graph=True)
    assert v.tolist() == [[1, 4, 9]] * 2 and x.grad.tolist() == [[3, 10, 21]]
    x.grad = None
    (y * torch.arange(3.)).sum().backward()
    assert x.grad.tolist() == [[0, 2, 6]]


def test_read_only_memory_is_not_written():
    array = np.ones(3)
    array.flags.writeable = False
    x = torch.from_numpy(array)
    for write in (lambda: x.add_(1), lambda: x[0:1].fill_(2), lambda: x.__setitem__(0, 2), lambda: torch.exp(x, out=x)):
        with pytest.raises(RuntimeError, match='read-only'):
            write()
    assert array.tolist() == [1, 1, 1]
