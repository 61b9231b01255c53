"""Collating: many samples into one batch, and NumPy values into tensors, through any nesting of containers.

Knows nothing of datasets, samplers or processes.
"""
from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence

import numpy as np

from .. import as_tensor, stack, tensor
from ..dtypes import float64
from ..tensor import Tensor
from .dataset import TensorRows

__all__ = ['collate', 'default_collate', 'default_collate_fn_map', 'default_convert']

UNSUPPORTED = 'default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}'


def holds_no_numbers(array: np.ndarray) -> bool:
    return array.dtype.kind in 'SUO'


def is_named_tuple(value) -> bool:
    return isinstance(value, tuple) and hasattr(value, '_fields')


def rebuild_mapping(model: Mapping, values: dict):
    """`values` in a mapping of the type of `model`, with its other attributes, where that type allows it."""
    try:
        if isinstance(model, MutableMapping):
            clone = copy.copy(model)
            clone.update(values)
            return clone
        return type(model)(values)
    except TypeError:
        return values


def rebuild_sequence(model: Sequence, values: list):
    """`values` in a sequence of the type of `model` where that type allows it; tuples become lists."""
    if isinstance(model, tuple):
        return type(model)(*values) if is_named_tuple(model) else values
    try:
        if isinstance(model, MutableSequence):
            clone = copy.copy(model)
            for i, value in enumerate(values):
                clone[i] = value
            return clone
        return type(model)(values)
    except TypeError:
        return values


def default_convert(data):
    """NumPy arrays and numbers as tensors, inside any containers; everything else as it is.

    >>> default_convert([np.zeros(2), 'text'])
    [tensor([0., 0.], dtype=torch.float64), 'text']
    """
    if isinstance(data, Tensor) or isinstance(data, (str, bytes)):
        return data
    if isinstance(data, np.ndarray) and holds_no_numbers(data):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        return as_tensor(data)
    if isinstance(data, Mapping):
        return rebuild_mapping(data, {key: default_convert(data[key]) for key in data})
    if isinstance(data, Sequence):
        return rebuild_sequence(data, [default_convert(value) for value in data])
    return data


def function_for(kind: type, collate_fn_map: dict) -> Callable | None:
    if kind in collate_fn_map:
        return collate_fn_map[kind]
    return next((function for known, function in collate_fn_map.items() if issubclass(kind, known)), None)


def check_keys(batch):
    """Raises KeyError where a mapping among the samples lacks a key of the first."""
    for position, sample in enumerate(batch):
        if not batch[0].keys() <= sample.keys():
            raise KeyError(f'sample {position} of the batch lacks the keys '
                           f'{sorted(batch[0].keys() - sample.keys(), key=str)} '
                           'that its first sample has: default_collate needs the same keys in all')


def collate(batch, *, collate_fn_map: dict[type | tuple[type, ...], Callable] | None = None):
    """The samples of `batch`, put together by the function that `collate_fn_map` has for their type.

    The functions are called with `(samples, collate_fn_map=...)`. Mappings, named tuples and sequences are gone
    through. Raises TypeError for a type that has no function, RuntimeError for sequences of unequal lengths.
    """
    first = batch[0]
    function = function_for(type(first), collate_fn_map or {})
    if function is not None:
        return function(batch, collate_fn_map=collate_fn_map)
    if isinstance(first, Mapping):
        check_keys(batch)
        return rebuild_mapping(first, {key: collate([sample[key] for sample in batch], collate_fn_map=collate_fn_map)
                                       for key in first})
    if not isinstance(first, Sequence):
        raise TypeError(UNSUPPORTED.format(type(first)))
    if not is_named_tuple(first) and any(len(sample) != len(first) for sample in batch):
        raise RuntimeError('each element in list of batch should be of equal size')
    return rebuild_sequence(first, [collate(column, collate_fn_map=collate_fn_map) for column in zip(*batch)])


def collate_tensors(batch, *, collate_fn_map=None):
    return stack(batch, 0)


def collate_arrays(batch, *, collate_fn_map=None):
    if holds_no_numbers(batch[0]):
        raise TypeError(UNSUPPORTED.format(batch[0].dtype))
    return collate([as_tensor(array) for array in batch], collate_fn_map=collate_fn_map)


def collate_scalars(batch, *, collate_fn_map=None):
    return as_tensor(batch)


def collate_floats(batch, *, collate_fn_map=None):
    return tensor(batch, dtype=float64)


def collate_integers(batch, *, collate_fn_map=None):
    return tensor(batch)


def collate_text(batch, *, collate_fn_map=None):
    return batch


default_collate_fn_map: dict[type | tuple[type, ...], Callable] = {
    Tensor: collate_tensors,
    np.ndarray: collate_arrays,
    (np.bool_, np.number, np.object_): collate_scalars,
    float: collate_floats,
    int: collate_integers,
    str: collate_text,
    bytes: collate_text,
}


def default_collate(batch):
    """The batch as a loader makes it by default: a new dimension 0 for tensors, arrays and numbers, inside any
    containers; strings stay lists.

    >>> default_collate([{'x': 1.0, 'y': 1}, {'x': 2.0, 'y': 2}])
    {'x': tensor([1., 2.], dtype=torch.float64), 'y': tensor([1, 2])}
    """
    if isinstance(batch, TensorRows):  # gathered already
        return list(batch.columns)
    return collate(batch, collate_fn_map=default_collate_fn_map)
