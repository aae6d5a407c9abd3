"""What a rule could have found, and the rows it needs: the figures hold in simulated gates."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from engine.gate import RuleConf, judge
from engine.records import Estimate, EvaluationReport, Outcome, RuleResult
from tests.engine.gate.made import AUC, DIRECTIONS, ECE, LOSS, good_report, judged, number

POWER = 0.8
KINDS = {
    "floor": RuleConf(kind="floor", metric=AUC, threshold=0.7),
    "floor of loss": RuleConf(kind="floor", metric=LOSS, threshold=0.7),
    "superiority": RuleConf(kind="superiority", metric=AUC, margin=0.01),
    "noninferiority": RuleConf(kind="noninferiority", metric=AUC, margin=0.02),
    "noninferiority of loss": RuleConf(kind="noninferiority", metric=LOSS, margin=0.02),
    "robustness": RuleConf(kind="robustness", metric=AUC, perturbation="noise", margin=0.02),
    "calibration": RuleConf(kind="calibration", threshold=0.1),
    "fairness": RuleConf(kind="fairness", slice="shop", threshold=0.1),
}


def result(rule: RuleConf, found: Estimate, power: float = POWER) -> RuleResult:
    """The result of one rule where every number of the report is `found`."""
    base = good_report()
    report = replace(
        base,
        metrics=(found,),
        differences=(found,),
        fairness=tuple(replace(g, estimate=found) for g in base.fairness[:1]),
        robustness=tuple(replace(p, difference=found) for p in base.robustness[:1]),
    )
    verdict = judge(report, {"r": rule}, gate="offline", greater_is_better=DIRECTIONS, power=power)
    return verdict.rules[0]


def drawn(rng: np.random.Generator, truth: float, error: float, metric: str, n: int = 1000) -> Estimate:
    """An estimate as a normal law with known error gives it."""
    value = truth + error * rng.normal()
    return number(value, float(stats.norm.ppf(0.975)) * error, metric, n=n)


@pytest.mark.parametrize("kind", KINDS)
def test_the_detectable_value_is_z_alpha_and_z_power_errors_beyond_the_bound(kind: str) -> None:
    rule, error = KINDS[kind], 0.01
    found = result(rule, number(0.5, 1.959964 * error, rule.metric))
    beyond = (stats.norm.ppf(0.975) + stats.norm.ppf(POWER)) * error
    assert found.better in (-1, 1)
    assert found.detectable == pytest.approx(found.bound + found.better * beyond, abs=1e-6)
    assert (found.power, found.kind) == (POWER, rule.kind)
    half = result(rule, number(0.5, 1.959964 * error, rule.metric), power=0.5)
    assert half.detectable == pytest.approx(half.bound + half.better * 1.959964 * error)


@pytest.mark.parametrize("kind", KINDS)
def test_a_true_value_at_the_detectable_one_passes_in_four_of_five_gates(kind: str, record_property: Any) -> None:
    rule, error, gates, rng = KINDS[kind], 0.01, 1000, np.random.default_rng(1)
    at = result(rule, number(0.5, 1.959964 * error, rule.metric)).detectable
    assert at is not None
    passed = sum(result(rule, drawn(rng, at, error, rule.metric)).outcome is Outcome.PASS for _ in range(gates))
    low, high = stats.binom.ppf([0.0005, 0.9995], gates, POWER)
    if kind == "superiority":
        record_property("power at the detectable difference", f"{passed / gates:.1%} of {gates} gates, stated 80 %")
    assert low <= passed <= high


@pytest.mark.parametrize(("power", "share"), [(0.5, 0.5), (0.8, 0.8), (0.9, 0.9)])
def test_with_the_rows_needed_it_passes_as_often_as_planned(power: float, share: float) -> None:
    """The truth is what was estimated, the error that of the rows asked for."""
    rule, rng, gates, n = KINDS["superiority"], np.random.default_rng(2), 2000, 400
    value, error = 0.018, 0.01
    asked = result(rule, number(value, 1.959964 * error, AUC, n=n), power)
    assert asked.outcome is Outcome.INCONCLUSIVE
    rows = asked.rows_needed
    z = stats.norm.ppf(0.975) + stats.norm.ppf(power)
    assert rows == pytest.approx(n * (z * error / (value - 0.01)) ** 2, abs=1.5)
    then = error * math.sqrt(n / rows)
    passed = sum(result(rule, drawn(rng, value, then, AUC, rows)).outcome is Outcome.PASS for _ in range(gates))
    low, high = stats.binom.ppf([0.0005, 0.9995], gates, share)
    assert low <= passed <= high
    sure = "" if power == 0.5 else f" with probability {power:g}"
    assert asked.reason.endswith(f"about {rows:,} rows would decide{sure}")


def test_numbers_that_are_measured_whole_have_no_power() -> None:
    for name in ("memory", "size"):
        found = judged(good_report(), name).rules[0]
        assert (found.detectable, found.rows_needed) == (None, 0)


def test_an_interval_without_width_detects_nothing() -> None:
    found = result(KINDS["superiority"], number(0.01, 0.0))
    assert (found.outcome, found.detectable) == (Outcome.INCONCLUSIVE, None)


@pytest.mark.parametrize(
    ("low", "value", "high", "outcome"),
    [
        (0.02, 0.12, 0.09, Outcome.PASS),  # the estimate is biased upwards: its interval is what is known of the truth
        (0.02, 0.12, 0.11, Outcome.INCONCLUSIVE),
        (0.11, 0.12, 0.14, Outcome.FAIL),
    ],
)
def test_calibration_is_judged_by_the_interval_of_the_true_error(
    low: float, value: float, high: float, outcome: Outcome
) -> None:
    found = replace(number(value, 0.0, ECE), low=low, high=high)
    assert result(KINDS["calibration"], found).outcome is outcome
    floor = RuleConf(kind="floor", metric=ECE, threshold=0.1)  # which counts the bias against the model
    assert result(floor, found).outcome is (Outcome.FAIL if outcome is Outcome.FAIL else Outcome.INCONCLUSIVE)


def test_absolute_rules_judge_the_first_model_too() -> None:
    base = good_report()
    first: EvaluationReport = replace(base, champion="", differences=())
    rules = {
        "floor": KINDS["floor"],
        "better": KINDS["superiority"],
        "calibrated": KINDS["calibration"],
        "fair": KINDS["fairness"],
    }
    verdict = judge(
        replace(first, metrics=(number(0.8, 0.01), number(0.05, 0.01, ECE))),
        rules,
        gate="offline",
        greater_is_better=DIRECTIONS,
    )
    assert (verdict.outcome, verdict.first) == (Outcome.PASS, True)
    assert verdict.reason == "all 3 rules hold, absolute rules alone: there was no champion"
    assert [r.rule for r in verdict.rules] == ["floor", "calibrated", "fair"]
