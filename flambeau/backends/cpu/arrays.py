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
from .native import Program

__all__ = ['builtins', 'signature', 'empty_call', 'view_plan']

NEW, SET_BASE = 94, 282  # places of PyArray_NewFromDescr and PyArray_SetBaseObject in NumPy's table
MOST_DIMENSIONS = 32
MOST_ELEMENTS = 1 << 14  # that are joined here: more of them are copied on all cores
# Where in an array its parts are
PLACES = {'TYPE': 8, 'RANK': 24, 'SIZES': 32, 'STRIDES': 40, 'DTYPE': 56, 'FLAGS': 64, 'DATA': ARRAY_DATA}
CONTENT = 32  # place of the first of the bytes in Python's object
OBJECTS = '''
def is_array(item):
    return at[item + TYPE] == address(flambeau_ndarray)


def refuse():
    PyErr_SetString(address(flambeau_type_error), 'arguments of the wrong kinds')


def created(dtype, rank, sizes, strides, data, flags):
    Py_IncRef(dtype)
    return flambeau_new_array(address(flambeau_ndarray), dtype, rank, sizes, strides, data, flags, 0)
'''
# signature(arguments...) -> bytes that tell apart arrays of different dtypes, shapes or strides: of each 8 bytes of its
# dtype (kind, letter, byte order, number), then how many dimensions it has, sizes and strides. Other arguments are 0.
SIGNATURE = '''
def signature(self, args, count):
    words = [0] * 1024
    to = words
    end = args + count * 8
    while args != end:
        if to > words + (1024 - 200) * 8:
            return refuse()
        item = at[args]
        args += 8
        if is_array(item):
            rank = half[item + RANK]
            at[to] = at[at[item + DTYPE] + 24]
            at[to + 8] = rank
            sizes = at[item + SIZES]
            strides = at[item + STRIDES]
            last = sizes + rank * 8
            while sizes != last:
                to += 16
                at[to] = at[sizes]
                at[to + 8] = at[strides]
                sizes += 8
                strides += 8
            to += 16
        else:
            at[to] = 0
            to += 8
    return PyBytes_FromStringAndSize(words, to - words)
'''
# empty(plan, dtype) -> a dense array of anything. The plan is bytes of whole numbers: how many dimensions, and sizes.
EMPTY = '''
def empty(self, args, count):
    plan = at[args] + CONTENT
    return created(at[args + 8], at[plan], plan + 8, 0, 0, 0)
'''
# viewed(array, plan) -> a view. The plan is bytes of whole numbers: where it starts, in bytes behind the array; whether
# it may be written, as NumPy's flag; how many dimensions it has, sizes, strides in bytes.
VIEWED = '''
def viewed(self, args, count):
    source = at[args]
    plan = at[args + 8] + CONTENT
    rank = at[plan + 16]
    sizes = plan + 24
    flags = half[source + FLAGS] & at[plan + 8]
    made = created(at[source + DTYPE], rank, sizes, sizes + rank * 8, at[source + DATA] + at[plan], flags)
    if made:
        Py_IncRef(source)
        if flambeau_set_base(made, source) & LOW:
            Py_DecRef(made)
            return
    return made
'''
# joined(list of arrays, axis, fresh) -> them one behind the other along an axis, which is a new one where `fresh` is 1;
# None where they are not dense arrays of one dtype that fit and are few numbers.
JOINED = '''
def joined(self, args, count):
    sizes = [0] * MOST_DIMENSIONS
    items = at[at[args] + 24]
    end = items + at[at[args] + 16] * 8
    axis = PyLong_AsLongLong(at[args + 8])
    fresh = PyLong_AsLongLong(at[args + 16])
    if items == end:
        return nothing()
    first = at[items]
    if not is_array(first):
        return nothing()
    rank = half[first + RANK] + fresh
    if axis >> 63:
        axis += rank
    if axis >= rank or rank > MOST_DIMENSIONS:
        return nothing()
    extent = extent_of_all(items, end, axis, fresh)
    if extent == MISFIT or size_of_all(sizes, at[first + SIZES], rank, axis, fresh, extent) > MOST_ELEMENTS:
        return nothing()
    made = created(at[first + DTYPE], rank, sizes, 0, 0, 0)
    if made:
        fill(made, items, end, axis, fresh, extent)
    return made


def nothing():
    Py_IncRef(address(flambeau_none))
    return address(flambeau_none)


def extent_of_all(items, end, axis, fresh):
    first = at[items]
    extent = 0
    while items != end:
        if not fits(at[items], first, axis, fresh):
            return MISFIT
        extent += extent_of(at[items], axis, fresh)
        items += 8
    return extent


def fits(array, first, axis, fresh):
    if not is_array(array):
        return 0
    rank = half[first + RANK]
    if at[array + DTYPE] != at[first + DTYPE] or half[array + RANK] != rank or not half[array + FLAGS] & 1:
        return 0
    k = 0
    while k != rank:
        if at[at[array + SIZES] + k * 8] != at[at[first + SIZES] + k * 8] and (fresh or k != axis):
            return 0
        k += 1
    return 1


def extent_of(array, axis, fresh):
    if fresh:
        return 1
    return at[at[array + SIZES] + axis * 8]


def size_of_all(sizes, like, rank, axis, fresh, extent):
    elements = 1
    k = 0
    while k != rank:
        if k == axis:
            at[sizes] = extent
        else:
            at[sizes] = at[like + (k - (fresh if k > axis else 0)) * 8]
        elements = elements * at[sizes]
        sizes += 8
        k += 1
    return elements


def fill(made, items, end, axis, fresh, extent):
    unit = at[at[made + STRIDES] + axis * 8]
    rows = 1
    k = 0
    while k != axis:
        rows = rows * at[at[made + SIZES] + k * 8]
        k += 1
    target = at[made + DATA]
    while items != end:
        length = unit * extent_of(at[items], axis, fresh)
        copy_rows(target, at[at[items] + DATA], rows, unit * extent, length)
        target += length
        items += 8


def copy_rows(target, source, rows, step, length):
    while rows:
        memcpy(target, source, length)
        target += step
        source += length
        rows -= 1
'''
PROGRAM = Program(OBJECTS + SIGNATURE + EMPTY + VIEWED + JOINED, **PLACES, CONTENT=CONTENT, LOW=(1 << 32) - 1,
                  MISFIT=-1, MOST_DIMENSIONS=MOST_DIMENSIONS, MOST_ELEMENTS=MOST_ELEMENTS)
WRITEABLE = 0x400


@functools.lru_cache(maxsize=None)
def builtins() -> dict:
    """The builtin functions signature, empty, viewed and joined by name."""
    from .build import runtime_builtins  # which notes launches, for calls whose arrays are made here
    return runtime_builtins(PROGRAM, ('signature', 'empty', 'viewed', 'joined'), _numpy_functions())


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
    """(text that calls builtin `empty`, names that it uses): for functions that make an array of a shape and dtype."""
    sizes = struct.pack(f'{1 + len(shape)}q', len(shape), *shape)
    return f'empty({name}_sizes, {name}_dtype)', {
        'empty': builtins()['empty'], f'{name}_dtype': dtype, f'{name}_sizes': sizes}


def view_plan(view, source):
    """The plan of a view for arrays of the shape and strides of `source`; None where it is no view of its memory."""
    if view.__class__ is not np.ndarray or view.dtype is not source.dtype or not np.may_share_memory(view, source):
        return None
    offset = view.ctypes.data - source.ctypes.data
    allowed = WRITEABLE if view.flags.writeable or not source.flags.writeable else 0
    return struct.pack(f'{3 + 2 * view.ndim}q', offset, allowed, view.ndim, *view.shape, *view.strides)
