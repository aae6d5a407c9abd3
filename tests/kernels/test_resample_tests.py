"""Permutation, McNemar, Wilson, and the rows that a comparison needs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from kernels import metrics
from kernels.errors import OptionError, ShapeError
from kernels.measures.table import FAMILY, MetricOptions
from kernels.primitives import COIN
from kernels.reference import resample as reference
from kernels.resample import bootstrap, delong, mcnemar, permutation_test, rows_needed, wilson
from kernels.resample.build import build
from kernels.resample.inputs import paired
from kernels.resample.permutation import _swapped
from tests.kernels.test_resample_bootstrap import arguments


def test_exact_permutation_p_on_a_small_set() -> None:
    """All 2^10 swaps by hand; the sampled p-value must lie within its noise."""
    rng = np.random.default_rng(1)
    true, a = np.zeros(10), rng.normal(size=10)
    b = a + rng.normal(size=10) + 0.5
    loss = np.abs(np.stack([a, b]))
    observed = loss[1].mean() - loss[0].mean()
    signs = np.array(list(itertools.product([1, -1], repeat=10)))
    every = signs @ (loss[1] - loss[0]) / 10
    for alternative, exact in (
        ("two-sided", (np.abs(every) >= abs(observed) - 1e-12).mean()),
        ("greater", (every >= observed - 1e-12).mean()),
        ("less", (every <= observed + 1e-12).mean()),
    ):
        got = permutation_test("mean_absolute_error", true, a, b, n_resamples=20_000, alternative=alternative)
        assert got.estimate == pytest.approx(observed, rel=1e-12)
        assert got.pvalue == pytest.approx(exact, abs=4 * math.sqrt(0.25 / 20_000))


@pytest.mark.parametrize("name", sorted(FAMILY))
def test_a_worse_model_is_found_and_an_equal_one_is_not(name: str) -> None:
    true, a, b = arguments(name, n=1200)
    if name != "expected_calibration_error":
        assert permutation_test(name, true, a, b, n_resamples=499).pvalue < 0.05
    assert permutation_test(name, true, a, a, n_resamples=99).pvalue == 1.0


def test_swaps_of_auroc_are_swaps_of_midranks() -> None:
    """One replicate by hand: the reference's coins, scikit-learn's way of scoring."""
    true, a, b = arguments("roc_auc_score", n=80)
    coin = reference.weights(np.arange(80), 2, seed=5, stream=0, kind=COIN).astype(bool)
    ranks = [stats.rankdata(x) for x in (a, b)]
    first, second = np.where(coin, ranks[1], ranks[0]), np.where(coin, ranks[0], ranks[1])
    expected = float(metrics.roc_auc_score(true, second) - metrics.roc_auc_score(true, first))
    rows = paired(true, a, b)
    swapped = _swapped(build("roc_auc_score", rows, MetricOptions()), rows.ids, 8, 5, False)
    assert swapped[2] == pytest.approx(expected, rel=1e-12)


def test_clusters_swap_whole() -> None:
    true, a, b = arguments("log_loss", n=600)
    cluster = np.repeat(np.arange(30), 20)
    for name in ("log_loss", "accuracy_score"):
        rows = permutation_test(name, true, a, b, n_resamples=499)
        clustered = permutation_test(name, true, a, b, cluster=cluster, n_resamples=499)
        assert rows.estimate == clustered.estimate
    single = permutation_test("log_loss", true, a, b, cluster=np.zeros(600, int), n_resamples=199)
    assert single.pvalue == 1.0  # one cluster can only swap all rows, which turns the sign


def test_a_p_value_is_never_zero() -> None:
    true = np.zeros(200)
    result = permutation_test("mean_squared_error", true, true + 0.001, true + 5.0, n_resamples=99)
    assert result.pvalue == 1 / 100


def test_permutation_refusals() -> None:
    with pytest.raises(OptionError, match="alternative"):
        permutation_test("log_loss", [0, 1], [0.5, 0.5], [0.5, 0.5], alternative="both")
    with pytest.raises(OptionError, match="n_resamples"):
        permutation_test("log_loss", [0, 1], [0.5, 0.5], [0.5, 0.5], n_resamples=0)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (3, 9), (12, 12), (700, 820), (60_000, 60_400)])
def test_mcnemar_is_the_binomial_test(only_a: int, only_b: int) -> None:
    n = only_a + only_b + 10
    true = np.ones(n, int)
    a, b = true.copy(), true.copy()
    b[:only_a] = 0
    a[only_a : only_a + only_b] = 0
    exact = mcnemar(true, a, b, method="exact")
    assert (exact.only_a, exact.only_b, exact.n) == (only_a, only_b, n)
    assert exact.estimate == pytest.approx((only_b - only_a) / n)
    expected = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert exact.pvalue == pytest.approx(expected, rel=1e-8)
    middle = mcnemar(true, a, b)
    if only_a + only_b:
        k = min(only_a, only_b)
        mid = 2 * stats.binom.cdf(k, only_a + only_b, 0.5) - stats.binom.pmf(k, only_a + only_b, 0.5)
        assert middle.pvalue == pytest.approx(min(1.0, mid), rel=1e-8)
    assert middle.low < exact.estimate < middle.high or n == 10


def test_the_interval_beside_mcnemar_is_agresti_and_mins() -> None:
    """By their formula: half a row added to each cell of the paired table, then Wald."""
    true = np.ones(60, int)
    a, b = true.copy(), true.copy()
    b[:7] = 0
    a[7:20] = 0
    got, z = mcnemar(true, a, b, confidence_level=0.9), stats.norm.ppf(0.95)
    n, first, second = 62, 13.5 / 62, 7.5 / 62
    half = z * math.sqrt((first + second - (first - second) ** 2) / n)
    assert (got.low, got.high) == pytest.approx((first - second - half, first - second + half), rel=1e-12)
    assert got.standard_error == pytest.approx(math.sqrt((20 / 60 - (6 / 60) ** 2) / 60), rel=1e-12)


def test_mcnemar_refusals_and_no_rows() -> None:
    with pytest.raises(OptionError, match="method"):
        mcnemar([0], [0], [0], method="chi2")
    with pytest.raises(ShapeError, match="axes"):
        mcnemar([0, 1], [[0, 1], [1, 0]], [0, 1])
    empty = mcnemar(np.zeros(0, int), np.zeros(0, int), np.zeros(0, int))
    assert math.isnan(empty.estimate)
    assert empty.pvalue == 1.0


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (10, 10), (1, 1), (499, 1000)])
def test_wilson_is_scipys(hits: int, n: int) -> None:
    expected = stats.binomtest(hits, n).proportion_ci(0.9, method="wilson")
    low, high = wilson(hits, n, 0.9)
    assert low == pytest.approx(expected.low, rel=1e-12, abs=1e-15)
    assert high == pytest.approx(expected.high, rel=1e-12)


def test_wilson_takes_arrays_and_refuses_nonsense() -> None:
    low, high = wilson(np.array([0, 5, 0]), np.array([5, 5, 0]))
    assert low[0] == 0.0
    assert high[1] == 1.0
    assert np.isnan(low[2])
    with pytest.raises(OptionError, match="successes"):
        wilson(6, 5)
    with pytest.raises(OptionError, match="confidence_level"):
        wilson(1, 5, 0.0)


def test_rows_needed_by_its_formula() -> None:
    class Measured:
        standard_error = 0.01
        n = 1000

    assert rows_needed(Measured(), 0.02) == 1963  # the docstring's example
    z = stats.norm.ppf(0.95) + stats.norm.ppf(0.9)
    expected = math.ceil((z * 0.01 / 0.005) ** 2 * 1000)
    assert rows_needed(Measured(), -0.005, power=0.9, alternative="greater") == expected


def test_rows_needed_delivers_its_power() -> None:
    """Measure on a pilot, then run the comparison at the size asked for: it succeeds about that often."""
    rng = np.random.default_rng(2)

    def sample(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        true = rng.normal(size=n)
        return true, true + 0.5 * rng.normal(size=n), true + 0.55 * rng.normal(size=n)

    pilot = bootstrap("mean_absolute_error", *sample(4000))
    effect = (0.55 - 0.5) * math.sqrt(2 / math.pi)
    n = rows_needed(pilot, effect, power=0.8)
    assert n is not None
    found = 0
    for seed in range(200):
        result = bootstrap("mean_absolute_error", *sample(n), n_resamples=400, seed=seed)
        found += result.low > 0
    assert found / 200 == pytest.approx(0.8, abs=4 * math.sqrt(0.16 / 200))


def test_rows_needed_refusals_and_unknown_variance() -> None:
    unknown = delong([1, 0, 0], [3.0, 1.0, 2.0], [1.0, 2.0, 3.0])
    assert rows_needed(unknown, 0.1) is None
    known = delong([1, 0, 1, 0], [3.0, 1.0, 2.0, 2.5], [1.0, 2.0, 3.0, 0.5])
    for bad in (
        {"effect": 0.0},
        {"effect": math.nan},
        {"effect": 0.1, "power": 1.0},
        {"effect": 0.1, "alpha": 0.0},
    ):
        with pytest.raises(OptionError):
            rows_needed(known, **bad)
