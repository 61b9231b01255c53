"""The native thread pool that runs the chunks of kernels' parallel regions. Knows no kernel.

Workers and callers claim chunks one by one from a ticket that holds the job's generation and how many chunks are left,
so that a late worker can take nothing of an older job and the caller waits for chunks, never for threads. Idle workers
spin for some tens of microseconds, then sleep on a futex. Where threads or futexes are missing everything runs on the
caller.

`flambeau_parallel(body, context, count, threads)` calls `body(context, chunk, thread)` for every chunk. While the
pool is busy, or has more than `threads` threads (how many there is memory for), the caller runs all its chunks itself
and as thread 0: memory that is kept per thread must belong to one call and be reached through its context.
"""
from __future__ import annotations

import atexit
import ctypes
import os
import signal
import sys
import threading

from .native import Program

__all__ = ['start', 'get_num_threads', 'set_num_threads']

FUTEX = {'x86_64': 202, 'aarch64': 98}  # the system call's number
PAUSE = {'x86_64': '''
declare void @llvm.x86.sse2.pause()
define i64 @relax() {
  call void @llvm.x86.sse2.pause()
  ret i64 0
}''', 'aarch64': '''
declare void @llvm.aarch64.hint(i32)
define i64 @relax() {
  call void @llvm.aarch64.hint(i32 1)
  ret i64 0
}'''}
FAULTS = {'SIGSEGV', 'SIGBUS', 'SIGFPE', 'SIGILL', 'SIGTRAP'}
MOST = 1024  # threads, whatever is asked for

SERIAL = '''
def alone(body, context, count):
    chunk = 0
    while chunk != count:
        body(context, chunk, 0)
        chunk += 1
'''

ELSEWHERE = '''
def parallel(body, context, count, threads):
    alone(body, context, count)
'''

POOL = '''
ticket = 0
job = [0] * 3
done = 0
word = 0
sleepers = 0
stop = 0
lock = 0
workers = 0


def claim(thread):
    old = ticket
    left = old & LEFT
    if not left:
        return 0
    if exchanged(ticket, old, old - 1):
        body = at[job]
        body(at[job + 8], at[job + 16] - left, thread)
        add(done, 1)
    return 1


def worker(thread):
    spins = 0
    while 1:
        if claim(thread):
            spins = 0
        elif stop:
            return
        elif spins < 1500:
            spins += 1
            relax()
        else:
            spins = 0
            rest()


def rest():
    seen = word
    add(sleepers, 1)
    if not (ticket & LEFT or stop):
        syscall(FUTEX, address(word), 128, seen, 0, 0, 0)
    add(sleepers, -1)


def wake(most):
    add(word, 1)
    syscall(FUTEX, address(word), 129, most, 0, 0, 0)


def hold():
    while not exchanged(lock, 0, 1):
        sched_yield()


def let_go():
    lock = 0


def parallel(body, context, count, threads):
    others = count - 1
    if others - 1 < (1 << 31) - 2 and workers:
        if exchanged(lock, 0, 1):
            if workers < threads:
                share(body, context, count)
                lock = 0
                return
            lock = 0
    alone(body, context, count)


def share(body, context, count):
    at[job] = body
    at[job + 8] = context
    at[job + 16] = count
    done = 0
    ticket = (ticket + LEFT + 1 & -LEFT - 1) + count
    if sleepers:
        wake(count - 1)
    while claim(0):
        pass
    waited = 0
    while done != count:
        waited += 1
        if waited <= 4000:
            relax()
        else:
            waited = 0
            sched_yield()
'''
LEFT = (1 << 32) - 1  # the bits of the ticket that say how many chunks are left


class Pool:
    """The compiled pool with its threads."""

    def __init__(self, runtime):
        import llvmlite.binding as llvm
        machine = os.uname().machine if hasattr(os, 'uname') else ''
        self.can_share = sys.platform == 'linux' and machine in FUTEX and sys.maxsize > 1 << 32
        if self.can_share:
            program = Program(SERIAL + POOL, True, PAUSE[machine], FUTEX=FUTEX[machine], LEFT=LEFT)
        else:
            program = Program(SERIAL + ELSEWHERE)
        self.engine = runtime(program)
        llvm.add_symbol('flambeau_parallel', self.engine.get_function_address('parallel'))
        self.threads = []
        self.resizing = threading.Lock()
        if self.can_share:
            self.cells = {name: ctypes.c_int64.from_address(self.engine.get_global_value_address(name))
                          for name in ('ticket', 'word', 'sleepers', 'stop', 'lock', 'workers')}
            self.worker = self.engine.get_function_address('worker')
            self.wake = ctypes.CFUNCTYPE(None, ctypes.c_int64)(self.engine.get_function_address('wake'))
            self.hold, self.let_go = (ctypes.CFUNCTYPE(None)(self.engine.get_function_address(name))
                                      for name in ('hold', 'let_go'))
            self.system = ctypes.CDLL(None)

    def resize(self, count):
        """Runs on `count` threads from now on, the caller among them.

        Waits for a region in progress, whose memory per thread may not suffice for more; others meanwhile run alone.
        """
        if self.can_share:
            with self.resizing:
                self.hold()
                try:
                    self._end()
                    self._begin(min(count, MOST))
                finally:
                    self.let_go()

    def _begin(self, count):
        """Starts the workers. Signals stay with Python's threads, but for those that tell of a worker's own fault."""
        faults = {getattr(signal, name) for name in FAULTS if hasattr(signal, name)}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - faults)
        self.cells['stop'].value = 0
        try:
            for number in range(1, count):
                made = ctypes.c_ulong()
                start = ctypes.c_void_p(self.worker), ctypes.c_void_p(number)
                if self.system.pthread_create(ctypes.byref(made), None, *start):
                    break  # no more threads to be had: fewer do the work
                self.threads.append(made)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.cells['workers'].value = len(self.threads)

    def _end(self):
        """Ends all workers and waits for them: a worker finishes its chunk, the caller of a region those left over."""
        if not self.threads:
            return
        self.cells['workers'].value = 0
        self.cells['stop'].value = 1
        self.wake(2**31 - 1)
        while self.threads:
            self.system.pthread_join(self.threads.pop(), None)  # taken off first: joining twice is undefined

    def forked(self):
        """In a forked child, which has none of the threads and no use for locks that others held."""
        if self.can_share:
            self.threads = []
            self.resizing = threading.Lock()
            for cell in self.cells.values():
                cell.value = 0
            self._begin(min(get_num_threads(), MOST))


_pool = None
_count = None


def start(runtime):
    """Makes the pool and starts its threads, once. `runtime(program)` gives the engine that holds a module."""
    global _pool
    if _pool is None:
        _pool = Pool(runtime)
        _pool.resize(get_num_threads())
        atexit.register(_pool.resize, 1)
        if hasattr(os, 'register_at_fork'):
            os.register_at_fork(after_in_child=_pool.forked)


def get_num_threads() -> int:
    """How many threads kernels run on."""
    global _count
    if _count is None:
        _count = _default()
    return _count


def set_num_threads(count: int):
    """Runs kernels on this many threads from now on. Results do not depend on it."""
    global _count
    if count != get_num_threads():
        _count = count
        if _pool is not None:
            _pool.resize(count)


def _default():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    cores = max(1, min(cores, _quota() or cores))
    for name, most in ('FLAMBEAU_NUM_THREADS', MOST), ('OMP_NUM_THREADS', cores):  # no more than cores, as in PyTorch
        asked = os.environ.get(name, '').split(',')[0].strip()
        if asked.isdecimal() and int(asked):
            return min(int(asked), most)
    return cores


def _quota(root='/'):
    """The whole number of cores that the control groups around this process grant, or None."""
    granted = []
    for line in _words(root, 'proc/self/cgroup'):
        version, controllers, path = line.split(':', 2)
        if version != '0' and 'cpu' not in controllers.split(','):
            continue
        parts = [part for part in path.split('/') if part]
        for depth in range(len(parts) + 1):
            folder = os.path.join(root, 'sys/fs/cgroup', controllers, *parts[:depth])
            limit = (_words(folder, 'cpu.max') or
                     _words(folder, 'cpu.cfs_quota_us') + _words(folder, 'cpu.cfs_period_us'))
            if len(limit) == 2 and limit[0].isdecimal():  # not 'max' or -1
                granted.append(max(1, -(-int(limit[0]) // int(limit[1]))))
    return min(granted, default=None)


def _words(folder, name):
    try:
        with open(os.path.join(folder, name)) as file:
            return file.read().split()
    except OSError:
        return []
