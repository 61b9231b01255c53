"""Subclasses and foreign classes that answer calls themselves (`__torch_function__`)."""
from __future__ import annotations

import functools
import inspect
import types

from ..autograd.modes import STATE
from ..tensor import Parameter, Tensor, no_override

__all__ = ['Overridden', 'overrides', 'override', 'asking', 'answered']


class Overridden(Exception):
    """Some argument's class has its own __torch_function__."""


def overrides(value):
    """Whether the value's class answers calls itself (`__torch_function__`)."""
    kind = type(value)
    return kind is not Tensor and kind is not Parameter and STATE.overriding \
        and kind.__torch_function__ is not no_override


def override(function, args, kwargs):
    """Asks the `__torch_function__` of the arguments' classes, subclasses first, as in PyTorch."""
    found = []
    _find_overriding((args, tuple(kwargs.values())), found)
    kinds = tuple(dict.fromkeys(type(x) for x in found))
    ordered = []
    for kind in kinds:
        at = next((k for k, other in enumerate(ordered) if issubclass(kind, other)), len(ordered))
        ordered.insert(at, kind)
    for kind in ordered:
        result = kind.__torch_function__(function, kinds, args, kwargs)
        if result is not NotImplemented:
            return result
    raise TypeError(f"no implementation found for 'torch.{function.__name__}' on types that implement "
                    f'__torch_function__: {[k.__name__ for k in kinds]}')


def asking(function, name, lenient=()):
    """The function under a public name, with the answers of classes that answer calls themselves: what `export`
    publishes.

    Plain tensors cost it a look at their classes. Its code is written for the function's parameters at its first call.
    A function without tensors stays as it is. Raises TypeError for what is no tensor where one must be: for `lenient`
    parameters other things may stand.
    """
    if TENSORS.isdisjoint(_parameters(function)):
        return function
    scope = {'_write': _write_asking, '_body': function, '_lenient': LENIENT.union(lenient),
             '__name__': function.__module__, '__builtins__': __builtins__}
    call = types.FunctionType(_first_call.__code__, scope, function.__name__)
    scope['_this'] = functools.update_wrapper(call, function)
    call.__name__ = call.__qualname__ = name
    return call


def _first_call(*args, **kwargs):
    return _write(_this, _body)(*args, **kwargs)  # noqa: F821: found in the function's own globals


def _parameters(function):
    code = function.__code__
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & VARIADIC) + bool(code.co_flags & NAMED)
    return code.co_varnames[:count]


def _write_asking(call, function):
    code, name, names = function.__code__, call.__name__, list(_parameters(function))
    count, keywords = code.co_argcount, code.co_kwonlyargcount
    positional, keywords, rest = names[:count], names[count:count + keywords], names[count + keywords:]
    several = [rest.pop(0)] if code.co_flags & VARIADIC else []
    head = [*positional, *(['*' + s for s in several] or ['*'] * bool(keywords)), *keywords, *['**' + r for r in rest]]
    required = count if several else count - len(function.__defaults__ or ())
    lenient, defaults = call.__globals__['_lenient'], function.__kwdefaults__ or {}
    classes = [(p, 'SILENT' if p in lenient else 'TENSOR') for p in positional + keywords if p in TENSORS]
    checks = [f'type({p}) in {known}' if known == 'SILENT' or p in positional[:required] or p in keywords
              and p not in defaults
              else f'({p} is None or type({p}) in {known})' for p, known in classes]
    checks = [f'((type({p}) is list or type({p}) is tuple) and TENSOR.issuperset(map(type, {p})) or {check})'
              if p in SEVERAL or p == 'hx' else check for (p, _), check in zip(classes, checks)]
    checks += [f'{"TENSOR" if s in SEVERAL else "SILENT"}.issuperset(map(type, {s}))' for s in several]
    checks += [f'(not {r} or SILENT.issuperset(map(type, {r}.values())))' for r in rest]
    given = [*positional[:required], *['*' + s for s in several]]
    options = [f'{p!r}: {p}' for p in positional[required:] + keywords] + ['**' + r for r in rest]
    lines = [f'def {name}({", ".join(head)}):',
             f'    if not ({" and ".join(checks)}):',
             f'        answer = answers(_this, ({"".join(p + ", " for p in given)}), {{{", ".join(options)}}})',
             '        if answer is not UNASKED: return answer'] if checks else [f'def {name}({", ".join(head)}):']
    passed = [*positional, *['*' + s for s in several], *[f'{k}={k}' for k in keywords], *['**' + r for r in rest]]
    lines.append(f'    return _body({", ".join(passed)})')
    scope = call.__globals__
    scope.update(answers=answers, UNASKED=UNASKED, SILENT=SILENT, TENSOR=TENSOR)
    made = {}
    exec(compile('\n'.join(lines), f'<flambeau.{name}>', 'exec'), made)
    call.__code__, call.__defaults__ = made[name].__code__, function.__defaults__
    call.__kwdefaults__ = function.__kwdefaults__
    return call


VARIADIC, NAMED = inspect.CO_VARARGS, inspect.CO_VARKEYWORDS
UNASKED = object()
# classes that answer no call
SILENT = {Tensor, Parameter, int, float, bool, complex, str, type(None), slice, type(Ellipsis)}
TENSOR = {Tensor, Parameter}
# parameters of published functions that are tensors or hold some
TENSORS = frozenset("""input other target weight bias mask self A B M L b x y x1 x2 tensor tensors first second value
    key query vec2 matrices a operands exponent condition real imag abs angle running_mean running_var input1 input2
    anchor positive negative indices theta grid LU_data LU_pivots LU LD pivots tau window attn_mask log_probs targets
    input_lengths target_lengths logits in_proj_weight in_proj_bias bias_k bias_v out_proj_weight out_proj_bias
    key_padding_mask q_proj_weight k_proj_weight v_proj_weight static_k static_v pos_weight var linear_weight
    linear_bias offsets per_sample_weights w_ih w_hh b_ih b_hh hx the_template fweights aweights repeats input_mask
    other_mask _random_samples boundaries sorted_sequence tensor1 tensor2 mean std bins q args""".split())
# parameters for any number of tensors
SEVERAL = {'tensors', 'operands', 'matrices'}
# those that may be numbers or lists too
LENIENT = frozenset("""exponent tensors hx input_lengths target_lengths mean std repeats bins q args self value var key
    input_mask other_mask mask indices _random_samples tau M""".split())
# those that must be given, if only as None
NULLABLE = frozenset('bias bias_k bias_v in_proj_weight in_proj_bias out_proj_bias running_mean running_var'.split())


def answers(function, args, options):
    """What the classes of the arguments answer to a call of a published function, or UNASKED.

    Options at their defaults are not told. Raises TypeError for what is no tensor where one must be.
    """
    if answered(*args, *options.values()):
        defaults = {p.name: p.default for p in inspect.signature(function).parameters.values()}
        return override(function, args, {k: v for k, v in options.items() if v is not defaults.get(k, UNASKED)})
    strict = TENSORS - function.__globals__['_lenient']
    for position, (name, value) in enumerate([*zip(_parameters(function.__wrapped__), args), *options.items()], 1):
        if name in strict and not isinstance(value, Tensor) and (
                value is not None or position <= len(args) and name not in NULLABLE):
            refuse_other(function.__name__, name, position, value)
    for name in SEVERAL.intersection(_parameters(function.__wrapped__)):
        for position, value in enumerate(args, 1):
            if not isinstance(value, (Tensor, tuple, list, str)):
                refuse_other(function.__name__, name, position, value)
    return UNASKED


def refuse_other(function, name, position, value):
    """Raises the TypeError of what is no tensor where one must be."""
    hint = '' if value is None or isinstance(value, str) else ': torch.tensor(...) makes one of it'
    raise TypeError(f"{function}(): argument '{name}' (position {position}) must be Tensor, not "
                    f"{type(value).__name__}{hint}")


def answered(*values):
    """Whether the class of one of the values answers calls itself."""
    found = []
    _find_overriding(values, found)
    return bool(found)


def _find_overriding(value, found):
    for v in value:
        kind = type(v)
        if kind in SILENT:
            continue
        if kind is tuple or kind is list or isinstance(v, (tuple, list)):
            _find_overriding(v, found)
        elif hasattr(kind, '__torch_function__') and overrides(v):
            found.append(v)
