"""Datasets: where samples come from, by index or as a stream.

Knows nothing of batches, samplers, processes or the loader. `__getitems__`, which takes a list of indices, is the one
optional method through which a dataset can hand over many samples at once.
"""
from __future__ import annotations

import bisect
import itertools
import math
import operator
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np

from .. import randperm
from ..tensor import wrap

__all__ = ['Dataset', 'IterableDataset', 'TensorDataset', 'StackDataset', 'ConcatDataset', 'ChainDataset', 'Subset',
           'random_split']

T = TypeVar('T')
T_co = TypeVar('T_co', covariant=True)


class Dataset(Generic[T_co]):
    """Samples by index: subclasses define `__getitem__(index)` and, for samplers and `len(loader)`, `__len__()`.

    >>> class Squares(Dataset):
    ...     def __getitem__(self, index): return index ** 2
    ...     def __len__(self): return 10
    """

    def __getitem__(self, index) -> T_co:
        raise NotImplementedError('Subclasses of Dataset should implement __getitem__.')

    def __add__(self, other: Dataset[T_co]) -> ConcatDataset[T_co]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co], Iterable[T_co]):
    """Samples as a stream: subclasses define `__iter__()`.

    With several worker processes each of them iterates over its own copy; `get_worker_info()` tells `__iter__` which
    part of the stream is its own.
    """

    def __add__(self, other: Dataset[T_co]) -> ChainDataset:
        return ChainDataset([self, other])


class TensorRows(Sequence):
    """The samples of a `TensorDataset` at some indices, gathered with one indexing per tensor.

    A sequence of tuples, as any collate function expects; `columns` are the same samples already stacked.
    """

    def __init__(self, columns: list, length: int):
        self.columns = columns
        self._length = length

    def __len__(self):
        return self._length

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._length))]
        return tuple(column[index] for column in self.columns)


def gather_rows(tensor, rows: np.ndarray):
    """`tensor[rows]`: a new contiguous tensor; recorded by autograd only where it has to be."""
    if tensor.requires_grad:
        return tensor[rows.tolist()]
    return wrap(np.take(tensor._array, rows, axis=0))


class TensorDataset(Dataset[tuple]):
    """Sample `i` is the tuple of every tensor's row `i`. All tensors have the same size in dimension 0.

    >>> TensorDataset(torch.arange(6).view(3, 2), torch.arange(3))[1]
    (tensor([2, 3]), tensor(1))
    """

    def __init__(self, *tensors):
        if any(tensors[0].size(0) != tensor.size(0) for tensor in tensors):
            raise AssertionError('Size mismatch between tensors: their sizes in dimension 0 are '
                                 f'{[tensor.size(0) for tensor in tensors]}')
        self.tensors = tensors

    def __getitem__(self, index):
        return tuple(tensor[index] for tensor in self.tensors)

    def __getitems__(self, indices):
        """The samples at `indices`, read with one indexing per tensor. Raises IndexError for an index out of range."""
        if type(self).__getitem__ is not TensorDataset.__getitem__:  # a subclass that makes its samples otherwise
            return [self[index] for index in indices]
        try:
            rows = np.array([operator.index(index) for index in indices], np.intp)
        except TypeError:  # not integers: whatever indexing itself makes of them
            return [self[index] for index in indices]
        return TensorRows([gather_rows(tensor, rows) for tensor in self.tensors], len(rows))

    def __len__(self) -> int:
        return self.tensors[0].size(0)


def fetch_many(dataset, indices: list) -> Sequence:
    """The samples at `indices`, through the dataset's `__getitems__` where it has one."""
    many = getattr(dataset, '__getitems__', None)
    if not callable(many):
        return [dataset[index] for index in indices]
    items = many(indices)
    if len(items) != len(indices):
        raise ValueError(f"Nested dataset's output size mismatch. Expected {len(indices)}, got {len(items)}")
    return items


class StackDataset(Dataset):
    """Puts several datasets side by side: a sample is the tuple (positional) or dict (keywords) of their samples."""

    def __init__(self, *args, **kwargs):
        if args and kwargs:
            raise ValueError('Supported either ``tuple``- (via ``args``) or``dict``- (via ``kwargs``) like '
                             'input/output, but both types are given.')
        if not args and not kwargs:
            raise ValueError('At least one dataset should be passed')
        self.datasets = args or kwargs
        lengths = [len(dataset) for dataset in self._members()]
        if len(set(lengths)) > 1:
            raise ValueError(f'Size mismatch between datasets: {lengths}')
        self._length = lengths[0]

    def _members(self):
        return self.datasets.values() if isinstance(self.datasets, dict) else self.datasets

    def _sample(self, values):
        return dict(zip(self.datasets, values)) if isinstance(self.datasets, dict) else tuple(values)

    def __getitem__(self, index):
        return self._sample(dataset[index] for dataset in self._members())

    def __getitems__(self, indices: list) -> list:
        columns = [fetch_many(dataset, indices) for dataset in self._members()]
        return [self._sample(values) for values in zip(*columns, strict=True)]

    def __len__(self) -> int:
        return self._length


class ConcatDataset(Dataset[T_co]):
    """Several indexable datasets one after the other.

    Attribute `cumulative_sizes`: the index after each dataset's last sample.
    """

    def __init__(self, datasets: Iterable[Dataset]):
        self.datasets = list(datasets)
        if not self.datasets:
            raise AssertionError('datasets should not be an empty iterable')
        if any(isinstance(dataset, IterableDataset) for dataset in self.datasets):
            raise AssertionError('ConcatDataset does not support IterableDataset')
        self.cumulative_sizes = self.cumsum(self.datasets)

    @staticmethod
    def cumsum(sequence) -> list[int]:
        return list(itertools.accumulate(len(dataset) for dataset in sequence))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, idx):
        if idx < 0:
            if -idx > len(self):
                raise ValueError('absolute value of index should not exceed dataset length')
            idx += len(self)
        which = bisect.bisect_right(self.cumulative_sizes, idx)
        return self.datasets[which][idx - (self.cumulative_sizes[which - 1] if which else 0)]

    @property
    def cummulative_sizes(self):
        warnings.warn('`cummulative_sizes` attribute is renamed to `cumulative_sizes`', FutureWarning, stacklevel=2)
        return self.cumulative_sizes


class ChainDataset(IterableDataset):
    """Several streams one after the other; `datasets` is read anew by each iteration."""

    def __init__(self, datasets: Iterable[Dataset]):
        self.datasets = datasets

    def _streams(self) -> Iterator[IterableDataset]:
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise AssertionError('ChainDataset only supports IterableDataset')
            yield dataset

    def __iter__(self):
        return itertools.chain.from_iterable(self._streams())

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self._streams())


class Subset(Dataset[T_co]):
    """The samples of `dataset` at `indices`.

    Raises NotImplementedError for a subclass with its own `__getitem__` but not `__getitems__`, which loaders use.
    """

    def __init__(self, dataset: Dataset[T_co], indices: Sequence[int]):
        mine = type(self)
        if mine.__getitem__ is not Subset.__getitem__ and mine.__getitems__ is Subset.__getitems__:
            raise NotImplementedError(
                f'{mine.__name__} overrides __getitem__ but not __getitems__. When subclassing Subset and overriding '
                '__getitem__, you must also override __getitems__ to ensure DataLoader works correctly with your '
                'custom logic. A simple implementation:\n\ndef __getitems__(self, indices):\n'
                '    return [self.__getitem__(idx) for idx in indices]')
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, idx):
        if isinstance(idx, list):
            return self.dataset[[self.indices[i] for i in idx]]
        return self.dataset[self.indices[idx]]

    def __getitems__(self, indices: list[int]):
        return fetch_many(self.dataset, [self.indices[idx] for idx in indices])

    def __len__(self) -> int:
        return len(self.indices)


def sizes_of_fractions(total: int, fractions: Sequence[float]) -> list[int]:
    """`floor(total * fraction)` for each fraction, what remains dealt out one by one from the first on."""
    for i, fraction in enumerate(fractions):
        if fraction < 0 or fraction > 1:
            raise ValueError(f'Fraction at index {i} is not between 0 and 1')
    sizes = [math.floor(total * fraction) for fraction in fractions]
    for i in range(total - sum(sizes)):
        sizes[i % len(sizes)] += 1
    return sizes


def random_split(dataset: Dataset[T], lengths: Sequence[int | float], generator=None) -> list[Subset[T]]:
    """Non-overlapping random subsets of the given lengths, or fractions that sum to 1.

    Draws one `randperm(len(dataset))`. Raises ValueError where lengths do not sum to the length of the dataset.

    >>> [len(part) for part in random_split(range(10), [0.7, 0.3])]
    [7, 3]
    """
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        lengths = sizes_of_fractions(len(dataset), lengths)
        for i, length in enumerate(lengths):
            if length == 0:
                warnings.warn(f'Length of split at index {i} is 0. This might result in an empty dataset.',
                              stacklevel=2)
    if sum(lengths) != len(dataset):
        raise ValueError('Sum of input lengths does not equal the length of the input dataset!')
    order = randperm(sum(lengths), generator=generator).tolist()
    ends = itertools.accumulate(lengths)
    return [Subset(dataset, order[end - length:end]) for end, length in zip(ends, lengths, strict=True)]
