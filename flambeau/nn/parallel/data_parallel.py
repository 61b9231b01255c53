"""PyTorch's import path of `DataParallel`."""
from . import DataParallel

__all__ = ['DataParallel']
