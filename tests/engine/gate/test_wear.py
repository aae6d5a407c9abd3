"""Rows that have decided before: refused, paid for with alpha, or climbed like a ladder."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from engine.errors import ConfigError
from engine.gate import GateConf, RuleConf, judge, judge_worn
from engine.records import Estimate, EvaluationReport, Outcome, Verdict, Wear, from_plain, to_plain

PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
Z95 = stats.norm.isf(0.025)
DIRECTIONS = {"roc_auc_score": True, "log_loss": False, "expected_calibration_error": False}
BETTER = {"better": RuleConf(kind="superiority", metric="roc_auc_score")}
HOLDS = {"holds": RuleConf(kind="noninferiority", metric="roc_auc_score", margin=0.01)}


def estimate(value: float, error: float, name: str = "roc_auc_score", n: int = 1000) -> Estimate:
    low, high = value - Z95 * error, value + Z95 * error
    return Estimate(name=name, value=value, low=low, high=high, n=n, confidence_level=0.95, method="DeLong")


def report(
    difference: float, error: float = 0.01, champion: float = 0.8, name: str = "roc_auc_score"
) -> EvaluationReport:
    return EvaluationReport(
        model="new",
        champion="old",
        window="w",
        fingerprint="f",
        n_rows=1000,
        metrics=(estimate(champion + difference, 0.01, name),),
        champion_metrics=(estimate(champion, 0.01, name),),
        differences=(estimate(difference, error, name),),
    )


def wear(way: str = "refuse", uses: float = 0.0, limit: int = 5, windows: int = 1, **best: float) -> Wear:
    return Wear(way=way, uses=uses, limit=limit, windows=windows, best=best)


def verdict(found: EvaluationReport, rules: dict[str, RuleConf], worn: Wear) -> Verdict:
    made = judge_worn(found, rules, gate="offline", greater_is_better=DIRECTIONS, wear=worn)
    return from_plain(Verdict, to_plain(made))


@pytest.mark.parametrize(("uses", "outcome"), [(0, PASS), (4, PASS), (4.5, PASS), (5, FAIL), (6, FAIL)])
def test_refuse_shuts_the_gate_on_worn_rows(uses: float, outcome: Outcome) -> None:
    found = verdict(report(0.1), BETTER, wear(uses=uses))
    assert (found.outcome, found.holdout_uses) == (outcome, math.ceil(uses))
    if outcome is FAIL:
        assert found.reason.startswith("hold-out: these rows have decided ")


def test_fresh_rows_are_judged_as_ever() -> None:
    for difference in (-0.05, 0.0, 0.05):
        plain = judge(report(difference), BETTER, gate="offline", greater_is_better=DIRECTIONS, power=0.8)
        for way in ("refuse", "ladder"):
            assert replace(verdict(report(difference), BETTER, wear(way)), wear=None).rules == plain.rules


def test_spend_gives_each_use_its_part_of_alpha() -> None:
    bound = stats.norm.isf(0.025 / 5)
    for z, outcome in ((bound - 0.001, INCONCLUSIVE), (bound + 0.001, PASS), (-bound - 0.001, FAIL)):
        for uses in (0, 4):
            found = verdict(report(z * 0.01), BETTER, wear("spend", uses))
            assert found.outcome is outcome
    shown = found.rules[0].estimate
    assert shown is not None
    assert (shown.method, shown.confidence_level) == ("DeLong; alpha / 5", pytest.approx(0.99))
    assert verdict(report(0.5), BETTER, wear("spend", 5)).outcome is FAIL


def test_what_cannot_be_widened_is_not_paid_for() -> None:
    rules = {"calibrated": RuleConf(kind="calibration", threshold=0.1)}
    biased = replace(estimate(0.03, 0.001, "expected_calibration_error"), low=0.0, high=0.02)
    found = verdict(replace(report(0.0), metrics=(biased,)), rules, wear("spend"))
    assert (found.outcome, found.rules[0].reason) == (
        INCONCLUSIVE,
        "the interval of expected_calibration_error (DeLong) cannot be widened to a part of alpha",
    )


@pytest.mark.parametrize(
    ("difference", "best", "outcome"),
    [
        (0.030, 0.80, PASS),  # 0.03 above the champion, the step being 0.01
        (0.030, 0.819, PASS),  # 0.011 above the best, which was refused for another reason
        (0.030, 0.821, FAIL),
        (0.030, 0.99, FAIL),
        (0.030, math.nan, FAIL),
    ],
)
def test_the_ladder_asks_for_a_step_above_the_best(difference: float, best: float, outcome: Outcome) -> None:
    found = verdict(report(difference), BETTER, wear("ladder", 3, roc_auc_score=best))
    assert found.outcome is outcome
    rung = found.rules[-1]
    assert rung.rule == "ladder of better"
    assert rung.outcome is outcome
    if best == 0.821:
        assert rung.reason == (
            "roc_auc_score is +0.0090 beside the best of 3 earlier uses, +0.0100 are needed (step 0.0100)"
        )


def test_the_ladder_turns_round_for_what_should_be_small() -> None:
    rules = {"better": RuleConf(kind="superiority", metric="log_loss")}
    for best, outcome in ((0.5, PASS), (0.459, FAIL), (0.481, PASS)):
        found = verdict(report(-0.05, champion=0.5, name="log_loss"), rules, wear("ladder", 1, log_loss=best))
        assert found.outcome is outcome


def test_a_margin_counts_on_the_ladder_too() -> None:
    for best, outcome in ((0.798, PASS), (0.801, FAIL)):
        assert verdict(report(0.0, 0.001, 0.79), HOLDS, wear("ladder", 1, roc_auc_score=best)).outcome is outcome


def test_what_is_missing_climbs_no_ladder() -> None:
    bare = replace(report(0.05), champion_metrics=())
    found = verdict(bare, BETTER, wear("ladder", 1))
    assert (found.outcome, found.rules[-1].reason) == (
        FAIL,
        "roc_auc_score cannot be held against the best seen on these rows",
    )


@pytest.mark.parametrize(
    ("uses", "windows", "limit", "left"),
    [(0, 1, 5, 4), (1, 1, 5, 1), (1, 4, 5, 6), (4, 5, 5, 0), (7, 9, 5, 0), (0.5, 2, 5, 4)],
)
def test_the_gate_says_when_to_rotate(uses: float, windows: int, limit: int, left: int) -> None:
    """One use in one window: four uses are left, and four windows. Two in one: three uses are left, and one window."""
    found = verdict(report(0.0), BETTER, wear(uses=uses, windows=windows, limit=limit)).wear
    assert found is not None
    assert found.rotate_in == left
    ladder = verdict(report(0.0), BETTER, wear("ladder", uses, windows=windows, limit=limit)).wear
    assert ladder is not None
    assert ladder.rotate_in == -1


def test_the_gate_says_how_many_fresh_rows_to_ask_for() -> None:
    """With that many, a challenger that equals the champion passes in 80 of 100 cases."""
    found = verdict(report(0.0, 0.02), HOLDS, wear(uses=5))
    assert found.wear is not None
    n = found.wear.fresh_rows
    assert n == math.ceil(1000 * ((Z95 + stats.norm.ppf(0.8)) * 0.02 / 0.01) ** 2) == 31396
    assert found.rules[-1].reason.endswith("5 is the limit: use fresh rows, about 31,396 of them")
    rng = np.random.default_rng(0)
    error = 0.02 * math.sqrt(1000 / n)
    passed = [verdict(report(error * z, error), HOLDS, wear()).outcome is PASS for z in rng.normal(size=1000).tolist()]
    assert np.mean(passed) == pytest.approx(0.8, abs=0.04)
    assert verdict(report(0.0, 0.02), BETTER, wear()).wear.fresh_rows == 0  # type: ignore[union-attr]


def test_a_way_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError) as error:
        GateConf(wear="hope")
    assert str(error.value) == "gate.wear: 'hope' is unknown - choose one of refuse, spend, ladder"


# ---- how often a challenger that is no better gets through, on one set of rows -------------------------------------


@pytest.mark.parametrize("sets", [200, pytest.param(4000, marks=pytest.mark.slow)])
def test_luck_on_the_same_rows(sets: int, record_property: Callable[[str, object], None]) -> None:
    """Row sets on which challengers come one after the other, all of them as good as the champion. Their differences
    share the champion, so that half of their variance is common.
    """
    rng = np.random.default_rng(9)
    opened: dict[str, list[int]] = {"no account": [], "refuse": [], "spend": [], "ladder": []}
    for _ in range(sets):
        luck = math.sqrt(0.5) * (rng.normal() + rng.normal(size=20))
        for way, counts in opened.items():
            best, wrong = 0.8, 0
            for uses, z in enumerate(luck.tolist()):
                found = report(z * 0.01)
                known = wear("refuse" if way == "no account" else way, 0 if way == "no account" else uses)
                wrong += verdict(found, BETTER, replace(known, best={"roc_auc_score": best})).outcome is PASS
                best = max(best, found.metrics[0].value)
            counts.append(wrong)
    share = {way: float(np.mean(np.array(counts) > 0)) for way, counts in opened.items()}
    for way, found_ in share.items():
        record_property(f"false promotions, 20 challengers on the same rows, {way}", f"{found_:.4f} of {sets} row sets")
    assert share["spend"] * sets <= stats.binom.isf(1e-3, sets, 0.025)
    assert share["refuse"] * sets <= stats.binom.isf(1e-3, sets, 5 * 0.025)
    mean = {way: float(np.mean(counts)) for way, counts in opened.items()}
    assert mean["ladder"] < 0.5 * mean["no account"]  # the ladder stops those that follow on a lucky one
    assert share["no account"] > 3 * share["spend"]
