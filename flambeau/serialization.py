"""`save` and `load` in PyTorch's file formats, both ways, and safetensors.

A file holds a pickle, in which tensors are views (offset, sizes, strides) of storages, and the storages' bytes.
Files are read by `pickle_interpreter` under an allow-list: a name in a file never imports or runs anything. What
pickling and copying a tensor mean also stands here. It must not know how anything is computed.
"""
from __future__ import annotations

import contextlib
import io
import math
import os
import pickle
import secrets
import stat
import struct
import sys
import types
import warnings
import zipfile
import zlib
from collections import OrderedDict
from typing import NamedTuple

import numpy as np

from .device import device, resolve
from .dtypes import (ALL, bfloat16, bool_, complex64, complex128, dtype, float16, float32, float64, int8, int16, int32,
                    int64, of, uint8, uint16, uint32, uint64)
from .pickle_interpreter import (Allowed, Interpreter, Record, UnpicklingError, add_safe_globals, clear_safe_globals,
                                 get_safe_globals, safe_globals)
from .ops.definition import exports
from .storage import TypedStorage, UntypedStorage, address_of, root_of
from .tensor import Parameter, Size, Tensor, layout, wrap

__all__ = ['save', 'load', 'save_safetensors', 'load_safetensors', 'add_safe_globals', 'get_safe_globals',
           'clear_safe_globals', 'safe_globals', 'get_unsafe_globals_in_checkpoint', 'Record']

PACKAGE = __name__.partition('.')[0]
DEFAULT_PROTOCOL = 2


# ---- storages --------------------------------------------------------------------------------------------

class StorageType(NamedTuple):
    """A class of storages as files name it, such as ('torch', 'FloatStorage')."""
    module: str
    name: str
    dtype: dtype


UNTYPED = StorageType('torch.storage', 'UntypedStorage', uint8)
STORAGE_TYPES = {element: StorageType('torch', f'{name}Storage', element) for element, name in (
    (float64, 'Double'), (float32, 'Float'), (float16, 'Half'), (bfloat16, 'BFloat16'),
    (int64, 'Long'), (int32, 'Int'), (int16, 'Short'), (int8, 'Char'),
    (uint8, 'Byte'), (bool_, 'Bool'), (complex64, 'ComplexFloat'),
    (complex128, 'ComplexDouble'))}


def view_of_storage(array: np.ndarray) -> tuple[TypedStorage, int, tuple[int, ...]]:
    """The storage `array` is a view of, the element at which it starts and its strides in elements.

    Where memory and view do not fit in whole elements the storage is that of a copy.
    """
    element = of(array.dtype)
    size = element.itemsize
    root = root_of(array)
    offset, rest = divmod(address_of(array) - address_of(root), size)
    dense = not root.dtype.hasobject and address_of(root.ravel(order='K')) == address_of(root)
    if not array.size:
        sides = [max(side, 1) for side in array.shape]
        return (TypedStorage(UntypedStorage(0), element), 0,
                tuple(math.prod(sides[axis + 1:]) for axis in range(array.ndim)))
    if not dense or rest or root.nbytes % size or any(step < 0 or step % size for step in array.strides):
        root = array = np.array(array, order='C')
        offset = 0
    return TypedStorage(UntypedStorage.of(root), element), offset, tuple(step // size for step in array.strides)


# ---- tensors: how they are taken apart and put together ---------------------------------------------------

def rebuild_tensor(storage, storage_offset, size, stride):
    """The view of `storage` with these sizes and strides (in elements). RuntimeError where it would lie outside."""
    if not isinstance(storage, TypedStorage) or not all(isinstance(part, (tuple, list)) for part in (size, stride)):
        raise UnpicklingError('a tensor needs a storage, sizes and strides')
    if len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in (storage_offset, *size, *stride)):
        raise RuntimeError(f'load: a tensor cannot have size {size}, stride {stride} and offset {storage_offset}')
    if 0 in size:
        storage_offset = 0
    elif storage_offset + sum((n - 1) * step for n, step in zip(size, stride)) >= len(storage):
        raise RuntimeError(f'load: a tensor of size {size}, stride {stride} and storage offset {storage_offset} is out '
                           f'of bounds for its storage of {len(storage)} elements: the file is damaged or hostile')
    itemsize = storage.dtype.itemsize
    try:
        return wrap(np.ndarray(size, storage.dtype.numpy, storage.untyped()._memory, storage_offset * itemsize,
                               tuple(step * itemsize for step in stride)))
    except (ValueError, OverflowError) as error:
        raise RuntimeError(f'load: a tensor cannot have size {size} and stride {stride}: {error}') from error


def rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, backward_hooks, metadata=None):
    """`rebuild_tensor` with autograd's flag; hooks are not part of a file. `metadata` asks for conj or neg."""
    tensor = rebuild_tensor(storage, storage_offset, size, stride)
    for name, change in (('conj', np.conjugate), ('neg', np.negative)):
        if isinstance(metadata, dict) and metadata.get(name) is True:
            tensor = wrap(np.asarray(change(tensor._array)))
    return tensor.requires_grad_(True) if requires_grad is True else tensor


def rebuild_tensor_v3(storage, storage_offset, size, stride, requires_grad, backward_hooks, element, metadata=None):
    """`rebuild_tensor_v2` for dtypes that have no typed storage."""
    if not isinstance(storage, (TypedStorage, UntypedStorage)) or not isinstance(element, dtype):
        raise UnpicklingError('a tensor needs a storage and a dtype')
    return rebuild_tensor_v2(TypedStorage(storage.untyped(), element), storage_offset, size, stride, requires_grad,
                             backward_hooks, metadata)


def rebuild_parameter(data, requires_grad, backward_hooks):
    return Parameter(data, requires_grad is True)


def rebuild_parameter_with_state(data, requires_grad, backward_hooks, state):
    return set_attributes(rebuild_parameter(data, requires_grad, backward_hooks), state)


def rebuild_from_type(function, kind, args, state):
    """A tensor of class `kind`, with attributes."""
    if not isinstance(function, types.FunctionType) or function not in TORCH_NAMES:
        raise UnpicklingError('what should rebuild a tensor does not')
    tensor = function(*args)
    if isinstance(kind, Record):
        return Record(kind.module, kind.name, (tensor, state))
    if not (isinstance(kind, type) and issubclass(kind, Tensor)):
        raise UnpicklingError('the class of a tensor must be a subclass of Tensor')
    if type(tensor) is not kind:
        tensor = tensor.as_subclass(kind)
    return set_attributes(tensor, state)


def set_attributes(tensor, state):
    if hasattr(tensor, '__setstate__'):
        tensor.__setstate__(state)
        return tensor
    for attributes in state if isinstance(state, tuple) else (state,):
        for name, value in (attributes or {}).items():
            if hasattr(Tensor, name):
                raise UnpicklingError(f'a file may not set attribute {name!r} of a tensor')
            setattr(tensor, name, value)
    return tensor


def attributes_of(tensor) -> dict:
    """What users have set on a tensor, or what its subclass says is its state."""
    if type(tensor).__getstate__ is not object.__getstate__:
        return tensor.__getstate__()
    return {name: value for name, value in tensor.__dict__.items() if not hasattr(Tensor, name)}


def layout_of(name: str) -> layout:
    found = vars(sys.modules[layout.__module__]).get(str(name).removeprefix('torch.'))
    if not isinstance(found, layout):
        raise UnpicklingError(f'layout {name!r} is not supported')
    return found


TORCH_NAMES = {
    layout_of: ('torch.serialization', '_get_layout'),
    rebuild_tensor: ('torch._utils', '_rebuild_tensor'),
    rebuild_tensor_v2: ('torch._utils', '_rebuild_tensor_v2'),
    rebuild_tensor_v3: ('torch._utils', '_rebuild_tensor_v3'),
    rebuild_parameter: ('torch._utils', '_rebuild_parameter'),
    rebuild_parameter_with_state: ('torch._utils', '_rebuild_parameter_with_state'),
    rebuild_from_type: ('torch._tensor', '_rebuild_from_type_v2'),
}


def reduce_tensor(tensor) -> tuple:
    """What `Tensor.__reduce_ex__` returns: how pickle takes a tensor apart, for files as for worker processes."""
    state = attributes_of(tensor)
    if type(tensor) is Parameter:
        parts = (tensor.detach(), tensor.requires_grad, OrderedDict())
        return (rebuild_parameter_with_state, (*parts, state)) if state else (rebuild_parameter, parts)
    storage, offset, stride = view_of_storage(tensor._array)
    parts = (storage, offset, tensor._array.shape, stride, tensor.requires_grad, OrderedDict())
    function = rebuild_tensor_v2
    if storage.dtype not in STORAGE_TYPES:
        function, parts = rebuild_tensor_v3, (*parts, storage.dtype)
    if type(tensor) is Tensor and not state:
        return function, parts
    return rebuild_from_type, (function, type(tensor), parts, state)


# ---- names: what those in a file stand for, and what is written --------------------------------------------

OWN_PACKAGES = {'torch.nn': 'nn', f'{PACKAGE}.nn': 'nn', 'torchvision': 'vision', f'{PACKAGE}.vision': 'vision'}


def own_object(module: str, name: str):
    """The module class of this package, or function of it or of nn.functional, that files call `module.name`; or None.
    """
    if module in ('torch', PACKAGE):
        found = getattr(sys.modules[PACKAGE], name, None)  # which loads its family of operations
        return found if found is exports('torch').get(name) else None
    prefix = next((prefix for prefix in OWN_PACKAGES if f'{module}.'.startswith(f'{prefix}.')), None)
    if prefix is None:
        return None
    from .nn import Module
    package, found = getattr(sys.modules[PACKAGE], OWN_PACKAGES[prefix], None), None
    for part in (*module[len(prefix):].split('.')[1:], None):
        candidate = getattr(package, name, None)
        functional = getattr(package, '__name__', None) == f'{PACKAGE}.nn.functional'
        if isinstance(candidate, type) and issubclass(candidate, Module) or (
                functional and isinstance(candidate, types.FunctionType)):
            found = candidate  # files name the module that defines it, which here may be another: public is above
        package = getattr(package, part or '', None)
        if not isinstance(package, types.ModuleType) or not package.__name__.startswith(f'{PACKAGE}.'):
            break
    return found


def torch_names(target, name: str) -> list[tuple[str, str]]:
    """Where PyTorch has an object of this package, as (module, name), the public place first."""
    parts = (getattr(target, '__module__', None) or '').split('.')
    if parts[0] != PACKAGE:
        return []
    found = []
    for depth in range(1, len(parts) + 1):
        package = sys.modules.get('.'.join(parts[:depth]))
        if package is not None and getattr(package, name, None) is target:
            root, inner = ('torchvision', parts[2:depth]) if parts[1:2] == ['vision'] else ('torch', parts[1:depth])
            found.append(('.'.join([root, *inner]), name))
    return found


def size_of(values=()) -> Size:
    if not isinstance(values, (tuple, list)) or not all(type(value) is int for value in values):
        raise UnpicklingError('a size must consist of integers')
    return Size(values)


def known_names() -> dict:
    """The names that files of tensors use, as `Allowed` takes them."""
    known = {f'torch.{element.name}': (element, None) for element in ALL}
    for kind in (UNTYPED, *STORAGE_TYPES.values()):
        known[f'{kind.module}.{kind.name}'] = known[f'torch.cuda.{kind.name}'] = (kind, None)
    for function, (module, name) in TORCH_NAMES.items():
        known[f'{module}.{name}'] = (function, function)
    return known | {'torch.Size': (Size, size_of), 'torch.device': (device, device), 'torch.Tensor': (Tensor, None),
                    'torch.UntypedStorage': (UNTYPED, None), 'torch.nn.parameter.Parameter': (Parameter, None),
                    'torch.nn.Parameter': (Parameter, None)}


def allowed_names(own=own_object, records: bool = False) -> Allowed:
    allowed = Allowed(known_names(), own, records)
    for target in list(allowed.permitted.values()):  # files know what users allow of this package under PyTorch's name
        names = torch_names(target, getattr(target, '__qualname__', ''))
        allowed.permitted |= {'.'.join(name): target for name in names}
    return allowed


class FilePickler(pickle._Pickler):
    """Pickles with PyTorch's names and with storages apart: `storages` then maps keys to their type and bytes.

    Python's own pickler, since the one in C finds globals only under the name by which they are imported.
    """

    dispatch = dict(pickle._Pickler.dispatch)

    def __init__(self, file, protocol: int, legacy: bool = False):
        super().__init__(file, protocol)
        self.legacy = legacy
        self.storages: dict[str, tuple[StorageType, np.ndarray]] = {}
        self.keys: dict[int, str] = {}

    def persistent_id(self, target):
        if type(target) not in (TypedStorage, UntypedStorage):
            return None
        kind = UNTYPED if type(target) is UntypedStorage else STORAGE_TYPES.get(target.dtype, UNTYPED)
        memory = target.untyped()._memory
        key = self.keys.setdefault(id(root_of(memory)), str(len(self.keys)))
        known, _ = self.storages.setdefault(key, (kind, memory))  # which keeps the root, and so its identity, alive
        if known.dtype is not kind.dtype:
            raise RuntimeError('Cannot save multiple tensors or storages that view the same data as different types: '
                               f'{known.dtype} and {kind.dtype}. Save a clone of one of them.')
        parts = ('storage', kind, key, 'cpu', memory.size // kind.dtype.itemsize)
        return (*parts, None) if self.legacy else parts

    def reducer_override(self, target):
        if type(target) is Record:
            raise pickle.PicklingError(f'save: {target!r} stands for an object whose class was not allowed when it was '
                                       'loaded. Load it again inside safe_globals([...]) to save it.')
        if type(target) is layout:
            return layout_of, (repr(target),)
        return target.name if type(target) is StorageType else NotImplemented

    def save_global(self, target, name=None):
        if isinstance(target, StorageType):
            names = [(target.module, target.name)]
        elif isinstance(target, types.FunctionType) and target in TORCH_NAMES:
            names = [TORCH_NAMES[target]]
        else:
            names = torch_names(target, name or target.__qualname__)
        if not names:
            super().save_global(target, name)
            return
        module, public = names[0]
        if self.proto >= 4:
            self.save(module)
            self.save(public)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f'{module}\n{public}\n'.encode('utf-8'))
        self.memoize(target)

    dispatch[types.FunctionType] = save_global


# ---- writing ------------------------------------------------------------------------------------------------

ALIGNMENT = 64
MAPPABLE = 16  # every dtype is aligned at its multiples
LARGE_RECORD = 1 << 30  # from here on a record has the zip64 field, whose length counts for its alignment
ZIP64_FIELD = 20


def save(obj, f, pickle_module=pickle, pickle_protocol: int = DEFAULT_PROTOCOL,
         _use_new_zipfile_serialization: bool = True) -> None:
    """Saves `obj` to a path or to a file object, as a file that `torch.load` reads.

    Tensors that share memory still do so after loading. A path is replaced only when the new file is complete.
    Raises ValueError for another `pickle_module` than `pickle`, RuntimeError where the folder is missing.

    >>> buffer = io.BytesIO()
    >>> save({'weight': wrap(np.ones(2)), 'epoch': 3}, buffer)
    >>> load(io.BytesIO(buffer.getvalue()))['epoch']
    3
    """
    if pickle_module is not pickle:
        raise ValueError(f'save: pickle_module {pickle_module!r} is not supported: only what `pickle` can represent '
                         'can be loaded without running foreign code')
    if not isinstance(pickle_protocol, int) or not 2 <= pickle_protocol <= pickle.HIGHEST_PROTOCOL:
        raise ValueError(f'save: pickle_protocol must be from 2 to {pickle.HIGHEST_PROTOCOL}, not {pickle_protocol!r}')
    if not is_path(f) and not hasattr(f, 'write'):
        raise AttributeError(f'save: f must be a path or a file object with a write method, not {type(f).__name__}')
    buffer = io.BytesIO()
    pickler = FilePickler(buffer, pickle_protocol, legacy=not _use_new_zipfile_serialization)
    pickler.dump(obj)  # before anything is written
    write = write_archive if _use_new_zipfile_serialization else write_legacy
    if not is_path(f):
        write(f, 'archive', buffer.getbuffer(), pickler.storages)
        return
    stem = os.path.splitext(os.path.basename(os.fspath(f)))[0]
    with replaced_file(f) as file:
        write(file, stem if isinstance(stem, str) and stem.isascii() else 'archive', buffer.getbuffer(),
              pickler.storages)


def is_path(f) -> bool:
    return isinstance(f, (str, os.PathLike))


@contextlib.contextmanager
def replaced_file(path):
    """A file to write that takes the place of `path` when the block ends, and vanishes if it fails."""
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    if not os.path.isdir(folder):
        raise RuntimeError(f'Parent directory {folder} does not exist.')
    if os.path.exists(target) and not os.path.isfile(target):  # a device or a pipe has nothing to keep (a folder fails)
        with open(target, 'wb') as file:
            yield file
        return
    temporary = os.path.join(folder, f'.{name}.{secrets.token_hex(4)}.tmp')
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, 'O_BINARY', 0), 0o666)
    try:
        with open(descriptor, 'w+b') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(target):
            os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    if os.name == 'posix':  # the folder's entry must survive a power cut as well
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_archive(file, name: str, pickled, storages: dict) -> None:
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_STORED) as archive:
        checks = []
        records = {'data.pkl': pickled, 'byteorder': sys.byteorder.encode()}
        records |= {f'data/{key}': memory.data for key, (_, memory) in storages.items()}
        records['version'] = b'3\n'
        for record, content in records.items():
            checks.append(write_record(archive, f'{name}/{record}', content))
        names, contents = zlib.crc32('\0'.join(records).encode()), zlib.crc32(struct.pack(f'<{len(checks)}I', *checks))
        write_record(archive, f'{name}/.data/serialization_id', f'{names:020d}{contents:020d}'.encode())


def write_record(archive: zipfile.ZipFile, name: str, content) -> int:
    """Writes one aligned record; returns its checksum."""
    info = zipfile.ZipInfo(name)  # of a fixed date: equal objects make equal files
    info.file_size = memoryview(content).nbytes
    large = info.file_size >= LARGE_RECORD
    before = archive.fp.tell() + zipfile.sizeFileHeader + len(name.encode()) + ZIP64_FIELD * large + 4
    padding = -before % ALIGNMENT
    info.extra = struct.pack('<2sH', b'FB', padding) + b'Z' * padding
    with archive.open(info, 'w', force_zip64=large) as record:
        record.write(content)
    return info.CRC


MAGIC_NUMBER = 0x1950a86a20f9469cfc6c
LEGACY_VERSION = 1001


def write_legacy(file, name: str, pickled, storages: dict) -> None:
    """The format of PyTorch before 1.6: pickles one after the other, then the storages."""
    system = {'protocol_version': LEGACY_VERSION, 'little_endian': sys.byteorder == 'little',
              'type_sizes': {'short': 2, 'int': 4, 'long': 4}}
    for part in (MAGIC_NUMBER, LEGACY_VERSION, system):
        file.write(pickle.dumps(part, DEFAULT_PROTOCOL))
    file.write(pickled)
    file.write(pickle.dumps(sorted(storages), DEFAULT_PROTOCOL))
    for key in sorted(storages):
        kind, memory = storages[key]
        file.write(struct.pack('<q', memory.size // kind.dtype.itemsize))
        file.write(memory.data)


# ---- reading ------------------------------------------------------------------------------------------------

def load(f, map_location=None, pickle_module=None, *, weights_only: bool | None = None, mmap: bool | None = None,
         **pickle_load_args):
    """Loads what `save` of flambeau or of PyTorch wrote, from a path or a seekable file object.

    Nothing in the file is run. With `weights_only` (the default) a class that is not allowed is an error that names
    it; with `weights_only=False` it becomes a `Record`, and flambeau's own modules are rebuilt. `map_location` (device,
    str, dict or function of storage and location) says where tensors go; `mmap=True` leaves them in the file until
    they are used. `encoding` is that of strings written by Python 2.
    Raises `pickle.UnpicklingError` for a pickle that is damaged or asks for what is not allowed, RuntimeError for a
    damaged archive.
    """
    if weights_only is None:
        weights_only = pickle_module is None
    if weights_only and pickle_module is not None:
        raise RuntimeError('Can not safely load weights when explicit pickle_module is specified')
    if is_path(f) and os.fspath(f).endswith('.safetensors'):
        return load_safetensors(f)
    if mmap and not is_path(f):
        raise ValueError('f must be a file path in order to use the mmap argument')
    allowed = allowed_names(records=not weights_only)
    encoding = pickle_load_args.get('encoding', 'utf-8')
    with opened(f) as file:
        try:
            loaded = load_file(file, allowed, map_location, encoding, f if mmap else None)
        except UnpicklingError as error:
            raise UnpicklingError(f'{"Weights only load failed. " * weights_only}{error}') from error.__cause__
    if allowed.unknown:
        names = ', '.join(allowed.unknown)
        warnings.warn(f'load: the file names {names}, which flambeau does not have or may not run: what it makes of '
                      'them is loaded as flambeau.serialization.Record. Allow classes of yours with '
                      'torch.serialization.add_safe_globals([...]) or safe_globals([...]).', stacklevel=2)
    return loaded


def get_unsafe_globals_in_checkpoint(f) -> list[str]:
    """The names in a file that `load` with `weights_only` would refuse, as 'module.name'."""
    allowed = allowed_names(lambda module, name: None, records=True)
    with opened(f) as file:
        load_file(file, allowed, 'cpu', 'utf-8', None)
    return allowed.unknown


@contextlib.contextmanager
def opened(f):
    if is_path(f):
        with open(f, 'rb') as file:
            yield file
        return
    for method in ('read', 'readline', 'tell', 'seek'):
        if not hasattr(f, method):
            raise AttributeError(f'load: f must be a path or a seekable file object: {type(f).__name__} has no '
                                 f'{method}. Read it into io.BytesIO first.')
    yield f


def load_file(file, allowed: Allowed, map_location, encoding: str, mapped_path):
    start = file.tell()
    beginning = file.read(262)
    file.seek(start)
    if not beginning:
        raise EOFError('load: the file is empty')
    if beginning.startswith(b'PK\x03\x04'):
        return Archive(file, mapped_path).load(allowed, map_location, encoding)
    if mapped_path is not None:
        raise RuntimeError(f'mmap can only be used with files in the zip format: save {mapped_path} again with '
                           'torch.save(..., _use_new_zipfile_serialization=True)')
    if beginning[257:262] == b'ustar':
        raise RuntimeError('load: the tar format of PyTorch before 0.2 is not supported: load the file with a PyTorch '
                           'between 0.2 and 2 and save it again')
    return LegacyFile(file).load(allowed, map_location, encoding)


def placed(storage: UntypedStorage, location: str, map_location) -> UntypedStorage:
    """`storage` on the device that its location in the file, or `map_location`, asks for."""
    if callable(map_location) and not isinstance(map_location, device):
        result = map_location(storage, location)
        if result is not None:
            if not isinstance(result, UntypedStorage) or result.nbytes() != storage.nbytes():
                raise RuntimeError(f'map_location must return None or a storage of {storage.nbytes()} bytes, '
                                   f'not {result!r}')
            return result
    elif isinstance(map_location, dict):
        location = map_location.get(location, location)
    elif map_location is not None:
        location = map_location.decode() if isinstance(map_location, bytes) else map_location
    wanted = device(location)
    if map_location is None and wanted.type == 'cuda':
        raise RuntimeError('Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False. '
                           'If you are running on a CPU-only machine, please use torch.load with '
                           "map_location=torch.device('cpu') to map your storages to the CPU.")
    resolve(wanted)
    return storage


def parsed_id(identifier, length: int) -> tuple:
    """The parts of a storage's persistent id: its type, key, location, number of elements and what follows."""
    decoded = tuple(part.decode('ascii', 'replace') if isinstance(part, bytes) else part
                    for part in elements_of(identifier))
    if len(decoded) != length or decoded[0] != 'storage':
        raise UnpicklingError(f'a persistent id must be that of a storage, not {decoded[:1]!r}')
    _, kind, key, location, count, *view = decoded
    if not isinstance(kind, StorageType) or not isinstance(key, str) or not isinstance(location, str):
        raise UnpicklingError('a storage needs a type, a key and a location')
    if type(count) is not int or count < 0:
        raise UnpicklingError(f'a storage cannot have {count!r} elements')
    return kind, key, location, count, *view


def elements_of(identifier) -> tuple:
    if type(identifier) is not tuple or not identifier:
        raise UnpicklingError(f'a persistent id must be a tuple, not {type(identifier).__name__}')
    return identifier


def filled(content: np.ndarray, file) -> bool:
    """Fills an array of bytes from a file; whether the file had enough."""
    rest = content.data
    while rest.nbytes:
        if hasattr(file, 'readinto'):
            count = file.readinto(rest)
        else:
            data = file.read(rest.nbytes)
            count = len(data)
            rest[:count] = data
        if not count:
            return False
        rest = rest[count:]
    return True


class Archive:
    """A zip file in PyTorch's layout. Records must be stored, not compressed: no file unpacks to more than it is."""

    def __init__(self, file, mapped_path=None):
        self.file = file
        self.mapped_path = mapped_path
        try:
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, EOFError, struct.error) as error:
            raise RuntimeError(f'load: failed reading zip archive: {error}. The file is damaged or incomplete.'
                               ) from error
        self.size = file.seek(0, io.SEEK_END)
        self.unread = self.size
        self.entries = {entry.filename: entry for entry in entries}
        self.folder = entries[0].filename.partition('/')[0] if entries else ''
        if self.entry('constants.pkl') is not None:
            raise RuntimeError('load: the file is a TorchScript archive, a program that flambeau cannot run: save '
                               'the state_dict of the model instead')
        order = self.read('byteorder') if self.entry('byteorder') else b'little'
        if order not in (b'little', b'big'):
            raise ValueError(f'Unknown endianness type: {order[:20]!r}')
        self.swapped = order.decode() != sys.byteorder

    def entry(self, name: str) -> zipfile.ZipInfo | None:
        return self.entries.get(f'{self.folder}/{name}')

    def locate(self, name: str) -> tuple[int, zipfile.ZipInfo]:
        """Where the content of a record starts, checked against the file's length."""
        entry = self.entry(name)
        if entry is None:
            raise RuntimeError(f'load: the archive has no record {self.folder}/{name[:80]}: it is damaged, or no file '
                               'of torch.save')
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.file_size != entry.compress_size:
            raise RuntimeError(f'load: record {name} is compressed or encrypted, which torch.save never does')
        self.file.seek(entry.header_offset)
        header = self.file.read(zipfile.sizeFileHeader)
        if len(header) < zipfile.sizeFileHeader or header[:4] != b'PK\x03\x04':
            raise RuntimeError(f'load: record {name} has no header: the archive is damaged')
        start = entry.header_offset + zipfile.sizeFileHeader + sum(struct.unpack('<HH', header[26:30]))
        self.unread -= entry.file_size  # records that overlap would let a small file fill the memory
        if start + entry.file_size > self.size or self.unread < 0:
            raise RuntimeError(f'load: record {name} of {entry.file_size} bytes does not fit the file: the archive is '
                               'damaged')
        return start, entry

    def read(self, name: str) -> bytes:
        return self.array(name).tobytes()

    def array(self, name: str) -> np.ndarray:
        """A record's content as an array of bytes, checked against its checksum."""
        start, entry = self.locate(name)
        if self.mapped_path is not None and entry.file_size and start % MAPPABLE == 0 and name.startswith('data/'):
            mapped = np.memmap(self.mapped_path, np.uint8, 'c', start, (entry.file_size,))
            return mapped.view(np.ndarray)
        content = np.empty(entry.file_size, np.uint8)
        self.file.seek(start)
        if not filled(content, self.file) or zlib.crc32(content.data) != entry.CRC:
            raise RuntimeError(f'load: record {name} does not agree with its checksum: the archive is damaged')
        return content

    def load(self, allowed: Allowed, map_location, encoding: str):
        storages: dict[str, UntypedStorage] = {}

        def persistent_load(identifier):
            kind, key, location, count = parsed_id(identifier, 5)
            if key not in storages:
                content = self.array(f'data/{key}')
                if self.swapped and not content.size % kind.dtype.itemsize:
                    content = content.view(kind.dtype.numpy).byteswap()
                storages[key] = placed(UntypedStorage.of(content), location, map_location)
            if count * kind.dtype.itemsize > storages[key].nbytes():
                raise RuntimeError(f'load: storage {key} should have {count} elements of {kind.dtype} but has '
                                   f'{storages[key].nbytes()} bytes')
            return of_kind(storages[key], kind)

        pickled = io.BytesIO(self.read('data.pkl'))
        return Interpreter(pickled, allowed, persistent_load, encoding).load()


def of_kind(storage: UntypedStorage, kind: StorageType) -> TypedStorage | UntypedStorage:
    return storage if kind is UNTYPED else TypedStorage(storage, kind.dtype)


class LegacyFile:
    """A file of PyTorch before 1.6: pickles one after the other, then the storages."""

    def __init__(self, file):
        self.file = file
        here = file.tell()
        self.unread = file.seek(0, io.SEEK_END) - here
        file.seek(here)
        self.storages: dict[str, tuple[StorageType, UntypedStorage]] = {}
        self.views: dict[str, UntypedStorage] = {}

    def load(self, allowed: Allowed, map_location, encoding: str):
        def pickled(names=Allowed({}), persistent_load=None):
            return Interpreter(self.file, names, persistent_load, encoding).load()

        def persistent_load(identifier):
            if elements_of(identifier)[0] in ('module', b'module'):
                return identifier[1] if len(identifier) > 1 else None  # a class, and its source, of no use here
            return self.storage(parsed_id(identifier, 6), map_location)

        magic = pickled()
        if magic != MAGIC_NUMBER:
            raise RuntimeError('Invalid magic number; corrupt file? load reads files that torch.save wrote: this one '
                               'is neither a zip archive nor in the format before PyTorch 1.6')
        version = pickled()
        if version != LEGACY_VERSION:
            raise RuntimeError(f'Invalid protocol version: {version!r}')
        system = pickled()
        if type(system) is not dict or type(system.get('little_endian')) is not bool:
            raise RuntimeError('load: the file does not say its byte order: it is damaged')
        swapped = system['little_endian'] != (sys.byteorder == 'little')
        result = pickled(allowed, persistent_load)
        keys = pickled()
        if type(keys) is not list or set(map(type, keys)) - {str} or len(set(keys)) != len(self.storages):
            raise RuntimeError('load: the file does not list its storages: it is damaged')
        for key in keys:
            self.fill(key, swapped)
        return result

    def storage(self, parts: tuple, map_location):
        kind, key, location, count, view = parts
        itemsize = kind.dtype.itemsize
        if key not in self.storages:
            self.unread -= count * itemsize
            if self.unread < 0:
                raise RuntimeError(f'load: storage {key} of {count} elements of {kind.dtype} does not fit the file')
            self.storages[key] = kind, placed(UntypedStorage(count * itemsize), location, map_location)
        _, storage = self.storages[key]
        if view is None:
            return of_kind(storage, kind)
        if type(view) is not tuple or tuple(map(type, view)) != (str, int, int):
            raise UnpicklingError('a view of a storage needs a key, an offset and a length')
        view_key, offset, length = view
        if view_key not in self.views:
            if offset < 0 or length < 0 or (offset + length) * itemsize > storage.nbytes():
                raise RuntimeError(f'load: view {view_key} is out of bounds for storage {key} of {storage.nbytes()} '
                                   'bytes')
            self.views[view_key] = UntypedStorage.of(storage._memory[offset * itemsize:(offset + length) * itemsize])
        return of_kind(self.views[view_key], kind)

    def fill(self, key: str, swapped: bool) -> None:
        if key not in self.storages:
            raise RuntimeError(f'load: storage key {key!r} belongs to no tensor: the file is damaged')
        kind, storage = self.storages[key]
        count = self.file.read(8)
        if int.from_bytes(count, 'big' if swapped else 'little') * kind.dtype.itemsize != storage.nbytes() or not (
                filled(storage._memory, self.file)):
            raise RuntimeError(f'load: storage {key} of {storage.nbytes()} bytes is incomplete: the file is damaged')
        if swapped:
            storage._memory.view(kind.dtype.numpy).byteswap(inplace=True)


# ---- safetensors ----------------------------------------------------------------------------------------------

SAFETENSORS_NAMES = {
    bool_: 'BOOL', uint8: 'U8', uint16: 'U16', uint32: 'U32', uint64: 'U64',
    int8: 'I8', int16: 'I16', int32: 'I32', int64: 'I64', float16: 'F16',
    bfloat16: 'BF16', float32: 'F32', float64: 'F64', complex64: 'C64'}


def safetensors_package():
    try:
        import safetensors.numpy
    except ImportError as error:
        raise RuntimeError('safetensors files need the safetensors package: pip install safetensors') from error
    return safetensors


def save_safetensors(tensors: dict, path, metadata: dict[str, str] | None = None) -> None:
    """Saves a dict of tensors as a safetensors file, which replaces `path` only when it is complete."""
    package = safetensors_package()
    for name, tensor in tensors.items():
        if tensor.dtype not in SAFETENSORS_NAMES:
            raise ValueError(f'save_safetensors: {name!r} has dtype {tensor.dtype}, which the format does not have')
    arrays = {name: np.ascontiguousarray(tensor._array).reshape(tensor.shape) for name, tensor in tensors.items()}
    content = package.numpy.save(arrays, metadata)
    with replaced_file(path) as file:
        file.write(content)


def load_safetensors(path) -> dict:
    """Loads a safetensors file as a dict of tensors."""
    package = safetensors_package()
    of_name = {name: element for element, name in SAFETENSORS_NAMES.items()}
    with open(path, 'rb') as file:
        content = file.read()
    try:
        described = package.deserialize(content)
    except package.SafetensorError as error:
        raise RuntimeError(f'load_safetensors: {path} is damaged: {error}') from error
    tensors = {}
    for name, entry in described:
        if entry['dtype'] not in of_name:
            raise RuntimeError(f"load_safetensors: {name!r} has dtype {entry['dtype']}, which flambeau does not have")
        array = np.frombuffer(bytearray(entry['data']), of_name[entry['dtype']].numpy)
        tensors[name] = wrap(array.reshape(entry['shape']))
    return tensors
