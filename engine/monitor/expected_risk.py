"""Is the deployed model expected to do worse than on its hold-out: asked before the labels are in.

The question of risk.py, of losses that the calibration (or the loss model) of labelfree.py expects of rows without
labels (Amoukou et al. 2024, arXiv 2412.12910). It is a reading of its own, and never as if labels had come: it sees
harm that shows in the rows alone (they moved to where the model errs more), and no change of what labels mean.

What is guaranteed: where the label follows from the row as it did on the hold-out, and the risk of no window exceeds
the bound (that of the hold-out and the tolerance), the chance of ever an alarm is at most delta, however often one
looks. Half of delta is the hold-out's own bound. A quarter is the error of what is expected: losses of window j are
taken down by what their mean may be wrong by at one side of delta / 4 / (j (j + 1)), in the normal approximation that
the calibration has, so that it holds for all windows at once. A quarter is the bet (kernels.stream.Betting) of the
losses that are left against "their mean is at most the bound".

UNDECIDABLE, whatever was said before: where the estimate of the window is refused, and where on the newest labelled
window the expected mean loss missed what came by more than both can be wrong by (a test at 5 %). Such windows do not
enter. An alarm is remembered in `since`, and stands while what is expected is to be believed.

Shapes: M live rows, C classes, U units (rows, or clusters), R replicates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from engine.monitor.basis import thinned
from engine.monitor.classified import DRAWN, Classified
from engine.monitor.labelfree import Estimator
from engine.monitor.labelled import Labelled, Live
from engine.monitor.losses import LossModel
from engine.monitor.risk import EVERY, by_unit, expected_losses, losses, numbers, resumed
from engine.records import Estimate, Task
from engine.records.observed import ExpectedRisk, Risk, RiskOutcome
from engine.scoring import student
from kernels.stream import Betting, ConfidenceSequence

ROWS = 2000  # of which the error of the mean is drawn
DOUBT = 0.95  # a labelled window that is further off than this says that nothing is to be believed


@dataclass(frozen=True, kw_only=True)
class Grounds:
    """What an estimate without labels stands on: a fitted estimator, the live rows, the newest labelled window."""

    estimator: Estimator
    live: Live
    newest: Labelled | None  # None: it is the reference


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """The losses that one model is expected to make of rows."""

    estimator: Estimator
    risk: Risk
    model: LossModel | None  # of the capped absolute loss in regression; None: a calibration tells

    @classmethod
    def of(cls, estimator: Estimator, risk: Risk) -> Expectation:
        """Of a fitted estimator; a regression's loss is learnt here."""
        known, model = estimator.reference, None
        if known.rows.task is Task.REGRESSION and estimator.fitted is not None:
            t = known.prediction.astype(np.float64)
            loss = losses(risk.loss, known.rows.task, known.rows.target, known.prediction, risk.scale)
            model = LossModel.fit(loss, known.rows, t, known.features, estimator.metrics.seed)
        return cls(estimator=estimator, risk=risk, model=model)

    def units(self, live: Live) -> tuple[np.ndarray, float]:
        """Expected losses (U,), and the standard deviation by which their mean may be wrong."""
        cluster = None
        if self.risk.unit == "cluster" and live.cluster is not None:
            cluster = live.cluster[thinned(live.n_rows, len(live.prediction))]
        if self.model is not None:
            t = live.prediction.astype(np.float64)
            parts = [design @ self.model.theta for _, design in self.model.basis.chunks(t, live.features)]
            values = np.clip(np.concatenate(parts), 0.0, 1.0)
            return by_unit(values, cluster), math.sqrt(self.model.mean_of(t, live.features)[1])
        fitted, task = self.estimator.fitted, self.estimator.reference.rows.task
        assert isinstance(fitted, Classified)  # or there were a model of the loss
        probability = fitted.calibrator.probability(live.prediction, live.features)
        values = expected_losses(self.risk.loss, task, probability, live.prediction)
        at = thinned(len(live.prediction), ROWS)
        prediction, rng = live.prediction[at], np.random.default_rng([self.estimator.metrics.seed, 4])
        drawn = fitted.calibrator.replicates(prediction, live.features.take(at), rng, DRAWN)
        moved = expected_losses(self.risk.loss, task, drawn, prediction)  # (R, rows)
        own = cluster[at] if cluster is not None else None
        error = float((moved @ _shares(len(prediction), own)).std())
        return by_unit(np.clip(values, 0.0, 1.0), cluster), error

    def doubt(self, newest: Labelled | None) -> str:
        """Why nothing is to be believed: what was expected of the newest labelled window is not what came."""
        if newest is None:
            return ""
        rows, kind = newest.rows, self.risk.loss
        cluster = rows.cluster if self.risk.unit == "cluster" else None
        came = by_unit(losses(kind, rows.task, rows.target, newest.prediction, self.risk.scale), cluster)
        said, error = self.units(
            Live(window=newest.window, n_rows=len(rows), prediction=newest.prediction, features=newest.features,
                 cluster=cluster)
        )  # fmt: skip
        if not (np.isfinite(came).all() and len(came) > 1):
            return f"the losses on {newest.window} cannot be compared with what was expected"
        luck = float((came - said).std(ddof=1)) / math.sqrt(len(came))
        degrees = min(len(came), self.estimator.reference.rows.units) - 1
        if abs(float(came.mean() - said.mean())) <= student.within(DOUBT, max(1, degrees)) * math.hypot(luck, error):
            return ""
        return f"{newest.window}: {kind} came to {came.mean():.4f} where {said.mean():.4f} was expected"


def _shares(rows: int, cluster: np.ndarray | None) -> np.ndarray:
    """Weights (rows,) that make the mean over units."""
    if cluster is None:
        return np.full(rows, 1.0 / rows)
    code, sizes = np.unique(cluster, return_inverse=True, return_counts=True)[1:]
    return np.asarray(1.0 / (sizes[code] * len(sizes)))


def follow(
    known: ExpectedRisk | None, expectation: Expectation, live: Live, *, refused: str, newest: Labelled | None
) -> ExpectedRisk:
    """With the next window, whose labels are not in. `refused` is why its estimate is; what is known of another model,
    bound or delta begins anew."""
    found = _begun(known, expectation, live.window)
    if live.window in found.windows:
        return found
    reason = refused or ("" if found.bound < 1 else "no risk would be too high") or expectation.doubt(newest)
    values, error = expectation.units(live) if not reason else (np.array([math.nan]), math.nan)
    if not reason and not (np.isfinite(values).all() and math.isfinite(error)):
        reason = "an expected loss is not finite"
    if reason:
        return replace(found, outcome=RiskOutcome.UNDECIDABLE, reason=reason, newest=math.nan, error=math.nan)
    unit = expectation.risk.unit
    bets = resumed(Betting(bound=found.bound, delta=found.delta / 4, every=EVERY[unit]), found.bets)
    sequence = resumed(ConfidenceSequence(delta=found.delta / 4), found.bounds)
    mean, entry = float(values.mean()), len(found.windows) + 1
    level = 1.0 - found.delta / 2 / (entry * (entry + 1))  # both sides of it
    wrong = error * student.within(level, max(1, expectation.estimator.reference.rows.units - 1))
    bets.update(values * max(0.0, 1.0 - wrong / mean) if mean > 0 else values)
    sequence.update(values)
    so_far, low, high = (float(number[0]) for number in sequence.bounds)
    widest = max(wrong, found.widest)
    alarm = bool(bets.alarm[0])
    said = f"{found.loss} is expected above {found.bound:.4f}, what {expectation.risk.source_window} and the tolerance "
    return replace(
        found,
        outcome=RiskOutcome.ALARM if alarm else RiskOutcome.NO_ALARM,
        reason=f"{said}allow; no label has shown it" if alarm else "",
        risk=replace(
            found.risk,
            value=so_far,
            low=max(0.0, min(low, so_far) - widest),
            high=min(1.0, max(high, so_far) + widest),
            n=found.risk.n + len(values),
        ),
        newest=mean,
        error=wrong,
        widest=widest,
        evidence=float(bets.evidence[0]),
        since=found.since or (live.window if alarm else ""),
        windows=(*found.windows, live.window),
        bets=numbers(bets),
        bounds=numbers(sequence),
    )


def _begun(known: ExpectedRisk | None, expectation: Expectation, window: str) -> ExpectedRisk:
    risk, model = expectation.risk, expectation.estimator.model
    bound = risk.bound
    if known is not None and (known.model, known.loss, known.bound, known.delta) == (
        model, risk.loss, bound, risk.delta,
    ):  # fmt: skip
        return replace(known, window=window)
    none = Estimate(
        name=risk.loss, value=math.nan, low=0.0, high=1.0, n=0, confidence_level=1.0 - risk.delta / 2,
        method="expected losses, their calibration's error",
    )  # fmt: skip
    return ExpectedRisk(
        model=model,
        window=window,
        loss=risk.loss,
        bound=bound,
        delta=risk.delta,
        outcome=RiskOutcome.UNDECIDABLE,
        reason="",
        risk=none,
    )
