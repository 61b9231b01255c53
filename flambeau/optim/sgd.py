"""Stochastic gradient descent."""
from __future__ import annotations

import numpy as np

from ..ops import update
from ..ops.reference import REFERENCE
from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, optional
from .optimizer import ParamsT, as_number, checked
from .pieces import PIECE, note_updates, real_kind

__all__ = ['SGD']

DIRECT = frozenset(np.dtype(name) for name in ('float32', 'float64', 'complex64', 'complex128'))


class SGD(ElementwiseOptimizer):
    """Stochastic gradient descent, with momentum (Sutskever et al. 2013) as an option.

    The first step of a parameter takes its gradient as the momentum, undamped.

    >>> optimizer = flambeau.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    """

    rule = staticmethod(update.sgd)
    _last_rate = None  # (learning rate, dtype, array) of the last direct update

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-3, momentum: float = 0, dampening: float = 0,
                 weight_decay: float | Tensor = 0, nesterov: bool = False, *, maximize: bool = False,
                 foreach: bool | None = None, differentiable: bool = False, fused: bool | None = None) -> None:
        options = checked(locals())
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError('Nesterov momentum requires a momentum and zero dampening')
        super().__init__(params, options)

    def counters(self, group):
        return {}

    def states(self, group):
        return {'momentum_buffer': 0.0} if group['momentum'] else {}

    def scalars(self, group, lr, fresh):
        momentum, decay = group['momentum'], optional(group['weight_decay'])
        scalars = {'lr': lr, 'weight_decay': decay if group['differentiable'] else as_number(decay),
                   'maximize': group['maximize']}
        if momentum:
            scalars |= {'momentum': momentum, 'nesterov': group['nesterov'], 'kept': 0.0 if fresh else momentum,
                        'taken': 1.0 if fresh else 1 - group['dampening']}
        return scalars, ()

    def step(self, closure=None):
        """Changes the parameters that have gradients. `closure` computes the loss anew; it is returned."""
        loss = None if closure is None else self._evaluate(closure)
        work = self._direct_work()
        if work is None:
            super().step()
            return loss
        rule = update.sgd
        group = kind = None
        for p, array, grad, of in work:
            if of is not group or array.dtype is not kind:
                group, kind = of, array.dtype
                lr, decay, maximize = self._rate(group['lr'], kind), group['weight_decay'], group['maximize']
                decay = None if decay.__class__ is int and decay == 0 else as_number(optional(decay))
            array[...] = rule(REFERENCE, array, grad, lr=lr, weight_decay=decay, maximize=maximize)[0]
        note_updates([item[0] for item in work])
        return loss

    def _rate(self, lr, kind):
        """The learning rate as an array of a parameter's dtype, which NumPy multiplies by faster than by a number."""
        last = self._last_rate
        if last is None or last[0] is not lr or last[1] is not kind or lr.__class__ is not float:
            last = self._last_rate = lr, kind, np.array(as_number(lr), real_kind(kind))
        return last[2]

    def _direct_work(self):
        """[(parameter, its array, the gradient's, group)] where nothing is to be gained from gathering, else None.

        That is where all parameters are small and without momentum.
        """
        work = []
        for group in self.param_groups:
            if group['momentum'] or group['differentiable']:
                return None
            for p in group['params']:
                if p._grad is not None:
                    array, grad = p._array, p._grad._array
                    kind = array.dtype
                    if array.size > PIECE or kind not in DIRECT or grad.dtype is not kind \
                            or array.shape != grad.shape or not array.flags.writeable:
                        return None
                    work.append((p, array, grad, group))
        return work
