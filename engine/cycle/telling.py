"""Tells the channels outside of an action item: what the message says, where it is posted, when it is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.act import ActConf
from engine.effects import Message, Outbox, make_channels
from engine.effects.sendings import DELIVERED
from engine.errors import LeaseError, TidegateError
from engine.promote.ledger import Ledger
from engine.records import Acted, ActionItem, Event
from engine.report.alerting import said

EVENTS = {Event.ESCALATED: "escalated", Event.RESOLVED: "resolved", Event.WITHDRAWN: "resolved"}


def message_of(loop: str, item: ActionItem, acted: Sequence[Acted]) -> Message:
    """One item, and what came of its actions; the id of the item is the key."""
    return Message(
        key=item.id,
        loop=loop,
        window=item.window,
        rule=item.rule,
        event=EVENTS.get(item.event, "raised"),
        severity=item.severity,
        owner=item.owner,
        text=item.message,
        metric=item.metric,
        value=item.value,
        threshold=item.threshold,
        runbook=item.runbook,
        done="; ".join(map(said, acted)),
    )


def make_outbox(conf: ActConf, ledger: Ledger) -> Outbox:
    """What a loop posts its messages in."""
    return Outbox(ledger, make_channels(conf.channels), dry_run=conf.dry_run)


def deliver(outbox: Outbox, conf: ActConf, warn: Callable[[str], None]) -> None:
    """Try to send what is due, for at most `deliver_seconds`. What fails is told to `warn`, and tried again later.

    LeaseError where another process runs the loop now: that is no failure of a message.
    """
    if not conf.channels:
        return
    try:
        tried = outbox.deliver(conf.deliver_seconds)
    except LeaseError:
        raise
    except TidegateError as error:
        warn(f"messages wait: {error}")
        return
    for sending in tried:
        if sending.outcome != DELIVERED:
            about = sending.message.rule or sending.message.event
            warn(f"{sending.channel}: {about}: {sending.outcome}, {sending.said}")
