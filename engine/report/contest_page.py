"""One self-contained page about a backtest: what each policy would have cost, and where it acted.

The picture has a strip a policy, all to one scale: bars are points below the best model that could have served, marks
are its attempts. The oracle's strip comes first.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.records.contested import ORACLE, Contested, Line
from engine.report import contest_words as said
from engine.report import parts, words
from engine.report.axes import Band, Scale, band, drawing, text, window_names
from engine.report.html import page
from engine.report.markup import Markup, tag

LEFT = 128.0  # pixels of the names of policies
STRIP, GAP = 46.0, 22.0  # of a strip, and between two: there its marks are
LEAD = (
    "Cost is what was lost below the best model, and what was spent on retrains. Regret is the cost above that of the "
    "best plan, known afterwards, the oracle; more, that above the cheapest policy. Degraded are the windows in which "
    "the model in production was far below the best."
)


def contest_page(title: str, contests: Sequence[Contested], policy: str) -> str:
    """The page as text; the same records give the same text. `policy` is that of the config."""
    sections: dict[str, Markup | None] = {"summary": _summary(contests, policy)}
    for number, found in enumerate(contests):
        name = "policies" if len(contests) == 1 else parts.slug(found.past)
        sections[name if name not in sections else f"{name}-{number}"] = _section(name, found)
    return page(f"Backtest of {title}", "what each policy would have cost, had it decided", sections)


def _summary(contests: Sequence[Contested], policy: str) -> Markup:
    lines = []
    for found in contests:
        further = [said.verdict(found), said.configured(found, policy)]
        lines.append(tag("p", _set(said.headline(found)), class_="sentence"))
        lines.append(tag("ul", [tag("li", _set(line)) for line in further if line]))
    return parts.section("summary", "Summary", "", lines)


def _section(name: str, found: Contested) -> Markup:
    rows = [[parts.whole(_set(cell)) for cell in said.cells(line, found)] for line in found.lines]
    notes = [*said.aside(found), said.promise(found)]
    tallest = words.number(_highest(found))
    return parts.section(
        name,
        found.past,
        LEAD,
        parts.table(f"policies, amounts in {found.currency}", said.columns(found), rows, numeric=said.NUMERIC),
        parts.legend(
            [
                ("waiting", f"points below the best model that could have served; the tallest bar is {tallest}"),
                ("pass", "a retrain that reached production"),
                ("fail", "a retrain that did not"),
            ]
        ),
        _picture(found),
        tag("ul", [tag("li", _set(line)) for line in notes], class_="soft"),
    )


def _picture(found: Contested) -> Markup:
    """A strip a policy."""
    columns = band(found.names, LEFT)
    highest = _highest(found) or 1.0
    strips, y = [], 8.0
    for line in found.pictured:
        strips.append(_strip(columns, line, Scale(0.0, highest, y + STRIP, y), found))
        y += STRIP + GAP
    which = "" if found.unit == "windows" else ", in the first of the pasts"
    label = f"Points below the best model by window and policy, the tallest bar is {words.number(highest)}{which}"
    return drawing(label, columns.right + 16, y + 16, strips, window_names(columns, y + 8))


def _highest(found: Contested) -> float:
    """Of all bars, in points."""
    return max((value for line in found.pictured for value in line.below), default=0.0)


def _strip(columns: Band, line: Line, scale: Scale, found: Contested) -> Markup:
    wide = columns.step * 0.7
    bars = []
    for place, below in enumerate(line.below):
        top = scale(below)
        told = f"{line.policy}, {found.names[place]}: {words.number(below)} points below the best"
        height = max(scale(0.0) - top, 0.0)
        x = columns.left + columns.step * (place + 0.15)
        bars.append(tag("rect", tag("title", told), x=x, y=top, width=wide, height=height, class_="bar waiting"))
    y = scale(0.0) + 9
    marks = [
        _mark(columns.middle(at - found.first), y, passed, f"{line.policy} retrains in {found.names[at - found.first]}")
        for at, passed in zip(line.acted, line.passed, strict=True)
    ]
    name = "the best plan" if line.policy == ORACLE else line.policy
    return tag(
        "g",
        text(columns.left - 10, scale(0.0) - 16, name, anchor="end"),
        text(columns.left - 10, scale(0.0) - 1, said.money(line.cost, found), anchor="end", class_="soft small"),
        bars,
        tag("line", x1=columns.left, x2=columns.right, y1=scale(0.0), y2=scale(0.0), class_="axis"),
        marks,
    )


def _mark(x: float, y: float, passed: bool, told: str) -> Markup:
    """A circle where it reached production, a cross where it did not: never told by colour alone."""
    if passed:
        shape = tag("circle", cx=x, cy=y, r=4.0, class_="dot pass")
    else:
        shape = tag("path", d=f"M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8", class_="cross")
    return tag("g", tag("title", f"{told}: {'promoted' if passed else 'not promoted'}"), shape)


def _set(line: str) -> str:
    return parts.typeset(line)
