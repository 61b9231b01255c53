"""Convolution against loops written out, against its own derivatives, and against PyTorch where that is installed."""
import itertools

import numpy as np
import pytest
from against_torch import agree, arrays

import flambeau
import flambeau.nn.functional as F
from flambeau import nn
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.ops import convolution

# batch (None: unbatched), channels, spatial, output channels, kernel, stride, padding, dilation, groups
CASES = [
    (2, 3, (9,), 4, (3,), 1, 1, 1, 1),
    (None, 4, (11,), 6, (4,), 3, 2, 2, 2),
    (3, 2, (6, 5), 3, (3, 2), (1, 2), (1, 0), 1, 1),
    (2, 4, (7, 8), 4, (3, 3), 1, 1, 1, 4),       # depthwise
    (2, 3, (7, 6), 6, (3, 2), 2, 1, (2, 1), 3),  # two outputs a channel
    (2, 4, (9, 9), 6, (1, 1), 1, 0, 1, 2),       # pointwise
    (2, 4, (5, 6), 3, (1, 1), 2, 0, 1, 1),
    (None, 2, (5, 5), 2, (3, 3), 1, 'same', 2, 1),
    (1, 2, (6, 4), 2, (2, 2), 1, 'same', 1, 1),  # more padding behind than before
    (2, 2, (6, 4), 2, (2, 2), 1, 'valid', 1, 2),
    (1, 2, (4, 5, 4), 2, (2, 3, 2), (1, 2, 1), 1, 1, 1),
    (2, 2, (6, 5, 5), 4, (2, 2, 2), 2, (1, 0, 1), (1, 2, 1), 2),
]
# channels in, spatial, channels out, kernel, stride, padding, output_padding, groups, dilation
TRANSPOSED = [
    (3, (5,), 4, (3,), 2, 1, 1, 1, 1),
    (4, (4, 3), 6, (2, 3), (2, 1), 1, (1, 0), 2, (1, 2)),
    (2, (4, 4), 2, (3, 3), 1, 0, 2, 1, 3),  # output padding beyond the stride
    (4, (5, 4), 4, (3, 3), 2, 0, 1, 4, 1),
    (2, (3, 2, 3), 3, (2, 2, 2), 2, 1, 0, 1, 1),
]


def operands(case, seed=0):
    batch, channels, spatial, outputs, kernel, *_, groups = case
    lead = () if batch is None else (batch,)
    return arrays(seed, (*lead, channels, *spatial), (outputs, channels // groups, *kernel), (outputs,))


def convolve_by_loops(x, w, stride, before, dilation, out, groups):
    """The definition, one multiplication at a time; positions outside of the input count as zero."""
    y = np.zeros((x.shape[0], w.shape[0], *out))
    per_group = w.shape[0] // groups
    for o in range(w.shape[0]):
        first = o // per_group * w.shape[1]
        for at in itertools.product(*map(range, out)):
            for tap in itertools.product(*map(range, w.shape[2:])):
                place = [a * s - p + t * d for a, s, p, t, d in zip(at, stride, before, tap, dilation)]
                if all(0 <= i < n for i, n in zip(place, x.shape[2:])):
                    values = x[(slice(None), slice(first, first + w.shape[1]), *place)]
                    y[(slice(None), o, *at)] += values @ w[(o, slice(None), *tap)]
    return y


def each(value, dims):
    return value if isinstance(value, tuple) else (value,) * dims


@pytest.mark.parametrize('case', CASES, ids=str)
@pytest.mark.parametrize('patch_bytes', [convolution.PATCH_BYTES, 200])
def test_convolution_is_its_definition(case, patch_bytes, monkeypatch):
    monkeypatch.setattr(convolution, 'PATCH_BYTES', patch_bytes)
    batch, channels, spatial, outputs, kernel, stride, padding, dilation, groups = case
    dims = len(spatial)
    x, w, bias = operands(case)
    y = getattr(F, f'conv{dims}d')(*map(flambeau.tensor, (x, w, bias)), stride, padding, dilation, groups)
    steps, dilations = each(stride, dims), each(dilation, dims)
    spans = [d * (k - 1) for d, k in zip(dilations, kernel)]
    if padding == 'same':
        before, out = [s // 2 for s in spans], spatial
    else:
        before = each(0 if padding == 'valid' else padding, dims)
        out = tuple((n + 2 * p - s - 1) // step + 1 for n, p, s, step in zip(spatial, before, spans, steps))
    x = x if batch else x[None]
    expected = convolve_by_loops(x, w, steps, before, dilations, out, groups) + bias.reshape(-1, *(1,) * dims)
    assert y.is_contiguous()
    np.testing.assert_allclose(y.numpy(), expected if batch else expected[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('case', TRANSPOSED, ids=str)
def test_transposed_convolution_is_the_adjoint(case):
    """<conv(y), x> = <y, conv_transpose(x)> for a convolution whose output has the size of x."""
    channels, spatial, outputs, kernel, stride, padding, extra, groups, dilation = case
    dims = len(spatial)
    x, w = arrays(1, (2, channels, *spatial), (channels, outputs // groups, *kernel))
    function = getattr(F, f'conv_transpose{dims}d')
    y = function(flambeau.tensor(x), flambeau.tensor(w), None, stride, padding, extra, groups, dilation)
    size = [(n - 1) * s - 2 * p + d * (k - 1) + e + 1 for n, s, p, d, k, e in
            zip(spatial, *(each(v, dims) for v in (stride, padding, dilation)), kernel, each(extra, dims))]
    assert list(y.shape) == [2, outputs, *size]
    other, = arrays(2, y.shape)
    back = convolve_by_loops(other, w, each(stride, dims), each(padding, dims), each(dilation, dims), spatial, groups)
    np.testing.assert_allclose((back * x).sum(), (other * y.numpy()).sum(), rtol=1e-10)


@pytest.mark.parametrize('case', CASES, ids=str)
def test_convolution_agrees_with_torch(case):
    *_, stride, padding, dilation, groups = case
    agree(f'conv{len(case[2])}d', *operands(case), stride=stride, padding=padding, dilation=dilation, groups=groups)


@pytest.mark.parametrize('case', TRANSPOSED, ids=str)
@pytest.mark.parametrize('with_bias', [True, False])
def test_transposed_convolution_agrees_with_torch(case, with_bias):
    channels, spatial, outputs, kernel, stride, padding, extra, groups, dilation = case
    x, w, bias = arrays(3, (2, channels, *spatial), (channels, outputs // groups, *kernel),
                        (outputs,) if with_bias else None)
    agree(f'conv_transpose{len(spatial)}d', x, w, bias, stride=stride, padding=padding, output_padding=extra,
          groups=groups, dilation=dilation)


@pytest.mark.parametrize('function, shapes, arguments', [
    (F.conv1d, [(2, 2, 5), (4, 1, 3), (4,)], (2, 1, 1, 2)),
    (F.conv2d, [(1, 2, 4, 4), (2, 2, 2, 3), (2,)], (1, 1, 2)),
    (F.conv2d, [(2, 2, 4, 4), (2, 1, 3, 3), None], (1, 1, 1, 2)),
    (F.conv_transpose2d, [(1, 2, 3, 3), (2, 2, 2, 2), (2,)], (2, 0, 1)),
    (F.conv3d, [(1, 1, 3, 3, 3), (2, 1, 2, 2, 2), None], ()),
])
def test_derivatives(function, shapes, arguments):
    inputs = [a if a is None else flambeau.tensor(a, requires_grad=True) for a in arrays(4, *shapes)]

    def call(*tensors):
        return function(*tensors, *arguments)
    assert gradcheck(call, inputs)
    assert gradgradcheck(call, inputs)


def test_complex_gradients_agree_with_torch():
    torch = pytest.importorskip('torch')
    x, w = (a + 1j * b for a, b in zip(arrays(5, (2, 2, 5, 5), (3, 2, 3, 3)), arrays(6, (2, 2, 5, 5), (3, 2, 3, 3))))
    cotangent, other = arrays(7, (2, 3, 5, 5), (2, 3, 5, 5))
    found = []
    for framework in (flambeau, torch):
        a, b = framework.tensor(x).requires_grad_(), framework.tensor(w).requires_grad_()
        y = framework.nn.functional.conv2d(a, b, padding=1)
        y.backward(framework.tensor(cotangent + 1j * other))
        found.append([y.detach().numpy(), a.grad.numpy(), b.grad.numpy()])
    for ours, theirs in zip(*found):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16', 'int64', 'int32', 'uint8'])
def test_dtype_of_the_input_is_kept(dtype):
    dtype = getattr(flambeau, dtype)
    y = F.conv2d(flambeau.ones(1, 2, 5, 5, dtype=dtype), flambeau.ones(3, 2, 3, 3, dtype=dtype), padding=1)
    assert y.dtype is dtype
    assert y[0, 0, 0].tolist() == [8, 12, 12, 12, 8]


def test_half_precision_sums_in_single_precision():
    """4096 ones: a running float16 sum would stop at 2048."""
    y = F.conv1d(flambeau.ones(1, 1, 4096, dtype=flambeau.float16), flambeau.ones(1, 1, 4096, dtype=flambeau.float16))
    assert y.item() == 4096


def test_empty_batch():
    x, w = flambeau.zeros(0, 2, 5, 5, requires_grad=True), flambeau.ones(4, 2, 3, 3, requires_grad=True)
    y = F.conv2d(x, w, flambeau.zeros(4))
    assert y.shape == (0, 4, 3, 3)
    y.sum().backward()
    assert x.grad.shape == x.shape and w.grad.eq(0).all()


X, W = flambeau.zeros(1, 2, 5, 5), flambeau.zeros(4, 2, 3, 3)
REFUSED = [
    (lambda: F.conv2d(flambeau.zeros(5, 5), W), RuntimeError, r'3D \(unbatched\) or 4D'),
    (lambda: F.conv2d(X, flambeau.zeros(4, 2, 3)), RuntimeError, 'expected 4-dimensional weight'),
    (lambda: F.conv2d(flambeau.zeros(1, 3, 5, 5), W), RuntimeError, 'to have 2 channels, but got 3'),
    (lambda: F.conv2d(X, flambeau.zeros(3, 1, 3, 3), groups=2), RuntimeError, 'divisible by 2'),
    (lambda: F.conv2d(X, W, groups=0), RuntimeError, 'non-positive groups'),
    (lambda: F.conv2d(X, W, flambeau.zeros(3)), RuntimeError, 'bias to be 1-dimensional with 4 elements'),
    (lambda: F.conv2d(flambeau.zeros(1, 2, 2, 2), W), RuntimeError, "can't be greater than actual input size"),
    (lambda: F.conv2d(X, W, stride=0), RuntimeError, 'non-positive stride'),
    (lambda: F.conv2d(X, W, stride=(1, 2, 3)), RuntimeError, 'stride must either be a single int'),
    (lambda: F.conv2d(X, W, stride=1.5), TypeError, "argument 'stride'"),
    (lambda: F.conv2d(X, W, padding=-1), RuntimeError, 'negative padding'),
    (lambda: F.conv2d(X, W, dilation=0), RuntimeError, 'dilation should be greater than zero'),
    (lambda: F.conv2d(X, W, padding='full'), RuntimeError, "'valid' or 'same'"),
    (lambda: F.conv2d(X, W, padding='same', stride=2), RuntimeError, 'strided convolutions'),
    (lambda: F.conv2d(X, W.double()), RuntimeError, 'should be the same'),
    (lambda: F.conv2d([1], W), TypeError, "'input' must be Tensor, not list"),
    (lambda: F.conv2d(X > 0, W > 0), NotImplementedError, 'bool'),
    (lambda: F.conv_transpose2d(X, W), RuntimeError, 'to have 4 channels, but got 2'),
    (lambda: F.conv_transpose2d(X, flambeau.zeros(2, 4, 3, 3), output_padding=1), RuntimeError, 'output padding'),
    (lambda: F.conv_transpose2d(X[..., :1, :1], flambeau.zeros(2, 4, 3, 3), padding=2), RuntimeError, 'too small'),
    (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError, 'in_channels must be divisible'),
    (lambda: nn.Conv2d(2, 4, 3, padding='full'), ValueError, 'Invalid padding string'),
    (lambda: nn.Conv2d(2, 4, 3, padding='same', stride=2), ValueError, 'strided convolutions'),
    (lambda: nn.Conv2d(2, 4, 3, padding_mode='mirror'), ValueError, 'padding_mode must be one of'),
    (lambda: nn.ConvTranspose2d(2, 4, 3, padding_mode='reflect'), ValueError, 'Only "zeros"'),
    (lambda: nn.ConvTranspose2d(2, 4, 3)(X, output_size=(9, 9)), ValueError, 'valid sizes range from'),
]


@pytest.mark.parametrize('call, error, text', REFUSED)
def test_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()


LAYERS = {
    'Conv1d(2, 4, 3)': 'Conv1d(2, 4, kernel_size=(3,), stride=(1,))',
    "Conv2d(2, 4, (3, 5), 2, (1, 2), 2, 2, False, 'circular')":
        'Conv2d(2, 4, kernel_size=(3, 5), stride=(2, 2), padding=(1, 2), dilation=(2, 2), groups=2, bias=False, '
        'padding_mode=circular)',
    "Conv2d(2, 4, 3, padding='same')": 'Conv2d(2, 4, kernel_size=(3, 3), stride=(1, 1), padding=same)',
    'Conv3d(2, 2, 2)': 'Conv3d(2, 2, kernel_size=(2, 2, 2), stride=(1, 1, 1))',
    'ConvTranspose1d(2, 4, 3)': 'ConvTranspose1d(2, 4, kernel_size=(3,), stride=(1,))',
    'ConvTranspose2d(2, 4, 3, 2, 1, 1)':
        'ConvTranspose2d(2, 4, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), output_padding=(1, 1))',
    'ConvTranspose3d(2, 2, 2, groups=2)':
        'ConvTranspose3d(2, 2, kernel_size=(2, 2, 2), stride=(1, 1, 1), groups=2)',
}


@pytest.mark.parametrize('layer', LAYERS)
def test_layers_print_as_in_torch(layer):
    assert repr(eval('nn.' + layer)) == LAYERS[layer]


def test_first_draws_of_a_layer():
    """The weights and bias that PyTorch 2.13 draws after manual_seed(0)."""
    flambeau.manual_seed(0)
    layer = nn.Conv2d(1, 1, 2)
    np.testing.assert_allclose(layer.weight.detach().numpy().ravel(),
                               [-0.00374341, 0.2682218, -0.41152257, -0.36796951], rtol=1e-5)
    np.testing.assert_allclose(layer.bias.item(), -0.19257718, rtol=1e-6)


@pytest.mark.parametrize('layer', [*LAYERS, "Conv1d(2, 2, 3, padding='same', padding_mode='reflect')",
                                   "Conv3d(2, 2, 2, padding=1, padding_mode='replicate')"])
def test_layers_agree_with_torch(layer):
    torch = pytest.importorskip('torch')
    dims = int(layer[layer.index('d(') - 1])
    x, = arrays(7, (2, 2, *(8,) * dims), dtype='float32')
    results = []
    for framework in (flambeau, torch):
        framework.manual_seed(11)
        module = eval('framework.nn.' + layer)
        y = module(framework.tensor(x))
        y.square().sum().backward()
        results.append([y.detach().numpy(), *(p.detach().numpy() for p in module.parameters()),
                        *(p.grad.numpy() for p in module.parameters())])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-4)


def test_transposed_layer_takes_the_size_of_its_output():
    layer = nn.ConvTranspose2d(2, 3, 3, stride=2)
    x = flambeau.zeros(1, 2, 4, 4)
    assert layer(x).shape == (1, 3, 9, 9)
    assert layer(x, output_size=(10, 9)).shape == (1, 3, 10, 9)
    assert layer(x, output_size=(1, 3, 9, 10)).shape == (1, 3, 9, 10)


@pytest.mark.parametrize('groups', [1, 2, 8])
@pytest.mark.parametrize('dtype', ['float32', 'float64', 'float16'])
@pytest.mark.parametrize('size', [6, 24])
def test_channels_last_is_kept(groups, dtype, size):
    x = flambeau.randn(2, 8, size, size).to(getattr(flambeau, dtype))
    w = flambeau.randn(8, 8 // groups, 3, 3).to(x.dtype)
    expected = F.conv2d(x, w, padding=1, groups=groups)
    assert expected.is_contiguous()
    last = x.to(memory_format=flambeau.channels_last).requires_grad_()
    got = F.conv2d(last, w, padding=1, groups=groups)
    assert got.is_contiguous(memory_format=flambeau.channels_last)
    flambeau.testing.assert_close(got.detach(), expected, rtol=2e-3, atol=2e-3)
    got.sum().backward()
    assert last.grad.is_contiguous(memory_format=flambeau.channels_last)
    up = F.conv_transpose2d(last.detach(), w, stride=2, groups=groups)
    assert up.is_contiguous(memory_format=flambeau.channels_last)
