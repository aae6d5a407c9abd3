"""Paired comparison of two classifiers' accuracy: McNemar's test, exact or mid-p."""

from __future__ import annotations

import math

import numpy as np

from kernels.arrays import Array, check_ndim, check_option
from kernels.resample.inputs import paired
from kernels.resample.intervals import NORMAL, binomial_half_tail, check_level
from kernels.resample.records import McnemarResult

METHODS = ("exact", "mid-p")


def mcnemar(
    y_true: Array, pred_a: Array, pred_b: Array, *, method: str = "mid-p", confidence_level: float = 0.95,
    nan_policy: str = "raise", backend: str | None = None,
) -> McnemarResult:  # fmt: skip
    """McNemar's (1947) test that two classifiers have one accuracy; labels (N,) of any dtype with equality.

    Only rows that exactly one model has right carry evidence; under the null they are Binomial(b + c, 1/2).
    "exact" is the two-sided binomial p-value and is conservative; "mid-p" counts half of the observed outcome
    and holds its size in practice (Fagerland, Lydersen and Laake 2013). The interval of the difference in
    accuracy is Wald's with the Agresti-Min (2005) adjustment. Without discordant rows p = 1.

    NaN: nan_policy "raise" (default), or "omit", which leaves the row out of both models.
    """
    check_option(method, "method", METHODS)
    check_level(confidence_level)
    rows = paired(y_true, pred_a, pred_b, nan_policy=nan_policy, backend=backend)
    for x, name in ((rows.y_true, "y_true"), *((score, "pred") for score in rows.scores)):
        check_ndim(x, name, 1)
    right_a, right_b = (score == rows.y_true for score in rows.scores)
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())  # synchronises
    n = int(right_a.shape[0])
    low, high, error = _difference(only_a, only_b, n, confidence_level)
    return McnemarResult(
        only_a=only_a, only_b=only_b, estimate=(only_b - only_a) / n if n else math.nan, low=low, high=high,
        standard_error=error, pvalue=mcnemar_pvalue(only_a, only_b, method), method=method, n=n,
        confidence_level=confidence_level,
    )  # fmt: skip


def mcnemar_pvalue(only_a: int, only_b: int, method: str = "mid-p") -> float:
    """Two-sided p-value from the two discordant counts."""
    check_option(method, "method", METHODS)
    if only_a + only_b == 0:
        return 1.0
    tail, point = binomial_half_tail(min(only_a, only_b), only_a + only_b)
    if method == "exact":
        return min(1.0, 2.0 * tail)
    return min(1.0, 2.0 * tail - point)


def _difference(only_a: int, only_b: int, n: int, level: float) -> tuple[float, float, float]:
    """Bounds with half a row added to each cell of the 2 x 2 table, and the plain standard error."""
    if not n:
        return math.nan, math.nan, math.nan
    z = NORMAL.inv_cdf(0.5 + level / 2.0)
    error = math.sqrt(max(only_a + only_b - (only_b - only_a) ** 2 / n, 0.0)) / n
    a, b, rows = only_a + 0.5, only_b + 0.5, n + 2.0
    middle, half = (b - a) / rows, z * math.sqrt(max(a + b - (b - a) ** 2 / rows, 0.0)) / rows
    return float(np.clip(middle - half, -1.0, 1.0)), float(np.clip(middle + half, -1.0, 1.0)), error
