"""How often the gate errs: simulated challengers, judged by the real functions.

A gate is wrong where it promotes a challenger that is no better than its rule allows. Each rule has its error at the
edge of its null hypothesis (a true difference of 0 for superiority, of -margin for non-inferiority), so that is where
the challengers here are; any worse one passes more rarely. No futility stop takes part in the counts of false
promotions: the bounds must hold without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from engine.evaluate.conf import EvaluateConf
from engine.evaluate.report import evaluate
from engine.gate import RuleConf, judge, judge_look
from engine.records import Estimate, EvaluationReport, Look, Outcome, SliceEstimate, Task, Verdict

Record = Callable[[str, object], None]
ALPHA, LOOKS, SLICES = 0.025, 5, 20
Z = stats.norm.isf(ALPHA)
FULL = 10_000
SPENDINGS = ["obrien_fleming", "pocock"]
INFLATION = {"one look": 1.0, "obrien_fleming": 1.026, "pocock": 1.229}
"""Rows that five looks need for the power of one (Jennison and Turnbull 2000, tables 2.2 and 2.4)."""
BETTER = {"better": RuleConf(kind="superiority", metric="roc_auc_score")}
DIRECTIONS = {"roc_auc_score": True, "accuracy_score": True}


def small_and_full(ci: int) -> pytest.MarkDecorator:
    """A size for CI and the full one."""
    return pytest.mark.parametrize("gates", [ci, pytest.param(FULL, marks=pytest.mark.slow)])


def most(gates: int, rate: float = ALPHA) -> int:
    """As many false promotions as chance allows one such proof in a thousand."""
    return int(stats.binom.isf(1e-3, gates, rate))


def looks(reports: list[EvaluationReport], rules: dict[str, RuleConf], spending: str, futility: float) -> Outcome:
    """What the shadow gate comes to on one challenger; `spending` may be "one look", at the last report."""
    if spending == "one look":
        return judge(reports[-1], rules, gate="shadow", greater_is_better=DIRECTIONS).outcome
    earlier: list[Verdict] = []
    for number, report in enumerate(reports, 1):
        look = Look(number=number, most=len(reports), spending=spending, futility=futility)
        made = judge_look(report, rules, gate="shadow", greater_is_better=DIRECTIONS, look=look, earlier=earlier)
        if not made.waiting:
            return made.outcome
        earlier.append(made)
    raise AssertionError("the last look decides")


# ---- scores -> evaluate -> judge ----------------------------------------------------------------------------------


def scored(rng: np.random.Generator, rows: int, advantage: float) -> list[EvaluationReport]:
    """Two models of equal skill but for `advantage`, on 1 to LOOKS windows joined; AUROC, compared by DeLong."""
    conf = EvaluateConf(primary="roc_auc_score", metrics=["roc_auc_score"], n_resamples=100)
    target = (rng.random(LOOKS * rows) < 0.4).astype(np.float32)
    shared = rng.normal(size=len(target))
    champion, challenger = (shared + rng.normal(size=len(target)) + s * target for s in (1.0, 1.0 + advantage))
    return [
        evaluate(
            model="new",
            champion="old",
            window=f"w{k}",
            fingerprint=f"f{k}",
            task=Task.BINARY,
            target=target[: k * rows],
            rows=np.arange(k * rows),
            cluster=None,
            prediction=challenger[: k * rows],
            champion_prediction=champion[: k * rows],
            slices={},
            conf=conf,
        )
        for k in range(1, LOOKS + 1)
    ]


@small_and_full(120)
def test_scores_of_equal_models_are_rarely_promoted(gates: int, record_property: Record) -> None:
    """The same challengers before each gate; what differs is how it looks."""
    rng = np.random.default_rng(2)
    wrong = dict.fromkeys(("one look", *SPENDINGS), 0)
    naive = 0
    for _ in range(gates):
        reports = scored(rng, 200, 0.0)
        for way in wrong:
            wrong[way] += looks(reports, BETTER, way, 0.0) is Outcome.PASS
        naive += any(
            judge(r, BETTER, gate="shadow", greater_is_better=DIRECTIONS).outcome is Outcome.PASS for r in reports
        )
    for way, count in wrong.items():
        record_property(
            f"false promotions, scores to verdict, {way}", f"{count / gates:.4f} of {gates} null gates (alpha {ALPHA})"
        )
    record_property("false promotions, scores to verdict, five looks at 1.96", f"{naive / gates:.4f} of {gates}")
    assert max(wrong.values()) <= most(gates)
    assert naive > 1.5 * ALPHA * gates  # what the bounds are there for


@small_and_full(60)
def test_scores_of_a_better_model_are_promoted(gates: int, record_property: Record) -> None:
    """An AUROC that is better by 0.056, of 1000 rows in five windows; with the futility stop that is the default."""
    rng = np.random.default_rng(8)
    right = dict.fromkeys(("one look", *SPENDINGS), 0)
    gained = 0.0
    for _ in range(gates):
        reports = scored(rng, 200, 0.34)
        gained += reports[-1].differences[0].value
        for way in right:
            right[way] += looks(reports, BETTER, way, 0.05) is Outcome.PASS
    assert gained / gates == pytest.approx(0.056, abs=0.01)
    for way, count in right.items():
        record_property(f"power, scores to verdict, {way}", f"{count / gates:.3f} of {gates} at 0.056 of AUROC")
        assert count / gates > 0.8 - 3 * math.sqrt(0.16 / gates)


# ---- closed forms -> judge ----------------------------------------------------------------------------------------


def estimate(value: float, error: float, n: int, metric: str = "accuracy_score") -> Estimate:
    return Estimate(
        name=metric,
        value=value,
        low=value - Z * error,
        high=value + Z * error,
        n=n,
        confidence_level=1 - 2 * ALPHA,
        method="closed form",
    )


def summed(rng: np.random.Generator, means: np.ndarray, error: float, rows: int) -> list[EvaluationReport]:
    """Reports of 1 to LOOKS windows joined. means (S + 1,): true differences, overall and by slice; `error` is that of
    the last look overall. Slices of equal size; what is overall is independent of them, the worst case for a gate that
    asks for both.
    """
    by_window = rng.normal(size=(LOOKS, len(means)))
    reports = []
    for k in range(1, LOOKS + 1):
        now = error * math.sqrt(LOOKS / k)
        errors = np.array([now, *[now * math.sqrt(SLICES)] * (len(means) - 1)])
        values = means + errors * by_window[:k].sum(axis=0) / math.sqrt(k)
        found = [estimate(v, e, rows * k) for v, e in zip(values.tolist(), errors.tolist(), strict=True)]
        slices = tuple(
            SliceEstimate(column="shop", level=str(i), estimate=e, difference=e) for i, e in enumerate(found[1:])
        )
        reports.append(
            EvaluationReport(
                model="new",
                champion="old",
                window=f"w{k}",
                fingerprint=f"f{k}",
                n_rows=rows * k,
                metrics=(),
                differences=(found[0],),
                slices=slices,
            )
        )
    return reports


def rate(
    way: str, gates: int, means: np.ndarray, error: float, rules: dict[str, RuleConf], futility: float, seed: int
) -> float:
    """Share of gates that open."""
    rng = np.random.default_rng(seed)
    outcomes = [looks(summed(rng, means, error, 1000), rules, way, futility) for _ in range(gates)]
    return sum(outcome is Outcome.PASS for outcome in outcomes) / gates


WAYS = pytest.mark.parametrize("way", ["one look", *SPENDINGS])
RULE = {"better": RuleConf(kind="superiority", metric="accuracy_score")}
MARGIN = 0.1
SLICED = {**RULE, "each": RuleConf(kind="noninferiority", metric="accuracy_score", margin=MARGIN, slice="shop")}


@WAYS
@small_and_full(1000)
def test_one_rule_errs_as_stated(way: str, gates: int, record_property: Record) -> None:
    found = rate(way, gates, np.zeros(1), 0.01, RULE, 0.0, 3)
    record_property(f"false promotions, one rule, {way}", f"{found:.4f} of {gates} null gates (alpha {ALPHA})")
    assert stats.binom.isf(0.999, gates, ALPHA) <= found * gates <= most(gates)  # and it does not waste its alpha


@WAYS
@small_and_full(500)
def test_one_rule_has_the_power_that_its_rows_are_for(way: str, gates: int, record_property: Record) -> None:
    """An effect of 2.8 standard errors of the last look, rows being raised by what looking costs; with futility."""
    effect = (Z + stats.norm.ppf(0.8)) * 0.01 * math.sqrt(INFLATION[way])
    found = rate(way, gates, np.array([effect]), 0.01, RULE, 0.0, 4)
    careful = rate(way, gates, np.array([1.05 * effect]), 0.01, RULE, 0.05, 4)
    record_property(f"power, one rule, {way}", f"{found:.3f} of {gates} at {effect / 0.01:.2f} standard errors")
    record_property(f"power, one rule, {way}, futility 0.05", f"{careful:.3f} of {gates} at 5 % more effect")
    slack = 3 * math.sqrt(0.16 / gates)
    assert found > 0.8 - slack
    assert careful > 0.8 - slack


@WAYS
@small_and_full(80)
def test_twenty_slices_need_no_smaller_alpha(way: str, gates: int, record_property: Record) -> None:
    """One slice is worse by just the margin, the others and the whole are far better: the worst case of all."""
    means = np.array([0.2, -MARGIN, *[0.2] * (SLICES - 1)])
    found = rate(way, gates, means, 0.002, SLICED, 0.0, 5)
    record_property(f"false promotions, {SLICES} slices, {way}", f"{found:.4f} of {gates} null gates (alpha {ALPHA})")
    assert found * gates <= most(gates)


@WAYS
@small_and_full(60)
def test_twenty_slices_leave_power_where_the_margin_is_wide(way: str, gates: int, record_property: Record) -> None:
    """No slice differs; the margin is 4.5 standard errors of a slice and the effect 3.5 of the whole, at the last look.

    All 21 rules must hold at one look.
    """
    error = MARGIN / 4.5 / math.sqrt(SLICES) / math.sqrt(INFLATION[way])
    means = np.array([3.5 * error * math.sqrt(INFLATION[way]), *[0.0] * SLICES])
    found = rate(way, gates, means, error, SLICED, 0.05, 6)
    record_property(f"power, {SLICES} slices, {way}", f"{found:.3f} of {gates}")
    assert found > 0.8 - 3 * math.sqrt(0.16 / gates)


def test_a_worse_challenger_passes_more_rarely() -> None:
    for way in ("one look", *SPENDINGS):
        assert rate(way, 300, np.array([-0.02]), 0.01, RULE, 0.0, 7) < 0.01


def test_the_simulation_can_tell_a_gate_that_is_too_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the ordinary critical value at every look, five looks err three to five times as often as stated."""

    def careless(*args: Any) -> float:
        return float(Z)

    monkeypatch.setattr("engine.gate.sequential.critical", careless)
    found = rate("pocock", 1000, np.zeros(1), 0.01, RULE, 0.0, 3)
    assert found * 1000 > most(1000)
    assert found > 3 * ALPHA
