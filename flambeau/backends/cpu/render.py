"""LLVM's text for kernels of the kernel language. Knows the processor's features, and no operation."""
from __future__ import annotations

import functools
import struct

import numpy as np

from ...kernel.types import Pointer, f32, i32

__all__ = ['module_text']

INTEGER = {'add': 'add', 'sub': 'sub', 'mul': 'mul', 'and': 'and', 'or': 'or', 'xor': 'xor', 'shl': 'shl'}
FLOAT = {'add': 'fadd', 'sub': 'fsub', 'mul': 'fmul', 'div': 'fdiv', 'rem': 'frem'}
FLOAT_COMPARE = {'eq': 'oeq', 'ne': 'une', 'lt': 'olt', 'le': 'ole', 'gt': 'ogt', 'ge': 'oge'}
FLOAT_FUNCTIONS = {'abs': 'fabs', 'sqrt': 'sqrt', 'floor': 'floor', 'ceil': 'ceil', 'trunc': 'trunc',
                   'rint': 'roundeven', 'copysign': 'copysign'}


@functools.lru_cache(maxsize=None)
def llvm(type) -> str:
    """A type as LLVM writes it."""
    if type is None:
        return 'void'
    if type.__class__ is Pointer:
        return 'ptr'
    name = {'f16': 'half', 'bf16': 'bfloat', 'f32': 'float', 'f64': 'double'}.get(repr(type.scalar))
    name = name or ('i1' if type.kind == 'b' else f'i{type.bits}')
    return f'<{type.lanes} x {name}>' if type.lanes else name


def suffix(type) -> str:
    """A type in the name of an intrinsic."""
    name = {'f': 'f', 'bf': 'bf', 'b': 'i'}.get(type.kind, 'i') + str(type.bits)
    return f'v{type.lanes}{name}' if type.lanes else name


def number(value, type) -> str:
    """A constant as LLVM writes it."""
    if type.kind == 'b':
        return 'true' if value else 'false'
    if not type.is_float:
        return str(value)
    if type.bits == 64:
        return f'0x{struct.unpack("<Q", struct.pack("<d", value))[0]:016X}'
    if type.bits == 32:
        with np.errstate(over='ignore'):
            value = float(np.float32(value))
        return f'0x{struct.unpack("<Q", struct.pack("<d", value))[0]:016X}'
    if type.kind == 'f':
        with np.errstate(over='ignore'):
            return f'0xH{struct.unpack("<H", np.float16(value).tobytes())[0]:04X}'
    import ml_dtypes
    return f'0xR{struct.unpack("<H", np.asarray(value, ml_dtypes.bfloat16).tobytes())[0]:04X}'


def module_text(functions, target, entry=None) -> str:
    """A module of kernels and all they call; `entry` is the text of an entry point to add."""
    declared, done, texts = {}, {}, []

    def render(function):
        if function.name not in done:
            done[function.name] = True
            for callee in function.calls.values():
                render(callee)
            texts.extend(FunctionText(function, target, declared).texts())
    for function in functions:
        render(function)
    if entry is not None:
        texts.append(entry)
    return '\n'.join([*dict.fromkeys(declared.values()), *texts, ''])


class FunctionText:
    """One kernel's text, and that of its parallel regions, which become functions of their own."""

    def __init__(self, function, target, declared):
        self.function, self.target, self.declared = function, target, declared
        self.regions = []
        self.labels = 0

    def texts(self):
        f = self.function
        head = ', '.join(f'{llvm(p.type)} {p.name}' for p in f.parameters)
        self.linkage = '' if f.name.startswith('kernel_') else 'internal '
        body = self._body(f.body)
        if f.result is None:
            body.append('  ret void')
        return [*self.regions, f'define {self.linkage}{llvm(f.result)} @{f.name}({head}) nounwind {{\nentry:\n'
                + '\n'.join(body) + '\n}']

    def _body(self, statements):
        self.entry, self.lines = [], []
        self._block(statements)
        return self.entry + self.lines

    def _block(self, statements):
        for s in statements:
            self._statement(s)

    # ---- names

    def name(self, value):
        """A value without its type."""
        if value.constant is not None:
            t = value.type
            text = number(value.constant, t.scalar)
            return f'splat ({llvm(t.scalar)} {text})' if t.lanes else text
        return value.name

    def typed(self, value):
        return f'{llvm(value.type)} {self.name(value)}'

    def label(self, what):
        self.labels += 1
        return f'{what}{self.labels}'

    def fresh(self):
        self.labels += 1
        return f'%t{self.labels}'

    def line(self, text):
        self.lines.append('  ' + text)

    def intrinsic(self, name, result, *operands, flags=''):
        """The text of a call of an LLVM function, which is declared."""
        kinds = ', '.join(llvm(o.type) if not isinstance(o, str) else o.split(' ')[0] if not o.startswith('<')
                          else o[:o.index('>') + 1] for o in operands)
        self.declared[name] = f'declare {llvm(result)} @{name}({kinds})'
        given = ', '.join(self.typed(o) if not isinstance(o, str) else o for o in operands)
        return f'call {flags}{llvm(result)} @{name}({given})'

    # ---- statements

    def _statement(self, s):
        method = getattr(self, '_' + s.op, None)
        if method is not None:
            text = method(s, *s.operands)
        else:
            text = self._arithmetic(s)
        if text is not None:
            self.line(text if s.result is None else f'{s.result.name} = {text}')

    def _arithmetic(self, s):
        x, kind = s.operands[0], s.operands[0].type
        rest = ', '.join([self.typed(x), *(self.name(o) for o in s.operands[1:])])
        if s.op in FLOAT_COMPARE:
            if kind.is_float:
                return f'fcmp {FLOAT_COMPARE[s.op]} {rest}'
            sign = '' if s.op in ('eq', 'ne') else 's' if kind.kind == 'i' else 'u'
            return f'icmp {sign}{s.op} {rest}'
        if kind.is_float:
            if s.op in FLOAT:
                return f'{FLOAT[s.op]} {rest}'
            if s.op == 'neg':
                return f'fneg {self.typed(x)}'
            return self.intrinsic(f'llvm.{FLOAT_FUNCTIONS[s.op]}.{suffix(kind)}', kind, *s.operands)
        if s.op in INTEGER:
            return f'{INTEGER[s.op]} {rest}'
        signed = kind.kind == 'i'
        if s.op in ('div', 'rem'):
            return f'{"s" if signed else "u"}{s.op} {rest}'
        if s.op == 'shr':
            return f'{"ashr" if signed else "lshr"} {rest}'
        if s.op == 'neg':
            return f'sub {llvm(kind)} {"zeroinitializer" if kind.lanes else 0}, {self.name(x)}'
        if s.op == 'abs':
            return self.intrinsic(f'llvm.abs.{suffix(kind)}', kind, x, 'i1 false')
        raise ValueError(f'{s.op} of {kind} has no text')

    def _fma(self, s, x, y, z):
        name = 'fma' if 'fma' in self.target.features or 'exact' in s.attributes else 'fmuladd'
        return self.intrinsic(f'llvm.{name}.{suffix(x.type)}', x.type, x, y, z)

    def _choice(self, s, x, y, less):
        if not x.type.is_float:
            sign = 's' if x.type.kind == 'i' else 'u'
            return self.intrinsic(f'llvm.{sign}{"min" if less else "max"}.{suffix(x.type)}', x.type, x, y)
        flag = self._made(f'fcmp {"olt" if less else "ogt"} {self.typed(x)}, {self.name(y)}')
        return f'select {self._truth(x.type)} {flag}, {self.typed(x)}, {self.typed(y)}'

    def _truth(self, type):
        return f'<{type.lanes} x i1>' if type.lanes else 'i1'

    def _smaller(self, s, x, y):
        return self._choice(s, x, y, True)

    def _larger(self, s, x, y):
        return self._choice(s, x, y, False)

    def _not(self, s, x):
        ones = self.name(type(x)(None, x.type, '', True if x.type.kind == 'b' else -1))
        return f'xor {self.typed(x)}, {ones}'

    def _select(self, s, c, x, y):
        return f'select {self.typed(c)}, {self.typed(x)}, {self.typed(y)}'

    def _scale(self, s, x, n):
        if 'scale' in self.target.features and x.type.lanes * x.type.bits == 512:
            t = x.type
            mask, full = ('i16', -1) if t.bits == 32 else ('i8', -1)
            return self.intrinsic(f'llvm.x86.avx512.mask.scalef.p{"s" if t.bits == 32 else "d"}.512', t, x, n, x,
                                  f'{mask} {full}', 'i32 4')
        return self._scale_by_bits(x, n)

    def _scale_by_bits(self, x, n):
        """x times two powers of two, made of their bits: half of n at a time stays within the exponents there are."""
        kind, bits = llvm(x.type), x.type.bits
        integer = llvm(type(x.type)('i', bits, x.type.lanes))
        bias, fraction = (127, 23) if bits == 32 else (1023, 52)

        def constant(value):
            return f'splat (i{bits} {value})' if x.type.lanes else str(value)

        step = self._made
        whole = step(f'fptosi {self.typed(n)} to {integer}')
        half = step(f'ashr {integer} {whole}, {constant(1)}')
        result = self.name(x)
        for part in (half, step(f'sub {integer} {whole}, {half}')):
            biased = step(f'add {integer} {part}, {constant(bias)}')
            power = step(f'bitcast {integer} ' + step(f'shl {integer} {biased}, {constant(fraction)}') + f' to {kind}')
            result = step(f'fmul {kind} {result}, {power}') if part is half else f'fmul {kind} {result}, {power}'
        return result

    def _convert(self, s, x):
        a, b = x.type, s.result.type
        if b.kind == 'b':
            zero = self.name(type(x)(None, a, '', 0.0 if a.is_float else 0))
            return f'{"fcmp une" if a.is_float else "icmp ne"} {self.typed(x)}, {zero}'
        if a.is_float and b.is_float:
            if self._is_unknown(a):
                x, a = self._from_bfloat(x), f32.like(a)
            if a.bits == b.bits and a.kind != b.kind or b.kind == 'bf' and a.bits == 64:
                wide = f32.like(a)
                middle = self._made(f'{"fpext" if a.bits < 32 else "fptrunc"} {self.typed(x)} to {llvm(wide)}')
                x, a = type(x)(None, wide, middle), wide
            if b.kind == 'bf':
                return self._to_bfloat(x, b)
            if a == b:
                return f'bitcast {self.typed(x)} to {llvm(b)}'
            word = 'fpext' if b.bits > a.bits else 'fptrunc'
        elif a.is_float:
            if b.bits < 32:  # through 32 bits, so that what is out of range wraps
                wide = llvm(type(a)('i', 32, a.lanes))
                return f'trunc {wide} ' + self._made(f'fptosi {self.typed(x)} to {wide}') + f' to {llvm(b)}'
            word = 'fptosi' if b.kind == 'i' else 'fptoui'
        elif b.is_float:
            word = 'sitofp' if a.kind == 'i' else 'uitofp'
        elif a.kind == 'b':
            word = 'zext'
        elif a.bits == b.bits:
            word = 'bitcast'
        else:
            word = 'trunc' if b.bits < a.bits else 'sext' if a.kind == 'i' else 'zext'
        return f'{word} {self.typed(x)} to {llvm(b)}'

    def _from_bfloat(self, x):
        """A bfloat16 as float32, where the processor does not know it."""
        narrow, wide = llvm(type(x.type)('i', 16, x.type.lanes)), llvm(i32.like(x.type))
        value = f'{narrow} ' + self._made(f'bitcast {self.typed(x)} to {narrow}')
        value = self._made(f'zext {value} to {wide}')
        value = self._made(f'shl {wide} {value}, ' + ('splat (i32 16)' if x.type.lanes else '16'))
        return type(x)(None, f32.like(x.type), self._made(f'bitcast {wide} {value} to {llvm(f32.like(x.type))}'))

    def _made(self, text):
        """The name of a value that `text` gives."""
        name = self.fresh()
        self.line(f'{name} = {text}')
        return name

    def _to_bfloat(self, x, kind):
        """float32 rounded to bfloat16 by its bits: an instruction for it, where there is one, loses the smallest; nan
        stays.
        """
        lanes, wide = kind.lanes, llvm(i32.like(kind))

        step = self._made

        def constant(value):
            return f'splat (i32 {value})' if lanes else str(value)
        bits = step(f'bitcast {self.typed(x)} to {wide}')
        odd = step(f'and {wide} ' + step(f'lshr {wide} {bits}, {constant(16)}') + f', {constant(1)}')
        half = step(f'add {wide} {odd}, {constant(0x7FFF)}')
        rounded, quiet = step(f'add {wide} {bits}, {half}'), step(f'or {wide} {bits}, {constant(1 << 22)}')
        nan = step(f'fcmp uno {self.typed(x)}, {self.name(x)}')
        chosen = step(f'select {self._truth(kind)} {nan}, {wide} {quiet}, {wide} {rounded}')
        upper = step(f'lshr {wide} {chosen}, {constant(16)}')
        narrow = llvm(type(kind)('i', 16, lanes))
        return f'bitcast {narrow} ' + step(f'trunc {wide} {upper} to {narrow}') + f' to {llvm(kind)}'

    def _bitcast(self, s, x):
        return f'bitcast {self.typed(x)} to {llvm(s.result.type)}'

    def _splat(self, s, x):
        t = llvm(s.result.type)
        single = self._made(f'insertelement {t} poison, {self.typed(x)}, i32 0')
        return f'shufflevector {t} {single}, {t} poison, <{s.result.type.lanes} x i32> zeroinitializer'

    def _iota(self, s):
        t = s.result.type
        items = ', '.join(f'{llvm(t.scalar)} {k}' for k in range(t.lanes))
        return f'or {llvm(t)} <{items}>, zeroinitializer'

    def _extract(self, s, x):
        return f'extractelement {self.typed(x)}, i32 {s.attributes["lane"]}'

    def _insert(self, s, x, value):
        return f'insertelement {self.typed(x)}, {self.typed(value)}, i32 {s.attributes["lane"]}'

    def _shuffle(self, s, x, y):
        lanes = s.attributes['lanes']
        mask = ', '.join(f'i32 {k}' for k in lanes)
        return f'shufflevector {self.typed(x)}, {self.typed(y)}, <{len(lanes)} x i32> <{mask}>'

    def _reduce(self, s, x):
        op, t = s.attributes['combine'], x.type
        one = t.scalar
        if t.is_float:
            if op in ('add', 'mul'):
                start = number(-0.0 if op == 'add' else 1.0, one)
                return self.intrinsic(f'llvm.vector.reduce.f{op}.{suffix(t)}', one, f'{llvm(one)} {start}', x,
                                      flags='reassoc ')
            name = {'larger': 'fmaximum', 'smaller': 'fminimum'}[op]
            return self.intrinsic(f'llvm.vector.reduce.{name}.{suffix(t)}', one, x)
        sign = 's' if t.kind == 'i' else 'u'
        name = {'larger': sign + 'max', 'smaller': sign + 'min'}.get(op, op)
        return self.intrinsic(f'llvm.vector.reduce.{name}.{suffix(t)}', one, x)

    def _lookup(self, s, index):
        """Permutations of registers where there are such, and else lane by lane."""
        numbers, t = s.attributes['numbers'], s.result.type
        count, lanes = len(numbers), t.lanes
        one = llvm(t.scalar)
        table = f'<{", ".join(f"{one} {number(v, t.scalar)}" for v in numbers)}>'
        name = {(512, 32): 'avx512.permvar.sf.512', (512, 64): 'avx512.permvar.df.512'}.get((lanes * t.bits, t.bits))
        if name and count == lanes and 'mask' in self.target.features and index.type.bits == t.bits:
            return self.intrinsic('llvm.x86.' + name, t, f'{llvm(t)} {table}', index)
        kind, made = llvm(index.type.scalar), 'poison'
        for lane in range(lanes or 1):
            place = self.name(index)
            if lanes:
                place = self._made(f'extractelement {self.typed(index)}, i32 {lane}')
            place = self._made(f'and {kind} {place}, {count - 1}')
            found = f'extractelement <{count} x {one}> {table}, {kind} {place}'
            if not lanes:
                return found
            text = f'insertelement {llvm(t)} {made}, {one} {self._made(found)}, i32 {lane}'
            if lane == lanes - 1:
                return text
            made = self._made(text)

    def _dot(self, s, x, y, z):
        return self.intrinsic(f'llvm.x86.avx512bf16.dpbf16ps.{z.type.lanes * 32}', z.type, z, x, y)

    def _library(self, s, x):
        return self.intrinsic('flambeau_' + s.attributes['function'], x.type, x)

    # ---- memory

    def _offset(self, s, p, count):
        to = 'i8' if p.type.to.kind == 'b' else llvm(p.type.to)
        return f'getelementptr inbounds {to}, {self.typed(p)}, {self.typed(count)}'

    def _cast(self, s, p):
        return f'getelementptr i8, {self.typed(p)}, i64 0'

    def _in_memory(self, type):
        """The type that stands in memory for one: a byte for a truth value, bits for what the processor does not know.
        """
        if type.__class__ is not Pointer and type.kind == 'b':
            return type.__class__('u', 8, type.lanes)
        return type.__class__('u', 16, type.lanes) if self._is_unknown(type) else type

    def _is_unknown(self, type):
        return type.__class__ is not Pointer and type.kind == 'bf' and 'bf16_dot' not in self.target.features

    def _as_stored(self, value):
        """A value, with its type, as it is in memory."""
        stored = self._in_memory(value.type)
        if stored == value.type:
            return self.typed(value)
        word = 'zext' if value.type.kind == 'b' else 'bitcast'
        return f'{llvm(stored)} ' + self._made(f'{word} {self.typed(value)} to {llvm(stored)}')

    def _loaded(self, text, kind):
        """The text of a value of which `text` gives what is in memory."""
        stored = self._in_memory(kind)
        if stored == kind:
            return text
        made = self._made(text)
        if kind.kind == 'bf':
            return f'bitcast {llvm(stored)} {made} to {llvm(kind)}'
        return f'icmp ne {llvm(stored)} {made}, {"zeroinitializer" if stored.lanes else 0}'

    def _load(self, s, p, mask=None, other=None):
        kind, stored = s.result.type, self._in_memory(s.result.type)
        if mask is None:
            text = f'load {llvm(stored)}, {self.typed(p)}, align {self._alignment(s, stored)}'
        else:
            text = self.intrinsic(f'llvm.masked.load.{suffix(stored)}.p0', stored, p,
                                  f'i32 {self._alignment(s, stored)}', mask, self._as_stored(other))
        return self._loaded(text, kind)

    def _alignment(self, s, stored):
        return s.attributes['align'] or (stored.bytes if stored.__class__ is not Pointer else 8)

    def _store(self, s, value, p, mask=None):
        stored = self._in_memory(value.type)
        text, align = self._as_stored(value), self._alignment(s, stored)
        if mask is not None:
            return self.intrinsic(f'llvm.masked.store.{suffix(stored)}.p0', None, text, p, f'i32 {align}', mask)
        return f'store {text}, {self.typed(p)}, align {align}'

    def _prefetch(self, s, p):
        return self.intrinsic('llvm.prefetch.p0', None, p, 'i32 0', 'i32 3', 'i32 1')

    def _addresses(self, p, index):
        """The addresses of a gather or scatter."""
        to = 'i8' if p.type.to.kind == 'b' else llvm(p.type.to)
        return f'<{index.type.lanes} x ptr> ' + self._made(
            f'getelementptr {to}, {self.typed(p)}, {self.typed(index)}')

    def _gather(self, s, p, index, mask=None, other=None):
        kind, stored = s.result.type, self._in_memory(s.result.type)
        addresses = self._addresses(p, index)
        rest = f'{llvm(stored)} zeroinitializer' if other is None else self._as_stored(other)
        return self._loaded(self.intrinsic(
            f'llvm.masked.gather.{suffix(stored)}.v{kind.lanes}p0', stored, addresses, f'i32 {stored.bytes}',
            f'{self._truth(kind)} splat (i1 true)' if mask is None else mask, rest), kind)

    def _scatter(self, s, value, p, index, mask=None):
        stored = self._in_memory(value.type)
        text = self._as_stored(value)
        return self.intrinsic(
            f'llvm.masked.scatter.{suffix(stored)}.v{value.type.lanes}p0', None, text, self._addresses(p, index),
            f'i32 {stored.bytes}', f'{self._truth(value.type)} splat (i1 true)' if mask is None else mask)

    def _buffer(self, s):
        kind = self._in_memory(s.result.type.to)
        self.entry.append(f'  {s.result.name} = alloca {llvm(kind)}, i64 {s.attributes["count"]}, align 64')

    def _variable(self, s, value):
        v = s.attributes['variable']
        self.entry.append(f'  {v.name} = alloca {llvm(v.type)}')
        self.line(f'store {self.typed(value)}, ptr {v.name}')

    def _get(self, s):
        v = s.attributes['variable']
        return f'load {llvm(v.type)}, ptr {v.name}'

    def _set(self, s, value):
        self.line(f'store {self.typed(value)}, ptr {s.attributes["variable"].name}')

    def _call(self, s, *arguments):
        given = ', '.join(self.typed(a) for a in arguments)
        return f'call {llvm(s.result.type if s.result else None)} @{s.attributes["function"]}({given})'

    def _give(self, s, value):
        self.line(f'ret {self.typed(value)}')

    # ---- control

    def _place(self, label):
        self.lines.append(f'{label}:')

    def _loop(self, s, start, stop, step):
        index = s.attributes['index'].name
        before, body, latch, after = (self.label(w) for w in ('before', 'loop', 'latch', 'after'))
        some, more, following = self.fresh(), self.fresh(), self.fresh()
        self.line(f'br label %{before}')
        self._place(before)
        self.line(f'{some} = icmp slt {self.typed(start)}, {self.name(stop)}')
        self.line(f'br i1 {some}, label %{body}, label %{after}')
        self._place(body)
        self.line(f'{index} = phi i64 [ {self.name(start)}, %{before} ], [ {following}, %{latch} ]')
        self._block(s.blocks[0])
        self.line(f'br label %{latch}')
        self._place(latch)
        self.line(f'{following} = add nsw i64 {index}, {self.name(step)}')
        self.line(f'{more} = icmp slt i64 {following}, {self.name(stop)}')
        self.line(f'br i1 {more}, label %{body}, label %{after}')
        self._place(after)

    def _when(self, s, condition):
        then, other, after = self.label('then'), self.label('else'), self.label('after')
        has_other = bool(s.blocks[1])
        self.line(f'br {self.typed(condition)}, label %{then}, label %{other if has_other else after}')
        self._place(then)
        self._block(s.blocks[0])
        self.line(f'br label %{after}')
        if has_other:
            self._place(other)
            self._block(s.blocks[1])
            self.line(f'br label %{after}')
        self._place(after)

    def _repeat(self, s):
        body, after = self.label('again'), self.label('after')
        self.line(f'br label %{body}')
        self._place(body)
        self._block(s.blocks[0][:-1])
        end, = s.blocks[0][-1].operands
        self.line(f'br {self.typed(end)}, label %{after}, label %{body}')
        self._place(after)

    def _parallel(self, s, count, threads):
        name = f'{self.function.name}.region{len(self.regions)}'
        captured = captures(s.blocks[0], {s.attributes['index'].name, s.attributes['thread'].name})
        frame = self.fresh() + 'frame'
        slots = '{ ' + (', '.join(llvm(v.type) for v in captured) or 'i64') + ' }'
        self.entry.append(f'  {frame} = alloca {slots}, align 64')
        for k, v in enumerate(captured):
            slot = self._made(f'getelementptr inbounds {slots}, ptr {frame}, i32 0, i32 {k}')
            self.line(f'store {self.typed(v)}, ptr {slot}')
        self.line(self.intrinsic('flambeau_parallel', None, f'ptr @{name}', f'ptr {frame}', count, threads))
        outer = self.entry, self.lines
        position = len(self.regions)
        self.regions.append(None)
        head = []
        for k, v in enumerate(captured):
            head += [f'  {v.name}.slot = getelementptr inbounds {slots}, ptr %context, i32 0, i32 {k}',
                     f'  {v.name} = load {llvm(v.type)}, ptr {v.name}.slot']
        body = self._body(s.blocks[0])
        self.entry, self.lines = outer
        self.regions[position] = (
            f'define internal void @{name}(ptr %context, i64 {s.attributes["index"].name}, '
            f'i64 {s.attributes["thread"].name}) nounwind {{\nentry:\n' + '\n'.join(head + body) + '\n  ret void\n}')


def captures(statements, own):
    """The values a block uses that are made outside of it, in the order met; `own` are the names it brings itself."""
    found, made = {}, set(own)

    def visit(block):
        for s in block:
            for o in s.operands:
                if o.constant is None and o.name not in made:
                    found.setdefault(o.name, o)
            if s.result is not None:
                made.add(s.result.name)
            if s.op in ('loop', 'parallel'):
                made.add(s.attributes['index'].name)
            for inner in s.blocks:
                visit(inner)
    visit(statements)
    return list(found.values())
