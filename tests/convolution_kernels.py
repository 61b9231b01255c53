"""What tests of convolution kernels share: the three faces of a convolution against the reference in float64."""
import numpy as np
import pytest

from flambeau.ops.convolution import convolve, gradient_in_input, gradient_in_weight


@pytest.fixture(autouse=True)
def reference_alone(monkeypatch):
    """The functions that kernels are compared with must not run on kernels."""
    monkeypatch.setattr('flambeau.ops.convolution._by_kernel', lambda *arguments: None)


def results(kernels, x, w, g, geometry):
    """The convolution and its gradients in x and w by the drivers of a module."""
    return (kernels.correlation(x, w, geometry), kernels.correlation_adjoint(g, w, geometry, x.shape[2:]),
            kernels.correlation_in_weight(g, x, geometry, w.shape[2:]))


def check(kernels, x, w, g, geometry, tolerance):
    """Fails where a driver differs from the reference by more than `tolerance` of the largest value."""
    wide_x, wide_w, wide_g = (a.astype(np.float64) for a in (x, w, g))
    expected = (convolve(wide_x, wide_w, geometry), gradient_in_input(wide_g, wide_w, geometry, x.shape[2:]),
                gradient_in_weight(wide_g, wide_x, geometry, w.shape[2:]))
    for got, want in zip(results(kernels, x, w, g, geometry), expected, strict=True):
        assert got.dtype == np.float32 and got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=tolerance * np.abs(want).max())
