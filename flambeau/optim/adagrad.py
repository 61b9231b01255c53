"""Adagrad: steps by the sum of all squared gradients."""
from __future__ import annotations

from ..ops import update
from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, optional
from .optimizer import ParamsT, check, check_implementation, check_lr

__all__ = ['Adagrad']


class Adagrad(ElementwiseOptimizer):
    """Adagrad (Duchi et al. 2011). Its states are made with the optimizer."""

    rule = staticmethod(update.adagrad)

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
                 initial_accumulator_value: float = 0, eps: float = 1e-10, foreach: bool | None = None, *,
                 maximize: bool = False, differentiable: bool = False, fused: bool | None = None) -> None:
        check_lr(lr)
        check(lr_decay >= 0.0, 'Invalid lr_decay value: {}', lr_decay)
        check(weight_decay >= 0.0, 'Invalid weight_decay value: {}', weight_decay)
        check(initial_accumulator_value >= 0.0, 'Invalid initial_accumulator_value value: {}',
              initial_accumulator_value)
        check(eps >= 0.0, 'Invalid epsilon value: {}', eps)
        check_implementation(foreach, fused, differentiable)
        super().__init__(params, {
            'lr': lr, 'lr_decay': lr_decay, 'eps': eps, 'weight_decay': weight_decay,
            'initial_accumulator_value': initial_accumulator_value, 'foreach': foreach, 'maximize': maximize,
            'differentiable': differentiable, 'fused': fused})
        self._make_states()

    def states(self, group):
        return {'sum': self.defaults['initial_accumulator_value']}

    def scalars(self, group, lr, fresh, step):
        step += 1
        return {'lr': lr / (1 + (step - 1) * group['lr_decay']), 'eps': group['eps'],
                'weight_decay': optional(group['weight_decay']), 'maximize': group['maximize']}, (step,)
