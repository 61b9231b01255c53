"""Fourier transforms and windows: their definition, inverses, gradients, sizes and norms, errors, PyTorch."""
import numpy as np
import pytest

import flambeau as torch

draw = np.random.default_rng(0)
REAL, COMPLEX = draw.standard_normal((3, 6)), draw.standard_normal((3, 6)) + 1j * draw.standard_normal((3, 6))
ONE = ('fft', 'ifft', 'rfft', 'irfft', 'hfft', 'ihfft')
SEVERAL = tuple(n + s for n in ONE for s in 'n2')
OF_REAL = ('rfft', 'ihfft', 'rfftn', 'rfft2', 'ihfftn', 'ihfft2')


def source(name):
    return torch.tensor(REAL if name in OF_REAL else COMPLEX)


def close(a, b, tolerance=1e-10):
    np.testing.assert_allclose(a.detach().numpy(), np.asarray(b), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize('norm', ['backward', 'ortho', 'forward'])
@pytest.mark.parametrize('n', [None, 4, 5, 9])
@pytest.mark.parametrize('name', ONE)
def test_one_dimension_agrees_with_numpy(name, n, norm):
    close(getattr(torch.fft, name)(source(name), n, 0 if n == 4 else -1, norm),
          getattr(np.fft, name)(source(name).numpy(), n, 0 if n == 4 else -1, norm))


@pytest.mark.parametrize('n', [None, 4, 7])
@pytest.mark.parametrize('name', ONE)
def test_gradients(name, n):
    x = source(name).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: getattr(torch.fft, name)(x, n, norm='ortho'), (x,))
    assert torch.autograd.gradgradcheck(lambda x: getattr(torch.fft, name)(x, n), (x,))


@pytest.mark.parametrize('name', SEVERAL)
def test_several_dimensions_agree_with_pytorch(name):
    theirs = pytest.importorskip('torch')
    for options in ({}, {'s': (4, 5)}, {'norm': 'ortho'}, {'dim': (1, 0), 's': (3, -1)}):
        x = source(name)
        expected = getattr(theirs.fft, name)(theirs.tensor(x.numpy()), **options).numpy()
        close(getattr(torch.fft, name)(x, **options), expected)
        x.requires_grad_()
        assert torch.autograd.gradcheck(lambda x: getattr(torch.fft, name)(x, **options), (x,))


def test_results_keep_the_precision_and_integers_become_floating():
    assert torch.fft.rfft(torch.ones(4)).dtype is torch.complex64
    assert torch.fft.fft(torch.arange(4)).dtype is torch.complex64
    assert torch.fft.irfft(torch.ones(3, dtype=torch.complex128)).dtype is torch.float64


def test_frequencies_and_shifts():
    assert torch.fft.fftfreq(4, 0.5).tolist() == [0.0, 0.5, -1.0, -0.5]
    assert torch.fft.rfftfreq(5, 1.0).tolist() == pytest.approx([0.0, 0.2, 0.4])
    x = torch.arange(5)
    assert torch.fft.fftshift(x).tolist() == [3, 4, 0, 1, 2]
    assert torch.fft.ifftshift(torch.fft.fftshift(x)).tolist() == x.tolist()


@pytest.mark.parametrize('call, error', [
    (lambda: torch.fft.fft(torch.tensor(1.0)), IndexError), (lambda: torch.fft.fft(torch.ones(3), 0), RuntimeError),
    (lambda: torch.fft.rfft(torch.ones(3, dtype=torch.complex64)), RuntimeError),
    (lambda: torch.fft.fft(torch.ones(3), norm='odd'), RuntimeError),
    (lambda: torch.fft.fftn(torch.ones(3, 3), dim=(0, 0)), RuntimeError),
    (lambda: torch.fft.fftn(torch.ones(3), s=(1, 2)), RuntimeError),
    (lambda: torch.fft.fft(torch.ones(3).half()), RuntimeError), (lambda: torch.fft.fft([1.0]), TypeError),
    (lambda: torch.stft(torch.ones(9), 4), RuntimeError),
    (lambda: torch.stft(torch.ones(9), 4, hop_length=0, return_complex=True), RuntimeError),
    (lambda: torch.stft(torch.ones(9), 4, window=torch.ones(3), return_complex=True), RuntimeError),
    (lambda: torch.istft(torch.ones(3, 4), 4), RuntimeError),
    (lambda: torch.istft(torch.ones(3, 4, dtype=torch.complex64), 4, window=torch.zeros(4)), RuntimeError),
    (lambda: torch.hann_window(-1), RuntimeError), (lambda: torch.signal.windows.hann(-1), ValueError),
    (lambda: torch.signal.windows.gaussian(3, std=0), ValueError),
    (lambda: torch.signal.windows.general_cosine(3), TypeError),
    (lambda: torch.signal.windows.hann(3, dtype=torch.int64), ValueError)])
def test_errors(call, error):
    with pytest.raises(error):
        call()


@pytest.mark.parametrize('options', [
    {}, {'hop_length': 3}, {'win_length': 6, 'hop_length': 2}, {'normalized': True}, {'onesided': False}])
def test_short_time_transforms_are_undone(options):
    window = torch.hann_window(options.get('win_length', 8), dtype=torch.float64)
    signal = torch.tensor(draw.standard_normal((2, 40)))
    spectrum = torch.stft(signal, 8, window=window, return_complex=True, **options)
    assert spectrum.shape[1] == (8 if options.get('onesided') is False else 5)
    back = torch.istft(spectrum, 8, window=window, length=36, **options)
    close(back, signal[:, :36].numpy())


def test_short_time_transforms_agree_with_pytorch_and_have_gradients():
    theirs = pytest.importorskip('torch')
    signal, window = draw.standard_normal(30), draw.uniform(0.5, 1, 8)

    def transform(framework, signal):
        return framework.stft(signal, 8, 4, window=framework.tensor(window), center=False, return_complex=True)
    x = torch.tensor(signal).requires_grad_()
    found = transform(torch, x)
    close(found, transform(theirs, theirs.tensor(signal)).numpy())
    assert torch.autograd.gradcheck(lambda x: transform(torch, x), (x,))
    half = found.detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: torch.istft(s, 8, 4, window=torch.tensor(window)), (half,))


WINDOWS = ('bartlett', 'blackman', 'cosine', 'exponential', 'gaussian', 'general_cosine', 'general_hamming', 'hamming',
           'hann', 'kaiser', 'nuttall')


@pytest.mark.parametrize('name', WINDOWS)
def test_windows_are_symmetric_or_one_period_of_a_longer_one(name):
    theirs = pytest.importorskip('torch')
    options = {'a': [0.5, 0.3, 0.2]} if name == 'general_cosine' else {}
    for size in (0, 1, 2, 7):
        for sym in (True, False):
            expected = getattr(theirs.signal.windows, name)(size, sym=sym, dtype=theirs.float64, **options)
            found = getattr(torch.signal.windows, name)(size, sym=sym, dtype=torch.float64, **options)
            close(found, expected.numpy(), 1e-7)


@pytest.mark.parametrize('name', ['hann', 'hamming', 'blackman', 'bartlett', 'kaiser'])
def test_periodic_windows(name):
    make = getattr(torch, name + '_window')
    close(make(6), make(7, False)[:-1].numpy(), 1e-6)
    symmetric = make(7, periodic=False)
    close(symmetric, symmetric.flip(0).numpy(), 1e-6)
    assert make(7, False)[3].item() == pytest.approx(1.0) and make(5, dtype=torch.float64).dtype is torch.float64
