"""Reads a formula over arrays as a program of kernel/fusion.py: `m` for values that only note what is done to them.

What a fused kernel cannot say raises Untraceable, and the caller computes otherwise. Knows formulas by what they call
only.
"""
from __future__ import annotations

import functools
import math

import numpy as np

from .mathematics import FUNCTIONS

__all__ = ['Narrow', 'Noted', 'Untraceable', 'trace']

OPERATORS = {'add': 'add', 'sub': 'sub', 'mul': 'mul', 'truediv': 'div', 'and': 'and', 'or': 'or', 'xor': 'xor'}
COMPARISONS = ('eq', 'ne', 'lt', 'le', 'gt', 'ge')
SIMPLE = frozenset('abs sqrt floor ceil trunc rint rsqrt maximum minimum sign copysign'.split()) | frozenset(FUNCTIONS)
BITS = ('and', 'or', 'xor', 'not')
NAMED = {'true_divide': 'div', 'add': 'add', 'sub': 'sub', 'mul': 'mul', 'neg': 'neg', 'clamp_min': 'maximum',
         'clamp_max': 'minimum', 'bitwise_left_shift': 'shl', 'bitwise_right_shift': 'shr',
         **{c: c for c in COMPARISONS}, **{'bitwise_' + c: c for c in BITS}}
INTEGER = frozenset(('add', 'sub', 'mul', 'neg', 'abs', 'sign', 'maximum', 'minimum', 'shl', 'shr', *COMPARISONS))
LONG = 1 << 14  # numbers of a row from which on its sum is one for all threads
POWERS = {1: lambda m, x: x, 2: lambda m, x: x * x, 3: lambda m, x: x * x * x, 0.5: lambda m, x: m.sqrt(x),
          -1: lambda m, x: 1.0 / x, -2: lambda m, x: 1.0 / (x * x)}


# What formulas raise for arguments, or for what a noted value is not
REFUSALS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class Untraceable(Exception):
    """The formula does something that fused kernels do not."""


class Narrow(Untraceable):
    """The formula sums up whole numbers: it can be traced again, computing in int64."""


class Noted:
    """Stands for an array of a shape: an instruction of the program being written.

    squeezed: without its folded axes.
    """

    __slots__ = ('program', 'index', 'shape', 'dtype', 'squeezed')

    def __init__(self, program, index, shape, dtype, squeezed=False):
        self.program, self.index, self.shape, self.dtype, self.squeezed = program, index, shape, dtype, squeezed

    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: math.prod(self.shape))

    def __neg__(self):
        return self.program.apply('neg', self)

    def __invert__(self):
        return self.program.apply('not', self)

    def __bool__(self):
        raise Untraceable('a formula asks for a value')

    __hash__ = object.__hash__

    def copy(self):
        return self

    def __pow__(self, exponent):
        return self.program.pow(self, exponent)


for _name, _op in OPERATORS.items():
    setattr(Noted, f'__{_name}__', lambda self, other, _op=_op: self.program.apply(_op, self, other))
    setattr(Noted, f'__r{_name}__', lambda self, other, _op=_op: self.program.apply(_op, other, self))
for _name in COMPARISONS:
    setattr(Noted, f'__{_name}__', lambda self, other, _op=_name: self.program.apply(_op, self, other))


class Program:
    """`m` for tracing: the instructions written so far, and the axes that folds go over."""

    def __init__(self, computed):
        self.computed = np.dtype(computed)
        self.whole = self.computed.kind in 'biu'
        self.instructions, self.known, self.composing = [], {}, []
        self.axes = None

    def note(self, instruction, shape, dtype):
        index = self.known.get(instruction)
        if index is None:
            index = self.known[instruction] = len(self.instructions)
            self.instructions.append(instruction)
        return Noted(self, index, shape, dtype)

    def value(self, x):
        if x.__class__ is Noted:
            return x
        if isinstance(x, (bool, int, float, np.floating, np.integer)) or (
                isinstance(x, np.ndarray) and x.ndim == 0 and x.dtype.kind in 'fV'):
            if self.whole and (self.computed.type(int(x)) != x or float(x) != x):
                raise Untraceable(f'{x} among whole numbers')
            return self.note(('constant', float(x)), (), self.computed)
        raise Untraceable(f'{type(x).__name__} in a formula')

    def apply(self, op, *operands):
        operands = [self.value(x) for x in operands]
        dtype = self._dtype_of(op, operands)
        squeezed = any(x.squeezed for x in operands)
        if squeezed and any(x.shape and not x.squeezed for x in operands):
            raise Untraceable('a row\'s number without its axes, beside others')
        made = self.note((op, *[x.index for x in operands]), np.broadcast_shapes(*[x.shape for x in operands]), dtype)
        made.squeezed = squeezed
        return made

    def _dtype_of(self, op, operands):
        """The dtype of an operation's result: truth, or what the formula computes with."""
        truths = [x.dtype == bool for x in operands]
        if any(x.dtype != self.computed and not truth for x, truth in zip(operands, truths)):
            raise Untraceable('arithmetic of whole numbers among others')
        if op == 'where':
            truth, *truths = truths
            if not truth or any(truths) != all(truths):
                raise Untraceable('a condition that is no comparison')
        elif op in BITS:
            if not all(truths) and (any(truths) or not self.whole):
                raise Untraceable('bits of numbers')
        elif any(truths) and not (all(truths) and op in ('eq', 'ne')):
            raise Untraceable('arithmetic of truth values')
        elif self.whole and op not in INTEGER:
            raise Untraceable(f'{op} of whole numbers')
        if op == 'where' or op in BITS:
            return operands[-1].dtype
        return np.dtype(bool) if op in COMPARISONS else self.computed

    def __getattr__(self, name):
        if name in SIMPLE:
            return lambda *operands: self.apply(name, *operands)
        if name in NAMED:
            return lambda *operands: self.apply(NAMED[name], *operands)
        if name.startswith('__'):
            raise AttributeError(name)
        return self._composed(name)

    def _composed(self, name):
        """An operation that is itself a formula."""
        from ..ops.definition import OPERATIONS
        found = OPERATIONS.get(name)
        if found is None or found.kernel is not None or found.kind not in ('elementwise', 'reduction', 'composite'):
            raise Untraceable(name)
        if name in self.composing:
            raise Untraceable(f'{name}, which arrays alone can do')
        return functools.partial(self._compose, name, found.formula)

    def _compose(self, name, formula, *args, **kwargs):
        self.composing.append(name)
        made = formula(self, *args, **kwargs)
        self.composing.pop()
        return made

    def where(self, condition, x, y):
        return self.apply('where', condition, x, y)

    def truth(self, x):
        return x if x.dtype == bool else x != 0

    def logical_and(self, x, y):
        return self.apply('and', self.truth(x), self.truth(y))

    def logical_or(self, x, y):
        return self.apply('or', self.truth(x), self.truth(y))

    def logical_xor(self, x, y):
        return self.apply('xor', self.truth(x), self.truth(y))

    def logical_not(self, x):
        return self.apply('not', self.truth(x))

    def square(self, x):
        return x * x

    def reciprocal(self, x):
        return 1.0 / x

    def relu(self, x):
        return self.apply('maximum', x, 0.0)

    def pow(self, x, exponent):
        short = isinstance(exponent, (int, float)) and POWERS.get(exponent)
        return short(self, x) if short else self.apply('pow', x, exponent)

    def isnan(self, x):
        return self.apply('ne', x, x)

    def isinf(self, x):
        return self.abs(x) == math.inf

    def isfinite(self, x):
        return self.abs(x) < math.inf

    def frac(self, x):
        return x - self.trunc(x)

    def remainder(self, x, y):
        rest = self.fmod(x, y)
        return self.where((rest != 0) & ((rest < 0) ^ (self.value(y) < 0)), rest + y, rest)

    def floor_divide(self, x, y):
        rest = self.fmod(x, y)
        whole = (x - rest) / y
        whole = self.where((rest != 0) & ((rest < 0) ^ (self.value(y) < 0)), whole - 1, whole)
        below = self.floor(whole)
        below = self.where(whole - below > 0.5, below + 1, below)
        return self.where(self.value(y) == 0, x / y, self.where(whole == 0, self.copysign(0.0, x / y), below))

    def logaddexp(self, x, y):
        return self.where(x == y, x + math.log(2), self.maximum(x, y) + self.log1p(self.exp(-self.abs(x - y))))

    def logaddexp2(self, x, y):
        more = self.log1p(self.exp2(-self.abs(x - y))) * (1 / math.log(2))
        return self.where(x == y, x + 1.0, self.maximum(x, y) + more)

    def zeros_like(self, x):
        return self.value(0.0)

    def ones_like(self, x):
        return self.value(1.0)

    def stop(self, x):
        return x

    def cast_like(self, x, like):
        if x.dtype != like.dtype:
            raise Untraceable('a conversion')
        return x

    def nextafter(self, x, y):
        if self.computed.itemsize == 2:
            raise Untraceable('neighbours of half types among those of others')
        return self.apply('nextafter', x, y)

    def widened(self, x):
        """A result of a half type as it was computed, in float32."""
        wide = np.dtype(np.float32) if x.dtype.itemsize == 2 and not self.whole else x.dtype
        return Noted(self, x.index, x.shape, wide, x.squeezed)

    def conj(self, x):
        return x

    def is_complex(self, x):
        return False

    def hot(self, index, like):
        """Where an element of `like` stands at `index`, one whole number for each row, along the last axis."""
        if like.ndim != 2 or index.shape != (like.shape[0], 1) or index.dtype != np.int64:
            raise Untraceable('places along another axis')
        return self.note(('hot', index.index), like.shape, np.dtype(bool))

    # ---- folds

    def _fold(self, combine, x, dim, keepdim):
        from ..ops.reference import axes_of
        axes = axes_of(dim, x.ndim)
        if not axes or self.axes not in (None, axes) or all(x.shape[a] == 1 for a in axes) or x.squeezed:
            raise Untraceable('folds over different axes')
        if self.whole and combine in ('add', 'mul'):  # which are int64
            if self.computed != np.int64:
                raise Narrow('sums of narrow numbers')
            x = self.where(x, 1, 0) if x.dtype == bool else x
        if x.dtype != self.computed:
            raise Untraceable('folds of truth values')
        if len(axes) == x.ndim and not keepdim and x.size > LONG:
            raise Untraceable('one row, which several threads should share')
        self.axes = axes
        shape = tuple(1 if k in axes else n for k, n in enumerate(x.shape))
        folded = self.note(('fold', combine, x.index), shape, self.computed)
        return folded if keepdim else Noted(self, folded.index, tuple(n for k, n in enumerate(shape) if k not in axes),
                                            self.computed, True)

    def sum(self, x, dim=None, keepdim=False, *, dtype=None):
        if dtype is not None:
            raise Untraceable('a sum in another type')
        return self._fold('add', x, dim, keepdim)

    def prod(self, x, dim=None, keepdim=False, *, dtype=None):
        if dtype is not None:
            raise Untraceable('a product in another type')
        return self._fold('mul', x, dim, keepdim)

    def amax(self, x, dim=(), keepdim=False):
        return self._fold('larger', x, dim, keepdim)

    def amin(self, x, dim=(), keepdim=False):
        return self._fold('smaller', x, dim, keepdim)

    def mean(self, x, dim=None, keepdim=False, *, dtype=None):
        if self.whole:
            raise Untraceable('means of whole numbers')
        total = self.sum(x, dim, keepdim, dtype=dtype)
        return total / self.note(('count',), (), self.computed)

    def sum_to_size(self, x, shape):
        """Sums that broadcasting undoes: along rows, or along columns, which only a result may be."""
        axes = tuple(k for k, n in enumerate(shape) if n == 1 and x.shape[k] != 1)
        return BroadcastSum(x, shape, axes) if axes else x

    def settled(self, result):
        """A result, where sums over the axes of the folds are folds, and sums over all others go along columns."""
        if not isinstance(result, BroadcastSum):
            return result
        if result.axes == self.axes:
            return self.sum(result.of, result.axes, True)
        kept = tuple(k for k, n in enumerate(result.of.shape) if n != 1 and k not in (self.axes or ()))
        if self.axes is not None and result.axes != kept:
            raise Untraceable('sums over some of the rows')
        if self.computed.itemsize == 2:
            raise Untraceable('partial sums of half types')
        return result


class BroadcastSum:
    """A result summed over the axes that broadcasting to it had brought."""

    def __init__(self, of, shape, axes):
        self.of, self.shape, self.axes = of, shape, axes


def trace(formula, arguments, computed, widened=False):
    """(program, results, axes folded over) of `formula(m, *arguments)`, where arrays are looked at by shape and dtype.

    Arrays become ('input', position among arrays), floats ('number', position among floats); all else goes in as it is.
    widened: whole numbers of other types become those computed in. Raises Untraceable.
    """
    program = Program(computed)
    given, arrays, numbers = [], 0, 0
    for x in arguments:
        if isinstance(x, np.ndarray):
            kind = program.computed if widened and x.dtype.kind in 'iu' else x.dtype
            if kind not in (program.computed, np.dtype(bool), np.dtype(np.int64)):
                raise Untraceable(f'an array of {x.dtype}')
            given.append(program.note(('input', arrays), x.shape, kind))
            arrays += 1
        elif x.__class__ is float:
            if program.whole:
                raise Untraceable('a fraction among whole numbers')
            given.append(program.note(('number', numbers), (), program.computed))
            numbers += 1
        else:
            given.append(x)
    try:
        results = formula(program, *given)
        if isinstance(results, tuple):
            results = tuple(program.settled(r) for r in results)
        else:
            results = program.settled(results)
    except REFUSALS as error:  # what a formula refuses it refuses again, over arrays
        raise Untraceable(str(error)) from error
    return tuple(program.instructions), results, program.axes
