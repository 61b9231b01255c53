"""The older names of autocast and its scaler, a pair for each kind of device: they warn and lead to the newer ones."""
from __future__ import annotations

import warnings

from .autocast_mode import autocast
from .grad_scaler import GradScaler

__all__ = ['names_for']


def names_for(kind, default_dtype):
    """(autocast, GradScaler) of `torch.<kind>.amp`."""
    def tell(name):
        warnings.warn(f"`torch.{kind}.amp.{name}(args...)` is deprecated. Please use "
                      f"`torch.amp.{name}('{kind}', args...)` instead.", FutureWarning, stacklevel=3)

    class OlderAutocast(autocast):
        __doc__ = f"`torch.amp.autocast('{kind}', ...)`."

        def __init__(self, enabled: bool = True, dtype=default_dtype, cache_enabled: bool = True):
            tell('autocast')
            super().__init__(kind, dtype, enabled, cache_enabled)

    class OlderGradScaler(GradScaler):
        __doc__ = f"`torch.amp.GradScaler('{kind}', ...)`."

        def __init__(self, init_scale: float = 2.0 ** 16, growth_factor: float = 2.0, backoff_factor: float = 0.5,
                     growth_interval: int = 2000, enabled: bool = True):
            tell('GradScaler')
            super().__init__(kind, init_scale, growth_factor, backoff_factor, growth_interval, enabled)
    OlderAutocast.__name__, OlderGradScaler.__name__ = 'autocast', 'GradScaler'
    return OlderAutocast, OlderGradScaler
