"""RMSprop: steps by a running average of the squared gradient."""
from __future__ import annotations

from ..ops import update
from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, taken
from .optimizer import ParamsT, check, checked

__all__ = ['RMSprop']


class RMSprop(ElementwiseOptimizer):
    """RMSprop (Tieleman and Hinton 2012), with momentum, and centered (Graves 2013), as options."""

    rule = staticmethod(update.rmsprop)

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
                 weight_decay: float = 0, momentum: float = 0, centered: bool = False, capturable: bool = False,
                 foreach: bool | None = None, maximize: bool = False, differentiable: bool = False) -> None:
        options = checked(locals())
        check(alpha >= 0.0, 'Invalid alpha value: {}', alpha)
        super().__init__(params, options)

    def states(self, group):
        used = {'square_avg': True, 'momentum_buffer': group['momentum'] > 0, 'grad_avg': group['centered']}
        return {name: 0.0 for name in used if used[name]}

    def scalars(self, group, lr, fresh, step):
        return {'lr': lr, **taken(group, 'alpha', 'eps', 'momentum')}, (step + 1,)
