"""Random tensors and random methods: creation, in-place draws, sampling from distributions, and dropout.

Checks arguments as PyTorch does, before a single number is drawn; the numbers themselves come from draws.py. Gradients
of what is drawn are zero, except for dropout (a fixed random factor).
"""
from __future__ import annotations

import functools
import math
import sys

import numpy as np

from .. import dtypes
from ..autograd.graph import count_write
from ..autograd.modes import OFF, STATE
from ..device import resolve
from ..errors import ArgumentError, ArgumentTypeError, require_tensors, warn
from ..random import Generator, default_generator
from ..storage import dense_like
from ..tensor import Parameter, Tensor, preserve_format, strided, wrap
from . import draws
from .creation import allocated, laid_out_like, sizes
from .definition import Operation, export, opaque, publish, register
from .overriding import override, overrides
from .reference import LARGE, REFERENCE
from .writing import change

__all__ = ['rand', 'randn', 'randint', 'randperm', 'rand_like', 'randn_like', 'randint_like', 'normal', 'bernoulli',
           'multinomial', 'poisson', 'binomial', 'dropout', 'alpha_dropout', 'feature_dropout',
           'feature_alpha_dropout', 'native_dropout', 'rrelu']

DRIVERS = REFERENCE.drivers


def _source(generator) -> Generator:
    if generator is None:
        return default_generator
    if not isinstance(generator, Generator):
        raise ArgumentTypeError(f"argument 'generator' must be torch.Generator, not {type(generator).__name__}")
    return generator


def _need_dtype(operation: str, array: np.ndarray, kinds: str) -> dtypes.dtype:
    """The dtype of `array`, whose category must be among `kinds` (b, i, f, c), else NotImplementedError."""
    return _among(operation, array.dtype, kinds)


@functools.cache
def _among(operation, array_dtype, kinds):
    d = dtypes.of(array_dtype)
    if 'bifc'[d.category] not in kinds:
        wanted = ' or '.join(name for kind, name in (('b', 'bool'), ('i', 'integer'), ('f', 'floating point'),
                                                     ('c', 'complex')) if kind in kinds)
        raise NotImplementedError(f'{operation} is not implemented for {d}: it takes {wanted} tensors')
    return d


def _nothing(m, g):
    return m.zeros_like(g)


# ---- methods that overwrite a tensor -------------------------------------------------------------

def overwriting(fill):
    """Declares the method of the name of `fill(m, input, ...)`, which overwrites the array `input` and returns it."""
    name = fill.__name__
    label = ''.join(word.capitalize() for word in name.split('_')) + 'Backward0'
    operation = Operation('opaque', fill, name=name, namespace='', method=False, label=label, grad={'input': _nothing})
    register(operation)

    def overwrite(input, *args, **kwargs):
        kind = type(input)
        if (kind is Tensor or kind is Parameter) and (input._node is None or STATE.recording is OFF) \
                and input._array.flags.writeable:
            try:
                fill(REFERENCE, input._array, *args, **kwargs)
            except (TypeError, ValueError, RuntimeError, AttributeError):  # the general way says what is wrong
                pass
            else:
                count_write(input, name, sys._getframe(1))
                return input
        if kind is not Tensor and overrides(input):
            return override(getattr(Tensor, name), (input, *args), kwargs)
        return change(input, name, lambda before: operation.public(before, *args, **kwargs), operation)

    overwrite.__name__, overwrite.__doc__ = name, fill.__doc__
    publish(overwrite, (name,), (), True)
    return fill


@overwriting
def uniform_(m, input, from_=0.0, to=1.0, *, generator=None):
    """Overwrites the tensor with samples uniform in [from, to)."""
    largest = _largest(_need_dtype('uniform_', input, 'fc').to_real())
    if not (-largest <= from_ <= to <= largest and to - from_ <= largest):
        _refuse_bounds(dtypes.of(input.dtype).to_real(), from_, to)
    draws.fill_uniform(_source(generator), input, from_, to)
    return input


def _refuse_bounds(real, from_, to):
    largest = _largest(real)
    for name, bound in (('from', from_), ('to', to)):
        if not -largest <= bound <= largest:
            raise RuntimeError(f'{name} is out of bounds for {real}: uniform_ got {name}={bound}')
    if from_ > to:
        raise RuntimeError(f'uniform_ expects to return a [from, to) range, but found from={from_} > to={to}')
    raise RuntimeError(f'uniform_ expects to-from <= {largest}, the largest {real}, but found to={to} and '
                       f'from={from_} which result in to-from to exceed the limit')


@functools.cache
def _largest(d):
    return dtypes.finfo(d).max


@overwriting
def normal_(m, input, mean=0.0, std=1.0, *, generator=None):
    """Overwrites the tensor with normal samples; complex ones have `std` in all, std / sqrt(2) in each part."""
    if not std >= 0:
        _refuse_std(std)
    _need_dtype('normal_', input, 'fc')
    draws.fill_normal(_source(generator), input, mean, std)
    return input


def _refuse_std(std):
    raise RuntimeError(f'normal expects std >= 0.0, but found std {std}')


_UNSET = object()


@overwriting
def random_(m, input, from_=_UNSET, to=_UNSET, *, generator=None):
    """Overwrites the tensor with integers: `random_(to)` of [0, to), `random_(from, to)` of [from, to).

    `random_(from, None)` goes up to the largest value of the dtype, `random_()` over all its non-negative values (in
    floating point dtypes over all integers that they hold exactly).
    """
    generator = _source(generator)
    if from_ is _UNSET and to is _UNSET:
        d = _need_dtype('random_', input, 'bif')
        if d in (dtypes.uint16, dtypes.uint32, dtypes.uint64):
            raise NotImplementedError(f'random_ without bounds is not implemented for {d}: give it a range')
        draws.fill_random(generator, input)
        return input
    if to is _UNSET:
        from_, to = 0, from_
        if to is None:
            raise ArgumentTypeError('random_(None) says nothing: give random_ no bounds, an upper one, or both')
    elif from_ is _UNSET:
        from_ = 0
    low, span = _integer_range(_need_dtype('random_', input, 'bif'), from_, to)
    draws.fill_random_range(generator, input, low, span)
    return input


def _integer_range(d, low, high):
    """(lowest value, how many) of random_(low, high). Raises RuntimeError where the dtype cannot hold them."""
    for bound in (low, high):
        if not hasattr(bound, '__index__') and (bound is not None or bound is low):
            raise ArgumentTypeError(f'random_ takes integer bounds, got {bound!r}')
    low = low.__index__()
    if high is None and low == -2 ** 63:
        return low, 2 ** 64
    digits = _DIGITS.get(d)
    if high is None:
        last = 2 ** digits if digits else 1 if d is dtypes.bool_ else min(dtypes.iinfo(d).max, 2 ** 63 - 1)
        high = last + 1
    high = high.__index__()
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    if digits:
        low, high = _held_exactly(d, digits, low, high)
        lowest, largest = -_largest(d), _largest(d)
    else:
        lowest, largest = (0, 1) if d is dtypes.bool_ else (dtypes.iinfo(d).min, min(dtypes.iinfo(d).max, 2 ** 63 - 1))
    for name, bound in (('from', low), ('to - 1', high - 1)):
        if not lowest <= bound <= largest:
            raise RuntimeError(f'{name} is out of bounds for {d}: random_ got {name} = {bound}')
        if digits and abs(bound) > 2 ** digits:
            warn(f'{name} is out of bounds [-(2^{digits}), 2^{digits}]. Due to precision limitations {d} can '
                 'support discrete uniform distribution only within this range.')
    return low, high - low


_DIGITS = {dtypes.float64: 53, dtypes.float32: 24, dtypes.float16: 11, dtypes.bfloat16: 8}


def _held_exactly(d, digits, low, high):
    """The bounds moved inwards to where rounding to the floating point dtype cannot leave [low, high)."""
    def rounded(value):
        found = float(draws.converted(np.array(value), d.numpy))
        return int(found) if math.isfinite(found) else (2 ** 63 - 1 if found > 0 else -2 ** 63)

    if rounded(low + 1) < low:
        low = rounded(low + 1) + (1 << abs(low + 1).bit_length() - digits)
    if rounded(high - 1) >= high:
        high = rounded(high - 1) - (1 << abs(high - 1).bit_length() - digits)
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' casted to dtype to be less than 'to' casted to dtype, but got "
                           f'from={low} >= to={high}')
    return low, high


@overwriting
def bernoulli_(m, input, p=0.5, *, generator=None):
    """Overwrites the tensor with ones drawn with probability `p` (a number or a tensor that broadcasts) and zeros."""
    _need_dtype('bernoulli_', input, 'bif')
    p = getattr(p, '_array', p)  # elsewhere p is a number, so calls do not look for a tensor in it
    if not isinstance(p, np.ndarray):
        _need_probability('bernoulli_', p)
        draws.fill_bernoulli(_source(generator), input, p)
        return input
    _need_probabilities('bernoulli_', p)
    if np.broadcast_shapes(p.shape, input.shape) != input.shape:
        raise RuntimeError(f'bernoulli_: probabilities of shape {list(p.shape)} do not broadcast to '
                           f'{list(input.shape)}')
    draws.fill_bernoulli_each(_source(generator), input, p)
    return input


def _need_probability(operation, p):
    if not 0 <= p <= 1:
        raise RuntimeError(f'{operation} expects p to be in [0, 1], but got p={p}')


def _need_probabilities(operation, p):
    if p.dtype.kind != 'f':
        _need_dtype(f'{operation} with probabilities', p, 'f')
    within = p >= 0
    within &= p <= 1
    if not np.logical_and.reduce(within, None):
        raise RuntimeError(f'Expected p_in >= 0 && p_in <= 1 to be true, but got false: {operation} takes '
                           'probabilities in [0, 1]')


@overwriting
def exponential_(m, input, lambd=1.0, *, generator=None):
    """Overwrites the tensor with exponential samples of rate `lambd` > 0."""
    if not lambd > 0:
        raise RuntimeError(f'exponential_ expects lambda > 0.0, but found lambda={lambd}')
    _need_continuous('Exponential', input)
    draws.fill_exponential(_source(generator), input, lambd)
    return input


def _need_continuous(distribution, array):
    if (d := dtypes.of(array.dtype)).category != dtypes.FLOAT:
        raise RuntimeError(f'{distribution} distribution is a continuous probability distribution. dtype must be a '
                           f'floating point but you specified {d}')


@overwriting
def geometric_(m, input, p, *, generator=None):
    """Overwrites the tensor with how many trials of success probability `p` in (0, 1) it takes to succeed."""
    if not 0 < p < 1:
        raise RuntimeError(f'geometric_ expects p to be in (0, 1), but got p={p}')
    _need_dtype('geometric_', input, 'if')
    draws.fill_geometric(_source(generator), input, p)
    return input


@overwriting
def cauchy_(m, input, median=0.0, sigma=1.0, *, generator=None):
    """Overwrites the tensor with samples of the Cauchy distribution; sigma > 0."""
    if not sigma > 0:
        raise RuntimeError(f'cauchy_ expects sigma > 0.0, but found sigma={sigma}')
    _need_continuous('Cauchy', input)
    draws.fill_cauchy(_source(generator), input, median, sigma)
    return input


@overwriting
def log_normal_(m, input, mean=1.0, std=2.0, *, generator=None):
    """Overwrites the tensor with exponentials of normal samples; std > 0."""
    if not std > 0:
        raise RuntimeError(f'log_normal_ expects std > 0.0, but found std={std}')
    _need_dtype('log_normal_', input, 'f')
    draws.fill_log_normal(_source(generator), input, mean, std)
    return input


# ---- new tensors ---------------------------------------------------------------------------------

def _filled(fill, make, *arguments, generator=None, out=None, dtype=None, layout=strided, device=None,
            pin_memory=False, requires_grad=False):
    """The array that `make(dtype)` gives, overwritten by a method from above, as a tensor; or `out` in its shape."""
    resolve(device)
    if layout not in (None, strided):
        raise NotImplementedError(f'random tensors are strided, got layout={layout}')
    if out is not None:
        if dtype not in (None, out.dtype):
            raise RuntimeError(f'dtype {dtype} does not match dtype of out parameter ({out.dtype})')
        shape = make(out.dtype).shape
        if out.shape != shape:
            out.resize_(shape)
        return getattr(out, fill.__name__)(*arguments, generator=generator)
    array = make(dtype)
    if requires_grad and array.dtype.kind in 'bui':
        raise RuntimeError('Only Tensors of floating point and complex dtype can require gradients')
    result = wrap(fill(None, array, *arguments, generator=generator))
    return result.requires_grad_() if requires_grad else result


def _maker(operation, size, default):
    shape = sizes(size, operation)
    return lambda dtype: np.empty(shape, (dtypes.asked(dtype) or default()).numpy)


def _standard(name, fill, driver, summary):
    """Declares the function that makes tensors of standard samples: those of `fill` without arguments."""
    def draw(*size, generator=None, names=None, dtype=None, device=None, requires_grad=False, **options):
        if options or not size:
            make = _maker(name, _given_sizes(name, size, options), dtypes.get_default_dtype)
            return _filled(fill, make, generator=generator, dtype=dtype, device=device, requires_grad=requires_grad,
                           **options)
        if device is not None:
            resolve(device)
        array = allocated(name, np.empty, sizes(size, name), (dtypes.asked(dtype) or dtypes.get_default_dtype()).numpy)
        source = default_generator if generator is None else _source(generator)
        if DRIVERS[driver](array, source, 0.0, 1.0) is None:
            fill(None, array, generator=source)
        return wrap(array).requires_grad_() if requires_grad else wrap(array)

    draw.__name__ = draw.__qualname__ = name
    draw.__doc__ = summary
    return export()(draw)


rand = _standard('rand', uniform_, 'random.uniform', """Samples uniform in [0, 1).

    `rand(2, 3)` or `rand((2, 3))`; dtype, requires_grad, out ... as for `zeros`.
    Raises NotImplementedError for an integer dtype, RuntimeError for a negative size.
    """)
randn = _standard('randn', normal_, 'random.normal',
                  """Standard normal samples; complex ones have variance 1, half of it in each part.""")


def _given_sizes(operation, given, options):
    if 'size' in options:
        given = (*given, options.pop('size'))
    if not given:
        raise TypeError(f'{operation}() received no size: give it integers, or a tuple of integers')
    return given


@export()
def randint(*bounds, low=None, high=None, size=None, generator=None, **options):
    """Integers (int64 unless `dtype`) of [low, high): `randint(high, size)` or `randint(low, high, size)`.

    Raises RuntimeError where low >= high or the dtype cannot hold them.
    """
    if not options and low is high is size is None and 1 < len(bounds) < 4:
        first, last, shape = bounds if len(bounds) == 3 else (0, *bounds)
        whole = first.__class__ is last.__class__ is int
        if whole and -2 ** 63 <= first < last <= 2 ** 63 and shape.__class__ is tuple:
            array = allocated('randint', np.empty, sizes(shape, 'randint'), np.int64)
            draws.fill_random_range(_source(generator), array, first, last - first)
            return wrap(array)
    low, high, (size,) = _split_bounds('randint', bounds, low, high, size)
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"randint(): argument 'size' must be tuple of ints, not {type(size).__name__}")
    return _filled(random_, _maker('randint', size, lambda: dtypes.int64), low, high, generator=generator, **options)


def _split_bounds(operation, given, low, high, *rest):
    """(low, high, what follows them) of the calls f(high, ...) and f(low, high, ...)."""
    given = list(given)
    follow = [given.pop() if r is None and given else r for r in rest]
    if high is None and given:
        high = given.pop()
    if low is None:
        low = given.pop() if given else 0
    if given or high is None:
        raise TypeError(f'{operation}() takes ([low,] high{", size" if rest else ""})')
    return low, high, follow


@export()
def randperm(n, *, generator=None, out=None, dtype=None, layout=strided, device=None, pin_memory=False,
             requires_grad=False):
    """The integers 0 .. n-1 in random order (int64 unless `dtype`)."""
    source = _source(generator)
    if n.__class__ is int and n >= 0 and dtype is out is device is None and not requires_grad:
        return wrap(draws.permutation(source, n))
    resolve(device)
    if not hasattr(n, '__index__'):
        raise TypeError(f"randperm(): argument 'n' (position 1) must be int, not {type(n).__name__}")
    n = n.__index__()
    if n < 0:
        raise RuntimeError(f'Trying to create tensor with negative dimension {n}: [{n}]')
    d = dtype or (out.dtype if out is not None else dtypes.int64)
    if d.category not in (dtypes.INTEGER, dtypes.FLOAT) or d in (dtypes.uint16, dtypes.uint32, dtypes.uint64):
        raise NotImplementedError(f'"randperm" not implemented for {d}')
    largest = 2 ** _DIGITS[d] + 1 if d.is_floating_point else dtypes.iinfo(d).max + 1
    if n > largest:
        raise RuntimeError(f'n cannot be greater than {largest} for {d} type: value cannot be converted to {d} without '
                           f'overflow, randperm got n={n}')
    result = wrap(draws.converted(draws.permutation(source, n), d.numpy))
    if out is not None:
        return out.resize_((n,)).copy_(result)
    return result.requires_grad_() if requires_grad else result


def _like(input, memory_format):
    require_tensors('like', input=input)
    return lambda dtype: laid_out_like(input._array, dtypes.asked(dtype) or input.dtype, memory_format)


@export()
def rand_like(input, *, memory_format=preserve_format, **options):
    """Samples uniform in [0, 1) in the shape, dtype and memory layout of another tensor."""
    if not options and memory_format is preserve_format and input.__class__ is Tensor:
        return wrap(uniform_(None, dense_like(input._array, input._array.dtype)))
    return _filled(uniform_, _like(input, memory_format), **options)


@export()
def randn_like(input, *, memory_format=preserve_format, **options):
    """Standard normal samples in the shape, dtype and memory layout of another tensor."""
    if not options and memory_format is preserve_format and input.__class__ is Tensor:
        return wrap(normal_(None, dense_like(input._array, input._array.dtype)))
    return _filled(normal_, _like(input, memory_format), **options)


@export()
def randint_like(input, *bounds, low=None, high=None, memory_format=preserve_format, **options):
    """Integers of [0, high) or [low, high) in the shape, dtype and memory layout of another tensor."""
    low, high, _ = _split_bounds('randint_like', bounds, low, high)
    return _filled(random_, _like(input, memory_format), low, high, **options)


@export()
def normal(mean=0.0, std=1.0, size=None, *, generator=None, out=None, **options):
    """Normal samples: `normal(mean, std)` with tensors that broadcast, or `normal(mean, std, size)` with numbers.

    Raises RuntimeError where std < 0.
    """
    if isinstance(mean, Tensor) or isinstance(std, Tensor):
        return _normal(mean, std, generator=generator, **({} if out is None else {'out': out}))
    if size is None:
        raise TypeError('normal() takes a size where neither mean nor std is a tensor')
    return _filled(normal_, _maker('normal', size, dtypes.get_default_dtype), mean, std, generator=generator, out=out,
                   **options)


def _no_gradient(shape):
    """The gradient of an operand that only chose a distribution: zeros in its shape."""
    def gradient(m, g, operand_shape):
        return m.zeros_of(operand_shape, g)
    gradient.names = (shape,)
    return gradient


@opaque(namespace='', method=False, label='NormalBackward3',
        grad={'mean': _no_gradient('mean_shape'), 'std': _no_gradient('std_shape')})
def _normal(m, mean, std, *, generator=None):
    if isinstance(std, np.ndarray):
        if std.dtype.kind == 'c':
            raise RuntimeError('normal expects standard deviation to be non-complex')
        if not (std >= 0).all():
            raise RuntimeError('normal expects all elements of std >= 0.0')
    else:
        if not std >= 0:
            _refuse_std(std)
    model = mean if isinstance(mean, np.ndarray) else std
    out = np.empty(np.broadcast_shapes(np.shape(mean), np.shape(std)), model.dtype)
    if isinstance(std, np.ndarray):
        normal_(m, out, generator=generator)
        np.multiply(out, std, out=out, casting='same_kind')
    else:
        normal_(m, out, 0.0, std, generator=generator)
    return np.add(out, mean, out=out, casting='same_kind')


# ---- sampling from distributions given by tensors ------------------------------------------------

@opaque(grad={'input': _nothing})
def bernoulli(m, input, p=None, *, generator=None):
    """Ones with the probabilities in `input` (or with `p` in its shape), else zeros."""
    if p is not None:
        return bernoulli_(m, np.empty(input.shape, input.dtype), p, generator=generator)
    _need_probabilities('bernoulli', input)
    out = np.empty(input.shape, input.dtype)
    draws.fill_bernoulli_each(_source(generator), out, input)
    return out


@opaque(strict_out=True)
def multinomial(m, input, num_samples, replacement=False, *, generator=None):
    """Indices drawn in proportion to the weights in `input` (categories, or rows of them): int64 (rows,) num_samples.

    Raises RuntimeError for weights that are negative, not finite or all zero, and for more samples than categories
    without replacement.
    """
    if input.ndim not in (1, 2):
        raise RuntimeError(f'prob_dist must be 1 or 2 dim, got {list(input.shape)}')
    if dtypes.of(input.dtype).category != dtypes.FLOAT:
        raise RuntimeError(f'multinomial only supports floating-point dtypes for input, got: {dtypes.of(input.dtype)}')
    if num_samples <= 0:
        raise RuntimeError(f'cannot sample n_sample <= 0 samples, got {num_samples}')
    if not replacement and num_samples > input.shape[-1]:
        raise RuntimeError(f'cannot sample n_sample > prob_dist.size(-1) samples without replacement, got '
                           f'{num_samples} of {input.shape[-1]}')
    if input.shape[-1] > 2 ** 24:
        raise RuntimeError('number of categories cannot exceed 2^24')
    if input.size and not ((input >= 0) & (input < np.inf)).all():
        raise RuntimeError('probability tensor contains either `inf`, `nan` or element < 0')
    if not (input > 0).any(-1).all():
        raise RuntimeError('invalid multinomial distribution (sum of probabilities <= 0)')
    rows = input if input.ndim == 2 else input[None]
    chosen = draws.multinomial(_source(generator), rows, num_samples, replacement)
    return chosen if input.ndim == 2 else chosen[0]


def _one_by_one(draw, generator, *operands):
    """An array of draw(generator, values at one place) for each place of the operands, in their order."""
    operands = np.broadcast_arrays(*operands)
    samples = [draw(generator, *values) for values in zip(*[o.ravel() for o in operands])]
    return np.array(samples, np.float64).astype(operands[0].dtype).reshape(operands[0].shape)


@opaque(method=False, grad={'input': _nothing})
def poisson(m, input, generator=None):
    """Poisson samples of the rates in `input`."""
    _need_dtype('poisson', input, 'f')
    if not (input >= 0).all():
        raise RuntimeError('invalid Poisson rate, expected rate to be non-negative')
    return _one_by_one(lambda source, rate: draws.poisson(source, float(rate)), _source(generator), input)


@opaque(method=False, grad={'count': _no_gradient('count_shape'), 'prob': _no_gradient('prob_shape')})
def binomial(m, count, prob, generator=None):
    """How many of `count` trials of success probability `prob` succeed, as floating point numbers."""
    for name, operand in (('count', count), ('prob', prob)):
        d = dtypes.of(operand.dtype)
        if not d.is_floating_point:
            raise ArgumentError(f'binomial only supports floating-point dtypes for {name}, got: {d}')
    if count.dtype != prob.dtype:
        raise RuntimeError(f'Found dtype {dtypes.of(prob.dtype)} but expected {dtypes.of(count.dtype)}: binomial takes '
                           'count and prob of one dtype')
    _need_single_or_double('binomial', count)
    return _one_by_one(draws.binomial, _source(generator), count, prob)


def _need_single_or_double(operation, array):
    if array.dtype.kind != 'f' or array.itemsize < 4:
        raise NotImplementedError(f'{operation} is not implemented for {dtypes.of(array.dtype)}: it takes float32 or '
                                  'float64')


@opaque(method=False)
def _standard_gamma(m, input, generator=None):
    """Gamma samples of unit rate; `input` holds the concentrations."""
    _need_single_or_double('_standard_gamma', input)
    samples = _one_by_one(draws.standard_gamma, _source(generator), input)
    return np.maximum(samples, np.finfo(input.dtype).tiny)


@opaque(method=False)
def _sample_dirichlet(m, input, generator=None):
    """Dirichlet samples: rows that sum to one; the last dimension of `input` holds the concentrations."""
    _need_single_or_double('_sample_dirichlet', input)
    gammas = _one_by_one(draws.standard_gamma, _source(generator), input.astype(np.float64))
    shares = gammas / gammas.sum(-1, keepdims=True)
    return np.maximum(shares.astype(input.dtype), np.finfo(input.dtype).tiny)


# ---- dropout -------------------------------------------------------------------------------------

def _scaled_where(m, x, mask, scale):
    return x * m.where(mask, scale, 0.0)


def _masked_gradient(m, g, mask, scale):
    return _scaled_by_kernel(m, g, mask, scale, lambda: g * mask * scale)


def _scaled_by_kernel(m, x, mask, scale, otherwise):
    """x * (mask * scale) by a kernel of elements, or of channels where the mask broadcasts."""
    made = m.kernel('random.scaled', x, mask, scale)
    if made is None and getattr(x, 'size', 0) >= LARGE:
        made = m.kernel('fusion.run', _scaled_where, x, mask, scale)
    return otherwise() if made is None else made


@opaque(namespace='', method=False, label='MulBackward0', grad={'input': _masked_gradient})
def _masked(m, input, mask, scale):
    """input * (mask * scale); a bool mask in place of the factors saves three quarters of the memory or more."""
    def otherwise():
        kept = np.multiply(input, mask, out=dense_like(input, input.dtype))
        return np.multiply(kept, input.dtype.type(scale), out=kept)
    return _scaled_by_kernel(m, input, mask, scale, otherwise)


@opaque(namespace='', method=False, label='RreluWithNoiseBackward0', widen=True,
        grad={'input': lambda m, g, slope: g * slope})
def _sloped(m, input, slope):
    return input * slope


def _checked(operation, input, p):
    if not 0 <= p <= 1:
        raise RuntimeError(f'dropout probability has to be between 0 and 1, but got {p}, in {operation}')
    return input._array


def _mask(array, p, feature):
    """Which elements (with `feature` which channels, broadcast over what follows them) stay: each with 1 - p."""
    if dtypes.of(array.dtype).category != dtypes.FLOAT:
        raise RuntimeError(f"result type Float can't be cast to the desired output type: dropout takes floating point "
                           f'tensors, got {dtypes.of(array.dtype)}')
    if feature:
        if array.ndim < 2:
            raise RuntimeError(f'Feature dropout requires at least 2 dimensions in the input, got {list(array.shape)}')
        array = np.empty(array.shape[:2] + (1,) * (array.ndim - 2), array.dtype)
    return draws.bernoulli_mask(default_generator, array, 1 - p)


@functools.lru_cache
def _scale_kept(d, p):
    """What 1 / (1 - p) is where d is computed."""
    working = np.float64 if d == np.float64 else np.float32
    return float(draws.converted(working(1) / working(1 - p), d))


def _dropped(operation, input, p, train, inplace, feature=False, alpha=False):
    """Dropout of all kinds: elements, or with `feature` channels, become zero (or with `alpha` SELU's lower limit)."""
    array = _checked(operation, input, p)
    if p == 0 or not train or array.size == 0:
        return input
    if p == 1:
        zero = wrap(np.zeros((), array.dtype))
        return input.mul_(zero) if inplace else input * zero
    mask = _mask(array, p, feature)
    if not alpha:
        arguments = wrap(mask), _scale_kept(array.dtype, p)
        return _in_place(_masked, input, arguments) if inplace else _masked(input, *arguments)
    factor, shift = _self_normalizing(mask, array, p)
    arguments = wrap(mask), factor
    if inplace:
        return _in_place(_masked, input, arguments).add_(wrap(shift))
    return _masked(input, *arguments) + wrap(shift)


def _in_place(operation, input, arguments):
    op = operation.operation
    return change(input, op.name + '_', lambda before: operation(before, *arguments), op)


def _self_normalizing(mask, array, p):
    """(factor, shift) of alpha dropout, which keeps mean 0 and variance 1: kept * factor + shift."""
    d = array.dtype
    limit = 1.7580993408473766  # SELU's scale * alpha: minus its lower limit
    a = 1.0 / math.sqrt((limit * limit * p + 1) * (1 - p))
    working = np.float64 if d == np.float64 else np.float32
    kept = draws.converted(working(limit * a * p), d)
    lowered = draws.converted(working(-limit * a), d)
    dropped = draws.converted(lowered.astype(working) + working(limit * a * p), d)
    shift = dense_like(array if mask.shape == array.shape else mask, d)
    shift[...] = np.where(mask, kept, dropped)
    return float(draws.converted(working(a), d)), shift


def _publish_dropout(name, **kind):
    """The functions that PyTorch has for a kind of dropout: `name(input, p, train)` and `name_`."""
    def drop(input, p, train):
        return _dropped(name, input, p, train, False, **kind)

    def drop_(input, p, train):
        return _dropped(name + '_', input, p, train, True, **kind)

    drop.__doc__ = f'See nn.functional.{name}; `train` switches it on.'
    drop_.__doc__ = f'In-place form of `{name}`.'
    drop.__name__, drop_.__name__ = name, name + '_'
    export()(drop_)
    return export()(drop)


dropout = _publish_dropout('dropout')
alpha_dropout = _publish_dropout('alpha_dropout', alpha=True)
feature_dropout = _publish_dropout('feature_dropout', feature=True)
feature_alpha_dropout = _publish_dropout('feature_alpha_dropout', feature=True, alpha=True)


@export()
def native_dropout(input, p, train):
    """Dropout that also returns which elements stayed: (output, bool mask)."""
    array = _checked('native_dropout', input, p)
    if train is False:
        mask, scale = dense_like(array, np.bool_), 1.0
        mask.fill(True)
    else:
        mask, scale = _mask(array, p, False), 1.0 / (1 - p) if p < 1 else 0.0
    mask = wrap(mask)
    return _masked(input, mask, scale), mask


def _need_functional_probability(p):
    if not 0 <= p <= 1:
        raise ValueError(f'dropout probability has to be between 0 and 1, but got {p}')


def _publish_functional(name, summary, training, prepare=None, **kind):
    """nn.functional's function for a kind of dropout; `prepare` checks the input and says if it lacks the batch."""
    def drop(input, p=0.5, training=training, inplace=False):
        _need_functional_probability(p)
        unbatched = prepare is not None and prepare(input)
        if unbatched:
            input = input.unsqueeze_(0) if inplace else input.unsqueeze(0)
        result = _dropped(name, input, p, training, inplace, **kind)
        if unbatched:
            result = result.squeeze_(0) if inplace else result.squeeze(0)
        return result

    drop.__name__ = drop.__qualname__ = name
    drop.__doc__ = (f'{summary}\n\n    Nothing happens unless `training`. Raises ValueError for p outside [0, 1].')
    export('nn.functional')(drop)


def _unbatched_1d(input):
    if input.ndim not in (2, 3):
        raise RuntimeError(f'dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input. Note that '
                           'dropout1d exists to provide channel-wise dropout on inputs with 1 spatial dimension, a '
                           'channel dimension, and an optional batch dimension (i.e. 2D or 3D inputs).')
    return input.ndim == 2


def _warn_dimensions(name, input, spatial):
    warn(f'{name}: Received a {input.ndim}-D input to {name}, which is deprecated and will result in an error in a '
         'future release. To retain the behavior and silence this warning, please use dropout instead. Note that '
         f'{name} exists to provide channel-wise dropout on inputs with {spatial} spatial dimensions, a channel '
         f'dimension, and an optional batch dimension (i.e. {spatial + 1}D or {spatial + 2}D inputs).')


def _warned_2d(input):
    if input.ndim not in (3, 4):
        _warn_dimensions('dropout2d', input, 2)
    elif input.ndim == 3:
        warn('dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is '
             'desired - input is interpreted as shape (N, C, L), where C is the channel dim. This behavior will change '
             'in a future release to interpret the input as one without a batch dimension, i.e. shape (C, H, W). To '
             'maintain the 1D channel-wise dropout behavior, please switch to using dropout1d instead.')
    return False


def _unbatched_3d(input):
    if input.ndim not in (4, 5):
        _warn_dimensions('dropout3d', input, 3)
    return input.ndim != 5


_publish_functional('dropout', 'Zeroes elements with probability `p` and divides the others by 1 - p.', True)
_publish_functional('dropout1d', 'Zeroes whole channels of an input (N, C, L) or (C, L).', True, _unbatched_1d,
                    feature=True)
_publish_functional('dropout2d', 'Zeroes whole channels of an input (N, C, H, W).', True, _warned_2d, feature=True)
_publish_functional('dropout3d', 'Zeroes whole channels of an input (N, C, D, H, W) or (C, D, H, W).', True,
                    _unbatched_3d, feature=True)
_publish_functional('alpha_dropout', "Dropout to SELU's lower limit that keeps mean 0 and variance 1.", False,
                    alpha=True)
_publish_functional('feature_alpha_dropout', 'Alpha dropout of whole channels.', False, feature=True, alpha=True)


def _randomized_slopes(input, lower, upper, training, generator=None):
    """1 where input > 0, elsewhere a slope drawn from [lower, upper), or their mean when not training."""
    if not lower <= upper:
        raise RuntimeError(f'Lower bound should be less than or equal to the upper bound, got {lower} and {upper}')
    array = input._array
    if dtypes.of(array.dtype).category != dtypes.FLOAT:
        raise NotImplementedError(f'rrelu is not implemented for {dtypes.of(array.dtype)}: it takes floating point')
    working = np.float64 if array.dtype == np.float64 else np.float32
    slopes = np.ones(array.shape, working)
    negative = array <= 0
    if training:
        bounds = float(working(lower)), float(working(upper))
        slopes[negative] = draws.leaks(_source(generator), np.count_nonzero(negative), *bounds)
    else:
        slopes[negative] = (lower + upper) / 2
    return wrap(slopes)


@export()
def rrelu(input, lower=1 / 8, upper=1 / 3, training=False, generator=None):
    """input where positive, elsewhere input times a slope drawn from [lower, upper) (their mean unless `training`)."""
    return _sloped(input, _randomized_slopes(input, lower, upper, training, generator))


@export()
def rrelu_(input, lower=1 / 8, upper=1 / 3, training=False, generator=None):
    """In-place form of `rrelu`."""
    return _in_place(_sloped, input, (_randomized_slopes(input, lower, upper, training, generator),))


@export('nn.functional', name='rrelu')
def _functional_rrelu(input, lower=1 / 8, upper=1 / 3, training=False, inplace=False):
    """Randomized leaky ReLU: see `torch.rrelu`."""
    return (rrelu_ if inplace else rrelu)(input, lower, upper, training)
