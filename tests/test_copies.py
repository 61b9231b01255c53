"""Copies of views share no memory; unsafe parts may be written; results of static size."""
import numpy as np
import pytest

import flambeau as torch

X = torch.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize('name, arguments, shape', [
    ('alias', (), (2, 3)), ('as_strided', ((2, 2), (1, 1)), (2, 2)), ('detach', (), (2, 3)), ('diagonal', (), (2,)),
    ('expand', ((4, 2, 3),), (4, 2, 3)), ('narrow', (1, 1, 2), (2, 2)), ('permute', ((1, 0),), (3, 2)),
    ('select', (1, 0), (2,)), ('slice', (1, 0, 2), (2, 2)), ('squeeze', (), (2, 3)), ('t', (), (3, 2)),
    ('transpose', (0, 1), (3, 2)), ('unfold', (1, 2, 1), (2, 2, 2)), ('unsqueeze', (0,), (1, 2, 3)),
    ('view', ((6,),), (6,))])
def test_copies_have_memory_of_their_own_and_a_gradient(name, arguments, shape):
    x = X.clone().requires_grad_()
    made = getattr(torch, name + '_copy')(x, *arguments)
    assert tuple(made.shape) == shape and not np.shares_memory(made.detach().numpy(), x.detach().numpy())
    if name != 'detach':
        assert torch.autograd.grad(made.sum(), x)[0].sum().item() == made.numel()


def test_copies_of_parts():
    for parts in (torch.split_copy(X, 2, 1), torch.split_with_sizes_copy(X, [2, 1], 1), torch.unbind_copy(X, 1)):
        assert torch.cat([p.reshape(2, -1) for p in parts], 1).tolist() == X.tolist()
        assert not any(np.shares_memory(p.numpy(), X.numpy()) for p in parts)


def test_unsafe_parts_may_be_written_and_the_gradient_follows():
    x = X.clone().requires_grad_()
    y = x * 1
    first, second = torch.unsafe_chunk(y, 2, 1)
    first.mul_(3)
    y.sum().backward()
    assert x.grad.tolist() == [[3, 3, 1], [3, 3, 1]] and second.shape == (2, 1)
    assert [tuple(p.shape) for p in torch.unsafe_split(X, 2, 1)] == [(2, 2), (2, 1)]
    assert [tuple(p.shape) for p in X.unsafe_split_with_sizes([1, 2], 1)] == [(2, 1), (2, 2)]


def test_static_sizes():
    assert torch.nonzero_static(torch.eye(2), size=3).tolist() == [[0, 0], [1, 1], [-1, -1]]
    assert torch.nonzero_static(torch.eye(3), size=1, fill_value=7).tolist() == [[0, 0]]
    with pytest.raises(RuntimeError):
        torch.nonzero_static(torch.eye(2), size=-1)


def test_hashes_are_the_exclusive_or_of_bits():
    assert torch.hash_tensor(torch.tensor([1.0])).item() == 0x3FF0000000000000
    assert torch.hash_tensor(torch.tensor([[1, 2], [5, 5]]), 1).tolist() == [3, 0]
    with pytest.raises(RuntimeError):
        torch.hash_tensor(torch.ones(2), mode=1)


def test_named_tuples_of_results_are_public():
    made = torch.max(X, 1)
    assert type(made) is torch.return_types.max and made.values.tolist() == [2, 5]
    assert torch.return_types.topk._fields == ('values', 'indices')
    with pytest.raises(AttributeError):
        torch.return_types.nothing
