"""Windows for signals: weights that fall off towards both ends. Formulas run over places, in double precision."""
from __future__ import annotations

import math

import numpy as np

from .. import dtypes
from ..device import resolve
from ..errors import ArgumentError, ArgumentTypeError
from ..tensor import strided, wrap
from .definition import export

__all__ = ['cosines']


def _places(M, sym):
    """0..M-1, and the length of the period: for a symmetric window the last place is its end."""
    return np.arange(M, dtype=np.float64), M - 1 if sym else M


def cosines(M, a, sym):
    """The sum of (-1)**k * a[k] * cos(2 pi k n / N)."""
    places, period = _places(M, sym)
    return sum((-1) ** k * c * np.cos(2 * math.pi * k * places / period) for k, c in enumerate(a))


def _hamming_sum(M, alpha, sym):
    return cosines(M, (alpha, 1 - alpha), sym)


def _coefficients(a):
    if not isinstance(a, (list, tuple)) and not hasattr(a, '__iter__'):
        raise ArgumentTypeError('Coefficients must be a list/tuple')
    a = tuple(a)
    if not a:
        raise ArgumentError('Coefficients cannot be empty')
    return a


def _triangle(M, sym):
    places, period = _places(M, sym)
    return 1 - np.abs(2 * places / period - 1)


def _half_sine(M, sym):
    return np.sin(math.pi * (np.arange(M) + 0.5) / (M if sym else M + 1))


def _exponential(M, center, tau, sym):
    if tau <= 0:
        raise ArgumentError(f'Tau must be positive, got: {tau} instead.')
    if sym and center is not None:
        raise ArgumentError('Center must be None for symmetric windows')
    places, period = _places(M, sym)
    return np.exp(-np.abs(places - (period / 2 if center is None else center)) / tau)


def _gaussian(M, std, sym):
    if std <= 0:
        raise ArgumentError(f'Standard deviation must be positive, got: {std} instead.')
    places, period = _places(M, sym)
    return np.exp(-0.5 * ((places - period / 2) / std) ** 2)


def _kaiser_values(M, beta, sym):
    places, period = _places(M, sym)
    across = 2 * places / period - 1
    return np.i0(beta * np.sqrt(np.maximum(1 - across * across, 0))) / np.i0(beta)


def _kaiser(M, beta, sym):
    if beta < 0:
        raise ArgumentError(f'beta must be non-negative, got: {beta} instead.')
    return _kaiser_values(M, beta, sym)


NUTTALL = (0.3635819, 0.4891775, 0.1365995, 0.0106411)
BLACKMAN = (0.42, 0.5, 0.08)

# name: (parameters with defaults that come between M and sym, values(M, parameters..., sym), what it is)
WINDOWS = {
    'bartlett': ({}, _triangle, 'A triangle.'),
    'blackman': ({}, lambda M, sym: cosines(M, BLACKMAN, sym), 'The Blackman window, a sum of three cosines.'),
    'cosine': ({}, _half_sine, 'Half a period of a sine.'),
    'exponential': ({'center': None, 'tau': 1.0}, _exponential, 'exp(-|n - center| / tau).'),
    'gaussian': ({'std': 1.0}, _gaussian, 'A Gaussian bell of standard deviation `std`.'),
    'general_cosine': ({'a': ...}, lambda M, a, sym: cosines(M, _coefficients(a), sym),
                       'A sum of cosines with coefficients `a` of alternating sign.'),
    'general_hamming': ({'alpha': 0.54}, _hamming_sum, 'alpha - (1 - alpha) * cos(2 pi n / N).'),
    'hamming': ({}, lambda M, sym: _hamming_sum(M, 0.54, sym), 'The Hamming window.'),
    'hann': ({}, lambda M, sym: _hamming_sum(M, 0.5, sym), 'The Hann window, a raised cosine.'),
    'kaiser': ({'beta': 12.0}, _kaiser, 'The Kaiser window of shape `beta`.'),
    'nuttall': ({}, lambda M, sym: cosines(M, NUTTALL, sym), 'The Nuttall window, a sum of four cosines.'),
}


def _publish(name, parameters, values, doc):
    """The window in torch.signal.windows: symmetric unless `sym` is False, float32 or float64."""
    def window(M, *, sym=True, dtype=None, layout=strided, device=None, requires_grad=False, **given):
        unknown = given.keys() - parameters.keys()
        missing = [p for p, default in parameters.items() if default is ... and p not in given]
        if unknown or missing:
            raise TypeError(f'{name}() got an unexpected keyword argument {unknown.pop()!r}' if unknown else
                            f'{name}() missing 1 required keyword-only argument: {missing[0]!r}')
        dtype = dtype or dtypes.get_default_dtype()
        if M < 0:
            raise ArgumentError(f'{name} requires non-negative window length, got M={M}')
        if layout is not strided:
            raise ArgumentError(f'{name} is implemented for strided tensors only, got: {layout}')
        if dtype not in (dtypes.float32, dtypes.float64):
            raise ArgumentError(f'{name} expects float32 or float64 dtypes, got: {dtype}')
        resolve(device)
        made = values(M, *({**parameters, **given}).values(), sym) if M != 1 else np.ones(1)
        return wrap(made.astype(dtype.numpy)).requires_grad_(requires_grad)
    window.__name__ = window.__qualname__ = name
    window.__doc__ = doc
    export('signal.windows', lenient=('a',))(window)


for _name, _entry in WINDOWS.items():
    _publish(_name, *_entry)


def _publish_old(name, parameters, values, doc):
    """The window as torch.NAME_window: periodic unless told otherwise."""
    title = name + '_window'

    def window(window_length, periodic=True, *args, dtype=None, layout=None, device=None, pin_memory=False,
               requires_grad=False, **given):
        dtype = dtype or dtypes.get_default_dtype()
        if window_length < 0:
            raise RuntimeError(f'{title} requires non-negative window_length, got window_length={window_length}')
        if dtype.category != dtypes.FLOAT:
            raise RuntimeError(f'{title} expects floating point dtypes, got: {dtype}')
        if len(args) > len(parameters) or given.keys() - parameters.keys():
            raise TypeError(f'{title}(): unexpected arguments {list(args[len(parameters):]) or sorted(given)}')
        resolve(device)
        settings = {**parameters, **dict(zip(parameters, args)), **given}.values()
        made = values(window_length, *settings, not periodic) if window_length != 1 else np.ones(1)
        return wrap(made.astype(dtype.numpy)).requires_grad_(requires_grad)
    window.__name__ = window.__qualname__ = title
    window.__doc__ = doc + ' One period of it unless `periodic` is False.'
    export('torch')(window)


for _name, _parameters, _values in (
        ('bartlett', {}, _triangle), ('blackman', {}, WINDOWS['blackman'][1]), ('hann', {}, WINDOWS['hann'][1]),
        ('hamming', {'alpha': 0.54, 'beta': 0.46}, lambda M, alpha, beta, sym: cosines(M, (alpha, beta), sym)),
        ('kaiser', {'beta': 12.0}, _kaiser_values)):
    _publish_old(_name, _parameters, _values, WINDOWS[_name][2])
