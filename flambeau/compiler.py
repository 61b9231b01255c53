"""`torch.compiler`: what programs ask a compiler of functions. None is at work here, so every function runs as written.
"""
from __future__ import annotations

__all__ = ['allow_in_graph', 'disable', 'is_compiling', 'is_dynamo_compiling', 'is_exporting', 'reset']


def is_compiling() -> bool:
    """Whether this call is being compiled: never."""
    return False


is_dynamo_compiling = is_exporting = is_compiling


def disable(fn=None, recursive=True, *, reason=None):
    """Marks a function that is not to be compiled: `@disable` or `@disable(recursive=False)`."""
    return fn if fn is not None else lambda function: function


def allow_in_graph(fn):
    """Marks a function that a compiler need not look into."""
    return fn


def reset() -> None:
    """Forgets compiled functions, of which there are none."""
