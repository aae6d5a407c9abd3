"""Histogram distances against SciPy and their formulas on explicit counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import distance

from kernels import drift
from kernels.drift.quantiles import quantile_edges
from kernels.errors import OptionError, ShapeError
from kernels.reference import rank

DISTANCES = (drift.psi, drift.kl_divergence, drift.jensen_shannon_distance, drift.hellinger_distance)


def truth(p: Any, q: Any) -> list[float]:
    p, q = p / p.sum(), q / q.sum()
    hellinger = np.sqrt(0.5 * ((np.sqrt(p) - np.sqrt(q)) ** 2).sum())
    return [
        ((q - p) * np.log(q / p)).sum(),
        stats.entropy(q, p),
        distance.jensenshannon(p, q, base=2),
        hellinger,
    ]


@pytest.mark.parametrize("bins", [2, 10, 64])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_distances_are_their_formulas(bins: int, dtype: str, backend: Any) -> None:
    rng = np.random.default_rng(bins)
    x, y = (rng.normal(s, 1, k) * 1000 for s, k in ((0.0, 3000), (0.4, 2500)))
    x, y = x.astype(dtype), y.astype(dtype)
    edges = np.sort(x)[np.arange(1, bins) * x.size // bins]
    assert np.unique(edges).size == bins - 1
    p, q = (np.bincount(np.searchsorted(edges, v, "right"), minlength=bins).astype(float) for v in (x, y))
    for function, expected in zip(DISTANCES, truth(p + 0.5, q + 0.5), strict=True):
        got = function(backend.put(x), backend.put(y), bins=bins, backend=backend.name)
        assert float(backend.get(got)) == pytest.approx(expected, rel=1e-10)
    result = drift.chisquare(backend.put(x), backend.put(y), bins=bins, backend=backend.name)
    expected = stats.chi2_contingency(np.array([p, q]), correction=False)
    assert float(backend.get(result.statistic)) == pytest.approx(expected.statistic, rel=1e-10)
    assert float(backend.get(result.pvalue)) == pytest.approx(expected.pvalue, rel=1e-8)


@pytest.mark.parametrize("order", ["C", "F"])
def test_tables_are_their_columns(order: str) -> None:
    rng = np.random.default_rng(2)
    x = np.asarray(rng.normal(size=(500, 21)).astype(np.float32), order=order)
    y = np.asarray(rng.normal(0.1, 1, size=(400, 21)).astype(np.float32), order=order)
    y[:9, 3] = np.nan
    for function in DISTANCES:
        assert function(x, y).tolist() == [float(function(x[:, f], y[:, f])) for f in range(21)]
    assert drift.chisquare(x, y).n_live.tolist() == [400] * 3 + [391] + [400] * 17


def test_same_window_is_zero_and_disjoint_windows_are_one() -> None:
    x = np.arange(1000.0)
    for function in DISTANCES:
        assert function(x, x) == 0.0
    assert drift.jensen_shannon_distance(x, x + 1e6, pseudocount=0.0) == pytest.approx(
        distance.jensenshannon(np.full(10, 0.1), [0] * 9 + [1.0], base=2)
    )
    assert drift.psi(x, x + 1e6, pseudocount=0.0) == np.inf
    assert np.isfinite(drift.psi(x, x + 1e6))


def test_edges_isolate_atoms() -> None:
    def edges(values: list[float], bins: int) -> list[float]:
        return quantile_edges(rank.sort_columns([np.array(values)]), bins)[0].tolist()

    assert edges([0.0, 0, 0, 1, 2, 3], 3) == [0.0, 5e-324, 2.0]
    assert edges([7.0] * 9, 10) == [7.0, np.nextafter(7.0, 8.0)]
    assert quantile_edges(rank.sort_columns([np.array([4, 4, 4, 5])]), 2)[0].tolist() == [4, 5]
    top = 2**63 - 1
    assert quantile_edges(rank.sort_columns([np.full(5, top)]), 2)[0].tolist() == [top]


@pytest.mark.parametrize("shift", [-1e-9, 1e-9, 5.0])
def test_a_constant_that_moves_is_seen(shift: float) -> None:
    x = np.full(1000, 3.0)
    assert drift.psi(x, x) == 0.0
    assert drift.psi(x, x + shift) > 5


def test_fractional_edges_cut_integers_where_they_cut_numbers(backend: Any) -> None:
    x, y = np.arange(-3, 6), np.array([0, 1, 1, 4, 5])
    edges = [-1, 0, 0.5, 3.2]
    whole = drift.chisquare(backend.put(x), backend.put(y), bins=edges, backend=backend.name)
    as_numbers = backend.put(x.astype(float)), backend.put(y.astype(float))
    split = drift.chisquare(*as_numbers, bins=edges, backend=backend.name)
    assert backend.get(whole.statistic) == backend.get(split.statistic)
    for bad in ([0.2, 0.7], [0.0, np.inf], [np.nan, 1.0]):
        with pytest.raises(OptionError, match="bins: edges"):
            drift.chisquare(backend.put(x), backend.put(y), bins=bad, backend=backend.name)


def test_given_edges_are_used() -> None:
    x, y = np.array([0.5, 1.5, 2.5, 2.6]), np.array([0.1, 0.2, 1.1, 3.0])
    p, q = np.array([1, 1, 2.0]), np.array([2, 1, 1.0])
    assert drift.psi(x, y, bins=[1.0, 2.0], pseudocount=0.0) == pytest.approx(truth(p, q)[0])
    table = drift.psi(np.stack([x, x], 1), np.stack([y, y], 1), bins=[[1.0, 2.0], [1.5]], pseudocount=0.0)
    assert table[1] == pytest.approx(truth(np.array([1.0, 3]), np.array([3.0, 1]))[0])


def test_refusals() -> None:
    x = np.arange(4.0)
    with pytest.raises(OptionError, match="bins: 1 - use an integer of at least 2"):
        drift.psi(x, x, bins=1)
    with pytest.raises(OptionError, match="edges must ascend strictly"):
        drift.psi(x, x, bins=[2.0, 1.0])
    with pytest.raises(ShapeError, match="bins: 2 lists of edges for 1 columns"):
        drift.psi(x, x, bins=[[1.0], [2.0]])
    with pytest.raises(OptionError, match="pseudocount: -1 - use 0"):
        drift.psi(x, x, pseudocount=-1)


def test_columns_without_values_are_nan() -> None:
    x = np.array([[1.0, np.nan], [2.0, np.nan], [3.0, np.nan]])
    got = drift.psi(x, x)
    assert got[0] == 0.0
    assert np.isnan(got[1])
    assert np.isnan(drift.chisquare(x, x).pvalue[1])
