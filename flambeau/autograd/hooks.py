"""Handles by which a registered hook is taken away again. Knows nothing of who calls the hooks."""
from __future__ import annotations

import weakref
from collections import OrderedDict

__all__ = ['RemovableHandle']


class RemovableHandle:
    """What registering a hook returns: `remove()` takes the hook away; as a context manager, at the end of the block.

    `hooks_dict` maps the handle's `id` to the hook; the same id is dropped from `extra_dict` (a dict or a list of
    them). Holds neither alive. `next_id` is the id that the next handle gets.
    """

    next_id = 0

    def __init__(self, hooks_dict, *, extra_dict=None):
        extra = () if extra_dict is None else extra_dict if isinstance(extra_dict, list) else (extra_dict,)
        self.hooks_dict_ref = weakref.ref(hooks_dict)
        self.extra_dict_ref = tuple(weakref.ref(table) for table in extra)
        self.id = RemovableHandle.next_id
        RemovableHandle.next_id += 1

    def remove(self) -> None:
        """Takes the hook away; does nothing when it is gone already."""
        for reference in (self.hooks_dict_ref, *self.extra_dict_ref):
            table = reference()
            if table is not None:
                table.pop(self.id, None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()

    def __getstate__(self):
        return self.hooks_dict_ref(), self.id, tuple(reference() for reference in self.extra_dict_ref)

    def __setstate__(self, state):
        hooks, self.id, extra = state
        self.hooks_dict_ref = weakref.ref(OrderedDict() if hooks is None else hooks)
        self.extra_dict_ref = tuple(weakref.ref(table) for table in extra if table is not None)
        # ids given from now on must not meet one that was read back
        RemovableHandle.next_id = max(RemovableHandle.next_id, self.id + 1)
