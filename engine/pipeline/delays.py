"""How long it takes: from drift to detection to promotion, and from a champion below its floor to one above.

An episode of drift begins with the first window in which inputs drifted (its onset) and ends with a new model in
production by its gates, or with a window without drift: then it has passed by itself. It is detected by the first alert
on the model's world (a rule on drift.*, risk.*, decay.* or model.*) or decision to act, in the onset's window or later.

An outage begins with the first window that knows the champion's primary metric below the floor of the offline gate, or
with a rollback; it ends with the first later window that knows the champion of then at or above the floor. An
undecidable metric neither begins nor ends one.

Windows are counted by their places in time. Hours are those of the ledger's clock: where a loop catches up with old
windows, they are the hours of catching up. What is still open is not in a median, which so errs on the short side; how
many those are is in its method.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from engine.pipeline.moments import Moment, Sign
from engine.pipeline.numbers import NAN, measure, median
from engine.records.measured import Measure
from engine.validate.fresh import age_hours


@dataclass(frozen=True)
class Floor:
    """What the primary metric must reach."""

    threshold: float
    greater_is_better: bool

    def holds(self, value: float) -> bool | None:
        """None where the value is undecidable."""
        if math.isnan(value):
            return None
        return value >= self.threshold if self.greater_is_better else value <= self.threshold


@dataclass(frozen=True)
class Point:
    """A window in which something happened, and its row."""

    index: int
    sign: Sign | None


@dataclass(frozen=True)
class Episode:
    """One drift of the inputs."""

    onset: Point
    detected: Point | None = None
    promoted: Point | None = None
    over: bool = False


@dataclass(frozen=True)
class Outage:
    """A champion below the floor, or rolled back."""

    began: Point
    restored: Point | None = None


def episodes(told: Sequence[Moment]) -> list[Episode]:
    """Every drift after the founding, oldest first; the last one may be open."""
    found: list[Episode] = []
    for m in told:
        now = found.pop() if found and not found[-1].over else None
        if now is None and m.drifted and not m.founding:
            now = Episode(Point(m.index, m.opened))
        if now is None:
            continue
        if now.detected is None and m.detected is not None and not _late(m):
            now = replace(now, detected=Point(m.index, m.detected))
        if m.promoted is not None:
            now = replace(now, promoted=Point(m.index, m.promoted), over=True)
        elif m.drifted is False:
            now = replace(now, over=True)
        found.append(now)
    return found


def _late(m: Moment) -> bool:
    """A challenger that waited had been promoted before this window's decision to act: that led to nothing yet."""
    return m.promoted is not None and m.detected is not None and m.detected.seq > m.promoted.seq


def outages(told: Sequence[Moment], floor: Floor | None) -> list[Outage]:
    """Every outage, oldest first; the last one may be open."""
    found: list[Outage] = []
    for m in told:
        holds = floor.holds(m.standing) if floor else None
        is_open = bool(found) and found[-1].restored is None
        if is_open and holds:
            found[-1] = replace(found[-1], restored=Point(m.index, m.opened))
            is_open = False
        if not is_open and (holds is False or m.rolled_back is not None):
            found.append(Outage(Point(m.index, m.opened if holds is False else m.rolled_back)))
    return found


def drift_open(told: Sequence[Moment]) -> float:
    """Windows that the present drift has lasted, its onset's included; 0: there is none; NaN: nothing is known."""
    found = episodes(told)
    if found and not found[-1].over:
        return float(told[-1].index - found[-1].onset.index + 1)
    return NAN if not told or told[-1].drifted is None else 0.0


def degraded(told: Sequence[Moment], floor: Floor | None) -> float:
    """Windows that the present outage has lasted, the one in which it was seen included; 0: there is none; NaN: there
    is no floor, or nothing was measured.
    """
    if floor is None or not told:
        return NAN
    found = outages(told, floor)
    if found and found[-1].restored is None:
        return float(told[-1].index - found[-1].began.index + 1)
    return 0.0 if any(floor.holds(m.standing) is not None for m in told) else NAN


def delays(told: Sequence[Moment], floor: Floor | None, level: float) -> list[Measure]:
    """The medians; of what has never happened there is none."""
    seen = episodes(told)
    broken = outages(told, floor)
    pairs = {
        "drift_to_detection": [(e.onset, e.detected) for e in seen],
        "detection_to_promotion": [(e.detected, e.promoted) for e in seen if e.detected],
        "drift_to_promotion": [(e.onset, e.promoted) for e in seen],
        "restore": [(o.began, o.restored) for o in broken],
    }
    return [one for name, spans in pairs.items() for one in _medians(name, spans, level)]


def _medians(name: str, spans: Sequence[tuple[Point | None, Point | None]], level: float) -> Iterator[Measure]:
    """In windows, and in hours where both ends have their row."""
    whole = [(first, last) for first, last in spans if first and last]
    note = f", {len(spans) - len(whole)} without an end left out" if len(whole) < len(spans) else ""
    timed = [(a.sign, b.sign) for a, b in whole if a.sign and b.sign]
    seqs = [sign.seq for pair in timed for sign in pair]
    if whole:
        windows = [float(last.index - first.index) for first, last in whole]
        yield measure(median(f"{name}_windows", windows, level, note), "windows", seqs)
    if timed:
        hours = [age_hours(first.at, last.at) for first, last in timed]
        yield measure(median(f"{name}_hours", hours, level, note), "hours", seqs)
