"""Parametrizations: a parameter or buffer of a module as a function of other tensors, which are the ones trained.

The tensor's name becomes a property of the module, of a class of its own; the tensors it is computed from stand in
`module.parametrizations.<name>` as `original`, or `original0`, `original1`, ...
"""
from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence

from ...autograd.modes import no_grad
from ...tensor import Parameter, Tensor
from ..container import ModuleDict, ModuleList
from ..members import without_mirrored
from ..module import Module

__all__ = ['cached', 'ParametrizationList', 'register_parametrization', 'is_parametrized', 'remove_parametrizations',
           'type_before_parametrizations', 'transfer_parametrizations_and_params']

_cache = {}  # (id of a module, name) -> the tensor computed for it, while `cached` is entered
_caching = 0


@contextlib.contextmanager
def cached():
    """Within it each parametrized tensor is computed once, when it is first read."""
    global _caching
    _caching += 1
    try:
        yield
    finally:
        _caching -= 1
        if not _caching:
            _cache.clear()


def _put(module, name, tensor):
    """Registers a tensor as the parameter or buffer that it is."""
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _require_alike(made, original, what, told):
    """Raises ValueError unless `made` is a tensor with the dtype and shape of another."""
    if not isinstance(made, Tensor):
        raise ValueError(f'{what} must return a tensor. Got {type(made).__name__}.')
    if made.dtype is not original.dtype:
        raise ValueError(f'{what} may not change the dtype of the tensor{told}: {original.dtype} became {made.dtype}.')
    if made.shape != original.shape:
        raise ValueError(f'{what} may not change the shape of the tensor{told}: {list(original.shape)} became '
                         f'{list(made.shape)}.')


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, first to last, with the tensor or tensors that the first one starts from."""

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False):
        if not modules:
            raise ValueError('ParametrizationList requires one or more modules.')
        super().__init__(modules)
        self.unsafe = unsafe
        with no_grad():
            start = original
            for module in reversed(self):
                if hasattr(module, 'right_inverse'):
                    with contextlib.suppress(NotImplementedError):
                        start = module.right_inverse(start)
        if not isinstance(start, (Tensor, Sequence)):
            raise ValueError("'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got "
                             f'{type(start).__name__}')
        self.is_tensor = isinstance(start, Tensor)
        self.ntensors = 1 if self.is_tensor else len(start)
        before = original.detach()
        if self.is_tensor:
            if start.dtype is not original.dtype:
                raise ValueError('When `right_inverse` outputs one tensor, it may not change the dtype.\n'
                                 f'original.dtype: {original.dtype}\nright_inverse(original).dtype: {start.dtype}')
            original.data = start.detach()  # the same object, which an optimizer may hold already
            _put(self, 'original', original)
        else:
            for k, part in enumerate(start):
                self._put_part(k, part, original)
        if not unsafe:
            try:
                _require_alike(self(), before, 'Registering a parametrization', ', unless `unsafe=True`')
            except BaseException:
                original.data = before
                raise

    def _put_part(self, k, part, original):
        if not isinstance(part, Tensor):
            raise ValueError("'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got "
                             f'element {k} of the sequence with type {type(part).__name__}.')
        part = part.detach()
        if isinstance(original, Parameter):
            part = Parameter(part, original.requires_grad)
        _put(self, f'original{k}', part.requires_grad_(original.requires_grad))

    def originals(self):
        """The tensors that the first parametrization is given."""
        if self.is_tensor:
            return [self.original]
        return [getattr(self, f'original{k}') for k in range(self.ntensors)]

    def right_inverse(self, value: Tensor) -> None:
        """Sets the originals so that the parametrized tensor becomes `value`, in reverse order of registration.

        Raises RuntimeError for a parametrization without `right_inverse`, ValueError for what it may not return.
        """
        with no_grad():
            for module in reversed(self):
                if not hasattr(module, 'right_inverse'):
                    raise RuntimeError(f'parametrization {type(module).__name__} does not implement right_inverse.')
                value = module.right_inverse(value)
            values = [value] if self.is_tensor else value
            if not self.is_tensor and not isinstance(value, Sequence):
                raise ValueError(f"'right_inverse' must return a sequence of tensors. Got {type(value).__name__}.")
            if len(values) != self.ntensors:
                raise ValueError(f"'right_inverse' must return a sequence of tensors of length {self.ntensors}. Got a "
                                 f'sequence of length {len(values)}.')
            for k, (new, old) in enumerate(zip(values, self.originals())):
                what = "'right_inverse'" if self.is_tensor else f'Tensor {k} returned by `right_inverse`'
                if not isinstance(new, Tensor):
                    raise ValueError(f'{what} must be a tensor. Got {type(new).__name__}')
                if new.dtype is not old.dtype:
                    raise ValueError(f'{what} has dtype {new.dtype} while the original has dtype {old.dtype}')
            for new, old in zip(values, self.originals()):
                old.data = new.detach()

    def forward(self) -> Tensor:
        first, *rest = self
        value = first(*self.originals())
        for module in rest:
            value = module(value)
        return value


def _parametrized_class(cls):
    """A class for one module, in which the names of its parametrized tensors are properties."""
    def getstate(self):
        raise RuntimeError('Serialization of parametrized modules is only supported through state_dict(). See:\n'
                           'https://pytorch.org/tutorials/beginner/saving_loading_models.html')

    def deepcopy(self, memo):
        if id(self) in memo:
            return memo[id(self)]
        replica = memo[id(self)] = object.__new__(type(self))
        replica.__setstate__(copy.deepcopy(without_mirrored(self), memo))
        return replica
    return type(f'Parametrized{cls.__name__}', (cls,), {'__getstate__': getstate, '__deepcopy__': deepcopy,
                                                        '__module__': __name__})


def _parametrized_tensor(name):
    """The property that computes a tensor by its parametrizations and, when it is set, inverts them."""
    def read(self):
        if not _caching:
            return self.parametrizations[name]()
        key = id(self), name
        if key not in _cache:
            _cache[key] = self.parametrizations[name]()
        return _cache[key]

    def write(self, value):
        self.parametrizations[name].right_inverse(value)
    return property(read, write)


def register_parametrization(module: Module, tensor_name: str, parametrization: Module, *,
                             unsafe: bool = False) -> Module:
    """Makes the parameter or buffer `tensor_name` a function of another tensor: parametrization(original).

    A method `right_inverse` of the parametrization says which original gives a tensor; where it returns several, the
    parametrization is given them all. A second parametrization is applied to the result of the first. Raises
    ValueError where the shape or dtype would change, unless `unsafe`.

    >>> class Positive(flambeau.nn.Module):
    ...     def forward(self, x): return x.abs()
    >>> layer = register_parametrization(flambeau.nn.Linear(2, 2), 'weight', Positive())
    >>> bool((layer.weight >= 0).all())
    True
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        parametrizations = module.parametrizations[tensor_name]
        if not unsafe:
            _check_further(getattr(module, tensor_name), parametrization)
        parametrizations.append(parametrization)
        parametrizations.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        parametrizations = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            module.__class__ = _parametrized_class(type(module))
            module.parametrizations = ModuleDict()
        setattr(type(module), tensor_name, _parametrized_tensor(tensor_name))
        module.parametrizations[tensor_name] = parametrizations
    else:
        raise ValueError(f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name "
                         f"'{tensor_name}'")
    return module


def _check_further(value, parametrization):
    result = parametrization(value)
    _require_alike(result, value, 'A parametrization', ', unless `unsafe=True`')
    if hasattr(parametrization, 'right_inverse'):
        with contextlib.suppress(NotImplementedError):
            _require_alike(parametrization.right_inverse(result), value, 'The right_inverse of a parametrization',
                           ', unless `unsafe=True`')


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a module has parametrizations, or one of the tensor with that name."""
    parametrizations = getattr(module, 'parametrizations', None)
    if not isinstance(parametrizations, ModuleDict):
        return False
    return bool(parametrizations) if tensor_name is None else tensor_name in parametrizations


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Makes a tensor a plain parameter or buffer again, with its present value, or else with its original's.

    Raises ValueError where it has no parametrization, and where it is to get the original's value but has several.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f'Module {module} does not have a parametrization on {tensor_name}')
    parametrizations = module.parametrizations[tensor_name]
    if not parametrizations.is_tensor and not leave_parametrized:
        raise ValueError('Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in '
                         'terms of a sequence of tensors.')
    if leave_parametrized:
        with no_grad():
            value = getattr(module, tensor_name)
    if parametrizations.is_tensor:
        original = parametrizations.original
        if leave_parametrized:
            original.data = value.detach()
    else:
        wants = parametrizations.original0.requires_grad
        original = Parameter(value, wants) if wants or isinstance(parametrizations.original0, Parameter) else value
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _put(module, tensor_name, original)
    if not is_parametrized(module):
        del module.parametrizations
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class that a module had before it was parametrized."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(from_module: Module, to_module: Module,
                                         tensor_name: str | None = None) -> Module:
    """Gives a module the parametrizations of another, or those of one tensor, and the values of what they need."""
    if not is_parametrized(from_module):
        return to_module
    names = list(from_module.parametrizations) if tensor_name is None else [tensor_name]
    for name in names:
        if not hasattr(to_module, name):
            _put(to_module, name, copy.deepcopy(getattr(from_module, name).detach()))
        theirs = from_module.parametrizations[name]
        for parametrization in theirs:
            register_parametrization(to_module, name, parametrization, unsafe=theirs.unsafe)
        ours = to_module.parametrizations[name]
        for old, new in zip(ours.originals(), theirs.originals()):
            old.data = new.detach().clone()
    return to_module
