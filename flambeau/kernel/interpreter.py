"""What kernels mean: runs a kernel on NumPy arrays, statement by statement. Slow and plain; knows the language only.

An address is a pair (bytes of an array, offset in bytes); a vector is a NumPy array of its lanes.
"""
from __future__ import annotations

import numpy as np

from .types import Pointer

__all__ = ['interpret']

DTYPES = {'bool': np.dtype(bool), 'f16': np.dtype('float16'), 'f32': np.dtype('float32'), 'f64': np.dtype('float64'),
          **{f'{k}{n}': np.dtype(f'{k}{n // 8}') for k in 'iu' for n in (8, 16, 32, 64)}}
BINARY = {
    'add': np.add, 'sub': np.subtract, 'mul': np.multiply, 'and': np.bitwise_and, 'or': np.bitwise_or,
    'xor': np.bitwise_xor,
    'shl': np.left_shift, 'shr': np.right_shift, 'eq': np.equal, 'ne': np.not_equal, 'lt': np.less, 'le': np.less_equal,
    'gt': np.greater, 'ge': np.greater_equal, 'copysign': np.copysign, 'smaller': lambda x, y: np.where(x < y, x, y),
    'larger': lambda x, y: np.where(x > y, x, y), 'scale': lambda x,
    n: np.ldexp(x, np.clip(n, -5000, 5000).astype(np.int32))}
UNARY = {'neg': np.negative, 'abs': np.abs, 'sqrt': np.sqrt, 'floor': np.floor, 'ceil': np.ceil, 'trunc': np.trunc,
         'rint': np.rint, 'not': np.invert}
REDUCTIONS = {'add': np.add, 'mul': np.multiply, 'larger': np.maximum, 'smaller': np.minimum, 'and': np.bitwise_and,
              'or': np.bitwise_or, 'xor': np.bitwise_xor}


def dtype_of(type):
    if repr(type.scalar) == 'bf16':
        import ml_dtypes
        return np.dtype(ml_dtypes.bfloat16)
    return DTYPES[repr(type.scalar)]


def interpret(function, *arguments):
    """Runs a kernel: arrays (contiguous, or None) for addresses, numbers for the rest. Returns what it gives."""
    values = {}
    for parameter, given in zip(function.parameters, arguments, strict=True):
        if parameter.type.__class__ is Pointer:
            values[parameter.name] = None if given is None else (given.reshape(-1).view(np.uint8), 0)
        else:
            values[parameter.name] = dtype_of(parameter.type).type(given)
    with np.errstate(all='ignore'):
        return _Run(function, values).block(function.body)


class _Run:
    """One call of a kernel: the values made so far, by name, and its variables."""

    def __init__(self, function, values):
        self.function, self.values, self.variables = function, values, {}

    def value(self, v):
        if v.constant is None:
            return self.values[v.name]
        kind = dtype_of(v.type)
        return np.full(v.type.lanes, v.constant, kind) if v.type.lanes else kind.type(v.constant)

    def block(self, statements):
        for s in statements:
            if s.op == 'give':
                return self.value(s.operands[0])
            operands = [self.value(o) for o in s.operands]
            method = getattr(self, '_' + s.op, None)
            made = method(s, *operands) if method else self._plain(s, operands)
            if s.result is not None:
                self.values[s.result.name] = self._typed(made, s.result.type)
        return None

    def _typed(self, made, type):
        if type.__class__ is Pointer:
            return made
        return np.asarray(made).astype(dtype_of(type)) if type.lanes else dtype_of(type).type(made)

    def _plain(self, s, operands):
        if s.op in BINARY:
            return BINARY[s.op](*operands)
        if s.op in UNARY:
            return UNARY[s.op](*operands)
        raise ValueError(f'{s.op} has no meaning')

    # ---- values

    def _div(self, s, x, y):
        return x / y if s.result.type.is_float else np.trunc(np.divide(x, y, dtype=np.longdouble)).astype(x.dtype)

    def _rem(self, s, x, y):
        return np.fmod(x, y)

    def _fma(self, s, x, y, z):
        return np.asarray(x, np.longdouble) * y + z

    def _select(self, s, condition, x, y):
        return np.where(condition, x, y)

    def _convert(self, s, x):
        kind = dtype_of(s.result.type)
        return np.asarray(x) != 0 if kind == bool else np.asarray(x).astype(kind)

    def _bitcast(self, s, x):
        return np.asarray(x).view(dtype_of(s.result.type))

    def _splat(self, s, x):
        return np.full(s.result.type.lanes, x)

    def _iota(self, s):
        return np.arange(s.result.type.lanes)

    def _extract(self, s, x):
        return x[s.attributes['lane']]

    def _insert(self, s, x, value):
        x = x.copy()
        x[s.attributes['lane']] = value
        return x

    def _shuffle(self, s, x, y):
        return np.concatenate([x, y])[list(s.attributes['lanes'])]

    def _reduce(self, s, x):
        return REDUCTIONS[s.attributes['combine']].reduce(x, dtype=x.dtype)

    def _lookup(self, s, index):
        numbers = np.array(s.attributes['numbers'])
        return numbers[index & (len(numbers) - 1)]

    def _dot(self, s, x, y, z):
        return z + (x.astype(np.float32) * y.astype(np.float32)).reshape(-1, 2).sum(1)

    def _library(self, s, x):
        return getattr(np, s.attributes['function'])(x)

    # ---- memory

    def _place(self, pointer, type):
        """The array of numbers from an address on."""
        memory, offset = pointer
        kind = dtype_of(type)
        if not 0 <= offset <= memory.size:
            raise IndexError(f'kernel {self.function.name} looks {offset} bytes into {memory.size}')
        whole = (memory.size - offset) // kind.itemsize * kind.itemsize
        return memory[offset:offset + whole].view(kind)

    def _offset(self, s, pointer, count):
        return pointer[0], pointer[1] + int(count) * dtype_of(s.operands[0].type.to).itemsize

    def _cast(self, s, pointer):
        return pointer

    def _buffer(self, s):
        return np.zeros(s.attributes['count'] * dtype_of(s.result.type.to).itemsize, np.uint8), 0

    def _load(self, s, pointer, mask=None, other=None):
        kind = s.result.type
        if mask is None:
            place = self._place(pointer, kind)
            return place[:kind.lanes].copy() if kind.lanes else place[0]
        made = other.copy()
        lanes = np.flatnonzero(mask)
        if lanes.size:
            made[lanes] = self._place(pointer, kind)[lanes]
        return made

    def _store(self, s, value, pointer, mask=None):
        place = self._place(pointer, s.operands[0].type) if mask is None or mask.any() else None
        if mask is not None:
            lanes = np.flatnonzero(mask)
            if lanes.size:
                place[lanes] = value[lanes]
        elif s.operands[0].type.lanes:
            place[:len(value)] = value
        else:
            place[0] = value

    def _prefetch(self, s, pointer):
        pass

    def _gather(self, s, pointer, index, mask=None, other=None):
        made = np.zeros(len(index), dtype_of(s.result.type)) if other is None else other.copy()
        for lane, i in enumerate(index):
            if mask is None or mask[lane]:
                made[lane] = self._place(self._moved(pointer, i, s.result.type), s.result.type)[0]
        return made

    def _scatter(self, s, value, pointer, index, mask=None):
        kind = s.operands[0].type
        for lane, i in enumerate(index):
            if mask is None or mask[lane]:
                self._place(self._moved(pointer, i, kind), kind)[0] = value[lane]

    def _moved(self, pointer, count, type):
        return pointer[0], pointer[1] + int(count) * dtype_of(type).itemsize

    def _variable(self, s, value):
        self.variables[s.attributes['variable'].name] = value

    def _get(self, s):
        return self.variables[s.attributes['variable'].name]

    def _set(self, s, value):
        self.variables[s.attributes['variable'].name] = value

    # ---- control

    def _loop(self, s, start, stop, step):
        for i in range(int(start), int(stop), int(step)):
            self.values[s.attributes['index'].name] = np.int64(i)
            self.block(s.blocks[0])

    def _parallel(self, s, count, threads):
        self.values[s.attributes['thread'].name] = np.int64(0)
        for chunk in range(int(count)):
            self.values[s.attributes['index'].name] = np.int64(chunk)
            self.block(s.blocks[0])

    def _when(self, s, condition):
        self.block(s.blocks[0] if condition else s.blocks[1])

    def _repeat(self, s):
        while True:
            self.block(s.blocks[0][:-1])
            if self.value(s.blocks[0][-1].operands[0]):
                return

    def _call(self, s, *arguments):
        function = self.function.calls[s.attributes['function']]
        values = {p.name: a for p, a in zip(function.parameters, arguments)}
        return _Run(function, values).block(function.body)
