"""flambeau: PyTorch's system in Python. `import flambeau as torch` is the whole migration.

Importing loads NumPy and the core. Sub-packages (nn, optim, linalg, ...) and rare families of operations are loaded
when first asked for.
"""
from __future__ import annotations

import importlib
import math

from . import dtypes as _dtypes
from .ops import load as _load

__version__ = '2.13.0+flambeau.0.1'

from .autograd.modes import (enable_grad, inference_mode, is_grad_enabled, is_inference_mode_enabled, no_grad,
                             set_grad_enabled)
from .device import device
from .dtypes import (can_cast, dtype, finfo, get_default_dtype, iinfo, promote_types, set_default_dtype)
from .tensor import (Parameter, Size, Tensor, channels_last, channels_last_3d, contiguous_format, layout, memory_format,
                     preserve_format, sparse_coo, strided)

_load(*importlib.import_module('.ops', __name__).CORE)

from .ops.definition import EXPORTS as _EXPORTS  # noqa: E402

globals().update(_dtypes.PUBLIC)
globals().update(_EXPORTS['torch'])

pi, e, inf, nan = math.pi, math.e, math.inf, math.nan
newaxis = None

_SUBPACKAGES = frozenset((
    'nn', 'optim', 'autograd', 'utils', 'linalg', 'fft', 'special', 'data', 'vision', 'random', 'serialization', 'cuda',
    'cpu', 'backends', 'func', 'testing', 'storage', 'jit', 'amp', 'distributions', 'signal', 'masked', 'return_types',
    'types',
    'overrides', 'multiprocessing', 'hub', 'version', 'functional', 'tensor', 'legacy', 'printing', '_utils', '_tensor',
    'compiler', 'settings'))
_FROM = {name: module for module, names in {
    'random': ('Generator', 'default_generator', 'manual_seed', 'seed', 'initial_seed', 'get_rng_state',
               'set_rng_state'),
    'serialization': ('save', 'load'),
    'printing': ('set_printoptions',),
    'storage': ('UntypedStorage', 'TypedStorage'),
    'legacy': ('typename', 'set_default_tensor_type'),
    'func': ('vmap',),
    'inspection': ('show_kernel',),
    'amp': ('autocast', 'is_autocast_enabled', 'get_autocast_dtype', 'is_autocast_cache_enabled'),
    'settings': ('get_num_threads', 'set_num_threads', 'get_num_interop_threads', 'set_num_interop_threads',
                 'use_deterministic_algorithms', 'are_deterministic_algorithms_enabled',
                 'is_deterministic_algorithms_warn_only_enabled', 'set_deterministic_debug_mode',
                 'get_deterministic_debug_mode', 'set_float32_matmul_precision', 'get_float32_matmul_precision',
                 'set_default_device', 'get_default_device', 'set_flush_denormal', 'set_warn_always',
                 'is_warn_always_enabled'),
}.items() for name in names}


def __getattr__(name):
    if name in _FROM:
        value = getattr(importlib.import_module('.' + _FROM[name], __name__), name)
    elif name in _SUBPACKAGES:
        try:
            return importlib.import_module('.' + name, __name__)
        except ModuleNotFoundError as error:
            if error.name != f'{__name__}.{name}':
                raise
            raise AttributeError(f'module {__name__!r} has no attribute {name!r}') from None
    elif name.startswith('__'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    else:
        value = _rare(name)
    globals()[name] = value
    return value


def _rare(name):
    """A name that some rarely used family of operations brings."""
    from .legacy import TYPES
    if name in TYPES:
        return TYPES[name]
    from .ops import load_all
    load_all()
    try:
        return _EXPORTS['torch'][name]
    except KeyError:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}') from None


def is_tensor(obj) -> bool:
    """Whether `obj` is a tensor."""
    return isinstance(obj, Tensor)


def is_storage(obj) -> bool:
    """Whether `obj` is a storage."""
    from .storage import TypedStorage, UntypedStorage
    return isinstance(obj, (TypedStorage, UntypedStorage))
