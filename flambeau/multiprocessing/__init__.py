"""`torch.multiprocessing`: Python's multiprocessing, and `spawn`. Tensors go to other processes as copies."""
from __future__ import annotations

import multiprocessing
import signal
import traceback
from multiprocessing import *  # noqa: F403: the whole module under another name
from multiprocessing.connection import wait

__all__ = [*multiprocessing.__all__, 'ProcessExitedException', 'ProcessRaisedException', 'SpawnContext', 'spawn',
           'get_all_sharing_strategies', 'get_sharing_strategy', 'set_sharing_strategy', 'start_processes']

STRATEGY = 'file_system'


def get_all_sharing_strategies() -> set[str]:
    """The ways for tensors to reach other processes: one, by copies."""
    return {STRATEGY}


def get_sharing_strategy() -> str:
    """The way for tensors to reach other processes."""
    return STRATEGY


def set_sharing_strategy(new_strategy: str) -> None:
    """Raises AssertionError for a strategy that there is not."""
    if new_strategy not in get_all_sharing_strategies():
        raise AssertionError(f'{new_strategy!r} is none of {get_all_sharing_strategies()}')


class ProcessRaisedException(Exception):
    """A function that `spawn` ran raised an exception, whose traceback is the message."""

    def __init__(self, msg: str, error_index: int, error_pid: int):
        super().__init__(msg)
        self.msg, self.error_index, self.pid = msg, error_index, error_pid


class ProcessExitedException(Exception):
    """A process that `spawn` started ended without an exception but with an exit code other than 0."""

    def __init__(self, msg: str, error_index: int, error_pid: int, exit_code: int, signal_name: str | None = None):
        super().__init__(msg)
        self.msg, self.error_index, self.pid = msg, error_index, error_pid
        self.exit_code, self.signal_name = exit_code, signal_name


def _run(fn, i, args, sender):
    try:
        fn(i, *args)
    except KeyboardInterrupt:
        pass
    except Exception:
        sender.send(traceback.format_exc())
        raise SystemExit(1) from None


class SpawnContext:
    """The processes that `spawn` started."""

    def __init__(self, processes, receivers):
        self.processes, self.receivers = processes, receivers

    def pids(self) -> list[int]:
        """Their process ids."""
        return [p.pid for p in self.processes]

    def join(self, timeout: float | None = None) -> bool:
        """Waits until one ends; True when all have. If one failed, ends the others and raises its error."""
        running = {p.sentinel: k for k, p in enumerate(self.processes) if p.is_alive()}
        if running:
            wait(list(running), timeout)
        codes = [p.exitcode for p in self.processes]  # None while it runs; one that ends later is seen next time
        for k, (process, code) in enumerate(zip(self.processes, codes)):
            if code:
                for other in self.processes:
                    if other.is_alive():
                        other.terminate()
                    other.join()
                self._raise(k, process)
        return None not in codes

    def _raise(self, k, process):
        if self.receivers[k].poll():
            raise ProcessRaisedException(f'\n\n-- Process {k} terminated with the following error:\n'
                                         f'{self.receivers[k].recv()}', k, process.pid)
        code = process.exitcode
        name = signal.Signals(-code).name if code < 0 else None
        how = f'signal {name}' if name else f'exit code {code}'
        raise ProcessExitedException(f'process {k} terminated with {how}', k, process.pid, code, name)


def start_processes(fn, args=(), nprocs: int = 1, join: bool = True, daemon: bool = False, start_method: str = 'spawn'):
    """Runs fn(i, *args) in `nprocs` processes, i = 0, 1, ...; waits for them with `join`, or returns a context."""
    context = multiprocessing.get_context(start_method)
    processes, receivers = [], []
    for k in range(nprocs):
        receiver, sender = context.Pipe(False)
        process = context.Process(target=_run, args=(fn, k, args, sender), daemon=daemon)
        process.start()
        sender.close()
        processes.append(process)
        receivers.append(receiver)
    started = SpawnContext(processes, receivers)
    if not join:
        return started
    while not started.join():
        pass
    return None


def spawn(fn, args=(), nprocs: int = 1, join: bool = True, daemon: bool = False, start_method: str = 'spawn'):
    """`start_processes` with fresh interpreters. Raises ProcessRaisedException with the first traceback."""
    return start_processes(fn, args, nprocs, join, daemon, start_method)
