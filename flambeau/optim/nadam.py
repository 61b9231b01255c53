"""NAdam: Adam with Nesterov's look-ahead."""
from __future__ import annotations

from ..ops import update
from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, common_scalars
from .optimizer import ParamsT, checked

__all__ = ['NAdam']


class NAdam(ElementwiseOptimizer):
    """NAdam (Dozat 2016), with decoupled weight decay as an option."""

    rule = staticmethod(update.nadam)
    zeros = ('exp_avg', 'exp_avg_sq')

    def __init__(self, params: ParamsT, lr: float | Tensor = 2e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0, momentum_decay: float = 4e-3,
                 decoupled_weight_decay: bool = False, *, foreach: bool | None = None, maximize: bool = False,
                 capturable: bool = False, differentiable: bool = False) -> None:
        super().__init__(params, checked(locals()))

    def counters(self, group):
        return {'step': 0.0, 'mu_product': 1.0}

    def scalars(self, group, lr, fresh, step, mu_product):
        step += 1
        beta1, beta2 = group['betas']
        mu, mu_next = (beta1 * (1.0 - 0.5 * 0.96 ** (t * group['momentum_decay'])) for t in (step, step + 1))
        mu_product *= mu
        return {'beta1': beta1, 'beta2': beta2, 'grad_size': lr * (1.0 - mu) / (1.0 - mu_product),
                'average_size': lr * mu_next / (1.0 - mu_product * mu_next), 'correction': 1 - beta2 ** step,
                **common_scalars(group, lr)}, (step, mu_product)
