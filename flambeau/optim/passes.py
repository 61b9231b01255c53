"""Runs an elementwise formula over large arrays in pieces that stay in the cache, without temporaries.

The formula is called once with values that only note which array function is applied to what. Each noted step then
writes to a piece of scratch memory that is free again, or directly to where a result belongs. Knows no formula.
"""
from __future__ import annotations

import numpy as np

__all__ = ['Program', 'PIECE']

PIECE = 1 << 16  # elements: with some states and scratch memory in float32 this fits the second-level cache

OPERATORS = {'add': np.add, 'sub': np.subtract, 'mul': np.multiply, 'truediv': np.true_divide}
COMPARISONS = {'gt': np.greater, 'lt': np.less}
FUNCTIONS = {'sqrt': np.sqrt, 'abs': np.abs, 'sign': np.sign, 'maximum': np.maximum, 'minimum': np.minimum}


class Value:
    """Stands for an array while a formula is noted. `number`: inputs first, then one for each step."""

    __slots__ = ('noted', 'number', 'is_bool')

    def __init__(self, noted, number, is_bool=False):
        self.noted = noted
        self.number = number
        self.is_bool = is_bool

    def __neg__(self):
        return self.noted.step(np.negative, (self,))


def _operator(function, is_bool=False):
    return (lambda self, other: self.noted.step(function, (self, other), is_bool),
            lambda self, other: self.noted.step(function, (other, self), is_bool))


for _name, _function in OPERATORS.items():
    _forward, _reflected = _operator(_function)
    setattr(Value, f'__{_name}__', _forward)
    setattr(Value, f'__r{_name}__', _reflected)
for _name, _function in COMPARISONS.items():
    setattr(Value, f'__{_name}__', _operator(_function, True)[0])


def choose(condition, x, y, out):
    np.copyto(out, y)
    np.copyto(out, x, where=condition)


class Noted:
    """`m` for noting: the steps of a formula, as (function, operands, value they give)."""

    def __init__(self, inputs):
        self.inputs = [Value(self, k) for k in range(inputs)]
        self.steps = []

    def step(self, function, operands, is_bool=False):
        value = Value(self, len(self.inputs) + len(self.steps), is_bool)
        self.steps.append((function, operands, value))
        return value

    def __getattr__(self, name):
        function = FUNCTIONS[name]
        return lambda *operands: self.step(function, operands)

    def where(self, condition, x, y):
        return self.step(choose, (condition, x, y))

    def zeros_like(self, x):
        return 0.0


class Program:
    """The steps of a formula with a place in memory for every operand: its arrays, then scratch, then numbers.

    Made for one set of scalars. A formula takes (m, param, grad, states by name, scalars), gives param and states anew.
    """

    def __init__(self, formula, names, scalars):
        noted = Noted(2 + len(names))
        values = noted.inputs
        results = formula(noted, values[0], values[1], **dict(zip(names, values[2:])), **scalars)
        param, *states = [r for r in results if r is not None]
        self.scratch = []  # for each piece of scratch memory, whether it holds bools
        self.numbers = []
        self.places = {k: k for k in range(len(values))}
        self.free = {True: [], False: []}
        self.last_use = {}
        for k, (_, operands, _) in enumerate(noted.steps):
            self.last_use.update((x.number, k) for x in operands if isinstance(x, Value))
        self.homes, left = {}, []  # results that are computed where they belong, and others
        for target, value in [(0, param), *enumerate(states, 2)]:
            if value.number not in self.homes and self.may_overwrite(target, value, noted):
                self.homes[value.number] = target
            else:
                left.append((target, value.number))
                self.last_use[value.number] = len(noted.steps)
        self.steps = [self.placed(k, *step, len(values)) for k, step in enumerate(noted.steps)]
        self.copies = [(target, self.places[number]) for target, number in left]

    def may_overwrite(self, target, value, noted):
        """Whether the array `target` is not read any more when the value has been computed."""
        k = value.number - len(noted.inputs)
        last = self.last_use.get(target, -1)
        return k >= 0 and (last < k or last == k and noted.steps[k][0] is not choose)

    def placed(self, k, function, operands, value, inputs):
        places = []
        dying = {}
        for x in operands:
            if not isinstance(x, Value):
                self.numbers.append(x)
                places.append(-len(self.numbers))  # numbers stand at the end of memory, in reverse order
                continue
            places.append(self.places[x.number])
            if self.last_use[x.number] == k and x.number >= inputs and x.number not in self.homes:
                dying[x.number] = self.free[x.is_bool], self.places[x.number]
        early = function is not choose  # which writes before it has read everything
        if early:
            self.release(dying)
        place = self.homes.get(value.number)
        if place is None:
            if not self.free[value.is_bool]:
                self.free[value.is_bool].append(inputs + len(self.scratch))
                self.scratch.append(value.is_bool)
            place = self.free[value.is_bool].pop()
        self.places[value.number] = place
        if not early:
            self.release(dying)
        return function, tuple(places), place

    def release(self, dying):
        for free, place in dying.values():
            free.append(place)

    def run(self, arrays):
        """Runs over `arrays` (param, grad, states: 1-D, of one size and dtype), all but the second are overwritten."""
        size, kind = arrays[0].size, arrays[0].dtype
        scratch = [np.empty(min(size, PIECE), bool if is_bool else kind) for is_bool in self.scratch]
        numbers = self.numbers[::-1]
        for start in range(0, size, PIECE):
            stop = min(start + PIECE, size)
            memory = [a[start:stop] for a in arrays]
            memory += scratch if stop - start == PIECE else [s[:stop - start] for s in scratch]
            memory += numbers
            for function, places, out in self.steps:
                function(*[memory[place] for place in places], out=memory[out])
            for target, place in self.copies:
                np.copyto(memory[target], memory[place])
