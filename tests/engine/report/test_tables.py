from __future__ import annotations

from engine.report.tables import drift_table, plain, validation_table, verdict_table
from tests.engine.report.fixtures import FEATURES, year

CYCLES = year()


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
