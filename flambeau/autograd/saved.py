"""Hooks on what is saved for backward: packing when it is saved, unpacking when it is needed."""
from __future__ import annotations

from ..tensor import Tensor, wrap
from .graph import saved_versions
from .modes import STATE, Decorating

__all__ = ['saved_tensors_hooks', 'save_on_cpu', 'disable_saved_tensors_hooks', 'pack_saved']


def pack_saved(node, saved):
    """The saved values with tensors packed by the innermost hooks; the node remembers how to unpack them."""
    from ..ops.definition import SavedOutput
    pack, unpack = STATE.saved_hooks[-1]
    hooks, STATE.saved_hooks = STATE.saved_hooks, ()
    STATE.settle()
    try:
        packed = [isinstance(v, (Tensor, SavedOutput)) for v in saved]
        values = [pack(v if isinstance(v, Tensor) else wrap(v._array)) if p else v for v, p in zip(saved, packed)]
    finally:
        STATE.saved_hooks = hooks
        STATE.settle()
    node.note('packed', lambda: packed)
    node.note('unpack', lambda: unpack)
    node.versions = saved_versions(values)
    return values


class saved_tensors_hooks:
    """Inside, pack_hook(tensor) replaces each tensor saved for backward; unpack_hook gives it back when it is needed.
    """

    def __init__(self, pack_hook, unpack_hook):
        self.hooks = pack_hook, unpack_hook

    def __enter__(self):
        if STATE.saving_refused is not None:
            raise RuntimeError(STATE.saving_refused)
        STATE.saved_hooks = (*STATE.saved_hooks, self.hooks)
        STATE.settle()

    def __exit__(self, *_):
        STATE.saved_hooks = STATE.saved_hooks[:-1]
        STATE.settle()


class save_on_cpu(saved_tensors_hooks):
    """Inside, what is saved for backward is kept in the CPU's memory."""

    def __init__(self, pin_memory=False, device_type='cuda'):
        super().__init__(lambda t: (t.device, t.cpu()), lambda packed: packed[1].to(packed[0]))


class disable_saved_tensors_hooks(Decorating):
    """Inside, entering `saved_tensors_hooks` is refused with a message of one's own."""

    def __init__(self, error_message: str):
        self.message = error_message

    def clone(self):
        return type(self)(self.message)

    def __enter__(self):
        self.before = STATE.saving_refused
        STATE.saving_refused = self.message

    def __exit__(self, *_):
        STATE.saving_refused = self.before
