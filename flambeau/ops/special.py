"""Special functions: error, gamma, zeta and Bessel functions and their kin, and orthogonal polynomials.

Values come from the array library's special functions, which are loaded when one is first computed.
"""
from __future__ import annotations

import math

import numpy as np

from .definition import EXPORTS, PUBLIC, elementwise, export, primitive, publish
from .mathematics import exp2, expm1, log1p, sigmoid
from .pointwise import sinc
from .publishing import also, published
from .softmax import log_softmax, softmax

__all__ = ['erf', 'erfc', 'erfinv', 'lgamma', 'digamma', 'polygamma', 'logit', 'mvlgamma']

ROOT_PI = math.sqrt(math.pi)


def _special(name, parameters='input', gradient=None, doc='', **options):
    """Declares a special function; `gradient` is a formula for the last operand, or a dictionary."""
    if gradient is not None and not isinstance(gradient, dict):
        gradient = {parameters.split(', ')[-1]: gradient}
    return primitive(name, parameters, promote='float', grad=gradient, doc=doc, **options)


def _everywhere(name, parameters='input', gradient=None, doc='', aliases=(), **options):
    """A special function that is also a method, and in place; `aliases` are its names in torch.special."""
    made = _special(name, parameters, gradient, doc, namespace='torch', inplace=True, **options)
    publish(made, aliases or (name,), ['special'], False)
    return made


def _only_special(name, parameters='input', gradient=None, doc='', **options):
    return _special(name, parameters, gradient, doc, namespace='special', method=False, **options)


# ---- error functions and the normal distribution

erf = _everywhere('erf', gradient=lambda m, g, input: g * m.exp(-input * input) * (2 / ROOT_PI),
                  doc='The error function.')
erfc = _everywhere('erfc', gradient=lambda m, g, input: g * m.exp(-input * input) * (-2 / ROOT_PI),
                   doc='1 - erf(input), exact where that is small.')
erfinv = _everywhere('erfinv', domain=(-0.9, 0.9),
                     gradient=lambda m, g, output: g * m.exp(output * output) * (ROOT_PI / 2),
                     doc='The inverse of the error function.')
erfcx = _only_special('erfcx', gradient=lambda m, g, input, output: g * (2 * input * output - 2 / ROOT_PI),
                      doc='exp(input**2) * erfc(input).')
ndtr = _only_special('ndtr', gradient=lambda m, g, input: g * m.exp(input * input * -0.5) / math.sqrt(2 * math.pi),
                     doc='The area under the standard normal density up to input.')
ndtri = _only_special('ndtri', domain=(0.1, 0.9),
                      gradient=lambda m, g, output: g * m.exp(output * output * 0.5) * math.sqrt(2 * math.pi),
                      doc='The inverse of ndtr.')
log_ndtr = _only_special(
    'log_ndtr', gradient=lambda m, g, input: g / m.erfcx(input * -math.sqrt(0.5)) * math.sqrt(2 / math.pi),
    doc='The logarithm of ndtr, without underflow.')


# ---- gamma functions and zeta

lgamma = _everywhere('lgamma', domain=(0.5, 4.0), aliases=('gammaln',),
                     gradient=lambda m, g, input: g * m.digamma(input),
                     doc='The logarithm of the absolute value of the gamma function.')
digamma = _everywhere('digamma', domain=(0.5, 4.0), aliases=('digamma', 'psi'),
                      gradient=lambda m, g, input: g * m._polygamma(input, 1),
                      doc='The derivative of lgamma.')


@elementwise(namespace='', method=False, promote='float', domain=(0.5, 4.0), label='PolygammaBackward0',
             grad={
    'input': lambda m, g, input, n: g * m._polygamma(input, n + 1)})
def _polygamma(m, input, n=0):
    return m.backend.special().polygamma(n, input).astype(input.dtype)


@export('torch special')
def polygamma(n, input, *, out=None):
    """The n-th derivative of digamma. Raises RuntimeError for a negative n."""
    if n < 0:
        raise RuntimeError('polygamma(n, x) does not support negative n.')
    return digamma(input, out=out) if n == 0 else _polygamma(input, int(n), out=out)


def _polygamma_method(self, n):
    return polygamma(n, self)


def _polygamma_inplace(self, n):
    """In-place form of `polygamma`."""
    from .writing import change
    return change(self, 'polygamma_', lambda before: polygamma(n, before))


publish(_polygamma_method, ('polygamma',), [], True)
publish(_polygamma_inplace, ('polygamma_',), [], True)


def _density(m, g, input, other):
    """The derivative of the regularized incomplete gamma function in its upper bound."""
    return g * m.exp((input - 1) * m.log(other) - other - m.lgamma(input))


igamma = _everywhere('igamma', 'input, other', _density, aliases=('gammainc',), domain=(0.5, 3.0),
                     doc='The regularized lower incomplete gamma function.')
igammac = _everywhere('igammac', 'input, other', lambda m, g, input, other: -_density(m, g, input, other),
                      aliases=('gammaincc',), domain=(0.5, 3.0), doc='The regularized upper incomplete gamma function.')
zeta = _only_special('zeta', 'input, other', domain=(1.5, 4.0),
                     gradient=lambda m, g, input, other: -g * input * m.zeta(input + 1, other),
                     doc='The Hurwitz zeta function.')


@published('torch', method=True)
def mvlgamma(input, p):
    """The logarithm of the multivariate gamma function of dimension p."""
    if not isinstance(p, int):
        raise TypeError(f"mvlgamma(): argument 'p' (position 2) must be int, not {type(p).__name__}")
    if p < 1:
        raise RuntimeError('p has to be greater than or equal to 1')
    if input.is_complex() or input.dtype.name == 'bool':
        raise RuntimeError(f'mvlgamma: input must be real numbers, not {input.dtype}')
    shifts = PUBLIC.arange(0, p, dtype=input.dtype if input.is_floating_point() else None) * -0.5
    return lgamma(input.unsqueeze(-1) + shifts).sum(-1) + p * (p - 1) * math.log(math.pi) / 4


def mvlgamma_(input, p):
    """In-place form of `mvlgamma`."""
    from .writing import change
    return change(input, 'mvlgamma_', lambda before: mvlgamma(before, p))


publish(mvlgamma_, ('mvlgamma_',), [], True)


# ---- Bessel functions

def _modified_slope(m, g, input, value, scaled):
    """The derivative of i1 (i1e if `scaled`), which is 1/2 at 0."""
    at_zero = input == 0
    safe = m.where(at_zero, m.ones_like(input), input)
    slope = (m.i0e(input) - value * (m.sgn(input) + 1 / safe)) if scaled else m.i0(input) - value / safe
    return g * m.where(at_zero, m.ones_like(input) * 0.5, slope)


i0 = _everywhere('i0', gradient=lambda m, g, input: g * m.i1(input),
                 doc='The modified Bessel function of the first kind of order 0.')
i0e = _only_special('i0e', gradient=lambda m, g, input, output: g * (m.i1e(input) - m.sgn(input) * output),
                    doc='exp(-|input|) * i0(input).')
i1 = _only_special('i1', gradient=lambda m, g, input, output: _modified_slope(m, g, input, output, False),
                   doc='The modified Bessel function of the first kind of order 1.')
i1e = _only_special('i1e', gradient=lambda m, g, input, output: _modified_slope(m, g, input, output, True),
                    doc='exp(-|input|) * i1(input).')

for _name, _doc in {
        'bessel_j0': 'The Bessel function of the first kind of order 0.',
        'bessel_j1': 'The Bessel function of the first kind of order 1.',
        'bessel_y0': 'The Bessel function of the second kind of order 0.',
        'bessel_y1': 'The Bessel function of the second kind of order 1.',
        'modified_bessel_i0': 'The modified Bessel function of the first kind of order 0.',
        'modified_bessel_i1': 'The modified Bessel function of the first kind of order 1.',
        'modified_bessel_k0': 'The modified Bessel function of the second kind of order 0.',
        'modified_bessel_k1': 'The modified Bessel function of the second kind of order 1.',
        'scaled_modified_bessel_k0': 'exp(input) * modified_bessel_k0(input).',
        'scaled_modified_bessel_k1': 'exp(input) * modified_bessel_k1(input).'}.items():
    _only_special(_name, doc=_doc)


@elementwise(namespace='special', method=False, promote='float')
def airy_ai(m, input):
    """The Airy function Ai."""
    return m.backend.special().airy(input)[0].astype(input.dtype)


@elementwise(namespace='special', method=False, promote='float')
def spherical_bessel_j0(m, input):
    """sin(input) / input, 1 at 0 and 0 at infinity."""
    at_zero = input == 0
    value = m.xp.sin(input) / m.xp.where(at_zero, m.xp.ones_like(input), input)
    return m.xp.where(m.xp.isinf(input), 0, m.xp.where(at_zero, 1, value)).astype(input.dtype)


# ---- logarithms and odds

def _logit_gradient(m, g, input, eps):
    slope = g / (input * (1 - input))
    inside = (input >= (0.0 if eps is None else eps)) & (input <= (1.0 if eps is None else 1 - eps))
    return m.where(inside, slope, m.zeros_like(g) + (math.nan if eps is None else 0.0))


@elementwise(namespace='torch special', inplace=True, promote='float', domain=(0.1, 0.9),
             grad={'input': _logit_gradient})
def logit(m, input, eps=None):
    """log(input / (1 - input)), of input limited to [eps, 1 - eps]."""
    x = input if eps is None else m.minimum(m.maximum(input, eps), 1 - eps)
    return m.log(x / (1 - x))


@elementwise(namespace='special', method=False, promote='float', domain=(0.1, 2.0), grad={
    'input': lambda m, g, input: -g * (m.log(input) + 1)})
def entr(m, input):
    """-input * log(input), 0 at 0 and -inf below."""
    safe = m.where(input > 0, input, m.ones_like(input))
    value = m.where(input > 0, -input * m.log(safe),
                    m.where(input == 0, m.zeros_like(input), -math.inf + m.zeros_like(input)))
    return m.where(m.isnan(input), input, value)


@elementwise(namespace='special', method=False, promote='float', domain=(0.1, 2.0), grad={
    'input': lambda m, g, input, other: g * m.where((input == 0) & (other <= -1), m.zeros_like(other), m.log1p(other)),
    'other': lambda m, g, input, other: g * input / (other + 1)})
def xlog1py(m, input, other):
    """input * log1p(other), 0 where input is 0 (nan where other is)."""
    value = m.where(input == 0, m.zeros_like(input * other), input * m.log1p(other))
    return m.where(m.isnan(other), other, value)


# ---- orthogonal polynomials

def _polynomial(name, words, evaluate, direction=1):
    """Declares a polynomial in `input` of degree `n`: evaluate(special functions, degrees, values), in float64.

    Far out it goes as (direction * input) ** n.
    """
    @elementwise(name=name, namespace='special', method=False, promote='float')
    def polynomial(m, input, n):
        degree = np.asarray(n).astype(np.int64)
        x = np.asarray(input, np.float64)
        value = evaluate(m.backend.special(), np.maximum(degree, 0), x)
        value = np.where(np.isinf(x), (direction * x) ** np.maximum(degree, 1), value)
        return np.where(degree > 0, value, degree == 0).astype(input.dtype)  # degree 0 is 1 at nan too
    polynomial.__doc__ = f'The {words} of degree n at input; 0 for a negative n.'


def _third_kind(sign):
    """V (sign -1) and W (sign 1) of degree n as U of degree n and of degree n - 1, of which that of -1 is 0."""
    return lambda special, n, x: special.eval_chebyu(n, x) + sign * np.where(
        n == 0, 0.0, special.eval_chebyu(np.maximum(n - 1, 0), x))


_CHEBYSHEV = {'t': ('first', lambda special, n, x: special.eval_chebyt(n, x)),
              'u': ('second', lambda special, n, x: special.eval_chebyu(n, x)),
              'v': ('third', _third_kind(-1)), 'w': ('fourth', _third_kind(1))}


def _shifted(evaluate):
    return lambda special, n, x: evaluate(special, n, 2 * x - 1)


for _letter, (_kind, _evaluate) in _CHEBYSHEV.items():
    _polynomial(f'chebyshev_polynomial_{_letter}', f'Chebyshev polynomial of the {_kind} kind', _evaluate)
    _polynomial(f'shifted_chebyshev_polynomial_{_letter}', f'Chebyshev polynomial of the {_kind} kind on [0, 1]',
                _shifted(_evaluate))
for _name, _words, _evaluate in (
        ('hermite_polynomial_h', "physicist's Hermite polynomial", lambda special, n, x: special.eval_hermite(n, x)),
        ('hermite_polynomial_he', "probabilist's Hermite polynomial",
         lambda special, n, x: special.eval_hermitenorm(n, x)),
        ('legendre_polynomial_p', 'Legendre polynomial', lambda special, n, x: special.eval_legendre(n, x))):
    _polynomial(_name, _words, _evaluate)
_polynomial('laguerre_polynomial_l', 'Laguerre polynomial', lambda special, n, x: special.eval_laguerre(n, x), -1)


# ---- functions of other families under the names of this one

also('special', exp2=exp2, expm1=expm1, log1p=log1p, expit=sigmoid, sinc=sinc, multigammaln=mvlgamma,
     log_softmax=log_softmax, softmax=softmax, round=EXPORTS['torch']['round'])
