"""PyTorch's import path of `GradScaler`."""
from . import GradScaler

__all__ = ['GradScaler']
