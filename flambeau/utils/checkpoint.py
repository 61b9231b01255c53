"""Trading computation for memory: parts of a network whose inner values are computed again in backward."""
from __future__ import annotations

import contextlib

from ..autograd.modes import STATE, enable_grad, is_grad_enabled
from ..autograd.saved import saved_tensors_hooks
from ..tensor import Tensor

__all__ = ['checkpoint', 'checkpoint_sequential']


class Recomputation:
    """One checkpointed call: numbers what it would have saved, and computes that anew when backward asks for it."""

    def __init__(self, function, args, kwargs, preserve_rng_state, context):
        self.function, self.args, self.kwargs, self.context = function, args, kwargs, context
        self.count = 0
        self.values = {}
        self.autocast = STATE.autocast
        if preserve_rng_state:
            from ..random import get_rng_state
            self.random_state = get_rng_state()
        else:
            self.random_state = None

    def pack(self, tensor):
        self.count += 1
        return self.count - 1

    def unpack(self, number):
        if number not in self.values:
            self.recompute()
        if number not in self.values:
            raise RuntimeError('torch.utils.checkpoint: a different number of tensors was saved during the original '
                               f'forward and recomputation: number {number} was not saved again')
        return self.values.pop(number)

    def recompute(self):
        saved = []

        def keep(tensor):
            saved.append(tensor)
            return tensor
        args = [a.detach().requires_grad_(a.requires_grad) if isinstance(a, Tensor) else a for a in self.args]
        with contextlib.ExitStack() as stack:
            if self.random_state is not None:
                from ..random import fork_rng, set_rng_state
                stack.enter_context(fork_rng())
                set_rng_state(self.random_state)
            if self.autocast is not STATE.autocast:
                from ..amp import autocast
                stack.enter_context(autocast('cpu', self.autocast, self.autocast is not None))
            stack.enter_context(enable_grad())
            stack.enter_context(self.context)
            stack.enter_context(saved_tensors_hooks(keep, lambda tensor: tensor))
            self.function(*args, **self.kwargs)
        self.values = dict(enumerate(saved))


def checkpoint(function, *args, use_reentrant=None, context_fn=None, determinism_check='default', debug=False,
               early_stop=True, preserve_rng_state=True, **kwargs):
    """function(*args), keeping only the arguments; what backward needs is computed again then.

    With `preserve_rng_state`, random numbers (dropout) are drawn again as the first time.
    """
    if not is_grad_enabled():
        return function(*args, **kwargs)
    first, again = context_fn() if context_fn is not None else (contextlib.nullcontext(), contextlib.nullcontext())
    call = Recomputation(function, args, kwargs, preserve_rng_state, again)
    with first, saved_tensors_hooks(call.pack, call.unpack):
        return function(*args, **kwargs)


def checkpoint_sequential(functions, segments, input, use_reentrant=None, **kwargs):
    """A Sequential (or list of functions) in `segments` parts, each checkpointed but the last."""
    functions = list(functions.children()) if hasattr(functions, 'children') else list(functions)
    size = max(len(functions) // segments, 1)

    def run(part):
        def forward(value):
            for f in part:
                value = f(value)
            return value
        return forward
    for k in range(segments - 1):
        input = checkpoint(run(functions[k * size:(k + 1) * size]), input, use_reentrant=use_reentrant, **kwargs)
    return run(functions[(segments - 1) * size:])(input)
