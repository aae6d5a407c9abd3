from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pyarrow as pa
import pytest

from engine.errors import DataError
from engine.records import Window
from engine.validate.conf import ValidateConf
from engine.validate.schema import Schema
from engine.validate.text import from_yaml, load, save, to_yaml
from engine.validate.window import validate


def test_yaml_gives_the_equal_schema_back(schema: Schema, tmp_path: Path) -> None:
    text = to_yaml(schema)
    assert from_yaml(text) == schema
    path = tmp_path / "deep" / "schema.yaml"
    save(schema, path)
    assert path.read_text() == text
    assert load(path) == schema


def test_a_column_is_a_line_with_what_matters(schema: Schema) -> None:
    lines = to_yaml(schema).splitlines()
    assert "  id: {kind: integer, role: id}" in lines
    assert any(line.startswith("  shop: {kind: string, role: feature, categories: [north, so") for line in lines)
    assert any(line.startswith("  shop: {north: 0.") for line in lines)
    assert lines[0].startswith("# What a good window looks like.")


def test_names_that_yaml_would_read_otherwise_survive(schema: Schema) -> None:
    odd = ["NO", "07", "1e3", "null", "a: b", "{x}", "#", "1", "é", "2024-01-01", "'", '"', "true"]
    column = Schema.from_dict(schema.to_dict()).columns["shop"]
    columns = {**schema.columns, "shop": dataclasses.replace(column, categories=tuple(odd))}
    groups = {"shop": {name: 1 / len(odd) for name in odd}}
    changed = dataclasses.replace(schema, columns=columns, groups=groups)
    assert from_yaml(to_yaml(changed)) == changed


def test_what_a_person_may_write(schema: Schema) -> None:
    text = """
format: 1
rows: 500
until: 2024-05-01 10:00:00
columns:
  id: {kind: integer, role: id}
  at:
    kind: time
    role: time
  size: {kind: float, role: feature, maximum: 100}
"""
    edited = from_yaml(text)
    assert edited.rows == 500
    assert edited.until == "2024-05-01T10:00:00"
    assert edited.columns["size"].maximum == 100
    assert edited.columns["size"].minimum is None
    assert edited.groups == {}


GOOD = """\
format: 1
rows: 500
columns:
  id: {kind: integer, role: id}
  at: {kind: time, role: time}
  size: {kind: float, role: feature, missing: 0.1}
  shop: {kind: string, role: feature, categories: [a, b]}
groups:
  shop: {a: 0.5, b: 0.5}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format: 1", "format: 3", "s.yaml:format: is 3, not 1 - infer the schema again"),
        ("rows: 500", "rows: many", "s.yaml:rows: is 'many' - use a whole number"),
        ("rows: 500", "rows: 0", "s.yaml:rows: is 0 - use 1 or more"),
        ("rows: 500", "rows: true", "s.yaml:rows: is True - use a whole number"),
        (
            "rows: 500",
            "row: 500",
            "s.yaml: there is no key 'row' - use format, reference, rows, fewest, ...",
        ),
        (
            "rows: 500",
            "rows: 5\nuntil: soon",
            "s.yaml:until: is 'soon' - use a time such as 2013-02-28T23:59:00+00:00",
        ),
        ("rows: 500", "rows: 5\ncopies: 2", "s.yaml:copies: is 2 - use a share from 0 to 1"),
        ("rows: 500", "rows: [", "s.yaml: is no YAML in line 4 (...) - mend it there"),
        ("missing: 0.1", "missing: 10", "s.yaml:columns.size.missing: is 10 - use a share from 0 to 1"),
        ("missing: 0.1", "missing: no", "s.yaml:columns.size.missing: is False - use a number"),
        (
            "missing: 0.1",
            "minimum: 2, maximum: 1",
            "s.yaml:columns.size.minimum: is above the maximum - swap them",
        ),
        ("missing: 0.1", "minimum: low", "s.yaml:columns.size.minimum: is 'low' - use a number"),
        (
            "missing: 0.1",
            "mising: 0.1",
            "s.yaml:columns.size: there is no key 'mising' - use kind, role, ...",
        ),
        ("kind: float", "kind: decimal", "s.yaml:columns.size.kind: is 'decimal' - use one of integer, ..."),
        (
            "kind: float, ",
            "",
            "s.yaml:columns.size.kind: is missing - use one of integer, float, string, time, boolean, text",
        ),
        (
            "role: id",
            "role: key",
            "s.yaml:columns.id.role: is 'key' - use one of id, time, feature, slice, cluster, label",
        ),
        ("role: id", "role: time", "s.yaml:columns: not exactly one has the role id - give it to one"),
        (
            "[a, b]",
            "[a, NO]",
            "s.yaml:columns.shop.categories: False is no text in YAML - write it in quotes",
        ),
        ("[a, b]", "[a, 07]", "s.yaml:columns.shop.categories: 7 is no text in YAML - write it in quotes"),
        ("[a, b]", "a", "s.yaml:columns.shop.categories: is 'a' - use a list"),
        (
            "[a, b]",
            "[a], environments: [test]",
            "s.yaml:columns.shop.environments: is 'test' - use one of training, serving",
        ),
        ("shop: {a: 0.5", "shops: {a: 0.5", "s.yaml:groups.shops: is no column - declare it under columns"),
        ("b: 0.5", "b: 0.7", "s.yaml:groups.shop: its shares sum to 1.2 - let them sum to 1 at most"),
        ("b: 0.5", "b: half", "s.yaml:groups.shop.b: is 'half' - use a number"),
        (
            "  shop: {a: 0.5, b: 0.5}",
            "  - shop",
            "s.yaml:groups: is no table of keys - write `key: value` lines",
        ),
    ],
)
def test_a_slip_is_one_clear_line(old: str, new: str, message: str) -> None:
    assert from_yaml(GOOD).rows == 500
    assert GOOD.count(old) >= 1
    pattern = re.escape(message).replace(re.escape("..."), ".+")
    with pytest.raises(DataError, match=f"^{pattern}$"):
        from_yaml(GOOD.replace(old, new), "s.yaml")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"none\.yaml: there is no such file - make it with `tidegate validate --infer`$"
    ):
        load(tmp_path / "none.yaml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"binary: cannot be read \(.+\) - make it a text file you may read$"):
        load(tmp_path / "binary")
    with pytest.raises(DataError, match=r": cannot be read \(.+\) - make it a text file you may read$"):
        load(tmp_path)


def test_an_edited_schema_judges_windows(schema: Schema, good: pa.Table) -> None:
    text = to_yaml(schema)
    line = next(line for line in text.splitlines() if line.startswith("  age:"))
    stricter = text.replace(line, "  age: {kind: integer, role: feature, missing: 0.1, maximum: 30}")
    window = Window(name="w", index=1, table=good.drop_columns(["y"]), fingerprint="", path="", labelled=False)
    report = validate(window, from_yaml(stricter), ValidateConf())
    assert [(c.name, c.column) for c in report.checks if c.outcome.value == "violated"] == [("range", "age")]


def test_a_cluster_a_band_and_a_unique_column_are_kept(schema: Schema) -> None:
    note = dataclasses.replace(schema.columns["note"], unique=True)
    store = dataclasses.replace(note, role="cluster", unique=False)
    changed = dataclasses.replace(
        schema, columns={**schema.columns, "note": note, "store": store}, cluster="store", fewest=10, most=20
    )
    text = to_yaml(changed)
    assert from_yaml(text) == changed
    assert {"fewest: 10", "most: 20", "cluster: store"} <= set(text.splitlines())
    assert from_yaml(text.replace("cluster: store", "cluster: week")).cluster == "week"


@pytest.mark.parametrize(
    ("line", "wrong", "expected"),
    [
        ("fewest: 10", "fewest: 30", "s.yaml:fewest: is above most - swap them"),
        ("most: 20", "most: 0", "s.yaml:most: is 0 - use 1 or more"),
        ("cluster: day", "cluster: month", "s.yaml:cluster: 'month' is no column - declare it under columns, or use"),
        ("unique: true", "unique: 1", "s.yaml:columns.note.unique: is 1 - use true or false"),
    ],
)
def test_a_wrong_band_or_cluster_is_refused(schema: Schema, line: str, wrong: str, expected: str) -> None:
    note = dataclasses.replace(schema.columns["note"], unique=True)
    columns = {**schema.columns, "note": note}
    text = to_yaml(dataclasses.replace(schema, cluster="day", fewest=10, most=20, columns=columns))
    assert line in text
    with pytest.raises(DataError) as caught:
        from_yaml(text.replace(line, wrong), "s.yaml")
    assert str(caught.value).startswith(expected)
