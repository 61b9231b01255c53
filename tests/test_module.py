"""Module, containers and what hangs on them, held against PyTorch: every case runs on both and must say the same."""
import copy
import gc
import pickle
import re
import warnings
import weakref
from collections import OrderedDict

import pytest

import flambeau
from flambeau import nn


def outcome(function):
    """What a call returns, or the type and text of what it raises."""
    try:
        return 'returned', function()
    except Exception as error:
        return type(error).__name__, str(error).split('\n  in layer ')[0]


def layers(t):
    """Layers written with nothing but Module and Parameter, for a framework `t`."""
    class Scale(t.nn.Module):
        def __init__(self, size=2, bias=True):
            super().__init__()
            self.size = size
            self.weight = t.nn.Parameter(t.arange(1., size + 1))
            self.register_parameter('bias', t.nn.Parameter(t.zeros(size)) if bias else None)
            self.register_buffer('seen', t.zeros(1))
            self.register_buffer('scratch', t.ones(1), persistent=False)

        def forward(self, x, times=1):
            out = x * self.weight * times
            return out if self.bias is None else out + self.bias

        def extra_repr(self):
            return f'size={self.size}'

    class Pair(t.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = Scale()
            self.rest = t.nn.ModuleList([Scale(), Scale(bias=False)])
            self.missing = None

        def forward(self, x):
            x = self.first(x)
            for layer in self.rest:
                x = layer(x)
            return x
    return Scale, Pair


CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


@case
def printing(t, Scale, Pair):
    class Deep(t.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = t.nn.Sequential(OrderedDict(x=Scale(), y=t.nn.Sequential()))
            self.b = t.nn.ModuleList([Scale(), Scale(), Scale(3), t.nn.ModuleList([Pair(), Pair()])])
            self.c = t.nn.ModuleDict({'k': Scale(), 'l': t.nn.Module()})

        def extra_repr(self):
            return 'two\nlines'
    parameters = [t.nn.ParameterList([t.ones(2, 3), 5, t.nn.Parameter(t.ones(()))]),
                  t.nn.ParameterDict({'a': t.ones(2), 'b': 'text'}), t.nn.ParameterList()]
    return [repr(m) for m in (Deep(), t.nn.ModuleList(), t.nn.Sequential(), t.nn.Module(), *parameters)]


@case
def names(t, Scale, Pair):
    net = t.nn.Sequential(Pair(), Scale(), None)
    net.add_module('again', net[0])
    shared = net[1].weight
    net[0].first.weight = shared
    return ([name for name, _ in net.named_modules()], [n for n, _ in net.named_modules(remove_duplicate=False)],
            [n for n, _ in net.named_parameters()], [n for n, _ in net.named_parameters(remove_duplicate=False)],
            [n for n, _ in net.named_parameters(prefix='p', recurse=False)], [n for n, _ in net.named_buffers()],
            [n for n, _ in net.named_children()], len(list(net.modules())), len(list(net.children())),
            [n for n, _ in net.named_modules(prefix='top')], list(net.state_dict()), list(net.state_dict(prefix='q.')),
            dict(net.state_dict()._metadata), net.state_dict(keep_vars=True)['1.weight'] is shared,
            net.state_dict()['1.weight'].requires_grad)


@case
def assignments(t, Scale, Pair):
    class Bare(t.nn.Module):
        def __init__(self, value):
            if value is not None:
                self.x = value
    layer, parameter, tensor = Scale(), t.nn.Parameter(t.ones(1)), t.ones(1)
    net = Pair()
    grown = parameter * 2
    changes = [
        (layer, 'weight', tensor), (layer, 'weight', 3), (layer, 'seen', 3), (net, 'first', 3), (net, 'first', tensor),
        (layer, 'seen', None), (layer, 'seen', tensor), (layer, 'weight', None), (layer, 'weight', parameter),
        (layer, 'size', parameter), (layer, 'size', Scale()), (layer, 'size', None), (layer, 'forward', parameter),
        (net, 'missing', Scale()), (net, 'missing', None), (layer, 'buf', t.nn.Buffer(tensor, persistent=False)),
        (layer, 'buf', tensor), (layer, 'weight', Scale())]
    said = [outcome(lambda: setattr(*change)) for change in changes]
    registrations = [
        lambda: layer.register_parameter('a.b', parameter), lambda: layer.register_parameter('', parameter),
        lambda: layer.register_parameter(3, parameter), lambda: layer.register_parameter('size2', 3),
        lambda: layer.register_parameter('training', parameter), lambda: layer.register_parameter('g', grown),
        lambda: layer.register_parameter('n', None), lambda: layer.register_buffer('a.b', tensor),
        lambda: layer.register_buffer('', tensor), lambda: layer.register_buffer(3, tensor),
        lambda: layer.register_buffer('bias', tensor), lambda: layer.register_buffer('h', 'text'),
        lambda: net.add_module('x', 3), lambda: net.add_module(3, net), lambda: net.add_module('a.b', Scale()),
        lambda: net.add_module('', Scale()), lambda: net.add_module('forward', Scale()),
        lambda: net.register_module('y', Scale()), lambda: delattr(net, 'nope'), lambda: net.nope,
        lambda: delattr(layer, 'bias'), lambda: layer.bias, lambda: delattr(net, 'first'), lambda: net.first,
        lambda: Bare(parameter), lambda: Bare(Scale()), lambda: Bare(t.nn.Buffer(tensor)),
        lambda: Bare(None).register_parameter('x', parameter), lambda: Bare(None).register_buffer('x', tensor),
        lambda: t.nn.Module(3), lambda: t.nn.Module(a=3), lambda: t.nn.Module()(tensor)]
    said += [outcome(call) for call in registrations]
    return said, list(layer._parameters), list(layer._buffers), list(layer._modules), list(net._modules), \
        layer._non_persistent_buffers_set


@case
def lookups(t, Scale, Pair):
    net = Pair()
    paths = ['', 'first', 'rest.1', 'rest.7', 'first.weight', 'nope.x', 'first.bias', 'first.seen', 'rest.1.bias']
    said = [outcome(lambda: type(getattr(net, method)(path)).__name__) for path in paths
            for method in ('get_submodule', 'get_parameter', 'get_buffer')]
    settings = [('first', Scale(3), False), ('', Scale(), False), ('new', Scale(), True), ('new', Scale(), False),
                ('rest.0', Scale(4), True), ('first.weight', Scale(), False), ('first', 3, False),
                ('a.b', Scale(), False)]
    said += [outcome(lambda: net.set_submodule(*setting)) for setting in settings]
    return said, repr(net)


@case
def loading(t, Scale, Pair):
    net = Pair()
    good = net.state_dict()
    attempts = [good, {}, {**good, 'extra': t.ones(1), 'first.more': t.ones(1)}, 3,
                {**good, 'first.weight': t.ones(3), 'rest.0.bias': 'text'}, {**good, 'first.seen': t.tensor([[1.]])}]
    return [outcome(lambda: net.load_state_dict(state, strict=strict)) for state in attempts
            for strict in (True, False)]


@case
def loading_values(t, Scale, Pair):
    net = Pair()
    state = {key: value + 5 for key, value in net.state_dict().items()}
    weight, tracked = net.first.weight, net.first.seen
    net.load_state_dict(state)
    copied = net.first.weight is weight and net.first.seen is tracked and net.first.weight.tolist()
    net.first.bias.requires_grad_(False)
    net.load_state_dict(state, assign=True)
    scalar = t.nn.Module()
    scalar.register_buffer('count', t.tensor(0.))
    scalar.load_state_dict({'count': t.tensor([7.])})
    return (copied, net.first.weight.data_ptr() == state['first.weight'].data_ptr(), net.first.bias.requires_grad,
            type(net.first.weight).__name__, net.first.seen is state['first.seen'], scalar.count.tolist())


@case
def state_hooks(t, Scale, Pair):
    log = []

    class Extra(Scale):
        _version = 3

        def get_extra_state(self):
            return {'n': self.size}

        def set_extra_state(self, state):
            log.append(('extra', state))
    net = t.nn.Sequential(Extra(), Scale())
    net.register_state_dict_pre_hook(lambda module, prefix, keep: log.append(('pre', prefix, keep)))
    net[0].register_state_dict_post_hook(lambda module, state, prefix, meta: log.append(('post', prefix, meta)))
    handle = net._register_state_dict_hook(lambda module, state, prefix, meta: OrderedDict(state, more=1))
    net[0].register_load_state_dict_pre_hook(lambda module, *rest: log.append((type(module).__name__, rest[1])))
    net[1]._register_load_state_dict_pre_hook(lambda state, prefix, *rest: state.pop(prefix + 'old', None))
    net.register_load_state_dict_post_hook(lambda module, keys: log.append((module is net, keys.missing_keys)))
    state = net.state_dict()
    handle.remove()
    plain = net.state_dict()
    said = [outcome(lambda: net.load_state_dict({**plain, '1.old': 1})),
            outcome(lambda: net.load_state_dict({k: v for k, v in plain.items() if 'extra' not in k}))]
    net.register_load_state_dict_post_hook(lambda module, keys: keys.missing_keys.clear())
    said.append(outcome(lambda: net.load_state_dict({k: v for k, v in plain.items() if 'extra' not in k})))
    net.register_load_state_dict_post_hook(lambda module, keys: keys)
    said.append(outcome(lambda: net.load_state_dict(plain)))
    net.register_state_dict_post_hook(lambda *_: 1)
    said.append(outcome(net.state_dict))
    return list(state), list(plain), log, said


@case
def containers(t, Scale, Pair):
    a, b, c, d = (Scale(n) for n in range(1, 5))

    def sizes(modules):
        return [m.size for m in modules], list(modules._modules)
    seq, log = t.nn.Sequential(a, b, c), []
    lst = t.nn.ModuleList([a, b])
    actions = [
        lambda: sizes(seq[1:]), lambda: seq[-1].size, lambda: seq[3], lambda: seq['0'], lambda: sizes(seq.append(d)),
        lambda: sizes(seq.insert(1, d)), lambda: seq.insert(9, d), lambda: seq.insert(0, 3),
        lambda: sizes(seq.extend([a, b])), lambda: seq.pop(0).size, lambda: sizes(seq), lambda: sizes(seq + seq),
        lambda: sizes(t.nn.Sequential(a) * 3), lambda: sizes(2 * t.nn.Sequential(a)), lambda: seq * 0,
        lambda: seq + [a], lambda: seq * 1.5, lambda: seq.__delitem__(slice(0, 2)), lambda: sizes(seq),
        lambda: seq.__delitem__(-1),
        lambda: sizes(seq), lambda: seq.__setitem__(0, d), lambda: sizes(seq), lambda: seq.__setitem__(0, 3),
        lambda: seq.__iadd__(t.nn.Sequential(c)) is seq, lambda: seq.__imul__(2) is seq, lambda: sizes(seq),
        lambda: sizes(lst.append(c)), lambda: sizes(lst[::2]), lambda: lst[-1].size, lambda: lst[5],
        lambda: lst.insert(0, d), lambda: sizes(lst), lambda: lst.extend(3), lambda: sizes(lst.extend([a])),
        lambda: sizes(lst + [b]),
        lambda: lst.pop(1).size, lambda: sizes(lst), lambda: lst.__delitem__(slice(0, 2)), lambda: sizes(lst),
        lambda: lst(1), lambda: len(lst), lambda: [m.size for m in reversed(list(lst))], lambda: '0' in dir(lst),
        lambda: lst.__setitem__(0, b), lambda: sizes(lst)]
    for action in actions:
        log.append(outcome(action))
    return log


@case
def dicts(t, Scale, Pair):
    a, b = Scale(1), Scale(2)
    d, p = t.nn.ModuleDict({'a': a}), t.nn.ParameterDict({'b': t.ones(2), 'a': t.nn.Parameter(t.zeros(1))})
    plist = t.nn.ParameterList([t.ones(1), 'x'])

    def kinds():
        return [(k, type(v).__name__) for k, v in p.items()]
    actions = [
        lambda: d['a'] is a, lambda: d['z'], lambda: d.update([('b', b)]), lambda: list(d), lambda: 'b' in d,
        lambda: d.update(3), lambda: d.update([3]), lambda: d.update([(1, 2, 3)]), lambda: d.update({'c': 3}),
        lambda: d.pop('a') is a, lambda: list(d.keys()), lambda: [m.size for m in d.values()], lambda: len(d),
        lambda: d.__setitem__('a.b', a), lambda: d.__delitem__('b'), lambda: d.clear(), lambda: list(d.items()),
        kinds, lambda: p['b'].tolist(), lambda: p['zz'], lambda: outcome(lambda: p[3])[0], 
        lambda: p.__setitem__('c', t.ones(1)), kinds,
        lambda: p.popitem()[0], lambda: p.get('q', 5), lambda: p.setdefault('q', t.ones(1)).tolist(), kinds,
        lambda: sorted((p | t.nn.ParameterDict({'new': t.ones(1)})).keys()), lambda: list(reversed(p)),
        lambda: p.copy()['b'] is p['b'], lambda: list(p.fromkeys(['x', 'y'])), lambda: p.update(3),
        lambda: p.update([3]), lambda: p.__delitem__('b'), lambda: [n for n, _ in p.named_parameters()],
        lambda: p.clear(), kinds,
        lambda: p(1), lambda: plist(1), lambda: plist[1], lambda: plist[2], lambda: len(plist.append(t.zeros(2))),
        lambda: type(plist[2]).__name__, lambda: len(plist[:2]), lambda: plist.extend(t.ones(2)),
        lambda: plist.extend(3),
        lambda: [type(v).__name__ for v in plist], lambda: [n for n, _ in plist.named_parameters()],
        lambda: plist.__setitem__(0, t.ones(5)), lambda: plist[0].shape, lambda: len(plist.extend([1, 2]))]
    return [outcome(action) for action in actions]


@case
def conversions(t, Scale, Pair):
    def kinds(module):
        return [(str(v.dtype).split('.')[-1], v.requires_grad) for v in module.state_dict(keep_vars=True).values()]
    net = Scale()
    net.register_buffer('count', t.tensor(3))
    weight = net.weight
    net(t.ones(2)).sum().backward()
    said = []
    for convert in (lambda: net.double(), lambda: net.to(t.float16), lambda: net.to('cpu', t.float32),
                    lambda: net.to(dtype=t.bfloat16), lambda: net.to(t.zeros(1, dtype=t.float64)), lambda: net.float(),
                    lambda: net.half(), lambda: net.bfloat16(), lambda: net.to(device='cpu'), lambda: net.cpu(),
                    lambda: net.type(t.float64), lambda: net.to(t.device('cpu'), t.float32, True)):
        said.append((kinds(convert()), net.weight is weight, str(net.weight.grad.dtype).split('.')[-1]))
    said.append(outcome(lambda: net.to(t.int32)))
    return said


@case
def modes(t, Scale, Pair):
    net, visited = Pair(), []
    net.apply(lambda module: visited.append(type(module).__name__))
    said = [visited, net.training, net.eval().rest[1].training, net.train() is net, net.rest[0].training,
            outcome(lambda: net.train(1)), net.requires_grad_(False) is net, net.first.weight.requires_grad]
    net.requires_grad_()
    net(t.ones(2)).sum().backward()
    said.append(net.first.weight.grad.tolist())
    gradient = net.first.weight.grad
    net.zero_grad(set_to_none=False)
    said += [gradient.tolist(), net.first.weight.grad is gradient]
    net.zero_grad()
    return said + [net.first.weight.grad]


@case
def forward_hooks(t, Scale, Pair):
    net, x, log = Scale(), t.ones(2), []
    net.register_forward_pre_hook(lambda m, args: log.append(('pre', len(args))))
    first = net.register_forward_pre_hook(lambda m, args: args[0] * 2, prepend=True)
    net.register_forward_pre_hook(lambda m, args, kwargs: (args, {'times': 10}), with_kwargs=True)
    said = [net(x).tolist()]
    net.register_forward_hook(lambda m, args, out: log.append(('after', out.tolist())))
    net.register_forward_hook(lambda m, args, kwargs, out: out + kwargs['times'], with_kwargs=True, prepend=True)
    said.append(net(x).tolist())
    first.remove()
    said.append(net(x).tolist())
    always = net.register_forward_hook(lambda m, args, out: log.append(('always', out)), always_call=True)
    said.append(outcome(lambda: net('text'))[0])
    always.remove()
    bad = net.register_forward_pre_hook(lambda m, args, kwargs: 3, with_kwargs=True)
    said.append(outcome(lambda: net(x)))
    bad.remove()
    with net.register_forward_hook(lambda m, args, out: out * 0):
        said.append(net(x).tolist())
    said.append(net(x).tolist())
    return said, log, len(net._forward_hooks), len(net._forward_hooks_always_called)


@case
def global_hooks(t, Scale, Pair):
    from_module = t.nn.modules.module
    net, x, log = t.nn.Sequential(Scale(), Scale()), t.ones(2, requires_grad=True), []
    handles = [
        from_module.register_module_forward_pre_hook(lambda m, args: log.append(('pre', type(m).__name__))),
        from_module.register_module_forward_hook(lambda m, args, out: log.append(('after', out.tolist()))),
        from_module.register_module_full_backward_pre_hook(lambda m, out: log.append(('bpre', out[0].tolist()))),
        from_module.register_module_full_backward_hook(lambda m, gi, go: log.append(('back', gi[0].tolist()))),
        from_module.register_module_parameter_registration_hook(lambda m, name, p: log.append(name)),
        from_module.register_module_buffer_registration_hook(lambda m, name, b: log.append(name)),
        from_module.register_module_module_registration_hook(lambda m, name, c: log.append(name))]
    try:
        net(x).sum().backward()
        t.nn.Sequential(Scale())
    finally:
        for handle in handles:
            handle.remove()
    count = len(log)
    net(x).sum().backward()
    t.nn.Sequential(Scale())
    return log, len(log) == count


@case
def backward_hooks(t, Scale, Pair):
    class Two(t.nn.Module):
        def forward(self, a, text, b):
            return a * 2, text, b * 3
    log = []

    def plain(gradients):
        return [None if g is None else g.tolist() for g in gradients]
    net = Two()
    net.register_full_backward_hook(lambda m, gi, go: log.append(('full', plain(gi), plain(go))))
    net.register_full_backward_pre_hook(lambda m, go: log.append(('pre', plain(go))))
    a, b = t.ones(1, requires_grad=True), t.ones(1, requires_grad=True)
    out = net(a, 'x', b)
    (out[0] + out[2]).sum().backward()
    net(a, 'x', t.ones(1))[0].sum().backward()
    net(a, 'x', b)[0].sum().backward()
    doubled = Two()
    doubled.register_full_backward_hook(lambda m, gi, go: tuple(None if g is None else g * 10 for g in gi))
    doubled.register_full_backward_pre_hook(lambda m, go: tuple(None if g is None else g * 3 for g in go))
    a.grad = None
    doubled(a, 'x', b)[0].sum().backward()
    leaf = Scale()
    leaf.register_full_backward_hook(lambda m, gi, go: log.append(('leaf', plain(gi), plain(go))))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        leaf(t.ones(2)).sum().backward()
    with t.no_grad():
        leaf(t.ones(2, requires_grad=True))
    wrong = Two()
    wrong.register_full_backward_hook(lambda m, gi, go: gi[:1])
    said = [a.grad.tolist(), len(caught), outcome(lambda: leaf.register_backward_hook(print)),
            outcome(lambda: wrong(a, 'x', b)[0].sum().backward())]
    older = Scale()
    older.register_backward_hook(lambda m, gi, go: log.append(('older', plain(go))))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        older(t.ones(2, requires_grad=True)).sum().backward()
    return log, said, outcome(lambda: older.register_full_backward_hook(print))


@case
def mutated_dicts(t, Scale, Pair):
    """People write `_parameters` and its like directly; attributes must follow."""
    layer, other = Scale(), t.nn.Parameter(t.ones(1))
    said = []

    def see():
        said.append([outcome(lambda: getattr(layer, name) is other) for name in ('weight', 'extra', 'seen')])
    layer._parameters['weight'] = other
    see()
    layer._parameters['extra'] = other
    see()
    del layer._parameters['weight']
    see()
    layer._parameters.update(weight=other)
    said.append(layer._parameters.pop('extra') is other)
    see()
    said.append(layer._parameters.setdefault('bias', other) is other)
    layer._parameters.clear()
    see()
    held, layer._buffers = layer._buffers, {'seen': other}
    see()
    held['seen'] = held['late'] = None  # what was put away concerns the module no more
    said.append(hasattr(layer, 'late'))
    see()
    layer.weight = t.ones(1)  # a plain attribute, which hides a parameter set behind its back
    layer._parameters['weight'] = other
    see()
    layer.weight = t.nn.Parameter(t.ones(1))
    see()
    layer._parameters['weight'] = other
    layer.__dict__['weight'] = None
    see()
    del layer.__dict__['weight']
    see()
    layer._modules['forward'] = layer  # the class's attribute comes first
    said.append(layer.forward is layer)
    return said, sorted(set(dir(layer)) & {'weight', 'seen', 'extra', 'forward'})


@case
def copies(t, Scale, Pair):
    net = Pair()
    net.rest[0].weight = net.first.weight
    net.first.register_forward_hook(lambda m, args, out: out * 2)
    deep, shallow = copy.deepcopy(net), copy.copy(net)
    said = [deep.first.weight is net.first.weight, deep.rest[0].weight is deep.first.weight, shallow.first is net.first,
            deep(t.ones(2)).tolist(), shallow._modules is net._modules,
            'first' in net.__getstate__()]
    shallow.first = Scale(3)
    said += [net.first.size, shallow.first.size, deep.first.size]
    deep._parameters['late'] = t.nn.Parameter(t.ones(1))
    return said + [deep.late.tolist(), hasattr(net, 'late')]


def without_paths(text):
    return re.sub(r'(flambeau|torch)\.(nn\.(modules\.)?)?', '', text)


@pytest.mark.parametrize('name', CASES)
def test_same_as_torch(name):
    torch = pytest.importorskip('torch')
    ours, theirs = (CASES[name](framework, *layers(framework)) for framework in (flambeau, torch))
    assert without_paths(repr(ours)) == without_paths(repr(theirs))


# ---- what is our own ---------------------------------------------------------------------------------------

class Affine(nn.Module):
    """A layer at the top of a module, so that it can be pickled."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(flambeau.ones(2))
        self.register_buffer('seen', flambeau.zeros(1))

    def forward(self, x):
        return x * self.weight


class KeepsWholeDict(Affine):
    def __getstate__(self):
        return self.__dict__.copy()

    def __setstate__(self, state):
        self.__dict__.update(state)


@pytest.mark.parametrize('kind', [Affine, KeepsWholeDict])
def test_pickled_module_is_whole(kind):
    original = kind()
    read = pickle.loads(pickle.dumps(original))
    assert read.weight is read._parameters['weight'] and read.weight is not original.weight
    replacement = nn.Parameter(flambeau.zeros(2))
    read.weight = replacement
    assert read.weight is replacement is read._parameters['weight']
    assert original.weight.tolist() == [1, 1]
    read._parameters['weight'] = original.weight
    assert read.weight is original.weight


def test_module_is_freed_without_the_cycle_collector():
    gc.collect()
    gc.disable()
    try:
        net = nn.Sequential(Affine(), nn.ModuleList([Affine()]))
        net[0].register_forward_hook(lambda module, args, out: out)
        net[0](flambeau.ones(2))
        gone = [weakref.ref(module) for module in net.modules()]
        del net
        assert [reference() for reference in gone] == [None] * 4
    finally:
        gc.enable()


def test_members_are_found_without_getattr(monkeypatch):
    layer = Affine()
    monkeypatch.setattr(nn.Module, '__getattr__', lambda self, name: pytest.fail(f'{name} took the slow way'))
    assert layer.weight is layer._parameters['weight'] and layer.seen is layer._buffers['seen']


def test_a_call_adds_one_frame():
    import sys

    class Depth(nn.Module):
        def forward(self):
            return sys._getframe()
    inner = Depth()()
    assert inner.f_back.f_code is nn.Module.__call__.__code__ and inner.f_back.f_back is sys._getframe()


def test_failed_load_changes_nothing():
    net = nn.Sequential(Affine(), Affine())
    before = {key: value.clone() for key, value in net.state_dict().items()}
    good = {key: value + 1 for key, value in before.items()}
    for bad in ({**good, '1.seen': flambeau.ones(7)}, {**good, 'more': 1}, {k: good[k] for k in list(good)[:2]}):
        with pytest.raises(RuntimeError, match='Error.s. in loading state_dict for Sequential'):
            net.load_state_dict(bad)
        assert all(value.equal(before[key]) for key, value in net.state_dict().items())


def test_load_refused_after_hooks_is_undone():
    class Reads(Affine):
        def _load_from_state_dict(self, *args):
            super()._load_from_state_dict(*args)
            self.read = self.weight.tolist()  # the values are there at once
    net = nn.Sequential(Reads(), Affine())
    net.register_load_state_dict_post_hook(lambda module, keys: None)
    with pytest.raises(RuntimeError, match='Missing key'):
        net.load_state_dict({'0.weight': flambeau.zeros(2), '0.seen': flambeau.ones(1), '1.weight': flambeau.zeros(2)})
    assert net[0].read == [0, 0]
    assert net[0].weight.tolist() == net[1].weight.tolist() == [1, 1]


class Raises(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, x, scale=None):
        raise self.error

    def extra_repr(self):
        return 'always'


class Net(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.features = nn.ModuleList([nn.Sequential(Affine(), Raises(error))])

    def forward(self, x):
        return self.features[0](x)


PLACE = 'in layer Net.features.0.1 (Raises(always)) called with float32[3, 2]'


@pytest.mark.parametrize('kind', [RuntimeError, ValueError, TypeError, IndexError, NotImplementedError])
def test_error_names_the_layer(kind):
    with pytest.raises(kind) as caught:
        Net(kind('broken'))(flambeau.ones(3, 2))
    assert type(caught.value) is kind and str(caught.value) == f'broken\n  {PLACE}'
    assert caught.traceback[-1].name == 'forward'
    pickle.dumps(caught.value)


class Own(Exception):
    pass


OTHER_ERRORS = [KeyError('k'), OSError(2, 'no file'), Own('stop'), ValueError('a', 'b'), ValueError()]


@pytest.mark.parametrize('error', OTHER_ERRORS, ids=repr)
def test_other_errors_keep_their_text_and_get_a_note(error):
    args = error.args
    with pytest.raises(type(error)) as caught:
        Net(error)(flambeau.ones(3, 2))
    assert caught.value is error and error.args == args and error.__notes__ == [PLACE]


def test_signals_pass_untouched():
    with pytest.raises(StopIteration) as caught:
        Net(StopIteration(3))(flambeau.ones(2))
    assert caught.value.value == 3 and not hasattr(caught.value, '__notes__')


def test_place_of_an_error_is_written_once():
    error = RuntimeError('broken')
    net = Net(error)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            net(flambeau.ones(3, 2))
    assert str(error).count('in layer') == 1 and len(str(error)) < 300


def test_place_of_an_error_in_an_unregistered_module():
    hidden = Raises(ValueError('broken'))

    class Outer(nn.Module):
        def forward(self, x):
            return hidden(x, scale={'a': 1})
    with pytest.raises(ValueError, match=r'Outer\.<a module that is not registered> \(Raises\(always\)\) called with '
                                         r'float32\[2\], scale=dict'):
        Outer()(flambeau.ones(2))
