"""Typical mistakes of users: each ends in an exception of PyTorch's type that says what met and what would fix it.

The table is written as the mistakes are made; the words are what the message must hold. Nothing may be half-changed.
"""
import copy
import io
import pickle  # noqa: F401: the table names it
import re
import warnings

import pytest

import flambeau as torch
from flambeau import nn, optim
from flambeau.nn import functional as F
from flambeau.utils import data


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3))
        self.head = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


class Wrap(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.inner = nn.Sequential(layer)

    def forward(self, *args):
        return self.inner[0](*args)


# what is done | exception | words of its message, separated by ' & '
MISTAKES = r'''
Net()(torch.randn(2,3,8,8)) | RuntimeError | 1 channels, but got 3 & in layer Net.features.0 (Conv2d(1, 4 & [2, 3, 8, 8]
Net()(torch.randn(8,8)) | RuntimeError | 3D (unbatched) or 4D (batched) & [8, 8] & Net.features.0
Net()(torch.randn(2,1,4,4)) | RuntimeError | Kernel size can't be greater & in layer Net.features.3 (Conv2d(4, 8
Net()(torch.randn(2,1,8,8).double()) | RuntimeError | float64 & float32 & .to(torch.float32) & Net.features.0
Net()(None) | TypeError | must be Tensor, not NoneType & Net.features.0
Net()([1, 2]) | TypeError | must be Tensor, not list & Net.features.0
Net()() | TypeError | missing 1 required positional argument: 'x' & in layer Net
Wrap(nn.Linear(3,4))(torch.randn(2,5)) | RuntimeError | (2x5 and 3x4) & last size must be 3 & in_features=3
Wrap(nn.Linear(3,4))(torch.randn(2,3).half()) | RuntimeError | float16[2, 3] & float32[4, 3] & .to(torch.float32)
Wrap(nn.Linear(3,4))([[1.,2.,3.]]) | TypeError | linear() & 'input' (position 1) must be Tensor, not list
Wrap(nn.Conv1d(3,4,3))(torch.randn(2,3,8,8)) | RuntimeError | conv1d & [2, 3, 8, 8] & in layer Wrap.inner.0
Wrap(nn.ConvTranspose2d(3,4,3))(torch.randn(2,4,8,8)) | RuntimeError | 3 channels, but got 4 & in layer Wrap.inner.0
Wrap(nn.BatchNorm2d(3))(torch.randn(2,4,8,8)) | RuntimeError | batch_norm & 4 & 3 & in layer Wrap.inner.0
Wrap(nn.BatchNorm1d(3))(torch.randn(1,3)) | ValueError | more than 1 value per channel & [1, 3]
Wrap(nn.BatchNorm1d(3))(torch.ones(2,3,dtype=torch.int64)) | NotImplementedError | int64 & .float()
Wrap(nn.LayerNorm(5))(torch.randn(2,4)) | RuntimeError | [*, 5] & [2, 4] & in layer Wrap.inner.0
Wrap(nn.Embedding(10,3))(torch.tensor([0,10])) | IndexError | out of range & 10 rows & Wrap.inner.0 (Embedding(
Wrap(nn.Embedding(10,3))(torch.tensor([1.0])) | RuntimeError | float32 & .long()
Wrap(nn.LSTM(3,4))(torch.randn(5,2,7)) | RuntimeError | Expected 3, got 7 & LSTM(3, 4)
nn.LSTM(3,4)(torch.randn(5,2,3), torch.randn(1,2,4)) | IndexError | pair (h_0, c_0) & float32[1, 2, 4]
nn.LSTM(3,4)(torch.randn(5,2,3).double()) | ValueError | float64 & float32 & input.to(
nn.Transformer(8,2,1,1,16)(torch.randn(5,2,8), torch.randn(5,3,8)) | RuntimeError | batch number & Transformer
nn.TransformerEncoderLayer(8,2,16)(torch.randn(5,2,7)) | AssertionError | 8, but got 7 & EncoderLayer.self_attn
nn.Conv2d('3',4,3) | TypeError | in_channels & '3'
nn.Conv2d(3,4,3,groups=2) | ValueError | in_channels=3 & groups=2
nn.Conv2d(3,4,3,padding='foo') | ValueError | 'foo' & 'same' & 'valid'
nn.Linear(-2,3) | RuntimeError | negative dimension -2
nn.Dropout('a') | TypeError | dropout probability & 'a'
nn.Sequential([nn.Linear(2,3)]) | TypeError | list is not a Module subclass
nn.Module().register_buffer('a.b', x) | KeyError | can\'t contain "."
nn.Linear(2,3).weight = x | TypeError | 'weight' & torch.nn.Parameter or None
nn.Linear(2,3).to(torch.int64) | TypeError | floating point & int64
nn.Linear(2,3).load_state_dict({'weight': torch.ones(3,2)}) | RuntimeError | Missing key & "bias" & Linear
nn.Linear(2,3).load_state_dict({'weight': x, 'bias': w}) | RuntimeError | mismatch for weight & [2, 3] & [3, 2]
nn.Linear(2,3).load_state_dict({**nn.Linear(2,3).state_dict(), 'foo': x}) | RuntimeError | Unexpected key & "foo"
nn.Linear(2,3).load_state_dict('model.pt') | TypeError | dict-like & str
F.mse_loss(torch.randn(3,2), torch.randn(4)) | RuntimeError | mse_loss & (4,) & (3, 2)
F.mse_loss(torch.randn(3), [1.,2.,3.]) | TypeError | mse_loss & not list & torch.tensor(
F.cross_entropy(torch.randn(3,5), torch.tensor([0,1])) | ValueError | cross_entropy & (3) & (2)
F.cross_entropy(torch.randn(3,5), torch.tensor([0,1,5])) | IndexError | Target 5 is out of bounds & 5 classes
F.cross_entropy(torch.randn(3,5), torch.tensor([0.,1.,2.])) | RuntimeError | float32 & .long()
F.cross_entropy(torch.randn(3,5), [0,1,2]) | TypeError | cross_entropy() & 'target' & not list
F.cross_entropy(torch.randn(3,5), torch.tensor([0,1,2]), reduction='foo') | ValueError | foo & 'mean'
F.binary_cross_entropy(torch.rand(3), torch.rand(4)) | ValueError | binary_cross_entropy & (4,) & (3,)
F.binary_cross_entropy(torch.ones(3)*5, torch.rand(3)) | RuntimeError | between 0 and 1 & sigmoid
F.kl_div(torch.randn(3), torch.randn(2)) | RuntimeError | kl_div & (2,) & (3,)
F.cosine_embedding_loss(x, x, torch.ones(3)) | RuntimeError | cosine_embedding_loss & [2, 3] & [3]
F.linear(x, None) | TypeError | linear() & 'weight' & NoneType
F.leaky_relu(x, 'a') | TypeError | leaky_relu() & 'negative_slope' & 'a'
x @ x | RuntimeError | matmul & (2x3 and 2x3) & 3 & 2
x @ torch.ones(3,2).double() | RuntimeError | matmul(float32[2, 3], float64[3, 2]) & NumPy
x @ 3 | TypeError | for @: 'Tensor' and 'int'
torch.mm(x, torch.ones(3)) | RuntimeError | mm & [2, 3] & [3]
torch.bmm(torch.ones(2,3,4), torch.ones(3,4,5)) | RuntimeError | [2, 4] & [3, 4]
torch.tensordot(x, x, dims=([0],[5])) | IndexError | Dimension out of range & 5
torch.einsum('ij,jk->ik', x, x) | RuntimeError | einsum & j & 2 & 3
torch.einsum('ij', 3) | TypeError | einsum & int
torch.cat([x, y]) | RuntimeError | Sizes of tensors must match & [2, 3] & [3, 2]
torch.cat([]) | ValueError | non-empty
torch.cat(5) | TypeError | cat() & not int
torch.cat([x, None]) | TypeError | element 1 & NoneType
torch.stack([x, y]) | RuntimeError | [2, 3] at entry 0 & [3, 2] at entry 1
torch.block_diag(torch.ones(2,2,2)) | RuntimeError | Input 0 has 3 dimensions
x.view(4,2) | RuntimeError | view(input=float32[2, 3] & [4, 2]
x.view('a') | TypeError | view() & 'a' & str
x.t().view(6) | RuntimeError | [3, 2] & .reshape(
x.reshape(None) | TypeError | reshape() & NoneType
x.expand(2,4) | RuntimeError | (4) & (3) & [2, 4]
x.permute(0) | RuntimeError | permute() & 2 & 1
x.transpose(0,2) | IndexError | [-2, 1] & 2
x.split([1,2]) | RuntimeError | sum exactly to 2 & [1, 2]
x.sum(2) | IndexError | [-2, 1] & sum(input=float32[2, 3]
x.sum(dim='foo') | TypeError | sum() & 'dim' & 'foo'
torch.sum([1,2]) | TypeError | sum() & 'input' & not list
torch.arange(3).mean() | RuntimeError | mean() & int64 & .float()
torch.empty(0).max() | RuntimeError | max() & 'dim'
x.topk(5) | RuntimeError | topk & 5 & 3
x.topk('a') | TypeError | topk() & 'k' & 'a'
x[2] | IndexError | index 2 is out of bounds & size 2
x[0,0,0] | IndexError | too many indices & dimension 2
x[torch.tensor([0,7])] | IndexError | index 7 & size 2
x[torch.tensor([0.5])] | IndexError | long, int, byte or bool & float32
x[torch.ones(3,dtype=torch.bool)] | IndexError | mask [3] & [2, 3]
x[::-1] | ValueError | greater than zero
x[0] = torch.ones(4) | RuntimeError | [3] & [4]
x[0] = 'a' | TypeError | str & float32 & torch.tensor
del x[0] | TypeError | deleting items
x.gather(1, torch.tensor([[0,3]])) | RuntimeError | gather() & index 3 & dimension 1 with size 3
x.gather(1, torch.tensor([0])) | RuntimeError | same number of dimensions & [1] & [2, 3]
x.gather(1, torch.tensor([[0.]])) | RuntimeError | gather() & int64 & float32
x.index_select(0, [1]) | TypeError | index_select() & 'index' & list
x.masked_fill(torch.ones(2,3), 0.) | RuntimeError | masked_fill & boolean & float32
x.scatter(1, torch.tensor([[0,1]]), torch.ones(1,2).double()) | RuntimeError | scatter() & float32 & float64
torch.where(x > 0, x, torch.ones(4)) | RuntimeError | (3) & (4) & float32[4]
torch.zeros(2,-3) | RuntimeError | negative dimension -3
torch.zeros('a') | TypeError | zeros() & str
torch.ones(2, dtype='float32') | TypeError | dtype & str
torch.full((2,), 'a') | TypeError | str
torch.tensor('abc') | TypeError | 'str'
torch.tensor([[1,2],[3]]) | ValueError | length 2 at dim 1 & 1
torch.tensor(300, dtype=torch.uint8) | RuntimeError | uint8 & overflow & 300
torch.tensor([None]) | RuntimeError | NoneType
torch.randint(5,2,(2,)) | RuntimeError | from=5 & 2
torch.arange(5,0) | RuntimeError | step
torch.randn(2, generator=3) | TypeError | torch.Generator & int
torch.multinomial(torch.tensor([-1.,2.]), 1) | RuntimeError | < 0
torch.manual_seed('a') | ValueError | integer & 'a'
x + y | RuntimeError | (3) & (2) & add(input=float32[2, 3], other=float32[3, 2]
x + 'a' | TypeError | +: 'Tensor' and 'str'
torch.exp(3) | TypeError | exp() & 'input' & int
torch.add(x, x, alpha='a') | TypeError | add() & 'alpha' & str
torch.add(torch.arange(3), 1, alpha=1.5) | RuntimeError | alpha & floating point
x & x | NotImplementedError | bitwise_and & float32
~x | TypeError | invert & float32
x << 1 | NotImplementedError | shift & float32
-(x > 1) | RuntimeError | `~`
torch.arange(3) % 0 | RuntimeError | Zero
x.add_(torch.ones(2,2,3)) | RuntimeError | [2, 3] & [2, 2, 3] & add_
torch.arange(3).add_(1.5) | RuntimeError | add_ & Float & Long
torch.equal(x, 3) | TypeError | equal() & 'other' & int
x.type_as(3) | TypeError | type_as() & int
x.float(3) | TypeError | float() & int
torch.numel(3) | TypeError | numel() & int
torch.finfo('a') | TypeError | finfo() & str
torch.promote_types(1, 2) | TypeError | torch.dtype & int
torch.cross(x, y) | RuntimeError | cross & [2, 3] & [3, 2]
torch.linalg.inv(x) | RuntimeError | linalg.inv & square
torch.linalg.inv(torch.zeros(2,2)) | RuntimeError | singular
x.item() | RuntimeError | 6 elements
bool(x) | RuntimeError | ambiguous
w.numpy() | RuntimeError | detach().numpy()
x.foo() | AttributeError | 'Tensor' & 'foo'
x.to('foo') | RuntimeError | foo & cpu & cuda
x.cuda() | AssertionError | CUDA & device='cpu'
torch.zeros(2, device='cuda') | AssertionError | CUDA & torch.cuda.is_available()
torch.device(-1) | RuntimeError | negative & -1
x.sum().backward() | RuntimeError | backward() & does not require grad & requires_grad=True
(w*2).backward() | RuntimeError | scalar & [3] & .sum()
loss = (w*w).sum(); loss.backward(); loss.backward() | RuntimeError | second time & retain_graph=True
(w*2).backward(torch.ones(2)) | RuntimeError | [2] & [3]
w.add_(1) | RuntimeError | leaf & add_ & torch.no_grad()
w[0] = 5 | RuntimeError | leaf & .clone()
w.data = torch.ones(3, dtype=torch.int64) | RuntimeError | floating point & int64
w.grad = torch.ones(2) | RuntimeError | [2] & [3]
a = w*1; b = a.exp(); b.add_(1); b.sum().backward() | RuntimeError | 'output' of ExpBackward0 & changed by add_ at
torch.autograd.grad(w.sum(), []) | RuntimeError | empty
torch.autograd.grad(3, w) | TypeError | grad() & int
torch.autograd.grad(w.sum(), [x]) | RuntimeError | does not require grad
torch.tensor([1,2], requires_grad=True) | RuntimeError | int64 & .float()
copy.deepcopy(w*2) | RuntimeError | graph leaves
torch.vmap(lambda a: a, in_dims=5)(x) | ValueError | in_dim=5 & 2
optim.SGD([], lr=0.1) | ValueError | empty parameter list
optim.SGD([w], lr=-1) | ValueError | learning rate & -1
optim.SGD([w], lr='a') | TypeError | learning rate & 'a'
optim.SGD(nn.Linear(2,3), lr=0.1) | TypeError | Linear & model.parameters()
optim.SGD([w*2], lr=0.1) | ValueError | non-leaf
optim.SGD([{'foo': [w]}], lr=0.1) | KeyError | 'params' & foo
optim.Adam([w], betas=0.9) | TypeError | betas & 0.9
optim.Adam([w]).load_state_dict(nn.Linear(2,3).state_dict()) | KeyError | param_groups & model
optim.Adam([w]).load_state_dict(None) | TypeError | dict & NoneType
optim.lr_scheduler.StepLR(optim.SGD([w],lr=0.1), 0) | ValueError | step_size & 0
optim.lr_scheduler.CosineAnnealingLR(optim.SGD([w],lr=0.1), 0) | ValueError | T_max & 0
data.DataLoader([1,2], batch_size=0) | ValueError | batch_size=0
data.DataLoader([1,2], num_workers=-1) | ValueError | num_workers
data.DataLoader([1,2], shuffle=True, sampler=[0]) | ValueError | sampler & shuffle
list(data.DataLoader([torch.ones(2), torch.ones(3)], batch_size=2)) | RuntimeError | [2] at entry 0 & [3] at entry 1
list(data.DataLoader([{'a':1},{'b':2}], batch_size=2)) | KeyError | sample 1 & 'a'
list(data.DataLoader([None])) | TypeError | default_collate & NoneType
data.TensorDataset(torch.ones(2), torch.ones(3)) | AssertionError | [2, 3]
torch.load(io.BytesIO(b'garbage')) | pickle.UnpicklingError | byte 1
torch.load(io.BytesIO(b'')) | EOFError | empty
torch.load(io.BytesIO(b'PK\x03\x04garbage')) | RuntimeError | zip & damaged
torch.load(3) | AttributeError | path & int
torch.save(x, 3) | AttributeError | path & int
torch.set_default_dtype(torch.int64) | TypeError | floating & int64
'''
TABLE = [line.rsplit(' | ', 2) for line in MISTAKES.strip().splitlines()]


def names():
    return {**globals(), 'x': torch.arange(6.).reshape(2, 3), 'y': torch.ones(3, 2),
            'w': torch.ones(3, requires_grad=True)}


@pytest.mark.parametrize('code, kind, words', TABLE, ids=[code for code, _, _ in TABLE])
def test_mistake_is_explained(code, kind, words):
    with warnings.catch_warnings(), pytest.raises(eval(kind)) as caught:
        warnings.simplefilter('ignore')
        exec(code, names())
    message = str(caught.value)
    assert [word for word in words.split(' & ') if word not in message] == [], message
    assert not re.search(r'ufunc|has no attribute .(_array|_node|__index__)|array\(', message)


HARMLESS = {
    'integers into a linear layer': lambda: nn.Linear(3, 4)(torch.arange(6).reshape(2, 3)),
    'bools into a linear layer': lambda: nn.Linear(3, 4)(torch.ones(2, 3) > 0),
    'an image of bytes into a convolution': lambda: nn.Conv2d(3, 4, 3)(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)),
    'integers into a network': lambda: Net()(torch.zeros(2, 1, 8, 8, dtype=torch.int64)),
    'integers times floats': lambda: torch.ones(2, 3) @ torch.ones(3, 2, dtype=torch.int64),
}


@pytest.mark.parametrize('name', HARMLESS)
def test_harmless_input_works(name):
    out = HARMLESS[name]()
    assert out.dtype is torch.float32 and bool(out.isfinite().all())


def test_integer_image_is_converted_exactly():
    layer = nn.Conv2d(3, 4, 3)
    image = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    out = layer(image)
    assert torch.equal(out, layer(image.float()))
    out.sum().backward()
    assert layer.weight.grad.shape == layer.weight.shape


# ---- nothing is half-changed

REFUSED_WRITES = {
    'index_add_': lambda t: t.index_add_(0, torch.tensor([0, 5]), torch.ones(2, 3)),
    'index_copy_': lambda t: t.index_copy_(0, torch.tensor([0, 5]), torch.ones(2, 3)),
    'index_fill_': lambda t: t.index_fill_(0, torch.tensor([0, 5]), 1.),
    'index_put_': lambda t: t.index_put_((torch.tensor([0, 5]),), torch.tensor(9.)),
    'setitem': lambda t: t.__setitem__((slice(None), torch.tensor([0, 7])), 9.),
    'scatter_': lambda t: t.scatter_(1, torch.tensor([[0, 7]]), 1.0),
    'scatter_add_': lambda t: t.scatter_add_(1, torch.tensor([[0, 7]]), torch.ones(1, 2)),
    'put_': lambda t: t.put_(torch.tensor([0, 9]), torch.ones(2)),
    'masked_scatter_': lambda t: t.masked_scatter_(torch.ones(2, 3).bool(), torch.ones(2)),
    'copy_': lambda t: t.copy_(torch.ones(4)),
    'clamp_': lambda t: t.clamp_('a'),
    'fill_': lambda t: t.fill_('a'),
    'uniform_': lambda t: t.uniform_(3, 1),
    'out=': lambda t: torch.add(torch.ones(2, 3), torch.ones(4), out=t),
    '_foreach_add_': lambda t: torch._foreach_add_([t, torch.ones(2)], [torch.ones(2, 3), torch.ones(5)]),
    '_foreach_mul_': lambda t: torch._foreach_mul_([t, torch.arange(3)], 1.5),
    '_foreach_copy_': lambda t: torch._foreach_copy_([t, torch.ones(3)], [torch.ones(2, 3), torch.ones(4)]),
    'running statistics': lambda t: F.batch_norm(torch.ones(4, 3), t[0], torch.ones(4), training=True),
    'dropout': lambda t: F.dropout(t, 3., True, inplace=True),
}


@pytest.mark.parametrize('name', REFUSED_WRITES)
def test_refused_write_changes_nothing(name):
    tensor, generator = torch.arange(6.).reshape(2, 3), torch.get_rng_state()
    with pytest.raises((RuntimeError, IndexError, TypeError, ValueError)):
        REFUSED_WRITES[name](tensor)
    assert tensor.tolist() == [[0, 1, 2], [3, 4, 5]] and tensor._version == 0
    assert torch.equal(generator, torch.get_rng_state())


def test_refused_states_change_nothing():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    before = copy.deepcopy(model.state_dict())
    wrong = {name: value * 0 + 7 for name, value in before.items()} | {'1.weight': torch.ones(5, 5)}
    with pytest.raises(RuntimeError, match='size mismatch for 1.weight'):
        model.load_state_dict(wrong)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    state = copy.deepcopy(optimizer.state_dict())
    state['param_groups'][0].update(lr=5, params=[0])
    with pytest.raises(ValueError, match='group 0 has 1 parameters there, 4 here'):
        optimizer.load_state_dict(state)
    with pytest.raises(TypeError, match='int'):
        optimizer.add_param_group({'params': [3]})
    assert len(optimizer.param_groups) == 1 and optimizer.param_groups[0]['lr'] == 0.1


WRONG = r"""
torch.ones(2, 3).view(()) | RuntimeError
-torch.ones(2, dtype=torch.bool) | RuntimeError
torch.ones(2, 3).view(-100, 2) | RuntimeError
torch.gcd(torch.ones(1), torch.ones(1)) | NotImplementedError
torch.lcm(torch.ones(1), torch.ones(1)) | NotImplementedError
torch.ones(1).int() << torch.ones(1) | NotImplementedError
torch.ones(1) & torch.ones(1) | NotImplementedError
torch.nn.functional.mse_loss([1.], [2.]) | TypeError AttributeError
torch.nn.functional.layer_norm([1.], (1,)) | TypeError
torch.nn.functional.bilinear(torch.ones(1, 2), None, torch.ones(1, 2, 2)) | TypeError
torch.dot(torch.ones(2), None) | TypeError
torch.mm(torch.ones(2, 2), 3) | TypeError
torch.meshgrid(torch.ones(2), None) | TypeError
torch.linalg.solve(torch.eye(2), None) | TypeError
torch.transpose(torch.ones(2, 2), None, 0) | TypeError
torch.cat([torch.ones(2), torch.ones(2)], None) | TypeError
torch.softmax(torch.ones(2), None) | TypeError
torch.softmax(torch.ones(0), 1) | IndexError
torch.linspace(None, 1, 3) | TypeError
torch.eq(torch.ones(2), None) | TypeError
torch.nn.functional.leaky_relu(torch.ones(2), [1]) | TypeError
torch.nn.functional.pairwise_distance(torch.ones(2, 3), torch.ones(3, 7)) | RuntimeError
torch.isclose(torch.ones(2, 3), torch.ones(3, 7)) | RuntimeError
torch.amax(torch.ones(2) * 1j, 0) | NotImplementedError
torch.nn.functional.kl_div(torch.ones(2).long(), torch.ones(2)) | RuntimeError
torch.ones(2).stride(1) | IndexError
torch.nn.MSELoss(nonsense=3) | TypeError
torch.ones(1).new_zeros((2,), nonsense=3) | TypeError
torch.pow(torch.tensor([2]), -1) | RuntimeError
torch.ones(2, 3).view() | TypeError
torch.ones(2, 3).permute() | TypeError
torch.ones(2, 3).expand() | TypeError
torch.ones(2, 3).repeat() | TypeError
torch.ones(2, 3).flip() | TypeError
torch.ones(2, 3).reshape() | TypeError
torch.atleast_2d(['a']) | TypeError
torch.broadcast_tensors(torch.ones(2), [1.]) | TypeError
torch.ones(2, dtype='float32') | TypeError
torch.nn.LinearCrossEntropyLoss(3, 2, weight=torch.ones(3)) | RuntimeError
torch.nn.LinearCrossEntropyLoss(3, 2, label_smoothing=2.) | RuntimeError
torch.nn.functional.cross_entropy(torch.ones(4, 3), torch.ones(5, 2)) | ValueError
torch.linspace(0, 1, 3, dtype='float32') | TypeError
torch.randn(2, dtype=3) | TypeError
torch.randint_like(torch.ones(2), None, 3) | TypeError
torch.ones(2, device=3) | RuntimeError
torch.fft.fft(torch.ones(4), norm=1) | TypeError
torch.nn.functional.pixel_shuffle(torch.ones(1, 9, 2, 2), 1.5) | TypeError
torch.multinomial(torch.ones(2), 2, out=torch.ones(2)) | RuntimeError
torch.ones(2).as_strided((3,), (0,)).add_(1) | RuntimeError
(lambda x: torch.cat([x, torch.ones(3)], out=x))(torch.ones(0)) | RuntimeError
torch.nn.functional.pad(torch.ones(2), (1, 1), value=1j) | TypeError
torch.ones(6, 5).index_reduce(1, torch.zeros(10).long(), torch.ones(5, 10), 'amin') | RuntimeError
torch.ones(5, 5).index_reduce(1, torch.tensor(0), torch.ones(5, 10), 'amin') | RuntimeError
torch.mvlgamma(torch.ones(3) * 5, 2.5) | TypeError
torch.round(torch.ones(3), decimals=1.5) | TypeError
torch.unravel_index(torch.tensor(3), (2.5, 3)) | TypeError
torch.full((2,), [1.], dtype=torch.float32) | TypeError
torch.tril_indices(2.5, 3) | TypeError
torch.linalg.multi_dot([torch.ones(2, 2), 'a']) | TypeError
torch.diff(torch.ones(5, 5), 2, None, torch.ones(2, 5)) | TypeError
torch.logspace(0, 1, 3, dtype='float32') | TypeError
"""


@pytest.mark.parametrize('case', [line for line in WRONG.strip().splitlines()])
def test_wrong_arguments_raise_what_pytorch_raises(case):
    *_, code, kinds = [part.strip() for part in case.split(' | ')]
    for module in (torch, pytest.importorskip('torch')):
        with pytest.raises(Exception) as caught:
            eval(code, {'torch': module})
        assert any(kind in [c.__name__ for c in type(caught.value).__mro__] for kind in kinds.split()), repr(caught.value)
        if module is torch:
            assert not any(word in str(caught.value) for word in ('ufunc', 'numpy', "'_array'", 'could not be broadcast'))
