"""Transforms from free real numbers into regions: `biject_to` one to one, `transform_to` as is cheap."""
from __future__ import annotations

from . import constraints, transforms
from .constraints import Constraint

__all__ = ['ConstraintRegistry', 'biject_to', 'transform_to']


class ConstraintRegistry:
    """Makers of transforms by the class of the constraint."""

    def __init__(self):
        self._makers = {}

    def register(self, constraint, factory=None):
        """Says how a transform is made for constraints of a class; a decorator without `factory`."""
        if factory is None:
            return lambda factory: self.register(constraint, factory)
        kind = type(constraint) if isinstance(constraint, Constraint) else constraint
        if not isinstance(kind, type) or not issubclass(kind, Constraint):
            raise TypeError(f'Expected constraint to be either a Constraint subclass or instance, but got {constraint}')
        self._makers[kind] = factory
        return factory

    def __call__(self, constraint):
        """The transform into a region. Raises NotImplementedError where none is known."""
        if type(constraint) not in self._makers:
            raise NotImplementedError(f'Cannot transform {type(constraint).__name__} constraints')
        return self._makers[type(constraint)](constraint)


biject_to, transform_to = ConstraintRegistry(), ConstraintRegistry()


def _above(constraint):
    return transforms.ComposeTransform([transforms.ExpTransform(),
                                        transforms.AffineTransform(constraint.lower_bound, 1)])


def _below(constraint):
    return transforms.ComposeTransform([transforms.ExpTransform(),
                                        transforms.AffineTransform(constraint.upper_bound, -1)])


def _between(constraint):
    low, high = constraint.lower_bound, constraint.upper_bound
    if isinstance(low, (int, float)) and isinstance(high, (int, float)) and (low, high) == (0, 1):
        return transforms.SigmoidTransform()
    return transforms.ComposeTransform([transforms.SigmoidTransform(), transforms.AffineTransform(low, high - low)])


for _registry in (biject_to, transform_to):
    _registry.register(constraints.real, lambda constraint: transforms.identity_transform)
    _registry.register(constraints.independent, lambda constraint, registry=_registry: transforms.IndependentTransform(
        registry(constraint.base_constraint), constraint.reinterpreted_batch_ndims))
    for _kind, _maker in ((constraints.greater_than, _above), (constraints.greater_than_eq, _above),
                          (constraints.less_than, _below), (constraints.interval, _between),
                          (constraints.half_open_interval, _between)):
        _registry.register(_kind, _maker)
biject_to.register(constraints.simplex, lambda constraint: transforms.StickBreakingTransform())
transform_to.register(constraints.simplex, lambda constraint: transforms.SoftmaxTransform())
transform_to.register(constraints.lower_cholesky, lambda constraint: transforms.LowerCholeskyTransform())
