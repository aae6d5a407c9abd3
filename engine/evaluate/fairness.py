"""How far groups are apart, with an interval of the largest gap that is valid although it is a maximum.

    demographic_parity_difference   largest difference between two groups' shares of positive predictions
    equalized_odds_difference       largest difference between two groups' true or false positive rates
    calibration_within_groups       largest calibration error of a group

The largest gap is one of finitely many gaps. Its upper bound is the largest of their upper bounds, each at the full
one-sided level: the true maximum is the gap of some pair, and the bound lies above that pair's own (intersection-union,
Berger 1982), so that no correction is due. Its lower bound is the largest of their lower bounds, each at the level
divided by the number of pairs (Bonferroni). So each end errs at most as often as stated; with many equal gaps far less.

A pair's gap is normal with the variance of its replicates, in which whole clusters are resampled and groups that share
a cluster move together; never less than that of the rate with two hits and two misses more (Agresti and Caffo 2000),
so that a rate of 0 has a width, too; and its quantile is that of Student's t on the clusters of its smaller group.
Binary metrics cut probabilities at 0.5, as all metrics of labels here. Rows without a group are a group.

Shapes: N rows, G groups, R replicates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from engine.evaluate.conf import EvaluateConf
from engine.records import AskedGap, Estimate, GroupGap, Task
from engine.scoring import student
from engine.scoring.intervals import Rows, estimate
from kernels.resample import GroupRates, group_rates

MIN_HITTABLE = 30  # positives (for the true positive rate) or negatives of a group
MIN_UNITS = 10  # clusters of a group: its variance rests on them
CALIBRATION = "calibration_within_groups"
ODDS = "equalized_odds_difference"
UNION = "upper bound of the worst pair (intersection-union), lower bound Bonferroni"


@dataclass(frozen=True)
class _Widest:
    """The largest gap and its bounds; NaN with a reason where it cannot be known."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    worst: str = ""
    method: str = ""
    reason: str = ""


def gap(asked: AskedGap, rows: Rows, prediction: np.ndarray, groups: np.ndarray, conf: EvaluateConf) -> GroupGap:
    """The largest gap between the groups (N,) of text, of probabilities (N,), or (N, C) for calibration.

    NaN with its reason where it cannot be known: one group alone, a group with too few rows or clusters, a prediction
    that is not finite. Nothing raises because of the rows.
    """
    found = _found(asked, rows, prediction, groups, conf)
    number = Estimate(
        name=asked.metric,
        value=found.value,
        low=found.low,
        high=found.high,
        n=len(rows),
        confidence_level=conf.confidence_level,
        method=found.method,
        reason=found.reason,
    )
    return GroupGap(column=asked.column, worst=found.worst, estimate=number)


def _found(asked: AskedGap, rows: Rows, prediction: np.ndarray, groups: np.ndarray, conf: EvaluateConf) -> _Widest:
    if not len(rows):
        return _Widest(reason="too few rows (0)")
    if not np.isfinite(prediction).all():
        return _Widest(reason="a prediction is not finite")
    names, codes, counts = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < 2:
        return _Widest(reason=f"there is one group alone, {names[0]}")
    small = int(np.argmin(counts))
    if counts[small] < conf.min_slice_rows:
        return _Widest(reason=f"too few rows of group {names[small]} ({counts[small]} of {conf.min_slice_rows})")
    if asked.metric == CALIBRATION:
        return _calibration(rows, prediction, names, codes, conf)
    if rows.task is not Task.BINARY:
        return _Widest(reason=f"{asked.metric} is about binary models")
    whole = np.ones(len(rows), bool)
    parts = [rows.target > 0.5, rows.target <= 0.5] if asked.metric == ODDS else [whole]
    drawn = [_drawn(prediction >= 0.5, codes, rows, part, conf) for part in parts]
    reason = next((why for part in drawn if (why := _too_few(part, names))), "")
    if reason:
        return _Widest(reason=reason)
    unit = "cluster bootstrap" if rows.cluster is not None else "bootstrap"
    bounds = _widest(drawn, names, conf.confidence_level)
    return replace(bounds, method=f"{unit}, {conf.n_resamples} resamples; {UNION}")


def _drawn(hits: np.ndarray, codes: np.ndarray, rows: Rows, part: np.ndarray, conf: EvaluateConf) -> GroupRates:
    """Rates of hits by group on part of the rows."""
    cluster = None if rows.cluster is None else rows.cluster[part]
    ids = None if rows.cluster is not None else rows.ids[part]
    return group_rates(hits[part], codes[part], cluster, n_resamples=conf.n_resamples, seed=conf.seed, row_ids=ids)


def _too_few(drawn: GroupRates, names: np.ndarray) -> str:
    """Why the rates of this part of the rows cannot be known; empty where they can."""
    if len(drawn.values) < len(names):
        gone = np.setdiff1d(np.arange(len(names)), drawn.values)[0]
        return f"too few rows of a label in group {names[gone]} (0 of {MIN_HITTABLE})"
    for name, n, units in zip(names, drawn.n, drawn.units, strict=True):
        if n < MIN_HITTABLE:
            return f"too few rows of a label in group {name} ({n} of {MIN_HITTABLE})"
        if units < MIN_UNITS:
            return f"too few clusters in group {name} ({units} of {MIN_UNITS})"
    return ""


def _widest(parts: list[GroupRates], names: np.ndarray, level: float) -> _Widest:
    """The largest difference between two groups, over all parts, with bounds for it."""
    groups = len(names)
    pairs = [(a, b) for a in range(groups) for b in range(groups) if a != b]
    tail = (1.0 - level) / 2.0
    best = _Widest(value=-math.inf, low=0.0, high=-math.inf)
    for part in parts:
        variance = _variances(part)
        for a, b in pairs:
            value = float(part.rate[a] - part.rate[b])
            error, freedom = math.sqrt(variance[a, b]), int(min(part.units[a], part.units[b])) - 1
            low = value - student.ppf(1.0 - tail / (len(pairs) * len(parts)), freedom) * error
            high = value + student.ppf(1.0 - tail, freedom) * error
            worst = f"{names[a]}, {names[b]}" if value > best.value else best.worst
            best = _Widest(max(best.value, value), max(best.low, low), max(best.high, high), worst)
    return replace(best, high=min(best.high, 1.0))


def _variances(part: GroupRates) -> np.ndarray:
    """Of the difference of each two groups (G, G)."""
    defined = part.replicates[:, ~np.isnan(part.replicates).any(axis=0)]
    together = np.atleast_2d(np.cov(defined)) if defined.shape[1] > 1 else np.full((len(part.n),) * 2, np.nan)
    own = np.diag(together)
    adjusted = (part.hits + 2) / (part.n + 4)
    least = np.maximum(adjusted * (1 - adjusted) / (part.n + 4) - own, 0.0)  # what the replicates fall short of it
    return np.asarray(np.maximum(own[:, None] + own - 2 * together, 0.0) + least[:, None] + least)


def _calibration(
    rows: Rows, prediction: np.ndarray, names: np.ndarray, codes: np.ndarray, conf: EvaluateConf
) -> _Widest:
    """The largest calibration error of a group, each with the interval of its inverted test."""
    strict = replace(conf, confidence_level=1.0 - (1.0 - conf.confidence_level) / len(names))
    best = _Widest(value=-math.inf, low=-math.inf, high=-math.inf)
    for code, name in enumerate(names):
        part = codes == code
        found = estimate("expected_calibration_error", rows.take(part), prediction[part], conf)
        if not all(map(math.isfinite, (found.value, found.low, found.high))):
            few = "too few rows or clusters" if found.reason.startswith("too few") else "undecidable"
            return _Widest(reason=f"{few} in group {name}: {found.reason}")
        low = estimate("expected_calibration_error", rows.take(part), prediction[part], strict).low
        worst = str(name) if found.value > best.value else best.worst
        best = _Widest(max(best.value, found.value), max(best.low, low), max(best.high, found.high), worst)
    how = "upper bound of the worst group (intersection-union), lower bound Bonferroni"
    return replace(best, method=f"tests inverted, {conf.n_resamples} resamples; {how}")
