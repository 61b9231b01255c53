"""Weight normalisation: a weight as a length times a direction, `g * v / |v|` (Salimans and Kingma 2016)."""
from __future__ import annotations

import warnings

from ...tensor import Parameter
from ..module import Module

__all__ = ['WeightNorm', 'weight_norm', 'remove_weight_norm']


def norm_except_dim(v, dim):
    """The 2-norm over all dimensions but one, which are kept with size 1; over all of them for -1."""
    from ... import linalg
    if dim == -1:
        return linalg.vector_norm(v)
    return linalg.vector_norm(v, dim=[d for d in range(v.dim()) if d != dim % v.dim()], keepdim=True)


class WeightNorm:
    """The hook that computes the weight before every `forward`."""

    def __init__(self, name, dim):
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module):
        """The weight out of the parameters `<name>_g` and `<name>_v`."""
        v = getattr(module, f'{self.name}_v')
        return v * (getattr(module, f'{self.name}_g') / norm_except_dim(v, self.dim))

    @staticmethod
    def apply(module, name, dim):
        """Splits the weight `name` of a module in two parameters."""
        warnings.warn('`torch.nn.utils.weight_norm` is deprecated in favor of '
                      '`torch.nn.utils.parametrizations.weight_norm`.', FutureWarning, stacklevel=3)
        require_single(module, WeightNorm, name, 'weight_norm')
        hook = WeightNorm(name, dim)
        weight = getattr(module, name)
        del module._parameters[name]
        module.register_parameter(f'{name}_g', Parameter(norm_except_dim(weight.detach(), hook.dim)))
        module.register_parameter(f'{name}_v', Parameter(weight.detach()))
        setattr(module, name, hook.compute_weight(module))
        module.register_forward_pre_hook(hook)
        return hook

    def remove(self, module):
        """Puts one parameter in the place of the two."""
        weight = self.compute_weight(module)
        for name in (self.name, f'{self.name}_g', f'{self.name}_v'):
            delattr(module, name)
        setattr(module, self.name, Parameter(weight.detach()))

    def __call__(self, module, inputs):
        setattr(module, self.name, self.compute_weight(module))


def require_single(module, kind, name, title):
    if any(isinstance(hook, kind) and hook.name == name for hook in module._forward_pre_hooks.values()):
        raise RuntimeError(f'Cannot register two {title} hooks on the same parameter {name}')


def remove_hook(module, kind, name, title):
    """Takes the forward pre-hook of a kind off a module and has it put the plain parameter back."""
    for number, hook in module._forward_pre_hooks.items():
        if isinstance(hook, kind) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[number]
            return
    raise ValueError(f"{title} of '{name}' not found in {module}")


def weight_norm(module: Module, name: str = 'weight', dim: int = 0) -> Module:
    """Replaces a parameter by its length `<name>_g` along `dim` (None: of the whole) and its direction `<name>_v`."""
    WeightNorm.apply(module, name, dim)
    return module


def remove_weight_norm(module: Module, name: str = 'weight') -> Module:
    """Undoes `weight_norm`. Raises ValueError where there is none."""
    remove_hook(module, WeightNorm, name, 'weight_norm')
    return module
