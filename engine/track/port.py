"""The port: what a loop tells a tracker, and the tracker that nobody listens to.

A tracker is a cache for reviewers. It is fed from our own records after the fact, decides nothing, and
whatever breaks in it changes nothing but the review: no method raises for a fault of the service behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from engine.errors import ConfigError
from engine.records import Cycle, Epoch, Stage, Sweep, Trial

KINDS = ("none", "wandb")
MODES = ("auto", "offline", "online")
BEST = "best"  # the stage of a model that won its sweep, and went nowhere yet

Files = Callable[[str], Mapping[str, Path]]
"""The files of a model, by its id; none where they cannot be had."""


@dataclass(kw_only=True, slots=True)
class TrackConf:
    """Where reviewers look."""

    kind: str = "wandb"
    """wandb, or none."""
    project: str = "tidegate"
    """The W&B project; one group in it is one loop, or one sweep."""
    entity: str | None = None
    """The W&B team or user; null is the default of the key."""
    mode: str = "auto"
    """online, offline, or auto: online only where a WANDB_API_KEY is set."""
    openmetrics: str | None = None
    """A file that gets the numbers of each cycle as text that Prometheus reads, whole or not at all: for the textfile
    collector of a node, whose name must end with .prom. Null: none."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError("track.kind", f"{self.kind!r} is not known", f"use one of {', '.join(KINDS)}")
        if self.mode not in MODES:
            raise ConfigError("track.mode", f"{self.mode!r} is not known", f"use one of {', '.join(MODES)}")
        if self.openmetrics is not None and not self.openmetrics.endswith(".prom"):
            what = f"{self.openmetrics!r} does not end with .prom"
            raise ConfigError("track.openmetrics", what, "name it so: collectors read no other file")
        if not self.project or any(c in "/\\#?%:" for c in self.project) or len(self.project) > 128:
            raise ConfigError(
                "track.project",
                f"{self.project!r} is not a project name",
                "use 1 to 128 characters without / \\ # ? % :",
            )


class SweepTracker(Protocol):
    """What is told of one sweep: see `engine.train.watched.Onlooker`."""

    def begins(self, trial: str, params: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """A trial is seen for the first time."""

    def epoch(self, trial: str, epoch: Epoch) -> None:
        """A trial has ended an epoch."""

    def ended(self, trial: Trial) -> None:
        """A trial has ended: all of it, whether its epochs were told before or not."""


class Tracker(Protocol):
    """One group a loop and one run a cycle; one group a sweep and one run a trial. Telling it a thing twice leaves
    one copy.
    """

    def start(self, loop: str, config: Mapping[str, Any]) -> None:
        """The loop of that name begins; `config` is shown with each of its cycles, secrets hidden."""

    def sweep(self, sweep: Sweep) -> AbstractContextManager[SweepTracker]:
        """A sweep begins, alone or within a cycle that is told later: one run, and one a trial."""

    def knows(self, what: str) -> bool:
        """Was this, a cycle by `name_of` or a page by its digest, told in full by an earlier command of this loop."""

    def cycle(self, cycle: Cycle) -> None:
        """One run: config, metric intervals, drift table, gate verdicts with reasons, money, timings."""

    def artifact(self, model: str, files: Mapping[str, Path], stage: str) -> None:
        """Files of a model that reached `stage`, shown with the cycle in which it did, told before or after it; those
        of `BEST` with the sweep that was told last.
        """

    def page(self, html: str) -> None:
        """The report of the loop as it stands, one self-contained page; the newest replaces the others."""

    def finish(self) -> None:
        """All was told, well or not; the tracker may be started again."""


class NullTracker:
    """Tracks nothing."""

    def start(self, loop: str, config: Mapping[str, Any]) -> None:
        """Nothing."""

    @contextmanager
    def sweep(self, sweep: Sweep) -> Iterator[SweepTracker]:
        """Nothing."""
        yield _Nobody()

    def knows(self, what: str) -> bool:
        """Nothing was ever told."""
        return False

    def cycle(self, cycle: Cycle) -> None:
        """Nothing."""

    def artifact(self, model: str, files: Mapping[str, Path], stage: str) -> None:
        """Nothing."""

    def page(self, html: str) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""


class _Nobody:
    def begins(self, trial: str, params: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """Nothing."""

    def epoch(self, trial: str, epoch: Epoch) -> None:
        """Nothing."""

    def ended(self, trial: Trial) -> None:
        """Nothing."""


def sweep_of(cycle: Cycle, config: Mapping[str, Any]) -> Sweep | None:
    """The sweep that a cycle led to, from the ledger's record of it alone; None where there was none."""
    candidate, decision = cycle.candidate, cycle.decision
    if candidate is None or candidate.recalibrated_on:
        return None
    return Sweep(
        id=candidate.sweep or candidate.decision,
        loop=cycle.loop,
        window=cycle.window,
        policy=decision.policy if decision else "",
        action=decision.action.value if decision else "",
        decision=candidate.decision,
        metric=candidate.metric,
        mode=candidate.mode,
        config=dict(config),
        model=candidate.model,
    )


def tell_sweep(tracker: Tracker, sweep: Sweep, trials: Iterable[Trial]) -> None:
    """A sweep and its trials that ended, from our own record."""
    with tracker.sweep(sweep) as told:
        for trial in trials:
            told.ended(trial)


def resync(
    tracker: Tracker,
    loop: str,
    config: Mapping[str, Any],
    cycles: Iterable[Cycle],
    files: Files | None = None,
    sweeps: Iterable[tuple[Sweep, Iterable[Trial]]] = (),
    page: str = "",
) -> None:
    """Tell a tracker all over again from what our records hold: heals what a killed process or an outage left out.

    Args:
        tracker: not started, or finished.
        loop: name of the loop.
        config: as in `Tracker.start`.
        cycles: the recorded cycles, oldest first; their sweeps are told with them.
        files: the files of a model, by its id; None: no artifacts are shown.
        sweeps: sweeps that no cycle tells, with their trials.
        page: the report of the loop, HTML; empty: none.
    """
    tracker.start(loop, config)
    try:
        for cycle in cycles:
            sweep = sweep_of(cycle, config)
            if sweep is not None and cycle.candidate is not None:
                tell_sweep(tracker, sweep, cycle.candidate.trials)
            for change in cycle.changes if files is not None else ():
                if files is not None and change.target is Stage.PRODUCTION:
                    tracker.artifact(change.model, files(change.model), change.target.value)
            tracker.cycle(cycle)
        for sweep, trials in sweeps:
            tell_sweep(tracker, sweep, trials)
            if sweep.model and files is not None:
                tracker.artifact(sweep.model, files(sweep.model), BEST)
        if page:
            tracker.page(page)
    finally:
        tracker.finish()
