"""What this machine's processor is: its name and features as LLVM sees them, and the target that schedules ask about.

`FLAMBEAU_CPU` names another processor level to generate for, such as x86-64-v3. Knows no kernel.
"""
from __future__ import annotations

import functools
import importlib.util
import os

from ...kernel.target import Target

__all__ = ['processor', 'target', 'jit_is_on', 'computes', 'PRECISION']

PRECISION = {'float32': 'highest'}  # how exact products have to be: 'highest', 'high' or 'medium'


@functools.lru_cache(maxsize=None)
def jit_is_on() -> bool:
    """Whether kernels can be generated: llvmlite is there, and FLAMBEAU_JIT is not 0."""
    return os.environ.get('FLAMBEAU_JIT', '1') != '0' and _llvm_is_there()


def _llvm_is_there() -> bool:
    """Looks for llvmlite without importing it, which takes longer than a small program."""
    try:
        return importlib.util.find_spec('llvmlite') is not None
    except ValueError:  # a program has put None in its place
        return False


@functools.lru_cache(maxsize=None)
def processor() -> tuple:
    """(name, feature string) for LLVM."""
    import llvmlite.binding as llvm
    asked = os.environ.get('FLAMBEAU_CPU')
    if asked:
        return asked, ''
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


@functools.lru_cache(maxsize=None)
def target() -> Target:
    """The target that kernels are scheduled for."""
    name, features = processor()
    has = {f[1:] for f in features.split(',') if f.startswith('+')}
    level = {'x86-64-v2': {'sse4.2'}, 'x86-64-v3': {'avx2', 'fma', 'f16c'},
             'x86-64-v4': {'avx2', 'fma', 'f16c', 'avx512f', 'avx512vl', 'avx512bw', 'avx512dq'}}.get(name, set())
    has |= level
    wide = {'avx512f', 'avx512vl', 'avx512bw', 'avx512dq'} <= has
    known = set()
    if 'fma' in has or 'neon' in has:
        known.add('fma')
    if wide:
        known |= {'mask', 'scale'}
    if wide and 'avx512bf16' in has:
        known.add('bf16_dot')
    width = 64 if wide else 32 if 'avx2' in has else 16
    registers = 32 if wide or 'neon' in has else 16
    return Target(name, width, registers, frozenset(known))


@functools.lru_cache(maxsize=None)
def computes(dtype) -> bool:
    """Whether kernels can compute with numbers of a dtype: with float16 only where the processor converts it."""
    return dtype.name != 'float16' or target().vector_bytes >= 32
