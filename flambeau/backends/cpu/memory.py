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

__all__ = ['install', 'memory_stats', 'memory_allocated', 'max_memory_allocated', 'memory_reserved',
           'reset_peak_memory_stats', 'empty_cache']

SLACK = 64 << 20   # bytes; or as much as arrays have held at most, up to AMPLE, or a 16th of that: whatever is more
AMPLE = 512 << 20
SET_HANDLER = 304  # PyDataMem_SetHandler in NumPy's table of C functions
COUNTERS = ('taken', 'given', 'peak', 'blocks_taken', 'blocks_given', 'cached', 'reserved_peak', 'mapped', 'retries',
            'failures', 'most', 'limit', 'slack', 'ample')
# Before the data of a block stands its size, of a small one also the C library's pointer and the link to the next on
# its shelf, one for every 64 bytes up to 1024. A large one (from 65536 bytes on) starts 64 bytes before its data with
# two links, among the waiting of its size and among all by age. Those lists are rings of links (next, previous).
ALLOCATOR = '\n'.join(f'@{name} = global i64 0' for name in COUNTERS) + '''
@shelves = global [17 x { ptr, i64 }] zeroinitializer
@lists = global [1024 x { ptr, ptr }] zeroinitializer
@ages = global { ptr, ptr } { ptr @ages, ptr @ages }
@lock = global i32 0
declare ptr @malloc(i64)
declare void @free(ptr)
declare ptr @mmap(ptr, i64, i32, i32, i32, i64)
declare i32 @munmap(ptr, i64)
declare i32 @madvise(ptr, i64, i32)
declare i32 @sched_yield()
declare ptr @memset(ptr, i32, i64)
declare ptr @memcpy(ptr, ptr, i64)
declare i64 @llvm.ctlz.i64(i64, i1)
declare i64 @llvm.umin.i64(i64, i64)
declare i64 @llvm.umax.i64(i64, i64)

define internal void @acquire() {
entry:
  br label %try
try:
  %pair = cmpxchg ptr @lock, i32 0, i32 1 acquire monotonic
  %won = extractvalue { i32, i1 } %pair, 1
  br i1 %won, label %done, label %wait
wait:
  %y = call i32 @sched_yield()
  br label %try
done:
  ret void
}

define internal void @release() {
  store atomic i32 0, ptr @lock release, align 4
  ret void
}

; The ring of blocks of a size that is one of the 16 per power of two. All zero is an empty ring, too.
define internal ptr @ring(i64 %size) {
  %zeros = call i64 @llvm.ctlz.i64(i64 %size, i1 true)
  %log = sub i64 63, %zeros
  %shift = sub i64 %log, 4
  %top = lshr i64 %size, %shift
  %part = and i64 %top, 15
  %whole = shl i64 %log, 4
  %i = or i64 %whole, %part
  %head = getelementptr [1024 x { ptr, ptr }], ptr @lists, i64 0, i64 %i
  %first = load ptr, ptr %head
  %new = icmp eq ptr %first, null
  br i1 %new, label %start, label %ready
start:
  %previous = getelementptr ptr, ptr %head, i64 1
  store ptr %head, ptr %head
  store ptr %head, ptr %previous
  br label %ready
ready:
  ret ptr %head
}

define internal i64 @rounded(i64 %size) {
  %zeros = call i64 @llvm.ctlz.i64(i64 %size, i1 true)
  %shift = sub i64 59, %zeros
  %unit = shl i64 1, %shift
  %less = sub i64 %unit, 1
  %up = add i64 %size, %less
  %mask = sub i64 0, %unit
  %r = and i64 %up, %mask
  ret i64 %r
}

define internal void @link(ptr %head, ptr %node) {
  %first = load ptr, ptr %head
  %previous = getelementptr ptr, ptr %node, i64 1
  %back = getelementptr ptr, ptr %first, i64 1
  store ptr %first, ptr %node
  store ptr %head, ptr %previous
  store ptr %node, ptr %back
  store ptr %node, ptr %head
  ret void
}

define internal void @unlink(ptr %node) {
  %next = load ptr, ptr %node
  %place = getelementptr ptr, ptr %node, i64 1
  %previous = load ptr, ptr %place
  %back = getelementptr ptr, ptr %next, i64 1
  store ptr %previous, ptr %back
  store ptr %next, ptr %previous
  ret void
}

define internal i64 @add(ptr %counter, i64 %change) {
  %old = load i64, ptr %counter
  %new = add i64 %old, %change
  store i64 %new, ptr %counter
  ret i64 %new
}

define internal i64 @allocated() {
  %t = load i64, ptr @taken
  %g = load i64, ptr @given
  %a = sub i64 %t, %g
  ret i64 %a
}

define internal void @count(i64 %size) {
  %t0 = load i64, ptr @taken
  %t = add i64 %t0, %size
  store i64 %t, ptr @taken
  %n0 = load i64, ptr @blocks_taken
  %n = add i64 %n0, 1
  store i64 %n, ptr @blocks_taken
  %g = load i64, ptr @given
  %a = sub i64 %t, %g
  %p = load i64, ptr @peak
  %higher = icmp ugt i64 %a, %p
  br i1 %higher, label %raise, label %done
raise:
  store i64 %a, ptr @peak
  br label %done
done:
  ret void
}

; Takes a block out of its rings; its size.
define internal i64 @remove(ptr %block) {
  %age = getelementptr i8, ptr %block, i64 16
  call void @unlink(ptr %block)
  call void @unlink(ptr %age)
  %place = getelementptr i8, ptr %block, i64 56
  %size = load i64, ptr %place
  %less = sub i64 0, %size
  %c = call i64 @add(ptr @cached, i64 %less)
  ret i64 %size
}

define internal void @unmap(ptr %block, i64 %size) {
  %all = add i64 %size, 4096
  %u = call i32 @munmap(ptr %block, i64 %all)
  ret void
}

; Gives back what waited longest until no more than `allowed` bytes wait.
define internal void @evict(i64 %allowed) {
entry:
  br label %next
next:
  %c = load i64, ptr @cached
  %more = icmp ugt i64 %c, %allowed
  br i1 %more, label %drop, label %done
drop:
  %oldest = load ptr, ptr getelementptr (ptr, ptr @ages, i64 1)
  %block = getelementptr i8, ptr %oldest, i64 -16
  %size = call i64 @remove(ptr %block)
  call void @unmap(ptr %block, i64 %size)
  br label %next
done:
  ret void
}

define void @clear() {
  ACQUIRE
  call void @evict(i64 0)
  %a = call i64 @allocated()
  store i64 %a, ptr @most
  RELEASE
  ret void
}

; A new block. Its header takes 64 bytes of the page that is mapped in addition.
define internal ptr @map(i64 %size) {
  %wide = icmp uge i64 %size, 2097152
  %extra = select i1 %wide, i64 2097152, i64 0
  %all = add i64 %size, 4096
  %asked = add i64 %all, %extra
  %m = call ptr @mmap(ptr null, i64 %asked, i32 3, i32 34, i32 -1, i64 0)
  %a = ptrtoint ptr %m to i64
  %failed = icmp eq i64 %a, -1
  br i1 %failed, label %no, label %got
no:
  ret ptr null
got:
  br i1 %wide, label %align, label %plain
plain:
  ret ptr %m
align:
  %up = add i64 %a, 2097151
  %base = and i64 %up, -2097152
  %before = sub i64 %base, %a
  %some = icmp ne i64 %before, 0
  br i1 %some, label %head, label %tail
head:
  %u1 = call i32 @munmap(ptr %m, i64 %before)
  br label %tail
tail:
  %after = sub i64 2097152, %before
  %p = inttoptr i64 %base to ptr
  %stop = getelementptr i8, ptr %p, i64 %all
  %has = icmp ne i64 %after, 0
  br i1 %has, label %cut, label %advise
cut:
  %u2 = call i32 @munmap(ptr %stop, i64 %after)
  br label %advise
advise:
  %v = call i32 @madvise(ptr %p, i64 %size, i32 14)
  ret ptr %p
}

; A block of this size that waits or is new, and whether it is all zeros already. The lock is held.
define internal { ptr, i1 } @large(i64 %size) {
entry:
  %ring = call ptr @ring(i64 %size)
  %block = load ptr, ptr %ring
  %none = icmp eq ptr %block, %ring
  br i1 %none, label %fresh, label %reuse
reuse:
  %s = call i64 @remove(ptr %block)
  br label %give
fresh:
  %a = call i64 @allocated()
  %held = add i64 %a, %size
  %m = load i64, ptr @most
  %most = call i64 @llvm.umax.i64(i64 %m, i64 %held)
  store i64 %most, ptr @most
  %sixteenth = lshr i64 %most, 4
  %ample = load i64, ptr @ample
  %as_much = call i64 @llvm.umin.i64(i64 %most, i64 %ample)
  %part = call i64 @llvm.umax.i64(i64 %sixteenth, i64 %as_much)
  %fixed = load i64, ptr @slack
  %slack = call i64 @llvm.umax.i64(i64 %part, i64 %fixed)
  %room = sub i64 %most, %held
  %allowed = add i64 %room, %slack
  call void @evict(i64 %allowed)
  %p = call ptr @map(i64 %size)
  %failed = icmp eq ptr %p, null
  br i1 %failed, label %again, label %made
again:
  call void @evict(i64 0)
  %r = call i64 @add(ptr @retries, i64 1)
  %q = call ptr @map(i64 %size)
  %lost = icmp eq ptr %q, null
  br i1 %lost, label %no, label %made
no:
  ret { ptr, i1 } zeroinitializer
made:
  %b = phi ptr [ %p, %fresh ], [ %q, %again ]
  %n = call i64 @add(ptr @mapped, i64 1)
  %c = load i64, ptr @cached
  %reserved = add i64 %held, %c
  %e = load i64, ptr @reserved_peak
  %peak = call i64 @llvm.umax.i64(i64 %e, i64 %reserved)
  store i64 %peak, ptr @reserved_peak
  %place = getelementptr i8, ptr %b, i64 56
  store i64 %size, ptr %place
  br label %give
give:
  %found = phi ptr [ %block, %reuse ], [ %b, %made ]
  %zero = phi i1 [ false, %reuse ], [ true, %made ]
  %data = getelementptr i8, ptr %found, i64 64
  %x = insertvalue { ptr, i1 } undef, ptr %data, 0
  %y = insertvalue { ptr, i1 } %x, i1 %zero, 1
  ret { ptr, i1 } %y
}

; A new block of up to 64 KB.
define internal ptr @small(i64 %size) {
entry:
  %with = add i64 %size, 80
  %p = call ptr @malloc(i64 %with)
  %failed = icmp eq ptr %p, null
  br i1 %failed, label %again, label %made
again:
  call void @evict(i64 0)
  %r = call i64 @add(ptr @retries, i64 1)
  %q = call ptr @malloc(i64 %with)
  %lost = icmp eq ptr %q, null
  br i1 %lost, label %no, label %made
no:
  ret ptr null
made:
  %raw = phi ptr [ %p, %entry ], [ %q, %again ]
  %a = ptrtoint ptr %raw to i64
  %up = add i64 %a, 87
  %aligned = and i64 %up, -64
  %data = inttoptr i64 %aligned to ptr
  %origin = getelementptr i8, ptr %data, i64 -24
  store ptr %raw, ptr %origin
  %place = getelementptr i8, ptr %data, i64 -8
  store i64 %size, ptr %place
  ret ptr %data
}

define internal ptr @any(i64 %wanted, i1 %zero) {
entry:
  ACQUIRE
  %big = icmp ugt i64 %wanted, 65472
  br i1 %big, label %check, label %little
check:
  %absurd = icmp ugt i64 %wanted, 140737488355328
  br i1 %absurd, label %no, label %much
much:
  %size = call i64 @rounded(i64 %wanted)
  %pair = call { ptr, i1 } @large(i64 %size)
  %p = extractvalue { ptr, i1 } %pair, 0
  %blank = extractvalue { ptr, i1 } %pair, 1
  br label %look
little:
  %above = add i64 %wanted, 63
  %full = and i64 %above, -64
  %q = call ptr @small(i64 %full)
  br label %look
look:
  %data = phi ptr [ %p, %much ], [ %q, %little ]
  %clean = phi i1 [ %blank, %much ], [ false, %little ]
  %held = phi i64 [ %size, %much ], [ %full, %little ]
  %none = icmp eq ptr %data, null
  br i1 %none, label %no, label %yes
no:
  %f = call i64 @add(ptr @failures, i64 1)
  RELEASE
  ret ptr null
yes:
  call void @count(i64 %held)
  RELEASE
  %dirty = xor i1 %clean, true
  %both = and i1 %zero, %dirty
  br i1 %both, label %wipe, label %give
wipe:
  %w = call ptr @memset(ptr %data, i32 0, i64 %wanted)
  br label %give
give:
  ret ptr %data
}

define ptr @allocate(ptr %context, i64 %wanted) {
entry:
  %up = add i64 %wanted, 63
  %class = lshr i64 %up, 6
  %tiny = icmp ult i64 %class, 17
  br i1 %tiny, label %look, label %other
look:
  ACQUIRE
  %shelf = getelementptr [17 x { ptr, i64 }], ptr @shelves, i64 0, i64 %class
  %data = load ptr, ptr %shelf
  %none = icmp eq ptr %data, null
  br i1 %none, label %empty, label %pop
pop:
  %link = getelementptr i8, ptr %data, i64 -16
  %next = load ptr, ptr %link
  store ptr %next, ptr %shelf
  %number = getelementptr { ptr, i64 }, ptr %shelf, i64 0, i32 1
  %n = load i64, ptr %number
  %m = sub i64 %n, 1
  store i64 %m, ptr %number
  %size = and i64 %up, -64
  call void @count(i64 %size)
  RELEASE
  ret ptr %data
empty:
  RELEASE
  br label %other
other:
  %p = call ptr @any(i64 %wanted, i1 false)
  ret ptr %p
}

define ptr @zeroed(ptr %context, i64 %count, i64 %each) {
  %size = mul i64 %count, %each
  %p = call ptr @any(i64 %size, i1 true)
  ret ptr %p
}

; What NumPy says of the size is no measure: it counts another for arrays without elements.
define void @give_back(ptr %context, ptr %data, i64 %said) {
  %none = icmp eq ptr %data, null
  br i1 %none, label %over, label %look
look:
  %place = getelementptr i8, ptr %data, i64 -8
  %size = load i64, ptr %place
  ACQUIRE
  %a = call i64 @add(ptr @given, i64 %size)
  %n = call i64 @add(ptr @blocks_given, i64 1)
  %big = icmp uge i64 %size, 65536
  br i1 %big, label %much, label %little
little:
  %tiny = icmp ule i64 %size, 1024
  br i1 %tiny, label %put, label %free
put:
  %class = lshr i64 %size, 6
  %shelf = getelementptr [17 x { ptr, i64 }], ptr @shelves, i64 0, i64 %class
  %number = getelementptr { ptr, i64 }, ptr %shelf, i64 0, i32 1
  %on = load i64, ptr %number
  %crowded = icmp uge i64 %on, 256
  br i1 %crowded, label %free, label %push
push:
  %top = load ptr, ptr %shelf
  %link = getelementptr i8, ptr %data, i64 -16
  store ptr %top, ptr %link
  store ptr %data, ptr %shelf
  %more = add i64 %on, 1
  store i64 %more, ptr %number
  RELEASE
  ret void
free:
  RELEASE
  %origin = getelementptr i8, ptr %data, i64 -24
  %raw = load ptr, ptr %origin
  call void @free(ptr %raw)
  ret void
much:
  %block = getelementptr i8, ptr %data, i64 -64
  %limit = load i64, ptr @limit
  %huge = icmp ugt i64 %size, %limit
  br i1 %huge, label %drop, label %keep
drop:
  call void @unmap(ptr %block, i64 %size)
  br label %done
keep:
  %allowed = sub i64 %limit, %size
  call void @evict(i64 %allowed)
  %ring = call ptr @ring(i64 %size)
  %age = getelementptr i8, ptr %block, i64 16
  call void @link(ptr %ring, ptr %block)
  call void @link(ptr @ages, ptr %age)
  %c = call i64 @add(ptr @cached, i64 %size)
  br label %done
done:
  RELEASE
  ret void
over:
  ret void
}

; The block stays where it is when the new size fills it but for an eighth.
define ptr @resize(ptr %context, ptr %data, i64 %size) {
entry:
  %nothing = icmp eq ptr %data, null
  br i1 %nothing, label %new, label %look
new:
  %p = call ptr @any(i64 %size, i1 false)
  ret ptr %p
look:
  %place = getelementptr i8, ptr %data, i64 -8
  %held = load i64, ptr %place
  %spare = sub i64 %held, %size
  %eighth = lshr i64 %held, 3
  %fits = icmp ule i64 %spare, %eighth
  br i1 %fits, label %stay, label %move
stay:
  ret ptr %data
move:
  %q = call ptr @any(i64 %size, i1 false)
  %failed = icmp eq ptr %q, null
  br i1 %failed, label %no, label %copy
copy:
  %n = call i64 @llvm.umin.i64(i64 %held, i64 %size)
  %c = call ptr @memcpy(ptr %q, ptr %data, i64 %n)
  call void @give_back(ptr null, ptr %data, i64 0)
  ret ptr %q
no:
  ret ptr null
}
'''


class _Handler(ctypes.Structure):
    """NumPy's PyDataMem_Handler."""

    _fields_ = [('name', ctypes.c_char * 127), ('version', ctypes.c_uint8), *(
        (part, ctypes.c_void_p) for part in ('context', 'malloc', 'calloc', 'realloc', 'free'))]


class Allocator:
    """The compiled allocator and its counters."""

    def __init__(self, runtime):
        text = ALLOCATOR
        for name in ('acquire', 'release'):  # where Python's lock is gone; NumPy holds it at every call
            free = not getattr(sys, '_is_gil_enabled', lambda: True)()
            text = text.replace(name.upper(), f'call void @{name}()' if free else '')
        self.engine = runtime(text)
        self.counters = {name: ctypes.c_int64.from_address(self.engine.get_global_value_address(name))
                         for name in COUNTERS}
        self.counters['slack'].value = SLACK
        self.counters['ample'].value = AMPLE
        self.counters['limit'].value = _physical_memory() // 2
        lock = ctypes.c_int32.from_address(self.engine.get_global_value_address('lock'))
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

    `runtime(text)` gives the engine that holds a module. An allocator that somebody else chose stays.
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
