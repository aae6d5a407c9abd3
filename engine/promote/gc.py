"""Remove what no ledger knows: artifacts of trials that were not chosen, blobs of puts that were cut off.

An artifact is kept where any row of any loop in the given databases mentions its id, or a kept manifest does.
What is younger than a stated age is kept as well: it may belong to a decision that is under way. No put runs
meanwhile. The manifest goes first, its blobs after it: a crash in between leaves nothing that is seen and not
whole.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from engine import durable
from engine.promote.ledger import Ledger
from engine.promote.store import Store
from engine.records import canonical

_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What was removed, or would be."""

    artifacts: tuple[str, ...]
    files: int  # manifests, blobs and temporary files
    size: int  # bytes


def collect(
    ledgers: Iterable[Ledger],
    store: Store,
    *,
    older_than: timedelta = timedelta(days=1),
    rehearse: bool = False,
) -> Collected:
    """Remove what is not referenced from a store.

    Args:
        ledgers: one of each database that uses this store; all loops of these databases count.
        store: what to clean.
        older_than: files younger than this are kept; longer than any put takes.
        rehearse: only tell.

    Raises:
        ArtifactError: a kept manifest is damaged, and with it the list of what it needs; nothing was removed.
    """
    named: set[str] = set()
    for ledger in ledgers:
        named.update(ledger.mentions(_ID))
    with store.lock(exclusive=True):
        return _collect(store, named, older_than, rehearse)


def _collect(store: Store, named: set[str], older_than: timedelta, rehearse: bool) -> Collected:
    kept = _closure(store, named)
    needed = {entry["sha256"] for artifact in kept for entry in store.manifest(artifact)["files"].values()}
    limit = time.time() - older_than.total_seconds()
    unnamed = [a for a in store.list() if a not in kept]
    young = [a for a in unnamed if not _old(store.path_of(a), limit)]
    for artifact in young:
        needed.update(_ID.findall(store.path_of(artifact).read_text(errors="replace")))
    artifacts = tuple(a for a in unnamed if a not in young)
    blobs = [b for b in store.blobs() if b.name not in needed and _old(b, limit)]
    leftovers = [t for t in store.leftovers() if _old(t, limit)]
    files = [*(store.path_of(a) for a in artifacts), *blobs, *leftovers]
    size = sum(file.stat().st_size for file in files)
    if not rehearse:
        for file in files:
            durable.remove(file)
    return Collected(artifacts=artifacts, files=len(files), size=size)


def _closure(store: Store, named: set[str]) -> set[str]:
    """The artifacts of these names, and those that their manifests mention, and so on."""
    present = set(store.list())
    kept: set[str] = set()
    waiting = named & present
    while waiting:
        artifact = waiting.pop()
        kept.add(artifact)
        mentioned = set(_ID.findall(canonical(store.manifest(artifact))))
        waiting |= (mentioned & present) - kept
    return kept


def _old(path: Path, limit: float) -> bool:
    return path.stat().st_mtime <= limit
