"""The kernel language: typed programs of structured loops, loads, stores, and scalar or vector values, and their
builder.

A kernel is a `Function` of pointers and numbers. Its body is a list of statements; loops and conditions hold statements
in turn, so a kernel prints as it would be written by hand. A generator writes one through a `Builder`:

    b = Builder('scale', x=pointer(f32), y=pointer(f32), n=i64)
    x, y, n = b.parameters
    with b.loop(0, n, 16) as i:
        b.store(b.load(x + i, f32.vector(16)) * 2.0, y + i)

Values are immutable; what changes is a `Variable` or memory. Knows nothing of devices: `interpreter.py` gives the
meaning, a backend's `render.py` the machine's text.
"""
from __future__ import annotations

import contextlib
import math

from .types import Pointer, Type, boolean, f64, i32, i64

__all__ = ['Builder', 'Function', 'Statement', 'Value', 'Variable', 'C_LIBRARY', 'PURE']

MANY = 1 << 30  # threads: more than there are
FLOAT_ARITHMETIC = 'add sub mul div rem neg fma abs sqrt floor ceil trunc rint copysign'.split()
INTEGER_ARITHMETIC = 'add sub mul div rem neg and or xor shl shr smaller larger abs'.split()
COMPARISONS = 'eq ne lt le gt ge'.split()
C_LIBRARY = 'log log1p exp sin cos tan'.split()  # its functions of a float64 that kernels may call
# statements whose result depends on their operands alone: two equal ones are one
PURE = frozenset([*FLOAT_ARITHMETIC, *INTEGER_ARITHMETIC, *COMPARISONS, 'smaller', 'larger', 'not', 'select', 'convert',
                  'bitcast', 'splat', 'iota', 'extract', 'insert', 'shuffle', 'offset', 'cast', 'reduce', 'scale',
                  'lookup', 'dot', 'library'])


class Statement:
    """One step: `op` on `operands`, with `attributes` fixed at generation and `blocks` of statements inside."""

    __slots__ = ('op', 'operands', 'attributes', 'result', 'blocks')

    def __init__(self, op, operands=(), attributes=None, result=None, blocks=()):
        self.op, self.operands, self.attributes = op, tuple(operands), attributes or {}
        self.result, self.blocks = result, blocks


class Value:
    """An immutable number, vector or address in a kernel. Python's operators write statements."""

    __slots__ = ('builder', 'type', 'name', 'constant')

    def __init__(self, builder, type, name, constant=None):
        self.builder, self.type, self.name, self.constant = builder, type, name, constant

    def __repr__(self):
        return self.name

    def __add__(self, other):
        if self.type.__class__ is Pointer:
            return self.builder.offset(self, other)
        return self.builder.binary('add', self, other)

    def __radd__(self, other):
        return self.builder.binary('add', other, self)

    def __sub__(self, other):
        if self.type.__class__ is Pointer:
            return self.builder.offset(self, -other)
        return self.builder.binary('sub', self, other)

    def __rsub__(self, other):
        return self.builder.binary('sub', other, self)

    def __neg__(self):
        return self.builder.unary('neg', self)

    def __invert__(self):
        return self.builder.unary('not', self)

    __hash__ = object.__hash__


def _operator(op, swapped=False):
    def method(self, other):
        return self.builder.binary(op, other, self) if swapped else self.builder.binary(op, self, other)
    return method


for _name, _op in dict(mul='mul', truediv='div', floordiv='div', mod='rem', lshift='shl', rshift='shr', **{
        'and': 'and', 'or': 'or', 'xor': 'xor'}).items():
    setattr(Value, f'__{_name}__', _operator(_op))
    setattr(Value, f'__r{_name}__', _operator(_op, swapped=True))
for _name in COMPARISONS:
    setattr(Value, f'__{_name}__', _operator(_name))


class Variable:
    """A place for one value that changes while the kernel runs; kept in registers. `get()`, `set(value)`, `add(value)`.
    """

    __slots__ = ('builder', 'type', 'name')

    def __init__(self, builder, type, name):
        self.builder, self.type, self.name = builder, type, name

    def get(self) -> Value:
        return self.builder.emit('get', (), self.type, variable=self)

    def set(self, value):
        value = self.builder.of_type(value, self.type)
        self.builder.emit('set', (value,), None, variable=self)

    def add(self, value):
        self.set(self.get() + value)


class Function:
    """A finished kernel: its name, parameters, result type (None: nothing) and statements; `calls` are others it uses.
    """

    __slots__ = ('name', 'parameters', 'result', 'body', 'calls')

    def __init__(self, name, parameters, result, body, calls):
        self.name, self.parameters, self.result, self.body, self.calls = name, parameters, result, body, calls

    def __str__(self):
        from .printing import text
        return text(self)


class Builder:
    """Writes one kernel. Parameters are given as `name=type` in order, and found in `parameters`."""

    def __init__(self, name, result=None, **parameters):
        self.name, self.result = name, result
        self.count = 0
        self.body = []
        self.blocks = [self.body]   # the block being written is the last
        self.known = [{}]           # pure values already written, per block
        self.calls = {}
        self.parallel_depth = 0
        self.parameters = [Value(self, t, '%' + n) for n, t in parameters.items()]

    def finish(self) -> Function:
        """The kernel written. Raises ValueError where it is not well formed."""
        from .verifier import verify
        function = Function(self.name, tuple(self.parameters), self.result, self.body, self.calls)
        verify(function)
        return function

    # ---- statements

    def emit(self, op, operands=(), type=None, blocks=(), **attributes):
        """Appends a statement. Returns its value, or the equal one written before where the statement is pure."""
        key = None
        if op in PURE:
            key = (op, type, *[(o.type, o.constant) if o.constant is not None else o.name for o in operands],
                   *attributes.items())
            for scope in reversed(self.known):
                if key in scope:
                    return scope[key]
        result = None
        if type is not None:
            result = Value(self, type, f'%.{self.count}')
            self.count += 1
        self.blocks[-1].append(Statement(op, operands, attributes, result, blocks))
        if key is not None:
            self.known[-1][key] = result
        return result

    @contextlib.contextmanager
    def _block(self, statements):
        self.blocks.append(statements)
        self.known.append({})
        try:
            yield
        finally:
            self.blocks.pop()
            self.known.pop()

    @contextlib.contextmanager
    def loop(self, start, stop, step=1):
        """`for i in range(start, stop, step)` over i64 values with step > 0; gives i."""
        start, stop, step = (self.of_type(v, i64) for v in (start, stop, step))
        index = Value(self, i64, f'%i{self.count}')
        self.count += 1
        body = []
        with self._block(body):
            yield index
        self.blocks[-1].append(Statement('loop', (start, stop, step), {'index': index}, None, (body,)))

    @contextlib.contextmanager
    def parallel(self, count, threads=MANY, exclusive=False):
        """Runs its block for chunks 0..count-1 on the threads of the pool in any order; gives the chunk.

        In it `b.thread` is the number of the thread, below `threads`: with more in the pool, one runs all chunks.

        Blocks of different chunks must not write the same memory. Variables of the outside can only be read before it.
        `exclusive`: the kernel changes what no other kernel may see half changed.
        """
        if self.parallel_depth:
            raise ValueError(f'{self.name}: parallel regions do not nest')
        count, threads = self.of_type(count, i64), self.of_type(threads, i64)
        chunk, thread = Value(self, i64, f'%chunk{self.count}'), Value(self, i64, f'%thread{self.count}')
        self.count += 1
        body = []
        self.parallel_depth, self.thread = 1, thread
        known, self.known = self.known, [{}]  # values of outside are captured by name, one by one
        try:
            with self._block(body):
                yield chunk
        finally:
            self.parallel_depth, self.known = 0, known
        self.blocks[-1].append(Statement('parallel', (count, threads),
                                         {'index': chunk, 'thread': thread, 'exclusive': exclusive}, None, (body,)))

    @contextlib.contextmanager
    def when(self, condition):
        """Runs its block where a scalar condition holds."""
        body = []
        with self._block(body):
            yield
        self.blocks[-1].append(Statement('when', (condition,), {}, None, (body, [])))

    @contextlib.contextmanager
    def otherwise(self):
        """The other branch of the `when` just before."""
        statement = self.blocks[-1][-1]
        if statement.op != 'when':
            raise ValueError(f'{self.name}: otherwise() must follow when()')
        with self._block(statement.blocks[1]):
            yield

    @contextlib.contextmanager
    def repeat(self):
        """Runs its block again and again; ended by `b.until(condition)` as the block's last statement."""
        body = []
        with self._block(body):
            yield
        self.blocks[-1].append(Statement('repeat', (), {}, None, (body,)))

    def until(self, condition):
        self.emit('until', (condition,))

    def variable(self, value, type=None) -> Variable:
        """A variable that starts at `value` (a value, or a number with `type`)."""
        value = value if isinstance(value, Value) else self.constant(value, type)
        made = Variable(self, value.type, f'%v{self.count}')
        self.count += 1
        self.emit('variable', (value,), None, variable=made)
        return made

    def buffer(self, type, count) -> Value:
        """The address of `count` numbers on the stack (a constant), aligned to 64 bytes. Not for more than some KB."""
        return self.emit('buffer', (), Pointer(type), count=count)

    def call(self, function, *arguments):
        """Calls another finished kernel of the same module."""
        self.calls[function.name] = function
        arguments = [self.of_type(a, p.type) for a, p in zip(arguments, function.parameters, strict=True)]
        return self.emit('call', arguments, function.result, function=function.name)

    def give(self, value):
        """Ends the kernel with a result; the last statement of the body."""
        self.emit('give', (self.of_type(value, self.result),))

    # ---- values

    def constant(self, number, type) -> Value:
        """A number as a value of a type, the same in all lanes."""
        if type.__class__ is Pointer:
            raise TypeError('an address cannot be a constant')
        if type.kind == 'b':
            number = bool(number)
        elif type.is_float:
            number = float(number)
        elif isinstance(number, float) and not number.is_integer():
            raise TypeError(f'{number} is no value of {type}')
        else:
            number = int(number)
        return Value(self, type, f'{number!r}:{type}', number)

    def of_type(self, value, type) -> Value:
        """A number as a constant of `type`, a scalar as a vector of it; a value of that type as it is."""
        if not isinstance(value, Value):
            return self.constant(value, type)
        if value.type == type:
            return value
        if type.__class__ is Type and type.lanes and value.type == type.scalar:
            return self.splat(value, type.lanes)
        raise TypeError(f'{self.name}: {value} has type {value.type}, {type} is asked for')

    def _matched(self, *values):
        types = [v.type for v in values if isinstance(v, Value)]
        widest = max(types, key=lambda t: t.lanes)
        return [self.of_type(v, widest) for v in values]

    def unary(self, op, x):
        return self.emit(op, (x,), x.type)

    def binary(self, op, x, y):
        x, y = self._matched(x, y)
        if x.constant is not None and y.constant is not None and not x.type.lanes:
            folded = _fold(op, x.constant, y.constant, x.type)
            if folded is not None:
                return self.constant(folded, boolean if op in COMPARISONS else x.type)
        if x.type == i64:
            if y.constant == 0 and op in ('add', 'sub', 'or', 'shl', 'shr') or y.constant == 1 and op in ('mul', 'div'):
                return x
            if x.constant == 0 and op == 'add' or x.constant == 1 and op == 'mul':
                return y
        return self.emit(op, (x, y), boolean.like(x.type) if op in COMPARISONS else x.type)

    def fma(self, x, y, z, exact=False) -> Value:
        """x * y + z rounded once: where the processor can, or if `exact` always."""
        return self.emit('fma', self._matched(x, y, z), self._matched(x, y, z)[0].type,
                         **({'exact': True} if exact else {}))

    def smaller(self, x, y):
        """x < y ? x : y; y where one is nan."""
        return self.binary('smaller', x, y)

    def larger(self, x, y):
        """x > y ? x : y; y where one is nan."""
        return self.binary('larger', x, y)

    def sqrt(self, x):
        return self.unary('sqrt', x)

    def abs(self, x):
        return self.unary('abs', x)

    def rint(self, x):
        """To the nearest whole number, ties to even."""
        return self.unary('rint', x)

    def floor(self, x):
        return self.unary('floor', x)

    def ceil(self, x):
        return self.unary('ceil', x)

    def trunc(self, x):
        return self.unary('trunc', x)

    def copysign(self, x, sign):
        return self.binary('copysign', x, sign)

    def scale(self, x, n):
        """x * 2**n for whole float n, with gradual underflow and overflow to inf."""
        x, n = self._matched(x, n)
        return self.emit('scale', (x, n), x.type)

    def select(self, condition, x, y):
        """x where the condition holds, else y."""
        if not isinstance(x, Value) and not isinstance(y, Value):
            raise TypeError('select needs a value to know the type')
        x, y = self._matched(x, y)
        if condition.type.lanes > x.type.lanes:
            x, y = self.splat(x, condition.type.lanes), self.splat(y, condition.type.lanes)
        return self.emit('select', (condition, x, y), x.type)

    def convert(self, x, type):
        """x as a number of another type (its lanes kept): rounded to nearest; floats to integers toward zero."""
        type = type.like(x.type)
        return x if x.type == type else self.emit('convert', (x,), type)

    def bitcast(self, x, type):
        """The same bits as another type of the same size."""
        return x if x.type == type else self.emit('bitcast', (x,), type)

    def splat(self, x, lanes):
        """A vector of one number."""
        if not isinstance(x, Value):
            raise TypeError('splat needs a value; constant(number, type) makes one')
        if x.type.lanes == lanes:
            return x
        if x.constant is not None:
            return self.constant(x.constant, x.type.vector(lanes))
        return self.emit('splat', (x,), x.type.vector(lanes))

    def iota(self, type):
        """0, 1, 2, ... in the lanes of an integer vector type."""
        return self.emit('iota', (), type)

    def extract(self, x, lane):
        return self.emit('extract', (x,), x.type.scalar, lane=lane)

    def insert(self, x, value, lane):
        return self.emit('insert', (x, self.of_type(value, x.type.scalar)), x.type, lane=lane)

    def shuffle(self, x, y, lanes):
        """Lanes picked from x (0..n-1) and y (n..2n-1) by a tuple of constants."""
        return self.emit('shuffle', (x, y), x.type.vector(len(lanes)), lanes=tuple(lanes))

    def reduce(self, op, x):
        """All lanes combined by add, mul, smaller, larger, and, or, xor in a fixed tree."""
        return self.emit('reduce', (x,), x.type.scalar, combine=op)

    def lookup(self, numbers, index, type):
        """numbers[index] lane by lane, of a tuple of constants whose count is a power of two; the index wraps around.
        """
        return self.emit('lookup', (index,), type.like(index.type), numbers=tuple(numbers))

    def dot(self, x, y, z):
        """z + the products of neighbouring pairs of bfloat16 lanes of x and y, in float32."""
        return self.emit('dot', (x, y, z), z.type)

    def library(self, function, x):
        """A function of the C library, one of `C_LIBRARY`, of one float64."""
        return self.emit('library', (self.of_type(x, f64),), f64, function=function)

    # ---- memory

    def offset(self, pointer, count):
        """The address `count` numbers further."""
        count = self.of_type(count, i64)
        return pointer if count.constant == 0 else self.emit('offset', (pointer, count), pointer.type)

    def cast(self, pointer, type):
        """The same address as one of numbers of another type."""
        return pointer if pointer.type.to == type else self.emit('cast', (pointer,), Pointer(type))

    def load(self, pointer, type=None, mask=None, other=0, align=None):
        """The number at an address, or the vector of `type` from there; lanes whose mask is off give `other`, unread.
        """
        type = pointer.type.to if type is None else type
        operands = (pointer,) if mask is None else (pointer, mask, self.of_type(other, type))
        return self.emit('load', operands, type, align=align)

    def store(self, value, pointer, mask=None, align=None):
        """Writes a number or vector; lanes whose mask is off are left alone."""
        value = value if isinstance(value, Value) else self.constant(value, pointer.type.to)
        if value.type.scalar != pointer.type.to:
            raise TypeError(f'{self.name}: {value.type} cannot be stored to {pointer.type}')
        self.emit('store', (value, pointer) if mask is None else (value, pointer, mask), align=align)

    def prefetch(self, pointer):
        """Asks for the cache line of an address, which need not be valid, before it is read."""
        self.emit('prefetch', (pointer,))

    def gather(self, pointer, index, mask=None, other=0):
        """The numbers at pointer + index, lane by lane; `other` where the mask is off."""
        type = pointer.type.to.vector(index.type.lanes)
        operands = (pointer, index) if mask is None else (pointer, index, mask, self.of_type(other, type))
        return self.emit('gather', operands, type)

    def scatter(self, value, pointer, index, mask=None):
        """Writes lane by lane to pointer + index, in the order of the lanes."""
        self.emit('scatter', (value, pointer, index) if mask is None else (value, pointer, index, mask))

    def first(self, count, lanes):
        """A mask of the first `count` lanes."""
        count = self.of_type(count, i64)
        limit = self.convert(count, i32)
        return self.iota(i32.vector(lanes)) < self.splat(limit, lanes)


def _fold(op, x, y, type):
    if type.kind == 'b' or type.is_float:
        return None
    if op in ('div', 'rem') and y == 0:
        return None
    return {'add': lambda: x + y, 'sub': lambda: x - y, 'mul': lambda: x * y, 'div': lambda: int(x / y)
            if abs(x) < 2**50 else None,
            'rem': lambda: int(math.fmod(x, y)), 'lt': lambda: x < y, 'le': lambda: x <= y, 'gt': lambda: x > y,
            'ge': lambda: x >= y, 'eq': lambda: x == y, 'ne': lambda: x != y, 'shl': lambda: x << y,
            'smaller': lambda: min(x, y), 'larger': lambda: max(x, y)}.get(op, lambda: None)()
