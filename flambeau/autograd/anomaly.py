"""Anomaly mode: remembers the line of the program behind each recorded operation, and stops at the first nan."""
from __future__ import annotations

import sys
import traceback

import numpy as np

from ..tensor import Tensor
from .modes import STATE

__all__ = ['detect_anomaly', 'set_detect_anomaly', 'is_anomaly_enabled', 'remember_line', 'refuse_nan']


def is_anomaly_enabled() -> bool:
    return STATE.anomaly


class set_detect_anomaly:
    """Switches anomaly mode on or off; as a context manager it is switched back at the end."""

    def __init__(self, mode: bool, check_nan: bool = True):
        self.before = STATE.anomaly, STATE.check_nan
        STATE.anomaly, STATE.check_nan = mode, check_nan
        STATE.settle()

    def __enter__(self):
        return None

    def __exit__(self, *_):
        STATE.anomaly, STATE.check_nan = self.before
        STATE.settle()


class detect_anomaly(set_detect_anomaly):
    """Inside, a backward that makes a nan raises an error that names the line of the forward operation."""

    def __init__(self, check_nan: bool = True):
        self.before = STATE.anomaly, STATE.check_nan
        self.check_nan = check_nan

    def __enter__(self):
        self.before = STATE.anomaly, STATE.check_nan
        STATE.anomaly, STATE.check_nan = True, self.check_nan
        STATE.settle()


def remember_line(node):
    """Notes the user's lines that lead to a recorded operation."""
    stack = traceback.extract_stack(sys._getframe(1))
    own = __package__.split('.')[0]
    node.note('line', lambda: [f for f in stack if f'/{own}/' not in f.filename.replace('\\', '/')
                               and not f.filename.startswith(f'<{own}')] or list(stack))


def refuse_nan(node, grads):
    """Raises where a gradient that a node computed holds a nan."""
    if not STATE.check_nan:
        return
    for k, grad in enumerate(grads):
        array = grad._array if isinstance(grad, Tensor) else grad
        if array is None or getattr(array, 'dtype', np.dtype(int)).kind not in 'fc' or not np.isnan(array).any():
            continue
        lines = (node.extra or {}).get('line')
        where = ''
        if lines:
            last = lines[-1]
            where = (f' The forward operation was at {last.filename}:{last.lineno}: {last.line}\n'
                     f'Traceback of the forward call (most recent call last):\n'
                     + ''.join(traceback.format_list(lines)))
        raise RuntimeError(f"Function '{node.name()}' returned nan values in its {k}th output.{where}")
