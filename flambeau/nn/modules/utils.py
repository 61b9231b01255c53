"""PyTorch's import path for the functions that make a tuple of a size given once for all dimensions."""
from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat

__all__ = ['consume_prefix_in_state_dict_if_present']


def _ntuple(count, name='parse'):
    def parse(x):
        return tuple(x) if isinstance(x, Iterable) else tuple(repeat(x, count))
    parse.__name__ = name
    return parse


_single = _ntuple(1, '_single')
_pair = _ntuple(2, '_pair')
_triple = _ntuple(3, '_triple')
_quadruple = _ntuple(4, '_quadruple')


def consume_prefix_in_state_dict_if_present(state_dict, prefix: str) -> None:
    """Takes a prefix such as 'module.' off the keys of a state dict and its metadata, in place.

    Keys keep their order; those without the prefix stay as they are.
    """
    for table, first in ((state_dict, prefix), (getattr(state_dict, '_metadata', {}), prefix.rstrip('.'))):
        for key in list(table):
            if key.startswith(prefix):
                table[key[len(prefix):]] = table.pop(key)
            elif key == first and first:  # the metadata of the module that had the prefix: now the root's
                table[''] = table.pop(key)
            else:
                table[key] = table.pop(key)
