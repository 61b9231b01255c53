"""Learning rate schedules and weight averaging: PyTorch's numbers to the last bit, its state dicts and its errors."""
import gc
import warnings
import weakref

import numpy as np
import pytest

import flambeau
from flambeau import nn, optim
from flambeau.optim import lr_scheduler, swa_utils

EPOCHS = 40
METRICS = [1.0, 0.8, 0.6, 0.6, 0.61, 0.6, 0.62, 0.6, 0.5, 0.5]

# name: what makes it from the module and the optimizer
SCHEDULERS = {
    'lambda': lambda s, o: s.LambdaLR(o, lambda epoch: 0.95 ** epoch),
    'lambda list': lambda s, o: s.LambdaLR(o, [lambda epoch: 1 / (1 + epoch), lambda epoch: 0.9 ** epoch]),
    'multiplicative': lambda s, o: s.MultiplicativeLR(o, lambda epoch: 0.95),
    'step': lambda s, o: s.StepLR(o, step_size=3, gamma=0.5),
    'multistep': lambda s, o: s.MultiStepLR(o, [5, 5, 21], gamma=0.3),
    'constant': lambda s, o: s.ConstantLR(o, factor=0.5, total_iters=12),
    'linear': lambda s, o: s.LinearLR(o, 0.1, 0.8, total_iters=20),
    'exponential': lambda s, o: s.ExponentialLR(o, 0.9),
    'polynomial': lambda s, o: s.PolynomialLR(o, total_iters=25, power=2.0),
    'cosine': lambda s, o: s.CosineAnnealingLR(o, 7, eta_min=0.01),
    'restarts': lambda s, o: s.CosineAnnealingWarmRestarts(o, 5),
    'longer restarts': lambda s, o: s.CosineAnnealingWarmRestarts(o, 4, T_mult=2, eta_min=0.001),
    'triangular': lambda s, o: s.CyclicLR(o, 0.01, 0.1, step_size_up=4, cycle_momentum=False),
    'triangular2': lambda s, o: s.CyclicLR(o, 0.01, 0.1, step_size_up=4, step_size_down=3, mode='triangular2'),
    'exp_range': lambda s, o: s.CyclicLR(o, [0.01, 0.02], [0.1, 0.2], step_size_up=5, mode='exp_range', gamma=0.97),
    'scale_fn': lambda s, o: s.CyclicLR(o, 0.01, 0.1, 5, scale_fn=lambda x: 0.9 ** x, scale_mode='iterations'),
    'one cycle': lambda s, o: s.OneCycleLR(o, 0.3, total_steps=EPOCHS),
    'one cycle linear': lambda s, o: s.OneCycleLR(o, [0.3, 0.1], epochs=8, steps_per_epoch=5, anneal_strategy='linear'),
    'three phases': lambda s, o: s.OneCycleLR(o, 0.3, total_steps=EPOCHS, three_phase=True, cycle_momentum=False),
    'plateau': lambda s, o: s.ReduceLROnPlateau(o, patience=2),
    'plateau max': lambda s, o: s.ReduceLROnPlateau(o, mode='max', factor=0.5, patience=1, cooldown=2,
                                                    threshold_mode='abs', min_lr=[0.01, 0.02]),
    'sequential': lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 0.2, total_iters=4), s.StepLR(o, 3),
                                                  s.CosineAnnealingWarmRestarts(o, 8)], [4, 14]),
    'sequential from the second': lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 0.2), s.ExponentialLR(o, 0.8)], [0]),
    'chained': lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, total_iters=5), s.ExponentialLR(o, 0.9)]),
    'nested': lambda s, o: s.SequentialLR(o, [s.ChainedScheduler([s.ConstantLR(o, 0.1), s.ExponentialLR(o, 0.9)]),
                                              s.ExponentialLR(o, 0.7)], [6]),
}
SWA = {
    'swa': lambda s, o: s.SWALR(o, 0.02, anneal_epochs=10),
    'swa linear': lambda s, o: s.SWALR(o, [0.02, 0.3], anneal_epochs=5, anneal_strategy='linear'),
    'swa at once': lambda s, o: s.SWALR(o, 0.02, anneal_epochs=0),
}


def optimizer_of(lib, kind='SGD', lrs=(0.1, 0.05)):
    groups = [{'params': [lib.nn.Parameter(lib.ones(2))], 'lr': lr} for lr in lrs]
    options = {'momentum': 0.9} if kind == 'SGD' else {}
    return getattr(lib.optim, kind)(groups, lr=0.1, **options)


def schedule(lib, module, make, closed=False, reload=False, kind='SGD'):
    """All that a scheduler has set, in each epoch."""
    optimizer = optimizer_of(lib, kind)
    scheduler = make(module, optimizer)
    seen = []
    for epoch in range(EPOCHS):
        for group in optimizer.param_groups:
            seen.append((epoch, group['lr'], group.get('momentum'), group.get('betas')))
        seen.append(list(scheduler.get_last_lr()))
        optimizer.step()
        if 'Plateau' in type(scheduler).__name__:
            scheduler.step(METRICS[epoch % 10])
        elif closed:
            scheduler.step(3 * epoch % 17)
        else:
            scheduler.step()
        if reload and epoch == 15:
            states = optimizer.state_dict(), scheduler.state_dict()
            optimizer = optimizer_of(lib, kind)
            scheduler = make(module, optimizer)
            optimizer.load_state_dict(states[0])
            scheduler.load_state_dict(states[1])
    return seen


@pytest.mark.parametrize('name', [*SCHEDULERS, *SWA])
@pytest.mark.filterwarnings('ignore')
def test_same_rates_as_torch(name):
    torch = pytest.importorskip('torch')
    make = SCHEDULERS.get(name) or SWA[name]
    part = 'lr_scheduler' if name in SCHEDULERS else 'swa_utils'
    theirs, mine = getattr(torch.optim, part), getattr(optim, part)
    wanted = schedule(torch, theirs, make)
    assert schedule(flambeau, mine, make) == wanted
    assert schedule(flambeau, mine, make, reload=True) == wanted
    if 'cycl' in name or 'triang' in name or name == 'exp_range':
        assert schedule(flambeau, mine, make, kind='Adam') == schedule(torch, theirs, make, kind='Adam')
    if name in SCHEDULERS and not {'sequential', 'nested', 'chained', 'plateau'} & set(name.split()):
        assert schedule(flambeau, mine, make, closed=True) == schedule(torch, theirs, make, closed=True)


@pytest.mark.parametrize('name', SCHEDULERS)
@pytest.mark.filterwarnings('ignore')
def test_state_dicts_are_torch_s(name):
    torch = pytest.importorskip('torch')
    states = []
    for lib in (torch, flambeau):
        scheduler = SCHEDULERS[name](lib.optim.lr_scheduler, optimizer_of(lib))
        for epoch in range(6):
            scheduler.step(*[METRICS[epoch]] * ('plateau' in name))
        states.append(scheduler.state_dict())
    assert {key: states[1][key] for key in states[0]} == states[0]


@pytest.mark.parametrize('name', ['step', 'multistep', 'constant', 'linear', 'exponential', 'polynomial', 'cosine'])
@pytest.mark.filterwarnings('ignore')
def test_chainable_and_closed_forms_agree(name):
    chainable = SCHEDULERS[name](lr_scheduler, optimizer_of(flambeau))
    closed = SCHEDULERS[name](lr_scheduler, optimizer_of(flambeau))
    for epoch in range(1, EPOCHS):
        chainable.step()
        closed.step(epoch)
        assert chainable.get_last_lr() == pytest.approx(closed.get_last_lr(), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize('name', SCHEDULERS)
@pytest.mark.filterwarnings('ignore')
def test_tensor_rates_change_in_place(name):
    plain, tensors = optimizer_of(flambeau), optimizer_of(flambeau)
    for group in tensors.param_groups:
        group['lr'] = flambeau.tensor(group['lr'], dtype=flambeau.float64)
    held = [group['lr'] for group in tensors.param_groups]
    schedulers = [SCHEDULERS[name](lr_scheduler, optimizer) for optimizer in (plain, tensors)]
    for epoch in range(20):
        for scheduler in schedulers:
            scheduler.step(*[METRICS[epoch % 10]] * ('plateau' in name))
        wanted, got = (scheduler.get_last_lr() for scheduler in schedulers)
        assert [lr.item() for lr in got] == pytest.approx(wanted, rel=1e-12)
    assert all(lr is group['lr'] for lr, group in zip(held, tensors.param_groups))
    assert not any(lr is last for lr, last in zip(held, got))


class Decay:
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, x):
        return self.rate ** x


def test_state_of_callable_objects_is_saved():
    for make in (lambda f: lr_scheduler.LambdaLR(optimizer_of(flambeau), f),
                 lambda f: lr_scheduler.MultiplicativeLR(optimizer_of(flambeau), f),
                 lambda f: lr_scheduler.CyclicLR(optimizer_of(flambeau), 0.1, 0.2, scale_fn=f)):
        state = make(Decay(0.5)).state_dict()
        other = Decay(0.9)
        make(other).load_state_dict(state)
        assert other.rate == 0.5
    assert 'optimizer' not in state


def test_warnings():
    optimizer = optimizer_of(flambeau)
    scheduler = lr_scheduler.StepLR(optimizer, 2)
    with pytest.warns(UserWarning, match=r'Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`'):
        scheduler.step()
    with pytest.warns(UserWarning, match=r'please use `get_last_lr\(\)`'):
        scheduler.get_lr()
    with pytest.warns(UserWarning, match='The epoch parameter'):
        scheduler.step(3)
    optimizer.step()
    scheduler = lr_scheduler.StepLR(optimizer, 2)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        scheduler.step()
    optimizer = optimizer_of(flambeau)
    scheduler = lr_scheduler.StepLR(optimizer, 2)
    optimizer.step = lambda: None
    with pytest.warns(UserWarning, match=r'`optimizer.step\(\)` has been overridden'):
        scheduler.step()


def test_a_scheduler_does_not_keep_its_optimizer_alive():
    optimizer = optimizer_of(flambeau)
    gone = weakref.ref(optimizer)
    lr_scheduler.StepLR(optimizer, 2)
    gc.disable()
    try:
        del optimizer
        assert gone() is None
    finally:
        gc.enable()


def test_own_scheduler_and_resuming():
    class Halving(lr_scheduler.LRScheduler):
        def get_lr(self):
            return [group['initial_lr'] / 2 ** self.last_epoch for group in self.optimizer.param_groups]

    optimizer = optimizer_of(flambeau)
    scheduler = Halving(optimizer)
    optimizer.step()
    scheduler.step()
    assert scheduler.get_last_lr() == [0.05, 0.025]
    assert Halving(optimizer, last_epoch=1).get_last_lr() == [0.025, 0.0125]
    with pytest.raises(KeyError, match=r"'initial_lr' is not specified in param_groups\[0\]"):
        lr_scheduler.StepLR(optimizer_of(flambeau), 2, last_epoch=3)
    with pytest.raises(NotImplementedError):
        lr_scheduler.LRScheduler(optimizer)
    assert issubclass(lr_scheduler._LRScheduler, lr_scheduler.LRScheduler)


@pytest.mark.parametrize('make, error, text', [
    (lambda s, o: s.StepLR('sgd', 3), TypeError, 'str is not an Optimizer'),
    (lambda s, o: s.LambdaLR(o, [abs]), ValueError, 'Expected 2 lr_lambdas, but got 1'),
    (lambda s, o: s.MultiplicativeLR(o, 3), TypeError, 'lr_lambda should be a function, but got int'),
    (lambda s, o: s.ConstantLR(o, 2), ValueError, 'Constant multiplicative factor expected'),
    (lambda s, o: s.LinearLR(o, 0), ValueError, 'Starting multiplicative factor expected'),
    (lambda s, o: s.LinearLR(o, 1, 2), ValueError, 'Ending multiplicative factor expected'),
    (lambda s, o: s.CosineAnnealingWarmRestarts(o, 0), ValueError, 'Expected positive integer T_0, but got 0'),
    (lambda s, o: s.CosineAnnealingWarmRestarts(o, 1, 0), ValueError, 'Expected integer T_mult >= 1, but got 0'),
    (lambda s, o: s.CosineAnnealingWarmRestarts(o, 1).step(-1), ValueError, 'Expected non-negative epoch, but got -1'),
    (lambda s, o: s.CyclicLR(o, 1, 2, mode='square'), ValueError, 'mode is invalid and scale_fn is None'),
    (lambda s, o: s.CyclicLR(o, [1], 2), ValueError, 'base_lr must have the same length as optimizer.param_groups'),
    (lambda s, o: s.OneCycleLR(o, 1), ValueError, r'You must define either total_steps OR \(epochs AND'),
    (lambda s, o: s.OneCycleLR(o, 1, total_steps=0), ValueError, 'Expected positive integer total_steps, but got 0'),
    (lambda s, o: s.OneCycleLR(o, 1, epochs=1.5, steps_per_epoch=1), ValueError, 'Expected positive integer epochs'),
    (lambda s, o: s.OneCycleLR(o, 1, 10, pct_start=2.0), ValueError, 'Expected float between 0 and 1 pct_start'),
    (lambda s, o: s.OneCycleLR(o, 1, 10, anneal_strategy='x'), ValueError, "must be one of 'cos' or 'linear', instead"),
    (lambda s, o: [one.step() for one in 3 * [s.OneCycleLR(o, 1, 2)]], ValueError,
     'Tried to step 3 times. The specified number of total steps is 2'),
    (lambda s, o: s.ReduceLROnPlateau(o, factor=1.0), ValueError, 'Factor should be < 1.0.'),
    (lambda s, o: s.ReduceLROnPlateau(o, mode='x'), ValueError, 'mode x is unknown!'),
    (lambda s, o: s.ReduceLROnPlateau(o, threshold_mode='x'), ValueError, 'threshold mode x is unknown!'),
    (lambda s, o: s.ReduceLROnPlateau(o, min_lr=[1]), ValueError, 'expected 2 min_lrs, got 1'),
    (lambda s, o: s.SequentialLR(o, [], []), ValueError, 'expects at least one scheduler, but got no scheduler'),
    (lambda s, o: s.SequentialLR(o, [s.StepLR(o, 1)], [1]), ValueError, 'one more than the number of milestone points'),
    (lambda s, o: s.SequentialLR(o, [s.ReduceLROnPlateau(o)], []), ValueError, 'does not support `ReduceLROnPlateau`'),
    (lambda s, o: s.ChainedScheduler([]), ValueError, 'expects at least one scheduler to be chained'),
    (lambda s, o: s.ChainedScheduler([s.StepLR(o, 1), 3]), TypeError, 'at index 1 should have `optimizer`'),
    (lambda s, o: s.ChainedScheduler([s.StepLR(o, 1), s.StepLR(optimizer_of(flambeau), 1)]), ValueError,
     'all schedulers to belong to the same optimizer, but got scheduler StepLR at index 1'),
    (lambda s, o: swa_utils.SWALR(o, 1, anneal_strategy='x'), ValueError, "must be one of 'cos' or 'linear'"),
    (lambda s, o: swa_utils.SWALR(o, 1, anneal_epochs=-1), ValueError, 'anneal_epochs must be equal or greater than 0'),
    (lambda s, o: swa_utils.get_ema_avg_fn(2), ValueError, r'Invalid decay value 2 provided'),
])
@pytest.mark.filterwarnings('ignore')
def test_bad_arguments_change_nothing(make, error, text):
    optimizer = optimizer_of(flambeau)
    with pytest.raises(error, match=text):
        make(lr_scheduler, optimizer)
    if 'initial_lr' not in optimizer.param_groups[0]:  # no other scheduler was made on the way
        assert [group['lr'] for group in optimizer.param_groups] == [0.1, 0.05]


def test_cycling_momentum_needs_some():
    optimizer = optim.Adagrad([nn.Parameter(flambeau.ones(2))], lr=0.1)
    for make in (lambda: lr_scheduler.CyclicLR(optimizer, 0.1, 1), lambda: lr_scheduler.OneCycleLR(optimizer, 1, 10)):
        with pytest.raises(ValueError, match='optimizer must support momentum or beta1'):
            make()
    assert optimizer.param_groups[0]['lr'] == 0.1


# ---- averages ------------------------------------------------------------------------------------------------

AVERAGES = {
    'mean': lambda s: {},
    'mean one by one': lambda s: {'avg_fn': s.get_swa_avg_fn()},
    'mean multi': lambda s: {'multi_avg_fn': s.get_swa_multi_avg_fn()},
    'ema': lambda s: {'avg_fn': s.get_ema_avg_fn(0.9)},
    'ema multi': lambda s: {'multi_avg_fn': s.get_ema_multi_avg_fn(0.9)},
    'with buffers': lambda s: {'multi_avg_fn': s.get_ema_multi_avg_fn(0.9), 'use_buffers': True},
}


def average(lib, name):
    model = lib.nn.Sequential(lib.nn.Linear(3, 2), lib.nn.BatchNorm1d(2))
    averaged = lib.optim.swa_utils.AveragedModel(model, **AVERAGES[name](lib.optim.swa_utils))
    source = np.random.RandomState(0)
    for _ in range(4):
        with lib.no_grad():
            for value in [*model.parameters(), *model.buffers()]:
                value.copy_(lib.from_numpy(np.asarray(10 * source.rand(*value.shape)).astype(value.numpy().dtype)))
        averaged.update_parameters(model)
    return {key: value.numpy().tolist() for key, value in averaged.state_dict().items()}


@pytest.mark.parametrize('name', AVERAGES)
def test_same_averages_as_torch(name):
    torch = pytest.importorskip('torch')
    wanted, got = average(torch, name), average(flambeau, name)
    assert list(got) == list(wanted) and got['n_averaged'] == 4
    for key in wanted:
        np.testing.assert_allclose(got[key], wanted[key], rtol=1e-5, err_msg=key)


def test_averaged_model_is_a_copy():
    model = nn.Linear(3, 2)
    averaged = swa_utils.AveragedModel(model)
    averaged.update_parameters(model)
    x = flambeau.ones(1, 3)
    before = averaged(x).tolist()
    assert before == model(x).tolist()
    with flambeau.no_grad():
        model.weight.zero_()
    assert averaged(x).tolist() == before
    averaged.update_parameters(model)
    np.testing.assert_allclose(averaged.module.weight.detach().numpy() * 2 @ np.ones(3),
                               np.array(before[0]) - model.bias.detach().numpy(), rtol=1e-5)
    with pytest.raises(AssertionError, match='Only one of avg_fn and multi_avg_fn'):
        swa_utils.AveragedModel(model, avg_fn=abs, multi_avg_fn=abs)


def test_update_bn_takes_the_mean_over_all_batches():
    model = nn.BatchNorm1d(2, momentum=0.3)
    model.eval()
    batches = [flambeau.tensor([[0., 1.], [2., 5.]]), (flambeau.tensor([[4., 1.], [8., 3.]]), None)]
    swa_utils.update_bn(batches, model)
    assert model.running_mean.tolist() == [3.5, 2.5] and model.running_var.tolist() == [5., 5.]
    assert model.momentum == 0.3 and not model.training and model.num_batches_tracked.item() == 2
