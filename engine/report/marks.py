"""Small pictures: the shape of an outcome, an interval against its bound, a curve the size of a word."""

from __future__ import annotations

import math
from collections.abc import Sequence

from engine.records import Estimate, Outcome, RuleResult
from engine.report import words
from engine.report.axes import Scale, spread, text
from engine.report.markup import Markup, tag


def forest(result: RuleResult) -> Markup:
    """One rule: its estimate with interval, against its bound (dashed)."""
    width, middle = 260.0, 16.0
    estimate = result.estimate
    values = [] if estimate is None else [estimate.value, estimate.low, estimate.high]
    scale = (
        spread((*values, result.bound), 12.0, width - 12.0, margin=0.15) if any(map(math.isfinite, values)) else None
    )
    label = f"{result.rule}: {words.compared(result)}, bound {words.bound(result)}"
    if scale is None or estimate is None:
        said = "no number was compared" if estimate is None else words.UNDECIDABLE
        parts: list[object] = [text(width / 2, middle + 5, said, anchor="middle", class_="soft")]
    else:
        parts = [tag("line", x1=8.0, x2=width - 8, y1=middle, y2=middle, class_="grid")]
        if math.isfinite(result.bound):
            x = scale(result.bound)
            side = "start" if x < 40 else "end" if x > width - 40 else "middle"
            parts += [
                tag("line", x1=x, x2=x, y1=2.0, y2=30.0, class_="bound"),
                text(x, 42.0, words.threshold(result.bound), anchor=side, class_="soft"),
            ]
        parts += [
            _whisker(scale, estimate, middle, result.outcome),
            shape(result.outcome, scale(estimate.value), middle),
        ]
    return tag(
        "svg",
        tag("title", label),
        parts,
        viewBox=f"0 0 {width:.0f} 46",
        class_="forest",
        role="img",
        aria_label=label,
    )


def sparkline(values: Sequence[float], label: str) -> Markup:
    """A curve as small as a word; undecidable values leave gaps."""
    width, height = 96.0, 24.0
    scale = spread(values, height - 4, 4.0)
    if scale is None:
        return tag("span", words.UNDECIDABLE, class_="soft")
    step = (width - 8) / max(1, len(values) - 1)
    dots = [(4 + i * step, scale(v)) for i, v in enumerate(values) if math.isfinite(v)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in dots)
    x, y = dots[-1]
    return tag(
        "svg",
        tag("title", label),
        tag("polyline", points=path, class_="spark"),
        tag("circle", cx=x, cy=y, r=2.5, class_="dot"),
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        class_="sparkline",
        role="img",
        aria_label=label,
    )


def shape(outcome: Outcome | None, x: float, y: float) -> Markup:
    """Circle: in production or passed; cross: failed; hollow diamond: inconclusive."""
    if outcome is Outcome.FAIL:
        return tag("path", d=f"M{x - 5:.1f} {y - 5:.1f}l10 10m0 -10l-10 10", class_="cross fail")
    if outcome is Outcome.INCONCLUSIVE:
        return tag("path", d=f"M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z", class_="diamond inconclusive")
    return tag("circle", cx=x, cy=y, r=4.5, class_="dot" if outcome is None else "dot pass")


def _whisker(scale: Scale, estimate: Estimate, y: float, outcome: Outcome) -> Markup | None:
    if not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
        return None
    low, high = scale(estimate.low), scale(estimate.high)
    d = f"M{low:.1f} {y:.1f}H{high:.1f}M{low:.1f} {y - 5:.1f}v10M{high:.1f} {y - 5:.1f}v10"
    return tag("path", d=d, class_=f"whisker {outcome_class(outcome)}")


def outcome_class(outcome: Outcome | None) -> str:
    return "champion" if outcome is None else outcome.value
