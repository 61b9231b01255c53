"""How operations are called: makes the public callables, and alone picks array code or the general way.

A call of a small eager operation passes through one function here and ends in one array function. Whatever is rare
(other types, subclasses, `out=`, mixed dtypes, observed recording) leaves that short way by a cheap test for the
general one.
Knows no operation by name, and nothing of how arrays are computed.
"""
from __future__ import annotations

import functools
import linecache
import types

import numpy as np

from .. import dtypes
from ..dtypes import of as dtype_of
from ..autograd.graph import LEAF, View, edge_of, make_node, note_write, saved_versions, ticket
from ..autograd.modes import OFF, PLAIN, STATE
from ..tensor import Parameter, Tensor
from .definition import SavedOutput
from .general import COMPUTED, SIMPLE, raise_refusal, runner
from .overriding import Overridden, override
from .plans import Plans, Views
from .record import GENERAL, binary_recorder, complete, record
from .promotion import DIRECT_SCALARS, beside
from .reference import LARGE, REFERENCE, SINGLE
from .results import recorder, several_views, tensors_of
from .writing import deliver, overwritten, refuse_out, refuse_partial_overlap

__all__ = ['entry', 'operator_entry', 'general_entry', 'binder']

new = object.__new__
ndarray = np.ndarray
OPERANDS = (Tensor, int, float, complex, ndarray, np.number, np.bool_)


def entry(op):
    """The public callable of an operation."""
    general = general_entry(op)
    if op.kernels is not None:
        op.find_kernel = kernel_finder(op)
    short = SHORT.get(op.positional if op.kernels is not None else None)
    function = short(op, general) if short else written_entry(op, general)
    function.__name__ = op.name
    function.__qualname__ = op.name
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
    short = SHORT.get(op.positional if op.kernels is not None else None)
    return short(op, refusing) if short else refusing


# ---- functions of one or two numbers -----------------------------------------------------------------------

def unary_entry(op, general):
    kernels, find, large = op.kernels, op.find_kernel, large_runner(op)
    node_class = op.node_class
    plan = op.plan((0,)) if 'input' in op.gradients else None
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
                try:
                    result = kernel(array) if array.size < LARGE else large(kernel, array)
                except (TypeError, MemoryError):
                    return general(input)  # which says what does not fit
                if result.__class__ is not ndarray:
                    result = np.asarray(result)
                out = new(Tensor)
                out._array, out._node, out._counter = result, node, None
                if node is not None:
                    if saves_input:
                        node.saved, node.versions = (input,), saved_versions((input,))
                    elif saves_output:
                        out._counter = [0, None]
                        node.saved = SavedOutput(result, out._counter),
                return out
        return general(input, **options)
    return call


def binary_entry(op, general):
    kernels, find, record, large = op.kernels, op.find_kernel, binary_recorder(op), large_runner(op)
    scalars_like, number_first = DIRECT_SCALARS, op.number_first

    def call(input, other, **options):
        kind = input.__class__
        if (kind is Tensor or kind is Parameter) and not options:
            a = input._array
            kernel = kernels.get(a.dtype) or find(a.dtype)
            if kernel:
                kind = other.__class__
                if kind is Tensor or kind is Parameter:
                    b, other_node = other._array, other._node
                    fits = b.dtype is a.dtype
                else:
                    b, other_node = other, None
                    fits = kind in scalars_like.get(a.dtype, ())
                if fits:
                    node = None
                    if input._node is not None or other_node is not None:
                        mode = STATE.recording
                        if mode is not OFF:
                            node = record(input, other, a, b) if mode is PLAIN else GENERAL
                            if node is GENERAL:
                                return general(input, other)
                    try:
                        if b is other:
                            small = a.size < LARGE
                        else:
                            small = a.size * b.size < LARGE or is_small(a, b)
                        result = kernel(a, b) if small else large(kernel, a, b)
                    except (ValueError, OverflowError, TypeError, MemoryError, RuntimeError):
                        return general(input, other)  # which says what does not fit
                    if result.__class__ is not ndarray:
                        result = np.asarray(result)
                    out = new(Tensor)
                    out._array = result
                    out._node = node
                    out._counter = None
                    return out
        elif number_first and (kind is float or kind is int) and not options and (
                type(other) is Tensor and other._node is None):
            b = other._array  # a number first, as in 1 - x
            kernel = kind in scalars_like.get(b.dtype, ()) and (kernels.get(b.dtype) or find(b.dtype))
            if kernel.__class__ is np.ufunc:
                result = kernel(input, b)
                out = new(Tensor)
                out._array, out._node, out._counter = np.asarray(result), None, None
                return out
        return general(input, other, **options)
    return call


def is_small(a, b):
    """Whether the result of two arrays is small."""
    return a.size < LARGE and b.size < LARGE and (
        a.shape == b.shape or a.size == 1 or b.size == 1 or np.broadcast(a, b).size < LARGE)


def kernel_finder(op):
    """find(array dtype): the array function that computes it directly, or False; remembered in `op.kernels`."""
    def find(array_dtype):
        found = op.kernels.get(array_dtype)
        if found is None:
            d = dtypes.of(array_dtype)
            direct = d.category >= dtypes.FLOAT or op.promote == 'same' and d.category <= dtypes.INTEGER \
                or op.promote == 'bool'
            if op.check is not None and d.category in (dtypes.BOOL, dtypes.COMPLEX):
                direct = False
            found = direct and REFERENCE.direct(op.kernel, array_dtype)
            if found and d.category <= dtypes.INTEGER and not op.kernel_for_integers:
                found = functools.partial(op.formula, REFERENCE)
            if found and found.__class__ is not np.ufunc and array_dtype == SINGLE and REFERENCE.planned(
                    op.formula, (np.ones(2, SINGLE),) * len(op.positional), 1):
                found = _fused(op, found)
            op.kernels[array_dtype] = found
        return found
    return find


def _fused(op, several):
    """The function of arrays that runs what takes `several` array functions as one kernel."""
    plans, signature, ndarray = Plans(), REFERENCE.signature, np.ndarray

    def run_one(x):
        key = signature(x)
        plan = plans.get(key, 0)
        if plan.__class__ is int:
            plan = plans.met(key, plan, REFERENCE, op, (x,))
        return plan(x) if plan else several(x)

    def run(*operands):
        key = (signature(*operands), *[x if x.__class__ is int else x.__class__ for x in operands
                                       if x.__class__ is not ndarray])
        plan = plans.get(key, 0)
        if plan.__class__ is int:
            plan = plans.met(key, plan, REFERENCE, op, operands)
        return plan(*operands) if plan else several(*operands)
    return run_one if len(op.positional) == 1 else run


def large_runner(op):
    """large(kernel, arrays...): one generated kernel for large arrays, else the array function `kernel`."""
    formula = op.formula
    own = {number: np.float64(number) for number in op.own_formulas}  # which are part of the kernel

    def large(kernel, *operands):
        dtype = operands[0].dtype
        if dtype.kind != 'c':
            made = REFERENCE.kernel('fusion.run', formula, *[
                x if x.__class__ is ndarray else np.array(x, dtype) if dtype.kind in 'iu' else own.get(x) or float(x)
                for x in operands])
            if made is not None:
                return made
        return kernel(*operands)
    return large


SHORT = {('input',): unary_entry, ('input', 'other'): binary_entry}


# ---- everything else: a function written for the operation's signature when it is first called -----------------

# parameters that are never tensors whose values count
STATIC = frozenset("""dim keepdim dtype memory_format start_dim end_dim dim0 dim1 dim2 dims shape size sizes reduction
    correction unbiased descending stable largest sorted decimals alpha beta eps momentum training inplace p k letters
    split_size_or_sections chunks start length step offset rounding_mode threshold approximate stride padding
    output_padding dilation groups""".split())


def written_entry(op, general):
    """A function that writes its own code for the operation's signature at its first call."""
    scope = {'write_entry': write_entry, 'operation': op, 'general': general, '__builtins__': __builtins__}
    function = scope['this'] = types.FunctionType(_first_call.__code__, scope)
    return function


def _first_call(*args, **kwargs):
    return write_entry(operation, general, this)(*args, **kwargs)  # noqa: F821: found in the function's own globals


def write_entry(op, general, function):
    """Gives `function` the code that calls `op` the short way. Returns it."""
    source = entry_source(op)
    name = f'<flambeau.{op.name}>'
    scope = {}
    exec(compile(source, name, 'exec'), scope)
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)  # a debugger can step through it
    made = scope[op.name]
    own = op.kernel is not None and op.kind != 'elementwise'
    function.__globals__.update(
        {k: v for k, v in globals().items() if k in _NEEDED}, m=REFERENCE,
        beside=beside, plans=Views() if op.kind == 'view' else Plans(), viewed=op.kind == 'view' and op.replay and REFERENCE.viewed,
        signature=REFERENCE.signature, recorded=op.recordable and recorder(op, tensors_among(op)),
        node_class=op.node_class, plan=op.plan((0,)) if op.recordable and _takes_gradient(op) else None,
        formula=getattr(REFERENCE, op.kernel) if own else op.formula)
    function.__code__ = made.__code__
    if not op.variadic:
        function.__defaults__ = op.formula.__defaults__
        function.__kwdefaults__ = {**(op.formula.__kwdefaults__ or {}), **({} if 'out' in op.parameters else
                                                                          {'out': None})}
    return function


_NEEDED = frozenset("""LEAF PLAIN SavedOutput dtype_of ticket saved_versions Tensor Parameter View SIMPLE COMPUTED
    STATE OFF new ndarray record complete tensors_of several_views raise_refusal np""".split())


def _takes_gradient(op):
    return op.kind == 'view' or op.joint is not None or op.parameters[0] in op.gradients


def tensors_among(op):
    """The parameters that may be tensors."""
    return [p for p in op.parameters if p not in STATIC]


def entry_source(op):
    """The text of an operation's entry. Names with a trailing underscore are arrays of the parameters without."""
    owns_out = 'out' in op.parameters
    if op.variadic:
        head = ', '.join(p if p != op.variadic else '*' + p for p in (*op.positional, *op.keywords))
        head += ', **options'
        again = ', '.join(p if p != op.variadic else '*' + p for p in op.positional)
        again += ''.join(f', {k}={k}' for k in op.keywords) + ', **options'
        lines = [f'    if options: return general({again})',
                 f'    if len({op.variadic}) == 1 and {op.variadic}[0].__class__ is not int and '
                 f'hasattr({op.variadic}[0], "__iter__") and not isinstance({op.variadic}[0], Tensor):',
                 f'        {op.variadic} = tuple({op.variadic}[0])',
                 f'    elif not {op.variadic}: return general({again[:-len(", **options")]})']
        again = again[:-len(', **options')]
    else:
        keywords = [*op.keywords, *([] if owns_out else ['out'])]
        head = ', '.join([*op.positional, *(['*', *keywords] if keywords else []), '**options'])
        again = ', '.join([*op.positional, *(f'{k}={k}' for k in op.keywords)])
        lines = ['    if options: return general(' + again + ('' if owns_out else ', out=out') + ', **options)']
        if not owns_out:
            lines.append(f'    if out is not None: return general({again}, out=out)')
    give_up = f'return general({again})'
    lines.append('    recording = False')
    tensors = tensors_among(op)
    required = set(op.promote_names if op.promote is not None else op.parameters[:1] if op.kind == 'reduction' else ())
    lines += _unwrapping(op, tensors, required, give_up)
    values = '(' + ', '.join(op.parameters) + ',)'
    call = ', '.join([*(p + '_' if p in tensors else p for p in op.positional),
                      *(f'{k}={k}_' if k in tensors else f'{k}={k}' for k in op.keywords)])
    given = '' if op.kernel is not None and op.kind != 'elementwise' else 'm, '
    first = op.parameters[0]
    run = f'formula({given}{call})'
    looked_up = first in tensors and op.kind != 'view' and not op.variadic and (
        op.replay or op.kind == 'reduction' or op.kind == 'elementwise' and op.kernel is None)
    computing = ['    try:', f'        result = {run}']
    if looked_up:
        given = ', '.join(p + '_' if p in tensors else p for p in op.parameters)
        computing = [*_looking_up(op, tensors, required, given), '    try:',
                     f'        result = run({given}) if run else {run}',
                     *([f'        if result is None: result = {run}'] if op.replay else [])]
    refused = give_up if op.kind == 'elementwise' else f'raise_refusal(operation, {values}, error)'
    computing += ['    except Exception as error:', '        ' + refused]
    lines += FINISHING[op.kind](op, values, computing, give_up, tensors)
    return f'def {op.name}({head}):\n' + '\n'.join(lines) + '\n'


def _unwrapping(op, tensors, required, give_up):
    """Lines that take the arrays out of tensors, and take the general way where the formula cannot run as it is."""
    lines, first = [], None
    uniform = op.kind == 'composite'
    if uniform:
        lines.append('    shared = None')
    for p in tensors:
        lines += [f'    kind = {p}.__class__', '    if kind is Tensor or kind is Parameter:',
                  f'        {p}_ = {p}._array',
                  f'        if {p}._node is not None: recording = True']
        if op.widen and op.kind != 'composite':
            lines.append(f'        if {p}_.dtype.itemsize == 2: {give_up}')
        if uniform:
            lines += [f'        if shared is None: shared = {p}_.dtype',
                      f'        elif {p}_.dtype is not shared: {give_up}']
        if p in required:
            if first is None:
                first = p
                if op.promote == 'float':
                    lines.append(f'        if {p}_.dtype not in COMPUTED: {give_up}')
            else:
                lines.append(f'        if {p}_.dtype is not {first}_.dtype: {give_up}')
                if op.kind == 'elementwise' and op.check is None:
                    lines += ['    elif kind is float or kind is int:', f'        {p}_ = beside({p}, {first}_.dtype)',
                              f'        if {p}_ is None: {give_up}']
            lines.append(f'    else: {give_up}')
        else:
            lines += [f'    elif kind in SIMPLE: {p}_ = {p}', f'    else: {give_up}']
    if uniform:
        lines.append(f'    if shared not in COMPUTED: {give_up}')
    return lines


def _looking_up(op, tensors, required, given):
    """Lines that find `run`, the function of the call for arrays of these shapes and strides, if there is one."""
    arrays, others = [], []
    for p in op.parameters:
        if p in tensors:
            arrays.append(p + '_')
        if p not in required or op.kind == 'elementwise' and p != op.parameters[0]:
            number = f'{p}_' if p in tensors else p
            if not (op.replay or op.constants or op.own_formulas or p in ('dim', 'keepdim')):
                number = f'float if {number}.__class__ is float else {number}'
            others.append(f'None if {p}_.__class__ is ndarray else {number}' if p in tensors else number)
    key = f'signature({", ".join(arrays)})'
    if others:
        key = f'({key}, {", ".join(others)})'
    return ['    try:', f'        call_key = {key}', '        run = plans.get(call_key, 0)',
            f'        if run.__class__ is int: run = plans.met(call_key, run, m, operation, ({given},))',
            '    except TypeError: run = None']


def _noted(op, indent='    '):
    """Lines that make `node` for a call with one tensor operand, with what it saves; None where that is not known.

    The result is there already: it may be saved.
    """
    operand = op.parameters[0]
    if not _takes_gradient(op):
        return None
    plan = op.plan((0,))
    if op.joint is not None and not plan.names or any(what == 'outputs' for what, _ in plan.fetches):
        return None
    saved = []
    for what, position in plan.fetches:
        name = None if position is None else op.parameters[position]
        if what in ('shape', 'dtype') and name != operand:
            return None
        saved.append({'value': name, 'shape': f'{name}_.shape', 'dtype': f'dtype_of({name}_.dtype)',
                      'output': 'SavedOutput(result, counter_)'}[what])
    keeps = [name for name in saved if name == operand]
    lines = [f'edge = {operand}._node', f'if edge is LEAF: edge = {operand}',
             f'elif edge.__class__ is View: edge = edge.resolve({operand})', 'if edge is not None:',
             '    node = new(node_class)',
             '    node.edges, node.plan, node.shapes, node.sequence, node.extra = (edge,), plan, None, ticket(), None']
    if any('counter_' in v for v in saved):
        lines.append('    counter_ = [0, None]')
    lines.append(f'    node.saved = ({"".join(v + ", " for v in saved)})')
    versions = 'saved_versions(node.saved)' if keeps else 'None'
    lines.append(f'    node.versions = {versions}')
    return [indent + line for line in lines]


def _recording(op):
    return 'recording and STATE.recording is not OFF' if op.recordable else 'False'


def _finish_array(op, values, computing, give_up, tensors):
    noted = _noted(op, ' ' * 8) if op.recordable and tensors == [op.parameters[0]] else None
    given = values[1:-2]
    recorded = ['    if recording:', f'        made = recorded(result, {given})', '        if made is not None: return made'
                ] if op.recordable else []
    several = f'if not isinstance(result, np.generic): return tensors_of(operation, result, None, {values})'
    before = ['    if recording:', '        recording_mode = STATE.recording',
              '        if recording_mode is OFF: recording = False',
              f'        elif recording_mode is not PLAIN: {give_up}'] if op.recordable else []
    if noted is None:
        return [*before, *computing, *recorded, '    if result.__class__ is not ndarray:', '        ' + several,
                '        result = np.asarray(result)', '    made = new(Tensor)',
                '    made._array, made._node, made._counter = result, None, None', '    return made']
    return [*before, *computing, '    if result.__class__ is not ndarray:',
            '        if not isinstance(result, np.generic):',
            *['        ' + line for line in recorded], '        ' + several, '        result = np.asarray(result)',
            '    node = counter_ = None',
            '    if recording and result.dtype.kind in "fcV":', *noted, '    made = new(Tensor)', '    made._array, made._node, made._counter = result, node, counter_',
            '    return made']


def _finish_composite(op, values, computing, give_up, tensors):
    return [f'    if {_recording(op)}: {give_up}', *computing,
            f'    return tensors_of(operation, result, None, {values})']


def _finish_view(op, values, computing, give_up, tensors):
    source = op.parameters[0]
    noted = _noted(op, ' ' * 8) if tensors == [source] else None
    planned = op.replay and REFERENCE.viewed
    return [
        *(_viewing_again(op, values, source, computing) if planned else computing), '    recorded = STATE.recording', '    node = None', '    if recording and recorded is not OFF:',
        *([f'        if recorded is not PLAIN: {give_up}', *noted] if noted is not None else
          [f'        node = record(operation, {values})',
           f'        if node is not None: complete(node, {values}, (), False)']),
        f'    if result.__class__ is not ndarray: return several_views(operation, result, {source}, node)',
        '    made = new(Tensor)',
        *([f'    if {"not place and " if planned else ""}not {source}_.flags.c_contiguous and not '
           f'np.may_share_memory(result, {source}_):',
           '        made._array, made._node, made._counter = result, node, None', '        return made']
          if op.may_copy else []),
        f'    counter = {source}._counter',
        f'    if counter is None: counter = {source}._counter = [0, None]',
        f'    made._array, made._counter = {source}_.view() if result is {source}_ else result, counter',
        f'    of = {source}._node', '    link = made._node = new(View)',
        f'    link.refusal = {op.view_refusal!r} if recorded is not OFF else "was created in no_grad mode"',
        f'    link.base = {source}', '    if of.__class__ is View:', '        link.base = of.base',
        '        link.refusal = of.refusal or link.refusal',
        '    link.node, link.version = node, counter[0]', '    return made']


def _viewing_again(op, values, source, computing):
    """Lines that make the views of a call met before from their plan, and take the formula for others."""
    key = ', '.join(['*' * (p == op.variadic) + p for p in op.parameters[1:]])
    return ['    try:', f'        call_key = (signature({source}_), {key})', '        place = plans.get(call_key, 0)',
            f'        if place.__class__ is int: place = plans.met(call_key, place, m, operation, ({source}_, *{values}[1:]))',
            '    except TypeError: place = False', f'    if place.__class__ is bytes: result = viewed({source}_, place)',
            f'    elif place: result = [viewed({source}_, part) for part in place]', '    else:',
            *['    ' + line for line in computing]]


FINISHING = {'elementwise': _finish_array, 'reduction': _finish_array, 'contraction': _finish_array,
             'opaque': _finish_array, 'composite': _finish_composite, 'view': _finish_view}


# ---- the general way ------------------------------------------------------------------------------------------

def general_entry(op):
    """The callable of an operation for whatever the short ways leave, or that has none."""
    bind = run = None

    def call(*args, **kwargs):
        nonlocal bind, run
        if bind is None:
            bind, run = binder(op), runner(op)
        out = kwargs.pop('out', None) if kwargs and 'out' not in op.parameters else None
        try:
            values = bind(*args, **kwargs)
            if out.__class__ is Tensor and not op.strict_out and overwritten(op, out, values):
                note_write(out, op.name + '(out=...)')
                return out
            result = run(values)
        except Overridden:
            if out is not None:
                kwargs['out'] = out
            return override(op.public, args, kwargs)
        if out is None:
            return result
        if op.strict_out:
            refuse_out(op, values, result, out)
        elif op.kind == 'elementwise':
            refuse_partial_overlap(op, values, out)
        return deliver(op, result, out)
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
                args = (*args, kwargs.pop(op.variadic))
        return function(*args, **kwargs)

    if op.variadic is None:
        return lambda *args, **kwargs: bind(*args, **kwargs) if kwargs else function(*args)
    position = op.positional.index(op.variadic)

    def bind_variadic(*args, **kwargs):
        values = list(bind(*args, **kwargs))
        sizes = values[position]
        if not sizes and getattr(values[0], 'ndim', 1):
            raise TypeError(f'{op.name}() missing 1 required positional arguments: "{op.variadic}"')
        if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
            sizes = tuple(sizes[0])
        values[position] = sizes
        return tuple(values)
    return bind_variadic
