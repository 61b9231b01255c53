"""Kernels of convolutions of few channels a group, depthwise ones above all, of planes (batch, channels, rows,
columns), and of their gradients: vectors lie along the columns of a plane, or along channels that are side by side.

A chunk of work copies a band of rows of a group's planes into scratch memory of its thread, padded with zeros to a
`pitch` of columns; columns that a stride keeps apart come to lie side by side in as many parts. A tile is some rows
by a vector of columns, so that what is loaded of one row of x serves all rows that meet it. Weights are given in the
order of use: [group][output][channel][block of lines][tap of a row][line of a block]. Knows no arrays.
"""
from __future__ import annotations

from .convolution import band_copy
from .ir import Builder
from .tiles import Forms, woven
from .types import i32, i64, pointer

__all__ = ['pixels', 'pixels_in_weight', 'planes', 'planes_in_weight']


def _copy(forms, stride):
    """Copies rows of a plane to place[row][part][column], zero outside the image.

    `first` is the image row of row 0 and `left` the column of the image's first pixel.
    """
    b = Builder('copy', source=pointer(forms.sum), place=pointer(forms.sum), first=i64, rows=i64, height=i64,
                width=i64, pitch=i64, left=i64)
    source, place, first, rows, height, width, pitch, left = b.parameters
    lanes, vector, index, zero = forms.lanes, forms.vector, b.iota(i32.vector(forms.lanes)), b.of_type(0, i64)
    begin = b.smaller(b.larger(-first, zero), rows)
    end = b.larger(begin, b.smaller(height - first, rows))
    line, row = pitch * stride, source + (first * width - left)
    for start, stop in ((zero, begin), (end, rows)):
        with b.loop(start * line, stop * line, lanes) as i:
            b.store(b.constant(0, vector), place + i)
    with b.loop(0, pitch, lanes) as column:
        masks = []
        for k in range(stride):
            start, stop = (b.splat(b.convert(bound - (column * stride + k * lanes), i32), lanes)
                           for bound in (left, left + width))
            masks.append((index >= start) & (index < stop))
        with b.loop(begin, end) as r:
            at, to = row + (r * width + column * stride), place + (r * line + column)
            parts = [b.load(at + k * lanes, vector, mask=masks[k]) for k in range(stride)]
            for k in range(stride):
                taken = range(k, lanes * stride, stride)
                b.store(woven(b, parts, [divmod(i, lanes) for i in taken]), to + pitch * k)
    return b.finish()


def _rows_from(b, at, line, count):
    """The addresses of `count` lines: few of them are kept, the others are a multiple of a line away."""
    if line.__class__ is int:
        return [at + line * k for k in range(count)]
    triple, twice = line * 3, line * 2
    found = []
    for k in range(count):
        if k and k % 3 == 0:
            at = at + triple
        found.append(at + (0, line, twice)[k % 3])
    return found


def _meetings(rows, lines, stride, dilation):
    """[(row of x, [(output row, line of the kernel) that meet there])] of a tile."""
    met = {}
    for y in range(rows):
        for i in range(lines):
            met.setdefault(y * stride + i * dilation, []).append((y, i))
    return sorted(met.items())


def _tile(forms, rows, vectors, lines, stride, dilation, parts, by_lane=False):
    """Writes `rows` rows of `vectors` vectors, each woven of the sums of `parts` parts, from the bias on.

    `by_lane`: lines are single vectors, and each lane has weights of its own.
    """
    number = pointer(forms.sum)
    b = Builder('tile', pixels=number, weight=number, offsets=pointer(i64), bias=number, out=number,
                depth=i64, plane=i64, blocks=i64, taps=i64, line=i64, pitch=i64, count=i64)
    pixels, weight, offsets, bias, out, depth, plane, blocks, taps, line, pitch, count = b.parameters
    lanes, vector = forms.lanes, forms.vector
    start = b.load(bias, vector) if by_lane else b.splat(b.load(bias), lanes)
    sums = [[[b.variable(start) for _ in range(vectors)] for _ in range(parts)] for _ in range(rows)]
    factors = b.variable(weight)
    met, line = _meetings(rows, lines, stride, dilation), lanes if by_lane else line
    with b.loop(0, depth) as c:
        with b.loop(0, blocks) as block:
            base = pixels + (c * plane + block * (lines * dilation) * line)
            for part in range(parts):
                bounds = [b.load(offsets + (taps + k)) for k in (part, part + 1)]
                with b.loop(*bounds) as tap:
                    places = _rows_from(b, base + b.load(offsets + tap), line, met[-1][0] + 1)
                    at = factors.get()
                    right = [b.load(at + i * lanes, vector) if by_lane else b.splat(b.load(at + i), lanes)
                             for i in range(lines)]
                    for row, pairs in met:
                        for v in range(vectors):
                            left = b.load(places[row] + v * lanes, vector)
                            for y, i in pairs:
                                total = sums[y][part][v]
                                total.set(b.fma(left, right[i], total.get()))
                    factors.set(at + (lines * lanes if by_lane else lines))
    for v in range(vectors * parts):
        mask = b.first(count - v * lanes, lanes)
        for y, row in enumerate(_rows_from(b, out, pitch, rows)):
            first = v % parts * lanes
            picks = [divmod(first + k, parts)[::-1] for k in range(lanes)]
            b.store(woven(b, [part[v // parts].get() for part in sums[y]], picks), row + v * lanes, mask=mask)
    return b.finish()


PIXELS = ('threads', 'images', 'channels', 'height', 'width', 'out_height', 'out_width', 'blocks', 'taps', 'top',
          'left', 'pitch', 'reach', 'band', 'bank')
APART = ('image_apart', 'row_apart', 'column_apart')
SIZES = ('threads', 'images', 'groups', 'depth', 'outputs', 'height', 'width', 'out_height', 'out_width', 'blocks',
         'taps', 'top', 'left', 'pitch', 'band', 'plane', 'bank', 'group_of_x', 'plane_of_out')


def planes(target, element, rows, vectors, lines, stride, dilation, parts):
    """out = the cross-correlation of each group's `depth` planes of x with its weights, from `bias` on.

    `rows` and `vectors` make a tile, `stride` is that of rows and columns, `lines` of the kernel, `dilation` apart,
    meet it at a time. `parts`: as many neighbouring outputs come from taps of their own (as in the gradient of a
    strided convolution). `offsets` holds where each tap of a row lies, then where the taps of each part begin and end.
    Groups of x are `group_of_x` numbers apart. An output has rows of `pitch_of_out` numbers in planes of
    `plane_of_out`, of which `wide` are written.
    A chunk is `together` groups of an image, or a band of one.
    """
    forms, (stride_y, stride_x) = Forms(target, element), stride
    lanes = forms.lanes
    arrays = {name: pointer(forms.sum) for name in ('x', 'weight', 'bias', 'out', 'scratch')}
    more = ('together', 'wide', 'pitch_of_out')
    b = Builder('planes', offsets=pointer(i64), **arrays, **{name: i64 for name in (*SIZES, *more)})
    offsets, x, weight, bias, out, scratch, *numbers = b.parameters
    (threads, images, groups, depth, outputs, height, width, out_height, out_width, blocks, taps, top, left, pitch,
     band, plane, bank, group_of_x, plane_of_out, together, wide, pitch_of_out) = numbers
    copy, tile = _copy(forms, stride_x), _tile(forms, rows, vectors, lines, stride_y, dilation, parts)
    bands, all_groups = (out_height + band - 1) // band, images * groups
    line, step = pitch * stride_x, vectors * lanes
    size = depth * blocks * lines * taps
    with b.parallel((all_groups + together - 1) // together * bands, threads) as chunk:
        pixels, begin, first = scratch + b.thread * bank, chunk // bands * together, chunk % bands * band
        last = b.smaller(first + band, out_height)
        reach = (last - first - 1) * stride_y + (blocks * lines - 1) * dilation + 1
        end = b.smaller(begin + together, all_groups)
        with b.loop(begin, end) as group, b.loop(0, depth) as c:
            b.call(copy, x + (group * group_of_x + c * (height * width)),
                   pixels + ((group - begin) * depth + c) * plane, first * stride_y - top, reach, height, width, pitch,
                   left)
        with b.loop(begin, end) as group:
            met = pixels + (group - begin) * depth * plane
            with b.loop(0, outputs) as o:
                output = group % groups * outputs + o
                to = out + (group * outputs + o) * plane_of_out
                with b.loop(first, last, rows) as row:
                    y = b.smaller(row, last - rows)
                    with b.loop(0, out_width, step) as column:
                        b.call(tile, met + ((y - first) * stride_y * line + column), weight + output * size, offsets,
                               bias + output, to + (y * pitch_of_out + column * parts), depth, plane, blocks, taps,
                               line, pitch_of_out, wide - column * parts)
    return b.finish()


def _tile_in_weight(forms, rows, lines, stride, dilation):
    """Adds to totals[block][tap][line] vectors of the products of a tile of `outer` with what each tap met in x."""
    b = Builder(f'tile_in_weight_{rows}', pixels=pointer(forms.sum), outer=pointer(forms.sum), total=pointer(forms.sum),
                offsets=pointer(i64), blocks=i64, taps=i64, line=i64, pitch=i64, count=i64)
    pixels, outer, total, offsets, blocks, taps, line, pitch, count = b.parameters
    lanes, vector, mask = forms.lanes, forms.vector, b.first(count, forms.lanes)
    gradients = [b.load(row, vector, mask=mask) for row in _rows_from(b, outer, pitch, rows)]
    sets = -(-4 // lines)  # enough sums that none waits for the one before
    place = b.variable(total)
    with b.loop(0, blocks) as block:
        base = pixels + block * (lines * dilation) * line
        with b.loop(0, taps) as tap:
            at = place.get()
            sums = [[b.load(at + i * lanes, vector) if k == 0 else None for k in range(sets)] for i in range(lines)]
            met = _meetings(rows, lines, stride, dilation)
            places = _rows_from(b, base + b.load(offsets + tap), line, met[-1][0] + 1)
            for row, pairs in met:
                left = b.load(places[row], vector, mask=mask)
                for y, i in pairs:
                    before = sums[i][y % sets]
                    sums[i][y % sets] = left * gradients[y] if before is None else b.fma(left, gradients[y], before)
            for i in range(lines):
                made, *others = [part for part in sums[i] if part is not None]
                for other in others:
                    made = made + other
                b.store(made, at + i * lanes)
            place.set(at + lines * lanes)
    return b.finish()


def planes_in_weight(target, element, rows, rest, lines, stride, dilation):
    """out[group][output][channel][block][tap][line] = the sums of `outer` times what it met in x over all pixels.

    A chunk is `together` groups, through all images. Bands are of tiles of `rows` rows, the last of `rest` rows. A
    thread's `bank` of scratch holds a band of the group's planes of x, and sums from `total_at`.
    """
    forms, (stride_y, stride_x) = Forms(target, element), stride
    lanes = forms.lanes
    arrays = {name: pointer(forms.sum) for name in ('x', 'outer', 'out', 'scratch')}
    b = Builder('planes_in_weight', offsets=pointer(i64), **arrays, **{name: i64 for name in SIZES}, total_at=i64)
    offsets, x, outer, out, scratch, *numbers = b.parameters
    (threads, images, groups, depth, outputs, height, width, out_height, out_width, blocks, taps, top, left, pitch,
     band, plane, bank, group_of_x, plane_of_out, total_at) = numbers
    copy = _copy(forms, stride_x)
    tiles = {height: _tile_in_weight(forms, height, lines, stride_y, dilation) for height in {rows, rest}}
    line, size = pitch * stride_x, blocks * lines * taps
    count = outputs * depth * size
    nothing = b.constant(0, forms.vector)
    with b.parallel(groups, threads) as group:
        pixels = scratch + b.thread * bank
        totals = pixels + total_at
        with b.loop(0, count) as i:
            b.store(nothing, totals + i * lanes)
        with b.loop(0, images) as image, b.loop(0, out_height, band) as first:
            of_image, last = image * groups + group, b.smaller(first + band, out_height)
            reach = (last - first - 1) * stride_y + (blocks * lines - 1) * dilation + 1
            with b.loop(0, depth) as c:
                b.call(copy, x + (of_image * group_of_x + c * (height * width)), pixels + c * plane,
                       first * stride_y - top, reach, height, width, pitch, left)
            with b.loop(0, outputs) as o, b.loop(0, depth) as c:
                def add(number_of_rows, y, column):
                    b.call(tiles[number_of_rows], pixels + (c * plane + (y - first) * stride_y * line + column),
                           outer + ((of_image * outputs + o) * plane_of_out + (y * out_width + column)),
                           totals + (o * depth + c) * size * lanes, offsets, blocks, taps, line, out_width,
                           out_width - column)
                with b.loop(first, last, rows) as y, b.loop(0, out_width, lanes) as column:
                    if rest == rows:
                        add(rows, y, column)
                    else:
                        with b.when(y + rows <= last):
                            add(rows, y, column)
                        with b.otherwise():
                            add(rest, y, column)
        with b.loop(0, count) as i:
            b.store(b.reduce('add', b.load(totals + i * lanes, forms.vector)), out + group * count + i)
    return b.finish()


def pixels(target, element, columns, lines, stride, dilation):
    """What `planes` does for one channel a group, of images whose channels lie side by side: vectors along channels.

    It is the same with other roles: a chunk is a band of rows of a vector of channels, pixels in scratch memory are one
    vector, a tile is `columns` of them, which meet `lines` columns of the kernel, and `taps` are its rows. Weights are
    given as [vector of channels][block of columns][row][column of a block][channel]. Images, rows and columns of the
    output are as many numbers apart as the last parameters say.
    """
    forms, (stride_y, stride_x) = Forms(target, element), stride
    lanes = forms.lanes
    arrays = {name: pointer(forms.sum) for name in ('x', 'weight', 'bias', 'out', 'scratch')}
    b = Builder('pixels', offsets=pointer(i64), **arrays, **{name: i64 for name in (*PIXELS, *APART)})
    offsets, x, weight, bias, out, scratch, *numbers = b.parameters
    (threads, images, channels, height, width, out_height, out_width, blocks, taps, top, left, pitch, reach, band,
     bank, image_apart, row_apart, column_apart) = numbers
    copy, tile = band_copy(forms, True), _tile(forms, columns, 1, lines, stride_x, dilation, 1, True)
    bands, parts = (out_height + band - 1) // band, (channels + (lanes - 1)) // lanes
    size = blocks * lines * lanes * taps
    with b.parallel(images * bands * parts, threads) as chunk:
        place, part, first = scratch + b.thread * bank, chunk % parts, chunk // parts % bands * band
        image, last, channel = chunk // (parts * bands), b.smaller(first + band, out_height), part * lanes
        kept = b.smaller(channels - channel, lanes)
        b.call(copy, x + (image * height * width * channels + channel), place, channels, kept, first * stride_y - top,
               (last - first - 1) * stride_y + reach, height, width, pitch, left, lanes)
        with b.loop(first, last) as y, b.loop(0, out_width, columns) as column:
            at = b.smaller(column, out_width - columns)
            to = out + (image * image_apart + y * row_apart + at * column_apart + channel)
            for k in range(columns):  # what is written next lies in lines too far apart for the processor to guess
                b.prefetch(to + column_apart * (columns + k))
            b.call(tile, place + ((y - first) * stride_y * pitch + at * stride_x) * lanes, weight + part * size,
                   offsets, bias + channel, to, 1, 0, blocks, taps, lanes, column_apart, kept)
    return b.finish()


def pixels_in_weight(target, element, columns, rest, lines, stride, dilation):
    """What `planes_in_weight` does for images as in `pixels`; `out` is as the weight is there."""
    forms, (stride_y, stride_x) = Forms(target, element), stride
    lanes = forms.lanes
    arrays = {name: pointer(forms.sum) for name in ('x', 'outer', 'out', 'scratch')}
    b = Builder('pixels_in_weight', offsets=pointer(i64), **arrays, **{name: i64 for name in PIXELS})
    offsets, x, outer, out, scratch, *numbers = b.parameters
    (threads, images, channels, height, width, out_height, out_width, blocks, taps, top, left, pitch, reach, band,
     bank) = numbers
    copy = band_copy(forms, True)
    tiles = {count: _tile_in_weight(forms, count, lines, stride_x, dilation) for count in {columns, rest}}
    size, whole = blocks * lines * lanes * taps, out_width - rest
    with b.parallel((channels + (lanes - 1)) // lanes, threads) as part:
        place, channel, totals = scratch + b.thread * bank, part * lanes, out + part * size
        kept = b.smaller(channels - channel, lanes)
        with b.loop(0, size, lanes) as i:
            b.store(b.constant(0, forms.vector), totals + i)
        with b.loop(0, images) as image, b.loop(0, out_height, band) as first:
            last = b.smaller(first + band, out_height)
            b.call(copy, x + (image * height * width * channels + channel), place, channels, kept,
                   first * stride_y - top, (last - first - 1) * stride_y + reach, height, width, pitch, left, lanes)
            with b.loop(first, last) as y:
                def add(count, column):
                    b.call(tiles[count], place + ((y - first) * stride_y * pitch + column * stride_x) * lanes,
                           outer + (((image * out_height + y) * out_width + column) * channels + channel), totals,
                           offsets, blocks, taps, lanes, channels, kept)
                with b.loop(0, whole, columns) as column:
                    add(columns, column)
                add(rest, whole)
    return b.finish()
