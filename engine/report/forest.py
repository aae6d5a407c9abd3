"""All rules of a gate as one forest plot: in the report as SVG, on a terminal as text.

Rules speak of different metrics, so each is drawn in its own standard errors, on a scale that grows closer towards the
rims (asinh): 0 is the bound, to the right is better. A rule passes where its whole interval lies right of 0. The dashed
line is where a true value passes with the planned power: z_alpha + z_power.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from engine.records import Outcome, RuleResult
from engine.report import words
from engine.report.axes import Scale, drawing, text
from engine.report.marks import outcome_class, shape
from engine.report.markup import Markup, tag

REACH = 40.0  # standard errors at the rims; what lies beyond is drawn there as an arrow
ROW, TOP, LEFT, RIGHT, WIDTH = 30.0, 34.0, 220.0, 570.0, 980.0
SIGNS = {Outcome.PASS: "o", Outcome.FAIL: "x", Outcome.INCONCLUSIVE: "?"}


@dataclass(frozen=True)
class Place:
    """A rule in standard errors from its bound, better to the right."""

    low: float
    value: float
    high: float
    power: float | None  # where a true value passes with the planned power


def place(result: RuleResult) -> Place | None:
    """Where a rule lies; None where it has no number, or an earlier release did not say which way is better."""
    estimate = result.estimate
    if estimate is None or not result.better or not math.isfinite(result.bound):
        return None
    ends = (estimate.low, estimate.value, estimate.high)
    if not all(map(math.isfinite, ends)) or not 0.5 <= estimate.confidence_level < 1:
        return None
    low, value, high = sorted(result.better * (end - result.bound) for end in ends)
    value = result.better * (estimate.value - result.bound)
    z = NormalDist().inv_cdf((1 + estimate.confidence_level) / 2)
    error = (value - low) / z or (high - low) / (2 * z)
    if not error:  # a point: as far from the bound as its own size says
        error = max(abs(value), abs(result.bound) * 0.05, 1e-12) / 4
    beyond = None if result.detectable is None else result.better * (result.detectable - result.bound) / error
    return Place(low=low / error, value=value / error, high=high / error, power=beyond)


@dataclass(frozen=True)
class Axis:
    """Standard errors onto pixels or columns."""

    scale: Scale

    @classmethod
    def between(cls, start: float, end: float) -> Axis:
        """From -REACH at `start` to REACH at `end`."""
        rim = math.asinh(REACH / 2)
        return cls(Scale(-rim, rim, start, end))

    def __call__(self, errors: float) -> float:
        """Where so many standard errors are drawn; beyond the rims, at the rim."""
        return self.scale(math.asinh(max(-REACH, min(REACH, errors)) / 2))


def plot(rules: Sequence[RuleResult]) -> Markup | None:
    """The picture of a verdict; None where no rule has a place."""
    places = [place(rule) for rule in rules]
    if not any(places):
        return None
    shown = [(rule, at) for rule, at in zip(rules, places, strict=True) if at is not None]
    bottom = TOP + ROW * len(shown)
    scale = Axis.between(LEFT, RIGHT)
    powers = {rule.power for rule, at in shown if at is not None and at.power is not None}
    planned = next((at.power for _, at in shown if at is not None and at.power is not None), None)
    head: list[object] = [
        tag("line", x1=scale(0.0), x2=scale(0.0), y1=TOP - 12, y2=bottom, class_="bound"),
        text(scale(0.0), TOP - 18, "bound", anchor="middle", class_="soft"),
        text(LEFT, TOP - 18, "worse", class_="soft"),
        text(RIGHT, TOP - 18, "better", anchor="end", class_="soft"),
    ]
    if planned is not None and len(powers) == 1:
        x = scale(planned)
        head += [
            tag("line", x1=x, x2=x, y1=TOP - 12, y2=bottom, class_="change"),
            text(x + 3, bottom + 14, f"passes {words.percent(powers.pop())}", anchor="middle", class_="soft small"),
        ]
    rows = [_row(scale, rule, at, TOP + ROW * (i + 0.5)) for i, (rule, at) in enumerate(shown)]
    return drawing(
        "The rules of the gate: each interval against its bound, in its own standard errors",
        WIDTH, bottom + 20, head, rows,
    )  # fmt: skip


def _row(scale: Axis, rule: RuleResult, at: Place | None, y: float) -> Markup:
    assert at is not None
    assert rule.estimate is not None
    low, value, high = (scale(x) for x in (at.low, at.value, at.high))
    d = f"M{low:.1f} {y:.1f}H{high:.1f}"
    d += f"M{low:.1f} {y - 5:.1f}v10" if at.low >= -REACH else f"M{low + 5:.1f} {y - 4:.1f}l-5 4l5 4"
    d += f"M{high:.1f} {y - 5:.1f}v10" if at.high <= REACH else f"M{high - 5:.1f} {y - 4:.1f}l5 4l-5 4"
    said = f"{rule.rule}: {rule.outcome.value}, {words.compared(rule)}, bound {words.threshold(rule.bound)}"
    return tag(
        "g",
        tag("title", said),
        text(4.0, y + 4, _cut(rule.rule, 30)),
        tag("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="grid"),
        tag("path", d=d, class_=f"whisker {outcome_class(rule.outcome)}"),
        shape(rule.outcome, value, y),
        text(RIGHT + 18, y - 2, f"{words.compared(rule)}, bound {words.threshold(rule.bound)}"),
        text(RIGHT + 18, y + 11, _small(rule), class_="soft small"),
    )


def _small(rule: RuleResult) -> str:
    assert rule.estimate is not None
    counted = f"{rule.metric}, n {rule.estimate.n:,}"
    if rule.detectable is None:
        return counted
    return f"{counted}, passes {words.percent(rule.power)} from {rule.detectable:.4g}"


def lines(rules: Sequence[RuleResult], width: int = 33) -> list[str]:
    """The picture as text, a line a rule: `[--o--]` the interval, `|` the bound, `:` where it passes as planned."""
    if not rules:
        return []
    longest = min(34, max(len(rule.rule) for rule in rules))
    return [f"{_cut(rule.rule, longest):<{longest}}  {_line(rule, width)}".rstrip() for rule in rules]


def _line(rule: RuleResult, width: int) -> str:
    at = place(rule)
    if at is None:
        return f"{'no number to draw':^{width}}  {rule.outcome.value}"
    scale = Axis.between(0.0, width - 1.0)

    def column(x: float) -> int:
        return round(scale(x))

    drawn = [" "] * width
    drawn[column(at.low) : column(at.high) + 1] = "-" * (column(at.high) - column(at.low) + 1)
    drawn[column(at.low)] = "[" if at.low >= -REACH else "<"
    drawn[column(at.high)] = "]" if at.high <= REACH else ">"
    if at.power is not None and drawn[column(at.power)] in " -":
        drawn[column(at.power)] = ":"
    drawn[column(0.0)] = "|"
    drawn[column(at.value)] = SIGNS[rule.outcome]
    assert rule.estimate is not None
    said = f"{words.compared(rule)}, bound {words.threshold(rule.bound)}, n {rule.estimate.n:,}"
    power = "" if rule.detectable is None else f", passes {words.percent(rule.power)} from {rule.detectable:.4g}"
    return f"{''.join(drawn)}  {rule.outcome.value}: {said}{power}"


def _cut(name: str, width: int) -> str:
    name = words.clean(name)
    return name if len(name) <= width else f"{name[: width - 1]}\u2026"
