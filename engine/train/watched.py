"""A sweep under the eyes of onlookers (the terminal, the tracker), and the record of what its trials have in common.

`sweep.json` in the folder of a job is written before the first trial runs, and again when its best model is stored:
with the trial.json of each trial it is all that a reviewer sees of a sweep, and whoever lost it is told again from
there (`tidegate resync`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from engine.records import Epoch, Sweep, Trial, from_plain, to_plain
from engine.system import durable
from engine.train.sweep import Search, SweepJob, read_trial

T = TypeVar("T")

RECORD = "sweep.json"
LOOK_EVERY = 1.0  # seconds between two looks for records that nobody told of


class Onlooker(Protocol):
    """What is told of a running sweep, by the driver, as it happens. It never raises, and never keeps the sweep."""

    def begins(self, trial: str, params: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """A trial is seen for the first time; `config` is what its params were composed to, secrets hidden."""

    def epoch(self, trial: str, epoch: Epoch) -> None:
        """A trial has ended an epoch. A trial that is tried again begins at epoch 1 again."""

    def ended(self, trial: Trial) -> None:
        """A trial has ended; one that an earlier command ended is told without `begins` and `epoch`."""


Watch = Callable[[Sweep, int], AbstractContextManager[Onlooker]]
"""Begins to look on: the sweep, and how many trials it will have."""


@dataclass(frozen=True)
class _Together:
    """Several onlookers as one."""

    onlookers: Sequence[Onlooker]

    def begins(self, trial: str, params: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        for onlooker in self.onlookers:
            onlooker.begins(trial, params, config)

    def epoch(self, trial: str, epoch: Epoch) -> None:
        for onlooker in self.onlookers:
            onlooker.epoch(trial, epoch)

    def ended(self, trial: Trial) -> None:
        for onlooker in self.onlookers:
            onlooker.ended(trial)


@contextmanager
def together(*onlookers: AbstractContextManager[Onlooker]) -> Iterator[Onlooker]:
    """Several onlookers as one; each is closed, however the sweep ends."""
    with ExitStack() as stack:
        yield _Together([stack.enter_context(onlooker) for onlooker in onlookers])


def run_watched(search: Search, job: SweepJob, onlooker: Onlooker) -> tuple[Trial, ...]:
    """Run the job and tell the onlooker. Raises what `search.run` raises.

    A search may tell of a stopped trial long after its end: its record, once it is there, is told instead.
    """
    begun: set[str] = set()  # trials that were seen, and whose end was not told yet
    told: set[str] = set()
    looked = time.monotonic()

    def on_epoch(trial: str, epoch: Epoch) -> None:
        nonlocal looked
        if trial not in begun:
            begun.add(trial)
            plan = job.plan_of(trial)
            onlooker.begins(trial, plan.params if plan else {}, plan.config if plan else {})
        onlooker.epoch(trial, epoch)
        if time.monotonic() - looked >= LOOK_EVERY:
            for ended in [found for id in begun - {trial} if (found := read_trial(job.folder, id)) is not None]:
                on_trial(ended)
            looked = time.monotonic()

    def on_trial(trial: Trial) -> None:
        begun.discard(trial.id)
        if trial.id not in told:
            told.add(trial.id)
            onlooker.ended(trial)

    return search.run(job, on_epoch=on_epoch, on_trial=on_trial)


def write_sweep(folder: Path, sweep: Sweep) -> None:
    """Record a sweep in the folder of its job. InputError where the disk refuses."""
    durable.write_text(folder / RECORD, json.dumps(to_plain(sweep), allow_nan=False))


def recorded_sweeps(folder: Path) -> list[tuple[Sweep, tuple[Trial, ...]]]:
    """Every sweep below `folder` with its trials that ended, failed ones too, by name; oldest window first.

    A record that cannot be read (of an earlier version, say) is left out: what is not whole is not told.
    """
    found = []
    for path in sorted(folder.glob(f"*/{RECORD}")):
        sweep = _read(Sweep, path)
        if sweep is None:
            continue
        trials = (_read(Trial, place) for place in sorted(path.parent.glob("*/trial.json")))
        found.append((sweep, tuple(trial for trial in trials if trial is not None)))
    return sorted(found, key=lambda pair: (pair[0].window, pair[0].id))


def _read(cls: type[T], path: Path) -> T | None:
    """A record as it was written, its weights there or not; None where it is not whole."""
    try:
        return from_plain(cls, json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
