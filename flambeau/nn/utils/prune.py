"""Pruning: parameters `<name>_orig` under a mask `<name>_mask` of ones and zeros, chosen by a method."""
from __future__ import annotations

import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable

from .convert_parameters import parameters_to_vector

__all__ = ['BasePruningMethod', 'PruningContainer', 'Identity', 'RandomUnstructured', 'L1Unstructured',
           'RandomStructured', 'LnStructured', 'CustomFromMask', 'identity', 'random_unstructured', 'l1_unstructured',
           'random_structured', 'ln_structured', 'global_unstructured', 'custom_from_mask', 'remove', 'is_pruned']


def _method_of(module, name):
    """(number, hook) of the pruning of a parameter, or (None, None)."""
    for number, hook in module._forward_pre_hooks.items():
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            return number, hook
    return None, None


class BasePruningMethod(ABC):
    """A way of choosing what to prune; also the hook that applies the mask before every `forward`.

    A method says by PRUNING_TYPE whether it chooses single entries ('unstructured'), channels along its `dim`
    ('structured') or among all entries ('global'), and by `compute_mask` which.
    """

    _tensor_name: str | None = None

    def __call__(self, module, inputs):
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t, default_mask):
        """The mask for a tensor of importances, in its shape, on top of the mask that it has."""

    def apply_mask(self, module):
        """The original parameter under the mask."""
        if self._tensor_name is None:
            raise AssertionError(f'Module {module} has to be pruned')
        mask, original = (getattr(module, f'{self._tensor_name}_{part}') for part in ('mask', 'orig'))
        return mask.to(dtype=original.dtype) * original

    @classmethod
    def apply(cls, module, name, *args, importance_scores=None, **kwargs):
        """Prunes the parameter `name` of a module by this method, on top of what is pruned already. Returns the hook.

        importance_scores: what to judge entries by, instead of their values. Raises AssertionError for another shape.
        """
        method = cls(*args, **kwargs)
        method._tensor_name = name
        number, before = _method_of(module, name)
        original = getattr(module, name)
        if importance_scores is not None and importance_scores.shape != original.shape:
            raise AssertionError(f'importance_scores should have the same shape as parameter {name} of {module}: '
                                 f'{list(importance_scores.shape)}, {list(original.shape)}')
        scores = original if importance_scores is None else importance_scores
        if before is None:
            mask = method.compute_mask(scores, default_mask=original.detach().new_ones(original.shape))
            del module._parameters[name]
            module.register_parameter(f'{name}_orig', original)
        else:
            container = PruningContainer(before) if not isinstance(before, PruningContainer) else before
            mask = container.with_method(method).compute_mask(
                scores, default_mask=getattr(module, f'{name}_mask').detach().clone())
            container.add_pruning_method(method)
            method = container
            del module._forward_pre_hooks[number]
        module.register_buffer(f'{name}_mask', mask)
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(self, t, default_mask=None, importance_scores=None):
        """A tensor with zeros where this method prunes it."""
        if importance_scores is not None and importance_scores.shape != t.shape:
            raise AssertionError('importance_scores should have the same shape as tensor t')
        scores = t if importance_scores is None else importance_scores
        default_mask = t.detach().new_ones(t.shape) if default_mask is None else default_mask
        return t * self.compute_mask(scores, default_mask=default_mask)

    def remove(self, module) -> None:
        """Makes the pruned values the parameter's own, for good."""
        name = self._tensor_name
        weight = self.apply_mask(module)
        if hasattr(module, name):
            delattr(module, name)
        original = module._parameters[f'{name}_orig']
        original.data = weight.data
        del module._parameters[f'{name}_orig']
        del module._buffers[f'{name}_mask']
        setattr(module, name, original)


class PruningContainer(BasePruningMethod):
    """Several prunings of one parameter, one after the other."""

    def __init__(self, *args):
        self._pruning_methods = ()
        methods = args[0] if len(args) == 1 and isinstance(args[0], Iterable) else args
        for method in methods:
            self._tensor_name = self._tensor_name or getattr(method, '_tensor_name', None)
            self.add_pruning_method(method)

    def add_pruning_method(self, method) -> None:
        """Adds one. Raises TypeError for what is no method, ValueError for one of another parameter."""
        if method is None:
            return
        if not isinstance(method, BasePruningMethod):
            raise TypeError(f'{type(method)} is not a BasePruningMethod subclass')
        if self._tensor_name != method._tensor_name:
            raise ValueError(f"Can only add pruning methods acting on the parameter named '{self._tensor_name}' to "
                             f"PruningContainer {self}. Found '{method._tensor_name}'")
        self._pruning_methods += (method,)

    def with_method(self, method):
        """A container of these prunings and one more."""
        return PruningContainer([*self._pruning_methods, method])

    def __len__(self):
        return len(self._pruning_methods)

    def __iter__(self):
        return iter(self._pruning_methods)

    def __getitem__(self, index):
        return self._pruning_methods[index]

    def compute_mask(self, t, default_mask):
        """The mask with what the last method prunes of what is left."""
        method = self._pruning_methods[-1]
        mask = default_mask.to(dtype=t.dtype)
        left = self._left(method, t, mask)
        new = mask.clone()
        new[left] = method.compute_mask(t[left], default_mask=mask[left]).to(dtype=new.dtype)
        return new

    @staticmethod
    def _left(method, t, mask):
        """The key of what is not pruned yet."""
        if method.PRUNING_TYPE == 'unstructured':
            return mask == 1
        if method.PRUNING_TYPE == 'structured':
            if not hasattr(method, 'dim'):
                raise AttributeError('Pruning methods of PRUNING_TYPE "structured" need to have the attribute `dim` '
                                     'defined.')
            dim = method.dim % t.dim()
            kept = mask.sum(dim=[d for d in range(t.dim()) if d != dim]) != 0
            return (slice(None),) * dim + (kept,)
        if method.PRUNING_TYPE == 'global':
            return (slice(None),) * t.dim()
        raise ValueError(f'Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}')


# ---- how much

def _require_amount(amount):
    if not isinstance(amount, numbers.Real):
        raise TypeError(f'Invalid type for amount: {amount}. Must be int or float.')
    if amount < 0 or not isinstance(amount, numbers.Integral) and amount > 1:
        raise ValueError(f'amount={amount} should either be a float in the range [0.0, 1.0] or a non-negative integer')


def _count(amount, size):
    """How many of `size` to prune: a number of them, or a share. Raises ValueError for more than there are."""
    if not isinstance(amount, numbers.Integral):
        return round(amount * size)
    if amount > size:
        raise ValueError(f'amount={amount} should be smaller than the number of parameters to prune={size}')
    return amount


def _require_structure(t, dim):
    if t.dim() <= 1:
        raise ValueError(f'Structured pruning can only be applied to multidimensional tensors. Found tensor of shape '
                         f'{t.shape} with {t.dim()} dims')
    if dim >= t.dim():
        raise IndexError(f'Invalid index {dim} for tensor of size {t.shape}')


# ---- methods

class Identity(BasePruningMethod):
    """Prunes nothing, but makes the mask."""

    PRUNING_TYPE = 'unstructured'

    def compute_mask(self, t, default_mask):
        return default_mask


class _Unstructured(BasePruningMethod):
    """Prunes an amount of single entries."""

    PRUNING_TYPE = 'unstructured'

    def __init__(self, amount):
        _require_amount(amount)
        self.amount = amount

    def compute_mask(self, t, default_mask):
        count = _count(self.amount, t.numel())
        mask = default_mask.clone()
        if count:
            mask.view(-1)[self.chosen(t, count)] = 0
        return mask


class RandomUnstructured(_Unstructured):
    """Prunes an amount of entries at random: a number of them, or a share as a float."""

    def chosen(self, t, count):
        """The places of `count` entries to prune."""
        from ... import rand_like
        return rand_like(t).view(-1).topk(count).indices


class L1Unstructured(_Unstructured):
    """Prunes an amount of entries, those of smallest magnitude."""

    def chosen(self, t, count):
        """The places of `count` entries to prune."""
        return t.detach().abs().reshape(-1).topk(count, largest=False).indices


class _Structured(BasePruningMethod):
    """Prunes an amount of channels along `dim`."""

    PRUNING_TYPE = 'structured'

    def __init__(self, amount, dim=-1):
        _require_amount(amount)
        self.amount, self.dim = amount, dim

    def compute_mask(self, t, default_mask):
        _require_structure(t, self.dim)
        size = t.shape[self.dim]
        count = _count(self.amount, size)
        if not count:
            return default_mask
        kept = self.kept(t.detach(), count).to(default_mask.dtype)
        shape = [1] * t.dim()
        shape[self.dim] = size
        return kept.reshape(shape) * default_mask


class RandomStructured(_Structured):
    """Prunes an amount of channels along `dim` at random."""

    def kept(self, t, count):
        """For each channel, whether it stays."""
        from ... import rand
        chances = rand(t.shape[self.dim])
        return chances > chances.kthvalue(count).values


class LnStructured(_Structured):
    """Prunes an amount of channels along `dim`, those of smallest n-norm."""

    def __init__(self, amount, n, dim=-1):
        super().__init__(amount, dim)
        self.n = n

    def kept(self, t, count):
        """For each channel, whether it stays."""
        from ... import norm
        dim = self.dim % t.dim()
        norms = norm(t, p=self.n, dim=[d for d in range(t.dim()) if d != dim])
        kept = norms.new_zeros(norms.shape)
        kept[norms.topk(norms.shape[0] - count).indices] = 1
        return kept


class CustomFromMask(BasePruningMethod):
    """Prunes what a given mask says."""

    PRUNING_TYPE = 'global'

    def __init__(self, mask):
        self.mask = mask

    def compute_mask(self, t, default_mask):
        if default_mask.shape != self.mask.shape:
            raise AssertionError(f'the mask of shape {list(self.mask.shape)} does not fit a tensor of shape '
                                 f'{list(default_mask.shape)}')
        return default_mask * self.mask.to(dtype=default_mask.dtype)


# ---- functions on a module

def identity(module, name):
    """Gives a parameter a mask of ones. Returns the module, like all of these."""
    Identity.apply(module, name)
    return module


def random_unstructured(module, name, amount):
    """Prunes an amount (a number, or a share as a float) of a parameter's entries at random."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module, name, amount, importance_scores=None):
    """Prunes an amount of a parameter's entries, those of smallest magnitude.

    >>> layer = l1_unstructured(flambeau.nn.Linear(4, 2), 'weight', amount=3)
    >>> int((layer.weight == 0).sum())
    3
    """
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


def random_structured(module, name, amount, dim):
    """Prunes an amount of a parameter's channels along `dim` at random."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(module, name, amount, n, dim, importance_scores=None):
    """Prunes an amount of a parameter's channels along `dim`, those of smallest n-norm."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module, name, mask):
    """Prunes a parameter by a mask of ones and zeros."""
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(parameters, pruning_method, importance_scores=None, **kwargs) -> None:
    """Prunes an amount of the entries of several parameters, (module, name) pairs, judged all together.

    importance_scores: {(module, name): what to judge its entries by}.
    """
    if not isinstance(parameters, Iterable):
        raise TypeError('global_unstructured(): parameters is not an Iterable')
    importance_scores = {} if importance_scores is None else importance_scores
    if not isinstance(importance_scores, dict):
        raise TypeError('global_unstructured(): importance_scores must be of type dict')
    parameters = list(parameters)
    tensors = [getattr(module, name) for module, name in parameters]
    scores = parameters_to_vector([importance_scores.get(key, t) for key, t in zip(parameters, tensors)])
    masks = parameters_to_vector([getattr(module, f'{name}_mask', t.detach().new_ones(t.shape))
                                  for (module, name), t in zip(parameters, tensors)])
    method = pruning_method(**kwargs)
    if method.PRUNING_TYPE != 'unstructured':
        raise TypeError(f'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method '
                        f'{pruning_method} of type {method.PRUNING_TYPE}')
    mask = PruningContainer([method]).compute_mask(scores, masks)
    for (module, name), t, part in zip(parameters, tensors, mask.split([t.numel() for t in tensors])):
        custom_from_mask(module, name, part.view_as(t))


def remove(module, name):
    """Makes a pruning permanent: the parameter is plain again, with its pruned values.

    Raises ValueError for a parameter that is not pruned.
    """
    number, method = _method_of(module, name)
    if method is None:
        raise ValueError(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")
    method.remove(module)
    del module._forward_pre_hooks[number]
    return module


def is_pruned(module) -> bool:
    """Whether a parameter of a module, or of one within it, is pruned."""
    return any(isinstance(hook, BasePruningMethod)
               for _, part in module.named_modules() for hook in part._forward_pre_hooks.values())
