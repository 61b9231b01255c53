"""Reads pickles without running what they name.

A pickle is a program for a stack machine: one instruction imports any name, another calls it, so that loading a
foreign file with the `pickle` module runs foreign code. This module interprets the instructions itself. A name means
only what `Allowed` says it means, only constructors listed there are called, and work and memory stay in proportion
to the length of the file. It knows plain Python and NumPy values; it must not know tensors or file formats.
"""
from __future__ import annotations

import codecs
import pickle
import re
import reprlib
import struct
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from pickle import UnpicklingError

import numpy as np

__all__ = ['Interpreter', 'Allowed', 'Record', 'add_safe_globals', 'get_safe_globals', 'clear_safe_globals',
           'safe_globals']


# ---- what users allow ---------------------------------------------------------------------------------

BLOCKED_MODULES = frozenset({'os', 'posix', 'nt', 'sys', 'subprocess', 'shutil', 'importlib', 'runpy', 'ctypes'})

_safe_globals: list = []


def add_safe_globals(safe_globals: list) -> None:
    """Allows classes or functions in files that `load` reads: it may then create instances of them and call them.

    An entry is the object itself or a pair `(object, 'module.name')` that gives the name by which files know it.
    """
    for entry in safe_globals:
        safe_global_path(entry)
    _safe_globals.extend(entry for entry in safe_globals if entry not in _safe_globals)


def get_safe_globals() -> list:
    """What `add_safe_globals` has allowed so far."""
    return list(_safe_globals)


def clear_safe_globals() -> None:
    """Takes back everything that `add_safe_globals` allowed."""
    _safe_globals.clear()


class safe_globals:
    """Context manager that allows `safe_globals` (see `add_safe_globals`) inside its block only."""

    def __init__(self, safe_globals: list):
        self.safe_globals = safe_globals

    def __enter__(self):
        self.before = get_safe_globals()
        add_safe_globals(self.safe_globals)

    def __exit__(self, *exception):
        _safe_globals[:] = self.before


def safe_global_path(entry) -> str:
    if not isinstance(entry, tuple):
        return f'{entry.__module__}.{entry.__qualname__}'
    if len(entry) != 2:
        raise ValueError(f'Expected tuple of length 2 (global, str of callable full path), but got tuple of length: '
                         f'{len(entry)}')
    if not isinstance(entry[1], str):
        raise TypeError(f'Expected second item in tuple to be str of callable full path, but got: {type(entry[1])}')
    return entry[1]


# ---- objects of unknown classes ------------------------------------------------------------------------

class Record:
    """What a file says about an object whose class is not allowed here: data without behaviour.

    `module` and `name` are those of the class (or function), `args` what it was to be called with (None where the
    file only refers to it), `state` the attributes, `items` the elements or key-value pairs of a container.
    """

    __slots__ = ('module', 'name', 'args', 'state', 'items')

    def __init__(self, module: str, name: str, args: tuple | None = None):
        self.module, self.name, self.args, self.state, self.items = module, name, args, None, []

    def __getattr__(self, name):
        if name in self.__slots__ or name.startswith('__'):
            raise AttributeError(name)
        raise AttributeError(f'{self!r} has no attribute {name!r}: the file holds an object of a class that was not '
                             'allowed when it was loaded. Allow it with serialization.safe_globals([...]).')

    @reprlib.recursive_repr()
    def __repr__(self):
        parts = [f'{self.module}.{self.name}']
        if self.args:
            parts.append(f'args={reprlib.repr(self.args)}')
        if self.state is not None:
            parts.append(f'state={reprlib.repr(self.state)}')
        if self.items:
            parts.append(f'items={reprlib.repr(self.items)}')
        return f"<Record of {', '.join(parts)}>"


# ---- plain values that pickles build by a call ---------------------------------------------------------

KEY_LIMIT = 1000


def check_key(key) -> None:
    """Refuses a key whose hash would recurse deeply or, through sharing, take exponential time."""
    pending, met = [key], 0
    while pending:
        item = pending.pop()
        if isinstance(item, (tuple, frozenset)):
            met += len(item)
            if met > KEY_LIMIT:
                raise UnpicklingError(f'a key of a dict or set holds more than {KEY_LIMIT} nested elements')
            pending.extend(item)


def elements(values) -> list | tuple:
    if type(values) not in (list, tuple):
        raise UnpicklingError(f'elements must come in a list or tuple, not {type(values).__name__}')
    return values


def hashable(values) -> list | tuple:
    for key in elements(values):
        check_key(key)
    return values


def make_mapping(kind):
    def make(entries=()):
        if type(entries) in (dict, OrderedDict):
            return kind(entries)
        mapping = kind()
        for key, value in map(elements, elements(entries)):
            check_key(key)
            mapping[key] = value
        return mapping
    return make


def make_defaultdict(factory=None, entries=()):
    if factory not in (None, list, dict, set, int, float):
        raise UnpicklingError(f'a defaultdict of {factory!r} is not allowed')
    mapping = defaultdict(factory)
    mapping.update(make_mapping(dict)(entries))
    return mapping


def make_bytes(text='', encoding='latin1'):
    """Protocol 2 has no bytes: it writes them as text to be encoded."""
    if type(text) in (bytes, bytearray):
        return bytes(text)
    if type(text) is not str or encoding not in ('latin1', 'latin-1'):
        raise UnpicklingError(f'bytes must be text encoded as latin1, not {type(text).__name__} as {encoding!r}')
    return text.encode('latin1')


def of_integers(kind):
    def make(*bounds):
        if not all(bound is None or type(bound) is int for bound in bounds):
            raise UnpicklingError(f'a {kind.__name__} must have integer bounds')
        return kind(*bounds)
    return make


def make_dtype(code, align=False, copy=True):
    """A NumPy dtype of its own, which the state that follows may still change."""
    code = code.decode('ascii') if type(code) is bytes else code
    if type(code) is not str or not re.fullmatch(r'[<>|=]?(?:[biufc]\d{1,2}|[SU]\d{1,9}|\?)', code):
        raise UnpicklingError(f'NumPy dtype {code!r} is not allowed: numbers, bool, bytes and text only')
    return np.dtype(np.dtype(code), copy=True)


def set_dtype_state(dtype: np.dtype, state) -> None:
    _, order, subarray, names, fields, itemsize, alignment, *_ = elements(state)
    order = order.decode('ascii') if type(order) is bytes else order
    if order not in ('<', '>', '|', '=') or any(part is not None for part in (subarray, names, fields)):
        raise UnpicklingError('structured NumPy dtypes are not allowed')
    if itemsize not in (-1, dtype.itemsize):
        raise UnpicklingError(f'NumPy dtype {dtype} cannot have elements of {itemsize} bytes')
    dtype.__setstate__((3, order, None, None, None, itemsize, alignment, 0))


def array_data(data, dtype, shape) -> bytes:
    """`data` as bytes, whose number must be what `shape` and `dtype` ask for."""
    data = make_bytes(data)
    if not isinstance(dtype, np.dtype):
        raise UnpicklingError(f'a NumPy array needs a dtype, not {type(dtype).__name__}')
    size = 1
    for length in elements(shape):
        if type(length) is not int or length < 0:
            raise UnpicklingError(f'a NumPy array cannot have a side of length {length!r}')
        size *= length
    if size * dtype.itemsize != len(data):
        raise UnpicklingError(f'a NumPy array of {size} elements of dtype {dtype} cannot be made of {len(data)} bytes')
    if dtype.kind == 'U' and data:
        codes = np.frombuffer(data, np.dtype(np.uint32).newbyteorder(dtype.byteorder))
        if codes.max() > sys.maxunicode:
            raise UnpicklingError('a NumPy array of text has a character that does not exist')
    return data


def make_scalar(dtype, data):
    return np.frombuffer(array_data(data, dtype, ()), dtype)[0]


def make_frombuffer(data, dtype, shape, order):
    values = np.frombuffer(array_data(data, dtype, shape), dtype)
    return values.reshape(shape, order='F' if order == 'F' else 'C').copy(order='K')


def make_empty_array(kind, shape, code):
    if kind is not np.ndarray:
        raise UnpicklingError(f'{describe(kind)} is no array class that may be made')
    return np.empty(0, np.uint8)


def set_array_state(array: np.ndarray, state) -> None:
    _, shape, dtype, fortran, data = elements(state)
    data = array_data(data, dtype, shape)
    array.__setstate__((1, tuple(shape), dtype, fortran is True or fortran == 1, data))


# name in the file: (what it stands for, what a call of it does; None: it may only be referred to)
PLAIN = {
    'collections.OrderedDict': (OrderedDict, make_mapping(OrderedDict)),
    'collections.Counter': (Counter, make_mapping(Counter)),
    'collections.defaultdict': (defaultdict, make_defaultdict),
    'collections.deque': (deque, lambda items=(), maxlen=None: deque(elements(items), maxlen)),
    'builtins.dict': (dict, make_mapping(dict)),
    'builtins.list': (list, lambda items=(): list(elements(items))),
    'builtins.tuple': (tuple, lambda items=(): tuple(elements(items))),
    'builtins.set': (set, lambda items=(): set(hashable(items))),
    'builtins.frozenset': (frozenset, lambda items=(): frozenset(hashable(items))),
    'builtins.bytearray': (bytearray, lambda *source: bytearray(make_bytes(*source))),
    'builtins.bytes': (bytes, make_bytes),
    'builtins.complex': (complex, complex),
    'builtins.range': (range, of_integers(range)),
    'builtins.slice': (slice, of_integers(slice)),
    '_codecs.encode': (codecs.encode, make_bytes),
    'numpy.dtype': (np.dtype, make_dtype),
    'numpy.ndarray': (np.ndarray, None),
    'numpy._core.multiarray.scalar': (make_scalar, make_scalar),
    'numpy._core.multiarray._reconstruct': (make_empty_array, make_empty_array),
    'numpy._core.numeric._frombuffer': (make_frombuffer, make_frombuffer),
} | {f'builtins.{kind.__name__}': (kind, None) for kind in (int, float, bool, str, object)}

RENAMED_MODULES = {'__builtin__': 'builtins', 'copy_reg': 'copyreg', 'numpy.core.multiarray': 'numpy._core.multiarray',
                   'numpy.core.numeric': 'numpy._core.numeric'}
RENAMED = {'builtins.xrange': 'builtins.range', 'builtins.unicode': 'builtins.str', 'builtins.long': 'builtins.int'}


class Allowed:
    """What the names in a file may stand for.

    `known` maps 'module.name' to a pair (object, what a call of it does or None). `own(module, name)` gives an object
    of this package that a file may create where users allow it, or None. With `records`, objects of `own` need no
    further permission and unknown names become `Record`s (collected in `unknown`) instead of an error.
    """

    def __init__(self, known: dict, own=lambda module, name: None, records: bool = False):
        self.known = PLAIN | known
        self.own = own
        self.records = records
        self.unknown: list[str] = []
        self.permitted = {safe_global_path(entry): entry[0] if isinstance(entry, tuple) else entry
                          for entry in _safe_globals}
        self.constructors: dict[int, object] = {}  # by identity: nothing a file builds is ever hashed for it
        self.creatable: dict[int, type] = {}

    def find(self, module: str, name: str):
        module = RENAMED_MODULES.get(module, module)
        path = f'{module}.{name}'
        path = RENAMED.get(path, path)
        if path in self.known:
            found, constructor = self.known[path]
            if constructor is not None:
                self.constructors[id(found)] = constructor
            return found
        blocked = module.partition('.')[0] in BLOCKED_MODULES
        if blocked and not self.records:
            raise UnpicklingError(f'Trying to load unsupported GLOBAL {path} whose module {module} is blocked. '
                                  'No checkpoint needs it: the file may be hostile.')
        own = self.own(module, name)
        if blocked:
            found = self.record(module, name)
        elif path in self.permitted or any(own is entry for entry in self.permitted.values()):
            found = self.permitted.get(path, own)
            self.constructors[id(found)] = found
        elif own is not None and self.records:
            found = own
        elif self.records:
            found = self.record(module, name)
        else:
            raise UnpicklingError(not_allowed(path, own is not None))
        if isinstance(found, type):
            self.creatable[id(found)] = found
        return found

    def record(self, module: str, name: str) -> Record:
        path = f'{module}.{name}'
        if path not in self.unknown:
            self.unknown.append(path)
        return Record(module, name)

    def constructor(self, function):
        """What a call of `function` does, or None where it must not be called."""
        return self.constructors.get(id(function))

    def creates(self, kind: type) -> bool:
        """Whether instances of `kind` may be created and given their state."""
        return id(kind) in self.creatable


def not_allowed(path: str, own: bool) -> str:
    if path.startswith('torch.') and not own:
        return (f'Unsupported global: GLOBAL {path} was not an allowed global by default, and this version of flambeau '
                'has nothing of that name. weights_only=False loads the file with a Record in its place.')
    name = path.removeprefix('builtins.')
    return (f'Unsupported global: GLOBAL {path} was not an allowed global by default. If you trust this class or '
            f'function, allow it with `torch.serialization.add_safe_globals([{name}])` or inside the context manager '
            f'`torch.serialization.safe_globals([{name}])`; weights_only=False loads the file with a Record in its '
            'place.')


# ---- the stack machine -----------------------------------------------------------------------------------

DAMAGE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, struct.error, EOFError)
CHECKED_READ = 1 << 16


class Interpreter:
    """Interprets one pickle from `file` (binary, seekable): `Interpreter(file, allowed).load()`.

    `persistent_load` gives the object for a persistent id. `encoding` is that of Python 2 strings, or 'bytes'.
    Raises `pickle.UnpicklingError` for what is damaged or not allowed.
    """

    def __init__(self, file, allowed: Allowed, persistent_load=None, encoding: str = 'utf-8'):
        self.file = file
        self.allowed = allowed
        self.persistent_load = persistent_load
        self.encoding = encoding
        self.stack: list = []
        self.marked: list[list] = []
        self.memo: dict[int, object] = {}
        self.position = 0
        self.copied = 0
        self.outside = False  # in `persistent_load`, whose errors are the caller's

    def load(self):
        try:
            while (code := self.take(1)) != pickle.STOP:
                operation = OPERATIONS.get(code)
                if operation is None:
                    raise UnpicklingError(f'{code!r} is no instruction of a pickle that may be loaded')
                operation(self)
            return self.stack.pop()
        except DAMAGE as error:
            if self.outside:
                raise
            raise UnpicklingError(f'damaged pickle, at byte {self.position}: {type(error).__name__}: {error}'
                                  ) from error

    def take(self, length: int) -> bytes:
        if length > CHECKED_READ or length < 0:  # nothing is allocated for a length that the file cannot have
            here = self.file.tell()
            available = self.file.seek(0, 2) - here
            self.file.seek(here)
            if not 0 <= length <= available:
                raise EOFError(f'an element of {length} bytes where the file has {available} left')
        data = self.file.read(length)
        if len(data) != length:
            raise EOFError('the file ends within the pickle')
        self.position += length
        return data

    def number(self, layout: str):
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> str:
        data = self.file.readline()
        if data[-1:] != b'\n':
            raise EOFError('the file ends within the pickle')
        self.position += len(data)
        return data[:-1].decode('utf-8')

    def push(self, value) -> None:
        self.stack.append(value)

    def last(self, count: int) -> list:
        """Takes the last values off the stack, in the order in which they came."""
        return [self.stack.pop() for _ in range(count)][::-1]

    def mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def index(self) -> int:
        return int(self.line())

    def recall(self, index: int) -> None:
        self.push(self.memo[index])

    def memoize(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def protocol(self) -> None:
        version = self.number('<B')
        if version > pickle.HIGHEST_PROTOCOL:
            raise UnpicklingError(f'unsupported pickle protocol: {version}')

    def find(self, module, name) -> None:
        if type(name) is not str or type(module) is not str:
            raise UnpicklingError('the name of a global must be text')
        self.push(self.allowed.find(module, name))

    def old_string(self, data: bytes):
        return data if self.encoding == 'bytes' else data.decode(self.encoding)

    def charge(self, values) -> None:
        """Bounds what calls copy: a short file must not multiply one long string or list by naming it often."""
        for value in values:
            if type(value) in (str, bytes, bytearray, list, tuple, dict, set):
                self.copied += len(value)
        if self.copied > 16 * self.position + (1 << 20):
            raise UnpicklingError(f'the pickle copies {self.copied} elements after {self.position} bytes: '
                                  'the file is damaged or hostile')

    def call(self, function, args, keywords=None) -> None:
        """REDUCE and its relatives: pushes what `function(*args)` stands for."""
        if type(args) is not tuple:
            raise UnpicklingError(f'arguments must be a tuple, not {type(args).__name__}')
        if isinstance(function, Record):
            made = Record(function.module, function.name, args if not keywords else (*args, keywords))
        else:
            constructor = self.allowed.constructor(function)
            if constructor is None:
                raise UnpicklingError(f'a call of {describe(function)} is not allowed')
            self.charge(args)
            made = constructor(*args, **(keywords or {}))
        self.push(made)

    def create(self, kind, args, keywords=None) -> None:
        """NEWOBJ: an instance before its state is known."""
        if self.allowed.creates(kind) and type(args) is tuple:
            self.push(kind.__new__(kind, *args, **(keywords or {})))
        else:
            self.call(kind, args, keywords)

    def build(self, state) -> None:
        target = self.stack[-1]
        if isinstance(target, Record):
            target.state = state
        elif type(target) is OrderedDict:
            target.__dict__.update(state)
        elif isinstance(target, np.dtype):
            set_dtype_state(target, state)
        elif type(target) is np.ndarray:
            self.charge(elements(state))
            set_array_state(target, state)
        elif self.allowed.creates(type(target)):
            set_instance_state(target, state)
        else:
            raise UnpicklingError(f'a state for {describe(target)} is not allowed')

    def make_instance(self, kind, *args) -> None:
        self.call(kind, args)

    def make_dict(self, items: list) -> None:
        self.push({})
        self.update(items)

    def extend(self, items: list) -> None:
        target = self.stack[-1]
        if isinstance(target, Record):
            target.items.extend(items)
        elif isinstance(target, (list, deque)) and self.is_plain_or_created(target, (list, deque)):
            target.extend(items)
        else:
            raise UnpicklingError(f'cannot append elements to {describe(target)}')

    def update(self, items: list) -> None:
        target = self.stack[-1]
        pairs = list(zip(items[::2], items[1::2], strict=True))
        if isinstance(target, Record):
            target.items.extend(pairs)
        elif isinstance(target, dict) and self.is_plain_or_created(target, (dict, OrderedDict, Counter, defaultdict)):
            for key, value in pairs:
                check_key(key)
                target[key] = value
        else:
            raise UnpicklingError(f'cannot set items of {describe(target)}')

    def add(self, items: list) -> None:
        target = self.stack[-1]
        if isinstance(target, Record):
            target.items.extend(items)
        elif isinstance(target, set) and self.is_plain_or_created(target, (set,)):
            target.update(hashable(items))
        else:
            raise UnpicklingError(f'cannot add elements to {describe(target)}')

    def is_plain_or_created(self, target, plain: tuple) -> bool:
        return type(target) in plain or self.allowed.creates(type(target))

    def persistent(self, identifier) -> None:
        if self.persistent_load is None:
            raise UnpicklingError(f'a persistent id, {reprlib.repr(identifier)}, where none can be')
        self.outside = True
        self.push(self.persistent_load(identifier))
        self.outside = False


def describe(value) -> str:
    if isinstance(value, type) or callable(value):
        return f"{value.__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    return f'an object of class {type(value).__name__}'


def set_instance_state(target, state) -> None:
    if hasattr(target, '__setstate__'):
        target.__setstate__(state)
        return
    slots = None
    if isinstance(state, tuple) and len(state) == 2:
        state, slots = state
    if state:
        target.__dict__.update(state)
    for name, value in (slots or {}).items():
        setattr(target, name, value)


def integer_line(line: str) -> int | bool:
    return {'00': False, '01': True}[line] if line in ('00', '01') else int(line)


def text(machine: Interpreter, data: bytes) -> str:
    return data.decode('utf-8', 'surrogatepass')


def as_it_is(machine: Interpreter, data: bytes) -> bytes:
    return data


def decoded_long(machine: Interpreter, data: bytes) -> int:
    return pickle.decode_long(data)


# instructions that push a value: from nothing, from a number in the file, or from as many bytes as that says
PUSHED = {
    pickle.NONE: lambda machine: None, pickle.NEWTRUE: lambda machine: True, pickle.NEWFALSE: lambda machine: False,
    pickle.EMPTY_TUPLE: lambda machine: (), pickle.EMPTY_LIST: lambda machine: [],
    pickle.EMPTY_DICT: lambda machine: {}, pickle.EMPTY_SET: lambda machine: set(),
    pickle.INT: lambda machine: integer_line(machine.line()),
    pickle.LONG: lambda machine: int(machine.line().rstrip('L')),
    pickle.FLOAT: lambda machine: float(machine.line()),
    pickle.UNICODE: lambda machine: machine.line().encode('utf-8').decode('raw-unicode-escape'),
    pickle.STRING: lambda machine: machine.old_string(codecs.escape_decode(machine.line()[1:-1])[0]),
    pickle.DUP: lambda machine: machine.stack[-1],
    pickle.TUPLE: lambda machine: tuple(machine.pop_mark()), pickle.LIST: lambda machine: machine.pop_mark(),
    pickle.FROZENSET: lambda machine: frozenset(hashable(machine.pop_mark())),
    pickle.TUPLE1: lambda machine: tuple(machine.last(1)), pickle.TUPLE2: lambda machine: tuple(machine.last(2)),
    pickle.TUPLE3: lambda machine: tuple(machine.last(3)),
}
NUMBERS = {pickle.BININT: '<i', pickle.BININT1: '<B', pickle.BININT2: '<H', pickle.BINFLOAT: '>d'}
BYTES = {
    pickle.SHORT_BINUNICODE: ('<B', text), pickle.BINUNICODE: ('<I', text), pickle.BINUNICODE8: ('<Q', text),
    pickle.SHORT_BINBYTES: ('<B', as_it_is), pickle.BINBYTES: ('<I', as_it_is), pickle.BINBYTES8: ('<Q', as_it_is),
    pickle.BYTEARRAY8: ('<Q', lambda machine, data: bytearray(data)),
    pickle.SHORT_BINSTRING: ('<B', Interpreter.old_string), pickle.BINSTRING: ('<i', Interpreter.old_string),
    pickle.LONG1: ('<B', decoded_long), pickle.LONG4: ('<i', decoded_long)}


def pushing(value_of):
    return lambda machine: machine.push(value_of(machine))


OPERATIONS = {
    **{code: pushing(value_of) for code, value_of in PUSHED.items()},
    **{code: pushing(lambda machine, layout=layout: machine.number(layout)) for code, layout in NUMBERS.items()},
    **{code: pushing(lambda machine, layout=layout, decode=decode:
                     decode(machine, machine.take(machine.number(layout))))
       for code, (layout, decode) in BYTES.items()},
    pickle.PROTO: Interpreter.protocol,
    pickle.FRAME: lambda machine: machine.number('<Q'),  # the length of a block: for readers that read ahead
    pickle.GET: lambda machine: machine.recall(machine.index()),
    pickle.BINGET: lambda machine: machine.recall(machine.number('<B')),
    pickle.LONG_BINGET: lambda machine: machine.recall(machine.number('<I')),
    pickle.PUT: lambda machine: machine.memoize(machine.index()),
    pickle.BINPUT: lambda machine: machine.memoize(machine.number('<B')),
    pickle.LONG_BINPUT: lambda machine: machine.memoize(machine.number('<I')),
    pickle.MEMOIZE: lambda machine: machine.memoize(len(machine.memo)),
    pickle.MARK: Interpreter.mark,
    pickle.POP: lambda machine: machine.last(1) if machine.stack else machine.pop_mark(),
    pickle.POP_MARK: Interpreter.pop_mark,
    pickle.DICT: lambda machine: machine.make_dict(machine.pop_mark()),
    pickle.APPEND: lambda machine: machine.extend(machine.last(1)),
    pickle.APPENDS: lambda machine: machine.extend(machine.pop_mark()),
    pickle.SETITEM: lambda machine: machine.update(machine.last(2)),
    pickle.SETITEMS: lambda machine: machine.update(machine.pop_mark()),
    pickle.ADDITEMS: lambda machine: machine.add(machine.pop_mark()),
    pickle.GLOBAL: lambda machine: machine.find(machine.line(), machine.line()),
    pickle.STACK_GLOBAL: lambda machine: machine.find(*machine.last(2)),
    pickle.REDUCE: lambda machine: machine.call(*machine.last(2)),
    pickle.INST: lambda machine: machine.call(
        machine.allowed.find(machine.line(), machine.line()), tuple(machine.pop_mark())),
    pickle.OBJ: lambda machine: machine.make_instance(*machine.pop_mark()),
    pickle.NEWOBJ: lambda machine: machine.create(*machine.last(2)),
    pickle.NEWOBJ_EX: lambda machine: machine.create(*machine.last(3)),
    pickle.BUILD: lambda machine: machine.build(*machine.last(1)),
    pickle.BINPERSID: lambda machine: machine.persistent(*machine.last(1)),
    pickle.PERSID: lambda machine: machine.persistent(machine.line()),
}
