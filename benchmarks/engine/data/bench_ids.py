"""Reading a window of 5 million rows and joining its labels: ids as whole numbers, as UUIDs in text, as short texts.

    python -m pytest benchmarks/engine/data/bench_ids.py --benchmark-only

Four numeric features beside id and time; label files hold the rows in another order. Text costs the reading of more
bytes, one hash a row, a sort of the keys, and a comparison of the texts behind paired keys.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.data.conf import DataConf
from engine.data.sources import ParquetSource

ROWS = 5_000_000
ODD = 0x9E3779B97F4A7C15F39CC0605CEDC835  # spreads counted numbers over all bits
KINDS: dict[str, Callable[[int], pa.Array]] = {
    "whole numbers": lambda n: pa.array(np.arange(n)),
    "UUIDs": lambda n: pa.array([str(uuid.UUID(int=i * ODD % 2**128)) for i in range(n)]),
    "short texts": lambda n: pa.array([f"C-{i}" for i in range(n)]),
}


@pytest.fixture(scope="module", params=KINDS)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ParquetSource:
    """One window and its label file under ids of one kind."""
    folder: Path = tmp_path_factory.mktemp("ids")
    rng, ids = np.random.default_rng(0), KINDS[request.param](ROWS)
    at = pa.array(np.datetime64("2026-01-01", "us") + np.arange(ROWS))
    numeric = {f"x{k}": rng.normal(size=ROWS) for k in range(4)}
    labels = pa.table({"id": ids, "y": rng.integers(0, 2, ROWS)}).take(rng.permutation(ROWS))
    for name, table in (("windows", pa.table({"id": ids, "at": at, **numeric})), ("labels", labels)):
        (folder / name).mkdir()
        pq.write_table(table, folder / name / "w1.parquet")
    return ParquetSource(
        DataConf(
            path=str(folder / "windows"),
            labels=str(folder / "labels"),
            id="id",
            time="at",
            label="y",
            task="binary",
            numeric=list(numeric),
        )
    )


@pytest.mark.benchmark(group="5M rows")
@pytest.mark.parametrize("labelled", [False, True], ids=["plain", "labelled"])
def test_read(source: ParquetSource, labelled: bool, benchmark: Callable[..., object]) -> None:
    benchmark.pedantic(source.read, ("w1",), {"labelled": labelled}, rounds=2)  # type: ignore[attr-defined]
