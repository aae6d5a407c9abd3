"""One row of the ledger, and the hash that ties it to the row before.

The hash of a row is sha256 over the canonical JSON of [hash before, loop, seq, id, kind, window, model, at,
payload]. Changing, removing, adding or re-ordering a row breaks every hash after it; the tip (how many rows,
the last hash) is kept apart, so that cutting off the end shows as well. Whoever can rewrite everything can
forge everything: against that, keep a copy of a tip elsewhere (the report and the tracker show it), or sign.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import LedgerError
from engine.records import Stage, canonical, digest

GENESIS = "0" * 64  # the hash before the first row


@dataclass(frozen=True, kw_only=True)
class Row:
    """One entry. `at` is ISO 8601 in UTC with microseconds: the text that was hashed; it sorts by time."""

    seq: int  # from 1, without gaps
    id: str
    kind: str
    window: str
    model: str
    at: str
    payload: Mapping[str, Any]
    previous: str
    hash: str


@dataclass(frozen=True, kw_only=True)
class Head:
    """Which model holds a stage, in which generation of it, since when (ISO 8601, UTC), by which row."""

    stage: Stage
    model: str
    generation: int
    since: str
    seq: int


@dataclass(frozen=True, kw_only=True)
class Tip:
    """The end of a chain: rows in it, hash and time of the last one."""

    seq: int = 0
    hash: str = GENESIS
    at: str = ""


def link(
    tip: Tip, loop: str, *, id: str, kind: str, window: str, model: str, at: str, payload: Mapping[str, Any]
) -> Row:
    """The row that follows `tip`."""
    seq = tip.seq + 1
    return Row(
        seq=seq,
        id=id,
        kind=kind,
        window=window,
        model=model,
        at=at,
        payload=payload,
        previous=tip.hash,
        hash=digest(tip.hash, loop, seq, id, kind, window, model, at, payload),
    )


def read_payload(text: str) -> dict[str, Any]:
    """The payload behind its stored text. ValueError where that is not the canonical form of an object."""
    try:
        payload = json.loads(text)
    except RecursionError:
        raise ValueError("payload is nested too deeply") from None
    if not isinstance(payload, dict) or canonical(payload) != text:
        raise ValueError("payload is not canonical JSON")
    return payload


def check_chain(rows: Iterable[Row], loop: str, tip: Tip) -> Iterator[Row]:
    """Hand on each row once proved to follow the one before; LedgerError names the first that does not."""
    end = Tip()
    ids: set[str] = set()
    for row in rows:
        reason = _fault(row, loop, end, ids)
        if reason:
            raise LedgerError(f"ledger {loop}: row {row.seq} ({row.kind} {row.id}) is broken: {reason}")
        ids.add(row.id)
        end = Tip(seq=row.seq, hash=row.hash, at=row.at)
        yield row
    if end.seq != tip.seq:
        raise LedgerError(f"ledger {loop}: row {end.seq + 1} is broken: the chain ends at {end.seq}, not {tip.seq}")
    if end.hash != tip.hash:
        raise LedgerError(f"ledger {loop}: row {end.seq} is broken: it is not the one that the chain ends with")


def _fault(row: Row, loop: str, end: Tip, ids: set[str]) -> str:
    if row.seq != end.seq + 1:
        return f"it follows row {end.seq}"
    if row.previous != end.hash:
        return "it does not name the hash of the row before"
    again = link(
        end,
        loop,
        id=row.id,
        kind=row.kind,
        window=row.window,
        model=row.model,
        at=row.at,
        payload=row.payload,
    )
    if again.hash != row.hash:
        return "its content does not have its hash"
    if row.at < end.at:
        return "it is older than the row before"
    return "its id is taken" if row.id in ids else ""
