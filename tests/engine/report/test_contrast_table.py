"""What `tidegate drift` prints: most harmful columns first, in words, under the promise that decided."""

from __future__ import annotations

from dataclasses import replace

from engine.records import ColumnDrift, DriftOutcome, DriftReport
from engine.records.contrast import Contrast, Guess, LeftOut, Portrait, Side
from engine.report import happened
from engine.report.contrast_table import QUIET, contrast_table
from engine.report.tables import plain
from tests.engine.report.fixtures import FEATURES, year


def of_the_year() -> DriftReport:
    monitor = year()[4].monitor
    assert monitor is not None
    return monitor.baseline


def shown(report: DriftReport, **more: object) -> list[str]:
    fields = {"portraits": (), "left_out": (), "guesses": (), **more}
    return plain(contrast_table(Contrast(drift=report, **fields))).splitlines()  # type: ignore[arg-type]


def test_every_column_is_listed_moved_ones_first_then_those_that_cannot_be_judged() -> None:
    report = of_the_year()
    lines = shown(report)
    rows = [line for line in lines if line.split() and line.split()[0] in FEATURES]
    assert len(rows) == 20
    moved = len(report.drifted)
    assert [row.split()[0] for row in rows[:moved]] == [c.column for c in report.drifted]
    assert rows[moved].startswith("precipitation")
    assert "no value is present" in rows[moved]
    assert f"{moved} of 20 columns drifted" in "\n".join(lines)
    assert "1 cannot be judged" in "\n".join(lines)
    assert "false alarms in 1.0 % of windows without drift" in lines[-1]
    assert "nan" not in "\n".join(lines)


def quiet(name: str, effect: float = 0.01) -> ColumnDrift:
    return replace(of_the_year().columns[0], column=name, effect=effect, outcome=DriftOutcome.NO_DRIFT)


def test_many_quiet_columns_are_counted_and_not_listed() -> None:
    columns = tuple(quiet(f"c{k:03d}", 0.001 * k) for k in range(QUIET + 7))
    lines = shown(replace(of_the_year(), columns=columns))
    assert "7 more columns without drift, each with a smaller effect" in lines
    listed = [line.split()[0] for line in lines if line.startswith("c0")]
    assert listed == [f"c{k:03d}" for k in range(QUIET + 6, 6, -1)]
    assert f"no drift in {QUIET + 7} columns" in lines


def test_harm_goes_before_effect_and_is_said_in_points_of_the_metric() -> None:
    base = replace(of_the_year().columns[0], outcome=DriftOutcome.DRIFT, floor=0.1)
    columns = (
        replace(base, column="loud", effect=0.9, importance=0.0, harm=0.0),
        replace(base, column="costly", effect=0.2, importance=0.06, harm=0.012),
        replace(base, column="unknown", effect=0.3),
    )
    lines = shown(replace(of_the_year(), columns=columns, metric="roc_auc_score"))
    rows = [line for line in lines if line.split() and line.split()[0] in ("loud", "costly", "unknown")]
    assert [row.split()[0] for row in rows] == ["costly", "loud", "unknown"]
    assert "worth up to 0.012 of roc_auc_score" in rows[0]
    assert "this model's roc_auc_score does not depend on it" in rows[1]
    assert "roc_auc_score" not in rows[2]


def test_guesses_name_their_cure_and_nothing_in_a_name_drives_the_terminal() -> None:
    side = Side(rows=10, missing=0, middle=(), shares=(1.0,))
    evil = "a\x1b[31m"
    column = replace(
        of_the_year().columns[0], column=evil, outcome=DriftOutcome.DRIFT, statistic="total_variation_distance"
    )
    portrait = Portrait(column=evil, reference=side, live=side, categories=(evil,), new=(evil, *"bcd"), n_new=9)
    guesses = tuple(Guess(column=c, kind="categorical", reason="whole numbers with 2 values") for c in ("a", "b"))
    out = (LeftOut(column=evil, reason="is an id: every value is another"),)
    text = "\n".join(
        shown(replace(of_the_year(), columns=(column,)), portraits=(portrait,), left_out=out, guesses=guesses)
    )
    assert "\x1b" not in text
    assert "taken for categories: a, b (whole numbers with 2 values); if not: numeric=[a,b]" in text
    assert "and 6 more" in text


def test_labels_and_all_columns_together_are_said_in_words_in_the_table_and_on_the_page() -> None:
    base = of_the_year().columns[0]
    moved = {"outcome": DriftOutcome.DRIFT, "effect": 0.2}
    report = replace(
        of_the_year(),
        columns=(
            replace(base, column="y", kind="label", statistic="total_variation_distance", **moved),
            replace(base, column="all columns together", kind="multivariate", statistic="mmd", **moved),
        ),
    )
    said = "the labels moved: TV 0.200", "columns go together differently: MMD 0.200"
    assert said[1] in " ".join(" ".join(shown(report)).split())
    cycles = year()[:5]
    monitor = cycles[4].monitor
    assert monitor is not None
    page = str(happened.drift([*cycles[:4], replace(cycles[4], monitor=replace(monitor, baseline=report))]))
    assert f"In the newest window: {', '.join(said)}." in page
