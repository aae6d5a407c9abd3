"""What a loop is given: what every stage was told (Confs), and what it works with (Ports)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from engine.act import ActConf
from engine.cycle.conf import LoopConf
from engine.data.conf import DataConf
from engine.decide import DecideConf
from engine.effects import Outbox
from engine.evaluate.conf import EvaluateConf
from engine.gate import GateConf
from engine.models.challenger import Compose
from engine.monitor.conf import MonitorConf
from engine.promote.conf import PromoteConf
from engine.promote.ledger import Ledger
from engine.promote.store import Store
from engine.records import Sweep, Window
from engine.report.terminal import Console
from engine.system.timing import Stopwatch
from engine.track import Tracker
from engine.train.conf import SearchConf, TrainConf
from engine.train.search_space import Space
from engine.train.sweep import Search
from engine.train.watched import Onlooker, together
from engine.validate.conf import ValidateConf

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class Confs:
    """What every stage was told."""

    loop: LoopConf
    data: DataConf
    validate: ValidateConf
    monitor: MonitorConf
    decide: DecideConf
    train: TrainConf
    search: SearchConf
    space: Space  # what search.space names, bound to the config groups that it chooses among
    evaluate: EvaluateConf
    gate: GateConf
    promote: PromoteConf
    act: ActConf
    trusted: tuple[str, ...]
    plain: dict[str, Any]  # the whole config as values, secrets hidden: for manifests and the tracker


class Source(Protocol):
    """Where windows come from."""

    def names(self) -> list[str]:
        """Names of all windows, in the order of time."""

    def read(self, name: str, *, labelled: bool) -> Window:
        """One window, with its labels or without."""

    def labels(self, name: str) -> pa.Table:
        """Ids and labels of one window, as they are now."""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What the loop works with."""

    source: Source
    search: Search
    ledger: Ledger
    store: Store
    tracker: Tracker
    console: Console
    compose: Compose
    folder: Path  # runs/<name>: the sweeps' records
    watch: Stopwatch = field(default_factory=Stopwatch)
    outbox: Outbox | None = None  # None: nobody outside is told
    textfile: Path | None = None  # where the exposition is written after each cycle; None: nowhere

    def look_on(self, sweep: Sweep, total: int) -> AbstractContextManager[Onlooker]:
        """The terminal and the tracker follow a sweep of `total` trials."""
        return together(self.console.sweep(sweep, total), self.tracker.sweep(sweep))
