"""Optimizers whose rule (ops/update.py) needs each parameter as a whole, such as a matrix."""
from __future__ import annotations

import numpy as np

from ..ops.reference import REFERENCE
from .optimizer import Optimizer
from .pieces import check_gradients, note_updates

__all__ = ['WholeOptimizer', 'update_whole']


class WholeOptimizer(Optimizer):
    """An optimizer that updates one parameter after the other, none of them before all have been looked at."""

    def step(self, closure=None):
        """Changes the parameters that have gradients. `closure` computes the loss anew; it is returned."""
        loss = self._evaluate(closure)
        work = [(group, p) for group in self.param_groups for p in group['params'] if p._grad is not None]
        for group, p in work:
            if p.is_complex():
                raise RuntimeError(f'{type(self).__name__} does not support complex parameters')
            self._check(group)
        check_gradients([p for _, p in work])
        for group, p in work:
            self._update(group, p)
        note_updates([p for _, p in work])
        return loss

    def _check(self, group):
        """Raises ValueError for options that a step cannot be made with."""

    def _update(self, group, p):
        raise NotImplementedError


def update_whole(rule, param, states, scalars):
    """Runs a rule that needs a parameter whole, in float32 for half types. `states`: {name: tensor}."""
    targets = [param._array, *(tensor._array for tensor in states.values())]
    inputs, grad = targets, param._grad._array
    if param._array.dtype.itemsize == 2:
        inputs, grad = [x.astype(np.float32) for x in targets], grad.astype(np.float32)
    results = rule(REFERENCE, inputs[0], grad, **dict(zip(states, inputs[1:])), **scalars)
    for target, result in zip(targets, (r for r in results if r is not None)):
        np.copyto(target, result, casting='unsafe')
