"""Layers that pad the last dimensions of their input. The formulas are in ops/pad.py."""
from __future__ import annotations

from ..ops.pad import pad
from .families import family
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


_CONSTANT = family('ConstantPad', 'Pads the last {dims} dimensions of {shape} with a value.', _ConstantPadNd)


class _ZeroPad:
    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self):
        return f'{self.padding}'


class _ReflectionPadNd(_PadNd):
    mode = 'reflect'


class _ReplicationPadNd(_PadNd):
    mode = 'replicate'


class _CircularPadNd(_PadNd):
    mode = 'circular'

    def forward(self, input):
        if input.dim() not in (self.dims + 1, self.dims + 2):
            raise ValueError(f'expected {self.dims + 1}D or {self.dims + 2}D input (got {input.dim()}D input)')
        return super().forward(input)


globals().update(
    _CONSTANT,
    **family('ZeroPad', 'Pads the last {dims} dimensions of {shape} with zeros: `padding` before and after each, from '
             'the last, or one int.', _ZeroPad, _CONSTANT),
    **family('ReflectionPad', 'Mirrors {shape} at its borders.', _ReflectionPadNd),
    **family('ReplicationPad', 'Repeats the elements at the borders of {shape}.', _ReplicationPadNd),
    **family('CircularPad', 'Continues {shape} from its opposite borders.', _CircularPadNd))
