"""Which windows enter the risk of the champion: all that were labelled after its hold-out and were fit for use.

Each enters once, when its labels are in; what it came to stands in the ledger, so a label that is corrected later does
not change it. Where the ledger has no record of the model, or monitor.risk_* have changed, all enter again.

Beside it stands the risk that is expected of windows whose labels are not in: each enters once, when it comes. And the
primary metric by the same windows, against what it was on the hold-out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc

from engine.cycle.past import Past
from engine.cycle.setting import Confs, Ports
from engine.models import challenger
from engine.models.predicted import Predict
from engine.models.predictor import Predictor
from engine.monitor import decay as decaying
from engine.monitor import expected_risk
from engine.monitor import risk as tracked
from engine.monitor.expected_risk import Expectation, Grounds
from engine.monitor.performance import Mature, realised
from engine.records import (
    Candidate,
    Decay,
    Estimate,
    EstimatedPerformance,
    ExpectedRisk,
    MonitorReport,
    Risk,
    Task,
    Window,
)
from engine.scoring.intervals import Rows
from engine.scoring.scores import GREATER_IS_BETTER


class RiskWatch:
    """The risk of one champion after the other; it remembers nothing that the ledger does not hold."""

    def __init__(
        self,
        confs: Confs,
        ports: Ports,
        read: Callable[..., Window],
        predict: Predict,
        mature: Callable[[Predictor, Window], Mature],
    ) -> None:
        self.confs, self.ports, self.read, self.predict, self._mature = confs, ports, read, predict, mature
        self._expectation: Expectation | None = None

    def of(self, model: Predictor, made: Candidate, past: Past, labelled: Sequence[str]) -> Risk | None:
        """After all windows whose labels are in; None where monitor.risk_loss is none, or the model is of no loop."""
        conf = self.confs.monitor
        if conf.risk_loss == "none" or made.holdout_window not in labelled:
            return None
        kind = tracked.kind_of(conf, model.task)
        risk = past.risk(made.model)
        known = (kind, made.holdout_window, conf.risk_tolerance, conf.risk_delta)
        if risk is None or (risk.loss, risk.source_window, risk.tolerance, risk.delta) != known:
            risk = self._begin(model, kind, made.holdout_window)
        came = labelled.index(made.holdout_window)
        for name in labelled[came + 1 :]:
            if name not in risk.windows and name not in past.blocked:
                risk = tracked.follow(risk, name, self._units(model, kind, name, risk.scale), conf)
        return risk

    def told(
        self,
        report: MonitorReport,
        grounds: Grounds | None,
        model: Predictor,
        made: Candidate,
        past: Past,
        labelled: Sequence[str],
    ) -> MonitorReport:
        """The report with both readings: by labels, and before them."""
        risk = self.of(model, made, past, labelled)
        expected = self._expected(risk, report.estimated, grounds, past)
        decay = self.decay(report, model, made, past, labelled)
        return replace(report, risk=risk, expected_risk=expected, decay=decay)

    def decay(
        self, report: MonitorReport, model: Predictor, made: Candidate, past: Past, labelled: Sequence[str]
    ) -> Decay | None:
        """Of the primary metric, after all windows whose labels are in; None where monitor.decay is off, or the model
        is of no loop.
        """
        conf, decide, metric = self.confs.monitor, self.confs.decide, self.confs.evaluate.primary
        if not conf.decay or made.holdout_window not in labelled:
            return None
        found = decaying.begin(
            metric, past.baseline(made.model, metric), made.holdout_window, conf,
            point=decide.point, greater_is_better=GREATER_IS_BETTER[metric],
        )  # fmt: skip
        known = past.decay(made.model)
        if known is not None and decaying.settings(known) == decaying.settings(found):
            found = known
        newest = max((labelled.index(name) for name in found.windows if name in labelled), default=-1)
        for name in labelled[max(labelled.index(made.holdout_window), newest) + 1 :]:
            if name not in past.blocked:
                found = decaying.follow(found, name, self._metric(metric, name, report, model, past), conf)
        return replace(found, point_value=decide.point_value, currency=decide.currency)

    def _metric(self, metric: str, name: str, report: MonitorReport, model: Predictor, past: Past) -> Estimate:
        """On the labelled rows of a window: as this cycle or an earlier one has it, computed where neither does."""
        now = report.performance
        known = now.metrics if now is not None and now.window == name else past.measured(model.artifact, name)
        found = next((estimate for estimate in known if estimate.name == metric), None)
        if found is not None:
            return found
        mature = self._mature(model, self.read(name, labelled=True))
        with self.ports.watch.lap("monitor"):
            only = replace(self.confs.evaluate, metrics=[metric])
            return realised(model.artifact, replace(mature, slices={}), only, self.confs.monitor).metrics[0]

    def _expected(
        self, risk: Risk | None, made: EstimatedPerformance | None, grounds: Grounds | None, past: Past
    ) -> ExpectedRisk | None:
        """Before labels are in, from what the estimate of the newest window stands on; None where there is no risk or
        no estimate."""
        if risk is None or made is None or grounds is None:
            return None
        with self.ports.watch.lap("monitor"):
            known = self._expectation
            if known is None or known.estimator is not grounds.estimator or known.risk.scale != risk.scale:
                known = Expectation.of(grounds.estimator, risk)
            self._expectation = known = replace(known, risk=risk)
            before = past.expected_risk(made.model)
            return expected_risk.follow(before, known, grounds.live, refused=made.reason, newest=grounds.newest)

    def _begin(self, model: Predictor, kind: str, source: str) -> Risk:
        scale = 1.0
        if model.task is Task.REGRESSION:
            rows, prediction = self._rows(model, source)
            scale = tracked.SCALE * float(np.abs(rows.target - prediction).mean()) if len(rows) else 1.0
            scale = scale if 0 < scale < np.inf else 1.0
        unit = "cluster" if self.confs.data.cluster else "row"
        units = self._units(model, kind, source, scale)
        return tracked.begin(kind, source, units, unit, self.confs.monitor, scale)

    def _units(self, model: Predictor, kind: str, name: str, scale: float) -> np.ndarray:
        rows, prediction = self._rows(model, name)
        with self.ports.watch.lap("monitor"):
            loss = tracked.losses(kind, rows.task, rows.target, prediction, scale)
            return tracked.by_unit(loss, rows.cluster)

    def _rows(self, model: Predictor, name: str) -> tuple[Rows, np.ndarray]:
        """The labelled rows of a window in the order of their time, and what the model says of them."""
        window = self.read(name, labelled=True)
        with self.ports.watch.lap("monitor"):
            data = self.confs.data
            table = challenger.labelled_rows(window, data)
            order = pc.sort_indices(table, [(data.time, "ascending")])
            prediction = self.predict(model, window)[challenger.has_label(window, data)]
            return challenger.rows_of(model, table.take(order), data), prediction[order.to_numpy()]
