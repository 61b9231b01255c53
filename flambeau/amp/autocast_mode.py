"""Mixed precision: within `autocast` products run in bfloat16 or float16, and what needs more digits in float32.

The tables below name the functions that PyTorch's CPU autocast casts for. While an `autocast` is entered anywhere,
they have code that asks for this thread's choice first (ops/replacing.py).
"""
from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Mapping

from .. import dtypes
from ..autograd.graph import LEAF
from ..autograd.modes import OFF, STATE, Decorating
from ..device import device
from ..ops import load_all
from ..ops.definition import EXPORTS
from ..ops.replacing import replace, restore
from ..tensor import Tensor

__all__ = ['autocast', 'custom_fwd', 'custom_bwd', 'is_autocast_available']

LOWER = frozenset("""conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d bmm mm baddbmm
    addmm addbmm linear matmul prelu scaled_dot_product_attention einsum tensordot chain_matmul multi_dot inner vecdot
    matrix_power multi_head_attention_forward lstm rnn_tanh rnn_relu""".split())
HIGHER = frozenset("""avg_pool3d max_pool3d max_pool3d_with_indices max_unpool2d max_unpool3d adaptive_avg_pool3d
    adaptive_max_pool3d adaptive_max_pool3d_with_indices fractional_max_pool2d fractional_max_pool2d_with_indices
    fractional_max_pool3d fractional_max_pool3d_with_indices grid_sample grid_sampler grid_sampler_2d grid_sampler_3d
    polar prod quantile nanquantile stft cdist trace view_as_complex
    mse_loss l1_loss smooth_l1_loss huber_loss nll_loss cross_entropy binary_cross_entropy
    binary_cross_entropy_with_logits cosine_embedding_loss hinge_embedding_loss poisson_nll_loss margin_ranking_loss
    soft_margin_loss triplet_margin_loss multi_margin_loss multilabel_margin_loss ctc_loss kl_div
    fft ifft fft2 ifft2 fftn ifftn rfft irfft rfft2 irfft2 rfftn irfftn hfft ihfft
    cholesky cholesky_ex cholesky_inverse cholesky_solve inverse inv inv_ex lu_solve orgqr ormqr pinverse
    householder_product geqrf lstsq qr svd svdvals triangular_solve cond matrix_rank solve eig eigh eigvals eigvalsh
    tensorinv tensorsolve""".split())
NAMESPACES = ('torch', 'nn.functional', 'linalg', 'fft')
OPERATORS = ('__matmul__', '__rmatmul__')
WIDEST = frozenset(('index_copy',))
LIKE_FIRST = frozenset(('gru', 'gru_cell', 'lstm_cell', 'rnn_tanh_cell', 'rnn_relu_cell'))
UNCAST = frozenset(('addmm_', 'addbmm_', 'baddbmm_'))  # which run what is cast elsewhere


class Choice(threading.local):
    """What this thread's autocasts have chosen, beside the dtype in STATE."""
    default = dtypes.bfloat16
    caching = True
    nesting = 0
    cache = None  # {id of a parameter: (what it was cast from, the result)}


CHOICE = Choice()
_replaced, _lock, _users = {}, threading.Lock(), 0


# ---- casting

def castable(value):
    return isinstance(value, Tensor) and value.is_floating_point() and value.dtype is not dtypes.float64


def over(value, change):
    """The value with `change` applied to the tensors in it that autocast may cast."""
    if castable(value):
        return change(value)
    if isinstance(value, (list, tuple)) and not hasattr(value, '_fields'):
        return type(value)([over(v, change) for v in value])
    return value


def lowered(tensor):
    """A tensor in the dtype of products. Casts of parameters are kept until the outermost autocast ends."""
    wanted = STATE.autocast
    if tensor.dtype is wanted:
        return tensor
    if not CHOICE.caching or tensor._node is not LEAF or tensor.dtype is not dtypes.float32:
        return tensor.to(wanted)
    cache = CHOICE.cache
    if cache is None:
        cache = CHOICE.cache = {}
    version = 0 if tensor._counter is None else tensor._counter[0]
    made_from = tensor._array, version, wanted, STATE.recording is OFF
    found = cache.get(id(tensor))
    if found is None or found[0][0] is not made_from[0] or found[0][1:] != made_from[1:]:
        found = cache[id(tensor)] = made_from, tensor.to(wanted), tensor  # which keeps the tensor, and so its id, alive
    return found[1]


def widened(tensor):
    return tensor.to(dtypes.float32)


def kept(tensor):
    return tensor


def to_one(choose):
    """rule(arguments) -> a cast to the dtype that `choose` picks among the tensors' dtypes."""
    def rule(*arguments):
        found = []
        over(arguments, found.append)
        target = choose([t.dtype for t in found]) if found else None
        return lambda tensor: tensor.to(target)
    return rule


RULES = {**dict.fromkeys((*LOWER, *OPERATORS), lambda *_: lowered), **dict.fromkeys(HIGHER, lambda *_: widened),
         **dict.fromkeys(UNCAST, lambda *_: kept), **dict.fromkeys(LIKE_FIRST, to_one(lambda found: found[0])),
         **dict.fromkeys(WIDEST, to_one(functools.partial(functools.reduce, dtypes.promote_types)))}


def casting(rule, plain):
    """The function `plain` as autocast calls it: on tensors cast by a rule, and itself without autocast."""
    def call(*args, **kwargs):
        chosen = STATE.autocast
        if chosen is None:
            return plain(*args, **kwargs)
        change = kept if kwargs.get('out') is not None else rule(*args, *kwargs.values())
        args = [over(v, change) for v in args]
        kwargs = {k: over(v, change) for k, v in kwargs.items()}
        STATE.autocast = None
        try:
            return plain(*args, **kwargs)
        finally:
            STATE.autocast = chosen
    return call


def functions():
    """(rule, function) for all functions that have a rule."""
    load_all()
    for name, rule in RULES.items():
        for place in (*(EXPORTS.get(n, {}) for n in NAMESPACES), vars(Tensor)):
            if name in place:
                yield rule, place[name]


def begin():
    """Puts the casts in front of the functions, if no autocast has yet."""
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            for rule, function in functions():
                if function not in _replaced:
                    _replaced[function] = replace(function, functools.partial(casting, rule))


def end():
    global _users
    with _lock:
        _users -= 1
        if not _users:
            while _replaced:
                restore(*_replaced.popitem())


# ---- the mode

def is_autocast_available(device_type: str) -> bool:
    """Whether operations can choose their precision on a kind of device."""
    return device(device_type).type == 'cpu'


def is_autocast_enabled(device_type: str = 'cuda') -> bool:
    """Whether operations on a kind of device choose their precision now."""
    return device(device_type).type == 'cpu' and STATE.autocast is not None


def get_autocast_dtype(device_type: str):
    """The dtype that `autocast` takes for a kind of device unless told another."""
    if device(device_type).type != 'cpu':
        return dtypes.float16
    return STATE.autocast or CHOICE.default


def is_autocast_cache_enabled() -> bool:
    """Whether casts of parameters are kept until the outermost autocast ends."""
    return CHOICE.caching


class autocast(Decorating):
    """Lets the operations on a device choose their precision; a context manager and a decorator.

    Products (linear, convolution, attention, matmul, ...) run in `dtype`, bfloat16 (the default on the CPU) or float16;
    losses, norms of matrices, transforms and decompositions in float32; all else in the dtypes that it is given.
    cache_enabled: a parameter used several times is cast once. For 'cuda' it warns, as PyTorch without CUDA does, and
    is off. On the CPU it saves memory, not time: products of half types are computed in float32.

    >>> with flambeau.autocast('cpu'): print((flambeau.ones(2, 2) @ flambeau.ones(2, 2)).dtype)
    torch.bfloat16
    """

    def __init__(self, device_type: str, dtype=None, enabled: bool = True, cache_enabled: bool | None = None):
        if not isinstance(device_type, str):
            raise ValueError(f'Expected `device_type` of type `str`, got: `{type(device_type)}`')
        self.device = device(device_type).type
        if self.device not in ('cpu', 'cuda'):
            raise RuntimeError(f"User specified an unsupported autocast device_type '{self.device}'")
        self.fast_dtype = get_autocast_dtype(self.device) if dtype is None else dtype
        self._asked_cache = cache_enabled
        if enabled and self.device == 'cuda':
            warnings.warn("User provided device_type of 'cuda', but CUDA is not available. Disabling", stacklevel=2)
            enabled = False
        if enabled and self.fast_dtype not in dtypes.HALVES:
            warnings.warn('In CPU autocast, but the target dtype is not supported. Disabling autocast.\nCPU Autocast '
                          'only supports dtype of torch.bfloat16, torch.float16 currently.', stacklevel=2)
            enabled = False
        self._enabled = enabled
        self._before = []

    @property
    def _cache_enabled(self):
        return CHOICE.caching if self._asked_cache is None else self._asked_cache

    def clone(self):
        return autocast(self.device, self.fast_dtype, self._enabled, self._asked_cache)

    def __enter__(self):
        if self.device == 'cpu':
            if self._enabled:
                begin()
            self._before.append((STATE.autocast, CHOICE.default, CHOICE.caching))
            CHOICE.caching = self._cache_enabled
            STATE.autocast, CHOICE.default = (self.fast_dtype if self._enabled else None), self.fast_dtype
            CHOICE.nesting += 1
        return self

    def __exit__(self, *error):
        if self.device == 'cpu':
            STATE.autocast, CHOICE.default, CHOICE.caching = self._before.pop()
            CHOICE.nesting -= 1
            if not CHOICE.nesting:
                CHOICE.cache = None
            if self._enabled:
                end()
        return False


# ---- custom functions

def _cast(value, device_type, dtype):
    if castable(value) and value.device.type == device_type:
        return value.to(dtype)
    if isinstance(value, Mapping):
        return {_cast(k, device_type, dtype): _cast(v, device_type, dtype) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_cast(v, device_type, dtype) for v in value])
    return value


def _require_kind(name, device_type):
    if not isinstance(device_type, str):
        raise ValueError(f'{name}: Expected `device_type` of type `str`, got: `{type(device_type)}`')


def custom_fwd(fwd=None, *, device_type: str, cast_inputs=None):
    """Decorates `forward` of a custom function: with `cast_inputs` it gets its tensors in that dtype, autocast off.

    Without, it runs under the autocast around it, and `custom_bwd` will run `backward` under the same.
    """
    _require_kind('custom_fwd', device_type)
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def decorated(ctx, *args, **kwargs):
        enabled = is_autocast_enabled(device_type)
        ctx._dtype = get_autocast_dtype(device_type)
        ctx._fwd_used_autocast = enabled and cast_inputs is None
        if cast_inputs is None or not enabled:
            return fwd(ctx, *args, **kwargs)
        with autocast(device_type, enabled=False):
            return fwd(ctx, *_cast(args, device_type, cast_inputs), **_cast(kwargs, device_type, cast_inputs))
    return decorated


def custom_bwd(bwd=None, *, device_type: str):
    """Decorates `backward` of a custom function: it runs under the autocast that `forward` ran under."""
    _require_kind('custom_bwd', device_type)
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def decorated(ctx, *args, **kwargs):
        with autocast(device_type, enabled=ctx._fwd_used_autocast, dtype=ctx._dtype):
            return bwd(ctx, *args, **kwargs)
    return decorated
