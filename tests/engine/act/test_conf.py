"""Rules as they are written: what is refused, and what the shipped ones say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine.act import ACTIONS, ActConf, EscalateConf, LimitConf, RuleConf
from engine.config import checks
from engine.config.schema import compose_config
from engine.effects import KINDS, ChannelConf
from engine.errors import ConfigError
from engine.scoring.scores import GREATER_IS_BETTER

TEAM = {"team": ChannelConf(kind="command", argv=["/bin/true"])}


def rule(**more: Any) -> RuleConf:
    return RuleConf(metric="data.rows", threshold=1.0, **more)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (
            lambda: rule(windows=3, within=2),
            "act.rules:within: 3 of 2 windows can never be - choose as",
        ),
        (lambda: rule(resolve=0), "act.rules:resolve: 0 is below 1 - choose 1 or more"),
        (lambda: rule(cooldown=-1), "act.rules:cooldown: -1 is below 0 - choose 0 or more"),
        (lambda: rule(actions=["panic"]), "act.rules:actions: 'panic' is unknown - choose one of log freeze rollback"),
        (lambda: EscalateConf(after=-1), "act.rules:escalate.after: -1 is below 0 - choose 1 or more, or 0 for never"),
        (lambda: LimitConf(most=-1, windows=1), "act.limits:most: -1 is below 0 - choose 0 or more"),
        (lambda: LimitConf(most=1, windows=0), "act.limits:windows: 0 is below 1 - choose 1 or more"),
        (lambda: ActConf(limits={"log": LimitConf(most=1, windows=1)}), "act.limits: 'log' is unknown - choose one of"),
        (lambda: ActConf(helped_within=0), "act.helped_within: 0 is below 1 - choose 1 or more"),
        (lambda: ActConf(deliver_seconds=0), "act.deliver_seconds: 0 is not between 0 and 600 - choose some seconds"),
        (
            lambda: ActConf(channels=TEAM, deliver_seconds=5),
            "act.channels.team.timeout: 10 s is longer than act.deliver_seconds = 5: no slow send",
        ),
        (
            lambda: ActConf(rules={"a": rule(tell=["team"])}),
            "act.rules.a.tell: there is no channel 'team' - describe it in act.channels",
        ),
        (
            lambda: ActConf(rules={"a": rule(escalate=EscalateConf(tell=["pager"]))}, channels=TEAM),
            "act.rules.a.tell: there is no channel 'pager' - choose one of team",
        ),
    ],
)
def test_refusals(make: Callable[[], object], line: str) -> None:
    with pytest.raises(ConfigError) as error:
        make()
    assert str(error.value).startswith(line)


def test_a_fallback_is_somebody_s_word() -> None:
    with pytest.raises(ConfigError, match=r"^act.rules.a.owner: a fallback is the word of the rule's owner"):
        checks.check_act(ActConf(rules={"a": rule(action="fallback")}), [])
    checks.check_act(ActConf(rules={"a": rule(action="fallback", owner="ml")}), [])


def test_each_action_is_carried_out_once_in_its_order() -> None:
    assert list(rule(action="freeze", actions=["log", "retrain", "freeze"]).carried) == ["freeze", "retrain"]
    assert list(rule().carried) == []


@pytest.mark.parametrize("name", ["default", "guarded"])
def test_the_shipped_rules_compose_and_are_checked(name: str) -> None:
    conf = compose_config([f"act={name}", "out=runs/x"]).act
    checks.check_act(conf, GREATER_IS_BETTER)
    assert conf.rules


def test_the_guarded_example_shows_each_kind_and_is_a_dry_run() -> None:
    conf = compose_config(["act=guarded", "out=runs/x"]).act
    assert {action for rule in conf.rules.values() for action in rule.carried} == set(ACTIONS) - {"log"}
    assert {channel.kind for channel in conf.channels.values()} == set(KINDS)
    assert {name for rule in conf.rules.values() for name in (*rule.tell, *rule.escalate.tell)} == set(conf.channels)
    assert conf.dry_run
    quiet = compose_config(["act=default", "out=runs/x"]).act
    assert not any(list(rule.carried) + rule.tell for rule in quiet.rules.values())
