"""Recurrent layers by generated kernels in float32 against the formulas in float64, which run without them."""
from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('llvmlite')

import flambeau as torch  # noqa: E402
from flambeau.backends.cpu import recurrent  # noqa: E402
from flambeau.backends.cpu.properties import jit_is_on  # noqa: E402
from flambeau.ops.reference import REFERENCE  # noqa: E402

pytestmark = pytest.mark.skipif(not jit_is_on(), reason='kernels are switched off')

MODES = ['LSTM', 'GRU', 'RNN_TANH', 'RNN_RELU']
SHAPES = [  # features, units, layers, both directions, batch first, bias, lengths
    (10, 64, 1, False, False, True, [7] * 4), (5, 33, 2, True, True, True, [6] * 5),
    (16, 48, 1, True, False, False, [5] * 33),
    (7, 40, 1, True, False, True, [9, 9, 7, 4, 4, 1]), (3, 24, 2, False, True, True, [6] * 3 + [5] * 20 + [2] * 9),
    (12, 600, 1, False, False, True, [3] * 2), (8, 100, 1, False, False, True, [30])]


def drawn(shape, seed, scale=1.0):
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def network(mode, shape, dtype):
    features, units, layers, both, batch_first, bias, _ = shape
    kind, _, function = mode.partition('_')
    options = {'nonlinearity': function.lower()} if function else {}
    made = getattr(torch.nn, kind)(features, units, layers, bias=bias, batch_first=batch_first, bidirectional=both,
                                   **options)
    for seed, parameter in enumerate(made.parameters()):
        parameter.data = torch.tensor(drawn(tuple(parameter.shape), seed, units ** -0.5))
    return made.to(dtype)


def leaves_of(mode, shape, dtype):
    """The input and the first states."""
    features, units, layers, both, batch_first, _, lengths = shape
    steps, count = max(lengths), len(lengths)
    inside = [(count, steps, features) if batch_first else (steps, count, features)]
    states = [(layers * (1 + both), count, units)] * (2 if mode == 'LSTM' else 1)
    return [torch.tensor(drawn(s, k), dtype=dtype).requires_grad_() for k, s in enumerate(inside + states)]


def results(mode, shape, leaves, net):
    """The output rows and the last states."""
    x, *states = leaves
    if len(set(shape[-1])) > 1:
        x = torch.nn.utils.rnn.pack_padded_sequence(x, shape[-1], batch_first=shape[4])
    output, last = net(x, tuple(states) if mode == 'LSTM' else states[0])
    return [getattr(output, 'data', output) if x is not leaves[0] else output, *(last if mode == 'LSTM' else (last,))]


def weighted(tensors):
    return sum((t * torch.tensor(drawn(tuple(t.shape), 9), dtype=t.dtype)).sum() for t in tensors)


def everything(mode, shape, dtype):
    """What a layer gives, and all first derivatives."""
    net, leaves = network(mode, shape, dtype), leaves_of(mode, shape, dtype)
    found = results(mode, shape, leaves, net)
    weighted(found).backward()
    return [t.detach().numpy() for t in found] + [t.grad.numpy() for t in [*leaves, *net.parameters()]]


@pytest.fixture
def used(monkeypatch):
    """Which of the drivers' calls a kernel answered."""
    seen = []
    for name in ('forward', 'backward'):
        def spy(*arguments, name=name, driver=getattr(recurrent, name)):
            made = driver(*arguments)
            seen.append((name, made is not None))
            return made
        monkeypatch.setitem(REFERENCE.drivers, 'recurrent.' + name, spy)
    return seen


@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('mode', MODES)
def test_layers_and_gradients(mode, shape, used):
    found = everything(mode, shape, torch.float32)
    assert set(used) == {('forward', True), ('backward', True)}
    used.clear()
    expected = everything(mode, shape, torch.float64)
    assert set(used) == {('forward', False), ('backward', False)}
    for a, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5 * max(1.0, float(np.abs(e).max())))


@pytest.mark.parametrize('mode', MODES)
def test_second_derivatives(mode):
    shape, found = SHAPES[0], []
    for dtype in (torch.float32, torch.float64):
        net, leaves = network(mode, shape, dtype), leaves_of(mode, shape, dtype)
        first = torch.autograd.grad(weighted(results(mode, shape, leaves, net)), leaves, create_graph=True)
        found.append(torch.autograd.grad(weighted(first), [*leaves, *net.parameters()], allow_unused=True))
    for a, e in zip(*found, strict=True):
        assert (a is None) == (e is None)
        if a is not None:
            np.testing.assert_allclose(a.numpy(), e.numpy(), rtol=1e-4, atol=1e-5 * float(e.abs().max()))


@pytest.mark.parametrize('mode', MODES)
def test_bits_do_not_depend_on_the_number_of_threads(mode):
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append([everything(mode, shape, torch.float32) for shape in (SHAPES[1], SHAPES[2], SHAPES[5])])
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(np.array_equal(a, b) for x, y in zip(found[0], other) for a, b in zip(x, y))


@pytest.mark.parametrize('mode', MODES)
def test_results_may_be_changed_and_gradients_asked_for_twice(mode, used):
    shape = SHAPES[0]
    net, leaves = network(mode, shape, torch.float32), leaves_of(mode, shape, torch.float32)
    made = results(mode, shape, leaves, net)
    g = [torch.ones(t.shape) for t in made]
    first = torch.autograd.grad(made, leaves, g, retain_graph=True)
    for t in made:
        t.detach().mul_(3.0)  # what users hold is not what backward reads
    second = torch.autograd.grad(made, leaves, g)
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(first, second))
    assert used == [('forward', True), ('backward', True), ('backward', True)]


def test_what_does_not_fit_is_left_to_the_formulas():
    def call(units, dtype=np.float32, rows=6, batch=2):
        x, state = np.zeros((rows, 4 * units), dtype), np.zeros((batch, units), dtype)
        weight = np.zeros((4 * units, units), dtype)
        return recurrent.forward('LSTM', x, state, state, weight, None, (2,) * (rows // 2), False)
    assert call(64) is not None
    assert call(64, np.float64) is None
    assert call(4, rows=6000) is None
    assert call(16, rows=2) is None
    assert call(64, batch=3) is None
    assert recurrent.backward('LSTM', (('before', 'held'),), None, None, None, None, (1,), False, True) is None
