"""`DataLoader`: batches of a dataset, in this process or from worker processes.

Combines samplers, fetchers and the pool of workers; the order of batches is decided here.
"""
from __future__ import annotations

import itertools
import multiprocessing
import multiprocessing.context
import os
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from .collate import default_collate, default_convert
from .dataset import Dataset, IterableDataset
from .exchange import block_kind
from .fetch import fetcher_for
from .pool import WorkerPool
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, draw_seed
from .worker import ExceptionWrapper, Fetch, Plan, Resume, StreamEnd

__all__ = ['DataLoader']

T_co = TypeVar('T_co', covariant=True)

FIXED = ('batch_size', 'batch_sampler', 'sampler', 'drop_last', 'dataset', 'persistent_workers')
SPARE_BLOCKS = 8  # per worker, above those that prefetching needs: batches that the program still holds


class EndlessSampler(Sampler):
    """What a stream is read by: it has no indices, and says itself when it ends."""

    def __iter__(self):
        return itertools.repeat(None)


def check_numbers(num_workers, timeout, prefetch_factor, persistent_workers):
    if num_workers < 0:
        raise ValueError('num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.')
    if timeout < 0:
        raise ValueError('timeout option should be non-negative')
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError('prefetch_factor option could only be specified in multiprocessing.'
                         'let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None.')
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError('prefetch_factor option should be non-negative')
    if persistent_workers and num_workers == 0:
        raise ValueError('persistent_workers option needs num_workers > 0')


def check_sampling(is_stream, batch_size, shuffle, sampler, batch_sampler, drop_last):
    if is_stream:
        for name, value in (('shuffle', shuffle or None), ('sampler', sampler), ('batch_sampler', batch_sampler)):
            if value is not None:
                raise ValueError(f'DataLoader with IterableDataset: expected unspecified {name} option, but got '
                                 f'{name}={value}')
    if sampler is not None and shuffle:
        raise ValueError('sampler option is mutually exclusive with shuffle')
    if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
        raise ValueError('batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last')
    if batch_size is None and drop_last:
        raise ValueError('batch_size=None option disables auto-batching and is mutually exclusive with drop_last')


class DataLoader(Generic[T_co]):
    """An iterable over the batches of `dataset`.

    Samples come in the order of `sampler` (random with `shuffle`), `batch_size` at a time, or as `batch_sampler` groups
    them, and `collate_fn` makes a batch of each list; `batch_size=None` gives single samples. With `num_workers` > 0 as
    many processes fetch `prefetch_factor` batches each in advance; `timeout` is in seconds, 0 waits for ever.
    `in_order=False` gives batches as they are ready. Random orders are drawn from `generator`, or the default one.

    Raises ValueError for options that contradict each other, in an iteration whatever the dataset raises, and
    RuntimeError where a worker is killed or the timeout is over.

    >>> [batch.tolist() for batch in DataLoader(range(5), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    _initialized = False

    def __init__(self, dataset: Dataset[T_co], batch_size: int | None = 1, shuffle: bool | None = None,
                 sampler: Sampler | Iterable | None = None, batch_sampler: Sampler[list] | Iterable[list] | None = None,
                 num_workers: int = 0, collate_fn: Callable | None = None, pin_memory: bool = False,
                 drop_last: bool = False, timeout: float = 0, worker_init_fn: Callable[[int], None] | None = None,
                 multiprocessing_context=None, generator=None, *, prefetch_factor: int | None = None,
                 persistent_workers: bool = False, pin_memory_device: str = '', in_order: bool = True):
        check_numbers(num_workers, timeout, prefetch_factor, persistent_workers)
        is_stream = isinstance(dataset, IterableDataset)
        check_sampling(is_stream, batch_size, shuffle, sampler, batch_sampler, drop_last)
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers > 0 and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
        self.generator = generator
        self.persistent_workers = persistent_workers
        if sampler is None:
            if is_stream:
                sampler = EndlessSampler()
            else:
                sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_sampler is not None:
            batch_size = None
        elif batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.collate_fn = collate_fn or (default_collate if self._auto_collation else default_convert)
        self._initialized = True
        self._announced_length = None  # of a stream, once somebody has asked for it
        self._iterator = None
        self.check_worker_number_rationality()

    def __setattr__(self, name, value):
        if self._initialized and name in FIXED:
            raise ValueError(f'{name} attribute should not be set after {type(self).__name__} is initialized')
        super().__setattr__(name, value)

    @property
    def multiprocessing_context(self):
        """The context whose processes are the workers; None for the default of `multiprocessing`."""
        return self._multiprocessing_context

    @multiprocessing_context.setter
    def multiprocessing_context(self, wanted):
        if wanted is not None and not self.num_workers > 0:
            raise ValueError('multiprocessing_context can only be used with multi-process loading (num_workers > 0), '
                             f'but got num_workers={self.num_workers}')
        if isinstance(wanted, str):
            known = multiprocessing.get_all_start_methods()
            if wanted not in known:
                raise ValueError('multiprocessing_context option should specify a valid start method in '
                                 f'{known!r}, but got multiprocessing_context={wanted!r}')
            wanted = multiprocessing.get_context(wanted)
        if wanted is not None and not isinstance(wanted, multiprocessing.context.BaseContext):
            raise TypeError('multiprocessing_context option should be a valid context object or a string specifying '
                            f'the start method, but got multiprocessing_context={wanted}')
        self._multiprocessing_context = wanted

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self):
        return self.batch_sampler if self._auto_collation else self.sampler

    def __iter__(self) -> Iterator:
        if self.num_workers == 0:
            return SerialIterator(self)
        self.check_worker_number_rationality()
        if not self.persistent_workers:
            return ParallelIterator(self)
        if self._iterator is None or self._iterator.pool.closed:
            self._iterator = ParallelIterator(self)
        else:
            self._iterator.restart(self)
        return self._iterator

    def __len__(self) -> int:
        """Batches of an iteration (samples without batching). For a stream, from its own announced length."""
        if not isinstance(self.dataset, IterableDataset):
            return len(self._index_sampler)
        length = self._announced_length = len(self.dataset)
        if self.batch_size is None:
            return length
        whole, rest = divmod(length, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def check_worker_number_rationality(self):
        """Warns where there are more workers than processors that this process may use."""
        available = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
        if available is None or self.num_workers <= available:
            return
        warnings.warn(f'This DataLoader will create {self.num_workers} worker processes in total. Our suggested max '
                      f'number of worker in current system is {available}, which is smaller than what this DataLoader '
                      'is going to create. Please be aware that excessive worker creation might get DataLoader running '
                      'slow or even freeze, lower the worker number to avoid potential slowness/freeze if necessary.',
                      stacklevel=3)


class LoaderIterator:
    """One iteration over a loader; draws the base seed of the workers even where there are none."""

    def __init__(self, loader: DataLoader):
        if loader.pin_memory:
            warnings.warn("'pin_memory' argument is set as true but no accelerator is found, then device pinned memory "
                          "won't be used.", stacklevel=3)
        self.dataset = loader.dataset  # the loader itself may own this iterator: a reference back would be a cycle
        self.index_sampler = loader._index_sampler
        self.num_workers = loader.num_workers
        self.begin(loader)
        self.base_seed = draw_seed(loader.generator)

    def begin(self, loader: DataLoader):
        self.indices = iter(self.index_sampler)
        self.announced_length = loader._announced_length
        self.yielded = 0

    def __iter__(self):
        return self

    def __len__(self) -> int:
        return len(self.index_sampler)

    def __getstate__(self):
        raise NotImplementedError(f'{type(self).__name__} cannot be pickled')

    def next_batch(self):
        raise NotImplementedError

    def __next__(self):
        batch = self.next_batch()
        self.yielded += 1
        if self.announced_length is not None and self.yielded > self.announced_length:
            self.warn_of_length()
        return batch

    def warn_of_length(self):
        text = (f'Length of IterableDataset {self.dataset} was reported to be {self.announced_length}'
                f'(when accessing len(dataloader)), but {self.yielded} samples have been fetched. ')
        if self.num_workers > 0:
            text += ('For multiprocessing data-loading, this could be caused by not properly configuring the '
                     'IterableDataset replica at each worker: see get_worker_info().')
        warnings.warn(text, stacklevel=3)


class SerialIterator(LoaderIterator):
    """Fetches in this process."""

    def __init__(self, loader: DataLoader):
        if loader.timeout != 0:
            raise AssertionError('timeout needs num_workers > 0: this process cannot wait for itself')
        super().__init__(loader)
        self.fetcher = fetcher_for(loader.dataset, loader._auto_collation, loader.collate_fn, loader.drop_last)

    def next_batch(self):
        return self.fetcher.fetch(next(self.indices))


class ParallelIterator(LoaderIterator):
    """Deals tasks out to workers in turn, keeps `prefetch_factor` per worker under way, gives results in order."""

    def __init__(self, loader: DataLoader):
        if loader.prefetch_factor == 0:
            raise AssertionError('prefetch_factor must be greater than 0 with num_workers > 0')
        super().__init__(loader)
        self.persistent = loader.persistent_workers
        self.in_order = loader.in_order
        self.timeout = loader.timeout
        self.round = 0
        self.most = loader.prefetch_factor * loader.num_workers  # tasks under way
        context = loader.multiprocessing_context or multiprocessing.get_context()
        kind = block_kind()
        plans = [Plan(k, loader.num_workers, self.base_seed, loader.dataset, loader._auto_collation, loader.collate_fn,
                      loader.drop_last, loader.worker_init_fn, kind) for k in range(loader.num_workers)]
        self.pool = WorkerPool(context, plans, loader.prefetch_factor + SPARE_BLOCKS)
        self.finalizer = weakref.finalize(self, self.pool.close)  # at the latest when the interpreter exits
        self.begin(loader)  # a sampler is asked anew, as PyTorch does: it may draw when asked
        self.deal()

    def restart(self, loader: DataLoader):
        """Begins another iteration with the same workers."""
        self.begin(loader)
        self.round += 1
        for worker in range(self.num_workers):
            self.pool.send(worker, Resume(self.round))
        self.deal()

    def deal(self):
        self.active = [True] * self.num_workers
        self.turns = itertools.cycle(range(self.num_workers))
        self.given = 0  # tasks so far
        self.due = 0  # the next task to give back
        self.worker_of: dict[int, int] = {}  # tasks under way
        self.arrived: dict[int, Any] = {}  # results that came before their turn
        for _ in range(self.most):
            self.give_task()

    def give_task(self):
        """Gives the next indices to the worker whose turn it is, if there are any left of both."""
        try:
            index = next(self.indices)
        except StopIteration:
            return
        worker = self.choose_worker()
        if worker is not None:
            self.pool.send(worker, Fetch(self.round, self.given, index))
            self.worker_of[self.given] = worker
            self.given += 1

    def choose_worker(self) -> int | None:
        """The next active worker; without order, the next that has less than its share to do."""
        busy = list(self.worker_of.values())
        share = self.most // max(1, sum(self.active))
        for worker in itertools.islice(self.turns, len(self.active)):
            if self.active[worker] and (self.in_order or busy.count(worker) < share):
                return worker
        return None

    def next_batch(self):
        while True:
            while self.due < self.given and self.due not in self.worker_of and self.due not in self.arrived:
                self.due += 1  # given back already, or lost with the end of a worker's stream
            if self.due in self.arrived:
                return self.give_back(self.arrived.pop(self.due))
            if self.due == self.given or self.pool.closed:
                self.finish()
                raise StopIteration
            worker, task, data = self.receive()
            if isinstance(data, StreamEnd):
                self.retire(worker)
                self.give_task()
                continue
            del self.worker_of[task]
            if task == self.due or not self.in_order:
                return self.give_back(data)
            self.arrived[task] = data

    def receive(self) -> tuple[int, int, Any]:
        """(worker, task, result) of this round that arrives next."""
        while True:
            message = self.pool.receive(self.timeout or None)
            if message is None:
                raise RuntimeError(f'DataLoader timed out after {self.timeout} seconds')
            worker, (round, task), data = message
            if round == self.round:
                return worker, task, data

    def retire(self, worker: int):
        """A worker's stream is over: the tasks it still had are lost."""
        self.active[worker] = False
        self.worker_of = {task: other for task, other in self.worker_of.items() if other != worker}
        if not self.persistent:
            self.pool.dismiss(worker)

    def give_back(self, data):
        self.give_task()
        if isinstance(data, ExceptionWrapper):
            data.reraise()
        return data

    def finish(self):
        if not self.persistent:
            self.finalizer()
