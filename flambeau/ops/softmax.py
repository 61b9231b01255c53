"""Softmax and its relatives: positive numbers that sum to one along a dimension, or their logarithms."""
from __future__ import annotations


from ..errors import warn
from .activation import need_floating
from .conversion import cast
from .definition import PUBLIC, export, reduction
from .view import axis_of, whole

__all__ = ['softmax', 'log_softmax', 'softmin', 'gumbel_softmax']


def _softmax_gradient(m, g, output, dim):
    weighted = g * output
    return weighted - output * m.sum(weighted, dim, True)


@reduction(name='softmax', namespace='', method=False, grad={'input': _softmax_gradient})
def _softmax(m, input, dim):
    need_floating('softmax', input)
    if not input.size:
        axis_of(dim, input.ndim)
        return input.copy()
    powers = m.exp(input - m.amax(input, dim, True))
    powers *= 1.0 / m.sum(powers, dim, True)  # one division for a row
    return powers


def _log_softmax_gradient(m, g, output, dim):
    return g - m.exp(output) * m.sum(g, dim, True)


@reduction(name='log_softmax', namespace='', method=False, grad={'input': _log_softmax_gradient})
def _log_softmax(m, input, dim):
    need_floating('log_softmax', input)
    if not input.size:
        axis_of(dim, input.ndim)
        return input.copy()
    shifted = input - m.amax(input, dim, True)
    shifted -= m.log(m.sum(m.exp(shifted), dim, True))
    return shifted


@export('torch special', method=True)
def softmax(input, dim, dtype=None, *, out=None):
    """exp(input) divided by its sum along `dim`; `dtype` is that of the result and of the computation."""
    if dim.__class__ is not int:
        dim = whole(dim)
    return _softmax(input if dtype is None else cast(input, dtype), dim, **({} if out is None else {'out': out}))


@export('torch special', method=True)
def log_softmax(input, dim, dtype=None, *, out=None):
    """The logarithm of softmax, without underflow."""
    if dim.__class__ is not int:
        dim = whole(dim)
    return _log_softmax(input if dtype is None else cast(input, dtype), dim, **({} if out is None else {'out': out}))


def _implicit_dim(name, rank):
    """The dimension that PyTorch takes when none is given."""
    warn(f'Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.')
    return 0 if rank in (0, 1, 3) else 1


@export('nn.functional', name='softmax')
def _functional_softmax(input, dim=None, _stacklevel=3, dtype=None):
    """exp(input) divided by its sum along `dim`."""
    if dim is None:
        dim = _implicit_dim('softmax', input.dim())
    return _softmax(input if dtype is None else cast(input, dtype), dim)


@export('nn.functional', name='log_softmax')
def _functional_log_softmax(input, dim=None, _stacklevel=3, dtype=None):
    """The logarithm of softmax, without underflow."""
    if dim is None:
        dim = _implicit_dim('log_softmax', input.dim())
    return _log_softmax(input if dtype is None else cast(input, dtype), dim)


@export('nn.functional')
def softmin(input, dim=None, _stacklevel=3, dtype=None):
    """Softmax of -input."""
    if dim is None:
        dim = _implicit_dim('softmin', input.dim())
    return _softmax(-input if dtype is None else cast(-input, dtype), dim)


@export('nn.functional')
def gumbel_softmax(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """Samples from the Gumbel-Softmax distribution (Jang et al., 2017) along `dim`.

    `hard` gives one-hot vectors with the gradient of the soft sample. `eps` has no effect.
    """
    noise = -PUBLIC.empty_like(logits).exponential_().log()
    soft = _softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    chosen = PUBLIC.zeros_like(logits).scatter_(dim, index, 1.0)
    return chosen - soft.detach() + soft
