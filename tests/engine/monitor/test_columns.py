"""Arrow columns: what is a number, what is a category, and what says why it is neither."""

from __future__ import annotations

import decimal

import numpy as np
import pyarrow as pa
import pytest

from engine.monitor.columns import categories, numbers

TABLE = pa.table(
    {
        "float": pa.array([1.5, None, np.nan], pa.float32(), from_pandas=False),
        "int": pa.array([2**60 + 1, None, 3], pa.int64()),
        "bool": [True, False, None],
        "decimal": [decimal.Decimal("0.1"), None, decimal.Decimal("2")],
        "null": pa.nulls(3),
        "text": ["a", None, "a"],
        "codes": pa.array(["x", "y", None]).dictionary_encode(),
        "time": pa.array([0, 1, None], pa.timestamp("us")),
        "list": [["a"], [], None],
    }
)


def test_numbers_are_taken_as_they_are_and_others_say_why_not() -> None:
    good, refused = numbers(TABLE, [*TABLE.column_names, "nowhere"])
    assert list(good) == ["float", "int", "bool", "decimal", "null"]
    assert good["int"].to_pylist() == [2**60 + 1, None, 3]
    assert good["decimal"].to_pylist() == [0.1, None, 2.0]
    assert good["null"].type == pa.float64()
    assert refused["nowhere"] == "has no such column"
    assert refused["text"] == "holds string here, not numbers"
    assert set(refused) == {"text", "codes", "time", "list", "nowhere"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("text", ({"a": 2}, 1)),
        ("codes", ({"x": 1, "y": 1}, 1)),
        ("bool", ({"true": 1, "false": 1}, 1)),
        ("float", ({"1.5": 1}, 2)),
        ("null", ({}, 3)),
    ],
)
def test_categories_are_counted_as_text(name: str, expected: tuple[dict[str, int], int]) -> None:
    assert categories(TABLE, name) == expected


def test_what_is_no_category_says_why() -> None:
    assert categories(TABLE, "nowhere") == "has no such column"
    assert categories(TABLE, "list") == "holds list<item: string> here, not categories"


def test_chunks_do_not_matter() -> None:
    column = pa.chunked_array([pa.array(["a", "b"]).dictionary_encode(), pa.array(["c", "a"]).dictionary_encode()])
    assert categories(pa.table({"c": column}), "c") == ({"a": 2, "b": 1, "c": 1}, 0)
