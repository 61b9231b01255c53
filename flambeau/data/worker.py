"""The worker process of a loader: seeds itself, fetches what it is told, sends the batches back.

Knows one connection to the process that started it, which gives commands (`Fetch`, `Resume`, None to stop).
"""
from __future__ import annotations

import pickle
import queue
import random
import signal
import threading
import traceback
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..random import manual_seed
from ..settings import set_num_threads
from .exchange import Sender
from .fetch import StreamFetcher, fetcher_for

__all__ = ['WorkerInfo', 'get_worker_info', 'ExceptionWrapper', 'StreamEnd', 'Fetch', 'Resume', 'Plan', 'run_worker']

@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """Which worker this process is: `id` of `num_workers`, its `seed` and its own copy of the `dataset`."""

    id: int
    num_workers: int
    seed: int
    dataset: Any
    rng: Any = None
    worker_method: str | None = 'multiprocessing'


_worker_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """The `WorkerInfo` of this process, None outside of workers."""
    return _worker_info


class ExceptionWrapper:
    """The exception being handled, in a form that can be raised in another process with its traceback as text."""

    def __init__(self, where: str, error: BaseException):
        self.exc_type = type(error)
        self.exc_msg = ''.join(traceback.format_exception(error))
        self.where = where

    def __getstate__(self):
        state = dict(self.__dict__)
        try:
            pickle.dumps(self.exc_type)
        except Exception:  # a class defined in a function, say: its name is in the text
            state['exc_type'] = RuntimeError
            state['named'] = self.exc_type.__name__
        return state

    def reraise(self):
        """Raises an exception of the same type; RuntimeError where that type takes other arguments than a text."""
        name = getattr(self, 'named', self.exc_type.__name__)
        text = f'Caught {name} {self.where}.\nOriginal {self.exc_msg}'
        if self.exc_type is KeyError:
            text = KeyText(text)
        try:
            if getattr(self.exc_type, 'message', None):
                error = self.exc_type(message=text)
            else:
                error = self.exc_type(text)
        except Exception:
            raise RuntimeError(text) from None
        raise error


class KeyText(str):
    """A text whose repr, which KeyError shows, is the text itself."""

    def __repr__(self):
        return str(self)


class StreamEnd:
    """Sent in place of a batch: the worker's part of the stream is over."""


class Fetch(NamedTuple):
    """Command: fetch `index` and send it back under `task`."""

    round: int
    task: int
    index: Any


class Resume(NamedTuple):
    """Command: begin another iteration over the dataset; tasks of earlier rounds are forgotten."""

    round: int


class Plan(NamedTuple):
    """What a worker needs to know for its life."""

    id: int
    num_workers: int
    base_seed: int
    dataset: Any
    auto_collation: bool
    collate_fn: Any
    drop_last: bool
    init_fn: Any
    block_kind: type

    def fetcher(self):
        return fetcher_for(self.dataset, self.auto_collation, self.collate_fn, self.drop_last)


def numpy_seed(base_seed: int, worker: int) -> np.ndarray:
    """Four words that seed NumPy's global generator in a worker, the same as PyTorch's."""
    words = [worker, base_seed & 0xffffffff, base_seed >> 32, 0]
    return np.random.SeedSequence(words).generate_state(4)


def seed_everything(plan: Plan) -> int:
    seed = plan.base_seed + plan.id
    random.seed(seed)
    manual_seed(seed)
    np.random.seed(numpy_seed(plan.base_seed, plan.id))
    return seed


class Inbox:
    """The commands of the parent, read by a thread so that the parent never waits for a busy worker."""

    def __init__(self, connection, sender: Sender):
        self.connection = connection
        self.sender = sender
        self.commands: queue.SimpleQueue = queue.SimpleQueue()
        self.round = 0
        self.stopped = False
        threading.Thread(target=self._read, name='flambeau-inbox', daemon=True).start()

    def _read(self):
        while not self.stopped:
            try:
                returned, command = self.connection.recv()
            except (EOFError, OSError):  # the parent has gone
                returned, command = ([], []), None
            if command is None:
                self.stopped = True
            else:
                self.round = command.round
            self.commands.put((returned, command))

    def __iter__(self):
        """Commands that still matter, until the parent says stop or is gone."""
        while True:
            returned, command = self.commands.get()
            if self.stopped:
                return
            self.sender.take_back(*returned)
            if command.round == self.round:
                yield command


def run_worker(connection, plan: Plan):
    """The main function of a worker process."""
    global _worker_info
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent decides what it means
    set_num_threads(1)  # the loader's workers are what runs side by side
    seed = seed_everything(plan)
    _worker_info = WorkerInfo(plan.id, plan.num_workers, seed, plan.dataset)
    where = f'in DataLoader worker process {plan.id}'
    sender = Sender(connection, plan.block_kind)
    try:
        serve(Inbox(connection, sender), sender, plan, where)
    except (BrokenPipeError, ConnectionResetError):  # the parent has gone, or does not want the rest
        pass


def serve(inbox: Inbox, sender: Sender, plan: Plan, where: str):
    fetcher = failure = None
    try:
        if plan.init_fn is not None:
            plan.init_fn(plan.id)
        fetcher = plan.fetcher()
    except Exception as error:
        failure = ExceptionWrapper(where, error)
    ended = False
    for command in inbox:
        if isinstance(command, Resume):
            ended = False
            try:
                fetcher = plan.fetcher()
            except Exception as error:
                failure = ExceptionWrapper(where, error)
        elif not ended:
            data = failure or fetch(fetcher, command.index, where)
            ended = isinstance(data, StreamEnd)
            send(sender, (command.round, command.task), data, where)
            del data


def fetch(fetcher, index, where: str):
    try:
        return fetcher.fetch(index)
    except Exception as error:
        if isinstance(error, StopIteration) and isinstance(fetcher, StreamFetcher):
            return StreamEnd()
        return ExceptionWrapper(where, error)


def send(sender: Sender, key: tuple, data, where: str):
    """Sends `data`, or else the reason why it cannot be sent."""
    try:
        sender.send(key, data)
    except (BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:
        sender.send(key, ExceptionWrapper(where, error))
