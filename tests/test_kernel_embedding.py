"""Gradients of embeddings by a generated kernel: the very bits of additions one after another."""
from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('llvmlite')

from flambeau.backends.cpu import embedding as driver  # noqa: E402
from flambeau.backends.cpu.properties import jit_is_on  # noqa: E402

pytestmark = pytest.mark.skipif(not jit_is_on(), reason='kernels are switched off')


@pytest.mark.parametrize('count, looked_up, width', [(50, 400, 64), (7, 300, 77), (1000, 5000, 1), (3, 90, 300)])
def test_rows_are_added_in_order(count, looked_up, width):
    rng = np.random.default_rng(1)
    values = rng.standard_normal((looked_up, width)).astype(np.float32)
    rows = rng.integers(0, count, looked_up)
    expected = np.zeros((count, width), np.float32)
    np.add.at(expected, rows, values)
    np.testing.assert_array_equal(driver.add_rows(values, rows, count), expected)
    assert driver.add_rows(values, rows, int(rows.max())) is None
