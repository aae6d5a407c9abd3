"""One alert, from the window that raises it to the one that resolves it: each item is made of the one before."""

from __future__ import annotations

import math
from typing import Any

import pytest

from engine.act import ActConf, EscalateConf, RuleConf, act, metrics_of
from engine.effects import ChannelConf
from engine.records import ActionItem, Event
from tests.engine.cycles import cycle

AFTER_TWO = EscalateConf(after=2)
PAGER = {"pager": ChannelConf(kind="command", argv=["/bin/true"])}


def play(
    values: list[float | None], acknowledged: dict[int, bool] | None = None, **more: Any
) -> list[ActionItem | None]:
    """What the rule `x > 10` says window by window; None: the metric is not measured in that window.

    The metric is pipeline.seconds.train, which a cycle has where it trained. `acknowledged` says after which window.
    """
    rule = RuleConf(metric="pipeline.seconds.train", threshold=10.0, owner="ml", **more)
    conf, history = ActConf(rules={"bad": rule}, channels=PAGER), list[dict[str, float]]()
    newest: dict[str, ActionItem] = {}
    found: list[ActionItem | None] = []
    known: set[str] = set()
    for index, value in enumerate(values):
        timings = {} if value is None else {"train": value}
        now = cycle(window=f"w{index}", monitor=None, timings=timings)
        items = act(history, now, conf, newest, known)
        history.append(metrics_of(now))
        newest |= {item.rule: item for item in items}
        found.append(items[0] if items else None)
        if acknowledged and index in acknowledged:
            known.add(newest["bad"].alert)
    return found


def said(found: list[ActionItem | None]) -> list[str]:
    return [item.event.value if item else "-" for item in found]


@pytest.mark.parametrize(
    ("values", "more", "events"),
    [
        ([20, 20, 5, 5], {}, "raised again resolved -"),
        ([20, 20, 20, 20, 20], {"cooldown": 2}, "raised open open again open"),
        ([20, 5, 20, 5, 5, 5], {"resolve": 2}, "raised open again open resolved -"),
        ([20, None, None, 5], {}, "raised open open resolved"),
        ([20, 5, None, 5], {"resolve": 2}, "raised open open resolved"),
        ([20, 5, 20], {}, "raised resolved raised"),
        ([20, 20, 20, 5], {"windows": 3}, "- - raised resolved"),
        ([20, 5, 20, 5, 5, 5], {"windows": 2, "within": 3}, "- - raised resolved - -"),
        ([20, 5, 20, 20, 5, 5], {"windows": 2, "within": 3}, "- - raised again open resolved"),
        (
            [20, 20, 20, 20, 5],
            {"cooldown": 9, "escalate": EscalateConf(after=2)},
            "raised open escalated open resolved",
        ),
        ([20, None, None, None], {"escalate": AFTER_TWO}, "raised open escalated open"),
        ([math.nan, 20, math.nan, 5], {}, "undecidable raised undecidable resolved"),
        ([20, 5, math.nan, 5, 5], {"resolve": 2}, "raised open undecidable open resolved"),
    ],
)
def test_episodes(values: list[float | None], more: dict[str, Any], events: str) -> None:
    assert said(play(values, **more)) == events.split()


def test_one_alert_an_episode() -> None:
    first, again, resolved, _, other = play([20, 20, 5, 5, 20])
    assert first is not None
    assert again is not None
    assert resolved is not None
    assert other is not None
    assert first.alert == again.alert == resolved.alert != other.alert
    assert [(i.since, i.windows) for i in (first, again, resolved, other)] == [
        ("w0", 1), ("w0", 2), ("w0", 3), ("w4", 1),
    ]  # fmt: skip
    assert (first.open, resolved.open, other.open) == (True, False, True)


def test_only_what_is_raised_acts_and_what_is_open_tells_nobody() -> None:
    found = play([20, 20, 20, 5], cooldown=1, action="freeze", actions=["retrain"])
    told = [(item.event.value, item.actions, item.action) for item in found if item]
    both = ("freeze", "retrain")
    assert told == [("raised", both, "freeze"), ("open", (), "log"), ("again", both, "freeze"), ("resolved", (), "log")]


def test_an_acknowledged_alert_is_neither_raised_again_nor_escalated() -> None:
    """Until it is good again: the next episode is a new alert."""
    found = play([20, 20, 20, 20, 5, 20], {0: True}, escalate=EscalateConf(after=2), action="freeze")
    assert said(found) == ["raised", "open", "open", "open", "resolved", "raised"]
    assert [item.silent for item in found if item] == [False, True, True, True, True, False]


def test_an_escalation_goes_to_others_and_is_detected() -> None:
    more = EscalateConf(after=1, owner="head", tell=["pager"])
    rule = {"escalate": more, "severity": "suspected", "cooldown": 9}
    first, escalated, resolved = play([20, 20, 5], **rule)
    assert first is not None
    assert escalated is not None
    assert resolved is not None
    assert [(i.owner, i.severity) for i in (first, escalated, resolved)] == [
        ("ml", "suspected"), ("head", "detected"), ("head", "detected"),
    ]  # fmt: skip
    assert escalated.message == "open for 2 windows and nobody acknowledged it; pipeline.seconds.train = 20 > 10"
    assert resolved.message == "pipeline.seconds.train = 5 is good again"


def test_what_is_said_of_windows_within() -> None:
    *_, item = play([20, 5, 20], windows=2, within=3)
    assert item is not None
    assert item.message == "pipeline.seconds.train = 20; > 10 in 2 of 3 windows"


def test_a_rule_that_is_new_is_not_raised_by_windows_that_are_over() -> None:
    rule = RuleConf(metric="data.rows", threshold=10.0, windows=2, within=3)
    history = [{"data.rows": 20.0}, {"data.rows": 20.0}]
    assert act(history, cycle(n_rows=5), ActConf(rules={"bad": rule})) == ()
    assert len(act(history, cycle(n_rows=20), ActConf(rules={"bad": rule}))) == 1


def test_a_rule_that_is_gone_ends_its_alert() -> None:
    (raised,) = play([20])
    assert raised is not None
    later = cycle(window="w9")
    (item,) = act([], later, ActConf(), {"bad": raised})
    assert (item.event, item.open, item.message) == (Event.WITHDRAWN, False, "bad is no more in act.rules")
    assert (item.alert, item.window, item.action) == (raised.alert, "w9", "log")
    assert act([], later, ActConf(), {"bad": item}) == ()


def test_an_undecidable_metric_does_nothing_whatever_the_rule_asks_for() -> None:
    found = play([20, math.nan], action="rollback", severity="detected")
    item = found[1]
    assert item is not None
    assert (item.action, item.actions, item.severity) == ("log", (), "suspected")
    assert item.open, "nothing is known, so nothing is resolved"
