"""Layers that convolve, and their transposes, in one to three dimensions. The formulas are in ops/convolution.py."""
from __future__ import annotations

from ..ops.convolution import CONVOLUTIONS, TRANSPOSES
from ..ops.creation import empty
from ..ops.pad import pad
from ..ops.windows import per_axis
from ..tensor import Parameter
from .families import Layer
from .linear import draw_within_fan_in

__all__ = ['Conv1d', 'Conv2d', 'Conv3d', 'ConvTranspose1d', 'ConvTranspose2d', 'ConvTranspose3d']

PADDING_MODES = ('zeros', 'reflect', 'replicate', 'circular')


class _ConvNd(Layer):
    """What all convolutions share: hyperparameters, weight, bias, and PyTorch's initial values for these."""

    __constants__ = ['stride', 'padding', 'dilation', 'groups', 'padding_mode', 'output_padding', 'in_channels',
                     'out_channels', 'kernel_size']

    def __init__(self, in_channels, out_channels, kernel_size, stride, padding, dilation, transposed, output_padding,
                 groups, bias, padding_mode, device=None, dtype=None):
        super().__init__(locals())
        if groups <= 0:
            raise ValueError(f'groups must be a positive integer, got {groups}')
        for name, channels in (('in_channels', in_channels), ('out_channels', out_channels)):
            if isinstance(channels, (str, float)):
                raise TypeError(f'{name} must be an int, got {channels!r}')
            if channels % groups:
                raise ValueError(f'{name} must be divisible by groups, got {name}={channels} and groups={groups}')
        if isinstance(padding, str):
            if padding not in ('same', 'valid'):
                raise ValueError(f"Invalid padding string {padding!r}, should be one of 'same', 'valid'")
            if padding == 'same' and any(s != 1 for s in stride):
                raise ValueError(f"padding='same' is not supported for strided convolutions, got stride={stride}")
        if padding_mode not in PADDING_MODES:
            raise ValueError(f'padding_mode must be one of {PADDING_MODES}, but got padding_mode={padding_mode!r}')
        channels = (in_channels, out_channels // groups) if transposed else (out_channels, in_channels // groups)
        self.weight = Parameter(empty((*channels, *kernel_size), device=device, dtype=dtype))
        self.register_parameter('bias', Parameter(empty(out_channels, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    @property
    def _reversed_padding_repeated_twice(self) -> list[int]:
        """The padding as `pad` takes it: (before, after) from the last axis on."""
        if self.padding == 'valid':
            pairs = [(0, 0)] * len(self.kernel_size)
        elif self.padding == 'same':
            totals = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size)]
            pairs = [(total // 2, total - total // 2) for total in totals]
        else:
            pairs = [(p, p) for p in self.padding]
        return [amount for pair in reversed(pairs) for amount in pair]

    def reset_parameters(self):
        """Draws weight, then bias, uniformly within 1/sqrt(fan in)."""
        draw_within_fan_in(self)

    def extra_repr(self):
        text = f'{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}'
        for name, usual in (('padding', 0), ('dilation', 1), ('output_padding', 0)):
            value = getattr(self, name)
            if value != (usual,) * len(value):
                text += f', {name}={value}'
        if self.groups != 1:
            text += f', groups={self.groups}'
        if self.bias is None:
            text += ', bias=False'
        if self.padding_mode != 'zeros':
            text += f', padding_mode={self.padding_mode}'
        return text

    def __setstate__(self, state):
        super().__setstate__(state)
        self.__dict__.setdefault('padding_mode', 'zeros')


class _Conv(_ConvNd):
    dims = 0

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
                 padding_mode='zeros', device=None, dtype=None):
        def sizes(value, argument):
            return per_axis(value, self.dims, type(self).__name__, argument)
        super().__init__(in_channels, out_channels, sizes(kernel_size, 'kernel_size'), sizes(stride, 'stride'),
                         padding if isinstance(padding, str) else sizes(padding, 'padding'),
                         sizes(dilation, 'dilation'), False, (0,) * self.dims, groups, bias, padding_mode, device,
                         dtype)

    def _conv_forward(self, input, weight, bias):
        padding = self.padding
        if self.padding_mode != 'zeros':
            input, padding = pad(input, self._reversed_padding_repeated_twice, self.padding_mode), 0
        return CONVOLUTIONS[self.dims](input, weight, bias, self.stride, padding, self.dilation, self.groups)

    def forward(self, input):
        return self._conv_forward(input, self.weight, self.bias)


class Conv1d(_Conv):
    """Convolution over (N, C, L) or (C, L).

    >>> nn.Conv1d(3, 8, kernel_size=5, padding='same')(torch.zeros(1, 3, 20)).shape
    torch.Size([1, 8, 20])
    """

    dims = 1


class Conv2d(_Conv):
    """Convolution over (N, C, H, W) or (C, H, W).

    >>> nn.Conv2d(3, 8, kernel_size=3, stride=2, padding=1)(torch.zeros(1, 3, 8, 8)).shape
    torch.Size([1, 8, 4, 4])
    """

    dims = 2


class Conv3d(_Conv):
    """Convolution over (N, C, D, H, W) or (C, D, H, W)."""

    dims = 3


class _ConvTransposeNd(_ConvNd):
    dims = 0

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0, groups=1,
                 bias=True, dilation=1, padding_mode='zeros', device=None, dtype=None):
        if padding_mode != 'zeros':
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}, got {padding_mode!r}')

        def sizes(value, argument):
            return per_axis(value, self.dims, type(self).__name__, argument)
        super().__init__(in_channels, out_channels, sizes(kernel_size, 'kernel_size'), sizes(stride, 'stride'),
                         sizes(padding, 'padding'), sizes(dilation, 'dilation'), True,
                         sizes(output_padding, 'output_padding'), groups, bias, padding_mode, device, dtype)

    def _output_padding(self, input, output_size):
        """The output padding with which the output has sizes `output_size`, spatial or whole."""
        if output_size is None:
            return self.output_padding
        lead = input.dim() - self.dims
        spatial = tuple(output_size[lead:] if len(output_size) == input.dim() else output_size)
        if len(spatial) != self.dims:
            raise ValueError(f'{type(self).__name__}: for {input.dim()}D input, output_size must have {self.dims} or '
                             f'{lead + self.dims} elements (got {len(output_size)})')
        least = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, s, p, d, k in
                 zip(input.shape[lead:], self.stride, self.padding, self.dilation, self.kernel_size)]
        if any(not low <= size < low + s for low, size, s in zip(least, spatial, self.stride)):
            raise ValueError(f'requested an output size of {list(spatial)}, but valid sizes range from {least} to '
                             f'{[low + s - 1 for low, s in zip(least, self.stride)]} (for an input of '
                             f'{list(input.shape[lead:])})')
        return tuple(size - low for size, low in zip(spatial, least))

    def forward(self, input, output_size=None):
        return TRANSPOSES[self.dims](input, self.weight, self.bias, self.stride, self.padding,
                                     self._output_padding(input, output_size), self.groups, self.dilation)


class ConvTranspose1d(_ConvTransposeNd):
    """Transposed convolution over (N, C, L) or (C, L)."""

    dims = 1


class ConvTranspose2d(_ConvTransposeNd):
    """Transposed convolution over (N, C, H, W) or (C, H, W).

    >>> nn.ConvTranspose2d(8, 3, kernel_size=2, stride=2)(torch.zeros(1, 8, 4, 4)).shape
    torch.Size([1, 3, 8, 8])
    """

    dims = 2


class ConvTranspose3d(_ConvTransposeNd):
    """Transposed convolution over (N, C, D, H, W) or (C, D, H, W)."""

    dims = 3
