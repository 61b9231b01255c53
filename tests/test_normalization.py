"""Normalisation: derivatives of every order, running statistics, state dicts and errors as PyTorch's."""
import numpy as np
import pytest

import flambeau
import flambeau.nn.functional as F
from flambeau import nn
from flambeau.autograd.gradcheck import gradcheck, gradgradcheck

# name, input shape, parameter shape, call(x, weight, bias)
FUNCTIONS = {
    'batch_norm': ((3, 2, 4), (2,), lambda x, w, b: F.batch_norm(x, None, None, w, b, True)),
    'batch_norm of vectors': ((4, 3), (3,), lambda x, w, b: F.batch_norm(x, None, None, w, b, True)),
    'batch_norm in evaluation': ((3, 2, 4), (2,), lambda x, w, b: F.batch_norm(
        x, flambeau.ones(2, dtype=x.dtype), flambeau.ones(2, dtype=x.dtype) * 2, w, b)),
    'layer_norm': ((2, 3, 4), (3, 4), lambda x, w, b: F.layer_norm(x, (3, 4), w, b)),
    'group_norm': ((2, 4, 3), (4,), lambda x, w, b: F.group_norm(x, 2, w, b)),
    'instance_norm': ((2, 3, 4), (3,), lambda x, w, b: F.instance_norm(x, None, None, w, b)),
    'rms_norm': ((2, 3, 4), (4,), lambda x, w, b: F.rms_norm(x, (4,), w)),
    'local_response_norm': ((2, 5, 3), (1,), lambda x, w, b: F.local_response_norm(x, 3, 0.5))}


@pytest.mark.parametrize('name', FUNCTIONS)
@pytest.mark.parametrize('parameters', ['none', 'weight', 'bias', 'both'])
def test_gradients(name, parameters):
    shape, affine, call = FUNCTIONS[name]
    flambeau.manual_seed(0)
    operands = [flambeau.randn(size, dtype=flambeau.float64, requires_grad=True) for size in (shape, affine, affine)]
    weight, bias = parameters in ('weight', 'both'), parameters in ('bias', 'both')

    def function(x, *rest):
        rest = list(rest)
        return call(x, rest.pop(0) if weight else None, rest.pop(0) if bias else None)
    unused = name in ('rms_norm', 'local_response_norm')
    if unused and parameters != 'none' and not (name == 'rms_norm' and parameters == 'weight'):
        pytest.skip('it has no such parameter')
    inputs = operands[:1] + operands[1:2] * weight + operands[2:] * bias
    assert gradcheck(function, inputs) and gradgradcheck(function, inputs)


@pytest.mark.parametrize('name', FUNCTIONS)
@pytest.mark.parametrize('parameters', ['none', 'weight', 'bias', 'both'])
def test_gradients_in_float32_are_those_in_float64(name, parameters):
    """float32 goes through kernels at any size, float64 of a few numbers through array functions."""
    shape, affine, call = FUNCTIONS[name]
    if name in ('rms_norm', 'local_response_norm') and parameters != 'none':
        pytest.skip('it has not both parameters')
    found = []
    for dtype in (flambeau.float64, flambeau.float32):
        flambeau.manual_seed(0)
        drawn = [flambeau.randn(size, dtype=flambeau.float64).to(dtype).requires_grad_() for size in (shape, affine, affine)]
        given = drawn[1] if parameters in ('weight', 'both') else None, drawn[2] if parameters in ('bias', 'both') else None
        out = call(drawn[0], *given)
        (out * out.detach().cos()).sum().backward()
        found.append([out.detach(), *[t.grad for t in (drawn[0], *given) if t is not None]])
    for wanted, got in zip(*found):
        flambeau.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=1e-5)


LAYERS = [('BatchNorm1d', (3,), {}, (4, 3)), ('BatchNorm1d', (3,), {'momentum': None}, (4, 3, 2)),
          ('BatchNorm2d', (3,), {'affine': False}, (2, 3, 2, 2)), ('BatchNorm3d', (3,), {}, (2, 3, 2, 2, 2)),
          ('BatchNorm2d', (3,), {'track_running_stats': False}, (2, 3, 2, 2)), ('SyncBatchNorm', (3,), {}, (4, 3)),
          ('InstanceNorm1d', (3,), {'track_running_stats': True, 'affine': True}, (4, 3, 5)),
          ('InstanceNorm2d', (3,), {}, (3, 4, 5)), ('LayerNorm', (3,), {'bias': False}, (4, 3)),
          ('LayerNorm', ((2, 3),), {}, (4, 2, 3)), ('GroupNorm', (2, 4), {}, (3, 4, 2)), ('RMSNorm', (3,), {}, (4, 3)),
          ('LocalResponseNorm', (2,), {}, (2, 3, 4))]


@pytest.mark.parametrize('name, arguments, options, shape', LAYERS, ids=[f'{n}-{o}' for n, _, o, _ in LAYERS])
def test_layers_over_several_steps(name, arguments, options, shape):
    torch = pytest.importorskip('torch')
    ours, theirs = (getattr(f.nn, name)(*arguments, **options) for f in (flambeau, torch))
    assert repr(ours) == repr(theirs)
    for step, training in enumerate((True, True, False, True, False)):
        values = (np.random.default_rng(step).standard_normal(shape) * 2 + 1).astype('float32')
        ours.train(training)
        theirs.train(training)
        if name == 'SyncBatchNorm' and training:  # PyTorch needs a process group for it
            theirs = torch.nn.BatchNorm1d(*arguments, **options) if step == 0 else theirs
        np.testing.assert_allclose(ours(flambeau.tensor(values)).detach().numpy(),
                                   theirs(torch.tensor(values)).detach().numpy(), rtol=2e-5, atol=2e-6)
        mine, other = ours.state_dict(), theirs.state_dict()
        assert list(mine) == list(other)
        for key in mine:
            np.testing.assert_allclose(mine[key].numpy(), other[key].numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_half_types_keep_their_dtype_and_statistics_theirs(dtype):
    x = (flambeau.randn(6, 3) * 5).to(getattr(flambeau, dtype)).requires_grad_()
    layer = nn.BatchNorm1d(3)
    out = layer(x)
    assert out.dtype is x.dtype and layer.running_mean.dtype is flambeau.float32
    exact = nn.BatchNorm1d(3)(x.detach().float())
    np.testing.assert_allclose(out.detach().float().numpy(), exact.detach().numpy(), atol=0.02)
    out.float().sum().backward()
    assert x.grad.dtype is x.dtype and layer.weight.grad.dtype is flambeau.float32


def test_output_may_be_changed_in_place():
    x = flambeau.randn(4, 3, requires_grad=True)
    for layer in (nn.BatchNorm1d(3), nn.LayerNorm(3), nn.RMSNorm(3)):
        F.relu(layer(x), inplace=True).sum().backward()


def test_running_statistics_count_as_written():
    layer = nn.BatchNorm1d(3)
    before = layer.running_mean._version
    layer(flambeau.randn(4, 3))
    assert layer.running_mean._version > before and layer.num_batches_tracked.item() == 1


def test_conversion_to_sync_batch_norm():
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, bias=False), nn.Sequential(nn.BatchNorm1d(3)))
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    assert isinstance(converted[1], nn.SyncBatchNorm) and isinstance(converted[2][0], nn.SyncBatchNorm)
    assert converted[1].bias is None and list(converted.state_dict()) == list(network.state_dict())
    assert converted(flambeau.randn(4, 2)).shape == (4, 3)


@pytest.mark.parametrize('call, kind', [
    (lambda x: F.batch_norm(x, None, None), RuntimeError),
    (lambda x: F.batch_norm(x[:1], None, None, training=True), ValueError),
    (lambda x: F.batch_norm(x, flambeau.zeros(5), flambeau.ones(5)), RuntimeError),
    (lambda x: F.batch_norm(x, None, None, training=True, eps=-1.0), ValueError),
    (lambda x: F.layer_norm(x, 6), TypeError), (lambda x: F.layer_norm(x, (5,)), RuntimeError),
    (lambda x: F.layer_norm(x, (6,), flambeau.ones(5)), RuntimeError), (lambda x: F.group_norm(x, 4), RuntimeError),
    (lambda x: F.instance_norm(x), ValueError), (lambda x: F.local_response_norm(x, 2), ValueError),
    (lambda x: nn.BatchNorm2d(6)(x), ValueError), (lambda x: nn.GroupNorm(4, 6), ValueError),
    (lambda x: F.layer_norm(x.long(), (6,)), NotImplementedError)])
def test_errors(call, kind):
    with pytest.raises(kind):
        call(flambeau.zeros(4, 6))


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('affine', [True, False])
@pytest.mark.parametrize('shape', [(4, 40, 9, 11), (3, 5, 4, 4), (2, 1, 5, 5), (6, 64, 1, 1)])
def test_channels_last_batches_are_normalised_in_their_order(shape, affine, training):
    torch = pytest.importorskip('torch')
    found = []
    for library in (flambeau, torch):
        random = np.random.default_rng(0)
        x, g = (library.tensor(random.standard_normal(shape).astype('float32').tolist()) for _ in range(2))
        x = x.contiguous(memory_format=library.channels_last).requires_grad_()
        of_channels = [library.tensor(random.random(shape[1]).astype('float32').tolist()) for _ in range(4)]
        parameters = [p.requires_grad_() for p in of_channels[:2]] if affine else []
        y = library.nn.functional.batch_norm(x, *of_channels[2:], *parameters or (None, None), training)
        y.backward(g)
        found.append([v.detach().numpy() for v in (y, x.grad, *of_channels[2:], *[p.grad for p in parameters])])
        found[-1].append(y.stride())
    assert 1 in shape or found[0][-1] == found[1][-1]
    for ours, theirs in zip(found[0][:-1], found[1][:-1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-4)
