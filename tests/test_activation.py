"""Activation functions, softmax and their layers: PyTorch's values, derivatives, labels and errors."""
import numpy as np
import pytest

import flambeau
import flambeau.nn.functional as F
from flambeau import nn
from flambeau.autograd.gradcheck import gradcheck, gradgradcheck

# name, options, PyTorch's label of the node, whether there is an in-place form
FUNCTIONS = [
    ('relu', {}, 'ReluBackward0', True), ('relu6', {}, 'HardtanhBackward0', True),
    ('leaky_relu', {'negative_slope': 0.2}, 'LeakyReluBackward0', True), ('elu', {'alpha': 1.5}, 'EluBackward0', True),
    ('selu', {}, 'EluBackward0', True), ('celu', {'alpha': 0.5}, 'CeluBackward0', True),
    ('gelu', {}, 'GeluBackward0', False), ('gelu', {'approximate': 'tanh'}, 'GeluBackward0', False),
    ('silu', {}, 'SiluBackward0', True), ('mish', {}, 'MishBackward0', True),
    ('softplus', {'beta': 2.0, 'threshold': 3.0}, 'SoftplusBackward0', False), ('softsign', {}, 'DivBackward0', False),
    ('tanhshrink', {}, 'SubBackward0', False), ('hardtanh', {'min_val': -0.5}, 'HardtanhBackward0', True),
    ('hardsigmoid', {}, 'HardsigmoidBackward0', True), ('hardswish', {}, 'HardswishBackward0', True),
    ('hardshrink', {'lambd': 0.3}, 'HardshrinkBackward0', False),
    ('softshrink', {'lambd': 0.3}, 'SoftshrinkBackward0', False),
    ('threshold', {'threshold': 0.1, 'value': 20.0}, 'ThresholdBackward0', True),
    ('logsigmoid', {}, 'LogSigmoidBackward0', False), ('glu', {'dim': 1}, 'GluBackward0', False),
    ('softmax', {'dim': 1}, 'SoftmaxBackward0', False), ('log_softmax', {'dim': 0}, 'LogSoftmaxBackward0', False),
    ('softmin', {'dim': -1}, 'SoftmaxBackward0', False), ('sigmoid', {}, 'SigmoidBackward0', False),
    ('tanh', {}, 'TanhBackward0', False)]
EXTREMES = [0.0, -0.0, 1e-30, -1e-30, 400.0, -400.0, np.inf, -np.inf, np.nan, 3.0, -3.0, 20.5]


def names(table):
    return [f'{row[0]}{"" if not row[1] else "-" + str(row[1])}' for row in table]


@pytest.mark.parametrize('name, options, label, inplace', FUNCTIONS, ids=names(FUNCTIONS))
def test_values_derivatives_and_labels(name, options, label, inplace):
    torch = pytest.importorskip('torch')
    values = np.random.default_rng(1).standard_normal((4, 6)) * 3
    results = []
    for framework in (flambeau, torch):
        x = framework.tensor(values, requires_grad=True)
        y = getattr(framework.nn.functional, name)(x, **options)
        assert y.grad_fn.name() == label
        g, = framework.autograd.grad((y * y).sum(), x, create_graph=True)
        # PyTorch differentiates hardsigmoid once
        second = () if name == 'hardsigmoid' else framework.autograd.grad((g * g).sum(), x)
        results.append([t.detach().numpy() for t in (y, g, *second)])
    for ours, theirs in zip(*results):
        np.testing.assert_allclose(ours, theirs, rtol=5e-8, atol=1e-11)  # constants of PyTorch's are float32


# not gelu: PyTorch's is a rough one in float32, and nan at infinity
@pytest.mark.parametrize('dtype', ['float32', 'float64'])
@pytest.mark.parametrize('name, options, label, inplace', [f for f in FUNCTIONS if 'dim' not in f[1] and f[0] != 'gelu'])
def test_extreme_values(name, options, label, inplace, dtype):
    torch = pytest.importorskip('torch')
    values = np.array(EXTREMES, dtype)
    ours, theirs = ([getattr(framework.nn.functional, name)(framework.tensor(v), **options).numpy()
                     for v in (values, values.reshape(4, 3), values[:0], values[4])] for framework in (flambeau, torch))
    for mine, other in zip(ours, theirs):
        assert mine.dtype == other.dtype and mine.shape == other.shape
        np.testing.assert_allclose(mine, other, rtol=2e-6 if dtype == 'float32' else 1e-12, atol=1e-30)


@pytest.mark.parametrize('name, options, label, inplace', [f for f in FUNCTIONS if f[3]])
def test_in_place(name, options, label, inplace):
    values = np.random.default_rng(2).standard_normal((3, 4))
    gradients = []
    for changing in (False, True):
        x = flambeau.tensor(values, requires_grad=True)
        copy = x * 2
        y = getattr(F, name)(copy, **options, inplace=changing)
        assert (y is copy) == changing
        (y * y).sum().backward()
        gradients.append(x.grad.numpy())
    np.testing.assert_array_equal(*gradients)


def test_options_by_position():
    x = flambeau.tensor([-1.0, 2.0])
    assert F.leaky_relu(x, 0.5, False).tolist() == [-0.5, 2.0]
    assert F.leaky_relu(x, 0.5, True) is x and x.tolist() == [-0.5, 2.0]


def test_softmax_of_half_types_and_dtype():
    x = flambeau.tensor([[1.0, 2.0]], dtype=flambeau.float16)
    assert flambeau.softmax(x, 1).dtype is flambeau.float16
    assert x.softmax(-1, dtype=flambeau.float64).dtype is flambeau.float64
    assert flambeau.log_softmax(flambeau.tensor(3.0), 0).item() == 0.0
    wide = flambeau.tensor([1000.0, 0.0])
    assert flambeau.log_softmax(wide, 0).tolist() == [0.0, -1000.0]


@pytest.mark.parametrize('weights', [1, 3])
def test_prelu(weights):
    x = flambeau.tensor(np.random.default_rng(3).standard_normal((2, 3, 4)), requires_grad=True)
    w = flambeau.tensor(np.linspace(0.1, 0.4, weights), requires_grad=True)
    assert gradcheck(F.prelu, (x, w)) and gradgradcheck(F.prelu, (x, w))


def test_gumbel_softmax_is_one_hot_and_has_a_gradient():
    flambeau.manual_seed(0)
    logits = flambeau.randn(5, 4, requires_grad=True)
    sample = F.gumbel_softmax(logits, tau=0.5, hard=True)
    assert sorted(sample.sum(1).tolist()) == pytest.approx([1.0] * 5)
    assert set(np.round(sample.detach().numpy(), 5).ravel()) <= {0.0, 1.0}
    (sample * flambeau.arange(4.0)).sum().backward()
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize('call, kind', [
    (lambda x: F.relu(x > 0), RuntimeError), (lambda x: F.gelu(x.long()), NotImplementedError),
    (lambda x: F.softmax(x.long(), 0), NotImplementedError), (lambda x: F.softmax(x, 3), IndexError),
    (lambda x: F.glu(x), RuntimeError), (lambda x: F.softshrink(x, -1.0), RuntimeError),
    (lambda x: F.hardtanh(x, 2.0, 1.0), ValueError), (lambda x: F.celu(x, 0.0), RuntimeError),
    (lambda x: F.gelu(x, approximate='x'), RuntimeError), (lambda x: F.prelu(x, flambeau.ones(2)), RuntimeError)])
def test_errors(call, kind):
    with pytest.raises(kind):
        call(flambeau.zeros(2, 3))


LAYERS = [('ReLU', (True,)), ('ReLU6', ()), ('LeakyReLU', (0.1,)), ('ELU', (2.0,)), ('SELU', ()), ('CELU', ()),
          ('GELU', ()), ('SiLU', ()), ('Mish', (True,)), ('Softplus', ()), ('Softsign', ()), ('Tanhshrink', ()),
          ('Hardtanh', (0, 6.0)), ('Hardsigmoid', ()), ('Hardswish', ()), ('Hardshrink', ()), ('Softshrink', ()),
          ('Threshold', (0.1, 20)), ('PReLU', (3,)), ('RReLU', ()), ('GLU', ()), ('LogSigmoid', ()), ('Sigmoid', ()),
          ('Tanh', ()), ('Softmin', (1,)), ('Softmax', (1,)), ('LogSoftmax', (1,)), ('Softmax2d', ()),
          ('Dropout', (0.2, True)), ('AlphaDropout', ()), ('Linear', (2, 3)), ('Bilinear', (2, 3, 4)), ('Identity', ()),
          ('Flatten', ()), ('Unflatten', (1, (2, 3))), ('CosineSimilarity', ()), ('PairwiseDistance', ())]


@pytest.mark.parametrize('name, arguments', LAYERS, ids=[name for name, _ in LAYERS])
def test_layers_look_like_pytorchs(name, arguments):
    torch = pytest.importorskip('torch')
    flambeau.manual_seed(5)
    torch.manual_seed(5)
    ours, theirs = (getattr(framework.nn, name)(*arguments) for framework in (flambeau, torch))
    assert repr(ours) == repr(theirs)
    mine, other = ours.state_dict(), theirs.state_dict()
    assert list(mine) == list(other)
    for key in mine:
        np.testing.assert_array_equal(mine[key].numpy(), other[key].numpy())  # the same seed draws the same weights


def test_every_public_layer_has_a_short_docstring():
    from flambeau.nn import activation, distance, dropout, flatten, linear, loss, normalization, sparse
    for file in (activation, distance, dropout, flatten, linear, loss, normalization, sparse):
        for name in file.__all__:
            assert getattr(nn, name).__doc__, name
