"""Devices: where a tensor's elements live. Knows nothing of tensors or of how a backend computes."""
from __future__ import annotations

import re

__all__ = ['device', 'CPU', 'resolve']

KINDS = ('cpu', 'cuda', 'meta', 'mps', 'xpu', 'npu', 'hpu', 'ipu', 'xla')


class device:
    """A device kind with an optional index: `device('cpu')`, `device('cuda:1')`, `device('cuda', 1)`, `device(1)`.

    Raises RuntimeError for a string that names no device.
    """

    __slots__ = ('type', 'index', '__weakref__')

    def __init__(self, type: str | int | 'device', index: int | None = None):
        if isinstance(type, device):
            type, index = type.type, type.index
        elif isinstance(type, int) and not isinstance(type, bool):
            type, index = 'cuda', type
        elif not isinstance(type, str):
            raise TypeError(f'device(): argument \'type\' must be a str, an int or a device, not '
                            f'{type.__class__.__name__}')
        if index is not None and index < 0:
            raise RuntimeError(f'Device index must not be negative, got {index}')
        match = re.fullmatch(r'([a-z]+)(?::(0|[1-9]\d*))?', type)
        if match is None:
            raise RuntimeError(f"Invalid device string: '{type}'")
        if match[1] not in KINDS:
            raise RuntimeError(f"Expected one of {', '.join(KINDS)} device type at start of device string: {type}")
        if match[2] is not None:
            if index is not None:
                raise RuntimeError(f"type (string) must not include an index because index was passed explicitly: "
                                   f"{type}")
            index = int(match[2])
        object.__setattr__(self, 'type', match[1])
        object.__setattr__(self, 'index', index)

    def __setattr__(self, name, value):
        raise AttributeError(f'attribute {name!r} of a device cannot be changed')

    def __repr__(self):
        return f"device(type='{self.type}'" + (f', index={self.index})' if self.index is not None else ')')

    def __str__(self):
        return self.type if self.index is None else f'{self.type}:{self.index}'

    def __eq__(self, other):
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self):
        return hash((self.type, self.index))

    def __reduce__(self):
        return device, (self.type,) if self.index is None else (self.type, self.index)


CPU = device('cpu')


def resolve(wanted: device | str | int | None) -> device:
    """The device that an argument `device=` stands for. Raises where this installation cannot compute on it."""
    if wanted is None or wanted is CPU or wanted.__class__ is str and wanted == 'cpu':
        return CPU
    number, wanted = isinstance(wanted, int), device(wanted)
    if wanted.type == 'cpu':
        return CPU
    if wanted.type == 'cuda' and number:
        raise RuntimeError(f'device={wanted.index}: Cannot access accelerator device when none is available: this '
                           "version of flambeau computes on the CPU; use device='cpu'")
    if wanted.type == 'cuda':
        raise AssertionError('Torch not compiled with CUDA enabled: this version of flambeau computes on the CPU; '
                             "use device='cpu', or choose with torch.cuda.is_available()")
    raise NotImplementedError(f"device {str(wanted)!r} is not available: this version of flambeau computes on the CPU")
