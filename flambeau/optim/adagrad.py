"""Adagrad: steps by the sum of all squared gradients."""
from __future__ import annotations

from ..ops import update
from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, taken
from .optimizer import ParamsT, checked

__all__ = ['Adagrad']


class Adagrad(ElementwiseOptimizer):
    """Adagrad (Duchi et al. 2011). Its states are made with the optimizer."""

    rule = staticmethod(update.adagrad)

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
                 initial_accumulator_value: float = 0, eps: float = 1e-10, foreach: bool | None = None, *,
                 maximize: bool = False, differentiable: bool = False, fused: bool | None = None) -> None:
        super().__init__(params, checked(locals()))
        self._make_states()

    def states(self, group):
        return {'sum': self.defaults['initial_accumulator_value']}

    def scalars(self, group, lr, fresh, step):
        return {'lr': lr / (1 + step * group['lr_decay']), **taken(group, 'eps')}, (step + 1,)
