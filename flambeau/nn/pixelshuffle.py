"""Layers that exchange channels and pixels, or interleave channels. The formulas are in ops/rearrange.py."""
from __future__ import annotations

from ..ops.rearrange import channel_shuffle, pixel_shuffle, pixel_unshuffle
from .module import Module

__all__ = ['PixelShuffle', 'PixelUnshuffle', 'ChannelShuffle']


class PixelShuffle(Module):
    """(*, C * r^2, H, W) as (*, C, H * r, W * r), r = `upscale_factor`."""

    __constants__ = ['upscale_factor']

    def __init__(self, upscale_factor):
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input):
        return pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self):
        return f'upscale_factor={self.upscale_factor}'


class PixelUnshuffle(Module):
    """(*, C, H * r, W * r) as (*, C * r^2, H, W), r = `downscale_factor`."""

    __constants__ = ['downscale_factor']

    def __init__(self, downscale_factor):
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input):
        return pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self):
        return f'downscale_factor={self.downscale_factor}'


class ChannelShuffle(Module):
    """Divides the channels of (N, C, *) into `groups` and interleaves these."""

    __constants__ = ['groups']

    def __init__(self, groups):
        super().__init__()
        self.groups = groups

    def forward(self, input):
        return channel_shuffle(input, self.groups)

    def extra_repr(self):
        return f'groups={self.groups}'
