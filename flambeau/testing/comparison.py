"""Assertions that two results are close, with PyTorch's tolerances, and random tensors for tests."""
from __future__ import annotations

import math

import numpy as np

from .. import dtypes
from ..tensor import Tensor, wrap

__all__ = ['assert_close', 'assert_allclose', 'make_tensor', 'tolerances_of']

# dtype: (relative, absolute), as torch.testing documents them
TOLERANCES = {'float16': (1e-3, 1e-5), 'bfloat16': (1.6e-2, 1e-5), 'float32': (1.3e-6, 1e-5), 'float64': (1e-7, 1e-7),
              'complex64': (1.3e-6, 1e-5), 'complex128': (1e-7, 1e-7)}


def tolerances_of(*tensors):
    """The (relative, absolute) tolerances for results of these dtypes: the loosest of them."""
    pairs = [TOLERANCES.get(t.dtype.name, (0.0, 0.0)) for t in tensors]
    return max(p[0] for p in pairs), max(p[1] for p in pairs)


def assert_close(actual, expected, *, allow_subclasses=True, rtol=None, atol=None, equal_nan=False, check_device=True,
                 check_dtype=True, check_layout=True, check_stride=False, msg=None):
    """Raises AssertionError unless two results (tensors, numbers, or containers of them) are close.

    |actual - expected| <= atol + rtol * |expected|, with the tolerances of their dtype unless given.
    """
    if (rtol is None) != (atol is None):
        raise ValueError(f'Both tolerances must be specified or neither. Got {rtol=} and {atol=}')
    _compare(actual, expected, '', dict(rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=check_dtype,
                                        check_stride=check_stride, allow_subclasses=allow_subclasses, msg=msg))


def _fail(text, path, options):
    text = text + (f'\n\nThe failure occurred for item {path}' if path else '')
    msg = options['msg']
    raise AssertionError(msg(text) if callable(msg) else msg if msg is not None else text)


def _compare(actual, expected, path, options):
    if isinstance(expected, (list, tuple)) and isinstance(actual, (list, tuple)):
        if len(actual) != len(expected):
            _fail(f'The length of the sequences mismatch: {len(actual)} != {len(expected)}', path, options)
        for k, (a, e) in enumerate(zip(actual, expected)):
            _compare(a, e, f'{path}[{k}]', options)
        return
    if isinstance(expected, dict) and isinstance(actual, dict):
        if actual.keys() != expected.keys():
            _fail(f'The keys of the mappings do not match: {sorted(map(str, actual.keys() ^ expected.keys()))}', path,
                  options)
        for k in expected:
            _compare(actual[k], expected[k], f'{path}[{k!r}]', options)
        return
    if actual is None and expected is None:
        return
    for value in (actual, expected):
        if not isinstance(value, (Tensor, int, float, complex, np.ndarray, np.generic)):
            raise TypeError(f'No comparison pair was able to handle inputs of type {type(actual)} and '
                            f'{type(expected)}.')
    _compare_tensors(*(_tensor(v) for v in (actual, expected)), path, options,
                     numbers=not isinstance(actual, Tensor) and not isinstance(expected, Tensor))


def _tensor(value):
    if isinstance(value, Tensor):
        return value
    from ..ops.creation import as_tensor
    return as_tensor(np.asarray(value)) if not isinstance(value, np.ndarray) else as_tensor(value)


def _compare_tensors(actual, expected, path, options, numbers=False):
    if actual.shape != expected.shape:
        _fail(f'The values for attribute \'shape\' do not match: {actual.shape} != {expected.shape}.', path, options)
    if options['check_dtype'] and not numbers and actual.dtype is not expected.dtype:
        _fail(f'The values for attribute \'dtype\' do not match: {actual.dtype} != {expected.dtype}.', path, options)
    if options['check_stride'] and actual.stride() != expected.stride():
        _fail(f"The values for attribute 'stride()' do not match: {actual.stride()} != {expected.stride()}.", path,
              options)
    rtol, atol = (options['rtol'], options['atol']) if options['rtol'] is not None else tolerances_of(actual, expected)
    a, e = (_wide(t._array) for t in (actual, expected))
    difference, allowed = np.abs(a - e), atol + rtol * np.abs(e)
    close = (a == e) | (difference <= allowed) & np.isfinite(a) & np.isfinite(e)
    if options['equal_nan']:
        close |= np.isnan(a) & np.isnan(e)
    if close.all():
        return
    what = 'Scalars' if not a.ndim else 'Tensor-likes'
    how = 'close' if rtol or atol else 'equal'
    bad, at = int((~close).sum()), tuple(int(i) for i in np.argwhere(~np.atleast_1d(close))[0])
    worst = float(np.nanmax(np.where(close, 0, difference))) if not np.isnan(difference[~close]).all() else math.nan
    lines = [f'{what} are not {how}!', '']
    if a.ndim:
        lines.append(f'Mismatched elements: {bad} / {a.size} ({100 * bad / a.size:.1f}%)')
        lines.append(f'Greatest absolute difference: {worst} (up to {atol} allowed); first mismatch at index {at}: '
                     f'{a[at]} against {e[at]}')
    else:
        lines.append(f'Expected {e.item()} but got {a.item()}.')
        lines.append(f'Absolute difference: {worst} (up to {atol} allowed)')
    lines.append(f'Relative tolerance: {rtol}')
    _fail('\n'.join(lines), path, options)


def _wide(array):
    return array.astype(np.complex128 if array.dtype.kind == 'c' else np.float64) \
        if array.dtype.kind in 'fcV' else array.astype(object) if array.dtype == np.uint64 else array.astype(np.int64)


def assert_allclose(actual, expected, rtol=None, atol=None, equal_nan=True, msg=''):
    """The older form of `assert_close`, which does not compare dtypes."""
    assert_close(_tensor(actual), _tensor(expected), rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=False,
                 msg=msg or None)


def make_tensor(*shape, dtype, device=None, low=None, high=None, requires_grad=False, noncontiguous=False,
                exclude_zero=False, memory_format=None):
    """A random tensor with values from [low, high)."""
    from .. import rand, randint
    shape = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    wide = (*shape[:-1], 2 * shape[-1]) if noncontiguous and shape else shape
    if dtype.category <= dtypes.INTEGER:
        low = 0 if dtype is dtypes.bool_ or low is None and not dtype.is_signed else -9 if low is None else low
        high = 2 if dtype is dtypes.bool_ else 10 if high is None else high
        made = randint(int(low), int(high), wide).to(dtype)
    else:
        low, high = -9 if low is None else low, 9 if high is None else high
        real = dtype.to_real() if dtype.is_complex else dtypes.float64 if dtype is dtypes.float64 else dtypes.float32
        made = rand(wide, dtype=real) * (high - low) + low
        if dtype.is_complex:
            array = made._array + 1j * (rand(wide, dtype=real)._array * (high - low) + low)
            made = wrap(array.astype(dtype.numpy))
        made = made.to(dtype)
    if exclude_zero:
        made._array[made._array == 0] = 1
    if noncontiguous and shape:
        made = made[..., ::2]
    return made.requires_grad_() if requires_grad else made
