"""What layers are declared with: options kept as attributes, and one kind over one, two and three dimensions. Knows no
layer.
"""
from __future__ import annotations

from .module import Module

__all__ = ['Layer', 'family']

NO_OPTIONS = ('self', '__class__', 'bias', 'device', 'dtype')  # of what is among the locals of `__init__`
SHAPES = {1: '(N, C, L) or (C, L)', 2: '(N, C, H, W) or (C, H, W)', 3: '(N, C, D, H, W) or (C, D, H, W)'}


class Layer(Module):
    """Keeps the arguments of `__init__` as attributes: `super().__init__(locals())`; shows those named in `shown`."""

    shown = ()

    def __init__(self, arguments):
        super().__init__()
        self.__dict__.update((name, value) for name, value in arguments.items() if name not in NO_OPTIONS)

    def extra_repr(self):
        return ', '.join(f'{name}={getattr(self, name)}' for name in self.shown)


def family(kind, words, *bases):
    """{'KIND1d': layer, ...}: a class for each number of dimensions `dims`, with a docstring of its own.

    bases: its base classes; one that is such a dictionary itself stands for its layer of as many dimensions.
    """
    made = {}
    for dims, shape in SHAPES.items():
        name = f'{kind}{dims}d'
        parents = tuple(list(base.values())[dims - 1] if isinstance(base, dict) else base for base in bases)
        made[name] = type(name, parents, {'dims': dims, '__module__': parents[0].__module__,
                                          '__doc__': words.format(shape=shape, dims=dims)})
    return made
