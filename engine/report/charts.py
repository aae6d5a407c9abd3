"""The pictures of the report, drawn as SVG without any script; each mark says its numbers in its title.

Nothing is said by colour alone: outcomes have a shape, drifting cells a dot, undecidable ones a question
mark.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.records import Decision, Estimate, Outcome
from engine.report import words
from engine.report.axes import Band, Scale, band, drawing, grid, spread, text, window_names
from engine.report.marks import outcome_class, shape
from engine.report.markup import Markup, tag
from engine.report.parts import typeset


@dataclass(frozen=True)
class Point:
    """A measurement in the timeline: of production, or of a challenger with its gate's outcome."""

    column: int
    estimate: Estimate
    model: str
    outcome: Outcome | None = None  # None: it was in production


@dataclass(frozen=True)
class Tenure:
    """A model in production from one column to another, both included."""

    model: str
    first: int
    last: int


def timeline(
    names: Sequence[str],
    points: Sequence[Point],
    tenures: Sequence[Tenure],
    alarms: Mapping[int, str],
    primary: str,
) -> Markup | None:
    """The primary metric window by window with its intervals; below it, which model was in production."""
    columns, top, bottom = band(names, 64.0), 30.0, 270.0
    scale = spread((v for p in points for v in (p.estimate.low, p.estimate.value, p.estimate.high)), bottom, top)
    if scale is None:
        return None
    changes = [
        tag("line", x1=x, x2=x, y1=top - 8, y2=bottom + 52, class_="change")
        for x in (columns.left + columns.step * t.first for t in tenures if t.first > 0)
    ]
    bells = [
        tag(
            "g",
            tag("title", said),
            text(columns.middle(i), top - 10, "\u25b2", anchor="middle", class_="alarm"),
        )
        for i, said in alarms.items()
    ]
    height = bottom + 60
    return drawing(
        f"{primary} of the model in production and of its challengers, by window, with intervals",
        columns.right + 16,
        height,
        grid(scale, columns.left, columns.right),
        changes,
        _champion_line(columns, scale, points),
        [_point(columns, scale, p) for p in points],
        bells,
        window_names(columns, bottom + 20),
        [_tenure(columns, tenure, bottom + 28) for tenure in tenures],
        text(columns.left - 8, bottom + 43, "in prod.", anchor="end", class_="soft"),
    )


def money_bars(names: Sequence[str], decisions: Mapping[int, Decision]) -> Markup | None:
    """Expected loss of waiting beside expected cost of acting, with one standard deviation; the action."""
    columns, top, bottom = band(names, 64.0), 14.0, 190.0
    sides = [amount for d in decisions.values() for amount in (d.waiting, d.acting)]
    ends = [a.mean + sign * (a.std if math.isfinite(a.std) else 0.0) for a in sides for sign in (1, -1)]
    finite = [end for end in ends if math.isfinite(end)]
    if not finite:
        return None
    high, low = max(*finite, 1e-9), min(*finite, 0.0)
    scale = Scale(low * 1.05, high * 1.05, bottom, top)
    bars = [_pair(columns, scale, i, decision) for i, decision in decisions.items()]
    words_of = [
        text(columns.middle(i), bottom + 37, d.action.value, anchor="middle", class_=f"act-{d.action.value}")
        for i, d in decisions.items()
        if columns.step >= 44
    ]
    return drawing(
        "Expected loss of waiting and expected cost of acting, by window",
        columns.right + 16,
        bottom + 46,
        grid(scale, columns.left, columns.right),
        bars,
        tag("line", x1=columns.left, x2=columns.right, y1=scale(0.0), y2=scale(0.0), class_="axis"),
        window_names(columns, bottom + 20),
        words_of,
    )


def stacked_seconds(
    names: Sequence[str], stages: Sequence[str], timings: Sequence[Mapping[str, float]]
) -> Markup | None:
    """Wall time of each window, by stage from the bottom up in the order of `stages`."""
    columns, top, bottom = band(names, 64.0), 14.0, 190.0
    highest = max((sum(t.values()) for t in timings), default=0.0)
    if highest <= 0:
        return None
    scale = Scale(0.0, highest * 1.05, bottom, top)
    parts = []
    for i, spent in enumerate(timings):
        base = 0.0
        for hue, stage in enumerate(stages):
            seconds = spent.get(stage, 0.0)
            if seconds > 0:
                said = f"{columns.names[i]}: {stage} {words.duration(seconds)}"
                x = columns.left + columns.step * (i + 0.2)
                parts.append(_bar(x, columns.step * 0.6, scale(base), scale(base + seconds), said, f"hue{hue}"))
                base += seconds
    return drawing(
        "Seconds of wall time by window and stage",
        columns.right + 16,
        bottom + 28,
        grid(scale, columns.left, columns.right),
        parts,
        tag("line", x1=columns.left, x2=columns.right, y1=bottom, y2=bottom, class_="axis"),
        window_names(columns, bottom + 20),
    )


def _champion_line(columns: Band, scale: Scale, points: Sequence[Point]) -> list[Markup]:
    """A line through what one model reached in production; another model starts another line."""
    shown = [p for p in points if p.outcome is None and math.isfinite(p.estimate.value)]
    in_order = sorted(shown, key=lambda point: point.column)
    runs = [list(run) for _, run in itertools.groupby(in_order, key=lambda point: point.model)]
    return [
        tag(
            "polyline",
            points=" ".join(f"{columns.middle(p.column):.1f},{scale(p.estimate.value):.1f}" for p in run),
            class_="trend",
        )
        for run in runs
        if len(run) > 1
    ]


def _point(columns: Band, scale: Scale, point: Point) -> Markup | None:
    estimate = point.estimate
    if not math.isfinite(estimate.value):
        return None
    aside = 0.0 if point.outcome is None else min(14.0, columns.step * 0.22)
    x, y = columns.middle(point.column) + aside, scale(estimate.value)
    role = "in production" if point.outcome is None else f"challenger, {point.outcome.value}"
    said = (
        f"{columns.names[point.column]}: {words.short(point.model)} ({role}) {words.interval(estimate)}, "
        f"{words.percent(estimate.confidence_level)} interval by {estimate.method} on {estimate.n:,} rows"
    )
    bar = None
    if math.isfinite(estimate.low) and math.isfinite(estimate.high):
        low, high = scale(estimate.low), scale(estimate.high)
        d = f"M{x:.1f} {low:.1f}V{high:.1f}M{x - 4:.1f} {low:.1f}h8M{x - 4:.1f} {high:.1f}h8"
        bar = tag("path", d=d, class_=f"whisker {outcome_class(point.outcome)}")
    return tag("g", tag("title", said), bar, shape(point.outcome, x, y))


def _tenure(columns: Band, tenure: Tenure, y: float) -> Markup:
    x = columns.left + columns.step * tenure.first + 2
    width = columns.step * (tenure.last - tenure.first + 1) - 4
    name = words.short(tenure.model) if width > 66 else ""
    said = f"{tenure.model} in production from {columns.names[tenure.first]} to {columns.names[tenure.last]}"
    return tag(
        "g",
        tag("title", said),
        tag("rect", x=x, y=y, width=width, height=20.0, rx=4, class_="tenure"),
        text(x + width / 2, y + 14, name, anchor="middle", class_="mono"),
    )


def _pair(columns: Band, scale: Scale, column: int, decision: Decision) -> Markup:
    """Two bars, waiting left of acting."""
    parts: list[object] = []
    wide = columns.step * 0.3
    for side, (name, amount) in enumerate((("waiting", decision.waiting), ("acting", decision.acting))):
        x = columns.left + columns.step * (column + 0.18) + side * (wide + columns.step * 0.04)
        said = typeset(f"{columns.names[column]}: {name} {words.money(amount, decision.currency)}")
        if not math.isfinite(amount.mean):
            parts.append(tag("g", tag("title", said), text(x + wide / 2, scale(0.0) - 6, "?", anchor="middle")))
            continue
        parts.append(_bar(x, wide, scale(0.0), scale(amount.mean), said, name))
        if math.isfinite(amount.std):
            low, high, mid = scale(amount.mean - amount.std), scale(amount.mean + amount.std), x + wide / 2
            d = f"M{mid:.1f} {low:.1f}V{high:.1f}M{mid - 3:.1f} {low:.1f}h6M{mid - 3:.1f} {high:.1f}h6"
            parts.append(tag("path", d=d, class_="whisker ink"))
    return tag("g", parts)


def _bar(x: float, width: float, y0: float, y1: float, said: str, class_: str) -> Markup:
    top, height = min(y0, y1), abs(y1 - y0)
    return tag("rect", tag("title", said), x=x, y=top, width=width, height=max(height, 0.5), class_=f"bar {class_}")
