"""From sufficient statistics to values, p-values and reasons: host arrays over F columns.

Statistics and what each applies to:

    rank      ks kuiper cvm anderson mannwhitney wasserstein wasserstein_normed energy    numeric columns
    binned    psi kl js hellinger chisquare              numeric columns, on reference quantiles
              psi kl js hellinger chi2 tv linf           categorical columns, on categories
    missing   live share of missing values minus reference share                 every column

Every binned distance of a column has one p-value, that of `binned_chance`, and so has every categorical one but tv
and linf, that of `kernels.drift.categorical.homogeneity`: tests of the same counts to which psi, kl, js, hellinger
and chi-square are asymptotically equivalent, but right for small windows and references, too.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def side_by_side(columns: Sequence[Values]) -> Values:
    """Values of single columns as those of all of them."""
    value, chance = (np.concatenate([each[k] for each in columns]) for k in (0, 1))
    return Values(value, chance, [each.reason[0] for each in columns])


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


def binned_chance(p: Any, q: Any) -> Any:
    """(F,) p-values that live counts `q` have the bin probabilities of the reference counts `p`, both (F, B).

    The likelihood-ratio test with Williams' correction (1976). Bins on the quantiles of a small reference fit it too
    well: its counts are fixed and the bin probabilities are random (Dirichlet), which makes the chi-square test of 60
    rows in 10 bins alarm in 14 % of windows at a level of 5 %. To first order the mean of the likelihood ratio is the
    same whether counts or probabilities are random, so one correction is right for continuous values, for repeated
    ones and for given edges. 1 where one bin holds all rows, NaN where a side is empty.
    """
    total = p + q
    n, m, both = (c.sum(1, dtype=np.float64) for c in (p, q, total))
    filled = total > 0
    df = np.maximum(filled.sum(1) - 1, 0)
    ratio = 2.0 * (_entropy(p).sum(1) + _entropy(q).sum(1) - _entropy(total).sum(1))
    ratio = ratio - 2.0 * (_entropy(n) + _entropy(m) - _entropy(both))
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = both * np.where(filled, 1.0 / total, 0.0).sum(1) - 1.0
        williams = 1.0 + (both / n + both / m - 1.0) * spread / (6.0 * both * np.maximum(df, 1))
        chance = pvalues.chi_square(np.maximum(ratio, 0.0) / williams, np.maximum(df, 1))
    return np.where((n > 0) & (m > 0), np.where(df > 0, chance, 1.0), np.nan)


def _entropy(counts: Any) -> Any:
    return counts * np.log(np.maximum(counts, 1))


def unknown(reasons: list[Reason], otherwise: Reason) -> Values:
    """No value, with the reason that is there already or the one given."""
    none = np.full(len(reasons), np.nan)
    return Values(none, none, [reason or otherwise for reason in reasons])


def missing_values(n: Any, missing_reference: Any, m: Any, missing_live: Any) -> Values:
    """Change of the missing share, live minus reference, with the p-value of two equal rates."""
    rows, live_rows = n + missing_reference, m + missing_live
    change = missing_live / np.maximum(live_rows, 1) - missing_reference / np.maximum(rows, 1)
    sides = zip(missing_reference.tolist(), rows.tolist(), missing_live.tolist(), live_rows.tolist(), strict=True)
    chance = np.array([pvalues.two_rates(*side) for side in sides], dtype=np.float64)
    return Values(change, chance, emptiness(rows, live_rows))
