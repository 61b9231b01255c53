"""What a kernel's schedule may ask about the processor it is written for."""
from __future__ import annotations

from dataclasses import dataclass

__all__ = ['Target']


@dataclass(frozen=True)
class Target:
    """A processor: its vector width in bytes, vector registers and instructions it has.

    `features` holds of: fma, mask (masked loads and stores), bf16_dot (pairs of bfloat16 into float32), scale (2**n * x
    in one instruction).
    """

    name: str
    vector_bytes: int
    registers: int
    features: frozenset = frozenset()

    def lanes(self, type) -> int:
        """How many numbers of a type fill a vector register."""
        return self.vector_bytes // type.bytes
