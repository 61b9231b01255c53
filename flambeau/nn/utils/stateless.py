"""Calls of a module with other tensors in the place of its parameters and buffers, which it gets back afterwards."""
from __future__ import annotations

import contextlib
import warnings
from collections import defaultdict

from ...tensor import Tensor
from ..members import MISSING, adopt
from ..module import Module, type_name

__all__ = ['functional_call']


def functional_call(module, parameters_and_buffers, args=None, kwargs=None, *, tie_weights=True, strict=False):
    """The older place of `torch.func.functional_call`."""
    warnings.warn('`torch.nn.utils.stateless.functional_call` is deprecated as of PyTorch 2.0 and will be removed in a '
                  'future version of PyTorch. Please use `torch.func.functional_call` instead which is a drop-in '
                  'replacement.', FutureWarning, stacklevel=2)
    return call_with(module, parameters_and_buffers, args, kwargs, tie_weights, strict)


def call_with(module: Module, tensors: dict, args=None, kwargs=None, tie_weights=True, strict=False):
    """module(*args, **kwargs) with the tensors under the dotted names of a dict in the place of its own.

    A buffer that the call replaces is replaced in the dict. strict: the dict must name all parameters and buffers.
    """
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    with replaced(module, tensors, tie_weights, strict):
        return module(*args, **(kwargs or {}))


@contextlib.contextmanager
def replaced(module, tensors, tie_weights, strict):
    """Puts the tensors in and takes them out again, whatever happens in between."""
    wanted = with_tied(module, tensors) if tie_weights else tensors
    if strict:
        check_names(module, wanted)
    places = {name: place_of(module, name, value) for name, value in wanted.items()}
    before = {name: members.get(attribute, MISSING) for name, (members, attribute) in places.items()}
    try:
        for name, (members, attribute) in places.items():
            members[attribute] = wanted[name]
        yield
    finally:
        for name, (members, attribute) in places.items():
            if name in tensors and attribute in members:
                tensors[name] = members[attribute]
            if before[name] is MISSING:
                members.pop(attribute, None)
            else:
                members[attribute] = before[name]


def place_of(module, name, value):
    """(the dict that holds what a dotted name stands for, its key)."""
    if not isinstance(value, Tensor):
        raise TypeError(f'{value} is not an instance of torch.Tensor')
    path, _, attribute = name.rpartition('.')
    owner = module.get_submodule(path)
    adopt(owner)
    for members in (owner._parameters, owner._buffers):
        if attribute in members:
            return members, attribute
    if attribute in owner._modules:
        raise TypeError(f'{name} is a module ({type_name(owner._modules[attribute])}), not a parameter or buffer')
    return owner.__dict__, attribute


def check_names(module, tensors):
    names = {name: None for named in (module.named_parameters, module.named_buffers)
             for name, _ in named(remove_duplicate=False)}
    problems = [f'{title} key(s): {", ".join(map(repr, keys))}.' for title, keys in
                (('Unexpected', [name for name in tensors if name not in names]),
                 ('Missing', [name for name in names if name not in tensors])) if keys]
    if problems:
        raise RuntimeError(f'Error(s) in reparametrizing for {module._get_name()}:\n\t' + '\n\t'.join(problems))


def with_tied(module, tensors):
    """The dict with the names added that share a tensor with one of its names. Raises ValueError where they differ."""
    names_of = defaultdict(list)
    for named in (module.named_parameters, module.named_buffers):
        for name, tensor in named(remove_duplicate=False):
            names_of[id(tensor)].append(name)
    complete = dict(tensors)
    for names in names_of.values():
        given = [tensors[name] for name in names if name in tensors]
        if len({id(tensor) for tensor in given}) > 1:
            raise ValueError(f'functional_call got multiple values for keys {sorted(names)}, which are tied. Consider '
                             'using tie_weights=False')
        if given:
            complete.update(dict.fromkeys(names, given[0]))
    return complete
