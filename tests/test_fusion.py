"""Fused kernels against the same formulas over NumPy arrays in float64: shapes, strides, folds, thread counts, levels."""
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings, strategies

import flambeau
from flambeau.ops.reference import REFERENCE

pytest.importorskip('llvmlite')
if os.environ.get('FLAMBEAU_JIT') == '0':
    pytest.skip('kernels are switched off', allow_module_level=True)

from flambeau.backends.cpu import fusion, launch  # noqa: E402
from flambeau.ops import cross_entropy, normalization, update  # noqa: E402


def softmax(m, x):
    powers = m.exp(x - m.amax(x, -1, True))
    return powers / m.sum(powers, -1, True)


def variance(m, x):
    offsets = x - m.mean(x, -1, True)
    return m.mean(offsets * offsets, -1, True)


POINTWISE = {
    'arithmetic': lambda m, x, y: (x * 2 + y) / (m.abs(y) + 1.5) - x,
    'chain': lambda m, x, y: m.tanh(x * 2 + 1) * y + m.exp(x),
    'where': lambda m, x, y: m.where((x > y) & ~(x >= 2), m.sqrt(m.abs(x)), m.maximum(y, 0.5)),
    'logarithms': lambda m, x, y: m.log(m.abs(x) + 1e-3) + m.log1p(m.abs(y)) - m.expm1(-m.abs(x)),
    'sigmoid': lambda m, x, y: m.sigmoid(x) * m.erf(y) + m.rsqrt(m.abs(x) + 1),
    'rounding': lambda m, x, y: m.floor(x) + m.ceil(y) * m.trunc(x) + m.sign(y),
    'truth': lambda m, x, y: x < y,
}
SHAPES = [((5,), (5,)), ((3, 7), (3, 7)), ((4, 33), (33,)), ((4, 33), (4, 1)), ((2, 3, 17), (2, 3, 17)), ((40_003,), (40_003,)),
          ((6, 5, 20), (1,))]


def drawn(shape, dtype, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype) * 2


def close(found, wanted, dtype):
    assert found.dtype == (wanted.dtype if wanted.dtype == bool else dtype) and found.shape == wanted.shape
    tolerance = {'float32': 3e-6, 'float64': 1e-14}[dtype]
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
@pytest.mark.parametrize('shapes', SHAPES)
@pytest.mark.parametrize('name', POINTWISE)
def test_pointwise_formulas(name, shapes, dtype):
    x, y = drawn(shapes[0], dtype), drawn(shapes[1], dtype, 1)
    found = fusion.run(POINTWISE[name], x, y)
    assert found is not None
    close(found, POINTWISE[name](REFERENCE, x.astype('float64'), y.astype('float64')), dtype)


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
@pytest.mark.parametrize('shape', [(3, 5), (2, 4, 64), (7, 1000), (300, 17), (1, 70_001)])
@pytest.mark.parametrize('formula', [softmax, variance])
def test_folds_over_rows(formula, shape, dtype):
    x = drawn(shape, dtype)
    found = fusion.run(formula, x)
    assert found is not None
    close(found, formula(REFERENCE, x.astype('float64')), dtype)


@given(strategies.integers(1, 6), strategies.integers(1, 50), strategies.integers(2, 70), strategies.booleans())
@settings(max_examples=30, deadline=None)
def test_normalisation_over_batch_and_space_and_over_the_last_axis(n, c, s, over_batch):
    x, g = drawn((n, c, s), 'float64'), drawn((n, c, s), 'float64', 1)
    axes, affine = ((0, 2), (1, c, 1)) if over_batch and n > 1 else ((2,), (1, 1, s))
    w, b = drawn(affine, 'float64', 2), drawn(affine, 'float64', 3)
    count = float(np.prod([x.shape[a] for a in axes]))
    forward = x, w, b, axes, count, 1e-5, True
    wanted = normalization._standardized(REFERENCE, *forward)
    found = fusion.run(normalization._standardized, *forward)
    for a, e in zip(found or wanted, wanted):
        np.testing.assert_allclose(a, e, rtol=1e-9, atol=1e-9)
    backward = g, x, w, wanted[1], wanted[2], None, None, axes, affine, count, 1e-5, True, True, True
    wanted = normalization._standardized_gradients(REFERENCE, *backward)
    found = fusion.run(normalization._standardized_gradients, *backward)
    for a, e in zip(found or wanted, wanted):
        np.testing.assert_allclose(a.reshape(e.shape), e, rtol=1e-9, atol=1e-9)


def softmax_along(m, x, dim):
    powers = m.exp(x - m.amax(x, dim, True))
    return powers / m.sum(powers, dim, True)


def standardized(m, x, w, dim):
    mean = m.mean(x, dim, True)
    offsets = x - mean
    spread = m.mean(offsets * offsets, dim, True)
    return offsets * m.rsqrt(spread + 1e-5) * w, mean, spread


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
@pytest.mark.parametrize('shape, dim', [((5, 7), 0), ((8, 64), 0), ((3, 5, 7), 1), ((2, 21, 300), 1), ((4, 6, 5, 9), 1),
                                        ((130, 70), 0), ((64, 1000), 0), ((2, 3, 4, 5), (1, 2)), ((9, 1), 0)])
def test_folds_down_columns(shape, dim, dtype):
    x, axes = drawn(shape, dtype), np.atleast_1d(dim)
    close(fusion.run(softmax_along, x, dim), softmax_along(REFERENCE, x.astype('float64'), dim), dtype)
    for along in (True, False):  # a factor for each place of a column, or for each column
        w = drawn([n if (k in axes) == along else 1 for k, n in enumerate(shape)], dtype, 1)
        wanted = standardized(REFERENCE, x.astype('float64'), w.astype('float64'), dim)
        for a, e in zip(fusion.run(standardized, x, w, dim), wanted):
            np.testing.assert_allclose(a, e, rtol=2e-5 if dtype == 'float32' else 1e-12, atol=2e-6)


@pytest.mark.parametrize('shape, dim', [((5, 7), 1), ((5, 7), 0), ((5, 7), None), ((3, 4, 5), (0, 2)), ((6,), 0), ((3, 4, 5), (1,))])
def test_folds_without_their_axes(shape, dim):
    x = drawn(shape, 'float32')
    for formula in (lambda m, x: m.sum(x, dim), lambda m, x: m.sqrt(m.mean(x * x, dim)) + 1.0):
        found = fusion.run(formula, x)
        assert found is not None
        close(found, np.asarray(formula(REFERENCE, x.astype('float64'))), 'float32')


@given(strategies.integers(1, 9), strategies.integers(2, 70))
@settings(max_examples=20, deadline=None)
def test_places_along_rows(rows, classes):
    x, target = drawn((rows, classes), 'float64'), np.random.default_rng(rows).integers(0, classes, (rows, 1))
    for formula in (cross_entropy._class_losses, lambda m, x, t: cross_entropy._class_slopes(m, x, t, 0.5)):
        np.testing.assert_allclose(fusion.run(formula, x, target), formula(REFERENCE, x, target), rtol=1e-12, atol=1e-13)


def test_few_numbers_take_a_kernel_where_several_functions_would_be_called():
    x = drawn((4, 4), 'float32')
    assert REFERENCE.planned(softmax, (x,)) and REFERENCE.planned(lambda m, x: m.sum(x, 1), (x,))
    assert not REFERENCE.planned(lambda m, x: m.exp(x), (x,))
    assert not REFERENCE.planned(softmax, (x.astype('float64'),)) and not REFERENCE.planned(softmax, (x[:0],))


def looked_at_otherwise(random, shape, dtype):
    """An array of a shape whose axes lie in memory in a random order, some of them with gaps, some broadcast."""
    order = random.permutation(len(shape))
    steps = random.choice([1, 1, 1, 2], len(shape))
    kept = [1 if random.random() < 0.15 else shape[k] for k in order]
    made = random.normal(size=[n * s for n, s in zip(kept, steps)]).astype(dtype)
    made = made[tuple(slice(None, None, s) for s in steps)].transpose(np.argsort(order))
    return np.broadcast_to(made, shape) if random.random() < 0.2 else made


LOOKED_AT = {
    'elements': lambda m, x, y: m.exp(x) * y + 1.0,
    'rows': lambda m, x, y: m.sum(x * y, -1, True),
    'planes': lambda m, x, y: m.mean(x * x, tuple(range(1, x.ndim)), True),
    'softmax': lambda m, x, y: m.exp(x) / m.sum(m.exp(x), -1, True),
    'columns': lambda m, x, y: m.sum_to_size(x * y + 0.0, (1,) * (max(x.ndim, y.ndim) - 1) + (max(x.shape[-1], y.shape[-1]),)),
}


@pytest.mark.parametrize('seed', range(60))
@pytest.mark.parametrize('name', LOOKED_AT)
def test_axes_in_any_order_with_gaps(name, seed):
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(2, 20, random.integers(2, 5)))
    x, y = (looked_at_otherwise(random, shape, 'float64') for _ in range(2))
    found = fusion.run(LOOKED_AT[name], x, y)
    wanted = LOOKED_AT[name](REFERENCE, x, y)
    if found is not None:
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
        assert name == 'elements' or found.flags.c_contiguous
    else:
        assert name != 'elements' or len(shape) == 4


def test_results_lie_in_memory_as_the_first_operand_does():
    torch = pytest.importorskip('torch')
    formula = LOOKED_AT['elements']
    for seed in range(40):
        random = np.random.default_rng(seed)
        x, y = (looked_at_otherwise(random, (3, 4, 5), 'float32') for _ in range(2))
        if x.flags.writeable and y.flags.writeable:
            found, wanted = fusion.run(formula, x, y), torch.from_numpy(x) * torch.from_numpy(y)
            assert tuple(s // 4 for s in found.strides) == wanted.stride(), (x.strides, y.strides)


def test_results_are_written_over_arrays_of_any_strides():
    formula = LOOKED_AT['elements']
    for seed in range(30):
        random = np.random.default_rng(seed)
        place, y = (looked_at_otherwise(random, (13, 14, 15), 'float64') for _ in range(2))
        if place.shape != (13, 14, 15) or not place.flags.writeable:
            continue
        wanted = formula(REFERENCE, place, y)
        plan = fusion.planned(formula, (place, y), 1, (place.shape, place.dtype, place.strides))
        if plan is not None:
            plan((place, y), (place,))
            np.testing.assert_allclose(place, wanted, rtol=1e-12)


def test_what_no_kernel_says_is_left_to_the_reference():
    assert fusion.run(lambda m, x: m.cumsum(x, 0), drawn((8,), 'float32')) is None
    assert fusion.run(POINTWISE['chain'], np.arange(4), np.arange(4)) is None


def test_numbers_do_not_make_new_kernels():
    x = drawn((9000,), 'float32')
    fusion.run(_scaled, x, 0.5)
    before = len(fusion._plans)
    for k in range(5):
        np.testing.assert_allclose(fusion.run(_scaled, x, 0.1 * k), x * np.float32(0.1 * k) + 1, rtol=1e-6)
    assert len(fusion._plans) == before


def test_whole_numbers_do_not_make_new_kernels_either():
    x = flambeau.arange(20_000)
    uses = (lambda k: x + k, lambda k: x == k, lambda k: x.clamp(k, 2 * k), lambda k: flambeau.where(x > k, x, k))
    for use in uses:
        use(1).sum()
    before = len(fusion._plans)
    for k in range(2, 6):
        assert [use(k).sum().item() for use in uses] == [
            (x.numpy() + k).sum(), 1, x.numpy().clip(k, 2 * k).sum(), np.maximum(x.numpy(), k).sum()]
    assert len(fusion._plans) == before


def _scaled(m, x, factor):
    return x * factor + 1


def test_rules_of_optimizers_change_arrays_in_place():
    arrays = [np.abs(drawn((30_001,), 'float32', k)) for k in range(4)]
    scalars = dict(beta1=0.9, beta2=0.999, step_size=1e-3, root_correction=0.5, eps=1e-8, shrink=None, weight_decay=None,
                   maximize=False)
    wanted = update.adam(REFERENCE, *[a.astype('float64') for a in arrays], **scalars)
    assert fusion.update(update.adam, ('exp_avg', 'exp_avg_sq'), scalars, arrays)
    for found, value in zip((arrays[0], *arrays[2:]), wanted):
        np.testing.assert_allclose(found, value, rtol=2e-6)


def test_the_same_bits_on_any_number_of_threads():
    x = drawn((257, 1031), 'float32')
    threads = launch.get_num_threads()
    try:
        found = []
        for count in (1, 2, 3):
            flambeau.set_num_threads(count)
            found.append((fusion.run(softmax, x).tobytes(), fusion.run(variance, x).tobytes()))
        assert found[0] == found[1] == found[2]
    finally:
        flambeau.set_num_threads(threads)


def test_special_values_go_through():
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 88.8, -104.0] * 2000, 'float32')
    with np.errstate(all='ignore'):
        for name in ('exp', 'log', 'tanh', 'sigmoid', 'erf', 'expm1', 'log1p', 'log2'):
            found = fusion.run(FUNCTIONS[name], x)
            wanted = getattr(REFERENCE, name)(x.astype('float64')).astype('float32')
            np.testing.assert_allclose(found, wanted, rtol=4e-7, atol=1e-44, err_msg=name)


FUNCTIONS = {name: eval(f'lambda m, x: m.{name}(x)')
             for name in ('exp', 'log', 'tanh', 'sigmoid', 'erf', 'expm1', 'log1p', 'log2')}
SCRIPT = '''
import numpy as np
from flambeau.backends.cpu import fusion
from flambeau.ops.reference import REFERENCE
x = np.random.default_rng(0).normal(size=(50, 1003)).astype('float32')
def formula(m, x):
    powers = m.exp(m.tanh(x) - m.amax(m.tanh(x), -1, True))
    return powers / m.sum(powers, -1, True)
np.testing.assert_allclose(fusion.run(formula, x), formula(REFERENCE, x.astype('float64')), rtol=1e-5)
print('agrees')
'''


@pytest.mark.parametrize('level', ['x86-64-v2', 'x86-64-v3'])
def test_other_levels_of_the_processor(level, tmp_path):
    environment = {**os.environ, 'FLAMBEAU_CPU': level, 'FLAMBEAU_CACHE': str(tmp_path)}
    done = subprocess.run([sys.executable, '-c', SCRIPT], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == 'agrees', done.stderr


OF_EVERY_KIND = {
    'add': lambda m, x, y: m.add(x, y), 'sub': lambda m, x, y: m.sub(x, y), 'mul': lambda m, x, y: x * y,
    'lt': lambda m, x, y: x < y,
    'eq': lambda m, x, y: m.eq(x, y), 'maximum': lambda m, x, y: m.maximum(x, y), 'minimum': lambda m, x, y: m.minimum(x, y),
    'abs': lambda m, x, y: m.abs(x), 'neg': lambda m, x, y: m.neg(x), 'sign': lambda m, x, y: m.sign(x),
    'bits': lambda m, x, y: (x & y | ~x) ^ y, 'logic': lambda m, x, y: m.logical_and(x, m.logical_xor(x, m.logical_not(y))),
    'shifts': lambda m, x, y: m.bitwise_left_shift(x, y & 3) | m.bitwise_right_shift(x, y & 1),
    'where': lambda m, x, y: m.where(x == y, x, y), 'constants': lambda m, x, y: m.relu(x) + 3}


@pytest.mark.parametrize('kind', ['int64', 'int32', 'int16', 'int8', 'uint8', 'bool', 'float16', 'bfloat16'])
def test_whole_numbers_truth_and_half_types(kind):
    kind = getattr(flambeau, kind).numpy
    random = np.random.default_rng(0)
    x, y = (random.integers(-40, 40, (3, 5003)).astype(kind) for _ in range(2))
    y[:, ::3] = x[:, ::3]
    for name, formula in OF_EVERY_KIND.items():
        found = fusion.run(formula, x, y)
        if found is None:
            assert kind == bool or name in ('bits', 'shifts') and kind.kind in 'fV', name
            continue
        wanted = np.asarray(formula(REFERENCE, x, y))
        assert found.dtype == wanted.dtype, name
        np.testing.assert_array_equal(found, wanted, err_msg=name)


def test_numbers_that_a_type_does_not_hold_are_left_to_the_reference():
    x = np.arange(20_000, dtype='uint8')
    for number in (300, -1, 0.5):
        assert fusion.run(lambda m, x: m.maximum(x, number), x) is None


@pytest.mark.parametrize('kind', ['int64', 'uint8', 'float16', 'bfloat16'])
def test_operations_on_large_tensors_of_every_type_are_those_on_small_ones(kind):
    large = flambeau.arange(20_000).remainder(100).to(getattr(flambeau, kind))
    for function in (lambda x: x + 1, lambda x: x > 50, lambda x: x.clamp(10, 50), lambda x: flambeau.where(x < 9, x, x * 2),
                     lambda x: x.maximum(x + 1)):
        found = function(large)
        assert found.dtype is function(large[:100]).dtype and flambeau.equal(found[:100], function(large[:100]))


@pytest.mark.parametrize('kind', ['float16', 'bfloat16'])
@pytest.mark.parametrize('name', ['gelu', 'silu', 'mish', 'softplus', 'leaky_relu'])
def test_activations_of_large_half_tensors_are_rounded_once(name, kind):
    wide = flambeau.linspace(-4, 4, 20_000).to(getattr(flambeau, kind)).float().requires_grad_()
    half = wide.detach().to(getattr(flambeau, kind)).requires_grad_()
    for x in (wide, half):
        found = getattr(flambeau.nn.functional, name)(x)
        found.backward(flambeau.ones_like(found))
        x.found = found
    assert half.grad.dtype is half.dtype and half.found.dtype is half.dtype
    for found, wanted in ((half.found, wide.found), (half.grad, wide.grad)):
        assert flambeau.allclose(found.float(), wanted, rtol=2 * flambeau.finfo(half.dtype).eps, atol=1e-6)


OVER = {
    'relu': (), 'sigmoid': (), 'clamp': (-1, 0.5), 'clamp_min': (0,), 'addcmul': ('y', 'y'), 'lerp': ('y', 0.25),
    'add': ('y',), 'atan2': ('y',), 'pow': (2,), 'remainder': (0.3,), 'logit': (0.1,), 'hypot': ('y',), 'nan_to_num': (), 'lt': (0.5,)}


@pytest.mark.parametrize('name', OVER)
@pytest.mark.parametrize('kind', ['float32', 'float64', 'bfloat16', 'int64'])
def test_writing_over_a_large_tensor_is_the_result_copied_there(name, kind):
    def drawn_as(seed):
        return (flambeau.tensor(drawn((90, 300), 'float64', seed)) * 3).to(getattr(flambeau, kind))
    y = drawn_as(1)
    operands = [y if v == 'y' else v for v in OVER[name]]
    for x in (drawn_as(0), drawn_as(0).t(), drawn_as(0)[:, ::2], drawn_as(0)[1:]):
        other = y[tuple(slice(n) for n in x.shape)] if x.shape[0] <= 90 else y.t()
        others = [other if v is y else v for v in operands]
        try:
            wanted = getattr(x, name)(*others).to(x.dtype)
        except RuntimeError:
            with pytest.raises(RuntimeError):
                getattr(x, name + '_')(*others)
            continue
        if not flambeau.can_cast(getattr(x, name)(*others).dtype, x.dtype):
            continue
        version, place = x._version, x.data_ptr()
        assert getattr(x, name + '_')(*others) is x and x._version == version + 1 and x.data_ptr() == place
        np.testing.assert_allclose(x.double().numpy(), wanted.double().numpy(), rtol=1e-6, atol=1e-12)


def test_writing_over_a_tensor_reads_what_shares_its_memory_first():
    x = flambeau.arange(20_000.0)
    x.clone()
    wanted = x[1:] * x[:-1] * 0.5 + x[:-1]
    x[:-1].addcmul_(x[1:].clone(), x[:-1].clone(), value=0.5)
    assert flambeau.equal(x[:-1], wanted)
    x = flambeau.arange(20_000.0)
    x[:-1].lerp_(x[1:], 0.5)
    assert flambeau.equal(x[:-1], flambeau.arange(19_999.0) + 0.5)
    w = flambeau.ones(20_000, requires_grad=True)
    y = (w * x).sum()
    x.relu_()
    with pytest.raises(RuntimeError, match='modified by an inplace operation'):
        y.backward()
    assert flambeau.equal(flambeau.empty(9000).fill_(2.5), flambeau.full((9000,), 2.5)) and not x.zero_().any()


def test_out_of_large_operations_is_written_by_the_kernel():
    x, y = (flambeau.tensor(drawn((90, 300), 'float32', k)) for k in range(2))
    for function, kind in (
            (lambda **o: flambeau.exp(x, **o), flambeau.float32),
            (lambda **o: flambeau.add(x, y, alpha=2, **o), flambeau.float32),
            (lambda **o: flambeau.lt(x, y, **o), flambeau.bool), (lambda **o: flambeau.exp(x, **o), flambeau.float64)):
        for shape in ((90, 300), (300, 90), (0,)):
            out = flambeau.empty(shape, dtype=kind)
            out = out.t() if shape[0] == 300 else out
            assert function(out=out) is out and out._version >= 1
            assert flambeau.equal(out, function().to(kind))
    wanted = x.exp()
    assert flambeau.equal(flambeau.exp(x, out=x), wanted)
    with pytest.raises(RuntimeError, match='single memory location'):
        flambeau.exp(x.view(-1)[1:], out=x.view(-1)[:-1])
    with pytest.raises(RuntimeError, match='automatic differentiation'):
        flambeau.exp(x.requires_grad_(), out=flambeau.empty(90, 300))


@pytest.mark.parametrize('kind', ['bool', 'uint8', 'int8', 'int16', 'int32', 'int64', 'float32', 'float64', 'bfloat16'])
@pytest.mark.parametrize('shape', [(130, 333), (7, 40, 100), (50_001,), (3, 20_000)])
def test_folds_of_every_kind(kind, shape):
    random, dtype = np.random.default_rng(0), getattr(flambeau, kind).numpy
    x = random.integers(0, 3, shape).astype(dtype)
    signs = x if kind in ('bool', 'uint8') else (random.integers(0, 2, shape) * 2 - 1).astype(dtype)
    for axes in (None, (0,), (len(shape) - 1,), tuple(range(len(shape)))[-2:]):
        dim = None if axes is None else axes[0] if len(axes) == 1 else axes
        wide = np.int64 if dtype.kind in 'bui' else np.float64
        sums = x.astype(wide).sum(axes)
        found = {'sum': (flambeau.from_numpy(x).sum(dim), sums)}
        if kind != 'bool':
            found |= {'amax': (flambeau.from_numpy(x).amax(() if dim is None else dim), x.astype(wide).max(axes)),
                      'amin': (flambeau.from_numpy(x).amin(() if dim is None else dim), x.astype(wide).min(axes))}
        if dim.__class__ is not tuple:
            products = flambeau.from_numpy(signs)
            found['prod'] = products.prod() if dim is None else products.prod(dim), np.prod(signs.astype(wide), axes)
        for name, (value, expected) in found.items():
            assert value.dtype == flambeau.int64 if name in ('sum', 'prod') and dtype.kind in 'bui' else value.dtype.numpy == dtype
            np.testing.assert_array_equal(value._array, expected.astype(dtype) if kind == 'bfloat16' else expected, err_msg=name)


def test_nan_is_the_largest_and_the_smallest():
    x = drawn((200, 300), 'float32')
    x[3, 4] = np.nan
    for fold in (np.maximum, np.minimum, np.add, np.multiply):
        assert np.isnan(fusion.folded(x, fold, None, False)) and fusion.folded(x, fold, None, True).shape == (1, 1)
        assert np.flatnonzero(np.isnan(fusion.folded(x, fold, (1,), False))).tolist() == [3]


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
@pytest.mark.parametrize('n', [2, 3, 7, 8, 16, 17, 31, 49, 63])
@pytest.mark.parametrize('rows', [64, 101, 2003])
def test_short_rows_go_sideways(rows, n, dtype):
    x, w, g = drawn((rows, n), dtype), drawn((n,), dtype, 1), drawn((rows, 1), dtype, 2)
    wide = [a.astype('float64') for a in (x, w, g)]

    def formula(m, x, w, g):
        top = m.amax(x, -1, True)
        shares = m.exp(x - top)
        return shares / m.sum(shares, -1, True) * w + g, top * 2.0, m.log(m.sum(shares, -1))
    found = fusion.run(formula, x, w, g)
    for a, e in zip(found, formula(REFERENCE, *wide), strict=True):
        close(a, e, dtype)
    padded = np.repeat(drawn((rows, n), dtype, 3), 2, 1)[:, :n]  # rows apart
    for fold in (np.add, np.maximum, np.minimum):
        close(fusion.folded(padded, fold, (1,), False), fold.reduce(padded.astype('float64'), 1), dtype)
    place = x.copy()
    plan = fusion.planned(softmax, (place,), 1, (place.shape, place.dtype, place.strides))
    plan((place,), (place,))
    close(place, softmax(REFERENCE, wide[0]), dtype)


@pytest.mark.parametrize('n', [fusion.BLOCK, fusion.BLOCK + 1, 3 * fusion.BLOCK - 1, 100_007])
@pytest.mark.parametrize('kind', [flambeau.bfloat16, flambeau.float16])
def test_folds_of_all_of_a_half_type_are_rounded_once(kind, n):
    x = (flambeau.randn(n, dtype=flambeau.float64) + 0.25).to(kind)
    exact = x.double().numpy()
    for name in ('sum', 'mean', 'amax', 'amin'):
        for got in (getattr(x, name)(), getattr(x.reshape(1, n), name)(dim=(0, 1), keepdim=True).reshape(())):
            expected = flambeau.tensor(float(getattr(exact, name[-3:] if name[0] == 'a' else name)()), dtype=kind)
            assert got.dtype is kind and abs(got.item() - expected.item()) <= 4e-3 * abs(expected.item()), name
    signs = flambeau.where(flambeau.arange(n) < 5, -1.0, 1.0).to(kind)
    assert signs.prod().item() == -1
    x[n - 1] = float('nan')
    assert all(getattr(x, name)().isnan() for name in ('sum', 'mean', 'amax', 'amin'))


@pytest.mark.parametrize('kind', [flambeau.bfloat16, flambeau.float16])
@pytest.mark.parametrize('n', [70, 1000, 4096, 4097, 9001])
def test_softmax_of_half_types_is_that_of_float32_rounded_once(n, kind):
    x = (flambeau.randn(40, n) * 3).to(kind)
    for function in (flambeau.softmax, flambeau.log_softmax):
        assert function(x, -1).equal(function(x.float(), -1).to(kind))
