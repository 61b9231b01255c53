"""Dropout layers: random elements or channels become zero in training. The draws are in ops/sampling.py."""
from __future__ import annotations

from ..ops import load
from ..ops.definition import exports
from .module import Module

__all__ = ['Dropout', 'Dropout1d', 'Dropout2d', 'Dropout3d', 'AlphaDropout', 'FeatureAlphaDropout']

load('sampling')
functional = exports('nn.functional')


class _DropoutNd(Module):
    __constants__ = ['p', 'inplace']
    function = None

    def __init__(self, p=0.5, inplace=False):
        super().__init__()
        if not isinstance(p, (int, float)):
            raise TypeError(f'dropout probability has to be a number between 0 and 1, but got {p!r}')
        if not 0 <= p <= 1:
            raise ValueError(f'dropout probability has to be between 0 and 1, but got {p}')
        self.p = p
        self.inplace = inplace

    def extra_repr(self):
        return f'p={self.p}, inplace={self.inplace}'

    def forward(self, input):
        return self.function(input, self.p, self.training, self.inplace)


def _dropout(name, function, summary):
    return type(name, (_DropoutNd,), {'__doc__': summary, '__module__': __name__, '__qualname__': name,
                                      'function': staticmethod(functional[function])})


Dropout = _dropout('Dropout', 'dropout', 'Zeroes elements with probability p and divides the others by 1 - p.')
Dropout1d = _dropout('Dropout1d', 'dropout1d', 'Zeroes whole channels of (N, C, L) or (C, L).')
Dropout2d = _dropout('Dropout2d', 'dropout2d', 'Zeroes whole channels of (N, C, H, W).')
Dropout3d = _dropout('Dropout3d', 'dropout3d', 'Zeroes whole channels of (N, C, D, H, W) or (C, D, H, W).')
AlphaDropout = _dropout('AlphaDropout', 'alpha_dropout', "Dropout to SELU's lower limit that keeps mean and variance.")
FeatureAlphaDropout = _dropout('FeatureAlphaDropout', 'feature_alpha_dropout', 'Alpha dropout of whole channels.')
