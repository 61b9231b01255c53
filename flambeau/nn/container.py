"""Containers: modules that hold modules or parameters in a list or a dict, and `Sequential`, which chains them."""
from __future__ import annotations

import itertools
import operator
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from ..tensor import Parameter, Tensor
from .module import Module, bracketed, indent, type_name

__all__ = ['Sequential', 'ModuleList', 'ModuleDict', 'ParameterList', 'ParameterDict']


def place(index, size: int) -> int:
    """An index counted from the front. Raises IndexError outside of -size <= index < size."""
    index = operator.index(index)
    if not -size <= index < size:
        raise IndexError(f'index {index} is out of range')
    return index % size


def require_iterable(values, owner: str, what: str = 'iterable'):
    if not isinstance(values, Iterable) or isinstance(values, Tensor):
        raise TypeError(f'{owner} should be called with an {what}, but got {type(values).__name__}')


def pairs_of(pairs, owner: str):
    """The (key, value) pairs of an iterable. Raises TypeError or ValueError for an element that is no pair."""
    for number, pair in enumerate(pairs):
        if not isinstance(pair, Iterable):
            raise TypeError(f'{owner} update sequence element #{number} should be Iterable; is{type(pair).__name__}')
        if len(pair) != 2:
            raise ValueError(f'{owner} update sequence element #{number} has length {len(pair)}; 2 is required')
        yield pair


class _ModuleSequence(Module):
    """What lists of modules have in common."""

    def __len__(self):
        return len(self._modules)

    def __iter__(self):
        return iter(self._modules.values())

    def _name_at(self, index) -> str:
        return next(itertools.islice(self._modules, place(index, len(self)), None))

    def __setitem__(self, index, module):
        setattr(self, self._name_at(index), module)

    def __delitem__(self, index):
        names = list(self._modules)
        gone = set(names[index]) if isinstance(index, slice) else {self._name_at(index)}
        self._renumber([module for name, module in self._modules.items() if name not in gone])

    def _renumber(self, modules):
        self._modules = {str(number): module for number, module in enumerate(modules)}

    def _inserted(self, index, module):
        if not isinstance(module, Module):
            raise AssertionError(f'module should be of type: {Module}')
        modules = list(self)
        modules.insert(index, module)
        self._renumber(modules)

    def append(self, module):
        """Adds a module at the end and returns the list."""
        self.add_module(str(len(self)), module)
        return self

    def pop(self, key):
        """Takes out the module at an index, or those of a slice."""
        taken = self[key]
        del self[key]
        return taken


class Sequential(_ModuleSequence):
    """Modules called one after the other, each with the output of the one before.

    >>> nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> nn.Sequential(OrderedDict([('hidden', nn.Linear(2, 8)), ('out', nn.Linear(8, 1))]))
    """

    def __init__(self, *args):
        super().__init__()
        named = args[0].items() if len(args) == 1 and isinstance(args[0], OrderedDict) else enumerate(args)
        for name, module in named:
            self.add_module(name if isinstance(name, str) else str(name), module)

    def forward(self, input):
        for module in self._modules.values():
            input = module(input)
        return input

    def __getitem__(self, index):
        if isinstance(index, slice):
            return type(self)(OrderedDict(list(self._modules.items())[index]))
        return self._modules[self._name_at(index)]

    def __add__(self, other):
        require_sequential(other)
        return Sequential(*self, *other)

    def __iadd__(self, other):
        require_sequential(other)
        return self.extend(list(other))

    def __mul__(self, times):
        check_factor(self, times)
        return Sequential(*list(self) * times)

    __rmul__ = __mul__

    def __imul__(self, times):
        check_factor(self, times)
        return self.extend(list(self) * (times - 1))

    def extend(self, sequential):
        """Adds modules at the end and returns the sequence."""
        for module in sequential:
            self.append(module)
        return self

    def insert(self, index, module):
        """Puts a module before an index and returns the sequence."""
        if not -len(self) <= index <= len(self):
            raise IndexError(f'Index out of range: {index}')
        self._inserted(index, module)
        return self


def require_sequential(other):
    if not isinstance(other, Sequential):
        raise ValueError(f'add operator supports only objects of Sequential class, but {type(other)} is given.')


def check_factor(sequence, times):
    if not isinstance(times, int):
        raise TypeError(f'unsupported operand type(s) for *: {type(sequence)} and {type(times)}')
    if times <= 0:
        raise ValueError(f'Non-positive multiplication factor {times} for {type(sequence)}')


class ModuleList(_ModuleSequence):
    """Modules in a list, which a model indexes and iterates over as it likes."""

    def __init__(self, modules=None):
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return self._modules[str(place(index, len(self)))]

    def __add__(self, other):
        return ModuleList(itertools.chain(self, other))

    def __iadd__(self, modules):
        return self.extend(modules)

    def extend(self, modules):
        """Adds modules at the end and returns the list."""
        require_iterable(modules, 'ModuleList.extend')
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index, module):
        """Puts a module before an index."""
        self._inserted(index, module)

    def __repr__(self):
        lines, first = [], 0
        for shown, group in itertools.groupby(repr(module) for module in self):
            count = len(list(group))
            last = first + count - 1
            lines.append(f'({first}): {shown}' if count == 1 else f'({first}-{last}): {count} x {shown}')
            first = last + 1
        return bracketed(self._get_name(), [indent(line, 2) for line in lines])


class ModuleDict(Module):
    """Modules in a dict with strings as keys, in the order in which they were added."""

    def __init__(self, modules=None):
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key):
        return self._modules[key]

    def __setitem__(self, key, module):
        self.add_module(key, module)

    def __delitem__(self, key):
        del self._modules[key]

    def __len__(self):
        return len(self._modules)

    def __iter__(self):
        return iter(self._modules)

    def __contains__(self, key):
        return key in self._modules

    def clear(self):
        """Takes out all modules."""
        self._modules.clear()

    def pop(self, key):
        """Takes out and returns the module of a key."""
        return self._modules.pop(key)

    def keys(self):
        return self._modules.keys()

    def items(self):
        return self._modules.items()

    def values(self):
        return self._modules.values()

    def update(self, modules):
        """Adds the modules of a mapping, or of an iterable of pairs."""
        require_iterable(modules, 'ModuleDict.update', 'iterable of key/value pairs')
        pairs = modules.items() if isinstance(modules, (Mapping, ModuleDict)) else pairs_of(modules, 'ModuleDict')
        for key, module in pairs:
            self[key] = module


def as_parameter(value):
    return Parameter(value) if isinstance(value, Tensor) and not isinstance(value, Parameter) else value


def entry_lines(entries, describe_kind) -> str:
    """What `repr` shows of (key, value) pairs of a parameter container."""
    lines = []
    for key, value in entries:
        if isinstance(value, Tensor):
            where = '' if value.device.type == 'cpu' else f' ({value.device})'
            kind = 'Parameter' if isinstance(value, Parameter) else 'Tensor'
            size = 'x'.join(map(str, value.shape))
            lines.append(f'  ({key}): {kind} containing: [{describe_kind(value)} of size {size}{where}]')
        else:
            lines.append(f'  ({key}): Object of type: {type(value).__name__}')
    return '\n'.join(lines)


class ParameterList(Module):
    """Parameters in a list; tensors that are added become parameters, other values stay as they are."""

    def __init__(self, values=None):
        super().__init__()
        self._size = 0
        if values is not None:
            self.extend(values)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return type(self)([self[i] for i in range(*index.indices(len(self)))])
        return getattr(self, str(place(index, len(self))))

    def __setitem__(self, index, param):
        setattr(self, str(place(index, len(self))), as_parameter(param))

    def __len__(self):
        return self._size

    def __iter__(self):
        return iter([self[i] for i in range(len(self))])

    def __iadd__(self, parameters):
        return self.extend(parameters)

    def append(self, value):
        """Adds a value at the end and returns the list."""
        setattr(self, str(self._size), as_parameter(value))
        self._size += 1
        return self

    def extend(self, values):
        """Adds values at the end and returns the list."""
        require_iterable(values, 'ParameterList.extend')
        for value in list(values):
            self.append(value)
        return self

    def extra_repr(self):
        return entry_lines(enumerate(self), lambda value: value.dtype)

    def __call__(self, *args, **kwargs):
        raise RuntimeError('ParameterList should not be called.')


class ParameterDict(Module):
    """Parameters in a dict with strings as keys; tensors that are added become parameters, other values stay."""

    def __init__(self, parameters=None):
        super().__init__()
        self._keys = {}
        if parameters is not None:
            self.update(parameters)

    def __getitem__(self, key):
        check_key(key)
        return getattr(self, key)

    def __setitem__(self, key, value):
        check_key(key)
        setattr(self, key, as_parameter(value))
        self._keys[key] = None

    def __delitem__(self, key):
        del self._keys[key]
        delattr(self, key)

    def __len__(self):
        return len(self._keys)

    def __iter__(self):
        return iter(self._keys)

    def __reversed__(self):
        return reversed(self._keys)

    def __contains__(self, key):
        return key in self._keys

    def __or__(self, other):
        both = self.copy()
        both.update(other)
        return both

    def __ror__(self, other):
        both = other.copy()
        both.update(self)
        return both

    def __ior__(self, other):
        self.update(other)
        return self

    def copy(self):
        """A dict of the same parameters."""
        return ParameterDict(OrderedDict(self.items()))

    def setdefault(self, key, default=None):
        """The value of a key, which becomes `default` if it has none."""
        if key not in self:
            self[key] = default
        return self[key]

    def clear(self):
        """Takes out all values."""
        for key in list(self._keys):
            del self[key]

    def pop(self, key):
        """Takes out and returns the value of a key."""
        value = self[key]
        del self[key]
        return value

    def popitem(self):
        """Takes out and returns the last (key, value)."""
        if not self._keys:
            raise KeyError('popitem(): dictionary is empty')
        key = next(reversed(self._keys))
        return key, self.pop(key)

    def get(self, key, default=None):
        """The value of a key, or `default`."""
        return self[key] if key in self else default

    def fromkeys(self, keys, default=None):
        """A new dict with `default` for each of the keys."""
        return ParameterDict([(key, default) for key in keys])

    def keys(self):
        return self._keys.keys()

    def items(self):
        return [(key, self[key]) for key in self._keys]

    def values(self):
        return [self[key] for key in self._keys]

    def update(self, parameters):
        """Adds the values of a mapping (a plain one in the order of its sorted keys), or of an iterable of pairs."""
        require_iterable(parameters, 'ParametersDict.update', 'iterable of key/value pairs')
        if isinstance(parameters, (OrderedDict, ParameterDict)):
            pairs = parameters.items()
        elif isinstance(parameters, Mapping):
            pairs = sorted(parameters.items())
        else:
            pairs = pairs_of(parameters, 'ParameterDict')
        for key, value in pairs:
            self[key] = value

    def extra_repr(self):
        return entry_lines(self.items(), type_name)

    def __call__(self, *args, **kwargs):
        raise RuntimeError('ParameterDict should not be called.')


def check_key(key):
    if not isinstance(key, str):
        raise TypeError('Index given to ParameterDict cannot be used as a key as it is not a string '
                        f"(type is '{type(key).__name__}'). Use str(key) for keys of another type.")
