"""`torch.signal.windows`: windows under PyTorch's names; the formulas are in flambeau/ops."""
from ..ops.publishing import namespace_getter as _getter

__getattr__, __dir__ = _getter(__name__, 'signal.windows', 'signal')
