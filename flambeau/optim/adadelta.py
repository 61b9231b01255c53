"""Adadelta: steps whose size follows the sizes of the last ones."""
from __future__ import annotations

from ..ops import update
from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, taken
from .optimizer import ParamsT, check, checked

__all__ = ['Adadelta']


class Adadelta(ElementwiseOptimizer):
    """Adadelta (Zeiler 2012)."""

    rule = staticmethod(update.adadelta)
    zeros = ('square_avg', 'acc_delta')

    def __init__(self, params: ParamsT, lr: float | Tensor = 1.0, rho: float = 0.9, eps: float = 1e-6,
                 weight_decay: float = 0, foreach: bool | None = None, *, capturable: bool = False,
                 maximize: bool = False, differentiable: bool = False) -> None:
        options = checked(locals())
        check(0.0 <= rho <= 1.0, 'Invalid rho value: {}', rho)
        super().__init__(params, options)

    def scalars(self, group, lr, fresh, step):
        return {'lr': lr, **taken(group, 'rho', 'eps')}, (step + 1,)
