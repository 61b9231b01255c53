"""Backward and its rules: accumulation, views and in-place writes, hooks, custom functions, modes, errors."""
import threading

import pytest

import flambeau as torch
from flambeau.autograd import Function, Variable, functional, grad, gradcheck, gradgradcheck
from flambeau.autograd.saved import disable_saved_tensors_hooks, saved_tensors_hooks
from flambeau.utils.checkpoint import checkpoint


def leaf(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


# ---- backward

def test_gradients_accumulate_and_are_not_shared():
    x, y = leaf(1., 2.), leaf(3., 4.)
    (x + y).sum().backward()
    (x + y).sum().backward()
    assert x.grad.tolist() == y.grad.tolist() == [2., 2.]
    x.grad.zero_()
    assert y.grad.tolist() == [2., 2.]


def test_backward_with_weights_and_through_both_uses():
    x = leaf(1., 2.)
    (x * x).backward(torch.tensor([1., 10.], dtype=torch.float64))
    assert x.grad.tolist() == [2., 40.]


def test_gradients_of_any_order():
    x = leaf(0.5)
    y = x.exp() * x
    for order in range(1, 5):
        y, = grad(y.sum(), x, create_graph=True)
        assert y.item() == pytest.approx((0.5 + order) * 2.718281828459045 ** 0.5)


def test_grad_of_inner_tensors_and_unused_ones():
    x, z = leaf(1., 2.), leaf(5.)
    y = x * 3
    assert grad((y * y).sum(), y)[0].tolist() == [6., 12.]
    assert x.grad is None
    with pytest.raises(RuntimeError, match='not have been used'):
        grad((x * 2).sum(), z)
    assert grad((x * 2).sum(), z, allow_unused=True) == (None,)
    assert grad((x * 2).sum(), z, materialize_grads=True)[0].tolist() == [0.]


def test_backward_inputs_leaves_others_alone():
    x, y = leaf(1.), leaf(2.)
    (x * y).sum().backward(inputs=[x])
    assert x.grad.tolist() == [2.] and y.grad is None


def test_broadcast_operands_get_gradients_of_their_shape():
    a = torch.ones(3, 1, requires_grad=True)
    b = torch.ones(4, requires_grad=True)
    (a * b + a).sum().backward()
    assert a.grad.tolist() == [[8.]] * 3 and b.grad.tolist() == [3.] * 4


def test_mixed_dtypes_keep_their_own():
    a = torch.ones(2, dtype=torch.float32, requires_grad=True)
    b = torch.ones(2, dtype=torch.float64, requires_grad=True)
    (a * b).sum().backward()
    assert a.grad.dtype is torch.float32 and b.grad.dtype is torch.float64


@pytest.mark.parametrize('use, message', [
    (lambda x: (x * 2).backward(), 'only for scalar outputs'),
    (lambda x: torch.ones(1).sum().backward(), 'does not require grad'),
    (lambda x: (x * 2).sum().backward(torch.ones(3)), 'Mismatch in shape'),
    (lambda x: torch.tensor([1, 2], requires_grad=True), 'floating point'),
    (lambda x: x.numpy(), 'detach'),
    (lambda x: (x * 2).requires_grad_(False), 'leaf'),
    (lambda x: setattr(x, 'grad', torch.ones(3)), 'different'),
])
def test_refusals(use, message):
    with pytest.raises(RuntimeError, match=message):
        use(leaf(1., 2.))


def test_second_backward_needs_retain_graph():
    x = leaf(1., 2.)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match='retain_graph=True'):
        y.backward()
    assert x.grad.tolist() == [4., 8.]


@pytest.mark.parametrize('shared', [lambda x: x + 1, lambda x: x.double(), lambda x: x.reshape(1, 2), lambda x: x[1:],
                                    lambda x: x.sum(), lambda x: torch.stack([x, x])])
def test_nodes_that_hold_no_tensor_are_passed_again(shared):
    x = leaf(1., 2.)
    y = shared(x)
    y.sum().backward()
    first = x.grad.tolist()
    (2 * y).sum().backward()
    assert x.grad.tolist() == [3 * g for g in first]


# ---- views and writing in place

def test_writing_a_view_changes_its_base_and_the_gradient():
    x = leaf(1., 2., 3.)
    y = x * 1
    y[:1].mul_(10)
    assert y.tolist() == [10., 2., 3.] and type(y.grad_fn).__name__ == 'CopySlices'
    y.sum().backward()
    assert x.grad.tolist() == [10., 1., 1.]


def test_views_follow_what_their_base_becomes():
    x = leaf(1., 2.)
    y = x * 1
    view = y[1:]
    y.mul_(5)
    view.sum().backward()
    assert view.tolist() == [10.] and x.grad.tolist() == [0., 5.]


def test_a_plain_base_starts_to_require_a_gradient():
    base, w = torch.zeros(3, dtype=torch.float64), leaf(2.)
    view, rest = base[:1], base[1:]
    view.add_(w)
    assert base.requires_grad and rest.requires_grad
    (base * 3).sum().backward()
    assert w.grad.tolist() == [3.]


def test_assignment_is_differentiable():
    x, w = leaf(1., 2., 3.), leaf(7.)
    y = x * 1
    y[1] = w[0] * 2
    (y * y).sum().backward()
    assert x.grad.tolist() == [2., 0., 6.] and w.grad.tolist() == [56.]


def test_double_backward_through_written_views():
    def function(x):
        y = x * x
        y[:1].mul_(3)
        return (y * x).sum()
    assert gradcheck(function, (leaf(0.3, 0.7),)) and gradgradcheck(function, (leaf(0.3, 0.7),))


def test_writing_over_a_saved_value_names_the_operation_and_the_line():
    x = leaf(1., 2.)
    y = x.exp()
    y.add_(1)  # this line
    with pytest.raises(RuntimeError, match=r'(?s)inplace operation.*ExpBackward0.*add_ at .*test_autograd\.py:\d+'):
        y.sum().backward()


def test_leaves_are_not_written_while_recording():
    x = leaf(1., 2.)
    for write in (lambda: x.add_(1), lambda: x[:1].mul_(2), lambda: x.__setitem__(0, 5.)):
        with pytest.raises(RuntimeError, match='leaf'):
            write()
    assert x.tolist() == [1., 2.]
    with torch.no_grad():
        x.add_(1)
    assert x.tolist() == [2., 3.] and x.is_leaf and x.requires_grad


def test_several_outputs_of_one_view_are_not_written():
    a, b = (leaf(1., 2.) * 1).split(1)
    with pytest.raises(RuntimeError, match='multiple views'):
        a.mul_(2)
    assert b.tolist() == [2.]


def test_detached_memory_counts_writes():
    x = leaf(1., 2.)
    y = x * 1
    z = y * y
    y.detach().zero_()
    with pytest.raises(RuntimeError, match='inplace'):
        z.sum().backward()


# ---- modes

def test_modes_switch_recording_and_back():
    x = leaf(1.)
    with torch.no_grad():
        assert not (x * 2).requires_grad
        with torch.enable_grad():
            assert (x * 2).requires_grad
    with torch.set_grad_enabled(False):
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        assert torch.is_inference_mode_enabled() and not (x * 2).requires_grad

    @torch.no_grad()
    def function():
        return (x * 2).requires_grad

    @torch.no_grad()
    def generator():
        yield (x * 2).requires_grad
        yield (x * 2).requires_grad
    assert not function() and list(generator()) == [False, False] and torch.is_grad_enabled()
    steps = generator()
    next(steps)
    assert torch.is_grad_enabled()


def test_modes_belong_to_their_thread():
    seen = []
    with torch.no_grad():
        thread = threading.Thread(target=lambda: seen.append(torch.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


# ---- hooks

def test_hooks_see_and_replace_gradients():
    x = leaf(1., 2.)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    y.register_hook(lambda g: g * 10)
    handle = x.register_hook(lambda g: g + 1)
    y.retain_grad()
    y.sum().backward()
    assert seen == [[1., 1.]] and y.grad.tolist() == [10., 10.] and x.grad.tolist() == [21., 21.]
    handle.remove()
    x.grad = None
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2., 2.]


def test_hooks_after_accumulation_and_on_nodes():
    x, calls = leaf(1.), []
    x.register_post_accumulate_grad_hook(lambda p: calls.append(p.grad.item()))
    y = x * 3
    y.grad_fn.register_hook(lambda inner, outer: calls.append((inner[0].item(), outer[0].item())))
    y.grad_fn.register_prehook(lambda outer: (outer[0] * 2,))
    y.sum().backward()
    assert calls == [(6., 2.), 6.]


def test_graph_is_visible():
    x = leaf(1.)
    y = (x * 2).exp()
    assert y.grad_fn.name() == 'ExpBackward0'
    inner = y.grad_fn.next_functions[0][0]
    assert inner.name() == 'MulBackward0' and inner.next_functions[0][0].variable is x


# ---- custom functions

class Product(Function):
    @staticmethod
    def forward(ctx, a, b, factor):
        ctx.factor = factor
        ctx.save_for_backward(a, b)
        return a * b * factor

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        return (g * b * ctx.factor if ctx.needs_input_grad[0] else None,
                g * a * ctx.factor if ctx.needs_input_grad[1] else None, None)


class KeepsOutput(Function):
    @staticmethod
    def forward(x):
        return x.exp(), x.argmax()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output[0])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx, g, _):
        y, = ctx.saved_tensors
        return g * y


def test_custom_functions():
    x, y = leaf(0.5, 2.), leaf(3., 4.)
    assert gradcheck(lambda a, b: Product.apply(a, b, 2.0), (x, y))
    assert gradgradcheck(lambda a, b: Product.apply(a, b, 2.0), (x, y))
    assert gradgradcheck(lambda a: KeepsOutput.apply(a)[0], (x,))
    assert not KeepsOutput.apply(x)[1].requires_grad
    assert repr(Product.apply(x, y, 1.)).endswith('grad_fn=<ProductBackward>)')


def test_wrong_custom_functions_are_told():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g, g, g
    with pytest.raises(RuntimeError, match='incorrect number of gradients'):
        Wrong.apply(leaf(1.)).sum().backward()
    with pytest.raises(TypeError, match='save_for_backward'):
        class Saves(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(3)
                return x
        Saves.apply(leaf(1.))


# ---- anomaly, saved values, checkpoints

def test_anomaly_names_the_forward_line():
    x = leaf(0.)
    with torch.autograd.detect_anomaly():
        y = x.log() * 0  # the culprit
        with pytest.raises(RuntimeError, match=r'(?s)nan values.*x\.log\(\) \* 0  # the culprit'):
            y.sum().backward()


def test_saved_tensor_hooks():
    x, y, packed = leaf(2.), leaf(3.), []
    with saved_tensors_hooks(lambda t: packed.append(t) or len(packed) - 1, lambda k: packed[k]):
        z = (x * y).exp()
    z.sum().backward()
    assert len(packed) == 3 and x.grad.item() == pytest.approx(3 * 2.718281828459045 ** 6)
    with disable_saved_tensors_hooks('no hooks here'), pytest.raises(RuntimeError, match='no hooks here'):
        with saved_tensors_hooks(lambda t: t, lambda t: t):
            pass


def test_checkpoint_computes_again_with_the_same_numbers():
    torch.manual_seed(0)
    layer = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.5), torch.nn.Tanh())
    x = torch.randn(3, 4, requires_grad=True)
    results = []
    for run in (lambda: layer(x), lambda: checkpoint(layer, x, use_reentrant=False)):
        x.grad = layer[0].weight.grad = None
        torch.manual_seed(7)
        run().sum().backward()
        results.append((x.grad, layer[0].weight.grad))
    torch.testing.assert_close(*results)


# ---- functions of functions

def test_derivatives_of_functions():
    x = leaf(0.5, 2.)
    torch.testing.assert_close(functional.jacobian(lambda v: v ** 2, x), torch.diag(2 * x.detach()))
    torch.testing.assert_close(functional.hessian(lambda v: (v ** 3).sum(), x), torch.diag(6 * x.detach()))
    v = torch.ones_like(x)
    torch.testing.assert_close(functional.jvp(lambda a: a.exp(), x, v)[1], x.detach().exp())
    torch.testing.assert_close(functional.vjp(lambda a: a.exp(), x, v)[1], x.detach().exp())
    torch.testing.assert_close(functional.hvp(lambda a: (a ** 3).sum(), x, v)[1], 6 * x.detach())


def test_gradcheck_finds_wrong_gradients():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 3
    assert not gradcheck(Wrong.apply, (leaf(1.),), raise_exception=False)


def test_variable_is_the_historical_name():
    x = Variable(torch.ones(2), requires_grad=True)
    assert isinstance(x, Variable) and isinstance(torch.ones(1), Variable) and x.requires_grad


@pytest.mark.parametrize('name, wanted', [('mul', 0), ('mul', 1), ('_convolution', 0), ('_convolution', 1), ('_cat', 0)])
def test_gradients_that_lead_to_no_target_are_not_computed(name, wanted, monkeypatch):
    """autograd.grad(y, x) leaves out what the other operands would take."""
    from flambeau.ops.definition import OPERATIONS, Plan
    x, w = torch.randn(1, 2, 4, 4, requires_grad=True), torch.randn(1, 2, 4, 4, requires_grad=True)
    out = {'mul': lambda: x * w, '_convolution': lambda: torch.nn.functional.conv2d(x, w), '_cat': lambda: torch.cat([x, w])}[name]()
    both = torch.autograd.grad(out.sum(), (x, w), retain_graph=True)
    seen, pull = [], Plan.pull

    def watched(self, node, *rest):
        grads = pull(self, node, *rest)
        if self.operation is OPERATIONS[name]:
            seen.append([g is not None for g in grads])
        return grads
    monkeypatch.setattr(Plan, 'pull', watched)
    alone, = torch.autograd.grad(out.sum(), (x, w)[wanted], retain_graph=True)
    assert torch.equal(alone, both[wanted])
    assert seen == [[True, True] if name == '_cat' else [k == wanted for k in range(2)]]
    recorded, = torch.autograd.grad(out.sum(), (x, w)[wanted], create_graph=True)
    assert torch.equal(recorded.detach(), alone)
