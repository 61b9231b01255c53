"""Mathematical functions of kernels: worst errors against mpmath's values, special values against NumPy's and SciPy's.

`python tests/test_kernel_mathematics.py` prints the table of docs/accuracy.md.
"""
import math
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip('llvmlite')

import flambeau
from flambeau.backends.cpu import properties
from flambeau.backends.cpu.build import compiled
from flambeau.kernel.interpreter import interpret
from flambeau.kernel.ir import Builder
from flambeau.kernel.mathematics import FUNCTIONS
from flambeau.kernel.types import f32, f64, i64, pointer
from flambeau.ops.reference import REFERENCE

pytestmark = pytest.mark.skipif(not properties.jit_is_on(), reason='kernels are switched off')
# worst error in units in the last place allowed, float32 and float64; docs/accuracy.md has what is found
LIMITS = {
    'exp': (1, 1), 'exp2': (1, 1), 'expm1': (1.8, 2), 'log': (1, 1), 'log1p': (1.7, 1.7), 'log2': (1.2, 1.2),
    'log10': (1.7, 1.7), 'pow': (1, 1.2), 'tanh': (1.6, 1.6), 'sigmoid': (2, 2.2), 'sinh': (1.3, 1.3), 'cosh': (1.3, 1.3),
    'asinh': (1.6, 1.6), 'acosh': (1.6, 1.6), 'atanh': (1.3, 1.3), 'sin': (1.4, 1.4), 'cos': (1.6, 1.6), 'tan': (1.9, 1.9),
    'asin': (1.5, 1.5), 'acos': (1.4, 1.4), 'atan': (1.9, 1.9), 'atan2': (1.9, 1.9), 'erf': (2, 1.5), 'erfc': (1.9, 1.9),
    'erfinv': (1.9, 1.9), 'lgamma': (1, 2), 'digamma': (1, 3.5),
    'hypot': (0.6, 0.6), 'fmod': (0, 0)}
POSITIVE = ('pow', 'lgamma', 'digamma')  # whose first operand is sampled so; the others over all numbers
SPECIAL = [0.0, 3.99, 4.0, -5.0, 20.0, -1e4, -0.0, math.inf, -math.inf, math.nan, -1.0, 1.0, 5e-324, -5e-324, 1e-40, 0.5,
           -0.5, 2.0, 3.0, -3.0, 1e300, -1e300]


def pointwise(target, name, kind, count):
    t = {'float32': f32, 'float64': f64}[kind]
    lanes = target.lanes(t)
    b = Builder(name, **{f'x{k}': pointer(t) for k in range(count)}, y=pointer(t), n=i64)
    *operands, y, n = b.parameters
    with b.loop(0, n, lanes) as i:
        b.store(FUNCTIONS[name](b, *[b.load(x + i, t.vector(lanes)) for x in operands]), y + i)
    return b.finish()


def operands_of(name):
    return 2 if name in ('pow', 'atan2', 'hypot', 'fmod') else 1


def computed(name, kind, *operands):
    y = np.empty_like(operands[0])
    compiled(pointwise, name, kind, len(operands))(*operands, y, y.size)
    return y


def sample(kind, rng, n):
    """Random bit patterns of the whole range, and ordinary numbers, in a whole count of vectors."""
    bits = rng.integers(0, 2**32, n, dtype=np.uint32).view(np.float32) if kind == 'float32' else \
        rng.integers(0, 2**64, n, dtype=np.uint64).view(np.float64)
    usual = [rng.uniform(-r, r, n) for r in (1e-3, 1, 1, 3, 10, 100, 745)]
    near = [c + rng.uniform(-1e-3, 1e-3, n) for c in (1, 2)] + [1 - np.exp(rng.uniform(-36, 0, n))]
    x = np.concatenate([bits[np.isfinite(bits)], *(u.astype(kind) for u in usual + near)])
    return rng.permutation(x)[:x.size // 64 * 64]


def exact(mp, name):
    return {'exp2': lambda x: mp.power(2, x), 'log2': lambda x: mp.log(x, 2), 'sigmoid': lambda x: 1 / (1 + mp.exp(-x)),
            'fmod': lambda x, y: mp.sign(x) * (abs(x) % abs(y)), 'erfc': lambda x: mp.erfc(min(x, 50)),
            'lgamma': mp.loggamma, 'pow': mp.power}.get(name) or getattr(mp, name)


def worst(name, kind, n=40):
    """The worst error of a function, in units in the last place of the right answer, and where."""
    mp = pytest.importorskip('mpmath').mp.clone()
    mp.dps = 40
    rng = np.random.default_rng(0)
    operands = [sample(kind, rng, n) for _ in range(operands_of(name))]
    operands = [x[:min(map(len, operands))] for x in operands]
    if name in POSITIVE:
        operands[0] = np.abs(operands[0])
    digits, least = (24, -149) if kind == 'float32' else (53, -1074)
    found = 0.0, None
    for y, *arguments in zip(computed(name, kind, *operands), *operands):
        try:
            right = exact(mp, name)(*[mp.mpf(float(x)) for x in arguments])
        except (ValueError, ZeroDivisionError):
            continue
        if isinstance(right, mp.mpc) and right.imag != 0:
            assert np.isnan(y), (name, arguments)
            continue
        right = mp.re(right)
        if abs(right) > float(np.finfo(kind).max):
            assert np.isinf(y) or y == np.copysign(np.finfo(kind).max, y), (name, arguments)
        elif right != 0:
            place = max(int(mp.floor(mp.log(abs(right), 2))) - digits + 1, least)
            error = abs(mp.mpf(float(y)) - right) * mp.mpf(2) ** -place
            found = max(found, (float(error), arguments), key=lambda f: f[0])
        else:
            assert y == 0, (name, arguments)
    return found


@pytest.mark.parametrize('name', LIMITS)
def test_worst_error(name):
    for kind, limit in zip(('float32', 'float64'), LIMITS[name], strict=True):
        assert worst(name, kind)[0] <= limit, kind


@pytest.mark.parametrize('kind', ['float32', 'float64'])
@pytest.mark.parametrize('name', LIMITS)
def test_special_values(name, kind):
    with np.errstate(all='ignore'):
        given = np.array(SPECIAL).astype(kind)
        if name == 'lgamma':  # SciPy's is infinite there
            given = given[(given == 0) | ~(np.abs(given) < 1e-300)]
        operands = [a.reshape(-1) for a in np.meshgrid(*[given] * operands_of(name))]
        operands = [np.resize(a, -(-a.size // 64) * 64) for a in operands]
        y = computed(name, kind, *operands)
        right = getattr(REFERENCE, name)(*[x.astype('float64') for x in operands]).astype(kind)
    np.testing.assert_allclose(y, right, rtol=4 * np.finfo(kind).eps, atol=1e-15 if name == 'digamma' else 0)
    if name != 'erfinv':  # whose -0 SciPy makes 0
        assert np.array_equal(np.signbit(y[right == 0]), np.signbit(right[right == 0]))


@pytest.mark.parametrize('kind', ['float32', 'float64'])
def test_next_numbers(kind):
    limits = np.finfo(kind)
    given = np.array([*SPECIAL, limits.max, -limits.max, limits.tiny, limits.smallest_subnormal]).astype(kind)
    x, y = (np.resize(a, -(-a.size // 64) * 64) for a in np.meshgrid(given, given))
    made, right = computed('nextafter', kind, x, y), np.nextafter(x, y)
    np.testing.assert_array_equal(made, right)
    assert np.array_equal(np.signbit(made[made == 0]), np.signbit(right[made == 0]))


@pytest.mark.parametrize('name', ['sin', 'pow', 'lgamma', 'erf', 'erfinv', 'atan2'])
def test_the_interpreter_gives_the_same(name):
    for kind in ('float32', 'float64'):
        operands = [sample(kind, np.random.default_rng(0), 12)[:64] for _ in range(operands_of(name))]
        found = np.empty_like(operands[0])
        interpret(pointwise(properties.target(), name, kind, len(operands)), *operands, found, found.size)
        np.testing.assert_allclose(found, computed(name, kind, *operands), rtol=2 * np.finfo(kind).eps)


def test_large_angles_and_numbers_alone():
    x = np.array([1e5, 3e9, 1e22, 2.0**120, 6381956970095103 * 2.0**797, 1e300, -1e300, 0.1] * 8)
    for name in ('sin', 'cos', 'tan'):
        np.testing.assert_allclose(computed(name, 'float64', x), getattr(np, name)(x), rtol=1e-14)
        short = x[:4].repeat(16).astype('float32')
        np.testing.assert_allclose(computed(name, 'float32', short), getattr(np, name)(short.astype('float64')), rtol=1e-6)
    from flambeau.backends.cpu import fusion
    y = np.ones(20_000)
    np.testing.assert_allclose(fusion.run(lambda m, y, n: y * m.sin(n), y, 1e22), y * np.sin(1e22), rtol=1e-14)


@pytest.mark.parametrize('name', sorted(set(LIMITS) - {'pow', 'fmod'}))
def test_large_tensors_and_their_gradients_agree_with_small_ones(name):
    rng = np.random.default_rng(0)
    low, high = {'acosh': (1.1, 5), 'log': (0.1, 5), 'log2': (0.1, 5), 'log10': (0.1, 5), 'log1p': (-0.9, 5),
                 'lgamma': (0.1, 9), 'digamma': (0.1, 9), 'asin': (-0.9, 0.9), 'acos': (-0.9, 0.9), 'atanh': (-0.9, 0.9),
                 'erfinv': (-0.9, 0.9)}.get(name, (-5, 5))
    values = [rng.uniform(low, high, 9000) for _ in range(operands_of(name))]
    results = []
    for count in (9000, 100):
        operands = [flambeau.tensor(v[:count], requires_grad=True) for v in values]
        y = getattr(flambeau, name)(*operands)
        y.sum().backward()
        results.append([y.detach().numpy()[:100], *(x.grad.numpy()[:100] for x in operands)])
    for large, small in zip(*results):
        np.testing.assert_allclose(large, small, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize('name', ['fmod', 'remainder', 'floor_divide'])
def test_remainders_are_exact(name):
    random = np.random.default_rng(0)
    x, y = [np.concatenate([np.repeat(SPECIAL, 30)[k::2][:200],
                            random.normal(size=9000) * 10 ** random.uniform(-12, 12, 9000)]) for k in range(2)]
    found = getattr(flambeau, name)(flambeau.tensor(x), flambeau.tensor(y)).numpy()
    with np.errstate(all='ignore'):
        np.testing.assert_array_equal(found, getattr(REFERENCE, name)(x, y))


@pytest.mark.parametrize('exponent', [2, 3, 0.5, -1, -2, 4, 2.5, 0, -0.5, 1])
def test_powers_by_numbers_and_of_numbers(exponent):
    x = np.abs(np.random.default_rng(0).normal(size=9000)) + 0.1
    t = flambeau.tensor(x, requires_grad=True)
    (t ** exponent).sum().backward()
    np.testing.assert_allclose((t ** exponent).detach().numpy(), x ** exponent, rtol=1e-14)
    np.testing.assert_allclose(t.grad.numpy(), exponent * x ** (exponent - 1), rtol=1e-14)
    np.testing.assert_allclose((abs(exponent) ** t).detach().numpy(), abs(exponent) ** x, rtol=1e-14)


@pytest.mark.parametrize('level', ['x86-64-v2', 'x86-64-v3'])
def test_worst_error_on_other_processors(level):
    pytest.importorskip('mpmath')
    subprocess.run([sys.executable, __file__], env={**os.environ, 'FLAMBEAU_CPU': level}, check=True, timeout=200)


if __name__ == '__main__':
    print('| function | float32 | float64 |\n|---|---|---|')
    for name in sys.argv[2:] or sorted(LIMITS):
        found = [worst(name, kind, int(sys.argv[1]) if sys.argv[1:] else 20) for kind in ('float32', 'float64')]
        print(f'| {name} | ' + ' | '.join('%.2f' % f[0] for f in found) + ' |')
        assert all(f[0] <= limit for f, limit in zip(found, LIMITS[name], strict=True)), (name, found)
