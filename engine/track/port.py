"""The port: what a loop tells a tracker, and the tracker that nobody listens to.

A tracker is a cache for reviewers. It is fed from our own records after the fact, decides nothing, and
whatever breaks in it changes nothing but the review: no method raises for a fault of the service behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from engine.errors import ConfigError
from engine.records import Cycle, Stage

KINDS = ("none", "wandb")
MODES = ("auto", "offline", "online")


@dataclass(kw_only=True, slots=True)
class TrackConf:
    """Where reviewers look."""

    kind: str = "wandb"
    """wandb, or none."""
    project: str = "tidegate"
    """The W&B project; one group in it is one loop."""
    entity: str | None = None
    """The W&B team or user; null is the default of the key."""
    mode: str = "auto"
    """online, offline, or auto: online only where a WANDB_API_KEY is set."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError("track.kind", f"{self.kind!r} is not known", f"use one of {', '.join(KINDS)}")
        if self.mode not in MODES:
            raise ConfigError("track.mode", f"{self.mode!r} is not known", f"use one of {', '.join(MODES)}")
        if not self.project or any(c in "/\\#?%:" for c in self.project) or len(self.project) > 128:
            raise ConfigError(
                "track.project",
                f"{self.project!r} is not a project name",
                "use 1 to 128 characters without / \\ # ? % :",
            )


class Tracker(Protocol):
    """One group a loop, one run a cycle, one run a trial. Telling it a thing twice leaves one copy."""

    def start(self, loop: str, config: Mapping[str, Any]) -> None:
        """The loop of that name begins; `config` is shown with each of its runs, secrets hidden."""

    def cycle(self, cycle: Cycle) -> None:
        """One run: config, metric intervals, drift table, gate verdicts with reasons, money, timings."""

    def trials(self, cycle: Cycle) -> None:
        """One run a trial of that cycle's sweep: params, curve, state. Nothing where there was none."""

    def artifact(self, model: str, files: Mapping[str, Path], stage: str) -> None:
        """Files of a model that reached `stage`, shown with the cycle in which it did; before or after it."""

    def page(self, html: str) -> None:
        """The report of the loop as it stands, one self-contained page; the newest replaces the others."""

    def finish(self) -> None:
        """The loop ends, well or not; the tracker may be started again."""


class NullTracker:
    """Tracks nothing."""

    def start(self, loop: str, config: Mapping[str, Any]) -> None:
        """Nothing."""

    def cycle(self, cycle: Cycle) -> None:
        """Nothing."""

    def trials(self, cycle: Cycle) -> None:
        """Nothing."""

    def artifact(self, model: str, files: Mapping[str, Path], stage: str) -> None:
        """Nothing."""

    def page(self, html: str) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""


def resync(
    tracker: Tracker,
    loop: str,
    config: Mapping[str, Any],
    cycles: Sequence[Cycle],
    files: Callable[[str], Mapping[str, Path]] | None = None,
) -> None:
    """Tell a tracker all over again from what the ledger holds: heals what a killed process left out.

    Args:
        tracker: not started, or finished.
        loop: name of the loop.
        config: as in `Tracker.start`.
        cycles: the recorded cycles, oldest first.
        files: the files of a model, by its id; None: no artifacts are shown.
    """
    tracker.start(loop, config)
    try:
        for cycle in cycles:
            for change in cycle.changes if files is not None else ():
                if files is not None and change.target is Stage.PRODUCTION:
                    tracker.artifact(change.model, files(change.model), change.target.value)
            tracker.cycle(cycle)
            tracker.trials(cycle)
    finally:
        tracker.finish()
