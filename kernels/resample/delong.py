"""DeLong's variance of AUROC from placements: DeLong, DeLong and Clarke-Pearson (1988); Sun and Xu (2014).

Shapes: N rows, P positives, Q negatives. One sort a model gives every row's placement as an exact integer,
twice the number of rows of the other class that it beats; the (co)variance is that of the placements.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np

from kernels.arrays import Array, as_working, check_ndim
from kernels.dispatch import load
from kernels.resample.inputs import paired
from kernels.resample.intervals import NORMAL, check_level
from kernels.resample.records import DelongResult


def delong(
    y_true: Array, score_a: Array, score_b: Array | None = None, confidence_level: float = 0.95, *,
    nan_policy: str = "raise", backend: str | None = None,
) -> DelongResult:  # fmt: skip
    """AUROC with its variance and interval; with score_b, the paired difference of two models on the same
    rows.

    y_true (N,) of two labels, the greater being positive; scores (N,) of any numeric dtype, compared exactly.
    One model: `estimate` is its AUROC and the interval is estimate +- z SE clipped to [0, 1]. Two models:
    `estimate` is AUROC(score_b) - AUROC(score_a), with z and a two-sided p-value. A class with fewer than two
    rows leaves the variance NaN; a difference without variance (equal rankings) has z = 0 and p = 1, or an
    infinite z and p = 0 if the AUROCs differ.

    Cost: one sort and one walk a model, O(N log N); about 24 N bytes. On CUDA one synchronisation at the end.
    nan_policy "raise" or "omit". Errors: ShapeError, OptionError (more than two labels), MissingValueError.
    """
    check_level(confidence_level)
    rows = paired(y_true, score_a, score_b, nan_policy=nan_policy, backend=backend)
    for x, name in ((rows.y_true, "y_true"), *((score, "score") for score in rows.scores)):
        check_ndim(x, name, 1)
    labels = rows.labels(alone=True)
    ordering = load("ordering", rows.backend)
    places = ordering.placements_of([as_working(score, "score") for score in rows.scores], labels)
    n, positives = int(labels.shape[0]), int(labels.sum(dtype=np.int64))  # synchronises
    negatives = n - positives
    estimates, covariance = _moments(ordering, places, labels, positives, negatives)
    return _record(estimates, covariance, n, positives, negatives, confidence_level, rows.backend)


def _moments(
    ordering: ModuleType, places: list[Any], labels: Any, positives: int, negatives: int
) -> tuple[list[float], Any]:
    """Estimates and their covariance matrix; the sums of placements are exact integers."""
    models = len(places)
    if not positives or not negatives:
        return [math.nan] * models, np.full((models, models), math.nan)
    # Over the positives, placements add up to twice U; the sum is exact.
    totals = [int((place * labels).sum()) for place in places]
    estimates = [total / (2.0 * positives * negatives) for total in totals]
    covariance = np.full((models, models), math.nan)
    if positives > 1 and negatives > 1:
        # Placements divided by twice the size of the other class lie in [0, 1]; centred before squaring.
        scales = 1.0 / (2.0 * negatives), 1.0 / (2.0 * positives)
        for i in range(models):
            for j in range(i, models):
                up, down = ordering.comoments(places[i], places[j], labels, *scales, estimates[i], estimates[j])
                v10, v01 = float(up) / (positives - 1), float(down) / (negatives - 1)  # synchronises
                covariance[i, j] = covariance[j, i] = v10 / positives + v01 / negatives
    return estimates, covariance


def _record(
    estimates: list[float],
    covariance: Any,
    n: int,
    positives: int,
    negatives: int,
    level: float,
    backend: str,
) -> DelongResult:
    z = pvalue = math.nan
    if len(estimates) == 1:
        estimate, variance = estimates[0], float(covariance[0, 0])
    else:
        estimate = estimates[1] - estimates[0]
        variance = max(float(covariance[0, 0] + covariance[1, 1] - 2.0 * covariance[0, 1]), 0.0)
        # Two models that rank alike leave only rounding, which must not become evidence.
        if variance < 1e-28:
            variance = 0.0
    error = math.sqrt(variance) if variance >= 0.0 else math.nan
    half = NORMAL.inv_cdf(0.5 + level / 2.0) * error
    low, high = estimate - half, estimate + half
    if len(estimates) == 1:
        low, high = max(low, 0.0), min(high, 1.0)
        if math.isnan(half):
            low = high = math.nan
    elif not math.isnan(error):
        z = estimate / error if error > 0.0 else (0.0 if estimate == 0.0 else math.copysign(math.inf, estimate))
        pvalue = math.erfc(abs(z) / math.sqrt(2.0))
    return DelongResult(
        estimate=estimate, low=low, high=high, standard_error=error, z=z, pvalue=pvalue,
        estimates=tuple(estimates), covariance=tuple(tuple(float(c) for c in row) for row in covariance),
        n=n, positives=positives, negatives=negatives, confidence_level=level, backend=backend,
    )  # fmt: skip
