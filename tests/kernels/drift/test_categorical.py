"""Category codes against SciPy's contingency test and hand counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from kernels import drift
from kernels.errors import DTypeError


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64"])
def test_contingency_is_scipys(dtype: str, backend: Any) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 7, 900).astype(dtype), rng.integers(0, 9, 800).astype(dtype)
    y = np.where(y == 8, 9, y).astype(dtype)
    p, q = np.bincount(x, minlength=8), np.bincount(np.minimum(y, 7), minlength=8)
    expected = stats.chi2_contingency([p, q], correction=False)
    result = drift.chi2_contingency(backend.put(x), backend.put(y), backend=backend.name)
    assert float(backend.get(result.statistic)) == pytest.approx(expected.statistic, rel=1e-12)
    assert float(backend.get(result.pvalue)) == pytest.approx(expected.pvalue, rel=1e-9)
    gaps = np.abs(p / 900 - q / 800)
    total = drift.total_variation_distance(backend.put(x), backend.put(y), backend=backend.name)
    largest = drift.linf_distance(backend.put(x), backend.put(y), backend=backend.name)
    assert float(backend.get(total)) == pytest.approx(gaps.sum() / 2)
    assert float(backend.get(largest)) == pytest.approx(gaps.max())


def test_worked_examples() -> None:
    x, y = np.repeat([0, 1], [10, 10]), np.repeat([0, 1], [5, 15])
    value, p = drift.chi2_contingency(x, y)
    assert value == pytest.approx(8 / 3)
    assert p == pytest.approx(0.10247, abs=1e-5)
    assert drift.total_variation_distance(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])) == 0.25
    assert drift.linf_distance(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2])) == 0.25


def test_negative_codes_are_missing() -> None:
    x = np.array([[0, -1], [1, -1], [1, -1]])
    y = np.array([[0, 0], [1, 1], [-1, 1]])
    result = drift.chi2_contingency(x, y)
    assert result.n_reference.tolist() == [3, 0]
    assert result.missing_reference.tolist() == [0, 3]
    assert result.missing_live.tolist() == [1, 0]
    assert np.isnan(result.pvalue[1])
    assert np.isnan(drift.total_variation_distance(x, y)[1])


def test_one_category_decides_nothing() -> None:
    assert np.isnan(drift.chi2_contingency(np.zeros(9, int), np.zeros(9, int)).pvalue)
    assert drift.total_variation_distance(np.zeros(9, int), np.ones(9, int)) == 1.0


def test_codes_must_be_integers() -> None:
    with pytest.raises(DTypeError, match="reference: dtype float64 is not integer - pass category codes"):
        drift.chi2_contingency(np.zeros(3), np.zeros(3))
