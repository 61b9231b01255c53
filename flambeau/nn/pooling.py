"""Pooling layers. The formulas are in ops/pooling.py.

>>> nn.MaxPool2d(2)(torch.zeros(1, 3, 8, 8)).shape
torch.Size([1, 3, 4, 4])
"""
from __future__ import annotations

from ..ops import pooling
from ..ops.windows import per_axis
from .families import Layer, family
from .module import Module

__all__ = [f'{kind}{dims}d' for dims in (1, 2, 3) for kind in
           ('MaxPool', 'MaxUnpool', 'AvgPool', 'LPPool', 'AdaptiveMaxPool', 'AdaptiveAvgPool')] + [
               'FractionalMaxPool2d', 'FractionalMaxPool3d']


class _MaxPoolNd(Layer):
    __constants__ = ['kernel_size', 'stride', 'padding', 'dilation', 'return_indices', 'ceil_mode']
    shown = ('kernel_size', 'stride', 'padding', 'dilation', 'ceil_mode')

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False):
        stride = kernel_size if stride is None else stride
        super().__init__(locals())

    def forward(self, input):
        return pooling.MAX_POOLS[self.dims](input, self.kernel_size, self.stride, self.padding, self.dilation,
                                            self.ceil_mode, self.return_indices)


class _MaxUnpoolNd(Layer):
    shown = ('kernel_size', 'stride', 'padding')

    def __init__(self, kernel_size, stride=None, padding=0):
        stride = kernel_size if stride is None else stride
        super().__init__({name: per_axis(value, self.dims, type(self).__name__, name) for name, value in (
            ('kernel_size', kernel_size), ('stride', stride), ('padding', padding))})

    def forward(self, input, indices, output_size=None):
        return pooling.MAX_UNPOOLS[self.dims](input, indices, self.kernel_size, self.stride, self.padding, output_size)


class _AvgPoolNd(Layer):
    __constants__ = ['kernel_size', 'stride', 'padding', 'ceil_mode', 'count_include_pad', 'divisor_override']
    shown = ('kernel_size', 'stride', 'padding')

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
                 divisor_override=None):
        stride = kernel_size if stride is None else stride
        super().__init__(locals())

    def forward(self, input):
        return pooling.AVG_POOLS[self.dims](input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
                                            self.count_include_pad, self.divisor_override)


class _AvgPool1d(_AvgPoolNd):
    dims = 1
    __constants__ = ['kernel_size', 'stride', 'padding', 'ceil_mode', 'count_include_pad']

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
        def sizes(value, argument):
            return per_axis(value, 1, 'AvgPool1d', argument)
        super().__init__(sizes(kernel_size, 'kernel_size'), None if stride is None else sizes(stride, 'stride'),
                         sizes(padding, 'padding'), ceil_mode, count_include_pad)
        del self.divisor_override

    def forward(self, input):
        return pooling.AVG_POOLS[1](input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
                                    self.count_include_pad)


class _LPPoolNd(Layer):
    __constants__ = ['norm_type', 'kernel_size', 'stride', 'ceil_mode']
    shown = ('norm_type', 'kernel_size', 'stride', 'ceil_mode')

    def __init__(self, norm_type, kernel_size, stride=None, ceil_mode=False):
        super().__init__(locals())

    def forward(self, input):
        return pooling.LP_POOLS[self.dims](input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class _AdaptiveMaxPoolNd(Layer):
    __constants__ = ['output_size', 'return_indices']
    shown = ('output_size',)

    def __init__(self, output_size, return_indices=False):
        super().__init__(locals())

    def forward(self, input):
        return pooling.ADAPTIVE_MAX_POOLS[self.dims](input, self.output_size, self.return_indices)


class _AdaptiveAvgPoolNd(Layer):
    __constants__ = ['output_size']
    shown = ('output_size',)

    def __init__(self, output_size):
        super().__init__(locals())

    def forward(self, input):
        return pooling.ADAPTIVE_AVG_POOLS[self.dims](input, self.output_size)


class _FractionalMaxPoolNd(Module):
    __constants__ = ['kernel_size', 'return_indices', 'output_size', 'output_ratio']

    def __init__(self, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None):
        super().__init__()
        name = type(self).__name__
        self.kernel_size = per_axis(kernel_size, self.dims, name, 'kernel_size')
        if min(self.kernel_size) <= 0:
            raise ValueError(f'kernel_size must be greater than 0, but got {kernel_size}')
        if (output_size is None) == (output_ratio is None):
            raise ValueError(f'{name} requires specifying either an output size, or a pooling ratio'
                             if output_size is None else 'only one of output_size and output_ratio may be specified')
        if output_ratio is not None and not isinstance(output_ratio, (tuple, list)):
            output_ratio = (output_ratio,) * self.dims
        if output_ratio is not None and not all(0 < ratio < 1 for ratio in output_ratio):
            raise ValueError(f'output_ratio must be between 0 and 1 (got {output_ratio})')
        self.return_indices = return_indices
        self.register_buffer('_random_samples', _random_samples)
        self.output_size = None if output_size is None else per_axis(output_size, self.dims, name, 'output_size')
        self.output_ratio = None if output_ratio is None else tuple(output_ratio)

    def forward(self, input):
        return pooling.FRACTIONAL_MAX_POOLS[self.dims](input, self.kernel_size, self.output_size, self.output_ratio,
                                                       self.return_indices, _random_samples=self._random_samples)


globals().update(
    **family('MaxPool', 'Maximum over windows of {shape}.', _MaxPoolNd),
    **family('MaxUnpool', 'Puts the values of a `MaxPool{dims}d` with return_indices back.', _MaxUnpoolNd),
    **family('AvgPool', 'Average over windows of {shape}.', {1: _AvgPool1d, 2: _AvgPoolNd, 3: _AvgPoolNd}),
    **family('LPPool', 'The p-norm over windows of {shape}.', _LPPoolNd),
    **family('AdaptiveMaxPool', 'Maximum over `output_size` bins of {shape}.', _AdaptiveMaxPoolNd),
    **family('AdaptiveAvgPool', 'Average over `output_size` bins of {shape}.', _AdaptiveAvgPoolNd),
    **{name: layer for name, layer in family(
        'FractionalMaxPool', 'Maximum over windows at pseudo-random steps of {shape}.', _FractionalMaxPoolNd).items()
       if layer.dims > 1})
