"""From sufficient statistics to values, p-values and reasons: host arrays over F columns.

Statistics and what each applies to:

    rank      ks kuiper cvm anderson mannwhitney wasserstein wasserstein_normed energy    numeric columns
    binned    psi kl js hellinger chisquare              numeric columns, on reference quantiles
              psi kl js hellinger chi2 tv linf           categorical columns, on categories
    missing   live share of missing values minus reference share                 every column

The p-value of every binned and categorical distance but tv and linf is that of one test of homogeneity on the
same counts, `kernels.drift.categorical.homogeneity`: chi-square, to which psi, kl, js and hellinger are
asymptotically equivalent, made right for bins and categories that are rare or many.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from kernels import pvalues
from kernels.drift.binned import chi_square_statistic, distances
from kernels.drift.categorical import variation
from kernels.drift.table import Reason

EXTREME = ("ks", "kuiper")
SUMMED = ("cvm", "anderson", "mannwhitney", "wasserstein", "wasserstein_normed", "energy")
RANK = EXTREME + SUMMED
DIVERGENCES = ("psi", "kl", "js", "hellinger")
BINNED = (*DIVERGENCES, "chisquare")
CATEGORICAL = (*DIVERGENCES, "chi2", "tv", "linf")
TESTED = (*BINNED, "chi2")
"""Binned and categorical distances that have a p-value."""
STATISTICS = (*RANK, *BINNED, "chi2", "tv", "linf", "missing")

PSEUDOCOUNT = 0.5


class Values(NamedTuple):
    """(F,) values, p-values (NaN where there is none) and reasons (empty where the value is good)."""

    value: Any
    pvalue: Any
    reason: list[Reason]


def emptiness(n: Any, m: Any) -> list[Reason]:
    """The reason of columns that hold no value on a side."""
    sides = zip(n, m, strict=True)
    return [Reason.EMPTY_REFERENCE if not a else Reason.EMPTY_LIVE if not b else Reason.NONE for a, b in sides]


def extreme_values(name: str, n: Any, m: Any, d_max: Any, d_min: Any) -> Values:
    """Kolmogorov-Smirnov or Kuiper from the extremes of D(z)."""
    pairs = np.maximum(n.astype(np.float64) * m, 1.0)
    reasons = emptiness(n, m)
    if name == "ks":
        d = np.maximum(d_max, -d_min) / pairs
        return Values(d, pvalues.kolmogorov_smirnov(d, n, m), reasons)
    v = (d_max - d_min) / pairs
    return Values(v, pvalues.kuiper(v, n, m), reasons)


def rank_values(name: str, sums: Any, sigma: Any) -> Values:
    """Any rank statistic from the sums of one merge; `sigma` (F,) is the reference spread."""
    counts = sums.counts
    n, m = counts.n, counts.m
    none = np.full(n.shape, np.nan)
    reasons = emptiness(n, m)
    if name in EXTREME:
        return extreme_values(name, n, m, counts.d_max, counts.d_min)
    if name == "cvm":
        return Values(sums.cvm, pvalues.cramer_von_mises(sums.cvm, n, m), reasons)
    if name == "mannwhitney":
        pairs = n.astype(np.float64) * m
        u = pairs - 0.5 * counts.u2
        share = 0.5 * counts.u2 / np.maximum(pairs, 1.0)
        p = pvalues.mann_whitney(u, n, m, sums.tie_cubes)
        return Values(share, np.where(np.isnan(p) & (pairs > 0), 1.0, p), reasons)
    if name == "anderson":
        size = (n + m).astype(np.float64)
        constant = sums.tie_cubes >= size**3 - size
        statistic = np.where(constant, np.nan, pvalues.anderson_standardised(sums.ad, n, m))
        rules = [(constant, Reason.CONSTANT), (size < 4, Reason.TOO_FEW_ROWS)]
        return Values(statistic, pvalues.anderson_darling(statistic), _explain(reasons, rules))
    if name == "energy":
        return _distance(np.sqrt(2.0 * sums.energy), none, reasons)
    if name == "wasserstein":
        return _distance(sums.wasserstein, none, reasons)
    equal = sums.wasserstein == 0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        normed = np.where(equal, 0.0, sums.wasserstein / sigma)
    undefined = ~equal & ~(sigma > 0)
    return _distance(np.where(undefined, np.nan, normed), none, _explain(reasons, [(undefined, Reason.CONSTANT)]))


def _distance(value: Any, none: Any, reasons: list[Reason]) -> Values:
    bad = ~np.isfinite(value)
    return Values(np.where(bad, np.nan, value), none, _explain(reasons, [(bad, Reason.INFINITE)]))


def _explain(reasons: list[Reason], rules: list[tuple[Any, Reason]]) -> list[Reason]:
    """The first reason that holds for each column; what is there already stays."""
    explained = list(reasons)
    for mask, reason in rules:
        for column in np.flatnonzero(mask):
            explained[column] = explained[column] or reason
    return explained


def count_values(name: str, p: Any, q: Any, bins: Any, chance: Any) -> Values:
    """Any binned or categorical statistic of (F, B) counts; `bins` (F,) is how many of the B each column
    has, `chance` the p-value that all distances of the same counts share."""
    reasons = emptiness(p.sum(1), q.sum(1))
    if name in ("tv", "linf"):
        return Values(variation(p, q, total=name == "tv"), np.full(p.shape[0], np.nan), reasons)
    if name in DIVERGENCES:
        return Values(distances(name, p, q, PSEUDOCOUNT, bins), chance, reasons)
    return Values(chi_square_statistic(p, q)[0], chance, reasons)


def missing_values(n: Any, missing_reference: Any, m: Any, missing_live: Any) -> Values:
    """Change of the missing share, live minus reference, with the p-value of two equal rates."""
    rows, live_rows = n + missing_reference, m + missing_live
    change = missing_live / np.maximum(live_rows, 1) - missing_reference / np.maximum(rows, 1)
    sides = zip(missing_reference.tolist(), rows.tolist(), missing_live.tolist(), live_rows.tolist(), strict=True)
    chance = np.array([pvalues.two_rates(*side) for side in sides], dtype=np.float64)
    return Values(change, chance, emptiness(rows, live_rows))
