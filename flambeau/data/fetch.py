"""Fetching: what the indices of one batch become, for indexable datasets and for streams.

Runs in the process that loads the data, which may be a worker; knows nothing of either.
"""
from __future__ import annotations

from collections.abc import Callable

from .collate import default_collate
from .dataset import IterableDataset, TensorRows

__all__ = ['Fetcher', 'IndexFetcher', 'StreamFetcher', 'fetcher_for']


class Fetcher:
    """`fetch(index)`: the collated samples at a list of indices, or the converted single sample without batching."""

    def __init__(self, dataset, auto_collation: bool, collate_fn: Callable, drop_last: bool):
        self.dataset = dataset
        self.auto_collation = auto_collation
        self.collate_fn = collate_fn
        self.drop_last = drop_last

    def fetch(self, index):
        raise NotImplementedError


class IndexFetcher(Fetcher):
    """Reads an indexable dataset, all samples of a batch at once where it has `__getitems__`."""

    def fetch(self, index):
        if not self.auto_collation:
            return self.collate_fn(self.dataset[index])
        many = getattr(self.dataset, '__getitems__', None)
        samples = many(index) if many else [self.dataset[i] for i in index]
        if isinstance(samples, TensorRows) and self.collate_fn is not default_collate:
            samples = list(samples)  # another function may rely on what it has always been given
        return self.collate_fn(samples)


class StreamFetcher(Fetcher):
    """Reads a stream; the indices only say how many samples are wanted. Raises StopIteration at its end."""

    def __init__(self, dataset, auto_collation, collate_fn, drop_last):
        super().__init__(dataset, auto_collation, collate_fn, drop_last)
        self.samples = iter(dataset)
        self.ended = False

    def fetch(self, index):
        if self.ended:
            raise StopIteration
        if not self.auto_collation:
            return self.collate_fn(next(self.samples))
        batch = []
        for _ in index:
            try:
                batch.append(next(self.samples))
            except StopIteration:
                self.ended = True
                break
        if not batch or (self.drop_last and len(batch) < len(index)):
            raise StopIteration
        return self.collate_fn(batch)


def fetcher_for(dataset, auto_collation: bool, collate_fn: Callable, drop_last: bool) -> Fetcher:
    kind = StreamFetcher if isinstance(dataset, IterableDataset) else IndexFetcher
    return kind(dataset, auto_collation, collate_fn, drop_last)
