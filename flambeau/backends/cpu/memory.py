"""The caching allocator behind NumPy's arrays: large blocks are kept when an array dies and given to the next one.

A fresh large block costs a page fault for every page, many times what most operations cost. NumPy lets its allocator be
replaced (NEP 49); this one is native code made at first use. Blocks under 64 KB are the C library's; larger ones are mapped
in 16 sizes per power of two, with huge pages from 2 MB on, and wait in a list per size, last in first out, until more than
`LIMIT` bytes wait. Arrays made in other Python threads use NumPy's own allocator. Knows no kernel.
"""
from __future__ import annotations

import ctypes
import os

__all__ = ['install', 'memory_stats', 'memory_allocated', 'max_memory_allocated', 'memory_reserved',
           'reset_peak_memory_stats', 'empty_cache']

LIMIT = 512 << 20
SET_HANDLER = 304  # PyDataMem_SetHandler in NumPy's table of C functions

ALLOCATOR = '''
@lists = global [1024 x ptr] zeroinitializer
@lock = global i32 0
@allocated = global i64 0
@peak = global i64 0
@cached = global i64 0
@mapped = global i64 0
@limit = global i64 0
declare ptr @malloc(i64)
declare ptr @realloc(ptr, i64)
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

define internal i64 @index(i64 %size) {
  %zeros = call i64 @llvm.ctlz.i64(i64 %size, i1 true)
  %log = sub i64 63, %zeros
  %shift = sub i64 %log, 4
  %top = lshr i64 %size, %shift
  %part = and i64 %top, 15
  %whole = shl i64 %log, 4
  %i = or i64 %whole, %part
  %k = and i64 %i, 1023
  ret i64 %k
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

define internal void @count(i64 %size) {
  %a = load i64, ptr @allocated
  %b = add i64 %a, %size
  store i64 %b, ptr @allocated
  %p = load i64, ptr @peak
  %q = call i64 @llvm.umax.i64(i64 %p, i64 %b)
  store i64 %q, ptr @peak
  ret void
}

define void @clear() {
entry:
  call void @acquire()
  br label %next
next:
  %k = phi i64 [ 0, %entry ], [ %k, %drop ], [ %more, %empty ]
  %slot = getelementptr [1024 x ptr], ptr @lists, i64 0, i64 %k
  %head = load ptr, ptr %slot
  %none = icmp eq ptr %head, null
  br i1 %none, label %empty, label %drop
drop:
  %rest = load ptr, ptr %head
  store ptr %rest, ptr %slot
  %place = getelementptr i8, ptr %head, i64 48
  %size = load i64, ptr %place
  %c = load i64, ptr @cached
  %d = sub i64 %c, %size
  store i64 %d, ptr @cached
  %u = call i32 @munmap(ptr %head, i64 %size)
  br label %next
empty:
  %more = add i64 %k, 1
  %end = icmp eq i64 %more, 1024
  br i1 %end, label %over, label %next
over:
  call void @release()
  ret void
}

define internal ptr @map(i64 %size) {
  %wide = icmp uge i64 %size, 2097152
  %extra = select i1 %wide, i64 2097152, i64 0
  %asked = add i64 %size, %extra
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
  %stop = getelementptr i8, ptr %p, i64 %size
  %has = icmp ne i64 %after, 0
  br i1 %has, label %cut, label %advise
cut:
  %u2 = call i32 @munmap(ptr %stop, i64 %after)
  br label %advise
advise:
  %v = call i32 @madvise(ptr %p, i64 %size, i32 14)
  ret ptr %p
}

define internal ptr @large(i64 %wanted, i1 %zero) {
entry:
  %with = add i64 %wanted, 64
  %size = call i64 @rounded(i64 %with)
  %k = call i64 @index(i64 %size)
  %slot = getelementptr [1024 x ptr], ptr @lists, i64 0, i64 %k
  call void @acquire()
  %head = load ptr, ptr %slot
  %none = icmp eq ptr %head, null
  br i1 %none, label %fresh, label %reuse
reuse:
  %rest = load ptr, ptr %head
  store ptr %rest, ptr %slot
  %c = load i64, ptr @cached
  %d = sub i64 %c, %size
  store i64 %d, ptr @cached
  call void @count(i64 %size)
  call void @release()
  %data = getelementptr i8, ptr %head, i64 64
  br i1 %zero, label %wipe, label %give
wipe:
  %w = call ptr @memset(ptr %data, i32 0, i64 %wanted)
  br label %give
give:
  ret ptr %data
fresh:
  %mc = load i64, ptr @mapped
  %mc1 = add i64 %mc, 1
  store i64 %mc1, ptr @mapped
  call void @release()
  %m = call ptr @map(i64 %size)
  %failed = icmp eq ptr %m, null
  br i1 %failed, label %again, label %made
again:
  call void @clear()
  %m2 = call ptr @map(i64 %size)
  %lost = icmp eq ptr %m2, null
  br i1 %lost, label %none2, label %made
none2:
  ret ptr null
made:
  %p = phi ptr [ %m, %fresh ], [ %m2, %again ]
  call void @acquire()
  call void @count(i64 %size)
  call void @release()
  %place = getelementptr i8, ptr %p, i64 48
  store i64 %size, ptr %place
  %q = getelementptr i8, ptr %p, i64 64
  ret ptr %q
}

define internal ptr @any(i64 %size, i1 %zero) {
  %big = icmp uge i64 %size, 65536
  br i1 %big, label %huge, label %small
huge:
  %absurd = icmp ugt i64 %size, 140737488355328
  br i1 %absurd, label %no, label %fits
fits:
  %p = call ptr @large(i64 %size, i1 %zero)
  ret ptr %p
small:
  %with = add i64 %size, 16
  %raw = call ptr @malloc(i64 %with)
  %none = icmp eq ptr %raw, null
  br i1 %none, label %no, label %yes
no:
  ret ptr null
yes:
  store i64 0, ptr %raw
  %length = getelementptr i8, ptr %raw, i64 8
  store i64 %size, ptr %length
  %data = getelementptr i8, ptr %raw, i64 16
  br i1 %zero, label %wipe, label %give
wipe:
  %w = call ptr @memset(ptr %data, i32 0, i64 %size)
  br label %give
give:
  ret ptr %data
}

define ptr @allocate(ptr %context, i64 %size) {
  %p = call ptr @any(i64 %size, i1 false)
  ret ptr %p
}

define ptr @zeroed(ptr %context, i64 %count, i64 %each) {
  %size = mul i64 %count, %each
  %p = call ptr @any(i64 %size, i1 true)
  ret ptr %p
}

define void @give_back(ptr %context, ptr %data, i64 %said) {
  %none = icmp eq ptr %data, null
  br i1 %none, label %over, label %look
look:
  %place = getelementptr i8, ptr %data, i64 -16
  %size = load i64, ptr %place
  %small = icmp eq i64 %size, 0
  br i1 %small, label %plain, label %big
plain:
  call void @free(ptr %place)
  ret void
big:
  %base = getelementptr i8, ptr %data, i64 -64
  call void @acquire()
  %a = load i64, ptr @allocated
  %b = sub i64 %a, %size
  store i64 %b, ptr @allocated
  %c = load i64, ptr @cached
  %d = add i64 %c, %size
  %limit = load i64, ptr @limit
  %full = icmp ugt i64 %d, %limit
  br i1 %full, label %drop, label %keep
drop:
  call void @release()
  %u = call i32 @munmap(ptr %base, i64 %size)
  ret void
keep:
  store i64 %d, ptr @cached
  %k = call i64 @index(i64 %size)
  %slot = getelementptr [1024 x ptr], ptr @lists, i64 0, i64 %k
  %head = load ptr, ptr %slot
  store ptr %head, ptr %base
  store ptr %base, ptr %slot
  call void @release()
  ret void
over:
  ret void
}

define ptr @resize(ptr %context, ptr %data, i64 %size) {
  %place = getelementptr i8, ptr %data, i64 -16
  %old = load i64, ptr %place
  %was_small = icmp eq i64 %old, 0
  %is_small = icmp ult i64 %size, 65536
  %both = and i1 %was_small, %is_small
  br i1 %both, label %plain, label %move
plain:
  %with = add i64 %size, 16
  %raw = call ptr @realloc(ptr %place, i64 %with)
  %none = icmp eq ptr %raw, null
  br i1 %none, label %no, label %moved
moved:
  %length = getelementptr i8, ptr %raw, i64 8
  store i64 %size, ptr %length
  %q = getelementptr i8, ptr %raw, i64 16
  ret ptr %q
move:
  %room = sub i64 %old, 64
  %noted = getelementptr i8, ptr %data, i64 -8
  %little = load i64, ptr %noted
  %held = select i1 %was_small, i64 %little, i64 %room
  %p = call ptr @any(i64 %size, i1 false)
  %failed = icmp eq ptr %p, null
  br i1 %failed, label %no, label %copy
copy:
  %n = call i64 @llvm.umin.i64(i64 %held, i64 %size)
  %c = call ptr @memcpy(ptr %p, ptr %data, i64 %n)
  call void @give_back(ptr null, ptr %data, i64 0)
  ret ptr %p
no:
  ret ptr null
}
'''


class _Handler(ctypes.Structure):
    """NumPy's PyDataMem_Handler."""

    _fields_ = [('name', ctypes.c_char * 127), ('version', ctypes.c_uint8), ('context', ctypes.c_void_p),
                ('malloc', ctypes.c_void_p), ('calloc', ctypes.c_void_p), ('realloc', ctypes.c_void_p), ('free', ctypes.c_void_p)]


class Allocator:
    """The compiled allocator and its counters."""

    def __init__(self, runtime):
        self.engine = runtime(ALLOCATOR)
        self.counters = {name: ctypes.c_int64.from_address(self.engine.get_global_value_address(name))
                         for name in ('allocated', 'peak', 'cached', 'mapped', 'limit')}
        self.counters['limit'].value = min(LIMIT, _physical_memory() // 8)
        lock = ctypes.c_int32.from_address(self.engine.get_global_value_address('lock'))
        os.register_at_fork(after_in_child=lambda: setattr(lock, 'value', 0))  # another thread's, which the child lacks
        self.clear = ctypes.CFUNCTYPE(None)(self.engine.get_function_address('clear'))
        self.handler = _Handler(b'flambeau', 1, None, *map(
            self.engine.get_function_address, ('allocate', 'zeroed', 'resize', 'give_back')))

    def install(self):
        """Makes this NumPy's allocator for arrays to come."""
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


def _physical_memory() -> int:
    try:
        return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    except (AttributeError, ValueError, OSError):
        return 4 << 30


_allocator = None


def install(runtime):
    """Puts the allocator behind NumPy's arrays, once; where it cannot be, NumPy keeps its own.

    `runtime(text)` gives the engine that holds a module.
    """
    global _allocator
    if _allocator is None and hasattr(os, 'register_at_fork') and hasattr(os, 'uname') and os.uname().sysname == 'Linux':
        _allocator = Allocator(runtime)  # never freed: arrays may outlive everything else
        _allocator.install()


def _counter(name) -> int:
    return _allocator.counters[name].value if _allocator else 0


def memory_allocated() -> int:
    """Bytes of the large blocks that arrays hold now."""
    return _counter('allocated')


def max_memory_allocated() -> int:
    """The most bytes that arrays have held since the start or the last `reset_peak_memory_stats`."""
    return _counter('peak')


def memory_reserved() -> int:
    """Bytes held for arrays, and bytes that wait for the next."""
    return _counter('allocated') + _counter('cached')


def reset_peak_memory_stats():
    if _allocator:
        _allocator.counters['peak'].value = _counter('allocated')


def memory_stats() -> dict:
    """The counters by the names that `cuda.memory_stats` uses."""
    return {'allocated_bytes.all.current': memory_allocated(), 'allocated_bytes.all.peak': max_memory_allocated(),
            'reserved_bytes.all.current': memory_reserved(), 'inactive_split_bytes.all.current': _counter('cached'),
            'num_device_alloc': _counter('mapped')}


def empty_cache():
    """Gives all memory that waits for new arrays back to the system."""
    if _allocator:
        _allocator.clear()
