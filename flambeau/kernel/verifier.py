"""Checks that a kernel is well formed before anything runs it. Knows the language only."""
from __future__ import annotations

from .ir import COMPARISONS
from .types import Pointer, boolean, i64

__all__ = ['verify']

SAME = frozenset('add sub mul div rem and or xor shl shr smaller larger copysign fma neg abs sqrt floor ceil trunc '
                 'rint not scale'.split())
FLOAT_ONLY = frozenset('fma sqrt floor ceil trunc rint copysign scale'.split())
INTEGER_ONLY = frozenset('and or xor shl shr not'.split())


def verify(function):
    """Raises ValueError, naming the kernel and the statement, for what is used before it is made or has a wrong type.
    """
    known = {p.name for p in function.parameters}
    _verify_block(function, function.body, known, set())


def _refuse(function, statement, why):
    raise ValueError(f'kernel {function.name}: {statement.op}({", ".join(map(repr, statement.operands))}): {why}')


def _verify_block(function, block, known, variables):
    known, variables = set(known), set(variables)
    for s in block:
        for o in s.operands:
            if o.constant is None and o.name not in known:
                _refuse(function, s, f'{o} is used where it is not made')
        _verify_types(function, s)
        inner = set(known)
        if s.op in ('loop', 'parallel'):
            inner.add(s.attributes['index'].name)
        if s.op == 'parallel':
            inner.add(s.attributes['thread'].name)
        if s.op == 'variable':
            variables.add(s.attributes['variable'].name)
        elif s.op in ('get', 'set') and s.attributes['variable'].name not in variables:
            _refuse(function, s, 'the variable is made elsewhere: values go into a parallel region, variables do not')
        if s.op == 'repeat' and (not s.blocks[0] or s.blocks[0][-1].op != 'until'):
            _refuse(function, s, 'its last statement must be until(condition)')
        for b in s.blocks:
            _verify_block(function, b, inner, set() if s.op == 'parallel' else variables)
        if s.op == 'repeat':  # the condition is a value of the block itself
            continue
        if s.result is not None:
            known.add(s.result.name)


def _verify_types(function, s):
    types = [o.type for o in s.operands]
    if s.op in SAME or s.op in COMPARISONS:
        if len(set(types)) != 1:
            _refuse(function, s, f'the types differ: {types}')
        if types[0].__class__ is Pointer:
            _refuse(function, s, 'addresses know offset() only')
        if s.op in FLOAT_ONLY and not types[0].is_float:
            _refuse(function, s, f'{types[0]} is no float type')
        if s.op in INTEGER_ONLY and types[0].is_float:
            _refuse(function, s, f'{types[0]} is no integer type')
    elif s.op in ('loop', 'parallel'):
        if any(t != i64 for t in types):
            _refuse(function, s, f'bounds are i64, not {types}')
    elif s.op in ('when', 'until'):
        if types != [boolean]:
            _refuse(function, s, f'the condition is {types[0]}, not bool')
    elif s.op in ('load', 'offset', 'cast', 'gather', 'prefetch'):
        if types[0].__class__ is not Pointer:
            _refuse(function, s, f'{types[0]} is no address')
    elif s.op == 'select':
        if types[1] != types[2] or types[0] not in (boolean, boolean.like(types[1])):
            _refuse(function, s, f'types {types} do not fit')
    elif s.op == 'set' and types[0] != s.attributes['variable'].type:
        _refuse(function, s, f'the variable is {s.attributes["variable"].type}, the value {types[0]}')
