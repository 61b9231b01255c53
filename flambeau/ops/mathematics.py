"""Exponentials, logarithms, trigonometry and other elementary functions of one or two numbers."""
from __future__ import annotations

import math

from .arithmetic import conjugated
from .definition import elementwise, primitive

__all__ = ['exp', 'log', 'sqrt', 'tanh', 'sigmoid']


def _unary(name, gradient, aliases=(), **options):
    """Declares a function of one number whose derivative is written for holomorphic functions."""
    return primitive(name, promote='float', inplace=True, aliases=aliases, grad={'input': gradient}, **options)


exp = _unary('exp', lambda m, g, output: g * conjugated(m, output), doc='e to the power of input.')
exp2 = _unary('exp2', lambda m, g, output: g * conjugated(m, output) * math.log(2), doc='2 to the power of input.')
expm1 = _unary('expm1', lambda m, g, output: g * (conjugated(m, output) + 1), doc='exp(input) - 1, exact near 0.')
log = _unary('log', lambda m, g, input: g / conjugated(m, input), domain=(0.1, 3.0),
             doc='The natural logarithm.')
log2 = _unary('log2', lambda m, g, input: g / (conjugated(m, input) * math.log(2)), domain=(0.1, 3.0),
              doc='The logarithm to base 2.')
log10 = _unary('log10', lambda m, g, input: g / (conjugated(m, input) * math.log(10)), domain=(0.1, 3.0),
               doc='The logarithm to base 10.')
log1p = _unary('log1p', lambda m, g, input: g / (conjugated(m, input) + 1), domain=(-0.9, 3.0),
               doc='log(1 + input), exact near 0.')
sqrt = _unary('sqrt', lambda m, g, output: g / (2 * conjugated(m, output)), domain=(0.1, 3.0),
              doc='The square root.')
rsqrt = _unary('rsqrt', lambda m, g, output: -0.5 * g * conjugated(m, m.pow(output, 3)), domain=(0.1, 3.0),
               doc='1 / sqrt(input).')
reciprocal = _unary('reciprocal', lambda m, g, output: -g * conjugated(m, output * output), doc='1 / input.')
sin = _unary('sin', lambda m, g, input: g * conjugated(m, m.cos(input)), doc='The sine.')
cos = _unary('cos', lambda m, g, input: -g * conjugated(m, m.sin(input)), doc='The cosine.')
tan = _unary('tan', lambda m, g, output: g * conjugated(m, 1 + output * output), doc='The tangent.')
asin = _unary('asin', lambda m, g, input: g * conjugated(m, m.rsqrt(1 - input * input)), ('arcsin',),
              domain=(-0.9, 0.9), doc='The arcsine.')
acos = _unary('acos', lambda m, g, input: -g * conjugated(m, m.rsqrt(1 - input * input)), ('arccos',),
              domain=(-0.9, 0.9),
              doc='The arccosine.')
atan = _unary('atan', lambda m, g, input: g / conjugated(m, 1 + input * input), ('arctan',), doc='The arctangent.')
sinh = _unary('sinh', lambda m, g, input: g * conjugated(m, m.cosh(input)), doc='The hyperbolic sine.')
cosh = _unary('cosh', lambda m, g, input: g * conjugated(m, m.sinh(input)), doc='The hyperbolic cosine.')
tanh = _unary('tanh', lambda m, g, output: g * conjugated(m, 1 - output * output), doc='The hyperbolic tangent.')
asinh = _unary('asinh', lambda m, g, input: g * conjugated(m, m.rsqrt(input * input + 1)), ('arcsinh',),
               doc='The inverse hyperbolic sine.')
acosh = _unary('acosh', lambda m, g, input: g * conjugated(m, m.rsqrt(input - 1) * m.rsqrt(input + 1)), ('arccosh',),
               domain=(1.1, 3.0),
               doc='The inverse hyperbolic cosine.')
atanh = _unary('atanh', lambda m, g, input: g / conjugated(m, 1 - input * input), ('arctanh',),
               domain=(-0.9, 0.9),
               doc='The inverse hyperbolic tangent.')
sigmoid = _unary('sigmoid', lambda m, g, output: g * conjugated(m, output * (1 - output)), doc='1 / (1 + exp(-input)).')


@elementwise(inplace=True, grad={'input': lambda m, g, input: 2 * g * conjugated(m, input)})
def square(m, input):
    """input * input."""
    return input * input


@elementwise(inplace=True, promote='float', aliases=('arctan2',),
             grad={'input': lambda m, g, input, other: g * other / (input * input + other * other),
                   'other': lambda m, g, input, other: -g * input / (input * input + other * other)})
def atan2(m, input, other):
    """The angle of the point (other, input)."""
    return m.atan2(input, other)
