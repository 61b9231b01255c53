"""Attention by generated kernels against the formula in float64."""
from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('llvmlite')

import flambeau as torch  # noqa: E402
from flambeau.backends.cpu import attention  # noqa: E402
from flambeau.backends.cpu.properties import jit_is_on  # noqa: E402

pytestmark = pytest.mark.skipif(not jit_is_on(), reason='kernels are switched off')

SHAPES = [  # batch, heads, queries, keys, features
    (2, 3, 64, 64, 64), (1, 2, 33, 70, 32), (2, 1, 100, 45, 48), (1, 1, 1, 200, 128), (1, 2, 256, 256, 16),
    (1, 1, 157, 31, 80), (3, 8, 29, 1, 64)]


def expected(q, k, v, g, scale, causal):
    q, k, v, g = (x.astype(np.float64) for x in (q, k, v, g))
    scores = q @ k.swapaxes(-1, -2) * scale
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    out = weights @ v
    dscores = weights * (g @ v.swapaxes(-1, -2) - (g * out).sum(-1, keepdims=True)) * scale
    return out, dscores @ k, dscores.swapaxes(-1, -2) @ q, weights.swapaxes(-1, -2) @ g


def inputs(shape, layout, seed=0):
    batch, heads, queries, keys, features = shape
    draw = np.random.default_rng(seed).standard_normal
    made = []
    for rows in (queries, keys, keys, queries):
        if layout == 'heads inside':
            made.append(draw((batch, rows, heads, features), np.float32).swapaxes(1, 2))
        elif layout == 'every second row':
            made.append(draw((batch, heads, 2 * rows, features), np.float32)[:, :, ::2])
        else:
            made.append(draw((batch, heads, rows, features), np.float32))
    return made


@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.parametrize('layout', ['contiguous', 'heads inside', 'every second row'])
@pytest.mark.parametrize('shape', SHAPES)
def test_forward_and_gradients(shape, layout, causal):
    q, k, v, g = inputs(shape, layout)
    scale = shape[-1] ** -0.5
    out = attention.forward(q, k, v, scale, causal)
    found = out, *attention.backward(g, out, q, k, v, scale, causal)
    for name, a, e in zip(('out', 'query', 'key', 'value'), found, expected(q, k, v, g, scale, causal)):
        np.testing.assert_allclose(a, e, rtol=2e-5, atol=1e-5, err_msg=name)


def test_what_does_not_fit_is_left_to_the_reference():
    q, k, v, g = inputs((1, 1, 64, 64, 64), 'contiguous')
    out = np.empty(q.shape, np.float32)
    assert attention.forward(q.astype(np.float64), k, v, 1.0, False) is None
    assert attention.forward(q[..., :40], k[..., :40], v[..., :40], 1.0, False) is None
    assert attention.forward(q, k, v, -1.0, False) is None
    assert attention.backward(g.astype(np.float64), out, q, k, v, 1.0, False) is None


def test_a_later_key_that_is_nan_does_not_reach_earlier_queries():
    q, k, v, g = inputs((1, 1, 64, 64, 32), 'contiguous')
    k[:, :, 40] = np.nan
    out = attention.forward(q, k, v, 0.2, True)
    assert np.isfinite(out[:, :, :40]).all() and np.isnan(out[:, :, 40:]).all()


def test_bits_do_not_depend_on_the_number_of_threads():
    q, k, v, g = inputs((2, 3, 130, 130, 64), 'contiguous')
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            out = attention.forward(q, k, v, 0.125, True)
            found.append((out, *attention.backward(g, out, q, k, v, 0.125, True)))
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other))


@pytest.mark.parametrize('is_causal', [False, True])
def test_the_operation_agrees_with_torch(is_causal):
    theirs = pytest.importorskip('torch')
    q, k, v, g = inputs((2, 3, 75, 75, 64), 'heads inside')
    results = []
    for library in (torch, theirs):
        leaves = [library.tensor(x).requires_grad_() for x in (q, k, v)]
        out = library.nn.functional.scaled_dot_product_attention(*leaves, is_causal=is_causal)
        out.backward(library.tensor(g))
        results.append([out.detach().numpy(), *(x.grad.numpy() for x in leaves)])
    for ours, other in zip(*results):
        np.testing.assert_allclose(ours, other, rtol=2e-5, atol=1e-5)
