"""Tensors: creation, promotion, views and storage, NumPy and DLPack, copies, `out=`, writing in place, subclasses.

The tables in data/tensor hold one expression a line, a tab, and what PyTorch 2.13 makes of it: values with dtype, shape
and strides, or the error it raises. Where PyTorch is installed the tables themselves are held against it.
"""
import copy
import inspect
import itertools
import math
import operator
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest

import flambeau

TABLES = {path.stem: [line.split('\t') for line in path.read_text().splitlines()]
          for path in sorted((pathlib.Path(__file__).parent / 'data' / 'tensor').glob('*.txt'))}
NAMES = ['bool', 'uint8', 'int8', 'int16', 'int32', 'int64', 'float16', 'bfloat16', 'float32', 'float64', 'complex64',
         'complex128']


def described(value, torch):
    """A value as text: tensors with all that can be told of them, everything else by its class and text."""
    if isinstance(value, torch.Tensor):
        plain = value.detach().float() if value.dtype is torch.bfloat16 else value.detach()
        told = f'{type(value).__name__} {value.dtype} {list(value.shape)} {list(value.stride())} {plain.numpy().tolist()}'
        return told + ' requires_grad' * value.requires_grad
    if isinstance(value, (list, tuple)):
        return f'{type(value).__name__}({", ".join(described(v, torch) for v in value)})'
    if isinstance(value, np.ndarray):
        return f'ndarray {value.dtype} {list(value.shape)} {value.tolist()}'
    return f'{type(value).__name__} {value}'


def outcome(source, torch):
    """What the expression, or the statements that set `r`, come to: the described value, or the exception."""
    scope = {'torch': torch, 'np': np, 'copy': copy, 'pickle': pickle, 'operator': operator, 'math': math, 'NAMES': NAMES}
    try:
        if '; ' in source:
            exec(source.replace('; ', '\n'), scope)
            return described(scope['r'], torch)
        return described(eval(source, scope), torch)
    except Exception as error:
        return error


def raises(found, expected):
    return isinstance(found, Exception) and expected in [f'error {c.__name__}' for c in type(found).__mro__]


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('table', TABLES)
def test_expressions_give_what_pytorch_gives(table):
    wrong = []
    for source, expected in TABLES[table]:
        found = outcome(source, flambeau)
        if found != expected and not raises(found, expected):
            wrong.append(f'{source}\n  expected {expected}\n  found    {found!r}')
    assert not wrong, '\n' + '\n'.join(wrong)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('table', TABLES)
def test_tables_hold_in_pytorch(table):
    torch = pytest.importorskip('torch')
    for source, expected in TABLES[table]:
        found = outcome(source, torch)
        assert found == expected or raises(found, expected), source


# ---- type promotion

NUMBERS = {'True': True, '2': 2, '2.5': 2.5, '2j': 2j}
PAIRED = {
    'add': lambda torch, a, b: torch.add(a, b), 'mul': lambda torch, a, b: a * b, 'div': lambda torch, a, b: a / b,
    'sub': lambda torch, a, b: a - b, 'pow': lambda torch, a, b: a ** b, 'reflected': lambda torch, a, b: b + a,
    'lt': lambda torch, a, b: a < b, 'eq': lambda torch, a, b: a == b,
    'where': lambda torch, a, b: torch.where(torch.tensor([True, False]), a, b),
    'cat': lambda torch, a, b: torch.cat([a.reshape(-1), b.reshape(-1)]),
    'add_': lambda torch, a, b: a.add_(b), 'div_': lambda torch, a, b: a.div_(b), 'mul_': lambda torch, a, b: a.mul_(b)}


def dtype_or_error(function, torch, left, right):
    def operand(what):
        return NUMBERS[what[0]] if what[1] is None else torch.full(what[1], 1, dtype=getattr(torch, what[0]))
    try:
        return str(function(torch, operand(left), operand(right)).dtype)
    except (RuntimeError, TypeError, AttributeError):
        return 'refused'


@pytest.mark.parametrize('name', PAIRED)
def test_promotion_of_all_pairs_is_pytorchs(name):
    torch = pytest.importorskip('torch')
    tensors = list(itertools.product(NAMES, [(2,), ()]))
    for left, right in itertools.product(tensors, [*tensors, *((n, None) for n in NUMBERS)]):
        expected = dtype_or_error(PAIRED[name], torch, left, right)
        if name == 'cat' and right[1] is None or 'float16' in (left[0], right[0]) and \
                ('complex' in left[0] + right[0] or '2j' == right[0]):
            continue  # complex32 is not a dtype here
        if name == 'pow' and 'bool' in left[0] and right[0] in ('bool', 'True'):
            continue  # NumPy has a power of bools
        assert dtype_or_error(PAIRED[name], flambeau, left, right) == expected, (left, right)


# ---- sharing memory with others

@pytest.mark.parametrize('dtype', [n for n in NAMES if n != 'bfloat16'])
def test_dlpack_shares_memory_both_ways(dtype):
    ours = flambeau.ones(2, 3, dtype=getattr(flambeau, dtype)).t()
    theirs = np.from_dlpack(ours)
    assert theirs.shape == (3, 2) and theirs.ctypes.data == ours.data_ptr() and theirs.strides == ours.numpy().strides
    array = np.zeros((2, 3), ours.numpy().dtype)
    tensor = flambeau.from_dlpack(array[:, 1:])
    tensor.fill_(1)
    assert array.tolist() == [[0, 1, 1]] * 2
    torch = pytest.importorskip('torch')
    theirs = torch.from_dlpack(ours)
    theirs[0, 0] = 0
    assert str(theirs.dtype) == str(ours.dtype) and ours[0, 0] == 0 and theirs.stride() == ours.stride()
    back = flambeau.from_dlpack(theirs)
    assert back.data_ptr() == ours.data_ptr() and flambeau.equal(back, ours)


def test_arrays_and_tensors_share_what_numpy_protocols_say():
    x = flambeau.zeros(3)
    assert np.asarray(x).ctypes.data == x.data_ptr() and np.array(x).ctypes.data != x.data_ptr()
    assert np.array(x, copy=False).ctypes.data == x.data_ptr()
    assert x.__array__(np.float64).dtype == np.float64
    with pytest.raises(ValueError, match='copy'):
        np.array(x, np.float64, copy=False)
    assert type(np.ones(3) + x) is flambeau.Tensor and type(x + np.ones(3)) is flambeau.Tensor
    base = np.zeros((3, 2))
    flambeau.from_numpy(base.T)[0, 1] = 5
    assert base[1, 0] == 5


def test_writes_through_views_of_complex_numbers():
    z = flambeau.zeros(2, 2, dtype=flambeau.complex64)
    z.real[0] = 1
    z.imag = flambeau.ones(2, 2)
    flambeau.view_as_real(z)[1, 1] = 7
    assert z.tolist() == [[1 + 1j, 1 + 1j], [1j, 7 + 7j]] and z._version == 3


# ---- the geometry of a tensor changed in place

def test_gradients_flow_through_a_geometry_changed_in_place():
    x = flambeau.arange(6.).reshape(2, 3).requires_grad_()
    y = x * 2
    row = y[0]
    y.t_()
    row.mul_(5)
    (y * flambeau.arange(6.).reshape(3, 2)).sum().backward()
    assert x.grad.tolist() == [[0, 20, 40], [2, 6, 10]]
    assert y.shape == (3, 2) and y.is_contiguous() is False
    with pytest.raises(RuntimeError, match='leaf'):
        x.t_()
    assert x.shape == (2, 3)


def test_a_view_whose_geometry_changes_stays_a_view():
    x = flambeau.zeros(2, 3)
    row = x[0]
    row.unsqueeze_(0).add_(1)
    assert x.tolist() == [[1, 1, 1], [0, 0, 0]] and row.shape == (1, 3) and row._base is x


# ---- copies

def test_copies_keep_what_is_shared_shared():
    base = flambeau.arange(6.).reshape(2, 3)
    for duplicate in (copy.deepcopy, lambda values: pickle.loads(pickle.dumps(values))):
        whole, part, same = duplicate([base, base[:, 1:], base])
        part[0, 0] = 100
        assert whole[0, 1] == 100 and base[0, 1] == 1 and same is whole and part.stride() == (3, 1)


def test_copies_of_leaves_keep_gradients_attributes_and_class():
    x = flambeau.nn.Parameter(flambeau.ones(2))
    (x * 3).sum().backward()
    x.note = ['kept']
    made = copy.deepcopy(x)
    assert type(made) is flambeau.nn.Parameter and made.requires_grad and made.grad.tolist() == [3, 3]
    assert made.grad.data_ptr() != x.grad.data_ptr() and made.note == ['kept'] and made.note is not x.note
    loaded = pickle.loads(pickle.dumps(x))
    assert type(loaded) is flambeau.nn.Parameter and loaded.requires_grad and loaded.note == ['kept']
    with pytest.raises(RuntimeError, match='graph leaves'):
        copy.deepcopy(x * 2)


# ---- classes

def logging_class(torch, log):
    class Logged(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            log.append(func.__name__)
            return super().__torch_function__(func, types, args, kwargs or {})
    return Logged


def calls_are_logged(torch):
    log = []
    x = torch.ones(2).as_subclass(logging_class(torch, log))
    results = x + 1, torch.exp(x), x.sum(), x.view(2, 1), x.add_(1), torch.cat([x, x]), x[0], 2 * x, torch.ones(2) - x
    return [type(r).__name__ for r in results], log


def handlers_are_found_by_function(torch):
    """The usual table from functions to handlers, for a subclass and for a class of its own."""
    handled = {}

    class Foreign:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return handled.get(func, 'not handled')

    class Sub(torch.Tensor):
        __torch_function__ = Foreign.__torch_function__
    f, s = Foreign(), torch.ones(2).as_subclass(Sub)
    calls = [(torch.add, (2,)), (torch.exp, ()), (torch.sum, ()), (torch.mean, (0,)), (torch.max, ()), (torch.max, (0,)),
             (torch.var, ()), (torch.std, ()), (torch.clamp, (0, 1)), (torch.div, (2,)), (torch.matmul, (s,)), (torch.equal, (s,)),
             (torch.mm, (s,)), (torch.zeros_like, ()), (torch.transpose, (0, 1)), (torch.where, (s, s)),
             (torch.nn.functional.linear, (s,))]
    handled.update((function, function.__name__) for function, _ in calls)
    handled.update({torch.cat: 'cat', torch.stack: 'stack'})
    return [[function(x, *more) for function, more in calls] + [torch.cat([torch.ones(1), x]), torch.stack((x,))]
            for x in (f, s)] == [[function.__name__ for function, _ in calls] + ['cat', 'stack']] * 2


def functions_of_networks_ask(torch):
    """What is told of the arguments: those without a default, and others that are given."""
    F, asked = torch.nn.functional, []

    class Foreign:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            asked.append((func, len(args)))
            return func.__name__
    f, x = Foreign(), torch.ones(2, 3)
    calls = [(F.mse_loss, f, x), (F.mse_loss, x, f), (F.cross_entropy, x, f), (F.layer_norm, f, (3,)), (F.embedding, x, f),
             (F.batch_norm, f, x[0], x[0]), (F.group_norm, f, 1), (torch.einsum, 'ij,jk', x, f), (torch.dot, x, f),
             (torch.tensordot, f, x), (torch.linalg.solve, x, f), (torch.fft.fft, f), (torch.special.polygamma, 1, f),
             (torch.is_floating_point, f), (F.softmax, f), (F.binary_cross_entropy, x, f), (torch.meshgrid, f, f),
             (F.l1_loss, f, f), (F.dropout, f), (torch.linalg.multi_dot, [x, f]), (torch.repeat_interleave, f, 2)]
    names = [function(*arguments) for function, *arguments in calls]
    given = [arguments for _, *arguments in calls]
    return names == [function.__name__ for function, *_ in calls], [f for f, _ in asked] == [f for f, *_ in calls], \
        x.equal(torch.ones(2, 3)), len(given)


def results_of_networks_functions_keep_the_class(torch):
    class Kept(torch.Tensor):
        pass
    F = torch.nn.functional
    x, target = Kept(torch.rand(2, 3)), torch.tensor([0, 1])
    results = [F.mse_loss(x, x * 2), F.cross_entropy(x, target), F.layer_norm(x, (3,)), F.embedding(target, x), F.linear(x, x),
               F.batch_norm(x, None, None, training=True), torch.einsum('ij,kj->ik', x, torch.ones(2, 3)), F.dropout(x),
               torch.fft.fft(x), torch.linalg.norm(x), torch.tensordot(x, x), F.softmax(x, 1), torch.stack([x, torch.ones(2, 3)]),
               F.one_hot(target).to(x.dtype) + x[:, :2], torch.max(x, 1).values, torch.nn.Linear(3, 1)(x), torch.std(x),
               F.conv1d(x[None], torch.ones(1, 2, 1)), F.max_pool1d(x[None], 2), torch.nn.functional.pad(x, (1, 1))]
    return [type(r).__name__ for r in results]


def plain_subclasses_stay_what_they_are(torch):
    class Kept(torch.Tensor):
        def doubled(self):
            return self * 2
    x = Kept([1., 2.])
    results = [x, x + 1, 1 + x, torch.ones(2) + x, x.view(2, 1), x[0], x.add_(1), x.sum(), x.t(), torch.stack([x, x]),
               x.clone(), x.detach(), x.to(torch.float64), x.max(0)[0], x.split(1)[0], x.data, torch.zeros_like(x),
               x.new_zeros(2), x == x, torch.relu(x), x.long(), x.expand(2, 2), x.reshape(-1), copy.copy(x)]
    y = x
    y += 1
    y[0] = 7
    return [type(r).__name__ for r in results], (x + 1).doubled().tolist(), y is x, type(y).__name__


def the_more_special_class_answers(torch):
    class A(torch.Tensor):
        pass

    class B(A):
        pass

    class C(torch.Tensor):
        pass
    a, b, c = A([1.]), B([1.]), C([1.])
    try:
        a + c
    except TypeError:
        refused = True
    return type(a + b).__name__, type(torch.add(b, a)).__name__, refused


def gradients_flow_through_subclasses(torch):
    class Kept(torch.Tensor):
        pass
    x = torch.ones(2, requires_grad=True)
    y = (x * 2).as_subclass(Kept)
    (y * 3).sum().backward()
    z = Kept([1.]).requires_grad_()
    (z * 2).sum().backward()
    return x.grad.tolist(), z.grad.tolist(), y.is_leaf


def foreign_classes_answer(torch):
    class Foreign:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return func.__name__, len(args), sorted(kwargs or {}), [t.__name__ for t in types]

    class Silent:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return NotImplemented
    x = Foreign()
    try:
        torch.add(Silent(), 1)
    except TypeError as error:
        refused = '__torch_function__' in str(error)
    return (torch.add(x, 1), torch.add(torch.ones(1), x, alpha=2), torch.ones(1) * x, torch.exp(x), refused)


def parameters(torch):
    p = torch.nn.Parameter(torch.ones(2))

    class Kept(torch.Tensor):
        pass

    class Own(torch.nn.Parameter):
        pass
    kept, own = torch.nn.Parameter(Kept([1.])), Own(torch.ones(1))
    results = p + 1, p.detach(), p.data, p.clone(), p.view(2, 1), copy.deepcopy(p), p.to(torch.float32), p.double()
    return ([type(r).__name__ for r in results], type(kept).__name__, isinstance(kept, torch.nn.Parameter),
            kept.requires_grad, type(own).__name__, isinstance(own, torch.nn.Parameter), type(own + 1).__name__,
            isinstance(torch.ones(1), torch.nn.Parameter), torch.nn.Parameter(torch.ones(1) * 2, False).requires_grad)


CLASSES = {
    calls_are_logged: (['Logged'] * 9, ['add', 'exp', 'sum', 'view', 'add_', 'cat', '__getitem__', 'mul', 'sub']),
    handlers_are_found_by_function: True,
    functions_of_networks_ask: (True, True, True, 21),
    results_of_networks_functions_keep_the_class: ['Kept'] * 20,
    plain_subclasses_stay_what_they_are: (['Kept'] * 24, [16, 10], True, 'Kept'),
    the_more_special_class_answers: ('B', 'B', True),
    gradients_flow_through_subclasses: ([6, 6], [2], False),
    foreign_classes_answer: (('add', 2, [], ['Foreign']), ('add', 2, ['alpha'], ['Foreign']), ('mul', 2, [], ['Foreign']),
                             ('exp', 1, [], ['Foreign']), True),
    parameters: (['Tensor', 'Tensor', 'Tensor', 'Tensor', 'Tensor', 'Parameter', 'Parameter', 'Tensor'], 'Kept', True, True,
                 'Own', True, 'Tensor', False, False)}


@pytest.mark.parametrize('program', CLASSES, ids=lambda p: p.__name__)
def test_classes_of_tensors(program):
    assert program(flambeau) == CLASSES[program]


@pytest.mark.parametrize('program', CLASSES, ids=lambda p: p.__name__)
def test_classes_of_tensors_in_pytorch(program):
    assert program(pytest.importorskip('torch')) == CLASSES[program]


class Foreign:
    """Answers with the function it is asked about."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return func


WITHOUT_TENSORS = frozenset("""broadcast_shapes einsum tensor as_tensor asarray from_numpy frombuffer from_dlpack scalar_tensor
    zeros ones empty full empty_strided empty_permuted arange range linspace logspace eye tril_indices triu_indices rand
    randn randint randperm normal bartlett_window blackman_window hann_window hamming_window kaiser_window fftfreq rfftfreq
    cat concat concatenate stack""".split())  # or asked otherwise, as in the programs above


def test_every_public_function_asks_the_classes_of_its_tensors():
    from flambeau.ops import load_all
    from flambeau.ops.definition import EXPORTS
    load_all()
    silent = []
    for namespace in ('torch', 'nn.functional', 'linalg', 'fft', 'special', 'masked'):
        for name, function in EXPORTS[namespace].items():
            operation = getattr(function, 'operation', None)
            parameters = list(inspect.signature(operation.formula if operation else function).parameters.values())
            required = [p for p in parameters[bool(operation):] if p.default is p.empty and p.kind < p.VAR_POSITIONAL]
            if name not in WITHOUT_TENSORS and not name.startswith('_'):
                try:
                    answer = function(*[Foreign()] * max(len(required), 1))
                except (TypeError, AttributeError, ValueError) as error:
                    answer = error
                if answer is not function:
                    silent.append((namespace, name, answer))
    assert not silent


# ---- methods of families that are loaded when asked for

def fresh(code):
    """What a new interpreter prints."""
    return subprocess.run([sys.executable, '-c', 'import flambeau as torch\n' + inspect.cleandoc(code)], check=True,
                          capture_output=True, text=True).stdout.split()


def test_rare_methods_are_found_on_the_class_and_on_tensors():
    assert fresh("""
        print(torch.Tensor.sort(torch.tensor([2, 1])).values.tolist() == [1, 2])
        print(hasattr(torch.Tensor, 'no_such_method'), hasattr(torch.ones(1), 'no_such_method'))
        print(hasattr(torch.nn.Parameter, 'kthvalue'))""") == ['True', 'False', 'False', 'True']
    assert fresh("print(torch.tensor([2, 1]).sort().values.tolist() == [1, 2], torch.is_tensor(torch.ones(1)))") == \
        ['True', 'True']


def test_the_default_dtype_rules_what_floats_become():
    assert fresh("""
        torch.set_default_dtype(torch.float64)
        made = (torch.ones(1), torch.tensor([1.]), torch.arange(1.), torch.tensor(1) / 2, torch.tensor([1]).sqrt(),
                torch.Tensor([1]), torch.linspace(0, 1, 2), torch.full((1,), 1.), torch.rand(1), torch.eye(2))
        print({t.dtype for t in made} == {torch.float64}, torch.tensor(1j).dtype is torch.complex128)
        try:
            torch.set_default_dtype(torch.int32)
        except TypeError:
            print(torch.get_default_dtype())""") == ['True', 'True', 'torch.float64']


# ---- versions

def test_versions_count_writes_and_are_shared_by_views():
    x = flambeau.zeros(2)
    views = x.view(1, 2), x.detach(), x[0]
    steps = [lambda: x.add_(1), lambda: operator.setitem(x, 0, 2), lambda: x.copy_(flambeau.ones(2)), lambda: x.zero_(),
             lambda: x.view(1, 2).mul_(2), lambda: flambeau.add(x, 1, out=x), lambda: operator.iadd(x, 1),
             lambda: x.detach().add_(1), lambda: x.uniform_(), lambda: x.masked_fill_(x > 0, 1),
             lambda: x.index_add_(0, flambeau.tensor([0]), flambeau.ones(1)), lambda: x.unsqueeze_(0)]
    for count, step in enumerate(steps, 1):
        step()
        assert x._version == count and all(v._version == count for v in views)
    assert x.data._version == 0 and x.clone()._version == 0
