"""Shows the generated kernels behind a call: their readable text, LLVM's text and the processor's instructions."""
from __future__ import annotations

import sys

__all__ = ['show_kernel']


def show_kernel(function, *inputs, what='kernel') -> str:
    """The generated kernels that `function(*inputs)` runs, as text; also printed.

    what: 'kernel' for the kernel language, 'llvm' for LLVM's intermediate text, 'assembly' for the instructions. Small
    operations run array functions and show none. Raises RuntimeError where kernels cannot be generated, ValueError for
    another `what`.

    >>> text = flambeau.show_kernel(flambeau.exp, flambeau.randn(100_000))
    """
    from .backends.cpu import build, properties
    if what not in ('kernel', 'llvm', 'assembly'):
        raise ValueError(f"show_kernel: what must be 'kernel', 'llvm' or 'assembly', got {what!r}")
    if not properties.jit_is_on():
        raise RuntimeError('show_kernel: kernels are switched off (FLAMBEAU_JIT=0), or llvmlite is missing: '
                           'pip install llvmlite')
    met = {}

    def notice(frame, event, called):
        if event == 'c_call' and called.__name__.startswith('kernel_'):
            met[called.__name__] = True
    before = sys.getprofile()
    sys.setprofile(notice)
    try:
        function(*inputs)
    finally:
        sys.setprofile(before)
    text = '\n\n'.join(build.shown(name, what) for name in met)
    print(text or 'no generated kernel ran: the operation is small, or array functions do it')
    return text
