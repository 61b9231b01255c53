"""Averages of a model's parameters over the steps of a training, and the learning rate schedule that goes with them.

Izmailov et al. 2018, Averaging Weights Leads to Wider Optima and Better Generalization (SWA); exponential moving
averages (EMA) are the same with another weight. Knows modules and schedulers, not how optimizers update.
"""
from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

from .. import tensor
from ..autograd.modes import no_grad
from ..dtypes import int64
from ..nn import Module
from .lr_scheduler import LRScheduler, Optimizer, per_group, require_optimizer

__all__ = ['AveragedModel', 'update_bn', 'SWALR', 'get_ema_multi_avg_fn', 'get_swa_multi_avg_fn', 'get_ema_avg_fn',
           'get_swa_avg_fn']


# ---- averages ------------------------------------------------------------------------------------------------

def check_decay(decay: float):
    if decay < 0.0 or decay > 1.0:
        raise ValueError(f'Invalid decay value {decay} provided. Please provide a value in [0,1] range.')


def interpolates(value) -> bool:
    return value.dtype.is_floating_point or value.dtype.is_complex


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable:
    """A function that updates lists of averages in place: decay * average + (1 - decay) * current."""
    check_decay(decay)

    @no_grad()
    def ema_update(ema_param_list, current_param_list, _):
        for average, current in zip(ema_param_list, current_param_list, strict=True):
            if interpolates(average):
                average.lerp_(current, 1 - decay)
            else:
                average.copy_(average * decay + current * (1 - decay))

    return ema_update


def get_swa_multi_avg_fn() -> Callable:
    """A function that updates lists of averages in place: the mean of all values so far, each weighted equally."""

    @no_grad()
    def swa_update(averaged_param_list, current_param_list, num_averaged):
        weight = 1 / (float(num_averaged) + 1)
        for average, current in zip(averaged_param_list, current_param_list, strict=True):
            if interpolates(average):
                average.lerp_(current, weight)
            else:
                average.copy_(average + (current - average) * weight)

    return swa_update


def get_ema_avg_fn(decay: float = 0.999) -> Callable:
    """A function of one average and one current tensor: decay * average + (1 - decay) * current."""
    check_decay(decay)

    @no_grad()
    def ema_update(ema_param, current_param, num_averaged):
        return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_swa_avg_fn() -> Callable:
    """A function of one average and one current tensor: the mean of all values so far."""

    @no_grad()
    def swa_update(averaged_param, current_param, num_averaged):
        return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


class AveragedModel(Module):
    """A copy of `model`, in `module`, whose parameters are averages over the calls of `update_parameters`.

    The average is the equally weighted one, or `avg_fn(average, current, num_averaged)` for each parameter, or
    `multi_avg_fn(averages, currents, num_averaged)` in place for all of a dtype together. Buffers are averaged with
    `use_buffers`, otherwise copied. `n_averaged` counts the updates.

    >>> averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    >>> averaged.update_parameters(model)  # after each optimizer.step()
    """

    def __init__(self, model: Module, device=None, avg_fn: Callable | None = None,
                 multi_avg_fn: Callable | None = None, use_buffers: bool = False):
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError('Only one of avg_fn and multi_avg_fn should be provided')
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer('n_averaged', tensor(0, dtype=int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)

    def _values(self, model: Module) -> Iterable:
        return itertools.chain(model.parameters(), model.buffers()) if self.use_buffers else model.parameters()

    def update_parameters(self, model: Module):
        """Takes the present parameters of `model` into the averages; the first time they are copied."""
        averages = [value.detach() for value in self._values(self.module)]
        currents = [value.detach().to(average.device) for average, value in zip(averages, self._values(model))]
        if self.n_averaged == 0:
            for average, current in zip(averages, currents):
                average.copy_(current)
        elif self.avg_fn is not None:
            for average, current in zip(averages, currents):
                average.copy_(self.avg_fn(average, current, self.n_averaged))
        else:
            update = self.multi_avg_fn or get_swa_multi_avg_fn()
            for kind in dict.fromkeys(average.dtype for average in averages):
                of_kind = [i for i, average in enumerate(averages) if average.dtype is kind]
                update([averages[i] for i in of_kind], [currents[i] for i in of_kind], self.n_averaged)
        if not self.use_buffers:
            for average, current in zip(self.module.buffers(), model.buffers(), strict=True):
                average.detach().copy_(current.detach().to(average.device))
        self.n_averaged += 1


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device=None):
    """Computes the running statistics of all batch normalization layers anew, in one pass over `loader`.

    Batches are tensors, or lists and tuples that begin with the model's input.
    """
    from ..nn.modules.batchnorm import _BatchNorm
    momenta = {module: module.momentum for module in model.modules() if isinstance(module, _BatchNorm)}
    if not momenta:
        return
    was_training = model.training
    model.train()
    for module in momenta:
        module.reset_running_stats()
        module.momentum = None  # the mean over all batches
    for batch in loader:
        if isinstance(batch, (list, tuple)):
            batch = batch[0]
        model(batch if device is None else batch.to(device))
    for module, momentum in momenta.items():
        module.momentum = momentum
    model.train(was_training)


# ---- the schedule --------------------------------------------------------------------------------------------

class SWALR(LRScheduler):
    """Goes from the present rate to `swa_lr` in `anneal_epochs` epochs ('cos' or 'linear') and stays there.

    It begins wherever the rate is, so that it can be stepped after another scheduler has done its part.
    """

    ANNEALING = {'cos': lambda t: (1 - math.cos(math.pi * t)) / 2, 'linear': lambda t: t}

    def __init__(self, optimizer: Optimizer, swa_lr: float | list[float], anneal_epochs: int = 10,
                 anneal_strategy: str = 'cos', last_epoch: int = -1):
        require_optimizer(optimizer)
        swa_lrs = per_group('swa_lr', optimizer, swa_lr)
        if anneal_strategy not in self.ANNEALING:
            raise ValueError("anneal_strategy must be one of 'cos' or 'linear', instead got " + str(anneal_strategy))
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f'anneal_epochs must be equal or greater than 0, got {anneal_epochs}')
        for group, lr in zip(optimizer.param_groups, swa_lrs, strict=True):
            group['swa_lr'] = lr
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _alpha(self, step: int) -> float:
        """The share of `swa_lr` in the rate after so many steps."""
        return self.ANNEALING[self._anneal_strategy](max(0, min(1, step / max(1, self.anneal_epochs))))

    @staticmethod
    def _get_initial_lr(lr, swa_lr, alpha: float):
        """The rate it began with, from the present one."""
        return swa_lr if alpha == 1 else (lr - alpha * swa_lr) / (1 - alpha)

    def _next_lr(self):
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._alpha(step - 1), self._alpha(step)
        return [group['swa_lr'] * now + self._get_initial_lr(group['lr'], group['swa_lr'], before) * (1 - now)
                for group in self.optimizer.param_groups]
