"""`torch.return_types`: the named tuples that functions with several results return."""


def __getattr__(name):
    from .ops import load_all
    from .ops.results import return_types
    load_all()
    found = return_types()
    if name in found:
        return found[name]
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__():
    from .ops import load_all
    from .ops.results import return_types
    load_all()
    return sorted(return_types())
