"""Messages, channels and a ledger kept in memory, for tests of what goes outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.effects import Channel, ChannelConf, Message
from engine.effects.channels import Sent
from engine.errors import LeaseError

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
WELL = Sent(ok=True, said="200")
ILL = Sent(ok=False, said="503", unreachable=True)
REFUSED = Sent(ok=False, said="400")


def message(**fields: Any) -> Message:
    """A message, with these fields."""
    return Message(**{"key": "k", "loop": "flights", "event": "raised", "text": "drift.share = 0.6 > 0.5", **fields})


def messages(count: int, **fields: Any) -> list[Message]:
    """Messages with keys k0, k1, ..."""
    return [message(key=f"k{i}", **fields) for i in range(count)]


@dataclass
class Row:
    """A row of the ledger."""

    seq: int
    id: str
    kind: str
    at: str
    payload: dict[str, Any]


@dataclass
class Memory:
    """A ledger, and the clock that it shares with its outbox."""

    table: list[Row] = field(default_factory=list)
    time: datetime = START
    lost: bool = False  # the lease

    def now(self) -> datetime:
        return self.time

    def pass_by(self, **spans: float) -> None:
        """Let time pass: `minutes=5`."""
        self.time += timedelta(**spans)

    def append(self, kind: str, id: str, payload: Mapping[str, Any], *, window: str = "") -> Row:
        if self.lost:
            raise LeaseError("loop flights: it is run by another process now")
        found = next((row for row in self.table if row.id == id), None)
        if found is None:
            found = Row(len(self.table) + 1, id, kind, self.time.isoformat(), dict(payload))
            self.table.append(found)
        return found

    def rows(self, kind: str | None = None, window: str | None = None, *, after: int = 0) -> list[Row]:
        return [row for row in self.table if row.seq > after and kind in (None, row.kind)]


@dataclass
class Receiver:
    """Takes messages; what it says to each is decided by the test."""

    answer: Callable[[Message], Sent] = lambda _message: WELL
    got: list[Message] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)

    def __call__(self, message: Message, timeout: float) -> Sent:
        self.got.append(message)
        self.waited.append(timeout)
        return self.answer(message)

    @property
    def keys(self) -> list[str]:
        return [m.key for m in self.got]


def channel(receiver: Receiver, **conf: Any) -> Channel:
    """A channel to that receiver, with these settings."""
    return Channel(ChannelConf(**{"kind": "webhook", "url_env": "URL", **conf}), receiver)
