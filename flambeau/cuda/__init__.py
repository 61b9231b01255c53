"""torch.cuda where there is no CUDA device: questions have answers, what would need a device says so.

`device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')` takes its CPU branch. Seeding and freeing are
accepted, as PyTorch accepts them in an installation without CUDA. It must know nothing of how tensors compute.
"""
from __future__ import annotations

import collections

from ..device import device as _device
from . import amp

__all__ = ['amp', 'is_available', 'is_initialized', 'is_bf16_supported', 'device_count', 'device', 'device_of',
           'get_arch_list', 'manual_seed', 'manual_seed_all', 'seed', 'seed_all', 'get_rng_state_all',
           'set_rng_state_all', 'empty_cache', 'memory_stats', 'reset_peak_memory_stats', 'Stream', 'Event']


def is_available() -> bool:
    """Whether tensors can live on a CUDA device: not in this installation."""
    return False


def is_initialized() -> bool:
    """Whether CUDA has been started, which it never is."""
    return False


def is_bf16_supported(including_emulation=True) -> bool:
    """Whether the current CUDA device computes in bfloat16: there is none."""
    return False


def device_count() -> int:
    """The number of CUDA devices: 0."""
    return 0


def get_arch_list() -> list[str]:
    """The CUDA architectures that this installation serves: none."""
    return []


# ---- what a device would be needed for ------------------------------------------------------------------------

def _absent(what: str):
    return AssertionError(f'Torch not compiled with CUDA enabled: {what} needs a CUDA device, and this version of '
                          'flambeau computes on the CPU. Ask torch.cuda.is_available() first')


def _needs_device(name: str):
    def function(*args, **kwargs):
        raise _absent(f'torch.cuda.{name}()')
    function.__name__ = function.__qualname__ = name
    function.__doc__ = 'Raises AssertionError: there is no CUDA device.'
    return function


_NEED_DEVICE = ('init', 'current_device', 'set_device', 'synchronize', 'get_device_name', 'get_device_capability',
                'get_device_properties', 'can_device_access_peer', 'current_stream', 'default_stream', 'mem_get_info',
                'ipc_collect', 'initial_seed', 'get_rng_state', 'set_rng_state', 'set_per_process_memory_fraction')
globals().update({name: _needs_device(name) for name in _NEED_DEVICE})
__all__ += _NEED_DEVICE


class Stream:
    """A queue of work on a CUDA device; making one raises RuntimeError."""

    def __new__(cls, *args, **kwargs):
        raise RuntimeError(f'torch.cuda.{cls.__name__} requires CUDA support: this version of flambeau computes on the '
                           'CPU. Ask torch.cuda.is_available() first')


class Event(Stream):
    """A mark in a stream; making one raises RuntimeError."""


class device:
    """Context manager that would select a CUDA device; None or a negative index selects nothing and is accepted."""

    def __init__(self, device):
        if device is None or isinstance(device, int):
            self.index = device
        else:
            device = _device(device)
            if device.type != 'cuda':
                raise ValueError(f'Expected a cuda device, but got: {device}')
            self.index = 0 if device.index is None else device.index

    def __enter__(self):
        if self.index is not None and self.index >= 0:
            raise _absent(f'torch.cuda.device({self.index})')

    def __exit__(self, *exception):
        return False


class device_of(device):
    """Context manager that would select the device of a tensor, and does nothing for one on the CPU."""

    def __init__(self, obj):
        super().__init__(obj.device if obj.is_cuda else None)


# ---- what is accepted and has nothing to do --------------------------------------------------------------------

def manual_seed(seed: int) -> None:
    """Would seed the current device's generator. Raises ValueError for what is no integer."""
    int(seed)


def manual_seed_all(seed: int) -> None:
    """Would seed the generators of all devices. Raises ValueError for what is no integer."""
    int(seed)


def seed() -> None:
    """Would seed the current device's generator from the operating system."""


def seed_all() -> None:
    """Would seed the generators of all devices from the operating system."""


def get_rng_state_all() -> list:
    """The generators' states, one a device: none."""
    return []


def set_rng_state_all(new_states) -> None:
    """Sets the generators' states, one a device. Raises AssertionError for any state, having no device."""
    for _ in new_states:
        raise _absent('torch.cuda.set_rng_state_all() with states')


def empty_cache() -> None:
    """Would hand cached device memory back."""


def memory_stats(device=None) -> collections.OrderedDict:
    """Figures of the device memory: none."""
    return collections.OrderedDict()


def _no_memory(name: str):
    def function(device=None) -> int:
        return 0
    function.__name__ = function.__qualname__ = name
    function.__doc__ = 'Bytes of device memory: 0.'
    return function


_MEMORY = ('memory_allocated', 'max_memory_allocated', 'memory_reserved', 'max_memory_reserved')
globals().update({name: _no_memory(name) for name in _MEMORY})
__all__ += _MEMORY


def reset_peak_memory_stats(device=None) -> None:
    """Would forget the peaks that `max_memory_allocated` and `max_memory_reserved` report."""

