"""The native thread pool that kernels' parallel regions run on."""
from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

pytest.importorskip('llvmlite')

import flambeau as torch
from flambeau.backends.cpu import launch
from flambeau.backends.cpu.build import compiled
from flambeau.backends.cpu.properties import jit_is_on
from flambeau.kernel.ir import Builder
from flambeau.kernel.types import i64, pointer

pytestmark = pytest.mark.skipif(not jit_is_on(), reason='kernels are switched off')
CHUNK = 64


def number_chunks(target):
    """out[i] += 1 + i / 64 in chunks of 64; the chunk's thread goes to threads[chunk]."""
    b = Builder('number_chunks', out=pointer(i64), threads=pointer(i64), count=i64)
    out, threads, count = b.parameters
    with b.parallel(count) as chunk:
        b.store(b.thread, threads + chunk)
        with b.loop(chunk * CHUNK, chunk * CHUNK + CHUNK) as i:
            b.store(b.load(out + i) + chunk + 1, out + i)
    return b.finish()


def number_limited(target):
    """threads[chunk] = the thread of each chunk, in a region for at most `limit` threads."""
    b = Builder('number_limited', threads=pointer(i64), count=i64, limit=i64)
    threads, count, limit = b.parameters
    with b.parallel(count, limit) as chunk:
        b.store(b.thread, threads + chunk)
    return b.finish()


def check(count):
    out, threads = np.zeros(count * CHUNK, np.int64), np.full(count, -1)
    compiled(number_chunks)(out, threads, count)
    np.testing.assert_array_equal(out, np.repeat(np.arange(count) + 1, CHUNK))
    assert count == 0 or 0 <= threads.min() <= threads.max() < launch.get_num_threads()
    return threads


@pytest.fixture
def threads():
    before = launch.get_num_threads()
    yield launch.set_num_threads
    launch.set_num_threads(before)


@pytest.mark.parametrize('number', [1, 2, 3, 7, 16])
def test_every_chunk_runs_once(threads, number):
    threads(number)
    for count in (0, 1, 2, 3, 8, 100):
        for _ in range(20):
            check(count)


@pytest.mark.parametrize('number, limit', [(1, 1), (3, 1), (3, 2), (2, 3), (4, 4)])
def test_a_region_runs_on_no_more_threads_than_it_has_room_for(threads, number, limit):
    threads(number)
    for _ in range(20):
        found = np.full(200, -1)
        compiled(number_limited)(found, 200, limit)
        assert 0 <= found.min() and found.max() < min(limit, number)


SCRIPT_FOR_ONE_CACHE = """
import flambeau as torch
torch.manual_seed(0)
x = torch.randn(200, 300, requires_grad=True)
torch.softmax(torch.nn.functional.gelu(x) @ torch.randn(300, 100), -1).square().sum().backward()
print(x.grad.double().sum().item())
"""


def test_processes_may_build_one_cache_at_once(tmp_path):
    environment = os.environ | {'FLAMBEAU_CACHE': str(tmp_path)}
    running = [subprocess.Popen([sys.executable, '-c', SCRIPT_FOR_ONE_CACHE], env=environment, stdout=subprocess.PIPE, text=True)
               for _ in range(3)]
    printed = [process.communicate(timeout=120)[0] for process in running]
    assert all(process.returncode == 0 for process in running) and len(set(printed)) == 1 and printed[0].strip()
    for file in tmp_path.iterdir():  # what a crash could have left
        file.write_bytes(file.read_bytes()[:100])
    again = subprocess.run([sys.executable, '-c', SCRIPT_FOR_ONE_CACHE], env=environment, capture_output=True, text=True)
    assert again.stdout == printed[0], again.stderr


def results():
    torch.manual_seed(0)
    x = torch.randn(300, 700, requires_grad=True)
    y = torch.softmax(x.tanh() @ torch.randn(700, 500), -1)
    z = torch.nn.functional.conv2d(y.reshape(1, 10, 100, 150), torch.randn(12, 10, 3, 3))
    z.square().mean().backward()
    return [value.detach().numpy().tobytes() for value in (y, z, x.grad)]


def test_same_bits_on_any_number_of_threads(threads):
    threads(1)
    expected = results()
    for number in (2, 5):
        threads(number)
        assert results() == expected


def test_workers_take_part(threads):
    if not sys.platform.startswith('linux'):
        pytest.skip('threads need Linux')
    threads(4)
    assert any(check(20000).max() > 0 for _ in range(50))
    threads(1)
    assert check(2000).max() == 0


def test_concurrent_callers_and_resizing(threads):
    threads(5)
    check(4)
    wrong = []

    def run():
        try:
            for _ in range(200):
                check(30)
        except Exception as error:
            wrong.append(error)
    callers = [threading.Thread(target=run) for _ in range(4)]
    for caller in callers:
        caller.start()
    for number in (2, 3, 1, 5) * 5:
        launch._pool.resize(number)
    for caller in callers:
        caller.join()
    assert not wrong


def test_a_region_in_progress_gets_no_more_threads(threads):
    """Its memory per thread was made for as many as there were."""
    threads(2)
    check(4)
    pool = launch._pool
    if not pool.can_share:
        pytest.skip('threads are missing')
    pool.hold()  # as a region does
    resizing = threading.Thread(target=pool.resize, args=(6,))
    resizing.start()
    resizing.join(0.1)
    during = resizing.is_alive(), len(pool.threads), check(50).max()
    pool.let_go()
    resizing.join()
    assert during == (True, 1, 0) and len(pool.threads) == 5
    pool.resize(2)


def run_python(text, **environment):
    source = textwrap.dedent(text)
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    return subprocess.run([sys.executable, '-c', source], env={**os.environ, 'PYTHONPATH': path, **environment},
                          capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork')
def test_fork_with_live_threads():
    done = run_python('''
        import os, sys, warnings
        warnings.simplefilter('ignore')
        import test_runtime
        from flambeau.backends.cpu import launch
        test_runtime.check(50)
        for _ in range(5):
            child = os.fork()
            if child == 0:
                assert len(launch._pool.threads) == (2 if launch._pool.can_share else 0)
                for _ in range(20):
                    test_runtime.check(50)
                launch.set_num_threads(5)
                test_runtime.check(50)
                sys.exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            test_runtime.check(50)
    ''', FLAMBEAU_NUM_THREADS='3')
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no signals')
def test_interrupt_reaches_python():
    done = run_python('''
        import os, signal, threading
        import test_runtime
        test_runtime.check(50)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            while True:
                test_runtime.check(50)
        except KeyboardInterrupt:
            test_runtime.check(50)
            print('interrupted')
    ''', FLAMBEAU_NUM_THREADS='3')
    assert (done.returncode, done.stdout) == (0, 'interrupted\n'), done.stderr


@pytest.mark.parametrize('environment, expected', [
    ({'FLAMBEAU_NUM_THREADS': '3', 'OMP_NUM_THREADS': '2'}, '3'),
    ({'FLAMBEAU_NUM_THREADS': '', 'OMP_NUM_THREADS': '2,1'}, '2'),
])
def test_number_from_environment(environment, expected):
    done = run_python('''
        import sys
        import flambeau
        print(flambeau.get_num_threads())
        assert 'llvmlite' not in sys.modules
    ''', **environment)
    assert done.stdout.strip() == expected, done.stderr


def test_number_without_environment(monkeypatch):
    monkeypatch.delenv('FLAMBEAU_NUM_THREADS', raising=False)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: set(range(8)), raising=False)
    for quota, expected in ((None, 8), (3, 3), (20, 8)):
        monkeypatch.setattr(launch, '_quota', lambda: quota)
        assert launch._default() == expected
    monkeypatch.setenv('OMP_NUM_THREADS', '12')
    assert launch._default() == 8
    monkeypatch.setenv('OMP_NUM_THREADS', '5')
    assert launch._default() == 5
    monkeypatch.setenv('FLAMBEAU_NUM_THREADS', '12')
    assert launch._default() == 12


@pytest.mark.parametrize('groups, files, expected', [
    ('0::/', {}, None),
    ('0::/', {'cpu.max': 'max 100000'}, None),
    ('0::/', {'cpu.max': '250000 100000'}, 3),
    ('0::/a/b', {'cpu.max': 'max 100000', 'a/cpu.max': '150000 100000', 'a/b/cpu.max': '900000 100000'}, 2),
    ('0::/gone/elsewhere', {'cpu.max': '1000 100000'}, 1),
    ('4:memory:/x\n3:cpu,cpuacct:/x', {
        'cpu,cpuacct/x/cpu.cfs_quota_us': '-1', 'cpu,cpuacct/x/cpu.cfs_period_us': '100000',
        'cpu,cpuacct/cpu.cfs_quota_us': '400000', 'cpu,cpuacct/cpu.cfs_period_us': '100000'}, 4),
])
def test_quota_of_control_groups(tmp_path, groups, files, expected):
    for name, text in {'proc/self/cgroup': groups, **{f'sys/fs/cgroup/{k}': v for k, v in files.items()}}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + '\n')
    assert launch._quota(str(tmp_path)) == expected


def test_serial_where_threads_are_missing():
    done = run_python('''
        import sys
        import test_runtime
        from flambeau.backends.cpu import launch
        launch.FUTEX.clear()
        assert test_runtime.check(50).max() == 0
        launch.set_num_threads(5)
        assert test_runtime.check(50).max() == 0
    ''', FLAMBEAU_NUM_THREADS='3')
    assert done.returncode == 0, done.stderr
