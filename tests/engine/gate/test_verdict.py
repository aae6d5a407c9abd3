"""The gate: where intervals lie against bounds, what is missing, and how often it errs."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import engine.gate
from engine.errors import ConfigError
from engine.gate import MIN_ROWS, GateConf, RuleConf, judge
from engine.records import Estimate, EvaluationReport, Outcome, SliceEstimate, Task, Verdict
from engine.scoring.intervals import Rows, difference
from kernels.resample import delong

DIRECTIONS = {"roc_auc_score": True, "log_loss": False}
PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE


def estimate(low: float, high: float, name: str = "roc_auc_score", **more: Any) -> Estimate:
    """An interval, its value in the middle."""
    known: dict[str, Any] = {"value": (low + high) / 2, "n": 1000, "confidence_level": 0.95, "method": "DeLong"}
    return Estimate(name=name, low=low, high=high, **(known | more))


def report(**more: Any) -> EvaluationReport:
    known: dict[str, Any] = {
        "model": "challenger",
        "champion": "champion",
        "window": "May",
        "fingerprint": "rows",
        "n_rows": 1000,
        "metrics": (),
    }
    return EvaluationReport(**(known | more))


def verdict(found: EvaluationReport, *rules: RuleConf, **more: Any) -> Verdict:
    named = {f"r{k}": rule for k, rule in enumerate(rules)}
    return judge(found, named, gate="offline", greater_is_better=DIRECTIONS, **({"power": 0.5} | more))


def one(found: EvaluationReport, rule: RuleConf) -> Outcome:
    """The outcome of a gate with one rule, which is that of the rule."""
    given_ = verdict(found, rule)
    assert [r.outcome for r in given_.rules] == [given_.outcome]
    assert given_.rules[0].reason
    return given_.outcome


def floor(threshold: float, metric: str = "roc_auc_score") -> RuleConf:
    return RuleConf(kind="floor", metric=metric, threshold=threshold)


def superior(margin: float = 0.0, metric: str = "roc_auc_score") -> RuleConf:
    return RuleConf(kind="superiority", metric=metric, margin=margin)


def noninferior(margin: float = 0.0, metric: str = "roc_auc_score", slice: str | None = None) -> RuleConf:
    return RuleConf(kind="noninferiority", metric=metric, margin=margin, slice=slice)


# ---- intervals against bounds -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [(0.71, 0.73, PASS), (0.70, 0.73, PASS), (0.69, 0.71, INCONCLUSIVE), (0.69, 0.70, INCONCLUSIVE), (0.6, 0.69, FAIL)],
)
def test_a_floor_where_more_is_better(low: float, high: float, outcome: Outcome) -> None:
    assert one(report(metrics=(estimate(low, high),)), floor(0.70)) is outcome


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [(0.30, 0.39, PASS), (0.30, 0.40, PASS), (0.39, 0.41, INCONCLUSIVE), (0.40, 0.41, INCONCLUSIVE), (0.41, 0.5, FAIL)],
)
def test_a_floor_where_less_is_better(low: float, high: float, outcome: Outcome) -> None:
    found = report(metrics=(estimate(low, high, "log_loss"),))
    assert one(found, floor(0.40, "log_loss")) is outcome


@pytest.mark.parametrize("metric", DIRECTIONS)
@pytest.mark.parametrize(
    ("low", "high", "margin", "outcome"),
    [
        (0.001, 0.02, 0.0, PASS),
        (0.000, 0.02, 0.0, INCONCLUSIVE),
        (-0.001, 0.02, 0.0, INCONCLUSIVE),
        (-0.02, -0.001, 0.0, FAIL),
        (-0.02, 0.0, 0.0, INCONCLUSIVE),
        (0.0, 0.0, 0.0, INCONCLUSIVE),
        (0.011, 0.02, 0.01, PASS),
        (0.009, 0.02, 0.01, INCONCLUSIVE),
        (0.001, 0.009, 0.01, FAIL),
    ],
)
def test_superiority(metric: str, low: float, high: float, margin: float, outcome: Outcome) -> None:
    """Written for a metric of which more is better, and mirrored for the other."""
    ends = (low, high) if DIRECTIONS[metric] else (-high, -low)
    found = report(differences=(estimate(*ends, metric),))
    assert one(found, superior(margin, metric)) is outcome


@pytest.mark.parametrize("metric", DIRECTIONS)
@pytest.mark.parametrize(
    ("low", "high", "margin", "outcome"),
    [
        (-0.009, 0.02, 0.01, PASS),
        (-0.010, 0.02, 0.01, INCONCLUSIVE),
        (-0.02, 0.02, 0.01, INCONCLUSIVE),
        (-0.03, -0.011, 0.01, FAIL),
        (-0.009, -0.001, 0.01, PASS),  # worse for certain, and not by more than the margin
        (0.0, 0.0, 0.0, INCONCLUSIVE),
        (0.0, 0.0, 0.001, PASS),
    ],
)
def test_noninferiority(metric: str, low: float, high: float, margin: float, outcome: Outcome) -> None:
    ends = (low, high) if DIRECTIONS[metric] else (-high, -low)
    rule = noninferior(margin, metric)
    assert one(report(differences=(estimate(*ends, metric),)), rule) is outcome
    sliced = report(slices=(SliceEstimate(column="shop", level="a", estimate=estimate(0, 1), difference=None),))
    judged = SliceEstimate(
        column="shop", level="a", estimate=estimate(0, 1, metric), difference=estimate(*ends, metric)
    )
    assert one(report(slices=(judged,)), noninferior(margin, metric, "shop")) is outcome
    assert one(sliced, noninferior(margin, metric, "shop")) is FAIL


@given(st.floats(-0.5, 0.5), st.floats(0, 0.2), st.floats(0, 0.1), st.sampled_from(["superiority", "noninferiority"]))
def test_both_directions_mirror_each_other(middle: float, half: float, margin: float, kind: str) -> None:
    ends = middle - half, middle + half
    up = verdict(report(differences=(estimate(*ends),)), RuleConf(kind=kind, metric="roc_auc_score", margin=margin))
    down = verdict(
        report(differences=(estimate(-ends[1], -ends[0], "log_loss"),)),
        RuleConf(kind=kind, metric="log_loss", margin=margin),
    )
    assert up.outcome is down.outcome
    assert up.rules[0].rows_needed == down.rules[0].rows_needed
    assert up.rules[0].bound == -down.rules[0].bound


def test_an_interval_that_leaves_its_value_is_stretched_to_hold_it() -> None:
    biased = estimate(0.001, 0.02, value=-0.003)
    assert one(report(differences=(biased,)), superior()) is INCONCLUSIVE


def test_every_rule_must_hold_and_the_worst_is_named() -> None:
    better, worse, open_ = (estimate(0.01, 0.02), estimate(-0.02, -0.01, "log_loss"), estimate(-0.01, 0.01, "log_loss"))
    good = verdict(report(differences=(better, worse)), superior(), noninferior(0.0, "log_loss"))
    assert (good.outcome, good.reason) == (PASS, "all 2 rules hold")
    undecided = verdict(report(differences=(better, open_)), superior(), superior(0.0, "log_loss"))
    assert undecided.outcome is INCONCLUSIVE
    assert undecided.reason.startswith("r1: log_loss +0.0000 [-0.0100, +0.0100] straddles +0.0000")
    both = verdict(report(differences=(open_,)), superior(0.0, "log_loss"), superior(), floor(0.9))
    assert both.outcome is FAIL
    assert both.reason == "r1: roc_auc_score was not evaluated (and 1 more)"
    assert (both.gate, both.model, both.champion, both.window) == ("offline", "challenger", "champion", "May")


# ---- slices -------------------------------------------------------------------------------------------------------


def sliced(*differences: Estimate | None) -> EvaluationReport:
    return report(
        slices=tuple(
            SliceEstimate(column="shop", level=level, estimate=estimate(0.6, 0.8), difference=difference_)
            for level, difference_ in zip("abcdef", differences, strict=False)
        )
    )


TINY = estimate(math.nan, math.nan, reason="too few rows (12 of 500)", n=12)


@pytest.mark.parametrize(
    ("differences", "outcome", "reason"),
    [
        ((estimate(-0.004, 0.01), estimate(0.0, 0.01)), PASS, "all 2 rules hold"),
        ((estimate(-0.004, 0.01), estimate(-0.02, 0.01)), INCONCLUSIVE, "r0[b]: "),
        (
            (estimate(-0.004, 0.01), TINY),
            INCONCLUSIVE,
            "r0[b]: roc_auc_score is undecidable (too few rows (12 of 500))",
        ),
        ((estimate(-0.02, 0.01), TINY, estimate(-0.03, -0.02)), FAIL, "r0[c]: "),
        ((estimate(0.0, 0.01), None), FAIL, "r0[b]: roc_auc_score was not evaluated"),
        ((), FAIL, "r0: no slice of shop was evaluated"),
    ],
)
def test_every_level_is_judged(differences: Any, outcome: Outcome, reason: str) -> None:
    found = verdict(sliced(*differences), noninferior(0.005, slice="shop"))
    assert found.outcome is outcome
    assert found.reason.startswith(reason)
    assert len(found.rules) == max(1, len(differences))


def test_slices_of_another_metric_open_nothing() -> None:
    """A rise of log loss is worse; the same numbers of AUROC are better, and must not stand in for it."""
    found = verdict(sliced(estimate(-0.03, -0.02)), noninferior(0.005, "log_loss", "shop"))
    assert found.outcome is FAIL
    assert found.reason == "r0[a]: this slice was judged by roc_auc_score, not by log_loss"


# ---- what is missing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "rules", "reason"),
    [
        (report(), [], "the gate has no rule"),
        (report(champion=""), [], "no floor is set, and a first model is judged by floors alone"),
        (report(champion=""), [superior()], "no floor is set, and a first model is judged by floors alone"),
        (report(champion=""), [floor(0.5)], "r0: roc_auc_score was not evaluated"),
        (report(), [floor(0.5)], "r0: roc_auc_score was not evaluated"),
        (report(metrics=(estimate(0.9, 0.95),)), [superior()], "r0: roc_auc_score was not evaluated"),
        (report(metrics=(estimate(0.9, 0.95),)), [noninferior(0.1)], "r0: roc_auc_score was not evaluated"),
        (
            report(metrics=(estimate(0.9, 0.95),)),
            [noninferior(0.1, slice="shop")],
            "r0: no slice of shop was evaluated",
        ),
        (
            report(metrics=(estimate(0.9, 0.95, "rmse"),)),
            [floor(0.5, "rmse")],
            "r0: rmse is no metric with a known direction",
        ),
    ],
)
def test_what_is_missing_fails(found: EvaluationReport, rules: list[RuleConf], reason: str) -> None:
    given_ = verdict(found, *rules)
    assert (given_.outcome, given_.reason) == (FAIL, reason)


def test_the_first_model_is_judged_by_floors_alone_and_says_so() -> None:
    rules = (floor(0.7), superior(), noninferior(0.0, slice="shop"))
    first = verdict(report(champion="", metrics=(estimate(0.71, 0.75),)), *rules)
    assert (first.outcome, first.first) == (PASS, True)
    assert first.reason == "its one rule holds, floors alone: there was no champion"
    assert verdict(report(champion="", metrics=(estimate(0.65, 0.75),)), *rules).outcome is INCONCLUSIVE
    later = verdict(report(metrics=(estimate(0.71, 0.75),)), *rules)
    assert (later.outcome, later.first) == (FAIL, False)


@pytest.mark.parametrize(("uses", "outcome"), [(0, PASS), (4, PASS), (5, FAIL), (50, FAIL)])
def test_worn_rows_decide_nothing(uses: int, outcome: Outcome) -> None:
    found = verdict(report(differences=(estimate(0.01, 0.02),)), superior(), holdout_uses=uses)
    assert (found.outcome, found.holdout_uses) == (outcome, uses)
    if outcome is FAIL:
        assert found.reason == f"hold-out: these rows have decided {uses} times already, 5 is the limit: use fresh rows"


NAN, INF = math.nan, math.inf
DEGENERATE: dict[str, Estimate] = {
    "all NaN": estimate(NAN, NAN, reason="the labels are all the same"),
    "no reason": estimate(NAN, NAN),
    "too few rows": estimate(NAN, NAN, reason="too few rows (1)", n=1),
    "too few clusters": estimate(NAN, NAN, reason="too few clusters (2 of 5)"),
    "value NaN": estimate(0.91, 0.95, value=NAN),
    "low NaN": estimate(NAN, 0.95, value=0.93),
    "high NaN": estimate(0.91, NAN, value=0.93),
    "value infinite": estimate(0.91, INF, value=INF),
    "high infinite": estimate(0.91, INF, value=0.93),
    "low infinite": estimate(-INF, 0.95, value=0.93),
    "all infinite": estimate(INF, INF, value=INF),
    "endless": estimate(-INF, INF, value=0.93),
    "reversed": estimate(0.95, 0.91),
    "no confidence": estimate(0.91, 0.95, confidence_level=0.0),
    "unknown confidence": estimate(0.91, 0.95, confidence_level=NAN),
    "no rows": estimate(0.91, 0.95, n=0),
    "negative rows": estimate(0.91, 0.95, n=-5),
    "two rows": estimate(0.93, 0.93, n=2),
    "one row short": estimate(0.91, 0.95, n=MIN_ROWS - 1),
    "another metric": estimate(0.91, 0.95, "accuracy_score"),
    "nothing": estimate(0.0, 0.0),
}


@pytest.mark.parametrize("kind", DEGENERATE)
@pytest.mark.parametrize("metric", DIRECTIONS)
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_degenerate_estimate_never_passes(kind: str, metric: str, mirrored: bool) -> None:
    """In either direction of the metric, whatever is asked of it, however easy that is."""
    odd = DEGENERATE[kind]
    sign = -1.0 if mirrored else 1.0
    ends = (sign * odd.high, sign * odd.low) if mirrored else (odd.low, odd.high)
    name = odd.name if odd.name == "accuracy_score" else metric
    made = replace(odd, name=name, value=sign * odd.value, low=ends[0], high=ends[1])
    found = report(
        metrics=(made,),
        differences=(made,),
        slices=(SliceEstimate(column="shop", level="a", estimate=made, difference=made),),
    )
    easy = -1.5 if DIRECTIONS[metric] else 1.5
    rules = [superior(0.0, metric)]
    if kind != "nothing":
        rules += [floor(easy, metric), noninferior(1.5, metric), noninferior(1.5, metric, "shop")]
    for rule in rules:
        given_ = verdict(found, rule)
        assert given_.outcome is not PASS
        assert given_.reason
        curable = odd.reason.startswith("too few") or kind in ("no rows", "negative rows", "two rows", "one row short")
        if curable:
            assert given_.outcome is INCONCLUSIVE
        elif kind != "nothing":
            assert given_.outcome is FAIL


# ---- rows needed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "rows"),
    [
        (-0.01, 0.03, 4001),  # value 0.01, half width 0.02: twice too wide, four times the rows
        (0.0, 0.02, 1001),
        (-0.02, 0.0, 0),  # by this estimate it would never clear
        (-0.01, 0.01, 0),
    ],
)
def test_rows_needed(low: float, high: float, rows: int) -> None:
    found = verdict(report(differences=(estimate(low, high),)), superior())
    assert found.outcome is INCONCLUSIVE
    assert found.rules[0].rows_needed == pytest.approx(rows, abs=1)
    assert ("rows would decide" in found.reason) is bool(rows)


def test_rows_needed_do_decide() -> None:
    """At that many rows the same estimate clears the bound, and at one per cent fewer it does not."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        value, half, n = rng.uniform(0.001, 0.02), rng.uniform(0.001, 0.05), int(rng.integers(100, 5000))
        asked = verdict(report(differences=(estimate(value - half, value + half, n=n),)), superior()).rules[0]
        if asked.outcome is INCONCLUSIVE:
            for rows, outcome in ((asked.rows_needed, PASS), (int(asked.rows_needed * 0.99), INCONCLUSIVE)):
                then = half * math.sqrt(n / rows)
                assert one(report(differences=(estimate(value - then, value + then, n=rows),)), superior()) is outcome


# ---- error rates --------------------------------------------------------------------------------------------------


class Level:
    confidence_level = 0.95
    n_resamples = 200
    seed = 0


def paired(rng: np.random.Generator, n: int, advantage: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, and scores of two models that share most of what they know; the second knows `advantage` more."""
    target = (rng.random(n) < 0.3).astype(np.int64)
    shared = rng.normal(size=n)
    champion = 1.2 * target + shared + 0.5 * rng.normal(size=n)
    challenger = (1.2 + advantage) * target + shared + 0.5 * rng.normal(size=n)
    return target, champion, challenger


def promotions(gates: int, n: int, advantage: float, rule: RuleConf) -> int:
    rng = np.random.default_rng([gates, n])
    passed = 0
    for _ in range(gates):
        target, champion, challenger = paired(rng, n, advantage)
        exact = delong(target, champion, challenger, confidence_level=0.95)
        made = estimate(exact.low, exact.high, value=exact.estimate, n=n)
        passed += verdict(report(differences=(made,)), rule).outcome is PASS
    return passed


def test_false_promotions_stay_below_half_alpha() -> None:
    gates = 1000
    assert promotions(gates, 600, 0.0, superior()) <= stats.binom.ppf(0.9999, gates, 0.025)


@pytest.mark.slow
@pytest.mark.parametrize("n", [300, 1000, 3000])
def test_false_promotions_over_ten_thousand_gates(n: int) -> None:
    assert promotions(10_000, n, 0.0, superior()) <= stats.binom.ppf(0.9999, 10_000, 0.025)


def test_false_promotions_of_the_bootstrap() -> None:
    gates, passed = 150, 0
    rng = np.random.default_rng(2)
    for _ in range(gates):
        target, champion, challenger = paired(rng, 400, 0.0)
        scores = [1 / (1 + np.exp(-s)) for s in (champion, challenger)]
        rows = Rows(task=Task.BINARY, target=target, ids=np.arange(400), cluster=None)
        made = difference("log_loss", rows, *scores, Level())
        passed += verdict(report(differences=(made,)), superior(0.0, "log_loss")).outcome is PASS
    assert passed <= stats.binom.ppf(0.9999, gates, 0.025)


def test_a_real_advantage_is_promoted() -> None:
    assert promotions(100, 2000, 0.3, superior()) >= 80


def test_a_model_at_the_margin_is_promoted_no_more_often_than_stated() -> None:
    """Truly worse by the margin: the worst case that non-inferiority must keep out."""
    auc = [stats.norm.cdf(shift / math.sqrt(2 * 1.25)) for shift in (1.2, 1.1)]
    passed = promotions(500, 800, -0.1, noninferior(auc[0] - auc[1]))
    assert passed <= stats.binom.ppf(0.9999, 500, 0.025)


# ---- config -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda: RuleConf(kind="better", metric="m"), "gate.rules:kind"),
        (lambda: RuleConf(kind="floor", metric="m"), "gate.rules:threshold"),
        (lambda: RuleConf(kind="floor", metric="m", threshold=-INF), "gate.rules:threshold"),
        (lambda: RuleConf(kind="floor", metric="m", threshold=NAN), "gate.rules:threshold"),
        (lambda: RuleConf(kind="floor", metric="m", threshold=0.5, margin=0.1), "gate.rules:margin"),
        (lambda: RuleConf(kind="superiority", metric="m", threshold=0.5), "gate.rules:threshold"),
        (lambda: RuleConf(kind="superiority", metric="m", margin=-0.1), "gate.rules:margin"),
        (lambda: RuleConf(kind="noninferiority", metric="m", margin=NAN), "gate.rules:margin"),
        (lambda: RuleConf(kind="noninferiority", metric="m", margin=INF), "gate.rules:margin"),
        (lambda: RuleConf(kind="superiority", metric="m", slice="shop"), "gate.rules:slice"),
        (lambda: GateConf(max_holdout_uses=0), "gate.max_holdout_uses"),
    ],
)
def test_refusals(make: Callable[[], object], where: str) -> None:
    with pytest.raises(ConfigError) as error:
        make()
    assert error.value.where == where
    assert "\n" not in str(error.value)


def test_nothing_impure_is_imported() -> None:
    imported: set[str | None] = set()
    for path in Path(engine.gate.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text())
        imported |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        imported |= {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    outside = {name for name in imported if not str(name).startswith("engine.gate")}
    pure = {"__future__", "collections.abc", "dataclasses", "functools", "itertools", "math", "statistics", "types"}
    assert outside <= pure | {"typing", "engine.errors", "engine.records"}
