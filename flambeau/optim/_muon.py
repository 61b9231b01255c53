"""Muon: momentum made orthogonal, for matrices."""
from __future__ import annotations

import math

import numpy as np

from ..ops import update
from ..tensor import wrap
from .optimizer import ParamsT, as_number, check, check_lr, given
from .whole import WholeOptimizer, update_whole

__all__ = ['Muon']


class Muon(WholeOptimizer):
    """Muon (Jordan 2024) for the matrices of hidden layers; other parameters go to another optimizer, such as AdamW.

    The iteration that makes the momentum orthogonal runs in float32 (PyTorch: bfloat16). `adjust_lr_fn` is 'original'
    (also None) or 'match_rms_adamw' (Liu et al. 2025).
    """

    def __init__(self, params: ParamsT, lr: float = 1e-3, weight_decay: float = 0.1, momentum: float = 0.95,
                 nesterov: bool = True, ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
                 eps: float = 1e-7, ns_steps: int = 5, adjust_lr_fn: str | None = None) -> None:
        check_lr(lr, 'Learning rate should be >= 0 but is: {}')
        check(momentum >= 0.0, 'momentum should be >= 0 but is: {}', momentum)
        check(weight_decay >= 0.0, 'weight decay should be >= 0 but is: {}', weight_decay)
        check(adjust_lr_fn in (None, 'original', 'match_rms_adamw'),
              'Adjust learning rate function {} is not supported', adjust_lr_fn)
        super().__init__(params, given(locals()))
        for group in self.param_groups:
            for p in group['params']:
                check(p.dim() == 2, 'Muon only supports 2D parameters whereas we found a parameter with size: {}',
                      p.shape)

    def _check(self, group):
        if group['ns_steps'] >= 100:
            raise ValueError('Number of steps must be less than 100 for computational efficiency')
        if len(group['ns_coefficients']) != 3:
            raise ValueError('Coefficients must be a tuple of exactly 3 values')

    def _update(self, group, p):
        state, lr = self.state[p], as_number(group['lr'])
        if 'momentum_buffer' not in state:
            state['momentum_buffer'] = wrap(np.zeros(p._array.shape, p._array.dtype))
        update_whole(update.muon, p, {'momentum_buffer': state['momentum_buffer']}, {
            'momentum': group['momentum'], 'nesterov': group['nesterov'], 'coefficients': group['ns_coefficients'],
            'eps': group['eps'], 'steps': group['ns_steps'], 'shrink': 1 - lr * group['weight_decay'],
            'rate': lr * adjustment(group['adjust_lr_fn'], *p._array.shape)})


def adjustment(name, rows, columns) -> float:
    """How much larger steps are for a matrix of this shape."""
    if name == 'match_rms_adamw':
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1, rows / columns))
