"""Files in shards against the same files as tables: one report, whoever maps over the shards."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import DataError
from engine.monitor import shards
from engine.monitor.conf import MonitorConf
from engine.monitor.drift import Reference, compare
from engine.monitor.ray_map import RayMap
from engine.records import DriftReport

NUMERIC, CATEGORICAL = ("x", "count", "flat"), ("word", "flag", "code")


def table(seed: int, rows: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    code = np.where(rng.random(rows) < 0.1, np.nan, rng.integers(0, 4, rows))
    return pa.table(
        {
            "x": pa.array(rng.normal(0.3 * seed, 1, rows), mask=rng.random(rows) < 0.05),
            "count": rng.integers(0, 2**62, rows),
            "flat": np.zeros(rows),
            "word": pa.array(rng.choice(["a", "b", f"only {seed}"], rows), mask=rng.random(rows) < 0.1),
            "flag": rng.random(rows) < 0.5,
            "code": code,
            "when": pa.array(np.arange(rows), pa.timestamp("us")),
        }
    )


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Each window as three files of several row groups."""
    for name, seed, rows in (("reference", 0, 5000), ("live", 1, 4000)):
        whole = table(seed, rows)
        for k, (first, last) in enumerate(((0, 1700), (1700, 1703), (1703, rows))):
            path = tmp_path / name / f"part={k}" / "rows.parquet"
            path.parent.mkdir(parents=True)
            pq.write_table(whole.slice(first, last - first), path, row_group_size=600)
    return tmp_path / "reference", tmp_path / "live"


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_ROWS", 1300)
    monkeypatch.setattr(shards, "BATCH_ROWS", 250)


def in_memory() -> DriftReport:
    held = Reference(name="r", table=table(0, 5000), numeric=NUMERIC, categorical=CATEGORICAL)
    return compare(held, table(1, 4000), "l", MonitorConf())


def assert_same(report: DriftReport, expected: DriftReport) -> None:
    assert len(report.columns) == len(expected.columns)
    for mine, theirs in zip(report.columns, expected.columns, strict=True):
        for field in dataclasses.fields(mine):
            a, b = getattr(mine, field.name), getattr(theirs, field.name)
            same = math.isclose(a, b, rel_tol=1e-12) or (a != a and b != b) if isinstance(a, float) else a == b
            assert same, (mine.column, field.name, a, b)


def backwards(function: Callable[[Any], Any], things: Iterable[Any]) -> Iterator[Any]:
    return map(function, reversed(list(things)))


@pytest.mark.parametrize("mapper", [map, backwards])
def test_a_folder_in_shards_is_the_table(folders: tuple[Path, Path], mapper: shards.Mapper) -> None:
    old, new = map(str, folders)
    report = shards.compare_files(old, new, NUMERIC, CATEGORICAL, MonitorConf(), mapper)
    assert (report.reference, report.live) == (old, new)
    assert_same(report, in_memory())


def test_processes_share_the_shards(folders: tuple[Path, Path]) -> None:
    old, new = map(str, folders)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert_same(shards.compare_files(old, new, NUMERIC, CATEGORICAL, MonitorConf(), pool.map), in_memory())


def test_shards_cover_every_row_once(folders: tuple[Path, Path]) -> None:
    _, found = shards.open_files(str(folders[0]))
    assert len(found) > 3
    columns = shards.Columns(numeric=NUMERIC, categorical=CATEGORICAL)
    rows = [sum(len(batch["x"]) for batch in columns.batches(shard)) for shard in found]
    assert sum(rows) == 5000
    assert max(rows) <= 1300
    _, globbed = shards.open_files(f"{folders[0]}/*/rows.parquet")
    assert globbed == found


def test_what_is_large_is_scanned(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    file = folders[0] / "part=0" / "rows.parquet"
    assert not shards.is_large([str(file)])
    assert not shards.is_large(["nothing.parquet"])
    monkeypatch.setattr(shards, "LARGE", 2 * file.stat().st_size)
    assert not shards.is_large([str(file)])
    assert shards.is_large([str(file), str(file)])
    (csv := folders[0] / "rows.csv").write_bytes(file.read_bytes())
    assert not shards.is_large([str(csv)] * 3)


def test_refusals(folders: tuple[Path, Path], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match=r"empty: holds no file \*\.parquet - name another folder, glob or file"):
        shards.open_files(str(empty))
    odd = folders[1] / "part=9.parquet"
    pq.write_table(table(1, 10).drop_columns("word"), odd)
    with pytest.raises(DataError, match=r"part=9\.parquet:word: is absent, and string in .* - store it as one type"):
        shards.open_files(str(folders[1]))
    odd.write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match=r"part=9\.parquet: cannot be read \(.*\) - write it again, or leave it out"):
        shards.open_files(str(folders[1]))
    pq.write_table(table(1, 1), empty / "one.parquet")
    with pytest.raises(DataError, match=r"empty: has 1 rows - a comparison needs at least 2"):
        shards.open_files(str(empty))
    with pytest.raises(DataError, match=r"reference:when: holds timestamp\[us\], not numbers - list it under"):
        shards.compare_files(str(folders[0]), str(folders[0]), ("when",), (), MonitorConf())
    (empty / "a.csv").write_text("x\n1\n2\n")
    with pytest.raises(DataError, match=r"a\.csv: is no Parquet file - write it as Parquet"):
        shards.open_files(str(empty / "a.csv"))


@dataclasses.dataclass(frozen=True)
class Dies:
    """Calls the function, but its process is killed in the middle of the first shard that it meets."""

    function: Callable[[Any], Any]
    mark: str

    def __call__(self, thing: Any) -> Any:
        try:
            os.close(os.open(self.mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return self.function(thing)
        os.kill(os.getpid(), signal.SIGKILL)


def fails(thing: int) -> int:
    if thing == 2:
        raise ValueError("two is wrong")
    return thing


@pytest.mark.ray
def test_ray_gives_the_same_though_a_worker_dies(folders: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = map(str, folders)
    mark = tmp_path / "killed"
    with RayMap(workers=2) as ray_map:

        def mapper(function: Callable[[Any], Any], things: Iterable[Any]) -> Iterable[Any]:
            return ray_map(Dies(function, str(mark)), things)

        report = shards.compare_files(old, new, NUMERIC, CATEGORICAL, MonitorConf(), mapper)
        assert mark.exists()
        assert_same(report, in_memory())
        with pytest.raises(ValueError, match="two is wrong"):
            list(ray_map(fails, [1, 2, 3]))
        token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
        assert token.exists()
    assert not token.exists()  # it was for this Ray alone
    assert os.environ.get("RAY_AUTH_TOKEN_PATH") != str(token)
