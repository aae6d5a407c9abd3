"""Which rules hold in a cycle, and what each alert has to say of it.

A rule names a metric, a comparison and a threshold. It holds when the comparison did in `windows` of the last `within`
windows that measured the metric (in that many in a row, where `within` is not given). Then an alert begins, and goes on
until the rule has not held in `resolve` measured windows in a row:

    raised       it begins: its owner and channels are told, its actions carried out
    again        it still holds, and `cooldown` windows have passed since it was raised: told and acted on again
    escalated    open for `escalate.after` windows and nobody has acknowledged it: detected, and others are told, too
    open         it goes on, nothing new: in the report, and no message; so is all of an alert that is acknowledged
    resolved     it is good again

Every cycle makes one item of an open alert, from the item before: so the ledger is all that is remembered, and a window
that was killed and runs again says the same. A metric that is NaN is itself an item, and so is one of the model that
was not computed though performance was: an alarm that cannot be raised must not look like silence. A metric of a stage
that did not run in this window says nothing. Such items are told and do nothing else, for nothing is known.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from engine.act.conf import COMPARISONS, ActConf, RuleConf
from engine.act.metrics import metrics_of
from engine.records import ActionItem, Cycle, Event, digest

NOTHING: Mapping[str, ActionItem] = {}


def act(
    history: Sequence[Mapping[str, float]],
    cycle: Cycle,
    conf: ActConf,
    before: Mapping[str, ActionItem] = NOTHING,
    acknowledged: Collection[str] = (),
) -> tuple[ActionItem, ...]:
    """The items of this cycle, at most one a rule.

    Args:
        history: metrics_of the cycles before, oldest first.
        before: the newest item of each rule in the cycles before, by the rule's name.
        acknowledged: ids of the alerts that somebody has in hand.
    """
    metrics = [*history, metrics_of(cycle)]
    found = [
        _Look(name, rule, cycle, metrics, before.get(name), acknowledged).item() for name, rule in conf.rules.items()
    ]
    gone = [_withdrawn(item, cycle) for name, item in before.items() if name not in conf.rules and item.open]
    return tuple(item for item in (*found, *gone) if item is not None)


@dataclass(frozen=True)
class _Look:
    """One rule in one cycle."""

    name: str
    rule: RuleConf
    cycle: Cycle
    metrics: Sequence[Mapping[str, float]]  # of all cycles, that of this one last
    before: ActionItem | None
    acknowledged: Collection[str]

    def item(self) -> ActionItem | None:
        """What there is to say; None: nothing."""
        return self._goes_on(self.before) if self.before and self.before.open else self._begins()

    def _begins(self) -> ActionItem | None:
        if self.unknown:
            return self._made(Event.UNDECIDABLE, self.unknown)
        if not self.rings:
            return None
        window = self.cycle.window
        begun = self._made(Event.RAISED, self.said)
        return replace(begun, alert=digest("alert", self.cycle.loop, self.name, window), since=window)

    def _goes_on(self, before: ActionItem) -> ActionItem:
        """The next item of an open alert."""
        good = self.measured and not self.holds
        quiet = 0 if self.holds or self.unknown else before.quiet + good
        windows, rested = before.windows + 1, before.rested + 1
        silent = before.alert in self.acknowledged
        after = self.rule.escalate.after
        if quiet >= self.rule.resolve:
            event, said = Event.RESOLVED, f"{self._value} is good again"
        elif after and windows > after and not silent and not before.escalated:
            event, said = Event.ESCALATED, f"open for {windows} windows and nobody acknowledged it; {self.said}"
        elif self.unknown:
            event, said = Event.UNDECIDABLE, self.unknown
        elif self.rings and rested > self.rule.cooldown and not silent:
            event, said, rested = Event.AGAIN, self.said, 0
        else:
            event, said = Event.OPEN, self.said
        escalated = before.escalated or event is Event.ESCALATED
        return replace(
            self._made(event, said, escalated=escalated),
            alert=before.alert,
            since=before.since,
            windows=windows,
            rested=rested,
            quiet=quiet,
            escalated=escalated,
            silent=silent,
        )

    # ---- what is measured ------------------------------------------------------------------------------------------

    @property
    def value(self) -> float:
        """Of the metric in this cycle; NaN where it has none."""
        return self.metrics[-1].get(self.rule.metric, math.nan)

    @property
    def measured(self) -> bool:
        """Is the metric known in this cycle."""
        return not math.isnan(self.value)

    @property
    def unknown(self) -> str:
        """What should have been measured and was not; empty: nothing."""
        metric, now = self.rule.metric, self.metrics[-1]
        if metric in now:
            return "" if self.measured else f"{metric} cannot be computed"
        performed = any(name.startswith("model.") for name in now)
        return f"{metric} is not computed: see evaluate.metrics" if performed and metric.startswith("model.") else ""

    @property
    def holds(self) -> bool:
        """Does the rule hold; not in a cycle that did not measure its metric."""
        return self.measured and self._count >= self.rule.windows

    @property
    def rings(self) -> bool:
        """Does it hold, and in this very window: nothing is begun or done because of windows that are over."""
        return self.holds and COMPARISONS[self.rule.when](self.value, self.rule.threshold)

    @property
    def _count(self) -> int:
        """In how many of the newest windows that measured it the comparison holds."""
        metric, compare = self.rule.metric, COMPARISONS[self.rule.when]
        newest = [m[metric] for m in self.metrics if metric in m][-self.rule.span :]
        return sum(compare(value, self.rule.threshold) for value in newest)

    # ---- what is said ----------------------------------------------------------------------------------------------

    @property
    def _value(self) -> str:
        return f"{self.rule.metric} = {self.value:.4g}"

    @property
    def said(self) -> str:
        """The metric, in words."""
        rule = self.rule
        if not self.measured:
            return f"{rule.metric} was not measured"
        against = f"{rule.when} {rule.threshold:.4g}"
        if not self.holds:
            return f"{self._value}, no more {against}"
        if rule.span > rule.windows:
            said = f"{self._value}; {against} in {self._count} of {rule.span} windows"
        else:
            said = f"{self._value} {against}" + (f" for {rule.windows} windows" if rule.windows > 1 else "")
        return said + (f"; {rule.runbook}" if rule.runbook else "")

    def _made(self, event: Event, message: str, *, escalated: bool = False) -> ActionItem:
        rule = self.rule
        actions = tuple(rule.carried) if event.acts else ()
        tell = [*rule.tell, *(rule.escalate.tell if escalated else ())] if event.told else []
        detected = escalated and event is not Event.UNDECIDABLE
        return ActionItem(
            id=digest("action", self.cycle.loop, self.cycle.window, self.name),
            rule=self.name,
            metric=rule.metric,
            value=self.value,
            threshold=rule.threshold,
            severity="detected" if detected else "suspected" if event is Event.UNDECIDABLE else rule.severity,
            owner=(escalated and rule.escalate.owner) or rule.owner,
            action=actions[0] if actions else "log",
            window=self.cycle.window,
            message=message,
            event=event,
            actions=actions,
            tell=tuple(dict.fromkeys(tell)),
            runbook=rule.runbook,
        )


def _withdrawn(item: ActionItem, cycle: Cycle) -> ActionItem:
    """The end of an alert whose rule is no more: nobody would ever look at it again."""
    return replace(
        item,
        id=digest("action", cycle.loop, cycle.window, item.rule),
        event=Event.WITHDRAWN,
        window=cycle.window,
        message=f"{item.rule} is no more in act.rules",
        windows=item.windows + 1,
        value=math.nan,
        action="log",
        actions=(),
    )
