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

from engine.errors import DataError
from engine.records import CheckOutcome, ValidationReport, Window
from engine.validate.conf import Severities, ValidateConf
from engine.validate.schema import Schema, infer
from engine.validate.window import validate
from tests.engine.validate.conftest import COLUMNS

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
    "string views": lambda: pa.array(["x", "y"] * (N // 2), pa.string_view()),
    "runs": lambda: pa.RunEndEncodedArray.from_arrays(pa.array([N], pa.int32()), pa.array([1.0])),
    "unions": lambda: pa.UnionArray.from_sparse(pa.array([0] * N, pa.int8()), [pa.array([1.0] * N)]),
    "uuids": lambda: pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16] * N, pa.binary(16))),
    "wide decimals": lambda: pa.array([1] * N, pa.decimal256(50, 2)),
    "a time of day": lambda: pa.array([1] * N, pa.time64("us")),
    "a time beyond all others": lambda: pa.array([2**62] * N, pa.timestamp("s", "UTC")),
    "the year 1": lambda: pa.array([-62_135_596_800] * N, pa.timestamp("s", "UTC")),
    "no UTF-8": lambda: pa.Array.from_buffers(
        pa.string(), N, [None, pa.py_buffer(np.arange(N + 1, dtype=np.int32).tobytes()), pa.py_buffer(b"\xff" * N)]
    ),
}
NO_VALUES = ("all null", "no type", "all NaN", "dictionary of null")
READ_VALUES = ("infinite", "range", "categories", "length", "constant", "unique", "groups", "label", "leakage")


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


@pytest.mark.parametrize("column", ["size", "age", "shop", "note", "region", "y"])
@pytest.mark.parametrize("kind", NO_VALUES)
def test_of_no_values_no_check_says_that_they_are_fine(good: pa.Table, schema: Schema, kind: str, column: str) -> None:
    declared = dataclasses.replace(schema.columns[column], unique=True)
    strict = dataclasses.replace(schema, columns={**schema.columns, column: declared})
    spoilt = good.set_column(good.column_names.index(column), column, pa.array(DEGENERATE[kind]()))
    read = {c.name: c for c in report(spoilt, strict, labelled=True).checks if c.column == column}
    said = {name: check for name, check in read.items() if name in READ_VALUES}
    assert "unique" in said
    assert all(check.outcome is not CheckOutcome.OK and check.reason for check in said.values()), said


def test_a_column_that_never_had_values_may_go_on_so(good: pa.Table, schema: Schema) -> None:
    size = dataclasses.replace(schema.columns["size"], missing=1.0, minimum=None, maximum=None)
    used = dataclasses.replace(schema, columns={**schema.columns, "size": size})
    spoilt = good.set_column(good.column_names.index("size"), "size", pa.nulls(N, pa.float64()))
    blocked = {(check.name, check.column) for check in report(spoilt, used, labelled=False).blocked}
    assert blocked <= {("label", "y"), ("undeclared", "")}


@pytest.mark.parametrize("column", ["size", "shop", "region", "id", "at", "y"])
def test_a_column_that_is_there_twice_is_none(good: pa.Table, schema: Schema, column: str) -> None:
    found = report(good.append_column(column, good[column]), schema, labelled=True)
    twice = next(check for check in found.blocked if (check.name, check.column) == ("column", column))
    assert (twice.observed, twice.reason) == ("there 2 times", "which one counts")
    others = {"size", "age", "shop", "note", "region"} - {column}
    assert not [c for c in found.blocked if c.column in others and c.name != "leakage"]
    with pytest.raises(DataError, match=f"^{column}: the reference has 2 columns of that name - read it with"):
        infer(good.append_column(column, good[column]), COLUMNS)


SPOILT_BEFORE: dict[str, Callable[[pa.Table], pa.Table]] = {
    "no times": lambda t: t.set_column(1, "at", pa.nulls(N, pa.timestamp("us", "UTC"))),
    "texts for times": lambda t: t.set_column(1, "at", pa.array(["x"] * N)),
    "texts for ids": lambda t: t.set_column(0, "id", pa.array(["x"] * N)),
    "ids twice": lambda t: t.append_column("id", t["id"]),
    "no column": lambda t: t.select(["size"]),
}


@pytest.mark.parametrize("kind", SPOILT_BEFORE)
def test_a_window_before_that_cannot_be_read_opens_nothing(good: pa.Table, schema: Schema, kind: str) -> None:
    before = Window(name="v", index=0, table=SPOILT_BEFORE[kind](good), fingerprint="", path="", labelled=True)
    window = Window(name="w", index=1, table=good, fingerprint="", path="", labelled=True)
    found = validate(window, schema, STRICT, previous=before)
    assert not found.usable
    assert {check.name for check in found.blocked} & {"overlap", "gap", "repeated"}
    assert all(check.reason for check in found.blocked)
