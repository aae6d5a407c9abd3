"""A good window, its schema, and a way to spoil it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from engine.records import Check, Window
from engine.validate.conf import ValidateConf
from engine.validate.schema import Schema, infer
from engine.validate.window import validate

START = np.datetime64("2024-05-01T00:00:00", "us")
COLUMNS = SimpleNamespace(
    id="id",
    time="at",
    label="y",
    numeric=["size", "age"],
    categorical=["shop", "note"],
    slices=["shop", "region"],
)


def make_table(n: int = 1000, day: int = 0, seed: int = 0) -> pa.Table:
    """A window of one day: numbers, one with gaps; categories, one of them free text; a label with gaps."""
    rng = np.random.default_rng([seed, day])
    times = START + np.arange(n) * np.timedelta64(86_400_000_000 // n, "us") + np.timedelta64(day, "D")
    return pa.table(
        {
            "id": pa.array(np.arange(n) + day * 1_000_000),
            "at": pa.array(times, pa.timestamp("us", "UTC")),
            "size": pa.array(rng.normal(size=n)),
            "age": pa.array(rng.integers(0, 90, n), mask=rng.random(n) < 0.1),
            "shop": pa.array(rng.choice(["north", "south", "west"], n, p=[0.5, 0.3, 0.2])),
            "note": pa.array([f"note {i}" for i in rng.permutation(n)]),
            "region": pa.array(rng.choice(["x", "y"], n)),
            "y": pa.array(rng.integers(0, 2, n), mask=rng.random(n) < 0.05),
        }
    )


def as_window(table: pa.Table, *, index: int = 1, labelled: bool = False) -> Window:
    """The table as a window; without its label where that is not in."""
    if not labelled and "y" in table.column_names:
        table = table.drop_columns(["y"])
    return Window(name=f"w{index}", index=index, table=table, fingerprint="f", path="", labelled=labelled)


@pytest.fixture(scope="session")
def reference() -> pa.Table:
    """The rows of the reference: the day before."""
    return make_table(1200, day=0)


@pytest.fixture(scope="session")
def schema(reference: pa.Table) -> Schema:
    """What they look like."""
    return infer(reference, COLUMNS, reference="w0")


@pytest.fixture
def good() -> pa.Table:
    """The next day, nothing wrong."""
    return make_table(1000, day=1)


@pytest.fixture
def look(schema: Schema) -> Callable[..., dict[tuple[str, str], Check]]:
    """Validate a table against the schema; the checks by (name, column)."""

    def run(
        table: pa.Table,
        conf: ValidateConf | None = None,
        *,
        labelled: bool = False,
        against: Schema | None = schema,
        previous: pa.Table | None = None,
    ) -> dict[tuple[str, str], Check]:
        report = validate(
            as_window(table, labelled=labelled),
            against,
            conf or ValidateConf(),
            columns=COLUMNS,
            previous=as_window(previous, index=0) if previous is not None else None,
        )
        assert report.n_rows == table.num_rows
        assert len({(c.name, c.column) for c in report.checks}) == len(report.checks)
        return {(check.name, check.column): check for check in report.checks}

    return run
