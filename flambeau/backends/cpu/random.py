"""Random numbers by generated kernels; what does not fit answers None. Knows no operation.

A driver overwrites `out`, an array in C order, with words of `source`, a generator. Starting LLVM takes as long as drawing
millions of numbers, so it has to be worth it.
"""
from __future__ import annotations

import numpy as np

from ...kernel import random
from .build import compiled
from .properties import target

__all__ = ['uniform', 'normal', 'normals', 'integers', 'permutation', 'bernoulli', 'bernoulli_each', 'transformed']

CALL = 512  # numbers that take as long as a call without a kernel
FLOATS = frozenset(('float32', 'float64', 'float16', 'bfloat16'))
ALL = FLOATS | {'bool', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32', 'uint64'}


class Kernels(dict):
    """The kernels of one generator, by array dtype and what else it takes."""

    patience = 1 << 16  # numbers to draw without kernels before the first

    def __init__(self, generator, dtypes):
        self.generator, self.dtypes = generator, dtypes

    def find(self, out, *arguments):
        """The kernel that writes to `out`, or None where there is none or it does not pay yet."""
        key = (out.dtype, arguments)
        found = self.get(key)
        if found is None and out.dtype.name in self.dtypes and self._pays(out.size):
            found = self[key] = compiled(self.generator, out.dtype.name, *arguments)
        return found

    def _pays(self, size):
        if Kernels.patience > 0:
            Kernels.patience -= size + CALL
        return Kernels.patience <= 0 and 'fma' in target().features


UNIFORM, NORMAL, NORMALS = Kernels(random.uniform, FLOATS), Kernels(random.normal, FLOATS), Kernels(random.normals, FLOATS)
INTEGERS, BERNOULLI = Kernels(random.integers, ALL), Kernels(random.bernoulli, ALL)
BERNOULLI_EACH, TRANSFORMED = Kernels(random.bernoulli_each, ALL), Kernels(random.transformed, ALL)
PERMUTATION = Kernels(random.permutation, {'int64'})


def uniform(out, source, low, high):
    kernel = UNIFORM.find(out)
    if kernel is None:
        return None
    if low == 0 and high == 1:
        kernel(out, out.size, source.twister(), 0.0, 1.0, 0.0, 1.0)
    else:
        real = np.float64 if out.dtype == np.float64 else np.float32
        ends = np.array([low, high], real).astype(out.dtype).astype(real).tolist()
        kernel(out, out.size, source.twister(), low, float(real(high) - real(low)), *ends)
    return out


def normal(out, source, mean, std):
    """Samples in blocks; `out` has at least 16."""
    kernel = NORMAL.find(out)
    if kernel is None:
        return None
    kernel(out, out.size, source.twister(), mean, std)
    return out


def normals(out, source, mean, std, exponential=False):
    """Samples one by one, or exp of them; one left over waits in the generator."""
    kernel = NORMALS.find(out, exponential)
    if kernel is None or not out.size:
        return kernel and out
    sample = source.normal_sample
    waiting = sample is not None
    over = kernel(out, out.size, source.twister(), mean, std, waiting, sample or 0.0)
    source.normal_sample = over if out.size - waiting & 1 else None
    return out


def integers(out, source, low, span, wide):
    """low + the remainder of words (of 64 bits where `wide`) by `span`."""
    masked = span & (span - 1) == 0
    kernel = INTEGERS.find(out, wide, masked)
    if kernel is None:
        return None
    span -= masked
    kernel(out, out.size, source.twister(), low, span if span < 1 << 63 else span - (1 << 64))
    return out


def permutation(out, source):
    """0, 1, 2 ... in random order."""
    kernel = PERMUTATION.find(out)
    if kernel is None:
        return None
    kernel(out, out.size, source.twister())
    return out


def bernoulli(out, source, bound):
    """One where a number of 53 bits is less than `bound`."""
    kernel = BERNOULLI.find(out)
    if kernel is None:
        return None
    kernel(out, out.size, source.twister(), bound)
    return out


def bernoulli_each(out, source, probabilities):
    if probabilities.dtype.name not in FLOATS:
        return None
    kernel = BERNOULLI_EACH.find(out, probabilities.dtype.name)
    if kernel is None:
        return None
    kernel(out, out.size, source.twister(), np.ascontiguousarray(probabilities))
    return out


def transformed(out, source, distribution, scale, shift=0.0):
    """Samples of a distribution that is a function of a uniform double (kernel/random.py names them)."""
    kernel = TRANSFORMED.find(out, distribution)
    if kernel is None:
        return None
    kernel(out, out.size, source.twister(), scale, shift)
    return out
