from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from engine.plain import to_plain
from engine.report.tables import drift_table, history_table, plain, validation_table, verdict_table
from tests.engine.report.fixtures import FEATURES, FIRST, SECOND, WINDOWS, year

CYCLES = year()


@dataclass
class Row:
    seq: int
    kind: str
    payload: dict[str, Any] = field(default_factory=dict)
    window: str = WINDOWS[2]
    model: str = SECOND
    hash: str = "9" * 64
    at: str = "2026-01-02T03:04:05.000006+00:00"


def test_drift_table_lists_every_column_moved_ones_first() -> None:
    monitor = CYCLES[4].monitor
    assert monitor is not None
    lines = plain(drift_table(monitor.baseline)).splitlines()
    rows = [line for line in lines if line.split() and line.split()[0] in FEATURES]
    assert len(rows) == 20
    moved = len(monitor.baseline.drifted)
    assert [row.split()[0] for row in rows[:moved]] == [c.column for c in monitor.baseline.drifted]
    assert rows[moved].startswith("precipitation")
    assert rows[moved].count("undecidable") == 3
    assert "no value is present" in rows[moved]
    assert "false alarms in 1.0 % of windows without drift" in lines[-1]
    assert "nan" not in "\n".join(lines)


def test_verdict_table_shows_each_rule_with_interval_bound_and_rows_needed() -> None:
    text = plain(verdict_table(CYCLES[7].verdicts[0]))
    assert "0.0020 [-0.0020, 0.0060]" in text
    assert "41,000" in text
    assert "gate offline: inconclusive for dddddddd against bbbbbbbb on 2013-08" in text
    assert "slice_guard" in text


def test_a_first_verdict_says_that_floors_alone_judged() -> None:
    assert "by absolute floors alone" in plain(verdict_table(CYCLES[0].verdicts[0]))


def test_validation_table_shows_what_does_not_hold() -> None:
    text = plain(validation_table(CYCLES[3].validation))
    assert "wind_gust" in text
    assert "1 of 2 checks hold" in text
    clean = plain(validation_table(CYCLES[1].validation))
    assert len(clean.splitlines()) == 1
    assert "1 of 1 checks hold" in clean


def payloads() -> list[tuple[str, Any, str]]:
    cycle, alarmed = CYCLES[2], CYCLES[7]
    return [
        ("decision", cycle.decision, "retune: 410 or 95"),
        ("candidate", cycle.candidate, "4 trials, best roc_auc_score 0.7290"),
        ("evaluation", cycle.evaluation, "on 2013-03, 9,000 rows"),
        ("verdict", cycle.verdicts[0], "gate offline pass: "),
        ("stage", cycle.changes[0], "new -> candidate: trained"),
        ("stage", cycle.changes[1], "candidate -> staging: the offline gate passed"),
        ("action", alarmed.actions[0], "suspected auroc_low: log, roc_auc_score fell below 0.70"),
        ("cycle", cycle, f"24,782 rows, in production: {FIRST[:8]}"),
    ]


@pytest.mark.parametrize(("kind", "record", "said"), payloads())
def test_history_says_what_each_kind_of_row_means(kind: str, record: object, said: str) -> None:
    text = history_table([Row(7, kind, to_plain(record))])
    (line,) = [line for line in text.splitlines() if line.strip().startswith("7")]
    assert "2026-01-02 03:04:05" in line
    assert kind in line
    assert said in line


def test_history_of_an_unknown_kind_and_of_nothing() -> None:
    assert "note" in history_table([Row(1, "note", {"free": "form"})])
    assert history_table([]) == "The ledger is empty: no window has been run yet."


def test_text_of_the_ledger_cannot_drive_the_terminal() -> None:
    text = history_table([Row(1, "decision", {"action": "keep", "reason": "\x1b[2J[red]x"})])
    assert "\x1b" not in text
    assert "[red]x" in text
