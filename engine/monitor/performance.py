"""Realised performance: the champion on the newest window whose labels are in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engine.intervals import IntervalConf, Rows, estimate
from engine.records import Performance


class MetricsConf(IntervalConf, Protocol):
    """Which metrics, with which intervals; EvaluateConf is one."""

    metrics: list[str]


@dataclass(frozen=True, kw_only=True)
class Mature:
    """Labelled rows of one window, and what the model says of them: (N,) or (N, C)."""

    window: str
    rows: Rows
    prediction: np.ndarray


def realised(model: str, mature: Mature, conf: MetricsConf) -> Performance:
    """Every metric with its interval; one that cannot be computed is NaN with its reason."""
    return Performance(
        model=model,
        window=mature.window,
        n_rows=len(mature.rows),
        metrics=tuple(estimate(metric, mature.rows, mature.prediction, conf) for metric in conf.metrics),
    )
