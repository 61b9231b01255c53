"""Runs a benchmark's `measure(library)` under flambeau and, where it is installed, PyTorch, each in a process of its own."""
import importlib.util
import subprocess
import sys


def measure_each(file, measure):
    """measure('flambeau') and measure('torch') for the script `file`, or the one that its command line names."""
    if len(sys.argv) > 1:
        return measure(sys.argv[1])
    for library in ('flambeau', 'torch'):
        if importlib.util.find_spec(library):
            subprocess.run([sys.executable, file, library], check=True)
        else:
            print(f'{library} is not installed here')
