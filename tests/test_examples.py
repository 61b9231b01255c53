"""The examples run as a newcomer runs them, without torch."""
import os
import pathlib
import subprocess
import sys

import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parent.parent / 'examples'


def run(tmp_path, name, *arguments):
    environment = os.environ | {'PYTHONPATH': str(EXAMPLES.parent), 'MPLBACKEND': 'Agg'}
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
    ('digits.py', ('sklearn', 'matplotlib'), 'digits.png', 'accuracy on 359 digits'),
    ('language.py', ('matplotlib',), 'language.png', 'def '),
    ('audio.py', ('matplotlib',), 'audio.png', 'from spectra')])
def test_examples_with_pictures(tmp_path, name, needs, picture, words):
    for module in needs:
        pytest.importorskip(module)
    done = run(tmp_path, name, '--quick')
    assert done.returncode == 0, done.stderr
    assert words in done.stdout and (tmp_path / picture).stat().st_size > 1000
