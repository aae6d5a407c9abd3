"""Intervals of shares, medians, means and counts: SciPy's, closed forms, and a simulation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from engine.pipeline.numbers import counted, coverage, mean, measure, median, share
from engine.records.measured import MOST_ROWS


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (1, 2), (3, 10), (17, 40), (40, 40)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_a_share_has_wilsons_interval(hits: int, n: int, level: float) -> None:
    truth = stats.binomtest(hits, n).proportion_ci(level, method="wilson")
    found = share("s", hits, n, level)
    assert found.value == hits / n
    assert (found.low, found.high) == pytest.approx((truth.low, truth.high), abs=1e-12)


@pytest.mark.parametrize("n", [2, 5, 6, 9, 30])
def test_the_coverage_of_order_statistics_is_the_binomials(n: int) -> None:
    for k in range(1, n // 2 + 1):
        assert coverage(n, k) == pytest.approx(1 - 2 * stats.binom.cdf(k - 1, n, 0.5), abs=1e-12)


@pytest.mark.parametrize(
    ("n", "ends", "level"), [(2, (0, 1), 0.5), (5, (0, 4), 0.9375), (6, (0, 5), 0.95), (9, (1, 7), 0.95)]
)
def test_a_median_lies_between_the_narrowest_pair_that_holds_it(n: int, ends: tuple[int, int], level: float) -> None:
    values = [float(v) for v in range(n)]
    found = median("m", list(reversed(values)), 0.95)
    assert (found.value, found.low, found.high) == ((n - 1) / 2, float(ends[0]), float(ends[1]))
    assert found.confidence_level == pytest.approx(level)


def test_one_value_has_no_interval() -> None:
    for found in (median("m", [3.0], 0.95), mean("m", [3.0], 0.95)):
        assert found.value == 3.0
        assert math.isnan(found.low)
        assert math.isnan(found.high)


def test_the_median_of_a_skewed_law_is_held_as_often_as_is_said(
    record_property: Callable[[str, object], None],
) -> None:
    rng = np.random.default_rng(11)
    drawn = rng.exponential(size=(4000, 12))
    held = [f.low <= math.log(2) <= f.high for f in (median("m", row.tolist(), 0.9) for row in drawn)]
    said = f"{np.mean(held):.1%} of {len(held)} draws of 12 exponential delays, exact {coverage(12, 3):.1%}"
    record_property("the true median of a delay lies in its interval (asked: 90 %)", said)
    assert np.mean(held) == pytest.approx(coverage(12, 3), abs=4 * math.sqrt(0.1 * 0.9 / 4000))
    assert coverage(12, 3) >= 0.9 > coverage(12, 4)


def test_a_mean_has_the_normal_interval_and_a_count_has_none() -> None:
    values = [1.0, 2.0, 6.0]
    low, high = stats.norm.interval(0.95, loc=3.0, scale=stats.sem(values))
    found = mean("m", values, 0.95)
    assert (found.value, found.low, found.high) == pytest.approx((3.0, low, high))
    assert (counted("c", 4.0, 3, 0.95).low, counted("c", 4.0, 3, 0.95).high) == (4.0, 4.0)


def test_a_measure_names_the_newest_of_its_rows() -> None:
    found = measure(counted("c", 1.0, 1, 0.95), "EUR", [0, 7, *range(1, 40)])
    assert found.rows == tuple(range(40 - MOST_ROWS, 40))
    assert found.n_rows == 39
