"""Counts the lines of code of the package: no blanks, comments or docstrings. Prints each folder and the sum."""
import ast
import io
import pathlib
import tokenize

ROOT = pathlib.Path(__file__).resolve().parent.parent / 'flambeau'
NOT_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING,
            tokenize.ENDMARKER}
CORE = {'', 'autograd', 'ops', 'kernel', 'backends', 'compile'}


def code_lines(path):
    text = path.read_text()
    documentation = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) \
                and ast.get_docstring(node) is not None:
            documentation.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NOT_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - documentation)


def count():
    """{folder: code lines}, the package's own files under ''."""
    sizes = {}
    for path in sorted(ROOT.rglob('*.py')):
        parts = path.relative_to(ROOT).parts
        folder = parts[0] if len(parts) > 1 else ''
        sizes[folder] = sizes.get(folder, 0) + code_lines(path)
    return sizes


if __name__ == '__main__':
    sizes = count()
    for folder, lines in sorted(sizes.items(), key=lambda item: -item[1]):
        print(f'{lines:7} {folder or "(package)"}')
    print(f'{sum(n for f, n in sizes.items() if f in CORE):7} tensor, autograd, ops, kernel, backends and compile')
    print(f'{sum(sizes.values()):7} in all')
