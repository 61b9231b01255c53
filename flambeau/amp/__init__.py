"""`torch.amp`: mixed precision. Without CUDA, `autocast('cuda')` and its scaler are off, as in PyTorch."""
from __future__ import annotations

import functools
import warnings

from .. import dtypes
from ..autograd.modes import Decorating
from ..device import device

__all__ = ['GradScaler', 'autocast', 'custom_bwd', 'custom_fwd', 'get_autocast_dtype', 'is_autocast_available',
           'is_autocast_cache_enabled', 'is_autocast_enabled']


def is_autocast_available(device_type: str) -> bool:
    """Whether operations can choose their precision on a kind of device: on none so far."""
    device(device_type)
    return False


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """Whether operations choose their precision now: no."""
    return False


def get_autocast_dtype(device_type: str):
    """The dtype that `autocast` takes for a kind of device unless told another."""
    return dtypes.bfloat16 if device(device_type).type == 'cpu' else dtypes.float16


def is_autocast_cache_enabled() -> bool:
    """Whether casts of parameters are kept: there are none."""
    return False


class autocast(Decorating):
    """Would let operations on a device choose their precision; a context manager and a decorator.

    It does nothing where `enabled` is False. For 'cuda' it warns, as PyTorch without CUDA does, and is off. On the CPU
    entering it raises NotImplementedError: use `model.bfloat16()` for low precision there.
    """

    def __init__(self, device_type: str, dtype=None, enabled: bool = True, cache_enabled: bool | None = None):
        if not isinstance(device_type, str):
            raise ValueError(f'Expected `device_type` of type `str`, got: `{type(device_type)}`')
        self.device = device(device_type).type
        self.fast_dtype = dtype or get_autocast_dtype(self.device)
        self.cache_enabled = cache_enabled
        if enabled and self.device == 'cuda':
            warnings.warn("User provided device_type of 'cuda', but CUDA is not available. Disabling", stacklevel=2)
            enabled = False
        self.enabled = enabled

    def clone(self):
        return autocast(self.device, self.fast_dtype, self.enabled, self.cache_enabled)

    def __enter__(self):
        if self.enabled:
            raise NotImplementedError(
                f"autocast({self.device!r}): automatic choice of precision is not available on this device; pass "
                'enabled=False, or use model.bfloat16() and input.bfloat16() for low precision')
        return self

    def __exit__(self, *error):
        return False


class GradScaler:
    """Scales losses so that gradients in half precision do not underflow; off without CUDA, as PyTorch's.

    Where it is off, `scale` returns the loss, `step` calls the optimizer's `step`, and all else does nothing.
    """

    def __init__(self, device: str = 'cuda', init_scale: float = 2.0 ** 16, growth_factor: float = 2.0,
                 backoff_factor: float = 0.5, growth_interval: int = 2000, enabled: bool = True):
        if enabled and device != 'cuda':
            raise NotImplementedError(f'GradScaler({device!r}): gradients are scaled for half precision on CUDA '
                                      'devices only; pass enabled=False')
        if enabled:
            warnings.warn('torch.amp.GradScaler is enabled, but CUDA is not available. Disabling.', stacklevel=2)
        self._device = device

    def is_enabled(self) -> bool:
        """Whether it scales: no."""
        return False

    def scale(self, outputs):
        """The outputs as they are."""
        return outputs

    def unscale_(self, optimizer) -> None:
        """Leaves the gradients as they are."""

    def step(self, optimizer, *args, **kwargs):
        """optimizer.step(*args, **kwargs)."""
        return optimizer.step(*args, **kwargs)

    def update(self, new_scale=None) -> None:
        """Leaves the scale at 1."""

    def get_scale(self) -> float:
        """The factor of the losses: 1."""
        return 1.0

    def state_dict(self) -> dict:
        """Empty, since it is off."""
        return {}

    def load_state_dict(self, state_dict: dict) -> None:
        """Takes nothing over, since it is off."""


def custom_fwd(fwd=None, *, device_type: str, cast_inputs=None):
    """Marks `forward` of a custom function for autocast, which is off."""
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)
    return fwd


def custom_bwd(bwd=None, *, device_type: str):
    """Marks `backward` of a custom function for autocast, which is off."""
    return bwd if bwd is not None else functools.partial(custom_bwd, device_type=device_type)
