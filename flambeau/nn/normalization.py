"""Normalising layers. The formulas are in ops/normalization.py."""
from __future__ import annotations

from .. import dtypes
from ..ops.creation import ones, tensor, zeros
from ..ops.normalization import (batch_norm, group_norm, instance_norm, layer_norm, local_response_norm, rms_norm)
from ..tensor import Parameter
from .families import Layer

__all__ = ['BatchNorm1d', 'BatchNorm2d', 'BatchNorm3d', 'SyncBatchNorm', 'InstanceNorm1d', 'InstanceNorm2d',
           'InstanceNorm3d', 'LayerNorm', 'GroupNorm', 'RMSNorm', 'LocalResponseNorm', 'CrossMapLRN2d']


def _add_affine(module, shape, weight, bias, device, dtype):
    """Weight of ones and bias of zeros, or None for either."""
    for name, make, wanted in (('weight', ones, weight), ('bias', zeros, bias)):
        module.register_parameter(name, Parameter(make(shape, device=device, dtype=dtype)) if wanted else None)


def _reset_affine(module):
    for parameter, value in ((module.weight, 1), (getattr(module, 'bias', None), 0)):
        if parameter is not None:
            parameter.data.fill_(value)


class _NormBase(Layer):
    """What batch and instance normalisation share: weight, bias and running statistics."""

    _version = 2
    __constants__ = ['track_running_stats', 'momentum', 'eps', 'num_features', 'affine']
    ranks = ()

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, device=None,
                 dtype=None, *, bias=True):
        super().__init__(locals())
        _add_affine(self, num_features, affine, affine and bias, device, dtype)
        track = track_running_stats
        self.register_buffer('running_mean', zeros(num_features, device=device, dtype=dtype) if track else None)
        self.register_buffer('running_var', ones(num_features, device=device, dtype=dtype) if track else None)
        self.register_buffer('num_batches_tracked', tensor(0, dtype=dtypes.int64, device=device) if track else None)

    def reset_running_stats(self):
        """Running mean 0 and variance 1, from no batch."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self):
        """Weight 1, bias 0, fresh running statistics."""
        self.reset_running_stats()
        _reset_affine(self)

    def _check_input_dim(self, input):
        if input.dim() not in self.ranks:
            expected = ' or '.join(f'{rank}D' for rank in self.ranks)
            raise ValueError(f'expected {expected} input (got {input.dim()}D input)')

    def extra_repr(self):
        return (f'{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, '
                f'bias={self.bias is not None}, track_running_stats={self.track_running_stats}')

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
                              error_msgs):
        key = prefix + 'num_batches_tracked'
        if (local_metadata.get('version') or 0) < 2 and self.track_running_stats and key not in state_dict:
            state_dict[key] = self.num_batches_tracked  # files from before this count existed keep ours
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
                                      error_msgs)


class _BatchNorm(_NormBase):
    def forward(self, input):
        self._check_input_dim(input)
        momentum = self.momentum
        training = self.training
        if training and self.num_batches_tracked is not None:
            self.num_batches_tracked._array[...] += 1
            if momentum is None:
                momentum = 1.0 / int(self.num_batches_tracked._array)
        use_batch = training or self.running_mean is None and self.running_var is None
        tracked = not training or self.track_running_stats
        return batch_norm(input, self.running_mean if tracked else None, self.running_var if tracked else None,
                          self.weight, self.bias, use_batch, 0.0 if momentum is None else momentum, self.eps)


class BatchNorm1d(_BatchNorm):
    """Normalises the channels of (N, C) or (N, C, L) over the batch; in evaluation by running statistics.

    >>> nn.BatchNorm1d(3)(torch.randn(4, 3)).shape
    torch.Size([4, 3])
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Normalises the channels of (N, C, H, W) over the batch; in evaluation by running statistics."""

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Normalises the channels of (N, C, D, H, W) over the batch; in evaluation by running statistics."""

    ranks = (5,)


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation over the batches of all processes; of the one process that there is."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, process_group=None,
                 device=None, dtype=None, *, bias=True):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def _check_input_dim(self, input):
        if input.dim() < 2:
            raise ValueError(f'expected at least 2D input (got {input.dim()}D input)')

    @classmethod
    def convert_sync_batchnorm(cls, module, process_group=None):
        """The module with every batch normalisation in it replaced by a SyncBatchNorm with the same members."""
        converted = module
        if isinstance(module, _BatchNorm):
            converted = cls(module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats,
                            process_group, bias=module.bias is not None)
            for name in ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked'):
                setattr(converted, name, getattr(module, name))
            converted.training = module.training
        for name, child in module.named_children():
            converted.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return converted


class _InstanceNorm(_NormBase):
    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=False, track_running_stats=False, device=None,
                 dtype=None, *, bias=True):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input):
        self._check_input_dim(input)
        unbatched = input.dim() == self.ranks[0]
        channels = input.size(0 if unbatched else 1)
        if channels != self.num_features:
            if self.affine:
                raise ValueError(f"expected input's size at dim={0 if unbatched else 1} to match num_features "
                                 f'({self.num_features}), but got: {channels}.')
            from ..errors import warn
            warn(f"input's size at dim={0 if unbatched else 1}, {channels}, does not match num_features, "
                 f'{self.num_features}, which has no effect without affine=True.')
        out = instance_norm(input.unsqueeze(0) if unbatched else input, self.running_mean, self.running_var,
                            self.weight, self.bias, self.training or not self.track_running_stats,
                            0.0 if self.momentum is None else self.momentum, self.eps)
        return out.squeeze(0) if unbatched else out


class InstanceNorm1d(_InstanceNorm):
    """Normalises each channel of each sample of (N, C, L) or (C, L)."""

    ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Normalises each channel of each sample of (N, C, H, W) or (C, H, W)."""

    ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Normalises each channel of each sample of (N, C, D, H, W) or (C, D, H, W)."""

    ranks = (4, 5)


def _as_shape(normalized_shape):
    return (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)


class LayerNorm(Layer):
    """Normalises over the last dimensions, of sizes normalized_shape.

    >>> nn.LayerNorm(8)(torch.randn(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    __constants__ = ['normalized_shape', 'eps', 'elementwise_affine']

    def __init__(self, normalized_shape, eps=1e-5, elementwise_affine=True, bias=True, device=None, dtype=None):
        normalized_shape = _as_shape(normalized_shape)
        super().__init__(locals())
        _add_affine(self, normalized_shape, elementwise_affine, elementwise_affine and bias, device, dtype)

    def reset_parameters(self):
        """Weight 1, bias 0."""
        _reset_affine(self)

    def forward(self, input):
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self):
        return (f'{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, '
                f'bias={self.bias is not None}')


class RMSNorm(Layer):
    """Divides by the root mean square over the last dimensions, of sizes normalized_shape."""

    __constants__ = ['normalized_shape', 'eps', 'elementwise_affine']

    def __init__(self, normalized_shape, eps=None, elementwise_affine=True, device=None, dtype=None):
        normalized_shape = _as_shape(normalized_shape)
        super().__init__(locals())
        weight = Parameter(ones(normalized_shape, device=device, dtype=dtype)) if elementwise_affine else None
        self.register_parameter('weight', weight)

    def reset_parameters(self):
        """Weight 1."""
        _reset_affine(self)

    def forward(self, x):
        return rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self):
        return f'{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}'


class GroupNorm(Layer):
    """Normalises over groups of channels of (N, C, *).

    >>> nn.GroupNorm(2, 6)(torch.randn(4, 6, 5)).shape
    torch.Size([4, 6, 5])
    """

    __constants__ = ['num_groups', 'num_channels', 'eps', 'affine']

    def __init__(self, num_groups, num_channels, eps=1e-5, affine=True, device=None, dtype=None, *, bias=True):
        if num_channels % num_groups:
            raise ValueError(f'num_channels ({num_channels}) must be divisible by num_groups ({num_groups})')
        super().__init__(locals())
        _add_affine(self, num_channels, affine, affine and bias, device, dtype)

    def reset_parameters(self):
        """Weight 1, bias 0."""
        _reset_affine(self)

    def forward(self, input):
        return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self):
        return (f'{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, '
                f'bias={self.bias is not None}')


class LocalResponseNorm(Layer):
    """input / (k + alpha * mean square over `size` neighbouring channels)**beta."""

    __constants__ = ['size', 'alpha', 'beta', 'k']

    def __init__(self, size, alpha=1e-4, beta=0.75, k=1.0):
        super().__init__(locals())

    def forward(self, input):
        return local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self):
        return f'{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}'


class CrossMapLRN2d(LocalResponseNorm):
    """`LocalResponseNorm` under its older name.

    PyTorch's own counts one channel too many from the middle on; this one keeps to `size`.
    """

    def __init__(self, size, alpha=1e-4, beta=0.75, k=1):
        super().__init__(size, alpha, beta, k)
