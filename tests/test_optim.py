"""Optimizers held against PyTorch's: parameters and states step by step, state dicts, hooks, errors and memory."""
import copy
import pickle

import numpy as np
import pytest

import flambeau
from flambeau.backends.cpu import fusion
from flambeau.backends.cpu.properties import jit_is_on
from flambeau.ops.reference import REFERENCE
from flambeau.optim.pieces import PIECE

CASES = [
    ('SGD', {'lr': 0.1}), ('SGD', {'lr': 0.1, 'weight_decay': 0.1, 'maximize': True}),
    ('SGD', {'lr': 0.1, 'momentum': 0.9, 'dampening': 0.3}),
    ('SGD', {'lr': 0.1, 'momentum': 0.9, 'nesterov': True, 'weight_decay': 0.01}),
    ('Adagrad', {}), ('Adagrad', {'lr_decay': 0.1, 'weight_decay': 0.1, 'initial_accumulator_value': 0.5}),
    ('RMSprop', {}), ('RMSprop', {'centered': True, 'momentum': 0.9, 'weight_decay': 0.1}),
    ('RMSprop', {'centered': True, 'maximize': True}),
    ('Adadelta', {}), ('Adadelta', {'lr': 0.5, 'rho': 0.8, 'weight_decay': 0.1}),
    ('Adam', {}), ('Adam', {'amsgrad': True, 'weight_decay': 0.1, 'maximize': True}), ('Adam', {'betas': (0.0, 0.9)}),
    ('Adam', {'decoupled_weight_decay': True, 'weight_decay': 0.2}),
    ('AdamW', {}), ('AdamW', {'amsgrad': True, 'lr': 0.02}),
    ('Adamax', {}), ('Adamax', {'weight_decay': 0.1}),
    ('NAdam', {}), ('NAdam', {'weight_decay': 0.1, 'decoupled_weight_decay': True}),
    ('RAdam', {}), ('RAdam', {'weight_decay': 0.1, 'decoupled_weight_decay': True}),
    ('Rprop', {}), ('Rprop', {'etas': (0.4, 1.3), 'step_sizes': (1e-4, 0.011)}),
    ('ASGD', {}), ('ASGD', {'lr': 0.1, 'lambd': 0.1, 't0': 2, 'weight_decay': 0.1}),
    ('Adafactor', {}), ('Adafactor', {'lr': 0.1, 'd': 2.0, 'weight_decay': 0.1, 'maximize': True}),
]
ELEMENTWISE = [case for case in CASES if case[0] != 'Adafactor']
SHAPES = [(3, 4), (5,), (), (2, 1, 3), (0, 2)]
IDS = [f'{name}-{",".join(options)}' for name, options in CASES]


def arrays(seed, shapes=SHAPES, kind='float32'):
    source = np.random.default_rng(seed)
    if np.dtype(kind).kind == 'c':
        return [(source.standard_normal(s) + 1j * source.standard_normal(s)).astype(kind) for s in shapes]
    return [np.asarray(source.standard_normal(s)).astype(kind) for s in shapes]


def parameters(library, values):
    return [library.nn.Parameter(library.tensor(v)) if library is not flambeau
            else flambeau.Parameter(flambeau.tensor(v)) for v in values]


def train(library, name, options, values, steps, skip=(), optimizer=None, params=None, first=0):
    """Steps with given gradients; in step k the parameters (k, i) in `skip` have none."""
    params = params or parameters(library, values)
    optimizer = optimizer or getattr(library.optim, name)(params, **options)
    for k in range(first, first + steps):
        for i, (p, g) in enumerate(zip(params, arrays(100 + k, [v.shape for v in values], values[0].dtype))):
            p.grad = None if (k, i) in skip else library.tensor(g)
        optimizer.step()
    return params, optimizer


def alike(mine, theirs, tolerance=2e-6):
    return np.testing.assert_allclose(np.asarray(mine.detach().numpy()), theirs.detach().numpy(), rtol=tolerance,
                                      atol=tolerance)


def states_alike(mine, theirs, tolerance=2e-6):
    for p, q in zip(*[[p for g in o.param_groups for p in g['params']] for o in (mine, theirs)]):
        assert mine.state[p].keys() == theirs.state[q].keys()
        for key, value in theirs.state[q].items():
            alike(mine.state[p][key], value, tolerance)
            assert str(mine.state[p][key].dtype) == str(value.dtype)


@pytest.mark.parametrize('name, options', CASES, ids=IDS)
def test_steps_are_pytorchs(name, options):
    torch = pytest.importorskip('torch')
    skip = {(0, 1), (2, 0), (3, 0), (4, 3)}
    values = arrays(1, SHAPES[:4] if name == 'Adafactor' else SHAPES)
    (mine, optimizer), (theirs, reference) = [train(x, name, options, values, 8, skip) for x in (flambeau, torch)]
    for p, q in zip(mine, theirs):
        alike(p, q)
    states_alike(optimizer, reference)


@pytest.mark.parametrize('kind', ['float64', 'complex64'])
@pytest.mark.parametrize('name, options', ELEMENTWISE[::2])
def test_other_dtypes(name, options, kind):
    torch = pytest.importorskip('torch')
    values = arrays(2, kind=kind)[:2]
    (mine, optimizer), (theirs, reference) = [train(x, name, options, values, 6) for x in (flambeau, torch)]
    for p, q in zip(mine, theirs):
        alike(p, q)
    states_alike(optimizer, reference)


@pytest.mark.parametrize('kind', ['float16', 'bfloat16'])
@pytest.mark.parametrize('name', ['SGD', 'Adam', 'Adafactor'])
def test_half_types_are_computed_in_float32_and_stay_half(name, kind):
    p = flambeau.Parameter(flambeau.tensor(arrays(3)[0]).to(getattr(flambeau, kind)))
    exact = flambeau.Parameter(p.detach().float())
    for q in (p, exact):
        optimizer = getattr(flambeau.optim, name)([q], lr=0.1)
        q.grad = flambeau.ones_like(q.detach())
        optimizer.step()
        assert all(s.dtype is q.dtype for key, s in optimizer.state[q].items() if key != 'step')
    assert p.dtype is getattr(flambeau, kind)
    np.testing.assert_allclose(p.detach().float().numpy(), exact.detach().numpy(), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize('name, options', ELEMENTWISE, ids=[i for i, c in zip(IDS, CASES) if c in ELEMENTWISE])
def test_large_parameters_change_like_small_ones(name, options):
    """A parameter of several pieces and small ones around it against the same elements in small parameters."""
    large, small = arrays(4, [(2 * PIECE + 77,), (3,)])
    params = parameters(flambeau, [small, large])
    optimizer = getattr(flambeau.optim, name)(params, **options)
    parts = parameters(flambeau, [large[:100], large[-100:]])
    reference = getattr(flambeau.optim, name)(parts, **options)
    for k in range(3):
        grad = arrays(50 + k, [large.shape])[0]
        params[0].grad = flambeau.tensor(small)
        params[1].grad = flambeau.tensor(grad)
        parts[0].grad, parts[1].grad = flambeau.tensor(grad[:100]), flambeau.tensor(grad[-100:])
        optimizer.step()
        reference.step()
    np.testing.assert_array_equal(params[1].detach().numpy()[:100], parts[0].detach().numpy())
    np.testing.assert_array_equal(params[1].detach().numpy()[-100:], parts[1].detach().numpy())


@pytest.mark.skipif(not jit_is_on(), reason='kernels are switched off')
def test_a_fused_rule_overwrites_nothing_it_still_reads():
    """A formula that returns an input, one value twice, and reads an array after its new value is known."""
    def formula(m, param, grad, a, b, *, scale):
        new = m.where(grad > 0, a * scale, m.where(grad < 0, b, a))
        return param - new * a, grad * 1.0, new + b
    values = [x[:500] for x in arrays(5, [(600,)] * 4)]
    want = formula(REFERENCE, *values, scale=3.0)
    got = [v.copy() for v in values]
    assert fusion.update(formula, ('a', 'b'), {'scale': 3.0}, got)
    for result, expected in zip((got[0], *got[2:]), want):
        np.testing.assert_allclose(result, expected, rtol=2e-7)
    np.testing.assert_array_equal(got[1], values[1])


# ---- state dicts ---------------------------------------------------------------------------------------------

def translated(value, library):
    if hasattr(value, 'detach'):
        return library.tensor(value.detach().numpy().copy())
    if isinstance(value, dict):
        return {k: translated(v, library) for k, v in value.items()}
    return type(value)(translated(v, library) for v in value) if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize('name, options', CASES, ids=IDS)
def test_state_dicts_go_both_ways(name, options):
    torch = pytest.importorskip('torch')
    values = arrays(6, SHAPES[:4])
    ends = {}
    for source, target in ((flambeau, torch), (torch, flambeau)):
        params, optimizer = train(source, name, options, values, 3)
        saved = translated(optimizer.state_dict(), target)
        moved = parameters(target, [p.detach().numpy().copy() for p in params])
        other = getattr(target.optim, name)(moved, **options)
        other.load_state_dict(saved)
        assert sorted(saved['param_groups'][0]) == sorted(other.state_dict()['param_groups'][0])
        train(target, name, options, values, 3, optimizer=other, params=moved, first=3)
        ends[target] = moved
    for p, q in zip(ends[flambeau], ends[torch]):
        alike(p, q, 1e-5)


def test_loaded_states_take_the_dtype_of_the_parameter_but_not_the_step():
    params, optimizer = train(flambeau, 'Adam', {}, arrays(7)[:2], 2)
    halves = [flambeau.Parameter(p.detach().to(flambeau.float64)) for p in params]
    other = flambeau.optim.Adam(halves)
    other.load_state_dict(optimizer.state_dict())
    assert other.state[halves[0]]['exp_avg'].dtype is flambeau.float64
    assert other.state[halves[0]]['step'].dtype is flambeau.float32
    assert other.param_groups[0]['params'][0] is halves[0]


def test_loading_refuses_other_groups():
    values = arrays(8)[:2]
    _, optimizer = train(flambeau, 'SGD', {}, values, 1)
    saved = optimizer.state_dict()
    with pytest.raises(ValueError, match='different number of parameter groups'):
        flambeau.optim.SGD([{'params': [p]} for p in parameters(flambeau, values)]).load_state_dict(saved)
    with pytest.raises(ValueError, match="doesn't match the size"):
        flambeau.optim.SGD(parameters(flambeau, values[:1])).load_state_dict(saved)


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=['deepcopy', 'pickle'])
@pytest.mark.parametrize('name', ['SGD', 'Adam', 'Adafactor'])
def test_copies_go_on_alike(name, copied):
    values = arrays(9)[:3]
    options = {'momentum': 0.9, 'lr': 0.1} if name == 'SGD' else {}
    params, optimizer = train(flambeau, name, options, values, 3)
    twin = copied(optimizer)
    others = twin.param_groups[0]['params']
    assert others[0] is not params[0]
    for p, o in ((params, optimizer), (others, twin)):
        train(flambeau, name, options, values, 2, optimizer=o, params=p, first=3)
    for p, q in zip(params, others):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


def test_state_shows_and_takes_what_the_optimizer_uses():
    p, = parameters(flambeau, arrays(10)[:1])
    optimizer = flambeau.optim.Adam([p], lr=0.1)
    p.grad = flambeau.ones(3, 4)
    optimizer.step()
    average = optimizer.state[p]['exp_avg']
    np.testing.assert_allclose(average.numpy(), 0.1, rtol=1e-6)
    average.zero_()  # in place: it is the optimizer's own memory
    optimizer.step()
    np.testing.assert_allclose(average.numpy(), 0.1, rtol=1e-6)
    optimizer.state[p]['exp_avg'] = flambeau.full((3, 4), 2.0)  # replaced: it is taken over
    optimizer.state[p]['step'] = flambeau.tensor(7.0)
    optimizer.step()
    np.testing.assert_allclose(optimizer.state[p]['exp_avg'].numpy(), 1.9, rtol=1e-6)
    assert optimizer.state[p]['step'].item() == 8
    optimizer.state.clear()
    optimizer.step()
    assert optimizer.state[p]['step'].item() == 1


def test_counters_of_their_own():
    """Parameters that have made different numbers of steps are corrected for their own."""
    a, b = parameters(flambeau, [np.zeros(3, 'float32'), np.zeros(3, 'float32')])
    optimizer = flambeau.optim.Adam([a, b], lr=0.1)
    for p in (a, b):
        p.grad = flambeau.ones(3)
    optimizer.step()
    optimizer.state[b]['step'].fill_(100)
    optimizer.step()
    assert [optimizer.state[p]['step'].item() for p in (a, b)] == [2, 101]
    for p, steps in ((a, 2), (b, 101)):
        second = 0.1 * 0.19 / (1 - 0.9 ** steps) / (0.001999 / (1 - 0.999 ** steps)) ** 0.5
        np.testing.assert_allclose(p.detach().numpy(), -0.1 - second, rtol=1e-5)


# ---- parameters ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize('options', [{}, {'momentum': 0.9}])
@pytest.mark.parametrize('name', ['SGD', 'AdamW'])
def test_views_and_replaced_data(name, options):
    options = {**({} if name == 'AdamW' else options), 'lr': 0.1}
    value = arrays(11)[0]
    base = flambeau.tensor(np.concatenate([value.T, value.T]))
    view = base[:4].T.requires_grad_()
    plain, = parameters(flambeau, [value])
    optimizers = [getattr(flambeau.optim, name)([p], **options) for p in (view, plain)]
    for k in range(4):
        for p, o in zip((view, plain), optimizers):
            p.grad = flambeau.tensor(arrays(60 + k)[0])
            o.step()
            if k == 1:
                p.data = p.data.clone() * 2
    np.testing.assert_array_equal(view.detach().numpy(), plain.detach().numpy())
    assert not np.array_equal(base[:4].numpy().T, value)  # the first steps wrote through the view
    np.testing.assert_array_equal(base[4:].numpy().T, value)


def test_a_step_counts_as_a_write():
    p, = parameters(flambeau, [np.ones(3, 'float32')])
    optimizer = flambeau.optim.SGD([p], lr=0.1)
    loss = (p * p).sum()
    p.grad = flambeau.ones(3)
    optimizer.step()
    with pytest.raises(RuntimeError, match=r'modified by an inplace operation.*optimizer\.step\(\) at .*test_optim'):
        loss.backward()


@pytest.mark.parametrize('name', ['SGD', 'Adam', 'Adafactor', 'Muon', 'LBFGS'])
def test_nothing_is_updated_where_one_gradient_does_not_fit(name):
    params = parameters(flambeau, arrays(12, [(2, 3), (3, 2)]))
    optimizer = getattr(flambeau.optim, name)(params)
    before = [p.detach().numpy().copy() for p in params]
    for p in params:
        p.grad = flambeau.ones_like(p.detach())
    params[1].data = flambeau.ones(5, 2)
    with pytest.raises(RuntimeError, match=r'gradient.*\[3, 2\].*\[5, 2\]'):
        optimizer.step(*[lambda: 1.0] if name == 'LBFGS' else [])
    np.testing.assert_array_equal(params[0].detach().numpy(), before[0])


def test_expanded_parameters_are_refused():
    p = flambeau.zeros(1).expand(3).requires_grad_()
    p.grad = flambeau.ones(3)
    with pytest.raises(RuntimeError, match='expanded'):
        flambeau.optim.SGD([p], lr=0.1).step()


def test_zero_grad():
    p, q = parameters(flambeau, arrays(13)[:2])
    optimizer = flambeau.optim.SGD([p, q], lr=0.1)
    p.grad = grad = flambeau.ones(3, 4)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is grad and grad.sum().item() == 0 and q.grad is None
    optimizer.zero_grad()
    assert p.grad is None


# ---- the base class ------------------------------------------------------------------------------------------

REFUSED = [
    (lambda T, p: T.optim.SGD(p), TypeError, 'should be an iterable of Tensors or dicts'),
    (lambda T, p: T.optim.SGD([]), ValueError, 'empty parameter list'),
    (lambda T, p: T.optim.SGD([1]), TypeError, 'can only optimize Tensors.*int'),
    (lambda T, p: T.optim.SGD([{'params': {p}}]), TypeError, 'ordered collections'),
    (lambda T, p: T.optim.SGD([p * 2]), ValueError, "can't optimize a non-leaf Tensor"),
    (lambda T, p: T.optim.SGD([{'params': [p]}, {'params': [p]}]), ValueError, 'more than one parameter group'),
    (lambda T, p: T.optim.SGD([p]).add_param_group([p]), TypeError, 'param_group must be a dict'),
    (lambda T, p: T.optim.SGD([('a', p), p]), ValueError, 'Some param names are missing'),
    (lambda T, p: T.optim.SGD([p], lr=-1), ValueError, 'Invalid learning rate: -1'),
    (lambda T, p: T.optim.SGD([p], lr=T.ones(2)), ValueError, 'Tensor lr must be 1-element'),
    (lambda T, p: T.optim.SGD([p], nesterov=True), ValueError, 'Nesterov momentum requires'),
    (lambda T, p: T.optim.Adam([p], betas=(0.9, 1)), ValueError, 'index 1: 1'),
    (lambda T, p: T.optim.Adam([p], fused=True, foreach=True), RuntimeError, 'cannot be `True` together'),
    (lambda T, p: T.optim.Rprop([p], etas=(1.2, 0.5)), ValueError, 'Invalid eta values'),
    (lambda T, p: T.optim.Muon([T.ones(3)]), ValueError, '2D'),
    (lambda T, p: T.optim.LBFGS([{'params': [p]}, {'params': [T.ones(2)]}]), ValueError, 'parameter groups'),
]


@pytest.mark.parametrize('call, error, text', REFUSED)
def test_refused(call, error, text):
    with pytest.raises(error, match=text):
        call(flambeau, flambeau.Parameter(flambeau.ones(3)))
    torch = pytest.importorskip('torch')
    with pytest.raises(error, match=text):
        call(torch, torch.nn.Parameter(torch.ones(3)))


def test_groups_names_and_text():
    torch = pytest.importorskip('torch')
    texts = []
    for library in (flambeau, torch):
        p, q, r = parameters(library, arrays(14)[:3])
        optimizer = library.optim.AdamW([{'params': [('p', p)], 'lr': 0.5}, {'params': [('q', q)]}], lr=0.25)
        optimizer.add_param_group({'params': iter([('r', r)]), 'weight_decay': 0})
        assert [g['param_names'] for g in optimizer.param_groups] == [['p'], ['q'], ['r']]
        assert [g['lr'] for g in optimizer.param_groups] == [0.5, 0.25, 0.25]
        with pytest.raises(ValueError, match='cannot add param group without names'):
            optimizer.add_param_group({'params': library.ones(2)})
        assert optimizer.state_dict()['param_groups'][2]['params'] == [2]
        texts.append(repr(optimizer))
    assert texts[0] == texts[1]


def test_a_parameter_twice_warns_and_steps_twice():
    p, = parameters(flambeau, [np.ones(2, 'float32')])
    with pytest.warns(UserWarning, match='duplicate parameters'):
        optimizer = flambeau.optim.Adam([p, p], lr=0.1)
    p.grad = flambeau.ones(2)
    optimizer.step()
    assert optimizer.state[p]['step'].item() == 2


def test_hooks_in_order():
    from flambeau.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
    p, = parameters(flambeau, [np.ones(2, 'float32')])
    optimizer = flambeau.optim.SGD([p], lr=0.1)
    seen = []
    handles = [register_optimizer_step_pre_hook(lambda *_: seen.append('all before')),
               register_optimizer_step_post_hook(lambda *_: seen.append('all after')),
               optimizer.register_step_pre_hook(
                   lambda o, args, kwargs: (args, {'closure': lambda: seen.append('step')})),
               optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append(sorted(kwargs)))]
    optimizer.step()
    assert seen == ['all before', 'step', ['closure'], 'all after']
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert len(seen) == 4
    optimizer.register_step_pre_hook(lambda *_: 1)
    with pytest.raises(RuntimeError, match='None or a tuple'):
        optimizer.step()


def test_hooks_of_state_dicts():
    p, = parameters(flambeau, [np.ones(2, 'float32')])
    optimizer = flambeau.optim.SGD([p], lr=0.1)
    seen = []
    optimizer.register_state_dict_pre_hook(lambda o: seen.append('second'))
    optimizer.register_state_dict_pre_hook(lambda o: seen.append('first'), prepend=True)
    optimizer.register_state_dict_post_hook(lambda o, saved: {**saved, 'more': 1})
    saved = optimizer.state_dict()
    assert seen == ['first', 'second'] and saved['more'] == 1

    def changed(o, saved):
        saved['param_groups'] = [{**saved['param_groups'][0], 'lr': 5.0}]
    optimizer.register_load_state_dict_pre_hook(changed)
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append(o.param_groups[0]['lr']))
    optimizer.load_state_dict(saved)
    assert seen[-1] == 5.0 and saved['param_groups'][0]['lr'] == 0.1


def test_an_optimizer_of_ones_own():
    from flambeau.optim.optimizer import Optimizer, ParamsT, required

    class Signs(Optimizer):
        def __init__(self, params: ParamsT, lr=required):
            super().__init__(params, {'lr': lr})

        @flambeau.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group['params']:
                    p.add_(p.grad.sign(), alpha=-group['lr'])
                    self.state[p]['seen'] = self.state[p].get('seen', 0) + 1

    p, = parameters(flambeau, [np.ones(2, 'float32')])
    with pytest.raises(ValueError, match="didn't specify a value of required optimization parameter lr"):
        Signs([p])
    optimizer = Signs([p], lr=0.5)
    calls = []
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    p.grad = flambeau.tensor([3.0, -2.0])
    optimizer.step()
    assert p.tolist() == [0.5, 1.5] and calls == [1] and optimizer.state_dict()['state'] == {0: {'seen': 1}}


def test_closures_run_with_gradients_recorded():
    p, = parameters(flambeau, [np.full(2, 3.0, 'float32')])
    for name in ('SGD', 'Adam', 'Adafactor'):
        optimizer = getattr(flambeau.optim, name)([p], lr=0.1)

        def closure():
            optimizer.zero_grad()
            loss = (p * p).sum()
            loss.backward()
            return loss
        with flambeau.no_grad():
            first, second = optimizer.step(closure).item(), optimizer.step(closure).item()
        assert second < first


# ---- options that are tensors, and gradients through steps -----------------------------------------------------

def test_options_that_are_tensors():
    values = arrays(15)[:3]
    for name, number, tensor in (
            ('SGD', {'lr': 0.1, 'weight_decay': 0.1},
             {'lr': flambeau.tensor([0.1]), 'weight_decay': flambeau.tensor(0.1)}),
            ('SGD', {'lr': 0.1, 'momentum': 0.9}, {'lr': flambeau.tensor(0.1), 'momentum': 0.9}),
            ('Adam', {'lr': 0.1, 'betas': (0.8, 0.9)},
             {'lr': flambeau.tensor(0.1), 'betas': (flambeau.tensor([0.8]), flambeau.tensor(0.9))})):
        (mine, _), (same, _) = [train(flambeau, name, options, values, 4) for options in (number, tensor)]
        for p, q in zip(mine, same):
            alike(p, q)


@pytest.mark.parametrize('name, options', ELEMENTWISE, ids=[i for i, c in zip(IDS, CASES) if c in ELEMENTWISE])
def test_gradients_through_two_steps(name, options):
    """Backward through the steps against differences of steps that are not recorded."""
    start, *grads = arrays(16, [(6,)] * 3, 'float64')

    def end(values, differentiable):
        p = values[0].clone() if differentiable else values[0].clone().requires_grad_()
        optimizer = getattr(flambeau.optim, name)([p], **{**options, 'differentiable': differentiable})
        for grad in values[1:]:
            p.grad = grad
            optimizer.step()
        return (p ** 2).sum()
    leaves = [flambeau.tensor(v).requires_grad_() for v in (start, *grads)]
    end(leaves, True).backward()
    for k, leaf in enumerate(leaves):
        for i in range(6):
            ends = []
            for shift in (1e-6, -1e-6):
                moved = [flambeau.tensor(v.copy()) for v in (start, *grads)]
                moved[k][i] += shift
                ends.append(end(moved, False).item())
            slope = 0.0 if leaf.grad is None else leaf.grad[i].item()
            assert slope == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4, abs=1e-6)


def test_gradient_of_the_learning_rate():
    lr = flambeau.tensor(0.1, requires_grad=True)
    p = flambeau.tensor([1.0, 2.0], requires_grad=True).clone()
    optimizer = flambeau.optim.SGD([p], lr=lr, differentiable=True)
    p.grad = flambeau.tensor([3.0, 4.0])
    optimizer.step()
    p.sum().backward()
    assert lr.grad.item() == pytest.approx(-7.0)


# ---- Muon, LBFGS and lists -------------------------------------------------------------------------------------

@pytest.mark.parametrize('options', [{}, {'nesterov': False, 'adjust_lr_fn': 'match_rms_adamw', 'weight_decay': 0.0}])
def test_muon_is_near_pytorchs_bfloat16(options):
    torch = pytest.importorskip('torch')
    values = arrays(18, [(6, 9), (9, 4)])
    (mine, optimizer), (theirs, reference) = [train(x, 'Muon', options, values, 3) for x in (flambeau, torch)]
    for p, q, v in zip(mine, theirs, values):
        moved = np.abs(q.detach().numpy() - v).max()
        assert np.abs(p.detach().numpy() - q.detach().numpy()).max() < 0.05 * moved
    states_alike(optimizer, reference)


def rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


@pytest.mark.parametrize('options', [{'line_search_fn': 'strong_wolfe'}, {'lr': 0.3, 'max_iter': 7, 'history_size': 3}])
def test_lbfgs_walks_pytorchs_way(options):
    torch = pytest.importorskip('torch')
    found = []
    for library in (flambeau, torch):
        x = library.tensor(np.array([0.5, 0.4])).requires_grad_()
        optimizer = library.optim.LBFGS([x], **options)
        losses = []

        def closure():
            optimizer.zero_grad()
            loss = rosenbrock(x)
            loss.backward()
            losses.append(loss.item())
            return loss
        for _ in range(2):
            optimizer.step(closure)
        state = optimizer.state[x]
        found.append((losses, x.tolist(), state['n_iter'], state['func_evals'], sorted(state)))
    mine, theirs = found
    np.testing.assert_allclose(mine[0][:12], theirs[0][:12], rtol=1e-6)
    np.testing.assert_allclose(mine[1], theirs[1], rtol=1e-6)
    assert mine[4] == theirs[4]
    if options.get('line_search_fn'):
        np.testing.assert_allclose(mine[1], [1.0, 1.0], rtol=1e-5)


def test_lbfgs_restores_parameters_where_the_closure_fails():
    x = flambeau.tensor([0.5, 0.4], requires_grad=True)
    optimizer = flambeau.optim.LBFGS([x], line_search_fn='strong_wolfe')
    calls = []

    def closure():
        calls.append(x.tolist())
        if len(calls) == 2:
            raise KeyError('stop')
        optimizer.zero_grad()
        loss = rosenbrock(x)
        loss.backward()
        return loss
    with pytest.raises(KeyError):
        optimizer.step(closure)
    assert x.tolist() == calls[0] != calls[1]


FOREACH = [('add', [('list',), (2.0,), ((1.0, 2.0),)]), ('sub', [('list',), (2.0,)]), ('mul', [('list',), (3.0,)]),
           ('div', [('list',), (3.0,)]), ('sqrt', [()]), ('neg', [()]), ('reciprocal', [()]), ('exp', [()]),
           ('maximum', [('list',), (0.5,)]), ('lerp', [('list', 0.3), ('list', 'list')]),
           ('addcmul', [('list', 'list'), ('list', 'list', 2.0), ('list', 'list', (1.0, 2.0)),
                       ('list', 'list', 'tensor')]),
           ('addcdiv', [('list', 'list', -0.5)]), ('norm', [(), (1,)]), ('copy', [('list',)]), ('zero', [()])]


@pytest.mark.parametrize('name, variants', FOREACH, ids=[f[0] for f in FOREACH])
def test_lists_of_tensors(name, variants):
    torch = pytest.importorskip('torch')
    values, others = ([np.abs(v) + 0.1 for v in arrays(seed, [(2, 3), (4,)])] for seed in (19, 20))
    for form in (name, name + '_'):
        if not hasattr(torch, '_foreach_' + form):
            assert not hasattr(flambeau, '_foreach_' + form)
            continue
        for variant in variants:
            results = []
            for library in (flambeau, torch):
                given = {'list': [library.tensor(o) for o in others], 'tensor': library.tensor([1.0, 2.0])}
                tensors = [library.tensor(v) for v in values]
                made = getattr(library, '_foreach_' + form)(
                    tensors, *[given[a] if isinstance(a, str) else a for a in variant])
                results.append([*made, *tensors])
            for mine, theirs in zip(*results):
                alike(mine, theirs)


def test_lists_of_different_lengths_write_nothing():
    tensors = [flambeau.ones(2), flambeau.ones(3)]
    for others in ([flambeau.ones(2)], [1.0, 2.0, 3.0]):
        with pytest.raises(RuntimeError, match='same number of'):
            flambeau._foreach_add_(tensors, others)
    assert all(t.eq(1).all() for t in tensors)
    with pytest.raises(TypeError, match='tuple of Tensors'):
        flambeau._foreach_add(tensors[0], 1.0)
