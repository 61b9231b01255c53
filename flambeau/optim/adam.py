"""Adam: steps by running averages of the gradient and of its square."""
from __future__ import annotations

from ..ops import update
from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, common_scalars
from .optimizer import ParamsT, as_number, checked

__all__ = ['Adam']


class Adam(ElementwiseOptimizer):
    """Adam (Kingma and Ba 2015), with AMSGrad (Reddi et al. 2018) and decoupled weight decay as options.

    >>> optimizer = flambeau.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.999))
    """

    rule = staticmethod(update.adam)

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-3,
                 betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, amsgrad: bool = False, *, foreach: bool | None = None,
                 maximize: bool = False, capturable: bool = False, differentiable: bool = False,
                 fused: bool | None = None, decoupled_weight_decay: bool = False) -> None:
        options = checked(locals())
        if isinstance(lr, Tensor) and foreach and not capturable:
            raise ValueError('lr as a Tensor is not supported for capturable=False and foreach=True')
        kinds = {Tensor if isinstance(beta, Tensor) else type(beta) for beta in betas}
        if kinds != {float} and kinds != {Tensor}:
            raise ValueError('betas must be either both floats or both Tensors')
        for i, beta in enumerate(betas):
            if isinstance(beta, Tensor):
                if foreach and not capturable:
                    raise ValueError(f'betas[{i}] as a Tensor is not supported for capturable=False and foreach=True')
                if beta.numel() != 1:
                    raise ValueError(f'Tensor betas[{i}] must be 1-element')
        options['betas'] = tuple(b.squeeze() if isinstance(b, Tensor) and b.dim() else b for b in betas)
        super().__init__(params, options)

    def states(self, group):
        names = ('exp_avg', 'exp_avg_sq', 'max_exp_avg_sq') if group['amsgrad'] else ('exp_avg', 'exp_avg_sq')
        return dict.fromkeys(names, 0.0)

    def scalars(self, group, lr, fresh, step):
        step += 1
        beta1, beta2 = group['betas'] if group['differentiable'] else map(as_number, group['betas'])
        return {'beta1': beta1, 'beta2': beta2, 'step_size': lr / (1 - beta1 ** step),
                'root_correction': (1 - beta2 ** step) ** 0.5, **common_scalars(group, lr)}, (step,)
