"""The readable form of a kernel: one statement a line, blocks indented. Knows the language only."""
from __future__ import annotations

__all__ = ['text']


def text(function) -> str:
    """A kernel as it would be written by hand, after the kernels it calls."""
    head = ', '.join(f'{p.name}: {p.type}' for p in function.parameters)
    result = '' if function.result is None else f' -> {function.result}'
    lines = [f'kernel {function.name}({head}){result}', *_block(function.body, '    ')]
    return '\n\n'.join([*map(text, function.calls.values()), '\n'.join(lines)])


def _block(statements, indent):
    for s in statements:
        given = [repr(o) for o in s.operands]
        given += [f'{k}={v.name if hasattr(v, "name") else v!r}' for k, v in s.attributes.items() if v is not None]
        made = '' if s.result is None else f'{s.result.name}: {s.result.type} = '
        yield f'{indent}{made}{s.op} {", ".join(given)}'.rstrip()
        for k, block in enumerate(s.blocks):
            if k and block:
                yield f'{indent}otherwise'
            yield from _block(block, indent + '    ')
