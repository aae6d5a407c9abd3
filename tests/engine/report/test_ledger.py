"""The ledger as a person reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from engine.records.plain import to_plain
from engine.report.ledger import history_table
from engine.report.tables import plain
from tests.engine.report.fixtures import FIRST, SECOND, WINDOWS, year

CYCLES = year()


@dataclass
class Row:
    seq: int
    kind: str
    payload: dict[str, Any] = field(default_factory=dict)
    window: str = WINDOWS[2]
    model: str = SECOND
    hash: str = "9" * 64
    id: str = "e" * 64
    at: str = "2026-01-02T03:04:05.000006+00:00"


def payloads() -> list[tuple[str, Any, str]]:
    cycle, alarmed = CYCLES[2], CYCLES[7]
    return [
        ("decision", cycle.decision, "retune: 410 or 95"),
        ("candidate", cycle.candidate, "4 trials, best roc_auc_score 0.7290"),
        ("evaluation", cycle.evaluation, "on 2013-03, 9,000 rows"),
        ("verdict", cycle.verdicts[0], "pass: offline gate: "),
        ("stage", cycle.changes[0], "new -> candidate: trained"),
        ("stage", cycle.changes[1], "candidate -> staging: the offline gate passed"),
        ("action", alarmed.actions[0], "suspected: auroc_low: log, roc_auc_score fell below 0.70"),
        ("cycle", cycle, f"24,782 rows, in production: {FIRST[:8]}"),
    ]


@pytest.mark.parametrize(("kind", "record", "said"), payloads())
def test_history_says_what_each_kind_of_row_means(kind: str, record: object, said: str) -> None:
    text = plain(history_table([Row(7, kind, to_plain(record))]))
    (line,) = [line for line in text.splitlines() if line.strip().startswith("7")]
    assert "2026-01-02 03:04:05" in line
    assert kind in line
    assert said in line


def test_history_of_an_unknown_kind_and_of_nothing() -> None:
    assert "note" in plain(history_table([Row(1, "note", {"free": "form"})]))
    assert plain(history_table([])) == "The ledger is empty: no window has been run yet."


def test_text_of_the_ledger_cannot_drive_the_terminal() -> None:
    text = plain(history_table([Row(1, "decision", {"action": "keep", "reason": "\x1b[2J[red]x"})]))
    assert "\x1b" not in text
    assert "[red]x" in text
