"""What the ledger says of every message that goes outside: a fold over its rows, and nothing else.

Two kinds of rows. `effect`: a message for a channel, written once, before anything is sent. `delivery`: how one try to
send it ended. What is due, how often it was tried and how long a channel rests follows from them, so a process that is
killed, or another one, goes on where the first one stopped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from engine.effects.message import Message, read_message
from engine.records.estimates import record
from engine.records.rows import LedgerRow

EFFECT = "effect"  # kind of the rows of messages that are to be sent
DELIVERY = "delivery"  # kind of the rows that say how a try ended

WAITING, DELIVERED, GIVEN_UP, SUMMARISED, REHEARSED = "waiting", "delivered", "given up", "summarised", "rehearsed"


class Book(Protocol):
    """What an outbox needs of the ledger: append is idempotent by id, and refused to who has lost the loop's lease."""

    def append(self, kind: str, id: str, payload: Mapping[str, Any], *, window: str = "") -> LedgerRow: ...
    def rows(self, kind: str | None = None, window: str | None = None, *, after: int = 0) -> Sequence[LedgerRow]: ...


@record
class Sending:
    """One message for one channel, and how far it has come."""

    id: str
    channel: str
    message: Message
    posted: str
    """ISO 8601, UTC."""
    outcome: str
    """waiting; delivered; given up after its last try; summarised: told in a message on several; rehearsed: would have
    been sent, in a dry run."""
    tries: int = 0
    due: str = ""
    """Not to be tried again before; empty: at once."""
    said: str = ""
    """How the last try ended, in words that hold nothing of an answer's body."""
    at: str = ""
    """When the last try ended."""
    covers: tuple[str, ...] = ()
    """Of a summary: the ids of what it stands for."""


def sendings(rows: Iterable[LedgerRow]) -> list[Sending]:
    """Every message posted, oldest first, out of the rows of a ledger (others are passed over)."""
    fold = Fold()
    fold.add(rows)
    return list(fold.all.values())


class Fold:
    """The state of all sendings, brought forward by rows."""

    def __init__(self) -> None:
        self.all: dict[str, Sending] = {}  # by id, oldest first
        self.tried: dict[str, list[str]] = {}  # by channel: when each try ended
        self.resting: dict[str, str] = {}  # by channel that could not be reached: until when

    def add(self, rows: Iterable[LedgerRow]) -> None:
        """Bring the state forward; the effect of a delivery comes before it."""
        for row in rows:
            if row.kind == EFFECT:
                self._posted(row)
            elif row.kind == DELIVERY:
                self._tried(row)

    def waiting(self, channel: str) -> list[Sending]:
        """What a channel still has to send, oldest first."""
        return [s for s in self.all.values() if s.channel == channel and s.outcome == WAITING]

    def _posted(self, row: LedgerRow) -> None:
        covers = tuple(row.payload.get("covers", ()))
        self.all[row.id] = Sending(
            id=row.id,
            channel=row.payload["channel"],
            message=read_message(row.payload["message"]),
            posted=row.at,
            outcome=REHEARSED if row.payload.get("dry_run") else WAITING,
            covers=covers,
        )
        for id in covers:
            if self.all[id].outcome == WAITING:
                self.all[id] = dataclasses.replace(self.all[id], outcome=SUMMARISED)

    def _tried(self, row: LedgerRow) -> None:
        said = row.payload
        before = self.all[said["effect"]]
        outcome = said["outcome"]
        if before.outcome != WAITING and outcome != DELIVERED:  # of two processes, the other was faster
            outcome = before.outcome
        self.all[before.id] = dataclasses.replace(
            before, outcome=outcome, tries=said["try"], due=said.get("due", ""), said=said["said"], at=row.at
        )
        self.tried.setdefault(before.channel, []).append(row.at)
        if said.get("rests"):
            self.resting[before.channel] = said["rests"]
        else:
            self.resting.pop(before.channel, None)
