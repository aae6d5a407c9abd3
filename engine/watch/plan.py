"""What is next: a function of what lies in the folder, what the ledger knows, and a clock that is handed in.

see    which files have stood still long enough to be whole
plan   which of them to read, what to record, which windows may be decided on now, and what is waited for
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from engine.watch.arrival import Arrival, Known, State
from engine.watch.sequence import NAMED, between


@dataclass(frozen=True)
class Sight:
    """One file as it was seen: `mark` is its size and time, `since` when it was first seen so."""

    mark: str
    since: float
    settled: bool


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How long to wait, in seconds, and for what."""

    settle: float
    grace: float
    sequence: bool  # are missing windows told by the names
    founding: int  # windows that found the loop
    label_lag: int  # windows after which labels come
    until: str = ""  # no window behind this one is decided on; empty: all are


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do now, in this order: read, else record, else decide."""

    read: tuple[str, ...] = ()
    record: tuple[Arrival, ...] = ()
    decide: tuple[str, ...] = ()
    view: tuple[str, ...] = ()  # all windows that the loop may see when it decides on those
    waiting: str = ""  # for what the next one waits; empty: there is none
    wake: float | None = None  # seconds after which the clock alone may change something

    @property
    def idle(self) -> bool:
        """Is there nothing to do, and nothing that time will bring by itself."""
        return not (self.read or self.record or self.decide) and self.wake is None


def see(
    before: Mapping[str, Sight], files: Mapping[str, str], now: float, settle: float, marked: Collection[str] | None
) -> dict[str, Sight]:
    """The files as they are seen now: name -> mark. With markers (`marked`) a file is whole once it has one."""
    seen = {}
    for name, mark in files.items():
        old = before.get(name)
        since = old.since if old is not None and old.mark == mark else now
        whole = now - since >= settle if marked is None else name in marked
        seen[name] = Sight(mark, since, whole)
    return seen


def plan(
    known: Known,
    windows: Mapping[str, Sight],
    labels: Mapping[str, Sight] | None,
    terms: Terms,
    *,
    same: Mapping[str, str],
    later: Collection[str],
    now: float,
    wall: float,
) -> Plan:
    """What is next.

    Args:
        known: what the ledger says.
        windows: their files.
        labels: their label files; None: labels lie in the windows.
        terms: how long to wait.
        same: window -> mark, where another mark was found to be of the rows that were known before.
        later: windows that could not be read, and are not to be tried again yet.
        now: of the clock of `Sight.since`, seconds.
        wall: seconds since 1970, as the rows of the ledger have it.
    """
    whole = {name: sight.mark for name, sight in sorted(windows.items()) if sight.settled and name not in later}
    due = tuple(name for name, mark in whole.items() if same.get(name) != mark and _unread(known, name, mark))
    if due:
        return Plan(read=due)
    gone = tuple(
        Arrival(window=name, state=State.GONE, reason="its file was removed before it was decided on - write it again")
        for name, entry in known.entries.items()
        if entry.state is State.LANDED and name > known.frontier and name not in windows
    )
    late = tuple(
        Arrival(window=name, state=State.LATE, reason=f"came after {known.frontier} was decided on")
        for name in known.overtaken
        if name in windows and _labelled(name, labels)
    )
    if gone or late:
        return Plan(record=(*gone, *late))
    return _next(known, windows, labels, terms, same, now, wall)


def _unread(known: Known, name: str, mark: str) -> bool:
    entry = known.entries.get(name)
    return entry is None or entry.arrival.mark != mark or not entry.arrival.fingerprint  # it could not be read, or went


def _next(
    known: Known,
    windows: Mapping[str, Sight],
    labels: Mapping[str, Sight] | None,
    terms: Terms,
    same: Mapping[str, str],
    now: float,
    wall: float,
) -> Plan:
    """The windows that may be decided on, in the order of their names, up to the first that must wait."""
    frontier, overtaken = known.frontier, known.overtaken
    first = 0 if known.decided else terms.founding - 1  # place of the first window that is decided on
    view = [n for n in _kept(known, windows) if n <= frontier and n not in overtaken]
    pending = [n for n in _kept(known, windows) if n > frontier and (n <= terms.until or not terms.until)]
    files = [*windows.values(), *(labels or {}).values()]
    settling = [left for s in files if not s.settled and (left := terms.settle - (now - s.since)) > 0]
    told = Plan(wake=min(settling, default=None))
    decide: list[str] = []
    for name in pending:
        sight, entry = windows[name], known.entries[name]
        if not sight.settled or sight.mark not in (entry.arrival.mark, same.get(name)):
            told = replace(told, waiting=f"{name} is being written again")
            break
        missing = _awaited(known, windows, view[-1] if view else "", name, terms)
        left = terms.grace - (wall - entry.at)
        if missing and name not in known.gaps:
            if left > 0:
                wake = left if told.wake is None else min(left, told.wake)
                told = replace(told, waiting=f"{name} waits for {_listed(missing)}", wake=wake)
            elif not decide:  # else once those before it are decided on
                reason = f"goes on without {_listed(missing)} - should they come, they are trained on, not decided on"
                told = Plan(record=(Arrival(window=name, state=State.GAP, reason=reason, missing=missing),))
            break
        place = len(view)
        view.append(name)
        if place < first:
            continue
        lacking = [n for n in _needed(view, place, first, terms) if not _labelled(n, labels)]
        if lacking:
            told = replace(told, waiting=f"{name} waits for the labels of {', '.join(lacking)}")
            break
        decide.append(name)
    if not told.waiting and pending and not known.decided and len(view) <= first:
        told = replace(told, waiting=f"{terms.founding} windows found the loop, and {len(view)} landed so far")
    if not told.waiting and overtaken:
        told = replace(told, waiting=f"{overtaken[0]} came late, and waits for its labels")
    return replace(told, decide=tuple(decide), view=tuple(view)) if decide else told


def _kept(known: Known, windows: Mapping[str, Sight]) -> list[str]:
    """Windows that landed, were not set aside, and are there."""
    return sorted(name for name, entry in known.entries.items() if name in windows and not known.out(entry))


def _awaited(known: Known, windows: Mapping[str, Sight], before: str, name: str, terms: Terms) -> tuple[str, ...]:
    """The windows before `name` that are not there yet, or not whole."""
    there = {n for n, e in known.entries.items() if n in windows and e.state is not State.UNREADABLE}
    pieces = {n for n in windows if before < n < name and n not in there}
    told = between(before, name, [*known.entries, *windows]) if terms.sequence and before else ()
    return tuple(sorted(pieces | {n for n in told if n not in there}))[:NAMED]


def _needed(view: list[str], place: int, first: int, terms: Terms) -> list[str]:
    """The windows whose labels must be in before the one at `place` is decided on."""
    if first and place == first:
        return view[: place + 1]
    return [view[max(min(terms.founding, place + 1) - 1, place - terms.label_lag)]]


def _labelled(name: str, labels: Mapping[str, Sight] | None) -> bool:
    return labels is None or (name in labels and labels[name].settled)


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]} ({len(names)})"
