"""Spectral normalisation: a weight over its largest singular value, by power iteration (Miyato et al. 2018)."""
from __future__ import annotations

from ...autograd.modes import no_grad
from ...tensor import Parameter
from ..module import Module
from .weight_norm import remove_hook, require_single

__all__ = ['SpectralNorm', 'spectral_norm', 'remove_spectral_norm']


def normalized(vector, eps):
    return vector / vector.norm().clamp(min=eps)


class SpectralNorm:
    """The hook that computes the weight before every `forward`.

    The buffers `<name>_u` and `<name>_v` are the estimates of the first singular vectors; training improves them.
    """

    _version = 1

    def __init__(self, name='weight', n_power_iterations=1, dim=0, eps=1e-12):
        if n_power_iterations <= 0:
            raise ValueError(f'Expected n_power_iterations to be positive, but got {n_power_iterations=}')
        self.name = name
        self.n_power_iterations = n_power_iterations
        self.dim = dim
        self.eps = eps

    def reshape_weight_to_matrix(self, weight):
        """The weight as a matrix with the dimension `dim` first and the others as one."""
        return weight.movedim(self.dim, 0).reshape(weight.size(self.dim), -1)

    def compute_weight(self, module, do_power_iteration):
        """The weight `<name>_orig` over its largest singular value."""
        weight, u, v = (getattr(module, f'{self.name}_{part}') for part in ('orig', 'u', 'v'))
        matrix = self.reshape_weight_to_matrix(weight)
        if do_power_iteration:
            with no_grad():
                for _ in range(self.n_power_iterations):
                    v.copy_(normalized(matrix.t().mv(u), self.eps))
                    u.copy_(normalized(matrix.mv(v), self.eps))
                u, v = u.clone(), v.clone()  # for backward, which may run after the next forward
        return weight / u.dot(matrix.mv(v))

    @staticmethod
    def apply(module, name, n_power_iterations, dim, eps):
        """Replaces the parameter `name` of a module by `<name>_orig` and the two buffers."""
        require_single(module, SpectralNorm, name, 'spectral_norm')
        hook = SpectralNorm(name, n_power_iterations, dim, eps)
        weight = module._parameters[name]
        if weight is None:
            raise ValueError(f'`SpectralNorm` cannot be applied as parameter `{name}` is None')
        with no_grad():
            height, width = hook.reshape_weight_to_matrix(weight).shape
            u = normalized(weight.new_empty(height).normal_(0, 1), eps)
            v = normalized(weight.new_empty(width).normal_(0, 1), eps)
        delattr(module, name)
        module.register_parameter(f'{name}_orig', weight)
        setattr(module, name, weight.data)  # a plain attribute until the first forward
        module.register_buffer(f'{name}_u', u)
        module.register_buffer(f'{name}_v', v)
        module.register_forward_pre_hook(hook)
        module._register_state_dict_hook(VersionHook(hook))
        return hook

    def remove(self, module):
        """Puts the normalised weight in the place of the original."""
        with no_grad():
            weight = self.compute_weight(module, do_power_iteration=False)
        for name in (self.name, f'{self.name}_u', f'{self.name}_v', f'{self.name}_orig'):
            delattr(module, name)
        module.register_parameter(self.name, Parameter(weight.detach()))

    def __call__(self, module, inputs):
        setattr(module, self.name, self.compute_weight(module, do_power_iteration=module.training))


class VersionHook:
    """Notes in a state dict's metadata how the weight is stored, for PyTorch to read."""

    def __init__(self, norm):
        self.norm = norm

    def __call__(self, module, state_dict, prefix, local_metadata):
        versions = local_metadata.setdefault('spectral_norm', {})
        versions[f'{self.norm.name}.version'] = self.norm._version


def output_dim(module):
    """The dimension of a module's weight along which its outputs lie."""
    return int(any(cls.__name__.startswith('ConvTranspose') for cls in type(module).__mro__))


def spectral_norm(module: Module, name: str = 'weight', n_power_iterations: int = 1, eps: float = 1e-12,
                  dim: int | None = None) -> Module:
    """Divides a parameter by its largest singular value, before every `forward`.

    `dim` is the output dimension, by default 1 for transposed convolutions and 0 for the rest.
    """
    if dim is None:
        dim = output_dim(module)
    SpectralNorm.apply(module, name, n_power_iterations, dim, eps)
    return module


def remove_spectral_norm(module: Module, name: str = 'weight') -> Module:
    """Undoes `spectral_norm`. Raises ValueError where there is none."""
    remove_hook(module, SpectralNorm, name, 'spectral_norm')
    for number, hook in list(module._state_dict_hooks.items()):
        if isinstance(hook, VersionHook) and hook.norm.name == name:
            del module._state_dict_hooks[number]
    return module
