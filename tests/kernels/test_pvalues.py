"""Null distributions against SciPy, exact enumeration, and simulation; corrections against their
definitions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import special, stats

from kernels import pvalues
from kernels.errors import OptionError


@pytest.mark.parametrize("n", [1, 2, 5, 20, 50, 100, 140, 141, 255, 256, 257, 500, 2000, 20_000, 500_000])
def test_kolmogorov_is_kstwo(n: int) -> None:
    z = np.array([0.3, 0.5, 0.7, 0.9, 1.1, 1.3, 1.48, 1.49, 1.6, 2.0, 2.1, 3.0, 5.0, 8.0, 12.0])
    d = z / np.sqrt(n)
    d = d[d < 1]
    expected = stats.kstwo.sf(d, n)
    checked = expected > 1e-290
    np.testing.assert_allclose(pvalues.kolmogorov(d, n)[checked], expected[checked], rtol=1e-5)
    body = (expected > 1e-3) & (n > 140)
    np.testing.assert_allclose(pvalues.kolmogorov(d, n)[body], expected[body], atol=3e-6)


def test_kolmogorov_ends() -> None:
    assert pvalues.kolmogorov(0.0, 10) == 1.0
    assert pvalues.kolmogorov(1.0, 10) == 0.0
    assert np.isnan(pvalues.kolmogorov(np.nan, 10))


@pytest.mark.parametrize(("n", "m"), [(3, 4), (10, 10), (50, 40), (200, 300), (997, 1003)])
def test_exact_smirnov_is_scipys(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    for shift in (0.0, 0.3, 1.0):
        x, y = rng.normal(size=n), rng.normal(shift, 1, m)
        truth = stats.ks_2samp(x, y, method="exact")
        got = pvalues.kolmogorov_smirnov(truth.statistic, np.int64(n), np.int64(m), method="exact")
        assert got == pytest.approx(truth.pvalue, rel=1e-9)
        truth = stats.ks_2samp(x, y, method="asymp")
        got = pvalues.kolmogorov_smirnov(truth.statistic, np.int64(n), np.int64(m), method="asymp")
        assert got == pytest.approx(truth.pvalue, rel=1e-6)


def test_exact_smirnov_is_enumeration() -> None:
    n, m = 4, 3
    distances = []
    for chosen in itertools.combinations(range(n + m), n):
        steps = np.where(np.isin(np.arange(n + m), chosen), m, -n)
        distances.append(np.abs(np.cumsum(steps)).max())
    for height in set(distances):
        share = np.mean(np.array(distances) >= height)
        got = pvalues.kolmogorov_smirnov(height / (n * m), np.int64(n), np.int64(m), method="exact")
        assert got == pytest.approx(share, rel=1e-12)


def test_auto_counts_paths_only_for_small_windows() -> None:
    small, large = np.int64(1000), np.int64(1001)
    exact = pvalues.kolmogorov_smirnov(0.05, small, small, method="exact")
    assert pvalues.kolmogorov_smirnov(0.05, small, small) == exact
    assert pvalues.kolmogorov_smirnov(0.05, large, small) == pvalues.kolmogorov_smirnov(
        0.05, large, small, method="asymp"
    )


def test_cramer_von_mises_limit_is_the_bessel_series() -> None:
    """Anderson and Darling (1952): the distribution function as a series in K_1/4."""
    x = np.array([0.02, 0.05, 0.1, 0.2, 0.46, 0.74, 1.2, 2.0])
    k = np.arange(12)[:, None]
    y = (4 * k + 1) ** 2 / (16 * x)
    series = special.gamma(k + 0.5) / special.factorial(k) * np.sqrt(4 * k + 1) * np.exp(-y) * special.kv(0.25, y)
    cdf = series.sum(0) / (np.pi**1.5 * np.sqrt(x))
    tail = pvalues._quadratic_tail(np, x, "cramer_von_mises")
    np.testing.assert_allclose(tail, 1 - cdf, atol=1e-11)


@pytest.mark.parametrize("size", [(30, 40), (300, 200), (5000, 100)])
@pytest.mark.parametrize("step", [0.0, 0.5])
def test_two_sample_laws_are_scipys(size: tuple[int, int], step: float) -> None:
    rng = np.random.default_rng(sum(size))
    n, m = (np.int64(s) for s in size)
    for shift in (0.0, 0.2, 0.5):
        x, y = rng.normal(size=n), rng.normal(shift, 1, m)
        if step:
            x, y = np.round(x / step) * step, np.round(y / step) * step
        truth = stats.cramervonmises_2samp(x, y, method="asymptotic")
        # SciPy stops its series at terms of 1e-7
        assert pvalues.cramer_von_mises(truth.statistic, n, m) == pytest.approx(truth.pvalue, abs=1e-6)
        ties = np.unique(np.concatenate([x, y]), return_counts=True)[1].astype(float)
        truth = stats.mannwhitneyu(x, y, method="asymptotic")
        got = pvalues.mann_whitney(truth.statistic, n, m, (ties**3 - ties).sum())
        assert got == pytest.approx(truth.pvalue, rel=1e-9)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_anderson_is_scipys_inside_its_table() -> None:
    rng = np.random.default_rng(8)
    seen = 0
    for shift in np.linspace(0.05, 0.35, 14):
        x, y = rng.normal(size=400), rng.normal(shift, 1, 300)
        truth = stats.anderson_ksamp([x, y])
        p = pvalues.anderson_darling(truth.statistic)
        if 0.002 < truth.pvalue < 0.24:
            seen += 1
            assert p == pytest.approx(truth.pvalue, rel=0.06)
        elif truth.pvalue >= 0.24:
            assert p > 0.22
        else:
            assert p < 0.003
    assert seen >= 4


def test_anderson_variance_is_the_double_sum() -> None:
    """Scholz and Stephens' sigma_N with its O(N**2) sum written out."""
    for n, m in ((2, 2), (5, 3), (40, 25)):
        total, k = n + m, 2
        inverse = 1 / n + 1 / m
        h = sum(1 / i for i in range(1, total))
        g = sum(1 / ((total - i) * j) for i in range(1, total - 1) for j in range(i + 1, total))
        a = (4 * g - 6) * (k - 1) + (10 - 6 * g) * inverse
        b = (2 * g - 4) * k**2 + 8 * h * k + (2 * g - 14 * h - 4) * inverse - 8 * h + 4 * g - 6
        c = (6 * h + 2 * g - 2) * k**2 + (4 * h - 4 * g + 6) * k + (2 * h - 6) * inverse + 4 * h
        d = (2 * h + 6) * k**2 - 4 * h * k
        variance = (a * total**3 + b * total**2 + c * total + d) / ((total - 1) * (total - 2) * (total - 3))
        got = pvalues.anderson_standardised(3.0, np.int64(n), np.int64(m))
        assert got == pytest.approx(2.0 / np.sqrt(variance), rel=1e-9)


def test_kuiper_is_the_limit_law_at_large_sizes() -> None:
    """At n = m = 2e8 the small-sample terms vanish: 2 sum (4 j^2 z^2 - 1) exp(-2 j^2 z^2)."""
    n = np.int64(200_000_000)
    for z in (1.0, 1.5, 2.0, 3.0):
        j = np.arange(1, 100)
        limit = 2 * ((4 * j**2 * z**2 - 1) * np.exp(-2 * j**2 * z**2)).sum()
        assert pvalues.kuiper(z / np.sqrt(1e8), n, n) == pytest.approx(limit, rel=1e-3)
    assert pvalues.kuiper(0.0, n, n) == 1.0


@pytest.mark.parametrize("df", [1, 2, 3, 9, 100, 5000])
def test_chi_square_is_scipys(df: int) -> None:
    x = np.array([0.0, 0.01, 0.3, 0.9, 1.0, 1.1, 2.0, 5.0]) * df
    np.testing.assert_allclose(pvalues.chi_square(x, df), stats.chi2.sf(x, df), rtol=1e-10)
    assert pvalues.chi_square(np.inf, df) == 0.0
    assert np.isnan(pvalues.chi_square(1.0, 0))


@pytest.mark.parametrize("sides", [(0, 10_000, 1, 50), (2, 40, 8, 30), (40, 40, 5, 9), (1, 9, 0, 100_000)])
def test_small_rates_double_the_exact_tail(sides: tuple[int, int, int, int]) -> None:
    a, n, b, m = sides
    law = stats.hypergeom(n + m, a + b, m)
    expected = min(1.0, 2 * min(law.cdf(b), law.sf(b - 1)))
    assert pvalues.two_rates(*sides) == pytest.approx(expected, rel=1e-6)


def test_large_rates_are_the_chi_square() -> None:
    table = [[200, 99_800], [400, 99_600]]
    truth = stats.chi2_contingency(table, correction=False).pvalue
    assert pvalues.two_rates(200, 100_000, 400, 100_000) == pytest.approx(truth, rel=1e-9)
    assert pvalues.two_rates(0, 10, 0, 10) == 1.0
    assert np.isnan(pvalues.two_rates(0, 0, 1, 2))


def test_normal_keeps_its_tail() -> None:
    z = np.array([0.0, 1.0, -1.96, 10.0, 30.0])
    np.testing.assert_allclose(pvalues.normal_two_sided(z), 2 * stats.norm.sf(np.abs(z)), rtol=1e-12)


@pytest.mark.parametrize("method", ["bh", "by"])
def test_false_discovery_is_scipys(method: str) -> None:
    p = np.random.default_rng(4).random(50) ** 4
    np.testing.assert_allclose(pvalues.adjust(p, method), stats.false_discovery_control(p, method=method), rtol=1e-12)


def test_familywise_corrections_by_hand() -> None:
    assert pvalues.adjust([0.01, 0.04, 0.03], "holm").tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert pvalues.adjust([0.01, 0.5], "bonferroni").tolist() == pytest.approx([0.02, 1.0])


def test_unknown_p_values_are_no_tests() -> None:
    got = pvalues.adjust([np.nan, 0.01, 0.04], "bonferroni")
    assert np.isnan(got[0])
    assert got[1:].tolist() == pytest.approx([0.02, 0.08])
    assert pvalues.adjust([], "bh").tolist() == []


def test_refusals() -> None:
    with pytest.raises(OptionError, match="p: a value lies outside"):
        pvalues.adjust([1.5])
    with pytest.raises(OptionError, match="method: 'fdr' is not known"):
        pvalues.adjust([0.5], "fdr")
    with pytest.raises(OptionError, match="method: 'best' is not known"):
        pvalues.kolmogorov_smirnov(0.1, 5, 5, method="best")


def test_empty_sides_are_nan() -> None:
    zero, ten = np.int64(0), np.int64(10)
    for p in (
        pvalues.kolmogorov_smirnov(0.0, zero, ten),
        pvalues.kuiper(0.0, zero, ten),
        pvalues.cramer_von_mises(0.0, zero, ten),
        pvalues.anderson_standardised(0.0, zero, ten),
        pvalues.mann_whitney(0.0, zero, ten, 0.0),
    ):
        assert np.isnan(p)


@pytest.mark.parametrize("sides", [(30, 100_000, 90, 2000), (2000, 1_000_000, 2300, 1_000_000), (0, 50, 400, 100_000)])
def test_two_rates_far_in_the_tail_are_exact_where_asked(sides: tuple[int, int, int, int]) -> None:
    a, n, b, m = sides
    law = stats.hypergeom(n + m, a + b, m)
    expected = min(1.0, 2 * min(law.cdf(b), law.sf(b - 1)))
    assert pvalues.two_rates(*sides, enough=1e9) == pytest.approx(expected, rel=1e-6)
