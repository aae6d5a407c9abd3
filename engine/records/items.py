"""What an alert leaves in the ledger: its action items, what was done because of them, and what people said to it.

One rule and one episode is one alert: from the window in which the rule began to hold to the one in which it is good
again. An item is what one window has to say of it, and is made of the item before: the alert is the chain of its items.

engine/records/__init__.py hands these on under its own name; read that first.
"""

from __future__ import annotations

import enum

from engine.records.estimates import record

# Kinds of rows.
ITEM = "action"  # an ActionItem
ACTED = "acted"  # an Acted
ACKNOWLEDGED = "acknowledged"  # a Word: somebody has the alert in hand
UNDONE = "undone"  # a Word: somebody took back what was done
REQUEST = "request"  # a Request
QUARANTINE = "quarantine"  # a Quarantine
FREEZE = "freeze"  # whether models may be promoted


class Event(enum.Enum):
    """What a window has to say of an alert."""

    RAISED = "raised"  # it begins
    AGAIN = "again"  # it still holds, and its cool-down is over
    OPEN = "open"  # it goes on; nothing new
    ESCALATED = "escalated"  # it has been open for long, and nobody acknowledged it
    RESOLVED = "resolved"  # it is good again
    WITHDRAWN = "withdrawn"  # its rule is gone
    UNDECIDABLE = "undecidable"  # its metric cannot be computed: told, and nothing else, for nothing is known

    @property
    def acts(self) -> bool:
        """Are the actions of the rule due."""
        return self in (Event.RAISED, Event.AGAIN)

    @property
    def alarms(self) -> bool:
        """Does it say that something is wrong now, and that it is new or lasts too long."""
        return self in (Event.RAISED, Event.AGAIN, Event.ESCALATED, Event.UNDECIDABLE)

    @property
    def told(self) -> bool:
        """Is it worth a message."""
        return self is not Event.OPEN


@record
class ActionItem:
    """A metric of the model or of the pipeline crossed its threshold: who is told, what is done."""

    id: str
    rule: str
    metric: str
    value: float
    threshold: float
    severity: str  # "suspected" or "detected"
    owner: str
    action: str  # the first of `actions`; log where there is none
    window: str
    message: str
    # Earlier releases knew no episodes: their items belong to no alert.
    alert: str = ""  # id of the alert: hash of loop, rule and the window that raised it; empty: of none
    event: Event = Event.RAISED
    since: str = ""  # the window that raised the alert
    windows: int = 1  # for which it has been open
    rested: int = 0  # windows since it was raised last
    quiet: int = 0  # measured windows in a row in which the rule did not hold
    escalated: bool = False
    actions: tuple[str, ...] = ()  # what is to be done because of this item
    tell: tuple[str, ...] = ()  # channels that are told of it
    runbook: str = ""
    silent: bool = False  # somebody has acknowledged it

    @property
    def open(self) -> bool:
        """Does the alert go on."""
        return bool(self.alert) and self.event not in (Event.RESOLVED, Event.WITHDRAWN)

    @property
    def due(self) -> tuple[str, ...]:
        """What is to be carried out; also of an item that an earlier release wrote down and was killed with."""
        return self.actions or (() if self.action == "log" else (self.action,))


class Done(enum.Enum):
    """What came of an action."""

    DONE = "done"
    WOULD = "would"  # act.dry_run: nothing was done
    LIMITED = "limited"  # act.limits: as many were done already; nothing was done
    REFUSED = "refused"  # it could not be done; the reason says why


@record
class Acted:
    """One action of an item, and what came of it."""

    id: str  # idempotency key: hash of the item and the action; what is done carries it
    item: str
    alert: str
    rule: str
    action: str
    window: str
    state: Done
    reason: str
    model: str = ""  # fallback, rollback: the model that came into production
    displaced: str = ""  # and the one that left


@record
class Word:
    """What a person said: to an alert (acknowledged), or to an action that was carried out (undone)."""

    of: str  # id of the alert, or of the Acted
    by: str
    note: str


@record
class Request:
    """The next decision is asked for a retrain or retune. Spent by that decision, or taken back."""

    of: str  # id of the Acted
    action: str  # retrain or retune; empty: the one before is taken back
    reason: str
    actor: str = "loop"


@record
class Quarantine:
    """A window is not used for training, nor as a reference, until it is let out."""

    window: str
    of: str  # id of the Acted
    out: bool  # True: it is left out from now on
    reason: str
    actor: str = "loop"
