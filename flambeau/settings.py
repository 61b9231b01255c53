"""Settings of the whole process that PyTorch keeps in its top module: threads, determinism, precision, default device.

Computation on the CPU is deterministic whatever is set here; most settings are remembered so that programs can ask for
them.
"""
from __future__ import annotations

import contextlib
import ctypes
import functools
import glob
import os

import numpy as np

from .backends.cpu import launch
from .backends.cpu.properties import PRECISION
from .ops.plans import forget_plans
from .device import CPU, resolve

__all__ = ['get_num_threads', 'set_num_threads', 'get_num_interop_threads', 'set_num_interop_threads',
           'use_deterministic_algorithms', 'are_deterministic_algorithms_enabled',
           'is_deterministic_algorithms_warn_only_enabled', 'set_deterministic_debug_mode',
           'get_deterministic_debug_mode', 'set_float32_matmul_precision', 'get_float32_matmul_precision',
           'set_default_device', 'get_default_device',
           'set_flush_denormal', 'set_warn_always', 'is_warn_always_enabled']

PRECISIONS = ('highest', 'high', 'medium')
STATE = {'interop': 1, 'deterministic': False, 'warn_only': False, 'warn_always': False}


# ---- threads

@functools.cache
def _blas():
    """(get, set) for the number of threads of the BLAS that NumPy brought along, or None where it is another one."""
    for path in glob.glob(os.path.join(os.path.dirname(np.__path__[0]), 'numpy.libs', '*openblas*')):
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(path)
            return (getattr(library, 'scipy_openblas_get_num_threads64_'),
                    getattr(library, 'scipy_openblas_set_num_threads64_'))
    return None


def _count(name, value) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise RuntimeError(f'{name} expects an int, but got {type(value).__name__}')
    if value <= 0:
        raise RuntimeError(f'{name} expects a positive integer, got {value}')
    return value


def get_num_threads() -> int:
    """How many threads one operation uses on the CPU."""
    return launch.get_num_threads()


def set_num_threads(num: int) -> None:
    """Sets how many threads an operation may use. Raises RuntimeError for anything but a positive integer."""
    launch.set_num_threads(_count('set_num_threads', num))
    forget_plans()
    blas = _blas()
    if blas:
        blas[1](num)


def get_num_interop_threads() -> int:
    """How many threads run operations side by side: 1 unless set; operations run one after the other here."""
    return STATE['interop']


def set_num_interop_threads(num: int) -> None:
    """Remembers the number; operations run one after the other here."""
    STATE['interop'] = _count('set_num_interop_threads', num)


# ---- determinism and precision

def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Asks for deterministic algorithms, which all of those on the CPU are anyway."""
    if not isinstance(mode, bool):
        raise TypeError(f"use_deterministic_algorithms(): argument 'mode' must be bool, not {type(mode).__name__}")
    STATE.update(deterministic=mode, warn_only=mode and bool(warn_only))


def are_deterministic_algorithms_enabled() -> bool:
    """Whether deterministic algorithms were asked for."""
    return STATE['deterministic']


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether operations without a deterministic algorithm should only warn."""
    return STATE['warn_only']


def set_deterministic_debug_mode(debug_mode) -> None:
    """0 or 'default', 1 or 'warn', 2 or 'error': another way to say `use_deterministic_algorithms`."""
    names = ('default', 'warn', 'error')
    if debug_mode not in names and debug_mode not in (0, 1, 2):
        raise RuntimeError(f'invalid value of debug_mode, expected one of {names} or 0, 1, 2, but got {debug_mode!r}')
    level = names.index(debug_mode) if isinstance(debug_mode, str) else debug_mode
    use_deterministic_algorithms(level > 0, warn_only=level == 1)


def get_deterministic_debug_mode() -> int:
    """0: not asked for, 1: warn, 2: error."""
    return (1 if STATE['warn_only'] else 2) if STATE['deterministic'] else 0


def set_float32_matmul_precision(precision: str) -> None:
    """How exact products in float32 have to be.

    Below 'highest', 3x3 convolutions on the CPU may have errors of some 1e-6 of the largest result, and take two thirds
    of the time; all else stays exact.
    """
    if precision not in PRECISIONS:
        raise RuntimeError(f'set_float32_matmul_precision expects one of {PRECISIONS}, got {precision!r}')
    PRECISION['float32'] = precision
    forget_plans()


def get_float32_matmul_precision() -> str:
    """How exact products in float32 have to be at least."""
    return PRECISION['float32']


# ---- devices, denormals, warnings

def set_default_device(device) -> None:
    """Sets where tensors are made. Raises where this installation cannot compute on the device."""
    resolve(device)


def get_default_device():
    """Where tensors are made: the CPU."""
    return CPU


def set_flush_denormal(mode: bool) -> bool:
    """Whether denormal numbers can be flushed to zero: False, that is not supported."""
    return False


def set_warn_always(b: bool) -> None:
    """Remembers whether warnings should come every time; Python's filters decide."""
    STATE['warn_always'] = bool(b)


def is_warn_always_enabled() -> bool:
    """What `set_warn_always` was told."""
    return STATE['warn_always']
