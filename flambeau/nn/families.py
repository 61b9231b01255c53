"""Layers of one kind over one, two and three dimensions, declared at once. Knows no layer."""
from __future__ import annotations

__all__ = ['family']

SHAPES = {1: '(N, C, L) or (C, L)', 2: '(N, C, H, W) or (C, H, W)', 3: '(N, C, D, H, W) or (C, D, H, W)'}


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
