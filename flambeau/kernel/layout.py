"""Copies between arrays of any strides: runs of elements side by side, planes turned round by squares in registers.

Elements are words of 1, 2, 4 or 8 bytes, whatever they mean. Knows no arrays.
"""
from __future__ import annotations

from .ir import Builder
from .tiles import transposed
from .types import Pointer, Type, i64

__all__ = ['OUTER', 'runs', 'side', 'triangle', 'turned']

OUTER = 3  # axes around the one or two that a kernel runs along


def side(target, size) -> int:
    """The rows and columns of a square of words of `size` bytes."""
    return min(16, target.vector_bytes // size)


def _kernel(name, size, **numbers):
    word = Pointer(Type('u', 8 * size))
    outer = {f'{kind}{k}': i64 for kind in ('n', 'from', 'to') for k in range(OUTER)}
    return Builder(name, x=word, y=word, **outer, **numbers)


def _starts(b, x, y, flat, sizes, from_strides, to_strides):
    """Where the part with a flat number lies in both arrays."""
    for n, source, destination in reversed(list(zip(sizes, from_strides, to_strides))):
        rest = flat / n
        place = flat - rest * n
        x, y, flat = x + place * source, y + place * destination, rest
    return x, y


def runs(target, size, step):
    """y[.., i] = x[.., i * step] of `length` words, where step is 1, 0 or -1.

    A chunk is `piece` words of `block` runs, which follow along the last axis around, of `group` such axes.
    """
    b = _kernel('runs', size, length=i64, piece=i64, block=i64, group=i64)
    x, y, *outer, length, piece, block, group = b.parameters
    (*sizes, count), (*sources, source), (*places, place) = (outer[k * OUTER:(k + 1) * OUTER] for k in range(3))
    total = sizes[0] * sizes[1]
    pieces, blocks = (length + (piece - 1)) / piece, (count + (block - 1)) / block
    with b.parallel((total + (group - 1)) / group * blocks * pieces) as chunk:
        start = chunk % pieces * piece
        words = b.smaller(piece, length - start)
        chunk = chunk / pieces
        lower, first = chunk % blocks * block, chunk / blocks * group
        with b.loop(first, b.smaller(first + group, total)) as flat:
            begin, end = _starts(b, x, y, flat, sizes, sources, places)
            with b.loop(lower, b.smaller(lower + block, count)) as k:
                _run(b, target.vector_bytes // size, begin + k * source + start * step, end + k * place + start, words,
                     step)
    return b.finish()


def _run(b, lanes, source, place, words, step):
    """Copies one run."""
    vector = source.type.to.vector(lanes)
    whole = words / lanes * lanes
    single = b.splat(b.load(source), lanes) if step == 0 else None

    def taken(i, mask=None):
        if step == 1:
            return b.load(source + i, vector, mask=mask)
        if step == 0:
            return single
        read = b.load(source - i - (lanes - 1), vector, mask=mask and b.shuffle(mask, mask, range(lanes - 1, -1, -1)))
        return b.shuffle(read, read, range(lanes - 1, -1, -1))
    with b.loop(0, whole, lanes) as i:
        b.store(taken(i), place + i)
    with b.when(whole < words):
        mask = b.first(words - whole, lanes)
        b.store(taken(whole, mask), place + whole, mask=mask)


def turned(target, size, small):
    """y[.., j, i] = x[.., i, j]: `rows` i of which x has `columns` words side by side, `pitch` apart; y's rows
    `spacing`.

    A chunk is `group` planes of `block` columns, whole squares. small: a plane may be smaller than a square.
    """
    b = _kernel('turned', size, rows=i64, columns=i64, pitch=i64, spacing=i64, group=i64, block=i64)
    x, y, *outer, rows, columns, pitch, spacing, group, block = b.parameters
    step = side(target, size)
    vector = Type('u', 8 * size, step)
    sizes = outer[:OUTER]
    total = sizes[0] * sizes[1] * sizes[2]
    blocks = (columns + (block - 1)) / block
    with b.parallel((total + (group - 1)) / group * blocks) as chunk:
        first, column = chunk / blocks * group, chunk % blocks * block
        stop = b.smaller(column + block, columns)
        with b.loop(first, b.smaller(first + group, total)) as flat:
            source, destination = _starts(b, x, y, flat, sizes, outer[OUTER:2 * OUTER], outer[2 * OUTER:])
            with b.loop(column, stop, step) as j, b.loop(0, rows, step) as i:
                if small:
                    _edge_square(b, vector, source + i * pitch + j, destination + j * spacing + i, pitch, spacing,
                                 b.smaller(rows - i, step), b.smaller(columns - j, step))
                else:  # a square beyond the end overlaps the one before
                    i, j = b.smaller(i, rows - step), b.smaller(j, columns - step)
                    start, end = source + i * pitch + j, destination + j * spacing + i
                    square = [b.load(start + pitch * k, vector) for k in range(step)]
                    for k, words in enumerate(transposed(b, square)):
                        b.store(words, end + spacing * k)
    return b.finish()


def _edge_square(b, vector, start, end, pitch, spacing, rows, columns):
    """A square of which some rows and columns do not exist."""
    across, down = b.first(columns, vector.lanes), b.first(rows, vector.lanes)
    square = [b.load(start + pitch * b.smaller(rows - 1, k), vector, mask=across) for k in range(vector.lanes)]
    for k, words in enumerate(transposed(b, square)):
        with b.when(columns > k):
            b.store(words, end + spacing * k, mask=down)


def triangle(target, size, upper):
    """y[row, j] = x[row, j] where j - row % rows <= diagonal (>= where `upper`), else 0; `group` of the rows for a
    chunk.
    """
    word = Type('u', 8 * size)
    b = Builder('triangle', x=Pointer(word), y=Pointer(word), total=i64, rows=i64, columns=i64, diagonal=i64, group=i64)
    x, y, total, rows, columns, diagonal, group = b.parameters
    lanes = target.vector_bytes // size
    with b.parallel((total + (group - 1)) / group) as chunk, b.loop(
            chunk * group, b.smaller(chunk * group + group, total)) as row:
        edge = row % rows + diagonal + (0 if upper else 1)
        with b.loop(0, columns, lanes) as j:
            there = b.first(b.smaller(columns - j, lanes), lanes)
            before = b.first(b.smaller(b.larger(edge - j, 0), lanes), lanes)
            at = row * columns + j
            b.store(b.load(x + at, word.vector(lanes), mask=there & (~before if upper else before)), y + at, mask=there)
    return b.finish()
