"""A rule that may shut a gate and never opens one."""

from __future__ import annotations

import math
from typing import Any

import pytest

from engine.gate import RuleConf, judge, judge_look, judge_worn
from engine.records import Estimate, EvaluationReport, FoundSlice, Look, Outcome, Wear

PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
WORST = RuleConf(kind="worst_slice", margin=0.1)
BETTER = RuleConf(kind="superiority", metric="roc_auc_score")
TOLD: dict[str, Any] = {"gate": "offline", "greater_is_better": {"roc_auc_score": True}}


def estimate(low: float, high: float, name: str = "loss") -> Estimate:
    value = (low + high) / 2
    return Estimate(name=name, value=value, low=low, high=high, n=900, confidence_level=0.95, method="")


def report(*found: FoundSlice, searched: int = 300, champion: str = "old") -> EvaluationReport:
    return EvaluationReport(
        model="new",
        champion=champion,
        window="w",
        fingerprint="f",
        n_rows=900,
        metrics=(),
        differences=(estimate(0.1, 0.2, "roc_auc_score"),),
        found=found,
        searched=searched,
    )


def slice(low: float, high: float, by: str = "regression") -> FoundSlice:
    return FoundSlice(by=by, slice="shop = east", effect=estimate(low, high), mean=estimate(low, high), pvalue=0.001)


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        ((), PASS),
        ((slice(0.11, 0.3),), FAIL),
        ((slice(0.05, 0.3),), INCONCLUSIVE),
        ((slice(0.01, 0.1),), PASS),  # surely worse, and not by more than the margin
        ((slice(0.5, 0.9, "loss"),), PASS),  # hard for every model: not this rule's matter
        ((slice(0.01, 0.1), slice(0.11, 0.3)), FAIL),
        ((slice(math.nan, math.nan),), INCONCLUSIVE),
    ],
)
def test_a_slice_that_got_worse_shuts_the_gate(found: tuple[FoundSlice, ...], outcome: Outcome) -> None:
    verdict = judge(report(*found), {"better": BETTER, "nowhere": WORST}, **TOLD)
    assert verdict.outcome is outcome
    if outcome is FAIL:
        said = "nowhere[shop = east]: loss +0.2050 [+0.1100, +0.3000] beside the champion's, where shop = east"
        assert verdict.reason == said


def test_it_opens_nothing() -> None:
    for made in (judge, judge_worn):
        more = {"wear": Wear(way="refuse", uses=0, limit=5, windows=1)} if made is judge_worn else {}
        verdict = made(report(), {"nowhere": WORST}, **TOLD, **more)  # type: ignore[operator]
        assert verdict.outcome is FAIL
        assert verdict.reason.endswith("worst_slice alone opens no gate")
    assert judge(report(searched=0), {"better": BETTER, "nowhere": WORST}, **TOLD).outcome is FAIL
    assert judge(report(champion=""), {"nowhere": WORST}, **TOLD).outcome is FAIL


def test_it_is_the_same_at_every_look() -> None:
    look = Look(number=1, most=3, spending="pocock", futility=0.0)
    for found, outcome in (((), PASS), ((slice(0.11, 0.3),), FAIL), ((slice(0.05, 0.3),), INCONCLUSIVE)):
        rules = {"better": BETTER, "nowhere": WORST}
        assert judge_look(report(*found), rules, **TOLD, look=look, earlier=()).outcome is outcome
