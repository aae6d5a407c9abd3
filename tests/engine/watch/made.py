"""A watch on a folder, a ledger and a loop that are made up: time passes when a test says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from engine.errors import DataError
from engine.records import Cycle
from engine.watch.arrival import Known, State
from engine.watch.plan import Terms
from engine.watch.watcher import Event, Watcher

TERMS = Terms(settle=10.0, grace=100.0, sequence=True, founding=2, label_lag=1)
START = 1_780_000_000.0


@dataclass
class File:
    """A window file: its content is None while it is not whole."""

    content: str | None
    mark: int


@dataclass
class Row:
    """A row of the ledger."""

    seq: int
    id: str
    kind: str
    window: str
    at: str
    payload: dict[str, Any]


@dataclass
class World:
    """Folder, ledger, loop and clock at once; a new Watcher may be put on it at any time."""

    terms: Terms = TERMS
    every: float = 5.0
    files: dict[str, File] = field(default_factory=dict)
    label_files: dict[str, int] | None = None
    markers: list[str] | None = None
    table: list[Row] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    views: dict[str, list[str]] = field(default_factory=dict)
    clock: float = 0.0
    turns: int = 0
    away: str = ""  # why the folder cannot be listed
    unfit: dict[str, str] = field(default_factory=dict)
    faults: dict[str, Exception] = field(default_factory=dict)  # what the cycle of a window raises
    loop: str = "made"
    die: Callable[[str], None] = lambda _: None  # called before each step that lasts

    # ---- the folder

    def windows(self) -> Mapping[str, str]:
        if self.away:
            raise DataError("folder", self.away, "look there")
        return {name: str(file.mark) for name, file in self.files.items()}

    def label_marks(self) -> Mapping[str, str] | None:
        return None if self.label_files is None else {name: str(mark) for name, mark in self.label_files.items()}

    def marked(self) -> Sequence[str] | None:
        return self.markers

    def fingerprint(self, name: str) -> str:
        self.reads.append(name)
        content = self.files[name].content
        if content is None:
            raise DataError(name, "is not a whole Parquet file", "write it again")
        return content

    def put(self, name: str, content: str | None = None, *, whole: bool = True) -> None:
        """A file is written, or written again."""
        self.files[name] = File((content or f"rows of {name}") if whole else None, int(self.clock * 1000) + 1)

    # ---- the ledger

    def rows(self, *, after: int = 0) -> list[Row]:
        return self.table[after:]

    def append(self, kind: str, id: str, payload: Mapping[str, Any]) -> Any:
        for row in self.table:
            if row.id == id:
                return row
        self.die(kind)
        at = datetime.fromtimestamp(START + self.clock, UTC).isoformat()
        plain = json.loads(json.dumps(payload))
        self.table.append(Row(len(self.table) + 1, id, kind, plain["window"], at, plain))
        return self.table[-1]

    # ---- the loop

    def fit(self, view: Sequence[str], name: str) -> str:
        assert name in view
        return self.unfit.get(name, "")

    def cycles(self, view: Sequence[str], decide: Sequence[str]) -> Iterator[Cycle]:
        for name in decide:
            if name in self.faults:
                raise self.faults[name]
            self.views[name] = [other for other in view if other <= name]
            payload = {"window": name, "index": view.index(name)}
            assert name not in self.decided(), "decided twice"
            self.append("cycle", f"cycle {name}", payload)
            validation = SimpleNamespace(usable=True)
            made: Any = SimpleNamespace(
                window=name, decision=None, champion_after="", verdicts=(), validation=validation, n_rows=1, labels=()
            )
            yield made

    # ---- time

    def watcher(self) -> Watcher:
        """A watch that knows nothing but what the ledger says."""
        return Watcher(
            self.terms,
            self.every,
            (self, self, self),
            self.events.append,
            lambda: self.clock,
            lambda: START + self.clock,
        )

    def run(self, watcher: Watcher, seconds: float) -> None:
        """Let time pass."""
        end = self.clock + seconds
        while self.clock < end:
            self.turns += 1
            self.clock = min(end, self.clock + max(watcher.turn(), 0.001))

    # ---- looking

    def decided(self) -> list[str]:
        """In the order in which it happened."""
        return [row.window for row in self.table if row.kind == "cycle"]

    def said(self, *kinds: str) -> list[tuple[str, str]]:
        """(what, window) of the events of these kinds; of all where none is named."""
        return [(event.what, event.window) for event in self.events if not kinds or event.what in kinds]

    def state(self, name: str) -> State:
        """What the ledger says last of a window."""
        return Known.of(self.table).entries[name].state
