"""The caching allocator behind NumPy's arrays: blocks are kept when an array dies and given to the next one.

A fresh large block costs a page fault for every page, many times what most operations cost. NumPy lets its allocator be
replaced (NEP 49); this one is native code made at first use. All blocks are aligned to 64 bytes. Those under 64 KB are
the C library's, and a few of up to 1 KB wait on shelves; larger ones are mapped in 16 sizes per power of two, with huge
pages from 2 MB on, and wait in a list per size, last in first out. A new one is mapped only when all that is held and
waits stays within twice the most that arrays have held so far (`SLACK`, `AMPLE`), and at most half the machine's memory
waits: what waited longest goes back to the system. NumPy's allocator belongs to a context: Python threads where nobody
called `install` use NumPy's own. Knows no kernel.
"""
from __future__ import annotations

import ctypes
import os
import sys

import numpy as np

from .native import Program

__all__ = ['install', 'memory_stats', 'memory_allocated', 'max_memory_allocated', 'memory_reserved',
           'reset_peak_memory_stats', 'empty_cache']

SLACK = 64 << 20   # bytes; or as much as arrays have held at most, up to AMPLE, or a 16th of that: whatever is more
AMPLE = 512 << 20
SET_HANDLER = 304  # PyDataMem_SetHandler in NumPy's table of C functions
COUNTERS = ('taken', 'given', 'peak', 'blocks_taken', 'blocks_given', 'cached', 'reserved_peak', 'mapped', 'retries',
            'failures', 'most', 'limit', 'slack', 'ample')
# Before the data of a block stands its size, of a small one also the C library's pointer and the link to the next on
# its shelf (first block, how many), one for every 64 bytes up to 1024. A large one (from 65536 bytes on) starts 64
# bytes before its data with two links, among the waiting of its size, of which there are 16 for every power of two, and
# among all by age. Those lists are rings of links (next, previous); all zero is an empty ring, too.
ALLOCATOR = '\n'.join(f'{name} = 0' for name in COUNTERS) + '''
shelves = [0] * 34
lists = [0] * 2048
ages = [0] * 2
lock = 0
blank = 0


def acquire():
    while not exchanged(lock, 0, 1):
        sched_yield()


def release():
    exchanged(lock, 1, 0)


def ready(ring):
    if at[ring] == 0:
        at[ring] = ring
        at[ring + 8] = ring
    return ring


def ring_of(size):
    return ready(lists + (log2(size) * 16 + (size >> log2(size) - 4 & 15)) * 16)


def rounded(size):
    unit = 1 << log2(size) - 4
    return size + unit - 1 & -unit


def insert(ring, node):
    first = at[ring]
    at[node] = first
    at[node + 8] = ring
    at[first + 8] = node
    at[ring] = node


def cut(node):
    at[at[node + 8]] = at[node]
    at[at[node] + 8] = at[node + 8]


def count(size):
    taken += size
    blocks_taken += 1
    peak = max(peak, taken - given)


def take(block):
    cut(block)
    cut(block + 16)
    cached -= at[block + 56]
    return at[block + 56]


def unmap(block, size):
    munmap(block, size + 4096)


def evict(allowed):  # gives back what waited longest until no more than that many bytes wait
    while cached > allowed:
        block = at[ages + 8] - 16
        unmap(block, take(block))


def clear():
    acquire()
    evict(0)
    most = taken - given
    release()


def map(size):  # a new block, whose header takes 64 bytes of the page that is mapped in addition
    wide = size >= HUGE
    everything = size + 4096
    found = mmap(0, everything + (HUGE if wide else 0), 3, 34, -1, 0)
    if found == -1:
        return 0
    if not wide:
        return found
    block = found + HUGE - 1 & -HUGE
    if block != found:
        munmap(found, block - found)
    if block != found + HUGE:
        munmap(block + everything, found + HUGE - block)
    madvise(block, size, 14)
    return block


def large(size):  # a block of this size that waits or is new; `blank`: all zeros already. The lock is held
    ring = ring_of(size)
    block = at[ring]
    blank = block == ring
    if block != ring:
        take(block)
        return block + 64
    held = taken - given + size
    most = max(most, held)
    evict(most - held + max(slack, max(most >> 4, min(most, ample))))
    block = map(size)
    if not block:
        evict(0)
        retries += 1
        block = map(size)
        if not block:
            return 0
    mapped += 1
    reserved_peak = max(reserved_peak, held + cached)
    at[block + 56] = size
    return block + 64


def small(size):  # a new block of up to 64 KB
    blank = 0
    raw = malloc(size + 80)
    if not raw:
        evict(0)
        retries += 1
        raw = malloc(size + 80)
        if not raw:
            return 0
    data = raw + 87 & -64
    at[data - 24] = raw
    at[data - 8] = size
    return data


def new(wanted, zero):
    acquire()
    data = 0
    if wanted <= 65472:
        size = wanted + 63 & -64
        data = small(size)
    elif wanted <= 1 << 47:
        size = rounded(wanted)
        data = large(size)
    if not data:
        failures += 1
        release()
        return 0
    count(size)
    dirty = zero and not blank
    release()
    if dirty:
        memset(data, 0, wanted)
    return data


def allocate(context, wanted):
    up = wanted + 63
    if up >> 6 < 17:
        acquire()
        shelf = shelves + (up >> 6) * 16
        data = at[shelf]
        if data:
            at[shelf] = at[data - 16]
            at[shelf + 8] -= 1
            count(up & -64)
            release()
            return data
        release()
    return new(wanted, 0)


def zeroed(context, count, each):
    return new(count * each, 1)


def give_back(context, data, said):  # what NumPy says of the size is no measure: it counts another without elements
    if not data:
        return
    size = at[data - 8]
    acquire()
    given += size
    blocks_given += 1
    if size >= 65536:
        keep(data - 64, size)
        release()
        return
    shelf = shelves + (size >> 6) * 16
    if size <= 1024:
        if at[shelf + 8] < 256:
            at[data - 16] = at[shelf]
            at[shelf] = data
            at[shelf + 8] += 1
            release()
            return
    release()
    free(at[data - 24])


def keep(block, size):
    if size > limit:
        unmap(block, size)
    else:
        evict(limit - size)
        insert(ring_of(size), block)
        insert(ready(ages), block + 16)
        cached += size


def resize(context, data, size):  # the block stays where it is when the new size fills it but for an eighth
    if not data:
        return new(size, 0)
    held = at[data - 8]
    if held - size <= held >> 3:
        return data
    made = new(size, 0)
    if made:
        memcpy(made, data, min(held, size))
        give_back(0, data, 0)
    return made
'''


class _Handler(ctypes.Structure):
    """NumPy's PyDataMem_Handler."""

    _fields_ = [('name', ctypes.c_char * 127), ('version', ctypes.c_uint8), *(
        (part, ctypes.c_void_p) for part in ('context', 'malloc', 'calloc', 'realloc', 'free'))]


class Allocator:
    """The compiled allocator and its counters."""

    def __init__(self, runtime):
        locked = getattr(sys, '_is_gil_enabled', lambda: True)()  # NumPy holds Python's lock at every call
        self.engine = runtime(Program(ALLOCATOR, HUGE=2 << 20, **dict.fromkeys(('acquire', 'release') * locked, 0)))
        self.counters = {name: ctypes.c_int64.from_address(self.engine.get_global_value_address(name))
                         for name in COUNTERS}
        self.counters['slack'].value = SLACK
        self.counters['ample'].value = AMPLE
        self.counters['limit'].value = _physical_memory() // 2
        lock = ctypes.c_int64.from_address(self.engine.get_global_value_address('lock'))
        os.register_at_fork(after_in_child=lambda: setattr(lock, 'value', 0))  # another thread's, which the child lacks
        # With Python's lock held, as at all other calls.
        self.clear = ctypes.PYFUNCTYPE(None)(self.engine.get_function_address('clear'))
        self.handler = _Handler(b'flambeau', 1, None, *map(
            self.engine.get_function_address, ('allocate', 'zeroed', 'resize', 'give_back')))
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.handler))  # the last arrays die after everything else

    def install(self):
        """Makes this NumPy's allocator for arrays to come, in this context."""
        from numpy._core import _multiarray_umath
        python = ctypes.pythonapi
        python.PyCapsule_GetPointer.restype = ctypes.c_void_p
        python.PyCapsule_GetPointer.argtypes = ctypes.py_object, ctypes.c_char_p
        python.PyCapsule_New.restype = ctypes.py_object
        python.PyCapsule_New.argtypes = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
        table = python.PyCapsule_GetPointer(_multiarray_umath._ARRAY_API, None)
        address = ctypes.c_void_p.from_address(table + SET_HANDLER * ctypes.sizeof(ctypes.c_void_p)).value
        capsule = python.PyCapsule_New(ctypes.addressof(self.handler), b'mem_handler', None)
        ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(address)(capsule)
        # Every ufunc asks the context for this, too, which takes 20 ns longer where it is unset and something else set.
        np.seterr(**np.geterr())


def _physical_memory() -> int:
    try:
        return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    except (AttributeError, ValueError, OSError):
        return 4 << 30


_allocator = None


def install(runtime):
    """Puts the allocator behind the arrays of this context, once; where it cannot be, NumPy keeps its own.

    `runtime(program)` gives the engine that holds a module. An allocator that somebody else chose stays.
    """
    global _allocator
    from numpy._core.multiarray import get_handler_name
    if get_handler_name() != 'default_allocator' or not hasattr(os, 'uname') or os.uname().sysname != 'Linux':
        return
    if _allocator is None:
        _allocator = Allocator(runtime)
    _allocator.install()


def _counter(name) -> int:
    return _allocator.counters[name].value if _allocator else 0


def memory_allocated() -> int:
    """Bytes of the blocks that arrays hold now."""
    return _counter('taken') - _counter('given')


def max_memory_allocated() -> int:
    """The most bytes that arrays have held since the start or the last `reset_peak_memory_stats`."""
    return _counter('peak')


def memory_reserved() -> int:
    """Bytes held for arrays, and bytes that wait for the next."""
    return memory_allocated() + _counter('cached')


def reset_peak_memory_stats():
    """Lets all peaks start again from what is held now."""
    if _allocator:
        _allocator.counters['peak'].value = memory_allocated()
        _allocator.counters['reserved_peak'].value = memory_reserved()


def memory_stats() -> dict:
    """The counters by the names that `cuda.memory_stats` uses: bytes, numbers of blocks, and failures."""
    stats = {'allocated_bytes.all.peak': max_memory_allocated(), 'reserved_bytes.all.current': memory_reserved(),
             'reserved_bytes.all.peak': max(_counter('reserved_peak'), memory_reserved()),
             'inactive_split_bytes.all.current': _counter('cached'), 'num_device_alloc': _counter('mapped'),
             'num_alloc_retries': _counter('retries'), 'num_ooms': _counter('failures')}
    for name, taken, given in ('allocated_bytes', 'taken', 'given'), ('allocation', 'blocks_taken', 'blocks_given'):
        stats |= {f'{name}.all.allocated': _counter(taken), f'{name}.all.freed': _counter(given),
                  f'{name}.all.current': _counter(taken) - _counter(given)}
    return stats


def empty_cache():
    """Gives all memory that waits for new arrays back to the system."""
    if _allocator:
        _allocator.clear()
