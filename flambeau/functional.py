"""`torch.functional`: some of the functions of the top module under their older path."""
import importlib

_torch = importlib.import_module(__package__)

__all__ = ['atleast_1d', 'atleast_2d', 'atleast_3d', 'align_tensors', 'broadcast_shapes', 'broadcast_tensors',
           'cartesian_prod', 'block_diag', 'cdist', 'chain_matmul', 'einsum', 'istft', 'lu', 'norm', 'meshgrid',
           'split', 'stft', 'tensordot', 'unique', 'unique_consecutive', 'unravel_index']
__all__ = [name for name in __all__ if hasattr(_torch, name)]
globals().update({name: getattr(_torch, name) for name in __all__})
