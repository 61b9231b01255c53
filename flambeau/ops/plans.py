"""What calls of operations run on arrays of shapes, strides and types met before. Knows no operation by name."""
from __future__ import annotations

__all__ = ['Plans', 'Views', 'forget_plans', 'replaying', 'MOVES']

MOST = 512  # of one operation
OFTEN = 3
MOVES = 'moves'  # what an operation's `replay` is that only moves the elements of its first argument, its only array
KNOWN = frozenset({bool, int, str, type(None)})
_all = []


class Plans(dict):
    """What calls of one operation run, by what tells them apart; no more than so many are kept.

    A formula that is one kernel is a function from the first call on. What can be replayed is noted when it has been
    met OFTEN: a call that is not made again would not be worth it.
    """

    def __init__(self):
        _all.append(self)

    def met(self, key, times, m, op, arguments):
        """What to run for a call met so many times before: a function, or False for the formula."""
        plan = False
        if not times and op.kind in ('reduction', 'elementwise', 'composite'):
            plan = m.planned(op.flat, op.fixed(arguments), 2 if op.kind == 'reduction' else 1)
        if not plan and op.replay:
            way = 'movement.moving' if op.replay == MOVES else 'replay.replayed'
            plan = times + 1
            if times == OFTEN:
                plan = not any(map(_changes, key)) and m.kernel(way, op.flat, m, arguments) or False
        if len(self) >= MOST:
            self.clear()
        self[key] = plan
        return plan.__class__ is not int and plan


def _known(x):
    """Whether an argument is told apart by what it holds: a tensor is one key whatever its numbers are."""
    return x.__class__ in KNOWN or isinstance(x, tuple) and all(map(_known, x))


def _changes(x):
    """Whether an argument that tells calls apart is a tensor, or holds one, whose numbers may be others later."""
    return hasattr(x, '_array') or x.__class__ is tuple and any(map(_changes, x))


class Views(dict):
    """Where the views of one operation lie in the memory of arrays of shapes, strides and types met before.

    A plan is bytes, or a tuple of these where the operation answers several views; False where a formula must answer.
    """

    def met(self, key, times, m, op, arguments):
        """The plan for a call met so many times before, or False for the formula."""
        if not all(map(_known, key[1:])):
            return False
        plan = times + 1
        if times == OFTEN:
            try:
                made = op.formula(m, *arguments)
            except Exception:  # the call itself will say so
                return False
            several = made.__class__ in (tuple, list)
            plan = tuple([m.backend.view_plan(x, arguments[0]) for x in (made if several else (made,))])
            plan = False if None in plan or not plan else plan if several else plan[0]
        if len(self) >= MOST:
            self.clear()
        self[key] = plan
        return plan.__class__ is not int and plan


def forget_plans():
    """Lets all calls be met anew: when what they follow from beside their arguments has changed."""
    for plans in _all:
        plans.clear()


def replaying(op, m):
    """The formula of an operation over arrays that replays calls met again; for other formulas, such as gradients."""
    formula, plans, signature = op.flat, Plans(), m.signature
    array = m.xp.ndarray

    def run(*arguments):
        if m.kernel('replay.is_noting'):
            return formula(m, *arguments)
        key = (signature(*arguments), *[x for x in arguments if x.__class__ is not array])
        plan = plans.get(key, 0)
        if plan.__class__ is int:
            plan = plans.met(key, plan, m, op, arguments)
        made = plan(*arguments) if plan else None
        return formula(m, *arguments) if made is None else made
    return run
