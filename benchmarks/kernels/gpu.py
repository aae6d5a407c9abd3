"""The kernels on one GPU, each line beside its floor, measured in the same run: a device copy, a sort.

    python -m benchmarks.kernels.gpu                     100 columns x 10M rows, about 30 GiB of device memory
    python -m benchmarks.kernels.gpu --columns 20 --rows 1000000 --only KS

Needs NumPy, Numba and CuPy, nothing else. Time is the median of `--repeats` calls by the host's clock, from one
synchronisation to the next, after one call that compiles: what a caller waits. The floor of a line is the bytes it must
move at the rate of a device copy, and the keys it must sort at the rate of `cupy.sort`. Prints a table, and writes
benchmarks/results/kernels_<gpu>_<date>.json with the versions.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from kernels import drift, metrics, resample
from kernels.arrays import load_cupy
from kernels.drift import Profile

RESULTS = Path(__file__).parents[1] / "results"
RANK = ("ks", "kuiper", "cvm", "anderson", "mannwhitney", "wasserstein", "energy")
BINNED = ("psi", "js", "hellinger", "chisquare")
POINTS = 10_000  # rows a side of the joint statistics


@dataclass(frozen=True)
class Work:
    """What is timed, and what it cannot do without."""

    name: str
    run: Callable[[], object]
    bytes: float
    keys: float = 0.0


@dataclass(frozen=True)
class Line:
    """One row of the table; seconds."""

    name: str
    seconds: float
    floor: float
    ratio: float


def timed(run: Callable[[], object], repeats: int) -> float:
    """Median seconds of a call, device work included."""
    wait = load_cupy().cuda.Device().synchronize
    taken = []
    for turn in range(repeats + 1):
        wait()
        began = time.perf_counter()
        run()
        wait()
        if turn:  # the first one compiles
            taken.append(time.perf_counter() - began)
    return sorted(taken)[len(taken) // 2]


def rates(xp: Any, rows: int, repeats: int) -> tuple[float, float]:
    """(bytes a second of a device copy, read and write together; float32 keys a second of one long sort)."""
    source = column(xp, rows, 0)
    target = xp.empty_like(source)
    copied = timed(lambda: xp.copyto(target, source), repeats)
    ordered = timed(lambda: xp.sort(source), repeats)
    return 2.0 * source.nbytes / copied, rows / ordered


def column(xp: Any, rows: int, seed: int) -> Any:
    """One window of a float32 column."""
    return xp.asarray(np.random.default_rng(seed).standard_normal(rows, dtype=np.float32))


def table(xp: Any, rows: int, columns: int, seed: int) -> Any:
    """(N, F) in column order: turns and stretches of one drawn column, for drawing them all takes minutes."""
    drawn = column(xp, rows, seed)
    stacked = xp.stack([xp.roll(drawn, 7919 * f) * (1.0 + f / 100) for f in range(columns)])
    return stacked.T


def drift_works(xp: Any, rows: int, columns: int) -> Iterator[Work]:
    """Two windows of all columns."""
    x, y = table(xp, rows, columns, 1), table(xp, rows, columns, 2)
    size, keys = float(y.nbytes), float(y.size)
    profile = Profile.fit(x)
    profile.compare(y[:5000], ("ks",))  # sorts the reference
    yield Work("four binned statistics, 10 bins, fitted", lambda: profile.compare(y, BINNED), size)
    yield Work("PSI of two windows, 10 bins", lambda: drift.psi(x, y), 2 * size, keys)
    edges = [float(e) for e in np.linspace(-3, 3, 255)]
    yield Work("PSI of two windows, 256 given bins", lambda: drift.psi(x, y, bins=edges), 2 * size)
    yield Work("KS, fitted", lambda: profile.compare(y, ("ks",)), 2 * size)
    yield Work("KS of two windows", lambda: drift.ks_2samp(x, y), 4 * size, keys)
    yield Work("seven rank statistics, fitted", lambda: profile.compare(y, RANK), 2 * size, keys)
    codes = [xp.abs(side * 8).astype(np.int32) for side in (x, y)]
    yield Work("chi-square of categories", lambda: drift.chi2_contingency(*codes), 2 * size)
    few = [xp.ascontiguousarray(side[:POINTS]) for side in (x, y)]
    yield Work("MMD, 10k + 10k rows, 1000 permutations", lambda: drift.mmd(*few), float(few[0].nbytes * 2))
    yield Work("PCA reconstruction error", lambda: drift.pca_reconstruction_error(x, y, n_components=0.3), 3 * size)


def metric_works(xp: Any, rows: int) -> Iterator[Work]:
    """One model, and another beside it."""
    hidden = np.random.default_rng(3).standard_normal(rows, dtype=np.float32)
    truth = xp.asarray((hidden + np.random.default_rng(4).standard_normal(rows, dtype=np.float32) > 0).astype(np.int64))
    a = xp.asarray(1.0 / (1.0 + np.exp(-hidden)))
    b = xp.asarray(
        1.0 / (1.0 + np.exp(-hidden - 0.3 * np.random.default_rng(5).standard_normal(rows, dtype=np.float32)))
    )
    size, keys = float(a.nbytes + truth.nbytes), float(rows)
    yield Work("AUROC", lambda: metrics.roc_auc_score(truth, a), size, keys)
    yield Work("average precision", lambda: metrics.average_precision_score(truth, a), size, keys)
    yield Work("DeLong of two models", lambda: resample.delong(truth, a, b), 2 * size, 2 * keys)
    yield Work("log loss", lambda: metrics.log_loss(truth, a), size)
    yield Work("calibration error", lambda: metrics.expected_calibration_error(truth, a), size)
    yield Work("bootstrap of AUROC, 1000 resamples", lambda: bootstrapped("roc_auc_score", truth, a, 1000), size, keys)
    labels = (a >= 0.5).astype(np.int64)
    yield Work("bootstrap of F1, 2000 resamples", lambda: bootstrapped("f1_score", truth, labels, 2000), size)


def bootstrapped(metric: str, truth: Any, score: Any, resamples: int) -> object:
    """An interval of one model."""
    return resample.bootstrap(metric, truth, score, n_resamples=resamples)


def measure(columns: int, rows: int, repeats: int, only: str = "") -> tuple[dict[str, float], list[Line]]:
    """The ceilings of this device, and every line whose name holds `only`."""
    xp = load_cupy()
    copy_rate, sort_rate = rates(xp, rows, repeats)
    lines = []
    for works in (drift_works(xp, rows, columns), metric_works(xp, rows)):
        for work in works:
            if only in work.name:
                seconds = timed(work.run, repeats)
                floor = work.bytes / copy_rate + work.keys / sort_rate
                lines.append(Line(work.name, seconds, floor, seconds / floor))
                print(
                    f"{work.name:<42} {seconds * 1e3:10.2f} ms, floor {floor * 1e3:9.2f} ms: {seconds / floor:7.1f} x"
                )
    return {"copy, bytes/s": copy_rate, "sort, float32 keys/s": sort_rate}, lines


def versions() -> dict[str, str]:
    """Of what decides the numbers."""
    found = {"python": platform.python_version()}
    for package in ("numpy", "numba", "cupy-cuda13x", "cupy-cuda12x", "cupy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def main(words: list[str]) -> None:
    """Measure, show, and keep."""
    parser = argparse.ArgumentParser(description="the kernels on one GPU, beside their floors")
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="lines whose name holds this")
    chosen = parser.parse_args(words)
    gpu = load_cupy().cuda.runtime.getDeviceProperties(0)["name"].decode()
    ceilings, lines = measure(chosen.columns, chosen.rows, chosen.repeats, chosen.only)
    now = datetime.now(UTC).strftime("%Y-%m-%d")
    path = RESULTS / f"kernels_{gpu.replace(' ', '-')}_{now}.json"
    path.parent.mkdir(exist_ok=True)
    result = {"gpu": gpu, "config": vars(chosen), "versions": versions(), "ceilings": ceilings}
    path.write_text(json.dumps(result | {"lines": [asdict(line) for line in lines]}, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
