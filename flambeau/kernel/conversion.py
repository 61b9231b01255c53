"""The kernel that converts numbers of one type to another, one behind the other in memory. Knows no arrays."""
from __future__ import annotations

from .ir import Builder
from .types import bf16, f16, f32, i64, named, pointer

__all__ = ['converted']


def converted(target, source, result):
    """y = x, rounded to nearest, for types by name; a chunk is `part` numbers. Halves are reached through float32."""
    source, result = named(source), named(result)
    b = Builder('converted', x=pointer(source), y=pointer(result), count=i64, part=i64)
    x, y, count, part = b.parameters
    lanes = target.vector_bytes // max(source.bytes, result.bytes)
    halves = f16, bf16
    through = f32 if source in halves and not result.is_float or result in halves and source not in halves else source

    def move(i, kind=None):
        b.store(b.convert(b.convert(b.load(x + i, kind), through), result), y + i)
    with b.parallel((count + part - 1) // part) as chunk:
        first = chunk * part
        last = b.smaller(first + part, count)
        with b.loop(first, last - (lanes - 1), lanes) as i:
            move(i, source.vector(lanes))
        with b.loop(last - (last - first) % lanes, last) as i:
            move(i)
    return b.finish()
