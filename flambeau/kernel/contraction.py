"""Kernels of matrix products: tiles of the result held in registers, panels of the factors packed where that pays.

A tile is some rows by two vectors of columns. The rows of the result are divided into panels of `rows` and `rows - 1`,
so that no tile is much smaller than another; the last columns are masked. Long sums are taken in slices. The division
does not depend on the number of threads. bfloat16 factors are words of two neighbours, multiplied with `dot`.
"""
from __future__ import annotations

import contextlib

from .ir import Builder
from .tiles import Forms, add_products, first_row, of_height, pack_turned, totals, transposed
from .types import bf16, i64, pointer

__all__ = ['product', 'vectors']

AHEAD = 24  # rows that are asked for before they are read, where they lie far apart
ROWS = 4    # rows of a matrix whose dots are taken side by side


def _tile(forms, rows, vectors, masked, turned, biased, flipped):
    """One tile of the result: `rows` rows of x against a panel of y. `turned`: rows of x are neighbours in memory.

    `flipped`: the columns of the tile are rows of the result, whose bias is one for rows of x.
    """
    name = f'tile{rows}_{vectors}{"m" if masked else ""}'
    b = Builder(name, x=pointer(forms.sum), y=pointer(forms.sum), out=pointer(forms.result), bias=pointer(forms.result),
                x_stride=i64, y_stride=i64, out_stride=i64, depth=i64, columns=i64, kept=i64, first=i64)
    x, y, out, bias, x_stride, y_stride, out_stride, depth, columns, kept, first = b.parameters
    lanes, vector = forms.lanes, forms.vector
    masks = [b.first(columns - v * lanes, lanes) if masked and v == vectors - 1 else None for v in range(vectors)]
    sums = [[b.variable(0, vector) for _ in range(vectors)] for _ in range(rows)]
    row_step, step = (1, x_stride) if turned else (x_stride, 1)
    lines, wide = (vectors * lanes, 1) if flipped else (rows, vectors)
    y, early = b.variable(y), b.smaller(depth, b.of_type(lines, i64))

    def ask(line):
        for v in range(wide):
            b.prefetch(out + (line * out_stride + v * lanes))
    add_products(b, forms, sums, early, x, row_step, step, y, y_stride, masks, ask)
    add_products(b, forms, sums, depth - early, x + early * step, row_step, step, y, y_stride, masks)
    if biased:
        with b.when(first != 0):
            for row in range(rows):
                for v in range(vectors):
                    sums[row][v].add(b.convert(b.splat(b.load(bias + row), lanes) if flipped else b.load(
                        bias + v * lanes, forms.result.vector(lanes), mask=masks[v]), forms.sum))
    for v in range(vectors):
        if flipped:
            for part in range(0, rows, lanes):
                square = [line[v].get() for line in sums[part:part + lanes]]
                square += [b.constant(0, vector)] * (lanes - len(square))
                high = min(lanes, rows - part)
                there = [b.first(b.select(columns > v * lanes + c, b.of_type(high, i64), b.of_type(0, i64)) if masks[v]
                                 else b.of_type(high, i64), lanes) for c in range(lanes)]
                _write(b, forms, [b.variable(line) for line in transposed(b, square)],
                       [out + (out_stride * (v * lanes + c) + part) for c in range(lanes)], there, kept)
        else:
            _write(b, forms, [line[v] for line in sums], [out + (out_stride * row + v * lanes) for row in range(rows)],
                   [masks[v]] * rows, kept)
    return b.finish()


def _write(b, forms, sums, places, masks, kept):
    """Stores variables, added to what is there where it is `kept`."""
    stored = forms.result.vector(forms.lanes)
    with b.when(kept != 0):
        for total, place, mask in zip(sums, places, masks):
            total.add(b.convert(b.load(place, stored, mask=mask), forms.sum))
    for total, place, mask in zip(sums, places, masks):
        b.store(b.convert(total.get(), forms.result), place, mask=mask)


def _pack_rows(b, forms, source, stride, count, depth, panel, size):
    """A panel of `depth` rows of up to `size` numbers that are `stride` apart."""
    lanes = forms.lanes
    for v in range(-(-size // lanes)):
        mask = b.first(count - v * lanes, lanes)
        with b.loop(0, depth) as k:
            b.prefetch(source + (k + AHEAD) * stride + v * lanes)
            value = b.load(source + k * stride + v * lanes, forms.vector, mask=mask)
            b.store(value, panel + k * (-(-size // lanes) * lanes) + v * lanes)


def _pack_pairs(b, forms, source, stride, count, depth, panel):
    """A panel of words from rows of bfloat16, `stride` words apart: each word holds a column's two neighbours."""
    lanes, half = forms.lanes, bf16.vector(forms.lanes)
    order = [k // 2 + (k % 2) * lanes for k in range(2 * lanes)]
    narrow = b.cast(source, bf16)
    for v in range(2):
        mask = b.first(count - v * lanes, lanes)
        with b.loop(0, depth) as k:
            upper, lower = (b.load(narrow + (k * 2 + r) * (stride * 2) + v * lanes, half, mask=mask) for r in range(2))
            word = b.bitcast(b.shuffle(upper, lower, order), forms.vector)
            b.store(word, panel + k * (2 * lanes) + v * lanes)


@contextlib.contextmanager
def _tasks(b, count, together):
    """Tasks 0..count-1, so many of them `together` in a chunk; gives the task."""
    with b.parallel((count + together - 1) // together) as chunk:
        with b.loop(chunk * together, b.smaller((chunk + 1) * together, count)) as task:
            yield task


def _pack_y(b, forms, how, y, y_panels, matrices, strips, n, k, y_batch, y_stride, together):
    """Panels of all strips of y."""
    width = 2 * forms.lanes
    with _tasks(b, matrices * strips, together) as task:
        matrix = task // strips
        strip = task - matrix * strips
        panel, left = y_panels + task * (k * width), n - strip * width
        from_ = y + matrix * y_batch
        if how == 'turned':
            pack_turned(b, forms, from_ + strip * width * y_stride, y_stride, left, k, panel)
        elif how == 'pairs':
            _pack_pairs(b, forms, from_ + strip * (width // 2), y_stride, left, k, panel)
        else:
            _pack_rows(b, forms, from_ + strip * width, y_stride, left, k, panel, width)


def _pack_x(b, forms, x, x_panels, batch, panels, upper, rows, k, x_batch, x_stride, together):
    """Panels of all rows of x, which are neighbours in memory."""
    x_width = -(-rows // forms.lanes) * forms.lanes
    with _tasks(b, batch * panels, together) as task:
        matrix = task // panels
        p = task - matrix * panels
        count = rows - b.select(p < upper, b.of_type(0, i64), b.of_type(1, i64))
        _pack_rows(b, forms, x + (matrix * x_batch + first_row(b, p, upper, rows)), x_stride, count, k,
                   x_panels + task * (k * x_width), rows)


def product(target, element, rows, uneven, edge, turned, pack_x, pack_y, biased, flipped):
    """out[z] (+)= x[z] @ y[z] (+ bias), for matrices in memory.

    Panels have `rows` rows, and where `uneven` the last of them one less; `edge` is how many vectors the last columns
    take (0: none are left over). `turned`: the rows of x are neighbours in memory, else its columns; `pack_x` says
    whether panels of such are copied first, `pack_y` how those of y are: None, 'rows', 'turned', or 'pairs'. Strides
    are in words. `flipped`: what is written is the result's transpose, and the bias is one for rows.
    """
    forms = Forms(target, element)
    word, result = pointer(forms.sum), pointer(forms.result)
    b = Builder('product', x=word, y=word, out=result, bias=result, x_panels=word, y_panels=word,
                batch=i64, n=i64, k=i64, x_batch=i64, x_stride=i64, y_batch=i64, y_stride=i64, out_batch=i64,
                out_stride=i64, panels=i64, upper=i64, chunk_rows=i64, chunk_columns=i64, depth=i64, together=i64,
                y_matrices=i64, kept=i64)
    (x, y, out, bias, x_panels, y_panels, batch, n, k, x_batch, x_stride, y_batch, y_stride, out_batch, out_stride,
     panels, upper, chunk_rows, chunk_columns, depth, together, y_matrices, kept) = b.parameters
    width = 2 * forms.lanes
    strips = (n + (width - 1)) // width

    if pack_y:
        _pack_y(b, forms, pack_y, y, y_panels, y_matrices, strips, n, k, y_batch, y_stride, together)
    x_width = -(-rows // forms.lanes) * forms.lanes
    if pack_x:
        _pack_x(b, forms, x, x_panels, batch, panels, upper, rows, k, x_batch, x_stride, together)

    def tiles(p, columns, *arguments):
        """The tile of this panel's height and this strip's width."""
        def write(height):
            def of_width(vectors, masked):
                b.call(_tile(forms, height, vectors, masked, turned, biased, flipped), *arguments)
            if not edge:
                return of_width(2, False)
            with b.when(columns >= width):
                of_width(2, False)
            with b.otherwise():
                of_width(edge, True)
        of_height(b, p, upper, rows, uneven, write)

    high = (panels + chunk_rows - 1) // chunk_rows
    wide = (strips + chunk_columns - 1) // chunk_columns
    with _tasks(b, batch * (high * wide), together) as chunk:
        matrix = chunk // (high * wide)
        rest = chunk - matrix * (high * wide)
        across = rest // high
        down = rest - across * high
        top, left = down * chunk_rows, across * chunk_columns
        bottom, right = b.smaller(top + chunk_rows, panels), b.smaller(left + chunk_columns, strips)
        y_matrix = b.select(y_matrices > 1, matrix, b.of_type(0, i64))
        with b.loop(0, k, depth) as start:
            deep = b.smaller(depth, k - start)
            again = kept + start
            first = b.select(start < 1, b.of_type(1, i64), b.of_type(0, i64))
            with b.loop(left, right) as strip:
                if pack_y:
                    panel = y_panels + ((y_matrix * strips + strip) * k + start) * width
                    panel_stride = b.of_type(width, i64)
                else:
                    panel = y + matrix * y_batch + start * y_stride + strip * width
                    panel_stride = y_stride
                columns = n - strip * width
                with b.loop(top, bottom) as p:
                    row = first_row(b, p, upper, rows)
                    if not pack_x:
                        source = x + (matrix * x_batch + (row + start * x_stride if turned else row * x_stride + start))
                        stride = x_stride
                    else:
                        source = x_panels + ((matrix * panels + p) * k + start) * x_width
                        stride = b.of_type(x_width, i64)
                    line, across = (strip * width, row) if flipped else (row, strip * width)
                    place = out + matrix * out_batch + line * out_stride + across
                    tiles(p, columns, source, panel, place, bias + across if biased else bias, stride,
                          panel_stride, out_stride, deep, columns, again, first)
    return b.finish()


def vectors(target, element, turned, several):
    """out[z, v] = x[z, v] @ matrix[z] for a few vectors, limited by how fast the matrix is read.

    `turned`: the matrix's rows (along the sum) are neighbours in memory, and dots are taken, of `several`
    vectors at a time; else long stretches of eight rows are added to the result. `block` is how many results a task takes,
    `ends` their number, and `together` how many tasks are a chunk. Strides are in words.
    """
    forms = Forms(target, element)
    word, result = pointer(forms.sum), pointer(forms.result)
    b = Builder('vectors', x=word, matrix=word, out=result, batch=i64, count=i64, k=i64, ends=i64, x_batch=i64,
                x_stride=i64, matrix_batch=i64, stride=i64, block=i64, together=i64)
    x, matrix, out, batch, count, k, ends, x_batch, x_stride, matrix_batch, stride, block, together = b.parameters
    chunks = (ends + block - 1) // block
    with _tasks(b, batch * chunks, together) as chunk:
        z = chunk // chunks
        start = (chunk - z * chunks) * block
        stop, from_, to = b.smaller(start + block, ends), x + z * x_batch, out + z * count * ends
        if turned:
            with b.loop(start, stop, ROWS) as j, b.loop(0, count, several) as v:
                numbers = [b.smaller(v + k, count - 1) for k in range(several)]
                rows = [matrix + (z * matrix_batch + b.smaller(j + r, stop - 1) * stride) for r in range(ROWS)]
                _dots(b, forms, [from_ + number * x_stride for number in numbers], rows,
                      [to + (number * ends + j) for number in numbers], k, b.first(stop - j, forms.lanes))
        else:
            with b.loop(0, count) as v:
                _stretches(b, forms, from_ + v * x_stride, matrix + z * matrix_batch, to + v * ends, k, stride, start,
                           stop)
    return b.finish()


def _dots(b, forms, vectors, rows, places, k, kept):
    """The dots of vectors with rows of the matrix, those of one vector side by side; `kept`: which are there."""
    lanes, parts = forms.lanes, 1 if len(vectors) > 2 else 2
    whole = k - k % (parts * lanes)
    sums = [[[b.variable(0, forms.vector) for _ in range(parts)] for _ in rows] for _ in vectors]

    def add(at, part, mask=None):
        right = [b.load(vector + at, forms.vector, mask=mask) for vector in vectors]
        for r, row in enumerate(rows):
            left = b.load(row + at, forms.vector, mask=mask)
            for totals, factor in zip(sums, right):
                totals[r][part].set(forms.multiplied(b, left, factor, totals[r][part].get()))
    with b.loop(0, whole, parts * lanes) as at:
        for part in range(parts):
            add(at + part * lanes, part)
    with b.loop(whole, k, lanes) as at:
        add(at, 0, b.first(k - at, lanes))
    most = lanes // len(rows)  # vectors whose dots are found at once
    mask = kept & b.first(len(rows), lanes)
    for first in range(0, len(vectors), most):
        here = [total[0].get() if parts == 1 else total[0].get() + total[1].get()
                for totals in sums[first:first + most] for total in totals]
        dots = totals(b, here + [b.constant(0, forms.vector)] * (lanes - len(here)))
        for v, place in enumerate(places[first:first + most]):
            own = b.shuffle(dots, dots, [(v * len(rows) + lane) % lanes for lane in range(lanes)]) if v else dots
            b.store(b.convert(own, forms.result), place, mask=mask)


def _stretches(b, forms, vector, matrix, out, k, stride, start, stop):
    """out[j] = sum of vector[i] * matrix[i, j], some rows at a time."""
    lanes = forms.lanes
    whole = k - k % 8
    with b.loop(start, stop, lanes) as j:
        b.store(b.constant(0, forms.vector), out + j, mask=b.first(stop - j, lanes))

    def add(i, rows):
        factors = [b.splat(b.load(vector + (i + r)), lanes) for r in range(rows)]
        line = matrix + i * stride
        lines = [line + stride * r for r in range(rows)]
        with b.loop(start, stop, lanes) as j:
            mask = b.first(stop - j, lanes)
            total = b.load(out + j, forms.vector, mask=mask)
            for factor, line in zip(factors, lines):
                total = forms.multiplied(b, factor, b.load(line + j, forms.vector, mask=mask), total)
            b.store(total, out + j, mask=mask)
    with b.loop(0, whole, 8) as i:
        add(i, 8)
    with b.loop(whole, k) as i:
        add(i, 1)
