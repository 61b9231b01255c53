"""The caching allocator behind NumPy's arrays."""
import sys
import threading

import numpy as np
import pytest

pytest.importorskip('llvmlite')
if sys.platform != 'linux':
    pytest.skip('the allocator is Linux only', allow_module_level=True)

from flambeau.backends import cpu  # noqa: E402
from flambeau.backends.cpu import build, properties  # noqa: E402

if not properties.jit_is_on():
    pytest.skip('kernels are switched off', allow_module_level=True)

MEGABYTE = 1 << 20


@pytest.fixture(autouse=True)
def allocator():
    """The allocator in this context, with nothing waiting."""
    from flambeau.backends.cpu import memory
    build._machine()
    memory._allocator.install()  # each test may run in a context of its own
    cpu.empty_cache()


def test_blocks_are_reused_last_in_first_out():
    first = np.empty(3 * MEGABYTE - 200, np.uint8)
    address, mapped = first.ctypes.data, cpu.memory_stats()['num_device_alloc']
    del first
    second = np.empty(3 * MEGABYTE - 100, np.uint8)
    assert second.ctypes.data == address and address % 64 == 0
    assert cpu.memory_stats()['num_device_alloc'] == mapped


def test_counters_follow_arrays():
    before = cpu.memory_allocated()
    cpu.reset_peak_memory_stats()
    assert cpu.max_memory_allocated() == before
    array = np.empty(5 * MEGABYTE, np.uint8)
    held = cpu.memory_allocated() - before
    assert 5 * MEGABYTE < held < 5.5 * MEGABYTE
    del array
    assert cpu.memory_allocated() == before and cpu.max_memory_allocated() == before + held
    assert cpu.memory_reserved() == before + held
    cpu.empty_cache()
    assert cpu.memory_reserved() == before
    cpu.reset_peak_memory_stats()
    assert cpu.max_memory_allocated() == before


@pytest.mark.parametrize('size', [0, 1, 1000, 65535, 65536, 100_000, 3 * MEGABYTE])
def test_zeros_are_zero_in_reused_blocks(size):
    for _ in range(3):
        dirty = np.empty(size, np.uint8)
        dirty.fill(255)
        del dirty
        assert not np.zeros(size, np.uint8).any()


@pytest.mark.parametrize('old', [1, 1000, 65535, 65536, 300_000, 3 * MEGABYTE])
@pytest.mark.parametrize('new', [1, 2000, 65535, 65536, 1_000_000, 5 * MEGABYTE])
def test_resize_keeps_what_was_there(old, new):
    array = np.empty(old, np.uint8)
    array[:] = np.arange(old) % 251
    array.resize(new, refcheck=False)
    kept = min(old, new)
    assert (array[:kept] == np.arange(kept) % 251).all() and not array[kept:].any()


def test_too_much_raises_memory_error():
    with pytest.raises(MemoryError):
        np.empty(1 << 46, np.uint8)
    assert np.zeros(MEGABYTE, np.uint8).sum() == 0


def test_arrays_may_die_in_other_threads():
    before = cpu.memory_allocated()
    arrays = [np.full(100_000 + 7 * k, k, np.int32) for k in range(80)]
    wrong = []

    def drain():
        while True:
            try:
                array = arrays.pop()
            except IndexError:
                return
            if (array != array[0]).any():
                wrong.append(array[0])

    threads = [threading.Thread(target=drain) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and cpu.memory_allocated() == before


def test_memory_stays_flat_over_many_sizes():
    before = cpu.memory_allocated()
    for size in np.random.default_rng(0).integers(1, 8 * MEGABYTE, 2000).tolist():
        np.empty(size, np.uint8)
    assert cpu.memory_allocated() == before
    assert cpu.memory_reserved() - before <= 512 * MEGABYTE
