"""Optimizers whose rule treats every element alike: from options and counters to the scalars of a rule, and running it.

A subclass names its rule (ops/update.py) and says which states and counters a group needs and what the rule's scalars
are. Where memory lies and in which pieces the rule runs is in pieces.py.
"""
from __future__ import annotations

from ..autograd.modes import enable_grad
from ..ops.definition import PUBLIC
from ..tensor import Tensor
from .optimizer import Optimizer, as_number
from .pieces import Store, Update, check_gradients, note_updates

__all__ = ['ElementwiseOptimizer', 'optional', 'common_scalars', 'taken']


class ElementwiseOptimizer(Optimizer):
    """An optimizer with a rule that sees each element of a parameter on its own."""

    rule = None  # staticmethod: a formula of ops/update.py
    zeros = ()  # the names of states that start from zeros

    def states(self, group) -> dict[str, float]:
        """{name of a state of a parameter's shape: first value of its elements}, in the order of the rule's results."""
        return dict.fromkeys(self.zeros, 0.0)

    def counters(self, group) -> dict[str, float]:
        """{name of a number that each parameter has: its first value}."""
        return {'step': 0.0}

    def scalars(self, group, lr, fresh, *counters) -> tuple[dict, tuple]:
        """(the rule's scalars, the counters after the step). `fresh`: the states were never written before."""
        raise NotImplementedError

    @property
    def _store(self) -> Store:
        found = self.__dict__.get('_memory_of_states')
        if found is None:
            found = self.__dict__['_memory_of_states'] = Store()
        return found

    def step(self, closure=None):
        """Changes the parameters that have gradients. `closure` computes the loss anew; it is returned."""
        loss = self._evaluate(closure)
        work = []
        for number, group in enumerate(self.param_groups):
            params = [p for p in group['params'] if p._grad is not None]
            if params:
                check_gradients(params)
                work.append((number, group, params))
        plans = [None if group.get('differentiable') else
                 self._store.plan(number, params, self.state, self.states(group), self.counters(group))
                 for number, group, params in work]
        for (_, group, params), plan in zip(work, plans):
            if plan is None:
                self._step_recorded(group, params)
                continue
            lr = as_number(group['lr'])
            updates = {}
            for run in plan.runs:
                for part, counters in run.parts():
                    key = run.memory.fresh, *counters
                    if key not in updates:
                        updates[key] = Update(self.rule, *self.scalars(group, lr, *key))
                    part.update(updates[key])
            for run in plan.runs:
                run.memory.fresh = False
            note_updates(params)
        return loss

    def _make_states(self):
        """Makes the states of all parameters at once, for optimizers that have them before the first step."""
        for number, group in enumerate(self.param_groups):
            self._store.plan(number, group['params'], self.state, self.states(group), self.counters(group))

    def _step_recorded(self, group, params):
        """A step that gradients flow through, to the gradients used, the states, and options that are tensors."""
        for p in params:
            if p.is_complex():
                raise RuntimeError(f'{type(self).__name__}: differentiable=True is not implemented for complex '
                                   'parameters')
        for p in params:
            state = self.state[p]
            first = self.states(group)
            fresh = not any(isinstance(state.get(name), Tensor) for name in first)
            given = {name: state[name] if isinstance(state.get(name), Tensor) else PUBLIC.full_like(p.detach(), value)
                     for name, value in first.items()}
            counters = [float(state.get(name, value)) for name, value in self.counters(group).items()]
            with enable_grad():
                scalars, counters = self.scalars(group, group['lr'], fresh, *counters)
                new, *states = self.rule(PUBLIC, p.clone(), p._grad, **given, **scalars)
                p.copy_(new)
            state.update((name, PUBLIC.full_like(p.detach().sum(), float(value)))
                         for name, value in zip(self.counters(group), counters))
            state.update(zip(first, (value for value in states if value is not None)))


def optional(value):
    """A weight decay as rules take it: None where there is none."""
    return None if not isinstance(value, Tensor) and value == 0 else value


def taken(group, *names) -> dict:
    """The scalars of a rule that are options as they are: these, and those that every rule has."""
    return {'weight_decay': optional(group['weight_decay']), **{name: group[name] for name in ('maximize', *names)}}


def common_scalars(group, lr) -> dict:
    """The scalars of rules that know decoupled weight decay besides the penalty."""
    decay, decoupled = optional(group['weight_decay']), group['decoupled_weight_decay']
    if not group['differentiable']:
        decay = as_number(decay)
    return {'eps': group['eps'], 'maximize': group['maximize'], 'weight_decay': None if decoupled else decay,
            'shrink': 1 - lr * decay if decoupled and decay is not None else None}
