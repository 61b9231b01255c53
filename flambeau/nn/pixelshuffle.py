"""Layers that exchange channels and pixels, or interleave channels. The formulas are in ops/rearrange.py."""
from __future__ import annotations

from ..ops.rearrange import channel_shuffle, pixel_shuffle, pixel_unshuffle
from .families import Layer

__all__ = ['PixelShuffle', 'PixelUnshuffle', 'ChannelShuffle']


class PixelShuffle(Layer):
    """(*, C * r^2, H, W) as (*, C, H * r, W * r), r = `upscale_factor`."""

    shown = __constants__ = ['upscale_factor']

    def __init__(self, upscale_factor):
        super().__init__(locals())

    def forward(self, input):
        return pixel_shuffle(input, self.upscale_factor)


class PixelUnshuffle(Layer):
    """(*, C, H * r, W * r) as (*, C * r^2, H, W), r = `downscale_factor`."""

    shown = __constants__ = ['downscale_factor']

    def __init__(self, downscale_factor):
        super().__init__(locals())

    def forward(self, input):
        return pixel_unshuffle(input, self.downscale_factor)


class ChannelShuffle(Layer):
    """Divides the channels of (N, C, *) into `groups` and interleaves these."""

    shown = __constants__ = ['groups']

    def __init__(self, groups):
        super().__init__(locals())

    def forward(self, input):
        return channel_shuffle(input, self.groups)
