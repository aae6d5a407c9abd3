"""validate: all checks of a window in one report.

Pure: looks at tables only, has no clock, changes nothing. One bad column never hides the others: every check
runs by itself, and one that cannot be computed is UNDECIDABLE, which blocks where its severity is BLOCK.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import pyarrow as pa

from engine.records import Check, Freshness, ValidationReport, Window
from engine.validate.columns import CHECKS, NEEDS_VALUES, READS_VALUES, Finding, check_type, undecidable, verdict
from engine.validate.conf import ValidateConf
from engine.validate.facts import Column
from engine.validate.fresh import check_fresh, freshness
from engine.validate.leakage import Labelled, check_leakage
from engine.validate.rows import (
    Rows,
    check_copies,
    check_few_rows,
    check_gap,
    check_groups,
    check_ids,
    check_label,
    check_order,
    check_overlap,
    check_repeated,
    check_rows,
)
from engine.validate.schema import SERVING, TRAINING, Columns, ColumnSchema, Schema, infer

Named = tuple[str, str, Callable[[], Finding]]  # check, column, how to find out


def validate(
    window: Window,
    reference: Schema | None,
    conf: ValidateConf,
    *,
    columns: Columns | None = None,
    previous: Window | None = None,
    now: dt.datetime | None = None,
    ages: Sequence[float] = (),
) -> ValidationReport:
    """Is the window fit for use, judged by the schema of the reference.

    Args:
        window: its rows; labels are looked at where `window.labelled`.
        reference: what good rows look like. None for the first window of all: it is judged by itself (ids,
            order, number of rows, leakage), with the schema inferred from it by `columns`.
        conf: severities and tolerances.
        columns: which column is what, needed where `reference` is None.
        previous: the window before, where at hand: rows that come again, overlap and gaps in time.
        now: when the window came, where that matters: how old its rows are; the report records it.
        ages: hours, how old the rows of usable windows before were when those came: engine/validate/fresh.py.

    Cost: one pass over each column, a sort of ids and one of row hashes; leakage sorts a sample of each
    feature.
    """
    if reference is None:
        if columns is None:
            raise ValueError("validate needs columns where there is no reference")
        schema, founding = infer(window.table, columns, reference=window.name), True
    else:
        schema, founding = reference, False
    environment = TRAINING if window.labelled else SERVING
    due = {name: c for name, c in schema.columns.items() if environment in c.environments}
    found, lost = _read(due, window.table)
    rows = Rows(found, window.n_rows, schema, previous.table if previous else None)
    named = [
        *_column_checks(due, found, lost, window.table, conf),
        *_row_checks(rows, founding, window.index == 0, conf),
    ]
    if window.labelled:
        named += _label_checks(rows, window.table, conf)
    fresh = None if founding or conf.severity.of("fresh") is None else _freshness(rows, now, ages, conf)
    if fresh is not None:
        named.append(("fresh", "", partial(check_fresh, fresh)))
    checks = (_run(check, column, find, conf) for check, column, find in named)
    return ValidationReport(
        window=window.name,
        fingerprint=window.fingerprint,
        n_rows=window.n_rows,
        checks=tuple(check for check in checks if check is not None),
        schema="" if founding else schema.fingerprint(),
        fresh=fresh,
    )


def _freshness(rows: Rows, now: dt.datetime | None, ages: Sequence[float], conf: ValidateConf) -> Freshness | None:
    """The age of the newest row; a column of times that is not there, or cannot be read, has none."""
    try:
        oldest, newest = map(_moment, rows.one("time").extremes)
    except (KeyError, TypeError, ValueError, ArithmeticError, pa.ArrowException):
        return freshness(None, now, rows.schema.max_age_hours, ages=ages)
    slack = conf.max_gap * ((newest - oldest) / dt.timedelta(hours=1))
    return freshness(newest, now, rows.schema.max_age_hours, ages=ages, slack=slack)


def _moment(value: dt.date) -> dt.datetime:
    """A date is its first moment, and a time without a zone is UTC; TypeError for what is no time."""
    if not isinstance(value, dt.date):
        raise TypeError(f"{value!r} is no time")
    if not isinstance(value, dt.datetime):
        return dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
    return value if value.tzinfo else value.replace(tzinfo=dt.UTC)


def _read(due: Iterable[str], table: pa.Table) -> tuple[dict[str, Column], dict[str, tuple[str, str]]]:
    """The columns that are there, and of the others what is there instead and why they cannot be judged."""
    found, lost = {}, {}
    for name in due:
        times = table.column_names.count(name)
        if times != 1:
            lost[name] = ("not there", "not delivered") if not times else (f"there {times} times", "which one counts")
            continue
        try:
            found[name] = Column.of(table, name)
        except (pa.ArrowException, ValueError) as error:
            lost[name] = ("there", f"cannot be read: {_line(error)}")
    return found, lost


def _column_checks(
    due: dict[str, ColumnSchema],
    found: dict[str, Column],
    lost: dict[str, tuple[str, str]],
    table: pa.Table,
    conf: ValidateConf,
) -> Iterator[Named]:
    for name, schema in due.items():
        observed, reason = lost.get(name, ("there", ""))
        yield "column", name, partial(verdict, name in lost, observed, "there, once", reason)
        for check, find, applies in CHECKS:
            if applies(schema):
                yield check, name, partial(_guarded, check, find, found.get(name), schema, conf)
    unknown = [name for name in table.column_names if name not in due]
    text = ", ".join(unknown[:10]) or "none"
    yield "undeclared", "", partial(verdict, bool(unknown), text, "none", "the schema does not know them")


def _guarded(
    check: str, find: Callable[..., Finding], column: Column | None, schema: ColumnSchema, conf: ValidateConf
) -> Finding:
    if column is None:
        return undecidable("", "the column is not there")
    if check in READS_VALUES and check_type(column, schema, conf).reason:
        return undecidable("", f"the column is {column.kind}, not {schema.kind}")
    if check in NEEDS_VALUES and not column.present and schema.missing < 1:
        return undecidable("", "there are no values to look at")
    return find(column, schema, conf)


def _row_checks(rows: Rows, founding: bool, first: bool, conf: ValidateConf) -> Iterator[Named]:
    checks = [("few_rows", check_few_rows), ("ids", check_ids), ("order", check_order)]
    if not founding:
        checks += [("rows", check_rows), ("copies", check_copies)]
    if not founding and not first:
        checks += [("overlap", check_overlap), ("gap", check_gap)]
    if rows.previous is not None:
        checks.append(("repeated", check_repeated))
    for name, check in checks:
        yield name, "", partial(check, rows, conf)
    for column in rows.schema.groups if not founding else ():
        yield "groups", column, partial(check_groups, rows, column, conf)


def _label_checks(rows: Rows, table: pa.Table, conf: ValidateConf) -> Iterator[Named]:
    for name in rows.schema.named("label"):
        yield "label", name, partial(check_label, rows, conf)
        if name not in rows.found:
            continue
        labelled = Labelled(table, name, conf)
        for feature in rows.schema.named("feature"):
            if feature in rows.found:
                yield "leakage", feature, partial(_leakage, labelled, feature, conf)


def _leakage(labelled: Labelled, feature: str, conf: ValidateConf) -> Finding:
    return check_leakage(labelled.column(feature), labelled.label, conf)


def _run(check: str, column: str, find: Callable[[], Finding], conf: ValidateConf) -> Check | None:
    severity = conf.severity.of(check)
    if severity is None:
        return None
    try:
        finding = find()
    except (pa.ArrowException, ArithmeticError, KeyError, TypeError, ValueError) as error:
        finding = undecidable("", f"cannot be computed: {_line(error)}")
    return Check(
        name=check,
        column=column,
        severity=severity,
        outcome=finding.outcome,
        observed=finding.observed,
        expected=finding.expected,
        reason=finding.reason,
    )


def _line(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"column {error} is not there"
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]
