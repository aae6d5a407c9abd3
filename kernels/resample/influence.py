"""What each row weighs in a metric, and the moments of these weights that an interval needs.

A metric is, up to terms of higher order, its value plus the mean of what the rows contribute (its influence function:
Hampel 1974; here the jackknife, or the derivative by weight for rankings). So the law of its estimate is that of a
mean, and a mean has a standard error, a skewness, and degrees of freedom: as many as its own variance is known by. With
w_i the contribution of unit i over their number, in one stratum or several,

    V = sum over strata of n / (n - 1) * sum w^2        variance of the estimate
    a = sum w^3 / V^1.5                                 its skewness
    f = 2 V^2 / (sum w^4 - (sum w^2)^2 / n)             freedom of V (Satterthwaite 1946; n - 1 for a normal law)
    q = V^2 / sum w^4                                   rows that it rests on; n over the kurtosis

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.arrays import Array
from kernels.errors import ShapeError
from kernels.measures.table import MetricOptions, metric_name
from kernels.resample.build import build
from kernels.resample.inputs import paired


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Of an estimate; `skewness` is that of the estimate, so it falls with the number of units."""

    error: float
    """Its standard error."""
    skewness: float
    freedom: float
    """Degrees of freedom of the error, at least 1 and at most units - 1."""
    effective: float
    """Units that it rests on: a third of them for normal contributions, few where few make it."""
    tail: float
    """Tail index of the contributions (Hill 1975) by the square root of their number; below 2 they have no variance.
    Infinite where they have none, or fewer that are not 0."""
    units: int


def influence(
    metric: str | Callable[..., Any], y_true: Array, y_score: Array, other: Array | None = None, *,
    options: MetricOptions | None = None, nan_policy: str = "raise", backend: str | None = None,
) -> list[np.ndarray]:  # fmt: skip
    """Contributions (N,) float64 on the host of each model: N times the change of the metric by one row's weight.

    Arguments as for `bootstrap`; not for the calibration error, which has a kink at 0. NaN where the metric is
    undefined, or would be without the row; values: nan_policy "raise" (default) or "omit" (for both models).
    Cost: one pass for sums and counts, one sort a model for rankings.
    """
    rows = paired(y_true, y_score, other, nan_policy=nan_policy, backend=backend)
    return build(metric_name(metric), rows, options or MetricOptions()).influence()


def moments(
    contributions: np.ndarray, *, cluster: np.ndarray | None = None, strata: np.ndarray | None = None
) -> Moments:
    """Moments of the estimate whose rows contribute (N,) float64, finite.

    cluster (N,) integers: rows of a cluster are one unit. strata (N,) of small integers: numbers of rows that are
    fixed, such as those of each label for an AUROC; not both. ShapeError for no rows. Cost: a few passes, and a
    partial sort.
    """
    n = contributions.shape[0]
    if n == 0:
        raise ShapeError("contributions: no rows - pass one at least")
    w = contributions / n
    if cluster is not None:
        _, codes = np.unique(cluster, return_inverse=True)
        w = np.bincount(codes.reshape(-1), weights=w)
    units = w.shape[0]
    parts = [w] if strata is None else [w[strata == s] for s in np.unique(strata)]
    parts = [part - part.mean() for part in parts]
    squares = [float(part @ part) for part in parts]
    variance = sum(s * part.shape[0] / max(part.shape[0] - 1, 1) for s, part in zip(squares, parts, strict=True))
    fourth = [float(np.square(part) @ np.square(part)) for part in parts]
    unsure = sum(q - s * s / part.shape[0] for q, s, part in zip(fourth, squares, parts, strict=True))
    third = float(sum(np.square(part) @ part for part in parts))
    if not variance > 0.0 or not sum(fourth) > 0.0:
        return Moments(error=0.0, skewness=0.0, freedom=max(units - 1.0, 1.0), effective=0.0, tail=np.inf, units=units)
    most = max(units - len(parts), 1)
    freedom = most if unsure <= 0.0 else min(max(2.0 * variance * variance / unsure, 1.0), most)
    return Moments(
        error=variance**0.5, skewness=third / variance**1.5, freedom=float(freedom),
        effective=variance * variance / sum(fourth), tail=tail_index(np.concatenate(parts)), units=units,
    )  # fmt: skip


def precision_bias(y_true: np.ndarray, y_score: np.ndarray) -> float:
    """By how much an average precision exceeds the true one on average: each row that is sought counts itself.

    Among the k rows down to its place of which a share p is sought, the row itself is one, so p exceeds what other rows
    would show by (1 - p) / k; the mean over the rows that are sought. y_true (N,) of 0 and 1, y_score (N,); ties are
    one place. NaN where no row is sought. Cost: one sort.
    """
    order = np.argsort(-y_score, kind="stable")
    labels, scores = y_true[order].astype(np.float64), y_score[order]
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    hits, rows = np.cumsum(labels)[ends], ends + 1.0
    here = np.diff(hits, prepend=0.0)
    return float((here * (1.0 - hits / rows) / rows).sum() / hits[-1]) if hits[-1] > 0 else np.nan


def tail_index(contributions: np.ndarray) -> float:
    """Hill's (1975) estimate from the sqrt(N) largest of |contributions| (N,): they fall like |x|^-tail.

    Where most of them are one and the same value it is about the N others. Infinite where none falls.
    """
    shared = np.median(contributions)  # of rows on which two models agree
    apart = contributions[np.abs(contributions - shared) > 1e-12 * np.abs(contributions).max()]
    contributions = apart if 2 * apart.shape[0] < contributions.shape[0] else contributions
    n = contributions.shape[0]
    top = int(n**0.5)
    if n <= top:
        return np.inf
    largest = np.partition(np.abs(contributions), n - top - 1)[n - top - 1 :]
    least = float(largest.min())
    mean = float(np.log(largest / least).sum()) / top if least > 0.0 else 0.0
    return 1.0 / mean if mean > 0.0 else np.inf
