"""Declares operations that copy their input and write into the copy, and their in-place forms, which write directly.

Knows no operation.
"""
from __future__ import annotations

import numpy as np

from ..autograd.graph import note_write
from ..autograd.modes import OFF, STATE
from ..tensor import Parameter, Tensor, wrap
from .call import binder
from .definition import opaque, publish
from .general import SIMPLE, invoke, lowered, raise_refusal
from .overriding import answered, override
from .record import complete, record
from .reference import REFERENCE
from .writing import change, constant

IN_PLACE = object()  # as `m`: the formula writes into its first argument itself instead of into a copy


def destination(m, array: np.ndarray) -> np.ndarray:
    """What a formula that begins with a copy of its input writes into."""
    return array if m is IN_PLACE else REFERENCE.dense(array)


def writing(formula=None, *, inplace='', overlapping=False, **options):
    """Declares an opaque operation that copies its input and writes into the copy, and its in-place form.

    `inplace` names the namespaces that have the in-place form beside the method; overlapping: it also writes expanded
    tensors. The gradients may not name `input`.
    """
    def declare(formula):
        function = opaque(formula, **options)
        publish(_writer(function.operation, overlapping), [function.operation.name + '_'], inplace.split(), True)
        return function
    return declare if formula is None else declare(formula)


def _writer(op, overlapping):
    name = op.name + '_'
    formula, bind = op.formula, None

    def general(input, *args, **kwargs):
        nonlocal bind
        if answered(input, *args, *kwargs.values()):
            return override(call, (input, *args), kwargs)
        if bind is None:
            bind = binder(op)
        values = list(bind(input, *args, **kwargs))
        return change(input, name, lambda before: write_directly(op, before, values), op, overlapping)

    def call(input, *args, **kwargs):
        if kwargs or not is_unrecorded(input) or not input._array.flags.writeable:
            return general(input, *args, **kwargs)
        target = input._array
        arrays = []
        for value in args:
            if is_unrecorded(value):
                arrays.append(_apart(value._array, target))
            elif value.__class__ in SIMPLE:
                arrays.append(value)
            else:
                return general(input, *args)
        try:
            formula(IN_PLACE, target, *arrays)
        except Exception as error:
            raise_refusal(op, (input, *args), error)
        note_write(input, name)
        return input
    call.__name__ = call.__qualname__ = name
    call.__doc__ = f'In-place form of `{op.name}`.'
    return call


def is_unrecorded(value) -> bool:
    """Whether this is a plain tensor that no gradient flows through."""
    kind = value.__class__
    return (kind is Tensor or kind is Parameter) and constant(value)


def write_directly(op, before: Tensor, values: list) -> Tensor:
    """Runs a formula that writes on the array of `before` itself; the result stands on the same array."""
    values[0] = before
    arrays, wanting = zip(*map(lowered, values))
    target = arrays[0]
    arrays = [target, *(_apart(a, target) for a in arrays[1:])]
    node = record(op, values) if any(wanting) and STATE.recording is not OFF else None
    invoke(op, IN_PLACE, arrays)
    out = wrap(target, node)
    if node is not None:
        complete(node, values, (out,), False)
    return out


def _apart(value, target: np.ndarray):
    """An argument in memory of its own, so that writing does not change it."""
    if isinstance(value, list):
        return [_apart(v, target) for v in value]
    return value.copy() if isinstance(value, np.ndarray) and np.may_share_memory(value, target) else value
