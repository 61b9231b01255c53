"""`torch.nn.functional`: every function of networks under PyTorch's name; the formulas are in flambeau/ops."""
from ..ops import load as _load
from ..ops.definition import exports as _exports

_load('activation', 'softmax')
globals().update(_exports('nn.functional'))


def __getattr__(name):
    """Names of families that are loaded when first asked for."""
    if not name.startswith('__'):
        from ..ops import load_all
        load_all()
        if name in _exports('nn.functional'):
            value = globals()[name] = _exports('nn.functional')[name]
            return value
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__():
    from ..ops import load_all
    load_all()
    return sorted(_exports('nn.functional'))
