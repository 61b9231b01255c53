"""Random numbers by generated kernels; what does not fit answers None. Knows no operation.

A driver overwrites `out`, an array in C order, with words of `source`, a generator. Starting LLVM takes as long as
drawing millions of numbers, so it has to be worth it.
"""
from __future__ import annotations

import numpy as np

from ...kernel import random, types
from .build import compiled
from .properties import target

__all__ = ['uniform', 'normal', 'normals', 'integers', 'permutation', 'successes', 'successes_each', 'transformed',
           'categories', 'scaled']

CALL = 512  # numbers that take as long as a call without a kernel
SHARED = 1 << 13  # numbers of slow functions from which on threads share the work
FLOATS = frozenset(('float32', 'float64', 'float16', 'bfloat16'))
ALL = FLOATS | {'bool', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32', 'uint64'}


class Kernels(dict):
    """The kernels of one generator, by array dtype and what else it takes."""

    patience = 1 << 16  # numbers to draw without kernels before the first

    def __init__(self, generator, dtypes=FLOATS):
        self.generator, self.dtypes = generator, dtypes

    def find(self, out, *arguments):
        """The kernel that writes to `out`, wanted for the first time; None where there is none that pays yet."""
        if types.name_of(out.dtype) not in self.dtypes or not self._pays(out.size):
            return None
        key = (out.dtype, *arguments) if arguments else out.dtype
        found = self[key] = compiled(self.generator, *[getattr(x, 'name', x) for x in (out.dtype, *arguments)])
        return found

    def _pays(self, size):
        if Kernels.patience > 0:
            Kernels.patience -= size + CALL
        return Kernels.patience <= 0 and 'fma' in target().features


def _plain(kernels):
    """The driver of kernels that take numbers as they are."""
    def draw(out, source, *numbers):
        kernel = kernels.get(out.dtype) or kernels.find(out)
        if kernel is not None:
            kernel(out, out.size, source.twister(), *numbers)
            return out
        return None
    return draw


uniform = _plain(Kernels(random.uniform))
permutation = _plain(Kernels(random.permutation, {'int64'}))
successes = _plain(Kernels(random.bernoulli, ALL))  # with one probability
NORMAL, NORMALS = Kernels(random.normal), Kernels(random.normals)
INTEGERS = Kernels(random.integers, ALL)
SUCCESSES_EACH, TRANSFORMED = Kernels(random.bernoulli_each, ALL), Kernels(random.transformed, ALL)
CATEGORIES, SCALED = Kernels(random.categories, {'int64'}), Kernels(random.scaled)


def normal(out, source, mean, std):
    """Normal samples in blocks of 16, fewer one by one."""
    size = out.size
    if size < 16:
        return normals(out, source, mean, std)
    shared = size >= SHARED and out.dtype == np.float64  # the others are fast enough
    kernel = NORMAL.get((out.dtype, shared)) or NORMAL.find(out, shared)
    if kernel is None:
        return None
    kernel(out, size, source.twister(), mean, std, _memory(size) if shared else None)
    return out


def _memory(size):
    """Room for the words of as many numbers as threads share at once."""
    return np.empty(2 * min(size, random.MANY), np.uint32)


def normals(out, source, mean, std, exponential=False):
    """Normal samples one by one, or exp of them; one left over waits in the generator."""
    size = out.size
    shared = size >= SHARED
    kernel = NORMALS.get((out.dtype, exponential, shared)) or NORMALS.find(out, exponential, shared)
    if kernel is None or not size:
        return kernel and out
    sample = source.normal_sample
    waiting = sample is not None
    over = kernel(out, size, source.twister(), mean, std, waiting, sample or 0.0, _memory(size) if shared else None)
    source.normal_sample = over if size - waiting & 1 else None
    return out


def integers(out, source, low, span, wide):
    """low + the remainder of words (of 64 bits where `wide`) by `span`."""
    masked = span & (span - 1) == 0
    kernel = INTEGERS.get((out.dtype, wide, masked)) or INTEGERS.find(out, wide, masked)
    if kernel is None:
        return None
    span -= masked
    kernel(out, out.size, source.twister(), low, span if span < 1 << 63 else span - (1 << 64))
    return out


def successes_each(out, source, probabilities):
    """Each with its own probability."""
    kind = probabilities.dtype
    kernel = SUCCESSES_EACH.get((out.dtype, kind)) or (kind.name in FLOATS and SUCCESSES_EACH.find(out, kind))
    if not kernel:
        return None
    kernel(out, out.size, source.twister(), np.ascontiguousarray(probabilities))
    return out


def transformed(out, source, distribution, scale, shift=0.0):
    """Samples of a distribution that is a function of a uniform double (kernel/random.py names them)."""
    shared = out.size >= SHARED
    kernel = TRANSFORMED.get((out.dtype, distribution, shared)) or TRANSFORMED.find(out, distribution, shared)
    if kernel is None:
        return None
    kernel(out, out.size, source.twister(), scale, shift, _memory(out.size) if shared else None)
    return out


def categories(out, source, bounds):
    """Where uniform doubles lie between rising ones, of which the last is 1."""
    kernel = CATEGORIES.get(out.dtype) or CATEGORIES.find(out)
    if kernel is None:
        return None
    kernel(out, out.size, source.twister(), np.ascontiguousarray(bounds), bounds.size)
    return out


def scaled(x, kept, scale):
    """x * scale where `kept`, elsewhere x * 0."""
    if x.shape != kept.shape:
        return None
    if not (x.flags.c_contiguous and kept.flags.c_contiguous):
        turned = x.flags.f_contiguous and kept.flags.f_contiguous
        made = scaled(x.T, kept.T, scale) if turned else None
        return made if made is None else made.T
    kernel = SCALED.get(x.dtype) or SCALED.find(x)
    if kernel is None:
        return None
    out = np.empty(x.shape, x.dtype)
    kernel(out, x, kept, x.size, scale)
    return out
