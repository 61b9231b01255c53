"""Kernels of 2-d convolutions of float32 images in planes (batch, channels, rows, columns), and of their gradients.

A chunk of work copies a band of rows into scratch memory of its thread, padded with zeros and with the channels of a
pixel side by side. Tiles of some pixels of an output row by two vectors of output channels are then summed up in
registers: the pixels' channels under neighbouring taps lie in one run where columns are not dilated. Weights are packed
first, in the order in which tiles read them. Sums do not depend on how work is cut. Knows no arrays.
"""
from __future__ import annotations

from .ir import Builder
from .tiles import Forms, add_products, transposed
from .types import f32, i32, i64, pointer

__all__ = ['band_copy', 'direct', 'weight_gradient']


def _zero(b, lanes, place, count):
    """Clears `count` numbers."""
    nothing = b.constant(0, f32.vector(lanes))
    with b.loop(0, count, lanes) as i:
        b.store(nothing, place + i, mask=b.first(count - i, lanes))


def band_copy(lanes):
    """Copies rows of planes into pixels: place[row][column][channel], zero outside the image.

    `first` is the image row of row 0 and `left` the column of the image's first pixel; a place has `columns` columns of
    `pixel` numbers each.
    """
    b = Builder('band', source=pointer(f32), place=pointer(f32), plane=i64, channels=i64, first=i64, rows=i64,
                height=i64, width=i64, columns=i64, left=i64, pixel=i64)
    source, place, plane, channels, first, rows, height, width, columns, left, pixel = b.parameters
    zero, vector = b.of_type(0, i64), f32.vector(lanes)
    start = b.smaller(b.larger(left, zero), columns)
    stop = b.larger(start, b.smaller(left + width, columns))
    corner = b.buffer(f32, lanes * lanes)
    with b.loop(0, rows) as r:
        y, line = first + r, place + r * columns * pixel
        with b.when((y >= 0) & (y < height)):
            _zero(b, lanes, line, start * pixel)
            _zero(b, lanes, line + stop * pixel, (columns - stop) * pixel)
            row = source + (y * width - left)
            with b.when(pixel <= 1):
                with b.loop(start, stop, lanes) as p:
                    there = b.first(stop - p, lanes)
                    b.store(b.load(row + p, vector, mask=there), line + p, mask=there)
            with b.otherwise():
                with b.loop(0, channels, lanes) as c:
                    kept = b.first(channels - c, lanes)
                    planes = [row + b.smaller(c + k, channels - 1) * plane for k in range(lanes)]
                    with b.loop(start, stop, lanes) as p:
                        there = b.first(stop - p, lanes)
                        square = transposed(b, [b.load(at + p, vector, mask=there) for at in planes])
                        to = line + (p * pixel + c)
                        with b.when(stop - p >= lanes):
                            for k in range(lanes):
                                b.store(square[k], to + pixel * k, mask=kept)
                        with b.otherwise():
                            for k in range(lanes):
                                b.store(square[k], corner + k * lanes)
                            with b.loop(0, stop - p) as k:
                                b.store(b.load(corner + k * lanes, vector), to + k * pixel, mask=kept)
        with b.otherwise():
            _zero(b, lanes, line, columns * pixel)
    return b.finish()


def _pack(b, lanes, weight, panels, outputs, channels, height, width, strides):
    """Weights as [strip of outputs][row][column][channel][output], zero for outputs that are missing."""
    by_output, by_channel, by_row, by_column = strides
    strip_size = height * width * channels * (2 * lanes)
    with b.parallel((outputs + (2 * lanes - 1)) // (2 * lanes) * height) as task:
        strip = task // height
        row = task - strip * height
        first = strip * (2 * lanes)
        masks = [b.first(outputs - first - v * lanes, lanes) for v in range(2)]
        index = b.iota(i32.vector(lanes)) * b.splat(b.convert(by_output, i32), lanes)
        base = weight + (first * by_output + row * by_row)
        place = panels + (strip * strip_size + row * width * channels * (2 * lanes))
        with b.loop(0, width) as column:
            with b.loop(0, channels) as c:
                at = base + (column * by_column + c * by_channel)
                to = place + (column * channels + c) * (2 * lanes)
                for v in range(2):
                    b.store(b.gather(at + by_output * (v * lanes), index, mask=masks[v]), to + v * lanes)


def _pack_in_order(b, lanes, weight, panels, outputs, channels, taps):
    """What `_pack` does for a contiguous weight, by squares of outputs and of the numbers of each."""
    depth = channels * taps
    with b.parallel((outputs + (2 * lanes - 1)) // (2 * lanes)) as strip:
        place = panels + strip * depth * (2 * lanes)
        starts = [weight + b.smaller(strip * (2 * lanes) + k, outputs - 1) * depth for k in range(2 * lanes)]
        with b.loop(0, depth, lanes) as first:
            there = b.first(depth - first, lanes)
            halves = [transposed(b, [b.load(start + first, f32.vector(lanes), mask=there) for start in half])
                      for half in (starts[:lanes], starts[lanes:])]
            for k in range(lanes):
                with b.when(first + k < depth):
                    channel = (first + k) // taps
                    to = place + ((first + k - channel * taps) * channels + channel) * (2 * lanes)
                    for v in range(2):
                        b.store(halves[v][k], to + v * lanes)


def _tile(forms, rows):
    """One tile: `rows` pixels `pixel` numbers apart by two vectors of outputs, summed over all taps and channels."""
    b = Builder('tile', pixels=pointer(f32), panel=pointer(f32), out=pointer(f32), pixel=i64,
                line=i64, lines=i64, runs=i64, run=i64, run_step=i64, plane=i64, outputs=i64)
    pixels, panel, out, pixel, line, lines, runs, run, run_step, plane, outputs = b.parameters
    lanes, vector = forms.lanes, forms.vector
    sums = [[b.variable(0, vector) for v in range(2)] for _ in range(rows)]
    weights = b.variable(panel)
    with b.loop(0, lines) as y:
        with b.loop(0, runs) as r:
            add_products(b, forms, sums, run, pixels + (y * line + r * run_step), pixel, 1, weights, 2 * lanes)
    turned = b.buffer(f32, 2 * lanes * lanes)
    nothing = b.constant(0, vector)
    for v in range(2):
        square = [s[v].get() for s in sums] + [nothing] * (lanes - rows)
        for k, channel in enumerate(transposed(b, square)):
            b.store(channel, turned + (v * lanes + k) * lanes)
    written = b.first(rows, lanes)
    with b.loop(0, b.smaller(outputs, b.of_type(2 * lanes, i64))) as o:
        b.store(b.load(turned + o * lanes, vector), out + o * plane, mask=written)
    return b.finish()


NUMBERS = ('threads', 'images', 'channels', 'height', 'width', 'outputs', 'out_height', 'out_width', 'lines', 'runs', 'run_taps',
           'stride_y', 'stride_x', 'dilation_y', 'dilation_x', 'top', 'left', 'columns', 'band')


def direct(target, rows, in_order):
    """out = the cross-correlation of x and weight.

    `rows`: pixels of a tile, of which the last of a row overlaps the one before. A row of taps is `runs` runs of
    `run_taps` taps that lie side by side. `panels` has room for whole strips of outputs, `scratch` `bank`
    numbers a thread.
    Chunks are `band` rows by `strips` strips of outputs. `in_order`: the weight is contiguous, else it may
    have any strides.
    """
    forms = Forms(target, 'float32')
    lanes = forms.lanes
    width_of_strip = 2 * lanes
    arrays = {name: pointer(f32) for name in ('x', 'weight', 'out', 'panels', 'scratch')}
    b = Builder('convolution', **arrays, **{name: i64 for name in NUMBERS}, strips=i64, bank=i64, by_output=i64,
                by_channel=i64, by_row=i64, by_column=i64)
    x, weight, out, panels, scratch, *numbers = b.parameters
    (threads, images, channels, height, width, outputs, out_height, out_width, lines, runs, run_taps, stride_y, stride_x,
     dilation_y, dilation_x, top, left, columns, band, strips, bank, *strides) = numbers
    if in_order:
        _pack_in_order(b, lanes, weight, panels, outputs, channels, lines * runs * run_taps)
    else:
        _pack(b, lanes, weight, panels, outputs, channels, lines, runs * run_taps, strides)
    all_strips = (outputs + (width_of_strip - 1)) // width_of_strip
    bands, groups = (out_height + band - 1) // band, (all_strips + strips - 1) // strips
    tile = _tile(forms, rows)
    with b.parallel(images * bands * groups, threads) as chunk:
        group, rest = chunk % groups, chunk // groups
        image, first = rest // bands, rest % bands * band
        count = b.smaller(band, out_height - first)
        pixels = scratch + b.thread * bank
        b.call(band_copy(lanes), x + image * channels * (height * width), pixels, height * width, channels,
               first * stride_y - top, (count - 1) * stride_y + (lines - 1) * dilation_y + 1, height, width, columns,
               left, channels)
        line, run = columns * channels, run_taps * channels
        plane = out_height * out_width
        strip_size = lines * runs * run * width_of_strip
        with b.loop(group * strips, b.smaller((group + 1) * strips, all_strips)) as strip:
            output = strip * width_of_strip
            to = out + (image * outputs + output) * plane
            with b.loop(0, count) as y:
                with b.loop(0, out_width, rows) as column:
                    at = b.smaller(column, out_width - rows)
                    b.call(tile, pixels + (y * stride_y * line + at * stride_x * channels), panels + strip * strip_size,
                           to + ((first + y) * out_width + at), stride_x * channels, dilation_y * line,
                           lines, runs, run, dilation_x * channels, plane, outputs - output)
    return b.finish()


def _weight_tile(forms, rows):
    """Adds to `rows` numbers side by side in a pixel by two vectors of outputs the products over a band of pixels."""
    b = Builder('weight_tile', pixels=pointer(f32), outer=pointer(f32), total=pointer(f32), height=i64, width=i64,
                pixel=i64, line=i64)
    pixels, outer, total, height, width, pixel, line = b.parameters
    lanes, vector = forms.lanes, forms.vector
    sums = [[b.variable(0, vector) for _ in range(2)] for _ in range(rows)]
    gradient = b.variable(outer)
    with b.loop(0, height) as y:
        add_products(b, forms, sums, width, pixels + y * line, 1, pixel, gradient, 2 * lanes)
    for row in range(rows):
        for v in range(2):
            place = total + (row * 2 + v) * lanes
            b.store(b.load(place, vector) + sums[row][v].get(), place)
    return b.finish()


def weight_gradient(target, rows):
    """out[o][c][taps] = the sums over images and pixels of `outer` times what the tap met in x.

    A chunk is a strip of outputs by `group` channels; it goes through all bands of all images. A thread's `bank` of
    scratch holds a band of x, one of `outer` from `outer_at`, and sums from `total_at`.
    """
    forms = Forms(target, 'float32')
    lanes = forms.lanes
    strip = 2 * lanes
    arrays = {name: pointer(f32) for name in ('x', 'outer', 'out', 'scratch')}
    b = Builder('weight_gradient', **arrays, **{name: i64 for name in NUMBERS}, group=i64, bank=i64, outer_at=i64,
                total_at=i64)
    x, outer, out, scratch, *numbers = b.parameters
    (threads, images, channels, height, width, outputs, out_height, out_width, lines, runs, run_taps, stride_y, stride_x,
     dilation_y, dilation_x, top, left, columns, band, group, bank, outer_at, total_at) = numbers
    tile, copy = _weight_tile(forms, rows), band_copy(lanes)
    groups = (channels + group - 1) // group
    with b.parallel((outputs + (strip - 1)) // strip * groups, threads) as chunk:
        output, channel = chunk // groups * strip, chunk % groups * group
        depth, kept = b.smaller(group, channels - channel), b.smaller(outputs - output, b.of_type(strip, i64))
        run = run_taps * depth
        padded = (run + (rows - 1)) // rows * rows
        pixels = scratch + b.thread * bank
        gradients, totals = pixels + outer_at, pixels + total_at
        _zero(b, lanes, totals, lines * runs * padded * strip)
        with b.loop(0, images) as image:
            with b.loop(0, out_height, band) as first:
                count = b.smaller(band, out_height - first)
                b.call(copy, x + (image * channels + channel) * (height * width), pixels, height * width, depth,
                       first * stride_y - top, (count - 1) * stride_y + (lines - 1) * dilation_y + 1, height, width,
                       columns, left, depth)
                b.call(copy, outer + (image * outputs + output) * (out_height * out_width), gradients,
                       out_height * out_width, kept, first, count, out_height, out_width, out_width, 0, strip)
                with b.loop(0, lines) as y:
                    with b.loop(0, runs) as r:
                        at = pixels + (y * dilation_y * columns + r * dilation_x) * depth
                        to = totals + (y * runs + r) * padded * strip
                        with b.loop(0, run, rows) as k:
                            b.call(tile, at + k, gradients, to + k * strip, count, out_width, stride_x * depth,
                                   stride_y * columns * depth)
        taps = lines * runs * run_taps
        index = b.iota(i32.vector(lanes)) * b.splat(b.convert(channels * taps, i32), lanes)
        with b.loop(0, lines * runs) as r:
            with b.loop(0, run_taps) as k:
                with b.loop(0, depth) as c:
                    at = totals + (r * padded + k * depth + c) * strip
                    to = out + ((output * channels + channel + c) * taps + r * run_taps + k)
                    for v in range(2):
                        b.scatter(b.load(at + v * lanes, f32.vector(lanes)), to + channels * taps * (v * lanes), index,
                                  mask=b.first(kept - v * lanes, lanes))
    return b.finish()
