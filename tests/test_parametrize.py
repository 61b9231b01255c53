"""Parametrizations and pruning: values, and every case that PyTorch knows on both, with checkpoints both ways."""
import copy
import io

import pytest

import flambeau

LAYERS = {'linear': lambda t: t.nn.Linear(4, 3), 'tall': lambda t: t.nn.Linear(3, 5),
          'square': lambda t: t.nn.Linear(4, 4),
          'conv': lambda t: t.nn.Conv2d(2, 3, 3), 'transposed': lambda t: t.nn.ConvTranspose1d(2, 3, 4)}
INPUTS = {'linear': (2, 4), 'tall': (2, 3), 'square': (2, 4), 'conv': (2, 2, 5, 5), 'transposed': (2, 2, 5)}


def listed(value):
    """Nested lists of numbers, rounded so that both frameworks agree."""
    if isinstance(value, dict):
        return {k: listed(v) for k, v in value.items()}
    if hasattr(value, 'tolist'):
        value = value.detach().tolist()
    if isinstance(value, (list, tuple)):
        return [listed(v) for v in value]
    return round(value, 4) + 0.0 if isinstance(value, float) else value


def outcome(function, t):
    try:
        return listed(function(t))
    except Exception as error:
        return type(error).__name__


class Doubling:
    """Parametrizations of either framework."""

    def __init__(self, t):
        class Twice(t.nn.Module):
            def forward(self, x):
                return 2 * x

            def right_inverse(self, x):
                return x / 2

        class Sum(t.nn.Module):
            def forward(self, a, b):
                return a + b

            def right_inverse(self, x):
                return x / 4, 3 * x / 4

        class Positive(t.nn.Module):
            def forward(self, x):
                return x.abs()

        class Cut(t.nn.Module):
            def forward(self, x):
                return x[:1]
        self.twice, self.sum, self.positive, self.cut = Twice, Sum, Positive, Cut


def layer_of(t, name='linear', seed=3):
    t.manual_seed(seed)
    return LAYERS[name](t)


def trained(t, layer, shape, steps=3):
    """A few steps of training, and what came of it."""
    optimizer = t.optim.SGD(layer.parameters(), lr=0.1)
    t.manual_seed(1)
    x = t.randn(*shape)
    losses = []
    for _ in range(steps):
        loss = (layer(x) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, dict(layer.state_dict())


def chained(t):
    parametrize, kinds, layer = t.nn.utils.parametrize, Doubling(t), layer_of(t)
    before = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, 'weight', kinds.sum())
    parametrize.register_parametrization(layer, 'weight', kinds.twice())
    middle = layer.weight.detach().clone()
    layer.weight = t.ones(3, 4)
    return before, middle, layer.weight, list(layer.state_dict()), layer.state_dict()


def removed(t, leave):
    parametrize, layer = t.nn.utils.parametrize, layer_of(t)
    original = layer.weight
    parametrize.register_parametrization(layer, 'weight', Doubling(t).positive())
    parametrize.register_parametrization(layer, 'bias', Doubling(t).positive())
    parametrize.remove_parametrizations(layer, 'weight', leave_parametrized=leave)
    parametrize.remove_parametrizations(layer, 'bias', leave_parametrized=leave)
    return layer.weight is original, type(layer).__name__, layer.state_dict(), layer.weight.requires_grad


def caching(t):
    parametrize, layer, calls = t.nn.utils.parametrize, layer_of(t), []

    class Counting(t.nn.Module):
        def forward(self, x):
            calls.append(1)
            return x
    parametrize.register_parametrization(layer, 'weight', Counting())
    del calls[:]
    with parametrize.cached():
        with parametrize.cached():
            same = layer.weight is layer.weight
        layer.weight
    first = len(calls)
    layer.weight
    return same, first, len(calls)


def told(t):
    parametrize, layer = t.nn.utils.parametrize, layer_of(t)
    states = [parametrize.is_parametrized(layer)]
    parametrize.register_parametrization(layer, 'weight', Doubling(t).twice())
    states += [parametrize.is_parametrized(layer), parametrize.is_parametrized(layer, 'weight'),
               parametrize.is_parametrized(layer, 'bias'), repr(layer), len(list(layer.parameters())),
               parametrize.type_before_parametrizations(layer) is t.nn.Linear, isinstance(layer, t.nn.Linear)]
    twin = copy.deepcopy(layer)
    twin.weight = t.zeros(3, 4)
    other = parametrize.transfer_parametrizations_and_params(layer, t.nn.Linear(4, 3))
    return states, layer.weight.sum() != 0, twin.weight, listed(other.weight) == listed(layer.weight)


def buffers(t):
    layer = t.nn.BatchNorm1d(2)
    t.nn.utils.parametrize.register_parametrization(layer, 'running_mean', Doubling(t).twice())
    return [name for name, _ in layer.named_buffers()], layer(t.tensor([[1., 2.], [3., 5.]])), layer.running_mean


def register(t, layer, name, kind, **options):
    return t.nn.utils.parametrize.register_parametrization(layer, name, getattr(Doubling(t), kind)(), **options)


CASES = {
    'chained': chained, 'removed': lambda t: removed(t, True), 'left': lambda t: removed(t, False), 'cached': caching,
    'told': told, 'buffers': buffers,
    'another shape': lambda t: register(t, layer_of(t), 'weight', 'cut'),
    'another shape, unsafe': lambda t: register(t, layer_of(t), 'weight', 'cut', unsafe=True).weight.shape,
    'second of another shape': lambda t: register(t, register(t, layer_of(t), 'weight', 'twice'), 'weight', 'cut'),
    'no such tensor': lambda t: register(t, layer_of(t), 'nothing', 'twice'),
    'no inverse': lambda t: setattr(register(t, layer_of(t), 'weight', 'positive'), 'weight', t.ones(3, 4)),
    'not parametrized': lambda t: t.nn.utils.parametrize.remove_parametrizations(layer_of(t), 'weight'),
    'two originals left': lambda t: t.nn.utils.parametrize.remove_parametrizations(
        register(t, layer_of(t), 'weight', 'sum'), 'weight', leave_parametrized=False),
    'pickled': lambda t: t.save(register(t, layer_of(t), 'weight', 'twice'), io.BytesIO()),
    'no weight': lambda t: t.nn.utils.parametrizations.orthogonal(t.nn.ReLU()),
    'orthogonal vector': lambda t: t.nn.utils.parametrizations.orthogonal(layer_of(t), 'bias'),
    'no such map': lambda t: t.nn.utils.parametrizations.orthogonal(layer_of(t), orthogonal_map='x'),
    'no iterations': lambda t: t.nn.utils.parametrizations.spectral_norm(layer_of(t), n_power_iterations=0),
    'no such dim': lambda t: t.nn.utils.parametrizations.spectral_norm(layer_of(t), dim=4),
    'cayley assigned': lambda t: setattr(t.nn.utils.parametrizations.orthogonal(
        layer_of(t, 'square'), orthogonal_map='cayley', use_trivialization=False), 'weight', t.eye(4)),
    'householder assigned': lambda t: assigned(t, 'householder', False),
    'exponential assigned': lambda t: assigned(t, 'matrix_exp', True),
}


def assigned(t, kind, trivial):
    layer = t.nn.utils.parametrizations.orthogonal(layer_of(t, 'square'), orthogonal_map=kind,
                                                   use_trivialization=trivial)
    q = t.tensor([[0., 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, -1], [0, 0, 1, 0]])
    layer.weight = q
    return layer.weight


@pytest.mark.parametrize('case', CASES)
def test_parametrizations_do_what_pytorchs_do(case):
    assert outcome(CASES[case], flambeau) == outcome(CASES[case], pytest.importorskip('torch'))


READY = {
    'weight_norm': lambda t, layer: t.nn.utils.parametrizations.weight_norm(layer),
    'weight_norm of all': lambda t, layer: t.nn.utils.parametrizations.weight_norm(layer, dim=None),
    'spectral_norm': lambda t, layer: t.nn.utils.parametrizations.spectral_norm(layer, n_power_iterations=2),
    'orthogonal': lambda t, layer: t.nn.utils.parametrizations.orthogonal(layer),
    'cayley': lambda t, layer: t.nn.utils.parametrizations.orthogonal(layer, orthogonal_map='cayley'),
    'exponential': lambda t, layer: t.nn.utils.parametrizations.orthogonal(layer, orthogonal_map='matrix_exp'),
    'householder': lambda t, layer: t.nn.utils.parametrizations.orthogonal(layer, orthogonal_map='householder'),
}


@pytest.mark.parametrize('layer', ['linear', 'tall', 'square', 'conv', 'transposed'])
@pytest.mark.parametrize('kind', READY)
def test_ready_parametrizations_train_like_pytorchs(kind, layer):
    reference = pytest.importorskip('torch')
    if layer in ('conv', 'transposed') and 'norm' not in kind:
        pytest.skip('batches of small matrices are tried in other layers')
    ours, theirs = (trained(t, READY[kind](t, layer_of(t, layer)), INPUTS[layer]) for t in (flambeau, reference))
    assert ours[0] == pytest.approx(theirs[0], rel=1e-3)
    assert list(ours[1]) == list(theirs[1])
    for name, value in theirs[1].items():
        reference.testing.assert_close(reference.from_numpy(ours[1][name].numpy()), value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('kind', READY)
def test_checkpoints_of_parametrizations_go_both_ways(kind):
    reference = pytest.importorskip('torch')
    for source, target in ((flambeau, reference), (reference, flambeau)):
        file, layer = io.BytesIO(), READY[kind](source, layer_of(source, seed=5))
        source.save(layer.state_dict(), file)
        file.seek(0)
        other = READY[kind](target, layer_of(target, seed=7)).eval()
        other.load_state_dict(target.load(file))
        assert listed(other.weight) == listed(layer.eval().weight)


def test_orthogonal_weights_are_orthogonal_and_normed_ones_normed():
    for kind in ('matrix_exp', 'cayley', 'householder'):
        layer = flambeau.nn.utils.parametrizations.orthogonal(layer_of(flambeau, 'tall'), orthogonal_map=kind)
        trained(flambeau, layer, INPUTS['tall'])
        flambeau.testing.assert_close(layer.weight.T @ layer.weight, flambeau.eye(3))
    layer = flambeau.nn.utils.parametrizations.spectral_norm(layer_of(flambeau, 'conv'), n_power_iterations=50)
    layer.weight
    assert float(flambeau.linalg.matrix_norm(layer.weight.flatten(1), 2).detach()) == pytest.approx(1, abs=1e-3)
    layer = flambeau.nn.utils.parametrizations.weight_norm(layer_of(flambeau))
    layer.parametrizations.weight.original0.data.fill_(2)
    flambeau.testing.assert_close(layer.weight.norm(dim=1), flambeau.full((3,), 2.))


def test_older_weight_norm_checkpoints_load():
    older = flambeau.nn.Linear(4, 3)
    state = {'bias': older.bias.data, 'weight_g': older.weight.data.norm(dim=1, keepdim=True),
             'weight_v': older.weight.data}
    layer = flambeau.nn.utils.parametrizations.weight_norm(flambeau.nn.Linear(4, 3))
    layer.load_state_dict(state)
    flambeau.testing.assert_close(layer.weight, older.weight)


# ---- pruning

def prune_of(t):
    import importlib
    return importlib.import_module(f'{t.__name__}.nn.utils.prune')


def pruned(t, *steps, layer='linear'):
    """The state, the weight and the output of a layer after prunings of its weight."""
    module, prune = layer_of(t, layer), prune_of(t)
    t.manual_seed(9)
    for name, arguments in steps:
        arguments = {k: t.tensor(v) if isinstance(v, list) else v for k, v in arguments.items()}
        getattr(prune, name)(module, 'weight', **arguments)
    return module, module.weight, module.state_dict(), module(t.ones(*INPUTS[layer]))


def summary(t, *steps, layer='linear'):
    module, *rest = pruned(t, *steps, layer=layer)
    return rest, prune_of(t).is_pruned(module), sorted(dict(module.named_parameters()))


def globally(t):
    first, second, prune = layer_of(t), layer_of(t, 'tall'), prune_of(t)
    prune.l1_unstructured(first, 'weight', 0.25)
    prune.global_unstructured([(first, 'weight'), (second, 'weight')], prune.L1Unstructured, amount=0.5)
    return first.weight, second.weight, first.weight_mask, second.weight_mask


def finished(t):
    module, prune = layer_of(t), prune_of(t)
    original = module.weight
    prune.l1_unstructured(module, 'weight', 5)
    prune.remove(module, 'weight')
    return module.weight is original, module.weight, list(module.state_dict()), prune.is_pruned(module)


def own_method(t):
    prune = prune_of(t)

    class EverySecond(prune.BasePruningMethod):
        PRUNING_TYPE = 'unstructured'

        def compute_mask(self, t, default_mask):
            mask = default_mask.clone()
            mask.view(-1)[::2] = 0
            return mask
    module = layer_of(t)
    EverySecond.apply(module, 'weight')
    EverySecond.apply(module, 'weight')
    hook = next(iter(module._forward_pre_hooks.values()))
    return module.weight, len(hook), EverySecond().prune(t.ones(2, 3))


def trained_pruned(t):
    module = layer_of(t)
    prune_of(t).l1_unstructured(module, 'weight', 0.5)
    return trained(t, module, INPUTS['linear'])


def another_parameter(t):
    prune, module = prune_of(t), layer_of(t)
    weight, bias = prune.Identity.apply(module, 'weight'), prune.Identity.apply(module, 'bias')
    prune.PruningContainer(weight).add_pruning_method(bias)


ROWS = [[1, 0, 1, 1], [0, 1, 1, 1], [1, 1, 0, 0]]
PRUNINGS = {
    'identity': lambda t: summary(t, ('identity', {})),
    'random': lambda t: summary(t, ('random_unstructured', {'amount': 0.3})),
    'random count': lambda t: summary(t, ('random_unstructured', {'amount': 4}), layer='conv'),
    'smallest': lambda t: summary(t, ('l1_unstructured', {'amount': 0.5})),
    'smallest by scores': lambda t: summary(t, ('l1_unstructured', {
        'amount': 3, 'importance_scores': [[1., 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]})),
    'nothing': lambda t: summary(t, ('l1_unstructured', {'amount': 0.0})),
    'random channels': lambda t: summary(t, ('random_structured', {'amount': 2, 'dim': 1})),
    'channels': lambda t: summary(t, ('ln_structured', {'amount': 0.5, 'n': 2, 'dim': 0}), layer='conv'),
    'channels by the largest': lambda t: summary(t, ('ln_structured', {'amount': 1, 'n': float('inf'), 'dim': -1})),
    'mask': lambda t: summary(t, ('custom_from_mask', {'mask': ROWS})),
    'twice': lambda t: summary(t, ('l1_unstructured', {'amount': 2}), ('l1_unstructured', {'amount': 0.5}),
                               ('random_unstructured', {'amount': 0.5})),
    'channels, then entries': lambda t: summary(
        t, ('ln_structured', {'amount': 1, 'n': 1, 'dim': 1}), ('random_unstructured', {'amount': 0.5}),
        ('random_structured', {'amount': 1, 'dim': 1}), ('custom_from_mask', {'mask': ROWS})),
    'global': globally, 'finished': finished, 'own': own_method, 'trained': trained_pruned,
    'too many': lambda t: summary(t, ('l1_unstructured', {'amount': 99})),
    'share above one': lambda t: summary(t, ('l1_unstructured', {'amount': 1.5})),
    'negative': lambda t: summary(t, ('random_unstructured', {'amount': -1})),
    'no amount': lambda t: summary(t, ('random_unstructured', {'amount': 'a'})),
    'scores of another shape': lambda t: summary(t, ('l1_unstructured', {'amount': 1, 'importance_scores': [1., 2]})),
    'mask of another shape': lambda t: summary(t, ('custom_from_mask', {'mask': [1, 2]})),
    'no such dim': lambda t: summary(t, ('random_structured', {'amount': 1, 'dim': 3})),
    'structure of a vector': lambda t: prune_of(t).random_structured(layer_of(t), 'bias', 1, 0),
    'not pruned': lambda t: prune_of(t).remove(layer_of(t), 'weight'),
    'no such parameter': lambda t: prune_of(t).identity(layer_of(t), 'nothing'),
    'structured globally': lambda t: prune_of(t).global_unstructured(
        [(layer_of(t), 'weight')], prune_of(t).LnStructured, amount=1, n=2),
    'another parameter': another_parameter,
}


@pytest.mark.parametrize('case', PRUNINGS)
def test_prunings_do_what_pytorchs_do(case):
    assert outcome(PRUNINGS[case], flambeau) == outcome(PRUNINGS[case], pytest.importorskip('torch'))


def test_what_is_smallest_is_pruned_and_a_failed_pruning_changes_nothing():
    layer = flambeau.nn.Linear(2, 2, bias=False)
    layer.weight.data = flambeau.tensor([[3., -1], [2, -4]])
    prune_of(flambeau).l1_unstructured(layer, 'weight', 0.5)
    assert layer.weight.tolist() == [[3, 0], [0, -4]] and layer.weight_mask.tolist() == [[1, 0], [0, 1]]
    state = listed(layer.state_dict())
    with pytest.raises(ValueError, match='smaller than the number of parameters'):
        prune_of(flambeau).l1_unstructured(layer, 'weight', 7)
    assert listed(layer.state_dict()) == state and len(layer._forward_pre_hooks) == 1
    layer(flambeau.ones(1, 2)).sum().backward()
    assert layer.weight_orig.grad.tolist() == [[1, 0], [0, 1]]
