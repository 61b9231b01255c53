"""Layers that join dimensions into one, or split one into several."""
from __future__ import annotations

from .families import Layer

__all__ = ['Flatten', 'Unflatten']


class Flatten(Layer):
    """Joins the dimensions start_dim to end_dim into one.

    >>> nn.Flatten()(torch.zeros(2, 3, 4)).shape
    torch.Size([2, 12])
    """

    shown = __constants__ = ['start_dim', 'end_dim']

    def __init__(self, start_dim=1, end_dim=-1):
        super().__init__(locals())

    def forward(self, input):
        return input.flatten(self.start_dim, self.end_dim)


class Unflatten(Layer):
    """Splits the dimension `dim` into dimensions of sizes unflattened_size, of which one may be -1.

    >>> nn.Unflatten(1, (3, 4))(torch.zeros(2, 12)).shape
    torch.Size([2, 3, 4])
    """

    shown = __constants__ = ['dim', 'unflattened_size']

    def __init__(self, dim, unflattened_size):
        if not isinstance(dim, (int, str)):
            raise TypeError(f'Unflatten: dim must be an int, or a str with named sizes, got {type(dim).__name__}')
        if not isinstance(unflattened_size, (tuple, list)):
            raise TypeError('Unflatten: unflattened_size must be a tuple of ints, but found type '
                            f'{type(unflattened_size).__name__}')
        if isinstance(dim, int):
            for place, size in enumerate(unflattened_size):
                if not isinstance(size, int):
                    raise TypeError(f'Unflatten: unflattened_size must be tuple of ints, but found element of type '
                                    f'{type(size).__name__} at pos {place}')
        super().__init__({'dim': dim, 'unflattened_size': unflattened_size})

    def forward(self, input):
        return input.unflatten(self.dim, self.unflattened_size)
