from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binomtest

from engine.records.estimates import wilson
from engine.records.fields import TEXT_IDS, named
from engine.validate.facts import Column, copies


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (1, 7), (50, 100), (3, 1000), (999, 1000)])
@pytest.mark.parametrize("level", [0.9, 0.99])
def test_the_interval_is_that_of_scipy(k: int, n: int, level: float) -> None:
    truth = binomtest(k, n).proportion_ci(level, method="wilson")
    assert wilson(k, n, level) == pytest.approx((truth.low, truth.high), abs=1e-12)


def test_of_nothing_nothing_is_known() -> None:
    assert wilson(0, 0, 0.95) == (0.0, 1.0)


def test_copies_agree_with_counting_tuples() -> None:
    rng = np.random.default_rng(0)
    n = 3000
    values = {
        "a": pa.array(rng.integers(0, 4, n), mask=rng.random(n) < 0.2),
        "b": pa.array(rng.integers(0, 3, n) / 2),
        "c": pa.array(rng.choice(["x", "y", "z"], n), mask=rng.random(n) < 0.2),
        "d": pa.array(rng.random(n) < 0.5),
        "e": pa.array(rng.integers(0, 9, n), pa.timestamp("us")),
    }
    table = pa.table(values)
    columns = [Column(name, table[name]) for name in table.column_names]
    rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    assert copies(columns) == n - len(set(rows)) > 0
    assert copies([]) == 0


def test_dictionary_columns_read_like_their_values() -> None:
    plain = pa.chunked_array([["b", "a", None, "b"]])
    for column in (Column("c", plain), Column("c", plain.dictionary_encode())):
        assert column.kind == "string"
        assert column.shares() == {"b": 2, "a": 1}
        assert (column.missing, column.present, column.longest, column.constant) == (1, 3, 1, False)


def test_a_column_is_what_people_know_it_as() -> None:
    """A label whose codes have names, and keys of ids that were texts."""
    label = pa.field("y", pa.int64(), metadata=named(["stayed", "churned"]))
    key = pa.field("id", pa.int64(), metadata=TEXT_IDS)
    table = pa.table([pa.array([1, None, 0, 1]), pa.array([7, -8, 9, 10])], schema=pa.schema([label, key]))
    found = Column.of(table, "y")
    assert (found.kind, found.shares(), found.missing) == ("string", {"churned": 2, "stayed": 1}, 1)
    assert found.extremes == ("churned", "stayed")
    assert (Column.of(table, "id").kind, Column("id", table["id"]).kind) == ("text", "integer")
