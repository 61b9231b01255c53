"""Averaged stochastic gradient descent."""
from __future__ import annotations

from ..ops import update
from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, optional
from .optimizer import ParamsT, as_number, check, check_lr

__all__ = ['ASGD']


class ASGD(ElementwiseOptimizer):
    """Averaged SGD (Polyak and Juditsky 1992). The average of a parameter p is `state[p]['ax']`."""

    rule = staticmethod(update.asgd)

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-2, lambd: float = 1e-4, alpha: float = 0.75,
                 t0: float = 1e6, weight_decay: float = 0, foreach: bool | None = None, maximize: bool = False,
                 differentiable: bool = False, capturable: bool = False) -> None:
        check_lr(lr)
        check(weight_decay >= 0.0, 'Invalid weight_decay value: {}', weight_decay)
        super().__init__(params, {
            'lr': lr, 'lambd': lambd, 'alpha': alpha, 't0': t0, 'weight_decay': weight_decay, 'foreach': foreach,
            'maximize': maximize, 'differentiable': differentiable, 'capturable': capturable})

    def counters(self, group):
        return {'step': 0.0, 'eta': as_number(group['lr']), 'mu': 1.0}

    def states(self, group):
        return {'ax': 0.0}

    def scalars(self, group, lr, fresh, step, eta, mu):
        step += 1
        scalars = {'eta': eta, 'mu': mu, 'lambd': group['lambd'], 'weight_decay': optional(group['weight_decay']),
                   'maximize': group['maximize']}
        eta = lr / (1 + group['lambd'] * lr * step) ** group['alpha']
        return scalars, (step, eta, 1 / max(1, step - group['t0']))
