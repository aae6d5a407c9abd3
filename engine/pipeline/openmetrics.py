"""The numbers of a loop as text that Prometheus reads (OpenMetrics 1.0): the newest window's, and counts of all.

There are gauges and counters alone, and no timestamps: so the textfile collector of a node takes the same text. Units
are base units, as the standard asks: hours are told in seconds, shares are ratios. A number that is not known has no
sample; one that is undecidable is NaN.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from engine.act import metrics_of
from engine.promote.entries import STAGE, VERDICT
from engine.promote.ledger import Ledger
from engine.records import Cycle, Event, Stage, from_plain, measured
from engine.records.items import ITEM
from engine.records.rows import LedgerRow
from engine.system.redact import redact_text

PREFIX = "tidegate"
UNITS = {
    "hours": ("seconds", 3600.0),
    "share": ("ratio", 1.0),
    "seconds": ("seconds", 1.0),
    "windows": ("windows", 1.0),
}
"""End of a name -> the unit that is told, and how many of it one is."""
BY_STAGE = {"pipeline.seconds.": "wall time of a stage", "pipeline.rows_per_second.": "rows that went through a stage"}
BY_STAGE |= {"pipeline.bytes_per_second.": "bytes that went through a stage, of the table in memory"}
BOUNDS = {".low": "lower", ".high": "upper"}
HELP = {
    "data.rows": "rows of the newest window",
    "data.blocked": "checks that forbid the newest window, or labels that came for an earlier one",
    "data.violations": "checks of the newest window that are not OK",
    "drift.columns": "columns that drifted against the champion's training rows",
    "drift.share": "the same, of those that could be judged",
    "drift.undecidable": "columns that could not be judged",
    "risk.alarm": "1 where the champion's risk is too high, 0 where that is not shown",
    "risk.expected_alarm": "1 where losses expected without labels are too high, 0 where that is not shown",
    "decay.alarm": "1 where the champion's primary metric does not hold its reference, 0 where that is not shown",
    "decay.points": "points of the primary metric below its reference, where a drop is most likely",
    "decay.cost": "what they lose in a window",
    "decide.waiting": "expected loss of keeping the champion",
    "gate.rejected": "1 where a gate did not open",
    "pipeline.seconds": "wall time of the newest window",
    "pipeline.failed_trials": "trials of the newest window that failed",
    **{f"data.{name}": words for name, words in measured.OF_DATA.items()},
    **{f"pipeline.{name}": words for name, words in measured.OF_WINDOW.items()},
    **{f"pipeline.{name}": words for name, words in measured.LASTING.items()},
}


class Sample(NamedTuple):
    """One number under the name, unit and labels that Prometheus knows it by."""

    name: str
    unit: str
    words: str
    labels: dict[str, str]
    value: float


class Exposition:
    """What one ledger tells, as it grows: each call reads the rows that are new. For many threads."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._lock = ledger, threading.Lock()
        self._seen = 0
        self._counts: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
        self._newest: tuple[Cycle, str] | None = None
        self._unread: LedgerRow | None = None  # the newest cycle, where it was not revived yet

    def text(self) -> str:
        """The exposition, whole and ending with `# EOF`."""
        from prometheus_client.openmetrics.exposition import generate_latest

        told: bytes = generate_latest(self)  # type: ignore[no-untyped-call]
        return told.decode()

    def collect(self) -> Iterator[Any]:
        """As a collector of prometheus_client: families of samples."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        with self._lock:
            self._read()
            gauges, counts = list(self._gauges()), sorted(self._counts.items())
        families: dict[str, Any] = {}
        for one in gauges:
            labels = {"loop": self._ledger.loop, **one.labels}
            if one.name not in families:
                families[one.name] = GaugeMetricFamily(one.name, one.words, labels=list(labels), unit=one.unit)
            families[one.name].add_metric([redact_text(v) for v in labels.values()], one.value)
        for (name, pairs), n in counts:
            told = {"loop": self._ledger.loop, **dict(pairs)}
            if name not in families:
                families[name] = CounterMetricFamily(name, COUNTED[name], labels=list(told))
            families[name].add_metric([redact_text(v) for v in told.values()], float(n))
        yield from families.values()

    def _read(self) -> None:
        for row in self._ledger.history()[self._seen :]:  # seq counts from 1 without gaps
            for name, labels in _counted(row):
                self._counts[name, tuple(labels.items())] += 1
            if row.kind == "cycle":
                self._unread = row
            self._seen = row.seq
        if self._unread is not None:  # cycles before it are counted alone: a year of them takes seconds to revive
            self._newest = from_plain(Cycle, self._unread.payload), self._unread.at
            self._unread = None

    def _gauges(self) -> Iterator[Sample]:
        if self._newest is None:
            return
        cycle, at = self._newest
        decided = datetime.fromisoformat(at).timestamp()
        place = {"window": cycle.window, "model": cycle.champion_after}
        yield Sample(f"{PREFIX}_champion", "", "the model in production, and the newest window", place, 1.0)
        words = "when the newest window was over, in seconds since 1970"
        yield Sample(f"{PREFIX}_window_decided_timestamp_seconds", "seconds", words, {}, decided)
        currency = cycle.decision.currency if cycle.decision else cycle.pipeline.currency if cycle.pipeline else ""
        for name, value in sorted(metrics_of(cycle).items()):
            yield sample(name, value, currency)


COUNTED = {
    f"{PREFIX}_windows": "windows that the loop has decided on",
    f"{PREFIX}_promotions": "models that came into production, by route",
    f"{PREFIX}_trials": "trials, by how they ended",
    f"{PREFIX}_verdicts": "verdicts of the gates",
    f"{PREFIX}_alerts": "alerts that were raised, by rule",
}


def _counted(row: LedgerRow) -> Iterator[tuple[str, dict[str, str]]]:
    """The counters that a row raises, by one each."""
    said: Mapping[str, Any] = row.payload
    if row.kind == "cycle":
        yield f"{PREFIX}_windows", {}
    elif row.kind == STAGE and said["target"] == Stage.PRODUCTION.value:
        yield f"{PREFIX}_promotions", {"route": str(said.get("route", "evidence"))}
    elif row.kind == "candidate":
        for trial in said["trials"]:
            yield f"{PREFIX}_trials", {"state": str(trial["state"])}
    elif row.kind == VERDICT:
        yield f"{PREFIX}_verdicts", {"gate": str(said["gate"]), "outcome": str(said["outcome"])}
    elif row.kind == ITEM and said.get("event", Event.RAISED.value) == Event.RAISED.value:
        yield f"{PREFIX}_alerts", {"rule": str(said.get("rule", "")), "severity": str(said.get("severity", ""))}


def sample(name: str, value: float, currency: str) -> Sample:
    """A metric of metrics_of as Prometheus knows it.

    pipeline.drift_to_detection_hours.low = 2 -> tidegate_pipeline_drift_to_detection_low_seconds 7200
    """
    bound = next((end for end in BOUNDS if name.endswith(end)), "")
    bare = name.removesuffix(bound)
    side = f"_{bound[1:]}" if bound else ""
    what = f"{BOUNDS[bound]} bound of: " if bound else ""
    for family, words in BY_STAGE.items():
        if name.startswith(family):
            told = f"{PREFIX}_pipeline_stage_{family.split('.')[1]}"
            unit = "seconds" if family == "pipeline.seconds." else ""
            return Sample(told, unit, words, {"stage": name.removeprefix(family)}, value)
    if bare.startswith("model."):
        words = f"{what}a metric of the champion on the newest labelled window"
        return Sample(f"{PREFIX}_model_score{side}", "", words, {"metric": bare.removeprefix("model.")}, value)
    words = what + HELP[bare]
    head, _, end = bare.replace(".", "_").rpartition("_")
    if end not in UNITS:
        labels = {"currency": currency} if _is_money(bare) else {}
        return Sample(f"{PREFIX}_{bare.replace('.', '_')}{side}", "", words, labels, value)
    unit, scale = UNITS[end]
    return Sample(f"{PREFIX}_{head}{side}_{unit}", unit, words, {}, value * scale)


def _is_money(name: str) -> bool:
    return name in MONEY or name.endswith("_cost")


MONEY = frozenset({"decide.waiting", "decay.cost", "pipeline.cost", "pipeline.spent", "pipeline.return_on_retraining"})
MONEY |= {"pipeline.cost_per_window", "pipeline.cost_per_promotion"}
