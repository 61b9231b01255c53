"""State dicts of modules: what `Module.state_dict` collects and how `load_state_dict` puts it back.

A load is one transaction: names and shapes are checked for the whole tree before a value is copied, and a load that
fails leaves the module as it was.
"""
from __future__ import annotations

import functools
import warnings
from collections import OrderedDict, namedtuple
from collections.abc import Mapping

from ..autograd.hooks import RemovableHandle
from ..autograd.modes import no_grad
from ..tensor import Parameter, Tensor
from .hooks import ModuleHook

__all__ = ['Stateful']

EXTRA = '_extra_state'
STATE_TABLES = ('_state_dict_hooks', '_state_dict_pre_hooks', '_load_state_dict_pre_hooks',
                '_load_state_dict_post_hooks')


class _IncompatibleKeys(namedtuple('IncompatibleKeys', ['missing_keys', 'unexpected_keys'])):
    """What `load_state_dict` returns: the names that the state dict lacked, and those that the module lacks."""

    __slots__ = ()

    def __repr__(self):
        return super().__repr__() if self.missing_keys or self.unexpected_keys else '<All keys matched successfully>'

    __str__ = __repr__


class Stateful:
    """What `Module` can do about state dicts."""

    _version = 1

    # ---- collecting ----------------------------------------------------------------------------------

    def state_dict(self, *args, destination=None, prefix='', keep_vars=False):
        """An ordered dict from dotted names to the parameters and persistent buffers of the whole tree, detached.

        The tensors share memory with the module's. keep_vars: the parameters themselves. The attribute `_metadata`
        holds the `_version` of every module.
        """
        if args:
            warnings.warn('Positional args are being deprecated, use kwargs instead. Refer to '
                          'https://pytorch.org/docs/main/generated/torch.nn.Module.html#torch.nn.Module.state_dict '
                          'for details.', FutureWarning, stacklevel=2)
            destination, prefix, keep_vars = (*args, *(destination, prefix, keep_vars)[len(args):])
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        local_metadata = {'version': self._version}
        if hasattr(destination, '_metadata'):
            destination._metadata[prefix[:-1]] = local_metadata
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f'{prefix}{name}.', keep_vars=keep_vars)
        for hook in self._state_dict_hooks.values():
            changed = hook(self, destination, prefix, local_metadata)
            if changed is not None:
                if getattr(hook, '_from_public_api', False):
                    raise RuntimeError('state_dict post-hook must return None')
                destination = changed
        return destination

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        for name, value in self._local_state().items():
            destination[prefix + name] = value if keep_vars else value.detach()
        if type(self).get_extra_state is not Stateful.get_extra_state:
            destination[prefix + EXTRA] = self.get_extra_state()

    def _local_state(self):
        """The parameters and persistent buffers of this module alone, without those that are None."""
        return {name: value for members in (self._parameters, self._buffers) for name, value in members.items()
                if value is not None and (members is self._parameters or name not in self._non_persistent_buffers_set)}

    def get_extra_state(self):
        """Override to put more than tensors into the state dict, together with `set_extra_state`."""
        raise RuntimeError(f'{type(self).__name__} has no extra state: override get_extra_state and set_extra_state')

    def set_extra_state(self, state):
        """Override to take back what `get_extra_state` returned."""
        raise RuntimeError(f'{type(self).__name__} has no extra state: override get_extra_state and set_extra_state')

    # ---- hooks -----------------------------------------------------------------------------------------

    def _add_state_hook(self, table, hook) -> RemovableHandle:
        hooks = getattr(self, table)
        handle = RemovableHandle(hooks)
        hooks[handle.id] = hook
        return handle

    def register_state_dict_pre_hook(self, hook) -> RemovableHandle:
        """Calls hook(module, prefix, keep_vars) before this module's part of a state dict is collected."""
        return self._add_state_hook('_state_dict_pre_hooks', hook)

    def register_state_dict_post_hook(self, hook) -> RemovableHandle:
        """Calls hook(module, state_dict, prefix, local_metadata) afterwards; it may change state_dict in place."""
        hook._from_public_api = True
        return self._add_state_hook('_state_dict_hooks', hook)

    def _register_state_dict_hook(self, hook) -> RemovableHandle:
        """As `register_state_dict_post_hook`, but what the hook of the root returns replaces the state dict."""
        if getattr(hook, '_from_public_api', False):
            raise RuntimeError('Cannot register the same function as the state dict post hook that was previously '
                               'registered via register_state_dict_post_hook')
        return self._add_state_hook('_state_dict_hooks', hook)

    def register_load_state_dict_pre_hook(self, hook) -> RemovableHandle:
        """Calls hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)."""
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(self, hook, with_module=False) -> RemovableHandle:
        return self._add_state_hook('_load_state_dict_pre_hooks', ModuleHook(hook, self) if with_module else hook)

    def register_load_state_dict_post_hook(self, hook) -> RemovableHandle:
        """Calls hook(module, incompatible_keys) after loading; it may change the two lists in place."""
        return self._add_state_hook('_load_state_dict_post_hooks', hook)

    # ---- loading -----------------------------------------------------------------------------------------

    def load_state_dict(self, state_dict, strict=True, assign=False):
        """Copies the values of a state dict into the parameters and buffers of the tree.

        strict: the names must match exactly. assign: the tensors of the state dict become the parameters, instead of
        being copied into them. Returns the named tuple (missing_keys, unexpected_keys). Raises RuntimeError, and leaves
        the module as it was, where a shape differs or, if strict, a name.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f'Expected state_dict to be dict-like, got {type(state_dict)}.')
        metadata = getattr(state_dict, '_metadata', None)
        state_dict = OrderedDict(state_dict)  # `_load_from_state_dict` may change it
        if metadata is not None:
            state_dict._metadata = metadata
        load = Load(type(self).__name__, metadata or {}, strict, assign)
        try:
            load.visit(self, state_dict, '')
            load.finish()
        except BaseException:
            load.undo()
            raise
        return load.incompatible

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
                              error_msgs):
        """Loads this module alone, without its submodules; mistakes are added to the lists.

        Override to read older formats: change state_dict, then call this.
        """
        for hook in self._load_state_dict_pre_hooks.values():
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        local_state = self._local_state()
        do = local_metadata.get('_load', run_at_once)
        for name, current in local_state.items():
            key = prefix + name
            if key not in state_dict:
                if strict:
                    missing_keys.append(key)
                continue
            value, complaint = fitting(key, state_dict[key], current)
            if complaint is not None:
                error_msgs.append(complaint)
            elif local_metadata.get('assign_to_params_buffers', False):
                do(Assignment(self, name, value, current))
            else:
                do(Copy(key, value, current, error_msgs))
        extra_key = prefix + EXTRA
        if type(self).set_extra_state is not Stateful.set_extra_state:
            if extra_key in state_dict:
                do(functools.partial(self.set_extra_state, state_dict[extra_key]))
            elif strict:
                missing_keys.append(extra_key)
        elif strict and extra_key in state_dict:
            unexpected_keys.append(extra_key)
        if strict:
            unexpected_keys.extend(self._unknown_keys(state_dict, prefix, local_state, extra_key))

    def _unknown_keys(self, state_dict, prefix, local_state, extra_key):
        for key in state_dict:
            if key.startswith(prefix) and key != extra_key:
                name, dot, _ = key[len(prefix):].partition('.')
                if name not in (self._modules if dot else local_state):
                    yield key


def fitting(key, value, current):
    """(value as it can be copied into the tensor `current`, None), or (None, why it cannot)."""
    if not isinstance(value, Tensor) and not hasattr(value, '__torch_function__'):
        return None, (f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object from '
                      f'checkpoint but received {type(value)}')
    if len(current.shape) == 0 and tuple(value.shape) == (1,):
        value = value[0]  # scalars were saved like this by PyTorch before 0.4
    if value.shape != current.shape:
        return None, (f'size mismatch for {key}: copying a param with shape {value.shape} from checkpoint, '
                      f'the shape in current model is {current.shape}.')
    return value, None


class Load:
    """One load of a state dict into a tree of modules."""

    def __init__(self, name, metadata, strict, assign):
        self.name = name
        self.metadata = metadata
        self.strict = strict
        self.assign = assign
        self.incompatible = _IncompatibleKeys([], [])
        self.errors = []
        self.visited = []  # children before their parents
        self.waiting = []  # what is to be done once everything is checked
        self.undoing = []

    def visit(self, module, state_dict, prefix):
        local_metadata = dict(self.metadata.get(prefix[:-1], {}))
        if self.assign:
            local_metadata['assign_to_params_buffers'] = True
        # code that is not ours may look at the values right after loading them, so there nothing waits
        ours = module._load_from_state_dict.__module__.partition('.')[0] == __name__.partition('.')[0]
        local_metadata['_load'] = self.waiting.append if ours else self.do
        module._load_from_state_dict(state_dict, prefix, local_metadata, True, *self.incompatible, self.errors)
        for name, child in module._modules.items():
            if child is not None:
                inside = f'{prefix}{name}.'
                self.visit(child, {k: v for k, v in state_dict.items() if k.startswith(inside)}, inside)
        self.visited.append(module)

    def do(self, action):
        if hasattr(action, 'inverse'):
            self.undoing.append(action.inverse())
        action()

    def undo(self):
        for action in reversed(self.undoing):
            action()

    def finish(self):
        """Does what waits and runs the modules' hooks, which may forgive incompatible keys."""
        hooks = [(module, hook) for module in self.visited for hook in module._load_state_dict_post_hooks.values()]
        mismatch = self.strict and any(self.incompatible)
        if self.errors or (mismatch and not hooks):
            self.refuse()
        for action in self.waiting:
            self.do(action) if mismatch else action()  # so that a refusal after the hooks can be undone
        for module, hook in hooks:
            if hook(module, self.incompatible) is not None:
                raise AssertionError('Hooks registered with ``register_load_state_dict_post_hook`` are not expected to '
                                     'return new values, if incompatible_keys need to be modified, it should be done '
                                     'inplace.')
        if self.errors or (self.strict and any(self.incompatible)):
            self.refuse()

    def refuse(self):
        lines = [f'{title} key(s) in state_dict: {", ".join(repr_of_key(key) for key in keys)}. '
                 for title, keys in zip(('Missing', 'Unexpected'), self.incompatible) if self.strict and keys]
        raise RuntimeError(f'Error(s) in loading state_dict for {self.name}:\n\t' + '\n\t'.join(lines + self.errors))


def repr_of_key(key):
    return f'"{key}"'


def run_at_once(action):
    action()


class Copy:
    """Copies a value into a tensor of the module; a failure is added to the errors."""

    def __init__(self, key, value, target, errors):
        self.key, self.value, self.target, self.errors = key, value, target, errors

    def __call__(self):
        try:
            with no_grad():
                self.target.copy_(self.value)
        except Exception as error:
            self.errors.append(f'While copying the parameter named "{self.key}", whose dimensions in the model are '
                               f'{self.target.shape} and whose dimensions in the checkpoint are {self.value.shape}, '
                               f'an exception occurred : {error.args}.')

    def inverse(self):
        return Copy(self.key, self.target.detach().clone(), self.target, [])


class Assignment:
    """Makes a value the parameter or buffer of a name; a parameter keeps whether it requires a gradient."""

    def __init__(self, module, name, value, current):
        self.module, self.name, self.value, self.current = module, name, value, current

    def __call__(self):
        value = self.value
        if isinstance(self.current, Parameter):
            if isinstance(value, Parameter):
                value.requires_grad_(self.current.requires_grad)
            else:
                value = Parameter(value, requires_grad=self.current.requires_grad)
        setattr(self.module, self.name, value)

    def inverse(self):
        return functools.partial(setattr, self.module, self.name, self.current)
