"""Recurrent layers against cells written out in NumPy, against their own derivatives, and against PyTorch."""
import numpy as np
import pytest
from against_torch import derivatives

import flambeau
from flambeau import nn
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

LAYERS = [
    ('RNN', {}),
    ('RNN', {'nonlinearity': 'relu', 'bidirectional': True}),
    ('GRU', {'num_layers': 2, 'batch_first': True}),
    ('GRU', {'bidirectional': True, 'bias': False}),
    ('LSTM', {}),
    ('LSTM', {'num_layers': 2, 'bidirectional': True}),
    ('LSTM', {'proj_size': 2, 'num_layers': 2, 'batch_first': True}),
    ('LSTM', {'proj_size': 2, 'bias': False, 'bidirectional': True}),
]
WIDTH, SIZE = 3, 4


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def step(kind, x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr=None):
    """One step of a cell by its definition: (h, c)."""
    a, b = x @ w_ih.T + b_ih, h @ w_hh.T + b_hh
    if kind in ('tanh', 'relu'):
        return (np.tanh(a + b) if kind == 'tanh' else np.maximum(a + b, 0)), None
    if kind == 'GRU':
        (ar, az, an), (br, bz, bn) = np.split(a, 3, -1), np.split(b, 3, -1)
        r, z = sigmoid(ar + br), sigmoid(az + bz)
        return (1 - z) * np.tanh(an + r * bn) + z * h, None
    i, f, g, o = np.split(a + b, 4, -1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return (h if w_hr is None else h @ w_hr.T), c


def unrolled(layer, x, h, c):
    """The layers of a module step by step: (output, h, c), time first; h and c (layers * directions, batch, size)."""
    kind = layer.nonlinearity if layer.mode.startswith('RNN') else layer.mode
    last_h, last_c = [], []
    directions = 2 if layer.bidirectional else 1
    for number in range(layer.num_layers):
        outputs = []
        for direction, suffix in enumerate(('', '_reverse')[:directions]):
            weights = {n: getattr(layer, f'{n}_l{number}{suffix}', None) for n in
                       ('weight_ih', 'weight_hh', 'bias_ih', 'bias_hh', 'weight_hr')}
            w_ih, w_hh, b_ih, b_hh, w_hr = (None if w is None else w.detach().numpy() for w in weights.values())
            b_ih, b_hh = (0, 0) if b_ih is None else (b_ih, b_hh)
            k = number * directions + direction
            state, cells, steps = h[k], c[k], {}
            for t in range(len(x))[::-1 if direction else 1]:
                state, cells = step(kind, x[t], state, cells, w_ih, w_hh, b_ih, b_hh, w_hr)
                steps[t] = state
            outputs.append(np.stack([steps[t] for t in range(len(x))]))
            last_h.append(state)
            last_c.append(cells)
        x = np.concatenate(outputs, -1)
    return x, np.stack(last_h), None if last_c[0] is None else np.stack(last_c)


def made(kind, options, seed=0):
    """A float64 layer, an input of 5 steps and 2 sequences, time first, and states."""
    flambeau.manual_seed(seed)
    layer = getattr(nn, kind)(WIDTH, SIZE, **options).double()
    count = layer.num_layers * (2 if layer.bidirectional else 1)
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((5, 2, WIDTH))
    h, c = draw.standard_normal((count, 2, layer.proj_size or SIZE)), draw.standard_normal((count, 2, SIZE))
    return layer, x, h, c


def state_of(layer, h, c):
    h, c = flambeau.tensor(h), flambeau.tensor(c)
    return (h, c) if layer.mode == 'LSTM' else h


@pytest.mark.parametrize('kind, options', LAYERS, ids=str)
def test_layer_is_its_cells_unrolled(kind, options):
    layer, x, h, c = made(kind, options)
    given = x.swapaxes(0, 1) if layer.batch_first else x
    output, state = layer(flambeau.tensor(given), state_of(layer, h, c))
    expected, last_h, last_c = unrolled(layer, x, h, c)
    output = output.detach().numpy()
    np.testing.assert_allclose(output.swapaxes(0, 1) if layer.batch_first else output, expected, rtol=1e-12, atol=1e-14)
    states = state if kind == 'LSTM' else (state,)
    for found, wanted in zip(states, (last_h, last_c)):
        np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize('kind, options', LAYERS, ids=str)
def test_packed_sequences_are_computed_one_by_one(kind, options):
    layer, _, h, c = made(kind, {**options, 'batch_first': False})
    lengths = [2, 4]
    rows = [np.random.default_rng(n).standard_normal((n, WIDTH)) for n in lengths]
    padded = np.full((5, 2, WIDTH), np.nan)
    for k, row in enumerate(rows):
        padded[:len(row), k] = row
    packed = pack_padded_sequence(flambeau.tensor(padded), lengths, enforce_sorted=False)
    output, state = layer(packed, state_of(layer, h, c))
    assert isinstance(output, PackedSequence)
    output, found_lengths = pad_packed_sequence(output)
    assert found_lengths.tolist() == lengths
    states = state if kind == 'LSTM' else (state,)
    for k, row in enumerate(rows):
        expected, *last = unrolled(layer, row[:, None], h[:, k:k + 1], c[:, k:k + 1])
        np.testing.assert_allclose(output[:len(row), k].detach().numpy(), expected[:, 0], rtol=1e-12, atol=1e-14)
        for found, wanted in zip(states, last):
            np.testing.assert_allclose(found[:, k].detach().numpy(), wanted[:, 0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize('kind, options', [('RNN', {}), ('GRU', {'bidirectional': True}), ('LSTM', {'proj_size': 2})],
                         ids=str)
@pytest.mark.parametrize('sizes', [(2, 2, 2), (3, 2, 2, 1)], ids=str)
def test_gradients_of_both_orders_are_numerical_ones(kind, options, sizes):
    layer, _, h, c = made(kind, options)
    draw = np.random.default_rng(1)
    data = flambeau.tensor(draw.standard_normal((sum(sizes), WIDTH)), requires_grad=True)
    h = flambeau.tensor(draw.standard_normal((len(h), sizes[0], layer.proj_size or SIZE)), requires_grad=True)
    c = flambeau.tensor(draw.standard_normal((len(h), sizes[0], SIZE)), requires_grad=True)
    weights = [w.detach().requires_grad_() for w in layer.parameters()]
    function = getattr(flambeau, {'RNN': 'rnn_tanh', 'GRU': 'gru', 'LSTM': 'lstm'}[kind])

    def run(data, h, c, *weights):
        hx = (h, c) if kind == 'LSTM' else h
        return function(data, flambeau.tensor(sizes), hx, weights, True, 1, 0.0, True, layer.bidirectional)
    states = (h, c) if kind == 'LSTM' else (h, h.detach())
    assert gradcheck(run, (data, *states, *weights))
    assert gradgradcheck(run, (data, *states, *weights))


@pytest.mark.parametrize('kind, count', [('RNNCell', 1), ('GRUCell', 1), ('LSTMCell', 2)])
def test_cell_is_a_layer_of_one_step(kind, count):
    flambeau.manual_seed(3)
    cell = getattr(nn, kind)(WIDTH, SIZE).double()
    names = ['weight_ih', 'weight_hh', 'bias_ih', 'bias_hh']
    x, *states = (flambeau.randn(2, n, dtype=flambeau.float64) for n in (WIDTH, SIZE, SIZE)[:count + 1])
    given = tuple(states) if count == 2 else states[0]
    results = cell(x, given)
    results = results if count == 2 else (results,)
    mode = {'RNNCell': 'tanh', 'GRUCell': 'GRU', 'LSTMCell': 'LSTM'}[kind]
    weights = [getattr(cell, n).detach().numpy() for n in names]
    expected = step(mode, x.numpy(), states[0].numpy(), states[-1].numpy(), *weights)
    for found, wanted in zip(results, expected):
        np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-12)
    single = cell(x[0], tuple(s[0] for s in states) if count == 2 else states[0][0])
    np.testing.assert_allclose((single[0] if count == 2 else single).detach().numpy(), results[0][0].detach().numpy(),
                               rtol=1e-12)
    zero = cell(x)
    first = cell(x, tuple(flambeau.zeros_like(s) for s in states) if count == 2 else flambeau.zeros_like(states[0]))
    np.testing.assert_array_equal((zero[0] if count == 2 else zero).detach().numpy(),
                                  (first[0] if count == 2 else first).detach().numpy())


def test_results_may_be_changed_in_place_before_backward():
    cell = nn.RNNCell(WIDTH, SIZE)
    x = flambeau.randn(2, WIDTH)
    gradients = []
    for change in (False, True):
        cell.zero_grad()
        h = cell(x, flambeau.ones(2, SIZE))
        total = h.sum()
        if change:
            with flambeau.no_grad():
                h.zero_()
        total.backward()
        gradients.append(cell.weight_hh.grad.numpy().copy())
    np.testing.assert_array_equal(*gradients)


def test_changed_weights_are_noticed_in_backward():
    layer = nn.GRU(WIDTH, SIZE)
    output, _ = layer(flambeau.randn(3, 2, WIDTH))
    with flambeau.no_grad():
        layer.weight_hh_l0.mul_(2)
    with pytest.raises(RuntimeError, match='modified by an inplace operation'):
        output.sum().backward()


def test_dropout_falls_between_layers_in_training_only():
    flambeau.manual_seed(0)
    layer = nn.LSTM(WIDTH, SIZE, 2, dropout=0.5)
    x = flambeau.randn(4, 2, WIDTH)
    flambeau.manual_seed(1)
    first = layer(x)[0].detach().numpy()
    assert not np.array_equal(layer(x)[0].detach().numpy(), first)
    flambeau.manual_seed(1)
    np.testing.assert_array_equal(layer(x)[0].detach().numpy(), first)
    layer.eval()
    np.testing.assert_array_equal(layer(x)[0].detach().numpy(), layer(x)[0].detach().numpy())


def test_unbatched_and_empty_batches():
    layer = nn.LSTM(WIDTH, SIZE, 2, bidirectional=True)
    x = flambeau.randn(5, WIDTH)
    output, (h, c) = layer(x)
    whole, (h_whole, c_whole) = layer(x.unsqueeze(1))
    np.testing.assert_array_equal(output.detach().numpy(), whole[:, 0].detach().numpy())
    np.testing.assert_array_equal(h.detach().numpy(), h_whole[:, 0].detach().numpy())
    np.testing.assert_array_equal(c.detach().numpy(), c_whole[:, 0].detach().numpy())
    output, (h, _) = layer(flambeau.zeros(5, 0, WIDTH))
    assert output.shape == (5, 0, 2 * SIZE) and h.shape == (4, 0, SIZE)


def test_names_order_and_form():
    layer = nn.LSTM(WIDTH, SIZE, bidirectional=True, proj_size=2)
    names = ['weight_ih_l0', 'weight_hh_l0', 'bias_ih_l0', 'bias_hh_l0', 'weight_hr_l0']
    assert list(layer.state_dict()) == names + [n + '_reverse' for n in names]
    assert [len(w) for w in layer.all_weights] == [5, 5]
    assert repr(layer) == 'LSTM(3, 4, proj_size=2, bidirectional=True)'
    assert repr(nn.GRU(3, 4, 2, batch_first=True)) == 'GRU(3, 4, num_layers=2, batch_first=True)'
    assert repr(nn.RNNCell(3, 4, bias=False, nonlinearity='relu')) == 'RNNCell(3, 4, bias=False, nonlinearity=relu)'


@pytest.mark.parametrize('call, error', [
    (lambda: nn.LSTM(3, 0), ValueError), (lambda: nn.LSTM(3, 4, 0), ValueError), (lambda: nn.LSTM(3, 4.0), TypeError),
    (lambda: nn.GRU(3, 4, proj_size=2), ValueError), (lambda: nn.LSTM(3, 4, proj_size=4), ValueError),
    (lambda: nn.RNN(3, 4, nonlinearity='gelu'), ValueError), (lambda: nn.LSTM(3, 4, dropout=2), ValueError),
    (lambda: nn.LSTM(3, 4, bias=1), TypeError), (lambda: nn.GRU(3, 4)(flambeau.zeros(3)), ValueError),
    (lambda: nn.GRU(3, 4)(flambeau.zeros(2, 2, 5)), RuntimeError),
    (lambda: nn.GRU(3, 4)(flambeau.zeros(2, 2, 3).double()), ValueError),
    (lambda: nn.GRU(3, 4)(flambeau.zeros(0, 2, 3)), RuntimeError),
    (lambda: nn.GRU(3, 4)(flambeau.zeros(2, 2, 3), flambeau.zeros(1, 3, 4)), RuntimeError),
    (lambda: nn.LSTM(3, 4)(flambeau.zeros(2, 2, 3), (flambeau.zeros(1, 4), flambeau.zeros(1, 4))), RuntimeError),
    (lambda: nn.LSTMCell(3, 4)(flambeau.zeros(2, 3), flambeau.zeros(2, 4)), TypeError),
    (lambda: nn.GRUCell(3, 4)(flambeau.zeros(2, 3), flambeau.zeros(2, 5)), RuntimeError),
    (lambda: nn.RNNCell(3, 4)(flambeau.zeros(2, 2, 3)), ValueError),
])
def test_refusals(call, error):
    with pytest.raises(error):
        call()


@pytest.mark.parametrize('kind, options', LAYERS, ids=str)
def test_layers_are_as_pytorch_has_them(kind, options):
    torch = pytest.importorskip('torch')
    layer, x, h, c = made(kind, options)
    other = getattr(torch.nn, kind)(WIDTH, SIZE, **options).double()
    names = list(layer.state_dict())
    other.load_state_dict({k: torch.tensor(v.numpy()) for k, v in layer.state_dict().items()})
    x = x.swapaxes(0, 1).copy() if layer.batch_first else x

    def run(framework, module):
        def function(x, h, c, *weights):
            hx = (h, c) if kind == 'LSTM' else h + 0 * c.sum()
            output, state = framework.func.functional_call(module, dict(zip(names, weights)), (x, hx))
            return output, *(state if kind == 'LSTM' else (state,))
        return function

    operands = [x, h, c, *(w.detach().numpy() for w in layer.parameters())]

    def weights(shape):
        return np.random.default_rng(sum(shape)).standard_normal(shape)
    found = derivatives(flambeau, run(flambeau, layer), operands, {}, weights)
    expected = derivatives(torch, run(torch, other), operands, {}, weights)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize('kind, options', [('LSTM', {'num_layers': 2, 'bidirectional': True, 'dropout': 0.4}),
                                           ('GRU', {'num_layers': 2, 'dropout': 0.4, 'batch_first': True}),
                                           ('RNNCell', {}), ('LSTMCell', {'bias': False})], ids=str)
def test_seeded_weights_and_dropout_are_those_of_pytorch(kind, options):
    torch = pytest.importorskip('torch')
    x = np.random.default_rng(0).standard_normal((6, WIDTH) if 'Cell' in kind else (5, 6, WIDTH)).astype('float32')
    outputs = []
    for framework in (flambeau, torch):
        framework.manual_seed(7)
        module = getattr(framework.nn, kind)(WIDTH, SIZE, **options)
        result = module(framework.tensor(x))
        outputs.append([*(p.detach().numpy() for p in module.parameters()),
                        (result if kind == 'RNNCell' else result[0]).detach().numpy()])
    for ours, theirs in zip(*outputs):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_layers_of_one_unit_are_computed_in_float32_as_in_float64():
    import flambeau
    for kind in ('LSTM', 'GRU', 'RNN'):
        layer, x = getattr(flambeau.nn, kind)(3, 1), flambeau.rand(5, 2, 3)
        found = layer(x)[0]
        flambeau.testing.assert_close(found.double(), layer.double()(x.double())[0], rtol=1e-5, atol=1e-6)
