"""Several tensors into one: cat, stack and their relatives; repetition and rearrangement of whole dimensions."""
from __future__ import annotations

import functools

import numpy as np

from ..autograd.modes import OFF, PLAIN, STATE
from ..errors import require_tensors
from ..tensor import Parameter, Tensor, wrap
from .batching import along, in_batch, in_front, lined_up
from .definition import OPERATIONS, PUBLIC, export, opaque
from .overriding import answered, override
from .plans import MOVES
from .promotion import result_dtype
from .record import complete, record
from .reference import LARGE, REFERENCE, axes_of, zero_of
from .view import axis_of
from .writing import refuse_shared_out

__all__ = ['cat', 'stack']


def _cat_gradient(m, g, tensors_shape, dim):
    parts, at = [], 0
    axis = dim % len(g.shape)
    for shape in tensors_shape:
        if shape == (0,) and len(g.shape) > 1:
            parts.append(m.zeros_of((0,), g))
            continue
        parts.append(m.narrow(g, axis, at, shape[axis]))
        at += shape[axis]
    return parts


def _joined_in_batch(op, values, size):
    tensors, dim = values
    return op.public([in_batch(t, size) for t in tensors], dim + 1)


@opaque(name='_cat', namespace='', method=False, label='CatBackward0', batch=_joined_in_batch,
        grad={'tensors': _cat_gradient})
def _cat(m, tensors, dim):
    return m.cat(tensors, dim)


def _listed(name, tensors):
    if isinstance(tensors, Tensor):
        raise TypeError(f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor")
    if not hasattr(tensors, '__iter__'):
        raise TypeError(f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not "
                        f'{type(tensors).__name__}')
    tensors = list(tensors)
    if not tensors:
        kind = ValueError if name == 'cat' else RuntimeError
        raise kind(f'torch.{name}(): expected a non-empty list of Tensors, {name} expects a non-empty TensorList')
    return _all_tensors(tensors)


def _all_tensors(values):
    for k, value in enumerate(values):
        if not isinstance(value, Tensor):
            raise TypeError(f'expected Tensor as element {k} in argument 0, but got {type(value).__name__}')
    return values


def _alike(tensors):
    """The tensors in one dtype."""
    first = tensors[0]._array.dtype
    for t in tensors:
        if t._array.dtype is not first:
            target = result_dtype(tensors)
            return [PUBLIC.cast(t, target) for t in tensors]
    return tensors


def _joined(op, tensors, dim, fresh):
    """Few plain tensors of one dtype joined by an operation, along a new axis if `fresh` is 1; None for all others."""
    arrays, wanted = [], False
    for t in tensors:
        kind = t.__class__
        if kind is not Tensor and kind is not Parameter:
            return None
        if t._node is not None:
            wanted = True
        arrays.append(t._array)
    mode = STATE.recording
    if wanted and mode is not OFF and mode is not PLAIN:
        return None
    made = REFERENCE.joined(arrays, dim, fresh)
    if made is None:
        return None
    made = wrap(made)
    if wanted and mode is PLAIN and made._array.dtype.kind in 'fcV':
        values = tensors, dim
        node = made._node = record(op, values)
        if node is not None:
            complete(node, values, (made,), False)
    return made


def _delivered(name, result, out):
    from .contraction import write_out
    return result if out is None else write_out(name, result, out)


@export(aliases=('concat', 'concatenate'), asks=False)
def cat(tensors, dim=0, *, out=None):
    """The tensors one behind the other along an existing dimension. Empty 1-d tensors are passed over."""
    if out is None and dim.__class__ is int and (tensors.__class__ is list or tensors.__class__ is tuple):
        made = _joined(_cat.operation, tensors, dim, 0)
        if made is not None:
            return made
    if answered(tensors):
        return override(cat, (tensors, dim), {} if out is None else {'out': out})
    tensors = _listed('cat', tensors)
    shapes = [t._array.shape for t in tensors]
    rank = max(len(s) for s in shapes)
    if any(not s for s in shapes):
        raise RuntimeError(f'zero-dimensional tensor (at position {shapes.index(())}) cannot be concatenated')
    axis = axis_of(dim, rank)
    full = [k for k, s in enumerate(shapes) if s != (0,) or rank == 1]
    tensors = _alike(tensors)
    if not full:
        return _delivered('cat', tensors[0].clone(), out)
    like = shapes[full[0]]
    for k in full[1:]:
        s = shapes[k]
        if len(s) != len(like):
            raise RuntimeError(f'Tensors must have same number of dimensions: got {len(like)} and {len(s)}')
        for d, (n, want) in enumerate(zip(s, like)):
            if d != axis and n != want:
                raise RuntimeError(f'Sizes of tensors must match except in dimension {axis}. Expected size {want} but '
                                   f'got size {n} for tensor number {k} in the list. (shapes {list(like)} and '
                                   f'{list(s)})')
    if out is not None:
        refuse_shared_out('cat', tensors, out)
    return _delivered('cat', _cat([tensors[k] for k in full], axis), out)


def _cat_in_batch(tensors, dim=0):
    shapes = [t.shape for t in tensors]
    rank = max(map(len, shapes))
    tensors = [t for t, shape in zip(tensors, shapes) if shape != (0,) or rank == 1]
    return _cat(_alike(tensors), axis_of(dim, rank))


cat.batched = _cat_in_batch  # what vmap calls instead


@opaque(name='_stack', namespace='', method=False, label='StackBackward0', batch=_joined_in_batch,
        grad={'tensors': lambda m, g, dim: list(m.unbind(g, dim))})
def _stack(m, tensors, dim):
    return m.stack(tensors, dim)


@export(asks=False)
def stack(tensors, dim=0, *, out=None):
    """The tensors, all of one shape, along a new dimension."""
    if out is None and dim.__class__ is int and (tensors.__class__ is list or tensors.__class__ is tuple):
        made = _joined(_stack.operation, tensors, dim, 1)
        if made is not None:
            return made
    if answered(tensors):
        return override(stack, (tensors, dim), {} if out is None else {'out': out})
    tensors = _listed('stack', tensors)
    first = tensors[0]._array.shape
    for k, t in enumerate(tensors):
        if t._array.shape != first:
            raise RuntimeError(f'stack expects each tensor to be equal size, but got {list(first)} at entry 0 and '
                               f'{list(t.shape)} at entry {k}')
    return _delivered('stack', _stack(_alike(tensors), axis_of(dim, len(first) + 1)), out)


stack.batched = lambda tensors, dim=0: _stack(_alike(tensors), axis_of(dim, len(tensors[0].shape) + 1))


def _with_row(t):
    return t if t._array.ndim else t.reshape(1)


def _with_rows(t):
    return t if t._array.ndim > 1 else t.reshape(1, -1)


def _with_layers(t):
    return t if t._array.ndim > 2 else t.reshape(1, -1, 1) if t._array.ndim < 2 else t.unsqueeze(-1)


@export()
def atleast_1d(*tensors):
    """The tensors with at least one dimension."""
    return _each(tensors, _with_row)


@export()
def atleast_2d(*tensors):
    """The tensors with at least two dimensions."""
    return _each(tensors, _with_rows)


@export()
def atleast_3d(*tensors):
    """The tensors with at least three dimensions."""
    return _each(tensors, _with_layers)


def _each(tensors, convert):
    listed = len(tensors) == 1 and isinstance(tensors[0], (list, tuple))
    made = tuple(convert(t) for t in _all_tensors(tensors[0] if listed else tensors))
    return made if listed or len(made) != 1 else made[0]


@export(aliases=('row_stack',))
def vstack(tensors, *, out=None):
    """The tensors as rows below each other."""
    return cat([_with_rows(t) for t in _listed('vstack', tensors)], 0, out=out)


@export()
def hstack(tensors, *, out=None):
    """The tensors side by side."""
    tensors = [_with_row(t) for t in _listed('hstack', tensors)]
    return cat(tensors, 0 if tensors[0]._array.ndim == 1 else 1, out=out)


@export()
def dstack(tensors, *, out=None):
    """The tensors along a third dimension."""
    return cat([_with_layers(t) for t in _listed('dstack', tensors)], 2, out=out)


@export()
def column_stack(tensors, *, out=None):
    """The tensors, vectors as columns, side by side."""
    return cat([t if t.dim() > 1 else t.reshape(-1, 1) for t in _listed('column_stack', tensors)], 1, out=out)


@opaque(name='flip', namespace='', method=False, batch=along, replay=MOVES,
        grad={'input': lambda m, g, dims: m.flip(g, dims)})
def _flip(m, input, dims):
    return m.dense(np.flip(input, axes_of(tuple(dims), input.ndim) if dims else ()))


def _several(name, option, given, named):
    """Numbers given one by one, as one sequence or by name, as a tuple. Raises TypeError where there are none."""
    given = given if named is None else (named,)
    if not given:
        raise TypeError(f'{name}() missing 1 required positional arguments: "{option}"')
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], (tuple, list)) else given


@export(method=True, asks=False)
def flip(input, *places, dims=None):
    """The order of places along dimensions reversed, as a copy."""
    if input.__class__ is not Tensor and answered(input):
        return override(flip, (input, *places), {} if dims is None else {'dims': dims})
    return flip.batched(input, *places, dims=dims)


flip.batched = lambda input, *places, dims=None: _flip(input, _several('flip', 'dims', places, dims))


@export(method=True)
def fliplr(input):
    """The order of columns reversed."""
    if input.dim() < 2:
        raise RuntimeError('Input must be >= 2-d.')
    return flip(input, (1,))


@export(method=True)
def flipud(input):
    """The order of rows reversed."""
    if input.dim() < 1:
        raise RuntimeError('Input must be >= 1-d.')
    return flip(input, (0,))


def _negated(shifts):
    return tuple(-s for s in shifts) if isinstance(shifts, (tuple, list)) else -shifts


@opaque(batch=along, replay=MOVES, grad={'input': lambda m, g, shifts, dims: m.roll(g, _negated(shifts), dims)})
def roll(m, input, shifts, dims=None):
    """Places moved along dimensions, those that fall off the end coming in at the start."""
    if dims in (None, (), []):
        if isinstance(shifts, (tuple, list)) and len(shifts) != 1:
            raise RuntimeError(f'shifts and dimensions must align. shifts: {len(shifts)}, dims:0')
        return m.xp.roll(input, shifts)
    shifts = shifts if isinstance(shifts, (tuple, list)) else (shifts,)
    dims = dims if isinstance(dims, (tuple, list)) else (dims,)
    if len(shifts) != len(dims):
        raise RuntimeError(f'shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(dims)}')
    return m.xp.roll(input, tuple(shifts), tuple(axis_of(d, input.ndim) for d in dims))


@opaque(replay=MOVES, grad={'input': lambda m, g, k, dims: m.rot90(g, -k, dims)})
def rot90(m, input, k=1, dims=(0, 1)):
    """The plane of two dimensions turned by k quarters."""
    if len(dims) != 2:
        raise RuntimeError(f'expected total rotation dims == 2, but got dims = {len(dims)}')
    if input.ndim < 2:
        raise RuntimeError(f'expected total dims >= 2, but got total dims = {input.ndim}')
    if axis_of(dims[0], input.ndim) == axis_of(dims[1], input.ndim):
        raise RuntimeError(f'expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}')
    if not k % 2:
        return m.dense(input if k % 4 == 0 else m.xp.flip(input, tuple(dims)))
    return m.dense(m.xp.flip(input, dims[k % 4 == 1])).swapaxes(*dims)


def _repeat_gradient(m, g, input_shape, sizes):
    padded = (1,) * (len(sizes) - len(input_shape)) + input_shape
    split = tuple(n for pair in zip(sizes, padded) for n in pair)
    summed = m.sum(m.reshape(g, split), tuple(range(0, len(split), 2))) if split else g
    return m.reshape(summed, input_shape)


def _repeat_batched(op, values, size):
    return op.public(lined_up(values[0].tensor, len(values[1])), (1, *values[1]))


@opaque(name='repeat', namespace='', method=False, replay=MOVES, batch=_repeat_batched,
        grad={'input': _repeat_gradient})
def _repeat(m, input, sizes):
    sizes = tuple(n.__index__() for n in sizes)
    if len(sizes) < input.ndim:
        raise RuntimeError('Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor')
    if any(n < 0 for n in sizes):
        raise RuntimeError(f'Trying to create tensor with negative dimension {min(sizes)}: {list(sizes)}')
    shape = (1,) * (len(sizes) - input.ndim) + input.shape
    pairs = input.reshape([k for n in shape for k in (1, n)])
    wide = np.broadcast_to(pairs, [k for pair in zip(sizes, shape) for k in pair])
    return m.dense(wide).reshape([r * n for r, n in zip(sizes, shape)])


@export('', method=True, asks=False)
def repeat(input, *sizes, repeats=None):
    """The tensor repeated so many times along each dimension."""
    if input.__class__ is not Tensor and answered(input):
        return override(repeat, (input, *sizes), {} if repeats is None else {'repeats': repeats})
    return repeat.batched(input, *sizes, repeats=repeats)


repeat.batched = lambda input, *sizes, repeats=None: _repeat(input, _several('repeat', 'repeats', sizes, repeats))


@export(method=True, asks=False)
def tile(input, *sizes, dims=None):
    """The tensor repeated along dimensions, counted from the last."""
    if input.__class__ is not Tensor:
        if answered(input):
            return override(tile, (input, *sizes), {} if dims is None else {'dims': dims})
        require_tensors('tile', input=input)
    return _tile(input, *sizes, dims=dims)


def _tile(input, *sizes, dims=None):
    dims = _several('tile', 'dims', sizes, dims)
    return _repeat(input, (1,) * (input.dim() - len(dims)) + dims)


tile.batched = _tile


def _interleave_gradient(m, g, input_shape, repeats, dim):
    shape = input_shape if dim is not None else (int(np.prod(input_shape)),)
    axis = dim % len(shape) if dim is not None else 0
    if isinstance(repeats, int):
        wide = (*shape[:axis], shape[axis], repeats, *shape[axis + 1:])
        return m.reshape(m.sum(m.reshape(g, wide), axis + 1), input_shape)
    counts = repeats.tolist()
    index = np.repeat(np.arange(shape[axis]), counts if len(counts) > 1 else counts * shape[axis])
    from ..tensor import wrap
    index = wrap(index) if isinstance(g, Tensor) else index
    return m.reshape(m.index_add(m.zeros_of(shape, g), axis, index, g), input_shape)


@opaque(name='_repeat_interleave', namespace='', method=False, label='RepeatInterleaveBackward0', replay=MOVES,
        grad={'input': _interleave_gradient})
def _repeat_interleave(m, input, repeats, dim):
    return m.xp.repeat(input, repeats, dim)


@export(method=True)
def repeat_interleave(input, repeats=None, dim=None, *, output_size=None):
    """Each element repeated, flattened unless along a dimension; of counts alone, the places they stand for."""
    if repeats.__class__ is int and repeats >= 0:
        return _repeat_interleave(input, repeats, dim)
    if repeats is None:
        from ..tensor import wrap
        return wrap(np.repeat(np.arange(input.numel()), input._array))
    if isinstance(repeats, Tensor):
        if repeats.dim() > 1:
            raise RuntimeError('repeats must be 0-dim or 1-dim tensor')
        if repeats.dtype.name not in ('int32', 'int64'):
            raise RuntimeError(f'repeats has to be Long or Int tensor, got {repeats.dtype}')
        size = input.numel() if dim is None else input.shape[dim]
        if repeats.dim() and repeats.numel() not in (1, size):
            raise RuntimeError(f'repeats must have the same size as input along dim, but got repeats.size(0) = '
                               f'{repeats.numel()} and input.size({dim}) = {size}')
    if np.any(np.less(getattr(repeats, '_array', repeats), 0)):
        raise RuntimeError('repeats can not be negative')
    if isinstance(repeats, Tensor) and repeats.numel() == 1:
        repeats = int(repeats.item())
    return _repeat_interleave(input, repeats, dim)


@functools.lru_cache(maxsize=64)
def _triangle(name, rows, columns, diagonal):
    """Where a triangle of matrices is."""
    return getattr(np, name)(np.ones((rows, columns), bool), diagonal)


def _triangular(name):
    @opaque(name=name, inplace=True, batch=in_front, replay=MOVES,
            grad={'input': lambda m, g, diagonal: getattr(m, name)(g, diagonal)})
    def triangle(m, input, diagonal=0):
        if input.ndim < 2:
            raise RuntimeError(f'{name}: input tensor must have at least 2 dimensions')
        shape = input.shape[-2:]
        if input.size > LARGE:
            made = m.kernel('layout.triangle', input, int(diagonal), name == 'triu')
            return getattr(m.xp, name)(input, diagonal) if made is None else made
        return m.xp.where(_triangle(name, *shape, diagonal), input, zero_of(input.dtype))
    triangle.__doc__ = f'The {"lower" if name == "tril" else "upper"} triangle of matrices, zeros elsewhere.'
    return triangle


tril, triu = _triangular('tril'), _triangular('triu')


@export(method=True)
def diag(input, diagonal=0, *, out=None):
    """The diagonal of a matrix, or the matrix with a vector on its diagonal."""
    rank = input.dim()
    if rank == 2:
        made = _diagonal_copy(input, diagonal)
    elif rank == 1:
        made = diag_embed(input, diagonal)
    else:
        raise RuntimeError(f'diag(): Supports 1D or 2D tensors. Got {rank}D')
    return made if out is None else _delivered('diag', made, out)


@opaque(name='_diagonal_copy', namespace='', method=False, label='DiagonalBackward0_copy', replay=MOVES, grad={
    'input': lambda m, g, input_shape, offset: m.view_adjoint(g, OPERATIONS['diagonal'], input_shape, (offset, 0, 1))})
def _diagonal_copy(m, input, offset):
    return m.dense(input.diagonal(offset))


@opaque(replay=MOVES, grad={'input': lambda m, g, offset, dim1, dim2: m.diagonal(g, offset, dim1, dim2)})
def diag_embed(m, input, offset=0, dim1=-2, dim2=-1):
    """Matrices over two new dimensions with the last one on their diagonal."""
    ndim = input.ndim + 1
    a, b = axis_of(dim1, ndim), axis_of(dim2, ndim)
    if a == b:
        raise RuntimeError(f'diagonal dimensions cannot be identical {dim1}, {dim2}')
    n = input.shape[-1] + abs(offset)
    made = m.xp.zeros((*input.shape[:-1], n, n), input.dtype)
    rows = np.arange(input.shape[-1]) + max(-offset, 0)
    made[..., rows, rows + offset] = input
    return np.moveaxis(made, (-2, -1), (a, b))


@export(method=True)
def diagflat(input, offset=0):
    """The matrix with all elements on its diagonal."""
    return diag_embed(input.reshape(-1), offset)


@export(method=True)
def block_diag(*tensors):
    """Matrices along the diagonal of one."""
    for k, t in enumerate(tensors):
        require_tensors('block_diag', tensors=t)
        if t.dim() > 2:
            raise RuntimeError(f'torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {k} has '
                               f'{t.dim()} dimensions')
    tensors = [t if t.dim() == 2 else t.reshape(1, -1) for t in tensors] or [wrap(np.empty((1, 0), np.float32))]
    return _block_diag(_alike(tensors))


def _blocks(tensors):
    """The places of matrices along a diagonal, one behind the other."""
    down = across = 0
    for t in tensors:
        rows, columns = t.shape
        yield slice(down, down + rows), slice(across, across + columns)
        down, across = down + rows, across + columns


@opaque(namespace='', method=False, label='BlockDiagBackward0',
        grad={'tensors': lambda m, g, tensors: [g[block] for block in _blocks(tensors)]})
def _block_diag(m, tensors):
    made = m.xp.zeros([sum(t.shape[k] for t in tensors) for k in (0, 1)], tensors[0].dtype)
    for t, block in zip(tensors, _blocks(tensors)):
        made[block] = t
    return made


@export()
def meshgrid(*tensors, indexing=None):
    """Coordinates on a grid spanned by vectors; indexing 'ij' (the default) or 'xy'."""
    tensors = list(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else list(tensors)
    if not tensors:
        raise RuntimeError('meshgrid expects a non-empty TensorList')
    if indexing not in (None, 'ij', 'xy'):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    if len({t.dtype for t in _all_tensors(tensors)}) > 1:
        raise RuntimeError('torch.meshgrid expects all tensors to have the same dtype')
    if any(t.dim() > 1 for t in tensors):
        raise RuntimeError('torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: '
                           f'{next(t for t in tensors if t.dim() > 1)}')
    swap = indexing == 'xy' and len(tensors) > 1
    if swap:
        tensors[:2] = tensors[1::-1]
    shape = tuple(t.numel() for t in tensors)
    grids = [t.reshape((1,) * k + (-1,) + (1,) * (len(tensors) - k - 1)).expand(shape) for k, t in enumerate(tensors)]
    if swap:
        grids[:2] = grids[1::-1]
    return tuple(grids)


@export()
def broadcast_tensors(*tensors):
    """The tensors expanded to their common shape."""
    tensors = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    shape = broadcast_shapes(*(t.shape for t in _all_tensors(tensors)))
    return tuple(t.expand(shape) for t in tensors)


@export()
def broadcast_shapes(*shapes):
    """The shape that several shapes broadcast to. Raises RuntimeError where they do not."""
    from ..tensor import Size
    try:
        return Size(np.broadcast_shapes(*shapes))
    except ValueError as error:
        raise RuntimeError(f'Shape mismatch: objects cannot be broadcast to a single shape: {list(shapes)}') from error


@export()
def cartesian_prod(*tensors):
    """All combinations of elements of vectors, as rows."""
    if len(tensors) == 1:
        return tensors[0]
    return stack([g.reshape(-1) for g in meshgrid(*tensors)], 1)


@export()
def combinations(input, r=2, with_replacement=False):
    """All combinations of r elements of a vector, as rows."""
    if input.dim() != 1:
        raise RuntimeError(f'Expect a 1D vector, but got shape {list(input.shape)}')
    if r < 0:
        raise RuntimeError(f'Expect a non-negative number, but got {r}')
    if r == 0:
        return input.new_empty(0)
    places = np.arange(input.numel())[:, None]
    for _ in range(r - 1):  # each row goes on with all places behind its last
        first = places[:, -1] + (not with_replacement)
        counts = input.numel() - first
        begin = np.cumsum(counts) - counts
        added = np.arange(counts.sum()) - np.repeat(begin - first, counts)
        places = np.column_stack([np.repeat(places, counts, 0), added])
    return input[wrap(places)]
