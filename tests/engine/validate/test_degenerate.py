"""Degenerate columns: validate always gives a report, and never a clean one."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engine.records import CheckOutcome, ValidationReport, Window
from engine.validate import Schema, Severities, ValidateConf, validate

N = 1000
STRICT = ValidateConf(severity=Severities(**{f.name: "block" for f in dataclasses.fields(Severities)}))

DEGENERATE: dict[str, Callable[[], Any]] = {
    "all null": lambda: pa.nulls(N, pa.float64()),
    "no type": lambda: pa.nulls(N),
    "all NaN": lambda: np.full(N, np.nan),
    "all infinite": lambda: np.full(N, np.inf),
    "both infinities": lambda: np.where(np.arange(N) % 2, np.inf, -np.inf),
    "infinite and NaN": lambda: np.where(np.arange(N) % 2, np.inf, np.nan),
    "one value": lambda: np.full(N, 0.25),
    "the largest float": lambda: np.full(N, np.finfo(np.float64).max),
    "the largest integer": lambda: np.full(N, 2**63 - 1),
    "unsigned beyond int64": lambda: np.full(N, 2**64 - 1, np.uint64),
    "half floats": lambda: np.full(N, 65504, np.float16),
    "empty strings": lambda: [""] * N,
    "strings of numbers": lambda: [str(i) for i in range(N)],
    "dictionary of null": lambda: pa.array([None] * N, pa.string()).dictionary_encode(),
    "booleans": lambda: [True, False] * (N // 2),
    "dates": lambda: [dt.date(2024, 5, 1)] * N,
    "durations": lambda: pa.array([1] * N, pa.duration("s")),
    "decimals": lambda: [decimal.Decimal("0.1")] * N,
    "binary": lambda: [b"\x00\xff"] * N,
    "lists": lambda: [[1.0]] * N,
    "structs": lambda: [{"a": 1}] * N,
}


def report(table: pa.Table, schema: Schema, *, labelled: bool) -> ValidationReport:
    window = Window(name="w", index=1, table=table, fingerprint="", path="", labelled=labelled)
    return validate(window, schema, STRICT)


@pytest.mark.parametrize("column", ["size", "age", "shop", "note", "region", "id", "at", "y"])
@pytest.mark.parametrize("kind", DEGENERATE)
def test_a_degenerate_column_is_never_waved_through(good: pa.Table, schema: Schema, kind: str, column: str) -> None:
    values = pa.array(DEGENERATE[kind]())
    spoilt = good.set_column(good.column_names.index(column), column, values)
    found = report(spoilt, schema, labelled=True)
    if (kind, column) == ("strings of numbers", "note"):  # a free text may well be numbers
        assert found.usable
        return
    assert not found.usable
    named = [check for check in found.blocked if check.column == column or column in ("id", "at")]
    assert named
    assert all(check.reason and "\n" not in check.reason for check in named)
    # The other columns are judged as ever.
    others = {"size", "age", "shop", "note", "region"} - {column}
    assert not [c for c in found.blocked if c.column in others and c.name != "leakage"]


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_hardly_any_rows_are_never_waved_through(good: pa.Table, schema: Schema, rows: int) -> None:
    found = report(good.slice(0, rows), schema, labelled=True)
    assert {"few_rows", "rows"} <= {check.name for check in found.blocked}
    assert all(check.outcome in CheckOutcome for check in found.checks)


def test_no_column_at_all_is_never_waved_through(schema: Schema) -> None:
    found = report(pa.table({}), schema, labelled=True)
    assert sum(check.name == "column" for check in found.blocked) == len(schema.columns)
