from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from engine.errors import DataError
from engine.records import Window
from engine.validate.conf import ValidateConf
from engine.validate.schema import Schema, diff, infer, learn, widen
from engine.validate.window import validate

COLUMNS = SimpleNamespace(id="i", time="t", label="y", numeric=["a", "b"], categorical=["c"], slices=["c", "g"])


@pytest.fixture
def rows() -> pa.Table:
    return pa.table(
        {
            "i": [1, 2, 3, 4],
            "t": pa.array([0, 1, 2, 3_000_000], pa.timestamp("us", "UTC")),
            "a": [1, 5, None, 3],
            "b": [0.5, float("nan"), float("inf"), 0.5],
            "c": ["u", "v", "u", None],
            "g": ["x", "x", "x", "x"],
            "y": pa.array([1, 0, None, 1]),
        }
    )


def test_it_is_what_the_rows_look_like(rows: pa.Table) -> None:
    schema = infer(rows, COLUMNS, reference="r", windows=2)
    assert (schema.reference, schema.rows, schema.copies) == ("r", 2, 0.0)
    assert schema.until == "1970-01-01T00:00:03+00:00"
    assert [(n, c.kind, c.role) for n, c in schema.columns.items()] == [
        ("i", "integer", "id"),
        ("t", "time", "time"),
        ("a", "integer", "feature"),
        ("b", "float", "feature"),
        ("c", "string", "feature"),
        ("g", "string", "slice"),
        ("y", "integer", "label"),
    ]
    a, b, c, g, y = (schema.columns[name] for name in "abcgy")
    assert (a.minimum, a.maximum, a.missing, a.categories) == (1, 5, 0.25, None)
    assert (b.minimum, b.maximum, b.missing, b.infinite) == (0.5, 0.5, 0.25, True)
    assert (c.categories, c.missing, c.longest, c.minimum) == (("u", "v"), 0.25, 1, None)
    assert g.constant
    assert not c.constant
    assert (y.environments, y.missing) == (("training",), 0.25)
    assert schema.groups == {"c": {"u": 2 / 3, "v": 1 / 3}, "g": {"x": 1.0}}


def test_without_labels_there_is_no_label_column(rows: pa.Table) -> None:
    assert "y" not in infer(rows.drop_columns(["y"]), COLUMNS).columns
    assert infer(rows, COLUMNS, groups=["g"]).groups == {"g": {"x": 1.0}}


def test_a_column_of_too_many_categories_is_an_open_set() -> None:
    n = 1001
    table = pa.table(
        {
            "i": np.arange(n),
            "t": pa.array(np.arange(n), pa.timestamp("us")),
            "a": np.arange(n),
            "b": np.arange(n) / 2,
            "c": [str(i) for i in range(n)],
            "g": ["x"] * n,
        }
    )
    assert infer(table, COLUMNS).columns["c"].categories is None
    assert len(infer(table.slice(1), COLUMNS).columns["c"].categories or ()) == 1000


def test_copies_are_counted_by_value(rows: pa.Table) -> None:
    twice = pa.concat_tables([rows, rows.slice(0, 2)])
    assert infer(twice, COLUMNS).copies == 2 / 6
    zero = rows.slice(0, 2).set_column(3, "b", pa.array([0.0, -0.0]))
    same = zero.set_column(2, "a", pa.array([1, 1])).set_column(4, "c", pa.array(["u", "u"]))
    assert infer(same, COLUMNS).copies == 0.5
    missing = same.set_column(3, "b", pa.array([None, float("nan")], pa.float64()))
    assert infer(missing, COLUMNS).copies == 0.5
    assert infer(same.set_column(2, "a", pa.array([0, None])), COLUMNS).copies == 0


def test_json_gives_the_equal_schema_back(rows: pa.Table) -> None:
    schema = infer(rows, COLUMNS, reference="r")
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict(), allow_nan=False))) == schema


def test_what_is_no_schema_is_refused(rows: pa.Table) -> None:
    good = infer(rows, COLUMNS).to_dict()
    with pytest.raises(DataError, match=r"^schema:format: is 2, not 1 - infer the schema again$"):
        Schema.from_dict(good | {"format": 2})
    for wrong in ({"columns": 5}, {"columns": {"a": {"kind": "float"}}}, {"more": 1}):
        with pytest.raises(DataError, match=r"^schema: cannot be used \(.+\) - infer the schema again$"):
            Schema.from_dict(good | wrong)


def test_a_reference_that_cannot_serve_is_refused(rows: pa.Table) -> None:
    with pytest.raises(DataError, match=r"^r: has no rows - infer the schema from a window with rows$"):
        infer(rows.slice(0, 0), COLUMNS, reference="r")
    with pytest.raises(DataError, match=r"^b: the reference has no such column - read it with the same data config$"):
        infer(rows.drop_columns(["b"]), COLUMNS)


def test_a_diff_reads_like_a_list_of_changes(rows: pa.Table) -> None:
    old = infer(rows, COLUMNS)
    assert diff(old, old) == ()
    columns = dict(old.columns)
    del columns["b"]
    columns["a"] = dataclasses.replace(columns["a"], kind="float", maximum=None, missing=0.3)
    columns["c"] = dataclasses.replace(columns["c"], categories=("v", "w", "z"))
    columns["g"] = dataclasses.replace(columns["g"], categories=None, environments=("training",))
    columns["new"] = dataclasses.replace(columns["c"], role="slice")
    groups = {"c": {"u": 0.5, "v": 1 / 3, "w": 1 / 6}}
    new = dataclasses.replace(old, rows=6, columns=columns, groups=groups)
    assert diff(old, new) == (
        "rows a window: 4 -> 6 (+50%)",
        "b: column is gone",
        "a: kind integer -> float",
        "a: missing 0.25 -> 0.3",
        "a: maximum 5 -> not checked",
        "c: categories + w, z",
        "c: categories - u",
        "g: environments training, serving -> training",
        "g: categories are now open",
        "new: new column (string, slice)",
        "c: share of u 0.666667 -> 0.5",
        "c: share of w 0 -> 0.166667",
        "g: its groups are no longer declared",
    )
    assert diff(new, old)[-1] == "g: its groups are now declared"


def test_what_is_not_declared_is_said_in_words(rows: pa.Table) -> None:
    old = infer(rows, COLUMNS)
    new = dataclasses.replace(old, fewest=3, cluster="day", until="")
    assert diff(old, new) == (
        "fewest: by the config -> 3",
        "until: 1970-01-01T00:00:03+00:00 -> not known",
        "cluster: none -> day",
    )


def test_a_wider_schema_accepts_both_windows(reference: pa.Table, good: pa.Table, schema: Schema) -> None:
    columns = SimpleNamespace(
        id="id",
        time="at",
        label="y",
        numeric=["size", "age"],
        categorical=["shop", "note"],
        slices=["shop", "region"],
    )
    size = good["size"].to_numpy() + 50
    shop = ["east"] * 500 + good["shop"].to_pylist()[500:]
    moved = good.set_column(2, "size", pa.array(size)).set_column(4, "shop", pa.array(shop))
    window = Window(name="w", index=1, table=moved.drop_columns(["y"]), fingerprint="", path="", labelled=False)
    first = validate(window, schema, ValidateConf())
    assert {c.name for c in first.checks if c.outcome.value == "violated"} == {
        "range",
        "categories",
        "groups",
    }
    wide = widen(schema, infer(moved, columns, reference="w1"))
    assert wide.reference == "w0, w1"
    assert wide.until > schema.until
    assert (wide.rows, wide.groups) == (schema.rows, schema.groups)
    second = validate(window, dataclasses.replace(wide, until=schema.until), ValidateConf())
    assert {c.name for c in second.checks if c.outcome.value == "violated"} == {"groups"}
    changed = {line.split(":")[0] for line in diff(schema, wide)}
    assert changed == {"until", "size", "age", "shop", "y", "note"} & changed
    assert {"until", "size", "shop"} <= changed


def test_widening_takes_the_looser_of_each_bound(rows: pa.Table) -> None:
    old = infer(rows, COLUMNS)
    a = dataclasses.replace(old.columns["a"], kind="float", minimum=0.5, maximum=2.5, missing=0.1, infinite=True)
    c = dataclasses.replace(old.columns["c"], categories=None, longest=9)
    wide = widen(old, dataclasses.replace(old, columns={"a": a, "c": c, "z": a}))
    found = wide.columns["a"]
    assert (found.kind, found.minimum, found.maximum, found.missing, found.infinite) == (
        "float",
        0.5,
        5,
        0.25,
        True,
    )
    assert (wide.columns["c"].categories, wide.columns["c"].longest) == (None, 9)
    assert wide.columns["z"] == a
    assert widen(old, old) == dataclasses.replace(old, reference=wide.reference)
    text = dataclasses.replace(a, kind="string")
    with pytest.raises(DataError, match=r"^a: is integer in one window and string in another - mend the windows$"):
        widen(old, dataclasses.replace(old, columns={"a": text}))


def test_two_constants_that_differ_are_not_constant(rows: pa.Table) -> None:
    old = infer(rows, COLUMNS)
    b = old.columns["b"]
    one, two = (dataclasses.replace(b, constant=True, minimum=v, maximum=v) for v in (1.0, 2.0))
    schemas = [dataclasses.replace(old, columns={"b": column}) for column in (one, two)]
    assert not widen(*schemas).columns["b"].constant
    assert widen(schemas[0], schemas[0]).columns["b"].constant
    g = dataclasses.replace(old, columns={"g": dataclasses.replace(old.columns["g"], categories=("q",))})
    assert not widen(old, g).columns["g"].constant


def test_a_cluster_column_is_known_and_its_values_are_free() -> None:
    names = {"id": "id", "time": "at", "label": "y", "numeric": ["x"], "categorical": [], "slices": []}
    rows = {"id": [1, 2], "at": np.array(["2024-01-01", "2024-01-02"], "datetime64[us]"), "x": [0.5, 1.5]}
    found = infer(pa.table(rows | {"day": ["mon", "tue"]}), SimpleNamespace(**names, cluster="day"))
    assert found.columns["day"].role == "cluster"
    assert found.columns["day"].categories is None


# ---- what a history teaches ----------------------------------------------------------------------------------------


def look(table: pa.Table, **changes: Any) -> Schema:
    return dataclasses.replace(infer(table, COLUMNS), **changes)


def test_good_windows_teach_bounds_and_nothing_else(rows: pa.Table) -> None:
    old = infer(rows, COLUMNS)
    a = dataclasses.replace(old.columns["a"], minimum=-3, missing=0.5, role="slice")
    b = dataclasses.replace(old.columns["b"], kind="integer", maximum=7, infinite=True)
    c = dataclasses.replace(old.columns["c"], categories=("z",), longest=4, kind="string")
    g = dataclasses.replace(old.columns["g"], kind="integer", missing=1.0)
    seen = look(rows, columns={"a": a, "b": b, "c": c, "g": g, "new": a}, copies=0.5, until="2030-01-01")
    found = learn(dataclasses.replace(old, columns=old.columns), [seen], 0.99)
    assert diff(old, found) == (
        "copies: 0 -> 0.5",
        "a: missing 0.25 -> 0.5",
        "a: minimum 1 -> -3",
        "b: maximum 0.5 -> 7",
        "c: longest 1 -> 4",
        "c: categories + z",
    )


def test_a_window_without_values_opens_no_bound(rows: pa.Table) -> None:
    """Bounds of None allow anything: a column that was empty once must not switch its checks off."""
    old = infer(rows, COLUMNS)
    empty = {
        name: dataclasses.replace(column, minimum=None, maximum=None, categories=None, longest=None)
        for name, column in old.columns.items()
    }
    assert learn(old, [dataclasses.replace(old, columns=empty)], 0.99) == old


def test_three_windows_set_the_band_of_rows(rows: pa.Table) -> None:
    old = infer(rows, COLUMNS)
    counts = [900, 1000, 1100, 1050]
    logs = np.log(counts)
    half = stats.t.ppf(0.995, 3) * logs.std(ddof=1) * np.sqrt(1 + 1 / 4)
    expected = (math.floor(np.exp(logs.mean() - half)), math.ceil(np.exp(logs.mean() + half)))
    seen = [look(rows, rows=n) for n in counts]
    found = learn(old, seen, 0.99)
    assert (found.fewest, found.most) == expected
    assert learn(old, seen[:2], 0.99).fewest is None
    declared = dataclasses.replace(old, fewest=10)
    assert (learn(declared, seen, 0.99).fewest, learn(declared, seen, 0.99).most) == (10, None)
    same = learn(old, [look(rows, rows=1000)] * 4, 0.99)  # no less spread than a Poisson count has
    half = stats.t.ppf(0.995, 3) * np.sqrt(1 / 1000 * 1.25)
    assert same.fewest == math.floor(1000 * np.exp(-half))
    assert same.most == math.ceil(1000 * np.exp(half))


def test_the_band_of_rows_holds_its_error_rate(rows: pa.Table, record_property: Callable[[str, object], None]) -> None:
    """Of 2000 histories of 6 windows, 5 % of the next windows lie outside a 95 % band."""
    rng = np.random.default_rng(3)
    old, outside = infer(rows, COLUMNS), 0
    for counts in np.exp(rng.normal(9, 0.2, (2000, 7))).round().astype(int):
        found = learn(old, [dataclasses.replace(old, rows=int(n)) for n in counts[:6]], 0.95)
        assert found.fewest is not None
        assert found.most is not None
        outside += not found.fewest <= counts[6] <= found.most
    record_property("good windows outside a 95 % band of rows learnt from 6", f"{outside / 20:.2f} % of 2000")
    assert abs(outside / 2000 - 0.05) < 0.015  # 3 standard errors
