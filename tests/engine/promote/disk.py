"""A disk that loses power: every state that a recorded trace of steps may leave behind.

What POSIX promises is little: content survives once its file was synced, a name survives once its folder was
synced. Of what was not synced, anything may survive: each name or not, each content in full, cut anywhere,
zeroed or not at all (the crash model of ALICE, Pillai et al., OSDI 2014).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engine.system.durable import Step


@dataclass
class File:
    """Content: what is sure, and what was written since."""

    sure: bytes = b""
    written: bytes = b""

    def variants(self) -> list[bytes]:
        """What may be found after a power cut."""
        if self.sure == self.written:
            return [self.sure]
        new = self.written[len(self.sure) :]
        cuts = {len(new) * eighth // 8 for eighth in range(9)}
        return [self.sure + new[:cut] for cut in sorted(cuts)] + [self.sure + bytes(len(new))]


@dataclass
class Change:
    """A change of names in one folder that is not synced yet."""

    folder: Path
    add: dict[str, File | None]  # None: a folder
    drop: str = ""


@dataclass
class Disk:
    """Names that are sure, and changes that are not."""

    names: dict[Path, File | None] = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)
    current: dict[Path, File] = field(default_factory=dict)  # what the running program sees

    def apply(self, step: Step) -> None:
        """Execute one step."""
        path, name = step.path, step.path.name
        if step.operation == "mkdir":
            self.pending.append(Change(path.parent, {name: None}))
        elif step.operation == "create":
            self.current[path] = File()
            self.pending.append(Change(path.parent, {name: self.current[path]}))
        elif step.operation == "write":
            self.current[path].written += step.data
        elif step.operation == "sync":
            self.current[path].sure = self.current[path].written
        elif step.operation == "replace":
            assert step.target is not None
            file = self.current.pop(path)
            self.current[step.target] = file
            self.pending.append(Change(path.parent, {step.target.name: file}, drop=name))
        elif step.operation == "sync folder":
            for change in self.pending:
                if change.folder == path:
                    self._settle(self.names, change)
            self.pending = [change for change in self.pending if change.folder != path]

    def states(self) -> Iterator[dict[Path, bytes]]:
        """Every set of files that may be found after a power cut now."""
        for kept in itertools.product([False, True], repeat=len(self.pending)):
            names = dict(self.names)
            for change in itertools.compress(self.pending, kept):
                self._settle(names, change)
            found = {p: f for p, f in names.items() if f is not None and self._reachable(p, names)}
            for contents in itertools.product(*(f.variants() for f in found.values())):
                yield dict(zip(found, contents, strict=True))

    @staticmethod
    def _settle(names: dict[Path, File | None], change: Change) -> None:
        for name, file in change.add.items():
            names[change.folder / name] = file
        if change.drop:
            names.pop(change.folder / change.drop, None)

    @staticmethod
    def _reachable(path: Path, names: dict[Path, File | None]) -> bool:
        """False where a folder above it got lost. Folders that no step made were there before."""
        made = {p for p, f in names.items() if f is None}
        lost = [p for p in path.parents if p.name in ("blobs", "manifests", "artifacts") and p not in made]
        return not lost
