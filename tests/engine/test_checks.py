"""What the config alone can tell: what must be let through. The lines that people see are in test_bad_input.py."""

from __future__ import annotations

import pytest

from engine import checks
from engine.act import ActConf
from engine.act import RuleConf as ActRule
from engine.decide import POLICIES, DecideConf
from engine.errors import ConfigError
from engine.evaluate import EvaluateConf
from engine.gate import GateConf, RuleConf
from engine.records import Task
from engine.scores import GREATER_IS_BETTER
from engine.train.conf import SearchConf

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


def test_paired_needs_a_metric_of_rows() -> None:
    checks.check_metrics(Task.BINARY, EvaluateConf(), SearchConf(scheduler="paired"))
    with pytest.raises(ConfigError, match=r"^search\.metric: f1_score of a binary model cannot be held row by row, "):
        checks.check_metrics(Task.BINARY, EvaluateConf(), SearchConf(scheduler="paired", metric="f1_score"))


def test_a_searcher_that_cannot_search_the_space() -> None:
    checks.check_searcher(SearchConf(searcher="tpe", space={"train.lr": "interval(0.1, 0.5)"}))
    with pytest.raises(ConfigError, match=r"^search\.space:train\.lr: an interval has no grid - "):
        checks.check_searcher(SearchConf(searcher="grid", space={"train.lr": "interval(0.1, 0.5)"}))


def test_a_space_of_groups_and_keys() -> None:
    checks.check_space({"train.lr": "tag(log, interval(1e-4, 1e-1))", "model": "tabular,digits", "model.width": "8,16"})


def test_a_gate_that_can_open() -> None:
    evaluate = EvaluateConf()
    sliced = RuleConf(kind="noninferiority", metric="roc_auc_score", margin=0.1, slice="colour")
    gate = GateConf(rules={"floor": FLOOR, "sliced": sliced}, shadow={"holds": HOLDS})
    checks.check_gate(gate, 1, evaluate, ["colour"])
    checks.check_gate(GateConf(rules={"floor": FLOOR}), 0, evaluate, [])
    with pytest.raises(ConfigError, match=r"gate\.rules\.sliced\.slice: 'colour' is not in data\.slices"):
        checks.check_gate(gate, 1, evaluate, [])
    other = EvaluateConf(primary="log_loss")
    with pytest.raises(ConfigError, match=r"gate\.rules\.sliced\.metric: slices are evaluated by log_loss alone"):
        checks.check_gate(gate, 1, other, ["colour"])


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_is_known(policy: str) -> None:
    checks.check_decide(DecideConf(policy=policy))


@pytest.mark.parametrize("metric", ["model.log_loss", "model.log_loss.low", "drift.share", "pipeline.seconds.train"])
def test_metrics_that_a_rule_may_watch(metric: str) -> None:
    checks.check_act(ActConf(rules={"x": ActRule(metric=metric, threshold=1.0)}), ["log_loss"])
