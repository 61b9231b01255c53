"""Says in an exception that leaves a module's `forward` which layer raised it and what the layer was called with.

Costs nothing until an exception passes: every `Module.__call__` it leaves calls `locate` once, so the path grows from
the inner layer outwards and the text is rewritten until the outermost module has put its name in front.
"""
from __future__ import annotations

from ..errors import describe_value

__all__ = ['locate']

UNREGISTERED = '.<a module that is not registered>'
# where the exception keeps (id of the module that saw it last, path so far, call of the innermost, text before)
RECORD = '_module_path'


def locate(error: Exception, module, args, kwargs) -> None:
    """Adds to the text of `error` the path of the layer that raised it, such as `Net.features.3 (Conv2d(3, 8, ...))`.

    An exception class of Python's or of flambeau's with a plain message gets it as the message's last line; any other
    one keeps its message and gets a note, which tracebacks show. Neither type nor traceback changes.
    """
    if isinstance(error, (StopIteration, StopAsyncIteration)):
        return  # signals, not mistakes
    own_name = type(module).__name__
    record = error.__dict__.get(RECORD)
    if record is None:
        path, call = '', describe_module_call(module, args, kwargs)
        text = error.args[0] if has_plain_message(error) else None
    else:
        inner, path, call, text = record
        step = path_to(module, inner)
        if not path.startswith(step) or step != UNREGISTERED:  # one exception object may be raised again and again
            path = step + path
    error.__dict__[RECORD] = id(module), path, call, text
    write(error, text, f'in layer {own_name}{path} {call}')


def path_to(module, inner: int) -> str:
    """Where below `module` the module with the identity `inner` is, such as '.features.3'."""
    if inner == id(module):
        return ''  # it called itself
    for name, child in module.named_modules():
        if id(child) == inner:
            return f'.{name}'
    return UNREGISTERED


def has_plain_message(error) -> bool:
    kind = type(error)
    return (len(error.args) == 1 and isinstance(error.args[0], str) and kind.__str__ is Exception.__str__
            and kind.__module__.partition('.')[0] in ('builtins', __name__.partition('.')[0]))


def write(error, text, line):
    if text is not None:
        error.args = (f'{text}\n  {line}',)
        return
    notes = error.__dict__.setdefault('__notes__', [])
    if notes and notes[-1].startswith('in layer '):
        notes.pop()
    notes.append(line)


def describe_module_call(module, args, kwargs) -> str:
    """`(Linear(in_features=4, out_features=2, bias=True)) called with float32[3, 5]`."""
    try:
        shown = repr(module)
    except Exception:  # of the user's `extra_repr`, perhaps because `__init__` has not run to its end
        shown = ''
    if not shown or '\n' in shown or len(shown) > 200:
        shown = type(module).__name__
    values = [describe(value) for value in args] + [f'{k}={describe(v)}' for k, v in kwargs.items()]
    return f'({shown}) called with {", ".join(values) or "nothing"}'


def describe(value) -> str:
    if hasattr(value, '_array') or type(value) in (int, float, bool, str, type(None)):
        return describe_value(value)
    if type(value) in (list, tuple):
        return f'[{", ".join(map(describe, value[:6]))}{", ..." if len(value) > 6 else ""}]'
    return type(value).__name__  # the repr of a foreign object may be long, slow or broken
