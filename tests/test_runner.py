"""`python -m flambeau SCRIPT` against `python SCRIPT`: output, exit codes, and what torch means in the program."""
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import flambeau

ROOT = Path(flambeau.__file__).parents[1]


def run(*arguments, cwd, text=None):
    environment = os.environ | {'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=cwd, input=text, env=environment, text=True,
                          capture_output=True, timeout=60)


def outcome(*arguments, cwd, text=None):
    done = run(*arguments, cwd=cwd, text=text)
    return done.returncode, done.stdout, done.stderr


PLACE = """
import sys, pickle, inspect, __main__
class Point:
    x: int = 1
print(sys.argv, sys.path[0], __name__, __file__, __spec__, __package__, type(__loader__).__name__)
print(type(pickle.loads(pickle.dumps(Point()))) is Point, inspect.getsource(Point), __main__.Point is Point)
print(__builtins__, __doc__, sorted(globals()))
"""
PROGRAMS = {
    'place': PLACE,
    'annotations': 'def f(x: 1 + 1): pass\nprint(f.__annotations__)\n',
    'docstring': '"""What it does."""\nprint(__doc__)\n',
    'error': 'def f():\n    return 1 / 0\nf()\n',
    'chained error': 'try:\n    {}[1]\nexcept KeyError as e:\n    raise ValueError("outer") from e\n',
    'syntax error': 'x = 1\ny = = 2\n',
    'exit code': 'import sys\nsys.exit(7)\n',
    'exit text': 'raise SystemExit("farewell")\n',
    'exit none': 'import atexit\natexit.register(print, "at exit")\nraise SystemExit\n',
    'interrupt': 'import atexit\natexit.register(print, "at exit")\nraise KeyboardInterrupt\n',
    'hook': 'import sys, traceback\n'
            'sys.excepthook = lambda k, v, tb: print(k.__name__, [f.name for f in traceback.extract_tb(tb)])\n1 / 0\n',
    'encoding': '# -*- coding: latin-1 -*-\nprint(ascii("\xe9"))\n',
    'thread': 'import threading\nthreading.Thread(target=lambda: print(__name__)).start()\n',
}


@pytest.mark.parametrize('name', PROGRAMS)
def test_as_with_python(name, tmp_path):
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'folder' / 'program.py').write_text(PROGRAMS[name], encoding='latin-1')
    command = ('folder/program.py', 'a', '--b', '-c')
    assert outcome('-m', 'flambeau', *command, cwd=tmp_path) == outcome(*command, cwd=tmp_path)


def test_interrupt_ends_by_signal(tmp_path):
    (tmp_path / 'program.py').write_text(PROGRAMS['interrupt'])
    done = run('-m', 'flambeau', 'program.py', cwd=tmp_path)
    assert done.returncode in (-signal.SIGINT, 130) and done.stdout == 'at exit\n'


@pytest.mark.parametrize('command', [
    ['missing.py'], ['-m', 'missing'], ['-m', 'package'], ['-m', 'package.inner', 'x'], ['-m', 'runnable', '-c'],
    ['runnable', 'y'], ['-c', 'import sys; print(sys.argv)', 'z'], ['-', 'q']])
def test_ways_to_name_a_program(command, tmp_path):
    for folder in ('package', 'runnable'):
        (tmp_path / folder).mkdir()
    (tmp_path / 'package' / '__init__.py').touch()
    code = 'import sys\nprint(sys.argv, sys.path[0], __name__, __package__, __spec__ and __spec__.name)\n'
    (tmp_path / 'package' / 'inner.py').write_text(code)
    (tmp_path / 'runnable' / '__main__.py').write_text(code)
    expected, ours = (outcome(*way, *command, cwd=tmp_path, text=code) for way in ([], ['-m', 'flambeau']))
    assert ours == expected


def test_usage(tmp_path):
    status, output, errors = outcome('-m', 'flambeau', cwd=tmp_path)
    assert (status, output) == (2, '') and errors.startswith('usage: python -m flambeau SCRIPT')
    assert outcome('-m', 'flambeau', '--no-such-option', cwd=tmp_path)[0] == 2
    status, output, _ = outcome('-m', 'flambeau', '--help', cwd=tmp_path)
    assert status == 0 and output.startswith('usage:')
    assert outcome('-m', 'flambeau', '--version', cwd=tmp_path)[1] == f'flambeau {flambeau.__version__}\n'


def test_torch_is_flambeau(tmp_path):
    (tmp_path / 'torch.py').write_text('raise RuntimeError("not this one")')
    (tmp_path / 'program.py').write_text("""
import importlib.util, sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader
import flambeau, flambeau.utils.data
assert torch is flambeau and nn is flambeau.nn and F is flambeau.nn.functional
assert sys.modules['torch.nn'] is sys.modules['flambeau.nn'] and DataLoader is flambeau.utils.data.DataLoader
assert nn.__spec__.name == nn.__name__ == 'flambeau.nn'
assert importlib.util.find_spec('torch.nn') is not None and importlib.util.find_spec('torch.no_such') is None
try:
    import torch.no_such
except ModuleNotFoundError as error:
    assert error.name == 'torch.no_such' and str(error) == "No module named 'torch.no_such'"
print(torch.ones(2) + 1)
import torch.not_there.either
""")
    status, output, errors = outcome('-m', 'flambeau', 'program.py', cwd=tmp_path)
    assert output == 'tensor([2., 2.])\n', errors
    assert status == 1 and errors.splitlines()[-2:] == [
        "ModuleNotFoundError: No module named 'torch.not_there'", 'flambeau does not have torch.not_there yet.']
    assert 'flambeau/__main__.py' not in errors and 'runpy' not in errors


CHILDREN = """
import multiprocessing, subprocess, sys
import torch
from torch import nn

class Point:
    def __init__(self):
        self.value = torch.ones(2)

def child(queue, point):
    import torch.nn
    queue.put((torch.__name__, torch.nn is nn, type(point) is Point, point.value.tolist()))

if __name__ == '__main__':
    for method in sys.argv[1:]:
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        process = context.Process(target=child, args=(queue, Point()))
        process.start()
        print(queue.get(timeout=50))
        process.join()
    subprocess.run([sys.executable, '-c', 'import torch, torch.nn; print(torch.nn.__name__)'], check=True)
"""


def test_child_processes(tmp_path):
    methods = [name for name in ('spawn', 'forkserver') if sys.platform != 'win32' or name == 'spawn']
    (tmp_path / 'program.py').write_text(CHILDREN)
    status, output, errors = outcome('-m', 'flambeau', 'program.py', *methods, cwd=tmp_path)
    assert status == 0, errors
    assert output.splitlines() == ["('flambeau', True, True, [1.0, 1.0])"] * len(methods) + ['flambeau.nn']


def test_checkout_that_only_the_first_process_finds(tmp_path):
    """`python -m flambeau` from the folder of the package, which is on nobody's path."""
    script = tmp_path / 'program.py'
    script.write_text(CHILDREN)
    environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    done = subprocess.run([sys.executable, '-m', 'flambeau', script, 'spawn'], cwd=ROOT, env=environment, text=True,
                          capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["('flambeau', True, True, [1.0, 1.0])", 'flambeau.nn']
