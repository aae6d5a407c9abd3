"""One MonitorReport a window: baseline drift, consecutive drift, realised performance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from engine.monitor.conf import MonitorConf
from engine.monitor.drift import Reference, compare
from engine.monitor.harm import Importance, with_harm
from engine.monitor.labelled import MetricsConf
from engine.monitor.performance import Mature, realised
from engine.records import MonitorReport, Window


class Monitor:
    """Watches one model after the other; the reference of the present one stays at hand."""

    def __init__(
        self, conf: MonitorConf, metrics: MetricsConf, numeric: Sequence[str], categorical: Sequence[str]
    ) -> None:
        self.conf, self.metrics = conf, metrics
        self.columns = tuple(numeric), tuple(categorical)
        self._reference: tuple[str, Reference] | None = None
        self._importance: tuple[str, Importance] | None = None

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
            reference: the windows it was trained on.
            previous: the window before, for what creeps slowly or jumps at once.
            predictions: the model's predictions on its hold-out rows and on the live rows.
            mature: the newest labelled window; None where there is none.
            importance: measures what each column is worth to the model; asked once a model.
        """
        held_out, live = predictions
        baseline = self._baseline(model, reference, held_out)
        numeric, categorical = self.columns
        before = Reference(name=previous.name, table=previous.table, numeric=numeric, categorical=categorical)
        drift = compare(baseline, window.table, window.name, self.conf, live)
        jump = compare(before, window.table, window.name, self.conf)
        if importance is not None:
            if self._importance is None or self._importance[0] != model:
                self._importance = model, importance()
            drift, jump = (with_harm(report, self._importance[1]) for report in (drift, jump))
        return MonitorReport(
            window=window.name,
            model=model,
            baseline=drift,
            consecutive=jump,
            performance=None if mature is None else realised(model, mature, self.metrics, self.conf),
        )

    def _baseline(self, model: str, windows: Sequence[Window], predictions: np.ndarray) -> Reference:
        if self._reference is None or self._reference[0] != model:
            numeric, categorical = self.columns
            used = [*numeric, *categorical]
            names = [w.name for w in windows]
            made = Reference(
                name=names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}",
                table=pa.concat_tables([w.table.select(used) for w in windows], promote_options="permissive"),
                numeric=numeric,
                categorical=categorical,
                predictions=predictions,
            )
            self._reference = model, made
        return self._reference[1]
