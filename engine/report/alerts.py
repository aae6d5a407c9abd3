"""Who was told, what was done, and did it help: the section of the report, and what `tidegate alerts` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from engine.effects.sendings import DELIVERED, sendings
from engine.records import ActionItem, Cycle
from engine.records.rows import LedgerRow
from engine.report import parts, words
from engine.report.alerting import Alert, Helped, Tally, alerts_of, said, tally
from engine.report.markup import Markup
from engine.report.tables import styled, table_of

WITHIN = 3  # windows, where the config of the page says nothing
NONE_YET = "No alert was ever raised."


def section(cycles: Sequence[Cycle], rows: Sequence[LedgerRow], config: Mapping[str, Any]) -> Markup | None:
    """Alerts, what each window had to say of them, and the messages; nothing where there is none of it."""
    items = [item for cycle in cycles for item in cycle.actions]
    if not items:
        return None
    within = int((config.get("act") or {}).get("helped_within", WITHIN))
    alerts = alerts_of(rows, within)
    lead = "A metric of the model or of the pipeline crossed its threshold: who was told, what was done."
    judged = tally_sentence(tally(alerts)[-1], within) if alerts else ""
    return parts.section(
        "actions",
        "Alerts and actions",
        " ".join([lead, *([judged] if judged else []), *_messages(rows)]),
        _alerts(alerts) if alerts else None,
        parts.details("What each window said", _items(cycles), open_=not alerts),
    )


def tally_sentence(told: Tally, within: int) -> str:
    """How many there were, how many led to an action, how many of those helped."""
    of = f"{told.rule}: " if told.rule else ""
    counts = f"{of}{words.many(told.raised, 'alert')}: {told.open} open, {told.acknowledged} acknowledged"
    line = f"{counts}, {told.resolved} resolved; {told.acted} led to an action"
    if told.precision.n:
        p = told.precision
        line += (
            f", and {told.helped} of {p.n} helped within {words.many(within, 'window')}: precision {p.value:.2f}, "
            f"{words.percent(p.confidence_level)} sure of {p.low:.2f} to {p.high:.2f} ({p.method})"
        )
    early = f"; of {told.early} it is too early to tell" if told.early else ""
    return f"{line}{early}."


def alerts_table(alerts: Sequence[Alert]) -> RenderableType:
    """One line an alert, and below it each action with the id to undo it by."""
    table = table_of("id", "rule", "state", "since", ("windows", "right"), "owner", "what happened")
    for alert in alerts:
        table.add_row(
            Text(words.short(alert.id), style="dim"),
            Text(words.clean(alert.rule)),
            styled(alert.state.value),
            Text(words.clean(alert.since)),
            str(alert.windows),
            Text(words.clean(_owner(alert))),
            Text(words.clean(f"{alert.severity}: {alert.message}{_outcome(alert)}")),
        )
        for acted in alert.acted:
            table.add_row(
                Text(words.short(acted.id), style="dim"),
                "",
                styled(acted.state.value),
                Text(words.clean(acted.window)),
                "",
                "",
                Text(words.clean(said(acted)), style="dim"),
            )
    return table if table.row_count else Text(NONE_YET)


def _alerts(alerts: Iterable[Alert]) -> Markup:
    rows = [
        (
            alert.since,
            alert.rule,
            parts.badge(alert.state.value),
            parts.badge(alert.severity),
            str(alert.windows),
            _owner(alert),
            "; ".join(f"{acted.window}: {said(acted)}" for acted in alert.acted),
            "" if alert.helped is Helped.NOTHING else _outcome(alert).removeprefix("; "),
            alert.message,
        )
        for alert in alerts
    ]
    columns = ("since", "rule", "state", "severity", "windows", "told", "done", "helped", "message")
    return parts.table("Alerts", columns, rows, numeric=("windows",))


def _items(cycles: Sequence[Cycle]) -> Markup:
    rows = [(*_cells(item), _done(cycle, item), item.message) for cycle in cycles for item in cycle.actions]
    columns = ("window", "severity", "rule", "event", "value", "threshold", "told", "done", "message")
    return parts.table("Action items", columns, rows)


def _cells(item: ActionItem) -> tuple[object, ...]:
    return (
        item.window,
        parts.badge(item.severity),
        item.rule,
        item.event.value,
        f"{item.metric} {words.number(item.value)}",
        words.number(item.threshold),
        ", ".join((item.owner, *item.tell)),
    )


def _done(cycle: Cycle, item: ActionItem) -> str:
    """What came of it; of an earlier release, what was asked for."""
    return "; ".join(said(acted) for acted in cycle.acted if acted.item == item.id) or item.action


def _owner(alert: Alert) -> str:
    word = alert.acknowledged
    return f"{alert.owner}; {word.by} has it in hand" if word else alert.owner


def _outcome(alert: Alert) -> str:
    taken = f"; taken back by {', '.join(dict.fromkeys(w.by for w in alert.undone))}" if alert.undone else ""
    if alert.helped is Helped.NOTHING:
        return taken
    return f"{taken}; {alert.helped.value}{f': {alert.why}' if alert.why else ''}"


def _messages(rows: Sequence[LedgerRow]) -> list[str]:
    """How many messages were sent, by channel, in a sentence."""
    found = sendings(rows)
    if not found:
        return []
    every, sent = Counter(s.channel for s in found), Counter(s.channel for s in found if s.outcome == DELIVERED)
    told = ", ".join(f"{channel} {sent[channel]} of {count}" for channel, count in every.items())
    return [f"Messages delivered: {told}."]
