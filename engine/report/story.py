"""What a manager reads first: what is in production and how good it is, what happened, what it cost. Pure.

Every sum says where it comes from: spent is what the sweeps cost; avoided is what the decisions themselves
expected waiting to cost, counted only where the challenger did reach production.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.records import Action, Cycle, Decision, DriftOutcome, Estimate, Money, Outcome, Route, Stage, Verdict
from engine.report import decay, foreseen, pipeline, risk, words


@dataclass(frozen=True)
class Fate:
    """A challenger and what became of it: promoted, rejected, inconclusive or waiting."""

    cycle: Cycle
    model: str
    became: str


@dataclass(frozen=True)
class Story:
    """The loop in numbers."""

    windows: int
    production: str  # model, empty: none
    since: str  # window of its promotion, empty: not within these cycles
    standing: Estimate | None
    measured: str  # window of `standing`
    actions: dict[Action, int]  # decisions by action, the founding one left out
    fates: tuple[Fate, ...]
    spent: float
    avoided: Money
    accepted: Money
    currency: str
    attention: tuple[str, ...]

    def count(self, became: str) -> int:
        """Challengers with that fate."""
        return sum(fate.became == became for fate in self.fates)


def tell(cycles: Sequence[Cycle], primary: str) -> Story:
    """The story of cycles in the order of their windows."""
    production = cycles[-1].champion_after if cycles else ""
    measured = [s for cycle in cycles if (s := words.standing(cycle, primary)) is not None]
    newest = measured[-1] if measured else None
    decisions = [cycle.decision for cycle in cycles if cycle.decision is not None and not cycle.founding]
    fates = _fates(cycles)
    paid = [f.cycle.decision for f in fates if f.became == "promoted" and f.cycle.decision is not None]
    return Story(
        windows=len(cycles),
        production=production,
        since=_since(cycles, production),
        standing=newest[0] if newest else None,
        measured=newest[1] if newest else "",
        actions=_counted(decisions),
        fates=fates,
        spent=sum(c.candidate.cost for c in cycles if c.candidate and math.isfinite(c.candidate.cost)),
        avoided=_total(d.waiting for d in paid),
        accepted=_total(d.waiting for d in decisions if d.action is Action.KEEP),
        currency=decisions[-1].currency if decisions else "",
        attention=tuple(_attention(cycles)),
    )


def _counted(decisions: Sequence[Decision]) -> dict[Action, int]:
    """How many decisions took each action; RECALIBRATE, which most loops do not weigh, where one took it."""
    counts = {action: sum(d.action is action for d in decisions) for action in Action}
    return {action: count for action, count in counts.items() if count or action is not Action.RECALIBRATE}


def sentences(story: Story, primary: str) -> list[str]:
    """Three sentences that stand by themselves."""
    return [_production_sentence(story, primary), _year_sentence(story), _money_sentence(story)]


def _production_sentence(story: Story, primary: str) -> str:
    if not story.production:
        return "No model is in production."
    held = f"has been in production since window {story.since}" if story.since else "is in production"
    said = f"Model {words.short(story.production)} {held}."
    if story.standing is None:
        return f"{said} Its {primary} is not known yet: no labels are in."
    e = story.standing
    return (
        f"{said} On {story.measured}, the newest window with labels, production reached {primary} "
        f"{words.interval(e)} ({words.percent(e.confidence_level)} interval, {e.method}, {e.n:,} rows)."
    )


def _year_sentence(story: Story) -> str:
    kept, retrained, retuned = (story.actions[a] for a in (Action.KEEP, Action.RETRAIN, Action.RETUNE))
    recalibrated = story.actions.get(Action.RECALIBRATE, 0)
    mapped = f"{recalibrated} recalibrated it, " if recalibrated else ""
    said = (
        f"In {words.many(story.windows, 'window')}, {words.many(kept, 'decision')} kept the model, "
        f"{mapped}{retrained} retrained it and {retuned} tuned it anew."
    )
    outcome = ", ".join(
        f"{story.count(became)} {word}"
        for became, word in (
            ("promoted", "promoted"),
            ("rejected", "rejected"),
            ("inconclusive", "left undecided"),
            ("waiting", "waiting"),
        )
        if story.count(became)
    )
    return f"{said} Of {words.many(len(story.fates), 'trained model')}: {outcome}." if outcome else said


def _money_sentence(story: Story) -> str:
    unit = story.currency
    said = f"Training cost {words.amount(story.spent, unit)}."
    if math.isfinite(story.avoided.mean) and story.avoided.mean > 0:
        said += f" The promotions avoided an expected loss of {words.money(story.avoided, unit)}."
    if math.isfinite(story.accepted.mean) and story.accepted.mean > 0:
        said += f" Keeping the model accepted an expected loss of {words.money(story.accepted, unit)}."
    return said


def _fates(cycles: Sequence[Cycle]) -> tuple[Fate, ...]:
    promoted = {
        change.model
        for cycle in cycles
        for change in cycle.changes
        if change.target is Stage.PRODUCTION and change.route is not Route.ROLLBACK
    }
    found = []
    for cycle in cycles:
        if cycle.candidate is None:
            continue
        model = cycle.candidate.model
        judged = [v for c in cycles for v in c.verdicts if v.model == model] if model else cycle.verdicts
        found.append(Fate(cycle, model, _became(judged, promoted=model in promoted)))
    return tuple(found)


def _became(verdicts: Iterable[Verdict], *, promoted: bool) -> str:
    """In one word; a model that no gate has refused is still waiting for one."""
    if promoted:
        return "promoted"
    worst = words.worst(v for v in verdicts if not v.waiting)
    refused: dict[Outcome | None, str] = {Outcome.FAIL: "rejected", Outcome.INCONCLUSIVE: "inconclusive"}
    return refused.get(worst, "waiting")


def _attention(cycles: Sequence[Cycle]) -> list[str]:
    """What a person should look at, newest window first; what windows in a row say alike is told once."""
    told: list[tuple[str, list[str]]] = []
    before: set[str] = set()
    for cycle in reversed(cycles):
        found = [line.removeprefix(f"{cycle.window}: ") for line in _notes(cycle)]
        for line in found:
            if line in before:
                next(windows for said, windows in reversed(told) if said == line).append(cycle.window)
            else:
                told.append((line, [cycle.window]))
        before = set(found)
    ranges = ((f"{windows[-1]} to {windows[0]}" if windows[1:] else windows[0], line) for line, windows in told)
    return [f"{when}: {line}" for when, line in ranges]


def _notes(cycle: Cycle) -> list[str]:
    """What a person should look at in one window."""
    found = []
    if cycle.validation.blocked:
        names = ", ".join(sorted({c.name for c in cycle.validation.blocked}))
        found.append(f"the window was blocked by {names}.")
    found += [f"{line}." for report in cycle.labels for line in words.strange(report)]
    alarms = [item for item in cycle.actions if item.event.alarms]
    found += [f"{a.severity}, {a.message} ({a.rule}, told {a.owner})." for a in alarms]
    for verdict in cycle.verdicts:
        if verdict.outcome is Outcome.INCONCLUSIVE and not verdict.waiting:
            rows = max((r.rows_needed for r in verdict.rules), default=0)
            more = f"; about {words.about(rows)} rows would decide" if rows else ""
            found.append(f"gate {verdict.gate} could not decide{more}.")
    found += [*pipeline.attention(cycle), *foreseen.attention(cycle), *risk.attention(cycle), *decay.attention(cycle)]
    if cycle.monitor is not None:
        lost = [c.column for c in cycle.monitor.baseline.columns if c.outcome is DriftOutcome.UNDECIDABLE]
        if lost:
            found.append(f"drift of {', '.join(lost)} is undecidable.")
    return found


def _since(cycles: Sequence[Cycle], production: str) -> str:
    """The window in which the present holder came into production, the last time it did."""
    since = ""
    for cycle in cycles:
        for change in cycle.changes:
            if change.target is Stage.PRODUCTION and change.model == production:
                since = cycle.window
    return since


def _total(amounts: Iterable[Money]) -> Money:
    """Sum of independent amounts; what is undecidable is left out."""
    known = [amount for amount in amounts if math.isfinite(amount.mean)]
    variance = sum(a.std**2 for a in known if math.isfinite(a.std))
    return Money(mean=sum(a.mean for a in known), std=math.sqrt(variance))
