"""Looks at growing evidence: what each one decides, and what it leaves to the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from engine.errors import ConfigError
from engine.gate import GateConf, RuleConf, judge, judge_look
from engine.records import Estimate, EvaluationReport, Look, Outcome, SliceEstimate, Verdict, from_plain, to_plain

PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
Z95 = 1.959963984540054
DIRECTIONS = {"roc_auc_score": True, "log_loss": False, "expected_calibration_error": False}
HOLDS = {"holds": RuleConf(kind="noninferiority", metric="roc_auc_score", margin=0.01)}
BETTER = {"better": RuleConf(kind="superiority", metric="roc_auc_score")}


def estimate(value: float, error: float, n: int = 1000, **more: Any) -> Estimate:
    known: dict[str, Any] = {"name": "roc_auc_score", "confidence_level": 0.95, "method": "DeLong"}
    return Estimate(value=value, low=value - Z95 * error, high=value + Z95 * error, n=n, **(known | more))


def report(*differences: Estimate, **more: Any) -> EvaluationReport:
    known: dict[str, Any] = {"model": "new", "champion": "old", "window": "w", "fingerprint": "f", "n_rows": 1000}
    return EvaluationReport(metrics=(), differences=differences, **(known | more))


def look(
    number: int,
    found: EvaluationReport,
    rules: dict[str, RuleConf],
    earlier: Sequence[Verdict] = (),
    most: int = 5,
    spending: str = "obrien_fleming",
    futility: float = 0.0,
) -> Verdict:
    """A verdict as it comes back from the ledger, where infinities are gone."""
    told = Look(number=number, most=most, spending=spending, futility=futility)
    made = judge_look(found, rules, gate="shadow", greater_is_better=DIRECTIONS, look=told, earlier=earlier)
    return from_plain(Verdict, to_plain(made))


def series(z: float, count: int, rules: dict[str, RuleConf], spending: str = "obrien_fleming") -> list[Verdict]:
    """`count` looks at equal windows, each with the same Z, one standard error being 0.02 at first."""
    verdicts: list[Verdict] = []
    for k in range(1, count + 1):
        error = 0.02 / math.sqrt(k)
        verdicts.append(look(k, report(estimate(z * error, error, 1000 * k)), rules, verdicts, spending=spending))
    return verdicts


@pytest.mark.parametrize(
    ("spending", "published"),
    [
        ("obrien_fleming", (4.877, 3.357, 2.680, 2.290, 2.031)),
        ("pocock", (2.438, 2.427, 2.410, 2.397, 2.386)),
    ],
)
def test_each_look_passes_just_above_its_published_bound(spending: str, published: tuple[float, ...]) -> None:
    for k, bound in enumerate(published, 1):
        before = series(0.0, k - 1, BETTER, spending)
        error = 0.02 / math.sqrt(k)
        outcomes = []
        for z in (bound - 0.001, bound + 0.001):
            found = look(k, report(estimate(z * error, error, 1000 * k)), BETTER, before, spending=spending)
            outcomes.append(found.outcome)
            assert found.rules[0].critical == pytest.approx(bound, abs=6e-4)
        assert outcomes == [INCONCLUSIVE, PASS]


def test_harm_fails_at_once_and_the_truth_between_waits() -> None:
    assert [look(1, report(estimate(v, 0.02)), HOLDS).outcome for v in (-0.2, -0.05, 0.05, 0.2)] == [
        FAIL,
        INCONCLUSIVE,
        INCONCLUSIVE,
        PASS,
    ]
    waits = look(1, report(estimate(0.05, 0.02)), HOLDS)
    assert waits.waiting
    assert waits.reason.startswith("look 1 of 5: holds: roc_auc_score +0.0500 [-0.0475, +0.1475] straddles -0.0100")
    assert waits.rules[0].estimate is not None
    assert waits.rules[0].estimate.method == "DeLong; critical value 4.877"


def test_a_metric_that_should_be_small_is_turned_round() -> None:
    rules = {"holds": RuleConf(kind="noninferiority", metric="log_loss", margin=0.01)}
    for z, outcome in ((-0.2, PASS), (0.2, FAIL)):
        assert look(1, report(estimate(z, 0.02, name="log_loss")), rules).outcome is outcome
    found = look(1, report(estimate(0.03, 0.02, name="log_loss")), rules, futility=0.1)
    assert (found.outcome, found.waiting) == (FAIL, False)


def test_one_look_is_the_gate_that_there_was() -> None:
    found = report(estimate(0.01, 0.01), estimate(-0.1, 0.01, name="log_loss"))
    for z in (-3.0, -1.0, 1.0, 3.0):
        here = report(estimate(z * 0.01, 0.01))
        plain = judge(here, HOLDS, gate="shadow", greater_is_better=DIRECTIONS)
        one = look(1, here, HOLDS, most=1)
        assert one.outcome is plain.outcome
        ours, theirs = one.rules[0].estimate, plain.rules[0].estimate
        assert ours is not None
        assert theirs is not None
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert not look(1, found, BETTER, most=1).waiting


def test_the_last_look_decides_or_has_not_decided() -> None:
    before = series(0.0, 4, BETTER)
    last = look(5, report(estimate(0.0, 0.009, 5000)), BETTER, before)
    assert (last.outcome, last.waiting) == (INCONCLUSIVE, False)


def test_futility_gives_up_and_is_off_at_zero() -> None:
    """At Z = -1.5 after one look of five the chance to come to 1.96 is 0.004, whatever is true being equally likely."""
    found = report(estimate(-0.03, 0.02))
    given_up = look(1, found, BETTER, futility=0.05)
    assert (given_up.outcome, given_up.waiting) == (FAIL, False)
    assert given_up.reason.endswith(": futile, the chance to pass by look 5 is 0.004")
    assert look(1, found, BETTER, futility=0.0).waiting
    assert look(1, report(estimate(0.0, 0.02)), BETTER, futility=0.05).waiting


def test_a_plan_that_changes_between_looks_spends_no_more_than_alpha() -> None:
    """Two looks at Pocock's bounds of two, and then a person asks for three more."""
    pocock = [
        look(1, report(estimate(0.0, 0.02, 1000)), BETTER, (), 2, "pocock"),
        look(2, report(estimate(0.0, 0.02 / math.sqrt(2), 2000)), BETTER, (), 2, "pocock"),
    ]
    pocock[1] = look(2, report(estimate(0.0, 0.02 / math.sqrt(2), 2000)), BETTER, pocock[:1], 2, "pocock")
    third = look(3, report(estimate(0.5, 0.02 / math.sqrt(3), 3000)), BETTER, pocock, 5, "obrien_fleming")
    assert (third.outcome, third.reason) == (
        INCONCLUSIVE,
        "look 3 of 5: better: roc_auc_score: no alpha is left for this look",
    )
    again = look(4, report(estimate(0.5, 0.01, 4000)), BETTER, [*pocock, third], 5, "obrien_fleming")
    assert again.outcome is INCONCLUSIVE  # 0.5 standard errors of 0.01 could not have helped: alpha is gone


def test_no_new_rows_are_no_new_look() -> None:
    before = series(0.0, 1, BETTER)
    found = look(2, report(estimate(0.9, 0.02, 1000)), BETTER, before)
    assert (found.outcome, found.rules[0].reason) == (
        INCONCLUSIVE,
        "roc_auc_score: no rows came since the last look",
    )


def test_rows_stand_for_a_variance_that_shrinks() -> None:
    """By variance the second look would know less than the first."""
    before = series(0.0, 1, BETTER)
    found = look(2, report(estimate(0.0, 0.005, 2000)), BETTER, before)
    assert found.rules[0].critical == pytest.approx(3.357, abs=6e-4)
    assert found.rules[0].information < before[0].rules[0].information


def test_information_is_the_variance_that_accrued() -> None:
    """A second window three times as noisy brings three parts of four: V_1 / V_2 = 1 / 4 and not 1 / 2."""
    before = series(0.0, 1, BETTER)
    error = math.sqrt(0.02**2 + 3 * 0.02**2) / 2
    found = look(2, report(estimate(0.0, error, 2000)), BETTER, before)
    assert found.rules[0].information / before[0].rules[0].information == pytest.approx(4.0)


def test_a_slice_that_comes_later_has_its_own_looks() -> None:
    rules = {"each": RuleConf(kind="noninferiority", metric="roc_auc_score", margin=0.01, slice="shop")}

    def sliced(*levels: str, n: int) -> EvaluationReport:
        error = 0.02 * math.sqrt(1000 / n)
        parts = [
            SliceEstimate(column="shop", level=x, estimate=estimate(0.8, 0.01), difference=estimate(0.0, error, n))
            for x in levels
        ]
        return report(slices=tuple(parts))

    first = look(1, sliced("a", n=1000), rules)
    second = look(2, sliced("a", "b", n=2000), rules, [first])
    found = {r.rule: r.critical for r in second.rules}
    assert found["each[a]"] == pytest.approx(3.357, abs=6e-4)
    assert found["each[b]"] == pytest.approx(3.3566, abs=1e-3)  # all that may be spent until now, at once


@pytest.mark.parametrize(
    "broken",
    [
        {"value": math.nan},
        {"low": math.nan, "high": math.nan},
        {"low": 0.9, "high": 0.1},
        {"n": 10},
        {"confidence_level": 0.2},
        {"reason": "too few rows (3)", "value": math.nan, "low": math.nan, "high": math.nan},
    ],
)
def test_what_is_undecidable_passes_no_look(broken: dict[str, Any]) -> None:
    found = replace(estimate(0.5, 0.01), **broken)
    plain = judge(report(found), BETTER, gate="shadow", greater_is_better=DIRECTIONS)
    for spending in ("pocock", "obrien_fleming"):
        seen = look(2, report(found), BETTER, series(0.0, 1, BETTER), spending=spending)
        assert seen.outcome is plain.outcome is not PASS
        assert math.isnan(seen.rules[0].critical)


def test_an_interval_that_leaves_its_value_cannot_be_widened() -> None:
    rules = {"calibrated": RuleConf(kind="floor", metric="expected_calibration_error", threshold=0.1)}
    biased = replace(estimate(0.03, 0.001, name="expected_calibration_error"), low=0.0, high=0.02)
    found = look(1, replace(report(), metrics=(biased,)), rules)
    assert found.outcome is INCONCLUSIVE
    assert "cannot be widened to a look" in found.reason


def test_missing_evidence_fails_at_any_look() -> None:
    assert look(1, report(), BETTER).outcome is FAIL
    assert look(1, report(estimate(0.5, 0.01)), {}).outcome is FAIL


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"spending": "haste"}, "gate.spending: 'haste' is unknown - choose one of obrien_fleming, pocock"),
        ({"futility": 0.5}, "gate.futility: 0.5 is no small chance - choose 0 up to 0.499"),
        ({"futility": math.nan}, "gate.futility: nan is no small chance - choose 0 up to 0.499"),
    ],
)
def test_a_wrong_plan_is_refused_in_one_line(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        GateConf(**wrong)
    assert str(error.value) == message
