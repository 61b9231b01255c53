"""`Unfold` and `Fold`: images as columns of their windows, and back. The formulas are in ops/rearrange.py."""
from __future__ import annotations

from ..ops.rearrange import fold, unfold
from .families import Layer

__all__ = ['Fold', 'Unfold']


class Fold(Layer):
    """Sums columns (N, C * taps, windows) into images (N, C, *output_size)."""

    shown = __constants__ = ['output_size', 'kernel_size', 'dilation', 'padding', 'stride']

    def __init__(self, output_size, kernel_size, dilation=1, padding=0, stride=1):
        super().__init__(locals())

    def forward(self, input):
        return fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)


class Unfold(Layer):
    """The windows of images (N, C, H, W) as columns (N, C * taps, windows)."""

    shown = __constants__ = ['kernel_size', 'dilation', 'padding', 'stride']

    def __init__(self, kernel_size, dilation=1, padding=0, stride=1):
        super().__init__(locals())

    def forward(self, input):
        return unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)
