"""Adadelta: steps whose size follows the sizes of the last ones."""
from __future__ import annotations

from ..ops import update
from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, optional
from .optimizer import ParamsT, check, check_lr

__all__ = ['Adadelta']


class Adadelta(ElementwiseOptimizer):
    """Adadelta (Zeiler 2012)."""

    rule = staticmethod(update.adadelta)

    def __init__(self, params: ParamsT, lr: float | Tensor = 1.0, rho: float = 0.9, eps: float = 1e-6,
                 weight_decay: float = 0, foreach: bool | None = None, *, capturable: bool = False,
                 maximize: bool = False, differentiable: bool = False) -> None:
        check_lr(lr)
        check(0.0 <= rho <= 1.0, 'Invalid rho value: {}', rho)
        check(eps >= 0.0, 'Invalid epsilon value: {}', eps)
        check(weight_decay >= 0.0, 'Invalid weight_decay value: {}', weight_decay)
        super().__init__(params, {
            'lr': lr, 'rho': rho, 'eps': eps, 'weight_decay': weight_decay, 'maximize': maximize,
            'capturable': capturable, 'foreach': foreach, 'differentiable': differentiable})

    def states(self, group):
        return {'square_avg': 0.0, 'acc_delta': 0.0}

    def scalars(self, group, lr, fresh, step):
        return {'lr': lr, 'rho': group['rho'], 'eps': group['eps'], 'weight_decay': optional(group['weight_decay']),
                'maximize': group['maximize']}, (step + 1,)
