"""Native functions that stand around kernels, such as the allocator, written in a small part of Python.

All values are whole numbers of 64 bits, compared without sign. `at[p]` is the number at the address p, `half[p]` one of
32 bits. A name assigned outside of functions is a global number, which functions assign to without saying so. With
`[0] * n`, there or in a function, it is the address of memory for n numbers. A text is the address of its bytes. A call
of a variable calls the address in it; a call of a function that is not in the program is one of the C library's, or
whatever has been made known by that name. `and` and `or` compute both sides. Besides there are

    min(a, b), max(a, b), log2(a)      the whole part of the logarithm
    address(name)                      of a global number, or of what has been made known by that name
    exchanged(name, old, new)          whether a global number was `old`, and is `new` now: one step for all threads
    add(name, change)                  likewise, what it was before
"""
from __future__ import annotations

import ast

__all__ = ['Program']

BINARY = {'Add': 'add', 'Sub': 'sub', 'Mult': 'mul', 'LShift': 'shl', 'RShift': 'lshr', 'BitAnd': 'and', 'BitOr': 'or'}
COMPARED = {'Eq': 'eq', 'NotEq': 'ne', 'Lt': 'ult', 'LtE': 'ule', 'Gt': 'ugt', 'GtE': 'uge'}
INTRINSICS = {'min': 'llvm.umin.i64', 'max': 'llvm.umax.i64'}
VARIADIC = 'syscall'
DECLARED = '''
declare i64 @llvm.umin.i64(i64, i64)
declare i64 @llvm.umax.i64(i64, i64)
declare i64 @llvm.ctlz.i64(i64, i1)
'''


class Program:
    """A text of such functions, with the values of constants and of calls left out; str() gives LLVM's text.

    shared: global numbers are read and written in one step for all threads, and lie on cache lines of their own. llvm:
    functions that LLVM's text defines beside them.
    """

    def __init__(self, text, shared=False, llvm='', **constants):
        self.text, self.shared, self.llvm, self.constants = text, shared, llvm, constants

    def __repr__(self):
        return repr((self.text, self.shared, self.llvm, self.constants))

    def __str__(self):
        return _Writer(self).module(ast.parse(self.text)) + self.llvm


def is_memory(node):
    """Whether a statement makes room for numbers: name = [0] * n."""
    return isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp) and isinstance(node.value.left, ast.List)


class _Writer:
    def __init__(self, program):
        self.constants, self.defined = program.constants, program.llvm
        self.access = ('atomic ', ' seq_cst, align 128') if program.shared else ('', '')
        self.lines, self.numbers, self.memory, self.declared, self.made = [], set(), set(), {}, 0
        self.outside = []  # lines for what is used in functions and lies outside of them

    def module(self, tree):
        self.functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        for node in tree.body:
            if isinstance(node, ast.Assign):
                name, many = node.targets[0].id, is_memory(node)
                (self.memory if many else self.numbers).add(name)
                kind = f'{self.words(node)} zeroinitializer' if many else f'i64 {node.value.value}'
                self.lines.append(f'@{name} = global {kind}{", align 128" if self.access[0] else ""}')
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                self.function(node)
        declared = [f'declare i64 @{name}({parameters})' for name, parameters in self.declared.items()]
        return '\n'.join(self.lines + declared + list(dict.fromkeys(self.outside))) + DECLARED

    def words(self, node):
        return f'[{self.value(node.value.right)} x i64]'

    def function(self, node):
        parameters = [a.arg for a in node.args.args]
        assigned = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        self.locals = {*parameters, *assigned} - self.numbers
        self.lines.append(f'define i64 @{node.name}({", ".join(f"i64 %given_{p}" for p in parameters)}) {{')
        own = {n.targets[0].id: self.words(n) for n in ast.walk(node) if is_memory(n)}
        self.lines += [f'%{name} = alloca {own.get(name, "i64")}' for name in sorted(self.locals)]
        self.own = own.keys()
        self.lines += [f'store i64 %given_{p}, ptr %{p}' for p in parameters]
        self.block(node.body, '.end')
        self.lines += ['.end:', 'ret i64 0', '}']

    def new(self, text):
        self.made += 1
        self.lines.append(f'%.{self.made} = {text}')  # a name that no variable has
        return f'%.{self.made}'

    def label(self):
        self.made += 1
        return f'.{self.made}'

    def block(self, body, after):
        """Writes statements and a jump to what comes after, unless the last one returns; whether it does."""
        returned = False
        for node in body:
            returned = self.statement(node)
        if not returned:
            self.lines.append(f'br label %{after}')
        return returned

    def statement(self, node):
        if isinstance(node, ast.Return):
            self.lines.append(f'ret i64 {self.value(node.value) if node.value else 0}')
            return True
        if isinstance(node, ast.If):
            return self.branch(node)
        if isinstance(node, ast.While):
            self.loop(node)
        elif isinstance(node, ast.Assign) and not is_memory(node):
            self.store(self.value(node.value), node.targets[0])
        elif isinstance(node, ast.AugAssign):
            self.store(self.value(ast.BinOp(node.target, node.op, node.value)), node.target)
        elif isinstance(node, ast.Expr):
            self.value(node.value)
        return False

    def branch(self, node):
        then, otherwise, end = self.label(), self.label(), self.label()
        self.lines += [f'br i1 {self.truth(node.test)}, label %{then}, label %{otherwise}', f'{then}:']
        returned = self.block(node.body, end)
        self.lines.append(f'{otherwise}:')
        if self.block(node.orelse, end) and returned:
            return True
        self.lines.append(f'{end}:')
        return False

    def loop(self, node):
        test, body, end = self.label(), self.label(), self.label()
        self.lines += [f'br label %{test}', f'{test}:']
        self.lines += [f'br i1 {self.truth(node.test)}, label %{body}, label %{end}', f'{body}:']
        self.block(node.body, test)
        self.lines.append(f'{end}:')

    def place(self, node):
        """(where a number lies, how it is accessed there)."""
        if isinstance(node, ast.Subscript):
            return self.pointer(node.slice), ('', '')
        return ('%' + node.id, ('', '')) if node.id in self.locals else ('@' + node.id, self.access)

    def pointer(self, node):
        return self.new(f'inttoptr i64 {self.value(node)} to ptr')

    def store(self, value, target):
        place, (atomic, order) = self.place(target)
        self.lines.append(f'store {atomic}i64 {value}, ptr {place}{order}')

    def truth(self, node):
        return self.new(f'icmp ne i64 {self.value(node)}, 0')

    def value(self, node):
        """The text of an expression's value."""
        return getattr(self, '_' + type(node).__name__.lower())(node)

    def _constant(self, node):
        if isinstance(node.value, int):
            return str(node.value)
        name = f'@text{len(self.outside)}'
        self.outside.append(f'{name} = private constant [{len(node.value) + 1} x i8] c"{node.value}\\00"')
        return f'ptrtoint (ptr {name} to i64)'

    def _name(self, node):
        if node.id in self.constants:
            return str(self.constants[node.id])
        if node.id in self.memory:
            return f'ptrtoint (ptr @{node.id} to i64)'
        if node.id in self.own:
            return self.new(f'ptrtoint ptr %{node.id} to i64')
        return self.loaded(node)

    def _subscript(self, node):
        if node.value.id == 'half':
            return self.new(f'zext i32 {self.new(f"load i32, ptr {self.pointer(node.slice)}")} to i64')
        return self.loaded(node)

    def loaded(self, node):
        place, (atomic, order) = self.place(node)
        return self.new(f'load {atomic}i64, ptr {place}{order}')

    def _binop(self, node):
        return self.new(f'{BINARY[type(node.op).__name__]} i64 {self.value(node.left)}, {self.value(node.right)}')

    def _unaryop(self, node):
        if isinstance(node.op, ast.USub):
            return self.new(f'sub i64 0, {self.value(node.operand)}')
        return self.new(f'zext i1 {self.new(f"xor i1 {self.truth(node.operand)}, true")} to i64')

    def _boolop(self, node):
        joined, *rest = map(self.truth, node.values)
        for truth in rest:
            joined = self.new(f'{type(node.op).__name__.lower()} i1 {joined}, {truth}')
        return self.new(f'zext i1 {joined} to i64')

    def _compare(self, node):
        found = self.new(f'icmp {COMPARED[type(node.ops[0]).__name__]} i64 {self.value(node.left)}, '
                         f'{self.value(node.comparators[0])}')
        return self.new(f'zext i1 {found} to i64')

    def _ifexp(self, node):
        return self.new(f'select i1 {self.truth(node.test)}, i64 {self.value(node.body)}, '
                        f'i64 {self.value(node.orelse)}')

    def _call(self, node):
        name = node.func.id
        if name in self.constants:
            return str(self.constants[name])
        if name in ('address', 'exchanged', 'add'):
            return self.global_number(name, node.args[0].id, *map(self.value, node.args[1:]))
        given = [self.value(a) for a in node.args]
        if name == 'log2':
            return self.new(f'sub i64 63, {self.new(f"call i64 @llvm.ctlz.i64(i64 {given[0]}, i1 true)")}')
        passed, kind = ', '.join('i64 ' + x for x in given), 'i64'
        if name in self.locals:
            called = self.pointer(node.func)
        else:
            called = '@' + INTRINSICS.get(name, name)
            if name == VARIADIC:
                kind = 'i64 (i64, ...)'
            if not (name in self.functions or name in INTRINSICS or f'@{name}(' in self.defined):
                self.declared[name] = 'i64, ...' if name == VARIADIC else ', '.join(['i64'] * len(given))
        return self.new(f'call {kind} {called}({passed})')

    def global_number(self, what, name, *given):
        if what == 'address':
            if name not in self.numbers:
                self.outside.append(f'@{name} = external global i8')
            return f'ptrtoint (ptr @{name} to i64)'
        if what == 'add':
            return self.new(f'atomicrmw add ptr @{name}, i64 {given[0]} seq_cst')
        pair = self.new(f'cmpxchg ptr @{name}, i64 {given[0]}, i64 {given[1]} seq_cst seq_cst')
        return self.new(f'zext i1 {self.new(f"extractvalue {{ i64, i1 }} {pair}, 1")} to i64')
