"""Averaged stochastic gradient descent."""
from __future__ import annotations

from ..ops import update
from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, taken
from .optimizer import ParamsT, as_number, checked

__all__ = ['ASGD']


class ASGD(ElementwiseOptimizer):
    """Averaged SGD (Polyak and Juditsky 1992). The average of a parameter p is `state[p]['ax']`."""

    rule = staticmethod(update.asgd)
    zeros = ('ax',)

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-2, lambd: float = 1e-4, alpha: float = 0.75,
                 t0: float = 1e6, weight_decay: float = 0, foreach: bool | None = None, maximize: bool = False,
                 differentiable: bool = False, capturable: bool = False) -> None:
        super().__init__(params, checked(locals()))

    def counters(self, group):
        return {'step': 0.0, 'eta': as_number(group['lr']), 'mu': 1.0}

    def scalars(self, group, lr, fresh, step, eta, mu):
        step += 1
        scalars = {'eta': eta, 'mu': mu, **taken(group, 'lambd')}
        eta = lr / (1 + group['lambd'] * lr * step) ** group['alpha']
        return scalars, (step, eta, 1 / max(1, step - group['t0']))
