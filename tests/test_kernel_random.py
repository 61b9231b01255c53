"""Random numbers of generated kernels against those of array functions, against PyTorch's, and on another processor."""
import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip('llvmlite')

import flambeau as ft  # noqa: E402
from flambeau.backends.cpu import properties, random  # noqa: E402
from flambeau.ops.reference import REFERENCE  # noqa: E402

pytestmark = [pytest.mark.filterwarnings('ignore:.*out of bounds'),
              pytest.mark.skipif(not properties.jit_is_on(), reason='kernels are switched off')]
FLOATS = 'float32', 'float64', 'bfloat16', 'float16'
SIZES = 1, 3, 15, 16, 17, 40, 623, 1040, 9001
ON_FLOATS = '''x.uniform_() x.uniform_(-.1,.2) x.uniform_(1,1.01) x.normal_() x.normal_(.1,.3) x.random_()
x.random_(0,100) x.random_(-5,2**28-5) x.random_(0,4096) x.random_(-2**30,2**33) x.bernoulli_(.3)
x.bernoulli_(T.rand(x.shape)) x.bernoulli_(T.rand(x.shape[-1:],dtype=T.float64)) x.exponential_(2)
x.geometric_(.3) x.cauchy_(1,2) x.log_normal_(0,.5) T.nn.functional.dropout(x+1,.3)'''.split()
ON_INTEGERS = '''x.random_() x.random_(0,2) x.random_(1) x.bernoulli_(.3) x.random_(0,None)
x.bernoulli_(T.rand(x.shape))'''.split()
INTEGERS = 'bool', 'uint8', 'int8', 'int16', 'int32', 'int64'
CALLS = {**{kind: ON_FLOATS for kind in FLOATS}, **{kind: ON_INTEGERS for kind in INTEGERS},
         'float16': [call for call in ON_FLOATS if '2**' not in call]}  # which it cannot hold
NAMES = [f'random.{name}' for name in random.__all__]


def made(T, calls, kind, shapes=SIZES, offset=0):
    """The bytes of what calls give one after another, and of the state after them."""
    T.manual_seed(offset)
    T.rand(offset)
    results = []
    for size in shapes:
        for call in calls:
            x = T.zeros(size, dtype=getattr(T, kind))
            x = x.transpose(0, -1) if x.ndim == 3 else x[:, 1:] if x.ndim == 2 else x
            values = eval(call, {'T': T, 'x': x})
            values = values.float() if values.dtype in (T.bfloat16, T.float16) else values
            results.append((f'{call} of {size}', values.contiguous().numpy().tobytes()))
    return results + [('state', T.get_rng_state().numpy().tobytes())]


@pytest.fixture(autouse=True)
def kernels_from_the_first_number_on(monkeypatch):
    monkeypatch.setattr(random.Kernels, 'patience', 0)


@pytest.fixture
def by_arrays(monkeypatch):
    """made(...) without kernels."""
    def run(*arguments, **options):
        with monkeypatch.context() as patch:
            for name in NAMES:
                patch.setitem(REFERENCE.drivers, name, lambda *arguments: None)
            return made(ft, *arguments, **options)
    return run


@pytest.mark.parametrize('kind, calls, offset', [
    *[(kind, calls, offset) for (kind, calls), offset in zip(CALLS.items(), (0, 1, 623, 700, 5, 0, 2, 3, 4, 624))],
    ('int64', ['T.randint(-2**63,2**63-1,x.shape)', 'T.randint(-9,2**20,x.shape)', 'T.randperm(x.numel())',
               'T.multinomial(T.rand(3,x.numel())+.1,50,True)', 'T.multinomial(T.rand(x.numel()),1)',
               'T.multinomial(T.rand(2,x.numel()+9)+.1,10)'], 5)])
def test_equal_to_array_functions_and_to_torch(kind, calls, offset, by_arrays):
    ours = made(ft, calls, kind, offset=offset)
    for this, other in zip(ours, by_arrays(calls, kind, offset=offset)):
        assert this == other, this[0]
    torch = pytest.importorskip('torch')
    for this, other in zip(ours, made(torch, calls, kind, offset=offset)):
        assert this == other, this[0]


def test_draws_without_kernels_go_on_where_kernels_stopped(by_arrays):
    calls = '''x.normal_() T.poisson(x+3) x.uniform_() T._standard_gamma(x+1) x.bernoulli_() T.binomial(x+9,x+.3)
        T.rrelu(x,training=True) T.normal(x,1.) x.exponential_()'''.split()
    assert made(ft, calls, 'float32', SIZES[:-1]) == by_arrays(calls, 'float32', SIZES[:-1])
    torch = pytest.importorskip('torch')
    for this, other in zip(made(ft, calls, 'float32', SIZES[:-1]), made(torch, calls, 'float32', SIZES[:-1])):
        assert this == other, this[0]


def test_threads_change_nothing():
    calls = 'x.normal_() x.exponential_() x.cauchy_() x.log_normal_() T.nn.functional.dropout(x+1)'.split()
    results, before = [], ft.get_num_threads()
    try:
        for threads in 1, 3:
            ft.set_num_threads(threads)
            results.append([made(ft, calls, kind, ((1 << 17) + 4100,)) for kind in ('float32', 'float64')])
    finally:
        ft.set_num_threads(before)
    assert results[0] == results[1]


@pytest.mark.parametrize('kind', FLOATS)
def test_memory_order_of_other_layouts(kind, by_arrays):
    shapes = (3, 5, 40), (9, 12), (0, 4), (2, 1, 3)
    assert made(ft, CALLS[kind], kind, shapes) == by_arrays(CALLS[kind], kind, shapes)


def test_words_of_zeros_and_ones(by_arrays):
    """The smallest and the largest uniform numbers, which are rare."""
    def with_words(run, word):
        state = ft.Generator().manual_seed(0)
        state.twister()[:624] = word
        state.twister()[624] = 0
        text = np.frombuffer(state._pack(), np.uint8).tolist()
        calls = [f'(T.set_rng_state(T.tensor({text}, dtype=T.uint8)), {call})[1]' for call in ON_FLOATS[:5]]
        return run(calls, kind, (5, 33))
    for kind in FLOATS:
        for word in 0, 0x12DD9BB3:  # tempered: all bits off, and all on
            assert with_words(lambda *a: made(ft, *a), word) == with_words(by_arrays, word)


def test_a_normal_sample_left_over_waits_for_the_next_call(by_arrays):
    calls = ['x.normal_()', 'x.log_normal_()', 'x.uniform_()']
    assert made(ft, calls, 'float32', (1, 3, 20, 5, 0, 2, 7)) == by_arrays(calls, 'float32', (1, 3, 20, 5, 0, 2, 7))


def digest():
    total = hashlib.sha256()
    for kind, calls in CALLS.items():
        for name, values in made(ft, calls, kind, (5, 40, 1037)):
            total.update(values)
    return total.hexdigest()


def test_equal_without_avx512():
    found = subprocess.run([sys.executable, __file__], env={**os.environ, 'FLAMBEAU_CPU': 'x86-64-v3'}, check=True,
                           timeout=100, stdout=subprocess.PIPE, text=True)
    assert found.stdout.strip() == digest()


if __name__ == '__main__':
    random.Kernels.patience = 0
    print(digest())
