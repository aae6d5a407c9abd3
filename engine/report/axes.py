"""Scales, ticks and the frame of a chart whose x axis is the windows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.report import words
from engine.report.markup import Markup, tag

LETTER, SPACE = 7.2, 12.0  # pixels: the widest usual letter, the room between two names


@dataclass(frozen=True)
class Scale:
    """Numbers from `low` to `high` onto pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of a finite value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


@dataclass(frozen=True)
class Band:
    """Equal columns, one a window: `step` pixels each from `left` on."""

    names: tuple[str, ...]
    left: float
    step: float

    @property
    def right(self) -> float:
        """The pixel after the last column."""
        return self.left + self.step * len(self.names)

    def middle(self, index: float) -> float:
        """The middle of a column."""
        return self.left + self.step * (index + 0.5)


def band(names: Sequence[str], left: float, *, room: float = 980.0, widest: float = 90.0) -> Band:
    """Columns that fill `room` pixels, not wider than `widest` nor too narrow to be told apart."""
    step = min(widest, max(16.0, (room - left) / max(1, len(names))))
    return Band(tuple(names), left, step)


def spread(values: Iterable[float], start: float, end: float, *, margin: float = 0.08) -> Scale | None:
    """A scale that holds all finite values with a margin; None where there is none."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    pad = (high - low) * margin or max(abs(high) * 0.1, 1e-9)
    return Scale(low - pad, high + pad, start, end)


def ticks(scale: Scale, wanted: int = 5) -> tuple[float, ...]:
    """About `wanted` round numbers inside a scale."""
    rough = (scale.high - scale.low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.75)
    first = math.ceil(scale.low / step - 1e-9)
    last = math.floor(scale.high / step + 1e-9)
    return tuple(round(i * step, 12) for i in range(first, last + 1))


def grid(scale: Scale, left: float, right: float) -> list[Markup]:
    """Horizontal lines at the ticks of a y scale, each with its number."""
    marks = ticks(scale)
    gap = marks[1] - marks[0] if len(marks) > 1 else scale.high - scale.low
    decimals = max(0, -math.floor(math.log10(gap) + 1e-9))
    if round(gap, decimals) != round(gap, 12):
        decimals += 1
    return [
        tag(
            "g",
            tag("line", x1=left, x2=right, y1=scale(t), y2=scale(t), class_="grid"),
            text(left - 8, scale(t) + 4, words.number(t, decimals), anchor="end", class_="soft"),
        )
        for t in marks
    ]


def window_names(columns: Band, y: float) -> list[Markup]:
    """The names under the columns; where they would overlap, every second, third ... of them."""
    longest = max((len(name) for name in columns.names), default=1)
    every = max(1, math.ceil((longest * LETTER + SPACE) / columns.step))
    return [
        text(columns.middle(i), y, name, anchor="middle", class_="soft")
        for i, name in enumerate(columns.names)
        if i % every == 0
    ]


def text(x: float, y: float, said: str, *, anchor: str = "start", class_: str | None = None) -> Markup:
    """Words at a place."""
    return tag("text", said, x=x, y=y, text_anchor=anchor, class_=class_)


def drawing(label: str, width: float, height: float, *parts: object, smallest: float = 0.85) -> Markup:
    """An SVG that grows and shrinks with the page, and scrolls where it would become too small to read."""
    return tag(
        "div",
        tag(
            "svg",
            tag("title", label),
            parts,
            viewBox=f"0 0 {width:.0f} {height:.0f}",
            role="img",
            style=f"min-width:{width * smallest:.0f}px;max-width:{width * 1.1:.0f}px",
        ),
        class_="scroll",
        tabindex=0,
        role="group",
        aria_label=label,
    )
