"""`torch.cpu.amp`: older names of `torch.amp`."""
from ... import dtypes
from ...amp.older import names_for

__all__ = ['GradScaler', 'autocast']

autocast, GradScaler = names_for('cpu', dtypes.bfloat16)
