"""The verb `resync`: tell the tracker all over again from our own records, after an outage or a kill.

The ledger has the cycles of a loop, their sweeps and what its page shows; the folders below `<out>/sweeps` have the
sweeps that a person started, and one of a cycle that has not ended yet. Both are read alone, nothing is trained and no
stage changes. Ids are hashes of what is told: telling it again leaves one copy. While a loop or sweep of the same
folder runs, its own telling and this one are of the same runs, and the last one stands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.config.schema import Composer, Config
from engine.errors import ArtifactError, ConfigError
from engine.promote import card
from engine.records import Cycle, Sweep, Trial, from_plain
from engine.report.terminal import Console, make_console
from engine.track import NullTracker, make_tracker, unsent
from engine.track import resync as tell
from engine.train.watched import recorded_sweeps
from engine.verbs.archive import existing_ledger, ledger_exists
from engine.verbs.pages import report_page

Answer = tuple[int, dict[str, Any]]
NEGATIVE = 3


def resync(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """Every cycle, sweep and trial of this loop, told to the tracker again."""
    if config.track.kind == "none":
        raise ConfigError("track.kind", "is none: there is nobody to tell", "choose track=wandb")
    console = make_console(quiet)
    cycles, page = _recorded(config)
    sweeps = _beside(config.folder / "sweeps", cycles)
    if not cycles and not sweeps:
        cure = "run `tidegate loop` or `tidegate sweep` first, or set out= or loop.name="
        raise ConfigError(str(config.folder), "there is no record of a loop or a sweep", cure)
    faults: list[str] = []

    def warn(line: str) -> None:
        faults.append(line)
        console.warn(line)

    tracker = make_tracker(config.track, config.folder, warn=warn, patience=math.inf)
    if isinstance(tracker, NullTracker):
        raise ConfigError("WANDB_MODE", "is disabled: there is nobody to tell", "set it to offline or online")
    tell(tracker, config.loop.name, config.plain(), cycles, lambda model: _files(config, model, console), sweeps, page)
    trials = sum(len(c.candidate.trials) for c in cycles if c.candidate) + sum(len(t) for _, t in sweeps)
    count = len(sweeps) + sum(c.candidate is not None for c in cycles)
    console.note(f"told again: {len(cycles)} cycles, {count} sweeps, {trials} trials")
    if line := unsent(config.folder):
        console.note(line)
    told = {"cycles": len(cycles), "sweeps": count, "trials": trials, "faults": faults}
    return (NEGATIVE if faults else 0), {"loop": config.loop.name, **told}


def _recorded(config: Config) -> tuple[list[Cycle], str]:
    """The cycles that the ledger holds, and their page; neither where there is no ledger."""
    if not ledger_exists(config):
        return [], ""
    with existing_ledger(config) as ledger:
        cycles = [from_plain(Cycle, row.payload) for row in ledger.rows("cycle")]
        return cycles, report_page(config, ledger, cycles) if cycles else ""


def _beside(folder: Path, cycles: Sequence[Cycle]) -> list[tuple[Sweep, tuple[Trial, ...]]]:
    """The recorded sweeps that belong to none of the cycles."""
    known = {cycle.candidate.sweep for cycle in cycles if cycle.candidate}
    return [(sweep, trials) for sweep, trials in recorded_sweeps(folder) if sweep.id not in known]


def _files(config: Config, model: str, console: Console) -> Mapping[str, Path]:
    """The files of a model, laid beside its card; none of one that is damaged or gone, which stops nobody."""
    try:
        return card.export(config.open_store(), model, config.folder)
    except ArtifactError as error:
        console.warn(str(error))
        return {}
