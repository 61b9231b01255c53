"""`torch.signal`: windows for signals."""
from . import windows  # noqa: F401
