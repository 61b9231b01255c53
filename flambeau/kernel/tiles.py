"""What kernels of products have in common: tiles of sums in registers, panels of rows, squares turned round.

A result is divided into panels of `rows` rows, the last of them of one less, so that no tile is much smaller than
another: `upper` panels have all. Knows no arrays.
"""
from __future__ import annotations

from .types import bf16, f32, i64, named

__all__ = ['Forms', 'add_products', 'first_row', 'of_height', 'pack_turned', 'tile_columns', 'tile_rows', 'totals',
           'transposed', 'woven']


def tile_rows(target) -> int:
    """How many rows of two vectors fill the registers, with some left for the factors."""
    return 14 if target.registers >= 32 else 6


def tile_columns(target, element='float32') -> int:
    """The columns of a tile: two vectors of sums."""
    return 2 * target.lanes(f32 if element == 'bfloat16' else named(element))


class Forms:
    """Number types of a product: of the factors' words in memory, of the sums, and of the result."""

    def __init__(self, target, element):
        self.paired = element == 'bfloat16'
        self.sum = f32 if self.paired else named(element)
        self.result = named(element)
        self.lanes = target.lanes(self.sum)
        self.vector = self.sum.vector(self.lanes)

    def multiplied(self, b, x, y, total):
        """total + x * y, for words of pairs the sum of both products."""
        if not self.sum.is_float:
            return x * y + total
        if not self.paired:
            return b.fma(x, y, total)
        pairs = bf16.vector(2 * self.lanes)
        return b.dot(b.bitcast(x, pairs), b.bitcast(y, pairs), total)


def add_products(b, forms, sums, depth, x, x_row, x_step, y, y_step, masks=None, beside=None):
    """Adds to variables in rows and vectors the products of `depth` columns of x and rows of y, a variable that moves
    on.

    Columns of x are `x_step` numbers apart, and the numbers of a column `x_row`: a value, or the constant 1. `beside`
    (column) writes what else is done for each column.
    """
    neighbours = x_row.__class__ is int
    # every third row has an address of its own, from which the two rows after it are one scaled index away
    moving = [b.variable(x)] if neighbours else [b.variable(x + x_row * row) for row in range(0, len(sums), 3)]
    apart = None if neighbours else (0, x_row, x_row * 2)
    with b.loop(0, depth) as k:
        if beside:
            beside(k)
        at, base = [address.get() for address in moving], y.get()
        right = [b.load(base + v * forms.lanes, forms.vector, mask=masks and masks[v]) for v in range(len(sums[0]))]
        for row, totals in enumerate(sums):
            left = b.splat(b.load(at[0] + row if neighbours else at[row // 3] + apart[row % 3]), forms.lanes)
            for total, factor in zip(totals, right):
                total.set(forms.multiplied(b, left, factor, total.get()))
        for address, before in zip(moving, at):
            address.set(before + x_step)
        y.set(base + y_step)


def first_row(b, panel, upper, rows):
    """The first row of a panel."""
    return panel * rows - b.larger(panel - upper, b.of_type(0, i64))


def of_height(b, panel, upper, rows, uneven, write):
    """write(height) for the height of a panel; `uneven`: there are lower ones."""
    if not uneven:
        return write(rows)
    with b.when(panel < upper):
        write(rows)
    with b.otherwise():
        write(rows - 1)


def transposed(b, vectors):
    """The columns of a square of as many vectors as they have lanes."""
    vectors, count = list(vectors), len(vectors)
    step = count // 2
    while step:
        low = [k if not k & step else count + k - step for k in range(count)]
        high = [k + step if not k & step else count + k for k in range(count)]
        for i in range(count):
            if not i & step:
                first, second = vectors[i], vectors[i + step]
                vectors[i], vectors[i + step] = b.shuffle(first, second, low), b.shuffle(first, second, high)
        step //= 2
    return vectors


def totals(b, vectors):
    """The sum of each of as many vectors as they have lanes, as one vector."""
    lanes = size = len(vectors)
    while size > 1:
        half = size // 2
        low, high = ([block + lane % half + (lanes if lane >= half else 0) + shift
                      for block in range(0, lanes, size) for lane in range(size)] for shift in (0, half))
        pairs = zip(vectors[:half], vectors[half:])
        vectors = [b.shuffle(x, y, low) + b.shuffle(x, y, high) for x, y in pairs]
        size = half
    return vectors[0]


def woven(b, vectors, picks):
    """The vector of lanes that `picks` names: (number of a vector, lane)."""
    if len(vectors) == 1:
        return vectors[0]
    made = b.shuffle(vectors[0], vectors[1], [lane + len(picks) * (at == 1) for at, lane in picks])
    for number in range(2, len(vectors)):
        lanes = [len(picks) + lane if at == number else k for k, (at, lane) in enumerate(picks)]
        made = b.shuffle(made, vectors[number], lanes)
    return made


def pack_turned(b, forms, source, stride, count, depth, panel, vectors=2, pitch=None):
    """A panel of `depth` rows of some vectors from columns that lie `stride` apart, their rows `pitch` numbers apart.
    """
    lanes = forms.lanes
    pitch = pitch or vectors * lanes
    with b.loop(0, vectors * lanes, lanes) as part:
        starts = [source + b.smaller(part + k, count - 1) * stride for k in range(lanes)]
        with b.loop(0, (depth + (lanes - 1)) // lanes) as block:
            at = b.smaller(block * lanes, depth - lanes)  # the last block overlaps the one before
            square = [b.load(start + at, forms.vector) for start in starts]
            place = panel + (at * pitch + part)
            for k, row in enumerate(transposed(b, square)):
                b.store(row, place + k * pitch)
