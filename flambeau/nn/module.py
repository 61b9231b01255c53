"""`Module`, the base of every layer and network: a tree of parameters, buffers and submodules that can be called.

Hooks (hooks.py), state dicts (state.py), the dicts of members (members.py) and the place of an error (location.py) have
files of their own. Knows no layer.
"""
from __future__ import annotations

import inspect
import warnings
from collections import OrderedDict

from ..autograd.modes import no_grad
from ..device import resolve
from ..dtypes import dtype as DataType
from ..tensor import Parameter, Tensor
from .hooks import CALL_TABLES, Hookable, registered_value
from .location import locate
from .members import MISSING, SLOTS, Members, adopt, replace, without_mirrored
from .parameter import Buffer
from .state import STATE_TABLES, Stateful

__all__ = ['Module']

MEMBER_OF = dict(zip(SLOTS, ('parameters', 'buffer', 'module')))


def type_name(value) -> str:
    """The name of a value's type for error messages; of a tensor 'torch.FloatTensor' and the like."""
    if isinstance(value, Tensor):
        return value.type()
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == 'builtins' else f'{kind.__module__}.{kind.__qualname__}'


def indent(text: str, width: int) -> str:
    """The text with every line but the first moved to the right."""
    return text.replace('\n', '\n' + ' ' * width)


class Module(Hookable, Stateful):
    """Base class of all layers and networks: assign parameters and modules in `__init__`, and write `forward`.

    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.linear = nn.Linear(2, 1)
    ...     def forward(self, x):
    ...         return self.linear(x)
    """

    training: bool
    dump_patches = False
    call_super_init = False

    def __init__(self, *args, **kwargs):
        if not self.call_super_init:
            if kwargs:
                raise TypeError(f"{type(self).__name__}.__init__() got an unexpected keyword argument "
                                f"'{next(iter(kwargs))}'")
            if args:
                raise TypeError(f'{type(self).__name__}.__init__() takes 1 positional argument but {len(args) + 1} '
                                'were given')
        state = self.__dict__
        for slot in SLOTS:
            if slot in state:  # `__init__` runs a second time
                replace(self, slot, Members())
        state.update(training=True, _parameters=Members(), _buffers=Members(), _non_persistent_buffers_set=set())
        for name in STATE_TABLES:
            state[name] = OrderedDict()
        state['_modules'] = Members()
        self._make_hook_tables(state)
        adopt(self)
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    # ---- calling ---------------------------------------------------------------------------------------

    def __call__(self, *args, **kwargs):
        try:
            if self._hooked:
                return self._call_hooked(args, kwargs)
            return self.forward(*args, **kwargs)
        except Exception as error:
            locate(error, self, args, kwargs)
            raise

    _call_impl = _wrapped_call_impl = __call__

    def forward(self, *input):
        """What the module computes; every subclass defines it."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    # ---- registering members ---------------------------------------------------------------------------

    def register_parameter(self, name, param) -> None:
        """Adds a parameter (or None), which is then an attribute of the module.

        Raises KeyError for a name that is taken or holds a dot, TypeError if `param` is no Parameter.
        """
        self._check_name('_parameters', 'parameter', name)
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(f"cannot assign '{type_name(param)}' object to parameter '{name}' "
                                '(torch.nn.Parameter or None required)')
            if param.grad_fn is not None:
                raise ValueError(f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be "
                                 f"created explicitly. To express '{name}' as a function of another Tensor, compute "
                                 'the value in the forward() method.')
            param = registered_value('parameter', self, name, param)
        self._member_dict('_parameters')[name] = param

    def register_buffer(self, name, tensor, persistent=True) -> None:
        """Adds a tensor that belongs to the module's state without being trained; persistent: it is in the state dict.

        Raises KeyError for a name that is taken or holds a dot, TypeError if `tensor` is no tensor.
        """
        self._check_name('_buffers', 'buffer', name)
        if tensor is not None and not isinstance(tensor, Tensor) and not hasattr(tensor, '__torch_function__'):
            raise TypeError(f"cannot assign '{type_name(tensor)}' object to buffer '{name}' "
                            '(torch Tensor or None required)')
        tensor = registered_value('buffer', self, name, tensor)
        self._member_dict('_buffers')[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name, module) -> None:
        """Adds a submodule (or None), which is then an attribute of the module."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f'{type_name(module)} is not a Module subclass')
        self._check_name('_modules', 'module', name)
        self._member_dict('_modules')[name] = registered_value('module', self, name, module)

    def register_module(self, name, module) -> None:
        """Alias for `add_module`."""
        self.add_module(name, module)

    def _check_name(self, slot, kind, name):
        if slot not in self.__dict__:
            raise AttributeError(f'cannot assign {kind} before Module.__init__() call')
        if not isinstance(name, str):
            raise TypeError(f'{kind} name should be a string. Got {type_name(name)}')
        if name not in self.__dict__[slot] and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")
        if '.' in name:
            raise KeyError(f'{kind} name can\'t contain "."' + (f', got: {name}' if kind == 'module' else ''))
        if name == '':
            raise KeyError(f'{kind} name can\'t be empty string ""')

    def _member_dict(self, slot):
        """The dict of members in a slot, sure to be mirrored into this module's attributes."""
        adopt(self)
        return self.__dict__[slot]

    # ---- attributes ------------------------------------------------------------------------------------

    def __getattr__(self, name):
        # reached for members that are not mirrored: names such as '0', or dicts put in behind the module's back
        for slot in SLOTS:
            members = self.__dict__.get(slot)
            if members is not None and name in members:
                return members[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'", name=name, obj=self)

    def __setattr__(self, name, value):
        state = self.__dict__
        parameters = state.get('_parameters')
        if isinstance(value, Parameter):
            self._make_room(name, '_parameters')
            self.register_parameter(name, value)
        elif parameters is not None and name in parameters:
            if value is not None:
                raise TypeError(f"cannot assign '{type_name(value)}' as parameter '{name}' "
                                '(torch.nn.Parameter or None expected)')
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._make_room(name, '_modules')
            self._member_dict('_modules')[name] = registered_value('module', self, name, value)
        elif name in state.get('_modules', ()):
            if value is not None:
                raise TypeError(f"cannot assign '{type_name(value)}' as child module '{name}' "
                                '(torch.nn.Module or None expected)')
            self._member_dict('_modules')[name] = registered_value('module', self, name, value)
        elif name in state.get('_buffers', ()) or (isinstance(value, Tensor) and isinstance(value, Buffer)):
            self._set_buffer(name, value)
        elif name in SPECIAL:
            self._set_special(name, value)
        else:
            super().__setattr__(name, value)

    def _set_buffer(self, name, value):
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(f"cannot assign '{type_name(value)}' as buffer '{name}' "
                            '(torch.nn.Buffer, torch.Tensor or None expected)')
        if isinstance(value, Buffer):
            persistent = value.persistent
            self._make_room(name, '_buffers')
        else:
            persistent = name not in self._non_persistent_buffers_set
        if type(self).register_buffer is Module.register_buffer or \
                'persistent' in inspect.signature(self.register_buffer).parameters:
            self.register_buffer(name, value, persistent)
        elif persistent:
            self.register_buffer(name, value)
        else:
            raise RuntimeError('Registering a non-persistent buffer on a Module subclass that implements '
                               'register_buffer() without the persistent argument is not allowed.')

    def _make_room(self, name, slot):
        """Takes the name away from whatever else has it, so that it can become a member of `slot`."""
        state = self.__dict__
        if slot not in state:
            raise AttributeError(f'cannot assign {MEMBER_OF[slot]} before Module.__init__() call')
        adopt(self)
        for other in SLOTS:
            if other != slot:
                state[other].pop(name, None)
        state['_non_persistent_buffers_set'].discard(name)
        if name in state and state[name] is not state[slot].get(name, MISSING):
            del state[name]  # a plain attribute

    def _set_special(self, name, value):
        """Replaces a whole dict of members or hooks."""
        if name in SLOTS:
            replace(self, name, value)
        else:
            self.__dict__[name] = value
            self._make_hook_tables(self.__dict__)

    def __delattr__(self, name):
        for slot in SLOTS:
            members = self.__dict__.get(slot, ())
            if name in members:
                adopt(self)
                del self.__dict__[slot][name]
                self._non_persistent_buffers_set.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self):
        names = {*dir(type(self)), *self.__dict__}.union(*(self.__dict__.get(slot, ()) for slot in SLOTS))
        return sorted(name for name in names if not name[:1].isdigit())

    def __getstate__(self):
        return without_mirrored(self)

    def __setstate__(self, state):
        attributes = self.__dict__
        attributes.update(state)
        attributes.setdefault('_non_persistent_buffers_set', set())
        for name in STATE_TABLES:
            attributes.setdefault(name, OrderedDict())
        self._make_hook_tables(attributes)
        adopt(self)

    # ---- finding members by dotted names -----------------------------------------------------------------

    def get_submodule(self, target: str) -> Module:
        """The submodule with a dotted name such as 'features.3'; itself for ''. Raises AttributeError."""
        module = self
        for name in target.split('.') if target else ():
            child = attribute_of(module, name)
            if not isinstance(child, Module):
                raise AttributeError(f'`{name}` is not an nn.Module')
            module = child
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Puts a module in the place with a dotted name. strict: there must be one already."""
        if target == '':
            raise ValueError('Cannot set the submodule without a target name!')
        if not isinstance(module, Module):
            raise ValueError(f'`module` is not an nn.Module, found {type(module)}')
        path, _, name = target.rpartition('.')
        parent = self.get_submodule(path)
        if strict or hasattr(parent, name):
            if not isinstance(attribute_of(parent, name), Module):
                raise AttributeError(f'`{name}` is not an nn.Module')
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter with a dotted name. Raises AttributeError."""
        path, _, name = target.rpartition('.')
        parameter = attribute_of(self.get_submodule(path), name)
        if not isinstance(parameter, Parameter):
            raise AttributeError(f'`{name}` is not an nn.Parameter')
        return parameter

    def get_buffer(self, target: str) -> Tensor:
        """The buffer with a dotted name. Raises AttributeError."""
        path, _, name = target.rpartition('.')
        module = self.get_submodule(path)
        buffer = attribute_of(module, name)
        if name not in module._buffers:
            raise AttributeError(f'`{name}` is not a buffer')
        return buffer

    # ---- walking the tree ----------------------------------------------------------------------------------

    def named_modules(self, memo=None, prefix='', remove_duplicate=True):
        """Pairs of dotted name and module of the whole tree, itself first with the name ''."""
        memo = set() if memo is None else memo
        waiting = [(prefix, self)]
        while waiting:
            name, module = waiting.pop()
            if module is None or module in memo:
                continue
            if remove_duplicate:
                memo.add(module)
            yield name, module
            if module._modules:
                inside = f'{name}.' if name else ''
                waiting.extend([(inside + key, child) for key, child in reversed(module._modules.items())])

    def modules(self, remove_duplicate=True):
        """The modules of the whole tree, itself first."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_children(self):
        """Pairs of name and module of the direct submodules."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self):
        """The direct submodules."""
        for _, module in self.named_children():
            yield module

    def _named_members(self, get_members_fn, prefix='', recurse=True, remove_duplicate=True):
        seen = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            inside = f'{path}.' if path else ''
            for name, member in get_members_fn(module):
                if member is None or id(member) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(member))
                yield inside + name, member

    def named_parameters(self, prefix='', recurse=True, remove_duplicate=True):
        """Pairs of dotted name and parameter; recurse: of the whole tree."""
        return self._named_members(lambda module: module._parameters.items(), prefix, recurse, remove_duplicate)

    def parameters(self, recurse=True):
        """The parameters, for an optimizer."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(self, prefix='', recurse=True, remove_duplicate=True):
        """Pairs of dotted name and buffer; recurse: of the whole tree."""
        return self._named_members(lambda module: module._buffers.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse=True):
        """The buffers."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    # ---- conversions -----------------------------------------------------------------------------------------

    def apply(self, fn) -> Module:
        """Calls fn(module) for every module of the tree, submodules first, and returns itself."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self, fn, recurse=True) -> Module:
        """Replaces the values of all parameters, their gradients and buffers by fn(tensor), and returns itself."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        with no_grad():
            for parameter in self._parameters.values():
                if parameter is not None:
                    gradient = parameter.grad
                    parameter.data = fn(parameter)
                    if gradient is not None:
                        gradient.data = fn(gradient)
        buffers = self._member_dict('_buffers')
        for name, buffer in buffers.items():
            if buffer is not None:
                buffers[name] = fn(buffer)
        return self

    def to(self, *args, **kwargs) -> Module:
        """Moves and converts all parameters and buffers in place: to(device), to(dtype), to(tensor), to(device, dtype).

        `memory_format` concerns tensors of 4 and 5 dimensions; integer tensors keep their dtype. Raises TypeError for a
        dtype that is neither floating point nor complex.
        """
        device, dtype, non_blocking, memory_format = parse_to(*args, **kwargs)
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError('nn.Module.to only accepts floating point or complex dtypes, but got desired '
                            f'dtype={dtype}')
        if dtype is not None and dtype.is_complex:
            warnings.warn('Complex modules are a new feature: some modules might not work as expected with complex '
                          'parameters or buffers.', stacklevel=2)

        def convert(tensor):
            keeps = dtype is None or not (tensor.is_floating_point() or tensor.is_complex())
            options = {'memory_format': memory_format} if memory_format is not None and tensor.dim() in (4, 5) else {}
            return tensor.to(tensor.device if device is None else device, tensor.dtype if keeps else dtype,
                             non_blocking, **options)
        return self._apply(convert)

    def type(self, dst_type) -> Module:
        """Converts all parameters and buffers to a dtype."""
        return self._apply(lambda tensor: tensor.type(dst_type))

    def float(self) -> Module:
        """Converts floating point parameters and buffers to float32."""
        return self._apply(lambda tensor: tensor.float() if tensor.is_floating_point() else tensor)

    def double(self) -> Module:
        """Converts floating point parameters and buffers to float64."""
        return self._apply(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)

    def half(self) -> Module:
        """Converts floating point parameters and buffers to float16."""
        return self._apply(lambda tensor: tensor.half() if tensor.is_floating_point() else tensor)

    def bfloat16(self) -> Module:
        """Converts floating point parameters and buffers to bfloat16."""
        return self._apply(lambda tensor: tensor.bfloat16() if tensor.is_floating_point() else tensor)

    def cpu(self) -> Module:
        """Moves all parameters and buffers to the CPU."""
        return self._apply(lambda tensor: tensor.cpu())

    def cuda(self, device=None) -> Module:
        """Moves all parameters and buffers to a GPU."""
        return self._apply(lambda tensor: tensor.cuda(device))

    def to_empty(self, *, device, recurse=True) -> Module:
        """Moves all parameters and buffers to a device without copying their values."""
        return self._apply(lambda tensor: tensor.new_empty(tensor.shape, device=device), recurse=recurse)

    def share_memory(self) -> Module:
        """Moves all parameters and buffers to memory that worker processes share."""
        return self._apply(lambda tensor: tensor.share_memory_())

    # ---- training ----------------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Module:
        """Puts the whole tree in training mode, which matters to layers such as Dropout and BatchNorm."""
        if not isinstance(mode, bool):
            raise ValueError('training mode is expected to be boolean')
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Module:
        """Puts the whole tree in evaluation mode."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Says for all parameters whether gradients are recorded."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients of all parameters, or with set_to_none=False fills them with zeros."""
        for parameter in self.parameters():
            gradient = parameter.grad
            if gradient is None:
                continue
            if set_to_none:
                parameter.grad = None
            elif gradient.grad_fn is not None:
                gradient.detach_().zero_()
            else:
                gradient.requires_grad_(False).zero_()

    # ---- printing ------------------------------------------------------------------------------------------------

    def _get_name(self):
        return type(self).__name__

    def extra_repr(self) -> str:
        """What `repr` shows besides the submodules; override it."""
        return ''

    def __repr__(self):
        extra = self.extra_repr()
        lines = extra.split('\n') if extra else []
        children = [f'({name}): {indent(repr(module), 2)}' for name, module in self._modules.items()]
        if len(lines) == 1 and not children:
            return f'{self._get_name()}({extra})'
        return bracketed(self._get_name(), lines + children)

    def _replicate_for_data_parallel(self):
        replica = self.__new__(type(self))
        state = without_mirrored(self)
        state.update(_parameters={}, _buffers=dict(self._buffers), _modules=dict(self._modules), _is_replica=True)
        replica.__setstate__(state)
        return replica


def bracketed(name: str, lines) -> str:
    """`name(...)` with a line for each of `lines`, indented."""
    return f'{name}(' + ('\n  ' + '\n  '.join(lines) + '\n' if lines else '') + ')'


def attribute_of(module, name):
    if not hasattr(module, name):
        raise AttributeError(f'{module._get_name()} has no attribute `{name}`')
    return getattr(module, name)


def parse_to(*args, **kwargs):
    """The arguments of `to` as (device, dtype, non_blocking, memory_format), each None where not given."""
    memory_format = kwargs.pop('memory_format', None)
    forms = {DataType: ('dtype', 'non_blocking', 'copy'), Tensor: ('tensor', 'non_blocking', 'copy')}
    first = next((form for kind, form in forms.items() if args and isinstance(args[0], kind)),
                 ('device', 'dtype', 'non_blocking', 'copy'))
    if len(args) > len(first):
        raise TypeError(f'to() takes at most {len(first)} positional arguments here, but {len(args)} were given')
    given = dict(zip(first, args))
    for name, value in kwargs.items():
        if name not in ('device', 'dtype', 'tensor', 'other', 'non_blocking', 'copy') or name in given:
            raise TypeError(f'to() got an unexpected or repeated keyword argument {name!r}')
        given[name] = value
    like = given.get('tensor', given.get('other'))
    device, dtype = (like.device, like.dtype) if like is not None else (given.get('device'), given.get('dtype'))
    if device is not None:
        device = resolve(device)
    if dtype is not None and not isinstance(dtype, DataType):
        raise TypeError(f'to() received an invalid dtype: {dtype!r}')
    if not (args or kwargs or memory_format is not None):
        raise TypeError('to() received an invalid combination of arguments: give a device, a dtype, a tensor or a '
                        'memory_format')
    return device, dtype, bool(given.get('non_blocking', False)), memory_format


SPECIAL = frozenset((*SLOTS, *CALL_TABLES))
