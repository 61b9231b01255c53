"""RMSprop: steps by a running average of the squared gradient."""
from __future__ import annotations

from ..ops import update
from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, optional
from .optimizer import ParamsT, check, check_lr

__all__ = ['RMSprop']


class RMSprop(ElementwiseOptimizer):
    """RMSprop (Tieleman and Hinton 2012), with momentum, and centered (Graves 2013), as options."""

    rule = staticmethod(update.rmsprop)

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
                 weight_decay: float = 0, momentum: float = 0, centered: bool = False, capturable: bool = False,
                 foreach: bool | None = None, maximize: bool = False, differentiable: bool = False) -> None:
        check_lr(lr)
        check(eps >= 0.0, 'Invalid epsilon value: {}', eps)
        check(momentum >= 0.0, 'Invalid momentum value: {}', momentum)
        check(weight_decay >= 0.0, 'Invalid weight_decay value: {}', weight_decay)
        check(alpha >= 0.0, 'Invalid alpha value: {}', alpha)
        super().__init__(params, {
            'lr': lr, 'momentum': momentum, 'alpha': alpha, 'eps': eps, 'centered': centered,
            'weight_decay': weight_decay, 'capturable': capturable, 'foreach': foreach, 'maximize': maximize,
            'differentiable': differentiable})

    def states(self, group):
        used = {'square_avg': True, 'momentum_buffer': group['momentum'] > 0, 'grad_avg': group['centered']}
        return {name: 0.0 for name in used if used[name]}

    def scalars(self, group, lr, fresh, step):
        return {'lr': lr, 'alpha': group['alpha'], 'eps': group['eps'], 'momentum': group['momentum'],
                'weight_decay': optional(group['weight_decay']), 'maximize': group['maximize']}, (step + 1,)
