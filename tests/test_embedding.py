"""Embeddings, bags of them and one-hot vectors: PyTorch's values, gradients and errors."""
import numpy as np
import pytest

import flambeau
import flambeau.nn.functional as F
from flambeau import nn
from flambeau.autograd.gradcheck import gradcheck, gradgradcheck

TABLE = np.random.default_rng(0).standard_normal((6, 3))


@pytest.mark.parametrize('options', [{}, {'padding_idx': 2}, {'scale_grad_by_freq': True},
                                     {'padding_idx': -1, 'scale_grad_by_freq': True}, {'max_norm': 1.0},
                                     {'max_norm': 0.5, 'norm_type': 1.0}])
def test_embedding(options):
    torch = pytest.importorskip('torch')
    results = []
    for framework in (flambeau, torch):
        table = framework.tensor(TABLE.copy(), requires_grad=True)
        out = framework.nn.functional.embedding(framework.tensor([[1, 2, 2], [5, 1, 0]]), table, **options)
        (out * framework.arange(18.0, dtype=framework.float64).reshape(2, 3, 3)).sum().backward()
        results.append([out.detach().numpy(), table.grad.numpy(), table.detach().numpy()])
    for ours, theirs in zip(*results):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize('width', [1, 16, 200])
def test_gradient_of_many_repeated_rows(width):
    indices = np.random.default_rng(1).integers(0, 7, 500)
    table = flambeau.zeros(7, width, dtype=flambeau.float64, requires_grad=True)
    weights = np.random.default_rng(2).standard_normal((500, width))
    (F.embedding(flambeau.tensor(indices), table) * flambeau.tensor(weights)).sum().backward()
    expected = np.stack([weights[indices == k].sum(0) for k in range(7)])
    np.testing.assert_allclose(table.grad.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize('options', [{}, {'padding_idx': 1}])
def test_second_derivatives(options):
    indices = flambeau.tensor([1, 2, 1])
    table = flambeau.tensor(TABLE, requires_grad=True)
    if not options:
        assert gradcheck(lambda t: F.embedding(indices, t), (table,))
    assert gradgradcheck(lambda t: F.embedding(indices, t, **options) ** 3, (table,))


BAGS = [({}, [0, 2, 2, 5]), ({'padding_idx': 3}, [0, 2, 2, 5]), ({'include_last_offset': True}, [0, 1, 4, 7]),
        ({'max_norm': 0.7}, [0, 3])]


@pytest.mark.parametrize('mode', ['sum', 'mean', 'max'])
@pytest.mark.parametrize('options, offsets', BAGS)
def test_embedding_bag(mode, options, offsets):
    torch = pytest.importorskip('torch')
    results = []
    for framework in (flambeau, torch):
        table = framework.tensor(TABLE.copy(), requires_grad=True)
        out = framework.nn.functional.embedding_bag(framework.tensor([3, 1, 4, 1, 5, 0, 2]), table,
                                                    framework.tensor(offsets), mode=mode, **options)
        (out * out).sum().backward()
        results.append([out.detach().numpy(), table.grad.numpy()])
    for ours, theirs in zip(*results):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-12)


def test_bags_with_weights():
    indices = flambeau.tensor([[1, 2], [2, 5]])
    table = flambeau.tensor(TABLE, requires_grad=True)
    weights = flambeau.rand(2, 2, dtype=flambeau.float64, requires_grad=True)

    def bag(table, weights):
        return F.embedding_bag(indices, table, mode='sum', per_sample_weights=weights)
    assert gradcheck(bag, (table, weights)) and gradgradcheck(bag, (table, weights))


def test_layers():
    torch = pytest.importorskip('torch')
    for name, arguments, options in (('Embedding', (5, 3), {'padding_idx': 0, 'max_norm': 1.0}),
                                     ('EmbeddingBag', (5, 3), {'mode': 'max'})):
        flambeau.manual_seed(1)
        torch.manual_seed(1)
        ours, theirs = (getattr(f.nn, name)(*arguments, **options) for f in (flambeau, torch))
        assert repr(ours) == repr(theirs)
        np.testing.assert_array_equal(ours.weight.detach().numpy(), theirs.weight.detach().numpy())
    frozen = nn.Embedding.from_pretrained(flambeau.tensor(TABLE))
    assert not frozen.weight.requires_grad and frozen(flambeau.tensor([1])).tolist() == TABLE[1:2].tolist()
    assert nn.EmbeddingBag.from_pretrained(flambeau.tensor(TABLE), freeze=False).weight.requires_grad


def test_one_hot():
    assert F.one_hot(flambeau.tensor([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert F.one_hot(flambeau.zeros(0, dtype=flambeau.int64), 3).shape == (0, 3)
    assert F.one_hot(flambeau.tensor(1), 4).tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize('call, kind', [
    (lambda i, w: F.embedding(i + 9, w), IndexError), (lambda i, w: F.embedding(i - 2, w), IndexError),
    (lambda i, w: F.embedding(i.float(), w), RuntimeError), (lambda i, w: F.embedding(i, w[0]), RuntimeError),
    (lambda i, w: F.embedding(i, w, padding_idx=7), AssertionError), (lambda i, w: F.embedding_bag(i, w), ValueError),
    (lambda i, w: F.embedding_bag(i, w, flambeau.tensor([1])), RuntimeError),
    (lambda i, w: F.embedding_bag(i, w, flambeau.tensor([0]), mode='x'), ValueError),
    (lambda i, w: F.embedding_bag(i, w, flambeau.tensor([0]), per_sample_weights=flambeau.ones(2)),
     NotImplementedError),
    (lambda i, w: F.one_hot(i.int()), RuntimeError), (lambda i, w: F.one_hot(i, 1), RuntimeError)])
def test_errors(call, kind):
    with pytest.raises(kind):
        call(flambeau.tensor([1, 2]), flambeau.zeros(6, 3))
