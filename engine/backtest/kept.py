"""What a backtest has measured, kept by content: a second call measures nothing, and a killed one goes on.

One small JSON file a fact, `<folder>/<kind>/<key>.json`; its key is a hash of all that the fact follows from: rows,
config, and the code that makes it. A file is written whole or not at all; one that cannot be read is measured again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from engine.records import digest, from_plain, to_plain
from engine.system import durable

T = TypeVar("T")

PACKAGES = ("lightning", "numba", "numpy", "pyarrow", "torch")  # that models and numbers are made by


class Kept:
    """The facts below one folder."""

    def __init__(self, folder: Path, code: str) -> None:
        self.folder, self.code = folder, code
        self.made = 0  # facts that were not there

    def find(self, kind: str, cls: type[T], key: Sequence[Any]) -> T | None:
        """The fact of this key; None where it was not measured, or its file cannot be read."""
        try:
            return from_plain(cls, json.loads(self._path(kind, key).read_text()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def put(self, kind: str, key: Sequence[Any], value: T) -> T:
        """Keep a fact. InputError where the disk refuses it."""
        durable.write_text(self._path(kind, key), json.dumps(to_plain(value), allow_nan=False))
        self.made += 1
        return value

    def once(self, kind: str, cls: type[T], key: Sequence[Any], make: Callable[[], T]) -> T:
        """The fact of this key, found or made now."""
        found = self.find(kind, cls, key)
        return self.put(kind, key, make()) if found is None else found

    def _path(self, kind: str, key: Sequence[Any]) -> Path:
        return self.folder / kind / f"{digest(kind, self.code, list(key))}.json"


def code_of(root: Path, parts: Sequence[str]) -> str:
    """A hash of the sources of these modules and packages below `root`, and of the versions of what they build on."""
    found = hashlib.sha256()
    for part in parts:
        place = root / part
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            found.update(path.relative_to(root).as_posix().encode())
            found.update(path.read_bytes())
    return digest(found.hexdigest(), {name: metadata.version(name) for name in PACKAGES})
