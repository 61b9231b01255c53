"""`m` over arrays: PyTorch's names for the functions of an array library, and the formulas of all other operations.

This is the reference that generated kernels are checked against. The array library comes from the backend, so the same
text serves every device kind whose arrays follow NumPy. Arrays in, arrays out: no tensors, no promotion, no recording.
"""
from __future__ import annotations

import functools
import math

import numpy as np

from .. import dtypes
from ..backends.cpu import array as backend
from .plans import replaying

__all__ = ['Reference', 'REFERENCE', 'LARGE', 'axes_of', 'sized']

# names that differ, or that exist in the array library under PyTorch's name
UFUNCS = {name: name for name in (
    'abs exp exp2 expm1 log log10 log1p log2 sqrt sin cos tan sinh cosh tanh floor ceil trunc square maximum minimum '
    'fmod copysign nextafter logaddexp logaddexp2 hypot isnan isinf isfinite signbit heaviside gcd lcm ldexp '
    'logical_and logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor deg2rad rad2deg '
    'fmax fmin positive rint').split()}
UFUNCS |= {'add': 'add', 'sub': 'subtract', 'mul': 'multiply', 'true_divide': 'true_divide', 'neg': 'negative',
           'remainder': 'remainder', 'floor_divide': 'floor_divide', 'asin': 'arcsin', 'acos': 'arccos',
           'atan': 'arctan', 'asinh': 'arcsinh', 'acosh': 'arccosh', 'atanh': 'arctanh', 'atan2': 'arctan2',
           'bitwise_not': 'bitwise_not', 'bitwise_left_shift': 'left_shift', 'bitwise_right_shift': 'right_shift',
           'eq': 'equal', 'ne': 'not_equal', 'lt': 'less', 'le': 'less_equal', 'gt': 'greater', 'ge': 'greater_equal',
           'power': 'power', 'conj_physical': 'conjugate'}
SPECIAL = {'erf': 'erf', 'erfc': 'erfc', 'erfinv': 'erfinv', 'lgamma': 'gammaln', 'digamma': 'digamma', 'i0': 'i0',
           'i0e': 'i0e', 'i1': 'i1', 'i1e': 'i1e', 'ndtri': 'ndtri', 'log_ndtr': 'log_ndtr', 'ndtr': 'ndtr',
           'erfcx': 'erfcx', 'igamma': 'gammainc', 'igammac': 'gammaincc', 'xlogy': 'xlogy', 'xlog1py': 'xlog1py',
           'zeta': 'zeta', 'bessel_j0': 'j0', 'bessel_j1': 'j1', 'bessel_y0': 'y0', 'bessel_y1': 'y1',
           'modified_bessel_i0': 'i0', 'modified_bessel_i1': 'i1', 'modified_bessel_k0': 'k0',
           'modified_bessel_k1': 'k1', 'scaled_modified_bessel_k0': 'k0e', 'scaled_modified_bessel_k1': 'k1e'}
PRODUCT = 1 << 17  # multiplications from which on that is so for products of matrices
WHOLE_PRODUCT = 1 << 11  # and for whole numbers, whose products NumPy takes one by one
SINGLE = np.dtype(np.float32)
SEVERAL = 5  # array functions that take longer than to look up a kernel for the shapes at hand
FILLED = 1 << 16  # elements up to which the array library overwrites with a number as fast
LARGE = 8192  # elements from which on a generated kernel beats array functions
# logical and comparing functions of half types and bool inputs need no care; these have no loop there
NO_DIRECT_BOOL = frozenset({'sub', 'neg'})


def axes_of(dim, ndim):
    """PyTorch's `dim` (None, an int, or several; () means all) as a tuple of axes >= 0.

    Raises IndexError out of range, RuntimeError for a repeated one.
    """
    if dim is None or dim == () or dim == []:
        return tuple(range(ndim))
    if dim.__class__ is int:
        dim = (dim,)
    elif not isinstance(dim, (tuple, list)):
        dim = (dim.__index__(),)
    axes = []
    limit = max(ndim, 1)
    for d in dim:
        if not -limit <= d < limit:
            raise IndexError('Dimension out of range (expected to be in range of '
                             f'[{-limit}, {limit - 1}], but got {d})')
        axes.append(d % limit)
    if len(set(axes)) != len(axes):
        repeated = next(a for a in axes if axes.count(a) > 1)
        raise RuntimeError(f'dim {repeated} appears multiple times in the list of dims')
    return tuple(axes) if ndim else ()


def refuse_empty(name, x, dim):
    """Raises for a reduction without an identity over dimensions of size 0."""
    for axis in axes_of(dim, x.ndim):
        if not x.shape[axis]:
            if dim in (None, (), []):
                raise RuntimeError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0. "
                                   "Specify the reduction dim with the 'dim' argument.")
            raise IndexError(f'{name}(): Expected reduction dim {axis} to have non-zero size.')


def sized(x, shape):
    """`x` summed down to a shape that broadcasts to its own."""
    extra = x.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        k + extra for k, n in enumerate(shape) if n == 1 and x.shape[k + extra] != 1)
    if axes:
        x = REFERENCE.total(x, axes, True) if x.__class__ is np.ndarray else x.sum(axis=axes, keepdims=True)
    return x.reshape(shape) if extra else x


@functools.lru_cache(maxsize=None)
def zero_of(dtype):
    """0 as a 0-d array, which functions of arrays take twice as fast as a number."""
    return np.zeros((), dtype)


class Drivers(dict):
    """The functions in front of a backend's generated kernels, by name."""

    def __init__(self, backend):
        self.backend = backend

    def __missing__(self, name):
        found = self[name] = self.backend.driver(name)
        return found


@functools.lru_cache(maxsize=256)
def summed(formula):
    """The formula of the sum of all elements of another."""
    return lambda m, *arguments: m.sum(formula(m, *arguments))


class Reference:
    """Operations over the arrays of one library; operations that are not named here come from the registry."""

    def __init__(self, backend):
        self.backend = backend
        self.xp = backend.xp
        self.short = set()  # formulas of too few steps to look for a kernel where there are few numbers
        self.drivers = Drivers(backend)

    @functools.cached_property
    def signature(self):
        """signature(arguments...): a key that tells apart arrays of different dtypes, shapes or strides."""
        return self.backend.signature()

    @functools.cached_property
    def viewed(self):
        """viewed(array, plan): a view made again (plans.Views), or None where formulas make all views."""
        return self.backend.viewed()

    @functools.cached_property
    def joined(self):
        """joined(list of arrays, axis, fresh): few dense arrays in one, along a new axis if `fresh` is 1; else None."""
        return self.backend.joined()

    def __getattr__(self, name):
        found = self._find(name)
        setattr(self, name, found)
        return found

    def _find(self, name):
        if name in UFUNCS:
            return getattr(self.xp, UFUNCS[name])
        if name in SPECIAL:
            return special_function(self.backend, SPECIAL[name])
        from .definition import OPERATIONS
        if name not in OPERATIONS:
            from . import load_all
            load_all()
        if name not in OPERATIONS:
            raise AttributeError(f'no operation {name!r}')
        op = OPERATIONS[name]
        if op.replay and op.kind == 'opaque' and not op.keywords and not op.defaults:
            return replaying(op, self)
        return functools.partial(op.formula, self)

    def direct(self, name, array_dtype):
        """The function of arrays that computes a primitive in that dtype, or False."""
        if array_dtype.kind == 'b' and name in NO_DIRECT_BOOL:
            return False
        if name in SPECIAL and array_dtype.itemsize < 4:
            return False
        return getattr(self, name)

    def kernel(self, name, *arguments, **options):
        """What the backend's generated kernel 'family.name' answers; None where it leaves the work to the reference."""
        return self.drivers[name](*arguments, **options)

    def planned(self, formula, arguments, steps=2):
        """The generated kernel of a formula over arguments like these, where it is the faster way, else False.

        Few numbers are worth it where `steps` array functions would be called; those of another type than float32,
        which programs rarely compute with, are left to array functions.
        """
        first = arguments[0]
        if first.__class__ is not np.ndarray or not first.size:
            return False
        if first.size >= LARGE:
            return self.kernel('fusion.planned', formula, arguments) or False
        if first.dtype != SINGLE and (first.dtype.kind != 'b' or not any(
                x.__class__ is np.ndarray and x.dtype == SINGLE for x in arguments)):
            return False
        plan = self.kernel('fusion.planned', formula, arguments, steps)
        if plan is False:
            self.short.add(formula)
        return plan or False

    def whole(self, formula, *arguments):
        """The sum of all elements of formula(m, *arguments), an elementwise one of arrays."""
        if arguments[0].size < LARGE:
            total = summed(formula)
            plan = total not in self.short and self.planned(total, arguments, SEVERAL)
            return plan(*arguments) if plan else self.xp.add.reduce(formula(self, *arguments), None)
        made = self.kernel('fusion.whole', formula, *arguments)
        return self.xp.asarray(made) if made is not None else self.total(formula(self, *arguments), None)

    def fused(self, formula, *arguments):
        """formula(m, *arguments), as one generated kernel where there is one."""
        if arguments[0].size < LARGE and formula in self.short:
            return formula(self, *arguments)
        plan = self.planned(formula, arguments, SEVERAL)
        return plan(*arguments) if plan else formula(self, *arguments)

    # ---- elementwise functions that array libraries lack

    def pow(self, x, y):
        """A power; small whole exponents by multiplication."""
        if y.__class__ is int or y.__class__ is float:
            if y == 2:
                return x * x
            if y == 3 and x.dtype.kind in 'fV':
                return x * x * x
            if y == 0.5:
                return self.xp.sqrt(x)
        return self.xp.power(x, y)

    def rsqrt(self, x):
        return 1 / self.xp.sqrt(x)

    def reciprocal(self, x):
        return 1 / x

    def sigmoid(self, x):
        return 1 / (1 + self.xp.exp(-x))

    def sign(self, x):
        """-1, 0 or 1; 0 for nan, as in PyTorch."""
        if x.dtype.kind not in 'fV':
            return self.xp.sign(x) if x.dtype.kind != 'b' else x
        return (x > 0).astype(x.dtype) - (x < 0).astype(x.dtype)

    def relu(self, x):
        if x.dtype.kind in 'bc':
            raise RuntimeError(f'relu is not supported for {x.dtype.name} tensors: it takes real numbers')
        return self.xp.maximum(x, zero_of(x.dtype))

    def lgamma(self, x):
        return self.xp.where(x == -math.inf, -x, special_function(self.backend, 'gammaln')(x))

    def frac(self, x):
        return x - self.xp.trunc(x)

    def where(self, condition, x, y):
        if condition.size >= LARGE or max(getattr(x, 'size', 1), getattr(y, 'size', 1)) >= LARGE or self.kernel(
                'replay.is_noting'):
            made = self.kernel('fusion.run', chosen, condition, x, y)
            if made is not None:
                return made
        return self.xp.where(condition, x, y)

    def clamp_min(self, x, low):
        return self.xp.maximum(x, low)

    def clamp_max(self, x, high):
        return self.xp.minimum(x, high)

    def conj(self, x):
        return self.xp.conjugate(x) if x.dtype.kind == 'c' else x

    def cast(self, x, d):
        """`x` in the flambeau dtype `d`."""
        if x.dtype.kind == 'c' and not d.is_complex:
            x = x.real
        least = 1024 if np.float16 in (x.dtype, d.numpy) else LARGE
        made = self.kernel('conversion.converted', x, d.numpy) if x.size >= least else None
        return x.astype(d.numpy) if made is None else made

    def stop(self, x):
        """`x` as a constant: no gradient flows through it."""
        return x

    def complex_of(self, real, imag):
        """Complex numbers of parts that broadcast."""
        real, imag = self.xp.broadcast_arrays(real, imag)
        made = self.xp.empty(real.shape, dtypes.of(real.dtype).to_complex().numpy)
        made.real, made.imag = real, imag
        return made

    def is_complex(self, x):
        return x.dtype.kind == 'c'

    def real_of(self, x):
        """The real part of `x` as an array of its own dtype kind."""
        return x.real

    def hot(self, index, like):
        """Where an element of `like` stands at `index`, one whole number for each row, along the last axis."""
        return index == self.xp.arange(like.shape[-1])

    # ---- reductions

    def sum(self, x, dim=None, keepdim=False, *, dtype=None):
        if dtype is not None:
            x = self.cast(x, dtype)
        elif x.dtype.kind == 'b' and dim is None and not keepdim:
            return self.xp.asarray(self.xp.count_nonzero(x))
        elif x.dtype.kind in 'bui':
            return self.folded(self.xp.add, x, None if dim is None else axes_of(dim, x.ndim), keepdim, np.int64)
        return self.total(x, None if dim is None else axes_of(dim, x.ndim), keepdim)

    def total(self, x, axes, keepdim=False):
        """The sum of floating point numbers over axes (None: all)."""
        if x.size >= LARGE and x.dtype.kind == 'f':
            made = self.kernel('fusion.total', x, axes, keepdim)
            if made is not None:
                return made
        return self.xp.add.reduce(x, axes, None, None, keepdim)

    def amax(self, x, dim=(), keepdim=False):
        if not x.size:
            refuse_empty('amax', x, dim)
        return self.folded(self.xp.maximum, x, axes_of(dim, x.ndim), keepdim)

    def folded(self, ufunc, x, axes, keepdim, dtype=None):
        """The numbers of an array over axes (None: all) combined by an array function of two."""
        made = None
        if x.size >= LARGE and x.dtype.kind != 'c':
            made = self.kernel('fusion.folded', x, ufunc, axes, keepdim)
        return ufunc.reduce(x, axes, dtype, None, keepdim) if made is None else made

    def amin(self, x, dim=(), keepdim=False):
        if not x.size:
            refuse_empty('amin', x, dim)
        return self.folded(self.xp.minimum, x, axes_of(dim, x.ndim), keepdim)

    def prod(self, x, dim=None, keepdim=False, *, dtype=None):
        if dtype is not None:
            x = self.cast(x, dtype)
        elif x.dtype.kind in 'bui':
            x = self.cast(x, dtypes.int64)
        axes = axes_of(dim, x.ndim)
        return self.folded(self.xp.multiply, x, axes, keepdim)

    def all(self, x, dim=None, keepdim=False):
        return self.xp.logical_and.reduce(x, axis=axes_of(dim, x.ndim), keepdims=keepdim)

    def any(self, x, dim=None, keepdim=False):
        return self.xp.logical_or.reduce(x, axis=axes_of(dim, x.ndim), keepdims=keepdim)

    def mean(self, x, dim=None, keepdim=False, *, dtype=None):
        if dtype is not None:
            if dtype.category <= dtypes.INTEGER:
                raise RuntimeError('mean(): could not infer output dtype. Optional dtype must be either a floating '
                                   f'point or complex dtype. Got: {dtype}')
            x = self.cast(x, dtype)
        elif x.dtype.kind in 'bui':
            raise RuntimeError('mean(): could not infer output dtype. Input dtype must be either a floating point or '
                               f'complex dtype. Got: {dtypes.of(x.dtype)}: use .float().mean() or dtype=')
        if dim is None:
            return self.total(x, None, keepdim) / x.size if x.size else x.dtype.type(math.nan)
        axes = axes_of(dim, x.ndim)
        total = self.total(x, axes, keepdim)
        count = math.prod([x.shape[a] for a in axes])
        return total / count if count else total * math.nan

    def matmul(self, x, y, bias=None):
        """The products of two matrices, or of equal batches of them, plus a bias over the columns."""
        made = None
        least = WHOLE_PRODUCT if x.dtype.kind in 'iu' else PRODUCT
        if x.ndim > 2 or x.size * y.shape[-1] >= least:  # a call for each small matrix costs more than all of them
            made = self.kernel('contraction.matmul', x, y, None, bias)
        if made is None and x.itemsize == 2 and x.dtype.kind in 'fV':  # half types are summed up in float32
            wide = [None if a is None else self.cast(a, dtypes.float32) for a in (x, y, bias)]
            return self.cast(self.matmul(*wide), dtypes.of(x.dtype))
        if made is None:
            made = x.dot(y) if x.ndim == 2 else self.xp.matmul(x, y)
            if bias is not None:
                made += bias
        return made

    def cat(self, tensors, dim=0):
        made = self.kernel('layout.joined', tensors, dim) if tensors[0].size * len(tensors) >= LARGE else \
            self.joined(list(tensors), dim, 0)
        return self.xp.concatenate(tensors, dim) if made is None else made

    def stack(self, tensors, dim=0):
        made = self.joined(list(tensors), dim, 1)
        return self.xp.stack(tensors, dim) if made is None else made

    def cast_like(self, x, like):
        return self.cast(x, dtypes.of(like.dtype))

    # ---- shapes

    def copy(self, out, x):
        """Writes the elements of `x`, broadcast and converted, over those of `out`."""
        if not x.ndim and out.size <= FILLED and x.dtype is out.dtype:
            out.fill(x)
            return
        if out.size >= LARGE:
            if x.shape != out.shape:
                x = self.xp.broadcast_to(x, out.shape) if x.ndim else \
                    self.xp.ndarray(out.shape, x.dtype, x, 0, (0,) * out.ndim)
            if self.kernel('layout.copied' if x.dtype == out.dtype else 'conversion.copied', out, x):
                return
        self.xp.copyto(out, x, casting='unsafe')

    def dense(self, x):
        """A copy of `x` in C order."""
        made = self.kernel('layout.dense', x) if x.size >= LARGE else None
        if made is None:
            made = self.kernel('layout.own', x)
        return self.xp.array(x, order='C') if made is None else made

    def sum_to_size(self, x, shape):
        return sized(x, shape)

    def zeros_like(self, x):
        return self.xp.zeros_like(x)

    def ones_like(self, x):
        return self.xp.ones_like(x)

    def zeros_of(self, shape, like):
        """Zeros of a shape in the dtype of `like`."""
        return self.xp.zeros(shape, like.dtype)


def chosen(m, condition, x, y):
    """The formula of `where`."""
    return m.where(condition, x, y)


def special_function(backend, name):
    """A special function, loaded when first called, that answers in the dtype it was asked in, halves through float32.
    """
    function = None

    def call(x, *others):
        nonlocal function
        if function is None:
            function = getattr(backend.special(), name)
        result = function(x, *others)
        kind = getattr(x, 'dtype', None)
        return result.astype(kind) if kind is not None and kind.kind in 'fV' and result.dtype != kind else result
    return call


REFERENCE = Reference(backend)
