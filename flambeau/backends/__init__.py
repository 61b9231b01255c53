"""One folder a device kind, each with files of the same names. A backend knows arrays and memory, and no operation.

The files beside the folders hold the settings that PyTorch keeps under these names (`torch.backends.cudnn.benchmark`).
"""
from __future__ import annotations

import importlib

_SETTINGS = frozenset(('cuda', 'cudnn', 'mkl', 'mkldnn', 'mps', 'openmp'))


def __getattr__(name):
    if name in _SETTINGS:
        return importlib.import_module('.' + name, __name__)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
