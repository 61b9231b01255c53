"""Tools around modules, held against PyTorch: every case runs on both and must say the same."""
import re
import warnings

import pytest

import flambeau


def outcome(function):
    """What a call returns, or the type and text of what it raises."""
    try:
        return 'returned', function()
    except Exception as error:
        return type(error).__name__, str(error).split('\n  in layer ')[0]


def rounded(value):
    """Nested numbers of tensors, rounded so that both frameworks agree."""
    if hasattr(value, 'tolist'):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [rounded(v) for v in value]
    return round(value, 4) + 0.0 if isinstance(value, float) else value


def dense(t):
    """A linear layer with fixed weights, made of Module and Parameter alone."""
    class Dense(t.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = t.nn.Parameter(t.arange(1., 7).reshape(3, 2) / 5)
            self.bias = t.nn.Parameter(t.zeros(3))
            self.register_buffer('calls', t.zeros(()))

        def forward(self, x):
            self.calls = self.calls + 1
            return x @ self.weight.t() + self.bias
    return Dense


CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


@case
def clipping(t, Dense):
    utils, said = t.nn.utils, []
    for norm in (2, 1.0, float('inf'), 0.5):
        for limit in (0.5, 100):
            layer = Dense()
            layer(t.ones(4, 2)).sum().backward()
            total = utils.clip_grad_norm_(layer.parameters(), limit, norm_type=norm)
            said.append(rounded([total, layer.weight.grad, layer.bias.grad]))
    layer = Dense()
    layer(t.tensor([[1., -2.]])).sum().backward()
    utils.clip_grad_value_(layer.weight, 0.7)
    said += [rounded(layer.weight.grad), utils.clip_grad_norm_([], 1.0).item(),
             rounded(utils.get_total_norm([t.ones(3), t.ones(1)])),
             outcome(lambda: utils.clip_grads_with_norm_(layer.parameters(), 0.1, t.tensor(5.))),
             rounded(layer.weight.grad)]
    layer.weight.grad.fill_(float('nan'))
    return said, outcome(lambda: utils.clip_grad_norm_(layer.parameters(), 1.0, error_if_nonfinite=True))


@case
def vectors(t, Dense):
    layer = Dense()
    vector = t.nn.utils.parameters_to_vector(layer.parameters())
    t.nn.utils.vector_to_parameters(t.arange(9.), layer.parameters())
    said = [rounded(vector), vector.requires_grad, rounded(layer.weight), rounded(layer.bias),
            layer.weight.requires_grad]
    return said, outcome(lambda: t.nn.utils.vector_to_parameters(3, layer.parameters())), \
        outcome(lambda: t.nn.utils.vector_to_parameters(t.ones(5), layer.parameters()))


@case
def weight_norms(t, Dense):
    said = []
    for dim in (0, 1, None):
        layer = t.nn.utils.weight_norm(Dense(), dim=dim)
        layer.weight_g.data.mul_(2)
        out = layer(t.ones(1, 2))
        out.sum().backward()
        said.append(([n for n, _ in layer.named_parameters()], rounded([out, layer.weight_g, layer.weight_g.grad,
                                                                        layer.weight_v.grad, layer.weight])))
        said.append(outcome(lambda: t.nn.utils.weight_norm(layer)))
        t.nn.utils.remove_weight_norm(layer)
        said.append(([n for n, _ in layer.named_parameters()], rounded(layer(t.ones(1, 2)))))
    return said, outcome(lambda: t.nn.utils.remove_weight_norm(layer))[0]


@case
def spectral_norms(t, Dense):
    t.manual_seed(5)
    layer = t.nn.utils.spectral_norm(Dense(), n_power_iterations=2)
    said = [rounded(layer(t.ones(1, 2)))]
    layer(t.ones(1, 2)).sum().backward()
    said += [rounded([layer.weight_orig.grad, layer.weight, layer.weight_u, layer.weight_v])]
    layer.eval()
    said += [rounded(layer(t.ones(1, 2))), list(layer.state_dict()), dict(layer.state_dict()._metadata),
             outcome(lambda: t.nn.utils.spectral_norm(layer)), repr(layer.load_state_dict(layer.state_dict()))]
    t.nn.utils.remove_spectral_norm(layer)
    return said, rounded(layer(t.ones(1, 2))), [n for n, _ in layer.named_parameters()], len(layer._state_dict_hooks), \
        outcome(lambda: t.nn.utils.spectral_norm(layer, n_power_iterations=0))[0]


@case
def functional_calls(t, Dense):
    call, layer, x = t.func.functional_call, Dense(), t.ones(2)
    original, weight, calls = layer.weight, t.ones(3, 2, requires_grad=True), {'calls': t.tensor(10.)}
    out = call(layer, {'weight': weight}, x)
    out.sum().backward()
    said = [rounded(out), rounded(weight.grad), layer.weight is original, original.grad, layer.calls.item()]
    said.append((rounded(call(layer, [{'weight': weight}, calls], (x,))), layer.calls.item()))
    net = t.nn.Sequential(layer, t.nn.Module())
    net[1].tied = layer.weight
    net.forward = lambda x: net[0](x) + net[1].tied.sum()
    said += [rounded(call(net, {'0.weight': weight * 2}, x)),
             rounded(call(net, {'0.weight': weight * 2}, x, tie_weights=False)),
             outcome(lambda: call(net, {'0.weight': weight, '1.tied': weight * 1}, x))]
    said += [outcome(lambda: call(*arguments[:3], **arguments[3])) for arguments in (
        (layer, {'weight': weight}, x, {'strict': True}), (layer, {'weight': 3}, x, {}), (layer, 3, x, {}),
        (layer, [{'weight': weight}] * 2, x, {}), (net, {'0.q.weight': weight}, x, {}),
        (layer, {'weight': weight, 'calls': t.ones(()), 'more': x, 'bias': t.zeros(3)}, x, {'strict': True}))]
    broken = outcome(lambda: call(layer, {'weight': weight}, t.ones(7)))[0]
    return said, broken, layer.weight is original, layer.calls.item()


@case
def packing(t, Dense):
    rnn, x = t.nn.utils.rnn, t.arange(24.).reshape(4, 3, 2)
    said = []
    for lengths, first, sort in (([4, 2, 1], False, True), ([2, 4, 1], False, False), ([1, 2, 2, 1], True, False),
                                 (t.tensor([3, 3, 3]), False, True)):
        packed = rnn.pack_padded_sequence(x, lengths, batch_first=first, enforce_sorted=sort)
        said.append([None if part is None else part.tolist() for part in packed])
        for options in ({}, {'batch_first': True, 'padding_value': -1.0}, {'total_length': 6}):
            said.append([part.tolist() for part in rnn.pad_packed_sequence(packed, **options)])
        said.append([part.tolist() for part in rnn.unpack_sequence(packed)])
    leaf = x.clone().requires_grad_()
    padded, _ = rnn.pad_packed_sequence(rnn.pack_padded_sequence(leaf, [2, 4, 1], enforce_sorted=False))
    (padded * padded).sum().backward()
    said.append(leaf.grad.tolist())
    parts = [t.arange(float(n), requires_grad=True) for n in (2, 4, 0, 3)]
    for options in ({}, {'batch_first': True}, {'padding_value': 7.0}, {'padding_side': 'left', 'batch_first': True}):
        said.append(rnn.pad_sequence(parts, **options).tolist())
    rnn.pad_sequence(parts).pow(2).sum().backward()
    said.append([part.grad.tolist() for part in parts])
    packed = rnn.pack_sequence([t.ones(1, 2), t.ones(3, 2)], enforce_sorted=False)
    said += [repr(packed), repr(packed.double().data.dtype), packed.float() is packed, packed.is_cuda,
             rnn.invert_permutation(t.tensor([2, 0, 1])).tolist(), rnn.invert_permutation(None),
             rnn.pad_sequence([t.ones(2, dtype=t.int64), t.ones(3)]).tolist()]
    return said


@case
def prefixes(t, Dense):
    utils = t.nn.modules.utils
    net = t.nn.Module()
    net.module = t.nn.Sequential(Dense(), Dense())
    state = net.state_dict()
    utils.consume_prefix_in_state_dict_if_present(state, 'module.')
    return (sorted(state), sorted(state._metadata.items()), repr(net.module.load_state_dict(state)),
            [f(x) for f in (utils._single, utils._pair, utils._triple, utils._quadruple) for x in (3, [1, 2])])


@case
def packing_refusals(t, Dense):
    rnn, x = t.nn.utils.rnn, t.arange(24.).reshape(4, 3, 2)
    packed = rnn.pack_padded_sequence(x, [4, 2, 1])
    return [outcome(call) for call in (
        lambda: rnn.pack_padded_sequence(x, [2, 3, 1]), lambda: rnn.pack_padded_sequence(x, [3, 2, 0]),
        lambda: rnn.pack_padded_sequence(x, [2, 1]), lambda: rnn.pack_padded_sequence(t.zeros(0, 0), []),
        lambda: rnn.pad_packed_sequence(packed, total_length=2), lambda: rnn.pad_sequence([]),
        lambda: rnn.pad_sequence(3),
        lambda: rnn.pad_sequence([t.ones(2)], padding_side='x'),
        lambda: outcome(lambda: rnn.pad_sequence([t.ones(2, 2), t.ones(3, 3)]))[0])]


def without_paths(text):
    """Without what only ours says: the names of packages, and the calls that end an error's message."""
    text = re.sub(r", in \w+\(.*\)(?=\"|')", '', text)
    return re.sub(r'(flambeau|torch)\.(nn\.(modules\.)?)?', '', text)


@pytest.mark.parametrize('name', CASES)
def test_same_as_torch(name):
    torch = pytest.importorskip('torch')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        ours, theirs = (CASES[name](framework, dense(framework)) for framework in (flambeau, torch))
    assert without_paths(repr(ours)) == without_paths(repr(theirs))


def test_too_short_vector_changes_nothing():
    layer = dense(flambeau)()
    before = layer.weight.tolist()
    with pytest.raises(RuntimeError):
        flambeau.nn.utils.vector_to_parameters(flambeau.zeros(7), layer.parameters())
    assert layer.weight.tolist() == before


def test_length_beyond_the_input_is_refused():
    with pytest.raises(RuntimeError, match='a length of 5 is more than the 4 steps'):
        flambeau.nn.utils.rnn.pack_padded_sequence(flambeau.zeros(4, 3), [5, 2, 1])


def test_skip_init_draws_nothing():
    class Drawn(flambeau.nn.Module):
        def __init__(self, size, device=None):
            super().__init__()
            self.weight = flambeau.nn.Parameter(flambeau.randn(size, device=device))
    flambeau.manual_seed(1)
    expected = flambeau.rand(1)
    flambeau.manual_seed(1)
    assert flambeau.nn.utils.skip_init(Drawn, 3).weight.shape == (3,)
    assert flambeau.rand(1).equal(expected)
    with pytest.raises(RuntimeError, match="'device' arg"):
        flambeau.nn.utils.skip_init(dense(flambeau))
