"""Norms and products of vectors and matrices; what solves or decomposes is in the other files of linalg.

Matrices are the last two dimensions; those before them are batches. Gradients are formulas over `m`.
"""
from __future__ import annotations

import math

import numpy as np

from .. import dtypes
from ..errors import require_tensors
from ..tensor import Tensor, wrap
from .arithmetic import conjugated
from .contraction import matmul, same_dtype
from .batching import along_all
from .definition import PUBLIC, export, opaque, reduction
from .publishing import also, published
from .reduction import restore
from .reference import LARGE, axes_of
from .view import axis_of

__all__ = ['vector_norm', 'matrix_norm', 'cross', 'need_floating', 'need_matrix', 'need_square', 'turned']


# ---- what the functions of linalg ask of their arguments

def need_floating(name, *tensors):
    """Raises RuntimeError for tensors that linalg does not compute with: integers and half types."""
    for t in tensors:
        if t.dtype.category < dtypes.FLOAT:
            raise RuntimeError(f'{name}: Expected a floating point or complex tensor as input. Got {t.dtype}: use '
                               '.float() first')
        if t.dtype in dtypes.HALVES:
            raise RuntimeError(f'{name}: Low precision dtypes not supported. Got {t.dtype}: use .float() first')


def need_matrix(name, *tensors):
    """Raises RuntimeError for tensors without two dimensions, and as `need_floating`."""
    need_floating(name, *tensors)
    for t in tensors:
        if t.dim() < 2:
            raise RuntimeError(f'{name}: The input tensor A must have at least 2 dimensions, got shape {list(t.shape)}')
    if any(t.dtype is not tensors[0].dtype for t in tensors):
        raise RuntimeError(f'{name}: Expected tensors of the same dtype, got '
                           f'{" and ".join(str(t.dtype) for t in tensors)}')


def need_square(name, *tensors):
    """Raises RuntimeError for tensors that are not batches of square matrices."""
    need_matrix(name, *tensors)
    for t in tensors:
        if t.shape[-1] != t.shape[-2]:
            raise RuntimeError(f'{name}: A must be batches of square matrices, but they are {t.shape[-2]} by '
                               f'{t.shape[-1]} matrices')


def turned(m, x):
    """The conjugate transpose of matrices."""
    return conjugated(m, m.transpose(x, -2, -1))


# ---- norms

def _norm_gradient(m, g, input, output, ord, dim, keepdim, dtype, input_dtype):
    x = input if dtype is None else m.cast(input, dtype)
    g, norm = restore(m, g, x.shape, dim, keepdim), restore(m, output, x.shape, dim, keepdim)
    if ord == 2:
        made = x * (g / m.where(norm == 0, m.ones_like(norm), norm))
    elif ord == 0:
        made = m.zeros_like(x)
    elif ord == 1:
        made = m.sgn(x) * g
    elif math.isinf(ord):
        hit = m.cast_like(m.abs(x) == norm, g)
        made = m.sgn(x) * (hit * (g / m.sum(hit, dim, True)))
    else:
        size = m.abs(x)
        nothing = size == 0
        power = m.pow(m.where(nothing, m.ones_like(size), size), ord - 2)
        scale = g * m.pow(m.where(norm == 0, m.ones_like(norm), norm), 1 - ord)
        made = x * (m.where(nothing, m.zeros_like(size), power) * m.where(norm == 0, m.zeros_like(scale), scale))
    return m.cast(made, input_dtype)


@reduction(namespace='linalg', method=False, constants=True, replay=True, label='LinalgVectorNormBackward0',
           grad={'input': _norm_gradient})
def vector_norm(m, input, ord=2, dim=None, keepdim=False, *, dtype=None):
    """The `ord`-norm of the elements, of all or over dimensions; ord is a number, infinities and 0 included.

    Raises RuntimeError for integers and where an infinity norm has no elements.
    """
    input = _norm_operand(m, input, ord, dtype)
    if ord == 2:
        if dim in (None, ()) and not keepdim and input.size >= LARGE:
            return m.sqrt(m.whole(_squared, input))
        return m.sqrt(m.sum(_squared(m, input), None if dim == () else dim, keepdim))
    if math.isinf(ord) or ord < 0:
        sizes = [input.shape[a] for a in axes_of(dim, input.ndim)]
        if 0 in sizes:
            raise RuntimeError(f'linalg.vector_norm cannot compute the {ord} norm on an empty '
                               f'{"tensor" if dim in (None, ()) else "dimension"} because the operation does not have '
                               'an identity')
    dim = None if dim == () else dim
    size = m.abs(input)
    if ord == 1:
        return m.sum(size, dim, keepdim)
    if ord == 0:
        return m.sum(m.cast_like(size != 0, size), dim, keepdim)
    if math.isinf(ord):
        return (m.amax if ord > 0 else m.amin)(size, dim, keepdim)
    return m.pow(m.sum(m.pow(size, ord), dim, keepdim), 1 / ord)


def _squared(m, x):
    return x * x if x.dtype.kind != 'c' else x.real ** 2 + x.imag ** 2


def _norm_operand(m, input, ord, dtype):
    """The array whose norm is computed, with `ord` and `dtype` checked."""
    if isinstance(ord, str) or ord is None:
        raise TypeError(f"linalg_vector_norm(): argument 'ord' (position 2) must be Number, not {type(ord).__name__}")
    if input.dtype.kind in 'bui':
        raise RuntimeError('linalg.vector_norm: Expected a floating point or complex tensor as input. Got '
                           f'{dtypes.of(input.dtype)}: use .float() first')
    if dtype is None:
        return input
    if dtype.category != (dtypes.COMPLEX if input.dtype.kind == 'c' else dtypes.FLOAT):
        raise RuntimeError(f'linalg.vector_norm: dtype should be {"complex" if input.dtype.kind == "c" else "real"}, '
                           f'but got {dtype} for an input of {dtypes.of(input.dtype)}')
    return m.cast(input, dtype)


def _two_dims(A, dim, name):
    if not isinstance(dim, (tuple, list)) or len(dim) != 2:
        raise RuntimeError(f'{name}: dim must be a 2-tuple. Got {dim}')
    a, b = (axis_of(d, A.dim()) for d in dim)
    if a == b:
        raise RuntimeError(f'{name}: dims must be different. Got ({dim[0]}, {dim[1]})')
    return a, b


@published('linalg')
def matrix_norm(A, ord='fro', dim=(-2, -1), keepdim=False, *, dtype=None):
    """The norm of matrices: 'fro', 'nuc', +-1, +-2 or +-inf.

    Raises RuntimeError for integers, for fewer than two dimensions and for other norms.
    """
    if A.dtype.category < dtypes.FLOAT:
        need_floating('linalg.matrix_norm', A)
    if A.dim() < 2:
        raise RuntimeError(f'linalg.matrix_norm: The input tensor A must have at least 2 dimensions, got shape '
                           f'{list(A.shape)}')
    rows, columns = _two_dims(A, dim, 'linalg.matrix_norm')
    if ord == 'fro':
        return vector_norm(A, 2, (rows, columns), keepdim, dtype=dtype)
    if isinstance(ord, str) and ord != 'nuc' or not isinstance(ord, str) and abs(ord) not in (1, 2, math.inf):
        raise RuntimeError(f'linalg.matrix_norm: Order {ord} not supported.')
    if ord == 'nuc' or abs(ord) == 2:
        return _spectral_norm(A, ord, rows, columns, keepdim, dtype)
    along, other = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = vector_norm(A, 1, along, True, dtype=dtype)
    made = (PUBLIC.amax if ord > 0 else PUBLIC.amin)(sums, other, True)
    return made if keepdim else made.squeeze((rows, columns))


def _spectral_norm(A, ord, rows, columns, keepdim, dtype):
    """Norms that are functions of the singular values."""
    need_floating('linalg.matrix_norm', A)
    from .linalg_decomposition import svdvals
    if dtype is not None:
        A = A.to(dtype)
    values = svdvals(A.movedim((rows, columns), (-2, -1)))
    made = values.sum(-1) if ord == 'nuc' else (PUBLIC.amax if ord > 0 else PUBLIC.amin)(values, -1)
    if keepdim:
        for axis in sorted((rows, columns)):
            made = made.unsqueeze(axis)
    return made


@published('linalg', name='norm')
def _norm(A, ord=None, dim=None, keepdim=False, *, dtype=None):
    """`vector_norm` or `matrix_norm`, by the number of dimensions and `ord`."""
    if dim is not None:
        dim = (dim,) if isinstance(dim, int) else tuple(dim)
        if len(dim) not in (1, 2) and ord is not None:
            raise RuntimeError(f'linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dim)}')
    elif ord is not None and A.dim() not in (1, 2):
        raise RuntimeError(f'linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got '
                           f'{A.dim()}D')
    if ord is not None and (len(dim) if dim is not None else A.dim()) == 2:
        return matrix_norm(A, ord, (0, 1) if dim is None else dim, keepdim, dtype=dtype)
    if isinstance(ord, str):
        raise RuntimeError(f'linalg.norm: norm {ord!r} is only defined for matrices')
    return vector_norm(A, 2 if ord is None else ord, dim, keepdim, dtype=dtype)


@published('linalg')
def cond(A, p=None):
    """The condition number of matrices by a matrix norm; None stands for 2. Infinite for singular matrices."""
    from .linalg_decomposition import svdvals
    from .linalg_solving import inv_ex
    need_matrix('linalg.cond', A)
    if p is None or not isinstance(p, str) and abs(p) == 2:
        values = svdvals(A)
        if not values.shape[-1]:
            return values.sum(-1)
        largest, smallest = values.select(-1, 0), values.select(-1, -1)
        return smallest / largest if p == -2 else largest / smallest
    if p not in ('fro', 'nuc') and (isinstance(p, str) or abs(p) not in (1, math.inf)):
        raise RuntimeError(f'linalg.cond: got an invalid norm type: {p}')
    need_square('linalg.cond', A)
    if not A.numel():
        return A.new_zeros(A.shape[:-2]).abs()
    inverse, info = inv_ex(A)
    product = matrix_norm(A, p) * matrix_norm(inverse, p)
    return PUBLIC.where(info != 0, math.inf, product)


# ---- products

@opaque(batch=along_all, namespace='', method=False, widen=True, promote=('input', 'other'),
        label='LinalgCrossBackward0', grad={
    'input': lambda m, g, other, dim: m._cross(conjugated(m, other), g, dim),
    'other': lambda m, g, input, dim: m._cross(g, conjugated(m, input), dim)})
def _cross(m, input, other, dim):
    made = m.kernel('geometry.crossed', input, other, dim)
    if made is None:
        first, second = m.unbind(input, dim), m.unbind(other, dim)
        made = m.stack([first[k - 2] * second[k - 1] - first[k - 1] * second[k - 2] for k in range(3)], dim)
    return made


def _cross_product(name, input, other, dim):
    if input.dim() != other.dim():
        raise RuntimeError(f'{name}: inputs must have the same number of dimensions, got shapes {list(input.shape)} '
                           f'and {list(other.shape)}')
    if input.shape[dim] != 3 or other.shape[dim] != 3:
        raise RuntimeError(f'{name}: inputs dimension {dim} must have length 3. Got {input.shape[dim]} and '
                           f'{other.shape[dim]}')
    return _cross(*PUBLIC.broadcast_tensors(input, other), dim)


@published('linalg', name='cross')
def linalg_cross(input, other, *, dim=-1):
    """The cross product of vectors of 3 elements along a dimension."""
    return _cross_product('linalg.cross', input, other, axis_of(dim, input.dim()) - input.dim())


@published('torch', method=True)
def cross(input, other, dim=None):
    """The cross product along a dimension: the first of size 3 where none is given."""
    if dim is None:
        require_tensors('cross', input=input, other=other)
        try:
            sizes = list(np.broadcast_shapes(input.shape, other.shape))
        except ValueError:
            raise RuntimeError(f'cross: inputs must have the same shape, or broadcast, but got {list(input.shape)} and '
                               f'{list(other.shape)}') from None
        if 3 not in sizes:
            raise RuntimeError(f'no dimension of size 3 in input: shapes {list(input.shape)} and {list(other.shape)}')
        dim = sizes.index(3)
    return _cross_product('cross', input, other, axis_of(dim, input.dim()) - input.dim())


@published('linalg')
def vecdot(x, y, *, dim=-1):
    """The sums of conj(x) * y along a dimension."""
    if x.dtype is not y.dtype:
        raise RuntimeError(f'linalg.vecdot: Expected vectors of the same dtype, got {x.dtype} and {y.dtype}')
    return PUBLIC.sum((x.conj() if x.is_complex() else x) * y, dim).to(x.dtype)


@published('linalg')
def diagonal(A, *, offset=0, dim1=-2, dim2=-1):
    """The diagonal of matrices, as a view."""
    return PUBLIC.diagonal(A, offset, dim1, dim2)


@export()
def vander(x, N=None, increasing=False):
    """Powers of the elements of a vector as columns, the highest first unless `increasing`."""
    if x.dim() != 1:
        raise RuntimeError(f'x must be a one-dimensional tensor, got one of shape {list(x.shape)}')
    count = x.shape[0] if N is None else N
    if count < 0:
        raise RuntimeError(f'N must be non-negative, got {N}')
    x = x.long() if x.dtype is dtypes.bool_ else x
    columns = x.unsqueeze(1) ** wrap(np.arange(count))
    return columns if increasing else columns.flip(1)


@published('linalg', name='vander')
def linalg_vander(x, N=None):
    """Powers of the elements as columns: 1, x, x**2, ..., N of them (as many as elements by default)."""
    if not x.dim() and N is None:
        raise RuntimeError('linalg.vander: Expected an input of at least 1 dimension')
    x = x if x.dim() else x.reshape(1)
    count = x.shape[-1] if N is None else N
    if count <= 1 and N is not None:
        raise RuntimeError(f'N must be greater than 1, got {N}')
    base = x.unsqueeze(-1).expand((*x.shape, count - 1))
    first = PUBLIC.ones_like(x).unsqueeze(-1)
    return PUBLIC.cat([first, base.cumprod(-1)], -1) if count > 1 else first


@published('torch', method=True)
def kron(input, other):
    """The Kronecker product: every element of `input` times `other`."""
    require_tensors('kron', input=input, other=other)
    ndim = max(input.dim(), other.dim())
    a = (1,) * (ndim - input.dim()) + tuple(input.shape)
    b = (1,) * (ndim - other.dim()) + tuple(other.shape)
    input = input.reshape([n for size in a for n in (size, 1)])
    other = other.reshape([n for size in b for n in (1, size)])
    if ndim and math.prod(a) * math.prod(b) >= LARGE:  # longer rows to run through, made of a few numbers
        wide = a[-1], b[-1]
        input = input.expand(*input.shape[:-2], *wide).flatten(-2)
        other = other.expand(*other.shape[:-2], *wide).flatten(-2)
    return (input * other).reshape([n * k for n, k in zip(a, b)])


@published('torch linalg', method=True)
def matrix_power(A, n):
    """Square matrices to a whole power; negative ones of the inverse.

    Raises RuntimeError for matrices that are not square, LinAlgError for singular ones where n is negative.
    """
    if A.dim() < 2 or A.shape[-1] != A.shape[-2]:
        raise RuntimeError(f'linalg.matrix_power: A must be batches of square matrices, but got shape {list(A.shape)}')
    if n == 0:
        return PUBLIC.identity_like(A)
    if n < 0:
        from .linalg_solving import inv
        A, n = inv(A), -n
    result, square = None, A
    while True:
        if n & 1:
            result = square if result is None else matmul(result, square)
        n >>= 1
        if not n:
            return result.clone() if result is A else result
        square = matmul(square, square)


@published('linalg')
def multi_dot(tensors):
    """The product of several matrices in the order that takes the fewest multiplications; the ends may be vectors."""
    tensors = list(tensors)
    if len(tensors) < 2:
        raise RuntimeError(f'multi_dot(): expected at least 2 tensors but got {len(tensors)}')
    for k, t in enumerate(tensors):
        if not isinstance(t, Tensor):
            raise TypeError(f'expected Tensor as element {k} in argument 0, but got {type(t).__name__}')
        allowed = (1, 2) if k in (0, len(tensors) - 1) else (2,)
        if t.dim() not in allowed:
            raise RuntimeError(f'multi_dot(): tensor {k} must be {" or ".join(map(str, allowed))}D but got {t.dim()}D')
    tensors = list(same_dtype('multi_dot', *tensors))
    row, column = tensors[0].dim() == 1, tensors[-1].dim() == 1
    if row:
        tensors[0] = tensors[0].unsqueeze(0)
    if column:
        tensors[-1] = tensors[-1].unsqueeze(-1)
    sizes = [tensors[0].shape[0], *(t.shape[1] for t in tensors)]
    for k, t in enumerate(tensors):
        if t.shape[0] != sizes[k]:
            raise RuntimeError(f'multi_dot(): tensors {k - 1} and {k} with shapes {list(tensors[k - 1].shape)} and '
                               f'{list(t.shape)} cannot be multiplied')
    result = _product_in_order(tensors, _cheapest_splits(sizes), 0, len(tensors) - 1)
    result = result.squeeze(0) if row else result
    return result.squeeze(-1) if column else result


def _cheapest_splits(sizes):
    """{(first, last): where to split the product of matrices first..last}, by dynamic programming over lengths."""
    count = len(sizes) - 1
    cost, split = {(i, i): 0 for i in range(count)}, {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            cost[i, j], split[i, j] = min(
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j))
    return split


def _product_in_order(tensors, split, i, j):
    if i == j:
        return tensors[i]
    k = split[i, j]
    return matmul(_product_in_order(tensors, split, i, k), _product_in_order(tensors, split, k + 1, j))



@published('linalg')
def tensorinv(A, ind=2):
    """The inverse of `tensordot` by A over its first `ind` dimensions."""
    from .linalg_solving import inv
    if ind <= 0:
        raise RuntimeError('Expected a strictly positive integer for \'ind\'')
    first, last = A.shape[:ind], A.shape[ind:]
    if math.prod(first) != math.prod(last):
        raise RuntimeError('Expected self to satisfy the requirement prod(self.shape[ind:]) == '
                           f'prod(self.shape[:ind]), but got {math.prod(last)} != {math.prod(first)}')
    return inv(A.reshape(math.prod(first), math.prod(last))).reshape((*last, *first))


@published('linalg')
def tensorsolve(A, B, dims=None):
    """X with tensordot(A, X, X.dim()) == B; `dims` of A are moved to its end first."""
    from .linalg_solving import solve
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A.dim() - len(dims), A.dim())))
    shape = A.shape[B.dim():]
    if math.prod(shape) != B.numel():
        raise RuntimeError(f'Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == '
                           f'prod(self.shape[:other.ndim]), but got {math.prod(shape)} != {B.numel()}')
    return solve(A.reshape(B.numel(), math.prod(shape)), B.reshape(-1)).reshape(shape)


also('linalg', matmul=matmul)
