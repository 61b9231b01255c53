"""Fourier transforms, of whole signals and of windows that slide over them.

Three operations make all transforms: complex to complex over several dimensions, real to half-complex and half-complex
to real over one. Each has the others as its gradient.
"""
from __future__ import annotations

import math

import numpy as np

from ..errors import ArgumentTypeError, warn
from .. import dtypes
from ..tensor import wrap
from .batching import along
from .definition import PUBLIC, export, opaque
from .publishing import published
from .view import axis_of

__all__ = ['fft', 'ifft', 'rfft', 'irfft', 'stft', 'istft']


# ---- the three transforms; `forward` says the sign of the exponent, `scale` multiplies the unscaled sum

def _scaled(x, scale):
    return x if scale == 1 else x * scale


def _unscaled(xp, x, dims, forward):
    return xp.fft.fftn(x, axes=dims) if forward else xp.fft.ifftn(x, axes=dims, norm='forward')


@opaque(batch=along, name='_fft_c2c', namespace='', method=False, label='FftC2CBackward0', grad={
    'input': lambda m, g, dims, forward, scale: m._fft_c2c(g, dims, not forward, scale)})
def _fft_c2c(m, input, dims, forward, scale):
    return _scaled(_unscaled(m.xp, input, dims, forward), scale) if dims else input.copy()


def _real_input_gradient(m, g, input_shape, dim, forward, scale):
    """The sum runs over the half that is there: the rest is filled with zeros."""
    missing = input_shape[dim] - g.shape[dim]
    if missing:
        shape = [missing if k == dim else n for k, n in enumerate(g.shape)]
        g = m.cat([g, m.zeros_of(tuple(shape), g)], dim)
    return m.real_of(m._fft_c2c(g, (dim,), not forward, scale))


@opaque(batch=along, name='_fft_r2c', namespace='', method=False, label='FftR2CBackward0',
        grad={'input': _real_input_gradient})
def _fft_r2c(m, input, dim, forward, scale):
    """The first half of the transform of real numbers."""
    half = _scaled(m.xp.fft.rfft(input, axis=dim), scale)
    return half if forward else half.conj()


def _real_output_gradient(m, g, input_shape, dim, forward, scale, n):
    made = m._fft_r2c(g, dim, not forward, scale)
    twice = np.full(input_shape[dim], 2.0)
    twice[0] = 1.0
    if n % 2 == 0:
        twice[-1] = 1.0
    shape = [1] * len(input_shape)
    shape[dim] = -1
    return made * m.constant_like(twice.reshape(shape), made)


@opaque(name='constant_like', namespace='', method=False)
def constant_like(m, values, like):
    """An array of numbers in the dtype of `like`."""
    return values.astype(like.dtype)


@opaque(batch=along, name='_fft_c2r', namespace='', method=False, label='FftC2RBackward0',
        grad={'input': _real_output_gradient})
def _fft_c2r(m, input, dim, forward, scale, n):
    """`n` real numbers from the first half of a Hermitian spectrum; what is imaginary at its ends does not count."""
    half = input.conj() if forward else input
    return _scaled(m.xp.fft.irfft(half, n, axis=dim, norm='forward'), scale)


# ---- arguments

def _operand(name, input, complex_=False, real=False):
    """The input in a dtype that has a transform: integers become the default dtype."""
    if real and input.is_complex():
        raise RuntimeError(f'{name} expects a real input tensor, but got {input.dtype}')
    if input.dtype in dtypes.HALVES:
        raise RuntimeError(f'{name}: Unsupported dtype {input.dtype}: use .float() first')
    if input.dtype.category < dtypes.FLOAT:
        input = input.to(dtypes.get_default_dtype())
    return input.to(input.dtype.to_complex()) if complex_ else input


def _scale(name, norm, count, forward):
    """What the sum over `count` places is multiplied by."""
    if norm is not None and not isinstance(norm, str):
        raise ArgumentTypeError(f"{name}(): argument 'norm' must be str, not {type(norm).__name__}")
    if norm not in (None, 'backward', 'ortho', 'forward'):
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    if norm == 'ortho':
        return 1 / math.sqrt(count)
    return 1 / count if forward == (norm == 'forward') else 1


def _resized(x, dim, n):
    """`x` cut off or filled up with zeros to size `n` along a dimension."""
    size = x.shape[dim]
    if size > n:
        return x.narrow(dim, 0, n)
    if size < n:
        return PUBLIC.cat([x, x.new_zeros([n - size if k == dim else s for k, s in enumerate(x.shape)])], dim)
    return x


def _length(name, n):
    if n < 1:
        raise RuntimeError(f'Invalid number of data points ({n}) specified')
    return n


def _axis(input, dim):
    if not input.dim():
        axis_of(dim, 0)
        raise IndexError('Dimension specified as 0 but tensor has no dimensions: there is nothing to transform')
    return axis_of(dim, input.dim())


def _sizes(name, input, s, dim, last=None):
    """(sizes, dimensions) of a transform over several; last(size) is the default of the last one's."""
    ndim = input.dim()
    if dim is not None:
        dim = (dim,) if isinstance(dim, int) else tuple(dim)
        dims = [axis_of(d, ndim) for d in dim]
        if len(set(dims)) != len(dims):
            raise RuntimeError('FFT dims must be unique')
    if s is not None:
        s = (s,) if isinstance(s, int) else tuple(s)
        if dim is None:
            if len(s) > ndim:
                raise RuntimeError(f'Got shape with {len(s)} values but input tensor only has {ndim} dimensions.')
            dims = list(range(ndim - len(s), ndim))
        elif len(s) != len(dims):
            raise RuntimeError(f'When given, dim and shape arguments must have the same length, got {len(dims)} and '
                               f'{len(s)}')
    elif dim is None:
        dims = list(range(ndim))
    if last is not None and not dims:
        raise RuntimeError(f'{name} must transform at least one axis')
    sizes = [input.shape[d] for d in dims]
    if last is not None:
        sizes[-1] = last(sizes[-1])
    if s is not None:
        sizes = [size if n == -1 else n for n, size in zip(s, sizes)]
    for n in sizes:
        _length(name, n)
    return sizes, dims


# ---- over one dimension

def _complex_transform(name, forward):
    @published('fft', name=name)
    def transform(input, n=None, dim=-1, norm=None):
        axis = _axis(input, dim)
        x = _operand(name, input, complex_=True)
        n = _length(name, x.shape[axis] if n is None else n)
        return _fft_c2c(_resized(x, axis, n), (axis,), forward, _scale(name, norm, n, forward))
    transform.__doc__ = f'The {"" if forward else "inverse "}Fourier transform along a dimension, of `n` places.'
    return transform


fft, ifft = _complex_transform('fft', True), _complex_transform('ifft', False)


def _from_real(name, forward):
    @published('fft', name=name)
    def transform(input, n=None, dim=-1, norm=None):
        axis = _axis(input, dim)
        x = _operand(name, input, real=True)
        n = _length(name, x.shape[axis] if n is None else n)
        return _fft_r2c(_resized(x, axis, n), axis, forward, _scale(name, norm, n, forward))
    transform.__doc__ = (f'The first half of the {"" if forward else "inverse "}Fourier transform of real numbers; the '
                         'rest is its mirror image.')
    return transform


rfft, ihfft = _from_real('rfft', True), _from_real('ihfft', False)


def _to_real(name, forward):
    @published('fft', name=name)
    def transform(input, n=None, dim=-1, norm=None):
        axis = _axis(input, dim)
        x = _operand(name, input, complex_=True)
        n = _length(name, 2 * (x.shape[axis] - 1) if n is None else n)
        return _fft_c2r(_resized(x, axis, n // 2 + 1), axis, forward, _scale(name, norm, n, forward), n)
    transform.__doc__ = (f'The real {"" if forward else "inverse "}Fourier transform of the first half of a Hermitian '
                         'signal; `n` is the number of places of the result.')
    return transform


hfft, irfft = _to_real('hfft', True), _to_real('irfft', False)


# ---- over several dimensions

def _resized_all(x, dims, sizes):
    for d, n in zip(dims, sizes):
        x = _resized(x, d, n)
    return x


def _complex_over(input, s, dim, norm, name, forward):
    x = _operand(name, input, complex_=True)
    sizes, dims = _sizes(name, x, s, dim)
    return _fft_c2c(_resized_all(x, dims, sizes), tuple(dims), forward, _scale(name, norm, math.prod(sizes), forward))


def _from_real_over(input, s, dim, norm, name, forward):
    x = _operand(name, input, real=True)
    sizes, dims = _sizes(name, x, s, dim, last=lambda n: n)
    half = _fft_r2c(_resized_all(x, dims, sizes), dims[-1], forward, _scale(name, norm, math.prod(sizes), forward))
    return _fft_c2c(half, tuple(dims[:-1]), forward, 1) if len(dims) > 1 else half


def _to_real_over(input, s, dim, norm, name, forward):
    x = _operand(name, input, complex_=True)
    sizes, dims = _sizes(name, x, s, dim, last=lambda n: 2 * (n - 1))
    x = _resized_all(x, dims, [*sizes[:-1], sizes[-1] // 2 + 1])
    if len(dims) > 1:
        x = _fft_c2c(x, tuple(dims[:-1]), forward, 1)
    return _fft_c2r(x, dims[-1], forward, _scale(name, norm, math.prod(sizes), forward), sizes[-1])


def _over_several(base, compute, forward, words):
    """Publishes the forms for several and for two dimensions."""
    def declare(name, default, count):
        @published('fft', name=name)
        def transform(input, s=None, dim=default, norm=None):
            return compute(input, s, dim, norm, name, forward)
        transform.__doc__ = f'{words} over {count} dimensions.'
    declare(base + 'n', None, 'several')
    declare(base + '2', (-2, -1), 'two')


_over_several('fft', _complex_over, True, 'The Fourier transform')
_over_several('ifft', _complex_over, False, 'The inverse Fourier transform')
_over_several('rfft', _from_real_over, True,
              'The Fourier transform of real numbers, the first half of the last dimension,')
_over_several('ihfft', _from_real_over, False,
              'The inverse Fourier transform of real numbers, the first half of the last dimension,')
_over_several('irfft', _to_real_over, False, 'The real inverse Fourier transform of a half Hermitian signal')
_over_several('hfft', _to_real_over, True, 'The real Fourier transform of a half Hermitian signal')


# ---- frequencies and their order

@export('fft')
def fftfreq(n, d=1.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False):
    """The frequencies of a transform of `n` places that are `d` apart."""
    return _frequencies(np.fft.fftfreq(n, 1.0), d, dtype, out, requires_grad)


@export('fft')
def rfftfreq(n, d=1.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False):
    """The frequencies of the first half of a transform of `n` places that are `d` apart."""
    return _frequencies(np.fft.rfftfreq(n, 1.0), d, dtype, out, requires_grad)


def _frequencies(values, d, dtype, out, requires_grad):
    dtype = dtype or (dtypes.get_default_dtype() if out is None else out.dtype)
    if dtype.category < dtypes.FLOAT:
        raise RuntimeError(f'fftfreq requires a floating point or complex dtype, got {dtype}')
    made = wrap((values / d).astype(dtype.numpy))
    if out is not None:
        return out.resize_(made.shape).copy_(made)
    return made.requires_grad_(requires_grad)


def _shifting(name, half, words):
    @export('fft', name=name)
    def shift(input, dim=None):
        dims = tuple(range(input.dim())) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
        return PUBLIC.roll(input, tuple(half(input.shape[d]) for d in dims), dims)
    shift.__doc__ = words


_shifting('fftshift', lambda n: n // 2, 'A spectrum with frequency 0 moved to the middle.')
_shifting('ifftshift', lambda n: (n + 1) // 2, 'The inverse of `fftshift`.')


# ---- windows that slide over a signal

def _short_time_window(name, window, win_length, n_fft, like):
    """The window with zeros around it to size `n_fft`."""
    if window is None:
        window = PUBLIC.ones(win_length, dtype=like.dtype.to_real())
    elif window.dim() != 1 or window.shape[0] != win_length:
        raise RuntimeError(f'{name}: expected a 1D window tensor of size equal to win_length={win_length}, but got '
                           f'window with size {list(window.shape)}')
    left = (n_fft - win_length) // 2
    return PUBLIC.cat([window.new_zeros(left), window, window.new_zeros(n_fft - win_length - left)]) \
        if win_length < n_fft else window


def _steps(name, n_fft, hop_length, win_length):
    hop = n_fft // 4 if hop_length is None else hop_length
    length = n_fft if win_length is None else win_length
    if hop <= 0:
        raise RuntimeError(f'{name}: expected hop_length > 0, but got hop_length={hop}')
    if not 0 < length <= n_fft:
        raise RuntimeError(f'{name}: expected 0 < win_length <= n_fft, but got win_length={length}')
    return hop, length


@export(method=True)
def stft(input, n_fft, hop_length=None, win_length=None, window=None, center=True, pad_mode='reflect', normalized=False,
         onesided=None, return_complex=None, align_to_window=None):
    """The Fourier transforms of windows of a signal (..., L), `hop_length` apart: (..., frequencies, windows).

    Raises RuntimeError for windows that do not fit the signal, and where `return_complex` must be given.
    """
    complex_ = input.is_complex() or window is not None and window.is_complex()
    if return_complex is None:
        if not complex_:
            raise RuntimeError('stft requires the return_complex parameter be given for real inputs, and will further '
                               'require that return_complex=True in a future PyTorch release.')
        return_complex = True
    if input.dtype.category < dtypes.FLOAT:
        raise RuntimeError(f'stft: expected a tensor of floating point or complex values, got {input.dtype}')
    if input.dim() not in (1, 2):
        raise RuntimeError(f'stft: expected a 1D or 2D tensor, got {input.dim()}D')
    if align_to_window is not None and center:
        raise RuntimeError('stft: align_to_window should only be set when center = false')
    hop, length = _steps('stft', n_fft, hop_length, win_length)
    x = input if input.dim() == 2 else input.unsqueeze(0)
    if center:
        x = PUBLIC.pad(x.unsqueeze(1), (n_fft // 2, n_fft // 2), mode=pad_mode).squeeze(1)
    if align_to_window:
        before = (n_fft - length) // 2
        x = PUBLIC.pad(x, (before, before))
    if not 0 < n_fft <= x.shape[-1]:
        raise RuntimeError(f'stft: expected 0 < n_fft <= {x.shape[-1]}, but got n_fft={n_fft}')
    frames = x.unfold(-1, n_fft, hop)
    if window is not None or length < n_fft:
        frames = frames * _short_time_window('stft', window, length, n_fft, input)
    onesided = not complex_ if onesided is None else onesided
    if onesided and complex_:
        raise RuntimeError('Cannot have onesided output if window or input is complex')
    spectrum = (rfft if onesided else fft)(frames, norm='ortho' if normalized else None).transpose(-2, -1)
    spectrum = spectrum if input.dim() == 2 else spectrum.squeeze(0)
    return spectrum if return_complex else PUBLIC.view_as_real(spectrum.contiguous())


@export(method=True)
def istft(input, n_fft, hop_length=None, win_length=None, window=None, center=True, normalized=False, onesided=None,
          length=None, return_complex=False):
    """The signal whose `stft` is nearest to `input`: windows are added up and divided by the sum of their squares.

    Raises RuntimeError where the windows leave out a part of the signal.
    """
    if not input.is_complex():
        raise RuntimeError(f'istft requires a complex-valued input tensor matching the output from stft with '
                           f'return_complex=True, got {input.dtype}')
    if input.dim() not in (2, 3) or not input.numel():
        raise RuntimeError(f'istft: expected a tensor with 2 or 3 dimensions that is not empty, got shape '
                           f'{list(input.shape)}')
    hop, width = _steps('istft', n_fft, hop_length, win_length)
    if hop > width:
        raise RuntimeError(f'istft: expected 0 < hop_length <= win_length, got {hop} and {width}')
    onesided = input.shape[-2] != n_fft if onesided is None else onesided
    expected = n_fft // 2 + 1 if onesided else n_fft
    if input.shape[-2] != expected:
        raise RuntimeError(f'istft: expected the frequency dimension (3rd to the last) of the input tensor to match '
                           f'n_fft / 2 + 1 when onesided=True, or n_fft, but got {input.shape[-2]} for n_fft={n_fft}')
    if return_complex and onesided:
        raise RuntimeError('cannot have onesided output if window or input is complex')
    if not return_complex and window is not None and window.is_complex():
        raise RuntimeError('Complex windows are incompatible with return_complex=False')
    window = _short_time_window('istft', window, width, n_fft, input)
    frames = (input if input.dim() == 3 else input.unsqueeze(0)).transpose(-2, -1)
    norm = 'ortho' if normalized else None
    if return_complex:
        frames = ifft(frames, norm=norm)
    else:
        frames = irfft(frames.narrow(-1, 0, n_fft // 2 + 1), n_fft, norm=norm)
    total = n_fft + hop * (frames.shape[1] - 1)
    signal = _added_up(frames * window, total, hop)
    weight = _added_up((window * window).expand(1, frames.shape[1], n_fft), total, hop)
    start = n_fft // 2 if center else 0
    end = start + length if length is not None else total - (n_fft // 2 if center else 0)
    signal, weight = signal[:, start:end], weight[:, start:end]
    if weight.numel() and float(weight.abs().min().item()) < 1e-11:
        raise RuntimeError(f'window overlap add min: {weight.abs().min().item():g}: the windows leave out a part of '
                           'the signal')
    signal = signal / weight
    if end > total:
        warn('The length of signal is shorter than the length parameter. Result is being padded with zeros in '
             'the tail. Please check your center and hop_length settings.')
        signal = PUBLIC.pad(signal, (0, end - total))
    return signal if input.dim() == 3 else signal.squeeze(0)


def _added_up(frames, total, hop):
    """Overlapping frames (batch, count, size) added up where they lie in a signal (batch, total)."""
    return PUBLIC.unfold_adjoint(frames, (frames.shape[0], total), 1, frames.shape[-1], hop)
