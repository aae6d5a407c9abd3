"""Files in shards against the same files as tables: one report, whoever maps over the shards."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
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
from engine.monitor.ray_map import AHEAD, RayMap
from engine.records import DriftOutcome, DriftReport

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


def scanned(
    folders: tuple[Path, Path], mapper: shards.Mapper = map, numeric: tuple[str, ...] = NUMERIC,
    categorical: tuple[str, ...] = CATEGORICAL,
) -> DriftReport:  # fmt: skip
    files = [shards.open_files(str(folder)) for folder in folders]
    columns = shards.Columns(numeric=numeric, categorical=categorical)
    return shards.compare_files(files[0], files[1], columns, MonitorConf(), mapper)


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
    report = scanned(folders, mapper)
    assert (report.reference, report.live) == tuple(map(str, folders))
    assert_same(report, in_memory())


def test_processes_share_the_shards(folders: tuple[Path, Path]) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert_same(scanned(folders, pool.map), in_memory())


def test_shards_cover_every_row_once(folders: tuple[Path, Path]) -> None:
    files = shards.open_files(str(folders[0]))
    found = files.shards
    assert len(found) > 3
    columns = shards.Columns(numeric=NUMERIC, categorical=CATEGORICAL)
    rows = [sum(len(batch["x"]) for batch in columns.batches(shard)) for shard in found]
    assert sum(rows) == files.rows == 5000
    assert max(rows) <= 1300
    assert shards.open_files(f"{folders[0]}/*/rows.parquet").shards == found


def test_a_column_that_cannot_be_compared_hides_no_other(folders: tuple[Path, Path]) -> None:
    """Absent, of another kind, or with no value at all: as the tables in memory have it."""
    whole = table(1, 4000)
    spoilt = whole.drop_columns(["flat", "flag"]).set_column(1, "count", pa.array(["many"] * 4000))
    spoilt = spoilt.set_column(0, "x", pa.nulls(4000)).append_column("lists", pa.array([[1]] * 4000))
    new = folders[1].parent / "spoilt"
    new.mkdir()
    pq.write_table(spoilt, new / "rows.parquet")
    numeric, categorical = ("x", "count", "flat", "when"), ("word", "flag", "lists")
    held = Reference(name="r", table=table(0, 5000), numeric=numeric, categorical=categorical)
    report = scanned((folders[0], new), map, numeric, categorical)
    assert_same(report, compare(held, spoilt, "l", MonitorConf()))
    found = {c.column: c.reason for c in report.columns if c.outcome is DriftOutcome.UNDECIDABLE}
    assert found == {
        "x": "0 values in the live window, 50 are needed",
        "count": "the live window holds string here, not numbers",
        "flat": "the live window has no such column",
        "when": "the reference holds timestamp[us] here, not numbers",
        "flag": "the live window has no such column",
        "lists": "the reference has no such column",
    }
    old = scanned((folders[0], new), map, ("when",), ())
    assert [c.outcome for c in old.columns] == [DriftOutcome.UNDECIDABLE], "nothing is left to scan"


def test_what_footers_say_of_constants(tmp_path: Path) -> None:
    def constant(name: str, *columns: pa.Array, **options: Any) -> bool:
        folder = tmp_path / f"{name}"
        folder.mkdir()
        for k, column in enumerate(columns):
            pq.write_table(pa.table({"a": [[0]] * len(column), name: column}), folder / f"{k}.parquet", **options)
        return shards.open_files(str(folder)).is_constant(name)

    assert constant("same", pa.array([7] * 900), pa.array([7] * 900), row_group_size=300)
    assert not constant("another file", pa.array([7] * 9), pa.array([8] * 9))
    assert not constant("another group", pa.array([7] * 300 + [8]), row_group_size=300)
    assert not constant("gaps", pa.array([7, None]))
    assert not constant("nothing said", pa.array([7, 7]), write_statistics=False)


class Ahead:
    """Things that count how many of them were taken before their results were."""

    def __init__(self, size: int) -> None:
        self.taken = self.given = self.most = 0
        self.size = size

    def __iter__(self) -> Iterator[int]:
        for thing in range(self.size):
            self.taken += 1
            self.most = max(self.most, self.taken - self.given)
            yield thing


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
    mark = tmp_path / "killed"
    with RayMap(workers=2) as ray_map:

        def mapper(function: Callable[[Any], Any], things: Iterable[Any]) -> Iterable[Any]:
            return ray_map(Dies(function, str(mark)), things)

        report = scanned(folders, mapper)
        assert mark.exists()
        assert_same(report, in_memory())
        with pytest.raises(ValueError, match="two is wrong"):
            list(ray_map(fails, [1, 2, 3]))
        ahead = Ahead(20)
        for _ in ray_map(abs, ahead):
            ahead.given += 1
        assert (ahead.given, ahead.most) == (20, 2 * AHEAD + 1), "results of few tasks wait, however many there are"
        token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
        assert token.exists()
    assert not token.exists()  # it was for this Ray alone
    assert os.environ.get("RAY_AUTH_TOKEN_PATH") != str(token)


PROGRAM = """
import json, re, sys
from engine.monitor import shards
from engine.monitor.conf import MonitorConf

shards.SHARD_ROWS, shards.BATCH_ROWS = 250_000, 62_500
columns = shards.Columns(numeric=("a", "b", "c"), categorical=("d",))
found = {}
for folder in sys.argv[1:]:
    old, new = (shards.open_files(f"{folder}/{side}") for side in ("reference", "live"))
    report = shards.compare_files(old, new, columns, MonitorConf())
    assert {c.n_live for c in report.columns} == {new.rows}
    found[folder] = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
print(json.dumps(list(found.values())))
"""


def test_memory_does_not_grow_with_the_files(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Peak of one process after a small pair of windows, and after one of eight times as many rows.

    The full size is benchmarks/engine/monitor/bench_shards.py.
    """
    rows = 125_000
    for seed, side in enumerate(("reference", "live")):
        for k in range(16):
            rng = np.random.default_rng([seed, k])
            numbers = {name: rng.normal(0.1 * seed, 1, rows) for name in "abc"}
            part = pa.table({**numbers, "d": rng.choice(["x", "y", "z"], rows)})
            for size in ("small", "large") if k < 2 else ("large",):
                path = tmp_path / size / side / f"{k:02}.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(part, path, compression="none")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "small"), str(tmp_path / "large")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    small, large = json.loads(done.stdout)
    held = 2 * 16 * rows * 3 * 8 / 2**20
    record_property(
        "memory of a scan in shards",
        f"{small:.0f} MiB at the peak for 2 x 250,000 rows, {large:.0f} for 2 x 2,000,000 ({held:.0f} MiB of numbers)",
    )
    assert large - small < 32 < held / 2
