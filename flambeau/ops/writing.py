"""Writing over tensors: in-place forms and `out=`, with the rules that keep what backward needs. Knows no operation."""
from __future__ import annotations

import sys

import numpy as np

from .. import dtypes
from ..autograd.graph import FREED, LEAF, View, count_write, counter_of, edge_of, note_write, saved_versions, write_node
from ..autograd.modes import OFF, STATE
from ..storage import shares_elements
from ..tensor import Parameter, Tensor
from .definition import PUBLIC, SavedOutput
from .overriding import answered, override
from .promotion import DIRECT_SCALARS
from .reference import LARGE, REFERENCE
from .results import named

__all__ = ['change', 'writable', 'overwritten', 'rewritten', 'inplace_entry', 'deliver', 'refuse_out',
           'refuse_shared_out', 'refuse_partial_overlap', 'refuse_write', 'constant', 'unrecorded']

new = object.__new__
ndarray = np.ndarray


def inplace_entry(op, find):
    """The in-place form of an operation: computes the result, then writes it over the first argument.

    find(array dtype): the array function that computes a primitive directly, or False.
    """
    name, elementwise = op.name + '_', op.kind == 'elementwise'

    def general(input, *args, **kwargs):
        if answered(input, *args, *kwargs.values()):
            return override(call, (input, *args), kwargs)

        def compute(before):
            return op.public(before, *args, **kwargs)
        if elementwise and input._array.size < LARGE and rewritten(input, name, compute, (*args, *kwargs.values())):
            return input
        given = {**op.defaults, **dict(zip(op.positional, (input, *args))), **kwargs}
        if len(args) < len(op.positional) and given.keys() == set(op.parameters) and overwritten(
                op, input, [given[name] for name in op.parameters]):
            note_write(input, name)
            return input
        return look_otherwise(input, name, compute) if op.kind == 'view' else change(input, name, compute, op)
    call = DIRECT[op.positional](op, general, name, find) if op.kernels is not None else general
    call.__name__ = call.__qualname__ = name
    call.__doc__ = f'In-place form of `{op.name}`.'
    return call


def rewritten(tensor, operation, compute, others=()):
    """Overwrites a plain tensor by compute(it), where nothing is recorded and the result is of its shape and dtype.

    Says whether. `others`: what else is computed with.
    """
    if tensor.__class__ is not Tensor or not (tensor._node is None or unrecorded(tensor, operation)):
        return False
    array = tensor._array
    if not array.flags.writeable or not all([constant(x) for x in others if isinstance(x, Tensor)]):
        return False
    result = compute(tensor)._array
    if result.dtype is not array.dtype or result.shape != array.shape:
        return False
    if result is not array:
        REFERENCE.copy(array, result)
    note_write(tensor, operation)
    return True


def overwritten(op, place, values):
    """Lets one generated kernel write an operation's result over a large tensor, if there is one. Says whether.

    `values` are those of the operation's parameters; `place` may be one of them.
    """
    array, shared, given = place._array, None, []
    if array.size < LARGE or op.kind != 'elementwise' or op.check is not None or not (
            array.flags.writeable and unrecorded(place, op.name)):
        return False
    for name, value in zip(op.parameters, values):
        kind = value.__class__
        if kind is Tensor or kind is Parameter:
            if not constant(value):
                return False
            value = value._array
            if name in op.promote_names:
                shared = shared or value.dtype
                if value.dtype != shared:
                    return False
            if value is not array and np.may_share_memory(value, array):
                return False
        elif name in op.promote_names:
            if shared is None or not (kind is int or kind is float and shared.kind in 'fV'):
                return False
            if value in op.own_formulas:
                value = np.float64(value)
            else:
                try:
                    value = float(value) if shared.kind == 'f' else np.asarray(value, shared)
                except OverflowError:
                    return False
        given.append(value)
    plan = REFERENCE.kernel('fusion.planned', op.flat, op.fixed(given), 1, (array.shape, array.dtype, array.strides))
    if plan:
        plan(given, (array,))
    return bool(plan)


class Kernels(dict):
    """The generated kernels that write a formula's result over its first array, by how its arrays lie."""

    def __init__(self, formula):
        self.formula = formula

    def wrote(self, array, *others):
        """Lets one write formula(array, ...) over a large array, if there is one. Says whether."""
        for x in others:
            if x.__class__ is ndarray and x is not array and np.may_share_memory(x, array):
                return False
        given = (array, *others)
        key = REFERENCE.signature(*given)
        plan = self.get(key)
        if plan is None:
            if len(self) >= 512:
                self.clear()
            plan = self[key] = array.flags.writeable and REFERENCE.kernel(
                'fusion.planned', self.formula, given, 1, (array.shape, array.dtype, array.strides)) or False
        if plan and array.flags.writeable:
            plan(given, (array,))
            return True
        return False


def unary_inplace(op, general, name, find):
    """Lets a kernel or the array function write its result where the tensor lies, if it can."""
    kernels, ufunc, large = op.kernels, np.ufunc, Kernels(op.formula)

    def call(input, **options):
        if type(input) is Tensor and not options and (input._node is None or unrecorded(input, name)):
            array = input._array
            kernel = kernels.get(array.dtype) or find(array.dtype)
            if kernel and array.size >= LARGE and large.wrote(array):
                count_write(input, name, sys._getframe(1))
                return input
            if kernel.__class__ is ufunc and array.flags.forc:  # NumPy 2.4 negates over strided arrays wrongly
                try:
                    kernel(array, array)
                except (ValueError, TypeError):
                    return general(input)  # which says what is wrong
                count_write(input, name, sys._getframe(1))
                return input
        return general(input, **options)
    return call


def binary_inplace(op, general, name, find):
    """Lets a kernel or the array function write its result where the first tensor lies, if it can."""
    kernels, ufunc, large, own = op.kernels, np.ufunc, Kernels(op.formula), op.own_formulas
    scales = 'alpha' in op.keywords  # which other is multiplied by

    def call(input, other, **options):
        if type(input) is Tensor and (input._node is None or unrecorded(input, name)):
            array = input._array
            kernel = kernels.get(array.dtype) or find(array.dtype)
            numbers, kind = DIRECT_SCALARS.get(array.dtype, ()), other.__class__
            if kernel.__class__ is ufunc:
                if kind is Tensor or kind is Parameter:
                    value = other._array
                    fits = value.dtype is array.dtype and constant(other)
                else:
                    value, fits = other, kind in numbers and other not in own
                if options and fits:
                    alpha = options.get('alpha')
                    fits = scales and len(options) == 1 and alpha.__class__ in numbers and array.size < LARGE
                    if fits and alpha != 1:
                        value = value * alpha
                if fits:
                    if array.size < LARGE or kind is int or not large.wrote(array, value):
                        try:
                            kernel(array, value, array)
                        except (ValueError, TypeError, OverflowError):
                            return general(input, other, **options)  # which says what is wrong
                    count_write(input, name, sys._getframe(1))
                    return input
        return general(input, other, **options)
    return call


DIRECT = {('input',): unary_inplace, ('input', 'other'): binary_inplace}


def refuse_write(tensor, operation):
    """Raises where a tensor may not be written in place while gradients are recorded."""
    node = tensor._node
    if node is LEAF:
        raise RuntimeError(f'a leaf Variable that requires grad is being used in an in-place operation: {operation} on '
                           f'{tensor.dtype} {list(tensor.shape)}. Do it under torch.no_grad(), or on a copy '
                           '(.clone()).')
    if node.__class__ is View:
        edge = node.resolve(tensor)
        if node.base._node is LEAF:
            raise RuntimeError('a view of a leaf Variable that requires grad is being used in an in-place operation: '
                               f'{operation}. Do it under torch.no_grad(), or on a copy (.clone()).')
        if node.refusal is not None and (edge is not None or node.refusal.startswith('is one of')):
            raise RuntimeError(f'A view {node.refusal} and is being modified inplace with grad mode enabled by '
                               f'{operation}. Use the out-of-place form, or clone the view first.')


def constant(tensor):
    """Whether what is computed of a tensor now is not recorded."""
    return tensor._node is None or STATE.recording is OFF or edge_of(tensor) is None


def unrecorded(tensor, operation):
    """Whether a tensor is written over without a record of it. Raises as `refuse_write`."""
    if STATE.recording is OFF or tensor._node is None:
        return True
    refuse_write(tensor, operation)
    return edge_of(tensor) is None


def writable(array, operation, overlapping=False):
    """The array, to be written by an operation; with overlapping, one on the memory that expanded elements share.

    Expanded arrays are locked, and so are their parts, until one whose elements lie apart is written. Raises
    RuntimeError for elements in one place and for read-only memory.
    """
    if array.flags.writeable:
        return array
    if shares_elements(array):
        if not overlapping:
            raise RuntimeError(f'unsupported operation: {operation} would write more than once to one memory location '
                               f'of an expanded tensor, {dtypes.of(array.dtype)} {list(array.shape)}. Please clone() '
                               'the tensor before performing the operation.')
        array = array.view()
    try:
        array.flags.writeable = True
    except ValueError:
        raise RuntimeError(f'{operation} cannot write {dtypes.of(array.dtype)} {list(array.shape)}: it lies in '
                           'read-only memory. Please clone() the tensor before performing the operation.') from None
    return array


def change(tensor, operation, compute, op=None, overlapping=False):
    """Overwrites `tensor` by compute(its value before), with the gradient rules of writing in place.

    overlapping: also where expanded elements lie in one place, which then get the last of their values.
    """
    recording = STATE.recording is not OFF
    before = new(Tensor)
    before._array, before._counter = tensor._array, None
    before._node = None
    if recording:
        if tensor._node is not None:
            refuse_write(tensor, operation)
            before._node = edge_of(tensor)
            if before._node is not None and (op is None or op.kind == 'composite'):
                before._array = tensor._array.copy()  # its parts may save it
    array = writable(tensor._array, operation, overlapping)
    if before._array is tensor._array:
        before._array = array
    result = compute(before)
    values = result._array
    if values.shape != array.shape and np.broadcast_shapes(values.shape, array.shape) != array.shape:
        raise RuntimeError(f"output with shape {list(array.shape)} doesn't match the broadcast shape "
                           f'{list(values.shape)}, in {operation}')
    if values.dtype != array.dtype and not dtypes.can_cast(result.dtype, tensor.dtype):
        raise RuntimeError(f"result type {_type_name(result.dtype)} can't be cast to the desired output type "
                           f'{_type_name(tensor.dtype)}, in {operation}: write the result to a new name instead')
    if recording and result._node is not None and result.dtype is not tensor.dtype:
        result = PUBLIC._to_copy(result, tensor.dtype)
    node = edge_of(result) if recording and result._node is not None else None
    if node is not None:
        _keep_before(node, before)
    if values is not array:
        REFERENCE.copy(array, values)
    note_write(tensor, operation)
    if node is not None:
        write_node(tensor, node)
        _follow_output(node, tensor)
    elif recording and tensor._node is not None and edge_of(tensor) is not None and result is not before:
        write_node(tensor, None)
    return tensor


def look_otherwise(tensor, operation, view):
    """Makes `tensor` itself what view(tensor) shows: other sizes and strides on the same memory."""
    if STATE.recording is not OFF and tensor._node is not None:
        refuse_write(tensor, operation)
    before = new(Tensor)
    before._array, before._node, before._counter = tensor._array, tensor._node, counter_of(tensor)
    made = view(before)
    was_view = tensor._node.__class__ is View
    tensor._array = made._array
    note_write(tensor, operation)
    made._node.version = tensor._counter[0]
    tensor._node = made._node if was_view else made._node.node
    return tensor


def _keep_before(node, before):
    """A value that backward needs is about to be overwritten: keep a copy of it."""
    saved = getattr(node, 'saved', ())
    if saved is not FREED and any(v is before for v in saved):
        before._array = before._array.copy()


def _follow_output(node, tensor):
    """A saved result is the written tensor now: later writes to it must be noticed."""
    saved = getattr(node, 'saved', ())
    if saved is FREED or not any(v.__class__ is SavedOutput for v in saved):
        return
    counter = counter_of(tensor)
    node.saved = tuple(SavedOutput(tensor._array, counter, v.index) if v.__class__ is SavedOutput else v for v in saved)
    node.versions = saved_versions(node.saved)


def _type_name(d):
    return {'bool': 'Bool', 'uint8': 'Byte', 'int8': 'Char', 'int16': 'Short', 'int32': 'Int', 'int64': 'Long',
            'float16': 'Half', 'bfloat16': 'BFloat16', 'float32': 'Float', 'float64': 'Double',
            'complex64': 'ComplexFloat', 'complex128': 'ComplexDouble'}.get(d.name, d.name)


def refuse_out(op, values, result, out):
    """Raises for an `out=` of another dtype than the result, with overlapping elements, or in an operand's memory."""
    pairs = zip(result, out) if isinstance(out, (tuple, list)) and isinstance(result, tuple) else [(result, out)]
    for made, place in pairs:
        if not isinstance(place, Tensor):
            continue  # `deliver` says so
        if place.dtype is not made.dtype:
            raise RuntimeError(f'{op.name}(): Expected out tensor to have dtype {made.dtype}, but got {place.dtype}')
        refuse_shared_out(op.name, values, place)


def refuse_shared_out(name, values, out):
    """Raises for an `out=` with overlapping elements, or in an operand's memory."""
    array = out._array
    if shares_elements(array) or any(
            v is out or isinstance(v, Tensor) and np.may_share_memory(v._array, array) for v in values):
        raise RuntimeError(f'unsupported operation: some elements of the tensors that {name}() reads and of the '
                           'written-to tensor refer to a single memory location. Please clone() before the operation.')


def refuse_partial_overlap(op, values, out):
    """Raises for an `out=` that shares some elements with an operand but is not the operand itself."""
    if not isinstance(out, Tensor):
        return  # `deliver` says so
    place = out._array
    for v in values:
        if isinstance(v, Tensor) and np.may_share_memory(v._array, place):
            array = v._array
            same = array.shape == place.shape and array.strides == place.strides and \
                array.ctypes.data == place.ctypes.data
            if not same and np.shares_memory(array, place):
                raise RuntimeError(f'unsupported operation: some elements of an input of {op.name}() and of the '
                                   'written-to tensor refer to a single memory location. '
                                   'Please clone() the tensor first.')


def deliver(op, result, out):
    """Writes results into `out=` tensors, which take their shape."""
    if isinstance(out, (tuple, list)):
        if not isinstance(result, tuple) or len(out) != len(result):
            raise TypeError(f'{op.name}(): out= holds {len(out)} tensors, expected '
                            f'{len(result) if isinstance(result, tuple) else 1}')
        return named(op, tuple(deliver(op, r, o) for r, o in zip(result, out)))
    if not isinstance(out, Tensor):
        raise TypeError(f"{op.name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if STATE.recording is not OFF and (result.requires_grad or out.requires_grad):
        raise RuntimeError(f"{op.name}(): functions with out=... arguments don't support automatic differentiation, "
                           'but one of the arguments requires grad.')
    if not dtypes.can_cast(result.dtype, out.dtype):
        raise RuntimeError(f"result type {_type_name(result.dtype)} can't be cast to the desired output type "
                           f'{_type_name(out.dtype)}, in {op.name}(out=...)')
    if out._array.shape != result._array.shape:
        out.resize_(result._array.shape)
    REFERENCE.copy(writable(out._array, op.name + '(out=...)'), result._array)
    note_write(out, op.name + '(out=...)')
    return out
