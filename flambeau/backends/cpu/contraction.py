"""Matrix products over arrays: which kernel takes which layouts, what is packed, how work is cut. Knows no tensor."""
from __future__ import annotations

import numpy as np

from ...kernel.contraction import product, vectors
from ...kernel.tiles import tile_columns, tile_rows
from .arrays import signature
from .build import built
from .layout import own
from .properties import target
from .replay import allocated, is_noting, launched, noted

__all__ = ['matmul']

DEPTH = 384            # terms summed up in registers before they are added to the result: bounds the rounding error
PLANS = 4096           # different calls remembered
ALIASED = 4096         # bytes: rows about this far apart (or a multiple) share few lines of the first cache
WAYS = 8               # as many of such rows stay in it
WORTH_PACKING = 1 << 18  # numbers of y from which on its panels are copied first, where x is high enough
WORTH_THREADS = 1 << 19  # multiplications from which on other threads are woken
TURNING = 7            # products that take as long as to turn round one number
FAR = 1 << 20          # numbers of a matrix from which on memory is waited for
THIN = 4               # rows or columns below which a product is one of vectors
FEW = 13               # and rows below which it is, where those of the matrix lie along the sum
ELEMENTS = {'float32': 1, 'float64': 1, 'bfloat16': 2, 'int16': 1, 'int32': 1, 'int64': 1}  # neighbours in a word
WIDER = {'bfloat16': np.float32, 'int8': np.int16, 'uint8': np.int16}  # for what the processor does not multiply
OTHER = {'rows': 'turned', 'turned': 'rows'}  # how the transpose of a matrix lies
_plans = {}


@noted
def add_to(made, bias):
    """made += bias."""
    made += bias


@noted
def write(out, made):
    """out = made."""
    out[...] = made


def matmul(x, y, out=None, bias=None, accumulate=False):
    """x @ y (+ bias) over the last two dimensions, into `out` (added to it with `accumulate`); None: not done.

    Both must have the same dtype and the same leading dimensions. `out` must not overlap x or y.
    """
    key = signature()(x, y, out, bias)
    plan = _plans.get(key)
    if plan is None:
        if len(_plans) >= PLANS:
            _plans.clear()
        plan = _plans[key] = _plan(x, y, out, bias) or False
    return plan(x, y, out, bias, accumulate) if plan else None


def _layout(array, word):
    """('rows' | 'turned', stride in words, batch stride in words) of matrices, or None where they must be copied."""
    *batch, down, across = array.strides
    *_, height, width = array.shape
    size = array.itemsize
    for form, unit, stride, length in (('rows', across, down, height), ('turned', down, across, width)):
        if unit == size and (stride % word == 0 or length == 1) and not any(s % word for s in batch):
            return form, stride // word, batch[0] // word if batch else 0
    return None


def _plan(x, y, out, bias):
    """How calls of this form run, or None where they must run otherwise."""
    name = x.dtype.name
    if name not in ELEMENTS and name not in WIDER or y.dtype != x.dtype or x.ndim != y.ndim or x.ndim < 2 or x.shape[:-2] != y.shape[:-2]:
        return None
    if out is not None and (out.dtype != x.dtype or out.strides[-1] != out.itemsize) or not x.size or not y.size:
        return None
    if bias is not None and (bias.dtype != x.dtype or bias.strides != (x.itemsize,)):
        return None
    if name not in ELEMENTS or name == 'bfloat16' and 'bf16_dot' not in target().features:
        return _widened
    if x.ndim > 3:
        return _flattened if out is None else None
    if min(x.shape[-2], y.shape[-1]) < FEW and (x.ndim == 2 or x.size * y.shape[-1] >= WORTH_THREADS):
        thin = _Vectors(x, y)
        if thin.fits:
            return thin
    product = _Product(x, y, out, bias)
    return product if product.copy_x or product.copy_y or product.panels_x or product.panels_y else product.direct()


def _widened(x, y, out, bias, accumulate):
    """Through another dtype, for processors that do not multiply the dtype itself."""
    if out is not None:
        return None
    wide = matmul(*[None if a is None else a.astype(WIDER[x.dtype.name]) for a in (x, y, None, bias)])
    return None if wide is None else wide.astype(x.dtype)


def _flattened(x, y, out, bias, accumulate):
    """Several leading dimensions as one."""
    made = matmul(x.reshape(-1, *x.shape[-2:]), y.reshape(-1, *y.shape[-2:]), None, bias)
    return None if made is None else made.reshape(*x.shape[:-1], y.shape[-1])


class _Product:
    """A kernel and its numbers for all calls of one form."""

    def __init__(self, x, y, out, bias):
        self.dtype = x.dtype
        self.element = element = x.dtype.name
        self.neighbours = neighbours = ELEMENTS[element]
        self.word = word = x.itemsize * neighbours
        m, k, n = *x.shape[-2:], y.shape[-1]
        self.batch = x.shape[0] if x.ndim == 3 else 1
        self.shape = (*x.shape[:-1], n)
        lanes = tile_columns(target(), element) // 2
        self.pad = k % neighbours
        words, wide = -(-k // neighbours), -(-n // neighbours)
        form_x, form_y = _layout(x, word), _layout(y, word)
        self.copy_x = form_x is None or self.pad or neighbours == 2 and form_x[0] == 'turned'
        self.copy_y = form_y is None or self.pad or words < lanes and form_y[0] == 'turned'
        if self.copy_x:
            form_x = 'rows', words, m * words
        if self.copy_y:
            form_y = 'rows', wide, words * neighbours * wide
        strides = (m * n, n, 1) if out is None else [s // x.itemsize for s in out.strides]
        self.flipped = not self.copy_x and not self.copy_y and self._is_flipped(m, words, n, lanes, form_x, form_y)
        if self.flipped:
            form_x, form_y, m, n = (OTHER[form_y[0]], *form_y[1:]), (OTHER[form_x[0]], *form_x[1:]), n, m
        batch_of = [stride if x.ndim == 3 else 0 for stride in (form_x[2], form_y[2], strides[0])]
        matrices = self.batch if batch_of[1] else 1
        arguments, cut = self._cut(m, n, words, lanes, form_x, form_y, matrices)
        self.run = built(product, element, *arguments, bias is not None, self.flipped)
        self.numbers = (self.batch, n, words, batch_of[0], form_x[1], batch_of[1], form_y[1], batch_of[2], strides[-2],
                        *cut, matrices)

    def _is_flipped(self, m, k, n, lanes, form_x, form_y):
        """Whether the transpose of the result is made of those of the factors, so that y need not be turned round.

        Then x must be, unless it is already, and tiles when they are written; more columns of vectors may be wasted.
        """
        if self.neighbours > 1 or form_y[0] == 'rows' or k < lanes:
            return False
        wide, copied = -(-m // lanes) * lanes / m, TURNING / n if form_x[0] == 'rows' else 0
        return wide * (1 + copied + TURNING / min(k, DEPTH)) < 1 + TURNING * (2 if k * n >= FAR else 1) / m

    def _is_aliased(self, stride):
        """Whether rows so many words apart share few lines of the first cache."""
        apart = stride * self.word % ALIASED
        return min(apart, ALIASED - apart) < ALIASED // 128

    def _cut(self, m, n, k, lanes, form_x, form_y, matrices):
        """(what the kernel is made for, its numbers of panels and chunks); sets the bytes of packed panels."""
        width = 2 * lanes
        turned = form_x[0] == 'turned'
        panels = -(-m // min(tile_rows(target()), WAYS if not turned and self._is_aliased(form_x[1]) else m))
        rows = -(-m // panels)
        upper = panels - (rows * panels - m)
        strips = -(-n // width)
        pack_x = turned and k > 512 and m * n >= 1 << 16 and form_x[1] * self.word % (ALIASED // 2) == 0
        high_enough = 128 if k >= 512 and self._is_aliased(form_y[1]) else 512
        pack_y = 'turned' if form_y[0] == 'turned' else 'pairs' if self.neighbours == 2 else (
            'rows' if m >= high_enough and k * n >= WORTH_PACKING else None)
        length = 0 if not pack_x else k * -(-rows // lanes) * lanes
        self.panels_x = self.batch * panels * length * self.word
        self.panels_y = matrices * strips * k * width * self.word if pack_y else 0
        slices = -(-k // DEPTH) if self.neighbours == 1 else 1
        down, across = max(1, 256 // rows), max(1, 1024 // width)
        alone = self.batch * m * n * k < WORTH_THREADS
        if alone:
            down, across = panels, strips
        while not alone and self.batch * -(-panels // down) * -(-strips // across) < 8 and (down > 1 or across > 1):
            if across * width >= down * rows and across > 1 or down == 1:
                across = -(-across // 2)
            else:
                down = -(-down // 2)
        together = max(panels, strips) * self.batch if alone else 1
        arguments = rows, upper < panels, -(-(n % width) // lanes), turned, pack_x, pack_y
        return arguments, (panels, upper, down, across, -(-k // slices), together)

    def _copied(self, array, padded_axis):
        """The array in rows, with an even number of neighbours."""
        shape = list(array.shape)
        shape[padded_axis] += self.pad
        shape[-1] += shape[-1] % self.neighbours
        if shape == list(array.shape):
            return array if array.flags.c_contiguous else own(array)
        made = np.zeros(shape, array.dtype)
        made[tuple(map(slice, array.shape))] = array
        return made

    def direct(self):
        """The shortest call, where nothing is copied before and nobody notes it."""
        run, shape, numbers, dtype, flipped, empty = (
            self.run, self.shape, self.numbers, self.dtype, self.flipped, np.empty)

        def call(x, y, out, bias, accumulate):
            if is_noting():
                return self(x, y, out, bias, accumulate)
            if out is None:
                out = empty(shape, dtype)
            if flipped:
                x, y = y, x
            run(x, y, out, bias, None, None, *numbers, accumulate)
            return out
        return call

    def __call__(self, x, y, out, bias, accumulate):
        if out is None:
            out = allocated(self.shape, self.dtype)
        if self.copy_x:
            x = self._copied(x, -1)
        if self.copy_y:
            y = self._copied(y, -2)
        if self.flipped:
            x, y = y, x
        panels_x = allocated(self.panels_x, np.uint8) if self.panels_x else None
        panels_y = allocated(self.panels_y, np.uint8) if self.panels_y else None
        launched(self.run)(x, y, out, bias, panels_x, panels_y, *self.numbers, int(accumulate))
        return out


class _Vectors:
    """The kernel and its numbers for products of a matrix and a few vectors."""

    def __init__(self, x, y):
        self.swapped = y.shape[-1] < x.shape[-2]  # few columns of y: the vectors are its columns, the matrix is x
        if self.swapped:
            x, y = y.swapaxes(-1, -2), x.swapaxes(-1, -2)
        element = x.dtype.name
        self.word = word = x.itemsize * ELEMENTS[element]
        count, k, ends = *x.shape[-2:], y.shape[-1]
        layout, form = _layout(x, word), _layout(y, word)
        self.copied = layout is None or layout[0] != 'rows'
        self.fits = form is not None and k % ELEMENTS[element] == 0 and (form[0] == 'turned' or ELEMENTS[element] == 1)
        if not self.fits:
            return
        words = k // ELEMENTS[element]
        self.stride, self.turned = form[1], form[0] == 'turned'
        self.fits = count < THIN or self.turned and not self.swapped
        if not self.fits:
            return
        groups = -(-count // (target().registers // 8))
        self.run = built(vectors, element, self.turned, -(-count // groups) if self.turned else 1)
        self.shape = (*x.shape[:-2], count, ends)
        self.sizes = x.shape[0] if x.ndim == 3 else 1, count, words, ends
        self.block = self._block(count, ends, words)
        tasks = self.sizes[0] * -(-ends // self.block)
        self.together = tasks if self.sizes[0] * count * ends * words < WORTH_THREADS else 1

    def _block(self, count, ends, words):
        """Results of one chunk: a good stretch of rows, or some rows of a few kilobytes each."""
        if count >= THIN and count * ends * words < WORTH_THREADS:
            return ends
        if not self.turned:
            return max(256, -(-ends // 8 // 64) * 64)
        return max(4, min(-(-ends // 8), (1 << 16) // words)) + 3 & ~3

    def __call__(self, x, y, out, bias, accumulate):
        if self.swapped:
            x, y = y.swapaxes(-1, -2), x.swapaxes(-1, -2)
        if self.copied:
            x = own(x)
        word, batched = self.word, x.ndim == 3
        made = allocated(self.shape, x.dtype)
        launched(self.run)(x, y, made, *self.sizes, x.strides[0] // word if batched else 0, x.strides[-2] // word,
            y.strides[0] // word if batched else 0, self.stride, self.block, self.together)
        if self.swapped:
            made = own(made.swapaxes(-1, -2))
        if bias is not None:
            add_to(made, bias)
        if out is None:
            return made
        (add_to if accumulate else write)(out, made)
        return out
