"""Layers that pad the last dimensions of their input. The formulas are in ops/pad.py."""
from __future__ import annotations

from ..ops.pad import pad
from .module import Module

__all__ = [kind + f'Pad{dims}d' for kind in ('Constant', 'Zero', 'Reflection', 'Replication', 'Circular')
           for dims in (1, 2, 3)]


class _PadNd(Module):
    __constants__ = ['padding']
    dims = 0
    mode = 'constant'

    def __init__(self, padding):
        super().__init__()
        self.padding = tuple(padding) if isinstance(padding, (tuple, list)) else (padding,) * (2 * self.dims)

    def forward(self, input):
        return pad(input, self.padding, self.mode)

    def extra_repr(self):
        return f'{self.padding}'


class _ConstantPadNd(_PadNd):
    __constants__ = ['padding', 'value']

    def __init__(self, padding, value):
        super().__init__(padding)
        self.value = value

    def forward(self, input):
        return pad(input, self.padding, 'constant', self.value)

    def extra_repr(self):
        return f'padding={self.padding}, value={self.value}'


class ConstantPad1d(_ConstantPadNd):
    """Pads the last dimension with a value."""

    dims = 1


class ConstantPad2d(_ConstantPadNd):
    """Pads the last 2 dimensions with a value."""

    dims = 2


class ConstantPad3d(_ConstantPadNd):
    """Pads the last 3 dimensions with a value."""

    dims = 3


class _ZeroPad:
    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self):
        return f'{self.padding}'


class ZeroPad1d(_ZeroPad, ConstantPad1d):
    """Pads the last dimension with zeros."""


class ZeroPad2d(_ZeroPad, ConstantPad2d):
    """Pads the last 2 dimensions with zeros; `padding` is (left, right, top, bottom) or one int."""


class ZeroPad3d(_ZeroPad, ConstantPad3d):
    """Pads the last 3 dimensions with zeros."""


class _ReflectionPadNd(_PadNd):
    mode = 'reflect'


class ReflectionPad1d(_ReflectionPadNd):
    """Mirrors (N, C, L) or (C, L) at its ends."""

    dims = 1


class ReflectionPad2d(_ReflectionPadNd):
    """Mirrors (N, C, H, W) or (C, H, W) at its edges."""

    dims = 2


class ReflectionPad3d(_ReflectionPadNd):
    """Mirrors (N, C, D, H, W) or (C, D, H, W) at its faces."""

    dims = 3


class _ReplicationPadNd(_PadNd):
    mode = 'replicate'


class ReplicationPad1d(_ReplicationPadNd):
    """Repeats the end elements of (N, C, L) or (C, L)."""

    dims = 1


class ReplicationPad2d(_ReplicationPadNd):
    """Repeats the edges of (N, C, H, W) or (C, H, W)."""

    dims = 2


class ReplicationPad3d(_ReplicationPadNd):
    """Repeats the faces of (N, C, D, H, W) or (C, D, H, W)."""

    dims = 3


class _CircularPadNd(_PadNd):
    mode = 'circular'

    def forward(self, input):
        if input.dim() not in (self.dims + 1, self.dims + 2):
            raise ValueError(f'expected {self.dims + 1}D or {self.dims + 2}D input (got {input.dim()}D input)')
        return super().forward(input)


class CircularPad1d(_CircularPadNd):
    """Continues (N, C, L) or (C, L) from its other end."""

    dims = 1


class CircularPad2d(_CircularPadNd):
    """Continues (N, C, H, W) or (C, H, W) from the opposite edges."""

    dims = 2


class CircularPad3d(_CircularPadNd):
    """Continues (N, C, D, H, W) or (C, D, H, W) from the opposite faces."""

    dims = 3
