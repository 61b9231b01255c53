"""The notation of einsum: reads equations and carries them out two operands at a time through `contract`."""
from __future__ import annotations

import functools

from ..tensor import Tensor
from .contraction import contract, same_dtype

__all__ = ['evaluate_einsum']


def evaluate_einsum(equation, operands):
    """The value of einsum(equation, *operands), or of the form with lists of integers."""
    if not isinstance(equation, str) and not (isinstance(equation, Tensor) and operands):
        raise ValueError('einsum(): must specify the equation string and at least one operand, or at least one operand '
                         'and its subscripts list')
    if not isinstance(equation, str):
        equation, operands = _from_lists(equation, operands)
    elif len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = operands[0]
    for k, operand in enumerate(operands):
        if not isinstance(operand, Tensor):
            raise TypeError(f'einsum(): expected Tensor as operand {k}, but got {type(operand).__name__}')
    if not operands:
        raise RuntimeError('einsum(): must provide at least one operand')
    if len(operands) == 2 and operands[0]._array.dtype is operands[1]._array.dtype:
        letters = _letters_of_pair(equation, operands[0]._array.shape, operands[1]._array.shape)
        if letters is not None:
            return contract(*operands, letters)
    names, result = _named_dimensions(equation.replace(' ', ''), operands)
    operands = list(same_dtype('einsum', *operands)) if len(operands) > 1 else list(operands)
    operands, names = _broadcast(operands, names)
    terms = [_without_repeats(t, n) for t, n in zip(operands, names)]
    while len(terms) > 1:
        (a, a_names), (b, b_names) = terms[:2]
        later = set(result).union(*(n for _, n in terms[2:]))
        a, a_names = _summed(a, a_names, set(b_names) | later)
        b, b_names = _summed(b, b_names, set(a_names) | later)
        kept = ''.join(c for c in dict.fromkeys(a_names + b_names)
                       if c in later or (c in a_names) != (c in b_names))
        terms[:2] = [(contract(a, b, (a_names, b_names, kept)), kept)]
    tensor, found = _summed(*terms[0], set(result))
    order = tuple(found.index(c) for c in result)
    return tensor.permute(order) if order != tuple(range(len(order))) else tensor


@functools.lru_cache(maxsize=256)
def _letters_of_pair(equation, first, second):
    """The letters of `contract` for two operands of these shapes, where it can carry out the equation alone, else None.
    """
    a, _, rest = equation.replace(' ', '').partition(',')
    b, arrow, result = rest.partition('->')
    if not arrow or not (a + b + result).isalpha() or any(len(set(names)) < len(names) for names in (a, b, result)):
        return None
    sizes = dict(zip(a, first))
    if len(a) != len(first) or len(b) != len(second) or any(sizes.get(c, n) != n for c, n in zip(b, second)):
        return None
    alone = set(a) ^ set(b)
    return (a, b, result) if alone <= set(result) <= set(a + b) else None


def _from_lists(first, rest):
    """The equation that operands alternating with lists of integers stand for."""
    items = (first, *rest)
    operands, lists = items[0::2], items[1::2]
    output = None
    if len(items) % 2:
        operands, output = items[0:-1:2], items[-1]

    def letters(numbers):
        return ''.join('...' if n is Ellipsis else chr(97 + n) if n < 26 else chr(39 + n) for n in numbers)
    equation = ','.join(letters(n) for n in lists)
    return (equation if output is None else f'{equation}->{letters(output)}'), operands


def _named_dimensions(equation, operands):
    """(letters of each operand, letters of the result), with letters of our own for what '...' covers."""
    left, arrow, right = equation.partition('->')
    parts = left.split(',')
    if len(parts) != len(operands):
        raise RuntimeError(f'einsum(): {"fewer" if len(parts) < len(operands) else "more"} operands were provided than '
                           f'specified in the equation: {equation!r} for {len(operands)} operands')
    for part in (*parts, right):
        bad = [c for c in part.replace('...', '', 1) if not c.isalpha()]
        if bad:
            raise RuntimeError(f'einsum(): invalid subscript given at index {equation.index(bad[0])} in the equation '
                               f'string, subscripts must be in [a-zA-Z], in {equation!r}')
    covered = [t.dim() - len(p.replace('...', '')) if '...' in p else 0 for p, t in zip(parts, operands)]
    most = max(covered, default=0)
    free = [c for c in (*map(chr, range(0x3b1, 0x3b1 + 60)),)][:most]
    names = []
    for k, (part, count, tensor) in enumerate(zip(parts, covered, operands)):
        if count < 0 or '...' not in part and len(part) != tensor.dim():
            raise RuntimeError(f"einsum(): the number of subscripts in the equation ({len(part.replace('...', ''))}) "
                               f'does not match the number of dimensions ({tensor.dim()}) for operand {k} and no '
                               'ellipsis was given')
        names.append(part.replace('...', ''.join(free[most - count:])))
    every = ''.join(names)
    if not arrow:
        right = '...' + ''.join(sorted(c for c in set(left.replace(',', '').replace('...', ''))
                                       if left.count(c) == 1)) if most else \
            ''.join(sorted(c for c in set(left.replace(',', '')) if left.count(c) == 1))
    result = right.replace('...', ''.join(free))
    for c in result:
        if result.count(c) > 1:
            raise RuntimeError(f"einsum(): output subscript {c} appears more than once in the output")
        if c not in every:
            raise RuntimeError(f'einsum(): output subscript {c} does not appear in the equation for any input operand')
    return names, result


def _broadcast(operands, names):
    """Operands with every letter of one size; dimensions of size 1 give way where another operand has more."""
    sizes = {}
    for k, (tensor, letters) in enumerate(zip(operands, names)):
        for d, (c, n) in enumerate(zip(letters, tensor.shape)):
            known = sizes.get(c, 1)
            if n not in (1, known) and known != 1:
                raise RuntimeError(f'einsum(): subscript {c} has size {n} for operand {k} which does not broadcast '
                                   f'with previously seen size {known}')
            sizes[c] = max(n, known) if 0 not in (n, known) else 0
    out, out_names = [], []
    for tensor, letters in zip(operands, names):
        ones = [d for d, (c, n) in enumerate(zip(letters, tensor.shape)) if n == 1 and sizes[c] != 1]
        others = set(''.join(n for t, n in zip(operands, names) if t is not tensor))
        drop = [d for d in ones if letters[d] in others]
        if drop:
            tensor = tensor.squeeze(tuple(drop))
            letters = ''.join(c for d, c in enumerate(letters) if d not in drop)
        out.append(tensor)
        out_names.append(letters)
    return out, out_names


def _without_repeats(tensor, letters):
    """The diagonal where one operand names a letter twice."""
    for c in dict.fromkeys(letters):
        while letters.count(c) > 1:
            i = letters.index(c)
            j = letters.index(c, i + 1)
            if tensor.shape[i] != tensor.shape[j]:
                raise RuntimeError(f'einsum(): subscript {c} is repeated for an operand but the sizes don\'t match, '
                                   f'{tensor.shape[j]} != {tensor.shape[i]}')
            tensor = tensor.diagonal(0, i, j)
            letters = letters[:i] + letters[i + 1:j] + letters[j + 1:] + c
    return tensor, letters


def _summed(tensor, letters, needed):
    """Without the letters that nothing else needs."""
    over = tuple(d for d, c in enumerate(letters) if c not in needed)
    if over:
        tensor = tensor.sum(over)
        letters = ''.join(c for c in letters if c in needed)
    return tensor, letters
