"""PyTorch's import path of `Tensor`."""
from .tensor import Tensor

__all__ = ['Tensor']
