"""The small part of Python that the allocator and the thread pool are written in, against Python."""
import ctypes
import math

import pytest

pytest.importorskip('llvmlite')

from flambeau.backends.cpu import build, properties  # noqa: E402
from flambeau.backends.cpu.native import Program  # noqa: E402

pytestmark = pytest.mark.skipif(not properties.jit_is_on(), reason='kernels are switched off')
TEXT = '''
total = 7
table = [0] * 4


def divisor(a, b):
    while b:
        rest = a
        while rest >= b:
            rest -= b
        a = b
        b = rest
    return a


def both(a, b):
    if a < 3 and not b or a == SEVEN:
        return 1
    elif b > a:
        return 2 if b & 1 else 3
    else:
        return min(a, b) << 4 | max(a, b)


def kept(a, b):
    own = [0] * 2
    at[own] = a
    at[own + 8] = b
    at[table + 8] += at[own] + half[own + 8]
    total += 1
    return at[table + 8] * total


def swapped(a, b):
    first = exchanged(total, a, b)
    return first * 1000 + add(total, 5)


def measured(a, b):
    skipped(a)
    return strlen('five') + log2(a) + -b
'''


@pytest.fixture(scope='module', params=[False, True], ids=['alone', 'shared'])
def functions(request):
    engine = build._machine().runtime(Program(TEXT, request.param, SEVEN=7, skipped=0))
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
    return {name: kind(engine.get_function_address(name)) for name in ('divisor', 'both', 'kept', 'swapped', 'measured')}


def test_programs_compute_what_python_computes(functions):
    for a, b in (12, 18), (7, 0), (1, 0), (2, 5), (35, 21), (2, 4), (9, 8):
        assert functions['divisor'](a, b) == math.gcd(a, b)
        wanted = 1 if a < 3 and not b or a == 7 else (2 if b & 1 else 3) if b > a else min(a, b) << 4 | max(a, b)
        assert functions['both'](a, b) == wanted
        assert functions['measured'](a, b) == 4 + a.bit_length() - 1 - b


def test_numbers_and_memory_outside_of_functions_stay(functions):
    assert functions['kept'](2, 3) == 5 * 8 and functions['kept'](10, (1 << 32) + 4) == 19 * 9
    assert functions['swapped'](9, 20) == 1020 and functions['swapped'](9, 30) == 25
