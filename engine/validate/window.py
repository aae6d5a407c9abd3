"""validate: all checks of a window in one report.

Pure: looks at tables only, has no clock, changes nothing. One bad column never hides the others: every check
runs by itself, and one that cannot be computed is UNDECIDABLE, which blocks where its severity is BLOCK.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pyarrow as pa

from engine.records import Check, ValidationReport, Window
from engine.validate.columns import CHECKS, READS_VALUES, Finding, check_type, undecidable, verdict
from engine.validate.conf import ValidateConf
from engine.validate.facts import Column
from engine.validate.leakage import check_leakage, sample
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
) -> ValidationReport:
    """Is the window fit for use, judged by the schema of the reference.

    Args:
        window: its rows; labels are looked at where `window.labelled`.
        reference: what good rows look like. None for the first window of all: it is judged by itself (ids,
            order, number of rows, leakage), with the schema inferred from it by `columns`.
        conf: severities and tolerances.
        columns: which column is what, needed where `reference` is None.
        previous: the window before, where at hand: rows that come again, overlap and gaps in time.

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
    found = {name: Column(name, window.table[name]) for name in due if name in window.table.column_names}
    rows = Rows(found, window.n_rows, schema, previous.table if previous else None)
    named = [
        *_column_checks(due, found, window.table, conf),
        *_row_checks(rows, founding, window.index == 0, conf),
    ]
    if window.labelled:
        named += _label_checks(rows, window.table, conf)
    checks = (_run(check, column, find, conf) for check, column, find in named)
    return ValidationReport(
        window=window.name,
        fingerprint=window.fingerprint,
        n_rows=window.n_rows,
        checks=tuple(check for check in checks if check is not None),
    )


def _column_checks(
    due: dict[str, ColumnSchema], found: dict[str, Column], table: pa.Table, conf: ValidateConf
) -> Iterator[Named]:
    for name, schema in due.items():
        there = name in found
        yield (
            "column",
            name,
            partial(verdict, not there, "there" if there else "not there", "there", "not delivered"),
        )
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
        labelled = sample(table, name, conf)
        label = Column(name, labelled[name])
        for feature in rows.schema.named("feature"):
            if feature in rows.found:
                yield (
                    "leakage",
                    feature,
                    partial(check_leakage, Column(feature, labelled[feature]), label, conf),
                )


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
