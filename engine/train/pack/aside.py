"""Bytes that a trial of a pack seldom needs, out of memory: with many trials, the weights of their best epochs, and
the orders of their rows."""

from __future__ import annotations

import tempfile
import weakref
from pathlib import Path
from typing import IO


class Aside:
    """One content in an unnamed file, gone with the process; in memory where the disk refuses."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._size = 0
        self._held: bytes | None = b""

    def put(self, data: bytes) -> None:
        """Take the place of what was there."""
        self._held = data
        if not data:
            return
        try:
            if self._file is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - lives as long as this
                weakref.finalize(self, self._file.close)
            self._file.seek(0)
            written = self._file.write(data)
        except OSError:  # no room, or too many open files
            return
        if written == len(data):
            self._size, self._held = written, None

    def get(self) -> bytes:
        """What was put last."""
        if self._held is not None:
            return self._held
        assert self._file is not None
        self._file.seek(0)
        return self._file.read(self._size)

    def part(self, start: int, end: int | None) -> bytes:
        """Some bytes of it, from one to another (None: the end)."""
        if self._held is not None:
            return self._held[start:end]
        assert self._file is not None
        self._file.seek(start)
        return self._file.read((self._size if end is None else min(end, self._size)) - start)
