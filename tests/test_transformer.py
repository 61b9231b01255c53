"""Attention and transformers against the formula, against their own derivatives, and against PyTorch."""
import copy
import math

import numpy as np
import pytest
from against_torch import agree, arrays

import flambeau
import flambeau.nn.functional as F
from flambeau import nn
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.ops import attention

# shapes of query, key, value and mask, arguments
CASES = [
    ((4, 8), (5, 8), (5, 6), None, {}),
    ((2, 3, 4, 8), (2, 3, 5, 8), (2, 3, 5, 6), None, {'scale': 0.3}),
    ((2, 3, 5, 4), (2, 3, 5, 4), (2, 3, 5, 4), None, {'is_causal': True}),
    ((2, 3, 4, 8), (2, 3, 6, 8), (2, 3, 6, 5), (4, 6), {}),
    ((2, 3, 4, 8), (2, 3, 6, 8), (2, 3, 6, 5), (2, 1, 1, 6), {}),
    ((2, 6, 4, 8), (2, 3, 5, 8), (2, 3, 5, 8), None, {'enable_gqa': True}),
    ((1, 4, 8), (3, 5, 8), (3, 5, 2), None, {}),
]


def naive(q, k, v, mask=None, scale=None, is_causal=False, enable_gqa=False):
    if enable_gqa:
        k, v = (np.repeat(a, q.shape[-3] // a.shape[-3], -3) for a in (k, v))
    scores = q @ k.swapaxes(-1, -2) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if is_causal:
        mask = np.tri(*scores.shape[-2:], dtype=bool)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


@pytest.mark.parametrize('case', CASES, ids=str)
@pytest.mark.parametrize('room', [1, 50, attention.ROOM])
def test_attention_is_its_formula_whatever_the_blocks(monkeypatch, case, room):
    monkeypatch.setattr(attention, 'ROOM', room)
    *shapes, arguments = case
    q, k, v, mask = arrays(0, *shapes)
    masks = [None] if mask is None else [mask, (mask > 0) | (np.arange(mask.shape[-1]) == 1)]
    for mask in masks:
        tensors = [a if a is None else flambeau.tensor(a) for a in (q, k, v, mask)]
        found = F.scaled_dot_product_attention(*tensors, **arguments).numpy()
        np.testing.assert_allclose(found, naive(q, k, v, mask, **arguments), rtol=1e-12)


@pytest.mark.parametrize('case', CASES, ids=str)
def test_gradients_of_both_orders_are_numerical_ones(monkeypatch, case):
    monkeypatch.setattr(attention, 'ROOM', 30)
    *shapes, arguments = case
    small = [None if s is None else tuple(min(n, 3) if i >= len(s) - 1 else n for i, n in enumerate(s))
             for s in shapes[:3]]
    operands = [flambeau.tensor(a, requires_grad=True) for a in arrays(1, *small)]
    if shapes[3] is not None:
        operands.append(flambeau.tensor(arrays(2, shapes[3])[0], requires_grad=True))

    def run(*tensors):
        return F.scaled_dot_product_attention(*tensors, **arguments)
    assert gradcheck(run, operands, fast_mode=True)
    assert gradgradcheck(run, operands, fast_mode=True)


def test_a_query_that_may_look_at_nothing_gives_zeros_and_no_gradient():
    q, k, v = (flambeau.tensor(a, requires_grad=True) for a in arrays(0, (2, 3, 4), (2, 5, 4), (2, 5, 4)))
    mask = flambeau.ones(3, 5, dtype=flambeau.bool)
    mask[1] = False
    out = F.scaled_dot_product_attention(q, k, v, mask)
    out.sum().backward()
    assert not out[:, 1].any() and not q.grad[:, 1].any() and q.grad[:, 0].any()
    assert all(t.grad.isfinite().all() for t in (q, k, v))


def test_dropped_weights_are_scaled_and_their_gradient_too():
    q, k, v = arrays(0, (2, 3, 4), (2, 50, 4), (2, 50, 4))
    flambeau.manual_seed(0)
    eye = flambeau.eye(50, dtype=flambeau.float64).expand(2, 50, 50).requires_grad_()
    weights = F.scaled_dot_product_attention(flambeau.tensor(q), flambeau.tensor(k), eye, dropout_p=0.25)
    full = naive(q, k, np.eye(50))
    kept = weights.detach().numpy() != 0
    assert 0.6 < kept.mean() < 0.9
    np.testing.assert_allclose(weights.detach().numpy(), np.where(kept, full / 0.75, 0), rtol=1e-7)

    def run(q, k, v):
        flambeau.manual_seed(0)
        return F.scaled_dot_product_attention(q, k, v, dropout_p=0.25)
    operands = [flambeau.tensor(a, requires_grad=True) for a in (q, k[:, :5].copy(), v[:, :5].copy())]
    assert gradcheck(run, operands) and gradgradcheck(run, operands, fast_mode=True)
    assert not F.scaled_dot_product_attention(*operands, dropout_p=1.0).any()


def test_sdpa_kernel_takes_kernels_only():
    x = flambeau.ones(1, 2, 2)
    with nn.attention.sdpa_kernel([nn.attention.SDPBackend.MATH, nn.attention.SDPBackend.FLASH_ATTENTION]):
        assert F.scaled_dot_product_attention(x, x, x).tolist() == x.tolist()
    with pytest.raises(AssertionError), nn.attention.sdpa_kernel('math'):
        pass


def test_half_types_and_no_keys():
    q = flambeau.randn(2, 3, 4, 8).bfloat16()
    assert F.scaled_dot_product_attention(q, q, q).dtype is flambeau.bfloat16
    empty = flambeau.zeros(2, 0, 4)
    assert not F.scaled_dot_product_attention(flambeau.ones(2, 3, 4), empty, empty).any()


@pytest.mark.parametrize('options', [{}, {'add_bias_kv': True, 'add_zero_attn': True}, {'kdim': 3, 'vdim': 5},
                                     {'batch_first': True, 'bias': False}], ids=str)
def test_weights_are_those_that_make_the_output(options):
    flambeau.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, **options).double()
    q, k, v = arrays(0, (4, 3, 8), (5, 3, options.get('kdim', 8)), (5, 3, options.get('vdim', 8)))
    q, k, v = (flambeau.tensor(a.swapaxes(0, 1).copy() if layer.batch_first else a) for a in (q, k, v))
    mask = flambeau.tensor(arrays(1, (6, 4, 5))[0] > 0.7)
    mask[..., 0] = False
    padding = flambeau.zeros(3, 5, dtype=flambeau.bool)
    padding[1, 3:] = True
    masks = {'attn_mask': mask, 'key_padding_mask': padding}
    output, weights = layer(q, k, v, **masks)
    alone, nothing = layer(q, k, v, need_weights=False, **masks)
    assert nothing is None
    np.testing.assert_allclose(output.detach().numpy(), alone.detach().numpy(), rtol=1e-10, atol=1e-13)
    each = layer(q, k, v, average_attn_weights=False, **masks)[1]
    np.testing.assert_allclose(each.mean(1).detach().numpy(), weights.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(weights.sum(-1).detach().numpy(), 1, rtol=1e-12)
    assert not weights[1, :, 3:5].any()
    dim = 0 if layer.batch_first else 1
    one, its = layer(*(t.select(dim, 1) for t in (q, k, v)), attn_mask=mask[2:4], key_padding_mask=padding[1])
    np.testing.assert_allclose(one.detach().numpy(), output.select(dim, 1).detach().numpy(), rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(its.detach().numpy(), weights[1].detach().numpy(), rtol=1e-10)


def small(framework=flambeau, **options):
    framework.manual_seed(0)
    return framework.nn.Transformer(8, 2, 1, 2, 16, batch_first=True, **options)


@pytest.mark.parametrize('norm_first', [False, True])
def test_a_causal_decoder_does_not_look_ahead(norm_first):
    model = small(norm_first=norm_first).eval()
    src, tgt = flambeau.randn(2, 5, 8), flambeau.randn(2, 4, 8)
    causal = nn.Transformer.generate_square_subsequent_mask(4)
    assert causal[0].tolist() == [0, -math.inf, -math.inf, -math.inf] and not causal[3].any()
    first = model(src, tgt, tgt_mask=causal)
    hinted = model(src, tgt, tgt_mask=causal, tgt_is_causal=True)
    np.testing.assert_allclose(first.detach().numpy(), hinted.detach().numpy(), rtol=1e-4, atol=1e-6)
    tgt[:, 3] = 0
    np.testing.assert_allclose(model(src, tgt, tgt_mask=causal)[:, :3].detach().numpy(), first[:, :3].detach().numpy(),
                               rtol=1e-4, atol=1e-6)


def test_padded_places_of_the_source_do_not_matter():
    model = small().eval()
    src, tgt = flambeau.randn(2, 5, 8), flambeau.randn(2, 4, 8)
    padding = flambeau.tensor([[False] * 5, [False] * 3 + [True] * 2])
    masks = {'src_key_padding_mask': padding, 'memory_key_padding_mask': padding}
    first = model(src, tgt, **masks)
    src[1, 3:] = 9
    np.testing.assert_allclose(model(src, tgt, **masks).detach().numpy(), first.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_layers_are_copies_and_activations_any_function():
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation=flambeau.tanh, dropout=0.0)
    stack = nn.TransformerEncoder(layer, 3, nn.LayerNorm(8))
    assert len({id(p) for p in stack.parameters()}) == len(list(stack.parameters())) == 38
    x = flambeau.randn(4, 2, 8)
    expected = x
    for _ in range(3):
        expected = layer(expected)
    np.testing.assert_allclose(stack(x).detach().numpy(), stack.norm(expected).detach().numpy(), rtol=1e-4, atol=1e-6)
    assert copy.deepcopy(stack).layers[0].activation is flambeau.tanh


@pytest.mark.parametrize('call, error', [
    (lambda: F.scaled_dot_product_attention(flambeau.ones(3), flambeau.ones(3), flambeau.ones(3)), RuntimeError),
    (lambda: F.scaled_dot_product_attention([1], flambeau.ones(3, 3), flambeau.ones(3, 3)), TypeError),
    (lambda: F.scaled_dot_product_attention(*[flambeau.ones(3, 3)] * 3, is_causal=True, attn_mask=flambeau.ones(3, 3)),
     RuntimeError),
    (lambda: F.scaled_dot_product_attention(*[flambeau.ones(3, 3)] * 3, attn_mask=flambeau.ones(3, 2)), RuntimeError),
    (lambda: F.scaled_dot_product_attention(*[flambeau.ones(3, 3)] * 3, dropout_p=2), RuntimeError),
    (lambda: F.scaled_dot_product_attention(*[flambeau.ones(3, 3).long()] * 3), RuntimeError),
    (lambda: nn.MultiheadAttention(8, 3), AssertionError), (lambda: nn.MultiheadAttention(0, 1), ValueError),
    (lambda: nn.MultiheadAttention(4, 2)(*[flambeau.ones(3, 2, 4)] * 3, attn_mask=flambeau.ones(2, 3)), RuntimeError),
    (lambda: nn.MultiheadAttention(4, 2)(*[flambeau.ones(3, 2, 4)] * 3, is_causal=True), RuntimeError),
    (lambda: nn.MultiheadAttention(4, 2)(*[flambeau.ones(3, 2, 4)] * 3, key_padding_mask=flambeau.ones(3, 2)),
     AssertionError),
    (lambda: nn.TransformerEncoderLayer(4, 2, activation='tanh'), RuntimeError),
    (lambda: nn.Transformer(4, 2, 1, 1)(flambeau.ones(3, 2, 4), flambeau.ones(3, 1, 4)), RuntimeError),
    (lambda: nn.Transformer(4, 2, 1, 1)(flambeau.ones(3, 2, 4), flambeau.ones(3, 2, 5)), RuntimeError),
])
def test_refusals(call, error):
    with pytest.raises(error):
        call()


@pytest.mark.parametrize('case', CASES, ids=str)
def test_attention_is_that_of_pytorch(case):
    *shapes, arguments = case
    q, k, v, mask = arrays(0, *shapes)
    torch = pytest.importorskip('torch')
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):  # the only one with second derivatives
        agree('scaled_dot_product_attention', q, k, v, *([] if mask is None else [mask]), **arguments)


@pytest.mark.parametrize('need_weights', [True, False])
def test_seeded_dropout_of_attention_is_that_of_pytorch(need_weights):
    torch = pytest.importorskip('torch')
    x, = arrays(0, (5, 2, 8), dtype='float32')
    results = []
    for framework in (flambeau, torch):
        framework.manual_seed(0)
        layer = framework.nn.MultiheadAttention(8, 2, dropout=0.3, add_bias_kv=True)
        t = framework.tensor(x)
        results.append([*(p.detach().numpy() for p in layer.parameters()),
                        layer(t, t, t, need_weights=need_weights)[0].detach().numpy()])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('options', [{}, {'norm_first': True, 'activation': 'gelu', 'bias': False}], ids=str)
def test_seeded_training_step_of_a_transformer_is_that_of_pytorch(options):
    torch = pytest.importorskip('torch')
    src, tgt = arrays(0, (3, 5, 8), (3, 4, 8), dtype='float32')
    results = []
    for framework in (flambeau, torch):
        model = small(framework, **options)
        mask = framework.nn.Transformer.generate_square_subsequent_mask(4)
        out = model(framework.tensor(src), framework.tensor(tgt), tgt_mask=mask)
        out.square().mean().backward()
        results.append([list(model.state_dict()), repr(model), out.detach().numpy(),
                        *(p.grad.numpy() for p in model.parameters())])
    for ours, theirs in zip(*results, strict=True):
        if isinstance(ours, np.ndarray):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
        else:
            assert ours == theirs
