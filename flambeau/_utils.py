"""PyTorch's import path of what packs tensors into one vector, as programs that average gradients use it."""
from __future__ import annotations

from .ops.joining import cat

__all__ = ['_flatten_dense_tensors', '_unflatten_dense_tensors']


def _flatten_dense_tensors(tensors):
    """One vector with the elements of all tensors."""
    return cat([t.reshape(-1) for t in tensors])


def _unflatten_dense_tensors(flat, tensors):
    """Views of the vector `flat` in the shapes of the tensors. Raises RuntimeError where their sizes do not add up."""
    pieces = flat.split([t.numel() for t in tensors])
    return tuple(piece.view(t.shape) for piece, t in zip(pieces, tensors))
