"""Layers that compare vectors. The formulas are in ops/distance.py."""
from __future__ import annotations

from ..ops.distance import cosine_similarity, pairwise_distance
from .families import Layer

__all__ = ['CosineSimilarity', 'PairwiseDistance']


class CosineSimilarity(Layer):
    """The cosine of the angle between vectors along `dim`; norms below eps count as eps."""

    __constants__ = ['dim', 'eps']

    def __init__(self, dim=1, eps=1e-8):
        super().__init__(locals())

    def forward(self, x1, x2):
        return cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Layer):
    """The p-norm of x1 - x2 + eps along the last dimension."""

    __constants__ = ['norm', 'eps', 'keepdim']

    def __init__(self, p=2.0, eps=1e-6, keepdim=False):
        super().__init__({'norm': p, 'eps': eps, 'keepdim': keepdim})

    def forward(self, x1, x2):
        return pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
