"""Datasets, samplers, collating and loaders: the same batches and random draws as PyTorch, and robust workers."""
import collections.abc
import gc
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import flambeau
from flambeau.data import exchange
from flambeau.utils import data as fdata

BIG = (64, 1024)  # float32: well above what goes through the connection


class Numbers(fdata.Dataset):
    """Index, and the three random generators that a worker seeds."""

    def __init__(self, n=12):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return np.array([index, random.getrandbits(30), np.random.randint(2 ** 30), flambeau.initial_seed() % 2 ** 40])


class Rows(fdata.Dataset):
    """Large rows, so that batches go through shared memory."""

    def __init__(self, n=20):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return np.full(BIG, index, np.float32), index


class Broken(Rows):
    def __getitem__(self, index):
        if index == 5:
            raise self.failure(index)
        return super().__getitem__(index)

    def __init__(self, failure):
        super().__init__()
        self.failure = failure


class Act(fdata.Dataset):
    """Does something to its process at index 3."""

    def __init__(self, act, *arguments):
        self.act, self.arguments = act, arguments

    def __len__(self):
        return 8

    def __getitem__(self, index):
        if index == 3:
            self.act(*self.arguments)
        return index


class Stream(fdata.IterableDataset):
    """0 ... n - 1, shared out among the workers unless `whole`."""

    def __init__(self, n, whole=False, length=None):
        self.n, self.whole, self.length = n, whole, length

    def __iter__(self):
        info = fdata.get_worker_info()
        if info is None or self.whole:
            return iter(range(self.n))
        return iter(range(info.id, self.n, info.num_workers))

    def __len__(self):
        return self.n if self.length is None else self.length


def kill_self():
    os.kill(os.getpid(), signal.SIGKILL)


def shared_mappings():
    """How many batch blocks this process has mapped."""
    return sum('flambeau-batch' in line or '/psm_' in line for line in Path('/proc/self/maps').read_text().splitlines())


def named_blocks():
    """The shared memory blocks that have a name now; semaphores of tests that run beside this one are none."""
    names = os.listdir('/dev/shm') if os.path.isdir('/dev/shm') else ()
    return {name for name in names if not name.startswith('sem.')}


def plain(value):
    """`value` with tensors as (dtype, nested list), whichever library they are of."""
    if hasattr(value, 'detach'):
        return str(value.dtype), value.detach().tolist()
    if isinstance(value, collections.abc.Mapping):
        return type(value).__name__, {key: plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [plain(v) for v in value]
    return value


@pytest.fixture(params=['anonymous', 'named'])
def blocks(request, monkeypatch):
    """Both kinds of shared memory."""
    if request.param == 'anonymous' and exchange.block_kind() is not exchange.AnonymousBlock:
        pytest.skip('this platform has no anonymous shared memory')
    if request.param == 'named':
        monkeypatch.setattr('flambeau.data.loader.block_kind', lambda: exchange.NamedBlock)
    before = named_blocks()
    yield
    assert named_blocks() <= before


# ---- datasets ----------------------------------------------------------------------------------------------

def test_tensor_dataset_fetches_batches_as_samples_would_be():
    x = flambeau.tensor(np.arange(24, dtype=np.float32).reshape(6, 4))
    y = flambeau.tensor(np.arange(6))
    whole = fdata.TensorDataset(x, y)
    for dataset in (whole, fdata.Subset(whole, [5, 0, 3]), fdata.Subset(fdata.Subset(whole, [5, 0, 3]), [2, 1])):
        samples = [dataset[i] for i in range(len(dataset))]
        for batch, begin in zip(fdata.DataLoader(dataset, batch_size=2), range(0, 6, 2)):
            assert plain(batch) == plain(fdata.default_collate(samples[begin:begin + 2]))
        lists = list(fdata.DataLoader(dataset, batch_size=2, collate_fn=list))
        assert plain(lists[0]) == plain(samples[:2]) and isinstance(lists[0], list)
    with pytest.raises(IndexError):
        whole.__getitems__([6])
    with pytest.raises(AssertionError, match='Size mismatch'):
        fdata.TensorDataset(x, y[:2])


def test_tensor_dataset_subclass_keeps_its_own_samples():
    class Doubled(fdata.TensorDataset):
        def __getitem__(self, index):
            return tuple(2 * tensor for tensor in super().__getitem__(index))

    loader = fdata.DataLoader(Doubled(flambeau.tensor([1., 2., 3.])), batch_size=3)
    assert next(iter(loader))[0].tolist() == [2, 4, 6]


def test_containers_of_datasets():
    concat = fdata.ConcatDataset([range(3), range(10, 12)])
    assert [concat[i] for i in (0, 2, 3, 4, -1, -5)] == [0, 2, 10, 11, 11, 0] and len(concat) == 5
    with pytest.raises(ValueError, match='absolute value of index'):
        concat[-6]
    assert concat.cumulative_sizes == [3, 5]
    assert fdata.StackDataset(range(3), range(3, 6))[1] == (1, 4)
    named = fdata.StackDataset(a=fdata.Subset(range(9), [4, 5, 6]), b=range(3))
    assert named[1] == {'a': 5, 'b': 1} and named.__getitems__([2, 0]) == [{'a': 6, 'b': 2}, {'a': 4, 'b': 0}]
    chain = Stream(2) + Stream(3)
    assert list(chain) == [0, 1, 0, 1, 2] and len(chain) == 5
    assert isinstance(Rows() + Rows(), fdata.ConcatDataset)
    assert fdata.Dataset[int] is not None


@pytest.mark.parametrize('make, error, text', [
    (lambda: fdata.ConcatDataset([]), AssertionError, 'should not be an empty iterable'),
    (lambda: fdata.ConcatDataset([Stream(2)]), AssertionError, 'does not support IterableDataset'),
    (lambda: list(fdata.ChainDataset([range(2)])), AssertionError, 'only supports IterableDataset'),
    (lambda: fdata.StackDataset(), ValueError, 'At least one dataset'),
    (lambda: fdata.StackDataset(range(2), range(3)), ValueError, 'Size mismatch'),
    (lambda: fdata.StackDataset(range(2), a=range(2)), ValueError, 'both types are given'),
    (lambda: fdata.random_split(range(4), [1, 2]), ValueError, 'Sum of input lengths'),
    (lambda: fdata.random_split(range(4), [1.5, -.5]), ValueError, 'Fraction at index 0'),
    (lambda: fdata.Dataset()[0], NotImplementedError, '__getitem__'),
    (lambda: type('S', (fdata.Subset,), {'__getitem__': len})([1], [0]), NotImplementedError, '__getitems__'),
    (lambda: fdata.BatchSampler(range(3), 0, False), ValueError, 'batch_size should be a positive integer'),
    (lambda: fdata.BatchSampler(range(3), 2, 1), ValueError, 'drop_last should be a boolean'),
    (lambda: fdata.RandomSampler([]), ValueError, 'num_samples should be a positive integer'),
    (lambda: fdata.RandomSampler([1], replacement=1), TypeError, 'replacement should be a boolean'),
    (lambda: fdata.WeightedRandomSampler([[1.]], 1), ValueError, '1d sequence'),
    (lambda: fdata.WeightedRandomSampler([1.], True), ValueError, 'num_samples should be'),
    (lambda: fdata.DistributedSampler(range(3), 2, 2), ValueError, 'Invalid rank 2'),
])
def test_bad_datasets_and_samplers(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_random_split_warns_of_an_empty_part():
    with pytest.warns(UserWarning, match='Length of split at index 1 is 0'):
        parts = fdata.random_split(range(3), [.9, .1])
    assert sorted(parts[0].indices) == [0, 1, 2]


# ---- PyTorch's draws and batches ------------------------------------------------------------------------------

Point = collections.namedtuple('Point', 'x y')

DRAWS = {
    'shuffle': lambda lib, data: [list(data.DataLoader(range(10), 3, shuffle=True)) for _ in range(2)],
    'generator': lambda lib, data: list(data.DataLoader(range(10), 3, True, generator=lib.Generator().manual_seed(5))),
    'no shuffle': lambda lib, data: [list(data.DataLoader(range(4))), lib.rand(2)],
    'not begun': lambda lib, data: [iter(data.DataLoader(range(4), shuffle=True)) and 0, lib.rand(2)],
    'random': lambda lib, data: [list(data.RandomSampler(range(10), num_samples=n)) for n in (5, 10, 25)],
    'replacement': lambda lib, data: [list(data.RandomSampler(range(10), True, num_samples=n)) for n in (5, 32, 70)],
    'subset': lambda lib, data: list(data.SubsetRandomSampler([3, 5, 7, 9])),
    'weighted': lambda lib, data: list(data.WeightedRandomSampler([.1, .3, .6, .2], 9)),
    'weighted once': lambda lib, data: list(data.WeightedRandomSampler([.1, .3, .6, .2], 3, replacement=False)),
    'split': lambda lib, data: [part.indices for part in data.random_split(range(10), [.35, .35, .3])],
    'distributed': lambda lib, data: [list(data.DistributedSampler(range(n), r, k, shuffle=s, drop_last=d))
                                      for n in (1, 7, 8) for r in (1, 3) for k in range(r) for s in (0, 1)
                                      for d in (False, True)],
    'batches': lambda lib, data: [list(data.BatchSampler(range(7), 3, d)) for d in (False, True)],
    'lengths': lambda lib, data: [len(data.DataLoader(range(7), b, drop_last=d)) for b in (2, 7, 9)
                                  for d in (False, True)],
    'single': lambda lib, data: list(data.DataLoader(range(3), batch_size=None)),
    'batch sampler': lambda lib, data: list(data.DataLoader(range(5), batch_sampler=[[3, 1], [2]])),
    'stream': lambda lib, data: list(data.DataLoader(make_stream(data, 7), 3, drop_last=True)),
}


def make_stream(data, n):
    return type('Counting', (data.IterableDataset,), {'__iter__': lambda self: iter(range(n))})()


@pytest.mark.parametrize('name', DRAWS)
def test_same_draws_as_torch(name):
    torch = pytest.importorskip('torch')
    import torch.utils.data as tdata
    results = []
    for lib, data in ((torch, tdata), (flambeau, fdata)):
        lib.manual_seed(3)
        results.append(plain(DRAWS[name](lib, data)))
    assert results[0] == results[1]


COLLATED = [
    [1, 2], [1.5, 2.5], [True, False], ['a', 'b'], [b'a', b'b'],
    [np.float32(1), np.float32(2)], [np.float64(1), np.float64(2)], [np.int16(3), np.int16(4)],
    [np.zeros((2, 3), np.float16), np.ones((2, 3), np.float16)], [np.array(3), np.array(4)],
    [(1, 'a', 2.0), (2, 'b', 3.0)], [[1, 2], [3, 4]], [{'x': 1, 'y': [1., 2.]}, {'x': 2, 'y': [3., 4.]}],
    [Point(1, 2), Point(3, 4)], [collections.OrderedDict(a=1), collections.OrderedDict(a=2)],
    [collections.UserDict(a=1), collections.UserDict(a=2)], [range(2), range(2)],
]


@pytest.mark.parametrize('batch', COLLATED, ids=[str(i) for i in range(len(COLLATED))])
def test_collates_as_torch(batch):
    tdata = pytest.importorskip('torch').utils.data
    for name in ('default_collate', 'default_convert'):
        got, wanted = getattr(fdata, name)(batch), getattr(tdata, name)(batch)
        assert plain(got) == plain(wanted)


@pytest.mark.parametrize('batch, error, text', [
    ([object()], TypeError, 'batch must contain tensors, numpy arrays'),
    ([np.array(['a'])], TypeError, 'batch must contain tensors'),
    ([[1], [1, 2]], RuntimeError, 'each element in list of batch should be of equal size'),
    ([np.zeros(2), np.zeros(3)], RuntimeError, 'equal size'),
])
def test_what_cannot_be_collated(batch, error, text):
    with pytest.raises(error, match=text):
        fdata.default_collate(batch)


def test_collate_takes_a_table_of_functions():
    from flambeau.utils.data._utils.collate import collate, default_collate_fn_map

    def join(batch, *, collate_fn_map=None):
        return '+'.join(batch)

    table = {str: join, **{k: v for k, v in default_collate_fn_map.items() if k is not str}}
    assert plain(collate([('a', 1), ('b', 2)], collate_fn_map=table)) == ('list', ['a+b', ('torch.int64', [1, 2])])


@pytest.mark.parametrize('options, error, text', [
    (dict(num_workers=-1), ValueError, 'num_workers option should be non-negative'),
    (dict(timeout=-1), ValueError, 'timeout option should be non-negative'),
    (dict(prefetch_factor=2), ValueError, 'prefetch_factor option could only be specified'),
    (dict(num_workers=1, prefetch_factor=-2), ValueError, 'prefetch_factor option should be non-negative'),
    (dict(persistent_workers=True), ValueError, 'persistent_workers option needs num_workers > 0'),
    (dict(shuffle=True, sampler=[1]), ValueError, 'sampler option is mutually exclusive with shuffle'),
    (dict(batch_sampler=[[1]], batch_size=2), ValueError, 'batch_sampler option is mutually exclusive'),
    (dict(batch_size=None, drop_last=True), ValueError, 'batch_size=None option disables auto-batching'),
    (dict(dataset=Stream(3), shuffle=True), ValueError, 'expected unspecified shuffle option'),
    (dict(dataset=Stream(3), sampler=[1]), ValueError, 'expected unspecified sampler option'),
    (dict(dataset=Stream(3), batch_sampler=[[1]]), ValueError, 'expected unspecified batch_sampler option'),
    (dict(multiprocessing_context='fork'), ValueError, 'can only be used with multi-process loading'),
    (dict(num_workers=1, multiprocessing_context='bad'), ValueError, 'should specify a valid start method'),
    (dict(num_workers=1, multiprocessing_context=3), TypeError, 'should be a valid context object'),
])
def test_bad_options(options, error, text):
    with pytest.raises(error, match=text):
        fdata.DataLoader(**{'dataset': range(4), **options})


def test_loader_attributes_are_fixed():
    loader = fdata.DataLoader(range(4))
    with pytest.raises(ValueError, match='batch_size attribute should not be set after DataLoader is initialized'):
        loader.batch_size = 3
    loader.num_workers = 0
    with pytest.warns(UserWarning, match='pin_memory'):
        assert len(list(fdata.DataLoader(range(4), pin_memory=True))) == 4


def test_warns_where_a_stream_is_longer_than_it_said():
    loader = fdata.DataLoader(Stream(3, length=2), batch_size=1)
    assert len(loader) == 2
    with pytest.warns(UserWarning, match='was reported to be 2.*but 3 samples have been fetched'):
        list(loader)


# ---- workers -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize('persistent', [False, True])
def test_workers_draw_as_in_torch(persistent):
    torch = pytest.importorskip('torch')
    import torch.utils.data as tdata
    results = []
    for lib, data in ((torch, tdata), (flambeau, fdata)):
        lib.manual_seed(3)

        class Draws(Numbers):
            def __getitem__(self, index, lib=lib):
                own = lib.initial_seed() % 2 ** 40, lib.randint(10 ** 6, (1,)).item()
                return np.array([index, random.getrandbits(30), np.random.randint(2 ** 30), *own])

        loader = data.DataLoader(Draws(), 2, shuffle=True, num_workers=2, persistent_workers=persistent)
        results.append([plain(list(loader)) for _ in range(2)] + [plain(lib.rand(2))])
    assert results[0] == results[1]


@pytest.mark.parametrize('options', [dict(), dict(persistent_workers=True), dict(prefetch_factor=5)], ids=str)
def test_batches_come_through_shared_memory_in_order(blocks, options):
    loader = fdata.DataLoader(Rows(), batch_size=3, num_workers=2, **options)
    for _ in range(2):
        seen = []
        for x, y in loader:
            assert x.shape == (len(y), *BIG) and x.dtype is flambeau.float32
            assert x.numpy().min(axis=(1, 2)).tolist() == x.numpy().max(axis=(1, 2)).tolist() == y.tolist()
            seen += y.tolist()
        assert seen == list(range(20))
    del x, y, loader
    gc.collect()
    assert shared_mappings() == 0


def test_batches_that_are_kept_keep_their_values(blocks):
    loader = fdata.DataLoader(Rows(60), batch_size=1, num_workers=2)
    kept = [x for x, _ in loader]
    assert shared_mappings() < 60  # no more blocks than agreed: the others are copies
    kept[0] += 1
    assert [x.numpy().mean() for x in kept] == [1, *range(1, 60)]
    del kept
    gc.collect()
    assert shared_mappings() == 0


def test_blocks_are_filled_again_once_free_but_never_before():
    loader = iter(fdata.DataLoader(Rows(60), batch_size=1, num_workers=1))
    first, _ = next(loader)
    view = first[0, 0, :5]
    del first
    addresses = set()
    for i, (x, _) in enumerate(loader, 1):
        addresses.add(x.numpy().ctypes.data)
        assert view.tolist() == [0] * 5 and x.numpy()[0, 0, 0] == i
    assert len(addresses) < 10


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_a_block_that_a_child_may_see_is_not_filled_again():
    loader = iter(fdata.DataLoader(Rows(40), batch_size=1, num_workers=1))
    x, _ = next(loader)
    ready, write = os.pipe()
    answer, result = os.pipe()
    if os.fork() == 0:
        os.read(ready, 1)
        os.write(result, bytes([int(x.numpy().min() == x.numpy().max() == 0)]))
        os._exit(0)
    del x
    for _ in loader:
        pass
    os.write(write, b'x')
    assert os.read(answer, 1) == b'\x01'
    os.wait()
    for descriptor in (ready, write, answer, result):
        os.close(descriptor)


def test_any_structure_and_layout_arrives():
    wide = np.arange(2 * 3 * 4096, dtype=np.float32).reshape(2, 3, 4096)
    sent = {'channels last': wide.transpose(0, 2, 1), 'sliced': wide[:, ::2],
            'expanded': np.broadcast_to(wide, (2, 2, 3, 4096)), 'empty': np.empty((0, 3)), 'scalar': np.array(2.5),
            'text': 'x' * 100_000, 'bytes': b'y' * 100_000,
            'twice': [wide, wide],
            'date': np.array(['2020-01-01'], 'M8[D]'), 'object': np.array([None, 'a'], object),
            'bfloat16': wide.astype(flambeau.bfloat16.numpy)}
    sent['tensor'] = flambeau.tensor(wide)
    sent['parameter'] = flambeau.nn.Parameter(flambeau.tensor(wide))
    got, = fdata.DataLoader([sent], batch_size=None, num_workers=1, collate_fn=lambda value: value)
    for name in ('channels last', 'sliced', 'expanded', 'empty', 'scalar', 'date', 'object', 'bfloat16'):
        assert got[name].dtype == sent[name].dtype and np.array_equal(got[name], sent[name]), name
    assert got['channels last'].strides == sent['channels last'].strides
    assert got['text'] == sent['text'] and got['bytes'] == sent['bytes'] and got['twice'][0] is got['twice'][1]
    assert np.array_equal(got['tensor'].numpy(), wide)
    assert type(got['parameter']) is flambeau.nn.Parameter and got['parameter'].requires_grad


class TwoArguments(Exception):
    def __init__(self, a, b):
        super().__init__(a, b)


@pytest.mark.parametrize('failure, kind', [
    (lambda i: ValueError(f'index {i}'), ValueError), (lambda i: KeyError('missing'), KeyError),
    (lambda i: TwoArguments(1, 2), RuntimeError), (lambda i: type('Local', (Exception,), {})('x'), RuntimeError),
    (lambda i: StopIteration(), StopIteration)])
def test_exception_of_a_worker(failure, kind):
    loader = iter(fdata.DataLoader(Broken(failure), batch_size=2, num_workers=2))
    next(loader), next(loader)
    with pytest.raises(kind, match=r'^Caught .* in DataLoader worker process 0\.\nOriginal Traceback [\s\S]*'
                                   r'in __getitem__[\s\S]*raise self\.failure') as caught:
        next(loader)
    assert type(failure(5)).__name__ in str(caught.value)
    assert next(loader)[1].tolist() == [6, 7]  # it can go on


def test_failures_around_the_samples():
    def fail(worker):
        raise ValueError(f'no start of {worker}')

    with pytest.raises(ValueError, match='Caught ValueError in DataLoader worker process 0.*'):
        next(iter(fdata.DataLoader(range(4), num_workers=2, worker_init_fn=fail)))
    with pytest.raises(Exception, match='in DataLoader worker process 0'):
        next(iter(fdata.DataLoader(range(4), num_workers=1, collate_fn=lambda batch: (lambda: batch))))


@pytest.mark.parametrize('act, text', [(kill_self, 'killed by signal: Killed'), (lambda: os._exit(3), 'exit code 3')])
def test_a_worker_that_dies_is_reported_at_once(act, text):
    loader = fdata.DataLoader(Act(act), batch_size=2, num_workers=2)
    begin = time.monotonic()
    with pytest.raises(RuntimeError, match=rf'DataLoader worker \(pid\(s\) \d+\) exited unexpectedly \({text}\)'):
        list(loader)
    assert time.monotonic() - begin < 3


def test_a_persistent_loader_starts_anew_after_a_death(tmp_path):
    def die_once():
        if not (tmp_path / 'dead').exists():
            (tmp_path / 'dead').touch()
            kill_self()

    loader = fdata.DataLoader(Act(die_once), batch_size=2, num_workers=1, persistent_workers=True)
    with pytest.raises(RuntimeError, match='exited unexpectedly'):
        list(loader)
    assert [batch.tolist() for batch in loader] == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_timeout():
    loader = fdata.DataLoader(Act(time.sleep, 1), batch_size=2, num_workers=1, timeout=.2)
    with pytest.raises(RuntimeError, match='DataLoader timed out after 0.2 seconds'):
        list(loader)


def test_without_order_a_slow_batch_does_not_hold_up_the_others():
    loader = fdata.DataLoader(Act(time.sleep, .5), batch_size=1, num_workers=2, in_order=False)
    seen = [batch.item() for batch in loader]
    assert sorted(seen) == list(range(8)) and seen[3] != 3


@pytest.mark.parametrize('persistent', [False, True])
def test_streams_across_workers(persistent):
    loader = fdata.DataLoader(Stream(11), batch_size=2, num_workers=2, persistent_workers=persistent)
    for _ in range(2):
        batches = [batch.tolist() for batch in loader]
        assert sorted(sum(batches, [])) == list(range(11)) and batches[:2] == [[0, 2], [1, 3]]


def test_a_stream_that_every_worker_reads_whole():
    loader = fdata.DataLoader(Stream(5, whole=True), batch_size=None, num_workers=2)
    assert len(loader) == 5
    with pytest.warns(UserWarning, match='reported to be 5.*but .* samples have been fetched.*multiprocessing'):
        assert sorted(loader) == sorted(2 * list(range(5)))


def test_worker_info_and_init():
    def record(worker):
        info = fdata.get_worker_info()
        info.dataset.n = 100 * worker + info.num_workers

    class Told(Numbers):
        def __getitem__(self, index):
            info = fdata.get_worker_info()
            return info.id, info.num_workers, info.seed - flambeau.initial_seed(), self.n

    batches = list(fdata.DataLoader(Told(4), 1, num_workers=2, worker_init_fn=record))
    assert [[int(v) for v in batch] for batch in batches] == [[0, 2, 0, 2], [1, 2, 0, 102]] * 2
    assert fdata.get_worker_info() is None


@pytest.mark.parametrize('method', ['spawn', 'forkserver'])
def test_other_start_methods(method):
    loader = fdata.DataLoader(Rows(4), batch_size=2, num_workers=1, multiprocessing_context=method)
    assert [y.tolist() for _, y in loader] == [[0, 1], [2, 3]]


def test_unpicklable_dataset_with_spawn():
    with warnings.catch_warnings(record=True) as caught, pytest.raises(Exception, match='pickle'):
        warnings.simplefilter('always')
        iter(fdata.DataLoader([lambda: 0], num_workers=1, multiprocessing_context='spawn'))
    assert any('Got pickle error' in str(w.message) for w in caught)


def test_want_of_shared_memory_is_an_error(monkeypatch):
    def full(descriptor, offset, size):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'posix_fallocate', full)
    with pytest.raises(RuntimeError, match=r'unable to allocate \d+ bytes of shared memory.*No space left[\s\S]*shm'):
        list(fdata.DataLoader(Rows(2), num_workers=1))


# ---- the end of workers --------------------------------------------------------------------------------------

def children():
    return {process.pid for process in multiprocessing.active_children()}


@pytest.mark.parametrize('persistent', [False, True])
def test_workers_end_with_their_iterator(persistent):
    before = children()
    loader = fdata.DataLoader(Rows(), num_workers=2, persistent_workers=persistent)
    iterator = iter(loader)
    next(iterator)
    assert len(children() - before) == 2
    begin = time.monotonic()
    del iterator, loader
    assert children() <= before and time.monotonic() - begin < 2


PROGRAMS = {  # what the main program does after its first batch, and the exit code expected
    'end': ('pass', 0),
    'exit': ('sys.exit(3)', 3),
    'error': ('raise ValueError("x")', 1),
    'interrupted': ('os.killpg(0, signal.SIGINT); time.sleep(5)', -signal.SIGINT),
    'killed': ('os.kill(os.getpid(), signal.SIGKILL)', -signal.SIGKILL),
}


@pytest.mark.skipif(not os.path.isdir('/proc'), reason='looks for processes in /proc')
@pytest.mark.parametrize('name', PROGRAMS)
def test_no_worker_outlives_the_program(name, tmp_path):
    act, code = PROGRAMS[name]
    (tmp_path / 'program.py').write_text(textwrap.dedent(f'''
        import os, signal, sys, time
        import flambeau
        from flambeau.utils.data import DataLoader, TensorDataset
        dataset = TensorDataset(flambeau.zeros(64, 4096))
        loader = DataLoader(dataset, 4, num_workers=2, persistent_workers=True)
        iterator = iter(loader)
        kept = next(iterator)
        print(*[process.pid for process in iterator.pool.processes], flush=True)
        {act}
    '''))
    path = os.pathsep.join(p for p in sys.path if p)
    run = subprocess.run([sys.executable, 'program.py'], cwd=tmp_path, capture_output=True, text=True, timeout=60,
                         start_new_session=True,  # Ctrl-C reaches the whole process group
                         env={**os.environ, 'PYTHONPATH': path})
    pids = run.stdout.split()
    assert len(pids) == 2 and run.returncode == code, run.stderr
    for _ in range(50):
        alive = [pid for pid in pids if os.path.exists(f'/proc/{pid}') and is_running(pid)]
        if not alive:
            break
        time.sleep(.1)
    assert not alive
    assert 'Exception ignored' not in run.stderr and 'leaked' not in run.stderr
    assert run.stderr.count('Traceback') == (name in ('error', 'interrupted'))


def is_running(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False
