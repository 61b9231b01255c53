"""`torch.cpu`: what code that is written for any kind of device asks of this one."""
from __future__ import annotations

from . import amp

__all__ = ['amp', 'is_available', 'is_initialized', 'device_count', 'current_device', 'set_device', 'synchronize']


def is_available() -> bool:
    """Whether there is a CPU: yes."""
    return True


def is_initialized() -> bool:
    """Whether the CPU has been started: yes."""
    return True


def device_count() -> int:
    """The number of CPU devices, which count as one."""
    return 1


def current_device() -> str:
    """The name of the device: 'cpu'."""
    return 'cpu'


def set_device(device) -> None:
    """Does nothing: there is one device."""


def synchronize(device=None) -> None:
    """Does nothing: operations have ended when they return."""
