"""Gradients compared with finite differences."""
from __future__ import annotations

import numpy as np

from ..tensor import Tensor, wrap
from . import grad as gradients

__all__ = ['gradcheck', 'gradgradcheck', 'GradcheckError']


class GradcheckError(RuntimeError):
    """A gradient that differs from the numerical one."""


def gradcheck(func, inputs, *, eps=1e-6, atol=1e-5, rtol=1e-3, raise_exception=True, nondet_tol=0.0,
              check_undefined_grad=True, check_grad_dtypes=False, check_batched_grad=False,
              check_batched_forward_grad=False, check_forward_ad=False, check_backward_ad=True, fast_mode=False,
              masked=None):
    """Whether the gradients of func(*inputs) agree with central differences, for double precision inputs.

    Raises GradcheckError where they do not (or gives False, without `raise_exception`).
    """
    try:
        _check(func, inputs if isinstance(inputs, (tuple, list)) else (inputs,), eps, atol, rtol, nondet_tol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _outputs(func, inputs):
    found = func(*inputs)
    return [o for o in (found if isinstance(found, (tuple, list)) else (found,))
            if isinstance(o, Tensor) and (o.is_floating_point() or o.is_complex())]


def _check(func, inputs, eps, atol, rtol, nondet_tol):
    wanted = [x for x in inputs if isinstance(x, Tensor) and x.requires_grad]
    if not wanted:
        raise ValueError('gradcheck expects at least one input tensor to require gradient, but none of the them have '
                         'requires_grad=True.')
    for k, output in enumerate(_outputs(func, inputs)):
        if not output.requires_grad:
            continue
        analytical = _analytical(output, wanted)
        if nondet_tol is not None:
            again = _analytical(_outputs(func, inputs)[k], wanted)
            for a, b in zip(analytical, again):
                if a.size and np.abs(a - b).max() > nondet_tol:
                    raise GradcheckError('Backward is not reentrant, i.e., running backward with same input and '
                                         'grad_output multiple times gives different values')
        for i, (x, found) in enumerate(zip(wanted, analytical)):
            numeric = _numerical(lambda: _outputs(func, inputs)[k], x, eps)
            if not np.allclose(found, numeric, rtol, atol, equal_nan=True):
                worst = np.unravel_index(np.argmax(np.abs(found - numeric)), found.shape)
                raise GradcheckError(
                    f'Jacobian mismatch for output {k} with respect to input {i}: numerical {numeric[worst]:.8g}, '
                    f'analytical {found[worst]:.8g} at {tuple(map(int, worst))} (input element, output element),\n'
                    f'numerical:{numeric}\nanalytical:{found}\n')


def _parts(dtype_kind):
    return (1.0, 1j) if dtype_kind == 'c' else (1.0,)


def _analytical(output, wanted):
    """For each input the array (real input parts) x (real output parts) of the gradient of the output."""
    shape, array = output._array.shape, output._array
    columns = [[] for _ in wanted]
    for place in np.ndindex(*shape):
        for unit in _parts(array.dtype.kind):
            cotangent = np.zeros_like(array)
            cotangent[place] = unit
            found = gradients((output,), wanted, (wrap(cotangent),), retain_graph=True, allow_unused=True)
            for column, x, g in zip(columns, wanted, found):
                column.append(_real(np.zeros_like(x._array) if g is None else g._array))
    return [np.stack(c, -1) if c else np.zeros((_real(x._array).size, 0)) for c, x in zip(columns, wanted)]


def _real(array):
    array = np.ascontiguousarray(array)
    return (array.view(array.real.dtype) if array.dtype.kind == 'c' else array).reshape(-1)


def _numerical(compute, x, eps):
    array = x._array
    rows = []
    for place in np.ndindex(*array.shape):
        for unit in _parts(array.dtype.kind):
            kept = array[place]
            array[place] = kept + eps * unit
            above = _real(compute()._array).copy()
            array[place] = kept - eps * unit
            below = _real(compute()._array).copy()
            array[place] = kept
            rows.append((above - below) / (2 * eps))
    return np.stack(rows) if rows else np.zeros((0, _real(compute()._array).size))


def gradgradcheck(func, inputs, grad_outputs=None, *, eps=1e-6, atol=1e-5, rtol=1e-3, gen_non_contig_grad_outputs=False,
                  raise_exception=True, nondet_tol=0.0, check_undefined_grad=True, check_grad_dtypes=False,
                  check_batched_grad=False, check_fwd_over_rev=False, check_rev_over_rev=True, fast_mode=False,
                  masked=False):
    """Whether the gradients of gradients agree with central differences."""
    inputs = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    outputs = [o for o in _outputs(func, inputs) if o.requires_grad]
    if grad_outputs is None:
        source = np.random.RandomState(1)
        grad_outputs = []
        for o in outputs:
            array = source.randn(*o._array.shape) + (1j * source.randn(*o._array.shape) if o.is_complex() else 0)
            grad_outputs.append(wrap(np.asarray(array, o._array.dtype)).requires_grad_())
    elif isinstance(grad_outputs, Tensor):
        grad_outputs = [grad_outputs]
    count = len(grad_outputs)

    def first_gradients(*arguments):
        inner, weights = arguments[:len(arguments) - count], arguments[len(arguments) - count:]
        outs = [o for o in _outputs(func, inner) if o.requires_grad]
        wanted = [x for x in inner if isinstance(x, Tensor) and x.requires_grad]
        found = gradients(outs, wanted, weights, create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)
    return gradcheck(first_gradients, (*inputs, *grad_outputs), eps=eps, atol=atol, rtol=rtol,
                     raise_exception=raise_exception, nondet_tol=nondet_tol)
