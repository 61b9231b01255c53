"""Autocast on the CPU and the scaler of losses: which dtypes come out, values, gradients, and that nothing stays."""
import threading
import warnings

import pytest

import flambeau

BF = flambeau.bfloat16


def inputs(t):
    t.manual_seed(0)
    x = t.randn(4, 4)
    return {'torch': t, 'F': t.nn.functional, 'x': x, 'b': x.bfloat16(), 'd': x.double(), 'i': t.tensor([0, 1, 2, 3]),
            'image': t.randn(1, 2, 6, 6), 'taps': t.randn(3, 2, 3, 3), 'q': t.randn(1, 2, 4, 8), 'nn': t.nn}


CALLS = """
x @ x
b @ x
d @ d
i[None] @ i[:, None]
x.mm(b)
x.addmm(x, x)
torch.bmm(x[None], b[None])
torch.baddbmm(x[None], x[None], x[None])
x.mv(x[0])
F.linear(x, x, x[0])
nn.Linear(4, 3)(x)
torch.einsum('ij,jk->ik', x, x)
torch.tensordot(x, x, 1)
torch.inner(x, x)
torch.linalg.multi_dot([x, x, x])
torch.outer(x[0], x[0])
F.conv2d(image, taps)
nn.Conv2d(2, 3, 3)(image)
F.conv_transpose2d(image, taps.transpose(0, 1))
F.scaled_dot_product_attention(q, q, q)
nn.MultiheadAttention(4, 2)(x, x, x)[0]
nn.LSTM(4, 3)(x)[0]
nn.LSTM(4, 3)(b)[0]
nn.GRU(4, 3)(x)[0]
nn.GRU(4, 3)(b)[0]
nn.RNN(4, 3)(x)[0]
nn.LSTMCell(4, 3)(x)[0]
F.prelu(x, x[0, 0])
F.softmax(b, -1)
F.layer_norm(b, (4,))
F.layer_norm(x, (4,))
b.exp()
b.sum()
b.prod()
b + x
torch.cat([x, b])
F.mse_loss(b, b)
F.cross_entropy(b, i)
F.binary_cross_entropy_with_logits(b, b)
F.kl_div(b.log_softmax(1), b.softmax(1))
torch.cdist(b, b)
torch.trace(b)
torch.linalg.inv(b)
torch.linalg.svd(b)[1]
torch.fft.fft(b)
F.avg_pool2d(image.bfloat16(), 2)
F.avg_pool3d(image[None].bfloat16(), 2)
F.grid_sample(image.bfloat16(), torch.rand(1, 3, 3, 2))
b.quantile(.5)
x.index_copy(0, i, b)
x.clone().addmm_(x, x)
torch.mm(x, x, out=torch.empty(4, 4))
"""


def outcome(t, code):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        names = inputs(t)
        with t.autocast('cpu', dtype=t.bfloat16):
            result = eval(code, names)
    return result


@pytest.mark.parametrize('code', CALLS.strip().splitlines())
def test_results_have_pytorchs_dtypes_and_values(code):
    reference = pytest.importorskip('torch')
    ours, theirs = outcome(flambeau, code), outcome(reference, code)
    assert str(ours.dtype) == str(theirs.dtype)
    if 'nn.' not in code and 'rand' not in code and 'svd' not in code:
        reference.testing.assert_close(reference.from_numpy(ours.detach().to(flambeau.complex64).numpy()),
                                       theirs.detach().to(reference.complex64), rtol=2e-2, atol=2e-2)


def test_products_are_those_of_rounded_operands():
    x = flambeau.tensor([[1 + 2 ** -10, 3.0], [5.0, 7.0]])
    with flambeau.autocast('cpu'):
        made = x @ x
    assert made.dtype is BF and made.tolist() == (x.bfloat16() @ x.bfloat16()).tolist()
    assert (x @ x).dtype is flambeau.float32


def test_training_step():
    model = flambeau.nn.Sequential(flambeau.nn.Linear(4, 8), flambeau.nn.Tanh(), flambeau.nn.Linear(8, 1))
    optimizer = flambeau.optim.Adam(model.parameters(), lr=0.01)
    x = flambeau.randn(32, 4)
    losses = []
    for _ in range(60):
        with flambeau.amp.autocast('cpu', dtype=BF):
            made = model(x)
            loss = flambeau.nn.functional.mse_loss(made, x[:, :1])
        assert made.dtype is BF and loss.dtype is flambeau.float32
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(p.grad.dtype is flambeau.float32 for p in model.parameters()) and losses[-1] < 0.3 * losses[0]


def test_modes_nest_decorate_and_leave_nothing_behind():
    x, functions = flambeau.ones(2, 2), (flambeau.matmul, flambeau.nn.functional.linear, flambeau.conv2d)
    x @ x
    flambeau.nn.functional.linear(x, x)
    codes = None
    for _ in range(2):
        with flambeau.autocast('cpu', dtype=flambeau.float16):
            assert flambeau.is_autocast_enabled('cpu') and flambeau.get_autocast_dtype('cpu') is flambeau.float16
            assert (x @ x).dtype is flambeau.float16
            with flambeau.autocast('cpu', enabled=False):
                assert (x @ x).dtype is flambeau.float32 and not flambeau.is_autocast_enabled('cpu')
            with flambeau.autocast('cpu'):
                assert (x @ x).dtype is flambeau.float16  # the dtype of the autocast around it
            with flambeau.autocast('cpu', dtype=BF):
                assert (x @ x).dtype is BF
            assert (x @ x).dtype is flambeau.float16
        left = [(f.__code__, f.__defaults__, f.__kwdefaults__) for f in functions]
        assert codes is None or codes == left
        codes = left
    assert flambeau.autocast('cpu')(lambda a: a @ a)(x).dtype is BF
    with pytest.raises(ZeroDivisionError), flambeau.autocast('cpu'):
        1 / 0
    assert (x @ x).dtype is flambeau.float32 and not flambeau.is_autocast_enabled('cpu')
    assert flambeau.get_autocast_dtype('cpu') is BF and flambeau.amp.is_autocast_available('cpu')


def test_checkpoints_compute_again_under_the_same_autocast():
    layer, x, found = flambeau.nn.Linear(4, 4), flambeau.randn(3, 4), []

    def run(value):
        found.append(layer(value).dtype)
        return layer(layer(value).exp())
    gradients = []
    for checkpointed in (True, False):
        with flambeau.autocast('cpu'):
            layer(x)
            made = flambeau.utils.checkpoint.checkpoint(run, x, use_reentrant=False) if checkpointed else run(x)
        made.sum().backward()
        gradients.append(layer.weight.grad.clone())
        layer.zero_grad()
    assert found == [BF, BF, BF]
    flambeau.testing.assert_close(*gradients)


def test_other_threads_are_left_alone():
    x, seen = flambeau.ones(2, 2), []
    with flambeau.autocast('cpu'):
        thread = threading.Thread(target=lambda: seen.append((x @ x).dtype))
        thread.start()
        thread.join()
    assert seen == [flambeau.float32]


def test_parameters_are_cast_once():
    weight = flambeau.ones(2, 2, requires_grad=True)
    x = flambeau.ones(2, 2)
    for cache, same in ((True, True), (False, False)):
        with flambeau.autocast('cpu', cache_enabled=cache):
            first, second = (x @ weight).grad_fn, (x @ weight).grad_fn
            assert (first.next_functions[-1][0] is second.next_functions[-1][0]) is same
    with flambeau.autocast('cpu'):
        with flambeau.no_grad():
            x @ weight
        (x @ weight).sum().backward()  # what was cast without gradients does not count
        (x @ weight).sum().backward()  # and what was cast is passed again
        with flambeau.no_grad():
            weight.mul_(2)  # as an optimizer does
        assert (x @ weight).tolist() == [[4, 4], [4, 4]]
    assert weight.grad.tolist() == [[4, 4], [4, 4]]


def custom_functions(t, **options):
    seen = []

    class Square(t.autograd.Function):
        @staticmethod
        @t.amp.custom_fwd(device_type='cpu', **options)
        def forward(ctx, x):
            seen.append((str(x.dtype), t.is_autocast_enabled('cpu')))
            ctx.save_for_backward(x)
            return x @ x

        @staticmethod
        @t.amp.custom_bwd(device_type='cpu')
        def backward(ctx, g):
            seen.append((str(g.dtype), t.is_autocast_enabled('cpu')))
            return (g @ ctx.saved_tensors[0]).float()
    x = t.ones(2, 2, requires_grad=True)
    with t.autocast('cpu', dtype=t.bfloat16):
        made = Square.apply(x)
    made.sum().backward()
    return seen, str(made.dtype)


@pytest.mark.parametrize('cast', [False, True])
def test_custom_functions(cast):
    def run(t):
        return custom_functions(t, **({'cast_inputs': t.float32} if cast else {}))
    seen, dtype = run(flambeau)
    assert seen[0] == ('torch.float32', not cast) and dtype == ('torch.float32' if cast else 'torch.bfloat16')
    assert (seen, dtype) == run(pytest.importorskip('torch'))


def told(function):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        try:
            function()
            raised = None
        except Exception as error:
            raised = type(error).__name__
    return raised, [(w.category.__name__, str(w.message)[:60]) for w in caught]


@pytest.mark.parametrize('code', [
    "torch.autocast(3)", "torch.autocast('nonsense')", "torch.autocast('cpu', dtype=torch.float64).__enter__()",
    "torch.cpu.amp.autocast()", "torch.cuda.amp.autocast(enabled=False)", "torch.cuda.amp.GradScaler(enabled=False)",
    "torch.amp.custom_fwd(device_type=3)", "torch.amp.GradScaler('cpu', growth_factor=1.0)",
    "torch.amp.GradScaler('cpu', backoff_factor=1.0)", "torch.amp.GradScaler('cpu').update()",
    "torch.amp.GradScaler('cpu').scale(3)", "torch.amp.GradScaler('cpu').load_state_dict({})",
    "torch.amp.GradScaler('cpu').step(torch.optim.SGD([torch.ones(1)], 1.0), closure=None)"])
def test_warnings_and_errors_are_pytorchs(code):
    ours, theirs = (told(lambda: eval(code, {'torch': t})) for t in (flambeau, pytest.importorskip('torch')))
    assert ours == theirs


# ---- the scaler

def scaled_training(t, unscale):
    scaler = t.amp.GradScaler('cpu', init_scale=4.0, growth_interval=2)
    weight = t.nn.Parameter(t.ones(2))
    optimizer = t.optim.SGD([weight], lr=1.0)
    seen = []
    for k in range(6):
        optimizer.zero_grad()
        loss = (weight * (float('inf') if k == 3 else 1.0)).sum()
        scaler.scale(loss).backward()
        if unscale:
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        seen.append((weight.tolist(), scaler.get_scale()))
        scaler.update()
        seen.append(scaler.state_dict())
    other = t.amp.GradScaler('cpu')
    other.load_state_dict(scaler.state_dict())
    return seen, other.state_dict(), [s.item() for s in other.scale([t.ones(()), t.ones(())])]


@pytest.mark.parametrize('unscale', [False, True])
def test_scaler_skips_steps_that_are_not_finite(unscale):
    seen, state, scaled = scaled_training(flambeau, unscale)
    assert seen[0][0] == [0, 0] and seen[6][0] == seen[4][0] and seen[7]['scale'] == seen[6][1] / 2
    assert (seen, state, scaled) == scaled_training(pytest.importorskip('torch'), unscale)


def misused(t, *steps):
    scaler, weight = t.amp.GradScaler('cpu'), t.nn.Parameter(t.ones(2))
    optimizer = t.optim.SGD([weight], lr=1.0)
    scaler.scale(weight.sum())
    if 'no gradient' not in steps:
        scaler.scale(weight.sum()).backward()
    for step in steps:
        if step in ('unscale_', 'step'):
            getattr(scaler, step)(optimizer)
        elif step == 'update':
            scaler.update()


@pytest.mark.parametrize('steps', [('unscale_', 'unscale_'), ('step', 'step'), ('step', 'unscale_'), ('update',),
                                   ('no gradient', 'step'), ('step', 'update', 'step', 'update')])
def test_scaler_refuses_what_pytorch_refuses(steps):
    assert told(lambda: misused(flambeau, *steps))[0] == told(lambda: misused(pytest.importorskip('torch'), *steps))[0]


def test_scaler_that_is_off_steps_plainly():
    scaler, weight = flambeau.amp.GradScaler('cpu', enabled=False), flambeau.nn.Parameter(flambeau.ones(2))
    optimizer = flambeau.optim.SGD([weight], lr=0.5)
    loss = weight.sum()
    assert scaler.scale(loss) is loss
    loss.backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert weight.tolist() == [0.5, 0.5] and scaler.state_dict() == {} and scaler.get_scale() == 1.0
