"""validate: 1M rows x 50 columns, against pandera on the checks that it has too.

    python -m pytest benchmarks/engine/validate/bench_window.py

Ours does all its checks (types, missing, ranges, categories, constants, infinities, ids, copies, order, groups);
pandera the types, missing values, ranges, categories and the uniqueness of the id. FLOOR is the least ratio that we
claim; the table of a Window is at hand in both cases, as Arrow for us and as a DataFrame for pandera.
"""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engine.records import Window
from engine.validate import ValidateConf, infer, validate

ROWS = 1_000_000
NUMERIC = [f"n{i:02d}" for i in range(36)]
CATEGORICAL = [f"c{i:02d}" for i in range(12)]
COLUMNS = SimpleNamespace(
    id="id", time="at", label="y", numeric=NUMERIC, categorical=CATEGORICAL, slices=CATEGORICAL[:2]
)
FLOOR = 2.0


def make_table() -> pa.Table:
    """36 numbers, a fifth with gaps, 12 categories of 50 levels, id and time."""
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {"id": np.arange(ROWS), "at": pa.array(np.arange(ROWS), pa.timestamp("us", "UTC"))}
    for i, name in enumerate(NUMERIC):
        values = rng.normal(size=ROWS) if i % 2 else rng.integers(0, 10_000, ROWS)
        columns[name] = pa.array(values, mask=rng.random(ROWS) < 0.05 if i % 5 == 0 else None)
    levels = np.array([f"level {i}" for i in range(50)])
    columns |= {name: pa.array(levels[rng.integers(0, 50, ROWS)]) for name in CATEGORICAL}
    return pa.table(columns)


def test_validate_1m_rows_50_columns(benchmark: Any) -> None:
    pandera = pytest.importorskip("pandera.pandas")
    table = make_table()
    schema = infer(table, COLUMNS)
    window = Window(name="w", index=0, table=table, fingerprint="", path="", labelled=False)
    report = benchmark.pedantic(
        validate, args=(window, schema, ValidateConf()), rounds=3, iterations=1, warmup_rounds=1
    )
    assert report.usable
    frame = table.to_pandas()
    checks = {
        name: pandera.Column(
            nullable=column.missing > 0,
            unique=column.role == "id",
            checks=[
                *([pandera.Check.in_range(column.minimum, column.maximum)] if column.minimum is not None else []),
                *([pandera.Check.isin(column.categories)] if column.categories is not None else []),
            ],
        )
        for name, column in schema.columns.items()
    }
    theirs = pandera.DataFrameSchema(checks)
    began = time.perf_counter()
    theirs.validate(frame, lazy=True)
    seconds = time.perf_counter() - began
    ratio = seconds / benchmark.stats.stats.min
    benchmark.extra_info |= {"checks": len(report.checks), "pandera_seconds": seconds, "ratio": ratio}
    assert ratio >= FLOOR
