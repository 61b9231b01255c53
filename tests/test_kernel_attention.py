"""Attention by generated kernels against the formula in float64."""
from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip('llvmlite')

import flambeau as torch  # noqa: E402
from flambeau.backends.cpu import attention  # noqa: E402
from flambeau.backends.cpu.properties import jit_is_on  # noqa: E402

pytestmark = pytest.mark.skipif(not jit_is_on(), reason='kernels are switched off')

SHAPES = [  # batch, heads, queries, keys, features
    (2, 3, 64, 64, 64), (1, 2, 33, 70, 32), (2, 1, 100, 45, 48), (1, 1, 1, 200, 128), (1, 2, 256, 256, 16),
    (1, 1, 157, 31, 80), (3, 8, 29, 1, 64), (2, 2, 50, 61, 20), (1, 1, 40, 40, 300)]
FEW = [(2, 3, 1, 200, 64), (1, 5, 3, 77, 20), (4, 1, 4, 33, 144)]  # queries, for which keys are not turned
MASKS = ['causal', 'triangle', 'rows', 'padding', 'empty queries', 'one key for all', 'every second', 'turned',
         'window', 'left padding']
NAMES = 'out', 'query', 'key', 'value'


def expected(q, k, v, g, mask, kept, scale, factor):
    q, k, v, g = (x.astype(np.float64) for x in (q, k, v, g))
    scores = q @ k.swapaxes(-1, -2) * scale
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    weights = np.exp(scores - np.maximum(scores.max(-1, keepdims=True), -1e300))
    weights /= np.maximum(weights.sum(-1, keepdims=True), 1e-300)
    gains = 1.0 if kept is None else kept * factor
    out = (weights * gains) @ v
    dscores = weights * (g @ v.swapaxes(-1, -2) * gains - (g * out).sum(-1, keepdims=True)) * scale
    return out, dscores @ k, dscores.swapaxes(-1, -2) @ q, (weights * gains).swapaxes(-1, -2) @ g


def inputs(shape, layout='contiguous', dtype='float32', seed=0):
    batch, heads, queries, keys, features = shape
    draw = np.random.default_rng(seed).standard_normal
    made = []
    for rows in (queries, keys, keys, queries):
        if layout == 'heads inside':
            made.append(draw((batch, rows, heads, features)).astype(dtype).swapaxes(1, 2))
        elif layout == 'every second row':
            made.append(draw((batch, heads, 2 * rows, features)).astype(dtype)[:, :, ::2])
        else:
            made.append(draw((batch, heads, rows, features)).astype(dtype))
    return made


def masked(kind, shape, dtype=None):
    """A mask of a kind; as numbers to be added, -inf where it is false, if there is a dtype."""
    (batch, heads, queries, keys, _), rng = shape, np.random.default_rng(1)
    whole = rng.random((batch, heads, queries, 2 * keys)) < 0.7
    mask = {'causal': np.tri(queries, keys, dtype=bool), 'triangle': np.tri(queries, keys, -3, dtype=bool),
            'rows': whole[:1, :1, :, :1], 'padding': (np.arange(keys) < rng.integers(0, keys, (batch, 1, 1, 1))),
            'empty queries': whole[..., :keys] & (rng.random((batch, heads, queries, 1)) < 0.7),
            'window': np.tri(queries, keys, 2, dtype=bool) & ~np.tri(queries, keys, -3, dtype=bool),
            'left padding': np.arange(keys) >= rng.integers(0, keys + 1, (batch, heads, 1, 1)),
            'one key for all': np.arange(keys) == keys // 2, 'every second': whole[0, 0, :, ::2],
            'turned': np.ascontiguousarray(whole[0, 0, :, :keys].T).T}[kind]
    if dtype is None:
        return mask
    numbers = np.where(mask, rng.standard_normal(mask.shape), -np.inf).astype(dtype)
    return np.broadcast_to(numbers, (queries, keys)) if numbers.ndim == 1 else numbers


def check(shape, mask, kept=None, layout='contiguous', dtype='float32', causal=False):
    q, k, v, g = inputs(shape, layout, dtype)
    options = mask, kept, shape[-1] ** -0.5, 1.0 if kept is None else 1.25
    right = expected(q, k, v, g, *options)
    out = attention.forward(q, k, v, *options, causal)
    if out is None:  # a few queries of few heads are left to products of vectors
        assert shape[2] <= attention.FEW and shape[0] * shape[1] < attention.HEADS
        out = right[0].astype(dtype)
    found = out, *attention.backward(g, out, q, k, v, *options, causal)
    tolerance = 2e-5 if dtype == 'float32' else 1e-12
    for name, a, e in zip(NAMES, found, right):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance / 2, err_msg=name)


@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.parametrize('layout', ['contiguous', 'heads inside', 'every second row'])
@pytest.mark.parametrize('shape', SHAPES + FEW)
def test_forward_and_gradients(shape, layout, causal):
    check(shape, masked('causal', shape) if causal else None, layout=layout, causal=causal)


@pytest.mark.parametrize('added', [False, True])
@pytest.mark.parametrize('kind', MASKS)
@pytest.mark.parametrize('shape', [*SHAPES[1:3], SHAPES[-2], *FEW[:2]])
def test_masks(shape, kind, added):
    check(shape, masked(kind, shape, 'float32' if added else None))


@pytest.mark.parametrize('kind', [None, 'causal', 'empty queries'])
@pytest.mark.parametrize('shape', SHAPES[1:3] + FEW[:1])
def test_dropped_weights(shape, kind):
    kept = np.random.default_rng(2).random(shape[:4]) < 0.8
    check(shape, kind and masked(kind, shape), kept, causal=kind == 'causal')


@pytest.mark.parametrize('kind', [None, 'triangle', 'empty queries'])
@pytest.mark.parametrize('shape', [SHAPES[1], SHAPES[-2], FEW[1]])
def test_doubles(shape, kind):
    check(shape, kind and masked(kind, shape, 'float64'), dtype='float64')


@pytest.mark.parametrize('mask, copied, steps', [
    (np.ones((3, 1, 1, 50), bool), False, (50, 0, 0)), (np.ones((20, 50), bool), False, (0, 0, 50)),
    (np.broadcast_to(np.ones((4, 1, 50), np.float32), (3, 4, 20, 50)), False, (0, 200, 0)),
    (np.ones((20, 1), np.float32), True, (0, 0, 200)), (np.ones((50, 20), bool).T, True, (0, 0, 50)),
    (np.broadcast_to(np.ones((20, 1), bool), (3, 4, 20, 50)), True, (0, 0, 50)), (np.ones((), bool), True, (0, 0, 0))])
def test_masks_are_not_copied_along_axes_that_they_do_not_have(mask, copied, steps):
    found, (*found_steps, itemsize) = attention._weighing(mask, 4, 50)
    assert np.shares_memory(found, mask) != copied and tuple(found_steps) == steps and itemsize == mask.itemsize


def test_what_does_not_fit_is_left_to_the_reference():
    q, k, v, g = inputs((1, 1, 64, 64, 64))
    out = np.empty(q.shape, np.float32)
    rest = None, None, 1.0, 1.0, False
    assert attention.forward(q.astype(np.float64), k, v, *rest) is None
    assert attention.forward(q[..., :3], k[..., :3], v[..., :3], *rest) is None
    assert attention.forward(q, k, v, None, None, -1.0, 1.0, False) is None
    assert attention.backward(g.astype(np.float64), out, q, k, v, *rest) is None


def test_a_later_key_that_is_nan_does_not_reach_earlier_queries():
    q, k, v, g = inputs((1, 1, 64, 64, 32))
    k[:, :, 40] = np.nan
    out = attention.forward(q, k, v, None, None, 0.2, 1.0, True)
    assert np.isfinite(out[:, :, :40]).all() and np.isnan(out[:, :, 40:]).all()


@pytest.mark.parametrize('number', [np.nan, np.inf])
def test_an_added_number_that_is_not_finite_makes_its_query_nan(number):
    q, k, v, g = inputs((1, 1, 40, 64, 32))
    mask = np.zeros((40, 64), np.float32)
    mask[7, 60] = number
    out = attention.forward(q, k, v, mask, None, 0.2, 1.0, False)
    assert np.isnan(out[0, 0, 7]).all() and np.isfinite(np.delete(out, 7, 2)).all()


@pytest.mark.parametrize('shape, kind', [((2, 3, 130, 130, 64), 'empty queries'), ((1, 1, 300, 90, 32), 'triangle')])
def test_bits_do_not_depend_on_the_number_of_threads(shape, kind):
    q, k, v, g = inputs(shape)
    options = masked(kind, shape), np.random.default_rng(2).random(shape[:4]) < 0.8, 0.125, 1.25, False
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            out = attention.forward(q, k, v, *options)
            found.append((out, *attention.backward(g, out, q, k, v, *options)))
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other))


def test_a_processor_with_shorter_vectors():
    code = ('from test_kernel_attention import *\n'
            'for shape in SHAPES[1:3] + SHAPES[-2:] + FEW:\n'
            '    check(shape, None)\n'
            '    check(shape, masked("empty queries", shape), np.random.default_rng(2).random(shape[:4]) < 0.8)\n'
            'check(SHAPES[1], masked("triangle", SHAPES[1], "float64"), dtype="float64")\n')
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120,
                         env={**os.environ, 'FLAMBEAU_CPU': 'x86-64-v3',
                              'PYTHONPATH': os.pathsep.join([os.path.dirname(__file__), *sys.path])})
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize('rows, sizes', [
    (1, None), (1, (40,)), (1, (2, 1, 1, 40)), (1, (6, 1, 40)), (1, 'causal'), (3, None), (20, (2, 1, 1, 40)),
    (20, (20, 40)), (20, (2, 6, 1, 40)), (20, 'causal')])
@pytest.mark.parametrize('dropout_p', [0, 0.2])
def test_heads_that_share_keys_are_as_with_repeated_keys(rows, sizes, dropout_p):
    q, k, v, g = (torch.randn(2, heads, n, 32) for heads, n in ((6, rows), (2, 40), (2, 40), (6, rows)))
    mask = torch.rand(sizes) < 0.7 if isinstance(sizes, tuple) else None
    found = []
    for repeats in (1, 3):
        leaves = [x.clone().requires_grad_() for x in (q, k, v)]
        torch.manual_seed(3)
        out = torch.nn.functional.scaled_dot_product_attention(
            leaves[0], *(x.repeat_interleave(repeats, 1) for x in leaves[1:]), mask, dropout_p, sizes == 'causal',
            enable_gqa=repeats == 1)
        out.backward(g)
        found.append([out, *(x.grad for x in leaves)])
    for ours, other in zip(*found):
        torch.testing.assert_close(ours, other, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize('kind', [None, 'is_causal', 'bool', 'added', 'padding'])
def test_the_operation_agrees_with_torch(kind):
    theirs = pytest.importorskip('torch')
    shape = 2, 3, 75, 75, 64
    q, k, v, g = inputs(shape, 'heads inside')
    mask = {'bool': lambda: masked('empty queries', shape), 'added': lambda: masked('triangle', shape, 'float32'),
            'padding': lambda: masked('padding', shape)}.get(kind, lambda: None)()
    results = []
    for library in (torch, theirs):
        leaves = [library.tensor(x).requires_grad_() for x in (q, k, v)]
        out = library.nn.functional.scaled_dot_product_attention(
            *leaves, attn_mask=None if mask is None else library.tensor(mask), is_causal=kind == 'is_causal')
        out.backward(library.tensor(g))
        results.append([out.detach().numpy(), *(x.grad.numpy() for x in leaves)])
    for ours, other in zip(*results):
        np.testing.assert_allclose(ours, other, rtol=2e-5, atol=1e-5)
