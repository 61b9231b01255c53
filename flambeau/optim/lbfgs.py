"""L-BFGS: quasi-Newton steps from a limited memory of past steps and gradients."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..autograd.modes import enable_grad
from ..tensor import Tensor, wrap
from .optimizer import Optimizer, ParamsT, as_number, check_lr, given
from .pieces import check_gradients, elements, elements_in, note_updates

__all__ = ['LBFGS']

LEAST_CURVATURE = 1e-10  # of a step that enters the memory


class LBFGS(Optimizer):
    """L-BFGS (Liu and Nocedal 1989), with a line search for the strong Wolfe conditions as an option.

    One parameter group; `step(closure)` calls the closure, which computes loss and gradients, several times. The states
    belong to all parameters together and stand with the first.

    >>> optimizer = flambeau.optim.LBFGS([x], line_search_fn='strong_wolfe')
    """

    def __init__(self, params: ParamsT, lr: float | Tensor = 1, max_iter: int = 20, max_eval: int | None = None,
                 tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
                 line_search_fn: str | None = None) -> None:
        check_lr(lr)
        max_eval = max_iter * 5 // 4 if max_eval is None else max_eval
        super().__init__(params, given(locals()))
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @property
    def _params(self):
        return self.param_groups[0]['params']

    def step(self, closure):
        """Minimizes for up to `max_iter` iterations. Returns the loss that the first call of `closure` gave."""
        group = self.param_groups[0]
        if group['line_search_fn'] not in (None, 'strong_wolfe'):
            raise RuntimeError("only 'strong_wolfe' is supported")
        with np.errstate(all='ignore'):
            return self._minimize(enable_grad()(closure), group)

    def _minimize(self, closure, group):
        state = self.state[self._params[0]]
        state.setdefault('func_evals', 0)
        state.setdefault('n_iter', 0)
        first_loss = closure()
        loss = float(first_loss)
        evaluations = 1
        state['func_evals'] += 1
        grad = self._gradient()
        if np.abs(grad).max() <= group['tolerance_grad']:
            return first_loss
        memory, direction, t, last_grad = Memory.of(state), array(state.get('d')), as_number(state.get('t')), \
            array(state.get('prev_flat_grad'))
        last_loss, lr = state.get('prev_loss'), as_number(group['lr'])
        for iteration in range(1, group['max_iter'] + 1):
            state['n_iter'] += 1
            if state['n_iter'] == 1:
                memory, direction = Memory([], [], [], 1.0, None), -grad
                t = min(1.0, 1.0 / float(np.abs(grad).sum())) * lr
            else:
                memory.add(grad - last_grad, direction * t, group['history_size'])
                direction = memory.direction(grad, group['history_size'])
                t = lr
            last_grad, last_loss = grad, loss
            slope = np.float64(grad @ direction)
            if slope > -group['tolerance_change']:
                break
            used, found = 0, grad
            if group['line_search_fn'] is not None:
                point, used = self._search(closure, Point(0, loss, grad, slope), t, direction, group,
                                           group['max_eval'] - evaluations)
                t, loss, found = point.t, point.loss, point.grad
                self._move(t, direction)
            else:
                self._move(t, direction)
                if iteration != group['max_iter']:
                    loss, used = float(closure()), 1
                    found = self._gradient()
            grad = found
            evaluations += used
            state['func_evals'] += used
            if evaluations >= group['max_eval'] or np.abs(grad).max() <= group['tolerance_grad'] \
                    or np.abs(direction * t).max() <= group['tolerance_change'] \
                    or abs(loss - last_loss) < group['tolerance_change']:
                break
        memory.store(state)
        state.update(d=wrap(direction), t=t, prev_flat_grad=wrap(last_grad), prev_loss=last_loss)
        return first_loss

    def _search(self, closure, start, t, direction, group, most):
        before = [p._array.copy() for p in self._params]

        def evaluate(t):
            try:
                self._move(t, direction)
                loss = float(closure())
                grad = self._gradient()
            finally:
                for p, values in zip(self._params, before):
                    p._array[...] = values
            return Point(t, loss, grad, np.float64(grad @ direction))
        return strong_wolfe(evaluate, start, t, np.abs(direction).max(), group['tolerance_change'], most)

    def _gradient(self):
        """All gradients in one new array."""
        check_gradients([p for p in self._params if p._grad is not None])
        return np.concatenate([np.zeros(elements_in(p), elements(p._array).dtype) if p._grad is None
                               else elements(p._grad._array) for p in self._params])

    def _move(self, t, direction):
        start = 0
        for p in self._params:
            stop = start + elements_in(p)
            part = direction[start:stop].view(p._array.dtype).reshape(p._array.shape)
            p._array[...] = p._array + part * t
            start = stop
        note_updates(self._params)


def array(value):
    return None if value is None else value._array


class Memory:
    """Past steps, the changes of the gradient over them, 1 / their products, and the scale of the first Hessian."""

    def __init__(self, changes, steps, inverses, scale, al):
        self.changes = changes
        self.steps = steps
        self.inverses = inverses
        self.scale = scale
        self.al = al  # PyTorch keeps the coefficients of the last direction among the states

    @classmethod
    def of(cls, state):
        return cls([array(x) for x in state.get('old_dirs') or ()], [array(x) for x in state.get('old_stps') or ()],
                   [float(x) for x in state.get('ro') or ()], as_number(state.get('H_diag', 1.0)), state.get('al'))

    def store(self, state):
        kind = self.changes[0].dtype if self.changes else np.float32
        state.update(old_dirs=[wrap(x) for x in self.changes], old_stps=[wrap(x) for x in self.steps],
                     ro=[wrap(np.array(x, kind)) for x in self.inverses],
                     H_diag=wrap(np.array(self.scale, kind)) if self.changes else 1)
        if self.al is not None:
            state['al'] = [wrap(np.array(x, kind)) if isinstance(x, float) else x for x in self.al]

    def add(self, change, step, most):
        product = float(change @ step)
        if product <= LEAST_CURVATURE:
            return
        if len(self.changes) == most:
            for values in (self.changes, self.steps, self.inverses):
                values.pop(0)
        self.changes.append(change)
        self.steps.append(step)
        self.inverses.append(1.0 / product)
        self.scale = product / float(change @ change)

    def direction(self, grad, most):
        """Minus the gradient times the approximate inverse Hessian, by the two-loop recursion."""
        if self.al is None:
            self.al = [None] * most
        q = -grad
        count = len(self.changes)
        for i in reversed(range(count)):
            self.al[i] = float(self.steps[i] @ q) * self.inverses[i]
            q = q - self.changes[i] * self.al[i]
        q = q * self.scale
        for i in range(count):
            q = q + self.steps[i] * (self.al[i] - float(self.changes[i] @ q) * self.inverses[i])
        return q


# ---- line search ---------------------------------------------------------------------------------------------

class Point(NamedTuple):
    """A point on the line: how far, its loss and gradient there, and the gradient along the line."""
    t: float
    loss: float
    grad: np.ndarray
    slope: float


def cubic_minimum(p, q, low, high):
    """Where the cubic through two points with their slopes is least, within bounds; their middle if there is none.

    On a nearly straight stretch rounding of the losses alone would decide whether there is a minimum; it counts as one
    far away then.
    """
    if p.t > q.t:
        p, q = q, p
    d1 = p.slope + q.slope - 3 * (p.loss - q.loss) / (p.t - q.t)
    square = d1 ** 2 - p.slope * q.slope
    rounding = 12 * np.finfo(p.grad.dtype).eps * abs(d1) * max(abs(p.loss), abs(q.loss)) / (q.t - p.t)
    if not square >= -rounding:
        return (low + high) / 2.0
    d2 = np.sqrt(max(square, 0.0))
    t = q.t - (q.t - p.t) * ((q.slope + d2 - d1) / (q.slope - p.slope + 2 * d2))
    return float(min(max(t, low), high))


def strong_wolfe(evaluate, start, t, size, tolerance_change, most, c1=1e-4, c2=0.9):
    """(a point that meets the strong Wolfe conditions, or the best found; how often `evaluate` was called).

    Nocedal and Wright 2006, algorithms 3.5 and 3.6. `size` is the largest element of the direction.
    """
    def too_high(point):
        return point.loss > start.loss + c1 * point.t * start.slope

    def flat(point):
        return abs(point.slope) <= -c2 * start.slope

    previous, point = start, evaluate(t)
    bracket = None
    for count in range(most):
        if too_high(point) or count > 1 and point.loss >= previous.loss:
            bracket = [previous, point]
        elif flat(point):
            return point, count + 1
        elif point.slope >= 0:
            bracket = [previous, point]
        if bracket is not None:
            break
        t = cubic_minimum(previous, point, point.t + 0.01 * (point.t - previous.t), point.t * 10)
        previous, point = point, evaluate(t)
    else:
        count, bracket = most, [start, point]
    low = 0 if bracket[0].loss <= bracket[1].loss else 1
    stuck = False
    while count < most:
        left, right = sorted(p.t for p in bracket)
        if (right - left) * size < tolerance_change:
            break
        t, stuck = away_from_ends(cubic_minimum(*bracket, left, right), left, right, stuck)
        point = evaluate(t)
        count += 1
        if too_high(point) or point.loss >= bracket[low].loss:
            bracket[1 - low] = point
            low = 0 if bracket[0].loss <= bracket[1].loss else 1
            continue
        if not flat(point) and point.slope * (bracket[1 - low].t - bracket[low].t) >= 0:
            bracket[1 - low] = bracket[low]
        bracket[low] = point
        if flat(point):
            break
    return bracket[low], count + 1


def away_from_ends(t, left, right, stuck):
    """(t, moved inside where it is too close to an end a second time or outside; whether it was too close)."""
    margin = 0.1 * (right - left)
    if min(right - t, t - left) >= margin:
        return t, False
    if not stuck and left < t < right:
        return t, True
    return (right - margin if abs(t - right) < abs(t - left) else left + margin), False
