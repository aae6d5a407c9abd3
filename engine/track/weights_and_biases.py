"""The adapter for Weights & Biases; the only place that imports `wandb`.

Runs are written from our own records by this one process, each opened, filled and finished in one go: nothing
is buffered across a window, so a kill loses no run but the one being written. A run's id is a hash of the
loop, the cycle and the trial; writing it again replaces its offline folder (online: its history, by step),
never adds a second run.

What W&B would gather by itself is switched off: command line, host, user, git, code, console, environment.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.plain import digest
from engine.records import Cycle, TrialState
from engine.redact import redact, redact_text
from engine.track.describe import Description, Table, describe_cycle, describe_trial
from engine.track.port import TrackConf
from engine.track.settings import Mode, chosen_mode, own_folders, quiet_settings

SETTLE_TIMEOUT = 5.0  # seconds until all offline files must be flushed
SETTLE_PAUSE = 0.02
EMPTY = 7  # bytes of an offline file without a record


@dataclass(frozen=True)
class _Artifact:
    model: str
    files: Mapping[str, Path]
    stage: str


@dataclass(frozen=True)
class _Run:
    """All of one run; writing it twice gives the same run."""

    id: str
    name: str
    job_type: str
    tags: tuple[str, ...]
    failed: bool
    described: Description
    steps: tuple[tuple[int, dict[str, float]], ...]  # (step, numbers), steps rising
    artifacts: tuple[_Artifact, ...] = ()
    page: str = ""  # HTML


class WandbTracker:
    """One W&B group a loop, one run a cycle, one run a trial.

    A fault of W&B is told once, in one line, and the loop goes on: an online tracker writes offline from
    there on (the runs can be sent later with `wandb sync`).

    Args:
        conf: project, entity and mode.
        folder: offline runs go to `folder/wandb/offline-run-*`.
        warn: takes the one line.
    """

    def __init__(self, conf: TrackConf, folder: Path, *, warn: Callable[[str], None]) -> None:
        self._conf, self._folder, self._warn = conf, folder, warn
        self._loop = ""
        self._config: dict[str, Any] = {}
        self._mode: Mode = chosen_mode(conf.mode)
        self._warned = False
        self._waiting: list[_Artifact] = []  # artifacts whose cycle has not been told
        self._last: Cycle | None = None
        self._last_artifacts: tuple[_Artifact, ...] = ()
        self._written: list[str] = []  # run ids since the start

    def start(self, loop: str, config: Mapping[str, Any]) -> None:
        """The loop of that name begins; nothing is written before its first cycle."""
        self._loop, self._config = loop, redact(config)
        self._mode, self._warned = chosen_mode(self._conf.mode), False
        self._waiting, self._last, self._last_artifacts = [], None, ()

    def cycle(self, cycle: Cycle) -> None:
        """One run of job type `cycle`, with the artifacts that were told since the cycle before."""
        self._last, self._last_artifacts, self._waiting = cycle, tuple(self._waiting), []
        self._write_last()

    def trials(self, cycle: Cycle) -> None:
        """One run of job type `trial` for each trial, FAILED ones with exit code 1."""
        if cycle.candidate is None:
            return
        for trial in cycle.candidate.trials:
            described = describe_trial(cycle.candidate, trial, cycle)
            self._write(
                _Run(
                    id=run_id(cycle.loop, cycle.id, trial.id),
                    name=f"{cycle.window} {trial.id}",
                    job_type="trial",
                    tags=(f"window:{cycle.window}"[:64], f"state:{trial.state.value}"),
                    failed=trial.state is TrialState.FAILED,
                    described=described,
                    steps=_steps(described.tables["curve"]),
                )
            )

    def artifact(self, model: str, files: Mapping[str, Path], stage: str) -> None:
        """Show the files with the cycle in which the model reached that stage, the last one or the next."""
        artifact = _Artifact(model, dict(files), stage)
        if self._last is not None and (model, stage) in {(c.model, c.target.value) for c in self._last.changes}:
            self._last_artifacts = (*self._last_artifacts, artifact)
            self._write_last()
        else:
            self._waiting.append(artifact)

    def page(self, html: str) -> None:
        """One run of job type `report` that holds the page."""
        self._write(
            _Run(
                id=run_id(self._loop, "report"),
                name="report",
                job_type="report",
                tags=(),
                failed=False,
                described=Description(config=self._config, numbers={}, facts={}, tables={}),
                steps=(),
                page=html,
            )
        )

    def finish(self) -> None:
        """All runs are on disk (or sent); artifacts that belong to no cycle are told of."""
        self._settle(self._written)
        self._written = []
        for artifact in self._waiting:
            self._complain(f"artifact {artifact.model[:12]} ({artifact.stage}) belongs to no cycle, not shown")
        self._waiting, self._last, self._last_artifacts = [], None, ()

    def _write_last(self) -> None:
        if self._last is None:
            return
        cycle, described = self._last, describe_cycle(self._last, self._config)
        self._write(
            _Run(
                id=run_id(cycle.loop, cycle.id),
                name=cycle.window,
                job_type="cycle",
                tags=(f"window:{cycle.window}"[:64],),
                failed=False,
                described=described,
                steps=((cycle.index, described.numbers),),
                artifacts=self._last_artifacts,
            )
        )

    def _write(self, run: _Run) -> None:
        """Write a run; where the server cannot be had, write it offline; where that fails, tell and go on."""
        while True:
            try:
                self._export(run)
                return
            except Exception as error:  # whatever breaks inside wandb changes nothing but the review
                if self._mode == "offline":
                    self._complain(f"run {run.name} is not shown ({_first_line(error)})")
                    return
                self._complain(f"not reachable, runs go to {self._folder / 'wandb'} ({_first_line(error)})")
                self._mode = "offline"

    def _export(self, run: _Run) -> None:
        root = self._folder.resolve() / "wandb"
        if run.id in self._written:
            self._settle([run.id])
        for old in (*root.glob(f"*run-*-{run.id}"), root / "staging" / run.id):
            shutil.rmtree(old, ignore_errors=True)
        (root / "staging").mkdir(parents=True, exist_ok=True)
        with own_folders(WANDB_DATA_DIR=root / "staging" / run.id, WANDB_CACHE_DIR=root / "cache"):
            import wandb

            opened = wandb.init(
                entity=self._conf.entity,
                project=self._conf.project,
                group=self._loop,
                job_type=run.job_type,
                id=run.id,
                name=run.name,
                tags=[tag for tag in run.tags if tag],
                config=redact(run.described.config),
                dir=str(root.parent),
                mode=self._mode,
                resume=None if self._mode == "offline" else "allow",
                reinit="create_new",
                settings=quiet_settings(wandb),
            )
            complete = False
            try:
                for step, numbers in run.steps:
                    opened.log(numbers, step=step)
                tables = {f"tables/{name}": _table(wandb, t) for name, t in run.described.tables.items()}
                if tables:
                    opened.log(tables, step=run.steps[-1][0] if run.steps else 0)
                if run.page:
                    opened.log({"report": wandb.Html(run.page, inject=False)})
                opened.summary.update(run.described.numbers)
                opened.summary.update({key: redact_text(text) for key, text in run.described.facts.items()})
                for artifact in run.artifacts:
                    opened.log_artifact(self._artifact(wandb, artifact), aliases=[artifact.stage])
                complete = True
            finally:
                opened.finish(exit_code=int(run.failed or not complete))
                self._written.append(run.id)

    def _artifact(self, wandb: Any, artifact: _Artifact) -> Any:
        made = wandb.Artifact(
            re.sub(r"[^A-Za-z0-9_.-]", "-", f"{self._loop}-model")[:128],
            type="model",
            metadata={"model": artifact.model, "stage": artifact.stage},
        )
        for name, path in sorted(artifact.files.items()):
            made.add_file(str(path.resolve()), name=name, policy="immutable", skip_cache=True)
        return made

    def _settle(self, runs: Sequence[str]) -> None:
        """Wait until the offline files of these runs are flushed: wandb returns a little earlier."""
        paths = [path for run in runs for path in (self._folder / "wandb").glob(f"offline-run-*-{run}/*.wandb")]
        sizes, deadline = [0], time.monotonic() + SETTLE_TIMEOUT
        while paths and time.monotonic() < deadline:
            before, sizes = sizes, [path.stat().st_size for path in paths]
            if sizes == before and min(sizes) > EMPTY:
                return
            time.sleep(SETTLE_PAUSE)

    def _complain(self, what: str) -> None:
        if not self._warned:
            self._warn(f"W&B: {redact_text(what)}; the loop goes on, later faults are not repeated")
        self._warned = True


def run_id(*parts: str) -> str:
    """The id of a run: the same loop, cycle and trial give the same id."""
    return digest(*parts)[:16]


def _table(wandb: Any, table: Table) -> Any:
    rows = [[redact_text(cell) if isinstance(cell, str) else cell for cell in row] for row in table.rows]
    return wandb.Table(columns=list(table.columns), data=rows, allow_mixed_types=True)


def _steps(curve: Table) -> tuple[tuple[int, dict[str, float]], ...]:
    """The curve as (epoch, numbers), undecidable numbers left out."""

    def numbers(row: Sequence[Any]) -> dict[str, float]:
        named = zip(curve.columns[1:], row[1:], strict=True)
        return {name: value for name, value in named if value is not None}

    return tuple((int(row[0] or 0), numbers(row)) for row in curve.rows)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
