"""What the config alone can tell: what must be let through. The lines that people see are in test_bad_input.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.act import ActConf
from engine.act import RuleConf as ActRule
from engine.config import checks
from engine.data.conf import DataConf
from engine.decide import POLICIES, DecideConf
from engine.errors import ConfigError
from engine.evaluate.conf import EvaluateConf
from engine.gate import GateConf, RuleConf
from engine.promote.conf import PromoteConf
from engine.records import Task
from engine.scoring.scores import GREATER_IS_BETTER
from engine.train.conf import SearchConf
from engine.train.search_space import Space
from tests.engine.tides import make_conf

FLOOR = RuleConf(kind="floor", metric="roc_auc_score", threshold=0.5)
HOLDS = RuleConf(kind="noninferiority", metric="roc_auc_score", margin=0.1)


@pytest.mark.parametrize("metric", ["roc_auc_score", "log_loss", "f1_score"])
def test_a_search_goes_the_way_its_metric_points(metric: str) -> None:
    right = "max" if GREATER_IS_BETTER[metric] else "min"
    checks.check_metrics(Task.BINARY, EvaluateConf(), SearchConf(metric=metric, mode=right))
    wrong = SearchConf(metric=metric, mode="min" if right == "max" else "max")
    with pytest.raises(ConfigError, match=f"would choose the worst trial by {metric} - add search.mode={right}"):
        checks.check_metrics(Task.BINARY, EvaluateConf(), wrong)


def test_the_direction_follows_from_the_metric() -> None:
    checks.check_metrics(Task.BINARY, EvaluateConf(), SearchConf(metric="log_loss"))
    several = SearchConf(metrics=["log_loss", "brier_score_loss:min"], scheduler="none")
    checks.check_metrics(Task.BINARY, EvaluateConf(), several)
    wrong = SearchConf(metrics=["log_loss:max"], scheduler="none")
    with pytest.raises(ConfigError) as error:
        checks.check_metrics(Task.BINARY, EvaluateConf(), wrong)
    said = "search.metrics: max would choose the worst trial by log_loss - write log_loss:min, or log_loss alone"
    assert str(error.value) == said
    unknown = SearchConf(metrics=["mean_squared_error"], scheduler="none")
    with pytest.raises(ConfigError, match=r"^search\.metrics: 'mean_squared_error' is no metric of a binary model - "):
        checks.check_metrics(Task.BINARY, EvaluateConf(), unknown)


def test_groups_that_were_left_at_their_default_are_named() -> None:
    with pytest.raises(ConfigError) as error:
        checks.check_metrics(Task.REGRESSION, EvaluateConf(), SearchConf())
    assert str(error.value) == (
        "evaluate.primary: 'roc_auc_score' is no metric of a regression model - add evaluate=regression gate=regression"
    )


def test_paired_needs_a_metric_of_rows() -> None:
    checks.check_metrics(Task.BINARY, EvaluateConf(), SearchConf(scheduler="paired"))
    with pytest.raises(ConfigError, match=r"^search\.metric: f1_score of a binary model cannot be held row by row, "):
        checks.check_metrics(Task.BINARY, EvaluateConf(), SearchConf(scheduler="paired", metric="f1_score"))


def test_a_searcher_that_cannot_search_the_space() -> None:
    space = Space.of({"train.lr": "interval(0.1, 0.5)"})
    checks.check_searcher(SearchConf(searcher="tpe"), space)
    with pytest.raises(ConfigError, match=r"^search\.space:train\.lr: an interval has no grid - "):
        checks.check_searcher(SearchConf(searcher="grid"), space)


def test_a_space_of_groups_and_keys() -> None:
    checks.check_space({"train.lr": "tag(log, interval(1e-4, 1e-1))", "model": "tabular,digits", "model.width": "8,16"})


PROMOTE, ALONE = PromoteConf(), PromoteConf(shadow_windows=0)
SLICED = RuleConf(kind="noninferiority", metric="roc_auc_score", margin=0.1, slice="colour")
RULES = {
    "floor": FLOOR,
    "sliced": SLICED,
    "other metric": RuleConf(kind="noninferiority", metric="log_loss", margin=0.1, slice="colour"),
    "crossing": RuleConf(kind="floor", metric="log_loss", threshold=0.7, slice=["colour", "shop"], pool=True),
    "calibrated": RuleConf(kind="calibration", threshold=0.05),
    "fair": RuleConf(kind="fairness", metric="equalized_odds_difference", slice="shop", threshold=0.1),
    "noise": RuleConf(kind="robustness", metric="log_loss", perturbation="noise", margin=0.1),
    "gone": RuleConf(kind="robustness", metric="log_loss", perturbation="missing", columns=["age"], margin=0.1),
    "later": RuleConf(kind="robustness", metric="log_loss", perturbation="shifted", shift=1, margin=0.1),
}
COLD = {"fast": RuleConf(kind="latency", threshold=50.0), "small": RuleConf(kind="size", threshold=5.0)}


def test_a_gate_that_can_open() -> None:
    gate = GateConf(rules=RULES, shadow={"holds": HOLDS}, cold=COLD)
    data = make_conf(slices=["colour", "shop"])
    checks.check_gate(gate, PROMOTE, EvaluateConf(), data)
    checks.check_gate(GateConf(rules={"floor": FLOOR}), ALONE, EvaluateConf(), make_conf(slices=[]))


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (SLICED, r"slice: 'colour' is not in data\.slices - add it there"),
        (
            replace(SLICED, metric="f1_score", slice=None),
            r"metric: 'f1_score' is not in evaluate\.metrics - add it there",
        ),
        (COLD["fast"], r"kind: latency is not measured there - move it to gate\.cold"),
        (RuleConf(kind="answers"), "kind: answers are asked for in any case - leave the rule out"),
        (replace(RULES["noise"], margin=0.0), "margin: no loss at all is allowed: it would never pass - choose more"),
        (
            replace(RULES["noise"], columns=["colour"]),
            r"columns: 'colour' is not in data\.numeric - choose one",
        ),
        (replace(RULES["gone"], columns=["late"]), "columns: 'late' is not in the features - choose one of pull, age"),
        (
            replace(RULES["later"], metric="expected_calibration_error"),
            "metric: the errors of two windows have biases of their own - use kind: calibration, or log_loss",
        ),
    ],
)
def test_a_rule_that_could_never_hold_costs_one_line(rule: RuleConf, said: str) -> None:
    gate = GateConf(rules={"floor": FLOOR, "mine": rule})
    with pytest.raises(ConfigError, match=rf"^gate\.rules\.mine\.{said}"):
        checks.check_gate(gate, ALONE, EvaluateConf(), make_conf(slices=[]))


WITHIN = replace(RULES["fair"], metric="calibration_within_groups")
NO_START = PromoteConf(shadow_windows=0, cold_check=False)


@pytest.mark.parametrize(
    ("group", "rule", "promote", "data", "said"),
    [
        ("rules", RULES["fair"], ALONE, {"task": "multiclass"}, "equalized_odds_difference says nothing about a multi"),
        ("rules", WITHIN, ALONE, {"task": "regression"}, "calibration_within_groups says nothing about a regression"),
        ("cold", FLOOR, ALONE, {}, r"gate\.cold\.mine\.kind: floor is not measured there - move it to gate\.rules"),
        ("cold", COLD["fast"], NO_START, {}, r"gate\.cold: has rules, and promote\.cold_check is false - set promote"),
        ("rules", RULES["noise"], ALONE, {"numeric": []}, "there is no number to put noise on - choose missing or"),
    ],
)
def test_rules_of_other_tasks_and_places(
    group: str, rule: RuleConf, promote: PromoteConf, data: dict[str, Any], said: str
) -> None:
    groups: dict[str, dict[str, RuleConf]] = {"rules": {"floor": FLOOR}}
    groups.setdefault(group, {})["mine"] = rule
    with pytest.raises(ConfigError, match=said):
        checks.check_gate(GateConf(**groups), promote, EvaluateConf(), make_conf(**{"slices": ["shop"]} | data))


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_is_known(policy: str) -> None:
    checks.check_decide(DecideConf(policy=policy))


@pytest.mark.parametrize("metric", ["model.log_loss", "model.log_loss.low", "drift.share", "pipeline.seconds.train"])
def test_metrics_that_a_rule_may_watch(metric: str) -> None:
    checks.check_act(ActConf(rules={"x": ActRule(metric=metric, threshold=1.0)}), ["log_loss"])


@pytest.mark.parametrize(
    ("rule", "more", "message"),
    [
        (
            RuleConf(kind="calibration", threshold=0.1),
            {"shadow": 3},
            "gate.shadow.one: the interval of expected_calibration_error cannot be widened to a look - move it to "
            "gate.rules, or set promote.shadow_windows=1",
        ),
        (
            RuleConf(kind="calibration", threshold=0.1),
            {"wear": "spend"},
            "gate.rules.one: the interval of expected_calibration_error cannot be widened to a part of alpha - set "
            "gate.wear=refuse or ladder",
        ),
        (
            RuleConf(kind="worst_slice"),
            {"find_slices": 0},
            "gate.rules.one.kind: no slices are looked for - set evaluate.find_slices=10, or remove it",
        ),
    ],
)
def test_a_rule_that_could_never_pass_its_way_of_looking_is_refused(
    rule: RuleConf, more: dict[str, Any], message: str
) -> None:
    floor = RuleConf(kind="floor", metric="roc_auc_score", threshold=0.5)
    shadow = "shadow" in more
    gate = GateConf(
        rules={"floor": floor} | ({} if shadow else {"one": rule}),
        shadow={"floor": floor} | ({"one": rule} if shadow else {}),
        wear=more.get("wear", "refuse"),
    )
    evaluate = EvaluateConf(find_slices=more.get("find_slices", 10))
    data = DataConf(path="p", id="i", time="t", label="l", task="binary", numeric=["x"])
    with pytest.raises(ConfigError) as error:
        checks.check_gate(gate, PromoteConf(shadow_windows=more.get("shadow", 1)), evaluate, data)
    assert str(error.value) == message
