"""vmap and derivatives of functions: the same as doing it example by example."""
import pytest

import flambeau as torch
from flambeau import func
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
}


@pytest.mark.parametrize('name', FUNCTIONS)
def test_vmap_is_the_loop(name):
    function = FUNCTIONS[name]
    expected = torch.stack([function(x, y) for x, y in zip(X, Y)])
    torch.testing.assert_close(func.vmap(function)(X, Y), expected)
    one_shared = torch.stack([function(x, Y[0]) for x in X])
    torch.testing.assert_close(func.vmap(function, in_dims=(0, None))(X, Y[0]), one_shared)


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
