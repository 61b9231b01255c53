"""Runs formulas over arrays as fused kernels: how their memory is looked at, where results go. Knows no formula.

`run(formula, *arguments)` gives what `formula(m, *arguments)` gives over arrays, or None where no fused kernel fits.
"""
from __future__ import annotations

import functools
import itertools

import numpy as np

from ...kernel import fusion, types
from ...kernel.tracing import BroadcastSum, Narrow, Noted, Untraceable, trace
from .arrays import empty_call, signature
from .build import built
from .layout import dense
from .replay import launched

__all__ = ['folded', 'planned', 'run', 'total', 'update', 'whole']

BLOCK = 1 << 14  # elements that one thread takes at a time
STRIP = 64       # columns that one thread takes at a time
FEW = 4          # chunks below which columns are shared out badly
FEWEST_ROWS = 64  # that are worth turning round
SINGLE_OR_DOUBLE = ('float32', 'float64')
PLANS = 4096     # different calls remembered
_plans = {}
_steps = {}       # formula -> how many steps it had
ndarray = np.ndarray
RANKS = {'b': 1, 'u': 2, 'i': 2, 'V': 3, 'f': 3}  # the kind of array that says what is computed in is the highest
FOLDS = {np.add: lambda m, x, axes, keepdim: m.sum(x, axes, keepdim),
         np.multiply: lambda m, x, axes, keepdim: m.prod(x, axes, keepdim),
         np.maximum: lambda m, x, axes, keepdim: m.amax(x, axes, keepdim),
         np.minimum: lambda m, x, axes, keepdim: m.amin(x, axes, keepdim)}
WIDER = {'float16': 'float32', 'bfloat16': 'float32'}  # these are computed in


def planned(formula, arguments, steps=1, over=None):
    """The function of arguments like these that runs the formula as one kernel.

    None where there is none, False where the formula has not as many steps. With `over`, a shape, dtype and strides, it
    is a function of (arguments, [an array like that]), over which it writes the only result; None where that is of
    another kind.
    """
    if _steps.get(formula, steps) < steps:
        return False
    key = (formula, over, signature()(*arguments),
           *[float if x.__class__ is float else x for x in arguments if x.__class__ is not ndarray])
    try:
        plan = _plans.get(key)
    except TypeError:  # an argument that is no key, such as a list of dimensions
        return None
    if plan is None:
        if len(_plans) >= PLANS:
            _plans.clear()
            _steps.clear()
        made = _plan(formula, arguments, over)
        if made:
            _steps[formula] = made.steps
        fits = made and made.steps >= steps and (over is None or made.kinds == ['full'] and made.made == [over[:2]])
        plan = _plans[key] = made.written(arguments, over is not None) if fits else False
    return plan and (plan if over else launched(plan)) or None


def run(formula, *arguments):
    """The formula's result over arrays and numbers: an array, or a tuple of them; None where it must run otherwise."""
    plan = planned(formula, arguments)
    return plan(*arguments) if plan else None


@functools.lru_cache(maxsize=256)
def _rule(rule, names, scalars):
    """An optimizer's rule as a formula of its arrays and the numbers it takes by name.

    scalars: (name, value or float).
    """
    numbers = [name for name, value in scalars if value is float]
    fixed = {name: value for name, value in scalars if value is not float}

    def formula(m, param, grad, *values):
        states, given = values[:len(names)], values[len(names):]
        results = rule(m, param, grad, **dict(zip(names, states)), **dict(zip(numbers, given)), **fixed)
        return tuple(r for r in results if r is not None)
    return formula, numbers


def update(rule, names, scalars, arrays):
    """Runs an optimizer's rule over 1-D arrays (param, grad, states) in place, all but the second. None: not done."""
    if any(a.dtype is not arrays[0].dtype or not a.flags.c_contiguous for a in arrays):
        return None
    formula, numbers = _rule(rule, names, tuple((k, float if v.__class__ is float else v) for k, v in scalars.items()))
    arguments = (*arrays, *[scalars[name] for name in numbers])
    key = formula, arrays[0].size, arrays[0].dtype
    plan = _plans.get(key)
    if plan is None:
        made = _plan(formula, arguments)
        plan = _plans[key] = made.written(arguments, True) if made else False
    if not plan:
        return None
    plan(arguments, (arrays[0], *arrays[2:]))
    return True


def _rows(m, x, axes):
    return m.sum(x, axes, True)


def _columns(m, x, shape):
    return m.sum_to_size(x, shape)


@functools.lru_cache(maxsize=256)
def _along_rows(formula, ufunc):
    """A formula's elements along the last axis combined."""
    return lambda m, *arguments: m.widened(FOLDS[ufunc](m, formula(m, *arguments), -1, True))


def whole(formula, *arguments, ufunc=np.add):
    """All elements of formula(m, *arguments) over contiguous arrays of one shape combined, as a number; or None.

    Parts of a fixed size are added up in float64 or int64, whatever the number of threads.
    """
    first = arguments[0]
    arrays = [x for x in arguments if x.__class__ is ndarray]
    if first.size < BLOCK or any(
            a.shape != first.shape or not a.flags.c_contiguous or a.dtype is not first.dtype for a in arrays):
        return None
    wide = None if ufunc in (np.maximum, np.minimum) else np.int64 if first.dtype.kind in 'bui' else np.float64
    end, results = first.size // BLOCK * BLOCK, []
    end -= BLOCK * (first.size - end == 1)  # one element is no row
    for part, columns in (slice(end), BLOCK), (slice(end, None), first.size - end):
        if columns and (end or part.start == 0):
            parts = run(_along_rows(formula, ufunc), *[
                x.reshape(-1)[part].reshape(-1, columns) if x.__class__ is ndarray else x for x in arguments])
            if parts is None:
                return None
            results.append(ufunc.reduce(parts, None, wide))
    result = ufunc.reduce(results)
    return result if first.dtype.kind in 'bui' else first.dtype.type(result)


def _itself(m, x):
    """The elements, by a step that a kernel can be made of."""
    return x * 1.0


def folded(x, ufunc, axes, keepdim):
    """All numbers over axes (None: all) combined by np.add, multiply, maximum or minimum, or None."""
    if axes is None or len(axes) == x.ndim:
        result = whole(_itself, x, ufunc=ufunc) if x.size >= 2 * BLOCK else None
        return np.full((1,) * x.ndim, result) if keepdim and result is not None else result
    return run(FOLDS[ufunc], x, axes, keepdim)


def total(x, axes, keepdim):
    """The sum over axes (None: all), or None.

    Partial sums of a fixed size are added up, whatever the number of threads.
    """
    if x.itemsize == 2:
        return None
    if axes is None or len(axes) == x.ndim:
        return folded(x, np.add, axes, keepdim)
    shape = tuple(1 if k in axes else n for k, n in enumerate(x.shape))
    made = run(_rows, x, axes)
    if made is None:
        made = run(_columns, x, shape)
    return made if made is None or keepdim else made.reshape([n for k, n in enumerate(x.shape) if k not in axes])


def _plan(formula, arguments, over=None):
    kinds = [x.dtype for x in arguments if isinstance(x, np.ndarray)]
    computed = max(kinds, key=lambda d: RANKS.get(d.kind, 0), default=None)
    if computed is None or computed.name not in types.NAMES:
        return None
    try:
        try:
            return Plan(formula, arguments, computed, over)
        except Narrow:
            return Plan(formula, arguments, np.dtype(np.int64), over, True)
    except Untraceable:
        return None


class Plan:
    """One formula over arrays of given shapes and strides: its kernel, and the numbers to call it with."""

    def __init__(self, formula, arguments, computed, over=None, widened=False):
        instructions, results, axes = trace(formula, arguments, computed, widened)
        arrays = [x for x in arguments if isinstance(x, np.ndarray)]
        self.single = not isinstance(results, tuple)
        results = (results,) if self.single else results
        wanted = [r for r in results if r is not None]
        if not all(isinstance(r, (Noted, BroadcastSum)) for r in wanted):
            raise Untraceable('a result that is no value of the formula')
        shape = np.broadcast_shapes(*[a.shape for a in arrays])
        folded = frozenset(axes or ())
        kept_shape = tuple(1 if k in folded else n for k, n in enumerate(shape))
        described, self.made = [], []
        for r in wanted:
            self._describe(r, shape, kept_shape, folded, described)
        summed = {r.axes for r in wanted if isinstance(r, BroadcastSum)}
        if len(summed) > 1:
            raise Untraceable('sums over different rows')
        kinds = [kind for kind, _ in described]
        if widened and 'full' in kinds:
            raise Untraceable('results in a wider type')
        places = [kept_shape if getattr(r, 'squeezed', False) else made for r, (made, _) in zip(wanted, self.made)]
        o, q, i, strides, layouts, upright, (part, outer) = self._laid_out(
            arrays, places, shape, 'full' in kinds, folded, frozenset(*summed), over)
        program = tuple((op, *rest, *layouts[rest[0]]) if op == 'input' else (op, *rest) for op, *rest in instructions)
        outputs = tuple((r.of.index if isinstance(r, BroadcastSum) else r.index, kind, dtype.name)
                        for r, (kind, dtype) in zip(wanted, described))
        _check(program, outputs)
        names = [a.dtype.name for a in arrays]
        computed = WIDER.get(computed.name, computed.name)
        if set(names) <= WIDER.keys() and fusion.changes_signs_alone(program):
            program, names, computed = fusion.of_bits(program), ['uint16'] * len(names), 'uint16'
            outputs = tuple((3 * k, kind, computed) for k, kind, _ in outputs)
        if upright:
            _check_upright(o, q, i, instructions, described)
        block = STRIP if upright else i if axes or 'column' in kinds else BLOCK
        group = max(1, min(o, BLOCK // max(1, q * i))) if i <= block and not upright else 1
        if 'column' in kinds:
            group = max(group, -(-o // 64))
        self.chunks = -(-o // group)
        for k, kind in enumerate(kinds):
            if kind == 'column':
                strides[len(arrays) + k] = (i, 0)
                self.made[k] = ((self.chunks, i) if self.chunks > 1 else self.made[k][0], self.made[k][1])
        split = part > 0
        if split and 'column' in kinds:
            raise Untraceable('sums over rows of two axes')
        way = 'upright' if upright else 'along'
        if axes and not upright and not split and _goes_sideways(o, q, i, program, outputs, names, computed):
            way = 'sideways'
        room = bool(axes) and way == 'along' and q * i <= fusion.ROOM and any(name in WIDER for *_, name in outputs)
        self.sizes = (o, q, i, group, block, *[s for pair in strides for s in pair], *([part, *outer] if split else ()))
        self.steps = kinds.count('column') + sum(
            1 + (op in fusion.SEVERAL) for op, *_ in program if op not in fusion.GIVEN)
        self.kernel = (fusion.fused, program, tuple(names), outputs, computed,
                       sum(x.__class__ is float for x in arguments), way, split, room)
        self.positions = [k for k, r in enumerate(results) if r is not None]
        self.count = len(results)
        self.kinds = kinds
        self.final = [tuple(r.shape) for r in wanted]

    def _laid_out(self, arrays, places, shape, whole, folded, summed, over):
        """`_layout` of arrays and results in the order of axes in which memory is run through.

        Sets `order`, that of elementwise results, and `copied`: {array: its axes in the order it is first copied to}.
        """
        rank, refused = len(shape), None
        given = [_steps_along(a.shape, a.strides, a.itemsize, rank) for a in arrays]
        into = _steps_along(over[0], over[2], over[1].itemsize, rank) if over else None
        same = tuple(range(rank))
        order = same if folded and whole else _memory_order([into, *given] if over else given, shape)
        self.order = same if folded or summed else order
        made = [into] if over else [_dense_steps(_padded(s, rank), self.order) for s in places]
        for order in dict.fromkeys([order, self.order]):
            for every in False, True:
                brought, self.copied = [], {}
                for k, (array, steps) in enumerate(zip(arrays, given)):
                    own = _dense_steps(_padded(array.shape, rank), order)
                    if _must_be_copied(steps, own, shape, order, every):
                        lacking = rank - array.ndim
                        steps, self.copied[k] = own, tuple(axis - lacking for axis in order if axis >= lacking)
                    brought.append(steps)
                try:
                    return _layout(brought + made, shape, folded, summed, order)
                except Untraceable as error:
                    refused = error
        raise refused

    def _describe(self, r, shape, kept_shape, folded, described):
        if isinstance(r, BroadcastSum):
            kind, dtype, made = 'column', r.of.dtype, r.shape
            if r.of.shape != shape:
                raise Untraceable('columns of less than the whole')
        elif r.squeezed or folded and r.shape == kept_shape:
            kind, dtype, made = 'row', r.dtype, r.shape
        elif r.shape == shape:
            kind, dtype, made = 'full', r.dtype, shape
        else:
            raise Untraceable('a result of a shape of its own')
        described.append((kind, dtype))
        self.made.append((tuple(made), dtype))

    def written(self, arguments, into=False):
        """A function of these arguments, or of (arguments, arrays that results go `into`), that calls the kernel.

        It is written out, since for a few numbers each step of a general one would cost as much as the kernel.
        """
        given = [f'x{k}' for k in range(len(arguments))]
        arrays = [name for name, x in zip(given, arguments) if x.__class__ is ndarray]
        numbers = [name for name, x in zip(given, arguments) if x.__class__ is float]
        made = [f'made{k}' for k in range(len(self.made))]
        turned = any(a > b for a, b in zip(self.order, self.order[1:]))
        back = f'.transpose({tuple(np.argsort(self.order).tolist())})' if turned else ''
        scope = {'kernel': built(*self.kernel), 'total': np.add.reduce, 'dense': _dense}
        lines = []
        if into:
            lines += [f'    {", ".join(given)}, = arguments', f'    {", ".join(made)}, = into']
        else:
            for name, (shape, dtype) in zip(made, self.made):
                call, names = empty_call([shape[k] for k in self.order] if turned else shape, dtype, name)
                lines.append(f'    {name} = {call}{back}')
                scope |= names
        lines += [f'    {arrays[k]} = dense({arrays[k]}, {order})' for k, order in self.copied.items()]
        lines.append(f'    kernel({", ".join([*arrays, *made, *numbers, *map(str, self.sizes)])})')
        lines += [f'    {name} = total({name}, 0).reshape({shape})'
                  for name, kind, shape in zip(made, self.kinds, self.final) if kind == 'column' and self.chunks > 1]
        results = [None] * self.count
        for k, name in zip(self.positions, made):
            results[k] = name
        lines.append(f'    return {made[0] if self.single else "(" + ", ".join(map(str, results)) + ",)"}')
        exec('def plan(' + ('arguments, into' if into else ', '.join(given)) + '):\n' + '\n'.join(lines), scope)
        return scope['plan']


def _padded(shape, rank):
    return (1,) * (rank - len(shape)) + tuple(shape)


def _steps_along(shape, strides, itemsize, rank):
    """Strides along all axes in elements, 0 where an axis is broadcast."""
    return [0] * (rank - len(shape)) + [0 if n == 1 else s // itemsize for n, s in zip(shape, strides)]


def _dense_steps(shape, order):
    """Those of elements side by side, the last axis of `order` first."""
    steps, step = [0] * len(shape), 1
    for axis in reversed(order):
        steps[axis] = step if shape[axis] != 1 else 0
        step *= shape[axis]
    return steps


def _memory_order(arrays, shape):
    """The axes from the one whose neighbours lie farthest apart to the nearest, as PyTorch sorts them.

    That is by the first array whose strides tell two apart.
    """
    order = list(reversed(range(len(shape))))

    def farther(a, b):
        for steps in arrays:
            if steps[a] and steps[b] and steps[a] != steps[b]:
                return 1 if steps[a] > steps[b] else -1
        return 0
    for k in range(1, len(order)):
        for before in range(k - 1, -1, -1):
            found = farther(order[before], order[k])
            if found > 0:
                order[before], order[k], k = order[k], order[before], before
            elif found < 0:
                break
    return tuple(reversed(order))


def _must_be_copied(steps, dense, shape, order, every):
    """Whether neighbours along the last axis are not side by side, or with `every`, all that does not fill its memory.
    """
    inner = next((axis for axis in reversed(order) if shape[axis] != 1), None)
    if inner is None:
        return False
    return steps[inner] not in (0, 1) or (
        every and steps != dense and all(bool(a) == bool(b) for a, b in zip(steps, dense)))


def _dense(array, order):
    """A copy in which the axes lie in that order."""
    turned = array.transpose(order)
    made = dense(turned)
    return np.ascontiguousarray(turned) if made is None else made


def _check_upright(o, q, i, instructions, described):
    """Raises for what folds down columns cannot do, or would do on one thread where rows can be shared out."""
    if any(op == 'hot' for op, *_ in instructions) or any(kind == 'column' for kind, _ in described):
        raise Untraceable('places along the columns, or sums over them')
    if o * -(-i // STRIP) < FEW and q * i > 2 * BLOCK:
        raise Untraceable('a few long columns')


def _goes_sideways(o, q, i, program, outputs, names, computed):
    """Whether rows are so short, and so many, that they had better be turned round."""
    read = [names[operands[0]] for op, *operands in program if op == 'input' and operands[1]]
    short = fusion.SHORT if any(op in fusion.EXPENSIVE for op, *_ in program) else fusion.SHORT // 2
    return (q == 1 < i <= short and o >= FEWEST_ROWS and computed in SINGLE_OR_DOUBLE
            and all(kind == 'row' or kind == 'full' and name == computed for _, kind, name in outputs)
            and all(name == computed for name in read) and all(op != 'hot' for op, *_ in program))


def _check(program, outputs):
    """Raises for results that vary along a row although they have one element for each."""
    _, varies = fusion.stages(program)
    if any(kind == 'row' and varies[k] for k, kind, _ in outputs):
        raise Untraceable('a result that varies where it should be constant')


def _layout(steps, shape, folded, summed, order):
    """(O, Q, I, [strides along O and Q of each array], [(along, wide) of each array], upright, split), in elements.

    steps: of each array along all axes. split: (the inner size of an O of two axes, or 0; [strides along the outer]).

    Neighbouring axes of `order` that lie behind each other in every array are one. Raises Untraceable where three are
    too few, or the last does not run through memory.
    """
    axes = []  # [size, strides of each array, (folded, summed over rows)]
    if summed and any(a > b for a, b in itertools.pairwise([k for k in order if k not in summed])):
        raise Untraceable('columns in another order')
    for k in order:
        n = shape[k]
        if n == 1:
            continue
        along = [s[k] for s in steps]
        kind = (k in folded, k in summed)
        if axes and axes[-1][2] == kind and all(a == b * n for a, b in zip(axes[-1][1], along)):
            axes[-1][0] *= n
            axes[-1][1] = along
        else:
            axes.append([n, along, kind])
    nothing = [0] * len(steps)
    inner = axes.pop() if axes else [1, nothing, (bool(folded), False)]
    upright = bool(folded) and not inner[2][0]
    if any(s not in (0, 1) for s in inner[1]) or inner[2][1]:
        raise Untraceable('memory that does not run along the last axis')
    outer, middle, rows = [1, nothing], [1, nothing], []
    for n, along, (is_folded, is_summed) in axes:
        if summed and not is_summed:
            raise Untraceable('sums over axes inside of others')
        if is_folded:
            if middle[0] != 1:
                raise Untraceable('too many axes')
            middle = [n, along]
        else:
            rows.append([n, along])
    if rows and len(rows) > 1 and not folded:
        middle = rows.pop()
    if len(rows) > 2:
        raise Untraceable('too many axes')
    if rows:
        outer = rows.pop()
    part, outermost = (outer[0], rows[0]) if rows else (0, [1, nothing])
    along = [bool(down or step and not upright) for down, step in zip(middle[1], inner[1])]
    return (outermost[0] * outer[0], middle[0], inner[0], list(zip(outer[1], middle[1])),
            list(zip(along, map(bool, inner[1]))), upright, (part, outermost[1]))
