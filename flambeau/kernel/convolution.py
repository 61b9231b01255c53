"""Convolution kernels over padded planes: what a window meets is found by one offset per channel and tap.

An input lies as planes (image, channel, row, column) with its padding around it; `offsets[k]` is where channel-and-tap k of
the window at the origin lies, so that kernel sizes, dilation and (over planes taken apart by phase) strides are data and not
code. Results are the rows of an output in the same layout. Knows neither arrays nor gradients.
"""
from __future__ import annotations

from .ir import Builder
from .types import Pointer, f32, i32, i64

__all__ = ['packed_weight', 'correlate', 'correlate_weight', 'WIDE', 'pixels_of']

WIDE = 2  # vectors of output channels that one tile holds


def pixels_of(target) -> int:
    """How many neighbouring pixels a tile of accumulators may hold: two registers are for weights, one for an input."""
    return 14 if target.registers >= 32 else 6


def packed_weight(target):
    """Weights as blocks of output channels: out[block][k][channel] = weight[channel * step + offsets[k]], 0 past the last."""
    b = Builder('packed_weight', weight=Pointer(f32), out=Pointer(f32), offsets=Pointer(i64), channels=i64, depth=i64, step=i64)
    weight, out, offsets, channels, depth, step = b.parameters
    lanes = target.lanes(f32)
    width = WIDE * lanes
    with b.parallel((channels + width - 1) / width) as block:
        index = b.iota(i32.vector(lanes)) * b.splat(b.convert(step, i32), lanes)
        for half in range(WIDE):
            first = block * width + half * lanes
            mask = b.first(channels - first, lanes)
            source = weight + first * step
            target_row = out + block * depth * width + half * lanes
            with b.loop(0, depth) as k:
                b.store(b.gather(source + b.load(offsets + k), index, mask=mask), target_row + k * width)
    return b.finish()


def _transposed(b, rows):
    """A square of vectors with its lanes and rows exchanged, in log2(lanes) rounds of shuffles."""
    lanes = rows[0].type.lanes
    step = 1
    while step < lanes:
        rows = list(rows)
        for i in range(lanes):
            if not i & step:
                x, y = rows[i], rows[i + step]
                rows[i] = b.shuffle(x, y, [k if not k & step else lanes + k - step for k in range(lanes)])
                rows[i + step] = b.shuffle(x, y, [k + step if not k & step else lanes + k for k in range(lanes)])
        step *= 2
    return rows


def correlate(target, pixels, spread):
    """y[image, o, row, pixel * spread] = the sum over k of weight[o, k] * x[image, row, pixel + offsets[k]].

    `pixels` neighbouring ones are one tile; the last tile of a row ends with it, over the one before. Strides in elements.
    """
    b = Builder('correlate', x=Pointer(f32), weight=Pointer(f32), y=Pointer(f32), offsets=Pointer(i64), images=i64, depth=i64,
                channels=i64, rows=i64, columns=i64, band=i64, x_image=i64, x_row=i64, y_image=i64, y_channel=i64, y_row=i64)
    (x, weight, y, offsets, images, depth, channels, rows, columns, band, x_image, x_row, y_image, y_channel,
     y_row) = b.parameters
    lanes = target.lanes(f32)
    kind, width = f32.vector(lanes), WIDE * lanes
    blocks, bands = (channels + width - 1) / width, (rows + band - 1) / band
    with b.parallel(images * bands * blocks) as chunk:
        block = chunk % blocks
        image, first = chunk / blocks / bands, chunk / blocks % bands * band
        weights = weight + block * depth * width
        left = channels - block * width
        with b.loop(first, b.smaller(first + band, rows)) as row:
            with b.loop(0, columns, pixels) as tile:
                start = b.smaller(tile, columns - pixels)
                source = x + image * x_image + row * x_row + start
                sums = [[b.variable(0.0, kind) for _ in range(WIDE)] for _ in range(pixels)]
                with b.loop(0, depth) as k:
                    place = source + b.load(offsets + k)
                    w = [b.load(weights + k * width + half * lanes, kind) for half in range(WIDE)]
                    for m in range(pixels):
                        value = b.splat(b.load(place + m), lanes)
                        for half in range(WIDE):
                            sums[m][half].set(b.fma(value, w[half], sums[m][half].get()))
                at = y + image * y_image + block * width * y_channel + row * y_row + start * spread
                for half in range(WIDE):
                    _store_tile(b, [s[half].get() for s in sums], at, half * lanes, y_channel, left, spread)
    return b.finish()


def _store_tile(b, vectors, at, first, y_channel, left, spread):
    """Writes vectors over output channels, one for each pixel, as one row of pixels for each channel."""
    lanes = vectors[0].type.lanes
    for begin in range(0, len(vectors), lanes):
        part = vectors[begin:begin + lanes]
        rows = _transposed(b, part + part[:1] * (lanes - len(part)))
        mask = b.first(len(part), lanes)
        for j, row in enumerate(rows):
            with b.when(left > first + j):
                place = at + y_channel * (first + j) + begin * spread
                if spread == 1:
                    b.store(row, place, mask=mask)
                else:
                    b.scatter(row, place, b.iota(i32.vector(lanes)) * b.constant(spread, i32.vector(lanes)), mask=mask)


OUTER, TAPS = 4, 6  # output channels and channel-and-taps of a tile of the weight's gradient


def correlate_weight(target):
    """out[o, k] += the sum over images and positions of g[image, o, position] * x[image, position + offsets[k]].

    Positions run through whole planes of one pitch: where g stands for no output it holds 0. `out` starts at 0.
    """
    b = Builder('correlate_weight', x=Pointer(f32), g=Pointer(f32), out=Pointer(f32), offsets=Pointer(i64), images=i64,
                channels=i64, depth=i64, positions=i64, x_image=i64, g_image=i64, g_channel=i64)
    x, g, out, offsets, images, channels, depth, positions, x_image, g_image, g_channel = b.parameters
    lanes = target.lanes(f32)
    kind = f32.vector(lanes)
    taps = TAPS if target.registers >= 32 else 3
    outer = OUTER if target.registers >= 32 else 3
    with b.parallel((channels + outer - 1) / outer) as chunk:
        first = chunk * outer
        full = positions - positions % lanes
        with b.loop(0, images) as image:
            rows = [g + image * g_image + b.smaller(first + i, channels - 1) * g_channel for i in range(outer)]
            with b.loop(0, depth, taps) as k:
                places = [x + image * x_image + b.load(offsets + b.smaller(k + j, depth - 1)) for j in range(taps)]
                sums = [[b.variable(0.0, kind) for _ in range(taps)] for _ in range(outer)]

                def add(position, mask):
                    values = [b.load(r + position, kind, mask=mask) for r in rows]
                    for j, place in enumerate(places):
                        met = b.load(place + position, kind, mask=mask)
                        for i in range(outer):
                            sums[i][j].set(b.fma(values[i], met, sums[i][j].get()))
                with b.loop(0, full, lanes) as position:
                    add(position, None)
                with b.when(full < positions):
                    add(full, b.first(positions - full, lanes))
                for i in range(outer):
                    for j in range(taps):
                        with b.when((first + i < channels) & (k + j < depth)):
                            place = out + (first + i) * depth + (k + j)
                            b.store(b.load(place) + b.reduce('add', sums[i][j].get()), place)
    return b.finish()
