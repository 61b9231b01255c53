"""Which parts of the machinery are switched on in this thread: recording of gradients, overriding by subclasses.

Knows nothing of tensors or graphs. `STATE.recording` is the one flag that hot paths read: OFF, PLAIN, or OBSERVED when
somebody watches what is recorded (anomaly detection, saved-tensor hooks), so the common case costs one comparison.
"""
from __future__ import annotations

import functools
import inspect
import threading

__all__ = ['no_grad', 'enable_grad', 'set_grad_enabled', 'inference_mode', 'is_grad_enabled',
           'is_inference_mode_enabled', 'set_multithreading_enabled']

OFF, PLAIN, OBSERVED = False, True, 2


class State(threading.local):
    """What is switched on in this thread."""
    recording = PLAIN
    grad = True
    inference = False
    overriding = True  # whether subclasses' __torch_function__ is asked
    anomaly = False
    check_nan = True
    autocast = None  # the dtype that products run in, while an autocast is on
    saved_hooks = ()  # of (pack, unpack), innermost last
    saving_refused = None  # why saving tensors for backward is refused (disable_saved_tensors_hooks)

    def settle(self):
        """Works out `recording` after a change of the others."""
        self.recording = OFF if not self.grad else OBSERVED if self.anomaly or self.saved_hooks else PLAIN


STATE = State()


def is_grad_enabled() -> bool:
    """Whether operations are recorded for backward."""
    return STATE.grad


def is_inference_mode_enabled() -> bool:
    return STATE.inference


def switch_grad(enabled: bool) -> bool:
    """Sets whether operations are recorded and returns what it was."""
    before = STATE.grad
    if enabled is not before:
        STATE.grad = enabled
        STATE.settle()
    return before


class Decorating:
    """A context manager that also decorates functions, generator functions and classes' methods.

    A fresh copy is entered for every call, so recursion and threads do not share its state.
    """

    def clone(self):
        return type(self)()

    def __call__(self, function):
        if inspect.isclass(function):
            return self.decorate_class(function)
        if inspect.isgeneratorfunction(function):
            return self.decorate_generator(function)

        @functools.wraps(function)
        def decorated(*args, **kwargs):
            with self.clone():
                return function(*args, **kwargs)
        return decorated

    def decorate_class(self, cls):
        cls.__init__ = self(cls.__init__)
        return cls

    def decorate_generator(self, function):
        @functools.wraps(function)
        def decorated(*args, **kwargs):
            generator = function(*args, **kwargs)
            step, argument = generator.send, None
            while True:  # the mode holds while the generator runs, not while it is suspended
                try:
                    with self.clone():
                        item = step(argument)
                except StopIteration as stop:
                    return stop.value
                try:
                    step, argument = generator.send, (yield item)
                except GeneratorExit:
                    generator.close()
                    raise
                except BaseException as error:
                    step, argument = generator.throw, error
        return decorated


class _Grad(Decorating):
    enabled = True

    def __new__(cls, function=None):
        self = super().__new__(cls)
        return self if function is None else self(function)  # `@no_grad` without parentheses

    def __enter__(self):
        self.before = switch_grad(self.enabled)

    def __exit__(self, *_):
        switch_grad(self.before)


class no_grad(_Grad):
    """Nothing is recorded for backward inside; also a decorator.

    >>> x = flambeau.ones(2, requires_grad=True)
    >>> with flambeau.no_grad(): y = x * 2
    >>> y.requires_grad
    False
    """
    enabled = False


class enable_grad(_Grad):
    """Operations are recorded inside, also within `no_grad`; also a decorator."""


class set_grad_enabled(Decorating):
    """Switches recording on or off at once; as a context manager it is switched back at the end."""

    def __init__(self, mode: bool):
        self.mode = mode
        self.before = switch_grad(bool(mode))

    def __call__(self, function):
        switch_grad(self.before)
        return super().__call__(function)

    def clone(self):
        return type(self)(self.mode)

    def __enter__(self):
        switch_grad(bool(self.mode))

    def __exit__(self, *_):
        switch_grad(self.before)

    def __repr__(self):
        return f'set_grad_enabled(mode={self.mode})'


class inference_mode(Decorating):
    """Like `no_grad`, and says so through `is_inference_mode_enabled`; also a decorator."""

    def __new__(cls, mode=True):
        self = super().__new__(cls)
        if isinstance(mode, bool):
            return self
        self.mode = True
        return self(mode)

    def __init__(self, mode: bool = True):
        self.mode = mode

    def clone(self):
        return type(self)(self.mode)

    def __enter__(self):
        self.before = STATE.grad, STATE.inference
        STATE.grad, STATE.inference = (not self.mode), self.mode
        STATE.settle()

    def __exit__(self, *_):
        STATE.grad, STATE.inference = self.before
        STATE.settle()


class set_multithreading_enabled(Decorating):
    """Accepted for compatibility: backward always runs on the calling thread."""

    def __init__(self, mode: bool):
        self.mode = mode

    def clone(self):
        return type(self)(self.mode)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None
