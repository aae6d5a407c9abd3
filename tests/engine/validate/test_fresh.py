"""How old rows are, by the clock that is handed in."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest

from engine.errors import DataError
from engine.records import CheckOutcome, Freshness, Severity, ValidationReport, digest
from engine.records.plain import from_plain, to_plain
from engine.validate.conf import Severities, ValidateConf
from engine.validate.fresh import age_hours, as_check, check_fresh, freshness
from engine.validate.schema import Schema, diff
from engine.validate.text import from_yaml, to_yaml
from engine.validate.window import validate
from tests.engine.validate.conftest import as_window

OK, VIOLATED, UNDECIDABLE = CheckOutcome.OK, CheckOutcome.VIOLATED, CheckOutcome.UNDECIDABLE
NEWEST = dt.datetime(2024, 5, 2, 23, 58, 33, 600000, dt.UTC)  # of the good window


def after(hours: float) -> dt.datetime:
    return NEWEST + dt.timedelta(hours=hours)


def declared(schema: Schema, hours: float | None) -> Schema:
    text = to_yaml(schema)
    if hours is not None:
        text = text.replace("columns:\n", f"max_age_hours: {hours:g}\ncolumns:\n", 1)
    return from_yaml(text)


def looked_at(
    table: pa.Table, schema: Schema | None, now: dt.datetime | None, severity: str = "warn", **more: Any
) -> ValidationReport:
    conf = ValidateConf(severity=Severities(fresh=severity))
    return validate(as_window(table), schema, conf, now=now, **more)


def outcome(report: ValidationReport) -> CheckOutcome | None:
    return next((check.outcome for check in report.checks if check.name == "fresh"), None)


@pytest.mark.parametrize(
    ("hours", "found"),
    [(0.5, OK), (36.0, OK), (36.001, VIOLATED), (1e5, VIOLATED), (-0.05, OK), (-0.1, VIOLATED)],
)
def test_a_window_is_fresh_up_to_the_declared_age_and_not_of_the_future(
    good: pa.Table, schema: Schema, hours: float, found: CheckOutcome
) -> None:
    assert outcome(looked_at(good, declared(schema, 36), after(hours))) is found


def test_nothing_is_asked_by_default(good: pa.Table, schema: Schema) -> None:
    """Flights of 2013 are no fault of theirs."""
    report = looked_at(good, schema, dt.datetime(2040, 1, 1, tzinfo=dt.UTC))
    assert (outcome(report), report.fresh, report.usable) == (None, None, True)
    assert outcome(looked_at(good, declared(schema, 36), None)) is None  # founding windows have no clock
    assert outcome(looked_at(good, declared(schema, 36), after(99), "off")) is None


def test_a_stale_window_does_what_its_severity_says(good: pa.Table, schema: Schema) -> None:
    for severity, usable in (("block", False), ("warn", True)):
        report = looked_at(good, declared(schema, 36), after(40), severity)
        assert report.usable is usable
        check = next(c for c in report.checks if c.name == "fresh")
        assert (check.observed, check.expected, check.reason) == (
            "newest row 40 hours before 2024-05-04T15:58:33",
            "at most 36 hours old",
            "the source may have stopped",
        )


def test_history_teaches_what_age_is_usual(good: pa.Table, schema: Schema) -> None:
    """The oldest age seen and one length of the window; three windows at least, and a person's word stands."""
    ages = [5.0, 7.0, 6.0]
    length = age_hours("2024-05-02T00:00:00", NEWEST.isoformat())
    report = looked_at(good, schema, after(7 + length - 0.01), ages=ages)
    assert outcome(report) is OK
    assert report.fresh is not None
    assert (report.fresh.limit_hours, report.fresh.taught_by) == (pytest.approx(7 + length), 3)
    assert outcome(looked_at(good, schema, after(7 + length + 0.01), ages=ages)) is VIOLATED
    assert outcome(looked_at(good, schema, after(999), ages=ages[:2])) is None
    assert outcome(looked_at(good, schema, after(999), ages=[*ages[:2], -4.0])) is None
    assert outcome(looked_at(good, declared(schema, 6), after(6.5), ages=ages)) is VIOLATED
    text = next(c.expected for c in report.checks if c.name == "fresh")
    assert text == f"at most {7 + length:.4g} hours old, as of 3 windows before"


def test_a_backfill_teaches_its_own_age(good: pa.Table, schema: Schema) -> None:
    """Daily windows of eleven years ago, read within a minute: each is a day younger than the one before."""
    old = 11 * 365 * 24.0
    ages = [old + 24 * k for k in (3, 2, 1)]
    assert outcome(looked_at(good, schema, after(old), ages=ages)) is OK


def test_what_has_no_time_is_undecidable(good: pa.Table, schema: Schema) -> None:
    at = good.column_names.index("at")
    for broken in (
        good.drop_columns(["at"]),
        good.set_column(at, "at", pa.nulls(1000, pa.timestamp("us", "UTC"))),
        good.set_column(at, "at", good["size"]),
        good.set_column(at, "at", pa.array([2**62] * 1000, pa.timestamp("s"))),
    ):
        report = looked_at(broken, declared(schema, 36), after(1), "block")
        assert (outcome(report), report.usable) == (UNDECIDABLE, False)


def test_dates_and_times_without_a_zone_are_utc(good: pa.Table, schema: Schema) -> None:
    at = good.column_names.index("at")
    for kind, hours in ((pa.timestamp("us"), 0.0), (pa.date32(), 24.0 - 1.44 / 60)):
        table = good.set_column(at, "at", good["at"].cast(pa.timestamp("us")).cast(kind, safe=False))
        report = looked_at(table, declared(schema, 36), after(0))
        assert report.fresh is not None
        assert age_hours(report.fresh.newest, report.fresh.now) == pytest.approx(hours, abs=0.01)


def test_what_was_recorded_gives_the_check_again_bit_for_bit(good: pa.Table, schema: Schema) -> None:
    for hours in (1.0 / 3, 40.123456789, -7.7):
        report = looked_at(good, declared(schema, 36), after(hours).astimezone(dt.timezone(dt.timedelta(hours=5))))
        seen = from_plain(ValidationReport, to_plain(report)).fresh
        assert seen is not None
        assert seen.now.endswith("+00:00")
        assert as_check(seen, Severity.WARN) == next(c for c in report.checks if c.name == "fresh")


def test_an_age_needs_a_clock_and_a_limit() -> None:
    assert freshness(NEWEST, None, 36) is None
    assert freshness(NEWEST, NEWEST, None) is None
    seen = Freshness(newest="", now=NEWEST.isoformat(), limit_hours=1)
    assert check_fresh(seen).reason == "no row has a time that can be read"


def test_the_file_keeps_the_limit_and_old_fingerprints_stand(schema: Schema) -> None:
    asked = declared(schema, 36.5)
    assert (asked.max_age_hours, from_yaml(to_yaml(asked))) == (36.5, asked)
    assert asked.fingerprint() != schema.fingerprint()
    assert "max_age_hours: " not in to_yaml(schema).split("format:")[1]
    assert diff(schema, asked) == ("max_age_hours: not declared -> 36.5",)
    said = Schema.from_dict(schema.to_dict()).to_dict()
    del said["max_age_hours"]  # which an earlier release did not have
    assert schema.fingerprint() == digest("schema", said)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("0", "is 0 - use hours above 0, such as 36"),
        ("-1", "is -1 - use hours above 0, such as 36"),
        (".inf", "is inf - use hours above 0, such as 36"),
        (".nan", "is nan - use hours above 0, such as 36"),
        ("soon", "is 'soon' - use a number"),
    ],
)
def test_a_limit_that_is_none_is_refused(schema: Schema, value: str, said: str) -> None:
    text = to_yaml(schema).replace("columns:\n", f"max_age_hours: {value}\ncolumns:\n", 1)
    with pytest.raises(DataError) as error:
        from_yaml(text)
    assert str(error.value) == f"schema.yaml:max_age_hours: {said}"
