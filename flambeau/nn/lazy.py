"""Layers that take the size of their input from the first one they get: LazyLinear, LazyConv*, LazyBatchNorm* and
others.

Until then, or until a state dict brings them, their parameters have no shape. After the first forward a lazy layer is
the ordinary one of its kind: its class changes.
"""
from __future__ import annotations

import inspect
import warnings

from .. import dtypes
from ..autograd.modes import no_grad
from ..ops.creation import tensor
from .conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .linear import Linear
from .normalization import (BatchNorm1d, BatchNorm2d, BatchNorm3d, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d,
                            _InstanceNorm)
from .parameter import UninitializedBuffer, UninitializedParameter, is_lazy

__all__ = ['LazyLinear', 'LazyConv1d', 'LazyConv2d', 'LazyConv3d', 'LazyConvTranspose1d', 'LazyConvTranspose2d',
           'LazyConvTranspose3d', 'LazyBatchNorm1d', 'LazyBatchNorm2d', 'LazyBatchNorm3d', 'LazyInstanceNorm1d',
           'LazyInstanceNorm2d', 'LazyInstanceNorm3d']


class LazyModuleMixin:
    """Gives a layer parameters without shapes, which `initialize_parameters(*input)` finds at the first forward.

    cls_to_become: the class that the module then has; None keeps its own.
    """

    cls_to_become = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._load_hook = self._register_load_state_dict_pre_hook(self._lazy_load_hook)
        self._initialize_hook = self.register_forward_pre_hook(self._infer_parameters, with_kwargs=True)
        warnings.warn('Lazy modules are a new feature under heavy development so changes to the API or functionality '
                      'can happen at any moment.', stacklevel=3)

    def has_uninitialized_params(self):
        """Whether some parameter or buffer has no shape yet."""
        return any(map(is_lazy, (*self._parameters.values(), *self._buffers.values())))

    def initialize_parameters(self, *args, **kwargs):
        """Gives shapes and first values to the parameters, from the arguments of forward."""
        raise NotImplementedError(f'initialize_parameters is not implemented for {type(self).__name__}')

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name, value in self._local_state().items():
            if is_lazy(value):
                destination[prefix + name] = value

    def _lazy_load_hook(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs):
        for name, value in self._local_state().items():
            given = state_dict.get(prefix + name)
            if given is not None and is_lazy(value) and not is_lazy(given):
                value.materialize(given.shape)

    def _infer_parameters(self, module, args, kwargs=None):
        module.initialize_parameters(*args, **(kwargs or {}))
        if module.has_uninitialized_params():
            raise RuntimeError(f'module {module._get_name()} has not been fully initialized')
        module._initialize_hook.remove()
        module._load_hook.remove()
        del module._initialize_hook, module._load_hook
        if module.cls_to_become is not None:
            module.__class__ = module.cls_to_become


class _Lazy(LazyModuleMixin):
    """A lazy layer with one size to be found: the argument and attribute `_sized`, from the input's `_axis`.

    `_defaults`: the class whose defaults count, where it is another. `_later`: arguments that the ordinary layer makes
    parameters of, and values with which it makes none.
    """

    _later, _defaults = {}, None

    def __init__(self, *args, **kwargs):
        given = inspect.signature(self._defaults or self.cls_to_become).bind(0, *args, **kwargs)
        given.apply_defaults()
        values = given.arguments
        wanted = {name: values[name] for name in self._later}
        super().__init__(**{**values, **self._later})
        options = {'device': values['device'], 'dtype': values['dtype']}
        for name, value in wanted.items():
            if name != 'bias':
                setattr(self, name, value)
        self._add_parameters(values['bias'] if 'bias' in values else True, options)

    def _add_parameters(self, bias, options):
        self.weight = UninitializedParameter(**options)
        if bias:
            self.bias = UninitializedParameter(**options)

    def reset_parameters(self):
        """The first values of the ordinary layer, once there are shapes."""
        if getattr(self, self._sized) and not self.has_uninitialized_params():
            super().reset_parameters()

    def initialize_parameters(self, input):
        size = input.shape[self._checked_axis(input)]
        if getattr(self, self._sized):
            return
        setattr(self, self._sized, size)
        waiting = [(name, value) for name, value in (*self._parameters.items(), *self._buffers.items())
                   if is_lazy(value)]
        with no_grad():
            for name, value in waiting:
                value.materialize(self._shape_of(name))
            if waiting:
                self.reset_parameters()

    def _checked_axis(self, input):
        return self._axis


class LazyLinear(_Lazy, Linear):
    """`Linear` whose in_features is the last size of the first input.

    >>> nn.LazyLinear(5)(torch.zeros(2, 3)).shape
    torch.Size([2, 5])
    """

    cls_to_become, _sized, _axis, _later = Linear, 'in_features', -1, {'out_features': 0, 'bias': False}

    def _shape_of(self, name):
        return (self.out_features, self.in_features) if name == 'weight' else (self.out_features,)


class _LazyConv(_Lazy):
    _sized, _later = 'in_channels', {'out_channels': 0, 'bias': False}

    def _checked_axis(self, input):
        rank, dims = input.dim(), len(self.kernel_size)
        if rank not in (dims + 1, dims + 2):
            raise RuntimeError(f'Expected {dims + 1}D (unbatched) or {dims + 2}D (batched) input to '
                               f'{type(self).__name__}, but got input of size: {tuple(input.shape)}')
        channels = input.shape[rank - dims - 1]
        if channels % self.groups:
            raise ValueError(f'in_channels must be divisible by groups, got in_channels={channels} and '
                             f'groups={self.groups}')
        return rank - dims - 1

    def _shape_of(self, name):
        if name == 'bias':
            return (self.out_channels,)
        channels = (self.in_channels, self.out_channels) if self.transposed else (self.out_channels, self.in_channels)
        return channels[0], channels[1] // self.groups, *self.kernel_size


class _LazyNorm(_Lazy):
    _sized, _defaults, _later = 'num_features', BatchNorm1d, {'affine': False, 'track_running_stats': False}

    def _add_parameters(self, bias, options):
        if self.affine:
            super()._add_parameters(bias, options)
        if self.track_running_stats:
            self.running_mean = UninitializedBuffer(**options)
            self.running_var = UninitializedBuffer(**options)
            self.num_batches_tracked = tensor(0, dtype=dtypes.int64, device=options['device'])

    def _checked_axis(self, input):
        self._check_input_dim(input)
        return 0 if isinstance(self, _InstanceNorm) and input.dim() == self.ranks[0] else 1

    def _shape_of(self, name):
        return (self.num_features,)


for _base, _layers in ((_LazyConv, (Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)),
                       (_LazyNorm, (BatchNorm1d, BatchNorm2d, BatchNorm3d, InstanceNorm1d, InstanceNorm2d,
                                   InstanceNorm3d))):
    for _layer in _layers:
        _name = 'Lazy' + _layer.__name__
        globals()[_name] = type(_name, (_base, _layer), {
            '__module__': __name__, 'cls_to_become': _layer,
            '__doc__': f'`{_layer.__name__}` whose {_base._sized} is that of the first input.'})
