"""`torch.cuda.amp`: older names of `torch.amp`."""
from ... import dtypes
from ...amp.older import names_for

__all__ = ['GradScaler', 'autocast']

autocast, GradScaler = names_for('cuda', dtypes.float16)
