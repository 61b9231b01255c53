"""The caching allocator behind NumPy's arrays."""
import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

pytest.importorskip('llvmlite')
if sys.platform != 'linux':
    pytest.skip('the allocator is Linux only', allow_module_level=True)

import flambeau  # noqa: E402
from flambeau.backends import cpu  # noqa: E402
from flambeau.backends.cpu import build, memory, properties  # noqa: E402

if not properties.jit_is_on():
    pytest.skip('kernels are switched off', allow_module_level=True)

MEGABYTE = 1 << 20


@pytest.fixture(autouse=True)
def allocator():
    """The allocator in this context, with nothing waiting."""
    memory.install(build._machine().runtime)  # each test may run in a context of its own
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
    assert 5 * MEGABYTE <= held < 5.5 * MEGABYTE
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
    sizes = np.random.default_rng(0).integers(1, 8 * MEGABYTE, 2000).tolist()
    before = cpu.memory_allocated()
    for size in sizes:
        np.empty(size, np.uint8)
    assert cpu.memory_allocated() == before
    assert cpu.memory_reserved() - before <= 80 * MEGABYTE


def test_memory_stays_flat_over_training_steps_of_many_shapes():
    layers = flambeau.nn.Sequential(flambeau.nn.Conv2d(3, 8, 3, padding=1), flambeau.nn.BatchNorm2d(8), flambeau.nn.ReLU(),
                                    flambeau.nn.AdaptiveAvgPool2d(1), flambeau.nn.Flatten(), flambeau.nn.Linear(8, 4))
    optimizer = flambeau.optim.Adam(layers.parameters())
    held = []
    for step, size in enumerate(np.random.default_rng(0).integers(4, 40, (1000, 3)).tolist()):
        optimizer.zero_grad()
        layers(flambeau.ones(size[0] % 4 + 1, 3, *size[1:])).log_softmax(1).mean().backward()
        optimizer.step()
        if step in (200, 999):
            held.append((cpu.memory_allocated(), cpu.memory_reserved()))
    assert held[1][0] <= held[0][0] + 4096 and held[1][1] <= held[0][1] + 8 * MEGABYTE


WORK_WITHOUT_MEMORY = {
    'zeros': lambda x: flambeau.zeros(1 << 45), 'full': lambda x: flambeau.full((1 << 45,), 1.0),
    'randn': lambda x: flambeau.randn(1 << 45), 'add': lambda x: x + 1, 'exp': lambda x: x.exp(), 'cat': lambda x: flambeau.cat([x, x]),
    'softmax': lambda x: flambeau.softmax(x, 0), 'mm': lambda x: x[:, 0].reshape(-1, 1)[:1 << 22] @ flambeau.ones(1, 1 << 25),
}


@pytest.mark.parametrize('name', WORK_WITHOUT_MEMORY)
def test_running_out_of_memory_names_the_operation_and_the_size(name):
    x = flambeau.ones(1).expand(1 << 25, 1 << 21)
    with pytest.raises(RuntimeError, match=rf'{name}.*out of memory.*TiB') as caught:
        WORK_WITHOUT_MEMORY[name](x)
    assert isinstance(caught.value, MemoryError)


@pytest.mark.parametrize('size', [0, 1, 63, 64, 65, 1024, 1025, 65472, 65473, 65535, 65536, 100_000, 3 * MEGABYTE])
def test_every_block_is_aligned_and_ones_own(size):
    arrays = [np.full(size, k, np.uint8) for k in range(5)]
    for _ in range(3):
        assert all(array.ctypes.data % 64 == 0 for array in arrays if size)
        assert all((array == array[:1]).all() for array in arrays)
        arrays = [array.copy() for array in arrays]
    grown = np.zeros(size, np.uint8)
    grown.resize(size + 1, refcheck=False)
    assert grown.ctypes.data % 64 == 0


@pytest.mark.parametrize('shape', [(0, 1 << 20), (1 << 20, 0), (0, 300_000, 8)])
def test_arrays_without_elements(shape):
    before = cpu.memory_allocated()
    for _ in range(20):
        np.empty(shape).sum()
    assert cpu.memory_allocated() == before


def test_large_blocks_waste_less_than_a_tenth():
    for size in (MEGABYTE + 1, 3 * MEGABYTE // 2 + 1, 2 * MEGABYTE, 2 * MEGABYTE + 1, 33 * MEGABYTE + 5, 64 * MEGABYTE):
        before = cpu.memory_allocated()
        array = np.empty(size, np.uint8)
        assert size <= cpu.memory_allocated() - before < 1.1 * size
        del array


def test_what_waited_long_makes_room():
    """Sizes of another phase neither stay for ever nor keep the present ones from being reused."""
    held = [np.empty((20 + k) * MEGABYTE, np.uint8) for k in range(10)]
    most = cpu.memory_reserved()
    del held
    assert cpu.memory_reserved() == most
    for size in (90, 130, 190):
        np.empty(size * MEGABYTE, np.uint8)
        assert cpu.memory_reserved() <= 2 * most
        mapped = cpu.memory_stats()['num_device_alloc']
        for _ in range(3):
            np.empty(size * MEGABYTE, np.uint8)
        assert cpu.memory_stats()['num_device_alloc'] == mapped


def test_statistics():
    before = cpu.memory_stats()
    arrays = [np.empty(size, np.uint8) for size in (64, 2 * MEGABYTE)]
    during = cpu.memory_stats()
    del arrays
    after = cpu.memory_stats()
    assert all(isinstance(value, int) for value in after.values())
    for name, change in ('allocation', 2), ('allocated_bytes', 64 + 2 * MEGABYTE):
        assert during[f'{name}.all.current'] - before[f'{name}.all.current'] == change
        assert after[f'{name}.all.freed'] - before[f'{name}.all.freed'] == change
        assert after[f'{name}.all.current'] == after[f'{name}.all.allocated'] - after[f'{name}.all.freed']
    assert after['reserved_bytes.all.peak'] >= after['reserved_bytes.all.current'] >= 2 * MEGABYTE


def test_every_thread_may_install_it_and_none_must():
    found = []

    def run():
        found.append(np._core.multiarray.get_handler_name(np.empty(5)))
        memory.install(build._machine().runtime)
        found.append(np._core.multiarray.get_handler_name(np.empty(5)))
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found[0] in ('default_allocator', 'flambeau') and found[1] == 'flambeau'  # threads may inherit the context


def run_python(text, **environment):
    path = os.pathsep.join([os.path.dirname(os.path.dirname(__file__)), *sys.path])
    return subprocess.run([sys.executable, '-c', textwrap.dedent(text)], capture_output=True, text=True, timeout=60,
                          env={**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1', **environment})


def test_what_waits_is_given_back_before_memory_is_out():
    done = run_python('''
        import resource
        import numpy as np
        from flambeau.backends import cpu
        from flambeau.backends.cpu import build, memory
        memory.install(build._machine().runtime)
        used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (600 << 20),) * 2)
        held = [np.empty(100 << 20, np.uint8) for _ in range(4)]
        del held
        array = np.zeros(400 << 20, np.uint8)
        assert cpu.memory_stats()['num_alloc_retries'] == 1, 'what waited went when there was no more'
        del array
        held = [np.empty(30 << 20, np.uint8) for _ in range(6)]
        del held
        array = np.zeros(560 << 20, np.uint8)
        assert cpu.memory_stats()['num_alloc_retries'] == 2 and cpu.memory_stats()['num_ooms'] == 0
        try:
            np.empty(560 << 20, np.uint8)
        except MemoryError:
            print('refused', cpu.memory_stats()['num_ooms'], cpu.memory_reserved() == cpu.memory_allocated())
    ''')
    assert (done.returncode, done.stdout) == (0, 'refused 1 True\n'), done.stderr


def test_arrays_outlive_the_interpreter_and_cross_a_fork():
    done = run_python('''
        import builtins, os, warnings
        warnings.simplefilter('ignore')
        import numpy as np
        from flambeau.backends.cpu import build, memory
        memory.install(build._machine().runtime)

        class Late:
            def __init__(self):
                self.arrays, self.ring = [np.ones(1 << k) for k in range(2, 20)], self

        builtins.late = Late()
        child = os.fork()
        array = np.full(1 << 20, 1.0)
        assert child or array.sum() == 1 << 20
        del array
        if child:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    ''')
    assert done.returncode == 0, done.stderr


def test_without_kernels_there_is_nothing_to_count():
    done = run_python('''
        import sys
        from flambeau.backends import cpu
        cpu.empty_cache()
        cpu.reset_peak_memory_stats()
        assert not any(cpu.memory_stats().values()) and cpu.memory_allocated() == cpu.max_memory_allocated() == 0
        import flambeau, numpy as np
        (flambeau.ones(100000) + 1).sum()
        print(np._core.multiarray.get_handler_name(), 'llvmlite' in sys.modules)
    ''', FLAMBEAU_JIT='0')
    assert (done.returncode, done.stdout) == (0, 'default_allocator False\n'), done.stderr
