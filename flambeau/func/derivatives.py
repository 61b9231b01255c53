"""Derivatives as functions of functions: grad, vjp, jvp, jacrev, jacfwd, hessian (torch.func)."""
from __future__ import annotations

from ..autograd import grad as gradients
from ..autograd.modes import enable_grad
from ..tensor import Tensor
from .vmap import BatchedTensor, current_size

__all__ = ['grad', 'grad_and_value', 'vjp', 'jvp', 'jacrev', 'jacfwd', 'hessian']


def tensors_in(tree):
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, (tuple, list)):
        return [t for v in tree for t in tensors_in(v)]
    if isinstance(tree, dict):
        return [t for v in tree.values() for t in tensors_in(v)]
    return []


def rebuilt(tree, tensors):
    """The tree with its tensors replaced, in order, from an iterator."""
    if isinstance(tree, Tensor):
        return next(tensors)
    if isinstance(tree, (tuple, list)):
        return type(tree)(rebuilt(v, tensors) for v in tree)
    if isinstance(tree, dict):
        return {k: rebuilt(v, tensors) for k, v in tree.items()}
    return tree


def leaf_of(tensor):
    """A tensor to differentiate by: within vmap one with a gradient for each example."""
    if isinstance(tensor, BatchedTensor):
        return BatchedTensor(leaf_of(tensor.batch), tensor.level)
    running = current_size()
    if running is not None:
        level, size = running
        return BatchedTensor(leaf_plain(tensor.expand(size, *tensor.shape)), level)
    return leaf_plain(tensor)


def leaf_plain(tensor):
    return tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_()


def real_of(tensor):
    return real_of(tensor.batch) if isinstance(tensor, BatchedTensor) else tensor


def like(tensor, real):
    """A gradient in the clothes of the tensor it belongs to."""
    return BatchedTensor(like(tensor.batch, real), tensor.level) if isinstance(tensor, BatchedTensor) else real


def place_of(argnum, args):
    """The number, from 0, of an argument. Raises RuntimeError where there is none of that number."""
    if not -len(args) <= argnum < len(args):
        raise RuntimeError(f'Got argnum={argnum}, but only {len(args)} positional inputs')
    return argnum % len(args)


def grad_and_value(func, argnums=0, has_aux=False):
    """(gradient, value) of a function with a scalar result, with respect to some of its arguments."""
    def differentiated(*args, **kwargs):
        numbers = [place_of(n, args) for n in (argnums if isinstance(argnums, tuple) else (argnums,))]
        with enable_grad():
            watched = {n: rebuilt(args[n], iter([leaf_of(t) for t in tensors_in(args[n])])) for n in numbers}
            result = func(*(watched.get(k, a) for k, a in enumerate(args)), **kwargs)
            value, aux = result if has_aux else (result, None)
            if not isinstance(value, Tensor) or value.dim():
                got = f'shape {list(value.shape)}' if isinstance(value, Tensor) else type(value).__name__
                raise RuntimeError(f'grad: Expected the function to return a scalar tensor, got {got}')
            leaves = [t for n in numbers for t in tensors_in(watched[n])]
            real = real_of(value)
            found = gradients(real, [real_of(t) for t in leaves], real.detach().new_ones(real.shape), create_graph=True,
                              allow_unused=True) if real.requires_grad else [None] * len(leaves)
        found = iter([like(t, real_of(t).new_zeros(real_of(t).shape) if g is None else g)
                      for t, g in zip(leaves, found)])
        answers = tuple(rebuilt(watched[n], found) for n in numbers)
        answers = answers if isinstance(argnums, tuple) else answers[0]
        answers, value = detached(answers, args), detached(value, args)
        return (answers, (value, aux)) if has_aux else (answers, value)
    return differentiated


def detached(tree, args):
    """Results without their graph, unless the arguments are being differentiated themselves."""
    if any(real_of(t).requires_grad for t in tensors_in(args)):
        return tree
    return rebuilt(tree, iter([t.detach() for t in tensors_in(tree)]))


def grad(func, argnums=0, has_aux=False):
    """The gradient of a function with a scalar result.

    >>> grad(lambda x: (x ** 2).sum())(flambeau.ones(2))
    tensor([2., 2.])
    """
    both = grad_and_value(func, argnums, has_aux)

    def differentiated(*args, **kwargs):
        found, value = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found
    return differentiated


def vjp(func, *primals, has_aux=False):
    """(value, f) with f(cotangents) the gradients of the value, weighed, in the primals."""
    with enable_grad():
        watched = [rebuilt(p, iter([leaf_of(t) for t in tensors_in(p)])) for p in primals]
        result = func(*watched)
    value, aux = result if has_aux else (result, None)
    leaves = tensors_in(watched)

    def pull(*cotangents):
        weights = tensors_in(cotangents[0] if len(cotangents) == 1 else cotangents)
        found = gradients([real_of(t) for t in tensors_in(value)], [real_of(t) for t in leaves],
                          [real_of(w) for w in weights], retain_graph=True, create_graph=True, allow_unused=True)
        found = iter([like(t, real_of(t).new_zeros(real_of(t).shape) if g is None else g)
                      for t, g in zip(leaves, found)])
        return detached(tuple(rebuilt(p, found) for p in primals), (primals, cotangents))
    plain = detached(value, primals)
    return (plain, pull, aux) if has_aux else (plain, pull)


def jvp(func, primals, tangents, *, strict=False, has_aux=False):
    """(value, its directional derivative) at `primals` along `tangents`."""
    from ..autograd.functional import jvp as pushed
    value, found = pushed(func, tuple(primals), tuple(tangents), create_graph=any(
        t.requires_grad for t in tensors_in(primals)))
    return value, found


def jacrev(func, argnums=0, *, has_aux=False, chunk_size=None):
    """The Jacobian of a function in one of its arguments."""
    from ..autograd.functional import jacobian

    def differentiated(*args):
        if isinstance(argnums, tuple):
            return tuple(jacrev(func, n)(*args) for n in argnums)
        tracking, place = any(t.requires_grad for t in tensors_in(args)), place_of(argnums, args)
        return jacobian(lambda x: func(*args[:place], x, *args[place + 1:]), args[place], create_graph=tracking)
    return differentiated


jacfwd = jacrev


def hessian(func, argnums=0):
    """The second derivatives of a function with a scalar result, in one of its arguments."""
    from ..autograd.functional import hessian as second

    def differentiated(*args):
        place = place_of(argnums, args)
        return second(lambda x: func(*args[:place], x, *args[place + 1:]), args[place])
    return differentiated
