"""Alerts as the ledger tells them: which are open, who has them in hand, what was done, and whether it helped. Pure.

An alert that acted was helped where, within a stated number of windows after its first action, its rule was good again
for as long as `resolve` asks, or a model was promoted on evidence, which means that its gates found it better. That is
what came after the action, and no proof that it came because of it. An action that a person took back did not help.
Precision is the share of alerts that were helped of those that acted and of which that can be told by now.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence

from engine.records import Acted, ActionItem, Done, Event, Route, Stage, StageChange, Word, from_plain
from engine.records.estimates import Estimate, record, wilson
from engine.records.items import ACKNOWLEDGED, ACTED, ITEM, UNDONE
from engine.records.rows import LedgerRow

CONFIDENCE = 0.95
WORDS = {Done.DONE: "done", Done.WOULD: "would be done", Done.LIMITED: "not done", Done.REFUSED: "cannot be done"}


class State(enum.Enum):
    """How an alert stands."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Helped(enum.Enum):
    """What came after the actions of an alert."""

    YES = "helped"
    NO = "did not help"
    EARLY = "too early to tell"
    NOTHING = "nothing was done"


@record
class Alert:
    """One episode of one rule."""

    id: str
    rule: str
    metric: str
    severity: str
    owner: str
    state: State
    since: str  # the window that raised it
    until: str  # the window that resolved it; empty: it goes on
    windows: int
    message: str  # of its newest item
    escalated: bool
    acknowledged: Word | None
    acted: tuple[Acted, ...]
    undone: tuple[Word, ...]
    helped: Helped
    why: str  # in words

    @property
    def done(self) -> tuple[Acted, ...]:
        """What was carried out."""
        return tuple(acted for acted in self.acted if acted.state is Done.DONE)


@record
class Tally:
    """The alerts of one rule, or of all of them."""

    rule: str  # empty: of all
    raised: int
    open: int  # not acknowledged
    acknowledged: int
    resolved: int
    acted: int
    helped: int
    early: int  # acted, and too early to tell
    precision: Estimate  # helped of acted, those of which it can be told; NaN where there is none


def alerts_of(rows: Iterable[LedgerRow], within: int) -> tuple[Alert, ...]:
    """All alerts, in the order in which they were raised.

    Items of releases that knew no alerts, and of metrics that could not be computed while no alert was open, belong to
    none.

    Args:
        rows: of the ledger, oldest first; those of other kinds are passed over.
        within: windows after the first action of an alert, in which it must have helped.
    """
    ledger = _Ledger(rows)
    return tuple(ledger.alert(id, items, within) for id, items in ledger.items.items())


def blind(rows: Iterable[LedgerRow]) -> tuple[ActionItem, ...]:
    """Rules whose metric could not be computed in the newest window that has items: alarms that cannot ring."""
    items = [row for row in rows if row.kind == ITEM]
    newest = [from_plain(ActionItem, row.payload) for row in items if row.window == items[-1].window]
    return tuple(item for item in newest if item.event is Event.UNDECIDABLE)


def tally(alerts: Sequence[Alert]) -> tuple[Tally, ...]:
    """Each rule, in the order of its first alert; then all."""
    rules = dict.fromkeys(alert.rule for alert in alerts)
    return (*(_tally(rule, [a for a in alerts if a.rule == rule]) for rule in rules), _tally("", alerts))


def said(acted: Acted) -> str:
    """What came of an action, in a few words."""
    reason = "" if acted.state in (Done.DONE, Done.WOULD) else f": {acted.reason}"
    return f"{acted.action} {WORDS[acted.state]}{reason}"


def _tally(rule: str, alerts: Sequence[Alert]) -> Tally:
    helped, missed, early = (sum(a.helped is h for a in alerts) for h in (Helped.YES, Helped.NO, Helped.EARLY))
    states = [alert.state for alert in alerts]
    return Tally(
        rule=rule,
        raised=len(alerts),
        open=states.count(State.OPEN),
        acknowledged=states.count(State.ACKNOWLEDGED),
        resolved=states.count(State.RESOLVED),
        acted=helped + missed + early,
        helped=helped,
        early=early,
        precision=_share(helped, helped + missed),
    )


def _share(helped: int, of: int) -> Estimate:
    low, high = wilson(helped, of, CONFIDENCE)
    return Estimate(
        name="alert precision",
        value=helped / of if of else float("nan"),
        low=low,
        high=high,
        n=of,
        confidence_level=CONFIDENCE,
        method="Wilson",
        reason="" if of else "no alert has acted long enough ago",
    )


class _Ledger:
    """What the rows say of alerts, sorted."""

    def __init__(self, rows: Iterable[LedgerRow]) -> None:
        self.items: dict[str, list[ActionItem]] = {}  # by alert
        self._acted: dict[str, list[Acted]] = {}  # by alert
        self._words: dict[str, dict[str, Word]] = {ACKNOWLEDGED: {}, UNDONE: {}}
        self._place: dict[str, int] = {}  # of a window, in the order in which they were decided on
        self._promoted: dict[str, str] = {}  # window -> model that came into production on evidence
        for row in rows:
            self._add(row)

    def _add(self, row: LedgerRow) -> None:
        if row.kind in (ITEM, "cycle"):
            self._place.setdefault(row.window, len(self._place))
        if row.kind == ITEM and row.payload.get("alert"):
            item = from_plain(ActionItem, row.payload)
            self.items.setdefault(item.alert, []).append(item)
        elif row.kind == ACTED:
            acted = from_plain(Acted, row.payload)
            self._acted.setdefault(acted.alert, []).append(acted)
        elif row.kind in self._words:
            self._words[row.kind].setdefault(row.payload["of"], from_plain(Word, row.payload))
        elif row.kind == "stage":
            change = from_plain(StageChange, row.payload)
            if change.target is Stage.PRODUCTION and change.route is Route.EVIDENCE:
                self._promoted[row.window] = change.model

    def alert(self, id: str, items: Sequence[ActionItem], within: int) -> Alert:
        """One alert, from its items."""
        newest, acted = items[-1], tuple(self._acted.get(id, ()))
        acknowledged = self._words[ACKNOWLEDGED].get(id)
        state = State.RESOLVED if not newest.open else State.ACKNOWLEDGED if acknowledged else State.OPEN
        helped, why = self._helped(items, [a for a in acted if a.state is Done.DONE], within)
        return Alert(
            id=id,
            rule=newest.rule,
            metric=newest.metric,
            severity=newest.severity,
            owner=newest.owner,
            state=state,
            since=newest.since,
            until="" if newest.open else newest.window,
            windows=newest.windows,
            message=newest.message,
            escalated=newest.escalated,
            acknowledged=acknowledged,
            acted=acted,
            undone=tuple(word for a in acted if (word := self._words[UNDONE].get(a.id))),
            helped=helped,
            why=why,
        )

    def _helped(self, items: Sequence[ActionItem], done: Sequence[Acted], within: int) -> tuple[Helped, str]:
        if not done:
            return Helped.NOTHING, ""
        left = [acted for acted in done if acted.id not in self._words[UNDONE]]
        if not left:
            word = self._words[UNDONE][done[-1].id]
            return Helped.NO, f"{word.by} took it back"
        first = self._place[left[0].window]
        good = self._good_again(items)
        if good and 0 < self._place[good] - first <= within:
            return Helped.YES, f"good again in {good}"
        for window, model in self._promoted.items():
            if 0 < self._place.get(window, 0) - first <= within:
                return Helped.YES, f"{model[:8]} was promoted in {window}"
        if len(self._place) - 1 - first < within:
            return Helped.EARLY, ""
        return Helped.NO, f"neither good again nor a model promoted within {within} windows"

    def _good_again(self, items: Sequence[ActionItem]) -> str:
        """The first of the good windows that resolved the alert; empty: it is not resolved, or its rule is gone."""
        if items[-1].event is not Event.RESOLVED:
            return ""
        begun = items[-1]
        for item in reversed(items):
            if item.quiet == 0:
                break
            begun = item
        return begun.window
