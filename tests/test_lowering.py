"""Formulas can be read by anything that offers `m`: here by a recorder that knows neither arrays nor tensors."""
import numpy as np
import pytest

import flambeau  # noqa: F401
from flambeau.ops import load_all
from flambeau.ops.definition import OPERATIONS

load_all()


class Symbol:
    """A value of which only shape and dtype are known, and how it was computed."""

    shape, ndim, size = (2, 3), 2, 6

    def __init__(self, dtype, made_by=None):
        self.dtype = np.dtype(dtype)
        self.made_by = made_by

    def __hash__(self):
        return id(self)


def _operator(name, dtype=None):
    def apply(self, other=None):
        return Symbol(dtype or self.dtype, (name, self, other))
    return apply


for name in ('add sub mul truediv floordiv mod pow and or xor lshift rshift radd rsub rmul rtruediv rpow rand ror rxor '
             'neg invert abs').split():
    setattr(Symbol, f'__{name}__', _operator(name))
for name in ('lt', 'le', 'gt', 'ge', 'eq', 'ne'):
    setattr(Symbol, f'__{name}__', _operator(name, bool))


class Recorder:
    """An `m` that records calls. There is no array library in it."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        if name == 'xp':
            raise AssertionError('the formula reaches past m for the array library')

        def call(*arguments, **options):
            self.calls.append(name)
            like = next((a for a in arguments if isinstance(a, Symbol)), None)
            return Symbol(like.dtype if like is not None else 'float32', (name, *arguments))
        return call

    def is_complex(self, x):
        return False


# the orthogonal polynomials, Bessel functions and the like are SciPy's, and vector_norm has a way of its own for vectors
HOST_CODE = ('flambeau.ops.special', 'flambeau.ops.linalg')
FORMULAS = [n for n, op in OPERATIONS.items()
            if op.kind in ('elementwise', 'reduction') and op.formula.__module__ not in HOST_CODE]


@pytest.mark.parametrize('name', FORMULAS)
def test_pointwise_and_reduction_formulas_use_nothing_but_m(name):
    operation = OPERATIONS[name]
    count = len(operation.positional) - len(operation.formula.__defaults__ or ())
    refused = None
    for dtype in ('float32', 'int64'):
        arguments = [Symbol(dtype) for _ in range(count)]
        try:
            result = operation.formula(Recorder(), *arguments)
        except RuntimeError as error:  # the formula refuses this dtype
            refused = error
            continue
        assert isinstance(result, Symbol)
        return
    raise AssertionError(f'{name} takes neither floating point numbers nor integers: {refused}')


def test_there_are_formulas_of_both_kinds():
    kinds = {OPERATIONS[n].kind for n in FORMULAS}
    assert kinds == {'elementwise', 'reduction'} and len(FORMULAS) > 100
