"""DeLong's variance of AUROC from placements: DeLong, DeLong and Clarke-Pearson (1988); Sun and Xu (2014).

Shapes: N rows, P positives, Q negatives, S slices, K models. One sort a model gives every row's placement as an exact
integer, twice the number of rows of the other class that it beats; the (co)variance is that of the placements. Slices
split the sorted rows, so that they cost no sort of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from kernels.arrays import Array, as_working, check_ndim
from kernels.cpu.threads import map_columns
from kernels.dispatch import load
from kernels.resample.inputs import distinct, host, paired
from kernels.resample.intervals import NORMAL, check_level
from kernels.resample.records import DelongResult, DelongSlices


def delong(
    y_true: Array, score_a: Array, score_b: Array | None = None, confidence_level: float = 0.95, *,
    slices: Array | Mapping[str, Array] | None = None, min_rows: int = 30, nan_policy: str = "raise",
    backend: str | None = None,
) -> DelongResult:  # fmt: skip
    """AUROC with its variance and interval; with score_b, the paired difference of two models on the same
    rows.

    y_true (N,) of two labels, the greater being positive; scores (N,) of any numeric dtype, compared exactly.
    One model: `estimate` is its AUROC and the interval is estimate +- z SE clipped to [0, 1]. Two models:
    `estimate` is AUROC(score_b) - AUROC(score_a), with z and a two-sided p-value. A class with fewer than two
    rows leaves the variance NaN; a difference without variance (equal rankings) has z = 0 and p = 1, or an
    infinite z and p = 0 if the AUROCs differ. Perfect separation has no variance either: its interval is the
    point 1, however few the rows.

    slices is an integer code (N,) or several by name; every slice gets n, estimate, interval and test as if
    its rows were alone, and those under min_rows keep their estimate but get no interval and no test.

    Cost: one sort and one walk a model, O(N log N); about 24 N bytes; slices add a counting sort and a walk
    each column. On CUDA one synchronisation at the end and one a slicing column. nan_policy "raise" (default)
    or "omit" (of all models). Errors: ShapeError, OptionError (more than two labels), DTypeError (slices that
    are not integers), MissingValueError.
    """
    check_level(confidence_level)
    rows = paired(y_true, score_a, score_b, slices=slices, nan_policy=nan_policy, backend=backend)
    for x, name in ((rows.y_true, "y_true"), *((score, "score") for score in rows.scores)):
        check_ndim(x, name, 1)
    labels = rows.labels(alone=True)
    scores = [as_working(score, "score") for score in rows.scores]
    ordering = load("ordering", rows.backend)
    columns = {name: distinct(codes, rows.xp) for name, codes in rows.slices.items()}
    places, within = _placements(ordering, scores, labels, columns, rows.backend)
    positives = int(labels.sum(dtype=np.int64))  # synchronises
    counts = positives, int(labels.shape[0]) - positives
    whole = _whole(ordering, places, labels, *counts)
    summary = _summary(*whole, confidence_level)
    tables = {
        name: _slices(columns[name], [model[name] for model in within], labels, min_rows, confidence_level)
        for name in columns
    }
    return DelongResult(
        **{name: float(value[0]) for name, value in summary._asdict().items()},
        estimates=tuple(float(e) for e in whole[0][:, 0]),
        covariance=tuple(tuple(float(c) for c in row) for row in whole[1][:, :, 0]),
        n=sum(counts), positives=counts[0], negatives=counts[1], confidence_level=confidence_level,
        backend=rows.backend, slices=tables,
    )  # fmt: skip


class Summary(NamedTuple):
    """What a record says, float64 (S,)."""

    estimate: Any
    low: Any
    high: Any
    standard_error: Any
    z: Any
    pvalue: Any


def _whole(ordering: Any, places: list[Any], labels: Any, positives: int, negatives: int) -> tuple[Any, Any]:
    """Estimates (K, 1) and their covariance (K, K, 1) over all rows; the sums of placements are exact integers."""
    models = len(places)
    estimates, covariance = np.full((models, 1), math.nan), np.full((models, models, 1), math.nan)
    if not positives or not negatives:
        return estimates, covariance
    # Over the positives, placements add up to twice U; the sum is exact.
    estimates[:, 0] = [int((place * labels).sum()) / (2.0 * positives * negatives) for place in places]
    if positives > 1 and negatives > 1:
        # Placements divided by twice the size of the other class lie in [0, 1]; centred before squaring.
        scales = 1.0 / (2.0 * negatives), 1.0 / (2.0 * positives)
        for i in range(models):
            for j in range(i, models):
                centers = float(estimates[i, 0]), float(estimates[j, 0])
                up, down = ordering.comoments(places[i], places[j], labels, *scales, *centers)
                v10, v01 = float(up) / (positives - 1), float(down) / (negatives - 1)  # synchronises
                covariance[i, j] = covariance[j, i] = v10 / positives + v01 / negatives
    return estimates, covariance


def _placements(
    ordering: Any, scores: list[Any], labels: Any, columns: dict[str, Any], backend: str
) -> tuple[list[Any], list[dict[str, Any]]]:
    """The placements of each model (N,), and by slicing column those within its slices; on the CPU models run in
    threads."""
    if not columns:
        return ordering.placements_of(scores, labels), [{}]

    def of(model: int) -> tuple[Any, dict[str, Any]]:
        order = ordering.order(scores[model])
        within = {
            name: ordering.placements(ordering.split(order, index, int(values.shape[0])), labels)
            for name, (values, index, _) in columns.items()
        }
        return ordering.placements(order, labels), within

    models = range(len(scores))
    found = [of(m) for m in models] if backend == "cuda" else map_columns(of, len(scores), labels.shape[0])
    return [place for place, _ in found], [within for _, within in found]


def _slices(column: Any, places: list[Any], labels: Any, min_rows: int, level: float) -> DelongSlices:
    """Every slice of one column, from the models' placements within it."""
    values, index, n = column
    total = int(values.shape[0])
    cell = 2 * index + labels  # (slice, label)
    counts = host(np.bincount(cell, minlength=2 * total)).astype(np.int64).reshape(total, 2)
    scale = 0.5 / np.maximum(counts[:, ::-1], 1)  # a placement is over twice the other class
    scale_of = np.asarray(scale.ravel(), like=cell)[cell]
    shares = [place * scale_of for place in places]
    known = counts.min(axis=1) > 0
    rising = [host(np.bincount(cell, weights=share, minlength=2 * total)).reshape(total, 2)[:, 1] for share in shares]
    estimates = np.array([np.where(known, up / np.maximum(counts[:, 1], 1), np.nan) for up in rising])
    models = len(shares)
    centred = [
        share - np.asarray(np.nan_to_num(estimate), like=share)[index]
        for share, estimate in zip(shares, estimates, strict=True)
    ]
    covariance = np.full((models, models, total), np.nan)
    inner = np.maximum(counts - 1, 1) * np.maximum(counts, 1)
    for i in range(models):
        for j in range(i, models):
            both = host(np.bincount(cell, weights=centred[i] * centred[j], minlength=2 * total)).reshape(total, 2)
            variance = (both / inner).sum(axis=1)
            covariance[i, j] = covariance[j, i] = np.where(counts.min(axis=1) > 1, variance, np.nan)
    enough = n >= max(min_rows, 1)
    summary = _summary(estimates, covariance, level)
    rest = {name: np.where(enough, value, np.nan) for name, value in summary._asdict().items() if name != "estimate"}
    return DelongSlices(
        values=values, n=n, positives=counts[:, 1], negatives=counts[:, 0], enough=enough,
        estimate=summary.estimate, **rest,
    )  # fmt: skip


def _summary(estimates: Any, covariance: Any, level: float) -> Summary:
    """Interval and test from estimates (K, S) and covariances (K, K, S)."""
    single = len(estimates) == 1
    if single:
        estimate, variance = estimates[0], covariance[0, 0]
    else:
        estimate = estimates[1] - estimates[0]
        variance = np.maximum(covariance[0, 0] + covariance[1, 1] - 2.0 * covariance[0, 1], 0.0)
        # Two models that rank alike leave only rounding, which must not become evidence.
        variance = np.where(variance < 1e-28, 0.0, variance)
    error = np.sqrt(variance)
    half = NORMAL.inv_cdf(0.5 + level / 2.0) * error
    low, high = estimate - half, estimate + half
    z = pvalue = np.full(error.shape, np.nan)
    if single:
        low, high = np.maximum(low, 0.0), np.minimum(high, 1.0)
    else:
        apart = np.where(estimate == 0.0, 0.0, np.copysign(np.inf, estimate))
        z = np.where(error > 0.0, estimate / np.where(error > 0.0, error, 1.0), apart)
        z = np.where(np.isnan(error), np.nan, z)
        pvalue = np.array([math.erfc(abs(value) / math.sqrt(2.0)) for value in z.tolist()])
    return Summary(estimate, low, high, error, z, pvalue)
