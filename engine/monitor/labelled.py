"""Rows as estimates without labels take them: labelled ones to learn from, live ones to speak of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engine.monitor.basis import Features
from engine.records import Estimate
from engine.scoring.intervals import IntervalConf, Rows

REFERENCE_ROWS = 50_000  # labelled rows that are learnt from, at most
LIVE_ROWS = 250_000  # rows that stand for a live window: their choice adds some percent to the calibration's own error


class MetricsConf(IntervalConf, Protocol):
    """Which metrics, with which intervals, by which slices; EvaluateConf is one."""

    primary: str
    metrics: list[str]
    min_slice_rows: int


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Labelled rows of one window that the model was not trained on: predictions (N,) or (N, C)."""

    window: str
    rows: Rows
    prediction: np.ndarray
    features: Features


@dataclass(frozen=True, kw_only=True)
class Live:
    """A window without labels: some of its rows, thinned where there are many, and how many there are."""

    window: str
    n_rows: int
    prediction: np.ndarray
    features: Features
    cluster: np.ndarray | None = None  # (n_rows,) int64 codes of all rows


def crowd(cluster: np.ndarray) -> float:
    """Rows in the cluster of a row, on average: sum of squared sizes over their sum."""
    sizes = np.unique(cluster, return_counts=True)[1].astype(np.float64)
    return float((sizes * sizes).sum() / sizes.sum())


def inflation(ratio: float, reference: np.ndarray, live: np.ndarray) -> float:
    """How much wider rows that share their luck make the spread of a live window, as a factor of its variance.

    `ratio` is that factor on the reference rows, measured. Both follow 1 + (crowd - 1) x correlation (Kish 1965), so
    windows with larger clusters spread wider.
    """
    here = crowd(reference)
    if not math.isfinite(ratio) or ratio <= 1.0 or here <= 1.0:
        return 1.0
    return 1.0 + (ratio - 1.0) / (here - 1.0) * (crowd(live) - 1.0)


def scaled(rng: np.random.Generator, count: int, degrees: int) -> np.ndarray:
    """Factors (R,) that make normal deviations those of Student's t: few clusters know their spread badly."""
    found: np.ndarray = np.sqrt(degrees / rng.chisquare(degrees, count))
    return found


def summed(values: np.ndarray, cluster: np.ndarray | None) -> np.ndarray:
    """Sums of values (N, ...) by cluster; themselves where rows are independent."""
    if cluster is None:
        return values
    order = np.argsort(cluster, kind="stable")
    starts = np.unique(cluster[order], return_index=True)[1]
    found: np.ndarray = np.add.reduceat(values[order], starts, axis=0)
    return found


def unknown(metric: str, n: int, conf: IntervalConf, reason: str) -> Estimate:
    """A metric that cannot be known, and why."""
    nan = math.nan
    level = conf.confidence_level
    return Estimate(name=metric, value=nan, low=nan, high=nan, n=n, confidence_level=level, method="", reason=reason)
