"""The memory behind tensors: whom an array shares it with, arrays of other strides on it, and PyTorch's storage
objects.

The storage of an array is the memory of the root of its chain of bases. Knows arrays and no tensor.
"""
from __future__ import annotations

import numpy as np

from . import dtypes
from .device import CPU, device, resolve

__all__ = ['root_of', 'offset_of', 'restrided', 'dense_like', 'is_channels_last', 'is_shared_memory',
           'to_shared_memory', 'deep_copied', 'UntypedStorage', 'TypedStorage']


def root_of(array: np.ndarray) -> np.ndarray:
    """The array that owns the memory `array` lies in (or that stands for the foreign owner)."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def address_of(array) -> int:
    return array.__array_interface__['data'][0]


def offset_of(array) -> int:
    """How many elements `array` begins behind the start of its storage."""
    root = root_of(array)
    return (address_of(array) - address_of(root)) // array.itemsize if root is not array else 0


def storage_bytes(array) -> np.ndarray:
    """The storage of an array as bytes."""
    root = root_of(array)
    if root.flags.c_contiguous:
        return root.reshape(-1).view(np.uint8)
    order = sorted(range(root.ndim), key=lambda k: -root.strides[k])
    dense = root.transpose(order)
    if not dense.flags.c_contiguous:
        raise RuntimeError('the memory of this array, which another library made, is not dense')
    return dense.reshape(-1).view(np.uint8)


def shares_elements(array):
    """Whether elements of an expanded array lie in one place in memory: tensors keep such arrays locked."""
    return array.size and any(s == 0 and n > 1 for s, n in zip(array.strides, array.shape))


def restrided(array, shape, strides, offset=0):
    """An array on the same memory with other shape and strides (in elements), `offset` elements behind its start.

    Raises RuntimeError where it would reach outside of the storage.
    """
    size = array.itemsize
    memory = storage_bytes(array)
    start = address_of(array) - address_of(memory) + offset * size
    reach = sum((n - 1) * s for n, s in zip(shape, strides) if n > 0) * size
    if 0 not in shape and (start < 0 or start + reach + size > memory.size):
        raise RuntimeError(
            f'setStorage: sizes {list(shape)}, strides {list(strides)}, storage offset {start // size}, and itemsize '
            f'{size} requiring a storage size of {start + reach + size} are out of bounds for storage of size '
            f'{memory.size}')
    if 0 in shape:
        start = 0
    made = np.ndarray(shape, UNSIGNED_OF.get(size, array.dtype) if array.dtype.kind == 'V' or size == 2
                      else array.dtype, memory, start, tuple(s * size for s in strides))
    if made.dtype is not array.dtype:
        made = made.view(array.dtype)  # dtypes that are not NumPy's own cannot be made on a buffer
    if not array.flags.writeable or shares_elements(made):
        made.flags.writeable = False
    return made


UNSIGNED_OF = {2: np.dtype(np.uint16)}


def dense_like(array: np.ndarray, dtype) -> np.ndarray:
    """An uninitialised dense array of the shape and order of strides of another; in C order where that is expanded."""
    if array.flags.c_contiguous:
        return np.empty(array.shape, dtype)
    expanded = 0 in array.strides and any(s == 0 and n > 1 for s, n in zip(array.strides, array.shape))
    return np.empty(array.shape, dtype) if expanded else np.empty_like(array, dtype)


def has_channels_last(array) -> bool:
    """Whether images or volumes lie with their channels side by side, and in no other order that one could see."""
    return array.ndim in (4, 5) and not array.flags.c_contiguous and np.moveaxis(array, 1, -1).flags.c_contiguous


def is_channels_last(array, memory_format) -> bool:
    """Whether the strides are those of channels_last (4-d) or channels_last_3d (5-d)."""
    rank = {'channels_last': 4, 'channels_last_3d': 5}.get(memory_format.name)
    if array.ndim != rank:
        return False
    expected = array.itemsize
    for k in (1, *range(rank - 1, 1, -1), 0):
        if array.shape[k] != 1 and array.strides[k] != expected:
            return False
        expected *= array.shape[k]
    return True


def is_shared_memory(array) -> bool:
    import mmap
    base = root_of(array).base
    while isinstance(base, memoryview):
        base = base.obj
    return isinstance(base, mmap.mmap)


def to_shared_memory(array):
    """A copy of the array in anonymous memory that forked processes share."""
    if is_shared_memory(array):
        return array
    import mmap
    memory = mmap.mmap(-1, max(array.nbytes, 1))
    shared = np.frombuffer(memory, np.uint8)[:array.nbytes].view(array.dtype).reshape(array.shape)
    shared[...] = array
    return shared


def deep_copied(array, memo):
    """A copy on a copy of the storage; arrays that shared memory share it again within one deepcopy."""
    size, memory = array.itemsize, storage_bytes(array)
    key = ('storage', address_of(memory))
    if key not in memo:
        memo[key] = memory.copy(), memory  # which stays alive, so that no other memory gets its address
    copy = memo[key][0]
    strides = tuple(s // size for s in array.strides)
    start = (address_of(array) - address_of(memory)) // size
    return restrided(copy[:copy.size // size * size].view(array.dtype), array.shape, strides, start)


class UntypedStorage:
    """The bytes that a tensor and its views lie in."""

    def __init__(self, size=0):
        self._memory = np.zeros(size, np.uint8)

    @classmethod
    def of(cls, array):
        self = object.__new__(cls)
        self._memory = storage_bytes(array)
        return self

    def data_ptr(self) -> int:
        return address_of(self._memory)

    def nbytes(self) -> int:
        return self._memory.size

    size = __len__ = nbytes

    def __getitem__(self, index):
        return self._memory[index].item() if isinstance(index, int) else self._memory[index].tolist()

    def __setitem__(self, index, value):
        self._memory[index] = value

    def tolist(self) -> list:
        return self._memory.tolist()

    def fill_(self, value):
        """Sets every byte to a number."""
        self._memory[...] = value
        return self

    def copy_(self, source, non_blocking=False):
        """Overwrites the bytes by those of another storage of the same size."""
        self._memory[...] = source.untyped()._memory
        return self

    def clone(self):
        return UntypedStorage.of(self._memory.copy())

    device = CPU
    is_cuda = False

    def untyped(self):
        return self

    def cpu(self):
        return self

    def cuda(self, index=0):
        resolve(device('cuda', index))
        return self

    def __reduce__(self):
        return UntypedStorage.of, (root_of(self._memory),)  # one array for all that share it, so that they still do

    def __eq__(self, other):
        return isinstance(other, UntypedStorage) and self.data_ptr() == other.data_ptr()

    def __hash__(self):
        return hash(self.data_ptr())

    def __repr__(self):
        return f'[torch.storage.UntypedStorage(device=cpu) of size {self.nbytes()}]'


class TypedStorage:
    """The elements that a tensor and its views lie in."""

    def __init__(self, storage: UntypedStorage, dtype: dtypes.dtype):
        self._storage = storage
        self.dtype = dtype

    def _elements(self):
        return self._storage._memory.view(self.dtype.numpy)

    def untyped(self):
        return self._storage

    def data_ptr(self) -> int:
        return self._storage.data_ptr()

    def nbytes(self) -> int:
        return self._storage.nbytes()

    def size(self) -> int:
        return self._storage.nbytes() // self.dtype.itemsize

    __len__ = size

    def __getitem__(self, index):
        return self._elements()[index].item() if isinstance(index, int) else self._elements()[index].tolist()

    def __setitem__(self, index, value):
        self._elements()[index] = value

    def tolist(self) -> list:
        return self._elements().tolist()

    def __iter__(self):
        return iter(self.tolist())

    def __repr__(self):
        rows = '\n '.join(map(str, self.tolist()))
        return f'{rows}\n[torch.storage.TypedStorage(dtype={self.dtype}, device=cpu) of size {self.size()}]'
