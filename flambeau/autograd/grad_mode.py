"""The modes of recording under the import path that PyTorch gives them."""
from .modes import (enable_grad, inference_mode, no_grad, set_grad_enabled)

__all__ = ['no_grad', 'enable_grad', 'set_grad_enabled', 'inference_mode']
