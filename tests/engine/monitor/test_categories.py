"""Homogeneity of categories: the null rate at every rarity, agreement with chi-square where that holds, power."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from engine.monitor.categories import EXPECTED, homogeneity
from engine.monitor.columns import Counts


def counts(sizes: np.ndarray) -> Counts:
    return {str(k): int(rows) for k, rows in enumerate(sizes) if rows}


def null_pvalues(categories: int, n: int, m: int, draws: int) -> np.ndarray:
    """(draws,) p-values of windows of n and m rows that share their probabilities."""
    rng = np.random.default_rng([categories, n, m])
    shares = 1 / np.arange(1, categories + 1) ** 1.2
    shares /= shares.sum()
    pairs = ((rng.multinomial(n, shares), rng.multinomial(m, shares)) for _ in range(draws))
    return np.array([homogeneity(counts(p), counts(q))[1] for p, q in pairs])


@pytest.mark.parametrize("categories", [2, 5, 30, 300])
@pytest.mark.parametrize(("n", "m"), [(2000, 50), (200, 200), (20_000, 1000), (100, 1000)])
def test_without_drift_p_is_small_no_more_often_than_it_says(categories: int, n: int, m: int) -> None:
    draws = 300
    small = (null_pvalues(categories, n, m, draws) <= 0.05).sum()
    assert small <= stats.binom.ppf(0.9999, draws, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("categories", [2, 5, 30, 300, 3000])
@pytest.mark.parametrize(("n", "m"), [(2000, 50), (200, 200), (20_000, 1000), (100, 1000), (1000, 1000)])
def test_null_rate_at_full_size(categories: int, n: int, m: int) -> None:
    draws = 10_000 if categories < 300 else 2000
    pvalues = null_pvalues(categories, n, m, draws)
    for level in (0.05, 0.01):  # chi-square at 5 expected rows is right to a seventh
        assert (pvalues <= level).mean() <= 1.15 * level + 3 * math.sqrt(level / draws)


@pytest.mark.parametrize(
    ("p", "q"),
    [([50, 50], [30, 70]), ([500, 300, 200], [60, 25, 15]), ([40, 40, 40, 40], [10, 20, 30, 40])],
)
def test_frequent_categories_are_the_chi_square_test(p: list[int], q: list[int]) -> None:
    distance, pvalue = homogeneity(counts(np.array(p)), counts(np.array(q)))
    truth = stats.chi2_contingency(np.array([p, q]), correction=False)
    assert pvalue == pytest.approx(truth.pvalue, rel=1e-9)
    shares = np.array(p) / sum(p) - np.array(q) / sum(q)
    assert distance == pytest.approx(np.abs(shares).sum() / 2)


def test_one_rare_category_of_two_is_the_exact_test() -> None:
    distance, pvalue = homogeneity({"no": 1980, "yes": 20}, {"no": 85, "yes": 15})
    tail = stats.hypergeom.sf(14, 2100, 35, 100)
    assert 35 * 100 / 2100 < EXPECTED  # the chi-square test has one cell left, and sees nothing
    assert pvalue == pytest.approx(2 * tail, rel=1e-9)
    assert distance == pytest.approx(0.14)


@pytest.mark.parametrize(
    ("live", "why"),
    [
        ({"new": 50}, "one unseen value"),
        ({f"new {i}": 1 for i in range(50)}, "fifty unseen values, each once"),
        ({str(k): 1 for k in range(250, 300)}, "the fifty rarest of them"),
    ],
)
def test_a_flood_of_rare_values_is_seen(live: Counts, why: str) -> None:
    sizes = np.maximum(1, (6000 / np.arange(1, 301)).astype(int))
    distance, pvalue = homogeneity(counts(sizes), live)
    assert pvalue < 1e-6, why
    assert distance > 0.8


@pytest.mark.parametrize(("p", "q"), [({}, {"a": 3}), ({"a": 3}, {}), ({}, {})])
def test_a_side_without_values_is_undefined(p: Counts, q: Counts) -> None:
    assert all(map(math.isnan, homogeneity(p, q)))


def test_one_category_on_both_sides_is_the_same() -> None:
    assert homogeneity({"a": 10}, {"a": 3}) == (0.0, 1.0)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.text(max_size=3), st.integers(1, 1000), min_size=1, max_size=12),
    st.dictionaries(st.text(max_size=3), st.integers(1, 1000), min_size=1, max_size=12),
)
def test_it_is_a_p_value_and_the_sides_may_change_places(p: Counts, q: Counts) -> None:
    distance, pvalue = homogeneity(p, q)
    assert 0 <= distance <= 1
    assert 0 <= pvalue <= 1
    back = homogeneity(q, p)
    assert back == (pytest.approx(distance), pytest.approx(pvalue, rel=1e-6))
    assert homogeneity(p, p) == (0.0, 1.0)
