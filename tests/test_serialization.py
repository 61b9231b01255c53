"""Files of PyTorch, hostile files, and what comes back of what was saved. tests/data/*.pt were written by PyTorch."""
import argparse
import collections
import copy
import io
import os
import pickle
import random
import struct
import subprocess
import sys
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as torch
from flambeau import serialization
from flambeau.pickle_interpreter import Record
from flambeau.serialization import load, save
from flambeau.storage import root_of
from flambeau.tensor import Parameter, Size, Tensor, wrap

DATA = Path(__file__).parent / 'data'
CLEAR_ERRORS = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, AssertionError)
DTYPES = {name: getattr(torch, name) for name in (
    'float16 bfloat16 float32 float64 complex64 complex128 bool uint8 int8 int16 int32 int64 uint16 uint32 '
    'uint64').split()}


def shared(a: Tensor, b: Tensor) -> bool:
    return root_of(a._array) is root_of(b._array)


def same(a, b) -> bool:
    """Equal in class, structure and values; tensors also in dtype, strides and requires_grad."""
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor):
        return (a.dtype is b.dtype and a.shape == b.shape and (a.stride() == b.stride() or not a.numel())
                and a.requires_grad == b.requires_grad and a._array.tobytes() == b._array.tobytes())
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or a != a and b != b


def round_trip(value, **options):
    file = io.BytesIO()
    save(value, file, **options)
    file.seek(0)
    return load(file)


# ---- files of PyTorch -----------------------------------------------------------------------------------------

def values(tensor: Tensor):
    return tensor._array.tolist()


def test_containers_of_torch():
    loaded = load(DATA / 'containers.pt')
    base = [[0., 1., 2.], [3., 4., 5.]]
    expected = {
        'size': Size([2, 3]), 'device': torch.device('cuda', 1), 'dtype': torch.bfloat16, 'layout': torch.strided,
        'ordered': collections.OrderedDict([('b', 1), ('a', [])]), 'counter': collections.Counter('aab'),
        'nested': [(1, (2.5, None)), {'x': [True, False]}, {1, 2}], 'bytes': b'\x00\xff',
        'bytearray': bytearray(b'xy'), 'complex': 1 - 2j, 'big': -2**80, 'text': 'é\n', (1, 'key'): 'tuple key'}
    for key, value in expected.items():
        assert type(loaded[key]) is type(value) and loaded[key] == value
    assert values(loaded['base']) == base and values(loaded['transposed']) == np.transpose(base).tolist()
    assert loaded['transposed'].stride() == (1, 3) and loaded['expanded'].stride() == (0,)
    assert values(loaded['row']) == base[1] and values(loaded['expanded']) == [0.] * 4
    assert all(shared(loaded['base'], loaded[key]) for key in ('transposed', 'row', 'expanded', 'parameter'))
    loaded['row']._array[0] = 9
    assert values(loaded['transposed'])[0][1] == 9
    assert loaded['scalar'].shape == () and values(loaded['scalar']) == 2.5
    assert loaded['empty'].shape == (0, 3) and loaded['empty'].dtype is torch.int64
    assert type(loaded['parameter']) is type(loaded['frozen']) is Parameter
    assert loaded['parameter'].requires_grad and not loaded['frozen'].requires_grad
    assert type(loaded['requires_grad']) is Tensor and loaded['requires_grad'].requires_grad
    assert values(loaded['conjugate']) == [1 - 2j]


@pytest.mark.parametrize('file', ['floats.pt', 'integers.pt'])
def test_dtypes_of_torch(file):
    for name, tensor in load(DATA / file).items():
        assert tensor.dtype is DTYPES[name]
        assert tensor._array.astype(complex).tolist() == ([0, 1, 1] if name == 'bool' else [0, 1, 3])


def test_attributes_of_torch():
    tensor, parameter = load(DATA / 'attributes.pt')
    assert (type(tensor), type(parameter), tensor.tag, parameter.tag) == (Tensor, Parameter, 'kept', 'kept')


def test_state_dicts_of_torch():
    state = load(DATA / 'state_dict.pt')
    assert {key: tuple(value.shape) for key, value in state.items()} == {
        '0.weight': (2, 3), '0.bias': (2,), '1.weight': (2,), '1.bias': (2,), '1.running_mean': (2,),
        '1.running_var': (2,), '1.num_batches_tracked': ()}
    assert type(state) is collections.OrderedDict and state._metadata['1'] == {'version': 2}
    optimizer = load(DATA / 'optimizer.pt')['optimizer']
    assert optimizer['param_groups'][0]['betas'] == (0.5, 0.75) and optimizer['param_groups'][0]['params'] == [0, 1]
    assert values(optimizer['state'][0]['step']) == 1. and values(optimizer['state'][0]['exp_avg']) == [[0.5, 0.5]]


def test_numpy_of_torch():
    loaded = load(DATA / 'numpy.pt')
    assert type(loaded['scalar']) is np.float32 and loaded['scalar'] == 1.5 and loaded['bool'] == np.True_
    assert loaded['array'].dtype.char == 'h' and loaded['array'].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert loaded['fortran'].flags.f_contiguous and loaded['fortran'].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert loaded['dtype'] == np.float32 and loaded['text'].tolist() == ['ab', 'c']
    assert loaded['bytes'].tolist() == [b'ab', b'c'] and loaded['empty'].shape == (0, 2) and loaded['complex'] == 1j
    assert np.dtype('i2').isnative  # the state of a foreign byte order must not reach NumPy's own dtype


def test_old_formats_of_torch():
    assert values(load(DATA / 'rebuild_tensor.pt')) == [1., 2.]
    legacy = load(DATA / 'legacy.pt')
    assert values(legacy['a']) == [0., 1., 2., 3.] and values(legacy['view']) == [1., 2.] and legacy['n'] == [1]
    assert shared(legacy['a'], legacy['view']) and legacy['half'].dtype is torch.float16
    assert values(load(DATA / 'protocol4.pt')['a']) == [0., 1., 2., 3.]


def test_whole_module_of_torch():
    with pytest.raises(pickle.UnpicklingError, match='GLOBAL torch.nn.modules.container.Sequential was not an allowed'):
        load(DATA / 'module.pt')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model = load(DATA / 'module.pt', weights_only=False)
    assert [type(layer) for layer in model] == [torch.nn.Linear, torch.nn.ReLU]
    assert model(wrap(np.ones((1, 2), np.float32))).shape == (1, 1)
    with serialization.safe_globals([torch.nn.Sequential, torch.nn.Linear, torch.nn.ReLU]):
        assert same(list(load(DATA / 'module.pt').state_dict().items()), list(model.state_dict().items()))


def test_torch_reads_whole_modules():
    reference = pytest.importorskip('torch')
    model, buffer = load(DATA / 'module.pt', weights_only=False), io.BytesIO()
    save(model, buffer)
    buffer.seek(0)
    theirs = reference.load(buffer, weights_only=False)
    assert repr(theirs) == repr(model)
    inputs = np.array([[1, 2], [-3, 4]], np.float32)
    assert np.allclose(theirs(reference.from_numpy(inputs)).detach(), model(wrap(inputs)).detach().numpy())


class Custom:
    pass


def test_unknown_class():
    message = r'(?s)GLOBAL __main__.Custom .*add_safe_globals\(\[__main__.Custom'
    with pytest.raises(pickle.UnpicklingError, match=message):
        load(DATA / 'custom_class.pt')
    with pytest.warns(UserWarning, match='__main__.Custom') as caught:
        loaded = load(DATA / 'custom_class.pt', weights_only=False)
    record = loaded['custom']
    assert len(caught) == 1 and type(record) is Record and values(loaded['a']) == [0., 1., 2., 3.]
    assert (record.module, record.name, record.args, record.state['name']) == ('__main__', 'Custom', (), 'custom')
    assert '__main__.Custom' in repr(record) and 'custom' in repr(record)
    with pytest.raises(AttributeError, match='safe_globals'):
        record.weight
    with pytest.raises(pickle.PicklingError, match='__main__.Custom'):
        save(loaded, io.BytesIO())
    assert repr(copy.deepcopy(record)) == repr(record)
    assert serialization.get_unsafe_globals_in_checkpoint(DATA / 'custom_class.pt') == ['__main__.Custom']
    with serialization.safe_globals([(Custom, '__main__.Custom')]):
        custom = load(DATA / 'custom_class.pt')['custom']
    assert type(custom) is Custom and custom.name == 'custom' and values(custom.weight) == [0., 1., 2.]
    assert serialization.get_safe_globals() == []


def test_safe_globals():
    options = argparse.Namespace(lr=0.5)
    with pytest.raises(pickle.UnpicklingError, match='GLOBAL argparse.Namespace'):
        round_trip(options)
    serialization.add_safe_globals([argparse.Namespace])
    try:
        assert serialization.get_safe_globals() == [argparse.Namespace] and round_trip(options) == options
    finally:
        serialization.clear_safe_globals()
    with pytest.raises(ValueError, match='length 2'):
        serialization.add_safe_globals([(Custom, 'a', 'b')])
    with pytest.raises(TypeError, match='Expected second item'):
        serialization.add_safe_globals([(Custom, 1)])


# ---- round trips -------------------------------------------------------------------------------------------------

@st.composite
def tensors(draw):
    """Tensors of any dtype and layout on a storage that may be larger."""
    kind = DTYPES[draw(st.sampled_from(sorted(DTYPES)))].numpy
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    bits = np.arange(1, int(np.prod(shape)) * kind.itemsize + 1, dtype=np.uint8)
    array = (bits % 2 if kind == bool else bits).view(kind).reshape(shape)
    array = array.transpose(draw(st.permutations(range(array.ndim))))
    for axis in range(array.ndim):
        if draw(st.booleans()):
            array = array[(slice(None),) * axis + (slice(draw(st.integers(0, 1)), None, draw(st.integers(1, 2))),)]
    tensor = wrap(array)
    if draw(st.booleans()) and array.dtype.kind in 'fc':
        return Parameter(tensor, draw(st.booleans()))
    return tensor


LEAVES = (st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers()
          | st.sampled_from(list(DTYPES.values())) | st.sets(st.integers()) | tensors())
KEYS = st.text() | st.integers() | st.booleans() | st.tuples(st.integers(), st.text())
OBJECTS = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner) | st.lists(inner).map(tuple)
                       | st.dictionaries(KEYS, inner).map(collections.OrderedDict), max_leaves=8)


@settings(max_examples=150, deadline=None)
@given(OBJECTS, st.sampled_from([{}, {'pickle_protocol': 5}, {'_use_new_zipfile_serialization': False}]))
def test_round_trip(value, options):
    assert same(round_trip(value, **options), value)


@settings(max_examples=30, deadline=None)
@given(tensors())
def test_pickle_keeps_tensors(tensor):
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert same(pickle.loads(pickle.dumps(tensor, protocol)), tensor)


def test_sharing_is_kept():
    base = np.arange(12, dtype=np.float32).reshape(3, 4)
    original = {'a': wrap(base), 'b': wrap(base.T[1:, ::2]), 'c': wrap(base.copy())}
    for loaded in (round_trip(original), round_trip(original, _use_new_zipfile_serialization=False),
                   pickle.loads(pickle.dumps(original))):
        assert same(loaded, original) and shared(loaded['a'], loaded['b']) and not shared(loaded['a'], loaded['c'])
    buffer = io.BytesIO()
    save(original, buffer)
    with zipfile.ZipFile(buffer) as archive:
        assert len(archive.read('archive/data/0')) == base.nbytes
    buffer.seek(0)
    again = io.BytesIO()
    save(load(buffer), again)
    assert buffer.getvalue() == again.getvalue()  # nothing grows or is reordered from one file to the next


def test_memory_that_is_no_whole_storage():
    records = np.zeros(3, np.dtype([('a', 'f4'), ('b', 'i2')]))
    records['a'] = 1, 2, 3
    reversed_rows = np.arange(3.)[::-1]
    assert values(round_trip(wrap(records['a']))) == [1., 2., 3.]
    assert values(round_trip(wrap(reversed_rows))) == [2., 1., 0.]
    memory = np.arange(4, dtype=np.int32)
    with pytest.raises(RuntimeError, match='view the same data as different types'):
        round_trip([wrap(memory), wrap(memory.view(np.float32))])


class Tagged(Tensor):
    pass


def test_subclass():
    tensor = wrap(np.ones(2)).as_subclass(Tagged)
    tensor.tag = {'x': 1}
    with serialization.safe_globals([Tagged]):
        loaded = round_trip(tensor)
    assert type(loaded) is Tagged and loaded.tag == {'x': 1} and values(loaded) == [1., 1.]


def test_storage_round_trip():
    typed = wrap(np.arange(3.)).storage()
    assert round_trip(typed).tolist() == [0., 1., 2.]
    assert round_trip(typed.untyped()).tolist() == typed.untyped().tolist()


# ---- the layout that PyTorch expects -----------------------------------------------------------------------------

def test_archive_layout(tmp_path):
    path = tmp_path / 'model.v1.pt'
    save({'weight': wrap(np.ones(5)), 'bias': wrap(np.zeros(1))}, path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = ['data.pkl', 'byteorder', 'data/0', 'data/1', 'version', '.data/serialization_id']
        assert archive.namelist() == [f'model.v1/{name}' for name in names]
        assert archive.read('model.v1/version') == b'3\n'
        assert archive.read('model.v1/byteorder').decode() == sys.byteorder
        content = path.read_bytes()
        for entry in archive.infolist():
            header = content[entry.header_offset:entry.header_offset + 30]
            assert (entry.header_offset + 30 + sum(struct.unpack('<HH', header[26:]))) % 64 == 0
            assert entry.compress_type == zipfile.ZIP_STORED
        pickled = archive.read('model.v1/data.pkl')
    for name in (b'ctorch._utils\n_rebuild_tensor_v2\n', b'ctorch\nDoubleStorage\n', b'ccollections\nOrderedDict\n'):
        assert name in pickled
    assert b'flambeau' not in pickled


def golden_names():
    beyond_weights_only = ('module', 'custom_class', 'numpy', 'protocol4')
    return sorted(path.name for path in DATA.glob('*.pt') if path.stem not in beyond_weights_only)


@pytest.mark.parametrize('name', golden_names())
def test_torch_reads_ours(name):
    reference = pytest.importorskip('torch')
    buffer = io.BytesIO()
    save(load(DATA / name), buffer)
    buffer.seek(0)
    again, expected = reference.load(buffer, weights_only=True), reference.load(DATA / name)
    pairs = [(again, expected)]
    while pairs:
        a, b = pairs.pop()
        assert type(a) is type(b)
        if isinstance(a, reference.Tensor):
            assert a.dtype == b.dtype and a.shape == b.shape and a.requires_grad == b.requires_grad
            assert reference.equal(a, b) and (a.stride() == b.stride() or b.is_conj())
        elif isinstance(a, dict):
            assert list(a) == list(b)
            pairs.extend((a[key], b[key]) for key in a)
        elif isinstance(a, (list, tuple)):
            assert len(a) == len(b)
            pairs.extend(zip(a, b))
        else:
            assert a == b


def test_same_pickle_as_torch():
    reference = pytest.importorskip('torch')
    ours, theirs = io.BytesIO(), io.BytesIO()
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    their = reference.arange(6.).view(2, 3)
    save({'a': wrap(array), 't': wrap(array.T[1:]), 'p': Parameter(wrap(array))}, ours)
    reference.save({'a': their, 't': their.t()[1:], 'p': reference.nn.Parameter(their)}, theirs)
    assert zipfile.ZipFile(ours).read('archive/data.pkl') == zipfile.ZipFile(theirs).read('archive/data.pkl')
    buffer = io.BytesIO()
    save(wrap(array), buffer, _use_new_zipfile_serialization=False)
    buffer.seek(0)
    assert reference.load(buffer).tolist() == array.tolist()


# ---- hostile and damaged files -----------------------------------------------------------------------------------

def archive(pickled: bytes, compression=zipfile.ZIP_STORED, **records) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', compression) as target:
        for name, content in ({'data.pkl': pickled, 'byteorder': b'little', 'version': b'3\n'} | records).items():
            target.writestr(f'archive/{name}', content)
    file.seek(0)
    return file


def text(value: str) -> bytes:
    return b'X' + struct.pack('<I', len(value)) + value.encode()


def number(value: int) -> bytes:
    data = value.to_bytes(16, 'little', signed=True)
    return b'\x8a\x10' + data


STORAGE = b'(' + text('storage') + b'ctorch\nFloatStorage\n' + text('0') + text('cpu') + b'K\x04tQ'


def tensor_pickle(offset=b'K\x00', size=b'K\x04\x85', stride=b'K\x01\x85', storage=STORAGE) -> bytes:
    return (b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(' + storage + offset + size + stride
            + b'\x89ccollections\nOrderedDict\n)RtR.')


DEEP_KEY = b'}' + b')' + b'\x85' * 100_000 + b'K\x01s.'
WIDE_KEY = b'}' + b')' + b'2\x86' * 60 + b'K\x01s.'
FORBIDDEN = {
    'os.system': b'cos\nsystem\n' + text('touch hacked') + b'\x85R.',
    'posix.system': b'cposix\nsystem\n' + text('touch hacked') + b'\x85R.',
    'builtins.eval': b'c__builtin__\neval\n' + text('1') + b'\x85R.',
    'builtins.exec': b'\x80\x04' + text('builtins') + text('exec') + b'\x93' + text('1') + b'\x85R.',
    'builtins.getattr': b'cbuiltins\ngetattr\n' + text('a') + text('b') + b'\x86R.',
    'subprocess.Popen': b'(' + text('ls') + b'isubprocess\nPopen\n.',
    'runpy.run_path': b'(crunpy\nrun_path\n' + text('x') + b'o.',
    'builtins.open': b'cbuiltins\nopen\n' + text('hacked') + b'\x85\x81.',
    'torch.load': b'ctorch\nload\n.',
    'torch._utils.os.system': b'ctorch._utils\nos.system\n.',
    'flambeau.serialization.save': b'cflambeau.serialization\nsave\n.',
    'collections.OrderedDict.fromkeys': b'ccollections\nOrderedDict.fromkeys\n.',
}


@pytest.mark.parametrize('name', FORBIDDEN)
@pytest.mark.parametrize('legacy', [False, True])
def test_forbidden_globals(name, legacy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def file():
        if not legacy:
            return archive(FORBIDDEN[name])
        header = io.BytesIO()
        save([], header, _use_new_zipfile_serialization=False)
        before = header.getvalue().partition(b'\x80\x02]q')[0]
        return io.BytesIO(before + FORBIDDEN[name])
    with pytest.raises(pickle.UnpicklingError, match=name.replace('.', r'\.')):
        load(file())
    if not legacy:
        with pytest.warns(UserWarning, match=name.replace('.', r'\.')):
            loaded = load(file(), weights_only=False)
        assert isinstance(loaded, Record) and f'{loaded.module}.{loaded.name}' == name
    assert list(tmp_path.iterdir()) == []


def test_blocked_modules_cannot_be_allowed():
    with serialization.safe_globals([(os.system, 'os.system')]), pytest.raises(pickle.UnpicklingError, match='blocked'):
        load(archive(FORBIDDEN['os.system']))


HOSTILE = {
    'call of a value': (b'ctorch\nTensor\nK\x01\x85R.', 'a call of .*Tensor is not allowed'),
    'call of a number': (b'K\x01)R.', 'a call of an object of class int'),
    'call of a tuple of tuples': (b')' + b'2\x86' * 60 + b')R.', 'a call of an object of class tuple'),
    'state of a function': (b'ctorch._utils\n_rebuild_tensor_v2\n}' + text('__code__') + b'Nsb.', 'a state for'),
    'state of a class': (b'ctorch\nSize\n}' + text('numel') + b'Nsb.', 'a state for'),
    'append to text': (text('a') + b'K\x01a.', 'cannot append'),
    'item of a list': (b']K\x00K\x01s.', 'cannot set items'),
    'extension registry': (b'\x82\x01.', 'no instruction'),
    'out-of-band buffer': (b'\x97.', 'no instruction'),
    'unknown instruction': (b'\xff.', 'no instruction'),
    'unknown protocol': (b'\x80\x09N.', 'unsupported pickle protocol: 9'),
    'empty': (b'', 'the file ends'),
    'no stop': (b'K\x01', 'the file ends'),
    'empty stack': (b'.', 'damaged pickle'),
    'no mark': (b't.', 'damaged pickle'),
    'unknown memo': (b'h\x05.', 'damaged pickle'),
    'huge text': (b'\x8d' + struct.pack('<Q', 2**62) + b'a.', 'bytes where the file has 2 left'),
    'huge bytearray': (b'\x96' + struct.pack('<Q', 2**40) + b'a.', 'bytes where the file has 2 left'),
    'negative length': (b'\x8b\xff\xff\xff\xff.', 'an element of -1 bytes'),
    'no name': (b'ctorch', 'the file ends'),
    'name that is no text': (b'\x80\x04K\x01K\x02\x93.', 'must be text'),
    'deep key': (DEEP_KEY, 'nested elements'),
    'exponential key': (WIDE_KEY, 'nested elements'),
    'unhashable key': (b'}]K\x01s.', 'damaged pickle'),
    'bytearray of a length': (b'cbuiltins\nbytearray\n' + number(10**12) + b'\x85R.', 'bytes must be'),
    'bytes in an odd encoding': (b'c_codecs\nencode\n' + text('a') + text('idna') + b'\x86R.', 'idna'),
    'size of a range': (b'ctorch\nSize\ncbuiltins\nrange\n' + number(10**12) + b'\x85R\x85R.', 'must consist of'),
    'set of a range': (b'cbuiltins\nset\ncbuiltins\nrange\n' + number(10**12) + b'\x85R\x85R.', 'list or tuple'),
    'copies of one text': (text('a' * 100_000) + b'q\x00' + b'c_codecs\nencode\nq\x01'
                           + b'h\x01h\x00' + text('latin1') + b'\x86R' * 1
                           + (b'h\x01h\x00' + text('latin1') + b'\x86R') * 1000 + b'.', 'copies'),
    'NumPy objects': (b'cnumpy\ndtype\n' + text('O8') + b'\x89\x88\x87R.', 'dtype .O8. is not allowed'),
    'NumPy array of too few bytes': (
        b'cnumpy._core.numeric\n_frombuffer\n(C\x04abcdcnumpy\ndtype\n' + text('f8') + b'\x89\x88\x87R'
        + number(10**15) + b'\x85' + text('C') + b'tR.', 'cannot be made of 4 bytes'),
    'NumPy text beyond Unicode': (
        b'cnumpy._core.multiarray\nscalar\ncnumpy\ndtype\n' + text('U1') + b'\x89\x88\x87RC\x04\xff\xff\xff\x7f\x86R.',
        'does not exist'),
    'persistent id of no storage': (text('storage') + b'Q.', 'must be a tuple'),
    'persistent id of another kind': (text('module') + b'\x85Q.', 'must be that of a storage'),
    'storage of a wrong type': (b'(' + text('storage') + b'NNNNtQ.', 'needs a type'),
    'attribute of a tensor': (
        b'ctorch._utils\n_rebuild_parameter_with_state\n(' + tensor_pickle()[2:-1] + b'\x88N}' + text('_array')
        + b'K\x01stR.', "may not set attribute '_array'"),
    'tensor of a storage that is none': (tensor_pickle(storage=b'N'), 'needs a storage'),
}


@pytest.mark.parametrize('name', HOSTILE)
def test_hostile_pickle(name):
    pickled, message = HOSTILE[name]
    with pytest.raises(pickle.UnpicklingError, match=message):
        load(archive(pickled, **{'data/0': bytes(16)}))


OUTSIDE = {
    'offset': dict(offset=b'K\x01'),
    'huge offset': dict(offset=number(2**62)),
    'negative offset': dict(offset=number(-1)),
    'size': dict(size=b'K\x05\x85'),
    'negative size': dict(size=number(-1) + b'\x85'),
    'stride': dict(stride=b'K\x02\x85'),
    'huge stride': dict(stride=number(2**61) + b'\x85'),
    'negative stride': dict(stride=number(-1) + b'\x85'),
    'rank': dict(stride=b')'),
    'bool as size': dict(size=b'\x88\x85'),
    'too many dimensions': dict(size=b'(' + b'K\x01' * 100 + b't', stride=b'(' + b'K\x01' * 100 + b't'),
    'elements beyond any memory': dict(size=number(2**62) + b'\x85', stride=b'K\x00\x85'),
    'storage of another size': dict(storage=STORAGE.replace(b'K\x04', b'K\x05')),
    'storage that is missing': dict(storage=STORAGE.replace(text('0'), text('7'))),
    'storage outside of the folder': dict(storage=STORAGE.replace(text('0'), text('../../x'))),
}


@pytest.mark.parametrize('name', OUTSIDE)
def test_tensor_outside_of_its_storage(name):
    good = load(archive(tensor_pickle(), **{'data/0': bytes(16)}))
    assert values(good) == [0.] * 4
    with pytest.raises(RuntimeError, match='load: '):
        load(archive(tensor_pickle(**OUTSIDE[name]), **{'data/0': bytes(16)}))


def test_archive_that_unpacks_to_more_than_it_is():
    bomb = archive(tensor_pickle(), zipfile.ZIP_DEFLATED, **{'data/0': bytes(1 << 20)})
    with pytest.raises(RuntimeError, match='compressed'):
        load(bomb)
    count, content = 50, bytes(4000)
    pickled = b'\x80\x02](' + b''.join(STORAGE.replace(text('0'), text(str(k))) for k in range(count)) + b'e.'
    file = archive(pickled, **{f'data/{k}': content if k == 0 else b'' for k in range(count)})
    data = bytearray(file.getvalue())  # every entry of the directory now points to the one record with content
    with zipfile.ZipFile(file) as source:
        first = source.getinfo('archive/data/0')
    position = 0
    while (position := data.find(b'PK\x01\x02', position)) >= 0:
        if data[position + 46:].startswith(b'archive/data/'):
            data[position + 16:position + 28] = struct.pack('<III', first.CRC, len(content), len(content))
            data[position + 42:position + 46] = struct.pack('<I', first.header_offset)
        position += 1
    with pytest.raises(RuntimeError, match='load: '):
        load(io.BytesIO(data))


@pytest.mark.parametrize('name', ['state_dict.pt', 'legacy.pt'])
def test_damaged_files(name):
    content = (DATA / name).read_bytes()
    for length in range(0, len(content), 7):
        with pytest.raises(CLEAR_ERRORS):
            load(io.BytesIO(content[:length]))
    draw = random.Random(0)
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(draw.randint(1, 4)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        try:
            load(io.BytesIO(damaged))
        except CLEAR_ERRORS:
            pass


def test_damaged_pickles():
    with zipfile.ZipFile(DATA / 'containers.pt') as source:
        folder = source.namelist()[0].partition('/')[0]
        records = {entry.removeprefix(f'{folder}/'): source.read(entry) for entry in source.namelist()}
    pickled = records.pop('data.pkl')
    draw = random.Random(1)
    for _ in range(600):
        damaged = bytearray(pickled)
        for _ in range(draw.randint(1, 3)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        for weights_only in (True, False):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter('ignore')
                    repr(load(archive(bytes(damaged), **records), weights_only=weights_only))
            except CLEAR_ERRORS:
                pass


def test_not_a_file_of_torch(tmp_path):
    for content, error, message in ((b'', EOFError, 'empty'), (pickle.dumps({'a': 1}), RuntimeError, 'magic number'),
                                    (b'PK\x03\x04' + bytes(99), RuntimeError, 'zip archive')):
        with pytest.raises(error, match=message):
            load(io.BytesIO(content))
    with pytest.raises(FileNotFoundError):
        load(tmp_path / 'missing.pt')
    with pytest.raises(AttributeError, match='io.BytesIO'):
        load(3)
    with pytest.raises(RuntimeError, match='TorchScript'):
        load(archive(b'N.', **{'constants.pkl': b'N.'}))


# ---- writing -----------------------------------------------------------------------------------------------------

def test_large_records_are_aligned(monkeypatch):
    monkeypatch.setattr(serialization, 'LARGE_RECORD', 100)
    file, tensor = io.BytesIO(), wrap(np.arange(50.))
    save([tensor, wrap(np.ones(3))], file)
    content = file.getvalue()
    start = content.index(tensor._array.tobytes())
    assert start % serialization.ALIGNMENT == 0 and values(load(io.BytesIO(content))[0]) == values(tensor)


def test_failure_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'model.pt'
    save({'epoch': 1}, path)
    before = path.read_bytes()
    with pytest.raises((AttributeError, pickle.PicklingError, TypeError)):
        save({'epoch': lambda: None}, path)
    real = serialization.write_record

    def failing(archive, name, content):
        if name.endswith('version'):
            raise OSError('no space left')
        return real(archive, name, content)

    monkeypatch.setattr(serialization, 'write_record', failing)
    with pytest.raises(OSError, match='no space'):
        save({'epoch': 2}, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_crash_leaves_the_old_file(tmp_path):
    path = tmp_path / 'model.pt'
    save({'epoch': 1}, path)
    program = ('import os, sys; from flambeau import serialization as s; s.os.fsync = lambda descriptor: os._exit(9); '
               's.save({"epoch": 2}, sys.argv[1])')
    root = Path(serialization.__file__).parents[1]
    assert subprocess.run([sys.executable, '-c', program, path], cwd=root).returncode == 9
    assert load(path) == {'epoch': 1}


def test_paths_and_permissions(tmp_path):
    path, link = tmp_path / 'model.pt', tmp_path / 'latest.pt'
    save([1], path)
    expected = os.stat(path).st_mode
    with open(tmp_path / 'plain', 'w'):
        assert os.stat(tmp_path / 'plain').st_mode == expected
    os.chmod(path, 0o640)
    link.symlink_to(path)
    save([2], str(link))
    assert link.is_symlink() and load(path) == [2] and os.stat(path).st_mode & 0o777 == 0o640
    with pytest.raises(RuntimeError, match='Parent directory .*missing does not exist'):
        save([1], tmp_path / 'missing' / 'model.pt')
    with pytest.raises(IsADirectoryError):
        save([1], tmp_path)
    with pytest.raises(ValueError, match='pickle_module'):
        save([1], path, pickle_module=zlib)
    with pytest.raises(ValueError, match='pickle_protocol'):
        save([1], path, pickle_protocol=1)
    with pytest.raises(AttributeError, match='write'):
        save([1], 3)
    with open(tmp_path / 'second.pt', 'wb') as file:
        file.write(b'prefix')
        save(wrap(np.ones(2)), file)
    with open(tmp_path / 'second.pt', 'rb') as file:
        file.seek(6)
        assert values(load(file)) == [1., 1.]


# ---- places --------------------------------------------------------------------------------------------------------

def cuda_file() -> io.BytesIO:
    return archive(tensor_pickle(storage=STORAGE.replace(text('cpu'), text('cuda:1'))), **{'data/0': bytes(16)})


@pytest.mark.parametrize('place', ['cpu', torch.device('cpu'), {'cuda:1': 'cpu'}, lambda storage, location: storage,
                                   lambda storage, location: storage.cpu()])
def test_map_location(place):
    assert values(load(cuda_file(), map_location=place)) == [0.] * 4


def test_map_location_that_fails():
    with pytest.raises(RuntimeError, match=r"map_location=torch.device\('cpu'\)"):
        load(cuda_file())
    with pytest.raises((AssertionError, RuntimeError)):
        load(cuda_file(), map_location='cuda:0')
    with pytest.raises(RuntimeError, match='must return None or a storage'):
        load(cuda_file(), map_location=lambda storage, location: 'cpu')
    with pytest.raises(KeyError):
        load(cuda_file(), map_location=lambda storage, location: {}[location])
    seen = []
    load(DATA / 'state_dict.pt', map_location=lambda storage, location: seen.append((location, storage.nbytes())))
    assert sorted(seen) == [('cpu', 8)] * 6 + [('cpu', 24)]


def test_mmap(tmp_path):
    path = tmp_path / 'model.pt'
    tensor = wrap(np.arange(1000.))
    save({'a': tensor, 'view': wrap(tensor._array[10:]), 'other': wrap(np.ones(3, np.int8))}, path)
    loaded = load(path, mmap=True)
    assert same(loaded['a'], tensor) and shared(loaded['a'], loaded['view'])
    assert not shared(loaded['a'], loaded['other'])
    assert isinstance(root_of(loaded['a']._array), np.memmap) and type(loaded['a']._array) is np.ndarray
    before = path.read_bytes()
    loaded['view']._array[0] = -1
    assert loaded['a']._array[10] == -1 and path.read_bytes() == before
    with pytest.raises(ValueError, match='file path'):
        load(io.BytesIO(before), mmap=True)
    with pytest.raises(RuntimeError, match='_use_new_zipfile_serialization=True'):
        load(DATA / 'legacy.pt', mmap=True)


def test_other_byte_order():
    swapped = np.array([1, 2, 3, 4], '>f4' if sys.byteorder == 'little' else '<f4').tobytes()
    order = b'big' if sys.byteorder == 'little' else b'little'
    assert values(load(archive(tensor_pickle(), **{'data/0': swapped, 'byteorder': order}))) == [1., 2., 3., 4.]
    with pytest.raises(ValueError, match='endianness'):
        load(archive(tensor_pickle(), **{'data/0': swapped, 'byteorder': b'middle'}))


def test_explicit_pickle_module():
    with pytest.raises(RuntimeError, match='explicit pickle_module'):
        load(DATA / 'legacy.pt', pickle_module=pickle, weights_only=True)
    assert load(DATA / 'legacy.pt', pickle_module=pickle)['n'] == [1]


# ---- safetensors -----------------------------------------------------------------------------------------------------

def test_safetensors(tmp_path):
    safetensors = pytest.importorskip('safetensors.numpy')
    path = tmp_path / 'model.safetensors'
    tensors = {name: wrap(np.array([[0, 1], [1, 3]]).astype(dtype.numpy)) for name, dtype in DTYPES.items()
               if name != 'complex128'}
    tensors['transposed'] = wrap(np.arange(6, dtype=np.float32).reshape(2, 3).T)
    serialization.save_safetensors(tensors, path, {'format': 'pt'})
    for loaded in (serialization.load_safetensors(path), load(path)):
        assert loaded.keys() == tensors.keys()
        assert all(loaded[name].dtype is tensors[name].dtype and values(loaded[name]) == values(tensors[name])
                   for name in tensors)
    assert safetensors.load_file(path)['transposed'].tolist() == values(tensors['transposed'])
    with pytest.raises(ValueError, match="'x' has dtype torch.complex128"):
        serialization.save_safetensors({'x': wrap(np.ones(1, complex))}, path)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(RuntimeError, match='is damaged'):
        serialization.load_safetensors(path)


def test_safetensors_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    with pytest.raises(RuntimeError, match='pip install safetensors'):
        serialization.save_safetensors({}, tmp_path / 'x')


def test_functions_are_found_again_in_saved_modules():
    layer = torch.nn.TransformerEncoderLayer(8, 2, dropout=0.0)
    saved, x = io.BytesIO(), torch.randn(2, 3, 8)
    functions = [torch.exp, torch.nn.functional.relu, torch.nn.functional.gelu]
    torch.save([layer, functions], saved)
    saved.seek(0)
    loaded, found = torch.load(saved, weights_only=False)
    assert found == functions == pickle.loads(pickle.dumps(functions))
    torch.testing.assert_close(loaded(x), layer(x))
