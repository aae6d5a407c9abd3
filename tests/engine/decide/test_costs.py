"""Money against closed forms and against simulation."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from engine.decide import DecideConf
from engine.decide.costs import (
    acting,
    chance_to_pass,
    cost_of_age,
    points_lost,
    points_to_win,
    probability_of_paying,
    product,
    standard_error,
)
from engine.decide.expected import expected
from engine.errors import ConfigError
from engine.records import Money
from tests.engine.decide.evidence import UNKNOWN, attempt, estimate, evidence

CONF = DecideConf()
UNKNOWNS = [
    {"realised": None},
    {"baseline": None},
    {"realised": UNKNOWN},
    {"baseline": UNKNOWN},
    {"realised": estimate(math.inf)},
    {"realised": estimate(0.78, low=math.nan)},
    {"baseline": estimate(0.80, high=math.inf)},
]


def test_a_standard_error_comes_back_from_its_interval() -> None:
    assert standard_error(estimate(0.8, 0.013)) == pytest.approx(0.013)
    half = stats.norm.ppf(0.95) * 0.013
    assert standard_error(estimate(0.8, low=0.8 - half, high=0.8 + half, confidence_level=0.9)) == pytest.approx(0.013)
    assert math.isnan(standard_error(UNKNOWN))


@pytest.mark.parametrize(("greater", "realised", "lost"), [(True, 0.78, 2.0), (True, 0.81, -1.0), (False, 0.83, 3.0)])
def test_points_lost(greater: bool, realised: float, lost: float) -> None:
    found = points_lost(evidence(greater_is_better=greater, realised=estimate(realised, 0.004)), CONF)
    assert found.mean == pytest.approx(lost)
    assert found.std == pytest.approx(100 * math.hypot(0.002, 0.004))


def test_a_point_is_what_the_config_says() -> None:
    """Minutes late: a point of one minute; an hour lost in all."""
    minutes = evidence(greater_is_better=False, baseline=estimate(20.0, 0.5), realised=estimate(80.0, 0.5))
    found = points_lost(minutes, DecideConf(point=1.0))
    assert found.mean == pytest.approx(60)
    assert found.std == pytest.approx(math.hypot(0.5, 0.5))
    learned = evidence(greater_is_better=False, attempts=(attempt(gain=estimate(-3.0, 0.1), age=1),))
    assert cost_of_age(learned, DecideConf(point=1.0)).mean == pytest.approx((1 + 3 / 1.01) / (1 + 1 / 1.01))


def test_the_cost_of_age_is_the_conjugate_normal_update() -> None:
    """Prior N(1, 1); two attempts measured -0.5 and 3 points a window, each with its own error and the spread 1."""
    attempts = (
        attempt(gain=estimate(-0.01, 0.004), age=2, passed=False),
        attempt(gain=estimate(0.03, 0.002), age=1),
    )
    found = cost_of_age(evidence(attempts=attempts), CONF)
    weights = np.array([1.0, 1 / (1 + 0.2**2), 1 / (1 + 0.2**2)])
    assert found.mean == pytest.approx(weights @ [1.0, -0.5, 3.0] / weights.sum())
    assert found.std == pytest.approx(weights.sum() ** -0.5)
    down = tuple(dataclasses.replace(a, gain=estimate(-a.gain.value, 0.002 * a.age)) for a in attempts if a.gain)
    assert cost_of_age(evidence(attempts=down, greater_is_better=False), CONF).mean == pytest.approx(found.mean)


def test_the_cost_of_age_follows_many_attempts_and_forgets_the_config() -> None:
    many = tuple(attempt(gain=estimate(0.004, 0.001), age=1) for _ in range(400))
    found = cost_of_age(evidence(attempts=many), DecideConf(staleness=5.0))
    assert found.mean == pytest.approx(0.4, abs=0.02)
    assert found.std == pytest.approx(0.05, abs=0.001)


@pytest.mark.parametrize(
    "useless",
    [
        {"gain": None, "age": 3},
        {"gain": estimate(0.02), "age": 0},
        {"gain": UNKNOWN, "age": 2},
        {"gain": estimate(0.02, low=math.nan), "age": 2},
        {"gain": estimate(0.02, high=math.inf), "age": 2},
    ],
)
def test_attempts_that_measured_nothing_leave_the_belief(useless: dict[str, Any]) -> None:
    assert cost_of_age(evidence(attempts=(attempt(**useless),)), CONF) == Money(mean=1.0, std=1.0)


def test_what_a_retrain_wins_is_the_larger_of_lost_and_stale() -> None:
    lost, std = 2.0, 100 * math.hypot(0.002, 0.002)
    found = points_to_win(evidence(age=0), CONF)
    assert found.mean == pytest.approx(0.5 * lost)
    assert found.std == pytest.approx(math.sqrt((0.5**2 + 0.25**2) * (lost**2 + std**2) - (0.5 * lost) ** 2))
    assert points_to_win(evidence(age=4), CONF) == Money(mean=4.0, std=4.0)
    assert points_to_win(evidence(age=4, realised=estimate(0.85)), CONF) == Money(mean=4.0, std=4.0)


@pytest.mark.parametrize("unknown", UNKNOWNS)
@pytest.mark.parametrize("age", [0, 50])
def test_undecidable_evidence_is_worth_an_undecidable_amount(unknown: dict[str, Any], age: int) -> None:
    points = points_to_win(evidence(age=age, **unknown), CONF)
    assert not (math.isfinite(points.mean) and math.isfinite(points.std))
    assert math.isnan(
        probability_of_paying(expected(evidence(age=age, **unknown), CONF).gain, Money(mean=1.0, std=1.0))
    )


def test_waiting_is_points_times_value_times_horizon_and_never_a_gain() -> None:
    conf = DecideConf(point_value=70, horizon=5, planned=False)
    assert expected(evidence(age=4), conf).waiting == Money(mean=4 * 70 * 5, std=4 * 70 * 5)
    fresh = evidence(age=0, realised=estimate(0.82))
    assert expected(fresh, conf).waiting == Money(mean=0, std=0)
    worse = (attempt(gain=estimate(-0.05), age=1),)  # newer models are worse here: age is no loss either
    found = expected(evidence(age=2, realised=estimate(0.82), attempts=worse), conf).waiting
    assert found.mean == 0
    assert found.std > 0


def test_acting_costs_what_attempts_of_the_same_kind_cost() -> None:
    conf = DecideConf(hour_price=10, review_cost=7, first_hours=4)
    assert acting(evidence(), conf) == Money(mean=47, std=20)
    sweeps = [attempt(hours=h, retuned=True) for h in (6.0, 8.0, 10.0)]
    warm = [attempt(hours=h) for h in (0.5, 0.7)]
    both = evidence(attempts=(*sweeps, *warm, attempt(hours=0.0)))
    found = acting(both, conf, retune=True)
    assert (found.mean, found.std) == (pytest.approx(87), pytest.approx(20))
    found = acting(both, conf, retune=False)
    assert (found.mean, found.std) == (pytest.approx(13), pytest.approx(10 * np.std([0.5, 0.7], ddof=1)))
    assert acting(evidence(attempts=tuple(sweeps)), conf, retune=False).mean == pytest.approx(87)


@pytest.mark.parametrize(("passes", "fails"), [(0, 0), (3, 0), (0, 3), (5, 2)])
def test_the_chance_to_pass_is_a_beta_posterior(passes: int, fails: int) -> None:
    attempts = [attempt(passed=True)] * passes + [attempt(passed=False)] * fails + [attempt(passed=None)]
    found = chance_to_pass(evidence(attempts=tuple(attempts)))
    truth = stats.beta(1 + passes, 1 + fails)
    assert (found.mean, found.std) == (pytest.approx(truth.mean()), pytest.approx(truth.std()))


def test_products_have_the_moments_of_independent_quantities() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(2, 0.5, 2_000_000) * rng.normal(-3, 1, 2_000_000) * rng.normal(0.4, 0.2, 2_000_000)
    found = product(Money(mean=2, std=0.5), Money(mean=-3, std=1), Money(mean=0.4, std=0.2))
    assert found.mean == pytest.approx(draws.mean(), rel=0.005)
    assert found.std == pytest.approx(draws.std(), rel=0.005)
    assert product(Money(mean=3, std=0), Money(mean=0.1, std=0)).std == pytest.approx(0, abs=1e-8)


@given(st.lists(st.tuples(st.floats(), st.floats(min_value=0)), min_size=1, max_size=3))
def test_products_never_hide_what_is_not_finite(factors: list[tuple[float, float]]) -> None:
    found = product(*(Money(mean=mean, std=std) for mean, std in factors))
    if not all(math.isfinite(v) for pair in factors for v in pair):
        assert not (math.isfinite(found.mean) and math.isfinite(found.std))


def test_the_probability_of_paying_is_that_of_two_normals() -> None:
    rng = np.random.default_rng(1)
    gained, cost = Money(mean=400, std=300), Money(mean=310, std=40)
    draws = rng.normal(400, 300, 1_000_000) > rng.normal(310, 40, 1_000_000)
    assert probability_of_paying(gained, cost) == pytest.approx(draws.mean(), abs=0.002)
    assert probability_of_paying(Money(mean=5, std=0), Money(mean=4, std=0)) == 1
    assert probability_of_paying(Money(mean=4, std=0), Money(mean=4, std=0)) == 0
    for nan in (Money(mean=math.nan, std=1), Money(mean=1, std=math.nan), Money(mean=math.inf, std=1)):
        assert math.isnan(probability_of_paying(nan, cost))
        assert math.isnan(probability_of_paying(cost, nan))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[
            (name, value)
            for name in (
                "point_value",
                "horizon",
                "hour_price",
                "first_hours",
                "review_cost",
                "recovered_std",
                "staleness",
                "points",
                "cusum_slack",
                "cusum_limit",
                "cara_threshold",
                "cara_cumulative",
            )
            for value in (-1, math.nan, math.inf)
        ],
        *[(name, value) for name in ("confidence", "recovered") for value in (0, 1.1, math.nan)],
        *[("staleness_std", value) for value in (0, -1, math.nan, math.inf)],
        *[(name, 0) for name in ("retune_after", "breaker", "calendar", "patience", "cara_period")],
        *[(name, value) for name in ("drift_share", "quantile") for value in (0, 1, math.nan)],
        *[("hysteresis", value) for value in (-0.1, 0.5, math.nan)],
        *[(name, -1) for name in ("min_spacing", "breaker_windows")],
        *[("point", value) for value in (0, -0.01, math.nan, math.inf)],
        ("policy", "weekly"),
    ],
)
def test_refusals(field: str, value: Any) -> None:
    with pytest.raises(ConfigError) as error:
        DecideConf(**{field: value})
    assert error.value.where == f"decide.{field}"
    assert str(value) in str(error.value)
    assert "\n" not in str(error.value)
