"""The kernel language: its checks and its readable form."""
import pytest

pytest.importorskip('llvmlite')

from flambeau.backends.cpu import properties
from flambeau.kernel.ir import Builder
from flambeau.kernel.types import f32, i64, pointer

pytestmark = pytest.mark.skipif(not properties.jit_is_on(), reason='kernels are switched off')


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

