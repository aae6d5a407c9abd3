"""validate: 1M rows x 50 columns, beside pandera and Great Expectations on the checks that they have too.

    python -m pytest benchmarks/engine/validate/bench_window.py

Alone, ours does all its checks (types, missing, ranges, categories, constants, infinities, ids, copies, order, groups);
beside a peer, those that the peer does: types, missing values, ranges, categories, the uniqueness of the id. The table
is at hand on all sides, as Arrow for us and as a DataFrame for them; the clock runs over the checks alone. The ratio is
theirs (once) over our fastest round, and FLOOR the least that we claim. The peers run in environments of their own: set
PANDERA_PYTHON and GX_PYTHON to their interpreters (benchmarks/peers/ says what to install), or those two are skipped.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.records import Window
from engine.validate.conf import Severities, ValidateConf
from engine.validate.schema import Schema, infer
from engine.validate.window import validate

ROWS = 1_000_000
NUMERIC = [f"n{i:02d}" for i in range(36)]
CATEGORICAL = [f"c{i:02d}" for i in range(12)]
COLUMNS = SimpleNamespace(
    id="id", time="at", label="y", numeric=NUMERIC, categorical=CATEGORICAL, slices=CATEGORICAL[:2]
)
PEERS = Path(__file__).parents[2] / "peers"
FLOOR = {"pandera_schema": 2.0, "great_expectations_suite": 10.0}
PYTHON = {"pandera_schema": "PANDERA_PYTHON", "great_expectations_suite": "GX_PYTHON"}


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


def told(schema: Schema) -> list[dict[str, Any]]:
    """What the peers are told of each column."""
    return [
        {
            "name": name,
            "missing": column.missing,
            "range": None if column.minimum is None else [column.minimum, column.maximum],
            "categories": column.categories,
            "unique": column.role == "id",
        }
        for name, column in schema.columns.items()
    ]


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return make_table()


def the_same() -> ValidateConf:
    """The checks that the peers do, too."""
    off = {field.name: "off" for field in dataclasses.fields(Severities)}
    ours = dict.fromkeys(("column", "type", "missing", "range", "categories", "ids"), "block")
    return ValidateConf(severity=Severities(**(off | ours)))


def timed(benchmark: Any, table: pa.Table, conf: ValidateConf) -> float:
    """Seconds of our fastest round."""
    schema = infer(table, COLUMNS)
    window = Window(name="w", index=0, table=table, fingerprint="", path="", labelled=False)
    report = benchmark.pedantic(validate, args=(window, schema, conf), rounds=3, iterations=1, warmup_rounds=1)
    assert report.usable
    benchmark.extra_info |= {"checks": len(report.checks), "load": os.getloadavg()[0]}
    return float(benchmark.stats.stats.min)


def test_validate_1m_rows_50_columns(benchmark: Any, table: pa.Table) -> None:
    seconds = timed(benchmark, table, ValidateConf())
    assert seconds < 1.0


@pytest.mark.parametrize("peer", FLOOR)
def test_beside(peer: str, benchmark: Any, table: pa.Table, tmp_path: Path) -> None:
    python = os.environ.get(PYTHON[peer])
    if not python:
        pytest.skip(f"set {PYTHON[peer]} to an interpreter that has it (benchmarks/peers/{peer}.py)")
    pq.write_table(table, tmp_path / "window.parquet")
    (tmp_path / "columns.json").write_text(json.dumps(told(infer(table, COLUMNS))))
    ours = timed(benchmark, table, the_same())
    words = [python, str(PEERS / f"{peer}.py"), str(tmp_path / "window.parquet"), str(tmp_path / "columns.json")]
    answer = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    assert not answer.get("failed"), answer
    benchmark.extra_info |= {"peer_seconds": answer["seconds"], "ratio": answer["seconds"] / ours}
    assert answer["seconds"] / ours >= FLOOR[peer]
