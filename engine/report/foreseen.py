"""What monitoring says of labels: estimates before they are in and how they came out, labels in part or corrected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.records import Cycle, Scored
from engine.report import parts, words
from engine.report.markup import Markup

COLUMNS = ("window", "expected", "realised", "inside", "why not")


def table(cycles: Sequence[Cycle], primary: str) -> Markup | None:
    """Each window's estimate of the primary metric before its labels were in, beside what it came to; None where no
    window has one."""
    came: dict[tuple[str, str], Scored] = {}
    for cycle in cycles:
        for one in cycle.monitor.scored if cycle.monitor else ():
            if one.metric == primary:
                came[one.window, one.model] = one
    rows = []
    for cycle in cycles:
        made = cycle.monitor.estimated if cycle.monitor else None
        found = words.metric(made.metrics, primary) if made else None
        if made is None or found is None:
            continue
        known = came.get((made.window, made.model))
        rows.append((
            made.window,
            words.NONE if found.reason else parts.whole(words.interval(found)),
            words.number(known.realised, 3) if known else words.NONE,
            words.NONE if known is None else ("yes" if known.inside else "no"),
            found.reason,
        ))  # fmt: skip
    caption = (
        f"Expected {primary} of each window before its labels were in, if they follow from rows as they did; what was "
        "missed on labelled windows since widens it"
    )
    return parts.table(f"{caption}{_score(cycles, primary)}", COLUMNS, rows, numeric=("realised",)) if rows else None


def _score(cycles: Sequence[Cycle], primary: str) -> str:
    """How good the estimates were so far, behind a caption."""
    told = [s for c in cycles if c.monitor for s in c.monitor.scores if s.metric == primary]
    if not told:
        return ""
    newest = told[-1]
    error, held = words.number(newest.mean_absolute_error, 3), words.percent(newest.coverage)
    return f": off by {error} on average over {newest.n} windows, intervals held {held}"


def attention(cycle: Cycle) -> Iterator[str]:
    """What a person should look at."""
    if cycle.monitor is None:
        return
    performance = cycle.monitor.performance
    if performance is not None and performance.reason:
        yield f"{cycle.window}: performance on {performance.window} is not trusted: {performance.reason}."
    for correction in cycle.monitor.corrections:
        made = correction.performance
        yield f"{cycle.window}: labels of {made.window} were corrected; {made.model[:8]} was judged on it anew."
