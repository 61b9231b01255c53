"""Tensors as text: tables of what PyTorch prints, and random tensors against it where it is installed."""
import random

import numpy as np
import pytest

import flambeau as torch
from flambeau import printing

INF, NAN = float('inf'), float('nan')

TEXTS = [
    (lambda: torch.tensor([1.0, 2.0]), 'tensor([1., 2.])'),
    (lambda: torch.tensor([1.5, -2.0]), 'tensor([ 1.5000, -2.0000])'),
    (lambda: torch.tensor(3.14159), 'tensor(3.1416)'),
    (lambda: torch.tensor(7), 'tensor(7)'),
    (lambda: torch.tensor([True, False]), 'tensor([ True, False])'),
    (lambda: torch.tensor([1e-5, 1.0]), 'tensor([1.0000e-05, 1.0000e+00])'),
    (lambda: torch.tensor([1.0, INF, -INF, NAN]), 'tensor([1., inf, -inf, nan])'),
    (lambda: torch.tensor([0.5, -0.0]), 'tensor([0.5000, -0.0000])'),
    (lambda: torch.tensor([123456.0, 1.0]), 'tensor([1.2346e+05, 1.0000e+00])'),
    (lambda: torch.tensor([1 + 2j, -0.5j]), 'tensor([1.+2.0000j, -0.-0.5000j])'),
    (lambda: torch.tensor([1.0, 2.0], dtype=torch.float64), 'tensor([1., 2.], dtype=torch.float64)'),
    (lambda: torch.tensor([1.0, 2.5], dtype=torch.bfloat16), 'tensor([1.0000, 2.5000], dtype=torch.bfloat16)'),
    (lambda: torch.tensor([1, 200], dtype=torch.uint8), 'tensor([  1, 200], dtype=torch.uint8)'),
    (lambda: torch.zeros(0), 'tensor([])'),
    (lambda: torch.zeros(2, 0, dtype=torch.int64), 'tensor([], size=(2, 0), dtype=torch.int64)'),
    (lambda: torch.tensor([[1.0], [10.0]]), 'tensor([[ 1.],\n        [10.]])'),
    (lambda: torch.tensor([[[1, 2]], [[3, 4]]]), 'tensor([[[1, 2]],\n\n        [[3, 4]]])'),
    (lambda: torch.tensor([1.0], requires_grad=True), 'tensor([1.], requires_grad=True)'),
    (lambda: torch.tensor([1.0], requires_grad=True) + 1, 'tensor([2.], grad_fn=<AddBackward0>)'),
    (lambda: torch.Parameter(torch.tensor([1.0])), 'Parameter containing:\ntensor([1.], requires_grad=True)'),
    (lambda: torch.tensor(range(2000)), 'tensor([   0,    1,    2,  ..., 1997, 1998, 1999])'),
]


@pytest.fixture(autouse=True)
def default_options():
    yield
    printing.set_printoptions(profile='default')


@pytest.mark.parametrize('make, expected', TEXTS, ids=[expected for _, expected in TEXTS])
def test_text(make, expected):
    assert repr(make()) == expected


def test_lines_are_broken_at_the_width():
    lines = repr(torch.tensor([float(i) for i in range(30)])).split('\n')
    assert len(lines) == 3 and all(len(line) <= 80 for line in lines)
    assert lines[1].startswith(' ' * 8 + '14.')


def test_subclass_is_named():
    class Mass(torch.Tensor):
        pass
    assert repr(torch.tensor([1.0]).as_subclass(Mass)) == 'Mass([1.])'


OPTIONS = [
    ({'precision': 2}, [1.23456], 'tensor([1.23])'),
    ({'precision': 0}, [1.23456], 'tensor([1])'),
    ({'sci_mode': True}, [1.0, 2.0], 'tensor([1.0000e+00, 2.0000e+00])'),
    ({'sci_mode': False}, [1e-9, 1.0], 'tensor([0.0000, 1.0000])'),
    ({'threshold': 2, 'edgeitems': 1}, [1.0, 2.0, 3.0], 'tensor([1.,  ..., 3.])'),
    ({'linewidth': 20}, [1.0, 2.0, 3.0], 'tensor([1., 2., 3.])'),
    ({'linewidth': 12}, [1.0, 2.0], 'tensor([1.,\n        2.])'),
    ({'profile': 'short'}, [1.23456], 'tensor([1.23])'),
]


@pytest.mark.parametrize('options, values, expected', OPTIONS)
def test_options(options, values, expected):
    before = printing.get_printoptions()
    with printing.printoptions(**options):
        assert repr(torch.tensor(values)) == expected
    assert printing.get_printoptions() == before


def test_unknown_profile_is_refused_and_changes_nothing():
    before = printing.get_printoptions()
    with pytest.raises(ValueError, match='profile'):
        printing.set_printoptions(precision=1, profile='long')
    assert printing.get_printoptions() == before


def test_format_of_numbers():
    assert f'{torch.tensor(3.14159):.2f}' == '3.14' and f'{torch.tensor(5):3d}' == '  5'
    with pytest.raises(TypeError):
        f'{torch.zeros(2):.2f}'


def random_values(pick, kind, shape):
    values = np.asarray(np.random.default_rng(pick.randrange(10 ** 6)).standard_normal(shape))
    if kind == 'bool':
        return values > 0
    if kind.startswith(('int', 'uint')):
        limits = np.iinfo(kind)
        return (np.abs(values) * min(limits.max // 8, 10 ** pick.randint(1, 12))).astype(kind)
    values = pick.choice([lambda v: v * 10.0 ** pick.randint(-9, 9), lambda v: np.round(v * 10 ** pick.randint(0, 9)),
                          lambda v: np.exp(5 * v), lambda v: v * 0, lambda v: np.round(5 * v) / 4])(values)
    if pick.random() < 0.4:
        values = np.where(values > 0.5, pick.choice([INF, -INF, NAN, -0.0]), values)
    with np.errstate(over='ignore'):
        if not kind.startswith('complex'):
            return values.astype(kind)
        both = np.empty(shape, kind)
        both.real, both.imag = values, values[::-1]
        return both


OPTION_SETS = [{}, {}, {'precision': 7}, {'threshold': 5}, {'edgeitems': 0, 'threshold': 10}, {'linewidth': 40},
               {'sci_mode': True}, {'sci_mode': False}, {'profile': 'full'}]


@pytest.mark.parametrize('kind', ['float32', 'float64', 'float16', 'int64', 'int8', 'uint8', 'bool', 'complex64'])
def test_random_tensors_print_as_in_pytorch(kind):
    theirs = pytest.importorskip('torch')
    pick = random.Random(kind)
    for _ in range(40):
        shape = [pick.choice([1, 2, 3, 7, 20]) for _ in range(pick.randint(1, 3))]
        values = random_values(pick, kind, shape)
        options = pick.choice(OPTION_SETS)
        theirs.set_printoptions(profile='default')
        theirs.set_printoptions(**options)
        with printing.printoptions(**options):
            assert repr(torch.from_numpy(values)) == repr(theirs.from_numpy(values))
    theirs.set_printoptions(profile='default')
