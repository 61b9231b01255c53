"""`torch.version`: the versions of this package and of what it runs on."""
from . import __version__

__all__ = ['__version__', 'cuda', 'debug', 'git_version', 'hip', 'xpu']

debug = False
cuda = hip = xpu = git_version = None
