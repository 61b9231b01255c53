"""`torch.utils.data._utils`: import paths that programs use although they are private."""
from . import collate, worker

__all__ = ['collate', 'worker']
