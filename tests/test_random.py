"""Random numbers: PyTorch's values for the same seed, states that PyTorch reads, dropout and its gradients."""
import copy
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest

import flambeau as ft
import flambeau.nn.functional as ftF
from flambeau.ops import draws

# What PyTorch 2.13 on x86-64 gives after manual_seed(7): the first four elements and the last one.
GOLDEN = [
    ('zeros(20).uniform_(-0.3, 0.7)',
     [0.23492252826690674, -0.10119682550430298, 0.35921168327331543, 0.3568902611732483, -0.19221347570419312]),
    ('zeros(20, dtype=T.float64).uniform_(-0.3, 0.7)',
     [-0.020619570093595996, -0.026306286348234342, 0.5620929614176255, 0.3566884305882014, 0.6936169389547]),
    ('zeros(20, dtype=T.float16).uniform_(-0.3, 0.7)',
     [0.23486328125, -0.1011962890625, 0.359130859375, 0.35693359375, -0.1922607421875]),
    ('zeros(20, dtype=T.bfloat16).uniform_(-0.3, 0.7)',
     [0.2353515625, -0.10107421875, 0.359375, 0.357421875, -0.1923828125]),
    ('zeros(20).normal_(0.5, 2)',
     [-1.1402690410614014, 1.2912623882293701, 2.2978169918060303, -2.2768077850341797, -0.21344506740570068]),
    ('zeros(20, dtype=T.float64).normal_(0.5, 2)',
     [0.6325350793289989, 0.5939831104878481, 4.173077260058803, 3.235380797073556, 1.8193046528925003]),
    ('zeros(20, dtype=T.bfloat16).normal_(0.5, 2)', [-1.140625, 1.2890625, 2.296875, -2.28125, -2.21875]),
    ('zeros(5).normal_(0.5, 2)',
     [0.20640981197357178, 2.072282552719116, 2.3936431407928467, -1.7286880016326904, 3.881580352783203]),
    ('zeros(5, dtype=T.float64).normal_(0.5, 2)',
     [0.2064098050300096, 2.0722825974470718, 2.393643218007913, -1.7286880425220614, 3.8815802515884665]),
    ('zeros(5).exponential_(1.5)',
     [0.21842928230762482, 0.21318897604942322, 1.3207836151123047, 0.7127445936203003, 1.7052375078201294]),
    ('zeros(5, dtype=T.float64).exponential_(1.5)',
     [0.2184292819887193, 0.2131889807347856, 1.320783636185968, 0.7127445856656817, 1.7052375662093686]),
    ('zeros(5, dtype=T.float64).cauchy_(1.5, 0.3)',
     [1.250833267511259, 1.2416390832691382, 2.148567668375557, 1.6608849989331338, 2.7081996168446207]),
    ('zeros(5).geometric_(0.1)', [13, 13, 2, 4, 1]),
    ('zeros(5).log_normal_(0.5, 0.25)',
     [1.589311957359314, 2.0067877769470215, 2.0890417098999023, 1.2478399276733398, 2.516068458557129]),
    ('zeros(5).random_()', [8974492, 3335306, 11059538, 11020709, 3904979]),
    ('zeros(5, dtype=T.float64).random_()',
     [2516435200042024, 2465213813629881, 7765043079597394, 5914923542589598, 8309405830997223]),
    ('zeros(5, dtype=T.bfloat16).random_()', [52, 217, 57, 35, 121]),
    ('zeros(5, dtype=T.int64).random_()',
     [1407639518939636932, 5163590386780219894, 8087222774582268115, 4122204982959224423, 8817350276967689401]),
    ('zeros(5, dtype=T.uint8).random_()', [175, 196, 25, 246, 67]),
    ('zeros(5, dtype=T.bool).random_()', [True, False, True, False, True]),
    ('randint(-5, 100, (5,))', [70, 92, 71, 66, 38]),
    ('randint(-5, 2 ** 40, (5,))', [752589289487, 108678733351, 291927467744, 650436095315, 396377856283]),
    ('randperm(10)', [5, 0, 3, 4, 2]),
    ('zeros(12).bernoulli_(0.3)', [1, 1, 0, 0, 1]),
    ('bernoulli(T.full((12,), 0.3))', [0, 1, 0, 0, 0]),
    ('multinomial(T.tensor([0.1, 0.2, 0.3, 0.4]), 3)', [1, 3, 0, 0]),
    ('multinomial(T.tensor([0.1, 0.2, 0.3, 0.4]), 8, True)', [1, 1, 3, 3, 2]),
    ('poisson(T.tensor([0.5, 3, 9, 10, 50, 1000]))', [0, 5, 6, 6, 1015]),
    ('_standard_gamma(T.tensor([0.5, 1, 3, 20]))',
     [0.45486846566200256, 3.911741018295288, 3.462798595428467, 16.695655822753906, 16.695655822753906]),
    ('binomial(T.tensor([5.0, 30, 100, 1000]), T.tensor([0.3, 0.9, 0.25, 0.6]))', [1, 23, 17, 617, 617]),
]


@pytest.mark.parametrize('call, expected', GOLDEN, ids=[call for call, _ in GOLDEN])
def test_values_of_the_reference(call, expected):
    ft.manual_seed(7)
    values = eval('T.' + call, {'T': ft}).tolist()
    assert values[:min(4, len(values))] + values[-1:] == expected


# ---- generators ----------------------------------------------------------------------------------

def test_seeds_wrap_and_bad_ones_are_refused():
    g = ft.Generator()
    assert g.initial_seed() == 67280421310721 and g.device == ft.device('cpu')
    assert g.manual_seed(-1) is g and g.initial_seed() == 2 ** 64 - 1
    same = ft.rand(3, generator=ft.Generator().manual_seed(2 ** 32 + 5)).tolist()
    assert same == ft.rand(3, generator=ft.Generator().manual_seed(5)).tolist()
    for seed, error in ((2 ** 64, ValueError), (-2 ** 63 - 1, ValueError), ('x', RuntimeError), (1.5, RuntimeError)):
        with pytest.raises(error):
            g.manual_seed(seed)
    assert g.initial_seed() == 2 ** 64 - 1
    assert g.seed() == g.initial_seed() != ft.Generator().seed()
    assert ft.manual_seed(3) is ft.default_generator and ft.initial_seed() == 3
    with pytest.raises(TypeError):
        ft.rand(3, generator=5)


@pytest.mark.parametrize('drawn', [0, 1, 622, 623, 624, 625, 2000, 624 * 40])
def test_state_is_complete_at_every_position(drawn):
    g = ft.Generator().manual_seed(drawn)
    ft.rand(drawn, generator=g)
    ft.randn(3, generator=g)  # leaves a normal sample over
    state = g.get_state()
    assert state.dtype == ft.uint8 and state.shape == (5056,)
    copies = [g.clone_state(), copy.deepcopy(g), pickle.loads(pickle.dumps(g)), ft.Generator()]
    copies[-1].set_state(state)
    expected = ft.randn(5, generator=g).tolist(), ft.rand(1000, generator=g).tolist()
    for other in copies:
        assert bytes(other.get_state().numpy()) == bytes(state.numpy())
        assert (ft.randn(5, generator=other).tolist(), ft.rand(1000, generator=other).tolist()) == expected


def test_the_state_lies_where_numpy_keeps_it():
    g = ft.Generator().manual_seed(1)
    for drawn in (1, 5, 700):
        ft.rand(drawn, generator=g)
        _, key, used, *_ = g._engine.get_state()
        assert g.twister().tolist() == [*key.tolist(), used]
    g.twister()[:] = [*range(624), 3]
    g.words(1)
    assert g._engine.get_state()[2] == g.twister()[624] == 4


def test_bad_states_change_nothing():
    g = ft.Generator().manual_seed(1)
    before = g.get_state()
    for state, error in ((ft.zeros(5056, dtype=ft.uint8), RuntimeError), (ft.zeros(5, dtype=ft.uint8), RuntimeError),
                         (ft.zeros(5056), TypeError), (3, TypeError)):
        with pytest.raises(error):
            g.set_state(state)
    assert (g.get_state() == before).all()


def test_many_small_draws_equal_one_large_draw():
    one, many = ft.Generator().manual_seed(5), ft.Generator().manual_seed(5)
    sizes = [1, 2, 5, 600, 30, 700, 1, 624, 1248, 33000, 3, 70000]
    parts = np.concatenate([ft.rand(n, generator=many).numpy() for n in sizes])
    assert (ft.rand(sum(sizes), generator=one).numpy() == parts).all()


def test_fork_rng_restores_the_stream():
    ft.manual_seed(2)
    with ft.random.fork_rng():
        inside = ft.rand(700)
    after = ft.rand(700)
    assert (inside == after).all()
    state = ft.get_rng_state()
    drawn = ft.rand(2)
    ft.set_rng_state(state)
    assert (ft.rand(2) == drawn).all()
    with ft.random.fork_rng(enabled=False):
        first = ft.rand(1)
    assert (ft.rand(1) != first).all()


# ---- how numbers are made ------------------------------------------------------------------------

def test_fused_multiply_add_rounds_once():
    rng = np.random.default_rng(0)
    for kind, scales in ((np.float32, (0.6, -1.1, 3e-5)), (np.float64, (0.6, -1.1, 3e-5, 1e30))):
        for scale in scales:
            scale = float(kind(scale))
            shift = float(kind(-scale / 3))
            x = rng.random(2000).astype(kind)
            x[:3] = 0, 1, 0.5
            fused = draws._fused(x, scale, shift)
            exact = [Fraction(float(v)) * Fraction(scale) + Fraction(shift) for v in x]
            for value, true in zip(fused, exact):
                below, above = np.nextafter(value, kind(-np.inf)), np.nextafter(value, kind(np.inf))
                error = abs(Fraction(float(value)) - true)
                assert error <= min(abs(Fraction(float(n)) - true) for n in (below, above))


def test_fused_multiply_add_between_two_floats():
    # 1 * 1 + (2**-24 + 2**-60) lies just above the middle of two floats, but its double lies exactly there.
    x = np.array([1.0], np.float32)
    product, shift = x.astype(np.float64), 2.0 ** -24 + 2.0 ** -60
    assert np.float32(product + shift) == 1
    assert draws._sum_to_odd(product, np.float64(shift)).astype(np.float32) == np.float32(1 + 2.0 ** -23)


def test_cephes_polynomials_need_no_exact_fused_step(monkeypatch):
    u = np.arange(0, 2 ** 24, 1013, dtype=np.int32).astype(np.float32) * np.float32(2.0 ** -24)
    angles = u * np.float32(2 * math.pi)
    plain = draws._log_float(1 - u), *draws._sine_cosine_float(angles)

    def fused(a, b, c):
        product = np.multiply(np.asarray(a, np.float64), b)
        return draws._sum_to_odd(product, np.broadcast_to(np.asarray(c, np.float64), product.shape)).astype(np.float32)

    monkeypatch.setattr(draws, '_multiply_add', fused)
    exact = draws._log_float(1 - u), *draws._sine_cosine_float(angles)
    for one, other in zip(plain, exact):
        assert (one.view(np.int32) == other.view(np.int32)).all()
    for one, function, x in zip(plain, (np.log, np.sin, np.cos), (1 - u, angles, angles)):
        np.testing.assert_allclose(one, function(x.astype(np.float64)), rtol=2e-7, atol=1e-7)


@pytest.mark.parametrize('n', [0, 1, 2, 3, 10, 1000, 70000])
def test_permutation_is_the_swaps_in_turn(n):
    words = ft.Generator().manual_seed(n).words(max(n - 1, 0))
    order = list(range(n))
    for i, word in enumerate(words.tolist()):
        other = i + word % (n - i)
        order[i], order[other] = order[other], order[i]
    assert ft.randperm(n, generator=ft.Generator().manual_seed(n)).tolist() == order


def test_elements_are_drawn_in_memory_order():
    flat = ft.zeros(60).uniform_(generator=ft.Generator().manual_seed(1))
    for view in (lambda x: x.view(3, 4, 5).permute(2, 0, 1), lambda x: x.view(5, 12).t(), lambda x: x.view(1, 60, 1)):
        memory = ft.zeros(60)
        view(memory).uniform_(generator=ft.Generator().manual_seed(1))
        assert (memory == flat).all()
    sliced = ft.zeros(20, 6)[::2, 1:].t()
    sliced.uniform_(generator=ft.Generator().manual_seed(1))
    assert (sliced.t().reshape(-1) == flat[:50]).all()


def test_large_draws_have_the_right_distribution():
    ft.manual_seed(0)
    n = 200_000
    for values, mean, std in (
            (ft.rand(n), 0.5, 12 ** -0.5), (ft.randn(n), 0, 1), (ft.zeros(n).exponential_(2), 0.5, 0.5),
            (ft.zeros(n).bernoulli_(0.2), 0.2, 0.4), (ft.randint(0, 7, (n,)), 3, 2),
            (ft.zeros(n).geometric_(0.5), 2, 2 ** 0.5), (ft.poisson(ft.full((20000,), 12.0)), 12, 12 ** 0.5)):
        values = values.double().numpy()
        assert abs(values.mean() - mean) < 5 * std / values.size ** 0.5
        assert abs(values.std() - std) < 0.03 * std


# ---- refusals ------------------------------------------------------------------------------------

REFUSED = [
    ('zeros(3).uniform_(2, 1)', RuntimeError), ('zeros(3).uniform_(0, 1e39)', RuntimeError),
    ('zeros(3, dtype=T.int32).uniform_()', NotImplementedError), ('zeros(3).normal_(0, -1)', RuntimeError),
    ('zeros(3, dtype=T.int64).normal_()', NotImplementedError), ('zeros(3).bernoulli_(1.5)', RuntimeError),
    ('zeros(3).bernoulli_(T.tensor([1.0, 2, 3]))', RuntimeError),
    ('zeros(3).bernoulli_(T.tensor([1, 0, 1]))', NotImplementedError),
    ('zeros(2, 2).bernoulli_(T.rand(3))', RuntimeError), ('zeros(3).exponential_(-1)', RuntimeError),
    ('zeros(3, dtype=T.int32).exponential_()', RuntimeError), ('zeros(3).geometric_(1)', RuntimeError),
    ('zeros(3, dtype=T.bool).geometric_(0.5)', NotImplementedError), ('zeros(3).cauchy_(0, -1)', RuntimeError),
    ('zeros(3).log_normal_(0, 0)', RuntimeError), ('zeros(3).random_(3, 3)', RuntimeError),
    ('zeros(3).random_(2.5)', TypeError), ('zeros(3).random_(None)', TypeError),
    ('zeros(3, dtype=T.int8).random_(0, 300)', RuntimeError),
    ('zeros(3, dtype=T.uint16).random_()', NotImplementedError),
    ('zeros(3, dtype=T.complex64).random_()', NotImplementedError), ('zeros(1).expand(3).uniform_()', RuntimeError),
    ('rand(2, -1)', RuntimeError), ('rand()', TypeError), ("rand('a')", TypeError), ('rand(2.5)', TypeError),
    ('rand(2, dtype=T.int64)', NotImplementedError), ('randint(5, 2, (2,))', RuntimeError), ('randint(5)', TypeError),
    ('randint(5, 2)', TypeError), ('randint(0, 300, (2,), dtype=T.uint8)', RuntimeError),
    ('randperm(-1)', RuntimeError), ('randperm(3.5)', TypeError), ('randperm(300, dtype=T.uint8)', RuntimeError),
    ('randperm(3, dtype=T.bool)', NotImplementedError), ('randperm(2050, dtype=T.float16)', RuntimeError),
    ('randint(5, (2,), requires_grad=True)', RuntimeError), ('normal(1.0, 2.0)', TypeError),
    ('normal(T.ones(2), -T.ones(2))', RuntimeError), ('normal(T.ones(2), -1.0)', RuntimeError),
    ('poisson(T.tensor([-1.0]))', RuntimeError), ('poisson(T.tensor([1]))', NotImplementedError),
    ('binomial(T.tensor([1]), T.tensor([0.5]))', ValueError),
    ('binomial(T.tensor([1.0]), T.tensor([0.5], dtype=T.float64))', RuntimeError),
    ('multinomial(T.tensor([-1.0, 2]), 1)', RuntimeError), ('multinomial(T.tensor([0.0, 0]), 1)', RuntimeError),
    ('multinomial(T.tensor([0.0, 0]), 3, True)', RuntimeError), ('multinomial(T.tensor([1.0, 2]), 3)', RuntimeError),
    ('multinomial(T.tensor([1.0, 2]), 0)', RuntimeError), ('multinomial(T.tensor([1, 2]), 1)', RuntimeError),
    ('multinomial(T.tensor(1.0), 1)', RuntimeError), ('dropout(T.ones(3), 1.5, True)', RuntimeError),
    ('dropout(T.ones(3, dtype=T.int64), 0.5, True)', RuntimeError),
    ('feature_dropout(T.ones(3), 0.5, True)', RuntimeError),
    ('nn.functional.dropout(T.ones(3), 1.5)', ValueError), ('nn.functional.dropout1d(T.ones(3), 0.5)', RuntimeError),
    ('rrelu(T.ones(3), 0.5, 0.2)', RuntimeError),
]


@pytest.mark.parametrize('call, error', REFUSED, ids=[call for call, _ in REFUSED])
def test_refused_before_a_number_is_drawn(call, error):
    ft.manual_seed(0)
    if 'T.rand' in call:
        ft.rand(3)
    before = ft.get_rng_state()
    ft.manual_seed(0)
    with pytest.raises(error):
        eval('T.' + call, {'T': ft})
    assert (ft.get_rng_state()[8:] == before[8:]).all()


# ---- gradients -----------------------------------------------------------------------------------

def test_in_place_draws_follow_the_rules_of_leaves():
    leaf = ft.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match='leaf Variable that requires grad'):
        leaf.uniform_()
    with ft.no_grad():
        leaf.uniform_(5, 6)
    assert (leaf >= 5).all() and leaf.requires_grad
    (leaf * 2).normal_().sum().backward()
    assert leaf.grad.tolist() == [0, 0, 0]


@pytest.mark.parametrize('call', ['bernoulli(x)', 'poisson(x)', 'normal(x, x)', 'normal(x, 1.0)', 'binomial(x * 9, x)'])
def test_what_is_drawn_has_zero_gradient(call):
    x = ft.full((2, 3), 0.5, requires_grad=True)
    eval('T.' + call, {'T': ft, 'x': x}).sum().backward()
    assert x.grad.tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize('drop', [
    'dropout(x, 0.25)', 'dropout1d(x, 0.25)', 'dropout2d(x.unsqueeze(-1), 0.25).squeeze(-1)',
    'alpha_dropout(x, 0.25, True)', 'feature_alpha_dropout(x, 0.25, True)', 'rrelu(x, training=True)',
    'dropout(x * 1, 0.25, inplace=True)', 'alpha_dropout(x * 1, 0.25, True, True)',
    'rrelu(x * 1, training=True, inplace=True)'])
def test_dropout_gradient_is_the_factor_drawn(drop):
    x = ft.randn(4, 6, 8, dtype=ft.float64, requires_grad=True)

    def forward(x):
        ft.manual_seed(3)
        return eval(drop, vars(ftF) | {'x': x})

    y = forward(x)
    y.sum().backward()
    step = 1e-6 * x.detach().sign()
    moved = (forward(x.detach() + step) - y.detach()) / step
    np.testing.assert_allclose(x.grad.numpy(), moved.numpy(), atol=1e-6)


def test_dropout_scales_and_keeps_the_layout():
    x = ft.ones(40, 50).t()
    ft.manual_seed(0)
    y = ftF.dropout(x, 0.25)
    ft.manual_seed(0)
    base = ftF.dropout(ft.ones(40, 50), 0.25)
    assert y.stride() == x.stride() and (y.t() == base).all()
    assert set(np.unique(y.numpy())) == {0.0, np.float32(1) / np.float32(0.75)}
    assert ftF.dropout(x, 0.25, training=False) is x and ftF.dropout(x, 0.0) is x
    state = ft.get_rng_state()
    assert (ftF.dropout(x, 1.0) == 0).all() and (ft.get_rng_state() == state).all()
    channels = ftF.dropout2d(ft.ones(3, 5, 4, 4), 0.5).numpy()
    assert ((channels == 0) | (channels == 2)).all() and (channels == channels[:, :, :1, :1]).all()
    out, mask = ft.native_dropout(x, 0.25, True)
    assert mask.dtype == ft.bool and ((out != 0) == mask).all()


# ---- against PyTorch -----------------------------------------------------------------------------

def steps(T, n):
    return (T.arange(n).float() - n // 2) / 16


INPUTS = {
    'float32': lambda T: steps(T, 48).view(6, 8), 'transposed': lambda T: steps(T, 48).view(8, 6).t(),
    'channels_last': lambda T: steps(T, 120).view(2, 4, 5, 3).permute(0, 3, 1, 2),
    'sliced': lambda T: steps(T, 72).view(9, 8)[::2, 1:5], 'float64': lambda T: steps(T, 40).double(),
    'float16': lambda T: steps(T, 33).half(), 'bfloat16': lambda T: steps(T, 33).bfloat16(),
    'scalar': lambda T: T.tensor(2.5), 'empty': lambda T: T.zeros(0, 3), 'long': lambda T: T.arange(40),
    'expanded': lambda T: steps(T, 4).expand(5, 4).clone(),
    'large': lambda T: T.zeros(70001), 'large double': lambda T: T.zeros(40000, dtype=T.float64),
}
ON_TENSORS = '''rand_like(x) randn_like(x) randint_like(x,5) randint_like(x,2,9) rand_like(x,dtype=T.float64)
x.uniform_() x.uniform_(-1,3) x.uniform_(-.1,.2) x.normal_() x.normal_(1,3) x.random_() x.random_(5) x.random_(2,9)
x.random_(5,None) x.bernoulli_() x.bernoulli_(.3) x.exponential_() x.exponential_(2) x.geometric_(.3) x.cauchy_()
x.cauchy_(1,2) x.log_normal_() x.log_normal_(0,.5) x.random_(-2**30,2**40) F.dropout(x,.3) F.dropout(x,1.)
F.alpha_dropout(x,.3,True) F.dropout1d(x,.5) F.dropout2d(x,.5) F.dropout3d(x,.5) F.feature_alpha_dropout(x,.4,True)
F.rrelu(x) F.rrelu(x,.1,.7,True) T.dropout_(x,.3,True) T.alpha_dropout_(x,.3,True) T.feature_dropout(x,.3,True)
T.feature_dropout_(x,.3,True) T.native_dropout(x,.3,True)[0] T.native_dropout(x,.0,True)[0]
T.native_dropout(x,.3,False)[1] T.rrelu_(x,training=True) T.bernoulli(x,.3) F.dropout(x,.3,True,True)'''.split()
OWN_BEHAVIOUR = {('float16', 'F.rrelu(x,.1,.7,True)'), ('float16', 'T.rrelu_(x,training=True)'),  # PyTorch has none
                 ('empty', 'T.native_dropout(x,.3,False)[1]')}  # PyTorch gives a mask of floats
ON_WEIGHTS = '''T.bernoulli(w) T.multinomial(w,3) T.multinomial(w,1) T.multinomial(w,1,True) T.multinomial(w,9,True)
T.poisson(w*30) T.normal(w,1.) T.normal(1.,w) T.normal(w,w) T.binomial(w.ceil()*50,w) T.binomial(w.ceil()*9,1-w)
T._standard_gamma(w*4) T.zeros(w.shape).bernoulli_(w) T.zeros(w.shape[::-1]).t().bernoulli_(w.t().t())'''.split()
CREATED = '''rand(3) rand((2,3)) rand(2,0) rand(()) rand(size=(2,3)) rand(20,dtype=T.float16) rand(20,dtype=T.bfloat16)
rand(20,dtype=T.complex64) randn(15) randn(16) randn(17) randn(20,dtype=T.float16) randn(20,dtype=T.complex64)
randn(7,dtype=T.complex128) randn(5,20,dtype=T.float64) randint(5,(3,)) randint(2,5,(3,)) randint(high=5,size=(3,))
randint(low=2,high=5,size=(3,)) randint(0,2**28,(4,)) randint(0,2**28-1,(4,)) randint(-2**63,2**63-1,(4,))
randint(5,(3,),dtype=T.uint8) randint(0,2,(9,),dtype=T.bool) randint(0,5000,(50,),dtype=T.float16)
randint(-5000,300,(50,),dtype=T.bfloat16) randint(-2**24-9,2**24+7,(50,),dtype=T.float32) randint(3,(4,),dtype=T.uint64)
randperm(100) randperm(100,dtype=T.float32) randperm(257,dtype=T.bfloat16) randperm(5000) normal(1.,2.,(3,))
normal(0,1,size=(20,)) normal(0.,1.,size=(2,2),dtype=T.float64)'''.split()


def compare(torch, call, seed, **makers):
    """Evaluates a call in both libraries; the values, layout, dtype and following state must be equal to the bit."""
    import torch.nn.functional as torchF
    results = []
    for T, F in ((torch, torchF), (ft, ftF)):
        T.manual_seed(seed)
        operands = {name: make(T) for name, make in makers.items()}
        try:
            results.append(eval(call, {'T': T, 'F': F, **operands}))
        except Exception as error:
            results.append(error)
    theirs, ours = results
    if isinstance(theirs, Exception):
        assert isinstance(ours, type(theirs)), (call, theirs, ours)
        return
    assert not isinstance(ours, Exception), (call, ours)
    assert str(theirs.dtype) == str(ours.dtype) and tuple(theirs.shape) == tuple(ours.shape)
    if theirs.dtype in (torch.float16, torch.bfloat16):
        theirs, ours = theirs.float(), ours.float()
    assert theirs.numpy().tobytes() == ours.numpy().tobytes(), (call, theirs, ours)
    assert theirs.numel() == 0 or 1 in theirs.shape or theirs.stride() == ours.stride()
    assert bytes(torch.get_rng_state().numpy()) == bytes(ft.get_rng_state().numpy())


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('kind', INPUTS)
def test_equal_to_torch_on_tensors(kind):
    torch = pytest.importorskip('torch')
    for seed, call in enumerate(ON_TENSORS):
        if (kind, call) in OWN_BEHAVIOUR:
            continue
        compare(torch, call if call[:2] in ('x.', 'F.', 'T.') else 'T.' + call, seed, x=INPUTS[kind])


@pytest.mark.parametrize('kind', ['float32', 'transposed', 'float64', 'bfloat16'])
def test_equal_to_torch_with_probabilities(kind):
    torch = pytest.importorskip('torch')

    def weights(T):
        w = (T.arange(63).float() + 0.5) / 64
        return {'float32': w.view(9, 7), 'transposed': w.view(7, 9).t(), 'float64': w.double().view(9, 7),
                'bfloat16': w.bfloat16().view(9, 7)}[kind]

    for seed, call in enumerate(ON_WEIGHTS):
        compare(torch, call, seed, w=weights)


@pytest.mark.filterwarnings('ignore')
def test_equal_to_torch_when_created():
    torch = pytest.importorskip('torch')
    for seed, call in enumerate(CREATED):
        compare(torch, 'T.' + call, seed)


def test_states_go_both_ways():
    torch = pytest.importorskip('torch')
    for drawn in (0, 1, 623, 624, 625, 5000):
        theirs, ours = torch.Generator().manual_seed(drawn), ft.Generator().manual_seed(1)
        torch.rand(drawn, generator=theirs), torch.randn(3, generator=theirs)
        ours.set_state(ft.from_numpy(theirs.get_state().numpy()))
        assert torch.randn(5, generator=theirs).tolist() == ft.randn(5, generator=ours).tolist()
        ft.rand(drawn, generator=ours)
        theirs.set_state(torch.from_numpy(ours.get_state().numpy()))
        assert torch.randn(50, generator=theirs).tolist() == ft.randn(50, generator=ours).tolist()
