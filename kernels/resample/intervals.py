"""Intervals from replicates and from counts; normal and binomial tails from the standard library alone.

Shapes: replicates (S, R) of S slices; bounds (S,).
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np

from kernels.errors import OptionError

NORMAL = NormalDist()
UNDEFINED_SHARE = 0.1
"""Above this share of undefined replicates the rest no longer speaks for the metric: bounds become NaN."""


def check_level(confidence_level: float) -> None:
    """OptionError unless 0 < confidence_level < 1."""
    if not 0.0 < confidence_level < 1.0:
        raise OptionError(f"confidence_level: {confidence_level} - pass a level between 0 and 1, such as 0.95")


def percentile(replicates: Any, confidence_level: float) -> tuple[Any, Any]:
    """Bounds (S,) at the quantiles of each row's defined replicates (linear interpolation)."""
    tail = (1.0 - confidence_level) / 2.0
    return _bounds(replicates, np.full(replicates.shape[0], tail), np.full(replicates.shape[0], 1.0 - tail))


def bca(replicates: Any, estimate: Any, acceleration: Any, confidence_level: float) -> tuple[Any, Any]:
    """Bias-corrected and accelerated bounds (Efron 1987): estimate and acceleration (S,).

    The bias correction is the normal quantile of the share of replicates below the estimate, ties counting
    half. Where it is infinite (all replicates on one side) the bounds are NaN.
    """
    tail = (1.0 - confidence_level) / 2.0
    defined = np.maximum((~np.isnan(replicates)).sum(axis=1), 1)
    at = estimate[:, None]
    below = ((replicates < at).sum(axis=1) + 0.5 * (replicates == at).sum(axis=1)) / defined
    levels = np.full((2, replicates.shape[0]), np.nan)
    for s, (share, a) in enumerate(zip(below, acceleration, strict=True)):
        if not 0.0 < share < 1.0 or math.isnan(a):
            continue
        bias = NORMAL.inv_cdf(float(share))
        for side, probability in enumerate((tail, 1.0 - tail)):
            shifted = bias + NORMAL.inv_cdf(probability)
            under = 1.0 - a * shifted
            if under > 0.0:
                levels[side, s] = NORMAL.cdf(bias + shifted / under)
    return _bounds(replicates, levels[0], levels[1])


def acceleration(influence: Any) -> float:
    """BCa's acceleration from influence values (N,): sum u^3 / (6 (sum u^2)^1.5); 0 when all are equal."""
    centred = influence - influence.mean() if influence.size else influence
    spread = float(np.square(centred).sum())
    return float((centred**3).sum()) / (6.0 * spread**1.5) if spread > 0.0 else 0.0


def spread_of(replicates: Any) -> tuple[Any, Any]:
    """Standard deviation of the defined replicates (S,) and the number of undefined ones (S,)."""
    known = ~np.isnan(replicates)
    count = known.sum(axis=1)
    values = np.where(known, replicates, 0.0)
    mean = values.sum(axis=1) / np.maximum(count, 1)
    square = np.where(known, np.square(replicates - mean[:, None]), 0.0).sum(axis=1)
    error = np.where(count > 1, np.sqrt(square / np.maximum(count - 1, 1)), np.nan)
    return error, replicates.shape[1] - count


def wilson(successes: Any, n: Any, confidence_level: float = 0.95) -> tuple[Any, Any]:
    """Wilson (1927) score interval of a proportion; successes and n are numbers or arrays of one shape.

    Returns (low, high), float64; NaN where n is 0. OptionError for counts below 0 or successes above n.
    """
    check_level(confidence_level)
    hits, rows = np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    if (hits < 0).any() or (hits > rows).any():
        raise OptionError("successes: below 0 or above n - pass counts with 0 <= successes <= n")
    z = NORMAL.inv_cdf(0.5 + confidence_level / 2.0)
    safe = np.where(rows > 0, rows, 1.0)
    share = hits / safe
    middle = (share + z * z / (2.0 * safe)) / (1.0 + z * z / safe)
    half = z * np.sqrt(share * (1.0 - share) / safe + (z / (2.0 * safe)) ** 2) / (1.0 + z * z / safe)
    # The bounds at 0 and n are exactly 0 and 1, which rounding would miss.
    low = np.where(hits == 0, 0.0, middle - half)
    high = np.where(hits == rows, 1.0, middle + half)
    return np.where(rows > 0, low, np.nan)[()], np.where(rows > 0, high, np.nan)[()]


def binomial_half_tail(k: int, n: int) -> tuple[float, float]:
    """P(X <= k) and P(X = k) for X ~ Binomial(n, 1/2), to 1e-13 relative; terms fall geometrically from k."""
    log_term = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2.0)
    point = math.comb(n, k) / 2**n if n <= 1000 else math.exp(log_term)
    total, term, j = point, point, k
    while j > 0 and term > total * 1e-17:
        term *= j / (n - j + 1)
        total += term
        j -= 1
    return min(total, 1.0), point


def _bounds(replicates: Any, low: Any, high: Any) -> tuple[Any, Any]:
    """Quantiles of each row at its own levels (S,), over defined replicates; NaN where too few are
    defined."""
    ordered = np.sort(replicates, axis=1)  # NaN last
    count = (~np.isnan(ordered)).sum(axis=1)
    enough = count >= (1.0 - UNDEFINED_SHARE) * replicates.shape[1]
    return tuple(np.where(enough, _quantile(ordered, count, level), np.nan) for level in (low, high))  # type: ignore[return-value]


def _quantile(ordered: Any, count: Any, level: Any) -> Any:
    place = np.where(np.isnan(level), 0.0, level) * np.maximum(count - 1, 0)
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(count - 1, 0))
    rows = np.arange(ordered.shape[0])
    lower, upper = ordered[rows, below], ordered[rows, above]
    value = lower + (place - below) * (upper - lower)
    return np.where(np.isnan(level) | (count == 0), np.nan, value)
