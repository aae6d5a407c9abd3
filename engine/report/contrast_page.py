"""One self-contained page about two windows: what moved, with pictures; no network, no script, light and dark."""

from __future__ import annotations

from engine.records import ColumnDrift, DriftOutcome
from engine.records.contrast import Contrast, Portrait
from engine.report import contrast_words as said
from engine.report import parts, words
from engine.report.axes import Scale, drawing, text, ticks
from engine.report.html import page
from engine.report.markup import Markup, tag

WIDTH, TOP, BOTTOM = 560.0, 16.0, 150.0
LEFT, RIGHT = 12.0, 548.0
ROW = 26.0  # pixels of one category
NAMES = 190.0  # pixels of the names of categories
LETTERS = 24  # of such a name


def contrast_page(found: Contrast) -> str:
    """The page as text; the same records give the same text."""
    report = found.drift
    drawn = [(c, found.portrait(c.column)) for c in report.drifted]
    sections: dict[str, Markup | None] = {
        "summary": _summary(found),
        "moved": parts.section(
            "moved",
            "What moved",
            "Shares of the rows on either side. The outer bars hold the tails, too.",
            parts.legend([("side-old", f"reference: {report.reference}"), ("side-new", f"live: {report.live}")]),
            tag("div", [_card(c, p, report.metric) for c, p in drawn], class_="cards"),
        )
        if drawn
        else None,
        "columns": _columns(found),
        "aside": parts.section("aside", "Guessed and left out", "", tag("ul", [tag("li", line) for line in lines]))
        if (lines := said.aside(found))
        else None,
    }
    return page("Drift", f"{report.live} against {report.reference}", sections)


def _summary(found: Contrast) -> Markup:
    lines = said.performance(found.performance)
    return parts.section(
        "summary",
        "Summary",
        "",
        tag("p", said.headline(found.drift), class_="sentence"),
        tag("ul", [tag("li", _set(line)) for line in lines]) if lines else None,
        tag("p", said.contract(found.drift), class_="soft"),
    )


def _columns(found: Contrast) -> Markup:
    report = found.drift
    order = {DriftOutcome.DRIFT: 0, DriftOutcome.UNDECIDABLE: 1, DriftOutcome.NO_DRIFT: 2}
    titles = ("column", "kind", "outcome", "effect", "floor", "adjusted p", "rows", "missing", "what happened")
    rows = [
        (
            parts.breakable(c.column),
            c.kind,
            parts.badge(c.outcome.value),
            parts.whole(said.effect(c)),
            words.number(c.floor, 3),
            words.pvalue(c.adjusted_pvalue),
            parts.whole(_set(f"{c.n_reference:,} -> {c.n_live:,}")),
            parts.whole(_set(said.missing(c))),
            _set(said.happened(c, found.portrait(c.column))),
        )
        for c in sorted(report.columns, key=lambda c: (order[c.outcome], c.rank))
    ]
    table = parts.table("every column", titles, rows, numeric=("effect", "floor", "adjusted p", "rows", "missing"))
    return parts.section("columns", "Every column", "", table)


def _card(column: ColumnDrift, portrait: Portrait | None, metric: str) -> Markup:
    worth = said.harm(column, metric)
    picture = None
    if portrait is not None:
        picture = _histogram(portrait) if portrait.edges else _bars(portrait)
    return tag(
        "article",
        tag("h3", column.column),
        tag("p", _set(said.happened(column, portrait)), tag("br") if worth else None, worth or None),
        picture,
        tag("p", "drawn from the first rows", class_="soft") if portrait is not None and portrait.sampled else None,
    )


def _set(line: str) -> str:
    """With an arrow that breaks from neither of its numbers."""
    return parts.typeset(line).replace(" -> ", f"{words.NO_BREAK}{parts.ARROW}{words.NO_BREAK}")


def _histogram(portrait: Portrait) -> Markup:
    """Reference as an area, live as a line, over the same bins; their medians as ticks below."""
    highest = max(*portrait.reference.shares, *portrait.live.shares)
    up = Scale(0.0, highest * 1.05, BOTTOM, TOP)
    across = Scale(portrait.edges[0], portrait.edges[-1], LEFT, RIGHT)
    marks = []
    for side, class_ in ((portrait.reference, "side-old"), (portrait.live, "side-new")):
        x = min(max(across(side.middle[2]), LEFT), RIGHT)
        marks.append(tag("line", x1=x, x2=x, y1=BOTTOM, y2=BOTTOM + 8, class_=f"median {class_}"))
    values = [t for t in ticks(across, 6) if portrait.edges[0] <= t <= portrait.edges[-1]]
    gap = values[1] - values[0] if len(values) > 1 else 0.0
    labels = [text(across(t), BOTTOM + 24, _tick(t, gap), anchor="middle", class_="soft") for t in values]
    return drawing(
        f"{portrait.column}: {said.numbers(portrait)}",
        WIDTH,
        BOTTOM + 32,
        tag("path", d=_steps(portrait.edges, portrait.reference.shares, across, up) + "Z", class_="area side-old"),
        tag("path", d=_steps(portrait.edges, portrait.live.shares, across, up), class_="step side-new"),
        tag("line", x1=LEFT, x2=RIGHT, y1=BOTTOM, y2=BOTTOM, class_="axis"),
        text(LEFT, TOP - 4, f"highest bar {words.percent(highest)}", class_="soft"),
        marks,
        labels,
    )


def _steps(edges: tuple[float, ...], shares: tuple[float, ...], across: Scale, up: Scale) -> str:
    path = f"M{across(edges[0]):.1f} {up(0.0):.1f}"
    for right, share in zip(edges[1:], shares, strict=True):
        path += f"V{up(share):.1f}H{across(right):.1f}"
    return path + f"V{up(0.0):.1f}"


def _tick(value: float, gap: float) -> str:
    if gap and (abs(value) >= 1e6 or gap < 1e-4):
        return f"{value:.3g}"
    places = 0 if gap >= 1 else len(f"{gap:.10f}".rstrip("0").partition(".")[2])
    return words.number(value, places)


def _bars(portrait: Portrait) -> Markup:
    """Two bars a category, those that moved most first, and one pair for all others."""
    rows = list(zip(portrait.categories, portrait.reference.shares, portrait.live.shares, strict=True))
    if max(portrait.rest) > 0:
        rows.append(("all others", *portrait.rest))
    highest = max(max(old, new) for _, old, new in rows)
    across = Scale(0.0, highest, NAMES, RIGHT - 90)
    drawn = []
    for k, (name, old, new) in enumerate(rows):
        y = 4.0 + ROW * k
        shown = name if len(name) <= LETTERS else name[: LETTERS - 1] + "\u2026"
        drawn += [
            text(NAMES - 8, y + 15, shown, anchor="end"),
            tag("rect", x=NAMES, y=y, width=across(old) - NAMES, height=10.0, class_="bar side-old"),
            tag("rect", x=NAMES, y=y + 10, width=across(new) - NAMES, height=10.0, class_="bar side-new"),
            text(
                max(across(old), across(new)) + 6,
                y + 15,
                _set(f"{words.percent(old)} -> {words.percent(new)}"),
                class_="soft",
            ),
        ]
    label = f"{portrait.column}: {'; '.join(said.categories(portrait))}"
    return drawing(label, WIDTH, 8.0 + ROW * len(rows), drawn)
