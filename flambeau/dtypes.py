"""Data types of tensors, their NumPy counterparts, and type promotion.

A `dtype` is a named singleton, as in PyTorch; its array counterpart is a NumPy dtype (bfloat16 comes from ml_dtypes).
This module knows nothing of tensors: promotion works on categories and dtypes alone.
"""
from __future__ import annotations

import numpy as np

__all__ = ['dtype', 'finfo', 'iinfo', 'promote_types', 'can_cast', 'get_default_dtype', 'set_default_dtype']

BOOL, INTEGER, FLOAT, COMPLEX = range(4)


class dtype:
    """The type of a tensor's elements, such as `float32`.

    Attributes: `itemsize` (bytes), `is_floating_point`, `is_complex`, `is_signed`; `numpy` is the array counterpart.
    """

    __slots__ = ('name', 'numpy', 'category', 'itemsize', 'is_floating_point', 'is_complex', 'is_signed', '__weakref__')

    def __init__(self, name: str, array_dtype: np.dtype, category: int, signed: bool = True):
        self.name = name
        self.numpy = array_dtype
        self.category = category
        self.itemsize = array_dtype.itemsize
        self.is_floating_point = category == FLOAT
        self.is_complex = category == COMPLEX
        self.is_signed = signed

    def __repr__(self):
        return f'torch.{self.name}'

    def __reduce__(self):
        return self.name  # a global of this module: the same object again after unpickling

    def to_real(self) -> 'dtype':
        return REAL_OF.get(self, self)

    def to_complex(self) -> 'dtype':
        return COMPLEX_OF.get(self, self)


def _define(name, category, signed=True):
    if name == 'bfloat16':
        import ml_dtypes
        return dtype(name, np.dtype(ml_dtypes.bfloat16), category)
    return dtype(name, np.dtype(name), category, signed)


bool_ = dtype('bool', np.dtype(bool), BOOL, False)
uint8 = _define('uint8', INTEGER, False)
uint16 = _define('uint16', INTEGER, False)
uint32 = _define('uint32', INTEGER, False)
uint64 = _define('uint64', INTEGER, False)
int8 = _define('int8', INTEGER)
int16 = _define('int16', INTEGER)
int32 = _define('int32', INTEGER)
int64 = _define('int64', INTEGER)
float16 = _define('float16', FLOAT)
bfloat16 = _define('bfloat16', FLOAT)
float32 = _define('float32', FLOAT)
float64 = _define('float64', FLOAT)
complex64 = _define('complex64', COMPLEX)
complex128 = _define('complex128', COMPLEX)

ALL = (bool_, uint8, uint16, uint32, uint64, int8, int16, int32, int64, float16, bfloat16, float32, float64,
       complex64, complex128)
PUBLIC = {d.name: d for d in ALL} | {
    'half': float16, 'float': float32, 'double': float64, 'cfloat': complex64, 'cdouble': complex128,
    'short': int16, 'int': int32, 'long': int64}
globals()['bool'] = bool_  # the name that pickles refer to

REAL_OF = {complex64: float32, complex128: float64}
COMPLEX_OF = {float32: complex64, float64: complex128, float16: complex64, bfloat16: complex64}
HALVES = (float16, bfloat16)

_OF_NUMPY = {d.numpy: d for d in ALL}


_OF_PYTHON = {float: float64, int: int64, type(True): bool_, complex: complex128}


def asked(argument) -> dtype | None:
    """The dtype that a `dtype` argument stands for: a dtype, one of Python's number types, or None.

    Raises TypeError for anything else.
    """
    if argument.__class__ is dtype or argument is None:
        return argument
    try:
        return _OF_PYTHON[argument]
    except (KeyError, TypeError):
        raise TypeError(f"argument 'dtype' must be torch.dtype, not {type(argument).__name__}: {argument!r}") from None


def of(array_dtype: np.dtype) -> dtype:
    """The dtype whose array counterpart is `array_dtype`. Raises TypeError where there is none."""
    try:
        return _OF_NUMPY[array_dtype]
    except KeyError:
        pass
    native = np.dtype(array_dtype).newbyteorder('=')
    for known, d in _OF_NUMPY.items():
        if known == native:  # platform aliases such as intc and longlong
            _OF_NUMPY[array_dtype] = d
            return d
    raise TypeError(
        f"can't convert np.ndarray of type {array_dtype}. The only supported types are: float64, float32, float16, "
        'complex64, complex128, int64, int32, int16, int8, uint64, uint32, uint16, uint8, and bool.')


# ---- the default floating point dtype --------------------------------------------------------------

_default = float32


def get_default_dtype() -> dtype:
    """The dtype of tensors made from Python floats, and of true divisions of integers."""
    return _default


def set_default_dtype(d: dtype) -> None:
    """Sets the default floating point dtype. Raises TypeError for anything but a floating point dtype."""
    global _default
    if not isinstance(d, dtype):
        raise TypeError(f'invalid dtype object: only floating-point types are supported as the default type, got {d!r}')
    if not d.is_floating_point:
        raise TypeError(f'only floating-point types are supported as the default type, got {d}')
    _default = d


def default_complex() -> dtype:
    return COMPLEX_OF[_default]


# ---- promotion ---------------------------------------------------------------------------------------



def _require_dtypes(name, **arguments):
    for position, (label, value) in enumerate(arguments.items(), 1):
        if value.__class__ is not dtype:
            raise TypeError(f"{name}(): argument '{label}' (position {position}) must be torch.dtype, not "
                            f'{type(value).__name__}')


def promote_types(a: dtype, b: dtype) -> dtype:
    """The smallest dtype that both `a` and `b` promote to, by PyTorch's table.

    Raises RuntimeError for a pair of unequal unsigned types wider than uint8 with signed ones, which has no common
    type.
    """
    if a is b:
        return a
    _require_dtypes('promote_types', type1=a, type2=b)
    if a.category > b.category:
        a, b = b, a
    if a.category < b.category:
        if b is float16 or b is bfloat16 or b.category == INTEGER or a.category != FLOAT:
            return b
        return COMPLEX_OF[a] if a.itemsize * 2 > b.itemsize else b  # a real with a complex
    if a.category == FLOAT:
        if a.itemsize == b.itemsize:
            return float32  # float16 with bfloat16
        return a if a.itemsize > b.itemsize else b
    if a.category == COMPLEX:
        return a if a.itemsize > b.itemsize else b
    if a.is_signed == b.is_signed:
        if not a.is_signed and uint8 not in (a, b):
            raise RuntimeError(f'Promotion for uint16, uint32, uint64 types is not supported, attempted to promote '
                               f'{a.name} and {b.name}')
        return a if a.itemsize > b.itemsize else b
    signed, unsigned = (a, b) if a.is_signed else (b, a)
    if unsigned is not uint8:
        raise RuntimeError(f'Promotion for uint16, uint32, uint64 types is not supported, attempted to promote '
                           f'{a.name} and {b.name}')
    return int16 if signed is int8 else signed


def can_cast(from_: dtype, to: dtype) -> bool:
    """Whether a result of dtype `from_` may be stored as `to` without losing its category.

    >>> can_cast(int64, float32), can_cast(float32, int64)
    (True, False)
    """
    _require_dtypes('can_cast', from_=from_, to=to)
    if to.category < from_.category:
        return False
    return True


class finfo:
    """Numerical properties of a floating point dtype (of the default one when called without)."""

    def __init__(self, type: dtype | None = None):
        type = type or _default
        _require_dtypes('finfo', type=type)
        if not (type.is_floating_point or type.is_complex):
            raise TypeError(f'torch.finfo() requires a floating point input type. Use torch.iinfo to handle {type}')
        real = type.to_real()
        if real is bfloat16:
            import ml_dtypes
            limits = ml_dtypes.finfo(real.numpy)
        else:
            limits = np.finfo(real.numpy)
        self.bits = real.itemsize * 8
        self.eps = float(limits.eps)
        self.max = float(limits.max)
        self.min = float(limits.min)
        self.tiny = self.smallest_normal = float(limits.smallest_normal)
        self.resolution = float(limits.resolution)
        self.dtype = real.name

    def __repr__(self):
        return (f'finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, '
                f'smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})')


class iinfo:
    """Numerical properties of an integer dtype."""

    def __init__(self, type: dtype):
        _require_dtypes('iinfo', type=type)
        if type.category != INTEGER:
            raise TypeError(f'torch.iinfo() requires an integer input type. Use torch.finfo to handle {type}')
        limits = np.iinfo(type.numpy)
        self.bits = limits.bits
        self.min = int(limits.min)
        self.max = int(limits.max)
        self.dtype = type.name

    def __repr__(self):
        return f'iinfo(min={self.min}, max={self.max}, dtype={self.dtype})'
