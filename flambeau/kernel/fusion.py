"""Fused kernels: a whole formula over arrays as one pass, with folds over rows and over columns inside.

A formula comes as a `program`: a tuple of instructions whose operands are positions of earlier ones, so that equal
formulas are equal programs. Its arrays are looked at as (O, Q, I): I runs through memory, and a fold, where there is
one, goes over Q and I for each of the O rows; or, upright, over Q alone for each of the O x I columns, which lanes take
side by side. Short rows go sideways: as many as there are lanes are turned round in a buffer, and then are columns.
Instructions:

    ('input', position, along, wide)   an array's element: one for each of a row (along) or for the row; where
                                       neighbours along I are not the same one (wide)
    ('number', position)           a number given at the call
    ('constant', number)
    ('count',)                     how many elements a row has
    ('fold', combine, a)           all of a row combined by add, mul, larger or smaller: one number for each row
    ('hot', a)                     whether an element stands at the place a, one whole number for each row
    (operation, a, b, ...)         see OPERATIONS

Knows neither arrays nor what the formula means.
"""
from __future__ import annotations

from .ir import Builder
from .mathematics import FUNCTIONS
from .tiles import transposed
from .types import Pointer, boolean, f64, i32, i64, named

__all__ = ['EXPENSIVE', 'fused', 'GIVEN', 'OPERATIONS', 'SEVERAL', 'SHORT', 'changes_signs_alone', 'of_bits', 'stages']

GIVEN = ('input', 'number', 'constant', 'count')  # what no arithmetic makes
SEVERAL = frozenset(['fold', 'sigmoid', 'rsqrt', 'sign'])  # what array libraries take longer for, or several functions
SIGNS = {'neg': ('xor', 1), 'abs': ('and', 2)}  # what changes the bits, and with which constant behind the operand
UNROLL = 4
ROOM = 1 << 12  # numbers of a row that are kept beside results of narrower types
SHORT = 63  # elements of rows that may go sideways
EXPENSIVE = frozenset(FUNCTIONS)


def _maximum(b, x, y):
    """The larger, or nan where one is."""
    if not x.type.is_float:
        return b.larger(x, y)
    return b.select(x == x, b.larger(x, y), x)


def _minimum(b, x, y):
    if not x.type.is_float:
        return b.smaller(x, y)
    return b.select(x == x, b.smaller(x, y), x)


def _sign(b, x):
    return b.select(x > 0.0, b.of_type(1.0, x.type), b.select(x < 0.0, b.of_type(-1.0, x.type), b.of_type(0.0, x.type)))


OPERATIONS = {
    'add': lambda b, x, y: x + y, 'sub': lambda b, x, y: x - y, 'mul': lambda b, x, y: x * y,
    'div': lambda b, x, y: x / y, 'neg': lambda b, x: -x,
    'sqrt': lambda b, x: b.sqrt(x), 'rsqrt': lambda b, x: 1.0 / b.sqrt(x), 'floor': lambda b, x: b.floor(x),
    'ceil': lambda b, x: b.ceil(x), 'trunc': lambda b, x: b.trunc(x), 'rint': lambda b, x: b.rint(x),
    'abs': lambda b, x: x if x.type.kind == 'u' else b.abs(x), 'maximum': _maximum, 'minimum': _minimum, 'sign': _sign,
    'where': lambda b, c, x, y: b.select(c, x, y), 'copysign': lambda b, x, y: b.copysign(x, y),
    'eq': lambda b, x, y: x == y, 'ne': lambda b, x, y: x != y, 'lt': lambda b, x, y: x < y,
    'le': lambda b, x, y: x <= y, 'gt': lambda b, x, y: x > y, 'ge': lambda b, x, y: x >= y,
    'and': lambda b, x, y: x & y, 'or': lambda b, x, y: x | y, 'xor': lambda b, x, y: x ^ y, 'not': lambda b, x: ~x,
    'shl': lambda b, x, y: x << y, 'shr': lambda b, x, y: x >> y, **FUNCTIONS,
}
COMBINE = {'add': OPERATIONS['add'], 'mul': OPERATIONS['mul'], 'larger': _maximum, 'smaller': _minimum}


def identity(how, kind):
    """The number that a fold of numbers of a type starts from."""
    if how in ('add', 'mul'):
        return int(how == 'mul')
    if kind.is_float:
        return float('-inf') if how == 'larger' else float('inf')
    least = -2 ** (kind.bits - 1) if kind.kind == 'i' else 0
    return least if how == 'larger' else least + 2 ** kind.bits - 1


def stages(program):
    """(stage of each instruction, whether it varies along a row): a fold's value is there a stage after its operand's.
    """
    stage, varies = [], []
    for op, *operands in program:
        if op in GIVEN:
            stage.append(0)
            varies.append(op == 'input' and operands[1])
        elif op == 'fold':
            stage.append(stage[operands[1]] + 1)
            varies.append(False)
        else:
            stage.append(max(stage[a] for a in operands))
            varies.append(op == 'hot' or any(varies[a] for a in operands))
    return stage, varies


def changes_signs_alone(program) -> bool:
    """Whether a program does nothing to numbers but change their signs."""
    return all(op in ('input', *SIGNS) for op, *_ in program)


def of_bits(program):
    """Such a program of half types as one of their bits: three instructions for each."""
    made = []
    for op, *operands in program:
        if op == 'input':
            made.append((op, *operands))
        else:
            change, number = SIGNS[op]
            made.append((change, 3 * operands[0], 3 * operands[0] + number))
        made += [('constant', float(0x8000)), ('constant', float(0x7FFF))]
    return tuple(made)


def fused(target, program, dtypes, outputs, computed, numbers, way='along', split=False, room=False):
    """The kernel of a program.

    dtypes: of the arrays in. outputs: (instruction, 'full' | 'row' | 'column', dtype) each; 'column' sums over the rows
    of a chunk, into a row of its own for each chunk. computed: the dtype that is computed in. numbers: how many come
    in. Parameters: arrays in and out; numbers; O, Q, I, rows of a chunk, elements of a block of I, and for each array
    its strides along O and Q. Where O is `split` in two, the size of its inner part comes too, and for each array its
    stride along the outer part. `room`: rows have at most ROOM numbers, and costly ones that no result's memory can
    hold are kept on the stack.
    """
    return WAYS[way](target, program, dtypes, outputs, named(computed), numbers, split, room).write()


class _Fusion:
    def __init__(self, target, program, dtypes, outputs, computed, numbers, split, room):
        self.room = room
        self.program, self.outputs, self.computed = program, outputs, computed
        self.lanes = target.lanes(computed)
        arrays = [named(d) for d in dtypes] + [named(d) for _, _, d in outputs]
        self.arrays = len(arrays)
        self.inputs = len(dtypes)
        parameters = {f'a{k}': Pointer(t) for k, t in enumerate(arrays)}
        parameters |= {f'number{k}': f64 for k in range(numbers)}
        parameters |= dict.fromkeys(('rows', 'middle', 'inner', 'group', 'block'), i64)
        parameters |= {f's{k}{c}': i64 for k in range(self.arrays) for c in 'oq'}
        parameters |= dict.fromkeys(['part', *[f's{k}p' for k in range(self.arrays)]] if split else (), i64)
        self.b = Builder('fused', **parameters)
        p = self.b.parameters
        self.pointers, p = p[:self.arrays], p[self.arrays:]
        self.numbers, p = p[:numbers], p[numbers:]
        self.rows, self.middle, self.inner, self.group, self.block = p[:5]
        p = p[5:]
        self.strides = list(zip(p[:2 * self.arrays:2], p[1:2 * self.arrays:2]))
        self.part, self.outer_strides = (p[2 * self.arrays], p[2 * self.arrays + 1:]) if split else (None, ())
        self.stage, self.varies = stages(program)
        self.last = max((self.stage[k] for k, _, _ in outputs), default=0)
        self.kept = self._kept()

    def _kept(self):
        """{costly value that a later stage needs: the output whose memory holds it until then, None: the stack}."""
        last_use = {}

        def visit(k, stage):
            op, *operands = self.program[k]
            if self.varies[k]:
                last_use[k] = max(stage, last_use.get(k, 0))
                if op != 'input':
                    for a in operands:
                        visit(a, stage)
        for op, *operands in self.program:
            if op == 'fold':
                visit(operands[1], self.stage[operands[1]])
        for k, kind, _ in self.outputs:
            if kind != 'row':
                visit(k, self.stage[k])
        free = [k for k, (_, kind, dtype) in enumerate(self.outputs)
                if kind == 'full' and named(dtype) == self.computed]
        kept = {}
        for k, use in last_use.items():
            if self.program[k][0] in EXPENSIVE and use > self.stage[k]:
                home = next((o for o in free if self.stage[self.outputs[o][0]] >= use), None)
                if home is not None:
                    free.remove(home)
                if home is not None or self.room:
                    kept[k] = home
        return kept

    def _home(self, k, row, q):
        """Where the row of a value that is kept begins."""
        if self.kept[k] is None:
            return self.stack[k] + q * self.inner
        return self._address(self.inputs + self.kept[k], row, q)

    def write(self):
        b = self.b
        blocks = (self.inner + self.block - 1) / self.block
        groups = (self.rows + self.group - 1) / self.group
        with b.parallel(groups * blocks) as chunk:
            first = chunk / blocks * self.group
            begin = chunk % blocks * self.block
            end = b.smaller(begin + self.block, self.inner)
            self.chunk = chunk
            self.stack = {k: b.buffer(self.computed, ROOM) for k, home in self.kept.items() if home is None}
            for k, (_, kind, _) in enumerate(self.outputs):
                if kind == 'column':
                    self._clear(self._address(self.inputs + k, chunk, None), begin, end)
            with b.loop(first, b.smaller(first + self.group, self.rows)) as row:
                self._row(row, begin, end)
        return b.finish()

    def _clear(self, pointer, begin, end):
        """Zeros in a row of column sums."""
        b = self.b
        zero = b.constant(0.0, self.computed.vector(self.lanes))
        full = end - (end - begin) % self.lanes
        with b.loop(begin, full, self.lanes) as i:
            b.store(zero, pointer + i)
        with b.loop(full, end) as i:
            b.store(b.constant(0.0, self.computed), pointer + i)

    def _address(self, array, row, q):
        along_o, along_q = self.strides[array]
        if self.part is None:
            pointer = self.pointers[array] + row * along_o
        else:
            outer = row / self.part
            pointer = self.pointers[array] + (outer * self.outer_strides[array] + (row - outer * self.part) * along_o)
        return pointer if q is None else pointer + q * along_q

    # ---- a row

    def _row(self, row, begin, end):
        values = {}
        for stage in range(self.last + 1):
            self._single_values(stage, row, values)
            folds, written, keeps = self._work(stage)
            if folds or written or keeps:
                self._pass(stage, row, begin, end, values, folds, written, keeps)
        self._single_values(self.last + 1, row, values)
        for k, (node, kind, _) in enumerate(self.outputs):
            if kind == 'row':
                value = self.b.convert(self._rounded(values[node]), self.pointers[self.inputs + k].type.to)
                self.b.store(value, self._address(self.inputs + k, row, None))

    def _work(self, stage):
        """({fold: (how, operand)}, [(position, output) written], [values kept]) of a pass."""
        folds = {k: operands for k, (op, *operands) in enumerate(self.program)
                 if op == 'fold' and self.stage[operands[1]] == stage}
        written = [(k, o) for k, o in enumerate(self.outputs) if o[1] != 'row' and self.stage[o[0]] == stage]
        return folds, written, [k for k in self.kept if self.stage[k] == stage]

    def _rounded(self, value):
        """A number, which is kept in float64 among numbers, in the dtype that is computed in."""
        if value.type.kind == 'b' or value.type == self.computed:
            return value
        if value.constant is not None:
            return self.b.constant(value.constant, self.computed)
        return self.b.convert(value, self.computed)

    def _given(self, op, operands, count):
        if op == 'number':
            return self.numbers[operands[0]]
        return self.b.constant(operands[0], f64) if op == 'constant' else self.b.convert(count, f64)

    def _single_values(self, stage, row, values):
        """What is one number for the whole row, and known at this stage."""
        for k, (op, *operands) in enumerate(self.program):
            if k in values or self.varies[k] or self.stage[k] > stage or op == 'fold':
                continue
            if op == 'input':
                loaded = self.b.load(self._address(operands[0], row, None))
                values[k] = self.b.convert(loaded, self.computed) if loaded.type.is_float else loaded
            elif op in GIVEN:
                values[k] = self._given(op, operands, self.middle * self.inner)
            elif all(a in values for a in operands):
                given = [values[a] for a in operands]
                if not all(v.type in (f64, boolean) for v in given):
                    given = [self._rounded(v) for v in given]
                values[k] = OPERATIONS[op](self.b, *given)

    def _pass(self, stage, row, begin, end, values, folds, written, keeps):
        """One pass over a row: folds what this stage folds, writes what it can write."""
        b, lanes = self.b, self.lanes
        kind = self.computed.vector(lanes)
        sums = {k: [b.variable(identity(how, kind), kind) for _ in range(UNROLL)] for k, (how, _) in folds.items()}
        wide = end - (end - begin) % (lanes * UNROLL)
        full = end - (end - begin) % lanes

        def body(q, i, part, mask):
            known = self._keep(keeps, row, q, i, values, stage, mask)
            for k, (how, operand) in folds.items():
                x = self._element(operand, row, q, i, values, known, stage, mask)
                if mask is not None:
                    x = b.select(mask, x, b.constant(identity(how, kind), kind))
                sums[k][part].set(COMBINE[how](b, sums[k][part].get(), x))
            results = [self._element(node, row, q, i, values, known, stage, mask) for _, (node, _, _) in written]
            for (k, (_, what, _)), x in zip(written, results):  # written last: a result may lie where an input did
                if what == 'column':
                    pointer = self._address(self.inputs + k, self.chunk, None) + i
                    old = b.load(pointer, kind) if mask is None else b.load(pointer, kind, mask=mask)
                    b.store(old + x, pointer, mask=mask)
                else:
                    self._store(self.inputs + k, x, row, q, i, mask)
        with b.loop(0, self.middle) as q:
            with b.loop(begin, wide, lanes * UNROLL) as i:
                for part in range(UNROLL):
                    body(q, i + part * lanes, part, None)
            with b.loop(wide, full, lanes) as i:
                body(q, i, 0, None)
            with b.when(full < end):
                body(q, full, 0, b.first(end - full, lanes))
        for k, (how, _) in folds.items():
            parts = [v.get() for v in sums[k]]
            while len(parts) > 1:
                parts = [COMBINE[how](b, x, y) for x, y in zip(parts[::2], parts[1::2])]
            values[k] = b.reduce(how, parts[0])

    def _keep(self, keeps, row, q, i, values, stage, mask):
        """{instruction: vector} of values that later stages read again from where they are stored here."""
        known = {}
        for k in keeps:
            known[k] = self._element(k, row, q, i, values, known, stage, mask)
            self.b.store(known[k], self._home(k, row, q) + i, mask=mask)
        return known

    def _store(self, array, x, row, q, i, mask):
        pointer = self._address(array, row, q) + i
        kind = pointer.type.to
        self.b.store(self.b.convert(x, kind), pointer, mask=mask)

    def _element(self, k, row, q, i, values, known, stage, mask):
        """The value of an instruction at (row, q, i), as a vector."""
        if k in known:
            return known[k]
        b = self.b
        op, *operands = self.program[k]
        if not self.varies[k]:
            made = b.splat(self._rounded(values[k]), self.lanes)
        elif op == 'input':
            made = self._loaded(self._address(operands[0], row, q), operands[2], i, mask)
        elif k in self.kept and self.stage[k] < stage:
            made = self._loaded(self._home(k, row, q), True, i, mask)
        elif op == 'hot':
            places = b.iota(i32.vector(self.lanes)) + b.splat(b.convert(i, i32), self.lanes)
            made = places == b.splat(b.convert(values[operands[0]], i32), self.lanes)
        else:
            made = OPERATIONS[op](b, *[self._element(a, row, q, i, values, known, stage, mask) for a in operands])
        known[k] = made
        return made

    def _loaded(self, pointer, wide, i, mask):
        """A vector of numbers side by side, or of one number where not `wide`, in the dtype that is computed in."""
        if not wide:
            loaded = self.b.load(pointer)
            return self.b.splat(self.b.convert(loaded, self.computed) if loaded.type.is_float else loaded, self.lanes)
        kind = pointer.type.to.vector(self.lanes)
        loaded = self.b.load(pointer + i, kind) if mask is None else self.b.load(pointer + i, kind, mask=mask)
        return loaded if kind.kind == 'b' else self.b.convert(loaded, self.computed)


class _Upright(_Fusion):
    """Folds over Q for some vectors of columns at a time: what is one number for a row is a vector here."""

    def write(self):
        b, lanes = self.b, self.lanes
        blocks = (self.inner + self.block - 1) / self.block
        with b.parallel(self.rows * blocks) as chunk:
            row, begin = chunk / blocks, chunk % blocks * self.block
            end = b.smaller(begin + self.block, self.inner)
            wide = end - (end - begin) % (lanes * UNROLL)
            with b.loop(begin, wide, lanes * UNROLL) as i:
                self._strip(row, [i + part * lanes for part in range(UNROLL)], None)
            with b.loop(wide, end, lanes) as i:
                self._strip(row, [i], b.first(end - i, lanes))
        return b.finish()

    def _strip(self, row, places, mask):
        """Vectors of columns at `places`, from the first stage to the last."""
        columns = [{} for _ in places]
        for stage in range(self.last + 2):
            for i, values in zip(places, columns):
                self._column_values(stage, row, i, mask, values)
            if stage <= self.last:
                self._pass_down(stage, row, places, mask, columns)
        for k, (node, kind, _) in enumerate(self.outputs):
            if kind == 'row':
                for i, values in zip(places, columns):
                    self._store(self.inputs + k, values[node], row, None, i, mask)

    def _column_values(self, stage, row, i, mask, values):
        """What is one number for a column, and known at this stage."""
        b, lanes = self.b, self.lanes
        for k, (op, *operands) in enumerate(self.program):
            if k in values or self.varies[k] or self.stage[k] > stage or op == 'fold':
                continue
            if op == 'input':
                values[k] = self._of_column(operands[0], row, operands[2], i, mask)
            elif op in GIVEN:
                values[k] = b.splat(self._rounded(self._given(op, operands, self.middle)), lanes)
            elif all(a in values for a in operands):
                values[k] = OPERATIONS[op](b, *[values[a] for a in operands])

    def _of_column(self, array, row, wide, i, mask):
        return self._loaded(self._address(array, row, None), wide, i, mask)

    def _pass_down(self, stage, row, places, mask, columns):
        """One pass down the columns: folds what this stage folds, writes what it can write."""
        b, kind = self.b, self.computed.vector(self.lanes)
        folds, written, keeps = self._work(stage)
        if not (folds or written or keeps):
            return
        sums = [{k: b.variable(identity(how, kind), kind) for k, (how, _) in folds.items()} for _ in places]
        with b.loop(0, self.middle) as q:
            for i, values, totals in zip(places, columns, sums):
                known = self._keep(keeps, row, q, i, values, stage, mask)
                for k, (how, operand) in folds.items():
                    x = self._element(operand, row, q, i, values, known, stage, mask)
                    totals[k].set(COMBINE[how](b, totals[k].get(), x))
                results = [self._element(node, row, q, i, values, known, stage, mask) for _, (node, _, _) in written]
                for (k, _), x in zip(written, results):
                    self._store(self.inputs + k, x, row, q, i, mask)
        for values, totals in zip(columns, sums):
            values.update((k, total.get()) for k, total in totals.items())

    def _element(self, k, row, q, i, values, known, stage, mask):
        return super()._element(k, row, q, i, values, known, stage, mask) if self.varies[k] else values[k]


class _Sideways(_Upright):
    """Folds over short rows, whose elements come to lie one behind another in buffers; there is but one Q."""

    def write(self):
        b, lanes = self.b, self.lanes
        read = dict.fromkeys(operands[0] for op, *operands in self.program if op == 'input' and operands[1])
        written = [self.inputs + k for k, (_, kind, _) in enumerate(self.outputs) if kind == 'full']
        self.middle = self.inner
        with b.parallel((self.rows + self.group - 1) / self.group) as chunk:
            self.tiles = {k: b.buffer(self.computed, (SHORT + lanes) * lanes) for k in (*read, *written)}
            end = b.smaller(chunk * self.group + self.group, self.rows)
            with b.loop(chunk * self.group, end, lanes) as row:
                count = b.smaller(end - row, lanes)
                for k in read:
                    self._turn(k, row, count, True)
                self._strip(row, [b.of_type(0, i64)], b.first(count, lanes))
                for k in written:
                    self._turn(k, row, count, False)
        return b.finish()

    def _turn(self, array, row, count, into):
        """Turns rows into a buffer of columns, or back."""
        b, lanes, tile = self.b, self.lanes, self.tiles[array]
        rows = [super(_Sideways, self)._address(array, row + b.smaller(count - 1, k), None) for k in range(lanes)]
        with b.loop(0, self.inner, lanes) as column:
            mask = b.first(b.smaller(self.inner - column, lanes), lanes)
            places = [tile + (column + k) * lanes for k in range(lanes)]
            if into:
                read = [b.load(row + column, self.computed.vector(lanes), mask=mask) for row in rows]
                for place, x in zip(places, transposed(b, read)):
                    b.store(x, place)
            else:
                turned = transposed(b, [b.load(place, self.computed.vector(lanes)) for place in places])
                for k, (own, x) in enumerate(zip(rows, turned)):
                    with b.when(count > k):
                        b.store(x, own + column, mask=mask)

    def _address(self, array, row, q):
        return super()._address(array, row, None) if q is None else self.tiles[array] + q * self.lanes

    def _of_column(self, array, row, wide, i, mask):
        """One number of each row."""
        b = self.b
        step = b.splat(b.convert(self.strides[array][0], i32), self.lanes)
        loaded = b.gather(self._address(array, row, None), b.iota(i32.vector(self.lanes)) * step, mask=mask)
        return b.convert(loaded, self.computed) if loaded.type.is_float else loaded


WAYS = {'along': _Fusion, 'upright': _Upright, 'sideways': _Sideways}
