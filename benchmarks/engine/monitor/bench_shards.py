"""`tidegate drift` on files that no memory holds: rows a second, memory of each process, and time against rows.

    python -m pytest benchmarks/engine/monitor/bench_shards.py -s

Each window has as many rows as the largest of SHARDS_ROWS (6.25M, 25M and 100M) in Parquet files of 625,000 rows below
SHARDS_FOLDER (the system's temporary folder): two columns of float32, one of float64 and one of text, 3.4 GB for both
windows at full size, removed at the end. A smaller size takes the first files of each window. The command is the one
that people type, with workers=2: two processes of a Ray that it starts. Every process below it is looked at five times
a second: RSS, and PSS, which counts pages that several processes share once in all. Seconds of CPU are those of the
command and all that it started.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

FILE_ROWS = 625_000
SIZES = [int(float(size) * 1e6) for size in os.environ.get("SHARDS_ROWS", "6.25,25,100").split(",")]  # millions
WORKERS = 2
LIMIT_GIB = 2.0  # of a worker, and of the driver
LIMIT_GROWTH = 1.15  # of the time for one row, from the second size to the last: the first is half start
FLOOR_ROWS = 250_000  # rows of both windows a second of CPU, at the largest size
ENVIRONMENT = {**os.environ, "RAY_worker_niceness": "0"}  # Ray's own choice, 15, would measure whoever else runs
PROGRAM = """
import sys
from engine import cli
from engine.monitor import shards

shards.LARGE = 1  # the smallest size would be read at once
sys.exit(cli.run(sys.argv[1:]))
"""
TICK = os.sysconf("SC_CLK_TCK")


def write(folder: Path, seed: int, rows: int) -> None:
    """The files of one window, each from a seed of its own."""
    folder.mkdir(parents=True)
    words = pa.array(["north", "east", "south", "west", "nowhere"])
    for number in range(rows // FILE_ROWS):
        rng = np.random.default_rng([seed, number])
        table = pa.table(
            {
                "a": rng.standard_normal(FILE_ROWS, dtype=np.float32) + np.float32(0.5 * seed),
                "b": rng.standard_exponential(FILE_ROWS, dtype=np.float32),
                "c": rng.standard_normal(FILE_ROWS),
                "d": pa.DictionaryArray.from_arrays(pa.array(rng.integers(0, 5, FILE_ROWS, np.int8)), words),
            }
        )
        pq.write_table(table, folder / f"{number:03}.parquet", compression="none", use_dictionary=["d"])


@dataclass
class Peaks:
    """The largest RSS and PSS of each process below one, in bytes, and its seconds of CPU, by its name."""

    rss: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    pss: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    cpu: dict[int, float] = field(default_factory=dict)

    def look(self, root: int) -> None:
        for pid in family(root):
            with contextlib.suppress(OSError, IndexError, ValueError):  # it ended meanwhile
                words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                name = (
                    "driver"
                    if pid == root
                    else f"worker {pid}"
                    if words.startswith(("ray::_", "ray::IDLE"))
                    else "Ray's own"
                )
                sizes = {
                    line.split(":")[0]: line for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                }
                key = f"{name} {pid}" if name == "Ray's own" else name
                self.rss[key] = max(self.rss[key], 1024 * int(sizes["Rss"].split()[1]))
                self.pss[key] = max(self.pss[key], 1024 * int(sizes["Pss"].split()[1]))
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                self.cpu[pid] = (int(fields[11]) + int(fields[12])) / TICK

    def of(self, kind: str, measure: dict[str, int]) -> list[float]:
        """GiB of the processes of that kind, largest first."""
        return sorted((size / 2**30 for name, size in measure.items() if name.startswith(kind)), reverse=True)


def family(root: int) -> list[int]:
    """The process and all below it."""
    children = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                children[int((entry / "stat").read_text().rpartition(")")[2].split()[1])].append(int(entry.name))
    found = [root]
    for pid in found:
        found += children[pid]
    return found


@contextlib.contextmanager
def watched(root: int) -> Iterator[Peaks]:
    peaks, over = Peaks(), threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            peaks.look(root)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peaks
    finally:
        over.set()
        thread.join()


def compared(folder: Path, rows: int) -> tuple[float, Peaks, dict[str, str]]:
    """Seconds, peaks and outcomes of the command on the first files of both windows."""
    part = folder / f"first {rows}"
    for side in ("reference", "live"):
        (part / side).mkdir(parents=True)
        for file in sorted((folder / side).iterdir())[: rows // FILE_ROWS]:
            (part / side / file.name).symlink_to(file)
    words = [f"reference={part / 'reference'}", f"live={part / 'live'}", f"workers={WORKERS}", "--json"]
    began = time.perf_counter()
    command = [sys.executable, "-c", PROGRAM, "drift", *words]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with watched(process.pid) as peaks:
        out, err = process.communicate()
    seconds = time.perf_counter() - began
    assert process.returncode == 3, err
    found = json.loads(out)["columns"]
    assert {c["n_reference"] for c in found} == {c["n_live"] for c in found} == {rows}, "no row is lost"
    return seconds, peaks, {c["column"]: c["outcome"] for c in found}


@pytest.fixture(scope="module")
def windows() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tidegate-shards-", dir=os.environ.get("SHARDS_FOLDER")))
    try:
        for seed, side in enumerate(("reference", "live")):
            write(folder / side, seed, max(SIZES))
        yield folder
    finally:
        shutil.rmtree(folder)


def test_memory_does_not_grow_and_time_is_linear(windows: Path) -> None:
    cost: dict[int, float] = {}
    for rows in SIZES:
        seconds, peaks, outcomes = compared(windows, rows)
        cpu = sum(peaks.cpu.values())
        cost[rows] = cpu / rows
        workers, driver = peaks.of("worker", peaks.rss), peaks.of("driver", peaks.rss)
        print(
            f"\n{rows / 1e6:g}M + {rows / 1e6:g}M rows: {seconds:.1f} s, {cpu:.1f} s of CPU, "
            f"{2 * rows / cpu:,.0f} rows a second of CPU; GiB RSS (PSS): workers "
            + ", ".join(f"{a:.2f} ({b:.2f})" for a, b in zip(workers, peaks.of("worker", peaks.pss), strict=True))
            + f"; driver {driver[0]:.2f} ({peaks.of('driver', peaks.pss)[0]:.2f}); "
            f"Ray's own {sum(peaks.of('Ray', peaks.pss)):.2f} in all",
            flush=True,
        )
        assert outcomes == {"a": "drift", "b": "no drift", "c": "no drift", "d": "no drift"}
        assert len(workers) >= WORKERS, "the workers were seen"
        assert max(*workers, *driver) < LIMIT_GIB
    if len(SIZES) > 2:
        growth = cost[SIZES[-1]] / cost[SIZES[1]]
        print(f"CPU a row at {SIZES[-1] / 1e6:g}M over that at {SIZES[1] / 1e6:g}M: {growth:.2f}", flush=True)
        assert growth < LIMIT_GROWTH
    assert 2 / cost[SIZES[-1]] > FLOOR_ROWS
