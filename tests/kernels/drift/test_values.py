"""The p-value of binned distances: its formula, and its null rate where edges lie on few reference rows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from kernels.drift import Profile
from kernels.drift.values import binned_chance


def test_it_is_the_likelihood_ratio_with_williams_correction() -> None:
    table = np.array([[12, 30, 41, 17], [25, 20, 38, 60]])
    ratio = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
    total = table.sum()
    rows, columns = ((total / table.sum(axis)).sum() - 1 for axis in (1, 0))
    williams = 1 + rows * columns / (6 * total * (4 - 1) * (2 - 1))
    expected = stats.chi2.sf(ratio.statistic / williams, 3)
    assert binned_chance(*table[:, None, :])[0] == pytest.approx(expected, rel=1e-10)
    padded = np.pad(table, ((0, 0), (0, 5)))  # bins that no side fills are none
    assert binned_chance(*padded[:, None, :])[0] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("p", "q", "chance"), [([5, 0], [9, 0], 1.0), ([0, 0], [1, 2], math.nan), ([1, 2], [0, 0], math.nan)]
)
def test_what_cannot_differ_and_what_is_empty(p: list[int], q: list[int], chance: float) -> None:
    assert binned_chance(np.array([p]), np.array([q]))[0] == pytest.approx(chance, nan_ok=True)


def quantile_counts(n: int, m: int, bins: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts of `draws` pairs of windows of any continuous law without drift, edges on the reference quantiles.

    The law of the live counts is known exactly: the probability of a bin between two order statistics is a sum of
    spacings, so those of all bins are Dirichlet, and the counts Dirichlet-multinomial.
    """
    rng = np.random.default_rng([n, m, bins])
    edges = np.arange(1, bins) * n // bins
    reference = np.diff([0, *edges, n])
    spacings = reference + np.eye(1, bins, dtype=np.int64)[0]  # the edge itself lies in the bin above it
    return np.tile(reference, (draws, 1)), rng.multinomial(m, rng.dirichlet(spacings, draws))


CASES = [(60, 60, 10), (60, 300, 10), (60, 1000, 10), (50, 100_000, 10), (100, 1000, 20), (300, 100_000, 20)]


@pytest.mark.parametrize(("n", "m", "bins"), CASES)
def test_edges_on_few_reference_rows_raise_no_false_alarms(
    n: int, m: int, bins: int, record_property: Callable[[str, object], None]
) -> None:
    draws = 20_000
    pvalues = binned_chance(*quantile_counts(n, m, bins, draws))
    rates = {level: float((pvalues <= level).mean()) for level in (0.05, 0.01)}
    record_property(
        f"false alarms of psi at 5 %, {n} reference rows, {bins} bins, {m} live rows",
        f"{rates[0.05]:.2%} of {draws} windows",
    )
    for level, rate in rates.items():
        assert rate <= 1.2 * level + 3 * math.sqrt(level / draws)
    assert rates[0.05] >= 0.03


@pytest.mark.parametrize("law", ["continuous", "counts", "mostly zero", "given edges"])
def test_the_rate_holds_for_values_of_any_kind(law: str) -> None:
    rng = np.random.default_rng(5)
    columns, alarms, draws = 200, 0, 0
    for n, m in ((60, 60), (60, 1000), (200, 2000)):
        windows = rng.normal(size=(n, columns)), rng.normal(size=(m, columns))
        if law == "counts":
            windows = rng.poisson(3, (n, columns)), rng.poisson(3, (m, columns))
        elif law == "mostly zero":
            windows = tuple(np.where(rng.random(w.shape) < 0.7, 0.0, np.exp(w)) for w in windows)
        bins = np.linspace(-1.5, 1.5, 7) if law == "given edges" else 10
        table = Profile.fit(windows[0], bins=bins).compare(windows[1], ("psi",))
        alarms += sum(row.pvalue <= 0.05 for row in table)
        draws += columns
    assert alarms <= stats.binom.ppf(0.999, draws, 0.06)


def test_the_power_is_that_of_chi_square() -> None:
    rng = np.random.default_rng(9)
    reference, live = rng.normal(size=(1000, 100)), rng.normal(0.15, 1, (1000, 100))
    table = Profile.fit(reference).compare(live, ("psi",))
    alarms = sum(row.pvalue <= 0.05 for row in table)
    theirs = 0
    for column in Profile.fit(reference).columns:
        f = int(column.name)
        p, q = column.counts, np.bincount(np.searchsorted(column.edges, live[:, f], "right"), minlength=10)
        theirs += stats.chi2_contingency([p, q], correction=False).pvalue <= 0.05
    assert alarms >= theirs - 3
    assert alarms > 40
