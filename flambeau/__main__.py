"""Runs an unmodified PyTorch script: `python -m flambeau SCRIPT ARGS...`.

Inside it `import torch` and `import torchvision` give flambeau's own modules. Everything else is as with
`python SCRIPT`: `sys.argv`, `sys.path`, `__main__`, tracebacks and exit codes. It must know no module of flambeau.
"""
from __future__ import annotations

import builtins
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import os
import sys
import types

__all__ = ['main', 'install_aliases', 'import_alias']

ALIASES = {'torch': 'flambeau', 'torchvision': 'flambeau.vision'}
FOLDER = os.path.dirname(os.path.abspath(__file__))

USAGE = """\
usage: python -m flambeau SCRIPT [ARG ...]
       python -m flambeau -m MODULE [ARG ...]
       python -m flambeau -c CODE [ARG ...]

Runs a PyTorch program without PyTorch: `import torch` and `import torchvision` give flambeau.
SCRIPT may be a file, a folder or zip file with a __main__.py, or - for standard input."""


# ---- imports ------------------------------------------------------------------------------------------------

def own_name(name: str) -> str | None:
    """flambeau's name for a module of PyTorch's, None for any other module."""
    first, dot, rest = name.partition('.')
    return ALIASES[first] + dot + rest if first in ALIASES else None


def is_within(name: str | None, package: str) -> bool:
    return name is not None and (package + '.').startswith(name + '.')


class AliasFinder(importlib.abc.MetaPathFinder):
    """Finds `torch.x` as flambeau.x: the same module object under a second name."""

    def find_spec(self, name, path=None, target=None):
        own = own_name(name)
        if own is None:
            return None
        try:
            module = importlib.import_module(own)
        except ModuleNotFoundError as error:
            if is_within(error.name, own):
                return None
            raise
        return importlib.machinery.ModuleSpec(name, AliasLoader(module), is_package=hasattr(module, '__path__'))


class AliasLoader(importlib.abc.InspectLoader):
    """Hands over a module that is already there."""

    def __init__(self, module: types.ModuleType):
        self.module = module
        self.spec = module.__spec__

    def create_module(self, spec):
        return self.module

    def exec_module(self, module):
        module.__spec__ = self.spec  # which the import system has replaced by the alias's

    def get_source(self, name):
        return self.spec.loader.get_source(self.spec.name)


def install_aliases() -> None:
    """Lets `import torch` give flambeau from now on, in this process."""
    if not any(isinstance(finder, AliasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, AliasFinder())


def import_alias(name: str) -> None:
    """What the packages in `aliases` do: they stand on the path of child processes, which have no finder yet."""
    install_aliases()
    own = own_name(name)
    try:
        sys.modules[name] = importlib.import_module(own)
    except ModuleNotFoundError as error:
        if is_within(error.name, own):
            raise ModuleNotFoundError(f'No module named {name!r}\n{missing(name)}', name=name) from None
        raise


def missing(name: str) -> str:
    return f'flambeau does not have {name} yet.'


def prepare_children() -> None:
    """Lets child processes, which start with nothing but the path, find the aliases and flambeau."""
    paths = [os.path.join(FOLDER, 'aliases')]
    if importlib.machinery.PathFinder.find_spec('flambeau', sys.path[1:]) is None:
        paths.append(os.path.dirname(FOLDER))  # it was found in a folder that only this process looks into
    sys.path[1:1] = paths
    inherited = os.environ.get('PYTHONPATH')
    os.environ['PYTHONPATH'] = os.pathsep.join(paths + ([inherited] if inherited else []))


# ---- the program ----------------------------------------------------------------------------------------------

def run(code: types.CodeType, **attributes) -> None:
    """Runs `code` as the module `__main__`."""
    module = types.ModuleType('__main__')
    vars(module).update({'__builtins__': builtins, '__spec__': None, '__package__': None} | attributes)
    if '__annotations__' in vars(sys.modules['__main__']):  # which depends on the version of Python
        module.__annotations__ = {}
    sys.modules['__main__'] = module
    exec(code, vars(module))


def start(argv: list[str], first_path: str) -> None:
    sys.argv[:] = argv
    if not sys.flags.safe_path:
        sys.path[0] = first_path
    prepare_children()
    install_aliases()


def run_script(path: str, args: list[str]) -> None:
    if os.path.isdir(path) or is_zip(path):
        start([path, *args], os.path.abspath(path))
        run_found(importlib.machinery.PathFinder.find_spec('__main__', [os.path.abspath(path)]), path)
        return
    try:
        with io.open_code(os.path.abspath(path)) as file:
            source = file.read()
    except OSError as error:
        fail(f"can't open file {os.path.abspath(path)!r}: [Errno {error.errno}] {error.strerror}", 2)
    start([path, *args], os.path.dirname(os.path.realpath(path)))
    path = os.path.abspath(path)
    run(compile(source, path, 'exec', dont_inherit=True), __file__=path, __cached__=None,
        __loader__=importlib.machinery.SourceFileLoader('__main__', path))


def is_zip(path: str) -> bool:
    import zipfile
    return os.path.isfile(path) and zipfile.is_zipfile(path)


def run_module(name: str, args: list[str]) -> None:
    start(['-m', *args], os.getcwd())
    name = own_name(name) or name
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f'{name}.__main__')
            name += f".__main__; '{name}' is a package and cannot be directly executed"
    except ModuleNotFoundError:
        spec = None
    run_found(spec, name)


def run_found(spec: importlib.machinery.ModuleSpec | None, name: str) -> None:
    if spec is None:
        fail(f'No module named {name}', 1)
    if spec.name != '__main__':
        sys.argv[0] = spec.origin
    run(spec.loader.get_code(spec.name), __file__=spec.origin, __cached__=spec.cached, __loader__=spec.loader,
        __package__=spec.parent, __spec__=spec)


def run_text(source: str | bytes, filename: str, argv: list[str]) -> None:
    start(argv, '')
    run(compile(source, filename, 'exec', dont_inherit=True), __loader__=importlib.machinery.BuiltinImporter)


def fail(message: str, status: int):
    print(f'{sys.executable}: {message}', file=sys.stderr)
    raise SystemExit(status)


def without_runner(error: BaseException) -> None:
    """Lets the interpreter report `error` as it would without this file: its frames are no part of the program."""
    report = sys.excepthook

    def excepthook(kind, value, traceback):
        while traceback is not None and traceback.tb_frame.f_code.co_filename in (__file__, '<frozen runpy>'):
            traceback = traceback.tb_next
        report(kind, value.with_traceback(traceback), traceback)

    sys.excepthook = excepthook
    if isinstance(error, ModuleNotFoundError) and own_name(error.name or ''):
        error.add_note(missing(error.name))


def main() -> None:
    """The command `flambeau`: runs the program that `sys.argv` names."""
    first, *rest = sys.argv[1:] or ['']
    try:
        if first in ('-h', '--help'):
            print(USAGE)
        elif first in ('-V', '--version'):
            print(f"flambeau {importlib.import_module('flambeau').__version__}")
        elif first == '-m' and rest:
            run_module(rest[0], rest[1:])
        elif first == '-c' and rest:
            run_text(rest[0], '<string>', ['-c', *rest[1:]])
        elif first == '-':
            run_text(sys.stdin.buffer.read(), '<stdin>', ['-', *rest])
        elif first and not first.startswith('-'):
            run_script(first, rest)
        else:
            print(USAGE, file=sys.stderr)
            raise SystemExit(2)
    except SystemExit:
        raise
    except BaseException as error:
        without_runner(error)
        raise


if __name__ == '__main__':
    main()
