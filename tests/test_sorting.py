"""Order, what is there, and where it falls: tables of results; NaN, ties, empty and 0-d tensors; gradients; PyTorch."""
import numpy as np
import pytest

import flambeau as torch

T = torch.tensor
NAN = float('nan')


def plain(result):
    """Results as nested lists, with NaN as a text so that they compare."""
    if isinstance(result, torch.Tensor):
        result = result.tolist()
    if isinstance(result, (tuple, list)):
        return [plain(r) for r in result]
    return 'nan' if result != result else result


X = [[3.0, 1.0, NAN, 2.0], [1.0, 2.0, 3.0, 0.0]]
RESULTS = [
    (lambda: torch.sort(T(X)), [[[1, 2, 3, 'nan'], [0, 1, 2, 3]], [[1, 3, 0, 2], [3, 0, 1, 2]]]),
    (lambda: torch.sort(T(X), descending=True), [[['nan', 3, 2, 1], [3, 2, 1, 0]], [[2, 0, 3, 1], [2, 1, 0, 3]]]),
    (lambda: torch.sort(T([2, 1, 2, 1]), descending=True)[1], [0, 2, 1, 3]),
    (lambda: torch.sort(T([NAN, 1.0], dtype=torch.bfloat16))[1], [1, 0]),
    (lambda: torch.sort(T(3.0)), [3, 0]),
    (lambda: torch.sort(torch.zeros(0)), [[], []]),
    (lambda: T([2, 0, 1]).argsort(), [1, 2, 0]),
    (lambda: torch.msort(T([[2, 0], [1, 3]])), [[1, 0], [2, 3]]),
    (lambda: torch.topk(T(X), 2), [[['nan', 3], [3, 2]], [[2, 0], [2, 1]]]),
    (lambda: torch.topk(T(X), 1, 0, largest=False), [[[1, 1, 3, 0]], [[1, 0, 1, 1]]]),
    (lambda: torch.topk(T(X), 0), [[[], []], [[], []]]),
    (lambda: torch.kthvalue(T(X), 2), [[2, 1], [3, 0]]),
    (lambda: torch.median(T([3.0, 1.0, 2.0, 1.0])), 1),
    (lambda: torch.median(T(X)), 'nan'),
    (lambda: torch.median(T(X), 1), [['nan', 1], [2, 0]]),
    (lambda: torch.nanmedian(T(X), 1), [[2, 1], [3, 0]]),
    (lambda: torch.nanmedian(T([NAN, NAN])), 'nan'),
    (lambda: torch.mode(T([2, 1, 1, 2, 3]), 0, True), [[1], [2]]),
    (lambda: torch.mode(T([[5, 5, 1], [3, 1, 2]])), [[5, 1], [1, 1]]),
    (lambda: torch.cummax(T([1.0, 3.0, 3.0, NAN, 2.0]), 0), [[1, 3, 3, 'nan', 'nan'], [0, 1, 2, 3, 3]]),
    (lambda: torch.cummin(T([[2, 1], [3, 0]]), 0), [[[2, 1], [2, 0]], [[0, 0], [0, 1]]]),
    (lambda: torch.unique(T([[2, 1], [1, 3]]), return_inverse=True, return_counts=True),
     [[1, 2, 3], [[1, 0], [0, 2]], [2, 1, 1]]),
    (lambda: torch.unique(T([[1, 1, 2], [1, 1, 2], [0, 1, 0]]), dim=0, return_counts=True),
     [[[0, 1, 0], [1, 1, 2]], [1, 2]]),
    (lambda: torch.unique(T([1.0, NAN, NAN])), [1, 'nan', 'nan']),
    (lambda: torch.unique_consecutive(T([1, 1, 2, 2, 1]), True, True), [[1, 2, 1], [0, 0, 1, 1, 2], [2, 2, 1]]),
    (lambda: torch.unique_consecutive(T([[1, 1, 2], [0, 0, 2]]), dim=1), [[1, 2], [0, 2]]),
    (lambda: torch.nonzero(T([[0, 1], [2, 0]])), [[0, 1], [1, 0]]),
    (lambda: torch.nonzero(T([[0, 1], [2, 0]]), as_tuple=True), [[0, 1], [1, 0]]),
    (lambda: torch.argwhere(T(3.0)).shape, [1, 0]),
    (lambda: torch.where(T([[0, 1], [2, 0]]) > 0), [[0, 1], [1, 0]]),
    (lambda: torch.unravel_index(T([5, 6]), (3, 4)), [[1, 1], [1, 2]]),
    (lambda: torch.isin(T([1, 2, 3]), T([2, 5])), [False, True, False]),
    (lambda: torch.isin(T([1, 2]), 2, invert=True), [True, False]),
    (lambda: torch.searchsorted(T([1, 2, 3]), T([2, 5, 0])), [1, 3, 0]),
    (lambda: torch.searchsorted(T([1, 2, 3]), T([2, 5, 0]), right=True), [2, 3, 0]),
    (lambda: torch.searchsorted(T([[1, 2, 3], [3, 4, 5]]), T([[2], [5]]), side='right'), [[2], [3]]),
    (lambda: torch.searchsorted(T([3, 1, 2]), T([2]), sorter=T([1, 2, 0])), [1]),
    (lambda: torch.searchsorted(T([1.0, 2.0]), NAN), 2),
    (lambda: torch.bucketize(T([[1, 5]]), T([1, 3, 5]), right=True), [[1, 3]]),
    (lambda: torch.bincount(T([1, 2, 2]), minlength=4), [0, 1, 2, 0]),
    (lambda: torch.bincount(T([1, 2, 2]), T([1.0, 0.5, 2.0])), [0, 1, 2.5]),
    (lambda: torch.histc(T([3.0, 1.0, 2.0, 1.0]), 4), [2, 0, 1, 1]),
    (lambda: torch.histc(T([1.0, 1.0]), 4), [0, 0, 2, 0]),
    (lambda: torch.histogram(T([3.0, 1.0, 2.0, 1.0]), 2, weight=T([1.0, 2, 3, 4]), density=True),
     [[0.6000000238418579, 0.4000000059604645], [1, 2, 3]]),
    (lambda: torch.histogram(T([0.5, 4.0]), T([0.0, 1.0, 4.0])), [[1, 1], [0, 1, 4]]),
    (lambda: torch.histogramdd(T([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]]), [2, 2])[0], [[0, 1], [1, 1]]),
]


@pytest.mark.parametrize('call, expected', RESULTS)
def test_results(call, expected):
    assert plain(call()) == expected


def test_results_are_named():
    found = torch.sort(T([2.0, 1.0]))
    assert found.values.tolist() == [1, 2] and found.indices.tolist() == [1, 0]
    assert type(found).__module__ == 'torch.return_types' and found.indices.dtype is torch.int64
    assert torch.histogramdd(T([[0.0, 1.0]]), 2)._fields == ('hist', 'bin_edges')


REFUSED = [
    (lambda: torch.sort(T([1j])), RuntimeError, 'complex'),
    (lambda: torch.sort(T([1.0]), 1), IndexError, 'Dimension out of range'),
    (lambda: torch.topk(T([1.0]), 2), RuntimeError, 'out of range'),
    (lambda: torch.kthvalue(T([1.0]), 0), RuntimeError, 'out of range'),
    (lambda: torch.median(torch.zeros(0), 0), IndexError, 'non-zero size'),
    (lambda: torch.median(T([True])), NotImplementedError, 'bool'),
    (lambda: torch.quantile(T([1]), 0.5), RuntimeError, 'float or double'),
    (lambda: torch.quantile(T([1.0]), 1.5), RuntimeError, 'range'),
    (lambda: torch.quantile(T([1.0]), 0.5, interpolation='cubic'), RuntimeError, 'interpolation'),
    (lambda: torch.unique(torch.zeros(2, 0), dim=0), RuntimeError, '0 sized'),
    (lambda: torch.searchsorted(T([[1, 2]]), T([2])), RuntimeError, 'boundaries'),
    (lambda: torch.searchsorted(T([1, 2]), 1, side='left', right=True), RuntimeError, 'opposites'),
    (lambda: torch.bincount(T([-1])), RuntimeError, 'non-negative'),
    (lambda: torch.bincount(T([1.0])), NotImplementedError, 'float32'),
    (lambda: torch.histc(T([1.0]), 0), RuntimeError, 'bins'),
    (lambda: torch.histc(T([1.0, NAN])), RuntimeError, 'finite'),
    (lambda: torch.histogram(T([1.0]), 2, range=(2.0, 1.0)), RuntimeError, 'exceed'),
    (lambda: torch.unravel_index(T([1.0]), (2,)), TypeError, 'integer'),
    (lambda: torch.isin(T([True]), T([True])), RuntimeError, 'Bool'),
]


@pytest.mark.parametrize('call, kind, text', REFUSED)
def test_refusals(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


GRADIENTS = [
    (lambda x: x.sort(0)[0] * T([1.0, 2.0, 4.0]), [4, 1, 2]),
    (lambda x: x.topk(2)[0] * T([1.0, 2.0]), [1, 0, 2]),
    (lambda x: x.kthvalue(1)[0], [0, 1, 0]),
    (lambda x: x.median(), [0, 0, 1]),
    (lambda x: T([0.0, 0.0]) + x.median(0, True)[0], [0, 0, 2]),
    (lambda x: x.cummax(0)[0] * T([1.0, 2.0, 4.0]), [7, 0, 0]),
    (lambda x: torch.quantile(x, 0.25), [0, 0.5, 0.5]),
    (lambda x: torch.msort(x) * T([1.0, 2.0, 4.0]), [4, 1, 2]),
]


@pytest.mark.parametrize('call, expected', GRADIENTS)
def test_gradients(call, expected):
    x = T([3.0, 1.0, 2.0], requires_grad=True)
    call(x).sum().backward()
    assert x.grad.tolist() == expected


def test_median_shares_its_gradient_among_equal_values():
    x = T([1.0, 2.0, 2.0, 3.0, 2.0], requires_grad=True)
    x.median().backward()
    assert x.grad.tolist() == pytest.approx([0, 1 / 3, 1 / 3, 0, 1 / 3])


COMPARED = ['sort(x, 1)', 'sort(x, 0, True)', 'argsort(x, 1)', 'topk(x, 3, 1)', 'topk(x, 2, 0, False)', 'median(x, 1)',
            'nanmedian(x, 0)', 'median(x)', 'mode(k, 1)', 'cummax(x, 1)', 'cummin(x, 0)', 'unique(k, True, True, True)',
            'unique(k, dim=1)', 'unique_consecutive(k, True, True)', 'searchsorted(x.sort(1)[0], x)', 'quantile(x, 0.3, 1)',
            'quantile(x, q, 0, True)', 'nanquantile(x, q, 1)', "quantile(x, q, interpolation='midpoint')",
            "quantile(x, q, 1, interpolation='nearest')", 'histc(x[0, 1:], 7)', 'histogram(x[0, 1:], 5)', 'bincount(k[0])',
            'histogramdd(x[:, 3:5], 3)', 'isin(k, k[0])', 'kthvalue(x, 2, 1)']


@pytest.mark.parametrize('expression', COMPARED)
def test_as_in_pytorch(expression):
    theirs = pytest.importorskip('torch')
    draw = np.random.default_rng(3)
    x, k = draw.standard_normal((6, 9)), draw.integers(0, 4, (6, 9))
    x[2, 1], x[4, 0] = np.nan, np.inf
    results = []
    for framework in (torch, theirs):
        names = {'x': framework.from_numpy(x.copy()), 'k': framework.from_numpy(k.copy()),
                 'q': framework.tensor([0.1, 0.5, 0.9], dtype=framework.float64)}
        found = eval(f'framework.{expression}', {'framework': framework, **names})
        flat = []
        for part in found if isinstance(found, tuple) else [found]:
            flat += part if isinstance(part, tuple) else [part]
        results.append([part.numpy() for part in flat])
    assert len(results[0]) == len(results[1])
    for ours, expected in zip(*results):
        assert ours.dtype == expected.dtype
        np.testing.assert_allclose(ours, expected, rtol=1e-12)
