"""The base of all optimizers: parameter groups, states, state dicts, hooks. Knows no rule by which parameters change.

`optimizer.state` maps a parameter to a dictionary of its states; `optimizer.param_groups` is a list of dictionaries
with the parameters under 'params' and the options under their names. State dicts have PyTorch's layout.
"""
from __future__ import annotations

import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

from .. import dtypes
from ..autograd.hooks import RemovableHandle
from ..autograd.modes import enable_grad
from ..legacy import type_name
from ..tensor import Tensor

__all__ = ['Optimizer', 'ParamsT', 'required', 'register_optimizer_step_pre_hook', 'register_optimizer_step_post_hook']

ParamsT = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]


class _Required:
    """Stands in `defaults` for an option that every parameter group must give."""

    def __repr__(self):
        return '<required parameter>'


required = _Required()

# what options are where a state dict or a pickle is older than they are
OPTIONS_ADDED_LATER = {'nesterov': False, 'amsgrad': False, 'centered': False, 'momentum': 0, 'maximize': False,
                       'foreach': None, 'fused': None, 'capturable': False, 'differentiable': False,
                       'decoupled_weight_decay': False}

PRE_HOOKS: OrderedDict[int, Callable] = OrderedDict()
POST_HOOKS: OrderedDict[int, Callable] = OrderedDict()
HOOKS = ('_optimizer_step_pre_hooks', '_optimizer_step_post_hooks', '_optimizer_state_dict_pre_hooks',
         '_optimizer_state_dict_post_hooks', '_optimizer_load_state_dict_pre_hooks',
         '_optimizer_load_state_dict_post_hooks')


def register_optimizer_step_pre_hook(hook: Callable) -> RemovableHandle:
    """Calls hook(optimizer, args, kwargs) before `step` of every optimizer; it may return new (args, kwargs)."""
    return register(PRE_HOOKS, hook)


def register_optimizer_step_post_hook(hook: Callable) -> RemovableHandle:
    """Calls hook(optimizer, args, kwargs) after `step` of every optimizer."""
    return register(POST_HOOKS, hook)


def register(hooks: OrderedDict, hook: Callable, first: bool = False) -> RemovableHandle:
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    if first:
        hooks.move_to_end(handle.id, last=False)
    return handle


def hooked(function: Callable) -> Callable:
    """A class's `step` with the hooks around it."""
    @functools.wraps(function)
    def step(self, *args, **kwargs):
        if self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks or PRE_HOOKS or POST_HOOKS:
            return between_hooks(self, function, args, kwargs)
        return function(self, *args, **kwargs)
    step.hooked = True
    return step


def between_hooks(optimizer, function, args, kwargs):
    arguments = (optimizer, *args)
    for hook in (*PRE_HOOKS.values(), *optimizer._optimizer_step_pre_hooks.values()):
        result = hook(optimizer, arguments, kwargs)
        if result is not None:
            if not isinstance(result, tuple) or len(result) != 2:
                raise RuntimeError(f'{function} must return None or a tuple of (new_args, new_kwargs), but got '
                                   f'{result}.')
            arguments, kwargs = result
    out = function(*arguments, **kwargs)
    for hook in (*optimizer._optimizer_step_post_hooks.values(), *POST_HOOKS.values()):
        hook(optimizer, arguments, kwargs)
    return out


class Optimizer:
    """Base class of optimizers.

    `params` are tensors, dictionaries (parameter groups) or pairs of (name, tensor), in an order that is the same in
    every run; `defaults` are the options of groups that do not give them. A subclass implements `step`.

    >>> optimizer = flambeau.optim.SGD([{'params': weights}, {'params': biases, 'lr': 0.1}], lr=0.01)
    """

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        for name in HOOKS:
            setattr(self, name, OrderedDict())
        self._put_hooks_around_step()
        if isinstance(params, Tensor):
            raise TypeError('params argument given to the optimizer should be an iterable of Tensors or dicts, but got '
                            + type_name(params.dtype))
        self.state: defaultdict[Tensor, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        if not hasattr(params, '__iter__') and not hasattr(params, '__getitem__'):
            cure = ': pass model.parameters()' if hasattr(params, 'parameters') else ''
            raise TypeError(f'params argument given to the optimizer should be an iterable of Tensors or dicts, but '
                            f'got {type(params).__name__}{cure}')
        groups = list(params)
        if not groups:
            raise ValueError('optimizer got an empty parameter list')
        if not isinstance(groups[0], dict):
            groups = [{'params': groups}]
        for group in groups:
            self.add_param_group(group)

    def _put_hooks_around_step(self):
        cls = type(self)
        if not getattr(cls.step, 'hooked', False):
            cls.step = hooked(cls.step)

    def __getstate__(self) -> dict[str, Any]:
        return {'defaults': self.defaults, 'state': self.state, 'param_groups': self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name in HOOKS:
            self.__dict__.setdefault(name, OrderedDict())
        self._put_hooks_around_step()
        for group in self.param_groups:
            for name in self.defaults:
                if name in OPTIONS_ADDED_LATER:
                    group.setdefault(name, OPTIONS_ADDED_LATER[name])

    def __repr__(self) -> str:
        text = type(self).__name__ + ' ('
        for i, group in enumerate(self.param_groups):
            text += f'\nParameter Group {i}\n'
            text += ''.join(f'    {key}: {group[key]}\n' for key in sorted(group) if key != 'params')
        return text + ')'

    # ---- hooks

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Calls hook(optimizer, args, kwargs) before `step`; it may return new (args, kwargs)."""
        return register(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """Calls hook(optimizer, args, kwargs) after `step`."""
        return register(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Calls hook(optimizer) before `state_dict`."""
        return register(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Calls hook(optimizer, state_dict) after `state_dict`; it may return another one."""
        return register(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Calls hook(optimizer, state_dict) before `load_state_dict`; it may return another one."""
        return register(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Calls hook(optimizer) after `load_state_dict`."""
        return register(self._optimizer_load_state_dict_post_hooks, hook, prepend)

    # ---- state dicts

    def state_dict(self) -> dict[str, Any]:
        """{'state': {number of a parameter: its states}, 'param_groups': [options, and the parameters' numbers]}.

        The states are the optimizer's own tensors, not copies.
        """
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        numbers: dict[int, int] = {}
        count = 0
        packed_groups = []
        for group in self.param_groups:
            packed = {key: value for key, value in group.items() if key != 'params'}
            for offset, p in enumerate(group['params']):
                numbers.setdefault(id(p), count + offset)
            count += len(group['params'])
            packed['params'] = [numbers[id(p)] for p in group['params']]
            packed_groups.append(packed)
        saved = {'state': {numbers[id(key)] if isinstance(key, Tensor) else key: value
                           for key, value in self.state.items()},
                 'param_groups': packed_groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            saved = hook(self, saved) or saved
        return saved

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over options and states; floating point states take the dtype of their parameter, except 'step'.

        Parameters are matched by their order. Raises ValueError where groups differ in number or size.
        """
        if not isinstance(state_dict, dict):
            raise TypeError(f'Expected state_dict to be a dict, as state_dict() returns it, got {type(state_dict)}')
        if missing := {'state', 'param_groups'} - state_dict.keys():
            raise KeyError(f'the state dict of an optimizer needs the keys {sorted(missing)}, this one has '
                           f'{sorted(state_dict, key=str)[:6]}: is it that of a model?')
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            state_dict = hook(self, state_dict) or state_dict
        groups, saved_groups = self.param_groups, deepcopy(state_dict['param_groups'])
        if len(groups) != len(saved_groups):
            raise ValueError('loaded state dict has a different number of parameter groups: '
                             f'{len(saved_groups)}, the optimizer has {len(groups)}')
        for i, (group, saved) in enumerate(zip(groups, saved_groups)):
            if len(group['params']) != len(saved['params']):
                raise ValueError("loaded state dict contains a parameter group that doesn't match the size of "
                                 f"optimizer's group: group {i} has {len(saved['params'])} parameters there, "
                                 f"{len(group['params'])} here")
        parameter_of = {number: (p, saved) for group, saved in zip(groups, saved_groups)
                        for p, number in zip(group['params'], saved['params'])}
        state = defaultdict(dict)
        for key, value in state_dict['state'].items():
            if key in parameter_of:
                p, saved = parameter_of[key]
                state[p] = fitted(value, p, saved.get('capturable') or saved.get('fused'))
            else:
                state[key] = value
        for group, saved in zip(groups, saved_groups):
            saved['params'] = group['params']
            if 'param_names' in group:
                saved.setdefault('param_names', group['param_names'])
        self.__setstate__({'state': state, 'param_groups': saved_groups})
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    # ---- parameters

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of all parameters, or sets them to zero where `set_to_none` is False."""
        for group in self.param_groups:
            for p in group['params']:
                if set_to_none:
                    p._grad = None
                elif p._grad is not None:
                    grad = p._grad
                    if grad.grad_fn is not None:
                        grad.detach_()
                    else:
                        grad.requires_grad_(False)
                    grad.zero_()

    def step(self, closure: Callable[[], Any] | None = None):
        """Changes the parameters by their gradients. `closure` computes the loss anew; it is returned."""
        raise NotImplementedError

    def _evaluate(self, closure):
        """The loss of a closure, which runs with gradients recorded."""
        if closure is None:
            return None
        with enable_grad():
            return closure()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds parameters with options of their own.

        Raises TypeError for what is no tensor or has no order, ValueError for a tensor that is no leaf, an option that
        is required and missing, parameters with and without names, and parameters that another group has.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f'param_group must be a dict, but got {type(param_group)}')
        if 'params' not in param_group:
            raise KeyError(f"a parameter group needs the key 'params', but has {sorted(param_group)}")
        params, names = listed(param_group['params'])
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError('optimizer can only optimize Tensors, but one of the params is '
                                + f'{type(p).__module__}.{type(p).__qualname__}'.removeprefix('builtins.'))
            if not self.defaults.get('differentiable') and not (p.is_leaf or p.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
        if len(set(params)) != len(params):
            warnings.warn('optimizer contains a parameter group with duplicate parameters; in future, this will cause '
                          'an error; see github.com/pytorch/pytorch/issues/40967 for more information', stacklevel=3)
        named = names is not None or 'param_names' in param_group
        for group in self.param_groups:
            if named != ('param_names' in group):
                raise ValueError('all optimizer param groups should be with/without names. cannot add param group '
                                 f"{'with' if named else 'without'} names to the optimizer")
            if not set(group['params']).isdisjoint(params):
                raise ValueError('some parameters appear in more than one parameter group')
        param_group['params'] = params
        if names is not None:
            param_group['param_names'] = names
        for name, default in self.defaults.items():
            param_group.setdefault(name, default)
        self.param_groups.append(param_group)


def listed(params) -> tuple[list, list | None]:
    """(the parameters of a group as a list, their names or None)."""
    if isinstance(params, Tensor):
        return [params], None
    if isinstance(params, set):
        raise TypeError('optimizer parameters need to be organized in ordered collections, but the ordering of tensors '
                        'in sets will change between runs. Please use a list instead.')
    params = list(params)
    names = [p[0] for p in params if isinstance(p, tuple)]
    if not names:
        return params, None
    if len(names) != len(params):
        raise ValueError('all optimizer params should be with/without names. Some param names are missing')
    return [p[1] for p in params], names


def fitted(value, param, step_in_float32, key=None):
    """A loaded state in the dtype that it has beside this parameter."""
    if isinstance(value, Tensor):
        if key == 'step':
            return value.to(dtypes.float32) if step_in_float32 else value
        return value.to(param.dtype) if param.is_floating_point() else value
    if isinstance(value, dict):
        return {k: fitted(v, param, step_in_float32, k) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value)(fitted(v, param, step_in_float32) for v in value)
    return value


# ---- arguments -----------------------------------------------------------------------------------------------

NOT_NEGATIVE = {'eps': 'epsilon', **{name: name for name in (
    'weight_decay', 'momentum', 'momentum_decay', 'lr_decay', 'initial_accumulator_value')}}


def check_lr(lr, message='Invalid learning rate: {}'):
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError('Tensor lr must be 1-element')
    if not isinstance(lr, (int, float, Tensor)) and not hasattr(lr, '__float__'):
        raise TypeError(f'Invalid learning rate: {lr!r} is no number')
    check(lr >= 0.0, message, lr)


def given(arguments) -> dict[str, Any]:
    """The options among the locals of an optimizer's `__init__`."""
    return {name: value for name, value in arguments.items() if name not in ('self', 'params', '__class__')}


def checked(arguments) -> dict[str, Any]:
    """Such options, after the checks that most optimizers have in common."""
    options = given(arguments)
    check_lr(options['lr'])
    for name, shown in NOT_NEGATIVE.items():
        if name in options:
            check(options[name] >= 0.0, f'Invalid {shown} value: {{}}', options[name])
    if 'betas' in options:
        check_betas(options['betas'])
    if 'fused' in options:
        check_implementation(options['foreach'], options['fused'], options['differentiable'])
    return options


def check(holds, message: str, value):
    """Raises ValueError with the value in the message. Comparisons with NaN do not hold."""
    if not holds:
        raise ValueError(message.format(value))


def check_betas(betas):
    if not isinstance(betas, (tuple, list)) or len(betas) < 2:
        raise TypeError(f'betas must be a pair of numbers, got {betas!r}')
    for i, beta in enumerate(betas):
        check(0.0 <= beta < 1.0, f'Invalid beta parameter at index {i}: {{}}', beta)


def check_implementation(foreach, fused, differentiable):
    """Refuses combinations of `foreach`, `fused` and `differentiable` that PyTorch refuses."""
    if fused and differentiable:
        raise RuntimeError('`fused` does not support `differentiable`')
    if fused and foreach:
        raise RuntimeError('`fused` and `foreach` cannot be `True` together.')


def as_number(value):
    """A learning rate, or anything else that may be a tensor with one element, as a Python number."""
    return value.item() if isinstance(value, Tensor) else value
