"""The only place that imports `wandb`: opens, fills and finishes runs, and lives through whatever breaks there.

A run's id is a hash of what it shows. Writing it again replaces its offline folder (online: its history is taken up
where it ended, by step); it never adds a second run. A run may be open while its trial trains; when the trial has
ended, its record decides: an open run that tells the same is completed, any other is written anew.

What W&B would gather by itself is switched off: command line, host, user, git, code, console, environment. The run of
a sweep alone, where it is followed live, has the system metrics of the machine of the driver.
"""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.system.redact import redact, redact_text
from engine.track.describe import Table
from engine.track.port import TrackConf
from engine.track.runs import Artifact, Run
from engine.track.settings import Mode, chosen_mode, quiet_settings, stage

MOST_OPEN = 16  # runs at once; each is a few requests a minute to the server, whose limit is by project
SETTLE_TIMEOUT = 5.0  # seconds until all offline files must be flushed
SETTLE_PAUSE = 0.02
GONE = ("MailboxClosedError", "AlreadyJoinedError")  # what wandb raises where its own process is gone
EMPTY = 7  # bytes of an offline file without a record

Steps = Sequence[tuple[int, dict[str, float]]]


@dataclass
class _Open:
    """A run whose trial is still going."""

    run: Any  # of wandb
    told: list[tuple[int, dict[str, float]]] = field(default_factory=list)


class Writer:
    """Writes runs; for one thread. No method raises for a fault of W&B.

    A fault is told once, in one line. An online writer goes on offline from there; a service process that died is
    started again, once a run.

    Args:
        conf: project, entity and mode.
        folder: offline runs go to `folder/wandb/offline-run-*`.
        warn: takes the one line.
    """

    def __init__(self, conf: TrackConf, folder: Path, warn: Callable[[str], None]) -> None:
        self._conf, self._root, self._warn = conf, folder.resolve() / "wandb", warn
        self._mode: Mode = chosen_mode(conf.mode)
        self.complained = False  # was anything left out, in this session
        self._open: dict[str, _Open] = {}
        self._folders: dict[str, list[Path]] | None = None  # run id -> its folders
        self._written: set[str] = set()

    def begin(self, run: Run, *, stats: bool = False) -> None:
        """Open a run that will be completed later. Where enough are open, it is written whole, at its end."""
        if len(self._open) >= MOST_OPEN or run.id in self._open:
            return
        with self._guarded(f"run {run.name} is not shown live"):
            self._remove(run.id)
            opened = self._init(run, stats=stats)
            self._open[run.id] = _Open(opened)
            opened.summary.update({key: redact_text(text) for key, text in run.described.facts.items()})

    def log(self, id: str, steps: Steps) -> None:
        """The next epochs of an open run."""
        held = self._open.get(id)
        if held is None:
            return
        with self._guarded("a run is not shown live"):
            for step, numbers in steps:
                held.told.append((step, numbers))
                held.run.log(numbers, step=step)

    def write(self, run: Run) -> None:
        """All of a run: what is missing where it is open and tells the same, else the whole anew."""
        held = self._open.pop(run.id, None)
        if held is not None and held.told == list(run.steps[: len(held.told)]):
            try:
                held.run.tags = run.tags
                held.run.config.update(redact(run.described.config), allow_val_change=True)
                self._complete(held.run, run, run.steps[len(held.told) :])
                return
            except Exception as error:  # whatever breaks inside wandb changes nothing but the review
                self._recover(error)
        elif held is not None:
            with suppress(Exception):
                held.run.finish(exit_code=1)
        self._write_whole(run)

    def close(self) -> None:
        """Finish what is still open, as interrupted: those trials have not ended."""
        for id, held in list(self._open.items()):
            with self._guarded("a run is cut short"):
                held.run.summary.update({"state": "interrupted"})
                held.run.finish(exit_code=1)
            self._written.add(id)
        self._open.clear()

    def settle(self) -> None:
        """Wait until the offline files are flushed: wandb returns a little earlier."""
        folders = [path for id in self._written for path in (self._folders or {}).get(id, ())]
        paths = [path for folder in folders if folder.name.startswith("offline") for path in folder.glob("*.wandb")]
        sizes, deadline = [0], time.monotonic() + SETTLE_TIMEOUT
        while paths and time.monotonic() < deadline:
            before, sizes = sizes, [path.stat().st_size for path in paths]
            if sizes == before and min(sizes) > EMPTY:
                break
            time.sleep(SETTLE_PAUSE)
        self._written.clear()

    def complain(self, what: str) -> None:
        """The one line of a session."""
        if not self.complained:
            tail = "the work goes on, later faults are not repeated, `tidegate resync` tells all again"
            self._warn(f"W&B: {redact_text(what)}; {tail}")
        self.complained = True

    def _write_whole(self, run: Run) -> None:
        tries = 0
        while True:
            try:
                self._remove(run.id)
                opened = self._init(run)
                self._complete(opened, run, run.steps)
                return
            except Exception as error:  # whatever breaks inside wandb changes nothing but the review
                tries += 1
                if not self._recover(error) or tries > 1:
                    self.complain(f"run {run.name} is not shown ({_first_line(error)})")
                    return

    def _init(self, run: Run, *, stats: bool = False) -> Any:
        import wandb

        logging.raiseExceptions = False  # a full disk is told of once, not with a traceback for each line of its log
        stage(self._staging(run.id))
        opened = wandb.init(
            entity=self._conf.entity,
            project=self._conf.project,
            group=run.group[:128],
            job_type=run.job_type,
            id=run.id,
            name=run.name[:128],
            tags=list(run.tags),
            config=redact(run.described.config),
            dir=str(self._root.parent),
            mode=self._mode,
            resume=None if self._mode == "offline" else "allow",
            reinit="create_new",
            settings=quiet_settings(wandb, stats=stats),
        )
        self._index().setdefault(run.id, []).append(Path(opened.settings.sync_dir))
        return opened

    def _complete(self, opened: Any, run: Run, steps: Steps) -> None:
        """The rest of a run, and its end."""
        import wandb

        complete = False
        stage(self._staging(run.id))
        try:
            for step, numbers in steps:
                opened.log(numbers, step=step)
            tables = {f"tables/{name}": _table(wandb, t) for name, t in run.described.tables.items()}
            if tables:
                opened.log(tables, step=run.steps[-1][0] if run.steps else 0)
            if run.page:
                opened.log({"report": wandb.Html(run.page, inject=False)})
            opened.summary.update(run.described.numbers)
            opened.summary.update({key: redact_text(text) for key, text in run.described.facts.items()})
            for artifact in run.artifacts:
                opened.log_artifact(_artifact(wandb, run, artifact), aliases=_aliases(run, artifact))
            complete = True
        finally:
            opened.finish(exit_code=int(run.failed or not complete))
            self._written.add(run.id)

    def _remove(self, id: str) -> None:
        """What an earlier telling of this run left."""
        for old in (*self._index().pop(id, ()), self._staging(id)):
            shutil.rmtree(old, ignore_errors=True)

    def _staging(self, id: str) -> Path:
        return self._root / "staging" / id

    def _index(self) -> dict[str, list[Path]]:
        """The folders of each run, looked up once."""
        if self._folders is None:
            self._folders = {}
            for path in self._root.glob("*run-*-*"):
                self._folders.setdefault(path.name.rsplit("-", 1)[-1], []).append(path)
        return self._folders

    @contextmanager
    def _guarded(self, what: str) -> Iterator[None]:
        """A fault while a run is open loses nothing: its record tells it all in the end."""
        try:
            yield
        except Exception as error:  # whatever breaks inside wandb changes nothing but the review
            if not self._recover(error):
                self.complain(f"{what} ({_first_line(error)})")

    def _recover(self, error: Exception) -> bool:
        """Is it worth another try: offline from now on, where the server failed; or where wandb's own process died.

        Either way wandb is made to forget all of its runs: it would refuse the ids of those that are open.
        """
        if self._mode == "online":
            self.complain(f"not reachable, runs go to {self._root} ({_first_line(error)})")
            self._mode = "offline"
        elif not (isinstance(error, ConnectionError) or type(error).__name__ in GONE):
            return False
        import wandb

        self._open.clear()
        self._folders = None  # a run that could not be opened may have left one
        with suppress(Exception):
            wandb.teardown()
        return True


def _artifact(wandb: Any, run: Run, artifact: Artifact) -> Any:
    """The model of a loop, of which each is a version."""
    loop = run.described.config.get("sweep", {}).get("loop") or run.group
    made = wandb.Artifact(
        re.sub(r"[^A-Za-z0-9_.-]", "-", f"{loop}-model")[:128],
        type="model",
        metadata={"model": artifact.model, "stage": artifact.stage},
    )
    for name, path in sorted(artifact.files.items()):
        made.add_file(str(path.resolve()), name=name, policy="immutable", skip_cache=True)
    return made


def _aliases(run: Run, artifact: Artifact) -> list[str]:
    """Its stage; and of which sweep it is the best, which stays true when the next sweep has a best."""
    sweep = run.described.config.get("sweep", {}).get("id", "")
    return [artifact.stage, f"sweep-{sweep[:8]}"] if sweep else [artifact.stage]


def _table(wandb: Any, table: Table) -> Any:
    rows = [[redact_text(cell) if isinstance(cell, str) else cell for cell in row] for row in table.rows]
    return wandb.Table(columns=list(table.columns), data=rows, allow_mixed_types=True)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
