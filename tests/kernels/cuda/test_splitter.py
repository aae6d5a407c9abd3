"""The splitter path of Kolmogorov-Smirnov and Kuiper: the integers of the reference, in any order of threads."""

from __future__ import annotations

from typing import Any

import device
import numpy as np
import pytest

from kernels import drift
from kernels.cuda import rank, source, splitter
from kernels.reference import rank as reference
from kernels.sums import Extremes, SortedColumns

WINDOWS = {
    "normal": lambda rng, n: rng.normal(size=n).astype(np.float32),
    "doubles": lambda rng, n: rng.normal(0.05, 1.0, n),
    "cauchy": lambda rng, n: rng.standard_cauchy(n).astype(np.float32),
    "heavy ties": lambda rng, n: rng.integers(0, 5, n).astype(np.float64),
    "some ties": lambda rng, n: np.round(rng.normal(size=n), 2),
    "one tie": lambda rng, n: np.zeros(n, np.float32),
    "atom": lambda rng, n: np.where(rng.random(n) < 0.4, 0.0, rng.normal(size=n)),
    "missing": lambda rng, n: np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n)),
    "all missing": lambda rng, n: np.full(n, np.nan),
    "infinite": lambda rng, n: rng.choice([np.inf, -np.inf, 0.0, -0.0, 5e-324, -5e-324], n),
    "denormals": lambda rng, n: (rng.integers(-9, 9, n) * 1e-45).astype(np.float32),
    "huge": lambda rng, n: rng.choice([1.0, -1.0], n) * 10.0 ** rng.uniform(300, 308, n),
    "integers": lambda rng, n: rng.integers(2**53, 2**53 + 40, n),
    "int64 ends": lambda rng, n: rng.choice(np.array([-(2**63), -1, 0, 2**63 - 1]), n),
    "unsigned": lambda rng, n: rng.integers(2**64 - 500, 2**64 - 1, n, dtype=np.uint64),
}


@pytest.fixture(autouse=True)
def few_rows_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cells where the launcher would sort, and several blocks a column, on windows of test size; small blocks, for
    the host runs one thread after the other."""
    monkeypatch.setattr(rank, "_BLOCK_SORT", 0)
    monkeypatch.setattr(splitter, "_THREADS", 64)
    monkeypatch.setattr(splitter, "_ROWS_A_BLOCK", 300)


def check(x: list[Any], y: list[Any], *, both: bool) -> None:
    got, truth = (module.extremes(x, y, both=both) for module in (rank, reference))
    same_extremes(got, truth, both=both)


def same_extremes(got: Extremes, truth: Extremes, *, both: bool) -> None:
    for field in ("n", "m", "missing_reference", "missing_live"):
        assert getattr(got, field).tolist() == getattr(truth, field).tolist()
    if both:
        assert got.d_max.tolist() == truth.d_max.tolist()
        assert got.d_min.tolist() == truth.d_min.tolist()
    assert np.maximum(got.d_max, -got.d_min).tolist() == np.maximum(truth.d_max, -truth.d_min).tolist()


@pytest.mark.parametrize(
    ("name", "shimmed"), [*((name, 1) for name in WINDOWS), ("normal", 2), ("some ties", 3)], indirect=["shimmed"]
)
@pytest.mark.usefixtures("shimmed")
def test_extremes_are_the_references(name: str) -> None:
    rng = np.random.default_rng(31)
    sizes = [(1, 1), (600, 800), (3, 300), (300, 2), (200, 200)]
    x = [WINDOWS[name](rng, n) for n, _ in sizes]
    y = [WINDOWS[name](rng, m) for _, m in sizes]
    y[4] = x[4].copy()  # the same window: nothing can be ruled out
    for both in (True, False):
        check(x, y, both=both)


@pytest.mark.parametrize("limit", [2048, device.SHARED], ids=["few splitters", "many splitters"])
@pytest.mark.usefixtures("shimmed")
def test_any_number_of_splitters_is_exact(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """16 to 2048 splitters for 20 to 80 000 rows, over many bins that survive and few."""
    monkeypatch.setattr(splitter, "shared_limit", lambda: limit)
    monkeypatch.setattr(splitter, "_ROWS_A_BLOCK", 1 << 15)
    rng = np.random.default_rng(32)
    for n, m in ((80_000, 9000), (20, 6000)):
        x, y = rng.normal(size=n).astype(np.float32), rng.normal(0.01, 1, m).astype(np.float32)
        check([x], [y], both=True)


@pytest.mark.usefixtures("shimmed")
def test_columns_share_launches_whatever_their_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row-major columns, dtypes, lengths and empty columns in one call; counters for one column at a time."""
    monkeypatch.setattr(splitter, "_MARKED_ROWS", 100)
    rng = np.random.default_rng(33)
    tables = [np.asarray(rng.normal(s, 1, size=(n, 3)), order="C") for s, n in ((0.0, 800), (0.1, 600))]
    x = [*(tables[0][:, f].copy() for f in range(3)), np.empty(0), rng.integers(0, 99, 300), np.full(9, np.nan)]
    y = [*(tables[1][:, f] for f in range(3)), rng.normal(size=9), rng.integers(0, 99, 200), rng.normal(size=9)]
    assert not y[0].flags.c_contiguous
    for both in (True, False):
        check(x, y, both=both)


@pytest.mark.usefixtures("shimmed")
def test_fitted_cells_serve_many_windows() -> None:
    rng = np.random.default_rng(34)
    ordered = rank.sort_columns([rng.normal(size=700), rng.normal(size=500)])
    cells = rank.fit_cells(ordered)
    fitted = [[array.tobytes() for array in one] for one in cells]
    for shift in (0.0, 3.0):
        live = [rng.normal(shift, 1, 400) for _ in range(2)]
        got = rank.extremes_fitted(ordered, cells, live, both=True)
        same_extremes(got, reference.extremes_fitted(ordered, cells, live, both=True), both=True)
    assert [[array.tobytes() for array in one] for one in cells] == fitted
    mixed = rank.extremes_fitted(ordered, [cells[0], None], live, both=True)  # one column by cells, one by sorting
    same_extremes(mixed, got, both=True)


@pytest.mark.usefixtures("shimmed")
def test_splitters_ascend_and_isolate_what_fills_two_quantiles() -> None:
    values = np.sort(np.concatenate([np.full(500, 2.0), np.arange(500.0) + 3.0]))
    n = np.array([1000])
    (cells,) = rank.fit_cells(SortedColumns((values,), n, n * 0))
    assert (np.diff(cells.splitters) >= 0).all()
    assert {2.0, np.nextafter(2.0, 3.0)} <= set(cells.splitters.tolist())
    below = np.searchsorted(values, cells.splitters)
    assert cells.below.tolist() == [0, *below.tolist(), 1000]


@pytest.mark.usefixtures("shimmed")
def test_few_live_rows_survive(monkeypatch: pytest.MonkeyPatch, record_property: Any) -> None:
    """What makes it worth: most bins are settled by the splitters alone, even with 1024 of them for 60 000 rows."""
    monkeypatch.setattr(splitter, "_ROWS_A_BLOCK", 1 << 15)
    shares = []
    launch = splitter.launch

    def watch(name: str, kernel: str, grid: Any, block: int, args: Any, shared: int = 0) -> None:
        launch(name, kernel, grid, block, args, shared)
        if kernel == "splitter_bound":
            counts, bits = args[1][0], np.unpackbits(args[6][0].view(np.uint8), bitorder="little")
            shares.append(counts[: counts.size - 1][bits[: counts.size - 1] == 1].sum() / counts.sum())

    monkeypatch.setattr(splitter, "launch", watch)
    rng = np.random.default_rng(35)
    x, y = (rng.normal(size=60_000).astype(np.float32) for _ in range(2))
    check([x], [y], both=False)
    check([x], [(y + 0.5).astype(np.float32)], both=False)
    figure = f"{shares[0]:.1%}, shifted {shares[1]:.1%}"
    record_property("live rows that survive 1024 splitters, 60k + 60k rows", figure)
    assert max(shares) < 0.1


def test_the_host_never_waits_and_results_are_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    device.install(monkeypatch)
    rng = np.random.default_rng(36)
    x, y = rng.normal(size=(900, 3)), rng.normal(0.1, 1, size=(700, 3))
    y[:9, 1], y[:, 2] = np.nan, np.nan
    for function in (drift.ks_2samp, drift.kuiper_2samp):
        for order in ("C", "F"):
            sides = [device.ndarray(np.asarray(v, order=order)) for v in (x, y)]
            with device.no_synchronisation():
                got = function(*sides)
            expected = function(x, y, **({"method": "asymp"} if function is drift.ks_2samp else {}))
            assert got.backend == "cuda"
            assert got.statistic.get().tolist()[:2] == expected.statistic.tolist()[:2]
            np.testing.assert_allclose(got.pvalue.get(), expected.pvalue, rtol=1e-6)


def test_launcher_names_the_sizes_of_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    text = (source.HERE / "splitter.cu").read_text()
    for constant, name in (("kThreads", "_THREADS"), ("kBound", "_BOUND"), ("kSettle", "_SETTLE")):
        assert f"constexpr int {constant} = {getattr(splitter, name)};" in text


@pytest.mark.parametrize("itemsize", [4, 8])
def test_splitters_fit_the_shared_memory_of_a_block(itemsize: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in (48, 99, 163, 227):
        monkeypatch.setattr(splitter, "shared_limit", lambda limit=limit: limit * 1024)
        count = splitter.splitters_for(10**9, itemsize)
        assert splitter._shared_bytes(count, itemsize) <= limit * 1024
        assert count == 16384 or splitter._shared_bytes(2 * count, itemsize) > limit * 1024
    assert splitter.splitters_for(10**6, itemsize) == 4096
