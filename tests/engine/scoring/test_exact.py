"""Exact bounds of shares: SciPy's, and coverage counted out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import special, stats

from engine.scoring import student
from engine.scoring.exact import COUNTED, FEW, exact_ends, share_bounds
from kernels import metrics

LEVEL = 0.95


@pytest.mark.parametrize(("hits", "of"), [(0, 30), (1, 30), (9, 300), (150, 300), (299, 300), (30, 30), (5, 200_000)])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
def test_bounds_are_those_of_clopper_and_pearson(hits: int, of: int, level: float) -> None:
    known = stats.binomtest(hits, of).proportion_ci(level, "exact")
    assert share_bounds(hits, of, (1 - level) / 2) == pytest.approx((known.low, known.high), rel=1e-7, abs=1e-11)


@pytest.mark.parametrize(("a", "b"), [(0.5, 3.0), (2.0, 2.0), (40.0, 1.0), (3.0, 4000.0)])
def test_the_beta_function_is_scipys(a: float, b: float) -> None:
    for x in (0.0, 1e-4, 0.2, 0.5, 0.97, 1.0):
        assert student.beta(a, b, x) == pytest.approx(special.betainc(a, b, x), rel=1e-9, abs=1e-14)


def made(hits: int, missed: int, false: int, right: int) -> tuple[np.ndarray, np.ndarray]:
    """Truth and labels with so many of each kind."""
    counts = (hits, missed, false, right)
    return np.repeat([1, 1, 0, 0], counts), np.repeat([1, 0, 1, 0], counts)


@pytest.mark.parametrize("metric", sorted(COUNTED))
@pytest.mark.parametrize("counts", [(12, 8, 5, 200), (20, 0, 0, 50), (0, 20, 9, 50), (3, 17, 1, 400)])
def test_the_metric_lies_in_its_bounds(metric: str, counts: tuple[int, int, int, int]) -> None:
    truth, label = made(*counts)
    ends = exact_ends(metric, truth, label, LEVEL)
    assert ends is not None
    low, high = ends
    assert -1e-9 <= low <= float(getattr(metrics, metric)(truth, label)) <= high <= 1 + 1e-9
    assert high - low > 0.01


def test_where_both_answers_are_many_resampling_knows_as_well() -> None:
    for metric in COUNTED:
        assert exact_ends(metric, *made(FEW, FEW, FEW, FEW), LEVEL) is None
    assert exact_ends("matthews_corrcoef", *made(9, 9, 9, 9), LEVEL) is None
    assert exact_ends("balanced_accuracy_score", *made(FEW, FEW, FEW - 1, FEW), LEVEL) is not None


@pytest.mark.parametrize(("positives", "negatives"), [(12, 40), (20, 20), (15, 80)])
def test_bounds_of_a_balanced_accuracy_hardly_ever_miss_more_often_than_stated(positives: int, negatives: int) -> None:
    """Counted out over all tables; MOVER is not exact, though nearly."""
    worst = 0.0
    tables = list(itertools.product(range(positives + 1), range(negatives + 1)))
    lows = np.array([exact_ends("balanced_accuracy_score", *made(h, positives - h, negatives - r, r), LEVEL)[0]  # type: ignore[index]
                     for h, r in tables])  # fmt: skip
    hits, right = np.array(tables).T
    for recall, specificity in itertools.product((0.05, 0.3, 0.6, 0.9), (0.5, 0.8, 0.97)):
        chance = stats.binom.pmf(hits, positives, recall) * stats.binom.pmf(right, negatives, specificity)
        worst = max(worst, float(chance[lows > (recall + specificity) / 2 + 1e-12].sum()))
    assert 0.005 < worst <= 0.03
