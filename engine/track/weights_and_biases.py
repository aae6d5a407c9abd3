"""The tracker for Weights & Biases: one group a sweep or a loop, one run a trial or a cycle.

Runs are made from what the driver is told and from our own records, never by a worker that may be killed, and they are
written by a thread of their own (background.py): a server that is slow, silent or gone keeps no sweep waiting. While a
trial trains its run is open, and takes its epochs, at most once a second. What a kill or an outage leaves out,
`resync` (port.py) tells again: the ids are the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.records import Cycle, Epoch, Sweep, Trial
from engine.records.plain import digest
from engine.system.redact import redact
from engine.track.background import Background, Job
from engine.track.describe import steps_of
from engine.track.port import BEST, SweepTracker, TrackConf
from engine.track.runs import Artifact, Run, cycle_run, page_run, run_id, running_trial, sweep_run, trial_run
from engine.track.settings import chosen_mode, own_folders
from engine.track.told import Told, name_of
from engine.track.wandb_writer import Writer

PATIENCE = 20.0  # seconds that the end of a command waits for what has not been written
LIVE_EVERY = 1.0  # seconds between two calls for one open run


class WandbTracker:
    """A fault of W&B is told once, in one line, and the work goes on (see `Writer`).

    Args:
        conf: project, entity and mode.
        folder: offline runs go to `folder/wandb/offline-run-*`.
        warn: takes the one line.
        patience: seconds that `finish` waits for runs not yet written; what is left then is told of and dropped.
    """

    def __init__(
        self, conf: TrackConf, folder: Path, *, warn: Callable[[str], None], patience: float = PATIENCE
    ) -> None:
        self._conf, self._folder, self._warn, self._patience = conf, folder, warn, patience
        self._loop = ""
        self._config: dict[str, Any] = {}
        self._thread = Background("wandb")
        self._places = ExitStack()  # what the environment says while something is told
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._writer = Writer(self._conf, self._folder, self._warn)
        self._waiting: list[Artifact] = []  # artifacts whose cycle has not been told
        self._last: Cycle | None = None
        self._last_artifacts: tuple[Artifact, ...] = ()
        self._sweep: _Sweep | None = None  # the last one, until its own run is complete
        self._told: set[str] = set()  # run ids of trials and sweeps that are complete
        self._new: list[str] = []  # cycles that were told since the start
        self._page = ""  # the page that was, by its digest
        place = (self._loop, self._conf.project, self._conf.entity or "", chosen_mode(self._conf.mode))
        self._known = Told(self._folder / "wandb", *place)

    def start(self, loop: str, config: Mapping[str, Any]) -> None:
        """The loop of that name begins; nothing is written before its first sweep or cycle."""
        self._loop, self._config = loop, redact(config)
        self._begin_anew()

    @contextmanager
    def sweep(self, sweep: Sweep) -> Iterator[SweepTracker]:
        """One run of job type `trial` for each trial, FAILED ones with exit code 1; one of job type `sweep` beside
        them, with a table of all. Where a sweep is cut short, trials under way are shown as interrupted.
        """
        self._complete_sweep()
        self._sweep = _Sweep(sweep, self._writer, self._submit, self._told)
        try:
            yield self._sweep
        except BaseException:
            self._sweep = None
            self._submit(self._writer.close)
            raise

    def knows(self, what: str) -> bool:
        """Was it told in full, to the same project in the same mode."""
        return what in self._known

    def cycle(self, cycle: Cycle) -> None:
        """One run of job type `cycle`, with the artifacts that were told since the cycle before."""
        self._complete_sweep()
        self._new.append(name_of(cycle))
        self._last, self._last_artifacts, self._waiting = cycle, tuple(self._waiting), []
        self._write_last()

    def artifact(self, model: str, files: Mapping[str, Path], stage: str) -> None:
        """Show the files with the cycle in which the model reached that stage, the last one or the next; those of the
        best model of a sweep with that sweep.
        """
        artifact = Artifact(model, dict(files), stage)
        if stage == BEST and self._sweep is not None:
            self._complete_sweep(artifact)
        elif self._last is not None and (model, stage) in {(c.model, c.target.value) for c in self._last.changes}:
            self._last_artifacts = (*self._last_artifacts, artifact)
            self._write_last()
        else:
            self._waiting.append(artifact)

    def page(self, html: str) -> None:
        """One run of job type `report` that holds the page."""
        self._page = digest(html)
        self._write(page_run(self._loop, self._config, html))

    def finish(self) -> None:
        """All runs are on disk (or sent), or that is told of; artifacts that belong to no cycle are told of."""
        self._complete_sweep()
        writer = self._writer
        if not self._thread.idle:
            self._thread.submit(writer.close)
            self._thread.submit(writer.settle)
        left = self._thread.drain(self._patience)
        self._places.close()
        if left:
            writer.complain(f"{left} runs or epochs are not sent after {self._patience:g} s")
        for artifact in self._waiting:
            writer.complain(f"artifact {artifact.model[:12]} ({artifact.stage}) belongs to no cycle, not shown")
        self._waiting, self._last, self._last_artifacts = [], None, ()
        if not writer.complained:
            self._known.add(self._new, self._page)
        self._new, self._page = [], ""

    def _complete_sweep(self, artifact: Artifact | None = None) -> None:
        """Write the run of the last sweep itself, which was kept open for its best model."""
        told, self._sweep = self._sweep, None
        if told is not None:
            told.complete(artifact)

    def _write_last(self) -> None:
        if self._last is not None:
            self._write(cycle_run(self._last, self._config, self._last_artifacts))

    def _write(self, run: Run) -> None:
        writer = self._writer
        self._submit(lambda: writer.write(run))

    def _submit(self, job: Job) -> None:
        """Hand a job to the thread; the first one finds the environment as it needs it."""
        if self._thread.idle:
            self._places.enter_context(own_folders(self._folder.resolve() / "wandb"))
        self._thread.submit(job)


class _Sweep:
    """One sweep as it is told: live by its driver, or from the record by `ended` alone."""

    def __init__(self, sweep: Sweep, writer: Writer, submit: Callable[[Job], None], told: set[str]) -> None:
        self._sweep, self._writer, self._submit, self._told = sweep, writer, submit, told
        self._trials: list[Trial] = []
        self._live = False
        self._held: dict[str, list[Epoch]] = {}  # epochs of a running trial that were not handed on yet
        self._handed: dict[str, float] = {}  # when they were last

    def begins(self, trial: str, params: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """Open the run of a trial, and with the first one that of the sweep, which has the system metrics."""
        if not self._live:
            self._live = True
            whole = sweep_run(self._sweep, ())
            self._submit(lambda: self._writer.begin(whole, stats=True))
        run = running_trial(self._sweep, trial, params, config)
        self._submit(lambda: self._writer.begin(run))

    def epoch(self, trial: str, epoch: Epoch) -> None:
        """Hand on the epochs of a trial, at most every `LIVE_EVERY` seconds; its end brings those that are held."""
        held, now = self._held.setdefault(trial, []), time.monotonic()
        held.append(epoch)
        if now - self._handed.get(trial, -LIVE_EVERY) < LIVE_EVERY:
            return
        self._held[trial], self._handed[trial] = [], now
        steps = steps_of(held, self._sweep.metric)
        id = run_id(self._sweep.id, trial)
        self._submit(lambda: self._writer.log(id, steps))

    def ended(self, trial: Trial) -> None:
        """Complete the run of a trial from its record."""
        self._held.pop(trial.id, None)
        self._trials.append(trial)
        run = trial_run(self._sweep, trial)
        if run.id not in self._told:
            self._told.add(run.id)
            self._submit(lambda: self._writer.write(run))

    def complete(self, artifact: Artifact | None) -> None:
        """Complete the run of the sweep itself."""
        sweep = replace(self._sweep, model=artifact.model if artifact else self._sweep.model)
        run = sweep_run(sweep, sorted(self._trials, key=lambda trial: trial.id), (artifact,) if artifact else ())
        if run.id not in self._told or artifact is not None:
            self._told.add(run.id)
            self._submit(lambda: self._writer.write(run))
