"""The optimizers' rules: how a parameter and its states change, given a gradient. One formula each, over `m`.

A rule is a function (m, param, grad, states..., *, scalars) -> (param, states...). Arrays or tensors of one shape come
in (for the elementwise rules: any pieces of the same elements) and new ones go out, nothing is written. Scalars are
numbers or, where the update itself is differentiated, tensors with one element. What changes the structure of a formula
and not only its numbers is None or a bool (`weight_decay=None`, `nesterov`); there is no branch on values.
Knows nothing of parameter groups or of how states are kept; that is optim/.
"""
from __future__ import annotations

__all__ = ['sgd', 'adagrad', 'rmsprop', 'adadelta', 'adam', 'adamax', 'nadam', 'radam', 'rprop', 'asgd', 'adafactor',
           'muon']


def directed(param, grad, weight_decay, maximize):
    """The gradient to go against: turned round to maximize, with that of an L2 penalty."""
    if maximize:
        grad = -grad
    return grad if weight_decay is None else grad + param * weight_decay


def mixed(start, end, weight):
    """Linear interpolation, exact at both ends."""
    return start * (1 - weight) + end * weight


def average_of_squares(average, grad, decay):
    return average * decay + grad * grad * (1 - decay)


def sgd(m, param, grad, momentum_buffer=None, *, lr, momentum=None, kept=None, taken=None, nesterov=False,
        weight_decay=None, maximize=False):
    """Sutskever et al. 2013. The buffer becomes kept * buffer + taken * grad."""
    grad = directed(param, grad, weight_decay, maximize)
    if momentum is None:
        return param - grad * lr,
    momentum_buffer = momentum_buffer * kept + grad * taken
    step = grad + momentum_buffer * momentum if nesterov else momentum_buffer
    return param - step * lr, momentum_buffer


def adagrad(m, param, grad, sum, *, lr, eps, weight_decay, maximize):
    """Duchi et al. 2011."""
    grad = directed(param, grad, weight_decay, maximize)
    sum = sum + grad * grad
    return param - grad * lr / (m.sqrt(sum) + eps), sum


def rmsprop(m, param, grad, square_avg, momentum_buffer=None, grad_avg=None, *, lr, alpha, eps, momentum, weight_decay,
            maximize):
    """Tieleman and Hinton 2012; with `grad_avg` centered as in Graves 2013. States not used are None."""
    grad = directed(param, grad, weight_decay, maximize)
    square_avg = average_of_squares(square_avg, grad, alpha)
    variance = square_avg
    if grad_avg is not None:
        grad_avg = mixed(grad_avg, grad, 1 - alpha)
        variance = square_avg - grad_avg * grad_avg
    deviation = m.sqrt(variance) + eps
    if momentum_buffer is None:
        return param - grad * lr / deviation, square_avg, None, grad_avg
    momentum_buffer = momentum_buffer * momentum + grad / deviation
    return param - momentum_buffer * lr, square_avg, momentum_buffer, grad_avg


def adadelta(m, param, grad, square_avg, acc_delta, *, lr, rho, eps, weight_decay, maximize):
    """Zeiler 2012."""
    grad = directed(param, grad, weight_decay, maximize)
    square_avg = average_of_squares(square_avg, grad, rho)
    delta = m.sqrt(acc_delta + eps) / m.sqrt(square_avg + eps) * grad
    return param - delta * lr, square_avg, average_of_squares(acc_delta, delta, rho)


def averaged(param, grad, exp_avg, exp_avg_sq, beta1, beta2, shrink, weight_decay, maximize):
    """(param, grad, averages of the gradient and of its square): what all kinds of Adam begin with."""
    grad = directed(param, grad, weight_decay, maximize)
    if shrink is not None:
        param = param * shrink
    return param, grad, mixed(exp_avg, grad, 1 - beta1), average_of_squares(exp_avg_sq, grad, beta2)


def adam(m, param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq=None, *, beta1, beta2, step_size, root_correction, eps,
         shrink, weight_decay, maximize):
    """Kingma and Ba 2015; `shrink` is the factor of decoupled weight decay (Loshchilov and Hutter 2019).

    `step_size` is lr / (1 - beta1^t), `root_correction` sqrt(1 - beta2^t). With `max_exp_avg_sq`: AMSGrad (Reddi 2018).
    """
    param, grad, exp_avg, exp_avg_sq = averaged(param, grad, exp_avg, exp_avg_sq, beta1, beta2, shrink, weight_decay,
                                                maximize)
    second = exp_avg_sq
    if max_exp_avg_sq is not None:
        second = max_exp_avg_sq = m.maximum(max_exp_avg_sq, exp_avg_sq)
    return (param - exp_avg * step_size / (m.sqrt(second) / root_correction + eps), exp_avg, exp_avg_sq, max_exp_avg_sq)


def adamax(m, param, grad, exp_avg, exp_inf, *, beta1, beta2, step_size, eps, weight_decay, maximize):
    """Kingma and Ba 2015, section 7.1."""
    grad = directed(param, grad, weight_decay, maximize)
    exp_avg = mixed(exp_avg, grad, 1 - beta1)
    exp_inf = m.maximum(exp_inf * beta2, m.abs(grad) + eps)
    return param - exp_avg * step_size / exp_inf, exp_avg, exp_inf


def nadam(m, param, grad, exp_avg, exp_avg_sq, *, beta1, beta2, grad_size, average_size, correction, eps, shrink,
          weight_decay, maximize):
    """Dozat 2016. `correction` is 1 - beta2^t; the sizes are the rates of the gradient and of its average."""
    param, grad, exp_avg, exp_avg_sq = averaged(param, grad, exp_avg, exp_avg_sq, beta1, beta2, shrink, weight_decay,
                                                maximize)
    deviation = m.sqrt(exp_avg_sq / correction) + eps
    return param - grad * grad_size / deviation - exp_avg * average_size / deviation, exp_avg, exp_avg_sq


def radam(m, param, grad, exp_avg, exp_avg_sq, *, beta1, beta2, step_size, rectification, eps, shrink, weight_decay,
          maximize):
    """Liu et al. 2020. `rectification` is None while the variance of the adaptive rate is not tractable."""
    param, grad, exp_avg, exp_avg_sq = averaged(param, grad, exp_avg, exp_avg_sq, beta1, beta2, shrink, weight_decay,
                                                maximize)
    step = exp_avg * step_size
    if rectification is not None:
        step = step * (rectification / (m.sqrt(exp_avg_sq) + eps))
    return param - step, exp_avg, exp_avg_sq


def rprop(m, param, grad, prev, step_size, *, etaminus, etaplus, smallest, largest, maximize):
    """Riedmiller and Braun 1993, with the gradient forgotten where its sign has changed."""
    grad = directed(param, grad, None, maximize)
    turn = grad * prev
    step_size = m.where(turn > 0, step_size * etaplus, m.where(turn < 0, step_size * etaminus, step_size))
    step_size = m.minimum(m.maximum(step_size, smallest), largest)
    grad = m.where(turn < 0, m.zeros_like(grad), grad)
    return param - m.sign(grad) * step_size, grad, step_size


def asgd(m, param, grad, ax, *, eta, mu, lambd, weight_decay, maximize):
    """Polyak and Juditsky 1992. `ax` is the average."""
    grad = directed(param, grad, weight_decay, maximize)
    param = param * (1 - lambd * eta) - grad * eta
    return param, mixed(ax, param, mu)


# ---- rules over whole tensors --------------------------------------------------------------------------------

def root_mean_square(m, x):
    return m.sqrt(m.mean(x * x))


def adafactor(m, param, grad, row_var=None, col_var=None, variance=None, *, new_weight, rate, eps1, eps2, d, shrink,
              maximize):
    """Shazeer and Stern 2018. Matrices keep the variance by rows and columns, vectors in full; the rest is None."""
    if maximize:
        grad = -grad
    alpha = m.maximum(root_mean_square(m, param), eps2) * rate
    if shrink is not None:
        param = param * shrink
    squares = grad * grad
    if variance is None:
        row_var = mixed(row_var, m.mean(squares, -1, True), new_weight)
        col_var = mixed(col_var, m.mean(squares, -2, True), new_weight)
        estimate = m.matmul(row_var, col_var) / m.maximum(m.mean(row_var, -2, True), eps1)
    else:
        estimate = variance = mixed(variance, squares, new_weight)
    update = grad / m.sqrt(m.maximum(estimate, eps1 * eps1))
    clipping = m.maximum(root_mean_square(m, update) / d, 1.0)
    return param - update * (alpha / clipping), row_var, col_var, variance


def muon(m, param, grad, momentum_buffer, *, momentum, nesterov, coefficients, eps, steps, shrink, rate):
    """Jordan 2024: momentum whose matrix is made nearly orthogonal by a quintic Newton-Schulz iteration."""
    momentum_buffer = mixed(momentum_buffer, grad, 1 - momentum)
    update = mixed(grad, momentum_buffer, momentum) if nesterov else momentum_buffer
    tall = update.shape[0] > update.shape[1]
    if tall:
        update = m.transpose(update, 0, 1)
    update = update / m.maximum(m.sqrt(m.sum(update * update)), eps)  # no singular value above 1
    a, b, c = coefficients
    for _ in range(steps):
        gram = m.matmul(update, m.transpose(update, 0, 1))
        update = update * a + m.matmul(gram * b + m.matmul(gram, gram) * c, update)
    if tall:
        update = m.transpose(update, 0, 1)
    return param * shrink - update * rate, momentum_buffer
