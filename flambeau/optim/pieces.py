"""Where the states of parameters lie in memory, and the pieces in which parameters are updated.

A NumPy call costs a fixed time and a pass over large arrays costs memory bandwidth. So a rule is run neither for each
tensor nor over whole large ones: the states of parameters lie in flat arrays, one for each kind of state, and a rule
runs over pieces that stay in the cache: neighbouring small parameters together, or a part of a large one.

`optimizer.state[p][name]` is a view of a slice of such an array. A state that somebody replaced (load_state_dict, an
assignment) is noticed by its identity and taken over. Knows neither rules nor options.
"""
from __future__ import annotations

from operator import attrgetter, is_

import numpy as np

from .. import dtypes
from ..autograd.graph import counter_of, note_write
from ..ops.reference import LARGE, REFERENCE
from ..tensor import Tensor, wrap

__all__ = ['Store', 'Update', 'check_gradients', 'note_updates', 'elements', 'elements_in', 'PIECE']

PIECE = 1 << 16  # elements: with some states and temporaries in float32 this fits the second-level cache
array_of = attrgetter('_array')


def real_kind(kind):
    """The dtype of an array's elements, where a complex number counts as two real ones."""
    return kind if kind.kind != 'c' else np.dtype(f'f{kind.itemsize // 2}')


def elements(array, kind=None):
    """The elements as a 1-D real array in row-major order: a view where the array is contiguous and of dtype `kind`."""
    flat = array.reshape(-1)
    if kind is not None and flat.dtype != kind:
        flat = flat.astype(kind)
    return flat.view(real_kind(flat.dtype)) if flat.dtype.kind == 'c' else flat


def check_gradients(params):
    """Raises RuntimeError where a gradient does not fit its parameter or a parameter can not be written."""
    for p in params:
        array, grad = p._array, p._grad._array
        if array.shape != grad.shape or grad.dtype.kind == 'c' != array.dtype.kind:
            raise RuntimeError(f'the gradient of a parameter does not fit it: the gradient is {p._grad.dtype} '
                               f'{list(grad.shape)}, the parameter {p.dtype} {list(array.shape)}')
        if not array.flags.writeable:
            raise RuntimeError(f'a parameter, {p.dtype} {list(array.shape)}, lies in read-only or expanded memory: '
                               'optimize a clone() of it')


def note_updates(params):
    """Counts the writes to parameters; the line of the user's program is looked up once for all."""
    if params:
        note_write(params[0], 'optimizer.step()')
        writer = params[0]._counter[1]
        for p in params[1:]:
            counter = counter_of(p)
            counter[0] += 1
            counter[1] = writer


class Memory:
    """Flat arrays with the states and counters of some parameters of one dtype.

    `fresh` until the first update: the states have been made and not yet been written.
    """

    __slots__ = ('states', 'counters', 'fresh')

    def __init__(self, states, counters, fresh):
        self.states = states
        self.counters = counters
        self.fresh = fresh


class Slot:
    """The place of one parameter in a `Memory`: elements start to stop, counters at `index`."""

    __slots__ = ('param', 'memory', 'start', 'stop', 'index', 'tensors', 'arrays')

    def __init__(self, param, memory, start, stop, index):
        self.param = param
        self.memory = memory
        self.start = start
        self.stop = stop
        self.index = index
        shape, kind = param._array.shape, param._array.dtype
        self.tensors = {name: wrap(values[index:index + 1].reshape(())) for name, values in memory.counters.items()}
        for name, values in memory.states.items():
            self.tensors[name] = wrap(values[start:stop].view(kind).reshape(shape))
        self.arrays = {name: tensor._array for name, tensor in self.tensors.items()}

    def holds(self, state, names):
        """Whether these are still the parameter's states, and the parameter still what it was."""
        array = self.param._array
        if array.size and (self.stop - self.start) * real_kind(array.dtype).itemsize != array.nbytes:
            return False
        return self.tensors.keys() == names and all(
            state.get(name) is tensor and tensor._array is self.arrays[name] and (
                tensor._array.ndim == 0 or tensor._array.shape == array.shape and tensor._array.dtype == array.dtype)
            for name, tensor in self.tensors.items())


class Store:
    """The memory of all states of an optimizer, and for each parameter group the runs it is updated in."""

    def __init__(self):
        self.slots: dict[Tensor, Slot] = {}
        self.plans: dict[int, Plan] = {}

    def plan(self, number, params, state, states, counters):
        """The plan for group `number`: `params` have gradients; `states` and `counters` give names and first values."""
        plan = self.plans.get(number)
        if plan is None or not plan.holds(params, state, (*counters, *states)):
            self.settle(params, state, states, counters)
            plan = self.plans[number] = Plan([self.slots[p] for p in params], state, states, counters)
        return plan

    def settle(self, params, state, states, counters):
        """Gives every parameter a slot, takes over the states it has, and puts views of the slot in their place."""
        names = {*states, *counters}
        new = {}
        for p in dict.fromkeys(params):
            slot = self.slots.get(p)
            if slot is None or not slot.holds(state[p], names):
                given = state[p]
                for name in states:
                    if given.get(name) is not None and given[name]._array.shape != p._array.shape:
                        raise RuntimeError(f'the state {name!r} has shape {list(given[name].shape)}, its parameter '
                                           f'{list(p.shape)}: they must be equal')
                fresh = all(given.get(name) is None for name in states)
                new.setdefault((p._array.dtype, fresh), []).append(p)
        for (kind, fresh), found in new.items():
            self.allocate(sorted(found, key=lambda p: p._array.size > PIECE), real_kind(kind), fresh, state, states,
                          counters)

    def allocate(self, params, kind, fresh, state, states, counters):
        total = sum(elements_in(p) for p in params)
        number = dtypes.float64 if dtypes.get_default_dtype() is dtypes.float64 else dtypes.float32
        memory = Memory({name: np.full(total, first, kind) for name, first in states.items()},
                        {name: np.full(len(params), first, number.numpy) for name, first in counters.items()}, fresh)
        start = 0
        for index, p in enumerate(params):
            given = state[p]
            slot = Slot(p, memory, start, start + elements_in(p), index)
            start = slot.stop
            for name, tensor in slot.tensors.items():
                before = given.get(name)
                if before is not None:
                    np.copyto(tensor._array, getattr(before, '_array', before), casting='unsafe')
            given.update(slot.tensors)
            self.slots[p] = slot


def elements_in(p):
    return p._array.size * (2 if p._array.dtype.kind == 'c' else 1)


class Update:
    """A rule with its scalars, and the counters after it."""

    __slots__ = ('rule', 'scalars', 'counters')

    def __init__(self, rule, scalars, counters):
        self.rule = rule
        self.scalars = scalars
        self.counters = counters

    def apply(self, param, grad, states):
        """Writes the new values over 1-D arrays `param` and `states` ({name: array})."""
        if param.size >= LARGE and REFERENCE.kernel('fusion.update', self.rule, tuple(states), self.scalars,
                                                    [param, grad, *states.values()]):
            return
        results = self.rule(REFERENCE, param, grad, **states, **self.scalars)
        param[...] = results[0]
        for state, result in zip(states.values(), (r for r in results[1:] if r is not None)):
            state[...] = result


class Plan:
    """The runs of one group, right as long as parameters and states are the same objects on the same memory."""

    __slots__ = ('params', 'arrays', 'tensors', 'tensor_arrays', 'runs')

    def __init__(self, slots, state, states, counters):
        names = (*counters, *states)
        self.params = [s.param for s in slots]
        self.arrays = [p._array for p in self.params]
        self.tensors = [state[p][name] for p in self.params for name in names]
        self.tensor_arrays = [t._array for t in self.tensors]
        neighbours = []
        for slot in sorted(slots, key=lambda s: (id(s.memory), s.index)):
            last = neighbours[-1] if neighbours else None
            if last and last[-1].memory is slot.memory and last[-1].index + 1 == slot.index \
                    and slot.stop - last[0].start <= PIECE:
                last.append(slot)
            else:
                neighbours.append([slot])
        self.runs = [Run(found) for found in neighbours]

    def holds(self, params, state, names):
        if len(params) != len(self.params) or not all(map(is_, params, self.params)) \
                or not all(map(is_, map(array_of, params), self.arrays)):
            return False
        if not names:
            return True
        found = [of.get(name) for of in map(state.__getitem__, params) for name in names]
        return len(found) == len(self.tensors) and all(map(is_, found, self.tensors)) \
            and all(map(is_, map(array_of, found), self.tensor_arrays))


class Run:
    """Parameters next to each other in one `Memory` that are updated together."""

    __slots__ = ('slots', 'params', 'memory', 'states', 'counters', 'views', 'kind', 'wide')

    def __init__(self, slots):
        first, last = slots[0], slots[-1]
        self.slots = slots
        self.params = [s.param for s in slots]
        self.memory = first.memory
        self.states = {name: values[first.start:last.stop] for name, values in self.memory.states.items()}
        self.counters = [values[first.index:last.index + 1] for values in self.memory.counters.values()]
        arrays = [p._array for p in self.params]
        self.views = [elements(a) if a.flags.c_contiguous else None for a in arrays]
        self.kind = arrays[0].dtype
        self.wide = self.kind.itemsize == 2

    def parts(self):
        """Pairs of (run, values of its counters), where all parameters of a run have the same counters."""
        columns = [values.tolist() for values in self.counters]
        if all(column.count(column[0]) == len(column) for column in columns):
            return [(self, [column[0] for column in columns])]
        rows = list(zip(*columns))
        found = []
        for slot, row in zip(self.slots, rows):
            if found and found[-1][1] == row:
                found[-1][0].append(slot)
            else:
                found.append(([slot], row))
        return [(Run(slots), row) for slots, row in found]

    def gathered(self):
        if len(self.params) == 1:
            view = self.views[0]
            return elements(self.params[0]._array) if view is None else view
        return np.concatenate([elements(p._array) if view is None else view
                               for p, view in zip(self.params, self.views)])

    def gathered_gradients(self):
        parts = [elements(p._grad._array, self.kind) for p in self.params]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def update(self, update: Update):
        """Runs a rule over parameters, gradients and states, in float32 for half types."""
        param, grad = self.gathered(), self.gathered_gradients()
        states = self.states
        if self.wide:
            wide = [x.astype(np.float32) for x in (param, grad, *states.values())]
            update.apply(wide[0], wide[1], dict(zip(states, wide[2:])))
            for values, value in zip((param, *states.values()), (wide[0], *wide[2:])):
                values[...] = value
        else:
            update.apply(param, grad, states)
        self.scatter(param)
        for values, value in zip(self.counters, update.counters):
            values.fill(value)

    def scatter(self, values):
        start = 0
        for p, view in zip(self.params, self.views):
            if view is not None:
                stop = start + view.size
                if values is not view:
                    view[...] = values[start:stop]
            else:
                stop = start + elements_in(p)
                p._array[...] = values[start:stop].view(self.kind).reshape(p._array.shape)
            start = stop
