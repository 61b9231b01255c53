"""Hands objects from one process to another, their arrays through shared memory.

The sender pickles an object with its arrays out of band, puts their bytes into one block of shared memory and sends a
short message over a connection. The receiver maps the block and rebuilds the object on it, so nothing is copied there.
When the last array on a block has died, the block goes back and the sender fills it again: in a steady loop no memory
is allocated.

On Linux a block is an anonymous file that travels as a file descriptor: it has no name that could be left behind, and
goes with the last process that maps it. Elsewhere it is a named `multiprocessing.shared_memory` block, unlinked as
soon as both sides have it.

Knows nothing of datasets or batches.
"""
from __future__ import annotations

import collections
import io
import mmap
import os
import pickle
from multiprocessing import reduction, shared_memory
from typing import NamedTuple

import numpy as np

from ..tensor import Parameter, Tensor, wrap

__all__ = ['Sender', 'Receiver', 'rebuild', 'AnonymousBlock', 'NamedBlock', 'block_kind']

ALIGNMENT = 64  # bytes; of each array in a block: a cache line, the widest vector
SMALL = 1 << 14  # bytes; less than this goes through the connection, cheaper than mapped pages
GRAIN = 1 << 16  # bytes; block sizes are multiples, so that batches of about one size fit each other's blocks


# ---- pickling with the arrays out of band ------------------------------------------------------------------

def memory_order(array: np.ndarray) -> list[int]:
    """The dimensions from the widest stride to the narrowest: transposed so, a dense array is contiguous."""
    return sorted(range(array.ndim), key=lambda d: (-array.strides[d], -array.shape[d]))


def rebuild_array(flat: np.ndarray, dtype: np.dtype, shape: tuple, order: list) -> np.ndarray:
    return flat.view(dtype).reshape(shape).transpose(np.argsort(order))


def reduce_array(array: np.ndarray) -> tuple:
    """`array` as bytes in memory order: any dtype, also those without a buffer format, and any dense layout."""
    order = memory_order(array)
    ordered = array.transpose(order)
    return rebuild_array, (np.ascontiguousarray(ordered).reshape(-1).view(np.uint8), array.dtype, ordered.shape, order)


def goes_out_of_band(array: np.ndarray) -> bool:
    """Whether NumPy itself pickles `array` out of band, and none of its layout is lost."""
    return array.flags.c_contiguous and array.dtype.isbuiltin == 1 and array.dtype.kind not in 'mM'


def rebuild_tensor(array: np.ndarray, kind: type, requires_grad: bool) -> Tensor:
    tensor = wrap(array)
    if kind is Parameter:
        return Parameter(tensor, requires_grad=requires_grad)
    return tensor.requires_grad_() if requires_grad else tensor


class ArrayPickler(pickle.Pickler):
    """Pickles tensors and arrays so that their bytes are handed to `buffer_callback`."""

    def reducer_override(self, value):
        kind = type(value)
        if kind is Tensor or kind is Parameter:
            if value.requires_grad and not value.is_leaf:
                raise RuntimeError(
                    'Cowardly refusing to serialize non-leaf tensor which requires_grad, since autograd does not '
                    'support crossing process boundaries.  If you just want to transfer the data, call detach() on the '
                    'tensor before serializing (e.g., putting it on the queue).')
            return rebuild_tensor, (value._array, kind, value.requires_grad)
        if kind is np.ndarray and value.size and not value.dtype.hasobject and not goes_out_of_band(value):
            return reduce_array(value)
        return NotImplemented


def pickled(value) -> tuple[bytes, list[memoryview]]:
    """The pickle of `value` and the bytes of its arrays, which the pickle only refers to."""
    stream, buffers = io.BytesIO(), []
    ArrayPickler(stream, protocol=5, buffer_callback=buffers.append).dump(value)
    return stream.getvalue(), [buffer.raw() for buffer in buffers]


# ---- blocks -------------------------------------------------------------------------------------------

class AnonymousBlock:
    """Shared memory without a name: its file descriptor goes through the Unix socket of the connection."""

    name = None

    def __init__(self, size: int):
        self.size = size
        self.descriptor = os.memfd_create('flambeau-batch', os.MFD_CLOEXEC)
        try:
            os.posix_fallocate(self.descriptor, 0, size)  # an error now, not a bus error when it is filled
            self.memory = memoryview(mmap.mmap(self.descriptor, size))
        except BaseException:
            os.close(self.descriptor)
            raise

    def hand_over(self, connection):
        reduction.send_handle(connection, self.descriptor, os.getppid())
        os.close(self.descriptor)

    @staticmethod
    def take_over(connection, name: None, size: int):
        """The mapping of the block that is coming, and its bytes."""
        descriptor = reduction.recv_handle(connection)
        try:
            mapping = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        return mapping, mapping


class NamedBlock:
    """Shared memory with a name, unlinked once the receiver has it; if it never does, by the resource tracker."""

    def __init__(self, size: int):
        self.size = size
        self.shared = shared_memory.SharedMemory(create=True, size=size)
        try:
            if hasattr(os, 'posix_fallocate') and hasattr(self.shared, '_fd'):
                os.posix_fallocate(self.shared._fd, 0, size)
        except BaseException:
            self.shared.close()
            self.shared.unlink()
            raise
        self.name = self.shared.name
        self.memory = self.shared.buf

    def hand_over(self, connection):
        """Nothing more to do: the name is in the message."""

    @staticmethod
    def take_over(connection, name: str, size: int):
        shared = shared_memory.SharedMemory(name)
        shared.unlink()
        return shared, shared.buf


def block_kind() -> type:
    """The best kind of block that this platform has."""
    return AnonymousBlock if hasattr(os, 'memfd_create') and hasattr(os, 'posix_fallocate') else NamedBlock


class Lease:
    """The receiver's hold on a block: arrays made on it keep it alive, and its death returns the block.

    A block that existed when this process forked is not filled again: the child may still look at it.
    """

    __slots__ = ('mapping', 'number', 'returned', 'born', '__array_interface__', '__weakref__')
    forks = 0  # of this process, so far

    def __init__(self, mapping, address: int, size: int, number: int, returned: collections.deque):
        self.mapping = mapping
        self.number = number
        self.returned = returned
        self.born = Lease.forks
        self.__array_interface__ = {'version': 3, 'shape': (size,), 'typestr': '|u1', 'data': (address, False)}

    def __del__(self):
        self.returned.append((self.number, self.born == type(self).forks))


def count_fork():
    Lease.forks += 1


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(before=count_fork)


# ---- the two ends ----------------------------------------------------------------------------------------

class Message(NamedTuple):
    """What goes through the connection for one object: its bytes are in `inline`, or in a block at `spans`."""

    key: object
    inline: list[bytearray] | None  # the pickle, then the arrays
    spans: list[tuple[int, int]] | None = None
    number: int = -1  # of the block
    size: int = 0  # of the block, where it is new
    name: str | None = None
    replaced: int | None = None  # number of a block that is no longer in use


def spans_for(lengths: list[int]) -> list[tuple[int, int]]:
    """First byte and end of each part in a block, every part aligned."""
    spans, end = [], 0
    for length in lengths:
        start = -(-end // ALIGNMENT) * ALIGNMENT
        end = start + length
        spans.append((start, end))
    return spans


class Sender:
    """The end that gives objects away: `send(key, value)`."""

    def __init__(self, connection, kind: type):
        self.connection = connection
        self.kind = kind
        self.blocks: dict[int, object] = {}
        self.free: list[int] = []
        self.made = 0

    def take_back(self, reusable: list[int], lost: list[int]):
        """Blocks that the receiver no longer uses; those `lost` are not to be filled again."""
        self.free += reusable
        for number in lost:
            del self.blocks[number]

    def send(self, key, value):
        """Sends `value`. Raises, with nothing sent, what pickling raises, or RuntimeError for want of memory."""
        stream, parts = pickled(value)
        parts.insert(0, memoryview(stream))
        if sum(part.nbytes for part in parts) < SMALL:
            self.connection.send(Message(key, [bytearray(part) for part in parts]))
            return
        spans = spans_for([part.nbytes for part in parts])
        number = self._find(spans[-1][1])
        fresh, replaced = number is None, None
        if fresh:
            number, replaced = self._make(spans[-1][1])
        block = self.blocks[number]
        for part, (start, end) in zip(parts, spans):
            block.memory[start:end] = part
        self.connection.send(Message(key, None, spans, number, block.size if fresh else 0, block.name, replaced))
        if fresh:
            block.hand_over(self.connection)

    def _find(self, size: int) -> int | None:
        """The smallest free block that is large enough."""
        number = min((n for n in self.free if self.blocks[n].size >= size), key=lambda n: self.blocks[n].size,
                     default=None)
        if number is not None:
            self.free.remove(number)
        return number

    def _make(self, size: int) -> tuple[int, int | None]:
        """A new block, in place of the smallest free one if there is any: that one was too small."""
        size = -(-size // GRAIN) * GRAIN
        try:
            block = self.kind(size)
        except OSError as error:
            raise RuntimeError(
                f'unable to allocate {size} bytes of shared memory for a batch: {error.strerror}. Enlarge the shared '
                'memory of the system or container (/dev/shm; --shm-size), or use a smaller batch_size, '
                'prefetch_factor or num_workers') from error
        replaced = min(self.free, key=lambda n: self.blocks[n].size, default=None)
        if replaced is not None:
            self.free.remove(replaced)
            del self.blocks[replaced]
        number, self.made = self.made, self.made + 1
        self.blocks[number] = block
        return number, replaced


def rebuild(parts: list):
    """The object that a receiver got as `parts`; its arrays stand on them."""
    stream, *buffers = parts
    return pickle.loads(stream, buffers=buffers)


class Receiver:
    """The end that gets objects. At most `limit` blocks stay mapped; beyond that arrays are copies."""

    def __init__(self, connection, kind: type, limit: int):
        self.connection = connection
        self.kind = kind
        self.limit = limit
        self.mappings: dict[int, tuple] = {}  # number: (mapping, address, size)
        self.returned: collections.deque = collections.deque()  # (number, whether it may be filled again)

    def receive(self) -> tuple[object, list]:
        """(key, parts) of the next message, the object being `rebuild(parts)`.

        Raises EOFError or OSError where the sender has gone.
        """
        message = self.connection.recv()
        if message.spans is None:
            return message.key, message.inline
        if message.size:
            mapping, memory = self.kind.take_over(self.connection, message.name, message.size)
            address = np.frombuffer(memory, np.uint8).ctypes.data
            self.mappings[message.number] = mapping, address, message.size
        self.mappings.pop(message.replaced, None)
        mapping, address, size = self.mappings[message.number]
        whole = np.asarray(Lease(mapping, address, size, message.number, self.returned))
        parts = [whole[start:end] for start, end in message.spans]
        return message.key, parts if len(self.mappings) <= self.limit else [bytearray(part) for part in parts]

    def take_returned(self) -> tuple[list[int], list[int]]:
        """Numbers of the blocks that came back since the last call: those to fill again, those lost."""
        reusable, lost = [], []
        while self.returned:
            number, unseen = self.returned.popleft()
            (reusable if unseen else lost).append(number)
        for number in lost:
            self.mappings.pop(number, None)
        return reusable, lost
