"""Learning rate schedules.

A scheduler sets `group['lr']` of its optimizer's groups, once when made and again by each `step()`. Most have two
forms: the chainable one computes the next rate from the present one, so that several schedulers can act on the same
optimizer; the closed one (`_get_closed_form_lr`) computes it from the epoch alone, for `step(epoch)`.

State dicts hold the attributes, whose names are PyTorch's, so that either library loads the other's.
Knows optimizers only by their `param_groups`, `defaults` and `step`.
"""
from __future__ import annotations

import functools
import math
import types
import warnings
import weakref
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from ..tensor import Tensor
from .optimizer import Optimizer

__all__ = ['LambdaLR', 'MultiplicativeLR', 'StepLR', 'MultiStepLR', 'ConstantLR', 'LinearLR', 'ExponentialLR',
           'SequentialLR', 'CosineAnnealingLR', 'ChainedScheduler', 'ReduceLROnPlateau', 'CyclicLR',
           'CosineAnnealingWarmRestarts', 'OneCycleLR', 'PolynomialLR', 'LRScheduler']

ORDER = 'https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate'
STEP_REPLACED = ('Seems like `optimizer.step()` has been overridden after learning rate scheduler initialization. '
                 f'Please, make sure to call `optimizer.step()` before `lr_scheduler.step()`. '
                 f'See more details at {ORDER}')
WRONG_ORDER = ('Detected call of `lr_scheduler.step()` before `optimizer.step()`. You should call them in the opposite '
               'order: `optimizer.step()` before `lr_scheduler.step()`.  Failure to do this will result in skipping '
               f'the first value of the learning rate schedule. See more details at {ORDER}')
EPOCH_GIVEN = ('The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where possible. '
               'Please use `scheduler.step()` to step the scheduler. During the deprecation, if epoch is different '
               'from None, the closed form is used instead of the new chainable form, where available.')
GET_LR_CALLED = 'To get the last learning rate computed by the scheduler, please use `get_last_lr()`.'


# ---- values of parameter groups ----------------------------------------------------------------------------

def copied(value):
    return value.clone() if isinstance(value, Tensor) else value


def group_values(optimizer: Optimizer, key: str) -> list:
    """The value of `key` in every group; tensors as copies, since they change in place."""
    return [copied(group[key]) for group in optimizer.param_groups]


def set_group_value(group: dict, key: str, value):
    """Sets `group[key]`; a tensor keeps its identity and takes the value."""
    if isinstance(group[key], Tensor):
        group[key].fill_(float(value))
    else:
        group[key] = value


def per_group(name: str, optimizer: Optimizer, value) -> list:
    """`value` for each group: one for all of them, or a list with one for each."""
    groups = optimizer.param_groups
    if not isinstance(value, (list, tuple)):
        value = [value] * len(groups)
    elif len(value) != len(groups):
        raise ValueError(f'{name} must have the same length as optimizer.param_groups. {name} has {len(value)} values, '
                         f'param_groups has {len(groups)}.')
    return [copied(v) for v in value]


def require_optimizer(value):
    if not isinstance(value, Optimizer):
        raise TypeError(f'{type(value).__name__} is not an Optimizer')


def note_steps(optimizer: Optimizer):
    """Makes `optimizer.step` note that it has been called, for the warning about the wrong order."""
    if hasattr(optimizer.step, '_wrapped_by_lr_sched'):
        return
    reference, original = weakref.ref(optimizer), optimizer.step
    if isinstance(original, types.MethodType):
        original = original.__func__  # which does not keep the optimizer alive
    else:
        original = staticmethod(original)

    @functools.wraps(original)
    def step(*args, **kwargs):
        optimizer = reference()
        optimizer._opt_called = True
        return original.__get__(optimizer, type(optimizer))(*args, **kwargs)

    step._wrapped_by_lr_sched = True
    optimizer.step = step


# ---- the base ------------------------------------------------------------------------------------------------

class LRScheduler:
    """The base of schedulers: subclasses define `get_lr()`, the list of the groups' next learning rates.

    `last_epoch` counts the steps from 0 on; when resuming, -1 is replaced by the epoch to go on from, and the groups
    must hold 'initial_lr'. `base_lrs` are the groups' initial rates.
    """

    _get_lr_called_within_step = False
    _is_initial = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        require_optimizer(optimizer)
        self.optimizer = optimizer
        if last_epoch == -1:
            for group in optimizer.param_groups:
                group.setdefault('initial_lr', copied(group['lr']))
        for i, group in enumerate(optimizer.param_groups):
            if 'initial_lr' not in group:
                raise KeyError(f"param 'initial_lr' is not specified in param_groups[{i}] when resuming scheduler with "
                               f'last_epoch >= 0 (got {last_epoch}). Load the state of the optimizer that the training '
                               'was begun with first; for a fresh training leave last_epoch at -1.')
        self.base_lrs = group_values(optimizer, 'initial_lr')
        self.last_epoch = last_epoch
        note_steps(optimizer)
        self._initial_step()

    def _initial_step(self):
        """The step that sets the rates of the first epoch."""
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self) -> dict:
        """All attributes but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != 'optimizer'}

    def load_state_dict(self, state_dict: dict):
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list:
        """The groups' learning rates as the last step left them."""
        return self._last_lr

    def get_lr(self) -> list:
        """The groups' next learning rates; meant to be called by `step()` alone."""
        if not self._get_lr_called_within_step:
            warnings.warn(GET_LR_CALLED, UserWarning, stacklevel=2)
        return self._next_lr()

    def _next_lr(self) -> list:
        raise NotImplementedError

    def step(self, epoch: int | None = None):
        """Goes on to the next epoch, or to `epoch` (deprecated)."""
        if self._step_count == 1:
            if not hasattr(self.optimizer.step, '_wrapped_by_lr_sched'):
                warnings.warn(STEP_REPLACED, UserWarning, stacklevel=2)
            elif not getattr(self.optimizer, '_opt_called', False):
                warnings.warn(WRONG_ORDER, UserWarning, stacklevel=2)
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_GIVEN, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None):
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        closed = epoch is not None and hasattr(self, '_get_closed_form_lr')
        self._set_lr(self._get_closed_form_lr if closed else self.get_lr)

    def _set_lr(self, compute: Callable[[], list]):
        self._get_lr_called_within_step = True
        try:
            values = compute()
        finally:
            self._get_lr_called_within_step = False
        for group, value in zip(self.optimizer.param_groups, values, strict=True):
            set_group_value(group, 'lr', value)
        self._last_lr = group_values(self.optimizer, 'lr')

    # what formulas are made of

    def _unchanged(self) -> list:
        return group_values(self.optimizer, 'lr')

    def _times(self, factor: float) -> list:
        return [group['lr'] * factor for group in self.optimizer.param_groups]

    def _base_times(self, factor: float) -> list:
        return [base * factor for base in self.base_lrs]


class _LRScheduler(LRScheduler):
    """The name that `LRScheduler` used to have."""


# ---- functions of the epoch --------------------------------------------------------------------------------

class FunctionScheduler(LRScheduler):
    """Holds a function of the epoch for each group; of callable objects the state dict saves the attributes."""

    def __init__(self, optimizer, lr_lambda, last_epoch=-1):
        require_optimizer(optimizer)
        groups = len(optimizer.param_groups)
        functions = list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * groups
        if len(functions) != groups:
            raise ValueError(f'Expected {groups} lr_lambdas, but got {len(functions)}')
        for function in functions:
            if not callable(function):
                raise TypeError(f'lr_lambda should be a function, but got {type(function).__name__}')
        self.lr_lambdas = functions
        super().__init__(optimizer, last_epoch)

    def state_dict(self):
        state = super().state_dict()
        state['lr_lambdas'] = [None if isinstance(function, types.FunctionType) else function.__dict__.copy()
                               for function in self.lr_lambdas]
        return state

    def load_state_dict(self, state_dict):
        self.__dict__.update({key: value for key, value in state_dict.items() if key != 'lr_lambdas'})
        for function, saved in zip(self.lr_lambdas, state_dict['lr_lambdas']):
            if saved is not None:
                function.__dict__.update(saved)


class LambdaLR(FunctionScheduler):
    """The initial rate times `lr_lambda(epoch)`, one function or a list with one for each group.

    >>> scheduler = LambdaLR(optimizer, lambda epoch: 0.95 ** epoch)
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | list, last_epoch: int = -1):
        super().__init__(optimizer, lr_lambda, last_epoch)

    def _next_lr(self):
        return [base * function(self.last_epoch)
                for function, base in zip(self.lr_lambdas, self.base_lrs, strict=True)]


class MultiplicativeLR(FunctionScheduler):
    """The rate of the epoch before times `lr_lambda(epoch)`."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | list, last_epoch: int = -1):
        super().__init__(optimizer, lr_lambda, last_epoch)

    def _next_lr(self):
        if self._is_initial:
            return self._unchanged()
        return [group['lr'] * function(self.last_epoch)
                for function, group in zip(self.lr_lambdas, self.optimizer.param_groups, strict=True)]


# ---- decay -------------------------------------------------------------------------------------------------

class StepLR(LRScheduler):
    """Times `gamma` every `step_size` epochs."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        if step_size <= 0:
            raise ValueError(f'step_size must be a positive number of epochs, got {step_size}')
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _next_lr(self):
        if self.last_epoch == 0 or self.last_epoch % self.step_size != 0:
            return self._unchanged()
        return self._times(self.gamma)

    def _get_closed_form_lr(self):
        return self._base_times(self.gamma ** (self.last_epoch // self.step_size))


class MultiStepLR(LRScheduler):
    """Times `gamma` at each of the epochs `milestones`; twice where one is listed twice."""

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1):
        self.milestones = Counter(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _next_lr(self):
        if self.last_epoch not in self.milestones:
            return self._unchanged()
        return self._times(self.gamma ** self.milestones[self.last_epoch])

    def _get_closed_form_lr(self):
        return self._base_times(self.gamma ** bisect_right(sorted(self.milestones.elements()), self.last_epoch))


class ConstantLR(LRScheduler):
    """The rate times `factor` (0 to 1) until epoch `total_iters`, then as it was."""

    def __init__(self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1):
        if factor > 1.0 or factor < 0:
            raise ValueError('Constant multiplicative factor expected to be between 0 and 1.')
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _next_lr(self):
        if self.last_epoch == 0:
            return self._times(self.factor)
        if self.last_epoch != self.total_iters:
            return self._unchanged()
        return self._times(1.0 / self.factor)

    def _get_closed_form_lr(self):
        return self._base_times(self.factor + (self.last_epoch >= self.total_iters) * (1 - self.factor))


class LinearLR(LRScheduler):
    """The rate times a factor that goes linearly from `start_factor` to `end_factor` in `total_iters` epochs."""

    def __init__(self, optimizer: Optimizer, start_factor: float = 1.0 / 3, end_factor: float = 1.0,
                 total_iters: int = 5, last_epoch: int = -1):
        if start_factor > 1.0 or start_factor <= 0:
            raise ValueError('Starting multiplicative factor expected to be greater than 0 and less or equal to 1.')
        if end_factor > 1.0 or end_factor < 0:
            raise ValueError('Ending multiplicative factor expected to be between 0 and 1.')
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _next_lr(self):
        if self.last_epoch == 0:
            return self._times(self.start_factor)
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._unchanged()
        rise = self.end_factor - self.start_factor
        return self._times(1.0 + rise / (self.total_iters * self.start_factor + (self.last_epoch - 1) * rise))

    def _get_closed_form_lr(self):
        rise = self.end_factor - self.start_factor
        return self._base_times(self.start_factor + rise * min(self.total_iters, self.last_epoch) / self.total_iters)


class ExponentialLR(LRScheduler):
    """Times `gamma` every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _next_lr(self):
        return self._unchanged() if self._is_initial else self._times(self.gamma)

    def _get_closed_form_lr(self):
        return self._base_times(self.gamma ** self.last_epoch)


class PolynomialLR(LRScheduler):
    """The initial rate times (1 - epoch / total_iters) ** power, 0 from epoch `total_iters` on."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1):
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def _next_lr(self):
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._unchanged()
        before, now = (1.0 - epoch / self.total_iters for epoch in (self.last_epoch - 1, self.last_epoch))
        return self._times((now / before) ** self.power)

    def _get_closed_form_lr(self):
        return self._base_times((1.0 - min(self.total_iters, self.last_epoch) / self.total_iters) ** self.power)


# ---- cosines -----------------------------------------------------------------------------------------------

class CosineAnnealingLR(LRScheduler):
    """Half a cosine wave from the initial rate down to `eta_min` in `T_max` epochs, then up again, and so on.

    Loshchilov and Hutter 2017, SGDR: Stochastic Gradient Descent with Warm Restarts, without the restarts.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):
        if T_max <= 0:
            raise ValueError(f'T_max must be a positive number of epochs, got {T_max}')
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def _next_lr(self):
        if self._is_initial:
            return self._unchanged()
        if self._step_count == 1 and self.last_epoch > 0:
            return self._get_closed_form_lr()
        groups = self.optimizer.param_groups
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # at the bottom, where the ratio is 0 / 0
            rise = (1 - math.cos(math.pi / self.T_max)) / 2
            return [group['lr'] + (base - self.eta_min) * rise
                    for base, group in zip(self.base_lrs, groups, strict=True)]
        before, now = (1 + math.cos(math.pi * epoch / self.T_max) for epoch in (self.last_epoch - 1, self.last_epoch))
        return [now / before * (group['lr'] - self.eta_min) + self.eta_min for group in groups]

    def _get_closed_form_lr(self):
        height = 1 + math.cos(math.pi * self.last_epoch / self.T_max)
        return [self.eta_min + (base - self.eta_min) * height / 2 for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine wave down to `eta_min` in `T_0` epochs, then again from the top, each `T_mult` times as long.

    `step(epoch)` takes fractions of epochs too, for an update in every batch. Loshchilov and Hutter 2017, SGDR.
    """

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1):
        if T_0 <= 0 or not isinstance(T_0, int):
            raise ValueError(f'Expected positive integer T_0, but got {T_0}')
        if T_mult < 1 or not isinstance(T_mult, int):
            raise ValueError(f'Expected integer T_mult >= 1, but got {T_mult}')
        if not isinstance(eta_min, (float, int)):
            raise ValueError(f'Expected float or int eta_min, but got {eta_min} of type {type(eta_min)}')
        self.T_0 = T_0
        self.T_i = T_0  # epochs of the present wave
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur = last_epoch  # epochs since its beginning
        super().__init__(optimizer, last_epoch)

    def _next_lr(self):
        height = 1 + math.cos(math.pi * self.T_cur / self.T_i)
        return [self.eta_min + (base - self.eta_min) * height / 2 for base in self.base_lrs]

    def step(self, epoch: float | None = None):
        """Goes on by one epoch, or to `epoch`. Raises ValueError for a negative one."""
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        elif epoch < 0:
            raise ValueError(f'Expected non-negative epoch, but got {epoch}')
        else:
            self._find_wave(epoch)
        self.last_epoch = math.floor(epoch)
        self._set_lr(self.get_lr)

    def _find_wave(self, epoch: float):
        if epoch < self.T_0:
            self.T_i, self.T_cur = self.T_0, epoch
        elif self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        else:  # waves before this one: n; they make a geometric series
            n = int(math.log(epoch / self.T_0 * (self.T_mult - 1) + 1, self.T_mult))
            self.T_cur = epoch - self.T_0 * (self.T_mult ** n - 1) / (self.T_mult - 1)
            self.T_i = self.T_0 * self.T_mult ** n


# ---- cycles ------------------------------------------------------------------------------------------------

class MomentumCycler(LRScheduler):
    """Moves momentum (or the first of the betas) against the learning rate where `cycle_momentum` is set."""

    def _prepare_momentum(self, optimizer, base_momentum, max_momentum) -> list[tuple]:
        """The groups' (base, max) momentum. Raises ValueError where the optimizer has none."""
        if not {'momentum', 'betas'} & set(optimizer.defaults):
            raise ValueError('optimizer must support momentum or beta1 with `cycle_momentum` option enabled')
        self.use_beta1 = 'betas' in optimizer.defaults
        return list(zip(per_group('base_momentum', optimizer, base_momentum),
                        per_group('max_momentum', optimizer, max_momentum)))

    def _begin_momentum(self, optimizer, limits: list[tuple]):
        for group, (base, top) in zip(optimizer.param_groups, limits, strict=True):
            self._set_momentum(group, top)
            group['max_momentum'] = top
            group['base_momentum'] = base

    def _set_momentum(self, group: dict, value):
        if self.use_beta1:
            group['betas'] = (value, *group['betas'][1:])
        else:
            group['momentum'] = value


class CyclicLR(MomentumCycler):
    """Up from `base_lr` to `max_lr` in `step_size_up` steps, down again in `step_size_down`, over and over.

    Cycles keep their height ('triangular'), halve it each time ('triangular2') or shrink by `gamma` every step
    ('exp_range'); or they are scaled by `scale_fn` of the cycle or of the iteration (`scale_mode`). To be stepped after
    every batch. Smith 2017, Cyclical Learning Rates for Training Neural Networks.
    """

    SCALES = {  # mode: (what the scale is a function of, the function of (x, gamma))
        'triangular': ('cycle', lambda x, gamma: 1.0),
        'triangular2': ('cycle', lambda x, gamma: 1 / 2.0 ** (x - 1)),
        'exp_range': ('iterations', lambda x, gamma: gamma ** x),
    }

    def __init__(self, optimizer: Optimizer, base_lr: float | list[float], max_lr: float | list[float],
                 step_size_up: int = 2000, step_size_down: int | None = None, mode: str = 'triangular',
                 gamma: float = 1.0, scale_fn: Callable[[float], float] | None = None, scale_mode: str = 'cycle',
                 cycle_momentum: bool = True, base_momentum: float = 0.8, max_momentum: float = 0.9,
                 last_epoch: int = -1):
        require_optimizer(optimizer)
        if mode not in self.SCALES and scale_fn is None:
            raise ValueError('mode is invalid and scale_fn is None')
        base_lrs = per_group('base_lr', optimizer, base_lr)
        self.max_lrs = per_group('max_lr', optimizer, max_lr)
        up = float(step_size_up)
        self.total_size = up + (up if step_size_down is None else float(step_size_down))
        self.step_ratio = up / self.total_size
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = scale_mode if scale_fn is not None else self.SCALES[mode][0]
        self.cycle_momentum = cycle_momentum
        limits = self._prepare_momentum(optimizer, base_momentum, max_momentum) if cycle_momentum else []
        self.base_momentums, self.max_momentums = [base for base, _ in limits], [top for _, top in limits]
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, base_lrs, strict=True):
                set_group_value(group, 'lr', lr)
            if cycle_momentum:
                self._begin_momentum(optimizer, limits)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def scale_fn(self, x: float) -> float:
        """What the height of the cycle is multiplied with."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        return self.SCALES[self.mode][1](x, self.gamma)

    def _next_lr(self):
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle  # position in the cycle, 0 to 1
        height = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == 'cycle' else self.last_epoch)
        if self.cycle_momentum:
            for group, base, top in zip(self.optimizer.param_groups, self.base_momentums, self.max_momentums,
                                        strict=True):
                self._set_momentum(group, top - (top - base) * height * scale)
        return [base + (top - base) * height * scale
                for base, top in zip(self.base_lrs, self.max_lrs, strict=True)]

    def state_dict(self):
        state = super().state_dict()
        function = self._scale_fn_custom
        plain = function is None or isinstance(function, types.FunctionType)
        state['_scale_fn_custom'] = None if plain else function.__dict__.copy()
        return state

    def load_state_dict(self, state_dict):
        super().load_state_dict({key: value for key, value in state_dict.items() if key != '_scale_fn_custom'})
        if state_dict['_scale_fn_custom'] is not None:
            self._scale_fn_custom.__dict__.update(state_dict['_scale_fn_custom'])


def anneal_cos(start, end, part: float):
    return end + (start - end) / 2.0 * (math.cos(math.pi * part) + 1)


def anneal_linear(start, end, part: float):
    return (end - start) * part + start


class OneCycleLR(MomentumCycler):
    """One cycle over the whole training: up to `max_lr`, then down to far below the initial rate.

    The initial rate is max_lr / div_factor, the last one initial / final_div_factor; the first `pct_start` of the
    `total_steps` (or epochs * steps_per_epoch) go up. With `three_phase` it goes down as fast as it went up, and then
    annihilates. To be stepped after every batch. Smith and Topin 2019, Super-Convergence.
    """

    ANNEALING = {'cos': anneal_cos, 'linear': anneal_linear}

    def __init__(self, optimizer: Optimizer, max_lr: float | list[float], total_steps: int | None = None,
                 epochs: int | None = None, steps_per_epoch: int | None = None, pct_start: float = 0.3,
                 anneal_strategy: str = 'cos', cycle_momentum: bool = True,
                 base_momentum: float | list[float] = 0.85, max_momentum: float | list[float] = 0.95,
                 div_factor: float = 25.0, final_div_factor: float = 1e4, three_phase: bool = False,
                 last_epoch: int = -1):
        require_optimizer(optimizer)
        self.total_steps = self._count_steps(total_steps, epochs, steps_per_epoch)
        if pct_start < 0 or pct_start > 1 or not isinstance(pct_start, float):
            raise ValueError(f'Expected float between 0 and 1 pct_start, but got {pct_start}')
        if anneal_strategy not in self.ANNEALING:
            raise ValueError("anneal_strategy must be one of 'cos' or 'linear', instead got " + str(anneal_strategy))
        self._schedule_phases = self._plan(pct_start, three_phase)
        self._anneal_func_type = anneal_strategy
        max_lrs = per_group('max_lr', optimizer, max_lr)
        self.cycle_momentum = cycle_momentum
        limits = self._prepare_momentum(optimizer, base_momentum, max_momentum) if cycle_momentum else []
        if last_epoch == -1:
            for group, top in zip(optimizer.param_groups, max_lrs, strict=True):
                group['initial_lr'] = top / div_factor
                group['max_lr'] = top
                group['min_lr'] = group['initial_lr'] / final_div_factor
            if cycle_momentum:
                self._begin_momentum(optimizer, limits)
        super().__init__(optimizer, last_epoch)

    @staticmethod
    def _count_steps(total_steps, epochs, steps_per_epoch) -> int:
        if total_steps is None and (epochs is None or steps_per_epoch is None):
            raise ValueError('You must define either total_steps OR (epochs AND steps_per_epoch)')
        given = {'epochs': epochs, 'steps_per_epoch': steps_per_epoch}
        if total_steps is not None:
            given = {'total_steps': total_steps}
        for name, value in given.items():
            if not isinstance(value, int) or value <= 0:
                raise ValueError(f'Expected positive integer {name}, but got {value}')
        return math.prod(given.values())

    def _plan(self, pct_start: float, three_phase: bool) -> list[dict]:
        """The phases: where each ends, and the keys of the values it goes from and to."""
        top = float(pct_start * self.total_steps) - 1
        end = self.total_steps - 1
        stages = [(top, 'initial_lr', 'max_lr', 'max_momentum', 'base_momentum')]
        if three_phase:
            back = float(2 * pct_start * self.total_steps) - 2
            stages += [(back, 'max_lr', 'initial_lr', 'base_momentum', 'max_momentum'),
                       (end, 'initial_lr', 'min_lr', 'max_momentum', 'max_momentum')]
        else:
            stages += [(end, 'max_lr', 'min_lr', 'base_momentum', 'max_momentum')]
        keys = ('end_step', 'start_lr', 'end_lr', 'start_momentum', 'end_momentum')
        return [dict(zip(keys, stage)) for stage in stages]

    def _next_lr(self):
        step, start = self.last_epoch, 0.0
        if step > self.total_steps:
            raise ValueError(f'Tried to step {step} times. The specified number of total steps is {self.total_steps}')
        for phase in self._schedule_phases[:-1]:
            if step <= phase['end_step']:
                break
            start = phase['end_step']
        else:
            phase = self._schedule_phases[-1]
        anneal, part = self.ANNEALING[self._anneal_func_type], (step - start) / (phase['end_step'] - start)
        if self.cycle_momentum:
            for group in self.optimizer.param_groups:
                self._set_momentum(group, anneal(group[phase['start_momentum']], group[phase['end_momentum']], part))
        return [anneal(group[phase['start_lr']], group[phase['end_lr']], part)
                for group in self.optimizer.param_groups]


# ---- several schedulers ------------------------------------------------------------------------------------

class SchedulerGroup(LRScheduler):
    """Schedulers of one optimizer that act together; the state dict holds theirs."""

    def _adopt(self, optimizer: Optimizer | None, schedulers: Sequence[LRScheduler], none_given: str):
        """Takes the schedulers in, or raises ValueError or TypeError where they cannot work together."""
        name = type(self).__name__
        if len(schedulers) < 1:
            raise ValueError(f'{name} expects at least one scheduler{none_given}, but got no scheduler.')
        for i, scheduler in enumerate(schedulers):
            if not hasattr(scheduler, 'optimizer'):
                raise TypeError(f'{name} at index {i} should have `optimizer` as its attribute.')
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(f'{name} does not support `ReduceLROnPlateau` scheduler as it requires additional '
                                 f'kwargs to be specified when calling `step`, but got one at index {i} in the given '
                                 'schedulers sequence.')
            optimizer = optimizer or scheduler.optimizer
            if optimizer != scheduler.optimizer:
                raise ValueError(f'{name} expects all schedulers to belong to the same optimizer, but got scheduler '
                                 f'{type(scheduler).__name__} at index {i} has {scheduler.optimizer}, which is '
                                 f'different from {type(optimizer).__name__}.')
        self._schedulers = schedulers
        self.optimizer = optimizer

    def state_dict(self):
        state = super().state_dict()
        state['_schedulers'] = [scheduler.state_dict() for scheduler in self._schedulers]
        return state

    def load_state_dict(self, state_dict):
        self.__dict__.update({key: value for key, value in state_dict.items() if key != '_schedulers'})
        for scheduler, saved in zip(self._schedulers, state_dict['_schedulers']):
            scheduler.load_state_dict(saved)


class SequentialLR(SchedulerGroup):
    """One scheduler after the other: the next one takes over, from its own epoch 0, at each of `milestones`.

    >>> warmup, decay = LinearLR(optimizer, 0.1, total_iters=5), ExponentialLR(optimizer, 0.9)
    >>> scheduler = SequentialLR(optimizer, [warmup, decay], milestones=[5])
    """

    def __init__(self, optimizer: Optimizer, schedulers: list[LRScheduler], milestones: list[int],
                 last_epoch: int = -1):
        self._adopt(optimizer, schedulers, '')
        if len(milestones) != len(schedulers) - 1:
            raise ValueError('Sequential Schedulers expects number of schedulers provided to be one more than the '
                             f'number of milestone points, but got number of schedulers {len(schedulers)} and the '
                             f'number of milestones to be equal to {len(milestones)}')
        self._milestones = milestones
        self.last_epoch = last_epoch + 1
        for group in optimizer.param_groups:
            set_group_value(group, 'lr', group['initial_lr'])
        self.recursive_undo()
        first = schedulers[bisect_right(milestones, 0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def recursive_undo(self, sched=None):
        """Takes back the step that the schedulers made when they were made themselves."""
        scheduler = self if sched is None else sched
        if hasattr(scheduler, '_schedulers'):
            for member in scheduler._schedulers:
                self.recursive_undo(member)
        elif hasattr(scheduler, 'last_epoch'):
            scheduler.last_epoch -= 1

    def step(self):
        self.last_epoch += 1
        i = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[i]
        if i > 0 and self._milestones[i - 1] == self.last_epoch:
            scheduler._update_lr(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


class ChainedScheduler(SchedulerGroup):
    """Steps all schedulers, each from the rate that the one before has left."""

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None):
        self._adopt(optimizer, schedulers, ' to be chained')
        self._last_lr = group_values(self.optimizer, 'lr')

    def step(self):
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = group_values(self.optimizer, 'lr')


# ---- plateaus ----------------------------------------------------------------------------------------------

class ReduceLROnPlateau(LRScheduler):
    """Times `factor` when the metric given to `step` has not improved for more than `patience` epochs.

    Better means less (`mode` 'min') or more ('max') than the best by `threshold`, relative ('rel') or absolute ('abs').
    After a reduction, `cooldown` epochs pass before bad ones count again. `min_lr` bounds the rates; changes of less
    than `eps` are not made.

    >>> scheduler = ReduceLROnPlateau(optimizer, patience=5)
    >>> scheduler.step(validation_loss)
    """

    WORST = {'min': math.inf, 'max': -math.inf}

    def __init__(self, optimizer: Optimizer, mode: str = 'min', factor: float = 0.1, patience: int = 10,
                 threshold: float = 1e-4, threshold_mode: str = 'rel', cooldown: int = 0,
                 min_lr: list[float] | float = 0, eps: float = 1e-8):
        if factor >= 1.0:
            raise ValueError('Factor should be < 1.0.')
        require_optimizer(optimizer)
        if mode not in self.WORST:
            raise ValueError(f'mode {mode} is unknown!')
        if threshold_mode not in ('rel', 'abs'):
            raise ValueError(f'threshold mode {threshold_mode} is unknown!')
        groups = len(optimizer.param_groups)
        self.default_min_lr = None if isinstance(min_lr, (list, tuple)) else min_lr
        self.min_lrs = [min_lr] * groups if self.default_min_lr is not None else list(min_lr)
        if len(self.min_lrs) != groups:
            raise ValueError(f'expected {groups} min_lrs, got {len(self.min_lrs)}')
        self.optimizer = optimizer
        self.factor = factor
        self.patience = patience
        self.cooldown = cooldown
        self.eps = eps
        self.last_epoch = 0
        self.mode = mode
        self.mode_worse = self.WORST[mode]
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self._last_lr = group_values(optimizer, 'lr')
        self._reset()

    def _reset(self):
        """Forgets the best metric and all counts."""
        self.best = self.mode_worse
        self.cooldown_counter = 0
        self.num_bad_epochs = 0

    def step(self, metrics, epoch: int | None = None):
        """Goes on to the next epoch, with the metric of the last: a number or a tensor with one element."""
        current = float(metrics)
        if epoch is not None:
            warnings.warn(EPOCH_GIVEN, UserWarning, stacklevel=2)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._is_better(current, self.best):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce_lr()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = group_values(self.optimizer, 'lr')

    def _reduce_lr(self):
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs):
            if self.default_min_lr is None:
                raise RuntimeError(f'The number of param groups in the `optimizer` ({len(groups)}) differs from when '
                                   f'`ReduceLROnPlateau` was initialized ({len(self.min_lrs)}), usually due to a new '
                                   'param group being added to the optimizer. Please modify the `min_lrs` field to '
                                   'match the length of the `optimizer` param groups.')
            self.min_lrs = [self.default_min_lr] * len(groups)
        for group, least in zip(groups, self.min_lrs):
            old = float(group['lr'])
            new = max(old * self.factor, least)
            if old - new > self.eps:
                set_group_value(group, 'lr', new)

    @property
    def in_cooldown(self) -> bool:
        return self.cooldown_counter > 0

    def _is_better(self, value: float, best: float) -> bool:
        margin = self.threshold if self.mode == 'max' else -self.threshold
        limit = best * (1.0 + margin) if self.threshold_mode == 'rel' else best + margin
        return value > limit if self.mode == 'max' else value < limit
