"""`torch.utils`: data, checkpointing and the like; each part is imported when it is first used."""
import importlib
import pkgutil

_PARTS = frozenset(module.name for module in pkgutil.iter_modules(__path__))


def __getattr__(name):
    if name in _PARTS:
        return importlib.import_module(f'.{name}', __name__)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__():
    return sorted({*globals(), *_PARTS})
