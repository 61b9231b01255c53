"""Order: sort, topk, medians, quantiles. What is there: unique, nonzero. Where it falls: searchsorted, histograms.

NaN is greater than every number, as PyTorch orders them. Equal values keep their order where PyTorch promises it.
"""
from __future__ import annotations

import math

import numpy as np

from .. import dtypes
from ..errors import ArgumentTypeError
from ..tensor import Tensor
from .creation import linspace
from .batching import along
from .definition import composite, export, opaque
from .reference import LARGE, REFERENCE
from .results import return_type
from .scatter import element_places, with_dimensions
from .view import axis_of

PAIR = ('values', 'indices')
FEW = 64  # a row of so many elements is sorted as a whole sooner than in parts


def _orderable(array: np.ndarray, name: str) -> np.ndarray:
    """An array that NumPy orders as PyTorch does; bfloat16 as float32. Raises RuntimeError for complex numbers."""
    if array.dtype.kind == 'c':
        raise RuntimeError(f'{name} does not support complex dtypes on CPU')
    return array.astype(np.float32) if array.dtype == dtypes.bfloat16.numpy else array


def _order(array: np.ndarray, dim: int, descending: bool, name: str) -> np.ndarray:
    """The stable order along a dimension."""
    array = _orderable(array, name)
    made = REFERENCE.kernel('selection.ranked', array, array.shape[dim], dim, descending)
    if made is not None:
        return made[1]
    if array.size >= LARGE:
        made = REFERENCE.kernel('selection.top', array, array.shape[dim], dim, descending)
    if made is None:
        made = REFERENCE.kernel('sorting.order', array, dim, descending)
    if made is not None:
        return made
    if not descending:
        return array.argsort(axis=dim, kind='stable')
    # sorting backwards and then turning round puts NaN first and keeps equal values in order
    turned = (slice(None),) * dim + (slice(None, None, -1),)
    return array.shape[dim] - 1 - array[turned].argsort(axis=dim, kind='stable')[turned]


def _picked(x: np.ndarray, places: np.ndarray, dim: int) -> np.ndarray:
    """The elements of `x` at places along a dimension."""
    made = REFERENCE.kernel('indexing.read', x, dim, places)
    if made is not None:
        return made
    return x[places] if x.ndim == 1 else x.reshape(-1).take(element_places(x.shape, dim, places))


def _picked_gradient(m, g, input_shape, dim, outputs):
    """The cotangent of values picked along a dimension, at the places they came from."""
    return m.gather_adjoint(g[0], input_shape, dim, outputs[1])


def _picked_gradient_keeping(m, g, input_shape, dim, keepdim, outputs):
    cotangent, places = g[0], outputs[1]
    if not keepdim and input_shape:
        cotangent, places = m.unsqueeze(cotangent, dim), m.unsqueeze(places, dim)
    return m.gather_adjoint(cotangent, input_shape, dim, places)


# ---- sorting -----------------------------------------------------------------------------------------


@opaque(batch=along, returns=PAIR, replay=True, grad={'input': _picked_gradient})
def sort(m, input, dim=-1, descending=False, *, stable=False):
    """The elements in order along `dim`, and where they were (int64). Equal ones keep their order."""
    x = with_dimensions(input)
    dim = axis_of(dim, input.ndim)
    made = m.kernel('selection.ranked', x, x.shape[dim], dim, descending)
    if made is not None:
        return tuple(a.reshape(input.shape) for a in made)
    places = _order(x, dim, descending, 'sort')
    return _picked(x, places, dim).reshape(input.shape), places.reshape(input.shape)


@opaque(batch=along, replay=True)
def argsort(m, input, dim=-1, descending=False, *, stable=False):
    """The places (int64) of the elements in order along `dim`."""
    return _order(with_dimensions(input), axis_of(dim, input.ndim), descending, 'argsort').reshape(input.shape)


@composite
def msort(m, input):
    """The elements in order along the first dimension."""
    return m.sort(input, 0)[0]


@opaque(batch=along, returns=PAIR, replay=True, grad={'input': _picked_gradient})
def topk(m, input, k, dim=-1, largest=True, sorted=True):
    """The `k` largest (or smallest) elements along `dim`, in order, and where they were."""
    x = with_dimensions(input)
    dim = axis_of(dim, input.ndim)
    size = x.shape[dim]
    if not 0 <= k <= size:
        raise RuntimeError(f'topk(): selected index k out of range: {k} of {size} elements')
    if x.dtype == bool:
        raise RuntimeError('topk does not support bool dtypes on CPU')
    made = m.kernel('selection.ranked', x, k, dim, largest)
    if made is not None:
        return tuple(a.reshape(()) for a in made) if input.ndim == 0 else made
    values = _orderable(x, 'topk')
    places = REFERENCE.kernel('selection.top', values, k, dim, largest)
    if places is None and size <= FEW:
        places = _order(x, dim, largest, 'topk')[(slice(None),) * dim + (slice(k),)]
    if places is not None:
        shape = input.shape if input.ndim == 0 and k else places.shape
        return _picked(x, places, dim).reshape(shape), places.reshape(shape)
    if 0 < k < size:
        middle = size - k if largest else k - 1
        part = np.argpartition(values, middle, axis=dim)
        part = part.take(range(size - k, size) if largest else range(k), axis=dim)
        part.sort(axis=dim)  # so that equal values come in order of place
    else:
        part = np.broadcast_to(np.arange(k).reshape((k,) + (1,) * (x.ndim - 1 - dim)),
                               (*x.shape[:dim], k, *x.shape[dim + 1:]))
    order = _order(np.take_along_axis(values, part, dim), dim, largest, 'topk')
    places = np.take_along_axis(part, order, dim)
    shape = input.shape if input.ndim == 0 and k else places.shape
    return _picked(x, places, dim).reshape(shape), places.reshape(shape)


def _kth(input: np.ndarray, k, dim: int, keepdim: bool, name: str):
    """(values, places) of the elements of rank k along a dimension; k is an int or an array for each row."""
    x = with_dimensions(input)
    if np.ndim(k):
        places = np.take_along_axis(_order(x, dim, False, name), k, dim)
    else:
        places = np.argpartition(_orderable(x, name), k, axis=dim).take([k], axis=dim)
    values = np.take_along_axis(x, places, dim)
    shape = input.shape if not input.ndim else places.shape if keepdim else places.shape[:dim] + places.shape[dim + 1:]
    return values.reshape(shape), places.reshape(shape)


def _require_elements(name: str, input: np.ndarray, dim: int) -> None:
    if input.ndim and input.shape[dim] == 0:
        raise IndexError(f'{name}(): Expected reduction dim {dim} to have non-zero size.')


@opaque(batch=along, returns=PAIR, strict_out=True, grad={'input': _picked_gradient_keeping})
def kthvalue(m, input, k, dim=-1, keepdim=False):
    """The `k`-th smallest element (from 1) along `dim`, and where it is."""
    dim = axis_of(dim, input.ndim)
    _require_elements('kthvalue', input, dim)
    if not 1 <= k <= with_dimensions(input).shape[dim]:
        raise RuntimeError(f'kthvalue(): selected number k out of range for dimension {dim}: {k}')
    return _kth(input, k - 1, dim, keepdim, 'kthvalue')


# ---- medians and quantiles ---------------------------------------------------------------------------


def _median_rank(x: np.ndarray, dim: int, ignore_nan: bool) -> np.ndarray:
    """The rank of the lower median along a dimension; that of a NaN, if there is one and it counts."""
    size = x.shape[dim]
    if x.dtype.kind in 'biu':
        return np.full([1 if d == dim else n for d, n in enumerate(x.shape)], (size - 1) // 2)
    numbers = size - np.count_nonzero(np.isnan(x), axis=dim, keepdims=True)
    if ignore_nan:
        return np.maximum(numbers - 1, 0) // 2
    return np.where(numbers < size, numbers, (size - 1) // 2)


def _median(input: np.ndarray, dim: int, keepdim: bool, ignore_nan: bool, name: str):
    if input.dtype.kind in 'bc':
        raise NotImplementedError(f'"{name}_cpu" not implemented for {dtypes.of(input.dtype)}')
    dim = axis_of(dim, input.ndim)
    _require_elements(name, input, dim)
    ranks = _median_rank(with_dimensions(input), dim, ignore_nan)
    if ranks.size and (ranks == ranks.flat[0]).all():
        ranks = int(ranks.flat[0])
    return _kth(input, ranks, dim, keepdim, name)


def _even_gradient(m, g, input, output):
    """The cotangent of a value shared evenly among the elements that have it."""
    same = m.logical_or(m.eq(input, output), m.logical_and(m.ne(input, input), m.ne(output, output)))
    share = m.where(same, m.ones_like(input), m.zeros_like(input))
    return g * share / m.sum(share)


def _declare_median(name: str, ignore_nan: bool, doc: str):
    @opaque(name=name, namespace='', method=False, returns=PAIR, label=f'{name.capitalize()}Backward1',
            grad={'input': _picked_gradient_keeping})
    def along(m, input, dim, keepdim=False):
        return _median(input, dim, keepdim, ignore_nan, name)

    @opaque(name=f'{name}_of_all', namespace='', method=False, label=f'{name.capitalize()}Backward0',
            grad={'input': _even_gradient})
    def of_all(m, input):
        if input.size == 0:
            return np.array(np.nan if input.dtype.kind not in 'iu' else np.iinfo(input.dtype).min, input.dtype)
        if input.size < LARGE and input.dtype.kind in 'fiu':
            x = input.ravel().copy()
            x.sort()
            last = x[-1]  # a NaN if there is one
            if last == last:
                return x[(x.size - 1) // 2]
            if not ignore_nan:
                return last
        return _median(input.reshape(-1), 0, False, ignore_nan, name)[0]

    @export(method=True, name=name)
    def median(input, dim=None, keepdim=False, *, out=None):
        if dim is None and out is None:
            return of_all(input)
        options = {} if out is None else {'out': out}
        return of_all(input, **options) if dim is None else along(input, dim, keepdim, **options)
    median.__name__ = median.__qualname__ = name
    median.__doc__ = doc
    return median


median = _declare_median('median', False, """The median of all elements, or along `dim` with its place.

    The lower one of two middle values; NaN where one of the elements is NaN.""")
nanmedian = _declare_median('nanmedian', True, 'As `median`, of the elements that are not NaN.')


@opaque(batch=along, returns=PAIR, grad={'input': _picked_gradient_keeping})
def mode(m, input, dim=-1, keepdim=False):
    """The most frequent element along `dim` (the smallest such), and the last place it is at."""
    dim = axis_of(dim, input.ndim)
    _require_elements('mode', input, dim)
    x = np.moveaxis(with_dimensions(input), dim, -1)
    order = _order(x, -1, False, 'mode')
    values = np.take_along_axis(x, order, -1)
    steps = np.broadcast_to(np.arange(x.shape[-1]), x.shape)
    begins = np.ones(x.shape, bool)
    begins[..., 1:] = values[..., 1:] != values[..., :-1]
    length = steps - np.maximum.accumulate(np.where(begins, steps, 0), axis=-1)
    best = length.argmax(axis=-1, keepdims=True)  # the end of the first of the longest runs of equal values
    found = [np.moveaxis(np.take_along_axis(a, best, -1), -1, dim) for a in (values, order)]
    if input.ndim == 0:
        return tuple(a.reshape(()) for a in found)
    return tuple(found) if keepdim else tuple(np.squeeze(a, dim) for a in found)


INTERPOLATIONS = ('linear', 'lower', 'higher', 'midpoint', 'nearest')


def _quantile(m, name, input, q, dim, keepdim, interpolation, ignore_nan):
    if interpolation not in INTERPOLATIONS:
        raise RuntimeError(f'{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got '
                           f'{interpolation}')
    shape = tuple(input.shape)
    flat = dim is None or not shape
    axis = 0 if flat else axis_of(dim, input.ndim)
    x = m.reshape(input, (-1,)) if flat else input
    size = x.shape[axis]
    if size == 0:
        raise RuntimeError(f'{name}() input tensor must be non-empty')
    levels = _levels(m, name, q)
    if levels is not q:
        levels = m.reshape(levels, (-1,) + (1,) * (x.ndim - 1 - axis))
    x = m.sort(x, axis)[0]
    last = m.narrow(x, axis, size - 1, 1)
    if ignore_nan:
        numbers = m.sum(m.cast(m.eq(x, x), m_dtype(x)), axis, True)
        ranks = m.clamp_min(levels * (numbers - 1), 0)
    else:
        ranks = m.where(m.ne(last, last), size - 1, levels * (size - 1) + m.zeros_like(last))
    found = m.permute(_between(m, x, axis, ranks, interpolation), (axis, *(d for d in range(x.ndim) if d != axis)))
    if keepdim:
        kept = (1,) * len(shape) if flat else (*shape[:axis], 1, *shape[axis + 1:])
        found = m.reshape(found, (found.shape[0], *kept))
    return found if getattr(q, 'ndim', 0) else found[0]


def m_dtype(x) -> dtypes.dtype:
    """The flambeau dtype of an array or tensor."""
    return x.dtype if isinstance(x.dtype, dtypes.dtype) else dtypes.of(x.dtype)


def _levels(m, name, q):
    """The quantiles asked for: a number, or a vector."""
    if isinstance(q, (int, float)):
        if not 0 <= q <= 1:
            raise RuntimeError(f'{name}() q must be in the range [0, 1] but got {q}')
        return q
    if q.ndim > 1:
        raise RuntimeError(f'{name}() q must be a scalar or 1D tensor')
    if not m.all((q >= 0) & (q <= 1)):
        raise RuntimeError(f'{name}() q values must be in the range [0, 1]')
    return m.reshape(q, (-1,))


def _between(m, x, axis, ranks, interpolation):
    """The elements of sorted rows at fractional ranks."""
    rounding = {'lower': m.floor, 'higher': m.ceil, 'nearest': m.round}.get(interpolation)
    if rounding:
        return m.gather(x, axis, m.cast(rounding(ranks), dtypes.int64))
    floor = m.floor(ranks)
    below = m.gather(x, axis, m.cast(floor, dtypes.int64))
    above = m.gather(x, axis, m.cast(m.ceil(ranks), dtypes.int64))
    return m.lerp(below, above, 0.5 if interpolation == 'midpoint' else ranks - floor)


def _check_quantile_dtypes(name, input, q):
    if not isinstance(input, Tensor) or input.dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(f'{name}() input tensor must be either float or double dtype')
    if isinstance(q, Tensor) and q.dtype is not input.dtype:
        raise RuntimeError(f'{name}() q tensor must be same dtype as the input tensor')


def _declare_quantile(name: str, ignore_nan: bool, doc: str):
    @composite(name=name, namespace='', method=False)
    def formula(m, input, q, dim=None, keepdim=False, *, interpolation='linear'):
        return _quantile(m, name, input, q, dim, keepdim, interpolation, ignore_nan)

    @export(method=True, name=name)
    def quantile(input, q, dim=None, keepdim=False, *, interpolation='linear', out=None):
        _check_quantile_dtypes(name, input, q)
        options = {} if out is None else {'out': out}
        return formula(input, q, dim, keepdim, interpolation=interpolation, **options)
    quantile.__name__ = quantile.__qualname__ = name
    quantile.__doc__ = doc
    return quantile


quantile = _declare_quantile('quantile', False, """The q-th quantiles (q a number or vector in [0, 1]) along `dim`.

    interpolation: linear, lower, higher, midpoint or nearest. A vector of q adds a first dimension. NaN where one of
    the elements is NaN.""")
nanquantile = _declare_quantile('nanquantile', True, 'As `quantile`, of the elements that are not NaN.')


# ---- running extremes --------------------------------------------------------------------------------


def _running(input: np.ndarray, dim: int, ufunc: np.ufunc, name: str):
    """(running extremes along a dimension, the latest place of each)."""
    if input.dtype.kind == 'c':
        raise NotImplementedError(f'"{name}_cpu" not implemented for {dtypes.of(input.dtype)}')
    x = with_dimensions(input)
    dim = axis_of(dim, input.ndim)
    made = REFERENCE.kernel('scan.extremes', x, dim, ufunc) if x.size >= LARGE else None
    if made is not None:
        return made
    values = ufunc.accumulate(x, axis=dim)
    steps = np.arange(x.shape[dim]).reshape((-1,) + (1,) * (x.ndim - 1 - dim))
    places = np.maximum.accumulate(np.where((x == values) | (x != x), steps, 0), axis=dim)
    return values.reshape(input.shape), places.reshape(input.shape)


@opaque(batch=along, returns=PAIR, grad={'input': _picked_gradient})
def cummax(m, input, dim):
    """The largest element so far along `dim`, and where it is."""
    return _running(input, dim, np.maximum, 'cummax')


@opaque(batch=along, returns=PAIR, grad={'input': _picked_gradient})
def cummin(m, input, dim):
    """The smallest element so far along `dim`, and where it is."""
    return _running(input, dim, np.minimum, 'cummin')


# ---- what is there -----------------------------------------------------------------------------------


@opaque
def unique(m, input, sorted=True, return_inverse=False, return_counts=False, dim=None):
    """The distinct elements in order (or the distinct slices along `dim`), if asked with where they are and how often.

    Returns a tensor, or a tuple of it, the inverse (place of every element among them) and the counts.
    """
    if input.dtype.kind == 'c':
        raise NotImplementedError(f'"unique" not implemented for {dtypes.of(input.dtype)}')
    if dim is None:
        rows = input.reshape(-1)
        if rows.size and rows.dtype.kind in 'iu' and int(rows.max()) - int(rows.min()) < 2 * rows.size:
            return _unique_by_counting(rows, input.shape, return_inverse, return_counts)
        if not return_inverse:
            rows = np.sort(_orderable(rows, 'unique')).astype(rows.dtype)
            begins = _begins(rows)
            return _with_extras(rows[begins], begins, None, input, dim, False, return_counts)
        order = _order(rows, 0, False, 'unique')
    else:
        rows, dim = _slices(input, dim, 'unique')
        order = np.lexsort([_orderable(column, 'unique') for column in _matrix(rows).T[::-1]]) \
            if rows.size else np.arange(len(rows))
    begins = _begins(rows[order])
    numbers = np.empty(len(rows), np.int64)
    numbers[order] = np.cumsum(begins) - 1
    found = rows[order][begins]
    return _with_extras(found, begins, numbers, input, dim, return_inverse, return_counts)


@opaque
def unique_consecutive(m, input, return_inverse=False, return_counts=False, dim=None):
    """The first of each run of equal elements (or equal slices along `dim`); returns as `unique`."""
    if dim is None:
        rows = input.reshape(-1)
    else:
        rows, dim = _slices(input, dim, 'unique_consecutive')
    begins = _begins(rows)
    found = REFERENCE.kernel('indexing.chosen', rows, begins) if rows.ndim == 1 else None
    return _with_extras(rows[begins] if found is None else found, begins, np.cumsum(begins) - 1 if return_inverse
                        else None, input, dim, return_inverse, return_counts)


def _unique_by_counting(rows: np.ndarray, shape, return_inverse: bool, return_counts: bool):
    """`unique` of integers that lie close together: without sorting."""
    lowest = rows.min().astype(np.int64)
    places = rows.astype(np.int64) - lowest
    counts = np.bincount(places)
    results = [(np.flatnonzero(counts) + lowest).astype(rows.dtype)]
    if return_inverse:
        results.append((np.cumsum(counts > 0) - 1)[places].reshape(shape))
    if return_counts:
        results.append(counts[counts > 0])
    return tuple(results) if len(results) > 1 else results[0]


def _slices(input: np.ndarray, dim: int, name: str):
    """(slices along a dimension as rows, the dimension counted from the front)."""
    dim = axis_of(dim, input.ndim)
    if input.size == 0 and (input.shape[dim] or input.shape.count(0) > 1):
        raise RuntimeError(f"{name}(): There are 0 sized dimensions, and they aren't selected, so unique cannot be "
                           'applied')
    return np.moveaxis(with_dimensions(input), dim, 0), dim


def _matrix(rows: np.ndarray) -> np.ndarray:
    return rows.reshape(len(rows), math.prod(rows.shape[1:]))


def _begins(rows: np.ndarray) -> np.ndarray:
    """Which rows differ from the one before."""
    begins = np.ones(len(rows), bool)
    differs = rows[1:] != rows[:-1]
    begins[1:] = differs if rows.ndim == 1 else _matrix(differs).any(axis=1)
    return begins


def _with_extras(found, begins, numbers, input, dim, return_inverse, return_counts):
    found = found if dim is None else np.moveaxis(found, 0, dim)
    if not (return_inverse or return_counts):
        return np.ascontiguousarray(found)
    results = [np.ascontiguousarray(found)]
    if return_inverse:
        results.append(numbers.astype(np.int64).reshape(input.shape) if dim is None else numbers.astype(np.int64))
    if return_counts:
        starts = np.flatnonzero(begins)
        results.append(np.diff(np.append(starts, len(begins))))
    return tuple(results)


@opaque(name='nonzero', namespace='', method=False)
def _nonzero(m, input):
    return argwhere.operation.formula(m, input)


@export(method=True)
def nonzero(input, *, as_tuple=False, out=None):
    """The places of nonzero elements, one per row (int64); with `as_tuple` one vector per dimension, for indexing."""
    if as_tuple:
        return _nonzero(input.unsqueeze(0) if input.ndim == 0 else input).unbind(1)
    return _nonzero(input) if out is None else _nonzero(input, out=out)


@opaque
def argwhere(m, input):
    """The places of nonzero elements, one per row (int64)."""
    made = m.kernel('indexing.places', input if input.dtype == bool else input != 0) if input.size >= LARGE else None
    if made is None:
        made = m.xp.array(input.nonzero()).T if input.ndim else np.argwhere(input)
    return made


@export()
def unravel_index(indices, shape):
    """The coordinates in a tensor of `shape` of places in its flattened form, one tensor per dimension."""
    if indices.dtype.category != dtypes.INTEGER:
        raise TypeError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if not all(hasattr(n, '__index__') for n in shape):
        raise TypeError(f"expected 'shape' sequence to only contain ints, but got {shape}")
    if any(n < 0 for n in shape):
        raise ValueError(f"'shape' cannot have negative values, but got {shape}")
    strides = [math.prod(shape[d + 1:]) for d in range(len(shape))]
    return tuple((indices // stride) % size for stride, size in zip(strides, shape))


@opaque(method=False)
def isin(m, elements, test_elements, *, assume_unique=False, invert=False):
    """Which elements are among the test elements; one of the two may be a number."""
    for array in (elements, test_elements):
        if getattr(array, 'dtype', None) == bool or isinstance(array, bool):
            raise RuntimeError('Unsupported input type encountered for isin(): Bool')
    if not isinstance(elements, np.ndarray) and not isinstance(test_elements, np.ndarray):
        raise ArgumentTypeError('isin(): elements or test_elements must be a tensor')
    return np.isin(elements, test_elements, assume_unique=assume_unique and np.size(test_elements) > 1, invert=invert)


# ---- where values fall -------------------------------------------------------------------------------


def _rows_searched(boundaries: np.ndarray, values: np.ndarray, right: bool) -> np.ndarray:
    """For every value how many boundaries of its row lie before it, by halving all intervals at once."""
    low = np.zeros(values.shape, np.int64)
    high = np.full(values.shape, boundaries.shape[-1])
    for _ in range(boundaries.shape[-1].bit_length()):
        open_ = low < high
        middle = (low + high) // 2
        at = np.take_along_axis(boundaries, np.minimum(middle, boundaries.shape[-1] - 1), -1)
        after = ~(at > values) if right else ~(at >= values)
        low = np.where(open_ & after, middle + 1, low)
        high = np.where(open_ & ~after, middle, high)
    return low


@opaque(method=False)
def searchsorted(m, sorted_sequence, input, *, out_int32=False, right=False, side=None, sorter=None):
    """Where values would be put into sorted rows: before equal ones, or after them with `right` (side='right')."""
    name = 'torch.searchsorted()'
    if side not in (None, 'left', 'right'):
        raise RuntimeError(f"{name}: side can only be 'left' or 'right' but got {side}")
    if side == 'left' and right:
        raise RuntimeError(f"{name}: side and right can't be set to opposites, got side of left while right was True")
    boundaries, values = sorted_sequence, np.asarray(input)
    if boundaries.ndim != 1 and boundaries.shape[:-1] != values.shape[:-1] or boundaries.ndim == 0 or \
            boundaries.ndim != 1 and boundaries.ndim != values.ndim:
        raise RuntimeError(f'{name}: boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries '
                           f'tensor and input value tensor must match, but we got boundaries tensor '
                           f'{list(boundaries.shape)} and input value tensor {list(values.shape)}')
    if sorter is not None:
        boundaries = _in_order_of(name, boundaries, sorter)
    return _searched(boundaries, values, right or side == 'right', out_int32)


def _in_order_of(name: str, boundaries: np.ndarray, sorter: np.ndarray) -> np.ndarray:
    if sorter.shape != boundaries.shape:
        raise RuntimeError(f'{name}: boundary and sorter must have the same size, but got boundary tensor '
                           f'{list(boundaries.shape)} and got sorter tensor {list(sorter.shape)}')
    if sorter.dtype != np.int64:
        raise RuntimeError(f'{name}: sorter must be a tensor of long dtype but got dtype {dtypes.of(sorter.dtype)}')
    if sorter.size and (sorter.min() < 0 or sorter.max() >= sorter.shape[-1]):
        raise RuntimeError(f'{name}: sorter index out of range')
    return np.take_along_axis(boundaries, sorter, -1)


def _searched(boundaries: np.ndarray, values: np.ndarray, right: bool, out_int32: bool) -> np.ndarray:
    boundaries, values = _orderable(boundaries, 'searchsorted'), _orderable(values, 'searchsorted')
    found = REFERENCE.kernel('selection.searched', boundaries, values, right) if values.size >= LARGE else None
    if found is not None:
        return found.astype(np.int32) if out_int32 else found
    if boundaries.ndim > 1:
        found = _rows_searched(boundaries, values, right)
    else:
        found = np.asarray(np.searchsorted(boundaries, values, 'right' if right else 'left'))
        if values.dtype.kind == 'f':
            found = np.where(np.isnan(values), boundaries.shape[0], found)
    return found.astype(np.int32 if out_int32 else np.int64)


@opaque(method=False)
def bucketize(m, input, boundaries, *, out_int32=False, right=False):
    """The bucket of each value between sorted boundaries: as `searchsorted` with the arguments exchanged."""
    if boundaries.ndim != 1:
        raise RuntimeError(f'bucketize(): boundaries tensor must be 1 dimension, but got dim({boundaries.ndim})')
    return _searched(boundaries, np.asarray(input), right, out_int32)


# ---- counting ----------------------------------------------------------------------------------------


@opaque
def bincount(m, input, weights=None, minlength=0):
    """How often each of 0, 1, 2, ... occurs, or the sum of its weights; at least `minlength` counts."""
    if input.dtype.kind not in 'iu':
        raise NotImplementedError(f'"bincount_cpu" not implemented for {dtypes.of(input.dtype)}')
    if minlength < 0:
        raise RuntimeError('minlength should be >= 0')
    refusal = RuntimeError('bincount only supports 1-d non-negative integral inputs.')
    if input.ndim != 1:
        raise refusal
    if weights is not None and weights.shape != input.shape:
        raise RuntimeError('weights should be 1-d and have the same length as input')
    try:
        counts = np.bincount(input, None if weights is None else m.cast(weights, dtypes.float64), minlength)
    except ValueError:  # of negative numbers
        raise refusal from None
    if weights is None:
        return counts
    return counts.astype(np.float32) if weights.dtype == np.float32 else counts


def _require_floating(name: str, input: np.ndarray) -> None:
    if not dtypes.of(input.dtype).is_floating_point:
        raise NotImplementedError(f'"{name}" not implemented for {dtypes.of(input.dtype)}')


def _outer_edges(name: str, values: np.ndarray, low, high, dim: int = 0) -> tuple[float, float]:
    """The range of a histogram: as given, or from the smallest to the largest value."""
    if low is None:
        low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"{name}: dimension {dim}'s range [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError(f'{name}: min should not exceed max, but got min {low} max {high} for dimension {dim}')
    return (low, high) if low != high else (low - 0.5, high + 0.5)


@opaque(widen=True)
def histc(m, input, bins=100, min=0, max=0):
    """How many elements fall into each of `bins` equal bins from min to max (of the elements, if both are 0)."""
    _require_floating('histogram_cpu', input)
    if bins <= 0:
        raise RuntimeError(f'torch.histc: bins must be > 0, but got {bins}')
    values = input.reshape(-1)
    low, high = min, max
    if low == high and values.size:
        low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low - 1, high + 1
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f'torch.histc: range of [{low}, {high}] is not finite')
    if low > high:
        raise RuntimeError('torch.histc: max must be larger than min')
    values = values[(values >= low) & (values <= high)]
    kind = values.dtype.type
    places = ((values - kind(low)) * kind(bins) / kind(high - low)).astype(np.int64)
    return np.bincount(np.minimum(places, bins - 1), minlength=bins).astype(input.dtype)


def _edges(name: str, values: np.ndarray, bins, low, high, dim: int) -> np.ndarray:
    """The edges of one dimension's bins, in the dtype of the values."""
    if isinstance(bins, np.ndarray):
        if bins.ndim != 1 or bins.size == 0:
            raise RuntimeError(f'{name}: bins tensor should have one dimension and at least one edge, got '
                               f'{list(bins.shape)} for dimension {dim}')
        if bins.dtype != values.dtype:
            raise RuntimeError(f'{name}: input tensor and bins tensors should have the same dtype, but got '
                               f'{dtypes.of(values.dtype)} and {dtypes.of(bins.dtype)}')
        return bins
    if bins <= 0:
        raise RuntimeError(f'{name}: bins must be > 0, but got {bins} for dimension {dim}')
    low, high = _outer_edges(name, values, low, high, dim)
    return linspace(low, high, bins + 1, dtype=dtypes.of(values.dtype))._array


def _histogram(values: np.ndarray, edges: list[np.ndarray], weight, density: bool) -> np.ndarray:
    """Counts (or sums of weights) of points, one per row, in the boxes between edges."""
    inside = np.ones(len(values), bool)
    place = np.zeros(len(values), np.int64)
    shape = [len(e) - 1 for e in edges]
    for column, own, count in zip(values.T, edges, shape):
        at = _searched(own, column, True, False) - 1
        at[column == own[-1]] = count - 1  # the last bin includes its upper edge
        inside &= (at >= 0) & (at < count)
        place = place * count + at
    weights = None if weight is None else weight.reshape(-1)[inside].astype(np.float64)
    counts = np.bincount(place[inside], weights, math.prod(shape)).reshape(shape)
    if density:
        counts = counts / counts.sum()
        for d, own in enumerate(edges):
            counts = counts / np.diff(own).reshape((-1,) + (1,) * (len(shape) - 1 - d))
    return counts.astype(values.dtype)


def _check_weight(name: str, weight, shape, kind) -> None:
    if weight is not None and weight.shape != tuple(shape):
        raise RuntimeError(f'{name}: if weight tensor is provided it should have the same shape as the input tensor '
                           f'excluding its innermost dimension, but got {list(weight.shape)} for {list(shape)}')
    if weight is not None and weight.dtype != kind:
        raise RuntimeError(f'{name}: if weight tensor is provided, input tensor and weight tensor should have the same '
                           f'dtype, but got {dtypes.of(kind)} and {dtypes.of(weight.dtype)}')


@opaque(returns=('hist', 'bin_edges'))
def histogram(m, input, bins, *, range=None, weight=None, density=False):
    """Counts of elements in bins: a number of equal ones (over `range`, or all elements) or a tensor of edges.

    Returns the counts (sums of `weight`, if given; integrating to 1 with `density`) and the edges.
    """
    name = 'torch.histogram'
    _require_floating('histogram', input)
    _check_weight(name, weight, input.shape, input.dtype)
    low, high = range if range is not None else (None, None)
    values = input.reshape(-1)
    edges = _edges(name, values, bins, low, high, 0)
    return _histogram(values[:, None], [edges], weight, density), edges


@export(method=True)
def histogramdd(input, bins, *, range=None, weight=None, density=False):
    """Counts of the points in the rows of `input` (..., D) in boxes; arguments as `histogram`, one per dimension.

    bins: a number for all dimensions, or a list of numbers or of tensors of edges. range: D pairs, flat.
    """
    bins = list(bins) if isinstance(bins, (list, tuple)) else [bins] * (input.shape[-1] if input.ndim else 0)
    counts, *edges = boxes(input, bins, range=range, weight=weight, density=density)
    return return_type('histogramdd', ('hist', 'bin_edges'))(counts, tuple(edges))


@opaque(namespace='', method=False)
def boxes(m, input, bins, *, range=None, weight=None, density=False):
    """The counts of `histogramdd`, then the edges of each dimension."""
    name = 'torch.histogramdd'
    _require_floating('histogramdd', input)
    if input.ndim < 2:
        raise RuntimeError(f'{name}: input tensor should have at least 2 dimensions, but got {input.ndim}')
    count = input.shape[-1]
    if len(bins) != count:
        raise RuntimeError(f'{name}: expected {count} sequences of bin edges or numbers of bins, got {len(bins)}')
    if range is not None and len(range) != 2 * count:
        raise RuntimeError(f'{name}: for a {count}-dimensional histogram range should have {2 * count} elements, but '
                           f'got {len(range)}')
    _check_weight(name, weight, input.shape[:-1], input.dtype)
    values = input.reshape(-1, count)
    limits = [(None, None)] * count if range is None else list(zip(range[::2], range[1::2]))
    edges = [_edges(name, column, own, *limit, d)
             for d, (column, own, limit) in enumerate(zip(values.T, bins, limits))]
    return (_histogram(values, edges, weight, density), *edges)
