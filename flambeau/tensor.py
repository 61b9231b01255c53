"""The tensor: an array, how it came about, and how often its memory was written.

Knows the array library and the graph's vocabulary, and no operation: those put their functions and methods on `Tensor`
when they are declared (ops/definition.py). What stands here is structure, conversion and the attributes of leaves.
"""
from __future__ import annotations

import contextlib
import math
import weakref
from collections import OrderedDict

import numpy as np

from . import dtypes
from .autograd.graph import LEAF, Output, View, counter_of, edge_of, owner_of
from .autograd.modes import STATE
from .device import CPU, resolve

__all__ = ['Tensor', 'Parameter', 'Size', 'wrap', 'memory_format', 'layout', 'no_override']

new = object.__new__
ndarray = np.ndarray


class Size(tuple):
    """The shape of a tensor; a tuple that also counts its elements.

    >>> Size([2, 3]).numel()
    6
    """

    __slots__ = ()

    def numel(self) -> int:
        return math.prod(self)

    def __repr__(self):
        return f'torch.Size({list(self)})'

    def __getitem__(self, index):
        found = tuple.__getitem__(self, index)
        return Size(found) if index.__class__ is slice else found

    def __add__(self, other):
        return Size(tuple.__add__(self, tuple(other)))

    def __radd__(self, other):
        return Size(tuple(other) + tuple(self))

    def __mul__(self, times):
        return Size(tuple.__mul__(self, times))

    __rmul__ = __mul__

    def __reduce__(self):
        return Size, (tuple(self),)


class _Named:
    """A named constant of PyTorch's, such as a memory format."""

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return f'torch.{self.name}'

    def __reduce__(self):
        return self.name


class memory_format(_Named):
    """How dimensions are laid out in memory: contiguous_format, channels_last, channels_last_3d, preserve_format."""


class layout(_Named):
    """How a tensor is stored; all tensors here are strided."""


contiguous_format = memory_format('contiguous_format')
preserve_format = memory_format('preserve_format')
channels_last = memory_format('channels_last')
channels_last_3d = memory_format('channels_last_3d')
strided = layout('strided')
sparse_coo = layout('sparse_coo')


def no_override(function, types, args=(), kwargs=None):
    """The `__torch_function__` of classes whose calls are not overridden."""
    return NotImplemented


def disabled_override(function, args, kwargs):
    """Runs a function with overriding switched off."""
    before = STATE.overriding
    STATE.overriding = False
    try:
        return function(*args, **(kwargs or {}))
    finally:
        STATE.overriding = before


def as_class(value, cls):
    """Results of an overridden call as tensors of the subclass that answered."""
    if cls is Tensor:
        return value
    if isinstance(value, Tensor) and not isinstance(value, cls):
        return value.as_subclass(cls)
    if isinstance(value, (tuple, list)):
        items = [as_class(v, cls) for v in value]
        return type(value)(*items) if hasattr(value, '_fields') else type(value)(items)
    return value


class _TensorClass(type):
    """The class of Tensor: finds methods of families of operations that are not loaded yet."""

    def __getattr__(cls, name):
        if not name.startswith('_'):
            from .ops import load_all
            load_all()
            for kind in cls.__mro__:
                if name in kind.__dict__:
                    return getattr(cls, name)
        raise AttributeError(f'type object {cls.__name__!r} has no attribute {name!r}')


class _ParameterClass(_TensorClass):
    """The class of Parameter, whose instances are also tensors of other subclasses that were made parameters."""

    def __instancecheck__(cls, value):
        return type.__instancecheck__(cls, value) or cls is Parameter and isinstance(value, Tensor) \
            and value._is_parameter


class Tensor(metaclass=_TensorClass):
    """A multi-dimensional array of one dtype that remembers how it was computed.

    Made by `tensor`, `zeros`, `randn`, ... or by operations on other tensors. Attributes: `shape`, `dtype`, `device`,
    `requires_grad`, `grad`, `grad_fn`, `is_leaf`, `data`.
    """

    __slots__ = ('_array', '_node', '_counter', '__dict__', '__weakref__')
    __array_priority__ = 1000
    _grad = None
    _hooks = None
    _post_hooks = None
    _is_parameter = False

    def __new__(cls, *data, device=None):
        """`Tensor(2, 3)` is uninitialised, `Tensor([1, 2])` holds data, both in the default dtype."""
        from .ops.creation import constructed
        resolve(device)
        return make(cls, constructed(data, dtypes.get_default_dtype()))

    def __init__(self, *data, **options):
        pass

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        """What calls on a subclass do unless it overrides this: compute, and give results of that subclass."""
        if not all(issubclass(cls, t) for t in types):
            return NotImplemented
        return as_class(disabled_override(func, args, kwargs), cls)

    # ---- structure

    @property
    def shape(self) -> Size:
        return Size(self._array.shape)

    def size(self, dim=None):
        """The shape, or the size of one dimension."""
        shape = self._array.shape
        if dim is None:
            return Size(shape)
        if dim.__class__ is int:
            try:
                return shape[dim]
            except IndexError:
                pass  # told below
        if not -max(len(shape), 1) <= dim < max(len(shape), 1) or not shape:
            raise IndexError(f'Dimension out of range (expected to be in range of [{-max(len(shape), 1)}, '
                             f'{max(len(shape), 1) - 1}], but got {dim})')
        return shape[dim]

    @property
    def dtype(self) -> dtypes.dtype:
        return dtypes.of(self._array.dtype)

    device = property(lambda self: CPU, doc='Where the elements are.')
    layout = property(lambda self: strided, doc='How the elements are stored.')
    is_cuda = property(lambda self: False)
    is_cpu = property(lambda self: True)
    is_sparse = property(lambda self: False)
    is_sparse_csr = property(lambda self: False)
    is_quantized = property(lambda self: False)
    is_meta = property(lambda self: False)
    is_mps = property(lambda self: False)
    is_xpu = property(lambda self: False)
    is_xla = property(lambda self: False)
    is_mkldnn = property(lambda self: False)
    is_nested = property(lambda self: False)
    names = property(lambda self: (None,) * self._array.ndim)
    ndim = property(lambda self: self._array.ndim)
    itemsize = property(lambda self: self._array.itemsize)
    nbytes = property(lambda self: self._array.nbytes)

    def dim(self) -> int:
        """The number of dimensions."""
        return self._array.ndim

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        return self._array.size

    nelement = numel

    def element_size(self) -> int:
        """Bytes of one element."""
        return self._array.itemsize

    def stride(self, dim=None):
        """How many elements apart neighbours along each dimension (or one) are in memory."""
        strides = element_strides(self._array)
        if dim is None:
            return strides
        self.size(dim)
        return strides[dim]

    def storage_offset(self) -> int:
        """How many elements into its storage this tensor begins."""
        from .storage import offset_of
        return offset_of(self._array)

    def data_ptr(self) -> int:
        """The address of the first element."""
        return self._array.__array_interface__['data'][0] if self._array.size else 0

    def is_contiguous(self, memory_format=contiguous_format) -> bool:
        """Whether the elements lie in memory in the order of the given format."""
        if memory_format is contiguous_format:
            return self._array.flags.c_contiguous
        from .storage import is_channels_last
        return is_channels_last(self._array, memory_format)

    def dim_order(self, *, ambiguity_check=False) -> tuple:
        """The dimensions from the slowest varying in memory to the fastest."""
        strides = self.stride()
        return tuple(sorted(range(len(strides)), key=lambda k: -strides[k]))

    def is_set_to(self, tensor) -> bool:
        """Whether the other tensor has the same memory, shape and strides."""
        a, b = self._array, tensor._array
        return a.shape == b.shape and a.strides == b.strides and self.data_ptr() == tensor.data_ptr()

    def get_device(self) -> int:
        return -1

    def is_floating_point(self) -> bool:
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        return self._array.dtype.kind == 'c'

    def is_signed(self) -> bool:
        return self.dtype.is_signed

    def is_inference(self) -> bool:
        return False

    def is_conj(self) -> bool:
        return False

    def is_neg(self) -> bool:
        return False

    def resolve_conj(self):
        return self

    def resolve_neg(self):
        return self

    def has_names(self) -> bool:
        return False

    def is_shared(self) -> bool:
        """Whether other processes can map the memory."""
        from .storage import is_shared_memory
        return is_shared_memory(self._array)

    def share_memory_(self):
        """Moves the elements to memory that processes forked or sent later share."""
        from .storage import to_shared_memory
        self._array = to_shared_memory(self._array)
        return self

    def pin_memory(self, device=None):
        return self

    def is_pinned(self, device=None) -> bool:
        return False

    def untyped_storage(self):
        """The bytes that this tensor and its views lie in."""
        from .storage import UntypedStorage
        return UntypedStorage.of(self._array)

    def storage(self):
        """The elements that this tensor and its views lie in."""
        from .storage import TypedStorage
        return TypedStorage(self.untyped_storage(), self.dtype)

    # ---- gradients

    @property
    def requires_grad(self) -> bool:
        return self._node is not None and edge_of(self) is not None

    @requires_grad.setter
    def requires_grad(self, value):
        if value is not True and value is not False:
            raise RuntimeError(f'requires_grad must be a bool, not {type(value).__name__}')
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad=True):
        """Says whether gradients with respect to this leaf are wanted.

        Raises RuntimeError for integers and bools, and for switching off a tensor that was computed from others.
        """
        edge = edge_of(self) if self._node is not None else None
        if not requires_grad:
            if edge is not None and edge is not self:
                raise RuntimeError("you can only change requires_grad flags of leaf variables. If you want to use a "
                                   "computed variable in a subgraph that doesn't require differentiation use "
                                   'var_no_grad = var.detach().')
            if edge is self:
                self._node = None
            return self
        if edge is None:
            kind = self._array.dtype.kind
            if kind in 'bui':
                raise RuntimeError(f'only Tensors of floating point and complex dtype can require gradients, '
                                   f'got {self.dtype}: convert it with .float() first')
            self._node = LEAF
        return self

    @property
    def is_leaf(self) -> bool:
        edge = edge_of(self) if self._node is not None else None
        return edge is None or edge is self

    @property
    def grad_fn(self):
        """The node of the operation that computed this tensor, or None for a leaf."""
        edge = edge_of(self) if self._node is not None else None
        if edge is None or edge is self:
            return None
        return owner_of(edge)[0]

    @property
    def output_nr(self) -> int:
        edge = edge_of(self) if self._node is not None else None
        return edge.index if edge.__class__ is Output else 0

    @property
    def grad(self):
        """The gradient that backward accumulated into this leaf, or None."""
        grad = self._grad
        if grad is None and not self.is_leaf and not self.retains_grad:
            import warnings
            warnings.warn('The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad '
                          "attribute won't be populated during autograd.backward(). If you indeed want the .grad field "
                          'to be populated for a non-leaf Tensor, use .retain_grad() on the non-leaf Tensor.',
                          stacklevel=2)
        return grad

    @grad.setter
    def grad(self, value):
        if value is not None:
            check_grad(self, value)
        self._grad = value

    @grad.deleter
    def grad(self):
        self._grad = None

    @property
    def retains_grad(self) -> bool:
        edge = edge_of(self) if self._node is not None else None
        if edge is None or edge is self:
            return False
        node, index = owner_of(edge)
        return bool(node.extra) and index in node.extra.get('retained', ())

    def retain_grad(self):
        """Keeps the gradient of a tensor that is no leaf in `.grad` when backward passes."""
        edge = edge_of(self) if self._node is not None else None
        if edge is None:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if edge is not self:
            node, index = owner_of(edge)
            node.note('retained', dict)[index] = weakref.ref(self)

    def register_hook(self, hook):
        """Calls hook(grad) when the gradient of this tensor is computed; a tensor it returns replaces the gradient."""
        from .autograd.hooks import RemovableHandle
        edge = edge_of(self) if self._node is not None else None
        if edge is None:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if edge is self:
            if self._hooks is None:
                self._hooks = OrderedDict()
            hooks = self._hooks
        else:
            node, index = owner_of(edge)
            hooks = node.note('tensor hooks', dict).setdefault(index, OrderedDict())
        handle = RemovableHandle(hooks)
        hooks[handle.id] = hook
        return handle

    def register_post_accumulate_grad_hook(self, hook):
        """Calls hook(tensor) after backward has accumulated into the `.grad` of this leaf."""
        from .autograd.hooks import RemovableHandle
        if not self.requires_grad or not self.is_leaf:
            raise RuntimeError('post accumulate grad hooks cannot be registered on non-leaf tensors')
        if self._post_hooks is None:
            self._post_hooks = OrderedDict()
        handle = RemovableHandle(self._post_hooks)
        self._post_hooks[handle.id] = hook
        return handle

    @property
    def _version(self) -> int:
        return 0 if self._counter is None else self._counter[0]

    @property
    def _base(self):
        return self._node.base if self._node.__class__ is View else None

    def _is_view(self) -> bool:
        return self._node.__class__ is View

    def backward(self, gradient=None, retain_graph=None, create_graph=False, inputs=None):
        """Accumulates the gradients of this tensor in the leaves it was computed from.

        `gradient` weighs a tensor that is no scalar. Raises RuntimeError where nothing was recorded, or where the graph
        was freed by an earlier backward.
        """
        from .autograd import backward
        backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    def detach(self):
        """The same memory as a tensor that no gradient flows through."""
        out = new(Tensor)
        out._array, out._node, out._counter = self._array, None, counter_of(self)
        kind = type(self)
        return out if kind is Tensor or kind is Parameter or not STATE.overriding else as_class(out, kind)

    def detach_(self):
        """Cuts this tensor off from what it was computed from."""
        if self._node.__class__ is View:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self._node = None
        return self

    @property
    def data(self):
        """The same memory as a tensor of its own, unknown to autograd."""
        kind = type(self)
        return wrap(self._array) if kind is Tensor or isinstance(self, Parameter) else make(kind, self._array)

    @data.setter
    def data(self, value):
        if not isinstance(value, Tensor):
            raise TypeError(f'Variable data has to be a tensor, but got {type(value).__name__}')
        if self._node is not None and value._array.dtype.kind in 'bui':
            raise RuntimeError(f'data set to a tensor that requires gradients must be floating point or complex dtype, '
                               f'not {value.dtype}')
        self._array = value._array

    @property
    def real(self):
        return self._real() if self._array.dtype.kind == 'c' else self

    @property
    def imag(self):
        if self._array.dtype.kind != 'c':
            raise RuntimeError('imag is not implemented for tensors with non-complex dtypes.')
        return self._imag()

    @real.setter
    def real(self, value):
        self.real.copy_(value)

    @imag.setter
    def imag(self, value):
        self.imag.copy_(value)

    # ---- values

    def item(self):
        """The value of a one-element tensor as a Python number."""
        if self._array.size != 1:
            raise RuntimeError(f'a Tensor with {self._array.size} elements cannot be converted to Scalar')
        value = self._array.item()
        return value if type(value) in (float, int, bool, complex) else float(value)

    def tolist(self):
        """The values as nested lists of Python numbers."""
        if self._array.dtype.kind == 'V' or self._array.dtype == dtypes.bfloat16.numpy:
            return self._array.astype(np.float32).tolist()
        return self._array.tolist()

    def numpy(self, *, force=False):
        """The array that holds the values, without a copy.

        Raises RuntimeError for a tensor that requires a gradient, unless `force` or in no_grad; TypeError for bfloat16.
        """
        if self._node is not None and self.requires_grad and STATE.grad and not force:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        if self.dtype is dtypes.bfloat16:
            raise TypeError('Got unsupported ScalarType BFloat16: NumPy has no bfloat16, use tensor.float().numpy()')
        counter_of(self)
        if not self._array.flags.writeable:  # an expanded one, which array code may write as it likes
            array = self._array.view()
            with contextlib.suppress(ValueError):  # of read-only memory
                array.flags.writeable = True
            return array
        return self._array

    def __array__(self, dtype=None, copy=None):
        array = self.numpy()
        if copy is False and dtype is not None and array.dtype != dtype:
            raise ValueError(f'Unable to avoid copy while creating an array of {dtype} from a tensor of {self.dtype}.')
        return array.astype(array.dtype if dtype is None else dtype, copy=bool(copy))

    def __array_wrap__(self, array, context=None, return_scalar=False):
        return wrap(np.asarray(array))

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        if self.requires_grad:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        return self._array.__dlpack__()

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()

    def __bool__(self):
        if self._array.size != 1:
            if self._array.size == 0:
                raise RuntimeError('Boolean value of Tensor with no values is ambiguous')
            raise RuntimeError('Boolean value of Tensor with more than one value is ambiguous')
        return bool(self._array.item())

    def __float__(self):
        return float(self._real_item('double'))

    def __int__(self):
        return int(self._real_item('int64_t'))

    def __complex__(self):
        return complex(self.item())

    def _real_item(self, kind):
        if self._array.size != 1:
            raise ValueError(f'only one element tensors can be converted to Python scalars, this one has '
                             f'{self._array.size}')
        value = self.item()
        if type(value) is complex:
            if value.imag:
                raise RuntimeError(f'value cannot be converted to type {kind} without overflow: {value}')
            return value.real
        return value

    def __index__(self):
        if self._array.size != 1 or self._array.dtype.kind not in 'bui':
            raise TypeError('only integer tensors of a single element can be converted to an index')
        return int(self._array.item())

    def __len__(self):
        if self._array.ndim == 0:
            raise TypeError('len() of a 0-d tensor')
        return self._array.shape[0]

    def __iter__(self):
        if self._array.ndim == 0:
            raise TypeError('iteration over a 0-d tensor')
        return iter(self.unbind(0))

    def __reversed__(self):
        return self.flip(0) if self._array.ndim else self

    def __contains__(self, element):
        if isinstance(element, (Tensor, int, float, complex, bool)):
            return bool((element == self).any())
        raise RuntimeError(f'Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}.')

    __hash__ = object.__hash__

    def __repr__(self, *, tensor_contents=None):
        from .printing import tensor_text
        return tensor_text(self, tensor_contents=tensor_contents)

    def __format__(self, spec):
        if self._array.ndim == 0 and type(self) is Tensor:
            return self.item().__format__(spec)
        return object.__format__(self, spec)

    def __dir__(self):
        return sorted(set(object.__dir__(self)))

    def __getattr__(self, name):
        """A method of a family of operations that is not loaded yet."""
        if not name.startswith('_') and not any(name in kind.__dict__ for kind in type(self).__mro__) \
                and hasattr(Tensor, name):
            return getattr(self, name)
        raise AttributeError(f'{type(self).__name__!r} object has no attribute {name!r}')

    # ---- copies

    def as_subclass(self, cls):
        """The same tensor as an instance of a subclass."""
        out = new(cls)
        out._array, out._counter = self._array, counter_of(self)
        out._node = edge_of(self) if self._node is not None else None
        if out._node is self:
            out._node = LEAF
        return out

    @staticmethod
    def _make_subclass(cls, data, require_grad=False):
        out = make(cls, data._array)
        if require_grad:
            out.requires_grad_()
        return out

    def __deepcopy__(self, memo):
        if not self.is_leaf:
            raise RuntimeError('Only Tensors created explicitly by the user (graph leaves) support the deepcopy '
                               'protocol at the moment. If you were attempting to deepcopy a module, this may be '
                               'because of a torch.nn.utils.weight_norm usage')
        if id(self) in memo:
            return memo[id(self)]
        import copy
        from .storage import deep_copied
        out = make(type(self), deep_copied(self._array, memo))
        memo[id(self)] = out
        if self.requires_grad:
            out._node = LEAF
        if self._grad is not None:
            out._grad = copy.deepcopy(self._grad, memo)
        for name, value in self.__dict__.items():
            if name not in ('_grad', '_hooks', '_post_hooks'):
                setattr(out, name, copy.deepcopy(value, memo))
        return out

    def __reduce_ex__(self, protocol):
        from .serialization import reduce_tensor
        return reduce_tensor(self)


class Parameter(Tensor, metaclass=_ParameterClass):
    """A tensor that a Module lists among its parameters when it is assigned to one; requires a gradient."""

    _is_parameter = True
    __torch_function__ = staticmethod(no_override)

    def __new__(cls, data=None, requires_grad=True):
        if data is None:
            data = Tensor(0)
        if not isinstance(data, Tensor):
            raise TypeError(f'cannot make a Parameter of a {type(data).__name__}: wrap it in torch.tensor first')
        if type(data) is not Tensor and not isinstance(data, Parameter):  # a subclass stays what it is
            out = data.detach()
            if type(out) is not type(data):
                out = out.as_subclass(type(data))
            out._is_parameter = True
        else:
            out = new(cls)
            out._array, out._node, out._counter = data._array, None, counter_of(data)
        if requires_grad:
            out.requires_grad_()
        return out

    def __init__(self, data=None, requires_grad=True):
        pass

    def __repr__(self):
        return 'Parameter containing:\n' + Tensor.__repr__(self)


def wrap(array: np.ndarray, node=None) -> Tensor:
    """A tensor on an array, without a copy."""
    out = new(Tensor)
    out._array, out._node, out._counter = array, node, None
    return out


def make(cls, array):
    """A leaf of class `cls` on an array."""
    out = new(cls)
    out._array, out._node, out._counter = array, None, None
    return out


def element_strides(array) -> tuple:
    """Strides in elements; those of a dense array where there are none, with empty dimensions counted as 1."""
    if not array.size:
        sizes = [max(n, 1) for n in array.shape]
        return tuple([math.prod(sizes[k + 1:]) for k in range(array.ndim)])
    size = array.itemsize
    return tuple([s // size for s in array.strides])


def check_grad(tensor, grad):
    if not isinstance(grad, Tensor):
        raise TypeError(f'assigned grad expected to be a Tensor or None but got grad of type {type(grad).__name__}')
    if grad is tensor:
        raise RuntimeError("can't assign Variable as its own grad")
    if grad._array.dtype != tensor._array.dtype:
        raise RuntimeError(f'assigned grad has data of a different type: grad is {grad.dtype}, '
                           f'the tensor {tensor.dtype}')
    if grad._array.shape != tensor._array.shape:
        raise RuntimeError(f'assigned grad has data of a different size: grad has shape {list(grad.shape)}, '
                           f'the tensor {list(tensor.shape)}')
