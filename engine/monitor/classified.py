"""Metrics of a classifier on rows without labels, from calibrated probabilities of its reference rows.

The value is the metric that the calibrated probabilities lead to expect (kernels/metrics/expected.py). The interval is
of the metric that will be measured once the labels are in. In each replicate other reference rows give another
calibration, and labels are drawn with its probabilities: the spread holds both what the calibration may be wrong by,
and the luck of the labels. Labels of rows that share a cluster go astray together: how much more that spreads each
metric is measured on the reference rows.

Shapes: N reference rows, M live rows, C classes, R replicates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from engine.monitor.basis import thinned
from engine.monitor.calibrator import Calibrator, calibrate
from engine.monitor.expected import expected
from engine.monitor.labelled import Labelled, Live, MetricsConf, inflation, scaled
from engine.records import Estimate, Task
from engine.scoring.intervals import estimate

REPLICATES = 1000
CELLS = 2_000_000  # replicates x rows x classes that are drawn at most: rows are thinned to that
CHUNK = 250  # replicates that are in memory at once
DRAWN = 200  # resamples of the reference rows for the spread by cluster
DRAWN_ROWS = 10_000
UNDEFINED = 0.05  # share of replicates without the metric, above which it has no interval
CHECK = "expected_calibration_error"


@dataclass(frozen=True, kw_only=True)
class Classified:
    """A calibration, and the reference rows behind it."""

    reference: Labelled
    calibrator: Calibrator
    conf: MetricsConf
    error: float  # of the calibration: what its own noise moves a probability by, at the 95th percentile

    @classmethod
    def fit(cls, reference: Labelled, conf: MetricsConf) -> Classified:
        """On labelled rows that the model was not trained on."""
        made = calibrate(reference.rows, reference.prediction, reference.features, conf.seed)
        at = thinned(len(reference.rows), 2000)
        prediction, features = reference.prediction[at], reference.features.take(at)
        drawn = made.replicates(prediction, features, np.random.default_rng(conf.seed), DRAWN)
        moved = np.abs(drawn - made.probability(prediction, features))
        by_replicate = moved.reshape(DRAWN, -1).mean(axis=1)
        return cls(reference=reference, calibrator=made, conf=conf, error=float(np.quantile(by_replicate, 0.95)))

    @property
    def method(self) -> str:
        """In words."""
        return f"expected from probabilities calibrated on {len(self.reference.rows)} rows ({self.calibrator.kind})"

    def check(self, newest: Labelled) -> tuple[Estimate, float]:
        """The calibration error on the newest labelled rows, and what may be borne: a share of this, and this more."""
        if newest.window == self.reference.window:
            probability = self.calibrator.crossed
            newest = self.reference
        else:
            probability = self.calibrator.probability(newest.prediction, newest.features)
        return estimate(CHECK, newest.rows, probability, self.conf), self.error

    @property
    def scale(self) -> float:
        """How varied the labels are: one minus the sum of their squared shares."""
        counts = np.unique(self.reference.rows.target, return_counts=True)[1]
        return float(1.0 - ((counts / counts.sum()) ** 2).sum())

    def estimates(self, metrics: list[str], live: Live, replicates: int = REPLICATES) -> list[Estimate]:
        """Each metric with an interval of its realised value, by so many replicates."""
        task = self.reference.rows.task
        probability = self.calibrator.probability(live.prediction, live.features)
        drawn = self._replicates(metrics, live, probability, replicates)
        tail = 50.0 * (1.0 - self.conf.confidence_level)
        values = expected(metrics, task, probability, live.prediction)
        found = []
        for metric in metrics:
            value = float(values[metric][0])
            apart = drawn[metric]
            known = np.isfinite(apart)
            reason = "" if math.isfinite(value) else "undefined on these predictions"
            if not reason and (~known).mean() > UNDEFINED:
                reason = "undefined on too many replicates"
            low, high = np.percentile(apart[known], (tail, 100.0 - tail)) if not reason else (math.nan, math.nan)
            found.append(
                Estimate(
                    name=metric,
                    value=value if not reason else math.nan,
                    low=float(value + low),
                    high=float(value + high),
                    n=live.n_rows,
                    confidence_level=self.conf.confidence_level,
                    method=f"{replicates} replicates of calibration and labels",
                    reason=reason,
                )
            )
        return found

    def _replicates(
        self, metrics: list[str], live: Live, probability: np.ndarray, replicates: int
    ) -> dict[str, np.ndarray]:
        """How far (R,) the realised metric would be from the estimate, each replicate."""
        rng = np.random.default_rng([self.conf.seed, 1])
        task, reference = self.reference.rows.task, self.reference.rows
        classes = 1 if task is Task.BINARY else live.prediction.shape[1]
        at = thinned(len(live.prediction), max(200, CELLS // (REPLICATES * classes)))
        if task is Task.BINARY:  # in the order of their ranks, which metrics of ranks would have to make each time
            order = np.argsort(live.prediction[at], kind="stable")
            at = order if isinstance(at, slice) else at[order]
        prediction, features, centre = live.prediction[at], live.features.take(at), probability[at]
        shrink = math.sqrt(len(prediction) / live.n_rows)  # the luck of all rows is less than that of these
        degrees = reference.units - 1
        wider, middle = self._wider(metrics, live), expected(metrics, task, centre, prediction)
        parts: dict[str, list[np.ndarray]] = {metric: [] for metric in metrics}
        for start in range(0, replicates, CHUNK):
            count = min(CHUNK, replicates - start)
            sets = self.calibrator.replicates(prediction, features, rng, count)
            labels = _labels(sets, rng)
            heavier = scaled(rng, count, degrees)
            own, came = (expected(metrics, task, either, prediction) for either in (sets, labels))
            for metric in metrics:
                luck = (came[metric] - own[metric]) * shrink * wider[metric]
                parts[metric].append((own[metric] - middle[metric]) * heavier + luck)
        return {metric: np.concatenate(found) for metric, found in parts.items()}

    def _wider(self, metrics: list[str], live: Live) -> dict[str, float]:
        """Factors of the spread of the labels' luck, where rows come in clusters."""
        cluster = self.reference.rows.cluster
        if cluster is None or live.cluster is None:
            return dict.fromkeys(metrics, 1.0)
        at = thinned(len(cluster), DRAWN_ROWS)
        codes = np.unique(cluster[at], return_inverse=True)[1]
        rng = np.random.default_rng([self.conf.seed, 2])
        by_row = self._luck(metrics, at, rng.poisson(1.0, (DRAWN, len(codes))))
        by_cluster = self._luck(metrics, at, rng.poisson(1.0, (DRAWN, int(codes.max()) + 1))[:, codes])
        found = {}
        for metric in metrics:
            spread = float(np.nanvar(by_row[metric]))
            ratio = float(np.nanvar(by_cluster[metric])) / spread if spread > 0 else math.nan
            found[metric] = math.sqrt(inflation(ratio, codes, live.cluster))
        return found

    def _luck(self, metrics: list[str], at: np.ndarray | slice, weight: np.ndarray) -> dict[str, np.ndarray]:
        """Realised minus expected (R,) on resampled reference rows."""
        rows, prediction = self.reference.rows, self.reference.prediction[at]
        if rows.task is Task.BINARY:
            truth = (rows.target[at] > 0.5).astype(np.float64)
        else:
            truth = np.eye(prediction.shape[1])[rows.target[at].astype(np.int64)]
        came, meant = (
            expected(metrics, rows.task, p, prediction, weight) for p in (truth, self.calibrator.crossed[at])
        )
        return {metric: came[metric] - meant[metric] for metric in metrics}


def _labels(probability: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Drawn labels (R, M) of 0 and 1, or (R, M, C) with a 1 at the class."""
    if probability.ndim == 2:
        return (rng.random(probability.shape) < probability).astype(np.float64)
    below = rng.random((*probability.shape[:2], 1)) < np.cumsum(probability, axis=2)
    below[..., -1] = True  # the sum may round to less than one
    found: np.ndarray = np.diff(below, axis=2, prepend=False).astype(np.float64)
    return found
