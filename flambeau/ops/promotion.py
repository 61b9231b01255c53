"""Which dtype the operands of an operation compute in. Tables of dtypes are in dtype.py; this weighs operands."""
from __future__ import annotations

import numpy as np

from .. import dtypes
from ..dtypes import COMPLEX, FLOAT, INTEGER, promote_types
from ..errors import ArgumentTypeError

__all__ = ['DIRECT_SCALARS', 'beside', 'result_dtype', 'common_dtype', 'to_array', 'converted_number', 'number_dtype']

# the numbers that array functions take beside an array of a dtype as they are, with the result in that dtype
DIRECT_SCALARS = {**{np.dtype(t): (float, int) for t in ('float16', 'float32', 'float64')},
                  **{d.numpy: (int,) for d in dtypes.ALL if d.category == INTEGER}}


def beside(number, dtype):
    """A number as what formulas take beside arrays of a dtype, in which they compute; None where that is not as simple.
    """
    if number.__class__ is float:
        return number if dtype.kind == 'f' else None
    return np.array(number, dtype) if number.__class__ in DIRECT_SCALARS.get(dtype, ()) and 0 <= number < 128 else None


def number_dtype(value) -> dtypes.dtype:
    """The dtype that a Python or NumPy number stands for."""
    if isinstance(value, (bool, np.bool_)):
        return dtypes.bool_
    if isinstance(value, (int, np.integer)):
        return dtypes.int64
    if isinstance(value, (float, np.floating)):
        return dtypes.get_default_dtype()
    if isinstance(value, (complex, np.complexfloating)):
        return dtypes.default_complex()
    raise ArgumentTypeError(f'a Tensor or a number was expected, not {type(value).__name__} {value!r:.60}')


def result_dtype(tensors, numbers=()) -> dtypes.dtype | None:
    """The dtype that tensors and numbers promote to together.

    Tensors with dimensions count first; 0-d tensors, then numbers, only where they are of a higher category.
    """
    dimensioned = zero_d = None
    for t in tensors:
        d = dtypes.of(t._array.dtype)
        if t._array.ndim:
            dimensioned = d if dimensioned is None else promote_types(dimensioned, d)
        else:
            zero_d = d if zero_d is None else promote_types(zero_d, d)
    result = _outweighed(dimensioned, zero_d)
    number = None
    for n in numbers:
        d = number_dtype(n)
        number = d if number is None else promote_types(number, d)
    return _outweighed(result, number)


def _outweighed(strong, weak):
    if strong is None:
        return weak
    if weak is None or weak.category <= strong.category:
        return strong
    if weak.category == COMPLEX and strong.category == FLOAT:
        return strong.to_complex()
    return weak


def common_dtype(op, tensors, numbers) -> dtypes.dtype | None:
    """The dtype that the operands of `op` are brought to, by its rule."""
    if op.promote is None:
        return None
    found = result_dtype(tensors, numbers)
    if op.promote == 'float' and found is not None and found.category <= INTEGER:
        return dtypes.get_default_dtype()
    return found


def to_array(number, target: dtypes.dtype) -> np.ndarray:
    """A 0-d array of a number in `target`; integers out of range wrap around, as in C."""
    if number.__class__ is float and target.category == FLOAT:
        return np.array(number, target.numpy)
    if number.__class__ is int and FLOAT >= target.category >= INTEGER and -128 <= number < 128 and (
            number >= 0 or target.is_signed):
        return np.array(number, target.numpy)
    if target.category == INTEGER and isinstance(number, (int, np.integer)) and not isinstance(number, bool):
        bits = target.itemsize * 8
        wrapped = int(number) & ((1 << bits) - 1)
        if target.is_signed and wrapped >> (bits - 1):
            wrapped -= 1 << bits
        return np.array(wrapped, target.numpy)
    return np.array(number).astype(target.numpy)


def converted_number(number, target: dtypes.dtype) -> np.ndarray:
    """A 0-d array of a number that is stored as `target`. Raises RuntimeError for one that does not fit.

    Unsigned integers also stand for the negative numbers down to minus their greatest, as in PyTorch.
    """
    if target.category == INTEGER and not isinstance(number, (bool, np.bool_)):
        limits = np.iinfo(target.numpy)
        if isinstance(number, complex) and number.imag == 0:
            number = number.real
        low = limits.min if target.is_signed else -int(limits.max)
        if isinstance(number, complex) or not low <= number <= limits.max:  # nan too
            raise RuntimeError(f'value cannot be converted to type {target.name} without overflow: {number}')
        number = int(number)
    elif target.category < COMPLEX and isinstance(number, complex):
        if number.imag:
            raise RuntimeError(f'value cannot be converted to type {target.name} without overflow: {number}')
        number = number.real
    return to_array(number, target)
