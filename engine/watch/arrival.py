"""What the ledger knows of the windows' arrivals: rows of two kinds, folded into one picture.

A `landed` row says that a window is whole, and which bytes it is. An `arrival` row is a warning: a window that came
late, twice, in pieces, or with other bytes; a gap; a window that was given up. The newest row of a window is its state.
A watch has no memory of its own beside this, so a kill takes nothing, and the loop by hand sees what a watch has set
aside.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from engine.records import digest, from_plain, record
from engine.records.rows import LedgerRow

LANDED = "landed"  # kind of the rows of windows that may be decided on: bookkeeping
ARRIVAL = "arrival"  # kind of the rows that a person should see


class State(enum.Enum):
    """How a window stands."""

    LANDED = "landed"
    LATE = "late"
    DUPLICATE = "duplicate"
    UNREADABLE = "unreadable"
    GAP = "gap"
    REWRITTEN = "rewritten"
    RESTORED = "restored"
    FAILED = "failed"
    GONE = "gone"


@record
class Arrival:
    """One word on a window."""

    window: str
    state: State
    reason: str = ""
    fingerprint: str = ""  # of the content, labels apart
    mark: str = ""  # size and time of the file: while they stand still it is not read again
    used: bool = True  # LATE: is it trained on
    missing: tuple[str, ...] = ()  # GAP: before this window


@dataclass(frozen=True)
class Entry:
    """The newest word on a window, when it was written, and the content that counts: the one that landed."""

    arrival: Arrival
    at: float  # seconds since 1970
    id: str
    fingerprint: str = ""

    @property
    def state(self) -> State:
        """How the window stands."""
        return self.arrival.state


OUT = (State.DUPLICATE, State.UNREADABLE, State.FAILED, State.GONE)


@dataclass
class Known:
    """The picture. `add` each row once, in their order."""

    entries: dict[str, Entry] = field(default_factory=dict)
    gaps: set[str] = field(default_factory=set)  # windows that are not waited before any more
    late: set[str] = field(default_factory=set)  # never decided on
    decided: set[str] = field(default_factory=set)
    founding: int = 0  # windows before the first that was decided on

    @classmethod
    def of(cls, rows: Iterable[LedgerRow]) -> Known:
        """The picture after these rows."""
        known = cls()
        for row in rows:
            known.add(row)
        return known

    @classmethod
    def in_book(cls, rows: Callable[[str], Iterable[LedgerRow]]) -> Known:
        """The picture after all arrivals; `rows` gives those of a kind."""
        return cls.of(sorted((row for kind in (LANDED, ARRIVAL) for row in rows(kind)), key=lambda row: row.seq))

    def add(self, row: LedgerRow) -> None:
        """Take up one row more."""
        if row.kind == "cycle":
            self.founding = self.founding if self.decided else int(row.payload["index"])
            self.decided.add(row.window)
        elif row.kind in (LANDED, ARRIVAL):
            self._hear(row, from_plain(Arrival, row.payload))

    def _hear(self, row: LedgerRow, arrival: Arrival) -> None:
        name, at = arrival.window, datetime.fromisoformat(row.at).timestamp()
        if arrival.state is State.GAP:
            self.gaps.add(name)
            return
        if arrival.state is State.LATE:
            self.late.add(name)
        lands = arrival.state is State.LANDED
        before = self.entries.pop(name, None) if lands else self.entries.get(name)  # in the order in which they landed
        fingerprint = arrival.fingerprint if lands or before is None else before.fingerprint
        self.entries[name] = Entry(arrival, at, row.id, fingerprint)

    @property
    def frontier(self) -> str:
        """The newest window that was decided on; empty: none was."""
        return max(self.decided, default="")

    def behind(self, name: str) -> bool:
        """Is there nothing to be decided on any more up to that window."""
        return self.frontier >= name or (name in self.entries and self.out(self.entries[name]))

    @property
    def left_out(self) -> set[str]:
        """Windows that nothing is made of."""
        return {name for name, entry in self.entries.items() if self.out(entry)}

    @staticmethod
    def out(entry: Entry) -> bool:
        """Is nothing made of that window."""
        return entry.state in OUT or (entry.state is State.LATE and not entry.arrival.used)

    @property
    def overtaken(self) -> list[str]:
        """Windows that landed after a later one was decided on, and of which nothing was said so far."""
        first = min(self.decided, default="")
        before = [name for name, entry in self.entries.items() if name < first and not self.out(entry)]
        spared = self.decided.union(before[: self.founding])
        frontier = self.frontier
        found = (n for n, e in self.entries.items() if n < frontier and n not in spared and e.state is State.LANDED)
        return sorted(found)

    @property
    def rewritten(self) -> frozenset[str]:
        """Windows whose bytes are others than those that were decided on."""
        return frozenset(name for name, entry in self.entries.items() if entry.state is State.REWRITTEN)

    def twin(self, name: str, fingerprint: str) -> str:
        """Another window of the same content; empty: there is none."""
        found = (
            n for n, e in self.entries.items() if n != name and e.fingerprint == fingerprint and e.state not in OUT
        )
        return min(found, default="")

    def landing(self, name: str, fingerprint: str, mark: str) -> Arrival | None:
        """What a whole file of that name and content is; None: what was known before."""
        entry, found = (
            self.entries.get(name),
            Arrival(window=name, state=State.LANDED, fingerprint=fingerprint, mark=mark),
        )
        if entry is not None and not self.out(entry) and name <= self.frontier:
            return self._again(entry, found)
        if entry is not None and entry.state in (State.LANDED, State.LATE) and fingerprint == entry.fingerprint:
            return None
        twin = "" if name in self.decided else self.twin(name, fingerprint)
        if not twin:
            return found
        if entry is not None and entry.state is State.DUPLICATE and fingerprint == entry.arrival.fingerprint:
            return None
        reason = f"the same rows as {twin} - write its own rows"
        return replace(found, state=State.DUPLICATE, reason=reason)

    def _again(self, entry: Entry, found: Arrival) -> Arrival | None:
        """What a file is whose window was used before."""
        if found.fingerprint == entry.fingerprint:
            back = replace(found, state=State.RESTORED, reason="the rows of before are back")
            return back if entry.state is State.REWRITTEN else None
        if entry.state is State.REWRITTEN and found.fingerprint == entry.arrival.fingerprint:
            return None
        use = "were decided on" if found.window in self.decided else "models may be trained on"
        cure = "put the old file back, or give the new rows a name of their own"
        what = f"other rows than those of before, which {use}; no model is trained or judged on them"
        return replace(found, state=State.REWRITTEN, reason=f"{what} - {cure}")

    def row_id(self, loop: str, arrival: Arrival) -> str:
        """The id of the row of an arrival: the same word after the same word is one row."""
        before = self.entries.get(arrival.window)
        return digest("arrival", loop, arrival, before.id if before is not None else "")
