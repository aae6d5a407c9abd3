"""`tidegate drift` from the shell on two files of 200k x 20, start-up included.

    python -m pytest benchmarks/engine/monitor/bench_door.py -s

Each round is a process of its own: what is timed is what a person waits for. User and system seconds are printed
beside it, for they are what foreign load does not change.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROWS = 200_000
LIMIT = 2.5


def made(seed: int, shift: float) -> pa.Table:
    """14 numbers, of which one moves, 2 counts and 4 categories."""
    rng = np.random.default_rng(seed)
    columns = {f"x{k}": pa.array(rng.normal(shift if k == 0 else 0, 1, ROWS)) for k in range(14)}
    columns |= {f"i{k}": pa.array(rng.integers(0, 1000, ROWS)) for k in range(2)}
    columns |= {f"c{k}": pa.array(np.array(list("abcde"))[rng.integers(0, 5, ROWS)]) for k in range(4)}
    return pa.table(columns)


@pytest.mark.parametrize("page", [False, True], ids=["table", "page"])
def test_two_files_from_the_shell(benchmark: object, tmp_path: Path, page: bool) -> None:
    for name, seed, shift in (("a", 0, 0.0), ("b", 1, 0.5)):
        pq.write_table(made(seed, shift), tmp_path / f"{name}.parquet")
    words = [f"reference={tmp_path}/a.parquet", f"live={tmp_path}/b.parquet"]
    words += [f"html={tmp_path}/page.html"] if page else []
    walls: list[float] = []

    def once() -> None:
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "engine.cli", "drift", *words], capture_output=True, check=False)
        walls.append(time.perf_counter() - began)
        assert done.returncode == 3, done.stderr

    once()  # compiled kernels are cached from here on
    walls.clear()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    benchmark.pedantic(once, rounds=5, iterations=1)  # type: ignore[attr-defined]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / len(walls)
    wall = statistics.median(walls)
    print(f"\ntidegate drift, 2 x {ROWS:,} x 20: {wall:.2f} s, {cpu:.2f} s of CPU; limit {LIMIT} s")
    assert wall <= LIMIT
