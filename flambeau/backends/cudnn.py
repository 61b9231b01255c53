"""Settings of the CUDA convolution library, which no computation on the CPU reads; scripts may set and read them."""
from __future__ import annotations

import sys

from .settings import changed, check_switches

enabled = True
benchmark = False
benchmark_limit = None  # how many algorithms to try
deterministic = False
allow_tf32 = True
fp32_precision = 'none'


def is_available() -> bool:
    """Whether cuDNN computes: not in this installation."""
    return False


def version() -> int | None:
    """cuDNN's version, None without it."""
    return None


def flags(enabled=False, benchmark=False, benchmark_limit=10, deterministic=False, allow_tf32=True,
          fp32_precision='none'):
    """Context manager: these settings inside, the former ones after it."""
    return changed(sys.modules[__name__], **locals())


check_switches(__name__)
