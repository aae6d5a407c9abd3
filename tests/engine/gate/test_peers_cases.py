"""Cases on which other systems decide wrongly, each named after the system, decided rightly here.

Beside each verdict stands what the other system's rule says of the same numbers. The rules are theirs, read in their
source: TFMA's `metrics_validator` compares `float(metric)`, the point estimate, and drops slices below
`min_slice_size`; MLflow's `MetricThreshold` refuses `min_absolute_change <= 0`; Evidently's tests compare a value with
a threshold whatever the number of rows; ZenML's example promotes where there is no production model. Failures of their
drift statistics (heavy tails, binning) are in tests/kernels/drift/test_known_failures.py.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from engine.errors import ConfigError
from engine.evaluate.conf import EvaluateConf
from engine.evaluate.report import evaluate
from engine.gate import RuleConf, asked, judge
from engine.records import Answer, Asked, EvaluationReport, Outcome, RuleResult, Task
from engine.scoring.intervals import Rows, difference, estimate
from tests.engine.gate.made import AUC, DIRECTIONS, LOSS, number

PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
CONF = EvaluateConf(n_resamples=100, metrics=[AUC, LOSS], min_slice_rows=100)
FLOOR = RuleConf(kind="floor", metric=AUC, threshold=0.7)
BETTER = RuleConf(kind="superiority", metric=AUC)


def report(**more: Any) -> EvaluationReport:
    known: dict[str, Any] = {"model": "challenger", "champion": "champion", "window": "May", "fingerprint": "rows"}
    return EvaluationReport(**(known | {"n_rows": 1000, "metrics": ()} | more))


def outcome(found: EvaluationReport, rule: RuleConf, gate: str = "offline") -> Outcome:
    return judge(found, {"rule": rule}, gate=gate, greater_is_better=DIRECTIONS).outcome


def tfma_value_threshold(value: float, lower_bound: float) -> bool:
    return float(value) >= lower_bound


def tfma_change_threshold(change: float, absolute: float) -> bool:
    """HIGHER_IS_BETTER; the interval, where one was computed, is not looked at."""
    return float(change) >= absolute


def mlflow_min_absolute_change(change: float, minimum: float) -> bool:
    if minimum <= 0:
        raise ValueError("min_absolute_change must be a positive number")
    return change >= minimum


def scores(rng: np.random.Generator, n: int, shift: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, and two models of equal worth that err on different rows."""
    target = (rng.random(n) < 0.5).astype(float)
    common = shift * target + rng.normal(0, 1, n)
    one, two = (1 / (1 + np.exp(-(common + 0.7 * rng.normal(0, 1, n)))) for _ in range(2))
    return target, one, two


def rows_of(target: np.ndarray) -> Rows:
    return Rows(task=Task.BINARY, target=target, ids=np.arange(len(target)), cluster=None)


def test_tfma_blesses_a_lucky_estimate_below_the_threshold() -> None:
    """True AUROC 0.68, threshold 0.70, 300 rows: the estimate clears it in a quarter of all gates."""
    rng = np.random.default_rng(0)
    shift = math.sqrt(2 * 1.49) * stats.norm.ppf(0.68)
    theirs = ours = 0
    for _ in range(300):
        target, made, _ = scores(rng, 300, shift)
        found = estimate(AUC, rows_of(target), made, CONF)
        theirs += tfma_value_threshold(found.value, 0.70)
        ours += outcome(report(metrics=(found,)), FLOOR) is PASS
    assert theirs > 45
    assert ours <= stats.binom.ppf(0.999, 300, 0.025)


def test_tfma_blesses_every_second_model_that_is_no_better() -> None:
    """Two models of equal worth: `change_threshold{absolute: 0}` lets a half through, whoever wins by luck."""
    rng = np.random.default_rng(1)
    theirs = ours = 0
    for _ in range(300):
        target, one, two = scores(rng, 300, 1.0)
        found = difference(AUC, rows_of(target), one, two, CONF)
        theirs += tfma_change_threshold(found.value, 0.0)
        ours += outcome(report(differences=(found,)), BETTER) is PASS
    assert theirs > 120
    assert ours <= stats.binom.ppf(0.999, 300, 0.025)


def test_tfma_computes_an_interval_and_does_not_look_at_it() -> None:
    """The same estimate once known to 0.001 and once to 0.1: TFMA says the same, the gate does not."""
    sure, unsure = number(0.71, 0.001), number(0.71, 0.1)
    assert tfma_value_threshold(sure.value, 0.70) is tfma_value_threshold(unsure.value, 0.70) is True
    assert outcome(report(metrics=(sure,)), FLOOR) is PASS
    assert outcome(report(metrics=(unsure,)), FLOOR) is INCONCLUSIVE


def test_tfma_takes_twenty_resamples_for_an_interval() -> None:
    with pytest.raises(ConfigError, match=r"evaluate\.n_resamples: 20 is too few - use 100 or more"):
        EvaluateConf(n_resamples=20)


def by_shop(rule: RuleConf) -> tuple[RuleResult, ...]:
    """Two large shops, on which the challenger is better, and one of twelve rows, on which it is hopeless."""
    rng = np.random.default_rng(2)
    target, champion, challenger = scores(rng, 2012, 1.0)
    challenger = 0.5 * challenger + 0.5 * (0.25 + 0.5 * target)
    challenger[:12] = 1 - target[:12]
    shop = np.where(np.arange(2012) < 12, "kiosk", np.where(np.arange(2012) % 2, "north", "south"))
    found = evaluate(
        model="challenger", champion="champion", window="May", fingerprint="rows", task=Task.BINARY, target=target,
        rows=np.arange(2012), cluster=None, prediction=challenger, champion_prediction=champion,
        slices={"shop": shop}, conf=CONF, asked=asked([rule], AUC),
    )  # fmt: skip
    return judge(found, {"rule": rule}, gate="offline", greater_is_better=DIRECTIONS).rules


def test_tfma_drops_a_small_slice_and_passes() -> None:
    """`min_slice_size: 100` leaves two slices, both good; nobody hears of the third."""
    rule = RuleConf(kind="noninferiority", metric=AUC, margin=0.01, slice="shop")
    found = {r.rule: r for r in by_shop(rule)}
    assert {name: r.outcome for name, r in found.items()} == {
        "rule[north]": PASS,
        "rule[south]": PASS,
        "rule[kiosk]": INCONCLUSIVE,
    }
    assert "too few rows (12 of 100)" in found["rule[kiosk]"].reason


def test_tfma_knows_no_missing_level_of_a_slice() -> None:
    """A `feature_keys` spec is satisfied by any slice; a level that must be there and is not fails here."""
    rule = RuleConf(kind="noninferiority", metric=AUC, margin=0.01, slice="shop", levels=["north", "east"])
    gone = [r for r in by_shop(rule) if r.outcome is FAIL]
    assert [(r.rule, r.reason) for r in gone] == [("rule[east]", "no row of shop is east")]


def test_tfma_has_no_threshold_and_no_verdict() -> None:
    """Without thresholds its blessing is neither given nor denied (tfx#5148); here that is FAIL, and says why."""
    verdict = judge(report(metrics=(number(0.9, 0.01),)), {}, gate="offline", greater_is_better=DIRECTIONS)
    assert (verdict.outcome, verdict.reason) == (FAIL, "the gate has no rule")


@pytest.mark.parametrize(("change", "verdict"), [(-0.004, PASS), (-0.0075, INCONCLUSIVE), (-0.02, FAIL)])
def test_mlflow_cannot_say_not_worse_than(change: float, verdict: Outcome) -> None:
    """A cheaper model may lose half a point; MLflow refuses every threshold that would allow it."""
    for allowed in (-0.01, 0.0):
        with pytest.raises(ValueError, match="must be a positive number"):
            mlflow_min_absolute_change(change, allowed)
    assert mlflow_min_absolute_change(change, 1e-9) is False
    rule = RuleConf(kind="noninferiority", metric=AUC, margin=0.01)
    assert outcome(report(differences=(number(change, 0.004),)), rule) is verdict


def test_mlflow_promotes_a_tiny_change_that_is_noise() -> None:
    lucky = number(0.002, 0.01)
    assert mlflow_min_absolute_change(lucky.value, 0.001)
    assert outcome(report(differences=(lucky,)), BETTER) is INCONCLUSIVE


def test_mlflow_believes_what_the_user_says_of_a_direction() -> None:
    """`greater_is_better=True` of a loss promotes the worse model; the gate knows the directions of its metrics."""
    worse = number(0.05, 0.01, LOSS)
    assert mlflow_min_absolute_change(worse.value, 0.01)
    assert outcome(report(differences=(worse,)), replace(BETTER, metric=LOSS)) is FAIL


@pytest.mark.parametrize(("n", "verdict"), [(60, INCONCLUSIVE), (600, INCONCLUSIVE), (20_000, PASS)])
def test_evidently_judges_sixty_rows_as_it_judges_twenty_thousand(n: int, verdict: Outcome) -> None:
    """A test `gte(0.70)` on a value of 0.72 holds at every size; whether it is known depends on the rows."""
    rng = np.random.default_rng(3)
    target, made, _ = scores(rng, n, math.sqrt(2 * 1.49) * stats.norm.ppf(0.72))
    found = estimate(AUC, rows_of(target), made, CONF)
    moved = replace(found, value=0.72, low=0.72 - (found.value - found.low), high=0.72 + (found.high - found.value))
    theirs = moved.value >= 0.70
    assert theirs
    assert outcome(report(metrics=(moved,)), FLOOR) is verdict


def test_evidently_fails_sound_models_on_small_batches() -> None:
    """True AUROC 0.72, 60 rows: the value is below 0.70 in a third of all batches, and the test fails them.

    Here the interval must say so, which it does no more often than its level allows.
    """
    rng = np.random.default_rng(4)
    theirs = ours = 0
    for _ in range(200):
        target, made, _ = scores(rng, 60, math.sqrt(2 * 1.49) * stats.norm.ppf(0.72))
        found = estimate(AUC, rows_of(target), made, CONF)
        theirs += found.value < 0.70
        ours += outcome(report(metrics=(found,)), FLOOR) is FAIL
    assert theirs > 50
    assert ours <= stats.binom.ppf(0.999, 200, 0.05)


def test_zenml_promotes_where_production_is_missing() -> None:
    """Named, and without numbers: FAIL. None at all: the first model needs an absolute rule, and must meet it."""
    good = (number(0.9, 0.01),)
    assert outcome(report(metrics=good), BETTER) is FAIL
    first = judge(report(metrics=good, champion=""), {"b": BETTER}, gate="offline", greater_is_better=DIRECTIONS)
    assert (first.outcome, first.first) == (FAIL, True)
    assert outcome(report(metrics=(number(0.5, 0.01),), champion=""), FLOOR) is FAIL


@pytest.mark.parametrize(
    ("rule", "more"),
    [
        (RuleConf(kind="answers"), {"answers": (Answer(request="recorded predictions", fine=False, reason="0.3"),)}),
        (RuleConf(kind="latency", threshold=10.0), {"infra": (number(9.0, 2.0, "single_p99_ms"),)}),
        (RuleConf(kind="memory", threshold=400.0), {"infra": (number(500.0, 0.0, "peak_memory_mb", n=1),)}),
    ],
)
def test_tfx_validates_a_server_that_answers_late_or_wrong(rule: RuleConf, more: dict[str, Any]) -> None:
    """InfraValidator asks whether a model loads and answers: not what, not how fast, not with how much memory."""
    assert outcome(report(**more), rule, gate="cold") is not PASS


def test_nothing_of_this_was_asked_of_evaluate_in_vain() -> None:
    """Rules that need nothing more than the metrics ask for nothing more."""
    assert asked([FLOOR, BETTER, RuleConf(kind="noninferiority", metric=AUC, slice="shop")], AUC) == Asked()
