"""`torch.masked`: operations on what a mask lets through, under PyTorch's names; the formulas are in flambeau/ops."""
from .ops.publishing import namespace_getter as _getter

__getattr__, __dir__ = _getter(__name__, 'masked', 'masked')
