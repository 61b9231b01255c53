"""`torch.linalg`: linear algebra under PyTorch's names; the formulas are in flambeau/ops."""
from .errors import LinAlgError  # noqa: F401
from .ops.publishing import namespace_getter as _getter

__getattr__, __dir__ = _getter(__name__, 'linalg', 'linalg', 'linalg_solving', 'linalg_decomposition')
