"""The primary metric of the deployed model by window, against what it was when the model was promoted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from engine.records import Cycle, Decay, RiskOutcome
from engine.records.estimates import points
from engine.report import parts, words
from engine.report.markup import Markup

COLUMNS = (
    "window", "labelled to", "metric", "reference", "points below", "outcome", "seen from", "costs a window", "why",
)  # fmt: skip


def section(cycles: Sequence[Cycle]) -> Markup:
    """How to read it, and the table."""
    told = [(cycle.window, cycle.monitor.decay) for cycle in cycles if cycle.monitor and cycle.monitor.decay]
    if not told:
        return parts.section("decay", "Decay", "Nothing is held against a reference yet: there is no model to hold.")
    newest = told[-1][1]
    lead = (
        f"{newest.metric} of the model in production on each labelled window, against what it was on its hold-out and "
        f"on the windows before a drop. A point is {newest.point:g}. An alarm says that it lies more than "
        f"{points(newest.tolerance)} below; windows may differ by {points(newest.between)} for no reason. A model "
        f"that loses no more has a chance of at most {words.percent(newest.delta)} of ever an alarm, however often one "
        "looks. A drop is told where it is most likely, with bounds that hold at any time looked; `seen from` is how "
        "many points it would have to be for an alarm by now."
    )
    rows = [_row(window, decay) for window, decay in told]
    caption = f"{newest.metric} against its reference by window"
    numeric = ("reference", "seen from", "costs a window")
    return parts.section("decay", "Decay", lead, parts.table(caption, COLUMNS, rows, numeric=numeric))


def attention(cycle: Cycle) -> Iterator[str]:
    """What a person should look at."""
    found = cycle.monitor.decay if cycle.monitor is not None else None
    if found is not None and found.outcome is RiskOutcome.ALARM:
        yield f"{cycle.window}: the model decays since {found.began}: {found.reason}{_loses(found)}."


def _loses(decay: Decay) -> str:
    known = math.isfinite(decay.cost) and decay.point_value > 0
    return f"; a window costs {words.amount(decay.cost, decay.currency)}" if known else ""


def _row(window: str, decay: Decay) -> tuple[object, ...]:
    newest, drop = decay.newest, decay.drop
    seen = math.isfinite(drop.value)
    alarm = decay.outcome is RiskOutcome.ALARM
    return (
        parts.whole(window),
        decay.windows[-1] if decay.windows else words.NONE,
        parts.whole(words.interval(newest)) if newest and math.isfinite(newest.value) else words.NONE,
        words.number(decay.reference if seen else decay.source.value, 3),
        parts.whole(f"{words.interval(drop, extra=1)} from {decay.began}") if seen else words.NONE,
        parts.badge(decay.outcome.value),
        words.number(decay.detectable, 1) if math.isfinite(decay.detectable) else words.NONE,
        words.amount(decay.cost, decay.currency) if alarm else words.NONE,
        decay.reason,
    )
