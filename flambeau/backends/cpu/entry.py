"""Entry points: kernels as builtin functions of Python, called without ctypes, whose arguments are arrays and numbers.

The text written here follows CPython's vectorcall protocol (METH_FASTCALL) and NumPy's array structure.
Knows no kernel.
"""
from __future__ import annotations

import ctypes
import os

from ...kernel.ir import C_LIBRARY
from ...kernel.types import Pointer
from .render import llvm as llvm_type

__all__ = ['entry_text', 'builtin', 'register_symbols']

ARRAY_DATA = 16  # offset of PyArrayObject.data: after the object's count and type
FASTCALL = 0x0080
# the functions of Python's that entries call: name -> (result, parameters)
PYTHON = {'PyLong_AsLongLong': 'i64 (ptr)', 'PyFloat_AsDouble': 'double (ptr)', 'PyErr_Occurred': 'ptr ()',
          'PyEval_SaveThread': 'ptr ()', 'PyEval_RestoreThread': 'void (ptr)', 'PyLong_FromLongLong': 'ptr (i64)',
          'PyFloat_FromDouble': 'ptr (double)', 'PyErr_SetString': 'void (ptr, ptr)',
          'PyBytes_FromStringAndSize': 'ptr (ptr, i64)', 'Py_IncRef': 'void (ptr)', 'Py_DecRef': 'void (ptr)'}
_alive = []  # method definitions must outlive the functions made of them


def register_symbols():
    """Tells LLVM where Python's functions and objects are, and those of the C library."""
    import llvmlite.binding as llvm
    import numpy as np
    library = ctypes.CDLL('ucrtbase' if os.name == 'nt' else None)
    for name in C_LIBRARY:
        llvm.add_symbol('flambeau_' + name, ctypes.cast(getattr(library, name), ctypes.c_void_p).value)
    for name in PYTHON:
        llvm.add_symbol(name, ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value)
    llvm.add_symbol('flambeau_none', id(None))
    llvm.add_symbol('flambeau_ndarray', id(np.ndarray))
    llvm.add_symbol('flambeau_type_error', id(TypeError))


def entry_text(function) -> str:
    """The LLVM text of `function`'s entry point: takes arguments apart, lets other threads run, calls the kernel."""
    count = len(function.parameters)
    lines, converted = [], []
    for k, parameter in enumerate(function.parameters):
        lines += [f'  %p{k} = getelementptr ptr, ptr %args, i64 {k}', f'  %o{k} = load ptr, ptr %p{k}']
        kind = parameter.type
        if kind.__class__ is Pointer:
            lines += [f'  %tp{k} = getelementptr i8, ptr %o{k}, i64 8', f'  %t{k} = load ptr, ptr %tp{k}',
                      f'  %is{k} = icmp eq ptr %t{k}, @flambeau_ndarray',
                      f'  br i1 %is{k}, label %array{k}, label %other{k}',
                      f'other{k}:', f'  %no{k} = icmp eq ptr %o{k}, @flambeau_none',
                      f'  br i1 %no{k}, label %next{k}, label %refuse',
                      f'array{k}:', f'  %dp{k} = getelementptr i8, ptr %o{k}, i64 {ARRAY_DATA}',
                      f'  %d{k} = load ptr, ptr %dp{k}', f'  br label %next{k}', f'next{k}:',
                      f'  %a{k} = phi ptr [ %d{k}, %array{k} ], [ null, %other{k} ]']
        elif kind.is_float:
            lines.append(f'  %w{k} = call double @PyFloat_AsDouble(ptr %o{k})')
            lines.append(f'  %a{k} = fadd double %w{k}, -0.0' if kind.bits == 64 else
                         f'  %a{k} = fptrunc double %w{k} to {llvm_type(kind)}')
        else:
            lines.append(f'  %w{k} = call i64 @PyLong_AsLongLong(ptr %o{k})')
            lines.append(f'  %a{k} = add i64 %w{k}, 0' if kind.bits == 64 else
                         f'  %a{k} = trunc i64 %w{k} to {llvm_type(kind)}')
        converted.append(f'{llvm_type(kind)} %a{k}')
    numbers = any(p.type.__class__ is not Pointer for p in function.parameters)
    if numbers:
        lines += ['  %error = call ptr @PyErr_Occurred()', '  %fine = icmp eq ptr %error, null',
                  '  br i1 %fine, label %run, label %fail', 'run:']
    call = f'call {llvm_type(function.result)} @{function.name}({", ".join(converted)})'
    shared = any(s.op == 'parallel' and not s.attributes['exclusive'] for s in _statements(function.body))
    if shared:
        lines.append('  %state = call ptr @PyEval_SaveThread()')
    lines.append(f'  {call}' if function.result is None else f'  %r = {call}')
    if shared:
        lines.append('  call void @PyEval_RestoreThread(ptr %state)')
    lines += _returned(function.result)
    ends = ['fail:', '  ret ptr null'] if numbers else []
    message = f'{function.name}() takes {count} arguments: arrays (or None) and numbers'
    text = f'c"{message}\\00"'
    size = len(message) + 1
    head = [f'declare {t.split(" ")[0]} @{n}({t[t.index("(") + 1:-1]})' for n, t in PYTHON.items()]
    return '\n'.join([
        *head, '@flambeau_none = external global i8', '@flambeau_ndarray = external global i8',
        '@flambeau_type_error = external global i8', f'@message = private constant [{size} x i8] {text}',
        f'define ptr @entry_{function.name}(ptr %self, ptr %args, i64 %count) nounwind {{', 'entry:',
        f'  %enough = icmp eq i64 %count, {count}', '  br i1 %enough, label %start, label %refuse', 'start:', *lines,
        *ends, 'refuse:', '  call void @PyErr_SetString(ptr @flambeau_type_error, ptr @message)', '  ret ptr null',
        '}'])


def _returned(kind):
    if kind is None:
        return ['  ret ptr @flambeau_none'] if _none_is_immortal() else [
            '  %n = load i64, ptr @flambeau_none', '  %n1 = add i64 %n, 1', '  store i64 %n1, ptr @flambeau_none',
            '  ret ptr @flambeau_none']
    if kind.is_float:
        value = ['  %rd = fadd double %r, -0.0' if kind.bits == 64 else f'  %rd = fpext {llvm_type(kind)} %r to double']
        return [*value, '  %made = call ptr @PyFloat_FromDouble(double %rd)', '  ret ptr %made']
    value = ['  %rl = add i64 %r, 0' if kind.bits == 64 else f'  %rl = sext {llvm_type(kind)} %r to i64']
    return [*value, '  %made = call ptr @PyLong_FromLongLong(i64 %rl)', '  ret ptr %made']


def _none_is_immortal():
    import sys
    return sys.version_info >= (3, 12)


def _statements(block):
    for s in block:
        yield s
        for inner in s.blocks:
            yield from _statements(inner)


class _MethodDefinition(ctypes.Structure):
    _fields_ = [('name', ctypes.c_char_p), ('address', ctypes.c_void_p), ('flags', ctypes.c_int),
                ('doc', ctypes.c_char_p)]


def builtin(name, address):
    """The builtin function of Python's whose code is at an address."""
    definition = _MethodDefinition(name.encode(), address, FASTCALL, None)
    make = ctypes.pythonapi.PyCMethod_New
    make.restype, make.argtypes = ctypes.py_object, (ctypes.c_void_p,) * 4
    _alive.append(definition)
    return make(ctypes.addressof(definition), None, None, None)
