"""How operations run: makes the public callables, and is the only place that picks array code, recording or overriding.

A call of a small eager operation passes through an entry here and ends in one array function. Whatever is rare (other
types, subclasses, `out=`, mixed dtypes, observed recording) leaves the short way by one cheap test.
Knows no operation by name, and nothing of how arrays are computed.
"""
from __future__ import annotations

import collections

import numpy as np

from .. import dtypes
from ..autograd.graph import (FREED, LEAF, Counter, Output, View, counter_of, edge_of, make_node, note_write,
                              saved_versions, ticket, write_node)
from ..autograd.modes import OFF, PLAIN, STATE
from ..errors import ArgumentError, ArgumentTypeError, describe_call
from ..tensor import Parameter, Tensor, no_override, wrap
from .definition import HALF_ARRAYS, PUBLIC, SavedOutput, parameters_of
from .promotion import common_dtype, to_array
from .reference import REFERENCE

new = object.__new__
ndarray = np.ndarray
DIRECT_SCALARS = {np.dtype(t): (float, int) for t in ('float16', 'float32', 'float64')}


def entry(op):
    """The public callable of an operation."""
    general = general_entry(op)
    short = ENTRIES.get(op.positional if op.kernels is not None else None)
    function = short(op, general) if short else general
    function.__name__ = function.__qualname__ = op.name
    function.__doc__ = op.formula.__doc__
    function.__module__ = op.formula.__module__
    function.operation = op
    return function


def operator_entry(op):
    """The method behind an operator of Python's: the public callable, but NotImplemented for what is no operand."""
    general = general_entry(op)

    def refusing(input, other):
        if not isinstance(other, OPERANDS) and not hasattr(type(other), '__torch_function__'):
            return NotImplemented
        return general(input, other)
    short = ENTRIES.get(op.positional if op.kernels is not None else None)
    return short(op, refusing) if short else refusing


OPERANDS = (Tensor, int, float, complex, ndarray, np.number, np.bool_)


# ---- short ways ------------------------------------------------------------------------------------------

def unary_entry(op, general):
    kernels, find = op.kernels, kernel_finder(op)
    node_class = op.node_class
    plan = op.plan(('input',)) if 'input' in op.gradients else None
    saves_output = plan is not None and plan.names == ('output',)
    saves_input = plan is not None and plan.names == ('input',)
    plain = plan is not None and (saves_input or saves_output or not plan.names)

    def call(input, **options):
        kind = type(input)
        if (kind is Tensor or kind is Parameter) and not options:
            array = input._array
            kernel = kernels.get(array.dtype) or find(array.dtype)
            if kernel:
                node = None
                if input._node is not None and STATE.recording is not OFF:
                    if STATE.recording is not PLAIN or not plain:
                        return general(input)
                    edge = edge_of(input)
                    if edge is not None:
                        node = make_node(node_class, (edge,), plan)
                result = kernel(array)
                if result.__class__ is not ndarray:
                    result = np.asarray(result)
                out = new(Tensor)
                out._array, out._node, out._counter = result, node, None
                if node is not None:
                    if saves_input:
                        node.saved, node.versions = (input,), saved_versions((input,))
                    elif saves_output:
                        out._counter = Counter()
                        node.saved = SavedOutput(result, out._counter),
                return out
        return general(input, **options)
    return call


def binary_entry(op, general):
    kernels, find, record = op.kernels, kernel_finder(op), binary_recorder(op)
    scalars_like = DIRECT_SCALARS

    def call(input, other, **options):
        kind = type(input)
        if (kind is Tensor or kind is Parameter) and not options:
            a = input._array
            kernel = kernels.get(a.dtype) or find(a.dtype)
            if kernel:
                kind = type(other)
                if kind is Tensor or kind is Parameter:
                    b, other_node = other._array, other._node
                    fits = b.dtype is a.dtype
                else:
                    b, other_node = other, None
                    fits = kind in scalars_like.get(a.dtype, ())
                if fits:
                    node = None
                    if (input._node is not None or other_node is not None) and STATE.recording is not OFF:
                        if STATE.recording is not PLAIN or record is None:
                            return general(input, other)
                        node = record(input, other)
                    try:
                        result = kernel(a, b)
                    except (ValueError, OverflowError):
                        return general(input, other)  # which says what does not fit
                    if result.__class__ is not ndarray:
                        result = np.asarray(result)
                    out = new(Tensor)
                    out._array, out._node, out._counter = result, node, None
                    return out
        return general(input, other, **options)
    return call


def binary_recorder(op):
    """record(input, other) -> the node of a two-operand call with default options.

    None where gradients name the result, which this short way does not save; they take the general one.
    """
    cls, defaults = op.node_class, dict(op.formula.__kwdefaults__ or {})
    named = {n for f in op.gradients.values() for n in parameters_of(f, 2)[0]}
    if not op.gradients:
        return lambda input, other: None
    if not named <= {'input', 'other', *defaults}:
        return None
    plans = {}

    def plan_for(*operands):
        return plans.get(operands) or plans.setdefault(operands, op.plan(operands))

    def record(input, other):
        first = edge_of(input) if input._node is not None else None
        second = edge_of(other) if isinstance(other, Tensor) and other._node is not None else None
        node = new(cls)
        if first is None:
            if second is None:
                return None
            plan = plan_for('other')
            node.edges, node.shapes = (second,), (other._array.shape,)
        elif second is None:
            plan = plan_for('input')
            node.edges, node.shapes = (first,), (input._array.shape,)
        else:
            plan = plan_for('input', 'other')
            node.edges, node.shapes = (first, second), (input._array.shape, other._array.shape)
        node.plan, node.sequence, node.extra = plan, ticket(), None
        names = plan.names
        if not names:
            node.saved, node.versions = (), None
        else:
            saved = node.saved = tuple([input if n == 'input' else other if n == 'other' else defaults[n]
                                        for n in names])
            node.versions = saved_versions(saved)
        return node
    return record


def kernel_finder(op):
    """find(array dtype): the array function that computes it directly, or False; remembered in `op.kernels`."""
    def find(array_dtype):
        found = op.kernels.get(array_dtype)
        if found is None:
            d = dtypes.of(array_dtype)
            direct = d.category >= dtypes.FLOAT or op.promote == 'same' and d.category == dtypes.INTEGER \
                or op.promote == 'bool'
            found = op.kernels[array_dtype] = direct and REFERENCE.direct(op.kernel, array_dtype)
        return found
    return find


# ---- the general way ---------------------------------------------------------------------------------------

SIMPLE = frozenset({int, float, bool, complex, str, type(None), slice, type(Ellipsis), dtypes.dtype})


class Overridden(Exception):
    """Some argument's class has its own __torch_function__."""


def general_entry(op):
    bind = None

    def call(*args, **kwargs):
        nonlocal bind
        if bind is None:
            bind = binder(op)
        out = kwargs.pop('out', None) if 'out' not in op.parameters else None
        try:
            result = evaluate(op, bind(*args, **kwargs))
        except Overridden:
            if out is not None:
                kwargs['out'] = out
            return override(op.public, args, kwargs)
        return result if out is None else deliver(op, result, out)
    return call


def binder(op):
    """A function with the signature of the operation that returns the values of its parameters in order."""
    positional = [p if p != op.variadic else '*' + p for p in op.positional]
    if op.variadic and op.keywords or not op.keywords:
        signature = ', '.join([*positional, *op.keywords])
    else:
        signature = ', '.join([*positional, '*', *op.keywords])
    scope = {}
    exec(f'def {op.name}({signature}): return ({", ".join(op.parameters)},)', scope)
    function = scope[op.name]
    if op.variadic is None:
        function.__defaults__ = op.formula.__defaults__
    function.__kwdefaults__ = op.formula.__kwdefaults__
    renamed = {'axis': 'dim', 'keepdims': 'keepdim', 'x': 'input', 'x1': 'input', 'x2': 'other', 'a': 'input'}

    def bind(*args, **kwargs):
        if kwargs:
            for theirs, ours in renamed.items():  # NumPy's names are understood, as in PyTorch
                if theirs in kwargs and theirs not in op.parameters and ours in op.parameters:
                    kwargs[ours] = kwargs.pop(theirs)
            if op.variadic in kwargs:
                args = (*args, *_as_sequence(kwargs.pop(op.variadic)))
        return function(*args, **kwargs)

    if op.variadic is None:
        return bind
    position = op.positional.index(op.variadic)

    def bind_variadic(*args, **kwargs):
        values = list(bind(*args, **kwargs))
        sizes = values[position]
        if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
            sizes = tuple(sizes[0])
        values[position] = sizes
        return tuple(values)
    return bind_variadic


def _as_sequence(value):
    return value if isinstance(value, (tuple, list)) else (value,)


def evaluate(op, values):
    """Runs an operation on the values of its parameters."""
    recording = False
    arrays = []
    for v in values:
        kind = type(v)
        if kind is Tensor or kind is Parameter:
            arrays.append(v._array)
            recording = recording or v._node is not None
        elif kind in SIMPLE:
            arrays.append(v)
        else:
            array, wants = lowered(v)
            arrays.append(array)
            recording = recording or wants
    recording = recording and op.recordable and STATE.recording is not OFF
    return EVALUATORS[op.kind](op, values, arrays, recording)


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


def overrides(value):
    """Whether the value's class answers calls itself (`__torch_function__`)."""
    kind = type(value)
    return kind is not Tensor and kind is not Parameter and STATE.overriding \
        and kind.__torch_function__ is not no_override


def override(function, args, kwargs):
    """Asks the `__torch_function__` of the arguments' classes, subclasses first, as in PyTorch."""
    found = []
    _find_overriding((args, tuple(kwargs.values())), found)
    types = tuple(dict.fromkeys(type(x) for x in found))
    ordered = []
    for kind in types:
        at = next((k for k, other in enumerate(ordered) if issubclass(kind, other)), len(ordered))
        ordered.insert(at, kind)
    for kind in ordered:
        result = kind.__torch_function__(function, types, args, kwargs)
        if result is not NotImplemented:
            return result
    raise TypeError(f"no implementation found for 'torch.{function.__name__}' on types that implement "
                    f'__torch_function__: {[k.__name__ for k in types]}')


def _find_overriding(value, found):
    if isinstance(value, (tuple, list)):
        for v in value:
            _find_overriding(v, found)
    elif hasattr(type(value), '__torch_function__') and overrides(value):
        found.append(value)


def invoke(op, m, values):
    """Calls the formula; array libraries' complaints become PyTorch's errors that name the operation."""
    count = len(op.positional)
    try:
        if len(values) == count:
            return op.formula(m, *values)
        return op.formula(m, *values[:count], **dict(zip(op.keywords, values[count:])))
    except np.exceptions.AxisError as error:
        raise IndexError(f'Dimension out of range (expected to be in range of [{-max(error.ndim or 1, 1)}, '
                         f'{max(error.ndim or 1, 1) - 1}], but got {error.axis})') from None
    except (ValueError, TypeError) as error:
        if type(error) not in (ValueError, TypeError) and not type(error).__module__.startswith('numpy'):
            raise
        raise RuntimeError(f'{op.name}(): {error}, in {describe_call(op.name, op.parameters, values)}') from error
    except MemoryError as error:
        raise OutOfMemory(f'{op.name}(): out of memory: {error}, in '
                          f'{describe_call(op.name, op.parameters, values)}') from None


class OutOfMemory(MemoryError, RuntimeError):
    """Memory ran out in an operation."""


def evaluate_plain(op, values, arrays, recording):
    """Views and anything whose gradient rules are given."""
    if op.promote is not None:
        values, arrays, recording = promoted_operands(op, values, recording)
    half = None
    if op.widen:
        half, _, arrays = widened_arrays(arrays)
    result = invoke(op, REFERENCE, arrays)
    if half is not None:
        result = _narrowed(result, half)
    node = record(op, values) if recording else None
    return tensors_of(op, result, node, values)


def widened_arrays(arrays):
    from .definition import widened
    for a in arrays:
        if a.__class__ is ndarray and a.dtype in HALF_ARRAYS or a.__class__ is list:
            return widened(None, arrays)
    return None, None, arrays


def _narrowed(result, half):
    if isinstance(result, (tuple, list)):
        return type(result)(_narrowed(r, half) for r in result)
    return result.astype(half) if getattr(result, 'dtype', None) == np.float32 else result


def evaluate_view(op, values, arrays, recording):
    result = invoke(op, REFERENCE, arrays)
    node = record(op, values) if recording else None
    source = values[0]
    if op.may_copy and not np.may_share_memory(result, source._array):
        return wrap(result, node)
    if result.__class__ is ndarray:
        return viewing(op, result, source, node)
    made = [viewing(op, array, source, node and Output(node, k)) for k, array in enumerate(result)]
    if node is not None:
        node.note('outputs', lambda: [(t._array.shape, t._array.dtype) for t in made])
    return tuple(made)


def viewing(op, array, source, node):
    """A tensor on memory that it shares with `source`."""
    if array is source._array and node is None:
        array = array.view()
    out = new(Tensor)
    out._array = array
    counter = out._counter = source._counter or counter_of(source)
    of = source._node
    refusal = op.view_refusal
    if STATE.recording is OFF:
        refusal = 'was created in no_grad mode'
    if of.__class__ is View:
        base, refusal = of.base, of.refusal or refusal
    else:
        base = source
    out._node = View(base, node, counter.value, refusal)
    return out


def evaluate_elementwise(op, values, arrays, recording):
    values, arrays, recording = promoted_operands(op, values, recording)
    half = None
    if op.widen and op.kernels is None:
        half, _, arrays = widened_arrays(arrays)
    try:
        result = invoke(op, REFERENCE, arrays)
    except RuntimeError:
        refuse_shapes(op, arrays)
        raise
    if half is not None and getattr(result, 'dtype', None) == np.float32:
        result = result.astype(half)
    node = record(op, values, elementwise_shape=np.shape(result)) if recording else None
    return tensors_of(op, result, node, values)


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


def promoted_operands(op, values, recording):
    """(values, their arrays, recording) with the tensors among them in the dtype that they compute in."""
    operands = [k for k, name in enumerate(op.positional) if name in op.promote_names]
    values, arrays = list(values), []
    for k in operands:
        if isinstance(values[k], ndarray):
            values[k] = wrap(values[k])
        elif not isinstance(values[k], (Tensor, *NUMBERS)) and values[k] is not None:
            raise TypeError(f"{op.name}(): argument '{op.positional[k]}' must be Tensor or Number, not "
                            f'{type(values[k]).__name__}')
    target = common_dtype(op, [values[k] for k in operands if isinstance(values[k], Tensor)],
                          [values[k] for k in operands if isinstance(values[k], NUMBERS)])
    for k, v in enumerate(values):
        if isinstance(v, Tensor):
            if k in operands and v._array.dtype != target.numpy:
                v = values[k] = PUBLIC._to_copy(v, target) if recording and v._node is not None \
                    else wrap(v._array.astype(target.numpy))
            arrays.append(v._array)
        elif k in operands and isinstance(v, NUMBERS):
            arrays.append(to_array(v, target))
        else:
            arrays.append(lowered(v)[0])
    return values, arrays, recording


def evaluate_composite(op, values, arrays, recording):
    """On arrays where that means the same, else over the public operations, which record and promote."""
    kinds = {a.dtype for a in arrays if a.__class__ is ndarray}
    if not recording and len(kinds) == 1 and kinds <= COMPUTED and not any(a.__class__ is list for a in arrays):
        return tensors_of(op, invoke(op, REFERENCE, arrays), None, values)
    half = next((v.dtype for v in values if isinstance(v, Tensor) and v.dtype in dtypes.HALVES), None) \
        if op.widen else None
    if half is not None:
        values = [v.to(dtypes.float32) if isinstance(v, Tensor) and v.dtype in dtypes.HALVES else v for v in values]
    result = invoke(op, PUBLIC, values)
    if half is not None:
        result = _cast_results(result, half)
    label_result(result, op)
    return named(op, result)


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
ENTRIES = {('input',): unary_entry, ('input', 'other'): binary_entry}


# ---- results -------------------------------------------------------------------------------------------------

def tensors_of(op, result, node, values):
    """The result of a formula over arrays as tensors, recorded by `node`."""
    if result.__class__ is ndarray or isinstance(result, np.generic):
        out = wrap(result if result.__class__ is ndarray else np.asarray(result))
        if node is not None and out._array.dtype.kind in 'fcV':
            out._node = node
            complete(node, op, values, (out,), False)
        return named(op, out)
    if not isinstance(result, (tuple, list)):
        return result
    outs = []
    for k, r in enumerate(result):
        out = r
        if r.__class__ is ndarray or isinstance(r, np.generic):
            out = wrap(np.asarray(r))
            if node is not None and out._array.dtype.kind in 'fcV':
                out._node = Output(node, k)
        outs.append(out)
    if node is not None:
        node.note('outputs', lambda: [(o._array.shape, o._array.dtype) if isinstance(o, Tensor)
                                      and o._node is not None else None for o in outs])
        complete(node, op, values, outs, True)
    return named(op, tuple(outs) if isinstance(result, tuple) else outs)


_RETURN_TYPES = {}


def named(op, result):
    """The results as a named tuple where PyTorch gives one (torch.return_types)."""
    if op.returns is None or not isinstance(result, tuple):
        return result
    return return_type(op.name, op.returns)(*result)


def return_type(name, fields):
    """The named tuple of torch.return_types for an operation."""
    key = name, fields
    if key not in _RETURN_TYPES:
        cls = collections.namedtuple(name, fields, module='torch.return_types')
        cls.__repr__ = lambda self: f'torch.return_types.{name}(\n' + ',\n'.join(
            f'{f}={v!r}' for f, v in zip(fields, self)) + ')'
        _RETURN_TYPES[key] = cls
    return _RETURN_TYPES[key]


# ---- recording -----------------------------------------------------------------------------------------------

def record(op, values, elementwise_shape=None):
    """A node for a call of `op`, or None where no operand wants a gradient. `complete` fills in what it saves."""
    edges, needed, shapes = [], [], []
    for name, value in zip(op.parameters, values):
        if isinstance(value, Tensor):
            edge = edge_of(value) if value._node is not None else None
            if edge is not None:
                edges.append(edge)
                needed.append(name)
                shapes.append(value._array.shape)
        elif value.__class__ in (list, tuple) and any(isinstance(v, Tensor) for v in value):
            found = [(k, edge) for k, v in enumerate(value)
                     if isinstance(v, Tensor) and v._node is not None and (edge := edge_of(v)) is not None]
            if found:
                edges.extend(edge for _, edge in found)
                needed.append((name, tuple(k for k, _ in found)))
                shapes.extend(value[k]._array.shape for k, _ in found)
    if not edges:
        return None
    node = make_node(op.node_class, tuple(edges), op.plan(tuple(needed)))
    if elementwise_shape is not None:
        if any(s != elementwise_shape for s in shapes):
            node.shapes = tuple(shapes)
    if op.kind == 'view':
        complete(node, op, values, (), False)
    if STATE.anomaly:
        from ..autograd.anomaly import remember_line
        remember_line(node)
    return node


def complete(node, op, values, outputs, several):
    """Saves what the gradients name."""
    names = node.plan.names
    if not names:
        node.saved = ()
        return
    given = dict(zip(op.parameters, values))
    saved = [saved_value(n, given, outputs, several) for n in names]
    node.versions = saved_versions(saved)
    if STATE.saved_hooks:
        from ..autograd.saved import pack_saved
        saved = pack_saved(node, saved)
    elif STATE.saving_refused is not None:
        raise RuntimeError(STATE.saving_refused)
    node.saved = tuple(saved)


def saved_value(name, given, outputs, several):
    if name in given:
        value = given[name]
        if value.__class__ is tuple and any(isinstance(v, Tensor) for v in value):
            return list(value)
        return value
    if name == 'output':
        return _saved_output(outputs[0], 0 if several else None)
    if name == 'outputs':
        return [_saved_output(o, k) for k, o in enumerate(outputs)]
    base, _, what = name.rpartition('_')
    if what == 'shape' and base in given:
        value = given[base]
        return [v._array.shape for v in value] if isinstance(value, (list, tuple)) else \
            value._array.shape if isinstance(value, Tensor) else ()
    if what == 'dtype' and base in given:
        return given[base].dtype
    raise NameError(f'a gradient names {name!r}, which is neither a parameter, output, outputs, nor NAME_shape/NAME_dtype')


def _saved_output(out, index):
    if not isinstance(out, Tensor):
        return out
    return SavedOutput(out._array, counter_of(out), index)


# ---- in place and out= -----------------------------------------------------------------------------------------

def inplace_entry(op):
    """The in-place form of an operation: computes the result, then writes it over the first argument."""
    def call(input, *args, **kwargs):
        if type(input) is not Tensor and overrides(input):
            return override(getattr(Tensor, op.name + '_'), (input, *args), kwargs)
        return change(input, op.name + '_', lambda before: op.public(before, *args, **kwargs), op)
    call.__name__ = call.__qualname__ = op.name + '_'
    call.__doc__ = f'In-place form of `{op.name}`.'
    return call


def refuse_write(tensor, operation):
    """Raises where a tensor may not be written in place while gradients are recorded."""
    node = tensor._node
    if node is LEAF:
        raise RuntimeError(f'a leaf Variable that requires grad is being used in an in-place operation: {operation} on '
                           f'{tensor.dtype} {list(tensor.shape)}. Do it under torch.no_grad(), or on a copy (.clone()).')
    if node.__class__ is View:
        edge = node.resolve(tensor)
        if node.base._node is LEAF:
            raise RuntimeError('a view of a leaf Variable that requires grad is being used in an in-place operation: '
                               f'{operation}. Do it under torch.no_grad(), or on a copy (.clone()).')
        if node.refusal is not None and (edge is not None or node.refusal.startswith('is one of')):
            raise RuntimeError(f'A view {node.refusal} and is being modified inplace with grad mode enabled by '
                               f'{operation}. Use the out-of-place form, or clone the view first.')


def change(tensor, operation, compute, op=None):
    """Overwrites `tensor` by compute(its value before), with the gradient rules of writing in place."""
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
    array = tensor._array
    if not array.flags.writeable or 0 in array.strides and array.size > 1 and _overlaps(array):
        raise RuntimeError(f'unsupported operation: {operation} would write more than once to one memory location of '
                           'an expanded tensor. Please clone() the tensor before performing the operation.')
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
        np.copyto(array, values, casting='unsafe')
    note_write(tensor, operation)
    if node is not None:
        write_node(tensor, node)
        _follow_output(node, tensor)
    elif recording and tensor._node is not None and edge_of(tensor) is not None and result is not before:
        write_node(tensor, None)
    return tensor


def _overlaps(array):
    return any(s == 0 and n > 1 for s, n in zip(array.strides, array.shape))


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
    np.copyto(out._array, result._array, casting='unsafe')
    note_write(out, op.name + '(out=...)')
    return out
