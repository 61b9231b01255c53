"""Builtin functions over NumPy's arrays as objects, for calls on a few numbers: what tells arrays apart, views of them,
new ones, several joined.

Written for NumPy's array structure and its C interface, whose places in the table of functions never change.
Knows no kernel and no operation.
"""
from __future__ import annotations

import ctypes
import functools
import struct

import numpy as np

from .entry import ARRAY_DATA

__all__ = ['builtins', 'signature', 'empty_call', 'view_plan']

NEW, SET_BASE = 94, 282  # places of PyArray_NewFromDescr and PyArray_SetBaseObject in NumPy's table
MOST_DIMENSIONS = 32
MOST_ELEMENTS = 1 << 14  # that are joined here: more of them are copied on all cores
OBJECTS = f'''
@flambeau_ndarray = external global i8
@flambeau_none = external global i8
@flambeau_type_error = external global i8
@refused = private constant [29 x i8] c"arguments of the wrong kinds\\00"
declare ptr @PyBytes_FromStringAndSize(ptr, i64)
declare i64 @PyLong_AsLongLong(ptr)
declare void @PyErr_SetString(ptr, ptr)
declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare ptr @flambeau_new_array(ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)
declare i32 @flambeau_set_base(ptr, ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define internal i1 @is_array(ptr %object) {{
  %tp = getelementptr i8, ptr %object, i64 8
  %t = load ptr, ptr %tp
  %is = icmp eq ptr %t, @flambeau_ndarray
  ret i1 %is
}}
define internal ptr @field(ptr %object, i64 %place) {{
  %p = getelementptr i8, ptr %object, i64 %place
  %value = load ptr, ptr %p
  ret ptr %value
}}
define internal ptr @data(ptr %array) {{
  %value = call ptr @field(ptr %array, i64 {ARRAY_DATA})
  ret ptr %value
}}
define internal i64 @rank(ptr %array) {{
  %p = getelementptr i8, ptr %array, i64 24
  %n32 = load i32, ptr %p
  %n = sext i32 %n32 to i64
  ret i64 %n
}}
define internal ptr @sizes(ptr %array) {{
  %value = call ptr @field(ptr %array, i64 32)
  ret ptr %value
}}
define internal ptr @strides(ptr %array) {{
  %value = call ptr @field(ptr %array, i64 40)
  ret ptr %value
}}
define internal ptr @dtype(ptr %array) {{
  %value = call ptr @field(ptr %array, i64 56)
  ret ptr %value
}}
define internal i32 @flags(ptr %array) {{
  %p = getelementptr i8, ptr %array, i64 64
  %value = load i32, ptr %p
  ret i32 %value
}}
define internal i64 @number(ptr %numbers, i64 %k) {{
  %p = getelementptr i64, ptr %numbers, i64 %k
  %value = load i64, ptr %p
  ret i64 %value
}}
define internal ptr @refuse() {{
  call void @PyErr_SetString(ptr @flambeau_type_error, ptr @refused)
  ret ptr null
}}
'''
# signature(arguments...) -> bytes that tell apart arrays of different dtypes, shapes or strides: of each 8 bytes of its
# dtype (kind, letter, byte order, number), then how many dimensions it has, sizes and strides. Other arguments are 0.
SIGNATURE = '''
define ptr @signature(ptr %self, ptr %args, i64 %count) nounwind {
entry:
  %words = alloca [1024 x i64]
  br label %argument
argument:
  %k = phi i64 [ 0, %entry ], [ %k1, %next ]
  %at = phi i64 [ 0, %entry ], [ %end, %next ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %look, label %done
look:
  %op = getelementptr ptr, ptr %args, i64 %k
  %o = load ptr, ptr %op
  %place = getelementptr i64, ptr %words, i64 %at
  %is = call i1 @is_array(ptr %o)
  br i1 %is, label %array, label %other
other:
  store i64 0, ptr %place
  %at1 = add i64 %at, 1
  br label %next
array:
  %rank = call i64 @rank(ptr %o)
  %room = add i64 %at, 200
  %fits = icmp slt i64 %room, 1024
  br i1 %fits, label %pack, label %refuse
pack:
  %descr = call ptr @dtype(ptr %o)
  %kindp = getelementptr i8, ptr %descr, i64 24
  %kind = load i64, ptr %kindp
  store i64 %kind, ptr %place
  %place1 = getelementptr i64, ptr %place, i64 1
  store i64 %rank, ptr %place1
  %dims = call ptr @sizes(ptr %o)
  %strides = call ptr @strides(ptr %o)
  %at2 = add i64 %at, 2
  br label %axis
axis:
  %d = phi i64 [ 0, %pack ], [ %d1, %size ]
  %to = phi i64 [ %at2, %pack ], [ %to2, %size ]
  %within = icmp slt i64 %d, %rank
  br i1 %within, label %size, label %next
size:
  %n = call i64 @number(ptr %dims, i64 %d)
  %s = call i64 @number(ptr %strides, i64 %d)
  %p1 = getelementptr i64, ptr %words, i64 %to
  store i64 %n, ptr %p1
  %p2 = getelementptr i64, ptr %p1, i64 1
  store i64 %s, ptr %p2
  %to2 = add i64 %to, 2
  %d1 = add i64 %d, 1
  br label %axis
next:
  %end = phi i64 [ %at1, %other ], [ %to, %axis ]
  %k1 = add i64 %k, 1
  br label %argument
done:
  %bytes = shl i64 %at, 3
  %made = call ptr @PyBytes_FromStringAndSize(ptr %words, i64 %bytes)
  ret ptr %made
refuse:
  %no = call ptr @refuse()
  ret ptr %no
}
'''
# empty(plan, dtype) -> a dense array of anything. The plan is bytes of whole numbers: how many dimensions, and sizes.
EMPTY = '''
define ptr @empty(ptr %self, ptr %args, i64 %count) nounwind {
  %plan = load ptr, ptr %args
  %dtypep = getelementptr ptr, ptr %args, i64 1
  %dtype = load ptr, ptr %dtypep
  %numbers = getelementptr i8, ptr %plan, i64 32
  %rank = call i64 @number(ptr %numbers, i64 0)
  %rank32 = trunc i64 %rank to i32
  %sizes = getelementptr i64, ptr %numbers, i64 1
  call void @Py_IncRef(ptr %dtype)
  %made = call ptr @flambeau_new_array(ptr @flambeau_ndarray, ptr %dtype, i32 %rank32, ptr %sizes, ptr null, ptr null,
                                       i32 0, ptr null)
  ret ptr %made
}
'''
# viewed(array, plan) -> a view. The plan is bytes of whole numbers: where it starts, in bytes behind the array; whether
# it may be written, as NumPy's flag; how many dimensions it has, sizes, strides in bytes.
VIEWED = '''
define ptr @viewed(ptr %self, ptr %args, i64 %count) nounwind {
  %source = load ptr, ptr %args
  %planp = getelementptr ptr, ptr %args, i64 1
  %plan = load ptr, ptr %planp
  %numbers = getelementptr i8, ptr %plan, i64 32
  %offset = call i64 @number(ptr %numbers, i64 0)
  %allowed = call i64 @number(ptr %numbers, i64 1)
  %rank = call i64 @number(ptr %numbers, i64 2)
  %sizes = getelementptr i64, ptr %numbers, i64 3
  %strides = getelementptr i64, ptr %sizes, i64 %rank
  %start = call ptr @data(ptr %source)
  %data = getelementptr i8, ptr %start, i64 %offset
  %had = call i32 @flags(ptr %source)
  %mask = trunc i64 %allowed to i32
  %flags = and i32 %had, %mask
  %rank32 = trunc i64 %rank to i32
  %dtype = call ptr @dtype(ptr %source)
  call void @Py_IncRef(ptr %dtype)
  %made = call ptr @flambeau_new_array(ptr @flambeau_ndarray, ptr %dtype, i32 %rank32, ptr %sizes, ptr %strides,
                                       ptr %data, i32 %flags, ptr null)
  %failed = icmp eq ptr %made, null
  br i1 %failed, label %end, label %keep
keep:
  call void @Py_IncRef(ptr %source)
  %bad = call i32 @flambeau_set_base(ptr %made, ptr %source)
  %fine = icmp eq i32 %bad, 0
  br i1 %fine, label %end, label %drop
drop:
  call void @Py_DecRef(ptr %made)
  ret ptr null
end:
  ret ptr %made
}
'''
# joined(list of arrays, axis, fresh) -> them one behind the other along an axis, which is a new one where `fresh` is 1;
# None where they are not dense arrays of one dtype that fit and are few numbers.
JOINED = f'''
define ptr @joined(ptr %self, ptr %args, i64 %count) nounwind {{
entry:
  %dims = alloca [{MOST_DIMENSIONS} x i64]
  %list = load ptr, ptr %args
  %axisp = getelementptr ptr, ptr %args, i64 1
  %axiso = load ptr, ptr %axisp
  %asked = call i64 @PyLong_AsLongLong(ptr %axiso)
  %freshp = getelementptr ptr, ptr %args, i64 2
  %fresho = load ptr, ptr %freshp
  %fresh = call i64 @PyLong_AsLongLong(ptr %fresho)
  %new = icmp ne i64 %fresh, 0
  %lengthp = getelementptr i8, ptr %list, i64 16
  %length = load i64, ptr %lengthp
  %items = call ptr @field(ptr %list, i64 24)
  %some = icmp sgt i64 %length, 0
  br i1 %some, label %first, label %none
first:
  %first_array = load ptr, ptr %items
  %starts = call i1 @is_array(ptr %first_array)
  br i1 %starts, label %begin, label %none
begin:
  %rank = call i64 @rank(ptr %first_array)
  %result_rank = add i64 %rank, %fresh
  %back = icmp slt i64 %asked, 0
  %turned = add i64 %asked, %result_rank
  %axis = select i1 %back, i64 %turned, i64 %asked
  %inside = icmp ult i64 %axis, %result_rank
  %few = icmp sle i64 %result_rank, {MOST_DIMENSIONS}
  %good = and i1 %inside, %few
  br i1 %good, label %known, label %none
known:
  %dtype = call ptr @dtype(ptr %first_array)
  %like = call ptr @sizes(ptr %first_array)
  br label %each
each:
  %k = phi i64 [ 0, %known ], [ %k1, %fitting ]
  %total = phi i64 [ 0, %known ], [ %longer, %fitting ]
  %more = icmp slt i64 %k, %length
  br i1 %more, label %look, label %shape
look:
  %ip = getelementptr ptr, ptr %items, i64 %k
  %array = load ptr, ptr %ip
  %is = call i1 @is_array(ptr %array)
  br i1 %is, label %typed, label %none
typed:
  %its_dtype = call ptr @dtype(ptr %array)
  %same = icmp eq ptr %its_dtype, %dtype
  %its_rank = call i64 @rank(ptr %array)
  %level = icmp eq i64 %its_rank, %rank
  %its_flags = call i32 @flags(ptr %array)
  %bit = and i32 %its_flags, 1
  %dense = icmp ne i32 %bit, 0
  %both = and i1 %same, %level
  %alike = and i1 %both, %dense
  br i1 %alike, label %sized, label %none
sized:
  %its_sizes = call ptr @sizes(ptr %array)
  br label %compare
compare:
  %d = phi i64 [ 0, %sized ], [ %d1, %equal ]
  %inner = icmp slt i64 %d, %rank
  br i1 %inner, label %size, label %fitting
size:
  %n = call i64 @number(ptr %its_sizes, i64 %d)
  %want = call i64 @number(ptr %like, i64 %d)
  %matches = icmp eq i64 %n, %want
  %here = icmp eq i64 %d, %axis
  %old = xor i1 %new, true
  %free = and i1 %here, %old
  %right = or i1 %matches, %free
  br i1 %right, label %equal, label %none
equal:
  %d1 = add i64 %d, 1
  br label %compare
fitting:
  %own = getelementptr i64, ptr %its_sizes, i64 %axis
  %place = select i1 %new, ptr %lengthp, ptr %own
  %along = load i64, ptr %place
  %step = select i1 %new, i64 1, i64 %along
  %longer = add i64 %total, %step
  %k1 = add i64 %k, 1
  br label %each
shape:
  %r = phi i64 [ 0, %each ], [ %r1, %set ]
  %before = phi i64 [ 1, %each ], [ %before1, %set ]
  %elements = phi i64 [ 1, %each ], [ %elements1, %set ]
  %left = icmp slt i64 %r, %result_rank
  br i1 %left, label %dimension, label %make
dimension:
  %at = icmp eq i64 %r, %axis
  %behind = icmp sgt i64 %r, %axis
  %shift = select i1 %behind, i64 %fresh, i64 0
  %from = sub i64 %r, %shift
  %safe = select i1 %at, i64 0, i64 %from
  %wp = getelementptr i64, ptr %like, i64 %safe
  %source = select i1 %at, ptr %lengthp, ptr %wp
  %found = load i64, ptr %source
  %extent = select i1 %at, i64 %total, i64 %found
  br label %set
set:
  %to = getelementptr i64, ptr %dims, i64 %r
  store i64 %extent, ptr %to
  %elements1 = mul i64 %elements, %extent
  %outer = icmp slt i64 %r, %axis
  %factor = select i1 %outer, i64 %extent, i64 1
  %before1 = mul i64 %before, %factor
  %r1 = add i64 %r, 1
  br label %shape
make:
  %small = icmp sle i64 %elements, {MOST_ELEMENTS}
  br i1 %small, label %allocate, label %none
allocate:
  call void @Py_IncRef(ptr %dtype)
  %rank32 = trunc i64 %result_rank to i32
  %made = call ptr @flambeau_new_array(ptr @flambeau_ndarray, ptr %dtype, i32 %rank32, ptr %dims, ptr null, ptr null,
                                       i32 0, ptr null)
  %failed = icmp eq ptr %made, null
  br i1 %failed, label %end, label %fill
fill:
  %result = call ptr @data(ptr %made)
  %steps = call ptr @strides(ptr %made)
  %unit = call i64 @number(ptr %steps, i64 %axis)
  %row = mul i64 %unit, %total
  br label %part
part:
  %j = phi i64 [ 0, %fill ], [ %j1, %copied ]
  %target = phi ptr [ %result, %fill ], [ %next_target, %copied ]
  %again = icmp slt i64 %j, %length
  br i1 %again, label %piece, label %end
piece:
  %jp = getelementptr ptr, ptr %items, i64 %j
  %part_array = load ptr, ptr %jp
  %part_sizes = call ptr @sizes(ptr %part_array)
  %part_own = getelementptr i64, ptr %part_sizes, i64 %axis
  %part_place = select i1 %new, ptr %lengthp, ptr %part_own
  %part_along = load i64, ptr %part_place
  %part_step = select i1 %new, i64 1, i64 %part_along
  %bytes = mul i64 %unit, %part_step
  %data = call ptr @data(ptr %part_array)
  br label %line
line:
  %i = phi i64 [ 0, %piece ], [ %i1, %copy ]
  %rest = icmp slt i64 %i, %before
  br i1 %rest, label %copy, label %copied
copy:
  %away = mul i64 %i, %row
  %in = mul i64 %i, %bytes
  %there = getelementptr i8, ptr %target, i64 %away
  %origin = getelementptr i8, ptr %data, i64 %in
  call void @llvm.memcpy.p0.p0.i64(ptr %there, ptr %origin, i64 %bytes, i1 false)
  %i1 = add i64 %i, 1
  br label %line
copied:
  %next_target = getelementptr i8, ptr %target, i64 %bytes
  %j1 = add i64 %j, 1
  br label %part
end:
  ret ptr %made
none:
  call void @Py_IncRef(ptr @flambeau_none)
  ret ptr @flambeau_none
}}
'''
WRITEABLE = 0x400


@functools.lru_cache(maxsize=None)
def builtins() -> dict:
    """The builtin functions signature, empty, viewed and joined by name."""
    from .build import runtime_builtins  # which notes launches, for calls whose arrays are made here
    return runtime_builtins(OBJECTS + SIGNATURE + EMPTY + VIEWED + JOINED, ('signature', 'empty', 'viewed', 'joined'),
                            _numpy_functions())


def _numpy_functions():
    """The addresses of the functions of NumPy's that are called here, by the names they have here."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = ctypes.cast(pointer(np._core._multiarray_umath._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
    return {'flambeau_new_array': table[NEW], 'flambeau_set_base': table[SET_BASE]}


def signature():
    """The builtin signature(arguments...): bytes that tell arrays apart by dtype, shape and strides."""
    return builtins()['signature']


def empty_call(shape, dtype, name):
    """(text that calls builtin `empty`, names that it uses): an array of a shape and dtype, to be written into functions.
    """
    return f'empty({name}_sizes, {name}_dtype)', {
        'empty': builtins()['empty'], f'{name}_dtype': dtype, f'{name}_sizes': struct.pack(f'{1 + len(shape)}q', len(shape), *shape)}


def view_plan(view, source):
    """The plan of a view for arrays of the shape and strides of `source`; None where it is no view of its memory."""
    if view.__class__ is not np.ndarray or view.dtype is not source.dtype or not np.may_share_memory(view, source):
        return None
    offset = view.ctypes.data - source.ctypes.data
    allowed = WRITEABLE if view.flags.writeable or not source.flags.writeable else 0
    return struct.pack(f'{3 + 2 * view.ndim}q', offset, allowed, view.ndim, *view.shape, *view.strides)
