"""The examples run as a newcomer runs them, without torch."""
import os
import pathlib
import re
import subprocess
import sys

import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parent.parent / 'examples'


def run(tmp_path, name, *arguments, first=()):
    """Runs an example; modules are looked for in the folders `first` before any other."""
    paths = os.pathsep.join(map(str, [*first, EXAMPLES.parent]))
    environment = os.environ | {'PYTHONPATH': paths, 'MPLBACKEND': 'Agg'}
    return subprocess.run([sys.executable, '-m', 'flambeau', str(EXAMPLES / name), *arguments], cwd=tmp_path,
                          env=environment, capture_output=True, text=True, timeout=300)


def test_the_article_runs_as_printed_and_warns_once(tmp_path):
    done = run(tmp_path, 'article.py')
    assert done.returncode == 0 and done.stdout == ''
    assert done.stderr.count('Warning') == 1 and '(3,)' in done.stderr and '(3, 1)' in done.stderr


def test_the_device_falls_back_to_the_cpu(tmp_path):
    done = run(tmp_path, 'cuda.py')
    assert done.returncode == 0 and done.stdout.startswith('computing on cpu')


def test_a_layer_of_ones_own(tmp_path):
    done = run(tmp_path, 'custom_layer.py', '--quick')
    assert done.returncode == 0 and 'CustomConv2d(1, 4, kernel_size=3)' in done.stdout


@pytest.mark.parametrize('name, needs, picture, words', [
    ('digits.py', ('sklearn', 'matplotlib'), 'digits.png', r'never saw: (9\d|100)\.\d%'),
    ('language.py', ('matplotlib',), 'language.png', '\ndef '),
    ('audio.py', ('matplotlib',), 'audio.png', 'from spectra: ')])
def test_examples_with_pictures(tmp_path, name, needs, picture, words):
    for module in needs:
        pytest.importorskip(module)
    done = run(tmp_path, name, '--quick')
    assert done.returncode == 0, done.stderr
    assert re.search(words, done.stdout) and (tmp_path / picture).stat().st_size > 1000


@pytest.mark.parametrize('name', ['digits.py', 'language.py', 'audio.py'])
def test_a_missing_extra_is_named_with_its_command(tmp_path, name):
    (tmp_path / 'matplotlib.py').write_text("raise ModuleNotFoundError(\"No module named 'matplotlib'\")")
    done = run(tmp_path, name, '--quick', first=[tmp_path])
    assert done.returncode == 1
    assert done.stderr == "No module named 'matplotlib': this example needs pip install 'flambeau[examples]'\n"


def test_a_number_of_steps_is_positive(tmp_path):
    pytest.importorskip('matplotlib')
    done = run(tmp_path, 'language.py', '--steps', '0')
    assert done.returncode == 2 and '--steps must be at least 1' in done.stderr
