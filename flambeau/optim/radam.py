"""RAdam: Adam that waits until the variance of its adaptive rate is tractable."""
from __future__ import annotations

from ..ops import update
from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, common_scalars
from .optimizer import ParamsT, checked

__all__ = ['RAdam']


class RAdam(ElementwiseOptimizer):
    """Rectified Adam (Liu et al. 2020), with decoupled weight decay as an option."""

    rule = staticmethod(update.radam)
    zeros = ('exp_avg', 'exp_avg_sq')

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0, decoupled_weight_decay: bool = False, *,
                 foreach: bool | None = None, maximize: bool = False, capturable: bool = False,
                 differentiable: bool = False) -> None:
        super().__init__(params, checked(locals()))

    def scalars(self, group, lr, fresh, step):
        step += 1
        beta1, beta2 = group['betas']
        correction = 1 - beta2 ** step
        longest = 2 / (1 - beta2) - 1  # length of the average that the running one approximates, in the limit and now
        length = longest - 2 * step * beta2 ** step / correction
        rectification = None
        if length > 5.0:
            rectification = correction ** 0.5 * ((length - 4) * (length - 2) * longest
                                                 / ((longest - 4) * (longest - 2) * length)) ** 0.5
        return {'beta1': beta1, 'beta2': beta2, 'step_size': lr / (1 - beta1 ** step), 'rectification': rectification,
                **common_scalars(group, lr)}, (step,)
