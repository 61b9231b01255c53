"""Pooling against loops written out, against its own derivatives, and against PyTorch where that is installed."""
import itertools

import numpy as np
import pytest
from against_torch import agree, arrays

import flambeau
import flambeau.nn.functional as F
from flambeau import nn
from flambeau.autograd import gradcheck, gradgradcheck

# shape, kernel, stride, padding, dilation, ceil_mode
WINDOWS = [
    ((2, 3, 11), 3, 2, 1, 1, False),
    ((3, 12), 4, None, 0, 1, True),
    ((2, 2, 9), 2, 3, 1, 3, True),
    ((2, 3, 8, 8), 2, None, 0, 1, False),
    ((2, 2, 7, 9), (3, 2), (2, 1), (1, 0), (1, 2), True),
    ((2, 6, 5), 3, 1, 1, 1, False),
    ((1, 2, 6, 6), 5, 4, 2, 1, True),  # fewer windows than taps
    ((1, 2, 5, 6, 5), 2, 2, 1, 1, True),
    ((2, 5, 4, 6), (2, 3, 2), 1, (1, 1, 0), 1, False),
]


def rank(kernel, shape):
    """The number of spatial dimensions: ranks 3 to 5 are batches unless the case is in UNBATCHED."""
    return len(shape) - (1 if shape in UNBATCHED else 2)


UNBATCHED = {(3, 12), (2, 6, 5), (2, 5, 4, 6)}


def each(value, dims):
    return value if isinstance(value, tuple) else (value,) * dims


def windows(x, dims, kernel, stride, padding, dilation, ceil_mode):
    """Yields (output position, [positions inside of the input]) by the definition."""
    kernel, padding, dilation = (each(v, dims) for v in (kernel, padding, dilation))
    stride = kernel if stride is None else each(stride, dims)
    counts = []
    for n, k, s, p, d in zip(x.shape[-dims:], kernel, stride, padding, dilation):
        room = n + 2 * p - d * (k - 1) - 1
        count = -(-room // s) + 1 if ceil_mode else room // s + 1
        counts.append(count - 1 if ceil_mode and (count - 1) * s >= n + p else count)
    for at in itertools.product(*map(range, counts)):
        places = itertools.product(*([a * s - p + k * d for k in range(size)]
                                     for a, s, p, d, size in zip(at, stride, padding, dilation, kernel)))
        yield at, [q for q in places if all(0 <= i < n for i, n in zip(q, x.shape[-dims:]))]


@pytest.mark.parametrize('case', WINDOWS, ids=str)
@pytest.mark.parametrize('content', ['normal', 'ties', 'minus infinity', 'int64'])
def test_max_pool_is_its_definition(case, content):
    shape, *arguments = case
    dims = rank(arguments[0], shape)
    x, = arrays(0, shape)
    if content in ('ties', 'int64'):
        x = np.round(x)
    if content == 'minus infinity':
        x[x < 0.8] = -np.inf
    if content == 'int64':
        x = x.astype('int64')
    kernel, stride, padding, dilation, ceil_mode = arguments
    y, indices = getattr(F, f'max_pool{dims}d')(flambeau.tensor(x), kernel, stride, padding, dilation, ceil_mode, True)
    plain = getattr(F, f'max_pool{dims}d')(flambeau.tensor(x), *arguments)
    assert y.dtype is plain.dtype and indices.dtype is flambeau.int64
    for at, places in windows(x, dims, *arguments):
        flat = [np.ravel_multi_index(q, shape[-dims:]) for q in places]
        values = np.stack([x[(..., *q)] for q in places], -1)
        np.testing.assert_array_equal(y.numpy()[(..., *at)], values.max(-1))
        np.testing.assert_array_equal(plain.numpy()[(..., *at)], values.max(-1))
        np.testing.assert_array_equal(indices.numpy()[(..., *at)], np.array(flat)[values.argmax(-1)])


@pytest.mark.parametrize('case', [c for c in WINDOWS if c[4] == 1], ids=str)
@pytest.mark.parametrize('count_include_pad', [True, False])
def test_avg_pool_is_its_definition(case, count_include_pad):
    shape, kernel, stride, padding, dilation, ceil_mode = case
    dims = rank(kernel, shape)
    x, = arrays(1, shape)
    y = getattr(F, f'avg_pool{dims}d')(flambeau.tensor(x), kernel, stride, padding, ceil_mode, count_include_pad)
    steps = each(kernel if stride is None else stride, dims)
    for at, places in windows(x, dims, kernel, stride, padding, 1, ceil_mode):
        total = sum(x[(..., *q)] for q in places)
        count = len(places)
        if count_include_pad:
            count = np.prod([min(a * s - p + k, n + p) - (a * s - p) for a, s, p, k, n in
                             zip(at, steps, each(padding, dims), each(kernel, dims), shape[-dims:])])
        np.testing.assert_allclose(y.numpy()[(..., *at)], total / count, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize('shape, out', [((2, 3, 10), (3,)), ((2, 7, 9), (4, 9)), ((1, 2, 8, 6), (4, 2)),
                                        ((1, 2, 5, 7, 4), (2, 3, 1)), ((2, 3, 4, 5), (6, 7)), ((1, 1, 40), (3,))])
def test_adaptive_pools_are_their_definition(shape, out):
    dims = len(out)
    x, = arrays(2, shape)
    average = getattr(F, f'adaptive_avg_pool{dims}d')(flambeau.tensor(x), out).numpy()
    highest, indices = getattr(F, f'adaptive_max_pool{dims}d')(flambeau.tensor(x), out, True)
    for at in itertools.product(*map(range, out)):
        part = x[(..., *(slice(a * n // o, -(-(a + 1) * n // o)) for a, n, o in zip(at, shape[-dims:], out)))]
        axes = tuple(range(-dims, 0))
        np.testing.assert_allclose(average[(..., *at)], part.mean(axes), rtol=1e-10, atol=1e-12)
        np.testing.assert_array_equal(highest.numpy()[(..., *at)], part.max(axes))
    planes = x.reshape(*shape[:-dims], -1)
    flat = indices.numpy().reshape(*shape[:-dims], -1)
    np.testing.assert_array_equal(np.take_along_axis(planes, flat, -1), highest.numpy().reshape(flat.shape))


@pytest.mark.parametrize('kernel', [3, 8])
def test_nan_spreads(kernel):
    x = np.zeros((1, 1, 8))
    x[..., 4] = np.nan
    y, indices = F.max_pool1d(flambeau.tensor(x), kernel, 1, return_indices=True)
    touched = [i <= 4 < i + kernel for i in range(y.shape[-1])]
    assert y[0, 0].isnan().tolist() == touched
    assert all(index == 4 for index, nan in zip(indices[0, 0].tolist(), touched) if nan)


@pytest.mark.parametrize('case', WINDOWS, ids=str)
def test_pools_agree_with_torch(case):
    shape, kernel, stride, padding, dilation, ceil_mode = case
    dims = rank(kernel, shape)
    x, = arrays(3, shape)
    for return_indices in (True, False):
        agree(f'max_pool{dims}d', x, kernel, stride, padding, dilation, ceil_mode, return_indices)
    for count_include_pad in (True, False):
        agree(f'avg_pool{dims}d', x, kernel, stride, padding, ceil_mode, count_include_pad)
    if dims > 1:
        agree(f'avg_pool{dims}d', x, kernel, stride, padding, divisor_override=3)
    for norm_type in (1, 2.5, float('inf')):
        agree(f'lp_pool{dims}d', abs(x) + 0.1, norm_type, each(kernel, dims)[0], stride, ceil_mode)


@pytest.mark.parametrize('shape, out', [((2, 3, 10), 3), ((2, 7, 9), (4, None)), ((1, 2, 8, 6), 2),
                                        ((1, 2, 5, 7, 4), (2, None, 1)), ((2, 3, 4, 5), (6, 7))])
def test_adaptive_pools_agree_with_torch(shape, out):
    dims = len(shape) - (1 if len(shape) == 3 and isinstance(out, tuple) else 2)
    x, = arrays(4, shape)
    agree(f'adaptive_avg_pool{dims}d', x, out)
    agree(f'adaptive_max_pool{dims}d', x, out, return_indices=True)


@pytest.mark.parametrize('shape, kernel, out', [((2, 3, 9, 8), 2, (4, 3)), ((3, 9, 8), (3, 2), (3, 1)),
                                                ((1, 2, 7, 8, 9), 2, (3, 4, 5))])
def test_fractional_pools_agree_with_torch(shape, kernel, out):
    torch = pytest.importorskip('torch')
    dims = len(out)
    x, = arrays(5, shape)
    samples = np.random.default_rng(6).random((shape[0] if len(shape) == dims + 2 else 1, shape[-dims - 1], dims))
    function = f'fractional_max_pool{dims}d'
    expected = getattr(torch.nn.functional, function)(torch.tensor(x), kernel, out, return_indices=True,
                                                      _random_samples=torch.tensor(samples))
    found = getattr(F, function)(flambeau.tensor(x), kernel, out, return_indices=True,
                                 _random_samples=flambeau.tensor(samples))
    for ours, theirs in zip(found, expected):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_fractional_pool_draws_from_the_generator():
    x = flambeau.tensor(arrays(6, (1, 2, 20, 20))[0])
    results = []
    for seed in (1, 1, 2):
        flambeau.manual_seed(seed)
        results.append(F.fractional_max_pool2d(x, 2, output_ratio=0.4))  # steps of 18/7: whole ones would not vary
    assert results[0].shape == (1, 2, 8, 8)
    assert results[0].equal(results[1]) and not results[0].equal(results[2])


@pytest.mark.parametrize('shape, dims', [((2, 2, 8), 1), ((3, 6, 8), 2), ((1, 2, 4, 6, 4), 3)])
def test_unpooling_puts_values_back(shape, dims):
    x, = arrays(7, shape)
    y, indices = getattr(F, f'max_pool{dims}d')(flambeau.tensor(x), 2, return_indices=True)
    back = getattr(F, f'max_unpool{dims}d')(y, indices, 2)
    assert back.shape == x.shape
    kept = back.numpy() != 0
    np.testing.assert_array_equal(back.numpy()[kept], x[kept])
    assert kept.sum() == y.numel()
    assert back.sum().item() == pytest.approx(y.sum().item())


@pytest.mark.parametrize('function', [
    lambda x: F.max_pool2d(x, 3, 2, 1), lambda x: F.max_pool2d(x, 2, 1, return_indices=True)[0],
    lambda x: F.avg_pool2d(x, 3, 2, 1, True, False), lambda x: F.adaptive_avg_pool2d(x, (3, 4)),
    lambda x: F.adaptive_max_pool2d(x, (2, 3)), lambda x: F.lp_pool2d(x.abs() + 0.5, 2, 2),
    lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),
])
def test_derivatives(function):
    x = flambeau.tensor(arrays(8, (1, 2, 5, 6))[0], requires_grad=True)
    assert gradcheck(function, (x,))
    assert gradgradcheck(function, (x,))


def test_overlapping_windows_add_their_gradients():
    x = flambeau.tensor([[[1., 5., 2., 0.]]], requires_grad=True)
    F.max_pool1d(x, 2, 1).sum().backward()
    assert x.grad.tolist() == [[[0, 2, 1, 0]]]


@pytest.mark.parametrize('dtype', [flambeau.float16, flambeau.bfloat16])
def test_half_precision(dtype):
    x = flambeau.tensor(np.arange(32.).reshape(1, 2, 4, 4)).to(dtype)
    assert F.max_pool2d(x, 2)[0, 0].tolist() == [[5, 7], [13, 15]]
    assert F.avg_pool2d(x, 2)[0, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]
    assert F.adaptive_avg_pool2d(x, 3)[0, 0].tolist() == [[2.5, 3.5, 4.5], [6.5, 7.5, 8.5], [10.5, 11.5, 12.5]]
    assert F.max_pool2d(x, 2).dtype is F.adaptive_avg_pool2d(x, 3).dtype is dtype


X = flambeau.zeros(1, 2, 5, 5)
INDICES = flambeau.zeros(1, 2, 2, 2, dtype=flambeau.int64)
REFUSED = [
    (lambda: F.max_pool2d(X, (1, 2, 3)), RuntimeError, 'kernel_size must either be a single int'),
    (lambda: F.max_pool2d(X, 2.5), TypeError, 'kernel_size'),
    (lambda: F.max_pool2d(X, 2, padding=2), RuntimeError, 'at most half of effective kernel size'),
    (lambda: F.max_pool2d(X, 2, stride=0), RuntimeError, 'stride should be greater than zero'),
    (lambda: F.max_pool2d(X, 2, padding=-1), RuntimeError, 'non-negative'),
    (lambda: F.max_pool2d(flambeau.zeros(5, 5), 2), RuntimeError, '3D'),
    (lambda: F.max_pool2d(X, 9), RuntimeError, 'too small'),
    (lambda: F.max_pool2d(X > 0, 2), NotImplementedError, 'bool'),
    (lambda: F.max_pool2d([1], 2), TypeError, 'not list'),
    (lambda: F.avg_pool2d(X, 2, divisor_override=0), RuntimeError, 'divisor'),
    (lambda: F.avg_pool2d(X, 9), RuntimeError, 'too small'),
    (lambda: F.adaptive_avg_pool2d(X, (-1, 2)), RuntimeError, 'greater than or equal to 0'),
    (lambda: F.adaptive_avg_pool2d(X, (1, 2, 3)), RuntimeError, 'output_size must be 2'),
    (lambda: F.adaptive_avg_pool2d(flambeau.zeros(1, 2, 0, 5), 2), RuntimeError, 'non-zero size'),
    (lambda: F.adaptive_max_pool2d(flambeau.zeros(2, 2), (2, 2)), ValueError, 'at least 3'),
    (lambda: F.max_unpool2d(X[..., :2, :2], INDICES + 99, 2), RuntimeError, 'invalid max index: 99'),
    (lambda: F.max_unpool2d(X[..., :2, :2], INDICES.int(), 2), RuntimeError, 'int64'),
    (lambda: F.max_unpool2d(X, INDICES, 2), RuntimeError, 'same as that of the input'),
    (lambda: F.max_unpool2d(X[..., :2, :2], INDICES, 2, output_size=(9, 9)), ValueError, 'between 2 and 6'),
    (lambda: F.fractional_max_pool2d(X, 2), ValueError, 'output_size or an output_ratio'),
    (lambda: F.fractional_max_pool2d(X, 2, output_size=5), RuntimeError, 'too large relative to input'),
    (lambda: nn.FractionalMaxPool2d(2, 3, 0.5), ValueError, 'only one of'),
    (lambda: nn.FractionalMaxPool3d(2, output_ratio=1.5), ValueError, 'between 0 and 1'),
]


@pytest.mark.parametrize('call, error, text', REFUSED)
def test_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()


LAYERS = {
    'MaxPool2d(3, 2, 1)': 'MaxPool2d(kernel_size=3, stride=2, padding=1, dilation=1, ceil_mode=False)',
    'MaxPool1d(2)': 'MaxPool1d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)',
    'MaxUnpool2d(2)': 'MaxUnpool2d(kernel_size=(2, 2), stride=(2, 2), padding=(0, 0))',
    'AvgPool1d(2)': 'AvgPool1d(kernel_size=(2,), stride=(2,), padding=(0,))',
    'AvgPool3d(3, 1, 1)': 'AvgPool3d(kernel_size=3, stride=1, padding=1)',
    'LPPool2d(2, 3)': 'LPPool2d(norm_type=2, kernel_size=3, stride=None, ceil_mode=False)',
    'AdaptiveAvgPool2d((1, None))': 'AdaptiveAvgPool2d(output_size=(1, None))',
    'AdaptiveMaxPool3d(2)': 'AdaptiveMaxPool3d(output_size=2)',
    'FractionalMaxPool2d(2, output_ratio=0.5)': 'FractionalMaxPool2d()',
}


@pytest.mark.parametrize('layer', LAYERS)
def test_layers(layer):
    module = eval('nn.' + layer)
    assert repr(module) == LAYERS[layer]
    x = flambeau.tensor(arrays(9, (2, 3, *(8,) * int(layer[layer.index('d(') - 1])))[0])
    if 'Unpool' in layer:
        pooled, indices = F.max_pool2d(x, 2, return_indices=True)
        assert module(pooled, indices).shape == x.shape
    else:
        assert module(x).shape[:2] == (2, 3)
