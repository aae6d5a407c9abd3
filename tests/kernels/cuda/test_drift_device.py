"""Drift statistics on device arrays, end to end, without a GPU: what the host gives, and the host never waits."""

from __future__ import annotations

from typing import Any

import device
import numpy as np
import pytest
import shim

from kernels import drift
from kernels.drift import Profile
from kernels.errors import DeviceError, MissingValueError, OptionError

RANK = (
    drift.ks_2samp,
    drift.kuiper_2samp,
    drift.cramervonmises_2samp,
    drift.anderson_2samp,
    drift.mannwhitneyu,
    drift.wasserstein_distance,
    drift.energy_distance,
)
BINNED = (
    drift.psi,
    drift.kl_divergence,
    drift.jensen_shannon_distance,
    drift.hellinger_distance,
    drift.chisquare,
)
CODES = (drift.chi2_contingency, drift.total_variation_distance, drift.linf_distance)


@pytest.fixture(autouse=True)
def launched(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """CuPy is the stand-in; kernels launch on the host."""
    return device.install(monkeypatch, seed=2)


def fields(result: Any) -> list[Any]:
    if not isinstance(result, drift.TestResult):
        return [result]
    names = ("statistic", "pvalue", "n_reference", "n_live", "missing_reference", "missing_live")
    return [getattr(result, name) for name in names]


def same(function: Any, x: Any, y: Any, *, waits: bool = False, **keywords: Any) -> None:
    """The device gives what the host gives, in device arrays, and without a read unless it `waits`."""
    here = keywords | ({"method": "asymp"} if function is drift.ks_2samp else {})
    expected = fields(function(x, y, **here))
    placed = device.ndarray(x), device.ndarray(y)
    if waits:
        got = fields(function(*placed, **keywords))
    else:
        with device.no_synchronisation():
            got = fields(function(*placed, **keywords))
    for left, right in zip(got, expected, strict=True):
        assert isinstance(left, device.ndarray)
        np.testing.assert_allclose(left.get(), right, rtol=1e-9, atol=1e-12, err_msg=function.__name__)


def windows(dtype: str, rows: tuple[int, int]) -> list[Any]:
    rng = np.random.default_rng(41)
    if dtype == "bool":
        return [rng.random((n, 3)) < 0.4 for n in rows]
    tables = [np.abs(rng.normal(100, 30, size=(n, 3))) for n in rows]
    if dtype == "uint64":
        return [table.astype(np.uint64) + np.uint64(2**64 - 1000) for table in tables]
    return [table.astype(dtype) for table in tables]


LAYOUTS = {
    "one column": lambda v: v[:, 0].copy(),
    "strided column": lambda v: v[:, 1],
    "every other row": lambda v: v[::2, 0],
    "backwards": lambda v: v[::-1, 2],
    "row-major": lambda v: np.ascontiguousarray(v),
    "column-major": lambda v: np.asfortranarray(v),
    "cut": lambda v: v[5:-5:3, 1:],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(layout: str) -> None:
    x, y = (LAYOUTS[layout](v) for v in windows("float32", (340, 280)))
    for function in RANK + BINNED:
        same(function, x, y)
    codes = [np.floor(v / 20).astype(np.int64) for v in (x, y)]
    for function in CODES:
        same(function, *codes, waits=True)  # for the number of categories


@pytest.mark.parametrize("dtype", ["float16", "float64", "uint8", "int64", "uint64", "bool"])
def test_every_dtype(dtype: str) -> None:
    x, y = windows(dtype, (210, 190))
    for function in RANK + BINNED:
        same(function, x, y)


@pytest.mark.parametrize(("left", "right", "waits"), [("float32", "float64", False), ("int64", "float32", True)])
def test_two_dtypes(left: str, right: str, waits: bool) -> None:
    """Integers with floats read the range of the integers; floats of two widths read nothing."""
    x, y = windows(left, (150, 150))[0], windows(right, (150, 150))[1]
    for function in (drift.ks_2samp, drift.wasserstein_distance, drift.psi):
        same(function, x, y, waits=waits)


@pytest.mark.parametrize("rows", [(0, 0), (0, 5), (5, 0), (1, 1), (1, 300), (300, 1)])
def test_few_rows_and_none(rows: tuple[int, int]) -> None:
    x, y = windows("float64", rows)
    for function in RANK + BINNED:
        same(function, x, y)


def test_missing_values_and_ties() -> None:
    x, y = (np.round(v / 40) for v in windows("float64", (200, 260)))
    x[:, 0], x[::3, 1], y[::5, 1], y[:, 2] = np.nan, np.nan, np.nan, np.inf
    for function in RANK + BINNED:
        for policy in ("omit", "propagate"):
            same(function, x, y, nan_policy=policy)
        with device.no_synchronisation(), pytest.raises(AssertionError, match=r"int\(\) makes the host wait"):
            function(device.ndarray(x), device.ndarray(y), nan_policy="raise")
        with pytest.raises(MissingValueError, match="reference: 267 NaN"):
            function(device.ndarray(x), device.ndarray(y), nan_policy="raise")


@pytest.mark.parametrize("bins", [2, 9, 16, 40, [90.0, 100.0, 130.0], np.arange(60.0, 140.0, 3.0)])
def test_any_bins(bins: Any) -> None:
    x, y = windows("float64", (330, 250))
    x[:, 1] = np.round(x[:, 1] / 40)  # few values: edges collapse
    x[:, 2] = np.inf
    for function in BINNED:
        same(function, x, y, bins=bins)


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint64"])
def test_edges_end_at_the_largest_number(dtype: str) -> None:
    top = np.inf if dtype == "float32" else np.iinfo(dtype).max
    x = np.array([1, 1, 1, 2, top, top], dtype=dtype)
    y = np.array([0, 1, 2, 3, top, 5], dtype=dtype)
    for bins in (2, 3, 6, 10):
        for function in BINNED:
            same(function, x, y, bins=bins)


def test_host_and_device_never_mix() -> None:
    x = np.arange(9.0)
    for function in (drift.ks_2samp, drift.psi, drift.chi2_contingency):
        with pytest.raises(DeviceError):
            function(device.ndarray(x), x)


def test_exact_p_values_are_the_hosts_alone() -> None:
    placed = device.ndarray(np.arange(9.0))
    with pytest.raises(OptionError, match="method: 'exact' counts paths on the host - use 'asymp'"):
        drift.ks_2samp(placed, placed, method="exact")


def test_joint_statistics_on_the_device() -> None:
    x, y = (v / 30.0 for v in windows("float64", (90, 80)))
    x[3, 1] = np.nan
    for function, keywords in (
        (drift.mmd, {"n_resamples": 20}),
        (drift.sliced_wasserstein_distance, {"n_directions": 9}),
    ):
        same(function, x, y, waits=True, **keywords)
    got = drift.pca_reconstruction_error(device.ndarray(x), device.ndarray(y))
    expected = drift.pca_reconstruction_error(x, y)
    assert got.backend == "cuda"
    assert float(got.pvalue) == pytest.approx(float(expected.pvalue), rel=1e-6)


def test_profiles_of_device_columns() -> None:
    """Fit and compare, and counts of batches: the rows of the table are the host's."""
    x, y = windows("float32", (400, 300))
    x[::9, 1], y[:, 2] = np.nan, y[:, 2] + np.float32(20)
    names = ("ks", "kuiper", "cvm", "wasserstein_normed", "psi", "js", "missing")
    here, there = Profile.fit(x), Profile.fit(device.ndarray(x))
    for chosen in (names, ("ks", "psi"), ("missing",)):
        for left, right in zip(there.compare(device.ndarray(y), chosen), here.compare(y, chosen), strict=True):
            assert (left.column, left.statistic, left.n_live) == (right.column, right.statistic, right.n_live)
            assert left.value == pytest.approx(right.value, rel=1e-9)
            assert left.pvalue == (None if right.pvalue is None else pytest.approx(right.pvalue, rel=1e-9))
            assert left.backend == "cuda"


def test_no_launch_a_column_for_short_ones() -> None:
    """A table of 2 columns and one of 7 take the same number of operations on the device."""
    rng = np.random.default_rng(42)
    for function in RANK + BINNED:
        taken = []
        for columns in (2, 7):
            sides = [device.ndarray(np.asfortranarray(rng.normal(size=(20, columns)))) for _ in range(2)]
            before = device.operations
            function(*sides)
            taken.append(device.operations - before)
        assert taken[0] == taken[1], function.__name__


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint64"])
def test_public_functions_launch_every_kernel(dtype: str, launched: set[str]) -> None:
    """Each kernel of the sources of drift is reached from a public function, in every dtype it is made for."""
    x, y = windows(dtype, (5000, 5000))
    x, y = x[:, 0], y[:, 0]
    placed = [device.ndarray(v) for v in (x, y)]
    same(drift.ks_2samp, x, y)
    short = [v[:300] for v in placed]
    drift.wasserstein_distance(*short)
    for bins in (10, 40):
        drift.psi(*short, bins=bins)
    if dtype in ("int64", "uint64"):
        drift.chi2_contingency(*(v % 7 for v in short))
    if dtype == "float64":
        drift.mmd(*(v[:40].reshape(-1, 2) for v in placed), n_resamples=5, bandwidth=1.0)
    suffix = {"float32": "f32", "float64": "f64", "int64": "i64", "uint64": "u64"}[dtype]
    kernels = {kernel for name in ("rank", "splitter", "histogram") for kernel in shim.build(name).parameters}
    wanted = {kernel for kernel in kernels if kernel.endswith(suffix)} - {f"rank_placements_{suffix}"}
    shared = {"splitter_bound", "splitter_clear", "rank_fold_i64", "rank_fold_f64"}
    assert wanted | shared | ({"pairwise_block_sums"} if dtype == "float64" else set()) <= launched
