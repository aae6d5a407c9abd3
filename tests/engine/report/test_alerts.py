"""Who was told and what was done, for people: the section of the page, and lines on the terminal."""

from __future__ import annotations

import dataclasses

import pytest

from engine.records import Acted, ActionItem, Cycle, Done, Event, Word
from engine.records.plain import to_plain
from engine.report import alerts
from engine.report.alerting import alerts_of, tally
from engine.report.tables import plain
from tests.engine.cycles import cycle
from tests.engine.report.test_ledger import Row
from tests.engine.report.test_terminal import told

ITEM = ActionItem(
    id="i1", rule="drift", metric="drift.share", value=0.7, threshold=0.5, severity="detected", owner="data",
    action="quarantine", window="w1", message="drift.share = 0.7 > 0.5", alert="a" * 64, since="w1",
    actions=("quarantine",), tell=("team",),
)  # fmt: skip
ACTED = Acted(
    id="d" * 64, item="i1", alert="a" * 64, rule="drift", action="quarantine", window="w1", state=Done.DONE,
    reason="drift.share = 0.7 > 0.5",
)  # fmt: skip
GOOD = dataclasses.replace(
    ITEM, id="i2", window="w2", event=Event.RESOLVED, action="log", actions=(), windows=2, quiet=1, value=0.1,
    message="drift.share = 0.1 is good again",
)  # fmt: skip


def first(**more: object) -> Cycle:
    return cycle(window="w1", actions=(ITEM,), acted=(dataclasses.replace(ACTED, **more),))  # type: ignore[arg-type]


SECOND = cycle(window="w2", actions=(GOOD,))
ROWS = [
    Row(1, "action", to_plain(ITEM), window="w1"),
    Row(2, "acted", to_plain(ACTED), window="w1"),
    Row(3, "cycle", {}, window="w1"),
    Row(4, "action", to_plain(GOOD), window="w2"),
    Row(5, "cycle", {}, window="w2"),
]


def test_the_section_says_who_was_told_what_was_done_and_whether_it_helped() -> None:
    text = str(alerts.section([first(), SECOND], ROWS, {"act": {"helped_within": 2}}))
    for words in ("data, team", "w1: quarantine done", "helped: good again in w2", "1 of 1 helped within 2 windows"):
        assert words in text, words
    assert "resolved" in text


def test_there_is_no_section_where_nothing_rang() -> None:
    assert alerts.section([cycle(actions=())], [], {}) is None


def test_items_of_an_earlier_release_are_shown_as_they_were() -> None:
    old = dataclasses.replace(ITEM, alert="", actions=(), action="rollback")
    text = str(alerts.section([cycle(actions=(old,))], [Row(1, "action", to_plain(old))], {}))
    assert "rollback" in text
    assert "precision" not in text


def test_text_of_a_rule_cannot_become_an_element() -> None:
    evil = dataclasses.replace(ITEM, message="<script>x</script>", rule="<b>")
    text = str(alerts.section([cycle(actions=(evil,))], [Row(1, "action", to_plain(evil))], {}))
    assert "<script>" not in text
    assert "<b>" not in text


def test_messages_are_counted_by_channel() -> None:
    message = {"version": 1, "key": "k", "loop": "world", "event": "raised", "text": "so"}
    rows = [Row(n, "effect", {"channel": "team", "message": message}, id=f"e{n}") for n in (1, 2)]
    sent = Row(3, "delivery", {"effect": "e1", "outcome": "delivered", "try": 1, "said": "200"})
    assert "Messages delivered: team 1 of 2." in str(alerts.section([first()], [*rows, sent], {}))


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (Done.DONE, "  drift: quarantine done"),
        (Done.WOULD, "  drift: quarantine would be done"),
        (Done.REFUSED, "  drift: quarantine cannot be done: why"),
    ],
)
def test_the_terminal_says_what_came_of_it(state: Done, line: str) -> None:
    lines = told(cycles=(first(state=state, reason="why"), SECOND))
    assert "  detected drift: drift.share = 0.7 > 0.5 -> quarantine, data" in lines
    assert line in lines
    assert "  detected drift (resolved): drift.share = 0.1 is good again -> log, data" in lines


def test_the_table_gives_the_ids_to_acknowledge_and_undo_by() -> None:
    word = Word(of="a" * 64, by="ada", note="")
    rows = [*ROWS[:3], Row(6, "acknowledged", to_plain(word))]
    text = plain(alerts.alerts_table(alerts_of(rows, 3)))
    for words in ("aaaaaaaa", "dddddddd", "acknowledged", "data; ada has it in hand", "quarantine done", "too early"):
        assert words in text, words
    assert plain(alerts.alerts_table([])) == "No alert was ever raised."


def test_the_sentence_without_an_action_claims_no_precision() -> None:
    rows = [Row(1, "action", to_plain(dataclasses.replace(ITEM, actions=())), window="w1")]
    (*_, every) = tally(alerts_of(rows, 3))
    said = alerts.tally_sentence(every, 3)
    assert said == "1 alert: 1 open, 0 acknowledged, 0 resolved; 0 led to an action."
