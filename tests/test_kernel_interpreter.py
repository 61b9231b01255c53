"""The interpreter gives kernels their meaning: what is generated for the processor must do the same."""
import numpy as np
import pytest

pytest.importorskip('llvmlite')

from flambeau.backends.cpu import build, properties  # noqa: E402
from flambeau.kernel import fusion  # noqa: E402
from flambeau.kernel.interpreter import interpret  # noqa: E402
from flambeau.kernel.ir import Builder  # noqa: E402
from flambeau.kernel.types import boolean, f32, f64, i8, i16, i32, i64, pointer, u8, u32  # noqa: E402

pytestmark = pytest.mark.skipif(not properties.jit_is_on(), reason='kernels are switched off')
RANDOM = np.random.default_rng(0)
BINARY = {'add', 'sub', 'mul', 'smaller', 'larger', 'eq', 'ne', 'lt', 'le', 'gt', 'ge'}
CASES = [(op, t) for op in sorted(BINARY | {'div'}) for t in (f32, f64, i8, i16, i32, i64, u8, u32) if op != 'div' or t.is_float] \
    + [(op, t) for op in ('and', 'or', 'xor', 'shl', 'shr') for t in (i32, i64, u32)]


def test_kernels_of_a_call_are_shown(capsys):
    import flambeau
    x = flambeau.ones(20_000)
    for what, word in (('kernel', 'kernel fused'), ('llvm', 'define'), ('assembly', 'ret')):
        assert word in flambeau.show_kernel(flambeau.exp, x, what=what)
    assert flambeau.show_kernel(flambeau.exp, x[:3]) == ''
    with pytest.raises(ValueError, match="'assembly'"):
        flambeau.show_kernel(flambeau.exp, x, what='c')


def two_operands(target, op, type, lanes):
    kind = type.vector(lanes) if lanes else type
    result = boolean if op in ('eq', 'ne', 'lt', 'le', 'gt', 'ge') else type
    b = Builder('two_operands', x=pointer(type), y=pointer(type), z=pointer(result), n=i64)
    x, y, z, n = b.parameters
    with b.loop(0, n, max(lanes, 1)) as i:
        b.store(b.binary(op, b.load(x + i, kind), b.load(y + i, kind)), z + i)
    return b.finish()


@pytest.mark.parametrize('lanes', [0, 8])
@pytest.mark.parametrize('op, type', CASES)
def test_operations_of_two_numbers(op, type, lanes):
    kind = np.dtype(('f' if type.is_float else type.kind) + str(type.bits // 8))
    x, y = (RANDOM.integers(0, 20, 16).astype(kind) + (0 if type.kind == 'u' else -5) for _ in range(2))
    x, y = x.astype(kind), (np.abs(y) % 7 + (op == 'div')).astype(kind) if op in ('shl', 'shr', 'div') else y.astype(kind)
    made = [np.zeros(16, bool if op in ('eq', 'ne', 'lt', 'le', 'gt', 'ge') else kind) for _ in range(2)]
    build.compiled(two_operands, op, type, lanes)(x, y, made[0], 16)
    interpret(two_operands(properties.target(), op, type, lanes), x, y, made[1], 16)
    np.testing.assert_array_equal(*made)


def control(target):
    b = Builder('control', x=pointer(f32), out=pointer(f32), n=i64)
    x, out, n = b.parameters
    lanes = 8
    with b.parallel((n + 9) / 10) as chunk:
        end = b.smaller(chunk * 10 + 10, n)
        total = b.variable(0.0, f32)
        with b.loop(chunk * 10, end) as i:
            with b.when(b.load(x + i) > 0.0):
                total.add(b.load(x + i))
            with b.otherwise():
                total.add(1.0)
        count = b.variable(0, i64)
        with b.repeat():
            count.add(1)
            total.set(total.get() * 0.5)
            b.until(count.get() >= 3)
        mask = b.first(end - chunk * 10, lanes)
        v = b.load(x + chunk * 10, f32.vector(lanes), mask=mask, other=1)
        turned = b.shuffle(v, v, list(range(lanes - 1, -1, -1)))
        index = b.iota(i32.vector(lanes)) * 0
        b.scatter(b.insert(turned, total.get() + b.reduce('larger', v), lanes - 1), out + chunk, index)
    return b.finish()


def test_loops_conditions_masks_and_regions():
    x = RANDOM.normal(size=97).astype('float32')
    made = [np.zeros(10, 'float32') for _ in range(2)]
    build.compiled(control)(x, made[0], 97)
    interpret(control(properties.target()), x, made[1], 97)
    np.testing.assert_allclose(*made, rtol=1e-6)


PROGRAM = (('input', 0, True, True), ('fold', 'larger', 0), ('sub', 0, 1), ('exp', 2), ('fold', 'add', 3), ('div', 3, 4))


def test_a_fused_kernel_means_what_it_does():
    x = RANDOM.normal(size=(3, 37)).astype('float32')
    arguments = PROGRAM, ('float32',), ((5, 'full', 'float32'),), 'float32', 0
    sizes = 3, 1, 37, 1, 37, 37, 0, 37, 0
    made = [np.zeros_like(x) for _ in range(2)]
    build.compiled(fusion.fused, *arguments)(x, made[0], *sizes)
    interpret(fusion.fused(properties.target(), *arguments), x, made[1], *sizes)
    np.testing.assert_allclose(*made, rtol=1e-6)
    assert 'kernel fused' in str(fusion.fused(properties.target(), *arguments))


def looked_up(target, count, lanes):
    b = Builder('looked_up', x=pointer(i32), y=pointer(f32), n=i64)
    x, y, n = b.parameters
    kind = i32.vector(lanes) if lanes else i32
    with b.loop(0, n, max(lanes, 1)) as i:
        b.store(b.lookup([k * 0.5 for k in range(count)], b.load(x + i, kind), f32), y + i)
    return b.finish()


@pytest.mark.parametrize('count, lanes', [(16, 16), (8, 16), (16, 8), (4, 0)])
def test_tables_are_looked_up_around_their_end(count, lanes):
    x = np.arange(64, dtype='int32')
    made = [np.zeros(64, 'float32') for _ in range(2)]
    build.compiled(looked_up, count, lanes)(x, made[0], 64)
    interpret(looked_up(properties.target(), count, lanes), x, made[1], 64)
    np.testing.assert_array_equal(made, [x % count * 0.5] * 2)
