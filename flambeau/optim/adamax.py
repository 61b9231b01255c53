"""Adamax: Adam by the largest instead of the mean square gradient."""
from __future__ import annotations

from ..ops import update
from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, optional
from .optimizer import ParamsT, check, check_betas, check_lr

__all__ = ['Adamax']


class Adamax(ElementwiseOptimizer):
    """Adamax, a variant of Adam based on the infinity norm (Kingma and Ba 2015)."""

    rule = staticmethod(update.adamax)

    def __init__(self, params: ParamsT, lr: float | Tensor = 2e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0, foreach: bool | None = None, *, maximize: bool = False,
                 differentiable: bool = False, capturable: bool = False) -> None:
        check_lr(lr)
        check(eps >= 0.0, 'Invalid epsilon value: {}', eps)
        check_betas(betas)
        check(weight_decay >= 0.0, 'Invalid weight_decay value: {}', weight_decay)
        super().__init__(params, {
            'lr': lr, 'betas': betas, 'eps': eps, 'weight_decay': weight_decay, 'foreach': foreach,
            'maximize': maximize, 'differentiable': differentiable, 'capturable': capturable})

    def states(self, group):
        return {'exp_avg': 0.0, 'exp_inf': 0.0}

    def scalars(self, group, lr, fresh, step):
        step += 1
        beta1, beta2 = group['betas']
        return {'beta1': beta1, 'beta2': beta2, 'step_size': lr / (1 - beta1 ** step), 'eps': group['eps'],
                'weight_decay': optional(group['weight_decay']), 'maximize': group['maximize']}, (step,)
