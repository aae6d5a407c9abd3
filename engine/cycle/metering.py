"""How well the pipeline ran in one window: measured at its end, recorded as a ledger row of its own, before rules look.

What is measured once counts: a cycle that was killed and runs again finds its row. Times in it are of the ledger's own
clock, as its rows carry it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from engine.cycle.past import Past
from engine.cycle.setting import Confs, Ports, Source
from engine.cycle.steps import Steps
from engine.errors import TidegateError
from engine.models import challenger
from engine.monitor.basis import thinned
from engine.pipeline.delays import Floor
from engine.pipeline.lasting import Lasting, Terms, lasting
from engine.pipeline.moments import gist, replaced
from engine.pipeline.money import Prices, costs
from engine.pipeline.openmetrics import Exposition
from engine.promote.chain import Row
from engine.promote.entries import PIPELINE
from engine.records import (
    Candidate,
    Cycle,
    DeviceUse,
    Estimate,
    Flow,
    Gain,
    Performance,
    PipelineMetrics,
    TrialState,
    Window,
    to_plain,
)
from engine.scoring.intervals import difference
from engine.scoring.scores import GREATER_IS_BETTER
from engine.system import durable
from engine.validate.fresh import age_hours
from engine.watch.arrival import LANDED

if TYPE_CHECKING:
    import pyarrow as pa

LAP = "measure"  # on the stopwatch: what all of this takes
GAIN_ROWS = 10_000  # labelled rows that two models are compared on, evenly spread: what measuring costs has a bound
NAN = math.nan


class Counted:
    """A source that counts what is read of it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.rows = self.bytes = 0

    def names(self) -> list[str]:
        """Names of all windows, in the order of time."""
        return self._source.names()

    def read(self, name: str, *, labelled: bool) -> Window:
        """One window, with its labels or without."""
        window = self._source.read(name, labelled=labelled)
        self._count(window.table)
        return window

    def labels(self, name: str) -> pa.Table:
        """Ids and labels of one window, as they are now."""
        table = self._source.labels(name)
        self._count(table)
        return table

    def _count(self, table: pa.Table) -> None:
        self.rows += table.num_rows
        self.bytes += table.nbytes


@dataclass(frozen=True)
class Begun:
    """What the counters showed when a window began."""

    rows: int
    bytes: int
    cpu: float


class Metering:
    """Measures the windows of one loop. `source` is the one that the loop reads."""

    def __init__(self, confs: Confs, ports: Ports, steps: Steps, source: Counted) -> None:
        self.confs, self.ports, self.steps, self._source = confs, ports, steps, source
        self._exposition = Exposition(ports.ledger)
        decide, self.primary = confs.decide, confs.evaluate.primary
        self._terms = Terms(
            primary=self.primary,
            floor=_floor(confs),
            prices=Prices(
                hour=decide.hour_price, review=decide.review_cost, point=decide.point_value, currency=decide.currency
            ),
            level=confs.evaluate.confidence_level,
        )

    def begin(self) -> Begun:
        """The counters now."""
        return Begun(self._source.rows, self._source.bytes, time.process_time())

    def measured(self, cycle: Cycle, past: Past, window: Window, mature: int, begun: Begun) -> Cycle:
        """The cycle with its pipeline's numbers; those that are recorded, where they are."""
        with self.ports.watch.lap(LAP):
            key = (PIPELINE, cycle.id)
            found = self.steps.once(
                PipelineMetrics, PIPELINE, key, cycle, "", lambda: self._measured(cycle, past, window, mature, begun)
            )
        return replace(cycle, pipeline=found)

    def publish(self) -> None:
        """Write the exposition, where a file is named. What is wrong with it is told and stops no loop."""
        path = self.ports.textfile
        if path is None:
            return
        with self.ports.watch.lap(LAP):
            try:
                durable.write_text(path, self._exposition.text())
            except TidegateError as error:
                self.ports.console.warn(str(error))

    def _measured(self, cycle: Cycle, past: Past, window: Window, mature: int, begun: Begun) -> PipelineMetrics:
        spent = costs(to_plain({"candidate": cycle.candidate, "timings": cycle.timings}), self._terms.prices)
        performance = cycle.monitor.performance if cycle.monitor else None
        lag = self._label_lag(cycle, past, mature)
        use = used(cycle.candidate) if cycle.candidate else DeviceUse()
        found = PipelineMetrics(
            window=cycle.window,
            currency=self.confs.decide.currency,
            flows=dict(self._flows(cycle, window, begun)),
            freshness_hours=self._freshness(cycle, past, window),
            label_lag_windows=lag[0],
            label_lag_hours=lag[1],
            unlabelled_share=_unlabelled(performance) if performance else NAN,
            queue_seconds=self._queued(cycle, past),
            training_cost=spent.training,
            review_cost=spent.review,
            running_cost=spent.running,
            gain=self._gain(cycle, past, mature),
            trial_cpu_seconds=use.cpu_seconds,
            gpu_hours=use.gpu_seconds / 3600,
            gpu_utilisation=use.gpu_utilisation,
            failed_trials_share=_failed(cycle.candidate) if cycle.candidate else NAN,
            cpu_seconds=time.process_time() - begun.cpu,
        )
        last = self._lasting(replace(cycle, pipeline=found))
        return replace(
            found,
            drift_open_windows=last.drift_open_windows,
            degraded_windows=last.degraded_windows,
            lasting=last.measures,
        )

    def _lasting(self, cycle: Cycle) -> Lasting:
        """What spans windows, this one included."""
        bare = replace(cycle, evaluation=None, shadow=None, verdicts=(), actions=())  # rows of their own tell these
        return lasting(self._gists(self.ports.ledger.history()), to_plain(bare), self._terms)

    def _gists(self, rows: Iterable[Row]) -> list[Row]:
        """The rows with what is asked of them here; what is large is read once."""
        return [self.ports.ledger.noted(row, gist) for row in rows]

    # ---- data ------------------------------------------------------------------------------------------------------

    def _flows(self, cycle: Cycle, window: Window, begun: Begun) -> Iterator[tuple[str, Flow]]:
        """What went through each stage that took time. A stage of statistics counts the rows of this window, whatever
        it compares them with.
        """
        laps = cycle.timings
        rows, size = self._source.rows - begun.rows, self._source.bytes - begun.bytes
        if laps.get("read", 0.0) > 0 and rows:
            yield "read", Flow(rows=rows, bytes=size, seconds=laps["read"])
        for stage in ("validate", "monitor"):
            if laps.get(stage, 0.0) > 0:
                yield stage, Flow(rows=window.n_rows, bytes=window.table.nbytes, seconds=laps[stage])
        if cycle.candidate is not None and cycle.candidate.seconds > 0:
            epochs = sum(len(trial.curve) for trial in cycle.candidate.trials)
            yield "train", Flow(rows=epochs * cycle.candidate.n_rows, bytes=NAN, seconds=cycle.candidate.seconds)
        judged = sum(report.n_rows for report in (cycle.evaluation, cycle.shadow) if report is not None)
        if judged and laps.get("evaluate", 0.0) > 0:
            yield "evaluate", Flow(rows=judged, bytes=NAN, seconds=laps["evaluate"])

    def _freshness(self, cycle: Cycle, past: Past, window: Window) -> float:
        """Hours from the newest row to the opening of the window; NaN where no row has a time."""
        newest = pc.max(window.table.column(self.confs.data.time)).as_py()
        opened = past.came.get(cycle.window, "")
        return age_hours(newest.isoformat(), opened) if newest is not None and opened else NAN

    def _label_lag(self, cycle: Cycle, past: Past, mature: int) -> tuple[float, float]:
        """(windows, hours) until the labels of the newest labelled window were in; NaN where an earlier cycle saw them
        already, and where its opening is not recorded.
        """
        name = self.steps.names[mature] if mature >= 0 else ""
        if not name or mature == self.steps.mature(cycle.index - 1):
            return NAN, NAN
        came, now = past.came.get(name, ""), past.came.get(cycle.window, "")
        return float(cycle.index - mature), age_hours(came, now) if came and now else NAN

    def _queued(self, cycle: Cycle, past: Past) -> float:
        """Seconds from the landing of the window to its opening; NaN where no watch saw it land."""
        landed = self.ports.ledger.rows(LANDED, cycle.window)
        opened = past.came.get(cycle.window, "")
        return max(0.0, age_hours(landed[-1].at, opened) * 3600) if landed and opened else NAN

    # ---- return ----------------------------------------------------------------------------------------------------

    def _gain(self, cycle: Cycle, past: Past, mature: int) -> Gain | None:
        """The model that served the newest labelled window beside the one that it had replaced; None where it had
        replaced none, or an earlier cycle told it.
        """
        name = self.steps.names[mature] if mature >= 0 else ""
        if not name or mature == self.steps.mature(cycle.index - 1) or name in past.blocked:
            return None
        served = cycle.champion if name == cycle.window else _served(past, name)
        old = replaced(self._gists(past.rows)).get(served, "")
        if not old:
            return None
        points = self._points(served, old, name)
        return Gain(window=name, model=served, replaced=old, points=points)

    def _points(self, model: str, replaced: str, window: str) -> Estimate:
        """Paired, in points; NaN with its reason where either model or the labels cannot be read."""
        data, conf = self.confs.data, self.confs.evaluate
        try:
            ours, theirs = self.steps.model(model), self.steps.model(replaced)
            table = challenger.labelled_rows(self.steps.read(window, labelled=True), data)
            at = thinned(table.num_rows, GAIN_ROWS)
            table = table if isinstance(at, slice) else table.take(at)
            rows = challenger.rows_of(ours, table, data)
            found = difference(self.primary, rows, theirs.predict(table), ours.predict(table), conf)
        except TidegateError as error:
            level, why = conf.confidence_level, str(error)
            found = Estimate(name="", value=NAN, low=NAN, high=NAN, n=0, confidence_level=level, method="", reason=why)
        scale = (1 if GREATER_IS_BETTER[self.primary] else -1) / self.confs.decide.point
        ends = sorted((found.low * scale, found.high * scale))
        return replace(found, name="gain_points", value=found.value * scale, low=ends[0], high=ends[1])


def used(made: Candidate) -> DeviceUse:
    """What all trials of a sweep used together; NaN where one of them did not measure it."""
    uses = [trial.use for trial in made.trials]
    known = [use for use in uses if use is not None]
    if not uses or len(known) < len(uses):
        return DeviceUse()
    on_gpu = [use for use in known if use.gpu_seconds > 0]
    gpu = sum(use.gpu_seconds for use in on_gpu)
    busy = sum(use.gpu_utilisation * use.gpu_seconds for use in on_gpu)
    return DeviceUse(
        cpu_seconds=sum(use.cpu_seconds for use in known),
        gpu_seconds=sum(use.gpu_seconds for use in known),
        gpu_utilisation=busy / gpu if gpu else NAN,
        gpu_memory_bytes=max((use.gpu_memory_bytes for use in on_gpu), default=NAN),
        samples=sum(use.samples for use in known),
    )


def _failed(made: Candidate) -> float:
    """Share of the trials that failed; NaN where none began."""
    states = [trial.state is TrialState.FAILED for trial in made.trials]
    return sum(states) / len(states) if states else NAN


def _unlabelled(performance: Performance) -> float:
    """Share of the rows without a label; NaN where there is no row."""
    n = performance.n_rows + performance.unlabelled
    return performance.unlabelled / n if n else NAN


def _served(past: Past, window: str) -> str:
    """The model that was in production when a window began; empty: none, or that window had no cycle."""
    return next((row.payload["champion"] for row in past.rows if row.kind == "cycle" and row.window == window), "")


def _floor(confs: Confs) -> Floor | None:
    """What the offline gate asks of the primary metric on all rows; the strictest, where there are several."""
    primary, better = confs.evaluate.primary, GREATER_IS_BETTER[confs.evaluate.primary]
    found = [
        rule.threshold
        for rule in confs.gate.rules.values()
        if rule.kind == "floor" and rule.metric == primary and not rule.by and rule.threshold is not None
    ]
    return Floor(max(found) if better else min(found), better) if found else None
