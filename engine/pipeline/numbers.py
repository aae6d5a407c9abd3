"""A number that spans windows with its interval: of a share, of a median, of a mean, of a sum that was counted."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from statistics import NormalDist

from engine.records import Estimate
from engine.records.estimates import wilson
from engine.records.measured import MOST_ROWS, Measure

NAN = math.nan


def share(name: str, hits: int, n: int, level: float) -> Estimate:
    """Of `n` >= 1 independent ones, with the score interval of Wilson (JASA 22, 1927)."""
    low, high = wilson(hits, n, level)
    return Estimate(name=name, value=hits / n, low=low, high=high, n=n, confidence_level=level, method="Wilson")


def median(name: str, values: Sequence[float], level: float, note: str = "") -> Estimate:
    """Of one value or more, between two of them: the narrowest pair of order statistics that holds the true median with
    probability `level`, whatever the distribution (David and Nagaraja, Order Statistics, 7.1).

    Where so few cannot give that level, the smallest and the largest, and the level that they do give; of one value
    there is no interval.
    """
    ordered = sorted(values)
    n = len(ordered)
    at = max((k for k in range(1, n // 2 + 1) if coverage(n, k) >= level), default=1)
    low, high = (ordered[at - 1], ordered[n - at]) if n > 1 else (NAN, NAN)
    return Estimate(
        name=name,
        value=statistics.median(ordered),
        low=low,
        high=high,
        n=n,
        confidence_level=min(level, coverage(n, at)) if n > 1 else level,
        method=f"median{note}",
    )


def coverage(n: int, k: int) -> float:
    """The probability that the k-th smallest and k-th largest of `n` values hold the median between them."""
    outside = sum(math.comb(n, i) for i in range(k))
    return 1 - outside / float(2 ** (n - 1))


def mean(name: str, values: Sequence[float], level: float) -> Estimate:
    """Of one value or more, by the normal law; of one value there is no interval."""
    n, middle = len(values), statistics.fmean(values)
    half = NAN
    if n > 1:
        half = NormalDist().inv_cdf(0.5 + level / 2) * statistics.stdev(values) / math.sqrt(n)
    low, high = middle - half, middle + half
    return Estimate(name=name, value=middle, low=low, high=high, n=n, confidence_level=level, method="mean")


def counted(name: str, value: float, n: int, level: float) -> Estimate:
    """A sum over all there is: it has no error of sampling, and its interval is itself."""
    return Estimate(name=name, value=value, low=value, high=value, n=n, confidence_level=level, method="counted")


def measure(estimate: Estimate, unit: str, rows: Iterable[int]) -> Measure:
    """With the ledger rows that it was made from; those of the window at hand have none yet, and count as 0."""
    seqs = sorted({seq for seq in rows if seq})
    return Measure(estimate=estimate, unit=unit, rows=tuple(seqs[-MOST_ROWS:]), n_rows=len(seqs))
