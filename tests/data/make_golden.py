"""Writes the files that test_serialization.py reads, with PyTorch: `python make_golden.py` in this folder."""
import collections
import warnings

import numpy as np
import torch


class Reduced:
    """Pickles as a call of `function`."""

    def __init__(self, function, *args):
        self.reduced = function, args

    def __reduce__(self):
        return self.reduced


class Custom:
    def __init__(self):
        self.weight, self.name = torch.arange(3.), 'custom'


def containers():
    base = torch.arange(6.).view(2, 3)
    return {
        'base': base, 'transposed': base.t(), 'row': base[1], 'expanded': base[0, :1].expand(4),
        'scalar': torch.tensor(2.5), 'empty': torch.empty(0, 3, dtype=torch.int64),
        'parameter': torch.nn.Parameter(base), 'frozen': torch.nn.Parameter(torch.ones(1), requires_grad=False),
        'requires_grad': torch.ones(2, requires_grad=True), 'size': torch.Size([2, 3]), 'device': torch.device('cuda', 1),
        'dtype': torch.bfloat16, 'layout': torch.strided, 'ordered': collections.OrderedDict([('b', 1), ('a', [])]),
        'counter': collections.Counter('aab'), 'nested': [(1, (2.5, None)), {'x': [True, False]}, {1, 2}],
        'bytes': b'\x00\xff', 'bytearray': bytearray(b'xy'), 'complex': 1 - 2j, 'big': -2**80, 'text': 'é\n',
        (1, 'key'): 'tuple key', 'conjugate': torch.tensor([1 + 2j]).conj(),
    }


FLOATS = 'float16 bfloat16 float32 float64 complex64 complex128 bool'
INTEGERS = 'uint8 int8 int16 int32 int64 uint16 uint32 uint64'


def of_dtypes(names):
    return {name: torch.tensor([0, 1, 3]).to(getattr(torch, name)) for name in names.split()}


def with_attributes():
    tensor, parameter = torch.ones(2), torch.nn.Parameter(torch.ones(2))
    tensor.tag = parameter.tag = 'kept'
    return [tensor, parameter]


def optimizer():
    layer = torch.nn.Linear(2, 1)
    adam = torch.optim.Adam(layer.parameters(), lr=0.125, betas=(0.5, 0.75))
    layer(torch.ones(1, 2)).sum().backward()
    adam.step()
    return {'optimizer': adam.state_dict(), 'epoch': 3}


def numbers():
    return {'scalar': np.float32(1.5), 'array': np.arange(6).reshape(2, 3).astype('>i2'),
            'fortran': np.asfortranarray(np.arange(6.).reshape(2, 3)), 'bool': np.bool_(True), 'dtype': np.dtype('f4'),
            'text': np.array(['ab', 'c']), 'bytes': np.array([b'ab', b'c']), 'empty': np.zeros((0, 2)),
            'complex': np.complex128(1j)}


def main():
    torch.manual_seed(0)
    warnings.simplefilter('ignore')
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2), torch.nn.ReLU())
    small = torch.arange(4.)
    torch.save(containers(), 'containers.pt')
    torch.save(of_dtypes(FLOATS), 'floats.pt')
    torch.save(of_dtypes(INTEGERS), 'integers.pt')
    torch.save(with_attributes(), 'attributes.pt')
    torch.save(model.state_dict(), 'state_dict.pt')
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.ReLU()), 'module.pt')
    torch.save(optimizer(), 'optimizer.pt')
    torch.save(numbers(), 'numpy.pt')
    torch.save(Reduced(torch._utils._rebuild_tensor, small.storage(), 1, (2,), (1,)), 'rebuild_tensor.pt')
    torch.save({'a': small, 'view': small[1:3], 'half': small.half(), 'n': [1]}, 'legacy.pt',
               _use_new_zipfile_serialization=False)
    torch.save({'a': small, 'custom': Custom()}, 'custom_class.pt')
    torch.save({'a': small, 'n': [1, None]}, 'protocol4.pt', pickle_protocol=4)


if __name__ == '__main__':
    main()
