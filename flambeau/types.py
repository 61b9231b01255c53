"""`torch.types`: names for annotations."""
from __future__ import annotations

import builtins
import os
from collections.abc import Sequence
from typing import IO, Any, TypeAlias, Union

from .device import device
from .dtypes import dtype
from .tensor import Size, Tensor, layout
from .autograd.graph import Node

__all__ = ['Number', 'Device', 'FileLike', 'Storage']

_TensorOrTensors: TypeAlias = Union[Tensor, Sequence[Tensor]]
_dtype, _device, _layout = dtype, device, layout
_int, _float, _bool, _complex = builtins.int, builtins.float, builtins.bool, builtins.complex
_size: TypeAlias = Union[Size, list[int], tuple[int, ...]]
_symsize = _size
_dispatchkey: TypeAlias = Union[str, Any]
Number: TypeAlias = Union[int, float, bool]
_Number = (int, float, bool)
FileLike: TypeAlias = Union[str, os.PathLike, IO[bytes]]
Device: TypeAlias = Union[device, str, int, None]


def __getattr__(name):
    if name == 'Storage':
        from .storage import UntypedStorage
        return UntypedStorage
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
