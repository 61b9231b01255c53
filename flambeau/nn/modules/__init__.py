"""PyTorch's import paths for layers, such as `torch.nn.modules.batchnorm`: other names of the files one folder up."""
import importlib
import pkgutil
import sys

from .. import __path__ as _folder
from . import module, utils
from .module import Module

# files of PyTorch's whose layers lie here in a file of another name
_ELSEWHERE = {'batchnorm': 'normalization', 'instancenorm': 'normalization', 'channelshuffle': 'pixelshuffle'}
_OWN = {'modules', 'module', 'utils', 'functional', 'init', 'parallel', 'parameter', 'hooks', 'state', 'members',
        'location', 'attention', 'common_types'}

for _file in pkgutil.iter_modules(_folder):
    if _file.name not in _OWN:
        _layers = importlib.import_module(f'..{_file.name}', __name__)
        sys.modules[f'{__name__}.{_file.name}'] = globals()[_file.name] = _layers
        globals().update((name, getattr(_layers, name)) for name in _layers.__all__)

for _name, _file in _ELSEWHERE.items():
    sys.modules[f'{__name__}.{_name}'] = globals()[_name] = globals()[_file]

globals()['activation'].MultiheadAttention = globals()['MultiheadAttention']  # which PyTorch has in that file
