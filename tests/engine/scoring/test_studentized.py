"""Bounds from contributions: Hall's transform against its own inverse, coverage by simulation, and heavy tails."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from engine.scoring.studentized import (
    CLUSTERS,
    RESTS_ON,
    SHY,
    heavy,
    logit_ends,
    skewed_ends,
    student_ends,
    tilted_ends,
)
from kernels.resample import Moments, moments

LEVEL = 0.95


def known(**more: Any) -> Moments:
    told: dict[str, Any] = {
        "error": 0.1, "skewness": 0.0, "freedom": 19.0, "effective": 30.0, "tail": 5.0, "units": 100,
    }  # fmt: skip
    return Moments(**(told | more))


def test_bounds_without_skewness_are_students() -> None:
    half = stats.t.ppf(0.975, 19) * 0.1
    assert student_ends(0.3, known(), LEVEL) == pytest.approx((0.3 - half, 0.3 + half))
    assert skewed_ends(0.3, known(), LEVEL) == pytest.approx((0.3 - half, 0.3 + half))
    assert skewed_ends(0.3, known(skewness=1e-7), LEVEL) == pytest.approx((0.3 - half, 0.3 + half))
    cautious = stats.t.ppf(0.975, 14) * 0.1
    assert skewed_ends(0.3, known(effective=10.0), LEVEL) == pytest.approx((0.3 - cautious, 0.3 + cautious))
    assert skewed_ends(0.3, known(effective=10.0, units=25), LEVEL) == pytest.approx((0.3 - half, 0.3 + half))


@pytest.mark.parametrize("a", [-0.8, -0.1, 0.02, 0.3, 1.5])
def test_bounds_are_sent_back_through_halls_transform(a: float) -> None:
    """g(T) of the studentized distance to each bound is the quantile that it was made from."""
    t = stats.t.ppf(0.975, 19)
    for end, wanted in zip(skewed_ends(2.0, known(skewness=a), LEVEL), (t, -t), strict=True):
        distance, b = (2.0 - end) / 0.1, a * (1 + SHY / 100)
        assert distance + b * distance**2 / 3 + b * b * distance**3 / 27 + b / 6 == pytest.approx(wanted, rel=1e-9)


def test_bounds_of_a_ranking_are_johnsons_and_stay_within_reason() -> None:
    """What thirty days of flights gave: Hall's transform sends the upper bound of .662 to .956."""
    t = stats.t.ppf(0.975, 19)
    assert tilted_ends(0.3, known(), LEVEL) == pytest.approx(student_ends(0.3, known(), LEVEL))
    low, high = tilted_ends(0.3, known(skewness=0.2), LEVEL)
    assert (low, high) == pytest.approx((0.3 - t * 0.1, 0.3 + (t + 0.2 * 1.05 / 6 * (2 * t * t + 1)) * 0.1))
    assert tilted_ends(-0.3, known(skewness=-0.2), LEVEL) == pytest.approx((-high, -low))
    days = known(error=0.0326, skewness=0.381, freedom=10.0, effective=4.3, units=30)
    assert skewed_ends(0.662, days, LEVEL)[1] > 0.9
    assert tilted_ends(0.662, days, LEVEL)[1] == pytest.approx(0.761, abs=0.001)


def test_a_share_never_leaves_its_range() -> None:
    low, high = logit_ends(0.97, known(), LEVEL)
    middle, half = math.log(0.97 / 0.03), stats.t.ppf(0.975, 19) * 0.1 / (0.97 * 0.03)
    assert (low, high) == pytest.approx((1 / (1 + math.exp(half - middle)), 1 / (1 + math.exp(-half - middle))))
    assert 0.0 < low < 0.97 < high < 1.0
    assert logit_ends(1.0, known(), LEVEL) == (1.0, 1.0)
    assert logit_ends(0.5, known(error=1e9), LEVEL) == pytest.approx((0.0, 1.0))


def rare(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Twenty of three hundred cost much, the others gain a little: an honest mean of 0."""
    costly = rng.random(size) < 1 / 15
    return np.where(costly, 2.8 + rng.normal(size=size), -0.2 + 0.1 * rng.normal(size=size))


@pytest.mark.parametrize("sets", [300, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("name", "n", "draw"),
    [
        ("exponential", 50, lambda rng, size: rng.exponential(size=size) - 1.0),
        ("exponential", 300, lambda rng, size: rng.exponential(size=size) - 1.0),
        ("squared normal", 100, lambda rng, size: rng.normal(size=size) ** 2 - 1.0),
        ("twenty of three hundred", 300, rare),
        ("normal", 30, lambda rng, size: rng.normal(size=size)),
    ],
)
def test_each_bound_of_a_skewed_mean_errs_as_stated(
    sets: int,
    name: str,
    n: int,
    draw: Callable[[np.random.Generator, tuple[int, int]], np.ndarray],
    record_property: Callable[[str, object], None],
) -> None:
    """Where Student's t alone errs in 4 to 6 % on one side."""
    x = draw(np.random.default_rng(1), (sets, n))
    above = below = plain = 0
    for values in x:
        law = moments(values - values.mean())
        low, high = skewed_ends(float(values.mean()), law, LEVEL)
        above, below = above + (low > 0.0), below + (high < 0.0)
        far = stats.t.ppf(0.975, n - 1) * law.error
        plain += abs(float(values.mean())) > far
    figure = f"{below / sets:.4f}, {above / sets:.4f} of {sets} (0.025 stated; by t {plain / sets:.4f} of 0.05)"
    record_property(f"a bound misses the mean of {n} {name} losses", figure)
    assert max(above, below) <= max(0.033 * sets, stats.binom.isf(1e-3, sets, 0.025))


@pytest.mark.parametrize("sets", [400, pytest.param(10_000, marks=pytest.mark.slow)])
def test_few_clusters_are_no_surer_for_resting_on_more(
    sets: int, record_property: Callable[[str, object], None]
) -> None:
    """Means of thirty lognormal clusters: a bound misses as often with RESTS_ON, and tells half as seldom."""
    x = np.random.default_rng(3).lognormal(size=(sets, 30)) - math.exp(0.5)
    missed, untold = {RESTS_ON: 0, CLUSTERS: 0}, {RESTS_ON: 0, CLUSTERS: 0}
    for values in x:
        law = moments(values - values.mean())
        high = skewed_ends(float(values.mean()), law, LEVEL)[1]
        for least in missed:
            cannot = heavy(law, tails=False, least=least)
            untold[least] += cannot
            missed[least] += high < 0.0 and not cannot
    for least in missed:
        figure = f"{missed[least] / sets:.4f}, and {untold[least] / sets:.2f} cannot be told, of {sets} (0.025 stated)"
        record_property(f"a bound misses the mean of 30 lognormal clusters, resting on {least:g}", figure)
    assert missed[CLUSTERS] - missed[RESTS_ON] <= 0.005 * sets
    assert 1.5 * untold[CLUSTERS] < untold[RESTS_ON]


@pytest.mark.parametrize("n", [100, 1000, 10_000])
def test_losses_without_a_variance_are_told_from_losses_with_one(n: int) -> None:
    rng = np.random.default_rng(n)
    told = {"normal": 0, "exponential": 0, "t3 squared": 0}
    for _ in range(50):
        drawn = rng.normal(size=n), rng.exponential(size=n), rng.standard_t(3, size=n) ** 2
        for name, x in zip(told, drawn, strict=True):
            told[name] += heavy(moments(x - x.mean()), tails=True)
    assert told["normal"] == 0
    assert told["exponential"] <= (15 if n == 100 else 1)
    assert told["t3 squared"] >= 42


def test_few_units_that_make_the_number_leave_none() -> None:
    assert heavy(known(effective=3.9), tails=False)
    assert not heavy(known(effective=4.1), tails=False)
    assert not heavy(known(effective=2.0, units=8), tails=False)  # of so few, two are not few
    assert not heavy(known(effective=3.9, units=30), tails=False, least=CLUSTERS)
    assert heavy(known(effective=2.4, units=30), tails=False, least=CLUSTERS)
    assert heavy(known(tail=1.2), tails=True)
    assert not heavy(known(tail=1.2), tails=False)
    assert not heavy(known(error=0.0, effective=0.0), tails=True)
