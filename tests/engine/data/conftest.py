"""Small windows with every kind of column, and the config that reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.data.conf import DataConf

START = np.datetime64("2024-05-01T00:00:00", "us")


def make_table(n: int = 40, first_id: int = 0, seed: int = 0) -> pa.Table:
    """Rows with two numbers (one with gaps), two categories and a label with gaps."""
    rng = np.random.default_rng(seed)
    label = pa.array(rng.integers(0, 2, n), mask=np.arange(n) % 10 == 9)
    return pa.table(
        {
            "id": pa.array(np.arange(first_id, first_id + n)),
            "at": pa.array(START + np.arange(n) * np.timedelta64(1, "m")),
            "size": pa.array(rng.normal(5.0, 2.0, n)),
            "age": pa.array(rng.integers(0, 9, n), mask=np.arange(n) % 7 == 3),
            "shop": pa.array(rng.choice(["a", "b", "c"], n)),
            "floor": pa.array(rng.integers(1, 3, n)),
            "group": pa.array(rng.choice(["x", "y"], n)),
            "extra": pa.array(rng.normal(size=n)),
            "bought": label,
        }
    )


@pytest.fixture
def table() -> pa.Table:
    """One table of 40 rows."""
    return make_table()


@pytest.fixture
def make_conf(tmp_path: Path) -> Callable[..., DataConf]:
    """A DataConf over tmp_path; keywords override."""

    def make(**changes: Any) -> DataConf:
        values: dict[str, Any] = {
            "path": str(tmp_path / "windows"),
            "labels": str(tmp_path / "labels"),
            "id": "id",
            "time": "at",
            "label": "bought",
            "task": "binary",
            "numeric": ["size", "age"],
            "categorical": ["shop", "floor"],
            "slices": ["shop", "group"],
        }
        return DataConf(**values | changes)

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two windows (w1, w2) with their label files."""
    for name, first in (("w1", 0), ("w2", 100)):
        whole = make_table(first_id=first, seed=first)
        write(whole.drop_columns(["bought"]), tmp_path / "windows" / f"{name}.parquet")
        labels = whole.select(["id", "bought"]).filter(whole["bought"].is_valid())
        write(labels.sort_by([("id", "descending")]), tmp_path / "labels" / f"{name}.parquet")
    return tmp_path


def write(table: pa.Table, path: Path) -> None:
    """Plain Parquet, without the code under test."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
