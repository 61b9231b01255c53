"""Adafactor: adaptive steps with memory for rows and columns only."""
from __future__ import annotations

import numpy as np

from .. import dtypes
from ..ops import update
from ..tensor import Tensor, wrap
from .optimizer import ParamsT, as_number, check, check_lr, given
from .whole import WholeOptimizer, update_whole

__all__ = ['Adafactor']


class Adafactor(WholeOptimizer):
    """Adafactor (Shazeer and Stern 2018). `eps`: of the variance (None: the dtype's), of the parameter's scale."""

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-2, beta2_decay: float = -0.8,
                 eps: tuple[float | None, float] = (None, 1e-3), d: float = 1.0, weight_decay: float = 0.0, *,
                 foreach: bool | None = None, maximize: bool = False) -> None:
        check_lr(lr, 'Learning rate should be >= 0 but is: {}')
        check(beta2_decay <= 0.0, 'beta2_decay should be <= 0 but is: {}', beta2_decay)
        check(eps[0] is None or eps[0] >= 0.0, 'epsilon1 should be >= 0 but is: {}', eps[0])
        check(eps[1] >= 0.0, 'epsilon2 should be >= 0 but is: {}', eps[1])
        check(d >= 1.0, 'Clipping threshold d should be >= 1 but is: {}', d)
        check(weight_decay >= 0.0, 'weight_decay should be >= 0 but is: {}', weight_decay)
        super().__init__(params, given(locals()))

    def _update(self, group, p):
        state = self.state[p]
        if not state:
            state.update(first_states(p))
        step = float(state['step']) + 1
        state['step'] = wrap(np.array(step, np.float32))
        lr, (eps1, eps2), decay = as_number(group['lr']), group['eps'], group['weight_decay']
        update_whole(update.adafactor, p, {name: state[name] for name in state if name != 'step'}, {
            'new_weight': step ** group['beta2_decay'], 'rate': min(lr, 1 / step ** 0.5),
            'eps1': dtypes.finfo(p.dtype).eps if eps1 is None else eps1, 'eps2': eps2, 'd': group['d'],
            'shrink': 1 - lr * decay if decay != 0 else None, 'maximize': group['maximize']})


def first_states(p) -> dict:
    shape, kind = p._array.shape, p._array.dtype
    shapes = {'variance': shape}
    if len(shape) > 1:
        shapes = {'row_var': (*shape[:-1], 1), 'col_var': (*shape[:-2], 1, shape[-1])}
    return {'step': wrap(np.array(0.0, np.float32)), **{name: wrap(np.zeros(s, kind)) for name, s in shapes.items()}}
