from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engine.records import Check, CheckOutcome, Severity, Window
from engine.validate.conf import Severities, ValidateConf
from engine.validate.schema import Schema, infer
from engine.validate.text import from_yaml, to_yaml
from engine.validate.window import validate
from tests.engine.validate.conftest import COLUMNS, as_window

Look = Callable[..., dict[tuple[str, str], Check]]
OK, VIOLATED, UNDECIDABLE = CheckOutcome.OK, CheckOutcome.VIOLATED, CheckOutcome.UNDECIDABLE


def put(table: pa.Table, column: str, values: Any) -> pa.Table:
    if column not in table.column_names:
        return table.append_column(column, pa.array(values))
    return table.set_column(table.column_names.index(column), column, pa.array(values))


def without(checks: dict[tuple[str, str], Check], *outcomes: CheckOutcome) -> set[tuple[str, str]]:
    return {key for key, check in checks.items() if check.outcome not in outcomes}


def test_a_good_window_passes_every_check(good: pa.Table, reference: pa.Table, look: Look) -> None:
    """And every check that has a severity is run; `unique` and `fresh` where they are declared, `skew` where serving is
    at hand.
    """
    serving = look(good, previous=reference)
    labelled = look(good, labelled=True, previous=reference)
    assert without(serving, OK) == without(labelled, OK) == set()
    assert {name for name, _ in labelled} | {"unique", "fresh", "skew", "classes"} == {
        field.name for field in dataclasses.fields(Severities)
    }
    assert {name for name, _ in labelled} - {name for name, _ in serving} == {"label", "leakage"}


def spoil(column: str, change: Callable[[np.ndarray], Any]) -> Callable[[pa.Table], pa.Table]:
    """Change one column by its NumPy values."""
    return lambda t: put(t, column, change(t[column].to_numpy(zero_copy_only=False).copy()))


def first(n: int, value: Any) -> Callable[[np.ndarray], Any]:
    """Put a value into the first n rows."""
    return lambda values: [value] * n + values.tolist()[n:]


SPOILT: dict[str, tuple[Callable[[pa.Table], pa.Table], set[tuple[str, str]], str]] = {
    "missing column": (
        lambda t: t.drop_columns(["size"]),
        {("column", "size")},
        "not there",
    ),
    "text for numbers": (spoil("size", lambda v: v.astype(str)), {("type", "size")}, "string"),
    "fractions for whole numbers": (spoil("age", lambda v: v + 0.5), {("type", "age")}, "float"),
    "nothing at all": (
        lambda t: put(t, "size", pa.nulls(1000, pa.float64())),
        {("empty", "size"), ("missing", "size")},
        "0 values",
    ),
    "many missing": (spoil("size", first(90, None)), {("missing", "size")}, "9.00% missing (90 of 1000)"),
    "NaN is missing too": (
        spoil("size", first(90, np.nan)),
        {("missing", "size")},
        "9.00% missing (90 of 1000)",
    ),
    "one infinity": (spoil("size", first(1, np.inf)), {("infinite", "size")}, "1 infinite"),
    "far out": (
        spoil("age", lambda v: np.where(np.arange(1000) < 30, 900, v)),
        {("range", "age")},
        "outside [0, 89] (30 of ",
    ),
    "new categories": (
        spoil("shop", first(30, "east")),
        {("categories", "shop")},
        "3.00% unseen (30 of 1000)",
    ),
    "a long text": (spoil("note", first(1, "x" * 500)), {("length", "note")}, "500 characters"),
    "a stuck sensor": (
        spoil("size", lambda v: np.full(1000, 0.25)),
        {("constant", "size")},
        "one value",
    ),
    "an id twice": (spoil("id", first(2, 1_000_500)), {("ids", "")}, "2 repeated, 0 missing"),
    "rows without an id": (spoil("id", first(3, None)), {("ids", "")}, "0 repeated, 3 missing"),
    "rows twice": (
        lambda t: put(pa.concat_tables([t.slice(0, 800), t.slice(0, 200)]), "id", np.arange(1000)),
        {("copies", ""), ("order", "")},
        "20.00% are copies (200 of 1000)",
    ),
    "out of order": (
        lambda t: t.take(list(range(999, -1, -1))),
        {("order", "")},
        "999 steps back in time",
    ),
    "too few for anything": (
        lambda t: t.slice(0, 99),
        {("few_rows", ""), ("rows", "")},
        "99 rows",
    ),
    "half the rows lost": (lambda t: t.slice(0, 550), {("rows", "")}, "550 rows"),
    "an unknown column": (lambda t: put(t, "new", range(1000)), {("undeclared", "")}, "new"),
    "a group that vanished": (
        spoil("region", lambda v: np.full(1000, "x")),
        {("groups", "region")},
        "y 0.00% [0.00%, ",
    ),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_each_fault_is_found_and_nothing_else_is(good: pa.Table, look: Look, fault: str) -> None:
    change, expected, observed = SPOILT[fault]
    checks = look(change(good))
    assert {key for key, check in checks.items() if check.outcome is VIOLATED} == expected
    assert any(observed in checks[key].observed for key in expected)
    assert all(checks[key].reason and checks[key].expected for key in expected)


def test_a_bad_column_never_hides_another(good: pa.Table, look: Look) -> None:
    worse = put(put(good.drop_columns(["size"]), "age", ["old"] * 1000), "shop", ["east"] * 1000)
    checks = look(worse)
    assert checks["column", "size"].outcome is VIOLATED
    assert checks["type", "age"].outcome is VIOLATED
    assert checks["categories", "shop"].outcome is VIOLATED
    for key in (("range", "size"), ("missing", "size"), ("range", "age")):
        assert checks[key].outcome is UNDECIDABLE
        assert checks[key].reason
    assert checks["missing", "age"].outcome is OK


def test_what_cannot_be_decided_blocks_where_it_would_block(good: pa.Table, schema: Schema, look: Look) -> None:
    window = Window(name="w", index=1, table=good.drop_columns(["y", "at"]), fingerprint="", path="", labelled=False)
    report = validate(window, schema, ValidateConf())
    blocked = {(check.name, check.column): check.outcome for check in report.blocked}
    assert blocked["column", "at"] is VIOLATED
    assert blocked["overlap", ""] is UNDECIDABLE
    assert not report.usable
    lenient = ValidateConf(severity=Severities(column="info", type="info", empty="info", overlap="warn"))
    assert validate(window, schema, lenient).usable


def test_severities_are_those_of_the_conf(good: pa.Table, look: Look) -> None:
    conf = ValidateConf(severity=Severities(missing="block", order="off"))
    checks = look(good, conf)
    assert checks["missing", "size"].severity is Severity.BLOCK
    assert ("order", "") not in checks
    assert checks["range", "size"].severity is Severity.WARN


def test_the_first_window_is_judged_by_itself(good: pa.Table, look: Look) -> None:
    checks = look(good, against=None, labelled=True)
    assert without(checks, OK) == set()
    assert not {"rows", "copies", "overlap", "gap", "groups"} & {name for name, _ in checks}
    twice = look(put(good, "id", [1_000_001, *range(1_000_001, 1_001_000)]), against=None)
    assert twice["ids", ""].outcome is VIOLATED
    with pytest.raises(ValueError, match="validate needs columns where there is no reference"):
        validate(
            Window(name="w", index=0, table=good, fingerprint="", path="", labelled=True),
            None,
            ValidateConf(),
        )


def test_nothing_comes_before_the_first_window(reference: pa.Table, schema: Schema) -> None:
    """The first window may be part of the reference; it does not overlap itself."""
    table = reference.drop_columns(["y"])
    first, later = (
        validate(
            Window(name="w", index=index, table=table, fingerprint="", path="", labelled=False),
            schema,
            ValidateConf(),
        )
        for index in (0, 1)
    )
    assert first.usable
    assert [check.name for check in later.blocked] == ["overlap"]


def test_a_column_is_due_only_in_its_environment(good: pa.Table, schema: Schema, look: Look) -> None:
    assert ("column", "y") not in look(good)
    assert look(good.drop_columns(["y"]), labelled=True)["column", "y"].outcome is VIOLATED
    trained_only = dataclasses.replace(schema.columns["size"], environments=("training",))
    edited = dataclasses.replace(schema, columns={**schema.columns, "size": trained_only})
    assert ("column", "size") not in look(good.drop_columns(["size"]), against=edited)


def test_an_error_inside_a_check_is_a_finding_not_a_crash(good: pa.Table, look: Look) -> None:
    nested = put(good, "shop", [["a"]] * 1000)
    checks = look(nested)
    assert checks["type", "shop"].outcome is VIOLATED
    assert checks["categories", "shop"].outcome is UNDECIDABLE
    assert checks["groups", "shop"].outcome is UNDECIDABLE
    assert checks["groups", "shop"].reason.startswith("cannot be computed: ")
    assert "\n" not in checks["groups", "shop"].reason
    assert checks["groups", "region"].outcome is OK


def test_empty_windows_are_reported_not_raised(good: pa.Table, look: Look) -> None:
    checks = look(good.slice(0, 0), labelled=True)
    assert checks["few_rows", ""].outcome is VIOLATED
    for key in (("missing", "size"), ("range", "size"), ("copies", ""), ("leakage", "size"), ("label", "y")):
        assert checks[key].outcome is UNDECIDABLE


def test_infer_then_validate_is_clean_at_any_size() -> None:
    """Twenty honest windows of one process, small ones too: chance alone blocks none of them."""
    columns = SimpleNamespace(id="i", time="t", label="y", numeric=["a"], categorical=["c"], slices=["c"])

    def rows(index: int, n: int) -> Window:
        rng = np.random.default_rng([7, index])
        times = pa.array(np.arange(n) * 1000 + index * 10**9, pa.timestamp("us", "UTC"))
        category = rng.choice(list("abc"), n, p=[0.6, 0.3, 0.1])
        gaps = rng.random(n) < 0.2
        table = pa.table({"i": np.arange(n), "t": times, "a": pa.array(rng.normal(size=n), mask=gaps), "c": category})
        return Window(name=str(index), index=index, table=table, fingerprint="", path="", labelled=False)

    schema = infer(rows(0, 5000).table, columns)
    conf = ValidateConf(rows_low=0.0, severity=Severities(missing="block", range="block", groups="block", gap="off"))
    for index in range(1, 21):
        report = validate(rows(index, 100 + 30 * index), schema, conf)
        assert report.usable, report.blocked


def test_the_report_says_which_schema_it_rests_on(good: pa.Table, schema: Schema) -> None:
    def held(against: Schema | None) -> str:
        return validate(as_window(good), against, ValidateConf(), columns=COLUMNS).schema

    assert len(held(schema)) == 64
    assert held(schema) == held(Schema.from_dict(schema.to_dict())) == held(from_yaml(to_yaml(schema)))
    assert held(schema) != held(dataclasses.replace(schema, rows=schema.rows + 1))
    assert held(None) == ""
