"""Modules on several devices. On the one device that there is, `DataParallel` runs its module as it is."""
from __future__ import annotations

from ..module import Module

__all__ = ['DataParallel', 'data_parallel']


class DataParallel(Module):
    """Splits batches over devices; without CUDA it calls `module` on the whole batch, as PyTorch's does.

    The wrapped module is the attribute `module`, so the keys of its state dict begin with 'module.'.
    """

    def __init__(self, module, device_ids=None, output_device=None, dim=0):
        super().__init__()
        if device_ids:
            raise AssertionError(f'DataParallel: there are no CUDA devices {list(device_ids)}; leave device_ids out')
        self.module = module
        self.device_ids, self.output_device, self.dim = [], output_device, dim

    def forward(self, *inputs, **kwargs):
        return self.module(*inputs, **kwargs)


def data_parallel(module, inputs, device_ids=None, output_device=None, dim=0, module_kwargs=None):
    """module(*inputs) as `DataParallel` computes it."""
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    return DataParallel(module, device_ids, output_device, dim)(*inputs, **(module_kwargs or {}))
