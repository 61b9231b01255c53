"""Which kernels attention may use: PyTorch's interface. There is one way here, which every choice that has it takes."""
from __future__ import annotations

import contextlib
import enum

__all__ = ['SDPBackend', 'sdpa_kernel']


class SDPBackend(enum.Enum):
    """The kernels that PyTorch names."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


@contextlib.contextmanager
def sdpa_kernel(backends, set_priority=False):
    """Within it, attention may use these kernels: a SDPBackend or a list of them. Results are the same for all."""
    given = [backends] if isinstance(backends, SDPBackend) else backends
    if not isinstance(given, (list, tuple)) or not all(isinstance(b, SDPBackend) for b in given):
        raise AssertionError('Backend must be an instance of SDPBackend or a list of SDPBackend instances, got '
                             f'{type(backends).__name__}')
    yield {}
