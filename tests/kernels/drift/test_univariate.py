"""Rank statistics against SciPy, on every backend, dtype and container; their policies and refusals."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from kernels import drift
from kernels.errors import DTypeError, MissingValueError, OptionError, ShapeError

FUNCTIONS = (
    drift.ks_2samp,
    drift.kuiper_2samp,
    drift.cramervonmises_2samp,
    drift.anderson_2samp,
    drift.mannwhitneyu,
    drift.wasserstein_distance,
    drift.energy_distance,
)


def truth(x: Any, y: Any) -> list[float]:
    """Statistics in the order of FUNCTIONS; Kuiper from its definition."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        anderson = stats.anderson_ksamp([x, y]).statistic
    z = np.unique(np.concatenate([x, y]))
    gap = np.searchsorted(np.sort(x), z, "right") / x.size - np.searchsorted(np.sort(y), z, "right") / y.size
    return [
        stats.ks_2samp(x, y).statistic,
        max(gap.max(), 0) + max(-gap.min(), 0),
        stats.cramervonmises_2samp(x, y).statistic,
        anderson,
        stats.mannwhitneyu(x, y).statistic,
        stats.wasserstein_distance(x, y),
        stats.energy_distance(x, y),
    ]


def statistic(result: Any) -> Any:
    return result.statistic if isinstance(result, drift.TestResult) else result


CASES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "float32": lambda rng, n: rng.normal(size=n).astype(np.float32),
    "ties": lambda rng, n: rng.integers(0, 6, n).astype(np.float64),
    "integers": lambda rng, n: rng.integers(-50, 50, n),
    "small integers": lambda rng, n: rng.integers(0, 200, n).astype(np.uint8),
    "heavy tail": lambda rng, n: rng.standard_cauchy(n),
    "halves": lambda rng, n: rng.normal(size=n).astype(np.float16),
    "booleans": lambda rng, n: rng.random(n) < 0.4,
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", [(200, 150), (11, 700)])
def test_statistics_are_scipys(name: str, size: tuple[int, int], backend: Any) -> None:
    rng = np.random.default_rng(9)
    x, y = CASES[name](rng, size[0]), CASES[name](rng, size[1])
    expected = truth(x.astype(np.float64), y.astype(np.float64))
    for function, value in zip(FUNCTIONS, expected, strict=True):
        got = statistic(function(backend.put(x), backend.put(y), backend=backend.name))
        assert float(backend.get(got)) == pytest.approx(value, rel=1e-10, abs=1e-12), function.__name__


def test_p_values_are_scipys() -> None:
    rng = np.random.default_rng(10)
    x, y = rng.normal(size=2000), rng.normal(0.06, 1, 1500)
    assert drift.ks_2samp(x, y).pvalue == pytest.approx(stats.ks_2samp(x, y, method="asymp").pvalue, rel=1e-6)
    exact = drift.ks_2samp(x, y, method="exact").pvalue
    assert exact == pytest.approx(stats.ks_2samp(x, y, method="exact").pvalue, rel=1e-9)
    expected = stats.cramervonmises_2samp(x, y, method="asymptotic").pvalue
    assert drift.cramervonmises_2samp(x, y).pvalue == pytest.approx(expected, abs=1e-6)
    expected = stats.mannwhitneyu(x, y, method="asymptotic").pvalue
    assert drift.mannwhitneyu(x, y).pvalue == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("order", ["C", "F"])
def test_tables_are_their_columns(order: str, backend: Any) -> None:
    rng = np.random.default_rng(1)
    x = np.asarray(rng.normal(size=(90, 5)), order=order)
    y = np.asarray(rng.normal(0.2, 1, size=(70, 5)), order=order)
    x[3, 1], y[:4, 2], y[:, 4] = np.nan, np.nan, np.nan
    for function in FUNCTIONS:
        whole = backend.get(statistic(function(backend.put(x), backend.put(y), backend=backend.name)))
        assert whole.shape == (5,)
        for f in range(5):
            one = function(backend.put(x[:, f]), backend.put(y[:, f]), backend=backend.name)
            assert backend.get(statistic(one)).shape == ()
            np.testing.assert_array_equal(backend.get(statistic(one)), whole[f])


def test_result_says_what_was_compared() -> None:
    x, y = np.array([1.0, np.nan, 3.0]), np.array([2.0, np.nan, np.nan, 5.0])
    result = drift.ks_2samp(x, y)
    assert (result.n_reference, result.n_live) == (2, 2)
    assert (result.missing_reference, result.missing_live) == (1, 2)
    assert result.backend == "cpu"
    value, p = result
    assert (value, p) == (result.statistic, result.pvalue)


def test_worked_examples_of_the_docstrings(backend: Any) -> None:
    def at(function: Any, x: Any, y: Any) -> float:
        arrays = backend.put(np.array(x)), backend.put(np.array(y))
        return float(backend.get(statistic(function(*arrays, backend=backend.name))))

    assert at(drift.ks_2samp, [1, 2, 3], [2, 3, 4]) == pytest.approx(1 / 3)
    assert at(drift.kuiper_2samp, [1, 4], [2, 3]) == 1.0
    assert at(drift.cramervonmises_2samp, [1, 3], [2, 4]) == 0.125
    assert at(drift.mannwhitneyu, [1, 2, 3], [2, 3, 4]) == 2.0
    assert at(drift.wasserstein_distance, [0, 1, 3], [5, 6, 8]) == 5.0
    assert at(drift.energy_distance, [0], [8]) == 4.0


@pytest.mark.parametrize("base", [2**53, 2**62])
def test_integers_beyond_2_to_the_53_are_seen(base: int, backend: Any) -> None:
    x, y = backend.put(np.full(100, base)), backend.put(np.full(100, base + 1))
    for function in (drift.ks_2samp, drift.kuiper_2samp, drift.cramervonmises_2samp, drift.mannwhitneyu):
        assert float(backend.get(function(x, y, backend=backend.name).pvalue)) < 1e-20
    assert float(backend.get(drift.anderson_2samp(x, y, backend=backend.name).pvalue)) < 1e-20
    assert float(backend.get(drift.wasserstein_distance(x, y, backend=backend.name))) == 1.0
    assert float(backend.get(drift.energy_distance(x, y, backend=backend.name))) == pytest.approx(2**0.5)


def test_signed_zeros_are_equal_and_denormals_are_not(backend: Any) -> None:
    zero, negative = backend.put(np.zeros(50)), backend.put(np.full(50, -0.0))
    assert float(backend.get(drift.ks_2samp(zero, negative, backend=backend.name).statistic)) == 0.0
    for dtype, tiny in ((np.float64, 5e-324), (np.float32, 1e-45)):
        a, b = backend.put(np.zeros(50, dtype)), backend.put(np.full(50, tiny, dtype))
        assert float(backend.get(drift.ks_2samp(a, b, backend=backend.name).statistic)) == 1.0


def test_infinite_values_cancel_or_are_infinite(backend: Any) -> None:
    def distance(x: list[float], y: list[float]) -> float:
        arrays = backend.put(np.array(x)), backend.put(np.array(y))
        return float(backend.get(drift.wasserstein_distance(*arrays, backend=backend.name)))

    assert distance([0.0, np.inf], [1.0, np.inf]) == 0.5
    assert distance([0.0, np.inf], [0.0, 1.0]) == np.inf
    assert distance([-np.inf], [np.inf]) == np.inf


def test_float64_is_never_narrowed() -> None:
    x = np.full(1000, 1.0)
    assert drift.ks_2samp(x, np.nextafter(x, 2.0)).statistic == 1.0
    assert drift.ks_2samp(x.astype(np.float32), np.nextafter(x, 2.0)).statistic == 1.0


def test_torch_in_torch_out() -> None:
    x, y = torch.randn(60, 2, generator=torch.Generator().manual_seed(1)), torch.zeros(50, 2)
    result = drift.ks_2samp(x, y)
    assert isinstance(result.statistic, torch.Tensor)
    assert result.statistic.dtype == torch.float64
    assert torch.equal(result.statistic, torch.from_numpy(drift.ks_2samp(x.numpy(), y.numpy()).statistic))
    assert isinstance(drift.wasserstein_distance(x[:, 0], y[:, 0]), torch.Tensor)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_nan_policies(function: Any) -> None:
    x, y = np.array([[1.0, 2.0], [np.nan, 3.0], [4.0, 9.0], [5.0, 6.0]]), np.arange(8.0).reshape(4, 2)
    kept = statistic(function(x, y))
    assert np.isfinite(kept).all()
    spread = statistic(function(x, y, nan_policy="propagate"))
    assert np.isnan(spread[0])
    assert spread[1] == kept[1]
    with pytest.raises(MissingValueError, match="reference: 1 NaN"):
        function(x, y, nan_policy="raise")
    with pytest.raises(OptionError, match="nan_policy: 'drop'"):
        function(x, y, nan_policy="drop")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_refusals(function: Any) -> None:
    with pytest.raises(ShapeError, match="live: 3 columns against 2"):
        function(np.zeros((4, 2)), np.zeros((4, 3)))
    with pytest.raises(ShapeError, match="live: 1 axes against 2"):
        function(np.zeros((4, 2)), np.zeros(4))
    with pytest.raises(ShapeError, match="3 axes - pass"):
        function(np.zeros((4, 2, 1)), np.zeros((4, 2, 1)))
    with pytest.raises(DTypeError, match="not numeric"):
        function(np.array(["a"]), np.array(["b"]))


def test_large_columns_take_the_cells_and_stay_exact() -> None:
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(60_000, 2)).astype(np.float32), rng.normal(size=(80_000, 2)).astype(np.float32)
    for f, d in enumerate(drift.ks_2samp(x, y).statistic):
        assert d == pytest.approx(stats.ks_2samp(x[:, f], y[:, f], method="asymp").statistic, rel=1e-13)
