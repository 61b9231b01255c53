"""The kernel of 2-d convolutions with few outputs, whose vectors are neighbouring pixels of a plane.

All phases of a transposed convolution's strides are outputs of one convolution of steps of one, since they meet the
same pixels: outputs of phase (i, j) are then written to every row and column of that phase. A chunk copies a band of
rows of all planes, padded with zeros, into scratch memory of its thread, where a tap is a shift of one long line. Knows
no arrays.
"""
from __future__ import annotations

from .convolution import band_copy
from .ir import Builder
from .tiles import Forms, add_products
from .types import f32, i32, i64, pointer

__all__ = ['planar']


def _tile(forms, rows, vectors, pitch):
    """The sums over taps and channels for `rows` outputs and some vectors of pixels; outputs are `length` apart."""
    b = Builder('tile', pixels=pointer(f32), weight=pointer(f32), out=pointer(f32), channels=i64, lines=i64, taps=i64,
                columns=i64, plane=i64, length=i64)
    pixels, weight, out, channels, lines, taps, columns, plane, length = b.parameters
    sums = [[b.variable(0, forms.vector) for _ in range(vectors)] for _ in range(rows)]
    with b.loop(0, lines) as line:
        with b.loop(0, taps) as tap:
            add_products(b, forms, sums, channels, weight + (line * taps + tap) * channels * pitch, 1, pitch,
                         b.variable(pixels + (line * columns + tap)), plane)
    for row in range(rows):
        for v in range(vectors):
            b.store(sums[row][v].get(), out + length * row + v * forms.lanes)
    return b.finish()


def planar(target, rows, vectors, pitch, steps):
    """out = the correlation of x and a weight [row of taps][column][channel][phase of `steps`, output], `pitch` apart.

    A chunk is `band` rows of x's size; its `bank` of scratch holds `columns` columns of each plane, `plane` apart, and
    from `sums_at` the sums, `length` for each of the `rows` outputs of all phases.
    """
    forms = Forms(target, 'float32')
    lanes, (step_y, step_x) = forms.lanes, steps
    arrays = {name: pointer(f32) for name in ('x', 'weight', 'out', 'scratch')}
    numbers = ('threads images channels height width out_height out_width lines taps top left down band columns bank '
               'plane sums_at length').split()
    b = Builder('planar', **arrays, **dict.fromkeys(numbers, i64))
    x, weight, out, scratch, *numbers = b.parameters
    (threads, images, channels, height, width, out_height, out_width, lines, taps, top, left, down, band, columns, bank,
     plane, sums_at, length) = numbers
    outputs = rows // (step_y * step_x)
    tile, copy = _tile(forms, rows, vectors, pitch), band_copy(forms)
    bands = (down + (band - 1)) // band
    with b.parallel(images * bands, threads) as chunk:
        image, first = chunk // bands, chunk % bands * band
        count = b.smaller(band, down - first)
        pixels = scratch + b.thread * bank
        sums = pixels + sums_at
        with b.loop(0, channels) as c:
            b.call(copy, x + (image * channels + c) * (height * width), pixels + c * plane, height * width, 1,
                   first - top, count + (lines - 1), height, width, columns, left, 1)
        with b.loop(0, count * columns, vectors * lanes) as at:
            b.call(tile, pixels + at, weight, sums + at, channels, lines, taps, columns, plane, length)
        for row in range(rows):
            phase, output = divmod(row, outputs)
            phase_y, phase_x = divmod(phase, step_x)
            wide = (out_width - phase_x + (step_x - 1)) // step_x
            with b.loop(0, count) as y:
                line = (first + y) * step_y + phase_y
                to = out + (((image * outputs + output) * out_height + line) * out_width + phase_x)
                with b.when(line < out_height):
                    with b.loop(0, wide, lanes) as column:
                        made = b.load(sums + (length * row + (y * columns + column)), forms.vector)
                        there = b.first(wide - column, lanes)
                        if step_x == 1:
                            b.store(made, to + column, mask=there)
                        else:
                            index = b.iota(i32.vector(lanes)) * b.constant(step_x, i32.vector(lanes))
                            b.scatter(made, to + column * step_x, index, mask=there)
    return b.finish()
