"""Kernels of 2-d convolutions of images in planes (batch, channels, rows, columns), and of their gradients.

A chunk of work copies a band of rows into scratch memory of its thread, padded with zeros and with the channels of a
pixel side by side. Tiles of some pixels of an output row by two vectors of output channels are then summed up in
registers: the pixels' channels under neighbouring taps lie in one run where columns are not dilated. Weights are packed
first, in the order in which tiles read them. Sums do not depend on how work is cut. Knows no arrays.
"""
from __future__ import annotations

from .ir import Builder
from .tiles import Forms, add_products, transposed, woven
from .types import i32, i64, pointer

__all__ = ['band_copy', 'direct', 'weight_gradient']


def _zero(b, forms, place, count):
    """Clears `count` numbers."""
    nothing = b.constant(0, forms.vector)
    with b.loop(0, count, forms.lanes) as i:
        b.store(nothing, place + i, mask=b.first(count - i, forms.lanes))


def _turn(b, forms, row, line, start, stop, plane, channels, pixel):
    """Copies columns of the same row of planes into pixels, in squares."""
    lanes, vector = forms.lanes, forms.vector
    corner = b.buffer(forms.sum, lanes * lanes)
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


def band_copy(forms, in_pixels=False):
    """Copies rows of planes, `plane` numbers apart, into pixels: place[row][column][channel], zero outside the image.

    `first` is the image row of row 0 and `left` the column of the image's first pixel; a place has `columns` columns of
    `pixel` numbers each. `in_pixels`: the image has its channels side by side too, its pixels `plane` numbers apart.
    """
    b = Builder('band', source=pointer(forms.sum), place=pointer(forms.sum), plane=i64, channels=i64, first=i64,
                rows=i64, height=i64, width=i64, columns=i64, left=i64, pixel=i64)
    source, place, plane, channels, first, rows, height, width, columns, left, pixel = b.parameters
    lanes, vector, zero = forms.lanes, forms.vector, b.of_type(0, i64)
    start = b.smaller(b.larger(left, zero), columns)
    stop = b.larger(start, b.smaller(left + width, columns))
    with b.loop(0, rows) as r:
        y, line = first + r, place + r * columns * pixel
        with b.when((y >= 0) & (y < height)):
            _zero(b, forms, line, start * pixel)
            _zero(b, forms, line + stop * pixel, (columns - stop) * pixel)
            if in_pixels:
                with b.loop(start, stop) as p, b.loop(0, channels, lanes) as c:
                    kept = b.first(channels - c, lanes)
                    there = b.load(source + ((y * width - left + p) * plane + c), vector, mask=kept)
                    b.store(there, line + (p * pixel + c), mask=kept)
            else:
                with b.when(pixel <= 1):
                    with b.loop(start, stop, lanes) as p:
                        there = b.first(stop - p, lanes)
                        b.store(b.load(source + (y * width - left + p), vector, mask=there), line + p, mask=there)
                with b.otherwise():
                    _turn(b, forms, source + (y * width - left), line, start, stop, plane, channels, pixel)
        with b.otherwise():
            _zero(b, forms, line, columns * pixel)
    return b.finish()


def _pack(b, forms, vectors, weight, panels, groups, outputs, channels, height, width, panel, strides):
    """Weights as [group][strip of outputs][row][column][channel][output], zero for outputs that are missing."""
    lanes, (by_group, by_output, by_channel, by_row, by_column) = forms.lanes, strides
    strips = (outputs + (vectors * lanes - 1)) // (vectors * lanes)
    strip_size = height * width * channels * (vectors * lanes)
    with b.parallel(groups * strips * height) as task:
        row, strip, group = task % height, task // height % strips, task // (height * strips)
        first = strip * (vectors * lanes)
        masks = [b.first(outputs - first - v * lanes, lanes) for v in range(vectors)]
        index = b.iota(i32.vector(lanes)) * b.splat(b.convert(by_output, i32), lanes)
        base = weight + (group * by_group + first * by_output + row * by_row)
        place = panels + (group * panel + strip * strip_size + row * width * channels * (vectors * lanes))
        with b.loop(0, width) as column:
            with b.loop(0, channels) as c:
                at = base + (column * by_column + c * by_channel)
                to = place + (column * channels + c) * (vectors * lanes)
                for v in range(vectors):
                    b.store(b.gather(at + by_output * (v * lanes), index, mask=masks[v]), to + v * lanes)


def _pack_strip(b, forms, vectors, weight, place, output, outputs, channels, taps):
    """A strip of a contiguous weight, from `output` on, by squares of outputs and of the numbers of each."""
    lanes, depth = forms.lanes, channels * taps
    with b.loop(0, vectors * lanes, lanes) as part:
        turned = b.buffer(forms.sum, lanes * lanes)
        starts = [weight + b.smaller(output + part + k, outputs - 1) * depth for k in range(lanes)]
        with b.loop(0, depth, lanes) as first:
            there = b.first(depth - first, lanes)
            for start in starts:  # too many rows for the processor to see where they lead
                b.prefetch(start + (first + AHEAD))
            square = transposed(b, [b.load(start + first, forms.vector, mask=there) for start in starts])
            for k, line in enumerate(square):
                b.store(line, turned + k * lanes)
            with b.loop(first, b.smaller(first + lanes, depth)) as k:
                channel = k // taps
                to = place + (((k - channel * taps) * channels + channel) * (vectors * lanes) + part)
                b.store(b.load(turned + (k - first) * lanes, forms.vector), to)


def _tile(forms, rows, vectors, in_pixels):
    """One tile: `rows` pixels `pixel` numbers apart by some vectors of outputs, summed up from `bias` on.

    `out` gets a vector of pixels for every output; `in_pixels`, the outputs of every pixel, `plane` numbers apart.
    """
    number = pointer(forms.sum)
    b = Builder('tile', pixels=number, panel=number, bias=number, out=number, pixel=i64, line=i64, lines=i64, runs=i64,
                run=i64, run_step=i64, plane=i64, outputs=i64)
    pixels, panel, bias, out, pixel, line, lines, runs, run, run_step, plane, outputs = b.parameters
    lanes, vector = forms.lanes, forms.vector
    start = [b.load(bias + v * lanes, vector) for v in range(vectors)]
    sums = [[b.variable(start[v]) for v in range(vectors)] for _ in range(rows)]
    weights = b.variable(panel)
    with b.loop(0, lines) as y:
        with b.loop(0, runs) as r:
            add_products(b, forms, sums, run, pixels + (y * line + r * run_step), pixel, 1, weights, vectors * lanes)
    for v in range(vectors):
        if in_pixels:
            kept = b.first(outputs - v * lanes, lanes)
            for row in range(rows):
                b.store(sums[row][v].get(), out + (plane * row + v * lanes), mask=kept)
        else:
            square = [s[v].get() for s in sums] + [b.constant(0, vector)] * (lanes - rows)
            for k, channel in enumerate(transposed(b, square)):
                b.store(channel, out + (v * lanes + k) * lanes)
    return b.finish()


def _write(forms, rows, vectors, phases):
    """Writes the vectors of pixels of a tile for each phase, woven, to `wide` numbers of a row of planes of outputs."""
    b = Builder('write', source=pointer(forms.sum), out=pointer(forms.sum), plane=i64, outputs=i64, wide=i64)
    source, out, plane, outputs, wide = b.parameters
    lanes = forms.lanes
    with b.loop(0, b.smaller(outputs, b.of_type(vectors * lanes, i64))) as o:
        parts = [b.load(source + (phase * vectors * lanes + o) * lanes, forms.vector) for phase in range(phases)]
        for v in range(-(-rows * phases // lanes)):
            picks = [divmod(v * lanes + k, phases)[::-1] for k in range(lanes)]
            count = b.smaller(wide, b.of_type(rows * phases, i64)) - v * lanes
            b.store(woven(b, parts, picks), out + (o * plane + v * lanes), mask=b.first(count, lanes))
    return b.finish()


AHEAD = 64  # numbers of a row of weights that are asked for before they are packed
NUMBERS = ('threads', 'images', 'inner', 'groups', 'channels', 'height', 'width', 'outputs', 'out_height', 'out_width',
           'lines', 'stride_y', 'stride_x', 'dilation_y', 'dilation_x', 'top', 'left', 'columns', 'band', 'block',
           'bank', 'x_image', 'x_inner', 'x_plane', 'out_image', 'out_inner', 'out_plane')


def direct(target, element, rows, vectors, in_order, phases, in_pixels, deep):
    """out = bias + the cross-correlation of x and weight.

    There are `inner` images side by side in each of `images`; they use the weights of `groups` in turn. A tile is
    `rows` pixels by `vectors` of outputs, and the last of a row overlaps the one before. `phases`: as many
    neighbouring outputs come from weights of their own (as in the gradient of a strided convolution); for each,
    `table` tells where its weights and its panels begin, how many runs of how many taps that lie side by side a row
    of it has, and the column it starts from. `panels` has room for whole strips of outputs of `taps` numbers, `bias`
    a number for each of these outputs, `scratch` `bank` numbers a thread. Chunks are `band` rows of `block` columns by
    `strips` strips of outputs.
    `in_order`: the weight is contiguous, else it may have any strides. `in_pixels`: x and out have channels side by
    side, and pixels `plane` numbers apart. `deep`, for more weights than pixels, in order and of one group and phase:
    all bands are copied before, `scratch` has a bank for each, and a chunk packs a strip, `panels` that of a thread.
    """
    forms = Forms(target, element)
    lanes, strip_width = forms.lanes, vectors * forms.lanes
    arrays = {name: pointer(forms.sum) for name in ('x', 'weight', 'bias', 'out', 'panels', 'scratch')}
    more = ('out_row', 'wide', 'strips', 'taps', 'by_group', 'by_output', 'by_channel', 'by_row', 'by_column')
    b = Builder('convolution', table=pointer(i64), **arrays, **{name: i64 for name in (*NUMBERS, *more)})
    table, x, weight, bias, out, panels, scratch, *numbers = b.parameters
    (threads, images, inner, groups, channels, height, width, outputs, out_height, out_width, lines, stride_y, stride_x,
     dilation_y, dilation_x, top, left, columns, band, block, bank, x_image, x_inner, x_plane, out_image, out_inner,
     out_plane, out_row, wide, strips, taps, *strides) = numbers
    all_strips = (outputs + (strip_width - 1)) // strip_width
    bands, across = (out_height + band - 1) // band, (out_width + block - 1) // block
    blocks = images * inner * bands * across
    copy, tile = band_copy(forms, in_pixels), _tile(forms, rows, vectors, in_pixels)
    write, line = _write(forms, rows, vectors, phases), columns * channels

    def place_of(number):
        """(first column, first row, image, its place among those side by side) of a block of a band."""
        start, first, image = number % across * block, number // across % bands * band, number // (across * bands)
        return start, first, image // inner, image % inner

    def copy_pixels(number, pixels):
        start, first, outside, inside = place_of(number)
        count = b.smaller(band, out_height - first)
        b.call(copy, x + (outside * x_image + inside * x_inner), pixels, x_plane, channels, first * stride_y - top,
               (count - 1) * stride_y + (lines - 1) * dilation_y + 1, height, width, columns, left - start * stride_x,
               channels)

    def write_strip(number, pixels, strip, panel_of):
        """A strip of the outputs of a block, by the weights panel_of(group, where its phase begins, strip's size)."""
        start, first, outside, inside = place_of(number)
        count, stop = b.smaller(band, out_height - first), b.smaller(start + block, out_width)
        to = out + (outside * out_image + inside * out_inner)
        turned = None if in_pixels else b.buffer(forms.sum, phases * strip_width * lanes)
        output, group = strip * strip_width, inside % groups
        begun = bias + (group * all_strips + strip) * strip_width
        with b.loop(0, count) as y, b.loop(start, stop, rows) as column:
            at = b.smaller(column, stop - rows)
            row = to + (first + y) * out_row
            row = row + (output + at * out_plane) if in_pixels else row + (output * out_plane + at * phases)
            for phase in range(phases):
                begin, runs, run_taps, beside = (b.load(table + (phase * 5 + k)) for k in range(1, 5))
                run = run_taps * channels
                b.call(tile, pixels + (y * stride_y * line + ((at - start) * stride_x + beside) * channels),
                       panel_of(group, begin, lines * runs * run * strip_width), begun,
                       row if in_pixels else turned + phase * strip_width * lanes, stride_x * channels,
                       dilation_y * line, lines, runs, run, dilation_x * channels, out_plane, outputs - output)
            if not in_pixels:
                b.call(write, turned, row, out_plane, outputs - output, wide - at * phases)

    if deep:
        with b.parallel(blocks) as number:
            copy_pixels(number, scratch + number * bank)
        with b.parallel(all_strips, threads) as strip:
            own = panels + b.thread * (channels * lines * taps * strip_width)
            _pack_strip(b, forms, vectors, weight, own, strip * strip_width, outputs, channels, lines * taps)
            with b.loop(0, blocks) as number:
                write_strip(number, scratch + number * bank, strip, lambda group, begin, size: own)
        return b.finish()
    panel = all_strips * strip_width * channels * lines * taps
    if in_order:
        with b.parallel(groups * all_strips) as task:
            group, strip = task // all_strips, task % all_strips
            place = panels + (group * panel + strip * (channels * lines * taps * strip_width))
            _pack_strip(b, forms, vectors, weight + group * outputs * channels * lines * taps, place,
                        strip * strip_width, outputs, channels, lines * taps)
    else:
        for phase in range(phases):
            start, to, runs, run_taps = (b.load(table + (phase * 5 + k)) for k in range(4))
            _pack(b, forms, vectors, weight + start, panels + to, groups, outputs, channels, lines, runs * run_taps,
                  panel, strides)
    parts = (all_strips + strips - 1) // strips
    with b.parallel(blocks * parts, threads) as chunk:
        part, number, pixels = chunk % parts, chunk // parts, scratch + b.thread * bank
        copy_pixels(number, pixels)
        with b.loop(part * strips, b.smaller((part + 1) * strips, all_strips)) as strip:
            write_strip(number, pixels, strip,
                        lambda group, begin, size: panels + (group * panel + begin + strip * size))
    return b.finish()


def _weight_tile(forms, rows):
    """Adds to `rows` numbers side by side in a pixel by two vectors of outputs the products over a band of pixels."""
    number = pointer(forms.sum)
    b = Builder('weight_tile', pixels=number, outer=number, total=number, height=i64, width=i64, pixel=i64, line=i64)
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


def weight_gradient(target, element, rows, in_pixels):
    """out[o][c][taps] = the sums over images and pixels of `outer` times what the tap met in x.

    A chunk is `wide` strips of outputs by `part` channels of a group; it goes through all bands of all images, `block`
    columns at a time. A thread's `bank` of scratch holds a band of x, one of a strip of `outer` from `outer_at`, and
    sums from `total_at`. Images, groups and `in_pixels` are as in `direct`.
    """
    forms = Forms(target, element)
    lanes = forms.lanes
    strip = 2 * lanes
    arrays = {name: pointer(forms.sum) for name in ('x', 'outer', 'out', 'scratch')}
    more = ('runs', 'run_taps', 'part', 'wide', 'outer_at', 'total_at')
    b = Builder('weight_gradient', **arrays, **{name: i64 for name in (*NUMBERS, *more)})
    x, outer, out, scratch, *numbers = b.parameters
    (threads, images, inner, groups, channels, height, width, outputs, out_height, out_width, lines, stride_y, stride_x,
     dilation_y, dilation_x, top, left, columns, band, block, bank, x_image, x_inner, x_plane, out_image, out_inner,
     out_plane, runs, run_taps, part, wide, outer_at, total_at) = numbers
    tile, copy = _weight_tile(forms, rows), band_copy(forms, in_pixels)
    parts, strips = (channels + part - 1) // part, (outputs + (strip - 1)) // strip
    cuts = (strips + wide - 1) // wide
    with b.parallel(groups * cuts * parts, threads) as chunk:
        group, cut, channel = chunk // (parts * cuts), chunk // parts % cuts * wide, chunk % parts * part
        depth, last = b.smaller(part, channels - channel), b.smaller(cut + wide, strips)
        run = run_taps * depth
        padded = (run + (rows - 1)) // rows * rows
        pixels = scratch + b.thread * bank
        gradients, totals = pixels + outer_at, pixels + total_at
        size = lines * runs * padded * strip
        from_x = channel * (1 if in_pixels else x_plane)
        _zero(b, forms, totals, (last - cut) * size)
        with b.loop(0, images) as outside, b.loop(group, inner, groups) as inside:
            with b.loop(0, out_height, band) as first, b.loop(0, out_width, block) as start:
                count, across = b.smaller(band, out_height - first), b.smaller(block, out_width - start)
                b.call(copy, x + (outside * x_image + inside * x_inner + from_x), pixels, x_plane, depth,
                       first * stride_y - top, (count - 1) * stride_y + (lines - 1) * dilation_y + 1, height, width,
                       columns, left - start * stride_x, depth)
                with b.loop(cut, last) as number:
                    output = number * strip
                    from_outer = outside * out_image + inside * out_inner + output * (1 if in_pixels else out_plane)
                    b.call(copy, outer + from_outer, gradients, out_plane, b.smaller(outputs - output, strip), first,
                           count, out_height, out_width, across, -start, strip)
                    with b.loop(0, lines) as y, b.loop(0, runs) as r:
                        at = pixels + (y * dilation_y * columns + r * dilation_x) * depth
                        to = totals + ((number - cut) * size + (y * runs + r) * padded * strip)
                        with b.loop(0, run, rows) as k:
                            b.call(tile, at + k, gradients, to + k * strip, count, across, stride_x * depth,
                                   stride_y * columns * depth)
        taps = lines * runs * run_taps
        index = b.iota(i32.vector(lanes)) * b.splat(b.convert(channels * taps, i32), lanes)
        with b.loop(cut, last) as number, b.loop(0, lines * runs) as r:
            with b.loop(0, run_taps) as k, b.loop(0, depth) as c:
                at = totals + ((number - cut) * size + (r * padded + k * depth + c) * strip)
                output = number * strip
                to = out + (((group * outputs + output) * channels + channel + c) * taps + r * run_taps + k)
                for v in range(2):
                    b.scatter(b.load(at + v * lanes, forms.vector), to + channels * taps * (v * lanes), index,
                              mask=b.first(outputs - output - v * lanes, lanes))
    return b.finish()
