"""Calls met again, which are replayed: they answer what the formula answers, and refuse what it refuses."""
from __future__ import annotations

import numpy as np
import pytest

import flambeau as torch
import flambeau.nn.functional as F
from flambeau.backends.cpu.properties import jit_is_on
from flambeau.ops.definition import OPERATIONS
from flambeau.ops.reference import REFERENCE

CALLS = {
    'max_pool2d': lambda x: F.max_pool2d(x, 2), 'max_pool2d with places': lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True),
    'avg_pool2d': lambda x: F.avg_pool2d(x, 2, ceil_mode=True), 'avg_pool1d': lambda x: F.avg_pool1d(x[0], 3, 1, 1),
    'adaptive_avg_pool2d': lambda x: F.adaptive_avg_pool2d(x, (3, 2)), 'adaptive_max_pool2d': lambda x: F.adaptive_max_pool2d(x, 2),
    'topk': lambda x: x.topk(2), 'smallest': lambda x: x.topk(3, 1, largest=False), 'sort': lambda x: x.sort(descending=True),
    'argsort': lambda x: x.argsort(2), 'cumsum': lambda x: x.cumsum(1), 'cumprod': lambda x: x.cumprod(-1),
    'scatter_add': lambda x: x.scatter_add(1, (x > 0).long(), torch.ones_like(x)),
    'topk of many': lambda x: x.flatten(1).topk(40),
    'layer_norm': lambda x: F.layer_norm(x, (x.shape[-1],)), 'embedding': lambda x: F.embedding((x[:, 0] > 0).long(), torch.ones(2, 3)),
    'cross_entropy': lambda x: F.cross_entropy(x[:, 0], (x[:, 1, 0] > 0).long(), reduction='none'),
    'products': lambda x: x @ x.transpose(-1, -2), 'gather': lambda x: x.gather(1, (x > 0).long()), 'norm': lambda x: x.norm(dim=1), 'masked_fill': lambda x: x.masked_fill(x > 0, 7.5),
    'flip': lambda x: x.flip(1, -1), 'roll': lambda x: x.roll((1, -2), (2, 3)), 'repeat': lambda x: x.repeat(1, 2, 1, 3), 'rot90': lambda x: x.rot90(3, (2, 3)),
    'repeat_interleave': lambda x: x.repeat_interleave(2, 1), 'tril': lambda x: x.tril(-1), 'diag_embed': lambda x: x[:, 0].diag_embed(1),
    'pad': lambda x: F.pad(x, (1, 2, -1, 0), value=2.5), 'reflect': lambda x: F.pad(x, (1, 2, 1, 0), 'reflect'), 'pixel_shuffle': lambda x: F.pixel_shuffle(x.expand(x.shape[0], 4, *x.shape[2:]) if x.shape[1] == 1 else x, 2),
    'index_select': lambda x: x.index_select(1, x.shape[1] - 1 - torch.arange(x.shape[1])), 'scatter': lambda x: x.scatter(1, (x > 0).long() % x.shape[1], 7.5),
    'index_add': lambda x: x.index_add(2, torch.tensor([1, 0, 1]), x[:, :, :3], alpha=0.5),
    'nll_loss': lambda x: F.nll_loss(x.flatten(1), (x[:, 0, 0, 0] > 0).long(), reduction='none'),
    'bilinear': lambda x: F.interpolate(x, scale_factor=1.5, mode='bilinear'), 'nearest': lambda x: F.interpolate(x, 5), 'replicate': lambda x: F.pad(x, (1, 0, 2, 1), 'replicate'),
    'unfold': lambda x: F.unfold(x, 2, padding=1), 'channel_shuffle': lambda x: F.channel_shuffle(x, x.shape[1]),
}


def _arrays(result):
    return [t.numpy() for t in result] if isinstance(result, tuple) else [result.numpy()]


@pytest.mark.parametrize('name', CALLS)
@pytest.mark.parametrize('form', ['plain', 'turned', 'small'])
def test_later_calls_answer_as_the_first(name, form):
    generator = np.random.default_rng(len(name))
    for again in range(6):
        values = generator.standard_normal((2, 4, 6, 6)).astype(np.float32)
        values[0, 0, 0, :3] = [np.nan, np.inf, values[0, 0, 0, 3]][:3]
        x = torch.from_numpy(values)
        if form == 'turned':
            x = x.transpose(2, 3)
        elif form == 'small':
            x = x[:1, :, :4, :4]
        found = _arrays(CALLS[name](x))
        other = torch.from_numpy(np.pad(values, ((0, again + 1), (0, 0), (0, 0), (0, 0))))  # never met before
        other = other.transpose(2, 3) if form == 'turned' else other[:again + 2, :, :4, :4] if form == 'small' else other
        for a, b in zip(found, _arrays(CALLS[name](other))):
            np.testing.assert_allclose(a, b[:len(a)], rtol=1e-6, atol=1e-6)


def test_classes_and_rows_out_of_range_are_refused_every_time():
    scores, table = torch.randn(3, 4, requires_grad=True), torch.randn(5, 2, requires_grad=True)
    for _ in range(4):
        assert F.cross_entropy(scores, torch.tensor([0, 3, 1])).isfinite()
        assert F.cross_entropy(scores, torch.tensor([0, -100, 1])).isfinite()
        with pytest.raises(IndexError):
            F.cross_entropy(scores, torch.tensor([0, 4, 1]))
        assert F.nll_loss(scores.detach(), torch.tensor([0, 3, 1])).isfinite()
        with pytest.raises(IndexError):
            F.nll_loss(scores.detach(), torch.tensor([0, 4, 1]))
        assert F.embedding(torch.tensor([4]), table).shape == (1, 2)
        with pytest.raises(IndexError):
            F.embedding(torch.tensor([5]), table)


def test_operands_that_were_one_array_may_be_two_later():
    x, y = torch.randn(2, 4, 16), torch.randn(2, 4, 16)
    for _ in range(3):
        F.scaled_dot_product_attention(x, x, x), torch.bmm(x, x.mT)
    once = F.scaled_dot_product_attention(torch.cat([x, x])[:2], torch.cat([y, y])[:2], torch.cat([x, y])[:2])
    np.testing.assert_allclose(F.scaled_dot_product_attention(x, y, x).numpy(), once.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(torch.bmm(x, y.mT).numpy(), x.numpy() @ y.mT.numpy(), rtol=1e-4, atol=1e-5)


def test_gradients_of_calls_met_again():
    found = []
    for again in range(4):
        x = torch.arange(24.).reshape(1, 2, 3, 4).requires_grad_()
        w = torch.ones(4, requires_grad=True)
        y = F.layer_norm(x, (4,), w) + F.scaled_dot_product_attention(x, x, x) + x.cumsum(1) + x.sort(-1)[0]
        (y * y).sum().backward()
        found.append((x.grad.numpy(), w.grad.numpy()))
    for other in found[1:]:
        for a, b in zip(found[0], other):
            np.testing.assert_allclose(a, b, rtol=1e-5)


def test_numbers_in_tensors_that_say_where_elements_go_are_read_every_time():
    x, size = torch.arange(12.), torch.tensor(2)
    for _ in range(5):
        assert x.repeat(size).shape == (24,) and x.roll(size)[0] == 10 and x.roll(1, (size - 2,))[0] == 11
    size.fill_(3)
    assert x.repeat(size).shape == (36,) and x.roll(size)[0] == 9


def test_places_out_of_range_are_refused_every_time():
    x, good, bad = torch.randn(3, 4), torch.tensor([[0, 3]]), torch.tensor([[0, 4]])
    for _ in range(5):
        assert x.gather(1, good).shape == (1, 2)
        with pytest.raises(RuntimeError, match='index 4 is out of bounds'):
            x.gather(1, bad)
        assert x.index_select(1, good[0]).shape == (3, 2) and x.scatter(1, good, 0.).shape == (3, 4)
        with pytest.raises(IndexError, match='index 4 is out of range'):
            x.index_select(1, bad[0])
        with pytest.raises(RuntimeError, match='index 4 is out of bounds'):
            x.scatter(1, bad, 0.)
        with pytest.raises(RuntimeError, match='index 4 is out of range'):
            x.index_add(1, bad[0], x[:, :2])


@pytest.mark.skipif(not jit_is_on(), reason='needs kernels')
def test_calls_met_again_run_nothing_but_kernels():
    x = torch.randn(2, 3, 8, 8)
    for _ in range(5):
        F.max_pool2d(x, 2)
    plans = F.max_pool2d.__globals__['plans']
    assert any(callable(plan) and plan.__name__ == 'replay' for plan in plans.values())


@pytest.mark.skipif(not jit_is_on(), reason='needs kernels')
def test_what_arrays_cannot_show_is_never_replayed():
    """A formula that computes with an array otherwise than by kernels is run every time."""
    from flambeau.backends.cpu.replay import replayed
    x = np.ones(4, np.float32)
    assert replayed(lambda m, x: x + 1, None, (x,)) is None
    pool = OPERATIONS['max_pool2d']
    assert replayed(lambda m, x: pool.formula(m, x * 2, 2), REFERENCE,
                    (np.ones((1, 1, 4, 4), np.float32),)) is None

    def changing(m, x):
        made = m.max_pool2d(x, 2)
        made += 1
        return made
    assert replayed(changing, REFERENCE, (np.ones((1, 1, 4, 4), np.float32),)) is None


WEIGHT, BIAS = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(1)), torch.arange(8.0)
CONVOLUTIONS = {
    'conv2d': lambda x: F.conv2d(x, WEIGHT, padding=1), 'conv2d with steps': lambda x: F.conv2d(x, WEIGHT, BIAS, 2, 1),
    'depthwise': lambda x: F.conv2d(x, WEIGHT[:4, :1], BIAS[:4], 1, 1, 1, 4),
    'pointwise': lambda x: F.conv2d(x, WEIGHT[:, :, :1, :1], BIAS),
    'one pixel': lambda x: F.conv2d(x[:, :, :1, :1], WEIGHT[:, :, 1:2, 1:2], BIAS),
    'conv1d': lambda x: F.conv1d(x[:, :, 0], WEIGHT[:, :, 0], BIAS),
    'conv_transpose2d': lambda x: F.conv_transpose2d(x, WEIGHT.transpose(0, 1), BIAS, 2),
    'minimal filtering': lambda x: F.conv2d(x.repeat(1, 4, 2, 2), WEIGHT.repeat(2, 4, 1, 1), BIAS.repeat(2), 1, 1),
    'few outputs': lambda x: F.conv2d(x, WEIGHT[:3], BIAS[:3], 1, 1),
    'groups': lambda x: F.conv2d(x, WEIGHT[:, :2], BIAS, groups=2),
    'steps of a pixel': lambda x: F.conv2d(x, WEIGHT[:, :, :1, :1], BIAS, 2),
}


@pytest.mark.parametrize('name', CONVOLUTIONS)
def test_convolutions_met_again(name):
    for again in range(6):
        x = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(again))
        for given in (x, x.transpose(2, 3)):
            longer = torch.cat([given, torch.zeros(again + 1, 4, 6, 6)])  # never met before
            torch.testing.assert_close(CONVOLUTIONS[name](given), CONVOLUTIONS[name](longer)[:2], rtol=1e-4, atol=1e-4)


def test_gradients_of_convolutions_met_again():
    for again in range(6):
        x = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(again), requires_grad=True)
        weight = WEIGHT.clone().requires_grad_()
        F.conv2d(x, weight, BIAS, padding=1).square().sum().backward()
        wide = x.detach().double().requires_grad_(), WEIGHT.double().requires_grad_()
        F.conv2d(*wide, BIAS.double(), padding=1).square().sum().backward()
        for single, double in zip((x, weight), wide):
            torch.testing.assert_close(single.grad, double.grad.float(), rtol=1e-4, atol=1e-3)


def test_calls_are_met_anew_with_more_threads():
    x, before = torch.randn(4, 16, 20, 20), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        first = [F.conv2d(x, torch.ones(16, 16, 3, 3), padding=1) for _ in range(5)]
        torch.set_num_threads(4)
        for _ in range(5):
            torch.testing.assert_close(F.conv2d(x, torch.ones(16, 16, 3, 3), padding=1), first[0], rtol=0, atol=0)
    finally:
        torch.set_num_threads(before)


VIEWS = {
    'reshape': (lambda x: x.reshape(2, -1), lambda a: a.reshape(a.shape[0], -1)),
    'view': (lambda x: x[:, 1].view(2, 3, 4), lambda a: a[:, 1].reshape(2, 3, 4)),
    'flatten': (lambda x: x.flatten(1, 2), lambda a: a.reshape(2, 9, 4)),
    'unflatten': (lambda x: x.unflatten(-1, (2, 2)), lambda a: a.reshape(2, 3, 3, 2, 2)),
    'squeeze': (lambda x: x[:1].squeeze(0), lambda a: a[0]), 'unsqueeze': (lambda x: x.unsqueeze(-1), lambda a: a[..., None]),
    'expand': (lambda x: x[:, :1].expand(2, 5, 3, 4), lambda a: np.broadcast_to(a[:, :1], (2, 5, 3, 4))),
    'select': (lambda x: x.select(1, -1), lambda a: a[:, -1]), 'narrow': (lambda x: x.narrow(3, 1, 2), lambda a: a[..., 1:3]),
    'diagonal': (lambda x: x.diagonal(0, 1, 2), lambda a: np.diagonal(a, 0, 1, 2)),
    'unfold': (lambda x: x.unfold(3, 2, 1), lambda a: np.lib.stride_tricks.sliding_window_view(a, 2, 3)),
    'movedim': (lambda x: x.movedim((0, 1), (2, 3)), lambda a: np.moveaxis(a, (0, 1), (2, 3))),
    'chunk': (lambda x: x.chunk(2, 3)[1], lambda a: a[..., 2:]), 'split': (lambda x: x.split([1, 2], 1)[1], lambda a: a[:, 1:]),
    'unbind': (lambda x: x.unbind(2)[1], lambda a: a[:, :, 1]),
}


@pytest.mark.parametrize('name', VIEWS)
def test_views_met_again_show_the_same_memory(name):
    view, of_array = VIEWS[name]
    for again in range(6):
        x = torch.randn(2, 3, 3, 4, requires_grad=again % 2 == 1)
        found, wanted = view(x), of_array(x.detach().numpy())
        np.testing.assert_array_equal(found.detach().numpy(), wanted)
        assert [st for st, n in zip(found._array.strides, wanted.shape) if n > 1] == [
            st for st, n in zip(wanted.strides, wanted.shape) if n > 1] and np.shares_memory(found._array, x._array)
        assert found._array.flags.writeable == wanted.flags.writeable or name in ('diagonal', 'unfold')
        if again % 2:
            (gradient,) = torch.autograd.grad((found * 2).sum(), x)
            ones = torch.zeros_like(x)
            np.add.at(ones.numpy().reshape(-1), of_array(np.arange(x.numel()).reshape(x.shape)).reshape(-1), 2)
            torch.testing.assert_close(gradient, ones)


def test_sizes_in_tensors_are_read_every_time():
    x, size = torch.arange(12), torch.tensor(2)
    for _ in range(5):
        assert x.reshape(size, -1).shape == (2, 6)
    size.fill_(3)
    assert x.reshape(size, -1).shape == (3, 4)


@pytest.mark.parametrize('join', [torch.cat, torch.stack])
def test_joining_few_numbers_is_numpys(join):
    generator = np.random.default_rng(0)
    numpys = np.concatenate if join is torch.cat else np.stack
    for _ in range(300):
        shape = generator.integers(0, 4, generator.integers(1, 4)).tolist()
        axis = int(generator.integers(-len(shape), len(shape)))
        kind = generator.choice(['float32', 'int64', 'bool', 'complex128'])
        arrays = []
        for _ in range(generator.integers(1, 4)):
            if join is torch.cat:
                shape[axis] = int(generator.integers(0, 4))
            arrays.append((generator.standard_normal(shape) * 9).astype(kind))
        if arrays[0].shape == (0,):
            continue  # passed over by PyTorch
        turned = [a.T.copy().T for a in arrays]  # lie otherwise
        for given in (arrays, turned):
            found = join([torch.from_numpy(a) for a in given], axis).numpy()
            np.testing.assert_array_equal(found, numpys(given, axis))
            assert found.dtype == kind
    with pytest.raises(RuntimeError, match='(?i)size'):
        join([torch.ones(2, 3), torch.ones(3, 2)], 0)
