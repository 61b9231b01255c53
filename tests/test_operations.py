"""Every elementwise operation and reduction, from the registry: gradients, ways of calling, special values, strides."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.backends.cpu.properties import jit_is_on
from flambeau.ops import load_all
from flambeau.ops.definition import OPERATIONS, exports

load_all()
ELEMENTWISE = {name: op for name, op in OPERATIONS.items() if op.kind == 'elementwise'}
DIFFERENTIABLE = {name: op for name, op in ELEMENTWISE.items() if op.gradients or op.joint}
ONCE = {'nextafter'}  # steps between neighbouring numbers, far below a difference's width
APART = {  # where PyTorch's own value is inaccurate or a matter of taste: nan for zeta(3, inf), +inf for lgamma(-inf)
    'lgamma': [float('-inf')], 'zeta': [float('inf')], 'airy_ai': [-2.5, -400.0], 'gelu': [float('inf')],
    'igamma': [400.0, 1e-30, float('inf'), float('nan')],
    'igammac': [400.0, 1e-30, float('inf'), float('nan')]}
SPECIAL = [0.0, -0.0, 1e-30, -1e-30, 1.0, -1.0, 2.5, -2.5, 400.0, -400.0, float('inf'), float('-inf'), float('nan')]


def draw(op, *shapes, seed=0):
    """Float64 arrays inside the operation's domain, one a shape."""
    low, high = op.domain
    source = np.random.default_rng(seed)
    return [source.uniform(low, high, shape) for shape in shapes]


def arguments(op, arrays):
    """The positional arguments without a default: tensors for the operands, a condition, or a number."""
    tensors = iter([flambeau.tensor(a) for a in arrays])
    required = op.positional[:len(op.positional) - len(op.formula.__defaults__ or ())]
    values = [next(tensors) if name in op.promote_names else 0.5 for name in required]
    if required[0] == 'condition':
        values[0] = flambeau.tensor(arrays[0]) > 0.5
    return values


def wanting(op, values):
    """A function of the operands that have a gradient alone, and these operands, set to want it."""
    places = [k for k, value in enumerate(values)
              if isinstance(value, flambeau.Tensor) and (op.joint or op.positional[k] in op.gradients)]

    def function(*inputs):
        given = list(values)
        for k, x in zip(places, inputs):
            given[k] = x
        return op.public(*given)
    return function, [values[k].requires_grad_() for k in places]


@pytest.mark.parametrize('name', [n for n in DIFFERENTIABLE if n not in ONCE])
def test_gradients_and_their_gradients_agree_with_differences(name):
    op = DIFFERENTIABLE[name]
    shapes = [(2, 2), (2,), (2, 1)][:len(op.promote_names)]  # broadcast against each other
    function, inputs = wanting(op, arguments(op, draw(op, *shapes)))
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


def same(found, expected, **tolerances):
    assert found.dtype == expected.dtype and found.shape == expected.shape
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), **(tolerances or {'rtol': 0}))


def public_form(op, name):
    """The function or method of that name, where the operation is published."""
    if op.method:
        return getattr(flambeau.Tensor, name)
    return next((exports(n)[name] for n in op.namespaces if name in exports(n)), None)


@pytest.mark.parametrize('name', ELEMENTWISE)
def test_function_method_inplace_and_out_agree(name):
    op = ELEMENTWISE[name]
    for kind in (np.float64, np.int64, np.bool_):
        arrays = [np.abs(a).astype(kind) + (kind is np.int64) if kind is not np.float64 else a
                  for a in draw(op, *[(2, 3)] * len(op.promote_names))]
        try:
            expected = op.public(*arguments(op, arrays))
            break
        except (RuntimeError, TypeError):
            continue
    if op.method:
        same(getattr(flambeau.Tensor, name)(*arguments(op, arrays)), expected)
    out = flambeau.empty(0, dtype=expected.dtype)
    assert op.public(*arguments(op, arrays), out=out) is out
    same(out, expected)
    if op.inplace is not False:
        values = arguments(op, arrays)
        changed = public_form(op, name + '_')(*values)
        assert changed is values[0] and changed._version >= 1
        same(changed, expected.to(changed.dtype))


def torch_function(op):
    """PyTorch's function of the same name, or None."""
    torch = pytest.importorskip('torch')
    for namespace in op.namespaces:
        place = torch
        for part in namespace.split('.')[1 if namespace == 'torch' else 0:]:
            place = getattr(place, part)
        if hasattr(place, op.name):
            return getattr(place, op.name)
    return None


def special_operands(op):
    """All combinations of special values as one array an operand; then empty, 0-d and broadcast ones."""
    count = len(op.promote_names)
    apart = APART.get(op.name, [])
    values = np.array([v for v in SPECIAL if repr(v) not in map(repr, apart)])
    if 'polynomial' in op.name:
        yield np.meshgrid([0.0, -1.0, 0.5, 2.5], [0.0, 1.0, 2.0, 3.0, 7.0, -1.0])
    elif count == 1:
        yield [values]
        yield [values.reshape(1, -1, 1)]
    else:
        yield [g[tuple(slice(None, None, count - 1) for _ in range(count))] for g in
               np.meshgrid(*[values] * count, indexing='ij')]
        yield [values.reshape(-1, 1)[:3], values[None, 1:5], np.ones((1, 1))][:count]
    yield [np.zeros((2, 0))] * count
    yield [np.asarray(v) for v in (2.5, 0.5, 1.0)[:count]]


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', [n for n, op in ELEMENTWISE.items() if any(op.namespaces)])
@pytest.mark.parametrize('kind', ['float64', 'float32'])
def test_special_values_give_what_pytorch_gives(name, kind):
    torch = pytest.importorskip('torch')
    op = ELEMENTWISE[name]
    function = torch_function(op)
    if function is None:
        pytest.skip('no function of PyTorch')
    more = [0.5] * (len(arguments(op, [np.zeros(1)] * len(op.promote_names))) - len(op.promote_names))
    tolerances = {'rtol': 1e-9, 'atol': 1e-12} if kind == 'float64' else {'rtol': 2e-5, 'atol': 1e-6}
    for arrays in special_operands(op):
        arrays = [a.astype(kind) for a in arrays]
        try:
            expected = function(*[torch.tensor(a) for a in arrays], *more)
        except (RuntimeError, TypeError):
            with pytest.raises((RuntimeError, TypeError)):
                op.public(*[flambeau.tensor(a) for a in arrays], *more)
            continue
        found = op.public(*[flambeau.tensor(a) for a in arrays], *more)
        assert str(found.dtype) == str(expected.dtype) and tuple(found.shape) == tuple(expected.shape)
        np.testing.assert_allclose(found.numpy(), expected.numpy(), **tolerances)


# ---- reductions

REDUCTIONS = {
    'sum': (), 'mean': (), 'amax': (), 'amin': (), 'prod': ('dims',), 'var': (), 'std': (), 'logsumexp': ('all',),
    'nansum': (), 'nanmean': (), 'all': (), 'any': (), 'count_nonzero': ('keepdim',), 'argmax': ('dims',), 'argmin': ('dims',),
    'cumsum': ('all', 'dims', 'keepdim'), 'cumprod': ('all', 'dims', 'keepdim'), 'softmax': ('all', 'dims', 'keepdim'),
    'log_softmax': ('all', 'dims', 'keepdim'), 'logcumsumexp': ('all', 'dims', 'keepdim'), 'norm': ()}
DIMS = {'all': {}, 'first': {'dim': 0}, 'last': {'dim': -1}, 'dims': {'dim': (0, 2)}, 'keepdim': {'dim': 1, 'keepdim': True}}
UNDIFFERENTIABLE = {'all', 'any', 'count_nonzero', 'argmax', 'argmin'}
REDUCED = [(name, dims) for name, without in REDUCTIONS.items() for dims in DIMS if dims not in without]


@pytest.mark.parametrize('name, dims', [r for r in REDUCED if r[0] not in UNDIFFERENTIABLE])
def test_gradients_of_reductions(name, dims):
    x = flambeau.tensor(np.random.default_rng(1).uniform(0.5, 2, (2, 3, 2)), requires_grad=True)

    def function(x):
        return getattr(flambeau, name)(x, **DIMS[dims])
    assert gradcheck(function, (x,)) and gradgradcheck(function, (x,))


VALUES = {'plain': np.random.default_rng(2).standard_normal((2, 3, 2)), 'zeros': np.zeros((2, 3, 2)),
          'extreme': np.array([400., -400, np.inf, 0, -0.0, 1e-30, 2, -np.inf, np.nan, 3, 3, -1]).reshape(2, 3, 2),
          'integers': np.arange(12).reshape(2, 3, 2) % 5, 'bools': np.arange(12).reshape(2, 3, 2) % 3 > 0,
          'empty': np.zeros((2, 0, 2)), 'ones': np.ones((1, 1, 1)), 'float32': np.arange(12, dtype='f').reshape(2, 3, 2)}


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name, dims', REDUCED)
def test_reductions_give_what_pytorch_gives(name, dims):
    torch = pytest.importorskip('torch')
    for label, array in VALUES.items():
        for arranged in (array, array.transpose(2, 0, 1)):
            try:
                expected = getattr(torch, name)(torch.tensor(arranged), **DIMS[dims])
            except (RuntimeError, TypeError, IndexError) as refusal:
                with pytest.raises((RuntimeError, TypeError, IndexError)):
                    getattr(flambeau, name)(flambeau.tensor(arranged), **DIMS[dims])
                continue
            found = getattr(flambeau, name)(flambeau.tensor(arranged), **DIMS[dims])
            assert str(found.dtype) == str(expected.dtype) and tuple(found.shape) == tuple(expected.shape), label
            np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-6, err_msg=label)


# ---- strides

def arranged(array, how):
    """An array of the same values with other strides."""
    if how == 'transposed':
        return np.ascontiguousarray(array.T).T
    if how == 'sliced':
        wide = np.zeros((*array.shape[:-1], array.shape[-1] * 2 + 1))
        wide[..., 1::2] = array
        return wide[..., 1::2]
    return array


TAKING_ONE = [n for n, op in ELEMENTWISE.items() if len(op.promote_names) == 1 == len(arguments(op, [np.zeros(1)]))]
TAKING_TWO = [n for n, op in ELEMENTWISE.items() if len(op.promote_names) == 2 and op.positional == op.promote_names]
shapes = st.lists(st.integers(0, 4), min_size=1, max_size=3).map(tuple)
strides = st.sampled_from(['plain', 'transposed', 'sliced', 'expanded'])


def strided(array, how):
    """A tensor of the array's values, in the given arrangement of memory, and the same values in order."""
    if how == 'expanded':
        array = array[:1]
        tensor = flambeau.tensor(array).expand(3, *array.shape[1:]) if len(array) else flambeau.tensor(array)
        return tensor, tensor.contiguous()
    return flambeau.from_numpy(arranged(array, how)), flambeau.tensor(array)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(TAKING_ONE), shapes, strides)
def test_strides_do_not_matter_to_functions_of_one(name, shape, how):
    op = ELEMENTWISE[name]
    tensor, plain = strided(*draw(op, shape), how)
    agree(lambda x: op.public(x), [tensor], [plain])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(TAKING_TWO), shapes, strides, strides)
def test_strides_do_not_matter_to_functions_of_two(name, shape, how, other):
    op = ELEMENTWISE[name]
    first, second = draw(op, shape, shape)
    if 'expanded' in (how, other):
        how = other = 'expanded'
    pairs = [strided(first, how), strided(second, other)]
    agree(op.public, [p[0] for p in pairs], [p[1] for p in pairs])


def agree(function, tensors, plain):
    try:
        expected = function(*plain)
    except (RuntimeError, TypeError):  # takes no floats
        with pytest.raises((RuntimeError, TypeError)):
            function(*tensors)
        return
    np.testing.assert_allclose(function(*tensors).numpy(), expected.numpy(), rtol=1e-12)


@pytest.mark.parametrize('shapes', [((40, 8), (30, 8)), ((3, 40, 8), (5, 8)), ((2, 1, 30, 4), (3, 28, 4)), ((5, 4), (6, 4))])
@pytest.mark.parametrize('mode', ['use_mm_for_euclid_dist_if_necessary', 'use_mm_for_euclid_dist', 'donot_use_mm_for_euclid_dist'])
def test_distances_of_all_rows(shapes, mode):
    x, y = (flambeau.tensor(np.random.default_rng(k).standard_normal(s), requires_grad=True) for k, s in enumerate(shapes))
    distances = flambeau.cdist(x, y, compute_mode=mode)
    differences = (x.unsqueeze(-2) - y.unsqueeze(-3)).norm(2, -1)
    np.testing.assert_allclose(distances.detach().numpy(), differences.detach().numpy(), atol=1e-7)
    for a, b in zip(flambeau.autograd.grad(distances.square().sum(), (x, y)), flambeau.autograd.grad(differences.square().sum(), (x, y))):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)
    same = flambeau.cdist(x, x, compute_mode=mode)  # at distance 0 the gradient is 0
    assert flambeau.autograd.grad(same.sum(), x)[0].isfinite().all()


def test_large_tensors_are_changed_in_place_wherever_they_lie():
    torch = pytest.importorskip('torch')
    changes = {
        'add_': lambda x, y: x.add_(y),
        'alpha': lambda x, y: x.add_(y, alpha=0.5),
        'sub_': lambda x, y: x.sub_(y, alpha=2),
        'mul_': lambda x, y: x.mul_(3),
        'div_': lambda x, y: x.div_(7.0),
        'pow_': lambda x, y: x.pow_(2),
        'neg_': lambda x, y: x.neg_(),
        'relu_': lambda x, y: x.relu_(),
        'clamp_': lambda x, y: x.clamp_(-0.5, 1),
        'fill_': lambda x, y: x.fill_(2.5),
        'zero_': lambda x, y: x.zero_(),
        'copy_': lambda x, y: x.copy_(y),
        'row': lambda x, y: x.copy_(y[:1]),
        'masked_fill_': lambda x, y: x.masked_fill_(y > 0, 0.25),
        'item': lambda x, y: x.__setitem__((slice(3, 90), slice(2, 99)), 4.0),
        'part': lambda x, y: x.__setitem__((slice(0, 90), slice(10, 99)), y[:90, 10:99])}
    for dtype in ('float32', 'bfloat16', 'int64'):
        for name, change in changes.items():
            for turn in (lambda x: x, lambda x: x.t(), lambda x: x[:, :101]):
                if dtype == 'int64' and name in ('alpha', 'div_', 'clamp_', 'fill_', 'masked_fill_'):
                    continue
                found, wanted = [], []
                for library, results in ((flambeau, found), (torch, wanted)):
                    kind = getattr(library, dtype)
                    numbers = np.random.default_rng(0).standard_normal((2, 120, 120)).astype('float32') * 3
                    x, y = (library.tensor(n.tolist()).to(kind) for n in numbers)
                    change(turn(x), turn(y))
                    results.append(x.to(library.float32).numpy())
                np.testing.assert_allclose(found[0], wanted[0], rtol=1e-6, err_msg=f'{name} {dtype}')


# calls on tensors that are large enough for generated kernels: x and y (130, 140) of normal numbers, f for nn.functional
LARGE_CALLS = {
    'norm of rows': lambda t, f, x, y: x.norm(dim=-1),
    'norm of columns': lambda t, f, x, y: x.norm(1, dim=0, keepdim=True),
    'largest': lambda t, f, x, y: t.linalg.vector_norm(x, float('inf'), dim=1),
    'norm': lambda t, f, x, y: x.norm(),
    'norm 3': lambda t, f, x, y: t.linalg.vector_norm(x, 3.0, dim=-1),
    'norm 0': lambda t, f, x, y: t.linalg.vector_norm(x.detach(), 0, dim=0),
    'dot': lambda t, f, x, y: x.reshape(-1).dot(y.reshape(-1)),
    'outer': lambda t, f, x, y: t.outer(x[0], y[1]),
    'outer sum': lambda t, f, x, y: x[0][:, None] + y[1],
    'outer remainder': lambda t, f, x, y: t.fmod(x[0][:, None], (y[1] * 9).to(t.int64) * 2 + 1),
    'vander': lambda t, f, x, y: t.vander(x.detach()[0].sigmoid(), 70),
    'rows': lambda t, f, x, y: t.einsum('bi,bi->b', x, y),
    'batch of outer': lambda t, f, x, y: t.einsum('bi,bj->bij', x[:, :40], y[:, :30]),
    'vdot': lambda t, f, x, y: t.einsum('ij,ij->', x, y),
    'hardtanh': lambda t, f, x, y: f.hardtanh(x, -0.5, 0.7) + f.hardtanh(y, -0.25, 0.5),
    'softshrink': lambda t, f, x, y: f.softshrink(x, 0.3),
    'nan_to_num': lambda t, f, x, y: t.nan_to_num((x / (y > 1).to(x.dtype)).detach(), 0.5, 7.0, -8.0),
    'transposed': lambda t, f, x, y: f.gelu(x.t()) + y.t() * 2,
    'rot90': lambda t, f, x, y: t.rot90(x) * t.rot90(y, -1),
    'rot90 of planes': lambda t, f, x, y: t.rot90(x.reshape(10, 13, 140), 1, (1, 2)),
    'rot90 by halves': lambda t, f, x, y: t.rot90(x, 2) * t.rot90(y, 4, (1, 0)),
    'addr': lambda t, f, x, y: t.addr(x, y[:, 0], y[0], beta=0.5, alpha=2) + t.addr(y, x[:, 0], x[0]),
    'kron': lambda t, f, x, y: t.kron(x[:9, :20], y[:20, :9]) * t.kron(x[0, :18], y[:9, :10].reshape(1, 3, 30)[:, :1]).sum(),
    'block_diag': lambda t, f, x, y: t.block_diag(x, y[:3], x[0], y[0, 0]),
    'cross': lambda t, f, x, y: t.linalg.cross(x[:, :60].reshape(-1, 3), y[:1, :3]),
    'pdist': lambda t, f, x, y: t.pdist(x[:20]) + t.pdist(y[:20], 1.0),
    'flips': lambda t, f, x, y: x.flip(0) + y.flip(0, 1),
    'glu': lambda t, f, x, y: f.glu(x) + f.glu(y),
    'diff': lambda t, f, x, y: x.diff() + y.diff(dim=0)[:1, :139],
    'linspace': lambda t, f, x, y: t.linspace(-3, 7, 9001),
    'combinations': lambda t, f, x, y: t.combinations(x[0].detach(), 3)[::7],
    'combinations with replacement': lambda t, f, x, y: t.combinations(x[0, :30], 3, True),
    'next numbers': lambda t, f, x, y: t.nextafter(x, y),
    'runs': lambda t, f, x, y: t.unique_consecutive((x.detach() > 0).to(t.int64)),
    'nansum': lambda t, f, x, y: t.nansum(x / x),
    'counts': lambda t, f, x, y: (x.detach().reshape(-1).abs() * 9).to(t.int64).bincount(y.detach().reshape(-1)),
    'nll': lambda t, f, x, y: f.nll_loss(x, (y.detach()[:, 0] * 9).abs().to(t.int64)),
    'normalize': lambda t, f, x, y: f.normalize(x) * y,
    'nll of planes': lambda t, f, x, y: f.nll_loss(x.reshape(5, 4, 65, 14), y.detach().reshape(5, 4, 65, 14)[:, 0].abs().clamp(0, 3).to(t.int64)),
    'normalized': lambda t, f, x, y: f.normalize(x.detach()) - f.cosine_similarity(x.detach(), y.detach())[:, None],
    'index_select': lambda t, f, x, y: x.index_select(1, (y.detach()[0].abs() * 9).to(t.int64)) * y,
    'prod': lambda t, f, x, y: x.prod(-1),
    'prod of zeros': lambda t, f, x, y: (x * (y > -2.4).to(x.dtype)).prod(0),
    'amax': lambda t, f, x, y: x.amax((0, 1)) * y.amin(1),
}


@pytest.mark.parametrize('name', LARGE_CALLS)
def test_large_tensors_agree_with_pytorch(name):
    torch = pytest.importorskip('torch')
    found = []
    for library in (flambeau, torch):
        numbers = np.random.default_rng(0).standard_normal((2, 130, 140)).astype('float32')
        x, y = (library.tensor(n.tolist(), requires_grad=True) for n in numbers)
        result = LARGE_CALLS[name](library, library.nn.functional, x, y)
        g = result.detach() * 0.5 + 1
        slopes = library.autograd.grad(result, (x, y), g, allow_unused=True) if result.requires_grad else ()
        found.append([v.detach().numpy() for v in (result, *slopes) if v is not None])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize('name', ['add', 'sub', 'mul', 'true_divide', 'pow', 'remainder', 'fmod', 'floor_divide', 'eq', 'lt', 'xlogy'])
def test_what_was_made_for_one_number_is_not_used_for_another(name):
    x, function = flambeau.tensor([0.5, 2, 3]), getattr(flambeau, name)
    for number in (2, 3, -1, 2., 3., -1., 0.5, 0, 1, 2):
        for way in (function, getattr(flambeau.Tensor, name)):
            flambeau.testing.assert_close(way(x, number), function(x.double(), flambeau.tensor(number).double().expand(3)),
                                       check_dtype=False, equal_nan=True)


# calls whose results lie as channels_last images where their input does
CHANNELS_LAST = {
    'relu': lambda t, f, c, n: f.relu(c),
    'add': lambda t, f, c, n: c + n,
    'add another': lambda t, f, c, n: n + c,
    'where': lambda t, f, c, n: t.where(c > 0, c, n),
    'gelu': lambda t, f, c, n: f.gelu(c),
    'by channels': lambda t, f, c, n: c * t.ones(32, 1, 1),
    'bfloat16': lambda t, f, c, n: c.bfloat16(),
    'batch_norm': lambda t, f, c, n: f.batch_norm(c, None, None, training=True),
    'group_norm': lambda t, f, c, n: f.group_norm(c, 8),
    'softmax': lambda t, f, c, n: c.softmax(1),
    'layer_norm': lambda t, f, c, n: f.layer_norm(c, (12,)),
    'mean': lambda t, f, c, n: c.mean((2, 3), True),
    'max_pool2d': lambda t, f, c, n: f.max_pool2d(c, 2),
    'avg_pool2d': lambda t, f, c, n: f.avg_pool2d(c, 2),
    'cumsum': lambda t, f, c, n: c.cumsum(1),
    'nearest': lambda t, f, c, n: f.interpolate(c, scale_factor=2),
    'bilinear': lambda t, f, c, n: f.interpolate(c, scale_factor=2, mode='bilinear'),
    'pad': lambda t, f, c, n: f.pad(c, (1, 2, 3, 0)),
    'reflect': lambda t, f, c, n: f.pad(c, (1, 1, 2, 1), 'reflect'),
    'pow': lambda t, f, c, n: c ** 2,
    'pad channels': lambda t, f, c, n: f.pad(c, (0, 1, 0, 0, 2, 3), value=0.5),
    'crop': lambda t, f, c, n: f.pad(c, (-1, 0, -2, 1)),
}


@pytest.mark.parametrize('name', CHANNELS_LAST)
def test_channels_last_results_lie_as_pytorchs(name):
    torch, found = pytest.importorskip('torch'), []
    for library in (flambeau, torch):
        numbers = np.random.default_rng(0).standard_normal((2, 3, 32, 12, 12)).astype('float32')
        c, n = (library.tensor(v.tolist()) for v in numbers)
        c = c.contiguous(memory_format=library.channels_last)
        result = CHANNELS_LAST[name](library, library.nn.functional, c, n)
        found.append((result.float().numpy(), tuple(result.stride())))
    (ours, strides), (theirs, expected) = found
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert strides == expected or not jit_is_on()  # array functions lay results out by rules of their own


@pytest.mark.parametrize('width', [1, 2, 3])
def test_columns_are_changed_in_place_as_matrices_are(width):
    base = flambeau.tensor(np.sin(np.arange(8.)).reshape(2, 4).astype('float32'))
    for name in ('neg_', 'exp_', 'tanh_', 'sigmoid_', 'abs_', 'reciprocal_'):
        x = base.clone()
        getattr(x[:, :width], name)()
        expected = base.clone()
        expected[:, :width] = getattr(base[:, :width].clone(memory_format=flambeau.contiguous_format), name[:-1])()
        flambeau.testing.assert_close(x, expected)


@pytest.mark.parametrize('shape', [(3,), (2, 3), (1,)])
@pytest.mark.parametrize('p', [0.5, -1.0, 1.2, 5.0])
def test_gradients_of_norms_of_few_numbers_keep_the_dtype(shape, p):
    x, y = (flambeau.rand(shape).requires_grad_() for _ in range(2))
    for result in (flambeau.nn.functional.pairwise_distance(x, y, p), flambeau.nn.functional.normalize(x, p, 0)):
        found = flambeau.autograd.grad(result.sum(), [x])[0]
        assert found.dtype is flambeau.float32


def test_numbers_without_dimensions_are_read_and_written_by_index():
    x, at = flambeau.tensor(2.0, requires_grad=True), flambeau.tensor(0)
    for result in (x.gather(0, at), x.scatter(0, at, 2.5), x.scatter_add(0, at, x), x.sort()[0], x.topk(1)[0],
                   x.index_reduce(0, at.reshape(1), x.detach().reshape(1), 'prod')):
        assert result.shape == ()
    x.sort()[0].backward()
    assert x.grad == 1
