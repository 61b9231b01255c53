"""Builds kernels: text to object code to a function of Python's, kept in memory and on disk.

On disk a kernel is keyed by its generator, arguments, this package's text, the processor and LLVM's version; each file
carries a checksum, and whatever does not fit is built anew. Knows no kernel and no operation.
"""
from __future__ import annotations

import functools
import hashlib
import os
import sys
import tempfile
import threading
from pathlib import Path

from . import launch, memory
from .entry import builtin, entry_text, register_symbols
from .properties import jit_is_on, processor, target
from .render import module_text
from .replay import launched

__all__ = ['built', 'compiled', 'kernel_text', 'shown', 'runtime_builtins', 'cache_directory']

_lock = threading.RLock()
_made = {}
_debug = int(os.environ.get('FLAMBEAU_DEBUG') or 0)


def compiled(generator, *arguments):
    """The function that runs the kernel `generator(target, *arguments)` writes; its arguments are arrays and numbers.

    The generator returns a finished `Function`; `arguments` must have a repr that says all there is to know of them.
    What keeps the function for later must take it from `built`.
    """
    return launched(built(generator, *arguments))


def built(generator, *arguments):
    """The function itself, whose calls tell nobody."""
    key = (generator, arguments)
    found = _made.get(key)
    if found is None:
        with _lock:
            found = _made.get(key)
            if found is None:
                found = _made[key] = _build(generator, arguments)
    return found


def _build(generator, arguments):
    if not jit_is_on():
        raise RuntimeError('kernels are switched off (FLAMBEAU_JIT=0), or llvmlite is missing: pip install llvmlite')
    machine = _machine()
    memory.install(machine.runtime)  # in whatever thread the kernel is wanted
    label = f'{generator.__module__}.{generator.__qualname__}{arguments!r}'
    if not generator.__module__.startswith(__package__.partition('.')[0] + '.'):  # its text is not among the package's
        label += hashlib.sha256(Path(generator.__code__.co_filename).read_bytes()).hexdigest() \
            if os.path.exists(generator.__code__.co_filename) else os.urandom(8).hex()
    path = _path(label)
    found = _read(path)
    if found is None:
        name, text = kernel_text(generator, *arguments)
        code = _object(text, machine)
        _write(path, name, code)
    else:
        name, code = found
    if _debug:
        sys.stderr.write(f'flambeau: kernel {label} {"built" if found is None else "loaded"}, {len(code)} bytes\n')
    return _loaded(name, code, machine)


def kernel_text(generator, *arguments):
    """(the kernel's name in its module, the module's LLVM text)."""
    function = generator(target(), *arguments)
    if _debug >= 3:
        sys.stderr.write(f'{function}\n')
    unique = hashlib.sha256(repr((generator.__module__, generator.__qualname__, arguments)).encode()).hexdigest()[:12]
    function.name = f'kernel_{function.name}_{unique}'
    text = module_text([function], target(), entry_text(function))
    if _debug >= 4:
        sys.stderr.write(text)
    return function.name, text


# ---- LLVM

class _Machine:
    """LLVM's target machine, and the engine that holds all code loaded. Never freed: code may run as long as Python
    does.
    """

    def __init__(self):
        import llvmlite.binding as llvm
        self.llvm = llvm
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        name, features = processor()
        triple = llvm.get_process_triple()
        self.made = functools.partial(llvm.Target.from_triple(triple).create_target_machine, cpu=name,
                                      features=features, opt=2, reloc='default', codemodel='jitdefault', jit=True)
        self.target_machine = self.made()
        self.engine = self.new_engine()
        self.loaded = []
        register_symbols()
        launch.start(self.runtime)

    def new_engine(self):
        seed = self.llvm.parse_assembly('')
        seed.triple = self.target_machine.triple
        return self.llvm.create_mcjit_compiler(seed, self.made())

    def runtime(self, program):
        """The engine that holds a module of the kernels' surroundings: LLVM's text, or what str() makes it of."""
        path = _path(repr(program))
        found = _read(path)
        if found is None:
            found = 'runtime', _object(str(program), self)
            _write(path, *found)
        engine = self.new_engine()
        object_file = self.llvm.ObjectFileRef.from_data(found[1])
        engine.add_object_file(object_file)
        engine.finalize_object()
        self.loaded += [object_file, engine]
        return engine


@functools.lru_cache(maxsize=None)
def _machine():
    return _Machine()


def _object(text, machine) -> bytes:
    """Object code of a module."""
    module = _optimised(text, machine)
    if _debug >= 5:
        sys.stderr.write(machine.target_machine.emit_assembly(module))
    return machine.target_machine.emit_object(module)


def _optimised(text, machine):
    """LLVM's module of a text. Kernels are vector code already: registers for variables are all that LLVM must find."""
    llvm = machine.llvm
    module = llvm.parse_assembly(text)
    module.triple = machine.target_machine.triple
    module.data_layout = str(machine.target_machine.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    builder = llvm.create_pass_builder(machine.target_machine, options)
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.run(module, builder)
    return module


def shown(name, what) -> str:
    """A kernel built before, by its name: as 'kernel' language, 'llvm' text or 'assembly'."""
    generator, arguments = next(key for key, function in _made.items() if function.__name__ == name)
    if what == 'kernel':
        return str(generator(target(), *arguments))
    text = kernel_text(generator, *arguments)[1]
    return text if what == 'llvm' else _machine().target_machine.emit_assembly(_optimised(text, _machine()))


def _loaded(name, code, machine):
    """The function of Python's in an object file."""
    engine = machine.engine
    object_file = machine.llvm.ObjectFileRef.from_data(code)
    engine.add_object_file(object_file)
    engine.finalize_object()
    machine.loaded.append(object_file)
    address = engine.get_function_address('entry_' + name)
    if not address:
        raise RuntimeError(f'the kernel {name} was built but cannot be found')
    return builtin(name, address)


def runtime_builtins(program, names, symbols):
    """The builtin functions, by name, of a program (native.py) that calls the functions at the addresses `symbols`.
    """
    machine = _machine()
    for name, address in symbols.items():
        machine.llvm.add_symbol(name, address)
    engine = machine.runtime(program)
    return {name: builtin(name, engine.get_function_address(name)) for name in names}


# ---- on disk

@functools.lru_cache(maxsize=None)
def cache_directory():
    """The folder of compiled kernels (FLAMBEAU_CACHE, else the user's cache folder), or None where none can be written.
    """
    asked = os.environ.get('FLAMBEAU_CACHE')
    base = Path(asked) if asked else Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'flambeau'
    try:
        base.mkdir(parents=True, exist_ok=True, mode=0o700)
        state = base.stat()
    except (OSError, RuntimeError):
        return None
    if hasattr(os, 'getuid') and state.st_uid != os.getuid() or not os.access(base, os.W_OK):
        return None  # never run code that another user could have written
    return base


@functools.lru_cache(maxsize=None)
def _fingerprint() -> bytes:
    """What the text of all generators, the processor and LLVM come to."""
    import llvmlite
    digest = hashlib.sha256(repr((processor(), llvmlite.__version__, sys.version_info[:2], sys.platform)).encode())
    package = Path(__file__).parents[2]
    for folder in ('kernel', 'backends/cpu'):
        for file in sorted((package / folder).glob('*.py')):
            digest.update(file.read_bytes())
    return digest.digest()


def _path(label):
    folder = cache_directory()
    if folder is None:
        return None
    return folder / (hashlib.sha256(_fingerprint() + label.encode()).hexdigest()[:40] + '.kernel')


def _read(path):
    """(name, object code) from a file, or None where there is none or it is not whole."""
    if path is None:
        return None
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if len(content) < 33 or hashlib.sha256(content[32:]).digest() != content[:32]:
        return None
    name, _, code = content[32:].partition(b'\0')
    return name.decode(), code


def _write(path, name, code):
    """Puts a file in place whole or not at all; a full or read-only disk is no error."""
    if path is None:
        return
    content = name.encode() + b'\0' + code
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            temporary = file.name
            file.write(hashlib.sha256(content).digest() + content)
        os.replace(temporary, path)
    except OSError:
        if temporary is not None:
            try:
                os.unlink(temporary)
            except OSError:
                pass
