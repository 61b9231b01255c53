"""Hooks of modules: functions of the user's that run before, after and in the backward of a module's `forward`.

`Hookable` is the part of `Module` that registers and runs them. A module without any is called the short way: the flag
`_hooked` is set on the instance, or for hooks of all modules on the class, and put back once the last hook is gone.
"""
from __future__ import annotations

import functools
import warnings
import weakref
from collections import OrderedDict

from ..autograd.hooks import RemovableHandle
from .members import HookTable

__all__ = ['Hookable', 'register_module_forward_pre_hook', 'register_module_forward_hook',
           'register_module_backward_hook', 'register_module_full_backward_pre_hook',
           'register_module_full_backward_hook', 'register_module_buffer_registration_hook',
           'register_module_module_registration_hook', 'register_module_parameter_registration_hook',
           'BackwardHook', 'registered_value']

CALL_TABLES = ('_forward_pre_hooks', '_forward_hooks', '_backward_pre_hooks', '_backward_hooks')
OPTION_TABLES = ('_forward_pre_hooks_with_kwargs', '_forward_hooks_with_kwargs', '_forward_hooks_always_called')


class Hookable:
    """What `Module` can do about hooks."""

    _hooked = False
    _is_full_backward_hook = None

    def _make_hook_tables(self, state):
        """Makes the tables of hooks that are missing in `state` or belong to another module."""
        reference = weakref.ref(self)
        for name in CALL_TABLES:
            table = state.get(name)
            if table is None or getattr(table, 'owner', None) is not reference:
                state[name] = HookTable.of(reference, table)
        for name in OPTION_TABLES:
            state.setdefault(name, OrderedDict())

    def _add_hook(self, table, hook, prepend=False, **options):
        """Registers a hook in the table named; `options` are names of further tables that mark it, with a condition."""
        extra = [getattr(self, name) for name in options]
        hooks = getattr(self, table)
        handle = RemovableHandle(hooks, extra_dict=extra)
        hooks[handle.id] = hook
        for marks, wanted in zip(extra, options.values()):
            if wanted:
                marks[handle.id] = True
        if prepend:
            for ordered in (hooks, *(marks for marks, wanted in zip(extra, options.values()) if wanted)):
                ordered.move_to_end(handle.id, last=False)
        return handle

    def register_forward_pre_hook(self, hook, *, prepend=False, with_kwargs=False) -> RemovableHandle:
        """Calls hook(module, args), or with_kwargs hook(module, args, kwargs), before every `forward`.

        What it returns, unless None, replaces the positional arguments (with_kwargs: a pair of both).
        """
        return self._add_hook('_forward_pre_hooks', hook, prepend, _forward_pre_hooks_with_kwargs=with_kwargs)

    def register_forward_hook(self, hook, *, prepend=False, with_kwargs=False, always_call=False) -> RemovableHandle:
        """Calls hook(module, args, output), or with_kwargs hook(module, args, kwargs, output), after every `forward`.

        What it returns, unless None, replaces the output. always_call: also when `forward` raises, with output None.
        """
        return self._add_hook('_forward_hooks', hook, prepend, _forward_hooks_with_kwargs=with_kwargs,
                              _forward_hooks_always_called=always_call)

    def register_full_backward_pre_hook(self, hook, prepend=False) -> RemovableHandle:
        """Calls hook(module, grad_output) before the module's backward; what it returns replaces grad_output."""
        return self._add_hook('_backward_pre_hooks', hook, prepend)

    def register_full_backward_hook(self, hook, prepend=False) -> RemovableHandle:
        """Calls hook(module, grad_input, grad_output) after the module's backward; what it returns replaces grad_input.

        Both are tuples with None for arguments that are no tensors. Raises RuntimeError if the module has hooks of the
        older kind (`register_backward_hook`).
        """
        self._use_backward_kind(True)
        return self._add_hook('_backward_hooks', hook, prepend)

    def register_backward_hook(self, hook) -> RemovableHandle:
        """The older kind of backward hook, which sees the gradients of the last operation only; prefer the full one."""
        self._use_backward_kind(False)
        return self._add_hook('_backward_hooks', hook)

    def _use_backward_kind(self, full):
        if self._is_full_backward_hook is (not full):
            raise RuntimeError('Cannot use both regular backward hooks and full backward hooks on a single Module. '
                               'Please use only one of them.')
        self._is_full_backward_hook = full

    # ---- running them --------------------------------------------------------------------------------

    def _call_hooked(self, args, kwargs):
        """`forward` with every hook around it."""
        if not self._has_hooks():
            return self.forward(*args, **kwargs)
        pending = dict.fromkeys([*GLOBAL.always_called, *self._forward_hooks_always_called])
        result = None
        try:
            args, kwargs = self._run_forward_pre_hooks(args, kwargs)
            full, older = self._backward_hooks_by_kind()
            before = [*GLOBAL.backward_pre.values(), *self._backward_pre_hooks.values()]
            boundary = BackwardHook(self, full, before) if full or before else None
            if boundary is not None:
                args = boundary.setup_input_hook(args)
            result = self.forward(*args, **kwargs)
            for number, hook in self._all_forward_hooks():
                pending.pop(number, None)
                result = self._run_forward_hook(number, hook, args, kwargs, result)
            if boundary is not None:
                result = boundary.setup_output_hook(result)
            if older:
                attach_older_hooks(self, older, args, result)
            return result
        except Exception:
            self._run_always_called(pending, args, kwargs, result)
            raise

    def _has_hooks(self):
        """Whether a hook is left; where none is, calls take the short way again."""
        of_all = GLOBAL.any_call_hook()
        own = any(getattr(self, name) for name in CALL_TABLES)
        if not own:
            self.__dict__.pop('_hooked', None)
        if not of_all:
            Hookable._hooked = False
        return of_all or own

    def _all_forward_hooks(self):
        return [*GLOBAL.forward.items(), *self._forward_hooks.items()]

    def _run_forward_pre_hooks(self, args, kwargs):
        for number, hook in [*GLOBAL.forward_pre.items(), *self._forward_pre_hooks.items()]:
            if number in self._forward_pre_hooks_with_kwargs:
                changed = hook(self, args, kwargs)
                if changed is None:
                    continue
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise RuntimeError('forward pre-hook must return None or a tuple of (new_args, new_kwargs), '
                                       f'but got {changed}.')
                args, kwargs = changed
            else:
                changed = hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
        return args, kwargs

    def _run_forward_hook(self, number, hook, args, kwargs, result):
        if number in self._forward_hooks_with_kwargs or number in GLOBAL.with_kwargs:
            changed = hook(self, args, kwargs, result)
        else:
            changed = hook(self, args, result)
        return result if changed is None else changed

    def _run_always_called(self, pending, args, kwargs, result):
        for number, hook in self._all_forward_hooks():
            if number not in pending:
                continue
            try:
                result = self._run_forward_hook(number, hook, args, kwargs, result)
            except Exception as error:
                kind = 'global module' if number in GLOBAL.always_called else 'module'
                warnings.warn(f'{kind} forward hook with ``always_call=True`` raised an exception that was silenced '
                              f'as another error was raised in forward: {error}', stacklevel=4)

    def _backward_hooks_by_kind(self):
        full, older = [], []
        for kind, hooks in ((GLOBAL.full_backward, GLOBAL.backward),
                            (self._is_full_backward_hook, self._backward_hooks)):
            (full if kind else older).extend(hooks.values())
        return full, older


class ModuleHook:
    """A hook that gets the module as its first argument, without keeping it alive; copies follow the module's copy."""

    def __init__(self, hook, module):
        self.hook = hook
        self.module = weakref.ref(module)

    def __call__(self, *args):
        module = self.module()
        if module is None:
            raise RuntimeError('You are trying to call the hook of a dead Module!')
        return self.hook(module, *args)

    def __getstate__(self):
        return self.hook, self.module()

    def __setstate__(self, state):
        self.__init__(*state)


# ---- hooks of all modules ------------------------------------------------------------------------------

class GlobalHooks:
    """The hooks that run for every module."""

    def __init__(self):
        self.forward_pre = OrderedDict()
        self.forward = OrderedDict()
        self.with_kwargs = OrderedDict()
        self.always_called = OrderedDict()
        self.backward_pre = OrderedDict()
        self.backward = OrderedDict()
        self.full_backward = None  # of which kind the backward hooks are
        self.registration = {'buffer': OrderedDict(), 'module': OrderedDict(), 'parameter': OrderedDict()}

    def any_call_hook(self):
        return bool(self.forward_pre or self.forward or self.backward_pre or self.backward)

    def add(self, hooks, hook, *marks):
        handle = RemovableHandle(hooks, extra_dict=list(marks))
        hooks[handle.id] = hook
        for table in marks:
            table[handle.id] = True
        Hookable._hooked = True
        return handle

    def use_backward_kind(self, full):
        if self.full_backward is (not full):
            raise RuntimeError('Cannot use both regular backward hooks and full backward hooks as a global Module '
                               'hook. Please use only one of them.')
        self.full_backward = full


GLOBAL = GlobalHooks()


def register_module_forward_pre_hook(hook) -> RemovableHandle:
    """Calls hook(module, args) before the `forward` of every module."""
    return GLOBAL.add(GLOBAL.forward_pre, hook)


def register_module_forward_hook(hook, *, with_kwargs=False, always_call=False) -> RemovableHandle:
    """Calls hook(module, args, output), or with kwargs before output, after the `forward` of every module."""
    marks = [table for table, wanted in ((GLOBAL.with_kwargs, with_kwargs), (GLOBAL.always_called, always_call))
             if wanted]
    return GLOBAL.add(GLOBAL.forward, hook, *marks)


def register_module_full_backward_pre_hook(hook) -> RemovableHandle:
    """Calls hook(module, grad_output) before the backward of every module."""
    return GLOBAL.add(GLOBAL.backward_pre, hook)


def register_module_full_backward_hook(hook) -> RemovableHandle:
    """Calls hook(module, grad_input, grad_output) after the backward of every module."""
    GLOBAL.use_backward_kind(True)
    return GLOBAL.add(GLOBAL.backward, hook)


def register_module_backward_hook(hook) -> RemovableHandle:
    """The older kind of backward hook, for every module; prefer `register_module_full_backward_hook`."""
    GLOBAL.use_backward_kind(False)
    return GLOBAL.add(GLOBAL.backward, hook)


def _registration_hook(kind):
    def register(hook) -> RemovableHandle:
        table = GLOBAL.registration[kind]
        handle = RemovableHandle(table)
        table[handle.id] = hook
        return handle
    register.__name__ = register.__qualname__ = f'register_module_{kind}_registration_hook'
    register.__doc__ = f'Calls hook(module, name, {kind}) when a {kind} is registered; what it returns replaces it.'
    return register


register_module_buffer_registration_hook = _registration_hook('buffer')
register_module_module_registration_hook = _registration_hook('module')
register_module_parameter_registration_hook = _registration_hook('parameter')


def registered_value(kind, module, name, value):
    """What a member about to be registered becomes after the registration hooks of its kind."""
    for hook in GLOBAL.registration[kind].values():
        changed = hook(module, name, value)
        if changed is not None:
            value = changed
    return value


# ---- backward ------------------------------------------------------------------------------------------

class BackwardHook:
    """Puts a boundary around the tensors that enter and leave one call of a module, and runs its hooks there.

    The gradients that pass the outer boundary are the module's grad_output, those at the inner one its grad_input.
    """

    def __init__(self, module, user_hooks, user_pre_hooks):
        self.module = module
        self.user_hooks = user_hooks
        self.user_pre_hooks = user_pre_hooks
        self.grad_outputs = None
        self.inputs = self.outputs = None  # (number of values, places of the tensors among them)

    def setup_input_hook(self, args):
        """The positional arguments with the inner boundary put after them."""
        args, places = with_boundary(args, self.entering, True)
        self.inputs = (len(args), places)
        return args

    def setup_output_hook(self, result):
        """The output with the outer boundary put after it."""
        if not isinstance(result, tuple):
            if not hasattr(result, 'requires_grad'):
                warnings.warn('For backward hooks to be called, module output should be a Tensor or a tuple of Tensors '
                              f'but received {type(result)}', stacklevel=4)
            values, places = with_boundary((result,), self.leaving, False)
            self.outputs = (1, places)
            return values[0]
        result, places = with_boundary(result, self.leaving, False)
        self.outputs = (len(result), places)
        return result

    def leaving(self, grad_output):
        """Backward reaches the module: keeps grad_output for the hooks, and returns what the pre-hooks made of it."""
        count, places = self.outputs
        gradients = spread(grad_output, places, count)
        for hook in self.user_pre_hooks:
            changed = hook(self.module, gradients)
            if changed is not None:
                check_length('Backward pre hook returned an invalid number of grad_output', changed, gradients)
                gradients = changed
        if self.inputs[1] is None:
            self.run_without_inputs(gradients)
        else:
            self.grad_outputs = gradients
        return tuple(gradients[place] for place in places)

    def run_without_inputs(self, gradients):
        warnings.warn('Full backward hook is firing when gradients are computed with respect to module outputs since '
                      'no inputs require gradients. See the documentation of Module.register_full_backward_hook for '
                      'more details.', stacklevel=2)
        for hook in self.user_hooks:
            changed = hook(self.module, (None,) * self.inputs[0], gradients)
            if changed is not None and not (isinstance(changed, tuple) and all(g is None for g in changed)):
                raise RuntimeError('Backward hook for Modules where no input requires gradient should always return '
                                   'None or None for all gradients.')

    def entering(self, grad_input):
        """Backward leaves the module: runs the hooks, and returns what they made of grad_input."""
        if self.grad_outputs is None:
            return grad_input  # the gradient came past the module's output, as in a double backward
        count, places = self.inputs
        gradients = spread(grad_input, places, count)
        for hook in self.user_hooks:
            changed = hook(self.module, gradients, self.grad_outputs)
            if changed is not None:
                check_length('Backward hook returned an invalid number of grad_input', changed, gradients)
                gradients = changed
        self.grad_outputs = None
        return tuple(gradients[place] for place in places)


def check_length(complaint, changed, gradients):
    if len(changed) != len(gradients):
        raise RuntimeError(f'{complaint}, got {len(changed)}, but expected {len(gradients)}')


def spread(values, places, count):
    """A tuple of `count` with the values at their places and None elsewhere."""
    found = dict(zip(places, values))
    return tuple(found.get(place) for place in range(count))


def with_boundary(values, notify, zeros):
    """The values with a boundary after their tensors whose backward calls `notify`, and the places of the tensors.

    notify(gradients) returns the gradients to go on with; `zeros`: it gets zeros for tensors that were not used, else
    None. Without a tensor that needs a gradient: the values as they are, and None.
    """
    from ..autograd.modes import is_grad_enabled
    from ..tensor import Tensor
    places = [place for place, value in enumerate(values) if isinstance(value, Tensor)]
    if not (is_grad_enabled() and any(values[place].requires_grad for place in places)):
        return values, None
    changed = list(values)
    for place, tensor in zip(places, boundary_function().apply(notify, zeros, *(values[place] for place in places))):
        changed[place] = tensor
    return (tuple(changed) if type(values) is tuple else type(values)(*changed)), places


@functools.cache
def boundary_function():
    """The operation that marks a boundary: it changes nothing and passes on the gradients that `notify` returns."""
    from ..autograd.function import Function

    class BackwardHookFunction(Function):
        @staticmethod
        def forward(ctx, notify, zeros, *tensors):
            ctx.notify = notify
            ctx.set_materialize_grads(zeros)
            ctx.mark_non_differentiable(*(t for t in tensors if not t.requires_grad))
            return tuple(t.view_as(t) for t in tensors)

        @staticmethod
        def backward(ctx, *gradients):
            return None, None, *ctx.notify(gradients)
    return BackwardHookFunction


# ---- the older kind of backward hook ---------------------------------------------------------------------

def attach_older_hooks(module, hooks, args, result):
    """Hangs older hooks on the operation that made the first tensor of `result`."""
    from ..tensor import Tensor
    first = result
    while not isinstance(first, Tensor):
        first = next(v for v in first.values() if isinstance(v, Tensor)) if isinstance(first, dict) else first[0]
    node = first.grad_fn
    if node is None:
        return
    for hook in hooks:
        node.register_hook(ModuleHook(hook, module))
    doubt = what_older_hooks_miss(args, result, node, Tensor)
    if doubt:
        warnings.warn(f'Using a non-full backward hook when {doubt} is deprecated and will be removed in future '
                      'versions. Please use register_full_backward_hook to get the documented behavior.',
                      FutureWarning, stacklevel=4)


def what_older_hooks_miss(args, result, node, Tensor):
    """Why the gradients that an older hook sees may not be those of the module, or None."""
    results = (result,) if isinstance(result, Tensor) else result
    if not (isinstance(results, tuple) and all(isinstance(r, Tensor) for r in results)):
        return 'the module does not return a single Tensor or a tuple of Tensors (some of grad_output is missing)'
    if not all(isinstance(a, Tensor) for a in args):
        return 'the module does not take a single Tensor or a tuple of Tensors (some of grad_input is missing)'
    makers = {r.grad_fn for r in results if r.grad_fn is not None}
    if makers == {node}:
        if {a.grad_fn for a in args if a.grad_fn is not None} != {function for function, _ in node.next_functions}:
            return 'the forward contains multiple autograd Nodes (some of grad_input is missing)'
        return None
    if len(makers) > 1:
        return 'outputs are generated by different autograd Nodes (some of grad_output is missing)'
    return 'outputs are nested in python data structure (some of grad_output is missing)'
