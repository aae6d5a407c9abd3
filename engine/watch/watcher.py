"""Follows the windows of one folder: looks, reads what is new, records what came, has the loop decide, and looks again.

It works with what is handed in (a folder, a ledger, somebody who decides, two clocks), so that it can be tested without
any of them. All that it must not forget is in the ledger; what is in memory only saves reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from engine.errors import ConfigError, DataError, InputError, LabelsError, LeaseError, LedgerError, TidegateError
from engine.promote.names import check_key
from engine.records import Cycle, to_plain
from engine.records.rows import LedgerRow
from engine.watch.arrival import ARRIVAL, LANDED, Arrival, Known, State
from engine.watch.plan import Plan, Sight, Terms, plan, see

LONGEST_WAIT = 900.0  # seconds between two tries while something is wrong from outside
LONGEST_RETRY = 3600.0  # of a file that cannot be read
AT_ONCE = 16  # windows that are decided on before the folder is looked at again


class Folder(Protocol):
    """Where windows land."""

    def windows(self) -> Mapping[str, str]:
        """Name -> mark of every window file that is there, whole or not."""

    def label_marks(self) -> Mapping[str, str] | None:
        """Name -> mark of every label file; None: labels lie in the windows."""

    def marked(self) -> Sequence[str] | None:
        """Windows whose marker is there; None: there are no markers."""

    def fingerprint(self, name: str) -> str:
        """Of a window's content, labels apart; DataError where it cannot be read."""


class Book(Protocol):
    """The ledger."""

    loop: str

    def rows(self, *, after: int = 0) -> Iterable[LedgerRow]:
        """All rows behind that one."""

    def append(self, kind: str, id: str, payload: Mapping[str, Any]) -> LedgerRow:
        """Once."""


class Work(Protocol):
    """Who decides."""

    def fit(self, view: Sequence[str], name: str) -> str:
        """Why a late window is not fit to be trained on; empty: it is."""

    def cycles(self, view: Sequence[str], decide: Sequence[str]) -> Iterator[Cycle]:
        """The cycles of these windows, in order, as they end."""


@dataclass(frozen=True)
class Event:
    """Something that happened: `what` it is, which window, in words, and what else a program may want to know."""

    what: str
    window: str = ""
    text: str = ""
    warning: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class _Retry:
    mark: str
    tries: int
    at: float


class Watcher:
    """One watch. `turn` again and again, each time after the seconds that the turn before has said."""

    def __init__(
        self,
        terms: Terms,
        every: float,
        ports: tuple[Folder, Book, Work],
        tell: Callable[[Event], None],
        now: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.terms, self.every = terms, every
        self.folder, self.book, self.work = ports
        self.tell, self.now, self.wall = tell, now, wall
        self.known = Known()
        self.error: TidegateError | None = None  # of the last turn
        self.busy_at = now()  # when there was something to do for the last time
        self.quiet = False  # is there nothing that time will bring by itself
        self.waiting = ""
        self._seq = 0
        self._windows: dict[str, Sight] = {}
        self._labels: dict[str, Sight] | None = None
        self._same: dict[str, str] = {}
        self._retries: dict[str, _Retry] = {}
        self._ignored: set[str] = set()
        self._stuck: tuple[str, float] | None = None  # the window whose cycle does not end, and since when
        self._failures, self._was_idle = 0, False
        self._said, self._saying = "", ""  # what is said while something lasts: in the turn before, and in this one

    @property
    def idle(self) -> float:
        """Seconds for which there has been nothing to do."""
        return self.now() - self.busy_at

    def turn(self) -> float:
        """Look once, and do what there is to do; seconds until it is worth looking again."""
        self._saying = ""
        try:
            self._look()
            told = self._follow()
        except (LeaseError, LedgerError, ConfigError):
            raise
        except TidegateError as error:
            return self._put_off(error)
        self._said = self._saying
        self.error, self._failures = self.error if self._stuck else None, 0
        self._tell_waiting(told)
        self.quiet = told.idle and all(retry.tries > 1 for retry in self._retries.values())
        if told.decide:
            return 0.0
        if not self.quiet:
            self.busy_at = self.now()
        wakes = [self.every, *(w for w in [told.wake] if w is not None)]
        wakes += [max(0.0, retry.at - self.now()) for retry in self._retries.values()]
        return max(0.05, min(wakes))

    # ---- look and follow -------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """The files as they are, and what the ledger has learned since."""
        now, labels = self.now(), self.folder.label_marks()
        windows = {name: mark for name, mark in self.folder.windows().items() if self._nameable(name)}
        self._windows = see(self._windows, windows, now, self.terms.settle, self.folder.marked())
        self._labels = None if labels is None else see(self._labels or {}, labels, now, self.terms.settle, None)
        self._same = {name: mark for name, mark in self._same.items() if name in self._windows}
        self._retries = {n: r for n, r in self._retries.items() if n in self._windows and self._mark(n) == r.mark}
        self._read_ledger()

    def _nameable(self, name: str) -> bool:
        """Can the ledger have a window of that name."""
        try:
            check_key(name, "window")
        except InputError as error:
            if name not in self._ignored:
                self._ignored.add(name)
                self.tell(Event("ignored", "", str(error), True))
            return False
        return True

    def _read_ledger(self) -> None:
        for row in self.book.rows(after=self._seq):
            self.known.add(row)
            self._seq = row.seq

    def _follow(self) -> Plan:
        """Everything that can be done now; the plan that is left, or that of the windows that were decided on."""
        while True:
            told = self._plan()
            if told.read:
                for name in told.read:
                    self._read(name)
            elif told.record:
                for arrival in told.record:
                    self._record(arrival, told)
            elif told.decide:
                return told if self._decide(told) else replace(told, decide=(), waiting=self.waiting)
            else:
                return told

    def _plan(self) -> Plan:
        later = [name for name, retry in self._retries.items() if retry.at > self.now()]
        times = {"now": self.now(), "wall": self.wall()}
        return plan(self.known, self._windows, self._labels, self.terms, same=self._same, later=later, **times)

    def _mark(self, name: str) -> str:
        return self._windows[name].mark

    def _read(self, name: str) -> None:
        """What a file is that was not read before."""
        mark = self._mark(name)
        try:
            fingerprint = self.folder.fingerprint(name)
        except DataError as error:
            self._unreadable(name, mark, error)
            return
        self._retries.pop(name, None)
        arrival = self.known.landing(name, fingerprint, mark)
        if arrival is None:
            self._same[name] = mark
        else:
            self._record(arrival)

    def _unreadable(self, name: str, mark: str, error: DataError) -> None:
        """Try again later; where that fails too, it is recorded. A disk that stumbled once is no bad window."""
        tries = self._retries[name].tries + 1 if name in self._retries else 1
        wait = min(max(1.0, self.terms.settle) * 2 ** (tries - 1), LONGEST_RETRY)
        self._retries[name] = _Retry(mark, tries, self.now() + wait)
        entry = self.known.entries.get(name)
        used = entry is not None and name <= self.known.frontier and not self.known.out(entry)
        state = State.REWRITTEN if used else State.UNREADABLE
        told = entry is not None and entry.state is state and entry.arrival.mark == mark
        if tries > 1 and not told:
            self._record(Arrival(window=name, state=state, reason=str(error), mark=mark))

    def _record(self, arrival: Arrival, told: Plan | None = None) -> None:
        """One row, and one event."""
        if arrival.state is State.LATE and told is not None:
            arrival = self._fitted(arrival)
        kind = LANDED if arrival.state is State.LANDED else ARRIVAL
        self.book.append(kind, self.known.row_id(self.book.loop, arrival), to_plain(arrival))
        self._read_ledger()
        self.busy_at = self.now()
        quiet = arrival.state in (State.LANDED, State.RESTORED)
        more: dict[str, Any] = {"missing": list(arrival.missing)} if arrival.missing else {}
        if arrival.state is State.LATE:
            more = {"used": arrival.used}
        self.tell(Event(arrival.state.value, arrival.window, arrival.reason, not quiet, more))

    def _fitted(self, arrival: Arrival) -> Arrival:
        """A late window with its bytes, and whether it is trained on: one that no check has let through is not."""
        name, entry = arrival.window, self.known.entries[arrival.window]
        arrival = replace(arrival, fingerprint=entry.fingerprint, mark=self._mark(name))
        if name < min(self.known.decided):  # all that is held against the founding windows would move
            reason = f"{arrival.reason}, and before the windows that founded the loop: it is left out"
            return replace(arrival, reason=reason, used=False)
        view = sorted(
            {n for n, e in self.known.entries.items() if n in self._windows and not self.known.out(e)} | {name}
        )
        try:
            fault = self.work.fit([n for n in view if n <= self.known.frontier], name)
        except DataError as error:
            fault = str(error)
        said = f"it is not trained on: {fault}" if fault else "it is trained on from now on"
        return replace(arrival, reason=f"{arrival.reason}: {said}", used=not fault)

    # ---- decide ----------------------------------------------------------------------------------------------------

    def _decide(self, told: Plan) -> bool:
        """Have the loop decide; False where the next window must wait."""
        asked = told.decide[:AT_ONCE]
        begun = list(asked)
        try:
            for cycle in self.work.cycles(told.view, asked):
                begun.remove(cycle.window)
                self._stuck, self.busy_at = None, self.now()
                self._read_ledger()
                self.tell(_decided(cycle))
        except LabelsError as error:
            self._read_ledger()
            self.waiting = f"{begun[0]} waits: {error}"
            self._say_once(Event("waiting", begun[0], self.waiting))
            return False
        except DataError as error:
            self._read_ledger()
            self._cannot(begun[0], told, error)
            return False
        return True

    def _cannot(self, name: str, told: Plan, error: DataError) -> None:
        """A window whose cycle cannot be ended: tried again, and given up once others have waited for it too long."""
        since = self._stuck[1] if self._stuck and self._stuck[0] == name else self.now()
        self._stuck, self.error = (name, since), error
        behind = [n for n, e in self.known.entries.items() if n > name and e.state is State.LANDED]
        if self.known.decided and behind and self.now() - since >= self.terms.grace:
            reason = f"given up after {self.terms.grace:.0f} s: {error}; mend it, then write the window again"
            self._stuck = None
            fingerprint, mark = self.known.entries[name].fingerprint, self._mark(name)
            self._record(Arrival(window=name, state=State.FAILED, reason=reason, fingerprint=fingerprint, mark=mark))
        else:
            self._say_once(Event("error", name, f"{name} cannot be decided on, and is tried again: {error}", True))

    # ---- say -------------------------------------------------------------------------------------------------------

    def _put_off(self, error: TidegateError) -> float:
        """Something is wrong that is no window's fault: said, and tried again, each time after a longer while."""
        self.error, self.quiet = error, True
        self._failures += 1
        wait = float(min(self.every * 2 ** min(self._failures - 1, 20), max(self.every, LONGEST_WAIT)))
        self._say_once(Event("error", "", f"{error} (tried again in {wait:.0f} s)", True, {"again": wait}))
        self._said = self._saying
        return wait

    def _say_once(self, event: Event) -> None:
        """Not again while nothing has changed."""
        self._saying = event.text
        if event.text != self._said:
            self.tell(event)

    def _tell_waiting(self, told: Plan) -> None:
        if self._stuck or told.decide:
            self._was_idle = False
            return
        if told.waiting:
            self._was_idle = False
            if told.waiting != self.waiting:
                self.tell(Event("waiting", "", told.waiting, False, {"again": told.wake}))
        elif told.idle and not self._was_idle:
            self._was_idle = True
            newest = self.known.frontier
            self.tell(Event("idle", newest, f"nothing to do; {newest or 'no window'} was decided on last"))
        self.waiting = told.waiting


def _decided(cycle: Cycle) -> Event:
    more = {
        "action": cycle.decision.action.value if cycle.decision else None,
        "champion": cycle.champion_after,
        "verdicts": [f"{v.gate} {v.outcome.value}" for v in cycle.verdicts],
        "usable": cycle.validation.usable,
        "rows": cycle.n_rows,
        **({"labels_left_out": [report.window for report in cycle.labels]} if cycle.labels else {}),
    }
    return Event("decided", cycle.window, "", False, more)
