"""Calls met again, which are replayed: they answer what the formula answers, and refuse what it refuses."""
from __future__ import annotations

import numpy as np
import pytest

import flambeau as torch
import flambeau.nn.functional as F
from flambeau.backends.cpu.properties import jit_is_on
from flambeau.ops.definition import OPERATIONS
from flambeau.ops.reference import REFERENCE

CALLS = {
    'max_pool2d': lambda x: F.max_pool2d(x, 2), 'max_pool2d with places': lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True),
    'avg_pool2d': lambda x: F.avg_pool2d(x, 2, ceil_mode=True), 'avg_pool1d': lambda x: F.avg_pool1d(x[0], 3, 1, 1),
    'adaptive_avg_pool2d': lambda x: F.adaptive_avg_pool2d(x, (3, 2)), 'adaptive_max_pool2d': lambda x: F.adaptive_max_pool2d(x, 2),
    'topk': lambda x: x.topk(2), 'smallest': lambda x: x.topk(3, 1, largest=False), 'sort': lambda x: x.sort(descending=True),
    'argsort': lambda x: x.argsort(2), 'cumsum': lambda x: x.cumsum(1), 'cumprod': lambda x: x.cumprod(-1),
    'gather': lambda x: x.gather(1, (x > 0).long()), 'norm': lambda x: x.norm(dim=1), 'masked_fill': lambda x: x.masked_fill(x > 0, 7.5),
}


def _arrays(result):
    return [t.numpy() for t in result] if isinstance(result, tuple) else [result.numpy()]


@pytest.mark.parametrize('name', CALLS)
@pytest.mark.parametrize('form', ['plain', 'turned', 'small'])
def test_later_calls_answer_as_the_first(name, form):
    generator = np.random.default_rng(len(name))
    for again in range(4):
        values = generator.standard_normal((2, 4, 6, 6)).astype(np.float32)
        values[0, 0, 0, :3] = [np.nan, np.inf, values[0, 0, 0, 3]][:3]
        x = torch.from_numpy(values)
        if form == 'turned':
            x = x.transpose(2, 3)
        elif form == 'small':
            x = x[:1, :, :4, :4]
        found = _arrays(CALLS[name](x))
        other = torch.from_numpy(np.pad(values, ((0, again + 1), (0, 0), (0, 0), (0, 0))))  # never met before
        other = other.transpose(2, 3) if form == 'turned' else other[:again + 2, :, :4, :4] if form == 'small' else other
        for a, b in zip(found, _arrays(CALLS[name](other))):
            np.testing.assert_array_equal(a, b[:len(a)])


def test_places_out_of_range_are_refused_every_time():
    x, good, bad = torch.randn(3, 4), torch.tensor([[0, 3]]), torch.tensor([[0, 4]])
    for _ in range(3):
        assert x.gather(1, good).shape == (1, 2)
        with pytest.raises(RuntimeError, match='index 4 is out of bounds'):
            x.gather(1, bad)


@pytest.mark.skipif(not jit_is_on(), reason='needs kernels')
def test_calls_met_again_run_nothing_but_kernels():
    x = torch.randn(2, 3, 8, 8)
    for _ in range(3):
        F.max_pool2d(x, 2)
    plans = F.max_pool2d.__globals__['plans']
    assert any(callable(plan) and plan.__name__ == 'replay' for plan in plans.values())


@pytest.mark.skipif(not jit_is_on(), reason='needs kernels')
def test_what_arrays_cannot_show_is_never_replayed():
    """A formula that computes with an array otherwise than by kernels is run every time."""
    from flambeau.backends.cpu.replay import replayed
    x = np.ones(4, np.float32)
    assert replayed(lambda m, x: x + 1, None, (x,)) is None
    pool = OPERATIONS['max_pool2d']
    assert replayed(lambda m, x: pool.formula(m, x * 2, 2), REFERENCE,
                    (np.ones((1, 1, 4, 4), np.float32),)) is None


