from __future__ import annotations

from engine.report.tables import plain, validation_table, verdict_table
from tests.engine.report.fixtures import year

CYCLES = year()


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
