"""The general way of a call: promotion, half types, recording, and errors that name the operation.

Evaluators of the kinds of operation; `call.py` takes shorter ways where a call needs none of this.
"""
from __future__ import annotations

import math

import numpy as np

from .. import dtypes
from ..autograd.modes import OFF, STATE
from ..errors import ArgumentError, ArgumentTypeError, OutOfMemory, describe_call, describe_value, tell_call
from ..tensor import Parameter, Tensor, wrap
from .definition import HALF_ARRAYS, PUBLIC, widened
from .overriding import Overridden, overrides
from .promotion import common_dtype, to_array
from .record import complete, record
from .reference import LARGE, REFERENCE, axes_of
from .results import named, several_views, tensors_of, viewing

__all__ = ['runner', 'lowered', 'invoke', 'raise_refusal', 'SIMPLE']

new = object.__new__
ndarray = np.ndarray

# classes of values that operations take as they are; one with such a class of its own adds it
SIMPLE = {int, float, bool, complex, str, type(None), slice, type(Ellipsis), dtypes.dtype}


def runner(op):
    """run(values of the parameters) -> results: takes the arrays out of tensors and hands them to the kind's evaluator.
    """
    finish, recordable = EVALUATORS[op.kind](op), op.recordable

    def run(values):
        recording, arrays = False, []
        for v in values:
            kind = v.__class__
            if kind is Tensor or kind is Parameter:
                arrays.append(v._array)
                if v._node is not None:
                    recording = True
            elif kind in SIMPLE:
                arrays.append(v)
            else:
                array, wants = lowered(v)
                arrays.append(array)
                recording = recording or wants
        return finish(values, arrays, recording and recordable and STATE.recording is not OFF)
    return run


def lowered(value):
    """(the value with arrays for its tensors, whether one of them may want a gradient)."""
    if isinstance(value, Tensor):
        if overrides(value):
            raise Overridden
        return value._array, value._node is not None
    if isinstance(value, (list, tuple)) and value and any(isinstance(v, (Tensor, list, tuple)) for v in value):
        pairs = [lowered(v) for v in value]
        return [array for array, _ in pairs], any(wants for _, wants in pairs)
    if hasattr(type(value), '__torch_function__'):
        raise Overridden
    return value, False


def reference_call(op):
    """f(arrays) that computes an operation on arrays: its formula, or the reference's own function where it is one."""
    count, keywords, formula = len(op.positional), op.keywords, op.formula
    if op.kernel is not None and op.kind != 'elementwise':
        own = getattr(REFERENCE, op.kernel)
        return (lambda arrays: own(*arrays)) if not keywords else \
            lambda arrays: own(*arrays[:count], **dict(zip(keywords, arrays[count:])))
    if not keywords:
        return lambda arrays: formula(REFERENCE, *arrays)
    return lambda arrays: formula(REFERENCE, *arrays[:count], **dict(zip(keywords, arrays[count:])))


def invoke(op, m, values):
    """Calls the formula of an operation over `m`."""
    count = len(op.positional)
    try:
        return op.formula(m, *values[:count], **dict(zip(op.keywords, values[count:])))
    except Exception as error:
        raise_refusal(op, values, error)


def raise_refusal(op, values, error):
    """Raises an error of a formula anew; array libraries' complaints become PyTorch's errors that name the operation.
    """
    if isinstance(error, np.exceptions.AxisError):
        ndim = max(error.ndim or 1, 1)
        raise IndexError(f'Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], but got '
                         f'{error.axis}), in {describe_call(op.name, op.parameters, values)}') from None
    if isinstance(error, (AttributeError, TypeError, ValueError)) and not isinstance(
            error, (ArgumentTypeError, ArgumentError)):
        refuse_types(op, values, error)
    kind = type(error)
    if kind in (ValueError, TypeError) or kind.__module__.startswith('numpy') and isinstance(
            error, (ValueError, TypeError)):
        refuse_operands(op, values, error)
    if isinstance(error, AttributeError) and error.name == '__index__':
        raise TypeError(f'{op.name}(): {error.obj!r} cannot be interpreted as an integer, in '
                        f'{describe_call(op.name, op.parameters, values)}') from None
    if isinstance(error, MemoryError) and not isinstance(error, OutOfMemory):
        raise OutOfMemory(f'{op.name}(): out of memory: {error}, in '
                          f'{describe_call(op.name, op.parameters, values)}') from None
    tell_call(error, op.name, op.parameters, values)
    raise error


def refuse_operands(op, values, error):
    """Raises PyTorch's error for what an array library says of operands: that types have no loop, or shapes do not fit.
    """
    name, call = op.name.strip('_'), describe_call(op.name, op.parameters, values)
    if type(error) is TypeError and 'ufunc' not in str(error) and 'numpy' not in str(error):
        raise TypeError(f'{name}(): {error}, in {call}') from error
    if isinstance(error, TypeError):
        met = ', '.join(dict.fromkeys(str(v.dtype) for v in values if hasattr(v, 'dtype')))
        advice = str(error).partition(', use ')[2]  # of truth values, which PyTorch refuses by another error
        refusal = RuntimeError if advice else NotImplementedError
        advice = advice or 'another dtype, for example with .to(torch.float32)'
        raise refusal(f'"{name}" not implemented for {met}, in {call}: use {advice}') from error
    told = 'their shapes do not broadcast together' if 'broadcast' in str(error) else error
    raise RuntimeError(f'{name}(): {told}, in {call}') from error


def refuse_types(op, values, error):
    """Raises the TypeError of an argument whose type a formula cannot use, if `error` says or means that."""
    name = op.name.strip('_')
    first = values[0]
    if op.kind != 'elementwise' and not isinstance(first, (Tensor, ndarray)) and op.parameters[0] in ('input', 'self'):
        raise TypeError(f"{name}(): argument '{op.parameters[0]}' (position 1) must be Tensor, not "
                        f'{type(first).__name__}') from error
    culprit = error.obj if isinstance(error, AttributeError) else error
    for position, (parameter, value) in enumerate(zip(op.parameters, values), 1):
        for v in (value, *value) if isinstance(value, (list, tuple)) else (value,):
            default = op.defaults.get(parameter, op)
            if v is culprit and (v is not None or default is not None) or \
                    isinstance(v, str) and default.__class__ is not str:
                raise TypeError(f"{name}(): argument '{parameter}' (position {position}) cannot be or contain "
                                f'{describe_value(v)}, a {type(v).__name__}, in '
                                f'{describe_call(op.name, op.parameters, values)}') from error
        if value is None and op.defaults.get(parameter, op) is not None:
            raise TypeError(f"{name}(): argument '{parameter}' (position {position}) must not be None, in "
                            f'{describe_call(op.name, op.parameters, values)}') from error


def evaluate_plain(op):
    """Reductions, contractions and whatever has its rules given."""
    compute, widen, folds = reference_call(op), op.widen, op.kind == 'reduction'
    promoted = promoter(op) if op.promote is not None else None

    def finish(values, arrays, recording):
        if promoted is not None:
            values, arrays = promoted(values, recording)
        half = plan = None
        if widen:
            for a in arrays:
                if a.__class__ is ndarray and a.dtype.itemsize == 2 or a.__class__ is list:
                    plan = folds and any([x.__class__ is ndarray and x.size >= LARGE for x in arrays]) and (
                        large_plan(op, arrays) or plan_of_all(op, arrays))
                    if not plan:
                        half, arrays = widened(arrays)
                    break
        try:
            result = plan(*arrays) if plan else compute(arrays)
        except Exception as error:
            raise_refusal(op, values, error)
        if half is not None:
            result = _narrowed(result, half)
        node = record(op, values) if recording else None
        if result.__class__ is ndarray:
            out = new(Tensor)
            out._array, out._node, out._counter = result, None, None
            if node is not None and result.dtype.kind in 'fcV':
                out._node = node
                complete(node, values, (out,), False)
            return out
        return tensors_of(op, result, node, values)
    return finish


def _narrowed(result, half):
    if isinstance(result, (tuple, list)):
        return type(result)(_narrowed(r, half) for r in result)
    return REFERENCE.cast(result, dtypes.of(half)) if getattr(result, 'dtype', None) == np.float32 else result


def evaluate_view(op):
    compute, may_copy = reference_call(op), op.may_copy

    def finish(values, arrays, recording):
        try:
            result = compute(arrays)
        except Exception as error:
            raise_refusal(op, values, error)
        node = None
        if recording:
            node = record(op, values)
            if node is not None:
                complete(node, values, (), False)
        source = values[0]
        if result.__class__ is ndarray:
            if may_copy and not source._array.flags.c_contiguous and not np.may_share_memory(result, source._array):
                return wrap(result, node)
            return viewing(op, result, source, node)
        return several_views(op, result, source, node)
    return finish


def evaluate_elementwise(op):
    compute, widen, promoted = reference_call(op), op.widen and op.kernel is None, promoter(op)

    def finish(values, arrays, recording):
        values, arrays = promoted(values, recording)
        half = plan = None
        most, elements, halves = 0, 1, False
        for a in arrays:
            if a.__class__ is ndarray:
                most, elements = max(most, a.size), elements * a.size
                halves = halves or a.dtype.itemsize == 2
        if most >= LARGE or elements >= LARGE and _makes_large(arrays):
            plan = large_plan(op, arrays)
        if halves and widen and not plan:
            half, arrays = widened(arrays)
        try:
            result = plan(*arrays) if plan else compute(arrays)
        except Exception as error:
            refuse_shapes(op, arrays)
            raise_refusal(op, values, error)
        if half is not None:
            result = _narrowed(result, half)
        node = record(op, values, np.shape(result)) if recording else None
        if node is None and result.__class__ is ndarray:
            return wrap(result)
        return tensors_of(op, result, node, values)
    return finish


def large_plan(op, arrays):
    """The generated kernel of an operation on large arrays, which computes half types in float32 by itself; or None."""
    if op.own_formulas:  # numbers with formulas of their own are part of the kernel
        arrays = [np.float64(a) if a.__class__ is ndarray and not a.ndim and a.dtype.kind in 'fV'
                  and float(a) in op.own_formulas else a for a in arrays]
    return REFERENCE.kernel('fusion.planned', op.flat, op.fixed(arrays))


FOLDS_OF_ALL = {'sum': np.add, 'mean': np.add, 'amax': np.maximum, 'amin': np.minimum, 'prod': np.multiply}


def plan_of_all(op, arrays):
    """A function of all elements of a large array of a half type: what kernels make of them, unless None."""
    if op.name not in FOLDS_OF_ALL:
        return None
    x, dim, keepdim, *dtype = arrays
    if x.__class__ is not ndarray or x.size < LARGE or any(dtype) or len(axes_of(dim, x.ndim)) < x.ndim:
        return None
    made = REFERENCE.kernel('fusion.whole', shared, x, 1 / x.size if op.name == 'mean' else 1.0,
                            ufunc=FOLDS_OF_ALL[op.name])
    return made if made is None else lambda *_: np.full((1,) * (keepdim and x.ndim), made)


def shared(m, x, share):
    return x * share


def _makes_large(arrays):
    """Whether small arrays broadcast to a large one."""
    try:
        return math.prod(np.broadcast_shapes(*[a.shape for a in arrays if a.__class__ is ndarray])) >= LARGE
    except ValueError:  # which the formula refuses with what met
        return False


def refuse_shapes(op, arrays):
    """Raises the error of shapes that do not broadcast, if that is what is wrong."""
    shapes = [a.shape for a in arrays if a.__class__ is ndarray]
    for second in shapes[1:]:
        first = shapes[0]
        for k in range(1, min(len(first), len(second)) + 1):
            if first[-k] != second[-k] and 1 not in (first[-k], second[-k]):
                at = max(len(first), len(second)) - k
                raise RuntimeError(
                    f'The size of tensor a ({first[-k]}) must match the size of tensor b ({second[-k]}) at '
                    f'non-singleton dimension {at}, in {describe_call(op.name, op.parameters, arrays)}') from None


NUMBERS = (int, float, complex, np.number, np.bool_)
TOLD_APART = frozenset({int, float, bool, complex})  # numbers whose class alone says what they promote to


def operand_places(op):
    """Where the operands that are brought to one dtype stand among an operation's parameters."""
    return tuple([k for k, name in enumerate(op.positional) if name in op.promote_names])


def promoter(op):
    """promoted(values, recording) -> (values, their arrays) with the operands in the dtype that they compute in.

    Which one that is, is remembered by the dtypes of tensors, whether they have dimensions, and classes of numbers.
    """
    places, known = operand_places(op), {}

    def promoted(values, recording):
        key = [dtypes.get_default_dtype()]
        for k in places:
            v = values[k]
            kind = v.__class__
            if kind is Tensor or kind is Parameter:
                array = v._array
                key.append((array.dtype, not array.ndim))
            else:
                key.append(kind)
        key = tuple(key)
        target = known.get(key)
        if target is None:
            values, target = weighed_operands(op, places, values)
            if all([k.__class__ is tuple or k in TOLD_APART for k in key[1:]]):
                known[key] = target
        arrays, wanted = [], target.numpy
        for k, v in enumerate(values):
            kind = v.__class__
            if kind is Tensor or kind is Parameter or isinstance(v, Tensor):
                if v._array.dtype is not wanted and k in places and v._array.dtype != wanted:
                    v = PUBLIC._to_copy(v, target) if recording and v._node is not None else \
                        wrap(v._array.astype(wanted))
                    values = [*values[:k], v, *values[k + 1:]]
                arrays.append(v._array)
            elif k in places and isinstance(v, NUMBERS):
                arrays.append(to_array(v, target))
            elif kind in SIMPLE:
                arrays.append(v)
            elif kind is list or kind is tuple:
                raise TypeError(f"{op.name.strip('_')}(): argument '{op.parameters[k]}' (position {k + 1}) must be "
                                f'Number, not {kind.__name__}')
            else:
                arrays.append(lowered(v)[0])
        return values, arrays
    return promoted


def weighed_operands(op, places, values):
    """(values with arrays as tensors, the dtype that the operands at these places compute in)."""
    values = list(values)
    for k in places:
        if isinstance(values[k], ndarray):
            values[k] = wrap(values[k])
        elif not isinstance(values[k], (Tensor, *NUMBERS)) and (values[k] is not None
                                                                or op.positional[k] not in op.defaults):
            raise TypeError(f"{op.name}(): argument '{op.positional[k]}' must be Tensor or Number, not "
                            f'{type(values[k]).__name__}')
    tensors = [values[k] for k in places if isinstance(values[k], Tensor)]
    if not (isinstance(values[places[0]], Tensor) or op.number_first and tensors):
        raise TypeError(f"{op.name}(): argument '{op.positional[places[0]]}' (position 1) must be Tensor, not "
                        f'{type(values[places[0]]).__name__}')
    if op.check is not None:
        op.check(op.name, [t.dtype for t in tensors], [values[k] for k in places])
    return values, common_dtype(op, tensors, [values[k] for k in places if isinstance(values[k], NUMBERS)])


def evaluate_composite(op):
    """On arrays where that means the same, else over the public operations, which record and promote."""
    widen = op.widen

    def finish(values, arrays, recording):
        if not recording:
            kinds = {a.dtype for a in arrays if a.__class__ is ndarray}
            if len(kinds) == 1 and kinds <= COMPUTED and not any(a.__class__ is list for a in arrays):
                return tensors_of(op, invoke(op, REFERENCE, arrays), None, values)
        half = None
        if widen:
            for v in values:
                if isinstance(v, Tensor) and v._array.dtype in HALF_ARRAYS:
                    half = v.dtype
        if half is not None:
            values = [v.to(dtypes.float32) if isinstance(v, Tensor) and v._array.dtype in HALF_ARRAYS else v
                      for v in values]
        result = invoke(op, PUBLIC, values)
        if half is not None:
            result = _cast_results(result, half)
        label_result(result, op)
        return named(op, result) if isinstance(result, tuple) else result
    return finish


COMPUTED = {np.dtype('float32'), np.dtype('float64'), np.dtype('complex64'), np.dtype('complex128')}


def _cast_results(result, half):
    if isinstance(result, (tuple, list)):
        return type(result)(_cast_results(r, half) for r in result)
    return result.to(half) if isinstance(result, Tensor) and result.dtype is dtypes.float32 else result


def label_result(result, op):
    """Gives the node of a composite's result the composite's name, as PyTorch prints it."""
    if isinstance(result, Tensor):
        node = result._node
        cls = node.__class__
        if hasattr(cls, 'operation') and cls is not op.node_class:
            node.__class__ = _labelled(cls, op.node_class.label)


def _labelled(cls, label):
    key = cls, label
    if key not in _LABELLED:
        _LABELLED[key] = type(label, (cls,), {'__slots__': (), 'label': label})
    return _LABELLED[key]


_LABELLED = {}

EVALUATORS = {'elementwise': evaluate_elementwise, 'reduction': evaluate_plain, 'view': evaluate_view,
              'contraction': evaluate_plain, 'composite': evaluate_composite, 'opaque': evaluate_plain}
