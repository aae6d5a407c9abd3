"""The outbox: messages are posted in the ledger, then delivered at least once, each under one key.

Posting is one idempotent row, so whoever is killed and run again posts nothing twice. Delivering sends and then writes
down how it ended; who is killed in between sends once more, under the same key, by which the receiver knows the double.
All that a later try depends on is in the ledger, nothing in memory (sendings.py).

One process of a loop delivers at a time: call `deliver` inside `Ledger.leased`. Before each send the effect's row is
appended once more, which writes nothing and is refused to a process that has lost the lease.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from engine.effects.channels import Channel, Sent
from engine.effects.message import Message
from engine.effects.sendings import DELIVERED, DELIVERY, EFFECT, GIVEN_UP, WAITING, Book, Fold, Sending
from engine.errors import ConfigError, one_line
from engine.records.plain import digest
from engine.system.durable import Step, perform
from engine.system.redact import redact_text

FIRST_PAUSE, LONGEST_PAUSE = 30.0, 6 * 3600.0  # seconds between a try and the next; it doubles in between
LEAST = 1.0  # seconds that must be left for another send to begin
TRIES = 10  # of a message whose channel is configured no more
NAMED = 8  # rules that a summary names


def utc_now() -> datetime:
    """The clock, where the caller brings none."""
    return datetime.now(UTC)


class Outbox:
    """What one loop sends. For one thread.

    Args:
        book: the loop's ledger.
        channels: by name (`make_channels`).
        now: the ledger's clock.
        dry_run: messages are recorded as what would be sent; nothing is, also of what was posted before.
    """

    def __init__(
        self,
        book: Book,
        channels: Mapping[str, Channel],
        now: Callable[[], datetime] = utc_now,
        *,
        dry_run: bool = False,
    ) -> None:
        self._book, self._channels, self._now, self._dry_run = book, channels, now, dry_run
        self._fold, self._read = Fold(), {EFFECT: 0, DELIVERY: 0}

    def post(self, message: Message, channels: Iterable[str]) -> tuple[str, ...]:
        """Promise a message to these channels: one row each, and nothing for a key that was posted before.

        Returns:
            The ids of the rows, in the order of `channels`.

        Raises:
            ConfigError: a channel that is not configured; nothing was posted.
        """
        names = tuple(channels)
        for name in names:
            if name not in self._channels:
                known = ", ".join(self._channels) or "none"
                raise ConfigError("act.channels", f"there is no channel {name!r}", f"configured: {known}")
        return tuple(self._post(message, name) for name in names)

    def deliver(self, seconds: float) -> tuple[Sending, ...]:
        """Try to send what is due, the oldest of each channel first, the channels in turns.

        A channel whose limit is reached sends, with the last send it has, one summary of all that is due; one that
        cannot be reached rests until its next try is due.

        Args:
            seconds: in which all sends end; one that needs longer than what is left fails and is tried again.

        Returns:
            What was tried, as it stands now, in the order of the tries. Failures are told there, not raised.

        Raises:
            LeaseError: another process runs the loop now.
        """
        ends = time.monotonic() + seconds
        self._refresh()
        if self._dry_run:
            return ()
        queues = {name: self._plan(name) for name in self._waiting()}
        tried: list[str] = []
        while any(queues.values()):
            for queue in queues.values():
                left = ends - time.monotonic()
                if left <= 0 or left < min(LEAST, seconds):
                    return self._standing(tried)
                if queue:
                    sending = queue.popleft()
                    one = sending if isinstance(sending, Sending) else self._summarise(sending)
                    tried.append(one.id)
                    if self._try(one, left).unreachable:
                        queue.clear()
        return self._standing(tried)

    def state(self) -> list[Sending]:
        """All that was ever posted, oldest first, as the ledger says."""
        self._refresh()
        return list(self._fold.all.values())

    # ---- inside --------------------------------------------------------------------------------------------

    def _post(self, message: Message, channel: str, covers: tuple[str, ...] = ()) -> str:
        id = digest("rehearsed effect" if self._dry_run else EFFECT, message.key, channel)
        payload: dict[str, Any] = {"channel": channel, "message": message.cleaned().plain()}
        payload |= {"covers": list(covers)} if covers else {}
        payload |= {"dry_run": True} if self._dry_run else {}
        self._book.append(EFFECT, id, payload, window=message.window)
        return id

    def _refresh(self) -> None:
        """Bring the state forward. Deliveries are read first: the effect of each is then there to be read."""
        deliveries, effects = (list(self._book.rows(kind, after=self._read[kind])) for kind in (DELIVERY, EFFECT))
        for kind, rows in ((EFFECT, effects), (DELIVERY, deliveries)):
            self._fold.add(rows)
            self._read[kind] = rows[-1].seq if rows else self._read[kind]

    def _standing(self, ids: Iterable[str]) -> tuple[Sending, ...]:
        return tuple(self._fold.all[id] for id in ids)

    def _waiting(self) -> list[str]:
        """Channels with something to send, in the order of their oldest; also such as are configured no more."""
        return list(dict.fromkeys(s.channel for s in self._fold.all.values() if s.outcome == WAITING))

    def _plan(self, channel: str) -> deque[Sending | list[Sending]]:
        """What a channel sends now: single messages, and a list of those that one summary stands for."""
        now = self._now()
        if _later(self._fold.resting.get(channel, ""), now):
            return deque()
        due = [s for s in self._fold.waiting(channel) if not _later(s.due, now)]
        if channel not in self._channels:
            return deque(due)
        conf = self._channels[channel].conf
        since = now - timedelta(seconds=conf.period)
        room = max(0, conf.rate - sum(datetime.fromisoformat(at) > since for at in self._fold.tried.get(channel, ())))
        summaries, single = [s for s in due if s.covers], [s for s in due if not s.covers]
        plan: deque[Sending | list[Sending]] = deque(summaries[:room])
        room -= len(plan)
        if len(single) <= room:
            plan.extend(single)
        elif room:
            plan.extend(single[: room - 1])
            plan.append(single[room - 1 :])
        return plan

    def _summarise(self, held_back: list[Sending]) -> Sending:
        """One message, recorded before it is sent, on all that the limit holds back."""
        channel, messages = held_back[0].channel, [s.message for s in held_back]
        rules = Counter(m.rule or m.event for m in messages).most_common()
        named = ", ".join(f"{rule} ({count})" for rule, count in rules[:NAMED])
        more = f" and {len(rules) - NAMED} other rules" if len(rules) > NAMED else ""
        owners = sorted({m.owner for m in messages if m.owner})
        ids = tuple(s.id for s in held_back)
        summary = Message(
            key=digest("summary", channel, ids),
            loop=messages[-1].loop,
            window=messages[-1].window,
            event="summary",
            severity="detected" if any(m.severity == "detected" for m in messages) else "suspected",
            owner=", ".join(owners),
            text=f"{len(messages)} more, held back by the limit of this channel: {named}{more}",
        )
        id = self._post(summary, channel, ids)
        self._refresh()
        return self._fold.all[id]

    def _try(self, sending: Sending, left: float) -> Sent:
        """Send one message and write down how it ended."""
        self._book.append(EFFECT, sending.id, {}, window=sending.message.window)  # is there: asks for the lease alone
        channel = self._channels.get(sending.channel)
        sent = Sent(ok=False, said=f"channel {sending.channel} is not configured", unreachable=True)
        if channel is not None:
            sent = _send(channel, sending, min(channel.conf.timeout, left))
        number = sending.tries + 1
        last = not sent.ok and number >= (channel.conf.tries if channel else TRIES)
        outcome = DELIVERED if sent.ok else GIVEN_UP if last else WAITING
        row: dict[str, Any] = {"effect": sending.id, "outcome": outcome, "try": number, "said": sent.said}
        if not sent.ok:
            pause = min(FIRST_PAUSE * 2 ** (number - 1), LONGEST_PAUSE)
            again = (self._now() + timedelta(seconds=max(pause, sent.again))).isoformat()
            row |= {} if last else {"due": again}
            row |= {"rests": again} if sent.unreachable else {}
        # A delivery has an id of its own: beside a failure of the same number, by another process, both stand.
        ending = "delivered" if sent.ok else str(number)
        self._book.append(DELIVERY, f"{sending.id}:{ending}", row, window=sending.message.window)
        self._refresh()
        return sent


def _send(channel: Channel, sending: Sending, timeout: float) -> Sent:
    """Send, as one step that lasts: a test may stand before and after it."""
    result: list[Sent] = []
    step = Step("send", Path(sending.channel))
    try:
        perform(step, lambda: result.append(channel.send(sending.message, timeout)))
    except Exception as error:  # a fault of a sender must not end the loop that it tells about
        return Sent(ok=False, said=one_line(redact_text(f"{type(error).__name__}: {error}"), 200))
    return result[0]


def _later(moment: str, now: datetime) -> bool:
    """Is that moment (ISO 8601; empty: none) still to come."""
    return bool(moment) and datetime.fromisoformat(moment) > now
