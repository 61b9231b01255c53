"""Initial values: the same numbers as PyTorch for the same seed, and its refusals."""
import math

import pytest

import flambeau
from flambeau.nn import init

SHAPES = [(5, 3), (4, 6, 3), (6, 4, 3, 3), (40, 30)]
DRAWS = [
    ('uniform_', (-1.5, 2.5)), ('normal_', (1.0, 0.3)), ('xavier_uniform_', (1.7,)), ('xavier_normal_', (0.9,)),
    ('kaiming_uniform_', (math.sqrt(5),)), ('kaiming_uniform_', (0, 'fan_out', 'relu')), ('kaiming_normal_', ()),
    ('kaiming_normal_', (0.1, 'fan_out')), ('trunc_normal_', ()), ('trunc_normal_', (0.0, 0.02)),
    ('trunc_normal_', (0.0, 1.0, 1.5, 2.5)), ('trunc_normal_', (1.0, 0.5, -3.0, 0.2)),
    ('constant_', (0.3,)), ('ones_', ()), ('zeros_', ()), ('dirac_', ()), ('dirac_', (2,)), ('eye_', ()),
    ('sparse_', (0.3,)), ('orthogonal_', (1.4,))]


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
@pytest.mark.parametrize('name, args', DRAWS)
def test_same_numbers_as_torch(name, args, dtype):
    torch = pytest.importorskip('torch')
    dimensions = {'dirac_': (3, 4), 'eye_': (2,), 'sparse_': (2,)}.get(name, (2, 3, 4))
    for shape in SHAPES:
        if len(shape) not in dimensions:
            continue
        drawn = []
        for t in (flambeau, torch):
            t.manual_seed(7)
            tensor = t.nn.Parameter(t.full(shape, 9.0, dtype=getattr(t, dtype)))
            assert getattr(t.nn.init, name)(tensor, *args) is tensor and tensor.grad_fn is None
            drawn.append(tensor.tolist() + t.rand(2).tolist())  # as many draws were made
        if name == 'orthogonal_':
            assert torch.allclose(*(torch.tensor(d[:-2], dtype=torch.float64) for d in drawn), atol=1e-5)
        else:
            assert drawn[0] == drawn[1]


def test_generator_is_used():
    torch = pytest.importorskip('torch')
    drawn = []
    for t in (flambeau, torch):
        generator = t.Generator().manual_seed(3)
        drawn.append([getattr(t.nn.init, name)(t.empty(4, 3), generator=generator).tolist()
                      for name in ('uniform_', 'normal_', 'trunc_normal_', 'xavier_normal_', 'kaiming_uniform_')])
    assert drawn[0] == drawn[1]


def test_orthogonal_columns_are_orthonormal():
    for shape in ((6, 4), (4, 6), (3, 2, 5)):
        matrix = init.orthogonal_(flambeau.empty(*shape)).reshape(shape[0], -1)
        small = matrix @ matrix.t() if shape[0] <= matrix.shape[1] else matrix.t() @ matrix
        assert flambeau.allclose(small, flambeau.eye(len(small)), atol=1e-5)


@pytest.mark.parametrize('name', ['linear', 'conv3d', 'conv_transpose2d', 'sigmoid', 'tanh', 'relu', 'selu',
                                  'leaky_relu'])
def test_gains(name):
    torch = pytest.importorskip('torch')
    assert init.calculate_gain(name, 0.3) == torch.nn.init.calculate_gain(name, 0.3)


REFUSED = [
    (ValueError, 'Unsupported nonlinearity', lambda: init.calculate_gain('swish')),
    (ValueError, 'not a valid number', lambda: init.calculate_gain('leaky_relu', True)),
    (ValueError, 'fewer than 2 dimensions', lambda: init.xavier_uniform_(flambeau.empty(3))),
    (ValueError, 'Mode fan not supported', lambda: init.kaiming_normal_(flambeau.empty(3, 3), mode='fan')),
    (ValueError, '2 dimensions', lambda: init.eye_(flambeau.empty(3))),
    (ValueError, '2 dimensions', lambda: init.sparse_(flambeau.empty(3), 0.1)),
    (ValueError, '3, 4, or 5 dimensions', lambda: init.dirac_(flambeau.empty(3, 3))),
    (ValueError, 'divisible by groups', lambda: init.dirac_(flambeau.empty(3, 3, 3), 2)),
    (ValueError, '2 or more dimensions', lambda: init.orthogonal_(flambeau.empty(3)))]


@pytest.mark.parametrize('kind, text, call', REFUSED)
def test_refused(kind, text, call):
    with pytest.raises(kind, match=text):
        call()


def test_warnings():
    with pytest.warns(UserWarning, match='no-op'):
        init.kaiming_uniform_(flambeau.empty(0, 3))
    with pytest.warns(UserWarning, match='more than 2 std'):
        init.trunc_normal_(flambeau.empty(4), mean=5.0)
    with pytest.warns(FutureWarning, match='nn.init.normal_'):
        init.normal(flambeau.empty(2))
