"""What an operation is: its formula, gradients, batching rule, lowering and sample inputs in one object; the registry.

An operation is declared once, by a decorator of its kind on its formula:

    elementwise   one value from the values at the same place; brings broadcasting, type promotion and batching
    reduction     folds dimensions away
    view          the same memory under another shape; the gradient of an injective view is derived
    contraction   sums of products named by index letters; gradient and batching move the letters
    composite     a formula over other operations; everything else is derived from it
    opaque        anything else, with its rules given explicitly

A formula's first parameter is `m`, the set of all operations: over arrays (ops/reference.py), over tensors (`PUBLIC`),
or over whatever else reads it (tracing, kernels). Its other parameters are PyTorch's, with PyTorch's names and
defaults. A gradient is a formula `(m, g, names...)` whose names are what it needs: parameters, `output`, `outputs`,
`outputK` (one of several results), `NAME_shape`, `NAME_dtype`, or `needed` (the operands whose gradient is asked for).
Only what is named is saved. This module knows nothing of how arrays are computed or when formulas run; `call.py` does.
"""
from __future__ import annotations

import numpy as np

from .. import dtypes
from ..autograd.graph import FREED, Node, told_writer
from ..tensor import Parameter, Tensor
from .overriding import asking
from .reference import LARGE, REFERENCE, SEVERAL

__all__ = ['Operation', 'elementwise', 'primitive', 'reduction', 'view', 'contraction', 'composite', 'opaque',
           'export', 'OPERATIONS', 'EXPORTS', 'PUBLIC', 'exports']

OPERATIONS: dict[str, 'Operation'] = {}
EXPORTS: dict[str, dict] = {}  # namespace -> {name: public callable}


class _Public:
    """`m` over tensors: the public callables of all operations."""

    def __getattr__(self, name):
        found = self._find(name)
        if found is None:
            from . import load_all
            load_all()
            found = self._find(name)
            if found is None:
                raise AttributeError(f'no operation {name!r}')
        setattr(self, name, found)
        return found

    def kernel(self, name, *arguments):
        """Tensors have no generated kernels of their own: the operations they are put together from have."""

    def fused(self, formula, *arguments):
        return formula(self, *arguments)

    def whole(self, formula, *arguments):
        return self.sum(formula(self, *arguments))

    def _find(self, name):
        if name in OPERATIONS:
            return OPERATIONS[name].public
        return next((EXPORTS[n][name] for n in ('torch', 'nn.functional') if name in EXPORTS.get(n, ())), None)


PUBLIC = _Public()


class SavedOutput:
    """An operation's own result among the values its node saves: the array, not the tensor, which owns the node."""

    __slots__ = ('_array', '_counter', 'index')

    def __init__(self, array, counter, index=None):
        self._array = array
        self._counter = counter
        self.index = index


def parameters_of(function, skip=1):
    """(positional names, keyword-only names) of a function, without its first `skip`."""
    code = function.__code__
    count = code.co_argcount
    names = code.co_varnames
    return names[skip:count], names[count:count + code.co_kwonlyargcount]


def code_required(function):
    """The positional parameters without a default, after the first."""
    count = function.__code__.co_argcount - len(function.__defaults__ or ())
    return function.__code__.co_varnames[1:count]


class Operation:
    """One operation. `public` is what users call; `formula(m, ...)` is its meaning."""

    def __init__(self, kind, formula, *, name=None, grad=None, namespace='torch', method=True, inplace=False,
                 aliases=(), variadic=None, returns=None, promote=None, widen=False, domain=(-2.0, 2.0),
                 batch=None, label=None, view_refusal=None, kernel=None, may_copy=False,
                 strict_out=False, number_first=None, check=None, own_formulas=(), constants=False, materialize=True,
                 replay=False, kernel_for_integers=True):
        self.kind = kind
        self.formula = formula
        self.name = name or formula.__name__.rstrip('_')
        self.positional, self.keywords = parameters_of(formula)
        self.parameters = self.positional + self.keywords
        self.joint = grad if callable(grad) else None
        self.gradients = grad if isinstance(grad, dict) else {}
        self.recordable = grad is not None or kind in ('view', 'composite')
        self.namespaces = namespace.split()
        self.method = method
        self.inplace = inplace
        self.aliases = aliases
        self.variadic = variadic
        self.returns = returns
        if isinstance(promote, tuple):  # the operands named are brought to one dtype
            self.promote, self.promote_names = 'same', promote
        else:
            required = code_required(formula)
            self.promote, self.promote_names = promote, required
        self.defaults = {**dict(zip(reversed(self.positional), reversed(formula.__defaults__ or ()))),
                         **(formula.__kwdefaults__ or {})}
        self.widen = widen  # float16 and bfloat16 are computed in float32
        self.domain = domain
        self.batch = batch
        self.view_refusal = view_refusal
        self.kernel = kernel  # the function of `m` that computes it alone when its options are at their defaults
        self.kernels = None if kernel is None else {}  # {array dtype: that function of arrays}, filled when first met
        self.find_kernel = None  # find_kernel(array dtype) fills it
        self.kernel_for_integers = kernel_for_integers  # else their formula refuses some
        self.may_copy = may_copy  # a view that is a copy where strides do not allow it
        # whether a Python number may stand where the first tensor does, as in pow(2, x)
        self.number_first = 'special' in self.namespaces if number_first is None else number_first
        self.check = check  # check(name, dtypes of the tensors, all operands): raises for operands promotion would hide
        self.own_formulas = own_formulas  # numbers other than 0 with which an operand makes another, shorter formula
        # its work follows from shapes, strides, dtypes and options alone, not from values; MOVES: and puts elements of
        # its one array, or constants, somewhere
        self.replay = replay
        self.constants = constants  # numbers decide what the formula does, so that kernels have them as constants
        self.strict_out = strict_out  # `out=` must have the result's dtype and memory apart from the operands
        self.plans = {}
        count, names = len(self.positional), self.keywords
        self.flat = formula if not names else (  # the formula with all its parameters by position
            lambda m, *values: formula(m, *values[:count], **dict(zip(names, values[count:]))))
        words = self.name.strip('_').split('_')
        label = label or ''.join(w[:1].upper() + w[1:] for w in words) + 'Backward0'
        # materialize: results that nothing depends on have cotangents of zeros for the gradient; else None
        self.node_class = type(label, (Node,), {'__slots__': (), 'label': label, 'operation': self,
                                                'materialize_grads': materialize})

    def __repr__(self):
        return f'<{self.kind} operation {self.name}>'

    def fixed(self, values) -> tuple:
        """The arguments with which a kernel is looked for."""
        if not self.constants:
            return tuple(values)
        return tuple([np.float64(v) if v.__class__ is float else v for v in values])

    def plan(self, needed: tuple) -> 'Plan':
        """How backward goes for the operands at these positions (a list operand as (position, positions in it))."""
        found = self.plans.get(needed)
        if found is None:
            found = self.plans[needed] = Plan(self, needed)
        return found


class Plan:
    """How one operation's gradients are computed for a given set of operands that need one.

    `names` are what its formulas need; `fetches` say where each is found in a call: ('value' | 'shape' | 'dtype',
    position of the parameter), ('output', None), ('outputs', None) or ('result', k) for `outputK`.
    """

    chooses = True  # `pull` can leave gradients out
    __slots__ = ('operation', 'names', 'fetches', 'steps', 'joint', 'picks', 'needed', 'needed_names', 'widen',
                 'fusible', 'least')

    def __init__(self, operation, positions):
        self.operation, self.widen = operation, operation.widen
        # whole formulas are worth a kernel at any size, the gradients of array functions only where there is much to do
        self.fusible = operation.kind in ('elementwise', 'reduction')
        self.least = 0 if operation.kernel is None else LARGE
        keys = [p if p.__class__ is tuple else (p, None) for p in positions]
        self.needed = tuple((operation.parameters[p], several) for p, several in keys)
        self.needed_names = frozenset(name for name, _ in self.needed)
        self.joint, self.steps, self.picks = operation.joint, (), ()
        if operation.joint is not None:
            formulas = [operation.joint]
        elif operation.kind == 'view' and not operation.gradients:
            formulas = [view_gradient(operation)]
        else:
            missing = [n for n, _ in self.needed if n not in operation.gradients]
            if missing:
                raise RuntimeError(f'the derivative of {operation.name} with respect to {missing[0]!r} '
                                   'is not implemented')
            formulas = [operation.gradients[n] for n, _ in self.needed]
        wanted = [getattr(f, 'names', None) or parameters_of(f, 2)[0] for f in formulas]
        names = tuple(dict.fromkeys(n for w in wanted for n in w if n != 'needed'))
        self.names = names
        self.fetches = tuple(self._fetch(n) for n in names)
        if self.joint is not None:
            self.picks = tuple(-1 if n == 'needed' else names.index(n) for n in wanted[0])
        else:
            self.steps = tuple((f, tuple(names.index(n) for n in w), several)
                               for f, w, (_, several) in zip(formulas, wanted, self.needed))

    def _fetch(self, name):
        parameters = self.operation.parameters
        if name in parameters:
            return 'value', parameters.index(name)
        if name in ('output', 'outputs'):
            return name, None
        if name[:6] == 'output' and name[6:].isdigit():
            return 'result', int(name[6:])
        base, _, what = name.rpartition('_')
        if what in ('shape', 'dtype') and base in parameters:
            return what, parameters.index(base)
        raise NameError(f'a gradient of {self.operation.name} names {name!r}, which is neither a parameter, output, '
                        'outputs, nor NAME_shape or NAME_dtype of one')

    def pull(self, node, cotangent, m, tensors, chosen=None):
        """The gradients for the node's edges, as arrays, or as tensors where `tensors` is true.

        chosen: whether each edge's is wanted; where it is not, it may be None.
        """
        saved = node.saved
        if saved is FREED:
            raise RuntimeError(
                f'Trying to backward through the graph a second time (or directly access saved tensors after they have '
                f'already been freed) at {node.name()}. Saved intermediate values of the graph are freed when you call '
                '.backward() or autograd.grad(). Specify retain_graph=True if you need to backward through the graph a '
                'second time or if you need to access saved tensors after calling backward.')
        if tensors or node.extra is not None:
            check_versions(node, saved)
            saved = saved if node.extra is None else unpacked(node)
            values = [as_tensor(v, node) for v in saved] if tensors else [as_array(v) for v in saved]
        else:
            values, versions = [], node.versions
            for v in saved:
                kind = v.__class__
                if kind is Tensor or kind is SavedOutput or kind is Parameter:
                    counter = v._counter
                    if counter is not None and counter[0] != (0 if versions is None else versions[len(values)]):
                        check_versions(node, saved)
                    values.append(v._array)
                elif kind is list:
                    check_versions(node, saved)
                    values.append([as_array(x) for x in v])
                else:
                    values.append(v if not isinstance(v, Tensor) else v._array)
        half = None
        if self.widen and not tensors and getattr(cotangent, 'itemsize', 2) == 2 and (
                node.shapes is not None or not self._fuses(m, cotangent, values)):
            half, (cotangent, *values) = widened([cotangent, *values])
        if self.joint is not None:
            grads = self._joint_gradients(m, cotangent, values, chosen)
        else:
            grads = []
            fusible = self.fusible and not tensors and getattr(cotangent, 'size', -1) >= self.least
            parts = None if chosen is None else self._parts(chosen)
            for formula, picks, several in self.steps:
                if parts is not None and not any(next(parts)):
                    grads.extend([None] * (1 if several is None else len(several)))
                    continue
                given = [values[i] for i in picks]
                if not fusible:
                    grad = formula(m, cotangent, *given)
                elif self.operation.constants:
                    plan = m.planned(formula, (cotangent, *self.operation.fixed(given)), SEVERAL)
                    grad = plan(cotangent, *given) if plan else formula(m, cotangent, *given)
                else:
                    grad = m.fused(formula, cotangent, *given)
                if several is None:
                    grads.append(grad)
                else:
                    grads.extend([grad[i] for i in several])
        if node.shapes is not None:
            grads = [g if g is None or g.shape == s else m.sum_to_size(g, s) for g, s in zip(grads, node.shapes)]
        if half is not None:
            grads = [g if g is None else REFERENCE.cast(g, dtypes.of(half)) for g in grads]
        return grads

    def _fuses(self, m, cotangent, values):
        """Whether all gradients are generated kernels, which compute half types in float32 by themselves."""
        return self.joint is None and self.fusible and getattr(cotangent, 'size', 0) >= LARGE and all(
            m.planned(formula, (cotangent, *self.operation.fixed([values[i] for i in picks])))
            for formula, picks, _ in self.steps)

    def _joint_gradients(self, m, cotangent, values, chosen):
        needed = self.needed_names if chosen is None else frozenset(
            name for (name, _), part in zip(self.needed, self._parts(chosen)) if any(part))
        found = self.joint(m, cotangent, *[needed if i < 0 else values[i] for i in self.picks])
        grads = []
        for name, several in self.needed:
            if several is None:
                grads.append(found[name] if name in needed else None)
            else:
                grads.extend([found[name][i] for i in several] if name in needed else [None] * len(several))
        return grads

    def _parts(self, chosen):
        """The values of `chosen`, one for each edge, by operands."""
        place = 0
        for _, several in self.needed:
            count = 1 if several is None else len(several)
            yield chosen[place:place + count]
            place += count


def view_gradient(operation):
    """The derived gradient of an injective view: zeros in the input's shape, with the cotangent where the view looks.
    """
    def adjoint(m, g, input_shape, *arguments):
        return m.view_adjoint(g, operation, input_shape, arguments)
    adjoint.names = (operation.parameters[0] + '_shape', *operation.parameters[1:])
    return adjoint


def as_array(value):
    if value.__class__ is list:
        return [as_array(v) for v in value]
    return getattr(value, '_array', value)


def as_tensor(value, node):
    if value.__class__ is SavedOutput:
        from ..autograd.graph import Output
        tensor = object.__new__(Tensor)
        tensor._array = value._array
        tensor._node = None
        if value._array.dtype.kind in 'fcV':  # indices among the results have no gradient
            tensor._node = node if value.index is None else Output(node, value.index)
        tensor._counter = value._counter
        return tensor
    if value.__class__ is list:
        return [as_tensor(v, node) for v in value]
    return value


def unpacked(node):
    """The saved values, through the saved-tensor hook they were packed with."""
    unpack = node.extra and node.extra.get('unpack')
    if unpack is None:
        return node.saved
    return tuple(unpack(v) if packed else v for v, packed in zip(node.saved, node.extra['packed']))


def check_versions(node, saved):
    """Raises where a value saved for backward was overwritten in place since."""
    versions = node.versions
    for k, value in enumerate(saved):
        counter = getattr(value, '_counter', None)
        if counter is not None and counter[0] != (0 if versions is None else versions[k]):
            raise RuntimeError(_overwritten(node, k, value, 0 if versions is None else versions[k]))
        if value.__class__ is list:
            for position, item in enumerate(value):
                version = 0 if versions is None else versions[k][position]
                if getattr(item, '_counter', None) is not None and item._counter[0] != version:
                    raise RuntimeError(_overwritten(node, k, item, version))


def _overwritten(node, k, value, version):
    shape, kind, told = list(value._array.shape), dtypes.of(value._array.dtype), told_writer(value._counter)
    return ('one of the variables needed for gradient computation has been modified by an inplace operation: '
            f'[{kind} {shape}], which is {node.plan.names[k]!r} of {node.name()}, is at version {value._counter[0]}; '
            f'expected version {version} instead.{told} Use the out-of-place form there, or .clone() the value before '
            'changing it.')


def widened(values):
    """(the half dtype met among arrays or None, the values with arrays of half dtypes in float32)."""
    half = None

    def up(v):
        nonlocal half
        if v.__class__ in (list, tuple):
            return type(v)(up(x) for x in v)
        kind = getattr(v, 'dtype', None)
        if kind in HALF_ARRAYS and hasattr(v, 'astype'):
            half = kind
            return REFERENCE.cast(v, dtypes.float32)
        return v
    values = [up(v) for v in values]
    return half, values


HALF_ARRAYS = frozenset(d.numpy for d in dtypes.HALVES)


# ---- declaring ------------------------------------------------------------------------------------------

def register(operation: Operation):
    """Makes the operation's public callables and puts them where users look for them. Returns the function."""
    from . import call, writing
    if operation.name in OPERATIONS:
        raise ValueError(f'operation {operation.name!r} is declared twice')
    OPERATIONS[operation.name] = operation
    public = operation.public = call.entry(operation)
    names = (operation.name, *operation.aliases)
    publish(public, names, operation.namespaces, operation.method)
    if operation.inplace is not False:  # '' is the method alone
        changing = writing.inplace_entry(operation, operation.find_kernel)
        namespaces = operation.namespaces if operation.inplace is True else operation.inplace.split()
        publish(changing, [n + '_' for n in names], namespaces, operation.method)
    return public


def publish(function, names, namespaces, method):
    for name in names:
        for namespace in namespaces:
            if namespace:
                EXPORTS.setdefault(namespace, {})[name] = function
                if name == function.__name__ and namespace == namespaces[0]:  # where pickles look for it
                    function.__module__ = 'flambeau' if namespace == 'torch' else f'flambeau.{namespace}'
        if method:
            setattr(Tensor, name, function)


def export(namespace='torch', method=False, name=None, aliases=(), asks=True, lenient=()):
    """Publishes a plain Python function over public operations under the names users look for.

    The classes of its tensors are asked first (`__torch_function__`), unless it does that itself: `asks=False`; what is
    no tensor is refused where one must be, but for `lenient` parameters.
    """
    def decorate(function):
        if asks:
            function = asking(function, name or function.__name__, lenient)
        publish(function, (name or function.__name__, *aliases), namespace.split(), method)
        return function
    return decorate


def exports(namespace: str) -> dict:
    """The public names of a namespace, such as 'nn.functional'."""
    return EXPORTS.get(namespace, {})


def _kind(kind, **defaults):
    def declare(formula=None, **options):
        def decorate(formula):
            return register(Operation(kind, formula, **{**defaults, **options}))
        return decorate if formula is None else decorate(formula)
    declare.__name__ = kind
    declare.__doc__ = f'Declares the decorated formula as an operation of kind {kind}; see the head of this module.'
    return declare


elementwise = _kind('elementwise', promote='same', widen=True)
reduction = _kind('reduction', widen=True)
view = _kind('view', replay=True)  # but where a method of arrays is faster, or what lies around the array counts
contraction = _kind('contraction', widen=True)
composite = _kind('composite', widen=True)
opaque = _kind('opaque')


def primitive(name, parameters='input', promote='same', **options):
    """Declares an elementwise operation that is itself a function of `m`'s arithmetic, such as exp.

    `parameters` are the operands' names. Its array form is the reference namespace's function of that name.
    """
    formula = eval(f'lambda m, {parameters}: m.{name}({parameters})')
    formula.__name__ = name
    formula.__doc__ = options.pop('doc', None)
    return register(Operation('elementwise', formula, name=name, promote=promote, kernel=name, **options))
