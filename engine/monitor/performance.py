"""Realised performance: the champion on the labelled rows of the newest window whose labels are in.

Some rows never get a label (cancelled orders). Up to `monitor.unlabelled_floor` of them are left out, as they are of
training. Where more lack their label it is not in yet. Those that are in count, and how many is said; but only while
they are a fair sample: where the model's predictions on labelled and unlabelled rows differ (Kolmogorov-Smirnov,
significant and above `monitor.labels_floor`), labels are missing for a reason, and every metric is NaN with that
reason and its value in words. That predictions agree does not prove that labels are missing at random: it is what can
be seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from engine.monitor.conf import MonitorConf
from engine.monitor.labelled import MetricsConf, unknown
from engine.records import Estimate, Performance, SliceEstimate
from engine.scoring.intervals import Rows, estimate
from kernels.drift import ks_2samp


@dataclass(frozen=True, kw_only=True)
class Levels:
    """A slicing column of labelled rows: codes (N,) into the names of its levels."""

    codes: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Mature:
    """Labelled rows of one window, and what the model says of them: (N,) or (N, C)."""

    window: str
    rows: Rows
    prediction: np.ndarray
    unlabelled: np.ndarray | None = None  # predictions of the rows without a label; None: there are none
    slices: Mapping[str, Levels] = field(default_factory=dict)
    labels: str = ""  # digest of ids and labels


def realised(model: str, mature: Mature, conf: MetricsConf, rules: MonitorConf) -> Performance:
    """Every metric with its interval, and the primary one by slice; what cannot be known is NaN with its reason."""
    reason = biased(mature, rules)
    metrics = tuple(estimate(metric, mature.rows, mature.prediction, conf) for metric in conf.metrics)
    slices = tuple(_slices(mature, conf))
    if reason:
        metrics = tuple(_distrusted(found, reason) for found in metrics)
        slices = tuple(replace(part, estimate=_distrusted(part.estimate, reason)) for part in slices)
    return Performance(
        model=model,
        window=mature.window,
        n_rows=len(mature.rows),
        metrics=metrics,
        unlabelled=0 if mature.unlabelled is None else len(mature.unlabelled),
        reason=reason,
        slices=slices,
        labels=mature.labels,
    )


def biased(mature: Mature, rules: MonitorConf) -> str:
    """Why the labelled rows do not speak for all rows of the window; empty where nothing says so.

    Predictions of several classes are compared class by class, with Bonferroni's correction.
    """
    others, labelled = mature.unlabelled, len(mature.rows)
    if others is None or len(others) <= rules.unlabelled_floor * (labelled + len(others)):
        return ""
    told = f"{labelled} of {labelled + len(others)} rows are labelled"
    if min(labelled, len(others)) < rules.min_rows:
        return f"undecidable: {told}, {rules.min_rows} on either side tell whether they are a fair sample"
    sides = (np.atleast_2d(p.T) for p in (mature.prediction, others))
    tests = [ks_2samp(ours, theirs) for ours, theirs in zip(*sides, strict=True)]
    for found in tests:
        if not math.isfinite(float(found.pvalue)):
            return f"undecidable: {told}, and a prediction is not finite"
    worst = max(tests, key=lambda found: float(found.statistic))
    if min(1.0, len(tests) * float(worst.pvalue)) <= rules.alpha and float(worst.statistic) > rules.labels_floor:
        return f"biased: {told}, and the model's predictions on them differ from the others (KS {worst.statistic:.2f})"
    return ""


def _distrusted(found: Estimate, reason: str) -> Estimate:
    """An estimate that no decision may use: its value is in the reason alone."""
    if found.reason:
        return found
    said = f"{reason}; {found.value:.4g} on the labelled rows"
    return replace(found, value=math.nan, low=math.nan, high=math.nan, reason=said)


def _slices(mature: Mature, conf: MetricsConf) -> Iterator[SliceEstimate]:
    """The primary metric by every level, in the order of the alphabet; undecidable below `min_slice_rows`."""
    for column, levels in mature.slices.items():
        order = np.argsort(levels.codes, kind="stable")
        ends = np.cumsum(np.bincount(levels.codes, minlength=len(levels.names)))
        places = dict(zip(levels.names, np.split(order, ends[:-1]), strict=True))
        for level in sorted(places):
            at = places[level]
            if len(at) < conf.min_slice_rows:
                few = f"too few rows ({len(at)} of {conf.min_slice_rows})"
                own = unknown(conf.primary, len(at), conf, few)
            else:
                own = estimate(conf.primary, mature.rows.take(at), mature.prediction[at], conf)
            yield SliceEstimate(column=column, level=level, estimate=own, difference=None)
