"""Performance without labels: of a classifier by calibrated probabilities, of a regression by a model of its loss.

What is taken for granted is that the label follows from the row as it did: rows may come from elsewhere (covariate
shift), their labels may not mean something new (concept drift). That cannot be seen without labels. So an estimate is
made only where all that can be seen speaks for it, and says why where it is not:

    the calibration (or loss model) holds on the newest labelled window: its error is not clearly above its floor
    the live rows lie where the reference rows lie, and enough reference rows speak for them (support.py)
    there are rows enough on both sides

What it missed on labelled windows since the reference widens its intervals (misses.py).

An estimate alone promotes nothing and starts no retrain: it is kept in the report, and scored once labels come.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.monitor.basis import log_odds, thinned
from engine.monitor.classified import Classified
from engine.monitor.conf import MonitorConf
from engine.monitor.expected import no_expectation
from engine.monitor.labelled import Labelled, Live, MetricsConf, unknown
from engine.monitor.losses import Losses
from engine.monitor.misses import missed, widened
from engine.monitor.support import Support
from engine.records import Estimate, EstimatedPerformance, Missed, Task

MIN_LABEL_ROWS = 20  # reference rows of each label of a classifier
SUPPORT_ROWS = 50_000
MOST_CLASSES = 30
FEW = 250  # replicates


@dataclass(frozen=True, kw_only=True)
class Estimator:
    """What one model's labelled reference rows tell of its performance elsewhere. Fitted once a model."""

    model: str
    reference: Labelled
    conf: MonitorConf
    metrics: MetricsConf
    fitted: Classified | Losses | None  # None: there are too few rows
    support: Support | None
    reason: str

    @classmethod
    def fit(cls, model: str, reference: Labelled, conf: MonitorConf, metrics: MetricsConf) -> Estimator:
        """On labelled rows that the model was not trained on. Nothing raises because of the rows."""
        reason = _too_little(reference, conf)
        fitted: Classified | Losses | None = None
        support = None
        if not reason:
            kind = Losses if reference.rows.task is Task.REGRESSION else Classified
            fitted = kind.fit(reference, metrics)
            support = Support.of(_t(reference.rows.task, reference.prediction), reference.features)
        return cls(
            model=model,
            reference=reference,
            conf=conf,
            metrics=metrics,
            fitted=fitted,
            support=support,
            reason=reason,
        )

    def estimate(self, live: Live, newest: Labelled | None, earlier: Sequence[Missed] = ()) -> EstimatedPerformance:
        """What the metrics of `live` are expected to be, where the assumptions hold on `newest`, the newest labelled
        window (None: the reference is), and on the live rows. `earlier` is what estimates of this model missed on
        labelled windows before that.

        Cost: about 1000 replicates of at most 4,000 rows, and one pass over the live rows; a quarter for `newest`.
        """
        checked: Estimate | None = None
        outside = effective = math.nan
        came: list[Missed] = []
        reason = self.reason or _unusable(live, self.conf)
        if not reason:
            assert self.fitted is not None and self.support is not None  # noqa: PT018 - both or neither
            checked, explained = self.fitted.check(newest or self.reference)
            if newest is not None and newest.window != self.reference.window:
                came = list(missed(self._as_if_before(newest), newest))
            at = thinned(len(live.prediction), SUPPORT_ROWS)
            t, features = _t(self.reference.rows.task, live.prediction[at]), live.features.take(at)
            outside, effective = self.support.outside(t, features), self.support.effective_rows(t)
            reason = self._broken(checked, explained) or self._unsupported(outside, effective)
        return EstimatedPerformance(
            model=self.model,
            window=live.window,
            n_rows=live.n_rows,
            reference=self.reference.window,
            method=self.fitted.method if self.fitted else "",
            metrics=tuple(self._metrics(live, reason, [*earlier, *came])),
            reason=reason,
            checked=(newest or self.reference).window,
            calibration=checked,
            outside=outside,
            effective_rows=effective,
            missed=tuple(came),
        )

    def _as_if_before(self, newest: Labelled) -> list[Estimate]:
        """What would have been said of a labelled window; a few replicates tell a standard deviation."""
        live = Live(
            window=newest.window,
            n_rows=len(newest.rows),
            prediction=newest.prediction,
            features=newest.features,
            cluster=newest.rows.cluster,
        )
        if isinstance(self.fitted, Classified):
            return self.fitted.estimates(self._wanted, live, FEW)
        assert self.fitted is not None  # who asks has looked
        return self.fitted.estimates(self._wanted, live)

    @property
    def _wanted(self) -> list[str]:
        return [name for name in self.metrics.metrics if not no_expectation(name)]

    def _metrics(self, live: Live, reason: str, known_misses: list[Missed]) -> list[Estimate]:
        names, wanted = self.metrics.metrics, self._wanted
        if reason:
            known = {name: unknown(name, live.n_rows, self.metrics, reason) for name in wanted}
        else:
            assert self.fitted is not None  # or there was a reason
            known = {one.name: widened(one, known_misses) for one in self.fitted.estimates(wanted, live)}
        none = {n: unknown(n, live.n_rows, self.metrics, no_expectation(n)) for n in names if n not in known}
        return [(known | none)[name] for name in names]

    def _broken(self, check: Estimate, explained: float) -> str:
        assert self.fitted is not None
        if not math.isfinite(check.low):
            return f"the calibration cannot be checked: {check.reason or 'its error is undefined'}"
        bearable = self.conf.calibration_floor * self.fitted.scale + explained
        if check.low > bearable:
            what = check.name.replace("_", " ")
            return f"the calibration no longer holds: {what} {check.value:.3g} of which {bearable:.3g} is borne"
        return ""

    def _unsupported(self, outside: float, effective: float) -> str:
        assert self.support is not None
        allowed = self.conf.support_floor + self.support.expected
        if outside > allowed:
            return f"{outside:.1%} of the rows lie outside the reference's values, {allowed:.1%} are borne"
        if effective < self.conf.reference_rows:
            return (
                f"too few reference rows speak for these: {effective:.0f} effective ones, "
                f"{self.conf.reference_rows} are needed"
            )
        return ""


def _too_little(reference: Labelled, conf: MonitorConf) -> str:
    """Why nothing can be learnt of these rows; empty where it can."""
    rows, prediction = reference.rows, reference.prediction
    if len(rows) < conf.reference_rows:
        return f"too few labelled reference rows ({len(rows)} of {conf.reference_rows})"
    if not np.isfinite(prediction).all():
        return "a prediction of the reference rows is not finite"
    if rows.task is Task.REGRESSION:
        return ""
    if prediction.ndim == 2 and prediction.shape[1] > MOST_CLASSES:
        return f"{prediction.shape[1]} classes: at most {MOST_CLASSES} are calibrated"
    classes = 2 if rows.task is Task.BINARY else prediction.shape[1]
    counts = np.bincount(rows.target.astype(np.int64), minlength=classes)
    if counts.min() < MIN_LABEL_ROWS:
        return f"too few reference rows of label {int(counts.argmin())} ({counts.min()} of {MIN_LABEL_ROWS})"
    return ""


def _unusable(live: Live, conf: MonitorConf) -> str:
    if live.n_rows < conf.min_rows:
        return f"too few rows ({live.n_rows} of {conf.min_rows})"
    return "" if np.isfinite(live.prediction).all() else "a prediction is not finite"


def _t(task: Task, prediction: np.ndarray) -> np.ndarray:
    """Predictions as a basis takes them."""
    return prediction.astype(np.float64) if task is Task.REGRESSION else log_odds(prediction)
