"""Losses: PyTorch's values, derivatives and errors, warnings in one readable line, and the losses' layers."""
import itertools
import warnings

import numpy as np
import pytest

import flambeau
import flambeau.nn.functional as F
from flambeau.autograd.gradcheck import gradcheck, gradgradcheck

draw = np.random.default_rng(0).standard_normal
X, Y, P, Q = draw((4, 6)), draw((4, 6)), 1 / (1 + np.exp(-draw((4, 6)))), 1 / (1 + np.exp(-draw((4, 6))))
SIGNS = np.where(draw(4) > 0, 1.0, -1.0)
CLASSES = np.array([0, 5, 2, 1])

# name, operands, options
LOSSES = [
    ('mse_loss', (X, Y), {}), ('l1_loss', (X, Y), {}), ('smooth_l1_loss', (X, Y), {'beta': 0.7}),
    ('smooth_l1_loss', (X, Y), {'beta': 0.0}), ('huber_loss', (X, Y), {'delta': 0.6}),
    ('binary_cross_entropy', (P, Q), {}), ('binary_cross_entropy', (P, Q), {'weight': P[0]}),
    ('binary_cross_entropy_with_logits', (X, Q), {}),
    ('binary_cross_entropy_with_logits', (X, Q), {'weight': P, 'pos_weight': Q[0]}),
    ('kl_div', (X, P), {}), ('kl_div', (X, Y), {'log_target': True}), ('poisson_nll_loss', (X, P), {}),
    ('poisson_nll_loss', (P, P * 3), {'log_input': False, 'full': True}), ('gaussian_nll_loss', (X, Y, P), {}),
    ('gaussian_nll_loss', (X, Y, P[:, 0]), {'full': True}),
    ('hinge_embedding_loss', (X, np.sign(Y)), {}), ('soft_margin_loss', (X, np.sign(Y)), {}),
    ('multilabel_soft_margin_loss', (X, (Y > 0).astype(float)), {'weight': P[0]}),
    ('cosine_embedding_loss', (X, Y, SIGNS), {'margin': 0.1}), ('margin_ranking_loss', (X[:, 0], Y[:, 0], SIGNS), {}),
    ('triplet_margin_loss', (X, Y, P), {}), ('triplet_margin_loss', (X, Y, P), {'swap': True, 'p': 1.0}),
    ('nll_loss', (X, CLASSES), {}), ('nll_loss', (X, CLASSES), {'weight': P[0], 'ignore_index': 2}),
    ('nll_loss', (X[0], CLASSES[0]), {}), ('nll_loss', (draw((2, 3, 4)), draw((2, 4)).clip(0, 2).astype(int)), {}),
    ('cross_entropy', (X, CLASSES), {}), ('cross_entropy', (X, P), {'weight': Q[0], 'label_smoothing': 0.2}),
    ('cross_entropy', (X, CLASSES), {'weight': P[0], 'ignore_index': 5, 'label_smoothing': 0.1}),
    ('cross_entropy', (draw((2, 3, 4, 5)), draw((2, 4, 5)).clip(0, 2).astype(int)), {}),
    ('multi_margin_loss', (X, CLASSES), {}), ('multi_margin_loss', (X, CLASSES), {'p': 2, 'weight': P[0]}),
    ('multilabel_margin_loss', (X[:2], np.array([[3, 0, -1, 1, 1, 1], [2, 2, 5, -1, 0, 0]])), {})]

ONCE = ('multi_margin_loss', 'multilabel_margin_loss')  # PyTorch differentiates these only once


def computed(framework, name, operands, options, reduction):
    """The loss and the gradients of its weighed sum, and of the squares of these."""
    tensors = [framework.tensor(a) for a in operands]
    given = {k: framework.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    tensors[0].requires_grad_()
    loss = getattr(framework.nn.functional, name)(*tensors, **given, reduction=reduction)
    first, = framework.autograd.grad((loss * loss).sum(), tensors[0], create_graph=True)
    second = () if name in ONCE else framework.autograd.grad((first * first).sum(), tensors[0])
    return [t.detach().numpy() for t in (loss, first, *second)]


@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
@pytest.mark.parametrize('name, operands, options', LOSSES, ids=[f'{n}-{list(o)}' for n, _, o in LOSSES])
@pytest.mark.filterwarnings('ignore')
def test_values_and_derivatives(name, operands, options, reduction):
    torch = pytest.importorskip('torch')
    for ours, theirs in zip(*(computed(f, name, operands, options, reduction) for f in (flambeau, torch))):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize('name', ['mse_loss', 'l1_loss', 'smooth_l1_loss', 'huber_loss', 'kl_div',
                                  'binary_cross_entropy_with_logits'])
def test_gradients_in_the_target(name):
    x, y = (flambeau.tensor(a[:2, :3], requires_grad=True) for a in (P, Q))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert gradcheck(getattr(F, name), (x, y)) and gradgradcheck(getattr(F, name), (x, y))


@pytest.mark.parametrize('name', ['mse_loss', 'l1_loss', 'smooth_l1_loss', 'huber_loss'])
def test_sizes_that_broadcast_are_warned_of(name):
    input, target = flambeau.zeros(3, 1, requires_grad=True), flambeau.tensor([1.0, 2.0, 3.0])
    with pytest.warns(UserWarning) as caught:
        loss = getattr(F, name)(input, target)
    told, = caught
    text = str(told.message)
    assert told.filename == __file__
    assert '\n' not in text and all(part in text for part in ('(3,)', '(3, 1)', '(3, 3)', 'reshape', name))
    loss.backward()
    assert input.grad.shape == (3, 1)
    with pytest.warns(UserWarning) as caught:
        flambeau.nn.MSELoss()(input, target)
    assert caught[0].filename == __file__


def test_integer_targets():
    x = flambeau.tensor([0.5, 1.5], requires_grad=True)
    for name in ('mse_loss', 'l1_loss', 'smooth_l1_loss', 'huber_loss'):
        loss = getattr(F, name)(x, flambeau.tensor([0, 1]))
        assert loss.dtype is flambeau.float32 and loss.requires_grad
    with pytest.raises(NotImplementedError):
        F.mse_loss(flambeau.tensor([1]), flambeau.tensor([2]))


def test_older_reduction_arguments():
    x, y = flambeau.ones(2, 2), flambeau.zeros(2, 2)
    with pytest.warns(UserWarning, match="reduction='sum'"):
        assert F.mse_loss(x, y, size_average=False).item() == 4
    with pytest.warns(UserWarning, match="reduction='none'"):
        assert flambeau.nn.L1Loss(reduce=False)(x, y).shape == (2, 2)


@pytest.mark.parametrize('call, kind', [
    (lambda x, c: F.mse_loss(x, x, reduction='bad'), ValueError), (lambda x, c: F.mse_loss(x, 3.0), TypeError),
    (lambda x, c: F.mse_loss(x, flambeau.zeros(5)), RuntimeError), (lambda x, c: F.cross_entropy(x, c + 9), IndexError),
    (lambda x, c: F.cross_entropy(x, c[:2]), ValueError), (lambda x, c: F.cross_entropy(x, c.int()), RuntimeError),
    (lambda x, c: F.cross_entropy(x, c, label_smoothing=2.0), RuntimeError),
    (lambda x, c: F.cross_entropy(x, c, weight=flambeau.ones(2)), RuntimeError),
    (lambda x, c: F.binary_cross_entropy(x + 2, x), RuntimeError),
    (lambda x, c: F.binary_cross_entropy(x, x[:2]), ValueError),
    (lambda x, c: F.binary_cross_entropy_with_logits(x, x.long()), RuntimeError),
    (lambda x, c: F.huber_loss(x, x, delta=0.0), RuntimeError),
    (lambda x, c: F.gaussian_nll_loss(x, x, x - 1), ValueError),
    (lambda x, c: F.multi_margin_loss(x, c, p=3), ValueError),
    (lambda x, c: F.multi_margin_loss(x, c + 9), RuntimeError),
    (lambda x, c: F.multilabel_margin_loss(x, c), RuntimeError),
    (lambda x, c: F.triplet_margin_loss(x, x, x, margin=-1.0), ValueError),
    (lambda x, c: F.cosine_embedding_loss(x, x, x), RuntimeError),
    (lambda x, c: F.ctc_loss(flambeau.zeros(2, 3, 4), flambeau.ones(3, 2), (3, 2, 2), (2, 2, 2)), RuntimeError)])
def test_errors(call, kind):
    with pytest.raises(kind):
        call(flambeau.zeros(3, 4), flambeau.tensor([0, 1, 2]))


@pytest.mark.parametrize('reduction, zero_infinity, long', list(itertools.product(
    ('none', 'mean', 'sum'), (False, True), (False, True))))
def test_ctc(reduction, zero_infinity, long):
    torch = pytest.importorskip('torch')
    scores = draw((7, 3, 5))
    targets, lengths = np.array([[1, 1, 3], [2, 3, 4], [4, 0, 0]]), np.array([3, 3, 0])
    steps = np.array([7, 4, 5]) if long else np.array([2, 3, 1])
    results = []
    for framework in (flambeau, torch):
        x = framework.tensor(scores, requires_grad=True)
        loss = framework.nn.CTCLoss(0, reduction, zero_infinity)(
            x.log_softmax(-1), *map(framework.tensor, (targets, steps, lengths)))
        loss.sum().backward()
        results.append((loss.detach().numpy(), x.grad.numpy()))
    for ours, theirs in zip(*results):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
def test_linear_cross_entropy_in_chunks(reduction):
    target = flambeau.tensor([0, 2, -100, 1, 2])
    weight = flambeau.tensor([0.5, 1.0, 2.0], dtype=flambeau.float64)
    operands = [flambeau.tensor(draw(shape), requires_grad=True) for shape in ((5, 4), (3, 4), (3,))]

    def loss(options):
        return lambda x, w, b: F.linear_cross_entropy(x, w, target, linear_bias=b, weight=weight, reduction=reduction,
                                                      options=options)
    chunked = loss(flambeau.nn.LinearCrossEntropyOptions(batch_chunk_size=2))
    assert gradcheck(chunked, operands) and gradgradcheck(chunked, operands)
    np.testing.assert_allclose(chunked(*operands).detach().numpy(), loss(None)(*operands).detach().numpy())


def test_adaptive_log_softmax():
    layer = flambeau.nn.AdaptiveLogSoftmaxWithLoss(8, 10, [3, 6], div_value=2.0)
    x, target = flambeau.randn(6, 8), flambeau.tensor([0, 9, 3, 5, 2, 7])
    output, loss = layer(x, target)
    everything = layer.log_prob(x)
    np.testing.assert_allclose(everything.exp().sum(1).detach().numpy(), np.ones(6), rtol=1e-5)
    np.testing.assert_allclose(output.detach().numpy(), everything.gather(1, target.unsqueeze(1)).squeeze(1).detach(),
                               rtol=1e-5)
    assert loss.item() == pytest.approx(-output.mean().item())
    assert layer.predict(x).tolist() == everything.argmax(1).tolist()


def test_distances():
    torch = pytest.importorskip('torch')
    for name, options in (('cosine_similarity', {}), ('pairwise_distance', {'p': 1.0}),
                          ('pairwise_distance', {'p': 3.0})):
        ours, theirs = (getattr(f.nn.functional, name)(f.tensor(X), f.tensor(Y), **options) for f in (flambeau, torch))
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-12)
    x = flambeau.tensor(X, requires_grad=True)
    assert gradcheck(F.pdist, (x,)) and gradcheck(F.normalize, (x,)) and gradgradcheck(F.normalize, (x,))
    same = flambeau.zeros(2, 3, requires_grad=True)
    F.pdist(same).sum().backward()
    assert same.grad.tolist() == [[0.0] * 3] * 2
