"""A pool of worker processes as their parent sees it: commands out, batches in, and the end of them all.

Knows how workers start, die and are cleaned up; nothing of the order of batches or of what they hold.
"""
from __future__ import annotations

import collections
import multiprocessing
import os
import signal
import time
import warnings
import weakref
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from pickle import PicklingError

from .exchange import NamedBlock, Receiver, rebuild
from .worker import ExceptionWrapper, Plan, run_worker

__all__ = ['WorkerPool']

GRACE = 5.0  # seconds that a worker has to finish what it is at before it is terminated

_connections: weakref.WeakSet = weakref.WeakSet()  # the parent's ends, which forked children must not hold open


def close_inherited_connections():
    for connection in list(_connections):
        connection.close()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=close_inherited_connections)


class WorkerPool:
    """Processes 0 ... n - 1, one for each plan; `spare` is the number of blocks each may keep mapped."""

    def __init__(self, context, plans: list[Plan], spare: int):
        self.owner = os.getpid()
        self.closed = False
        self.processes = []
        self.receivers: list[Receiver] = []
        self.watched: dict[object, int] = {}  # connections and sentinels of workers that may still send
        self.inbox: collections.deque = collections.deque()  # (worker, key, object)
        if plans[0].block_kind is NamedBlock and os.name == 'posix':
            resource_tracker.ensure_running()  # one for all, so that it sees the parent unlink what a worker made
        try:
            for plan in plans:
                self._start(context, plan, spare)
        except BaseException:
            self.close()
            raise

    def _start(self, context, plan: Plan, spare: int):
        mine, theirs = multiprocessing.Pipe()
        process = context.Process(target=run_worker, args=(theirs, plan), daemon=True)
        _connections.add(mine)
        try:
            process.start()
        except (TypeError, AttributeError, PicklingError):
            warnings.warn('Got pickle error when attempting to start a worker Process. The start method '
                          f'{context.get_start_method()!r} needs a dataset, collate_fn and worker_init_fn that can be '
                          "pickled; multiprocessing.set_start_method('fork') does not.", stacklevel=2)
            mine.close()
            raise
        finally:
            theirs.close()
        self.watched[mine] = self.watched[process.sentinel] = len(self.processes)
        self.processes.append(process)
        self.receivers.append(Receiver(mine, plan.block_kind, spare))

    def send(self, worker: int, command):
        """Gives `command` to a worker. One that has died is noticed by the next `receive`."""
        receiver = self.receivers[worker]
        try:
            receiver.connection.send((receiver.take_returned(), command))
        except (BrokenPipeError, ConnectionResetError):
            pass

    def receive(self, timeout: float | None):
        """(worker, key, object) of some message; None if none comes within `timeout` seconds.

        Raises RuntimeError where a worker has exited that was not told to.
        """
        while not self.inbox:
            ready = wait(self.watched, timeout)
            if not ready:
                return None
            dead = [worker for worker in {self.watched[source] for source in ready} if not self._read(worker)]
            if dead and not self.inbox:
                raise self._death(dead)
        return self.inbox.popleft()

    def _read(self, worker: int) -> bool:
        """Takes one message of a worker in; False if none will come any more."""
        receiver = self.receivers[worker]
        try:
            if not receiver.connection.poll():
                return False
            key, parts = receiver.receive()
        except (EOFError, OSError):
            return False
        try:
            value = rebuild(parts)
        except Exception as error:
            value = ExceptionWrapper(f'while unpickling a batch of DataLoader worker process {worker}', error)
        self.inbox.append((worker, key, value))
        return True

    def _death(self, workers: list[int]) -> RuntimeError:
        pids, reasons = [], []
        for process in (self.processes[worker] for worker in workers):
            process.join(GRACE)
            pids.append(str(process.pid))
            code = process.exitcode
            reasons.append(f'killed by signal: {signal.strsignal(-code)}' if code and code < 0 else f'exit code {code}')
        self.close()
        hint = '. It may have run out of memory' if 'signal: Killed' in ' '.join(reasons) else ''
        return RuntimeError(f'DataLoader worker (pid(s) {", ".join(pids)}) exited unexpectedly '
                            f'({", ".join(reasons)}){hint}')

    def dismiss(self, worker: int):
        """Tells a worker to exit; nothing more is expected from it."""
        self.send(worker, None)
        self.watched = {source: other for source, other in self.watched.items() if other != worker}

    def close(self):
        """Ends all workers: they finish the sample they are at, but are not waited for longer than `GRACE`."""
        if self.closed or os.getpid() != self.owner:  # a forked child has no say in this
            return
        self.closed = True
        self.inbox.clear()
        for worker in range(len(self.receivers)):
            self.send(worker, None)
        deadline = time.monotonic() + GRACE
        for receiver in self.receivers:
            self._drain(receiver, deadline)
            receiver.connection.close()
        for process in self.processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.terminate()
                process.join()
            process.close()

    def _drain(self, receiver: Receiver, deadline: float):
        """Takes in what a worker still sends until it has exited: a named block must be unlinked by its receiver."""
        try:
            while receiver.connection.poll(max(0.0, deadline - time.monotonic())):
                receiver.receive()
        except (EOFError, OSError):
            pass
