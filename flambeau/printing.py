"""How tensors are written as text, and the options that govern it.

Reads a tensor's values (`_array`), `requires_grad`, `grad_fn` and `device`; it must not know operations or the graph.
The rules are PyTorch's: all numbers of a tensor share one notation, chosen from the finite nonzero values that are
shown, and one column width.
"""
from __future__ import annotations

import math
from contextlib import contextmanager

import numpy as np

from . import dtypes

__all__ = ['set_printoptions', 'get_printoptions', 'printoptions', 'tensor_text']

PROFILES = {
    'default': {'precision': 4, 'threshold': 1000, 'edgeitems': 3, 'linewidth': 80},
    'short': {'precision': 2, 'threshold': 1000, 'edgeitems': 2, 'linewidth': 80},
    'full': {'precision': 4, 'threshold': math.inf, 'edgeitems': 3, 'linewidth': 80},
}
_options = PROFILES['default'] | {'sci_mode': None}


def set_printoptions(precision=None, threshold=None, edgeitems=None, linewidth=None, profile=None, sci_mode=None):
    """Sets how tensors are printed; an option that is None stays as it is, except `sci_mode`.

    precision: digits after the point. threshold: number of elements above which only the edges are shown.
    edgeitems: how many at each edge of a dimension. linewidth: characters per line. profile: 'default', 'short' or
    'full', which the other options then change. sci_mode: scientific notation always (True), never (False), or where
    the numbers need it (None). Raises ValueError for an unknown profile.

    >>> set_printoptions(precision=2)
    >>> set_printoptions(profile='default')
    """
    chosen = {}
    if profile is not None:
        if profile not in PROFILES:
            raise ValueError(f"set_printoptions(): profile must be one of {', '.join(PROFILES)}, got {profile!r}")
        chosen.update(PROFILES[profile])
    given = {'precision': precision, 'threshold': threshold, 'edgeitems': edgeitems, 'linewidth': linewidth}
    chosen.update((name, value) for name, value in given.items() if value is not None)
    _options.update(chosen, sci_mode=sci_mode)


def get_printoptions() -> dict:
    """The options in force, as keyword arguments for `set_printoptions`."""
    return dict(_options)


@contextmanager
def printoptions(**options):
    """Sets the given options of `set_printoptions` within a `with` block."""
    before = get_printoptions()
    set_printoptions(**options)
    try:
        yield
    finally:
        set_printoptions(**before)


def tensor_text(tensor, *, tensor_contents: str | None = None) -> str:
    """`repr(tensor)`. `tensor_contents` replaces the values, for subclasses that print other ones."""
    from .tensor import Parameter, Tensor
    kind = type(tensor)
    plain = kind is Tensor or kind is Parameter
    opening = 'tensor(' if plain else kind.__name__ + '('
    array = tensor._array
    if tensor_contents is None:
        tensor_contents = _values_text(array, len(opening))
    text = _append_suffixes(opening + tensor_contents, _suffixes(tensor, array), len(opening))
    return text if plain or not isinstance(tensor, Parameter) else f'Parameter({text})'


def _suffixes(tensor, array: np.ndarray) -> list[str]:
    """What follows the values: whatever the values do not show by themselves."""
    suffixes = []
    if tensor.device.type != 'cpu':
        suffixes.append(f"device='{tensor.device}'")
    dtype, default = dtypes.of(array.dtype), dtypes.get_default_dtype()
    if array.size == 0:
        sized, implied = array.ndim != 1, (default,)
    else:
        complex_default = dtypes.complex128 if default is dtypes.float64 else dtypes.complex64
        sized, implied = not _options['edgeitems'], (default, complex_default, dtypes.int64, dtypes.bool_)
    if sized:
        suffixes.append(f'size={array.shape}')
    if dtype not in implied:
        suffixes.append(f'dtype={dtype}')
    if tensor.grad_fn is not None:
        suffixes.append(f'grad_fn=<{type(tensor.grad_fn).__name__}>')
    elif tensor.requires_grad:
        suffixes.append('requires_grad=True')
    return suffixes


def _append_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    # PyTorch counts one column too many in a single line, and one for the line break before the last of several
    column = len(text) - text.rfind('\n') + 1
    for suffix in suffixes:
        if column + len(suffix) + 2 > _options['linewidth']:
            text += ',\n' + ' ' * indent + suffix
            column = indent + len(suffix)
        else:
            text += ', ' + suffix
            column += len(suffix) + 2
    return text + ')'


def _values_text(array: np.ndarray, indent: int) -> str:
    if array.size == 0:
        return '[]'
    if array.dtype == dtypes.bfloat16.numpy:
        array = array.astype(np.float32)
    summarize = array.size > _options['threshold']
    shown = array[np.ix_(*(_edges(size) for size in array.shape))] if summarize else array
    if array.dtype.kind == 'c':
        column = _ComplexColumn(shown)
    else:
        column = _FloatColumn(shown) if array.dtype.kind == 'f' else _Column(shown)
    return _nested_text(array, indent, column, summarize)


def _edges(size: int) -> list[int]:
    """The indices that a summary shows of a dimension."""
    edge = _options['edgeitems']
    return list(range(size)) if size <= 2 * edge else [*range(edge), *range(size - edge, size)]


def _nested_text(array: np.ndarray, indent: int, column: _Column, summarize: bool) -> str:
    if array.ndim == 0:
        return column.text(array.item())
    cut = summarize and array.shape[0] > 2 * _options['edgeitems']
    rows = [array[i] for i in _edges(array.shape[0])] if cut else list(array)
    if array.ndim == 1:
        parts = [column.text(value.item()) for value in rows]
    else:
        parts = [_nested_text(row, indent + 1, column, summarize) for row in rows]
    if cut:
        edge = _options['edgeitems']
        parts.insert(edge, ' ...' if array.ndim == 1 and edge else '...')
    margin = ' ' * (indent + 1)
    if array.ndim > 1:
        return '[' + (',' + '\n' * (array.ndim - 1) + margin).join(parts) + ']'
    per_line = max(1, math.floor((_options['linewidth'] - indent) / (column.width + 2)))
    lines = [', '.join(parts[start:start + per_line]) for start in range(0, len(parts), per_line)]
    return '[' + (',\n' + margin).join(lines) + ']'


class _Column:
    """One notation and width for the integers or truth values of a tensor. `width` is that of the widest."""

    def __init__(self, values: np.ndarray):
        self.width = max([1, *(len(self.number(value)) for value in values.ravel().tolist())])

    def number(self, value) -> str:
        return str(value)

    def text(self, value) -> str:
        return self.number(value).rjust(self.width)


class _FloatColumn(_Column):
    """Floating point numbers: whole ones as `1.`, else fixed or scientific with `precision` digits."""

    def __init__(self, values: np.ndarray):
        values = values.ravel()
        values = values[np.isfinite(values) & (values != 0)].astype(np.float64)
        self.notation, self.point = '.0f', '.'  # `point` ends a whole number, which has no digits behind it
        self.width = 1
        if values.size == 0:
            return
        sizes = np.abs(values)
        scientific = _options['sci_mode']
        if scientific is None:
            low, high = float(sizes.min()), float(sizes.max())
            scientific = high / low > 1000 or high > 1e8 or low < 1e-4
        if scientific:
            self.notation, self.point = f".{_options['precision']}e", ''
        elif (values != np.ceil(values)).any():
            self.notation, self.point = f".{_options['precision']}f", ''
        super().__init__(values)

    def number(self, value: float) -> str:
        return format(value, self.notation) + (self.point if math.isfinite(value) else '')


class _ComplexColumn(_Column):
    """Complex numbers: a column for the real parts and one for the imaginary parts, which are not aligned."""

    def __init__(self, values: np.ndarray):
        self.real, self.imaginary = _FloatColumn(values.real), _FloatColumn(values.imag)
        self.width = self.real.width + self.imaginary.width + 1

    def text(self, value: complex) -> str:
        imaginary = self.imaginary.text(value.imag).lstrip()
        sign = '' if imaginary[0] in '+-' else '+'
        return f'{self.real.text(value.real)}{sign}{imaginary}j'
