"""A local folder as the place of a store: every write goes through engine.system.durable, links are not followed.

Beside the kinds it holds `lock`, an empty file that puts lock shared and gc alone; the kernel frees a lock when
its holder dies.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import ArtifactError
from engine.promote.place import KINDS, RESTORE, Content, Digest, Entry
from engine.system import durable


class Local:
    """Names below one folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.url = root, str(root)
        self._settled: set[str] = set()

    def where(self, kind: str, name: str) -> str:
        """The path."""
        return str(self._folder(kind) / name)

    def settle(self, kinds: Iterable[str]) -> None:
        """Make our folders durable, once: whoever made them may have died before their names were synced."""
        missing = [kind for kind in kinds if kind not in self._settled]
        if not missing:
            return
        for kind in missing:
            durable.make_folder(self._folder(kind))
        durable.sync_folder(self.root)
        durable.sync_folder(self.root.parent)
        self._settled.update(missing)

    def add_blob(self, content: Content) -> tuple[str, int]:
        """Write a blob in one pass: its name is known when the last byte is on the disk."""
        folder, digest = self._folder("blobs"), Digest()
        durable.write_chunks(folder / "blob", digest.over(content()), name=lambda: folder / digest.sha.hexdigest())
        return digest.pair

    def write(self, kind: str, name: str, data: bytes) -> None:
        """Temporary file, fsync, rename, fsync of the folder."""
        durable.write_bytes(self._folder(kind) / name, data)

    def read(self, kind: str, name: str, where: str) -> Iterator[bytes]:
        """The bytes of a name in pieces."""
        return read_file(self._folder(kind) / name, where, follow=False)

    def entries(self, kind: str) -> Iterator[Entry]:
        """All names of a kind that are no temporary file."""
        return (entry for entry in self._listed(kind) if not entry.name.endswith(durable.TEMPORARY))

    def leftovers(self) -> Iterator[Entry]:
        """Temporary files: puts that are under way, or were cut off."""
        return (e for kind in KINDS for e in self._listed(kind) if e.name.endswith(durable.TEMPORARY))

    def remove(self, entry: Entry) -> None:
        """Remove a file, durable."""
        durable.remove(self._folder(entry.kind) / entry.name)

    def now(self) -> float:
        """The clock of this machine."""
        return time.time()

    @contextmanager
    def lock(self, *, exclusive: bool = False) -> Iterator[Callable[[], None]]:
        """flock: it cannot be lost while it is held, so there is nothing to do before a removal."""
        durable.make_folder(self.root)
        with durable.reported(self.root / "lock"):
            descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            yield lambda: None
        finally:
            os.close(descriptor)

    def remarks(self) -> list[str]:
        """Nothing: `tidegate doctor` tries the disk."""
        return []

    def _listed(self, kind: str) -> Iterator[Entry]:
        folder = self._folder(kind)
        for path in folder.iterdir() if folder.is_dir() else ():
            try:
                status = path.lstat()
            except FileNotFoundError:  # a temporary file that has found its name meanwhile
                continue
            yield Entry(kind, path.name, status.st_size, status.st_mtime)

    def _folder(self, kind: str) -> Path:
        """One of our folders; refused where a link leads it out of the store."""
        folder = self.root / kind
        if folder.is_symlink() and not folder.resolve().is_relative_to(self.root.resolve()):
            raise ArtifactError(str(folder), "this link leads out of the store", "make it a folder")
        return folder


def read_file(path: Path, where: str, *, follow: bool = True) -> Iterator[bytes]:
    """The content of a file in pieces; ArtifactError at `where` if it is missing or cannot be read."""
    flags = os.O_RDONLY | (0 if follow else getattr(os, "O_NOFOLLOW", 0))
    try:
        with open(os.open(path, flags), "rb") as file:
            while chunk := file.read(durable.CHUNK):
                yield chunk
    except FileNotFoundError:
        raise ArtifactError(where, "the file is missing", RESTORE) from None
    except OSError as error:
        raise ArtifactError(where, f"cannot be read: {error.strerror or error}", RESTORE) from error
