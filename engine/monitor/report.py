"""One MonitorReport a window: baseline drift, consecutive drift, realised performance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from engine.monitor.conf import MonitorConf
from engine.monitor.drift import Finding, Reference, compare
from engine.monitor.harm import Importance, with_harm
from engine.monitor.joint import Joint, together
from engine.monitor.labelled import MetricsConf
from engine.monitor.labels import Labels
from engine.monitor.performance import Mature, realised
from engine.records import MonitorReport, Performance, Task, Window


@dataclass(kw_only=True)
class _Held:
    """What the windows of one model are held against; no window is kept for it."""

    model: str
    reference: Reference
    joint: Joint | None  # None: monitor.multivariate is none
    labels: Labels
    importance: Importance | None = None


class Monitor:
    """Watches one model after the other; what the present one is held against stays at hand."""

    def __init__(
        self,
        conf: MonitorConf,
        metrics: MetricsConf,
        numeric: Sequence[str],
        categorical: Sequence[str],
        label: str,
        task: Task,
    ) -> None:
        self.conf, self.metrics = conf, metrics
        self.columns = tuple(numeric), tuple(categorical)
        self.label, self.task = label, task
        self._held: _Held | None = None

    def report(
        self,
        *,
        model: str,
        window: Window,
        reference: Sequence[Window],
        previous: Window,
        predictions: tuple[np.ndarray, np.ndarray],
        mature: Mature | None,
        importance: Callable[[], Importance] | None = None,
    ) -> MonitorReport:
        """What changed in `window`.

        Args:
            model: id of the champion.
            window: the live rows.
            reference: the windows it was trained on, with their labels.
            previous: the window before, for what creeps slowly or jumps at once.
            predictions: the model's predictions on its hold-out rows and on the live rows.
            mature: the newest labelled window; None where there is none.
            importance: measures what each column is worth to the model; asked once a model.
        """
        held_out, live = predictions
        if self._held is None or self._held.model != model:
            self._held = self._hold(model, reference, held_out)
        held = self._held
        numeric, categorical = self.columns
        before = Reference(name=previous.name, table=previous.table, numeric=numeric, categorical=categorical)
        performance = None if mature is None else realised(model, mature, self.metrics, self.conf)
        further = self._further(held, window, mature, performance)
        drift = compare(held.reference, window.table, window.name, self.conf, live, further)
        whole = together(before, window.table, self.conf.multivariate, self.conf)
        jump = compare(before, window.table, window.name, self.conf, None, whole)
        if importance is not None:
            held.importance = held.importance or importance()
            drift, jump = (with_harm(report, held.importance) for report in (drift, jump))
        return MonitorReport(
            window=window.name,
            model=model,
            baseline=drift,
            consecutive=jump,
            performance=performance,
        )

    def _further(
        self, held: _Held, window: Window, mature: Mature | None, performance: Performance | None
    ) -> list[Finding]:
        """What is judged together with the columns: all of them as one, and the labels of the newest labelled window,
        where these are a fair sample of its rows."""
        found = [] if held.joint is None else [held.joint.finding(window.table, self.conf)]
        if mature is not None and performance is not None:
            found.append(held.labels.finding(mature.rows.target, self.conf, performance.reason))
        return found

    def _hold(self, model: str, windows: Sequence[Window], predictions: np.ndarray) -> _Held:
        numeric, categorical = self.columns
        used = [*numeric, *categorical]
        names = [w.name for w in windows]
        reference = Reference(
            name=names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}",
            table=pa.concat_tables([w.table.select(used) for w in windows], promote_options="permissive"),
            numeric=numeric,
            categorical=categorical,
            predictions=predictions,
        )
        labels = Labels.of(self.label, self.task, windows)
        method = self.conf.multivariate
        joint = None if method == "none" else Joint(reference=reference, method=method)
        return _Held(model=model, reference=reference, joint=joint, labels=labels)
