"""Mathematical functions in the kernel language, of all families; docs/accuracy.md has the errors found."""
from __future__ import annotations

from .exponential import (acosh, asinh, atanh, cosh, exp, exp2, expm1, fmod, hypot, log, log1p, log2, log10,
                          polynomial, pow, sigmoid, sinh, tanh)
from .special import digamma, erf, erfc, erfinv, lgamma, nextafter
from .trigonometry import acos, asin, atan, atan2, cos, sin, tan

FUNCTIONS = {f.__name__: f for f in (
    acos, acosh, asin, asinh, atan, atan2, atanh, cos, cosh, digamma, erf, erfc, erfinv, exp, exp2, expm1, fmod, hypot,
    lgamma, log, log10, log1p, log2, nextafter, pow, sigmoid, sin, sinh, tan, tanh)}
__all__ = ['polynomial', 'FUNCTIONS', *FUNCTIONS]
