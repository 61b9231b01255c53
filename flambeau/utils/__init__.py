"""`torch.utils`: sub-packages for data, checkpointing and the like, each imported when it is first used."""
import importlib

SUBMODULES = ('data', 'hooks')


def __getattr__(name):
    if name in SUBMODULES:
        return importlib.import_module(f'.{name}', __name__)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__():
    return sorted([*globals(), *SUBMODULES])
