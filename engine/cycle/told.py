"""What later windows ask of a finished cycle: taken from its row once, and noted (`Ledger.noted`), for a year of cycles
takes longer to revive than a window takes. It is small; the rest of a cycle lies in the ledger
(engine/promote/history.py).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import NamedTuple

from engine.act import metrics_of
from engine.promote.chain import Row
from engine.records import (
    Correction,
    Cycle,
    EstimatedPerformance,
    MonitorReport,
    Performance,
    Scored,
    Stage,
    from_plain,
)

TRACKED = ("risk", "expected_risk", "decay")  # what goes on from window to window: only the newest is asked for


class Watched(NamedTuple):
    """What is asked of what monitoring saw: all but columns and slices, which are many."""

    model: str
    performance: Performance | None  # of the champion, on the window whose labels had come in
    corrections: tuple[Correction, ...]
    estimated: EstimatedPerformance | None
    scored: tuple[Scored, ...]
    tracked: frozenset[str]  # which of TRACKED the report has


class Told(NamedTuple):
    """What is asked of a finished cycle."""

    metrics: dict[str, float]  # metrics_of
    usable: bool  # could its window be used
    watched: Watched | None


def told(cycle: Row) -> Told:
    """Of the row of a cycle."""
    revived = from_plain(Cycle, cycle.payload)
    metrics = {sys.intern(name): value for name, value in metrics_of(revived).items()}
    watched = _watched(revived.monitor) if revived.monitor is not None else None
    return Told(metrics, revived.validation.usable, watched)


def went(change: Row) -> tuple[str, Stage]:
    """Of the row of a stage change: which model went where."""
    return str(change.payload["model"]), Stage(change.payload["target"])


def _watched(seen: MonitorReport) -> Watched:
    bare = None if seen.performance is None else replace(seen.performance, slices=())
    corrections = tuple(replace(one, performance=replace(one.performance, slices=())) for one in seen.corrections)
    tracked = frozenset(name for name in TRACKED if getattr(seen, name) is not None)
    return Watched(seen.model, bare, corrections, seen.estimated, seen.scored, tracked)
