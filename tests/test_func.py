"""vmap and derivatives of functions: the same as doing it example by example."""
import pytest

import flambeau as torch
from flambeau import func, nn
from flambeau.nn import functional as F

X = torch.randn(5, 3, 4, dtype=torch.float64)
Y = torch.randn(5, 3, 4, dtype=torch.float64)
W = torch.randn(2, 4, dtype=torch.float64)
INDEX = torch.tensor([[0, 1, 2]] * 5)

FUNCTIONS = {
    'pointwise': lambda x, y: (x * y + 1).tanh().clamp(-0.5, 0.5) - y.exp(),
    'ranks that differ': lambda x, y: x[0] * y + y.sum(),
    'reductions': lambda x, y: x.sum(0) + y.mean(0) * x.amax() + y.logsumexp(0) + x.var(0),
    'keepdim': lambda x, y: x / x.sum(-1, keepdim=True) + y.amin((0, 1), keepdim=True),
    'views': lambda x, y: x.t().reshape(2, 6).unsqueeze(1).expand(2, 3, 6).permute(2, 0, 1).flatten(1) + y.select(0, 1).sum(),
    'squeeze and narrow': lambda x, y: x.narrow(1, 1, 2).unsqueeze(0).squeeze(0).transpose(0, -1) * y.diagonal()[:1],
    'products': lambda x, y: x @ y.t() + F.linear(x, W) @ torch.ones(2, 3, dtype=torch.float64) + torch.einsum('ij,ij->i', x, y),
    'shared operand': lambda x, y: W @ x.t() @ y,
    'softmax and losses': lambda x, y: F.softmax(x, -1) * F.mse_loss(x, y) + F.gelu(y) + F.layer_norm(x, (4,)),
    'joining': lambda x, y: torch.cat([x, y], 1) + torch.stack([x, y]).flatten().sum(),
    'several results': lambda x, y: sum(x.split(2, 1)) * y.max(1).values.sum(),
    'sorting and gathering': lambda x, y: x.sort(0).values.gather(0, y.argsort(0)),
    'creation': lambda x, y: torch.zeros_like(x) + torch.ones_like(y) * x,
    'numbers weigh less than tensors': lambda x, y: x.float() + y.sum(),
    'parts': lambda x, y: x[0] * x[:, :1] + y[..., None][:, :, 0] + x[[0, 2]][1] * y[x[:, 0] * 0 == 0][0],
    'copies': lambda x, y: x.to(torch.float32).double() + y.clone().contiguous().type_as(x) * y.new_ones(4) + y.data.detach(),
    'complex parts': lambda x, y: torch.view_as_real(torch.complex(x, y)).sum(-1) + torch.complex(x, y).conj().imag,
    'iterated': lambda x, y: sum(row * k for k, row in enumerate(x)) + len(y) + y.unbind(1)[2][0] + y.t()[1].sum(),
    'choices': lambda x, y: torch.where(x > y, x, -y) + x.masked_fill(x > 0, 1.) + x.topk(2).values.sum(),
    'matrices': lambda x, y: torch.linalg.svdvals(x)[0] + torch.linalg.inv(x @ x.mT) + torch.cdist(x, y).trace(),
    'networks': lambda x, y: F.scaled_dot_product_attention(x, y, x, is_causal=True) + F.normalize(x, dim=1)
    + F.cosine_similarity(x, y, 0) + F.interpolate(y[None], 4)[0] + F.pad(x, (1, 1))[:, :4],
}


def writes_parts(x, y):
    x = x.clone()
    x[0], x[:, 1], x[1, 2] = y[0], 0, y.sum()
    x[x > 1] = 1
    x[[0, 2], 0] += 1
    return x


def writes_through_views(x, y):
    x = x.clone()
    x[0].add_(1)
    x.t()[0].mul_(y[0, 0])
    x.view(-1)[3:5].fill_(5)
    return x


def writes_into_new_tensors(x, y):
    a, b = torch.zeros_like(x), x.new_zeros(3, 4)
    for k in range(3):
        a[k] = y[k] * k
    b.copy_(x)
    return a, b.sub_(x.sum()), torch.add(x, y, out=torch.empty_like(x))


def writes_in_many_ways(x, y):
    x = x.clone()
    x.neg_().clamp_(max=0.5).add_(y, alpha=2).div_(y.exp()).masked_fill_(y > 1, 7.)
    x.index_fill_(0, torch.tensor([1]), 3.).unsqueeze_(0).squeeze_(0).t_()
    return x.index_add_(0, torch.tensor([0, 0]), y.t()[:2])


WRITING = (writes_parts, writes_through_views, writes_into_new_tensors, writes_in_many_ways)


@pytest.mark.parametrize('function', WRITING, ids=lambda f: f.__name__)
def test_writing_within_vmap_is_writing_within_a_loop(function):
    inputs = X.clone(), Y.clone()
    each = [function(x, y) for x, y in zip(X, Y)]
    expected = tuple(map(torch.stack, zip(*each))) if isinstance(each[0], tuple) else torch.stack(each)
    torch.testing.assert_close(func.vmap(function)(*inputs), expected)
    torch.testing.assert_close(inputs, (X, Y))
    if function is not writes_into_new_tensors:
        a, b = X.clone().requires_grad_(), X.clone().requires_grad_()
        func.vmap(function)(a, Y).square().sum().backward()
        torch.stack([function(x, y) for x, y in zip(b, Y)]).square().sum().backward()
        torch.testing.assert_close(a.grad, b.grad)


def test_writing_in_place_reaches_the_argument_and_refuses_what_is_shared():
    x = X.clone()
    func.vmap(lambda v: v.mul_(2))(x)
    torch.testing.assert_close(x, X * 2)
    shared = torch.zeros(3, 4, dtype=torch.float64)
    for write in (lambda v: shared.add_(v), lambda v: shared.__setitem__(0, v[0]), lambda v: torch.add(v, 1, out=shared)):
        with pytest.raises(RuntimeError, match='vmapped over but `self`'):
            func.vmap(write)(X)
    assert not shared.any()


@pytest.mark.parametrize('name', FUNCTIONS)
def test_vmap_is_the_loop(name):
    function = FUNCTIONS[name]
    expected = torch.stack([function(x, y) for x, y in zip(X, Y)])
    torch.testing.assert_close(func.vmap(function)(X, Y), expected)
    one_shared = torch.stack([function(x, Y[0]) for x in X])
    torch.testing.assert_close(func.vmap(function, in_dims=(0, None))(X, Y[0]), one_shared)


LAYERS = {
    'Linear': lambda: (nn.Linear(4, 2), X), 'Conv2d': lambda: (nn.Conv2d(3, 2, 2, padding=1), X[:, None, :, :, None] * Y[:, :, :, None, None].new_ones(2, 3, 4, 3)),
    'ConvTranspose1d': lambda: (nn.ConvTranspose1d(3, 2, 2), X), 'BatchNorm1d': lambda: (nn.BatchNorm1d(4).eval(), X),
    'LayerNorm': lambda: (nn.LayerNorm(4), X), 'GroupNorm': lambda: (nn.GroupNorm(1, 4), X), 'Embedding': lambda: (nn.Embedding(7, 3), INDEX),
    'MultiheadAttention': lambda: (nn.MultiheadAttention(4, 2, batch_first=True), X, X, X),
    'LSTM': lambda: (nn.LSTM(4, 3, 2, bidirectional=True), X), 'GRU': lambda: (nn.GRU(4, 3, batch_first=True), X),
    'RNN': lambda: (nn.RNN(4, 3), X), 'LSTMCell': lambda: (nn.LSTMCell(4, 3), X), 'CrossEntropyLoss': lambda: (nn.CrossEntropyLoss(), X, INDEX),
    'BCEWithLogitsLoss': lambda: (nn.BCEWithLogitsLoss(), X, Y.sigmoid()), 'SmoothL1Loss': lambda: (nn.SmoothL1Loss(), X, Y),
    'TransformerEncoderLayer': lambda: (nn.TransformerEncoderLayer(4, 2, 8, 0.), X[:, :, None]), 'PReLU': lambda: (nn.PReLU(), X),
    'MaxPool1d': lambda: (nn.MaxPool1d(2), X), 'AdaptiveAvgPool1d': lambda: (nn.AdaptiveAvgPool1d(3), X), 'Bilinear': lambda: (nn.Bilinear(4, 4, 2), X, Y),
    'ReLU in place': lambda: (nn.ReLU(inplace=True), X.clone()), 'Dropout': lambda: (nn.Dropout().eval(), X), 'GELU': lambda: (nn.GELU(), X)}


def outputs(result):
    return [result] if isinstance(result, torch.Tensor) else [t for part in result for t in outputs(part)]


@pytest.mark.parametrize('name', LAYERS)
def test_layers_of_batches_of_batches(name):
    """vmap of a layer, and the gradients of its parameters for each example."""
    layer, *inputs = LAYERS[name]()
    layer = layer.double()
    each = [outputs(layer(*[x[k].clone() for x in inputs])) for k in range(5)]
    for found, *expected in zip(outputs(func.vmap(layer)(*[x.clone() for x in inputs])), *each):
        torch.testing.assert_close(found, torch.stack(expected))

    def loss(parameters, *inputs):
        return sum(t.square().sum() for t in outputs(func.functional_call(layer, parameters, inputs)))
    parameters = {k: v.detach() for k, v in layer.named_parameters()}
    if parameters:
        gradients = func.vmap(func.grad(loss), in_dims=(None, *(0 for _ in inputs)))(parameters, *inputs)
        for k in range(5):
            layer.zero_grad()
            sum(t.square().sum() for t in outputs(layer(*[x[k] for x in inputs]))).backward()
            for name, p in layer.named_parameters():
                torch.testing.assert_close(gradients[name][k], p.grad)


def test_random_numbers_within_vmap():
    for draw in (lambda v: v + torch.rand(4), torch.randn_like, lambda v: F.dropout(v), lambda v: v.clone().uniform_()):
        with pytest.raises(RuntimeError, match='randomness error mode'):
            func.vmap(draw)(X)
        torch.manual_seed(1)
        different = func.vmap(draw, randomness='different')(X)
        torch.manual_seed(1)
        torch.testing.assert_close(different, torch.stack([draw(x) for x in X]))
        same = func.vmap(draw, randomness='same')(torch.ones_like(X))
        assert same.shape == X.shape and (same == same[0]).all() and not (different == different[0]).all()
    torch.rand(2)  # is allowed again


def test_chunks_and_empty_batches():
    for size in (1, 2, 5, 7):
        a, b = func.vmap(lambda x, y: (x @ y.t(), y.sum(0)), (0, 1), (0, 1), chunk_size=size)(X, Y.transpose(0, 1))
        torch.testing.assert_close((a, b.t()), (X @ Y.mT, Y.sum(1)))
    assert func.vmap(lambda x: x.sort(0)[0])(X[:0]).shape == (0, 3, 4)


def test_vmap_dims_nesting_and_structures():
    torch.testing.assert_close(func.vmap(lambda x: x.sum(0), in_dims=1, out_dims=1)(X), X.transpose(0, 1).sum(1).t())
    inner = func.vmap(func.vmap(lambda a, b: a @ b))
    torch.testing.assert_close(inner(X, Y), (X * Y).sum(-1))
    a, b = func.vmap(lambda d: (d['x'] * 2, d['y'] + 1))({'x': X, 'y': Y})
    torch.testing.assert_close((a, b), (X * 2, Y + 1))


def test_vmap_refusals():
    with pytest.raises(ValueError, match='same size'):
        func.vmap(lambda x, y: x)(X, Y[:3])
    with pytest.raises(ValueError, match='in_dims'):
        func.vmap(lambda x: x, in_dims=(0, 0))(X)
    with pytest.raises(RuntimeError, match=r'\.item\(\)'):
        func.vmap(lambda x: x * x.sum().item())(X)
    with pytest.raises(ValueError, match='only return Tensors'):
        func.vmap(lambda x: 3)(X)
    with pytest.raises(ValueError, match='non-Tensor'):
        func.vmap(lambda x, y: x)(X, 2.)
    with pytest.raises(ValueError, match='out_dims'):
        func.vmap(lambda x: (x, x), out_dims=(0,))(X)
    with pytest.raises(ValueError, match='chunk_size'):
        func.vmap(lambda x: x, chunk_size=0)
    with pytest.raises(RuntimeError, match='data-dependent control flow'):
        func.vmap(lambda x: x if x.sum() > 0 else -x)(X)
    with pytest.raises(IndexError, match=r'range of \[-2, 1\], but got 2'):
        func.vmap(lambda x: x.transpose(0, 2))(X)


def test_gradients_flow_through_vmap():
    x = X.clone().requires_grad_()
    func.vmap(lambda v: (v @ v.t()).sum())(x).sum().backward()
    y = X.clone().requires_grad_()
    expected, = torch.autograd.grad(sum((v @ v.t()).sum() for v in y), y)
    torch.testing.assert_close(x.grad, expected)


def test_derivatives():
    x = torch.tensor([0.5, 2.0], dtype=torch.float64)
    torch.testing.assert_close(func.grad(lambda v: (v ** 3).sum())(x), 3 * x ** 2)
    torch.testing.assert_close(func.grad(func.grad(lambda v: v ** 3))(x[0]), 6 * x[0])
    torch.testing.assert_close(func.jacrev(lambda v: v ** 2)(x), torch.diag(2 * x))
    torch.testing.assert_close(func.hessian(lambda v: (v ** 3).sum())(x), torch.diag(6 * x))
    value, pull = func.vjp(lambda v: v ** 2, x)
    torch.testing.assert_close((value, pull(torch.ones_like(x))[0]), (x ** 2, 2 * x))
    found, (value, aux) = func.grad_and_value(lambda v: ((v ** 2).sum(), 'kept'), has_aux=True)(x)
    assert aux == 'kept' and value.item() == 4.25 and not found.requires_grad
    with pytest.raises(RuntimeError, match='scalar'):
        func.grad(lambda v: v)(x)
    with pytest.raises(RuntimeError, match='argnum=2'):
        func.grad(lambda v: v.sum(), argnums=2)(x)
    torch.testing.assert_close(func.grad(lambda a, b: (a * b).sum(), argnums=-1)(x, x + 1), x)


def test_gradients_of_each_example():
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)).double()
    parameters = {k: v.detach() for k, v in model.named_parameters()}
    inputs, targets = X[:, 0], Y[:, 0, :1]

    def loss(parameters, x, y):
        return F.mse_loss(func.functional_call(model, parameters, (x,)), y)
    each = func.vmap(func.grad(loss), in_dims=(None, 0, 0))(parameters, inputs, targets)
    for k in range(5):
        model.zero_grad()
        F.mse_loss(model(inputs[k]), targets[k]).backward()
        for name, p in model.named_parameters():
            torch.testing.assert_close(each[name][k], p.grad)


# ---- rules of operations: nothing runs example by example

IMAGES = torch.randn(4, 2, 4, 5, 6, dtype=torch.float64)
TAPS = torch.randn(4, 6, 4, 3, 3, dtype=torch.float64)
SCALES = torch.randn(4, 6, dtype=torch.float64)
TOKENS = torch.tensor([[1, 2, 0], [3, 3, 4], [0, 0, 1], [4, 2, 2]])
TABLES = torch.randn(4, 5, 3, dtype=torch.float64)
LABELS = torch.tensor([[1, 2], [0, 3], [3, 1], [2, 0]])
SEQUENCES = torch.randn(4, 2, 3, 5, 4, dtype=torch.float64)
MASKS = torch.rand(4, 5, 5) > 0.3


def grouped(x, w, b):
    return F.conv2d(x, w[:, :2], b, 2, 1, groups=2)


RULED = {
    'convolution of images': (lambda x: F.conv2d(x, TAPS[0], SCALES[0], padding=1), (IMAGES,)),
    'convolution with weights': (lambda w, b: F.conv2d(IMAGES[0], w, b), (TAPS, SCALES)),
    'convolution with both': (grouped, (IMAGES, TAPS, SCALES)),
    'convolution with biases': (lambda x, b: F.conv2d(x, TAPS[0], b), (IMAGES, SCALES)),
    'convolution with shared images': (lambda b: F.conv2d(IMAGES[0], TAPS[0], b), (SCALES,)),
    'convolution in a row': (lambda x, w: F.conv1d(x[0, :, 0], w[:, :, 0], dilation=2), (IMAGES, TAPS)),
    'transposed convolution': (lambda x, w: F.conv_transpose2d(x, w.transpose(0, 1), stride=2, output_padding=1),
                               (IMAGES, TAPS)),
    'pools': (lambda x: F.max_pool2d(x, 2).sum() + F.avg_pool2d(x, 2) + F.adaptive_avg_pool2d(x, (2, 3)), (IMAGES,)),
    'layer norm': (lambda x, w, b: F.layer_norm(x[..., :4, :6], (6,), w, b), (IMAGES, SCALES, SCALES + 1)),
    'layer norm of shared weights': (lambda x: F.layer_norm(x, (5, 6), IMAGES[0, 0, 0], IMAGES[0, 0, 1]), (IMAGES,)),
    'group norm': (lambda x, w, b: F.group_norm(x, 2, w[:4], b[:4]), (IMAGES, SCALES, SCALES + 1)),
    'instance norm': (lambda x, w: F.instance_norm(x, weight=w[:4], bias=w[:4]), (IMAGES, SCALES)),
    'root mean square norm': (lambda x, w: F.rms_norm(x, (6,), w), (IMAGES, SCALES)),
    'norm over the batch': (lambda x, w: F.batch_norm(x, None, None, w[:4], w[:4] + 1, training=True),
                            (IMAGES, SCALES)),
    'norm by statistics': (lambda x, w: F.batch_norm(x, SCALES[0, :4], SCALES[1, :4] ** 2, w[:4], w[:4]),
                           (IMAGES, SCALES)),
    'norm by statistics of shared weights': (lambda x: F.batch_norm(x, SCALES[0, :4], SCALES[1, :4] ** 2), (IMAGES,)),
    'norm by statistics of each': (lambda w: F.batch_norm(IMAGES[0], w.detach()[:4], w.detach()[:4] ** 2, w[:4]),
                                   (SCALES,)),
    'embedding': (lambda i: F.embedding(i, TABLES[0], padding_idx=2), (TOKENS,)),
    'embedding of tables': (lambda t: F.embedding(TOKENS, t), (TABLES,)),
    'embedding of both': (lambda i, t: F.embedding(i, t, padding_idx=2), (TOKENS, TABLES)),
    'losses': (lambda x, y: F.cross_entropy(x[:, :, 0, 0], y)
               + F.cross_entropy(x[0].mean((1, 2)), y[0], reduction='sum')
               + F.cross_entropy(x[:, :, 0, 0], y, reduction='none') + F.nll_loss(x[:, :, 0, 0], y, SCALES[0, :4])
               + F.cross_entropy(x[:, :, 0, 0], y, SCALES[0, :4] ** 2, ignore_index=3), (IMAGES, LABELS)),
    'attention': (lambda x, y, z: F.scaled_dot_product_attention(x, y, z), (SEQUENCES, SEQUENCES + 1, -SEQUENCES)),
    'attention of masks': (lambda x, k: F.scaled_dot_product_attention(x, SEQUENCES[0], x, k), (SEQUENCES, MASKS)),
    'attention of a shared mask': (lambda x: F.scaled_dot_product_attention(
        x, x, x, SEQUENCES[0, :, :, :, :1].expand(2, 3, 5, 5)), (SEQUENCES,)),
    'attention of matrices': (lambda x: F.scaled_dot_product_attention(x[0, 0], x[0, 1], x[1, 1], is_causal=True),
                              (SEQUENCES,)),
}

MATRICES, PLACES = torch.randn(4, 3, 5, dtype=torch.float64), torch.tensor([[0, 2], [1, 1], [2, 0], [0, 1]])
ELEMENTS = torch.tensor([[[0, 1, 2, 0, 1]], [[2, 2, 0, 1, 0]], [[0, 0, 0, 0, 0]], [[1, 2, 1, 2, 1]]])
SHARED = torch.randn(3, 5, dtype=torch.float64)
RULED.update({
    'choices': (lambda x, y: torch.where(x > 0, x, y) + torch.where(SHARED > 0, x, 2.) + x.where(y > 0, SHARED)
                + x.masked_fill(y > 0, 1.) + SHARED.masked_fill(y > 0, 1.), (MATRICES, MATRICES + 0.3)),
    'joined': (lambda x, y: torch.cat([x, SHARED, y], -1).sum(0)[:3] + torch.stack([x, y, SHARED], 1).sum((0, 2))
               + torch.cat([torch.zeros(0, dtype=torch.float64), x[0]]).sum(), (MATRICES, MATRICES + 1)),
    'along dimensions': (lambda x: x.sort(0).values + x.argsort(1) + x.cumsum(0) + x.cumprod(-1) + x.logcumsumexp(1)
                         + x.flip(0) + x.flip(0, 1) + x.roll(1, 0) + x.roll((1, 2), (0, 1)) + x.cummax(0).values
                         + x.topk(2, -1)[0].sum() + x.kthvalue(2, 0).values.sum(), (MATRICES,)),
    'extremes': (lambda x, y: x.max(0)[0].sum() + x.min(1, keepdim=True)[0] + x.max() + torch.max(x, y) + x.argmax()
                 + x.argmin(1)[:, None], (MATRICES, MATRICES.flip(0))),
    'moved': (lambda x: x.movedim(0, 1).unbind(1)[0] + x.repeat(2, 1, 3)[0, 0, 5:10] + F.glu(x.t()[:4], 0).sum(),
              (MATRICES,)),
    'triangles and edges': (lambda x: x.tril() + x.triu(1) + F.pad(x, (1, 0), value=2.)[:, :5], (MATRICES,)),
    'matrix functions': (lambda x: torch.linalg.det(x @ x.T) + torch.linalg.svdvals(x).sum()
                         + torch.linalg.qr(x)[1].abs().sum() + torch.linalg.eigvalsh(x @ x.T).sum()
                         + torch.matrix_exp(x[:, :3]).sum(), (MATRICES,)),
    'transforms': (lambda x: torch.fft.fft(x).abs() + torch.fft.rfft(x, dim=0).abs().sum() + torch.fft.ifft2(x).real,
                   (MATRICES,)),
    'gathered': (lambda x, i, e: x.gather(0, e).sum() + x.index_select(1, i).sum(1) + x[i].sum() + x[:2][0, i].sum()
                 + SHARED[i].sum() + SHARED.gather(0, e).sum() + x.take(i).sum() + x.index_select(0, PLACES[0]).sum()
                 + x[i, i + 1].sum() + x[1, i].sum(), (MATRICES, PLACES, ELEMENTS)),
    'scattered': (lambda x, i, e: x.scatter_add(0, e, SHARED) + x.scatter(1, e[:, :3], SHARED[:, :3])
                  + x.index_add(0, i, SHARED[:2], alpha=2) + x.index_add(1, PLACES[0], SHARED[:, :2]),
                  (MATRICES, PLACES, ELEMENTS)),
    'pairs': (lambda x, y: F.mse_loss(x, y) + F.huber_loss(x, SHARED, delta=0.5)
              + F.smooth_l1_loss(x, y, reduction='sum')
              + F.binary_cross_entropy_with_logits(x, y.sigmoid(), pos_weight=SHARED[0].exp())
              + F.binary_cross_entropy(x.sigmoid(), y.sigmoid(), reduction='none')
              + F.soft_margin_loss(x, y.detach().sign()),
              (MATRICES, MATRICES.flip(0))),
    'activations': (lambda x: F.relu(x) + F.leaky_relu(x, 0.2) + F.silu(x) + F.elu(x, 0.5), (MATRICES,)),
})


@pytest.fixture
def at_once(monkeypatch):
    """Fails where an operation runs example by example."""
    def refuse(function, *rest):
        raise AssertionError(f'{function.__name__} runs example by example')
    import importlib
    monkeypatch.setattr(importlib.import_module('flambeau.func.vmap'), 'one_by_one', refuse)


@pytest.mark.parametrize('name', RULED)
def test_rules_mean_what_a_loop_means(name, at_once):
    function, operands = RULED[name]
    wanted = [t.clone().requires_grad_(t.is_floating_point()) for t in operands]
    looped = torch.stack([function(*[t[k] for t in wanted]) for k in range(4)])
    mapped = [t.clone().requires_grad_(t.is_floating_point()) for t in operands]
    made = func.vmap(function)(*mapped)
    torch.testing.assert_close(made, looped)
    weights = torch.randn(looped.shape, dtype=looped.dtype)
    if made.requires_grad:
        (made * weights).sum().backward()
        (looped * weights).sum().backward()
        for a, b in zip(mapped, wanted):
            if a.is_floating_point():
                torch.testing.assert_close(a.grad, b.grad)


def test_indices_outside_of_a_table_are_refused_within_vmap():
    with pytest.raises(IndexError, match='index out of range'):
        func.vmap(lambda i, t: F.embedding(i, t))(TOKENS + 1, TABLES)


def network(t, kind):
    nn = t.nn
    if kind == 'images':
        return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(), nn.MaxPool2d(2),
                             nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6).eval(), nn.Flatten(), nn.Linear(24, 5))

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.norm, self.qkv = nn.Embedding(9, 8), nn.LayerNorm(8), nn.Linear(8, 24)
            self.out = nn.Linear(8, 5)

        def forward(self, x):
            q, k, v = self.qkv(self.norm(self.table(x))).unflatten(-1, (2, 12)).transpose(1, 2).chunk(3, -1)
            mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.out(mixed.transpose(1, 2).flatten(2).mean(1))
    return Tokens()


def gradients_of_samples(t, kind, state):
    import importlib
    tools, model = importlib.import_module(t.__name__ + '.func'), network(t, kind)
    model.load_state_dict({k: t.tensor(v) for k, v in state.items()})
    parameters = {k: p.detach() for k, p in model.named_parameters()}
    x = t.arange(6 * 64).reshape(6, 1, 8, 8).sin() if kind == 'images' else t.arange(30).reshape(6, 5) % 9

    def loss(values, sample, label):
        made = tools.functional_call(model, values, (sample.unsqueeze(0),))
        return t.nn.functional.cross_entropy(made, label.unsqueeze(0))
    return tools.vmap(tools.grad(loss), in_dims=(None, 0, 0))(parameters, x, t.arange(6) % 5)


@pytest.mark.parametrize('kind', ['images', 'tokens'])
def test_gradients_of_samples_are_pytorchs(kind, at_once):
    reference = pytest.importorskip('torch')
    state = {k: v.tolist() for k, v in network(torch, kind).state_dict().items()}
    ours, theirs = (gradients_of_samples(t, kind, state) for t in (torch, reference))
    for name, value in theirs.items():
        reference.testing.assert_close(reference.from_numpy(ours[name].detach().numpy()), value, rtol=1e-3, atol=1e-4)
