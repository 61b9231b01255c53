"""The kernel language: its checks, its readable form, and the worst errors of its mathematical functions."""
import math
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip('llvmlite')

from flambeau.backends.cpu import properties
from flambeau.backends.cpu.build import compiled
from flambeau.kernel import mathematics
from flambeau.kernel.ir import Builder
from flambeau.kernel.types import f32, f64, i64, pointer

pytestmark = pytest.mark.skipif(not properties.jit_is_on(), reason='kernels are switched off')
EXACT = {
    'exp': np.exp, 'expm1': np.expm1, 'log': np.log, 'log1p': np.log1p, 'log2': np.log2, 'tanh': np.tanh,
    'sigmoid': lambda x: 1 / (1 + np.exp(-x)),
    'erf': lambda x: np.array([math.erf(v) for v in x]),
}
# worst error in units in the last place allowed, float32 and float64; docs/accuracy.md has what is found
LIMITS = {'exp': (1.1, 1.1), 'expm1': (1.8, 2.1), 'log': (1, 1), 'log1p': (1.7, 1.7), 'log2': (1.7, 1.7), 'tanh': (2.6, 2.9),
          'sigmoid': (2.6, 2.6), 'erf': (1.5, 4)}
SPECIAL = [0.0, -0.0, math.inf, -math.inf, math.nan, -1.0, 5e-324, 1e-40]


def pointwise(target, name, kind):
    t = {'float32': f32, 'float64': f64}[kind]
    lanes = target.lanes(t)
    b = Builder(name, x=pointer(t), y=pointer(t), n=i64)
    x, y, n = b.parameters
    with b.loop(0, n, lanes) as i:
        b.store(getattr(mathematics, name)(b, b.load(x + i, t.vector(lanes))), y + i)
    return b.finish()


def sample(kind, n=60000):
    """Random bit patterns of the whole range, small and ordinary numbers, in a whole count of vectors."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, n, dtype=np.uint32).view(np.float32) if kind == 'float32' else \
        rng.integers(0, 2**64, n, dtype=np.uint64).view(np.float64)
    usual = [rng.uniform(-r, r, n) for r in (1e-3, 1, 10, 100, 745)]
    x = np.concatenate([bits[np.isfinite(bits)], *(u.astype(kind) for u in usual), (1 + usual[0]).astype(kind)])
    return x[:x.size // 64 * 64]


def worst(name, kind):
    """The worst error of a function, in units in the last place of the right answer, and where."""
    x = sample(kind)
    y = np.empty_like(x)
    compiled(pointwise, name, kind)(x, y, x.size)
    with np.errstate(all='ignore'):
        right = EXACT[name](x.astype('float64' if kind == 'float32' else 'longdouble'))
        rounded = right.astype(kind)
        inside = np.isfinite(rounded)
        assert np.array_equal(np.isnan(rounded), np.isnan(y))
        errors = np.abs(y[inside] - right[inside]) / np.spacing(np.abs(rounded[inside]))
    return float(errors.max()), float(x[inside][errors.argmax()])


@pytest.mark.parametrize('name', EXACT)
def test_worst_error(name):
    for kind, limit in zip(('float32', 'float64'), LIMITS[name], strict=True):
        assert worst(name, kind)[0] <= limit, kind


@pytest.mark.parametrize('kind', ['float32', 'float64'])
@pytest.mark.parametrize('name', EXACT)
def test_special_values(name, kind):
    x = np.array(SPECIAL * 8, kind)
    y = np.empty_like(x)
    compiled(pointwise, name, kind)(x, y, x.size)
    with np.errstate(all='ignore'):
        right = EXACT[name](x.astype('float64')).astype(kind)
    np.testing.assert_allclose(y, right, rtol=4 * np.finfo(kind).eps, atol=0)
    assert np.array_equal(np.signbit(y[right == 0]), np.signbit(right[right == 0]))


def test_worst_error_without_avx512():
    subprocess.run([sys.executable, __file__], env={**os.environ, 'FLAMBEAU_CPU': 'x86-64-v3'}, check=True, timeout=100)


def test_what_is_not_well_formed_is_refused():
    b = Builder('k', x=pointer(f32), n=i64)
    x, n = b.parameters
    with b.loop(0, n) as i:
        inside = b.load(x + i)
    b.store(inside, x)
    with pytest.raises(ValueError, match='used where it is not made'):
        b.finish()
    b = Builder('k', n=i64)
    with b.when(b.parameters[0]):
        pass
    with pytest.raises(ValueError, match='not bool'):
        b.finish()


def test_readable_form():
    b = Builder('scale', x=pointer(f32), n=i64)
    x, n = b.parameters
    with b.loop(0, n) as i:
        b.store(b.load(x + i) * 2.0, x + i)
    lines = str(b.finish()).splitlines()
    assert lines[0] == 'kernel scale(%x: f32*, %n: i64)'
    assert lines[1].startswith('    loop 0:i64, %n, 1:i64') and lines[2].startswith('        %.')
    assert 'mul' in lines[4] and '2.0:f32' in lines[4]


if __name__ == '__main__':
    for name in EXACT:
        found = [worst(name, kind) for kind in ('float32', 'float64')]
        print(name, *['%.2f at %.9g' % f for f in found])
        assert all(f[0] <= limit for f, limit in zip(found, LIMITS[name], strict=True)), name
