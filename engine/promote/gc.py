"""Remove what no ledger knows: artifacts of trials that were not chosen, blobs of puts that were cut off.

An artifact is kept where any row of any loop in the given databases mentions its id, or a kept manifest does.
What is younger than a stated age is kept as well: it may belong to a decision that is under way. No put runs
meanwhile: the store's lock sees to that, in a folder and in a bucket. The manifest goes first, its signature and
blobs after it: a crash in between leaves nothing that is seen and not whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from engine.promote.ledger import Ledger
from engine.promote.place import Entry
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
    with store.lock(exclusive=True) as keep:
        doomed = _doomed(store, named, older_than)
        for entry in () if rehearse else doomed:
            keep()
            store.place.remove(entry)
    gone = tuple(entry.name.removesuffix(".json") for entry in doomed if entry.kind == "manifests")
    return Collected(artifacts=gone, files=len(doomed), size=sum(entry.size for entry in doomed))


def _doomed(store: Store, named: set[str], older_than: timedelta) -> list[Entry]:
    """What is to go, in the order of removal: an artifact disappears before what it needs."""
    limit = store.place.now() - older_than.total_seconds()
    kept = _closure(store, named)
    needed = {entry["sha256"] for artifact in kept for entry in store.unsigned_manifest(artifact)["files"].values()}
    manifests = []
    for entry in store.entries("manifests"):
        artifact = entry.name.removesuffix(".json")
        if artifact in kept:
            continue
        if entry.modified <= limit:
            manifests.append(entry)
        else:  # young: its blobs stay, too, whatever their age, even where it is damaged
            kept.add(artifact)
            needed.update(_ID.findall(store.manifest_bytes(artifact).decode(errors="replace")))
    signatures = [entry for entry in store.entries("signatures") if entry.name.removesuffix(".json") not in kept]
    blobs = [entry for entry in store.blobs() if entry.name not in needed]
    beside = [*signatures, *blobs, *store.leftovers()]
    return [*manifests, *(entry for entry in beside if entry.modified <= limit)]


def _closure(store: Store, named: set[str]) -> set[str]:
    """The artifacts of these names, and those that their manifests mention, and so on."""
    present = set(store.list())
    kept: set[str] = set()
    waiting = named & present
    while waiting:
        artifact = waiting.pop()
        kept.add(artifact)
        mentioned = set(_ID.findall(canonical(store.unsigned_manifest(artifact))))
        waiting |= (mentioned & present) - kept
    return kept
