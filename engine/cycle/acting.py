"""Carries action items out, inside the house, and tells the channels of them.

In this order, so that a kill between any two steps takes nothing: the item is recorded, with what is to be done; each
action is done under an id that is a hash of the item; what came of it is recorded; the message is posted in the outbox.
Run again, the cycle finds what was done by its id, and does the rest. Messages are delivered when the cycle is over.

    freeze       no model is promoted until somebody thaws it
    rollback     production goes back to the champion before; the present one is quarantined
    fallback     production goes to `act.fallback`, by the word of the rule's owner; the present one is retired, and may
                 return
    retrain      the next decision is to retrain (retune: to tune anew), whatever its policy says; its guards hold
    quarantine   the window is not trained on, not judged on, and no reference, until somebody lets it out

What cannot be done is said, and the loop goes on: it must not stop watching at just this moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from engine.act import act
from engine.cycle.past import Past
from engine.cycle.setting import Confs, Ports
from engine.cycle.telling import deliver, message_of
from engine.errors import InputError, OvertakenError
from engine.promote.rollback import fall_back, rollback
from engine.records import (
    Acted,
    ActionItem,
    Cycle,
    Done,
    Quarantine,
    Request,
    Stage,
    StageChange,
    digest,
    from_plain,
    to_plain,
)
from engine.records.items import ACTED, FREEZE, ITEM, QUARANTINE, REQUEST

Changes = tuple[StageChange, ...]


class Record(Protocol):
    """Writes a record, once (Steps.record)."""

    def __call__(self, kind: str, id: str, value: Any, cycle: Cycle) -> Any: ...


class Acting:
    """The actions of one loop."""

    def __init__(self, confs: Confs, ports: Ports, record: Record) -> None:
        self.confs, self.ports, self.record = confs, ports, record
        self._do: Mapping[str, Callable[[ActionItem, Cycle, str], Changes]] = {
            "freeze": self._freeze,
            "rollback": self._roll_back,
            "fallback": self._fall_back,
            "retrain": self._request("retrain"),
            "retune": self._request("retune"),
            "quarantine": self._quarantine,
        }

    def act(self, cycle: Cycle, past: Past) -> Cycle:
        """What must happen because of this cycle."""
        for found in act(past.metrics, cycle, self.confs.act, past.items, past.acknowledged):
            item = self.record(ITEM, found.id, found, cycle)
            cycle = replace(cycle, actions=(*cycle.actions, item))
            before = len(cycle.acted)
            for action in item.due:
                acted, changes = self._carry_out(item, action, cycle, past)
                cycle = replace(cycle, acted=(*cycle.acted, acted), changes=(*cycle.changes, *changes))
            self._post(item, cycle.acted[before:])
        return cycle

    def deliver(self) -> None:
        """Try to send what is due."""
        if self.ports.outbox is not None:
            with self.ports.watch.lap("deliver"):
                deliver(self.ports.outbox, self.confs.act, self.ports.console.warn)

    # ---- one action ------------------------------------------------------------------------------------------------

    def _carry_out(self, item: ActionItem, action: str, cycle: Cycle, past: Past) -> tuple[Acted, Changes]:
        """Do it, unless it must not be done; either way it is recorded, and the record counts."""
        key = digest(action, item.id)
        id, ledger = digest(ACTED, key), self.ports.ledger
        known = ledger.find(id)
        if known is not None:
            return from_plain(Acted, known.payload), ledger.move_of(key)
        state, reason = Done.DONE, ""
        changes: Changes = ()
        if ledger.find(key) is None:  # else it was done before a kill
            state, reason = self._held(action, cycle, past)
        if state is Done.DONE:
            try:
                changes = self._do[action](item, cycle, key)
            except (InputError, OvertakenError) as error:
                self.ports.console.warn(f"{cycle.window}: {item.rule} asks for a {action} that cannot be done: {error}")
                state, reason = Done.REFUSED, str(error)
        acted = Acted(
            id=id,
            item=item.id,
            alert=item.alert,
            rule=item.rule,
            action=action,
            window=cycle.window,
            state=state,
            reason=reason or item.message,
            model=changes[0].model if changes else "",
            displaced=changes[1].model if changes else "",
        )
        return self.record(ACTED, id, acted, cycle), changes

    def _held(self, action: str, cycle: Cycle, past: Past) -> tuple[Done, str]:
        """May it be done, by the config; why not."""
        conf = self.confs.act
        if conf.dry_run:
            return Done.WOULD, "act.dry_run: nothing was done"
        limit = conf.limits.get(action)
        if limit is not None:
            now = sum(a.action == action and a.state is Done.DONE for a in cycle.acted)
            count = past.carried(action, limit.windows) + now
            if count >= limit.most:
                return Done.LIMITED, f"{count} in {limit.windows} windows, act.limits allows {limit.most}"
        return Done.DONE, ""

    def _freeze(self, item: ActionItem, cycle: Cycle, key: str) -> Changes:
        frozen = {"frozen": True, "reason": f"{item.rule}: {item.message}", "actor": "loop"}
        self.ports.ledger.append(FREEZE, key, frozen, window=cycle.window)
        return ()

    def _roll_back(self, item: ActionItem, cycle: Cycle, key: str) -> Changes:
        self._check_champion(cycle, key)
        ledger, store = self.ports.ledger, self.ports.store
        return rollback(ledger, store, reason=item.message, actor=item.owner, window=cycle.window, id=key)

    def _fall_back(self, item: ActionItem, cycle: Cycle, key: str) -> Changes:
        self._check_champion(cycle, key)
        ledger, store, to = self.ports.ledger, self.ports.store, self.confs.act.fallback
        if not to and self._fell_back(key):
            raise InputError("production", f"the fallback {cycle.champion[:12]} is there already", "nothing to do")
        reason = f"standing order of rule {item.rule}: {item.message}"
        return fall_back(ledger, store, to=to, reason=reason, actor=item.owner, window=cycle.window, id=key)

    def _fell_back(self, key: str) -> bool:
        """Did the present champion come by an earlier fallback: the one before it is what was fled from."""
        came = [change.id for change in self.ports.ledger.changes() if change.target is Stage.PRODUCTION]
        before = self.ports.ledger.find(digest(ACTED, came[-1])) if came and came[-1] != key else None
        return before is not None and before.payload["action"] == "fallback"

    def _check_champion(self, cycle: Cycle, key: str) -> None:
        """The rule speaks of the champion that the cycle began with: one that has left since is not to be removed."""
        head = self.ports.ledger.head(Stage.PRODUCTION)
        if self.ports.ledger.find(key) is None and (head.model if head else "") != cycle.champion:
            raise OvertakenError("the champion that the rule is about has left production since")

    def _request(self, action: str) -> Callable[[ActionItem, Cycle, str], Changes]:
        def ask(item: ActionItem, cycle: Cycle, key: str) -> Changes:
            request = Request(of=digest(ACTED, key), action=action, reason=f"{item.rule}: {item.message}")
            self.ports.ledger.append(REQUEST, key, to_plain(request), window=cycle.window)
            return ()

        return ask

    def _quarantine(self, item: ActionItem, cycle: Cycle, key: str) -> Changes:
        if cycle.founding:
            what, cure = "it founded the loop, and all is held against it", "begin a loop of another name"
            raise InputError(f"quarantine:{cycle.window}", what, cure)
        reason = f"{item.rule}: {item.message}"
        out = Quarantine(window=cycle.window, of=digest(ACTED, key), out=True, reason=reason)
        self.ports.ledger.append(QUARANTINE, key, to_plain(out))
        return ()

    # ---- who is told -----------------------------------------------------------------------------------------------

    def _post(self, item: ActionItem, acted: tuple[Acted, ...]) -> None:
        """One message to each channel of an item, once."""
        known = [name for name in item.tell if name in self.confs.act.channels]
        if not known or self.ports.outbox is None:
            return
        message = message_of(self.confs.loop.name, item, acted)
        with self.ports.watch.lap("ledger"):
            self.ports.outbox.post(message, known)
