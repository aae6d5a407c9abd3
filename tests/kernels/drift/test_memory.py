"""A window larger than the memory it is given: peak memory of a process of its own, and time in proportion to rows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

COLUMNS = 4
PROGRAM = """
import json, re, sys, time
import pyarrow.parquet as pq
from kernels.drift import Profile

path, statistics = sys.argv[1], sys.argv[2].split(",")

def batches():
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield from file.iter_batches(262144, row_groups=[group])

def highest():  # in kB, of this program alone: ru_maxrss is that of the process that started it, where it was larger
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])

def anew():  # compiling takes as much at its peak as a short stream does
    open("/proc/self/clear_refs", "w").write("5")
    return highest()

first = next(batches())
fitted = Profile.fit(first)
fitted.compare_batches(lambda: [first], statistics)  # everything is compiled and loaded
before = anew()
began, worked = time.perf_counter(), time.process_time()
table = fitted.compare_batches(batches, statistics)
seconds, worked = time.perf_counter() - began, time.process_time() - worked
peak = highest()
alone, held = anew(), bytearray(100 * 2**20)
seen = highest() - alone
sizes = {"before": before / 1024, "peak": peak / 1024, "seen": seen / 1024, "rows": table.rows[0].n_live}
print(json.dumps(sizes | {"seconds": seconds, "worked": worked}))
"""


def measured(path: Path, statistics: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(path), statistics], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout))


def written(path: Path, rows: int) -> Path:
    """Normal columns of float64, in row groups of 500,000."""
    rng = np.random.default_rng(rows)
    schema = pa.schema([(f"x{k}", pa.float64()) for k in range(COLUMNS)])
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as file:
        for first in range(0, rows, 500_000):
            size = min(500_000, rows - first)
            file.write_table(pa.table([rng.normal(0.01, 1, size) for _ in range(COLUMNS)], schema=schema))
    return path


@pytest.mark.parametrize(
    "statistics", ["ks,psi,chisquare,missing", "ks,cvm,anderson,mannwhitney,wasserstein,energy,psi"]
)
@pytest.mark.parametrize(("rows", "bound"), [(1_500_000, 300), pytest.param(20_000_000, 400, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_window(
    rows: int, bound: int, statistics: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """The whole process stays below `bound` MB more than before; the window alone is 640 MB at full size."""
    path = written(tmp_path / "live.parquet", rows)
    found = measured(path, statistics)
    window = rows * COLUMNS * 8 / 2**20
    record_property(
        f"memory of a stream of {rows} x {COLUMNS} rows ({window:.0f} MB), {statistics}",
        f"{found['peak'] - found['before']:.0f} MB on top of {found['before']:.0f} MB, {found['seconds']:.1f} s",
    )
    assert found["rows"] == rows
    assert found["peak"] - found["before"] < bound
    assert found["seen"] > 90, "the measure is blind to 100 MB that the process holds"


@pytest.mark.slow
def test_time_is_linear_in_rows(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    seconds = {}
    for rows in (5_000_000, 20_000_000):
        path = written(tmp_path / f"{rows}.parquet", rows)
        seconds[rows] = measured(path, "ks,psi,chisquare,missing")["worked"]
    ratio = seconds[20_000_000] / seconds[5_000_000]
    record_property(
        "processor time of a stream of 20M x 4 rows", f"{ratio:.1f} times that of 5M, {seconds[20_000_000]:.1f} s"
    )
    assert ratio < 6
