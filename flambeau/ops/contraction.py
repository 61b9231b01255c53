"""Sums of products: matrix products and their relatives, all by index letters.

`contract` multiplies two arrays named by letters and sums over what the result does not name. Its gradient is the same
operation with the letters moved, and every product here is written through it.
"""
from __future__ import annotations

import functools
import math

import numpy as np

from .. import dtypes
from ..errors import describe_value
from ..tensor import Parameter, Tensor
from .arithmetic import conjugated
from .batching import Batch
from .definition import HALF_ARRAYS, PUBLIC, contraction, export
from .overriding import answered, override
from .promotion import result_dtype
from .reference import LARGE, PRODUCT, REFERENCE, WHOLE_PRODUCT
from .view import axis_of

__all__ = ['contract', 'matmul', 'linear', 'mm', 'bmm', 'einsum']


@functools.lru_cache(maxsize=512)
def contraction_plan(first: str, second: str, result: str):
    """How to contract arrays named by these letters: f(m, a, b)."""
    batch = [c for c in result if c in first and c in second]
    summed = [c for c in first if c in second and c not in result]
    left = [c for c in first if c not in second]
    right = [c for c in second if c not in first]
    if set(left) - set(result) or set(right) - set(result):
        raise ValueError(f'letters of one operand alone must be in the result: {first},{second}->{result}')
    order_a = tuple(first.index(c) for c in (*batch, *left, *summed))
    order_b = tuple(second.index(c) for c in (*batch, *summed, *right))
    natural = (*batch, *left, *right)
    order_result = tuple(natural.index(c) for c in result)
    moves_a, moves_b = order_a != tuple(range(len(first))), order_b != tuple(range(len(second)))
    moves_result = order_result != tuple(range(len(result)))
    matrices = len(left) == len(right) == len(summed) == 1
    nb, nl, ns = len(batch), len(left), len(summed)

    def run(m, a, b):
        if moves_a:
            a = a.transpose(order_a)
        if moves_b:
            b = b.transpose(order_b)
        if matrices:
            out = m.matmul(a, b)
        elif not summed:
            out = _outer(m, a.reshape((*a.shape, *(1,) * len(right))),
                         b.reshape((*b.shape[:nb], *(1,) * nl, *b.shape[nb:])))
        else:
            shape_a, shape_b = a.shape, b.shape
            k = math.prod(shape_a[nb + nl:])
            if not left and not right and a.size >= LARGE and a.dtype.kind in 'fV':
                a, b = a.reshape((*shape_a[:nb], k)), b.reshape((*shape_b[:nb], k))
                return m.fused(_inner_product, a, b) if nb else m.whole(_product, a, b)
            a = a.reshape((*shape_a[:nb], math.prod(shape_a[nb:nb + nl]), k))
            b = b.reshape((*shape_b[:nb], k, math.prod(shape_b[nb + ns:])))
            out = m.matmul(a, b).reshape((*shape_a[:nb + nl], *shape_b[nb + ns:]))
        return out.transpose(order_result) if moves_result else out
    return run


def _product(m, x, y):
    return x * y


def _inner_product(m, x, y):
    return m.sum(x * y, -1)


def _outer(m, a, b):
    """The products of elements that broadcast."""
    made = m.kernel('fusion.run', _product, a, b) if np.broadcast(a, b).size >= LARGE and a.dtype.kind != 'c' else None
    return a * b if made is None else made


def _moved(m, g, other, letters):
    return m.contract(g, conjugated(m, other), letters)


def _contract_batched(op, values, size):
    """The batch is one more letter."""
    a, b, letters = values
    letter = next(c for c in GREEK if c not in ''.join(letters))
    first, second, result = letters
    if isinstance(a, Batch):
        a, first = a.tensor, letter + first
    if isinstance(b, Batch):
        b, second = b.tensor, letter + second
    return contract(a, b, (first, second, letter + result))


GREEK = 'αβγδεζηθικλμνξοπρστυφχψω'


@contraction(namespace='', method=False, widen=False, replay=True, batch=_contract_batched, grad={
    'a': lambda m, g, b, letters: _moved(m, g, b, (letters[2], letters[1], letters[0])),
    'b': lambda m, g, a, letters: _moved(m, g, a, (letters[2], letters[0], letters[1]))})
def contract(m, a, b, letters):
    """The sum of products of two arrays whose dimensions are named by letters = (of a, of b, of the result).

    A letter of one operand alone must be in the result.
    """
    return contraction_plan(*letters)(m, a, b)


@contraction(name='_mm', namespace='', method=False, widen=False, label='MmBackward0',
             batch=lambda op, values, size: _contract_batched(op, (*values, ('ik', 'kj', 'ij')), size), grad={
    'input': lambda m, g, other: m.contract(g, conjugated(m, other), ('ij', 'kj', 'ik')),
    'other': lambda m, g, input: m.contract(g, conjugated(m, input), ('ij', 'ik', 'kj'))})
def _mm(m, input, other):
    products = input.size * other.shape[1]
    if input.itemsize != 2 and (products < WHOLE_PRODUCT or products < PRODUCT and input.dtype.kind not in 'iu'):
        # small ones are to cost little else
        return input.dot(other)
    made = m.kernel('contraction.matmul', input, other)
    return m.matmul(input, other) if made is None else made


@contraction(name='_mv', namespace='', method=False, widen=False, label='MvBackward0',
             batch=lambda op, values, size: _contract_batched(op, (*values, ('ik', 'k', 'i')), size), grad={
    'input': lambda m, g, other: m.contract(g, conjugated(m, other), ('i', 'k', 'ik')),
    'other': lambda m, g, input: m.contract(g, conjugated(m, input), ('i', 'ik', 'k'))})
def _mv(m, input, other):
    if input.size < PRODUCT and input.itemsize > 2:
        return input.dot(other)
    return contraction_plan('ik', 'k', 'i')(m, input, other)


@contraction(name='_dot', namespace='', method=False, widen=False, label='DotBackward0',
             batch=lambda op, values, size: _contract_batched(op, (*values, ('k', 'k', '')), size), grad={
    'input': lambda m, g, other: g * conjugated(m, other), 'other': lambda m, g, input: g * conjugated(m, input)})
def _dot(m, input, other):
    if input.size < PRODUCT and input.itemsize > 2:
        return np.asarray(input.dot(other))
    return contraction_plan('k', 'k', '')(m, input, other)


def same_dtype(name, *tensors):
    """The factors of a product in one dtype: integers take the floating point dtype of the others.

    Raises RuntimeError for different floating point dtypes, which PyTorch does not mix either.
    """
    kinds = {t._array.dtype for t in tensors}
    if len(kinds) == 1:
        return tensors
    floating = {t.dtype for t in tensors if t.dtype.category >= dtypes.FLOAT}
    if len(floating) == 1:
        target, = floating
        return tuple(PUBLIC.cast(t, target) for t in tensors)
    if not floating:
        target = result_dtype(tensors)
        return tuple(PUBLIC.cast(t, target) for t in tensors)
    names = ' and '.join(_long_name(t.dtype) for t in tensors)
    raise RuntimeError(f'expected m1 and m2 to have the same dtype, but got: {names} in {name}'
                       f'({", ".join(describe_value(t) for t in tensors)}): convert one, for example with '
                       f'.to(torch.{tensors[-1].dtype.name}). Arrays from NumPy are float64 unless made otherwise.')


def _long_name(d):
    return {'float32': 'float', 'float64': 'double', 'float16': 'c10::Half', 'bfloat16': 'c10::BFloat16'}.get(
        d.name, d.name)


def _refuse_product(name, a, b):
    raise RuntimeError(f'{name}: mat1 and mat2 shapes cannot be multiplied ({_times(a)} and {_times(b)}): the last '
                       f'size of the first ({a.shape[-1] if a.dim() else 1}) must equal the '
                       f'{"first" if b.dim() < 2 else "second to last"} of the other '
                       f'({b.shape[max(b.dim() - 2, 0)] if b.dim() else 1})')


def _times(t):
    return 'x'.join(map(str, t.shape)) or 'scalar'


LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'


@export(method=True)
def matmul(input, other, *, out=None):
    """The matrix product of the last two dimensions; the others are broadcast. Vectors count as row or column."""
    result = _matmul(input, other)
    return result if out is None else write_out('matmul', result, out)


def _matmul(input, other):
    if type(input) is Tensor and (type(other) is Tensor or type(other) is Parameter):  # the common case first
        a, b = input._array, other._array
        if a.ndim == b.ndim == 2 and a.shape[1] == b.shape[0] and a.dtype is b.dtype:
            return _mm(input, other)
    if not (isinstance(input, Tensor) and isinstance(other, Tensor)):
        bad = other if isinstance(input, Tensor) else input
        raise TypeError(f"matmul(): argument must be Tensor, not {type(bad).__name__}")
    a, b = input._array, other._array
    if a.dtype is not b.dtype:
        input, other = same_dtype('matmul', input, other)
    shape, other_shape = a.shape, b.shape
    na, nb = len(shape), len(other_shape)
    if na == 0 or nb == 0:
        raise RuntimeError(f'both arguments to matmul need to be at least 1D, but they are {na}D and {nb}D')
    inner_a, inner_b = shape[-1], other_shape[-2 if nb > 1 else -1]
    if inner_a != inner_b:
        if na == nb == 1:
            raise RuntimeError(f'inconsistent tensor size, expected tensor [{inner_a}] and src [{inner_b}] to have the '
                               f'same number of elements, but got {inner_a} and {inner_b} elements respectively')
        _refuse_product('matmul', input, other)
    if na > 2 and nb > 2 and shape[:-2] != other_shape[:-2]:
        try:
            batch = np.broadcast_shapes(shape[:-2], other_shape[:-2])
        except ValueError:
            raise RuntimeError(f'matmul: batch dimensions {list(shape[:-2])} and {list(other_shape[:-2])} cannot be '
                               f'broadcast, in shapes {list(shape)} and {list(other_shape)}') from None
        input, other = input.expand(*batch, *shape[-2:]), other.expand(*batch, *other_shape[-2:])
        na = nb = len(batch) + 2
    few = OF_RANKS.get((na, nb))
    return few(input, other) if few else contract(input, other, _product_letters(na, nb))


OF_RANKS = {(2, 2): _mm, (2, 1): _mv, (1, 1): _dot}  # products that PyTorch has names for


@functools.lru_cache(maxsize=None)
def _product_letters(na, nb):
    """The letters of the dimensions of two factors and of their product, by numbers of dimensions."""
    batch = LETTERS[:max(na, nb, 2) - 2]
    mine, theirs = batch if na > 2 else '', batch if nb > 2 else ''
    return (mine + ('ik' if na > 1 else 'k'), theirs + ('kj' if nb > 1 else 'k'),
            batch + ('i' if na > 1 else '') + ('j' if nb > 1 else ''))


def write_out(name, result, out):
    """The result written into `out=`."""
    from .writing import deliver
    from .definition import OPERATIONS
    return deliver(OPERATIONS.get(name) or contract.operation, result, out)


PUBLIC.matmul = _matmul


def _linear_bias_gradient(m, g):
    if len(g.shape) < 2:
        return g
    axes = tuple(range(len(g.shape) - 1))
    if m is REFERENCE and g.dtype.kind == 'f' and g.itemsize > 2:
        return m.total(g, axes)
    if g.dtype in HALF_ARRAYS:
        return m.cast(m.sum(m.cast(g, dtypes.float32), axes), dtypes.of(g.dtype))
    return m.sum(g, axes)


def _rows(x):
    """Real arrays as matrices, whose rows are all that the last dimension holds; None for others."""
    if x.dtype.kind == 'c':
        return None
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _linear_weight_gradient(m, g, input):
    rows = _rows(g) if m is REFERENCE else None
    if rows is not None:
        return m.matmul(rows.T, _rows(input))
    names = LETTERS[:len(g.shape) - 1]
    return m.contract(g, conjugated(m, input), (names + 'o', names + 'k', 'ok'))


def _linear_input_gradient(m, g, weight):
    rows = _rows(g) if m is REFERENCE else None
    if rows is not None:
        made = m.matmul(rows, weight)
        return made if g.ndim == 2 else made.reshape((*g.shape[:-1], weight.shape[1]))
    names = LETTERS[:len(g.shape) - 1]
    return m.contract(g, conjugated(m, weight), (names + 'o', 'ok', names + 'k'))


def _linear_batched(op, values, size):
    input, weight, bias = values
    names = LETTERS[:(input.rank if isinstance(input, Batch) else input.dim()) - 1]
    out = _contract_batched(op, (input, weight, (names + 'k', 'ok', names + 'o')), size)
    if isinstance(bias, Batch):
        bias = bias.tensor.reshape(size, *(1,) * len(names), -1)
    return out if bias is None else out + bias


@contraction(name='_linear', namespace='', method=False, widen=False, label='AddmmBackward0',
             batch=_linear_batched, grad={
    'input': _linear_input_gradient, 'weight': _linear_weight_gradient, 'bias': _linear_bias_gradient})
def _linear(m, input, weight, bias):
    if input.ndim == 2:
        if input.size * len(weight) >= PRODUCT or input.itemsize == 2 or input.dtype.kind in 'iu':
            return m.matmul(input, weight.T, bias)
        made = input.dot(weight.T)
        if bias is not None:
            made += bias
        return made
    rows = input.reshape(math.prod(input.shape[:-1]), input.shape[-1])
    return m.matmul(rows, weight.T, bias).reshape(*input.shape[:-1], weight.shape[0])


@export('nn.functional')
def linear(input, weight, bias=None):
    """input @ weight.T + bias, over the last dimension.

    Integers are converted to the dtype of the weight. Raises RuntimeError where the sizes do not fit.
    """
    a, w = input._array, weight._array
    shape = w.shape
    if len(shape) != 2 or not a.ndim or a.shape[-1] != shape[1]:
        return _unusual_linear(input, weight, bias)
    if a.dtype is not w.dtype or bias is not None and bias._array.dtype is not w.dtype:
        operands = same_dtype('linear', *((input, weight) if bias is None else (input, weight, bias)))
        input, weight, bias = operands if bias is not None else (*operands, None)
    if bias is not None and bias._array.shape != shape[:1]:
        return _linear(input, weight, None) + bias
    return _linear(input, weight, bias)


def _unusual_linear(input, weight, bias):
    if weight.dim() == 1 and input.dim() and input.shape[-1] == weight.shape[0]:
        out = matmul(input, weight)
        return out if bias is None else out + bias
    if weight.dim() not in (1, 2):
        raise RuntimeError(f'linear(): weight must have 1 or 2 dimensions, got shape {list(weight.shape)}')
    rows = math.prod(input.shape[:-1]) if input.dim() else 1
    last = input.shape[-1] if input.dim() else 1
    raise RuntimeError(
        f'mat1 and mat2 shapes cannot be multiplied ({rows}x{last} and {weight.shape[-1]}x{weight.shape[0]}): linear() '
        f'got an input of shape {list(input.shape)}, whose last size must be {weight.shape[-1]} for a weight of shape '
        f'{list(weight.shape)}')


def _checked(name, ndim_a, ndim_b, letters):
    """A product of fixed ranks, such as mm."""
    shared = [(letters[0].index(c), letters[1].index(c)) for c in letters[0] if c in letters[1]]
    compute = OF_RANKS.get((ndim_a, ndim_b)) or (lambda input, other: contract(input, other, letters))

    def product(input, other, *, out=None):
        x, y = input._array, other._array
        if out is None and x.ndim == ndim_a and y.ndim == ndim_b and x.dtype is y.dtype:  # the usual calls first
            shape, other_shape = x.shape, y.shape
            for axis, other_axis in shared:
                if shape[axis] != other_shape[other_axis]:
                    break
            else:
                return compute(input, other)
        a, b = x.ndim, y.ndim
        if (a, b) != (ndim_a, ndim_b):
            raise RuntimeError(f'{name}: expected tensors of {ndim_a} and {ndim_b} dimensions, got shapes '
                               f'{list(input.shape)} and {list(other.shape)}')
        input, other = same_dtype(name, input, other)
        sizes = {}
        for names, t in zip(letters, (input, other)):
            for c, n in zip(names, t._array.shape):
                if sizes.setdefault(c, n) != n:
                    if name == 'bmm':
                        raise RuntimeError(f'Expected size for first two dimensions of batch2 tensor to be: '
                                           f'[{input.shape[0]}, {input.shape[2]}] but got: [{other.shape[0]}, '
                                           f'{other.shape[1]}].')
                    _refuse_product(name, input, other)
        result = compute(input, other)
        return result if out is None else write_out(name, result, out)
    product.__name__ = product.__qualname__ = name
    return export(method=True)(product)


mm = _checked('mm', 2, 2, ('ik', 'kj', 'ij'))
mm.__doc__ = 'The product of two matrices.'
bmm = _checked('bmm', 3, 3, ('nik', 'nkj', 'nij'))
bmm.__doc__ = 'The products of matrices in two batches of the same size.'
mv = _checked('mv', 2, 1, ('ik', 'k', 'i'))
mv.__doc__ = 'The product of a matrix and a vector.'


@export(method=True)
def dot(input, tensor, *, out=None):
    """The sum of products of two vectors of the same size and dtype."""
    if input.dim() != 1 or tensor.dim() != 1:
        raise RuntimeError(f'1D tensors expected, but got {input.dim()}D and {tensor.dim()}D tensors')
    if input.dtype is not tensor.dtype:
        raise RuntimeError(f'dot : expected both vectors to have same dtype, but found {input.dtype} and '
                           f'{tensor.dtype}')
    if input.numel() != tensor.numel():
        raise RuntimeError(f'inconsistent tensor size, expected tensor [{input.numel()}] and src [{tensor.numel()}] to '
                           f'have the same number of elements, but got {input.numel()} and {tensor.numel()} elements '
                           'respectively')
    result = _dot(input, tensor)
    return result if out is None else write_out('dot', result, out)


@export(method=True)
def vdot(input, other, *, out=None):
    """`dot` with the first vector conjugated."""
    return dot(input.conj() if input.is_complex() else input, other, out=out)


@export(method=True)
def inner(input, other, *, out=None):
    """The sum of products over the last dimensions of both."""
    if not input.dim() or not other.dim():
        result = input * other
    else:
        if input.shape[-1] != other.shape[-1]:
            raise RuntimeError(f'inner() the last dimension must match on both input tensors but got shapes '
                               f'{list(input.shape)} and {list(other.shape)}')
        input, other = same_dtype('inner', input, other)
        a, b = LETTERS[:input.dim() - 1], LETTERS[13:13 + other.dim() - 1].lower()
        result = contract(input, other, (a + 'k', b.replace('k', 'Z') + 'k', a + b.replace('k', 'Z')))
    return result if out is None else write_out('inner', result, out)


@export(method=True, aliases=('ger',))
def outer(input, vec2, *, out=None):
    """All products of elements of two vectors."""
    if input.dim() != 1 or vec2.dim() != 1:
        raise RuntimeError(f'outer: Expected 1-D argument self and vec2, but got {input.dim()}-D and {vec2.dim()}-D')
    result = input.unsqueeze(1) * vec2
    return result if out is None else write_out('outer', result, out)


def _added(name, multiply, shapes, at_once=None):
    """beta * input + alpha * (a product), as PyTorch's addmm and its relatives, with the in-place method.

    at_once(input, first, second, beta, alpha): what is cheaper than to write the product down, or None.
    """
    def function(input, first, second, *, beta=1, alpha=1, out=None):
        made = None if at_once is None or out is not None else at_once(input, first, second, beta, alpha)
        if made is not None:
            return made
        product = multiply(first, second)
        x, y = input._array, product._array
        if alpha.__class__ is int and beta.__class__ is int and alpha == beta == 1 and out is None \
                and x.dtype is y.dtype and x.shape == y.shape:  # the usual call first
            return input + product
        if input.dtype is not product.dtype:
            raise RuntimeError(f'{name}: expected input and the product to have the same dtype, but got {input.dtype} '
                               f'and {product.dtype}')
        try:
            fits = np.broadcast_shapes(input.shape, product.shape) == product.shape
        except ValueError:
            fits = False
        if not fits:
            raise RuntimeError(f'{name}: input of shape {list(input.shape)} cannot be expanded to the shape of the '
                               f'product, {list(product.shape)}')
        if product.dtype.category < dtypes.FLOAT and any(isinstance(v, float) for v in (beta, alpha)):
            raise RuntimeError(f'{name}: for integral input tensors, beta and alpha must not be floating point '
                               'numbers.')
        product = product if alpha == 1 else product * alpha
        # with beta = 0 the input is not looked at: its nan and inf do not spread
        result = product if beta == 0 else (input if beta == 1 else input * beta) + product
        return result if out is None else write_out(name, result, out)

    def changing(input, first, second, *, beta=1, alpha=1):
        from .writing import change
        return change(input, name + '_', lambda before: function(before, first, second, beta=beta, alpha=alpha))
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f'beta * input + alpha * {shapes}.'
    changing.__name__ = name + '_'
    export('', method=True)(changing)
    return export(method=True)(function)


def _sum_of_products(batch1, batch2):
    if batch1.dim() != 3 or batch2.dim() != 3:
        raise RuntimeError(f'addbmm: batch1 and batch2 must be 3D tensors, got shapes {list(batch1.shape)} and '
                           f'{list(batch2.shape)}')
    if batch1.shape[0] != batch2.shape[0] or batch1.shape[2] != batch2.shape[1]:
        raise RuntimeError(f'addbmm: incompatible shapes {list(batch1.shape)} and {list(batch2.shape)}')
    return contract(batch1, batch2, ('nik', 'nkj', 'ij'))


addmm = _added('addmm', mm, 'mat1 @ mat2')
addmv = _added('addmv', mv, 'mat @ vec')


def _outer_at_once(input, first, second, beta, alpha):
    if beta != 0 and first.dim() == second.dim() == 1 and input.shape == (*first.shape, *second.shape) and \
            input.is_floating_point() and input.dtype is first.dtype is second.dtype:
        return PUBLIC.addcmul(input if beta == 1 else input * beta, first.unsqueeze(1), second, value=alpha)
    return None


addr = _added('addr', outer, 'the outer product of two vectors', _outer_at_once)
baddbmm = _added('baddbmm', bmm, 'the products of two batches')
addbmm = _added('addbmm', _sum_of_products, 'the sum of the products of two batches')


@export(method=False)
def chain_matmul(*matrices, out=None):
    """The product of several matrices."""
    result = functools.reduce(matmul, matrices[0] if len(matrices) == 1 and not isinstance(matrices[0], Tensor)
                              else matrices)
    return result if out is None else write_out('chain_matmul', result, out)


@export()
def tensordot(a, b, dims=2, out=None):
    """The sum of products over `dims` last and first dimensions, or over the dimensions that two lists pair up."""
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f'tensordot expects dims >= 0, but got dims={dims}')
        if dims > min(a.dim(), b.dim()):
            raise RuntimeError(f'tensordot expects dims < ndim_a or ndim_b, but got dims={dims}')
        over_a, over_b = list(range(a.dim() - dims, a.dim())), list(range(dims))
    else:
        over_a, over_b = ([d] if isinstance(d, int) else list(d) for d in dims)
    if len(over_a) != len(over_b):
        raise RuntimeError('both dimension lists should have same length')
    over_a, over_b = [axis_of(d, a.dim()) for d in over_a], [axis_of(d, b.dim()) for d in over_b]
    names_a = list(LETTERS[:a.dim()])
    names_b = [c.lower() for c in LETTERS[:b.dim()]]
    for i, j in zip(over_a, over_b):
        if a.shape[i] != b.shape[j]:
            if 1 not in (a.shape[i], b.shape[j]):
                raise RuntimeError(f'contracted dimensions need to match, but first has size {a.shape[i]} in dim {i} '
                                   f'and second has size {b.shape[j]} in dim {j}')
            a, b = (a.sum(i, keepdim=True), b) if b.shape[j] == 1 else (a, b.sum(j, keepdim=True))
        names_b[j] = names_a[i]
    a, b = same_dtype('tensordot', a, b)
    kept = [c for i, c in enumerate(names_a) if i not in over_a] + [c for j, c in enumerate(names_b) if j not in over_b]
    result = contract(a, b, (''.join(names_a), ''.join(names_b), ''.join(kept)))
    return result if out is None else write_out('tensordot', result, out)


@export(lenient=('operands',))
def einsum(equation, *operands):
    """Sums of products in the notation of index letters: einsum('bij,bjk->bik', x, y). '...' stands for broadcast dims.

    Raises RuntimeError for an equation that does not fit the operands.
    """
    from .einsum import evaluate_einsum
    return evaluate_einsum(equation, operands)


@export(namespace='torch nn.functional')
def bilinear(input1, input2, weight, bias=None):
    """input1 @ weight[k] @ input2 + bias[k] over the last dimensions."""
    if input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(f'bilinear(): input batch dimensions do not match: got {list(input1.shape)} and '
                           f'{list(input2.shape)}')
    if input1.shape[-1] != weight.shape[1] or input2.shape[-1] != weight.shape[2]:
        raise RuntimeError(f'bilinear(): input sizes {input1.shape[-1]} and {input2.shape[-1]} do not match the weight '
                           f'of shape {list(weight.shape)}')
    names = LETTERS[:input1.dim() - 1]
    half = contract(input1, weight, (names + 'i', 'oij', names + 'oj'))
    out = contract(half, input2, (names + 'oj', names + 'j', names + 'o'))
    return out if bias is None else out + bias


def _matmul_operator(self, other):
    kind, mine = other.__class__, self.__class__
    if not ((kind is Tensor or kind is Parameter) and (mine is Tensor or mine is Parameter)):
        if answered(self, other):
            return override(matmul, (self, other), {})
        if not isinstance(other, Tensor):
            return NotImplemented
    a, b = self._array, other._array
    if a.ndim == b.ndim == 2 and a.shape[1] == b.shape[0] and a.dtype is b.dtype:
        return _mm(self, other)
    return _matmul(self, other)


Tensor.__matmul__ = _matmul_operator
Tensor.__rmatmul__ = lambda self, other: _matmul(other, self) if isinstance(other, Tensor) else NotImplemented
Tensor.__imatmul__ = lambda self, other: _matmul(self, other)
