"""Calls a function of nn.functional here and in PyTorch, and holds values, gradients and second gradients together."""
import numpy as np
import pytest

import flambeau
import flambeau.nn.functional as F


def arrays(seed, *shapes, dtype='float64'):
    """Standard normal arrays, None for None."""
    draw = np.random.default_rng(seed)
    return [None if shape is None else draw.standard_normal(shape).astype(dtype) for shape in shapes]


def listed(results):
    return list(results) if isinstance(results, (tuple, list)) else [results]


def derivatives(framework, function, operands, arguments, weights):
    """[values, gradients of the first value weighed, gradients of these] as NumPy arrays; `weights` makes arrays."""
    tensors = [framework.tensor(a) if isinstance(a, np.ndarray) else a for a in operands]
    inputs = [t for t in tensors if hasattr(t, 'requires_grad_') and t.is_floating_point()]
    for t in inputs:
        t.requires_grad_()
    values = listed(function(*tensors, **arguments))
    result = [v.detach().numpy() for v in values]
    if not values[0].requires_grad:
        return result
    cotangent = framework.tensor(weights(tuple(values[0].shape))).requires_grad_()
    first = framework.autograd.grad(values[0], inputs, cotangent, create_graph=True)
    result += [g.detach().numpy() for g in first]
    scores = [(g * framework.tensor(weights(tuple(g.shape)))).sum() for g in first if g.requires_grad]
    second = framework.autograd.grad(scores, [cotangent, *inputs], allow_unused=True)
    return result + [np.zeros(()) if g is None else g.detach().numpy() for g in second]


def agree(name, *operands, **arguments):
    """Asserts that `name` gives PyTorch's values and derivatives; operands that are arrays become tensors."""
    torch = pytest.importorskip('torch')

    def weights(shape):
        return np.random.default_rng(len(shape) + sum(shape)).standard_normal(shape)
    expected = derivatives(torch, getattr(torch.nn.functional, name), operands, arguments, weights)
    found = derivatives(flambeau, getattr(F, name), operands, arguments, weights)
    assert len(found) == len(expected)
    for k, (ours, theirs) in enumerate(zip(found, expected)):
        assert ours.dtype == theirs.dtype and (ours.shape == theirs.shape or not theirs.any()), f'{name}: result {k}'
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9, err_msg=f'{name}: result {k}')
