"""Resilient backpropagation: steps by the signs of gradients alone."""
from __future__ import annotations

from ..ops import update
from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer
from .optimizer import ParamsT, as_number, check_lr, given

__all__ = ['Rprop']


class Rprop(ElementwiseOptimizer):
    """Rprop (Riedmiller and Braun 1993). `lr` is the first size of steps."""

    rule = staticmethod(update.rprop)

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-2, etas: tuple[float, float] = (0.5, 1.2),
                 step_sizes: tuple[float, float] = (1e-6, 50), *, capturable: bool = False,
                 foreach: bool | None = None, maximize: bool = False, differentiable: bool = False) -> None:
        check_lr(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f'Invalid eta values: {etas[0]}, {etas[1]}')
        super().__init__(params, given(locals()))

    def states(self, group):
        return {'prev': 0.0, 'step_size': as_number(group['lr'])}

    def scalars(self, group, lr, fresh, step):
        etaminus, etaplus = group['etas']
        smallest, largest = group['step_sizes']
        return {'etaminus': etaminus, 'etaplus': etaplus, 'smallest': smallest, 'largest': largest,
                'maximize': group['maximize']}, (step + 1,)
