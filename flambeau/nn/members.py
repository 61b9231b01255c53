"""The dicts in which a module keeps its parameters, buffers, submodules and hooks.

PyTorch's users read and write `module._parameters` and its like directly, and PyTorch finds `module.weight` in them
through `__getattr__`, which costs 0.3 to 0.8 microseconds a time. Here the dicts mirror what is written to them into
the attributes of their module, where the interpreter finds it at once. They hold the module by a weak reference, so
that a module is no reference cycle and goes when its last user goes. Knows nothing of tensors.
"""
from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import MutableMapping

__all__ = ['Members', 'HookTable', 'SLOTS', 'MISSING', 'adopt', 'replace', 'without_mirrored']

SLOTS = ('_parameters', '_buffers', '_modules')
MISSING = object()


class Members(dict):
    """A dict of members that appear as attributes of the modules that own it, unless something else has the name.

    Several modules own it after `copy.copy(module)`, as several share the plain dict in PyTorch.
    """

    __slots__ = ('owners',)

    def __init__(self, members=()):
        super().__init__(members)
        self.owners = ()

    def __setitem__(self, name, value):
        old = self.get(name, MISSING)
        super().__setitem__(name, value)
        for module in self.living_owners():
            show(module, name, old, value)

    def __delitem__(self, name):
        old = self.get(name, MISSING)
        super().__delitem__(name)
        for module in self.living_owners():
            hide(module, name, old)

    def pop(self, name, default=MISSING):
        if name not in self and default is not MISSING:
            return default
        value = self[name]
        del self[name]
        return value

    def popitem(self):
        name = next(reversed(self), MISSING)
        if name is MISSING:
            raise KeyError('popitem(): dictionary is empty')
        return name, self.pop(name)

    def __ior__(self, other):
        self.update(other)
        return self

    clear, update, setdefault = MutableMapping.clear, MutableMapping.update, MutableMapping.setdefault

    def __reduce_ex__(self, protocol):
        return dict, (), None, None, iter(self.items())  # pickles and copies as the plain dict it stands for

    def living_owners(self):
        return [module for reference in self.owners if (module := reference()) is not None]


def show(module, name, old, value):
    """Makes `value` an attribute unless something other than the member's `old` value has the name already."""
    attributes = module.__dict__
    if attributes.get(name, old) is old and isinstance(name, str) and name.isidentifier() \
            and not any(name in cls.__dict__ for cls in type(module).__mro__):
        attributes[name] = value


def hide(module, name, value):
    if module.__dict__.get(name, MISSING) is value:
        del module.__dict__[name]


def adopt(module):
    """Makes the dicts of members found in a module mirror into its attributes, if they do not yet."""
    attributes = module.__dict__
    reference = weakref.ref(module)
    for slot in SLOTS:
        members = attributes.get(slot)
        if members is None:
            continue
        if type(members) is not Members:
            members = attributes[slot] = Members(members)
        if all(owner is not reference for owner in members.owners):
            members.owners = (*(r for r in members.owners if r() is not None), reference)
            for name, value in members.items():
                show(module, name, value, value)


def replace(module, slot, members):
    """Puts other members into a slot of a module: the attributes of those that were there go."""
    old = module.__dict__.get(slot) or {}
    for name, value in old.items():
        hide(module, name, value)
    if type(old) is Members:
        old.owners = tuple(owner for owner in old.owners if owner() is not module)
    module.__dict__[slot] = members
    adopt(module)


def without_mirrored(module) -> dict:
    """The attributes of a module without those that only mirror a member."""
    state = module.__dict__.copy()
    for slot in SLOTS:
        for name, value in (state.get(slot) or {}).items():
            if state.get(name, MISSING) is value:
                del state[name]
    return state


class HookTable(OrderedDict):
    """Hooks that run when a module is called; the first one set tells the module that it has hooks."""

    owner = None

    @classmethod
    def of(cls, module: weakref.ref, hooks=None):
        table = cls()
        table.owner = module
        if hooks:
            table.update(hooks)
        return table

    def __setitem__(self, number, hook):
        super().__setitem__(number, hook)
        module = self.owner and self.owner()
        if module is not None:
            module.__dict__['_hooked'] = True

    def __reduce_ex__(self, protocol):
        return OrderedDict, (), None, None, iter(self.items())
