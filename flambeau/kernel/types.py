"""Types of the kernel language: numbers of a width, short vectors of them, and pointers to them."""
from __future__ import annotations

import functools
from dataclasses import dataclass

__all__ = ['Type', 'Pointer', 'pointer', 'of', 'named', 'boolean', 'i8', 'i16', 'i32', 'i64', 'u8', 'u16', 'u32', 'u64',
           'f16', 'bf16', 'f32', 'f64']


@dataclass(frozen=True)
class Type:
    """A number (`lanes` 0) or a vector of them. `kind`: i signed, u unsigned, f float, bf bfloat, b truth."""

    kind: str
    bits: int
    lanes: int = 0

    @property
    def scalar(self) -> 'Type':
        return Type(self.kind, self.bits) if self.lanes else self

    @property
    def is_float(self) -> bool:
        return self.kind in ('f', 'bf')

    @property
    def bytes(self) -> int:
        """Size in memory of one lane; a truth value takes a byte."""
        return max(1, self.bits // 8)

    def vector(self, lanes: int) -> 'Type':
        return Type(self.kind, self.bits, lanes)

    def like(self, other: 'Type') -> 'Type':
        """This number type with as many lanes as `other`."""
        return Type(self.kind, self.bits, other.lanes)

    def __repr__(self):
        name = 'bool' if self.kind == 'b' else f'{self.kind}{self.bits}'
        name = 'bf16' if self.kind == 'bf' else name
        return f'{name}x{self.lanes}' if self.lanes else name


@dataclass(frozen=True)
class Pointer:
    """The address of numbers of type `to`."""

    to: Type
    lanes = 0
    is_float = False

    def __repr__(self):
        return f'{self.to}*'


boolean = Type('b', 1)
i8, i16, i32, i64 = (Type('i', n) for n in (8, 16, 32, 64))
u8, u16, u32, u64 = (Type('u', n) for n in (8, 16, 32, 64))
f16, f32, f64 = (Type('f', n) for n in (16, 32, 64))
bf16 = Type('bf', 16)
pointer = functools.lru_cache(maxsize=None)(Pointer)
NAMES = {'bool': boolean, 'bfloat16': bf16, 'float16': f16, 'float32': f32, 'float64': f64,
         **{f'int{n}': Type('i', n) for n in (8, 16, 32, 64)}, **{f'uint{n}': Type('u', n) for n in (8, 16, 32, 64)}}


def named(name: str) -> Type:
    """The type of a dtype's name, such as 'float32'. Raises KeyError for one that kernels do not compute with."""
    return NAMES[name]


@functools.lru_cache(maxsize=None)
def name_of(dtype) -> str:
    """The name of an array dtype, which NumPy puts together anew each time it is asked for."""
    return dtype.name


@functools.lru_cache(maxsize=None)
def of(dtype) -> Type:
    """The type of an array dtype."""
    return NAMES[dtype.name]
