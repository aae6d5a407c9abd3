"""Alerts folded from the ledger: how they stand, and whether what was done helped; on cycles of one number."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from scipy.stats import binomtest

from engine.promote.ledger import Ledger
from engine.records import Done, Word, to_plain
from engine.records.items import ACKNOWLEDGED, ACTED, UNDONE
from engine.report.alerting import Alert, Helped, State, alerts_of, blind, said, tally
from tests.engine.house import LOOP, House, events, guarded, rule
from tests.engine.promote.conftest import bring, make

WITHIN = 2


@pytest.fixture
def played(tmp_path: Path) -> Callable[..., tuple[House, tuple[Alert, ...]]]:
    """A house in which a rule freezes, after windows with so many rows; and its alerts."""

    def play(*rows: float, **more: object) -> tuple[House, tuple[Alert, ...]]:
        found = House(tmp_path, guarded(bad=rule(**({"action": "freeze"} | more))))
        found.run(*rows)
        return found, alerts_of(found.rows(), WITHIN)

    return play


@pytest.mark.parametrize(
    ("rows", "helped", "why"),
    [
        ((20, 5), Helped.YES, "good again in w1"),
        ((20, 20, 5), Helped.YES, "good again in w2"),
        ((20, 20, 20, 5), Helped.NO, "neither good again nor a model promoted within 2 windows"),
        ((20,), Helped.EARLY, ""),
        ((20, 20), Helped.EARLY, ""),
        ((20, 20, 20), Helped.NO, "neither good again nor a model promoted within 2 windows"),
    ],
)
def test_an_action_helped_where_the_rule_is_good_again_in_time(
    played: Callable[..., tuple[House, tuple[Alert, ...]]], rows: tuple[float, ...], helped: Helped, why: str
) -> None:
    _, (alert,) = played(*rows)
    assert (alert.helped, alert.why) == (helped, why)
    assert (alert.state is State.RESOLVED) == (rows[-1] == 5)


def test_the_good_windows_count_from_the_first_one_on(
    played: Callable[..., tuple[House, tuple[Alert, ...]]],
) -> None:
    """It takes two good windows to resolve it: the first of them is in time, the second is not asked."""
    _, (alert,) = played(20, 20, 5, 5, resolve=2)
    assert (alert.helped, alert.why, alert.until) == (Helped.YES, "good again in w2", "w3")


def test_a_better_model_is_help_where_a_person_s_word_is_none(
    played: Callable[..., tuple[House, tuple[Alert, ...]]],
) -> None:
    found, _ = played(20)
    model = make(found.store, "better")
    with Ledger.open(found.url, LOOP) as ledger:
        bring(ledger, model)  # its rows are of window 2026-01
        ledger.append("cycle", "c", {}, window="2026-01")
    (alert,) = alerts_of(found.rows(), WITHIN)
    assert (alert.helped, alert.why) == (Helped.YES, f"{model[:8]} was promoted in 2026-01")
    manual = [row for row in found.rows() if row.kind != "stage"]
    assert alerts_of(manual, WITHIN)[0].helped is Helped.EARLY


def test_what_was_taken_back_did_not_help_and_what_was_not_done_is_not_judged(
    played: Callable[..., tuple[House, tuple[Alert, ...]]],
) -> None:
    found, (alert,) = played(20, 5)
    with Ledger.open(found.url, LOOP) as ledger:
        ledger.append(UNDONE, "u", to_plain(Word(of=alert.acted[0].id, by="ada", note="wrong")))
    (alert,) = alerts_of(found.rows(), WITHIN)
    assert (alert.helped, alert.why, alert.undone[0].by) == (Helped.NO, "ada took it back", "ada")
    rows = [row for row in found.rows() if row.kind != ACTED]
    assert alerts_of(rows, WITHIN)[0].helped is Helped.NOTHING


def test_states_and_who_has_it_in_hand(played: Callable[..., tuple[House, tuple[Alert, ...]]]) -> None:
    found, (alert,) = played(20, 20, cooldown=9)
    assert (alert.state, alert.windows, alert.since, alert.until) == (State.OPEN, 2, "w0", "")
    with Ledger.open(found.url, LOOP) as ledger:
        ledger.append(ACKNOWLEDGED, "a", to_plain(Word(of=alert.id, by="ada", note="I look")))
    (alert,) = alerts_of(found.rows(), WITHIN)
    assert alert.state is State.ACKNOWLEDGED
    assert alert.acknowledged == Word(of=alert.id, by="ada", note="I look")


def test_two_episodes_are_two_alerts(played: Callable[..., tuple[House, tuple[Alert, ...]]]) -> None:
    _, alerts = played(20, 5, 20, 20, 5)
    assert [(a.since, a.until, a.windows) for a in alerts] == [("w0", "w1", 2), ("w2", "w4", 3)]
    assert [len(a.done) for a in alerts] == [1, 2]


def test_precision_is_a_share_with_wilson_s_interval(tmp_path: Path) -> None:
    """Three episodes: good again at once, too late, and just begun; a rule that only tells is not counted."""
    act = guarded(bad=rule(action="freeze"), seen=rule())
    found = House(tmp_path, act)
    found.run(20, 5, 20, 20, 20, 20, 5, 20)
    bad, seen, every = tally(alerts_of(found.rows(), WITHIN))
    assert (bad.rule, bad.raised, bad.acted, bad.helped, bad.early, bad.open) == ("bad", 3, 3, 1, 1, 1)
    assert (seen.raised, seen.acted, seen.precision.n) == (3, 0, 0)
    assert (every.rule, every.raised, every.acted) == ("", 6, 3)
    truth = binomtest(1, 2).proportion_ci(0.95, method="wilson")
    assert (every.precision.value, every.precision.n) == (0.5, 2)
    assert (every.precision.low, every.precision.high) == pytest.approx((truth.low, truth.high))
    assert seen.precision.reason == "no alert has acted long enough ago"


def test_items_of_earlier_releases_are_of_no_alert_and_are_read(tmp_path: Path) -> None:
    """What 0.1 wrote: an item without an alert; its rule begins a new one."""
    found = House(tmp_path, guarded(bad=rule()))
    old = {
        "id": "old", "rule": "bad", "metric": "data.rows", "value": 20.0, "threshold": 10.0, "severity": "detected",
        "owner": "ml", "action": "log", "window": "w0", "message": "so",
    }  # fmt: skip
    with Ledger.open(found.url, LOOP) as ledger:
        ledger.append("action", "old", old)
    assert alerts_of(found.rows(), WITHIN) == ()
    assert found.past().items["bad"].open is False
    assert events(found.run(5, 20)) == ["", "raised"]
    assert len(alerts_of(found.rows(), WITHIN)) == 1


def test_a_rule_that_cannot_ring_is_named_while_it_cannot(tmp_path: Path) -> None:
    found = House(tmp_path, guarded(bad=rule()))
    found.run(20)
    assert blind(found.rows()) == ()
    assert blind([]) == ()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (Done.DONE, "freeze done"),
        (Done.WOULD, "freeze would be done"),
        (Done.LIMITED, "freeze not done: why"),
        (Done.REFUSED, "freeze cannot be done: why"),
    ],
)
def test_what_came_of_an_action_in_words(
    played: Callable[..., tuple[House, tuple[Alert, ...]]], state: Done, words: str
) -> None:
    _, (alert,) = played(20)
    assert said(dataclasses.replace(alert.acted[0], state=state, reason="why")) == words
