"""Trials on a machine whose disk is not the driver's: their files go home.

The record of a sweep lies on the driver's machine, and there alone: a worker elsewhere trains in a temporary folder and
sends what it wrote through Ray - the checkpoint after an epoch, the record and the weights in the end - to one actor on
the driver's machine, which writes them as if they had been written there. So a cluster needs no shared disk and its
workers no keys of a bucket; the files of a trial are small. What is not whole is not there: the record, which names
the weights, is sent and written last.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.errors import InputError
from engine.system import durable
from engine.train.sweep import SweepJob

RECORD = "trial.json"


class Home:
    """Writes what workers elsewhere send. A Ray actor on the driver's machine, made by crew.py; it keeps nothing."""

    def ready(self) -> bool:
        """True, once it can be asked."""
        return True

    def files(self, folder: str, trial: str) -> dict[str, bytes]:
        """What lies in a trial's folder: a checkpoint to go on from, say."""
        place = _folder(folder, trial)
        found = {path.name: path.read_bytes() for path in place.iterdir()} if place.is_dir() else {}
        return {name: data for name, data in found.items() if not name.endswith(durable.TEMPORARY)}

    def take(self, folder: str, trial: str, written: dict[str, bytes], removed: list[str]) -> None:
        """Write and remove files of a trial, durable. InputError where the disk refuses."""
        place = _folder(folder, trial)
        for name in sorted(written, key=lambda name: name == RECORD):
            durable.write_bytes(place / _name(name), written[name])
        for name in removed:
            durable.remove(place / _name(name))


def _folder(folder: str, trial: str) -> Path:
    return Path(folder) / _name(trial)


def _name(name: str) -> str:
    if name != Path(name).name or name in ("", ".."):
        raise InputError(name, "is no name of a file in the folder of a trial", "report it: no worker sends one")
    return name


class Place:
    """Where one trial writes: its folder, or a copy of it that is sent home."""

    def __init__(self, job: SweepJob, trial: str, home: Any, folder: Path | None) -> None:
        self._home, self._folder, self._trial = home, str(job.folder), trial  # home: the actor, or None
        self.job = replace(job, folder=folder) if folder else job
        self._sent: dict[str, tuple[int, int, int]] = {}
        if folder:
            for name, data in self._ask("files").items():
                durable.write_bytes(folder / trial / name, data)
            self._sent = self._seen()

    def send(self) -> None:
        """Send home what has changed since the last time; returns once it is on that disk."""
        if self._home is None:
            return
        seen = self._seen()
        changed = [name for name in seen if self._sent.get(name) != seen[name]]
        removed = [name for name in self._sent if name not in seen]
        if changed or removed:
            written = {name: (self.job.folder / self._trial / name).read_bytes() for name in changed}
            self._ask("take", written, removed)
        self._sent = seen

    def _seen(self) -> dict[str, tuple[int, int, int]]:
        """What tells one content of a file from the next: durable replaces files, it never writes into them."""
        place = self.job.folder / self._trial
        paths = [path for path in place.iterdir() if path.suffix != durable.TEMPORARY] if place.is_dir() else []
        return {path.name: (stat.st_ino, stat.st_mtime_ns, stat.st_size) for path in paths for stat in [path.stat()]}

    def _ask(self, method: str, *values: Any) -> Any:
        import ray

        try:
            return ray.get(getattr(self._home, method).remote(self._folder, self._trial, *values))
        except ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from None  # an InputError of that disk, say


@contextmanager
def placed(job: SweepJob, trial: str, home: str) -> Iterator[Place]:
    """The place of one trial; `home` names the actor, and is empty on the driver's own machine. What is not sent is
    gone afterwards.
    """
    if not home:
        yield Place(job, trial, None, None)
        return
    import ray

    folder = Path(tempfile.mkdtemp(prefix="tidegate-trial-"))
    try:
        yield Place(job, trial, ray.get_actor(home), folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
