"""Lazy layers: sizes from the first input or from a state dict, and what they refuse before."""
import copy
import pickle
import warnings

import numpy as np
import pytest

import flambeau
from flambeau import nn

LAYERS = [('LazyLinear', (5,), (2, 3)), ('LazyLinear', (5, False), (4, 2, 3)), ('LazyConv1d', (4, 3), (2, 3, 9)),
          ('LazyConv2d', (4, 3, 2, 1), (2, 6, 9, 8)), ('LazyConv2d', (4, (3, 2)), (6, 9, 8)), ('LazyConv3d', (2, 2), (1, 3, 4, 4, 4)),
          ('LazyConvTranspose1d', (4, 3), (2, 3, 9)), ('LazyConvTranspose2d', (4, 3), (2, 3, 5, 5)),
          ('LazyConvTranspose3d', (2, 2), (1, 3, 3, 3, 3)), ('LazyBatchNorm1d', (), (4, 3)), ('LazyBatchNorm2d', (), (2, 3, 4, 4)),
          ('LazyBatchNorm3d', (), (2, 3, 2, 2, 2)), ('LazyInstanceNorm1d', (1e-5, 0.1, True, True), (2, 3, 5)),
          ('LazyInstanceNorm2d', (1e-5, 0.1, True), (2, 3, 4, 4)), ('LazyInstanceNorm3d', (), (2, 3, 2, 2, 2))]
pytestmark = pytest.mark.filterwarnings('ignore:Lazy modules')


@pytest.mark.parametrize('name, arguments, shape', LAYERS, ids=[f'{n}{a}' for n, a, _ in LAYERS])
def test_first_input_makes_the_ordinary_layer(name, arguments, shape):
    torch = pytest.importorskip('torch')
    values = np.random.default_rng(0).standard_normal(shape).astype('float32')
    found = []
    for library in (flambeau, torch):
        layer = getattr(library.nn, name)(*arguments)
        before = repr(layer)
        library.manual_seed(1)
        out = layer(library.from_numpy(values.copy()))
        assert type(layer) is getattr(library.nn, name.removeprefix('Lazy'))
        found.append((before, repr(layer), out.detach().numpy(), {k: v.numpy() for k, v in layer.state_dict().items()}))
    ours, theirs = found
    assert ours[:2] == theirs[:2] and list(ours[3]) == list(theirs[3])
    np.testing.assert_allclose(ours[2], theirs[2], rtol=1e-5, atol=1e-6)
    for key, value in theirs[3].items():
        np.testing.assert_allclose(ours[3][key], value, rtol=1e-5, atol=1e-7, err_msg=key)


def test_a_state_dict_brings_the_sizes():
    layer, source = nn.LazyConv2d(4, 3, groups=2), nn.Conv2d(6, 4, 3, groups=2)
    layer.load_state_dict(source.state_dict())
    assert not layer.has_uninitialized_params()
    x = flambeau.ones(1, 6, 5, 5)
    assert flambeau.equal(layer(x), source(x)) and type(layer) is nn.Conv2d and layer.in_channels == 6


def test_what_has_no_shape_yet():
    layer = nn.LazyLinear(4)
    assert layer.has_uninitialized_params() and repr(layer.weight) == '<UninitializedParameter>'
    assert repr(layer) == 'LazyLinear(in_features=0, out_features=4, bias=True)'
    with pytest.raises(RuntimeError, match="Can't access the shape of an uninitialized parameter"):
        layer.weight.shape
    with pytest.raises(ValueError, match='Attempted to use an uninitialized parameter in'):
        layer.weight + 1
    with pytest.raises(RuntimeError, match='size mismatch|uninitialized'):
        nn.Linear(3, 4).load_state_dict(layer.state_dict())
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer.double()))):
        assert other.has_uninitialized_params()
        assert other(flambeau.ones(2, 3, dtype=other.weight.dtype)).shape == (2, 4) and type(other) is nn.Linear
    assert layer.weight.dtype is flambeau.float64


@pytest.mark.parametrize('layer, shape, error', [
    (lambda: nn.LazyConv2d(4, 3), (5, 5), RuntimeError), (lambda: nn.LazyConv2d(4, 3, groups=2), (1, 3, 5, 5), ValueError),
    (lambda: nn.LazyBatchNorm2d(), (2, 3, 4), ValueError)])
def test_inputs_that_fit_no_layer_leave_it_lazy(layer, shape, error):
    layer = layer()
    with pytest.raises(error):
        layer(flambeau.ones(shape))
    assert layer.has_uninitialized_params() and 'Lazy' in type(layer).__name__


def test_it_warns_as_pytorch_does():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        nn.LazyLinear(2)
    assert 'Lazy modules are a new feature' in str(caught[0].message)
