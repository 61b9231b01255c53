"""Adamax: Adam by the largest instead of the mean square gradient."""
from __future__ import annotations

from ..ops import update
from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, taken
from .optimizer import ParamsT, checked

__all__ = ['Adamax']


class Adamax(ElementwiseOptimizer):
    """Adamax, a variant of Adam based on the infinity norm (Kingma and Ba 2015)."""

    rule = staticmethod(update.adamax)
    zeros = ('exp_avg', 'exp_inf')

    def __init__(self, params: ParamsT, lr: float | Tensor = 2e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0, foreach: bool | None = None, *, maximize: bool = False,
                 differentiable: bool = False, capturable: bool = False) -> None:
        super().__init__(params, checked(locals()))

    def scalars(self, group, lr, fresh, step):
        step += 1
        beta1, beta2 = group['betas']
        return {'beta1': beta1, 'beta2': beta2, 'step_size': lr / (1 - beta1 ** step), **taken(group, 'eps')}, (step,)
