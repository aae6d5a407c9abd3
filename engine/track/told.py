"""What reviewers were told in full by earlier commands: a loop that goes on need not tell it again.

A file beside the runs names it. Where the file is gone or of another project, all is told again; so it is by `resync`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from engine.errors import TidegateError
from engine.records import Cycle
from engine.records.plain import digest
from engine.system import durable

FILE = "told.json"  # beside the offline runs


def name_of(cycle: Cycle) -> str:
    """Of all that a cycle says: a loop that was begun anew in the same folder says other things of the same window."""
    return digest(cycle)


class Told:
    """The names of what was told to one place; a cache, which nothing but the review hangs on.

    Args:
        folder: where runs are written.
        place: who was told: loop, project, entity, mode.
    """

    def __init__(self, folder: Path, *place: str) -> None:
        self._path, self._place = folder / FILE, digest(*place)
        self._names, self._page = self._read()

    def __contains__(self, name: str) -> bool:
        return name in self._names or name == self._page

    def add(self, names: Iterable[str], page: str) -> None:
        """Remember these names, too, and the page in place of the one before; an empty one leaves it.

        Where that cannot be written down, all is told again.
        """
        before = self._names, self._page
        self._names, self._page = self._names | set(names), page or self._page
        if before != (self._names, self._page):
            known = {"place": self._place, "told": sorted(self._names), "page": self._page}
            with suppress(TidegateError):
                durable.write_text(self._path, json.dumps(known) + "\n")

    def _read(self) -> tuple[set[str], str]:
        try:
            known = json.loads(self._path.read_text())
            if known["place"] == self._place:
                return {str(name) for name in known["told"]}, str(known["page"])
        except (OSError, ValueError, TypeError, KeyError):
            pass  # nothing is known to have been told
        return set(), ""
