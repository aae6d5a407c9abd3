"""Student's t is SciPy's."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from engine.scoring import student

DEGREES = [1, 2, 3, 4, 9, 19, 30, 99, 2000, 1_000_000]


@pytest.mark.parametrize("df", DEGREES)
def test_tails(df: int) -> None:
    for t in (-30.0, -3.0, -0.1, 0.0, 0.3, 1.0, 2.0, 5.0, 12.0, 40.0):
        assert student.sf(t, df) == pytest.approx(stats.t.sf(t, df), rel=1e-8)
    assert student.sf(math.inf, df) == 0.0
    assert student.sf(-math.inf, df) == 1.0


def test_the_middle_is_exact() -> None:
    assert student.sf(1e-8, 1) == pytest.approx(0.5 - 1e-8 / math.pi, rel=1e-15)  # Cauchy's law


@pytest.mark.parametrize("df", DEGREES)
def test_quantiles(df: int) -> None:
    for level in (0.5, 0.5001, 0.6, 0.95, 0.995, 0.9999, 1 - 1e-9):
        assert student.ppf(level, df) == pytest.approx(stats.t.ppf(level, df), rel=1e-7, abs=1e-8)
        assert student.ppf(1 - level, df) == pytest.approx(-student.ppf(level, df), rel=1e-6)
