"""Rules over metrics: when they hold, what cannot be computed, and what is done."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from engine.act import ACTIONS, COMPARISONS, METRICS, SEVERITIES, ActConf, RuleConf, act, metrics_of
from engine.errors import ConfigError
from engine.records import ActionItem, Cycle, DriftOutcome, Look, Outcome
from tests.engine.cycles import cycle, drift_report, estimate, measure, measured, pipeline, verdict

EXPECTED = {
    "data.rows": 1000.0,
    "data.blocked": 1.0,
    "data.violations": 2.0,
    "drift.columns": 2.0,
    "drift.share": 0.5,
    "drift.undecidable": 1.0,
    "risk.alarm": 0.0,
    "decide.waiting": 410.0,
    "gate.rejected": 1.0,
    "pipeline.seconds": 31.0,
    "pipeline.seconds.read": 1.0,
    "pipeline.seconds.train": 30.0,
    "pipeline.failed_trials": 1.0,
    "model.roc_auc_score": 0.75,
    "model.roc_auc_score.low": 0.74,
    "model.roc_auc_score.high": 0.76,
    "model.log_loss": 0.4,
    "model.log_loss.low": 0.39,
    "model.log_loss.high": 0.42,
}


def items(found: Cycle, rule: RuleConf, *history: dict[str, float]) -> tuple[ActionItem, ...]:
    return act(history, found, ActConf(rules={"watch": rule}))


def rule(metric: str = "drift.share", threshold: float = 0.4, **more: Any) -> RuleConf:
    return RuleConf(metric=metric, threshold=threshold, **more)


# ---- metrics ------------------------------------------------------------------------------------------------------


def test_every_metric_of_a_full_cycle() -> None:
    assert metrics_of(cycle()) == pytest.approx(EXPECTED)


def test_every_metric_that_a_rule_may_name_is_measured_and_every_measured_one_may_be_named() -> None:
    found = metrics_of(measured())
    assert found.items() >= metrics_of(cycle()).items()
    assert found["risk.expected_alarm"] == 0.0
    assert set(found) >= METRICS
    for name in found:
        assert rule(name).metric == name


def test_the_pipelines_numbers_stand_beside_the_models() -> None:
    found = metrics_of(cycle(pipeline=pipeline(freshness_hours=7.0)))
    assert (found["data.freshness_hours"], found["pipeline.cost"], found["pipeline.training_cost"]) == (7.0, 301.5, 1.0)
    assert (found["pipeline.gain_points"], found["pipeline.gain_points.low"]) == (2.0, 1.0)
    assert (found["pipeline.rows_per_second.read"], found["pipeline.bytes_per_second.read"]) == (500.0, 4e6)


def test_what_is_not_known_of_the_pipeline_is_absent_and_what_is_undecidable_is_nan() -> None:
    unknown = measure("return_on_retraining", math.nan, "EUR", reason="no label is in")
    found = metrics_of(cycle(pipeline=pipeline(queue_seconds=math.nan, gain=None, lasting=(unknown,))))
    assert not {"pipeline.queue_seconds", "pipeline.gain_points", "pipeline.restore_windows"} & set(found)
    assert math.isnan(found["pipeline.return_on_retraining"])
    (item,) = items(cycle(pipeline=pipeline(lasting=(unknown,))), rule("pipeline.return_on_retraining", 0, when="<"))
    assert (item.message, item.action) == ("pipeline.return_on_retraining cannot be computed", "log")


@pytest.mark.parametrize(
    ("typo", "near"),
    [
        ("pipeline.costs", "pipeline.cost"),
        ("data.freshness", "data.freshness_hours"),
        ("pipeline.gate_pas_rate", "pipeline.gate_pass_rate"),
    ],
)
def test_a_name_with_a_typo_is_refused_with_the_near_ones(typo: str, near: str) -> None:
    with pytest.raises(ConfigError) as raised:
        rule(typo)
    assert f"act.rules:metric: {typo!r} is unknown - did you mean" in str(raised.value)
    assert near in str(raised.value)


def test_a_rule_acts_on_the_pipeline_for_as_long_as_it_asks() -> None:
    late = rule("data.freshness_hours", 24, windows=2, action="freeze")
    old = cycle(pipeline=pipeline(freshness_hours=30.0))
    assert items(old, late) == ()
    (item,) = items(old, late, {"data.freshness_hours": 25.0})
    assert (item.action, item.value) == ("freeze", 30.0)


def test_a_stage_that_did_not_run_has_no_metric() -> None:
    bare = cycle(monitor=None, decision=None, candidate=None, verdicts=(), timings={})
    assert set(metrics_of(bare)) == {"data.rows", "data.blocked", "data.violations", "pipeline.seconds"}
    waiting = cycle(monitor=replace(cycle().monitor, performance=None))  # type: ignore[type-var]
    assert not any(name.startswith("model.") for name in metrics_of(waiting))


@pytest.mark.parametrize(
    ("verdicts", "rejected"),
    [
        ((Outcome.PASS,), 0.0),
        ((Outcome.PASS, Outcome.PASS), 0.0),
        ((Outcome.FAIL,), 1.0),
        ((Outcome.INCONCLUSIVE, Outcome.PASS), 1.0),
    ],
)
def test_rejection(verdicts: tuple[Outcome, ...], rejected: float) -> None:
    assert metrics_of(cycle(verdicts=tuple(map(verdict, verdicts))))["gate.rejected"] == rejected


@pytest.mark.parametrize(("number", "rejected"), [(1, 0.0), (2, 1.0)])
def test_a_challenger_that_waits_for_its_next_look_is_not_rejected(number: int, rejected: float) -> None:
    look = Look(number=number, most=2, spending="pocock", futility=0.0)
    waits = replace(verdict(Outcome.INCONCLUSIVE, "shadow"), look=look)
    assert metrics_of(cycle(verdicts=(waits,)))["gate.rejected"] == rejected


@pytest.mark.parametrize("outcomes", [(), (DriftOutcome.UNDECIDABLE,) * 3])
def test_a_share_of_nothing_is_unknown(outcomes: tuple[DriftOutcome, ...]) -> None:
    found = cycle(monitor=replace(cycle().monitor, baseline=drift_report(*outcomes)))  # type: ignore[type-var]
    assert math.isnan(metrics_of(found)["drift.share"])
    (item,) = items(found, rule())
    assert item.message == "drift.share cannot be computed"


# ---- when a rule holds --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "held"),
    [
        (">", (False, False, True)),
        (">=", (False, True, True)),
        ("<", (True, False, False)),
        ("<=", (True, True, False)),
    ],
)
def test_comparisons(when: str, held: tuple[bool, ...]) -> None:
    found = [bool(items(cycle(n_rows=rows), rule("data.rows", 1000, when=when))) for rows in (999, 1000, 1001)]
    assert tuple(found) == held
    assert when in COMPARISONS


@pytest.mark.parametrize(
    ("past", "held"),
    [
        ([], False),
        ([0.9], False),
        ([0.9, 0.9], True),
        ([0.9, 0.9, 0.1], False),
        ([0.1, 0.9, 0.9], True),
        ([0.9, 0.1, 0.9], False),
        ([0.9, math.nan], False),
        ([0.9, None, 0.9], True),
        ([0.9, 0.9, None, None], True),
        ([None, None, 0.9], False),
    ],
)
def test_a_rule_holds_in_windows_in_a_row_of_those_that_measured_it(past: list[float | None], held: bool) -> None:
    history = [{"data.rows": 1.0} | ({} if value is None else {"drift.share": value}) for value in past]
    found = items(cycle(), rule(windows=3), *history)
    assert bool(found) is held
    if held:
        assert found[0].message == "drift.share = 0.5 > 0.4 for 3 windows"


def test_history_alone_raises_nothing() -> None:
    assert not items(cycle(monitor=None), rule(), {"drift.share": 0.9}, {"drift.share": 0.9})


# ---- what is done -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_an_item_carries_its_rule(action: str, severity: str) -> None:
    given = rule(owner="ml", action=action, severity=severity, runbook="see the wiki")
    (item,) = items(cycle(), given)
    assert (item.action, item.severity, item.owner, item.rule) == (action, severity, "ml", "watch")
    assert (item.metric, item.value, item.threshold, item.window) == ("drift.share", 0.5, 0.4, "w2")
    assert item.message == "drift.share = 0.5 > 0.4; see the wiki"


def test_rules_are_checked_in_their_order() -> None:
    conf = ActConf(rules={"b": rule(), "quiet": rule(threshold=0.9), "a": rule("data.rows", 0)})
    assert [item.rule for item in act([], cycle(), conf)] == ["b", "a"]
    assert act([], cycle(), ActConf()) == ()


@pytest.mark.parametrize("action", ACTIONS)
def test_a_metric_that_is_nan_is_told_and_does_nothing_else(action: str) -> None:
    broken = estimate(math.nan, reason="the labels are all the same")
    performance = replace(cycle().monitor.performance, metrics=(broken,))  # type: ignore[type-var, union-attr]
    found = cycle(monitor=replace(cycle().monitor, performance=performance))  # type: ignore[type-var]
    given = rule("model.roc_auc_score", 0.7, when="<", action=action, severity="detected", windows=3)
    (item,) = items(found, given)
    assert math.isnan(item.value)
    assert (item.action, item.severity) == ("log", "suspected")
    assert item.message == "model.roc_auc_score cannot be computed"


def test_a_model_metric_that_nobody_computes_is_told_once_there_is_performance() -> None:
    misspelt = rule("model.roc_auc", 0.7, when="<", action="rollback")
    (item,) = items(cycle(), misspelt)
    assert (item.action, item.message) == ("log", "model.roc_auc is not computed: see evaluate.metrics")
    assert not items(cycle(monitor=None), misspelt)


def test_one_item_for_one_rule_and_window() -> None:
    first, again = items(cycle(), rule())[0], items(cycle(n_rows=7), rule())[0]
    assert first.id == again.id
    others = [
        items(cycle(window="w3"), rule())[0].id,
        items(cycle(loop="other"), rule())[0].id,
        act([], cycle(), ActConf(rules={"other": rule()}))[0].id,
    ]
    assert len({first.id, *others}) == 4


# ---- config -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: rule(when="=>"), "when"),
        (lambda: rule(severity="fatal"), "severity"),
        (lambda: rule(action="panic"), "action"),
        (lambda: rule(windows=0), "windows"),
        (lambda: rule(threshold=math.nan), "threshold"),
        (lambda: rule(threshold=math.inf), "threshold"),
        (lambda: rule("drift.shar"), "metric"),
        (lambda: rule("model."), "metric"),
        (lambda: rule(""), "metric"),
    ],
)
def test_refusals(make: Callable[[], RuleConf], field: str) -> None:
    with pytest.raises(ConfigError) as error:
        make()
    assert error.value.where == f"act.rules:{field}"
    assert "\n" not in str(error.value)
