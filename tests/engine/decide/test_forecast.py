"""The line against generalised least squares in NumPy, and its quantile against SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from engine.decide import DecideConf
from engine.decide.forecast import points_a_window, upf
from tests.engine.decide.evidence import UNKNOWN, tracked

CONF = DecideConf(staleness=0.5, staleness_std=1.5)
CONF_AT = {q: DecideConf(staleness=0.5, staleness_std=1.5, quantile=q) for q in (0.25, 0.5, 0.8)}
VALUES = (0.795, 0.78, 0.785, 0.76)


def slope(lost: list[float], ages: list[int], std: list[float]) -> tuple[float, float]:
    """The posterior of b in `lost = b x age + noise`, as a linear Gaussian model in matrices."""
    design, prior = np.array(ages, float)[:, None], 1.5**2
    noise = np.diag(1.5**2 + np.square(std))
    precision = design.T @ np.linalg.inv(noise) @ design + 1 / prior
    mean = np.linalg.solve(precision, design.T @ np.linalg.inv(noise) @ np.array(lost) + 0.5 / prior)
    return float(mean[0]), math.sqrt(float(np.linalg.inv(precision)[0, 0]))


def test_the_slope_is_the_posterior_of_a_bayesian_line() -> None:
    """The newest window is 3 windows of age away, the ones before it 2, 1 and 0."""
    found = points_a_window(tracked(*VALUES, age=3), CONF)
    std = math.hypot(0.2, 0.2)
    mean, spread = slope([0.5, 2.0, 1.5, 4.0], [0, 1, 2, 3], [std] * 4)
    assert (found.mean, found.std) == (pytest.approx(mean), pytest.approx(spread))


def test_a_champion_of_age_zero_says_nothing_of_age() -> None:
    found = points_a_window(tracked(0.60, age=0), CONF)
    assert (found.mean, found.std) == (pytest.approx(0.5), pytest.approx(1.5))


@pytest.mark.parametrize("quantile", CONF_AT)
def test_it_acts_when_the_quantile_reaches_the_cost(quantile: float) -> None:
    seen = tracked(*VALUES, age=3)
    rate = points_a_window(seen, CONF)
    saved = float(stats.norm(rate.mean, rate.std).ppf(quantile)) * 3 * 100 * 3
    for review, acts in ((saved - 1, True), (saved + 1, False)):  # compute is 0.1 EUR beside it
        conf = DecideConf(staleness=0.5, staleness_std=1.5, quantile=quantile, review_cost=review)
        assert upf(seen, conf)[0] is acts
    assert f"the {quantile:g} quantile of what a retrain saves is {saved:.0f} EUR" in upf(seen, CONF_AT[quantile])[1]


def test_an_undecidable_newest_window_does_not_act_and_an_older_one_does_not_count() -> None:
    for seen in (tracked(0.5, UNKNOWN, age=9), tracked(age=9), tracked(0.5, baseline=None, age=9)):
        assert upf(seen, CONF) == (False, "the forecast is undecidable")
    holes = points_a_window(tracked(0.795, UNKNOWN, 0.785, 0.76, age=3), CONF)
    mean, spread = slope([1.5, 4.0], [2, 3], [math.hypot(0.2, 0.2)] * 2)
    assert (holes.mean, holes.std) == (pytest.approx(mean), pytest.approx(spread))
