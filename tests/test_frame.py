"""The frame's promises: one definition an operation, short calls, no cycles, a light import, deep graphs."""
import ast
import gc
import os
import pathlib
import subprocess
import sys
import tracemalloc
import weakref

import numpy as np
import pytest

import flambeau as torch
from flambeau.ops import load_all
from flambeau.ops.definition import OPERATIONS

ROOT = pathlib.Path(torch.__file__).parent
KINDS = {'elementwise', 'reduction', 'view', 'contraction', 'composite', 'opaque'}


class Watched(np.ndarray):
    """An array that notes, whenever array code computes with it, how many frames of the package lead there."""

    deepest = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        note_depth()
        return getattr(ufunc, method)(*[x.view(np.ndarray) if isinstance(x, Watched) else x for x in inputs], **options)


def note_depth():
    frame, depth = sys._getframe(2), 0
    while frame is not None:
        depth += frame.f_globals.get('__name__', '').startswith('flambeau') or frame.f_code.co_filename.startswith('<flambeau')
        frame = frame.f_back
    Watched.deepest = max(Watched.deepest, depth)


def watched_method(name):
    def method(self, *args, **options):
        note_depth()
        return getattr(self.view(np.ndarray), name)(*args, **options)
    return method


for name in ('dot', 'swapaxes', 'transpose', 'reshape', 'sum', 'mean', 'copy', 'astype'):
    setattr(Watched, name, watched_method(name))


def frames_until_array_code(call, tensor):
    call(tensor)
    watched = tensor.detach()
    watched._array = tensor._array.view(Watched)
    watched.requires_grad_(tensor.requires_grad)
    Watched.deepest = 0
    call(watched)
    assert Watched.deepest > 0, 'no array function was seen'
    return Watched.deepest


A, B = torch.ones(4, 4), torch.ones(4, 4)
G = torch.ones(4, 4, requires_grad=True)
SMALL = {
    'add': lambda x: x + B, 'mul by a number': lambda x: x * 2.0, 'exp': lambda x: x.exp(), 'sum': lambda x: x.sum(),
    'mean over a dimension': lambda x: x.mean(1), 'matmul': lambda x: x @ B, 'transpose': lambda x: x.transpose(0, 1),
    'view': lambda x: x.view(16), 'relu': lambda x: torch.relu(x), 'pow': lambda x: x ** 2}


@pytest.mark.parametrize('name', SMALL)
def test_a_small_call_takes_three_frames_four_with_a_gradient(name):
    assert frames_until_array_code(SMALL[name], A) <= 3
    assert frames_until_array_code(SMALL[name], G) <= 4


def test_every_operation_is_declared_once_in_one_file():
    load_all()
    places = {}
    for path in (ROOT / 'ops').glob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                places.setdefault(node.targets[0].id, set()).add(path.name)
    assert len(OPERATIONS) > 300
    for name, operation in OPERATIONS.items():
        assert operation.kind in KINDS
        module = operation.formula.__module__ or ''
        assert module.startswith('flambeau.ops.') or module.startswith('flambeau.'), name
        for gradient in operation.gradients.values():
            assert gradient.__module__.startswith('flambeau.ops.'), name


def test_formulas_of_pointwise_reductions_and_composites_take_the_math_namespace():
    load_all()
    for operation in OPERATIONS.values():
        assert operation.formula.__code__.co_varnames[0] == 'm', operation.name


def test_backends_name_no_operation():
    load_all()
    words = set()
    for path in (ROOT / 'backends').rglob('*.py'):
        if path.name in ('render.py', 'native.py'):  # whose words are LLVM's
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                words.add(node.name)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                words.add(node.value)
    assert not words & set(OPERATIONS)


def test_import_is_light(tmp_path):
    """Beside NumPy and ml_dtypes, which take what they take, the import costs less than 0.1 s."""
    code = ('import sys, time, numpy, ml_dtypes; t = time.perf_counter(); import flambeau; t = time.perf_counter() - t; '
            'print(t, *(m for m in ("scipy", "llvmlite", "tqdm", "multiprocessing", "matplotlib", "torch") '
            'if m in sys.modules))')
    environment = {k: v for k, v in os.environ.items() if k != 'PYTHONDONTWRITEBYTECODE'}
    environment |= {'PYTHONPYCACHEPREFIX': str(tmp_path), 'PYTHONPATH': str(ROOT.parent)}
    runs = [subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, env=environment)
            .stdout.split() for _ in range(6)]  # the first one compiles
    assert all(run[1:] == [] for run in runs), 'importing loads something heavy'
    assert min(float(run[0]) for run in runs) < 0.1


def test_a_chain_of_a_million_operations_runs_backward():
    x = torch.ones(2, requires_grad=True)
    y = x
    for _ in range(1_000_000):
        y = y + 1
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]
    del y


def test_graphs_go_without_the_cycle_collector():
    gc.collect()
    gc.disable()
    try:
        x = torch.ones(10, requires_grad=True)
        y = (x * 2).exp().softmax(0)[2:].sum()
        node = weakref.ref(y.grad_fn)
        y.backward()
        del y
        assert node() is None
        z = torch.sigmoid(x.view(2, 5).t() @ torch.ones(2, 3, requires_grad=True)).std()
        node = weakref.ref(z.grad_fn)
        del z
        assert node() is None
    finally:
        gc.enable()


def test_memory_of_a_training_loop_is_flat():
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, y = torch.randn(16, 4), torch.randn(16, 1)

    def train(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
    tracemalloc.start()
    try:
        train(4000)  # the free lists of Python itself fill up
        before = tracemalloc.get_traced_memory()[0]
        train(1000)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 10_000
