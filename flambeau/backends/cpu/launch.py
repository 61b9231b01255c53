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

__all__ = ['start', 'get_num_threads', 'set_num_threads']

FUTEX = {'x86_64': 202, 'aarch64': 98}  # the system call's number
PAUSE = {'x86_64': ('declare void @llvm.x86.sse2.pause()', 'call void @llvm.x86.sse2.pause()'),
         'aarch64': ('declare void @llvm.aarch64.hint(i32)', 'call void @llvm.aarch64.hint(i32 1)')}
FAULTS = {'SIGSEGV', 'SIGBUS', 'SIGFPE', 'SIGILL', 'SIGTRAP'}
MOST = 1024  # threads, whatever is asked for

SERIAL = '''
define internal void @alone(ptr %body, ptr %context, i64 %count) {
entry:
  br label %each
each:
  %i = phi i64 [ 0, %entry ], [ %j, %run ]
  %go = icmp slt i64 %i, %count
  br i1 %go, label %run, label %end
run:
  call void %body(ptr %context, i64 %i, i64 0)
  %j = add i64 %i, 1
  br label %each
end:
  ret void
}
'''

ELSEWHERE = '''
define void @parallel(ptr %body, ptr %context, i64 %count, i64 %threads) {
  call void @alone(ptr %body, ptr %context, i64 %count)
  ret void
}
'''

POOL = '''
@ticket = global i64 0, align 128
@job = global { ptr, ptr, i64 } zeroinitializer, align 128
@done = global i64 0, align 128
@word = global i32 0, align 128
@sleepers = global i32 0, align 128
@stop = global i32 0, align 128
@lock = global i32 0, align 128
@workers = global i32 0, align 128
declare i64 @syscall(i64, ...)
declare i32 @sched_yield()

define internal i1 @claim(i64 %thread) {
  %t = load atomic i64, ptr @ticket seq_cst, align 8
  %left = and i64 %t, 4294967295
  %none = icmp eq i64 %left, 0
  br i1 %none, label %no, label %take
take:
  %less = sub i64 %t, 1
  %pair = cmpxchg ptr @ticket, i64 %t, i64 %less seq_cst seq_cst
  %won = extractvalue { i64, i1 } %pair, 1
  br i1 %won, label %work, label %yes
work:
  %body = load ptr, ptr @job
  %context = load ptr, ptr getelementptr ({ ptr, ptr, i64 }, ptr @job, i32 0, i32 1)
  %count = load i64, ptr getelementptr ({ ptr, ptr, i64 }, ptr @job, i32 0, i32 2)
  %chunk = sub i64 %count, %left
  call void %body(ptr %context, i64 %chunk, i64 %thread)
  %old = atomicrmw add ptr @done, i64 1 seq_cst
  br label %yes
yes:
  ret i1 true
no:
  ret i1 false
}

define ptr @worker(ptr %argument) {
entry:
  %thread = ptrtoint ptr %argument to i64
  br label %poll
poll:
  %spins = phi i32 [ 0, %entry ], [ 0, %ran ], [ %spun, %pause ], [ 0, %woken ]
  %some = call i1 @claim(i64 %thread)
  br i1 %some, label %ran, label %idle
ran:
  br label %poll
idle:
  %ended = load atomic i32, ptr @stop seq_cst, align 4
  %end = icmp ne i32 %ended, 0
  br i1 %end, label %over, label %wait
wait:
  %spun = add i32 %spins, 1
  %tired = icmp ugt i32 %spun, 1500
  br i1 %tired, label %sleep, label %pause
pause:
  PAUSE
  br label %poll
sleep:
  %seen = load atomic i32, ptr @word seq_cst, align 4
  %s0 = atomicrmw add ptr @sleepers, i32 1 seq_cst
  %t = load atomic i64, ptr @ticket seq_cst, align 8
  %left = and i64 %t, 4294967295
  %quiet = icmp eq i64 %left, 0
  %ended2 = load atomic i32, ptr @stop seq_cst, align 4
  %running = icmp eq i32 %ended2, 0
  %rest = and i1 %quiet, %running
  br i1 %rest, label %park, label %woken
park:
  %r = call i64 (i64, ...) @syscall(i64 FUTEX, ptr @word, i64 128, i32 %seen, ptr null, ptr null, i32 0)
  br label %woken
woken:
  %s1 = atomicrmw sub ptr @sleepers, i32 1 seq_cst
  br label %poll
over:
  ret ptr null
}

define void @wake(i32 %most) {
  %w = atomicrmw add ptr @word, i32 1 seq_cst
  %r = call i64 (i64, ...) @syscall(i64 FUTEX, ptr @word, i64 129, i32 %most, ptr null, ptr null, i32 0)
  ret void
}

define void @hold() {
entry:
  br label %try
try:
  %pair = cmpxchg ptr @lock, i32 0, i32 1 seq_cst seq_cst
  %free = extractvalue { i32, i1 } %pair, 1
  br i1 %free, label %held, label %busy
busy:
  %y = call i32 @sched_yield()
  br label %try
held:
  ret void
}

define void @let_go() {
  store atomic i32 0, ptr @lock seq_cst, align 4
  ret void
}

define void @parallel(ptr %body, ptr %context, i64 %count, i64 %threads) {
entry:
  %others = sub i64 %count, 1
  %several = icmp ult i64 %others, 2147483647
  %some = icmp ne i64 %others, 0
  %workers = load i32, ptr @workers
  %helped = icmp ne i32 %workers, 0
  %many = and i1 %several, %some
  %shared = and i1 %many, %helped
  br i1 %shared, label %try, label %alone
try:
  %pair = cmpxchg ptr @lock, i32 0, i32 1 seq_cst seq_cst
  %free = extractvalue { i32, i1 } %pair, 1
  br i1 %free, label %check, label %alone
check:
  %now = load i32, ptr @workers
  %crowd = zext i32 %now to i64
  %room = icmp ult i64 %crowd, %threads
  br i1 %room, label %publish, label %crowded
crowded:
  store atomic i32 0, ptr @lock seq_cst, align 4
  br label %alone
publish:
  store ptr %body, ptr @job
  store ptr %context, ptr getelementptr ({ ptr, ptr, i64 }, ptr @job, i32 0, i32 1)
  store i64 %count, ptr getelementptr ({ ptr, ptr, i64 }, ptr @job, i32 0, i32 2)
  store atomic i64 0, ptr @done seq_cst, align 8
  %t = load atomic i64, ptr @ticket seq_cst, align 8
  %generation = add i64 %t, 4294967296
  %high = and i64 %generation, -4294967296
  %new = or i64 %high, %count
  %x = atomicrmw xchg ptr @ticket, i64 %new seq_cst
  %asleep = load atomic i32, ptr @sleepers seq_cst, align 4
  %any = icmp ne i32 %asleep, 0
  br i1 %any, label %ring, label %work
ring:
  %most = trunc i64 %others to i32
  call void @wake(i32 %most)
  br label %work
work:
  %more = call i1 @claim(i64 0)
  br i1 %more, label %work, label %join
join:
  %waited = phi i32 [ 0, %work ], [ %longer, %again ], [ 0, %yield ]
  %finished = load atomic i64, ptr @done seq_cst, align 8
  %all = icmp eq i64 %finished, %count
  br i1 %all, label %leave, label %still
still:
  %longer = add i32 %waited, 1
  %long = icmp ugt i32 %longer, 4000
  br i1 %long, label %yield, label %again
again:
  PAUSE
  br label %join
yield:
  %y = call i32 @sched_yield()
  br label %join
leave:
  store atomic i32 0, ptr @lock seq_cst, align 4
  ret void
alone:
  call void @alone(ptr %body, ptr %context, i64 %count)
  ret void
}
'''


class Pool:
    """The compiled pool with its threads."""

    def __init__(self, runtime):
        import llvmlite.binding as llvm
        machine = os.uname().machine if hasattr(os, 'uname') else ''
        self.can_share = sys.platform == 'linux' and machine in FUTEX and sys.maxsize > 1 << 32
        if self.can_share:
            declared, pause = PAUSE[machine]
            text = SERIAL + POOL.replace('FUTEX', str(FUTEX[machine])).replace('PAUSE', pause) + declared
        else:
            text = SERIAL + ELSEWHERE
        self.engine = runtime(text)
        llvm.add_symbol('flambeau_parallel', self.engine.get_function_address('parallel'))
        self.threads = []
        self.resizing = threading.Lock()
        if self.can_share:
            self.cells = {name: ctypes.c_int32.from_address(self.engine.get_global_value_address(name))
                          for name in ('word', 'sleepers', 'stop', 'lock', 'workers')}
            self.ticket = ctypes.c_int64.from_address(self.engine.get_global_value_address('ticket'))
            self.worker = self.engine.get_function_address('worker')
            self.wake = ctypes.CFUNCTYPE(None, ctypes.c_int32)(self.engine.get_function_address('wake'))
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
            self.ticket.value = 0
            self._begin(min(get_num_threads(), MOST))


_pool = None
_count = None


def start(runtime):
    """Makes the pool and starts its threads, once. `runtime(text)` gives the engine that holds a module."""
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
