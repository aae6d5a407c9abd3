"""What a window is held against that lies outside of it: the clock, what serving saw of the same rows, and
which classes its label may have.
"""

from __future__ import annotations

import datetime as dt
import posixpath
from collections.abc import Callable, Iterable, Mapping

from engine import __version__
from engine.data.conf import DataConf
from engine.data.ids import check_kind
from engine.data.sources import SUFFIX, served
from engine.errors import ClassError, DataError
from engine.promote.entries import VALIDATION
from engine.promote.ledger import Ledger
from engine.records import Check, CheckOutcome, Severity, ValidationReport, Window, digest, from_plain, to_plain
from engine.records.cycle import STRANGE
from engine.records.fields import were_text
from engine.validate.conf import ValidateConf
from engine.validate.fresh import age_hours
from engine.validate.schema import Schema
from engine.validate.skew import skew


def moment(at: str) -> dt.datetime | None:
    """The time of a ledger row; None where there is no row."""
    return dt.datetime.fromisoformat(at) if at else None


def ages_of(seen: Iterable[Schema], came: Mapping[str, str]) -> list[float]:
    """How old the newest row of each window was when it came, in hours; windows that no ledger saw come are left out.

    seen: what the windows look like, `reference` being their name. came: window -> ISO 8601.
    """
    return [age_hours(s.until, came[s.reference]) for s in seen if s.until and s.reference in came]


def recorded(ledger: Ledger, window: str) -> ValidationReport | None:
    """What was found before, perhaps by another clock or log: it counts."""
    row = ledger.find(_id(ledger, window))
    return None if row is None else from_plain(ValidationReport, row.payload)


def record(ledger: Ledger, found: ValidationReport) -> ValidationReport:
    """Record a report that a clock or a log of serving had a part in, once; the one that the ledger holds counts.

    What its freshness was decided from is recorded with it: engine/cycle/replay.py decides it again.
    """
    fresh = next((check for check in found.checks if check.name == "fresh"), None)
    inputs = {"fresh": found.fresh, "severity": fresh.severity, "version": __version__} if fresh else None
    id = _id(ledger, found.window)
    row = ledger.append(VALIDATION, id, to_plain(found), window=found.window, inputs=inputs)
    return from_plain(ValidationReport, row.payload)


def _id(ledger: Ledger, window: str) -> str:
    return digest(VALIDATION, ledger.loop, window)


def arrived(read: Callable[[bool], Window], labelled: bool, conf: ValidateConf) -> tuple[Window, tuple[Check, ...]]:
    """A window with its labels; without them, and with the finding, where they are of a class that nobody knows."""
    try:
        return read(labelled), ()
    except ClassError as error:
        severity = conf.severity.of(STRANGE)
        if severity is None:
            raise
        return read(False), (_strange(error, severity),)


def record_strange(ledger: Ledger, error: ClassError, window: Window, severity: Severity) -> ValidationReport:
    """Record that labels of a window are of a class that nobody knows, once: from then on `Past.strange` has it, and
    nothing is trained or judged on that window, whose cycle may have been over long before its labels came.

    It is recorded at once, for a person may mend the labels before a killed cycle runs again.
    """
    checks = (_strange(error, severity),)
    found = ValidationReport(window=window.name, fingerprint=window.fingerprint, n_rows=window.n_rows, checks=checks)
    id = digest(VALIDATION, ledger.loop, window.name, STRANGE)
    return from_plain(ValidationReport, ledger.append(VALIDATION, id, to_plain(found), window=window.name).payload)


def _strange(error: ClassError, severity: Severity) -> Check:
    return Check(
        name=STRANGE,
        column=error.where.rpartition(":")[2],
        severity=severity,
        outcome=CheckOutcome.VIOLATED,
        observed=error.what,
        expected="the classes that the loop was founded on",
        reason=error.cure,
    )


def against_serving(window: Window, data: DataConf, conf: ValidateConf) -> tuple[Check, ...]:
    """The window's features against the log of serving in `validate.serving`.

    A log that is not there, or cannot be read, decides nothing, and says so: one UNDECIDABLE check of the table.
    """
    severity = conf.severity.of("skew")
    if conf.serving is None or severity is None:
        return ()
    path = posixpath.join(conf.serving, window.name + SUFFIX)
    try:
        return against_log(window, path, data, conf)
    except DataError as error:
        return (
            Check(
                name="skew",
                column="",
                severity=severity,
                outcome=CheckOutcome.UNDECIDABLE,
                observed="",
                expected="a log of what serving saw",
                reason=f"{error.where}: {error.what}",
            ),
        )


def against_log(window: Window, path: str, data: DataConf, conf: ValidateConf) -> tuple[Check, ...]:
    """The window's features against those that serving saw of the same ids; DataError for a log that cannot be read."""
    severity = conf.severity.of("skew")
    if severity is None:
        return ()
    seen = served(path, data)
    here, there = (were_text(table.schema.field(data.id)) for table in (seen, window.table))
    check_kind(here, there, f"{path}:{data.id}", window.name)
    return skew(
        window.table,
        seen,
        data.id,
        [*data.numeric, *data.categorical],
        tolerance=conf.skew_tolerance,
        confidence_level=conf.confidence_level,
        severity=severity,
    )
