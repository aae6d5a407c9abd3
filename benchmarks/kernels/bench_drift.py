"""Drift statistics on the CPU against what a user could pick today.

    python -m pytest benchmarks/kernels/bench_drift.py

Ours is timed by pytest-benchmark and theirs next to it in the same run; the ratio is theirs over ours, medians, and
FLOOR is the least ratio that we claim. SciPy and NumPy go one column at a time, so they are timed on a few columns and
multiplied. The two peers run in environments of their own: set EVIDENTLY_PYTHON and NANNYML_PYTHON to their
interpreters (benchmarks/peers/ says what to install), or those two are skipped.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from kernels import drift
from kernels.cpu import histogram, rank
from kernels.drift import Profile

FLOOR = {
    "ks": 40.0,
    "seven": 60.0,
    "sort": 1 / 2.5,
    "binned": 10.0,
    "many bins": 3.0,
    "many bins by search": 15.0,
    "evidently": 100.0,
    "nannyml": 10.0,
    "profile": 1.7,
    "mmd": 20.0,
}
COLUMNS = 20
BINNED = ("psi", "js", "hellinger", "chisquare")
PEERS = Path(__file__).parents[1] / "peers"


@pytest.fixture(scope="module")
def windows() -> tuple[Any, Any]:
    """1M + 1M rows x 20 columns, float32, column-major as an Arrow table gives them."""
    rng = np.random.default_rng(0)
    shape = (1_000_000, COLUMNS)
    return tuple(np.asfortranarray(rng.standard_normal(shape, dtype=np.float32)) for _ in range(2))


def seconds(work: Callable[[], Any], rounds: int = 3) -> float:
    """Median wall seconds of a few calls."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def ours(benchmark: Any, work: Callable[[], Any], rounds: int = 5) -> float:
    """Median wall seconds of our side; the warm-up round compiles."""
    benchmark.pedantic(work, rounds=rounds, iterations=1, warmup_rounds=1)
    return float(benchmark.stats.stats.median)


def settle(benchmark: Any, name: str, mine: float, theirs: float) -> None:
    """Record the ratio and hold it to its floor."""
    benchmark.extra_info |= {"seconds": mine, "peer_seconds": theirs, "ratio": theirs / mine, "floor": FLOOR[name]}
    print(f"\n{name}: {mine:.4f} s, peer {theirs:.4f} s, ratio {theirs / mine:.3g}, floor {FLOOR[name]:.3g}")
    assert theirs / mine >= FLOOR[name]


def seven(x: Any, y: Any) -> Any:
    """KS, Kuiper, CvM, AD, Mann-Whitney, Wasserstein and energy of every column."""
    return rank.rank_sums(*(rank.sort_columns(rank.split_columns(v)) for v in (x, y)))


def test_ks_against_scipy(benchmark: Any, windows: tuple[Any, Any]) -> None:
    x, y = windows
    mine = ours(benchmark, lambda: drift.ks_2samp(x, y, method="asymp"))
    one = seconds(lambda: stats.ks_2samp(x[:, 0], y[:, 0], method="asymp"))
    settle(benchmark, "ks", mine, COLUMNS * one)


def test_seven_statistics_against_scipys_four(benchmark: Any, windows: tuple[Any, Any]) -> None:
    x, y = windows
    mine = ours(benchmark, lambda: seven(x, y))
    a, b = x[:, 0], y[:, 0]
    one = sum(
        seconds(work, 1)
        for work in (
            lambda: stats.ks_2samp(a, b, method="asymp"),
            lambda: stats.wasserstein_distance(a, b),
            lambda: stats.cramervonmises_2samp(a, b, method="asymptotic"),
            lambda: stats.energy_distance(a, b),
        )
    )
    settle(benchmark, "seven", mine, COLUMNS * one)


def test_seven_statistics_against_two_sorts(benchmark: Any, windows: tuple[Any, Any]) -> None:
    x, y = windows
    mine = ours(benchmark, lambda: seven(x, y))
    settle(benchmark, "sort", mine, seconds(lambda: (np.sort(x, axis=0), np.sort(y, axis=0)), 5))


def numpy_psi(x: Any, y: Any) -> float:
    """PSI of one column as it is usually written."""
    edges = np.concatenate([[-np.inf], np.quantile(x, np.arange(1, 10) / 10), [np.inf]])
    p, q = (np.histogram(v, edges)[0] / v.size for v in (x, y))
    return float(((q - p) * np.log(q / p)).sum())


def test_four_binned_statistics_against_numpys_psi(benchmark: Any, windows: tuple[Any, Any]) -> None:
    x, y = windows
    mine = ours(benchmark, lambda: Profile.fit(x).compare(y, BINNED))
    settle(benchmark, "binned", mine, COLUMNS * seconds(lambda: numpy_psi(x[:, 0], y[:, 0])))


@pytest.mark.parametrize("name", ["many bins", "many bins by search"])
def test_256_quantile_bins_against_numpy(benchmark: Any, windows: tuple[Any, Any], name: str) -> None:
    x, y = windows
    edges = [np.sort(x[:, f])[np.arange(1, 256) * len(x) // 256] for f in range(COLUMNS)]
    mine = ours(benchmark, lambda: histogram.bin_counts(y, edges))
    closed = np.concatenate([[-np.inf], edges[0], [np.inf]])
    one = {
        "many bins": lambda: np.histogram(y[:, 0], closed),
        "many bins by search": lambda: np.bincount(np.searchsorted(edges[0], y[:, 0], "right"), minlength=256),
    }[name]
    settle(benchmark, name, mine, COLUMNS * seconds(one))


def test_compare_to_a_fitted_profile(benchmark: Any, windows: tuple[Any, Any]) -> None:
    x, y = windows
    fitted = Profile.fit(x)
    mine = ours(benchmark, lambda: fitted.compare(y, ("ks", "psi")))
    settle(benchmark, "profile", mine, seconds(lambda: Profile.fit(x).compare(y, ("ks", "psi"))))


def dense_permutations(x: Any, y: Any, count: int) -> None:
    """The kernel matrix stored, and gathered for every permutation."""
    z = np.concatenate([x, y])
    squares = (z * z).sum(1)
    kernel = np.exp(-0.025 * np.maximum(squares[:, None] + squares - 2.0 * (z @ z.T), 0.0))
    rng, n = np.random.default_rng(0), len(x)
    for _ in range(count):
        order = rng.permutation(len(z))
        shuffled = kernel[order][:, order]
        _ = shuffled[:n, :n].sum() + shuffled[n:, n:].sum() - 2 * shuffled[:n, n:].sum()


def test_mmd_against_a_stored_kernel_matrix(benchmark: Any) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(5000, 20)), rng.normal(size=(5000, 20))
    mine = ours(benchmark, lambda: drift.mmd(x, y, n_resamples=1000), 3)
    tracemalloc.start()
    drift.mmd(x, y, n_resamples=1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    benchmark.extra_info["peak_megabytes"] = peak / 1e6
    print(f"\nmmd: peak {peak / 1e6:.0f} MB")
    assert peak < 200e6
    none, three = (seconds(lambda count=count: dense_permutations(x, y, count), 1) for count in (0, 3))
    settle(benchmark, "mmd", mine, none + (three - none) / 3 * 1000)


def peer(name: str, script: str, path: Path) -> float:
    """Seconds that a peer takes for the table stored at `path`, in its own interpreter."""
    python = os.environ.get(f"{name.upper()}_PYTHON")
    if not python:
        pytest.skip(f"{name.upper()}_PYTHON is not set")
    done = subprocess.run([python, str(PEERS / script), str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"])


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """200k + 200k rows x 20 columns, float64, and the file that the peers read."""
    rng = np.random.default_rng(2)
    x, y = (np.asfortranarray(rng.normal(size=(200_000, COLUMNS))) for _ in range(2))
    path = tmp_path_factory.mktemp("peers") / "windows.npz"
    np.savez(path, reference=x, live=y)
    return path, x, y


def test_full_table_against_evidently(benchmark: Any, stored: tuple[Path, Any, Any]) -> None:
    path, x, y = stored
    theirs = peer("evidently", "evidently_preset.py", path)
    names = ("ks", "wasserstein_normed", "psi", "js", "missing")
    settle(benchmark, "evidently", ours(benchmark, lambda: Profile.fit(x).compare(y, names)), theirs)


def test_full_table_against_nannyml(benchmark: Any, stored: tuple[Path, Any, Any]) -> None:
    path, x, y = stored
    theirs = peer("nannyml", "nannyml_univariate.py", path)
    settle(benchmark, "nannyml", ours(benchmark, lambda: Profile.fit(x).compare(y, ("ks", "js"))), theirs)
