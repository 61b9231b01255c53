"""`torch.utils._pytree`: functions of every leaf in nested lists, tuples, named tuples and dictionaries."""
from __future__ import annotations

from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from typing import Any

__all__ = ['TreeSpec', 'tree_flatten', 'tree_unflatten', 'tree_leaves', 'tree_structure', 'tree_map', 'tree_map_',
           'tree_map_only', 'tree_all', 'tree_any']


@dataclass(frozen=True)
class TreeSpec:
    """How a nested value is built: its container's type, what that needs besides (keys), and its children's specs."""
    type: Any
    context: Any
    children_specs: tuple

    @property
    def num_leaves(self) -> int:
        return 1 if self.type is None else sum(child.num_leaves for child in self.children_specs)

    def is_leaf(self) -> bool:
        return self.type is None


LEAF = TreeSpec(None, None, ())


def _parts(tree):
    """(children, context) of a container, or None for a leaf."""
    kind = type(tree)
    if kind in (list, tuple) or isinstance(tree, tuple) and hasattr(kind, '_fields'):
        return list(tree), None
    if kind in (dict, OrderedDict):
        return list(tree.values()), tuple(tree)
    if kind is defaultdict:
        return list(tree.values()), (tree.default_factory, tuple(tree))
    return None


def tree_flatten(tree, is_leaf=None):
    """(leaves from left to right, spec). `is_leaf(x)` may stop at containers.

    >>> tree_flatten({'a': [1, 2], 'b': 3})[0]
    [1, 2, 3]
    """
    parts = None if is_leaf is not None and is_leaf(tree) else _parts(tree)
    if parts is None:
        return [tree], LEAF
    leaves, specs = [], []
    for child in parts[0]:
        found, spec = tree_flatten(child, is_leaf)
        leaves += found
        specs.append(spec)
    return leaves, TreeSpec(type(tree), parts[1], tuple(specs))


def tree_unflatten(leaves, treespec):
    """The nested value of a spec with these leaves. Raises ValueError where their number differs."""
    leaves = list(leaves)
    if len(leaves) != treespec.num_leaves:
        raise ValueError(f'tree_unflatten: the spec has {treespec.num_leaves} leaves, but {len(leaves)} were given')
    return _built(iter(leaves), treespec)


def _built(leaves, spec):
    if spec.type is None:
        return next(leaves)
    children = [_built(leaves, child) for child in spec.children_specs]
    if spec.type in (list, tuple):
        return spec.type(children)
    if spec.type is defaultdict:
        factory, keys = spec.context
        return defaultdict(factory, zip(keys, children))
    return spec.type(*children) if spec.context is None else spec.type(zip(spec.context, children))


def tree_leaves(tree, is_leaf=None) -> list:
    """The leaves from left to right."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree, is_leaf=None) -> TreeSpec:
    """How the nested value is built."""
    return tree_flatten(tree, is_leaf)[1]


def tree_map(func, tree, *rests, is_leaf=None):
    """The nested value with func(leaf, leaves of the rests at that place) for each leaf.

    >>> tree_map(lambda x: x + 1, (1, {'a': 2}))
    (2, {'a': 3})
    """
    leaves, spec = tree_flatten(tree, is_leaf)
    columns = [leaves]
    for rest in rests:
        found, other = tree_flatten(rest, is_leaf)
        if other != spec:
            raise ValueError(f'tree_map: the trees are built differently: {spec} and {other}')
        columns.append(found)
    return tree_unflatten([func(*row) for row in zip(*columns)], spec)


def tree_map_(func, tree, *rests, is_leaf=None):
    """Calls `func` as `tree_map` does and returns the tree as it was."""
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def tree_map_only(type_or_types, func, tree, is_leaf=None):
    """`tree_map` for leaves of some types; the others stay."""
    return tree_map(lambda x: func(x) if isinstance(x, type_or_types) else x, tree, is_leaf=is_leaf)


def tree_all(pred, tree, is_leaf=None) -> bool:
    """Whether `pred` holds for every leaf."""
    return all(map(pred, tree_leaves(tree, is_leaf)))


def tree_any(pred, tree, is_leaf=None) -> bool:
    """Whether `pred` holds for some leaf."""
    return any(map(pred, tree_leaves(tree, is_leaf)))
