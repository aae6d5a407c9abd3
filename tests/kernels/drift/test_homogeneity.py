"""Homogeneity of categories: the null rate at every rarity, agreement with chi-square where that holds, power."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kernels import drift
from kernels.drift import Profile
from kernels.drift.categorical import _EXPECTED, aligned, homogeneity

SIZES = [(2000, 50), (200, 200), (20_000, 1000), (100, 1000), (50, 100_000), (100_000, 100_000)]


def shares(categories: int, law: str) -> np.ndarray:
    weights = 1 / np.arange(1, categories + 1) ** {"uniform": 0.0, "zipf": 1.2}[law]
    return weights / weights.sum()


def null_pvalues(categories: int, law: str, n: int, m: int, draws: int) -> np.ndarray:
    """(draws,) p-values of windows of n and m rows that share their probabilities."""
    rng = np.random.default_rng([categories, n, m])
    law_of = shares(categories, law)
    return homogeneity(rng.multinomial(n, law_of, draws), rng.multinomial(m, law_of, draws))


def pvalue(p: list[int], q: list[int]) -> float:
    return float(homogeneity(np.array([p]), np.array([q]))[0])


@pytest.mark.parametrize("categories", [2, 5, 30, 300])
@pytest.mark.parametrize(("n", "m"), SIZES)
def test_without_drift_p_is_small_no_more_often_than_it_says(categories: int, n: int, m: int) -> None:
    draws = 200
    for law in ("uniform", "zipf"):
        small = (null_pvalues(categories, law, n, m, draws) <= 0.05).sum()
        assert small <= stats.binom.ppf(0.9999, draws, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("categories", [2, 5, 30, 300, 1000])
@pytest.mark.parametrize(("n", "m"), [*SIZES, (50, 50), (1000, 1000), (100_000, 1000)])
@pytest.mark.parametrize("law", ["uniform", "zipf"])
def test_null_rate_at_full_size(
    categories: int, n: int, m: int, law: str, record_property: Callable[[str, object], None]
) -> None:
    draws = 4000 if categories < 300 else 1000
    pvalues = null_pvalues(categories, law, n, m, draws)
    rates = [float((pvalues <= level).mean()) for level in (0.05, 0.01)]
    case = f"{categories} {law} categories, {n} and {m} rows"
    record_property(
        f"false alarms of chi2 at 5 % and 1 %, {case}", f"{rates[0]:.2%}, {rates[1]:.2%} of {draws} windows"
    )
    for level, rate in zip((0.05, 0.01), rates, strict=True):  # chi-square at 5 expected rows is right to a seventh
        assert rate <= 1.15 * level + 3 * math.sqrt(level / draws)


@pytest.mark.parametrize("categories", [2, 20, 300, 1000])
@pytest.mark.parametrize("law", ["uniform", "zipf"])
def test_one_rare_category_that_doubles_is_seen_among_any_number(categories: int, law: str) -> None:
    """0.2 % to 0.4 % of 100,000 rows: 200 more rows, which chi-square over 1000 categories cannot tell from noise."""
    rng = np.random.default_rng(categories)
    rest = shares(categories - 1, law)
    p, q = (rng.multinomial(100_000, np.append(rest * (1 - rare), rare), 20) for rare in (0.002, 0.004))
    assert homogeneity(p, q).max() < 1e-6


def test_profile_and_codes_and_counts_are_one_test() -> None:
    rng = np.random.default_rng(6)
    rest = shares(400, "zipf")
    x, y = (rng.choice(401, 100_000, p=np.append(rest * (1 - rare), rare)) for rare in (0.002, 0.004))
    p, q = (np.bincount(v, minlength=401)[None, :] for v in (x, y))
    truth = float(homogeneity(p, q)[0])
    assert truth < 1e-6
    assert float(drift.chi2_contingency(x, y, pool_rare=True).pvalue) == truth
    words = np.array([f"{k:03d}" for k in range(401)])  # the order of names is the order of codes
    for name in ("chi2", "psi"):
        assert Profile.fit({"c": words[x]}).compare({"c": words[y]}, (name,)).rows[0].pvalue == truth


@pytest.mark.parametrize(
    ("n", "m", "categories"), [(200, 200, 300), (100, 1000, 5000), (10_000, 1000, 5000), (1000, 1000, 30)]
)
def test_profiles_hold_the_rate_though_most_categories_are_unseen(n: int, m: int, categories: int) -> None:
    """One pool of all that the reference has not seen would alarm in every window."""
    rng = np.random.default_rng([n, m])
    draws, law = 60, shares(categories, "zipf")
    alarms = 0
    for _ in range(draws):
        x, y = (rng.choice(categories, rows, p=law) for rows in (n, m))
        row = Profile.fit({"c": x}, categorical=["c"]).compare({"c": y}, ("chi2",)).rows[0]
        alarms += row.pvalue is not None and row.pvalue <= 0.05
    assert alarms <= stats.binom.ppf(0.9999, draws, 0.05)


@pytest.mark.parametrize(
    ("p", "q"),
    [([50, 50], [30, 70]), ([500, 300, 200], [60, 25, 15]), ([40, 40, 40, 40], [10, 20, 30, 40])],
)
def test_frequent_categories_are_the_chi_square_test(p: list[int], q: list[int]) -> None:
    truth = stats.chi2_contingency(np.array([p, q]), correction=False)
    assert pvalue(p, q) == pytest.approx(truth.pvalue, rel=1e-9)


def test_one_rare_category_of_two_is_the_exact_test() -> None:
    tail = stats.hypergeom.sf(14, 2100, 35, 100)
    assert 35 * 100 / 2100 < _EXPECTED  # the chi-square test has one cell left, and sees nothing
    assert pvalue([1980, 20], [85, 15]) == pytest.approx(2 * tail, rel=1e-9)


@pytest.mark.parametrize(
    ("live", "why"),
    [
        ({"new": 50}, "one unseen value"),
        ({f"new {i}": 1 for i in range(50)}, "fifty unseen values, each once"),
        ({str(k): 1 for k in range(250, 300)}, "the fifty rarest of them"),
    ],
)
def test_a_flood_of_rare_values_is_seen(live: dict[str, int], why: str) -> None:
    sizes = {str(k): max(1, int(6000 / (k + 1))) for k in range(300)}
    assert homogeneity(*aligned(sizes, live))[0] < 1e-6, why


@pytest.mark.parametrize(("p", "q"), [([0], [3]), ([3], [0]), ([0], [0]), ([], [])])
def test_a_side_without_values_is_undefined(p: list[int], q: list[int]) -> None:
    assert np.isnan(homogeneity(np.array([p], dtype=np.int64), np.array([q], dtype=np.int64))).all()


def test_one_category_on_both_sides_is_the_same() -> None:
    assert pvalue([10], [3]) == 1.0


COUNTS = st.dictionaries(st.text(max_size=3), st.integers(1, 1000), min_size=1, max_size=30)


@settings(max_examples=100)
@given(COUNTS, COUNTS)
def test_it_is_a_p_value_and_the_sides_may_change_places(p: dict[str, int], q: dict[str, int]) -> None:
    there, back = (float(homogeneity(*aligned(*sides))[0]) for sides in ((p, q), (q, p)))
    assert 0 <= there <= 1
    assert back == pytest.approx(there, rel=1e-6)
    assert homogeneity(*aligned(p, p))[0] == 1.0


def test_rows_of_other_columns_change_nothing() -> None:
    rng = np.random.default_rng(2)
    p, q = rng.integers(0, 400, (50, 30)), rng.integers(0, 400, (50, 30))
    assert homogeneity(p, q).tolist() == [float(homogeneity(p[f : f + 1], q[f : f + 1])[0]) for f in range(50)]
